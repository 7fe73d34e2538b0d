"""A holder shows of a document what an SD-JWT VC would let him show, and no more than he chose."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.credential_samples import FOREIGN_KEY, ISSUED_AT, PROVIDER_KEY, credentials, sample_credential
from tests.unit.european_samples import SALT, full_credential
from vitne.credentials.jose import LocalSigner
from vitne.credentials.model import Credential, Learner
from vitne.credentials.type_metadata import DISCLOSABLE
from vitne.credentials.w3c import selective
from vitne.errors import InvalidArgument

PROOF_KEY = LocalSigner(ec.derive_private_key(2001, ec.SECP256R1()))


def prepare(credential: Credential) -> selective.Prepared:
    return selective.prepare(
        credential,
        key_id=PROVIDER_KEY.key_id,
        salt=SALT,
        created=ISSUED_AT,
        hmac_key=bytes(range(32)),
        proof_key=PROOF_KEY,
    )


def base(credential: Credential) -> str:
    prepared = prepare(credential)
    again = selective.Prepared.of_stored(prepared.stored())
    return again.complete(PROVIDER_KEY.sign(prepared.signing_input))


def read(shown: str) -> selective.Shown:
    return selective.read(json.loads(shown))


FULL = full_credential()
BASE = base(FULL)


@pytest.mark.parametrize(
    ("claims", "learner", "grade"),
    [
        ((), Learner(), None),
        (("grade",), Learner(), "12"),
        (("given_name", "family_name"), Learner(given_name="Kari", family_name="Prøvesen"), None),
        (DISCLOSABLE, FULL.learner, "12"),
    ],
)
def test_what_is_chosen_is_shown_and_verifies(claims: tuple[str, ...], learner: Learner, grade: str | None) -> None:
    shown = read(selective.show(BASE, claims))
    assert shown.claims == set(claims)
    assert shown.credential == full_credential(learner=learner, grade=grade)
    assert shown.key_id == PROVIDER_KEY.key_id
    assert shown.verified_by(PROVIDER_KEY.public_key)
    assert not shown.verified_by(FOREIGN_KEY.public_key)


def test_the_log_knows_it_by_one_digest_whatever_is_shown() -> None:
    digests = {read(selective.show(BASE, claims)).digest for claims in ((), ("grade",), DISCLOSABLE)}
    assert len(digests) == 1
    assert read(selective.show(base(sample_credential()), ())).digest not in digests


def test_nothing_that_is_withheld_is_in_what_is_shown() -> None:
    text = selective.show(BASE, ("grade",))
    assert "Prøvesen" not in text
    assert "01825500042" not in text


@given(credentials(), st.sets(st.sampled_from(DISCLOSABLE)))
@settings(max_examples=15)
def test_any_credential_is_shown_in_part(credential: Credential, claims: set[str]) -> None:
    try:
        secured = base(credential)
    except InvalidArgument as refusal:
        assert refusal.reason == "EXPIRED_WHEN_ISSUED"  # noqa: PT017 - such a credential has no document
        return
    shown = read(selective.show(secured, claims))
    assert shown.verified_by(PROVIDER_KEY.public_key)
    assert shown.credential.achievement == credential.achievement
    assert shown.credential.grade == (credential.grade if "grade" in claims else None)


def test_the_digest_of_the_issuer_is_that_of_what_is_shown() -> None:
    prepared = prepare(FULL)
    signature = PROVIDER_KEY.sign(prepared.signing_input)
    assert read(selective.show(prepared.complete(signature), ())).digest == prepared.digest(signature)


def test_what_was_not_signed_does_not_verify() -> None:
    changed: dict[str, Any] = json.loads(selective.show(BASE, ("grade",)))
    changed["credentialSubject"]["grade"] = "10"
    assert not selective.read(changed).verified_by(PROVIDER_KEY.public_key)


def test_other_claims_and_other_proofs_are_refused() -> None:
    with pytest.raises(InvalidArgument, match="CLAIM_NOT_DISCLOSABLE"):
        selective.show(BASE, ("decision",))
    for nothing in ("[]", "{}"):
        with pytest.raises(InvalidArgument, match="PROOF_MISSING"):
            selective.show(nothing, ())
    shown = json.loads(selective.show(BASE, ()))
    for change in ({"verificationMethod": "https://other.example#1"}, {"proofPurpose": "authentication"}):
        with pytest.raises(InvalidArgument, match="PROOF_MALFORMED"):
            selective.read({**shown, "proof": {**shown["proof"], **change}})
    with pytest.raises(InvalidArgument, match="PROOF_MALFORMED"):
        read(BASE)
