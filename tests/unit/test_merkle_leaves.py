"""Leaf records: the worked values of RECORDS.md, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vitne.canonical import canonical_bytes, from_b64url, sha256
from vitne.errors import InvalidArgument
from vitne.merkle.hashing import node_hash
from vitne.merkle.leaves import (
    AccreditationRecorded,
    Closed,
    Issued,
    KeyRecorded,
    Leaf,
    ListPublished,
    StatusChanged,
    parse_leaf,
)

AT = datetime(2026, 11, 21, 10, 5, tzinfo=UTC)
ISSUED = Issued(from_b64url("TFV8xGOHcleNF8JqBg7VniZmNJ3SuIM8ZIa7mDFraVI"))
REVOKED = StatusChanged("https://status.example/2026/dk-7", 70931, "revoked", AT, AT + timedelta(milliseconds=214))


def test_worked_values_of_records() -> None:
    assert ISSUED.to_bytes() == b'{"digest":"TFV8xGOHcleNF8JqBg7VniZmNJ3SuIM8ZIa7mDFraVI","type":"issued","v":1}'
    assert ISSUED.leaf_hash().hex() == "c5ed018c3020a051357fce8b7539c2d815aed7411c4413dd783c463be6fc346a"
    assert REVOKED.to_bytes() == (
        b'{"effective":"2026-11-21T10:05:00Z","index":70931,"list":"https://status.example/2026/dk-7",'
        b'"recorded":"2026-11-21T10:05:00.214Z","status":"revoked","type":"status","v":1}'
    )
    assert REVOKED.leaf_hash().hex() == "f0bf183b3e1e71be3a7e59854647290a62e8ab8c1d20ce846ff96e26c5d44806"
    root = node_hash(ISSUED.leaf_hash(), REVOKED.leaf_hash())
    assert root.hex() == "3917cf265631584256ca380ff34f8d595b5c91f3d41cc44247eab7f27445122b"


DIGESTS = st.binary(min_size=32, max_size=32)
COUNTS = st.integers(0, (1 << 53) - 1)
REVISIONS = st.integers(1, (1 << 53) - 1)
INSTANTS = st.datetimes(datetime(2000, 1, 1), datetime(2200, 1, 1)).map(  # noqa: DTZ001 - made aware just below
    lambda moment: moment.replace(tzinfo=UTC, microsecond=moment.microsecond // 1000 * 1000)
)
URLS = st.from_regex(r"https://[a-z]{1,20}\.example/[a-z0-9/-]{0,40}", fullmatch=True)
LEAVES = st.one_of(
    st.builds(Issued, DIGESTS),
    st.builds(
        lambda url, index, status, moments: StatusChanged(url, index, status, min(moments), max(moments)),
        URLS,
        COUNTS,
        st.sampled_from(["valid", "suspended", "revoked"]),
        st.tuples(INSTANTS, INSTANTS),
    ),
    st.builds(ListPublished, URLS, REVISIONS, DIGESTS, COUNTS),
    st.builds(AccreditationRecorded, st.uuids(), REVISIONS, DIGESTS),
    st.builds(KeyRecorded, DIGESTS, REVISIONS, DIGESTS),
    st.builds(Closed, st.from_regex(r"[a-z.]{1,20}/[0-9]{4}", fullmatch=True), COUNTS),
)


@given(LEAVES)
def test_every_leaf_reads_as_it_was_written(leaf: Leaf) -> None:
    assert parse_leaf(leaf.to_bytes()) == leaf


@pytest.mark.parametrize("path", ["", "2026/dk-7", 'with"quotation/and\\backslash', "~<&>'"])
def test_a_changes_bytes_are_canonical_whatever_its_list_is_called(path: str) -> None:
    leaf = replace(REVOKED, list_url=f"https://status.example/{path}")
    assert leaf.to_bytes() == canonical_bytes({"type": "status", "v": 1, **leaf.members()})
    assert parse_leaf(leaf.to_bytes()) == leaf


@given(st.one_of(st.binary(max_size=200), LEAVES.map(lambda leaf: leaf.to_bytes()[:-1])))
def test_garbage_is_refused_and_nothing_else_happens(data: bytes) -> None:
    with pytest.raises(InvalidArgument, match="BAD_LEAF"):
        parse_leaf(data)


DIGEST = b"TFV8xGOHcleNF8JqBg7VniZmNJ3SuIM8ZIa7mDFraVI"


@pytest.mark.parametrize(
    "data",
    [
        b'{"digest":"%s","type":"issued","v":2}' % DIGEST,
        b'{"digest":"%s","type":"issued","v":1.0}' % DIGEST,
        b'{"digest":"%s","type":"issued","v":true}' % DIGEST,
        b'{"digest":"%s","type":"issued"}' % DIGEST,
        b'{"digest":"%s","type":"issued","v":1} ' % DIGEST,
        b'{"type":"issued","digest":"%s","v":1}' % DIGEST,
        b'{"digest":"%s","digest":"%s","type":"issued","v":1}' % (DIGEST, DIGEST),
        b'{"digest":"%s","name":"Kari","type":"issued","v":1}' % DIGEST,
        b'{"digest":"%s","type":"praised","v":1}' % DIGEST,
        b'{"digest":"%s","type":["issued"],"v":1}' % DIGEST,
        b'{"digest":"%s","type":null,"v":1}' % DIGEST,
        b'{"digest":"%s=","type":"issued","v":1}' % DIGEST,
        b'{"digest":"%s","type":"issued","v":1}' % DIGEST[:-1],
        b'{"digest":7,"type":"issued","v":1}',
        b'{"digest":"\\u0054FV8xGOHcleNF8JqBg7VniZmNJ3SuIM8ZIa7mDFraVI","type":"issued","v":1}',
        REVOKED.to_bytes().replace(b"revoked", b"cancelled"),
        REVOKED.to_bytes().replace(b'"revoked"', b'["revoked"]'),
        REVOKED.to_bytes().replace(b"70931", b"-1"),
        REVOKED.to_bytes().replace(b"70931", b"70931.5"),
        REVOKED.to_bytes().replace(b"70931", b'"70931"'),
        REVOKED.to_bytes().replace(b"70931", b"9007199254740993"),
        REVOKED.to_bytes().replace(b"10:05:00Z", b"10:05:01Z"),
        REVOKED.to_bytes().replace(b"10:05:00Z", b"11:05:00+01:00"),
        REVOKED.to_bytes().replace(b'"2026-11-21T10:05:00Z"', b"null"),
        REVOKED.to_bytes().replace(b"https://status.example", b"file:///etc"),
        REVOKED.to_bytes().replace(b"https://", b"https://user@"),
        REVOKED.to_bytes().replace(b"dk-7", b"dk-7#a"),
        REVOKED.to_bytes().replace(b"https://status.example", b"https://[::1"),
        ListPublished("https://status.example/2026/dk-7", 1, sha256(b""), 9)
        .to_bytes()
        .replace(b'version":1', b'version":0'),
        b"[]",
        b"null",
        b'"issued"',
        b"\xff\xfe",
        b"[" * 4000,
        b'{"digest":NaN,"type":"issued","v":1}',
        b" " * 5000,
    ],
)
def test_what_is_not_exactly_a_leaf_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidArgument, match="BAD_LEAF"):
        parse_leaf(data)


def test_a_leaf_can_not_be_made_of_what_could_not_be_read() -> None:
    for make in (
        lambda: Issued(b"short"),
        lambda: Closed("", 0),
        lambda: Closed("two words", 0),
        lambda: KeyRecorded(sha256(b"k"), 0, sha256(b"f")),
        lambda: AccreditationRecorded(UUID(int=0), -1, sha256(b"f")),
    ):
        with pytest.raises(InvalidArgument, match="BAD_LEAF"):
            make()
