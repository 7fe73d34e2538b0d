"""The order of indexes: a bijection for every key and size, and nothing that gives the next one away."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.ledger.permutation import Permutation, derive_key, key_check

KEYS = st.binary(min_size=32, max_size=32)


@given(KEYS, st.integers(1, 3000))
@settings(deadline=None)
def test_every_index_is_given_once_and_leads_back(key: bytes, size: int) -> None:
    order = Permutation(key, size)
    indexes = order.indexes(0, size)
    assert sorted(indexes) == list(range(size))
    assert [order.position(index) for index in indexes] == list(range(size))


@given(KEYS, st.integers(2, 500), st.data())
@settings(deadline=None)
def test_blocks_are_parts_of_one_order(key: bytes, size: int, data: st.DataObject) -> None:
    first = data.draw(st.integers(0, size))
    count = data.draw(st.integers(0, size - first))
    assert Permutation(key, size).indexes(first, count) == Permutation(key, size).indexes(0, size)[first:][:count]


def test_a_full_size_list_is_a_permutation_that_looks_like_chance() -> None:
    size = 131_072
    indexes = Permutation(bytes(range(32)), size).indexes(0, size)
    assert len(set(indexes)) == size
    # A random permutation has one fixed point on average, and steps of size / 3; the bounds are far out in the tails.
    assert sum(position == index for position, index in enumerate(indexes)) < 12
    steps = [abs(after - before) for before, after in pairwise(indexes)]
    assert 0.32 < sum(steps) / len(steps) / size < 0.35
    # The first block is spread over the whole list: how many are out can't be read from where they are.
    quarters = [sum(index * 4 // size == quarter for index in indexes[:1000]) for quarter in range(4)]
    assert all(180 < count < 320 for count in quarters)


def test_lists_have_orders_of_their_own() -> None:
    secret = bytes(range(32))
    one, other = derive_key(secret, "https://s.example/2026/no-1"), derive_key(secret, "https://s.example/2026/no-2")
    assert Permutation(one, 1000).indexes(0, 1000) != Permutation(other, 1000).indexes(0, 1000)
    assert len({one, other, key_check(one), key_check(other), secret}) == 5


def test_what_is_outside_the_list_is_refused() -> None:
    order = Permutation(bytes(32), 10)
    for first, count in ((-1, 2), (9, 2), (0, 11), (3, -1)):
        with pytest.raises(ValueError, match="outside"):
            order.indexes(first, count)
    for index in (-1, 10):
        with pytest.raises(ValueError, match="outside"):
            order.position(index)
    for key, size in ((b"short", 10), (bytes(32), 0)):
        with pytest.raises(ValueError, match="permutation"):
            Permutation(key, size)
