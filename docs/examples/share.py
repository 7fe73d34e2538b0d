"""A learner shares a result, a recipient opens it, and the learner ends the share. Needs a stack: ``make up``."""

from __future__ import annotations

import os
import re
import sys

from vitne.dev.cases import synthetic_learners
from vitne.dev.examples import run_example
from vitne.dev.learner import LearnerBrowser, VisitorBrowser


async def main() -> None:
    """The whole road."""
    (learner,) = synthetic_learners(1)
    async with LearnerBrowser(os.environ["VITNE_PORTAL_URL"]) as browser:
        await browser.log_in(learner.value)
        one = next((held for held in await browser.credentials() if held["status"] == "valid"), None)
        if one is None:
            sys.exit("none of her credentials is valid: docs/examples/issue.py issues one")
        shared = await browser.share([one["handle"]], ["given_name", "family_name"], days=1)
        print(f"{one['title']}: {shared.url}, with the code {shared.code}")
        async with VisitorBrowser(shared) as visitor:
            page = await visitor.open()
        verdict = re.search(r"<strong>([^<]+)</strong>", page)
        print(f"the recipient reads: {verdict[1] if verdict else 'nothing'}")
        print(f"the signed PDF has {len(await browser.document(shared))} bytes")
        await browser.stop_sharing(shared)


run_example(main)
