"""Child processes of the embedded stack: started, awaited, stopped in order, never left behind."""

from __future__ import annotations

import asyncio
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final

from vitne.dev import attached
from vitne.dev.nursery import Fork, Nursery
from vitne.errors import FailedPrecondition, Unavailable

#: How often a child is asked whether it is ready, or gone.
POLL_SECONDS: Final = 0.02
#: How much of a log an error shows.
TAIL_LINES: Final = 25
#: What a child gets to end by itself before it is killed.
STOP_SECONDS: Final = 10.0


async def run_module(
    module: str,
    arguments: Sequence[str],
    env: Mapping[str, str],
    stdin: bytes = b"",
    *,
    folder: Path | None = None,
    nursery: Nursery | None = None,
    before: Sequence[str] = (),
) -> tuple[int, bytes, bytes]:
    """Run ``python -m module`` to its end; answers its exit code, standard output and standard error.

    Args:
        module: what to run.
        arguments: of it.
        env: the whole environment.
        stdin: what it reads.
        folder: working folder; None keeps the present one.
        nursery: where it is forked off; not where the folder holds other sources.
        before: what runs the program, such as ``unshare``; only without a nursery.
    """
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        given.write(stdin)
        given.seek(0)
        streams = (given, output, errors)
        if nursery is not None:
            descriptors = given.fileno(), output.fileno(), errors.fileno()
            fork = nursery.start(module, arguments, env, descriptors, folder=folder)
            while (code := fork.poll()) is None:  # noqa: ASYNC110 - a process ends, and sets no event
                await asyncio.sleep(POLL_SECONDS)
        else:
            program = [*before, sys.executable, "-m", module, *arguments]
            started = await asyncio.create_subprocess_exec(
                *program, env=env, cwd=folder, stdin=given, stdout=output, stderr=errors
            )
            code = await started.wait()
        for stream in streams[1:]:
            stream.seek(0)
        return code, output.read(), errors.read()


class ManagedProcess:
    """One child process, in a process group of its own, with its output in a file.

    It dies with the thread that started it (Linux: ``PR_SET_PDEATHSIG``), so start
    it from the main thread. Ctrl-C in the terminal reaches only the parent, which
    stops its children in the order that it wants.

    Args:
        name: for messages.
        argv: the program and its arguments.
        env: the whole environment; None inherits this process's.
        log_path: where standard output and error go; appended to.
        cwd: working folder; None keeps the present one.
        stop_signal: asks the process to end.
        parent_death_signal: what it gets when this process dies.
        user_and_group: run as these ids instead (only root may).
        nursery: of ``python -m MODULE``: it is forked off there instead; not with other ids.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        env: Mapping[str, str] | None = None,
        log_path: Path = Path(os.devnull),
        *,
        cwd: Path | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
        parent_death_signal: signal.Signals = signal.SIGKILL,
        user_and_group: tuple[int, int] | None = None,
        nursery: Nursery | None = None,
    ) -> None:
        self.name = name
        self.argv = list(argv)
        self.log_path = log_path
        self._env = env
        self._cwd = cwd
        self._stop_signal = stop_signal
        self._parent_death_signal = parent_death_signal
        self._user_and_group = user_and_group
        self._nursery = nursery
        self._process: subprocess.Popen[bytes] | Fork | None = None
        self._log_start = 0

    @property
    def pid(self) -> int:
        """The process id.

        Raises:
            FailedPrecondition: ``NOT_STARTED``.
        """
        return self._started().pid

    @property
    def returncode(self) -> int | None:
        """How it ended (negative: by that signal), or None while it runs or before it started."""
        return None if self._process is None else self._process.poll()

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it (again, if it ended).

        Raises:
            FailedPrecondition: ``ALREADY_RUNNING``.
        """
        if self.running:
            raise FailedPrecondition("ALREADY_RUNNING", f"{self.name} runs already as process {self.pid}")
        with self.log_path.open("ab") as log:
            self._log_start = log.tell()
            self._process = self._forked(log) if self._nursery is not None else self._executed(log)

    async def wait_ready(self, check: Callable[[], Awaitable[bool]], timeout: float) -> None:  # noqa: ASYNC109 - part of the contract: the error names it
        """Return when ``check`` says true.

        Raises:
            Unavailable: ``PROCESS_ENDED`` when it ended, ``PROCESS_NOT_READY`` after
                ``timeout`` seconds; both with the end of its log.
        """
        process = self._started()
        deadline = time.monotonic() + timeout
        while not await check():
            if process.poll() is not None:
                raise Unavailable(
                    "PROCESS_ENDED",
                    f"{self.name} ended with {process.returncode} before it was ready\n{self.log_tail()}",
                    remedy=f"see {self.log_path}",
                )
            if time.monotonic() > deadline:
                raise Unavailable(
                    "PROCESS_NOT_READY",
                    f"{self.name} was not ready after {timeout:g} s\n{self.log_tail()}",
                    remedy=f"see {self.log_path}",
                )
            await asyncio.sleep(POLL_SECONDS)

    async def stop(self, timeout: float = STOP_SECONDS) -> int | None:  # noqa: ASYNC109 - past it the process is killed, no error is raised
        """Ask it to end, kill it after ``timeout`` seconds; returns how it ended, None if it never started."""
        if self._process is None:
            return None
        if self._process.poll() is None:
            self._process.send_signal(self._stop_signal)
        if await self._ended_within(timeout) is None:
            self.kill()
            self._process.wait()
        return self._process.returncode

    def kill(self) -> None:
        """End it and its process group at once."""
        if self._process is not None and self._process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    async def wait(self) -> int:
        """Return how it ended, once it has."""
        code = await self._ended_within(math.inf)
        assert code is not None  # noqa: S101 - nothing else ends an endless wait
        return code

    def log_tail(self, lines: int = TAIL_LINES) -> str:
        """The last lines that it wrote since it was started, indented."""
        try:
            with self.log_path.open("rb") as log:
                log.seek(self._log_start)
                text = log.read().decode(errors="replace")
        except OSError:
            return "  (no log)"
        return "\n".join(f"  | {line}" for line in text.splitlines()[-lines:]) or "  (it wrote nothing)"

    def _executed(self, log: BinaryIO) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [*attached.launcher(self._parent_death_signal, self._user_and_group or (-1, -1)), *self.argv],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=None if self._env is None else dict(self._env),
            cwd=self._cwd,
            process_group=0,
        )

    def _forked(self, log: BinaryIO) -> Fork:
        assert self._nursery is not None  # noqa: S101 - told to the type checker
        _python, _m, module, *arguments = self.argv
        with Path(os.devnull).open("rb") as nothing:
            return self._nursery.start(
                module,
                arguments,
                self._env,
                (nothing.fileno(), log.fileno(), log.fileno()),
                folder=self._cwd,
                parent_death_signal=self._parent_death_signal,
            )

    async def _ended_within(self, seconds: float) -> int | None:
        process = self._started()
        deadline = time.monotonic() + seconds
        while True:
            code = process.poll()
            if code is not None or time.monotonic() >= deadline:
                return code
            await asyncio.sleep(POLL_SECONDS)

    def _started(self) -> subprocess.Popen[bytes] | Fork:
        if self._process is None:
            raise FailedPrecondition("NOT_STARTED", f"{self.name} was not started")
        return self._process
