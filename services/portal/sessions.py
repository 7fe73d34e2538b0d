"""Who is logged in. A session is known by a secret that only the learner's browser has. Plain SQL."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta
from typing import Any, Final

from vitne.canonical import sha256

#: Random bytes of a session's secret.
SECRET_BYTES: Final = 32


class Sessions:
    """The sessions in the portal's database.

    Args:
        pool: of asyncpg.
    """

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    async def open(self, lookup: bytes, now: datetime, lifetime: timedelta) -> str:
        """Begin a learner's session; its secret. Sessions that have ended are swept out."""
        secret = secrets.token_urlsafe(SECRET_BYTES)
        await self._pool.execute("DELETE FROM session WHERE expires_at <= $1", now)
        await self._pool.execute(
            "INSERT INTO session (id, lookup, expires_at) VALUES ($1, $2, $3)",
            sha256(secret.encode()),
            lookup,
            now + lifetime,
        )
        return secret

    async def whose(self, secret: str, now: datetime) -> bytes | None:
        """Lookup of the learner whose session it is; None when there is none."""
        found: bytes | None = await self._pool.fetchval(
            "SELECT lookup FROM session WHERE id = $1 AND expires_at > $2", sha256(secret.encode()), now
        )
        return found

    async def close(self, secret: str) -> None:
        """End a session, if there is one."""
        await self._pool.execute("DELETE FROM session WHERE id = $1", sha256(secret.encode()))
