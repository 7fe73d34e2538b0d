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
