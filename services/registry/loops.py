"""What is done again and again beside the servers, while the database comes and goes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from vitne.clock import Clock
from vitne.runtime.database import is_out_of_reach

_log = logging.getLogger(__name__)


async def repeat(name: str, step: Callable[[], Awaitable[object]], clock: Clock, seconds: float) -> None:
    """Do ``step`` for ever, ``seconds`` apart; a database that is out of reach is waited for.

    Raises:
        Exception: whatever else ``step`` raises.
    """
    while True:
        try:
            await step()
        except Exception as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                # The roll-back that a cancellation set off failed in its turn, and took its place.
                raise asyncio.CancelledError from error
            if not is_out_of_reach(error):
                raise
            _log.warning("%s: the database is out of reach: %s", name, type(error).__name__)
        await clock.sleep(seconds)
