"""Headers of events: what is built is read back, and nothing else is taken for it."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vitne.clock import to_milliseconds
from vitne.errors import DataLoss
from vitne.messaging.headers import build, pack, parse, unpack

EVENT_ID = uuid.UUID("01930f6e-7a00-7000-8000-00000000a001")
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@dataclass(frozen=True)
class FakeRecord:
    headers: Sequence[tuple[str, bytes]]
    key: bytes | None = b"0184:30859480"
    value: bytes | None = b"value"
    topic: str = "vitne.registry.facts.v1"
    partition: int = 3
    offset: int = 17


def headers() -> list[tuple[str, bytes]]:
    return build(
        event_id=EVENT_ID,
        source="/vitne/registry",
        type_="vitne.registry.fact.v1",
        time=datetime(2026, 11, 21, 10, 5, 0, 214000, UTC),
        key="0184:30859480",
        revision=3,
        traceparent=TRACEPARENT,
    )


def changed(name: str, value: bytes) -> FakeRecord:
    return FakeRecord([(known, value if known == name else old) for known, old in headers()])


def test_they_are_those_of_cloudevents_in_binary_mode() -> None:
    assert dict(headers()) == {
        "ce_specversion": b"1.0",
        "ce_id": b"01930f6e-7a00-7000-8000-00000000a001",
        "ce_source": b"/vitne/registry",
        "ce_type": b"vitne.registry.fact.v1",
        "ce_time": b"2026-11-21T10:05:00.214Z",
        "ce_subject": b"0184:30859480",
        "ce_partitionkey": b"0184:30859480",
        "content-type": b"application/protobuf",
        "ce_revision": b"3",
        "traceparent": TRACEPARENT.encode(),
    }


text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=40)


@given(
    event_id=st.uuids(),
    source=text,
    type_=text,
    time=st.datetimes(
        min_value=datetime(1970, 1, 2),  # noqa: DTZ001 - Hypothesis wants its bounds naive
        max_value=datetime(9998, 1, 1),  # noqa: DTZ001
        timezones=st.just(timezone(timedelta(hours=2))),
    ),
    key=text,
    value=st.binary(),
    revision=st.integers(1, 10**18 - 1),
    traceparent=st.none() | st.just(TRACEPARENT),
)
def test_what_is_built_is_read_back(
    event_id: uuid.UUID,
    source: str,
    type_: str,
    time: datetime,
    key: str,
    value: bytes,
    revision: int,
    traceparent: str | None,
) -> None:
    built = build(
        event_id=event_id,
        source=source,
        type_=type_,
        time=time,
        key=key,
        revision=revision,
        traceparent=traceparent,
    )
    message = parse(FakeRecord(unpack(pack(built)), key=key.encode(), value=value))
    assert (message.id, message.source, message.type, message.key) == (event_id, source, type_, key)
    assert (message.value, message.revision, message.traceparent) == (value, revision, traceparent)
    assert message.time == to_milliseconds(time)
    assert (message.topic, message.partition, message.offset) == ("vitne.registry.facts.v1", 3, 17)


@pytest.mark.parametrize("name", [name for name, _ in headers() if name != "traceparent"])
def test_each_must_be_there_once(name: str) -> None:
    without = [pair for pair in headers() if pair[0] != name]
    for wrong in (without, [*without, (name, b"")], [*headers(), (name, dict(headers())[name])]):
        with pytest.raises(DataLoss, match="BAD_HEADERS") as caught:
            parse(FakeRecord(wrong))
        assert caught.value.field == name


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ce_specversion", b"0.3"),
        ("ce_id", b"01930F6E-7A00-7000-8000-00000000A001"),
        ("ce_time", b"2026-11-21T10:05:00.214+01:00"),
        ("ce_time", b"2026-11-21T10:05:00.2145Z"),
        ("ce_time", b"2026-02-30T10:05:00Z"),
        ("ce_time", b"2026-11-21"),
        ("ce_revision", b"0"),
        ("ce_revision", b"-1"),
        ("ce_revision", b"03"),
        ("ce_revision", b"3.0"),
        ("ce_revision", "٣".encode()),
        ("ce_revision", b"9" * 19),
        ("ce_subject", b"0184:00000000"),
        ("ce_partitionkey", b"0184:00000000"),
        ("content-type", b"application/json"),
        ("ce_type", b"\xff"),
        ("ce_source", b"a\0b"),
    ],
)
def test_wrong_values_are_refused(name: str, value: bytes) -> None:
    with pytest.raises(DataLoss, match="BAD_HEADERS"):
        parse(changed(name, value))


@pytest.mark.parametrize("key", [None, b"", b"\xff", b"\0"])
def test_a_record_needs_a_key(key: bytes | None) -> None:
    with pytest.raises(DataLoss, match="BAD_KEY"):
        parse(FakeRecord(headers(), key=key))


def test_a_tombstone_is_no_event() -> None:
    with pytest.raises(DataLoss, match="NO_VALUE"):
        parse(replace(FakeRecord(headers()), value=None))


@pytest.mark.parametrize("traceparent", [b"", b"garbage", b"\xff\xfe", TRACEPARENT.upper().encode()])
def test_a_bad_trace_does_not_hurt_the_event(traceparent: bytes) -> None:
    assert parse(changed("traceparent", traceparent)).traceparent is None


def test_foreign_headers_are_ignored() -> None:
    assert parse(FakeRecord([("x", b"\xff"), *headers(), ("x", b"")])).revision == 3


@pytest.mark.parametrize(
    ("time", "text"),
    [
        (datetime(2026, 11, 21, 11, 5, 0, 999, timezone(timedelta(hours=1))), b"2026-11-21T10:05:00Z"),
        (datetime(2026, 11, 21, 10, 5, 0, 214999, UTC), b"2026-11-21T10:05:00.214Z"),
    ],
)
def test_times_have_whole_milliseconds_at_most(time: datetime, text: bytes) -> None:
    built = build(event_id=EVENT_ID, source="/s", type_="t", time=time, key="k", revision=1, traceparent=None)
    assert dict(built)["ce_time"] == text
