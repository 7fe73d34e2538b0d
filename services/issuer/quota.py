"""How much a provider may issue by batches in a day: a bound on mistakes, and on what one takes from the others.

Single issuances count, and are never refused for it. A batch is admitted whole or refused whole before anything of
it is issued; what it issued before does not count again, so that resuming one is always possible.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Final
from uuid import UUID

import asyncpg

from vitne.clock import Clock
from vitne.errors import ResourceExhausted
from vitne.identifiers import OrganisationId, lowest_uuid

#: The window, which moves with the time.
WINDOW: Final = timedelta(days=1)


class Quota:
    """Counts what providers issue.

    Replicas don't know of each other's open batches, so together they may go beyond a quota by what is open.

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

    @asynccontextmanager
    async def admit(self, provider: OrganisationId, request_id: UUID, items: int) -> AsyncIterator[None]:
        """Let a batch of so many items in, for as long as it runs.

        Raises:
            ResourceExhausted: ``QUOTA_EXCEEDED``.
        """
        name = str(provider)
        since = lowest_uuid(self._clock.now() - WINDOW)
        row = await self._pool.fetchrow(
            """
            SELECT (SELECT count(*) FROM credential WHERE provider = $1 AND id >= $2 AND signature IS NOT NULL) AS used,
                   (SELECT count(*) FROM credential WHERE provider = $1 AND request_id = $3) AS known
            """,
            name,
            since,
            request_id,
        )
        quota = self._own.get(name, self._default)
        new = max(0, items - row["known"])
        used = row["used"] + self._reserved[name]
        if new and used + new > quota:
            raise ResourceExhausted(
                "QUOTA_EXCEEDED",
                f"the batch would issue {new} more credentials than the {used} of the last 24 hours",
                rule=f"at most {quota} credentials in 24 hours; nothing of the batch was issued",
                remedy="send a smaller batch, or this one later, or ask the operator for a larger quota",
                metadata={"quota": str(quota), "used": str(used), "asked": str(new)},
            )
        self._reserved[name] += new
        try:
            yield
        finally:
            self._reserved[name] -= new
            self._reserved += Counter()  # forgets those that have none
