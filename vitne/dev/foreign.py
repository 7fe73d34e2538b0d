"""Programs that are not ours: run to their end, and ended where they have none."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from contextlib import suppress

from vitne.dev.narrator import ExpectationFailed


async def run_foreign(name: str, seconds: float, *command: str, read: bool = False) -> bytes:
    """Run a program, in a process group of its own, of which nothing runs on when it has ended or the time is up.

    Args:
        name: for messages.
        seconds: what it may take.
        command: the program and its arguments.
        read: whether to answer what it writes to standard output, instead of showing it.

    Raises:
        ExpectationFailed: it took longer, or did not end with 0.
    """
    with tempfile.TemporaryFile() as written:
        # A file, not a pipe: what it started may hold that open when it has ended itself.
        process = await asyncio.create_subprocess_exec(*command, stdout=written if read else None, process_group=0)
        try:
            await asyncio.wait_for(process.wait(), seconds)
        except TimeoutError:
            raise ExpectationFailed(f"{name} was not done after {seconds:g} s") from None
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
        if process.returncode:
            raise ExpectationFailed(f"{name} ended with {process.returncode}")
        written.seek(0)
        return written.read()
