"""The embedded PostgreSQL: creation, restart, crash, and never left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import asyncpg
import pytest

from vitne.dev import postgres as postgres_module
from vitne.dev.postgres import EmbeddedPostgres
from vitne.errors import FailedPrecondition, InvalidArgument


@pytest.fixture(scope="module")
def folder(stack_folder: Path) -> Path:
    """One cluster that all start and stop: making one takes longer than any of that."""
    return stack_folder / "started-again-and-again"


async def _fetch(dsn: str, query: str) -> object:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def _gone(pid: int, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while _alive(pid) and time.monotonic() < deadline:
        await asyncio.sleep(0.05)
    return not _alive(pid)


async def test_data_survives_a_restart_and_the_second_start_is_quick(folder: Path) -> None:
    async with EmbeddedPostgres(folder) as server:
        dsn = await server.create_database("ledger")
        await _fetch(dsn, "CREATE TABLE t AS SELECT 42 AS n")
        first = server.pid
    assert not _alive(first)
    started = time.monotonic()
    async with EmbeddedPostgres(folder) as server:
        assert time.monotonic() - started < 5  # some 60 ms on an idle machine
        assert await server.create_database("ledger") == server.dsn("ledger")
        assert await _fetch(server.dsn("ledger"), "SELECT n FROM t") == 42


async def test_settings_are_durable_utf8_and_bytewise_sorted(postgres: EmbeddedPostgres, folder: Path) -> None:
    async with EmbeddedPostgres(folder) as server:
        dsn = server.dsn("postgres")
        assert await _fetch(dsn, "SHOW fsync") == "on"
        assert await _fetch(dsn, "SHOW server_encoding") == "UTF8"
        assert await _fetch(dsn, "SELECT 'Z' < 'a' AND 'z' < 'ø'") is True
        assert await _fetch(dsn, "SELECT upper('fødselsår')") == "FØDSELSÅR"
        assert await _fetch(dsn, "SHOW max_connections") == "200"


async def test_it_asks_for_the_password_and_listens_on_loopback_only(postgres: EmbeddedPostgres) -> None:
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(f"postgresql://vitne:wrong@127.0.0.1:{postgres.port}/postgres?sslmode=disable")
    assert await _fetch(postgres.dsn("postgres"), "SHOW listen_addresses") == "127.0.0.1"


async def test_it_recovers_from_a_crash_with_the_lock_file_left_behind(folder: Path) -> None:
    server = EmbeddedPostgres(folder)
    await server.start()
    await _fetch(server.dsn("postgres"), "CREATE TABLE t AS SELECT 7 AS n")
    server.kill()
    assert (folder / "data" / "postmaster.pid").exists()
    async with EmbeddedPostgres(folder) as again:
        assert await _fetch(again.dsn("postgres"), "SELECT n FROM t") == 7


async def test_a_lock_file_that_names_a_foreign_process_does_not_hinder(folder: Path) -> None:
    async with EmbeddedPostgres(folder):
        pass
    (folder / "data" / "postmaster.pid").write_text(f"{os.getppid()}\n{folder / 'data'}\n0\n5432\n\n127.0.0.1\n0 0\n")
    async with EmbeddedPostgres(folder) as server:
        assert await _fetch(server.dsn("postgres"), "SELECT 1") == 1


async def test_two_servers_never_share_a_folder(folder: Path) -> None:
    async with EmbeddedPostgres(folder):
        with pytest.raises(FailedPrecondition, match="ALREADY_RUNNING"):
            await EmbeddedPostgres(folder).start()


async def test_names_that_would_need_quoting_are_refused(postgres: EmbeddedPostgres) -> None:
    with pytest.raises(InvalidArgument, match="BAD_DATABASE_NAME"):
        await postgres.create_database('x"; DROP TABLE y; --')


async def test_it_ends_when_its_parent_is_killed(folder: Path) -> None:
    program = textwrap.dedent(
        """
        import asyncio, sys
        from pathlib import Path
        from vitne.dev.postgres import EmbeddedPostgres
        async def main():
            async with EmbeddedPostgres(Path(sys.argv[1])) as server:
                print(server.pid, flush=True)
                await asyncio.sleep(60)
        asyncio.run(main())
        """
    )
    with subprocess.Popen([sys.executable, "-c", program, str(folder)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(await asyncio.to_thread(parent.stdout.readline))
        assert _alive(pid)
        parent.send_signal(signal.SIGKILL)
    assert await _gone(pid, 10)


@pytest.fixture
def without_namespaces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_module, "_namespaces_work", lambda: False)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become somebody else")
@pytest.mark.usefixtures("without_namespaces")
async def test_root_becomes_nobody_where_namespaces_are_forbidden(stack_folder: Path) -> None:
    folder = stack_folder / "of-nobody"
    try:
        server = EmbeddedPostgres(folder)
        await server.start()
    except Exception as error:
        if "ermission denied" in str(error):
            pytest.skip("the interpreter or the wheel is in a folder that nobody can't read")
        raise
    try:
        assert await _fetch(server.dsn("postgres"), "SELECT 1") == 1
        assert Path(f"/proc/{server.pid}").stat().st_uid != 0
    finally:
        await server.stop()
