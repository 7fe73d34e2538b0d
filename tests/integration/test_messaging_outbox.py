"""The outbox: revisions without gaps, whatever happens beside them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest
from opentelemetry.sdk.trace import TracerProvider

from vitne.clock import ManualClock
from vitne.errors import InvalidArgument
from vitne.identifiers import UuidFactory
from vitne.messaging import outbox
from vitne.messaging.outbox import MAX_VALUE_BYTES, Event, Statement, append, next_revision

SCHEMA = (Path(outbox.__file__).parent / "sql" / "0001_messaging.sql").read_text()

MakeEvent = Callable[..., Event]


@pytest.fixture
async def database(pool: asyncpg.Pool) -> asyncpg.Pool:
    await pool.execute(SCHEMA)
    return pool


@pytest.fixture
def event(clock: ManualClock) -> MakeEvent:
    new_id = UuidFactory(clock)

    def make(key: str, revision: int | None = None, topic: str = "t") -> Event:
        return Event(
            topic=topic,
            key=key,
            aggregate=f"aggregate of {key}",
            type="test",
            source="/test",
            value=key.encode(),
            time=clock.now(),
            id=new_id(),
            revision=revision,
        )

    return make


async def in_transaction(database: asyncpg.Pool, work: Callable[[asyncpg.Connection], Awaitable[object]]) -> None:
    async with database.acquire() as conn, conn.transaction():
        await work(conn)


async def revisions(database: asyncpg.Pool, key: str) -> list[int]:
    rows = await database.fetch("SELECT revision FROM outbox WHERE key = $1 ORDER BY id", key)
    return [row["revision"] for row in rows]


async def test_a_group_gets_its_revisions_in_the_order_of_the_list(database: asyncpg.Pool, event: MakeEvent) -> None:
    async with database.acquire() as conn:
        async with conn.transaction():
            assert await append(conn, [event(key) for key in "abacab"]) == [1, 1, 2, 1, 3, 2]
        async with conn.transaction():
            assert await append(conn, [event("b"), event("new")]) == [3, 1]
            assert await append(conn, []) == []
    rows = await database.fetch("SELECT key, value, published_at FROM outbox ORDER BY id")
    assert "".join(row["key"] for row in rows[:6]) == "abacab"
    assert all(row["value"] == row["key"].encode() and row["published_at"] is None for row in rows)


async def test_what_is_executed_beside_events_shares_their_fate(database: asyncpg.Pool, event: MakeEvent) -> None:
    await database.execute("CREATE TABLE kept (number integer UNIQUE)")
    beside = [
        Statement("INSERT INTO kept SELECT * FROM unnest($1::integer[])", ([1, 2],)),
        Statement("INSERT INTO kept SELECT number + $2 FROM unnest($1::integer[]) AS number", ([3], 10)),
    ]

    async def write(conn: asyncpg.Connection) -> None:
        await append(conn, [event("a"), event("b"), event("a")], beside=beside)

    await in_transaction(database, write)
    with pytest.raises(asyncpg.UniqueViolationError):
        await in_transaction(database, write)
    with pytest.raises(ValueError, match="there are none"):
        await in_transaction(database, lambda conn: append(conn, [], beside=beside))
    assert await database.fetchval("SELECT array_agg(number ORDER BY number) FROM kept") == [1, 2, 13]
    assert (await revisions(database, "a"), await revisions(database, "b")) == ([1, 2], [1])


async def test_concurrent_writers_leave_no_gap_and_do_not_deadlock(database: asyncpg.Pool, event: MakeEvent) -> None:
    async def write(keys: str) -> None:
        async with database.acquire() as conn, conn.transaction():
            await append(conn, [event(key) for key in keys])
            await asyncio.sleep(0.002)

    await asyncio.gather(*(write(keys) for _ in range(10) for keys in ("abc", "cba", "bb")))
    assert await revisions(database, "a") == list(range(1, 21))
    assert await revisions(database, "b") == list(range(1, 41))


async def test_a_rollback_gives_its_revisions_back(database: asyncpg.Pool, event: MakeEvent) -> None:
    async def fail(conn: asyncpg.Connection) -> None:
        assert await append(conn, [event("a"), event("a")]) == [1, 2]
        raise ZeroDivisionError

    async def succeed(conn: asyncpg.Connection) -> None:
        assert await append(conn, [event("a")]) == [1]

    with pytest.raises(ZeroDivisionError):
        await in_transaction(database, fail)
    await in_transaction(database, succeed)
    assert await revisions(database, "a") == [1]


async def test_a_revision_may_be_taken_before_its_event_is_made(database: asyncpg.Pool, event: MakeEvent) -> None:
    async with database.acquire() as conn:
        for expected in (1, 2):
            async with conn.transaction():
                revision = await next_revision(conn, "aggregate of a")
                assert await append(conn, [event("a", revision)]) == [expected]
        async with conn.transaction():
            assert await append(conn, [event("a")]) == [3]
    assert await revisions(database, "a") == [1, 2, 3]


@pytest.mark.parametrize("given", [0, 2, 9])
async def test_a_revision_that_nobody_took_is_refused(database: asyncpg.Pool, event: MakeEvent, given: int) -> None:
    async def write(conn: asyncpg.Connection) -> None:
        await next_revision(conn, "aggregate of a")
        await append(conn, [event("a", given)])

    with pytest.raises(InvalidArgument, match="REVISION_NOT_TAKEN"):
        await in_transaction(database, write)
    assert await revisions(database, "a") == []


async def test_revisions_in_the_wrong_order_are_refused(database: asyncpg.Pool, event: MakeEvent) -> None:
    async def write(conn: asyncpg.Connection) -> None:
        first, second = [await next_revision(conn, "aggregate of a") for _ in range(2)]
        await append(conn, [event("a", second), event("a", first)])

    with pytest.raises(InvalidArgument, match="REVISION_NOT_TAKEN"):
        await in_transaction(database, write)


async def test_an_aggregate_stays_in_its_topic(database: asyncpg.Pool, event: MakeEvent) -> None:
    async def write(conn: asyncpg.Connection, topic: str) -> None:
        await append(conn, [event("a", topic=topic)])

    await in_transaction(database, lambda conn: write(conn, "t"))
    with pytest.raises(InvalidArgument, match="AGGREGATE_MOVED"):
        await in_transaction(database, lambda conn: write(conn, "other"))
    assert await revisions(database, "a") == [1]


async def test_without_a_transaction_what_is_refused_has_no_effect(database: asyncpg.Pool, event: MakeEvent) -> None:
    await database.execute("CREATE TABLE kept (number integer)")
    beside = [Statement("INSERT INTO kept VALUES ($1)", (1,))]
    async with database.acquire() as conn:
        assert await append(conn, [event("a"), event("b"), event("a")]) == [1, 1, 2]
        for refused, reason in (
            ([event("b"), event("a", topic="other")], "AGGREGATE_MOVED"),
            ([event("b"), replace(event("a"), key="other")], "AGGREGATE_MOVED"),
            ([event("b"), event("a", 2)], "REVISION_NOT_TAKEN"),  # taken, but in a transaction that is over
            ([event("b"), event("a", 3)], "REVISION_NOT_TAKEN"),
        ):
            with pytest.raises(InvalidArgument, match=reason):
                await append(conn, refused, beside=beside)
    assert await database.fetchval("SELECT count(*) FROM kept") == 0
    assert (await revisions(database, "a"), await revisions(database, "b")) == ([1, 2], [1])


async def test_what_comes_first_may_wait_for_what_is_beside(database: asyncpg.Pool, event: MakeEvent) -> None:
    await database.execute("CREATE TABLE kept (number integer)")
    added = Statement("INSERT INTO kept VALUES ($1) RETURNING number", (7,), name="added")
    async with database.acquire() as conn:
        for expected, number in ((1, "number"), (2, "8")):
            noted = Statement(f"INSERT INTO kept SELECT {number} + $1 FROM added RETURNING number", (1,))
            assert await append(conn, [event("a")], beside=[added], first=noted) == [expected]
    assert await database.fetchval("SELECT array_agg(number ORDER BY number) FROM kept") == [7, 7, 8, 9]


async def test_an_event_that_kafka_would_not_take_is_refused_with_its_state(
    database: asyncpg.Pool, event: MakeEvent
) -> None:
    async def write(conn: asyncpg.Connection) -> None:
        await append(conn, [replace(event("a"), value=bytes(MAX_VALUE_BYTES + 1))])

    with pytest.raises(InvalidArgument, match="EVENT_TOO_LARGE"):
        await in_transaction(database, write)
    assert await revisions(database, "a") == []


async def test_the_trace_that_is_active_is_recorded(database: asyncpg.Pool, event: MakeEvent) -> None:
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("test")
    async with database.acquire() as conn, conn.transaction():
        with tracer.start_as_current_span("issue") as span:
            await append(conn, [event("a")])
        await append(conn, [event("b")])
    context = span.get_span_context()
    rows = await database.fetch("SELECT traceparent FROM outbox ORDER BY id")
    assert rows[0]["traceparent"].startswith(f"00-{context.trace_id:032x}-{context.span_id:016x}-")
    assert rows[1]["traceparent"] is None


async def test_an_event_keeps_the_trace_that_it_is_given(database: asyncpg.Pool, event: MakeEvent) -> None:
    own = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    async with database.acquire() as conn, conn.transaction():
        await append(conn, [replace(event("a"), traceparent=own), event("b")])
    rows = await database.fetch("SELECT traceparent FROM outbox ORDER BY id")
    assert [row["traceparent"] for row in rows] == [own, None]
