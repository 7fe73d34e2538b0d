"""Certificates lead to an anchor that is configured, or the key does not count, whatever the registry says."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
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
from vitne.canonical import b64url, from_b64url
from vitne.credentials import sd_jwt_vc
from vitne.credentials.certificates import MAX_CARRIED, MAX_CERTIFICATES, Certificate, carried
from vitne.credentials.elm.seal import seal
from vitne.credentials.elmo.signature import sign
from vitne.credentials.elmo.writing import Node
from vitne.credentials.jose import LocalSigner
from vitne.credentials.trust_anchors import TrustAnchors
from vitne.credentials.w3c import renditions
from vitne.credentials.w3c.renditions import Form
from vitne.errors import InvalidArgument
from vitne.identifiers import OrganisationId
from vitne.merkle.leaves import Issued
from vitne_api.registry.v1 import facts_pb2

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
    names: tuple[x509.GeneralName, ...] = (),
    public: ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | None = None,
) -> Certificate:
    usage = dict.fromkeys(
        ("key_encipherment", "data_encipherment", "key_agreement", "encipher_only", "decipher_only"), False
    )
    signs = x509.KeyUsage(digital_signature=not ca, content_commitment=not ca, key_cert_sign=ca, crl_sign=ca, **usage)
    public = public or key(scalar).public_key()
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
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
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


ADDRESS = "https://registry.vitne.example/issuers/0184:30859480"


@pytest.mark.parametrize(
    ("names", "accepted"),
    [
        ((x509.UniformResourceIdentifier(ADDRESS),), True),
        ((x509.DNSName("Registry.Vitne.example"),), True),
        ((x509.UniformResourceIdentifier("https://other.example"), x509.DNSName("registry.vitne.example")), True),
        ((x509.RFC822Name("post@ucl.example"),), True),  # no address that a token could name
        ((x509.UniformResourceIdentifier(f"{ADDRESS}/"),), False),
        ((x509.DNSName("vitne.example"),), False),
        ((x509.DNSName("*.vitne.example"),), False),
        ((x509.UniformResourceIdentifier("https://other.example"),), False),
    ],
    ids=["uri", "host", "host beside another", "mail", "longer", "above", "any", "other"],
)
def test_a_certificate_for_addresses_is_for_that_of_the_tokens_issuer(
    names: tuple[x509.GeneralName, ...], accepted: bool
) -> None:
    chain = (made("UCL", PROVIDER, "Middle", MIDDLE, number=NUMBER, names=names), MIDDLE_CERTIFICATE)
    TRUSTED.require(chain, at=NOW, body=BODY)
    if accepted:
        TRUSTED.require(chain, at=NOW, body=BODY, issuer_uri=ADDRESS)
        return
    with pytest.raises(InvalidArgument, match="CERTIFICATE_OF_ANOTHER"):
        TRUSTED.require(chain, at=NOW, body=BODY, issuer_uri=ADDRESS)


def test_a_token_carries_all_but_the_anchor() -> None:
    assert carried((*CHAIN, ROOT_CERTIFICATE)) == carried(CHAIN) == CHAIN
    by_itself = made("UCL", PROVIDER, "UCL", PROVIDER)
    assert carried((by_itself,)) == carried(()) == ()
    many = (MAX_CERTIFICATES + 1) * (LEAF,)
    assert carried(many[1:]) == many[1:]
    assert carried(many) == ()
    long = x509.UniformResourceIdentifier("https://ucl.example/" + "a" * (MAX_CARRIED // 2))
    large = made("UCL", PROVIDER, "Middle", MIDDLE, names=(long,))
    assert carried((large,)) == (large,)
    assert carried((large, large)) == ()


@pytest.mark.parametrize("pem", [b"", b"nonsense", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_a_file_without_certificates_is_refused(pem: bytes) -> None:
    with pytest.raises(InvalidArgument, match="BAD_TRUST_ANCHORS"):
        TrustAnchors.parse(pem)


# --- In a verification ------------------------------------------------------------------------------


def issued(world: World, form: str, chain: tuple[Certificate, ...] = CHAIN, signer: LocalSigner = PROVIDER_KEY) -> str:
    credential = world.credential()
    if form == "edc":
        text = seal(credential, PROVIDER_KEY, SETTING, certificates=chain, salt=SALT)
    elif form == "elmo":
        text = sign([Node(credential, setting=SETTING)], PROVIDER_KEY, certificates=chain, salt=SALT).decode()
    elif form in JWTS:
        jwt = renditions.prepare(
            Form(form),
            credential,
            algorithm=signer.algorithm,
            key_id=signer.key_id,
            salt=SALT,
            created=credential.issued_at,
            certificates=chain,
        )
        text = jwt.complete(signer.sign(jwt.signing_input))
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


@pytest.mark.parametrize("form", ["edc", "elmo", "sd-jwt", *JWTS])
async def test_a_token_whose_certificate_is_for_another_address_is_refused(form: str) -> None:
    """Seals and XML signatures name their signer by its number alone."""
    world = World()
    world.anchors = TRUSTED
    others = made("UCL", PROVIDER, "Middle", MIDDLE, names=(x509.DNSName("other.example"),))
    outcome, detail = told(await world.verify(issued(world, form, (others, MIDDLE_CERTIFICATE))))
    assert outcome == ("passed" if form in ("edc", "elmo") else "failed")
    assert ("other addresses" in detail) is (outcome == "failed")


@pytest.mark.parametrize("form", JWTS)
async def test_a_certificate_may_be_of_a_key_for_ed25519(form: str) -> None:
    own = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32))
    signer = LocalSigner(own)
    leaf = made("UCL", PROVIDER, "Middle", MIDDLE, number=NUMBER, public=own.public_key())
    world = World()
    world.key(signer, UCL, facts_pb2.KEY_USE_CREDENTIAL)
    world.log_facts()
    world.anchors = TRUSTED
    text = issued(world, form, (leaf, MIDDLE_CERTIFICATE), signer)
    verification = await world.verify(text)
    assert {outcome_word(check.outcome) for check in verification.checks} == {"passed"}
    assert "leads to a trust anchor" in told(verification)[1]
    assert read(text).algorithm == "Ed25519"
    world.anchors = STRANGERS
    assert told(await world.verify(text))[0] == "failed"


def test_seals_and_xml_signatures_have_no_such_certificates() -> None:
    own = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32))
    leaf = made("UCL", PROVIDER, "Middle", MIDDLE, public=own.public_key())
    world = World()
    for write in (
        lambda: seal(world.credential(), LocalSigner(own), SETTING, certificates=[leaf], salt=SALT),
        lambda: sign([Node(world.credential(), setting=SETTING)], LocalSigner(own), certificates=[leaf], salt=SALT),
    ):
        with pytest.raises(InvalidArgument, match="BAD_CERTIFICATE"):
            write()
    elmo = issued(world, "elmo", (LEAF,)).replace(LEAF.base64, leaf.base64)
    sealed = json.loads(issued(world, "edc", (LEAF,)))
    header = json.loads(from_b64url(sealed["signatures"][0]["protected"])) | {"x5c": [leaf.base64]}
    sealed["signatures"][0]["protected"] = b64url(json.dumps(header).encode())
    for text in (elmo, json.dumps(sealed)):
        with pytest.raises(InvalidArgument, match="BAD_CERTIFICATE"):
            read(text)


def test_instants_of_certificates_are_those_of_the_signature() -> None:
    """What was signed while its certificate held stands, though that has ended since."""
    ended = made("UCL", PROVIDER, "Middle", MIDDLE, number=NUMBER, until=timedelta(days=1))
    TRUSTED.require((ended, MIDDLE_CERTIFICATE), at=NOW, body=BODY)
