"""PostgreSQL: the pool, its connections, and what becomes of a transaction that met another or an outage."""

from __future__ import annotations

import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Any, Final, TypeVar
from weakref import WeakSet

import asyncpg

from vitne.errors import Unavailable
from vitne.outages import CONFLICT, DATABASE_OUTAGES, SERVER_AWAY
from vitne.runtime.metrics import POOL_WAIT, watch_pool

#: Seconds that one statement may take before its connection is given up.
COMMAND_TIMEOUT_SECONDS: Final = 30.0
#: Seconds that a caller waits for a connection to be made.
CONNECT_TIMEOUT_SECONDS: Final = 10.0
#: Prepared statements kept for each connection: more than any service has.
STATEMENT_CACHE: Final = 256
#: How often an item that met another transaction is tried, alone.
ATTEMPTS: Final = 3

#: What asyncpg raises when a connection breaks, or the server starts, stops or has no room.
_CONNECTION_LOST: Final[tuple[type[Exception], ...]] = (
    *SERVER_AWAY,
    ConnectionError,
    TimeoutError,
    socket.gaierror,
)

R = TypeVar("R")


class PlainConnection(asyncpg.Connection):  # type: ignore[misc]  # asyncpg has no types
    """A connection that a pool takes back as it is; a transaction that is open is rolled back.

    Nobody here leaves anything in a session: settings are made when it begins, cursors end with their transactions,
    listeners there are none, and advisory locks of a session are given back
    (:func:`vitne.session_lock.session_lock`). Putting back what nobody changed would be a round trip each time, a
    fifth of all.

    Only where a statement failed or was given up is one made. A statement that is new is prepared first, and the server
    ends what it began for that with the execution: what ends in between leaves a transaction of which asyncpg knows
    nothing, and in which the next one's level of isolation could not be set.
    """

    _in_doubt = False

    async def _do_execute(self, *arguments: Any, **options: Any) -> Any:
        """What every way to a statement with parameters goes through; others are ended by the server itself."""
        try:
            return await super()._do_execute(*arguments, **options)
        except BaseException:
            self._in_doubt = True
            raise

    def get_reset_query(self) -> str:
        """Nothing, or the shortest that ends a transaction which was not begun by ``BEGIN``."""
        query, self._in_doubt = "SELECT 1" if self._in_doubt else "", False
        return query


class MeasuredPool(asyncpg.Pool):  # type: ignore[misc]  # asyncpg has no types
    """A pool that measures how long its users wait for a connection, and how many there are.

    Its connections go back as they are, see :class:`PlainConnection`.

    Args:
        dsn: ``postgresql://…``.
        name: of the database, as it is told.
        max_size: most connections.
        min_size: how many it keeps at rest.
        connect: what ``asyncpg.connect`` takes.
    """

    def __init__(self, dsn: str, *, name: str, max_size: int, min_size: int = 1, **connect: Any) -> None:
        # What create_pool would pass, but for the size.
        super().__init__(
            dsn,
            min_size=min_size,
            max_size=max_size,
            max_queries=50_000,
            max_inactive_connection_lifetime=300.0,
            connect=None,
            setup=None,
            init=None,
            reset=None,
            loop=None,
            connection_class=PlainConnection,
            record_class=asyncpg.Record,
            **connect,
        )
        self._name = name
        self._dsn, self._options = dsn, connect
        self._apart: WeakSet[Any] = WeakSet()
        self._ended = False
        watch_pool(self, name)

    async def connect_apart(self, *, statement_seconds: float = 0.0) -> Any:
        """A connection as the pool's, beside it: for what may not wait until another is given back.

        It ends with the pool at the latest, or by ``terminate()``.

        Args:
            statement_seconds: after which the server ends a statement by itself, whoever has gone by then; 0: never.

        Raises:
            asyncpg.InterfaceError: the pool has ended.
        """
        own = {"statement_timeout": f"{statement_seconds * 1000:.0f}"}
        settings = {**self._options, "server_settings": {**self._options.get("server_settings", {}), **own}}
        connection = await asyncpg.connect(self._dsn, connection_class=PlainConnection, **settings)
        if self._ended:
            connection.terminate()
            raise asyncpg.InterfaceError("the pool is closed")
        self._apart.add(connection)
        return connection

    async def close(self) -> None:
        """End all connections, the pool's once they are given back."""
        self._end_apart()
        await super().close()

    def terminate(self) -> None:
        """End all connections at once."""
        self._end_apart()
        super().terminate()

    def _end_apart(self) -> None:
        self._ended = True
        for connection in list(self._apart):
            connection.terminate()

    async def _acquire(self, timeout: float | None) -> Any:  # noqa: ASYNC109 - asyncpg's own
        """What every way to a connection goes through."""
        began = time.monotonic()
        try:
            return await super()._acquire(timeout)
        finally:
            POOL_WAIT.record(time.monotonic() - began, self._name)


async def open_pool(
    dsn: str, *, max_size: int = 10, name: str = "vitne", session: Mapping[str, str] = MappingProxyType({})
) -> Any:
    """An ``asyncpg.Pool`` whose sessions are in UTC.

    Args:
        dsn: ``postgresql://…``.
        max_size: most connections.
        name: what PostgreSQL shows as ``application_name``.
        session: further settings of each session, by PostgreSQL's names.

    Raises:
        Unavailable: ``DATABASE_UNAVAILABLE``.
    """
    try:
        return await MeasuredPool(
            dsn,
            name=name,
            max_size=max_size,
            command_timeout=COMMAND_TIMEOUT_SECONDS,
            timeout=CONNECT_TIMEOUT_SECONDS,
            statement_cache_size=STATEMENT_CACHE,
            server_settings={"timezone": "UTC", "application_name": name, **session},
        )
    except DATABASE_OUTAGES as error:
        raise unavailable() from error


def is_out_of_reach(error: Exception) -> bool:
    """Whether an exception says that the database is out of reach; whether a commit happened is then unknown."""
    if isinstance(error, asyncpg.InterfaceError):
        # Also raised for wrong arguments and misuse, which are faults of ours.
        return not isinstance(error, ValueError) and ("closed" in str(error) or "closing" in str(error))
    if isinstance(error, asyncpg.InternalClientError):  # A connection that a crash left half-way: DATABASE_OUTAGES.
        return True
    # Several addresses refused: asyncio raises plain OSError. Its other subclasses are about files.
    return isinstance(error, _CONNECTION_LOST) or type(error) is OSError


@asynccontextmanager
async def one_snapshot(connection: Any) -> AsyncIterator[None]:
    """A transaction that reads all as at one moment, and writes nothing.

    The level of isolation can be set only before anything was looked at, and a statement that was prepared for whoever
    had the connection before, and then not run, has looked. So what it may have left is ended first.
    """
    await connection.execute("SELECT 1")
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        yield


async def repeated(pool: Any, work: Callable[[Any], Awaitable[R]]) -> R:
    """Do work in a transaction, and again, at most :data:`ATTEMPTS` times in all, where it met another one.

    Args:
        pool: of asyncpg.
        work: is given the connection; a transaction that met another one left nothing of it.

    Raises:
        Exception: what ``work`` raises; of :data:`CONFLICT` the last.
    """
    attempt = 1
    while True:
        try:
            async with pool.acquire() as connection, connection.transaction():
                return await work(connection)
        except CONFLICT:
            if attempt == ATTEMPTS:
                raise
            attempt += 1


def unavailable() -> Unavailable:
    """What callers are told when the database is out of reach; a new exception for each."""
    return Unavailable(
        "DATABASE_UNAVAILABLE", "the database is out of reach", remedy="try again, with the same request"
    )
