"""Published status lists as anybody can fetch them, their signatures checked."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import urlsplit

import aiohttp

from vitne.accreditation import Projection, public_keys
from vitne.audit.log_contents import Forms, SeenList
from vitne.canonical import sha256
from vitne.clock import Clock
from vitne.credentials.bitstring_status_list import Purpose, verify_credential
from vitne.credentials.jose import FindKey, PublicKey, parse_public_jwk
from vitne.credentials.list_forms import ListForm
from vitne.credentials.status_list import StatusList, verify_token
from vitne.credentials.status_list_cwt import verify_cwt
from vitne.errors import NotFound, Unavailable, VitneError
from vitne.inspection.published_log import Unanswered, Unconnected, fetch_file
from vitne.inspection.snapshots import STATUS_TYPES
from vitne.runtime.trust_list import TrustListSource, trust_list_fetcher
from vitne_api.events.v1 import events_pb2
from vitne_api.registry.v1 import facts_pb2

#: Seconds that one list may take.
LIST_SECONDS: Final = 10.0
#: Lists of the past that are asked for, to find the one that was logged last.
KEPT_TRIES: Final = 4
#: As what forms are asked for, each at its address.
_ANYTHING: Final = "*/*"
_ASKED: Final = (
    *((form, _ANYTHING) for form in ListForm),
    *((form, form.media_type) for form in ListForm),
    (ListForm.JWT, ListForm.CWT.media_type),
)
#: What a bit means in the list of a purpose, and as what it shows statuses of the other. What is revoked counts as
#: suspended, too (:mod:`vitne.credentials.bitstring_status_list`).
_SHOWN: Final[Mapping[Purpose, tuple[str, Mapping[str, str]]]] = {
    "revocation": ("revoked", {"suspended": "valid"}),
    "suspension": ("suspended", {"revoked": "suspended"}),
}


def status_list_keys(facts: Iterable[bytes]) -> dict[str, PublicKey]:
    """The keys for status lists that the registry names, by thumbprint; ``facts``: values of its topic."""
    keys = {}
    for value in facts:
        fact = events_pb2.RegistryFactRecorded.FromString(value).fact
        if fact.HasField("key") and fact.key.use == facts_pb2.KEY_USE_STATUS_LIST:
            key = parse_public_jwk(fact.key.public_jwk)
            keys[key.key_id] = key
    return keys


async def registered_list_keys(
    trust_list: str, registry_key: str, registry_uri: str, clock: Clock, *, development: bool = False
) -> dict[str, PublicKey]:
    """The keys for status lists that count now, by thumbprint, as the registry's signed list names them.

    Args:
        trust_list: address of the list's statement.
        registry_key: RFC 7638 thumbprint of the key that signs it: pinned. The organisation that has it has the others.
        registry_uri: who issues it.
        clock: tells the present.
        development: whether plain http to loopback is allowed.

    Raises:
        InvalidArgument: as :func:`~vitne.runtime.trust_list.trust_list_fetcher`.
        InvalidArgument, Unavailable, DataLoss: as :meth:`~vitne.runtime.trust_list.TrustListSource.refresh`.
        NotFound: ``LIST_KEYS_UNKNOWN``, it names none.
    """
    projection = Projection()
    async with trust_list_fetcher(trust_list, development=development) as fetcher:
        await TrustListSource(trust_list, registry_key, registry_uri, projection, clock, fetcher=fetcher).refresh()
    own = projection.key(registry_key)
    keys = {} if own is None else public_keys(projection, own.owner, facts_pb2.KEY_USE_STATUS_LIST, clock.now())
    if not keys:
        raise NotFound(
            "LIST_KEYS_UNKNOWN",
            "the registry's signed list names no key for status lists that counts now",
            field="trust_list",
            rule="a key for status lists, of the organisation whose key signs the list",
            remedy="ask the operator which key signs the lists, and name it by --list-key",
        )
    return keys


async def fetch_lists(
    urls: Iterable[str],
    find_key: FindKey,
    served_at: Mapping[str, str],
    trust: ssl.SSLContext | None = None,
) -> dict[str, tuple[Mapping[int, str], bytes]]:
    """Each list's places that are not valid, by index, and the SHA-256 of its bytes.

    One that is not served, or does not verify, is left out: whoever compares says that it is missing.

    Args:
        urls: as credentials carry them.
        find_key: a key by its id.
        served_at: where addresses that begin so are really fetched.
        trust: whom to trust there; None: the system's authorities.

    Raises:
        aiohttp.ClientError: nobody answers there.
    """
    found: dict[str, tuple[Mapping[int, str], bytes]] = {}
    timeout = aiohttp.ClientTimeout(total=LIST_SECONDS)
    connector = aiohttp.TCPConnector(ssl=trust or True)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
        for url in urls:
            async with session.get(_address(url, served_at)) as response:
                token = await response.read()
                if response.status != 200:
                    continue
            try:
                statuses = verify_token(token.decode(), uri=url, find_key=find_key, now=datetime.now(UTC))
            except (VitneError, UnicodeDecodeError):
                continue
            found[url] = await asyncio.to_thread(_set_places, statuses), sha256(token)
    return found


async def fetch_seen(
    session: aiohttp.ClientSession,
    urls: Iterable[str],
    find_key: FindKey,
    served_at: Mapping[str, str],
) -> tuple[dict[str, Forms], dict[str, Unavailable]]:
    """Each list as it is published now, in all its forms; and of those of which nobody knows, why.

    Each is asked for as anything, and by its own media type, as verifiers do; at the list's own address also as a CWT
    (draft-ietf-oauth-status-list-20, section 8.1). Where a reader who says what they want is given something else than
    one who does not, that is a form of its own. Where some are answered, one that is not is a form that can't be had;
    where none is, nobody knows of the list. Others at a host that takes no connection are not asked for.

    Args:
        session: fetches.
        urls: of the lists, as credentials carry them.
        find_key: a key by its id.
        served_at: where addresses that begin so are really fetched.

    Returns:
        the lists' forms by URL; and, by URL, ``LISTS_UNREACHABLE`` of those of which nothing was answered.
    """
    found: dict[str, Forms] = {}
    unreachable: dict[str, Unavailable] = {}
    silent: set[str] = set()
    for url in urls:
        address = _address(url, served_at)
        host = urlsplit(address).netloc
        if host in silent:
            unreachable[url] = _lists_unreachable(address, f"nobody answers at {host}, where it would be")
            continue
        answers = await asyncio.gather(*(_fetched(session, address + form.value, accept) for form, accept in _ASKED))
        tokens = [f"nobody can fetch it: {each.message}" if isinstance(each, Unanswered) else each for each in answers]
        silences = [each for each in answers if isinstance(each, Unanswered)]
        if len(silences) == len(answers):
            unreachable[url] = _lists_unreachable(address, silences[0].message)
            if all(isinstance(each, Unconnected) for each in silences):
                silent.add(host)
            continue
        asked = dict(zip(_ASKED, tokens, strict=True))
        forms = {}
        for (form, accept), token in asked.items():
            if accept == _ANYTHING:
                forms[form.value] = await _read(url, form, token, find_key)
            elif token != asked[form, _ANYTHING]:
                # No CWT is ASCII: its first byte is a tag.
                is_cwt = accept == ListForm.CWT.media_type and isinstance(token, bytes) and not token.isascii()
                given = ListForm.CWT if is_cwt else form
                forms[f"{form.value} (Accept: {accept})"] = await _read(url, given, token, find_key)
        found[url] = forms
    return found, unreachable


def _lists_unreachable(address: str, why: str) -> Unavailable:
    return Unavailable(
        "LISTS_UNREACHABLE",
        f"{address}: {why}",
        field="--served-at",
        rule="the lists that leaves name are fetched at their addresses, or below that of a mirror",
        remedy="name the mirror: --served-at PREFIX=BASE (VITNE_LISTS_SERVED_AT); if they are served there, "
        "try again later; or leave the keys for lists out, and the log alone is looked at",
    )


async def _fetched(session: aiohttp.ClientSession, address: str, accept: str) -> bytes | str | Unanswered:
    """A file, or why what answers there does not give it, or that nothing answers."""
    try:
        return await fetch_file(session, address, accept=accept) or f"nobody can fetch it: it is not at {address}"
    except Unanswered as error:
        return error
    except Unavailable as error:
        return f"nobody can fetch it: {error.message}"


async def _read(url: str, form: ListForm, token: bytes | str, find_key: FindKey) -> SeenList | str:
    if isinstance(token, str):
        return token
    try:
        return await asyncio.to_thread(_open, url, form, token, find_key)
    except VitneError as error:
        return f"what is served is none: {error.reason}: {error.message}"
    except UnicodeDecodeError:
        return "what is served is none: it is no JWT"


def _open(url: str, form: ListForm, token: bytes, find_key: FindKey) -> SeenList:
    now = datetime.now(UTC)
    if form.purpose is not None:
        uri = form.names(url)
        of = verify_credential(token.decode(), uri=uri, purpose=form.purpose, find_key=find_key, now=now)
        shown, shows = _SHOWN[form.purpose]
        statuses = dict.fromkeys(of.places_set(), shown)
        return SeenList(of.issued_at, of.expires_at, statuses, sha256(token), len(of), shows)
    if form is ListForm.CWT:
        return _seen(verify_cwt(token, uri=url, find_key=find_key, now=now), token)
    return _seen(verify_token(token.decode(), uri=url, find_key=find_key, now=now), token)


async def fetch_logged(
    session: aiohttp.ClientSession,
    url: str,
    digest: bytes,
    moment: datetime,
    *,
    find_key: FindKey,
    served_at: Mapping[str, str],
) -> SeenList | None:
    """The list of a digest as it was in force at a moment, or a little before.

    A server that keeps what is logged answers it at ``?time=`` (draft-ietf-oauth-status-list-20, section 8.4). None
    where it answers no lists of the past, as a static copy, or not that one, as where several were signed in a second.

    Args:
        session: fetches.
        url: of the list, as credentials carry it.
        digest: SHA-256 of its bytes.
        moment: when it was in force at the latest.
        find_key: a key by its id.
        served_at: where addresses that begin so are really fetched.
    """
    for _ in range(KEPT_TRIES):
        try:
            token = await fetch_file(session, f"{_address(url, served_at)}?time={int(moment.timestamp())}")
            if token is None:
                return None
            statuses = verify_token(token.decode(), uri=url, find_key=find_key, now=moment)
        except (VitneError, UnicodeDecodeError):
            return None
        if sha256(token) == digest:
            return await asyncio.to_thread(_seen, statuses, token)
        if statuses.issued_at > moment:
            return None  # It does not look at what it is asked.
        moment = statuses.issued_at - timedelta(seconds=1)
    return None


def _seen(statuses: StatusList, token: bytes) -> SeenList:
    return SeenList(statuses.issued_at, statuses.expires_at, _set_places(statuses), sha256(token), len(statuses))


def _address(url: str, served_at: Mapping[str, str]) -> str:
    prefix = max((each for each in served_at if url.startswith(each)), key=len, default="")
    return served_at[prefix] + url.removeprefix(prefix) if prefix else url


def _set_places(statuses: StatusList) -> dict[int, str]:
    """The places that are not valid, by index. Most bytes of a list are zero."""
    places = 8 // statuses.bits
    return {
        index: STATUS_TYPES.get(status, f"unknown {status}")
        for number, byte in enumerate(statuses.packed)
        if byte
        for index in range(number * places, (number + 1) * places)
        if (status := statuses.status_at(index))
    }
