"""The state machine of a status."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ledger.transitions import TICK, Change, Standing, Status, change_status
from vitne.errors import FailedPrecondition, InvalidArgument, VitneError

NOW = datetime(2026, 11, 21, 10, tzinfo=UTC)
HOUR = timedelta(hours=1)


def standing(status: Status, ago: timedelta = HOUR) -> Standing:
    return Standing(status, NOW - ago, NOW - ago)


@pytest.mark.parametrize(
    ("current", "change", "after"),
    [
        (None, Change.SUSPEND, Status.SUSPENDED),
        (None, Change.REVOKE, Status.REVOKED),
        (standing(Status.VALID), Change.SUSPEND, Status.SUSPENDED),
        (standing(Status.VALID), Change.REVOKE, Status.REVOKED),
        (standing(Status.SUSPENDED), Change.REINSTATE, Status.VALID),
        (standing(Status.SUSPENDED), Change.REVOKE, Status.REVOKED),
    ],
)
def test_what_may_become_of_a_status(current: Standing | None, change: Change, after: Status) -> None:
    assert change_status(current, change, now=NOW) == Standing(after, NOW, NOW)


@pytest.mark.parametrize(
    ("current", "change", "reason"),
    [
        (None, Change.REINSTATE, "STATUS_CONTRADICTS"),
        (standing(Status.VALID), Change.REINSTATE, "STATUS_CONTRADICTS"),
        (standing(Status.SUSPENDED), Change.SUSPEND, "STATUS_CONTRADICTS"),
        (standing(Status.REVOKED), Change.REINSTATE, "STATUS_FINAL"),
        (standing(Status.REVOKED), Change.SUSPEND, "STATUS_FINAL"),
    ],
)
def test_what_contradicts_is_refused_with_rule_and_remedy(
    current: Standing | None, change: Change, reason: str
) -> None:
    with pytest.raises(FailedPrecondition) as refusal:
        change_status(current, change, now=NOW)
    assert refusal.value.reason == reason
    assert refusal.value.rule
    assert refusal.value.remedy


def test_revoking_again_is_answered_as_the_first_time() -> None:
    first = standing(Status.REVOKED)
    assert change_status(first, Change.REVOKE, now=NOW) is first
    assert change_status(first, Change.REVOKE, now=NOW, effective=NOW - 2 * HOUR, issued_at=NOW - 3 * HOUR) is first


def test_effective_lies_between_issuance_or_last_change_and_now() -> None:
    issued = NOW - 10 * HOUR
    made = change_status(None, Change.REVOKE, now=NOW, effective=issued, issued_at=issued)
    assert (made.effective, made.recorded) == (issued, NOW)
    with pytest.raises(InvalidArgument, match="EFFECTIVE_IN_FUTURE"):
        change_status(None, Change.REVOKE, now=NOW, effective=NOW + timedelta(milliseconds=1))
    with pytest.raises(InvalidArgument, match="EFFECTIVE_BEFORE_ISSUANCE"):
        change_status(None, Change.REVOKE, now=NOW, effective=issued - timedelta(milliseconds=1), issued_at=issued)
    current = standing(Status.SUSPENDED)
    assert change_status(current, Change.REVOKE, now=NOW, effective=current.effective).effective == current.effective
    with pytest.raises(FailedPrecondition, match="EFFECTIVE_BEFORE_LAST_CHANGE"):
        change_status(current, Change.REVOKE, now=NOW, effective=current.effective - timedelta(milliseconds=1))


def test_a_clock_that_was_set_back_does_not_put_history_out_of_order() -> None:
    current = Standing(Status.SUSPENDED, NOW, NOW)
    later = NOW + TICK
    assert change_status(current, Change.REINSTATE, now=NOW - HOUR) == Standing(Status.VALID, later, later)


def test_changes_within_a_millisecond_are_recorded_apart() -> None:
    first = change_status(None, Change.SUSPEND, now=NOW)
    second = change_status(first, Change.REINSTATE, now=NOW)
    third = change_status(second, Change.SUSPEND, now=NOW)
    assert first.recorded < second.recorded < third.recorded


def test_an_issuer_whose_clock_is_ahead_can_revoke() -> None:
    assert change_status(None, Change.REVOKE, now=NOW, issued_at=NOW + HOUR) == Standing(Status.REVOKED, NOW, NOW)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(Change),
        st.integers(-5, 50).map(lambda minutes: timedelta(minutes=minutes)),
        st.none() | st.integers(-60, 60).map(lambda minutes: timedelta(minutes=minutes)),
    ),
    max_size=12,
)


@given(STEPS)
def test_whatever_is_asked_revoked_stays_and_time_goes_forward(
    steps: list[tuple[Change, timedelta, timedelta | None]],
) -> None:
    now, current = NOW, None
    history: list[Standing] = []
    for change, passed, offset in steps:
        now += passed
        try:
            after = change_status(current, change, now=now, effective=None if offset is None else now + offset)
        except VitneError:
            continue
        assert after.effective <= after.recorded
        if current is not None and after is not current:
            assert after.effective >= current.effective
            assert after.recorded >= current.recorded
        current = after
        history.append(after)
    revoked = [entry for entry in history if entry.status is Status.REVOKED]
    if revoked:
        assert history[-1] is revoked[0]
