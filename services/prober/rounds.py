"""Round after round: measured, and logged."""

from __future__ import annotations

import logging
from typing import Final

from services.prober.metrics import LAST_SUCCESS, STEP_DURATION, SUCCESS
from services.prober.road import Road, Round
from vitne.clock import Clock

_LOG: Final = logging.getLogger(__name__)


class Rounds:
    """Runs the road at its interval.

    Args:
        road: what a round is.
        clock: tells the time.
        interval_seconds: from the beginning of a round to that of the next.
    """

    def __init__(self, road: Road, clock: Clock, interval_seconds: float) -> None:
        self._road = road
        self._clock = clock
        self._interval = interval_seconds

    async def once(self) -> Round:
        """One round, told in metrics and in the log."""
        done = await self._road.run()
        for step, seconds in done.seconds.items():
            STEP_DURATION.record(seconds, step)
        taken = {step: round(seconds, 3) for step, seconds in done.seconds.items()}
        if done.error is not None:
            SUCCESS.set(0)
            detail = {"step": done.failed, "reason": done.error.reason, "error": str(done.error), "seconds": taken}
            _LOG.error("probe failed", extra=detail)
        else:
            SUCCESS.set(1)
            LAST_SUCCESS.set(self._clock.now().timestamp())
            _LOG.info("probe came through", extra={"seconds": taken})
        return done

    async def run(self) -> None:
        """Rounds until cancelled; one that takes longer than the interval is followed at once."""
        while True:
            started = self._clock.monotonic()
            await self.once()
            await self._clock.sleep(max(0.0, started + self._interval - self._clock.monotonic()))
