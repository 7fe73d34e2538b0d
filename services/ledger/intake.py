"""Leaves that other services send: from their topics into the log's queue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from google.protobuf.message import DecodeError

from services.ledger.log_store import queue_leaves
from vitne.errors import InvalidArgument
from vitne.merkle.leaves import AccreditationRecorded, Issued, KeyRecorded, Leaf, parse_leaf
from vitne.messaging import topics
from vitne.messaging.event_types import LOG_LEAF
from vitne.messaging.headers import Message
from vitne.messaging.tracing import sampled_only
from vitne_api.events.v1 import events_pb2

#: Name of the consumer, under which its offsets are kept.
CONSUMER: Final = "ledger.leaves"
#: Seconds that leaves gather between two transactions: nobody waits for one within the second that it may take, and
#: a few at a time cost several times as much each.
GATHER_SECONDS: Final = 0.15
#: Who may log what: a service's leaves say what that service decides, and nothing else.
ALLOWED: Final[dict[str, tuple[type[Leaf], ...]]] = {
    topics.ISSUER_LEAVES: (Issued,),
    topics.REGISTRY_LEAVES: (AccreditationRecorded, KeyRecorded),
}


def read_leaf(message: Message) -> bytes:
    """The leaf's canonical bytes, checked.

    Raises:
        InvalidArgument: ``EVENT_TYPE_UNKNOWN``, ``BAD_EVENT``, ``BAD_LEAF``, ``LEAF_NOT_ALLOWED``.
    """
    if message.type != LOG_LEAF:
        raise InvalidArgument(
            "EVENT_TYPE_UNKNOWN",
            "the event is not a leaf",
            field="ce_type",
            rule=LOG_LEAF,
            remedy="update the ledger before services that send new events",
        )
    try:
        record = events_pb2.LeafSubmitted.FromString(message.value).leaf
    except DecodeError as error:
        raise InvalidArgument(
            "BAD_EVENT", "the event's value does not parse", rule="vitne.events.v1.LeafSubmitted"
        ) from error
    leaf = parse_leaf(record)
    if not isinstance(leaf, ALLOWED[message.topic]):
        raise InvalidArgument(
            "LEAF_NOT_ALLOWED",
            f"a leaf of type {leaf.type_name} does not come from {message.topic}",
            field="leaf.type",
            rule="the issuer logs issuances, the registry accreditations and keys",
            remedy="look at who writes to the topic",
        )
    return record


async def take_leaves(connection: Any, messages: Sequence[Message]) -> None:
    """Queue the leaves of events, in the transaction that moves the consumer's offset."""
    await queue_leaves(
        connection,
        [read_leaf(message) for message in messages],
        happened=[message.time for message in messages],
        traceparents=[sampled_only(message.traceparent) for message in messages],
    )
