"""Messages that wait: failed ones, those behind them, and those before which a revision is missing.

The functions without underscore and outside :class:`Shelf` are the operator's:
each runs in a transaction of its caller's.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeAlias

import asyncpg

from vitne.errors import FailedPrecondition, NotFound, VitneError
from vitne.messaging.headers import KafkaHeaders, Record, key_text, pack, unpack
from vitne.messaging.sequence import Order
from vitne.messaging.topics import order_of

#: States of a parked message.
FAILED: Final = "failed"
WAITING: Final = "waiting"
#: Which keys of a consumer's topic ($1, $2) have parked messages: true when one failed, so that later ones wait. Its
#: columns are those of ``consumer_seen``, so that a consumer asks for both at once.
STATES: Final = """
    SELECT key, NULL::bigint AS revision, bool_or(state = 'failed') AS failed FROM consumer_parked
    WHERE consumer = $1 AND topic = $2 AND key = ANY ($3) GROUP BY key
"""


@dataclass(frozen=True, slots=True)
class Parked:
    """A parked message. It is a :class:`~vitne.messaging.headers.Record`, as it came.

    Attributes:
        state: ``failed`` or ``waiting``.
        reason: of the error, when it failed.
        detail: the error's message.
        revision: of the aggregate; None when the headers do not parse.
        text_key: the key as text.
        parked_at: when it was put here.
    """

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: KafkaHeaders
    state: str
    reason: str
    detail: str
    revision: int | None
    text_key: str
    parked_at: datetime


_MANY: Final = 1_000

#: What messages are listed by: state, when parked, topic, partition, offset.
Rank: TypeAlias = tuple[str, datetime, str, int, int]


def rank(parked: Parked) -> Rank:
    """Where a message stands in :func:`list_parked`."""
    return parked.state, parked.parked_at, parked.topic, parked.partition, parked.offset


async def list_parked(
    conn: asyncpg.Connection, consumer: str, *, state: str = "", after: Rank | None = None, limit: int = 100
) -> list[Parked]:
    """What is parked for a consumer: failed messages first, oldest first.

    Args:
        conn: to the consumer's database.
        consumer: its name.
        state: only messages in this state; empty: both.
        after: :func:`rank` of the last message of the page before.
        limit: most messages.
    """
    rows = await conn.fetch(
        """
        SELECT * FROM consumer_parked WHERE consumer = $1 AND ($2 = '' OR state = $2)
          AND ($3 = '' OR (state, parked_at, topic, partition, "offset") > ($3, $4, $5, $6, $7))
        ORDER BY state, parked_at, topic, partition, "offset" LIMIT $8
        """,
        consumer,
        state,
        *(("", None, "", 0, 0) if after is None else after),
        limit,
    )
    return [_from_row(row) for row in rows]


async def get_parked(conn: asyncpg.Connection, consumer: str, topic: str, partition: int, offset: int) -> Parked:
    """One parked message.

    Raises:
        NotFound: ``NOT_PARKED``.
    """
    row = await conn.fetchrow(
        'SELECT * FROM consumer_parked WHERE consumer = $1 AND topic = $2 AND partition = $3 AND "offset" = $4',
        consumer,
        topic,
        partition,
        offset,
    )
    if row is None:
        raise _not_parked(topic, partition, offset)
    return _from_row(row)


async def replay(conn: asyncpg.Connection, consumer: str, topic: str, partition: int, offset: int) -> Parked:
    """Have the consumer try a failed message again (within a second or so); answers it as it was.

    Raises:
        NotFound: ``NOT_PARKED``.
        FailedPrecondition: ``NOT_FAILED``.
    """
    failed = await _take_failed(conn, consumer, topic, partition, offset)
    await conn.execute(
        """
        UPDATE consumer_parked SET state = 'waiting', reason = '', detail = ''
        WHERE consumer = $1 AND topic = $2 AND partition = $3 AND "offset" = $4
        """,
        consumer,
        topic,
        partition,
        offset,
    )
    return failed


async def drop(conn: asyncpg.Connection, consumer: str, topic: str, partition: int, offset: int) -> Parked:
    """Give a failed message up: it counts as seen, and those behind it go on; answers it as it was.

    Raises:
        NotFound: ``NOT_PARKED``.
        FailedPrecondition: ``NOT_FAILED``.
    """
    failed = await _take_failed(conn, consumer, topic, partition, offset)
    await Shelf(consumer).remove(conn, failed)
    if failed.revision is not None:
        await _count_as_seen(conn, consumer, topic, failed.text_key, failed.revision)
    return failed


async def skip(conn: asyncpg.Connection, consumer: str, topic: str, key: str, revision: int) -> None:
    """Close the gap before a key's waiting messages: revisions up to this one are lost and will never come.

    Raises:
        FailedPrecondition: ``NO_GAP``: nothing of the key waits, a message of it has failed, or ``revision`` is not
            the one before the first that waits. A gap is closed whole, and nothing that is there is skipped with it.
    """
    partition = await conn.fetchval(
        "SELECT min(partition) FROM consumer_parked WHERE consumer = $1 AND topic = $2 AND key = $3",
        consumer,
        topic,
        key,
    )
    if partition is not None:
        await _lock(conn, consumer, topic, partition)
    row = await conn.fetchrow(
        """
        SELECT min(revision) AS first, bool_or(state = 'failed') AS failed,
               (SELECT revision FROM consumer_seen WHERE consumer = $1 AND topic = $2 AND key = $3) AS seen
        FROM consumer_parked WHERE consumer = $1 AND topic = $2 AND key = $3
        """,
        consumer,
        topic,
        key,
    )
    seen, first = row["seen"] or 0, row["first"]
    if first is None or row["failed"] or not seen < revision == first - 1:
        raise FailedPrecondition(
            "NO_GAP",
            f"no gap of this key ends at revision {revision}",
            field="through_revision",
            rule="a gap ends one revision before the first message of the key that waits, and none of them failed",
            remedy="list what is parked; drop or replay what failed",
        )
    await _count_as_seen(conn, consumer, topic, key, revision)


async def _count_as_seen(conn: asyncpg.Connection, consumer: str, topic: str, key: str, revision: int) -> None:
    await conn.execute(
        """
        INSERT INTO consumer_seen AS s (consumer, topic, key, revision) VALUES ($1, $2, $3, $4)
        ON CONFLICT (consumer, topic, key) DO UPDATE SET revision = greatest(s.revision, excluded.revision)
        """,
        consumer,
        topic,
        key,
        revision,
    )


async def _take_failed(conn: asyncpg.Connection, consumer: str, topic: str, partition: int, offset: int) -> Parked:
    """A failed message, with the consumer kept off it.

    One that only waits is not an operator's to move: counted as seen, it would take all before it along.
    """
    await _lock(conn, consumer, topic, partition)
    parked = await get_parked(conn, consumer, topic, partition, offset)
    if parked.state != FAILED:
        raise FailedPrecondition(
            "NOT_FAILED",
            "the message only waits for others of its key",
            field="place",
            rule="replay and drop are for messages that failed",
            remedy="see to the failed message of the key; skip a gap before the first that waits",
        )
    return parked


async def count_parked(conn: asyncpg.Connection, consumer: str) -> int:
    """How many messages of a consumer are parked, in either state."""
    count: int = await conn.fetchval("SELECT count(*) FROM consumer_parked WHERE consumer = $1", consumer)
    return count


async def count_due(conn: asyncpg.Connection, consumer: str) -> int:
    """How many waiting messages the consumer will handle by itself, the first of each key counted."""
    places = await conn.fetch(
        "SELECT DISTINCT topic, partition FROM consumer_parked WHERE consumer = $1 AND state = 'waiting'", consumer
    )
    shelf = Shelf(consumer)
    return sum([len(await shelf.due(conn, row["topic"], row["partition"], _MANY)) for row in places])


async def seen_revision(conn: asyncpg.Connection, consumer: str, topic: str, key: str) -> int:
    """The last revision of a key that took effect; 0: none."""
    revision: int | None = await conn.fetchval(
        "SELECT revision FROM consumer_seen WHERE consumer = $1 AND topic = $2 AND key = $3", consumer, topic, key
    )
    return revision or 0


class Shelf:
    """One consumer's parked messages, as the consumer handles them."""

    def __init__(self, consumer: str) -> None:
        self._consumer = consumer

    async def put(
        self,
        conn: asyncpg.Connection,
        record: Record,
        revision: int | None,
        at: datetime,
        error: VitneError | None = None,
    ) -> None:
        """Park a message: failed with an error, waiting without."""
        await conn.execute(
            """
            INSERT INTO consumer_parked (consumer, topic, partition, "offset", key, revision, state, reason, detail,
                                         raw_key, value, headers, parked_at)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
            ON CONFLICT (consumer, topic, partition, "offset")
            DO UPDATE SET state = excluded.state, reason = excluded.reason, detail = excluded.detail
            """,
            self._consumer,
            record.topic,
            record.partition,
            record.offset,
            key_text(record.key),
            revision,
            WAITING if error is None else FAILED,
            "" if error is None else error.reason,
            "" if error is None else error.message,
            record.key,
            record.value,
            pack(record.headers),
            at,
        )

    async def due(self, conn: asyncpg.Connection, topic: str, partition: int, limit: int) -> list[Parked]:
        """The first waiting message of each key, where no message of the key failed and no revision is missing."""
        rows = await conn.fetch(
            """
            SELECT DISTINCT ON (key) p.* FROM consumer_parked AS p
                LEFT JOIN consumer_seen AS s USING (consumer, topic, key)
            WHERE consumer = $1 AND topic = $2 AND p.partition = $3 AND p.state = 'waiting'
              AND (p.revision IS NULL OR p.revision <= coalesce(s.revision, 0) + 1 OR NOT $4)
              AND NOT EXISTS (SELECT FROM consumer_parked AS f WHERE f.consumer = p.consumer AND f.topic = p.topic
                                                                 AND f.key = p.key AND f.state = 'failed')
            ORDER BY key, p.revision NULLS FIRST, p."offset" LIMIT $5
            """,
            self._consumer,
            topic,
            partition,
            order_of(topic) is Order.GAPLESS,
            limit,
        )
        return [_from_row(row) for row in rows]

    async def remove(self, conn: asyncpg.Connection, parked: Parked) -> None:
        """It was handled, or is not needed."""
        await conn.execute(
            'DELETE FROM consumer_parked WHERE consumer = $1 AND topic = $2 AND partition = $3 AND "offset" = $4',
            self._consumer,
            parked.topic,
            parked.partition,
            parked.offset,
        )


async def _lock(conn: asyncpg.Connection, consumer: str, topic: str, partition: int) -> None:
    """Keep the consumer off its partition until the transaction ends."""
    await conn.execute(
        "SELECT FROM consumer_offset WHERE consumer = $1 AND topic = $2 AND partition = $3 FOR UPDATE",
        consumer,
        topic,
        partition,
    )


def _from_row(row: asyncpg.Record) -> Parked:
    return Parked(
        topic=row["topic"],
        partition=row["partition"],
        offset=row["offset"],
        key=row["raw_key"],
        value=row["value"],
        headers=unpack(row["headers"]),
        state=row["state"],
        reason=row["reason"],
        detail=row["detail"],
        revision=row["revision"],
        text_key=row["key"],
        parked_at=row["parked_at"],
    )


def _not_parked(topic: str, partition: int, offset: int) -> NotFound:
    return NotFound("NOT_PARKED", f"no message of this consumer is parked at {topic}[{partition}]@{offset}")
