"""What is to be fetched, in the subscriber's own database. Plain SQL."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from vitne_api.events.v1 import events_pb2

#: Seconds for which a fetcher has what it claimed: longer than a call may take.
CLAIM_SECONDS: Final = 15.0
#: Seconds of the first pause after a failure, doubled each time, up to the second.
FIRST_PAUSE: Final = 0.25
LONGEST_PAUSE: Final = 60.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """A credential that is to be fetched: its row."""

    handle: str
    pseudonym: str
    kind: str
    provider: str
    number: int
    attempts: int


async def want(conn: Any, notices: Sequence[events_pb2.HubCredentialNotice], now: datetime) -> None:
    """Note what is to be fetched; of several notices about one credential the last counts."""
    newest = {one.handle: one for one in notices}
    await conn.execute(
        """
        INSERT INTO vitne_wanted (handle, pseudonym, kind, provider, due_at)
        SELECT handle, pseudonym, kind, provider, $5
        FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS told (handle, pseudonym, kind, provider)
        ON CONFLICT (handle) DO UPDATE SET number = excluded.number, due_at = excluded.due_at, attempts = 0
        """,
        [*newest],
        [one.pseudonym for one in newest.values()],
        [one.kind for one in newest.values()],
        [one.provider for one in newest.values()],
        now,
    )


async def unwant(conn: Any, handles: Collection[str]) -> None:
    """Fetch these no more."""
    await conn.execute("DELETE FROM vitne_wanted WHERE handle = ANY($1::text[])", list(handles))


async def claim(pool: Any, now: datetime, limit: int) -> list[Wanted]:
    """Take what is due, for :data:`CLAIM_SECONDS`; others pass it over meanwhile."""
    rows = await pool.fetch(
        """
        UPDATE vitne_wanted SET due_at = $2 WHERE handle IN (
            SELECT handle FROM vitne_wanted WHERE due_at <= $1 ORDER BY due_at LIMIT $3 FOR UPDATE SKIP LOCKED)
        RETURNING handle, pseudonym, kind, provider, number, attempts
        """,
        now,
        now + timedelta(seconds=CLAIM_SECONDS),
        limit,
    )
    return [Wanted(**row) for row in rows]


async def done(conn: Any, claimed: Sequence[Wanted]) -> set[str]:
    """Delete the rows of which no newer notice told meanwhile, in the transaction of what is done about them.

    Answers their handles. Never waits: who has a row locked is a newer notice, which makes it due again.
    """
    rows = await conn.fetch(
        """
        DELETE FROM vitne_wanted WHERE handle IN (
            SELECT w.handle FROM vitne_wanted w
            JOIN unnest($1::text[], $2::bigint[]) AS claimed (handle, number) USING (handle, number)
            FOR UPDATE OF w SKIP LOCKED)
        RETURNING handle
        """,
        [one.handle for one in claimed],
        [one.number for one in claimed],
    )
    return {row["handle"] for row in rows}


async def postpone(pool: Any, failed: Sequence[Wanted], now: datetime) -> None:
    """Try again later, later each time. Never waits, as :func:`done`: two who wait crosswise would be a deadlock."""
    await pool.execute(
        """
        UPDATE vitne_wanted w SET attempts = attempts + 1, due_at = failed.due_at
        FROM (
            SELECT handle, failed.due_at FROM vitne_wanted
            JOIN unnest($1::text[], $2::bigint[], $3::timestamptz[]) AS failed (handle, number, due_at)
                USING (handle, number)
            FOR UPDATE OF vitne_wanted SKIP LOCKED) AS failed
        WHERE w.handle = failed.handle
        """,
        [one.handle for one in failed],
        [one.number for one in failed],
        [now + timedelta(seconds=min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(one.attempts, 16))) for one in failed],
    )
