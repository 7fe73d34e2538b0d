"""What credentials add up to, answered from the published qualifications. Nothing of a question is kept."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime
from typing import Final

from services.registry.qualifications import rule_of
from vitne.accreditation import Projection, instant
from vitne.accreditation.facts import milliseconds
from vitne.errors import InvalidArgument, NotFound
from vitne.frameworks import Frameworks, Purpose
from vitne.stacking import Answer, Held, Outcome, Rule, Stacking, Standing, Terms, named, recognised_by, responsible
from vitne.stacking import held as held_for
from vitne_api.credential.v1 import credential_pb2
from vitne_api.registry.v1 import qualification_pb2, stacking_pb2

_log = logging.getLogger(__name__)

_STANDINGS: Final = {
    credential_pb2.STATUS_VALID: Standing.VALID,
    credential_pb2.STATUS_SUSPENDED: Standing.SUSPENDED,
    credential_pb2.STATUS_REVOKED: Standing.REVOKED,
}
_OUTCOMES: Final = {
    Outcome.COMPLETE: stacking_pb2.STACKING_OUTCOME_COMPLETE,
    Outcome.INCOMPLETE: stacking_pb2.STACKING_OUTCOME_INCOMPLETE,
    Outcome.UNDETERMINED: stacking_pb2.STACKING_OUTCOME_UNDETERMINED,
}


class StackingDesk:
    """Answers from what the projection holds.

    Args:
        projection: what is known; it may grow.
        frameworks: the national rules.
    """

    def __init__(self, projection: Projection, frameworks: Frameworks) -> None:
        self._projection = projection
        self._frameworks = frameworks
        self._stacking = Stacking((), Terms.of(frameworks))
        #: Registry revision of the newest qualification that was taken in.
        self._taken_in = 0
        #: The newest version of a qualification that can't be read, and those that followed it and can.
        self._unread: dict[str, int] = {}
        self._followed: dict[str, list[Rule]] = {}

    def evaluate(
        self, request: stacking_pb2.EvaluateStackingRequest, now: datetime
    ) -> stacking_pb2.EvaluateStackingResponse:
        """Answer a question that keeps the rules of its contract.

        Raises:
            InvalidArgument: ``UNKNOWN_ACHIEVEMENT``, ``UNKNOWN_PROVIDER``, ``NOT_RESPONSIBLE``, ``DATES_CONTRADICT``,
                ``REFERENCE_REPEATED``.
            NotFound: ``QUALIFICATION_UNKNOWN``.
        """
        self._take_in()
        for number, one in enumerate(request.qualification_ids):
            if self._projection.newest_qualification(one) is None:
                raise NotFound(
                    "QUALIFICATION_UNKNOWN",
                    "no such qualification was published",
                    field=f"qualification_ids[{number}]",
                    rule="what is asked about is in the catalogue",
                    remedy="take the ids from ListQualifications",
                )
        at = instant(request.at) if request.HasField("at") else now
        found = self._stacking.evaluate(list(self._held(request)), at, list(request.qualification_ids) or None)
        # What an unread version changes is not known: an answer by the one before it could be wrong.
        hidden = self._hidden(milliseconds(at))
        answers = [one for one in found.answers if one.rule.id not in hidden]
        response = stacking_pb2.EvaluateStackingResponse(
            answers=[_answer(one) for one in answers],
            not_asked_for=found.not_asked_for,
            registry_revision=self._projection.revision,
            not_read=sorted(hidden.intersection(request.qualification_ids or hidden)),
        )
        if request.describe:
            rules = [one.rule for one in answers]
            response.qualifications.extend(self._qualifications(rules))
            response.achievements.extend(self._achievements(rules))
        return response

    def _qualifications(self, rules: Iterable[Rule]) -> Iterator[qualification_pb2.Qualification]:
        for rule in rules:
            said = self._projection.qualification(rule.id, rule.version)
            if said is not None:
                yield said

    def _achievements(self, rules: Sequence[Rule]) -> Iterator[stacking_pb2.NamedAchievement]:
        """What rules ask for and award; what is both, as it is awarded."""
        shown = {one: self._projection.newest_achievement(one) for rule in rules for one in named(rule.root)}
        shown |= {rule.awards[0]: self._projection.achievement(*rule.awards) for rule in rules}
        for _, one in sorted(shown.items()):
            if one is not None:
                yield stacking_pb2.NamedAchievement(
                    id=one.id,
                    version=one.version,
                    provider=one.provider,
                    kind=one.kind,
                    title=one.title,
                    level=one.level if one.HasField("level") else None,
                )

    def _take_in(self) -> None:
        for fact in self._projection.qualification_facts(self._taken_in):
            said = fact.qualification
            # One that an older release took in and this one can't read must not silence all others.
            try:
                rule = rule_of(self._projection, said)
                self._stacking.add(rule)
            except Exception as error:  # noqa: BLE001 - whatever is wrong with it, it is one of a thousand
                _log.error("qualification %s, version %d, can't be read: %s", said.id, said.version, error)
                self._unread[said.id] = max(said.version, self._unread.get(said.id, 0))
            else:
                if said.id in self._unread:
                    self._followed.setdefault(said.id, []).append(rule)
            self._taken_in = fact.registry_revision

    def _hidden(self, moment: int) -> set[str]:
        """Qualifications of which a version can't be read that no later one, which can, replaces at an instant."""
        return {
            one
            for one, version in self._unread.items()
            if not any(
                rule.version > version and rule.valid_from <= moment < rule.valid_until
                for rule in self._followed.get(one, ())
            )
        }

    def _held(self, request: stacking_pb2.EvaluateStackingRequest) -> Iterator[Held]:
        for number, one in enumerate(request.credentials):
            field = f"credentials[{number}]"
            achievement = self._achievement(one.achievement, f"{field}.achievement")
            awarded_on = date.fromisoformat(one.awarded_on)
            expires_on = date.fromisoformat(one.expires_on) if one.expires_on else None
            if expires_on is not None and expires_on <= awarded_on:
                raise _wrong_order(f"{field}.expires_on", "it would have expired before it was awarded")
            standing = _STANDINGS[one.status]
            if not one.HasField("recognised_as"):
                yield held_for(achievement, one.reference, awarded_on, standing=standing, expires_on=expires_on)
                continue
            decided_on = date.fromisoformat(one.recognised_as.decided_on)
            if decided_on < awarded_on:
                raise _wrong_order(
                    f"{field}.recognised_as.decided_on", "it would have been recognised before it was awarded"
                )
            against = self._recognised_as(one.recognised_as, f"{field}.recognised_as")
            counts_as = held_for(against, one.reference, decided_on, standing=standing, expires_on=expires_on)
            yield recognised_by(counts_as, one.recognised_as.body)

    def _recognised_as(self, said: stacking_pb2.RecognisedAs, field: str) -> credential_pb2.Achievement:
        """What it was recognised as, by a body that answers for it. Evidence and assessor stay where they are."""
        against = self._achievement(said.achievement, f"{field}.achievement")
        body = self._projection.provider(said.body)
        if body is None:
            raise InvalidArgument(
                "UNKNOWN_PROVIDER",
                f"{said.body} is not a provider that the registry knows",
                field=f"{field}.body",
                rule="who recognises is entered in the registry",
                remedy="name the body that decided",
            )
        rules = responsible(body, against, self._frameworks, date.fromisoformat(said.decided_on))
        if not any(rule.purposes - {Purpose.ADMISSION} for rule in rules):
            raise InvalidArgument(
                "NOT_RESPONSIBLE",
                f"{body.kind} does not answer for {against.kind}",
                field=f"{field}.body",
                rule="the national rules say who recognises prior learning against which achievements",
                remedy="have it recognised by the body that is responsible at this level",
            )
        return against

    def _achievement(self, cited: qualification_pb2.AchievementVersion, field: str) -> credential_pb2.Achievement:
        found = self._projection.achievement(cited.id, cited.version)
        if found is None:
            raise InvalidArgument(
                "UNKNOWN_ACHIEVEMENT",
                f"no version {cited.version} of achievement {cited.id} was published",
                field=field,
                rule="what is counted is in the catalogue",
                remedy="correct the id or the version, or leave the credential out",
            )
        return found


def _answer(answer: Answer) -> stacking_pb2.StackingAnswer:
    rule = answer.rule
    return stacking_pb2.StackingAnswer(
        qualification_id=rule.id,
        version=rule.version,
        awards=qualification_pb2.AchievementVersion(id=rule.awards[0], version=rule.awards[1]),
        rule_digest=rule.digest,
        outcome=_OUTCOMES[answer.outcome],
        percent=answer.percent,
        counted=[
            stacking_pb2.CountedCredential(
                reference=one.reference,
                requirement=one.requirement,
                by_recognition=one.by_recognition,
                points="" if one.points is None else f"{one.points:f}",
            )
            for one in answer.counted
        ],
        uncounted=[
            stacking_pb2.UncountedCredential(reference=one.reference, reason=one.why, requirement=one.requirement)
            for one in answer.uncounted
        ],
        missing=[
            stacking_pb2.MissingRequirement(
                requirement=one.requirement,
                have=f"{one.have:f}",
                need=f"{one.need:f}",
                unit=one.unit,
                any_of=one.any_of,
            )
            for one in answer.missing
        ],
    )


def _wrong_order(field: str, problem: str) -> InvalidArgument:
    return InvalidArgument(
        "DATES_CONTRADICT",
        problem,
        field=field,
        rule="first awarded, then recognised; it expires later than it is awarded",
        remedy="correct the dates",
    )
