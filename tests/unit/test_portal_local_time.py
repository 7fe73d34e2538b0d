"""Instants as people in Norway read them."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from services.portal.local_time import local_date, local_day_text, local_time_text, machine_time
from services.portal.texts import TEXTS

WINTER = datetime(2026, 11, 22, 23, 30, 5, tzinfo=UTC)
SUMMER = datetime(2026, 7, 1, 22, 15, tzinfo=UTC)


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        ("nb", "23.11.2026 kl. 00:30 (norsk tid)"),
        ("nn", "23.11.2026 kl. 00:30 (norsk tid)"),
        ("en", "23 November 2026 at 00:30 (Norwegian time)"),
        ("se", "23.11.2026 dii. 00:30 (Norgga áigi)"),
    ],
)
def test_an_instant_is_told_in_norways_time_and_the_zone_is_named(language: str, expected: str) -> None:
    assert local_time_text(WINTER, TEXTS[language]) == expected


def test_midnight_is_norways_also_in_summer_and_whatever_the_offset_it_came_in() -> None:
    assert (local_date(WINTER), local_date(SUMMER)) == (date(2026, 11, 23), date(2026, 7, 2))
    elsewhere = SUMMER.astimezone(timezone(timedelta(hours=-5)))
    assert local_day_text(elsewhere, TEXTS["nb"]) == "02.07.2026"
    assert local_time_text(WINTER, TEXTS["nb"], seconds=True) == "23.11.2026 kl. 00:30:05 (norsk tid)"


def test_programs_read_the_offset_which_tells_the_repeated_hour_apart() -> None:
    first, again = (datetime(2026, 10, 25, hour, 30, tzinfo=UTC) for hour in (0, 1))
    assert local_time_text(first, TEXTS["nb"]) == local_time_text(again, TEXTS["nb"])
    assert machine_time(first) == "2026-10-25T02:30:00+02:00"
    assert machine_time(again) == "2026-10-25T02:30:00+01:00"
    assert datetime.fromisoformat(machine_time(again)) == again
