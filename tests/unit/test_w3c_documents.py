"""Credentials become documents and badges and come back without loss; what was changed is refused."""

from __future__ import annotations

import contextlib
import copy
import json
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from types import ModuleType
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.unit.credential_samples import HOLDER_KEY, PROVIDER_KEY, credentials, sample_achievement, sample_credential
from tests.unit.test_data_integrity import ED25519_KEY, secured
from vitne.canonical import from_b64url
from vitne.credentials.data_integrity import proof
from vitne.credentials.data_integrity.suites import ECDSA_RDFC_2019, EDDSA_JCS_2022, EDDSA_RDFC_2022
from vitne.credentials.jose import LocalSigner, Signer, complete, signing_input
from vitne.credentials.jsonld.to_rdf import to_rdf
from vitne.credentials.model import Credential, Learner
from vitne.credentials.w3c import documents, open_badges, vc_jwt, vcdm
from vitne.errors import InvalidArgument

FORMATS = [documents, open_badges]
SALT = bytes(range(documents.ENTROPY_BYTES))
FULL = sample_credential(holder=HOLDER_KEY.public_key, expires_on=date(2031, 1, 1))


def as_jwt(document: dict[str, Any], signer: Signer) -> str:
    prepared = vc_jwt.prepare(document, algorithm=signer.algorithm, key_id=signer.key_id)
    return prepared.complete(signer.sign(prepared.signing_input))


@pytest.mark.parametrize("form", FORMATS)
@settings(max_examples=20, deadline=None)
@given(credential=credentials())
def test_nothing_is_lost(form: ModuleType, credential: Credential) -> None:
    assume(credential.expires_on is None or credential.expires_on > credential.issued_at.date())
    document = form.to_document(credential, salt=SALT)
    assert form.from_document(json.loads(json.dumps(document))) == credential
    assert to_rdf(document)  # every term is defined
    read = vc_jwt.parse(as_jwt(document, PROVIDER_KEY))
    assert form.from_document(read.document) == credential


@pytest.mark.parametrize("form", FORMATS)
def test_members_may_come_in_another_order(form: ModuleType) -> None:
    def turned(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: turned(member) for name, member in reversed(value.items())}
        return [turned(item) for item in value] if isinstance(value, list) else value

    document = secured(EDDSA_RDFC_2022, ED25519_KEY, form.to_document(FULL, salt=SALT))
    (read,) = proof.read(turned(document))
    assert read.verified_by(ED25519_KEY.public_key)
    again = form.from_document(turned(document))
    assert (again.id, again.learner, again.decision) == (FULL.id, FULL.learner, FULL.decision)


@pytest.mark.parametrize("form", FORMATS)
def test_the_mandatory_elements_are_asked_for(form: ModuleType) -> None:
    with pytest.raises(InvalidArgument, match="MANDATORY_ELEMENT_MISSING"):
        form.to_document(sample_credential(learner=Learner()), salt=SALT)
    with pytest.raises(ValueError, match="random bytes"):
        form.to_document(FULL, salt=SALT[1:])
    with pytest.raises(InvalidArgument, match="EXPIRED_WHEN_ISSUED"):
        form.to_document(sample_credential(expires_on=date(2026, 11, 21)), salt=SALT)


def test_a_badge_says_in_its_own_terms_what_it_can() -> None:
    achievement = sample_achievement(field="0521", workload={"unit": "no.fagskolepoeng", "points": "3"})
    badge = open_badges.to_document(sample_credential(achievement=achievement), salt=SALT)
    subject = badge["credentialSubject"]
    assert badge["name"] == "Climate accounting: scopes 1 and 2"
    assert subject["result"] == [{"type": ["Result"], "value": "12"}]
    assert subject["identifier"][0]["identityHash"] == "Kari Prøvesen"
    assert [alignment["targetName"] for alignment in subject["achievement"]["alignment"]] == [
        "dk.nqf 5",
        "ISCED-F 0521",
        "Concept",
    ]
    assert subject["micro_credential"]["workload"] == {"unit": "no.fagskolepoeng", "points": "3"}
    open_badges.require_badge(badge)


@pytest.mark.parametrize(
    ("form", "path", "value", "reason"),
    [
        (documents, ("type",), ["VerifiableCredential"], "UNKNOWN_TYPE"),
        (documents, ("issuer", "name"), "Somebody else", "CLAIMS_CONTRADICT"),
        (documents, ("validFrom",), "2026-11-21T10:00:00.215Z", "CLAIMS_CONTRADICT"),
        (documents, ("validUntil",), "2031-01-01T00:00:01Z", "CLAIM_MALFORMED"),
        (documents, ("id",), "urn:uuid:1", "BAD_UUID"),
        (documents, ("salt",), 1, "CLAIM_MALFORMED"),
        (documents, ("more",), "text", "CLAIMS_CONTRADICT"),
        (documents, ("credentialStatus", 1, "statusListIndex"), "70932", "STATUS_ENTRY_MALFORMED"),
        (documents, ("credentialStatus",), [], "STATUS_ENTRY_MALFORMED"),
        (documents, ("decision", "rule"), "", "BAD_DECISION"),
        (documents, ("credentialSubject", "id"), "did:key:z1", "BAD_MULTIKEY"),
        (documents, ("credentialSubject", "grade"), 12, "CLAIM_MALFORMED"),
        (documents, ("credentialSubject", "micro_credential", "assessment"), "guessing", "UNKNOWN_TERM"),
        (documents, ("credentialSubject", "micro_credential"), "text", "CLAIM_MALFORMED"),
        (open_badges, ("name",), "Doctor", "CLAIMS_CONTRADICT"),
        (open_badges, ("awardedDate",), "2026-11-21T00:00:00Z", "CLAIMS_CONTRADICT"),
        (open_badges, ("credentialSubject", "achievement", "name"), "Doctor", "CLAIMS_CONTRADICT"),
        (open_badges, ("credentialSubject", "result", 0, "value"), "13", "CLAIMS_CONTRADICT"),
        (open_badges, ("credentialSubject", "identifier", 0, "identityHash"), "Kari", "CLAIMS_CONTRADICT"),
        (open_badges, ("credentialSubject", "achievement", "criteria"), None, "NOT_A_BADGE"),
        (open_badges, ("credentialSubject", "achievement", "type"), ["Course"], "NOT_A_BADGE"),
        (open_badges, ("type",), ["VerifiableCredential", "MicroCredential"], "NOT_A_BADGE"),
        (open_badges, ("issuer", "type"), ["AwardingBody"], "NOT_A_BADGE"),
    ],
)
def test_what_does_not_hold_together_is_refused(
    form: ModuleType, path: tuple[Any, ...], value: Any, reason: str
) -> None:
    document = form.to_document(FULL, salt=SALT)
    place = document
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    with pytest.raises(InvalidArgument) as refused:
        form.from_document(document)
    assert refused.value.reason == reason


def test_a_document_is_no_badge_and_a_badge_is_no_plain_document() -> None:
    with pytest.raises(InvalidArgument, match="NOT_A_BADGE"):
        open_badges.from_document(documents.to_document(FULL, salt=SALT))
    with pytest.raises(InvalidArgument, match="CLAIMS_CONTRADICT"):
        documents.from_document(open_badges.to_document(FULL, salt=SALT))


# --- Mutations ------------------------------------------------------------------------------------


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container, with each of its keys or indexes."""
    steps = (
        list(value.items()) if isinstance(value, dict) else list(enumerate(value)) if isinstance(value, list) else []
    )
    for step, inner in steps:
        yield value, step
        yield from places(inner)


def flip(container: Any, step: Any) -> None:
    value = container[step]
    if isinstance(value, bool):
        container[step] = not value
    elif isinstance(value, int):
        container[step] = value + 1
    elif isinstance(value, str):
        container[step] = value[:-1] + ("A" if value[-1:] != "A" else "B")
    elif isinstance(value, list):
        value.append(copy.deepcopy(value[0]))
    else:
        value["more"] = "text"


def drop(container: Any, step: Any) -> None:
    del container[step]


def turn(container: Any, step: Any) -> None:
    if isinstance(container[step], list):
        container[step].reverse()


def believed(read: Callable[[Any], Credential], document: Any, signer: LocalSigner) -> Credential | None:
    """The credential, where everything about it holds."""
    try:
        proofs = proof.read(document)
        for one in proofs:
            one.require(purpose=proof.ASSERTION, now=datetime(2026, 11, 22, tzinfo=UTC))
        return read(document) if all(one.verified_by(signer.public_key) for one in proofs) else None
    except InvalidArgument:
        return None


@pytest.mark.parametrize("change", [flip, drop, turn])
@pytest.mark.parametrize(
    ("form", "suite", "signer"),
    [
        (documents, EDDSA_JCS_2022, ED25519_KEY),
        (open_badges, EDDSA_RDFC_2022, ED25519_KEY),
        (documents, ECDSA_RDFC_2019, PROVIDER_KEY),
    ],
)
def test_every_mutation_is_refused(
    form: ModuleType, suite: Any, signer: LocalSigner, change: Callable[[Any, Any], None]
) -> None:
    document = secured(suite, signer, form.to_document(FULL, salt=SALT))
    assert believed(form.from_document, document, signer) == FULL
    for number, _ in enumerate(places(document)):
        mutated = copy.deepcopy(document)
        container, step = next(place for index, place in enumerate(places(mutated)) if index == number)
        change(container, step)
        if mutated != document:
            assert believed(form.from_document, mutated, signer) is None, step


# --- JWT ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("signer", [PROVIDER_KEY, ED25519_KEY])
def test_a_jwt_verifies_with_its_key_alone(signer: LocalSigner) -> None:
    read = vc_jwt.parse(as_jwt(documents.to_document(FULL, salt=SALT), signer))
    assert read.key_id == signer.key_id
    assert read.verified_by(signer.public_key)
    assert not read.verified_by(HOLDER_KEY.public_key)
    assert read.jws.header.members == {"alg": signer.algorithm, "kid": signer.key_id, "typ": "vc+jwt", "cty": "vc"}
    claims = json.loads(read.jws.payload)
    assert (claims["iss"], claims["jti"]) == (FULL.awarding_body.issuer_uri, f"urn:uuid:{FULL.id}")
    assert claims["exp"] == int(datetime(2031, 1, 1, tzinfo=UTC).timestamp())


def test_ed25519_is_read_by_its_older_name_too() -> None:
    """RFC 8037's EdDSA, which RFC 9864 gives up and others still write; of a key for ES256 it is nobody's."""
    header, payload, _ = as_jwt(documents.to_document(FULL, salt=SALT), ED25519_KEY).split(".")
    older = json.loads(from_b64url(header)) | {"alg": "EdDSA"}
    data = signing_input(older, from_b64url(payload))
    read = vc_jwt.parse(complete(data, ED25519_KEY.sign(data)))
    assert read.verified_by(ED25519_KEY.public_key)
    assert not read.verified_by(PROVIDER_KEY.public_key)


@pytest.mark.parametrize(
    ("header", "claims", "reason"),
    [
        ({"typ": "JWT"}, {}, "WRONG_TYPE"),
        ({"alg": "none"}, {}, "ALGORITHM_REFUSED"),
        ({"cty": "json"}, {}, "CLAIM_MALFORMED"),
        ({"crit": ["x"]}, {}, "CRITICAL_HEADER_REFUSED"),
        ({}, {"vc": {}}, "CLAIM_MALFORMED"),
        ({}, {"iss": "https://other.example"}, "CLAIMS_CONTRADICT"),
        ({}, {"sub": "did:example:other"}, "CLAIMS_CONTRADICT"),
        ({}, {"jti": "urn:other"}, "CLAIMS_CONTRADICT"),
        ({}, {"nbf": 0}, "CLAIMS_CONTRADICT"),
        ({}, {"exp": 2**40}, "CLAIMS_CONTRADICT"),
        ({}, {"type": ["Other"]}, "NOT_A_CREDENTIAL"),
    ],
)
def test_other_jwts_are_refused(header: dict[str, Any], claims: dict[str, Any], reason: str) -> None:
    document = documents.to_document(FULL, salt=SALT) | claims
    members = {"alg": "ES256", "kid": PROVIDER_KEY.key_id, "typ": "vc+jwt"} | header
    data = signing_input(members, json.dumps(document).encode())
    with pytest.raises(InvalidArgument) as refused:
        vc_jwt.parse(complete(data, PROVIDER_KEY.sign(data)))
    assert refused.value.reason == reason


# --- The data model -------------------------------------------------------------------------------

CREDENTIAL: dict[str, Any] = {
    "@context": [vcdm.CONTEXT],
    "type": ["VerifiableCredential"],
    "issuer": "did:example:issuer",
    "credentialSubject": {"id": "did:example:subject"},
}
RESOURCE = {"id": "https://example.org/r", "digestSRI": "sha256-x"}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"@context": vcdm.CONTEXT}, "@context"),
        ({"type": []}, "type"),
        ({"type": [["VerifiableCredential"]]}, "type"),
        ({"credentialSubject": []}, "credentialSubject"),
        ({"credentialSubject": "did:example:subject"}, "credentialSubject"),
        ({"credentialSubject": {"id": "did:example:subject", "type": 1}}, "credentialSubject.type"),
        ({"name": 1}, "name"),
        ({"name": {"@value": 1}}, "name"),
        ({"name": {"@value": "a", "@direction": "up"}}, "name"),
        ({"validFrom": 1}, "validFrom"),
        ({"validFrom": "2026-02-30T00:00:00Z"}, "validFrom"),
        ({"validFrom": "2026-02-20T00:00:00"}, "validFrom"),
        ({"evidence": ["text"]}, "evidence[0]"),
        ({"proof": {}}, "proof.type"),
        ({"relatedResource": [RESOURCE, RESOURCE]}, "relatedResource[1].id"),
        ({"relatedResource": {"id": "https://example.org/r"}}, "relatedResource"),
    ],
)
def test_what_is_no_credential_is_refused(change: dict[str, Any], field: str) -> None:
    vcdm.require_credential(CREDENTIAL | {"relatedResource": [RESOURCE]})
    with pytest.raises(InvalidArgument) as refused:
        vcdm.require_credential(CREDENTIAL | change)
    assert refused.value.field == field


@pytest.mark.parametrize("document", [None, [], "text", 1])
def test_what_is_no_document_is_refused(document: Any) -> None:
    for require in (vcdm.require_credential, vcdm.require_presentation, vcdm.require_enveloped):
        with pytest.raises(InvalidArgument, match="NOT_A_CREDENTIAL"):
            require(document)


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from([*CREDENTIAL, "proof", "name", "validFrom", "credentialStatus", "verifiableCredential"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just("VerifiableCredential"),
            lambda inner: (
                st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "type", "@value"]), inner)
            ),
            max_leaves=5,
        ),
    )
)
def test_whatever_comes_is_refused_and_never_a_crash(change: dict[str, Any]) -> None:
    for read in (open_badges.from_document, documents.from_document, vcdm.require_presentation, proof.read, to_rdf):
        with contextlib.suppress(InvalidArgument):
            read(CREDENTIAL | {"proof": None} | change)
