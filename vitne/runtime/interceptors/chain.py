"""One grpc.aio interceptor that puts all of ours around a method, once.

gRPC knows four kinds of method. For ours two are enough: those that answer one
message (a coroutine function) and those that answer a stream (an asynchronous
generator); the request is a message, or an asynchronous iterator of messages.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import grpc

from vitne.errors import InvalidArgument, ResourceExhausted, VitneError
from vitne.runtime.status import Unimplemented

#: Largest request message in bytes: a batch item is a few KiB, an achievement with all its languages some hundred.
MAX_MESSAGE_BYTES: Final = 4 * 1024 * 1024
#: ``await behaviour(request, context)`` answers the response.
Unary = Callable[[Any, Any], Awaitable[Any]]
#: ``async for response in behaviour(request, context)``.
Stream = Callable[[Any, Any], AsyncIterator[Any]]


@dataclass(frozen=True, slots=True)
class Method:
    """One RPC method of this server.

    Attributes:
        path: as gRPC names it, ``/vitne.issuer.v1.IssuerService/Issue``.
        request_streaming: whether the client sends a stream.
    """

    path: str
    request_streaming: bool

    @property
    def service(self) -> str:
        """Full name of the service, ``vitne.issuer.v1.IssuerService``."""
        return self.path[1:].partition("/")[0]

    @property
    def name(self) -> str:
        """Name within the service, ``Issue``."""
        return self.path.rpartition("/")[2]


class Interceptor(Protocol):
    """What can be put around a method."""

    def unary(self, method: Method, proceed: Unary) -> Unary:
        """Surround a method that answers one message."""
        ...

    def stream(self, method: Method, proceed: Stream) -> Stream:
        """Surround a method that answers a stream."""
        ...


class Unreadable:
    """What a request becomes that is not read: refused by the rules, after access was checked.

    Args:
        refuse: makes the error.
    """

    def __init__(self, refuse: Callable[[], VitneError]) -> None:
        self.refuse = refuse


_MALFORMED = Unreadable(
    lambda: InvalidArgument(
        "MALFORMED_MESSAGE",
        "the bytes are not the protobuf message that this method takes",
        rule="the method's request message, in protobuf's binary encoding",
        remedy="generate the client from the published contract",
    )
)
_OVERSIZED = Unreadable(
    lambda: ResourceExhausted(
        "MESSAGE_TOO_LARGE",
        "the request message is larger than any that this method takes",
        rule=f"at most {MAX_MESSAGE_BYTES} bytes",
        remedy="send less in one message; for many credentials use IssueBatch",
    )
)


class Chain(grpc.aio.ServerInterceptor):
    """Surrounds every method with interceptors, the first one outermost."""

    def __init__(self, interceptors: Sequence[Interceptor]) -> None:
        self._interceptors = tuple(reversed(interceptors))
        self._surrounded: dict[str, tuple[Any, Any]] = {}

    async def intercept_service(self, continuation: Callable[[Any], Awaitable[Any]], details: Any) -> Any:
        """Answer the surrounded handler of the method called (grpc.aio calls this for every RPC)."""
        handler = await continuation(details)
        if handler is None:
            return None
        original, surrounded = self._surrounded.get(details.method, (None, None))
        if original is not handler:
            surrounded = self._surround(details.method, handler)
            self._surrounded[details.method] = (handler, surrounded)
        return surrounded

    def _surround(self, path: str, handler: Any) -> Any:
        method = Method(path, handler.request_streaming)
        deserializer = _tolerant(handler.request_deserializer)
        if handler.response_streaming:
            behaviour = handler.stream_stream or handler.unary_stream
            writes_itself = inspect.iscoroutinefunction(behaviour)  # by `context.write`, as gRPC's health service does
            stream = _writing(behaviour) if writes_itself else _serialising_stream(behaviour, handler)
            for interceptor in self._interceptors:
                stream = interceptor.stream(method, stream)
            make = (
                grpc.stream_stream_rpc_method_handler
                if handler.request_streaming
                else grpc.unary_stream_rpc_method_handler
            )
            return make(stream, deserializer, handler.response_serializer if writes_itself else None)
        unary = _serialising_unary(handler.stream_unary or handler.unary_unary, handler)
        for interceptor in self._interceptors:
            unary = interceptor.unary(method, unary)
        make = (
            grpc.stream_unary_rpc_method_handler if handler.request_streaming else grpc.unary_unary_rpc_method_handler
        )
        return make(unary, deserializer)


def _tolerant(deserialize: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    """grpc.aio answers UNKNOWN where parsing fails; so it must not, and the rules refuse what comes out."""

    def parse(data: bytes) -> Any:
        if len(data) > MAX_MESSAGE_BYTES:
            return _OVERSIZED
        try:
            return deserialize(data)
        except Exception:  # noqa: BLE001 - whatever the parser's complaint, the bytes are no such message
            return _MALFORMED

    return parse


# Responses become bytes inside the interceptors, not in grpc.aio after them, which would tell the
# client the text of whatever exception a response that can't be serialised raises.


def _serialising_unary(behaviour: Callable[..., Any], handler: Any) -> Unary:
    offered, serialise = inspect.iscoroutinefunction(behaviour), handler.response_serializer

    async def unary(request: Any, context: Any) -> bytes:
        if not offered:
            raise _not_offered()
        response: bytes = serialise(await behaviour(request, context))
        return response

    return unary


def _serialising_stream(behaviour: Callable[..., Any], handler: Any) -> Stream:
    offered, serialise = inspect.isasyncgenfunction(behaviour), handler.response_serializer

    async def stream(request: Any, context: Any) -> AsyncIterator[bytes]:
        if not offered:
            raise _not_offered()
        async for response in behaviour(request, context):
            yield serialise(response)

    return stream


def _writing(behaviour: Callable[..., Awaitable[None]]) -> Stream:
    async def stream(request: Any, context: Any) -> AsyncIterator[Any]:
        await behaviour(request, context)
        nothing: tuple[Any, ...] = ()  # it wrote its responses itself; yielding makes this a generator
        for response in nothing:
            yield response

    return stream


def _not_offered() -> Unimplemented:
    # The generated base class has plain functions where a service overrides nothing.
    return Unimplemented("METHOD_NOT_IMPLEMENTED", "this server does not offer the method")
