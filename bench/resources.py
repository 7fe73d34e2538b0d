"""What processes use, from ``/proc``: CPU time and resident memory of trees of processes."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
#: Fields of ``/proc/<pid>/stat`` behind the command's name: parent, and user and system time of itself and of its
#: children that have ended (proc_pid_stat(5): fields 4 and 14 to 17).
_PARENT: Final = 1
_TIMES: Final = slice(11, 15)


def cpu_seconds(roots: Iterable[int]) -> float:
    """CPU seconds that processes and all below them have used, also those that have ended."""
    times: dict[int, int] = {}
    children: dict[int, list[int]] = defaultdict(list)
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            times[int(entry.name)] = sum(int(field) for field in fields[_TIMES])
            children[int(fields[_PARENT])].append(int(entry.name))
    total = 0
    waiting = list(roots)
    while waiting:
        pid = waiting.pop()
        total += times.get(pid, 0)
        waiting += children[pid]
    return total / _TICKS


def rss_mib(pid: int) -> float:
    """Resident memory of one process in MiB; zero when it is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE / 2**20
    except (OSError, IndexError):
        return 0.0


@contextmanager
def on_one_core(pid: int) -> Iterator[None]:
    """Let a process, all its threads, run on one core meanwhile: the last of those that this one may run on."""
    cores = os.sched_getaffinity(0)
    _bind(pid, {max(cores)})
    try:
        yield
    finally:
        _bind(pid, cores)


def _bind(pid: int, cores: set[int]) -> None:
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with suppress(ProcessLookupError):  # it has ended meanwhile
            os.sched_setaffinity(int(thread.name), cores)


def _stat(pid: int) -> list[str]:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return []
    return text.rpartition(")")[2].split()
