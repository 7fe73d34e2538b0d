"""Traces and logs: W3C trace context, spans as JSON lines, structured logs, and what keeps personal data out.

Spans carry ids and names only. Log records pass a :class:`Redactor`, which is the
second line of defence: the first is that nobody logs content.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TextIO

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

#: What stands in for something that must not be told.
WITHHELD: Final = "<withheld>"
#: Milliseconds between two writes of finished spans.
SPAN_FLUSH_MILLISECONDS: Final = 1000

_PROPAGATOR: Final = TraceContextTextMapPropagator()

# Ids are matched first and kept: their hexadecimal may hold eleven digits in a row by chance.
_SENSITIVE = re.compile(
    r"(?P<id>\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b|\b[0-9a-f]{64}\b|\b[0-9a-f]{32}\b)"
    r"|(?P<bearer>\b[Bb]earer\s+)[^\s\"',;]+"
    # A JWT or SD-JWT begins with base64url of '{"', a disclosure alone with that of '["'.
    r"|\b(?:eyJ|Wy[I-L][A-Za-z0-9_-]{8})[A-Za-z0-9_.~-]*"
    r"|(?<!\d)\d{6}[ -]?\d{5}(?!\d)"
)
# PostgreSQL quotes the values of the offending row in these.
_ROW_VALUES = re.compile(r"^(DETAIL|CONTEXT):.*$", re.MULTILINE)
_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def current_traceparent() -> str:
    """The current span as a W3C ``traceparent``; empty where there is none."""
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier)
    return carrier.get("traceparent", "")


def context_from_traceparent(traceparent: str | None) -> Context:
    """The trace context that a ``traceparent`` names; an empty one where it is missing or malformed."""
    return _PROPAGATOR.extract({"traceparent": traceparent} if traceparent else {}, context=Context())


def start_tracing(service: str, file: Path | None) -> Callable[[], None]:
    """Install the tracer provider of this process; what it answers flushes and ends it.

    Args:
        service: ``service.name`` of every span.
        file: where finished spans are appended as JSON lines. None: nothing is
            recorded, but trace ids are still made and handed on.
    """
    resource = Resource.create({SERVICE_NAME: service})
    provider = TracerProvider(resource=resource, sampler=ALWAYS_OFF if file is None else ALWAYS_ON)
    if file is not None:
        provider.add_span_processor(
            BatchSpanProcessor(JsonLinesExporter(file), schedule_delay_millis=SPAN_FLUSH_MILLISECONDS)
        )
    trace.set_tracer_provider(provider)
    return provider.shutdown


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
        "links": [f"{link.context.trace_id:032x}:{link.context.span_id:016x}" for link in span.links],
    }


def _nanoseconds_text(nanoseconds: int | None) -> str | None:
    return None if nanoseconds is None else datetime.fromtimestamp(nanoseconds / 1e9, UTC).isoformat()


def redact(text: str) -> str:
    """Withhold what looks like a national identity number, a token, or a quoted database row."""
    return _ROW_VALUES.sub(
        lambda match: f"{match[1]}: {WITHHELD}",
        _SENSITIVE.sub(lambda match: match["id"] or (match["bearer"] or "") + WITHHELD, text),
    )


def _redacted(value: Any) -> Any:
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {redact(str(key)): _redacted(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_redacted(entry) for entry in value]
    if value is None or isinstance(value, bool | float):
        return value
    text = redact(str(value))
    return value if isinstance(value, int) and text == str(value) else text


class Redactor(logging.Filter):
    """Withholds personal data and secrets in a record's message, extras and exception text."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite the record in place; it always passes."""
        record.msg, record.args = redact(record.getMessage()), None
        for key, value in vars(record).items():
            if key not in _STANDARD:
                setattr(record, key, _redacted(value))
        if record.exc_info:
            record.exc_text = redact(logging.Formatter().formatException(record.exc_info))
            record.exc_info = None
        return True


class JsonFormatter(logging.Formatter):
    """One JSON object a record: time, level, logger, message, trace id, extras."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as a line of JSON."""
        entry: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        context = trace.get_current_span().get_span_context()
        if context.is_valid:
            entry["trace_id"] = f"{context.trace_id:032x}"
        extras = {key: value for key, value in vars(record).items() if key not in _STANDARD}
        entry = extras | entry
        if record.exc_text:
            entry["exception"] = record.exc_text
        return json.dumps(entry, ensure_ascii=False, default=str, separators=(",", ":"))


def start_logging(level: str, stream: TextIO | None = None) -> None:
    """Send all records of this process as JSON lines to ``stream`` (standard error), redacted."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.addFilter(Redactor())
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for noisy in ("asyncio", "aiokafka", "uvicorn"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, logging.getLogger().level))
