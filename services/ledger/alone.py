"""Work that one replica does for all of them: whoever has the lock, while the others stand by."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Final

import asyncpg

from vitne.clock import Clock
from vitne.errors import VitneError
from vitne.outages import DATABASE_OUTAGES
from vitne.session_lock import session_lock

#: Keys of advisory locks, any numbers that nothing else in the ledger's database locks.
WITNESSES_LOCK: Final = 0x7669_746E_6C6F_6702
PUBLICATION_LOCK: Final = 0x7669_746E_6C6F_6703
#: How often a replica without the lock looks whether it is needed, and how long it waits after something failed.
STANDBY_SECONDS: Final = 1.0

#: Reason of what is missing until the first sequencer leads.
_NOT_STARTED: Final = "LOG_NOT_STARTED"

_log = logging.getLogger(__name__)


async def work_alone(
    pool: asyncpg.Pool, lock: int, clock: Clock, work: Callable[[], Awaitable[object]], *, interval: float, name: str
) -> None:
    """Do a piece of work again and again while no other replica does, until cancelled; failures are tried again.

    Two replicas at it for a moment, since one lost its lock without noticing, must do no harm.

    Args:
        pool: the ledger's database.
        lock: which lock.
        clock: waits.
        work: a round.
        interval: seconds between rounds.
        name: of the work, for the log.
    """
    while True:
        try:
            async with pool.acquire() as connection, session_lock(connection, lock) as leads:
                while leads:
                    await work()
                    await clock.sleep(interval)
                    # A connection that has gone took the lock with it.
                    await connection.fetchval("SELECT 1")
        except DATABASE_OUTAGES as error:
            _log.warning("%s failed, trying again: %s", name, type(error).__name__)
        except VitneError as error:
            if error.reason == _NOT_STARTED:
                # Of a ledger that begins: its readiness says so, too, as long as it lasts.
                _log.info("%s waits: %s", name, error.message)
            else:
                # Loud, since a log that is contradicted somewhere is no outage; statuses and lists go on meanwhile.
                _log.error("%s failed, trying again: %s", name, error)
        await clock.sleep(STANDBY_SECONDS)
