"""A span and a duration for every call; the span continues the caller's trace. Attributes are ids and names only."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any, TypeAlias

import grpc
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer

from vitne.runtime.identity import caller_context
from vitne.runtime.interceptors.chain import Method, Stream, Unary
from vitne.runtime.interceptors.deadline import remaining_seconds
from vitne.runtime.metrics import RPC_SERVER_DURATION
from vitne.runtime.telemetry import context_from_traceparent

_BY_NUMBER = {code.value[0]: code for code in grpc.StatusCode}
_FAULTS = frozenset({grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DATA_LOSS})


class TelemetryInterceptor:
    """Opens a server span (OpenTelemetry semantic conventions for RPC) around every call but gRPC's own."""

    def __init__(self, tracer: Tracer | None = None) -> None:
        self._tracer = tracer or trace.get_tracer("vitne.runtime")

    def unary(self, method: Method, proceed: Unary) -> Unary:
        """Surround a method that answers one message."""
        if method.service.startswith("grpc."):
            return proceed
        measured = _Measured(self._tracer, method)

        async def surrounded(request: Any, context: Any) -> Any:
            call, cancelled = measured.begin(context), False
            try:
                return await proceed(request, context)
            except asyncio.CancelledError:
                cancelled = True
                raise
            finally:
                measured.end(call, context, cancelled)

        return surrounded

    def stream(self, method: Method, proceed: Stream) -> Stream:
        """Surround a method that answers a stream."""
        if method.service.startswith("grpc."):
            return proceed
        measured = _Measured(self._tracer, method)

        async def surrounded(request: Any, context: Any) -> AsyncIterator[Any]:
            call, cancelled = measured.begin(context), False
            try:
                async for response in proceed(request, context):
                    yield response
            except (asyncio.CancelledError, GeneratorExit):
                cancelled = True
                raise
            finally:
                measured.end(call, context, cancelled)

        return surrounded


#: A call's span, and when it began (monotonic seconds).
_Call: TypeAlias = tuple[Span, float]


class _Measured:
    """Begins and ends the spans of one method; every call passes here, so it is no context manager: that costs more."""

    def __init__(self, tracer: Tracer, method: Method) -> None:
        self._tracer = tracer
        self._name = method.path[1:]
        self._attributes = {"rpc.system": "grpc", "rpc.service": method.service, "rpc.method": method.name}

    def begin(self, context: Any) -> _Call:
        parent = next((value for key, value in context.invocation_metadata() or () if key == "traceparent"), None)
        span = self._tracer.start_span(
            self._name,
            context=context_from_traceparent(parent),
            kind=SpanKind.SERVER,
            attributes=self._attributes,
        )
        # Attached, never detached: a call has a task and a context of its own, which end with it,
        # and a generator that is closed from elsewhere could not detach.
        otel_context.attach(trace.set_span_in_context(span))
        return span, time.monotonic()

    def end(self, call: _Call, context: Any, cancelled: bool) -> None:
        span, began = call
        code = _cancelled() if cancelled else _code(context)
        RPC_SERVER_DURATION.record(time.monotonic() - began, "grpc", self._name, code.name)
        if span.is_recording():
            span.set_attribute("rpc.grpc.status_code", code.value[0])
            caller = caller_context.get(None)
            if caller is not None:
                span.set_attribute("vitne.caller", str(caller.organisation))
            if code in _FAULTS:
                span.set_status(StatusCode.ERROR)
        span.end()


def _cancelled() -> grpc.StatusCode:
    """gRPC cancels a handler when its client goes away, and when its deadline passes."""
    return grpc.StatusCode.DEADLINE_EXCEEDED if remaining_seconds() == 0 else grpc.StatusCode.CANCELLED


def _code(context: Any) -> grpc.StatusCode:
    code = context.code() or grpc.StatusCode.OK
    if isinstance(code, grpc.StatusCode):
        return code
    return _BY_NUMBER.get(code, grpc.StatusCode.UNKNOWN)  # set by a handler as a number
