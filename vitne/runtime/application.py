"""One service process: its servers, its background tasks, its readiness, its end."""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import signal
import socket
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import grpc
import uvicorn
from fastapi import FastAPI
from google.protobuf import descriptor_pool
from google.protobuf.descriptor import ServiceDescriptor
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health
from grpc_reflection.v1alpha import reflection
from prometheus_client.exposition import choose_encoder
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from vitne.clock import Clock
from vitne.metrics import REGISTRY
from vitne.runtime import http
from vitne.runtime.http_protocol import BoundedHttp
from vitne.runtime.interceptors.access import AccessInterceptor, TokenVerifierProtocol
from vitne.runtime.interceptors.chain import MAX_MESSAGE_BYTES, Chain
from vitne.runtime.interceptors.deadline import DeadlineInterceptor
from vitne.runtime.interceptors.errors import ErrorsInterceptor
from vitne.runtime.interceptors.rules import RulesInterceptor
from vitne.runtime.interceptors.telemetry import TelemetryInterceptor
from vitne.runtime.metrics import watch_tls
from vitne.runtime.rules import compile_rules
from vitne.runtime.settings import CommonSettings
from vitne.runtime.tls import TlsWatch, server_context, server_credentials

#: Largest request message that is received at all: gRPC itself refuses beyond it, and can give no reason. What
#: is larger than :data:`MAX_MESSAGE_BYTES` is received, and refused with one.
MAX_RECEIVE_BYTES: Final = 2 * MAX_MESSAGE_BYTES
#: Calls served at once; further ones are refused with RESOURCE_EXHAUSTED rather than kept waiting
#: beyond their deadlines. As many as may wait for a group commit.
MAX_CONCURRENT_CALLS: Final = 4096
#: Connections that HTTP serves at once; further ones get 503.
MAX_HTTP_CONNECTIONS: Final = 4096
#: Milliseconds after which a TLS connection is made anew, without harm to its calls: certificates are looked at when
#: a connection is made, so what was withdrawn from a peer is closed to it within the hour.
MAX_CONNECTION_AGE_MS: Final = 3_600_000
#: Names of the tasks that serve HTTP.
HTTP_TASK: Final = "http"
METRICS_TASK: Final = "metrics-page"
#: Seconds that one readiness check may take before it counts as failed.
READINESS_TIMEOUT_SECONDS: Final = 2.0
#: Seconds between two looks at readiness for gRPC's health service.
HEALTH_INTERVAL_SECONDS: Final = 1.0

_OPTIONS: Final[tuple[tuple[str, int], ...]] = (
    ("grpc.max_receive_message_length", MAX_RECEIVE_BYTES),
    # Several processes may share a port: one a core, or an old and a new one during a restart.
    ("grpc.so_reuseport", 1),
    # Clients behind load balancers may ping every 10 s, even without calls.
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
)

#: Answers None when ready, else why not, in words for an operator.
ReadinessCheck = Callable[[], Awaitable[str | None]]

_log = logging.getLogger(__name__)


class TaskFailed(Exception):
    """A background task or server ended with an exception; the process must end with it."""


class Application:
    """Puts a service's parts together and runs them until SIGTERM or SIGINT.

    gRPC is served with our interceptors, health and reflection; HTTP with ``/livez``,
    ``/readyz`` and what :meth:`mount_http` brings. At the end readiness goes first, then
    running calls get their grace, then tasks are cancelled, then close callbacks run in
    reverse order.

    Args:
        name: of the service, ``issuer``.
        settings: where to listen, and how long to wait at the end.
        clock: tells the time.
        verifier: of access tokens. None: every method that is not public is refused;
            in production that is an error.

    Attributes:
        started: set when everything listens.
        grpc_address: where gRPC listens, ``host:port``, once started.
        http_address: where HTTP listens, once started.
        metrics_address: where ``/metrics`` is served, once started; empty where it is not.
    """

    def __init__(
        self, name: str, settings: CommonSettings, clock: Clock, *, verifier: TokenVerifierProtocol | None = None
    ) -> None:
        if verifier is None and settings.environment == "production":
            raise ValueError("in production a verifier of access tokens is required")
        if faults := settings.protection_faults():
            raise ValueError("; ".join(faults))
        self.name = name
        self.settings = settings
        self.clock = clock
        self.started = asyncio.Event()
        self.grpc_address = ""
        self.http_address = ""
        self.metrics_address = ""
        self._verifier = verifier
        #: By what they are for. Those that are shown to others only are watched here; who uses them looks, too.
        self._tls = {
            use: TlsWatch(files)
            for use, files in (
                ("grpc", settings.grpc_tls),
                ("http", settings.http_tls),
                ("channel", settings.channel_tls),
                ("kafka", settings.kafka_tls),
            )
            if files is not None
        }
        self._grpc_tls = self._tls.get("grpc")
        self._http_tls = self._tls.get("http")
        for use, watch in self._tls.items():
            watch_tls(watch, use, clock)
        self._servicers: list[tuple[Callable[[Any, Any], None], Any]] = []
        self._services: list[str] = []
        self._http: FastAPI | None = None
        self._max_body = http.DEFAULT_MAX_BODY
        self._tasks: list[tuple[str, Callable[[], Awaitable[None]]]] = []
        self._checks: dict[str, ReadinessCheck] = {}
        if self._tls:
            self._checks["certificates"] = self._certificates_hold
        self._callbacks: list[Callable[[], Awaitable[None] | None]] = []
        self._stopping = asyncio.Event()
        self._failure: BaseException | None = None

    def add_servicer(
        self,
        add: Callable[[Any, Any], None],
        servicer: Any,
        service: str,
        *,
        checks_own_streams: Iterable[str] = (),
    ) -> None:
        """Serve an implementation of a gRPC service.

        Args:
            add: the generated ``add_…Servicer_to_server``.
            servicer: what implements the generated base class, with coroutine functions.
            service: full name in the contract, ``vitne.issuer.v1.IssuerService``.
            checks_own_streams: names of the methods that take a stream of requests; by
                naming them the service promises to call
                :func:`~vitne.runtime.rules.check_rules` for each message.

        Raises:
            ValueError: the contract has no such service, or ``checks_own_streams`` is not
                exactly its methods with a stream of requests.
        """
        descriptor = _service_descriptor(service)
        streaming = {method.name for method in descriptor.methods if method.client_streaming}
        if streaming != set(checks_own_streams):
            raise ValueError(
                f"{service}: request streams are not checked by the rules interceptor; "
                f"checks_own_streams must name exactly {sorted(streaming)}"
            )
        for method in descriptor.methods:
            compile_rules(method.input_type)  # a contract that no rule is written for fails here, not in a call
        self._servicers.append((add, servicer))
        self._services.append(service)

    def mount_http(self, app: FastAPI, *, max_body: int = http.DEFAULT_MAX_BODY) -> None:
        """Serve an application over HTTP, with our error answers, spans and a bound on bodies (bytes)."""
        if self._http is not None:
            raise ValueError("one HTTP application a service")
        self._http, self._max_body = app, max_body

    def add_task(self, name: str, run: Callable[[], Awaitable[None]]) -> None:
        """Run a coroutine function beside the servers; if it raises, the process ends with it."""
        self._tasks.append((name, run))

    def add_readiness(self, name: str, check: ReadinessCheck) -> None:
        """Make readiness depend on a check; it answers None when ready, else why not."""
        self._checks[name] = check

    def on_close(self, callback: Callable[[], Awaitable[None] | None]) -> None:
        """Call back at the end, after everything was stopped; the last one added is called first."""
        self._callbacks.append(callback)

    def stop(self) -> None:
        """Begin the end, as SIGTERM does."""
        self._stopping.set()

    async def readiness(self) -> dict[str, str]:
        """What is not ready, and why; empty when ready."""
        if self._stopping.is_set():
            return {"process": "shutting down"}
        if not self.started.is_set():
            return {"process": "starting"}
        outcomes = await asyncio.gather(*(_outcome(check) for check in self._checks.values()))
        return {name: outcome for name, outcome in zip(self._checks, outcomes, strict=True) if outcome is not None}

    async def run(self) -> None:
        """Serve until SIGTERM, SIGINT, :meth:`stop`, or the failure of a part.

        Raises:
            TaskFailed: a background task or server failed; everything was stopped in order.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        server, health_servicer = self._grpc_server()
        web, pages = _WebServer(self._web_config()), None
        background: list[asyncio.Task[None]] = []
        try:
            self.grpc_address = _bind(server, self.settings.grpc_listen, self._grpc_tls)
            await server.start()
            listener = _listen(self.settings.http_listen, shared=self.settings.http_port_shared)
            self.http_address = "{}:{}".format(*listener.getsockname()[:2])
            background.append(self._spawn(HTTP_TASK, _serving(web, listener)))
            await web.listening(self._stopping)
            if self.settings.metrics_listen:
                pages = _WebServer(self._metrics_config())
                listener = _listen(self.settings.metrics_listen)
                self.metrics_address = "{}:{}".format(*listener.getsockname()[:2])
                background.append(self._spawn(METRICS_TASK, _serving(pages, listener)))
                await pages.listening(self._stopping)
            if not self._stopping.is_set():
                background += [self._spawn(name, run) for name, run in self._tasks]
                background.append(self._spawn("health", lambda: self._watch_health(health_servicer)))
                self.started.set()
                _log.info("started", extra={"service": self.name, "grpc": self.grpc_address, "http": self.http_address})
            await self._stopping.wait()
        finally:
            self._stopping.set()
            _log.info("stopping", extra={"service": self.name})
            await self._end(server, health_servicer, [web, *([pages] if pages else [])], background)
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)
        if self._failure is not None:
            raise TaskFailed(str(self._failure)) from self._failure

    def _grpc_server(self) -> tuple[Any, health.HealthServicer]:
        chain = Chain(
            [
                TelemetryInterceptor(),
                ErrorsInterceptor(),
                DeadlineInterceptor(),
                AccessInterceptor(self._verifier, self.settings.grpc_allowed_peers),
                RulesInterceptor(),
            ]
        )
        options = _OPTIONS
        if self._grpc_tls is not None:
            options = (*options, ("grpc.max_connection_age_ms", MAX_CONNECTION_AGE_MS))
        server = grpc.aio.server(interceptors=[chain], options=options, maximum_concurrent_rpcs=MAX_CONCURRENT_CALLS)
        for add, servicer in self._servicers:
            add(servicer, server)
        health_servicer = health.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(health_servicer, server)
        reflection.enable_server_reflection(
            [*self._services, health_pb2.DESCRIPTOR.services_by_name["Health"].full_name, reflection.SERVICE_NAME],
            server,
        )
        return server, health_servicer

    def _web_config(self) -> uvicorn.Config:
        app = self._http or FastAPI(title=self.name, openapi_url=None)
        served = http.install(app, max_body=self._max_body)
        # First, so that no catch-all of the service's own hides them.
        app.router.routes[:0] = [Route(http.LIVE_PATH, self._livez), Route(http.READY_PATH, self._readyz)]
        return self._uvicorn(served)

    def _metrics_config(self) -> uvicorn.Config:
        async def metrics(request: Request) -> Response:
            encode, media_type = choose_encoder(request.headers.get("accept", ""))
            return Response(encode(REGISTRY), headers={"Content-Type": media_type})

        return self._uvicorn(Starlette(routes=[Route(http.METRICS_PATH, metrics)]))

    def _uvicorn(self, served: ASGIApp) -> uvicorn.Config:
        tls = self._http_tls
        return uvicorn.Config(
            served,
            http=BoundedHttp,
            ssl_context_factory=None if tls is None else lambda _config, _default: server_context(tls),
            log_config=None,
            access_log=False,  # paths may name learners
            server_header=False,
            limit_concurrency=MAX_HTTP_CONNECTIONS,
            timeout_graceful_shutdown=max(1, int(self.settings.shutdown_grace_seconds)),
        )

    async def _certificates_hold(self) -> str | None:
        for use, watch in self._tls.items():
            if expired := watch.expired(self.clock.now()):
                return f"{use}: {expired}"
        return None

    async def _livez(self, _request: Request) -> Response:
        """The event loop turns, or this would not answer."""
        return Response("ok\n", media_type="text/plain")

    async def _readyz(self, _request: Request) -> Response:
        missing = await self.readiness()
        body = json.dumps({"ready": not missing, "missing": missing})
        return Response(body, 503 if missing else 200, media_type="application/json")

    def _spawn(self, name: str, run: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
        async def guarded() -> None:
            try:
                await run()
            except Exception as error:  # noqa: BLE001 - whatever ended the task ends the process
                _log.error("task failed", exc_info=error, extra={"task": name})
                self._failure = self._failure or error
                self._stopping.set()

        return asyncio.create_task(guarded(), name=name)

    async def _watch_health(self, servicer: health.HealthServicer) -> None:
        """Keep gRPC's health service saying what ``/readyz`` says, and log what is missing whenever that changes."""
        told: dict[str, str] = {}
        while True:
            missing = await self.readiness()
            if missing.keys() != told.keys():
                told = missing
                if missing:
                    _log.warning("not ready: %s", "; ".join(f"{name}: {why}" for name, why in missing.items()))
                else:
                    _log.info("ready")
            serving = not missing
            status = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
            for service in ("", *self._services):
                await servicer.set(service, status)
            await asyncio.sleep(HEALTH_INTERVAL_SECONDS)

    async def _end(
        self,
        server: Any,
        health_servicer: health.HealthServicer,
        webs: list[_WebServer],
        background: list[asyncio.Task[None]],
    ) -> None:
        grace = self.settings.shutdown_grace_seconds
        await health_servicer.enter_graceful_shutdown()
        for web in webs:
            web.end()
        # All at once: the grace is one, and Kubernetes waits only so long.
        serving = [task for task in background if task.get_name() in (HTTP_TASK, METRICS_TASK)]
        await asyncio.gather(server.stop(grace), *serving)
        for task in background:
            task.cancel()
        if background:
            _, stuck = await asyncio.wait(background, timeout=grace)
            for task in stuck:
                _log.error("task does not end", extra={"task": task.get_name()})
        for callback in reversed(self._callbacks):
            try:
                outcome = callback()
                if inspect.isawaitable(outcome):
                    await outcome
            except Exception as error:  # noqa: BLE001 - the others must still be called
                _log.error("close callback failed", exc_info=error)


class _WebServer(uvicorn.Server):
    """uvicorn as a task among others: signals are the application's."""

    _ended_by_us = False

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def listening(self, stopping: asyncio.Event) -> None:
        """Return when requests are taken, or when the end has begun before."""
        while not self.started and not stopping.is_set():  # noqa: ASYNC110 - uvicorn has a flag, no event
            await asyncio.sleep(0.01)

    def end(self) -> None:
        """Answer what has begun, then return from :meth:`serve_on`."""
        self.should_exit = self._ended_by_us = True

    async def serve_on(self, listener: socket.socket) -> None:
        """Serve until :meth:`end`."""
        await self.serve(sockets=[listener])
        if not self._ended_by_us:
            raise RuntimeError("the HTTP server ended by itself")


def _serving(server: _WebServer, listener: socket.socket) -> Callable[[], Awaitable[None]]:
    return lambda: server.serve_on(listener)


async def _outcome(check: ReadinessCheck) -> str | None:
    try:
        async with asyncio.timeout(READINESS_TIMEOUT_SECONDS):
            return await check()
    except TimeoutError:
        return f"no answer within {READINESS_TIMEOUT_SECONDS:g} s"
    except Exception as error:  # noqa: BLE001 - a check that fails says "not ready", it does not end the process
        return type(error).__name__


def _bind(server: Any, address: str, tls: TlsWatch | None) -> str:
    """Bind gRPC to ``host:port``; answer it with the real port."""
    try:
        if tls is None:
            port = server.add_insecure_port(address)
        else:
            port = server.add_secure_port(address, server_credentials(tls))
    except RuntimeError as error:
        raise OSError(f"gRPC cannot listen on {address}") from error
    return f"{address.rpartition(':')[0]}:{port}"


def _listen(address: str, *, shared: bool = False) -> socket.socket:
    host, _, port = address.rpartition(":")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host.strip("[]"), int(port)), family=family, backlog=1024, reuse_port=shared)


def _service_descriptor(service: str) -> ServiceDescriptor:
    try:
        return descriptor_pool.Default().FindServiceByName(service)
    except KeyError:
        raise ValueError(f"the contract has no service {service}") from None
