"""The embedded stack with what institutions need to issue, and how its work is measured."""

from __future__ import annotations

import asyncio
import itertools
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import date, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import asyncpg

from bench.load import Measured
from bench.resources import cpu_seconds, rss_mib
from bench.session import Session
from vitne.dev.actors import Actors, Organisation
from vitne.dev.cases import AchievementCase
from vitne.dev.demo import Demo, new_id
from vitne.dev.narrator import Narrator
from vitne.dev.ports import LOOPBACK, free_ports
from vitne.dev.processes import ManagedProcess
from vitne.dev.stack import DATABASES, READY_SECONDS, SERVICES, Stack
from vitne.identifiers import NORWEGIAN_NATIONAL_ID, synthetic_national_id
from vitne_api.credential.v1 import credential_pb2
from vitne_api.issuer.v1 import issuer_pb2

#: What is issued: a short one of a Norwegian university's.
CASE: Final = "minikvalifikasjon"
#: Items of a batch that travel in one message: as many as the contract allows.
PACK: Final = 100
#: Verifiers that share the port of HTTP: one a core of the machine that the targets are for.
VERIFIERS: Final = 2
#: Credentials of a day: more than any benchmark has issued, so that none is refused.
_QUOTA: Final = 10_000_000
#: Seconds of load before what is measured.
WARM_UP: Final = 2.0
#: Seconds in which everything that follows from a load must be done.
SETTLE_SECONDS: Final = 90.0
_LOOK_SECONDS: Final = 0.05

_FIRST_BIRTH: Final = date(1960, 1, 1)
#: Days, and numbers a day, from which made-up learners are taken: the demonstration's are born within.
_DAYS: Final = 12_000
_SERIALS: Final = 500

#: What waits somewhere on its way, by database: nothing of it is left when a load's consequences are done.
_WAITING: Final = {
    "issuer": "SELECT count(*) FROM outbox WHERE published_at IS NULL",
    "ledger": "SELECT (SELECT count(*) FROM outbox WHERE published_at IS NULL) + (SELECT count(*) FROM queued_leaf)",
    "portal": "SELECT count(*) FROM credential WHERE fetch_at IS NOT NULL",
}


class BenchStack(Stack):
    """The embedded stack as benchmarks want it: spans are made and handed on, not written to a file.

    Its processes share no memory with each other, as they don't in operation.
    """

    forks = False

    def environment(self, service: str) -> dict[str, str]:
        """As the demonstration's, without the file of traces; verifiers share their port, and quotas are large."""
        environment = super().environment(service)
        environment.pop("VITNE_TRACE_FILE", None)
        if service == "issuer":
            environment["VITNE_DAILY_QUOTA"] = str(_QUOTA)
        if service == "verifier":
            environment["VITNE_HTTP_PORT_SHARED"] = "true"
        return environment


class World:
    """A running stack in which institutions may issue.

    Attributes:
        session: the run.
        stack: the processes.
        actors: who calls them.
        demo: who is accredited for what.
        case: what is issued.
        provider: who issues it.
    """

    def __init__(self, session: Session, stack: Stack, actors: Actors, demo: Demo) -> None:
        self.session = session
        self.stack = stack
        self.actors = actors
        self.demo = demo
        self.case: AchievementCase = demo.cases.achievements[CASE]
        self.provider: Organisation = actors.organisation(self.case.message.provider)
        self._strangers = strangers()
        self._databases: dict[str, Any] = {}

    @classmethod
    @asynccontextmanager
    async def running(cls, session: Session, kafka: str = "") -> AsyncIterator[World]:
        """Start everything, accredit and publish; stops everything in the end.

        Args:
            session: the run.
            kafka: as of :class:`~vitne.dev.stack.Stack`.
        """
        async with AsyncExitStack() as exits:
            starting = BenchStack(session.home, kafka=kafka, progress=lambda text: session.say(f"starting {text}"))
            stack = await exits.enter_async_context(starting)
            actors = await exits.enter_async_context(Actors(stack))
            demo = Demo(stack, actors, Narrator(quiet=True), exits)
            await demo.accredit()
            await demo.publish()
            world = cls(session, stack, actors, demo)
            for service in _WAITING:
                world._databases[service] = await asyncpg.connect(stack.postgres.dsn(DATABASES[service][0]))
                exits.callback(world._databases[service].terminate)
            await demo.issue_when_known(demo.learner, world.case)
            yield world

    # -- load ----------------------------------------------------------------------------------

    def stranger(self) -> issuer_pb2.Learner:
        """A learner whom nobody has seen: what is issued to them needs a row and a key of their own first."""
        return next(self._strangers)

    async def issue(
        self, learner: issuer_pb2.Learner, *formats: credential_pb2.Format.ValueType
    ) -> issuer_pb2.IssuedCredential:
        """One call of ``Issue``, in further formats too."""
        request = issuer_pb2.IssueRequest(
            request_id=new_id(), issuance=self.demo.issuance(learner, self.case), formats=formats
        )
        answer: issuer_pb2.IssueResponse = await self.provider.issuer.Issue(request)
        return answer.credential

    async def issued(self, learners: list[issuer_pb2.Learner]) -> AsyncIterator[issuer_pb2.IssuedCredential]:
        """One call of ``IssueBatch``; what was issued, all of it, as it is answered."""
        items = [
            issuer_pb2.BatchItem(item_id=str(number), issuance=self.demo.issuance(learner, self.case))
            for number, learner in enumerate(learners)
        ]
        async for result in self.provider.issue_batch(new_id(), items, pack=PACK):
            if result.WhichOneof("outcome") != "credential":
                raise AssertionError(f"an item of a batch was not issued: {result.error.message}")
            yield result.credential

    async def issue_batch(self, learners: list[issuer_pb2.Learner]) -> int:
        """The same; how many were issued, which is all of them."""
        return len([credential.id async for credential in self.issued(learners)])

    async def measured(
        self,
        name: str,
        load: Callable[[float], Awaitable[Measured]],
        seconds: float,
        *,
        beside: Mapping[str, int] = MappingProxyType({}),
    ) -> tuple[Measured, float]:
        """A load's rate, after a warm-up; and the CPU-milliseconds that an operation and all that follows take.

        Counted are the five services and PostgreSQL, from the load's start until everything that it
        caused is published, logged and gathered; neither broker nor client.

        Args:
            name: of the benchmark.
            load: for so many seconds.
            seconds: in a run that is not quick.
            beside: further processes that count, by name.
        """
        await load(self.session.seconds(WARM_UP))
        await self.settled()
        seconds = self.session.seconds(seconds)
        services = self.service_pids() | dict(beside)
        counted = services | {"PostgreSQL": self.stack.postgres.pid}
        before = {process: cpu_seconds([pid]) for process, pid in counted.items()}
        async with self.session.profiled(name, services, seconds):
            measured = await load(seconds)
        await self.settled()
        used = {
            process: (cpu_seconds([pid]) - before[process]) * 1000 / measured.operations
            for process, pid in counted.items()
        }
        shares = ", ".join(f"{process} {cost:.2f}" for process, cost in used.items())
        self.session.say(f"CPU-ms each: {shares}")
        return measured, sum(used.values())

    async def settled(self) -> None:
        """Return when everything that was begun is done."""
        async with asyncio.timeout(SETTLE_SECONDS):
            quiet = 0
            while quiet < 2:  # Something may be between two places when it is looked at.
                await asyncio.sleep(_LOOK_SECONDS)
                waiting = [await self._databases[service].fetchval(query) for service, query in _WAITING.items()]
                quiet = 0 if any(waiting) else quiet + 1

    def database(self, service: str) -> Any:
        """A connection to a service's database, to look at what is there."""
        return self._databases[service]

    async def reconnect(self, service: str) -> None:
        """Connect anew to a database that was dropped."""
        self._databases[service].terminate()
        self._databases[service] = await asyncpg.connect(self.stack.postgres.dsn(DATABASES[service][0]))

    # -- processes -----------------------------------------------------------------------------

    def service_pids(self) -> dict[str, int]:
        """The services' processes."""
        return {service: self.stack.processes[service].pid for service in SERVICES}

    def rss_mib(self, service: str) -> float:
        """Resident memory of a service."""
        return rss_mib(self.stack.processes[service].pid)

    @asynccontextmanager
    async def more_verifiers(self, count: int = VERIFIERS - 1) -> AsyncIterator[list[ManagedProcess]]:
        """Further verifiers on the same port of HTTP; connections are shared out among them by the kernel."""
        async with AsyncExitStack() as exits:
            workers = []
            for number in range(2, count + 2):
                own = dict(zip(("GRPC", "METRICS"), free_ports(2), strict=True))
                worker = service_process(
                    "verifier",
                    self.stack.environment("verifier")
                    | {f"VITNE_{kind}_LISTEN": f"{LOOPBACK}:{port}" for kind, port in own.items()},
                    self.stack.log_folder / f"verifier-{number}.log",
                )
                worker.start()
                exits.push_async_callback(worker.stop)
                await wait_started(worker)
                workers.append(worker)
            yield workers


def service_process(service: str, environment: dict[str, str], log: Path) -> ManagedProcess:
    """A service beside those of the stack, not started yet."""
    return ManagedProcess(service, [sys.executable, "-m", f"services.{service}", "serve"], environment, log)


async def wait_started(process: ManagedProcess) -> None:
    """Return when a service's process has written that it has started: it may share its ports with another."""

    async def started() -> bool:
        return '"started"' in process.log_tail(1000)

    await process.wait_ready(started, READY_SECONDS)


def strangers() -> Iterator[issuer_pb2.Learner]:
    """Learners without end, each another one, none of them the demonstration's."""
    for number in itertools.count():
        born = _FIRST_BIRTH + timedelta(days=number % _DAYS)
        value = synthetic_national_id(born, (_SERIALS - 1 - number // _DAYS) % _SERIALS)
        if value is not None:
            yield issuer_pb2.Learner(
                scheme=NORWEGIAN_NATIONAL_ID,
                value=value,
                given_name="Kari",
                family_name=f"Prøvesen {number}",
                birth_date=born.isoformat(),
            )
