"""``registry.projection.load``: how long a service takes to know a whole country from the registry's topic."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from aiokafka import AIOKafkaProducer

from bench.facts import FactMaker
from bench.parts import Parts
from bench.resources import rss_mib
from bench.results import Finding
from bench.session import Case
from vitne.accreditation import instant
from vitne.dev.ports import LOOPBACK
from vitne.messaging import topics
from vitne.messaging.event_types import REGISTRY_FACT
from vitne.messaging.headers import build
from vitne.messaging.kafka import MAX_BATCH_BYTES, create_topics
from vitne_api.events.v1 import events_pb2
from vitne_api.registry.v1 import facts_pb2

_PROVIDERS: Final = 5_000
_FACTS: Final = 50_000
_ACHIEVEMENTS: Final = 200_000
_READY_SECONDS: Final = 180.0
_SOURCE: Final = "/vitne/registry"


async def load_projection(parts: Parts) -> None:
    """A verifier from process start to ready: it is, once it has folded all that its topics held, cases among them."""
    await create_topics(parts.broker.settings(), topics.fixed_topics())
    amounts = [parts.session.amount(number) for number in (_PROVIDERS, _FACTS, _ACHIEVEMENTS)]
    parts.session.say(f"publishing {amounts[1] + amounts[2]:,} facts")
    maker = FactMaker()
    await _publish(parts, maker, maker.country(*amounts, cases=True))
    settings = {"operator": "0192:919477822", "ledger_address": f"{LOOPBACK}:9"}  # nobody asks it
    async with parts.service("verifier", _READY_SECONDS, **settings) as started:
        parts.session.record(Finding("registry.projection.load", started.seconds, rss_mib=rss_mib(started.process.pid)))


async def _publish(parts: Parts, maker: FactMaker, facts: Iterable[facts_pb2.Fact]) -> None:
    """As the registry's relay does, whole batches at a time."""
    producer = AIOKafkaProducer(bootstrap_servers=parts.broker.bootstrap_servers, max_batch_size=MAX_BATCH_BYTES)
    await producer.start()
    try:
        batch = producer.create_batch()
        for fact in facts:
            time = instant(fact.recorded_at)
            record = {
                "key": fact.subject.encode(),
                "value": events_pb2.RegistryFactRecorded(fact=fact).SerializeToString(),
                "timestamp": int(time.timestamp() * 1000),
                "headers": build(
                    event_id=maker.new_id(),
                    source=_SOURCE,
                    type_=REGISTRY_FACT,
                    time=time,
                    key=fact.subject,
                    revision=fact.subject_revision,
                    traceparent=None,
                ),
            }
            if batch.append(**record) is None:  # It is full.
                await producer.send_batch(batch, topics.REGISTRY_FACTS, partition=0)
                batch = producer.create_batch()
                batch.append(**record)
        await producer.send_batch(batch, topics.REGISTRY_FACTS, partition=0)
    finally:
        await producer.stop()


CASES: Final = (Case(("registry.projection.load",), load_projection),)
