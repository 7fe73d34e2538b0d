"""Runs scenarios, and makes small ones of those that fail."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from tests.faults.sim.grounds import Grounds, seeded
from tests.faults.sim.plan import WINDOW_MS, Scenario
from tests.faults.sim.scheduler import Tally
from tests.faults.sim.world import World
from vitne.audit.agreement import Disagreement, compare
from vitne.audit.snapshots import WorldSnapshot

#: Virtual seconds in which callers have to get their answers, once nothing goes wrong any more.
ANSWER_SECONDS: Final = 400.0
#: Virtual seconds in which everything has to agree after that.
SETTLE_SECONDS: Final = 150.0

T = TypeVar("T")


@dataclass(slots=True)
class Outcome:
    """What came of a scenario.

    Attributes:
        scenario: what was run.
        disagreements: what was found, as text; empty when all is well.
        tally: decisions and injected faults.
        virtual: seconds that passed in it.
        real: seconds that it took.
        issued: how many issuances were answered.
        snapshot: what was compared last.
        trace: the decisions, if they were asked for.
    """

    scenario: Scenario
    disagreements: list[str]
    tally: Tally
    virtual: float
    real: float
    issued: int
    snapshot: WorldSnapshot
    trace: list[str] = field(default_factory=list)


def run(grounds: Grounds, scenario: Scenario, *, tracing: bool = False) -> Outcome:
    """Run one scenario to its end."""
    began = time.monotonic()
    plan = {(fault.at, fault.nth): fault for fault in scenario.faults if fault.at != "time"}
    with _quiet(), seeded(scenario.seed):
        grounds.scheduler.begin(scenario.seed, plan, tracing=tracing)
        world = World(grounds)
        disagreements, snapshot = grounds.run(_run(world, scenario))
    scheduler = grounds.scheduler
    return Outcome(
        scenario=scenario,
        disagreements=disagreements,
        tally=scheduler.tally,
        virtual=grounds.loop.virtual - scheduler.began,
        real=time.monotonic() - began,
        issued=len({answer.request for answer in world.calls.issued}),
        snapshot=snapshot,
        trace=scheduler.trace or [],
    )


async def _run(world: World, scenario: Scenario) -> tuple[list[str], WorldSnapshot]:
    await world.start()
    world.callers.operations = scenario.operations
    acts = [world.callers.perform(operation) for operation in scenario.operations]
    for fault in scenario.faults:
        if fault.at == "time":
            world.strikes.strike(fault)
    last = max([WINDOW_MS, *(fault.nth for fault in scenario.faults if fault.at == "time")])
    try:
        await asyncio.sleep(last / 1000 + 2.0)
        world.strikes.heal()
        left = set(acts)
        if acts:
            _, left = await asyncio.wait(acts, timeout=ANSWER_SECONDS)
        found = [f"operation.unanswered {act.get_name()}" for act in left]
        found += [f"operation.failed {act.get_name()}: {act.exception()!r}" for act in acts if _failed(act)]
        unsettled, snapshot = await _settle(world)
        found += [str(each) for each in unsettled]
        return found + [f"finding {each}" for each in world.findings], snapshot
    finally:
        await world.stop()


async def _settle(world: World) -> tuple[Sequence[Disagreement], WorldSnapshot]:
    """Wait until everything agrees; what still does not when the time is up, and what was compared."""
    waited, pause = 0.0, 2.0
    while True:
        await asyncio.sleep(pause)
        waited += pause
        snapshot = await world.outcomes.snapshot()
        found = compare(snapshot) + await world.outcomes.effects()
        if not found or waited >= SETTLE_SECONDS:
            return found, snapshot
        pause = min(pause * 1.5, 20.0)


def _failed(act: asyncio.Task[None]) -> bool:
    return act.done() and not act.cancelled() and act.exception() is not None


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The services complain, rightly; nobody reads that here."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


def shrink(grounds: Grounds, scenario: Scenario, *, attempts: int = 150) -> Scenario:
    """A smaller scenario that fails too: fewer faults first, then fewer operations."""
    left = attempts

    def fails(candidate: Scenario) -> bool:
        nonlocal left
        left -= 1
        return left >= 0 and bool(run(grounds, candidate).disagreements)

    while True:
        before = (len(scenario.faults), len(scenario.operations))
        scenario = _reduce(scenario, list(scenario.faults), scenario_without_faults, fails)
        scenario = _reduce(scenario, list(scenario.operations), scenario_without_operations, fails)
        if (len(scenario.faults), len(scenario.operations)) == before or left <= 0:
            return scenario


def scenario_without_faults(scenario: Scenario, gone: Sequence[object]) -> Scenario:
    return scenario.without_faults(gone)  # type: ignore[arg-type]


def scenario_without_operations(scenario: Scenario, gone: Sequence[object]) -> Scenario:
    return scenario.without_operations(gone)  # type: ignore[arg-type]


def _reduce(
    scenario: Scenario,
    items: list[T],
    without: Callable[[Scenario, Sequence[T]], Scenario],
    fails: Callable[[Scenario], bool],
) -> Scenario:
    """Delta debugging: take away halves, then quarters, and so on, as long as it fails without them."""
    size = max(1, len(items) // 2)
    while items:
        progress = False
        start = 0
        while start < len(items):
            candidate = without(scenario, items[start : start + size])
            if fails(candidate):
                scenario, progress = candidate, True
                del items[start : start + size]
            else:
                start += size
        if size == 1 and not progress:
            return scenario
        size = max(1, size // 2)
    return scenario
