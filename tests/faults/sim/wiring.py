"""What a process is made of: the services' own parts, put together as their own wiring does it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from services.issuer.projection import folder
from services.issuer.settings import IssuerSettings
from services.issuer.statuses import OPTIONS as STATUSES
from services.issuer.wiring import Issuer
from services.ledger.first_changes import FirstChanges
from services.ledger.history import History
from services.ledger.intake import ALLOWED, take_leaves
from services.ledger.intake import CONSUMER as LEAVES
from services.ledger.keys import LedgerKeys
from services.ledger.leases import Leases, Orders, load_secret
from services.ledger.lists import ListPublisher
from services.ledger.log_store import LogStore
from services.ledger.rpc import LedgerRpc
from services.ledger.sequencer import Sequencer
from services.ledger.statuses import Statuses
from services.ledger.witnessed import WitnessedCheckpoints
from services.portal import fetcher as portal_fetcher
from services.portal.notices import Notices
from services.portal.sealing import PortalKeys
from services.portal.store import Store
from services.portal.wiring import CONSUMER as PORTAL_CONSUMER
from tests.faults.sim.calls import Stub
from tests.faults.sim.database import SimulatedPool
from tests.faults.sim.kafka import ProcessKafka
from tests.faults.sim.scheduler import Process
from tests.integration.issuer_harness import HUB, IdTokens
from vitne.accreditation import Projection
from vitne.frameworks import Standing
from vitne.identifiers import OrganisationId, UuidFactory
from vitne.messaging import topics
from vitne.messaging.consumer import Consumer, ConsumerOptions, Handler
from vitne.messaging.follower import TopicFollower
from vitne.messaging.headers import Message
from vitne.messaging.kafka import KafkaSettings
from vitne.messaging.relay import Relay, RelayOptions
from vitne.runtime.custody import FileKeyCustody
from vitne.runtime.group_commit import GroupCommitter
from vitne.runtime.identity import Caller

if TYPE_CHECKING:
    from tests.faults.sim.world import World

ORIGIN: Final = "log.vitne.example/2026"
BASE_URL: Final = "https://status.vitne.example"
#: Small, so that lists fill up and blocks are used up within a scenario.
LIST_SIZE, LEASE_BLOCK, LOW_WATER = 24, 5, 4
#: Slower than in earnest, since every look costs real time here.
RELAY: Final = RelayOptions(batch=12, busy_seconds=0.1, idle_seconds=1.0, topic_rest_seconds=3.0)
CONSUMER: Final = ConsumerOptions(batch=8, poll_seconds=1.0, sweep_seconds=2.0)
INTERVAL: Final = 0.5
LIFETIME: Final = timedelta(minutes=15)
KAFKA: Final = KafkaSettings("simulated")
LEDGER_CLIENT: Final = Caller(OrganisationId.parse("0192:985042667"), frozenset(), "issuer")
HUB_ID: Final = OrganisationId.parse(HUB)


class Wiring:
    """Puts a process together: the real parts of its service, over what can fail.

    Attributes:
        parts: what a process serves calls with, by its name.
        consumers: the database that each consumer works in.
    """

    consumers: Final = {"issuer": "issuer", LEAVES: "ledger", PORTAL_CONSUMER: "portal"}

    def __init__(self, world: World) -> None:
        self._world = world
        self.parts: dict[str, Any] = {}

    def start(self, process: Process) -> None:
        """Give a process its service, and run what runs beside it."""
        {"issuer": self._issuer, "ledger": self._ledger, "portal": self._portal}[process.role](process)

    def _run(self, process: Process, name: str, task: Callable[[], Awaitable[None]]) -> None:
        """Run a background task, whose end would end the process."""

        async def run() -> None:
            try:
                await task()
            except asyncio.CancelledError:
                raise
            except Exception as error:  # noqa: BLE001 - it is what is looked for
                self._world.find(f"{process.name}: the task {name} ended with {type(error).__name__}: {error}", error)
                self._world.kill(process)

        process.spawn(run(), f"{process.name}.{name}")

    def _watched(self, consumer: str, handle: Handler) -> Handler:
        """A handler that some messages are poison to, and whose effects are counted."""

        async def watched(connection: Any, messages: Sequence[Message]) -> None:
            for message in messages:
                self._world.poison.taste(consumer, message)
            await handle(connection, messages)
            await connection.executemany(
                "INSERT INTO simulated_effect VALUES ($1, $2, $3, $4)",
                [(consumer, message.topic, message.key, message.revision) for message in messages],
            )

        return watched

    def _pool(self, process: Process, database: str) -> SimulatedPool:
        return SimulatedPool(self._world.databases[database], process)

    def _issuer(self, process: Process) -> None:
        clock, kafka = process.clock, ProcessKafka(self._world.cluster, process)
        pool, projection = self._pool(process, "issuer"), Projection()
        settings = IssuerSettings(
            environment="development",
            state_dir=self._world.grounds.state / "issuer",
            hubs={HUB: "portal"},
            lease_block=LEASE_BLOCK,
            lease_low_water=LOW_WATER,
            standings=tuple(Standing),
        )
        issuer = Issuer.assemble(
            settings,
            clock,
            pool=pool,
            keys_pool=self._pool(process, "issuer-keys"),
            ledger=Stub(self._world, process, "ledger", LEDGER_CLIENT),
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
            self._watched("issuer", issuer.statuses.handle),
            settings=KAFKA,
            clock=clock,
            kafka=kafka,
            options=replace(CONSUMER, singly=STATUSES.singly),
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
        clock, kafka = process.clock, ProcessKafka(self._world.cluster, process)
        pool: Any = self._pool(process, "ledger")
        new_id = UuidFactory(clock)
        keys = LedgerKeys.ensure(FileKeyCustody(self._world.grounds.state / "ledger"))
        orders = Orders(load_secret(self._world.grounds.state / "ledger", create=False))
        publisher = ListPublisher(
            pool, keys.status_list, clock, new_id, lifetime=LIFETIME, ttl=timedelta(seconds=10), interval=INTERVAL
        )
        deciding = Statuses(orders, clock, new_id)
        statuses: GroupCommitter[Any, Any] = GroupCommitter(
            pool, deciding.apply, at_once=FirstChanges(deciding, clock).apply
        )
        sequencer = Sequencer(pool, ORIGIN, keys.note_signer, clock, UuidFactory(clock), interval=INTERVAL, max_batch=8)
        store = LogStore(pool)
        self.parts[process.name] = LedgerRpc(
            pool=pool,
            leases=Leases(orders, clock, base_url=BASE_URL, list_size=LIST_SIZE),
            set_status=statuses.submit,
            set_statuses=statuses.submit_all,
            store=store,
            clock=clock,
            publisher=publisher,
            history=History(pool, store, WitnessedCheckpoints(pool, clock), clock),
        )
        self.parts[process.name + " lists"] = publisher
        consumer = Consumer(
            LEAVES,
            tuple(ALLOWED),
            pool,
            self._watched(LEAVES, take_leaves),
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
        clock, kafka = process.clock, ProcessKafka(self._world.cluster, process)
        pool: Any = self._pool(process, "portal")
        keys = PortalKeys.load(self._world.grounds.state / "portal", create=False)
        store = Store(pool, keys)
        issuer = Stub(self._world, process, "issuer", Caller(HUB_ID, frozenset(), "portal"))
        fetcher = portal_fetcher.Fetcher(store, issuer, clock)
        consumer = Consumer(
            PORTAL_CONSUMER,
            (topics.hub_topic(HUB_ID),),
            pool,
            self._watched(PORTAL_CONSUMER, Notices(store, clock, fetcher.wake).handle),
            settings=KAFKA,
            clock=clock,
            kafka=kafka,
            options=CONSUMER,
        )
        self.parts[process.name] = (store, keys, issuer, UuidFactory(clock))
        self._run(process, "notices", consumer.run)
        self._run(process, "fetcher", fetcher.run)
        self._run(process, "relay", self._relay(process, pool, kafka).run)
