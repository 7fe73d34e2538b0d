"""Sealed values open at their place only; keyed hashes keep their purposes apart."""

from __future__ import annotations

import hmac
from hashlib import sha256
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.issuer.crypto import DataKey, IndexKey
from vitne.errors import DataLoss
from vitne.identifiers import LearnerId
from vitne.runtime.sealing import new_key

ROW, OTHER_ROW = UUID(int=1), UUID(int=2)
KEY = DataKey(bytes(range(32)))
BYTES = st.binary(max_size=200)


@given(BYTES)
def test_what_is_sealed_opens_at_its_place(plain: bytes) -> None:
    sealed = KEY.seal(plain, "credential", ROW, "prepared")
    assert KEY.open(sealed, "credential", ROW, "prepared") == plain
    assert KEY.seal(plain, "credential", ROW, "prepared") != sealed


@pytest.mark.parametrize(
    ("table", "row", "column"),
    [("learner", ROW, "prepared"), ("credential", OTHER_ROW, "prepared"), ("credential", ROW, "secret")],
)
def test_it_does_not_open_elsewhere(table: str, row: UUID, column: str) -> None:
    sealed = KEY.seal(b"said of a learner", "credential", ROW, "prepared")
    with pytest.raises(DataLoss) as caught:
        KEY.open(sealed, table, row, column)
    assert caught.value.reason == "SEAL_BROKEN"


@given(st.data())
def test_nothing_can_be_changed_or_cut(data: st.DataObject) -> None:
    sealed = KEY.seal(b"said of a learner", "credential", ROW, "prepared")
    place = data.draw(st.integers(0, len(sealed) - 1))
    changed = bytearray(sealed)
    changed[place] ^= data.draw(st.integers(1, 255))
    for broken in (bytes(changed), sealed[:place]):
        with pytest.raises(DataLoss):
            KEY.open(broken, "credential", ROW, "prepared")


def test_another_key_does_not_open_it() -> None:
    sealed = KEY.seal(b"", "learner", ROW, "secret")
    with pytest.raises(DataLoss):
        DataKey(new_key()).open(sealed, "learner", ROW, "secret")


@pytest.mark.parametrize("kind", [DataKey, IndexKey])
def test_keys_have_one_length_and_never_show(kind: type[DataKey] | type[IndexKey]) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        kind(bytes(16))
    assert bytes(range(32)).hex() not in repr(kind(bytes(range(32))))


def test_a_learners_hash_is_that_of_the_records() -> None:
    key = bytes(range(32))
    expected = hmac.digest(key, b"no.national_id\x0001410100000", sha256)
    assert IndexKey(key).learner(LearnerId("no.national_id", "01410100000")) == expected


@given(BYTES, BYTES)
def test_hashes_of_other_purposes_do_not_meet(first: bytes, second: bytes) -> None:
    index = IndexKey(bytes(32))
    assert index.digest("item", first) != index.digest("issuance", second)
