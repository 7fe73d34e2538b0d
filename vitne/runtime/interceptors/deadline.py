"""Deadlines travel: work whose deadline has passed is dropped, and calls made on the way inherit what is left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextvars import ContextVar
from typing import Any, Final

from vitne.runtime.interceptors.chain import Method, Stream, Unary
from vitne.runtime.status import DeadlineExceeded

#: Seconds that a unary call may take whose client set no deadline: nobody waits longer, and
#: work without an end holds connections of the pool.
DEFAULT_SECONDS: Final = 60.0

_deadline: ContextVar[float | None] = ContextVar("deadline", default=None)


def remaining_seconds() -> float | None:
    """Seconds left for the call being served, at least zero; None outside a call or without a deadline."""
    deadline = _deadline.get()
    return None if deadline is None else max(0.0, deadline - asyncio.get_running_loop().time())


class DeadlineInterceptor:
    """Drops calls that come too late and ends unary calls that have no deadline of their own.

    A deadline that passes while a handler runs cancels the handler: grpc.aio does that.
    """

    def __init__(self, default_seconds: float = DEFAULT_SECONDS) -> None:
        self._default = default_seconds

    def unary(self, method: Method, proceed: Unary) -> Unary:
        """Surround a method that answers one message."""

        async def surrounded(request: Any, context: Any) -> Any:
            if _enter(context):
                return await proceed(request, context)
            if method.request_streaming:  # as long as the client sends, it waits
                return await proceed(request, context)
            _deadline.set(asyncio.get_running_loop().time() + self._default)
            try:
                async with asyncio.timeout(self._default) as bound:
                    return await proceed(request, context)
            except TimeoutError:
                if bound.expired():
                    raise _passed() from None
                raise

        return surrounded

    def stream(self, method: Method, proceed: Stream) -> Stream:
        """Surround a method that answers a stream."""

        async def surrounded(request: Any, context: Any) -> AsyncIterator[Any]:
            _enter(context)
            async for response in proceed(request, context):
                yield response

        return surrounded


def _enter(context: Any) -> bool:
    """Note the caller's deadline; whether there is one.

    Raises:
        DeadlineExceeded: it has passed.
    """
    left = context.time_remaining()
    if left is None:
        return False
    if left <= 0:
        raise _passed()
    _deadline.set(asyncio.get_running_loop().time() + left)
    return True


def _passed() -> DeadlineExceeded:
    return DeadlineExceeded(
        "DEADLINE_EXCEEDED", "the deadline passed before the work was done", remedy="repeat the same request"
    )
