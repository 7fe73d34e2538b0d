"""The trace that travels with an event: W3C ``traceparent`` (https://www.w3.org/TR/trace-context/)."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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
    carrier: dict[str, str] = {}
    _PROPAGATOR.inject(carrier)
    return carrier.get("traceparent")


@contextmanager
def publishing(topic: str, causes: Sequence[str | None]) -> Iterator[None]:
    """Spans for sending rows of the outbox to a topic, each within what made them (OTel messaging conventions).

    One for each sampled ``traceparent``, however many of the rows it made: a batch makes thousands.
    """
    began = time.time_ns()
    try:
        yield
    finally:
        for cause, count in Counter(filter(_is_sampled, causes)).items():
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


def _is_sampled(traceparent: str | None) -> bool:
    # The flag is the last bit (https://www.w3.org/TR/trace-context/#sampled-flag): parsing all would cost more.
    return traceparent is not None and traceparent != "" and traceparent[-1] in "13579bdf"


@contextmanager
def processing(consumer: str, message: Message) -> Iterator[Span]:
    """A span for the handling of a message, child of the one that made the event (OTel messaging conventions).

    Identifiers only: neither key nor value go into it.
    """
    carrier = {"traceparent": message.traceparent} if message.traceparent else {}
    with _TRACER.start_as_current_span(
        f"process {message.topic}",
        context=_PROPAGATOR.extract(carrier),
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
        record_exception=False,  # An exception's text may say more than an identifier.
        set_status_on_exception=False,
    ) as span:
        try:
            yield span
        except Exception as error:
            span.set_attribute("error.type", type(error).__name__)
            span.set_status(Status(StatusCode.ERROR))
            raise
