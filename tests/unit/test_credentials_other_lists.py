"""Status lists in the forms of others: the CWT and the W3C Bitstring Status List, from the same statuses."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from vitne.canonical import b64url, from_b64url
from vitne.credentials import cbor
from vitne.credentials.bitstring_status_list import (
    PURPOSES,
    BitstringList,
    decode,
    encode,
    is_set,
    project,
    sign_credential,
    verify_credential,
)
from vitne.credentials.jose import LocalSigner, PublicKey, parse_jws, parse_public_jwk, sign_jws, strict_json
from vitne.credentials.status_list import pack
from vitne.credentials.status_list_cwt import sign_cwt, verify_cwt
from vitne.errors import InvalidArgument, Unavailable, VitneError

NOW = datetime(2026, 11, 21, 10, tzinfo=UTC)
SIGNER = LocalSigner(ec.derive_private_key(31, ec.SECP256R1()))
FOREIGN = LocalSigner(ec.derive_private_key(32, ec.SECP256R1()))
KEY: PublicKey = parse_public_jwk(SIGNER.public_jwk)
KEYS = {KEY.key_id: KEY}
URI = "https://status.vitne.example/2026/no-1"
STATUSES = [number % 3 for number in range(1001)]


def cwt(**changes: object) -> bytes:
    options = {
        "uri": URI,
        "packed": pack(STATUSES, 2),
        "bits": 2,
        "issued_at": NOW,
        "expires_at": NOW + timedelta(minutes=15),
        "ttl": timedelta(seconds=10),
        "signer": SIGNER,
    }
    return sign_cwt(**options | changes)  # type: ignore[arg-type]


def test_a_cwt_says_what_the_jwt_says() -> None:
    listed = verify_cwt(cwt(), uri=URI, find_key=KEYS.get, now=NOW)
    assert [listed.status_at(index) for index in range(len(STATUSES))] == STATUSES
    assert (listed.issued_at, listed.ttl, listed.bits) == (NOW, timedelta(seconds=10), 2)


def test_the_drafts_example_reads(vectors: Path) -> None:
    token = bytes.fromhex((vectors / "token-status-list" / "status_list_cwt.md").read_text().replace("\n", ""))
    message = cbor.decode(token)
    assert (message.tag, cbor.encode(message)) == (18, token)
    protected, header, payload, _ = message.value
    assert (cbor.decode(protected), header) == ({1: -7, 16: "application/statuslist+cwt"}, {4: b"12"})
    claims = cbor.decode(payload)
    assert claims.pop(65533) == {"bits": 1, "lst": bytes.fromhex("78dadbb918000217015d")}
    assert claims == {2: "https://example.com/statuslists/1", 6: 1686920170, 4: 2291720170, 65534: 43200}
    # Our own has the same form.
    ours = cbor.decode(cwt())
    assert cbor.decode(ours.value[0]) == cbor.decode(protected)
    assert cbor.decode(ours.value[2]).keys() == claims.keys() | {65533}


def resigned(claims: dict[object, object]) -> bytes:
    parts = cbor.decode(cwt()).value
    payload = cbor.encode(cbor.decode(parts[2]) | claims)
    signature = SIGNER.sign(cbor.encode(["Signature1", parts[0], b"", payload]))
    return cbor.encode(cbor.Tagged(18, [parts[0], parts[1], payload, signature]))


@pytest.mark.parametrize(
    ("token", "kind", "reason"),
    [
        (cwt()[:-1] + b"\x00", InvalidArgument, "STATUS_LIST_SIGNATURE"),
        (cwt(uri=URI + "0"), InvalidArgument, "STATUS_LIST_SUBJECT"),
        (
            cwt(signer=LocalSigner(ec.derive_private_key(32, ec.SECP256R1()))),
            InvalidArgument,
            "STATUS_LIST_KEY_UNKNOWN",
        ),
        (cwt(expires_at=NOW), Unavailable, "STATUS_LIST_STALE"),
        (cwt(issued_at=NOW + timedelta(minutes=2)), Unavailable, "STATUS_LIST_FUTURE"),
        (resigned({65534: 0}), InvalidArgument, "STATUS_LIST_MALFORMED"),
        (resigned({65534: 2**63}), InvalidArgument, "STATUS_LIST_MALFORMED"),
        (resigned({6: -1}), InvalidArgument, "STATUS_LIST_MALFORMED"),
        (resigned({65533: {"bits": 3, "lst": b""}}), InvalidArgument, "STATUS_LIST_MALFORMED"),
        (resigned({65533: {"bits": 1, "lst": b"x"}}), InvalidArgument, "STATUS_LIST_MALFORMED"),
        (cwt()[1:], InvalidArgument, "STATUS_LIST_MALFORMED"),
        (cwt() + b"\x00", InvalidArgument, "BAD_CBOR"),
        (b"", InvalidArgument, "BAD_CBOR"),
    ],
)
def test_what_a_reader_of_cwts_refuses(token: bytes, kind: type[VitneError], reason: str) -> None:
    with pytest.raises(kind, match=reason):
        verify_cwt(token, uri=URI, find_key=KEYS.get, now=NOW)


def test_the_recommendations_empty_list() -> None:
    # Bitstring Status List v1.0, the example of a status list credential.
    example = "uH4sIAAAAAAAAA-3BMQEAAADCoPVPbQwfoAAAAAAAAAAAAAAAAAAAAIC3AYbSVKsAQAAA"
    assert decode(example) == bytes(16_384)
    assert decode(encode(b"")) == bytes(16_384)


@given(st.lists(st.integers(0, 3), max_size=40))
def test_a_bit_a_purpose_from_the_most_significant(statuses: list[int]) -> None:
    for purpose, shown in zip(PURPOSES, ({1}, {1, 2}), strict=True):
        bits = decode(encode(project(pack(statuses, 2), purpose)))
        assert [is_set(bits, index) for index in range(len(statuses))] == [each in shown for each in statuses]
        assert not is_set(bits, len(bits) * 8 - 1)
        with pytest.raises(InvalidArgument, match="STATUS_INDEX_OUT_OF_RANGE"):
            is_set(bits, len(bits) * 8)


def credential(**changes: object) -> str:
    options = {
        "uri": f"{URI}.revocation",
        "issuer": "https://status.vitne.example",
        "packed": pack(STATUSES, 2),
        "purpose": "revocation",
        "issued_at": NOW,
        "expires_at": NOW + timedelta(minutes=15),
        "ttl": timedelta(seconds=10),
        "signer": SIGNER,
    }
    return sign_credential(**options | changes)  # type: ignore[arg-type]


def resigned_credential(subject: dict[str, object] | None = None, **claims: object) -> str:
    known = strict_json(parse_jws(credential(), algorithms=("ES256",), types=("vc+jwt",)).payload)
    known |= {"credentialSubject": known["credentialSubject"] | (subject or {})} | claims
    return sign_jws({name: value for name, value in known.items() if value is not None}, SIGNER, typ="vc+jwt")


def verified(token: str) -> BitstringList:
    return verify_credential(token, uri=f"{URI}.revocation", purpose="revocation", find_key=KEYS.get, now=NOW)


def test_a_bitstring_list_is_a_credential() -> None:
    token = credential()
    jws = parse_jws(token, algorithms=("ES256",), types=("vc+jwt",), max_length=100_000, field="list")
    assert jws.verified_by(KEY)
    claims = strict_json(jws.payload)
    assert claims["type"] == ["VerifiableCredential", "BitstringStatusListCredential"]
    assert (claims["validFrom"], claims["validUntil"]) == ("2026-11-21T10:00:00Z", "2026-11-21T10:15:00Z")
    subject = claims["credentialSubject"]
    assert (subject["type"], subject["ttl"]) == ("BitstringStatusList", 10_000)  # milliseconds, not seconds


def test_a_bitstring_list_is_read_as_it_was_signed() -> None:
    listed = verified(credential())
    assert list(listed.places_set()) == [index for index, status in enumerate(STATUSES) if status == 1]
    assert (len(listed), listed.issued_at, listed.expires_at) == (131_072, NOW, NOW + timedelta(minutes=15))
    assert (listed.uri, listed.purpose, listed.key_id) == (f"{URI}.revocation", "revocation", KEY.key_id)
    suspension = f"{URI}.suspension"
    token = credential(uri=suspension, purpose="suspension")
    both = verify_credential(token, uri=suspension, purpose="suspension", find_key=KEYS.get, now=NOW)
    assert list(both.places_set()) == [index for index, status in enumerate(STATUSES) if status]
    # Types as a set or alone, and without an end: other publishers write it so.
    assert verified(resigned_credential(type="BitstringStatusListCredential", validUntil=None)).expires_at is None


@pytest.mark.parametrize(
    ("token", "kind", "reason"),
    [
        (credential()[:-4] + "AAAA", InvalidArgument, "STATUS_LIST_SIGNATURE"),
        (credential(signer=FOREIGN), InvalidArgument, "STATUS_LIST_KEY_UNKNOWN"),
        (credential(uri=URI), InvalidArgument, "STATUS_LIST_SUBJECT"),
        (credential(purpose="suspension"), InvalidArgument, "STATUS_LIST_PURPOSE"),
        (credential(expires_at=NOW), Unavailable, "STATUS_LIST_STALE"),
        (credential(issued_at=NOW + timedelta(minutes=2)), Unavailable, "STATUS_LIST_FUTURE"),
        (resigned_credential(type=["VerifiableCredential"]), InvalidArgument, "STATUS_LIST_MALFORMED"),
        (resigned_credential(credentialSubject=[]), InvalidArgument, "STATUS_LIST_MALFORMED"),
        (resigned_credential({"type": "Other"}), InvalidArgument, "STATUS_LIST_MALFORMED"),
        (resigned_credential({"statusSize": 2}), InvalidArgument, "STATUS_LIST_MALFORMED"),
        (resigned_credential({"encodedList": 1}), InvalidArgument, "STATUS_LIST_MALFORMED"),
        (resigned_credential({"encodedList": "u"}), InvalidArgument, "STATUS_LIST_MALFORMED"),
        (resigned_credential(validFrom=None), InvalidArgument, "STATUS_LIST_MALFORMED"),
        (resigned_credential(validUntil=1), InvalidArgument, "STATUS_LIST_MALFORMED"),
        (resigned_credential(validFrom="2026-11-21"), InvalidArgument, "BAD_INSTANT"),
        (sign_jws({"id": URI}, SIGNER, typ="statuslist+jwt"), InvalidArgument, "TYPE"),
    ],
)
def test_what_a_reader_of_bitstring_credentials_refuses(token: str, kind: type[VitneError], reason: str) -> None:
    with pytest.raises(kind, match=reason):
        verified(token)


@pytest.mark.parametrize(
    ("encoded", "reason"),
    [
        (encode(b"")[1:], "STATUS_LIST_MALFORMED"),
        ("z" + encode(b"")[1:], "STATUS_LIST_MALFORMED"),
        ("u" + b64url(gzip.compress(bytes(16_383), mtime=0)), "STATUS_LIST_MALFORMED"),
        ("u" + b64url(gzip.compress(bytes((1 << 20) + 1), mtime=0)), "STATUS_LIST_TOO_LARGE"),
        ("u" + b64url(from_b64url(encode(b"")[1:])[:-1]), "STATUS_LIST_MALFORMED"),
        ("u" + b64url(b"no gzip"), "STATUS_LIST_MALFORMED"),
    ],
)
def test_what_a_reader_of_bitstrings_refuses(encoded: str, reason: str) -> None:
    with pytest.raises(InvalidArgument, match=reason):
        decode(encoded)


NUMBERS = st.integers(-(1 << 64), (1 << 64) - 1)
FLAT = NUMBERS | st.binary(max_size=30) | st.text(max_size=30)
VALUES = FLAT | st.lists(FLAT | st.lists(FLAT, max_size=3), max_size=3) | st.dictionaries(NUMBERS | st.text(), FLAT)


@settings(max_examples=50, deadline=None)
@given(VALUES)
def test_cbor_comes_back(value: cbor.Value) -> None:
    assert cbor.decode(cbor.encode(value)) == value


@pytest.mark.parametrize(
    "text",
    [
        "1800",
        "190001",
        "f4",
        "f97c00",
        "9f01ff",
        "5f4101ff",
        "61ff",
        "a201020103",
        "a1800102",
        "82",
        "c1",
        "ff",
        "4401",
    ],
)
def test_cbor_that_is_not_read(text: str) -> None:
    with pytest.raises(InvalidArgument, match="BAD_CBOR"):
        cbor.decode(bytes.fromhex(text))


def test_what_cbor_does_not_write() -> None:
    for value in (True, None, 1.5, 1 << 64):
        with pytest.raises(TypeError):
            cbor.encode(value)  # type: ignore[arg-type]
