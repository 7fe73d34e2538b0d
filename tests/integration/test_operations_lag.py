"""How late a consumer is, in seconds: backlog and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from vitne.clock import ManualClock
from vitne.messaging.headers import build
from vitne.messaging.lag import Progress, observe

T0 = datetime.fromisoformat("2026-11-21T10:00:00Z")


class At(NamedTuple):
    topic: str
    partition: int


@dataclass(frozen=True)
class Rec:
    """A record at an offset; it happened so many seconds after T0."""

    offset: int
    seconds: float | None
    topic: str = "t"
    partition: int = 0
    key: bytes = b"k"
    value: bytes = b""

    @property
    def headers(self) -> Any:
        if self.seconds is None:
            return []
        at = T0 + timedelta(seconds=self.seconds)
        return build(event_id=UUID(int=1), source="/t", type_="t", time=at, key="k", revision=1, traceparent=None)


P = At("t", 0)


def progress(seconds: float = 100) -> tuple[Progress, ManualClock]:
    clock = ManualClock(T0 + timedelta(seconds=seconds))
    return Progress("c", clock), clock


def test_at_the_end_there_is_no_lag_and_it_grows_from_there() -> None:
    made, clock = progress()
    assert made.lags() == {}, "nothing is known yet, and nothing is said"
    assert made.note({P: 7}, {P: 7}, {})
    assert made.lags() == {"t": 0}
    clock.advance(timedelta(seconds=3))
    assert made.lags() == {"t": 3}


def test_before_the_end_it_is_the_age_of_the_first_message_that_is_left() -> None:
    made, _ = progress()
    records = [Rec(offset, 10.0 * offset) for offset in range(5)]
    assert not made.note({P: 2}, {P: 9}, {P: records})  # stuck at the third
    assert made.lags() == {"t": 80}
    assert not made.note({P: 5}, {P: 9}, {P: records})  # all of these dealt with; what follows is younger than the last
    assert made.lags() == {"t": 60}


def test_a_partition_that_was_given_to_another_replica_is_no_longer_told() -> None:
    made, clock = progress()
    other = At("t", 1)
    made.note({P: 1, other: 1}, {P: 1, other: 1}, {})
    clock.advance(timedelta(hours=1))
    made.note({P: 1, other: 1}, {P: 1}, {})
    assert made.lags() == {"t": 0}
    made.note({P: 1}, {}, {})
    assert made.lags() == {}


def test_empty_partitions_are_done_and_those_of_which_nothing_is_known_are_not() -> None:
    made, _ = progress()
    assert made.note({}, {P: 0}, {})
    assert not made.note({}, {P: None}, {})
    assert not made.note({}, {P: 3}, {})
    assert not made.note({}, {}, {}), "who has no partition knows nothing"


def test_a_record_without_time_does_not_say_how_old_it_is() -> None:
    made, _ = progress()
    made.note({P: 0}, {P: 2}, {P: [Rec(0, 40.0)]})
    made.note({P: 1}, {P: 2}, {P: [Rec(1, None)]})
    assert made.lags() == {"t": 60}


def test_the_gauge_names_consumer_and_topic() -> None:
    made, _ = progress()
    made.note({P: 0}, {P: 2}, {P: [Rec(0, 40.0)]})
    (found,) = observe([made])
    assert found == (60, ("c", "t"))


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=20), st.integers(0, 200))
def test_lag_is_never_negative_and_never_beyond_the_oldest_message(steps: list[tuple[int, int]], seconds: int) -> None:
    made, _ = progress(seconds)
    records = [Rec(offset, float(offset)) for offset in range(10)]
    for position, end in steps:
        made.note({P: position}, {P: end}, {P: records})
        assert all(0 <= lag <= seconds for lag in made.lags().values())
