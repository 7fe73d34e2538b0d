"""Recognition of prior learning: who may recognise what, and what it makes of what somebody holds.

Whoever is responsible at a level assesses what somebody can already do against an achievement, or parts of it. Who
that is, for which purposes, and which credential documents the outcome, the national rules say
(:class:`~vitne.frameworks.RecognitionRule`). The act is a part of that credential
(``vitne.credential.v1.Recognition``): its issuer decided, on the day that it was awarded.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Final

from vitne.accreditation import offer_of
from vitne.errors import FailedPrecondition, InvalidArgument
from vitne.frameworks import Frameworks, Purpose, RecognitionRule
from vitne.stacking.held import Held
from vitne_api.credential.v1 import credential_pb2
from vitne_api.registry.v1 import facts_pb2

_PURPOSES: Final = {
    credential_pb2.RECOGNITION_PURPOSE_ADMISSION: Purpose.ADMISSION,
    credential_pb2.RECOGNITION_PURPOSE_EXEMPTION: Purpose.EXEMPTION,
    credential_pb2.RECOGNITION_PURPOSE_QUALIFICATION: Purpose.QUALIFICATION,
}


def by_recognition(achievement: credential_pb2.Achievement) -> bool:
    """Whether credentials for an achievement document recognition of prior learning."""
    return achievement.assessment == credential_pb2.ASSESSMENT_TYPE_PRIOR_LEARNING


def responsible(
    body: facts_pb2.Provider, against: credential_pb2.Achievement, frameworks: Frameworks, day: date
) -> tuple[RecognitionRule, ...]:
    """The rules by which a body answered for an achievement on a day; none: it did not.

    Only rules count that this installation applies, and that were in force.
    """
    framework = frameworks.country(body.country)
    if framework is None:
        return ()
    offer, own = offer_of(against), body.id == against.provider
    return tuple(
        rule
        for rule in framework.recognition_rules
        if rule.standing in frameworks.standings and rule.counts_on(day) and rule.covers(body.kind, offer, own=own)
    )


def check_recognition(
    act: credential_pb2.Recognition,
    documented_by: credential_pb2.Achievement,
    against: credential_pb2.Achievement,
    body: facts_pb2.Provider,
    frameworks: Frameworks,
    *,
    decided_on: date,
) -> RecognitionRule:
    """Refuse an act of recognition that nobody could rely on; else the rule that it rests on.

    Args:
        act: keeps the rules of the contract.
        documented_by: the achievement that the credential is issued for.
        against: the achievement that the act cites.
        body: whoever issues the credential, as the registry knows it.
        frameworks: the national rules.
        decided_on: the day on which the credential was awarded.

    Raises:
        InvalidArgument: ``METHOD_MISSING``, ``UNKNOWN_OUTCOME``, ``OUTCOMES_REPEATED``, ``PARTS_CONTRADICT``.
        FailedPrecondition: ``ASSESSMENT_CONTRADICTS``, ``NOT_RESPONSIBLE``, ``PURPOSE_NOT_ALLOWED``,
            ``KIND_DOES_NOT_DOCUMENT``.
    """
    _check_act(act, against)
    if not by_recognition(documented_by):
        raise FailedPrecondition(
            "ASSESSMENT_CONTRADICTS",
            "the achievement is assessed in another way than by recognition of prior learning",
            field="recognition",
            rule="the outcome of a recognition is a credential whose assessment says so",
            remedy="issue an achievement whose assessment is recognition of prior learning",
        )
    rules = responsible(body, against, frameworks, decided_on)
    if not rules:
        raise _not_responsible(body, against, frameworks)
    return _choose(act, documented_by, rules)


def purpose_of(act: credential_pb2.Recognition) -> Purpose:
    """What an act is for. KeyError for none that the contract defines."""
    return _PURPOSES[act.purpose]


def counts_whole(act: credential_pb2.Recognition) -> bool:
    """Whether what was recognised counts as the achievement itself.

    Admission lets in, and counts for no part; an achievement counts whole or not at all.
    """
    return purpose_of(act) is not Purpose.ADMISSION and not act.outcomes


def recognised_by(one: Held, body: str) -> Held:
    """What is held of an achievement since a body recognised something else as it."""
    return replace(one, provider=body, by_recognition=True)


def _check_act(act: credential_pb2.Recognition, against: credential_pb2.Achievement) -> None:
    if credential_pb2.RECOGNITION_METHOD_UNSPECIFIED in act.methods:
        raise _bad("METHOD_MISSING", "methods", "a method is not stated", "state how it was assessed")
    if any(number >= len(against.outcomes) for number in act.outcomes):
        raise _bad("UNKNOWN_OUTCOME", "outcomes", "the achievement has no such outcome", "count its outcomes from 0")
    if list(act.outcomes) != sorted(set(act.outcomes)):
        raise _bad("OUTCOMES_REPEATED", "outcomes", "outcomes are not ascending", "name each once, in their order")
    if len(act.outcomes) == len(against.outcomes):
        raise _bad("PARTS_CONTRADICT", "outcomes", "all of the outcomes are named", "leave them out: it is the whole")
    if act.outcomes and act.purpose == credential_pb2.RECOGNITION_PURPOSE_QUALIFICATION:
        raise _bad(
            "PARTS_CONTRADICT",
            "outcomes",
            "a qualification is recognised whole",
            "leave the outcomes out, or recognise for exemption",
        )


def _choose(
    act: credential_pb2.Recognition, documented_by: credential_pb2.Achievement, rules: tuple[RecognitionRule, ...]
) -> RecognitionRule:
    purpose = purpose_of(act)
    meant = [rule for rule in rules if purpose in rule.purposes]
    if not meant:
        allowed = sorted({one for rule in rules for one in rule.purposes})
        raise _refused(
            rules[0],
            "PURPOSE_NOT_ALLOWED",
            f"it may not be recognised for {purpose}, but for {', '.join(allowed)}",
            "recognition.purpose",
        )
    for rule in meant:
        if documented_by.kind in rule.documented_by:
            return rule
    kinds = sorted({kind for rule in meant for kind in rule.documented_by})
    raise _refused(
        meant[0],
        "KIND_DOES_NOT_DOCUMENT",
        f"{documented_by.kind} does not document it, but {', '.join(kinds)}",
        "achievement_id",
    )


def _not_responsible(
    body: facts_pb2.Provider, against: credential_pb2.Achievement, frameworks: Frameworks
) -> FailedPrecondition:
    framework = frameworks.country(body.country)
    mine = [rule for rule in framework.recognition_rules if body.kind in rule.bodies] if framework else []
    if not mine:
        # Not that it must not: a university college, or a Swedish university, may well do so in law.
        return FailedPrecondition(
            "NOT_RESPONSIBLE",
            f"there is no rule here by which {body.kind} recognises prior learning, for want of a source that says so",
            field="recognition.achievement_id",
            rule="what no rule with a source covers is refused",
            remedy="have it recognised by a body that the country's rules name, or give the rule with its source",
        )
    nearest = min(mine, key=lambda rule: (against.kind not in rule.against, rule.id))
    return FailedPrecondition(
        "NOT_RESPONSIBLE",
        f"{body.kind} does not answer for {against.kind} at this level and in this unit",
        field="recognition.achievement_id",
        rule=nearest.id,
        remedy=nearest.remedy,
    )


def _refused(rule: RecognitionRule, reason: str, problem: str, field: str) -> FailedPrecondition:
    return FailedPrecondition(
        reason,
        problem,
        field=field,
        rule=rule.id,
        remedy=rule.remedy,
        metadata={"basis": str(rule.basis), "standing": rule.standing.value},
    )


def _bad(reason: str, member: str, problem: str, remedy: str) -> InvalidArgument:
    return InvalidArgument(
        reason,
        problem,
        field=f"recognition.{member}",
        rule="an act of recognition says who assessed what, how, against what, and when",
        remedy=remedy,
    )
