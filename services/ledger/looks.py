"""What is served from memory is no older than what any replica had shown when it was asked for.

A reader who was shown a version by one replica, and then asks another, must not be shown the one before. So whoever
asks waits for a look at the database that began after they came. One look answers all who came before it began: how
many there are depends on the time that one takes, and not on how many ask.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from vitne.errors import Unavailable
from vitne.outages import DATABASE_OUTAGES

#: Seconds between a look and the next.
SPACING_SECONDS: Final = 0.001
#: Seconds after which a look is given up, and for which nobody then waits for another.
PATIENCE_SECONDS: Final = 0.5
AWAY_SECONDS: Final = 2.0

_log = logging.getLogger(__name__)


class Looks:
    """Looks when somebody asks.

    While the database is away, what is in memory is served: nobody publishes without it, and a list says itself how
    long it counts. A replica that alone can't reach it may then be behind the others.

    Args:
        look: takes over what others have published.
    """

    def __init__(self, look: Callable[[], Awaitable[None]]) -> None:
        self._look = look
        #: Is set by the look that has not begun.
        self._next: asyncio.Event | None = None
        self._newest: asyncio.Task[None] | None = None
        #: The newest, and the one that it waits for.
        self._tasks: set[asyncio.Task[None]] = set()
        self._away = False

    async def since_now(self) -> None:
        """Return after a look that began after this call, or when none can be had."""
        if self._away:
            return
        if self._next is None:
            self._next = asyncio.Event()
            self._newest = asyncio.create_task(self._look_after(self._newest, self._next))
            self._tasks.add(self._newest)
            self._newest.add_done_callback(self._tasks.discard)
        await self._next.wait()

    async def close(self) -> None:
        """End; whoever waits is let go."""
        self._away = True
        if self._next is not None:
            self._next.set()  # by itself, since a task that never began has no end to do it in
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _look_after(self, before: asyncio.Task[None] | None, done: asyncio.Event) -> None:
        try:
            if before is not None:
                await asyncio.wait([before])
            self._next = None  # Who comes from now on came too late for this one.
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._look()
        except (*DATABASE_OUTAGES, Unavailable) as error:
            _log.warning("lists are served as they were seen last: %s", type(error).__name__)
            self._away = True
            asyncio.get_running_loop().call_later(AWAY_SECONDS, self._back)
        finally:
            done.set()
        await asyncio.sleep(SPACING_SECONDS)

    def _back(self) -> None:
        self._away = False
