"""European Digital Credentials: the model there and back, the EDC shapes, the seal, what is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.credential_samples import (
    FOREIGN_KEY,
    PROVIDER_KEY,
    credentials,
    sample_achievement,
    sample_credential,
)
from tests.unit.european_samples import (
    FOREIGN_SCALAR,
    SALT,
    SETTING,
    certificate,
    full_credential,
    issue,
)
from tests.unit.european_schemas import PROFILES, edc_shapes, violations
from vitne.canonical import b64url, from_b64url
from vitne.credentials.certificates import MAX_CERTIFICATES, Certificate
from vitne.credentials.elm import vocabulary
from vitne.credentials.elm.document import write
from vitne.credentials.elm.durations import duration, hours
from vitne.credentials.elm.reading import read
from vitne.credentials.elm.seal import MAX_BYTES, MAX_HEADER_LENGTH, parse, prepare, seal
from vitne.credentials.model import Credential, Learner
from vitne.credentials.setting import ALONE
from vitne.errors import InvalidArgument
from vitne_api.credential.v1 import credential_pb2


def sealed(credential: Credential | None = None) -> str:
    return seal(credential or full_credential(), PROVIDER_KEY, SETTING, certificates=[certificate()], salt=SALT)


# --- There and back -------------------------------------------------------------------------------


@pytest.mark.parametrize("setting", [ALONE, SETTING], ids=["generic", "accredited"])
def test_sealed_credential_comes_back_as_the_same(setting: Any) -> None:
    credential = full_credential()
    text = seal(credential, PROVIDER_KEY, setting, certificates=[certificate()], salt=SALT)
    opened = parse(text)
    assert opened.credential() == credential
    assert opened.key_id == PROVIDER_KEY.key_id
    assert opened.verified_by(PROVIDER_KEY.public_key)
    assert not opened.verified_by(FOREIGN_KEY.public_key)


@given(credentials())
@settings(max_examples=25)
def test_any_credential_comes_back(credential: Credential) -> None:
    assert read(json.loads(json.dumps(write(credential, SETTING, salt=SALT)))) == credential


@pytest.mark.parametrize("text", ["7.50", "10.0", "007", "0.01", "0.33", "99999.99", "0"])
def test_hours_come_back_as_they_were_written(text: str) -> None:
    achievement = sample_achievement(workload=credential_pb2.Workload(hours=text))
    credential = sample_credential(achievement=achievement)
    document = write(credential, salt=SALT)
    assert document["credentialSubject"]["hasClaim"]["specifiedBy"]["volumeOfLearning"] == duration(text)
    assert read(document) == credential


@pytest.mark.parametrize(
    ("text", "stated"), [("7.5", "PT7H30M"), ("0.01", "PT36S"), ("25", "PT25H"), ("0", "PT0H"), ("1.25", "PT1H15M")]
)
def test_durations(text: str, stated: str) -> None:
    assert duration(text) == stated
    assert hours(stated) == text


@pytest.mark.parametrize("text", ["", "PT", "P1D", "PT1.5H", "PT90M", "PT1S", "PT1H0M", "-PT1H", "PT٣H"])
def test_other_durations_are_none_of_ours(text: str) -> None:
    assert hours(text) is None


def test_countries_there_and_back() -> None:
    for code, alpha3 in (("DK", "DNK"), ("NO", "NOR"), ("SE", "SWE"), ("IS", "ISL")):
        concept = vocabulary.country(code)
        assert concept.id == f"http://publications.europa.eu/resource/authority/country/{alpha3}"
        assert vocabulary.country_code(concept.id) == code
    with pytest.raises(InvalidArgument, match="COUNTRY_UNKNOWN"):
        vocabulary.country("XX")
    with pytest.raises(InvalidArgument, match="COUNTRY_UNKNOWN"):
        vocabulary.country_code("https://example.org/country/DNK")


def test_supervision_stands_in_the_extension_where_there_is_no_grade() -> None:
    credential = full_credential(grade=None)
    document = write(credential, salt=SALT)
    assert document["vitne"]["claims"]["achievement"]["supervision"] == "with_identification"
    assert read(document) == credential


# rdflib's own reader of JSON-LD uses what rdflib deprecates.
shacl = pytest.mark.filterwarnings("ignore:ConjunctiveGraph is deprecated:DeprecationWarning")

# --- The shapes -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shapes(vectors: Path) -> dict[str, Any]:
    return {profile: edc_shapes(vectors / "elm3", profile) for profile in PROFILES}


@pytest.fixture(scope="module")
def sample(vectors: Path) -> str:
    return (vectors / "elm3" / "samples" / "Sample-CertOfPart-signed.jsonld").read_text("utf-8")


LEAST = sample_credential(grade=None, learner=Learner(given_name="Kari", family_name="Prøvesen"))


@shacl
@pytest.mark.parametrize(
    ("profile", "document"),
    [
        ("generic", write(full_credential(), salt=SALT)),
        ("generic", write(LEAST, salt=SALT)),
        ("accredited", write(full_credential(), SETTING, salt=SALT)),
    ],
    ids=["everything", "least", "accredited"],
)
def test_credentials_conform_to_the_edc_shapes(
    vectors: Path, shapes: dict[str, Any], profile: str, document: dict[str, Any]
) -> None:
    assert violations(vectors, document, shapes[profile]) == []


@shacl
def test_the_shapes_tell_what_does_not_conform(vectors: Path, shapes: dict[str, Any]) -> None:
    document = write(full_credential(), salt=SALT)
    del document["issuer"]["legalName"]
    assert violations(vectors, document, shapes["generic"])


# --- The Commission's sample ----------------------------------------------------------------------


def test_the_commissions_sealed_sample_verifies(sample: str) -> None:
    opened = parse(sample)
    assert opened.algorithm == "RS256"
    assert opened.verified()
    assert opened.key_id == ""
    with pytest.raises(InvalidArgument) as refused:
        opened.credential()
    assert refused.value.reason == "UNKNOWN_TYPE"


def test_the_commissions_sample_does_not_verify_when_it_is_changed(sample: str) -> None:
    assert not parse(sample.replace("Andromeda", "Cassiopeia")).verified()


def test_the_seal_has_the_form_of_the_samples() -> None:
    outer = json.loads(sealed())
    assert outer.keys() == {"payload", "signatures"}
    assert json.loads(outer["payload"])["type"] == ["VerifiableCredential", "EuropeanDigitalCredential"]
    (entry,) = outer["signatures"]
    header = json.loads(from_b64url(entry["protected"]))
    assert header["b64"] is False
    assert header["crit"] == ["b64", "sigT"]
    assert (header["alg"], header["typ"], header["sigT"]) == ("ES256", "jose+json", "2026-11-21T10:00:00Z")
    assert header["x5c"] == [certificate().base64]


@pytest.mark.parametrize("algorithm", ["RS256", "PS256"])
def test_rsa_seals_of_others_verify(algorithm: str) -> None:
    key = rsa.generate_private_key(65537, 2048)
    chain = [Certificate.of(issue(key))]
    text = reseal(sealed(), lambda header: header | with_certificate(chain[0]) | {"alg": algorithm})
    scheme: Any = padding.PKCS1v15() if algorithm == "RS256" else padding.PSS(padding.MGF1(SHA256()), 32)
    opened = parse(text)
    outer = json.loads(text)
    outer["signatures"][0]["signature"] = b64url(key.sign(opened.signing_input, scheme, SHA256()))
    assert parse(json.dumps(outer)).verified()
    assert not parse(text).verified()


def test_certificate_of_another_key_is_refused() -> None:
    for certificates in (
        [],
        [certificate(FOREIGN_SCALAR)],
        [Certificate.of(issue(ec.generate_private_key(ec.SECP384R1())))],
    ):
        with pytest.raises(InvalidArgument) as refused:
            seal(full_credential(), PROVIDER_KEY, certificates=certificates, salt=SALT)
        assert refused.value.reason == "BAD_CERTIFICATE"


def test_prepared_twice_is_sealed_the_same() -> None:
    one, two = (prepare(full_credential(), SETTING, certificates=[certificate()], salt=SALT) for _ in range(2))
    assert one.complete(PROVIDER_KEY.sign(one.signing_input)) == two.complete(PROVIDER_KEY.sign(two.signing_input))
    assert parse(sealed()).digest == parse(f"\n{sealed()} ").digest


# --- Mutations ------------------------------------------------------------------------------------


def with_certificate(of: Certificate) -> dict[str, Any]:
    return {"x5c": [of.base64], "x5t#S256": of.thumbprint}


def reseal(text: str, change: Callable[[dict[str, Any]], dict[str, Any]]) -> str:
    """The same payload and signature under another header."""
    outer = json.loads(text)
    header = change(json.loads(from_b64url(outer["signatures"][0]["protected"])))
    outer["signatures"][0]["protected"] = b64url(json.dumps(header).encode())
    return json.dumps(outer)


def payload(text: str, pattern: str, replacement: str) -> str:
    outer = json.loads(text)
    outer["payload"], count = re.subn(pattern, replacement, outer["payload"], count=1)
    assert count, pattern
    return json.dumps(outer)


def outer(text: str, change: Callable[[dict[str, Any]], object]) -> str:
    members = json.loads(text)
    change(members)
    return json.dumps(members)


FOREIGN = seal(full_credential(), FOREIGN_KEY, SETTING, certificates=[certificate(FOREIGN_SCALAR)], salt=SALT)
MUTATIONS: dict[str, Callable[[str], str]] = {
    "another name": lambda t: payload(t, "Prøvesen", "Nordmann"),
    "another grade": lambda t: payload(t, '"und":"12"', '"und":"10"'),
    "more points": lambda t: payload(t, '"point":"1.25"', '"point":"5"'),
    "another status index": lambda t: payload(t, "#70931", "#70932"),
    "another status list": lambda t: payload(t, "dk-7#", "dk-8#"),
    "another profile": lambda t: payload(t, "c_ae121a00", "e34929035b"),
    "aged": lambda t: payload(t, '"issuanceDate":"2026', '"issuanceDate":"2020'),
    "never expires": lambda t: payload(t, '"expirationDate":"[^"]*",', ""),
    "another salt": lambda t: payload(t, '"salt":"A', '"salt":"B'),
    "a space": lambda t: payload(t, ",", ", "),
    "a member twice": lambda t: payload(t, '"issued":', '"issued":"2020-01-01T00:00:00Z","issued":'),
    "members in another order": lambda t: outer(
        t, lambda m: m.update(payload=json.dumps(json.loads(m["payload"]), sort_keys=True))
    ),
    "payload encoded": lambda t: outer(t, lambda m: m.update(payload=b64url(m["payload"].encode()))),
    "payload removed": lambda t: outer(t, lambda m: m.pop("payload")),
    "signature cut": lambda t: outer(t, lambda m: m["signatures"][0].update(signature="AAAA")),
    "signature removed": lambda t: outer(t, lambda m: m["signatures"].clear()),
    "signature twice": lambda t: outer(t, lambda m: m["signatures"].extend(m["signatures"])),
    "signature of another key": lambda t: outer(t, lambda m: m.update(signatures=json.loads(FOREIGN)["signatures"])),
    "signed again by another": lambda _: FOREIGN,
    "certificate of another key": lambda t: reseal(t, lambda h: h | with_certificate(certificate(FOREIGN_SCALAR))),
    "thumbprint of another": lambda t: reseal(t, lambda h: h | {"x5t#S256": certificate(FOREIGN_SCALAR).thumbprint}),
    "no certificate": lambda t: reseal(t, lambda h: h | {"x5c": []}),
    "sealed at another time": lambda t: reseal(t, lambda h: h | {"sigT": "2020-01-01T00:00:00Z"}),
    "no sealing time": lambda t: reseal(t, lambda h: {k: v for k, v in h.items() if k != "sigT"} | {"crit": ["b64"]}),
    "alg none": lambda t: reseal(t, lambda h: h | {"alg": "none"}),
    "alg that is a list": lambda t: reseal(t, lambda h: h | {"alg": ["ES256"]}),
    "HS256 with the public key": lambda t: reseal(t, lambda h: h | {"alg": "HS256"}),
    "RS1": lambda t: reseal(t, lambda h: h | {"alg": "RS1"}),
    "RS256 with a key on P-256": lambda t: reseal(t, lambda h: h | {"alg": "RS256"}),
    "b64 true": lambda t: reseal(t, lambda h: h | {"b64": True}),
    "b64 not critical": lambda t: reseal(t, lambda h: h | {"crit": ["sigT"]}),
    "an unknown critical parameter": lambda t: reseal(t, lambda h: h | {"crit": ["b64", "sigT", "sigD"], "sigD": {}}),
    "a critical parameter that is missing": lambda t: reseal(t, lambda h: h | {"crit": ["b64", "sigT", "adoTst"]}),
    "critical is no list": lambda t: reseal(t, lambda h: h | {"crit": "b64"}),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_mutations_fail(name: str) -> None:
    text = sealed()
    mutated = MUTATIONS[name](text)
    assert mutated != text
    try:
        assert not parse(mutated).verified_by(PROVIDER_KEY.public_key)
    except InvalidArgument as error:
        assert all((error.reason, error.rule, error.remedy))  # noqa: PT017 - refused by name is as good


HARMLESS: dict[str, Callable[[str], str]] = {
    "white space around": lambda t: f" {t}\n",
    "serialised otherwise": lambda t: json.dumps(json.loads(t), indent=1),
    # etsiU holds time-stamps and the like, which are not protected, and not believed.
    "an unprotected header": lambda t: outer(t, lambda m: m["signatures"][0].update(header={"etsiU": ["x"]})),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_mutations_that_change_nothing_are_harmless(name: str) -> None:
    opened = parse(HARMLESS[name](sealed()))
    assert opened.verified_by(PROVIDER_KEY.public_key)
    assert opened.credential() == full_credential()


TEXT = sealed()


@given(st.floats(0, 1, exclude_max=True), st.integers(0, 6))
@settings(max_examples=60)
def test_a_flipped_bit_never_verifies_as_something_else(place: float, bit: int) -> None:
    at = int(place * len(TEXT))
    flipped = f"{TEXT[:at]}{chr(ord(TEXT[at]) ^ 1 << bit)}{TEXT[at + 1 :]}"
    try:
        opened = parse(flipped)
        if opened.verified_by(PROVIDER_KEY.public_key):
            assert opened.credential() == full_credential()
    except InvalidArgument as error:
        assert error.reason  # noqa: PT017 - refused by name is as good


# --- What an issuer may not contradict -----------------------------------------------------------------


def at(document: Any, path: str) -> tuple[Any, str]:
    *way, last = path.split(".")
    for name in way:
        document = document[int(name) if isinstance(document, list) else name]
    return document, last


CLAIM = "credentialSubject.hasClaim"
SPECIFICATION = f"{CLAIM}.specifiedBy"


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        ("issuanceDate", "2020-01-01T00:00:00Z", "CLAIMS_CONTRADICT"),
        ("validFrom", "2020-01-01T00:00:00Z", "CLAIMS_CONTRADICT"),
        ("validUntil", "2050-01-01T00:00:00Z", "CLAIMS_CONTRADICT"),
        ("expirationDate", "2031-11-20T01:00:00Z", "CLAIM_MALFORMED"),
        (f"{CLAIM}.title", {"da": "Andet"}, "CLAIMS_CONTRADICT"),
        ("displayParameter.title", {"da": "Andet"}, "CLAIMS_CONTRADICT"),
        ("credentialSubject.fullName", {"und": "Per Prøvesen"}, "CLAIMS_CONTRADICT"),
        (f"{CLAIM}.creditReceived", {"point": "5"}, "CLAIMS_CONTRADICT"),
        (f"{CLAIM}.awardedBy.awardingBody", {"id": "https://example.org"}, "CLAIMS_CONTRADICT"),
        (f"{SPECIFICATION}.learningOutcome.0.relatedESCOSkill", [], "CLAIMS_CONTRADICT"),
        ("credentialStatus.id", "https://status.vitne.example/2026/dk-7", "CLAIM_MALFORMED"),
        ("credentialStatus.id", "https://status.vitne.example/2026/dk-7#٣", "CLAIM_MALFORMED"),
        (f"{CLAIM}.awardedBy.awardingDate", "2026-11-20T12:00:00Z", "CLAIM_MALFORMED"),
        (f"{SPECIFICATION}.mode.id", "https://example.org/mode", "CLAIM_MALFORMED"),
        (f"{SPECIFICATION}.dcType.id", f"{vocabulary.OWN}/kind/", "CLAIM_MALFORMED"),
        (f"{SPECIFICATION}.volumeOfLearning", "P1Y", "CLAIM_MALFORMED"),
        (f"{SPECIFICATION}.identifier.schemeVersion", "²", "CLAIM_MALFORMED"),
        ("vitne.claims.jti", "urn:uuid:01930f6e-7a00-7000-8000-00000000e002", "CLAIM_MALFORMED"),
        ("vitne.claims.achievement.title", {"da": "Andet"}, "CLAIM_MALFORMED"),
        ("vitne.claims.achievement.workload", 5, "CLAIM_MALFORMED"),
        ("vitne.claims.achievement", [], "CLAIM_MALFORMED"),
        ("vitne.claims.decision", None, "CLAIM_MISSING"),
        ("vitne.claims.retention", "for ever", "UNKNOWN_TERM"),
        ("type", ["VerifiableCredential"], "UNKNOWN_TYPE"),
        ("@context", ["https://www.w3.org/2018/credentials/v1"], "UNKNOWN_TYPE"),
        ("issuer", "https://example.org", "CLAIM_MALFORMED"),
        (f"{SPECIFICATION}.title", {}, "CLAIM_MALFORMED"),
    ],
)
def test_contradictions_and_nonsense_are_refused(path: str, value: Any, reason: str) -> None:
    document = json.loads(json.dumps(write(full_credential(), SETTING, salt=SALT)))
    parent, last = at(document, path)
    parent[last] = value
    with pytest.raises(InvalidArgument) as refused:
        read(document)
    assert refused.value.reason == reason


# --- Limits ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("x" * (MAX_BYTES + 1), "TOO_LARGE"),
        ("ø" * (MAX_BYTES // 2 + 1), "TOO_LARGE"),
        ("", "BAD_JSON"),
        ("[" * 100_000, "BAD_JSON"),
        ("{}", "SEAL_MALFORMED"),
        ("[]", "SEAL_MALFORMED"),
        ('{"payload":"{}","signatures":[1]}', "SEAL_MALFORMED"),
        ('{"payload":"{}","signatures":[{"protected":"e30"}]}', "SEAL_MALFORMED"),
        (
            '{"payload":"{}","signatures":[{"protected":"%s","signature":""}]}' % ("A" * (MAX_HEADER_LENGTH + 1)),
            "TOO_LARGE",
        ),
        (reseal(TEXT, lambda h: h | {"x5c": h["x5c"] * (MAX_CERTIFICATES + 1)}), "SEAL_MALFORMED"),
        (reseal(TEXT, lambda h: h | {"x5c": ["AAAA"]}), "BAD_CERTIFICATE"),
        (reseal(TEXT, lambda h: h | {"x5c": ["A" * 40_000]}), "BAD_CERTIFICATE"),
        (outer(TEXT, lambda m: m.update(payload="[" * 40 + "]" * 40)), "BAD_JSON"),
        (outer(TEXT, lambda m: m.update(payload="[]")), "SEAL_MALFORMED"),
    ],
    ids=range(14),
)
def test_each_limit_has_its_error(text: str, reason: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        parse(text)
    assert refused.value.reason == reason
    assert refused.value.remedy
