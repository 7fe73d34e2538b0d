"""Relay and consumer with a real PostgreSQL and a real broker: nothing lost, nothing twice, nothing out of order."""

from __future__ import annotations

import asyncio
import secrets
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import aiokafka
import asyncpg
import pytest
from aiokafka.errors import KafkaTimeoutError, TopicAuthorizationFailedError
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from vitne.clock import SystemClock
from vitne.dev.broker import EmbeddedBroker, TopicSpec, create_topics
from vitne.errors import InvalidArgument, Unavailable
from vitne.identifiers import UuidFactory
from vitne.messaging import outbox, parked
from vitne.messaging.consumer import Consumer, ConsumerOptions
from vitne.messaging.headers import KafkaHeaders, Message, Record, build
from vitne.messaging.kafka import AIOKAFKA, AioKafka, ConsumerClient, Kafka, KafkaSettings, Partition, Producer
from vitne.messaging.outbox import Event, append
from vitne.messaging.recovery import start_over
from vitne.messaging.relay import Relay, RelayOptions
from vitne.metrics import REGISTRY
from vitne_api.events.v1 import events_pb2

SCHEMA = (Path(outbox.__file__).parent / "sql" / "0001_messaging.sql").read_text()
CLOCK = SystemClock()
QUICK = ConsumerOptions(poll_seconds=0.05, sweep_seconds=0.05)

#: Handles one message.
OneHandler = Callable[[asyncpg.Connection, Message], Awaitable[None]]

new_id = UuidFactory(CLOCK)


@dataclass
class Road:
    """One database that is both ends of the road, and a topic of its own; ``effect`` is what consumers did."""

    dsn: str
    pool: asyncpg.Pool
    topic: str
    settings: KafkaSettings
    handled: list[tuple[str, int]] = field(default_factory=list)
    kafka: Kafka = AIOKAFKA

    def event(self, key: str, value: bytes = b"", topic: str = "") -> Event:
        topic = topic or self.topic
        return Event(
            topic=topic,
            key=key,
            aggregate=f"{topic}/{key}",
            type="test",
            source="/test",
            value=value,
            time=CLOCK.now(),
            id=new_id(),
        )

    async def tell(self, *keys: str, value: bytes = b"") -> None:
        async with self.pool.acquire() as conn, conn.transaction():
            await append(conn, [self.event(key, value) for key in keys])

    def relay(self, **options: Any) -> Relay:
        options = {"idle_seconds": 0.02, "follower_seconds": 0.05, **options}
        return Relay(self.pool, self.settings, CLOCK, kafka=self.kafka, options=RelayOptions(**options))

    def consumer(self, handler: OneHandler | None = None, name: str = "test", kafka: Kafka = AIOKAFKA) -> Consumer:
        handle = handler or self.handle

        async def one_by_one(conn: asyncpg.Connection, messages: Sequence[Message]) -> None:
            for message in messages:
                await handle(conn, message)

        return Consumer(
            name,
            [self.topic],
            self.pool,
            one_by_one,
            settings=self.settings,
            clock=CLOCK,
            kafka=kafka,
            options=QUICK,
        )

    async def handle(self, conn: asyncpg.Connection, message: Message) -> None:
        await self.effect(conn, message)

    async def effect(self, conn: asyncpg.Connection, message: Message) -> None:
        self.handled.append((message.key, message.revision))
        await conn.execute("INSERT INTO effect (key, revision) VALUES ($1, $2)", message.key, message.revision)

    async def effects(self, key: str | None = None) -> list[int]:
        rows = await self.pool.fetch(
            "SELECT revision FROM effect WHERE key = $1 OR $1::text IS NULL ORDER BY place", key
        )
        return [row["revision"] for row in rows]

    async def until_effects(self, key: str, expected: Sequence[int]) -> None:
        await eventually(lambda: self.effects(key), lambda found: found == list(expected))

    async def unpublished(self) -> int:
        count: int = await self.pool.fetchval("SELECT count(*) FROM outbox WHERE published_at IS NULL")
        return count

    async def until_published(self) -> None:
        await eventually(self.unpublished, lambda count: count == 0)

    async def records(self) -> list[aiokafka.ConsumerRecord]:
        """All that the topic holds, once its relay is done."""
        await self.until_published()
        client = aiokafka.AIOKafkaConsumer(
            self.topic, bootstrap_servers=self.settings.bootstrap_servers, auto_offset_reset="earliest"
        )
        found = []
        async with client:
            while fetched := await client.getmany(timeout_ms=700):
                found += [record for records in fetched.values() for record in records]
        return found


@pytest.fixture
async def road(database_dsn: str, pool: asyncpg.Pool, broker: str, on_apache: bool) -> Road:
    await pool.execute(SCHEMA)
    await pool.execute(
        "CREATE TABLE effect"
        " (place bigint GENERATED ALWAYS AS IDENTITY, key text, revision bigint, UNIQUE (key, revision))"
    )
    topic = f"test.{uuid.uuid4().hex}"
    await create_topics(broker, [TopicSpec(topic, 3), TopicSpec(f"{topic}.dead")])
    settings = KafkaSettings(broker, idempotence=on_apache, groups=False, fetch_max_wait_ms=5)
    return Road(database_dsn, pool, topic, settings)


async def eventually(look: Callable[[], Awaitable[Any]], wanted: Callable[[Any], bool], seconds: float = 60) -> Any:
    deadline = CLOCK.monotonic() + seconds
    while True:
        found = await look()
        if wanted(found):
            return found
        if CLOCK.monotonic() > deadline:
            pytest.fail(f"it never came about; the last that was seen: {found!r}")
        await asyncio.sleep(0.01)


@asynccontextmanager
async def running(*works: Coroutine[Any, Any, None]) -> AsyncIterator[list[asyncio.Task[None]]]:
    tasks = [asyncio.create_task(work) for work in works]
    try:
        yield tasks
        for task in tasks:
            if task.done() and not task.cancelled():
                task.result()
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task


async def test_every_event_takes_effect_once_in_the_order_of_its_aggregate(road: Road) -> None:
    keys = [f"key {number % 7}" for number in range(700)]
    async with running(road.relay().run(), road.consumer().run()):
        for start in range(0, 700, 50):
            await road.tell(*keys[start : start + 50])
        for key in set(keys):
            await road.until_effects(key, range(1, 101))
    assert len(road.handled) == 700


class Gathering(AioKafka):
    """Consumers who hand over nothing before they have fetched all of a topic, and then all at once."""

    def __init__(self, messages: int) -> None:
        self._messages = messages

    def consumer(self, settings: KafkaSettings, topics: Sequence[str], group: str | None) -> ConsumerClient:
        client: Any = super().consumer(settings, topics, group)
        handed_over = client.getmany
        gathered: dict[Partition, dict[int, Record]] = defaultdict(dict)

        async def getmany(*, timeout_ms: int, max_records: int) -> dict[Partition, list[Record]]:
            for partition, records in (await handed_over(timeout_ms=timeout_ms, max_records=max_records)).items():
                # Before the consumer knows where it is it has partitions fetched anew.
                gathered[partition] |= {record.offset: record for record in records}
            if sum(map(len, gathered.values())) < self._messages:
                return {}
            return {partition: list(records.values()) for partition, records in gathered.items()}

        client.getmany = getmany
        return cast(ConsumerClient, client)


@pytest.mark.parametrize("poisoned", [False, True])
async def test_what_comes_from_several_partitions_shares_a_transaction_unless_that_fails(
    road: Road, poisoned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    await road.pool.execute("CREATE TABLE share (transaction xid8, partition int)")

    async def handle(conn: asyncpg.Connection, message: Message) -> None:
        if poisoned and message.key == "key 7":
            raise InvalidArgument("POISON", "no")
        await road.effect(conn, message)
        await conn.execute("INSERT INTO share VALUES (pg_current_xact_id(), $1)", message.partition)

    keys = [f"key {number}" for number in range(30)]
    await road.tell(*keys)
    consumer = road.consumer(handle, kafka=Gathering(len(keys)))
    async with running(road.relay().run(), consumer.run()):
        for key in keys:
            await road.until_effects(key, [] if poisoned and key == "key 7" else [1])
        await eventually(lambda: parked.count_parked(road.pool, "test"), lambda count: count == poisoned)
    shared = await road.pool.fetchval(
        "SELECT max(partitions) FROM "
        "(SELECT count(DISTINCT partition) AS partitions FROM share GROUP BY transaction) AS transactions"
    )
    assert shared == (1 if poisoned else 3)
    told = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len([line for line in told if "failed together (POISON in handle" in line]) == poisoned, "once for its cause"


async def test_a_consumer_that_starts_late_or_again_goes_on_where_its_data_says(road: Road) -> None:
    await road.tell("a", "b", "a")
    async with running(road.relay().run()):
        async with running(road.consumer().run()):
            await road.until_effects("a", [1, 2])
            await road.until_effects("b", [1])
        await road.tell("a", "b")
        async with running(road.consumer().run()):
            await road.until_effects("a", [1, 2, 3])
            await road.until_effects("b", [1, 2])
    assert len(road.handled) == 5


async def test_the_trace_goes_on_at_the_other_end(road: Road, monkeypatch: pytest.MonkeyPatch) -> None:
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("test")
    monkeypatch.setattr("vitne.messaging.tracing._TRACER", tracer)
    inside: list[trace.SpanContext] = []

    async def handle(conn: asyncpg.Connection, message: Message) -> None:
        inside.append(trace.get_current_span().get_span_context())
        await road.effect(conn, message)

    with tracer.start_as_current_span("issue") as span:
        await road.tell("a")
    async with running(road.relay().run(), road.consumer(handle).run()):
        await road.until_effects("a", [1])
    assert inside[0].trace_id == span.get_span_context().trace_id
    assert inside[0].span_id != span.get_span_context().span_id


# The relay


class Unmarking(Relay):
    """Dies after publishing, before marking."""

    async def _mark(self, conn: asyncpg.Connection, rows: Sequence[asyncpg.Record]) -> None:
        if rows:
            raise RuntimeError("killed between publishing and marking")


async def test_a_relay_that_dies_before_marking_repeats_and_consumers_drop_it(road: Road) -> None:
    await road.tell("a", "b", "a")
    with pytest.raises(RuntimeError, match="killed"):
        await Unmarking(road.pool, road.settings, CLOCK).run()
    assert await road.unpublished() == 3
    async with running(road.relay().run(), road.consumer().run()):
        await road.until_effects("a", [1, 2])
        await road.tell("a")
        await road.until_effects("a", [1, 2, 3])
        await road.until_effects("b", [1])
    assert len(await road.records()) == 7
    assert len(road.handled) == 4


class Refusing(AioKafka):
    """The first time, acknowledges everything but the second record of key ``a``."""

    def __init__(self) -> None:
        self.refused = False

    def producer(self, settings: KafkaSettings) -> Producer:
        made = super().producer(settings)
        send, sent = made.send, 0

        async def refuse(
            topic: str, value: bytes, key: bytes, *, headers: KafkaHeaders, timestamp_ms: int
        ) -> Awaitable[object]:
            nonlocal sent
            sent += key == b"a"
            if sent == 2 and key == b"a" and not self.refused:
                self.refused = True
                refusal = asyncio.get_running_loop().create_future()
                refusal.set_exception(KafkaTimeoutError())
                return refusal
            return await send(topic, value, key, headers=headers, timestamp_ms=timestamp_ms)

        made.send = refuse  # type: ignore[method-assign]  # that is the failure
        return made


async def test_what_was_not_acknowledged_is_sent_again_with_all_that_follows_it(road: Road) -> None:
    road.kafka = Refusing()
    await road.tell("a", "b", "a", "a")
    async with running(road.relay().run(), road.consumer().run()):
        await road.until_effects("a", [1, 2, 3])
        await road.until_effects("b", [1])
    sent = [int(dict(record.headers)["ce_revision"]) for record in await road.records() if record.key == b"a"]
    assert sent == [1, 3, 2, 3]


async def test_a_batch_ends_where_its_values_have_as_many_bytes_as_it_may_hold(road: Road) -> None:
    await road.tell("a", "b", "c", value=bytes(60))
    await road.tell("large", "last", value=bytes(200))
    async with running(road.relay(batch_bytes=100).run()):
        await road.until_published()
    rows = await road.pool.fetch("SELECT array_agg(key ORDER BY id) AS keys FROM outbox GROUP BY published_at")
    assert sorted(row["keys"] for row in rows) == [["a", "b"], ["c", "large"], ["last"]]


async def test_rows_that_commit_late_are_not_passed_over(road: Road) -> None:
    async with running(road.relay().run()), road.pool.acquire() as late:
        transaction = late.transaction()
        await transaction.start()
        await append(late, [road.event("late")])
        await road.tell("early")
        await road.until_published()
        await transaction.commit()
        await road.until_published()
    assert {record.key for record in await road.records()} == {b"early", b"late"}


async def test_a_topic_that_is_missing_does_not_hold_up_the_others(road: Road) -> None:
    async with road.pool.acquire() as conn, conn.transaction():
        await append(conn, [road.event("x", topic="no topic may be called this")])
    await road.tell("a")
    async with running(road.relay(topic_seconds=0.2).run(), road.consumer().run()):
        await road.until_effects("a", [1])
        await eventually(road.unpublished, lambda count: count == 1)


class Forbidding(AioKafka):
    """Has no access to one topic."""

    def __init__(self, forbidden: str) -> None:
        self.forbidden = forbidden

    def producer(self, settings: KafkaSettings) -> Producer:
        made = super().producer(settings)
        send = made.send

        async def forbid(
            topic: str, value: bytes, key: bytes, *, headers: KafkaHeaders, timestamp_ms: int
        ) -> Awaitable[object]:
            if topic == self.forbidden:
                raise TopicAuthorizationFailedError(topic)
            return await send(topic, value, key, headers=headers, timestamp_ms=timestamp_ms)

        made.send = forbid  # type: ignore[method-assign]  # that is the failure
        return made


async def test_a_topic_that_takes_nothing_does_not_hold_up_the_others(road: Road) -> None:
    forbidden = f"{road.topic}.dead"
    road.kafka = Forbidding(forbidden)
    async with road.pool.acquire() as conn, conn.transaction():
        # More than a batch has room for, and before everything else.
        await append(conn, [road.event(f"x{number}", topic=forbidden) for number in range(30)])
    await road.tell("a")
    async with running(road.relay(batch=10).run(), road.consumer().run()):
        await road.until_effects("a", [1])
        await eventually(road.unpublished, lambda count: count == 30)


async def test_one_relay_leads_and_another_takes_over(road: Road) -> None:
    async def leaders() -> list[int]:
        rows = await road.pool.fetch(
            """
            SELECT l.pid FROM pg_locks AS l JOIN pg_database AS d ON d.oid = l.database
            WHERE l.locktype = 'advisory' AND l.granted AND d.datname = current_database()
            """
        )
        return [row["pid"] for row in rows]

    async with running(road.relay().run(), road.relay().run(), road.consumer().run()):
        (first,) = await eventually(leaders, lambda found: len(found) == 1)
        await road.tell("a")
        await road.until_effects("a", [1])
        await road.pool.execute("SELECT pg_terminate_backend($1)", first)
        await road.tell("a")
        await road.until_effects("a", [1, 2])
        (second,) = await eventually(leaders, lambda found: len(found) == 1)
        assert second != first


async def test_published_rows_are_pruned_after_their_time_and_others_never(road: Road) -> None:
    await road.tell("old", "new", "unpublished")
    await road.pool.execute("UPDATE outbox SET published_at = $1 WHERE key = 'old'", CLOCK.now() - timedelta(days=8))
    await road.pool.execute("UPDATE outbox SET published_at = $1 WHERE key = 'new'", CLOCK.now() - timedelta(days=6))

    async def keys() -> set[str]:
        return {row["key"] for row in await road.pool.fetch("SELECT key FROM outbox")}

    async with running(road.relay().run()):
        await eventually(keys, lambda found: found == {"new", "unpublished"})


# The consumer


async def publish(road: Road, *messages: tuple[str, int], value: bytes = b"") -> None:
    """Write records straight to the topic, as a relay in trouble may."""
    async with aiokafka.AIOKafkaProducer(
        bootstrap_servers=road.settings.bootstrap_servers, enable_idempotence=False
    ) as producer:
        for key, revision in messages:
            headers = outbox_headers(key, revision)
            await producer.send_and_wait(road.topic, value, key.encode(), headers=headers)


def outbox_headers(key: str, revision: int) -> list[tuple[str, bytes]]:
    return build(
        event_id=new_id(),
        source="/test",
        type_="test",
        time=CLOCK.now(),
        key=key,
        revision=revision,
        traceparent=None,
    )


async def waiting(road: Road) -> list[tuple[str, int | None, str]]:
    async with road.pool.acquire() as conn:
        return [(each.text_key, each.revision, each.state) for each in await parked.list_parked(conn, "test")]


async def test_a_key_stops_at_a_gap_and_goes_on_when_it_is_filled(road: Road) -> None:
    await publish(road, ("a", 1), ("a", 3), ("a", 4), ("b", 1), ("a", 1))
    async with running(road.consumer().run()):
        await road.until_effects("b", [1])
        await eventually(lambda: waiting(road), lambda found: found == [("a", 3, "waiting"), ("a", 4, "waiting")])
        assert await road.effects("a") == [1]
        await publish(road, ("a", 2), ("a", 3), ("a", 5))
        await road.until_effects("a", [1, 2, 3, 4, 5])
        await eventually(lambda: waiting(road), lambda found: not found)
    assert len(road.handled) == 6


async def test_an_operator_may_declare_a_gap_lost(road: Road) -> None:
    await publish(road, ("a", 3), ("a", 4))
    async with running(road.consumer().run()):
        await eventually(lambda: waiting(road), lambda found: len(found) == 2)
        async with road.pool.acquire() as conn, conn.transaction():
            await parked.skip(conn, "test", road.topic, "a", 2)
        await road.until_effects("a", [3, 4])


async def poisoned(road: Road, conn: asyncpg.Connection, message: Message) -> None:
    await road.effect(conn, message)
    if message.value == b"poison":
        raise InvalidArgument("NO_GOOD", "it makes no sense")


async def dead_letters(road: Road) -> list[events_pb2.DeadLetter]:
    rows = await road.pool.fetch("SELECT value FROM outbox WHERE topic = $1 ORDER BY id", f"{road.topic}.dead")
    return [events_pb2.DeadLetter.FromString(row["value"]) for row in rows]


async def test_what_cannot_be_handled_is_parked_and_only_its_key_waits(road: Road) -> None:
    await road.tell("a", "b")
    await road.tell("a", value=b"poison")
    await road.tell("a", "b", "a")

    async def handle(conn: asyncpg.Connection, message: Message) -> None:
        await poisoned(road, conn, message)

    async with running(road.relay().run(), road.consumer(handle).run()):
        await road.until_effects("b", [1, 2])
        expected = [("a", 2, "failed"), ("a", 3, "waiting"), ("a", 4, "waiting")]
        await eventually(lambda: waiting(road), lambda found: found == expected)
        assert await road.effects("a") == [1]
        (letter,) = await dead_letters(road)
        assert (letter.consumer, letter.topic, letter.reason) == ("test", road.topic, "NO_GOOD")
        assert letter.value == b"poison"
        async with road.pool.acquire() as conn, conn.transaction():
            await parked.drop(conn, "test", letter.topic, letter.partition, letter.offset)
        await road.until_effects("a", [1, 3, 4])
        assert await waiting(road) == []
        await road.until_published()


async def test_what_is_rolled_back_and_done_again_is_counted_once(road: Road) -> None:
    async def handle(conn: asyncpg.Connection, message: Message) -> None:
        await poisoned(road, conn, message)

    async def counted() -> dict[str, float | None]:
        labels = {"consumer": road.topic, "topic": road.topic}
        return {
            outcome: REGISTRY.get_sample_value("vitne_consumer_messages_total", labels | {"outcome": outcome})
            for outcome in ("handled", "repeated", "waiting", "failed")
        }

    await publish(road, ("a", 1), ("b", 1), ("a", 1), ("a", 3))
    await publish(road, ("a", 2), value=b"poison")
    expected = {"handled": 2, "repeated": 1, "waiting": 1, "failed": 1}
    async with running(road.consumer(handle, name=road.topic).run()):
        await eventually(counted, lambda found: found["failed"] == 1 and found["handled"] == 2)
        assert await counted() == expected


async def test_a_parked_message_may_be_replayed_when_the_cause_is_gone(road: Road) -> None:
    await road.tell("a", value=b"poison")
    await road.tell("a")
    cured = False

    async def handle(conn: asyncpg.Connection, message: Message) -> None:
        await (road.effect(conn, message) if cured else poisoned(road, conn, message))

    async def replay() -> None:
        letter = (await dead_letters(road))[0]
        async with road.pool.acquire() as conn, conn.transaction():
            await parked.replay(conn, "test", letter.topic, letter.partition, letter.offset)

    async with running(road.relay().run(), road.consumer(handle).run()):
        await eventually(lambda: waiting(road), lambda found: found == [("a", 1, "failed"), ("a", 2, "waiting")])
        await replay()
        await eventually(lambda: dead_letters(road), lambda found: len(found) == 2)
        assert await road.effects("a") == []
        cured = True
        await replay()
        await road.until_effects("a", [1, 2])


async def test_a_record_without_our_headers_is_parked_and_never_handled(road: Road) -> None:
    async with aiokafka.AIOKafkaProducer(
        bootstrap_servers=road.settings.bootstrap_servers, enable_idempotence=False
    ) as producer:
        await producer.send_and_wait(road.topic, b"junk", b"\xff\x00")
        await producer.send_and_wait(road.topic, b"junk", None)
    await road.tell("a")
    async with running(road.relay().run(), road.consumer().run()):
        await road.until_effects("a", [1])
        letters = await eventually(lambda: dead_letters(road), lambda found: len(found) == 2)
        assert {letter.reason for letter in letters} == {"BAD_KEY"}
        await road.until_published()
    assert road.handled == [("a", 1)]


async def test_what_follows_a_record_without_headers_waits_until_an_operator_drops_it(road: Road) -> None:
    async with aiokafka.AIOKafkaProducer(
        bootstrap_servers=road.settings.bootstrap_servers, enable_idempotence=False
    ) as producer:
        await producer.send_and_wait(road.topic, b"junk", b"a")
    await publish(road, ("a", 1), ("b", 1))
    async with running(road.consumer().run()):
        await road.until_effects("b", [1])
        await eventually(lambda: waiting(road), lambda found: found == [("a", None, "failed"), ("a", 1, "waiting")])
        (letter,) = await dead_letters(road)
        async with road.pool.acquire() as conn, conn.transaction():
            await parked.drop(conn, "test", letter.topic, letter.partition, letter.offset)
        await road.until_effects("a", [1])
        assert (letter.reason, await waiting(road)) == ("BAD_HEADERS", [])


async def test_a_failure_that_mends_itself_is_tried_again_and_nothing_is_skipped(road: Road) -> None:
    failures = 0

    async def handle(conn: asyncpg.Connection, message: Message) -> None:
        nonlocal failures
        await road.effect(conn, message)
        if message.revision == 3 and failures < 5:
            failures += 1
            raise Unavailable("ISSUER_AWAY", "try again") if failures < 4 else ZeroDivisionError

    await road.tell("a", "a", "a", "a")
    async with running(road.relay().run(), road.consumer(handle).run()):
        await road.until_effects("a", [1, 2, 3, 4])
    assert failures == 5
    assert await waiting(road) == []
    # What precedes the failure was committed before it was tried again.
    assert road.handled.count(("a", 3)) == 6
    assert road.handled.count(("a", 1)) <= 2


async def test_of_two_instances_on_a_partition_one_rolls_back(road: Road) -> None:
    await road.tell(*["a"] * 50, *["b"] * 50)
    together = asyncio.Barrier(2)

    async def handle(conn: asyncpg.Connection, message: Message) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(0.01):
                await together.wait()
        await road.effect(conn, message)

    async with running(road.relay().run(), road.consumer(handle).run(), road.consumer(handle).run()):
        await road.until_effects("a", range(1, 51))
        await road.until_effects("b", range(1, 51))
        await road.tell("a")
        await road.until_effects("a", range(1, 52))


async def test_an_offset_that_another_moved_is_never_overwritten(road: Road) -> None:
    async def handle(conn: asyncpg.Connection, message: Message) -> None:
        await road.effect(conn, message)
        if message.revision == 2 and road.handled.count(("a", 2)) == 1:
            # As if this instance had been frozen while another took the partition, from an older transaction.
            await conn.execute("UPDATE consumer_offset SET next_offset = next_offset + 1000 WHERE consumer = 'test'")

    await road.tell("a")
    async with running(road.relay().run(), road.consumer(handle).run()):
        await road.until_effects("a", [1])
        await road.tell("a")
        await road.until_effects("a", [1, 2])
    assert road.handled.count(("a", 2)) == 2


async def test_a_record_with_a_key_that_no_index_takes_is_parked(road: Road) -> None:
    # Random, since what repeats is compressed into an index row.
    key = secrets.token_hex(3000).encode()
    async with aiokafka.AIOKafkaProducer(bootstrap_servers=road.settings.bootstrap_servers) as producer:
        await producer.send_and_wait(road.topic, b"junk", key, partition=0)
        await producer.send_and_wait(road.topic, b"junk", key[1:], partition=0)
    async with running(road.consumer().run()):
        parked = await eventually(
            lambda: road.pool.fetch("SELECT key, reason, raw_key FROM consumer_parked"), lambda rows: len(rows) == 2
        )
    assert {row["reason"] for row in parked} == {"BAD_KEY"}
    assert {row["raw_key"] for row in parked} == {key, key[1:]}


async def test_a_lost_database_connection_loses_nothing(road: Road) -> None:
    async def handle(conn: asyncpg.Connection, message: Message) -> None:
        await road.effect(conn, message)
        if message.revision == 5 and road.handled.count(("a", 5)) < 3:
            killer = await asyncpg.connect(road.dsn)
            await killer.execute("SELECT pg_terminate_backend($1)", conn.get_server_pid())
            await killer.close()

    await road.tell(*["a"] * 10)
    async with running(road.relay().run(), road.consumer(handle).run()):
        await road.until_effects("a", range(1, 11))
    assert road.handled.count(("a", 5)) >= 3


async def test_instances_in_a_group_share_the_work(road: Road) -> None:
    # The embedded broker takes seconds to form a group, and many more to hand a partition over.
    road.settings = replace(road.settings, groups=True)
    keys = [f"key {number}" for number in range(12)]
    async with running(road.relay().run(), road.consumer().run(), road.consumer().run()):
        await road.tell(*keys)
        for key in keys:
            await road.until_effects(key, [1])
    assert len(road.handled) == 12


async def test_a_cluster_that_lost_everything_is_filled_again_and_nothing_happens_twice(
    road: Road, tmp_path: Path
) -> None:
    await road.tell(*["a", "b"] * 5)
    for lives in (1, 2):
        async with EmbeddedBroker(tmp_path / str(lives)) as broker:
            await broker.create_topics([TopicSpec(road.topic, 3)])
            road.settings = broker.settings()
            if lives == 2:
                async with road.pool.acquire() as conn:
                    await start_over(conn)
                await road.tell("a")
            async with running(road.relay().run(), road.consumer().run()):
                await road.until_effects("a", range(1, 5 + lives))
                await road.until_effects("b", range(1, 6))
                await road.until_published()
    assert len(road.handled) == 11


@pytest.mark.parametrize("operator_acts", [False, True])
async def test_a_running_consumer_notices_a_cluster_that_lost_its_records(
    road: Road, tmp_path: Path, operator_acts: bool
) -> None:
    await road.tell(*["a"] * 20)
    async with EmbeddedBroker(tmp_path) as broker:
        await broker.create_topics([TopicSpec(road.topic, 1)])
        road.settings = broker.settings()
        async with running(road.consumer().run()):
            async with running(road.relay().run()):
                await road.until_effects("a", range(1, 21))
                await road.until_published()
            broker.kill()
            if operator_acts:
                async with road.pool.acquire() as conn:
                    await start_over(conn)
            async with EmbeddedBroker(tmp_path, port=broker.port) as again:
                await again.create_topics([TopicSpec(road.topic, 1)])
                await publish(road, ("a", 20), ("a", 21), ("b", 1))
                await road.until_effects("a", range(1, 22))
                await road.until_effects("b", [1])
    assert len(road.handled) == 22
