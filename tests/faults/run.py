"""Runs simulated faults until so many were injected, and prints what they were: ``python -m tests.faults.run``.

    python -m tests.faults.run --faults 10000            # seeds from 1 on
    python -m tests.faults.run --seed 81 --trace         # one seed, every decision
    python -m tests.faults.run --seed 81 --shrink        # what of it is needed to fail

Ends with 1 when anything disagreed.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections import Counter
from itertools import count
from pathlib import Path

from tests.faults.plants import PLANTS
from tests.faults.sim.grounds import DATABASES, Grounds
from tests.faults.sim.plan import Scenario, make_scenario
from tests.faults.sim.runner import Outcome, run, shrink
from tests.faults.sim.world import rehearse
from vitne.dev.postgres import EmbeddedPostgres


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.run", description=__doc__.split("\n")[0])
    parser.add_argument("--faults", type=int, default=1000, help="how many to inject (default: 1000)")
    parser.add_argument("--first", type=int, default=1, help="seed of the first scenario (default: 1)")
    parser.add_argument("--seed", type=int, help="run only the scenario of this seed")
    parser.add_argument("--trace", action="store_true", help="with --seed: print every decision")
    parser.add_argument("--shrink", action="store_true", help="make the first scenario that fails smaller")
    parser.add_argument("--plant", choices=PLANTS, help="with a bug on purpose")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="vitne-faults-") as folder:
        Path(folder).chmod(0o755)
        server = EmbeddedPostgres(Path(folder) / "postgres", settings={"fsync": "off"})
        try:
            dsns = asyncio.run(_start(server))
            with Grounds(dsns, Path(folder) / "state") as grounds:
                rehearse(grounds)
                if chosen.plant is None:
                    return _run(grounds, chosen)
                with PLANTS[chosen.plant]():
                    return _run(grounds, chosen)
        finally:
            asyncio.run(server.stop())


async def _start(server: EmbeddedPostgres) -> dict[str, str]:
    await server.start()
    return {name: await server.create_database(name.replace("-", "_")) for name in DATABASES}


def _run(grounds: Grounds, chosen: argparse.Namespace) -> int:
    faults: Counter[str] = Counter()
    failed: list[Outcome] = []
    scenarios = decisions = choices = issued = 0
    virtual, began = 0.0, time.monotonic()
    seeds = [chosen.seed] if chosen.seed is not None else count(chosen.first)
    for seed in seeds:
        outcome = run(grounds, make_scenario(seed), tracing=chosen.trace and chosen.seed is not None)
        scenarios += 1
        faults += outcome.tally.faults
        decisions += outcome.tally.decisions
        choices += outcome.tally.choices
        issued += outcome.issued
        virtual += outcome.virtual
        if outcome.trace:
            print(*outcome.trace, sep="\n")
        if outcome.disagreements:
            failed.append(outcome)
            print(f"seed {seed} disagrees:", *outcome.disagreements[:20], sep="\n  ", flush=True)
            if chosen.shrink:
                _show(shrink(grounds, outcome.scenario))
                break
        if scenarios % 100 == 0:
            print(f"{scenarios} scenarios, {faults.total()} faults, {len(failed)} disagree", flush=True)
        if faults.total() >= chosen.faults:
            break
    real = time.monotonic() - began
    for name, number in sorted(faults.items()):
        print(f"{name:32} {number:7}")
    print(f"{'faults injected':32} {faults.total():7}")
    print(f"{'scenarios':32} {scenarios:7}")
    print(f"{'issuances answered':32} {issued:7}")
    print(f"{'decisions, of them with a choice':32} {decisions:7} {choices:7}")
    print(f"{'virtual seconds':32} {virtual:7.0f}")
    print(f"{'real seconds':32} {real:7.0f}")
    print(f"{'scenarios that disagree':32} {len(failed):7}")
    return 1 if failed else 0


def _show(scenario: Scenario) -> None:
    print(f"shrunk, seed {scenario.seed}:", *scenario.operations, *scenario.faults, sep="\n  ")


if __name__ == "__main__":
    sys.exit(main())
