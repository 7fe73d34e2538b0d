"""The verifier as a process: its registry over HTTP or Kafka, lists over HTTP, the log over gRPC, its three edges."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
import json
import os
import uuid
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import aiokafka
import grpc
import pytest
from aiohttp import web

from services.verifier.pages import MAX_BODY
from services.verifier.presented import MAX_LENGTH, read
from services.verifier.settings import VerifierSettings
from services.verifier.wiring import build
from tests.unit.accreditation_samples import WITHDRAWN
from tests.unit.test_verifier_formats import issue
from tests.unit.test_w3c_baking import PNG, SVG
from tests.unit.verifier_world import FOREIGN_KEY, LIST, OPERATOR, REGISTRY, TRUST_KEY, World
from vitne.accreditation import FactsReference, render, sign_statement, timestamp
from vitne.canonical import from_b64url
from vitne.clock import SystemClock
from vitne.credentials.elm import seal
from vitne.credentials.elmo import reading as elmo_reading
from vitne.credentials.status_list import MEDIA_TYPE
from vitne.credentials.w3c import baking, renditions
from vitne.credentials.w3c.renditions import Form
from vitne.dev.apache_kafka import EmbeddedKafka
from vitne.dev.broker import EmbeddedBroker
from vitne.dev.certificates import CertificateAuthority
from vitne.dev.nursery import shared_nursery
from vitne.dev.processes import run_module
from vitne.errors import Unavailable
from vitne.frameworks import Standing
from vitne.merkle.leaves import Issued
from vitne.messaging import topics
from vitne.messaging.event_types import REGISTRY_FACT, REGISTRY_HEARTBEAT
from vitne.messaging.headers import build as headers_of
from vitne.messaging.kafka import KafkaSettings, create_topics
from vitne.runtime.application import Application
from vitne.runtime.channel import open_channel
from vitne.runtime.settings import CommonSettings
from vitne.runtime.status import error_from_rpc
from vitne_api.events.v1 import events_pb2
from vitne_api.ledger.v1 import ledger_pb2
from vitne_api.verifier.v1 import verifier_pb2, verifier_pb2_grpc

CLOCK = SystemClock()


class Ledger:
    """The ledger's public proof over the world's log; nothing else of it is asked."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def GetInclusionProof(  # noqa: N802 - the contract's name
        self, request: ledger_pb2.GetInclusionProofRequest, context: Any
    ) -> ledger_pb2.GetInclusionProofResponse:
        return await self._world.log.prove(request.leaf_hash)

    async def GetConsistencyProof(  # noqa: N802 - the contract's name
        self, request: ledger_pb2.GetConsistencyProofRequest, context: Any
    ) -> ledger_pb2.GetConsistencyProofResponse:
        path = await self._world.log.consistency(request.origin, request.from_size, request.to_size)
        return ledger_pb2.GetConsistencyProofResponse(to_size=request.to_size, path=path)

    async def GetSuccession(  # noqa: N802 - the contract's name
        self, request: ledger_pb2.GetSuccessionRequest, context: Any
    ) -> ledger_pb2.GetSuccessionResponse:
        return ledger_pb2.GetSuccessionResponse(statements=await self._world.log.succession())


def _add_proofs(servicer: Ledger, server: grpc.aio.Server) -> None:
    handler = grpc.unary_unary_rpc_method_handler(
        servicer.GetInclusionProof,
        request_deserializer=ledger_pb2.GetInclusionProofRequest.FromString,
        response_serializer=ledger_pb2.GetInclusionProofResponse.SerializeToString,
    )
    consistency = grpc.unary_unary_rpc_method_handler(
        servicer.GetConsistencyProof,
        request_deserializer=ledger_pb2.GetConsistencyProofRequest.FromString,
        response_serializer=ledger_pb2.GetConsistencyProofResponse.SerializeToString,
    )
    succession = grpc.unary_unary_rpc_method_handler(
        servicer.GetSuccession,
        request_deserializer=ledger_pb2.GetSuccessionRequest.FromString,
        response_serializer=ledger_pb2.GetSuccessionResponse.SerializeToString,
    )
    handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
        "GetInclusionProof": handler,
        "GetConsistencyProof": consistency,
        "GetSuccession": succession,
    }
    generic = grpc.method_handlers_generic_handler("vitne.ledger.v1.LedgerService", handlers)
    server.add_generic_rpc_handlers((generic,))


@dataclass
class Public:
    """A world whose public endpoints are really there."""

    world: World
    url: str
    ledger: str

    def settings(self, **changes: Any) -> VerifierSettings:
        values: dict[str, Any] = {
            "environment": "development",
            "verifier_source": "trust-list",
            "trust_list_url": f"{self.url}v1/trust-list",
            "registry_key": TRUST_KEY.key_id,
            "trust_list_refresh_seconds": 0.1,
            "ledger_address": self.ledger,
            "allow": (f"https://status.vitne.example/={self.url}",),
            "shutdown_grace_seconds": 1.0,
            "standings": tuple(Standing),
        }
        return VerifierSettings(**values | changes)

    def arguments(self) -> list[str]:
        return [
            *("--trust-list", f"{self.url}v1/trust-list", "--registry-key", TRUST_KEY.key_id),
            *("--ledger", self.ledger, "--allow", f"https://status.vitne.example/={self.url}"),
        ]


@pytest.fixture
async def public() -> AsyncIterator[Public]:
    world = World(clock=CLOCK)
    world.log_facts()

    def facts() -> tuple[str, bytes]:
        listed = [fact for fact in world.chronicle.facts if not fact.HasField("achievement")]
        return f"trust-list/facts/{listed[-1].registry_revision}", b"".join(map(render, listed))

    async def trust_list(_: web.Request) -> web.Response:
        reference = FactsReference.of(*facts())
        revision = len(world.chronicle.facts)
        return web.Response(text=sign_statement(reference, revision, issuer=REGISTRY, at=CLOCK.now(), signer=TRUST_KEY))

    async def trust_list_facts(_: web.Request) -> web.Response:
        return web.Response(body=facts()[1])

    async def status_list(_: web.Request) -> web.Response:
        try:
            return web.Response(body=(await world.publisher.fetch(LIST)).body, content_type=MEDIA_TYPE)
        except Unavailable:
            return web.Response(status=503)

    app = web.Application()
    app.router.add_get("/v1/trust-list", trust_list)
    app.router.add_get("/v1/trust-list/facts/{revision}", trust_list_facts)
    app.router.add_get("/dk/1", status_list)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    ledger = Application("ledger", CommonSettings(environment="development", shutdown_grace_seconds=0.5), CLOCK)
    service = "vitne.ledger.v1.LedgerService"
    ledger.add_servicer(_add_proofs, Ledger(world), service, checks_own_streams=["SetStatuses"])
    async with running(ledger):
        yield Public(world, "http://{}:{}/".format(*runner.addresses[0][:2]), ledger.grpc_address)
    await runner.cleanup()


@contextlib.asynccontextmanager
async def running(application: Application) -> AsyncIterator[Application]:
    task = asyncio.create_task(application.run())
    started = asyncio.create_task(application.started.wait())
    await asyncio.wait([task, started], return_when=asyncio.FIRST_COMPLETED, timeout=10)
    started.cancel()
    try:
        yield application
    finally:
        application.stop()
        await task


@contextlib.asynccontextmanager
async def verifying(settings: VerifierSettings) -> AsyncIterator[Application]:
    async with running(build(settings, CLOCK)) as application:

        async def ready() -> bool:
            return not await application.readiness()

        await eventually(ready)
        yield application


async def eventually(look: Callable[[], Awaitable[bool]], seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while not await look():
            await asyncio.sleep(0.02)


async def ask(application: Application, credential: str) -> verifier_pb2.VerifyResponse:
    channel = open_channel(application.grpc_address, None)
    stub = verifier_pb2_grpc.VerifierServiceStub(channel)
    try:
        answer: verifier_pb2.VerifyResponse = await stub.Verify(verifier_pb2.VerifyRequest(credential=credential))
        return answer
    finally:
        await channel.close()


async def test_by_trust_list_over_grpc_and_http(public: Public) -> None:
    compact = public.world.issue()
    async with verifying(public.settings()) as application, aiohttp.ClientSession() as session:
        answer = await ask(application, compact)
        assert answer.verdict == verifier_pb2.VERDICT_VALID, answer
        assert answer.registry_revision == len(public.world.chronicle.facts)
        base = f"http://{application.http_address}"
        async with session.post(f"{base}/v1/verify", json={"credential": compact}) as response:
            assert response.status == 200
            told = await response.json()
        assert told["verdict"] == "valid"
        assert told["headline"] == answer.headline
        assert [check["name"] for check in told["checks"]] == [check.name for check in answer.checks]
        assert {check["outcome"] for check in told["checks"]} == {"passed", "skipped"}
        public.world.publisher.statuses[7] = 1
        # Another list's worth of time is not waited for: a verifier that starts now knows.
    async with verifying(public.settings()) as application:
        assert (await ask(application, compact)).verdict == verifier_pb2.VERDICT_REVOKED


async def test_a_withdrawal_reaches_it_with_the_next_trust_list(public: Public) -> None:
    compact = public.world.issue()
    async with verifying(public.settings()) as application:
        public.world.accredit(revision=2, state=WITHDRAWN, effective_from=CLOCK.now() - timedelta(minutes=1))

        async def noted() -> bool:
            return (await ask(application, compact)).verdict == verifier_pb2.VERDICT_VALID_WITH_NOTES

        await eventually(noted)


async def test_by_topics(public: Public, new_broker: Callable[[str], EmbeddedBroker | EmbeddedKafka]) -> None:
    compact = public.world.issue()
    async with new_broker("verifier-broker") as broker:
        await create_topics(
            KafkaSettings(broker.bootstrap_servers),
            [topics.describe(topics.REGISTRY_FACTS), topics.describe(topics.REGISTRY_HEARTBEAT)],
        )
        settings = public.settings(
            verifier_source="topics", kafka_bootstrap_servers=broker.bootstrap_servers, operator=OPERATOR
        )
        async with running(build(settings, CLOCK)) as application:
            early = await ask(application, compact)
            assert early.verdict == verifier_pb2.VERDICT_NOT_DETERMINABLE
            producer = aiokafka.AIOKafkaProducer(bootstrap_servers=broker.bootstrap_servers)
            async with producer:
                for fact in public.world.chronicle.facts:
                    value = events_pb2.RegistryFactRecorded(fact=fact).SerializeToString()
                    await send(producer, topics.REGISTRY_FACTS, fact.subject, fact.subject_revision, value)
                beat = events_pb2.RegistryHeartbeat(
                    registry_revision=len(public.world.chronicle.facts), at=timestamp(CLOCK.now())
                )
                await send(producer, topics.REGISTRY_HEARTBEAT, topics.HEARTBEAT_KEY, 1, beat.SerializeToString())

            async def known() -> bool:
                return (await ask(application, compact)).verdict == verifier_pb2.VERDICT_VALID

            await eventually(known)
            answer = await ask(application, compact)
            assert {check.name for check in answer.checks if check.outcome != 1} == set()

            async def ready() -> bool:
                return not await application.readiness()

            await eventually(ready)


async def send(producer: aiokafka.AIOKafkaProducer, topic: str, key: str, revision: int, value: bytes) -> None:
    headers = headers_of(
        event_id=uuid.uuid4(),
        source="/registry",
        type_=REGISTRY_FACT if topic == topics.REGISTRY_FACTS else REGISTRY_HEARTBEAT,
        time=CLOCK.now(),
        key=key,
        revision=revision,
        traceparent=None,
    )
    await producer.send_and_wait(topic, value, key=key.encode(), headers=headers)


async def test_the_page_needs_no_script_and_shows_what_was_found(public: Public) -> None:
    compact = public.world.issue()
    async with verifying(public.settings()) as application, aiohttp.ClientSession() as session:
        base = f"http://{application.http_address}/"
        async with session.get(base) as response:
            assert response.status == 200
            form = await response.text()
        assert '<form method="post"' in form
        assert "<script" not in form
        async with session.post(base, data={"credential": compact}) as response:
            shown = await response.text()
            assert response.headers["Cache-Control"] == "no-store"
            assert "default-src 'none'" in response.headers["Content-Security-Policy"]
        assert 'class="verdict valid"' in shown
        assert "It is in the log" in shown
        assert "<strong>Kari Prøvesen</strong>" in shown
        async with session.post(base, data={"credential": "<script>alert(1)</script>"}) as response:
            assert response.status == 200
            shown = await response.text()
        assert 'class="verdict invalid"' in shown
        assert "<script" not in shown
        for nothing in ({}, {"credential": ""}, {"credential": " \r\n\t"}):
            async with session.post(base, data=nothing) as response:
                assert response.status == 400
                assert response.headers["Cache-Control"] == "no-store"
                shown = await response.text()
            assert "Nothing was given, so nothing was verified. Paste the whole credential" in shown
            assert "Invalid" not in shown
            assert 'class="verdict invalid"' not in shown
            assert "<table" not in shown
            assert '<form method="post"' in shown
        assert "Nothing was given" not in form


async def test_bad_requests_are_problems_and_bad_credentials_answers(public: Public) -> None:
    async with verifying(public.settings()) as application, aiohttp.ClientSession() as session:
        url = f"http://{application.http_address}/v1/verify"
        both = json.dumps({"credential": "a", "badge_image": "YQ=="})
        bodies = dict.fromkeys(["", "{", "[]", '{"credential":""}', '{"credential":7}'], "BAD_FIELD")
        further = json.dumps({"credential": public.world.issue(), "trust_ancors": "strict"})
        bodies |= dict.fromkeys([further, '{"credentail":"a"}'], "BAD_FIELD")
        bodies |= {"{}": "ONE_REQUIRED", both: "ONE_REQUIRED", '{"badge_image":"a"}': "BAD_BASE64"}
        for body, reason in bodies.items():
            async with session.post(url, data=body, headers={"Content-Type": "application/json"}) as response:
                assert response.status == 400, body[:20]
                assert response.content_type == "application/problem+json"
                told = await response.json()
                assert told["reason"] == reason
                assert all(told[name] for name in ("field", "rule", "remedy"))
        for body, said in (("{}", "neither"), (both, "both")):
            async with session.post(url, data=body, headers={"Content-Type": "application/json"}) as response:
                assert (await response.json())["detail"].startswith(said)
        async with session.post(url, data=further, headers={"Content-Type": "application/json"}) as response:
            told = await response.json()
        assert (told["field"], told["rule"]) == ("trust_ancors", "no member of that name")
        assert told["remedy"] == "correct the name, or leave it out"
        too_large = io.BytesIO(bytes(MAX_BODY + 1))
        async with session.post(url, data=too_large, headers={"Content-Type": "application/json"}) as response:
            assert response.status == 413
            assert (await response.json())["reason"] == "BODY_TOO_LARGE"
        async with session.post(url, json={"credential": "no credential"}) as response:
            assert response.status == 200
            assert (await response.json())["verdict"] == "invalid"
        async with session.get(f"http://{application.http_address}/openapi.json") as response:
            described = await response.json()
        assert described["paths"]["/v1/verify"]["post"]["operationId"] == "verify"
        assert described["components"]["schemas"]["VerifyRequest"]["additionalProperties"] is False


def padded(shown: str, more: int) -> str:
    """The same with white space where it says nothing."""
    place = next(len(sign) for sign in ("{", "<elmo") if shown.startswith(sign))
    return f"{shown[:place]}{' ' * more}{shown[place:]}"


def to_bytes(shown: str, size: int) -> str:
    """The same in so many bytes."""
    return padded(shown, size - len(shown.encode()))


def padded_png(image: bytes, size: int) -> bytes:
    """The same with a chunk of nobody's before its last one."""
    content = b"vtNe" + bytes(size - len(image) - 12)
    chunk = (len(content) - 4).to_bytes(4) + content + zlib.crc32(content).to_bytes(4)
    return image[:-12] + chunk + image[-12:]


def as_large_as_documented(world: World) -> dict[str, verifier_pb2.VerifyRequest]:
    """What is asked of a verifier, by name: of each format the largest that docs/formats.md has."""
    badge = issue(world, Form.BADGE)
    edc, elmo = to_bytes(issue(world, "edc"), seal.MAX_BYTES), to_bytes(issue(world, "elmo"), elmo_reading.MAX_BYTES)
    world.log.append(Issued(from_b64url(read(edc).digest)).leaf_hash())
    world.log.append(bytes(32))
    svg, request = baking.bake(SVG, badge), verifier_pb2.VerifyRequest
    return {
        "edc": request(credential=edc),
        "elmo": request(credential=elmo),
        "document": request(credential=padded(badge, renditions.MAX_LENGTH - len(badge))),
        "png": request(badge_image=padded_png(baking.bake(PNG, badge), baking.MAX_IMAGE)),
        "svg": request(badge_image=svg + b" " * (baking.MAX_IMAGE - len(svg))),
    }


async def test_what_is_as_large_as_documented_is_verified_and_nothing_larger(public: Public) -> None:
    asked = as_large_as_documented(public.world)
    async with verifying(public.settings()) as application, aiohttp.ClientSession() as session:
        channel = open_channel(application.grpc_address, None)
        stub = verifier_pb2_grpc.VerifierServiceStub(channel)

        async def post(body: Mapping[str, str]) -> tuple[int, dict[str, Any]]:
            data, headers = io.BytesIO(json.dumps(body).encode()), {"Content-Type": "application/json"}
            async with session.post(
                f"http://{application.http_address}/v1/verify", data=data, headers=headers
            ) as response:
                return response.status, await response.json()

        for name, request in asked.items():
            answer = await stub.Verify(request)
            assert answer.verdict == verifier_pb2.VERDICT_VALID, (name, answer)
            status, told = await post(in_json(request))
            assert (status, told["verdict"]) == (200, "valid"), name
        # A character more: told by the format's reader, or, beyond all formats, by the contract.
        document = padded(asked["document"].credential, 1)
        answer = await stub.Verify(verifier_pb2.VerifyRequest(credential=document))
        assert [check.name for check in answer.checks if "(TOO_LARGE)" in check.detail] == ["structure"]
        for field, larger in (
            ("credential", verifier_pb2.VerifyRequest(credential=" " * (MAX_LENGTH + 1))),
            ("badge_image", verifier_pb2.VerifyRequest(badge_image=asked["svg"].badge_image + b"   ")),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await stub.Verify(larger)
            error = error_from_rpc(refused.value)
            assert (type(error).code, error.field) == ("INVALID_ARGUMENT", field)
            assert all((error.rule, error.remedy))
            status, told = await post(in_json(larger))
            assert (status, told["field"]) == (400, field)
            assert all((told["rule"], told["remedy"]))
        await channel.close()


def in_json(request: verifier_pb2.VerifyRequest) -> dict[str, str]:
    if request.badge_image:
        return {"badge_image": base64.b64encode(request.badge_image).decode()}
    return {"credential": request.credential}


async def test_a_pin_of_another_key_leaves_it_not_ready(public: Public) -> None:
    compact = public.world.issue()
    async with running(build(public.settings(registry_key="A" * 43), CLOCK)) as application:
        await asyncio.sleep(0.3)
        assert "registry" in await application.readiness()
        assert (await ask(application, compact)).verdict == verifier_pb2.VERDICT_NOT_DETERMINABLE


# --- The command ---


async def check(
    public: Public, credential: str, *changes: str, file: Path | None = None, forked: bool = True
) -> tuple[int, str, str]:
    """Exit code, standard output and standard error; ``forked``: of a program that was imported before."""
    arguments = ["check", *(changes or public.arguments()), str(file or "-")]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("VITNE_")}
    code, output, errors = await run_module(
        "services.verifier",
        arguments,
        environment,
        credential.encode(),
        nursery=shared_nursery() if forked else None,
    )
    return code, output.decode(), errors.decode()


async def test_the_command_says_it_in_one_line_and_then_check_by_check(public: Public, tmp_path: Path) -> None:
    compact = public.world.issue()
    code, output, errors = await check(public, compact, forked=False)
    assert (code, errors) == (0, "")
    first, *rest = output.splitlines()
    assert first.startswith("Valid: “Klimaregnskaber”, issued by Provider on ")
    assert any(line.split()[:2] == ["passed", "log_inclusion:"] for line in rest)
    file = tmp_path / "credential.txt"
    file.write_text(compact.replace(".", ".A", 1))
    code, output, _ = await check(public, "", file=file)
    assert code == 1
    assert output.startswith("Invalid: ")


async def test_the_command_asks_a_ledger_over_tls(public: Public, tmp_path: Path) -> None:
    authority = CertificateAuthority(tmp_path, CLOCK)
    server = authority.issue("ledger", server=True)
    settings = CommonSettings(
        environment="development", shutdown_grace_seconds=0.5, grpc_certificate_file=server, grpc_key_file=server
    )
    ledger = Application("ledger", settings, CLOCK)
    ledger.add_servicer(
        _add_proofs, Ledger(public.world), "vitne.ledger.v1.LedgerService", checks_own_streams=["SetStatuses"]
    )
    compact = public.world.issue()
    async with running(ledger):
        over_tls = [*public.arguments(), "--ledger", ledger.grpc_address]
        code, output, _ = await check(public, compact, *over_tls, "--ledger-ca", str(authority.certificate_path))
        assert (code, output.partition(":")[0]) == (0, "Valid")
        stranger = CertificateAuthority(tmp_path / "stranger", CLOCK)
        code, output, _ = await check(public, compact, *over_tls, "--ledger-ca", str(stranger.certificate_path))
        assert (code, output.partition(":")[0]) == (1, "Not determinable")


async def test_the_command_believes_one_log_only(public: Public) -> None:
    arguments = [*public.arguments(), "--log-origin", "log.vitne.example/2027"]
    code, output, _ = await check(public, public.world.issue(), *arguments)
    assert code == 1
    assert "LOG_ORIGIN_UNKNOWN" in output


async def test_the_command_says_not_determinable_where_it_can_reach_nothing(public: Public) -> None:
    public.world.publisher.failure = Unavailable("DOWN", "down")
    code, output, _ = await check(public, public.world.issue())
    assert code == 1
    assert output.startswith("Not determinable: ")
    nowhere = ["--trust-list", "http://127.0.0.1:1/v1/trust-list", "--registry-key", TRUST_KEY.key_id]
    code, output, errors = await check(public, public.world.issue(), *nowhere, "--ledger", "127.0.0.1:1")
    assert code == 1
    assert output.startswith("Not determinable: ")
    assert "FETCH_FAILED" in errors


async def test_the_command_says_that_the_list_is_not_signed_with_the_key_that_was_given(public: Public) -> None:
    arguments = [*public.arguments(), "--registry-key", FOREIGN_KEY.key_id]
    code, output, errors = await check(public, public.world.issue(), *arguments)
    assert code == 1
    headline = output.splitlines()[0]
    assert headline.startswith("Not determinable: ")
    assert f"not signed with the key that was given, {FOREIGN_KEY.key_id}" in headline
    assert "yet" not in headline
    assert "field: trust_list" in errors
    assert "compare that thumbprint with the one that the registry's operator publishes" in errors
    # Whoever takes the list's word for its key has pinned nothing.
    assert TRUST_KEY.key_id not in output + errors


@pytest.mark.parametrize("option", ["", "--log-policy", "--trust-anchors"])
async def test_the_command_says_which_file_cannot_be_read_and_why(public: Public, tmp_path: Path, option: str) -> None:
    for nowhere, why in ((tmp_path / "nowhere", "No such file or directory"), (tmp_path, "Is a directory")):
        changes = [*public.arguments(), option, str(nowhere)] if option else []
        file = None if option else nowhere
        code, output, errors = await check(public, public.world.issue(), *changes, file=file)
        assert (code, output) == (2, "")
        assert errors.startswith(f"FILE_UNREADABLE: {nowhere} can't be read: {why}; ")
        assert f"field: {option or 'CREDENTIAL_FILE'}; rule: " in errors
        assert "remedy: " in errors


@pytest.mark.parametrize(
    "change",
    [
        [
            "--trust-list",
            "http://192.0.2.1/v1/trust-list",
            "--registry-key",
            TRUST_KEY.key_id,
            "--ledger",
            "127.0.0.1:1",
        ],
        ["--trust-list", "nowhere", "--registry-key", TRUST_KEY.key_id, "--ledger", "127.0.0.1:1"],
        [
            *(
                "--trust-list",
                "https://registry.example/list",
                "--registry-key",
                TRUST_KEY.key_id,
                "--ledger",
                "127.0.0.1:1",
            ),
            *("--allow", "everything"),
        ],
        ["--ledger", "127.0.0.1:1"],
        [
            *(
                "--trust-list",
                "https://registry.example/list",
                "--registry-key",
                TRUST_KEY.key_id,
                "--ledger",
                "127.0.0.1:1",
            ),
            *("--ledger-ca", "/nowhere"),
        ],
    ],
)
async def test_wrong_usage_is_told_apart(public: Public, change: list[str]) -> None:
    code, output, errors = await check(public, "x", *change)
    assert (code, output) == (2, "")
    assert errors
