"""Renditions are prepared, stored, signed and read back; the digest is the same on both sides."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.unit.credential_samples import FOREIGN_KEY, HOLDER_KEY, ISSUED_AT, PROVIDER_KEY, sample_credential
from tests.unit.test_data_integrity import ED25519_KEY, secured
from vitne.credentials.data_integrity.suites import ECDSA_RDFC_2019, EDDSA_JCS_2022
from vitne.credentials.jose import LocalSigner
from vitne.credentials.w3c import documents
from vitne.credentials.w3c.renditions import MAX_LENGTH, Form, Prepared, parse, prepare
from vitne.errors import InvalidArgument

CREDENTIAL = sample_credential(holder=HOLDER_KEY.public_key)


def rendered(form: Form, signer: LocalSigner = PROVIDER_KEY) -> tuple[str, str]:
    """The text and its digest, by way of what is stored."""
    prepared = prepare(
        form,
        CREDENTIAL,
        algorithm=signer.algorithm,
        key_id=signer.key_id,
        salt=bytes(documents.ENTROPY_BYTES),
        created=ISSUED_AT,
    )
    again = Prepared.of_stored(prepared.stored())
    assert again == prepared
    signature = signer.sign(again.signing_input)
    return again.complete(signature), again.digest(signature)


@pytest.mark.parametrize("form", Form)
@pytest.mark.parametrize("signer", [PROVIDER_KEY, ED25519_KEY])
def test_a_rendition_is_read_back_with_its_key_and_digest(form: Form, signer: LocalSigner) -> None:
    text, digest = rendered(form, signer)
    read = parse(text)
    assert (read.form, read.credential, read.key_id, read.digest) == (form, CREDENTIAL, signer.key_id, digest)
    assert read.verified_by(signer.public_key)
    assert not read.verified_by(FOREIGN_KEY.public_key)


def test_how_a_document_is_spelled_does_not_count() -> None:
    text, digest = rendered(Form.BADGE)
    assert parse(json.dumps(json.loads(text), indent=2, sort_keys=True)).digest == digest


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"verificationMethod": f"https://other.example/issuer#{PROVIDER_KEY.key_id}"}, "PROOF_MALFORMED"),
        ({"expires": "2030-01-01T00:00:00Z"}, "PROOF_MALFORMED"),
        ({"proofPurpose": "authentication"}, "PROOF_MALFORMED"),
        ({"cryptosuite": "ecdsa-sd-2023"}, "CRYPTOSUITE_REFUSED"),
        ({"cryptosuite": "unknown"}, "CRYPTOSUITE_REFUSED"),
    ],
)
def test_proofs_that_no_provider_makes_are_refused(change: dict[str, Any], reason: str) -> None:
    document = json.loads(rendered(Form.DATA_INTEGRITY)[0])
    with pytest.raises(InvalidArgument) as refused:
        parse(json.dumps(document | {"proof": document["proof"] | change}))
    assert refused.value.reason == reason


def test_a_proof_of_another_suite_is_of_another_form_or_refused() -> None:
    for form, suite in ((Form.DATA_INTEGRITY, "ecdsa-jcs-2019"), (Form.JCS, "ecdsa-rdfc-2019")):
        document = json.loads(rendered(form)[0])
        renamed = json.dumps(document | {"proof": document["proof"] | {"cryptosuite": suite}})
        assert not parse(renamed).verified_by(PROVIDER_KEY.public_key)
    badge = json.loads(rendered(Form.BADGE)[0])
    with pytest.raises(InvalidArgument, match="PROOF_MALFORMED"):
        parse(json.dumps(badge | {"proof": badge["proof"] | {"cryptosuite": "ecdsa-jcs-2019"}}))


def test_several_proofs_are_refused() -> None:
    document = json.loads(rendered(Form.DATA_INTEGRITY)[0])
    with pytest.raises(InvalidArgument, match="PROOF_MALFORMED"):
        parse(json.dumps(document | {"proof": [document["proof"]] * 2}))


@pytest.mark.parametrize("text", ["", "{", "{}", "a.b.c", "{" + " " * MAX_LENGTH, '{"type": []}'])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(InvalidArgument):
        parse(text)


def test_foreign_documents_are_not_ours() -> None:
    for document in (secured(ECDSA_RDFC_2019, PROVIDER_KEY), secured(EDDSA_JCS_2022, ED25519_KEY)):
        with pytest.raises(InvalidArgument, match="UNKNOWN_TYPE"):
            parse(json.dumps(document))
