"""Registering on a recorded legal ground: granted to a hub, shown to the learner, and over when the ground is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from tests.integration.issuer_harness import HUB, OTHER_HUB, World, make_world, pid_of, refusal
from tests.integration.ledger_harness import eventually
from tests.unit.accreditation_samples import NOKUT, UCL
from vitne.clock import ManualClock
from vitne.dev.postgres import EmbeddedPostgres
from vitne_api.issuer.v1 import issuer_pb2, rights_pb2, subscription_pb2, subscription_pb2_grpc

OPERATOR = "0192:974760673"
CITATION = "forskrift om nasjonal vitnemålsdatabase § 4"


@pytest.fixture(scope="module")
async def shared(
    postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[World, ManualClock]]:
    clock = ManualClock(datetime(2026, 11, 21, 10, tzinfo=UTC))
    async with make_world(postgres, tmp_path_factory.mktemp("issuer"), clock) as made:
        yield made, clock


@pytest.fixture
def world(shared: tuple[World, ManualClock]) -> World:
    return shared[0]


def grounds(world: World, organisation: str = OPERATOR) -> Any:
    world.caller(organisation)
    return subscription_pb2_grpc.LegalGroundServiceStub(world.channels[organisation])


async def grant(world: World, hub: str = HUB, **changes: str) -> issuer_pb2.LegalGround:
    fields = {
        "request_id": str(uuid4()),
        "hub": hub,
        "citation": CITATION,
        "reference": "2026/1742",
        "decided_by": NOKUT,
        "decided_by_name": "NOKUT",
        **changes,
    }
    answer = await grounds(world).GrantLegalGround(subscription_pb2.GrantLegalGroundRequest(**fields))
    ground: issuer_pb2.LegalGround = answer.legal_ground
    return ground


async def end(world: World, ground_id: str) -> issuer_pb2.LegalGround:
    answer = await grounds(world).EndLegalGround(subscription_pb2.EndLegalGroundRequest(ground_id=ground_id))
    ended: issuer_pb2.LegalGround = answer.legal_ground
    return ended


async def register(world: World, number: int, ground_id: str, hub: str = HUB, **changes: str) -> Any:
    named = issuer_pb2.OnLegalGround(
        **{"ground_id": ground_id, "scheme": "no.national_id", "value": pid_of(number), **changes}
    )
    return await world.caller(hub).RegisterLearner(
        issuer_pb2.RegisterLearnerRequest(request_id=str(uuid4()), legal_ground=named)
    )


async def by_own_act(world: World, number: int) -> Any:
    return await world.caller(HUB).RegisterLearner(
        issuer_pb2.RegisterLearnerRequest(request_id=str(uuid4()), id_token=f"{pid_of(number)} portal")
    )


async def seen_by(world: World, number: int, token_of: str = "portal") -> list[rights_pb2.HeldRegistration]:
    request = rights_pb2.ExportLearnerRequest(id_token=f"{pid_of(number)} {token_of}")
    return [
        part.registration async for part in world.rights(HUB).ExportLearner(request) if part.HasField("registration")
    ]


async def test_a_learner_is_registered_once_and_sees_on_what_ground_and_who_decided(world: World) -> None:
    issued = await world.issue(learner={"value": pid_of(1)})
    ground = await grant(world)
    answer = await register(world, 1, ground.id)
    assert answer.legal_ground == ground
    assert (ground.citation, ground.reference, ground.decided_by_name) == (CITATION, "2026/1742", "NOKUT")
    assert await register(world, 1, ground.id) == answer
    (_, handle, _) = next(one for one in await world.notices() if one[0] == "ISSUED")
    fetched = await world.caller(HUB).FetchCredentials(issuer_pb2.FetchCredentialsRequest(handles=[handle]))
    assert fetched.credentials[0].credential.id == issued.id
    (held,) = await seen_by(world, 1)
    assert (held.ground, held.legal_ground, held.pseudonym) == ("legal_ground", ground, answer.pseudonym)
    granted = await world.subscriptions(HUB).GetSubscription(subscription_pb2.GetSubscriptionRequest())
    assert ground in granted.legal_grounds


async def test_nothing_is_left_that_says_whom_a_request_was_about(world: World) -> None:
    ground = await grant(world)
    await register(world, 2, ground.id)
    for table in ("request", "registration", "legal_ground", "outbox"):
        for row in await world.pool.fetch(f'SELECT to_jsonb(t)::text FROM "{table}" t'):
            assert pid_of(2) not in row[0], table
    methods = {row["method"] for row in await world.pool.fetch("SELECT DISTINCT method FROM request")}
    assert not any(method.endswith("/RegisterLearner") for method in methods), "nor a hash of it"


async def test_without_a_ground_that_holds_nobody_is_registered(world: World) -> None:
    ground, others = await grant(world), await grant(world, OTHER_HUB)
    over = await grant(world)
    assert (await end(world, over.id)).HasField("ended_at")
    before = await world.pool.fetchval("SELECT count(*) FROM learner")
    for refused in (register(world, 3, uuid) for uuid in (others.id, over.id, str(uuid4()))):
        error = await refusal(refused)
        assert (error.code, error.reason, error.field) == (
            "PERMISSION_DENIED",
            "LEGAL_GROUND_UNKNOWN",
            "legal_ground.ground_id",
        )
    assert (await refusal(register(world, 3, ground.id, UCL))).reason == "HUB_UNKNOWN"
    bad = await refusal(register(world, 3, ground.id, value="12345678901"))
    assert (bad.reason, bad.field) == ("BAD_LEARNER_ID", "legal_ground.value")
    assert "12345678901" not in str(bad)
    local = await refusal(register(world, 3, ground.id, scheme="provider.local_id", value="elev 7"))
    assert (local.reason, local.field) == ("UNKNOWN_LEARNER_SCHEME", "legal_ground.scheme")
    assert await world.pool.fetchval("SELECT count(*) FROM learner") == before


@pytest.mark.parametrize("both", [True, False])
async def test_a_registration_has_one_ground(world: World, both: bool) -> None:
    named = issuer_pb2.OnLegalGround(ground_id=str(uuid4()), scheme="no.national_id", value=pid_of(4))
    request = issuer_pb2.RegisterLearnerRequest(
        request_id=str(uuid4()), id_token="token" if both else "", legal_ground=named if both else None
    )
    assert (await refusal(world.caller(HUB).RegisterLearner(request))).reason == "ONE_GROUND"


async def test_with_the_ground_ends_what_rests_on_it_and_not_her_own_act(world: World) -> None:
    ground = await grant(world)
    rests, own = [await register(world, number, ground.id) for number in (5, 6)]
    again = await by_own_act(world, 6)
    assert (again.pseudonym, again.HasField("legal_ground")) == (own.pseudonym, False)
    assert not (await register(world, 6, ground.id)).HasField("legal_ground"), "her own act stays"
    first = await end(world, ground.id)
    assert await end(world, ground.id) == first
    while await world.issuer.ground_endings.step():
        pass
    rows = await world.outbox(f"vitne.hub.{HUB.replace(':', '-')}.v1")
    assert [row["key"] for row in rows if row["key"] in {rests.pseudonym, own.pseudonym}] == [rests.pseudonym]
    (held,) = await seen_by(world, 5)
    assert held.HasField("withdrawn_at")
    *_, still = await seen_by(world, 6)
    assert (still.ground.partition(":")[0], still.HasField("withdrawn_at")) == ("own_act", False)


async def test_registered_again_on_another_ground_she_stays_when_the_first_one_ends(world: World) -> None:
    first, second = await grant(world), await grant(world)
    before = await register(world, 7, first.id)
    answer = await register(world, 7, second.id)
    assert (answer.pseudonym, answer.legal_ground) == (before.pseudonym, second)
    assert await register(world, 7, second.id) == answer
    await end(world, first.id)
    while await world.issuer.ground_endings.step():
        pass
    (held,) = (one for one in await seen_by(world, 7) if not one.HasField("withdrawn_at"))
    assert held.legal_ground == second


async def test_a_withdrawal_that_met_her_own_registering_ends_what_came_of_it(world: World) -> None:
    ground = await grant(world)
    pseudonym = (await register(world, 8, ground.id)).pseudonym

    async def waiting(calls: int) -> bool:
        found = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        return bool(await world.pool.fetchval(found) == calls)

    async with world.pool.acquire() as connection:
        held = connection.transaction()
        await held.start()
        await connection.execute(
            "SELECT FROM learner WHERE id = (SELECT learner FROM registration WHERE pseudonym = $1) FOR UPDATE",
            pseudonym,
        )
        registering = asyncio.create_task(by_own_act(world, 8))
        await eventually(lambda: waiting(1))
        request = issuer_pb2.WithdrawLearnerRequest(request_id=str(uuid4()), pseudonym=pseudonym)
        withdrawing = asyncio.ensure_future(world.caller(HUB).WithdrawLearner(request))
        await eventually(lambda: waiting(2))
        await held.commit()
        await asyncio.gather(registering, withdrawing)
    assert all(one.HasField("withdrawn_at") for one in await seen_by(world, 8))


async def test_grants_are_listed_and_repeated_requests_make_none(world: World) -> None:
    asked = str(uuid4())
    ground = await grant(world, OTHER_HUB, request_id=asked)
    assert await grant(world, OTHER_HUB, request_id=asked) == ground
    listed = await grounds(world).ListLegalGrounds(subscription_pb2.ListLegalGroundsRequest(hub=OTHER_HUB))
    assert [one.id for one in listed.legal_grounds].count(ground.id) == 1
    assert (await refusal(grant(world, UCL))).reason == "HUB_UNKNOWN"
    assert (await refusal(end(world, str(uuid4())))).reason == "LEGAL_GROUND_UNKNOWN"
    row = await world.pool.fetchrow("SELECT granted_by, granted_client FROM legal_ground")
    assert tuple(row) == (OPERATOR, "client")
