"""Instants as learners and recipients read them: the wall time of Norway, whatever zone the machine is in.

The one place where an instant becomes text for people; for machines it is ISO 8601 with its offset, which also tells
the two hours apart that summer time's end repeats.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from services.portal.presentation import day_text

#: Where learners are; the package ``tzdata`` knows it where the operating system does not.
ZONE: Final = ZoneInfo("Europe/Oslo")


def local_date(moment: datetime) -> date:
    """The calendar date in Norway at an instant."""
    return moment.astimezone(ZONE).date()


def local_day_text(moment: datetime, texts: Mapping[str, Any]) -> str:
    """The date in Norway at an instant, as the language writes it."""
    return day_text(local_date(moment).isoformat(), texts) or ""


def local_time_text(moment: datetime, texts: Mapping[str, Any], *, seconds: bool = False) -> str:
    """Date and wall time in Norway at an instant, as the language writes them, with the zone named."""
    clock = moment.astimezone(ZONE).strftime("%H:%M:%S" if seconds else "%H:%M")
    written: str = texts["local_time"].format(day=local_day_text(moment, texts), time=clock)
    return written


def machine_time(moment: datetime) -> str:
    """An instant for programs: ISO 8601 to the second, with Norway's offset."""
    return moment.astimezone(ZONE).isoformat(timespec="seconds")
