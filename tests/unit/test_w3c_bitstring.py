"""Bitstring status lists show what the status vector says; entries name its place."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vitne.credentials.data_integrity.multibase import encode_base64url
from vitne.credentials.jsonld.to_rdf import to_rdf
from vitne.credentials.model import StatusReference
from vitne.credentials.status_list import INVALID, SUSPENDED, VALID, pack
from vitne.credentials.w3c import bitstring, vcdm
from vitne.errors import InvalidArgument

LIST = "https://status.vitne.example/2026/dk-7"


@settings(max_examples=50)
@given(st.lists(st.sampled_from([VALID, INVALID, SUSPENDED]), max_size=70))
def test_each_purpose_shows_its_places(statuses: list[int]) -> None:
    packed = pack(statuses, 2)
    for purpose, meant in bitstring.PURPOSES.items():
        shown = bitstring.project(packed, purpose)
        assert len(shown) == bitstring.MIN_PLACES // 8
        assert [bitstring.is_set(shown, index) for index in range(len(statuses))] == [
            status == meant for status in statuses
        ]


def test_the_first_place_is_the_most_significant_bit() -> None:
    assert bitstring.project(pack([INVALID, VALID, SUSPENDED], 2), "revocation")[0] == 0b1000_0000
    assert bitstring.project(pack([INVALID, VALID, SUSPENDED], 2), "suspension")[0] == 0b0010_0000


def test_a_list_is_a_credential() -> None:
    shown = bitstring.project(pack([VALID, INVALID], 2), "revocation")
    now = datetime(2026, 11, 21, 10, tzinfo=UTC)
    document = bitstring.list_credential(
        LIST,
        "revocation",
        shown,
        issuer="https://vitne.example",
        issued_at=now,
        expires_at=now + timedelta(minutes=15),
        ttl=timedelta(seconds=10),
    )
    vcdm.require_credential(document)
    assert to_rdf(document)
    assert document["credentialSubject"]["ttl"] == 10_000
    assert bitstring.decode(document["credentialSubject"]["encodedList"]) == shown
    assert document["id"] == bitstring.entries(StatusReference(LIST, 1))[0]["statusListCredential"]


@pytest.mark.parametrize("index", [-1, bitstring.MIN_PLACES])
def test_places_beyond_the_list_say_nothing(index: int) -> None:
    with pytest.raises(InvalidArgument, match="STATUS_INDEX_OUT_OF_RANGE"):
        bitstring.is_set(bytes(bitstring.MIN_PLACES // 8), index)


@pytest.mark.parametrize(
    ("encoded", "reason"),
    [
        (bitstring.encode(bytes(10)), "STATUS_LIST_MALFORMED"),
        (bitstring.encode(bytes(1 << 21)), "STATUS_LIST_TOO_LARGE"),
        (bitstring.encode(bytes(20_000))[:-8], "STATUS_LIST_MALFORMED"),
        (encode_base64url(b"text"), "STATUS_LIST_MALFORMED"),
        ("H4sI", "BAD_MULTIBASE"),
    ],
)
def test_malformed_lists_are_refused(encoded: str, reason: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        bitstring.decode(encoded)
    assert refused.value.reason == reason


def test_entries_are_read_back_as_they_are_written() -> None:
    status = StatusReference(LIST, 70_931)
    assert bitstring.read_entries(bitstring.entries(status)) == status
    broken: list[Any] = [None, [], {}, [1], bitstring.entries(status)[:1], bitstring.entries(status)[::-1]]
    broken.append([bitstring.entries(status)[0] | {"statusListIndex": "070931"}, bitstring.entries(status)[1]])
    for stated in broken:
        with pytest.raises(InvalidArgument, match="STATUS_ENTRY_MALFORMED"):
            bitstring.read_entries(stated)
