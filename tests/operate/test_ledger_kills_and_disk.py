"""What is done to a ledger from outside: SIGKILL before each statement of a batch, and a disk without room."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import asyncpg
import pytest

from tests.integration.ledger_harness import make_ledger
from tests.integration.ledger_leaves import check_log, extends, leaves, queue
from vitne.clock import SystemClock
from vitne.dev.nursery import shared_nursery
from vitne.dev.processes import run_module

#: Leaves that wait when a sequencer is killed.
GROUP = 100


async def run(*command: str) -> tuple[int, str]:
    """A command's exit code and what it printed."""
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode()


@pytest.mark.timeout(600)
async def test_a_sequencer_that_is_killed_before_any_statement_leaves_a_whole_log(
    database_dsn: str, pool: asyncpg.Pool, tmp_path: Path
) -> None:
    ledger = await make_ledger(database_dsn, pool, SystemClock(), tmp_path)
    await ledger.sequencer().claim()
    known = await ledger.checkpoint()
    step, code = 0, -signal.SIGKILL
    while code == -signal.SIGKILL:
        await queue(ledger, leaves(step * GROUP, GROUP))
        told = [database_dsn, str(tmp_path), str(step)]
        code, _, errors = await run_module("tests.operate.killed", told, os.environ, nursery=shared_nursery())
        known = await extends(ledger, known)
        other = ledger.replica().sequencer()
        await other.claim()
        await other.integrate()
        known = await extends(ledger, known)
        step += 1
        assert known.size == step * GROUP
    assert code == 0, errors.decode()
    await check_log(ledger, leaves(0, step * GROUP))
    assert step > 15, "claiming and integrating are that many statements and commits"


@pytest.mark.timeout(300)
async def test_a_full_disk_loses_doubles_and_contradicts_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "disk"
    folder.mkdir()
    tmp_path.chmod(0o755)
    # A mount of our own, which ends with the process; who is not root is so in a namespace of users.
    alone = ["unshare", "--mount", *(() if os.geteuid() == 0 else ("--user", "--map-root-user"))]
    code, output = await run(*alone, sys.executable, "-m", "tests.operate.full_disk", str(folder))
    assert code == 0, output
    assert "every one once" in output
