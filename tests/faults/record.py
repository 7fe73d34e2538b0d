"""The recorded run: simulated faults and real kills of one state of the code, with what came of them.

    python -m tests.faults.record                                  # 10,000 faults, 700 kills, 300 more on Apache Kafka
    python -m tests.faults.record --faults 500 --kills 20 --kafka-kills 10

Writes what the three commands printed in the end to docs/recorded-run.md. Ends with 1 when one of them found anything.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "recorded-run.md"
#: What lines of progress have in them; the rest is the outcome.
PROGRESS = (" scenarios, ", " operations answered", "starting ", "kills are done")


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.record", description=__doc__.split("\n")[0])
    parser.add_argument("--faults", type=int, default=10_000, help="simulated (default: %(default)s)")
    parser.add_argument("--kills", type=int, default=700, help="on the embedded stack (default: %(default)s)")
    parser.add_argument("--kafka-kills", type=int, default=300, help="on Apache Kafka (default: %(default)s)")
    chosen = parser.parse_args()
    commit = _said_by("git", "rev-parse", "--short=12", "HEAD")
    if _said_by("git", "status", "--porcelain", "--untracked-files=no"):
        parser.error("there are changes that are not committed: a record is of a commit")
    commands = [
        ["tests.faults.run", "--faults", str(chosen.faults)],
        ["vitne.dev", "soak", "--kills", str(chosen.kills)],
        ["vitne.dev", "soak", "--kills", str(chosen.kafka_kills), "--kafka", "apache"],
    ]
    began = datetime.now(UTC)
    outcomes = [_run(command) for command in commands]
    page = [
        "# The recorded run",
        "",
        f"Commit `{commit}`, begun {began:%Y-%m-%d %H:%M} UTC, on {os.cpu_count()} cores ({platform.machine()}), "
        f"Python {platform.python_version()}, by `make record`.",
        "[faults.md](faults.md) and [kills.md](kills.md) say what is done and checked.",
    ]
    for command, (code, seconds, lines) in zip(commands, outcomes, strict=True):
        page += ["", f"## `python -m {' '.join(command)}`", "", f"Ended with {code} after {seconds:.0f} s.", "", "```"]
        page += [*lines, "```"]
    PAGE.write_text("\n".join(page) + "\n")
    return max(code for code, _, _ in outcomes)


def _said_by(*command: str) -> str:
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


def _run(command: list[str]) -> tuple[int, float, list[str]]:
    """Run a module, show what it prints, and keep the table at the end of it."""
    began = time.monotonic()
    lines: list[str] = []
    with subprocess.Popen(
        [sys.executable, "-m", *command], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line.rstrip())
    kept = [line for line in lines if line and not any(mark in line for mark in PROGRESS)]
    return process.returncode, time.monotonic() - began, kept


if __name__ == "__main__":
    sys.exit(main())
