"""The registry as a process of its own: gRPC with all interceptors, HTTP, PostgreSQL, outbox."""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import aiohttp
import asyncpg
import grpc
import pytest

from services.registry.due import EXIT_DUE
from services.registry.due import command as due_command
from services.registry.heartbeat import Heartbeat
from services.registry.recorder import Recorder
from services.registry.settings import RegistrySettings
from services.registry.wiring import MIGRATIONS, build, service_keys
from vitne.accreditation import Projection, fact_digest, read_facts, read_statement, timestamp
from vitne.accreditation.credential import read_accreditation
from vitne.canonical import digest_text, from_b64url, sha256
from vitne.clock import ManualClock, SystemClock
from vitne.credentials import type_metadata
from vitne.credentials.jose import parse_jws, parse_public_jwk, thumbprint
from vitne.errors import (
    Aborted,
    AlreadyExists,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    Unauthenticated,
    VitneError,
)
from vitne.frameworks import Frameworks, Standing
from vitne.identifiers import OrganisationId, UuidFactory
from vitne.merkle.leaves import AccreditationRecorded, KeyRecorded
from vitne.messaging import topics
from vitne.runtime.channel import open_channel
from vitne.runtime.custody import FileKeyCustody
from vitne.runtime.identity import Caller
from vitne.runtime.migrations import migrate
from vitne.runtime.status import error_from_rpc
from vitne_api.credential.v1 import credential_pb2
from vitne_api.events.v1 import events_pb2
from vitne_api.registry.v1 import facts_pb2, qualification_pb2, registry_pb2, registry_pb2_grpc, stacking_pb2

pytestmark = pytest.mark.schema(MIGRATIONS)

OPERATOR = "0192:313000044"
NOKUT = "0192:985042667"
DAI = "0184:99000007"
UIO = "0192:971035854"
UCL = "0184:30859480"
ISSUER = "https://registry.vitne.example"
SCOPES = frozenset(
    f"vitne:registry.{name}"
    for name in ("operate", "accredit", "apply", "keys", "achievements", "qualifications", "stacking")
)


class Tokens:
    """Access tokens of the tests: the organisation's id, perhaps an officer of it, and fewer scopes behind a space."""

    async def verify(self, token: str) -> Caller:
        actor, _, scopes = token.partition(" ")
        organisation, _, officer = actor.partition("/")
        held = frozenset(scopes.split()) if scopes else SCOPES
        return Caller(OrganisationId.parse(organisation), held, "client", subject=officer)


@dataclass
class Token:
    text: str

    async def token(self) -> str:
        return self.text


def rid() -> str:
    return str(uuid4())


def text(words: str, language: str = "en") -> credential_pb2.LocalisedText:
    return credential_pb2.LocalisedText(language=language, text=words)


@dataclass
class Running:
    """A registry that listens."""

    grpc_address: str
    http_address: str

    async def call(self, caller: str | None, method: str, request: Any) -> Any:
        channel = open_channel(self.grpc_address, Token(caller) if caller else None)
        try:
            return await getattr(registry_pb2_grpc.RegistryServiceStub(channel), method)(request)
        except grpc.aio.AioRpcError as error:
            raise error_from_rpc(error) from None
        finally:
            await channel.close()

    async def get(self, path: str, **headers: str) -> tuple[int, Any, str]:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://{self.http_address}{path}", headers=headers) as response,
        ):
            return response.status, response.headers.copy(), await response.text()


def settings_in(folder: Path) -> RegistrySettings:
    # No cluster is there: the relay waits for one, and the outbox is looked at instead.
    return RegistrySettings(
        environment="development",
        kafka_bootstrap_servers="127.0.0.1:1",
        operator=OPERATOR,
        state_dir=folder,
        refresh_seconds=0.05,
        shutdown_grace_seconds=1,
        standings=tuple(Standing),
    )


@asynccontextmanager
async def running(pool: asyncpg.Pool, folder: Path) -> AsyncIterator[Running]:
    application = build(settings_in(folder), pool, SystemClock(), Tokens())
    task = asyncio.create_task(application.run())
    try:
        started = asyncio.create_task(application.started.wait())
        await asyncio.wait([task, started], return_when=asyncio.FIRST_COMPLETED, timeout=20)
        started.cancel()
        while await application.readiness():
            if task.done():
                await task
            await asyncio.sleep(0.01)
        yield Running(application.grpc_address, application.http_address)
    finally:
        application.stop()
        await task


@pytest.fixture
async def schema(database_dsn: str) -> None:
    await migrate(database_dsn, MIGRATIONS)


@pytest.fixture
async def registry(schema: None, pool: asyncpg.Pool, tmp_path: Path) -> AsyncIterator[Running]:
    async with running(pool, tmp_path) as listening:
        yield listening


def authority(authority_id: str, country: str) -> registry_pb2.RegisterAuthorityRequest:
    remit = {
        "NO": (["no.university", "no.fagskole"], ["no.self_accrediting", "no.fagskole.programme"]),
        "DK": (["dk.business_academy"], ["dk.institution"]),
    }[country]
    return registry_pb2.RegisterAuthorityRequest(
        request_id=rid(),
        authority=facts_pb2.Authority(
            id=authority_id,
            name=[text(f"Authority <{country}>")],
            remit=facts_pb2.Remit(country=country, provider_kinds=remit[0], accreditation_kinds=remit[1]),
        ),
    )


def provider(provider_id: str, country: str, kind: str) -> registry_pb2.RegisterProviderRequest:
    return registry_pb2.RegisterProviderRequest(
        request_id=rid(),
        provider=facts_pb2.Provider(
            id=provider_id,
            name=[text("Provider & Co")],
            country=country,
            kind=kind,
            issuer_uri=f"https://vitne.example/issuers/{provider_id}",
        ),
    )


def grant() -> registry_pb2.GrantAccreditationRequest:
    return registry_pb2.GrantAccreditationRequest(
        request_id=rid(),
        provider=UCL,
        kind="dk.institution",
        scope=facts_pb2.Scope(
            credential_kinds=["dk.micro_credential"],
            levels=[credential_pb2.Level(framework="dk.nqf", level="5")],
            credit_unit="ects",
            max_points="10",
        ),
    )


def klima(points: str = "0.5", **changes: Any) -> registry_pb2.PublishAchievementRequest:
    fields: dict[str, Any] = {
        "id": str(UuidFactory(SystemClock())()),
        "version": 1,
        "provider": UCL,
        "kind": "dk.micro_credential",
        "title": [text("Klimaregnskaber", "da")],
        "outcomes": [credential_pb2.LearningOutcome(category="skills", text=[text("Can account.")])],
        "workload": credential_pb2.Workload(unit="ects", points=points),
        "level": credential_pb2.Level(framework="dk.nqf", level="5"),
        "assessment": credential_pb2.ASSESSMENT_TYPE_WRITTEN,
        "participation": credential_pb2.PARTICIPATION_FORM_ON_SITE,
        "quality_assurance": credential_pb2.QualityAssurance(internal=[text("Reviewed yearly.")]),
    }
    return registry_pb2.PublishAchievementRequest(
        request_id=rid(), achievement=credential_pb2.Achievement(**{**fields, **changes})
    )


async def agreed(registry: Running, method: str, request: Any) -> facts_pb2.Fact:
    """What one officer proposes and another confirms."""
    proposal = (await registry.call(f"{DAI}/one", method, request)).fact
    fact: facts_pb2.Fact = (await registry.call(f"{DAI}/two", "ConfirmDecision", confirmation(proposal))).fact
    return fact


def confirmation(proposal: facts_pb2.Fact) -> registry_pb2.ConfirmDecisionRequest:
    step = proposal.case_step
    return registry_pb2.ConfirmDecisionRequest(request_id=rid(), accreditation_id=step.id, base_revision=step.revision)


async def set_up_ucl(registry: Running) -> facts_pb2.Fact:
    await registry.call(OPERATOR, "RegisterAuthority", authority(DAI, "DK"))
    await registry.call(DAI, "RegisterProvider", provider(UCL, "DK", "dk.business_academy"))
    return await agreed(registry, "GrantAccreditation", grant())


async def decide(registry: Running, achievement: str, known_at: int = 0) -> registry_pb2.DecideResponse:
    request = registry_pb2.DecideRequest(
        provider=UCL, achievement_id=achievement, achievement_version=1, known_at=known_at
    )
    response: registry_pb2.DecideResponse = await registry.call(None, "Decide", request)
    return response


async def test_from_the_first_authority_to_a_decision_and_its_withdrawal(
    registry: Running, pool: asyncpg.Pool, tmp_path: Path
) -> None:
    granted = await set_up_ucl(registry)
    key = FileKeyCustody(tmp_path / "ucl").create("ucl", "ES256")
    entered = await registry.call(
        UCL,
        "RegisterKey",
        registry_pb2.RegisterKeyRequest(
            request_id=rid(),
            key=facts_pb2.Key(
                owner=UCL,
                use=facts_pb2.KEY_USE_CREDENTIAL,
                public_jwk=json.dumps(key.public_jwk),
                valid_from=timestamp(datetime(2026, 1, 1, tzinfo=UTC)),
            ),
        ),
    )
    assert entered.fact.key.id == key.key_id
    fine, nano = klima(), klima("0.25")
    for request in (fine, nano):
        await registry.call(UCL, "PublishAchievement", request)

    allowed = await decide(registry, fine.achievement.id)
    assert allowed.allowed
    assert (allowed.rule, allowed.standing) == ("dk.business_academy.micro_credential", "pilot")
    record = json.loads(allowed.decision.record)
    assert record["accreditation"] == {"id": granted.accreditation.id, "revision": 1}
    assert record["registry_revision"] == 7
    refused = await decide(registry, nano.achievement.id)
    assert not refused.allowed
    assert (refused.reason, refused.rule) == ("SIZE_BELOW_MINIMUM", "dk.business_academy.micro_credential")
    assert "nano-module" in refused.basis
    assert refused.remedy
    assert not refused.HasField("decision")

    withdrawal = registry_pb2.WithdrawAccreditationRequest(
        request_id=rid(), accreditation_id=granted.accreditation.id, base_revision=1, ground="case 7"
    )
    ended = await agreed(registry, "WithdrawAccreditation", withdrawal)
    assert (await decide(registry, fine.achievement.id)).reason == "ACCREDITATION_WITHDRAWN"
    assert (await decide(registry, fine.achievement.id, known_at=8)).allowed, "what is only proposed holds nothing back"
    # Two officers each time, told apart in the case, and by other names than the token issuer's.
    for fact in (granted, ended):
        assert fact.officer
        assert fact.accreditation.proposed_by
        assert fact.officer != fact.accreditation.proposed_by
    assert (granted.officer, granted.accreditation.proposed_by) == (ended.officer, ended.accreditation.proposed_by)
    assert {row["subject"] for row in await pool.fetch("SELECT * FROM officer")} == {"one", "two"}

    # What was recorded, what is listed and what is told are the same facts, numbered without a gap.
    listed = await registry.call(None, "ListFacts", registry_pb2.ListFactsRequest())
    facts = list(listed.facts)
    assert [fact.registry_revision for fact in facts] == list(range(1, 10))
    assert listed.registry_revision == 9
    assert [fact.subject_revision for fact in facts if fact.subject == UCL] == list(range(1, 9))
    assert {fact.actor for fact in facts} == {OPERATOR, DAI, UCL}
    told = await pool.fetch("SELECT * FROM outbox WHERE topic = $1 ORDER BY id", topics.REGISTRY_FACTS)
    assert [events_pb2.RegistryFactRecorded.FromString(row["value"]).fact for row in told] == facts
    assert [(row["key"], row["revision"]) for row in told] == [(fact.subject, fact.subject_revision) for fact in facts]
    leaves = await pool.fetch("SELECT * FROM outbox WHERE topic = $1 ORDER BY id", topics.REGISTRY_LEAVES)
    expected = [
        AccreditationRecorded(
            accreditation_id=UUID(granted.accreditation.id), revision=1, digest=fact_digest(facts[3])
        ).to_bytes(),
        KeyRecorded(thumbprint=from_b64url(key.key_id), revision=1, digest=fact_digest(facts[4])).to_bytes(),
        AccreditationRecorded(
            accreditation_id=UUID(granted.accreditation.id), revision=2, digest=fact_digest(facts[8])
        ).to_bytes(),
    ]
    assert [events_pb2.LeafSubmitted.FromString(row["value"]).leaf for row in leaves] == expected
    assert [(row["key"], row["revision"]) for row in leaves] == [(facts[n].id, 1) for n in (3, 4, 8)]


async def test_a_request_repeated_is_answered_once(registry: Running, pool: asyncpg.Pool) -> None:
    request = authority(NOKUT, "NO")
    first = await registry.call(OPERATOR, "RegisterAuthority", request)
    assert await registry.call(OPERATOR, "RegisterAuthority", request) == first
    assert await pool.fetchval("SELECT count(*) FROM fact") == 1
    request.authority.name.append(text("Another", "nb"))
    with pytest.raises(AlreadyExists) as caught:
        await registry.call(OPERATOR, "RegisterAuthority", request)
    assert caught.value.reason == "REQUEST_ID_REUSED"
    assert await pool.fetchval("SELECT count(*) FROM fact") == 1


async def test_a_request_repeated_at_the_same_time_is_answered_once(registry: Running, pool: asyncpg.Pool) -> None:
    request = authority(NOKUT, "NO")
    calls = (registry.call(OPERATOR, "RegisterAuthority", request) for _ in range(8))
    first, *others = await asyncio.gather(*calls)
    assert others == [first] * 7
    assert await pool.fetchval("SELECT count(*) FROM fact") == 1


async def test_a_provider_that_closes_leaves_behind_what_it_issued(registry: Running) -> None:
    await set_up_ucl(registry)
    offered = klima()
    await registry.call(UCL, "PublishAchievement", offered)
    issued_at = timestamp(datetime.now(UTC))
    request = registry_pb2.CloseProviderRequest(request_id=rid(), provider=UCL, base_revision=1, ground="merged")
    proposed = await registry.call(f"{DAI}/one", "CloseProvider", request)
    assert await registry.call(f"{DAI}/one", "CloseProvider", request) == proposed
    closed = await registry.call(f"{DAI}/two", "ConfirmDecision", confirmation(proposed.fact))
    question = registry_pb2.DecideRequest(
        provider=UCL, achievement_id=offered.achievement.id, achievement_version=1, at=issued_at
    )
    assert (await registry.call(None, "Decide", question)).allowed
    question.at.CopyFrom(closed.fact.provider.closed_at)
    assert (await registry.call(None, "Decide", question)).reason == "PROVIDER_CLOSED"
    # A newer caller may say more than this version understands: recorded, it would be passed over.
    more = registry_pb2.AmendAuthorityRequest(
        request_id=rid(),
        authority=DAI,
        base_revision=1,
        name=[text("Another")],
        remit=authority(DAI, "DK").authority.remit,
        ground="regulation 2",
    )
    more.remit.MergeFromString(b"\xb8\x3e\x01")
    with pytest.raises(InvalidArgument) as caught:
        await registry.call(OPERATOR, "AmendAuthority", more)
    assert caught.value.reason == "UNKNOWN_FIELD"
    more.remit.DiscardUnknownFields()
    assert (await registry.call(OPERATOR, "AmendAuthority", more)).fact.authority.revision == 2


async def test_a_refusal_changes_nothing_and_may_be_put_right(registry: Running, pool: asyncpg.Pool) -> None:
    await registry.call(OPERATOR, "RegisterAuthority", authority(NOKUT, "NO"))
    request = provider(UCL, "DK", "dk.business_academy")
    with pytest.raises(PermissionDenied) as caught:
        await registry.call(NOKUT, "RegisterProvider", request)
    assert (caught.value.reason, caught.value.field) == ("OUTSIDE_REMIT", "provider.country")
    assert caught.value.remedy
    assert await pool.fetchval("SELECT count(*) FROM fact") == 1
    assert await pool.fetchval("SELECT count(*) FROM outbox WHERE topic = $1", topics.REGISTRY_FACTS) == 1
    await registry.call(OPERATOR, "RegisterAuthority", authority(DAI, "DK"))
    assert (await registry.call(DAI, "RegisterProvider", request)).fact.provider.id == UCL


async def test_who_may_call_at_all(registry: Running) -> None:
    request = authority(NOKUT, "NO")
    with pytest.raises(Unauthenticated):
        await registry.call(None, "RegisterAuthority", request)
    with pytest.raises(PermissionDenied) as caught:
        await registry.call(f"{OPERATOR} vitne:registry.keys", "RegisterAuthority", request)
    assert caught.value.reason == "SCOPE_MISSING"
    with pytest.raises(PermissionDenied) as caught:
        await registry.call(NOKUT, "RegisterAuthority", request)
    assert caught.value.reason == "NOT_THE_OPERATOR"


async def test_an_achievement_without_a_mandatory_element_is_refused_naming_it(registry: Running) -> None:
    await set_up_ucl(registry)
    complete = klima()
    for element in ("title", "outcomes", "workload", "assessment", "participation", "quality_assurance"):
        request = registry_pb2.PublishAchievementRequest.FromString(complete.SerializeToString())
        request.achievement.ClearField(element)
        with pytest.raises(InvalidArgument) as caught:
            await registry.call(UCL, "PublishAchievement", request)
        assert caught.value.field == f"achievement.{element}"
        assert caught.value.remedy
    # Nothing was remembered under the request's id: put right, it is taken.
    await registry.call(UCL, "PublishAchievement", complete)


async def test_facts_are_listed_by_pages_and_by_subject(registry: Running) -> None:
    await set_up_ucl(registry)
    await registry.call(OPERATOR, "RegisterAuthority", authority(NOKUT, "NO"))
    seen: list[int] = []
    token = ""
    while True:
        request = registry_pb2.ListFactsRequest(page_size=3, page_token=token)
        page = await registry.call(None, "ListFacts", request)
        seen += [fact.registry_revision for fact in page.facts]
        token = page.next_page_token
        if not token:
            break
    assert seen == [1, 2, 3, 4, 5]
    page = await registry.call(None, "ListFacts", registry_pb2.ListFactsRequest(page_size=1, subject=UCL))
    assert [fact.registry_revision for fact in page.facts] == [2]
    for wrong in (
        registry_pb2.ListFactsRequest(page_token="nonsense"),
        registry_pb2.ListFactsRequest(page_token=page.next_page_token, subject=DAI),
        registry_pb2.ListFactsRequest(page_token=page.next_page_token),
    ):
        with pytest.raises(InvalidArgument) as caught:
            await registry.call(None, "ListFacts", wrong)
        assert caught.value.reason == "BAD_PAGE_TOKEN"


async def test_the_signed_list_and_the_pages(registry: Running, tmp_path: Path) -> None:
    await set_up_ucl(registry)
    own = json.loads(service_keys(settings_in(tmp_path)))
    assert [entry["use"] for entry in own] == ["KEY_USE_TRUST_LIST"]
    await registry.call(
        OPERATOR,
        "RegisterKey",
        registry_pb2.RegisterKeyRequest(
            request_id=rid(),
            key=facts_pb2.Key(
                owner=OPERATOR,
                use=facts_pb2.KEY_USE_TRUST_LIST,
                public_jwk=json.dumps(own[0]["public_jwk"]),
                valid_from=timestamp(datetime(2026, 1, 1, tzinfo=UTC)),
            ),
        ),
    )
    published = klima()
    await registry.call(UCL, "PublishAchievement", published)

    status, headers, token = await registry.get("/v1/trust-list")
    assert (status, headers["Content-Type"]) == (200, "application/vitne-trust-list+jwt")
    for pinned in (parse_public_jwk(own[0]["public_jwk"]), thumbprint(own[0]["public_jwk"])):
        statement = read_statement(token, pinned=pinned, issuer=ISSUER, now=datetime.now(UTC))
        assert statement.facts.path == "trust-list/facts/5"
        for coding in ("identity", "gzip", "br, gzip;q=0.5", "*", "gzip;q=0", "gzip;q=0.0, *", ""):
            # Unpacked by the client.
            path = f"/v1/{statement.facts.path}"
            status, served, body = await registry.get(path, **{"Accept-Encoding": coding})
            packed = coding in {"gzip", "br, gzip;q=0.5", "*"}
            assert (status, served["Content-Type"]) == (200, "application/jsonl")
            assert served.get("Content-Encoding", "") == ("gzip" if packed else "")
            assert "immutable" in served["Cache-Control"]
            assert served["Vary"] == "Accept-Encoding"
            mirror = Projection()
            statement.fold_into(mirror, read_facts(statement, body.encode()))
            assert mirror.revision == 6
            assert [held.authority for held in mirror.accreditations_of(UCL)] == [DAI]
            conditions = {"Accept-Encoding": coding, "If-None-Match": served["ETag"]}
            assert (await registry.get(path, **conditions))[0] == 304
    for nowhere, expected in (("3", 404), ("6", 404), ("99", 404), ("-1", 400), ("x", 400)):
        assert (await registry.get(f"/v1/trust-list/facts/{nowhere}"))[0] == expected
    status, _, body = await registry.get("/v1/trust-list", **{"If-None-Match": headers["ETag"]})
    assert (status, body) == (304, "")

    for misspelt in ("/v1/providers?bogus=1", "/v1/achievements?page_size=3", "/v1/trust-list?x="):
        status, _, body = await registry.get(misspelt)
        assert (status, json.loads(body)["reason"]) == (400, "UNKNOWN_PARAMETER"), misspelt
    status, _, body = await registry.get("/v1/providers")
    shown = json.loads(body)
    assert shown["registry_revision"] == 6
    assert shown["providers"][0]["accreditations"][0]["state"] == "granted"
    status, _, body = await registry.get(f"/v1/achievements?provider={UCL}")
    assert [one["id"] for one in json.loads(body)["achievements"]] == [published.achievement.id]
    assert json.loads((await registry.get(f"/v1/achievements?provider={UIO}"))[2])["achievements"] == []
    for wrong in ("achievements?limit=0", "achievements?after=x", "providers?limit=0", "providers?limit=999"):
        assert (await registry.get(f"/v1/{wrong}"))[0] == 400
    assert (
        json.loads((await registry.get(f"/v1/achievements?after={published.achievement.id}"))[2])["achievements"] == []
    )
    assert json.loads((await registry.get(f"/v1/providers?after={UCL}"))[2])["providers"] == []
    status, headers, body = await registry.get("/")
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    for words in (
        "Provider &amp; Co",
        "Authority &lt;DK&gt;",
        "Klimaregnskaber",
        "0.5 ECTS credits",
        "Lifelong Learning 5",
        "Granted",
    ):
        assert words in body
    # Nothing runs on the page, and only its own style is used.
    style = body[body.index("<style>") + len("<style>") : body.index("</style>")]
    digest = b64encode(sha256(style.encode())).decode()
    policy = headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; ")
    assert f"style-src 'sha256-{digest}';" in policy
    assert "unsafe" not in policy
    for gone in ("/docs", "/redoc"):
        assert (await registry.get(gone))[0] == 404


async def signed_accreditation(registry: Running, path: str) -> str:
    """What is served once the authority's key has signed: a moment after either is recorded."""
    async with asyncio.timeout(60):
        while True:
            status, headers, body = await registry.get(path)
            if status == 200:
                assert headers["Content-Type"] == "application/vc+jwt"
                return str(body)
            assert json.loads(body)["reason"] == "ACCREDITATION_NOT_SIGNED"
            await asyncio.sleep(0.05)


async def test_what_wallets_ask_before_they_believe(registry: Running, tmp_path: Path) -> None:
    await set_up_ucl(registry)
    status, headers, body = await registry.get(urlsplit(type_metadata.VCT).path)
    assert (status, body.encode()) == (200, type_metadata.DOCUMENT)
    named = f"{urlsplit(type_metadata.VCT).path}/{digest_text(type_metadata.DOCUMENT)}"
    status, headers, body = await registry.get(named)
    assert (status, body.encode()) == (200, type_metadata.DOCUMENT)
    assert "immutable" in headers["cache-control"]
    assert (await registry.get(f"{named[:-4]}AAAA"))[0] == 404
    made = FileKeyCustody(tmp_path / "ucl").create("ucl", "ES256")
    key = facts_pb2.Key(
        owner=UCL,
        use=facts_pb2.KEY_USE_CREDENTIAL,
        public_jwk=json.dumps(made.public_jwk),
        valid_from=timestamp(datetime.now(UTC)),
    )
    await registry.call(UCL, "RegisterKey", registry_pb2.RegisterKeyRequest(request_id=rid(), key=key))
    path = f"/.well-known/jwt-vc-issuer/issuers/{UCL}"
    issuer = json.loads((await registry.get(path))[2])
    assert issuer["issuer"] == f"https://vitne.example/issuers/{UCL}"
    own = made.public_jwk | {"kid": made.key_id, "use": "sig"}
    assert own in issuer["jwks"]["keys"]
    # What a key signed before it was retired still counts; what others may have signed with it does not.
    await registry.call(UCL, "RetireKey", registry_pb2.RetireKeyRequest(request_id=rid(), key_id=made.key_id))
    assert own in json.loads((await registry.get(path))[2])["jwks"]["keys"]
    known = registry_pb2.RetireKeyRequest(request_id=rid(), key_id=made.key_id, compromised_from=key.valid_from)
    await registry.call(UCL, "RetireKey", known)
    assert own not in json.loads((await registry.get(path))[2])["jwks"]["keys"]
    assert (await registry.get("/.well-known/jwt-vc-issuer/issuers/0192:971035854"))[0] == 404
    assert (await registry.get("/.well-known/jwt-vc-issuer/issuers/nobody"))[0] == 400


async def test_what_is_published_for_others_to_prove_and_to_compare(registry: Running) -> None:
    granted = (await set_up_ucl(registry)).accreditation
    path = f"/v1/accreditations/{granted.id}"
    assert (await registry.get(path))[0] == 409, "the authority has no key yet"
    with pytest.raises(PermissionDenied):
        await registry.call(UCL, "CreateAccreditationKey", registry_pb2.CreateAccreditationKeyRequest(request_id=rid()))
    order = registry_pb2.CreateAccreditationKeyRequest(request_id=rid())
    made = await registry.call(DAI, "CreateAccreditationKey", order)
    assert made == await registry.call(DAI, "CreateAccreditationKey", order)
    key = facts_pb2.Key(
        owner=DAI,
        use=facts_pb2.KEY_USE_ACCREDITATION,
        public_jwk=made.public_jwk,
        valid_from=timestamp(datetime.now(UTC)),
    )
    await registry.call(DAI, "RegisterKey", registry_pb2.RegisterKeyRequest(request_id=rid(), key=key))
    published = klima()
    published.achievement.catalogue.languages.append("da")
    await registry.call(UCL, "PublishAchievement", published)

    compact = await signed_accreditation(registry, f"{path}/revisions/1")
    read = read_accreditation(compact, registry_uri=ISSUER)
    assert read.verified_by(parse_public_jwk(made.public_jwk))
    assert read.fact.accreditation == granted
    assert (await registry.get(path))[2] == compact
    for nowhere in (f"{path}/revisions/2", f"/v1/accreditations/{rid()}"):
        assert (await registry.get(nowhere))[0] == 404

    # A key that others may know signed nothing that counts: what it signed is signed again with the next one.
    retired = registry_pb2.RetireKeyRequest(request_id=rid(), key_id=made.key_id, compromised_from=key.valid_from)
    await registry.call(DAI, "RetireKey", retired)
    assert (await registry.get(path))[0] == 409
    made = await registry.call(
        DAI, "CreateAccreditationKey", registry_pb2.CreateAccreditationKeyRequest(request_id=rid())
    )
    key.public_jwk = made.public_jwk
    key.valid_from.FromDatetime(datetime.now(UTC))
    await registry.call(DAI, "RegisterKey", registry_pb2.RegisterKeyRequest(request_id=rid(), key=key))
    compact = await signed_accreditation(registry, path)
    again = read_accreditation(compact, registry_uri=ISSUER)
    assert again.verified_by(parse_public_jwk(made.public_jwk))
    assert again.digest == read.digest

    # The key is in the authority's DID document, under the name that the credential gives it.
    kid = parse_jws(compact, algorithms=("ES256",), types=("vc+jwt",)).header.key_id
    document = json.loads((await registry.get("/organisations/0184-99000007/did.json"))[2])
    assert document["assertionMethod"] == [kid]
    assert (await registry.get("/organisations/0192-971035854/did.json"))[0] == 404
    assert (await registry.get("/organisations/nobody/did.json"))[0] == 400

    # As EBSI's Trusted Issuers Registry shows it.
    did, tao = document["id"].replace("0184-99000007", "0184-30859480"), document["id"]
    for prefix in ("/v5", "/trusted-issuers-registry/v5"):
        issuers = json.loads((await registry.get(f"{prefix}/issuers?page[size]=1&page[after]=2"))[2])
        assert (issuers["total"], issuers["pageSize"], len(issuers["items"])) == (2, 1, 1)
        assert issuers["links"]["prev"] == f"{ISSUER}{prefix}/issuers?page[after]=1&page[size]=1"
        assert issuers["links"]["next"] == issuers["links"]["last"] == issuers["self"]
        place = f"{prefix}/issuers/{did}"
        assert json.loads((await registry.get(place))[2]) == {
            "did": did,
            "attributes": f"{ISSUER}{place}/attributes",
            "hasAttributes": True,
        }
        [item] = json.loads((await registry.get(f"{place}/attributes"))[2])["items"]
        shown = json.loads((await registry.get(item["href"].removeprefix(ISSUER)))[2])
        assert shown["did"] == did
        attribute = shown["attribute"]
        assert (attribute["body"], attribute["issuerType"], attribute["tao"]) == (compact, "TI", tao)
        assert attribute["hash"] == sha256(compact.encode()).hex()
        assert attribute["rootTao"].endswith(":0192-313000044")
        revisions = json.loads((await registry.get(f"{place}/attributes/{attribute['hash']}/revisions"))[2])
        assert revisions["items"] == [attribute]
        by_hash = f"{place}/attributes/{item['id']}/revisions/{attribute['hash']}"
        assert json.loads((await registry.get(by_hash))[2])["attribute"] == attribute
        assert json.loads((await registry.get(f"{prefix}/issuers/{tao}"))[2])["hasAttributes"] is False
        for wrong, status in (("did:ebsi:z1", 400), (did.replace("0184-30859480", "0192-971035854"), 404)):
            assert (await registry.get(f"{prefix}/issuers/{wrong}"))[0] == status
        assert (await registry.get(f"{place}/attributes/{'0' * 64}"))[0] == 404

    # An extract of the list, and the list's changes.
    extract = json.loads((await registry.get("/v1/trust-list/extracts/0184-30859480"))[2])
    assert {json.loads(line)["subject"] for line in extract["facts"].splitlines()} == {DAI, UCL}
    revisions = [json.loads(line)["registry_revision"] for line in extract["facts"].splitlines()]
    known, newest = revisions[-2:]
    whole = (await registry.get(f"/v1/trust-list/facts/{newest}"))[2]
    first = (await registry.get(f"/v1/trust-list/facts/{known}"))[2]
    assert first + (await registry.get(f"/v1/trust-list/facts/{newest}/since/{known}"))[2] == whole
    assert (await registry.get(f"/v1/trust-list/facts/{known}/since/{newest}"))[0] == 404

    # The catalogue.
    entry = json.loads((await registry.get(f"/v1/catalogue?country=DK&text=klima&max_points=1&provider={UCL}"))[2])
    assert [one["id"] for one in entry["achievements"]] == [published.achievement.id]
    assert (entry["achievements"][0]["languages"], entry["after"]) == (["da"], None)
    assert json.loads((await registry.get("/v1/catalogue?eqf=7"))[2])["achievements"] == []
    for wrong in (
        "country=dk",
        "country=XX",
        "kind=none",
        "unit=none",
        "text=%00",
        "min_points=x",
        "limit=0",
        "after=x",
        "field=abc",
    ):
        assert (await registry.get(f"/v1/catalogue?{wrong}"))[0] == 400
    for language, heading in (
        ("da, en;q=0.5", "Vitne: kataloget"),
        ("fr", "Vitne: the catalogue"),
        ("is", "námsskráin"),
    ):
        status, headers, body = await registry.get("/catalogue?unit=ects", **{"Accept-Language": language})
        assert (status, headers["Content-Language"]) == (200, language[:2] if language != "fr" else "en")
        assert f'<html lang="{headers["Content-Language"]}">' in body
        assert heading in body
        assert f"/catalogue/{published.achievement.id}" in body
        assert "form-action 'self'" in headers["Content-Security-Policy"]
    status, _, body = await registry.get(f"/catalogue/{published.achievement.id}", **{"Accept-Language": "en"})
    assert status == 200
    for words in (
        '<span lang="da">Klimaregnskaber</span>',
        "written",
        "not stated",
        "without end",
        "Provider &amp; Co",
    ):
        assert words in body
    assert (await registry.get(f"/catalogue/{rid()}"))[0] == 404
    # A misspelt name is not passed over, and whoever reads pages is told on a page.
    status, headers, body = await registry.get("/v1/catalogue?levle=5")
    told = json.loads(body)
    assert (status, told["reason"], told["field"]) == (400, "UNKNOWN_PARAMETER", "levle")
    assert "level" in told["rule"]
    for nowhere, code in (("/catalogue?levle=5", 400), (f"/catalogue/{rid()}", 404), ("/catalogue?eqf=9", 400)):
        status, headers, body = await registry.get(nowhere, Accept="text/html,*/*;q=0.8")
        assert (status, headers["Content-Type"]) == (code, "text/html; charset=utf-8")
        assert "What to do" in body

    # For EBSI's readers an end that is to come has not come; one that has, has.
    for base, ends, expected in ((1, timedelta(days=30), "TI"), (2, timedelta(0), "Revoked")):
        withdrawal = registry_pb2.WithdrawAccreditationRequest(
            request_id=rid(),
            accreditation_id=granted.id,
            base_revision=base,
            ground="case 9",
            effective_from=timestamp(datetime.now(UTC) + ends),
        )
        await agreed(registry, "WithdrawAccreditation", withdrawal)
        shown = json.loads((await registry.get(f"{place}/attributes/{item['id']}"))[2])
        assert shown["attribute"]["issuerType"] == expected


async def test_facts_are_never_changed(registry: Running, pool: asyncpg.Pool) -> None:
    await registry.call(OPERATOR, "RegisterAuthority", authority(NOKUT, "NO"))
    for statement in ("UPDATE fact SET actor = 'x'", "DELETE FROM fact", "TRUNCATE fact"):
        with pytest.raises(asyncpg.RaiseError):
            await pool.execute(statement)


# --- Replicas --------------------------------------------------------------------------------------


async def test_replicas_share_one_history(schema: None, pool: asyncpg.Pool, tmp_path: Path) -> None:
    async with running(pool, tmp_path) as one, running(pool, tmp_path) as two:
        granted = await set_up_ucl(one)
        # The other replica decides on what the first one wrote, at once.
        requests = [klima() for _ in range(20)]
        answers = await asyncio.gather(
            *((one, two)[n % 2].call(UCL, "PublishAchievement", request) for n, request in enumerate(requests))
        )
        revisions = sorted(answer.fact.registry_revision for answer in answers)
        assert revisions == list(range(5, 25))

        # Two officers at once: one wins, the other is told.
        def suspension() -> registry_pb2.SuspendAccreditationRequest:
            return registry_pb2.SuspendAccreditationRequest(
                request_id=rid(), accreditation_id=granted.accreditation.id, base_revision=1, ground="case 8"
            )

        outcomes = await asyncio.gather(
            *(replica.call(f"{DAI}/one", "SuspendAccreditation", suspension()) for replica in (one, two)),
            return_exceptions=True,
        )
        lost = [outcome for outcome in outcomes if isinstance(outcome, VitneError)]
        assert [type(error) for error in lost] == [Aborted]
        assert lost[0].reason == "REVISION_MOVED"
        assert lost[0].metadata["revision"] == "2"

        # Both know it soon, and a third one that starts later knows the same.
        for replica in (one, two):
            async with asyncio.timeout(60):
                while (await decide(replica, requests[0].achievement.id)).reason != "ACCREDITATION_SUSPENDED":
                    await asyncio.sleep(0.02)
        expected = await decide(one, requests[0].achievement.id, known_at=25)
        async with running(pool, tmp_path) as three:
            again = await decide(three, requests[0].achievement.id, known_at=25)
            assert (again.reason, again.checks) == (expected.reason, expected.checks)


async def test_of_two_officers_who_confirm_at_once_one_wins(schema: None, pool: asyncpg.Pool, tmp_path: Path) -> None:
    async with running(pool, tmp_path) as one, running(pool, tmp_path) as two:
        await one.call(OPERATOR, "RegisterAuthority", authority(DAI, "DK"))
        await one.call(DAI, "RegisterProvider", provider(UCL, "DK", "dk.business_academy"))
        with pytest.raises(PermissionDenied) as nobody:
            await one.call(DAI, "GrantAccreditation", grant())
        assert nobody.value.reason == "OFFICER_MISSING"
        proposal = (await one.call(f"{DAI}/one", "GrantAccreditation", grant())).fact
        with pytest.raises(PermissionDenied) as own:
            await two.call(f"{DAI}/one", "ConfirmDecision", confirmation(proposal))
        assert own.value.reason == "OWN_PROPOSAL"
        outcomes = await asyncio.gather(
            one.call(f"{DAI}/two", "ConfirmDecision", confirmation(proposal)),
            two.call(f"{DAI}/three", "ConfirmDecision", confirmation(proposal)),
            return_exceptions=True,
        )
        lost = [outcome for outcome in outcomes if isinstance(outcome, VitneError)]
        assert [error.reason for error in lost] == ["NOTHING_PROPOSED"]
        assert await pool.fetchval("SELECT count(*) FROM fact WHERE kind = 'accreditation'") == 1


def _again(request: registry_pb2.ApplyForAccreditationRequest) -> registry_pb2.ApplyForAccreditationRequest:
    other = registry_pb2.ApplyForAccreditationRequest.FromString(request.SerializeToString())
    other.request_id = rid()
    return other


async def test_an_application_from_the_provider_to_its_grant(registry: Running, pool: asyncpg.Pool) -> None:
    await registry.call(OPERATOR, "RegisterAuthority", authority(DAI, "DK"))
    await registry.call(DAI, "RegisterProvider", provider(UCL, "DK", "dk.business_academy"))
    document = facts_pb2.Document(title="Self-evaluation", digest="A" * 43)
    wanted = grant()
    application = registry_pb2.ApplyForAccreditationRequest(
        request_id=rid(),
        authority=DAI,
        kind=wanted.kind,
        scope=wanted.scope,
        documents=[document],
        statement="We apply.",
    )
    applied = (await registry.call(UCL, "ApplyForAccreditation", application)).fact
    id_ = applied.case_step.id

    async def open_cases() -> list[tuple[str, int]]:
        listed = await registry.call(DAI, "ListOpenCases", registry_pb2.ListOpenCasesRequest())
        assert not listed.next_page_token
        return [(case.id, case.state) for case in listed.cases]

    assert await open_cases() == [(id_, registry_pb2.CASE_STATE_APPLIED)]
    another = (await registry.call(UCL, "ApplyForAccreditation", _again(application))).fact.case_step.id
    first = await registry.call(DAI, "ListOpenCases", registry_pb2.ListOpenCasesRequest(page_size=1))
    token = first.next_page_token
    rest = await registry.call(DAI, "ListOpenCases", registry_pb2.ListOpenCasesRequest(page_size=1, page_token=token))
    assert [case.id for case in (*first.cases, *rest.cases)] == [id_, another]
    refusal = registry_pb2.RefuseApplicationRequest(
        request_id=rid(), accreditation_id=another, base_revision=1, statement="Twice."
    )
    await registry.call(f"{DAI}/one", "RefuseApplication", refusal)
    review = registry_pb2.ReviewApplicationRequest(
        request_id=rid(), accreditation_id=id_, base_revision=1, statement="Two assessors recommend it."
    )
    await registry.call(f"{DAI}/one", "ReviewApplication", review)
    assert await open_cases() == [(id_, registry_pb2.CASE_STATE_UNDER_REVIEW)]
    wanted.accreditation_id = id_
    wanted.conditions.add(text="External examiners.")
    granted = await agreed(registry, "GrantAccreditation", wanted)
    assert (granted.accreditation.id, granted.accreditation.case_revision) == (id_, 3)
    assert await open_cases() == []
    change = registry_pb2.ReportChangeRequest(
        request_id=rid(),
        accreditation_id=id_,
        change=facts_pb2.PROVIDER_CHANGE_OWNERSHIP,
        changed_at=timestamp(datetime(2026, 1, 1, tzinfo=UTC)),
        statement="A foundation owns us.",
    )
    await registry.call(UCL, "ReportChange", change)
    case = (await registry.call(None, "GetCase", registry_pb2.GetCaseRequest(accreditation_id=id_))).case
    assert (case.state, case.accreditation_revision) == (registry_pb2.CASE_STATE_DECIDED, 1)
    assert [(step.actor, bool(step.officer)) for step in case.steps] == [
        (UCL, False), (DAI, True), (DAI, True), (UCL, False)
    ]  # fmt: skip
    # A case grows with every report: its steps come in pages.
    page = registry_pb2.GetCaseRequest(accreditation_id=id_, page_size=3)
    first = await registry.call(None, "GetCase", page)
    page.page_token = first.next_page_token
    last = await registry.call(None, "GetCase", page)
    assert [*first.case.steps, *last.case.steps] == list(case.steps)
    assert (len(last.case.steps), last.case.revision, last.next_page_token) == (1, 4, "")
    foreign = registry_pb2.GetCaseRequest(accreditation_id=another, page_token=first.next_page_token)
    with pytest.raises(InvalidArgument) as caught:
        await registry.call(None, "GetCase", foreign)
    assert caught.value.reason == "BAD_PAGE_TOKEN"
    # What facts say of officers is not what the token issuer calls them.
    assert not await pool.fetchval("SELECT count(*) FROM fact WHERE position('one'::bytea IN body) > 0")


async def test_one_heartbeat_an_interval_whatever_the_number_of_replicas(
    schema: None, pool: asyncpg.Pool, clock: ManualClock
) -> None:
    new_id = UuidFactory(clock)
    replicas = [Heartbeat(pool, clock, new_id, 2.0) for _ in range(3)]
    assert sorted(await asyncio.gather(*(replica.beat() for replica in replicas))) == [False, False, True]
    clock.advance(timedelta(seconds=1.9))
    assert [await replica.beat() for replica in replicas] == [False] * 3
    clock.advance(timedelta(seconds=0.1))
    assert sum([await replica.beat() for replica in replicas]) == 1
    rows = await pool.fetch("SELECT * FROM outbox ORDER BY id")
    assert [(row["topic"], row["key"], row["revision"]) for row in rows] == [
        (topics.REGISTRY_HEARTBEAT, "registry", 1),
        (topics.REGISTRY_HEARTBEAT, "registry", 2),
    ]
    said = events_pb2.RegistryHeartbeat.FromString(rows[1]["value"])
    assert said.registry_revision == 0
    assert said.at.ToDatetime(tzinfo=UTC) == clock.now()


async def test_nothing_is_said_before_the_facts_are_read(schema: None, pool: asyncpg.Pool, clock: ManualClock) -> None:
    recorder = Recorder(
        pool, Frameworks.load(Standing), clock, UuidFactory(clock), operator=OPERATOR, refresh_seconds=1
    )
    with pytest.raises(VitneError) as caught:
        recorder.as_of()
    assert caught.value.reason == "REGISTRY_STARTING"
    await recorder.refresh()
    assert recorder.as_of() == clock.now()
    clock.advance(timedelta(seconds=30))
    assert recorder.as_of() == clock.now() - timedelta(seconds=30)
    with suppress(TimeoutError):
        await asyncio.wait_for(recorder.run(), 0.3)
    assert recorder.as_of() > clock.now() - timedelta(seconds=2)


def module_of(
    parts: list[registry_pb2.PublishAchievementRequest], whole: str
) -> registry_pb2.PublishQualificationRequest:
    asked = [qualification_pb2.AchievementRange(id=part.achievement.id) for part in parts]
    return registry_pb2.PublishQualificationRequest(
        request_id=rid(),
        qualification=qualification_pb2.Qualification(
            id=rid(),
            version=1,
            provider=UCL,
            awards=qualification_pb2.AchievementVersion(id=whole, version=1),
            requirement=qualification_pb2.Requirement(
                key="ects", points_of=qualification_pb2.PointsOf(unit="ects", points="5", achievements=asked)
            ),
        ),
    )


def held(part: registry_pb2.PublishAchievementRequest, **changes: Any) -> stacking_pb2.StackedCredential:
    fields: dict[str, Any] = {
        "reference": f"my {part.achievement.id[-4:]}",
        "achievement": qualification_pb2.AchievementVersion(id=part.achievement.id, version=1),
        "awarded_on": "2026-06-01",
        "status": credential_pb2.STATUS_VALID,
        **changes,
    }
    return stacking_pb2.StackedCredential(**fields)


async def test_five_parts_of_klimaregnskaber_add_up_to_the_module(
    registry: Running, pool: asyncpg.Pool, tmp_path: Path
) -> None:
    await set_up_ucl(registry)
    parts = [klima(size) for size in ("1.25", "1.25", "1", "1", "0.5")]
    whole = klima("5", kind="dk.module")
    for request in (*parts, whole):
        await registry.call(UCL, "PublishAchievement", request)
    published = module_of(parts, whole.achievement.id)
    first = await registry.call(UCL, "PublishQualification", published)
    assert await registry.call(UCL, "PublishQualification", published) == first, "answered once"
    said = first.fact.qualification

    # It is a fact as all others: told, listed, shown, and without a leaf of the log.
    told = await pool.fetchval("SELECT value FROM outbox WHERE topic = $1 ORDER BY id DESC", topics.REGISTRY_FACTS)
    assert events_pb2.RegistryFactRecorded.FromString(told).fact == first.fact
    assert await pool.fetchval("SELECT count(*) FROM outbox WHERE topic = $1", topics.REGISTRY_LEAVES) == 1
    for version in (0, 1):
        found = await registry.call(
            None, "GetQualification", registry_pb2.GetQualificationRequest(id=said.id, version=version)
        )
        assert found.qualification == said
    status, _, body = await registry.get(f"/v1/qualifications?provider={UCL}")
    (shown,) = json.loads(body)["qualifications"]
    assert (status, shown["id"], shown["title"]) == (200, said.id, {"da": "Klimaregnskaber"})

    async def ask(*credentials: stacking_pb2.StackedCredential, caller: str = UIO) -> stacking_pb2.StackingAnswer:
        question = stacking_pb2.EvaluateStackingRequest(credentials=credentials)
        (answer,) = (await registry.call(caller, "EvaluateStacking", question)).answers
        assert (answer.qualification_id, answer.rule_digest) == (said.id, said.rule_digest)
        return answer  # type: ignore[no-any-return]

    everything = [held(part) for part in parts]
    assert (await ask(*everything)).outcome == stacking_pb2.STACKING_OUTCOME_COMPLETE
    lost = await ask(*everything[:4], held(parts[4], status=credential_pb2.STATUS_REVOKED))
    assert lost.outcome == stacking_pb2.STACKING_OUTCOME_INCOMPLETE
    assert [(one.have, one.need, one.unit) for one in lost.missing] == [("4.50", "5", "ects")]
    assert [one.reason for one in lost.uncounted] == ["REVOKED"]
    # A replica that starts later reads the same from the table.
    async with running(pool, tmp_path / "other") as other:
        found = await other.call(None, "ListQualifications", registry_pb2.ListQualificationsRequest())
        assert list(found.qualifications) == [said]


async def test_qualifications_are_listed_a_page_at_a_time(registry: Running) -> None:
    await set_up_ucl(registry)
    part, whole = klima("5"), klima("5", kind="dk.module")
    for offered in (part, whole):
        await registry.call(UCL, "PublishAchievement", offered)
    ids = set()
    for _ in range(3):
        answer = await registry.call(UCL, "PublishQualification", module_of([part], whole.achievement.id))
        ids.add(answer.fact.qualification.id)
    listed: list[str] = []
    request = registry_pb2.ListQualificationsRequest(page_size=2, provider=UCL)
    for count in (2, 1):
        page = await registry.call(None, "ListQualifications", request)
        assert len(page.qualifications) == count
        listed += [one.id for one in page.qualifications]
        last, request.page_token = request.page_token, page.next_page_token
    assert listed == sorted(ids)
    assert page.next_page_token == ""
    for bad in (
        registry_pb2.ListQualificationsRequest(page_token=last),
        registry_pb2.ListQualificationsRequest(page_token="AAAA"),
    ):
        with pytest.raises(InvalidArgument) as caught:
            await registry.call(None, "ListQualifications", bad)
        assert (caught.value.reason, caught.value.field) == ("BAD_PAGE_TOKEN", "page_token")


async def test_who_publishes_and_who_asks_needs_the_scope(registry: Running) -> None:
    for method, request in (
        ("PublishQualification", module_of([klima()], rid())),
        ("EvaluateStacking", stacking_pb2.EvaluateStackingRequest(credentials=[held(klima())])),
    ):
        with pytest.raises(PermissionDenied) as denied:
            await registry.call(f"{UCL} vitne:registry.achievements", method, request)
        assert denied.value.reason == "SCOPE_MISSING"


async def test_what_ends_soon_is_listed_by_a_command(
    registry: Running, database_dsn: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By an operator's CronJob, which has the database and nothing else."""
    await registry.call(OPERATOR, "RegisterAuthority", authority(DAI, "DK"))
    await registry.call(DAI, "RegisterProvider", provider(UCL, "DK", "dk.business_academy"))
    request = grant()
    request.valid_until.CopyFrom(timestamp(datetime.now(UTC) + timedelta(days=20, hours=1)))
    granted = (await agreed(registry, "GrantAccreditation", request)).accreditation
    settings = settings_in(tmp_path).model_copy(update={"database_dsn": database_dsn})

    async def listed(*arguments: str) -> tuple[int, list[dict[str, Any]]]:
        code = await asyncio.to_thread(due_command, arguments, lambda: settings)
        return code, [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    code, (line,) = await listed("--within", "21")
    assert code == 0
    assert (line["accreditation"], line["provider"], line["days"]) == (granted.id, UCL, 20)
    assert await listed("--within", "20") == (0, [])
    assert (await listed("--within", "21", "--exit-code"))[0] == EXIT_DUE
    # What is due is told as a fact, once; the registry at work learns of it as of what a replica wrote.
    for _ in range(2):
        assert (await listed("--within", "21", "--record"))[0] == 0
    case = registry_pb2.GetCaseRequest(accreditation_id=granted.id)
    async with asyncio.timeout(60):
        while len(steps := (await registry.call(None, "GetCase", case)).case.steps) < 2:
            await asyncio.sleep(0.02)
    told = steps[1].case_step
    assert (len(steps), told.due, told.lead_days, told.due_at) == (
        2,
        facts_pb2.DUE_KIND_END,
        30,
        request.valid_until,
    )
    assert steps[1].actor == OPERATOR
    unreachable = settings.model_copy(update={"database_dsn": "postgresql://127.0.0.1:1/registry"})
    assert await asyncio.to_thread(due_command, [], lambda: unreachable) == 1


async def test_anybody_reads_what_a_provider_lets_learners_take_to_wallets(registry: Running) -> None:
    await set_up_ucl(registry)
    first = klima("5")
    second = klima("5")
    second.achievement.CopyFrom(first.achievement)
    second.achievement.version, second.achievement.catalogue.wallet_transfer = 2, True
    for request in (first, second):
        await registry.call(UCL, "PublishAchievement", request)
    for version, offered in ((0, True), (1, False), (2, True)):
        asked = registry_pb2.GetAchievementRequest(id=first.achievement.id, version=version)
        found = (await registry.call(None, "GetAchievement", asked)).achievement
        assert (found.provider, found.catalogue.wallet_transfer) == (UCL, offered)
    _, _, body = await registry.get(f"/catalogue/{first.achievement.id}", **{"Accept-Language": "da"})
    assert "Overførsel til egen digital tegnebog</dt><dd>tilbydes</dd>" in body
    for bad, field in (
        (registry_pb2.GetAchievementRequest(id=first.achievement.id, version=3), "version"),
        (registry_pb2.GetAchievementRequest(id=rid()), "id"),
    ):
        with pytest.raises(NotFound) as refused:
            await registry.call(None, "GetAchievement", bad)
        assert (refused.value.reason, refused.value.field) == ("ACHIEVEMENT_UNKNOWN", field)
        assert refused.value.remedy
