"""Messages that are handled together keep their traces apart."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode, format_span_id, format_trace_id

from vitne.messaging import tracing
from vitne.messaging.headers import Message
from vitne.messaging.tracing import current_traceparent, processing

SPAN = "b7ad6b7169203331"


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(tracing, "_TRACER", provider.get_tracer("test"))
    return exporter


def message(offset: int, *, sampled: bool = True) -> Message:
    return Message(
        topic="a topic",
        partition=0,
        offset=offset,
        key="key",
        value=b"",
        id=UUID(int=offset),
        type="test",
        source="/test",
        time=datetime(2026, 11, 22, tzinfo=UTC),
        revision=1,
        traceparent=f"00-{offset:032x}-{SPAN}-0{int(sampled)}",
    )


def test_each_message_whose_trace_is_sampled_has_a_span_of_its_own(spans: InMemorySpanExporter) -> None:
    messages = [message(1), message(2, sampled=False), message(3)]
    with processing("test", messages) as traced:
        assert not spans.get_finished_spans()  # as long as all of them take together
        assert current_traceparent() is None
    finished: Any = spans.get_finished_spans()
    found = {span.context.trace_id: span for span in finished}
    assert {trace_id: format_span_id(span.parent.span_id) for trace_id, span in found.items()} == {1: SPAN, 3: SPAN}
    assert [dict(found[number].attributes or {})["messaging.kafka.offset"] for number in (1, 3)] == [1, 3]
    assert [one.traceparent for one in traced] == [
        f"00-{format_trace_id(1)}-{format_span_id(found[1].context.span_id)}-01",
        messages[1].traceparent,
        f"00-{format_trace_id(3)}-{format_span_id(found[3].context.span_id)}-01",
    ]


@pytest.mark.parametrize("sampled", [True, False])
def test_a_single_message_is_handled_within_its_trace(spans: InMemorySpanExporter, sampled: bool) -> None:
    with processing("test", [message(7, sampled=sampled)]) as traced:
        assert trace.get_current_span().get_span_context().trace_id == 7
        assert current_traceparent() == traced[0].traceparent
    assert len(spans.get_finished_spans()) == sampled


def test_what_fails_fails_in_all_traces(spans: InMemorySpanExporter) -> None:
    with pytest.raises(ValueError, match="content"), processing("test", [message(1), message(2)]):
        raise ValueError("content")
    assert [span.status.status_code for span in spans.get_finished_spans()] == [StatusCode.ERROR] * 2
    assert all("content" not in span.to_json() for span in spans.get_finished_spans())
