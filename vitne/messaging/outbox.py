"""The outbox: an event is a row in the transaction of the state that it tells of (RECORDS: Outbox and consumer)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Final
from uuid import UUID

import asyncpg

from vitne.errors import InvalidArgument
from vitne.messaging.tracing import current_traceparent

#: Largest value of an event in bytes. Kafka takes records up to 1 MiB with their headers, and a dead letter holds a
#: record whole: an event that could not be published would hold up all that come after it.
MAX_VALUE_BYTES: Final = 512 * 1024

#: Takes revisions and writes events. Aggregates ($1 to $4) come in the order of their names, events with their
#: aggregate's number in it, so that nothing is joined: the planner, which knows no array's length, would choose badly.
#: Row numbers rise in the order of the list, so that is how the relay takes them. An aggregate that stands for another
#: topic or key gets NULL for its revision, which the column is not: all fails that is written beside, too. ``WITH``
#: stands in front of it, and what is executed before and beside; ``%s`` is where it waits for what comes first.
_APPEND: Final = """
    held AS (
        INSERT INTO aggregate_revision AS a (aggregate, topic, key, revision)
        SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[])%s
        ON CONFLICT (aggregate) DO UPDATE
        SET revision = CASE WHEN (coalesce(a.topic, excluded.topic), coalesce(a.key, excluded.key))
                = (excluded.topic, excluded.key) THEN a.revision + excluded.revision END,
            topic = coalesce(a.topic, excluded.topic),
            key = coalesce(a.key, excluded.key)
        RETURNING aggregate, revision
    ), known AS MATERIALIZED (
        SELECT array_agg(revision ORDER BY aggregate COLLATE "C") AS revisions FROM held
    ), told AS (
        INSERT INTO outbox (event_id, topic, key, aggregate, revision, type, source, time, value, traceparent)
        SELECT event_id, e.topic, e.key, e.aggregate, coalesce(given, revisions[number] - behind),
               type, source, time, value, traceparent
        FROM known CROSS JOIN
            unnest($5::uuid[], $6::text[], $7::text[], $8::text[], $9::integer[], $10::bigint[], $11::integer[],
                   $12::text[], $13::text[], $14::timestamptz[], $15::bytea[], $16::text[])
                WITH ORDINALITY AS e (event_id, topic, key, aggregate, number, given, behind,
                                      type, source, time, value, traceparent, place)
        ORDER BY place
    )
    SELECT revisions FROM known
"""
#: Counted before any row is asked for, so all of what is counted has taken effect by then.
_AFTER_FIRST: Final = " WHERE (SELECT count(*) FROM first) IS NOT NULL"
_APPEND_PARAMETERS: Final = 16
_PARAMETER: Final = re.compile(r"\$(\d+)")


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


@dataclass(frozen=True, slots=True)
class Statement:
    """One ``INSERT``, ``UPDATE`` or ``DELETE`` that answers nothing, to be executed together with others.

    Together means in one round trip and on one snapshot: none sees what another of them writes, in whatever order
    they stand.

    Attributes:
        sql: without ``WITH`` in front; its parameters are ``$1``, ``$2``, …
        arguments: values of the parameters.
        name: what the statement that comes first (:func:`append`) calls the rows that this one answers by
            ``RETURNING``, where it is to wait for them; only then does it answer any.
    """

    sql: str
    arguments: tuple[Any, ...]
    name: str = ""


async def append(
    conn: asyncpg.Connection,
    events: Sequence[Event],
    *,
    beside: Sequence[Statement] = (),
    first: Statement | None = None,
) -> list[int]:
    """Append events in the transaction that is open on ``conn``, or in one of their own; returns their revisions.

    The revisions are in the events' order.

    One statement whatever their number, with what is to be executed ``beside``; that takes at least one event.
    Aggregates are locked in the order of their names, so that two calls never wait for each other crosswise;
    whoever calls more than once in a transaction sees to that himself. Where other locks come before these,
    ``first`` takes them: one more statement, which answers rows (a ``SELECT … FOR UPDATE``, or with ``RETURNING``), and
    takes effect before any aggregate is locked.

    Without a transaction that is open, the statement is one: committed on return, and without effect where it raises
    an error of ours.

    The trace that is active now travels with those that name none of their own.

    Raises:
        InvalidArgument: ``AGGREGATE_MOVED``: the aggregate stands for another topic or key;
            ``REVISION_NOT_TAKEN``: a revision was given that :func:`next_revision` never gave in this transaction,
            or without one; ``EVENT_TOO_LARGE``: what it tells of is larger than an event can be. A transaction
            that is open must then be rolled back.
    """
    if not events:
        if beside or first:
            raise ValueError("statements are executed beside events, and there are none")
        return []
    given: dict[str, int] = {}
    places: dict[str, tuple[str, str]] = {}
    for event in events:
        if len(event.value) > MAX_VALUE_BYTES:
            raise _too_large(event)
        if places.setdefault(event.aggregate, (event.topic, event.key)) != (event.topic, event.key):
            raise _moved([event.aggregate])
        if event.revision is not None:
            # Taken in the same transaction, which only one that is open can have done.
            if event.revision <= given.get(event.aggregate, 0) or not conn.is_in_transaction():
                raise _not_taken(event)
            given[event.aggregate] = event.revision
    names = sorted(places)
    numbers = {name: number for number, name in enumerate(names, start=1)}
    missing = Counter(event.aggregate for event in events if event.revision is None)
    # For each event without a revision: how many of its aggregate come after it.
    behind: list[int] = []
    left = Counter(missing)
    for event in events:
        left[event.aggregate] -= event.revision is None
        behind.append(left[event.aggregate])
    active = current_traceparent()
    arguments = (
        names,
        [places[name][0] for name in names],
        [places[name][1] for name in names],
        [missing[name] for name in names],
        [event.id for event in events],
        [event.topic for event in events],
        [event.key for event in events],
        [event.aggregate for event in events],
        [numbers[event.aggregate] for event in events],
        [event.revision for event in events],
        behind,
        [event.type for event in events],
        [event.source for event in events],
        [event.time for event in events],
        [event.value for event in events],
        [event.traceparent or active for event in events],
        *(argument for statement in beside for argument in statement.arguments),
        *(first.arguments if first else ()),
    )
    sql = _append_beside(tuple((statement.name, statement.sql) for statement in beside), first.sql if first else "")
    try:
        last = dict(zip(names, await conn.fetchval(sql, *arguments), strict=True))
    except asyncpg.NotNullViolationError as error:
        if (error.table_name, error.column_name) != ("aggregate_revision", "revision"):
            raise
        raise _moved(names) from error
    revisions: list[int] = []
    taken: dict[str, int] = {}
    for event, after in zip(events, behind, strict=True):
        revision = last[event.aggregate] - after if event.revision is None else event.revision
        if not taken.get(event.aggregate, 0) < revision <= last[event.aggregate]:
            raise _not_taken(event)
        taken[event.aggregate] = revision
        revisions.append(revision)
    return revisions


@lru_cache(maxsize=32)
def _append_beside(statements: tuple[tuple[str, str], ...], first: str) -> str:
    """:data:`_APPEND` with statements in front of it, as (name, SQL); their parameters are numbered on from its own."""
    taken, parts = _APPEND_PARAMETERS, []
    named = [(name or f"beside_{number}", sql) for number, (name, sql) in enumerate(statements)]
    for name, sql in [*named, ("first", first)] if first else named:
        shifted = _PARAMETER.sub(lambda found, by=taken: f"${int(found[1]) + by}", sql)  # type: ignore[misc]
        parts.append(f"{name} AS ({shifted}), ")
        taken += max((int(found) for found in _PARAMETER.findall(sql)), default=0)
    return f"WITH {''.join(parts)}{_APPEND % (_AFTER_FIRST if first else '')}"


def _too_large(event: Event) -> InvalidArgument:
    return InvalidArgument(
        "EVENT_TOO_LARGE",
        f"an event of {len(event.value)} bytes can't be published",
        rule=f"at most {MAX_VALUE_BYTES} bytes",
        remedy="shorten the texts of what is to be recorded",
    )


def _moved(aggregates: Sequence[str]) -> InvalidArgument:
    which = f"the aggregate {aggregates[0]}" if len(aggregates) == 1 else f"one of {len(aggregates)} aggregates"
    return InvalidArgument(
        "AGGREGATE_MOVED",
        f"{which} has its events under another topic or key",
        rule="an aggregate stands for one (topic, key): its revisions have no gaps there",
        remedy="name the aggregate differently for each topic",
    )


def _not_taken(event: Event) -> InvalidArgument:
    return InvalidArgument(
        "REVISION_NOT_TAKEN",
        f"revision {event.revision} of {event.aggregate} was not taken, or comes after a later one",
        remedy="take it with next_revision in the same transaction, or leave it out",
    )
