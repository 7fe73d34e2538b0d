"""How spans leave the process: sampled, redacted, to a file of JSON lines, by OTLP, or both."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased, Sampler, TraceIdRatioBased
from opentelemetry.trace import Status

from vitne.redactor import redact, redacted

#: Milliseconds between two writes of finished spans.
SPAN_FLUSH_MILLISECONDS: Final = 1000


def tracer_provider(resource: Resource, exporters: Sequence[SpanExporter], ratio: float) -> TracerProvider:
    """What makes spans; its ``shutdown`` flushes and ends it.

    Args:
        resource: what every span is about, with ``service.name``.
        exporters: where finished spans go. Without any nothing is recorded, but trace ids are still made and handed on.
        ratio: share of the traces that is recorded.
    """
    provider = TracerProvider(resource=resource, sampler=_sampler(ratio) if exporters else ALWAYS_OFF)
    for exporter in exporters:
        provider.add_span_processor(
            BatchSpanProcessor(RedactingExporter(exporter), schedule_delay_millis=SPAN_FLUSH_MILLISECONDS)
        )
    return provider


def _sampler(ratio: float) -> Sampler:
    """By parent; and what a caller wants sampled is sampled at our ratio, too.

    Callers from outside must not decide what we spend. The ratio looks at the trace id alone, so services of one
    ratio agree. A notice to a hub begins a trace (docs/decisions/0007): it is decided by an id of its own, since a flag
    that two hubs got together would link what their pseudonyms keep apart.
    """
    by_ratio = TraceIdRatioBased(ratio)
    return ParentBased(root=by_ratio, remote_parent_sampled=by_ratio)


class RedactingExporter(SpanExporter):
    """Hands on spans whose names, attributes, events and status texts have passed the redactor."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Redact a batch and hand it on."""
        return self._exporter.export([redacted_span(span) for span in spans])

    def shutdown(self) -> None:
        """End the exporter."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Let the exporter write what it holds."""
        return self._exporter.force_flush(timeout_millis)


def redacted_span(span: ReadableSpan) -> ReadableSpan:
    """The same span without what must not be told: in its name, attributes, events (exceptions) and status."""
    status = span.status
    return ReadableSpan(
        name=redact(span.name),
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes=redacted(span.attributes or {}),
        events=[Event(redact(event.name), redacted(event.attributes or {}), event.timestamp) for event in span.events],
        links=span.links,
        kind=span.kind,
        instrumentation_scope=span.instrumentation_scope,
        status=Status(status.status_code, redact(status.description)) if status.description else status,
        start_time=span.start_time,
        end_time=span.end_time,
    )


class JsonLinesExporter(SpanExporter):
    """Appends spans to a file, one JSON object a line; several processes may share the file."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Append a batch in one write, so that lines of several processes never mix."""
        lines = "".join(json.dumps(_span_record(span), separators=(",", ":")) + "\n" for span in spans)
        try:
            os.write(self._descriptor, lines.encode())
        except OSError:  # a full disk loses spans, never calls
            return SpanExportResult.FAILURE
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Nothing is held back."""
        return True


def _span_record(span: ReadableSpan) -> dict[str, Any]:
    context = span.get_span_context()
    return {
        "service": span.resource.attributes.get(SERVICE_NAME),
        "name": span.name,
        "kind": span.kind.name.lower(),
        "trace_id": f"{context.trace_id:032x}" if context else None,
        "span_id": f"{context.span_id:016x}" if context else None,
        "parent_id": f"{span.parent.span_id:016x}" if span.parent else None,
        "start": _nanoseconds_text(span.start_time),
        "end": _nanoseconds_text(span.end_time),
        "status": span.status.status_code.name.lower(),
        "attributes": dict(span.attributes or {}),
        "events": [{"name": event.name, "attributes": dict(event.attributes or {})} for event in span.events],
        "links": [f"{link.context.trace_id:032x}:{link.context.span_id:016x}" for link in span.links],
    }


def _nanoseconds_text(nanoseconds: int | None) -> str | None:
    return None if nanoseconds is None else datetime.fromtimestamp(nanoseconds / 1e9, UTC).isoformat()
