"""What the ledger tells: `vitne.ledger.status.v1`, one aggregate a list."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final
from uuid import UUID

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from vitne.messaging import topics
from vitne.messaging.event_types import LIST_PUBLISHED, STATUS_CHANGED
from vitne.messaging.outbox import Event
from vitne_api.events.v1 import events_pb2

#: ``ce_source`` of the ledger's events.
SOURCE: Final = "/vitne/ledger"

_TYPES: Final[dict[type[Message], str]] = {
    events_pb2.StatusChanged: STATUS_CHANGED,
    events_pb2.StatusListPublished: LIST_PUBLISHED,
}


def list_aggregate(url: str) -> str:
    """Name of a list's aggregate in the ledger's database."""
    return f"list:{url}"


def list_event(
    value: events_pb2.StatusChanged | events_pb2.StatusListPublished, *, time: datetime, new_id: Callable[[], UUID]
) -> Event:
    """The event of a list, whose next revision it takes."""
    return Event(
        topic=topics.LEDGER_STATUS,
        key=value.list,
        aggregate=list_aggregate(value.list),
        type=_TYPES[type(value)],
        source=SOURCE,
        value=value.SerializeToString(),
        time=time,
        id=new_id(),
    )


def timestamp(moment: datetime) -> Timestamp:
    """An aware datetime as a protobuf timestamp."""
    message = Timestamp()
    message.FromDatetime(moment)
    return message
