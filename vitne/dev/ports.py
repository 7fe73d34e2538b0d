"""Free ports on the loopback interface, and waiting for one to answer."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from pathlib import Path
from typing import Final

#: The only interface that the embedded stack listens on.
LOOPBACK: Final = "127.0.0.1"


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on at this moment.

    Another process may take it before it is used: whoever starts a server on it
    tries again with a new one when that happens.
    """
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """``count`` different free ports; all are held until the last is found, so that none repeats."""
    sockets = [socket.socket(socket.AF_INET, socket.SOCK_STREAM) for _ in range(count)]
    try:
        for each in sockets:
            each.bind((LOOPBACK, 0))
        return [int(each.getsockname()[1]) for each in sockets]
    finally:
        for each in sockets:
            each.close()


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
