"""A credential that a leaf might count, and which of several comes first."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from operator import attrgetter
from typing import Final, NamedTuple

from vitne.stacking.held import Held


class Candidate(NamedTuple):
    """A credential that a leaf might count."""

    held: Held
    #: In the leaf's unit; zero where credits are not counted.
    points: Decimal
    #: Which of the question's credentials.
    number: int
    #: Not by recognition first; then what is larger, older, and by its name.
    preference: tuple[bool, Decimal, date, str]
    #: Where recognised credits count as all others: the largest of each achievement.
    size: tuple[Decimal, bool, date, str]

    @classmethod
    def of(cls, held: Held, points: Decimal, number: int) -> Candidate:
        """A candidate, with where it comes found once: it is sorted for every rule that asks for it."""
        less, recognised = -points, held.by_recognition
        return cls(
            held,
            points,
            number,
            (recognised, less, held.awarded_on, held.reference),
            (less, recognised, held.awarded_on, held.reference),
        )


#: Keys to sort by.
PREFERENCE: Final = attrgetter("preference")
SIZE: Final = attrgetter("size")
