"""A projection's source: follows whole topics into memory, without group and database."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Final

from aiokafka.errors import IllegalStateError, KafkaError
from google.protobuf.message import DecodeError

from vitne.clock import Clock, SystemClock
from vitne.errors import DataLoss, FailedPrecondition, InvalidArgument, VitneError
from vitne.messaging.backoff import Backoff
from vitne.messaging.headers import Message, Record, key_text, parse
from vitne.messaging.kafka import AIOKAFKA, ConsumerClient, Kafka, KafkaSettings
from vitne.messaging.sequence import Place, place
from vitne.messaging.topics import order_of
from vitne.messaging.tracing import processing

_LOG: Final = logging.getLogger(__name__)

#: How long to wait for messages before looking whether the end was reached.
POLL_MS: Final = 250
#: Messages taken at once; the event loop turns in between, so that a long replay does not silence the process.
BATCH: Final = 200


class TopicFollower:
    """Hands every event of some topics to a function: all partitions, from the beginning, for ever.

    Repetitions are dropped; before a missing revision a message waits in memory.
    A message that can't be handled blocks its key: the later ones would be built on
    sand. Whoever reads the projection asks :attr:`blocked` and :attr:`waiting`.

    Attributes:
        caught_up: set once everything was applied that the topics held when it was looked, and stays set.
        blocked: reason of the error, by (topic, key).

    Args:
        topics: names of the topics; all must exist, else it waits for them.
        settings: of the cluster.
        apply: folds one event into the projection; must not block. ``InvalidArgument``,
            ``FailedPrecondition``, ``DataLoss`` and protobuf's ``DecodeError`` block the key;
            any other error ends :meth:`run`.
        clock: for pauses.
        kafka: makes the client.
        name: for traces and logs.
    """

    def __init__(
        self,
        topics: Sequence[str],
        settings: KafkaSettings,
        apply: Callable[[Message], None],
        clock: Clock | None = None,
        *,
        kafka: Kafka = AIOKAFKA,
        name: str = "follower",
    ) -> None:
        self.topics = tuple(topics)
        self.caught_up = asyncio.Event()
        self.blocked: dict[tuple[str, str], str] = {}
        self._settings = settings
        self._apply = apply
        self._clock = clock or SystemClock()
        self._kafka = kafka
        self._name = name
        self._seen: dict[tuple[str, str], int] = {}
        self._waiting: dict[tuple[str, str], dict[int, Message]] = defaultdict(dict)

    @property
    def waiting(self) -> int:
        """How many messages wait for a revision that is missing."""
        return sum(map(len, self._waiting.values()))

    async def run(self) -> None:
        """Follow until cancelled; outages of the cluster are waited out."""
        backoff = Backoff(self._clock)
        while True:
            client = self._kafka.consumer(self._settings, self.topics, None)
            try:
                await client.start()
                backoff.reset()
                await self._follow(client)
            except (OSError, TimeoutError, KafkaError) as error:
                _LOG.warning("%s lost the cluster, and tries again: %s", self._name, type(error).__name__)
            finally:
                await client.stop()
            await backoff.wait()

    async def _follow(self, client: ConsumerClient) -> None:
        while True:
            fetched = await client.getmany(timeout_ms=POLL_MS, max_records=BATCH)
            for records in fetched.values():
                for record in records:
                    self._take(record)
            cut = await self._ends(client)
            if cut:
                _LOG.error("%s: the cluster lost records; reading all that it has", self._name)
                return  # A new client begins at the beginning; what was applied is dropped on the way.
            await asyncio.sleep(0)

    async def _ends(self, client: ConsumerClient) -> bool:
        """Note whether the end was reached; true when a partition ends before what was read of it."""
        ends = {partition: client.highwater(partition) for partition in client.assignment()}
        reached = bool(ends)
        for partition, end in ends.items():
            if end is None:  # Nothing was fetched of it yet.
                reached = False
                continue
            try:
                position = await client.position(partition)
            except IllegalStateError:  # It was assigned anew this very moment.
                return False
            if position > end:
                return True
            reached = reached and position == end
        if reached and not self.waiting:
            self.caught_up.set()
        return False

    def _take(self, record: Record) -> None:
        try:
            message = parse(record)
        except DataLoss as error:
            self._block(record.topic, key_text(record.key), record, error.reason)
            return
        identity = (message.topic, message.key)
        where = place(order_of(message.topic), self._seen.get(identity, 0), message.revision)
        if where is Place.SEEN or identity in self.blocked:
            return
        if where is Place.GAP:
            if not self._waiting[identity]:
                _LOG.warning("%s: a revision is missing in %s before %d", self._name, message.topic, message.revision)
            self._waiting[identity][message.revision] = message
            return
        due: Message | None = message
        while due is not None and identity not in self.blocked:
            self._handle(due, record)
            due = self._waiting[identity].pop(due.revision + 1, None) if identity in self._waiting else None
        if not self._waiting.get(identity):
            self._waiting.pop(identity, None)

    def _handle(self, message: Message, record: Record) -> None:
        try:
            if self.caught_up.is_set():
                with processing(self._name, [message]):
                    self._apply(message)
            else:  # A span would lengthen a trace that ended long ago, and cost a third as much as the folding.
                self._apply(message)
        except (InvalidArgument, FailedPrecondition, DataLoss, DecodeError) as error:
            reason = error.reason if isinstance(error, VitneError) else "UNDECODABLE"
            self._block(message.topic, message.key, record, reason)
        else:
            self._seen[message.topic, message.key] = message.revision

    def _block(self, topic: str, key: str, record: Record, reason: str) -> None:
        self.blocked[topic, key] = reason
        self._waiting.pop((topic, key), None)
        _LOG.error(
            "%s can't handle %s[%d]@%d (%s): its key is left out from here on",
            self._name,
            topic,
            record.partition,
            record.offset,
            reason,
        )
