"""The logs that follow each other, as they are stored: the one that grows, and those that ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg

from vitne.merkle.tiles import TILE_WIDTH, TileId


@dataclass(frozen=True, slots=True)
class Shard:
    """One log of those that follow each other.

    Attributes:
        number: from 1.
        origin: its name.
        leaves_before: leaves of all logs before it, and so where its own begin in the table.
        tiles_before: likewise of the tiles of each level.
    """

    number: int
    origin: str
    leaves_before: int = 0
    tiles_before: int = 0

    @classmethod
    def of(cls, row: Any) -> Shard:
        """From a row of ``log`` or ``closed_log``."""
        return cls(row["shard"], row["origin"], row["leaves_before"], row["tiles_before"])

    def stored(self, tile_id: TileId) -> TileId:
        """Which of the table's tiles is a tile of this log."""
        return TileId(tile_id.level, self.tiles_before + tile_id.number) if self.tiles_before else tile_id

    def following(self, origin: str, size: int) -> Shard:
        """The log that follows this one, which ended with so many leaves."""
        tiles = -(-size // TILE_WIDTH)
        return Shard(self.number + 1, origin, self.leaves_before + size, self.tiles_before + tiles)


@dataclass(frozen=True, slots=True)
class StoredCheckpoint:
    """A log's newest checkpoint: its size in leaves, the signed note, and which log it is."""

    size: int
    note: str
    shard: Shard

    @classmethod
    def of(cls, row: Any) -> StoredCheckpoint:
        """From a row of ``log`` or ``closed_log``."""
        return cls(row["size"], row["checkpoint"], Shard.of(row))


class ClosedLogs:
    """The logs that ended: nothing about them changes, so each is read once.

    Args:
        pool: the ledger's database.
    """

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._read: list[StoredCheckpoint] = []

    async def before(self, number: int) -> Sequence[StoredCheckpoint]:
        """The last checkpoints of the logs before one, by its number; oldest first."""
        if len(self._read) < number - 1:
            await self._read_more()
        return self._read[: number - 1]

    async def _read_more(self) -> None:
        rows = await self._pool.fetch(
            "SELECT size, checkpoint, shard, origin, leaves_before, tiles_before FROM closed_log "
            "WHERE shard > $1 ORDER BY shard",
            len(self._read),
        )
        known = len(self._read)
        # Another call may have read the same rows meanwhile.
        self._read += [each for row in rows if (each := StoredCheckpoint.of(row)).shard.number > known]

    async def with_leaf(self, place: int) -> StoredCheckpoint:
        """The last checkpoint of the log that has a leaf of the table, which is not the one that grows."""
        if not self._read or place >= self._read[-1].shard.leaves_before + self._read[-1].size:
            await self._read_more()
        return next(each for each in reversed(self._read) if each.shard.leaves_before <= place)

    async def by_origin(self, origin: str) -> StoredCheckpoint | None:
        """The last checkpoint of a log; None: no such log ended here."""
        if all(each.shard.origin != origin for each in self._read):
            await self._read_more()
        return next((each for each in self._read if each.shard.origin == origin), None)
