"""Names of the topics, what their keys are, and how long they are kept (RECORDS: Events)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from vitne.errors import InvalidArgument
from vitne.identifiers import OrganisationId
from vitne.messaging.sequence import Order

#: Every registry fact, immutable.
REGISTRY_FACTS: Final = "vitne.registry.facts.v1"
#: The registry's newest revision, every two seconds.
REGISTRY_HEARTBEAT: Final = "vitne.registry.heartbeat.v1"
#: Digests of artefacts, for the log.
ISSUER_LEAVES: Final = "vitne.issuer.leaves.v1"
#: How many credentials a change of an accreditation touches.
ISSUER_EFFECTS: Final = "vitne.issuer.effects.v1"
#: Digests of facts and keys, for the log.
REGISTRY_LEAVES: Final = "vitne.registry.leaves.v1"
#: Changes of (list, index), and published versions of lists.
LEDGER_STATUS: Final = "vitne.ledger.status.v1"
#: The log's leaves in their order.
LEDGER_LOG: Final = "vitne.ledger.log.v1"

#: Key of the only aggregate in :data:`REGISTRY_HEARTBEAT`.
HEARTBEAT_KEY: Final = "registry"
#: Partitions of a topic where nothing else is said. It can't be raised later without breaking the order of keys.
PARTITIONS: Final = 4

_HUB_PREFIX: Final = "vitne.hub."
_HUB_SUFFIX: Final = ".v1"
_DEAD_SUFFIX: Final = ".dead"


@dataclass(frozen=True, slots=True)
class Topic:
    """What there is to know about a topic.

    Attributes:
        name: as Kafka knows it.
        key: what the record's key names, in words.
        holds: what an event in it says, in words.
        retention: how long events are kept; None is for ever (never compacted: history is the point).
        partitions: how many; keys are spread over them.
    """

    name: str
    key: str
    holds: str
    retention: timedelta | None = None
    partitions: int = PARTITIONS


_FIXED: Final = {
    topic.name: topic
    for topic in (
        # One partition, so that facts of different subjects reach a projection in the order of the outbox's rows.
        Topic(REGISTRY_FACTS, "provider or authority id", "a registry fact", partitions=1),
        Topic(REGISTRY_HEARTBEAT, HEARTBEAT_KEY, "the newest revision", timedelta(days=1), partitions=1),
        Topic(ISSUER_LEAVES, "the artefact's digest", "a leaf for the log"),
        Topic(REGISTRY_LEAVES, "the fact's id", "a leaf for the log"),
        Topic(ISSUER_EFFECTS, "the accreditation's id", "how many credentials a change of it touches", partitions=1),
        Topic(LEDGER_STATUS, "URI of the status list", "a status change, or a published version of the list"),
        Topic(LEDGER_LOG, "the log's origin", "leaves in their order", partitions=1),
    )
}


def fixed_topics() -> tuple[Topic, ...]:
    """The topics that exist in every installation; hubs and dead letters have theirs beside them."""
    return tuple(_FIXED.values())


def hub_topic(hub: OrganisationId) -> str:
    """Name of a hub's own topic, ``vitne.hub.0192-919477822.v1``: Kafka allows no colon in it."""
    return f"{_HUB_PREFIX}{hub.scheme}-{hub.value}{_HUB_SUFFIX}"


def hub_of(topic: str) -> OrganisationId:
    """The hub whose topic this is.

    Raises:
        InvalidArgument: ``NOT_A_HUB_TOPIC`` or ``BAD_ORGANISATION``.
    """
    scheme, hyphen, value = topic.removeprefix(_HUB_PREFIX).removesuffix(_HUB_SUFFIX).partition("-")
    if not (topic.startswith(_HUB_PREFIX) and topic.endswith(_HUB_SUFFIX) and hyphen):
        raise InvalidArgument("NOT_A_HUB_TOPIC", f"{topic} is not the topic of a hub")
    return OrganisationId.parse(f"{scheme}:{value}")


def dead_topic(topic: str) -> str:
    """Where goes what could not be handled of a topic."""
    return topic + _DEAD_SUFFIX


def describe(name: str) -> Topic:
    """The topic of a name: a fixed one, a hub's, a dead-letter topic.

    Raises:
        InvalidArgument: ``UNKNOWN_TOPIC``.
    """
    if name in _FIXED:
        return _FIXED[name]
    if name.endswith(_DEAD_SUFFIX):
        origin = describe(name.removesuffix(_DEAD_SUFFIX))
        return Topic(name, origin.key, "what could not be handled, with reason and place", partitions=1)
    if name.startswith(_HUB_PREFIX):
        hub_of(name)
        return Topic(name, "the learner's pseudonym for this hub", "a notice about a credential")
    raise InvalidArgument("UNKNOWN_TOPIC", f"{name} is not a topic of Vitne")


def order_of(name: str) -> Order:
    """What the topic promises about revisions. One that is not known here is held to the strictest."""
    if name.endswith(_DEAD_SUFFIX):
        return Order.NONE
    known = _FIXED.get(name)
    return Order.RISING if known is not None and known.retention is not None else Order.GAPLESS
