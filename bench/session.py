"""One run: what is wanted of it, what it found, what went wrong."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Generic, TypeVar

from bench.catalogue import BASELINE, BY_NAME
from bench.profiler import Profiler
from bench.results import Finding, Result

#: What a quick run takes of each duration and amount.
QUICK: Final = 0.05
#: Seconds after which one benchmark is given up.
PATIENCE: Final = 240.0

W = TypeVar("W")


@dataclass(frozen=True, slots=True)
class Case(Generic[W]):
    """One benchmark, or several that are measured together.

    Attributes:
        names: of its results.
        run: measures, in a world that is already running.
    """

    names: tuple[str, ...]
    run: Callable[[W], Awaitable[None]]


@dataclass(slots=True)
class Session:
    """One run.

    Attributes:
        home: folder for all state.
        commit: that is measured.
        only: prefix of the names that are wanted; empty: all.
        quick: a smoke test, whose figures say nothing.
        profiler: watches the services while they work; None: nobody does.
        results: so far.
        failures: in words, by benchmark.
    """

    home: Path
    commit: str
    only: str = ""
    quick: bool = False
    profiler: Profiler | None = None
    results: list[Result] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)

    def wants(self, names: Sequence[str]) -> bool:
        """Whether any of these benchmarks is to be run."""
        return any(name.startswith(self.only) for name in names)

    def wanted(self, cases: Sequence[Case[W]]) -> list[Case[W]]:
        """Those that are to be run."""
        return [case for case in cases if self.wants(case.names)]

    def amount(self, normal: int) -> int:
        """How many of something: less in a quick run."""
        return max(10, int(normal * QUICK)) if self.quick else normal

    def seconds(self, normal: float) -> float:
        """How long: less in a quick run."""
        return max(0.5, normal * QUICK) if self.quick else normal

    @property
    def baseline(self) -> float | None:
        """Operations a second of the baseline in this run."""
        return next((result.value for result in self.results if result.name == BASELINE), None)

    def record(self, finding: Finding) -> None:
        """Keep a result, and print it."""
        result = finding.result(self.baseline, self.commit)
        self.results.append(result)
        spread = f"   p50 {result.p50_ms:g} ms, p99 {result.p99_ms:g} ms" if result.p50_ms is not None else ""
        cost = f"   {result.cpu_ms_per_op:g} CPU-ms each" if result.cpu_ms_per_op is not None else ""
        print(f"  {result.name:<30} {result.value:>10,g} {result.unit:<9}{spread}{cost}", flush=True)

    def say(self, text: str) -> None:
        """One line of progress."""
        print(f"  … {text}", flush=True)

    async def measure(self, cases: Sequence[Case[W]], world: W) -> None:
        """Run benchmarks one after the other; one that fails takes no other with it."""
        for case in cases:
            name = case.names[0]
            self.say(f"{', '.join(case.names)}: {BY_NAME[name].what}")
            started = time.monotonic()
            try:
                async with asyncio.timeout(PATIENCE):
                    await case.run(world)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is told, and fails the run in the end
                reason = "; ".join(_reasons(error))
                self.failures[name] = f"after {time.monotonic() - started:.0f} s: {reason}"
                print(f"  {name} FAILED {self.failures[name]}", flush=True)

    @asynccontextmanager
    async def profiled(self, benchmark: str, processes: Mapping[str, int], seconds: float) -> AsyncIterator[None]:
        """Watch processes meanwhile, in a run that wants profiles."""
        if self.profiler is None:
            yield
        else:
            async with self.profiler.around(benchmark, processes, seconds):
                yield


def _reasons(error: BaseException) -> list[str]:
    """What went wrong, once each: clients that fail together have the same reason."""
    if isinstance(error, BaseExceptionGroup):
        return list(dict.fromkeys(reason for each in error.exceptions for reason in _reasons(each)))
    return [f"{type(error).__name__}: {error}".rstrip(": ").splitlines()[0]]
