"""The packed statuses of a list: against the specification's example and the reader of the other side."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ledger.transitions import Status
from services.ledger.vector import BITS, StatusVector
from vitne.credentials.status_list import INVALID, SUSPENDED, VALID, unpack


def test_values_are_those_of_the_registry() -> None:
    assert (Status.VALID.value, Status.REVOKED.value, Status.SUSPENDED.value) == (VALID, INVALID, SUSPENDED)


def test_the_least_significant_bits_come_first() -> None:
    vector = StatusVector(6)
    vector[0], vector[1], vector[5] = Status.REVOKED, Status.SUSPENDED, Status.SUSPENDED
    assert vector.packed() == bytes([0b0000_1001, 0b0000_1000])


@given(st.integers(1, 60), st.data())
def test_every_place_keeps_what_was_set_last(size: int, data: st.DataObject) -> None:
    vector, model = StatusVector(size), [Status.VALID] * size
    for index, status in data.draw(st.lists(st.tuples(st.integers(0, size - 1), st.sampled_from(Status)), max_size=40)):
        vector[index] = model[index] = status
    assert [vector[index] for index in range(size)] == model
    assert unpack(vector.packed(), BITS)[:size] == [status.value for status in model]


def test_places_outside_are_refused() -> None:
    vector = StatusVector(5)
    for index in (-1, 5):
        with pytest.raises(IndexError):
            vector[index] = Status.REVOKED
        with pytest.raises(IndexError):
            _ = vector[index]
