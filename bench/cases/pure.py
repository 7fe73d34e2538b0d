"""What needs no server: decisions, formats, status lists. One core, in this process."""

from __future__ import annotations

import os
import secrets
from datetime import UTC, date, datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID

from bench.facts import FactMaker, later
from bench.load import repeated
from bench.results import Finding
from bench.session import Case, Session
from services.ledger.transitions import Status
from services.ledger.vector import BITS, StatusVector
from vitne.accreditation import Projection, decide, record_of
from vitne.clock import SystemClock
from vitne.credentials import sd_jwt_vc
from vitne.credentials.certificates import Certificate
from vitne.credentials.elm.document import SALT_BYTES
from vitne.credentials.elm.seal import seal
from vitne.credentials.elmo.signature import sign
from vitne.credentials.elmo.writing import Node
from vitne.credentials.jose import LocalSigner
from vitne.credentials.model import AwardingBody, Credential, DecisionReference, Learner, StatusReference
from vitne.credentials.status_list import sign_token
from vitne.credentials.w3c import renditions
from vitne.dev.stack import STATUS_BASE
from vitne.frameworks import Frameworks, Standing
from vitne.identifiers import LearnerId, UuidFactory
from vitne_api.credential.v1 import credential_pb2

_SECONDS: Final = 3.0
#: Providers and achievements among which decisions are made.
_PROVIDERS: Final = 100
_ACHIEVEMENTS: Final = 1000
#: Places of a list that are not valid any more: one of a hundred.
_REVOKED_SHARE: Final = 0.01
_LIFETIME: Final = timedelta(minutes=15)
_TTL: Final = timedelta(seconds=10)


async def decisions(session: Session) -> None:
    """Each at another instant, of a thousand achievements in turns; all are allowed, with their checks."""
    facts = list(FactMaker().country(_PROVIDERS, 2 * _PROVIDERS, _ACHIEVEMENTS))
    projection = Projection()
    for fact in facts:
        projection.fold(fact)
    asked = [(fact.subject, fact.achievement.id) for fact in facts if fact.HasField("achievement")]
    frameworks = Frameworks.load(tuple(Standing))

    def operation(number: int) -> None:
        provider, achievement = asked[number % len(asked)]
        if not decide(projection, frameworks, provider, achievement, 1, later(number)).allowed:
            raise AssertionError("what is accredited is allowed")

    session.record(Finding.rate("decide.inprocess", repeated(operation, session.seconds(_SECONDS))))


def sample() -> tuple[Credential, LocalSigner]:
    """What an accredited provider might issue, and a key to sign it with."""
    maker = FactMaker()
    entered, accredited, published = maker.country(1, 2, 1)
    projection = Projection()
    for fact in (entered, accredited, published):
        projection.fold(fact)
    achievement = published.achievement
    frameworks = Frameworks.load(tuple(Standing))
    outcome = decide(projection, frameworks, achievement.provider, achievement.id, 1, later(0))
    credential = Credential(
        id=UuidFactory(SystemClock())(),
        achievement=achievement,
        awarding_body=AwardingBody.of(entered.provider),
        learner=Learner(LearnerId("no.national_id", "01825500042"), "Kari", "Prøvesen", date(1955, 2, 1)),
        awarded_on=date(2026, 11, 20),
        grade="Bestått",
        expires_on=None,
        retention=credential_pb2.RETENTION_CLASS_ERASABLE,
        decision=DecisionReference.parse(record_of(outcome).record),
        status=StatusReference(f"{STATUS_BASE}2026/no-1", 70_931),
        holder=None,
    )
    return credential, LocalSigner(ec.generate_private_key(ec.SECP256R1()))


def issue(credential: Credential, signer: LocalSigner) -> str:
    """It as an SD-JWT VC."""
    prepared = sd_jwt_vc.prepare(credential, key_id=signer.key_id, entropy=secrets.token_bytes(sd_jwt_vc.ENTROPY_BYTES))
    return prepared.complete(signer.sign(prepared.signing_input))


async def sd_jwt_issue(session: Session) -> None:
    """Claims, salts, disclosures, one ES256 signature."""
    credential, signer = sample()
    measured = repeated(lambda _number: issue(credential, signer), session.seconds(_SECONDS))
    session.record(Finding.rate("format.sdjwt.issue", measured))


async def sd_jwt_verify(session: Session) -> None:
    """Parse strictly, hold the disclosures against their digests, verify the signature."""
    credential, signer = sample()
    compact = issue(credential, signer)
    key = signer.public_key

    def operation(_number: int) -> None:
        if not sd_jwt_vc.parse(compact).sd_jwt.jws.verified_by(key):
            raise AssertionError("what was signed holds")

    session.record(Finding.rate("format.sdjwt.verify", repeated(operation, session.seconds(_SECONDS))))


def _issue_badge(credential: Credential, signer: LocalSigner) -> str:
    prepared = renditions.prepare(
        renditions.Form.BADGE,
        credential,
        algorithm=signer.algorithm,
        key_id=signer.key_id,
        salt=secrets.token_bytes(SALT_BYTES),
        created=credential.issued_at,
    )
    return prepared.complete(signer.sign(prepared.signing_input))


async def badge_issue(session: Session) -> None:
    """A whole badge: written, expanded, its canonical form, hashes, an Ed25519 signature."""
    credential, _ = sample()
    signer = LocalSigner(ed25519.Ed25519PrivateKey.generate())
    measured = repeated(lambda _number: _issue_badge(credential, signer), session.seconds(_SECONDS))
    session.record(Finding.rate("format.ob3.whole.issue", measured))


async def badge_verify(session: Session) -> None:
    """A whole badge: read strictly, written again and held against that, its canonical form, the signature."""
    credential, _ = sample()
    signer = LocalSigner(ed25519.Ed25519PrivateKey.generate())
    badge = _issue_badge(credential, signer)
    key = signer.public_key

    def operation(_number: int) -> None:
        if not renditions.parse(badge).verified_by(key):
            raise AssertionError("what was signed holds")

    session.record(Finding.rate("format.ob3.whole.verify", repeated(operation, session.seconds(_SECONDS))))


def _self_signed(signer: ec.EllipticCurvePrivateKey) -> Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bench")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(signer.public_key())
    builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + timedelta(days=1))
    return Certificate.of(builder.sign(signer, SHA256()))


async def elmo_sign(session: Session) -> None:
    """A document of one credential: written, canonical, an enveloped ECDSA signature."""
    credential, _ = sample()
    private = ec.generate_private_key(ec.SECP256R1())
    signer, certificates = LocalSigner(private), [_self_signed(private)]

    def operation(_number: int) -> None:
        sign([Node(credential)], signer, certificates=certificates, salt=secrets.token_bytes(SALT_BYTES))

    session.record(Finding.rate("format.elmo.sign", repeated(operation, session.seconds(_SECONDS))))


async def edc_seal(session: Session) -> None:
    """A European Digital Credential: written, sealed with JAdES."""
    credential, _ = sample()
    private = ec.generate_private_key(ec.SECP256R1())
    signer, certificates = LocalSigner(private), [_self_signed(private)]

    def operation(_number: int) -> None:
        seal(credential, signer, certificates=certificates, salt=secrets.token_bytes(SALT_BYTES))

    session.record(Finding.rate("format.edc.seal", repeated(operation, session.seconds(_SECONDS))))


def _build_list(session: Session, name: str, size: int) -> None:
    """Every time one more place is set, and the whole list compressed and signed."""
    vector = StatusVector(size)
    for _ in range(int(size * _REVOKED_SHARE)):
        vector[secrets.randbelow(size)] = Status.REVOKED
    signer = LocalSigner(ec.generate_private_key(ec.SECP256R1()))
    now = datetime.now(UTC)

    def operation(number: int) -> None:
        vector[int.from_bytes(os.urandom(4), "big") % size] = Status.REVOKED
        sign_token(
            uri=f"{STATUS_BASE}2026/no-{number}",
            packed=vector.packed(),
            bits=BITS,
            issued_at=now,
            expires_at=now + _LIFETIME,
            ttl=_TTL,
            signer=signer,
        )

    measured = repeated(operation, session.seconds(_SECONDS))
    session.record(Finding(name, 1000 / measured.rate, measured.latencies))


async def small_list(session: Session) -> None:
    """The smallest list that there may be."""
    _build_list(session, "list.build.131072", 131_072)


async def large_list(session: Session) -> None:
    """A list of a million places."""
    _build_list(session, "list.build.1e6", 1_000_000)


CASES: Final = (
    Case(("decide.inprocess",), decisions),
    Case(("format.sdjwt.issue",), sd_jwt_issue),
    Case(("format.sdjwt.verify",), sd_jwt_verify),
    Case(("format.ob3.whole.issue",), badge_issue),
    Case(("format.ob3.whole.verify",), badge_verify),
    Case(("format.elmo.sign",), elmo_sign),
    Case(("format.edc.seal",), edc_seal),
    Case(("list.build.131072",), small_list),
    Case(("list.build.1e6",), large_list),
)
