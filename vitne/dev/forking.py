"""A process that imports a program once and forks it off for each start: ``python -m vitne.dev.forking DESCRIPTOR``.

Most of what a service needs to start is the import of its libraries, a second of computing. Who starts services again
and again (:mod:`vitne.dev.nursery`) speaks to this process over the socket that it inherits, one JSON object a message
with the descriptors that go with it:

* ``{"open": MODULE}`` and a socket: a fork that imports ``MODULE.__main__`` serves that socket. One for each module,
  since what a module declares when it is imported, its metrics for one, is seen in the process.
* ``{"run": ARGUMENTS, "environment": {…}, "folder": PATH, "signal": NUMBER}`` and standard input, output and error: a
  fork runs ``main(ARGUMENTS)`` of that module; answered is ``{"pid": NUMBER}``. It dies with this process.
* ``{"ended": PID}``: answered is ``{"code": NUMBER}``, as :attr:`subprocess.Popen.returncode`, once it has ended.

It has one thread and opens nothing, so that a fork is as good as a new process.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from vitne.dev.attached import PR_SET_PDEATHSIG

#: ``prctl(2)``: the name that ``top`` and ``ps -e`` show, of 15 bytes.
PR_SET_NAME: Final = 15

#: What all services stand on, and what declares nothing of Vitne's own.
COMMON: Final = (
    "aiohttp",
    "aiokafka",
    "asyncpg",
    "cryptography.x509",
    "fastapi",
    "google.rpc.error_details_pb2",
    "grpc.aio",
    "jinja2",
    "joserfc.jwt",
    "lxml.etree",
    "opentelemetry.sdk.trace.export",
    "prometheus_client",
    "pydantic_settings",
    "uvicorn",
    "uvloop",
)
#: Longest message: an environment, mostly.
MESSAGE_BYTES: Final = 1 << 17
#: Descriptors that come with one, at most.
DESCRIPTORS: Final = 3

#: What a fork becomes.
Program = Callable[[], Any]


def serve(channel: socket.socket, program: Callable[[list[str]], Any] | None = None) -> Program | None:
    """Answer until the other end is closed; in a fork, return at once what it is to become.

    Args:
        channel: ``SOCK_SEQPACKET``.
        program: what ``run`` runs; without it only ``open`` is understood.
    """
    while True:
        message, descriptors, _flags, _address = socket.recv_fds(channel, MESSAGE_BYTES, DESCRIPTORS)
        if not message:
            return None
        asked: dict[str, Any] = json.loads(message)
        answer: dict[str, Any] = {}
        if "ended" in asked:
            _pid, status = os.waitpid(asked["ended"], 0)
            answer["code"] = os.waitstatus_to_exitcode(status)
        else:
            answer["pid"] = os.fork()
            if not answer["pid"]:
                channel.close()
                if program is None:
                    return _opened(asked["open"], descriptors[0])
                return _prepared(program, asked, descriptors)
            if program is not None:  # Here, too: whoever is answered may signal the group at once.
                with suppress(ProcessLookupError):
                    os.setpgid(answer["pid"], answer["pid"])
        for descriptor in descriptors:
            os.close(descriptor)
        channel.send(json.dumps(answer).encode())


def _opened(module: str, descriptor: int) -> Program:
    _attach(signal.SIGKILL, f"import {module.rpartition('.')[2]}")

    def become() -> Program | None:
        main = importlib.import_module(f"{module}.__main__").main
        gc.freeze()
        with socket.socket(fileno=descriptor) as channel:
            return serve(channel, main)

    return become


def _prepared(program: Callable[[list[str]], Any], asked: dict[str, Any], descriptors: list[int]) -> Program:
    _attach(asked["signal"], program.__module__.split(".")[-2])
    os.setpgid(0, 0)
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    if asked["folder"]:
        os.chdir(asked["folder"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    gc.enable()

    def become() -> None:
        raise SystemExit(program(asked["run"]))

    return become


def _attach(number: int, name: str) -> None:
    """Have a name, and a signal when the parent dies."""
    parent = os.getppid()
    library = ctypes.CDLL(None, use_errno=True)
    library.prctl(PR_SET_NAME, name.encode()[:15], 0, 0, 0)
    library.prctl(PR_SET_PDEATHSIG, number, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)  # It died before: no signal will come.


def main(arguments: list[str]) -> None:
    """Serve the socket that is inherited; a fork goes on with what it is to become, on a stack without the loop's."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Who started this ends it.
    for module in COMMON:
        importlib.import_module(module)
    with socket.socket(fileno=int(arguments[0])) as channel:
        program = serve(channel)
    while program is not None:
        program = program()


if __name__ == "__main__":
    main(sys.argv[1:])
