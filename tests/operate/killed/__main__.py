"""A sequencer that kills itself: ``python -m tests.operate.killed DSN STATE STEP``, before its STEP-th statement."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import asyncpg

from tests.integration.ledger_harness import Ledger
from tests.integration.ledger_leaves import Fuse, Killed, Mortal
from vitne.clock import SystemClock


async def integrate(dsn: str, state: Path, step: int) -> None:
    """Claim the log and integrate what waits, in a process that may end in the middle."""
    Mortal.fuse = Fuse(step)
    async with asyncpg.create_pool(dsn, min_size=1, max_size=2, connection_class=Mortal) as pool:
        sequencer = Ledger(pool, SystemClock(), state).sequencer()
        try:
            await sequencer.claim()
            await sequencer.integrate()
        except Killed:
            os.kill(os.getpid(), signal.SIGKILL)


def main(arguments: list[str]) -> None:
    """``DSN STATE STEP``."""
    dsn, state, step = arguments
    asyncio.run(integrate(dsn, Path(state), int(step)))


if __name__ == "__main__":
    main(sys.argv[1:])
