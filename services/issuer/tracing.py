"""The trace of a notice to a hub: one of its own, that operators can follow and hubs can't.

A trace id that went to two hubs would link what their pseudonyms keep apart, and so would one that also travels with
an event that anyone reads. So a notice begins a trace, whose first span *links* to what caused it; the link stays in
the operators' traces (docs/decisions).
"""

from __future__ import annotations

import secrets
from typing import Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from vitne.runtime.telemetry import context_from_traceparent

#: Name of the span that begins a notice's trace.
NOTIFY_HUB: Final = "notify hub"

_PROPAGATOR: Final = TraceContextTextMapPropagator()
_TRACER: Final = trace.get_tracer("vitne.issuer")


def begin_notice(hub: str, cause: str) -> str:
    """Begin the trace of one notice to a hub; answers the ``traceparent`` for its event, which is never empty.

    Args:
        hub: the hub's organisation id, all that the span says.
        cause: ``traceparent`` of what the hub is told of; empty for none.
    """
    caused_by = trace.get_current_span(context_from_traceparent(cause)).get_span_context()
    span = _TRACER.start_span(
        NOTIFY_HUB,
        context=Context(),  # empty: a new root
        kind=SpanKind.PRODUCER,
        attributes={"vitne.hub": hub},
        links=[Link(caused_by)] if caused_by.is_valid else [],
    )
    span.end()
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier, trace.set_span_in_context(span, Context()))
    # Without a tracer there is no span. An event without a trace would be given the active one, which is the cause's.
    return carrier.get("traceparent") or f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-00"
