"""A notice's trace is its own: nothing in it leads a hub to what caused it, and operators follow the link."""

from __future__ import annotations

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, format_trace_id

from services.issuer import tracing
from services.issuer.tracing import NOTIFY_HUB, begin_notice

HUB = "0192:919477822"
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
CAUSE = f"00-{TRACE}-{SPAN}-01"


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(tracing, "_TRACER", provider.get_tracer("test"))
    return exporter


def test_each_notice_begins_a_trace_that_is_linked_to_its_cause(spans: InMemorySpanExporter) -> None:
    told = [begin_notice(HUB, CAUSE) for _ in range(2)]
    first, second = spans.get_finished_spans()
    for span, traceparent in zip((first, second), told, strict=True):
        assert (span.name, span.kind, span.parent) == (NOTIFY_HUB, SpanKind.PRODUCER, None)
        assert dict(span.attributes or {}) == {"vitne.hub": HUB}
        assert [format_trace_id(link.context.trace_id) for link in span.links] == [TRACE]
        assert span.context is not None
        assert traceparent.split("-")[1] == format_trace_id(span.context.trace_id)
    assert len({TRACE, *(traceparent.split("-")[1] for traceparent in told)}) == 3


def test_also_inside_a_span_and_without_a_cause(spans: InMemorySpanExporter) -> None:
    with tracing._TRACER.start_as_current_span("a call") as active:
        traceparent = begin_notice(HUB, "")
    assert traceparent.split("-")[1] != format_trace_id(active.get_span_context().trace_id)
    assert list(spans.get_finished_spans()[0].links) == []


def test_without_a_tracer_a_notice_still_has_a_trace_of_its_own() -> None:
    told = {begin_notice(HUB, CAUSE) for _ in range(10)}
    assert len(told) == 10
    assert all(len(traceparent) == len(CAUSE) and TRACE not in traceparent for traceparent in told)
