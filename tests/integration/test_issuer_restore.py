"""Registrations after a restore of the issuer: who had left stays away, and what the others rest on is shown anew."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from tests.integration.issuer_harness import HUB, World, make_world, pid_of, reconciliation
from tests.integration.test_issuer_hubs import withdraw
from tests.integration.test_issuer_legal_grounds import by_own_act, end, grant, register, seen_by
from tests.integration.test_issuer_subscriptions import NORWEGIAN, carried_out, wants
from vitne.clock import ManualClock
from vitne.dev.postgres import EmbeddedPostgres
from vitne.identifiers import OrganisationId
from vitne.messaging.topics import hub_topic

TOPIC = hub_topic(OrganisationId.parse(HUB))


@pytest.fixture(scope="module")
async def shared(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    clock = ManualClock(datetime(2026, 11, 21, 10, tzinfo=UTC))
    async with make_world(postgres, tmp_path_factory.mktemp("issuer"), clock) as made:
        yield made


@pytest.fixture
async def world(shared: World) -> World:
    """Nobody is registered, the hub wants everything, and there are places in stock, which a restore gives up."""
    await forget_registrations(shared)
    await shared.pool.execute("DELETE FROM subscription")
    await shared.pool.execute("DELETE FROM restore")
    await shared.issuer.leases.top_up("DK")
    return shared


async def live(world: World) -> int:
    return int(await world.pool.fetchval("SELECT count(*) FROM registration WHERE withdrawn_at IS NULL"))


async def forget_registrations(world: World) -> None:
    """The database as it was before anybody registered."""
    await world.pool.execute(
        "DELETE FROM hub_credential; DELETE FROM registration; DELETE FROM outbox WHERE topic LIKE 'vitne.hub.%';"
        "DELETE FROM aggregate_revision WHERE aggregate LIKE 'hub:%'"
    )


async def test_who_had_left_without_a_word_to_the_hub_is_not_registered_again(world: World) -> None:
    await world.issue(learner={"value": pid_of(1)})
    pseudonym = (await by_own_act(world, 1)).pseudonym
    await wants(world, kinds=[NORWEGIAN])
    await carried_out(world)
    await withdraw(world, pseudonym)
    # Releases of before told nothing of the end of a learner who had nothing that the hub wanted.
    await world.pool.execute(
        "DELETE FROM outbox WHERE topic = $1 AND revision = (SELECT max(revision) FROM outbox WHERE topic = $1)", TOPIC
    )
    await world.pool.execute("UPDATE aggregate_revision SET revision = revision - 1 WHERE aggregate LIKE 'hub:%'")
    assert [name for name, _, _ in await world.notices()] == ["ISSUED", "WITHDRAWN"]

    done = await reconciliation(world).run([], {HUB: await world.messages(TOPIC)})
    assert (done.registrations_taken_up, await live(world)) == (0, 0)
    assert (await world.notices())[-1] == ("REGISTRATION_ENDED", "", 3)


async def test_who_had_left_and_registered_since_is_registered(world: World) -> None:
    await withdraw(world, (await by_own_act(world, 2)).pseudonym)
    left = await world.messages(TOPIC)
    await by_own_act(world, 2)
    await world.issue(learner={"value": pid_of(2)})
    topic = await world.messages(TOPIC)
    assert len(topic) == len(left) + 1
    # Back to the instant before she came again; what she was issued is of before it, for the restore's sake.
    await world.pool.execute("DELETE FROM hub_credential; DELETE FROM registration WHERE withdrawn_at IS NULL")
    await world.pool.execute("DELETE FROM outbox WHERE topic = $1 AND revision > $2", TOPIC, len(left))
    await world.pool.execute(
        "UPDATE aggregate_revision SET revision = $1 WHERE aggregate LIKE 'hub:%'", left[-1].revision
    )
    done = await reconciliation(world).run([], {HUB: topic})
    assert (done.registrations_taken_up, await live(world)) == (1, 1)


async def test_a_registration_that_was_taken_up_rests_on_what_is_shown_next(world: World) -> None:
    ground = await grant(world)
    for number in (3, 4):
        await world.issue(learner={"value": pid_of(number)})
        await register(world, number, ground.id)
    topic = await world.messages(TOPIC)
    await forget_registrations(world)
    done = await reconciliation(world).run([], {HUB: topic})
    assert done.registrations_taken_up == 2

    again = await register(world, 3, ground.id)
    assert again.legal_ground == ground
    assert await register(world, 3, ground.id) == again
    assert not (await by_own_act(world, 4)).HasField("legal_ground")
    await end(world, ground.id)
    while await world.issuer.ground_endings.step():
        pass
    assert all(one.HasField("withdrawn_at") for one in await seen_by(world, 3)), "over with the ground"
    (own,) = (one for one in await seen_by(world, 4) if not one.HasField("withdrawn_at"))
    assert own.ground.partition(":")[0] == "own_act"
