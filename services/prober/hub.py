"""The prober as a hub: what its topic tells from now on, and what is fetched for it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from typing import Any, Final, TypeAlias

from aiokafka.errors import KafkaError
from google.protobuf.message import DecodeError

from vitne.errors import DataLoss, Unavailable
from vitne.messaging.event_types import HUB_NOTICE
from vitne.messaging.headers import Record, parse
from vitne.messaging.kafka import AIOKAFKA, FETCH_MAX_WAIT_MS, ConsumerClient, Kafka, KafkaSettings
from vitne_api.credential.v1 import credential_pb2
from vitne_api.events.v1 import events_pb2
from vitne_api.issuer.v1 import issuer_pb2

#: Most handles that are fetched at once; in a hub of the prober's own there is one.
MAX_HANDLES: Final = 500

#: Answers credentials by handle, as ``IssuerService.FetchCredentials`` does.
Fetch = Callable[[Sequence[str]], Awaitable[Sequence[issuer_pb2.FetchedCredential]]]
_Status: TypeAlias = credential_pb2.Status.ValueType


class HubWatch:
    """Follows a hub's topic from its present end, and fetches what it names; joins no group, keeps nothing.

    Args:
        topic: of the hub.
        settings: of the cluster.
        fetch: see :data:`Fetch`.
        kafka: makes the client.
    """

    def __init__(self, topic: str, settings: KafkaSettings, fetch: Fetch, *, kafka: Kafka = AIOKAFKA) -> None:
        self._topic = topic
        self._settings = settings
        self._fetch = fetch
        self._kafka = kafka
        self._client: ConsumerClient | None = None
        self._due: dict[str, None] = {}
        self._statuses: dict[str, _Status] = {}
        self._exits = AsyncExitStack()

    async def listen(self) -> None:
        """Begin at the topic's end: what was told before is not this round's.

        Raises:
            Unavailable: ``HUB_TOPIC_UNREACHABLE``.
        """
        await self.close()
        client = self._kafka.consumer(self._settings, [self._topic], None)
        self._exits.push_async_callback(client.stop)
        try:
            await client.start()
            ends: dict[Any, int | None] = {}
            while not ends or None in ends.values():
                # The end as a fetch said: the embedded broker's answer to who asks for it is wrong.
                await client.getmany(timeout_ms=FETCH_MAX_WAIT_MS, max_records=1)
                ends = {partition: client.highwater(partition) for partition in client.assignment()}
            for partition, end in ends.items():
                client.seek(partition, end or 0)
        except (KafkaError, OSError) as error:
            raise self._unreachable(error) from error
        self._client = client

    async def status_of(self, credential_id: str) -> _Status | None:
        """A credential's status as fetched when the topic named it last; None: it did not name it yet.

        Raises:
            Unavailable: ``HUB_TOPIC_UNREACHABLE``.
            VitneError: what ``fetch`` raises.
        """
        if self._client is None:
            raise Unavailable("HUB_TOPIC_UNREACHABLE", "nobody listens to the hub's topic")
        try:
            fetched = await self._client.getmany(timeout_ms=FETCH_MAX_WAIT_MS, max_records=MAX_HANDLES)
        except (KafkaError, OSError) as error:
            raise self._unreachable(error) from error
        self._due |= {handle: None for records in fetched.values() for record in records for handle in _handle(record)}
        if self._due:
            for answer in await self._fetch([*self._due][:MAX_HANDLES]):
                if not answer.unavailable_reason:
                    self._due.pop(answer.handle, None)
                if answer.HasField("credential"):
                    self._statuses[answer.credential.id] = answer.credential.status
        return self._statuses.get(credential_id)

    async def close(self) -> None:
        """Leave the topic; nothing of it is remembered."""
        self._client = None
        self._due.clear()
        self._statuses.clear()
        with suppress(KafkaError, OSError):  # what was found out before counts, not how the farewell went
            await self._exits.aclose()

    def _unreachable(self, error: Exception) -> Unavailable:
        return Unavailable("HUB_TOPIC_UNREACHABLE", f"{self._topic} can't be read: {type(error).__name__}")


def _handle(record: Record) -> Sequence[str]:
    """What a notice is about; nothing for what is no notice, which no hub could take either."""
    try:
        message = parse(record)
        if message.type != HUB_NOTICE:
            return ()
        handle = events_pb2.HubCredentialNotice.FromString(message.value).handle
        return (handle,) if handle else ()  # That a registration ended is about no credential.
    except (DataLoss, DecodeError):
        return ()
