"""Bad input gets a stable reason, the field, the rule and a remedy, and changes nothing."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import asyncpg
import grpc
import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey

from vitne.accreditation import timestamp
from vitne.dev.actors import Organisation
from vitne.dev.cases import synthetic_learners
from vitne.dev.demo import Demo, new_id
from vitne.dev.stack import DATABASES, Stack
from vitne.errors import VitneError
from vitne.runtime.status import error_from_rpc, error_from_status
from vitne_api.credential.v1 import credential_pb2
from vitne_api.issuer.v1 import issuer_pb2
from vitne_api.ledger.v1 import ledger_pb2
from vitne_api.registry.v1 import registry_pb2
from vitne_api.verifier.v1 import verifier_pb2

UNKNOWN = "01930f6e-7a00-7000-8000-0000000000ff"


@pytest.fixture
def uio(world: Demo) -> Organisation:
    """A university with everything in order."""
    return world.actors.organisation(world.cases.providers["uio"].message.id)


@pytest.fixture
def issuance(world: Demo) -> issuer_pb2.Issuance:
    """What the university may issue."""
    return world.issuance(world.stranger, world.cases.achievements["minikvalifikasjon"])


#: Tables that move by themselves: heartbeats, refreshed lists, witnessed checkpoints, signed accreditations, how far
#: consumers have read.
MOVING = {
    "accreditation_credential",
    "aggregate_revision",
    "consumer_offset",
    "consumer_seen",
    "list_version",
    "log",
    "outbox",
    "queued_leaf",
    "registry_head",
    "shown_checkpoint",
    "tile",
    "witnessed_checkpoint",
}
#: What of a table counts where it isn't every row: the log tells, once a minute, of a list that is refreshed.
COUNTS = {"leaf": "SELECT record FROM leaf WHERE convert_from(record, 'UTF8')::jsonb ->> 'type' <> 'list'"}


@pytest.fixture(scope="module")
def at_rest() -> dict[str, str]:
    """What the databases held when a test had changed nothing."""
    return {}


@pytest.fixture(autouse=True)
async def nothing_changes(stack: Stack, at_rest: dict[str, str], request: pytest.FixtureRequest) -> AsyncIterator[None]:
    """Compare every row of every database before and after each test."""
    if "changes_something" in request.keywords:
        yield
        return
    before = await contents(stack)
    if before != at_rest:
        before = await settled(stack, quiet_seconds=2.0)
    yield
    assert await settled(stack, quiet_seconds=0.1) == before
    at_rest.update(before)


async def settled(stack: Stack, *, quiet_seconds: float) -> dict[str, str]:
    """What the databases hold, once what earlier tests set in motion has come to rest."""
    seen = await contents(stack)
    for _ in range(100):
        await asyncio.sleep(quiet_seconds)
        again = await contents(stack)
        if again == seen:
            return again
        seen = again
    raise AssertionError("the databases do not come to rest")


async def contents(stack: Stack) -> dict[str, str]:
    """A digest of each table of each database."""
    digests = {}
    for database in (name for names in DATABASES.values() for name in names):
        connection = await asyncpg.connect(stack.postgres.dsn(database))
        try:
            for table in await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'"):
                name = table["tablename"]
                if name not in MOVING:
                    rows = COUNTS.get(name, f'SELECT * FROM "{name}"')
                    query = f"SELECT md5(coalesce(string_agg(t::text, chr(10) ORDER BY t::text), '')) FROM ({rows}) t"
                    digests[f"{database}.{name}"] = await connection.fetchval(query)
        finally:
            await connection.close()
    return digests


async def refusal(call: Any) -> VitneError:
    """The error that a call ends with; it names reason and message, and says what to do."""
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    return error_from_rpc(raised.value)


async def test_malformed_bytes(stack: Stack, uio: Organisation) -> None:
    metadata = [("authorization", f"Bearer {await uio.access_token()}")]
    async with grpc.aio.insecure_channel(stack.grpc_address("issuer")) as channel:
        method: Any = channel.unary_unary("/vitne.issuer.v1.IssuerService/Issue")
        error = await refusal(method(b"\xff\xff\xff", metadata=metadata))
    assert (error.code, error.reason) == ("INVALID_ARGUMENT", "MALFORMED_MESSAGE")


async def test_a_message_beyond_the_limit(stack: Stack, uio: Organisation) -> None:
    metadata = [("authorization", f"Bearer {await uio.access_token()}")]
    async with grpc.aio.insecure_channel(stack.grpc_address("issuer")) as channel:
        method: Any = channel.unary_unary("/vitne.issuer.v1.IssuerService/Issue")
        error = await refusal(method(b"\0" * (5 * 1024 * 1024), metadata=metadata))
    assert (error.code, error.reason) == ("RESOURCE_EXHAUSTED", "MESSAGE_TOO_LARGE")
    assert error.rule
    assert error.remedy


async def test_every_broken_field_is_named(uio: Organisation, issuance: issuer_pb2.Issuance) -> None:
    issuance.learner.value = ""
    issuance.awarded_on = "21.11.2026"
    error = await refusal(uio.issuer.Issue(issuer_pb2.IssueRequest(request_id="x", issuance=issuance)))
    assert error.code == "INVALID_ARGUMENT"
    fields = {violation.field for violation in getattr(error, "violations", ())}
    assert {"request_id", "issuance.learner.value", "issuance.awarded_on"} <= fields


async def test_a_learners_number_with_a_wrong_check_digit_is_not_repeated(
    uio: Organisation, issuance: issuer_pb2.Issuance
) -> None:
    number = issuance.learner.value[:-1] + str((int(issuance.learner.value[-1]) + 1) % 10)
    issuance.learner.value = number
    error = await refusal(uio.issuer.Issue(issuer_pb2.IssueRequest(request_id=new_id(), issuance=issuance)))
    assert (error.reason, error.field) == ("BAD_LEARNER_ID", "issuance.learner.value")
    assert error.rule
    assert error.remedy
    assert number not in str(error)


async def test_dates_that_contradict(uio: Organisation, issuance: issuer_pb2.Issuance) -> None:
    issuance.awarded_on, issuance.expires_on = "2026-05-01", "2026-04-01"
    error = await refusal(uio.issuer.Issue(issuer_pb2.IssueRequest(request_id=new_id(), issuance=issuance)))
    assert (error.code, error.field) == ("INVALID_ARGUMENT", "issuance.expires_on")
    assert error.remedy


async def test_an_unknown_achievement(uio: Organisation, issuance: issuer_pb2.Issuance) -> None:
    issuance.achievement_id = UNKNOWN
    error = await refusal(uio.issuer.Issue(issuer_pb2.IssueRequest(request_id=new_id(), issuance=issuance)))
    assert error.reason == "NO_ACHIEVEMENT"
    assert error.remedy


async def test_another_providers_achievement(world: Demo, uio: Organisation, issuance: issuer_pb2.Issuance) -> None:
    issuance.achievement_id = world.published["eldrehelse-modul"]
    error = await refusal(uio.issuer.Issue(issuer_pb2.IssueRequest(request_id=new_id(), issuance=issuance)))
    assert error.reason == "FOREIGN_ACHIEVEMENT"


@pytest.mark.changes_something
async def test_a_request_id_with_another_body(world: Demo, uio: Organisation, issuance: issuer_pb2.Issuance) -> None:
    listed = await uio.issuer.ListCredentials(issuer_pb2.ListCredentialsRequest(page_size=1))
    request_id = new_id()
    change = issuer_pb2.ChangeStatusRequest(
        request_id=request_id,
        credential_id=listed.credentials[0].id,
        change=ledger_pb2.STATUS_CHANGE_SUSPEND,
        reason=ledger_pb2.STATUS_REASON_UNDER_REVIEW,
    )
    first = await uio.issuer.ChangeStatus(change)
    assert await uio.issuer.ChangeStatus(change) == first
    change.reason = ledger_pb2.STATUS_REASON_MISCONDUCT
    error = await refusal(uio.issuer.ChangeStatus(change))
    assert (error.code, error.reason) == ("ALREADY_EXISTS", "REQUEST_ID_REUSED")
    assert error.remedy


async def test_another_institutions_credential(world: Demo, uio: Organisation) -> None:
    foreign = world.issued["eldrehelse-modul"].id
    for call in (
        uio.issuer.GetCredential(issuer_pb2.GetCredentialRequest(credential_id=foreign)),
        uio.issuer.GetCredential(issuer_pb2.GetCredentialRequest(credential_id=UNKNOWN)),
        uio.issuer.ChangeStatus(
            issuer_pb2.ChangeStatusRequest(
                request_id=new_id(),
                credential_id=foreign,
                change=ledger_pb2.STATUS_CHANGE_REVOKE,
                reason=ledger_pb2.STATUS_REASON_MISCONDUCT,
            )
        ),
    ):
        error = await refusal(call)
        # The same answer for what exists elsewhere and what does not exist at all.
        assert (error.code, error.reason) == ("NOT_FOUND", "CREDENTIAL_UNKNOWN")


async def test_items_of_a_stream_of_statuses_are_refused_one_by_one(world: Demo, uio: Organisation) -> None:
    own = (await uio.issuer.ListCredentials(issuer_pb2.ListCredentialsRequest(page_size=1))).credentials[0].id
    cases: list[tuple[dict[str, Any], str]] = [
        ({"credential_id": world.issued["eldrehelse-modul"].id}, "CREDENTIAL_UNKNOWN"),
        ({"credential_id": UNKNOWN}, "CREDENTIAL_UNKNOWN"),
        ({"credential_id": "no id"}, "BAD_UUID"),
        ({"credential_id": own, "change": 99}, "UNDEFINED_ENUM_VALUE"),
        ({"credential_id": own, "effective": timestamp(datetime(2020, 1, 1, tzinfo=UTC))}, "EFFECTIVE_BEFORE_ISSUANCE"),
    ]

    async def sent() -> AsyncIterator[issuer_pb2.ChangeStatusesRequest]:
        for values, _ in cases:
            fields: dict[str, Any] = {
                "request_id": new_id(),
                "change": ledger_pb2.STATUS_CHANGE_REVOKE,
                "reason": ledger_pb2.STATUS_REASON_MISCONDUCT,
            }
            item = issuer_pb2.ChangeStatusRequest(**(fields | values))
            yield issuer_pb2.ChangeStatusesRequest(items=[item])

    errors = [
        error_from_status(outcome.error)
        async for answer in uio.issuer.ChangeStatuses(sent())
        for outcome in answer.outcomes
    ]
    assert [error.reason for error in errors] == [reason for _, reason in cases]
    assert all(error.remedy for error in errors)


async def test_a_hub_gets_nothing_for_handles_that_are_not_its_own(world: Demo) -> None:
    hub = world.actors.organisation(world.cases.hub)
    handle = base64.urlsafe_b64encode(bytes(32)).rstrip(b"=").decode()
    answer = await hub.issuer.FetchCredentials(issuer_pb2.FetchCredentialsRequest(handles=[handle]))
    assert not answer.credentials[0].HasField("credential")


async def test_a_hub_without_a_legal_ground_registers_nobody_on_one(world: Demo) -> None:
    hub = world.actors.organisation(world.cases.hub)
    number = synthetic_learners(1)[0].value
    cases: list[tuple[dict[str, Any], str, str]] = [
        ({}, "LEGAL_GROUND_UNKNOWN", "legal_ground.ground_id"),
        ({"ground_id": "no id"}, "BAD_UUID", "legal_ground.ground_id"),
        ({"value": number[:-1]}, "BAD_LEARNER_ID", "legal_ground.value"),
        ({"scheme": "provider.local_id"}, "UNKNOWN_LEARNER_SCHEME", "legal_ground.scheme"),
    ]
    for values, reason, field in cases:
        named = issuer_pb2.OnLegalGround(
            **{"ground_id": UNKNOWN, "scheme": "no.national_id", "value": number, **values}
        )
        error = await refusal(
            hub.issuer.RegisterLearner(issuer_pb2.RegisterLearnerRequest(request_id=new_id(), legal_ground=named))
        )
        assert (error.reason, error.field) == (reason, field)
        assert error.remedy
        assert number not in str(error)
    neither = issuer_pb2.RegisterLearnerRequest(request_id=new_id())
    assert (await refusal(hub.issuer.RegisterLearner(neither))).reason == "ONE_GROUND"


async def test_an_achievement_without_a_mandatory_element(world: Demo, uio: Organisation) -> None:
    achievement = credential_pb2.Achievement()
    achievement.CopyFrom(world.cases.achievements["minikvalifikasjon"].message)
    achievement.id = new_id()
    del achievement.outcomes[:]
    error = await refusal(
        uio.registry.PublishAchievement(
            registry_pb2.PublishAchievementRequest(request_id=new_id(), achievement=achievement)
        )
    )
    assert (error.code, error.field) == ("INVALID_ARGUMENT", "achievement.outcomes")
    assert error.remedy


async def test_an_authority_outside_its_remit(world: Demo) -> None:
    danish = next(authority for authority in world.cases.authorities if authority.remit.country == "DK")
    error = await refusal(
        world.actors.organisation(danish.id).registry.GrantAccreditation(
            registry_pb2.GrantAccreditationRequest(
                request_id=new_id(),
                provider=world.cases.providers["uio"].message.id,
                kind="no.self_accrediting",
                scope=world.cases.accreditations[0].scope,
            )
        )
    )
    assert error.code == "PERMISSION_DENIED"
    assert error.rule


@pytest.mark.parametrize(
    ("tamper", "reason"),
    [("expired", "TOKEN_EXPIRED"), ("foreign", "TOKEN_FOREIGN_ISSUER"), ("none", "TOKEN_ALGORITHM"), ("cut", None)],
)
async def test_a_token_that_does_not_hold(stack: Stack, uio: Organisation, tamper: str, reason: str | None) -> None:
    token = await bad_token(stack, uio, tamper)
    async with grpc.aio.insecure_channel(stack.grpc_address("issuer")) as channel:
        method: Any = channel.unary_unary("/vitne.issuer.v1.IssuerService/ListCredentials")
        error = await refusal(method(b"", metadata=[("authorization", f"Bearer {token}")]))
    assert error.code == "UNAUTHENTICATED"
    assert reason is None or error.reason == reason
    assert token not in str(error)


async def bad_token(stack: Stack, organisation: Organisation, how: str) -> str:
    """A token that once was good, or never was."""
    header, payload, signature = (await organisation.access_token()).split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    if how == "cut":
        return f"{header}.{payload}"
    if how == "none":
        return f"{encoded({'alg': 'none', 'typ': 'JWT'})}.{payload}."
    if how == "foreign":
        claims["iss"] = "https://maskinporten.example/"
        return f"{header}.{encoded(claims)}.{signature}"
    return signed_by_the_issuer(stack, claims | {"iat": claims["iat"] - 1000, "exp": claims["exp"] - 1000})


def signed_by_the_issuer(stack: Stack, claims: dict[str, Any]) -> str:
    """A token that the real issuer might have made at another time."""
    key = json.loads((stack.folder / "identity" / "issuer.jwk.json").read_text())
    return jwt.encode({"alg": "RS256", "kid": key["kid"]}, claims, RSAKey.import_key(key), algorithms=["RS256"])


def encoded(part: dict[str, Any]) -> str:
    """A part of a JWT."""
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


@pytest.mark.parametrize("harm", ["bit", "cut", "none", "foreign key", "disclosure", "empty", "noise"])
async def test_a_credential_that_was_harmed_is_invalid(world: Demo, harm: str) -> None:
    good = world.issued["klimaregnskaber-3"].artefact
    other = world.issued["eldrehelse-modul"].artefact
    token, *disclosures = good.rstrip("~").split("~")
    header, payload, _ = token.split(".")
    bad = {
        "bit": good.replace(payload, payload[:40] + ("A" if payload[40] != "A" else "B") + payload[41:]),
        "cut": good[: len(good) // 2],
        "none": f"{encoded({'alg': 'none', 'typ': 'dc+sd-jwt'})}.{payload}.~" + "~".join(disclosures) + "~",
        "foreign key": good.replace(header, other.split(".")[0]),
        "disclosure": good + other.rstrip("~").split("~")[1] + "~",
        "empty": "~",
        "noise": "this is no credential",
    }[harm]
    answer = await world.actors.verifier.Verify(verifier_pb2.VerifyRequest(credential=bad))
    assert answer.verdict == verifier_pb2.VERDICT_INVALID, answer.headline
    assert any(check.outcome == credential_pb2.Check.OUTCOME_FAILED for check in answer.checks)
