"""An identity issuer as its own metadata describes it: endpoints, and keys that may change at any time."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import ssl
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

from vitne.canonical import from_b64url
from vitne.clock import Clock
from vitne.errors import InvalidArgument, Unauthenticated, Unavailable
from vitne.runtime.bodies import read_bounded

#: Where OAuth 2.0 authorization servers (Maskinporten) publish their metadata: RFC 8414, section 3.
OAUTH_METADATA: Final = "oauth-authorization-server"
#: Where OpenID providers (ID-porten) publish theirs: OpenID Connect Discovery 1.0, section 4.
OPENID_METADATA: Final = "openid-configuration"

#: Signature algorithms that are accepted, with the key that each needs. RSA signatures
#: are what Maskinporten and ID-porten use; ES256 is where they are heading.
ALGORITHMS: Final[Mapping[str, type[RSAKey | ECKey]]] = {"RS256": RSAKey, "ES256": ECKey}
#: RSA keys below this are not trusted (NIST SP 800-57: 2048 bits until 2030).
MINIMUM_RSA_BITS: Final = 2048

#: Seconds after which metadata and keys are read anew.
REFRESH_AFTER: Final = 3600.0
#: Seconds for which keys are still used when the issuer can't be reached.
KEEP_AT_MOST: Final = 24 * 3600.0
#: Seconds between two readings that unknown key ids cause: a flood of tokens with
#: made-up key ids must not become a flood of requests to the issuer.
REFRESH_AT_MOST_EVERY: Final = 10.0
#: Seconds between two tries when the issuer doesn't answer.
RETRY_AFTER: Final = 1.0
#: The same while keys that were read before may still be used.
OUTAGE_RETRY_AFTER: Final = 30.0
#: Seconds that the issuer has to answer.
FETCH_TIMEOUT: Final = 5.0
#: Bytes of a metadata document or key set, at most.
FETCH_LIMIT: Final = 256 * 1024

PublicKey = RSAKey | ECKey


def is_protected(url: str) -> bool:
    """Whether ``url`` can't be listened to on its way: https, or plain http within this machine."""
    parts = urlsplit(url)
    if parts.scheme == "https":
        return bool(parts.hostname)
    if parts.scheme != "http" or not parts.hostname:
        return False
    try:
        return ipaddress.ip_address(parts.hostname).is_loopback
    except ValueError:
        return parts.hostname == "localhost"


class Issuer:
    """What an issuer publishes about itself, read when needed and kept while fresh.

    Args:
        url: the issuer identifier, character by character as it stands in ``iss``.
        clock: tells how old what was read is.
        document: which metadata document it publishes.
        allow_http: accept plain http beyond this machine (a development network only).
        trust: how its certificate is checked; against the system's authorities unless said otherwise.

    Raises:
        ValueError: an issuer that is neither https nor on this machine.
    """

    def __init__(
        self,
        url: str,
        clock: Clock,
        *,
        document: str = OAUTH_METADATA,
        allow_http: bool = False,
        trust: ssl.SSLContext | None = None,
    ) -> None:
        self._allow_http = allow_http
        self._trust = trust
        if not self._may_fetch(url):
            raise ValueError(f"the identity issuer {url!r} must be https")
        self.url = url
        self._clock = clock
        self._document = document
        self._metadata: Mapping[str, Any] = {}
        self._keys: dict[str, PublicKey] = {}
        self._read_at: float | None = None
        self._tried_at: float | None = None
        self._lock = asyncio.Lock()

    async def endpoint(self, name: str) -> str:
        """The URL that the metadata gives for ``name``, e.g. ``token_endpoint``.

        Raises:
            Unavailable: ``IDENTITY_ISSUER_UNREACHABLE``.
        """
        await self._refresh(older_than=REFRESH_AFTER, patient=False)
        url = self._metadata.get(name)
        if not isinstance(url, str) or not self._may_fetch(url):
            raise _unreachable(self.url, f"its metadata has no usable {name}")
        return url

    async def key(self, key_id: str, algorithm: str) -> PublicKey:
        """The public key that the issuer calls ``key_id``, fit for ``algorithm``.

        Raises:
            Unauthenticated: ``TOKEN_UNKNOWN_KEY`` when it has no such key, also after asking again.
            Unavailable: ``IDENTITY_ISSUER_UNREACHABLE`` when its keys were never read, or too long ago.
        """
        await self._refresh(older_than=REFRESH_AFTER, patient=False)
        if key_id not in self._keys:
            await self._refresh(older_than=REFRESH_AT_MOST_EVERY, patient=True)
        key = self._keys.get(key_id)
        if key is None or not isinstance(key, ALGORITHMS[algorithm]):
            raise Unauthenticated(
                "TOKEN_UNKNOWN_KEY",
                "the token is signed with a key that its issuer does not publish for this algorithm",
                remedy="ask the issuer for a new token",
            )
        return key

    async def _refresh(self, *, older_than: float, patient: bool) -> None:
        """Read anew what is older than that.

        While what was read before may still be used, an issuer that hangs delays one
        call in :data:`OUTAGE_RETRY_AFTER` and no others, unless they are ``patient``:
        they need what is new.
        """
        if self._age(self._read_at) < older_than:
            return
        usable = self._age(self._read_at) < KEEP_AT_MOST
        if usable and not patient and (self._lock.locked() or self._age(self._tried_at) < OUTAGE_RETRY_AFTER):
            return
        async with self._lock:
            if self._age(self._read_at) < older_than:
                return  # somebody else read it while this call waited
            failure = "asked a moment ago"
            if self._age(self._tried_at) >= RETRY_AFTER:
                try:
                    await self._read()
                except (aiohttp.ClientError, OSError, TimeoutError, ValueError, JoseError) as error:
                    failure = type(error).__name__
                else:
                    return
                finally:
                    self._tried_at = self._clock.monotonic()
            if self._age(self._read_at) >= KEEP_AT_MOST:
                raise _unreachable(self.url, failure)

    def _age(self, moment: float | None) -> float:
        return float("inf") if moment is None else self._clock.monotonic() - moment

    async def _read(self) -> None:
        async with open_session(self._trust) as session:
            metadata = await self._fetch(session, self._metadata_url())
            # RFC 8414, section 3.3: otherwise one issuer could pass itself off as another.
            if metadata.get("issuer") != self.url:
                raise ValueError("the metadata is another issuer's")
            keys = await self._fetch(session, str(metadata.get("jwks_uri", "")))
        self._keys = _usable_keys(keys)
        self._metadata = metadata
        self._read_at = self._clock.monotonic()

    def _metadata_url(self) -> str:
        base = urlsplit(self.url)
        path = base.path.rstrip("/")
        if self._document == OAUTH_METADATA:  # goes before the path (RFC 8414), OpenID's after it
            return f"{base.scheme}://{base.netloc}/.well-known/{self._document}{path}"
        return f"{base.scheme}://{base.netloc}{path}/.well-known/{self._document}"

    async def _fetch(self, session: aiohttp.ClientSession, url: str) -> dict[str, Any]:
        if not self._may_fetch(url):
            raise ValueError("an address in the metadata is not https")
        async with session.get(url, allow_redirects=False) as response:
            if response.status != 200:
                raise ValueError(f"status {response.status}")
            return await read_object(response)

    def _may_fetch(self, url: str) -> bool:
        return is_protected(url) or (self._allow_http and url.startswith("http://"))


def open_session(trust: ssl.SSLContext | None = None) -> aiohttp.ClientSession:
    """A session for a request or two to an issuer, which has :data:`FETCH_TIMEOUT` to answer; close it.

    Args:
        trust: how its certificate is checked; against the system's authorities unless said otherwise.
    """
    timeout = aiohttp.ClientTimeout(total=FETCH_TIMEOUT)
    return aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(ssl=trust or True))


async def read_object(response: aiohttp.ClientResponse) -> dict[str, Any]:
    """The JSON object in a response of bounded size.

    Raises:
        ValueError: too large, or no JSON object.
    """
    body = await read_bounded(response, FETCH_LIMIT)
    if body is None:
        raise ValueError("the document is too large")
    document = json.loads(body)
    if not isinstance(document, dict):
        raise ValueError("the document is no JSON object")
    return document


def _usable_keys(document: Mapping[str, Any]) -> dict[str, PublicKey]:
    """Signature keys of a JWK set by key id; those that can't be used here are left out (RFC 7517, section 5)."""
    keys: dict[str, PublicKey] = {}
    entries = document.get("keys")
    for entry in entries if isinstance(entries, list) else []:
        if not isinstance(entry, dict) or entry.get("use", "sig") != "sig" or not isinstance(entry.get("kid"), str):
            continue
        try:
            if entry.get("kty") == "RSA" and entry.get("alg", "RS256") == "RS256":
                if int.from_bytes(from_b64url(entry["n"])).bit_length() >= MINIMUM_RSA_BITS:
                    keys[entry["kid"]] = RSAKey.import_key({name: entry[name] for name in ("kty", "n", "e")})
            elif entry.get("kty") == "EC" and entry.get("crv") == "P-256" and entry.get("alg", "ES256") == "ES256":
                keys[entry["kid"]] = ECKey.import_key({name: entry[name] for name in ("kty", "crv", "x", "y")})
        except (JoseError, InvalidArgument, KeyError, ValueError, TypeError):
            continue
    return keys


def _unreachable(url: str, why: str) -> Unavailable:
    return Unavailable(
        "IDENTITY_ISSUER_UNREACHABLE",
        f"the identity issuer can't be asked for its keys: {why}",
        remedy="try again in a moment",
        metadata={"issuer": url},
    )
