"""The follower against a cluster in memory: order, repetitions, gaps, poison, and a cluster that lost records."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import NamedTuple

import pytest
from aiokafka.errors import KafkaConnectionError
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from vitne.clock import ManualClock
from vitne.errors import DataLoss
from vitne.messaging import tracing
from vitne.messaging.follower import TopicFollower
from vitne.messaging.headers import Message, build
from vitne.messaging.kafka import KafkaSettings, Producer

TOPIC = "vitne.ledger.status.v1"


class TopicPartition(NamedTuple):
    topic: str
    partition: int


@dataclass(frozen=True)
class FakeRecord:
    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]


@dataclass
class FakeCluster:
    """Two partitions of one topic; every client reads them from the beginning."""

    logs: dict[TopicPartition, list[FakeRecord]] = field(
        default_factory=lambda: {TopicPartition(TOPIC, 0): [], TopicPartition(TOPIC, 1): []}
    )
    refusals: int = 0
    clients: int = 0

    def write(self, clock: ManualClock, key: str, revision: int, *, value: bytes = b"", partition: int = 0) -> None:
        log = self.logs[TopicPartition(TOPIC, partition)]
        headers = build(
            event_id=uuid.uuid4(),
            source="/test",
            type_="test",
            time=clock.now(),
            key=key,
            revision=revision,
            traceparent=None,
        )
        log.append(FakeRecord(TOPIC, partition, len(log), key.encode(), value, headers))

    def producer(self, settings: KafkaSettings) -> Producer:
        raise NotImplementedError

    def consumer(self, settings: KafkaSettings, topics: Sequence[str], group: str | None) -> FakeClient:
        assert group is None
        self.clients += 1
        return FakeClient(self)


class FakeClient:
    def __init__(self, cluster: FakeCluster) -> None:
        self.cluster = cluster
        self.positions = dict.fromkeys(cluster.logs, 0)
        self.fetched = False

    async def start(self) -> None:
        if self.cluster.refusals:
            self.cluster.refusals -= 1
            raise KafkaConnectionError

    async def stop(self) -> None:
        pass

    async def getmany(self, *, timeout_ms: int, max_records: int) -> dict[TopicPartition, list[FakeRecord]]:
        await asyncio.sleep(0)
        self.fetched = True
        fetched = {}
        for partition, log in self.cluster.logs.items():
            if records := log[self.positions[partition] : self.positions[partition] + 3]:
                fetched[partition] = records
                self.positions[partition] += len(records)
        return fetched

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self.positions[partition] = offset

    def last_poll_timestamp(self, partition: TopicPartition) -> int | None:
        return None

    def highwater(self, partition: TopicPartition) -> int | None:
        return len(self.cluster.logs[partition]) if self.fetched else None

    async def position(self, partition: TopicPartition) -> int:
        return self.positions[partition]

    def assignment(self) -> Iterable[TopicPartition]:
        return self.positions


@asynccontextmanager
async def following(
    cluster: FakeCluster, clock: ManualClock, apply: Callable[[Message], None]
) -> AsyncIterator[TopicFollower]:
    follower = TopicFollower([TOPIC], KafkaSettings("nowhere:9092"), apply, clock, kafka=cluster)  # type: ignore[arg-type]  # a fake needs only its own partitions
    task = asyncio.create_task(follower.run())
    try:
        yield follower
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def eventually(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0)


async def test_it_applies_everything_in_order_and_then_says_so(clock: ManualClock) -> None:
    cluster, applied = FakeCluster(refusals=3), list[tuple[str, int]]()
    for revision in range(1, 8):
        cluster.write(clock, "a", revision)
        cluster.write(clock, "b", revision, partition=1)
    async with following(cluster, clock, lambda m: applied.append((m.key, m.revision))) as follower:
        await asyncio.wait_for(follower.caught_up.wait(), 5)
        for key in "ab":
            assert [revision for name, revision in applied if name == key] == list(range(1, 8))
        cluster.write(clock, "a", 8)
        await eventually(lambda: ("a", 8) in applied)
    assert cluster.clients == 4


async def test_what_was_told_before_it_came_up_lengthens_no_trace(
    clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(tracing, "_TRACER", provider.get_tracer("test"))
    cluster, applied = FakeCluster(), list[int]()
    for revision in (1, 2, 3, 4, 5):
        cluster.write(clock, "a", revision)
    async with following(cluster, clock, lambda m: applied.append(m.revision)) as follower:
        await asyncio.wait_for(follower.caught_up.wait(), 60)
        assert not exporter.get_finished_spans()
        cluster.write(clock, "a", 6)
        await eventually(lambda: 6 in applied)
        await eventually(exporter.get_finished_spans)
    assert [(span.attributes or {})["messaging.kafka.offset"] for span in exporter.get_finished_spans()] == [5]


async def test_empty_topics_count_as_caught_up(clock: ManualClock) -> None:
    async with following(FakeCluster(), clock, lambda _: None) as follower:
        await asyncio.wait_for(follower.caught_up.wait(), 5)


async def test_repetitions_are_dropped_and_gaps_waited_for(clock: ManualClock) -> None:
    cluster, applied = FakeCluster(), list[tuple[str, int]]()
    for revision in (1, 3, 4, 1):
        cluster.write(clock, "a", revision)
    cluster.write(clock, "b", 1)
    async with following(cluster, clock, lambda m: applied.append((m.key, m.revision))) as follower:
        await eventually(lambda: ("b", 1) in applied)
        assert ("a", 3) not in applied
        assert follower.waiting == 2
        assert not follower.caught_up.is_set()
        cluster.write(clock, "a", 2)
        cluster.write(clock, "a", 3)
        await asyncio.wait_for(follower.caught_up.wait(), 5)
        assert [revision for key, revision in applied if key == "a"] == [1, 2, 3, 4]
        assert follower.waiting == 0


async def test_a_key_stops_at_what_cannot_be_handled_and_others_go_on(clock: ManualClock) -> None:
    cluster, applied = FakeCluster(), list[tuple[str, int]]()

    def apply(message: Message) -> None:
        if message.value == b"poison":
            raise DataLoss("NOT_A_FACT", "it says nothing")
        applied.append((message.key, message.revision))

    cluster.write(clock, "a", 1)
    cluster.write(clock, "a", 2, value=b"poison")
    cluster.write(clock, "a", 3)
    cluster.write(clock, "b", 1)
    async with following(cluster, clock, apply) as follower:
        await asyncio.wait_for(follower.caught_up.wait(), 5)
        assert applied == [("a", 1), ("b", 1)]
        assert follower.blocked == {(TOPIC, "a"): "NOT_A_FACT"}


async def test_an_error_of_the_programme_ends_it(clock: ManualClock) -> None:
    cluster = FakeCluster()
    cluster.write(clock, "a", 1)

    def apply(message: Message) -> None:
        raise ZeroDivisionError

    follower = TopicFollower([TOPIC], KafkaSettings("nowhere:9092"), apply, clock, kafka=cluster)  # type: ignore[arg-type]  # as above
    with pytest.raises(ZeroDivisionError):
        await asyncio.wait_for(follower.run(), 5)


async def test_when_the_cluster_lost_its_records_it_reads_what_there_is(clock: ManualClock) -> None:
    cluster, applied = FakeCluster(), list[int]()
    for revision in (1, 2, 3):
        cluster.write(clock, "a", revision)
    async with following(cluster, clock, lambda m: applied.append(m.revision)) as follower:
        await asyncio.wait_for(follower.caught_up.wait(), 5)
        cluster.logs[TopicPartition(TOPIC, 0)].clear()
        await eventually(lambda: cluster.clients == 2)
        for revision in (1, 2, 3, 4):
            cluster.write(clock, "a", revision)
        await eventually(lambda: 4 in applied)
        assert applied == [1, 2, 3, 4]
