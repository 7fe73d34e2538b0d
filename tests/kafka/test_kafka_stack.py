"""The whole road on a real Apache Kafka: secured, with one principal a service; and on a cluster that is given."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from aiokafka.errors import TopicAuthorizationFailedError

from tests.kafka.clients import read
from vitne.dev.actors import Actors
from vitne.dev.apache_kafka import EmbeddedKafka
from vitne.dev.demo import Demo
from vitne.dev.narrator import Narrator
from vitne.dev.stack import APACHE_TLS, Stack
from vitne.dev.story import tell
from vitne.errors import FailedPrecondition
from vitne.messaging import topics

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
async def secured(stack_folder: Path) -> AsyncIterator[Stack]:
    async with Stack(stack_folder / "secured", kafka=APACHE_TLS) as stack:
        yield stack


async def test_the_whole_road_with_the_rules_of_the_access_list(secured: Stack) -> None:
    async with Actors(secured) as actors, AsyncExitStack() as exits:
        demo = Demo(secured, actors, Narrator(quiet=True), exits)
        await tell(demo)
    assert demo.narrator.held >= 20
    refused = [path.name for path in secured.log_folder.glob("*.log") if "AuthorizationFailed" in path.read_text()]
    assert refused == []


async def test_the_hub_reads_its_own_topic_of_it_and_nothing_of_the_issuers(secured: Stack) -> None:
    options = secured.kafka_options("portal")
    assert len(await read(options, secured.hub_topic(), 1)) == 1
    with pytest.raises(TopicAuthorizationFailedError):
        await read(options, topics.ISSUER_LEAVES, 1)


async def test_a_cluster_that_is_given_must_be_empty_or_be_emptied(kafka_folder: Path, stack_folder: Path) -> None:
    async with EmbeddedKafka(kafka_folder / "given") as kafka:
        folder = stack_folder / "given"
        async with AsyncExitStack() as exits:
            stack = await exits.enter_async_context(Stack(folder, kafka=kafka.bootstrap_servers))
            actors = await exits.enter_async_context(Actors(stack))
            demo = Demo(stack, actors, Narrator(quiet=True), exits)
            await demo.accredit()
            await demo.issue()
            await demo.aggregate()
        with pytest.raises(FailedPrecondition, match="TOPICS_NOT_EMPTY"):
            await Stack(folder, kafka=kafka.bootstrap_servers).__aenter__()
        async with Stack(folder, kafka=kafka.bootstrap_servers, renew_topics=True) as stack:
            assert await stack.read_hub_topic() == []
