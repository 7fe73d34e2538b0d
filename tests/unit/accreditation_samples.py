"""Facts for tests: a registry in miniature that numbers what it is told."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric import ec

from vitne.accreditation import Projection, timestamp
from vitne.credentials.jose import LocalSigner
from vitne.frameworks import Frameworks, Standing
from vitne_api.credential.v1 import credential_pb2
from vitne_api.registry.v1 import facts_pb2

NOKUT = "0192:985042667"
HKDIR = "0192:974788985"
DAI = "0184:99000007"
UIO = "0192:971035854"
UIB = "0192:874789542"
FAGSKOLE = "0192:313000001"
COLLEGE = "0192:917641404"
PRIVATE = "0192:313000028"
UNACCREDITED = "0192:313000036"
UCL = "0184:30859480"
OPERATOR = "0192:313000044"
KIND_OF = {
    UIO: "no.university",
    UIB: "no.university",
    FAGSKOLE: "no.fagskole",
    COLLEGE: "no.university_college",
    PRIVATE: "no.private_provider",
    UNACCREDITED: "no.private_provider",
    UCL: "dk.business_academy",
}

T0 = datetime(2026, 1, 1, tzinfo=UTC)
NOW = datetime(2026, 11, 21, 10, tzinfo=UTC)
ALL = Frameworks.load(Standing)

GRANTED = facts_pb2.ACCREDITATION_STATE_GRANTED
SUSPENDED = facts_pb2.ACCREDITATION_STATE_SUSPENDED
WITHDRAWN = facts_pb2.ACCREDITATION_STATE_WITHDRAWN


def uuid(number: int) -> str:
    return str(UUID(int=(0x01930F6E7A00 << 80) | (7 << 76) | (0b10 << 62) | number))


def days(number: int) -> datetime:
    return T0 + timedelta(days=number)


def text(words: str, language: str = "en") -> credential_pb2.LocalisedText:
    return credential_pb2.LocalisedText(language=language, text=words)


def achievement(provider: str, default_kind: str, **changes: Any) -> credential_pb2.Achievement:
    """An achievement with every mandatory element; ``level`` is (framework, level), ``workload`` (unit, points)."""
    level = changes.pop("level", None)
    unit, points = changes.pop("workload", ("", ""))
    fields: dict[str, Any] = {
        "id": uuid(0xC001),
        "version": 1,
        "provider": provider,
        "kind": default_kind,
        "title": [text("Klimaregnskaber")],
        "outcomes": [credential_pb2.LearningOutcome(category="knowledge", text=[text("Knows the protocol.")])],
        "workload": credential_pb2.Workload(unit=unit, points=points, hours="" if points else "20"),
        "assessment": credential_pb2.ASSESSMENT_TYPE_WRITTEN,
        "participation": credential_pb2.PARTICIPATION_FORM_BLENDED,
        "quality_assurance": credential_pb2.QualityAssurance(internal=[text("Reviewed every year.")]),
    }
    if level:
        fields["level"] = credential_pb2.Level(framework=level[0], level=level[1])
    return credential_pb2.Achievement(**{**fields, **changes})


def scope(*kinds: str, levels: Iterable[tuple[str, str]] = (), **changes: Any) -> facts_pb2.Scope:
    stated = [credential_pb2.Level(framework=framework, level=level) for framework, level in levels]
    return facts_pb2.Scope(credential_kinds=kinds, levels=stated, **changes)


class Chronicle:
    """Facts in the order in which a registry would have recorded them."""

    def __init__(self, recorded_from: datetime = T0) -> None:
        self._recorded_from = recorded_from
        self.facts: list[facts_pb2.Fact] = []
        self._revisions: dict[str, int] = {}

    def record(self, subject: str, *, actor: str = "", **content: Any) -> facts_pb2.Fact:
        self._revisions[subject] = self._revisions.get(subject, 0) + 1
        number = len(self.facts) + 1
        fact = facts_pb2.Fact(
            id=uuid(0xF0000 + number),
            subject=subject,
            subject_revision=self._revisions[subject],
            registry_revision=number,
            recorded_at=timestamp(self._recorded_from + timedelta(minutes=number)),
            actor=actor or subject,
            **content,
        )
        self.facts.append(fact)
        return fact

    def authority(self, authority: str = NOKUT, country: str = "NO") -> facts_pb2.Fact:
        remit = facts_pb2.Remit(country=country, provider_kinds=["no.university"], accreditation_kinds=["no.x"])
        return self.record(
            authority, authority=facts_pb2.Authority(id=authority, name=[text("A")], remit=remit, revision=1)
        )

    def provider(self, provider: str, **changes: Any) -> facts_pb2.Fact:
        fields: dict[str, Any] = {
            "id": provider,
            "name": [text("Provider")],
            "country": "DK" if provider.startswith("0184") else "NO",
            "kind": KIND_OF.get(provider, ""),
            "issuer_uri": f"https://vitne.example/issuers/{provider}",
            "revision": 1,
        }
        return self.record(provider, provider=facts_pb2.Provider(**{**fields, **changes}))

    def accredit(
        self,
        provider: str,
        kind: str,
        covered: facts_pb2.Scope,
        *,
        accreditation: int = 0xA001,
        revision: int = 1,
        state: facts_pb2.AccreditationState.ValueType = GRANTED,
        valid_from: datetime = T0,
        valid_until: datetime | None = None,
        effective_from: datetime | None = None,
        authority: str = NOKUT,
    ) -> facts_pb2.Fact:
        said = facts_pb2.Accreditation(
            id=uuid(accreditation),
            revision=revision,
            provider=provider,
            authority=authority,
            kind=kind,
            scope=covered,
            valid_from=timestamp(valid_from),
            state=state,
            effective_from=timestamp(effective_from or valid_from),
        )
        if valid_until is not None:
            said.valid_until.CopyFrom(timestamp(valid_until))
        return self.record(provider, actor=authority, accreditation=said)

    def publish(self, offered: credential_pb2.Achievement) -> facts_pb2.Fact:
        return self.record(offered.provider, achievement=offered)

    def projection(self) -> Projection:
        projection = Projection()
        for fact in self.facts:
            projection.fold(fact)
        return projection


OPERATOR_KEY = LocalSigner(ec.derive_private_key(4, ec.SECP256R1()))


def operator_key_fact(chronicle: Chronicle) -> facts_pb2.Fact:
    """The operator's key for the trust list."""
    key = facts_pb2.Key(
        id=OPERATOR_KEY.key_id,
        revision=1,
        owner=OPERATOR,
        use=facts_pb2.KEY_USE_TRUST_LIST,
        public_jwk=json.dumps(OPERATOR_KEY.public_jwk),
        valid_from=timestamp(T0),
    )
    return chronicle.record(OPERATOR, key=key)
