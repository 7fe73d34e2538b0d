from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from vitne.canonical import b64url, digest_text
from vitne.credentials.artefact import sd_jwt_digest
from vitne.credentials.jose import ES256, LocalSigner, complete, signing_input
from vitne.credentials.sd_jwt import (
    MAX_LENGTH,
    Disclosable,
    HolderBinding,
    Path,
    SdJwt,
    parse,
    prepare,
    verify_key_binding,
)
from vitne.errors import InvalidArgument

ISSUER = LocalSigner(ec.derive_private_key(21, ec.SECP256R1()))
HOLDER = LocalSigner(ec.derive_private_key(22, ec.SECP256R1()))
TYPE = "test+sd-jwt"
HEADER = {"alg": ES256, "typ": TYPE}
NOW = datetime(2026, 11, 21, 10, tzinfo=UTC)


def salts() -> Iterator[bytes]:
    return (number.to_bytes(16) for number in range(1_000_000))


def issue(claims: dict[str, Any], **options: Any) -> str:
    prepared = prepare(claims, header=HEADER, salts=salts(), **options)
    return prepared.complete(ISSUER.sign(prepared.signing_input))


def signed(payload: Any, *disclosures: Any, key_binding: str = "") -> str:
    data = signing_input(HEADER, json.dumps(payload).encode())
    return "~".join((complete(data, ISSUER.sign(data)), *map(encoded, disclosures), key_binding))


def encoded(disclosure: Any) -> str:
    return b64url(json.dumps(disclosure).encode())


def digest(disclosure: Any) -> str:
    return digest_text(encoded(disclosure).encode())


def read(compact: str) -> SdJwt:
    return parse(compact, types=(TYPE,))


def reason_of(compact: str) -> str:
    with pytest.raises(InvalidArgument) as caught:
        read(compact)
    return caught.value.reason


CLAIMS: dict[str, Any] = {
    "iss": "https://issuer.example",
    "name": Disclosable({"given": Disclosable("Kari"), "family": "Prøvesen"}),
    "places": ["Oslo", Disclosable("Odense"), Disclosable([Disclosable(1), 2])],
}
SHOWN = {
    "iss": "https://issuer.example",
    "name": {"given": "Kari", "family": "Prøvesen"},
    "places": ["Oslo", "Odense", [1, 2]],
}


def test_all_disclosures_give_back_the_claims() -> None:
    sd_jwt = read(issue(CLAIMS))
    assert sd_jwt.unverified_claims == SHOWN
    assert sd_jwt.withheld == 0
    assert len(sd_jwt.disclosures) == 5
    assert sd_jwt.jws.verified_by(ISSUER.public_key)


def test_what_is_not_shown_is_not_there_and_the_digest_stays() -> None:
    whole = issue(CLAIMS)
    bare = read(whole).present(lambda path: False)
    sd_jwt = read(bare)
    assert sd_jwt.unverified_claims == {"iss": "https://issuer.example", "places": ["Oslo"]}
    assert sd_jwt.withheld == 3
    assert "Kari" not in json.dumps(sd_jwt.payload)
    assert sd_jwt_digest(bare) == sd_jwt_digest(whole)


def test_within_what_is_not_shown_nothing_is() -> None:
    presentation = read(issue(CLAIMS)).present(lambda path: path == ("name", "given"))
    assert "name" not in read(presentation).unverified_claims
    assert len(read(presentation).disclosures) == 0


def test_a_parent_is_shown_without_its_child() -> None:
    presentation = read(issue(CLAIMS)).present(lambda path: path in {("name",), ("places", 1)})
    assert read(presentation).unverified_claims == SHOWN | {
        "name": {"family": "Prøvesen"},
        "places": ["Oslo", "Odense"],
    }


def test_decoys_are_counted_as_withheld_and_digests_are_sorted() -> None:
    sd_jwt = read(issue({"a": Disclosable(1)}, decoys=4))
    assert sd_jwt.withheld == 4
    assert sd_jwt.unverified_claims == {"a": 1}
    assert sd_jwt.payload["_sd"] == sorted(sd_jwt.payload["_sd"])


@pytest.mark.parametrize("claims", [{"_sd": []}, {"a": {"...": "x"}}, {"_sd_alg": "sha-256"}, {"a": [{"_sd": 1}]}])
def test_reserved_names_are_not_issued(claims: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="reserved"):
        prepare(claims, header=HEADER, salts=salts())


def test_salts_must_be_there_and_long_enough() -> None:
    for few in ([], [bytes(15)]):
        with pytest.raises(ValueError, match="salt"):
            prepare({"a": Disclosable(1)}, header=HEADER, salts=few)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abcæ", min_size=1), inner, max_size=3),
    max_leaves=12,
)


def mark(value: Any, draw: st.DrawFn) -> Any:
    """The same value with any part of it disclosable."""
    if isinstance(value, dict):
        return {name: maybe(mark(item, draw), draw) for name, item in value.items()}
    if isinstance(value, list):
        return [maybe(mark(item, draw), draw) for item in value]
    return value


def maybe(value: Any, draw: st.DrawFn) -> Any:
    return Disclosable(value) if draw(st.booleans()) else value


@st.composite
def marked(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Any]]:
    plain = draw(st.dictionaries(st.text("abcæ", min_size=1), JSON, max_size=4))
    return plain, mark(plain, draw)


@given(marked(), st.integers(0, 3))
def test_any_claims_come_back(both: tuple[dict[str, Any], dict[str, Any]], decoys: int) -> None:
    plain, claims = both
    assert read(issue(claims, decoys=decoys)).unverified_claims == plain


@given(marked(), st.randoms(use_true_random=False))
def test_any_presentation_reads_and_shows_only_what_was_chosen(both: Any, random: Any) -> None:
    whole = read(issue(both[1]))
    shown: set[Path] = set()

    def choose(path: Path) -> bool:
        if random.random() < 0.5:
            shown.add(path)
            return True
        return False

    presented = read(whole.present(choose))
    assert set(presented.disclosures) <= set(whole.disclosures)
    assert len(presented.disclosures) <= len(shown)
    assert presented.issuer_signed == whole.issuer_signed


# --- What must be refused (RFC 9901, section 7.1) ---

A = ["c2FsdA", "a", 1]
ELEMENT = ["c2FsdA", 1]
DIGEST = digest(A)


@pytest.mark.parametrize(
    ("reason", "compact"),
    [
        ("DISCLOSURE_UNREFERENCED", signed({}, A)),
        ("DIGEST_REPEATED", signed({"_sd": [DIGEST, DIGEST]}, A)),
        ("DIGEST_REPEATED", signed({"_sd": [DIGEST, DIGEST]})),
        ("DIGEST_REPEATED", signed({"_sd": [DIGEST], "b": [{"...": DIGEST}]})),
        ("DIGEST_REPEATED", signed({"_sd": [DIGEST]}, A, A)),
        ("CLAIM_COLLISION", signed({"a": 2, "_sd": [DIGEST]}, A)),
        ("CLAIM_COLLISION", signed({"_sd": [DIGEST, digest(["x", "a", 2])]}, A, ["x", "a", 2])),
        ("SD_JWT_MALFORMED", signed({"_sd": [digest(["s", "_sd", []])]}, ["s", "_sd", []])),
        ("SD_JWT_MALFORMED", signed({"_sd": [digest(["s", "...", "x"])]}, ["s", "...", "x"])),
        ("SD_JWT_MALFORMED", signed({"_sd": [digest(["s", "_sd_alg", "x"])]}, ["s", "_sd_alg", "x"])),
        ("SD_JWT_MALFORMED", signed({"_sd": [digest(ELEMENT)]}, ELEMENT)),
        ("SD_JWT_MALFORMED", signed({"b": [{"...": DIGEST}]}, A)),
        ("SD_JWT_MALFORMED", signed({"b": [{"...": DIGEST, "c": 1}]}, A)),
        ("SD_JWT_MALFORMED", signed({"b": [{"...": 1}]})),
        ("SD_JWT_MALFORMED", signed({"b": {"...": DIGEST}}, A)),
        ("SD_JWT_MALFORMED", signed({"_sd": DIGEST}, A)),
        ("SD_JWT_MALFORMED", signed({"_sd": [1]})),
        ("SD_JWT_MALFORMED", signed({"_sd": [digest({"a": 1})]}, {"a": 1})),
        ("SD_JWT_MALFORMED", signed({"_sd": [digest([1, "a", 1])]}, [1, "a", 1])),
        ("SD_JWT_MALFORMED", signed({"_sd": [digest(["s", "a", 1, 2])]}, ["s", "a", 1, 2])),
        ("ALGORITHM_REFUSED", signed({"_sd_alg": "md5"})),
        ("ALGORITHM_REFUSED", signed({"_sd_alg": 1})),
        ("SD_JWT_MALFORMED", signed([])),
        ("SD_JWT_MALFORMED", signed({}).removesuffix("~")),
        ("SD_JWT_MALFORMED", ""),
        ("BAD_JSON", signed({}) + b64url(b'["s","a",{"b":1,"b":2}]') + "~"),
        ("BAD_BASE64URL", signed({}) + "+++~"),
        ("SD_JWT_MALFORMED", signed({}) + "é~"),
        ("SD_JWT_MALFORMED", signed({}) + "~\ud800"),
        ("TOO_LARGE", "a" * (MAX_LENGTH + 1)),
        ("SD_JWT_MALFORMED", signed({}, *[["s", f"n{number}", 1] for number in range(513)])),
    ],
)
def test_refusals(reason: str, compact: str) -> None:
    assert reason_of(compact) == reason


@given(st.text())
def test_whatever_follows_a_well_formed_signature_is_read_or_refused(rest: str) -> None:
    issuer_signed = signed({}).removesuffix("~")
    try:
        parsed = read(f"{issuer_signed}~{rest}")
    except InvalidArgument:
        return
    assert parsed.issuer_signed == issuer_signed


@pytest.mark.parametrize(
    "within",
    [
        '{"b":{"_sd":["%s"]}}',
        '{"b":{"\\u005fsd":["%s"]}}',
        '{"b": {"_sd": ["%s"]}, "c": "_sd"}',
        '{"b":[[],{"x":[]},{"_sd":["%s"]}]}',
        '{"_sd":[],"b":{"_sd":["%s"]}}',
    ],
)
def test_what_is_withheld_within_is_found_however_it_is_spelled(within: str) -> None:
    disclosure = ["c2FsdHNhbHRzYWx0c2FsdA", "name", "value"]
    data = signing_input(HEADER, (within % digest(disclosure)).encode())
    compact = "~".join((complete(data, ISSUER.sign(data)), encoded(disclosure), ""))
    claims = read(compact).unverified_claims
    assert '"name": "value"' in json.dumps(claims["b"])
    assert "_sd" not in json.dumps(claims["b"])


def test_an_element_that_is_withheld_is_found_among_plain_claims() -> None:
    disclosure = ["c2FsdHNhbHRzYWx0c2FsdA", "value"]
    claims = {"a": 1, "b": [{"...": digest(disclosure)}, {"...": digest("another")}]}
    assert read(signed(claims, disclosure)).unverified_claims == {"a": 1, "b": ["value"]}


def test_a_chain_of_disclosures_is_bounded() -> None:
    chain: list[Any] = [["s", "a", 1]]
    for _ in range(200):
        chain.append(["s", "a", {"_sd": [digest(chain[-1])]}])
    assert reason_of(signed({"_sd": [digest(chain[-1])]}, *chain)) == "SD_JWT_MALFORMED"


def test_a_disclosure_within_a_withheld_one_is_unreferenced() -> None:
    outer = ["s", "b", {"_sd": [DIGEST]}]
    payload = {"_sd": [digest(outer)]}
    assert read(signed(payload, A, outer)).unverified_claims == {"b": {"a": 1}}
    assert reason_of(signed(payload, A)) == "DISCLOSURE_UNREFERENCED"


# --- Key binding ---


def bound(**changes: Any) -> str:
    claims = CLAIMS | {"cnf": {"jwk": HOLDER.public_jwk}}
    made: dict[str, Any] = {"signer": HOLDER, "audience": "https://verifier.example", "nonce": "n-1", "issued_at": NOW}
    binding = HolderBinding(**made | changes)
    return read(issue(claims)).present(lambda path: path == ("name",), holder=binding)


def check_binding(compact: str, **changes: Any) -> None:
    expected: dict[str, Any] = {
        "audience": "https://verifier.example",
        "nonce": "n-1",
        "now": NOW + timedelta(seconds=30),
        "max_age": timedelta(minutes=5),
    }
    verify_key_binding(read(compact), **expected | changes)


def test_a_bound_presentation_holds_for_its_verifier() -> None:
    check_binding(bound())


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        ({"signer": ISSUER}, {}),
        ({"audience": "https://other.example"}, {}),
        ({"nonce": "n-2"}, {}),
        ({}, {"now": NOW + timedelta(minutes=6)}),
        ({}, {"now": NOW - timedelta(minutes=2)}),
    ],
)
def test_a_binding_for_anything_else_is_refused(made: dict[str, Any], expected: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument, match="KEY_BINDING_INVALID"):
        check_binding(bound(**made), **expected)


def test_a_binding_does_not_move_to_another_presentation() -> None:
    presentation = bound()
    binding = presentation.rsplit("~", 1)[1]
    other = read(presentation.rsplit("~", 1)[0] + "~").present(lambda path: False)
    with pytest.raises(InvalidArgument, match="KEY_BINDING_INVALID"):
        check_binding(other + binding)


def test_no_binding_is_missing_and_no_holder_key_is_invalid() -> None:
    with pytest.raises(InvalidArgument, match="KEY_BINDING_MISSING"):
        check_binding(issue(CLAIMS))
    with pytest.raises(InvalidArgument, match="KEY_BINDING_INVALID"):
        check_binding(issue(CLAIMS) + bound().rsplit("~", 1)[1])
