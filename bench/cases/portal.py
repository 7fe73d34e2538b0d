"""What the reference portal does with a hub's topic: how soon, how fast, and what a learner waits for."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from bench.catching_up import catch_up, registered
from bench.http import Connections, request
from bench.load import LOOK_SECONDS, closed, paced, percentile, until
from bench.resources import on_one_core
from bench.results import Finding
from bench.session import Case
from bench.world import World
from vitne.dev.cases import synthetic_learners
from vitne.dev.learner import LearnerBrowser
from vitne.dev.stack import LEARNERS

#: Issuances a second while it is measured how soon they are in the portal.
RATE: Final = 200.0
#: The same where they come in batches, of so many.
BATCH_RATE: Final = 500.0
_TOGETHER: Final = 50
#: Seconds of that.
_SECONDS: Final = 10.0
#: How far back each look at the portal's rows goes.
_LOOK_BACK: Final = "3 seconds"
#: Credentials of the learner whose page is asked for.
_PAGE: Final = 60
#: Who reads pages at a time.
_READERS: Final = 8
#: Events that a portal must catch up with, at least.
_EVENTS: Final = 50_000
_PATIENCE: Final = 60.0


async def to_portal(world: World) -> None:
    """On the embedded broker, each issuance a call."""
    await _to_portal(world, "issue.to_portal.p99.embedded", 1)


async def to_portal_apache(world: World) -> None:
    """On Apache Kafka."""
    await _to_portal(world, "issue.to_portal.p99", 1)


async def batch_to_portal(world: World) -> None:
    """On the embedded broker, in batches."""
    await _to_portal(world, "issue.batch.to_portal.p99.embedded", _TOGETHER)


async def batch_to_portal_apache(world: World) -> None:
    """On Apache Kafka."""
    await _to_portal(world, "issue.batch.to_portal.p99", _TOGETHER)


async def _to_portal(world: World, name: str, together: int) -> None:
    """From an item's answer until the credential itself is in the portal's database, seen from outside."""
    learners = await registered(world)
    rate = (RATE if together == 1 else BATCH_RATE) / together
    answered: dict[str, float] = {}
    seen: dict[str, float] = {}

    async def operation(number: int) -> None:
        if together == 1:
            credential = await world.issue(learners[number % len(learners)])
            answered[credential.id] = time.perf_counter()
            return
        async for credential in world.issued([learners[(number + one) % len(learners)] for one in range(together)]):
            answered[credential.id] = time.perf_counter()

    async def watch() -> None:
        while True:
            rows = await world.database("portal").fetch(
                f"SELECT handle FROM credential WHERE fetched_at > now() - interval '{_LOOK_BACK}'"  # noqa: S608 - a constant
            )
            now = time.perf_counter()
            for row in rows:
                seen.setdefault(row["handle"], now)
            await asyncio.sleep(LOOK_SECONDS)

    await paced(operation, rate, world.session.seconds(2))
    await world.settled()
    answered.clear()
    watching = asyncio.create_task(watch())
    try:
        async with world.session.profiled(name, world.service_pids(), world.session.seconds(_SECONDS)):
            measured = await paced(operation, rate, world.session.seconds(_SECONDS))
        world.session.say(f"{len(answered) / measured.seconds:.0f} a second were issued")
        handles = dict(await world.database("issuer").fetch("SELECT credential::text, handle FROM hub_credential"))

        async def all_seen() -> bool:
            if watching.done():
                watching.result()
            return all(handles[id_] in seen for id_ in answered)

        await until(all_seen, _PATIENCE)
    finally:
        watching.cancel()
        await asyncio.wait([watching])
    waits = [max(0.0, seen[handles[id_]] - at) for id_, at in answered.items()]
    world.session.record(Finding(name, percentile(waits, 0.99), waits, rss_mib=world.rss_mib("portal")))


async def page(world: World) -> None:
    """One learner's page, as HTML: one after the other, then several at a time, from a portal that has one core."""
    learner = synthetic_learners(LEARNERS)[-1]
    async with LearnerBrowser(world.stack.portal_url) as browser:
        await browser.log_in(learner.value)
        if not await browser.registered():
            await browser.register()
        missing = _PAGE - len(await browser.credentials())
        if missing > 0:
            await world.issue_batch([learner] * missing)

        async def all_there() -> bool:
            shown = await browser.credentials()
            return len([one for one in shown if one["state"] == "fetched"]) >= _PAGE

        await until(all_there, _PATIENCE)
        await world.settled()

        async def operation(_number: int) -> None:
            await browser.page()

        measured = await closed(operation, 1, world.session.seconds(4))
        p50 = percentile(measured.latencies, 0.5) * 1000
        world.session.record(Finding("portal.page", p50, measured.latencies, rss_mib=world.rss_mib("portal")))
        await _pages(world, request("GET", f"{world.stack.portal_url}/me", {"cookie": browser.cookies()}))


async def _pages(world: World, wire: bytes) -> None:
    """The same page for several at a time, from a portal whose threads all share one core."""
    connections = Connections(world.stack.portal_url)

    async def operation(_number: int) -> None:
        status, body = await connections.send(wire)
        if status != 200 or body.count(b'class="card row"') < _PAGE:
            raise RuntimeError(f"her page answered {status}, or has not all her credentials")

    with on_one_core(world.stack.processes["portal"].pid):
        measured, cpu = await world.measured(
            "portal.page.rps", lambda seconds: closed(operation, _READERS, seconds), _SECONDS
        )
    await connections.close()
    world.session.record(Finding.rate("portal.page.rps", measured, rss_mib=world.rss_mib("portal"), cpu_ms_per_op=cpu))


async def caught_up(world: World) -> None:
    """On the embedded broker."""
    await _catch_up(world, "")


async def caught_up_apache(world: World) -> None:
    """On Apache Kafka."""
    await _catch_up(world, ".apache")


async def _catch_up(world: World, kafka: str) -> None:
    """A portal with an empty database reads the hub's topic from its beginning, and fetches what it names, five hundred
    in a call. ``kafka`` ends the names.
    """
    found = await catch_up(world, world.session.amount(_EVENTS))
    world.session.say(found.text())
    world.session.record(Finding(f"portal.catchup{kafka}", found.applied, rss_mib=found.rss_mib))
    world.session.record(
        Finding(
            f"portal.catchup.fetched{kafka}",
            found.fetched,
            rss_mib=found.rss_mib,
            cpu_ms_per_op=sum(found.cpu_ms.values()),
        )
    )


#: On the embedded broker only; where Apache Kafka is wanted, it is there that these are measured.
EMBEDDED: Final = (
    Case(("issue.to_portal.p99.embedded",), to_portal),
    Case(("issue.batch.to_portal.p99.embedded",), batch_to_portal),
    Case(("portal.catchup", "portal.catchup.fetched"), caught_up),
)
APACHE: Final = (
    Case(("issue.to_portal.p99",), to_portal_apache),
    Case(("issue.batch.to_portal.p99",), batch_to_portal_apache),
    Case(("portal.catchup.apache", "portal.catchup.fetched.apache"), caught_up_apache),
)
CASES: Final = (Case(("portal.page", "portal.page.rps"), page),)
