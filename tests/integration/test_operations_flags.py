"""A fact that holds from before a decision and arrives after it: who is told of the credentials that it touches."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.integration.issuer_harness import (
    KLIMA,
    MINI,
    World,
    item,
    make_world,
    refusal,
)
from tests.unit.accreditation_samples import DAI, NOKUT, SUSPENDED, UCL, UIO, WITHDRAWN, scope, uuid
from vitne.accreditation import timestamp
from vitne.clock import ManualClock
from vitne.dev.postgres import EmbeddedPostgres
from vitne_api.credential.v1 import credential_pb2
from vitne_api.issuer.v1 import issuer_pb2 as issuer
from vitne_api.registry.v1 import facts_pb2

MINUTE = timedelta(minutes=1)
SCOPE = scope("dk.micro_credential", levels=[("dk.nqf", "5")], credit_unit="ects", max_points="10")


@pytest.fixture
async def world(postgres: EmbeddedPostgres, tmp_path: Path, clock: ManualClock) -> AsyncIterator[World]:
    async with make_world(postgres, tmp_path, clock, registry_staleness_seconds=600) as made:
        yield made


def recorded(world: World, fact: facts_pb2.Fact) -> facts_pb2.Fact:
    """The registry records it now; it has not reached the issuer."""
    fact.recorded_at.CopyFrom(timestamp(world.clock.now()))
    return fact


def withdrawn(world: World, effective_from: datetime, **changes: Any) -> facts_pb2.Fact:
    fields = {"revision": 2, "state": WITHDRAWN, **changes}
    return recorded(
        world, world.chronicle.accredit(UCL, "dk.institution", SCOPE, effective_from=effective_from, **fields)
    )


async def in_a_further_format(world: World, issued: issuer.IssuedCredential) -> None:
    asked = issuer.GetCredentialRequest(credential_id=issued.id, formats=[credential_pb2.FORMAT_OPEN_BADGE_JWT])
    answer = await world.caller(UCL).GetCredential(asked)
    assert len(answer.credential.artefacts) == 1, answer.credential.refused_formats


async def flags(world: World, provider: str = UCL) -> list[issuer.CredentialFlag]:
    return list((await world.caller(provider).ListFlags(issuer.ListFlagsRequest())).flags)


async def accreditation_flags(world: World, authority: str = NOKUT) -> list[issuer.CredentialFlag]:
    request = issuer.ListAccreditationFlagsRequest()
    return list((await world.caller(authority).ListAccreditationFlags(request)).flags)


async def test_what_was_decided_on_an_accreditation_that_had_been_withdrawn_is_flagged(
    world: World, clock: ManualClock
) -> None:
    before = await world.issue()
    clock.advance(10 * MINUTE)
    world.learn()
    cut = clock.now()
    touched = [await world.issue(), await world.issue()]
    await world.issue(UIO, achievement_id=MINI)
    assert await flags(world) == []
    clock.advance(MINUTE)
    fact = withdrawn(world, cut)
    world.learn(fact)
    found = await flags(world)
    assert [flag.credential_id for flag in found] == sorted(one.id for one in touched)
    assert before.id not in {flag.credential_id for flag in found}
    flag = found[0]
    assert (flag.cause, flag.subject_id, flag.subject_revision) == (issuer.FLAG_CAUSE_ACCREDITATION, uuid(0xA001), 2)
    assert (flag.state, flag.fact_id) == (WITHDRAWN, fact.id)
    assert flag.effective_from.ToDatetime() <= flag.issued_at.ToDatetime() < flag.recorded_at.ToDatetime()
    assert flag.decided_revision < flag.registry_revision == fact.registry_revision
    # The authority that said it sees the same; another authority, and another institution, nothing.
    assert await accreditation_flags(world) == found
    assert await accreditation_flags(world, DAI) == []
    assert await flags(world, UIO) == []
    assert (await world.issuer.flags.count())[issuer.FLAG_CAUSE_ACCREDITATION] == 2


async def test_what_an_issuer_that_lags_behind_issues_after_the_fact_is_flagged_too(
    world: World, clock: ManualClock
) -> None:
    fact = withdrawn(world, clock.now())
    clock.advance(9 * MINUTE)  # within the bound, it goes on with what it knows
    late = await world.issue()
    world.learn(fact)
    assert [flag.credential_id for flag in await flags(world)] == [late.id]


async def test_a_fact_that_was_known_at_the_decision_flags_nothing(world: World, clock: ManualClock) -> None:
    fact = withdrawn(world, clock.now() + MINUTE)
    world.learn(fact)
    await world.issue()
    clock.advance(2 * MINUTE)
    world.learn(withdrawn(world, clock.now(), revision=3, state=SUSPENDED))
    assert await flags(world) == []


async def test_several_facts_flag_a_credential_several_times_and_pages_hold_each_once(
    world: World, clock: ManualClock
) -> None:
    cut = clock.now()
    issued = [await world.issue(), *[one.credential for one in (await world.batch([item(2), item(3)]))[0].values()]]
    clock.advance(MINUTE)
    world.learn(withdrawn(world, cut, state=SUSPENDED), withdrawn(world, cut, revision=3))
    everything = await flags(world)
    assert len(everything) == 2 * len(issued)
    paged: list[issuer.CredentialFlag] = []
    token = ""
    while True:
        answer = await world.caller(UCL).ListFlags(issuer.ListFlagsRequest(page_size=2, page_token=token))
        assert len(answer.flags) <= 2
        paged += answer.flags
        token = answer.next_page_token
        if not token:
            break
    assert paged == everything
    assert (await world.issuer.flags.count())[issuer.FLAG_CAUSE_ACCREDITATION] == len(issued)
    error = await refusal(world.caller(UCL).ListFlags(issuer.ListFlagsRequest(page_token="AAAA")))
    assert error.reason == "BAD_PAGE_TOKEN"


async def test_a_key_whose_secret_was_out_flags_what_it_signed_from_then_on(world: World, clock: ManualClock) -> None:
    _earlier, with_a_badge_before, with_a_badge_since = [await world.issue() for _ in range(3)]
    await in_a_further_format(world, with_a_badge_before)
    clock.advance(MINUTE)
    world.learn()
    out = clock.now()
    touched = await world.issue()
    for each in (touched, with_a_badge_since):
        clock.advance(MINUTE / 60)
        await in_a_further_format(world, each)
    row = await world.pool.fetchrow("SELECT signing_key FROM credential WHERE id = $1::uuid", touched.id)
    key = world.projection.key(row["signing_key"])
    assert key is not None
    said = facts_pb2.Key()
    said.CopyFrom(key)
    said.revision = 2
    said.compromised_from.CopyFrom(timestamp(out))
    clock.advance(MINUTE)
    world.learn(recorded(world, world.chronicle.record(UCL, key=said)))
    # Each once, by the time at which the key signed, whenever the credential was issued.
    found = await flags(world)
    assert {(flag.cause, flag.subject_id) for flag in found} == {(issuer.FLAG_CAUSE_KEY, key.id)}
    assert [flag.credential_id for flag in found] == [with_a_badge_since.id, touched.id]
    assert (await world.issuer.flags.count())[issuer.FLAG_CAUSE_KEY] == len(found)
    assert await accreditation_flags(world) == [], "keys are not the authority's"


async def test_a_provider_that_had_closed_flags_what_it_issued_since(world: World, clock: ManualClock) -> None:
    closed = clock.now()
    touched = await world.issue(achievement_id=KLIMA)
    clock.advance(MINUTE)
    entry = world.projection.provider(UCL)
    assert entry is not None
    said = facts_pb2.Provider()
    said.CopyFrom(entry)
    said.revision = 2
    said.closed_at.CopyFrom(timestamp(closed))
    world.learn(recorded(world, world.chronicle.record(UCL, provider=said)))
    (flag,) = await flags(world)
    assert (flag.credential_id, flag.cause, flag.subject_id) == (touched.id, issuer.FLAG_CAUSE_PROVIDER, UCL)


async def test_that_nothing_is_flagged_is_not_said_by_an_issuer_that_has_not_heard_of_the_registry(
    world: World, clock: ManualClock
) -> None:
    clock.advance(11 * MINUTE)
    for call in (flags(world), accreditation_flags(world)):
        assert (await refusal(call)).reason == "REGISTRY_STALE"
