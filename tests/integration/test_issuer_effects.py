"""What a withdrawal touches: counted before it is made, told when it was, and revoked when two officers order it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from services.issuer import revocation as revocation_module
from tests.integration.issuer_harness import KLIMA, World, make_world, reconciliation, refusal
from tests.unit.accreditation_samples import DAI, NOKUT, SUSPENDED, UCL, WITHDRAWN, scope, uuid
from vitne.accreditation import timestamp
from vitne.clock import ManualClock
from vitne.dev.postgres import EmbeddedPostgres
from vitne.messaging import topics
from vitne_api.events.v1 import events_pb2
from vitne_api.issuer.v1 import issuer_pb2 as issuer
from vitne_api.registry.v1 import facts_pb2

MINUTE = timedelta(minutes=1)
ACCREDITATION = uuid(0xA001)
SCOPE = scope("dk.micro_credential", levels=[("dk.nqf", "5")], credit_unit="ects", max_points="10")


@pytest.fixture
async def world(postgres: EmbeddedPostgres, tmp_path: Path, clock: ManualClock) -> AsyncIterator[World]:
    async with make_world(postgres, tmp_path, clock, registry_staleness_seconds=600) as made:
        yield made


def recorded(world: World, fact: facts_pb2.Fact) -> facts_pb2.Fact:
    """The registry records it now, and the issuer learns it."""
    fact.recorded_at.CopyFrom(timestamp(world.clock.now()))
    world.learn(fact)
    return fact


def withdrawn(world: World, effective_from: datetime, revision: int = 2) -> facts_pb2.Fact:
    said = world.chronicle.accredit(
        UCL, "dk.institution", SCOPE, effective_from=effective_from, revision=revision, state=WITHDRAWN
    )
    return recorded(world, said)


def ordered(world: World, accreditation_revision: int = 2, revision: int = 1) -> facts_pb2.Fact:
    """What two officers of the authority decided in the registry."""
    step = facts_pb2.CaseStep(
        id=ACCREDITATION,
        revision=revision,
        provider=UCL,
        authority=NOKUT,
        kind=facts_pb2.CASE_STEP_KIND_REVOCATION_ORDERED,
        draft=facts_pb2.Accreditation(id=ACCREDITATION, revision=accreditation_revision),
    )
    return recorded(world, world.chronicle.record(UCL, actor=NOKUT, officer="two", case_step=step))


async def preview(world: World, caller: str = NOKUT, **values: Any) -> issuer.PreviewEffectsResponse:
    request = issuer.PreviewEffectsRequest(**{"accreditation_id": ACCREDITATION, "state": WITHDRAWN, **values})
    answer: issuer.PreviewEffectsResponse = await world.caller(caller).PreviewEffects(request)
    return answer


async def revoke(
    world: World, order: str, caller: str = NOKUT
) -> tuple[list[issuer.RevocationResult], issuer.RevocationSummary]:
    request = issuer.RevokeFlaggedRequest(request_id=order, accreditation_id=ACCREDITATION)
    answers = [answer async for answer in world.caller(caller).RevokeFlagged(request)]
    return [answer.result for answer in answers[:-1]], answers[-1].summary


async def told(world: World) -> list[tuple[int, int]]:
    rows = await world.outbox(topics.ISSUER_EFFECTS)
    counted = [events_pb2.EffectsCounted.FromString(row["value"]) for row in rows]
    return [(each.accreditation_revision, each.credentials) for each in counted]


async def test_what_a_withdrawal_would_touch_is_what_it_touches_then(world: World, clock: ManualClock) -> None:
    before = await world.issue()
    clock.advance(10 * MINUTE)
    world.learn()
    cut = clock.now()
    issued = [await world.issue(), await world.issue()]
    clock.advance(MINUTE)
    answer = await preview(world, effective_from=timestamp(cut))
    assert (answer.credentials, answer.achievements_issued, answer.revoked) == (2, 1, 0)
    assert answer.accreditation_revision == 1
    assert (answer.first_issued_at, answer.last_issued_at) == (issued[0].issued_at, issued[-1].issued_at)
    effects = {effect.achievement_id: effect for effect in answer.achievements}
    assert effects[KLIMA].credentials == 2
    assert effects[KLIMA].no_longer_issuable
    assert f"withdrawing this backwards to {cut:%Y-%m-%d} affects 2 credentials of 1 achievement;" in answer.summary
    # From now on nothing that was issued is touched, but what can no longer be issued is told all the same.
    onwards = await preview(world, state=SUSPENDED)
    assert (onwards.credentials, onwards.achievements_lost) == (0, answer.achievements_lost)
    assert (await preview(world, state=facts_pb2.ACCREDITATION_STATE_GRANTED)).achievements_lost == 0
    # Nothing was changed by asking, and nothing is told before it is so.
    await world.issuer.effects.tell()
    assert await told(world) == []
    withdrawn(world, cut)
    settled = await world.issuer.effects.tell()
    assert await told(world) == [(2, 2)]
    await world.issuer.effects.tell(settled)
    assert await told(world) == [(2, 2)], "told once"
    withdrawn(world, before.issued_at.ToDatetime(cut.tzinfo), revision=3)
    await world.issuer.effects.tell(settled)
    assert await told(world) == [(2, 2), (3, 3)]


async def test_after_a_restore_what_is_told_has_revisions_that_nobody_has_seen(
    world: World, clock: ManualClock
) -> None:
    await world.issue()
    clock.advance(MINUTE)
    world.learn()
    withdrawn(world, clock.now() - 2 * MINUTE)
    await world.issuer.effects.tell()
    topic = await world.messages(topics.ISSUER_EFFECTS)
    assert [message.revision for message in topic] == [1]
    # The database as it was before it told: whoever reads the topic has the number under revision 1.
    await world.pool.execute("DELETE FROM effect; DELETE FROM outbox; DELETE FROM aggregate_revision")
    done = await reconciliation(world).run([], {}, topic)
    assert done.revisions == 1
    await world.issuer.effects.tell()
    assert [row["revision"] for row in await world.outbox(topics.ISSUER_EFFECTS)] == [2]


async def test_what_nobody_may_ask_or_decide(world: World) -> None:
    early = timestamp(datetime(2020, 1, 1, tzinfo=UTC))
    cases: list[tuple[dict[str, Any], str, str]] = [
        ({"caller": DAI}, "FOREIGN_ACCREDITATION", "accreditation_id"),
        ({"accreditation_id": uuid(0xDEAD)}, "ACCREDITATION_UNKNOWN", "accreditation_id"),
        ({"state": facts_pb2.ACCREDITATION_STATE_LAPSED}, "STATE_NOT_DECIDED", "state"),
        ({"effective_from": early}, "DATES_CONTRADICT", "effective_from"),
        ({"effective_from": early, "state": SUSPENDED}, "EFFECTIVE_BACKWARDS", "effective_from"),
    ]
    for changes, reason, field in cases:
        error = await refusal(preview(world, **changes))
        assert (error.reason, error.field) == (reason, field)
        assert error.rule
        assert error.remedy


async def test_an_order_is_carried_out_once_however_often_it_is_resumed(
    world: World, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(revocation_module, "AT_ONCE", 2)  # three credentials are two pages
    await world.issue()
    clock.advance(MINUTE)
    world.learn()
    cut = clock.now()
    issued = [await world.issue() for _ in range(3)]
    clock.advance(MINUTE)
    fact = withdrawn(world, cut)
    assert (await refusal(revoke(world, fact.id))).reason == "REVOCATION_NOT_ORDERED"
    order = ordered(world)
    assert (await refusal(revoke(world, uuid(1)))).reason == "ORDER_CONTRADICTS"
    assert (await refusal(revoke(world, order.id, DAI))).reason == "FOREIGN_ACCREDITATION"
    world.ledger.down = True
    results, summary = await revoke(world, order.id)
    assert {result.state for result in results} == {issuer.REVOCATION_STATE_UNFINISHED}
    assert summary.unfinished == 3
    world.ledger.down = False
    results, summary = await revoke(world, order.id)
    assert [result.credential_id for result in results] == [one.id for one in issued]
    assert [(result.done, result.total) for result in results] == [(1, 3), (2, 3), (3, 3)]
    assert {result.state for result in results} == {issuer.REVOCATION_STATE_REVOKED}
    assert summary.revoked == 3
    asked = {change.request_id for change in world.ledger.changes}
    assert {change.on_behalf_of for change in world.ledger.changes} == {NOKUT}
    assert len(asked) == 3
    # Resumed, it asks the ledger under the same ids, which answers what it answered first.
    assert (await revoke(world, order.id))[1] == summary
    assert len(world.ledger.changes) == 3
    # An order stands for the withdrawal that it was given on, and no further one.
    withdrawn(world, cut - MINUTE, revision=3)
    assert (await refusal(revoke(world, order.id))).reason == "REVOCATION_NOT_ORDERED"
