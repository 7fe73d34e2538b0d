from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from hypothesis import given
from hypothesis import strategies as st

from vitne.canonical import b64url
from vitne.credentials.jose import (
    ED25519,
    EDDSA,
    ES256,
    MAX_REMEMBERED_HEADER_LENGTH,
    LocalSigner,
    complete,
    parse_jws,
    parse_public_jwk,
    sign_jws,
    signing_input,
    strict_json,
    thumbprint,
)
from vitne.errors import InvalidArgument

SIGNER = LocalSigner(ec.derive_private_key(7, ec.SECP256R1()))
OTHER = LocalSigner(ec.derive_private_key(8, ec.SECP256R1()))
EDWARDS = LocalSigner(ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32))))


def token(header: dict[str, Any], payload: bytes = b"{}", signature: bytes = bytes(64)) -> str:
    return complete(signing_input(header, payload), signature)


def parse(text: str, **changes: Any) -> Any:
    return parse_jws(text, **{"algorithms": (ES256,), "types": ("test+jwt",), **changes})


def reason_of(text: str, **changes: Any) -> str:
    with pytest.raises(InvalidArgument) as caught:
        parse(text, **changes)
    return caught.value.reason


def test_what_is_signed_verifies_and_names_its_key() -> None:
    jws = parse(sign_jws({"a": "ø"}, SIGNER, typ="test+jwt"))
    assert json.loads(jws.payload) == {"a": "ø"}
    assert jws.header.key_id == SIGNER.key_id
    assert len(jws.signature) == 64
    assert jws.verified_by(SIGNER.public_key)
    assert not jws.verified_by(OTHER.public_key)


def test_signing_again_gives_the_same_signature() -> None:
    assert SIGNER.sign(b"x") == SIGNER.sign(b"x")


@pytest.mark.parametrize("name", [ED25519, EDDSA])
def test_ed25519_counts_only_where_its_name_is_allowed(name: str) -> None:
    header = {"alg": name, "typ": "test+jwt"}
    text = token(header, b"{}", EDWARDS.sign(signing_input(header, b"{}")))
    assert parse(text, algorithms=(name,)).verified_by(EDWARDS.public_key)
    assert not parse(text, algorithms=(name,)).verified_by(SIGNER.public_key)
    assert reason_of(text) == "ALGORITHM_REFUSED"


def test_a_key_never_verifies_under_another_algorithm() -> None:
    header = {"alg": ES256, "typ": "test+jwt"}
    text = token(header, b"{}", EDWARDS.sign(signing_input(header, b"{}")))
    assert not parse(text).verified_by(EDWARDS.public_key)


@pytest.mark.parametrize("algorithm", ["none", "None", "HS256", "ES384", "RS256", ""])
def test_algorithms_outside_the_list_are_refused(algorithm: str) -> None:
    assert reason_of(token({"alg": algorithm, "typ": "test+jwt"})) == "ALGORITHM_REFUSED"


def test_an_unsigned_token_is_refused() -> None:
    head, body, _ = token({"alg": "none", "typ": "test+jwt"}).split(".")
    assert reason_of(f"{head}.{body}.") == "BAD_JWS"
    assert reason_of(f"{head}.{body}") == "BAD_JWS"


@pytest.mark.parametrize("extension", [{"crit": ["exp"], "exp": 1}, {"b64": False}])
def test_extensions_are_refused(extension: dict[str, Any]) -> None:
    assert reason_of(token({"alg": ES256, "typ": "test+jwt", **extension})) == "CRITICAL_HEADER_REFUSED"


def test_a_header_that_names_a_member_twice_is_refused() -> None:
    head = b64url(b'{"alg":"ES256","alg":"ES256","typ":"test+jwt"}')
    assert reason_of(f"{head}.e30.{b64url(bytes(64))}") == "BAD_JSON"


def test_only_small_headers_are_remembered_since_they_are_read_before_who_signed_is_known() -> None:
    small, large = (
        token({"alg": ES256, "typ": "test+jwt", "x5c": ["A" * length]})
        for length in (MAX_REMEMBERED_HEADER_LENGTH // 2, MAX_REMEMBERED_HEADER_LENGTH)
    )
    assert parse(small).header is parse(small).header
    assert parse(large).header is not parse(large).header
    assert parse(large).header == parse(large).header


@pytest.mark.parametrize("header", [[], "x", {"alg": 1}, {"alg": ES256, "typ": "test+jwt", "kid": 4}])
def test_a_header_of_another_shape_is_refused(header: Any) -> None:
    assert reason_of(token(header)) == "BAD_JWS"


def test_a_token_of_another_type_is_refused() -> None:
    assert reason_of(token({"alg": ES256, "typ": "other+jwt"})) == "WRONG_TYPE"
    assert reason_of(token({"alg": ES256})) == "WRONG_TYPE"


def test_sizes_are_bounded() -> None:
    assert reason_of("a" * 101, max_length=100) == "TOO_LARGE"
    assert reason_of(token({"alg": ES256, "typ": "test+jwt", "x": "y" * 13_000})) == "TOO_LARGE"


def test_padding_and_foreign_characters_are_refused() -> None:
    good = sign_jws({}, SIGNER, typ="test+jwt")
    assert reason_of(good + "==") == "BAD_BASE64URL"
    assert reason_of(good[:-1] + "+") == "BAD_BASE64URL"


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_any_changed_byte_breaks_the_signature(place: int, change: int) -> None:
    jws = parse(sign_jws({"a": 1}, SIGNER, typ="test+jwt"))
    changed = bytearray(jws.signing_input)
    changed[place % len(changed)] ^= change
    assert not SIGNER.public_key.verify(bytes(changed), jws.signature)
    signature = bytearray(jws.signature)
    signature[place % 64] ^= change
    assert not SIGNER.public_key.verify(jws.signing_input, bytes(signature))


@pytest.mark.parametrize("length", [0, 63, 65, 72])
def test_signatures_have_one_length(length: int) -> None:
    assert not SIGNER.public_key.verify(b"x", bytes(length))
    assert not EDWARDS.public_key.verify(b"x", bytes(length))


def test_the_thumbprint_of_rfc_8037() -> None:
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "use": "sig"}
    assert thumbprint(jwk) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


def test_a_public_jwk_reads_back_from_text() -> None:
    key = parse_public_jwk(json.dumps({**SIGNER.public_jwk, "kid": "x", "alg": ES256}))
    assert key == SIGNER.public_key
    assert key.raw()[0] == 4
    assert len(EDWARDS.public_key.raw()) == 32


def test_private_members_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="PRIVATE_KEY_SENT"):
        parse_public_jwk({**SIGNER.public_jwk, "d": "AAAA"})


@pytest.mark.parametrize(
    "change",
    [
        {"y": SIGNER.public_jwk["x"]},
        {"x": b64url(bytes(32)), "y": b64url(bytes(32))},
        {"x": SIGNER.public_jwk["x"] + "AA"},
        {"crv": "P-384"},
        {"kty": "RSA"},
        {"kty": "OKP"},
        {"x": base64.b64encode(bytes(32)).decode()},
        {"x": 5},
        {"y": None},
    ],
)
def test_points_off_the_curve_and_other_keys_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument, match="BAD_JWK"):
        parse_public_jwk({**SIGNER.public_jwk, **change})


@pytest.mark.parametrize("text", ["[]", "null", '"x"', "{", '{"kty":"EC","kty":"EC"}'])
def test_jwk_text_of_another_shape_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match=r"BAD_JWK|BAD_JSON"):
        parse_public_jwk(text)


def test_a_signer_shows_no_secret() -> None:
    assert repr(SIGNER) == f"LocalSigner(key_id={SIGNER.key_id!r}, algorithm='ES256')"


@pytest.mark.parametrize(
    "text",
    [
        '{"a":1,"a":1}',
        '[{"b":{"c":1,"c":2}}]',
        "NaN",
        "1e999",
        '"\\ud800"',
        b'"\xff"',
        "[" * 40 + "]" * 40,
        "[" * 100_000,
        "1" * 5000,
        "{} {}",
        "\ufeff{}",
        "",
    ],
)
def test_json_with_more_than_one_meaning_is_refused(text: str | bytes) -> None:
    with pytest.raises(InvalidArgument, match="BAD_JSON"):
        strict_json(text)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(JSON)
def test_json_reads_back(value: Any) -> None:
    assert strict_json(json.dumps(value)) == value


def read(data: bytes | str) -> str:
    """What is read, with the types of it all, or why it is refused."""
    try:
        return repr(strict_json(data))
    except InvalidArgument as error:
        return error.reason


#: Pieces of JSON, spelled in ways that plain writers don't use, too.
SPELLED = st.sampled_from(
    [
        *("1", "1.0", "-0", "-0.0", "1e2", "1.50", "1e999", "18446744073709551616", "null", "NaN", " 1", "tru"),
        *('"a"', '""', '"\\u0061"', '"\\ud800"', '"\\/"', '"ø"', '"\x7f"', '"\u2028"'),
    ]
)
NESTED = st.recursive(
    SPELLED,
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: f"[{','.join(items)}]")
        | st.lists(st.tuples(st.sampled_from(['"a"', '"b"', '"\\u0061"', '"ø"']), inner), max_size=3).map(
            lambda members: "{" + ",".join(f"{name}:{value}" for name, value in members) + "}"
        )
    ),
    max_leaves=8,
)


@given(NESTED | JSON.map(lambda value: json.dumps(value, separators=(",", ":"), ensure_ascii=False)))
def test_the_quick_way_to_read_json_reads_and_refuses_what_the_strict_one_does(text: str) -> None:
    # Bytes may be read the quick way; texts never are.
    assert read(text.encode("utf-8", "surrogatepass")) == read(text)


@pytest.mark.parametrize("depth", [31, 32, 33])
def test_the_quick_way_counts_levels_as_the_strict_one_does(depth: int) -> None:
    text = "[" * depth + "]" * depth
    assert read(text.encode()) == read(text)
