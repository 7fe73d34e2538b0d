"""SIGKILL for everything, again and again, under load; then everything must agree.

The services, PostgreSQL and (where it is Apache Kafka) the broker are killed at
any moment, several at a time, also while they start, and come back at their
addresses. The embedded broker keeps everything in memory, so it is never killed.
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
from pathlib import Path
from typing import Final

import aiohttp
import asyncpg
from aiokafka.errors import KafkaError

from vitne.audit.agreement import Disagreement, compare
from vitne.dev.actors import Actors
from vitne.dev.demo import Demo
from vitne.dev.load import Journal, Load
from vitne.dev.narrator import Narrator
from vitne.dev.observation import observe
from vitne.dev.stack import KAFKA, POSTGRES, SERVICES, Stack
from vitne.errors import FailedPrecondition, Unavailable, VitneError

#: How often each is chosen, against the others. The verifier keeps nothing, and what everything stands on takes
#: everything with it.
WEIGHTS: Final[Mapping[str, float]] = {
    "registry": 3,
    "issuer": 5,
    "ledger": 5,
    "verifier": 1,
    "portal": 4,
    POSTGRES: 1.2,
    KAFKA: 0.8,
}
#: How many are killed at a time, at most.
AT_ONCE: Final = 4
#: How often one is killed again while it starts.
KILLED_STARTING: Final = 0.25
#: Seconds, at most, from its start until it is killed so.
STARTING: Final = 1.0
#: Longest pause in seconds in which everything runs, between two rounds.
QUIET: Final = 0.8
#: Seconds in which what was killed must be ready again, whatever else was killed meanwhile.
BACK_SECONDS: Final = 90.0
#: Seconds that a run may take for its kills: at the start, and for each.
RUN_SECONDS: Final = 120.0
KILL_SECONDS: Final = 3.0
#: Seconds in which everything must agree once all clients were answered.
SETTLE_SECONDS: Final = 90.0
#: Seconds between two looks, and between two lines of progress.
LOOK: Final = 0.5
PROGRESS: Final = 10.0
#: How many disagreements are told.
SHOWN: Final = 20

#: What looking meets while a service comes back.
_OUTAGES: Final = (OSError, TimeoutError, aiohttp.ClientError, asyncpg.PostgresError, KafkaError, VitneError)


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
        await settle(stack, report)
        if report.settled is not None:
            await load.check_pages()
        report.findings += load.journal.findings
        report.findings += [
            f"{count} answers INTERNAL to {kind}: a crash of another is no fault of the service's"
            for (kind, reason), count in load.journal.tries.items()
            if reason == "INTERNAL"
        ]
        return report


async def settle(stack: Stack, report: Report) -> None:
    """Look until everything agrees; what is left at the end of the time does not."""
    started = time.monotonic()
    while True:
        try:
            world = await observe(stack, report.journal.issued, report.journal.changed)
            report.disagreements = await asyncio.to_thread(compare, world)
            report.compared = len(world.issuer.credentials), len(world.ledger.log.leaves)
        except _OUTAGES as error:
            report.disagreements = [Disagreement("out.of_reach", "stack", f"{type(error).__name__}: {error}")]
        passed = time.monotonic() - started
        if not report.disagreements:
            report.settled = passed
            return
        if passed > SETTLE_SECONDS:
            return
        await asyncio.sleep(LOOK)


class _Killer:
    def __init__(self, stack: Stack, report: Report, chance: random.Random) -> None:
        self._stack = stack
        self._report = report
        self._random = chance
        self._down: set[str] = set()

    async def run(self, kills: int) -> None:
        """Kill so many."""
        while (left := kills - self._report.kills.total()) > 0:
            self._require_all_up()
            await asyncio.gather(*(self._crash(victim, kills) for victim in self._victims(min(left, AT_ONCE))))
            await asyncio.sleep(self._random.uniform(0, QUIET))

    async def mend(self) -> None:
        """Start what an end in between left down."""
        for victim in sorted(self._down, key=lambda name: name in SERVICES):
            await self._back(victim)
        self._require_all_up()

    def _victims(self, most: int) -> set[str]:
        names = self._stack.victims
        chosen: set[str] = set()
        for _ in range(self._random.randint(1, most)):
            chosen.update(self._random.choices(names, [WEIGHTS[name] for name in names]))
        return chosen

    async def _crash(self, victim: str, kills: int) -> None:
        # Not all in the same instant: one meets the other's outage.
        await asyncio.sleep(self._random.uniform(0, STARTING))
        self._kill(victim)
        while (
            victim in SERVICES
            and self._random.random() < KILLED_STARTING
            and self._report.kills.total() < kills
            and await self._killed_while_starting(victim)
        ):
            pass
        await self._back(victim)

    def _kill(self, victim: str) -> None:
        self._down.add(victim)
        self._stack.kill(victim)
        self._report.kills[victim] += 1

    async def _killed_while_starting(self, victim: str) -> bool:
        starting = asyncio.create_task(self._stack.restart(victim))
        done, _ = await asyncio.wait([starting], timeout=self._random.uniform(0.2, STARTING))
        if not done:
            self._kill(victim)
        with suppress(Unavailable):
            await starting
        return not done

    async def _back(self, victim: str) -> None:
        """Start it until it stays: one that starts while its database is down may end again."""
        deadline = time.monotonic() + BACK_SECONDS
        while True:
            try:
                await self._stack.restart(victim)
            except FailedPrecondition as error:
                if error.reason != "ALREADY_RUNNING":
                    raise
                break
            except Unavailable as error:
                if time.monotonic() > deadline:
                    self._report.findings.append(f"{victim} did not come back: {error.message[-2000:]}")
                    break
                await asyncio.sleep(LOOK)
            else:
                break
        self._down.discard(victim)

    def _require_all_up(self) -> None:
        """Whatever happens to the others, a service ends only when it is killed."""
        for name in SERVICES:
            process = self._stack.processes[name]
            if not process.running:
                self._report.findings.append(f"{name} ended by itself ({process.returncode})\n{process.log_tail()}")
                self._down.add(name)
        for name in [name for name in self._down if name in SERVICES]:
            self._stack.processes[name].start()
            self._down.discard(name)


async def _tell(report: Report, progress: Callable[[str], None]) -> None:
    started = time.monotonic()
    while True:
        await asyncio.sleep(PROGRESS)
        answered = sum(count for (_, outcome), count in report.journal.outcomes.items() if outcome == "answered")
        seconds = time.monotonic() - started
        progress(f"{seconds:5.0f} s: {report.kills.total()} kills, {answered} operations answered")


async def run(folder: Path, kills: int, *, kafka: str = "", seed: int = 1, progress: Callable[[str], None]) -> Report:
    """A stack of its own, a soak on it, and its end."""
    async with Stack(folder, kafka=kafka, progress=progress) as stack, Actors(stack) as actors:
        return await soak(stack, actors, kills, seed=seed, progress=progress)
