"""Checkpoints that witnesses cosigned: kept, found again, and which one is shown to whoever asks for the newest."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import asyncpg

from services.ledger.log_store import LogStore
from services.ledger.shards import Shard, StoredCheckpoint
from vitne.clock import Clock

#: How long the newest cosigned checkpoint is shown although the log has grown beyond it. Witnesses answer within a
#: second or two; where they are silent for longer, fresh without them is worth more than stale with them.
PATIENCE: Final = timedelta(seconds=10)

#: What was signed meanwhile is kept where witnesses had been silent for so long that it was shown. The log stands still
#: for this one statement: nobody is shown more of it before this is there.
_ADD: Final = """
    WITH growing AS (SELECT size, checkpoint, outgrown FROM log WHERE shard = $2 FOR SHARE),
        before AS (SELECT max(cosigned) AS cosigned FROM witnessed_checkpoint WHERE shard = $2)
    INSERT INTO witnessed_checkpoint (cosigned, shard, size, note, meanwhile_size, meanwhile)
    SELECT greatest($1, (SELECT max(cosigned) FROM witnessed_checkpoint) + interval '1 millisecond'), $2, $3, $4,
        growing.size, growing.checkpoint
    FROM before LEFT JOIN growing ON growing.size > $3
        AND (before.cosigned IS NULL OR greatest(before.cosigned, growing.outgrown)
            NOT BETWEEN $1::timestamptz - $5::interval AND $1::timestamptz + $5::interval)
"""


@dataclass(frozen=True, slots=True)
class WitnessedCheckpoint:
    """A checkpoint with its cosignatures.

    Attributes:
        shard: number of the log.
        size: leaves.
        note: signed by the log and the witnesses.
        cosigned: when the cosignatures had been gathered.
        meanwhile: the newest that the log had signed by then, size and note, where such had been shown; else None.
        outgrown: when the log last grew beyond what was cosigned of it, where that was asked for and is known.
    """

    shard: int
    size: int
    note: str
    cosigned: datetime
    meanwhile: tuple[int, str] | None
    outgrown: datetime | None


class WitnessedCheckpoints:
    """Keeps them.

    Args:
        pool: the ledger's database.
        store: has the log's own newest checkpoint.
        clock: tells how old a checkpoint is.
    """

    def __init__(self, pool: asyncpg.Pool, store: LogStore, clock: Clock) -> None:
        self._pool = pool
        self._store = store
        self._clock = clock

    async def add(self, log: StoredCheckpoint, note: str) -> None:
        """Keep one of a log's; it is dated now, and after every one before."""
        await self._pool.execute(_ADD, self._clock.now(), log.shard.number, log.size, note, PATIENCE)

    async def newest(self) -> WitnessedCheckpoint | None:
        """The last one of whichever log; None: no witness has ever cosigned."""
        return _checkpoint(
            await self._pool.fetchrow(
                "SELECT shard, size, note, cosigned, meanwhile_size, meanwhile FROM witnessed_checkpoint "
                "ORDER BY cosigned DESC LIMIT 1"
            )
        )

    async def newest_of(self, shard: Shard) -> WitnessedCheckpoint | None:
        """The last one of a log; None: no witness has cosigned it yet."""
        return _checkpoint(
            await self._pool.fetchrow(
                "SELECT shard, size, note, cosigned, meanwhile_size, meanwhile, "
                "(SELECT outgrown FROM log WHERE shard = $1) AS outgrown "
                "FROM witnessed_checkpoint WHERE shard = $1 ORDER BY cosigned DESC LIMIT 1",
                shard.number,
            )
        )

    async def first_with(self, shard: Shard, leaf_index: int) -> WitnessedCheckpoint | None:
        """The first that has a log's leaf: by when that was certainly logged; None: none has it yet."""
        return _checkpoint(
            await self._pool.fetchrow(
                "SELECT shard, size, note, cosigned, meanwhile_size, meanwhile FROM witnessed_checkpoint "
                "WHERE shard = $1 AND size > $2 ORDER BY cosigned LIMIT 1",
                shard.number,
                leaf_index,
            )
        )

    async def shown(self, signed: StoredCheckpoint | None = None) -> StoredCheckpoint:
        """What whoever asks for a log's checkpoint is given: the newest cosigned one, unless that is too old.

        Args:
            signed: the newest that the log signed; None: that of the log that grows.

        Raises:
            Unavailable: ``LOG_NOT_STARTED``.
        """
        signed = signed or await self._store.checkpoint()
        witnessed = await self.newest_of(signed.shard)
        if witnessed is None or witnessed.size > signed.size:  # a log that went back is not helped by what it said
            return signed
        # One from a time to come is of a clock that went ahead: how old it is nobody knows.
        behind_since = max(witnessed.cosigned, witnessed.outgrown or witnessed.cosigned)
        fresh = abs(self._clock.now() - behind_since) <= PATIENCE
        if not fresh and witnessed.size != signed.size:
            return signed
        size, note = witnessed.meanwhile or (witnessed.size, witnessed.note)
        return StoredCheckpoint(size, note, signed.shard)


def _checkpoint(row: Any) -> WitnessedCheckpoint | None:
    if row is None:
        return None
    meanwhile = None if row["meanwhile"] is None else (row["meanwhile_size"], row["meanwhile"])
    return WitnessedCheckpoint(row["shard"], row["size"], row["note"], row["cosigned"], meanwhile, row.get("outgrown"))
