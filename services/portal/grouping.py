"""A learner's credentials for her pages. Pure: formal and non-formal apart, and within that by what they add up to; and
by the years of their achievement, where she picks some of many.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from services.portal.presentation import Shown
from services.portal.stacks import Stack

#: Names of the groups, which are those of their texts, in the page's order.
FORMALITIES: Final = (("formal", True), ("non_formal", False), ("other", None))
#: Credentials among which she picks without their being folded by years: about a phone's height twice.
PICKED_UNFOLDED: Final = 12
_YEAR_DIGITS: Final = 4
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Group:
    """Credentials that are formal, or not, or of which that is not known.

    Attributes:
        name: ``formal``, ``non_formal``, ``other``.
        alone: those that count towards nothing.
        counted: the others, by the qualification towards which they count and which is furthest along.
    """

    name: str
    alone: tuple[Shown, ...]
    counted: tuple[tuple[Stack, tuple[Shown, ...]], ...]


def groups(shown: Sequence[Shown], stacks: Sequence[Stack]) -> list[Group]:
    """Every credential once, in the order of ``shown``; groups without any are there too.

    Args:
        shown: what was fetched.
        stacks: what it adds up to, the furthest along first.
    """
    towards: dict[str, Stack] = {}
    for stack in stacks:
        for part in stack.parts:
            for one in part.counted:
                towards.setdefault(one.handle, stack)
    made = []
    for name, formal in FORMALITIES:
        mine = [one for one in shown if one.formal is formal]
        counted = [(stack, tuple(one for one in mine if towards.get(one.handle) is stack)) for stack in stacks]
        made.append(
            Group(
                name,
                tuple(one for one in mine if one.handle not in towards),
                tuple((stack, some) for stack, some in counted if some),
            )
        )
    return made


@dataclass(frozen=True, slots=True)
class Year(Generic[T]):
    """What was achieved in a year.

    Attributes:
        name: of the year, four digits; empty where all are in one group, or where that is not known.
        some: in their order.
        unfolded: whether it is seen without being opened.
    """

    name: str
    some: tuple[T, ...]
    unfolded: bool


def by_years(some: Sequence[T], shown: Callable[[T], Shown], chosen: Callable[[T], bool]) -> list[Year[T]]:
    """Each once: the newest year, and those with something chosen, unfolded; a few all in one group.

    Args:
        some: newest achievement first.
        shown: the credential of each.
        chosen: whether a form proposes it.
    """
    if len(some) <= PICKED_UNFOLDED:
        return [Year("", tuple(some), unfolded=True)]
    years: dict[str, list[T]] = {}
    for one in some:
        years.setdefault((shown(one).awarded_on or "")[:_YEAR_DIGITS], []).append(one)
    newest = next(iter(years))
    return [
        Year(name, tuple(group), unfolded=name == newest or any(chosen(one) for one in group))
        for name, group in years.items()
    ]
