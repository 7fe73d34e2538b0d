"""Checkpoints that witnesses cosigned: kept, found again, and which one is shown to whoever asks for the newest.

As long as witnesses answer, what they cosigned is shown of a log, from a row that is written only over what is smaller
or of the same size, and begins with whatever may have been shown before. So whatever clocks say, and whoever cosigns
late, no reader is shown a checkpoint and then a smaller one, by whichever replicas.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import asyncpg

from services.ledger.log_store import not_started
from services.ledger.shards import Shard, StoredCheckpoint
from vitne.clock import Clock
from vitne.errors import VitneError
from vitne.outages import DATABASE_OUTAGES

#: Seconds for which a cosigned checkpoint is shown on although the log has grown beyond it. Witnesses answer within a
#: second or two; where they are silent for longer, fresh without them is worth more than stale with them.
PATIENCE_SECONDS: Final = 10.0
#: Seconds between two looks at how long it has been so, though nobody asks.
LOOK_SECONDS: Final = 1.0

#: A log's newest own checkpoint, the one that is shown, and the newest that was cosigned, in one snapshot. Which log:
#: of that number, or the one that grows.
_STATE: Final = """
    SELECT own.*, shown.size AS shown_size, shown.note AS shown_note, last.size AS cosigned_size,
        last.note AS cosigned_note
    FROM (
        SELECT shard, origin, leaves_before, tiles_before, size, checkpoint FROM log
        UNION ALL SELECT shard, origin, leaves_before, tiles_before, size, checkpoint FROM closed_log
    ) AS own LEFT JOIN shown_checkpoint AS shown USING (shard) LEFT JOIN LATERAL (
        SELECT size, note FROM witnessed_checkpoint WHERE shard = own.shard ORDER BY size DESC, cosigned DESC LIMIT 1
    ) AS last ON true
    WHERE own.shard = coalesce($1::integer, (SELECT shard FROM log))
"""
#: Logs, also those that ended, that are larger than what is shown of them.
_BEHIND: Final = """
    SELECT shard FROM shown_checkpoint AS shown
    JOIN (SELECT shard, size FROM log UNION ALL SELECT shard, size FROM closed_log) AS own USING (shard)
    WHERE own.size > shown.size
"""
#: One that is not smaller than those before it; dated now, and after each of them.
_KEEP: Final = """
    INSERT INTO witnessed_checkpoint (cosigned, shard, size, note)
    SELECT greatest($1, (SELECT max(cosigned) FROM witnessed_checkpoint) + interval '1 millisecond'), $2, $3, $4
    WHERE NOT EXISTS (SELECT FROM witnessed_checkpoint WHERE shard = $2 AND size > $3)
"""
#: Where there is no row, whatever the log has signed by now may have been shown.
_SHOW: Final = """
    INSERT INTO shown_checkpoint AS shown (shard, size, note)
    SELECT $1, greatest(own.size, $2), CASE WHEN own.size > $2 THEN own.checkpoint ELSE $3 END
    FROM (SELECT size, checkpoint FROM log WHERE shard = $1
        UNION ALL SELECT size, checkpoint FROM closed_log WHERE shard = $1) AS own
    ON CONFLICT (shard) DO UPDATE SET size = $2, note = $3 WHERE shown.size <= $2
"""
#: From now on the newest that the log signed is shown, unless witnesses have just cosigned another.
_FOLLOW: Final = "DELETE FROM shown_checkpoint WHERE shard = $1 AND size = $2"

#: What a replica of the release before has cosigned, which does not write the row.
_TAKE_OVER: Final = "UPDATE shown_checkpoint SET size = $2, note = $3 WHERE shard = $1 AND size < $2"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WitnessedCheckpoint:
    """A checkpoint with its cosignatures.

    Attributes:
        shard: number of the log.
        size: leaves.
        note: signed by the log and the witnesses.
        cosigned: when the cosignatures had been gathered.
    """

    shard: int
    size: int
    note: str
    cosigned: datetime


@dataclass(frozen=True, slots=True)
class _Outgrown:
    """Since when, by a clock that only goes forward, this process has known that a log is larger than what is shown."""

    size: int
    since: float


class WitnessedCheckpoints:
    """Keeps them.

    Args:
        pool: the ledger's database.
        clock: dates them, and tells for how long witnesses are waited for.
    """

    def __init__(self, pool: asyncpg.Pool, clock: Clock) -> None:
        self._pool = pool
        self._clock = clock
        #: By the logs' numbers.
        self._outgrown: dict[int, _Outgrown] = {}

    async def run(self) -> None:
        """Look now and then until cancelled; a database that fails is tried again, without end."""
        while True:
            try:
                await self.look()
            except (*DATABASE_OUTAGES, VitneError) as error:
                _log.debug("what is shown was not looked at: %s", type(error).__name__)
            await self._clock.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """See which logs are larger than what is shown: who asks rarely is not shown what is older than need be.

        Raises:
            Exception: one of :data:`~vitne.outages.DATABASE_OUTAGES`.
        """
        for row in await self._pool.fetch(_BEHIND):
            await self._shown(row["shard"])

    async def add(self, log: StoredCheckpoint, note: str) -> None:
        """Keep one of a log's, unless a larger one is kept already, and show it, unless a larger one was shown."""
        number = log.shard.number
        async with self._pool.acquire() as connection, connection.transaction():
            # The log stands still: nobody is shown more of it before this is there, and who adds another waits.
            await connection.execute("SELECT FROM log FOR UPDATE")
            await connection.execute(_KEEP, self._clock.now(), number, log.size, note)
            await connection.execute(_SHOW, number, log.size, note)

    async def newest(self) -> WitnessedCheckpoint | None:
        """The last one of whichever log; None: no witness has ever cosigned."""
        return _checkpoint(
            await self._pool.fetchrow(
                "SELECT shard, size, note, cosigned FROM witnessed_checkpoint ORDER BY cosigned DESC LIMIT 1"
            )
        )

    async def newest_of(self, shard: Shard) -> WitnessedCheckpoint | None:
        """The last one of a log; None: no witness has cosigned it yet."""
        return _checkpoint(
            await self._pool.fetchrow(
                "SELECT shard, size, note, cosigned FROM witnessed_checkpoint WHERE shard = $1 "
                "ORDER BY size DESC, cosigned DESC LIMIT 1",
                shard.number,
            )
        )

    async def first_with(self, shard: Shard, leaf_index: int) -> WitnessedCheckpoint | None:
        """The first that has a log's leaf: by when that was certainly logged; None: none has it yet."""
        return _checkpoint(
            await self._pool.fetchrow(
                "SELECT shard, size, note, cosigned FROM witnessed_checkpoint WHERE shard = $1 AND size > $2 "
                "ORDER BY cosigned LIMIT 1",
                shard.number,
                leaf_index,
            )
        )

    async def shown(self, shard: Shard | None = None) -> StoredCheckpoint:
        """What whoever asks for a log's checkpoint is given, which is never smaller than what anybody was given before.

        That is the newest that witnesses cosigned; once the log has been larger for :data:`PATIENCE_SECONDS`, the
        newest that it signed itself, until witnesses have cosigned as much.

        Args:
            shard: the log; None: the one that grows.

        Raises:
            Unavailable: ``LOG_NOT_STARTED``.
        """
        return await self._shown(None if shard is None else shard.number)

    async def _shown(self, number: int | None) -> StoredCheckpoint:
        row = await self._pool.fetchrow(_STATE, number)
        if row is None:
            raise not_started()
        own = StoredCheckpoint.of(row)
        size, note = row["shown_size"], row["shown_note"]
        cosigned = -1 if row["cosigned_size"] is None else row["cosigned_size"]
        if size is None and cosigned == own.size:
            size, note = cosigned, row["cosigned_note"]
        if size is None or size > own.size:  # A log that went back is not helped by what was shown of it.
            return own
        if size < cosigned <= own.size:
            await self._pool.execute(_TAKE_OVER, own.shard.number, cosigned, row["cosigned_note"])
            return await self._shown(own.shard.number)
        if size < own.size and self._waited(own, size):
            await self._pool.execute(_FOLLOW, own.shard.number, size)
            return await self._shown(own.shard.number)
        return StoredCheckpoint(size, note, own.shard)

    def _waited(self, own: StoredCheckpoint, shown: int) -> bool:
        """Whether a log has been larger than what is shown of it for so long that witnesses are not waited for."""
        number, now = own.shard.number, self._clock.monotonic()
        if (known := self._outgrown.get(number)) is None or known.size != shown:
            known = self._outgrown[number] = _Outgrown(shown, now)
        return now - known.since >= PATIENCE_SECONDS


def _checkpoint(row: Any) -> WitnessedCheckpoint | None:
    return None if row is None else WitnessedCheckpoint(row["shard"], row["size"], row["note"], row["cosigned"])
