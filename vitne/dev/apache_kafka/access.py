"""Access rules (Kafka's ACLs) as data, and the call that puts them into force on any cluster."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import for_code
from aiokafka.protocol.admin import CreateAclsRequest, DescribeAclsRequest

from vitne.errors import Unavailable
from vitne.messaging.access import Access

#: What a cluster gets to bring new rules from its controller to its brokers.
IN_FORCE_SECONDS: Final = 15.0
POLL_SECONDS: Final = 0.02

# Codes of Kafka's protocol: org.apache.kafka.common.acl and .resource.
_ANY: Final = 1
_ALLOW: Final = 3
_ANY_HOST: Final = "*"


class Operation(IntEnum):
    """What a rule allows (``AclOperation``). READ, WRITE and the like include DESCRIBE."""

    ALL = 2
    READ = 3
    WRITE = 4
    CREATE = 5
    DELETE = 6
    ALTER = 7
    DESCRIBE = 8
    CLUSTER_ACTION = 9
    DESCRIBE_CONFIGS = 10
    ALTER_CONFIGS = 11
    IDEMPOTENT_WRITE = 12


class ResourceType(IntEnum):
    """What a rule is about (``ResourceType``)."""

    TOPIC = 2
    GROUP = 3
    CLUSTER = 4
    TRANSACTIONAL_ID = 5


class Pattern(IntEnum):
    """How a rule names its resources (``PatternType``)."""

    LITERAL = 3
    PREFIXED = 4


@dataclass(frozen=True, slots=True)
class AccessRule:
    """One principal may do one thing to one resource, from any host. What no rule allows is denied.

    Attributes:
        principal: common name of the client's certificate.
        operation: what it may do.
        resource_type: a topic, a group, …
        resource: its name; a prefix of names where ``pattern`` says so; ``kafka-cluster`` for the cluster.
        pattern: how ``resource`` is meant.
    """

    principal: str
    operation: Operation
    resource_type: ResourceType
    resource: str
    pattern: Pattern = Pattern.LITERAL


def publisher(principal: str, topic: str) -> list[AccessRule]:
    """What a principal needs to publish to a topic, also with an idempotent producer (KIP-679)."""
    return [AccessRule(principal, Operation.WRITE, ResourceType.TOPIC, topic)]


def subscriber(principal: str, topic: str, group: str) -> list[AccessRule]:
    """What a principal needs to read a topic as a member of a group, or of none."""
    return [
        AccessRule(principal, Operation.READ, ResourceType.TOPIC, topic),
        AccessRule(principal, Operation.READ, ResourceType.GROUP, group),
    ]


def rules_of(accesses: Iterable[Access]) -> list[AccessRule]:
    """The list of an installation (:mod:`vitne.messaging.access`) as rules of a cluster."""
    rules = []
    for access in accesses:
        who = access.principal
        rules += [AccessRule(who, Operation.WRITE, ResourceType.TOPIC, topic) for topic in access.writes]
        rules += [AccessRule(who, Operation.READ, ResourceType.TOPIC, topic) for topic in access.reads]
        rules += [AccessRule(who, Operation.READ, ResourceType.GROUP, group) for group in access.groups]
        if prefix := access.group_prefix:
            rules.append(AccessRule(who, Operation.READ, ResourceType.GROUP, prefix, Pattern.PREFIXED))
    return rules


async def create_access_rules(client_options: Mapping[str, Any], rules: Iterable[AccessRule]) -> None:
    """Put rules into force beside those that are; returns when a broker answers by them. Doing it twice is harmless.

    Args:
        client_options: how to reach the cluster as somebody who may (ALTER on the cluster): keyword arguments
            of an aiokafka client.
        rules: what to allow.

    Raises:
        Unavailable: ``ACCESS_RULE_NOT_CREATED``.
        aiokafka.errors.KafkaError: the cluster can't be reached.
    """
    # aiokafka's admin client has no call for this, but its protocol has the messages.
    client = AIOKafkaClient(**client_options)
    await client.bootstrap()
    try:
        node = client.get_random_node()
        missing = set(rules)
        for rule in sorted(missing, key=repr):
            answer = await client.send(
                node,
                CreateAclsRequest(
                    rule.resource_type,
                    rule.resource,
                    rule.pattern,
                    f"User:{rule.principal}",
                    _ANY_HOST,
                    rule.operation,
                    _ALLOW,
                ),
            )
            for code, message in answer.creation_responses:
                if code:
                    raise _not_created(f"{rule}: {message or for_code(code).__name__}")
        deadline = time.monotonic() + IN_FORCE_SECONDS
        while missing := missing - await _rules_in_force(client, node):
            if time.monotonic() > deadline:
                raise _not_created(f"{len(missing)} rules were not in force after {IN_FORCE_SECONDS:g} s")
            await asyncio.sleep(POLL_SECONDS)
    finally:
        await client.close()


async def _rules_in_force(client: AIOKafkaClient, node: int) -> set[AccessRule]:
    """The allowing rules that the broker knows, of the kinds that :class:`AccessRule` can express."""
    answer = await client.send(node, DescribeAclsRequest(_ANY, None, _ANY, None, None, _ANY, _ALLOW))
    if answer.error_code:
        raise _not_created(answer.error_message or for_code(answer.error_code).__name__)
    return {
        AccessRule(principal.removeprefix("User:"), Operation(operation), ResourceType(kind), name, Pattern(pattern))
        for kind, name, pattern, entries in answer.resources
        for principal, host, operation, _ in entries
        if host == _ANY_HOST and principal.startswith("User:") and kind in set(ResourceType)
        if operation in set(Operation)
    }


def _not_created(why: str) -> Unavailable:
    return Unavailable("ACCESS_RULE_NOT_CREATED", f"the cluster did not take the access rules: {why}")
