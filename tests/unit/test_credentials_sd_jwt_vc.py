from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.credential_samples import (
    ENTROPY,
    HOLDER_KEY,
    ISSUER_URI,
    LIST_URI,
    PROVIDER_KEY,
    credentials,
    sample_achievement,
    sample_credential,
    sample_decision,
    texts,
)
from vitne.canonical import b64url, canonical_bytes, digest_text, from_b64url, sha256
from vitne.credentials import type_metadata
from vitne.credentials.elements import LEARNER, mandatory_elements, require_mandatory_elements
from vitne.credentials.jose import complete, signing_input
from vitne.credentials.model import Credential, DecisionReference, Learner
from vitne.credentials.sd_jwt_vc import ENTROPY_BYTES, VCT, Presentation, parse, prepare, to_claims
from vitne.errors import InvalidArgument
from vitne_api.credential.v1 import credential_pb2


def issue(credential: Credential) -> str:
    prepared = prepare(credential, key_id=PROVIDER_KEY.key_id, entropy=ENTROPY)
    return prepared.complete(PROVIDER_KEY.sign(prepared.signing_input))


def payload_of(credential: Credential) -> dict[str, Any]:
    return dict(parse(issue(credential)).sd_jwt.payload)


@given(credentials())
def test_any_credential_comes_back_without_loss(credential: Credential) -> None:
    presentation = parse(issue(credential))
    assert presentation.credential == credential
    assert presentation.key_id == PROVIDER_KEY.key_id


def test_the_claims_have_the_shape_that_wallets_expect() -> None:
    credential = sample_credential(holder=HOLDER_KEY.public_key, expires_on=date(2036, 11, 21))
    presentation = parse(issue(credential))
    assert presentation.sd_jwt.jws.header.members == {"alg": "ES256", "kid": PROVIDER_KEY.key_id, "typ": "dc+sd-jwt"}
    payload = dict(presentation.sd_jwt.payload)
    assert {name: payload[name] for name in ("iss", "iat", "exp", "vct", "cnf", "status", "jti", "kind")} == {
        "iss": ISSUER_URI,
        "iat": 1795255200,
        "exp": int(datetime(2036, 11, 21, tzinfo=UTC).timestamp()),
        "vct": VCT,
        "cnf": {"jwk": HOLDER_KEY.public_jwk},
        "status": {"status_list": {"idx": 70_931, "uri": LIST_URI}},
        "jti": "urn:uuid:01930f6e-7a00-7000-8000-00000000e001",
        "kind": "dk.micro_credential",
    }
    assert payload["achievement"]["level"] == {"framework": "dk.nqf", "level": "5"}
    assert payload["achievement"]["workload"] == {"unit": "ects", "points": "1.25"}
    assert len(payload["salt"]) == 22


def test_learning_that_no_framework_places_has_no_level() -> None:
    assert "level" not in payload_of(sample_credential(achievement=sample_achievement(level=None)))["achievement"]


def test_the_decision_is_bound_in_with_its_worked_digest() -> None:
    decision = sample_decision(sample_achievement(), datetime(2026, 11, 21, 10, tzinfo=UTC))
    credential = sample_credential(decision=DecisionReference.parse(canonical_bytes(decision)))
    claim = payload_of(credential)["decision"]
    assert claim["digest"] == "VhkMNUBmzZoorVxLPO0ZFsx2GMQWJkvUmugbN9NN7Io"
    assert claim["record"] == decision


def test_nothing_of_the_learner_is_in_what_is_signed() -> None:
    signed = json.dumps(payload_of(sample_credential()), ensure_ascii=False)
    for secret in ("Kari", "Prøvesen", "01825500042", "1955-02-01", '"12"', "birth", "given"):
        assert secret not in signed


def test_title_level_and_points_can_be_shown_without_name_or_grade() -> None:
    whole = parse(issue(sample_credential()))
    shown = parse(whole.sd_jwt.present(lambda path: False)).credential
    assert shown == replace(sample_credential(), learner=Learner(), grade=None)
    assert shown.achievement.title[0].text.startswith("Klimaregnskaber")


def test_the_number_of_digests_tells_nothing() -> None:
    full = sample_credential()
    sparse = sample_credential(grade=None, learner=replace(full.learner, birth_date=None))
    assert len(payload_of(full)["_sd"]) == len(payload_of(sparse)["_sd"]) == 5


def test_two_issuances_of_the_same_differ_in_what_is_signed() -> None:
    one, two = (
        prepare(sample_credential(), key_id="k", entropy=bytes([byte]) * ENTROPY_BYTES).signing_input for byte in (1, 2)
    )
    assert one != two
    with pytest.raises(ValueError, match="96 random bytes"):
        prepare(sample_credential(), key_id="k", entropy=b"short")


# --- What must be refused ---


def forged(change: Any, *disclosures: Any) -> str:
    """The sample's claims, changed and signed again: an issuer that gets it wrong."""
    presentation = parse(issue(sample_credential()))
    payload = json.loads(presentation.sd_jwt.jws.payload)
    change(payload)
    encoded = [b64url(json.dumps(disclosure).encode()) for disclosure in disclosures]
    payload["_sd"] = sorted(digest_text(text.encode()) for text in encoded)
    data = signing_input(dict(presentation.sd_jwt.jws.header.members), json.dumps(payload).encode())
    return "~".join((complete(data, PROVIDER_KEY.sign(data)), *encoded, ""))


def put(path: str, value: Any) -> Any:
    *parents, last = path.split(".")

    def change(payload: dict[str, Any]) -> None:
        for name in parents:
            payload = payload[name]
        payload[last] = value

    return change


def drop(path: str) -> Any:
    *parents, last = path.split(".")

    def change(payload: dict[str, Any]) -> None:
        for name in parents:
            payload = payload[name]
        del payload[last]

    return change


def test_the_accreditation_is_cited_by_id_revision_and_digest() -> None:
    digest = "c" * 42 + "A"
    cited = sample_credential(accreditation_digest=digest)
    claims = to_claims(cited)
    assert claims["accreditation"] == {
        "id": str(cited.decision.accreditation_id),
        "revision": cited.decision.accreditation_revision,
        "digest": digest,
    }
    read = parse(issue(cited)).credential
    assert read.accreditation_digest == digest
    assert "accreditation" not in to_claims(sample_credential())


@pytest.mark.parametrize(
    ("change", "reason", "where"),
    [
        ({"revision": 4}, "CLAIMS_CONTRADICT", "accreditation"),
        ({"id": "01930f6e-7a00-7000-8000-00000000a002"}, "CLAIMS_CONTRADICT", "accreditation"),
        ({"digest": "abc"}, "CLAIM_MALFORMED", "accreditation.digest"),
        ({"digest": 1}, "CLAIM_MALFORMED", "accreditation.digest"),
    ],
)
def test_a_citation_that_contradicts_the_decision_is_refused(change: dict[str, Any], reason: str, where: str) -> None:
    decision = sample_credential().decision
    cited = {"id": str(decision.accreditation_id), "revision": decision.accreditation_revision, "digest": "A" * 43}

    def cite(claims: dict[str, Any]) -> None:
        claims["accreditation"] = cited | change

    with pytest.raises(InvalidArgument) as caught:
        parse(forged(cite))
    assert (caught.value.reason, caught.value.field) == (reason, where)


@pytest.mark.parametrize(
    "path",
    [
        *("iss", "iat", "vct", "jti", "status", "status.status_list", "status.status_list.idx", "kind"),
        *("awarding_body.id", "awarding_body.name", "awarding_body.country", "awarded_on", "retention"),
        *("decision", "decision.digest", "decision.record", "achievement.title", "achievement.outcomes"),
        *("achievement.workload", "achievement.assessment", "achievement.participation"),
        *("achievement.quality_assurance", "achievement.id", "achievement.version"),
    ],
)
def test_a_missing_claim_is_named(path: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse(forged(drop(path)))
    assert (caught.value.reason, caught.value.field) == ("CLAIM_MISSING", path)


@pytest.mark.parametrize(
    ("reason", "path", "value"),
    [
        ("UNKNOWN_TYPE", "vct", "https://other.example/v1"),
        ("UNKNOWN_TYPE", "vct#integrity", "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="),
        ("CLAIM_MALFORMED", "iat", "1795255200"),
        ("CLAIM_MALFORMED", "iat", True),
        ("CLAIMS_CONTRADICT", "iat", 1795255201),
        ("CLAIM_MALFORMED", "exp", 1795255200),
        ("CLAIM_MALFORMED", "exp", -86400),
        ("CLAIM_MALFORMED", "jti", "01930f6e-7a00-7000-8000-00000000e001"),
        ("BAD_UUID", "jti", "urn:uuid:1"),
        ("BAD_ORGANISATION", "awarding_body.id", "0184:30859481"),
        ("CLAIM_MALFORMED", "awarding_body.name", {}),
        ("CLAIM_MALFORMED", "awarding_body.name", {"da": 1}),
        ("CLAIM_MALFORMED", "awarded_on", "20261120"),
        ("CLAIM_MALFORMED", "awarded_on", "2026-02-30"),
        ("UNKNOWN_TERM", "retention", "forever"),
        ("UNKNOWN_TERM", "achievement.assessment", "unspecified"),
        ("UNKNOWN_TERM", "achievement.stackability", "unspecified"),
        ("CLAIM_MALFORMED", "achievement.version", 2**33),
        ("CLAIM_MALFORMED", "achievement.workload.points", "many"),
        ("CLAIM_MALFORMED", "achievement.workload.points", "NaN"),
        ("CLAIM_MALFORMED", "achievement.workload.points", "1e9"),
        ("CLAIM_MALFORMED", "achievement.workload.points", "-1"),
        ("CLAIM_MALFORMED", "achievement.workload.points", "١"),
        ("CLAIM_MALFORMED", "achievement.workload.points", 5),
        ("CLAIM_MALFORMED", "achievement.workload.hours", "1\n"),
        ("CLAIM_MALFORMED", "achievement.outcomes", ["x"]),
        ("CLAIM_MALFORMED", "status.status_list.idx", "7"),
        ("CLAIMS_CONTRADICT", "decision.digest", "A" * 43),
        ("BAD_DECISION", "decision.record", {}),
        ("BAD_JWK", "cnf", {"jwk": {"kty": "RSA"}}),
    ],
)
def test_a_wrong_claim_is_refused(reason: str, path: str, value: Any) -> None:
    with pytest.raises(InvalidArgument, match=reason):
        parse(forged(put(path, value)))


@pytest.mark.parametrize("name", ["iss", "status", "exp", "decision", "cnf"])
def test_what_must_be_signed_in_clear_is_not_taken_from_a_disclosure(name: str) -> None:
    def change(payload: dict[str, Any]) -> None:
        payload.pop(name, None)

    with pytest.raises(InvalidArgument, match="CLAIM_DISCLOSED"):
        parse(forged(change, ["salt", name, 1]))


@pytest.mark.parametrize(
    "change",
    [
        {"outcome": "refused"},
        {"registry_revision": 0},
        {"registry_revision": True},
        {"at": "2026-11-21T10:00:00.000Z"},
        {"at": "yesterday"},
        {"rule": ""},
        {"framework": {"country": "DK"}},
        {"framework": {"country": "DK", "version": "1", "more": 1}},
        {"accreditation": {"id": "x", "revision": 1}},
        {"accreditation": []},
        {"more": 1},
    ],
)
def test_a_decision_record_of_another_shape_is_refused(change: dict[str, Any]) -> None:
    record = sample_decision(sample_achievement()) | change
    with pytest.raises(InvalidArgument, match="BAD_DECISION"):
        DecisionReference.parse(canonical_bytes(record))


def test_decision_bytes_must_be_canonical() -> None:
    spaced = json.dumps(sample_decision(sample_achievement())).encode()
    with pytest.raises(InvalidArgument, match="BAD_DECISION"):
        DecisionReference.parse(spaced)


@given(
    st.text(st.characters(codec="utf-8"), min_size=1),
    st.text(st.characters(codec="utf-8"), min_size=1),
    st.integers(1, 2**53 - 1),
)
def test_a_decision_of_any_texts_and_numbers_is_canonical(rule: str, provider: str, revision: int) -> None:
    record = sample_decision(sample_achievement()) | {
        "rule": rule,
        "provider": provider,
        "registry_revision": revision,
    }
    read = DecisionReference.parse(record)
    assert read.record == canonical_bytes(record)
    assert read.digest == digest_text(canonical_bytes(record))
    assert DecisionReference.parse(read.record) == read


# --- Mandatory elements ---


def test_every_mandatory_element_is_there_and_the_learner_may_be_withheld() -> None:
    elements = mandatory_elements(sample_credential())
    assert len(elements) == 11
    assert all(element.present for element in elements)
    withheld = mandatory_elements(replace(sample_credential(), learner=Learner()))
    assert [element.name for element in withheld if not element.present] == [LEARNER]


@pytest.mark.parametrize(
    ("field", "value", "where"),
    [
        ("title", [], "achievement.title"),
        ("outcomes", [], "achievement.outcomes"),
        ("outcomes", [credential_pb2.LearningOutcome(category="skills")], "achievement.outcomes"),
        ("workload", None, "achievement.workload"),
        ("workload", credential_pb2.Workload(unit="ects"), "achievement.workload"),
        ("level", credential_pb2.Level(framework="dk.nqf"), "achievement.level"),
        ("assessment", 0, "achievement.assessment"),
        ("participation", 0, "achievement.participation"),
        ("quality_assurance", None, "achievement.quality_assurance"),
    ],
)
def test_a_missing_element_is_not_issued(field: str, value: Any, where: str) -> None:
    credential = sample_credential(achievement=sample_achievement(**{field: value}))
    with pytest.raises(InvalidArgument, match="MANDATORY_ELEMENT_MISSING") as caught:
        issue(credential)
    assert caught.value.field == where


def test_hours_alone_are_a_workload_and_no_level_is_fine() -> None:
    attest = sample_achievement(level=None, workload=credential_pb2.Workload(hours="12"))
    require_mandatory_elements(sample_credential(achievement=attest))


def test_a_text_twice_in_one_language_is_refused() -> None:
    achievement = sample_achievement(title=[*texts(da="a"), *texts(da="b")])
    with pytest.raises(InvalidArgument, match="LANGUAGE_REPEATED"):
        issue(sample_credential(achievement=achievement))


def test_no_repr_shows_the_learner() -> None:
    presentation = parse(issue(sample_credential()))
    shown = f"{presentation!r} {presentation.credential!r} {presentation.credential.learner!r}"
    for secret in ("Kari", "Prøvesen", "01825500042", "1955"):
        assert secret not in shown
    assert isinstance(presentation, Presentation)


# --- The type's metadata ----------------------------------------------------------------------------


def test_each_credential_pins_what_its_type_means() -> None:
    prepared = prepare(sample_credential(), key_id=PROVIDER_KEY.key_id, entropy=ENTROPY)
    payload = json.loads(from_b64url(prepared.signing_input.decode().split(".")[1]))
    digest = base64.b64encode(sha256(type_metadata.DOCUMENT)).decode()
    assert payload["vct#integrity"] == f"sha256-{digest}"
    document = json.loads(type_metadata.DOCUMENT)
    assert document["vct"] == payload["vct"]
    stated = {claim["path"][0]: claim["sd"] for claim in document["claims"]}
    assert set(payload) - {"_sd", "_sd_alg"} <= {name for name, sd in stated.items() if sd == "never"}
    assert {name for name, sd in stated.items() if sd == "allowed"} == set(type_metadata.DISCLOSABLE)


def test_what_was_published_of_the_type_stays() -> None:
    """It is pinned by what was issued: a new document comes behind these, and another meaning is another type."""
    published = ["sha256-CodWjB5zmySHKtbIIVKt7NkYlTRyp1OJ/IrLrWJ+AeE="]
    assert list(type_metadata.VERSIONS)[: len(published)] == published
    assert list(type_metadata.VERSIONS)[-1] == type_metadata.INTEGRITY
    allowed = type_metadata.DISCLOSABLE
    for pinned, document in type_metadata.VERSIONS.items():
        assert type_metadata.integrity(document) == pinned
        stated = json.loads(document)
        assert stated["vct"] == VCT
        assert tuple(claim["path"][0] for claim in stated["claims"] if claim["sd"] == "allowed") == allowed


def test_a_credential_of_an_older_document_stays_good(monkeypatch: pytest.MonkeyPatch) -> None:
    compact = issue(sample_credential())
    newer = canonical_bytes(json.loads(type_metadata.DOCUMENT) | {"name": "Micro-credential, as of 2027"})
    published = {**type_metadata.VERSIONS, type_metadata.integrity(newer): newer}
    monkeypatch.setattr(type_metadata, "VERSIONS", published)
    monkeypatch.setattr(type_metadata, "INTEGRITY", type_metadata.integrity(newer))
    both = (compact, issue(sample_credential()))
    pins = [parse(each).sd_jwt.payload["vct#integrity"] for each in both]
    assert pins == list(published)
    assert all(parse(each).credential == sample_credential() for each in both)
    # One that nobody published is no version of it.
    monkeypatch.setattr(type_metadata, "VERSIONS", dict(list(published.items())[:1]))
    assert parse(compact).credential == sample_credential()
    with pytest.raises(InvalidArgument, match="UNKNOWN_TYPE"):
        parse(both[1])
