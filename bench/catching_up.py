"""A portal that begins with nothing and reads a hub's topic from its beginning: how fast it has what is named there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final

from bench.load import LOOK_SECONDS
from bench.resources import cpu_seconds
from bench.world import World
from services.portal.wiring import CONSUMER, MIGRATIONS
from vitne.dev.cases import synthetic_learners
from vitne.dev.learner import LearnerBrowser
from vitne.dev.stack import DATABASES, LEARNERS
from vitne.runtime.migrations import migrate
from vitne_api.issuer.v1 import issuer_pb2

#: Items of a batch, and batches under way at a time while the topic is filled.
_BATCH: Final = 500
_STREAMS: Final = 4
#: Seconds without an event or a credential more after which it is given up, and between two words of progress.
_PATIENCE: Final = 60.0
_WORD_SECONDS: Final = 15.0
#: Seconds between looks at whether all is fetched: each asks an index that holds what waits.
_FETCHED_LOOK_SECONDS: Final = 0.1

_TOLD: Final = "SELECT count(*) FROM outbox WHERE topic = $1 AND published_at IS NOT NULL"
_APPLIED: Final = "SELECT coalesce(sum(next_offset), 0)::bigint FROM consumer_offset WHERE consumer = $1"
_WAITS: Final = "SELECT EXISTS (SELECT FROM credential WHERE fetch_at IS NOT NULL)"
_FETCHED: Final = "SELECT count(*) FROM credential WHERE fetched_at IS NOT NULL"


@dataclass(frozen=True, slots=True)
class CaughtUp:
    """What it came to.

    Attributes:
        events: in the topic; nearly each names a credential of its own.
        applied: events a second, from the first on.
        fetched: events a second until the last credential was there.
        cpu_ms: for each event, by process.
        rss_mib: of the portal, in the end.
    """

    events: int
    applied: float
    fetched: float
    cpu_ms: Mapping[str, float]
    rss_mib: float

    def text(self) -> str:
        """In one line."""
        costs = ", ".join(f"{name} {cost:.3f}" for name, cost in self.cpu_ms.items())
        return (
            f"{self.events:,} events in {self.events / self.fetched:.0f} s: {self.applied:,.0f} a second applied, "
            f"{self.fetched:,.0f} fetched with it; CPU-ms each: {costs}; the portal has {self.rss_mib:.0f} MiB"
        )


async def registered(world: World) -> list[issuer_pb2.Learner]:
    """Learners who are registered with the portal: all who can log in, but the last, who has her page to herself."""
    learners = synthetic_learners(LEARNERS)[:-1]
    async with AsyncExitStack() as exits:
        for learner in learners:
            browser = await exits.enter_async_context(LearnerBrowser(world.stack.portal_url))
            await browser.log_in(learner.value)
            if not await browser.registered():
                await browser.register()
    return learners


async def catch_up(world: World, wanted: int) -> CaughtUp:
    """Issue until the hub's topic holds so many events, then start a portal with an empty database.

    The portal is stopped while they are issued: what it did meanwhile would be thrown away.

    Raises:
        TimeoutError: for a minute nothing more came.
    """
    learners = await registered(world)
    await world.settled()
    await world.stack.processes["portal"].stop()
    await _fill(world, learners, wanted)
    await world.settled()
    events = await _told(world)
    await _empty(world)
    await world.stack.start_service("portal")
    began, first = await _applied(world, 1)
    async with _counted(world) as cpu:
        ended, last = await _applied(world, events)
        await _all_fetched(world, events)
        seconds = time.perf_counter() - began
    return CaughtUp(
        events=events,
        applied=(last - first) / (ended - began) if last > first else last / LOOK_SECONDS,
        fetched=events / seconds,
        cpu_ms={name: used * 1000 / events for name, used in cpu.items()},
        rss_mib=world.rss_mib("portal"),
    )


async def _fill(world: World, learners: Sequence[issuer_pb2.Learner], wanted: int) -> None:
    """Issue what is missing."""
    there = await _told(world)
    begun, said = there, time.monotonic()
    started = said

    async def stream() -> None:
        nonlocal there, said
        while there < wanted:
            there += _BATCH
            await world.issue_batch([learners[number % len(learners)] for number in range(_BATCH)])
            if (now := time.monotonic()) - said > _WORD_SECONDS:
                said = now
                world.session.say(f"{there:,} of {wanted:,} issued, {(there - begun) / (now - started):,.0f} a second")

    async with asyncio.TaskGroup() as group:
        for _ in range(_STREAMS):
            group.create_task(stream())


async def _told(world: World) -> int:
    """Events in the hub's topic."""
    count: int = await world.database("issuer").fetchval(_TOLD, world.stack.hub_topic())
    return count


async def _empty(world: World) -> None:
    """Give the portal, which is stopped, a database of which it knows nothing."""
    database = DATABASES["portal"][0]
    world.database("portal").terminate()
    await world.stack.postgres.drop_database(database)
    await migrate(await world.stack.postgres.create_database(database), MIGRATIONS)
    await world.reconnect("portal")


@asynccontextmanager
async def _counted(world: World) -> AsyncIterator[dict[str, float]]:
    """CPU seconds that those who take part used meanwhile; filled in at the end."""
    pids = {name: world.service_pids()[name] for name in ("portal", "issuer")}
    pids["PostgreSQL"] = world.stack.postgres.pid
    used: dict[str, float] = {}
    before = {name: cpu_seconds([pid]) for name, pid in pids.items()}
    yield used
    used |= {name: cpu_seconds([pid]) - before[name] for name, pid in pids.items()}


async def _applied(world: World, events: int) -> tuple[float, int]:
    """When the portal had applied so many events, and how many it had by then."""
    so_far, moved = 0, time.monotonic()
    said = moved
    while True:
        applied: int = await world.database("portal").fetchval(_APPLIED, CONSUMER)
        if applied >= events:
            return time.perf_counter(), applied
        now = time.monotonic()
        if applied > so_far:
            so_far, moved = applied, now
        if now - moved > _PATIENCE:
            raise TimeoutError(f"the portal stays at {applied} of {events} events")
        if now - said > _WORD_SECONDS:
            said = now
            world.session.say(f"{applied:,} of {events:,} events applied")
        await asyncio.sleep(LOOK_SECONDS)


async def _all_fetched(world: World, events: int) -> None:
    """Return when nothing waits to be fetched any more."""
    so_far, moved = 0, time.monotonic()
    said = moved
    while await world.database("portal").fetchval(_WAITS):
        now = time.monotonic()
        if now - said > _WORD_SECONDS:
            said = now
            fetched: int = await world.database("portal").fetchval(_FETCHED)
            world.session.say(f"{fetched:,} of {events:,} fetched")
            if fetched > so_far:
                so_far, moved = fetched, now
            if now - moved > _PATIENCE:
                raise TimeoutError(f"the portal stays at {fetched} fetched credentials")
        await asyncio.sleep(_FETCHED_LOOK_SECONDS)
