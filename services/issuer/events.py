"""The events that the issuer tells (RECORDS: Events): identifiers, never content."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final
from uuid import UUID

from vitne.canonical import b64url
from vitne.clock import Clock
from vitne.identifiers import OrganisationId
from vitne.merkle import leaves
from vitne.messaging import topics
from vitne.messaging.event_types import EFFECTS_COUNTED, HUB_NOTICE, LOG_LEAF
from vitne.messaging.outbox import Event
from vitne_api.events.v1 import events_pb2

#: ``ce_source`` of everything the issuer says.
SOURCE: Final = "/vitne/issuer"


class Events:
    """Makes events.

    Args:
        clock: for their time.
        new_id: makes their UUIDv7.
        registration_ends: whether hubs are told that a registration ended.
    """

    def __init__(self, clock: Clock, new_id: Callable[[], UUID], *, registration_ends: bool = True) -> None:
        self.registration_ends = registration_ends
        self._clock = clock
        self._new_id = new_id

    def leaf(self, digest: bytes, origin: bytes, traceparent: str) -> Event:
        """An artefact's digest (32 bytes), for the log; where it comes from, sealed; and the trace that it is in."""
        key = b64url(digest)
        message = events_pb2.LeafSubmitted(leaf=leaves.Issued(digest).to_bytes(), origin=origin)
        return self._event(
            topics.ISSUER_LEAVES, key, f"leaf:{key}", LOG_LEAF, message.SerializeToString(), traceparent=traceparent
        )

    def notice(
        self,
        notice: events_pb2.HubNotice.ValueType,
        *,
        hub: str,
        pseudonym: str,
        handle: str,
        kind: str,
        provider: str,
        traceparent: str,
        out_of_subscription: bool = False,
        at: datetime | None = None,
    ) -> Event:
        """A notice to a hub, in the names that the hub knows; the trace that it belongs to, and its time if not now."""
        message = events_pb2.HubCredentialNotice(
            notice=notice,
            handle=handle,
            pseudonym=pseudonym,
            kind=kind,
            provider=provider,
            out_of_subscription=out_of_subscription,
        )
        topic = topics.hub_topic(OrganisationId.parse(hub))
        aggregate = f"hub:{hub}:{pseudonym}"
        value = message.SerializeToString()
        return self._event(topic, pseudonym, aggregate, HUB_NOTICE, value, traceparent=traceparent, at=at)

    def effects(self, counted: events_pb2.EffectsCounted) -> Event:
        """How many credentials a change of an accreditation touches."""
        key = counted.accreditation_id
        return self._event(topics.ISSUER_EFFECTS, key, f"effects:{key}", EFFECTS_COUNTED, counted.SerializeToString())

    def _event(
        self,
        topic: str,
        key: str,
        aggregate: str,
        type_: str,
        value: bytes,
        *,
        traceparent: str = "",
        at: datetime | None = None,
    ) -> Event:
        return Event(
            topic=topic,
            key=key,
            aggregate=aggregate,
            type=type_,
            source=SOURCE,
            value=value,
            time=at or self._clock.now(),
            id=self._new_id(),
            traceparent=traceparent,
        )
