"""Channels to other services: an access token, a deadline and the trace go along with every call.

Calls that the contract calls safe to repeat are repeated while the other side is not
there (:mod:`.retries`). With TLS, certificates are replaced under running calls.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol

import grpc
from google.protobuf.descriptor import ServiceDescriptor
from opentelemetry import trace
from opentelemetry.trace import SpanKind

from vitne.runtime.interceptors.deadline import remaining_seconds
from vitne.runtime.retries import CONTRACT, service_config
from vitne.runtime.telemetry import current_traceparent
from vitne.runtime.tls import TlsFiles, TlsMaterial, TlsWatch, channel_credentials

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

_log = logging.getLogger(__name__)


class TokenSourceProtocol(Protocol):
    """What knows this service's own access token."""

    async def token(self) -> str:
        """A token that is valid for some time yet."""
        ...


def open_channel(
    address: str,
    tokens: TokenSourceProtocol | None,
    *,
    deadline_seconds: float = DEFAULT_DEADLINE_SECONDS,
    tls: TlsFiles | None = None,
    services: Iterable[ServiceDescriptor] = CONTRACT,
) -> Any:
    """A ``grpc.aio.Channel`` to ``address``; close it with ``await channel.close()``.

    Unary calls get the shorter of ``deadline_seconds`` and what is left of the call
    being served, unless they name a timeout. Failures are ``grpc.aio.AioRpcError``;
    :func:`~vitne.runtime.status.error_from_rpc` tells what they mean.

    Args:
        address: ``host:port`` or any gRPC target.
        tokens: whose token to show; None for public methods only.
        deadline_seconds: most seconds for a unary call, all tries together.
        tls: whom to trust, and the certificate to show; None for plain text, which production refuses.
        services: whose methods are repeated as the contract allows.

    Raises:
        FailedPrecondition: the files of ``tls`` can't be used.
    """
    prepare = _Preparation(tokens, deadline_seconds)
    interceptors = [kind(prepare) for kind in (_UnaryUnary, _UnaryStream, _StreamUnary, _StreamStream)]
    options = (*_OPTIONS, ("grpc.service_config", service_config(tuple(services))))
    if tls is None:
        return grpc.aio.insecure_channel(address, options=options, interceptors=interceptors)

    def connect(material: TlsMaterial) -> grpc.aio.Channel:
        return grpc.aio.secure_channel(
            address, channel_credentials(material), options=options, interceptors=interceptors
        )

    return RotatingChannel(TlsWatch(tls), connect)


class RotatingChannel(grpc.aio.Channel):
    """A channel that begins anew when its certificate or its authority is replaced.

    gRPC takes the credentials of a channel once and for all, and connects again with
    them for ever. So new calls go over a new channel, and the old one is closed when
    the last of its calls has ended.

    Args:
        watch: the files.
        connect: opens a channel with what is in them.
    """

    def __init__(self, watch: TlsWatch, connect: Callable[[TlsMaterial], grpc.aio.Channel]) -> None:
        self._watch = watch
        self._connect = connect
        self._material = watch.current()
        self._current = _Generation(connect(self._material))
        self._retired: set[_Generation] = set()
        self._closing: set[asyncio.Task[None]] = set()
        self._closed = False

    def newest(self) -> _Generation:
        """The channel for a call that begins now."""
        material = self._watch.current()
        if material is not self._material and not self._closed:
            self._material = material  # also where it can't be used: it is tried once, until the files change again
            try:
                replacement = _Generation(self._connect(material))
            except (ValueError, RuntimeError) as error:
                _log.warning("the TLS files changed, and gRPC can't use them: %s", error)
                return self._current
            retired, self._current = self._current, replacement
            self._retired.add(retired)
            self._end(retired)
        return self._current

    def begun(self, generation: _Generation, call: Any) -> None:
        """Count a call until it is done."""
        generation.calls += 1

        def done(_call: Any) -> None:
            generation.calls -= 1
            self._end(generation)

        call.add_done_callback(done)

    def _end(self, generation: _Generation) -> None:
        if generation in self._retired and not generation.calls:
            self._retired.remove(generation)
            task = asyncio.ensure_future(generation.channel.close(None))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def close(self, grace: float | None = None) -> None:
        """End all calls, after ``grace`` seconds; see ``grpc.aio.Channel``."""
        self._closed = True
        retired, self._retired = self._retired, set()
        channels = [generation.channel for generation in (self._current, *retired)]
        await asyncio.gather(*(channel.close(grace) for channel in channels), *self._closing)

    async def __aenter__(self) -> RotatingChannel:
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self.close()

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """See ``grpc.aio.Channel``."""
        return self.newest().channel.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """See ``grpc.aio.Channel``."""
        await self.newest().channel.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """See ``grpc.aio.Channel``."""
        await self.newest().channel.channel_ready()

    def unary_unary(self, *arguments: Any, **options: Any) -> Any:
        """See ``grpc.aio.Channel``."""
        return _RotatingMethod(self, "unary_unary", arguments, options)

    def unary_stream(self, *arguments: Any, **options: Any) -> Any:
        """See ``grpc.aio.Channel``."""
        return _RotatingMethod(self, "unary_stream", arguments, options)

    def stream_unary(self, *arguments: Any, **options: Any) -> Any:
        """See ``grpc.aio.Channel``."""
        return _RotatingMethod(self, "stream_unary", arguments, options)

    def stream_stream(self, *arguments: Any, **options: Any) -> Any:
        """See ``grpc.aio.Channel``."""
        return _RotatingMethod(self, "stream_stream", arguments, options)


class _Generation:
    """One channel, and how many calls run over it."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel
        self.calls = 0


class _RotatingMethod:
    """What a stub keeps of a channel: a callable for a method, here of whichever channel is newest."""

    def __init__(
        self, channel: RotatingChannel, kind: str, arguments: tuple[Any, ...], options: dict[str, Any]
    ) -> None:
        self._channel = channel
        self._kind = kind
        self._arguments = arguments
        self._options = options
        self._generation: _Generation | None = None
        self._method: Callable[..., Any]

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        generation = self._channel.newest()
        if generation is not self._generation:
            self._method = getattr(generation.channel, self._kind)(*self._arguments, **self._options)
            self._generation = generation
        call = self._method(*arguments, **options)
        self._channel.begun(generation, call)
        return call


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
