"""Requests are checked against the contract before any handler runs.

Unary requests only: a handler of a request stream checks each message itself with
:func:`vitne.runtime.rules.check_rules`, since it decides whether a bad message ends
the stream. So that nobody forgets, :meth:`Application.add_servicer` wants such
methods named.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from google.protobuf.message import Message

from vitne.runtime.interceptors.chain import Method, Stream, Unary, Unreadable
from vitne.runtime.rules import check_rules


class RulesInterceptor:
    """Refuses requests that break the contract's rules, and bytes that are no such message, or too many."""

    def unary(self, method: Method, proceed: Unary) -> Unary:
        """Surround a method that answers one message."""
        checked = _checked_stream if method.request_streaming else _checked

        async def surrounded(request: Any, context: Any) -> Any:
            return await proceed(checked(request), context)

        return surrounded

    def stream(self, method: Method, proceed: Stream) -> Stream:
        """Surround a method that answers a stream."""
        checked = _checked_stream if method.request_streaming else _checked

        async def surrounded(request: Any, context: Any) -> AsyncIterator[Any]:
            async for response in proceed(checked(request), context):
                yield response

        return surrounded


def _checked(request: Any) -> Message:
    if isinstance(request, Unreadable):
        raise request.refuse()
    message: Message = request
    check_rules(message)
    return message


async def _checked_stream(requests: AsyncIterator[Any]) -> AsyncIterator[Message]:
    async for request in requests:
        if isinstance(request, Unreadable):
            raise request.refuse()
        yield request
