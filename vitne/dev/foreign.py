"""Programs that are not ours: run to their end, and ended where they have none."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress

from vitne.dev.narrator import ExpectationFailed


async def run_foreign(name: str, seconds: float, *command: str, read: bool = False) -> bytes:
    """Run a program, in a process group of its own, which is killed when the time is up or nobody waits any more.

    Args:
        name: for messages.
        seconds: what it may take.
        command: the program and its arguments.
        read: whether to answer what it writes to standard output, instead of showing it.

    Raises:
        ExpectationFailed: it took longer, or did not end with 0.
    """
    output = asyncio.subprocess.PIPE if read else None
    process = await asyncio.create_subprocess_exec(*command, stdout=output, process_group=0)
    try:
        written, _ = await asyncio.wait_for(process.communicate(), seconds)
    except TimeoutError:
        raise ExpectationFailed(f"{name} was not done after {seconds:g} s") from None
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    if process.returncode:
        raise ExpectationFailed(f"{name} ended with {process.returncode}")
    return written or b""
