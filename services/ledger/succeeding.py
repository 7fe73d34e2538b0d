"""What the database says once a log has ended, or a key was followed by another; in the caller's transaction."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from services.ledger.shards import Shard, StoredCheckpoint
from vitne.merkle.hashing import EMPTY_ROOT


async def end_log(connection: Any, log: StoredCheckpoint, root: bytes, following: Shard, now: datetime) -> None:
    """Have a log end with its last tree, and an empty one grow from now on, under the next key.

    Args:
        connection: in a transaction that holds the log's row.
        log: the log that ends, with its last checkpoint.
        root: of its last tree, 32 bytes.
        following: the log that goes on.
        now: when it is.
    """
    shard = log.shard
    await connection.execute(
        "INSERT INTO closed_log (shard, origin, leaves_before, tiles_before, size, root, checkpoint, closed) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        shard.number,
        shard.origin,
        shard.leaves_before,
        shard.tiles_before,
        log.size,
        root,
        log.note,
        now,
    )
    await connection.execute(
        "UPDATE log SET shard = $1, origin = $2, leaves_before = $3, tiles_before = $4, size = 0, root = $5, "
        "journaled = 0, key_number = key_number + 1, former_until = NULL, epoch = epoch + 1",
        following.number,
        following.origin,
        following.leaves_before,
        following.tiles_before,
        EMPTY_ROOT,
    )


async def follow_key(connection: Any, until: datetime | None) -> None:
    """Have the next key sign the log's checkpoints; the one before signs, too, until an instant; None: no more."""
    await connection.execute("UPDATE log SET key_number = key_number + 1, former_until = $1, epoch = epoch + 1", until)


async def keep_statement(connection: Any, statement: str, now: datetime) -> int:
    """Keep a statement of succession; answer its number, from 1."""
    number: int = await connection.fetchval(
        "INSERT INTO succession (number, statement, stated) "
        "SELECT coalesce(max(number), 0) + 1, $1, $2 FROM succession RETURNING number",
        statement,
        now,
    )
    return number
