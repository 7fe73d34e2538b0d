"""One thing at a time: an event loop in virtual time, and who goes next.

Everything that a process does to the outside (a statement, a commit, a record sent
or fetched, a call) stops at a *point* first. Once all that runs has stopped at one,
or sleeps, the scheduler lets one go on, chosen by the seed; when none waits, time
jumps to the next timer. So a seed gives the same interleaving again and again, and
a minute of pauses costs nothing.

PostgreSQL is real, and may keep a statement waiting for a lock that another
transaction holds. Such a statement is recognised by ``pg_locks``; others go on
meanwhile, and it is looked at again whenever a transaction ends. One thing is left to
PostgreSQL: of two that wait for the same row, which gets its new version first.
"""

from __future__ import annotations

import asyncio
import heapq
import math
import random
import selectors
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextvars import Context
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar, TypeVarTuple, Unpack
from weakref import WeakKeyDictionary

from vitne.clock import to_milliseconds

#: When every scenario begins.
START: Final = datetime(2026, 11, 21, 10, tzinfo=UTC)
#: Of a virtual second.
TICKS: Final = 1 << 20
#: Real seconds after which a statement that has not returned may be waiting for a lock.
SUSPICIOUS_SECONDS: Final = 0.002

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class ProcessDied(asyncio.CancelledError):
    """Raised in whatever a process that was killed still tries to do: it has no effect any more."""


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """Something that goes wrong.

    Attributes:
        at: where: the name of a point, ``issuer.commit``; ``time`` for what happens at an instant.
        nth: which occurrence of the point, from 1; milliseconds from the start for ``time``.
        kind: what, ``lost_after``.
        target: which process, database or topic, where the point does not say so.
        value: seconds, where something takes some.
    """

    at: str
    nth: int
    kind: str
    target: str = ""
    value: float = 0.0

    @property
    def name(self) -> str:
        """What the table of injected faults counts it under."""
        return f"{self.at.partition('.')[2] or self.at}: {self.kind}"

    def __str__(self) -> str:
        seconds = f" {self.value:.3f} s" if self.value else ""
        return f"{self.at} #{self.nth}: {self.kind}{' ' + self.target if self.target else ''}{seconds}"


class _Selector(selectors.DefaultSelector):
    """Asks the loop what to do whenever no callback is ready."""

    loop: SimulatedLoop

    def select(self, timeout: float | None = None) -> Any:
        if timeout is not None and timeout <= 0:
            return []
        return self.loop.idle(timeout)

    def real(self, timeout: float | None) -> Any:
        return super().select(timeout)


class _Timer(asyncio.TimerHandle):
    """Timers of one instant go off in the order in which they were set, whatever else the heap holds."""

    number: int
    _scheduled: bool

    def __lt__(self, other: object) -> bool:
        if not isinstance(other, _Timer):
            return NotImplemented
        return (self.when(), self.number) < (other.when(), other.number)


class SimulatedLoop(asyncio.SelectorEventLoop):
    """An event loop whose timers run in virtual time."""

    _scheduled: list[_Timer]

    def __init__(self) -> None:
        self.virtual = 0.0
        self._timers = 0
        self._simulated = _Selector()
        self._simulated.loop = self
        self.scheduler: Scheduler | None = None
        super().__init__(self._simulated)
        self.parents: WeakKeyDictionary[asyncio.Task[Any], Process] = WeakKeyDictionary()
        self.set_task_factory(self._make_task)  # type: ignore[arg-type]  # the stubs know no factory with a context

    def time(self) -> float:
        return self.virtual

    def run_in_executor(self, executor: Any, func: Callable[[Unpack[Ts]], T], *args: *Ts) -> asyncio.Future[T]:
        """At once: threads would bring their own order."""
        done: asyncio.Future[T] = self.create_future()
        try:
            done.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - it goes to whoever awaits
            done.set_exception(error)
        return done

    def idle(self, timeout: float | None) -> Any:
        scheduler = self.scheduler
        if scheduler is None:
            return self._simulated.real(None if timeout is None else min(timeout, 0.05))
        if scheduler.flying:
            events = self._simulated.real(SUSPICIOUS_SECONDS)
            if not events:
                scheduler.suspect()
            return events
        if scheduler.land() or scheduler.step():
            return []
        if timeout is None:
            if scheduler.blocked:  # only a deadlock that PostgreSQL is about to end
                return self._simulated.real(SUSPICIOUS_SECONDS)
            raise RuntimeError("nothing can ever happen any more")
        self.virtual = self._scheduled[0].when()
        return []

    def call_at(
        self,
        when: float,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """In ticks, so that sums are the same whatever time a scenario begins at."""
        handle = _Timer(round(when * TICKS) / TICKS, callback, args, self, context)
        self._timers += 1
        handle.number = self._timers
        heapq.heappush(self._scheduled, handle)
        handle._scheduled = True
        return handle

    def begin_anew(self) -> float:
        """Forget what was still to come; the next whole second, at which something new may begin."""
        for handle in self._scheduled:
            handle._scheduled = False  # as the loop does when it takes one off
            handle.cancel()
        self._scheduled.clear()
        self.virtual = math.ceil(self.virtual) + 1.0
        return self.virtual

    def _make_task(
        self, loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, Any], context: Context | None = None
    ) -> asyncio.Task[Any]:
        """Whatever a process starts is the process's, and dies with it."""
        task: asyncio.Task[Any] = asyncio.Task(coro, loop=loop, context=context)
        try:
            parent = asyncio.current_task(loop)
        except RuntimeError:
            parent = None
        process = self.parents.get(parent) if parent is not None else None
        if process is not None:
            process.adopt(task)
        return task


class Process:
    """A process: what it runs, and whether it lives.

    Args:
        scheduler: of the world.
        role: ``issuer``, ``ledger``, ``portal``, ``client``.
        name: ``issuer-1``.
    """

    def __init__(self, scheduler: Scheduler, role: str, name: str) -> None:
        self.scheduler = scheduler
        self.role = role
        self.name = name
        self.dead = False
        #: In the order in which they began, so that they die in that order.
        self.tasks: dict[asyncio.Task[Any], None] = {}
        #: Run when it dies: sessions end, clients leave their groups.
        self.funeral: list[Callable[[], Awaitable[None]]] = []
        self.clock = SimulatedClock(scheduler)

    def spawn(self, coro: Coroutine[Any, Any, T], name: str = "") -> asyncio.Task[T]:
        """Run something in this process."""
        if self.dead:
            coro.close()
            raise ProcessDied
        task: asyncio.Task[T] = asyncio.Task(coro, loop=self.scheduler.loop, name=name or self.name)
        self.adopt(task)
        return task

    def adopt(self, task: asyncio.Task[Any]) -> None:
        self.scheduler.loop.parents[task] = self
        self.tasks[task] = None
        task.add_done_callback(lambda done: self.tasks.pop(done, None))

    def check(self) -> None:
        """Raise when it was killed."""
        if self.dead:
            raise ProcessDied


class SimulatedClock:
    """A process's clock: the same seconds for everybody, but perhaps another time of day."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self.offset = 0.0

    def now(self) -> datetime:
        return to_milliseconds(START + timedelta(seconds=self.monotonic() + self.offset))

    def monotonic(self) -> float:
        return self._scheduler.loop.virtual - self._scheduler.began

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


@dataclass(slots=True, eq=False)
class Flight:
    """A statement that is with PostgreSQL."""

    pid: int | None


@dataclass(slots=True, eq=False)
class _Parked:
    key: tuple[str, str, str]
    future: asyncio.Future[None]


@dataclass(slots=True)
class Tally:
    """What a scenario consisted of."""

    decisions: int = 0
    choices: int = 0
    faults: Counter[str] = field(default_factory=Counter)


class Scheduler:
    """Decides who goes next, and where something goes wrong.

    Args:
        loop: the loop.
    """

    def __init__(self, loop: SimulatedLoop) -> None:
        self.loop = loop
        loop.scheduler = self
        self.flying: set[Flight] = set()
        self.blocked: set[Flight] = set()
        #: Answers which of these PostgreSQL processes wait for a lock.
        self.find_blocked: Callable[[set[int]], Awaitable[set[int]]] | None = None
        self.on_crash: Callable[[Process], None] = lambda process: None
        self._probing = False
        self._parked: list[_Parked] = []
        self._landed: list[tuple[str, int, asyncio.Future[None]]] = []
        self._flights = 0
        #: How often locks may have gone.
        self._released = 0
        self.begin(0, {})

    def begin(self, seed: int, plan: Mapping[tuple[str, int], Fault], *, tracing: bool = False) -> None:
        """Start a scenario."""
        self.random = random.Random(f"schedule {seed}")
        self.began = self.loop.begin_anew()
        self.plan = dict(plan)
        self.occurrences: Counter[str] = Counter()
        self.tally = Tally()
        self.faulty = True
        self.trace: list[str] | None = [] if tracing else None
        self._parked.clear()

    def note(self, what: str) -> None:
        """A line of the trace."""
        if self.trace is not None:
            self.trace.append(f"{self.loop.virtual - self.began:10.4f}  {what}")

    async def point(self, process: Process, name: str, detail: str = "") -> Fault | None:
        """Wait for one's turn; answers what goes wrong now, if anything.

        Crashes that come *before* take place here, and stalls.
        """
        process.check()
        label = f"{process.role}.{name}"
        await self._turn(process, label, detail)
        if not self.faulty:
            return None
        self.occurrences[label] += 1
        fault = self.plan.pop((label, self.occurrences[label]), None)
        if fault is None:
            return None
        self.tally.faults[fault.name] += 1
        self.note(f"!! {process.name} {fault}")
        if fault.kind == "stall":
            await asyncio.sleep(fault.value)
            await self._turn(process, label, "after a stall")
            return None
        if fault.kind == "crash_before":
            await self.crash(process)
        return fault

    async def _turn(self, process: Process, label: str, detail: str) -> None:
        parked = _Parked((process.name, label, detail), self.loop.create_future())
        self._parked.append(parked)
        await parked.future
        if self.trace is not None:
            self.note(f"{process.name:9} {label.partition('.')[2]:9} {detail}")
        process.check()

    async def crash(self, process: Process) -> None:
        """Kill the process that this is called in; does not return."""
        self.on_crash(process)
        raise ProcessDied

    def land(self) -> bool:
        """Hand over the next answer of PostgreSQL's that was held back; False when there is none."""
        if not self._landed:
            return False
        self._landed.sort(key=lambda each: each[:2])
        landed = self._landed.pop(0)[2]
        if not landed.done():
            landed.set_result(None)
        return True

    def step(self) -> bool:
        """Let one go on; False when nobody waits for that."""
        self._parked = [parked for parked in self._parked if not parked.future.done()]
        if not self._parked:
            return False
        # A statement that had waited for a lock comes back before or after the commit that released it.
        self._parked.sort(key=lambda parked: parked.key)
        place = self.random.randrange(len(self._parked)) if len(self._parked) > 1 else 0
        self.tally.decisions += 1
        self.tally.choices += len(self._parked) > 1
        self._parked.pop(place).future.set_result(None)
        return True

    async def real(self, make: Callable[[], Awaitable[T]], *, pid: int | None = None, name: str = "", ends: bool) -> T:
        """Do something that takes real time, and return when nobody else does.

        Args:
            make: what.
            pid: of the PostgreSQL process that does it.
            name: who has it done. Of several that end at once (a commit, and who waited for its lock), the first
                by name goes on first, whichever answer came first.
            ends: whether a transaction may end by it, and locks go; they always may when it fails.
        """
        flight = Flight(pid)
        self._flights += 1
        number = self._flights
        self.flying.add(flight)
        try:
            return await make()
        except BaseException:
            ends = True
            raise
        finally:
            self.flying.discard(flight)
            self.blocked.discard(flight)
            if ends:
                self._released += 1
            if ends and self.blocked:  # look again: somebody may have got what he waited for
                self.flying |= self.blocked
                self.blocked.clear()
            if self.flying or self._landed:
                landed = self.loop.create_future()
                self._landed.append((name, number, landed))
                await landed

    def suspect(self) -> None:
        """Find out which statements wait for a lock."""
        if not self._probing and self.find_blocked is not None and any(flight.pid for flight in self.flying):
            self._probing = True
            asyncio.Task(self._probe(self.find_blocked), loop=self.loop)

    async def _probe(self, find: Callable[[set[int]], Awaitable[set[int]]]) -> None:
        pids = {flight.pid for flight in self.flying if flight.pid}
        flight = Flight(None)
        self.flying.add(flight)
        released = self._released
        try:
            waiting = await find(pids)
            if released != self._released:  # what was seen may be over; it is looked at again
                return
            for each in [each for each in self.flying if each.pid in waiting]:
                self.flying.discard(each)
                self.blocked.add(each)
        finally:
            self.flying.discard(flight)
            self._probing = False
