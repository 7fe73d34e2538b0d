"""Several instances of a consumer that no group shares the partitions out to, and a partition that was really cut."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import asyncpg
import pytest
from aiokafka.structs import TopicPartition

from vitne.clock import ManualClock
from vitne.messaging import outbox
from vitne.messaging.consumer import Consumer
from vitne.messaging.kafka import KafkaSettings
from vitne.runtime.migrations import Migrations, migrate

PARTITION = TopicPartition("vitne.registry.facts.v1", 0)
#: Where another instance is already.
AHEAD = 5
#: Fetches after which a consumer has seen all that there is.
ENOUGH = 20


class Client:
    """A client that ``knows`` of so many records of a partition, and is ``answered`` again and again, or not."""

    def __init__(self, knows: int, answered: bool) -> None:
        self.knows = knows
        self.answered = answered
        self.at = 0
        self.fetches = 0

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def getmany(self, *, timeout_ms: int, max_records: int) -> Mapping[TopicPartition, Sequence[Any]]:
        await asyncio.sleep(0)
        if self.fetches == ENOUGH:  # So that the consumer is ended while it waits.
            await asyncio.Event().wait()
        self.fetches += 1
        if self.fetches == 1:  # From the beginning; where the consumer is, it does not know yet.
            return {PARTITION: [SimpleNamespace(offset=0)]}
        return {}

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self.at = offset

    def highwater(self, partition: TopicPartition) -> int | None:
        return self.knows

    def last_poll_timestamp(self, partition: TopicPartition) -> int | None:
        return self.fetches if self.answered else 1

    async def position(self, partition: TopicPartition) -> int:
        return self.at

    def assignment(self) -> Iterable[TopicPartition]:
        return [PARTITION]


class Kafka:
    def __init__(self, client: Client) -> None:
        self._client = client

    def producer(self, settings: KafkaSettings) -> Any:
        raise NotImplementedError

    def consumer(self, settings: KafkaSettings, topics: Sequence[str], group: str | None) -> Client:
        return self._client


@pytest.fixture
async def database(database_dsn: str, pool: asyncpg.Pool) -> asyncpg.Pool:
    await migrate(database_dsn, [Migrations("messaging", Path(outbox.__file__).parent / "sql")])
    await pool.execute(
        "INSERT INTO consumer_offset (consumer, topic, partition, next_offset) VALUES ('test', $1, 0, $2)",
        PARTITION.topic,
        AHEAD,
    )
    return pool


async def runs(database: asyncpg.Pool, client: Client, clock: ManualClock, enough: Callable[[], bool]) -> int:
    """Run a consumer until it has done enough; where it is then."""

    async def handle(_connection: Any, _message: Any) -> None:
        raise AssertionError

    settings = KafkaSettings("nowhere:1", groups=False)
    consumer = Consumer(
        "test", [PARTITION.topic], database, handle, settings=settings, clock=clock, kafka=Kafka(client)
    )
    task = asyncio.create_task(consumer.run())
    deadline = time.monotonic() + 60
    while not enough() and not task.done():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.001)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    offset: int = await database.fetchval("SELECT next_offset FROM consumer_offset")
    return offset


async def test_what_another_instance_has_read_is_not_lost(
    database: asyncpg.Pool, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    client = Client(knows=3, answered=False)
    assert await runs(database, client, clock, lambda: client.fetches == ENOUGH) == AHEAD
    assert client.at == AHEAD
    assert not [each for each in caplog.records if each.levelno >= logging.ERROR]


async def test_a_partition_that_was_cut_is_read_from_its_beginning(
    database: asyncpg.Pool, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    client = Client(knows=3, answered=True)
    assert await runs(database, client, clock, lambda: client.fetches == ENOUGH) == 0
    assert "the cluster lost records" in caplog.text
