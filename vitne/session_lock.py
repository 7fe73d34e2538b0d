"""PostgreSQL's advisory locks of a session, given back by whoever took them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from vitne.outages import DATABASE_OUTAGES


@asynccontextmanager
async def session_lock(connection: Any, key: int) -> AsyncIterator[bool]:
    """Try to take a lock; answers whether it was free. In the end it is given back, or goes with its connection.

    A pool takes connections back as they are (:class:`vitne.runtime.database.MeasuredPool`), so nobody else would.
    """
    try:
        taken: bool = await connection.fetchval("SELECT pg_try_advisory_lock($1)", key)
    except BaseException:
        # Whether the server took it before the answer was given up is not known, and a rollback would not release it.
        connection.terminate()
        raise
    try:
        yield taken
    finally:
        if taken:
            await _give_back(connection, key)


async def _give_back(connection: Any, key: int) -> None:
    try:
        await connection.execute("SELECT pg_advisory_unlock($1)", key)
    except DATABASE_OUTAGES:
        # With whatever its session still holds. A pool may have found it broken and taken it back: then it is gone,
        # and to say so would be to lose the error, or the end, that brought us here.
        with suppress(*DATABASE_OUTAGES):
            connection.terminate()
    except BaseException:
        connection.terminate()
        raise
