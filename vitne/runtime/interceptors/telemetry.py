"""A span for every call, continuing the caller's trace. Attributes are ids and names, never content."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import grpc
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode, Tracer

from vitne.runtime.identity import caller_context
from vitne.runtime.interceptors.chain import Method, Stream, Unary
from vitne.runtime.telemetry import context_from_traceparent

if TYPE_CHECKING:
    from collections.abc import Iterator

_FAULTS = frozenset({grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DATA_LOSS})


class TelemetryInterceptor:
    """Opens a server span (OpenTelemetry semantic conventions for RPC) around every call but gRPC's own."""

    def __init__(self, tracer: Tracer | None = None) -> None:
        self._tracer = tracer or trace.get_tracer("vitne.runtime")

    def unary(self, method: Method, proceed: Unary) -> Unary:
        """Surround a method that answers one message."""
        if method.service.startswith("grpc."):
            return proceed

        async def surrounded(request: Any, context: Any) -> Any:
            with self._span(method, context):
                return await proceed(request, context)

        return surrounded

    def stream(self, method: Method, proceed: Stream) -> Stream:
        """Surround a method that answers a stream."""
        if method.service.startswith("grpc."):
            return proceed

        async def surrounded(request: Any, context: Any) -> AsyncIterator[Any]:
            with self._span(method, context):
                async for response in proceed(request, context):
                    yield response

        return surrounded

    @contextmanager
    def _span(self, method: Method, context: Any) -> Iterator[None]:
        parent = next((value for key, value in context.invocation_metadata() or () if key == "traceparent"), None)
        span = self._tracer.start_span(
            method.path[1:],
            context=context_from_traceparent(parent),
            kind=SpanKind.SERVER,
            attributes={"rpc.system": "grpc", "rpc.service": method.service, "rpc.method": method.name},
        )
        # Attached, never detached: a call has a task and a context of its own, which end with it,
        # and a generator that is closed from elsewhere could not detach.
        otel_context.attach(trace.set_span_in_context(span))
        try:
            yield
        finally:
            if span.is_recording():
                code = context.code() or grpc.StatusCode.OK
                if not isinstance(code, grpc.StatusCode):  # set by a handler as a number
                    code = next(known for known in grpc.StatusCode if known.value[0] == code)
                span.set_attribute("rpc.grpc.status_code", code.value[0])
                caller = caller_context.get(None)
                if caller is not None:
                    span.set_attribute("vitne.caller", str(caller.organisation))
                if code in _FAULTS:
                    span.set_status(StatusCode.ERROR)
            span.end()
