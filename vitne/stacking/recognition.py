"""Recognition of prior learning: an act of its own, and what it makes of what somebody holds.

Whoever is responsible at a level assesses what somebody can already do against an
achievement, or parts of it. Who that is follows from the national rules: whose kind of
provider may award that kind of credential there; and whoever published an achievement answers for
their own (an industry against its own model). The act never names the learner: who assessed is
named by office, and evidence by its digests.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from enum import StrEnum
from typing import Final

from vitne.accreditation import offer_of
from vitne.canonical import from_b64url
from vitne.errors import FailedPrecondition, InvalidArgument, PermissionDenied
from vitne.frameworks import Frameworks
from vitne.stacking.held import Held, Standing, held
from vitne_api.credential.v1 import credential_pb2
from vitne_api.registry.v1 import facts_pb2

_DIGEST_BYTES: Final = 32
#: Digests of one act.
MAX_EVIDENCE: Final = 50
_MAX_TEXT: Final = 200


class Purpose(StrEnum):
    """What a recognition is for."""

    #: To be let in: it says nothing of any part.
    ADMISSION = "admission"
    #: A part need not be taken.
    EXEMPTION = "exemption"
    #: The whole, with its credential.
    QUALIFICATION = "qualification"


class Method(StrEnum):
    """How it was assessed."""

    INTERVIEW = "interview"
    PORTFOLIO = "portfolio"
    PRACTICAL_TEST = "practical_test"
    WRITTEN_TEST = "written_test"
    OBSERVATION = "observation"
    DOCUMENTS = "documents"


@dataclass(frozen=True, slots=True)
class Recognition:
    """An act of recognition, with a positive outcome."""

    #: Who decided.
    body: str
    #: Who assessed, by office: never a person's name.
    assessor: str
    purpose: Purpose
    methods: frozenset[Method]
    #: SHA-256 of what was assessed, base64url: documents, protocols, the credential.
    evidence: tuple[str, ...]
    #: Against which achievement, and its version.
    achievement: str
    version: int
    decided_on: date
    #: Numbers of the learning outcomes that were found, from 0; empty: all of them.
    outcomes: frozenset[int] = frozenset()


def check(
    recognition: Recognition,
    against: credential_pb2.Achievement,
    body: facts_pb2.Provider,
    frameworks: Frameworks,
    today: date,
) -> None:
    """Refuse an act of recognition that nobody could rely on.

    Args:
        recognition: the act.
        against: the achievement that it cites.
        body: the body that it cites, as the registry knows it.
        frameworks: the national rules.
        today: an act is not decided later.

    Raises:
        InvalidArgument: ``ACHIEVEMENT_CONTRADICTS``, ``BODY_CONTRADICTS``, ``ASSESSOR_MISSING``, ``METHOD_MISSING``,
            ``EVIDENCE_MISSING``, ``BAD_DIGEST``, ``UNKNOWN_OUTCOME``, ``PARTS_CONTRADICT``, ``DATES_CONTRADICT``.
        PermissionDenied: ``NOT_RESPONSIBLE``.
    """
    if (recognition.achievement, recognition.version) != (against.id, against.version):
        raise _bad("ACHIEVEMENT_CONTRADICTS", "achievement", "another achievement was looked up", "cite the one meant")
    if recognition.body != body.id:
        raise _bad("BODY_CONTRADICTS", "body", "another body was looked up", "cite the one that decided")
    if not recognition.assessor.strip() or len(recognition.assessor) > _MAX_TEXT:
        raise _bad("ASSESSOR_MISSING", "assessor", "it does not say who assessed", "name the office that assessed")
    if not recognition.methods:
        raise _bad("METHOD_MISSING", "methods", "it does not say how it was assessed", "state at least one method")
    if not 1 <= len(recognition.evidence) <= MAX_EVIDENCE:
        raise _bad("EVIDENCE_MISSING", "evidence", "nothing was assessed", f"give 1 to {MAX_EVIDENCE} digests")
    for number, digest in enumerate(recognition.evidence):
        field = f"recognition.evidence[{number}]"
        if len(from_b64url(digest, field=field)) != _DIGEST_BYTES:
            raise _bad("BAD_DIGEST", f"evidence[{number}]", "not 32 bytes", "give the SHA-256 of what was assessed")
    unknown = [number for number in recognition.outcomes if not 0 <= number < len(against.outcomes)]
    if unknown:
        raise _bad("UNKNOWN_OUTCOME", "outcomes", "the achievement has no such outcome", "count its outcomes from 0")
    if recognition.outcomes and recognition.purpose is Purpose.QUALIFICATION:
        raise _bad(
            "PARTS_CONTRADICT",
            "outcomes",
            "a qualification is recognised whole",
            "leave the outcomes out, or recognise for exemption",
        )
    if recognition.decided_on > today:
        raise _bad("DATES_CONTRADICT", "decided_on", "it would be decided later than today", "correct the date")
    if not responsible(body, against, frameworks, recognition.decided_on):
        raise PermissionDenied(
            "NOT_RESPONSIBLE",
            f"{body.kind} does not answer for {against.kind}",
            field="recognition.body",
            rule="whoever may award an achievement recognises prior learning against it, or who published it",
            remedy="let the body decide that is responsible at this level",
        )


def responsible(
    body: facts_pb2.Provider, against: credential_pb2.Achievement, frameworks: Frameworks, day: date
) -> bool:
    """Whether a body answered for an achievement on a day: its own, or one that its kind of body may award.

    A rule covers the achievement with its level, unit and size, not by its kind alone: a county awards diplomas, and
    none of a university's. Only rules count that this installation applies, and that were in force.
    """
    if body.id == against.provider:
        return True
    framework = frameworks.country(body.country)
    return framework is not None and any(
        body.kind in rule.providers
        and against.kind in rule.credentials
        and rule.standing in frameworks.standings
        and (rule.valid_from is None or rule.valid_from <= day)
        and (rule.valid_until is None or day < rule.valid_until)
        and not any(finding.reason for finding in rule.examine(offer_of(against)))
        for rule in framework.rules
    )


def recognised(
    recognition: Recognition,
    against: credential_pb2.Achievement,
    reference: str,
    *,
    standing: Standing = Standing.VALID,
    expires_on: date | None = None,
) -> Held:
    """What somebody holds by an act of recognition that was checked: the achievement that it cites, whole.

    Args:
        recognition: the act.
        against: the achievement that it cites.
        reference: what the credential is called that was recognised, or that was issued for it.
        standing: of that credential.
        expires_on: of that credential.

    Raises:
        FailedPrecondition: ``ADMISSION_ONLY``, ``PARTS_ONLY``.
    """
    if recognition.purpose is Purpose.ADMISSION:
        raise FailedPrecondition(
            "ADMISSION_ONLY",
            "it was recognised for admission",
            field="recognition.purpose",
            rule="recognition for admission lets in, and counts for no part",
            remedy="have it recognised for exemption or a qualification",
        )
    if recognition.outcomes and recognition.outcomes != frozenset(range(len(against.outcomes))):
        raise FailedPrecondition(
            "PARTS_ONLY",
            "only some of the achievement's outcomes were recognised",
            field="recognition.outcomes",
            rule="an achievement counts whole or not at all",
            remedy="have the other outcomes assessed, or the parts as achievements of their own",
        )
    one = held(against, reference, recognition.decided_on, standing=standing, expires_on=expires_on)
    return recognised_by(one, recognition.body)


def recognised_by(one: Held, body: str) -> Held:
    """What is held of an achievement since a body recognised something else as it."""
    return replace(one, provider=body, by_recognition=True)


def _bad(reason: str, member: str, problem: str, remedy: str) -> InvalidArgument:
    return InvalidArgument(
        reason,
        problem,
        field=f"recognition.{member}",
        rule="an act of recognition says who assessed what, how, against what, and when",
        remedy=remedy,
    )
