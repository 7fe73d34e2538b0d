"""Certificates and settings for tests of ELMO and EDC, and a credential that says everything."""

from __future__ import annotations

from datetime import UTC, date, datetime
from functools import cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from tests.unit.credential_samples import HOLDER_KEY, PROVIDER, sample_achievement, sample_credential, texts
from vitne.credentials.certificates import Certificate
from vitne.credentials.model import Credential
from vitne.credentials.setting import Accreditor, Setting
from vitne.identifiers import OrganisationId
from vitne_api.credential.v1 import credential_pb2

SALT = bytes(range(16))
SETTING = Setting(
    eqf_level="5",
    accreditor=Accreditor(OrganisationId.parse("0184:99000007"), {"da": "Danmarks Akkrediteringsinstitution"}, "DK"),
    grading={"da": "7-trinsskalaen", "en": "Seven-point grading scale"},
)
#: Scalars of the keys in ``credential_samples``.
PROVIDER_SCALAR, FOREIGN_SCALAR = 1001, 1003


@cache
def certificate(scalar: int = PROVIDER_SCALAR) -> Certificate:
    """A certificate of the sample key with this scalar, signed by itself."""
    return Certificate.of(issue(ec.derive_private_key(scalar, ec.SECP256R1())))


def issue(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "UCL Erhvervsakademi")])
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(datetime(2000, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(4100, 1, 1, tzinfo=UTC))
        .sign(key, hashes.SHA256())
    )


def full_credential(**changes: Any) -> Credential:
    """Every element stated, mandatory, optional and ours."""
    return sample_credential(
        **{
            "achievement": sample_achievement(
                outcomes=[
                    credential_pb2.LearningOutcome(
                        category="knowledge",
                        text=texts(da="Kender drivhusgasprotokollen", en="Knows the greenhouse gas protocol"),
                        concepts=["https://example.org/skill/1", "http://data.europa.eu/esco/skill/e4ae1a2c"],
                    ),
                    credential_pb2.LearningOutcome(category="competence", text=texts(da="Kan lave et klimaregnskab")),
                ],
                workload=credential_pb2.Workload(unit="ects", points="1.25", hours="33.75"),
                quality_assurance=credential_pb2.QualityAssurance(
                    internal=texts(da="Censor ved hver prøve"), external_body="0184:99000007"
                ),
                creator=PROVIDER,
                deliverer=PROVIDER,
                field="0413",
                part_of="dk.klimaregnskaber",
                prerequisites=texts(da="Ingen", en="None"),
                supervision=credential_pb2.SUPERVISION_WITH_IDENTIFICATION,
                stackability=credential_pb2.STACKABILITY_STACKABLE,
                further_information=texts(da="Udviklet med Dansk Industri"),
            ),
            "expires_on": date(2031, 11, 20),
            "holder": HOLDER_KEY.public_key,
            "accreditation_digest": "TFV8xGOHcleNF8JqBg7VniZmNJ3SuIM8ZIa7mDFraVI",
            "recognition": credential_pb2.Recognition(
                purpose=credential_pb2.RECOGNITION_PURPOSE_EXEMPTION,
                methods=[credential_pb2.RECOGNITION_METHOD_INTERVIEW, credential_pb2.RECOGNITION_METHOD_PORTFOLIO],
                evidence=["TFV8xGOHcleNF8JqBg7VniZmNJ3SuIM8ZIa7mDFraVI"],
                assessor="Klimafagligt udvalg",
                achievement_id="01930f6e-7a00-7000-8000-00000000c001",
                achievement_version=2,
                outcomes=[0],
                rule="dk.business_academy.recognition",
            ),
        }
        | changes
    )
