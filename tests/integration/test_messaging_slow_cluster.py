"""Topics are made in a cluster that is slow to answer, and a cluster that never does is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaConnectionError

from vitne.dev.ports import LOOPBACK
from vitne.messaging.kafka import CONNECTION_TRIES, KafkaSettings, create_topics
from vitne.messaging.topics import Topic


@asynccontextmanager
async def stalling(broker: str, times: int) -> AsyncIterator[tuple[str, list[int]]]:
    """A way to a broker on which so many connections get no answer."""
    host, _, port = broker.rpartition(":")
    met: list[int] = []

    async def passed_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        met.append(len(met))
        if len(met) <= times:
            await reader.read()
            writer.close()
            return
        there, back = await asyncio.open_connection(host, int(port))

        async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            while data := await source.read(1 << 16):
                sink.write(data)
            sink.close()

        await asyncio.gather(copy(reader, back), copy(there, writer))

    server = await asyncio.start_server(passed_on, LOOPBACK, 0)
    async with server:
        yield f"{LOOPBACK}:{server.sockets[0].getsockname()[1]}", met


async def test_a_cluster_that_does_not_answer_at_first_is_asked_again(broker: str) -> None:
    topic = f"t-{uuid4().hex}"
    async with stalling(broker, CONNECTION_TRIES - 1) as (way, met):
        await create_topics(KafkaSettings(way, request_timeout_ms=2000), [Topic(topic, key="", holds="")])
        assert len(met) == CONNECTION_TRIES
    consumer = AIOKafkaConsumer(bootstrap_servers=broker)
    await consumer.start()
    try:
        assert topic in await consumer.topics()
    finally:
        await consumer.stop()


async def test_a_cluster_that_never_answers_is_out_of_reach(broker: str) -> None:
    async with stalling(broker, 99) as (way, met):
        with pytest.raises(KafkaConnectionError):
            await create_topics(KafkaSettings(way, request_timeout_ms=200), [Topic("t", key="", holds="")])
        assert len(met) == CONNECTION_TRIES
