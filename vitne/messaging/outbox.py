"""The outbox: an event is a row in the transaction of the state that it tells of (RECORDS: Outbox and consumer)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

import asyncpg

from vitne.errors import InvalidArgument
from vitne.messaging.tracing import current_traceparent

#: Largest value of an event in bytes. Kafka takes records up to 1 MiB with their headers, and a dead letter holds a
#: record whole: an event that could not be published would hold up all that come after it.
MAX_VALUE_BYTES: Final = 512 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened, to be told.

    Attributes:
        topic: see :mod:`vitne.messaging.topics`.
        key: the aggregate's id as readers know it; records of a key stay in order.
        aggregate: the aggregate's name within this database. It stands for one (topic, key) and no other, for ever.
        type: ``ce_type``: which protobuf message the value is, for example ``vitne.log.leaf.v1``.
        source: ``ce_source``: who says so, a URI reference such as ``/vitne/issuer``.
        value: the protobuf message, serialised. Identifiers, never content.
        time: when it happened, UTC, whole milliseconds.
        id: of the event.
        revision: of the aggregate, taken with :func:`next_revision` in the same transaction; None takes the next.
        traceparent: W3C trace context that the event belongs to; empty takes the one that is active when it is
            appended. Whoever writes for several callers at once says whose each event is.
    """

    topic: str
    key: str
    aggregate: str
    type: str
    source: str
    value: bytes
    time: datetime
    id: UUID
    revision: int | None = None
    traceparent: str = ""


async def next_revision(conn: asyncpg.Connection, aggregate: str) -> int:
    """Take the aggregate's next revision, from 1, and hold its lock until the transaction ends.

    For those who need the revision in the state itself; its event must then be
    appended in the same transaction, or readers wait for it for ever.
    """
    revision: int = await conn.fetchval(
        """
        INSERT INTO aggregate_revision AS a (aggregate, revision) VALUES ($1, 1)
        ON CONFLICT (aggregate) DO UPDATE SET revision = a.revision + 1
        RETURNING revision
        """,
        aggregate,
    )
    return revision


async def append(conn: asyncpg.Connection, events: Sequence[Event]) -> list[int]:
    """Append events in the transaction that is open on ``conn``; returns their revisions, in the events' order.

    Two statements whatever their number. Aggregates are locked in the order of
    their names, so that two calls never wait for each other crosswise; whoever
    calls more than once in a transaction sees to that himself.

    The trace that is active now travels with those that name none of their own.

    Raises:
        InvalidArgument: ``AGGREGATE_MOVED``: the aggregate stands for another topic or key;
            ``REVISION_NOT_TAKEN``: a revision was given that :func:`next_revision` never gave;
            ``EVENT_TOO_LARGE``: what it tells of is larger than an event can be.
    """
    if not events:
        return []
    for event in events:
        if len(event.value) > MAX_VALUE_BYTES:
            raise InvalidArgument(
                "EVENT_TOO_LARGE",
                f"an event of {len(event.value)} bytes can't be published",
                rule=f"at most {MAX_VALUE_BYTES} bytes",
                remedy="shorten the texts of what is to be recorded",
            )
    places = {event.aggregate: (event.topic, event.key) for event in events}
    missing = Counter(event.aggregate for event in events if event.revision is None)
    names = sorted(places)
    rows = await conn.fetch(
        """
        INSERT INTO aggregate_revision AS a (aggregate, topic, key, revision)
        SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[])
        ON CONFLICT (aggregate) DO UPDATE
        SET revision = a.revision + excluded.revision,
            topic = coalesce(a.topic, excluded.topic),
            key = coalesce(a.key, excluded.key)
        RETURNING aggregate, topic, key, revision
        """,
        names,
        [places[name][0] for name in names],
        [places[name][1] for name in names],
        [missing[name] for name in names],
    )
    known = {row["aggregate"]: row for row in rows}
    upcoming = {name: known[name]["revision"] - missing[name] for name in names}
    taken: dict[str, int] = {}
    revisions: list[int] = []
    for event in events:
        row = known[event.aggregate]
        if (row["topic"], row["key"]) != (event.topic, event.key):
            raise InvalidArgument(
                "AGGREGATE_MOVED",
                f"the aggregate {event.aggregate} has its events under another topic or key than {event.topic}",
                rule="an aggregate stands for one (topic, key): its revisions have no gaps there",
                remedy="name the aggregate differently for each topic",
            )
        if event.revision is None:
            upcoming[event.aggregate] += 1
            revisions.append(upcoming[event.aggregate])
        elif taken.get(event.aggregate, 0) < event.revision <= row["revision"]:
            revisions.append(event.revision)
        else:
            raise InvalidArgument(
                "REVISION_NOT_TAKEN",
                f"revision {event.revision} of {event.aggregate} was not taken, or comes after a later one",
                remedy="take it with next_revision in the same transaction, or leave it out",
            )
        taken[event.aggregate] = revisions[-1]
    active = current_traceparent()
    # Row numbers rise in the order of the list, so that is how the relay takes them.
    await conn.execute(
        """
        INSERT INTO outbox (event_id, topic, key, aggregate, revision, type, source, time, value, traceparent)
        SELECT event_id, topic, key, aggregate, revision, type, source, time, value, traceparent
        FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::text[], $7::text[],
                    $8::timestamptz[], $9::bytea[], $10::text[])
            WITH ORDINALITY
                AS e (event_id, topic, key, aggregate, revision, type, source, time, value, traceparent, place)
        ORDER BY place
        """,
        [event.id for event in events],
        [event.topic for event in events],
        [event.key for event in events],
        [event.aggregate for event in events],
        revisions,
        [event.type for event in events],
        [event.source for event in events],
        [event.time for event in events],
        [event.value for event in events],
        [event.traceparent or active for event in events],
    )
    return revisions
