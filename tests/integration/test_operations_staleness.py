"""Silence is not freshness: a registry that is down, slow, or out of one service's reach; and projections rebuilt."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from aiokafka import AIOKafkaProducer

import services.issuer.projection
import services.verifier.sources
from services.issuer.projection import RegistryView
from tests.integration.issuer_harness import KLIMA, chronicle_of_providers
from tests.integration.portal_world import until
from tests.unit.accreditation_samples import ALL, NOKUT, UCL, WITHDRAWN, Chronicle, scope
from vitne.accreditation import Projection, timestamp
from vitne.clock import ManualClock, SystemClock
from vitne.dev.broker import EmbeddedBroker, TopicSpec, create_topics
from vitne.errors import FailedPrecondition, Unavailable
from vitne.identifiers import UuidFactory
from vitne.messaging import topics
from vitne.messaging.event_types import REGISTRY_FACT, REGISTRY_HEARTBEAT
from vitne.messaging.follower import TopicFollower
from vitne.messaging.headers import Message, Record, build
from vitne.messaging.kafka import AioKafka, ConsumerClient, KafkaSettings, Partition
from vitne_api.events.v1 import events_pb2
from vitne_api.registry.v1 import facts_pb2

pytestmark = pytest.mark.stack

BOUND = timedelta(minutes=10)
SECOND = timedelta(seconds=1)
UCL_SCOPE = scope("dk.micro_credential", levels=[("dk.nqf", "5")], credit_unit="ects", max_points="10")
FOLDERS = {"issuer": services.issuer.projection.folder, "verifier": services.verifier.sources.folder}


class Cut(AioKafka):
    """The way from the broker to one service; nothing comes through while it is cut."""

    def __init__(self) -> None:
        self.cut = False

    def consumer(self, settings: KafkaSettings, topics: Sequence[str], group: str | None) -> ConsumerClient:
        client: Any = super().consumer(settings, topics, group)
        getmany = client.getmany

        async def getmany_unless_cut(*, timeout_ms: int, max_records: int) -> Mapping[Partition, Sequence[Record]]:
            while self.cut:
                await asyncio.sleep(0.01)
            found: Mapping[Partition, Sequence[Record]] = await getmany(timeout_ms=timeout_ms, max_records=max_records)
            return found

        client.getmany = getmany_unless_cut
        made: ConsumerClient = client
        return made


@dataclass
class Service:
    """A service's projection, followed from the broker."""

    name: str
    settings: KafkaSettings
    clock: ManualClock
    kafka: Cut = field(default_factory=Cut)
    projection: Projection = field(default_factory=Projection)
    #: Heartbeats that were heard, believed or not.
    beats: int = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Service]:
        fold = FOLDERS[self.name](self.projection, self.clock)

        def fold_and_count(message: Message) -> None:
            fold(message)
            self.beats += message.topic == topics.REGISTRY_HEARTBEAT

        followed = (topics.REGISTRY_FACTS, topics.REGISTRY_HEARTBEAT)
        follower = TopicFollower(
            followed, self.settings, fold_and_count, SystemClock(), kafka=self.kafka, name=self.name
        )
        task = asyncio.create_task(follower.run())
        try:
            await asyncio.wait_for(follower.caught_up.wait(), 30)
            yield self
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    @property
    def staleness(self) -> timedelta:
        return self.projection.staleness(self.clock.now())

    async def knows(self, revision: int) -> None:
        async def look() -> bool:
            return self.projection.revision == revision

        await until(look)

    async def heard(self, within: timedelta) -> None:
        async def look() -> bool:
            return self.staleness <= within

        await until(look)


@dataclass
class World:
    """A registry that says what it is told to, and two services that listen."""

    clock: ManualClock
    settings: KafkaSettings
    producer: AIOKafkaProducer
    issuer: Service
    verifier: Service
    chronicle: Chronicle = field(default_factory=chronicle_of_providers)
    beats: int = 0
    told: int = 0

    def __post_init__(self) -> None:
        self._new_id = UuidFactory(SystemClock())

    async def tell(self) -> int:
        """Publish the facts that were recorded since; answers the registry's revision."""
        for fact in self.chronicle.facts[self.told :]:
            value = events_pb2.RegistryFactRecorded(fact=fact).SerializeToString()
            kind = REGISTRY_FACT
            await self._send(topics.REGISTRY_FACTS, kind, fact.subject, fact.subject_revision, value)
        self.told = len(self.chronicle.facts)
        return self.told

    async def beat(self, at: datetime | None = None) -> None:
        """Publish a heartbeat of the newest revision."""
        self.beats += 1
        beat = events_pb2.RegistryHeartbeat(
            registry_revision=len(self.chronicle.facts), at=timestamp(at or self.clock.now())
        )
        kind = REGISTRY_HEARTBEAT
        await self._send(topics.REGISTRY_HEARTBEAT, kind, topics.HEARTBEAT_KEY, self.beats, beat.SerializeToString())

    async def _send(self, topic: str, type_: str, key: str, revision: int, value: bytes) -> None:
        headers = build(
            event_id=self._new_id(),
            source="/vitne/registry",
            type_=type_,
            time=self.clock.now(),
            key=key,
            revision=revision,
            traceparent=None,
        )
        await self.producer.send_and_wait(topic, value, key=key.encode(), headers=headers)

    def withdraw(self, effective_from: datetime) -> facts_pb2.Fact:
        return self.chronicle.accredit(
            UCL,
            "dk.institution",
            UCL_SCOPE,
            revision=2,
            state=WITHDRAWN,
            effective_from=effective_from,
            authority=NOKUT,
        )

    def view(self) -> RegistryView:
        """The registry as the issuer asks it."""
        return RegistryView(self.issuer.projection, ALL, self.clock, BOUND)

    def decide(self) -> None:
        self.view().decide(UCL, UUID(KLIMA), 1, self.clock.now())


@pytest.fixture
async def world(tmp_path_factory: pytest.TempPathFactory, clock: ManualClock) -> AsyncIterator[World]:
    async with AsyncExitStack() as exits:
        broker = await exits.enter_async_context(EmbeddedBroker(tmp_path_factory.mktemp("broker")))
        address = broker.bootstrap_servers
        await create_topics(address, [TopicSpec(topics.REGISTRY_FACTS), TopicSpec(topics.REGISTRY_HEARTBEAT)])
        producer = AIOKafkaProducer(bootstrap_servers=address)
        await producer.start()
        exits.push_async_callback(producer.stop)
        settings = KafkaSettings(address, idempotence=False, groups=False, fetch_max_wait_ms=5)
        issuer, verifier = (Service(name, settings, clock) for name in FOLDERS)
        made = World(clock, settings, producer, issuer, verifier)
        revision = await made.tell()
        await made.beat()
        for service in (issuer, verifier):
            await exits.enter_async_context(service.running())
            await service.knows(revision)
        yield made


async def test_a_registry_that_is_down_is_believed_for_the_bound_and_no_longer(
    world: World, clock: ManualClock
) -> None:
    world.decide()
    clock.advance(BOUND)
    world.decide()
    clock.advance(SECOND)
    with pytest.raises(Unavailable, match="not been heard of"):
        world.decide()
    assert world.verifier.staleness > BOUND
    await world.beat()  # it returns
    for service in (world.issuer, world.verifier):
        await service.heard(timedelta(0))
    world.decide()


async def test_a_slow_heartbeat_counts_from_when_it_was_said(world: World, clock: ManualClock) -> None:
    said = clock.now() + 5 * SECOND
    clock.advance(timedelta(minutes=9))
    await world.beat(said)
    for service in (world.issuer, world.verifier):
        await service.heard(timedelta(minutes=9) - 5 * SECOND)
    clock.advance(timedelta(minutes=1) + 6 * SECOND)
    with pytest.raises(Unavailable):
        world.decide()


async def test_one_service_that_is_cut_off_refuses_alone_and_catches_up_whole(world: World, clock: ManualClock) -> None:
    world.issuer.kafka.cut = True
    await asyncio.sleep(0.3)  # what it was fetching just then comes through
    known = world.issuer.projection.revision
    world.withdraw(clock.now())
    revision = await world.tell()
    clock.advance(BOUND + SECOND)
    await world.beat()
    await world.verifier.knows(revision)
    await world.verifier.heard(timedelta(0))
    assert world.issuer.projection.revision == known
    with pytest.raises(Unavailable):  # and not: allowed, on what it knows
        world.decide()
    world.issuer.kafka.cut = False
    await world.issuer.knows(revision)
    await world.issuer.heard(timedelta(0))
    with pytest.raises(FailedPrecondition):
        world.decide()
    assert world.issuer.projection.trusted_facts() == world.verifier.projection.trusted_facts()


async def test_facts_without_heartbeat_are_known_and_make_nothing_fresh(world: World, clock: ManualClock) -> None:
    clock.advance(BOUND - SECOND)
    world.withdraw(clock.now())
    revision = await world.tell()
    for service in (world.issuer, world.verifier):
        await service.knows(revision)
    with pytest.raises(FailedPrecondition):  # what is known counts at once
        world.decide()
    clock.advance(2 * SECOND)
    assert world.issuer.staleness == world.verifier.staleness == BOUND + SECOND
    with pytest.raises(Unavailable):
        world.decide()


async def test_a_heartbeat_ahead_of_the_facts_makes_nothing_fresh_until_they_are_there(
    world: World, clock: ManualClock
) -> None:
    known = world.issuer.projection.revision
    world.withdraw(clock.now())  # recorded, and its event does not come
    for _ in range(11):
        clock.advance(timedelta(minutes=1))
        await world.beat()

    async def heard_all() -> bool:  # they were heard, and are not believed
        return all(service.beats == world.beats for service in (world.issuer, world.verifier))

    await until(heard_all)
    for service in (world.issuer, world.verifier):
        assert service.projection.revision == known
        assert service.staleness == timedelta(minutes=11)
    with pytest.raises(Unavailable):
        world.decide()
    revision = await world.tell()
    for service in (world.issuer, world.verifier):
        await service.knows(revision)
        assert service.staleness == timedelta(0)
    with pytest.raises(FailedPrecondition):
        world.decide()


@pytest.mark.parametrize("name", list(FOLDERS))
async def test_a_projection_is_rebuilt_by_a_restart_and_comes_out_equal(world: World, name: str) -> None:
    world.withdraw(world.clock.now() - timedelta(days=3))
    revision = await world.tell()
    await world.beat()
    lived: Service = getattr(world, name)
    await lived.knows(revision)
    await lived.heard(timedelta(0))
    async with Service(name, world.settings, world.clock).running() as fresh:
        await fresh.knows(revision)
        await fresh.heard(timedelta(0))
        assert fresh.projection.trusted_facts() == lived.projection.trusted_facts()
        assert list(fresh.projection.achievements()) == list(lived.projection.achievements())
        for known_at in range(revision + 1):  # also what was known when
            assert fresh.projection.accreditations_of(UCL, known_at) == lived.projection.accreditations_of(
                UCL, known_at
            )
