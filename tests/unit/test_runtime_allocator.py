"""What a service needed for a moment goes back to the system."""

from __future__ import annotations

import subprocess
import sys

import pytest

#: Derives keys of 16 MiB each in eight threads, and tells how much of that the process still has.
PROGRAM = """
import gc, hashlib, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from vitne.runtime.main import tune_allocator

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 >> 20

if sys.argv[1] == "tuned":
    tune_allocator()
before = resident()
with ThreadPoolExecutor(8) as threads:
    for _ in range(2):
        list(threads.map(lambda _: hashlib.scrypt(b"", salt=b"", n=2**14, r=8, p=1), range(8)))
    print(resident() - before)
"""


def kept(how: str) -> int:
    answer = subprocess.run(
        [sys.executable, "-c", PROGRAM, how], check=True, capture_output=True, text=True, timeout=60
    )
    return int(answer.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's malloc")
def test_what_threads_needed_for_a_moment_is_given_back() -> None:
    assert kept("tuned") < kept("untuned") / 2
