"""Organisations, learners and ids: check digits count, and a learner's number is never shown."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vitne.clock import ManualClock
from vitne.errors import InvalidArgument
from vitne.identifiers import (
    NORWEGIAN_NATIONAL_ID,
    LearnerId,
    OrganisationId,
    UuidFactory,
    parse_uuid,
    synthetic_national_id,
    uuid_time,
)

START = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "country"),
    [("0192:971035854", "NO"), ("0184:30859480", "DK"), ("0007:2021004920", "SE"), ("0192:919477822", "NO")],
)
def test_an_organisation_knows_its_country(text: str, country: str) -> None:
    organisation = OrganisationId.parse(text)
    assert (organisation.country, str(organisation)) == (country, text)


@pytest.mark.parametrize(
    "text",
    [
        "0192:971035855",
        "0184:30859481",
        "9999:971035854",
        "971035854",
        "0192:971 035 854",
        "0192:971035854\n",
        "0192:",
        "",
    ],
)
def test_an_organisation_with_a_wrong_number_or_register_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument) as refusal:
        OrganisationId.parse(text, field="provider")
    assert refusal.value.reason == "BAD_ORGANISATION"
    assert refusal.value.field == "provider"
    assert refusal.value.remedy


@given(st.dates(date(1940, 1, 1), date(1999, 12, 31)), st.integers(0, 499))
def test_synthetic_numbers_are_accepted_and_a_changed_digit_is_not(born: date, serial: int) -> None:
    number = synthetic_national_id(born, serial)
    if number is None:
        return
    assert int(number[2:4]) == born.month + 80
    assert LearnerId.parse(NORWEGIAN_NATIONAL_ID, number).value == number
    for position in range(11):
        changed = number[:position] + str((int(number[position]) + 1) % 10) + number[position + 1 :]
        with pytest.raises(InvalidArgument) as refusal:
            LearnerId.parse(NORWEGIAN_NATIONAL_ID, changed)
        assert changed not in str(refusal.value)


def test_a_learners_number_is_not_shown() -> None:
    number = synthetic_national_id(date(1991, 3, 14), 1)
    assert number is not None
    learner = LearnerId.parse(NORWEGIAN_NATIONAL_ID, number)
    assert number not in f"{learner} {learner!r} {[learner]}"


def test_an_unknown_scheme_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="UNKNOWN_LEARNER_SCHEME"):
        LearnerId.parse("email", "someone@example.org")


def test_ids_carry_their_time_and_increase_even_when_the_clock_goes_back() -> None:
    clock = ManualClock(START)
    make = UuidFactory(clock)
    first = [make() for _ in range(1000)]
    clock.advance(timedelta(seconds=-5))
    later = [make() for _ in range(1000)]
    assert first + later == sorted(set(first + later))
    assert {identifier.version for identifier in first} == {7}
    assert uuid_time(first[0]) == START


@pytest.mark.parametrize(
    "text", ["", "x", "01930F6E-7A00-7000-8000-00000000A001", "{01930f6e-7a00-7000-8000-00000000a001}"]
)
def test_a_uuid_has_one_text(text: str) -> None:
    with pytest.raises(InvalidArgument, match="BAD_UUID"):
        parse_uuid(text, field="request_id")
    assert parse_uuid("01930f6e-7a00-7000-8000-00000000a001") == UUID("01930f6e-7a00-7000-8000-00000000a001")
