"""Hours as ``xsd:duration`` and back, exactly."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

_DURATION: Final = re.compile(r"PT(?:(\d{1,6})H)?(?:(\d{1,2})M)?(?:(\d{1,2})S)?\Z", re.ASCII)
#: Decimals of an hour: a hundredth is the least that the contract knows.
_PLACES: Final = 2
_MINUTES: Final = 60
_SECONDS: Final = 3_600


def duration(hours: str) -> str:
    """``PT7H30M`` for ``7.5``: a hundredth of an hour is a whole number of seconds.

    Args:
        hours: a decimal with at most two places, as the contract has it.
    """
    seconds = int(Decimal(hours) * _SECONDS)
    whole, rest = divmod(seconds, _SECONDS)
    minutes, rest = divmod(rest, _MINUTES)
    parts = ((whole, "H"), (minutes, "M"), (rest, "S"))
    return "PT" + ("".join(f"{number}{unit}" for number, unit in parts if number) or "0H")


def hours(text: str) -> str | None:
    """The inverse of :func:`duration`, in the shortest decimal; None for what that never writes."""
    match = _DURATION.match(text)
    if match is None or not any(match.groups()):
        return None
    whole, minutes, seconds = (int(part or 0) for part in match.groups())
    total = Decimal(whole * _SECONDS + minutes * _MINUTES + seconds) / _SECONDS
    shortest = format(round(total, _PLACES).normalize(), "f")
    return shortest if duration(shortest) == text else None
