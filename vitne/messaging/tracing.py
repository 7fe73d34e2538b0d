"""The trace that travels with an event: W3C ``traceparent`` (https://www.w3.org/TR/trace-context/)."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from typing import Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from vitne.messaging.headers import Message

_PROPAGATOR: Final = TraceContextTextMapPropagator()
_TRACER: Final = trace.get_tracer("vitne.messaging")


def current_traceparent() -> str | None:
    """``traceparent`` of the span that is active now, None when there is none."""
    return traceparent_of(trace.get_current_span())


def traceparent_of(span: Span) -> str | None:
    """A span as a W3C ``traceparent``, None where it is none."""
    context = span.get_span_context()
    if not context.is_valid:
        return None
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


@contextmanager
def publishing(topic: str, causes: Sequence[str | None]) -> Iterator[None]:
    """Spans for sending rows of the outbox to a topic, each within what made them (OTel messaging conventions).

    One for each sampled ``traceparent``, however many of the rows it made: a batch makes thousands.
    """
    began = time.time_ns()
    try:
        yield
    finally:
        for cause, count in Counter(filter(is_sampled, causes)).items():
            span = _TRACER.start_span(
                f"publish {topic}",
                context=_PROPAGATOR.extract({"traceparent": cause or ""}, context=Context()),
                kind=SpanKind.PRODUCER,
                start_time=began,
                attributes={
                    "messaging.system": "kafka",
                    "messaging.operation.type": "send",
                    "messaging.destination.name": topic,
                    "messaging.batch.message_count": count,
                },
            )
            span.end()


def sampled_only(traceparent: str | None) -> str | None:
    """A ``traceparent`` for a row that leads on from it; None where it is not sampled, since nothing would."""
    return traceparent if is_sampled(traceparent) else None


def is_sampled(traceparent: str | None) -> bool:
    """Whether a ``traceparent`` belongs to a trace that is recorded."""
    # The flag is the last bit (https://www.w3.org/TR/trace-context/#sampled-flag): parsing all would cost more.
    return traceparent is not None and traceparent != "" and traceparent[-1] in "13579bdf"


@contextmanager
def processing(consumer: str, messages: Sequence[Message]) -> Iterator[list[Message]]:
    """Spans for the handling of messages, children of those that made the events (OTel messaging conventions).

    Each message has a span of its own, as long as all of them take together, unless its trace is not sampled. Of a
    single message it is also the current span. Identifiers only: neither key nor value go into it.

    Yields:
        the messages, each with the ``traceparent`` of its span where it has one.
    """
    spans: list[Span] = []
    traced: list[Message] = []
    for message in messages:
        # Without a trace it is the sampler that decides. A span that is not recorded would take longer to start than
        # its message to be handled.
        if message.traceparent and not is_sampled(message.traceparent):
            traced.append(message)
            continue
        spans.append(span := _start_processing(consumer, message))
        traceparent = traceparent_of(span)
        traced.append(replace(message, traceparent=traceparent) if traceparent else message)
    current: AbstractContextManager[object] = nullcontext()
    if len(messages) == 1:
        only = spans[0] if spans else trace.get_current_span(_context_of(messages[0].traceparent))
        # An exception's text may say more than an identifier.
        current = trace.use_span(only, record_exception=False, set_status_on_exception=False)
    try:
        with current:
            yield traced
    except Exception as error:
        for span in spans:
            span.set_attribute("error.type", type(error).__name__)
            span.set_status(Status(StatusCode.ERROR))
        raise
    finally:
        for span in spans:
            span.end()


def _start_processing(consumer: str, message: Message) -> Span:
    return _TRACER.start_span(
        f"process {message.topic}",
        context=_context_of(message.traceparent),
        kind=SpanKind.CONSUMER,
        attributes={
            "messaging.system": "kafka",
            "messaging.operation.type": "process",
            "messaging.destination.name": message.topic,
            "messaging.destination.partition.id": str(message.partition),
            "messaging.kafka.offset": message.offset,
            "messaging.message.id": str(message.id),
            "messaging.consumer.group.name": consumer,
        },
    )


def _context_of(traceparent: str | None) -> Context:
    return _PROPAGATOR.extract({"traceparent": traceparent} if traceparent else {})
