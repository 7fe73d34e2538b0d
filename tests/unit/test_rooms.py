"""Rooms of tests: whole, in their order, and no list that names what is gone."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.rooms import LONGEST, TOGETHER, ranks, room_of

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("room", [*TOGETHER, *LONGEST])
def test_what_is_listed_is_there(room: str) -> None:
    assert (ROOT / room).exists()


def test_the_longest_come_first_and_then_those_with_most_tests() -> None:
    small, large = "tests/unit/test_small.py", "tests/unit/test_large.py"
    nodeids = [f"{small}::test[a::b]", *(f"{large}::test_{number}" for number in range(3)), f"{LONGEST[-1]}::test"]
    nodeids += ["tests/e2e/test_one.py::test", "tests/e2e/test_two.py::test"]
    found = ranks(nodeids)
    assert sorted(found, key=found.__getitem__) == ["tests/e2e", LONGEST[-1], large, small]
    assert room_of(nodeids[-1]) == room_of(nodeids[-2])
