"""Who writes and who reads which topic; nothing else is allowed (RECORDS: Events).

The list is data: development's clusters get their access rules from it, and the
``KafkaUser`` objects of ``deploy/k8s`` are held against it by a test.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from vitne.identifiers import OrganisationId
from vitne.messaging.topics import (
    ISSUER_EFFECTS,
    ISSUER_LEAVES,
    LEDGER_LOG,
    LEDGER_STATUS,
    REGISTRY_FACTS,
    REGISTRY_HEARTBEAT,
    REGISTRY_LEAVES,
    dead_topic,
    fixed_topics,
    hub_topic,
)

#: Principals that are no service: who looks at dead letters, who compares everything, and anyone who
#: follows what is public.
OPERATORS: Final = "operators"
AUDITOR: Final = "auditor"
SUBSCRIBER: Final = "subscriber"


@dataclass(frozen=True, slots=True)
class Access:
    """What one principal may do.

    Attributes:
        principal: common name of its client certificate.
        writes: topics that it publishes to.
        reads: topics that it follows or consumes.
        groups: groups that it may join.
        group_prefix: it may join every group whose name begins so; empty: none by prefix.
    """

    principal: str
    writes: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    group_prefix: str = ""


def access_list(hubs: Mapping[str, OrganisationId]) -> tuple[Access, ...]:
    """Every principal of an installation.

    A consumer writes dead letters of what it consumes; a follower writes nothing.

    Args:
        hubs: the hubs by their principals, which are also the names of their groups.
    """
    hub_topics = {principal: hub_topic(hub) for principal, hub in hubs.items()}
    dead = [dead_topic(name) for name in (*(topic.name for topic in fixed_topics()), *hub_topics.values())]
    return (
        Access(
            "registry",
            writes=(REGISTRY_FACTS, REGISTRY_HEARTBEAT, REGISTRY_LEAVES),
            # Its own: after a restore they tell what its database has forgotten.
            reads=(REGISTRY_FACTS, REGISTRY_HEARTBEAT, REGISTRY_LEAVES),
        ),
        Access(
            "issuer",
            writes=(ISSUER_LEAVES, ISSUER_EFFECTS, *hub_topics.values(), dead_topic(LEDGER_STATUS)),
            # Its own, too: after a restore they tell what its database has forgotten.
            reads=(
                REGISTRY_FACTS,
                REGISTRY_HEARTBEAT,
                LEDGER_STATUS,
                ISSUER_LEAVES,
                ISSUER_EFFECTS,
                *hub_topics.values(),
            ),
            groups=("issuer",),
        ),
        Access(
            "ledger",
            writes=(LEDGER_STATUS, LEDGER_LOG, dead_topic(ISSUER_LEAVES), dead_topic(REGISTRY_LEAVES)),
            # Its own, too: after a restore they tell what its database has forgotten.
            reads=(ISSUER_LEAVES, REGISTRY_LEAVES, LEDGER_STATUS, LEDGER_LOG),
            groups=("ledger.leaves",),
        ),
        Access("verifier", reads=(REGISTRY_FACTS, REGISTRY_HEARTBEAT)),
        *(
            Access(principal, writes=(dead_topic(topic),), reads=(topic,), groups=(principal,))
            for principal, topic in hub_topics.items()
        ),
        Access(AUDITOR, reads=(*(topic.name for topic in fixed_topics()), *hub_topics.values(), *dead)),
        Access(OPERATORS, reads=tuple(dead), group_prefix=f"{OPERATORS}."),
        Access(
            SUBSCRIBER, reads=(REGISTRY_FACTS, ISSUER_EFFECTS, LEDGER_STATUS, LEDGER_LOG), group_prefix=f"{SUBSCRIBER}."
        ),
    )
