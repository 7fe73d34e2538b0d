"""Channels to other services: an access token, a deadline and the trace go along with every call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

import grpc
from opentelemetry import trace
from opentelemetry.trace import SpanKind

from vitne.runtime.interceptors.deadline import remaining_seconds
from vitne.runtime.telemetry import current_traceparent

#: Seconds after which a call without a deadline of its own ends; streams have none.
DEFAULT_DEADLINE_SECONDS: Final = 10.0
#: Largest message in bytes that is taken as an answer: 500 credentials of 16 KiB.
MAX_RECEIVE_BYTES: Final = 16 * 1024 * 1024

_OPTIONS: Final = (
    ("grpc.max_receive_message_length", MAX_RECEIVE_BYTES),
    # Finds a peer that vanished without a word within half a minute.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # A service that restarted is found again within a second.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.lb_policy_name", "round_robin"),
)


class TokenSourceProtocol(Protocol):
    """What knows this service's own access token."""

    async def token(self) -> str:
        """A token that is valid for some time yet."""
        ...


def open_channel(
    address: str, tokens: TokenSourceProtocol | None, *, deadline_seconds: float = DEFAULT_DEADLINE_SECONDS
) -> Any:
    """A ``grpc.aio.Channel`` to ``address``; close it with ``await channel.close()``.

    Unary calls get the shorter of ``deadline_seconds`` and what is left of the call
    being served, unless they name a timeout. Failures are ``grpc.aio.AioRpcError``;
    :func:`~vitne.runtime.status.error_from_rpc` tells what they mean.

    Args:
        address: ``host:port`` or any gRPC target.
        tokens: whose token to show; None for public methods only.
        deadline_seconds: most seconds for a unary call.
    """
    prepare = _Preparation(tokens, deadline_seconds)
    interceptors = [kind(prepare) for kind in (_UnaryUnary, _UnaryStream, _StreamUnary, _StreamStream)]
    return grpc.aio.insecure_channel(address, options=_OPTIONS, interceptors=interceptors)


class _Preparation:
    def __init__(self, tokens: TokenSourceProtocol | None, deadline_seconds: float) -> None:
        self._tokens = tokens
        self._deadline = deadline_seconds

    async def details(self, details: Any, *, unary: bool) -> Any:
        metadata = [(key, value) for key, value in details.metadata or () if key != "traceparent"]
        if self._tokens is not None:
            metadata.append(("authorization", f"Bearer {await self._tokens.token()}"))
        if traceparent := current_traceparent():
            metadata.append(("traceparent", traceparent))
        timeout = details.timeout
        left = remaining_seconds()
        if timeout is None and unary:
            timeout = self._deadline
        if left is not None:
            timeout = left if timeout is None else min(timeout, left)
        return grpc.aio.ClientCallDetails(
            details.method, timeout, grpc.aio.Metadata(*metadata), details.credentials, details.wait_for_ready
        )


class _Base:
    """What the four kinds share; the span ends with the call."""

    def __init__(self, prepare: _Preparation) -> None:
        self._prepare = prepare
        self._tracer = trace.get_tracer("vitne.runtime")

    async def _call(self, continuation: Callable[..., Any], details: Any, request: Any, *, unary: bool) -> Any:
        path = (details.method.decode() if isinstance(details.method, bytes) else details.method)[1:]
        service, _, method = path.partition("/")
        span = self._tracer.start_span(
            path,
            kind=SpanKind.CLIENT,
            attributes={"rpc.system": "grpc", "rpc.service": service, "rpc.method": method},
        )
        try:
            with trace.use_span(span, end_on_exit=False, record_exception=False):
                call = await continuation(await self._prepare.details(details, unary=unary), request)
        except BaseException:
            span.end()
            raise
        call.add_done_callback(lambda _call: span.end())
        return call


class _UnaryUnary(_Base, grpc.aio.UnaryUnaryClientInterceptor):
    async def intercept_unary_unary(self, continuation: Callable[..., Any], details: Any, request: Any) -> Any:
        return await self._call(continuation, details, request, unary=True)


class _UnaryStream(_Base, grpc.aio.UnaryStreamClientInterceptor):
    async def intercept_unary_stream(self, continuation: Callable[..., Any], details: Any, request: Any) -> Any:
        return await self._call(continuation, details, request, unary=False)


class _StreamUnary(_Base, grpc.aio.StreamUnaryClientInterceptor):
    async def intercept_stream_unary(self, continuation: Callable[..., Any], details: Any, requests: Any) -> Any:
        return await self._call(continuation, details, requests, unary=False)


class _StreamStream(_Base, grpc.aio.StreamStreamClientInterceptor):
    async def intercept_stream_stream(self, continuation: Callable[..., Any], details: Any, requests: Any) -> Any:
        return await self._call(continuation, details, requests, unary=False)
