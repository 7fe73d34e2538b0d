"""What a process tells of itself: traces, metrics and logs, all past one redactor (:mod:`vitne.redactor`).

=============== ====================================================================
:mod:`.traces`   spans of what a call does, and how they go on in other processes
:mod:`.spans`    how they leave: sampled, to a file or by OTLP
:mod:`.otlp`     spans to a collector (loaded where an endpoint is set)
:mod:`.logs`     records as lines of JSON
=============== ====================================================================

What is measured is declared by each layer in its ``metrics.py``; see :mod:`vitne.metrics`.
"""

from __future__ import annotations

from vitne.redactor import WITHHELD, Redactor, redact
from vitne.runtime.telemetry.logs import JsonFormatter, start_logging
from vitne.runtime.telemetry.spans import JsonLinesExporter
from vitne.runtime.telemetry.traces import (
    DATABASE,
    context_from_traceparent,
    current_traceparent,
    joined,
    past_step,
    sampled_traceparent,
    step,
    without_steps,
)

__all__ = [
    "DATABASE",
    "WITHHELD",
    "JsonFormatter",
    "JsonLinesExporter",
    "Redactor",
    "context_from_traceparent",
    "current_traceparent",
    "joined",
    "past_step",
    "redact",
    "sampled_traceparent",
    "start_logging",
    "step",
    "without_steps",
]
