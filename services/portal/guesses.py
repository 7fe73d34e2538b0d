"""How often somebody may try what can be guessed; counted in the database, so that no restart forgets."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from services.portal.sealing import PortalKeys
from vitne.clock import Clock
from vitne.errors import ResourceExhausted

#: Counts that have ended and are swept out with each one that is begun.
SWEPT: Final = 100


@dataclass(frozen=True, slots=True)
class Limit:
    """How often something may be tried.

    Attributes:
        name: of what is tried, ``share-code``.
        tries: that are let through in a window.
        window: begins with the first try.
    """

    name: str
    tries: int
    window: timedelta


class Guesses:
    """Counts tries.

    Args:
        pool: of asyncpg.
        keys: hide who or what is counted: a table of addresses would be personal data.
        clock: says when a window ends.
    """

    def __init__(self, pool: Any, keys: PortalKeys, clock: Clock) -> None:
        self._pool = pool
        self._keys = keys
        self._clock = clock

    async def spend(self, limit: Limit, subject: bytes) -> None:
        """Count one try, before it is looked at: tries that run at once are counted each.

        Args:
            limit: of what is tried.
            subject: whose tries are counted together: a link's token, a client's address.

        Raises:
            ResourceExhausted: ``TOO_MANY_TRIES``; it may not be looked at.
        """
        now = self._clock.now()
        tries = await self._pool.fetchval(
            """
            INSERT INTO guess AS g (id, tries, ends_at) VALUES ($1, 1, $2)
            ON CONFLICT (id) DO UPDATE SET
                tries = CASE WHEN g.ends_at <= $3 THEN 1 ELSE g.tries + 1 END,
                ends_at = CASE WHEN g.ends_at <= $3 THEN excluded.ends_at ELSE g.ends_at END
            RETURNING tries
            """,
            self._id(limit, subject),
            now + limit.window,
            now,
        )
        if tries == 1:
            await self._pool.execute(
                """
                DELETE FROM guess WHERE id IN (
                    SELECT id FROM guess WHERE ends_at <= $1 ORDER BY ends_at LIMIT $2 FOR UPDATE SKIP LOCKED)
                """,
                now,
                SWEPT,
            )
        if tries > limit.tries:
            raise ResourceExhausted(
                "TOO_MANY_TRIES",
                "this was tried too often",
                rule=f"{limit.tries} tries in {limit.window}",
                remedy="try again later",
            )

    async def forgive(self, limit: Limit, subject: bytes) -> None:
        """Count from nothing again: a try was right."""
        await self._pool.execute("DELETE FROM guess WHERE id = $1", self._id(limit, subject))

    def _id(self, limit: Limit, subject: bytes) -> bytes:
        return self._keys.blinded(f"guess/{limit.name}", subject)
