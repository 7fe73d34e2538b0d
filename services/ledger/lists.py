"""Status lists are published: signed, versioned, served from memory.

A list is signed again as soon as a change of one of its statuses is committed,
and well before the last signature expires. A version is a row before anyone sees
it: its number is the row's key, so of several replicas one publishes and the
others take over what it signed, and no list ever goes back to an earlier state.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import UUID

import asyncpg
import msgspec

from services.ledger.events import list_event, timestamp
from services.ledger.log_store import queue_leaves
from services.ledger.metrics import STATUS_PUBLICATION_DELAY
from services.ledger.transitions import Status
from services.ledger.vector import BITS, StatusVector
from vitne.canonical import b64url, from_b64url, sha256
from vitne.clock import Clock
from vitne.credentials.jose import Signer
from vitne.credentials.status_list import CLOCK_SKEW, decode, sign_token
from vitne.errors import Unavailable
from vitne.merkle.leaves import ListPublished
from vitne.messaging.outbox import Statement, append
from vitne.outages import DATABASE_OUTAGES
from vitne_api.events.v1 import events_pb2

#: At most once in this time is a list's newest version put into the log (RECORDS: Log leaves).
LOG_EVERY: Final = timedelta(minutes=1)
#: A list is signed anew when this part of its lifetime has passed: two attempts' time is left then.
RESIGN_AFTER: Final = 1 / 3
#: How long a lease waits for the list that it opened; some 10 ms are needed.
PATIENCE_SECONDS: Final = 5.0
#: How long to wait after the database or the key custody failed.
RETRY_SECONDS: Final = 0.5

#: What a list's next version is made of: the changes from a number on, in their order, and what is there already.
_CATCH_UP: Final = """
    SELECT fresh.*,
        (SELECT greatest(coalesce(max(version), 0), $3::integer) + 1 FROM list_version WHERE list_id = $1) AS version,
        coalesce((SELECT changes FROM list_version WHERE list_id = $1 ORDER BY version DESC LIMIT 1), 0) AS shown,
        (SELECT published FROM list_version WHERE list_id = $1 ORDER BY version DESC LIMIT 1) AS published,
        coalesce((SELECT leaves_before + size FROM log), 0) AS tree_size
    FROM (
        SELECT array_agg(number ORDER BY number) AS numbers, array_agg(index ORDER BY number) AS indexes,
            array_agg(status ORDER BY number) AS statuses, array_agg(recorded ORDER BY number) AS moments
        FROM status_change WHERE list_id = $1 AND number > $2
    ) AS fresh
"""

#: All lists with their newest versions, and when one was last put into the log.
_DUE: Final = """
    SELECT list.id, url, size, list.changes, newest.*,
        (SELECT max(logged) FROM list_version WHERE list_id = list.id AND logged <= $1) AS last_logged
    FROM status_list AS list LEFT JOIN LATERAL
        (SELECT version, changes AS shown, published, logged, token IS NULL AS lost FROM list_version
            WHERE list_id = list.id ORDER BY version DESC LIMIT 1) AS newest ON true
"""
#: The newest version of each of some lists, where that is later than the one that is known; by the key.
_LATER: Final = """
    SELECT list_id, later.* FROM unnest($1::integer[], $2::integer[]) AS known (list_id, version) CROSS JOIN LATERAL
        (SELECT version, token, digest, published FROM list_version
            WHERE list_id = known.list_id AND version > known.version ORDER BY version DESC LIMIT 1) AS later
"""
#: How many are read at a time: of a full list of 131,072 places some 30 KiB each.
_READ_AT_ONCE: Final = 256
#: Lists that this process has not met.
_UNKNOWN: Final = "SELECT id, url, size FROM status_list WHERE id <> ALL ($1::integer[])"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PublishedList:
    """A list as it is served.

    Attributes:
        url: what credentials carry.
        version: from 1.
        token: the signed Status List Token.
        digest: SHA-256 of ``token``, 32 bytes.
        published: when it was signed.
    """

    url: str
    version: int
    token: bytes = field(repr=False)
    digest: bytes
    published: datetime

    @property
    def path(self) -> str:
        """Where it is served."""
        return urlsplit(self.url).path

    @property
    def etag(self) -> str:
        """Strong entity tag (RFC 9110, section 8.8.3)."""
        return f'"{b64url(self.digest)}"'


@dataclass(slots=True)
class _Shelf:
    """What this process holds of one list: the statuses up to ``changes``, and the newest version."""

    list_id: int
    url: str
    vector: StatusVector
    changes: int = 0
    newest: PublishedList | None = None
    #: Not before then (monotonic seconds) is it signed again for its date alone.
    next_resign: float = 0.0


@dataclass(frozen=True, slots=True)
class _Draft:
    """A version that is about to be published."""

    version: int
    changes: int
    tree_size: int
    #: When the changes were recorded that no version showed yet.
    recorded: tuple[datetime, ...]
    #: The date of the version before, whoever published that.
    before: datetime | None


class ListPublisher:
    """Publishes lists and holds what is published.

    Args:
        pool: the ledger's database.
        signer: the key for status lists (ES256).
        clock: dates the lists.
        new_id: makes the UUIDv7 of events.
        lifetime: how long a signed list may be relied on (``exp``).
        ttl: how long a copy may be kept before asking again; whole seconds.
        interval: seconds at least between two versions of a list, and between looks for other replicas' changes.
    """

    def __init__(
        self,
        pool: asyncpg.Pool,
        signer: Signer,
        clock: Clock,
        new_id: Callable[[], UUID],
        *,
        lifetime: timedelta,
        ttl: timedelta,
        interval: float,
    ) -> None:
        self._pool = pool
        self._signer = signer
        self._clock = clock
        self._new_id = new_id
        self._lifetime = lifetime
        self._interval = interval
        self.ttl = ttl
        self._shelves: dict[int, _Shelf] = {}
        self._by_path: dict[str, _Shelf] = {}
        self._wake = asyncio.Event()
        self._progress = asyncio.Event()
        self._loaded = False

    def find(self, path: str) -> PublishedList | None:
        """The list whose URL has this path (``/2026/no-1``), from memory."""
        shelf = self._by_path.get(path)
        return shelf.newest if shelf else None

    def published(self) -> list[PublishedList]:
        """All lists, by URL."""
        lists = (shelf.newest for shelf in self._shelves.values())
        return sorted((newest for newest in lists if newest is not None), key=lambda newest: newest.url)

    async def is_newest(self, entry: PublishedList) -> bool:
        """Whether no replica has published a later version of a list by now."""
        newest = await self._pool.fetchval(
            "SELECT version FROM list_version WHERE list_id = (SELECT id FROM status_list WHERE url = $1) "
            "ORDER BY version DESC LIMIT 1",
            entry.url,
        )
        return bool(newest == entry.version)

    async def was_published(self, url: str, second: datetime) -> bool:
        """Whether a version of a list is dated so, to the second."""
        return bool(
            await self._pool.fetchval(
                "SELECT EXISTS (SELECT FROM list_version WHERE list_id = (SELECT id FROM status_list WHERE url = $1) "
                "AND published >= $2 AND published < $2 + interval '1 second')",
                url,
                second,
            )
        )

    @property
    def loaded(self) -> bool:
        """Whether what is published has been read since the start."""
        return self._loaded

    async def until_published(self, url: str) -> None:
        """Return once the list of this URL is published, so that nobody is sent to a list that is not there.

        Raises:
            Unavailable: ``LIST_NOT_PUBLISHED`` after :data:`PATIENCE_SECONDS`.
        """
        path = urlsplit(url).path
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while self.find(path) is None:
                    self.wake()
                    await self._progress.wait()
        except TimeoutError as error:
            raise Unavailable(
                "LIST_NOT_PUBLISHED",
                f"{url} is not published yet",
                rule="a list is published before anyone is given a place in it",
                remedy="repeat the call with the same request",
            ) from error

    def wake(self) -> None:
        """Say that something was committed that is to be published at once."""
        self._wake.set()

    async def run(self) -> None:
        """Publish what is due until cancelled; a database or key custody that fails is tried again, without end."""
        while True:
            try:
                self._wake.clear()
                if await self.publish_due():
                    await self._clock.sleep(self._interval)  # what changes meanwhile shares the next version
                else:
                    await self._pause()
            except (*DATABASE_OUTAGES, Unavailable) as error:
                _log.warning("publishing failed, trying again: %s", type(error).__name__)
                await self._clock.sleep(RETRY_SECONDS)

    async def publish_due(self) -> int:
        """Publish the lists that changed or get old, take over what other replicas published; answer how many."""
        rows = await self._pool.fetch(
            _DUE,
            # What a clock logged that was ahead keeps nothing from being logged until that time comes.
            (now := self._clock.now()) + LOG_EVERY,
        )
        shelves = [self._shelf(row) for row in rows]
        behind = [shelf for shelf, row in zip(shelves, rows, strict=True) if _version(shelf) < (row["version"] or 0)]
        await self._take_over(self._pool, behind)
        published = 0
        for shelf, row in zip(shelves, rows, strict=True):
            old = row["version"] is not None and self._is_old(shelf, now - row["published"])
            # Of a version that was read back from the topic, whoever fetched it has what was signed.
            if row["version"] is None or row["lost"] or row["changes"] > row["shown"] or old:
                published += await self._publish(shelf, last_logged=row["last_logged"])
            elif row["logged"] is None and (row["last_logged"] is None or now - row["last_logged"] >= LOG_EVERY):
                async with self._pool.acquire() as connection, connection.transaction():
                    await self._log_version(connection, shelf, row["version"])
        self._loaded = True
        return published

    async def take_over(self, session: Any, paths: Collection[str]) -> None:
        """Show what other replicas have published by now of the lists whose URLs have these paths.

        Args:
            session: with the ledger's database.
            paths: of lists, and of anything else.

        Raises:
            Exception: one of :data:`~vitne.outages.DATABASE_OUTAGES`.
        """
        if any(path not in self._by_path for path in paths):
            for row in await session.fetch(_UNKNOWN, list(self._shelves)):
                self._shelf(row)
        await self._take_over(session, [shelf for path in paths if (shelf := self._by_path.get(path)) is not None])

    async def publish_anew(self, list_id: int, *, beyond: int) -> tuple[PublishedList, StatusVector, int]:
        """Publish a list whatever stands, folded from its first change.

        Args:
            list_id: of the list.
            beyond: a version that the new one comes after, beside those that are stored.

        Returns:
            what was published, the statuses that it shows, and how many changes those come from.
        """
        row = await self._pool.fetchrow("SELECT id, url, size FROM status_list WHERE id = $1", list_id)
        shelf = self._shelf(row)
        shelf.vector, shelf.changes = StatusVector(row["size"]), 0
        while not await self._publish(shelf, beyond=beyond):
            pass  # Another replica took the version's number: with the next one.
        if shelf.newest is None:
            raise RuntimeError("what was published is shown")
        return shelf.newest, shelf.vector, shelf.changes

    @staticmethod
    def statuses_of(token: bytes) -> bytes:
        """What a token of ours says, as :meth:`StatusVector.packed` does; its signature is not checked."""
        _, payload, _ = token.split(b".")
        claims = msgspec.json.decode(from_b64url(payload.decode("ascii")))
        return decode(claims["status_list"]["lst"])

    def _is_old(self, shelf: _Shelf, age: timedelta) -> bool:
        """Whether a version is to be signed again for its date alone.

        So it is when a clock that was ahead dated it later than relying parties accept. Replicas
        whose clocks differ by more would sign in turns, so each waits a ``ttl`` in between.
        """
        if -CLOCK_SKEW <= age < self._lifetime * RESIGN_AFTER or self._clock.monotonic() < shelf.next_resign:
            return False
        shelf.next_resign = self._clock.monotonic() + self.ttl.total_seconds()
        return True

    def _shelf(self, row: Any) -> _Shelf:
        shelf = self._shelves.get(row["id"])
        if shelf is None:
            shelf = self._shelves[row["id"]] = _Shelf(row["id"], row["url"], StatusVector(row["size"]))
            self._by_path[urlsplit(shelf.url).path] = shelf
        return shelf

    async def _take_over(self, session: Any, shelves: Sequence[_Shelf]) -> None:
        """Show the newest versions of lists, where those are later than what is shown."""
        for first in range(0, len(shelves), _READ_AT_ONCE):
            some = shelves[first : first + _READ_AT_ONCE]
            for row in await session.fetch(_LATER, [each.list_id for each in some], [_version(each) for each in some]):
                if row["token"] is None:
                    continue  # It was superseded since, and has expired: the next look finds the newer one.
                shelf = self._shelves[row["list_id"]]
                self._show(
                    shelf, PublishedList(shelf.url, row["version"], row["token"], row["digest"], row["published"])
                )

    def _show(self, shelf: _Shelf, newest: PublishedList) -> None:
        """Serve a version from now on, unless a later one came between, and tell those who wait for one."""
        if shelf.newest is None or shelf.newest.version < newest.version:
            shelf.newest = newest
        progress, self._progress = self._progress, asyncio.Event()
        progress.set()

    async def _publish(self, shelf: _Shelf, *, beyond: int = 0, last_logged: datetime | None = None) -> bool:
        """Sign the list as it is now and make that its newest version; False when another replica was faster.

        Args:
            shelf: the list.
            beyond: see :meth:`publish_anew`.
            last_logged: when a version of the list was put into the log, as far as it is known.
        """
        # Before it is read what there is, so that whatever was there at its date is shown.
        now = self._clock.now()
        draft = await self._catch_up(shelf, beyond)
        published = _dated(now, draft.before)
        expires = published + self._lifetime
        # In a thread: compressing a full list takes tens of milliseconds, in which nobody else should wait.
        signed = await asyncio.to_thread(
            sign_token,
            uri=shelf.url,
            packed=shelf.vector.packed(),
            bits=BITS,
            issued_at=published,
            expires_at=expires,
            ttl=self.ttl,
            signer=self._signer,
        )
        token = signed.encode("ascii")
        newest = PublishedList(shelf.url, draft.version, token, sha256(token), published)
        told = events_pb2.StatusListPublished(
            list=newest.url, version=newest.version, digest=b64url(newest.digest), published=timestamp(published)
        )
        event = list_event(told, time=published, new_id=self._new_id)
        added = Statement(
            "INSERT INTO list_version (list_id, version, changes, tree_size, token, digest, published, expires) "
            "VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING list_id",
            (
                shelf.list_id,
                newest.version,
                draft.changes,
                draft.tree_size,
                token,
                newest.digest,
                published,
                expires,
            ),
            name="added",
        )
        # Two who publish meet at the version, holding nothing: who waited there with the list would stand in the way
        # of the other. Then the list, before its aggregate, as whoever changes statuses; these wait meanwhile, so it
        # is one statement.
        held = Statement("SELECT FROM status_list WHERE id = (SELECT list_id FROM added) FOR UPDATE", ())
        try:
            async with self._pool.acquire() as connection:
                if last_logged is not None and published - last_logged < LOG_EVERY:
                    await append(connection, [event], beside=[added], first=held)
                else:
                    async with connection.transaction():
                        await append(connection, [event], beside=[added], first=held)
                        await self._log_version(connection, shelf, newest.version)
        except asyncpg.UniqueViolationError as error:
            if error.table_name != "list_version":
                raise
            return False
        self._show(shelf, newest)
        served = self._clock.now()
        for recorded in draft.recorded:
            STATUS_PUBLICATION_DELAY.record(max(0.0, (served - recorded).total_seconds()))
        return True

    async def _catch_up(self, shelf: _Shelf, beyond: int) -> _Draft:
        """Bring the vector up to the newest change, and say what a version made of it shows."""
        # One statement, one snapshot: whatever leaf the log has in it, its change is in it too.
        row = await self._pool.fetchrow(_CATCH_UP, shelf.list_id, shelf.changes, beyond)
        recorded: list[datetime] = []
        for number, index, status, moment in zip(
            *(row[name] or () for name in ("numbers", "indexes", "statuses", "moments")), strict=True
        ):
            shelf.vector[index] = Status(status)
            shelf.changes = number
            # A list that is read anew after a start has changes that were published long ago.
            if number > row["shown"]:
                recorded.append(moment)
        return _Draft(row["version"], shelf.changes, row["tree_size"], tuple(recorded), row["published"])

    async def _log_version(self, connection: Any, shelf: _Shelf, version: int) -> None:
        """Queue the version's leaf unless the list had one less than a minute ago."""
        # The row's lock lets one replica at a time ask and answer.
        await connection.execute("SELECT FROM status_list WHERE id = $1 FOR UPDATE", shelf.list_id)
        now = self._clock.now()
        row = await connection.fetchrow(
            "UPDATE list_version SET logged = $3 WHERE list_id = $1 AND version = $2 AND logged IS NULL "
            "AND NOT EXISTS (SELECT FROM list_version WHERE list_id = $1 AND logged > $4 AND logged <= $5) "
            "RETURNING digest, tree_size",
            shelf.list_id,
            version,
            now,
            now - LOG_EVERY,
            now + LOG_EVERY,
        )
        if row is not None:
            leaf = ListPublished(shelf.url, version, row["digest"], row["tree_size"])
            await queue_leaves(connection, [leaf.to_bytes()], happened=[now])

    async def _pause(self) -> None:
        """Wait for a call of :meth:`wake`, an interval at most."""
        waits = [asyncio.create_task(self._wake.wait()), asyncio.create_task(self._clock.sleep(self._interval))]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()


def _version(shelf: _Shelf) -> int:
    """The newest that is known of a list; 0: none."""
    return shelf.newest.version if shelf.newest else 0


def _dated(now: datetime, before: datetime | None) -> datetime:
    """Now; and while a clock is being corrected, as the version before: readers take the later one for newer.

    A version that is dated later than relying parties accept is no measure: its clock was ahead.
    """
    return now if before is None or before - now > CLOCK_SKEW else max(now, before)
