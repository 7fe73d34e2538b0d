"""Canonical bytes, digests and times: RECORDS' worked values and the strictness around them."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vitne.canonical import b64url, canonical_bytes, digest_text, from_b64url, instant_text, parse_instant
from vitne.errors import InvalidArgument


def test_digest_of_an_artefact_is_the_worked_value() -> None:
    artefact = b"eyJhbGciOiJFUzI1NiIsInR5cCI6ImRjK3NkLWp3dCJ9.eyJpc3MiOiJodHRwczovL2V4YW1wbGUifQ.c2lnbmF0dXJl"
    assert digest_text(artefact) == "TFV8xGOHcleNF8JqBg7VniZmNJ3SuIM8ZIa7mDFraVI"


def test_canonical_bytes_sort_keys_and_keep_nordic_letters() -> None:
    assert canonical_bytes({"ø": 1, "a": "Árran"}) == '{"a":"Árran","ø":1}'.encode()


@pytest.mark.parametrize("record", [{"n": float("nan")}, {"n": 2**60}, {"s": "\ud800"}])
def test_what_json_cannot_carry_exactly_is_refused(record: dict[str, object]) -> None:
    with pytest.raises(InvalidArgument) as refusal:
        canonical_bytes(record)
    assert refusal.value.reason == "NOT_CANONICAL"


@given(st.binary(max_size=100))
def test_base64url_round_trips(data: bytes) -> None:
    assert from_b64url(b64url(data)) == data


@pytest.mark.parametrize("text", ["YQ==", "YR", "a", "a+b/", "YQ\n", "Y Q"])
def test_base64url_has_one_text_for_each_byte_string(text: str) -> None:
    with pytest.raises(InvalidArgument) as refusal:
        from_b64url(text, field="digest")
    assert (refusal.value.reason, refusal.value.field) == ("BAD_BASE64URL", "digest")


@given(st.text(alphabet="AQgwEIMUYcko048+/-_=\n ø", max_size=9))
def test_base64url_is_read_as_it_is_written_or_not_at_all(text: str) -> None:
    try:
        data = from_b64url(text)
    except InvalidArgument:
        padded = text.translate(str.maketrans("-_", "+/")) + "=" * (-len(text) % 4)
        if not set(text) & set("+/=\n ø") and len(text) % 4 != 1:  # then it is its unused bits
            assert b64url(base64.b64decode(padded)) != text
    else:
        assert b64url(data) == text


@given(st.datetimes(datetime(1970, 1, 2), datetime(9999, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001 bounds are naive by Hypothesis' contract
def test_an_instant_round_trips_to_the_millisecond(moment: datetime) -> None:
    whole = moment.replace(microsecond=moment.microsecond // 1000 * 1000)
    assert parse_instant(instant_text(moment)) == whole


def test_an_instant_is_written_in_utc_with_milliseconds_only_where_there_are_any() -> None:
    oslo = timezone(timedelta(hours=1))
    assert instant_text(datetime(2026, 11, 21, 11, 0, tzinfo=oslo)) == "2026-11-21T10:00:00Z"
    assert instant_text(datetime(2026, 11, 21, 10, 5, 0, 214999, tzinfo=UTC)) == "2026-11-21T10:05:00.214Z"


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-21T10:00:00",
        "2026-11-21T10:00:00+01:00",
        "2026-11-21 10:00:00Z",
        "2026-13-21T10:00:00Z",
        "2026-11-21T10:00:00.2141Z",
    ],
)
def test_other_ways_to_write_an_instant_are_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="BAD_INSTANT"):
        parse_instant(text)
