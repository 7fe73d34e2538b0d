"""Are results the learner's own? An EMP knows its people by other numbers, and writes their names as it does. Pure.

What identifies is the day of birth and the name (EMREX standard, *Interpreting and handling the data*); a Norwegian
number decides where a Norwegian EMP states it. What is not surely hers is refused, or held until she says so.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import Final

from vitne.errors import PermissionDenied

# Letters that Unicode does not take apart, as passports and registers without them write them.
_LETTERS: Final = str.maketrans(
    {"æ": "ae", "ø": "o", "œ": "oe", "đ": "d", "ð": "d", "ŧ": "t", "þ": "th", "ŋ": "n", "ł": "l"}
)
_WORD: Final = re.compile(r"[^\W\d_]+")


@dataclass(frozen=True, slots=True)
class Name:
    """A name as a source has it. ``repr`` shows nothing of it."""

    given: str = field(repr=False)
    family: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Stated:
    """Whom an ELMO document is about.

    Attributes:
        name: as it has it.
        birth_date: None where it has none.
        number_is_hers: whether its Norwegian national identity number is the learner's; None where it states none.
    """

    name: Name
    birth_date: date | None = field(default=None, repr=False)
    number_is_hers: bool | None = None


class Match(StrEnum):
    """How sure it is."""

    #: Day of birth and name agree, or the number does.
    SAME = "same"
    #: One of the two can't be compared, or the name is another: she has to say that it is her.
    UNSURE = "unsure"


def match(stated: Stated, *, birth_date: date, names: Iterable[Name]) -> Match:
    """Whether a document is about the learner.

    Args:
        stated: by the document.
        birth_date: hers, by her log-in.
        names: hers, by the credentials that are here; none: not known.

    Raises:
        PermissionDenied: ``OTHER_PERSON``: another number or day of birth; or no day of birth, and no name that agrees.
    """
    if stated.number_is_hers is not None:
        if not stated.number_is_hers:
            raise _other_person()
        return Match.SAME
    agrees = any(_agree(stated.name, known) for known in names)
    if stated.birth_date is None:
        if not agrees:
            raise _other_person()
        return Match.UNSURE
    if stated.birth_date != birth_date:
        raise _other_person()
    return Match.SAME if agrees else Match.UNSURE


def _agree(one: Name, other: Name) -> bool:
    """Whether the words of one are among the other's, given and family each: middle and double names come and go."""
    return _contained(one.given, other.given) and _contained(one.family, other.family)


def _contained(one: str, other: str) -> bool:
    first, second = _words(one), _words(other)
    return bool(first and second) and (first <= second or second <= first)


def _words(name: str) -> frozenset[str]:
    """The words of a name, without case and marks."""
    apart = unicodedata.normalize("NFKD", name.casefold().translate(_LETTERS))
    return frozenset(_WORD.findall("".join(letter for letter in apart if not unicodedata.combining(letter))))


def _other_person() -> PermissionDenied:
    return PermissionDenied(
        "OTHER_PERSON",
        "the results are about somebody else than who is logged in",
        rule="the day of birth is that of the log-in, and where it is missing the name is known here",
        remedy="fetch your own results; ask the data provider if it has you under another day of birth",
    )
