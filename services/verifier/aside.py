"""Work on what strangers send that takes long: beside the event loop, one piece at a time, with a bounded queue."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Semaphore
from typing import Final, TypeVar

from vitne.errors import ResourceExhausted

#: Most pieces of work that are under way or wait. A piece takes some tenths of a second, and holds some megabytes.
MAX_WAITING: Final = 16

_T = TypeVar("_T")


class Aside:
    """Does work in a thread of its own; more threads would only take turns."""

    def __init__(self) -> None:
        self._places = Semaphore(MAX_WAITING)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="aside")

    async def do(self, work: Callable[[], _T]) -> _T:
        """Do it when its turn comes, and answer what it answers.

        Who is cancelled keeps their place until work that has begun has ended: it can't be stopped.

        Raises:
            ResourceExhausted: ``OVERLOADED``: too much waits already; nothing was done.
        """
        if not self._places.acquire(blocking=False):
            raise ResourceExhausted(
                "OVERLOADED",
                "too many large credentials and images are being read; this one was not",
                field="credential",
                rule=f"at most {MAX_WAITING} at a time, in each replica",
                remedy="send it again in a few seconds",
            )
        future = self._thread.submit(work)
        future.add_done_callback(lambda _: self._places.release())
        return await asyncio.wrap_future(future)
