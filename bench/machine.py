"""The machine that a run was taken on, as far as its figures depend on it."""

from __future__ import annotations

import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

#: Writes that are timed to tell what a commit waits for.
_SYNCS: Final = 100
_PAGE_BYTES: Final = 8192


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
    """

    processor: str
    cpus: int
    memory_gib: float
    kernel: str
    python: str
    sync_ms: float

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
        )

    def text(self) -> str:
        """One line."""
        return (
            f"{self.cpus} × {self.processor}, {self.memory_gib:.0f} GiB, Linux {self.kernel.partition('-')[0]}, "
            f"Python {self.python}, fdatasync {self.sync_ms:.2f} ms"
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


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []
