"""What a record of ``vitne.ledger.status.v1`` says of statuses, checked (``docs/events.md``)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from google.protobuf.message import DecodeError
from google.protobuf.timestamp_pb2 import Timestamp

from vitne.clock import to_milliseconds
from vitne.errors import DataLoss
from vitne.messaging.event_types import LIST_PUBLISHED, STATUS_CHANGED, STATUSES_CHANGED
from vitne.messaging.headers import Message
from vitne_api.credential.v1 import credential_pb2
from vitne_api.events.v1 import events_pb2

_KNOWN: Final = frozenset((credential_pb2.STATUS_VALID, credential_pb2.STATUS_SUSPENDED, credential_pb2.STATUS_REVOKED))


@dataclass(frozen=True, slots=True)
class ToldChange:
    """A change of a status, whether it was told alone or with others.

    Attributes:
        list_url: URI of the list.
        index: in the list.
        status: from ``effective`` on.
        effective: from when it holds, UTC.
        recorded: when it was recorded, UTC.
        traceparent: W3C trace context of what caused it; empty where that is not known.
    """

    list_url: str
    index: int
    status: credential_pb2.Status.ValueType
    effective: datetime
    recorded: datetime
    traceparent: str


def read_changes(message: Message) -> list[ToldChange]:
    """The changes that a record tells of, in their order; none where it tells of a list's version.

    Raises:
        DataLoss: ``UNKNOWN_EVENT_TYPE``, ``BAD_EVENT``: it can't be handled, however often it is tried.
    """
    if message.type == LIST_PUBLISHED:
        return []
    read = _READERS.get(message.type)
    if read is None:
        raise DataLoss("UNKNOWN_EVENT_TYPE", f"events of type {message.type[:64]} are not known here")
    try:
        changes = read(message)
    except (DecodeError, ValueError, OverflowError) as error:
        raise DataLoss("BAD_EVENT", f"the value is none of type {message.type}") from error
    if not changes or any(each.list_url != message.key or each.status not in _KNOWN for each in changes):
        raise DataLoss("BAD_EVENT", "a status is not known here, or the list is not the event's key")
    return changes


def _read_one(message: Message) -> list[ToldChange]:
    told = events_pb2.StatusChanged.FromString(message.value)
    if not (told.HasField("effective") and told.HasField("recorded")):
        raise _without_instant(message)
    return [
        ToldChange(
            told.list,
            told.index,
            told.status,
            _instant(told.effective),
            _instant(told.recorded),
            message.traceparent or "",
        )
    ]


def _read_several(message: Message) -> list[ToldChange]:
    told = events_pb2.StatusesChanged.FromString(message.value)
    if not told.HasField("recorded"):
        raise _without_instant(message)
    together = _instant(told.recorded)
    changes = []
    for change in told.changes:
        recorded = _instant(change.recorded) if change.HasField("recorded") else together
        effective = _instant(change.effective) if change.HasField("effective") else recorded
        changes.append(ToldChange(told.list, change.index, change.status, effective, recorded, change.traceparent))
    return changes


def _without_instant(message: Message) -> DataLoss:
    return DataLoss("BAD_EVENT", f"an event of type {message.type} does not say when its changes were recorded")


def _instant(value: Timestamp) -> datetime:
    return to_milliseconds(value.ToDatetime(UTC))


_READERS: Final = {STATUS_CHANGED: _read_one, STATUSES_CHANGED: _read_several}
