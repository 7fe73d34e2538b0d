"""The Kafka client behind small protocols, and how it is configured.

Relay, consumer and follower know only the protocols, so that tests in simulated
time can hand them a client of their own.
"""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Protocol, cast

import aiokafka
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaConnectionError, TopicAlreadyExistsError, for_code
from aiokafka.partitioner import murmur2

from vitne.errors import Unavailable
from vitne.messaging.headers import KafkaHeaders, Record
from vitne.messaging.topics import Topic

#: How long a request, and the delivery of a batch, may take.
REQUEST_TIMEOUT_MS: Final = 10_000
#: How long the broker may hold back an answer for want of data. Apache Kafka answers as soon as there is some, so
#: there it says only how often an idle consumer asks again. The embedded broker waits the whole of it: this is by how
#: much it is late, and 25 ms cost 3 % of a core on its side and 2 % on the consumer's, for each.
FETCH_MAX_WAIT_MS: Final = 100
#: The same where somebody is waiting for what the event brings.
PROMPT_FETCH_MAX_WAIT_MS: Final = 25
#: A member of a group learns of a rebalance with its next heartbeat; Kafka's 3 s would add to each hand-over.
HEARTBEAT_INTERVAL_MS: Final = 1000
#: Bytes of a batch for one partition: groups of some hundred events travel together.
MAX_BATCH_BYTES: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class KafkaSettings:
    """How to reach a cluster.

    Attributes:
        bootstrap_servers: ``host:port``, several with commas between.
        client_id: shows up in the broker's logs and quotas.
        idempotence: idempotent producer; on for Apache Kafka, off where the broker lacks it.
        groups: consumers of one name share out the partitions as a Kafka group; off, each takes all
            (for a single instance: there is no group to wait for).
        fetch_max_wait_ms: see :data:`FETCH_MAX_WAIT_MS`.
        request_timeout_ms: see :data:`REQUEST_TIMEOUT_MS`.
        tls: context for TLS (with a client certificate, when the cluster asks for one); None is plain text.
    """

    bootstrap_servers: str
    client_id: str = "vitne"
    idempotence: bool = True
    groups: bool = True
    fetch_max_wait_ms: int = FETCH_MAX_WAIT_MS
    request_timeout_ms: int = REQUEST_TIMEOUT_MS
    tls: ssl.SSLContext | None = None


class Partition(Protocol):
    """A topic's partition; hashable (``aiokafka.TopicPartition`` is one)."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    def __hash__(self) -> int: ...


class Producer(Protocol):
    """What the relay needs of a producer; ``aiokafka.AIOKafkaProducer`` has it."""

    async def start(self) -> None:
        """Connect."""

    async def stop(self) -> None:
        """Deliver what was sent, and disconnect."""

    async def partitions_for(self, topic: str) -> set[int]:
        """The partitions; waits for the topic to exist, raises after a while."""
        ...

    async def send(
        self, topic: str, value: bytes, key: bytes, *, headers: KafkaHeaders, timestamp_ms: int
    ) -> Awaitable[object]:
        """Queue a record; what it returns is done when the cluster has acknowledged it."""
        ...


class ConsumerClient(Protocol):
    """What consumer and follower need of a consumer; ``aiokafka.AIOKafkaConsumer`` has it."""

    async def start(self) -> None:
        """Connect, and subscribe to the topics; raises when one does not exist."""

    async def stop(self) -> None:
        """Leave the group, and disconnect."""

    async def getmany(self, *, timeout_ms: int, max_records: int) -> Mapping[Partition, Sequence[Record]]:
        """What was fetched, by partition; empty after ``timeout_ms``."""
        ...

    def seek(self, partition: Partition, offset: int) -> None:
        """Fetch from this offset next."""

    def highwater(self, partition: Partition) -> int | None:
        """Offset that the next record written will get, as the last fetch said; None before the first."""

    def last_poll_timestamp(self, partition: Partition) -> int | None:
        """When :meth:`highwater` was last learned, in milliseconds; None before the first fetch."""
        ...

    async def position(self, partition: Partition) -> int:
        """Offset of the next record to be returned."""
        ...

    def assignment(self) -> Iterable[Partition]:
        """The partitions that are this client's at present."""
        ...


class Kafka(Protocol):
    """Makes clients."""

    def producer(self, settings: KafkaSettings) -> Producer:
        """A producer that is not started yet."""
        ...

    def consumer(self, settings: KafkaSettings, topics: Sequence[str], group: str | None) -> ConsumerClient:
        """A consumer of whole topics (or, with a group, its share of them) from the earliest record on; not started."""
        ...


class AioKafka:
    """The real thing: aiokafka."""

    def producer(self, settings: KafkaSettings) -> Producer:
        """See :class:`Kafka`. Acknowledged means by all in-sync replicas."""
        made = aiokafka.AIOKafkaProducer(
            **_connection(settings),
            acks="all",
            enable_idempotence=settings.idempotence,
            max_batch_size=MAX_BATCH_BYTES,
            partitioner=_partition_of,
        )
        return cast(Producer, made)

    def consumer(self, settings: KafkaSettings, topics: Sequence[str], group: str | None) -> ConsumerClient:
        """See :class:`Kafka`. Offsets are never committed to Kafka."""
        made = aiokafka.AIOKafkaConsumer(
            *topics,
            **_connection(settings),
            group_id=group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=settings.fetch_max_wait_ms,
            heartbeat_interval_ms=HEARTBEAT_INTERVAL_MS,
        )
        return cast(ConsumerClient, made)


#: Stateless, so one is enough.
AIOKAFKA: Final = AioKafka()
#: How often a cluster is asked for a connection before it counts as out of reach to who administers it.
CONNECTION_TRIES: Final = 3


async def create_topics(settings: KafkaSettings, topics: Iterable[Topic], *, replication: int = 1) -> None:
    """Create the topics that do not exist; those that do are left as they are.

    Raises:
        Unavailable: ``TOPIC_NOT_CREATED``.
    """
    wanted = [
        NewTopic(
            topic.name,
            topic.partitions,
            replication,
            topic_configs={
                "cleanup.policy": "delete",
                "retention.ms": "-1" if topic.retention is None else str(int(topic.retention.total_seconds() * 1000)),
            },
        )
        for topic in topics
    ]
    if not wanted:
        return
    admin = await _administrator(settings)
    try:
        answer = await admin.create_topics(wanted)
    finally:
        await admin.close()
    for name, code, *_ in answer.topic_errors:
        error = for_code(code)
        if code and error is not TopicAlreadyExistsError:
            raise Unavailable("TOPIC_NOT_CREATED", f"the cluster did not create the topic {name}: {error.__name__}")


async def _administrator(settings: KafkaSettings) -> AIOKafkaAdminClient:
    """A client that is connected; a cluster that takes connections and does not answer in time is asked again."""
    tried = 0
    while True:
        admin = AIOKafkaAdminClient(**_connection(settings))
        try:
            await admin.start()
        except KafkaConnectionError:
            await admin.close()
            tried += 1
            if tried == CONNECTION_TRIES:
                raise
        else:
            return admin


#: The hash that Kafka's clients share. It is made in Python, and a list or a hub has thousands of events.
_hash: Final = lru_cache(maxsize=1024)(murmur2)


def _partition_of(key: bytes, partitions: Sequence[int], _available: Sequence[int]) -> int:
    """The partition of a key, as all of Kafka's clients choose it."""
    hashed: int = _hash(key)
    return partitions[(hashed & 0x7FFFFFFF) % len(partitions)]


def _connection(settings: KafkaSettings) -> dict[str, Any]:
    return {
        "bootstrap_servers": settings.bootstrap_servers,
        "client_id": settings.client_id,
        "request_timeout_ms": settings.request_timeout_ms,
        "security_protocol": "PLAINTEXT" if settings.tls is None else "SSL",
        "ssl_context": settings.tls,
    }
