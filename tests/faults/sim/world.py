"""All services in one process and in simulated time: their real code, over what can fail.

Two replicas of issuer, ledger and portal, each a :class:`Process` that can be killed
and comes back with nothing but its database. At the boundary of the world are the
registry (which only tells facts and that it is alive), the institutions and the
learners, who repeat what was not answered, as the contract tells them to.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, TypeVar
from unittest import mock
from uuid import UUID

import asyncpg
import grpc.aio
from cryptography.hazmat.primitives.asymmetric import ec

from services.issuer.crypto import INDEX_KEY, WRAPPING_KEY
from services.issuer.projection import folder
from services.issuer.settings import IssuerSettings
from services.issuer.statuses import OPTIONS as STATUSES
from services.issuer.wiring import KEY_MIGRATIONS as ISSUER_KEYS
from services.issuer.wiring import MIGRATIONS as ISSUER
from services.issuer.wiring import Issuer
from services.ledger.intake import ALLOWED, take_leaf
from services.ledger.intake import CONSUMER as LEAVES
from services.ledger.keys import LedgerKeys
from services.ledger.leases import Leases, Orders, load_secret
from services.ledger.lists import ListPublisher
from services.ledger.log_store import LogStore
from services.ledger.rpc import LedgerRpc
from services.ledger.sequencer import Sequencer
from services.ledger.statuses import Statuses
from services.ledger.wiring import MIGRATIONS as LEDGER
from services.portal import fetcher as portal_fetcher
from services.portal.notices import Notices
from services.portal.sealing import PortalKeys
from services.portal.store import Store
from services.portal.wiring import CONSUMER as PORTAL_CONSUMER
from services.portal.wiring import MIGRATIONS as PORTAL
from services.registry.events import HEARTBEAT_TYPE, SOURCE, events_of
from tests.faults.sim.database import Database, SimulatedPool, find_blocked
from tests.faults.sim.kafka import Cluster, ProcessKafka, TopicPartition
from tests.faults.sim.plan import LEARNERS, Operation
from tests.faults.sim.scheduler import Fault, Process, ProcessDied, Scheduler, SimulatedLoop
from tests.integration.issuer_harness import HUB, KLIMA, MINI, IdTokens, chronicle_of_providers, issuance, pid_of
from tests.unit.accreditation_samples import T0, UCL, UIO
from vitne.accreditation import Projection, instant, timestamp
from vitne.audit.agreement import Disagreement
from vitne.audit.snapshots import (
    Aggregate,
    IssuedAnswer,
    Messaging,
    RegistrySnapshot,
    StatusAnswer,
    TopicSnapshot,
    WorldSnapshot,
)
from vitne.canonical import from_b64url
from vitne.credentials.jose import ES256, parse_public_jwk
from vitne.credentials.status_list import verify_token
from vitne.dev import snapshots
from vitne.errors import NotFound, VitneError
from vitne.identifiers import LearnerId, OrganisationId, UuidFactory
from vitne.messaging import topics
from vitne.messaging.consumer import Consumer, ConsumerOptions, Handler
from vitne.messaging.follower import TopicFollower
from vitne.messaging.headers import Message, build
from vitne.messaging.kafka import KafkaSettings
from vitne.messaging.relay import Relay, RelayOptions
from vitne.runtime.custody import FileKeyCustody
from vitne.runtime.database import GroupCommitter, Migrations, migrate
from vitne.runtime.identity import Caller
from vitne.runtime.identity.caller import caller_context
from vitne.runtime.interceptors.errors import as_vitne_error
from vitne.runtime.rules import check_rules
from vitne.runtime.secret_files import read_secret
from vitne.runtime.status import Internal, error_from_rpc, errors_to_status, trailers
from vitne_api.credential.v1 import credential_pb2
from vitne_api.events.v1 import events_pb2
from vitne_api.issuer.v1 import issuer_pb2
from vitne_api.ledger.v1 import ledger_pb2
from vitne_api.registry.v1 import facts_pb2

ORIGIN: Final = "log.vitne.example/2026"
BASE_URL: Final = "https://status.vitne.example"
#: The databases that there are.
DATABASES: Final = ("issuer", "issuer-keys", "ledger", "portal")
#: Small, so that lists fill up and blocks are used up within a scenario.
LIST_SIZE, LEASE_BLOCK, LOW_WATER = 24, 5, 4
#: Slower than in earnest, since every look costs real time here.
RELAY: Final = RelayOptions(batch=12, busy_seconds=0.1, idle_seconds=1.0, topic_rest_seconds=3.0)
CONSUMER: Final = ConsumerOptions(batch=8, poll_seconds=1.0, sweep_seconds=2.0)
INTERVAL: Final = 0.5
DEADLINE_SECONDS: Final = 10.0
LIFETIME: Final = timedelta(minutes=15)
KAFKA: Final = KafkaSettings("simulated")
#: What a caller repeats, with the same request.
REPEATABLE: Final = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED", "ABORTED", "RESOURCE_EXHAUSTED"})
PROVIDERS: Final = ((UCL, KLIMA), (UIO, MINI))
ROLES: Final = ("issuer-1", "issuer-2", "ledger-1", "ledger-2", "portal-1", "portal-2")
LEDGER_CLIENT: Final = Caller(OrganisationId.parse("0192:985042667"), frozenset(), "issuer")
HUB_ID: Final = OrganisationId.parse(HUB)
_CHANGES: Final = {
    "suspend": ledger_pb2.STATUS_CHANGE_SUSPEND,
    "reinstate": ledger_pb2.STATUS_CHANGE_REINSTATE,
    "revoke": ledger_pb2.STATUS_CHANGE_REVOKE,
}
_STATUS: Final = {
    credential_pb2.STATUS_VALID: "valid",
    credential_pb2.STATUS_SUSPENDED: "suspended",
    credential_pb2.STATUS_REVOKED: "revoked",
}

T = TypeVar("T")


#: Beside a consumer's effects, in their transaction: which event had one.
_EFFECTS: Final = "CREATE TABLE simulated_effect (consumer text, topic text, key text, revision bigint)"


def _counted(consumer: str, handle: Handler) -> Handler:
    """A handler whose effects are counted."""

    async def counted(connection: Any, message: Message) -> None:
        await handle(connection, message)
        await connection.execute(
            "INSERT INTO simulated_effect VALUES ($1, $2, $3, $4)",
            consumer,
            message.topic,
            message.key,
            message.revision,
        )

    return counted


class Grounds:
    """What lasts over all scenarios: loop, databases, key files. Use it as a context manager."""

    def __init__(self, dsns: dict[str, str], state: Path) -> None:
        self.loop = SimulatedLoop()
        self.scheduler = Scheduler(self.loop)
        self.databases = {name: Database(self.scheduler, name, dsn) for name, dsn in dsns.items()}
        self.state = state
        self.chronicle = chronicle_of_providers()
        self.signing_keys: list[tuple[str, str]] = []

    def run(self, work: Awaitable[T]) -> T:
        """Run something to its end in the simulated loop."""

        async def main() -> T:
            return await work

        return self.loop.run_until_complete(main())

    async def prepare(self) -> None:
        """Migrate, and make what the services find at their start."""
        scheduler = self.scheduler
        for name, migrations in (
            ("issuer", ISSUER),
            ("issuer-keys", ISSUER_KEYS),
            ("ledger", LEDGER),
            ("portal", PORTAL),
        ):
            await self._migrate(self.databases[name], migrations)
        monitor = self.databases["issuer"].connect()
        scheduler.find_blocked = lambda pids: find_blocked(monitor, pids)
        for part in ("issuer", "ledger", "portal"):
            (self.state / part).mkdir(mode=0o700, parents=True, exist_ok=True)
        with seeded(0), _same_keys():
            self._make_keys()

    def _make_keys(self) -> None:
        """Key files, the same in every run: what keys are made from decides which partition an event is in."""
        custody = FileKeyCustody(self.state / "issuer")
        for number, (provider, _) in enumerate(PROVIDERS):
            signer = custody.ensure(f"provider.{provider}.{UUID(int=number)}", ES256)
            self.signing_keys.append((signer.key_id, provider))
            key = facts_pb2.Key(
                id=signer.key_id,
                revision=1,
                owner=provider,
                use=facts_pb2.KEY_USE_CREDENTIAL,
                public_jwk=json.dumps(signer.public_jwk),
                valid_from=timestamp(T0),
            )
            self.chronicle.record(provider, key=key)
        for name in (INDEX_KEY, WRAPPING_KEY):
            read_secret(self.state / "issuer", name, create=True)
        load_secret(self.state / "ledger", create=True)
        LedgerKeys.ensure(FileKeyCustody(self.state / "ledger"))
        PortalKeys.load(self.state / "portal", create=True)

    async def _migrate(self, database: Database, migrations: Sequence[Migrations]) -> None:
        await self.scheduler.real(lambda: migrate(database.dsn, migrations), ends=True)
        await database.warm()
        await database.run(lambda raw: raw.execute(_EFFECTS))

    def close(self) -> None:
        self.run(self._close())
        self.scheduler.loop.scheduler = None
        self.loop.close()

    async def _close(self) -> None:
        for database in self.databases.values():
            await database.close()

    def __enter__(self) -> Grounds:
        self.run(self.prepare())
        # Services make what they miss when they start first; no scenario is to be the first.
        with seeded(0):
            self.run(self._rehearse())
        return self

    async def _rehearse(self) -> None:
        world = World(self)
        await world.start()
        await asyncio.sleep(1.0)
        await world.stop()

    def __exit__(self, *_: object) -> None:
        self.close()


class World:
    """One scenario's services, callers and faults."""

    def __init__(self, grounds: Grounds) -> None:
        self.grounds = grounds
        self.scheduler = grounds.scheduler
        self.databases = grounds.databases
        self.cluster = Cluster(self.scheduler)
        self.processes: dict[str, Process] = {}
        self.parts: dict[str, Any] = {}
        #: What no fault explains: a task that ended, an exception that nobody foresaw.
        self.findings: list[str] = []
        self.issued: list[IssuedAnswer] = []
        self.changed: list[StatusAnswer] = []
        self.registry_silent_until = 0.0
        self.stopped = False
        self._outside = Process(self.scheduler, "client", "clients")
        self._new_id = UuidFactory(self._outside.clock)
        self._credentials: dict[int, asyncio.Future[list[UUID]]] = {}
        self._users = [asyncio.Lock() for _ in range(LEARNERS)]
        self._registry: dict[tuple[str, str], int] = {}
        self._registry_leaves: list[bytes] = []

    # --- Processes ------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Start with empty databases."""
        for database in self.databases.values():
            database.away = False
            await database.reset()
        await self.databases["issuer"].run(
            lambda raw: raw.executemany(
                "INSERT INTO signing_key (key_id, provider, created_at) VALUES ($1, $2, $3)",
                [(key_id, provider, T0) for key_id, provider in self.grounds.signing_keys],
            )
        )
        hub_topic = topics.hub_topic(HUB_ID)
        for topic in [each.name for each in topics.fixed_topics()] + [hub_topic]:
            self.cluster.create(topic)
            if topic not in (topics.REGISTRY_FACTS, topics.REGISTRY_HEARTBEAT):
                self.cluster.create(topics.dead_topic(topic))
        for fact in self.grounds.chronicle.facts:
            for event in events_of(fact, new_id=self._new_id):
                self._tell(event.topic, event.key, event.type, event.value)
                if event.topic == topics.REGISTRY_LEAVES:
                    self._registry_leaves.append(events_pb2.LeafSubmitted.FromString(event.value).leaf)
        self.scheduler.on_crash = self.kill
        self._outside.spawn(self._beat())
        for name in ROLES:
            self.launch(name)

    def launch(self, name: str) -> None:
        """Start a process: nothing of an earlier one of its name is left but its database and its keys."""
        process = Process(self.scheduler, name.partition("-")[0], name)
        self.processes[name] = process
        self.scheduler.note(f"{name} starts")
        {"issuer": self._issuer, "ledger": self._ledger, "portal": self._portal}[process.role](process)

    def _run(self, process: Process, name: str, task: Callable[[], Awaitable[None]]) -> None:
        """Run a background task, whose end would end the process."""

        async def run() -> None:
            try:
                await task()
            except asyncio.CancelledError:
                raise
            except Exception as error:  # noqa: BLE001 - it is what is looked for
                self.find(f"{process.name}: the task {name} ended with {type(error).__name__}: {error}", error)
                self.kill(process)

        process.spawn(run(), f"{process.name}.{name}")

    def find(self, what: str, error: BaseException | None = None) -> None:
        """Note something that no fault explains."""
        place = ""
        if error is not None and error.__traceback__ is not None:
            frame = error.__traceback__
            while frame.tb_next is not None:
                frame = frame.tb_next
            place = f" at {frame.tb_frame.f_code.co_filename.rpartition('/')[2]}:{frame.tb_lineno}"
        self.findings.append(what + place)
        self.scheduler.note(f"?? {what}{place}")

    def _pool(self, process: Process, database: str) -> SimulatedPool:
        return SimulatedPool(self.databases[database], process)

    def _issuer(self, process: Process) -> None:
        clock, kafka = process.clock, ProcessKafka(self.cluster, process)
        pool, projection = self._pool(process, "issuer"), Projection()
        settings = IssuerSettings(
            environment="development",
            state_dir=self.grounds.state / "issuer",
            hubs={HUB: "portal"},
            lease_block=LEASE_BLOCK,
            lease_low_water=LOW_WATER,
        )
        issuer = Issuer.assemble(
            settings,
            clock,
            pool=pool,
            keys_pool=self._pool(process, "issuer-keys"),
            ledger=Stub(self, process, "ledger", LEDGER_CLIENT),
            projection=projection,
            verifier=IdTokens(),  # type: ignore[arg-type]  # stands for the real one at the edge
        )
        follower = TopicFollower(
            (topics.REGISTRY_FACTS, topics.REGISTRY_HEARTBEAT), KAFKA, folder(projection, clock), clock, kafka=kafka
        )
        consumer = Consumer(
            "issuer",
            [topics.LEDGER_STATUS],
            pool,
            _counted("issuer", issuer.statuses.handle),
            settings=KAFKA,
            clock=clock,
            kafka=kafka,
            options=replace(CONSUMER, batch=STATUSES.batch),
        )
        self.parts[process.name] = issuer.rpc
        self._run(process, "registry", follower.run)
        self._run(process, "leases", issuer.leases.run)
        self._run(process, "completion", issuer.unary.run)
        self._run(process, "relay", self._relay(process, pool, kafka).run)
        self._run(process, "statuses", consumer.run)

    def _relay(self, process: Process, pool: Any, kafka: ProcessKafka) -> Relay:
        return Relay(pool, KAFKA, process.clock, kafka=kafka, options=RELAY)

    def _ledger(self, process: Process) -> None:
        clock, kafka = process.clock, ProcessKafka(self.cluster, process)
        pool: Any = self._pool(process, "ledger")
        new_id = UuidFactory(clock)
        keys = LedgerKeys.ensure(FileKeyCustody(self.grounds.state / "ledger"))
        orders = Orders(load_secret(self.grounds.state / "ledger", create=False))
        publisher = ListPublisher(
            pool, keys.status_list, clock, new_id, lifetime=LIFETIME, ttl=timedelta(seconds=10), interval=INTERVAL
        )
        statuses: GroupCommitter[Any, Any] = GroupCommitter(pool, Statuses(orders, clock, new_id).apply)
        sequencer = Sequencer(pool, keys.note_signer(ORIGIN), clock, interval=INTERVAL, max_batch=8)
        self.parts[process.name] = LedgerRpc(
            pool=pool,
            leases=Leases(orders, clock, base_url=BASE_URL, list_size=LIST_SIZE),
            set_status=statuses.submit,
            store=LogStore(pool),
            clock=clock,
            publisher=publisher,
        )
        self.parts[process.name + " lists"] = publisher
        consumer = Consumer(
            LEAVES,
            tuple(ALLOWED),
            pool,
            _counted(LEAVES, take_leaf),
            settings=KAFKA,
            clock=clock,
            kafka=kafka,
            options=CONSUMER,
        )
        self._run(process, "lists", publisher.run)
        self._run(process, "sequencer", sequencer.run)
        self._run(process, "relay", self._relay(process, pool, kafka).run)
        self._run(process, "leaves", consumer.run)

    def _portal(self, process: Process) -> None:
        clock, kafka = process.clock, ProcessKafka(self.cluster, process)
        pool: Any = self._pool(process, "portal")
        keys = PortalKeys.load(self.grounds.state / "portal", create=False)
        store = Store(pool, keys)
        issuer = Stub(self, process, "issuer", Caller(HUB_ID, frozenset(), "portal"))
        fetcher = portal_fetcher.Fetcher(store, issuer, clock)
        consumer = Consumer(
            PORTAL_CONSUMER,
            (topics.hub_topic(HUB_ID),),
            pool,
            _counted(PORTAL_CONSUMER, Notices(store, clock, fetcher.wake).handle),
            settings=KAFKA,
            clock=clock,
            kafka=kafka,
            options=CONSUMER,
        )
        self.parts[process.name] = (store, keys, issuer, UuidFactory(clock))
        self._run(process, "notices", consumer.run)
        self._run(process, "fetcher", fetcher.run)
        self._run(process, "relay", self._relay(process, pool, kafka).run)

    def kill(self, process: Process, back_after: float | None = None) -> None:
        """SIGKILL: it does nothing any more from this moment on; it comes back a little later."""
        if process.dead:
            return
        process.dead = True
        self.scheduler.note(f"{process.name} dies")
        pause = self.scheduler.random.uniform(0.1, 3.0) if back_after is None else back_after
        asyncio.Task(self._bury(process, pause), loop=self.grounds.loop)

    async def _bury(self, process: Process, pause: float) -> None:
        tasks = list(process.tasks)
        for task in tasks:
            task.cancel()
        for rite in process.funeral:
            await rite()
        if tasks:
            _, left = await asyncio.wait(tasks, timeout=1.0)
            for task in left:
                self.find(f"{process.name}: the task {task.get_name()} survives its process")
        if not self.stopped:
            await asyncio.sleep(pause)
            if not self.stopped and self.processes[process.name] is process:
                self.launch(process.name)

    async def stop(self) -> None:
        """End everything."""
        self.stopped = True
        self.scheduler.faulty = False
        for process in [*self.processes.values(), self._outside]:
            self.kill(process)
        await asyncio.sleep(1.5)
        self.cluster.closed = True

    def alive(self, role: str) -> list[Process]:
        return [each for each in self.processes.values() if each.role == role and not each.dead]

    # --- Calls ----------------------------------------------------------------------------------------

    async def call(self, caller: Process, role: str, identity: Caller, method: str, request: Any) -> Any:
        """A unary call as gRPC makes it: it may not arrive, its answer may not, and it may arrive twice.

        Raises:
            grpc.aio.AioRpcError: what the caller sees.
        """
        fault = await self.scheduler.point(caller, "rpc", method)
        kind = fault.kind if fault else ""
        if kind == "lost_before":
            raise _rpc_error(grpc.StatusCode.UNAVAILABLE)
        if kind == "slow" and fault is not None:
            await asyncio.sleep(fault.value)
        handlers = [self._handle(role, identity, method, request) for _ in range(2 if kind == "twice" else 1)]
        answer = await self._answer(handlers[0])
        if kind == "lost_after":
            raise _rpc_error(grpc.StatusCode.DEADLINE_EXCEEDED)
        if kind == "crash_after":
            await self.scheduler.crash(caller)
        caller.check()
        return answer

    def _handle(self, role: str, identity: Caller, method: str, request: Any) -> asyncio.Task[Any]:
        """Have one of the replicas handle a request."""
        alive = self.alive(role)
        if not alive:
            raise _rpc_error(grpc.StatusCode.UNAVAILABLE)
        callee = alive[self.scheduler.random.randrange(len(alive))]
        handler = getattr(self.parts[callee.name], method)

        async def handle() -> Any:
            caller_context.set(identity)
            await self.scheduler.point(callee, "handle", method)
            with self._edge(callee, method):
                check_rules(request)
                return await handler(request, None)

        task = callee.spawn(handle(), f"{callee.name}.{method}")
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return task

    @contextlib.contextmanager
    def _edge(self, callee: Process, method: str) -> Iterator[None]:
        """Errors become statuses, as the interceptor does it."""
        try:
            yield
        except Exception as error:
            told = as_vitne_error(error)
            if isinstance(told, Internal):
                self.find(f"{callee.name}: {method} raised {type(error).__name__}: {error}", error)
            raise _rpc_error(grpc.StatusCode[told.code], told) from error

    async def _answer(self, task: asyncio.Task[Any]) -> Any:
        try:
            done, _ = await asyncio.wait([task], timeout=DEADLINE_SECONDS)
        finally:
            task.cancel()  # as gRPC does when the deadline has passed, or the caller is gone
        if not done:
            raise _rpc_error(grpc.StatusCode.DEADLINE_EXCEEDED)
        if task.cancelled():
            raise _rpc_error(grpc.StatusCode.UNAVAILABLE)
        return task.result()

    async def batch(self, identity: Caller, header: Any, items: Sequence[Any]) -> list[Any]:
        """A call of IssueBatch; the connection may break in the middle of the answers."""
        fault = await self.scheduler.point(self._outside, "rpc", "IssueBatch")
        kind = fault.kind if fault else ""
        alive = self.alive("issuer")
        if kind == "lost_before" or not alive:
            raise _rpc_error(grpc.StatusCode.UNAVAILABLE)
        callee = alive[self.scheduler.random.randrange(len(alive))]
        answers: list[Any] = []
        enough = asyncio.Event()
        break_after = self.scheduler.random.randrange(len(items) + 1) if kind in ("lost_after", "twice") else -1

        async def requests() -> AsyncIterator[Any]:
            yield issuer_pb2.IssueBatchRequest(header=header)
            for item in items:
                yield issuer_pb2.IssueBatchRequest(item=item)

        async def handle() -> None:
            caller_context.set(identity)
            with self._edge(callee, "IssueBatch"):
                async for answer in self.parts[callee.name].IssueBatch(requests(), None):
                    if len(answers) == break_after:
                        enough.set()
                        await asyncio.sleep(DEADLINE_SECONDS)
                    answers.append(answer)

        task = callee.spawn(handle(), f"{callee.name}.IssueBatch")
        broken = asyncio.Task(enough.wait(), loop=self.grounds.loop)
        await asyncio.wait([task, broken], timeout=DEADLINE_SECONDS * 3, return_when=asyncio.FIRST_COMPLETED)
        broken.cancel()
        if not task.done() or task.cancelled():
            task.cancel()
            await asyncio.wait([task])
            self._take_results(str(header.request_id), answers)
            raise _rpc_error(grpc.StatusCode.UNAVAILABLE)
        task.result()
        self._take_results(str(header.request_id), answers)
        return answers

    def _take_results(self, request: str, answers: Sequence[Any]) -> None:
        for answer in answers:
            if answer.result.HasField("credential"):
                self._take_issued(f"{request} {answer.result.item_id}", answer.result.credential)

    def _take_issued(self, request: str, credential: Any) -> None:
        self.issued.append(IssuedAnswer(request, UUID(credential.id), from_b64url(credential.digest)))

    # --- Callers --------------------------------------------------------------------------------------

    def perform(self, operation: Operation) -> asyncio.Task[None]:
        """Begin an operation at its time."""
        if operation.what in ("issue", "batch"):
            self._credentials[operation.number] = self.grounds.loop.create_future()

        async def begin() -> None:
            await asyncio.sleep(operation.at / 1000)
            self.scheduler.note(f"-- {operation}")
            what = {"issue": self._issue, "batch": self._batch, "change": self._change}.get(operation.what)
            request_id = str(self._new_id())
            if what is None:
                await self._hub(operation)
            else:
                await asyncio.gather(*(what(operation, request_id) for _ in range(operation.copies)))

        return self._outside.spawn(begin(), str(operation))

    async def _insist(self, call: Callable[[], Awaitable[T]]) -> T:
        """Repeat a call until it is answered for good."""
        while True:
            try:
                return await call()
            except grpc.aio.AioRpcError as error:
                told = error_from_rpc(error)
                if told.code not in REPEATABLE:
                    raise told from error
            except VitneError as error:
                if error.code not in REPEATABLE:
                    raise
            await asyncio.sleep(self.scheduler.random.uniform(0.2, 2.0))

    async def _issue(self, operation: Operation, request_id: str) -> None:
        provider, achievement = PROVIDERS[operation.provider]
        request = issuer_pb2.IssueRequest(
            request_id=request_id,
            issuance=issuance(learner={"value": pid_of(operation.learners[0])}, achievement_id=achievement),
        )
        identity = Caller(OrganisationId.parse(provider), frozenset(), "client")
        known = self._credentials[operation.number]
        try:
            answer = await self._insist(lambda: self.call(self._outside, "issuer", identity, "Issue", request))
        except VitneError as error:
            self.find(f"an issuance was refused: {error.reason}")
            return
        self._take_issued(request_id, answer.credential)
        if not known.done():
            known.set_result([UUID(answer.credential.id)])

    async def _batch(self, operation: Operation, request_id: str) -> None:
        provider, achievement = PROVIDERS[operation.provider]
        items = [
            issuer_pb2.BatchItem(
                item_id=f"item-{number}",
                issuance=issuance(learner={"value": pid_of(learner)}, achievement_id=achievement),
            )
            for number, learner in enumerate(operation.learners)
        ]
        identity = Caller(OrganisationId.parse(provider), frozenset(), "client")
        header = issuer_pb2.BatchHeader(request_id=request_id)

        async def once() -> list[UUID]:
            answers = await self.batch(identity, header, items)
            errors = [answer.result.error for answer in answers if answer.result.HasField("error")]
            if errors:
                raise _rpc_error(grpc.StatusCode.UNAVAILABLE)
            return [UUID(answer.result.credential.id) for answer in answers if answer.result.HasField("credential")]

        try:
            found = await self._insist(once)
        except VitneError as error:
            self.find(f"a batch was refused: {error.reason}")
            return
        known = self._credentials[operation.number]
        if not known.done():
            known.set_result(found)

    async def _change(self, operation: Operation, request_id: str) -> None:
        if operation.of not in self._credentials:
            return
        provider, _ = PROVIDERS[next(each.provider for each in self.operations if each.number == operation.of)]
        credential = (await asyncio.shield(self._credentials[operation.of]))[0]
        identity = Caller(OrganisationId.parse(provider), frozenset(), "client")
        for number, change in enumerate(operation.change.split()):
            one_id = str(UUID(int=UUID(request_id).int ^ number))
            await self._change_once(identity, one_id, credential, change)

    async def _change_once(self, identity: Caller, request_id: str, credential: UUID, change: str) -> None:
        request = issuer_pb2.ChangeStatusRequest(
            request_id=request_id,
            credential_id=str(credential),
            change=_CHANGES[change],
            reason=ledger_pb2.STATUS_REASON_ISSUED_IN_ERROR,
        )
        try:
            answer = await self._insist(lambda: self.call(self._outside, "issuer", identity, "ChangeStatus", request))
        except VitneError as error:
            if error.reason not in ("STATUS_FINAL", "STATUS_CONTRADICTS"):
                self.find(f"{change} was refused: {error.reason}")
            return
        self.changed.append(
            StatusAnswer(
                request_id,
                credential,
                _STATUS[answer.status],
                instant(answer.effective),
                instant(answer.recorded),
            )
        )

    async def _hub(self, operation: Operation) -> None:
        """A learner registers, or withdraws, at the portal: again and again until it worked, one act after another."""
        number = operation.learners[0]
        act = self._register if operation.what == "register" else self._withdraw
        async with self._users[number]:
            while True:
                alive = self.alive("portal")
                if alive:
                    process = alive[self.scheduler.random.randrange(len(alive))]
                    task = process.spawn(act(process, number))
                    await asyncio.wait([task])
                    if not task.cancelled():
                        error = task.exception()
                        if error is None:
                            return
                        if isinstance(error, grpc.aio.AioRpcError):
                            error = error_from_rpc(error)
                        told = as_vitne_error(error) if isinstance(error, Exception) else None
                        if told is None or told.code not in REPEATABLE:
                            self.find(f"{operation.what} at the portal failed: {error!r}", task.exception())
                await asyncio.sleep(self.scheduler.random.uniform(0.2, 2.0))

    async def _register(self, process: Process, number: int) -> None:
        store, keys, issuer, new_id = self.parts[process.name]
        who = LearnerId.parse("no.national_id", pid_of(number))
        request = issuer_pb2.RegisterLearnerRequest(request_id=str(new_id()), id_token=f"{who.value} portal")
        answer = await issuer.RegisterLearner(request)
        await store.register(keys.lookup(who), answer.pseudonym, process.clock.now())

    async def _withdraw(self, process: Process, number: int) -> None:
        store, keys, issuer, new_id = self.parts[process.name]
        lookup = keys.lookup(LearnerId.parse("no.national_id", pid_of(number)))
        pseudonym = await store.pseudonym(lookup)
        if pseudonym is None:
            return
        try:
            await issuer.WithdrawLearner(
                issuer_pb2.WithdrawLearnerRequest(request_id=str(new_id()), pseudonym=pseudonym)
            )
        except grpc.aio.AioRpcError as error:
            if not isinstance(error_from_rpc(error), NotFound):
                raise
        await store.erase(lookup)

    # --- The registry ---------------------------------------------------------------------------------

    async def _beat(self) -> None:
        clock = self._outside.clock
        while True:
            if clock.monotonic() >= self.registry_silent_until:
                beat = events_pb2.RegistryHeartbeat(
                    registry_revision=len(self.grounds.chronicle.facts), at=timestamp(clock.now())
                )
                self._tell(topics.REGISTRY_HEARTBEAT, topics.HEARTBEAT_KEY, HEARTBEAT_TYPE, beat.SerializeToString())
            await asyncio.sleep(4.0)

    def _tell(self, topic: str, key: str, type_: str, value: bytes) -> None:
        revision = self._registry[topic, key] = self._registry.get((topic, key), 0) + 1
        headers = build(
            event_id=self._new_id(),
            source=SOURCE,
            type_=type_,
            time=self._outside.clock.now(),
            key=key,
            revision=revision,
            traceparent=None,
        )
        self.cluster.append(topic, key.encode(), value, headers)

    # --- What happens at an instant -------------------------------------------------------------------

    operations: Sequence[Operation] = ()

    def strike(self, fault: Fault) -> None:
        """Have a timed fault happen when it is time."""

        async def happen() -> None:
            await asyncio.sleep(fault.nth / 1000)
            if not self.stopped and self.scheduler.faulty and await self._happen(fault):
                self.scheduler.tally.faults[fault.name] += 1
                self.scheduler.note(f"!! {fault}")

        asyncio.Task(happen(), loop=self.grounds.loop)

    async def _happen(self, fault: Fault) -> bool:
        loop, target, seconds = self.grounds.loop, fault.target, fault.value
        if fault.kind == "kill":
            if self.processes[target].dead:
                return False
            self.kill(self.processes[target], seconds)
        elif fault.kind == "clock":
            self.processes[target].clock.offset += seconds
        elif fault.kind == "database away":
            database = self.databases[target]
            database.away = True
            await database.lose_sessions()
            loop.call_later(seconds, setattr, database, "away", False)
        elif fault.kind == "sessions end":
            return await self.databases[target].lose_sessions() > 0
        elif fault.kind == "locks lost":
            holders = [session for session in self.databases[target].sessions if session.locks]
            for session in holders:
                await session.unlock()
            return bool(holders)
        elif fault.kind == "broker away":
            self.cluster.away = True
            loop.call_later(seconds, setattr, self.cluster, "away", False)
        elif fault.kind == "rebalance":
            if target not in self.cluster.groups():
                return False
            self.cluster.rebalance(target)
        elif fault.kind == "registry silent":
            self.registry_silent_until = self._outside.clock.monotonic() + 20.0
        return True

    def heal(self) -> None:
        """No faults from now on; whatever is away comes back, and clocks are set right."""
        self.scheduler.faulty = False
        self.registry_silent_until = 0.0
        for database in self.databases.values():
            database.away = False
        self.cluster.away = False
        for process in self.processes.values():
            process.clock.offset = 0.0

    # --- What came of it ------------------------------------------------------------------------------

    async def snapshot(self) -> WorldSnapshot:
        """Everything at once."""
        publishers = [
            self.parts[process.name + " lists"] for process in self.alive("ledger") if process.name in self.parts
        ]
        keys = LedgerKeys.ensure(FileKeyCustody(self.grounds.state / "ledger"))
        public = parse_public_jwk(keys.status_list.public_jwk)

        def published(url: str) -> tuple[dict[int, str], bytes] | None:
            shown = [publisher.find(url.removeprefix(BASE_URL)) for publisher in publishers]
            oldest = min((each for each in shown if each is not None), key=lambda each: each.version, default=None)
            if oldest is None:
                return None
            try:
                opened = verify_token(
                    oldest.token.decode(),
                    uri=url,
                    find_key=lambda key_id: public if key_id == public.key_id else None,
                    now=self._outside.clock.now(),
                )
            except VitneError:  # relying parties can't use it, by a clock that is right
                return None
            places = {index: snapshots.STATUS_TYPES[opened.status_at(index)] for index in range(LIST_SIZE)}
            return {index: status for index, status in places.items() if status != "valid"}, oldest.digest

        portal_keys = PortalKeys.load(self.grounds.state / "portal", create=False)

        def unseal(handle: str, pseudonym: str, wrapped: bytes, content: bytes) -> str:
            return portal_keys.data_key(wrapped, pseudonym).open(content, "credential", handle, "content").decode()

        async def issuer(raw: asyncpg.Connection) -> Any:
            return await snapshots.read_issuer(raw)

        async def ledger(raw: asyncpg.Connection) -> Any:
            return await snapshots.read_ledger(raw, published)

        async def portal(raw: asyncpg.Connection) -> Any:
            return await snapshots.read_portal(raw, HUB, unseal)

        aggregates = [Aggregate(f"{topic}/{key}", topic, key, last) for (topic, key), last in self._registry.items()]
        return WorldSnapshot(
            issuer=await self.databases["issuer"].run(issuer),
            ledger=await self.databases["ledger"].run(ledger),
            topics=self._topics(),
            portals=[await self.databases["portal"].run(portal)],
            registry=RegistrySnapshot(self._registry_leaves, Messaging("registry", 0, aggregates, [], [])),
            issued=self.issued,
            changed=self.changed,
        )

    async def effects(self) -> list[Disagreement]:
        """Every event of a topic took effect once in each consumer, and no event more often."""
        found = []
        for consumer, database, names in (
            ("issuer", "issuer", (topics.LEDGER_STATUS,)),
            (LEAVES, "ledger", tuple(ALLOWED)),
            (PORTAL_CONSUMER, "portal", (topics.hub_topic(HUB_ID),)),
        ):
            rows = await self.databases[database].run(lambda raw: raw.fetch("SELECT * FROM simulated_effect"))
            happened = Counter((row["topic"], row["key"], row["revision"]) for row in rows)
            told = {(name, each.key, each.revision) for name in names for each in self._topics()[name].records}
            for topic, key, revision in sorted(told | happened.keys()):
                count = happened[topic, key, revision]
                if count != 1:
                    kind = "effect.twice" if count else "effect.missing"
                    detail = f"it took effect {count} times in {consumer}"
                    found.append(Disagreement(kind, f"{topic} {key} revision {revision}", detail))
        return found

    def _topics(self) -> dict[str, TopicSnapshot]:
        found = {}
        for name, count in self.cluster.partitions.items():
            logs = [self.cluster.logs[TopicPartition(name, number)] for number in range(count)]
            ends = {number: len(log) for number, log in enumerate(logs)}
            found[name] = snapshots.make_topic(name, [record for log in logs for record in log], ends)
        return found


class Stub:
    """A service's stub as another process holds it."""

    def __init__(self, world: World, caller: Process, role: str, identity: Caller) -> None:
        self._world = world
        self._caller = caller
        self._role = role
        self._identity = identity

    def __getattr__(self, method: str) -> Callable[..., Awaitable[Any]]:
        def call(request: Any, **_: Any) -> Awaitable[Any]:
            return self._world.call(self._caller, self._role, self._identity, method, request)

        return call


def _rpc_error(code: grpc.StatusCode, told: VitneError | None = None) -> grpc.aio.AioRpcError:
    extra = trailers(errors_to_status(told)) if told else ()
    return grpc.aio.AioRpcError(
        code, grpc.aio.Metadata(), grpc.aio.Metadata(*extra), details=told.message if told else "simulated"
    )


@contextlib.contextmanager
def _same_keys() -> Iterator[None]:
    """Signing keys come from the seed, too."""

    def generate(curve: ec.EllipticCurve) -> ec.EllipticCurvePrivateKey:
        return ec.derive_private_key(secrets.randbits(250) + 1, curve)

    with mock.patch.object(ec, "generate_private_key", generate):
        yield


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """All chance comes from the seed: keys, ids, pauses."""
    source = random.Random(f"secrets {seed}")
    random.seed(f"global {seed}")
    with (
        mock.patch.object(secrets, "token_bytes", lambda count=32: source.randbytes(count)),
        mock.patch.object(secrets, "randbits", source.getrandbits),
        mock.patch.object(portal_fetcher, "EAGER_SECONDS", 0.1),
    ):
        yield


__all__ = ["DATABASES", "Grounds", "ProcessDied", "World", "seeded"]
