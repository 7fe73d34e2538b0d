"""Says every two seconds which revision is the newest: silence is not freshness.

It goes through the outbox, on the same road as the facts: it needs no second
producer, it is ordered after every fact that it counts, and a road that is cut falls
silent instead of telling that all is well. The price is a small row every two
seconds, which the relay prunes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

from services.registry import store
from vitne.clock import Clock
from vitne.runtime.database import is_out_of_reach

_log = logging.getLogger(__name__)


class Heartbeat:
    """Writes heartbeats; of several replicas, one each time.

    Args:
        pool: the registry's database.
        clock: tells when.
        new_id: makes UUIDv7.
        seconds: between two heartbeats.
    """

    def __init__(self, pool: Any, clock: Clock, new_id: Callable[[], UUID], seconds: float) -> None:
        self._pool = pool
        self._clock = clock
        self._new_id = new_id
        self._interval = timedelta(seconds=seconds)

    async def beat(self) -> bool:
        """Write one, unless one was written within the interval; whether it did."""
        now = self._clock.now()
        async with self._pool.acquire() as conn, conn.transaction():
            return await store.beat(conn, at=now, not_since=now - self._interval, new_id=self._new_id)

    async def run(self) -> None:
        """Beat for ever."""
        while True:
            try:
                await self.beat()
            except Exception as error:
                if not is_out_of_reach(error):
                    raise
                _log.warning("no heartbeat: the database is out of reach: %s", type(error).__name__)
            # Four looks an interval: a replica that takes over is late by a quarter of it at most.
            await self._clock.sleep(self._interval.total_seconds() / 4)
