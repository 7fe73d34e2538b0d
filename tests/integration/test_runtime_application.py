"""One process of the runtime over loopback: every refusal at its edges, its spans, its readiness, its end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import aiohttp
import asyncpg
import grpc
import pytest
from fastapi import Body, FastAPI
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.unit.declared_metrics import samples
from tests.unit.runtime_probe import SCOPE, SERVICE, Part, Servicer, add_probe, call
from vitne.clock import SystemClock
from vitne.errors import FailedPrecondition, NotFound, Unauthenticated, Unavailable, VitneError
from vitne.identifiers import OrganisationId
from vitne.runtime import application as application_module
from vitne.runtime.application import Application, TaskFailed
from vitne.runtime.channel import open_channel
from vitne.runtime.http_protocol import MAX_HEAD
from vitne.runtime.identity import Caller, current_caller
from vitne.runtime.interceptors.deadline import DeadlineInterceptor, remaining_seconds
from vitne.runtime.interceptors.telemetry import TelemetryInterceptor
from vitne.runtime.rules import check_rules
from vitne.runtime.settings import CommonSettings
from vitne.runtime.status import DeadlineExceeded, RuleViolations, error_from_rpc, errors_to_status

ROOT = Path(__file__).resolve().parents[2]
OSLO = OrganisationId.parse("0192:971035854")
STREAMS = ("Up", "Both")
#: How many calls were measured, on the page.
RPC_COUNT = "rpc_server_call_duration_seconds_count"


class Verifier:
    """At the boundary: tokens are the scopes they carry."""

    async def verify(self, token: str) -> Caller:
        if token == "expired":
            raise Unauthenticated("TOKEN_EXPIRED", "the token is no longer valid")
        if token == "unreachable":
            raise Unavailable("IDENTITY_ISSUER_UNREACHABLE", "the issuer's keys are out of reach")
        return Caller(OSLO, frozenset(token.split()), "client", None)


class Token:
    def __init__(self, token: str) -> None:
        self._token = token

    async def token(self) -> str:
        return self._token


def settings(**values: Any) -> CommonSettings:
    return CommonSettings(environment="development", **{"shutdown_grace_seconds": 1.0, **values})


def build(app: FastAPI | None = None, /, **behaviours: Callable[..., Any]) -> Application:
    application = Application("probe", settings(), SystemClock(), verifier=Verifier())
    application.add_servicer(add_probe, Servicer(**behaviours), SERVICE, checks_own_streams=STREAMS)
    if app is not None:
        application.mount_http(app, max_body=1000)
    return application


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
async def serving(token: str | None = None, **behaviours: Callable[..., Any]) -> AsyncIterator[Any]:
    """A channel to a server with these behaviours."""
    async with running(build(**behaviours)) as application:
        channel = open_channel(application.grpc_address, Token(token) if token is not None else None)
        yield channel
        await channel.close()


async def refusal(awaitable: Awaitable[Any]) -> VitneError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await awaitable
    return error_from_rpc(caught.value)


async def everything_of(stream: AsyncIterator[Any]) -> list[Any]:
    return [message async for message in stream]


async def echo(request: Any, _context: Any) -> Any:
    return request


async def repeat(request: Any, _context: Any) -> AsyncIterator[Any]:
    for _ in range(2):
        yield request


async def whoami(_request: Any, _context: Any) -> Any:
    return Part(name=current_caller().organisation.value[:5])


# --- access ---------------------------------------------------------------------------------------


async def test_a_public_method_needs_no_token_and_ignores_one() -> None:
    async with serving(Open=echo) as channel:
        assert await call(channel, "Open")(Part(name="a")) == Part(name="a")
        ignored = (("authorization", "Bearer expired"),)
        assert await call(channel, "Open")(Part(name="a"), metadata=ignored) == Part(name="a")


async def test_a_scoped_method_serves_the_caller_of_the_token() -> None:
    async with serving(SCOPE, Scoped=whoami, Down=repeat) as channel:
        assert await call(channel, "Scoped")(Part()) == Part(name="97103")
        assert len(await everything_of(call(channel, "Down")(Part()))) == 2


@pytest.mark.parametrize("method", ["Scoped", "Down"])
@pytest.mark.parametrize(
    ("authorization", "code", "reason"),
    [
        ([], "UNAUTHENTICATED", "TOKEN_MISSING"),
        (["Bearer "], "UNAUTHENTICATED", "TOKEN_MALFORMED"),
        (["Basic abc"], "UNAUTHENTICATED", "TOKEN_MALFORMED"),
        ([f"Bearer {SCOPE}", "Bearer other"], "UNAUTHENTICATED", "TOKEN_MALFORMED"),
        (["Bearer expired"], "UNAUTHENTICATED", "TOKEN_EXPIRED"),
        (["Bearer unreachable"], "UNAVAILABLE", "IDENTITY_ISSUER_UNREACHABLE"),
        (["Bearer vitne:probe.other"], "PERMISSION_DENIED", "SCOPE_MISSING"),
        ([f"Bearer {SCOPE}.more"], "PERMISSION_DENIED", "SCOPE_MISSING"),
    ],
)
async def test_who_does_not_show_the_scope_is_refused(
    method: str, authorization: list[str], code: str, reason: str
) -> None:
    reached = []

    async def unary(request: Any, _context: Any) -> Any:
        reached.append(request)
        return request

    async def stream(request: Any, _context: Any) -> AsyncIterator[Any]:
        reached.append(request)
        yield request

    async with serving(Scoped=unary, Down=stream) as channel:
        answer = call(channel, method)(Part(), metadata=[("authorization", value) for value in authorization])
        error = await refusal(answer if method == "Scoped" else everything_of(answer))
    assert (error.code, error.reason) == (code, reason)
    assert reason != "SCOPE_MISSING" or error.rule == SCOPE
    assert not reached


@pytest.mark.parametrize("method", ["Forgotten", "NotPublic"])
async def test_a_method_without_an_access_rule_is_unreachable(method: str) -> None:
    async with serving(SCOPE, Forgotten=echo, NotPublic=echo) as channel:
        error = await refusal(call(channel, method)(Part()))
    assert (error.code, error.reason) == ("PERMISSION_DENIED", "METHOD_WITHOUT_ACCESS_RULE")


async def test_without_a_verifier_only_public_methods_are_served() -> None:
    application = Application("probe", settings(), SystemClock())
    application.add_servicer(add_probe, Servicer(Open=echo, Scoped=echo), SERVICE, checks_own_streams=STREAMS)
    async with running(application):
        channel = open_channel(application.grpc_address, Token(SCOPE))
        assert await call(channel, "Open")(Part()) == Part()
        error = await refusal(call(channel, "Scoped")(Part()))
        await channel.close()
    assert (error.code, error.reason) == ("UNAUTHENTICATED", "NO_TOKEN_ISSUER")


def test_production_without_a_verifier_does_not_start() -> None:
    with pytest.raises(ValueError, match="verifier"):
        Application("probe", CommonSettings(environment="production"), SystemClock())


# --- requests --------------------------------------------------------------------------------------


async def test_a_request_that_breaks_the_rules_never_reaches_the_handler() -> None:
    reached: list[Any] = []
    async with serving(Open=lambda *_: reached.append(1)) as channel:
        error = await refusal(call(channel, "Open")(Part(name="too long", parts=[Part(name="too long")])))
    assert isinstance(error, RuleViolations)
    assert [(entry.field, entry.reason) for entry in error.violations] == [
        ("name", "TOO_LONG"),
        ("parts[0].name", "TOO_LONG"),
    ]
    assert not reached


async def test_bytes_that_are_no_message_are_an_invalid_argument() -> None:
    async def take(requests: AsyncIterator[Any], _context: Any) -> Any:
        return Part(parts=await everything_of(requests))

    async with serving(Open=echo, Up=take) as channel:
        error = await refusal(channel.unary_unary(f"/{SERVICE}/Open")(b"\xff\xff"))
        assert (error.code, error.reason) == ("INVALID_ARGUMENT", "MALFORMED_MESSAGE")

        async def requests() -> AsyncIterator[bytes]:
            yield Part(name="a").SerializeToString()
            yield b"\xff\xff"

        error = await refusal(channel.stream_unary(f"/{SERVICE}/Up")(requests()))
        assert (error.code, error.reason) == ("INVALID_ARGUMENT", "MALFORMED_MESSAGE")


async def test_malformed_bytes_are_not_looked_at_before_access() -> None:
    async with serving(Scoped=echo) as channel:
        error = await refusal(channel.unary_unary(f"/{SERVICE}/Scoped")(b"\xff\xff"))
    assert error.reason == "TOKEN_MISSING"


async def test_an_oversized_message_is_refused_by_grpc() -> None:
    async with serving(Open=echo) as channel:
        oversized = b"\0" * (application_module.MAX_RECEIVE_BYTES + 1)
        error = await refusal(channel.unary_unary(f"/{SERVICE}/Open")(oversized))
    assert error.code == "RESOURCE_EXHAUSTED"


async def test_a_stream_checks_its_messages_and_goes_on() -> None:
    async def both(requests: AsyncIterator[Any], _context: Any) -> AsyncIterator[Any]:
        index = 0
        async for request in requests:
            try:
                check_rules(request, prefix=f"items[{index}]")
                yield request
            except RuleViolations as error:
                yield Part(name=error.reason[:5], parts=[Part(name=error.field[:5])])
            index += 1

    async def requests() -> AsyncIterator[Any]:
        for name in ("a", "too long", "b"):
            yield Part(name=name)

    async with serving(Both=both) as channel:
        answers = await everything_of(call(channel, "Both")(requests()))
    assert [answer.name for answer in answers] == ["a", "TOO_L", "b"]
    assert answers[1].parts[0].name == "items"


def test_a_service_says_which_streams_it_checks_itself() -> None:
    application = Application("probe", settings(), SystemClock())
    for named in ((), ("Up",), ("Up", "Both", "Open")):
        with pytest.raises(ValueError, match="checks_own_streams"):
            application.add_servicer(add_probe, Servicer(), SERVICE, checks_own_streams=named)
    with pytest.raises(ValueError, match="no service"):
        application.add_servicer(add_probe, Servicer(), "vitne.probe.v1.Unknown")


# --- errors ----------------------------------------------------------------------------------------


async def test_an_error_reaches_the_client_with_all_it_says() -> None:
    told = FailedPrecondition("REVOKED", "revoked is final", field="change", rule="r", remedy="m", metadata={"id": "x"})

    async def refuse(_request: Any, _context: Any) -> Any:
        raise told

    async def refuse_later(request: Any, _context: Any) -> AsyncIterator[Any]:
        yield request
        raise told

    async with serving(SCOPE, Open=refuse, Down=refuse_later) as channel:
        error = await refusal(call(channel, "Open")(Part()))
        assert type(error) is FailedPrecondition
        assert vars(error) == vars(told)
        stream = call(channel, "Down")(Part())
        assert await stream.read() == Part()
        assert vars(await refusal(stream.read())) == vars(told)


async def test_an_unforeseen_fault_tells_nothing_but_an_incident(caplog: pytest.LogCaptureFixture) -> None:
    async def fail(_request: Any, _context: Any) -> Any:
        raise KeyError("Kari Nordmann 01819012345")

    async with serving(Open=fail) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(channel, "Open")(Part())
    error = error_from_rpc(caught.value)
    assert (error.code, error.reason) == ("INTERNAL", "INTERNAL")
    assert "Nordmann" not in str(caught.value)
    (record,) = [record for record in caplog.records if hasattr(record, "incident")]
    assert record.incident == error.metadata["incident"]
    assert "KeyError" in record.getMessage()
    assert any("fail" in frame for frame in record.__dict__["frames"])
    assert "Nordmann" not in caplog.text


async def test_a_response_of_another_kind_is_a_fault_like_any_other() -> None:
    async def wrong(_request: Any, _context: Any) -> Any:
        return "Kari Nordmann"

    async def wrong_stream(_request: Any, _context: Any) -> AsyncIterator[Any]:
        yield "Kari Nordmann"

    async with serving(SCOPE, Open=wrong, Down=wrong_stream) as channel:
        for awaitable in (call(channel, "Open")(Part()), everything_of(call(channel, "Down")(Part()))):
            error = await refusal(awaitable)
            assert (error.code, error.reason) == ("INTERNAL", "INTERNAL")


def remote(error: VitneError) -> grpc.aio.AioRpcError:
    status = errors_to_status(error)
    trailer = grpc.aio.Metadata(("grpc-status-details-bin", status.SerializeToString()))
    return grpc.aio.AioRpcError(grpc.StatusCode[error.code], grpc.aio.Metadata(), trailer, error.message)


@pytest.mark.parametrize(
    ("raised", "code", "reason"),
    [
        (ConnectionRefusedError(111, "refused"), "UNAVAILABLE", "DATABASE_UNAVAILABLE"),
        (TimeoutError(), "UNAVAILABLE", "DATABASE_UNAVAILABLE"),
        (asyncpg.ConnectionDoesNotExistError("x"), "UNAVAILABLE", "DATABASE_UNAVAILABLE"),
        (asyncpg.CannotConnectNowError("starting"), "UNAVAILABLE", "DATABASE_UNAVAILABLE"),
        (asyncpg.InterfaceError("pool is closed"), "UNAVAILABLE", "DATABASE_UNAVAILABLE"),
        (asyncpg.InterfaceError("another operation is in progress"), "INTERNAL", "INTERNAL"),
        (FileNotFoundError("key.json"), "INTERNAL", "INTERNAL"),
        (asyncpg.UniqueViolationError("x"), "INTERNAL", "INTERNAL"),
        (asyncpg.SerializationError("x"), "ABORTED", "TRANSACTION_CONFLICT"),
        (asyncpg.DeadlockDetectedError("x"), "ABORTED", "TRANSACTION_CONFLICT"),
        (asyncpg.InvalidCachedStatementError("x"), "ABORTED", "TRANSACTION_CONFLICT"),
        (remote(Unavailable("STALE", "x")), "UNAVAILABLE", "STALE"),
        # Our own token or request was refused further on: not the fault of who called us.
        (remote(Unauthenticated("TOKEN_EXPIRED", "x")), "INTERNAL", "INTERNAL"),
        (remote(NotFound("UNKNOWN_LIST", "x")), "INTERNAL", "INTERNAL"),
    ],
)
async def test_what_other_parts_raise_is_translated(raised: Exception, code: str, reason: str) -> None:
    async def fail(_request: Any, _context: Any) -> Any:
        raise raised

    async with serving(Open=fail) as channel:
        error = await refusal(call(channel, "Open")(Part()))
    assert (error.code, error.reason) == (code, reason)


async def test_a_method_that_is_not_overridden_is_unimplemented() -> None:
    async with serving() as channel:
        error = await refusal(call(channel, "Missing")(Part()))
        assert (error.code, error.reason) == ("UNIMPLEMENTED", "METHOD_NOT_IMPLEMENTED")
        error = await refusal(channel.unary_unary(f"/{SERVICE}/Unknown")(b""))
        assert error.code == "UNIMPLEMENTED"


# --- deadlines and traces --------------------------------------------------------------------------


async def test_the_deadline_travels_and_ends_the_work() -> None:
    cancelled = asyncio.Event()
    left: list[float | None] = []

    async def slow(_request: Any, _context: Any) -> Any:
        left.append(remaining_seconds())
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async with serving(Open=slow) as channel:
        error = await refusal(call(channel, "Open")(Part(), timeout=0.3))
        await asyncio.wait_for(cancelled.wait(), 2)
    assert isinstance(error, DeadlineExceeded)
    assert left[0] is not None
    assert 0 < left[0] <= 0.5  # gRPC rounds deadlines


async def test_calls_made_on_the_way_inherit_what_is_left() -> None:
    left: list[float | None] = []
    target: list[Any] = []

    async def last(request: Any, _context: Any) -> Any:
        left.append(remaining_seconds())
        return request

    async def first(request: Any, _context: Any) -> Any:
        return await call(target[0], "Missing")(request)

    async with serving(Open=first, Missing=last) as channel:
        target.append(channel)
        await call(channel, "Open")(Part(), timeout=3)
        await call(channel, "Open")(Part(), timeout=100)
    assert left[0] is not None
    assert left[1] is not None
    assert left[0] <= 3.2 < left[1] < 11  # gRPC rounds deadlines


async def test_a_call_without_a_deadline_gets_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(application_module, "DeadlineInterceptor", lambda: DeadlineInterceptor(0.05))

    async def slow(_request: Any, _context: Any) -> Any:
        await asyncio.sleep(30)

    async with running(build(Open=slow)) as application:
        channel = grpc.aio.insecure_channel(application.grpc_address)
        error = await refusal(call(channel, "Open")(Part()))
        await channel.close()
    assert error.reason == "DEADLINE_EXCEEDED"


async def test_one_trace_leads_through_servers_and_carries_ids_only(monkeypatch: pytest.MonkeyPatch) -> None:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("test")
    monkeypatch.setattr(application_module, "TelemetryInterceptor", lambda: TelemetryInterceptor(tracer))
    target: list[Any] = []

    async def first(request: Any, _context: Any) -> Any:
        answers = await everything_of(call(target[0], "Down")(request))
        return answers[0]

    async def fail(_request: Any, _context: Any) -> Any:
        raise KeyError

    async with serving(SCOPE, Scoped=first, Down=repeat, Open=fail) as channel:
        target.append(channel)
        with tracer.start_as_current_span("test") as root:
            await call(channel, "Scoped")(Part(name="Kari"))
            await refusal(call(channel, "Open")(Part()))
    await asyncio.sleep(0)
    spans = {span.name: span for span in exporter.get_finished_spans()}
    assert set(spans) == {"test", f"{SERVICE}/Scoped", f"{SERVICE}/Down", f"{SERVICE}/Open"}
    assert {span.context.trace_id for span in spans.values()} == {root.get_span_context().trace_id}
    scoped = dict(spans[f"{SERVICE}/Scoped"].attributes or {})
    assert scoped == {
        "rpc.system": "grpc",
        "rpc.service": SERVICE,
        "rpc.method": "Scoped",
        "rpc.grpc.status_code": 0,
        "vitne.caller": str(OSLO),
    }
    assert spans[f"{SERVICE}/Open"].status.is_ok is False
    assert (spans[f"{SERVICE}/Open"].attributes or {})["rpc.grpc.status_code"] == 13


# --- health, readiness, HTTP -----------------------------------------------------------------------


async def test_health_and_reflection_are_open() -> None:
    async with serving(Open=echo) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        async with asyncio.timeout(60):
            async for answer in stub.Watch(health_pb2.HealthCheckRequest(service=SERVICE)):
                if answer.status == health_pb2.HealthCheckResponse.SERVING:
                    break

        async def requests() -> AsyncIterator[Any]:
            yield reflection_pb2.ServerReflectionRequest(list_services="")

        reflection = reflection_pb2_grpc.ServerReflectionStub(channel)
        answers = await everything_of(reflection.ServerReflectionInfo(requests()))
        names = {service.name for service in answers[0].list_services_response.service}
        assert {SERVICE, "grpc.health.v1.Health"} <= names


async def get(session: aiohttp.ClientSession, url: str, **options: Any) -> tuple[int, Any]:
    async with session.request(options.pop("method", "GET"), url, **options) as response:
        text = await response.text()
        return response.status, json.loads(text) if "json" in response.content_type else text


async def test_readiness_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(application_module, "READINESS_TIMEOUT_SECONDS", 0.05)
    state: dict[str, str | None] = {"reason": None}

    async def check() -> str | None:
        return state["reason"]

    async def fails() -> str | None:
        if state["reason"]:
            raise KeyError("secret")
        return None

    async def hangs() -> str | None:
        if state["reason"]:
            await asyncio.sleep(10)
        return None

    application = build()
    for name, part in (("registry", check), ("database", fails), ("broker", hangs)):
        application.add_readiness(name, part)
    async with running(application), aiohttp.ClientSession() as session:
        url = f"http://{application.http_address}"
        assert await get(session, f"{url}/livez") == (200, "ok\n")
        assert await get(session, f"{url}/readyz") == (200, {"ready": True, "missing": {}})
        state["reason"] = "silent for 700 s"
        status, body = await get(session, f"{url}/readyz")
        assert status == 503
        assert body == {
            "ready": False,
            "missing": {"registry": "silent for 700 s", "database": "KeyError", "broker": "no answer within 0.05 s"},
        }
        assert (await get(session, f"{url}/livez"))[0] == 200
        application.stop()
        assert await application.readiness() == {"process": "shutting down"}


def web() -> FastAPI:
    app = FastAPI()

    @app.post("/refuse/{kind}")
    async def refuse(kind: str, text: Annotated[str, Body(embed=True)]) -> str:
        if kind == "not-found":
            raise NotFound("UNKNOWN_CREDENTIAL", "no such credential", field="id", rule="r", remedy="m")
        if kind == "rules":
            check_rules(Part(name="too long", parts=[Part(name="too long")]))
        if kind == "fault":
            raise KeyError("Kari Nordmann")
        return text

    @app.get("/{path:path}")
    async def catch_all(path: str) -> str:
        return path

    return app


async def test_http_refuses_with_problem_details() -> None:
    async with running(build(web())) as application, aiohttp.ClientSession() as session:

        async def post(kind: str, **options: Any) -> tuple[int, Any]:
            url = f"http://{application.http_address}/refuse/{kind}"
            return await get(session, url, method="POST", **({"json": {"text": "x"}} | options))

        assert await get(session, f"http://{application.http_address}/livez") == (200, "ok\n")
        assert await post("nothing") == (200, "x")
        assert await post("not-found") == (
            404,
            {
                "type": "https://vitne.example/problems/unknown-credential",
                "title": "Not Found",
                "status": 404,
                "detail": "no such credential",
                "reason": "UNKNOWN_CREDENTIAL",
                "field": "id",
                "rule": "r",
                "remedy": "m",
            },
        )
        status, body = await post("rules")
        assert (status, [entry["field"] for entry in body["violations"]]) == (400, ["name", "parts[0].name"])
        status, body = await post("fault")
        assert (status, body["reason"]) == (500, "INTERNAL")
        assert "Nordmann" not in json.dumps(body)
        status, body = await post("x", json={"text": ["Nordmann"]})
        assert (status, body["reason"], body["field"]) == (400, "BAD_FIELD", "text")
        assert "Nordmann" not in json.dumps(body)
        assert (await get(session, f"http://{application.http_address}/x", method="PUT"))[0] == 405


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_beyond_the_bound_is_refused_however_it_is_sent(chunked: bool) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(4):
            yield b"x" * 500

    async with running(build(web())) as application, aiohttp.ClientSession() as session:
        url = f"http://{application.http_address}/refuse/x"
        status, body = await get(session, url, method="POST", data=chunks() if chunked else b"x" * 1001)
    assert (status, body["reason"], body["field"]) == (413, "BODY_TOO_LARGE", "body")


@pytest.mark.parametrize(
    ("begin", "more"),
    [
        pytest.param(b"GET / HTTP/1.1\r\nhost: x\r\n", b"a-header: " + b"x" * 1000 + b"\r\n", id="many headers"),
        pytest.param(b"GET / HTTP/1.1\r\nhost: ", b"x" * 1000, id="a header that does not end"),
        pytest.param(b"GET /", b"x" * 1000, id="an address that does not end"),
        pytest.param(
            b"POST /refuse/x HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n0\r\n",
            b"a-trailer: " + b"x" * 1000 + b"\r\n",
            id="trailers",
        ),
    ],
)
async def test_a_head_that_does_not_end_ends_the_connection(begin: bytes, more: bytes) -> None:
    async with running(build(web())) as application:
        host, _, port = application.http_address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        answered = asyncio.create_task(reader.read())
        writer.write(begin)
        sent = 0
        with suppress(ConnectionError):
            while not answered.done() and sent < 4 * MAX_HEAD:
                writer.write(more)
                sent += len(more)
                await writer.drain()
                await asyncio.sleep(0)
        async with asyncio.timeout(60):
            with suppress(ConnectionError):
                assert b" 400 " in (await answered).partition(b"\r\n")[0]
        assert sent >= MAX_HEAD
        writer.close()


# --- the end ---------------------------------------------------------------------------------------


async def test_a_running_call_gets_its_grace_and_tasks_end_in_order() -> None:
    begun, events = asyncio.Event(), []

    async def slow(request: Any, _context: Any) -> Any:
        begun.set()
        await asyncio.sleep(0.2)
        events.append("answered")
        return request

    async def background() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            events.append("task ended")

    async def second() -> None:
        events.append("second callback")

    application = build(Open=slow)
    application.add_task("background", background)
    application.on_close(lambda: events.append("first callback"))
    application.on_close(second)
    async with running(application):
        channel = open_channel(application.grpc_address, None)
        answer = asyncio.ensure_future(call(channel, "Open")(Part(name="a")))
        await begun.wait()
        application.stop()
        assert await answer == Part(name="a")
        await channel.close()
    assert events == ["answered", "task ended", "second callback", "first callback"]


async def test_a_task_that_fails_ends_the_process_in_order() -> None:
    closed = []

    async def fails() -> None:
        await asyncio.sleep(0.05)
        raise KeyError("x")

    application = build()
    application.add_task("fails", fails)
    application.on_close(lambda: closed.append(True))
    with pytest.raises(TaskFailed) as caught:
        await asyncio.wait_for(application.run(), 10)
    assert isinstance(caught.value.__cause__, KeyError)
    assert closed == [True]


async def test_a_task_that_does_not_end_is_left_behind(caplog: pytest.LogCaptureFixture) -> None:
    released = asyncio.Event()

    async def stubborn() -> None:
        while not released.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await released.wait()

    application = Application("probe", settings(shutdown_grace_seconds=0.1), SystemClock())
    application.add_task("stubborn", stubborn)
    async with asyncio.timeout(10), running(application):
        pass
    released.set()
    assert "task does not end" in caplog.text


async def test_more_calls_than_can_be_served_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(application_module, "MAX_CONCURRENT_CALLS", 2)
    release = asyncio.Event()

    async def wait(request: Any, _context: Any) -> Any:
        await release.wait()
        return request

    async with serving(Open=wait) as channel:
        calls = [asyncio.ensure_future(call(channel, "Open")(Part())) for _ in range(3)]
        done, waiting = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED, timeout=5)
        error = await refusal(done.pop())
        release.set()
        assert [await answer for answer in waiting] == [Part(), Part()]
    assert error.code == "RESOURCE_EXHAUSTED"


@pytest.mark.parametrize("where", ["grpc_listen", "http_listen"])
async def test_an_address_of_others_ends_the_start(where: str) -> None:
    closed = []
    application = Application("probe", settings(**{where: "203.0.113.1:1"}), SystemClock())
    application.on_close(lambda: closed.append(True))
    with pytest.raises(OSError, match=r"203\.0\.113\.1|assign"):
        await asyncio.wait_for(application.run(), 10)
    assert closed == [True]


async def test_a_port_that_is_taken_ends_the_start() -> None:
    async with running(build()) as application:
        other = Application("probe", settings(http_listen=application.http_address), SystemClock())
        with pytest.raises(OSError, match=r"[Aa]ddress"):
            await asyncio.wait_for(other.run(), 10)


async def test_processes_that_say_so_share_a_port() -> None:
    def sharing(**changes: Any) -> Application:
        return Application("probe", settings(http_port_shared=True, **changes), SystemClock())

    async with running(sharing()) as first, running(sharing(http_listen=first.http_address)) as second:
        assert second.http_address == first.http_address
        async with aiohttp.ClientSession() as session, session.get(f"http://{first.http_address}/livez") as answer:
            assert answer.status == 200


_PROGRAM = """
import asyncio, sys
from vitne.clock import SystemClock
from vitne.runtime.application import Application
from vitne.runtime.main import cli
from vitne.runtime.settings import CommonSettings

async def serve(settings):
    application = Application("probe", settings, SystemClock())
    async def crash():
        raise KeyError("01819012345")
    if "crash" in settings.client_id:
        application.add_task("crash", crash)
    async def announce():
        print("up", application.http_address, flush=True)
    application.add_task("announce", announce)
    application.on_close(lambda: print("closed", flush=True))
    await application.run()

raise SystemExit(cli("probe", "Probes.", serve=serve, migrations=[], settings=CommonSettings))
"""


async def program(*arguments: str, **environment: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        _PROGRAM,
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "VITNE_ENVIRONMENT": "development"} | environment,
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_the_process_with_zero(number: signal.Signals, tmp_path: Path) -> None:
    traces = tmp_path / "spans.jsonl"
    process = await program("serve", VITNE_TRACE_FILE=str(traces))
    assert process.stdout is not None
    line = await asyncio.wait_for(process.stdout.readline(), 60)
    async with aiohttp.ClientSession() as session:
        url = f"http://{line.split()[1].decode()}"
        assert (await get(session, f"{url}/livez"))[0] == 200  # probes leave no span
        assert (await get(session, f"{url}/kari-nordmann?code=nordmann"))[0] == 404
    process.send_signal(number)
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, err.decode()
    assert out == b"closed\n"
    assert [json.loads(entry)["message"] for entry in err.decode().splitlines()] == ["started", "stopping"]
    (span,) = [json.loads(entry) for entry in traces.read_text().splitlines()]
    assert (span["service"], span["name"], span["attributes"]["http.response.status_code"]) == ("probe", "GET", 404)
    assert "nordmann" not in traces.read_text()


async def test_a_crashed_task_ends_the_process_with_one() -> None:
    process = await program("serve", VITNE_CLIENT_ID="crash")
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 1
    assert b"closed" in out
    assert b"KeyError" in err
    assert b"01819012345" not in err


@pytest.mark.parametrize(
    ("arguments", "environment", "code", "told"),
    [
        (["serve"], {"VITNE_GRPC_LISTEN": "nowhere"}, 2, "VITNE_GRPC_LISTEN: "),
        (
            ["serve"],
            {"VITNE_GRPC_LISTEN": "127.0.0.1:1", "VITNE_ENVIRONMENT": "production"},
            2,
            "VITNE_GRPC_CERTIFICATE_FILE: ",
        ),
        (["migrate"], {}, 0, "nothing to migrate"),
        (["--help"], {}, 0, "VITNE_DATABASE_DSN"),
        ([], {}, 2, "usage"),
    ],
)
async def test_the_command_line(arguments: list[str], environment: dict[str, str], code: int, told: str) -> None:
    process = await program(*arguments, **environment)
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == code
    assert told in (out + err).decode()


# --- what is measured ----------------------------------------------------------------------------------------


def calls(method: str) -> dict[str, int]:
    """How many calls of a method were measured, by status."""
    return {status: int(count) for (_, name, status), count in samples(RPC_COUNT).items() if name.endswith(method)}


async def test_calls_are_measured_by_method_and_status_and_unknown_ones_not_at_all() -> None:
    before, series = calls("/Open"), len(samples(RPC_COUNT))
    async with serving(Open=echo) as channel:
        await call(channel, "Open")(Part(name="a"))
        await refusal(call(channel, "Open")(Part(name="too long")))
        await refusal(call(channel, "Scoped")(Part()))
        unknown = channel.unary_unary("/vitne.probe.v1.ProbeService/NoSuchMethod")
        with pytest.raises(grpc.aio.AioRpcError):
            await unknown(b"")
    after = calls("/Open")
    assert after["OK"] == before.get("OK", 0) + 1
    assert after["INVALID_ARGUMENT"] == before.get("INVALID_ARGUMENT", 0) + 1
    assert calls("/Scoped")["UNAUTHENTICATED"] >= 1
    assert calls("/NoSuchMethod") == {}
    assert len(samples(RPC_COUNT)) <= series + 3


async def test_requests_are_measured_by_route_never_by_path() -> None:
    app = FastAPI(openapi_url=None)

    @app.get("/things/{name}")
    async def thing(name: str) -> str:
        return name

    async with running(build(app)) as application, aiohttp.ClientSession() as session:
        for method, path in (("GET", "/things/secret"), ("GET", "/nowhere/secret"), ("PROPFIND", "/things/secret")):
            async with session.request(method, f"http://{application.http_address}{path}"):
                pass
    found = set(samples("http_server_request_duration_seconds_count"))
    assert {("GET", "/things/{name}", "200"), ("GET", "", "404"), ("_OTHER", "/things/{name}", "405")} <= found
    assert not any("secret" in value or value == "PROPFIND" for attributes in found for value in attributes)


async def test_the_page_is_served_on_a_listener_of_its_own_and_nothing_else_there() -> None:
    application = Application("probe", settings(metrics_listen="127.0.0.1:0"), SystemClock(), verifier=Verifier())
    async with running(application), aiohttp.ClientSession() as session:
        assert application.metrics_address != application.http_address
        for address, path, status in (
            (application.metrics_address, "/metrics", 200),
            (application.metrics_address, "/livez", 404),
            (application.metrics_address, "/readyz", 404),
            (application.http_address, "/metrics", 404),
        ):
            async with session.get(f"http://{address}{path}") as response:
                assert response.status == status, (address, path)
                assert ("process_cpu_seconds_total" in await response.text()) == (status == 200)
    async with running(build()) as without:
        assert without.metrics_address == ""
