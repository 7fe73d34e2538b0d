"""Loads: as many as can be at a time, or so many a second; and how long each operation took."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

#: An operation's number goes in, so that each can be another one.
Operation = Callable[[int], Awaitable[object]]
#: Seconds between two looks at what is awaited.
LOOK_SECONDS: Final = 0.01
#: Operations in process between two looks at the clock.
_UNWATCHED: Final = 16


@dataclass(frozen=True, slots=True)
class Measured:
    """What a load came to.

    Attributes:
        operations: that were answered.
        seconds: it took.
        latencies: of each, in seconds.
    """

    operations: int
    seconds: float
    latencies: Sequence[float] = field(default=(), repr=False)

    @property
    def rate(self) -> float:
        """Operations a second."""
        return self.operations / self.seconds


def percentile(values: Sequence[float], share: float) -> float:
    """The value that a share (0.99) of all are not above; nearest rank."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


async def closed(operation: Operation, at_a_time: int, seconds: float) -> Measured:
    """Each of so many clients begins its next operation when the last is answered. A failure ends the load."""
    latencies: list[float] = []
    started = time.perf_counter()
    deadline = started + seconds
    begun = 0

    async def client() -> None:
        nonlocal begun
        while (before := time.perf_counter()) < deadline:
            begun += 1
            await operation(begun)
            latencies.append(time.perf_counter() - before)

    async with asyncio.TaskGroup() as clients:
        for _ in range(at_a_time):
            clients.create_task(client())
    return Measured(len(latencies), time.perf_counter() - started, latencies)


async def paced(operation: Operation, rate: float, seconds: float) -> Measured:
    """So many operations a second are begun, whether earlier ones are answered or not."""
    latencies: list[float] = []
    started = time.perf_counter()

    async def one(number: int) -> None:
        before = time.perf_counter()
        await operation(number)
        latencies.append(time.perf_counter() - before)

    async with asyncio.TaskGroup() as running:
        for number in range(int(rate * seconds)):
            await asyncio.sleep(started + number / rate - time.perf_counter())
            running.create_task(one(number))
    return Measured(len(latencies), time.perf_counter() - started, latencies)


async def until(look: Callable[[], Awaitable[bool]], seconds: float, every: float = LOOK_SECONDS) -> None:
    """Return when ``look`` answers true; ``TimeoutError`` after so many seconds."""
    async with asyncio.timeout(seconds):
        while not await look():  # noqa: ASYNC110 - other processes set no event
            await asyncio.sleep(every)


def repeated(operation: Callable[[int], object], seconds: float) -> Measured:
    """One after the other, in this process; latencies are means of :data:`_UNWATCHED` operations."""
    latencies: list[float] = []
    done = 0
    started = before = time.perf_counter()
    while before < started + seconds:
        for number in range(done, done + _UNWATCHED):
            operation(number)
        done += _UNWATCHED
        now = time.perf_counter()
        latencies.append((now - before) / _UNWATCHED)
        before = now
    return Measured(done, before - started, latencies)
