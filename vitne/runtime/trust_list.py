"""The registry's signed trust list over HTTP, kept up with: what needs no topic to know the registry."""

from __future__ import annotations

import asyncio
import logging
from typing import Final
from urllib.parse import urljoin, urlsplit

from vitne.accreditation import Projection, Statement, read_facts, read_statement
from vitne.accreditation.trust_list import MAX_STATEMENT_LENGTH, changes_path
from vitne.canonical import digest_text
from vitne.clock import Clock
from vitne.errors import DataLoss, InvalidArgument, Unavailable, VitneError
from vitne.runtime.fetch import PRIVATE, AllowRule, Fetcher, Fetches

#: Whole time of fetching a trust list's facts, in seconds: they may have megabytes.
TRUST_LIST_TIMEOUT_SECONDS: Final = 20.0
#: Facts that are folded in one go, some 5 ms; others are answered in between.
FOLDED_AT_ONCE: Final = 100

_log = logging.getLogger(__name__)


def trust_list_fetcher(url: str, *, development: bool) -> Fetcher:
    """What fetches a trust list: from its own folder, and from nowhere else, wherever that is.

    Args:
        url: of the list's statement.
        development: whether plain http to loopback is allowed.

    Raises:
        InvalidArgument: ``BAD_URL``, ``BAD_ALLOW_RULE``.
    """
    parts = urlsplit(url)
    if not parts.hostname:
        raise _bad_url("the trust list's address is no absolute URL")
    if not parts.path.strip("/"):
        raise _bad_url("the trust list's address names a host, and not where on it the list is")
    return Fetcher(
        # Whoever operates this chose the address, and nobody else can change anything in it.
        [AllowRule.parse(url[: url.rfind("/") + 1] + PRIVATE)],
        development=development,
        timeout_seconds=TRUST_LIST_TIMEOUT_SECONDS,
        # A statement is small and seldom the same, and what its facts were is kept here.
        cached_bodies=0,
    )


class TrustListSource:
    """Keeps a projection up with the registry's signed list, of which one key's thumbprint is pinned.

    Args:
        url: of the list's statement.
        key_id: RFC 7638 thumbprint of the key that signs it: all that has to be known before.
        issuer: the URI that the list must come from.
        projection: what to fold into.
        clock: tells the present.
        fetcher: see :func:`trust_list_fetcher`.
    """

    def __init__(
        self, url: str, key_id: str, issuer: str, projection: Projection, clock: Clock, *, fetcher: Fetches
    ) -> None:
        self._url = url
        self._key_id = key_id
        self._issuer = issuer
        self._projection = projection
        self._clock = clock
        self._fetcher = fetcher
        self._newest: Statement | None = None
        self._body = b""

    @property
    def taken(self) -> bool:
        """Whether a list was taken, whole, since the start."""
        return self._newest is not None

    async def refresh(self) -> None:
        """Fetch the statement, and its facts where there are new ones; check them, and fold them.

        Raises:
            Unavailable: ``FETCH_FAILED`` and its kin, ``TRUST_LIST_EXPIRED``.
            InvalidArgument: ``BAD_TRUST_LIST``, or as :func:`~vitne.credentials.jose.parse_jws`.
            DataLoss: as :meth:`~vitne.accreditation.Projection.adopt`.
        """
        fetched = await self._fetcher.fetch(self._url, max_bytes=MAX_STATEMENT_LENGTH)
        compact = fetched.body.decode("ascii", "replace")
        statement = read_statement(compact, pinned=self._key_id, issuer=self._issuer, now=self._clock.now())
        newest = self._newest
        if newest is not None and statement.registry_revision < newest.registry_revision:
            return  # from a replica that lags: there is nothing new in it
        if newest is None or statement.facts != newest.facts:
            await self._take_facts(statement)
        statement.fold_into(self._projection)
        self._newest = statement

    async def _take_facts(self, statement: Statement) -> None:
        body = await self._changed_body(statement) or await self._fetch(statement.facts.path, statement.facts.size)
        # In a thread: reading all of them takes seconds, in which nobody else should wait.
        facts = await asyncio.to_thread(read_facts, statement, body, known=self._body)
        # What is folded counts as known once all before it is: the statement says so only when everything is.
        for number, fact in enumerate(facts, start=1):
            self._projection.fold(fact)
            if number % FOLDED_AT_ONCE == 0:
                await asyncio.sleep(0)
        self._body = body

    async def _changed_body(self, statement: Statement) -> bytes:
        """The statement's facts, made of those that are known and what was added; empty where that can't be had."""
        newest, known = self._newest, len(self._body)
        if newest is None or not known or statement.facts.size <= known:
            return b""
        path = changes_path(statement.facts.path, newest.facts.path)
        try:
            body = self._body + await self._fetch(path, statement.facts.size - known)
        except Unavailable as error:
            _log.info("the changes of the registry's trust list were not to be had, all of it is fetched: %s", error)
            return b""
        return body if await asyncio.to_thread(digest_text, body) == statement.facts.digest else b""

    async def _fetch(self, path: str, size: int) -> bytes:
        return (await self._fetcher.fetch(urljoin(self._url, path), max_bytes=size)).body

    async def run(self, every_seconds: float) -> None:
        """Refresh for ever. A failure is logged: the projection then ages, and past its bound says nothing."""
        while True:
            try:
                await self.refresh()
            except DataLoss:
                raise  # the registry contradicts itself: an operator is needed
            except VitneError as error:
                _log.warning("the registry's trust list was not taken: %s", error)
            await self._clock.sleep(every_seconds)


def _bad_url(problem: str) -> InvalidArgument:
    return InvalidArgument(
        "BAD_URL",
        problem,
        field="trust_list",
        rule="https://host/path",
        remedy="give the address at which the registry publishes its list, such as https://registry.example/v1/trust-list",
    )
