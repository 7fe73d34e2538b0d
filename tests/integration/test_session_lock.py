"""Advisory locks of a session: given back by whoever took them, since the pool takes connections back as they are."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from vitne.runtime.database import open_pool
from vitne.session_lock import session_lock

KEY = 4711


@pytest.fixture
async def pool(database_dsn: str) -> AsyncIterator[asyncpg.Pool]:
    """As services have it: with :class:`vitne.runtime.database.PlainConnection`."""
    pool = await open_pool(database_dsn, max_size=2)
    yield pool
    pool.terminate()


async def is_free(pool: asyncpg.Pool, seconds: float) -> bool:
    """Whether another session gets the lock, within a time: a server learns a little later that a session ended."""
    deadline = time.monotonic() + seconds
    async with pool.acquire() as other:
        while True:
            async with session_lock(other, KEY) as taken:
                if taken or time.monotonic() > deadline:
                    return taken
            await asyncio.sleep(0.01)


class Late:
    """A connection whose server does what it is asked, and whose answers nobody waits for."""

    def __init__(self, connection: Any, error: BaseException) -> None:
        self._connection = connection
        self._error = error

    async def fetchval(self, query: str, *arguments: Any) -> Any:
        await self._connection.fetchval(query, *arguments)
        raise self._error

    def terminate(self) -> None:
        self._connection.terminate()


async def test_a_lock_is_free_again_when_its_holder_is_done_or_fails(pool: asyncpg.Pool) -> None:
    async with pool.acquire() as connection:
        async with session_lock(connection, KEY) as taken:
            assert taken
            assert not await is_free(pool, 0)
        assert await is_free(pool, 0)
        with pytest.raises(ZeroDivisionError):
            async with session_lock(connection, KEY):
                raise ZeroDivisionError
        assert await is_free(pool, 0)


@pytest.mark.parametrize("error", [TimeoutError(), asyncio.CancelledError()], ids=["timeout", "cancelled"])
async def test_a_lock_of_which_no_answer_told_goes_with_its_connection(
    pool: asyncpg.Pool, error: BaseException
) -> None:
    with pytest.raises(type(error)):
        async with pool.acquire() as connection, session_lock(Late(connection, error), KEY):
            pytest.fail("nobody knows whether it was taken")
    # In the pool it would stay for as long as the process lives, and nobody could lead.
    async with pool.acquire() as one:
        assert await is_free(pool, 60)
        async with session_lock(one, KEY) as taken:
            assert taken


async def test_who_is_ended_after_the_connection_broke_ends(pool: asyncpg.Pool) -> None:
    holds = asyncio.Event()
    held: list[Any] = []

    async def hold() -> None:
        async with pool.acquire() as connection, session_lock(connection, KEY):
            held.append(connection)
            holds.set()
            await asyncio.Event().wait()

    holding = asyncio.create_task(hold())
    await holds.wait()
    pid = held[0].get_server_pid()
    async with pool.acquire() as other:
        await other.fetchval("SELECT pg_terminate_backend($1, 5000)", pid)
    await asyncio.sleep(0.2)  # the pool finds it broken, and takes it back
    holding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await holding
