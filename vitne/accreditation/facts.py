"""Facts: their canonical bytes and digest, and the instants inside them (proto/vitne/registry/v1/facts.proto)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal, TypeAlias

from google.protobuf.json_format import MessageToDict, ParseDict, ParseError
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from vitne.canonical import b64url, canonical_bytes, sha256
from vitne.clock import to_milliseconds
from vitne.errors import DataLoss, InvalidArgument
from vitne_api.registry.v1 import facts_pb2

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
#: The instant of no end, in milliseconds: after every instant that a Timestamp can carry.
FOREVER: Final = 1 << 62

#: What a fact can say.
ContentKind: TypeAlias = Literal[
    "authority", "provider", "key", "accreditation", "achievement", "qualification", "case_step"
]
#: What the trust list leaves out: the catalogue, and how decisions came about.
NOT_LISTED: Final[frozenset[ContentKind]] = frozenset({"achievement", "qualification", "case_step"})


def timestamp(moment: datetime) -> Timestamp:
    """An aware datetime as a Timestamp of whole milliseconds."""
    stamp = Timestamp()
    stamp.FromMilliseconds(milliseconds(moment))
    return stamp


def instant(stamp: Timestamp) -> datetime:
    """A Timestamp as an aware datetime in UTC, cut to whole milliseconds.

    Raises:
        InvalidArgument: ``BAD_INSTANT`` beyond the years 1 to 9999 (google/protobuf/timestamp.proto).
    """
    try:
        return to_milliseconds(stamp.ToDatetime(tzinfo=UTC))
    except (ValueError, OverflowError) as error:
        raise InvalidArgument(
            "BAD_INSTANT",
            "the instant is out of range",
            rule="google.protobuf.Timestamp: years 1 to 9999, nanoseconds below 10^9",
            remedy="send an instant that a calendar has",
        ) from error


def milliseconds(moment: datetime) -> int:
    """Whole milliseconds since 1970, exactly."""
    return (moment - _EPOCH) // _MILLISECOND


def stamp_milliseconds(stamp: Timestamp) -> int:
    """A Timestamp's whole milliseconds since 1970."""
    return stamp.seconds * 1000 + stamp.nanos // 1_000_000


def content_kind(fact: facts_pb2.Fact, size: int | None = None) -> ContentKind:
    """Which kind of content a fact has.

    Args:
        fact: as it was parsed.
        size: bytes that it has when it is serialised, where that is known already.

    Raises:
        DataLoss: ``UNKNOWN_FACT`` when it has none that this version knows, or says anything more, at any depth.
            Passing over it could make something look allowed that the fact forbids: a bound of a scope that
            is not read is no bound.
    """
    kind = fact.WhichOneof("content")
    if kind is None or has_unknown_fields(fact, size):
        raise DataLoss(
            "UNKNOWN_FACT",
            f"fact {fact.registry_revision} says something that this version does not know",
            rule="a fact that is not understood is never skipped",
            remedy="update this service before the registry",
            metadata={"fact": fact.id},
        )
    return kind


def has_unknown_fields(message: Message, size: int | None = None) -> bool:
    """Whether a message, or one inside it, holds fields that this version's contract does not have.

    ``size``, bytes when it is serialised, is counted where it is not given.
    """
    known = type(message)()
    known.CopyFrom(message)
    known.DiscardUnknownFields()
    return known.ByteSize() != (message.ByteSize() if size is None else size)


def fact_json(fact: facts_pb2.Fact) -> dict[str, Any]:
    """The fact's ProtoJSON: proto field names, default values left out, enums by name."""
    return MessageToDict(fact, preserving_proto_field_name=True)


def fact_from_json(record: Mapping[str, Any]) -> facts_pb2.Fact:
    """The inverse of :func:`fact_json`.

    Raises:
        InvalidArgument: ``BAD_FACT`` on anything but a fact's ProtoJSON.
    """
    try:
        return ParseDict(dict(record), facts_pb2.Fact())
    except (ParseError, TypeError, ValueError, AttributeError) as error:
        raise InvalidArgument(
            "BAD_FACT",
            "not a fact in ProtoJSON",
            rule="proto/vitne/registry/v1/facts.proto, message Fact",
            remedy="take the fact from the registry as it is",
        ) from error


def fact_bytes(fact: facts_pb2.Fact) -> bytes:
    """The fact's canonical bytes: RFC 8785 over its ProtoJSON."""
    return canonical_bytes(fact_json(fact))


def fact_digest(fact: facts_pb2.Fact) -> bytes:
    """SHA-256 of the fact's canonical bytes: 32 bytes, as the log's leaf has them."""
    return sha256(fact_bytes(fact))


def fact_digest_text(fact: facts_pb2.Fact) -> str:
    """The same as base64url."""
    return b64url(fact_digest(fact))


def key_counts_at(key: facts_pb2.Key, moment: datetime) -> bool:
    """Whether a signature made with the key at ``moment`` counts: valid then, and not known to others yet."""
    at = milliseconds(moment)
    return (
        stamp_milliseconds(key.valid_from) <= at
        and not (key.HasField("valid_until") and at >= stamp_milliseconds(key.valid_until))
        and not (key.HasField("compromised_from") and at >= stamp_milliseconds(key.compromised_from))
    )
