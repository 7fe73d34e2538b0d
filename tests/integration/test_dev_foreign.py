"""Programs that are not ours, run by a target: to their end, or to the end of our patience."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

import pytest

from tests.integration.test_dev_processes import alive
from vitne.dev.foreign import run_foreign
from vitne.dev.narrator import ExpectationFailed

#: Starts a child, says who both are, and waits for ever: as ``go run`` does with what it built.
HANGING = """
import os, subprocess, sys, time
from pathlib import Path
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
told = Path(sys.argv[1])
told.with_suffix(".new").write_text(f"{os.getpid()} {child.pid}")
told.with_suffix(".new").rename(told)
time.sleep(600)
"""


async def pids(told: Path) -> list[int]:
    async with asyncio.timeout(30):
        while not told.exists():
            await asyncio.sleep(0.02)
    return [int(pid) for pid in told.read_text().split()]


async def gone(processes: list[int]) -> None:
    async with asyncio.timeout(30):
        while any(alive(pid) for pid in processes):
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("read", [True, False])
async def test_one_that_hangs_is_ended_with_all_that_it_started(read: bool, tmp_path: Path) -> None:
    told, started = tmp_path / "pids", time.monotonic()
    with pytest.raises(ExpectationFailed, match="the wallet was not done after 3 s"):
        await run_foreign("the wallet", 3, sys.executable, "-c", HANGING, str(told), read=read)
    assert 3 <= time.monotonic() - started < 30
    await gone(await pids(told))


@pytest.mark.parametrize("read", [True, False])
async def test_what_it_left_running_is_ended_with_it(read: bool, tmp_path: Path) -> None:
    told, ending = tmp_path / "pids", HANGING.replace("time.sleep(600)\n", "print('read')")
    answer = await run_foreign("the wallet", 30, sys.executable, "-c", ending, str(told), read=read)
    assert answer == (b"read\n" if read else b"")
    await gone(await pids(told))


async def test_nothing_runs_on_for_which_nobody_waits(tmp_path: Path) -> None:
    told = tmp_path / "pids"
    running = asyncio.create_task(run_foreign("the wallet", 600, sys.executable, "-c", HANGING, str(told)))
    processes = await pids(told)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await gone(processes)


async def test_one_that_fails_is_told_by_its_code() -> None:
    with pytest.raises(ExpectationFailed, match="the wallet ended with 7"):
        await run_foreign("the wallet", 30, sys.executable, "-c", "raise SystemExit(7)")


async def test_what_it_writes_is_answered_to_who_asks(capfd: pytest.CaptureFixture[str]) -> None:
    command = [sys.executable, "-c", "print('read')"]
    assert await run_foreign("the wallet", 30, *command, read=True) == b"read\n"
    assert capfd.readouterr().out == ""
    assert await run_foreign("the wallet", 30, *command) == b""
    assert capfd.readouterr().out == "read\n"
