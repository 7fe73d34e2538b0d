"""Who is logged in. A session is known by a secret that only the learner's browser has. Plain SQL."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from vitne.canonical import sha256

#: Random bytes of a session's secret.
SECRET_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Confirming:
    """An act that is about to be confirmed by a log-in.

    Attributes:
        since: when the learner was sent to log in.
        subject: what it is about, where there may be several.
    """

    since: datetime
    subject: UUID | None


class Sessions:
    """The sessions in the portal's database.

    Args:
        pool: of asyncpg.
    """

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    async def open(self, lookup: bytes, provider: str, now: datetime, lifetime: timedelta) -> str:
        """Begin the session of a learner who logged in with ``provider``; its secret. What has ended is swept out."""
        secret = secrets.token_urlsafe(SECRET_BYTES)
        await self._pool.execute("DELETE FROM session WHERE expires_at <= $1", now)
        await self._pool.execute(
            "INSERT INTO session (id, lookup, provider, expires_at) VALUES ($1, $2, $3, $4)",
            sha256(secret.encode()),
            lookup,
            provider,
            now + lifetime,
        )
        return secret

    async def whose(self, secret: str, now: datetime) -> bytes | None:
        """Lookup of the learner whose session it is; None when there is none."""
        found: bytes | None = await self._pool.fetchval(
            "SELECT lookup FROM session WHERE id = $1 AND expires_at > $2", sha256(secret.encode()), now
        )
        return found

    async def begin_confirming(self, secret: str, now: datetime, subject: UUID | None = None) -> None:
        """Note that an act of this session's, about ``subject``, is about to be confirmed by a log-in."""
        await self._pool.execute(
            "UPDATE session SET confirming_at = $2, confirming_subject = $3 WHERE id = $1",
            sha256(secret.encode()),
            now,
            subject,
        )

    async def confirming(self, secret: str) -> Confirming | None:
        """What was noted last; None: nothing."""
        row = await self._pool.fetchrow(
            "SELECT confirming_at, confirming_subject FROM session WHERE id = $1 AND confirming_at IS NOT NULL",
            sha256(secret.encode()),
        )
        return None if row is None else Confirming(row["confirming_at"], row["confirming_subject"])

    async def close(self, secret: str) -> str | None:
        """End a session; the provider that it was opened with, None where there was none."""
        provider: str | None = await self._pool.fetchval(
            "DELETE FROM session WHERE id = $1 RETURNING provider", sha256(secret.encode())
        )
        return provider
