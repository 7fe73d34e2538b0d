"""What follows a failed attempt: for the event, and for the endpoint."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from services.issuer.webhooks.schedule import DELAYS, DOWN_AFTER, JITTER, Answer, Disable, GiveUp, Retry, Schedule
from vitne_api.issuer.v1 import webhooks_pb2

T0 = datetime(2026, 11, 21, 10, tzinfo=UTC)
REFUSED = Answer(webhooks_pb2.WEBHOOK_OUTCOME_REFUSED, 500)
ATTEMPTS = len(DELAYS) + 1


def test_the_schedule_is_the_specifications() -> None:
    """Standard Webhooks 1.0.0, "Deliverability and reliability": time since the start of the last attempt."""
    assert Schedule().span == timedelta(hours=75, minutes=35, seconds=5)
    assert ATTEMPTS == 10


@given(st.integers(), st.integers(1, ATTEMPTS - 1), st.sampled_from([0.001, 1.0, 3.0]))
def test_waits_grow_and_are_only_lengthened_at_random(seed: int, attempts: int, scale: float) -> None:
    verdict = Schedule(scale, Random(seed)).after_failure(REFUSED, T0, attempts=attempts, failures=1, failing_since=T0)
    assert isinstance(verdict, Retry)
    wait = (verdict.at - T0).total_seconds()
    least = DELAYS[attempts - 1] * scale
    assert least - 1e-6 <= wait <= least * (1 + JITTER) + 1e-6
    assert verdict.paused_until is None


@given(st.integers())
def test_an_endpoint_that_takes_nothing_is_disabled_at_the_last_attempt_and_no_earlier(seed: int) -> None:
    schedule, now = Schedule(random=Random(seed)), T0
    for attempts in range(1, ATTEMPTS):
        verdict = schedule.after_failure(REFUSED, now, attempts=attempts, failures=attempts, failing_since=T0)
        assert isinstance(verdict, Retry), attempts
        now = max(verdict.at, verdict.paused_until or verdict.at)
    verdict = schedule.after_failure(REFUSED, now, attempts=ATTEMPTS, failures=ATTEMPTS, failing_since=T0)
    assert verdict == Disable(webhooks_pb2.WEBHOOK_DISABLED_REASON_FAILING)


def test_an_event_that_alone_is_refused_is_given_up() -> None:
    now = T0 + timedelta(days=4)
    verdict = Schedule().after_failure(REFUSED, now, attempts=ATTEMPTS, failures=1, failing_since=now)
    assert verdict == GiveUp()


def test_gone_disables_at_once() -> None:
    gone = Answer(webhooks_pb2.WEBHOOK_OUTCOME_REFUSED, 410)
    verdict = Schedule().after_failure(gone, T0, attempts=1, failures=1, failing_since=T0)
    assert verdict == Disable(webhooks_pb2.WEBHOOK_DISABLED_REASON_GONE)


def test_an_endpoint_that_is_down_is_left_in_peace_for_longer_and_longer() -> None:
    pauses = []
    for failures in range(DOWN_AFTER - 1, DOWN_AFTER + 60):
        verdict = Schedule().after_failure(REFUSED, T0, attempts=1, failures=failures, failing_since=T0)
        assert isinstance(verdict, Retry)
        pauses.append((verdict.paused_until - T0).total_seconds() if verdict.paused_until else 0)
    assert pauses[:8] == [0, 5, 10, 20, 40, 80, 160, 300]
    assert set(pauses[8:]) == {300}


def test_what_the_endpoint_asks_for_counts_for_all_its_events_within_a_day() -> None:
    for asked, given_ in (
        (timedelta(minutes=2), timedelta(minutes=2)),
        (timedelta(days=365), timedelta(days=1)),
    ):
        busy = Answer(webhooks_pb2.WEBHOOK_OUTCOME_REFUSED, 429, asked)
        verdict = Schedule().after_failure(busy, T0, attempts=1, failures=1, failing_since=T0)
        assert verdict == Retry(T0 + given_, T0 + given_)
    soon = Answer(webhooks_pb2.WEBHOOK_OUTCOME_REFUSED, 503, timedelta(0))
    verdict = Schedule().after_failure(soon, T0, attempts=2, failures=1, failing_since=T0)
    assert isinstance(verdict, Retry)
    assert verdict.at >= T0 + timedelta(minutes=5)  # never sooner than without
