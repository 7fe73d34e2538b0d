"""What was counted towards a whole, and what documents recognition: stated at issuance, kept, and flagged."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from tests.integration.issuer_harness import KLIMA, MINI, World, issuance, make_world, pid_of, refusal, request
from tests.integration.test_issuer_hubs import handle
from tests.unit.accreditation_samples import DAI, UCL, UIO, achievement, scope, uuid
from vitne.accreditation import instant, timestamp
from vitne.canonical import digest_text
from vitne.clock import ManualClock
from vitne.credentials import sd_jwt_vc
from vitne.dev.postgres import EmbeddedPostgres
from vitne.messaging.event_types import STATUS_CHANGED
from vitne_api.credential.v1 import credential_pb2
from vitne_api.events.v1 import events_pb2
from vitne_api.issuer.v1 import issuer_pb2 as issuer

NOW = datetime(2026, 11, 21, 10, tzinfo=UTC)
REVOKED, SUSPENDED = credential_pb2.STATUS_REVOKED, credential_pb2.STATUS_SUSPENDED
CERTIFICATE = uuid(0xC100)
LEVEL = ("dk.nqf", "5")


@pytest.fixture(scope="module")
async def world(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    folder: Path = tmp_path_factory.mktemp("parts")
    async with make_world(postgres, folder, ManualClock(NOW)) as made:
        certificates = scope("dk.eksamensbevis", levels=[LEVEL], credit_unit="ects")
        documents = achievement(
            UCL,
            "dk.eksamensbevis",
            id=CERTIFICATE,
            level=LEVEL,
            workload=("ects", "0.5"),
            assessment=credential_pb2.ASSESSMENT_TYPE_PRIOR_LEARNING,
        )
        made.learn(
            made.chronicle.accredit(UCL, "dk.institution", certificates, accreditation=0xA009, authority=DAI),
            made.chronicle.publish(documents),
        )
        yield made


def part(credential: issuer.IssuedCredential, **changes: Any) -> issuer.CountedPart:
    fields: dict[str, Any] = {
        "digest": credential.digest,
        "status_list": credential.status_reference.list,
        "status_index": credential.status_reference.index,
        **changes,
    }
    return issuer.CountedPart(**fields)


def foreign(index: int) -> issuer.CountedPart:
    """A credential of another issuer, whose status the same ledger keeps."""
    return issuer.CountedPart(
        digest=digest_text(f"foreign {index}".encode()),
        status_list="https://status.vitne.example/2026/se-1",
        status_index=index,
    )


async def tell(
    world: World, counted: issuer.CountedPart, status: credential_pb2.Status.ValueType, at: datetime
) -> None:
    """The ledger's event arrives."""
    change = events_pb2.StatusChanged(
        list=counted.status_list,
        index=counted.status_index,
        status=status,
        effective=timestamp(at),
        recorded=timestamp(at),
    )
    await handle(world, STATUS_CHANGED, counted.status_list, change.SerializeToString())


async def part_flags(world: World, provider: str, **page: Any) -> list[issuer.CredentialFlag]:
    answer = await world.caller(provider).ListFlags(issuer.ListFlagsRequest(**page))
    return [flag for flag in answer.flags if flag.cause == issuer.FLAG_CAUSE_PART]


async def test_a_whole_is_flagged_when_a_part_is_revoked_and_never_touched(world: World) -> None:
    mine = await world.issue(UCL)
    counted = [part(mine), foreign(1), foreign(2)]
    whole = await world.issue(UIO, achievement_id=MINI, parts=counted)
    beside = await world.issue(UIO, achievement_id=MINI, parts=[foreign(3)])
    assert await part_flags(world, UIO) == []
    await tell(world, counted[1], SUSPENDED, NOW)
    assert await part_flags(world, UIO) == [], "what is suspended may count again"
    later = NOW + timedelta(hours=1)
    await tell(world, counted[2], REVOKED, NOW)
    await tell(world, counted[0], REVOKED, later)
    (flag,) = await part_flags(world, UIO)
    assert (flag.credential_id, flag.status) == (whole.id, credential_pb2.STATUS_VALID)
    assert [one.part for one in flag.revoked_parts] == [counted[2], counted[0]], "the first first"
    assert [instant(one.revoked_at) for one in flag.revoked_parts] == [NOW, later]
    assert instant(flag.recorded_at) == NOW
    assert instant(flag.answer_by) == NOW + timedelta(days=world.settings.part_grace_days)
    assert await part_flags(world, UCL) == [], "the part's issuer is not asked"
    assert (await world.issuer.flags.count())[issuer.FLAG_CAUSE_PART] == 1
    # The revocation came first: the whole is flagged from its issuance on.
    late = await world.issue(UIO, achievement_id=MINI, parts=[foreign(2)])
    assert [one.credential_id for one in await part_flags(world, UIO)] == sorted([whole.id, late.id])
    assert [one.credential_id for one in await part_flags(world, UIO, page_size=1)] == [whole.id]
    # The institution has decided.
    await tell(world, part(whole), REVOKED, later)
    assert [one.credential_id for one in await part_flags(world, UIO)] == [late.id]
    assert beside.id not in {one.credential_id for one in await part_flags(world, UIO)}


async def test_pages_of_flags_go_on_where_they_ended(world: World) -> None:
    counted = foreign(20)
    await tell(world, counted, REVOKED, NOW)
    wholes = [(await world.issue(UIO, achievement_id=MINI, parts=[counted])).id for _ in range(3)]
    found, token = [], ""
    while True:
        request_ = issuer.ListFlagsRequest(page_size=2, page_token=token)
        answer = await world.caller(UIO).ListFlags(request_)
        found += [flag.credential_id for flag in answer.flags]
        if not (token := answer.next_page_token):
            break
    assert len(found) == len(set(found))
    assert sorted(wholes) == [one for one in found if one in wholes]


async def test_an_institution_says_by_which_other_parts_the_whole_stands(world: World) -> None:
    gone, kept = foreign(50), foreign(51)
    whole = await world.issue(UIO, achievement_id=MINI, parts=[gone, kept])
    await tell(world, gone, REVOKED, NOW)
    assert whole.id in {flag.credential_id for flag in await part_flags(world, UIO)}
    stub, other = world.caller(UIO), foreign(52)
    anew = issuer.RestatePartsRequest(credential_id=whole.id, parts=[kept, other])
    for _ in range(2):
        await stub.RestateParts(anew)
    assert whole.id not in {flag.credential_id for flag in await part_flags(world, UIO)}
    await tell(world, other, REVOKED, NOW)
    (flag,) = [flag for flag in await part_flags(world, UIO) if flag.credential_id == whole.id]
    assert [one.part for one in flag.revoked_parts] == [other]
    # What was stated first is not forgotten, and can count again.
    assert await world.pool.fetchval("SELECT count(*) FROM counted_part WHERE whole = $1", UUID(whole.id)) == 3
    await stub.RestateParts(issuer.RestatePartsRequest(credential_id=whole.id, parts=[gone]))
    (flag,) = [flag for flag in await part_flags(world, UIO) if flag.credential_id == whole.id]
    assert [one.part for one in flag.revoked_parts] == [gone]
    error = await refusal(world.caller(UCL).RestateParts(anew))
    assert error.reason == "CREDENTIAL_UNKNOWN", "it is another institution's"
    mine = await world.issue(UCL)
    await tell(world, part(mine), SUSPENDED, NOW)
    error = await refusal(stub.RestateParts(issuer.RestatePartsRequest(credential_id=whole.id, parts=[part(mine)])))
    assert (error.reason, error.field) == ("PART_NOT_VALID", "parts[0].digest")
    await tell(world, part(whole), REVOKED, NOW)
    assert (await refusal(stub.RestateParts(anew))).reason == "CREDENTIAL_REVOKED"


async def test_what_cannot_be_counted_is_refused_and_named(world: World) -> None:
    mine, gone = await world.issue(UCL), await world.issue(UCL)
    await tell(world, part(gone), REVOKED, NOW)
    for parts, reason, field in (
        ([part(mine), part(gone)], "PART_NOT_VALID", "issuance.parts[1].digest"),
        ([part(mine, digest=gone.digest)], "PART_CONTRADICTS", "issuance.parts[0].digest"),
        ([part(mine), part(mine)], "PART_REPEATED", "issuance.parts[1].digest"),
        ([part(mine), part(mine, status_index=99)], "PART_REPEATED", "issuance.parts[1].digest"),
    ):
        error = await refusal(world.issue(UIO, achievement_id=MINI, parts=parts))
        assert (error.reason, error.field) == (reason, field)
        assert error.rule
        assert error.remedy
    items = [
        issuer.BatchItem(item_id=name, issuance=issuance(achievement_id=MINI, parts=parts))
        for name, parts in (("good", [part(mine)]), ("bad", [part(gone)]))
    ]
    results, _ = await world.batch(items, provider=UIO)
    assert results["good"].WhichOneof("outcome") == "credential"
    assert results["bad"].state == issuer.ITEM_STATE_REFUSED


async def test_a_repeated_request_states_the_same_parts(world: World) -> None:
    first = request(achievement_id=MINI, parts=[foreign(30)])
    issued = await world.caller(UIO).Issue(first)
    assert (await world.caller(UIO).Issue(first)).credential.id == issued.credential.id
    other = request(first.request_id, achievement_id=MINI, parts=[foreign(31)])
    assert (await refusal(world.caller(UIO).Issue(other))).reason == "REQUEST_ID_REUSED"


async def test_parts_are_kept_in_clear_nowhere_and_go_with_their_learner(world: World) -> None:
    counted = foreign(40)
    whole = await world.issue(UIO, achievement_id=MINI, learner={"value": pid_of(4)}, parts=[counted])
    rows = await world.pool.fetch("SELECT * FROM counted_part WHERE whole = $1", UUID(whole.id))
    assert len(rows) == 1
    stored = b"".join(value for value in rows[0].values() if isinstance(value, bytes))
    for secret in (counted.digest, counted.status_list):
        assert secret.encode() not in stored
        assert secret not in whole.artefact
    learner = await world.pool.fetchval("SELECT learner FROM credential WHERE id = $1", UUID(whole.id))
    await world.issuer.erasures.erase(learner)
    assert await world.pool.fetchval("SELECT count(*) FROM counted_part WHERE whole = $1", UUID(whole.id)) == 0
    await tell(world, counted, REVOKED, NOW)
    assert whole.id not in {one.credential_id for one in await part_flags(world, UIO)}


# --- Recognition -----------------------------------------------------------------------------------


def act(**changes: Any) -> credential_pb2.Recognition:
    fields: dict[str, Any] = {
        "purpose": credential_pb2.RECOGNITION_PURPOSE_EXEMPTION,
        "methods": [credential_pb2.RECOGNITION_METHOD_INTERVIEW],
        "evidence": [digest_text(b"a reference")],
        "assessor": "Studienævnet",
        "achievement_id": KLIMA,
        "achievement_version": 1,
        **changes,
    }
    return credential_pb2.Recognition(**fields)


async def test_the_outcome_of_a_recognition_is_a_credential_that_says_so(world: World) -> None:
    stated = act(rule="dk.whatever.the.client.says")
    issued = await world.issue(UCL, achievement_id=CERTIFICATE, recognition=stated)
    said = sd_jwt_vc.parse(issued.artefact).credential.recognition
    assert said == act(rule="dk.professional.recognition")
    # What the client says of the rule does not count: the same request otherwise is the same.
    first = request(achievement_id=CERTIFICATE, recognition=stated)
    again = request(first.request_id, achievement_id=CERTIFICATE, recognition=act())
    assert (await world.caller(UCL).Issue(first)).credential.id == (await world.caller(UCL).Issue(again)).credential.id


async def test_a_recognition_that_nobody_could_rely_on_is_refused(world: World) -> None:
    for achievement_id, stated, reason, field in (
        (CERTIFICATE, None, "RECOGNITION_MISSING", "issuance.recognition"),
        (KLIMA, act(), "ASSESSMENT_CONTRADICTS", "issuance.recognition"),
        (CERTIFICATE, act(achievement_version=9), "UNKNOWN_ACHIEVEMENT", "issuance.recognition.achievement_id"),
        (CERTIFICATE, act(achievement_id=MINI), "NOT_RESPONSIBLE", "issuance.recognition.achievement_id"),
        (CERTIFICATE, act(outcomes=[3]), "UNKNOWN_OUTCOME", "issuance.recognition.outcomes"),
        (CERTIFICATE, act(assessor=" Studienævnet"), "BAD_ASSESSOR", "issuance.recognition.assessor"),
        (CERTIFICATE, act(evidence=["x"]), "BAD_DIGEST", "issuance.recognition.evidence[0]"),
    ):
        error = await refusal(world.issue(UCL, achievement_id=achievement_id, recognition=stated))
        assert (error.reason, error.field) == (reason, field)
        assert error.rule
        assert error.remedy
