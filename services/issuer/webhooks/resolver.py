"""Host names of endpoints are resolved apart from all others.

Whoever registers an endpoint chooses its name, and with it the name server that answers, or lets one wait. The event
loop resolves in threads that it shares with the whole process (uvloop: two for all names), so a few such names would
keep the issuer from its own database, broker and token issuer.
"""

from __future__ import annotations

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final

from aiohttp.abc import AbstractResolver, ResolveResult

#: Names that are resolved at once; further ones wait, as long as their attempts do.
THREADS: Final = 8
# What is answered are numbers: nothing is left to look up.
_FLAGS: Final = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV


class SeparateResolver(AbstractResolver):
    """The system's resolver, in threads of its own; :meth:`close` it.

    Args:
        threads: names that are resolved at once.
    """

    def __init__(self, threads: int = THREADS) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="webhook-names")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses of a host; see :class:`aiohttp.abc.AbstractResolver`.

        Raises:
            OSError: it has none, or nobody says so.
        """
        look_up = partial(
            socket.getaddrinfo, host, port, type=socket.SOCK_STREAM, family=family, flags=socket.AI_ADDRCONFIG
        )
        found = await asyncio.get_running_loop().run_in_executor(self._threads, look_up)
        return [
            ResolveResult(hostname=host, host=str(address[0]), port=port, family=kind, proto=protocol, flags=_FLAGS)
            for kind, _, protocol, _, address in found
        ]

    async def close(self) -> None:
        """Wait for nobody: what is being asked is answered to no one."""
        self._threads.shutdown(wait=False, cancel_futures=True)
