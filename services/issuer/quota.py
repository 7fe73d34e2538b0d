"""How much a provider may issue by batches in a day: a bound on mistakes, and on what one takes from the others.

Single issuances count, and are never refused for it. A batch is admitted whole or refused whole before anything of
it is issued; what it issued before does not count again, so that resuming one is always possible.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import asyncpg

from vitne.clock import Clock
from vitne.errors import ResourceExhausted
from vitne.identifiers import OrganisationId, lowest_uuid

#: The window, which moves with the time.
WINDOW: Final = timedelta(days=1)
#: How long a count is good enough to let batches in, and up to which part of the quota: counting takes the longer the
#: more was issued, and where there is much room it need not be exact.
_FRESH: Final = timedelta(seconds=10)
_MUCH_ROOM: Final = 2


@dataclass(slots=True)
class _Counted:
    """What a provider had issued in the window.

    Attributes:
        at: when that was counted.
        used: credentials, those of open batches too.
    """

    at: datetime
    used: int


class Quota:
    """Counts what providers issue.

    Nobody is refused by an old count, but up to half of the quota batches may be let in by one that is up to ten
    seconds old: what was issued meanwhile one by one, or by other replicas, is not in it. Nor do replicas know of each
    other's open batches. Together they may go beyond a quota by these, and by what they let in within ten seconds.

    Args:
        pool: the issuer's database.
        clock: tells where the window is.
        default: credentials a provider may have issued in the window.
        own: the same for providers that have another.
    """

    def __init__(self, pool: asyncpg.Pool, clock: Clock, *, default: int, own: Mapping[str, int]) -> None:
        self._pool = pool
        self._clock = clock
        self._default = default
        self._own = own
        #: Credentials that open batches may still issue, by provider.
        self._reserved: Counter[str] = Counter()
        self._counted: dict[str, _Counted] = {}

    @asynccontextmanager
    async def admit(self, provider: OrganisationId, request_id: UUID, items: int) -> AsyncIterator[None]:
        """Let a batch of so many items in, for as long as it runs.

        Raises:
            ResourceExhausted: ``QUOTA_EXCEEDED``.
        """
        name = str(provider)
        quota = self._own.get(name, self._default)
        new = max(0, items - await self._known(name, request_id))
        used = self._lately(name)
        if new and (used is None or (used + new) * _MUCH_ROOM > quota):
            used = await self._count(name)
        if new and used is not None and used + new > quota:
            raise ResourceExhausted(
                "QUOTA_EXCEEDED",
                f"the batch would issue {new} more credentials than the {used} of the last 24 hours",
                rule=f"at most {quota} credentials in 24 hours; nothing of the batch was issued",
                remedy="send a smaller batch, or this one later, or ask the operator for a larger quota",
                metadata={"quota": str(quota), "used": str(used), "asked": str(new)},
            )
        self._reserved[name] += new
        if name in self._counted:
            self._counted[name].used += new
        try:
            yield
        finally:
            self._reserved[name] -= new
            self._reserved += Counter()  # forgets those that have none

    async def _known(self, provider: str, request_id: UUID) -> int:
        """Items of a request that were ordered before."""
        known: int = await self._pool.fetchval(
            "SELECT count(*) FROM credential WHERE provider = $1 AND request_id = $2", provider, request_id
        )
        return known

    def _lately(self, provider: str) -> int | None:
        """What the last count came to, with what was let in since; None when that is too long ago."""
        counted = self._counted.get(provider)
        if counted is None or not timedelta(0) <= self._clock.now() - counted.at < _FRESH:
            return None
        return counted.used

    async def _count(self, provider: str) -> int:
        """Credentials of the window, and those that open batches may still issue."""
        now = self._clock.now()
        issued: int = await self._pool.fetchval(
            "SELECT count(*) FROM credential WHERE provider = $1 AND id >= $2 AND signature IS NOT NULL",
            provider,
            lowest_uuid(now - WINDOW),
        )
        used = issued + self._reserved[provider]
        self._counted[provider] = _Counted(now, used)
        return used
