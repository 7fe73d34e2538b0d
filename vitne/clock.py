"""Time as an argument.

No code in Vitne asks the operating system for the time: it is handed a
:class:`Clock`. Tests, simulations and replays hand it one they control.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """What tells the time and waits."""

    def now(self) -> datetime:
        """The present instant: UTC, timezone-aware, whole milliseconds."""
        ...

    def monotonic(self) -> float:
        """Seconds from an arbitrary start, never going back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after ``seconds`` have passed on this clock."""
        ...


def to_milliseconds(moment: datetime) -> datetime:
    """Cut an aware datetime down to whole milliseconds, in UTC (RECORDS: canonical bytes)."""
    if moment.tzinfo is not UTC:
        moment = moment.astimezone(UTC)
    beyond = moment.microsecond % 1000
    return moment.replace(microsecond=moment.microsecond - beyond) if beyond else moment


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        return to_milliseconds(datetime.now(UTC))

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class ManualClock:
    """A clock that moves only when told to; sleeping moves it and yields once."""

    def __init__(self, start: datetime) -> None:
        self._now = to_milliseconds(start)
        self._passed = timedelta(0)

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._passed.total_seconds()

    async def sleep(self, seconds: float) -> None:
        self.advance(timedelta(seconds=seconds))
        await asyncio.sleep(0)

    def advance(self, by: timedelta) -> None:
        """Move time by ``by``; negative moves what the clock says back, as an adjusted clock would."""
        before, self._now = self._now, to_milliseconds(self._now + by)
        self._passed += max(self._now - before, timedelta(0))

    def adjust(self, by: timedelta) -> None:
        """Move what the clock says, while no time passes."""
        self._now = to_milliseconds(self._now + by)
