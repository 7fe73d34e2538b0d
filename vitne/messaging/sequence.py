"""Where a message stands in its aggregate's row of revisions. Pure."""

from __future__ import annotations

from enum import Enum, auto


class Order(Enum):
    """What a topic promises about the revisions of a key."""

    #: From 1, without gaps: the topic is kept for ever.
    GAPLESS = auto()
    #: They rise, but older ones may be gone: the topic forgets.
    RISING = auto()
    #: Nothing: several sources write under one key (dead letters).
    NONE = auto()


class Place(Enum):
    """What to do with a message."""

    #: It is due: handle it.
    NEXT = auto()
    #: Its revision took effect before: drop it.
    SEEN = auto()
    #: A revision before it is missing: it waits.
    GAP = auto()


def place(order: Order, seen: int, revision: int) -> Place:
    """Where ``revision`` stands when ``seen`` (0: none) was the last that took effect."""
    if order is Order.NONE:
        return Place.NEXT
    if revision <= seen:
        return Place.SEEN
    if order is Order.GAPLESS and revision != seen + 1:
        return Place.GAP
    return Place.NEXT
