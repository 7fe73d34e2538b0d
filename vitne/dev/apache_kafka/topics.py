"""Topics with their retention, created as code on any cluster; and that a run finds them empty."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError, for_code

from vitne.dev.broker import TopicSpec
from vitne.errors import FailedPrecondition, Unavailable

#: What a cluster gets to choose a leader for each partition of a new topic.
LEADER_SECONDS: Final = 15.0
POLL_SECONDS: Final = 0.02
#: Kafka's ``retention.ms`` for ever.
FOR_EVER: Final = -1


@dataclass(frozen=True, slots=True)
class RetainedTopic(TopicSpec):
    """A topic that says how long its records are kept; None is for ever, as RECORDS.md wants it for facts."""

    retention: timedelta | None = None


async def create_topics(client_options: Mapping[str, Any], topics: Iterable[TopicSpec], replication: int = 1) -> None:
    """Create the topics that do not exist, and return once each can be used; those that exist are left as they are.

    Args:
        client_options: how to reach the cluster as somebody who may (CREATE): keyword arguments of an aiokafka client.
        topics: a plain :class:`TopicSpec` takes the cluster's retention.
        replication: copies of each partition.

    Raises:
        Unavailable: ``TOPIC_NOT_CREATED``.
        aiokafka.errors.KafkaError: the cluster can't be reached.
    """
    wanted = {topic.name: topic for topic in topics}
    if not wanted:
        return
    admin = AIOKafkaAdminClient(**client_options)
    await admin.start()
    try:
        answer = await admin.create_topics(
            [
                NewTopic(topic.name, topic.partitions, replication, topic_configs=_settings(topic))
                for topic in wanted.values()
            ]
        )
        for name, code, *_ in answer.topic_errors:
            error = for_code(code)
            if code and error is not TopicAlreadyExistsError:
                raise Unavailable("TOPIC_NOT_CREATED", f"the cluster did not create the topic {name}: {error.__name__}")
        deadline = time.monotonic() + LEADER_SECONDS
        while not all(map(_usable, await admin.describe_topics(list(wanted)))):
            if time.monotonic() > deadline:
                raise Unavailable("TOPIC_NOT_CREATED", f"no leader for every partition after {LEADER_SECONDS:g} s")
            await asyncio.sleep(POLL_SECONDS)
    finally:
        await admin.close()


async def require_empty(client_options: Mapping[str, Any], names: Iterable[str], *, renew: bool = False) -> None:
    """Make sure that a cluster holds nothing in these topics, as a run that begins from nothing needs.

    Args:
        client_options: how to reach the cluster: keyword arguments of an aiokafka client.
        names: of the topics; those that don't exist are empty.
        renew: delete the topics that are not empty instead of refusing.

    Raises:
        FailedPrecondition: ``TOPICS_NOT_EMPTY``.
        Unavailable: ``TOPIC_NOT_DELETED``.
        aiokafka.errors.KafkaError: the cluster can't be reached.
    """
    async with AsyncExitStack() as exits:
        admin = AIOKafkaAdminClient(**client_options)
        await admin.start()
        exits.push_async_callback(admin.close)
        existing = set(names) & set(await admin.list_topics())
        if not existing:
            return
        consumer = await exits.enter_async_context(AIOKafkaConsumer(*existing, **client_options))
        ends = await consumer.end_offsets(consumer.assignment())
        used = sorted({partition.topic for partition, end in ends.items() if end})
        if not used:
            return
        if not renew:
            raise FailedPrecondition(
                "TOPICS_NOT_EMPTY",
                f"the cluster has {', '.join(used)} of an earlier run, and the databases begin from nothing",
                remedy="--renew-topics deletes them, with all they hold",
            )
        await admin.delete_topics(used)
        deadline = time.monotonic() + LEADER_SECONDS
        while set(used) & set(await admin.list_topics()):
            if time.monotonic() > deadline:
                raise Unavailable("TOPIC_NOT_DELETED", f"the cluster still has some of {', '.join(used)}")
            await asyncio.sleep(POLL_SECONDS)


def _settings(topic: TopicSpec) -> dict[str, str]:
    if not isinstance(topic, RetainedTopic):
        return {}
    kept = FOR_EVER if topic.retention is None else topic.retention // timedelta(milliseconds=1)
    return {"cleanup.policy": "delete", "retention.ms": str(kept)}


def _usable(topic: Mapping[str, Any]) -> bool:
    """Whether a topic of a metadata answer is known, with a leader for each of its partitions."""
    return topic["error_code"] == 0 and all(partition["leader"] >= 0 for partition in topic["partitions"])
