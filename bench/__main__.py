"""``python -m bench``: what Vitne costs on this machine. ``make bench`` installs what it needs and calls it."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

# As the services do: uvloop reads it once, when it is loaded.
os.environ.setdefault("UV_USE_IO_URING", "0")
# Processes are started beside open channels; none of them goes on with these.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")

import uvloop

from bench import report
from bench.cases import baseline, formats, log, portal, pure, registry, sharing, stack, stacking
from bench.catalogue import ROWS
from bench.machine import Machine
from bench.parts import Parts
from bench.profiler import Profiler
from bench.results import Finding, append_lines, commit_of
from bench.session import Session
from bench.world import World
from vitne.dev.__main__ import DEFAULT_HOME
from vitne.dev.stack import SERVICES
from vitne.errors import VitneError
from vitne.runtime.main import tune_collector

ROOT: Final = Path(__file__).resolve().parents[1]
#: Where lines go, the page and the plot.
RESULTS: Final = ROOT / "bench" / "results.jsonl"
PAGE: Final = ROOT / "docs" / "benchmarks.md"
PLOT: Final = ROOT / "docs" / "benchmarks.svg"


async def run(session: Session, kafka: str) -> None:
    """Everything that is wanted, one after the other; ``kafka`` is where rows on Apache Kafka are taken, or empty."""
    await session.measure(baseline.CASES, session)
    await session.measure(session.wanted((*pure.CASES, *formats.CASES, *stacking.CASES)), session)
    on_stack = session.wanted((*stack.CASES, *portal.CASES, *sharing.CASES, *(() if kafka else portal.EMBEDDED)))
    if on_stack:
        async with World.running(session) as world:
            await session.measure(on_stack, world)
            for service in SERVICES:
                session.record(Finding(f"rss.{service}", world.rss_mib(service), rss_mib=world.rss_mib(service)))
    if kafka and (on_kafka := session.wanted(portal.APACHE)):
        async with World.running(session, kafka) as world:
            await session.measure(on_kafka, world)
    if alone := session.wanted((*registry.CASES, *log.CASES)):
        async with Parts.running(session) as parts:
            await session.measure(alone, parts)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line, the process's own by default; 0 when every benchmark ran, whatever it found; 1 else."""
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="What Vitne costs on this machine. Figures gate nothing. A whole run takes some seven minutes, on "
        "loopback only; it adds its results to bench/results.jsonl and writes docs/benchmarks.md and .svg.",
        epilog="benchmarks: " + ", ".join(row.name for row in ROWS),
    )
    parser.add_argument("--only", default="", metavar="PREFIX", help="those whose names begin so (and the baseline)")
    parser.add_argument("--quick", action="store_true", help="a smoke test: everything once, figures say nothing")
    parser.add_argument(
        "--profile", action="store_true", help="where each service's CPU time goes (py-spy); keeps no results"
    )
    parser.add_argument(
        "--kafka",
        default="",
        metavar="apache|HOST:PORT,...",
        help="measure on Apache Kafka how soon and how fast events reach the portal: "
        "'apache' starts one (needs Java 17 and Maven)",
    )
    parser.add_argument(
        "--output", type=Path, help="file that result lines are added to (default: bench/results.jsonl)"
    )
    parser.add_argument(
        "--home",
        type=Path,
        default=Path(os.environ.get("VITNE_HOME") or DEFAULT_HOME) / "bench",
        help="folder for all state (default: %(default)s)",
    )
    options = parser.parse_args(arguments)
    if not any(row.name.startswith(options.only) for row in ROWS):
        parser.error(f"no benchmark's name begins with {options.only}")
    try:
        return _run(options)
    except VitneError as error:
        print(f"\nFAILED: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        return 130


def _run(options: argparse.Namespace) -> int:
    started = time.monotonic()
    home: Path = options.home.resolve()
    session = Session(home, commit_of(ROOT), only=options.only, quick=options.quick)
    machine = Machine.look(home).text()
    print(machine, flush=True)
    if options.profile:
        session.profiler = Profiler(home / "profiles")
    tune_collector()  # what is measured in this process runs as it does in a service
    uvloop.run(run(session, options.kafka))
    results = session.results
    print(f"\n{report.text(results, judged=not session.quick)}\n")
    print(report.baseline(results))
    if any(result.name.startswith("rss.") for result in results):
        print(report.memory(results))
    print(f"{machine}; commit {session.commit}; {time.monotonic() - started:.0f} s")
    for line in [] if session.quick else report.missed(results):
        print(f"below its first target: {line}")
    _keep(options, session, machine)
    for name, reason in session.failures.items():
        print(f"FAILED: {name} {reason}", file=sys.stderr)
    return 1 if session.failures else 0


def _keep(options: argparse.Namespace, session: Session, machine: str) -> None:
    """Write what is worth keeping: of a quick run, or one that a profiler slowed, only where that is asked for."""
    comparable = not (session.quick or session.profiler)
    output = options.output or (RESULTS if comparable else None)
    if output is not None:
        append_lines(output, session.results)
    if comparable and not session.only and not session.failures:
        report.write_page(PAGE, session.results, machine, session.commit, PLOT.name)
        report.write_plot(PLOT, session.results, f"{machine}; commit {session.commit}")
        print(f"written: {PAGE.relative_to(ROOT)}, {PLOT.relative_to(ROOT)}, {RESULTS.relative_to(ROOT)}")


if __name__ == "__main__":
    raise SystemExit(main())
