"""``python -m services.portal rebuild``: what was gathered, again from nothing.

The hub's topic tells of every credential of every registered learner, and the issuer answers each by its handle: so
what the portal has gathered can be thrown away. What no event can hold is kept: which learner a pseudonym is, the
learners' keys, sessions, and what operators decided about messages that could not be handled.

Learners see their credentials come back one by one meanwhile. It may run beside a portal that serves, and be repeated.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any, Final

import asyncpg
import msgspec

from services.portal.fetcher import Fetcher
from vitne.clock import Clock
from vitne.errors import Unavailable
from vitne.identifiers import UuidFactory
from vitne.messaging import desk, parked
from vitne.messaging.consumer import Consumer
from vitne.messaging.recovery import forget_progress
from vitne.runtime.database import one_snapshot

#: Seconds between two looks at how far it is.
LOOK_SECONDS: Final = 0.1
#: The same in times that a look takes, and at most: millions that wait to be fetched are counted each time.
LOOK_PAUSE: Final = 4.0
LONGEST_PAUSE_SECONDS: Final = 3.0
#: How often it is tried to empty the tables under a portal that serves.
FORGET_ATTEMPTS: Final = 5
#: How long nothing may get on before the command gives up; the portal itself goes on from there.
PATIENCE: Final = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What a rebuild came to.

    Attributes:
        credentials: that are there again.
        dropped_again: messages and gaps that operators had given up, given up again.
        parked: messages that still can't be handled, with those behind them.
    """

    credentials: int
    dropped_again: int
    parked: int

    def to_json(self) -> str:
        """One line for an operator."""
        return msgspec.json.encode(asdict(self)).decode()


async def rebuild(pool: asyncpg.Pool, consumer: Consumer, fetcher: Fetcher, clock: Clock) -> Rebuilt:
    """Throw away what was gathered, and return once it has been gathered again.

    Args:
        pool: the portal's database.
        consumer: of the hub's topic; not running.
        fetcher: asks the issuer; not running.
        clock: for pauses and patience.

    Raises:
        Unavailable: ``REBUILD_STALLED``: the cluster or the issuer has not been getting on for :data:`PATIENCE`.
    """
    for attempt in range(1, FORGET_ATTEMPTS + 1):
        try:
            await _forget(pool, consumer.name)
            break
        except asyncpg.DeadlockDetectedError:  # It met a portal that serves.
            if attempt == FORGET_ATTEMPTS:
                raise
    tasks = [asyncio.create_task(consumer.run()), asyncio.create_task(fetcher.run())]
    try:
        again = await _gather(pool, consumer, clock, tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    async with pool.acquire() as conn:
        return Rebuilt(
            credentials=await conn.fetchval("SELECT count(*) FROM credential"),
            dropped_again=again,
            parked=await parked.count_parked(conn, consumer.name),
        )


async def _forget(pool: asyncpg.Pool, consumer: str) -> None:
    async with pool.acquire() as conn, conn.transaction():
        await forget_progress(conn, consumer)
        await conn.execute("DELETE FROM credential")
        # Their keys sealed nothing else, and nobody knows who they are.
        await conn.execute("DELETE FROM subscriber WHERE lookup IS NULL")


async def _gather(pool: asyncpg.Pool, consumer: Consumer, clock: Clock, tasks: list[asyncio.Task[None]]) -> int:
    """Wait until all is read and fetched; answers how many acts of operators were repeated."""
    again, before, since = 0, None, clock.monotonic()
    new_id = UuidFactory(clock)
    while True:
        for task in tasks:
            if task.done():
                task.result()  # It never returns: this raises what ended it.
        began = clock.monotonic()
        # In this order: what was read may be due, what was due may fail, and what failed is given up again.
        read = consumer.caught_up.is_set()
        async with pool.acquire() as conn:
            state = await _state(conn, consumer.name)
            repeated = await desk.repeat_acts(conn, consumer.name, clock.now(), new_id)
            # Once more: an operator may have acted beside, so that what had failed is due.
            settled = read and not repeated and _is_settled(state) and _is_settled(await _state(conn, consumer.name))
        again += repeated
        if settled:
            return again
        if state != before:
            before, since = state, clock.monotonic()
        elif clock.monotonic() - since > PATIENCE.total_seconds():
            raise Unavailable(
                "REBUILD_STALLED",
                f"nothing got on for {PATIENCE.total_seconds():.0f} s",
                remedy="look at the cluster and the issuer; a portal that serves goes on by itself",
                metadata={name: str(count) for name, count in state.items()},
            )
        taken = clock.monotonic() - began
        await clock.sleep(min(max(LOOK_SECONDS, LOOK_PAUSE * taken), LONGEST_PAUSE_SECONDS))


def _is_settled(state: Mapping[str, int]) -> bool:
    return not state["due"] and not state["unfetched"]


async def _state(conn: asyncpg.Connection, consumer: str) -> dict[str, int]:
    # One snapshot: a message that is due becomes a credential to fetch, and must be counted as one of them.
    async with one_snapshot(conn):
        row: Any = await conn.fetchrow(
            """
            SELECT (SELECT coalesce(sum(next_offset), 0)::bigint FROM consumer_offset WHERE consumer = $1) AS read,
                   (SELECT count(*) FROM credential WHERE fetch_at IS NOT NULL) AS unfetched
            """,
            consumer,
        )
        return {**row, "due": await parked.count_due(conn, consumer)}
