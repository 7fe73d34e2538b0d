"""Fuzz every parser, guided by coverage: ``make fuzz``, ``make fuzz SECONDS=60``, ``make fuzz TARGET=elmo KEEP=1``.

Two targets at a time, each in a process of its own, which ends when it has computed for so many seconds, or after three
times as many by the clock: beside other work it takes longer, and may try less. A crash, or an input that takes longer
than :data:`HANG_SECONDS`, ends a target and is printed with the input; ends non-zero where there is one. ``--keep``
puts what reached new code into ``tests/fuzz/corpus``, which ``make test`` replays.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate
from pathlib import Path
from typing import Final

from tests.fuzz import kept
from tests.fuzz.seeds import SEEDS
from tests.fuzz.targets import TARGETS

#: Targets at a time.
PROCESSES: Final = 2
#: Longest that one input may take by the clock, in seconds: some thousand times what the slowest computes, since others
#: may leave this process little of the machine.
HANG_SECONDS: Final = 60
#: Seconds by the clock, for each of computing, after which a target ends.
PATIENCE: Final = 3
#: Seconds of computing of a process that ends by itself.
ENDLESS: Final = 0
#: Longest input, in bytes: beyond the largest of the seeds.
MAX_INPUT: Final = 16_384
#: Largest input that is kept, and how large those of a target may be together: replaying all takes about a second.
MAX_KEPT_BYTES: Final = 6_000
MAX_KEPT_TOGETHER: Final = 32_000

_MEMORY_MIB: Final = 2_048
_WORD: Final = re.compile(rb"[A-Za-z@_][A-Za-z0-9_:@+-]{2,30}")
_STATISTIC: Final = re.compile(r"stat::number_of_executed_units:\s+(\d+)")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=600, help="of computing, for each target")
    parser.add_argument("--target", choices=sorted(TARGETS), action="append", help="only this one")
    parser.add_argument("--keep", action="store_true", help="put what was found into the corpus")
    arguments = parser.parse_args()
    targets = arguments.target or sorted(TARGETS)
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(PROCESSES) as pool:
        runs = [pool.submit(fuzz, target, arguments.seconds, Path(folder) / target) for target in targets]
        held = [run.result() for run in runs]
        if arguments.keep:
            for target, fine in zip(targets, held, strict=True):
                if fine:
                    _keep(target, Path(folder) / target)
    return 0 if all(held) else 1


def fuzz(target: str, seconds: int, folder: Path) -> bool:
    """Fuzz one target; tells what came of it, and answers whether nothing was found."""
    kept.unpack([*SEEDS[target](), *kept.load(target)], folder / "seeds")
    (folder / "found").mkdir()
    words = {word for file in (folder / "seeds").iterdir() for word in _WORD.findall(file.read_bytes())}
    (folder / "words").write_text("".join(f'"{word.decode()}"\n' for word in sorted(words)), "ascii")
    ended = _child(
        target,
        folder,
        seconds,
        f"-max_total_time={seconds * PATIENCE}",
        f"-timeout={HANG_SECONDS}",
        f"-max_len={MAX_INPUT}",
        f"-rss_limit_mb={_MEMORY_MIB}",
        f"-dict={folder / 'words'}",
        f"-artifact_prefix={folder}/",
        "-print_final_stats=1",
        *(str(folder / name) for name in ("found", "seeds")),
    )
    executed = _STATISTIC.search(ended.stdout)
    count = int(executed.group(1)) if executed else 0
    fine = ended.returncode == 0
    found = len(list((folder / "found").iterdir()))
    print(f"{target}: {'ok' if fine else 'FAILED'}, {count:,} inputs, {found} reached new code", flush=True)
    if not fine:
        print(ended.stdout[-4000:], file=sys.stderr)
        for file in (*folder.glob("crash-*"), *folder.glob("timeout-*"), *folder.glob("oom-*")):
            print(f"{target}: the input is {file.read_bytes()!r}", file=sys.stderr, flush=True)
    return fine


def _keep(target: str, folder: Path) -> None:
    """Of all inputs, the smallest that reach all the code that any of them reaches."""
    known = kept.load(target)
    kept.unpack(known, folder / "known")
    (folder / "merged").mkdir()
    merging = _child(
        target, folder, ENDLESS, "-merge=1", *(str(folder / name) for name in ("merged", "known", "found"))
    )
    if merging.returncode or not any((folder / "merged").iterdir()):
        print(f"{target}: the corpus is left as it was, since the inputs could not be merged", file=sys.stderr)
        return
    # Seeds are made anew in each run, and need no keeping.
    seeds = set(SEEDS[target]())
    merged = [each for each in kept.packed(folder / "merged", MAX_KEPT_BYTES) if each not in seeds]
    together = accumulate(map(len, merged := sorted(merged, key=len)))
    kept.keep(target, [each for each, size in zip(merged, together, strict=True) if size <= MAX_KEPT_TOGETHER])


def _child(target: str, folder: Path, seconds: int, *flags: str) -> subprocess.CompletedProcess[str]:
    """The target's process, to its end. libFuzzer starts copies of it by the name of an executable: a script."""
    command = (sys.executable, "-m", "tests.fuzz.child")
    script = folder / "fuzz"
    script.write_text(f'#!/bin/sh\nexec {" ".join(command)} "$0" {target} {seconds} "$@"\n', "ascii")
    script.chmod(0o700)
    return subprocess.run(
        (*command, str(script), target, str(seconds), *flags),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
        env=os.environ | {"PYTHONPATH": str(Path.cwd()), "PYTHONHASHSEED": "0"},
    )


if __name__ == "__main__":
    raise SystemExit(main())
