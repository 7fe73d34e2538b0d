"""The embedded broker, as far as Vitne relies on it."""

from __future__ import annotations

from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from vitne.dev.broker import EmbeddedBroker, TopicSpec
from vitne.dev.ports import answers
from vitne.errors import FailedPrecondition, Unavailable
from vitne.messaging import topics
from vitne.messaging.kafka import create_topics


async def test_it_keeps_the_order_of_a_key_and_says_where_a_partition_ends(tmp_path: Path) -> None:
    async with EmbeddedBroker(tmp_path) as broker:
        await broker.create_topics([TopicSpec("t", 4)])
        await broker.create_topics([TopicSpec("t", 4), TopicSpec("u")])
        async with AIOKafkaProducer(bootstrap_servers=broker.bootstrap_servers, enable_idempotence=False) as producer:
            assert await producer.partitions_for("t") == {0, 1, 2, 3}
            for number in range(20):
                await producer.send("t", str(number).encode(), key=b"k", headers=[("h", b"v")])
        async with AIOKafkaConsumer(
            "t", bootstrap_servers=broker.bootstrap_servers, auto_offset_reset="earliest"
        ) as consumer:
            records = [await consumer.getone() for _ in range(20)]
            (partition,) = {TopicPartition(record.topic, record.partition) for record in records}
            assert [int(record.value) for record in records] == list(range(20))
            assert [record.offset for record in records] == list(range(20))
            assert records[0].headers == (("h", b"v"),)
            assert consumer.highwater(partition) == 20
            consumer.seek(partition, 18)
            assert (await consumer.getone()).offset == 18
    assert not await answers(broker.port)


async def test_all_topics_of_an_installation_can_be_created(tmp_path: Path) -> None:
    async with EmbeddedBroker(tmp_path) as broker:
        await create_topics(broker.settings(), topics.fixed_topics())
        async with AIOKafkaConsumer(bootstrap_servers=broker.bootstrap_servers) as consumer:
            assert {topic.name for topic in topics.fixed_topics()} <= await consumer.topics()


async def test_a_port_that_is_taken_is_an_error_when_it_was_asked_for(tmp_path: Path) -> None:
    async with EmbeddedBroker(tmp_path / "first") as first:
        with pytest.raises(Unavailable):
            await EmbeddedBroker(tmp_path / "second", port=first.port).start()


def test_a_broker_that_was_not_started_has_no_process(tmp_path: Path) -> None:
    with pytest.raises(FailedPrecondition, match="NOT_STARTED"):
        _ = EmbeddedBroker(tmp_path).pid
