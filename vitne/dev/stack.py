"""The embedded stack: PostgreSQL, a broker, a token issuer and the five services, as processes on loopback.

All speak plain text, or all speak TLS (:mod:`.protection`), but for the embedded broker, which can't.

The embedded broker remembers nothing across a stop, so neither do the databases:
every start begins from nothing, in the PostgreSQL cluster that is kept. An Apache
Kafka, started here or somebody's cluster, therefore begins with empty topics too.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import secrets
import shutil
import ssl
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import IO, Any, ClassVar, Final
from urllib.parse import urlsplit

import aiohttp

from vitne.canonical import from_b64url
from vitne.credentials.jose import parse_public_jwk, thumbprint
from vitne.credentials.status_list import verify_token
from vitne.dev import settings
from vitne.dev.apache_kafka import ADMIN_PRINCIPAL, EmbeddedKafka, rules_of
from vitne.dev.apache_kafka.topics import require_empty
from vitne.dev.broker import EmbeddedBroker
from vitne.dev.cases import Cases, load_cases, synthetic_learners
from vitne.dev.identity import ClientCredentials, DevelopmentIdentity
from vitne.dev.learner import LearnerBrowser
from vitne.dev.no_network import without_network
from vitne.dev.nursery import Nursery, shared_nursery
from vitne.dev.ports import LOOPBACK, free_ports
from vitne.dev.postgres import EmbeddedPostgres
from vitne.dev.postgres_tls import DatabaseFront
from vitne.dev.processes import ManagedProcess, run_module
from vitne.dev.protection import DATABASE, IDENTITY, Protection, provide_key_files
from vitne.dev.settings import AUDIENCE, AUDITOR, DATABASES, SERVICES, STATUS_BASE, SUBSCRIBER
from vitne.errors import FailedPrecondition
from vitne.identifiers import OrganisationId
from vitne.merkle.notes import NoteKey
from vitne.messaging.access import access_list
from vitne.messaging.headers import Record
from vitne.messaging.kafka import KafkaSettings, create_topics
from vitne.messaging.reading import read_topic
from vitne.messaging.topics import dead_topic, describe, fixed_topics, hub_topic
from vitne.runtime.channel import DEFAULT_DEADLINE_SECONDS, TokenSourceProtocol, open_channel
from vitne.runtime.tls import TlsFiles, TlsWatch, server_context
from vitne_api.credential.v1 import credential_pb2

__all__ = [
    "APACHE",
    "APACHE_TLS",
    "AUDIENCE",
    "DATABASES",
    "KAFKA",
    "LEARNERS",
    "OFFICERS",
    "POSTGRES",
    "READY_SECONDS",
    "SERVICES",
    "STATUS_BASE",
    "HubRecord",
    "ServiceKey",
    "Stack",
]

#: Names of what they stand on, where something is killed.
POSTGRES: Final = "postgres"
KAFKA: Final = "kafka"
#: Name, or end of the name, of files that a shell can source while the stack runs.
ENVIRONMENT: Final = "environment"
#: Instead of a cluster's address: an Apache Kafka that the stack starts; and one with TLS, a certificate for each
#: service, and rules that allow each no more than it needs.
APACHE: Final = "apache"
APACHE_TLS: Final = "apache-tls"
#: Seconds that a service gets to become ready: a slow machine's first start compiles all of Python's libraries.
READY_SECONDS: Final = 60.0
#: Seconds that a readiness page gets before it is asked again.
READY_PAGE_SECONDS: Final = 5.0
#: Seconds that a page of the stack's gets where nothing else is said.
PAGE_SECONDS: Final = 30.0
#: Synthetic learners who can log in.
LEARNERS: Final = 12
#: The employer, synthetic too, that the last of them may act for, and its name.
EMPLOYER: Final = ("0192:310100005", "Eksempel sykehus")

_INSTITUTION: Final = (
    "vitne:credentials.archive",
    "vitne:credentials.erase",
    "vitne:credentials.issue",
    "vitne:credentials.keys",
    "vitne:credentials.read",
    "vitne:credentials.status",
    "vitne:registry.achievements",
    "vitne:registry.apply",
    "vitne:registry.keys",
    "vitne:registry.qualifications",
    "vitne:registry.stacking",
    "vitne:webhooks.manage",
)
_AUTHORITY: Final = ("vitne:registry.accredit", "vitne:registry.keys", "vitne:registry.qualifications")
#: Officers of each authority: the token issuer's names for them.
OFFICERS: Final = ("officer-1", "officer-2")
_OPERATOR: Final = ("vitne:hub.grounds", "vitne:operations.parked", "vitne:registry.keys", "vitne:registry.operate")
_HUB: Final = (
    "vitne:hub.fetch",
    "vitne:hub.register",
    "vitne:hub.rights",
    "vitne:hub.subscribe",
    "vitne:registry.stacking",
    "vitne:webhooks.manage",
)
_ISSUER: Final = ("vitne:ledger.lease", "vitne:ledger.status")
_PORTS: Final = ("grpc", "http", "metrics")
#: Name of the log, as the ledger names it where nothing else is said.
LOG_ORIGIN: Final = "log.vitne.example/2026"
#: Token of a published list for a status (Token Status List, section 7.1).
_STATUS_OF: Final = {
    0: credential_pb2.STATUS_VALID,
    1: credential_pb2.STATUS_REVOKED,
    2: credential_pb2.STATUS_SUSPENDED,
}


@dataclass(frozen=True, slots=True)
class ServiceKey:
    """A public key that the operator enters in the registry: its use (a name of ``KeyUse``) and the JWK."""

    use: str
    public_jwk: dict[str, Any]


@dataclass(frozen=True, slots=True)
class HubRecord:
    """A record of a hub's topic as it lies there."""

    key: str
    headers: Mapping[str, str]
    value: bytes


class Stack:
    """Everything that a run needs, running while the context lasts.

    Attributes:
        forks: whether Python programs are forked off where they were imported already, where the system can; else each
            start is that of a new interpreter, as in operation.

    Args:
        folder: where all state lives; made when it isn't there. One stack at a time.
        kafka: what to use instead of the embedded broker: ``apache`` or ``apache-tls`` for an Apache Kafka
            that is started here, or ``host:port`` of a cluster, whose topics of ours must be empty.
        tls: TLS everywhere: between services (mTLS), to their pages, the token issuer and PostgreSQL, and to
            an Apache Kafka that is started here. With that Kafka, services run as in production.
        renew_topics: delete the topics that a cluster has of an earlier run.
        postgres: settings of PostgreSQL beside its usual ones.
        witnesses: how many witnesses watch the log; with any, the verifier wants all of them to have seen it.
        progress: is told what is being started.
    """

    forks: ClassVar[bool] = True

    def __init__(
        self,
        folder: Path,
        *,
        kafka: str = "",
        tls: bool = False,
        renew_topics: bool = False,
        postgres: Mapping[str, str] | None = None,
        witnesses: int = 0,
        progress: Callable[[str], None] = lambda _text: None,
    ) -> None:
        self.folder = folder.resolve()
        self.cases: Cases = load_cases()
        self.clients: dict[str, ClientCredentials] = {}
        self.processes: dict[str, ManagedProcess] = {}
        self.postgres = EmbeddedPostgres(self.folder / "postgres", settings=postgres)
        #: Sources of another release, which the services are run from; None: these.
        self.release: Path | None = None
        #: DSNs of databases that were restored beside the lost ones, by name; a service takes them at its next start.
        self.restored: dict[str, str] = {}
        self.protection: Protection | None = None
        self._tls = tls
        self._front: DatabaseFront | None = None
        if tls and kafka == APACHE:
            kafka = APACHE_TLS
        #: ``host:port`` of the broker, once it runs.
        self.kafka = "" if kafka in (APACHE, APACHE_TLS) else kafka
        #: Whether it is Apache Kafka: what the embedded broker lacks is on.
        self.apache = bool(kafka)
        self._kafka_tls = kafka == APACHE_TLS
        self._renew_topics = renew_topics
        self._broker: EmbeddedBroker | EmbeddedKafka | None = None
        self._nursery: Nursery | None = None
        self._say = progress
        self._exits = AsyncExitStack()
        self._ports: dict[str, int] = {}
        self._lock: IO[str] | None = None
        self._service_keys: list[ServiceKey] = []
        #: Names of the witnesses' processes.
        self.witnesses: Final = tuple(f"witness-{number}" for number in range(1, witnesses + 1))
        self._witness_keys: dict[str, str] = {}

    async def __aenter__(self) -> Stack:
        try:
            await self.start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    # -- addresses ----------------------------------------------------------------------

    def grpc_address(self, service: str) -> str:
        """``host:port`` of a service's gRPC."""
        return f"{LOOPBACK}:{self._ports[f'{service}.grpc']}"

    def http_url(self, service: str) -> str:
        """Address of a service's pages, without a slash at the end."""
        return f"{'https' if self._tls else 'http'}://{self.http_address(service)}"

    def http_address(self, service: str) -> str:
        """``host:port`` of a service's pages."""
        return f"{LOOPBACK}:{self._ports[f'{service}.http']}"

    def metrics_url(self, service: str) -> str:
        """Where Prometheus would ask a service what it measured."""
        return f"{'https' if self._tls else 'http'}://{self.metrics_address(service)}/metrics"

    def metrics_address(self, service: str) -> str:
        """``host:port`` of that."""
        return f"{LOOPBACK}:{self._ports[f'{service}.metrics']}"

    @property
    def identity_url(self) -> str:
        """The token issuer and OpenID provider."""
        return self.http_url("identity")

    @property
    def portal_url(self) -> str:
        """The portal's pages."""
        return self.http_url("portal")

    @property
    def trace_file(self) -> Path:
        """Where all services append their spans."""
        return self.folder / "traces.jsonl"

    @property
    def log_folder(self) -> Path:
        """Where each process's output goes."""
        return self.folder / "logs"

    @property
    def trust(self) -> ssl.SSLContext | None:
        """How clients check certificates of pages; None with plain text."""
        return None if self.protection is None else self.protection.trust

    @property
    def client_tls(self) -> TlsFiles | None:
        """What clients of gRPC trust and show; None with plain text."""
        return None if self.protection is None else self.protection.client

    @property
    def transport(self) -> str:
        """How the parts talk to each other, in words."""
        if not self._tls:
            return "plain text everywhere (TLS=1 protects it)"
        protected = "TLS: gRPC with certificates of both ends, pages, token issuer, PostgreSQL"
        if self._kafka_tls:
            return f"{protected}, Kafka; the services run as in production"
        why = "that cluster was given without TLS" if self.apache else "the embedded broker speaks nothing else"
        return f"{protected}; Kafka in plain text: {why}"

    def open_channel(
        self, service: str, tokens: TokenSourceProtocol | None, deadline_seconds: float = DEFAULT_DEADLINE_SECONDS
    ) -> Any:
        """A ``grpc.aio.Channel`` of an organisation to a service, whose calls have so many seconds; close it."""
        address = self.grpc_address(service)
        return open_channel(address, tokens, deadline_seconds=deadline_seconds, tls=self.client_tls)

    def session(self, seconds: float = PAGE_SECONDS) -> aiohttp.ClientSession:
        """For pages of the stack, each of which has so many seconds; close it."""
        timeout = aiohttp.ClientTimeout(total=seconds)
        return aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(ssl=self.trust or True))

    def browser(self) -> LearnerBrowser:
        """A learner's browser at the portal; use it as an async context manager."""
        return LearnerBrowser(self.portal_url, self.trust)

    def dsn(self, database: str) -> str:
        """Where a database is reached as the services reach it; one that was restored, where it was restored to."""
        if database in self.restored:
            return self.restored[database]
        dsn = self.postgres.dsn(database)
        if self._front is None or self.protection is None:
            return dsn
        parts = urlsplit(dsn)
        login, _, _ = parts.netloc.rpartition("@")
        address = f"{login}@{LOOPBACK}:{self._front.port}"
        return parts._replace(netloc=address, query=self.protection.dsn_options()).geturl()

    def own_dsn(self, database: str) -> str:
        """See :class:`~vitne.dev.settings.Places`."""
        return self.postgres.dsn(database)

    def kafka_options(self, principal: str = ADMIN_PRINCIPAL) -> dict[str, Any]:
        """Keyword arguments for an aiokafka client of the stack's broker; ``principal`` matters with TLS."""
        if isinstance(self._broker, EmbeddedKafka):
            return self._broker.client_options(principal)
        return {"bootstrap_servers": self.kafka}

    def kafka_settings(self, principal: str = ADMIN_PRINCIPAL) -> KafkaSettings:
        """The stack's broker, as the services' own parts take it; without groups."""
        options = self.kafka_options(principal)
        return KafkaSettings(self.kafka, idempotence=self.apache, groups=False, tls=options.get("ssl_context"))

    def hub_topic(self) -> str:
        """Name of the hub's own topic."""
        return hub_topic(OrganisationId.parse(self.cases.hub))

    # -- life -----------------------------------------------------------------------------

    async def start(self) -> None:
        """Start everything; returns when every service says that it is ready.

        Raises:
            FailedPrecondition: ``STACK_IN_USE``: another stack uses the folder.
            Unavailable: a process did not start; the message holds the end of its log.
        """
        self._prepare_folder()
        names = ["identity.http", *(f"{service}.{kind}" for service in SERVICES for kind in _PORTS)]
        names += [f"{witness}.http" for witness in self.witnesses]
        self._ports = dict(zip(names, free_ports(len(names)), strict=True))
        if self._tls:
            self.protection = Protection(self.folder / "tls", (*SERVICES, *self.witnesses))
        self._write_clients()
        self._say("PostgreSQL, the broker and the token issuer")
        opened = asyncio.create_task(self._open_nursery())
        try:
            await asyncio.gather(self._start_postgres(), self._start_broker())
        finally:
            await opened
        await self._start_identity()
        self._say("databases and topics")
        # First what is quick: beside the migrations' processes, a broker on a busy machine does not answer in time.
        await self._create_topics()
        await self._migrate()
        if self.witnesses:
            await self._start_witnesses()
        self._say(f"the services: {', '.join(SERVICES)}")
        await asyncio.gather(*(self.start_service(service) for service in SERVICES))

    async def stop(self) -> None:
        """Stop everything in order: the services, then what they stand on."""
        await asyncio.gather(*(self.processes[name].stop() for name in SERVICES if name in self.processes))
        await self._exits.aclose()
        if self._lock is not None:  # else the folder is another stack's
            self._remove_exports()
            self._lock.close()

    async def start_service(self, service: str) -> None:
        """Start one service (again) at its address, and wait until it is ready."""
        process = self.processes.get(service)
        if process is None or not process.running:  # Anew each time: a database may have moved.
            provide_key_files(service, self.state_of(service))
            process = self.processes[service] = self._process(service, f"services.{service}", "serve")
        process.start()
        await process.wait_ready(lambda: self._ready(f"{self.http_url(service)}/readyz"), READY_SECONDS)

    # -- crashes ----------------------------------------------------------------------------

    @property
    def victims(self) -> tuple[str, ...]:
        """What can be killed and started again without losing what it promised to keep."""
        return (*SERVICES, POSTGRES, *((KAFKA,) if isinstance(self._broker, EmbeddedKafka) else ()))

    def kill(self, victim: str) -> None:
        """SIGKILL to a service, to PostgreSQL, or to the stack's own Apache Kafka.

        Raises:
            FailedPrecondition: ``NOT_A_VICTIM``: it keeps what it holds in memory only, or is not ours.
        """
        if victim not in self.victims:
            raise FailedPrecondition("NOT_A_VICTIM", f"{victim} can't be killed without a loss")
        if victim == POSTGRES:
            self.postgres.kill()
        elif isinstance(self._broker, EmbeddedKafka) and victim == KAFKA:
            self._broker.kill()
        else:
            self.processes[victim].kill()

    async def restart(self, victim: str) -> None:
        """Start what was killed, at its old address; returns when it is ready."""
        if victim == POSTGRES:
            await self.postgres.start()
        elif isinstance(self._broker, EmbeddedKafka) and victim == KAFKA:
            await self._broker.start()
        else:
            await self.start_service(victim)

    def _prepare_folder(self) -> None:
        self.log_folder.mkdir(parents=True, exist_ok=True)
        # Never stale: the system takes it from a process that ends, however that ends, and nothing inherits it. Not
        # emptied before it is held: the holder has written its number there.
        lock = (self.folder / "lock").open("a+")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with lock:
                lock.seek(0)
                holder = lock.read()
            raise FailedPrecondition(
                "STACK_IN_USE",
                f"another stack is running in {self.folder}, process {holder or 'unknown'}",
                remedy="end that process (Ctrl-C in its shell, or kill), or choose another folder with VITNE_HOME",
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        self._lock = lock
        self._remove_exports()
        for log in (*self.log_folder.glob("*.log"), self.trace_file):
            log.unlink(missing_ok=True)

    def _write_clients(self) -> None:
        identity = DevelopmentIdentity(self.folder / "identity", self.identity_url)
        cases = self.cases
        for provider in cases.providers.values():
            self._client(identity, f"provider-{provider.key}", provider.message.id, _INSTITUTION)
        for authority in cases.authorities:
            name = f"authority-{authority.id.replace(':', '-')}"
            self.clients[authority.id] = identity.make_client(name, authority.id, _AUTHORITY, officers=OFFICERS)
        self._client(identity, "operator", cases.operator, _OPERATOR)
        self.clients[cases.hub] = identity.make_client(
            "portal",
            cases.hub,
            _HUB,
            redirect_uris=[f"{self.portal_url}/callback", f"{self.portal_url}/callback/feide"],
            post_logout_redirect_uris=[f"{self.portal_url}/"],
            secret=self._feide_secret(),
        )
        self.clients["issuer"] = identity.make_client("issuer", cases.operator, _ISSUER)
        for number, learner in enumerate(synthetic_learners(LEARNERS), start=1):
            employer = EMPLOYER if number == LEARNERS else ("", "")
            identity.add_learner(
                learner.value,
                learner.given_name,
                learner.family_name,
                represents=employer[0],
                organisation_name=employer[1],
            )
        self._identity_file = identity.write()

    def _feide_secret(self) -> str:
        """A secret of the portal's at Feide, new with each start."""
        secret = secrets.token_urlsafe(32)
        self.feide_secret_file.touch(mode=0o600)
        self.feide_secret_file.write_text(secret)
        return secret

    @property
    def feide_secret_file(self) -> Path:
        """The portal's secret at Feide."""
        return self.folder / "identity" / "portal.secret"

    def _client(self, identity: DevelopmentIdentity, name: str, organisation: str, scopes: Sequence[str]) -> None:
        self.clients[organisation] = identity.make_client(name, organisation, scopes)

    async def _start_postgres(self) -> None:
        await self._exits.enter_async_context(self.postgres)
        if self.protection is not None:
            own = self.protection.path(DATABASE)
            context = server_context(TlsWatch(TlsFiles(own, own)))
            self._front = await self._exits.enter_async_context(DatabaseFront(context, lambda: self.postgres.port))
        await self.postgres.create_role(AUDITOR, AUDITOR)
        for name in (*(name for databases in DATABASES.values() for name in databases), SUBSCRIBER):
            await self.postgres.drop_database(name)
            await self.postgres.create_database(name)

    async def _start_broker(self) -> None:
        if self.kafka:
            return
        if self.apache:
            folder = self.folder / "kafka"
            await asyncio.to_thread(shutil.rmtree, folder / "data", ignore_errors=True)
            self._broker = await self._exits.enter_async_context(EmbeddedKafka(folder, secure=self._kafka_tls))
        else:
            self._broker = await self._exits.enter_async_context(EmbeddedBroker(self.folder / "broker"))
        self.kafka = self._broker.bootstrap_servers

    async def _open_nursery(self) -> None:
        """Import what will be started, while others of whom nobody can say the same begin."""
        if not self.forks:
            return
        self._nursery = shared_nursery(self.protection.trust_environment if self.protection is not None else None)
        if self._nursery is None:
            return
        modules = [
            "vitne.dev.identity",
            *(f"services.{service}" for service in SERVICES),
            *(["services.witness"] if self.witnesses else []),
        ]
        for module in modules:
            await asyncio.to_thread(self._nursery.open, module)

    async def _start_identity(self) -> None:
        arguments = ["--config", str(self._identity_file), "--listen", self.http_address("identity")]
        if self.protection is not None:
            arguments += ["--certificate", str(self.protection.path(IDENTITY))]
        process = self.processes["identity"] = self._process("identity", "vitne.dev.identity", *arguments)
        process.start()
        self._exits.push_async_callback(process.stop)
        metadata = f"{self.identity_url}/.well-known/oauth-authorization-server"
        await process.wait_ready(lambda: self._ready(metadata), READY_SECONDS)

    async def _start_witnesses(self) -> None:
        """Each with a key and a memory of its own; who runs one elsewhere needs no more than these arguments."""
        log = await self.log_key()
        # The log begins anew at every start, which nobody who remembers an earlier one would let pass.
        for folder in (self.log_policy.parent, *(self.state_of(name) for name in self.witnesses)):
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        self.log_policy.parent.mkdir(parents=True)

        async def start(name: str) -> None:
            own = ["--name", f"{name}.example", "--folder", str(self.state_of(name))]
            _code, self._witness_keys[name] = await self._run(name, "services.witness", "key", *own)
            own += ["--log", log, "--listen", self.http_address(name)]
            if self.protection is not None:
                own += ["--certificate", str(self.protection.path(name))]
            process = self.processes[name] = self._process(name, "services.witness", "serve", *own)
            process.start()
            self._exits.push_async_callback(process.stop)
            await process.wait_ready(lambda: self._ready(f"{self.http_url(name)}/"), READY_SECONDS)

        await asyncio.gather(*(start(name) for name in self.witnesses))
        lines = [f"log {log}"]
        lines += [f"witness {name} {self._witness_keys[name]} {self.http_url(name)}" for name in self.witnesses]
        lines += [f"group witnesses all {' '.join(self.witnesses)}", "quorum witnesses", ""]
        self.log_policy.write_text("\n".join(lines))

    @property
    def witness_urls(self) -> dict[str, str]:
        """See :class:`~vitne.dev.settings.Places`."""
        return {key: self.http_url(name) for name, key in self._witness_keys.items()}

    @property
    def witness_keys(self) -> tuple[str, ...]:
        """Verifier keys of the witnesses."""
        return tuple(self._witness_keys.values())

    async def log_key(self) -> str:
        """The log's verifier key."""
        jwk = next(key.public_jwk for key in await self.service_keys() if key.use == "KEY_USE_CHECKPOINT")
        return NoteKey(LOG_ORIGIN, from_b64url(jwk["x"])).text

    @property
    def log_policy(self) -> Path:
        """What relying parties of this stack demand of the log (C2SP tlog-policy), where it has witnesses."""
        return self.folder / "witnesses" / "log-policy"

    async def _create_topics(self) -> None:
        topics = [*fixed_topics(), describe(self.hub_topic())]
        topics += [describe(dead_topic(topic.name)) for topic in topics]
        options = self.kafka_options()
        if self._broker is None:
            await require_empty(options, [topic.name for topic in topics], renew=self._renew_topics)
        await create_topics(KafkaSettings(self.kafka, tls=options.get("ssl_context")), topics)
        if self._kafka_tls and isinstance(self._broker, EmbeddedKafka):
            hubs = {"portal": OrganisationId.parse(self.cases.hub)}
            await self._broker.create_access_rules(rules_of(access_list(hubs)))

    async def _migrate(self) -> None:
        await asyncio.gather(*(self._run(service, f"services.{service}", "migrate") for service in DATABASES))

    # -- processes --------------------------------------------------------------------------

    def environment(self, service: str) -> dict[str, str]:
        """All settings of a service, as the environment of its process."""
        return settings.environment_of(self, service)

    @property
    def production(self) -> bool:
        """See :class:`~vitne.dev.settings.Places`."""
        return self._tls and self._kafka_tls

    def state_of(self, service: str) -> Path:
        """Folder of a service's own files."""
        return self.folder / "state" / service

    def kafka_files(self, service: str) -> dict[str, str]:
        """See :class:`~vitne.dev.settings.Places`."""
        if not self._kafka_tls or not isinstance(self._broker, EmbeddedKafka):
            return {}
        identity = str(self._broker.identity_path(service))
        return {
            "VITNE_KAFKA_AUTHORITY_FILE": str(self._broker.authority_path),
            "VITNE_KAFKA_CERTIFICATE_FILE": identity,
            "VITNE_KAFKA_KEY_FILE": identity,
        }

    def allow_rule(self) -> str:
        """Where the status lists are really fetched in this stack."""
        return settings.allow_rule(self)

    def write_environment(self, registry_key: str) -> Path:
        """A file for a shell to source: the addresses, and a client of each kind, for the examples in docs/.

        Beside it are ``NAME.environment`` with all settings of each service and of the auditor, for their commands.
        """
        for service in (*SERVICES, AUDITOR):
            own = {name: value for name, value in self.environment(service).items() if name.startswith("VITNE_")}
            settings.write_exports(self.folder / f"{service}.{ENVIRONMENT}", own)
        return settings.write_exports(self.folder / ENVIRONMENT, settings.shell_environment(self, registry_key))

    def _remove_exports(self) -> None:
        """Nothing that a shell could source outlives what it leads to."""
        for path in self.folder.glob(f"*{ENVIRONMENT}"):
            path.unlink()

    def _process(self, name: str, module: str, *arguments: str) -> ManagedProcess:
        argv = [sys.executable, "-m", module, *arguments]
        log = self.log_folder / f"{name}.log"
        folder, nursery = self.sources(module), self.nursery_of(module)
        return ManagedProcess(name, argv, self.environment(name), log, cwd=folder, nursery=nursery)

    def sources(self, module: str) -> Path | None:
        """The folder that a module is run from; None: the present one."""
        return self.release if module.startswith("services.") else None

    def nursery_of(self, module: str) -> Nursery | None:
        """Where a module is forked off; None: it is run from other sources than were imported there, or nothing is."""
        return self._nursery if self.sources(module) is None else None

    async def _run(self, service: str, module: str, *arguments: str, stdin: bytes = b"") -> tuple[int, str]:
        folder, nursery = self.sources(module), self.nursery_of(module)
        code, output, errors = await run_module(
            module, arguments, self.environment(service), stdin, folder=folder, nursery=nursery
        )
        if code and arguments[0] not in ("check", "bundle"):
            raise FailedPrecondition("COMMAND_FAILED", f"{module} {arguments[0]} failed\n{errors.decode()}")
        return code, (output + (errors if code else b"")).decode().strip()

    async def command(self, service: str, *arguments: str) -> str:
        """Run one of a service's commands where it runs; what it printed.

        Raises:
            FailedPrecondition: ``COMMAND_FAILED``, with what it said.
        """
        _code, output = await self._run(service, f"services.{service}", *arguments)
        return output

    async def _ready(self, url: str) -> bool:
        try:
            async with self.session(READY_PAGE_SECONDS) as session, session.get(url) as response:
                return response.status == 200
        except (aiohttp.ClientError, OSError, TimeoutError):
            return False

    # -- what anybody can see ------------------------------------------------------------------

    async def service_keys(self) -> list[ServiceKey]:
        """The public keys of the ledger and the registry, as their own commands print them."""
        if self._service_keys:
            return self._service_keys
        answers = await asyncio.gather(
            *(self._run(service, f"services.{service}", "keys") for service in ("ledger", "registry"))
        )
        entries = [entry for _code, output in answers for entry in json.loads(output)]
        self._service_keys = [ServiceKey(entry["use"], entry["public_jwk"]) for entry in entries]
        return self._service_keys

    async def registry_key(self) -> str:
        """Thumbprint of the key that signs the registry's trust list: what a verifier pins."""
        keys = await self.service_keys()
        return next(thumbprint(key.public_jwk) for key in keys if key.use == "KEY_USE_TRUST_LIST")

    async def verify_publicly(self, credential: str) -> tuple[int, str]:
        """Run a verifier that knows nothing but public endpoints; its exit code and what it printed."""
        arguments = ["--trust-list", f"{self.http_url('registry')}/v1/trust-list"]
        arguments += ["--registry-key", await self.registry_key()]
        arguments += ["--allow", self.allow_rule(), "--ledger", self.grpc_address("ledger")]
        if (tls := self.client_tls) is not None:
            arguments += ["--ledger-ca", str(tls.authority), "--ledger-certificate", str(tls.certificate)]
        return await self._run("verifier", "services.verifier", "check", *arguments, "-", stdin=credential.encode())

    async def verify_bundle(self, credential: str) -> tuple[int, str]:
        """Gather what a credential's chain rests on, and check it without asking anyone; as :meth:`verify_publicly`."""
        place = ["--registry", self.http_url("registry")]
        _code, bundle = await self._run(
            "verifier", "services.verifier", "gather", *place, "-", stdin=credential.encode()
        )
        arguments = ["--registry-key", await self.registry_key(), "-"]
        return await self._run("verifier", "services.verifier", "bundle", *arguments, stdin=bundle.encode())

    async def collect_bundle(self, credential: str, file: Path) -> None:
        """Let somebody who knows nothing but public endpoints collect what a credential's verification rests on.

        Args:
            credential: as it was issued.
            file: of the stack's own, in which it is collected; of a stack of before, another's is there.

        Raises:
            FailedPrecondition: ``COMMAND_FAILED``.
        """
        await asyncio.to_thread(file.unlink, missing_ok=True)
        arguments = ["--trust-list", f"{self.http_url('registry')}/v1/trust-list", "--out", str(file)]
        arguments += ["--registry-key", await self.registry_key(), "--ledger", self.grpc_address("ledger")]
        arguments += ["--log-policy", str(self.log_policy)]
        if (tls := self.client_tls) is not None:
            arguments += ["--ledger-ca", str(tls.authority), "--ledger-certificate", str(tls.certificate)]
        await self._run("verifier", "services.verifier", "collect", *arguments, "-", stdin=credential.encode())

    async def verify_offline(self, file: Path) -> tuple[str, bool]:
        """Verify a bundle with public keys alone; what was printed, and whether there was no network to use.

        Raises:
            FailedPrecondition: ``COMMAND_FAILED``: it is not valid.
        """
        own = ["--registry-key", await self.registry_key(), "--log-policy", str(self.log_policy)]
        module, words = "services.verifier", ["verify-bundle", str(file), *own]
        if not (before := without_network()):
            return await self.command("verifier", *words), False
        code, output, errors = await run_module(
            module, words, self.environment("verifier"), folder=self.sources(module), before=before
        )
        if code:
            raise FailedPrecondition("COMMAND_FAILED", f"{module} verify-bundle failed\n{errors.decode()}")
        return output.decode().strip(), True

    async def audit_publicly(self) -> str:
        """Walk the published log with what is public alone; what was printed.

        Raises:
            FailedPrecondition: ``COMMAND_FAILED``: something does not agree.
        """
        folder = self.log_policy.parent
        key = folder / "status-list.jwk"
        key.write_text(
            json.dumps(next(e.public_jwk for e in await self.service_keys() if e.use == "KEY_USE_STATUS_LIST"))
        )
        own = ["--url", self.http_url("ledger"), "--policy", str(self.log_policy), "--list-key", str(key)]
        own += ["--served-at", self.allow_rule(), "--remember", str(folder / "last-checkpoint")]
        return await self.command("auditor", "log", *own)

    async def published_status(self, reference: credential_pb2.StatusReference) -> credential_pb2.Status.ValueType:
        """What the published list says, once its signature is checked."""
        keys = {key.key_id: key for key in (parse_public_jwk(each.public_jwk) for each in await self.service_keys())}
        url = reference.list.replace(STATUS_BASE, f"{self.http_url('ledger')}/", 1)
        async with self.session() as session, session.get(url) as response:
            token = await response.text()
        statuses = verify_token(token, uri=reference.list, find_key=keys.get, now=datetime.now(UTC))
        return _STATUS_OF[statuses.status_at(reference.index)]

    async def read_hub_topic(self) -> list[HubRecord]:
        """Every record of the hub's topic, from its beginning to its present end."""
        return await self.read_topic(self.hub_topic())

    async def read_topic(self, name: str) -> list[HubRecord]:
        """Every record of a topic, from its beginning to its present end."""
        records, _ends = await self.read_records(name)
        return [
            HubRecord(
                (record.key or b"").decode(),
                {header: value.decode() for header, value in record.headers},
                record.value or b"",
            )
            for record in records
        ]

    async def read_records(self, name: str) -> tuple[list[Record], dict[int, int]]:
        """Every record of a topic, and the offset at which each of its partitions ends.

        Raises:
            aiokafka.errors.UnknownTopicOrPartitionError: there is no such topic.
            Unavailable: ``TOPIC_NOT_READ``.
        """
        return await read_topic(self.kafka_settings(), name)
