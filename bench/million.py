"""``python -m bench.million``: a portal that begins with nothing catches up with a million events.

``make bench-million`` calls it. Most of its time goes into issuing them.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

# As the services do: uvloop reads it once, when it is loaded.
os.environ.setdefault("UV_USE_IO_URING", "0")
# Processes are started beside open channels; none of them goes on with these.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")

import uvloop

from bench.__main__ import ROOT
from bench.cases import baseline
from bench.catching_up import catch_up
from bench.machine import Machine
from bench.results import commit_of
from bench.session import Session
from bench.world import World
from vitne.dev.__main__ import DEFAULT_HOME
from vitne.errors import VitneError

EVENTS: Final = 1_000_000


async def run(session: Session, events: int, kafka: str) -> None:
    """The baseline, then that many events from nothing; prints what it came to."""
    await session.measure(baseline.CASES, session)
    async with World.running(session, kafka) as world:
        print((await catch_up(world, events)).text(), flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line, the process's own by default; 0 when it was measured, 1 else."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.million",
        description="Issues until a hub's topic holds a million events (some ten minutes, 12 GB), then measures how "
        "long a portal with an empty database takes to gather all that they name.",
    )
    home = Path(os.environ.get("VITNE_HOME") or DEFAULT_HOME) / "bench-million"
    parser.add_argument("--events", type=int, default=EVENTS, help="(default: %(default)s)")
    parser.add_argument("--kafka", default="", metavar="apache|HOST:PORT,...", help="default: the embedded broker")
    parser.add_argument("--home", type=Path, default=home, help="folder for all state (default: %(default)s)")
    options = parser.parse_args(arguments)
    folder: Path = options.home.resolve()
    commit = commit_of(ROOT)
    print(f"{Machine.look(folder).text()}; commit {commit}", flush=True)
    try:
        uvloop.run(run(Session(folder, commit), options.events, options.kafka))
    except (VitneError, TimeoutError) as error:
        print(f"\nFAILED: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
