"""Streams of requests whose messages each hold many items, which are answered one by one.

A message is answered before the next is looked at, so a stream takes the memory of one message, and a client that
sends faster than it is served is held up by gRPC's own flow control.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator
from typing import Final, TypeVar

from google.protobuf.message import Message

from vitne.errors import ResourceExhausted
from vitne.runtime.room import Room
from vitne.runtime.rules import check_rules
from vitne.runtime.status import DeadlineExceeded, RuleViolations

#: The field of such a message that holds its items, whatever the message.
ITEMS: Final = "items"
#: Seconds that a stream may be open without a message.
IDLE_SECONDS: Final = 60.0
#: Reason with which it is ended then.
STREAM_IDLE: Final = "STREAM_IDLE"

#: Streams at a time in each process, of one caller and of all. Each holds one message at most, so that bounds the items
#: that are under way, too.
STREAMS_OF_ONE: Final = 4
STREAMS_OF_ALL: Final = 64
#: Reason with which one more is refused.
TOO_MANY_STREAMS: Final = "TOO_MANY_STREAMS"

M = TypeVar("M")


def stream_room(of_one: int = STREAMS_OF_ONE, of_all: int = STREAMS_OF_ALL) -> Room:
    """Room for open streams, by who opened them; it refuses with ``ResourceExhausted`` ``TOO_MANY_STREAMS``."""
    return Room(
        of_one,
        of_all,
        lambda: ResourceExhausted(
            TOO_MANY_STREAMS,
            "as many streams are open as can be served; nothing of this one was looked at",
            rule=f"at most {of_one} of one caller and {of_all} of all at a time, in each replica",
            remedy="wait until one of yours has ended, or send its items over that one; then open this one again",
        ),
    )


async def until_idle(requests: AsyncIterable[M]) -> AsyncIterator[M]:
    """The messages of a stream, until the client closes it.

    Raises:
        DeadlineExceeded: ``STREAM_IDLE``: no message came for :data:`IDLE_SECONDS`.
    """
    waiting = aiter(requests)
    while True:
        try:
            async with asyncio.timeout(IDLE_SECONDS) as bound:
                request = await anext(waiting)
        except StopAsyncIteration:
            return
        except TimeoutError:
            if not bound.expired():
                raise
            raise DeadlineExceeded(
                STREAM_IDLE,
                "the stream was open for too long without a message",
                rule=f"a message at least every {IDLE_SECONDS:.0f} s; close a stream that has no more",
                remedy="open a new one, and repeat what was not answered",
            ) from None
        yield request


def refused_items(request: Message) -> dict[int, RuleViolations]:
    """The items of a message that break the contract's rules, by their places: they refuse nothing but themselves.

    Raises:
        RuleViolations: of the message itself: it has no items, or too many.
    """
    try:
        check_rules(request)  # all at once, since nearly always all is well
    except RuleViolations as refusal:
        if any(violation.field == ITEMS for violation in refusal.violations):
            raise
    else:
        return {}
    refused: dict[int, RuleViolations] = {}
    for place, item in enumerate(getattr(request, ITEMS)):
        try:
            check_rules(item)
        except RuleViolations as refusal:
            refused[place] = refusal
    return refused
