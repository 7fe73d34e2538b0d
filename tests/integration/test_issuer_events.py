"""The issuer between real topics: the registry's in, leaves and notices out, the ledger's changes in."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from services.issuer.projection import folder
from services.issuer.statuses import CONSUMER, OPTIONS
from tests.integration.issuer_harness import HUB, World, chronicle_of_providers, make_world, pid_of, refusal, request
from tests.unit.accreditation_samples import UCL
from vitne.accreditation import Projection, timestamp
from vitne.clock import Clock, SystemClock
from vitne.dev.apache_kafka import EmbeddedKafka
from vitne.dev.broker import EmbeddedBroker
from vitne.dev.postgres import EmbeddedPostgres
from vitne.errors import DataLoss
from vitne.identifiers import OrganisationId, UuidFactory
from vitne.messaging import headers, topics
from vitne.messaging.consumer import Consumer
from vitne.messaging.event_types import REGISTRY_FACT, REGISTRY_HEARTBEAT, STATUS_CHANGED
from vitne.messaging.follower import TopicFollower
from vitne.messaging.headers import Message
from vitne.messaging.kafka import AIOKAFKA, KafkaSettings, create_topics
from vitne.messaging.relay import Relay
from vitne_api.credential.v1 import credential_pb2
from vitne_api.events.v1 import events_pb2
from vitne_api.issuer.v1 import issuer_pb2

CLOCK = SystemClock()


class Broker:
    """Writes what other services would."""

    def __init__(self, settings: KafkaSettings, producer: Any) -> None:
        self.settings = settings
        self.producer = producer
        self.new_id = UuidFactory(CLOCK)

    async def say(self, topic: str, key: str, type_: str, value: bytes, revision: int) -> None:
        now = CLOCK.now()
        sent = await self.producer.send(
            topic,
            value,
            key.encode(),
            headers=headers.build(
                event_id=self.new_id(),
                source="/vitne/test",
                type_=type_,
                time=now,
                key=key,
                revision=revision,
                traceparent=None,
            ),
            timestamp_ms=int(now.timestamp() * 1000),
        )
        await sent

    async def read(self, topic: str, count: int) -> list[Message]:
        """The first records of a topic."""
        client = AIOKAFKA.consumer(self.settings, [topic], None)
        await client.start()
        found: list[Message] = []
        try:
            async with asyncio.timeout(15):
                while len(found) < count:
                    for records in (await client.getmany(timeout_ms=200, max_records=100)).values():
                        found += [headers.parse(record) for record in records]
        finally:
            await client.stop()
        return found


@pytest.fixture
async def kafka(new_broker: Callable[[str], EmbeddedBroker | EmbeddedKafka], on_apache: bool) -> AsyncIterator[Broker]:
    """A broker of this test's own: other tests tell other registries' facts in the same topics."""
    async with new_broker("issuer-broker") as server:
        settings = KafkaSettings(bootstrap_servers=server.bootstrap_servers, idempotence=on_apache, groups=False)
        hub = topics.hub_topic(OrganisationId.parse(HUB))
        await create_topics(settings, [*topics.fixed_topics(), topics.describe(hub)])
        producer = AIOKAFKA.producer(settings)
        await producer.start()
        yield Broker(settings, producer)
        await producer.stop()


@contextlib.asynccontextmanager
async def running(*tasks: Any) -> AsyncIterator[None]:
    started = [asyncio.create_task(task) for task in tasks]
    try:
        yield
    finally:
        for task in started:
            task.cancel()
        outcomes = await asyncio.gather(*started, return_exceptions=True)
        assert all(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes), outcomes


async def eventually(check: Callable[[], Any], seconds: float = 60.0) -> Any:
    async with asyncio.timeout(seconds):
        while not (found := await check()):
            await asyncio.sleep(0.05)
        return found


async def test_from_the_registrys_topic_to_the_hubs_and_back_from_the_ledgers(
    postgres: EmbeddedPostgres, tmp_path: Path, kafka: Broker
) -> None:
    async with make_world(postgres, tmp_path, CLOCK) as world:
        # A second replica's memory: what it knows, it knows from the topics alone.
        known = Projection()
        follower = TopicFollower(
            (topics.REGISTRY_FACTS, topics.REGISTRY_HEARTBEAT),
            kafka.settings,
            folder(known, CLOCK),
            CLOCK,
            name="issuer",
        )
        consumer = Consumer(
            CONSUMER,
            [topics.LEDGER_STATUS],
            world.pool,
            world.issuer.statuses.handle,
            settings=kafka.settings,
            clock=CLOCK,
        )
        async with running(follower.run(), Relay(world.pool, kafka.settings, CLOCK).run(), consumer.run()):
            await tell_facts(kafka, world)
            await eventually(lambda: caught_up(known, world))
            world.issuer.registry._projection = known

            asked = request(learner={"value": pid_of(7)}, awarded_on=day(CLOCK))
            issued = (await world.caller(UCL).Issue(asked)).credential
            registered = await world.caller(HUB).RegisterLearner(
                issuer_pb2.RegisterLearnerRequest(request_id=str(uuid4()), id_token=f"{pid_of(7)} portal")
            )
            (leaf,) = await kafka.read(topics.ISSUER_LEAVES, 1)
            assert (leaf.key, leaf.revision, leaf.type) == (issued.digest, 1, "vitne.log.leaf.v1")
            hub_topic = topics.hub_topic(OrganisationId.parse(HUB))
            (notice,) = await kafka.read(hub_topic, 1)
            assert (notice.key, notice.revision, notice.source) == (registered.pseudonym, 1, "/vitne/issuer")
            said = events_pb2.HubCredentialNotice.FromString(notice.value)
            assert (said.notice, said.kind, said.provider) == (
                events_pb2.HUB_NOTICE_ISSUED,
                "dk.micro_credential",
                UCL,
            )

            reference = issued.status_reference
            change = events_pb2.StatusChanged(
                list=reference.list,
                index=reference.index,
                status=credential_pb2.STATUS_REVOKED,
                effective=timestamp(CLOCK.now()),
                recorded=timestamp(CLOCK.now()),
            )
            await kafka.say(topics.LEDGER_STATUS, reference.list, STATUS_CHANGED, change.SerializeToString(), 1)
            _, changed = await kafka.read(hub_topic, 2)
            assert changed.revision == 2
            told = events_pb2.HubCredentialNotice.FromString(changed.value)
            assert (told.notice, told.handle) == (events_pb2.HUB_NOTICE_STATUS_CHANGED, said.handle)
            fetched = await world.caller(HUB).FetchCredentials(
                issuer_pb2.FetchCredentialsRequest(handles=[said.handle])
            )
            assert fetched.credentials[0].credential.status == credential_pb2.STATUS_REVOKED
            assert fetched.credentials[0].credential.artefact == issued.artefact


async def test_changes_of_status_that_arrive_together_lock_in_the_order_in_which_everybody_does(
    postgres: EmbeddedPostgres, tmp_path: Path, kafka: Broker
) -> None:
    """Whoever issues locks hubs' aggregates by name; a consumer that locked in the events' order would meet them."""
    async with make_world(postgres, tmp_path, CLOCK) as world:
        places = {}
        for number in range(2):
            values: Any = {"learner": {"value": pid_of(number)}, "awarded_on": day(CLOCK)}
            issued = (await world.caller(UCL).Issue(request(**values))).credential
            registered = await world.caller(HUB).RegisterLearner(
                issuer_pb2.RegisterLearnerRequest(request_id=str(uuid4()), id_token=f"{pid_of(number)} portal")
            )
            places[registered.pseudonym] = issued.status_reference
        first, last = sorted(places)
        for revision, pseudonym in enumerate((last, first), start=1):
            place = places[pseudonym]
            now = timestamp(CLOCK.now())
            change = events_pb2.StatusChanged(
                list=place.list,
                index=place.index,
                status=credential_pb2.STATUS_REVOKED,
                effective=now,
                recorded=now,
            )
            await kafka.say(topics.LEDGER_STATUS, place.list, STATUS_CHANGED, change.SerializeToString(), revision)

        async def both_told() -> bool:
            rows = await world.pool.fetch(
                "SELECT key, count(*) FROM outbox WHERE key = ANY($1) GROUP BY key", [*places]
            )
            return {row["key"]: row["count"] for row in rows} == dict.fromkeys(places, 2)

        async def waits() -> bool:
            waiting: bool = await world.pool.fetchval(
                "SELECT EXISTS (SELECT FROM pg_stat_activity "
                "WHERE datname = current_database() AND wait_event_type = 'Lock')"
            )
            return waiting

        consumer = Consumer(
            CONSUMER,
            [topics.LEDGER_STATUS],
            world.pool,
            world.issuer.statuses.handle,
            settings=kafka.settings,
            clock=CLOCK,
            options=OPTIONS,
        )
        lock = "SELECT revision FROM aggregate_revision WHERE key = $1 FOR UPDATE"
        async with world.pool.acquire() as connection:
            await connection.execute("BEGIN")
            assert await connection.fetchval(lock, first) == 1
            async with running(consumer.run()):
                await eventually(waits)
                assert await connection.fetchval(f"{lock} NOWAIT", last) == 1
                await connection.execute("ROLLBACK")
                await eventually(both_told)


async def tell_facts(kafka: Broker, world: World) -> None:
    for fact in world.chronicle.facts:
        value = events_pb2.RegistryFactRecorded(fact=fact).SerializeToString()
        await kafka.say(topics.REGISTRY_FACTS, fact.subject, REGISTRY_FACT, value, fact.subject_revision)
    beat = events_pb2.RegistryHeartbeat(
        registry_revision=len(world.chronicle.facts), at=timestamp(CLOCK.now())
    ).SerializeToString()
    await kafka.say(topics.REGISTRY_HEARTBEAT, topics.HEARTBEAT_KEY, REGISTRY_HEARTBEAT, beat, 1)


async def caught_up(projection: Projection, world: World) -> bool:
    everything = projection.revision == len(world.chronicle.facts)
    return everything and projection.staleness(CLOCK.now()) < timedelta(minutes=1)


def day(clock: Clock) -> str:
    return clock.now().date().isoformat()


async def test_a_registry_event_that_can_not_be_understood_makes_the_projection_stale_rather_than_wrong(
    postgres: EmbeddedPostgres, tmp_path: Path, clock: Any
) -> None:
    async with make_world(postgres, tmp_path, clock) as world:
        fold = folder(world.projection, world.clock)
        for type_, value in (
            ("vitne.registry.unheard_of.v1", b""),
            (REGISTRY_FACT, events_pb2.RegistryFactRecorded().SerializeToString()),
        ):
            with pytest.raises(DataLoss):
                fold(message(type_, value, clock.now()))
        # The fact that was not understood left a gap: heartbeats beyond it do not count.
        clock.advance(timedelta(minutes=11))
        beat = events_pb2.RegistryHeartbeat(
            registry_revision=world.projection.revision + 1, at=timestamp(clock.now())
        ).SerializeToString()
        fold(message(REGISTRY_HEARTBEAT, beat, clock.now()))
        assert (await refusal(world.issue())).reason == "REGISTRY_STALE"
        assert len(chronicle_of_providers().facts) < world.projection.revision


def message(type_: str, value: bytes, time: datetime) -> Message:
    return Message(
        topic=topics.REGISTRY_FACTS,
        partition=0,
        offset=0,
        key=UCL,
        value=value,
        id=uuid4(),
        type=type_,
        source="/vitne/registry",
        time=time,
        revision=1,
        traceparent=None,
    )
