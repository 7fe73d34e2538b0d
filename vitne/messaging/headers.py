"""Kafka headers of an event: CloudEvents 1.0, binary mode.

CloudEvents: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/kafka-protocol-binding.md,
section 3.2, with the partitioning extension. Beside them ``ce_revision``, the
aggregate's revision, and ``traceparent``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Protocol
from uuid import UUID

import msgspec

from vitne.canonical import digest_text, instant_text
from vitne.errors import DataLoss, InvalidArgument
from vitne.identifiers import parse_uuid

#: Headers as Kafka clients take and give them.
KafkaHeaders = Sequence[tuple[str, bytes]]

#: Longest key of a record: ids and digests are far shorter, and an index row holds no more than some 2,700 bytes.
MAX_KEY_CHARACTERS: Final = 255
SPEC_VERSION: Final = "1.0"
CONTENT_TYPE: Final = "application/protobuf"

#: Headers that every event has.
REQUIRED: Final = (
    "ce_specversion",
    "ce_id",
    "ce_source",
    "ce_type",
    "ce_time",
    "ce_subject",
    "ce_partitionkey",
    "content-type",
    "ce_revision",
)
#: The headers that docs/events.md knows.
KNOWN_HEADERS: Final = frozenset((*REQUIRED, "traceparent"))
_SPEC_VERSION_BYTES: Final = SPEC_VERSION.encode()
_CONTENT_TYPE_BYTES: Final = CONTENT_TYPE.encode()
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d{1,3})?Z\Z", re.ASCII)
_REVISION = re.compile(r"[1-9]\d{0,17}\Z", re.ASCII)
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}\Z", re.ASCII)


class Record(Protocol):
    """A record as a Kafka client hands it over (``aiokafka.ConsumerRecord`` is one)."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> KafkaHeaders: ...


@dataclass(frozen=True, slots=True)
class Message:
    """An event as it was received.

    Attributes:
        topic: where it was found.
        partition: of the topic.
        offset: in the partition.
        key: the aggregate's id.
        value: the protobuf message, serialised.
        id: of the event; the same in a repetition.
        type: ``ce_type``, says which protobuf message the value is.
        source: which service says so, a URI reference.
        time: when it happened, UTC, whole milliseconds.
        revision: of the aggregate, from 1.
        traceparent: of the span that made it, if any.
    """

    topic: str
    partition: int
    offset: int
    key: str
    value: bytes
    id: UUID
    type: str
    source: str
    time: datetime
    revision: int
    traceparent: str | None


def build(
    *, event_id: UUID, source: str, type_: str, time: datetime, key: str, revision: int, traceparent: str | None
) -> list[tuple[str, bytes]]:
    """Headers of an event. Its subject and partition key are the record's key."""
    headers = {
        "ce_specversion": SPEC_VERSION,
        "ce_id": str(event_id),
        "ce_source": source,
        "ce_type": type_,
        "ce_time": instant_text(time),
        "ce_subject": key,
        "ce_partitionkey": key,
        "content-type": CONTENT_TYPE,
        "ce_revision": str(revision),
    }
    if traceparent is not None:
        headers["traceparent"] = traceparent
    return [(name, value.encode()) for name, value in headers.items()]


def parse(record: Record) -> Message:
    """Read a record strictly: every header of ours once, in the form that :func:`build` gives it.

    Headers that are not ours are ignored, and so is a malformed ``traceparent``: it
    says nothing about the event.

    Raises:
        DataLoss: ``BAD_HEADERS``, ``BAD_KEY`` or ``NO_VALUE``.
    """
    if record.value is None:
        raise DataLoss("NO_VALUE", "a record without a value is no event: topics of Vitne are not compacted")
    key = _text(record.key, "BAD_KEY", "the key")
    if len(key) > MAX_KEY_CHARACTERS:
        raise DataLoss("BAD_KEY", f"the key has more than {MAX_KEY_CHARACTERS} characters")
    raws = dict(record.headers)
    if len(raws) != len(record.headers):
        _refuse_repetitions(record.headers)
    for name in REQUIRED:
        if not raws.get(name):
            raise _bad(name, "is missing")
    # A service that starts reads hundreds of thousands: what has to be one certain value is compared as it came.
    if raws["ce_specversion"] != _SPEC_VERSION_BYTES:
        raise _bad("ce_specversion", f"is not {SPEC_VERSION}")
    if raws["content-type"] != _CONTENT_TYPE_BYTES:
        raise _bad("content-type", f"is not {CONTENT_TYPE}")
    if raws["ce_subject"] != record.key or raws["ce_partitionkey"] != record.key:
        raise _bad("ce_subject", "or ce_partitionkey is not the record's key")
    revision = _text(raws["ce_revision"], "BAD_HEADERS", "ce_revision")
    if not _REVISION.match(revision):
        raise _bad("ce_revision", "is not a whole number from 1")
    try:
        event_id = parse_uuid(_text(raws["ce_id"], "BAD_HEADERS", "ce_id"))
    except InvalidArgument as error:
        raise _bad("ce_id", "is not a UUID") from error
    return Message(
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        key=key,
        value=record.value,
        id=event_id,
        type=_text(raws["ce_type"], "BAD_HEADERS", "ce_type"),
        source=_text(raws["ce_source"], "BAD_HEADERS", "ce_source"),
        time=_time(_text(raws["ce_time"], "BAD_HEADERS", "ce_time")),
        revision=int(revision),
        traceparent=_traceparent(record.headers) if "traceparent" in raws else None,
    )


def time_of(record: Record) -> datetime:
    """When the event of a record happened, whatever else is wrong with it.

    Raises:
        DataLoss: ``BAD_HEADERS``: it does not say.
    """
    raw = next((raw for name, raw in record.headers if name == "ce_time"), b"")
    return _time(_text(raw, "BAD_HEADERS", "ce_time"))


def key_text(key: bytes | None) -> str:
    """A record's key as text, whatever it is: short enough for an index, and one text for each key.

    What is no UTF-8 becomes a replacement character, and of what is too long a digest tells keys apart.
    """
    text = (key or b"").decode(errors="replace").replace("\0", "\ufffd")
    return text if len(text) <= MAX_KEY_CHARACTERS else f"{text[:128]}…{digest_text(key or b'')}"


def pack(headers: KafkaHeaders) -> bytes:
    """Headers as they came, for keeping (MessagePack)."""
    return msgspec.msgpack.encode([(name, raw) for name, raw in headers])


def unpack(packed: bytes) -> list[tuple[str, bytes]]:
    """The reverse of :func:`pack`."""
    return msgspec.msgpack.decode(packed, type=list[tuple[str, bytes]])


def _refuse_repetitions(headers: KafkaHeaders) -> None:
    """DataLoss for a header of ours that is there twice; of others' nothing is known."""
    names = [name for name, _ in headers]
    for name in REQUIRED:
        if names.count(name) > 1:
            raise _bad(name, "is there twice")


def _time(text: str) -> datetime:
    if not _TIME.match(text):
        raise _bad("ce_time", "is not RFC 3339 in UTC with Z and at most milliseconds")
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except ValueError as error:
        raise _bad("ce_time", "is no date") from error


def _traceparent(headers: KafkaHeaders) -> str | None:
    found = [raw for name, raw in headers if name == "traceparent"]
    if len(found) != 1:
        return None
    text = found[0].decode("ascii", errors="replace") if found[0] is not None else ""
    return text if _TRACEPARENT.match(text) else None


def _text(raw: bytes | None, reason: str, what: str) -> str:
    try:
        text = (raw or b"").decode()
    except UnicodeDecodeError as error:
        raise DataLoss(reason, f"{what} is not UTF-8") from error
    if "\0" in text:  # PostgreSQL can't hold it.
        raise DataLoss(reason, f"{what} holds a zero byte")
    if what == "the key" and not text:
        raise DataLoss(reason, "the key is missing")
    return text


def _bad(name: str, what: str) -> DataLoss:
    return DataLoss("BAD_HEADERS", f"{name} {what}", field=name, rule="docs/events.md: headers")
