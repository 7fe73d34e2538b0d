"""Puts queued leaves into the log: one writer, fenced, in batches.

Every batch is one transaction: it takes leaves off the queue, gives them their
places, stores them and the tiles they change, and replaces the checkpoint. So a
sequencer that dies anywhere has done a whole batch or none of it, and no leaf is
lost or entered twice. Who may write is settled twice over: an advisory lock
keeps a second sequencer waiting, and the log's *epoch*, which each batch checks,
stops one that was claimed over, or whose log others contradict
(:mod:`services.ledger.outside`). All that a sequencer writes, it writes in the
session that holds its lock: with that session gone, as when another database was
put in its place, nothing is written before the log was claimed anew.

A checkpoint leaves this process only after its commit: no two signed ones of one
size with different roots are ever seen.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final
from uuid import UUID

import asyncpg

from services.ledger.journal import write_journal
from services.ledger.log_store import extend_log, start_log
from services.ledger.metrics import LOG_INTEGRATION_DELAY, LOG_SIZE
from services.ledger.shards import Shard
from services.ledger.signing import Signers, require_key, sign_tree
from vitne.clock import Clock
from vitne.errors import Aborted, DataLoss, FailedPrecondition, Unavailable
from vitne.merkle.hashing import leaf_hash
from vitne.outages import DATABASE_OUTAGES
from vitne.runtime.telemetry import DATABASE, joined
from vitne.session_lock import session_lock

#: Most leaves in a batch: some tenths of a second of work, within the second that a leaf may take.
MAX_BATCH: Final = 8192
#: How often a second sequencer looks whether it is needed.
STANDBY_SECONDS: Final = 0.25
#: How long to wait after the database failed.
RETRY_SECONDS: Final = 0.5
#: How long to wait after something that only an operator can mend.
STANDSTILL_SECONDS: Final = 2.0
#: Key of the advisory lock, any number that nothing else in the ledger's database locks.
_LOCK: Final = 0x7669_746E_6C6F_6701

#: Takes leaves off the queue, in their order; as one row, since thousands of rows cost more than what is in them.
_TAKE: Final = """
    WITH taken AS (
        DELETE FROM queued_leaf
        WHERE number <= (SELECT max(number) FROM (SELECT number FROM queued_leaf ORDER BY number LIMIT $1) AS first)
        RETURNING number, record, happened, traceparent
    )
    SELECT array_agg(record ORDER BY number) AS records,
           array_agg(happened ORDER BY number) FILTER (WHERE happened IS NOT NULL) AS happened,
           array_agg(traceparent ORDER BY number) FILTER (WHERE traceparent IS NOT NULL) AS traceparents
    FROM taken
"""

_log = logging.getLogger(__name__)


class Sequencer:
    """Integrates queued leaves until cancelled.

    Args:
        pool: the ledger's database.
        origin: one of the logs that the database holds; the first one's, where it holds none.
        signers: has the logs' keys.
        clock: waits between batches.
        new_id: makes the UUIDv7 of events.
        interval: seconds between looks at an empty queue.
        max_batch: most leaves in one transaction.
        agrees: raises DataLoss where others have more of the log than the database, or something else.
    """

    def __init__(
        self,
        pool: asyncpg.Pool,
        origin: str,
        signers: Signers,
        clock: Clock,
        new_id: Callable[[], UUID],
        *,
        interval: float,
        max_batch: int = MAX_BATCH,
        agrees: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._pool = pool
        self._origin = origin
        self._signers = signers
        self._clock = clock
        self._new_id = new_id
        self._interval = interval
        self._max_batch = max_batch
        self._agrees = agrees
        self._epoch = 0

    async def run(self) -> None:
        """Wait for the lock, then integrate; a database that fails is tried again, without end."""
        while True:
            try:
                async with self._pool.acquire() as connection, session_lock(connection, _LOCK) as leads:
                    if leads:
                        await self.claim(connection)
                        await self._integrate_forever(connection)
                await self._clock.sleep(STANDBY_SECONDS)
            except Aborted:
                _log.warning("another sequencer has taken over the log; standing by")
                await self._clock.sleep(STANDBY_SECONDS)
            except DATABASE_OUTAGES as error:
                _log.warning("sequencing failed, trying again: %s", type(error).__name__)
                await self._clock.sleep(RETRY_SECONDS)
            except (DataLoss, Unavailable) as error:
                # The log stands still until an operator has helped. Statuses and lists, on which more depends, go on.
                _log.error("the log stands still: %s", error)
                await self._clock.sleep(STANDSTILL_SECONDS)

    async def claim(self, connection: Any = None) -> None:
        """Become the log's writer: the next epoch. Signs the checkpoint anew, by the keys that sign now.

        Before anything is signed, it is asked what others have of the log: a database that went back is not written.

        Args:
            connection: the session that holds the lock; any of the pool's where there is none.

        Raises:
            DataLoss: ``LOG_ROLLED_BACK``, ``LOG_FORKED``: others have what the database has not.
            FailedPrecondition: ``LOG_ORIGIN_CHANGED`` when the database holds another log.
            Unavailable: ``LOG_KEY_MISSING``; ``LOG_KEY_CHANGED``: the key here is not the one that signed.
        """
        if self._agrees is not None:
            await self._agrees()
        origin = self._origin
        async with self._session(connection) as session, session.transaction():
            await start_log(session, origin)
            row = await session.fetchrow(
                "SELECT shard, origin, leaves_before, tiles_before, epoch, size, root, checkpoint, key_number, "
                "former_until FROM log FOR UPDATE"
            )
            if row["origin"] != origin and not await session.fetchval(
                "SELECT EXISTS (SELECT FROM closed_log WHERE origin = $1)", origin
            ):
                raise FailedPrecondition(
                    "LOG_ORIGIN_CHANGED",
                    f"the database holds the log {row['origin']}, not {origin}",
                    field="log_origin",
                    rule="a log keeps its origin for ever (tlog-checkpoint)",
                    remedy="set the origin back, or start a new log with a database of its own",
                )
            require_key(self._signers(row["origin"], row["key_number"]), row["checkpoint"])
            note = sign_tree(self._signers, row, row["size"], row["root"], self._clock.now())
            epoch = row["epoch"] + 1
            await session.execute("UPDATE log SET epoch = $1, checkpoint = $2", epoch, note)
        self._epoch = epoch
        LOG_SIZE.set(row["leaves_before"] + row["size"])

    async def _integrate_forever(self, connection: Any) -> None:
        while True:
            if await self.integrate(connection) < self._max_batch:
                await self._clock.sleep(self._interval)

    async def integrate(self, connection: Any = None) -> int:
        """Integrate one batch; answer how many leaves were taken off the queue.

        Args:
            connection: as for :meth:`claim`.

        Raises:
            Aborted: ``SEQUENCER_FENCED`` when another sequencer has claimed the log since.
            DataLoss: ``LOG_CORRUPT`` when the tiles do not lead to the stored root.
        """
        async with self._session(connection) as session:
            # Looked at without a transaction: an idle log writes nothing, not even a lock.
            if not await session.fetchval("SELECT EXISTS (SELECT FROM queued_leaf)"):
                return 0
            return await self._batch(session)

    async def _batch(self, session: Any) -> int:
        async with session.transaction():
            log = await session.fetchrow(
                "SELECT shard, origin, leaves_before, tiles_before, epoch, size, root, journaled, key_number, "
                "former_until FROM log FOR UPDATE"
            )
            if log is None or log["epoch"] != self._epoch:
                raise Aborted(
                    "SEQUENCER_FENCED",
                    "another sequencer has claimed the log",
                    rule="a batch is written under the newest epoch only",
                    remedy="stand by; claim the log again when the other has gone",
                )
            taken = await session.fetchrow(_TAKE, self._max_batch)
            records: list[bytes] = taken["records"] or []
            leaves = await _without_known(session, {leaf_hash(record): record for record in records})
            size: int = log["size"] + len(leaves)
            if leaves:
                with joined("integrate leaves", taken["traceparents"] or (), DATABASE):
                    await self._append(session, log, leaves)
        LOG_SIZE.set(log["leaves_before"] + size)
        now = self._clock.now()
        for happened in taken["happened"] or ():
            LOG_INTEGRATION_DELAY.record(max(0.0, (now - happened).total_seconds()))
        return len(records)

    @asynccontextmanager
    async def _session(self, given: Any) -> AsyncIterator[Any]:
        """The session that was given, or one of the pool's."""
        if given is not None:
            yield given
            return
        async with self._pool.acquire() as own:
            yield own

    async def _append(self, connection: Any, log: Any, leaves: dict[bytes, bytes]) -> None:
        shard, now = Shard.of(log), self._clock.now()
        tree = await extend_log(connection, shard, log["size"], log["root"], leaves)
        root = tree.root()
        note = sign_tree(self._signers, log, tree.size, root, now)
        told = await write_journal(
            connection,
            shard=shard,
            first=log["journaled"],
            size=tree.size,
            root=root,
            newest=list(leaves.values()),
            now=now,
            new_id=self._new_id,
        )
        await connection.execute(
            "UPDATE log SET size = $1, root = $2, checkpoint = $3, journaled = $4", tree.size, root, note, told
        )


async def _without_known(connection: Any, leaves: dict[bytes, bytes]) -> dict[bytes, bytes]:
    """Those leaves (record by hash) that the log has not got: an event that was repeated is the same leaf."""
    # In the index's order, so that what lies together there is looked at together.
    hashes = sorted(leaves)
    places = await connection.fetchval("SELECT leaf_places($1::bytea[])", hashes)
    known = {hashed for hashed, place in zip(hashes, places, strict=True) if place is not None}
    return {hashed: record for hashed, record in leaves.items() if hashed not in known} if known else leaves
