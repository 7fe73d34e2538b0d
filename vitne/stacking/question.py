"""A question's credentials, by achievement, and which of them fit what rules ask for: found once a question.

Most qualifications ask for the same in the same way, so that what fits is kept by what is asked, not by who asks.
"""

from __future__ import annotations

import calendar
from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from functools import lru_cache
from typing import Final, NamedTuple

from vitne.stacking.answer import Why
from vitne.stacking.candidate import PREFERENCE, Candidate
from vitne.stacking.held import Held, Standing
from vitne.stacking.plan import Ask
from vitne.stacking.terms import Terms

_NOTHING: Final = Decimal(0)


class Refused(NamedTuple):
    """A credential that does not fit."""

    #: Which of the question's credentials.
    number: int
    held: Held
    why: Why
    #: True: it would fit nowhere, whatever is asked.
    own: bool


class Fit(NamedTuple):
    """What fits, and what does not. Shared by all who ask: not to be changed."""

    #: Best first.
    candidates: list[Candidate]
    refused: tuple[Refused, ...]


class Lot(dict[Ask, Fit]):
    """All of a question's credentials for one achievement, by what is asked: looked at when it is asked first."""

    def __init__(self, terms: Terms, day: date) -> None:
        super().__init__()
        self._terms = terms
        self._day = day
        self.credentials: list[tuple[int, Held]] = []

    def __missing__(self, ask: Ask) -> Fit:
        """Find, and keep, which of them fit what is asked."""
        candidates, refused = [], []
        for number, one in self.credentials:
            points = self._points(ask, one)
            if (why := _own_reason(one, self._day)) is not None:
                refused.append(Refused(number, one, why, own=True))
            elif ask.formal and not self._terms.is_formal(one.kind):
                refused.append(Refused(number, one, Why.NOT_RECOGNISED, own=True))
            elif points is None:
                refused.append(Refused(number, one, Why.UNIT_DOES_NOT_CONVERT, own=False))
            elif (why := self._reason(ask, one)) is not None:
                refused.append(Refused(number, one, why, own=False))
            else:
                candidates.append(Candidate.of(one, points, number))
        candidates.sort(key=PREFERENCE)
        found = self[ask] = Fit(candidates, tuple(refused))
        return found

    def _points(self, ask: Ask, one: Held) -> Decimal | None:
        if ask.unit is None:
            return _NOTHING
        return self._terms.converted(one.points, one.unit, ask.unit) if one.unit else None

    def _reason(self, ask: Ask, one: Held) -> Why | None:
        """What keeps a credential from counting for what is asked, whatever else is counted."""
        if ask.versions and not any(versions.covers(one.version) for versions in ask.versions):
            return Why.OTHER_VERSION
        for floor in ask.floors:
            if one.level is None:
                return Why.LEVEL_NOT_STATED
            if not self._terms.at_least(one.level, floor):
                return Why.LEVEL_TOO_LOW
        if ask.max_age_months and one.awarded_on < months_before(self._day, ask.max_age_months):
            return Why.TOO_OLD
        if ask.providers is not None and one.provider not in ask.providers:
            return Why.PROVIDER_NOT_NAMED
        return None


def lots_of(credentials: Iterable[Held], terms: Terms, day: date) -> dict[str, Lot]:
    """Credentials by achievement, on a day that decides ages and expiry."""
    lots: dict[str, Lot] = {}
    for number, one in enumerate(credentials):
        lot = lots.get(one.achievement)
        if lot is None:
            lot = lots[one.achievement] = Lot(terms, day)
        lot.credentials.append((number, one))
    return lots


@lru_cache(maxsize=64)
def months_before(day: date, months: int) -> date:
    """The same day so many months earlier, or that month's last; never before the year 1."""
    number = day.year * 12 + day.month - 1 - months
    year, month = divmod(number, 12)
    if year < 1:
        return date.min
    return date(year, month + 1, min(day.day, calendar.monthrange(year, month + 1)[1]))


def _own_reason(one: Held, day: date) -> Why | None:
    """What keeps a credential from counting in any qualification."""
    if one.standing is not Standing.VALID:
        return Why.REVOKED if one.standing is Standing.REVOKED else Why.SUSPENDED
    if one.expires_on is not None and one.expires_on <= day:
        return Why.EXPIRED
    return Why.NOT_YET_AWARDED if one.awarded_on > day else None
