"""A holder shows parts of a document; what is shown was signed, what is withheld stays withheld."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from typing import Any

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from tests.unit.credential_samples import FOREIGN_KEY, HOLDER_KEY, ISSUED_AT, PROVIDER_KEY, sample_credential
from tests.unit.test_data_integrity import ED25519_KEY, METHOD, secured
from vitne.credentials.data_integrity import ecdsa_sd_2023
from vitne.credentials.data_integrity.multibase import decode, encode_base64url
from vitne.credentials.data_integrity.proof import ASSERTION
from vitne.credentials.data_integrity.selection import MAX_POINTERS, select
from vitne.credentials.data_integrity.suites import EDDSA_RDFC_2022
from vitne.credentials.jose import LocalSigner
from vitne.credentials.w3c import documents
from vitne.errors import InvalidArgument

PROOF_KEY = LocalSigner(ec.derive_private_key(2001, ec.SECP256R1()))
MANDATORY = [
    *("/issuer", "/validFrom", "/credentialStatus", "/salt", "/kind", "/retention", "/awarded_on", "/decision"),
    "/credentialSubject/micro_credential",
]
DOCUMENT = documents.to_document(sample_credential(holder=HOLDER_KEY.public_key), salt=bytes(16))


def base(document: dict[str, Any] = DOCUMENT, mandatory: list[str] = MANDATORY) -> dict[str, Any]:
    prepared = ecdsa_sd_2023.prepare(
        document,
        mandatory=mandatory,
        verification_method=METHOD,
        created=ISSUED_AT,
        hmac_key=bytes(range(32)),
        proof_key=PROOF_KEY,
    )
    return prepared.complete(PROVIDER_KEY.sign(prepared.to_sign))


BASE = base()


def refusal(ask: Callable[[], Any]) -> str:
    with pytest.raises(InvalidArgument) as refused:
        ask()
    return refused.value.reason


@pytest.mark.parametrize(
    ("selective", "grade", "name"),
    [
        ([], None, None),
        (["/credentialSubject/grade"], "12", None),
        (["/credentialSubject/given_name"], None, "Kari"),
        (["/credentialSubject"], "12", "Kari"),
    ],
)
def test_what_is_chosen_is_shown_and_the_rest_is_not(selective: list[str], grade: Any, name: Any) -> None:
    shown = ecdsa_sd_2023.derive(BASE, selective)
    read = ecdsa_sd_2023.read(json.loads(json.dumps(shown)))
    assert read.verified_by(PROVIDER_KEY.public_key)
    assert not read.verified_by(FOREIGN_KEY.public_key)
    assert not read.verified_by(ED25519_KEY.public_key)
    read.require(purpose=ASSERTION, now=ISSUED_AT)
    credential = documents.from_document(shown)
    assert (credential.grade, credential.learner.given_name) == (grade, name)
    assert name or "Kari" not in json.dumps(shown)
    # What the issuer signed is the same whatever is shown: so is the digest in the log.
    assert read.to_verify == ecdsa_sd_2023.read(ecdsa_sd_2023.derive(BASE, [])).to_verify


def test_nothing_that_is_shown_can_be_changed() -> None:
    shown = ecdsa_sd_2023.derive(BASE, ["/credentialSubject/grade"])
    subject = shown["credentialSubject"]
    changes = [
        {"validFrom": "2026-11-21T10:00:00.215Z"},
        {"kind": "no.kompetanseattest"},
        {"credentialSubject": subject | {"grade": "13"}},
        {"credentialSubject": {name: value for name, value in subject.items() if name != "grade"}},
        {"credentialSubject": subject | {"given_name": "Kari"}},
        {"proof": shown["proof"] | {"created": "2026-11-21T10:00:01Z"}},
        {"proof": shown["proof"] | {"verificationMethod": f"{METHOD}2"}},
    ]
    for change in changes:
        with contextlib.suppress(InvalidArgument):
            assert not ecdsa_sd_2023.read(shown | change).verified_by(PROVIDER_KEY.public_key), change


def changed(document: dict[str, Any], place: int, value: Any) -> dict[str, Any]:
    text = document["proof"]["proofValue"]
    data = decode(text)
    components = cbor2.loads(data[3:])
    components[place] = value(components[place]) if callable(value) else value
    return document | {
        "proof": document["proof"] | {"proofValue": encode_base64url(data[:3] + cbor2.dumps(components))}
    }


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (0, "text"),
        (1, b"\x80\x24\x02"),
        (1, b"\xed\x01" + bytes(32)),
        (2, lambda signatures: signatures[:-1]),
        (2, lambda signatures: [1] * len(signatures)),
        (3, {}),
        (3, lambda labels: labels | {99: bytes(32)}),
        (3, lambda labels: dict.fromkeys(labels, bytes(32))),
        (3, lambda labels: {str(number): label for number, label in labels.items()}),
        (4, lambda places: [*places, places[0]]),
        (4, lambda places: [*places, 10_000]),
        (4, lambda places: places[:-1]),
        (4, ["text"]),
        (4, [[]]),
    ],
)
def test_derived_proofs_of_another_form_are_refused(place: int, value: Any) -> None:
    shown = ecdsa_sd_2023.derive(BASE, ["/credentialSubject/grade"])
    assert refusal(lambda: ecdsa_sd_2023.read(changed(shown, place, value))) in {"PROOF_MALFORMED", "BAD_MULTIKEY"}


def test_signatures_can_not_be_swapped() -> None:
    shown = ecdsa_sd_2023.derive(BASE, ["/credentialSubject/grade", "/credentialSubject/given_name"])
    swapped = changed(shown, 2, lambda signatures: signatures[::-1])
    assert not ecdsa_sd_2023.read(swapped).verified_by(PROVIDER_KEY.public_key)


@pytest.mark.parametrize(
    ("place", "value"),
    [(2, 1), (3, lambda signatures: signatures[:-1]), (4, [1]), (4, [[]]), (4, "text")],
)
def test_base_proofs_of_another_form_are_refused(place: int, value: Any) -> None:
    assert refusal(lambda: ecdsa_sd_2023.derive(changed(BASE, place, value), [])) == "PROOF_MALFORMED"


def test_base_proofs_are_for_holders_and_derived_ones_for_verifiers() -> None:
    assert refusal(lambda: ecdsa_sd_2023.read(BASE)) == "PROOF_MALFORMED"
    assert refusal(lambda: ecdsa_sd_2023.derive(ecdsa_sd_2023.derive(BASE, []), [])) == "PROOF_MALFORMED"
    assert refusal(lambda: ecdsa_sd_2023.read(DOCUMENT)) == "PROOF_MISSING"
    assert refusal(lambda: ecdsa_sd_2023.read(secured(EDDSA_RDFC_2022, ED25519_KEY))) == "CRYPTOSUITE_REFUSED"
    deep = encode_base64url(b"\xd9\x5d\x01" + b"\x81" * 100_000)
    for value in ("z1", 1, "u2V0B", "u2V0BgA", "u" + "A" * 200_001, deep):
        document = BASE | {"proof": BASE["proof"] | {"proofValue": value}}
        assert refusal(lambda document=document: ecdsa_sd_2023.read(document)) == "PROOF_MALFORMED"  # type: ignore[misc]


def test_a_list_is_shown_whole_or_not_at_all() -> None:
    document = json.loads(json.dumps(DOCUMENT))
    achievement = document["credentialSubject"]["micro_credential"]
    achievement["outcomes"] *= 2
    achievement["outcomes"][1] = {"category": "skills", "text": {"da": "Kan"}}
    one = "/credentialSubject/micro_credential/outcomes/1"
    assert refusal(lambda: base(document, [one])) == "POINTER_SPLITS_LIST"
    whole = ecdsa_sd_2023.derive(base(document, ["/issuer"]), [one.removesuffix("/1")])
    assert ecdsa_sd_2023.read(whole).verified_by(PROVIDER_KEY.public_key)


def test_documents_that_label_blank_nodes_are_refused() -> None:
    for identifier in ("_:b0", "urn:bnid:1"):
        document = DOCUMENT | {"issuer": DOCUMENT["issuer"] | {"id": identifier}}
        assert refusal(lambda document=document: base(document)) == "BAD_JSONLD"  # type: ignore[misc]


def test_keys_of_another_kind_are_refused() -> None:
    for hmac_key, proof_key in ((bytes(31), PROOF_KEY), (bytes(32), ED25519_KEY)):
        with pytest.raises(ValueError, match="HMAC key"):
            ecdsa_sd_2023.prepare(
                DOCUMENT,
                mandatory=[],
                verification_method=METHOD,
                created=ISSUED_AT,
                hmac_key=hmac_key,
                proof_key=proof_key,
            )


SOURCE = {
    "@context": ["urn:c"],
    "id": "urn:a",
    "type": ["T"],
    "other": 1,
    "a/b": {"type": "U", "id": "urn:b", "x~y": [{"n": 0}, {"n": 1}, {"n": 2}], "rest": 1},
}


def test_a_selection_keeps_types_and_identifiers_above_it() -> None:
    above = {"@context": ["urn:c"], "id": "urn:a", "type": ["T"]}
    assert select(SOURCE, []) is None
    assert select(SOURCE, ["/other"]) == above | {"other": 1}
    inner = {"type": "U", "id": "urn:b", "x~y": [{"n": 0}, {"n": 2}]}
    assert select(SOURCE, ["/a~1b/x~0y/2", "/a~1b/x~0y/0/n"]) == above | {"a/b": inner}
    assert select(SOURCE, [""]) == SOURCE


@pytest.mark.parametrize("pointer", ["other", "/none", "/a~1b/x~0y/3", "/a~1b/x~0y/-", "/other/1", "/a~1b/x~0y/n"])
def test_pointers_that_lead_nowhere_are_refused(pointer: str) -> None:
    assert refusal(lambda: select(SOURCE, [pointer])) == "BAD_POINTER"
    assert refusal(lambda: select(SOURCE, ["/other"] * (MAX_POINTERS + 1))) == "BAD_POINTER"
