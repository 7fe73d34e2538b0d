"""What the services tell of themselves: one story from the call to the portal's row, and what is measured."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import pytest
from opentelemetry import trace
from prometheus_client.parser import text_string_to_metric_families

from services.issuer.tracing import NOTIFY_HUB
from services.ledger.intake import CONSUMER as LEDGER_CONSUMER
from tests.unit.declared_metrics import DECLARED
from vitne.dev.demo import Demo, new_id
from vitne.dev.learner import LearnerBrowser
from vitne.dev.stack import SERVICES, Stack
from vitne.messaging import topics
from vitne.runtime.telemetry import context_from_traceparent
from vitne_api.issuer.v1 import issuer_pb2

#: Seconds in which all services have written their spans, on a machine that has other things to do.
WRITTEN_SECONDS: Final = 90.0
ISSUE: Final = "vitne.issuer.v1.IssuerService/Issue"
FETCH: Final = "vitne.issuer.v1.IssuerService/FetchCredentials"
#: What only happens when something goes wrong, waits for an operator, or is told by the minute.
RARE: Final = {
    "vitne.registry.accreditations_due",
    "vitne.outbox.failed",
    "vitne.tls.remaining",
    "vitne.consumer.parked_keys",
    "vitne.consumer.parked_age",
    "vitne.webhooks.attempts",
    "vitne.webhooks.given_up",
    "vitne.webhooks.disabled",
    "vitne.webhooks.delay",
    "vitne.portal.wallet.offers",
}
#: Begins the names of what the prober measures, which is no part of the stack.
PROBER: Final = "vitne.probe."


@dataclass(frozen=True)
class Spans:
    """Finished spans of all services, and how one finds one's way among them."""

    all: list[dict[str, Any]]

    def under(self, parent: dict[str, Any]) -> Iterator[dict[str, Any]]:
        return (
            span
            for span in self.all
            if span["trace_id"] == parent["trace_id"] and span["parent_id"] == parent["span_id"]
        )

    def within(self, root: dict[str, Any], *names: tuple[str, str]) -> dict[str, Any]:
        """The span at the end of a path of (service, name), each within the one before."""
        heads = [root]
        for service, name in names:
            below = (span for head in heads for span in self.under(head))
            heads = [span for span in below if (span["service"], span["name"]) == (service, name)]
            if not heads:
                raise NotYet(f"no {name} of {service} within {root['name']}")
        return heads[0]

    def linked(self, cause: dict[str, Any], name: str) -> dict[str, Any]:
        link = f"{cause['trace_id']}:{cause['span_id']}"
        for span in self.all:
            if span["name"] == name and link in span["links"]:
                return span
        raise NotYet(f"no {name} linked to {cause['name']}")

    def joined(self, cause: dict[str, Any], service: str, name: str) -> dict[str, Any]:
        """Work that goes on from a span: within it, or linked to it where others were there first."""
        try:
            return self.within(cause, (service, name))
        except NotYet:
            return self.linked(cause, name)


class NotYet(Exception):
    """A span that is not written yet, or never will be."""


def read(stack: Stack) -> Spans:
    return Spans([json.loads(line) for line in stack.trace_file.read_text().splitlines()])


@pytest.fixture(scope="module")
async def issued(world: Demo, stack: Stack) -> str:
    """The trace of a call of Issue for a learner who is registered with the hub, chosen by the caller."""
    trace_id = f"7e1e{new_id().replace('-', '')[4:]}"
    case = world.cases.achievements["minikvalifikasjon"]
    provider = world.actors.organisation(case.message.provider)
    request = issuer_pb2.IssueRequest(
        request_id=new_id(),
        issuance=issuer_pb2.Issuance(
            learner=world.learner,
            achievement_id=world.published[case.key],
            achievement_version=1,
            awarded_on="2026-11-01",
            retention=case.retention,
        ),
    )
    context = context_from_traceparent(f"00-{trace_id}-00f067aa0ba902b7-01")
    with trace.use_span(trace.get_current_span(context)):
        await provider.issue(request)
    return trace_id


async def told(stack: Stack, story: Any) -> Any:
    """What a story finds in the spans, once they are all written."""
    try:
        async with asyncio.timeout(WRITTEN_SECONDS):
            while True:
                try:
                    return story(read(stack))
                except NotYet:
                    await asyncio.sleep(0.25)
    except TimeoutError:
        return story(read(stack))


def call_of(spans: Spans, trace_id: str) -> dict[str, Any]:
    for span in spans.all:
        if (span["trace_id"], span["service"], span["name"]) == (trace_id, "issuer", ISSUE):
            return span
    raise NotYet("the call")


async def test_the_call_tells_what_was_decided_signed_and_committed(stack: Stack, issued: str) -> None:
    def story(spans: Spans) -> list[dict[str, Any]]:
        call = call_of(spans, issued)
        steps = ("decide", "store credentials", "sign", "finish credentials")
        return [spans.within(call, ("issuer", name)) for name in steps]

    decide, store, sign, finish = await told(stack, story)
    assert decide["attributes"] == {"vitne.outcome": "allowed"}
    assert sign["attributes"] == {"vitne.purpose": "credential"}
    for transaction in (store, finish):  # a name, and neither statement nor parameters
        assert transaction["attributes"] == {"db.system.name": "postgresql"}
    assert decide["end"] <= sign["start"] < finish["end"]


async def test_the_story_goes_on_to_the_portals_row(stack: Stack, issued: str) -> None:
    """Outbox row, Kafka, the notice's own trace with its link, the portal's consumer, fetch by handle, the row."""

    def story(spans: Spans) -> list[dict[str, Any]]:
        notice = spans.linked(call_of(spans, issued), NOTIFY_HUB)
        topic = stack.hub_topic()
        published = spans.within(notice, ("issuer", f"publish {topic}"))
        arrived = spans.within(notice, ("portal", f"process {topic}"))
        fetched = spans.joined(arrived, "portal", "fetch credentials")
        answered = spans.within(fetched, ("portal", FETCH), ("issuer", FETCH))
        return [notice, published, arrived, fetched, answered, spans.within(fetched, ("portal", "keep credentials"))]

    notice, published, arrived, fetched, answered, kept = await told(stack, story)
    assert notice["parent_id"] is None
    assert notice["trace_id"] != issued
    assert published["kind"] == "producer"
    assert arrived["kind"] == "consumer"
    assert arrived["attributes"]["messaging.system"] == "kafka"
    assert fetched["start"] <= answered["start"] <= kept["end"]


async def test_the_leaf_goes_on_into_the_log(stack: Stack, issued: str) -> None:
    def story(spans: Spans) -> list[dict[str, Any]]:
        call = call_of(spans, issued)
        published = spans.within(call, ("issuer", f"publish {topics.ISSUER_LEAVES}"))
        taken = spans.within(call, ("ledger", f"process {topics.ISSUER_LEAVES}"))
        integrated = spans.joined(taken, "ledger", "integrate leaves")
        return [published, taken, integrated, spans.within(integrated, ("ledger", "sign"))]

    published, taken, integrated, signed = await told(stack, story)
    assert published["attributes"]["messaging.batch.message_count"] == 1
    assert taken["attributes"]["messaging.consumer.group.name"] == LEDGER_CONSUMER
    assert signed["attributes"] == {"vitne.purpose": "checkpoint"}
    assert taken["start"] <= integrated["start"]


async def test_all_services_tell_and_a_batch_does_not_bury_the_story(stack: Stack, world: Demo, issued: str) -> None:
    spans = await told(stack, read_all)
    assert {span["service"] for span in spans.all} == set(SERVICES)
    batches = [span for span in spans.all if span["name"].endswith("/IssueBatch")]
    assert batches
    for batch in batches:  # five hundred items: no step of any is a span
        assert {span["name"] for span in spans.under(batch) if span["service"] == "issuer"} <= {
            f"publish {topics.ISSUER_LEAVES}"
        }


def read_all(spans: Spans) -> Spans:
    if {span["service"] for span in spans.all} < set(SERVICES):
        raise NotYet("a service has written nothing")
    return spans


# --- what is measured -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
async def pages(world: Demo, stack: Stack, issued: str) -> dict[str, Any]:
    """Families of each service's page, by service and name, once the credential is in the portal."""
    async with LearnerBrowser(stack.portal_url) as browser:
        await browser.log_in(world.learner.value)

    async def page(service: str) -> dict[str, Any]:
        async with stack.session() as session, session.get(stack.metrics_url(service)) as response:
            assert response.status == 200
            return {family.name: family for family in text_string_to_metric_families(await response.text())}

    return {service: await page(service) for service in SERVICES}


async def test_what_is_on_the_pages_is_what_was_declared(pages: dict[str, Any]) -> None:
    declared = {about.prometheus_name: about for about in DECLARED.values()}
    seen = defaultdict(set)
    for service, families in pages.items():
        for name, family in families.items():
            if name.startswith(("process_", "python_")):
                continue
            about = declared[name]
            assert family.type == about.kind
            assert family.documentation == about.meaning
            labels = {attribute.replace(".", "_") for attribute in about.attributes}
            for sample in family.samples:
                assert set(sample.labels) - {"le"} == labels, (service, sample)
                seen[about.name].add(service)
        for name in ("process_cpu_seconds", "process_resident_memory_bytes", "process_open_fds"):
            assert name in families
    expected = {about.name for about in declared.values() if not about.name.startswith(PROBER)}
    missing = expected - seen.keys() - RARE
    assert missing == set()


async def test_delays_are_measured_where_they_end(pages: dict[str, Any]) -> None:
    def count(service: str, name: str, **labels: str) -> float:
        samples = pages[service][name].samples
        return sum(
            float(sample.value)
            for sample in samples
            if sample.name == f"{name}_count" and labels.items() <= sample.labels.items()
        )

    assert count("issuer", "vitne_issue_duration_seconds", mode="unary", outcome="issued") > 0
    assert count("issuer", "vitne_issue_duration_seconds", mode="batch", outcome="issued") > 0
    assert count("issuer", "vitne_decide_duration_seconds", outcome="allowed") > 0
    assert count("issuer", "vitne_sign_duration_seconds", purpose="credential") > 0
    assert count("ledger", "vitne_sign_duration_seconds", purpose="status_list") > 0
    assert count("ledger", "vitne_log_integration_delay_seconds") > 0
    assert count("ledger", "vitne_status_publication_delay_seconds") > 0
    assert count("registry", "vitne_sign_duration_seconds", purpose="trust_list") > 0
    assert count("portal", "vitne_portal_visible_delay_seconds") > 0
    assert count("verifier", "vitne_verify_duration_seconds", verdict="valid") > 0
    assert count("issuer", "rpc_server_call_duration_seconds", rpc_method=ISSUE, rpc_response_status_code="OK") > 0
    assert count("portal", "http_server_request_duration_seconds", http_route="/login") > 0


async def test_the_page_is_not_where_pages_are(stack: Stack, issued: str) -> None:
    async with stack.session() as session:
        for service in SERVICES:
            async with session.get(f"{stack.http_url(service)}/metrics") as response:
                assert response.status == 404
                assert "vitne_" not in await response.text()
            async with session.get(stack.metrics_url(service).removesuffix("/metrics") + "/livez") as response:
                assert response.status == 404
