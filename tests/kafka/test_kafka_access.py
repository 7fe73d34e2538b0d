"""The installation's access list, put into force: each principal can do what it says, and nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    TopicAuthorizationFailedError,
)

from tests.kafka.clients import publish, read
from vitne.dev.apache_kafka import EmbeddedKafka, rules_of
from vitne.dev.broker import TopicSpec
from vitne.identifiers import OrganisationId
from vitne.messaging.access import Access, access_list
from vitne.messaging.topics import dead_topic, fixed_topics, hub_topic

HUBS = {"portal": OrganisationId.parse("0192:919477822"), "other-hub": OrganisationId.parse("0192:971035854")}
LIST = access_list(HUBS)
NAMES = [topic.name for topic in fixed_topics()] + [hub_topic(hub) for hub in HUBS.values()]
NAMES += [dead_topic(name) for name in NAMES]
GROUPS = sorted({group for access in LIST for group in access.groups})


@pytest.fixture(scope="module")
async def installation(kafka_folder: Path) -> AsyncIterator[EmbeddedKafka]:
    async with EmbeddedKafka(kafka_folder / "installation", secure=True) as kafka:
        await kafka.create_topics([TopicSpec(name) for name in NAMES])
        for name in NAMES:
            await publish(kafka.client_options(), name, [b"1"])
        await kafka.create_access_rules(rules_of(LIST))
        yield kafka


@pytest.mark.parametrize("access", LIST, ids=lambda access: access.principal)
async def test_a_principal_reads_and_writes_what_the_list_says_and_nothing_else(
    installation: EmbeddedKafka, access: Access
) -> None:
    options = installation.client_options(access.principal)
    read_by_it, written_by_it = set(), set()
    for name in NAMES:
        try:
            await read(options, name, 1)
            read_by_it.add(name)
        except TopicAuthorizationFailedError:
            pass
        try:
            await publish(options, name, [b"2"])
            written_by_it.add(name)
        except (TopicAuthorizationFailedError, ClusterAuthorizationFailedError):
            pass  # The cluster's: who may write nowhere does not even become an idempotent producer (KIP-679).
    assert read_by_it == set(access.reads)
    assert written_by_it == set(access.writes)


@pytest.mark.parametrize("access", [access for access in LIST if access.reads], ids=lambda access: access.principal)
async def test_a_principal_joins_its_own_groups_and_no_other(installation: EmbeddedKafka, access: Access) -> None:
    options = installation.client_options(access.principal)
    joined = set()
    own = [f"{access.group_prefix}x"] if access.group_prefix else []
    for group in [*GROUPS, *own, "unheard-of"]:
        try:
            await read(options, access.reads[0], 1, group=group)
            joined.add(group)
        except GroupAuthorizationFailedError:
            pass
    assert joined == {*access.groups, *own}
