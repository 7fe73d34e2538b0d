"""Certificates lead to an anchor that is configured, or the key does not count, whatever the registry says."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from services.verifier.answers import outcome_word
from services.verifier.presented import read
from services.verifier.verification import Verification
from tests.unit.accreditation_samples import UCL
from tests.unit.credential_samples import ENTROPY
from tests.unit.european_samples import SALT, SETTING
from tests.unit.verifier_world import NOW, PROVIDER_KEY, World
from vitne.canonical import from_b64url
from vitne.credentials import sd_jwt_vc
from vitne.credentials.certificates import Certificate
from vitne.credentials.elm.seal import seal
from vitne.credentials.elmo.signature import sign
from vitne.credentials.elmo.writing import Node
from vitne.credentials.trust_anchors import TrustAnchors
from vitne.credentials.w3c import renditions
from vitne.credentials.w3c.renditions import Form
from vitne.errors import InvalidArgument
from vitne.identifiers import OrganisationId
from vitne.merkle.leaves import Issued

JWTS = (Form.JWT.value, Form.BADGE_JWT.value)
#: The scalar of ``PROVIDER_KEY``, and those of the authorities.
PROVIDER, ROOT, MIDDLE, STRANGER = 501, 9001, 9002, 9003
BODY = OrganisationId.parse(UCL)
NUMBER = f"NTRDK-{UCL.partition(':')[2]}"


def key(scalar: int) -> ec.EllipticCurvePrivateKey:
    return ec.derive_private_key(scalar, ec.SECP256R1())


def name(common: str, number: str = "") -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, common)]
    return x509.Name(
        [*attributes, x509.NameAttribute(NameOID.ORGANIZATION_IDENTIFIER, number)] if number else attributes
    )


def made(
    subject: str,
    scalar: int,
    by: str,
    by_scalar: int,
    *,
    ca: bool = False,
    number: str = "",
    path_length: int | None = None,
    since: timedelta = timedelta(days=30),
    until: timedelta = timedelta(days=30),
) -> Certificate:
    usage = dict.fromkeys(
        ("key_encipherment", "data_encipherment", "key_agreement", "encipher_only", "decipher_only"), False
    )
    signs = x509.KeyUsage(digital_signature=not ca, content_commitment=not ca, key_cert_sign=ca, crl_sign=ca, **usage)
    public = key(scalar).public_key()
    builder = (
        x509.CertificateBuilder()
        .subject_name(name(subject, number))
        .issuer_name(name(by))
        .public_key(public)
        .serial_number(scalar)
        .not_valid_before(NOW - since)
        .not_valid_after(NOW + until)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=path_length), critical=True)
        .add_extension(signs, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key(by_scalar).public_key()), critical=False)
    )
    return Certificate.of(builder.sign(key(by_scalar), SHA256()))


ROOT_CERTIFICATE = made("Root", ROOT, "Root", ROOT, ca=True)
MIDDLE_CERTIFICATE = made("Middle", MIDDLE, "Root", ROOT, ca=True)
LEAF = made("UCL", PROVIDER, "Middle", MIDDLE, number=NUMBER)
CHAIN = (LEAF, MIDDLE_CERTIFICATE)


def anchors(*certificates: Certificate) -> TrustAnchors:
    return TrustAnchors.parse(b"".join(each.parsed.public_bytes(Encoding.PEM) for each in certificates))


TRUSTED = anchors(ROOT_CERTIFICATE)
STRANGERS = anchors(made("Root", STRANGER, "Root", STRANGER, ca=True))


@pytest.mark.parametrize("chain", [CHAIN, (*CHAIN, ROOT_CERTIFICATE)])
def test_a_chain_leads_to_an_anchor_with_and_without_the_anchor_itself(chain: tuple[Certificate, ...]) -> None:
    TRUSTED.require(chain, at=NOW, body=BODY)


def test_an_anchor_may_be_right_above_the_key() -> None:
    anchors(ROOT_CERTIFICATE, MIDDLE_CERTIFICATE).require((LEAF,), at=NOW, body=BODY)


SHORT_ROOT = made("Root", ROOT, "Root", ROOT, ca=True, path_length=0)


@pytest.mark.parametrize(
    ("chain", "trusted", "changes", "reason"),
    [
        (CHAIN, STRANGERS, {}, "CHAIN_UNTRUSTED"),
        ((LEAF,), TRUSTED, {}, "CHAIN_UNTRUSTED"),  # what is between is missing
        ((made("UCL", PROVIDER, "UCL", PROVIDER, number=NUMBER),), TRUSTED, {}, "CHAIN_UNTRUSTED"),  # by itself
        ((LEAF, ROOT_CERTIFICATE, MIDDLE_CERTIFICATE), TRUSTED, {}, "CHAIN_OUT_OF_ORDER"),
        ((LEAF, made("Middle", STRANGER, "Root", ROOT, ca=True)), TRUSTED, {}, "CHAIN_OUT_OF_ORDER"),  # another's name
        ((LEAF, made("Middle", MIDDLE, "Root", ROOT)), TRUSTED, {}, "CHAIN_UNTRUSTED"),  # no authority
        (CHAIN, anchors(SHORT_ROOT), {}, "CHAIN_UNTRUSTED"),  # which may have none between
        (CHAIN, TRUSTED, {"at": NOW + timedelta(days=31)}, "CERTIFICATE_NOT_VALID_THEN"),
        (CHAIN, TRUSTED, {"at": NOW - timedelta(days=31)}, "CERTIFICATE_NOT_VALID_THEN"),
        (
            (LEAF, made("Middle", MIDDLE, "Root", ROOT, ca=True, until=timedelta(days=-1))),
            TRUSTED,
            {},
            "CERTIFICATE_NOT_VALID_THEN",
        ),
        (CHAIN, TRUSTED, {"body": OrganisationId.parse("0192:971035854")}, "CERTIFICATE_OF_ANOTHER"),
    ],
)
def test_other_chains_are_refused_by_name(
    chain: tuple[Certificate, ...], trusted: TrustAnchors, changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(InvalidArgument) as refused:
        trusted.require(chain, at=changes.get("at", NOW), body=changes.get("body", BODY))
    assert refused.value.reason == reason
    assert all((refused.value.rule, refused.value.remedy))


def test_a_certificate_without_a_number_names_nobody() -> None:
    TRUSTED.require((made("UCL", PROVIDER, "Middle", MIDDLE), MIDDLE_CERTIFICATE), at=NOW, body=BODY)


@pytest.mark.parametrize("pem", [b"", b"nonsense", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_a_file_without_certificates_is_refused(pem: bytes) -> None:
    with pytest.raises(InvalidArgument, match="BAD_TRUST_ANCHORS"):
        TrustAnchors.parse(pem)


# --- In a verification ------------------------------------------------------------------------------


def issued(world: World, form: str, chain: tuple[Certificate, ...] = CHAIN) -> str:
    credential = world.credential()
    if form == "edc":
        text = seal(credential, PROVIDER_KEY, SETTING, certificates=chain, salt=SALT)
    elif form == "elmo":
        text = sign([Node(credential, setting=SETTING)], PROVIDER_KEY, certificates=chain, salt=SALT).decode()
    elif form in JWTS:
        jwt = renditions.prepare(
            Form(form),
            credential,
            algorithm=PROVIDER_KEY.algorithm,
            key_id=PROVIDER_KEY.key_id,
            salt=SALT,
            created=credential.issued_at,
            certificates=chain,
        )
        text = jwt.complete(PROVIDER_KEY.sign(jwt.signing_input))
    else:
        prepared = sd_jwt_vc.prepare(credential, key_id=PROVIDER_KEY.key_id, entropy=ENTROPY, certificates=chain)
        text = prepared.complete(PROVIDER_KEY.sign(prepared.signing_input))
    world.log.append(Issued(from_b64url(read(text).digest)).leaf_hash())
    world.log.append(bytes(32))
    return text


def told(verification: Verification) -> tuple[str, str]:
    (check,) = (check for check in verification.checks if check.name == "issuer_key")
    return outcome_word(check.outcome), check.detail


@pytest.mark.parametrize("form", ["edc", "elmo", "sd-jwt", *JWTS])
async def test_a_verifier_with_anchors_asks_where_certificates_lead(form: str) -> None:
    world = World()
    text = issued(world, form)
    assert "trust anchor" not in told(await world.verify(text))[1]
    world.anchors = TRUSTED
    outcome, detail = told(await world.verify(text))
    assert outcome == "passed"
    assert "leads to a trust anchor" in detail
    world.anchors = STRANGERS
    outcome, detail = told(await world.verify(text))
    assert outcome == "failed"
    assert "leads to no trust anchor" in detail


@pytest.mark.parametrize("form", ["sd-jwt", *JWTS])
async def test_what_comes_without_certificates_counts_by_the_registrys_word(form: str) -> None:
    world = World()
    world.anchors = TRUSTED
    text = issued(world, form, ())
    assert told(await world.verify(text))[0] == "passed"


@pytest.mark.parametrize("form", ["sd-jwt", *JWTS])
async def test_certificates_of_another_key_are_refused(form: str) -> None:
    world = World()
    world.anchors = TRUSTED
    stranger = made("UCL", STRANGER, "Middle", MIDDLE, number=NUMBER)
    outcome, detail = told(await world.verify(issued(world, form, (stranger, MIDDLE_CERTIFICATE))))
    assert outcome == "failed"
    assert "not of the key" in detail


def test_instants_of_certificates_are_those_of_the_signature() -> None:
    """What was signed while its certificate held stands, though that has ended since."""
    ended = made("UCL", PROVIDER, "Middle", MIDDLE, number=NUMBER, until=timedelta(days=1))
    TRUSTED.require((ended, MIDDLE_CERTIFICATE), at=NOW, body=BODY)
