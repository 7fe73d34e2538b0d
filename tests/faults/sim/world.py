"""All services in one process and in simulated time: their real code, over what can fail.

Two replicas of issuer, ledger and portal, each a :class:`Process` that can be killed
and comes back with nothing but its database. At the boundary of the world are the
registry (which only tells facts and that it is alive), the institutions and the
learners, who repeat what was not answered, as the contract tells them to.
"""

from __future__ import annotations

import asyncio
from typing import Final

from tests.faults.sim.callers import Callers
from tests.faults.sim.calls import Calls
from tests.faults.sim.grounds import Grounds, seeded
from tests.faults.sim.kafka import Cluster
from tests.faults.sim.outcomes import Outcomes
from tests.faults.sim.poison import Poison
from tests.faults.sim.registry import Registry
from tests.faults.sim.scheduler import Process
from tests.faults.sim.strikes import Strikes
from tests.faults.sim.wiring import HUB_ID, Wiring
from tests.unit.accreditation_samples import T0
from vitne.identifiers import UuidFactory
from vitne.messaging import topics

ROLES: Final = ("issuer-1", "issuer-2", "ledger-1", "ledger-2", "portal-1", "portal-2")


class World:
    """One scenario: its processes, who is at its boundary, and what can go wrong.

    Attributes:
        findings: what no fault explains: a task that ended, an exception that nobody foresaw.
    """

    def __init__(self, grounds: Grounds) -> None:
        self.grounds = grounds
        self.scheduler = grounds.scheduler
        self.databases = grounds.databases
        self.cluster = Cluster(self.scheduler)
        self.processes: dict[str, Process] = {}
        self.findings: list[str] = []
        self.stopped = False
        #: Who calls from outside, and never dies.
        self.outside = Process(self.scheduler, "client", "clients")
        self.new_id = UuidFactory(self.outside.clock)
        self.wiring = Wiring(self)
        self.calls = Calls(self)
        self.callers = Callers(self)
        self.registry = Registry(self)
        self.strikes = Strikes(self)
        self.poison = Poison(self)
        self.outcomes = Outcomes(self)

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
        self.registry.tell_facts()
        self.scheduler.on_crash = self.kill
        self.outside.spawn(self.registry.beat())
        for name in ROLES:
            self.launch(name)

    def launch(self, name: str) -> None:
        """Start a process: nothing of an earlier one of its name is left but its database and its keys."""
        process = Process(self.scheduler, name.partition("-")[0], name)
        self.processes[name] = process
        self.scheduler.note(f"{name} starts")
        self.wiring.start(process)

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
        for process in [*self.processes.values(), self.outside]:
            self.kill(process)
        await asyncio.sleep(1.5)
        self.cluster.closed = True

    def alive(self, role: str) -> list[Process]:
        return [each for each in self.processes.values() if each.role == role and not each.dead]


def rehearse(grounds: Grounds) -> None:
    """Services make what they miss when they start first; no scenario is to be the first."""

    async def rehearsal() -> None:
        world = World(grounds)
        await world.start()
        await asyncio.sleep(1.0)
        await world.stop()

    with seeded(0):
        grounds.run(rehearsal())
