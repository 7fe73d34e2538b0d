"""The broker as a child process: one node that is broker and controller (KRaft)."""

from __future__ import annotations

import asyncio
import base64
import fcntl
import shutil
import subprocess
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError

from vitne.clock import Clock, SystemClock
from vitne.dev.apache_kafka.access import AccessRule, create_access_rules
from vitne.dev.apache_kafka.jars import JARS_FOLDER, fetch_jars, java
from vitne.dev.apache_kafka.topics import create_topics
from vitne.dev.broker import TopicSpec
from vitne.dev.certificates import PRINCIPAL_CHARACTERS, CertificateAuthority
from vitne.dev.ports import LOOPBACK, answers, free_ports
from vitne.dev.processes import ManagedProcess
from vitne.errors import FailedPrecondition, Unavailable

#: Start-up includes recovery after a crash.
READY_SECONDS: Final = 60.0
STOP_SECONDS: Final = 20.0
FORMAT_SECONDS: Final = 60.0
#: A port may be taken between finding and using it.
START_ATTEMPTS: Final = 5

#: Everything is allowed to them: the broker itself, and who creates topics and access rules.
BROKER_PRINCIPAL: Final = "broker"
ADMIN_PRINCIPAL: Final = "admin"

#: The first compiler and the simplest collector start fastest, and leave the cores to others.
JVM_OPTIONS: Final = (
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:-UsePerfData",
    "-XX:+ExitOnOutOfMemoryError",
    "-Djava.awt.headless=true",
)
#: What differs from Kafka's defaults.
SETTINGS: Final[Mapping[str, str]] = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "inter.broker.listener.name": "BROKER",
    "controller.listener.names": "CONTROLLER",
    "log.dirs": "data",
    # Topics are created as code; a name that nobody created is an error.
    "auto.create.topics.enable": "false",
    # What says nothing else is kept for ever, as most topics are; Kafka would drop it after a week.
    "log.retention.ms": "-1",
    # One node can hold one copy only, and few clients need few partitions of the internal topics.
    "offsets.topic.num.partitions": "4",
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.num.partitions": "4",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    # The first member of a group need not wait for others that start at the same time.
    "group.initial.rebalance.delay.ms": "0",
    # After a crash the node is let in again when its former session has ended: nine seconds by default.
    "broker.session.timeout.ms": "2000",
    "broker.heartbeat.interval.ms": "500",
    # 128 MiB by default, a quarter of the heap.
    "log.cleaner.dedupe.buffer.size": str(8 * 1024 * 1024),
}
#: Deny by default; the principal is the common name of a certificate that has nothing else in its name.
SECURE_SETTINGS: Final[Mapping[str, str]] = {
    "listener.security.protocol.map": "BROKER:SSL,CONTROLLER:SSL",
    "ssl.client.auth": "required",
    "ssl.keystore.type": "PEM",
    "ssl.truststore.type": "PEM",
    "ssl.principal.mapping.rules": f"RULE:^CN=({PRINCIPAL_CHARACTERS})$/$1/",
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "allow.everyone.if.no.acl.found": "false",
    "super.users": f"User:{BROKER_PRINCIPAL};User:{ADMIN_PRINCIPAL}",
}
PLAIN_SETTINGS: Final[Mapping[str, str]] = {"listener.security.protocol.map": "BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT"}


class EmbeddedKafka:
    """Apache Kafka in a folder, running on 127.0.0.1 while the context lasts.

    The first start formats the storage (below a second, and once on a machine the
    minute in which Maven fetches the jars); records, topics, offsets and access
    rules outlive stops and crashes. The same object comes back on the same port, so
    that clients find it again. Start it from the main thread: it dies with its parent.

    Args:
        folder: where the data, the settings, the certificates and the log live; created when missing.
        port: 0 for a free one.
        secure: TLS with client certificates on every listener, and access rules that deny by default.
        heap: the JVM's largest heap, as ``-Xmx`` takes it.
        settings: broker settings that override :data:`SETTINGS`; ASCII.
        jars_folder: where the jars are kept.
        clock: dates the certificates.
    """

    def __init__(
        self,
        folder: Path,
        port: int = 0,
        *,
        secure: bool = False,
        heap: str = "512m",
        settings: Mapping[str, str] | None = None,
        jars_folder: Path = JARS_FOLDER,
        clock: Clock | None = None,
    ) -> None:
        self.folder = folder.resolve()
        self.port = port
        self.secure = secure
        self._settings = {**SETTINGS, **(SECURE_SETTINGS if secure else PLAIN_SETTINGS), **(settings or {})}
        self._heap = heap
        self._jars_folder = jars_folder
        self._clock = clock or SystemClock()
        self._process: ManagedProcess | None = None
        self._lock: IO[bytes] | None = None
        self._authority: CertificateAuthority | None = None
        self._issued: dict[str, Path] = {}

    async def __aenter__(self) -> EmbeddedKafka:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def bootstrap_servers(self) -> str:
        """``host:port`` for Kafka clients."""
        return f"{LOOPBACK}:{self.port}"

    @property
    def log_path(self) -> Path:
        """What the broker has to say."""
        return self.folder / "kafka.log"

    @property
    def pid(self) -> int:
        """Process id of the broker.

        Raises:
            FailedPrecondition: ``NOT_STARTED``.
        """
        return self._started().pid

    @property
    def authority_path(self) -> Path:
        """PEM file of the certificate that clients trust.

        Raises:
            FailedPrecondition: ``NOT_SECURE``.
        """
        return self._certificates().certificate_path

    def identity_path(self, principal: str) -> Path:
        """PEM file with the principal's certificate and private key, issued at its first use in this run.

        Raises:
            FailedPrecondition: ``NOT_SECURE``.
            InvalidArgument: ``BAD_PRINCIPAL``.
        """
        if principal not in self._issued:
            self._issued[principal] = self._certificates().issue(principal)
        return self._issued[principal]

    def client_options(self, principal: str | None = ADMIN_PRINCIPAL) -> dict[str, Any]:
        """Keyword arguments for any aiokafka client that is to be this principal.

        Args:
            principal: None for a client without a certificate; meaningless where the broker is not secure.

        Raises:
            InvalidArgument: ``BAD_PRINCIPAL``.
        """
        options: dict[str, Any] = {"bootstrap_servers": self.bootstrap_servers}
        if self.secure:
            identity = None if principal is None else self.identity_path(principal)
            options |= {"security_protocol": "SSL", "ssl_context": self._certificates().context(identity)}
        return options

    async def start(self) -> None:
        """Fetch the jars and format the storage when missing, and start it; returns once it serves.

        Raises:
            FailedPrecondition: ``NO_JAVA``, ``NO_MAVEN``, ``ALREADY_RUNNING``.
            Unavailable: ``JARS_NOT_FETCHED``; or it does not start: the message holds the end of its log.
        """
        if self._process is not None and self._process.running:
            raise FailedPrecondition("ALREADY_RUNNING", f"Apache Kafka runs already as process {self.pid}")
        java()  # Without it, there is no point in fetching.
        (self.folder / "tmp").mkdir(parents=True, exist_ok=True)
        self._take_folder()
        try:
            await self._start(await asyncio.to_thread(fetch_jars, self._jars_folder))
        except BaseException:
            await self.stop()
            raise

    async def _start(self, jars: Path) -> None:
        shutil.copyfile(Path(__file__).with_name("log4j2.properties"), self.folder / "log4j2.properties")
        port_given = self.port
        for attempt in range(1, START_ATTEMPTS + 1):
            free, controller_port = free_ports(2)
            self.port = port_given or free
            self._write_settings(controller_port)
            if not (self.folder / "data").exists():
                await asyncio.to_thread(self._format, jars)
            self._process = ManagedProcess(
                "Apache Kafka",
                self._command(jars, "kafka.Kafka", "server.properties"),
                env=self._environment(),
                log_path=self.log_path,
                cwd=self.folder,
            )
            self._process.start()
            try:
                await self._process.wait_ready(self._is_ready, READY_SECONDS)
            except Unavailable:
                taken = "Address already in use" in self._process.log_tail(1000)
                if attempt == START_ATTEMPTS or not taken:
                    raise
                await self._process.stop(STOP_SECONDS)
            else:
                return

    async def stop(self) -> None:
        """Stop it; what it holds is written and stays in the folder."""
        if self._process is not None:
            await self._process.stop(STOP_SECONDS)
        self._leave_folder()

    def kill(self) -> None:
        """Crash it: SIGKILL; the next start recovers."""
        if self._process is not None:
            self._process.kill()
        self._leave_folder()

    async def wait(self) -> int:
        """Return how the process ended, once it has.

        Raises:
            FailedPrecondition: ``NOT_STARTED``.
        """
        return await self._started().wait()

    async def create_topics(self, topics: Iterable[TopicSpec]) -> None:
        """Create the topics that do not exist; :class:`RetainedTopic` sets the retention.

        Raises:
            Unavailable: ``TOPIC_NOT_CREATED``.
        """
        await create_topics(self.client_options(), topics)

    async def create_access_rules(self, rules: Iterable[AccessRule]) -> None:
        """Put rules into force, beside those that are.

        Raises:
            FailedPrecondition: ``NOT_SECURE``.
            Unavailable: ``ACCESS_RULE_NOT_CREATED``.
        """
        self._certificates()
        await create_access_rules(self.client_options(), rules)

    async def _is_ready(self) -> bool:
        if not await answers(self.port):
            return False
        client = AIOKafkaClient(**self.client_options(), request_timeout_ms=2000)
        try:
            await client.bootstrap()
            return bool(client.cluster.brokers())
        except KafkaError:
            return False
        finally:
            await client.close()

    def _take_folder(self) -> None:
        """Kafka locks its data only after its controller has written to them, which upsets the one that runs."""
        lock = (self.folder / "lock").open("wb")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise FailedPrecondition("ALREADY_RUNNING", f"another Kafka uses {self.folder}") from None
        self._lock = lock

    def _leave_folder(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _write_settings(self, controller_port: int) -> None:
        """Write ``server.properties``. Paths in it are relative, so that no folder's name needs an escape."""
        settings = {
            **self._settings,
            "controller.quorum.voters": f"{self._settings['node.id']}@{LOOPBACK}:{controller_port}",
            "listeners": f"BROKER://{LOOPBACK}:{self.port},CONTROLLER://{LOOPBACK}:{controller_port}",
        }
        if self.secure:
            authority = self._certificates()
            identity = authority.issue(BROKER_PRINCIPAL, server=True)
            settings["ssl.keystore.location"] = str(identity.relative_to(self.folder))
            settings["ssl.truststore.location"] = str(authority.certificate_path.relative_to(self.folder))
        lines = [f"{key}={value}\n" for key, value in settings.items()]
        (self.folder / "server.properties").write_text("".join(lines), encoding="ascii")

    def _format(self, jars: Path) -> None:
        """Format the storage beside its final place and rename it, so that a half-made one is never used."""
        unfinished = self.folder / "data.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        settings = (self.folder / "server.properties").read_text(encoding="ascii")
        (self.folder / "format.properties").write_text(f"{settings}log.dirs={unfinished.name}\n", encoding="ascii")
        # Passed as one word with its option below, since it may begin with '-'.
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        done = subprocess.run(
            self._command(
                jars, "kafka.tools.StorageTool", "format", f"--cluster-id={cluster}", "--config=format.properties"
            ),
            cwd=self.folder,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=FORMAT_SECONDS,
            check=False,
        )
        if done.returncode:
            raise Unavailable(
                "STORAGE_NOT_FORMATTED",
                f"Kafka's storage tool ended with {done.returncode}\n{done.stdout.decode(errors='replace')}",
            )
        unfinished.rename(self.folder / "data")

    def _command(self, jars: Path, main_class: str, *arguments: str) -> list[str]:
        """Java itself, since the distribution's shell scripts are not among the jars."""
        return [
            java(),
            f"-Xmx{self._heap}",
            *JVM_OPTIONS,
            f"-Djava.io.tmpdir={self.folder / 'tmp'}",
            "-Dlog4j2.configurationFile=log4j2.properties",
            "-cp",
            f"{jars}/*",
            main_class,
            *arguments,
        ]

    def _environment(self) -> dict[str, str]:
        """Nothing of this process's, such as ``JAVA_TOOL_OPTIONS``; UTF-8, for folders with names beyond ASCII."""
        return {"PATH": "/usr/bin:/bin", "HOME": str(self.folder), "LC_ALL": "C.UTF-8"}

    def _started(self) -> ManagedProcess:
        if self._process is None:
            raise FailedPrecondition("NOT_STARTED", "the embedded Kafka was not started")
        return self._process

    def _certificates(self) -> CertificateAuthority:
        if not self.secure:
            raise FailedPrecondition("NOT_SECURE", "this Kafka has no certificates", remedy="start it with secure=True")
        if self._authority is None:
            self._authority = CertificateAuthority(self.folder / "tls", self._clock)
        return self._authority
