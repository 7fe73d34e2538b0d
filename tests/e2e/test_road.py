"""The demonstration's job, held to what it promises."""

from __future__ import annotations

import json

from services.issuer.events import SOURCE
from services.issuer.tracing import NOTIFY_HUB
from vitne.dev.demo import Demo, until
from vitne.dev.learner import LearnerBrowser
from vitne.dev.stack import Stack
from vitne.messaging import topics
from vitne.messaging.reading import read_messages
from vitne_api.events.v1 import events_pb2


async def test_every_expectation_of_the_demonstration_holds(world: Demo) -> None:
    # The job stops at the first one that does not; the number shows that none was left out.
    assert world.narrator.held >= 20


async def test_the_portals_page_shows_what_its_json_says(world: Demo, stack: Stack) -> None:
    async with LearnerBrowser(stack.portal_url) as browser:
        await browser.log_in(world.learner.value)

        async def fetched() -> bool:
            return all(entry["state"] == "fetched" for entry in await browser.credentials())

        await until(fetched, "all credentials in the portal", world.narrator)
        page, shown = await browser.page(), await browser.credentials()
    assert {credential.id for credential in world.issued.values()} <= {entry["id"] for entry in shown}
    for entry in shown:
        assert entry["title"] in page
        assert entry["provider_name"] in page


async def test_the_institutions_trace_is_linked_to_the_one_that_leads_to_the_portals_row(
    world: Demo, stack: Stack
) -> None:
    spans = [json.loads(line) for line in stack.trace_file.read_text().splitlines()]
    stories: dict[str, set[tuple[str, str]]] = {}
    for span in spans:
        stories.setdefault(span["trace_id"], set()).add((span["service"], span["name"]))
    # Issued while she was registered: the institution's call, and linked to it the notice, from the outbox through
    # Kafka to her hub's consumer. Her fetches and log-ins are traces of the portal's own.
    issued = ("issuer", "vitne.issuer.v1.IssuerService/Issue")
    arrived = ("portal", f"process {stack.hub_topic()}")
    notices = [span for span in spans if span["name"] == NOTIFY_HUB]
    assert all(span["parent_id"] is None and span["attributes"] == {"vitne.hub": world.cases.hub} for span in notices)
    caused = {span["trace_id"]: {link.partition(":")[0] for link in span["links"]} for span in notices}
    assert any(
        issued in stories[cause] and arrived in stories[trace] for trace, causes in caused.items() for cause in causes
    )
    # A change of status too: the ledger's event, which anyone may read, has another trace than the notice about it.
    learned = ("issuer", f"process {topics.LEDGER_STATUS}")
    assert any(
        learned in stories[cause] and arrived in stories[trace] for trace, causes in caused.items() for cause in causes
    )


async def test_how_much_each_withdrawal_touched_was_told(world: Demo, stack: Stack) -> None:
    told: dict[int, events_pb2.EffectsCounted] = {}

    async def counted() -> bool:
        for message in await read_messages(stack.kafka_settings(), topics.ISSUER_EFFECTS, SOURCE):
            event = events_pb2.EffectsCounted.FromString(message.value)
            told[event.accreditation_revision] = event
        return 3 in told

    await until(counted, "the effects of the withdrawal", world.narrator, every=0.2)
    # From now on touched at most what was issued before the issuer had heard of it; backwards all that UCL had issued.
    event = told.pop(3)
    assert event.accreditation_id == world.accreditations["ucl"].id
    assert event.credentials >= 6
    assert event.achievements == 5
    assert all(other.credentials < event.credentials - 4 for other in told.values())


async def test_no_trace_leads_from_one_notice_to_another_or_to_another_topic(world: Demo, stack: Stack) -> None:
    told = [record.headers["traceparent"].split("-")[1] for record in await stack.read_hub_topic()]
    assert told
    assert len(set(told)) == len(told)
    elsewhere = {
        record.headers["traceparent"].split("-")[1]
        for topic in topics.fixed_topics()
        for record in await stack.read_topic(topic.name)
        if "traceparent" in record.headers
    }
    assert elsewhere
    assert not elsewhere & set(told)
