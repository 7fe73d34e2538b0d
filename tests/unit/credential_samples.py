"""Credentials for tests: one that is written out, and Hypothesis strategies for any."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import strategies as st

from vitne.canonical import canonical_bytes, instant_text
from vitne.credentials.jose import LocalSigner
from vitne.credentials.model import AwardingBody, Credential, DecisionReference, Learner, StatusReference
from vitne.identifiers import LearnerId, OrganisationId
from vitne_api.credential.v1 import credential_pb2

PROVIDER_KEY = LocalSigner(ec.derive_private_key(1001, ec.SECP256R1()))
HOLDER_KEY = LocalSigner(ec.derive_private_key(1002, ec.SECP256R1()))
FOREIGN_KEY = LocalSigner(ec.derive_private_key(1003, ec.SECP256R1()))

PROVIDER = "0184:30859480"
ISSUER_URI = f"https://vitne.example/issuers/{PROVIDER}"
LIST_URI = "https://status.vitne.example/2026/dk-7"
ISSUED_AT = datetime(2026, 11, 21, 10, 0, 0, 214_000, UTC)
ENTROPY = bytes(range(96))


def texts(**by_language: str) -> list[credential_pb2.LocalisedText]:
    return [credential_pb2.LocalisedText(language=language, text=text) for language, text in by_language.items()]


def sample_achievement(**changes: Any) -> credential_pb2.Achievement:
    fields: dict[str, Any] = {
        "id": "01930f6e-7a00-7000-8000-00000000c001",
        "version": 2,
        "provider": PROVIDER,
        "kind": "dk.micro_credential",
        "title": texts(da="Klimaregnskaber: scope 1 og 2", en="Climate accounting: scopes 1 and 2"),
        "outcomes": [
            credential_pb2.LearningOutcome(
                category="knowledge",
                text=texts(da="Kender drivhusgasprotokollens afgrænsninger"),
                concepts=["http://data.europa.eu/esco/skill/e4ae1a2c"],
            )
        ],
        "workload": credential_pb2.Workload(unit="ects", points="1.25"),
        "level": credential_pb2.Level(framework="dk.nqf", level="5"),
        "assessment": credential_pb2.ASSESSMENT_TYPE_WRITTEN,
        "participation": credential_pb2.PARTICIPATION_FORM_BLENDED,
        "quality_assurance": credential_pb2.QualityAssurance(internal=texts(da="Censor ved hver prøve")),
    }
    return credential_pb2.Achievement(**fields | changes)


def sample_decision(achievement: credential_pb2.Achievement, at: datetime = ISSUED_AT) -> dict[str, Any]:
    return {
        "accreditation": {"id": "01930f6e-7a00-7000-8000-00000000a001", "revision": 3},
        "achievement": {"id": achievement.id, "version": achievement.version},
        "at": instant_text(at),
        "framework": {"country": "DK", "version": "2026-11-01"},
        "outcome": "allowed",
        "provider": achievement.provider,
        "registry_revision": 4711,
        "rule": "dk.business_academy.micro_credential",
    }


def sample_credential(**changes: Any) -> Credential:
    achievement = changes.pop("achievement", None) or sample_achievement()
    fields: dict[str, Any] = {
        "id": UUID("01930f6e-7a00-7000-8000-00000000e001"),
        "achievement": achievement,
        "awarding_body": AwardingBody(
            id=OrganisationId.parse(PROVIDER),
            name={"da": "UCL Erhvervsakademi og Professionshøjskole"},
            country="DK",
            issuer_uri=ISSUER_URI,
        ),
        "learner": Learner(
            id=LearnerId("no.national_id", "01825500042"),
            given_name="Kari",
            family_name="Prøvesen",
            birth_date=date(1955, 2, 1),
        ),
        "awarded_on": date(2026, 11, 20),
        "grade": "12",
        "expires_on": None,
        "retention": credential_pb2.RETENTION_CLASS_ERASABLE,
        "decision": DecisionReference.parse(canonical_bytes(sample_decision(achievement))),
        "status": StatusReference(list=LIST_URI, index=70_931),
        "holder": None,
    }
    return Credential(**fields | changes)


# Any text that JSON and protobuf both carry: no lone surrogates.
_TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
_LANGUAGES = st.sampled_from(["nb", "nn", "se", "da", "sv", "is", "en", "fi"])
_TEXTS = st.dictionaries(_LANGUAGES, _TEXT, min_size=1, max_size=3).map(lambda by: texts(**by))
_DECIMAL = st.sampled_from(["0.5", "1.25", "5", "10", "60"])
_TERM = st.sampled_from(["dk.micro_credential", "no.kompetanseattest", "no.fagskole.module"])


@st.composite
def achievements(draw: st.DrawFn) -> credential_pb2.Achievement:
    in_credits = draw(st.booleans())
    fields: dict[str, Any] = {
        "id": str(draw(st.uuids())),
        "version": draw(st.integers(1, 2**32 - 1)),
        "kind": draw(_TERM),
        "title": draw(_TEXTS),
        "outcomes": draw(
            st.lists(
                st.builds(
                    credential_pb2.LearningOutcome,
                    category=st.sampled_from(["knowledge", "skills"]),
                    text=_TEXTS,
                    concepts=st.lists(st.just("https://example.org/skill/1"), max_size=2),
                ),
                min_size=1,
                max_size=3,
            )
        ),
        "workload": credential_pb2.Workload(
            unit="ects" if in_credits else "",
            points=draw(_DECIMAL) if in_credits else "",
            hours="" if in_credits and draw(st.booleans()) else draw(_DECIMAL),
        ),
        "assessment": draw(st.integers(1, 6)),
        "participation": draw(st.integers(1, 4)),
        "quality_assurance": credential_pb2.QualityAssurance(
            internal=draw(_TEXTS), external_body=draw(st.sampled_from(["", "0192:985042667"]))
        ),
        "creator": draw(st.sampled_from(["", PROVIDER])),
        "deliverer": draw(st.sampled_from(["", PROVIDER])),
        "field": draw(st.sampled_from(["", "0413"])),
        "part_of": draw(st.sampled_from(["", "dk.climate"])),
        "prerequisites": draw(st.just([]) | _TEXTS),
        "supervision": draw(st.integers(0, 3)),
        "stackability": draw(st.integers(0, 4)),
        "further_information": draw(st.just([]) | _TEXTS),
    }
    if draw(st.booleans()):
        fields["level"] = credential_pb2.Level(framework="dk.nqf", level=draw(st.sampled_from(["5", "6"])))
    return sample_achievement(**{"level": None} | fields)


_RECOGNITIONS = st.builds(
    credential_pb2.Recognition,
    purpose=st.integers(1, 3),
    methods=st.lists(st.integers(1, 6), min_size=1, max_size=3, unique=True),
    evidence=st.lists(st.just("VhkMNUBmzZoorVxLPO0ZFsx2GMQWJkvUmugbN9NN7Io"), min_size=1, max_size=2),
    assessor=_TEXT,
    achievement_id=st.uuids().map(str),
    achievement_version=st.integers(1, 9),
    outcomes=st.lists(st.integers(0, 9), max_size=3, unique=True).map(sorted),
    rule=_TERM,
)


@st.composite
def credentials(draw: st.DrawFn) -> Credential:
    achievement = draw(achievements())
    milliseconds = draw(st.integers(1_600_000_000_000, 4_000_000_000_000))
    decision = sample_decision(achievement, datetime.fromtimestamp(milliseconds / 1000, UTC))
    return sample_credential(
        id=draw(st.uuids()),
        achievement=achievement,
        learner=Learner(
            id=LearnerId("provider.local_id", draw(_TEXT)),
            given_name=draw(_TEXT),
            family_name=draw(_TEXT),
            birth_date=draw(st.none() | st.dates()),
        ),
        awarded_on=draw(st.dates()),
        grade=draw(st.none() | _TEXT),
        expires_on=draw(st.none() | st.dates(date(2000, 1, 1), date(4000, 1, 1))),
        retention=draw(st.sampled_from([1, 2])),
        decision=DecisionReference.parse(canonical_bytes(decision)),
        status=StatusReference(list=LIST_URI, index=draw(st.integers(0, 2**32 - 1))),
        holder=draw(st.sampled_from([None, HOLDER_KEY.public_key])),
        recognition=draw(st.none() | _RECOGNITIONS),
        accreditation_digest=draw(st.sampled_from(["", "A" * 43])),
    )
