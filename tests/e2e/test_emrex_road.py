"""EMREX on the whole stack, over HTTP: a real credential, the real log-in, the portal as both ends."""

from __future__ import annotations

import html

from services.portal.texts import TEXTS
from vitne.dev.demo import Demo
from vitne.dev.emrex import ACRONYM
from vitne.dev.learner import LearnerBrowser
from vitne.dev.stack import Stack


async def test_a_learner_takes_results_there_and_back(world: Demo, stack: Stack) -> None:
    async with LearnerBrowser(stack.portal_url, stack.trust) as browser:
        await browser.log_in(world.learner.value)
        held = next(one for one in await browser.credentials() if one["status"] == "valid")
        came = html.unescape(await browser.import_from(ACRONYM, [held["handle"]]))
        assert held["title"] in came
        assert TEXTS["nb"]["emrex"]["imported"] in came
        # The number of her log-in is nowhere in what came.
        assert world.learner.value not in came
        assert held["title"] in html.unescape(await browser.imported())
        copy = await browser.export()
        (imported,) = copy["portal"]["imports"]
        assert imported["content"].startswith("<elmo")
        assert world.learner.value not in imported["content"]
