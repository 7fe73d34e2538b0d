"""A learner shares a result, a recipient opens it, and the learner ends the share. Needs a stack: ``make up``."""

from __future__ import annotations

import asyncio
import os
import re
import sys

from vitne.dev.cases import synthetic_learners
from vitne.dev.learner import LearnerBrowser, VisitorBrowser

if "VITNE_PORTAL_URL" not in os.environ:
    sys.exit("first, while `make up` runs: . .vitne/up/environment")

PORTAL = os.environ["VITNE_PORTAL_URL"]


async def main() -> None:
    """The whole road."""
    (learner,) = synthetic_learners(1)
    async with LearnerBrowser(PORTAL) as browser:
        await browser.log_in(learner.value)
        one = next(held for held in await browser.credentials() if held["status"] == "valid")
        shared = await browser.share([one["handle"]], ["given_name", "family_name"], days=1)
        print(f"{one['title']}: {shared.url}, with the code {shared.code}")
        async with VisitorBrowser(shared) as visitor:
            page = await visitor.open()
        verdict = re.search(r"<strong>([^<]+)</strong>", page)
        print(f"the recipient reads: {verdict[1] if verdict else 'nothing'}")
        print(f"the signed PDF has {len(await browser.document(shared))} bytes")
        await browser.stop_sharing(shared)


asyncio.run(main())
