"""The operators' desk: what is done about parked messages, each act recorded with who, when and why.

Acts are kept for ever. They are also what a rebuild needs: it meets the same
messages again, and :func:`repeat_acts` decides as it was decided then.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

import asyncpg

from vitne.errors import AlreadyExists, FailedPrecondition, NotFound
from vitne.identifiers import UuidFactory
from vitne.messaging import parked

#: Kinds of act.
REPLAYED: Final = "replayed"
DROPPED: Final = "dropped"
SKIPPED: Final = "skipped"
#: Who repeats acts when a service is rebuilt.
REBUILD: Final = "rebuild"


@dataclass(frozen=True, slots=True)
class Mandate:
    """Who asks for an act, and why.

    Attributes:
        id: the request's idempotency key, under which the act is recorded.
        actor: organisation and client, or user of the machine.
        ground: why, in words that name no person.
        at: when.
    """

    id: UUID
    actor: str
    ground: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Place:
    """Where a parked message is: whose it is, topic, partition and offset."""

    consumer: str
    topic: str
    partition: int
    offset: int


@dataclass(frozen=True, slots=True)
class Act:
    """An act as it was recorded.

    Attributes:
        id: of the request.
        consumer: whose message it was.
        act: :data:`REPLAYED`, :data:`DROPPED` or :data:`SKIPPED`.
        topic: where the message was.
        partition: of the topic; None for a gap.
        offset: in the partition; None for a gap.
        key: the aggregate's id.
        revision: of the message, or the last of the gap; None when its headers do not parse.
        cause: why it could not be handled.
        actor: who.
        ground: why.
        at: when.
    """

    id: UUID
    consumer: str
    act: str
    topic: str
    partition: int | None
    offset: int | None
    key: str
    revision: int | None
    cause: str
    actor: str
    ground: str
    at: datetime


async def replay(conn: asyncpg.Connection, place: Place, by: Mandate) -> Act:
    """:func:`vitne.messaging.parked.replay`, recorded; repeated with the same id, what was recorded.

    Raises:
        NotFound: ``NOT_PARKED``.
        FailedPrecondition: ``NOT_FAILED``.
        AlreadyExists: ``REQUEST_ID_REUSED``.
    """
    return await _on_message(conn, REPLAYED, place, by)


async def drop(conn: asyncpg.Connection, place: Place, by: Mandate) -> Act:
    """:func:`vitne.messaging.parked.drop`, recorded; repeated with the same id, what was recorded.

    Raises:
        NotFound: ``NOT_PARKED``.
        FailedPrecondition: ``NOT_FAILED``.
        AlreadyExists: ``REQUEST_ID_REUSED``.
    """
    return await _on_message(conn, DROPPED, place, by)


async def skip(conn: asyncpg.Connection, consumer: str, topic: str, *, key: str, revision: int, by: Mandate) -> Act:
    """:func:`vitne.messaging.parked.skip`, recorded; repeated with the same id, what was recorded.

    Raises:
        FailedPrecondition: ``NO_GAP``.
        AlreadyExists: ``REQUEST_ID_REUSED``.
    """
    async with conn.transaction():
        if before := await _recorded(conn, by, (consumer, SKIPPED, topic, None, None, key, revision)):
            return before
        await parked.skip(conn, consumer, topic, key, revision)
        return await _record(
            conn,
            Act(by.id, consumer, SKIPPED, topic, None, None, key, revision, "", by.actor, by.ground, by.at),
        )


async def acts(
    conn: asyncpg.Connection, consumer: str = "", *, before: tuple[datetime, UUID] | None = None, limit: int = 100
) -> list[Act]:
    """What operators did, newest first.

    Args:
        conn: to the consumers' database.
        consumer: only this one's; empty: all.
        before: (``at``, ``id``) of the last act of the page before.
        limit: most acts.
    """
    at, id_ = before or (None, None)
    rows = await conn.fetch(
        """
        SELECT * FROM consumer_act WHERE ($1 = '' OR consumer = $1) AND ($2::timestamptz IS NULL OR (at, id) < ($2, $3))
        ORDER BY at DESC, id DESC LIMIT $4
        """,
        consumer,
        at,
        id_,
        limit,
    )
    return [Act(**row) for row in rows]


async def repeat_acts(conn: asyncpg.Connection, consumer: str, now: datetime, new_id: UuidFactory) -> int:
    """Drop and skip again what operators dropped and skipped before; answers how much there was.

    A consumer that reads from the beginning fails at the same messages, and waits
    before the same gaps. Call it until it answers 0: behind one there may be another.
    A message is known by its key and revision, or where it has none by its place.
    """
    done = 0
    async with conn.transaction():
        rows = await conn.fetch(
            """
            SELECT DISTINCT ON (p.topic, p.partition, p."offset") p.topic, p.partition, p."offset", a.id
            FROM consumer_parked AS p JOIN consumer_act AS a
                ON a.consumer = p.consumer AND a.topic = p.topic AND a.act = 'dropped' AND a.key = p.key
                    AND (a.revision = p.revision
                         OR a.revision IS NULL AND p.revision IS NULL
                            AND a.partition = p.partition AND a."offset" = p."offset")
            WHERE p.consumer = $1 AND p.state = 'failed' AND a.actor <> $2
            ORDER BY p.topic, p.partition, p."offset", a.at
            """,
            consumer,
            REBUILD,
        )
        for row in rows:
            by = Mandate(new_id(), REBUILD, f"repeats {row['id']}", now)
            try:
                await drop(conn, Place(consumer, row["topic"], row["partition"], row["offset"]), by)
            except (NotFound, FailedPrecondition):  # An operator was faster.
                continue
            done += 1
        gaps = await conn.fetch(
            """
            SELECT DISTINCT ON (topic, key, revision) topic, key, revision, id
            FROM consumer_act AS a WHERE consumer = $1 AND act = 'skipped' AND actor <> $2
                AND revision = (SELECT min(p.revision) - 1 FROM consumer_parked AS p
                                WHERE p.consumer = a.consumer AND p.topic = a.topic AND p.key = a.key)
                AND revision > coalesce((SELECT s.revision FROM consumer_seen AS s
                                         WHERE s.consumer = a.consumer AND s.topic = a.topic AND s.key = a.key), 0)
            ORDER BY topic, key, revision, at
            """,
            consumer,
            REBUILD,
        )
        for gap in gaps:
            by = Mandate(new_id(), REBUILD, f"repeats {gap['id']}", now)
            try:
                await skip(conn, consumer, gap["topic"], key=gap["key"], revision=gap["revision"], by=by)
            except FailedPrecondition:  # A message of the key failed: that comes first.
                continue
            done += 1
    return done


async def _on_message(conn: asyncpg.Connection, act: str, place: Place, by: Mandate) -> Act:
    async with conn.transaction():
        wanted = (place.consumer, act, place.topic, place.partition, place.offset, None, None)
        if before := await _recorded(conn, by, wanted):
            return before
        move = parked.replay if act == REPLAYED else parked.drop
        failed = await move(conn, place.consumer, place.topic, place.partition, place.offset)
        return await _record(
            conn,
            Act(
                by.id,
                place.consumer,
                act,
                place.topic,
                place.partition,
                place.offset,
                failed.text_key,
                failed.revision,
                failed.reason,
                by.actor,
                by.ground,
                by.at,
            ),
        )


async def _recorded(
    conn: asyncpg.Connection,
    by: Mandate,
    wanted: tuple[str, str, str, int | None, int | None, str | None, int | None],
) -> Act | None:
    """What was recorded under the request's id, if it was the same request; held until the transaction ends."""
    await conn.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", f"consumer_act/{by.id}")
    row = await conn.fetchrow("SELECT * FROM consumer_act WHERE id = $1", by.id)
    if row is None:
        return None
    act = Act(**row)
    consumer, kind, topic, partition, offset, key, revision = wanted
    same = (act.consumer, act.act, act.topic, act.partition, act.offset) == (consumer, kind, topic, partition, offset)
    if kind == SKIPPED:
        same = same and (act.key, act.revision) == (key, revision)
    if not same or (act.actor, act.ground) != (by.actor, by.ground):
        raise AlreadyExists(
            "REQUEST_ID_REUSED",
            "the request id was used for another act",
            field="request_id",
            rule="AIP-155: one id, one request",
            remedy="use a new UUID for a new request, and the same body to repeat one",
        )
    return act


async def _record(conn: asyncpg.Connection, act: Act) -> Act:
    await conn.execute(
        """
        INSERT INTO consumer_act
            (id, consumer, act, topic, partition, "offset", key, revision, cause, actor, ground, at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
        """,
        act.id,
        act.consumer,
        act.act,
        act.topic,
        act.partition,
        act.offset,
        act.key,
        act.revision,
        act.cause,
        act.actor,
        act.ground,
        act.at,
    )
    return act
