"""How the registry's topics are folded into what the verifier knows."""

from __future__ import annotations

from collections.abc import Callable

from vitne.accreditation import Projection, instant
from vitne.clock import Clock
from vitne.errors import DataLoss
from vitne.messaging import topics
from vitne.messaging.event_types import REGISTRY_FACT, REGISTRY_HEARTBEAT
from vitne.messaging.follower import TopicFollower
from vitne.messaging.headers import Message
from vitne.messaging.kafka import KafkaSettings
from vitne_api.events.v1 import events_pb2


def follow_registry(projection: Projection, kafka: KafkaSettings, clock: Clock) -> TopicFollower:
    """A follower that folds the registry's facts and heartbeat into a projection."""
    followed = (topics.REGISTRY_FACTS, topics.REGISTRY_HEARTBEAT)
    return TopicFollower(followed, kafka, folder(projection, clock), clock, name="verifier")


def folder(projection: Projection, clock: Clock) -> Callable[[Message], None]:
    """What folds the registry's events into a projection.

    It raises ``DataLoss`` (``UNKNOWN_EVENT_TYPE``, and what :meth:`Projection.fold` raises) and protobuf's
    ``DecodeError``: what is not understood is never passed over.
    """

    def fold(message: Message) -> None:
        if message.type == REGISTRY_HEARTBEAT:
            beat = events_pb2.RegistryHeartbeat.FromString(message.value)
            projection.heartbeat(beat.registry_revision, instant(beat.at), clock.now())
        elif message.type == REGISTRY_FACT:
            projection.fold(events_pb2.RegistryFactRecorded.FromString(message.value).fact)
        else:
            raise DataLoss("UNKNOWN_EVENT_TYPE", f"the verifier does not know events of type {message.type[:64]}")

    return fold
