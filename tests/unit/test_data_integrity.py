"""Proofs are made and read back; keys and multibase text are read strictly."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.credential_samples import FOREIGN_KEY, HOLDER_KEY, ISSUED_AT, PROVIDER_KEY
from vitne.credentials.artefact import data_integrity_digest
from vitne.credentials.data_integrity import multikey, proof
from vitne.credentials.data_integrity.multibase import decode, encode_base58, encode_base64url
from vitne.credentials.data_integrity.options import canonical_options
from vitne.credentials.data_integrity.suites import (
    ECDSA_JCS_2019,
    ECDSA_RDFC_2019,
    EDDSA_JCS_2022,
    EDDSA_RDFC_2022,
    Suite,
)
from vitne.credentials.jose import LocalSigner
from vitne.errors import InvalidArgument

ED25519_KEY = LocalSigner(ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
V2 = "https://www.w3.org/ns/credentials/v2"
BADGES = "https://purl.imsglobal.org/spec/ob/v3p0/context-3.0.3.json"
HOSTILE = st.text(st.characters(codec="utf-8"), max_size=10)
METHOD = "https://vitne.example/issuers/0184:30859480#key"
PAIRS = [
    (EDDSA_JCS_2022, ED25519_KEY),
    (EDDSA_RDFC_2022, ED25519_KEY),
    (ECDSA_JCS_2019, PROVIDER_KEY),
    (ECDSA_RDFC_2019, PROVIDER_KEY),
]
DOCUMENT = {
    "@context": ["https://www.w3.org/ns/credentials/v2"],
    "type": ["VerifiableCredential"],
    "issuer": "https://vitne.example/issuers/0184:30859480",
    "credentialSubject": {"id": "did:example:learner", "name": 'Åse "A" <b>\n\\'},
}


def secured(suite: Suite, signer: LocalSigner, document: dict[str, Any] = DOCUMENT, **options: Any) -> dict[str, Any]:
    prepared = proof.prepare(
        document,
        suite=suite,
        algorithm=signer.algorithm,
        verification_method=METHOD,
        created=ISSUED_AT,
        **options,
    )
    return prepared.complete(signer.sign(prepared.hash_data))


def refusal(document: Any) -> str:
    with pytest.raises(InvalidArgument) as refused:
        proof.read(document)
    return refused.value.reason


@pytest.mark.parametrize(("suite", "signer"), PAIRS)
def test_what_is_signed_verifies_with_its_key_alone(suite: Suite, signer: LocalSigner) -> None:
    document = secured(suite, signer)
    (read,) = proof.read(json.loads(json.dumps(document)))
    assert (read.suite, read.verification_method, read.created) == (suite, METHOD, ISSUED_AT)
    assert read.verified_by(signer.public_key)
    read.require(purpose=proof.ASSERTION, now=ISSUED_AT)
    other = FOREIGN_KEY if signer is PROVIDER_KEY else LocalSigner(ed25519.Ed25519PrivateKey.generate())
    assert not read.verified_by(other.public_key)
    # The digest in the log is over what is signed and the signature, so it can be computed from the document alone.
    assert data_integrity_digest(read.hash_data(signer.algorithm), read.signature) != data_integrity_digest(
        read.hash_data(signer.algorithm), bytes(64)
    )


@pytest.mark.parametrize(("suite", "signer"), PAIRS)
def test_a_suite_takes_the_keys_that_it_is_made_for(suite: Suite, signer: LocalSigner) -> None:
    other = ED25519_KEY if signer is PROVIDER_KEY else PROVIDER_KEY
    with pytest.raises(InvalidArgument, match="ALGORITHM_REFUSED"):
        secured(suite, other)
    with pytest.raises(InvalidArgument, match="ALGORITHM_REFUSED"):
        proof.read(secured(suite, signer))[0].verified_by(other.public_key)


@pytest.mark.parametrize(("suite", "signer"), PAIRS)
@pytest.mark.parametrize(
    "change",
    [
        {"created": "2026-11-21T10:00:01Z"},
        {"verificationMethod": f"{METHOD}2"},
        {"proofPurpose": "authentication"},
        {"expires": "2030-01-01T00:00:00Z"},
        {"id": "urn:uuid:01930f6e-7a00-7000-8000-00000000a001"},
    ],
)
def test_the_options_are_signed_too(suite: Suite, signer: LocalSigner, change: dict[str, str]) -> None:
    document = secured(suite, signer)
    (read,) = proof.read(document | {"proof": document["proof"] | change})
    assert not read.verified_by(signer.public_key)


@given(
    st.fixed_dictionaries(
        {
            "@context": st.sampled_from([[V2], [V2, BADGES], [V2, {"did": "urn:x:", "https": "urn:y:"}]]),
            "type": st.just(proof.TYPE),
            "cryptosuite": st.sampled_from(["eddsa-rdfc-2022", "ecdsa-rdfc-2019"]) | HOSTILE,
            "created": st.just("2026-11-21T10:00:00Z") | HOSTILE,
            "verificationMethod": st.sampled_from([METHOD, "did:key:z1#z1", "urn:a"]),
            "proofPurpose": st.sampled_from([proof.ASSERTION, "authentication", "keyAgreement"]),
        },
        optional={"expires": st.just("2026-11-21T10:00:00Z"), "nonce": HOSTILE},
    )
)
def test_options_are_filled_in_as_the_general_path_has_them(options: dict[str, Any]) -> None:
    filled = canonical_options(options)
    assert filled in (None, EDDSA_RDFC_2022.canonicalise(options, "sha256"))
    plain = options["verificationMethod"] == METHOD and len(options) == 6 and options["proofPurpose"] != "keyAgreement"
    assert (filled is not None) == plain


def test_purpose_and_end_are_asked_for() -> None:
    document = secured(EDDSA_JCS_2022, ED25519_KEY, purpose="authentication")
    document["proof"]["expires"] = "2026-11-21T11:00:00+01:00"
    (read,) = proof.read(document)
    with pytest.raises(InvalidArgument, match="PROOF_PURPOSE"):
        read.require(purpose=proof.ASSERTION, now=ISSUED_AT)
    read.require(purpose="authentication", now=ISSUED_AT - timedelta(seconds=1))
    with pytest.raises(InvalidArgument, match="PROOF_EXPIRED"):
        read.require(purpose="authentication", now=ISSUED_AT)


def test_contexts_may_be_added_behind_those_that_a_jcs_proof_names() -> None:
    document = secured(EDDSA_JCS_2022, ED25519_KEY)
    (read,) = proof.read(document | {"@context": [*DOCUMENT["@context"], BADGES]})
    assert read.verified_by(ED25519_KEY.public_key)
    assert refusal(document | {"@context": [BADGES, *DOCUMENT["@context"]]}) == "PROOF_MALFORMED"


def test_each_of_several_proofs_is_read() -> None:
    first, second = (secured(suite, signer)["proof"] for suite, signer in PAIRS[1::2])
    document = DOCUMENT | {"proof": [first, second]}
    one, two = proof.read(document)
    assert one.verified_by(ED25519_KEY.public_key)
    assert two.verified_by(PROVIDER_KEY.public_key)
    assert refusal(DOCUMENT | {"proof": [first] * (proof.MAX_PROOFS + 1)}) == "PROOF_MALFORMED"


def test_a_document_is_signed_once() -> None:
    with pytest.raises(InvalidArgument, match="PROOF_PRESENT"):
        secured(EDDSA_JCS_2022, ED25519_KEY, secured(EDDSA_JCS_2022, ED25519_KEY))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"type": "Ed25519Signature2020"}, "CRYPTOSUITE_REFUSED"),
        ({"cryptosuite": "eddsa-2022"}, "CRYPTOSUITE_REFUSED"),
        ({"cryptosuite": None}, "CRYPTOSUITE_REFUSED"),
        ({"previousProof": "urn:x"}, "PROOF_MALFORMED"),
        ({"proofValue": "u1234"}, "PROOF_MALFORMED"),
        ({"proofValue": "z0OIl"}, "BAD_MULTIBASE"),
        ({"proofValue": 1}, "PROOF_MALFORMED"),
        ({"verificationMethod": ["a"]}, "PROOF_MALFORMED"),
        ({"proofPurpose": ""}, "PROOF_MALFORMED"),
        ({"created": "2026-11-21"}, "BAD_INSTANT"),
        ({"expires": None}, "PROOF_MALFORMED"),
    ],
)
def test_malformed_proofs_are_refused(change: dict[str, Any], reason: str) -> None:
    document = secured(EDDSA_RDFC_2022, ED25519_KEY)
    assert refusal(document | {"proof": document["proof"] | change}) == reason


@pytest.mark.parametrize("value", [None, [], "text", ["text"]])
def test_a_document_without_a_proof_is_refused(value: Any) -> None:
    assert refusal(DOCUMENT | {"proof": value}) in {"PROOF_MISSING", "PROOF_MALFORMED"}


@pytest.mark.parametrize("signer", [ED25519_KEY, PROVIDER_KEY, HOLDER_KEY, FOREIGN_KEY])
def test_keys_are_read_back_as_they_are_written(signer: LocalSigner) -> None:
    did = multikey.did_key(signer.public_key)
    text = multikey.encode(signer.public_key)
    assert multikey.parse_did_key(did) == multikey.parse_did_key(f"{did}#{text}") == signer.public_key
    with pytest.raises(InvalidArgument, match="BAD_MULTIKEY"):
        multikey.parse_did_key(f"{did}#z1")


def test_foreign_issuers_may_sign_on_p384() -> None:
    private = ec.derive_private_key(7, ec.SECP384R1())
    point = private.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    key = multikey.parse(encode_base58(b"\x81\x24" + point))
    prepared = proof.prepare(
        DOCUMENT, suite=ECDSA_RDFC_2019, algorithm=key.algorithm, verification_method=METHOD, created=ISSUED_AT
    )
    assert len(prepared.hash_data) == 96
    numbers = decode_dss_signature(private.sign(prepared.hash_data, ec.ECDSA(hashes.SHA384())))
    signature = b"".join(number.to_bytes(48) for number in numbers)
    assert proof.read(prepared.complete(signature))[0].verified_by(key)
    assert not proof.read(prepared.complete(signature[:-1]))[0].verified_by(key)
    assert not proof.read(prepared.complete(bytes(96)))[0].verified_by(key)


@pytest.mark.parametrize(
    "data",
    [
        b"\xed\x01" + bytes(31),
        b"\x80\x24\x02" + b"\xff" * 32,
        b"\x80\x24\x04" + bytes(64),
        b"\x81\x24\x02" + bytes(32),
        b"\x12\x00" + bytes(32),
        b"",
    ],
)
def test_other_keys_are_refused(data: bytes) -> None:
    with pytest.raises(InvalidArgument, match="BAD_MULTIKEY"):
        multikey.parse(encode_base58(data))


@given(st.binary(max_size=80))
def test_multibase_has_one_text_for_each_byte_string(data: bytes) -> None:
    assert decode(encode_base58(data)) == decode(encode_base64url(data)) == data
    assert encode_base58(decode(encode_base58(data))) == encode_base58(data)


@pytest.mark.parametrize("text", ["", "f00", "z0", "zO", "z" + "1" * 1024, "m" + "A" * 4])
def test_other_multibase_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="BAD_MULTIBASE"):
        decode(text)
