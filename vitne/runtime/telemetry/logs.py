"""Structured logs: one JSON object a line, with the trace that it belongs to, redacted."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, TextIO

from opentelemetry import trace

from vitne.redactor import STANDARD_FIELDS, Redactor


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
        extras = {key: value for key, value in vars(record).items() if key not in STANDARD_FIELDS}
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
