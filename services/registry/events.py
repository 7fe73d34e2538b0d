"""What the registry tells: every fact, a leaf for the log, and that it is alive."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final
from uuid import UUID

from vitne.accreditation import instant, leaf_of, timestamp
from vitne.messaging import topics
from vitne.messaging.event_types import LOG_LEAF, REGISTRY_FACT, REGISTRY_HEARTBEAT
from vitne.messaging.outbox import Event
from vitne_api.events.v1 import events_pb2
from vitne_api.registry.v1 import facts_pb2

#: ``ce_source`` of the registry's events.
SOURCE: Final = "/vitne/registry"
#: The aggregate whose revision is the heartbeat's.
HEARTBEAT_AGGREGATE: Final = "heartbeat"


def subject_aggregate(subject: str) -> str:
    """The aggregate whose revision is the subject's."""
    return f"facts:{subject}"


def leaf_aggregate(fact_id: str) -> str:
    """The aggregate whose only revision is a fact's leaf."""
    return f"leaf:{fact_id}"


def events_of(fact: facts_pb2.Fact, *, new_id: Callable[[], UUID]) -> list[Event]:
    """The fact itself, and a leaf where it is about an accreditation or a key.

    The revision of the first is the fact's ``subject_revision``, taken in the same transaction.
    """
    at = instant(fact.recorded_at)
    told = [
        Event(
            topic=topics.REGISTRY_FACTS,
            key=fact.subject,
            aggregate=subject_aggregate(fact.subject),
            type=REGISTRY_FACT,
            source=SOURCE,
            value=events_pb2.RegistryFactRecorded(fact=fact).SerializeToString(),
            time=at,
            id=new_id(),
            revision=fact.subject_revision,
        )
    ]
    leaf = leaf_of(fact)
    if leaf is not None:
        told.append(
            Event(
                topic=topics.REGISTRY_LEAVES,
                key=fact.id,
                aggregate=leaf_aggregate(fact.id),
                type=LOG_LEAF,
                source=SOURCE,
                value=events_pb2.LeafSubmitted(leaf=leaf.to_bytes()).SerializeToString(),
                time=at,
                id=new_id(),
            )
        )
    return told


def heartbeat(revision: int, at: datetime, *, new_id: Callable[[], UUID]) -> Event:
    """That ``revision`` is the newest at ``at``."""
    return Event(
        topic=topics.REGISTRY_HEARTBEAT,
        key=topics.HEARTBEAT_KEY,
        aggregate=HEARTBEAT_AGGREGATE,
        type=REGISTRY_HEARTBEAT,
        source=SOURCE,
        value=events_pb2.RegistryHeartbeat(registry_revision=revision, at=timestamp(at)).SerializeToString(),
        time=at,
        id=new_id(),
    )
