"""Free ports on the loopback interface, and waiting for one to answer."""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from functools import cache
from itertools import chain, cycle
from pathlib import Path
from typing import Final

#: The only interface that the embedded stack listens on.
LOOPBACK: Final = "127.0.0.1"
#: The lowest port that is given out: below are those that servers of a machine's own like to have.
LOWEST_PORT: Final = 12_000
#: Where Linux says which ports it gives to who asks for any, whether to listen or to call somebody.
_SYSTEMS_OWN: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
_SYSTEMS_LOWEST: Final = 32_768


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on at this moment.

    Another process may take it before it is used, so whoever starts a server on it alone
    tries again with a new one when that happens. It is none of those that the system
    gives out, which would happen often where much runs at once, and a process is given
    none twice.
    """
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """``count`` different free ports, see :func:`free_port`."""
    with ExitStack() as held:
        found: list[int] = []
        for port in _ports():
            listener = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            with suppress(OSError):
                listener.bind((LOOPBACK, port))
                found.append(port)
            if len(found) == count:
                break
        return found


@cache
def _ports() -> Iterator[int]:
    """Ports to try, round and round. One for the process, which begins where no other is likely to."""
    try:
        end = int(_SYSTEMS_OWN.read_text().split()[0])
    except FileNotFoundError:
        end = _SYSTEMS_LOWEST
    if end <= LOWEST_PORT:  # It gives out nearly all.
        end = _SYSTEMS_LOWEST
    begin = LOWEST_PORT + secrets.randbelow(end - LOWEST_PORT)
    return cycle(chain(range(begin, end), range(LOWEST_PORT, begin)))


def listens(pid: int, port: int) -> bool:
    """Whether it is this process that listens on the port: another may have been quicker to take it.

    Where the system does not tell (there is no ``/proc``), the answer is yes.
    """
    try:
        # Columns: number, local address, remote address, state (0A: listening), ..., inode at index 9.
        rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    except FileNotFoundError:
        return True
    sockets = {f"socket:[{row[9]}]" for row in rows if row[3] == "0A" and int(row[1].partition(":")[2], 16) == port}
    try:
        return any(str(entry.readlink()) in sockets for entry in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return False


async def answers(port: int, host: str = LOOPBACK) -> bool:
    """Whether something accepts TCP connections on the port."""
    try:
        _, writer = await asyncio.open_connection(host, port)
    except OSError:
        return False
    writer.close()
    with suppress(OSError):  # It answered; how it hung up does not matter.
        await writer.wait_closed()
    return True
