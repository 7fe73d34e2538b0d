"""Traces: W3C trace context, the spans of what a call does, and how long work that others wait for is told apart.

Spans carry ids and names only. A step within a call is a span only while its call is recorded: what is not
sampled costs a look at the context.
"""

from __future__ import annotations

import contextvars
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Final, TypeAlias

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import INVALID_SPAN, Link, NonRecordingSpan, Span, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from vitne.messaging.tracing import traceparent_of

#: Most traces that a span of shared work is linked to; of a large batch the first tell enough.
MAX_LINKS: Final = 64
#: Attributes of a step that is a database transaction. Neither statement nor parameters: its name says which it is.
DATABASE: Final[Mapping[str, str]] = {"db.system.name": "postgresql"}

Told: TypeAlias = Mapping[str, str | int]

_PROPAGATOR: Final = TraceContextTextMapPropagator()
_TRACER: Final = trace.get_tracer("vitne.runtime")
_NOTHING: Final[AbstractContextManager[Span]] = nullcontext(INVALID_SPAN)


def current_traceparent() -> str:
    """The current span as a W3C ``traceparent``; empty where there is none."""
    return traceparent_of(trace.get_current_span()) or ""


def sampled_traceparent() -> str | None:
    """The current span for a row that leads on from it; None where it is not sampled, since nothing would."""
    return current_traceparent() if trace.get_current_span().get_span_context().trace_flags.sampled else None


def context_from_traceparent(traceparent: str | None) -> Context:
    """The trace context that a ``traceparent`` names; an empty one where it is missing or malformed."""
    return _PROPAGATOR.extract({"traceparent": traceparent}, context=Context()) if traceparent else Context()


def step(name: str, attributes: Told | None = None) -> AbstractContextManager[Span]:
    """A span within the current one, if that is recorded; otherwise nothing.

    Args:
        name: of the step, one of few.
        attributes: names and numbers, never content.
    """
    # One object for all that is not recorded: a generator for each would cost four times the look at the context.
    if not trace.get_current_span().is_recording():
        return _NOTHING
    return _started(_TRACER.start_span(name, attributes=attributes))


def past_step(parent: Span, name: str, began: int, ended: int, attributes: Told) -> None:
    """A span within a recorded one for what was done elsewhere for several callers.

    Args:
        parent: the caller's span.
        name: of the step.
        began: nanoseconds since 1970.
        ended: nanoseconds since 1970.
        attributes: as of :func:`step`.
    """
    context = trace.set_span_in_context(parent, Context())
    _TRACER.start_span(name, context=context, start_time=began, attributes=attributes).end(ended)


def joined(name: str, causes: Iterable[str | None], attributes: Told | None = None) -> AbstractContextManager[Span]:
    """A span of work that several traces lead to: within the first of them, linked to the others.

    Args:
        name: of the work.
        causes: a ``traceparent`` for each; without a sampled one there is no span.
        attributes: as of :func:`step`.
    """
    found = list(dict.fromkeys(cause for cause in causes if cause))[: MAX_LINKS + 1]
    contexts = [trace.get_current_span(context_from_traceparent(cause)).get_span_context() for cause in found]
    sampled = [context for context in contexts if context.trace_flags.sampled]
    if not sampled:
        return _NOTHING
    first = trace.set_span_in_context(NonRecordingSpan(sampled[0]), Context())
    links = [Link(context) for context in sampled[1:]]
    return _started(_TRACER.start_span(name, context=first, links=links, attributes=attributes))


def without_steps() -> contextvars.Context:
    """A context for tasks of the current call whose steps are no spans: a batch has ten thousand items.

    Their events and exemplars belong to the call's trace all the same.
    """
    copied = contextvars.copy_context()
    quiet = NonRecordingSpan(trace.get_current_span().get_span_context())
    copied.run(otel_context.attach, trace.set_span_in_context(quiet))
    return copied


@contextmanager
def _started(span: Span) -> Iterator[Span]:
    # An exception's text may say more than a name, so only its type is told.
    with trace.use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False):
        try:
            yield span
        except Exception as error:
            span.set_attribute("error.type", type(error).__name__)
            span.set_status(StatusCode.ERROR)
            raise
