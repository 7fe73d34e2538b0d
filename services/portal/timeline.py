"""A learner's credentials by the days on which something happened, or will. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from itertools import groupby
from typing import Final

from services.portal.presentation import FETCHED, Shown

ACHIEVED: Final = "achieved"
EXPIRED: Final = "expired"
EXPIRES: Final = "expires"


@dataclass(frozen=True, slots=True)
class Moment:
    """Something on a day.

    Attributes:
        day: ISO 8601.
        what: ``achieved``, ``expired``, or ``expires`` for a day to come.
        credential: with which.
    """

    day: str
    what: str
    credential: Shown


@dataclass(frozen=True, slots=True)
class Year:
    """All of one year.

    Attributes:
        year: as a number.
        moments: newest first.
    """

    year: int
    moments: tuple[Moment, ...]


def timeline(shown: Sequence[Shown], today: date) -> list[Year]:
    """What happened and will happen with credentials, newest first; what is not known to hold runs out for nobody."""
    moments = [Moment(one.awarded_on, ACHIEVED, one) for one in shown if one.awarded_on is not None]
    moments += [
        Moment(one.expires_on, EXPIRED if one.expires_on <= today.isoformat() else EXPIRES, one)
        for one in shown
        if one.expires_on is not None and one.state == FETCHED and one.status in ("valid", "suspended", "expired")
    ]
    moments.sort(key=lambda moment: (moment.day, moment.credential.title or ""), reverse=True)
    return [Year(int(year), tuple(some)) for year, some in groupby(moments, lambda moment: moment.day[:4])]
