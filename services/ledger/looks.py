"""What is served from memory is no older than what any replica had shown when it was asked for.

A reader who was shown a version by one replica, and then asks another, must not be shown the one before. So whoever
asks waits for a look at the database that began after they came, at the list that they ask for. One look answers all
who came before it began: how many there are depends on the time that one takes, and not on how many ask.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Collection, Coroutine
from dataclasses import dataclass, field
from typing import Any, Final

import asyncpg

from vitne.outages import DATABASE_OUTAGES

#: Seconds between a look and the next.
SPACING_SECONDS: Final = 0.001
#: Seconds after which a look is given up.
PATIENCE_SECONDS: Final = 0.5
#: Seconds for which nobody waits for another, after one that the database refused.
AWAY_SECONDS: Final = 0.5
#: Seconds after which a session that nobody used is not trusted: what is between here and the database drops it.
RESTS_SECONDS: Final = 60.0

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Next:
    """The look that has not begun: at which lists, and who waits for it."""

    paths: set[str] = field(default_factory=set)
    done: asyncio.Event = field(default_factory=asyncio.Event)


class Looks:
    """Looks when somebody asks, in a session of its own: who waits for the pool's others holds up no reader.

    While the database is away, what is in memory is served: nobody publishes without it, and a list says itself how
    long it counts. A replica that alone can't reach it may then be behind the others.

    Args:
        connect: begins that session; the server ends its statements after :data:`PATIENCE_SECONDS`.
        look: takes over what others have published of the lists at these paths, in that session.
    """

    def __init__(
        self, connect: Callable[[], Coroutine[Any, Any, Any]], look: Callable[[Any, Collection[str]], Awaitable[None]]
    ) -> None:
        self._connect = connect
        self._look = look
        self._session: Any = None
        self._beginning: asyncio.Task[None] | None = None
        #: When the session was used last, by the loop's time.
        self._used = 0.0
        self._next: _Next | None = None
        self._newest: asyncio.Task[None] | None = None
        #: The newest, and the one that it waits for.
        self._tasks: set[asyncio.Task[None]] = set()
        #: Until when nobody waits, by the loop's time.
        self._away_until = -math.inf

    async def since_now(self, path: str) -> None:
        """Return after a look at the list of a path that began after this call, or when none can be had."""
        if _time() < self._away_until:
            return
        if self._next is None:
            self._next = _Next()
            self._newest = asyncio.create_task(self._look_after(self._newest, self._next))
            self._tasks.add(self._newest)
            self._newest.add_done_callback(self._tasks.discard)
        self._next.paths.add(path)
        await self._next.done.wait()

    async def close(self) -> None:
        """End; whoever waits is let go."""
        self._away_until = math.inf
        if self._next is not None:
            self._next.done.set()  # by itself, since a task that never began has no end to do it in
        tasks = {*self._tasks, *([self._beginning] if self._beginning is not None else ())}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        self._end_session()

    async def _look_after(self, before: asyncio.Task[None] | None, asked: _Next) -> None:
        try:
            if before is not None:
                await asyncio.wait([before])
            self._next = None  # Who comes from now on came too late for this one.
            await self._try(asked.paths)
        finally:
            asked.done.set()
        await asyncio.sleep(SPACING_SECONDS)

    async def _try(self, paths: Collection[str]) -> None:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._look(await self._ready(), paths)
            self._used = _time()
        except Exception as error:  # noqa: BLE001 - whatever it is, readers are answered
            _log.warning(
                "lists are served as they were seen last: %s",
                type(error).__name__,
                exc_info=None if isinstance(error, DATABASE_OUTAGES) else error,
            )
            self._end_session()
            # That one took too long says nothing of the next; where one was refused, the next would be.
            if not isinstance(error, TimeoutError | asyncpg.QueryCanceledError):
                self._away_until = max(self._away_until, _time() + AWAY_SECONDS)

    async def _ready(self) -> Any:
        """The session; another where it has ended, or rested for so long that the way there may be forgotten.

        One that takes longer to begin than a look may take is there for a later one.
        """
        if self._session is not None and (self._session.is_closed() or _time() - self._used > RESTS_SECONDS):
            self._end_session()
        if self._session is None:
            if self._beginning is None or self._beginning.done():
                self._beginning = asyncio.create_task(self._begin())
                # Nobody may be there any more whom it could tell; the next look tries again.
                self._beginning.add_done_callback(lambda task: task.cancelled() or task.exception())
            await asyncio.shield(self._beginning)
        return self._session

    async def _begin(self) -> None:
        self._session = await self._connect()
        self._used = _time()

    def _end_session(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.terminate()


def _time() -> float:
    return asyncio.get_running_loop().time()
