"""The model as an SD-JWT VC (draft-ietf-oauth-sd-jwt-vc), and back without loss.

Claims of vct :data:`VCT`::

    iss, iat, exp, vct, cnf.jwk, status.status_list.{idx,uri}    as the specifications have them
    vct#integrity        digest of the type's metadata (:mod:`.type_metadata`); credentials of before 2026-11-22 lack it
    jti                  urn:uuid:<credential id>
    salt                 128 random bits, so that the artefact's digest can't be guessed
    kind                 of credential, in the national rules
    awarding_body        id, name by language, country
    achievement          id, version, title by language, outcomes, workload, level, assessment, …
    awarded_on           day; retention: erasable or archive
    decision             digest, and the record that it is the digest of (RECORDS: Decision)
    recognition          of prior learning, where it documents that: purpose, methods, evidence (digests), assessor,
                         achievement.{id,version} and outcomes (numbers; none: all) that were found, rule
    accreditation        id, revision and digest of the accreditation that the decision rests on
    given_name, family_name, birthdate, learner_identifier.{scheme,value}, grade
                         each selectively disclosable

Everything else is always shown. The number of digests is the same for every
credential, so that it does not tell whether there is a grade or a birth date.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

import msgspec
from google.protobuf.descriptor import EnumDescriptor

from vitne.canonical import b64url
from vitne.credentials import sd_jwt, type_metadata
from vitne.credentials.certificates import Certificate, certificates_of, x5c
from vitne.credentials.elements import require_elements_of_achievement, require_own_elements
from vitne.credentials.jose import ES256, parse_public_jwk
from vitne.credentials.members import Members, refused
from vitne.credentials.model import (
    AwardingBody,
    Credential,
    DecisionReference,
    Learner,
    StatusReference,
    by_language,
)
from vitne.credentials.sd_jwt import SALT_BYTES, Disclosable, Prepared, SdJwt
from vitne.errors import InvalidArgument
from vitne.identifiers import LearnerId, OrganisationId, parse_uuid
from vitne_api.credential.v1 import credential_pb2

#: The type of Vitne's micro-credentials.
VCT: Final = type_metadata.VCT
#: ``typ`` of the issuer-signed JWT (section 3.2.1).
TYPE: Final = "dc+sd-jwt"
#: What may be withheld, in the order of the claims.
DISCLOSABLE: Final = type_metadata.DISCLOSABLE
#: Random bytes that one issuance takes: a salt for each of :data:`DISCLOSABLE`, and the ``salt`` claim.
ENTROPY_BYTES: Final = SALT_BYTES * (len(DISCLOSABLE) + 1)

#: Claims that no disclosure may bring in (section 3.2.2.2), and ours on which verification rests.
_ALWAYS_SHOWN: Final = frozenset(
    {
        *("iss", "iat", "nbf", "exp", "cnf", "vct", "vct#integrity", "status"),
        *("jti", "salt", "kind", "awarding_body", "achievement", "awarded_on", "retention", "recognition"),
        *("decision", "accreditation"),
    }
)
_URN: Final = "urn:uuid:"
_RULE: Final = f"the claims of {VCT}"
_ENCODE: Final = msgspec.json.Encoder().encode
_ACHIEVEMENT: Final = "achievement"
#: Largest achievement, as JSON, that is remembered: strangers can't fill the memory with what they have read.
_REMEMBERED_BYTES: Final = 8192


# --- Model to claims ------------------------------------------------------------------------------


def prepare(
    credential: Credential, *, key_id: str, entropy: bytes, certificates: Sequence[Certificate] = ()
) -> Prepared:
    """What is to be signed for a credential, under ES256, and its disclosures.

    Args:
        credential: with all mandatory elements.
        key_id: thumbprint of the key that will sign.
        entropy: :data:`ENTROPY_BYTES` fresh random bytes.
        certificates: of that key, then those above it (``x5c``); none: verifiers know the key from elsewhere.

    Raises:
        InvalidArgument: ``MANDATORY_ELEMENT_MISSING``; ``LANGUAGE_REPEATED``.
        ValueError: on entropy of another length.
    """
    if len(entropy) != ENTROPY_BYTES:
        raise ValueError(f"issuing takes {ENTROPY_BYTES} random bytes")
    achievement = _written(_Same(credential.achievement))
    require_own_elements(credential)
    salt, *salts = (entropy[start : start + SALT_BYTES] for start in range(0, ENTROPY_BYTES, SALT_BYTES))
    claims = to_claims(credential, achievement=achievement, decision=msgspec.Raw(credential.decision.record))
    claims["salt"] = b64url(salt)
    claims[type_metadata.INTEGRITY_CLAIM] = type_metadata.INTEGRITY
    disclosed = sum(isinstance(value, Disclosable) for value in claims.values())
    return sd_jwt.prepare(
        claims,
        header={"alg": ES256, "kid": key_id, "typ": TYPE, **x5c(certificates)},
        salts=salts,
        decoys=len(DISCLOSABLE) - disclosed,
    )


def to_claims(
    credential: Credential, *, achievement: msgspec.Raw | None = None, decision: msgspec.Raw | None = None
) -> dict[str, Any]:
    """The claims of a credential, without ``salt``; what may be withheld is marked.

    Args:
        credential: what is said.
        achievement: its achievement's claims, where they are written already.
        decision: its decision's record, likewise.
    """
    body, learner = credential.awarding_body, credential.learner
    claims: dict[str, Any] = {
        "iss": body.issuer_uri,
        "iat": int(credential.issued_at.timestamp()),
        "vct": VCT,
        "jti": f"{_URN}{credential.id}",
        "status": {"status_list": {"idx": credential.status.index, "uri": credential.status.list}},
        "kind": credential.achievement.kind,
        "awarding_body": {"id": str(body.id), "name": dict(body.name), "country": body.country},
        "achievement": achievement or achievement_claims(credential.achievement),
        "awarded_on": credential.awarded_on.isoformat(),
        "retention": _RETENTION.term(credential.retention),
        "decision": {"digest": credential.decision.digest, "record": decision or credential.decision.members()},
    }
    if credential.accreditation_digest:
        claims["accreditation"] = {
            "id": str(credential.decision.accreditation_id),
            "revision": credential.decision.accreditation_revision,
            "digest": credential.accreditation_digest,
        }
    if credential.expires_on is not None:
        claims["exp"] = int(datetime.combine(credential.expires_on, time(), UTC).timestamp())
    if credential.holder is not None:
        claims["cnf"] = {"jwk": dict(credential.holder.jwk)}
    if credential.recognition is not None:
        claims["recognition"] = recognition_claims(credential.recognition)
    withheld: dict[str, Any] = {
        "given_name": learner.given_name,
        "family_name": learner.family_name,
        "birthdate": learner.birth_date and learner.birth_date.isoformat(),
        "learner_identifier": learner.id and {"scheme": learner.id.scheme, "value": learner.id.value},
        "grade": credential.grade,
    }
    claims.update({name: Disclosable(value) for name, value in withheld.items() if value is not None})
    return claims


def achievement_claims(achievement: credential_pb2.Achievement) -> dict[str, Any]:
    """An achievement's claims: what is the same for all its credentials. Its kind and provider stand outside."""
    quality = achievement.quality_assurance
    claims: dict[str, Any] = {
        "id": achievement.id,
        "version": achievement.version,
        "title": by_language(achievement.title, "achievement.title"),
        "outcomes": [
            _stated(
                category=outcome.category,
                text=by_language(outcome.text, "achievement.outcomes.text"),
                concepts=list(outcome.concepts),
            )
            for outcome in achievement.outcomes
        ],
        "workload": _stated(
            unit=achievement.workload.unit, points=achievement.workload.points, hours=achievement.workload.hours
        ),
        "assessment": _ASSESSMENT.term(achievement.assessment),
        "participation": _PARTICIPATION.term(achievement.participation),
        "quality_assurance": _stated(
            internal=by_language(quality.internal, "achievement.quality_assurance.internal"),
            external_body=quality.external_body,
        ),
    }
    if achievement.HasField("level"):
        claims["level"] = {"framework": achievement.level.framework, "level": achievement.level.level}
    claims |= _stated(
        creator=achievement.creator,
        deliverer=achievement.deliverer,
        field=achievement.field,
        part_of=achievement.part_of,
        prerequisites=by_language(achievement.prerequisites, "achievement.prerequisites"),
        supervision=achievement.supervision and _SUPERVISION.term(achievement.supervision),
        stackability=achievement.stackability and _STACKABILITY.term(achievement.stackability),
        further_information=by_language(achievement.further_information, "achievement.further_information"),
    )
    return claims


def recognition_claims(act: credential_pb2.Recognition) -> dict[str, Any]:
    """An act of recognition's claims."""
    return {
        "purpose": _PURPOSE.term(act.purpose),
        "methods": [_METHOD.term(method) for method in act.methods],
        "evidence": list(act.evidence),
        "assessor": act.assessor,
        "achievement": {"id": act.achievement_id, "version": act.achievement_version},
        **_stated(outcomes=list(act.outcomes)),
        "rule": act.rule,
    }


class _Same:
    """An achievement as a key: this very message, which nobody changes (:mod:`vitne.credentials.model`)."""

    __slots__ = ("achievement",)

    def __init__(self, achievement: credential_pb2.Achievement) -> None:
        self.achievement = achievement

    def __hash__(self) -> int:
        return id(self.achievement)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.achievement is self.achievement


# Institutions issue the same few thousands of times over: writing it again took half of the time.
@lru_cache(maxsize=1024)
def _written(same: _Same) -> msgspec.Raw:
    require_elements_of_achievement(same.achievement)
    return sd_jwt.written(achievement_claims(same.achievement))


def _stated(**members: Any) -> dict[str, Any]:
    """The members that say something: protobuf's defaults are left out."""
    return {name: value for name, value in members.items() if value}


# --- Claims to model ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Presentation:
    """An SD-JWT VC of ours as shown. Nothing of it is verified but its form."""

    sd_jwt: SdJwt
    credential: Credential

    @property
    def key_id(self) -> str:
        """Thumbprint of the key that it says to be signed with."""
        return self.sd_jwt.jws.header.key_id

    @property
    def certificates(self) -> tuple[Certificate, ...]:
        """Of that key, with its chain, where the issuer sent them along.

        Raises:
            InvalidArgument: ``BAD_CERTIFICATE``.
        """
        return certificates_of(self.sd_jwt.jws.header)


def parse(compact: str) -> Presentation:
    """Read an SD-JWT VC of :data:`VCT`; the signature is *not* checked.

    Raises:
        InvalidArgument: what :func:`vitne.credentials.sd_jwt.parse` refuses; ``UNKNOWN_TYPE`` for another ``vct``;
            ``CLAIM_MISSING``, ``CLAIM_MALFORMED``, ``UNKNOWN_TERM``, ``CLAIMS_CONTRADICT``, ``BAD_DECISION``,
            with the claim as field.
    """
    read = sd_jwt.parse(compact, types=(TYPE,))
    smuggled = sorted(_ALWAYS_SHOWN & read.unverified_claims.keys() - read.payload.keys())
    if smuggled:
        raise _refused("CLAIM_DISCLOSED", smuggled[0], "this claim must be signed in clear, and came in a disclosure")
    return Presentation(read, from_claims(read.unverified_claims))


def from_claims(claims: Mapping[str, Any]) -> Credential:
    """The inverse of :func:`to_claims`, for claims as shown; what is withheld is None.

    Raises:
        InvalidArgument: as :func:`parse`.
    """
    root = Members(claims, rule=_RULE)
    if root.text("vct") != VCT:
        raise _refused("UNKNOWN_TYPE", "vct", "the credential is of another type", rule=f"vct is {VCT}")
    pinned = root.optional_text(type_metadata.INTEGRITY_CLAIM)
    if pinned is not None and pinned not in type_metadata.VERSIONS:
        raise _refused("UNKNOWN_TYPE", type_metadata.INTEGRITY_CLAIM, "its type was never published like that")
    decision = root.object("decision")
    reference = DecisionReference.parse(decision.members("record"))
    body = root.object("awarding_body")
    organisation = OrganisationId.parse(body.text("id"), field="awarding_body.id")
    status = root.object("status").object("status_list")
    credential = Credential(
        id=_uuid_urn(root.text("jti")),
        achievement=_read_achievement(root, str(organisation)),
        awarding_body=AwardingBody(
            id=organisation,
            name=MappingProxyType(body.texts("name")),
            country=body.text("country"),
            issuer_uri=root.text("iss"),
        ),
        learner=_learner(root),
        awarded_on=root.day("awarded_on"),
        grade=root.optional_text("grade"),
        expires_on=_midnight(root),
        retention=_RETENTION.number(root.text("retention"), "retention"),
        decision=reference,
        status=StatusReference(list=status.text("uri"), index=status.number("idx")),
        holder=(parse_public_jwk(root.object("cnf").members("jwk"), field="cnf.jwk") if "cnf" in claims else None),
        recognition=_recognition(root.object("recognition")) if "recognition" in claims else None,
        accreditation_digest=_cited_accreditation(root, reference),
    )
    if decision.text("digest") != reference.digest:
        raise _refused("CLAIMS_CONTRADICT", "decision.digest", "the digest is not that of the decision's record")
    if root.number("iat") != int(reference.at.timestamp()):
        raise _refused("CLAIMS_CONTRADICT", "iat", "the credential was not issued at the instant of its decision")
    return credential


def _cited_accreditation(root: Members, decision: DecisionReference) -> str:
    """The digest that is cited for the decision's accreditation; empty where none is."""
    if "accreditation" not in root:
        return ""
    cited = root.object("accreditation")
    if (cited.text("id"), cited.number("revision")) != (
        str(decision.accreditation_id),
        decision.accreditation_revision,
    ):
        raise _refused("CLAIMS_CONTRADICT", "accreditation", "it is not the accreditation that the decision rests on")
    return cited.digest("digest")


def from_record(claims: Mapping[str, Any], record: Mapping[str, Any]) -> Credential:
    """A credential from claims that lack what follows from its decision's record.

    Raises:
        InvalidArgument: as :func:`parse`.
    """
    decision = DecisionReference.parse(record)
    derived = {
        "vct": VCT,
        "iat": int(decision.at.timestamp()),
        "decision": {"digest": decision.digest, "record": record},
    }
    return from_claims({**claims, **derived})


def _learner(root: Members) -> Learner:
    identifier = root.object("learner_identifier") if "learner_identifier" in root else None
    return Learner(
        id=LearnerId(identifier.text("scheme"), identifier.text("value")) if identifier else None,
        given_name=root.optional_text("given_name"),
        family_name=root.optional_text("family_name"),
        birth_date=root.day("birthdate") if "birthdate" in root else None,
    )


# As with writing: thousands of credentials are for the same, and reading it takes a third of the time. The key is all
# that was read, in its order; the message is shared, and nobody changes it (:mod:`vitne.credentials.model`).
@lru_cache(maxsize=1024)
def _known_achievement(claims: bytes, kind: str, provider: str) -> credential_pb2.Achievement:
    read = Members({_ACHIEVEMENT: msgspec.json.decode(claims)}, rule=_RULE)
    return _achievement(read.object(_ACHIEVEMENT), kind=kind, provider=provider)


def _read_achievement(root: Members, provider: str) -> credential_pb2.Achievement:
    claims, kind = root.members(_ACHIEVEMENT), root.text("kind")
    try:
        written = _ENCODE(claims)
    except (ValueError, OverflowError):  # a number that can't be one of ours, or half a character: it will be refused
        return _achievement(root.object(_ACHIEVEMENT), kind=kind, provider=provider)
    if len(written) > _REMEMBERED_BYTES:
        return _achievement(root.object(_ACHIEVEMENT), kind=kind, provider=provider)
    return _known_achievement(written, kind, provider)


def _achievement(claims: Members, *, kind: str, provider: str) -> credential_pb2.Achievement:
    workload, quality = claims.object("workload"), claims.object("quality_assurance")
    level = claims.object("level") if "level" in claims else None
    try:
        return credential_pb2.Achievement(
            id=str(parse_uuid(claims.text("id"), field="achievement.id")),
            version=claims.number("version"),
            provider=provider,
            kind=kind,
            title=_localised(claims.texts("title")),
            outcomes=[
                credential_pb2.LearningOutcome(
                    category=outcome.text("category"),
                    text=_localised(outcome.texts("text")),
                    concepts=outcome.strings("concepts"),
                )
                for outcome in claims.objects("outcomes")
            ],
            workload=credential_pb2.Workload(
                unit=workload.optional_text("unit") or "",
                points=workload.optional_decimal("points"),
                hours=workload.optional_decimal("hours"),
            ),
            level=(
                credential_pb2.Level(framework=level.text("framework"), level=level.text("level")) if level else None
            ),
            assessment=_ASSESSMENT.number(claims.text("assessment"), "achievement.assessment"),
            participation=_PARTICIPATION.number(claims.text("participation"), "achievement.participation"),
            quality_assurance=credential_pb2.QualityAssurance(
                internal=_localised(quality.texts("internal")),
                external_body=quality.optional_text("external_body") or "",
            ),
            creator=claims.optional_text("creator") or "",
            deliverer=claims.optional_text("deliverer") or "",
            field=claims.optional_text("field") or "",
            part_of=claims.optional_text("part_of") or "",
            prerequisites=_localised(claims.optional_texts("prerequisites")),
            supervision=_SUPERVISION.optional_number(claims.optional_text("supervision"), "achievement.supervision"),
            stackability=_STACKABILITY.optional_number(
                claims.optional_text("stackability"), "achievement.stackability"
            ),
            further_information=_localised(claims.optional_texts("further_information")),
        )
    except ValueError as error:  # a number beyond what the contract's integer carries
        raise _refused("CLAIM_MALFORMED", "achievement", "a value is out of range") from error


def _recognition(claims: Members) -> credential_pb2.Recognition:
    against = claims.object("achievement")
    try:
        return credential_pb2.Recognition(
            purpose=_PURPOSE.number(claims.text("purpose"), "recognition.purpose"),
            methods=[_METHOD.number(term, "recognition.methods") for term in claims.strings("methods")],
            evidence=claims.strings("evidence"),
            assessor=claims.text("assessor"),
            achievement_id=str(parse_uuid(against.text("id"), field="recognition.achievement.id")),
            achievement_version=against.number("version"),
            outcomes=claims.numbers("outcomes"),
            rule=claims.text("rule"),
        )
    except ValueError as error:  # as for the achievement
        raise _refused("CLAIM_MALFORMED", "recognition", "a value is out of range") from error


def _localised(texts: Mapping[str, str]) -> Iterable[credential_pb2.LocalisedText]:
    return [credential_pb2.LocalisedText(language=language, text=text) for language, text in texts.items()]


def _uuid_urn(text: str) -> UUID:
    if not text.startswith(_URN):
        raise _refused("CLAIM_MALFORMED", "jti", "not a URN of a UUID")
    return parse_uuid(text.removeprefix(_URN), field="jti")


def _midnight(root: Members) -> date | None:
    if "exp" not in root:
        return None
    days, rest = divmod(root.number("exp"), 86_400)
    if rest or not 0 <= days < 1_000_000:
        raise _refused("CLAIM_MALFORMED", "exp", "not the midnight (UTC) at which a day begins")
    return datetime.fromtimestamp(days * 86_400, UTC).date()


class _Terms:
    """The terms of a closed enum: its names without the common prefix, in lower case."""

    def __init__(self, enum: EnumDescriptor, prefix: str) -> None:
        self._terms = {value.number: value.name.removeprefix(prefix).lower() for value in enum.values if value.number}
        self._numbers = {term: number for number, term in self._terms.items()}

    def term(self, number: int) -> str:
        """The term of a number. KeyError for what the contract does not define: refused long before."""
        return self._terms[number]

    def number(self, term: str, where: str) -> Any:
        """The number of a term; an unknown one is refused, since it can't be understood."""
        if term not in self._numbers:
            raise _refused(
                "UNKNOWN_TERM", where, "the term is not known here", rule=f"one of {', '.join(sorted(self._numbers))}"
            )
        return self._numbers[term]

    def optional_number(self, term: str | None, where: str) -> Any:
        """The same, and zero for None."""
        return 0 if term is None else self.number(term, where)


_ASSESSMENT: Final = _Terms(credential_pb2.AssessmentType.DESCRIPTOR, "ASSESSMENT_TYPE_")
_PARTICIPATION: Final = _Terms(credential_pb2.ParticipationForm.DESCRIPTOR, "PARTICIPATION_FORM_")
_SUPERVISION: Final = _Terms(credential_pb2.Supervision.DESCRIPTOR, "SUPERVISION_")
_STACKABILITY: Final = _Terms(credential_pb2.Stackability.DESCRIPTOR, "STACKABILITY_")
_PURPOSE: Final = _Terms(credential_pb2.RecognitionPurpose.DESCRIPTOR, "RECOGNITION_PURPOSE_")
_METHOD: Final = _Terms(credential_pb2.RecognitionMethod.DESCRIPTOR, "RECOGNITION_METHOD_")
_RETENTION: Final = _Terms(credential_pb2.RetentionClass.DESCRIPTOR, "RETENTION_CLASS_")


def _refused(reason: str, where: str, message: str, *, rule: str = _RULE) -> InvalidArgument:
    return refused(reason, where, message, rule=rule)
