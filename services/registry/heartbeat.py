"""Says every two seconds which revision is the newest: silence is not freshness.

It goes through the outbox, on the same road as the facts: it needs no second
producer, it is ordered after every fact that it counts, and a road that is cut falls
silent instead of telling that all is well. The price is a small row every two
seconds, which the relay prunes.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

from services.registry import store
from services.registry.loops import repeat
from vitne.clock import Clock


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
        # Four looks an interval: a replica that takes over is late by a quarter of it at most.
        await repeat("heartbeat", self.beat, self._clock, self._interval.total_seconds() / 4)
