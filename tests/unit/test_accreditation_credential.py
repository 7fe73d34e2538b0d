"""An accreditation as a verifiable credential: what it says, and what is none."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from tests.unit.accreditation_samples import DAI, NOW, OPERATOR_KEY, UCL, Chronicle, days, scope
from vitne.accreditation.credential import TYPE, read_accreditation, sign_accreditation
from vitne.accreditation.dids import did_document, organisation_did, organisation_of_did
from vitne.accreditation.facts import fact_digest_text, timestamp
from vitne.canonical import canonical_bytes
from vitne.credentials.jose import LocalSigner, complete, parse_jws, signing_input, strict_json
from vitne.errors import InvalidArgument
from vitne_api.registry.v1 import facts_pb2

REGISTRY = "https://registry.vitne.example"
AUTHORITY_KEY = OPERATOR_KEY
NEXT_KEY = LocalSigner(ec.derive_private_key(5, ec.SECP256R1()))


def accreditation(**changes: Any) -> facts_pb2.Fact:
    covered = scope("dk.micro_credential", levels=[("dk.nqf", "5")], credit_unit="ects", fields=["0311"])
    return Chronicle().accredit(UCL, "dk.institution", covered, authority=DAI, **changes)


def signed(fact: facts_pb2.Fact | None = None, signer: LocalSigner = AUTHORITY_KEY) -> str:
    return sign_accreditation(fact or accreditation(), registry_uri=REGISTRY, at=NOW, signer=signer)


def claims_of(compact: str) -> dict[str, Any]:
    read: dict[str, Any] = strict_json(parse_jws(compact, algorithms=("ES256",), types=(TYPE,)).payload)
    return read


def forged(change: dict[str, Any], kid: str = "") -> str:
    """Signed by the authority's key, with other claims than the fact gives."""
    header = {
        "alg": "ES256",
        "kid": kid or f"{organisation_did(REGISTRY, DAI)}#{AUTHORITY_KEY.key_id}",
        "typ": TYPE,
    }
    data = signing_input(header, canonical_bytes(claims_of(signed()) | change))
    return complete(data, AUTHORITY_KEY.sign(data))


def test_it_says_who_accredited_whom_and_holds_the_fact() -> None:
    fact = accreditation(valid_until=days(900))
    claims = claims_of(signed(fact))
    assert claims["issuer"] == "did:web:registry.vitne.example:organisations:0184-99000007"
    assert claims["credentialSubject"]["id"] == "did:web:registry.vitne.example:organisations:0184-30859480"
    assert claims["id"] == f"{REGISTRY}/v1/accreditations/{fact.accreditation.id}/revisions/1"
    assert (claims["validFrom"], claims["validUntil"]) == ("2026-01-01T00:00:00Z", "2028-06-19T00:00:00Z")
    assert claims["type"] == ["VerifiableCredential", "VerifiableAccreditation"]


def test_it_is_read_as_it_was_signed_and_its_digest_is_that_of_the_fact() -> None:
    fact = accreditation()
    read = read_accreditation(signed(fact), registry_uri=REGISTRY)
    assert (read.fact, read.digest) == (fact, fact_digest_text(fact))
    assert (read.key_id, read.signed_at) == (AUTHORITY_KEY.key_id, NOW)
    assert read.verified_by(AUTHORITY_KEY.public_key)
    # Signed again with another key it is still the same accreditation.
    again = read_accreditation(signed(fact, NEXT_KEY), registry_uri=REGISTRY)
    assert (again.digest, again.key_id) == (read.digest, NEXT_KEY.key_id)
    assert not again.verified_by(AUTHORITY_KEY.public_key)


@pytest.mark.parametrize(
    "change",
    [
        {"issuer": organisation_did(REGISTRY, UCL)},
        {"validFrom": "2020-01-01T00:00:00Z"},
        {"validUntil": "2099-01-01T00:00:00Z"},
        {"type": ["VerifiableCredential"]},
        {"evidence": "more"},
        {"iat": "yesterday"},
        {"iat": 1 << 50},
        {"credentialSubject": {"id": organisation_did(REGISTRY, UCL)}},
        {"credentialSubject": {"id": organisation_did(REGISTRY, UCL), "fact": {"id": "x", "provider": {"id": UCL}}}},
    ],
)
def test_what_says_anything_else_than_its_fact_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidArgument) as caught:
        read_accreditation(forged(change), registry_uri=REGISTRY)
    assert (caught.value.reason, caught.value.field) == ("BAD_ACCREDITATION_CREDENTIAL", "accreditation")


def test_another_registrys_or_a_key_of_somebody_else_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="another registry's"):
        read_accreditation(signed(), registry_uri="https://registry.example")
    with pytest.raises(InvalidArgument, match="not its issuer's"):
        read_accreditation(
            forged({}, kid=f"{organisation_did(REGISTRY, UCL)}#{AUTHORITY_KEY.key_id}"), registry_uri=REGISTRY
        )


@pytest.mark.parametrize(
    ("registry", "did"),
    [
        (REGISTRY, "did:web:registry.vitne.example:organisations:0192-971035854"),
        ("http://127.0.0.1:7101", "did:web:127.0.0.1%3A7101:organisations:0192-971035854"),
        ("https://vitne.example/no/registry", "did:web:vitne.example:no:registry:organisations:0192-971035854"),
    ],
)
def test_an_organisation_has_a_did_under_its_registry(registry: str, did: str) -> None:
    assert organisation_did(registry, "0192:971035854") == did
    assert organisation_of_did(registry, did) == "0192:971035854"


@pytest.mark.parametrize(
    "did",
    [
        "did:ebsi:zZeKyEJfUTGwajhNyNX928z",
        "did:web:registry.evil.example:organisations:0192-971035854",
        "did:web:registry.vitne.example:organisations:0192-971035855",
        "did:web:registry.vitne.example:organisations:0192:971035854",
        "",
    ],
)
def test_other_dids_are_refused(did: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        organisation_of_did(REGISTRY, did)
    assert (caught.value.reason, caught.value.field) == ("BAD_DID", "did")


def test_a_did_document_keeps_every_key_and_says_until_when_it_counts() -> None:
    def key(number: str, **instants: Any) -> facts_pb2.Key:
        stamps: dict[str, Any] = {name: timestamp(moment) for name, moment in instants.items()}
        return facts_pb2.Key(id=number, public_jwk='{"kty":"EC"}', valid_from=timestamp(days(0)), **stamps)

    keys = [
        key("now"),
        key("retired", valid_until=NOW - timedelta(days=1)),
        key("stolen", compromised_from=NOW - timedelta(days=2)),
    ]
    document = did_document(REGISTRY, DAI, keys, NOW)
    methods = {one["id"].partition("#")[2]: one for one in document["verificationMethod"]}
    assert list(methods) == ["now", "retired", "stolen"]
    assert methods["retired"]["expires"] == "2026-11-20T10:00:00Z"
    assert methods["stolen"]["revoked"] == "2026-11-19T10:00:00Z"
    assert document["assertionMethod"] == [f"{organisation_did(REGISTRY, DAI)}#now"]
