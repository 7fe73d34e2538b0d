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


async def test_one_trace_leads_from_the_institution_to_the_portals_row(world: Demo, stack: Stack) -> None:
    spans = [json.loads(line) for line in stack.trace_file.read_text().splitlines()]
    stories: dict[str, set[tuple[str, str]]] = {}
    for span in spans:
        stories.setdefault(span["trace_id"], set()).add((span["service"], span["name"]))
    # Issued while she was registered: from the institution's call, through the outbox and Kafka, to her hub's
    # consumer. Her fetches and log-ins are traces of the portal's own and don't begin with an Issue.
    issued = ("issuer", "vitne.issuer.v1.IssuerService/Issue")
    arrived = ("portal", f"process {stack.hub_topic()}")
    assert any({issued, arrived} <= story for story in stories.values())
