"""Issuing one credential: what is answered, stored and told; repeated, refused, interrupted."""

from __future__ import annotations

import asyncio
import secrets
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from jwcrypto.jwk import JWK
from sd_jwt.verifier import SDJWTVerifier

from services.issuer import leases
from services.issuer.admission import admit
from tests.integration.issuer_harness import (
    ATTEST,
    KLIMA,
    MINI,
    NANO,
    World,
    make_world,
    pid_of,
    public_jwk,
    refusal,
    request,
)
from tests.unit.accreditation_samples import PRIVATE, SUSPENDED, UCL, UIO, WITHDRAWN, scope
from vitne.accreditation import fact_digest
from vitne.canonical import b64url, digest_text, sha256
from vitne.clock import ManualClock
from vitne.credentials import sd_jwt_vc
from vitne.dev.postgres import EmbeddedPostgres
from vitne.errors import Aborted, AlreadyExists, FailedPrecondition, InvalidArgument, NotFound, Unavailable
from vitne.identifiers import OrganisationId
from vitne.merkle.leaves import Issued, parse_leaf
from vitne_api.credential.v1 import credential_pb2
from vitne_api.events.v1 import events_pb2
from vitne_api.issuer.v1 import issuer_pb2
from vitne_api.ledger.v1 import ledger_pb2
from vitne_api.registry.v1 import facts_pb2


@pytest.fixture
async def world(postgres: EmbeddedPostgres, tmp_path: Path, clock: ManualClock) -> AsyncIterator[World]:
    async with make_world(postgres, tmp_path, clock) as made:
        yield made


async def test_what_is_issued_verifies_by_others_and_says_what_it_rests_on(world: World) -> None:
    issued = await world.issue(grade="12", learner={"birth_date": "1980-01-02"})
    presented = sd_jwt_vc.parse(issued.artefact)
    key = public_jwk(world, presented.key_id)
    verified = SDJWTVerifier(issued.artefact, lambda _issuer, _header: JWK(**key), None, None).get_verified_payload()
    assert verified["given_name"] == "Kari"
    assert verified["grade"] == "12"
    assert verified["iss"] == f"https://vitne.example/issuers/{UCL}"
    assert verified["learner_identifier"] == {"scheme": "no.national_id", "value": pid_of(1)}
    assert verified["status"]["status_list"] == {
        "uri": issued.status_reference.list,
        "idx": issued.status_reference.index,
    }
    assert verified["decision"]["digest"] == issued.decision.digest == digest_text(issued.decision.record)
    assert verified["decision"]["record"]["accreditation"] == {
        "id": issued.decision.accreditation_id,
        "revision": issued.decision.accreditation_revision,
    }
    rested_on = world.projection.accreditation_fact(
        issued.decision.accreditation_id, issued.decision.accreditation_revision
    )
    assert rested_on is not None
    assert verified["accreditation"] == {
        "id": issued.decision.accreditation_id,
        "revision": issued.decision.accreditation_revision,
        "digest": b64url(fact_digest(rested_on)),
    }
    assert verified["decision"]["record"]["registry_revision"] == world.projection.revision
    assert issued.digest == b64url(sha256(issued.artefact.partition("~")[0].encode()))
    assert issued.status == credential_pb2.STATUS_VALID
    assert issued.issued_at.ToMilliseconds() == issued.decision.at.ToMilliseconds()


async def test_the_log_is_told_the_digest_and_nothing_else(world: World) -> None:
    issued = await world.issue()
    (row,) = await world.outbox("vitne.issuer.leaves.v1")
    assert (row["key"], row["revision"], row["type"]) == (issued.digest, 1, "vitne.log.leaf.v1")
    leaf = parse_leaf(events_pb2.LeafSubmitted.FromString(row["value"]).leaf)
    assert leaf == Issued(sha256(issued.artefact.partition("~")[0].encode()))


async def test_a_repeated_request_is_answered_with_the_first_answer_also_after_the_accreditation_is_gone(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = request()
    first = await world.caller(UCL).Issue(asked)
    world.learn(
        world.chronicle.accredit(
            UCL, "dk.institution", scope("dk.micro_credential"), revision=2, state=WITHDRAWN, effective_from=now(world)
        )
    )

    measured: list[str] = []

    class Duration:
        def record(self, _seconds: float, outcome: str) -> None:
            measured.append(outcome)

    monkeypatch.setattr("services.issuer.issuance.DECIDE_DURATION", Duration())
    assert await world.caller(UCL).Issue(asked) == first
    assert measured == [], "it is not decided anew"
    assert (await refusal(world.caller(UCL).Issue(request()))).reason == "ACCREDITATION_WITHDRAWN"
    assert len(measured) == 1


async def test_the_same_request_many_times_at_once_issues_one_credential(world: World) -> None:
    asked = request()
    answers = await asyncio.gather(*(world.caller(UCL).Issue(asked) for _ in range(12)))
    assert len({answer.SerializeToString(deterministic=True) for answer in answers}) == 1
    assert await world.pool.fetchval("SELECT count(*) FROM credential") == 1
    assert len(await world.outbox("vitne.issuer.leaves.v1")) == 1
    assert await world.taken() == 1


async def test_a_request_id_with_another_body_is_refused_and_is_another_institutions_own(world: World) -> None:
    asked = request()
    await world.caller(UCL).Issue(asked)
    error = await refusal(world.caller(UCL).Issue(request(asked.request_id, grade="B")))
    assert isinstance(error, AlreadyExists)
    assert (error.reason, error.field) == ("REQUEST_ID_REUSED", "request_id")
    assert await world.issue(UIO, request_id=asked.request_id, achievement_id=MINI)


async def test_one_learner_has_one_row_and_indexes_are_never_shared(world: World) -> None:
    issued = await asyncio.gather(*(world.issue(learner={"value": pid_of(number % 5)}) for number in range(20)))
    assert len({(one.status_reference.list, one.status_reference.index) for one in issued}) == 20
    assert len({one.id for one in issued}) == 20
    assert await world.pool.fetchval("SELECT count(*) FROM learner") == 5
    assert await world.keys_pool.fetchval("SELECT count(*) FROM learner_key") == 5


async def test_a_local_id_of_one_provider_is_another_learner_at_another(world: World) -> None:
    local = {"scheme": "provider.local_id", "value": "1042"}
    issued = await world.issue(learner=local)
    await world.issue(UIO, learner=local, achievement_id=MINI)
    assert await world.pool.fetchval("SELECT count(DISTINCT learner) FROM credential") == 2
    learner = sd_jwt_vc.parse(issued.artefact).credential.learner
    assert learner.id is not None
    assert (learner.id.scheme, learner.id.value) == ("provider.local_id", "1042")


async def test_refusals_say_reason_rule_remedy_and_basis_and_change_nothing(world: World) -> None:
    error = await refusal(world.issue(achievement_id=NANO))
    assert isinstance(error, FailedPrecondition)
    assert error.reason == "SIZE_BELOW_MINIMUM"
    assert error.rule
    assert error.remedy
    assert error.metadata["basis"]
    error = await refusal(world.issue(PRIVATE, achievement_id=KLIMA))
    assert error.reason == "FOREIGN_ACHIEVEMENT"
    error = await refusal(world.issue(achievement_id=str(uuid4())))
    assert error.reason == "NO_ACHIEVEMENT"
    for table in ("credential", "learner", "outbox"):
        assert await world.pool.fetchval(f"SELECT count(*) FROM {table}") == 0
    assert await world.keys_pool.fetchval("SELECT count(*) FROM learner_key") == 0
    assert await world.taken() == 0


async def test_a_repeated_request_is_answered_with_the_present_status(world: World) -> None:
    asked = request()
    first = (await world.caller(UCL).Issue(asked)).credential
    await world.pool.execute("UPDATE credential SET status = $1", credential_pb2.STATUS_REVOKED)
    again = (await world.caller(UCL).Issue(asked)).credential
    assert again.status == credential_pb2.STATUS_REVOKED
    again.status = first.status
    assert again == first


async def test_whatever_the_signatures_the_answer_is_what_is_stored(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Signer:
        def sign(self, _: bytes) -> bytes:
            return secrets.token_bytes(64)  # never twice the same, as most signers are

    for road in (world.issuer.unary, world.issuer.bulk):
        monkeypatch.setattr(road._signing, "signer", lambda _: Signer())
    one = request()
    order = admit(one.issuance, provider=OrganisationId.parse(UCL), request_id=UUID(one.request_id), now=now(world))
    issued = await asyncio.gather(
        *(road.issue(order) for road in (world.issuer.unary, world.issuer.bulk) for _ in range(6))
    )
    (row,) = await world.pool.fetch("SELECT signature, digest FROM credential")
    (leaf,) = await world.outbox("vitne.issuer.leaves.v1")
    assert {(stored.credential.signature, stored.credential.digest) for stored in issued} == {tuple(row)}
    assert leaf["key"] == b64url(row["digest"])


async def abandoned(world: World, monkeypatch: pytest.MonkeyPatch, count: int) -> list[UUID]:
    """Credentials that were stored, and that nobody finishes."""
    with monkeypatch.context() as patched:
        patched.setattr(world.issuer.unary, "_complete", crash)
        for number in range(count):
            await refusal(world.issue(learner={"value": pid_of(number)}))
    return [row["id"] for row in await world.pool.fetch("SELECT id FROM credential ORDER BY id")]


async def pending(world: World) -> list[UUID]:
    rows = await world.pool.fetch("SELECT id FROM credential WHERE signature IS NULL ORDER BY id")
    return [row["id"] for row in rows]


async def test_one_that_cant_be_completed_keeps_no_other_and_is_tried_less_and_less_often(
    world: World, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    sealed, keyless, unforeseen, *_ = ids = await abandoned(world, monkeypatch, 6)
    await world.pool.execute("UPDATE credential SET prepared = 'x' WHERE id = $1", sealed)
    learner = await world.pool.fetchval("SELECT learner FROM credential WHERE id = $1", keyless)
    await world.keys_pool.execute("UPDATE learner_key SET wrapped = 'x' WHERE learner = $1", learner)
    complete, tried = world.issuer.unary._complete, Counter[UUID]()

    async def now_and_then(stored: Any) -> Any:
        tried[stored.credential.id] += 1
        if stored.credential.id == unforeseen:
            raise RuntimeError("injected")
        return await complete(stored)

    monkeypatch.setattr(world.issuer.unary, "_complete", now_and_then)
    clock.advance(timedelta(seconds=11))
    assert await world.issuer.unary.complete_abandoned() == 3
    assert await pending(world) == sorted([sealed, keyless, unforeseen])
    for _ in range(1000):  # an hour and more, as `run` looks
        clock.advance(timedelta(seconds=5))
        assert await world.issuer.unary.complete_abandoned() == 0
    assert 5 < tried[unforeseen] < 15
    monkeypatch.setattr(world.issuer.unary, "_complete", complete)
    clock.advance(timedelta(hours=1))
    assert await world.issuer.unary.complete_abandoned() == 1
    assert len(ids) - len(await pending(world)) == 4


async def test_what_was_pending_when_its_learner_was_erased_is_given_up(
    world: World, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    erasing, erased = await abandoned(world, monkeypatch, 2)
    await world.keys_pool.execute("DELETE FROM learner_key")
    await world.pool.execute("DELETE FROM learner WHERE id = (SELECT learner FROM credential WHERE id = $1)", erased)
    clock.advance(timedelta(seconds=11))
    assert await world.issuer.unary.complete_abandoned() == 0
    rows = await world.pool.fetch("SELECT id, void, next_try > $1 AS later FROM credential ORDER BY id", clock.now())
    assert [tuple(row) for row in rows] == [(erasing, False, True), (erased, True, None)]


async def test_groups_that_each_empty_a_block_dont_wait_for_each_other(
    postgres: EmbeddedPostgres, tmp_path: Path, clock: ManualClock
) -> None:
    async with (
        make_world(postgres, tmp_path, clock, lease_block=3, lease_low_water=6) as world,
        world.pool.acquire() as first,
        world.pool.acquire() as second,
    ):
        for connection in (first, second):
            await connection.execute("BEGIN")
            assert len(await leases.take(connection, "DK", 2)) == 2
        async with asyncio.timeout(60):
            for connection in (first, second):
                with pytest.raises(Aborted):
                    await leases.take(connection, "DK", 2)
            await first.execute("ROLLBACK")
            assert len(await leases.take(second, "DK", 2)) == 2
            assert len(await leases.take(second, "DK", 9)) == 1  # the last: fewer than asked for
            await second.execute("ROLLBACK")


async def test_many_groups_on_small_blocks_lose_no_index_and_refuse_nobody(
    postgres: EmbeddedPostgres, tmp_path: Path, clock: ManualClock
) -> None:
    async with make_world(postgres, tmp_path, clock, lease_block=7, lease_low_water=150) as world:
        orders = [
            admit(one.issuance, provider=OrganisationId.parse(UCL), request_id=UUID(one.request_id), now=now(world))
            for one in (request(learner={"value": pid_of(number)}) for number in range(120))
        ]
        roads = (world.issuer.unary, world.issuer.bulk)
        issued = await asyncio.gather(*(roads[number % 2].issue(order) for number, order in enumerate(orders)))
        assert len({stored.credential.status_index for stored in issued}) == 120
        assert await world.pool.fetchval("SELECT count(*) FROM index_lease WHERE taken = size") == 0


async def test_what_the_ledger_refuses_one_country_stops_no_other(
    postgres: EmbeddedPostgres, tmp_path: Path, clock: ManualClock
) -> None:
    async with make_world(postgres, tmp_path, clock, lease_block=3, lease_low_water=1) as world:
        await world.pool.execute("DELETE FROM index_lease")
        world.ledger.refused.add("DK")
        keeping = asyncio.create_task(world.issuer.leases.run())
        try:
            async with asyncio.timeout(10):
                while not await world.pool.fetchval("SELECT count(*) FROM index_lease WHERE list IS NOT NULL"):
                    await asyncio.sleep(0.01)
            (row,) = await world.pool.fetch("SELECT country FROM index_lease WHERE list IS NOT NULL")
            assert row["country"] == "NO"
        finally:
            keeping.cancel()
            await asyncio.wait([keeping])


async def test_an_institution_needs_a_key_that_is_its_own_in_custody_and_registry(world: World) -> None:
    error = await refusal(world.issue(PRIVATE, achievement_id=ATTEST))
    assert error.reason == "NO_SIGNING_KEY"
    # The private provider enters UCL's public key as its own: UCL's private key must not sign for it.
    (key,) = world.projection.keys_of(UCL, facts_pb2.KEY_USE_CREDENTIAL)
    world.learn(world.register_key(PRIVATE, key.id, key.public_jwk, revision=2))
    assert (await refusal(world.issue(PRIVATE, achievement_id=ATTEST))).reason == "NO_SIGNING_KEY"
    created = await world.caller(PRIVATE).CreateSigningKey(issuer_pb2.CreateSigningKeyRequest(request_id=str(uuid4())))
    assert (await refusal(world.issue(PRIVATE, achievement_id=ATTEST))).reason == "NO_SIGNING_KEY"
    world.learn(world.register_key(PRIVATE, created.key_id, created.public_jwk))
    issued = await world.issue(PRIVATE, achievement_id=ATTEST)
    assert sd_jwt_vc.parse(issued.artefact).key_id == created.key_id


async def test_a_signing_key_is_made_once_for_a_request(world: World) -> None:
    asked = issuer_pb2.CreateSigningKeyRequest(request_id=str(uuid4()))
    first = await world.caller(UCL).CreateSigningKey(asked)
    assert await world.caller(UCL).CreateSigningKey(asked) == first
    assert (await world.caller(UIO).CreateSigningKey(asked)).key_id != first.key_id
    assert '"d"' not in first.public_jwk


@pytest.mark.parametrize(
    ("values", "reason", "field"),
    [
        ({"awarded_on": "2026-11-22"}, "DATE_IN_FUTURE", "issuance.awarded_on"),
        ({"expires_on": "2026-11-20"}, "DATES_CONTRADICT", "issuance.expires_on"),
        ({"learner": {"birth_date": "2026-11-21"}}, "DATES_CONTRADICT", "issuance.learner.birth_date"),
        ({"learner": {"value": "01010112345"}}, "BAD_LEARNER_ID", "issuance.learner.value"),
        ({"learner": {"scheme": "se.personnummer"}}, "UNKNOWN_LEARNER_SCHEME", "issuance.learner.scheme"),
        ({"learner": {"given_name": " Kari"}}, "BAD_NAME", "issuance.learner.given_name"),
        ({"holder_jwk": "{}"}, "BAD_JWK", "issuance.holder_jwk"),
        ({"retention": 0}, "FIELD_REQUIRED", "issuance.retention"),
    ],
)
async def test_bad_input_is_refused_by_field(world: World, values: dict[str, Any], reason: str, field: str) -> None:
    error = await refusal(world.issue(**values))
    assert isinstance(error, InvalidArgument)
    assert (error.reason, error.field) == (reason, field)
    assert await world.pool.fetchval("SELECT count(*) FROM credential") == 0


async def test_a_stale_registry_refuses_and_a_repeated_request_is_still_answered(
    world: World, clock: ManualClock
) -> None:
    asked = request()
    first = await world.caller(UCL).Issue(asked)
    clock.advance(timedelta(seconds=601))
    error = await refusal(world.issue())
    assert isinstance(error, Unavailable)
    assert error.reason == "REGISTRY_STALE"
    assert await world.caller(UCL).Issue(asked) == first
    world.learn(world.chronicle.provider(UIO, revision=2))
    assert await world.issue()


async def test_what_was_stored_and_not_finished_is_completed_by_repeating_the_request(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = request()
    with monkeypatch.context() as patched:
        patched.setattr(world.issuer.unary, "_complete", crash)
        assert (await refusal(world.caller(UCL).Issue(asked))).code == "INTERNAL"
    (row,) = await world.pool.fetch("SELECT * FROM credential")
    assert row["signature"] is None
    assert await world.outbox("vitne.issuer.leaves.v1") == []
    listed = await world.caller(UCL).ListCredentials(issuer_pb2.ListCredentialsRequest())
    assert list(listed.credentials) == []
    completed = (await world.caller(UCL).Issue(asked)).credential
    assert completed.id == str(row["id"])
    assert completed.status_reference.index == row["status_index"]
    assert len(await world.outbox("vitne.issuer.leaves.v1")) == 1


async def test_what_was_stored_and_not_finished_is_completed_in_the_background_by_any_replica(
    world: World, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = [request(learner={"value": pid_of(number)}) for number in range(7)]
    with monkeypatch.context() as patched:
        patched.setattr(world.issuer.unary, "_complete", crash)
        await asyncio.gather(*(refusal(world.caller(UCL).Issue(one)) for one in asked))
    assert await world.issuer.bulk.complete_abandoned() == 0  # too young: somebody may be at it
    clock.advance(timedelta(seconds=11))
    world.learn()
    completed = await asyncio.gather(*(road.complete_abandoned() for road in (world.issuer.unary, world.issuer.bulk)))
    assert all(0 <= count <= 7 for count in completed)
    assert sum(completed) >= 7
    assert await world.pool.fetchval("SELECT count(*) FROM credential WHERE signature IS NULL") == 0
    leaves = await world.outbox("vitne.issuer.leaves.v1")
    assert len(leaves) == 7
    answers = await asyncio.gather(*(world.caller(UCL).Issue(one) for one in asked))
    assert {answer.credential.digest for answer in answers} == {row["key"] for row in leaves}


async def crash(_: Any) -> Any:
    raise RuntimeError("injected between the two transactions")


async def test_an_index_is_given_once_also_when_the_group_fails(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    original = sd_jwt_vc.prepare

    def prepare(credential: Any, **values: Any) -> Any:
        if credential.grade == "poison":
            raise ValueError("injected")
        return original(credential, **values)

    monkeypatch.setattr(sd_jwt_vc, "prepare", prepare)
    outcomes = await asyncio.gather(
        *(
            world.issue(grade="poison" if number == 3 else "A", learner={"value": pid_of(number)})
            for number in range(8)
        ),
        return_exceptions=True,
    )
    issued = [one for one in outcomes if isinstance(one, issuer_pb2.IssuedCredential)]
    assert len(issued) == 7
    assert {one.status_reference.index for one in issued} == set(range(7))  # none lost, none twice
    # What was rolled back leaves no key behind.
    assert await world.pool.fetchval("SELECT count(*) FROM learner") == 7
    assert await world.keys_pool.fetchval("SELECT count(*) FROM learner_key") == 7


async def test_two_replicas_that_meet_on_new_learners_and_on_requests_agree(world: World) -> None:
    asked = [request(learner={"value": pid_of(number % 7)}, grade=str(number)) for number in range(60)]
    orders = [
        admit(one.issuance, provider=OrganisationId.parse(UCL), request_id=UUID(one.request_id), now=world.clock.now())
        for one in asked
    ]
    outcomes = await asyncio.gather(
        *(road.issue(order) for order in orders for road in (world.issuer.unary, world.issuer.bulk))
    )
    for mine, theirs in zip(outcomes[::2], outcomes[1::2], strict=True):
        assert mine.credential.id == theirs.credential.id
        assert mine.credential.message(mine.open()) == theirs.credential.message(theirs.open())
    assert await world.pool.fetchval("SELECT count(*) FROM credential") == 60
    assert await world.pool.fetchval("SELECT count(*) FROM learner") == 7
    assert await world.keys_pool.fetchval("SELECT count(*) FROM learner_key") == 7
    indexes = await world.pool.fetchval("SELECT count(DISTINCT status_index) FROM credential")
    assert indexes == await world.taken() == 60


async def test_while_the_key_store_is_away_all_are_told_at_once_and_nothing_is_stored(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await world.issue()

    async def away(*_: Any) -> Any:
        raise Unavailable("KEY_STORE_UNAVAILABLE", "the store of learners' keys does not answer")

    calls = [request(learner={"value": pid_of(number)}) for number in range(20)]
    with monkeypatch.context() as patched:
        for name in ("put", "get"):
            patched.setattr(world.issuer.keys, name, away)
        errors = await asyncio.gather(*(refusal(world.caller(UCL).Issue(one)) for one in calls))
        assert {error.reason for error in errors} == {"KEY_STORE_UNAVAILABLE"}
        listed = await world.caller(UCL).ListCredentials(issuer_pb2.ListCredentialsRequest())
        assert [one.id for one in listed.credentials] == [first.id]
    assert await world.taken() == 1
    assert len(await asyncio.gather(*(world.caller(UCL).Issue(one) for one in calls))) == 20


async def test_without_indexes_issuing_is_refused_and_goes_on_once_the_ledger_is_back(
    postgres: EmbeddedPostgres, tmp_path: Path, clock: ManualClock
) -> None:
    async with make_world(postgres, tmp_path, clock, lease_block=3, lease_low_water=1) as world:
        world.ledger.down = True
        for number in range(3):  # from what is stored
            await world.issue(learner={"value": pid_of(number)})
        with pytest.raises(Unavailable):
            await world.issuer.leases.top_up("DK")
        asked = request()
        error = await refusal(world.caller(UCL).Issue(asked))
        assert isinstance(error, Unavailable)
        assert (error.reason, error.metadata["country"]) == ("STATUS_INDEXES_EXHAUSTED", "DK")
        stranger = await refusal(world.issue(learner={"value": pid_of(99)}))
        assert stranger.reason == "STATUS_INDEXES_EXHAUSTED"
        # Who got nothing is not kept, nor is their key.
        assert await world.pool.fetchval("SELECT count(*) FROM learner") == 3
        assert await world.keys_pool.fetchval("SELECT count(*) FROM learner_key") == 3
        assert await world.issue(UIO, achievement_id=MINI)  # Norway has its own
        world.ledger.down = False
        await world.issuer.leases.top_up("DK")
        assert (await world.caller(UCL).Issue(asked)).credential.status_reference.index == 3
        assert len(world.ledger.leases) == 3  # the request that failed was repeated, not made anew


async def test_a_lease_whose_answer_was_lost_is_asked_for_again_though_there_is_stock(world: World) -> None:
    """The ledger granted it; another replica had filled the stock by then."""
    lost = ledger_pb2.LeaseIndexesRequest(request_id=str(uuid4()), country="DK", count=7)
    granted = await world.ledger.LeaseIndexes(lost, None)
    await world.pool.execute(
        "INSERT INTO index_lease (request_id, country, requested_at, size) VALUES ($1, 'DK', $2, 7)",
        UUID(lost.request_id),
        world.clock.now(),
    )
    known = len(world.ledger.leases)
    await world.issuer.leases.top_up("DK")
    row = await world.pool.fetchrow("SELECT * FROM index_lease WHERE request_id = $1", UUID(lost.request_id))
    assert (row["list"], row["indexes"]) == (granted.list, list(granted.indexes))
    assert len(world.ledger.leases) == known  # repeated, not made anew
    await world.issuer.leases.top_up("DK")
    assert len(world.ledger.leases) == known


async def test_only_the_institutions_own_credentials_are_shown(world: World) -> None:
    mine = await world.issue()
    theirs = await world.issue(UIO, achievement_id=MINI)
    got = await world.caller(UCL).GetCredential(issuer_pb2.GetCredentialRequest(credential_id=mine.id))
    assert got.credential == mine
    for unknown in (theirs.id, str(uuid4())):
        error = await refusal(world.caller(UCL).GetCredential(issuer_pb2.GetCredentialRequest(credential_id=unknown)))
        assert isinstance(error, NotFound)
        assert error.reason == "CREDENTIAL_UNKNOWN"


async def test_lists_page_newest_first_without_what_they_say_of_the_learner(world: World, clock: ManualClock) -> None:
    ids = []
    for number in range(5):
        ids.append((await world.issue(learner={"value": pid_of(number)})).id)
        clock.advance(timedelta(milliseconds=5))
    await world.issue(UIO, achievement_id=MINI)
    seen, token = [], ""
    while True:
        page = await world.caller(UCL).ListCredentials(issuer_pb2.ListCredentialsRequest(page_size=2, page_token=token))
        assert all(not one.artefact and one.digest for one in page.credentials)
        seen += [one.id for one in page.credentials]
        token = page.next_page_token
        if not token:
            break
    assert seen == ids[::-1]
    for bad in ("x", "AAAA", "!" * 22):
        error = await refusal(world.caller(UCL).ListCredentials(issuer_pb2.ListCredentialsRequest(page_token=bad)))
        assert error.reason == "BAD_PAGE_TOKEN"


async def test_a_suspended_accreditation_stops_issuing(world: World) -> None:
    world.learn(
        world.chronicle.accredit(
            UCL, "dk.institution", scope("dk.micro_credential"), revision=2, state=SUSPENDED, effective_from=now(world)
        )
    )
    assert (await refusal(world.issue())).reason == "ACCREDITATION_SUSPENDED"


async def test_a_credential_of_an_erased_learner_is_gone(world: World) -> None:
    issued = await world.issue()
    asked = issuer_pb2.GetCredentialRequest(credential_id=issued.id)
    await world.keys_pool.execute("DELETE FROM learner_key")
    assert (await refusal(world.caller(UCL).GetCredential(asked))).reason == "CREDENTIAL_ERASED"


def now(world: World) -> Any:
    return world.clock.now()
