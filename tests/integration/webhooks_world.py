"""An issuer with webhooks over a real database, and receivers on loopback that do what a test tells them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from aiohttp import web
from aiohttp.abc import AbstractResolver
from standardwebhooks import Webhook

from services.issuer.crypto import INDEX_KEY, IndexKey
from services.issuer.webhooks.assembly import Webhooks
from services.issuer.webhooks.dispatcher import Dispatcher
from services.issuer.webhooks.endpoints import SERVICE
from services.issuer.webhooks.settings import WebhookSettings
from tests.integration.issuer_harness import HUB, Token, World, issuance, make_world, pid_of
from tests.unit.accreditation_samples import UCL
from vitne.accreditation import timestamp
from vitne.clock import Clock
from vitne.identifiers import OrganisationId, UuidFactory
from vitne.messaging.event_types import STATUS_CHANGED
from vitne.messaging.headers import Message
from vitne.runtime.application import Application
from vitne.runtime.channel import open_channel
from vitne.runtime.identity import Caller
from vitne.runtime.secret_files import read_secret
from vitne_api.credential.v1 import credential_pb2
from vitne_api.events.v1 import events_pb2
from vitne_api.issuer.v1 import issuer_pb2, webhooks_pb2, webhooks_pb2_grpc

#: Whole time of an attempt, in seconds: enough on a machine that is busy, and what tests of time-outs wait for.
PATIENT, HASTY = 60.0, 1.0


@dataclass(frozen=True)
class Call:
    """A request that a receiver got."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def message(self) -> Any:
        return json.loads(self.body)

    @property
    def data(self) -> Any:
        return self.message["data"]

    def holds_under(self, secret: str) -> bool:
        """Whether one of the signatures is the one that an implementation not ours makes with this secret."""
        at = datetime.fromtimestamp(int(self.headers["webhook-timestamp"]), UTC)
        expected = Webhook(secret).sign(self.id, at, self.body.decode())
        return expected in self.headers["webhook-signature"].split(" ")


Answer = Callable[[Call], Awaitable[web.StreamResponse]]


async def taken(_call: Call) -> web.StreamResponse:
    return web.Response(status=204)


def status(code: int, **headers: str) -> Answer:
    async def answer(_call: Call) -> web.StreamResponse:
        return web.Response(status=code, headers={name.replace("_", "-"): value for name, value in headers.items()})

    return answer


@dataclass
class Receiver:
    """An HTTP server; what it was sent is in ``calls``, what it answers is ``answer``."""

    answer: Answer = taken
    url: str = ""
    calls: list[Call] = field(default_factory=list)
    #: How many requests were answered at the same time, at most.
    most_at_once: int = 0
    _open: int = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        assert request.method == "POST"
        assert request.headers["Content-Type"] == "application/json"
        headers = {name.lower(): value for name, value in request.headers.items()}
        call = Call(request.path_qs, headers, await request.read())
        self.calls.append(call)
        self._open += 1
        self.most_at_once = max(self.most_at_once, self._open)
        try:
            return await self.answer(call)
        finally:
            self._open -= 1

    @property
    def ids(self) -> list[str]:
        return [call.id for call in self.calls]


@contextlib.asynccontextmanager
async def receiving(answer: Answer = taken, tls: ssl.SSLContext | None = None) -> AsyncIterator[Receiver]:
    receiver = Receiver(answer)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", receiver.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    port = runner.addresses[0][1]
    receiver.url = f"{'https' if tls else 'http'}://127.0.0.1:{port}/hook"
    try:
        yield receiver
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def raw_server(answer: Callable[[asyncio.StreamWriter], Awaitable[None]]) -> AsyncIterator[str]:
    """URL of a server that reads a request's head and then writes bytes of its own."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            await answer(writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
    finally:
        server.close()


class Verifier:
    """At the boundary: an access token is the organisation."""

    async def verify(self, token: str) -> Caller:
        return Caller(OrganisationId.parse(token), frozenset({"vitne:webhooks.manage"}), "client")


@dataclass
class Hooks:
    """What a test holds in its hands."""

    world: World
    parts: Webhooks
    address: str
    make: Callable[..., Webhooks]
    channels: dict[str, Any] = field(default_factory=dict)

    @property
    def dispatcher(self) -> Dispatcher:
        return self.parts.dispatcher

    def caller(self, organisation: str) -> webhooks_pb2_grpc.WebhookServiceAsyncStub:
        if organisation not in self.channels:
            self.channels[organisation] = open_channel(self.address, Token(organisation))
        stub: webhooks_pb2_grpc.WebhookServiceAsyncStub = webhooks_pb2_grpc.WebhookServiceStub(
            self.channels[organisation]
        )
        return stub

    async def register(
        self, url: str, organisation: str = HUB, *, kinds: Any = (), request_id: str = ""
    ) -> webhooks_pb2.RegisterWebhookResponse:
        return await self.caller(organisation).RegisterWebhook(
            webhooks_pb2.RegisterWebhookRequest(request_id=request_id or str(uuid4()), url=url, kinds=kinds),
            # The first call of most tests: the port may be one that gRPC just found nobody at, and backs off from.
            wait_for_ready=True,
        )

    async def rotate(
        self, endpoint: str, organisation: str = HUB, *, request_id: str = "", now: bool = False
    ) -> webhooks_pb2.RotateWebhookSecretResponse:
        return await self.caller(organisation).RotateWebhookSecret(
            webhooks_pb2.RotateWebhookSecretRequest(
                request_id=request_id or str(uuid4()), endpoint_id=endpoint, retire_former_now=now
            )
        )

    async def replay(self, endpoint: str, organisation: str = HUB, **point: Any) -> int:
        answer = await self.caller(organisation).ReplayWebhook(
            webhooks_pb2.ReplayWebhookRequest(request_id=str(uuid4()), endpoint_id=endpoint, **point)
        )
        return answer.waiting

    async def delete(self, endpoint: str, organisation: str = HUB) -> None:
        await self.caller(organisation).DeleteWebhook(
            webhooks_pb2.DeleteWebhookRequest(request_id=str(uuid4()), endpoint_id=endpoint)
        )

    async def endpoint(self, id_: str, organisation: str = HUB) -> webhooks_pb2.WebhookEndpoint:
        answer = await self.caller(organisation).ListWebhooks(webhooks_pb2.ListWebhooksRequest())
        return next(endpoint for endpoint in answer.endpoints if endpoint.id == id_)

    async def deliveries(
        self, endpoint: str, organisation: str = HUB, **values: Any
    ) -> list[webhooks_pb2.WebhookDelivery]:
        """Oldest first."""
        answer = await self.caller(organisation).ListWebhookDeliveries(
            webhooks_pb2.ListWebhookDeliveriesRequest(endpoint_id=endpoint, **values)
        )
        return list(reversed(answer.deliveries))

    async def pump(self, dispatcher: Dispatcher | None = None) -> None:
        """Send all that is due now."""
        dispatcher = dispatcher or self.dispatcher
        while await dispatcher.turn():
            await dispatcher.settle()

    async def register_learner(self, number: int = 1, *, hub: str = HUB, client: str = "portal") -> str:
        answer = await self.world.caller(hub).RegisterLearner(
            issuer_pb2.RegisterLearnerRequest(request_id=str(uuid4()), id_token=f"{pid_of(number)} {client}")
        )
        return answer.pseudonym

    async def withdraw_learner(self, pseudonym: str) -> None:
        await self.world.caller(HUB).WithdrawLearner(
            issuer_pb2.WithdrawLearnerRequest(request_id=str(uuid4()), pseudonym=pseudonym)
        )

    async def issue(self, number: int = 1, provider: str = UCL, **values: Any) -> issuer_pb2.IssuedCredential:
        # Tests move the clock, and nothing is issued when the registry is silent.
        now = self.world.clock.now()
        self.world.projection.heartbeat(len(self.world.chronicle.facts), now, now)
        return (
            await self.world.caller(provider).Issue(
                issuer_pb2.IssueRequest(
                    request_id=str(uuid4()), issuance=issuance(learner={"value": pid_of(number)}, **values)
                )
            )
        ).credential

    async def change_status(
        self,
        credential: issuer_pb2.IssuedCredential,
        change: credential_pb2.Status.ValueType = credential_pb2.STATUS_REVOKED,
    ) -> None:
        """The ledger's event of a change reaches the issuer."""
        reference, now = credential.status_reference, timestamp(self.world.clock.now())
        value = events_pb2.StatusChanged(
            list=reference.list, index=reference.index, status=change, effective=now, recorded=now
        )
        message = Message(
            topic="vitne.ledger.status.v1",
            partition=0,
            offset=0,
            key=reference.list,
            value=value.SerializeToString(),
            id=uuid4(),
            type=STATUS_CHANGED,
            source="/vitne/ledger",
            time=self.world.clock.now(),
            revision=1,
            traceparent=None,
        )
        async with self.world.pool.acquire() as connection, connection.transaction():
            await self.world.issuer.statuses.handle(connection, [message])


@contextlib.asynccontextmanager
async def make_hooks(
    postgres: Any,
    folder: Path,
    clock: Clock,
    *,
    resolver: AbstractResolver | None = None,
    tls: ssl.SSLContext | None = None,
    timeout_seconds: float = PATIENT,
    **settings: Any,
) -> AsyncIterator[Hooks]:
    """An issuer and its webhooks; nothing is sent until a test says so."""
    async with make_world(postgres, folder, clock) as world:
        index = IndexKey(read_secret(folder, INDEX_KEY, create=True))

        def make(pool: Any = None) -> Webhooks:
            return Webhooks.assemble(
                WebhookSettings(**settings),
                clock,
                pool=pool or world.pool,
                state_dir=folder,
                development=True,
                index=index,
                new_id=UuidFactory(clock),
                timeout_seconds=timeout_seconds,
                resolver=resolver,
                tls=tls,
            )

        parts = make()
        application = Application("issuer", world.settings, clock, verifier=Verifier())
        application.add_servicer(webhooks_pb2_grpc.add_WebhookServiceServicer_to_server, parts.rpc, SERVICE)
        running = asyncio.create_task(application.run())
        await application.started.wait()
        hooks = Hooks(world, parts, application.grpc_address, make)
        try:
            yield hooks
        finally:
            for channel in hooks.channels.values():
                await channel.close()
            application.stop()
            await running
            await parts.dispatcher.close()
