"""A topic as a whole: every record from its beginning to its present end."""

from __future__ import annotations

import asyncio
from typing import Final

from vitne.errors import DataLoss, Unavailable
from vitne.messaging.headers import Message, Record, parse
from vitne.messaging.kafka import AIOKAFKA, FETCH_MAX_WAIT_MS, Kafka, KafkaSettings

#: Seconds in which records must arrive, before a topic counts as out of reach.
READ_SECONDS: Final = 60.0
#: Records taken at once.
BATCH: Final = 5_000


async def read_topic(
    settings: KafkaSettings, name: str, *, kafka: Kafka = AIOKAFKA
) -> tuple[list[Record], dict[int, int]]:
    """Every record of a topic, and the offset at which each of its partitions ends.

    Joins no group and leaves no trace in the cluster.

    Raises:
        aiokafka.errors.KafkaError: the cluster is out of reach, or there is no such topic.
        Unavailable: ``TOPIC_NOT_READ``: nothing arrived for :data:`READ_SECONDS`.
    """
    consumer = kafka.consumer(settings, [name], None)
    await consumer.start()
    try:
        records: list[Record] = []
        while True:
            try:
                async with asyncio.timeout(READ_SECONDS):
                    for batch in (await consumer.getmany(timeout_ms=FETCH_MAX_WAIT_MS, max_records=BATCH)).values():
                        records += batch
                    # The end as the last fetch said: the embedded broker's answer to who asks for it is wrong.
                    ends = {each.partition: consumer.highwater(each) for each in consumer.assignment()}
                    positions = {each.partition: await consumer.position(each) for each in consumer.assignment()}
            except TimeoutError as error:
                raise Unavailable("TOPIC_NOT_READ", f"{name} could not be read to its end") from error
            if ends and ends == positions:
                return records, positions
    finally:
        await consumer.stop()


async def read_messages(settings: KafkaSettings, name: str, source: str, *, kafka: Kafka = AIOKAFKA) -> list[Message]:
    """All that one service told in a topic, in the order of partition and offset.

    What does not parse, or is somebody else's, is nothing that the service told: consumers park it.

    Raises:
        aiokafka.errors.KafkaError: as :func:`read_topic`.
        Unavailable: as :func:`read_topic`.
    """
    records, _ends = await read_topic(settings, name, kafka=kafka)
    messages = []
    for record in sorted(records, key=lambda each: (each.partition, each.offset)):
        try:
            message = parse(record)
        except DataLoss:
            continue
        if message.source == source:
            messages.append(message)
    return messages
