"""A learner's credentials for her page: formal and non-formal apart, and within that by what they add up to. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from services.portal.presentation import Shown
from services.portal.stacks import Stack

#: Names of the groups, which are those of their texts, in the page's order.
FORMALITIES: Final = (("formal", True), ("non_formal", False), ("other", None))


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
