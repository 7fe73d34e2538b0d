"""A portal as a process, with broker, database and the issuer of identities; its issuer of credentials is in here."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import html
import os
import re
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from datetime import UTC, date, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from uuid import UUID, uuid4

import aiohttp
import asyncpg
import grpc
from aiokafka import AIOKafkaProducer

from services.portal.wiring import MIGRATIONS
from tests.unit.credential_samples import ENTROPY, PROVIDER_KEY, sample_achievement, sample_credential
from vitne.canonical import b64url
from vitne.clock import SystemClock
from vitne.credentials import sd_jwt_vc
from vitne.credentials.model import Learner
from vitne.dev.broker import TopicSpec, create_topics
from vitne.dev.identity import DevelopmentIdentity, log_in
from vitne.dev.nursery import shared_nursery
from vitne.dev.ports import free_ports
from vitne.dev.postgres import EmbeddedPostgres
from vitne.dev.processes import ManagedProcess, run_module
from vitne.errors import Unauthenticated
from vitne.identifiers import LearnerId, OrganisationId, UuidFactory, synthetic_national_id
from vitne.messaging.headers import build
from vitne.messaging.topics import dead_topic, hub_topic
from vitne.runtime.identity import IdTokenVerifier, TokenVerifier
from vitne.runtime.migrations import migrate
from vitne_api.credential.v1 import credential_pb2
from vitne_api.events.v1 import events_pb2
from vitne_api.issuer.v1 import issuer_pb2, issuer_pb2_grpc, rights_pb2, rights_pb2_grpc

HUB: Final = OrganisationId("0192", "919477822")
AUDIENCE: Final = "https://vitne.example"
PROVIDER: Final = "0184:30859480"
OPERATOR: Final = "0192:974760673"
#: Stands in every credential, and may be found nowhere in clear.
MARKER: Final = "Markørsen-Ærlig"
CLOCK: Final = SystemClock()
#: The portal's at Feide.
FEIDE_SECRET: Final = "hemmelig+=&%"


#: Longer than a portal's own grace.
STOP_SECONDS: Final = 90.0


def pid_of(number: int) -> str:
    """A synthetic learner's number."""
    born = date(1990, 1 + number // 28, 1 + number % 28)
    return next(pid for serial in range(30) if (pid := synthetic_national_id(born, serial)))


class FakeIssuer(issuer_pb2_grpc.IssuerServiceServicer, rights_pb2_grpc.RightsServiceServicer):
    """The issuer as the contract describes it to a hub: registers, withdraws, answers by handle."""

    def __init__(self, identity: str) -> None:
        self._learners = IdTokenVerifier(identity, CLOCK)
        self._callers = TokenVerifier(identity, AUDIENCE, CLOCK)
        self.secret = os.urandom(32)
        self.registered: dict[str, str] = {}
        self.credentials: dict[str, issuer_pb2.IssuedCredential] = {}
        self.fetches: list[list[str]] = []
        #: What is there and can't be read for now.
        self.unreadable: set[str] = set()
        self.refusing = False
        #: Who asked to be erased.
        self.erased: list[str] = []
        self._server: Any = None
        self.port = 0

    async def start(self) -> None:
        self._server = grpc.aio.server()
        issuer_pb2_grpc.add_IssuerServiceServicer_to_server(self, self._server)
        rights_pb2_grpc.add_RightsServiceServicer_to_server(self, self._server)
        self.port = self._server.add_insecure_port(f"127.0.0.1:{self.port}")
        await self._server.start()

    async def stop(self) -> None:
        await self._server.stop(0)

    def pseudonym(self, pid: str) -> str:
        return b64url(hmac.digest(self.secret, pid.encode(), hashlib.sha256))

    async def RegisterLearner(self, request: Any, context: Any) -> Any:  # noqa: N802 - the contract's name
        await self._require(context, "vitne:hub.register")
        if request.HasField("legal_ground"):
            value = request.legal_ground.value
            self.registered[value] = self.pseudonym(value)
            ground = issuer_pb2.LegalGround(
                id=request.legal_ground.ground_id, citation="§ 4", reference="2026/1742", decided_by_name="NOKUT"
            )
            ground.granted_at.GetCurrentTime()
            return issuer_pb2.RegisterLearnerResponse(pseudonym=self.registered[value], legal_ground=ground)
        try:
            learner = await self._learners.verify(request.id_token, audience="portal")
        except Unauthenticated as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, error.reason)
            raise
        self.registered[learner.value] = self.pseudonym(learner.value)
        return issuer_pb2.RegisterLearnerResponse(pseudonym=self.registered[learner.value])

    async def WithdrawLearner(self, request: Any, context: Any) -> Any:  # noqa: N802
        await self._require(context, "vitne:hub.register")
        for pid, pseudonym in list(self.registered.items()):
            if pseudonym == request.pseudonym:
                del self.registered[pid]
                return issuer_pb2.WithdrawLearnerResponse()
        await context.abort(grpc.StatusCode.NOT_FOUND, "not registered")
        return None

    async def FetchCredentials(self, request: Any, context: Any) -> Any:  # noqa: N802
        await self._require(context, "vitne:hub.fetch")
        if self.refusing:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "down")
        self.fetches.append(list(request.handles))
        return issuer_pb2.FetchCredentialsResponse(
            credentials=[
                issuer_pb2.FetchedCredential(handle=handle, unavailable_reason="SEAL_BROKEN")
                if handle in self.unreadable
                else issuer_pb2.FetchedCredential(handle=handle, credential=self.credentials.get(handle))
                for handle in request.handles
            ]
        )

    async def ExportLearner(self, request: Any, context: Any) -> AsyncIterator[Any]:  # noqa: N802
        await self._require(context, "vitne:hub.rights")
        learner = await self._learners.verify(request.id_token, audience="portal")
        yield rights_pb2.ExportLearnerResponse(
            learner=rights_pb2.HeldLearner(scheme="no.national_id", value=learner.value)
        )

    async def EraseLearner(self, request: Any, context: Any) -> Any:  # noqa: N802
        await self._require(context, "vitne:hub.rights")
        if self.refusing:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "down")
        learner = await self._learners.verify(request.id_token, audience="portal")
        self.erased.append(learner.value)
        self.registered.pop(learner.value, None)
        return rights_pb2.EraseLearnerResponse(erased=1, kept=[rights_pb2.KeptCredential(provider=PROVIDER)])

    async def _require(self, context: Any, scope: str) -> None:
        header = dict(context.invocation_metadata()).get("authorization", "")
        caller = await self._callers.verify(header.removeprefix("Bearer "))
        assert caller.organisation == HUB
        assert scope in caller.scopes


class Choice:
    """The provider's page on which a learner is chosen."""

    def __init__(self, page: str) -> None:
        form = re.search(r'<form method="post" action="([^"]+)">', page)
        transaction = re.search(r'name="transaction" value="([^"]+)"', page)
        assert form is not None, page
        assert transaction is not None
        self.action = html.unescape(form[1])
        self.transaction = html.unescape(transaction[1])

    async def choose(self, session: aiohttp.ClientSession, pid: str) -> tuple[int, str, str]:
        """Status, address and text of where it ends."""
        form = {"transaction": self.transaction, "learner": pid}
        async with session.post(self.action, data=form) as response:
            return response.status, str(response.url), await response.text()


class Browser:
    """A learner's browser."""

    def __init__(self, portal: str) -> None:
        self.portal = portal
        self.session = aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True))
        self.pid = ""

    async def log_in(self, pid: str, provider: str = "id-porten") -> tuple[str, str]:
        self.pid = pid
        return await log_in(self.session, f"{self.portal}/login?with={provider}", pid)

    async def page(self, language: str = "nb") -> str:
        async with self.session.get(f"{self.portal}/me", headers={"Accept-Language": language}) as response:
            assert response.status == 200
            return await response.text()

    async def shown(self, language: str = "nb") -> list[dict[str, Any]]:
        async with self.session.get(f"{self.portal}/me.json", headers={"Accept-Language": language}) as response:
            assert response.status == 200, await response.text()
            answer: dict[str, Any] = await response.json()
            return list(answer["credentials"])

    async def press(self, path: str) -> tuple[int, str]:
        """Status and text of the page that a form leads to, once she said who she is where she is asked."""
        status, page = await self.send(path)
        if status == HTTPStatus.OK and 'name="transaction"' in page:
            status, _, page = await Choice(page).choose(self.session, self.pid)
        return status, page

    async def send(self, path: str, form: Mapping[str, str] | None = None) -> tuple[int, str]:
        """Status and text of the page that a form leads to at first."""
        token = re.search(r'name="csrf_token" value="([^"]+)"', await self.page())
        assert token is not None
        async with self.session.post(f"{self.portal}{path}", data={"csrf_token": token[1], **(form or {})}) as response:
            return response.status, await response.text()


class World:
    """Everything around one portal process."""

    def __init__(self, folder: Path, dsn: str, broker: str) -> None:
        self.folder = folder
        self.dsn = dsn
        self.broker = broker
        self.topic = hub_topic(HUB)
        identity_port, self.http_port, self.grpc_port = free_ports(3)
        self.identity_url = f"http://127.0.0.1:{identity_port}"
        self.url = f"http://127.0.0.1:{self.http_port}"
        self.issuer = FakeIssuer(self.identity_url)  # type: ignore[abstract]  # a hub reaches no other method
        self.learners = [pid_of(number) for number in range(12)]
        self._processes: dict[str, ManagedProcess] = {}
        self._revisions: dict[str, int] = {}
        #: How many records were published.
        self.sent = 0
        self._ids = UuidFactory(CLOCK)
        self._exits = contextlib.AsyncExitStack()

    async def __aenter__(self) -> World:
        await create_topics(self.broker, [TopicSpec(self.topic, 2), TopicSpec(dead_topic(self.topic))])
        setup = DevelopmentIdentity(self.folder / "identity", self.identity_url)
        client = setup.make_client(
            "portal",
            str(HUB),
            ["vitne:hub.fetch", "vitne:hub.register", "vitne:hub.rights"],
            redirect_uris=[f"{self.url}/callback", f"{self.url}/callback/feide"],
            post_logout_redirect_uris=[f"{self.url}/"],
            secret=FEIDE_SECRET,
        )
        secret = self.folder / "feide.secret"
        secret.write_text(FEIDE_SECRET)
        self.operator = setup.make_client("operator", OPERATOR, ["vitne:operations.parked"])
        for number, pid in enumerate(self.learners):
            setup.add_learner(pid, f"Learner{number}", MARKER, number_at_feide=pid != self.learners[-1])
        config = setup.write()
        await self.issuer.start()
        self._exits.push_async_callback(self.issuer.stop)
        self.producer = AIOKafkaProducer(bootstrap_servers=self.broker)
        await self.producer.start()
        self._exits.push_async_callback(self.producer.stop)
        self.environment = {
            **os.environ,
            "VITNE_ENVIRONMENT": "development",
            "VITNE_HTTP_LISTEN": f"127.0.0.1:{self.http_port}",
            "VITNE_GRPC_LISTEN": f"127.0.0.1:{self.grpc_port}",
            "VITNE_DATABASE_DSN": self.dsn,
            "VITNE_KAFKA_BOOTSTRAP_SERVERS": self.broker,
            "VITNE_KAFKA_IDEMPOTENCE": str(os.environ.get("VITNE_TEST_KAFKA") == "apache").lower(),
            "VITNE_IDENTITY_ISSUER": self.identity_url,
            "VITNE_AUDIENCE": AUDIENCE,
            "VITNE_CLIENT_ID": "portal",
            "VITNE_CLIENT_KEY_FILE": str(client.key_file),
            "VITNE_STATE_DIR": str(self.folder / "state"),
            "VITNE_TRACE_FILE": str(self.folder / "trace.jsonl"),
            "VITNE_ISSUER_ADDRESS": f"127.0.0.1:{self.issuer.port}",
            "VITNE_PUBLIC_URL": self.url,
            "VITNE_FEIDE_ISSUER": f"{self.identity_url}/feide",
            "VITNE_FEIDE_CLIENT_ID": "portal",
            "VITNE_FEIDE_SECRET_FILE": str(secret),
            "VITNE_HUB": str(HUB),
        }
        self._identity_config = config
        await self.start_identity()
        # In here: the command would take longer to start than all the rest of this.
        await migrate(self.dsn, MIGRATIONS)
        await self.start_portal()
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(*(process.stop() for process in self._processes.values()))
        await self._exits.aclose()

    def _spawn(self, name: str, module: str, *arguments: str) -> None:
        process = self._processes[name] = ManagedProcess(
            name,
            [sys.executable, "-m", module, *arguments],
            self.environment,
            self.folder / f"{name}.log",
            nursery=shared_nursery(),
        )
        process.start()

    async def command(self, *arguments: str, said: str = "") -> tuple[int, str, str]:
        """Run a command of the portal's, which is said something; exit code, standard output and standard error."""
        code, output, errors = await run_module(
            "services.portal", arguments, self.environment, said.encode(), nursery=shared_nursery()
        )
        return code, output.decode(), errors.decode()

    async def start_identity(self) -> None:
        listen = self.identity_url.removeprefix("http://")
        self._spawn("identity", "vitne.dev.identity", "--config", str(self._identity_config), "--listen", listen)
        await self._answering("identity", f"{self.identity_url}/.well-known/oauth-authorization-server")

    async def start_portal(self) -> None:
        self._spawn("portal", "services.portal", "serve")

        await self._answering("portal", f"{self.url}/readyz")

    async def _answering(self, name: str, url: str) -> None:
        """Return once a process answers there that all is well."""

        async def ready() -> bool:
            assert self._processes[name].running, self._processes[name].log_tail()
            with contextlib.suppress(aiohttp.ClientError):
                async with aiohttp.ClientSession() as session, session.get(url) as response:
                    return response.status == HTTPStatus.OK
            return False

        await until(ready)

    async def kill_portal(self) -> None:
        """SIGKILL, with nothing said before."""
        self._processes.pop("portal").kill()

    async def stop_portal(self) -> int:
        """SIGTERM; answers the exit code."""
        return await self.stop("portal")

    async def stop(self, name: str) -> int:
        """The same for any process."""
        code = await self._processes.pop(name).stop(STOP_SECONDS)
        assert code is not None
        return code

    def portal_log(self) -> str:
        return (self.folder / "portal.log").read_text()

    @contextlib.asynccontextmanager
    async def browser(self) -> AsyncIterator[Browser]:
        browser = Browser(self.url)
        async with browser.session:
            yield browser

    # -- The issuer's side -----------------------------------------------------------------------

    def make(self, pid: str, title: str = "Klimaregnskaber", **changes: Any) -> str:
        """Issue a credential at the issuer; answers its handle. No notice goes out."""
        identifier = uuid4()
        handle = b64url(hmac.digest(self.issuer.secret, identifier.bytes, hashlib.sha256))
        achievement = sample_achievement(
            title=[credential_pb2.LocalisedText(language="da", text=title)], **changes.pop("achievement", {})
        )
        credential = sample_credential(
            id=UUID(str(identifier)),
            achievement=achievement,
            learner=Learner(LearnerId("no.national_id", pid), "Kari", MARKER, None),
            **changes,
        )
        prepared = sd_jwt_vc.prepare(credential, key_id=PROVIDER_KEY.key_id, entropy=ENTROPY)
        self.issuer.credentials[handle] = issuer_pb2.IssuedCredential(
            id=str(identifier),
            provider=PROVIDER,
            kind=achievement.kind,
            format=credential_pb2.FORMAT_SD_JWT_VC,
            artefact=prepared.complete(PROVIDER_KEY.sign(prepared.signing_input)),
            status=credential_pb2.STATUS_VALID,
        )
        return handle

    def notice(self, pid: str, handle: str, what: int = events_pb2.HUB_NOTICE_ISSUED, **changes: Any) -> Any:
        fields = {
            "notice": what,
            "handle": handle,
            "pseudonym": self.issuer.pseudonym(pid),
            "kind": self.issuer.credentials[handle].kind
            if handle in self.issuer.credentials
            else "dk.micro_credential",
            "provider": PROVIDER,
            **changes,
        }
        return events_pb2.HubCredentialNotice(**fields)

    def ended(self, pid: str) -> Any:
        """That a learner's registration ended."""
        return events_pb2.HubCredentialNotice(
            notice=events_pb2.HUB_NOTICE_REGISTRATION_ENDED, pseudonym=self.issuer.pseudonym(pid)
        )

    async def send(self, pid: str, notice: Any, *, revision: int = 0, **changes: Any) -> int:
        """Publish a notice; the learner's next revision unless one is given."""
        pseudonym = self.issuer.pseudonym(pid)
        if not revision:
            revision = self._revisions[pseudonym] = self._revisions.get(pseudonym, 0) + 1
        headers = build(
            event_id=self._ids(),
            source="/vitne/issuer",
            type_=changes.get("type_", "vitne.hub.notice.v1"),
            time=datetime.now(UTC),
            key=pseudonym,
            revision=revision,
            traceparent=None,
        )
        value = changes.get("value", notice.SerializeToString() if notice is not None else b"")
        self.sent += 1
        await self.producer.send_and_wait(self.topic, value, key=pseudonym.encode(), headers=headers)
        return revision

    async def issue(self, pid: str, title: str = "Klimaregnskaber", **changes: Any) -> str:
        """Issue and tell."""
        handle = self.make(pid, title, **changes)
        await self.send(pid, self.notice(pid, handle))
        return handle

    async def issue_some(self, pid: str, titles: Iterable[str]) -> list[str]:
        """Issue and tell, ten at a time: a broker's answer is waited for once for them all."""
        waiting, handles = list(titles), list[str]()
        while waiting:
            group, waiting = waiting[:10], waiting[10:]
            handles += await asyncio.gather(*(self.issue(pid, title) for title in group))
        return handles

    async def change_status(self, pid: str, handle: str, status: int) -> None:
        self.issuer.credentials[handle].status = status  # type: ignore[assignment]
        await self.send(pid, self.notice(pid, handle, events_pb2.HUB_NOTICE_STATUS_CHANGED))

    # -- Looking inside --------------------------------------------------------------------------

    async def rows(self, statement: str, *arguments: object) -> list[Any]:
        connection = await asyncpg.connect(self.dsn)
        try:
            return list(await connection.fetch(statement, *arguments))
        finally:
            await connection.close()

    async def dump(self) -> str:
        """Every row of every table as text; bytes as hex."""
        tables = await self.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        found = []
        for table in tables:
            found += [str(row[0]) for row in await self.rows(f'SELECT to_jsonb(t)::text FROM "{table[0]}" t')]
        return "\n".join(found)


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 90) -> None:
    """Return once the condition holds; AssertionError when it does not in time."""
    deadline = CLOCK.monotonic() + seconds
    while not await condition():
        assert CLOCK.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.02)


async def new_world(folder: Path, postgres: EmbeddedPostgres, broker: str) -> World:
    """A world with a database of its own."""
    return World(folder, await postgres.create_database(f"portal_{uuid4().hex}"), broker)


__all__ = ["CLOCK", "HUB", "MARKER", "Browser", "World", "new_world", "pid_of", "until"]
