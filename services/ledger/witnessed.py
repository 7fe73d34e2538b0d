"""Checkpoints that witnesses cosigned: kept, found again, and which one is shown to whoever asks for the newest."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import asyncpg

from services.ledger.log_store import LogStore, StoredCheckpoint
from vitne.clock import Clock

#: How long the newest cosigned checkpoint is shown although the log has grown since. Witnesses answer within a second
#: or two; where they are silent for longer, fresh without them is worth more than stale with them.
PATIENCE: Final = timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class WitnessedCheckpoint:
    """A checkpoint with its cosignatures.

    Attributes:
        size: leaves.
        note: signed by the log and the witnesses.
        cosigned: when the cosignatures had been gathered.
    """

    size: int
    note: str
    cosigned: datetime


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

    async def add(self, size: int, note: str) -> None:
        """Keep one; it is dated now, and after every one before."""
        await self._pool.execute(
            "INSERT INTO witnessed_checkpoint (cosigned, size, note) SELECT greatest($1, "
            "(SELECT max(cosigned) FROM witnessed_checkpoint) + interval '1 millisecond'), $2, $3",
            self._clock.now(),
            size,
            note,
        )

    async def newest(self) -> WitnessedCheckpoint | None:
        """The last one; None: no witness has ever cosigned."""
        return _checkpoint(
            await self._pool.fetchrow(
                "SELECT size, note, cosigned FROM witnessed_checkpoint ORDER BY cosigned DESC LIMIT 1"
            )
        )

    async def first_with(self, leaf_index: int) -> WitnessedCheckpoint | None:
        """The first that has a leaf: by when that was certainly logged; None: none has it yet."""
        return _checkpoint(
            await self._pool.fetchrow(
                "SELECT size, note, cosigned FROM witnessed_checkpoint WHERE size > $1 ORDER BY cosigned LIMIT 1",
                leaf_index,
            )
        )

    async def shown(self) -> StoredCheckpoint:
        """What whoever asks for the log's checkpoint is given: the newest cosigned one, unless that is too old.

        Raises:
            Unavailable: ``LOG_NOT_STARTED``.
        """
        signed = await self._store.checkpoint()
        witnessed = await self.newest()
        if witnessed is None or witnessed.size > signed.size:  # a log that went back is not helped by what it said
            return signed
        fresh = self._clock.now() - witnessed.cosigned <= PATIENCE
        return StoredCheckpoint(witnessed.size, witnessed.note) if fresh or witnessed.size == signed.size else signed


def _checkpoint(row: Any) -> WitnessedCheckpoint | None:
    return None if row is None else WitnessedCheckpoint(row["size"], row["note"], row["cosigned"])
