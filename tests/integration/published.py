"""What a service told, as it lies in a topic."""

from __future__ import annotations

import asyncpg

from vitne.messaging.headers import Message


async def published(pool: asyncpg.Pool, topic: str) -> list[Message]:
    """What the relay of a service's database would have published."""
    rows = await pool.fetch("SELECT * FROM outbox WHERE topic = $1 ORDER BY id", topic)
    return [
        Message(
            topic=topic,
            partition=0,
            offset=number,
            key=row["key"],
            value=row["value"],
            id=row["event_id"],
            type=row["type"],
            source=row["source"],
            time=row["time"],
            revision=row["revision"],
            traceparent=None,
        )
        for number, row in enumerate(rows)
    ]
