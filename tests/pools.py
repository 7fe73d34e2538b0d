"""Databases of tests, on a machine that may be busy with everything else."""

from __future__ import annotations

from typing import Any, Final

from vitne.errors import Unavailable
from vitne.runtime.database import open_pool

#: How often a session is begun that took longer than a service waits for one.
_TRIES: Final = 6


async def opened_pool(dsn: str, *, max_size: int = 10) -> Any:
    """A pool; that the machine took longer than :data:`~vitne.runtime.database.CONNECT_TIMEOUT_SECONDS` is no finding.

    Raises:
        Unavailable: ``DATABASE_UNAVAILABLE``, a minute long.
    """
    for _ in range(_TRIES - 1):
        try:
            return await open_pool(dsn, max_size=max_size)
        except Unavailable:
            continue
    return await open_pool(dsn, max_size=max_size)
