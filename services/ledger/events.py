"""What the ledger tells: `vitne.ledger.status.v1`, one aggregate a list."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from vitne.messaging import topics
from vitne.messaging.event_types import LIST_PUBLISHED, STATUS_CHANGED, STATUSES_CHANGED
from vitne.messaging.outbox import Event
from vitne_api.events.v1 import events_pb2

#: ``ce_source`` of the ledger's events.
SOURCE: Final = "/vitne/ledger"

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_SECONDS: Final = 86_400
_TYPES: Final[dict[type[Message], str]] = {
    events_pb2.StatusChanged: STATUS_CHANGED,
    events_pb2.StatusesChanged: STATUSES_CHANGED,
    events_pb2.StatusListPublished: LIST_PUBLISHED,
}


def list_aggregate(url: str) -> str:
    """Name of a list's aggregate in the ledger's database."""
    return f"list:{url}"


def list_event(
    value: events_pb2.StatusChanged | events_pb2.StatusesChanged | events_pb2.StatusListPublished,
    *,
    time: datetime,
    new_id: Callable[[], UUID],
    traceparent: str = "",
) -> Event:
    """The event of a list, whose next revision it takes; without a trace of its own in the one that is active."""
    return Event(
        topic=topics.LEDGER_STATUS,
        key=value.list,
        aggregate=list_aggregate(value.list),
        type=_TYPES[type(value)],
        source=SOURCE,
        value=value.SerializeToString(),
        time=time,
        id=new_id(),
        traceparent=traceparent,
    )


def timestamp(moment: datetime) -> Timestamp:
    """An aware datetime as a protobuf timestamp."""
    # A tenth of what ``FromDatetime`` takes, and each change has four of them.
    since = moment - _EPOCH
    return Timestamp(seconds=since.days * _DAY_SECONDS + since.seconds, nanos=since.microseconds * 1000)
