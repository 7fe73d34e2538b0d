"""CPU profiles of running services by py-spy: in which functions their time goes.

Counted is who holds the interpreter's lock: who waits, for a socket or the kernel,
does not. A sampler slows what it samples, so a run with profiles keeps no results;
shares are what it tells. It needs the right to look into other processes: root's, or
``kernel.yama.ptrace_scope`` 0.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from vitne.errors import FailedPrecondition

#: Looks a second.
RATE: Final = 200
#: Functions that are shown of each process.
SHOWN: Final = 15
#: Seconds that the profiler may take to end after what it watched.
_END_SECONDS: Final = 30.0


class Profiler:
    """Watches processes while a load runs, and prints what they were at.

    Args:
        folder: where the stacks are kept, ``<benchmark>.<process>.txt``, for a flame graph of your own.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._program = Path(sys.executable).parent / "py-spy"
        if not self._program.exists():
            raise FailedPrecondition("NOT_INSTALLED", "py-spy is not installed", remedy="run it with make bench")
        folder.mkdir(parents=True, exist_ok=True)

    @asynccontextmanager
    async def around(self, benchmark: str, processes: Mapping[str, int], seconds: float) -> AsyncIterator[None]:
        """Watch processes by name and id for so many seconds, in which the caller loads them."""
        files = {name: self._folder / f"{benchmark}.{name}.txt" for name in processes}
        watching = {
            name: await asyncio.create_subprocess_exec(
                self._program,
                *("record", "--pid", str(pid), "--duration", str(max(1, round(seconds))), "--rate", str(RATE)),
                *("--format", "raw", "--gil", "--nonblocking", "--output", str(files[name])),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
            )
            for name, pid in processes.items()
        }
        try:
            yield
            for name, process in watching.items():
                async with asyncio.timeout(_END_SECONDS):
                    _, complaint = await process.communicate()
                if process.returncode:
                    last = complaint.decode(errors="replace").strip().splitlines()[-1:]
                    print(f"    no profile of the {name}: {' '.join(last)}")
                else:
                    _show(name, files[name].read_text())
        finally:
            for process in watching.values():
                if process.returncode is None:
                    process.kill()
                    await process.wait()


def _show(name: str, stacks: str) -> None:
    """Print the functions of a process with most time of their own, and with what they call."""
    own: Counter[str] = Counter()
    whole: Counter[str] = Counter()
    for line in stacks.splitlines():
        frames, _, count = line.rpartition(" ")
        called = [_without_line(frame) for frame in frames.split(";")]
        own[called[-1]] += int(count)
        for frame in set(called):
            whole[frame] += int(count)
    samples = own.total()
    print(f"    {name}: {samples / RATE:.1f} s of CPU sampled")
    if not samples:
        return
    print("      own   whole  function")
    for function, looks in own.most_common(SHOWN):
        print(f"    {looks / samples:6.1%} {whole[function] / samples:6.1%}  {function}")


def _without_line(frame: str) -> str:
    """``sign (vitne/credentials/jose.py:287)`` without the line: a function is one, wherever in it the time goes."""
    function, _, place = frame.partition(" (")
    return f"{function} ({place.rpartition(':')[0]})" if ":" in place else frame
