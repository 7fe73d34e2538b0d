"""Waiting longer and longer between attempts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from vitne.clock import Clock

#: First and longest wait after something that may mend itself failed.
FIRST_SECONDS: Final = 0.05
LONGEST_SECONDS: Final = 5.0


@dataclass(slots=True)
class Backoff:
    """Doubles the wait with each failure, up to a longest."""

    clock: Clock
    first: float = FIRST_SECONDS
    longest: float = LONGEST_SECONDS
    _next: float = field(default=0.0, init=False)

    def reset(self) -> None:
        """It worked: begin anew at the next failure."""
        self._next = 0.0

    async def wait(self) -> None:
        """Wait after one more failure."""
        self._next = min(max(self._next * 2, self.first), self.longest)
        await self.clock.sleep(self._next)
