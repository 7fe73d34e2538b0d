"""Starts Python programs by forking a process that has imported them (:mod:`vitne.dev.forking`). Linux only."""

from __future__ import annotations

import atexit
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from vitne.dev import attached
from vitne.dev.forking import MESSAGE_BYTES
from vitne.errors import Unavailable

#: Whether this system has what it takes: descriptors of processes, and a signal at the parent's death.
SUPPORTED: Final = sys.platform == "linux"


class Fork:
    """A process that a nursery forked off; to its user what :class:`subprocess.Popen` is.

    Attributes:
        pid: process id; its process group is its own.
        returncode: how it ended (negative: by that signal); None before that was asked.
    """

    def __init__(self, channel: _Channel, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._channel = channel
        self._descriptor = os.pidfd_open(pid)
        self._ended = select.poll()
        self._ended.register(self._descriptor, select.POLLIN)

    def poll(self) -> int | None:
        """How it ended, or None while it runs."""
        return self._look(0)

    def wait(self) -> int:
        """Return how it ended, once it has."""
        code = self._look(None)
        assert code is not None  # noqa: S101 - nothing else ends the look
        return code

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.returncode is None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._descriptor, number)

    def _look(self, milliseconds: int | None) -> int | None:
        if self.returncode is None and self._ended.poll(milliseconds):
            try:
                self.returncode = self._channel.ask({"ended": self.pid})["code"]
            except Unavailable:  # The nursery is gone, and took it along.
                self.returncode = -signal.SIGKILL
            os.close(self._descriptor)
        return self.returncode


class Nursery:
    """Programs that are imported once, and forked off for each start.

    A program is a module whose ``__main__`` has ``main(arguments)``. What is forked off is a process like any other,
    with arguments, environment, folder and output of its own, and dies with the nursery; its command line in the
    system's list of processes is the nursery's. It dies with the thread that makes it, the main one therefore.

    Args:
        environment: what libraries read when they are imported, beside this process's own: ``SSL_CERT_FILE``.
    """

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with there:
            self._process = subprocess.Popen(
                [*attached.launcher(signal.SIGKILL), sys.executable, "-m", "vitne.dev.forking", str(there.fileno())],
                stdin=subprocess.DEVNULL,
                env={**os.environ, **(environment or {})},
                pass_fds=[there.fileno()],
                process_group=0,
            )
        self._channel = _Channel(here)
        self._opening = threading.Lock()
        self._programs: dict[str, _Channel] = {}

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def open(self, module: str) -> None:
        """Begin to import a program, once what all share is imported; for the second time, nothing.

        Raises:
            Unavailable: ``NURSERY_ENDED``.
        """
        with self._opening:
            if module not in self._programs:
                here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                with there:
                    self._channel.ask({"open": module}, [there.fileno()])
                self._programs[module] = _Channel(here)

    def start(
        self,
        module: str,
        arguments: Sequence[str],
        environment: Mapping[str, str] | None,
        streams: tuple[int, int, int],
        *,
        folder: Path | None = None,
        parent_death_signal: signal.Signals = signal.SIGKILL,
    ) -> Fork:
        """Run ``python -m module``; the first start of a module waits until it is imported.

        Args:
            module: what to run.
            arguments: of the program.
            environment: the whole of it; None: this process's.
            streams: descriptors of standard input, output and error.
            folder: working folder; None keeps the present one.
            parent_death_signal: what it gets when this process dies.

        Raises:
            Unavailable: ``NURSERY_ENDED``: the module can't be imported, or somebody ended the nursery.
        """
        self.open(module)
        channel = self._programs[module]
        order = {
            "run": list(arguments),
            "environment": dict(os.environ if environment is None else environment),
            "folder": "" if folder is None else str(folder),
            "signal": int(parent_death_signal),
        }
        return Fork(channel, channel.ask(order, streams)["pid"])

    def close(self) -> None:
        """End it, and what it forked off."""
        for channel in (self._channel, *self._programs.values()):
            channel.close()
        self._process.kill()
        self._process.wait()


class _Channel:
    """The way to a process that forks; one question at a time, whoever asks."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._asking = threading.Lock()

    def ask(self, message: dict[str, Any], descriptors: Sequence[int] = ()) -> dict[str, Any]:
        """Raises: Unavailable: ``NURSERY_ENDED``."""
        try:
            with self._asking:
                socket.send_fds(self._socket, [json.dumps(message).encode()], descriptors)
                answer = self._socket.recv(MESSAGE_BYTES)
        except OSError:
            answer = b""
        if not answer:
            raise Unavailable(
                "NURSERY_ENDED",
                "the process that programs are forked from has ended",
                remedy="what it said stands above",
            )
        told: dict[str, Any] = json.loads(answer)
        return told

    def close(self) -> None:
        """Nothing more is asked."""
        self._socket.close()


_shared: Final[dict[frozenset[tuple[str, str]], Nursery]] = {}


def shared_nursery(environment: Mapping[str, str] | None = None) -> Nursery | None:
    """The nursery of this process for all who need no other environment; it ends with the process.

    Several stacks, one after the other or side by side, import each program once.

    Args:
        environment: as :class:`Nursery` takes it.

    Returns:
        None where the system has not what it takes (:data:`SUPPORTED`).
    """
    if not SUPPORTED:
        return None
    key = frozenset((environment or {}).items())
    known = _shared.get(key)
    if known is None or not known.running:
        known = _shared[key] = Nursery(environment)
        atexit.register(known.close)
    return known
