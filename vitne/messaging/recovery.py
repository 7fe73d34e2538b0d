"""When a cluster has lost its topics, as the embedded broker does whenever it stops."""

from __future__ import annotations

import asyncpg


async def start_over(conn: asyncpg.Connection) -> None:
    """Have a service's relay publish again all that its outbox still holds, and its consumers read from the beginning.

    Nothing happens twice: consumers drop the revisions that took effect. Call it in
    the database of every service; one transaction, whether the services run or not.
    """
    async with conn.transaction():
        await conn.execute("UPDATE outbox SET published_at = NULL WHERE published_at IS NOT NULL")
        await conn.execute("UPDATE consumer_offset SET next_offset = 0 WHERE next_offset <> 0")


async def forget_progress(conn: asyncpg.Connection, consumer: str) -> None:
    """Have a consumer read from the beginning as if it never had, in the transaction that empties what it filled.

    What operators decided stays: :func:`vitne.messaging.desk.repeat_acts`.
    """
    await conn.execute("SELECT FROM consumer_offset WHERE consumer = $1 ORDER BY topic, partition FOR UPDATE", consumer)
    await conn.execute("UPDATE consumer_offset SET next_offset = 0 WHERE consumer = $1", consumer)
    await conn.execute("DELETE FROM consumer_seen WHERE consumer = $1", consumer)
    await conn.execute("DELETE FROM consumer_parked WHERE consumer = $1", consumer)
