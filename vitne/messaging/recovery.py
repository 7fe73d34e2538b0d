"""When cluster and database are not of one time: topics that were lost, or a database that was restored."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final

import asyncpg

from vitne.errors import FailedPrecondition
from vitne.messaging.headers import Message
from vitne.messaging.relay import LOCK_KEY

#: As a running consumer locks the partitions of what it fetched: two that wait crosswise would be a deadlock.
_IN_ORDER: Final = 'ORDER BY consumer, topic COLLATE "C", partition FOR UPDATE'


async def start_over(conn: asyncpg.Connection) -> None:
    """Have a service's relay publish again all that its outbox still holds, and its consumers read from the beginning.

    Nothing happens twice: consumers drop the revisions that took effect. Call it in
    the database of every service; one transaction, whether the services run or not.
    """
    async with conn.transaction():
        await conn.execute("UPDATE outbox SET published_at = NULL WHERE published_at IS NOT NULL")
        await conn.execute(f"SELECT FROM consumer_offset {_IN_ORDER}")
        await conn.execute("UPDATE consumer_offset SET next_offset = 0 WHERE next_offset <> 0")


async def forget_progress(conn: asyncpg.Connection, consumer: str) -> None:
    """Have a consumer read from the beginning as if it never had, in the transaction that empties what it filled.

    What operators decided stays: :func:`vitne.messaging.desk.repeat_acts`.
    """
    await conn.execute(f"SELECT FROM consumer_offset WHERE consumer = $1 {_IN_ORDER}", consumer)
    await conn.execute("UPDATE consumer_offset SET next_offset = 0 WHERE consumer = $1", consumer)
    await conn.execute("DELETE FROM consumer_seen WHERE consumer = $1", consumer)
    await conn.execute("DELETE FROM consumer_parked WHERE consumer = $1", consumer)


async def require_alone(conn: asyncpg.Connection) -> None:
    """Keep the service's relay out until the transaction ends: what it published meanwhile would not be known.

    Raises:
        FailedPrecondition: ``SERVICE_RUNNING``: a relay leads on this database.
    """
    if not await conn.fetchval("SELECT pg_try_advisory_xact_lock($1)", LOCK_KEY):
        raise FailedPrecondition(
            "SERVICE_RUNNING",
            "the service runs on this database",
            rule="a restored database is put in step before anybody writes to it",
            remedy="stop all replicas of the service, then repeat this",
        )


async def catch_up(conn: asyncpg.Connection, told: Iterable[tuple[str, Message]], now: datetime) -> int:
    """Have a restored database go on from where its topics are.

    Revisions that the cluster has are never given again, and what the outbox holds of them counts as published. The
    rest of the outbox is published as if nothing had happened.

    Args:
        conn: in a transaction.
        told: all that the service's own topics hold, each with the name of its aggregate.
        now: when it is.

    Returns:
        how many aggregates were behind their topic.
    """
    newest: dict[str, Message] = {}
    published = []
    for aggregate, message in told:
        published.append(message.id)
        if aggregate not in newest or newest[aggregate].revision < message.revision:
            newest[aggregate] = message
    behind = await conn.fetch(
        """
        INSERT INTO aggregate_revision AS a (aggregate, topic, key, revision)
        SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[]) AS new (aggregate, topic, key, revision)
        ORDER BY aggregate
        ON CONFLICT (aggregate) DO UPDATE SET revision = excluded.revision WHERE a.revision < excluded.revision
        RETURNING aggregate
        """,
        list(newest),
        [message.topic for message in newest.values()],
        [message.key for message in newest.values()],
        [message.revision for message in newest.values()],
    )
    await conn.execute(
        "UPDATE outbox SET published_at = $2 WHERE published_at IS NULL AND event_id = ANY($1::uuid[])", published, now
    )
    return len(behind)
