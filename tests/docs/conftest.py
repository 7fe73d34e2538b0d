"""`make up`, in a checkout of its own, as the pages tell a reader to start it."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest

from tests.docs.pages import ROOT

#: Last line of what `make up` says once it runs, and what it says at its end.
RUNNING, STOPPED = "Ctrl-C ends it.", "Stopped."
#: Seconds that it gets for either.
PATIENCE = 240.0


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.stack)
            # The first of them waits for all services to start.
            item.add_marker(pytest.mark.timeout(300))


@dataclass(frozen=True)
class Shell:
    """A reader's shell, in the folder of a checkout in which `make up` runs in another."""

    folder: Path

    async def run(self, script: str, **variables: str) -> tuple[int, str]:
        """Type a script; its exit code and all that it printed."""
        process = await asyncio.create_subprocess_exec(
            *("bash", "-euo", "pipefail", "-c", script),
            cwd=self.folder,
            env=_environment() | variables,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        assert process.returncode is not None
        return process.returncode, output.decode(errors="replace")

    async def database(self, service: str) -> asyncpg.Connection:
        """A service's database, as its commands find it; close it."""
        code, dsn = await self.run(f'. .vitne/up/{service}.environment; printf %s "$VITNE_DATABASE_DSN"')
        assert code == 0
        return await asyncpg.connect(dsn)


@pytest.fixture(scope="session")
async def shell(stack_folder: Path) -> AsyncIterator[Shell]:
    folder = stack_folder / "checkout"
    folder.mkdir()
    for entry in ROOT.iterdir():
        # State and what examples write belong to whoever works in this checkout.
        if entry.name not in {".vitne", ".git"}:
            (folder / entry.name).symlink_to(entry)
    process = await asyncio.create_subprocess_exec(
        *("make", "up"), cwd=folder, env=_environment(), stdout=asyncio.subprocess.PIPE, start_new_session=True
    )
    try:
        await _says(process, RUNNING)
        yield Shell(folder)
    finally:
        # As Ctrl-C does it: to make and to what it started.
        os.killpg(process.pid, signal.SIGINT)
        said = await _says(process, STOPPED)
        await process.wait()
    assert STOPPED in said
    assert not list((folder / ".vitne" / "up").glob("*environment")), "addresses of nothing"


async def _says(process: asyncio.subprocess.Process, text: str) -> str:
    """Read on to the line that holds a text."""
    assert process.stdout is not None
    said = ""
    async with asyncio.timeout(PATIENCE):
        while text not in said:
            line = (await process.stdout.readline()).decode()
            assert line, said
            said += line
    return said


def _environment() -> dict[str, str]:
    """What is not of a run of make's before."""
    ours = ("VITNE_", "MAKE", "PYTHONPATH", "KAFKA", "TLS")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}
