"""Leaves of other services: which are taken, which are refused."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest

from services.ledger.intake import read_leaf
from vitne.canonical import sha256
from vitne.errors import InvalidArgument
from vitne.merkle.leaves import AccreditationRecorded, Closed, Issued, KeyRecorded, Leaf, ListPublished, StatusChanged
from vitne.messaging import topics
from vitne.messaging.event_types import LOG_LEAF
from vitne.messaging.headers import Message
from vitne_api.events.v1 import events_pb2

AT = datetime(2026, 11, 21, 10, tzinfo=UTC)
DIGEST = sha256(b"artefact")
ISSUED = Issued(DIGEST)
ACCREDITATION = AccreditationRecorded(UUID("01930f6e-7a00-7000-8000-00000000a001"), 3, DIGEST)
KEY = KeyRecorded(sha256(b"key"), 1, DIGEST)
STATUS = StatusChanged("https://status.vitne.example/2026/no-1", 7, "revoked", AT, AT)
LIST = ListPublished("https://status.vitne.example/2026/no-1", 7, DIGEST, 9)


def message(topic: str, value: bytes, type_: str = LOG_LEAF) -> Message:
    return Message(
        topic=topic,
        partition=0,
        offset=0,
        key="k",
        value=value,
        id=UUID(int=1),
        type=type_,
        source="/vitne/issuer",
        time=AT,
        revision=1,
        traceparent=None,
    )


def submitted(leaf: bytes) -> bytes:
    return events_pb2.LeafSubmitted(leaf=leaf).SerializeToString()


@pytest.mark.parametrize(
    ("topic", "leaf"),
    [(topics.ISSUER_LEAVES, ISSUED), (topics.REGISTRY_LEAVES, ACCREDITATION), (topics.REGISTRY_LEAVES, KEY)],
)
def test_a_services_own_leaves_are_taken(topic: str, leaf: Leaf) -> None:
    assert read_leaf(message(topic, submitted(leaf.to_bytes()))) == leaf.to_bytes()


@pytest.mark.parametrize(
    ("topic", "leaf"),
    [
        (topics.ISSUER_LEAVES, STATUS),
        (topics.ISSUER_LEAVES, LIST),
        (topics.ISSUER_LEAVES, ACCREDITATION),
        (topics.ISSUER_LEAVES, KEY),
        (topics.ISSUER_LEAVES, Closed("log.vitne.example/2026", 3)),
        (topics.REGISTRY_LEAVES, ISSUED),
        (topics.REGISTRY_LEAVES, STATUS),
    ],
)
def test_nobody_logs_what_another_decides(topic: str, leaf: Leaf) -> None:
    with pytest.raises(InvalidArgument, match="LEAF_NOT_ALLOWED"):
        read_leaf(message(topic, submitted(leaf.to_bytes())))


@pytest.mark.parametrize(
    ("value", "type_", "reason"),
    [
        (submitted(ISSUED.to_bytes()), "vitne.log.leaf.v2", "EVENT_TYPE_UNKNOWN"),
        (b"\xff\xff", LOG_LEAF, "BAD_EVENT"),
        (b"", LOG_LEAF, "BAD_LEAF"),
        (submitted(b"{}"), LOG_LEAF, "BAD_LEAF"),
        (submitted(ISSUED.to_bytes() + b" "), LOG_LEAF, "BAD_LEAF"),
        (submitted(ISSUED.to_bytes()[:-1]), LOG_LEAF, "BAD_LEAF"),
    ],
)
def test_what_does_not_parse_is_refused(value: bytes, type_: str, reason: str) -> None:
    with pytest.raises(InvalidArgument, match=reason):
        read_leaf(message(topics.ISSUER_LEAVES, value, type_))
