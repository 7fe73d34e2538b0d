"""TLS before the embedded PostgreSQL, whose binaries are built without it.

What a client sees is PostgreSQL's own: it asks for TLS (SSLRequest), is told ``S``, shakes hands, and speaks the
protocol from then on (PostgreSQL's documentation, section 54.2.11). Whoever does not ask is turned away, as
``hostssl`` would do it. Behind it everything goes on over loopback, inside one machine.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Final

from vitne.dev.ports import LOOPBACK

#: ``SSLRequest``: its length, then 80877103.
SSL_REQUEST: Final = bytes.fromhex("0000000804d2162f")
#: "Go on with TLS."
_GO_ON: Final = b"S"
#: Seconds in which a client has to ask, and to shake hands.
HANDSHAKE_SECONDS: Final = 10.0
_CHUNK: Final = 64 * 1024


class DatabaseFront:
    """Listens on loopback and leads who asks for TLS to the server behind; runs while the context lasts.

    Args:
        context: a server's; of :func:`~vitne.runtime.tls.server_context`, so that certificates may be replaced.
        behind: answers the port of PostgreSQL, which is another one after it was started anew.
    """

    def __init__(self, context: ssl.SSLContext, behind: Callable[[], int]) -> None:
        self._context = context
        self._behind = behind
        self._server: asyncio.Server | None = None
        self._sessions: set[asyncio.Task[None]] = set()
        #: Where it listens, once it does.
        self.port = 0

    async def __aenter__(self) -> DatabaseFront:
        self._server = await asyncio.start_server(self._serve, LOOPBACK, 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None  # noqa: S101 - it was entered
        self._server.close()
        for session in self._sessions:
            session.cancel()
        await asyncio.gather(*self._sessions, return_exceptions=True)
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        session = asyncio.current_task()
        assert session is not None  # noqa: S101 - a coroutine that runs is a task's
        self._sessions.add(session)
        session.add_done_callback(self._sessions.discard)
        try:
            async with asyncio.timeout(HANDSHAKE_SECONDS):
                if await reader.readexactly(len(SSL_REQUEST)) != SSL_REQUEST:
                    return
                writer.write(_GO_ON)
                await writer.start_tls(self._context)
                server_reader, server_writer = await asyncio.open_connection(LOOPBACK, self._behind())
        except (OSError, EOFError, TimeoutError):  # the client's trouble, or PostgreSQL is down: it sees its end
            return
        else:
            await _both_ways(reader, writer, server_reader, server_writer)
        finally:
            _abort(writer)


def _abort(writer: asyncio.StreamWriter) -> None:
    """End a connection at once; one that TLS has ended already has no socket to end any more."""
    with suppress(AttributeError):  # out of asyncio itself, as seen with Python 3.11.2
        writer.transport.abort()


async def _both_ways(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    server_reader: asyncio.StreamReader,
    server_writer: asyncio.StreamWriter,
) -> None:
    """Copy until one end is done; then the other is ended, too, as a crash of either must show at once."""
    copies = [
        asyncio.create_task(_copy(reader, server_writer)),
        asyncio.create_task(_copy(server_reader, writer)),
    ]
    try:
        await asyncio.wait(copies, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for copy in copies:
            copy.cancel()
        await asyncio.gather(*copies, return_exceptions=True)
        _abort(server_writer)


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await source.read(_CHUNK):
            sink.write(data)
            await sink.drain()
        # What was said last, such as why a session is ended, arrives.
        sink.close()
        await sink.wait_closed()
