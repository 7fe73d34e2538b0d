"""Subscriptions: a hub is told of what it wants, before and after it changed its mind, each once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from uuid import uuid4

import pytest

from services.issuer.interests import EVERYTHING, Interest
from services.issuer.subscriptions import PAGE
from tests.integration.issuer_harness import HUB, MINI, OTHER_HUB, World, make_world, pid_of, refusal
from tests.unit.accreditation_samples import UCL, UIO
from vitne.clock import ManualClock
from vitne.dev.postgres import EmbeddedPostgres
from vitne_api.events.v1 import events_pb2
from vitne_api.issuer.v1 import issuer_pb2, subscription_pb2

DANISH, NORWEGIAN = "dk.micro_credential", "no.micro_credential"


@pytest.fixture
async def world(postgres: EmbeddedPostgres, tmp_path: Path, clock: ManualClock) -> AsyncIterator[World]:
    async with make_world(postgres, tmp_path, clock) as made:
        yield made


async def wants(world: World, request_id: str = "", hub: str = HUB, **what: Sequence[str]) -> int:
    request = subscription_pb2.SetSubscriptionRequest(
        request_id=request_id or str(uuid4()), subscription=subscription_pb2.Subscription(**what)
    )
    return (await world.subscriptions(hub).SetSubscription(request)).revision


async def standing(world: World, hub: str = HUB) -> subscription_pb2.GetSubscriptionResponse:
    return await world.subscriptions(hub).GetSubscription(subscription_pb2.GetSubscriptionRequest())


async def carried_out(world: World) -> None:
    while await world.issuer.subscription_changes.step():
        pass


async def register(world: World, number: int = 1) -> None:
    await world.caller(HUB).RegisterLearner(
        issuer_pb2.RegisterLearnerRequest(request_id=str(uuid4()), id_token=f"{pid_of(number)} portal")
    )


async def served(world: World, handles: Sequence[str]) -> list[str]:
    answer = await world.caller(HUB).FetchCredentials(issuer_pb2.FetchCredentialsRequest(handles=handles))
    return [one.credential.provider for one in answer.credentials if one.HasField("credential")]


def test_an_interest_is_all_of_its_lists_and_an_empty_one_excludes_nothing() -> None:
    assert EVERYTHING.wants(DANISH, UCL)
    assert Interest(kinds=frozenset({DANISH})).wants(DANISH, UIO)
    assert not Interest(kinds=frozenset({DANISH})).wants(NORWEGIAN, UCL)
    assert Interest(countries=frozenset({"DK"})).wants(NORWEGIAN, UCL)
    assert not Interest(countries=frozenset({"DK"})).wants(NORWEGIAN, UIO)
    assert not Interest(kinds=frozenset({DANISH}), providers=frozenset({UIO})).wants(DANISH, UCL)


async def test_a_hub_that_set_none_wants_everything(world: World) -> None:
    answer = await standing(world)
    assert (answer.revision, answer.waiting, answer.HasField("changed_at")) == (0, 0, False)
    assert answer.subscription == subscription_pb2.Subscription()


async def test_what_is_not_wanted_is_neither_told_nor_backfilled(world: World) -> None:
    await wants(world, countries=["NO"])
    await world.issue()
    await register(world)
    assert await world.notices() == []
    await world.issue(UIO, achievement_id=MINI)
    await world.issue(grade="A")
    assert [name for name, _, _ in await world.notices()] == ["ISSUED"]
    assert (await standing(world)).waiting == 0


async def test_a_change_withdraws_and_backfills(world: World) -> None:
    await world.issue()
    await register(world)
    await register(world, 2)
    await world.issue(UIO, achievement_id=MINI)
    names = [name for _, name, _ in await world.notices()]
    assert await wants(world, kinds=[NORWEGIAN]) == 1
    # At once in what is fetched; by and by in the topic.
    assert await served(world, names) == [UIO]
    assert (await standing(world)).waiting == 2
    await carried_out(world)
    assert (await standing(world)).waiting == 0
    assert (await world.notices())[2:] == [("WITHDRAWN", names[0], 3)]
    row = (await world.outbox(f"vitne.hub.{HUB.replace(':', '-')}.v1"))[-1]
    assert events_pb2.HubCredentialNotice.FromString(row["value"]).out_of_subscription

    assert await wants(world, providers=[UCL]) == 2
    await carried_out(world)
    assert (await world.notices())[3:] == [("ISSUED", names[0], 4), ("WITHDRAWN", names[1], 5)]
    assert await served(world, names) == [UCL]
    await carried_out(world)
    assert len(await world.notices()) == 5


async def test_two_hubs_want_different_things(world: World) -> None:
    await wants(world, countries=["NO"])
    await register(world)
    await world.caller(OTHER_HUB).RegisterLearner(
        issuer_pb2.RegisterLearnerRequest(request_id=str(uuid4()), id_token=f"{pid_of(1)} other-portal")
    )
    await world.issue()
    assert (len(await world.notices()), len(await world.notices(OTHER_HUB))) == (0, 1)


async def test_what_is_issued_while_a_change_is_carried_out_is_told_once(world: World) -> None:
    learners = 4
    await wants(world, countries=["NO"])
    for number in range(learners):
        await register(world, number)

    async def change() -> None:
        await wants(world)
        await carried_out(world)

    calls = [world.issue(learner={"value": pid_of(number % learners)}, grade=str(number)) for number in range(24)]
    await asyncio.gather(*calls[:12], change(), *calls[12:])
    await carried_out(world)
    names = [name for _, name, _ in await world.notices()]
    assert len(names) == len(set(names)) == 24
    assert len(await served(world, names)) == 24


async def test_many_learners_are_several_pages(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.issuer.subscriptions.PAGE", 2)
    assert PAGE > 2
    for number in range(5):
        await world.issue(learner={"value": pid_of(number)})
        await register(world, number)
    await wants(world, countries=["SE"])
    assert [await world.issuer.subscription_changes.step() for _ in range(4)] == [2, 2, 1, 0]
    assert [what for what, _, _ in await world.notices()] == ["ISSUED"] * 5 + ["WITHDRAWN"] * 5


async def test_a_learner_without_a_key_holds_up_nobody(world: World) -> None:
    for number in range(2):
        await world.issue(learner={"value": pid_of(number)})
        await register(world, number)
    learner = await world.pool.fetchval("SELECT id FROM learner ORDER BY id LIMIT 1")
    await world.keys_pool.execute("DELETE FROM learner_key WHERE learner = $1", learner)
    await wants(world, countries=["SE"])
    await carried_out(world)
    assert (await standing(world)).waiting == 0
    assert [what for what, _, _ in await world.notices()] == ["ISSUED", "ISSUED", "WITHDRAWN"]


async def test_a_learner_whose_key_does_not_open_waits_and_holds_up_nobody(world: World) -> None:
    for number in range(3):
        await world.issue(learner={"value": pid_of(number)})
        await register(world, number)
    first = await world.pool.fetchval("SELECT id FROM learner ORDER BY id LIMIT 1")
    wrapped = await world.keys_pool.fetchval("SELECT wrapped FROM learner_key WHERE learner = $1", first)
    await world.keys_pool.execute("UPDATE learner_key SET wrapped = 'x' WHERE learner = $1", first)
    await wants(world, countries=["SE"])
    await carried_out(world)
    assert (await standing(world)).waiting == 1
    assert [what for what, _, _ in await world.notices()] == ["ISSUED"] * 3 + ["WITHDRAWN"] * 2
    await world.keys_pool.execute("UPDATE learner_key SET wrapped = $2 WHERE learner = $1", first, wrapped)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(world.issuer.subscription_changes.run())
        async with asyncio.timeout(60):
            while (await standing(world)).waiting:
                await asyncio.sleep(0.01)
        running.cancel()


async def test_bad_subscriptions_are_refused_and_change_nothing(world: World) -> None:
    for call, reason, field in (
        (wants(world, kinds=["no.mikro"]), "KIND_UNKNOWN", "subscription.kinds[0]"),
        (wants(world, providers=[UCL, "0192:971035855"]), "BAD_ORGANISATION", "subscription.providers[1]"),
    ):
        error = await refusal(call)
        assert (error.reason, error.field) == (reason, field)
    assert (await refusal(wants(world, countries=["Norge"]))).code == "INVALID_ARGUMENT"
    assert (await refusal(wants(world, hub=UCL))).reason == "HUB_UNKNOWN"
    asked = str(uuid4())
    assert await wants(world, asked, countries=["NO"]) == await wants(world, asked, countries=["NO"]) == 1
    assert (await refusal(wants(world, asked, countries=["SE"]))).reason == "REQUEST_ID_REUSED"
