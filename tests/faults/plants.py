"""Bugs on purpose: each is planted for the length of a run, and has to be found.

They are the ones that such systems really have. Each replaces a little of the code
under test, or of the SQL that it sends; nothing of them is in the code base.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, Final
from unittest import mock

from services.issuer.leases import LeaseKeeper
from tests.faults.sim.database import Connection
from vitne.messaging.consumer import Consumer
from vitne.messaging.headers import key_text

_OFFSET: Final = "UPDATE consumer_offset SET next_offset"
_COMPARED: Final = "AND consumer_offset.next_offset = reached.expected"
_UNPUBLISHED: Final = "FROM outbox WHERE published_at IS NULL"


@contextlib.contextmanager
def offset_outside_the_transaction() -> Iterator[None]:
    """The offset is moved by a statement of its own: whoever dies before the effect is committed has lost it."""
    original = Connection.fetchval

    async def fetchval(self: Connection, query: str, *arguments: Any) -> Any:
        if _OFFSET not in query:
            return await original(self, query, *arguments)
        async with self.session.pool.acquire() as other:
            return await original(other, query, *arguments)

    with mock.patch.object(Connection, "fetchval", fetchval), _without_hold():
        yield


@contextlib.contextmanager
def id_beyond_the_last() -> Iterator[None]:
    """The relay asks for rows with a number above the last it saw, as if numbers were committed in their order."""
    original = Connection.fetch

    async def fetch(self: Connection, query: str, *arguments: Any) -> list[Any]:
        rows = await original(self, query, *arguments)
        if _UNPUBLISHED in query:
            last = getattr(self.session, "last", 0)
            rows = [row for row in rows if row["id"] > last]
            self.session.last = max([last, *(row["id"] for row in rows)])  # type: ignore[attr-defined]  # only here
        return rows

    with mock.patch.object(Connection, "fetch", fetch):
        yield


@contextlib.contextmanager
def mark_before_publish() -> Iterator[None]:
    """The relay marks rows as published, then publishes them."""
    original = Connection.fetch

    async def fetch(self: Connection, query: str, *arguments: Any) -> list[Any]:
        rows = await original(self, query, *arguments)
        if _UNPUBLISHED in query and rows:
            ids = [row["id"] for row in rows]
            await self.execute("UPDATE outbox SET published_at = now() WHERE id = ANY ($1)", ids)
        return rows

    with mock.patch.object(Connection, "fetch", fetch):
        yield


@contextlib.contextmanager
def lease_reuse() -> Iterator[None]:
    """An issuer that starts gives its leased indexes out from the first on: where it was, only its memory knew."""
    original = LeaseKeeper.run

    async def run(self: LeaseKeeper) -> None:
        await self._pool.execute("UPDATE index_lease SET taken = 0 WHERE list IS NOT NULL")
        await original(self)

    with mock.patch.object(LeaseKeeper, "run", run):
        yield


@contextlib.contextmanager
def no_compare_and_set() -> Iterator[None]:
    """A consumer moves its offset wherever it was: one that lost its partition goes on."""
    original = Connection.fetchval

    async def fetchval(self: Connection, query: str, *arguments: Any) -> Any:
        if _OFFSET in query:
            assert _COMPARED in query
            query = query.replace(_COMPARED, "")
        return await original(self, query, *arguments)

    with mock.patch.object(Connection, "fetchval", fetchval), _without_hold():
        yield


@contextlib.contextmanager
def _without_hold() -> Iterator[None]:
    """Consumers don't lock their offset's row, nor look at it, before they handle messages."""

    async def hold(self: Consumer, conn: Any, partition: Any) -> None:
        return None

    with mock.patch.object(Consumer, "_hold", hold):
        yield


@contextlib.contextmanager
def failed_is_handled() -> Iterator[None]:
    """A message that was parked counts as handled: later ones of its key go on, and it is dropped when replayed."""
    original = Consumer._fail

    async def fail(self: Consumer, conn: Any, batch: Any, record: Any, revision: int | None, error: Any) -> None:
        await original(self, conn, batch, record, revision, error)
        if revision is not None:
            key = key_text(record.key)
            batch.seen[key] = batch.advanced[key] = revision
            batch.failed.discard(key)

    with mock.patch.object(Consumer, "_fail", fail):
        yield


@contextlib.contextmanager
def lock_kept() -> Iterator[None]:
    """A session that is done with its lock goes back to the pool with it: nobody else ever leads."""

    async def keep(connection: Any, key: int) -> None:
        return None

    with mock.patch("vitne.session_lock._give_back", keep):
        yield


#: By name.
PLANTS: Final[dict[str, Callable[[], contextlib.AbstractContextManager[None]]]] = {
    plant.__name__: plant
    for plant in (
        offset_outside_the_transaction,
        id_beyond_the_last,
        mark_before_publish,
        lease_reuse,
        no_compare_and_set,
        failed_is_handled,
        lock_kept,
    )
}
