from __future__ import annotations

import zlib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from vitne.canonical import b64url
from vitne.credentials.jose import ES256, LocalSigner, PublicKey, complete, sign_jws, signing_input
from vitne.credentials.status_list import (
    INVALID,
    JWT_TYPE,
    SUSPENDED,
    VALID,
    StatusList,
    decode,
    encode,
    pack,
    sign_token,
    unpack,
    verify_token,
)
from vitne.errors import InvalidArgument, Unavailable, VitneError

SIGNER = LocalSigner(ec.derive_private_key(11, ec.SECP256R1()))
URI = "https://status.vitne.example/2026/dk-7"
NOW = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
STATUSES = [VALID, INVALID, SUSPENDED, VALID, VALID, INVALID, VALID, VALID]


def find_key(key_id: str) -> PublicKey | None:
    return SIGNER.public_key if key_id == SIGNER.key_id else None


def token(**changes: Any) -> str:
    arguments: dict[str, Any] = {
        "uri": URI,
        "packed": pack(STATUSES, 2),
        "bits": 2,
        "issued_at": NOW,
        "expires_at": NOW + timedelta(hours=1),
        "ttl": timedelta(seconds=5),
        "signer": SIGNER,
    }
    return sign_token(**arguments | changes)


def claims(**changes: Any) -> dict[str, Any]:
    return {
        "sub": URI,
        "iat": int(NOW.timestamp()),
        "status_list": {"bits": 2, "lst": encode(pack(STATUSES, 2))},
    } | changes


def verify(text: str, **changes: Any) -> StatusList:
    arguments: dict[str, Any] = {"uri": URI, "find_key": find_key, "now": NOW}
    return verify_token(text, **arguments | changes)


def reason_of(text: str, **changes: Any) -> str:
    with pytest.raises(VitneError) as caught:
        verify(text, **changes)
    return caught.value.reason


@st.composite
def statuses(draw: st.DrawFn) -> tuple[list[int], int]:
    bits = draw(st.sampled_from([1, 2, 4, 8]))
    return draw(st.lists(st.integers(0, (1 << bits) - 1), max_size=200)), bits


@given(statuses())
def test_what_is_packed_comes_back(given_statuses: tuple[list[int], int]) -> None:
    values, bits = given_statuses
    packed = pack(values, bits)
    assert decode(encode(packed)) == packed
    read = unpack(packed, bits)
    assert read[: len(values)] == values
    assert not any(read[len(values) :])
    held = StatusList(URI, bits, NOW, None, None, "", packed)
    assert [held.status_at(index) for index in range(len(held))] == read


def test_a_published_list_says_each_status() -> None:
    held = verify(token())
    assert [held.status_at(index) for index in range(8)] == STATUSES
    assert (held.ttl, held.expires_at, held.issued_at) == (timedelta(seconds=5), NOW + timedelta(hours=1), NOW)
    assert held.key_id == SIGNER.key_id


@pytest.mark.parametrize("index", [8, 131_072, -1])
def test_an_index_beyond_the_list_says_nothing(index: int) -> None:
    with pytest.raises(InvalidArgument, match="STATUS_INDEX_OUT_OF_RANGE"):
        verify(token()).status_at(index)


def test_a_stale_list_says_nothing() -> None:
    assert verify(token(), now=NOW + timedelta(minutes=59))
    with pytest.raises(Unavailable, match="STATUS_LIST_STALE"):
        verify(token(), now=NOW + timedelta(hours=1))


def test_a_list_of_the_future_says_nothing() -> None:
    assert verify(token(), now=NOW - timedelta(seconds=59))
    assert reason_of(token(), now=NOW - timedelta(minutes=2)) == "STATUS_LIST_FUTURE"


def test_another_lists_token_is_refused() -> None:
    assert reason_of(token(uri=URI + "8")) == "STATUS_LIST_SUBJECT"


def test_a_foreign_key_is_refused_whatever_it_calls_itself() -> None:
    foreign = LocalSigner(ec.derive_private_key(12, ec.SECP256R1()))
    assert reason_of(token(signer=foreign)) == "STATUS_LIST_KEY_UNKNOWN"
    data = signing_input({"alg": ES256, "kid": SIGNER.key_id, "typ": JWT_TYPE}, b"{}")
    assert reason_of(complete(data, foreign.sign(data))) == "STATUS_LIST_SIGNATURE"


def test_an_unsigned_list_is_refused() -> None:
    head, body, _ = token().split(".")
    assert reason_of(f"{head}.{body}.") == "BAD_JWS"
    none = signing_input({"alg": "none", "typ": JWT_TYPE}, b"{}").decode()
    assert reason_of(f"{none}.") == "BAD_JWS"
    assert reason_of(f"{none}.AA") == "ALGORITHM_REFUSED"


def test_a_token_of_another_type_is_refused() -> None:
    assert reason_of(sign_jws(claims(), SIGNER, typ="jwt")) == "WRONG_TYPE"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"sub": None}, "STATUS_LIST_SUBJECT"),
        ({"iat": None}, "STATUS_LIST_MALFORMED"),
        ({"iat": "now"}, "STATUS_LIST_MALFORMED"),
        ({"iat": 1e300}, "STATUS_LIST_MALFORMED"),
        ({"exp": True}, "STATUS_LIST_MALFORMED"),
        ({"ttl": 0}, "STATUS_LIST_MALFORMED"),
        ({"ttl": -5}, "STATUS_LIST_MALFORMED"),
        ({"ttl": "5"}, "STATUS_LIST_MALFORMED"),
        ({"status_list": None}, "STATUS_LIST_MALFORMED"),
        ({"status_list": {"bits": 2}}, "STATUS_LIST_MALFORMED"),
        ({"status_list": {"bits": 3, "lst": encode(b"\0")}}, "STATUS_LIST_MALFORMED"),
        ({"status_list": {"bits": True, "lst": encode(b"\0")}}, "STATUS_LIST_MALFORMED"),
        ({"status_list": {"bits": 1, "lst": b64url(b"not zlib")}}, "STATUS_LIST_MALFORMED"),
        ({"status_list": {"bits": 1, "lst": b64url(zlib.compress(b"\0")[:-1])}}, "STATUS_LIST_MALFORMED"),
        ({"status_list": {"bits": 1, "lst": b64url(zlib.compress(b"\0") + b"x")}}, "STATUS_LIST_MALFORMED"),
        ({"status_list": {"bits": 1, "lst": encode(bytes(2 << 20))}}, "STATUS_LIST_TOO_LARGE"),
        ({"status_list": {"bits": 1, "lst": "=="}}, "BAD_BASE64URL"),
    ],
)
def test_a_malformed_list_is_refused(change: dict[str, Any], reason: str) -> None:
    assert reason_of(sign_jws(claims(**change), SIGNER, typ=JWT_TYPE)) == reason


def test_claims_that_are_no_object_are_refused() -> None:
    data = signing_input({"alg": ES256, "kid": SIGNER.key_id, "typ": JWT_TYPE}, b"[]")
    assert reason_of(complete(data, SIGNER.sign(data))) == "STATUS_LIST_MALFORMED"


def test_a_list_without_expiry_and_ttl_is_read() -> None:
    held = verify(sign_jws(claims(), SIGNER, typ=JWT_TYPE))
    assert (held.expires_at, held.ttl) == (None, None)


def test_nothing_is_packed_that_does_not_fit() -> None:
    for values, bits in (([2], 1), ([-1], 2), ([0], 3)):
        with pytest.raises(InvalidArgument, match="STATUS_LIST_MALFORMED"):
            pack(values, bits)
