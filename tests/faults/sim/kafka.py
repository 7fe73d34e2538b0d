"""A Kafka in memory: partitions, groups, rebalances; and brokers that answer late, twice, wrongly or not at all.

It keeps Kafka's promises and no others. What is acknowledged is there; records of a
producer keep their order unless one failed; a group gives a partition to one member,
but a member that lost it learns of that late and may still be at work on what it
fetched. What was not acknowledged may be there all the same, now or later.
"""

from __future__ import annotations

import asyncio
import zlib
from collections import defaultdict
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from aiokafka.errors import IllegalStateError, KafkaConnectionError, KafkaTimeoutError

from tests.faults.sim.scheduler import Process, Scheduler
from vitne.messaging.headers import KafkaHeaders, Record, parse
from vitne.messaging.kafka import ConsumerClient, KafkaSettings, Partition, Producer
from vitne.messaging.topics import describe

#: After so long without a heartbeat a member is no longer one.
SESSION_SECONDS: Final = 10.0


class TopicPartition(NamedTuple):
    """As aiokafka's."""

    topic: str
    partition: int


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """As aiokafka's ``ConsumerRecord``."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: KafkaHeaders


class Cluster:
    """The brokers.

    Args:
        scheduler: of the world.
    """

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self.away = False
        self.logs: dict[TopicPartition, list[StoredRecord]] = {}
        self.partitions: dict[str, int] = {}
        self._groups: dict[str, list[SimulatedConsumer]] = defaultdict(list)
        self._news = asyncio.Event()
        #: The scenario is over: what comes late comes to nobody.
        self.closed = False

    def create(self, topic: str) -> None:
        """Create a topic with its partitions."""
        self.partitions[topic] = describe(topic).partitions
        for number in range(self.partitions[topic]):
            self.logs[TopicPartition(topic, number)] = []

    def append(self, topic: str, key: bytes, value: bytes, headers: KafkaHeaders) -> None:
        """Write a record."""
        if self.closed:
            return
        place = TopicPartition(topic, zlib.crc32(key) % self.partitions[topic])
        log = self.logs[place]
        log.append(StoredRecord(topic, place.partition, len(log), key, value, tuple(headers)))
        if self.scheduler.trace is not None:
            message = parse(log[-1])
            self.scheduler.note(f"          written   {topic}[{place.partition}]@{len(log) - 1} r{message.revision}")
        self.tell()

    def tell(self) -> None:
        """Wake those who wait for records."""
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def news(self, seconds: float) -> None:
        """Wait until something is written, or for so long."""
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            pass

    def join(self, group: str, member: SimulatedConsumer) -> None:
        self._groups[group].append(member)
        self.rebalance(group)

    def leave(self, group: str, member: SimulatedConsumer) -> None:
        if member in self._groups[group]:
            self._groups[group].remove(member)
            self.rebalance(group)

    def rebalance(self, group: str) -> None:
        """Share out the partitions anew, differently from before where there are several members."""
        members = self._groups[group]
        places = sorted({place for member in members for place in member.wanted()})
        turn = self.scheduler.random.randrange(len(members)) if members else 0
        for number, member in enumerate(members):
            mine = [place for at, place in enumerate(places) if (at + turn) % len(members) == number]
            member.given(mine)
        self.scheduler.note(f"          group     {group} shares {len(places)} partitions among {len(members)}")

    def groups(self) -> list[str]:
        """Groups that have members."""
        return sorted(group for group, members in self._groups.items() if members)


class ProcessKafka:
    """The cluster as one process reaches it: what the code takes for :class:`vitne.messaging.kafka.Kafka`."""

    def __init__(self, cluster: Cluster, process: Process) -> None:
        self._cluster = cluster
        self._process = process

    def producer(self, settings: KafkaSettings) -> Producer:
        return SimulatedProducer(self._cluster, self._process)

    def consumer(self, settings: KafkaSettings, topics: Sequence[str], group: str | None) -> ConsumerClient:
        return SimulatedConsumer(self._cluster, self._process, topics, group)


class SimulatedProducer:
    """What the relay takes for a producer."""

    def __init__(self, cluster: Cluster, process: Process) -> None:
        self._cluster = cluster
        self._process = process
        #: Sends complete one after another, as batches of one partition do.
        self._last: asyncio.Future[None] | None = None

    async def start(self) -> None:
        self._process.check()
        if self._cluster.away:
            raise KafkaConnectionError("no broker answers")

    async def stop(self) -> None:
        pass

    async def partitions_for(self, topic: str) -> set[int]:
        while topic not in self._cluster.partitions:
            await asyncio.sleep(0.1)
        return set(range(self._cluster.partitions[topic]))

    async def send(
        self, topic: str, value: bytes, key: bytes, *, headers: KafkaHeaders, timestamp_ms: int
    ) -> Awaitable[object]:
        self._process.check()
        acknowledged: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        acknowledged.add_done_callback(lambda done: done.cancelled() or done.exception())
        before, self._last = self._last, acknowledged
        self._process.spawn(self._deliver(topic, key, value, headers, before, acknowledged))
        return acknowledged

    async def _deliver(
        self,
        topic: str,
        key: bytes,
        value: bytes,
        headers: KafkaHeaders,
        before: asyncio.Future[None] | None,
        acknowledged: asyncio.Future[None],
    ) -> None:
        cluster, scheduler = self._cluster, self._cluster.scheduler
        if before is not None and not before.done():
            await asyncio.wait([before])
        fault = await scheduler.point(self._process, "send", topic)
        kind = fault.kind if fault else ""
        seconds = fault.value if fault else 0.0
        if cluster.away or kind == "error":
            acknowledged.set_exception(KafkaConnectionError("the broker is gone"))
            return
        if kind == "late":  # the client has given up when the broker writes it after all
            scheduler.loop.call_later(seconds, cluster.append, topic, key, value, headers)
            acknowledged.set_exception(KafkaTimeoutError("the broker did not answer in time"))
            return
        if kind == "slow":
            await asyncio.sleep(seconds)
        cluster.append(topic, key, value, headers)
        if kind == "twice":
            cluster.append(topic, key, value, headers)
        if kind == "crash_after":
            await scheduler.crash(self._process)
        if kind == "error_after":
            acknowledged.set_exception(KafkaTimeoutError("the broker's answer was lost"))
            return
        if kind == "late_answer":
            await asyncio.sleep(seconds)
        acknowledged.set_result(None)


class SimulatedConsumer:
    """What consumer and follower take for a consumer client."""

    def __init__(self, cluster: Cluster, process: Process, topics: Sequence[str], group: str | None) -> None:
        self._cluster = cluster
        self._process = process
        self._topics = topics
        self._group = group
        self._positions: dict[TopicPartition, int] = {}
        self._ends: dict[TopicPartition, int] = {}
        self._fetches = 0
        self._started = False

    async def start(self) -> None:
        await self._cluster.scheduler.point(self._process, "join", self._group or "")
        if self._cluster.away:
            raise KafkaConnectionError("no broker answers")
        self._started = True
        if self._group is None:
            self.given(self.wanted())
        else:
            self._cluster.join(self._group, self)
            self._process.funeral.append(self._expire)

    async def stop(self) -> None:
        if self._process.dead:  # it says goodbye to nobody: see _expire
            return
        if self._started and self._group is not None:
            # Started until it has left: who dies on the way out is still a member, until its session expires.
            await self._cluster.scheduler.point(self._process, "leave", self._group)
            self._started = False
            self._cluster.leave(self._group, self)

    async def _expire(self) -> None:
        """A dead member stays one until its session has expired."""
        if self._started and self._group is not None:
            self._cluster.scheduler.loop.call_later(SESSION_SECONDS, self._cluster.leave, self._group, self)

    def wanted(self) -> list[TopicPartition]:
        return [place for place in self._cluster.logs if place.topic in self._topics]

    def given(self, places: Iterable[TopicPartition]) -> None:
        """These partitions are its own from now on; where it begins anew it begins at the beginning."""
        mine = set(places)
        self._positions = {place: self._positions.get(place, 0) for place in sorted(mine)}
        self._ends = {place: end for place, end in self._ends.items() if place in mine}

    async def getmany(self, *, timeout_ms: int, max_records: int) -> Mapping[Partition, Sequence[Record]]:
        cluster, scheduler = self._cluster, self._cluster.scheduler
        self._process.check()
        if not self._due():
            await cluster.news(timeout_ms / 1000)
        if cluster.away:
            await scheduler.point(self._process, "gone", self._group or "")
            raise KafkaConnectionError("the broker is gone")
        due = self._due()
        if not due:
            return {}
        group = self._group or ""
        fault = await scheduler.point(self._process, "fetch" if group else "follow", group)
        kind = fault.kind if fault else ""
        if kind == "error":
            raise KafkaConnectionError("the broker is gone")
        if kind == "slow" and fault is not None:
            await asyncio.sleep(fault.value)
        if kind == "again":  # the client lost its place, as after a rebalance that changed nothing
            self._positions = {place: max(0, at - 3) for place, at in self._positions.items()}
        fetched: dict[Partition, Sequence[Record]] = {}
        room = max_records
        for place in self._due():
            at = self._positions[place]
            records = cluster.logs[place][at : at + room]
            if records:
                fetched[place] = records
                room -= len(records)
                self._positions[place] = at + len(records)
        self._fetches += 1
        for place in self._positions:
            self._ends[place] = len(cluster.logs[place])
        if kind == "moves" and group:  # to another member, while this one holds what it fetched
            cluster.rebalance(group)
        return fetched

    def _due(self) -> list[TopicPartition]:
        return [place for place, at in self._positions.items() if at < len(self._cluster.logs[place])]

    def seek(self, partition: Partition, offset: int) -> None:
        place = TopicPartition(partition.topic, partition.partition)
        if place not in self._positions:
            raise IllegalStateError("not assigned")
        self._positions[place] = offset

    def highwater(self, partition: Partition) -> int | None:
        place = TopicPartition(partition.topic, partition.partition)
        if place not in self._positions:
            return None
        return self._ends.get(place, len(self._cluster.logs[place]) if not self._cluster.logs[place] else None)

    def last_poll_timestamp(self, partition: Partition) -> int | None:
        return self._fetches or None

    async def position(self, partition: Partition) -> int:
        place = TopicPartition(partition.topic, partition.partition)
        if place not in self._positions:
            raise IllegalStateError("not assigned")
        return self._positions[place]

    def assignment(self) -> Iterable[Partition]:
        return list(self._positions)
