"""SIGKILL for everything, again and again, under load; then everything must agree.

The services, PostgreSQL and (where it is Apache Kafka) the broker are killed at
any moment, several at a time, also while they start, and come back at once at
their addresses. The embedded broker keeps everything in memory, so it is never killed.
When the last kill is done and every client has its answer, the state of all
services is compared by :func:`vitne.audit.agreement.compare`.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from typing import Final

from vitne.audit.agreement import Disagreement
from vitne.audit.snapshots import WorldSnapshot
from vitne.clock import SystemClock
from vitne.dev.actors import Actors
from vitne.dev.demo import Demo
from vitne.dev.load import Journal, Load
from vitne.dev.narrator import Narrator
from vitne.dev.observation import observe
from vitne.dev.stack import KAFKA, POSTGRES, SERVICES, Stack
from vitne.errors import FailedPrecondition, Unavailable
from vitne.inspection.installation import settle

#: Seconds that each runs between two crashes, on average: long enough to work, short enough to be hit at work; on a
#: machine on which a start takes longer than a second, so many times that. The verifier keeps nothing, and what all
#: stand on takes all with it.
UPTIMES: Final[Mapping[str, float]] = {
    "registry": 2.5,
    "issuer": 1.5,
    "ledger": 1.5,
    "verifier": 6.0,
    "portal": 2.0,
    POSTGRES: 15.0,
    KAFKA: 20.0,
}
#: How often one is killed again while it starts.
KILLED_STARTING: Final = 0.25
#: Seconds, at most, from its start until it is killed so.
STARTING: Final = 1.0
#: How much of the pace is the last start's.
PACE_WEIGHT: Final = 0.1
#: Seconds in which what was killed must be ready again, whatever else was killed meanwhile.
BACK_SECONDS: Final = 90.0
#: Seconds that a run may take for its kills: at the start, and for each.
RUN_SECONDS: Final = 120.0
KILL_SECONDS: Final = 6.0
#: Seconds in which everything must agree once all clients were answered.
SETTLE_SECONDS: Final = 90.0
#: Seconds between two looks, and between two lines of progress.
LOOK: Final = 0.5
PROGRESS: Final = 10.0
#: How many disagreements are told.
SHOWN: Final = 20


@dataclass(slots=True)
class Report:
    """How a run went.

    Attributes:
        kills: by name of what was killed.
        journal: what clients did and were answered.
        seconds: how long the killing took.
        settled: seconds from the last client's answer until everything agreed; None: never.
        compared: how many credentials and leaves were compared.
        findings: what must not happen, in words.
        disagreements: what does not agree.
    """

    kills: Counter[str] = field(default_factory=Counter)
    journal: Journal = field(default_factory=Journal)
    seconds: float = 0.0
    settled: float | None = None
    compared: tuple[int, int] = (0, 0)
    findings: list[str] = field(default_factory=list)
    disagreements: list[Disagreement] = field(default_factory=list)

    @property
    def faultless(self) -> bool:
        """Whether everything agrees, and nothing happened that must not."""
        return self.settled is not None and not self.disagreements and not self.findings

    def lines(self) -> Iterable[str]:
        """The report as a table."""
        yield f"{self.kills.total()} kills in {self.seconds:.0f} s"
        for name, count in self.kills.most_common():
            yield f"  {name:<28} {count:>7}"
        yield "operations"
        for (kind, outcome), count in sorted(self.journal.outcomes.items()):
            yield f"  {kind:<28} {count:>7}  {outcome}"
        yield "calls that failed and were repeated"
        reasons: Counter[str] = Counter()
        for (_kind, reason), count in self.journal.tries.items():
            reasons[reason] += count
        for reason, count in reasons.most_common():
            yield f"  {reason:<28} {count:>7}"
        credentials, leaves = self.compared
        yield f"compared: {credentials} credentials, {leaves} leaves of the log"
        agreed = "never" if self.settled is None else f"after {self.settled:.1f} s"
        yield f"everything agrees: {agreed}; {len(self.disagreements)} disagreements, {len(self.findings)} findings"
        yield from (f"  {each}" for each in self.disagreements[:SHOWN])
        yield from (f"  {each}" for each in self.findings[:SHOWN])


async def soak(
    stack: Stack, actors: Actors, kills: int, *, seed: int = 1, progress: Callable[[str], None] = lambda _text: None
) -> Report:
    """Kill ``kills`` times under load, let everything settle, and compare.

    Args:
        stack: running, with nothing in it yet.
        actors: who calls.
        kills: how many.
        seed: of what is left to chance; the machine adds its own.
        progress: is told now and then how far it is.
    """
    async with AsyncExitStack() as exits:
        demo = Demo(stack, actors, Narrator(quiet=True), exits)
        await demo.accredit()
        await demo.publish()
        load = Load(stack, actors, seed)
        report = Report(journal=load.journal)
        exits.callback(load.abandon)
        await load.start(demo)
        started = time.monotonic()
        killer = _Killer(stack, report, random.Random(seed))
        teller = asyncio.create_task(_tell(report, progress))
        try:
            async with asyncio.timeout(RUN_SECONDS + KILL_SECONDS * kills):
                await killer.run(kills)
        except TimeoutError:
            report.findings.append(f"the time was over after {report.kills.total()} of {kills} kills")
        finally:
            teller.cancel()
        await killer.mend()
        report.seconds = time.monotonic() - started
        progress(f"{report.kills.total()} kills are done; clients get their last answers")
        await load.finish()
        await compare_until_settled(stack, report)
        if report.settled is not None:
            await load.check_pages()
        report.findings += load.journal.findings
        report.findings += [
            f"{count} answers INTERNAL to {kind}: a crash of another is no fault of the service's"
            for (kind, reason), count in load.journal.tries.items()
            if reason == "INTERNAL"
        ]
        return report


async def compare_until_settled(stack: Stack, report: Report) -> None:
    """Look until everything agrees; what is left at the end of the time does not."""

    async def look() -> WorldSnapshot:
        return await observe(stack, report.journal.issued, report.journal.changed)

    found = await settle(look, SETTLE_SECONDS, SystemClock())
    report.disagreements = list(found.disagreements)
    if found.world is not None:
        report.compared = len(found.world.issuer.credentials), len(found.world.ledger.log.leaves)
    if not found.disagreements:
        report.settled = found.seconds


class _Killer:
    def __init__(self, stack: Stack, report: Report, chance: random.Random) -> None:
        self._stack = stack
        self._report = report
        self._random = chance
        self._down: set[str] = set()
        self._left = 0
        #: Seconds that a start takes at present, at least one.
        self._pace = 1.0
        self._done = asyncio.Event()

    async def run(self, kills: int) -> None:
        """Kill so many; each victim has a rhythm of its own, so that any may be down together."""
        self._left = kills
        await asyncio.gather(*(self._crash_again(victim) for victim in self._stack.victims))

    async def mend(self) -> None:
        """Start what an end in between left down, and look whether everything runs."""
        for victim in sorted(self._down, key=lambda name: name in SERVICES):
            await self._back(victim)
        for name in SERVICES:
            if not self._require_up(name):
                await self._back(name)

    async def _crash_again(self, victim: str) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._random.expovariate(1 / (UPTIMES[victim] * self._pace))):
                    await self._done.wait()
            if self._done.is_set():
                return
            if self._require_up(victim):
                self._kill(victim)
                while victim in SERVICES and self._random.random() < KILLED_STARTING:
                    if not await self._killed_while_starting(victim):
                        break
            await self._back(victim)

    def _kill(self, victim: str) -> None:
        self._down.add(victim)
        self._stack.kill(victim)
        self._report.kills[victim] += 1
        self._left -= 1
        if not self._left:
            self._done.set()

    async def _killed_while_starting(self, victim: str) -> bool:
        starting = asyncio.create_task(self._stack.restart(victim))
        done, _ = await asyncio.wait([starting], timeout=self._random.uniform(0.2, STARTING))
        hit = not done and not self._done.is_set()
        if hit:
            self._kill(victim)
        with suppress(Unavailable):
            await starting
        return hit

    async def _back(self, victim: str) -> None:
        """Start it until it stays: one that starts while its database is down may end again."""
        began = time.monotonic()
        while True:
            try:
                await self._stack.restart(victim)
            except FailedPrecondition as error:
                if error.reason != "ALREADY_RUNNING":
                    raise
                break
            except Unavailable as error:
                if time.monotonic() - began > BACK_SECONDS:
                    self._report.findings.append(f"{victim} did not come back: {error.message[-2000:]}")
                    break
                await asyncio.sleep(LOOK)
            else:
                break
        self._down.discard(victim)
        self._pace = max(1.0, self._pace + PACE_WEIGHT * (time.monotonic() - began - self._pace))

    def _require_up(self, victim: str) -> bool:
        """Whatever happens to the others, a service ends only when it is killed."""
        process = self._stack.processes.get(victim)
        if process is None or process.running:
            return True
        self._report.findings.append(f"{victim} ended by itself ({process.returncode})\n{process.log_tail()}")
        return False


async def _tell(report: Report, progress: Callable[[str], None]) -> None:
    started = time.monotonic()
    while True:
        await asyncio.sleep(PROGRESS)
        answered = sum(count for (_, outcome), count in report.journal.outcomes.items() if outcome == "answered")
        seconds = time.monotonic() - started
        progress(f"{seconds:5.0f} s: {report.kills.total()} kills, {answered} operations answered")
