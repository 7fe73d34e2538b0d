"""Changes of statuses, as the ledger tells them: one by one or several together, they say the same."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vitne.errors import DataLoss
from vitne.messaging import topics
from vitne.messaging.event_types import LIST_PUBLISHED, STATUS_CHANGED, STATUSES_CHANGED
from vitne.messaging.headers import Message
from vitne.messaging.status_events import ToldChange, read_changes
from vitne_api.credential.v1 import credential_pb2
from vitne_api.events.v1 import events_pb2

LIST = "https://status.vitne.example/2026/no-1"
NOW = datetime(2026, 11, 21, 10, tzinfo=UTC)
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
REVOKED = credential_pb2.STATUS_REVOKED

STATUSES = st.sampled_from((credential_pb2.STATUS_VALID, credential_pb2.STATUS_SUSPENDED, REVOKED))
CHANGES = st.lists(
    st.builds(
        ToldChange,
        list_url=st.just(LIST),
        index=st.integers(0, 2**22),
        status=STATUSES,
        effective=st.integers(0, 10**9).map(lambda milliseconds: NOW - timedelta(milliseconds=milliseconds)),
        recorded=st.sampled_from((NOW, NOW + timedelta(milliseconds=1))),
        traceparent=st.sampled_from(("", TRACE)),
    ),
    min_size=1,
    max_size=20,
)


def message(type_: str, value: bytes, *, key: str = LIST, traceparent: str | None = None) -> Message:
    return Message(
        topic=topics.LEDGER_STATUS,
        partition=0,
        offset=0,
        key=key,
        value=value,
        id=uuid4(),
        type=type_,
        source="/vitne/ledger",
        time=NOW,
        revision=1,
        traceparent=traceparent,
    )


def alone(change: ToldChange) -> Message:
    value = events_pb2.StatusChanged(list=change.list_url, index=change.index, status=change.status)
    value.effective.FromDatetime(change.effective)
    value.recorded.FromDatetime(change.recorded)
    return message(STATUS_CHANGED, value.SerializeToString(), traceparent=change.traceparent or None)


def together(changes: list[ToldChange]) -> events_pb2.StatusesChanged:
    value = events_pb2.StatusesChanged(list=LIST)
    value.recorded.FromDatetime(NOW)
    for change in changes:
        added = value.changes.add(index=change.index, status=change.status, traceparent=change.traceparent)
        if change.effective != change.recorded:
            added.effective.FromDatetime(change.effective)
        if change.recorded != NOW:
            added.recorded.FromDatetime(change.recorded)
    return value


@given(CHANGES)
def test_told_together_they_are_what_each_is_alone(changes: list[ToldChange]) -> None:
    assert read_changes(message(STATUSES_CHANGED, together(changes).SerializeToString())) == changes
    assert [read for change in changes for read in read_changes(alone(change))] == changes


def test_no_change_takes_another_s_trace() -> None:
    changes = [ToldChange(LIST, index, REVOKED, NOW, NOW, "") for index in (1, 2)]
    event = message(STATUSES_CHANGED, together(changes).SerializeToString(), traceparent=TRACE)
    assert [change.traceparent for change in read_changes(event)] == ["", ""]


def test_a_version_of_a_list_changes_nothing() -> None:
    assert read_changes(message(LIST_PUBLISHED, b"\xff")) == []


def _spoilt(**fields: object) -> bytes:
    value = together([])
    value.changes.add(index=1, status=REVOKED)
    value.changes.add(index=2, status=REVOKED)
    for name, content in fields.items():
        setattr(value.changes[1] if name == "status" else value, name, content)
    return value.SerializeToString()


def _without_instant() -> bytes:
    value = events_pb2.StatusesChanged(list=LIST)
    value.changes.add(index=1, status=REVOKED)
    return value.SerializeToString()


@pytest.mark.parametrize(
    ("type_", "value", "reason"),
    [
        ("vitne.ledger.unheard_of.v1", b"", "UNKNOWN_EVENT_TYPE"),
        (STATUS_CHANGED, b"\xff", "BAD_EVENT"),
        (STATUSES_CHANGED, b"\xff", "BAD_EVENT"),
        (STATUSES_CHANGED, b"", "BAD_EVENT"),
        (STATUSES_CHANGED, together([]).SerializeToString(), "BAD_EVENT"),
        (STATUSES_CHANGED, _without_instant(), "BAD_EVENT"),
        (STATUS_CHANGED, events_pb2.StatusChanged(list=LIST, status=REVOKED).SerializeToString(), "BAD_EVENT"),
        (STATUSES_CHANGED, _spoilt(list="https://other.example/1"), "BAD_EVENT"),
        (STATUSES_CHANGED, _spoilt(status=credential_pb2.STATUS_UNSPECIFIED), "BAD_EVENT"),
    ],
    ids=["type", "bytes", "bytes-together", "empty", "none", "instant", "instant-alone", "list", "status"],
)
def test_what_is_not_understood_is_refused_whole(type_: str, value: bytes, reason: str) -> None:
    with pytest.raises(DataLoss, match=reason):
        read_changes(message(type_, value))


def test_an_instant_beyond_all_calendars_is_refused() -> None:
    value = together([])
    value.changes.add(index=1, status=REVOKED).effective.seconds = 10**15
    with pytest.raises(DataLoss, match="BAD_EVENT"):
        read_changes(message(STATUSES_CHANGED, value.SerializeToString()))
