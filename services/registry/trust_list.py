"""The signed list of authorities, providers, keys and accreditations, as it is served."""

from __future__ import annotations

import asyncio
import hashlib
import zlib
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from vitne.accreditation import FactsReference, Projection, render, sign_statement
from vitne.accreditation.dids import path_name
from vitne.accreditation.extract import Extract, concerned, sign_extract
from vitne.canonical import b64url, digest_text
from vitne.credentials.jose import ES256, Signer
from vitne.errors import NotFound
from vitne.runtime.custody import KeyCustody
from vitne.runtime.signing import MeasuredSigner

#: Name of the key in custody.
LABEL: Final = "trust-list"
#: Where the facts are, relative to the statement; the number is that of the newest of them.
FACTS_PATH: Final = "trust-list/facts/{revision}"
#: Where the extract about a provider is, likewise.
EXTRACT_PATH: Final = "trust-list/extracts/{provider}"
#: An unchanged statement is signed again when it is older than this: a reader can then tell a list that is
#: fresh from one that somebody kept back, and signing costs nothing to speak of.
SIGN_AGAIN_AFTER: Final = timedelta(seconds=2)
#: Extracts that are kept for as long; beyond it the memory starts afresh.
KEPT_EXTRACTS: Final = 64
#: Facts that are rendered in one go, some 10 ms; other requests are served in between.
RENDERED_AT_ONCE: Final = 100
#: ``wbits`` of zlib for a gzip stream (RFC 1952).
_GZIP: Final = 31


def trust_list_signer(custody: KeyCustody) -> Signer:
    """The key of the list, made when there is none."""
    return MeasuredSigner(custody.ensure(LABEL, ES256), "trust_list")


@dataclass(frozen=True, slots=True)
class SignedStatement:
    """A statement as it is served."""

    token: str
    etag: str
    revision: int
    #: What dates it.
    as_of: datetime


@dataclass(frozen=True, slots=True)
class ServedFacts:
    """A body of facts as it is served; never another one under the same revision."""

    body: bytes
    etag: str
    gzip: bool


class _Body:
    """The facts in their order, rendered, hashed and packed once, as they come."""

    def __init__(self) -> None:
        self._plain = bytearray()
        self._packed = bytearray()
        self._hash = hashlib.sha256()
        self._packer = zlib.compressobj(wbits=_GZIP)
        # Registry revision of each fact, and where its line ends.
        self._revisions: list[int] = []
        self._ends: list[int] = []
        self._digests: list[bytes] = []
        self._newest: dict[bool, ServedFacts] = {}

    @property
    def revision(self) -> int:
        """Of the newest fact; zero without any."""
        return self._revisions[-1] if self._revisions else 0

    def append(self, revision: int, line: bytes) -> None:
        self._plain += line
        self._hash.update(line)
        self._packed += self._packer.compress(line)
        self._revisions.append(revision)
        self._ends.append(len(self._plain))
        self._digests.append(self._hash.digest())
        self._newest.clear()

    def reference(self) -> FactsReference:
        """The newest body."""
        path = FACTS_PATH.format(revision=self.revision)
        return FactsReference(path, b64url(self._hash.digest()), len(self._plain))

    def since(self, revision: int, known: int) -> ServedFacts | None:
        """What the body of a revision has beyond that of an earlier one; None where one of the two is no body's."""
        last, first = self._place(revision), self._place(known)
        if last is None or first is None or first > last:
            return None
        changes = bytes(self._plain[self._ends[first] : self._ends[last]])
        return ServedFacts(changes, f'"{b64url(self._digests[last])}-since-{known}"', gzip=False)

    def _place(self, revision: int) -> int | None:
        """Where the fact of a registry revision stands in the body; None where there is none of it."""
        place = bisect_right(self._revisions, revision) - 1
        return place if place >= 0 and self._revisions[place] == revision else None

    def up_to(self, revision: int, *, gzip: bool) -> ServedFacts | None:
        """The body that ends with the fact of a revision; None where none does.

        The newest is kept, packed and not. An older one, asked for by a reader of an older statement, is the
        beginning of it, and is not packed.
        """
        if revision == self.revision:
            if gzip not in self._newest:
                self._newest[gzip] = self._whole(gzip=gzip)
            return self._newest[gzip]
        place = self._place(revision)
        if place is None:
            return None
        return ServedFacts(bytes(self._plain[: self._ends[place]]), f'"{b64url(self._digests[place])}"', gzip=False)

    def _whole(self, *, gzip: bool) -> ServedFacts:
        digest = b64url(self._hash.digest())
        if not gzip:
            return ServedFacts(bytes(self._plain), f'"{digest}"', gzip=False)
        # The packer goes on where it is; its copy writes the end of the stream.
        return ServedFacts(bytes(self._packed) + self._packer.copy().flush(), f'"{digest}-gzip"', gzip=True)


class TrustListPublisher:
    """Signs a statement when it is asked for, and something has changed or it is two seconds old.

    Facts never change and are only added: each is rendered, hashed and packed once, and nothing that
    anyone may ask for costs more with every fact there is, but for the bytes that are sent.

    Args:
        projection: what is known.
        signer: the key of the list.
        as_of: up to when it is known whole. That dates the statement, not the hour of signing: a registry
            that lost its database must not look fresh.
        issuer: URI of the registry.
    """

    def __init__(self, projection: Projection, signer: Signer, as_of: Callable[[], datetime], issuer: str) -> None:
        self._projection = projection
        self._signer = signer
        self._as_of = as_of
        self._issuer = issuer
        self._body = _Body()
        self._rendering = asyncio.Lock()
        self._newest: SignedStatement | None = None
        #: By provider: registry revision, date, extract.
        self._extracts: dict[str, tuple[int, datetime, Extract]] = {}

    async def statement(self) -> SignedStatement:
        """The statement now.

        Raises:
            Unavailable: as ``as_of``.
        """
        async with self._rendering:
            as_of, revision = self._as_of(), self._projection.revision
            newest = self._newest
            if newest is None or newest.revision != revision or as_of - newest.as_of >= SIGN_AGAIN_AFTER:
                await self._render(revision)
                token = sign_statement(
                    self._body.reference(), revision, issuer=self._issuer, at=as_of, signer=self._signer
                )
                newest = self._newest = SignedStatement(token, f'"{digest_text(token.encode())}"', revision, as_of)
            return newest

    async def facts(self, revision: int, *, gzip: bool) -> ServedFacts:
        """The facts under a path that a statement named, of this replica or another.

        Args:
            revision: of the newest fact among them.
            gzip: whether the reader takes gzip; it may get them plain all the same.

        Raises:
            NotFound: ``FACTS_UNKNOWN``.
            Unavailable: as ``as_of``.
        """
        if revision > self._body.revision:
            await self.statement()
        found = self._body.up_to(revision, gzip=gzip)
        if found is None:
            raise _unknown("revision")
        return found

    async def changes(self, revision: int, known: int) -> ServedFacts:
        """What facts have beyond an earlier body of theirs (:func:`~vitne.accreditation.trust_list.changes_path`).

        Args:
            revision: of the newest fact among them.
            known: of the newest fact in the earlier body.

        Raises:
            NotFound: ``FACTS_UNKNOWN``.
            Unavailable: as ``as_of``.
        """
        if revision > self._body.revision:
            await self.statement()
        found = self._body.since(revision, known)
        if found is None:
            raise _unknown("known")
        return found

    def extract(self, provider: str) -> Extract:
        """Everything that the list says of a provider and of those whom its credentials rest on; signed now.

        Raises:
            NotFound: ``PROVIDER_UNKNOWN``.
            Unavailable: as ``as_of``.
        """
        as_of, projection = self._as_of(), self._projection
        known = self._extracts.get(provider)
        if known is not None and known[0] == projection.revision and as_of - known[1] < SIGN_AGAIN_AFTER:
            return known[2]
        if projection.provider(provider) is None:
            raise NotFound(
                "PROVIDER_UNKNOWN",
                f"{provider} is not a provider that the registry knows",
                field="provider",
                rule="an extract is about a provider, and whom its credentials rest on",
                remedy="take the id from /v1/providers",
            )
        own_key = projection.key(self._signer.key_id)
        organisations = concerned(projection, provider, own_key.owner if own_key is not None else "")
        extract = sign_extract(
            projection.trusted_facts_about(organisations),
            organisations,
            projection.revision,
            path=EXTRACT_PATH.format(provider=path_name(provider)),
            issuer=self._issuer,
            at=as_of,
            signer=self._signer,
        )
        if len(self._extracts) >= KEPT_EXTRACTS:
            self._extracts.clear()
        self._extracts[provider] = projection.revision, as_of, extract
        return extract

    async def _render(self, revision: int) -> None:
        """Take in the facts up to a revision, a few at a time."""
        while True:
            facts = self._projection.trusted_facts(self._body.revision, revision, RENDERED_AT_ONCE)
            for fact in facts:
                self._body.append(fact.registry_revision, render(fact))
            if len(facts) < RENDERED_AT_ONCE:
                return
            await asyncio.sleep(0)


def _unknown(field: str) -> NotFound:
    return NotFound(
        "FACTS_UNKNOWN",
        "no statement of this registry names these facts",
        field=field,
        rule="facts are found under the path that a statement of the trust list names",
        remedy="fetch the trust list again, and then the facts that it names",
    )
