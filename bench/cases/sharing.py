"""What sharing costs: making a link and a signed document, and what a stranger waits for who looks."""

from __future__ import annotations

import asyncio
from typing import Final

from bench.http import Connections, request
from bench.load import closed, percentile, until
from bench.results import Finding
from bench.session import Case
from bench.world import World
from vitne.dev.cases import synthetic_learners
from vitne.dev.learner import LearnerBrowser, Shared, VisitorBrowser
from vitne.dev.stack import LEARNERS

#: Claims that are shown.
_CLAIMS: Final = ("given_name", "family_name", "grade")
#: Shares that are looked at in turn, and how many look at a time.
_SHARES: Final = 20
_VISITORS: Final = 8
_PATIENCE: Final = 60.0
#: Seconds that a learner takes to pick, at least, once she has the form.
_PICKING_SECONDS: Final = 1.0


async def make(world: World) -> None:
    """One learner makes a link and a code, then the same as a PDF, and withdraws it: each a call that she waits for."""
    async with LearnerBrowser(world.stack.portal_url) as browser:
        handle = await _credential(world, browser)
        shared: list[Shared] = []
        await browser.choosing()
        await asyncio.sleep(_PICKING_SECONDS)

        async def operation(number: int) -> None:
            if number % 2:
                shared.append(await browser.share([handle], _CLAIMS))
            else:
                await browser.document(shared[-1])

        measured = await closed(operation, 1, world.session.seconds(8))
        for one in shared:
            await browser.stop_sharing(one)
    p99 = percentile(measured.latencies, 0.99)
    world.session.record(Finding("portal.share.p99", p99, measured.latencies, rss_mib=world.rss_mib("portal")))


async def read(world: World) -> None:
    """Strangers who gave the code look at shared credentials, each checked by the verifier, again and again."""
    async with LearnerBrowser(world.stack.portal_url) as browser:
        handle = await _credential(world, browser)
        shared = [await browser.share([handle], _CLAIMS) for _ in range(_SHARES)]
        wires = []
        for one in shared:
            async with VisitorBrowser(one) as visitor:
                await visitor.open()
                wires.append(request("GET", one.url, {"cookie": visitor.cookies()}))
        connections = Connections(world.stack.portal_url)

        async def operation(number: int) -> None:
            status, body = await connections.send(wires[number % len(wires)])
            if status != 200 or b"SD-JWT" not in body:
                raise RuntimeError(f"the shared page answered {status}")

        measured = await closed(operation, _VISITORS, world.session.seconds(5))
        await connections.close()
        for one in shared:
            await browser.stop_sharing(one)
    world.session.record(
        Finding("portal.share.read", measured.rate, measured.latencies, rss_mib=world.rss_mib("portal"))
    )


async def _credential(world: World, browser: LearnerBrowser) -> str:
    """Log a learner in who has something to share; the handle of it."""
    learner = synthetic_learners(LEARNERS)[-1]
    await browser.log_in(learner.value)
    if not await browser.registered():
        await browser.register()
    if not await browser.credentials():
        await world.issue(learner)

    async def there() -> bool:
        return any(one["state"] == "fetched" for one in await browser.credentials())

    await until(there, _PATIENCE)
    return next(str(one["handle"]) for one in await browser.credentials() if one["state"] == "fetched")


CASES: Final = (Case(("portal.share.p99",), make), Case(("portal.share.read",), read))
