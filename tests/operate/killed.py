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


async def main(dsn: str, state: Path, step: int) -> None:
    Mortal.fuse = Fuse(step)
    async with asyncpg.create_pool(dsn, min_size=1, max_size=2, connection_class=Mortal) as pool:
        sequencer = Ledger(pool, SystemClock(), state).sequencer()
        try:
            await sequencer.claim()
            await sequencer.integrate()
        except Killed:
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])))
