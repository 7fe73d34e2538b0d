"""What is stored for some time only: signed lists that nobody may rely on any more, and answers to requests."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Final

import asyncpg

from vitne.clock import Clock
from vitne.outages import DATABASE_OUTAGES

#: How long a request that is repeated is answered with the first answer (AIP-155). Longer than any outage after which
#: the issuer goes on where it stopped; and what is repeated later is decided anew, by what stands then.
REQUESTS_KEPT: Final = timedelta(days=30)
#: Cosigned checkpoints that are older are thinned out to the first of each minute.
WITNESSED_KEPT: Final = timedelta(hours=1)
#: Seconds between two looks.
LOOK_SECONDS: Final = 60.0
#: Rows that are written in one transaction.
BATCH: Final = 500

_log = logging.getLogger(__name__)


class Retention:
    """Drops what its time is over for. Replicas do not disturb each other: each takes what no other has locked.

    Args:
        pool: the ledger's database.
        clock: says what time it is.
    """

    def __init__(self, pool: asyncpg.Pool, clock: Clock) -> None:
        self._pool = pool
        self._clock = clock

    async def run(self) -> None:
        """Look now and then until cancelled; a database that fails is tried again, without end."""
        while True:
            try:
                await self.drop_due()
            except DATABASE_OUTAGES as error:
                _log.warning("nothing was dropped, trying again: %s", type(error).__name__)
            await self._clock.sleep(LOOK_SECONDS)

    async def drop_due(self) -> tuple[int, int]:
        """Drop everything that is due; answers how many tokens and how many answers."""
        now = self._clock.now()
        tokens = await self._in_batches(
            """
            UPDATE list_version SET token = NULL WHERE (list_id, version) IN (
                SELECT list_id, version FROM list_version AS old
                WHERE token IS NOT NULL AND logged IS NULL AND expires <= $1 AND version < (
                    SELECT max(version) FROM list_version AS newest WHERE newest.list_id = old.list_id
                )
                ORDER BY expires LIMIT $2 FOR UPDATE SKIP LOCKED
            )
            """,
            now,
        )
        answers = await self._in_batches(
            """
            DELETE FROM request WHERE (caller, method, request_id) IN (
                SELECT caller, method, request_id FROM request
                WHERE recorded <= $1 LIMIT $2 FOR UPDATE SKIP LOCKED
            )
            """,
            now - REQUESTS_KEPT,
        )
        await self._in_batches(
            """
            DELETE FROM witnessed_checkpoint WHERE cosigned IN (
                SELECT cosigned FROM witnessed_checkpoint AS more
                WHERE cosigned <= $1 AND EXISTS (
                    SELECT FROM witnessed_checkpoint AS first
                    WHERE first.cosigned >= date_trunc('minute', more.cosigned) AND first.cosigned < more.cosigned
                    AND first.shard = more.shard
                ) AND EXISTS (
                    -- The last of a log that ended is the only one that has all of it.
                    SELECT FROM witnessed_checkpoint AS last
                    WHERE last.shard = more.shard AND last.cosigned > more.cosigned
                )
                ORDER BY cosigned LIMIT $2 FOR UPDATE SKIP LOCKED
            )
            """,
            now - WITNESSED_KEPT,
        )
        return tokens, answers

    async def _in_batches(self, statement: str, until: datetime) -> int:
        dropped = 0
        while True:
            status: str = await self._pool.execute(statement, until, BATCH)
            batch = int(status.rpartition(" ")[2])
            dropped += batch
            if batch < BATCH:
                return dropped
