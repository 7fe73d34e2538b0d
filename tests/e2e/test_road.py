"""The demonstration's job, held to what it promises."""

from __future__ import annotations

import json

from vitne.dev.demo import Demo
from vitne.dev.learner import LearnerBrowser
from vitne.dev.stack import Stack


async def test_every_expectation_of_the_demonstration_holds(world: Demo) -> None:
    # The job stops at the first one that does not; the number shows that none was left out.
    assert world.narrator.held >= 20


async def test_the_portals_page_shows_what_its_json_says(world: Demo, stack: Stack) -> None:
    async with LearnerBrowser(stack.portal_url) as browser:
        await browser.log_in(world.learner.value)
        page, shown = await browser.page(), await browser.credentials()
    assert {credential.id for credential in world.issued.values()} <= {entry["id"] for entry in shown}
    for entry in shown:
        assert entry["title"] in page
        assert entry["provider_name"] in page


async def test_one_trace_leads_from_the_institution_to_the_portal(world: Demo, stack: Stack) -> None:
    traces = [line for line in stack.trace_file.read_text().splitlines() if line]
    by_trace: dict[str, set[str]] = {}
    for line in traces:
        span = json.loads(line)
        by_trace.setdefault(span["trace_id"], set()).add(span["service"])
    assert any({"issuer", "portal"} <= services for services in by_trace.values())
