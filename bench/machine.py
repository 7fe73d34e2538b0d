"""The machine that a run was taken on, as far as its figures depend on it."""

from __future__ import annotations

import os
import platform
import time
from array import array
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

#: Writes that are timed to tell what a commit waits for.
_SYNCS: Final = 100
_PAGE_BYTES: Final = 8192
#: Memory that is read in no order: more than a core has to itself, a quarter of what such a processor's cores share.
_REACHED_BYTES: Final = 8 * 2**20
#: Memory that surely stays beside the core: what a read costs there is Python's own time.
_NEAR_BYTES: Final = 2**17
#: Reads that follow each other, and how often they are timed; the quickest counts.
_HOPS: Final = 300_000
_TRIES: Final = 3
#: Make of each place the next; all places of a power of two come in one round (c odd, a - 1 a multiple of 4).
_FACTOR, _STEP = 1_664_525, 1_013_904_223


@dataclass(frozen=True, slots=True)
class Machine:
    """What it is.

    Attributes:
        processor: model name.
        cpus: that this process may run on.
        memory_gib: of the machine.
        kernel: release.
        python: version.
        sync_ms: median of writing a page and waiting for the disk (``fdatasync``), in the folder of the databases.
        reach_ns: what a read that waits for the one before it takes longer in 8 MiB than in 128 KiB: where others on
            the host fill the cache that the processor's cores share, it comes from memory. Services, whose data don't
            fit into a core's own cache, are slower by that; ``rpc.noop``, whose data do, doesn't show it.
    """

    processor: str
    cpus: int
    memory_gib: float
    kernel: str
    python: str
    sync_ms: float
    reach_ns: float

    @classmethod
    def look(cls, folder: Path) -> Machine:
        """This machine, with ``folder`` on the disk that is timed."""
        models = [line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
        return cls(
            processor=models[0] if models else platform.machine(),
            cpus=len(os.sched_getaffinity(0)),
            memory_gib=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30,
            kernel=platform.release(),
            python=platform.python_version(),
            sync_ms=_sync_seconds(folder) * 1000,
            reach_ns=max(0.0, _hop_seconds(_REACHED_BYTES) - _hop_seconds(_NEAR_BYTES)) * 1e9,
        )

    def text(self) -> str:
        """One line."""
        return (
            f"{self.cpus} × {self.processor}, {self.memory_gib:.0f} GiB, Linux {self.kernel.partition('-')[0]}, "
            f"Python {self.python}, fdatasync {self.sync_ms:.2f} ms, reads in 8 MiB {self.reach_ns:.0f} ns"
        )


def _sync_seconds(folder: Path) -> float:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "sync-probe"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    taken = []
    try:
        for _ in range(_SYNCS):
            before = time.perf_counter()
            os.write(descriptor, bytes(_PAGE_BYTES))
            os.fdatasync(descriptor)
            taken.append(time.perf_counter() - before)
    finally:
        os.close(descriptor)
        path.unlink()
    return median(taken)


def _hop_seconds(size: int) -> float:
    """What following one place to the next takes in so many bytes: each read tells where the next one is."""
    places = size // array("I").itemsize
    following = array("I", ((_FACTOR * place + _STEP) % places for place in range(places)))
    taken, place = [], 0
    for _ in range(_TRIES):
        before = time.perf_counter()
        for _ in range(_HOPS):
            place = following[place]
        taken.append((time.perf_counter() - before) / _HOPS)
    return min(taken)


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []
