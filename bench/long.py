"""``python -m bench.long``: what an append costs while a log grows to ten million leaves. ``make bench-long`` calls it.

It goes on where it stopped: the log stays in its database until it has the size that is asked for, and each point is
written as soon as it is measured.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import uvloop

from bench.__main__ import ROOT
from bench.cases.log import Log, open_log, queue_random
from bench.curve import Point, append_point, beyond_log, read_points, write_plot
from bench.machine import Machine
from bench.resources import cpu_seconds
from bench.results import commit_of
from vitne.dev.__main__ import DEFAULT_HOME
from vitne.dev.postgres import EmbeddedPostgres
from vitne.errors import VitneError

PLOT: Final = ROOT / "docs" / "append-curve.svg"
DATABASE: Final = "bench_long"
#: Where a point is taken within each power of ten.
STEPS: Final = (1, 2, 5)
FIRST: Final = 10_000
#: Leaves that wait at a time.
QUEUED: Final = 100_000
#: What the ledger's database has in production (deploy/k8s/overlays/production), where the demonstration's makes do
#: with an eighth: ten million leaves take some GB, and the index of their hashes 290 MB.
DATABASE_SETTINGS: Final = {"shared_buffers": "1GB"}


def sizes(last: int) -> Iterator[int]:
    """Where points are taken: 10,000, 20,000, 50,000 and so on."""
    power = FIRST
    while True:
        for step in STEPS:
            if step * power > last:
                return
            yield step * power
        power *= 10


async def measure(home: Path, points: Path, last: int, seconds: float, commit: str) -> bool:
    """Grow the log and write the points on the way; whether it has come to its end within the time."""
    deadline = time.monotonic() + seconds
    async with EmbeddedPostgres(home / "postgres", DATABASE_SETTINGS) as postgres:
        dsn = await postgres.create_database(DATABASE)
        async with open_log(dsn, home / "state") as log:
            size = int(await log.pool.fetchval("SELECT size FROM log"))
            for goal in sizes(last):
                if goal <= size:
                    continue
                if time.monotonic() > deadline:
                    return False
                # A stretch that was cut off is measured from where it goes on.
                begun, size = size, goal
                point = await _stretch(log, postgres.pid, begun, goal, commit)
                append_point(points, point)
                print(f"  {point.size:>12,}  {point.cpu_us:8.2f} µs CPU  {point.wall_us:8.2f} µs", flush=True)
        await postgres.drop_database(DATABASE)
    return True


async def _stretch(log: Log, postgres: int, begun: int, goal: int, commit: str) -> Point:
    """Append up to a size; queueing and clearing away are not counted."""
    cpu = wall = 0.0
    size = begun
    while size < goal:
        count = min(QUEUED, goal - size)
        await queue_random(log, count)
        # What the relay does in its time: nobody reads these events.
        await log.pool.execute("TRUNCATE outbox")
        await log.pool.execute("VACUUM (ANALYZE) queued_leaf, log, tile")
        before, started = _used(postgres), time.perf_counter()
        while await log.sequencer.integrate():
            pass
        wall += time.perf_counter() - started
        cpu += _used(postgres) - before
        size += count
    leaves = goal - begun
    return Point(size=goal, leaves=leaves, cpu_us=cpu / leaves * 1e6, wall_us=wall / leaves * 1e6, commit=commit)


def _used(postgres: int) -> float:
    return time.process_time() + cpu_seconds([postgres])


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line, the process's own by default; 0 when the log has the size, 2 when the time was over first."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.long",
        description="What an append costs while a log grows: points are added to a file and drawn. Stops after a time; "
        "called again, it goes on. Takes some 5 GB of disk for ten million leaves, until it has them.",
    )
    home = Path(os.environ.get("VITNE_HOME") or DEFAULT_HOME) / "bench-long"
    parser.add_argument("--size", type=int, default=10_000_000, help="leaves (default: %(default)s)")
    parser.add_argument("--minutes", type=float, default=30.0, help="time it may take (default: %(default)s)")
    parser.add_argument("--home", type=Path, default=home, help="folder for all state (default: %(default)s)")
    parser.add_argument("--plot", type=Path, default=PLOT, help="where to draw it (default: %(default)s)")
    options = parser.parse_args(arguments)
    folder: Path = options.home.resolve()
    points, machine, commit = folder / "points.jsonl", Machine.look(folder).text(), commit_of(ROOT)
    print(machine, flush=True)
    try:
        complete = uvloop.run(measure(folder, points, options.size, options.minutes * 60, commit))
    except VitneError as error:
        print(f"\nFAILED: {error}", file=sys.stderr)
        return 1
    measured = read_points(points)
    if measured:
        write_plot(options.plot, measured, f"{machine}; commit {commit}")
    if (factor := beyond_log(measured)) is not None:
        print(f"from 100,000 to {measured[-1].size:,} leaves the cost grew {factor:.2f} times as much as log n")
    if not complete:
        print("the time is over: call it again to go on")
    return 0 if complete else 2


if __name__ == "__main__":
    raise SystemExit(main())
