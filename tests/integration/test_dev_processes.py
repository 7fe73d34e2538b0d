"""Child processes of the embedded stack."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from unittest import mock

import pytest

from vitne.dev.ports import answers, free_port, free_ports
from vitne.dev.processes import ManagedProcess
from vitne.errors import FailedPrecondition, Unavailable

STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"


def python(tmp_path: Path, program: str, **options: object) -> ManagedProcess:
    return ManagedProcess("the child", [sys.executable, "-c", program], None, tmp_path / "log", **options)  # type: ignore[arg-type]  # passed on as they are


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def has_written(process: ManagedProcess, text: str) -> bool:
    return text in process.log_tail()


async def test_a_server_is_awaited_and_stopped(tmp_path: Path) -> None:
    port = free_port()
    process = python(
        tmp_path, f"import http.server as h; h.test(h.SimpleHTTPRequestHandler, port={port}, bind='127.0.0.1')"
    )
    assert not await answers(port)
    process.start()
    await process.wait_ready(lambda: answers(port), 10)
    assert process.running
    assert await process.stop() == process.returncode == -signal.SIGTERM
    assert not await answers(port)


async def test_the_environment_is_the_one_that_is_given(tmp_path: Path) -> None:
    process = ManagedProcess(
        "the child", [sys.executable, "-c", "import os; print(sorted(os.environ))"], {"ONLY": "this"}, tmp_path / "log"
    )
    process.start()
    assert await process.wait() == 0
    assert "ONLY" in process.log_tail()
    assert "HOME" not in process.log_tail()


async def test_one_that_ends_early_says_why(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("of an earlier run\n")
    process = python(tmp_path, "raise SystemExit('the port is taken')")
    process.start()
    with pytest.raises(Unavailable, match="the port is taken") as caught:
        await process.wait_ready(lambda: answers(1), 10)
    assert caught.value.reason == "PROCESS_ENDED"
    assert "earlier run" not in str(caught.value)
    assert process.returncode == 1


async def test_one_that_never_gets_ready_is_reported(tmp_path: Path) -> None:
    process = python(tmp_path, STUBBORN)
    process.start()
    try:
        with pytest.raises(Unavailable, match="PROCESS_NOT_READY"):
            await process.wait_ready(lambda: answers(1), 0.1)
    finally:
        process.kill()


async def test_one_that_does_not_listen_is_killed(tmp_path: Path) -> None:
    process = python(tmp_path, STUBBORN)
    process.start()
    await process.wait_ready(lambda: has_written(process, "up"), 10)
    assert await process.stop(timeout=0.1) == -signal.SIGKILL


async def test_it_starts_once_at_a_time_and_may_start_again(tmp_path: Path) -> None:
    process = python(tmp_path, "import time; time.sleep(60)")
    with pytest.raises(FailedPrecondition, match="NOT_STARTED"):
        _ = process.pid
    assert await process.stop() is None
    process.start()
    with pytest.raises(FailedPrecondition, match="ALREADY_RUNNING"):
        process.start()
    first = process.pid
    process.kill()
    assert process.returncode == -signal.SIGKILL
    process.start()
    assert process.pid != first
    await process.stop()


async def test_it_dies_with_its_parent(tmp_path: Path) -> None:
    program = textwrap.dedent(
        f"""
        import sys, time
        from pathlib import Path
        from vitne.dev.processes import ManagedProcess
        child = ManagedProcess("the child", [sys.executable, "-c", {STUBBORN!r}], None, Path({str(tmp_path / "log")!r}))
        child.start()
        print(child.pid, flush=True)
        time.sleep(60)
        """
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(await asyncio.to_thread(parent.stdout.readline))
        assert os.getpgid(pid) == pid
        parent.kill()
    deadline = time.monotonic() + 10
    while alive(pid) and time.monotonic() < deadline:
        await asyncio.sleep(0.02)
    assert not alive(pid)


def test_free_ports_differ_and_none_is_given_twice() -> None:
    assert len({*free_ports(50), *free_ports(50)}) == 100


def test_free_ports_are_none_that_the_system_gives_out() -> None:
    """Else whoever listens on any port, or calls somebody, may get one before the server for which it was found."""
    first, last = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    assert not [port for port in free_ports(50) if first <= port <= last]


def test_a_port_that_is_in_use_is_passed_over() -> None:
    with socket.create_server(("127.0.0.1", free_port())) as server:
        taken = server.getsockname()[1]
        with mock.patch("vitne.dev.ports._ports", return_value=iter([taken, taken, free_port()])):
            assert free_port() != taken
