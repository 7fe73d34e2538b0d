"""What the tests do with a broker."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

#: Past it a record is not coming.
READ_SECONDS = 30


async def publish(options: Mapping[str, Any], topic: str, values: Sequence[bytes], *, idempotent: bool = True) -> None:
    """Publish under one key; returns once all are acknowledged."""
    producer = AIOKafkaProducer(**options, enable_idempotence=idempotent)
    try:
        await producer.start()
        for value in values:
            await producer.send_and_wait(topic, value, key=b"key")
    finally:
        await producer.stop()


async def read(options: Mapping[str, Any], topic: str, count: int, group: str | None = None) -> list[bytes]:
    """The next ``count`` values of a topic, as a member of the group, or from the start without one."""
    consumer = AIOKafkaConsumer(
        topic, **options, group_id=group, auto_offset_reset="earliest", enable_auto_commit=False
    )
    try:
        await consumer.start()
        async with asyncio.timeout(READ_SECONDS):
            values = [(await consumer.getone()).value for _ in range(count)]
        if group is not None:
            await consumer.commit()
        return values
    finally:
        await consumer.stop()
