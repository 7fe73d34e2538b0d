"""Everything that one credential says, in words. Pure: the elements of the European approach to micro-credentials
(Council Recommendation 2022/C 243/02, Annex I), mandatory and optional, and what Vitne adds to them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from services.portal.entitlement import entitlement
from services.portal.texts import STANDINGS, best_text, page_texts
from vitne.credentials.model import Credential
from vitne.stacking import purpose_of
from vitne_api.credential.v1 import credential_pb2


@dataclass(frozen=True, slots=True)
class Said:
    """A text of the credential's own.

    Attributes:
        text: in the reader's language as far as it exists in it.
        language: BCP 47 tag of ``text``; empty where it is in no language, as a number is.
    """

    text: str
    language: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A learning outcome.

    Attributes:
        category: term of the national framework; name of a text of ``categories`` where that has it.
        text: what she knows or can do.
        concepts: IRIs of skills, such as ESCO's.
    """

    category: str
    text: Said
    concepts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Recognised:
    """How prior learning was recognised.

    Attributes:
        purpose: name of its text.
        methods: names of their texts.
        assessor: an office.
        evidence: how many documents were assessed.
        outcomes: those that were found, numbered from 1; empty: all.
    """

    purpose: str
    methods: tuple[str, ...]
    assessor: str
    evidence: int
    outcomes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Details:
    """Everything that a credential says beside what :class:`~services.portal.presentation.Shown` has of it.

    None, or empty, where it does not say it. Names of texts are those of the tables ``assessments``,
    ``participations``, ``supervisions`` and ``stackabilities``.

    Attributes:
        holder: whose it is, as it says it.
        born: her day of birth, ISO 8601.
        bound: whether it is bound to a key of her wallet.
        outcomes: learning outcomes.
        assessment: name of a text.
        participation: name of a text.
        supervision: name of a text.
        stackability: name of a text.
        quality: the provider's own quality assurance.
        external_quality: organisation that assures it from outside.
        creator: organisation that made it, when that is not the provider.
        deliverer: organisation that teaches it, when that is not the provider.
        field: ISCED-F 2013 code.
        part_of: the whole that it is a part of.
        prerequisites: for enrolment.
        further: further information.
        languages: in which it has its title, BCP 47.
        id: of the credential.
        issuer: URI of who signed it.
        achievement: id and version.
        accreditation: id and revision.
        rule: id of the national rule that allowed it.
        entitlement: what made its issuer one of those whom that rule lets issue it, in words; empty where this release
            does not know the rule.
        standing: of that rule: ``in_force``, ``interpretation``, ``pilot``, ``proposed``; empty where not known.
        status_list: where its status is published, and at which place.
        archived: whether the law has it kept (retention class).
        recognised: how prior learning was recognised; None where it is no such credential.
    """

    holder: str
    born: str | None
    bound: bool
    outcomes: tuple[Outcome, ...]
    assessment: str
    participation: str
    supervision: str
    stackability: str
    quality: Said
    external_quality: str
    creator: str
    deliverer: str
    field: str
    part_of: str
    prerequisites: Said
    further: Said
    languages: tuple[str, ...]
    id: str
    issuer: str
    achievement: tuple[str, int]
    accreditation: tuple[str, int]
    rule: str
    entitlement: str
    standing: str
    status_list: tuple[str, int]
    archived: bool
    recognised: Recognised | None


def details(credential: Credential, languages: Sequence[str]) -> Details:
    """Everything that ``credential`` says to a reader of ``languages``, best first."""
    achievement, learner = credential.achievement, credential.learner
    standing = STANDINGS.get(credential.decision.rule)
    return Details(
        holder=" ".join(name for name in (learner.given_name, learner.family_name) if name),
        born=learner.birth_date.isoformat() if learner.birth_date else None,
        bound=credential.holder is not None,
        outcomes=tuple(_outcome(one, languages) for one in achievement.outcomes),
        assessment=_term(credential_pb2.AssessmentType, achievement.assessment),
        participation=_term(credential_pb2.ParticipationForm, achievement.participation),
        supervision=_term(credential_pb2.Supervision, achievement.supervision),
        stackability=_term(credential_pb2.Stackability, achievement.stackability),
        quality=_said(achievement.quality_assurance.internal, languages),
        external_quality=achievement.quality_assurance.external_body,
        creator=achievement.creator,
        deliverer=achievement.deliverer,
        field=achievement.field,
        part_of=achievement.part_of,
        prerequisites=_said(achievement.prerequisites, languages),
        further=_said(achievement.further_information, languages),
        languages=tuple(text.language for text in achievement.title),
        id=str(credential.id),
        issuer=credential.awarding_body.issuer_uri,
        achievement=(achievement.id, achievement.version),
        accreditation=(str(credential.decision.accreditation_id), credential.decision.accreditation_revision),
        rule=credential.decision.rule,
        entitlement=entitlement(credential.decision.rule, page_texts(languages)),
        standing=standing.value if standing else "",
        status_list=(credential.status.list, credential.status.index),
        archived=credential.retention == credential_pb2.RETENTION_CLASS_ARCHIVE,
        recognised=_recognised(credential),
    )


def _outcome(outcome: credential_pb2.LearningOutcome, languages: Sequence[str]) -> Outcome:
    return Outcome(outcome.category, _said(outcome.text, languages), tuple(outcome.concepts))


def _recognised(credential: Credential) -> Recognised | None:
    act = credential.recognition
    if act is None:
        return None
    return Recognised(
        purpose=purpose_of(act).value,
        methods=tuple(_term(credential_pb2.RecognitionMethod, method) for method in act.methods),
        assessor=act.assessor,
        evidence=len(act.evidence),
        outcomes=tuple(number + 1 for number in act.outcomes),
    )


def _said(texts: Iterable[credential_pb2.LocalisedText], languages: Sequence[str]) -> Said:
    language, text = best_text({one.language: one.text for one in texts}, languages)
    return Said(text, language)


def _term(enum: Any, value: int) -> str:
    """Name of an enumeration's value without the enumeration's own, ``on_site``; empty for what is not stated.

    What a newer release stated and this one does not know is ``other``.
    """
    names: Mapping[int, str] = {number: name for name, number in enum.items()}
    if value == 0:
        return ""
    prefix = names[0].removesuffix("UNSPECIFIED")
    return names[value].removeprefix(prefix).lower() if value in names else "other"
