"""Was provider P allowed to issue achievement A at *t*, as known at *u*? One pure function, with its reasons.

*t* is an instant, *u* a registry revision. Of an accreditation's revisions that are
known at *u*, the highest whose ``effective_from`` is not after *t* says what held at
*t* (proto/vitne/registry/v1/facts.proto, message Accreditation). What it allows is
the intersection of its scope with the national rules.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Final, NamedTuple

from vitne.accreditation.facts import FOREVER, milliseconds, stamp_milliseconds
from vitne.accreditation.projection import Coverage, Held, HeldRevision, Projection
from vitne.canonical import instant_text
from vitne.clock import to_milliseconds
from vitne.errors import FailedPrecondition, InvalidArgument
from vitne.frameworks import Aspect, Bound, Finding, Framework, Frameworks, Offer, Prohibition, Reason, Rule, Standing
from vitne.identifiers import OrganisationId
from vitne_api.credential.v1 import credential_pb2
from vitne_api.registry.v1 import facts_pb2

_PASSED: Final = credential_pb2.Check.OUTCOME_PASSED
_FAILED: Final = credential_pb2.Check.OUTCOME_FAILED
_NOTE: Final = credential_pb2.Check.OUTCOME_NOTE
_SKIPPED: Final = credential_pb2.Check.OUTCOME_SKIPPED
_GRANTED: Final = facts_pb2.ACCREDITATION_STATE_GRANTED
_STATES: Final = {
    facts_pb2.ACCREDITATION_STATE_SUSPENDED: Reason.ACCREDITATION_SUSPENDED,
    facts_pb2.ACCREDITATION_STATE_WITHDRAWN: Reason.ACCREDITATION_WITHDRAWN,
    facts_pb2.ACCREDITATION_STATE_LAPSED: Reason.ACCREDITATION_EXPIRED,
}

#: What to do about a refusal where the rule itself says nothing.
_REMEDIES: Final = {
    Reason.NO_PROVIDER: "have the provider entered by an authority that is responsible for its kind",
    Reason.PROVIDER_NOT_YET_ENTERED: "issue from when the provider was entered on, not before",
    Reason.PROVIDER_CLOSED: "issue from the provider that took over",
    Reason.NO_ACHIEVEMENT: "publish the achievement first, and name a version that exists",
    Reason.ACHIEVEMENT_NOT_YET_PUBLISHED: "issue from when the version was published on, not before",
    Reason.FOREIGN_ACHIEVEMENT: "issue an achievement of the provider's own",
    Reason.NO_FRAMEWORK: "add the country's rules",
    Reason.ACCREDITATION_SUSPENDED: "wait until the authority ends the suspension",
    Reason.ACCREDITATION_WITHDRAWN: "apply to the authority for a new accreditation",
    Reason.ACCREDITATION_NOT_YET_VALID: "wait until the accreditation becomes valid",
    Reason.ACCREDITATION_EXPIRED: "apply to the authority for a renewal",
    Reason.KIND_NOT_ALLOWED: "issue a kind of credential that the national rules let this kind of provider issue",
    Reason.KIND_NOT_COVERED: "ask the authority to amend the accreditation's kinds of credential",
    Reason.STANDING_NOT_APPLIED: "the rule is not applied here, since it is not law: ask the operator",
    Reason.RULE_NOT_IN_FORCE: "issue within the time in which the rule is in force",
    Reason.LEVEL_NOT_ALLOWED: "state a level that the rule allows, or none where it allows none",
    Reason.LEVEL_NOT_COVERED: "ask the authority to amend the accreditation's levels",
    Reason.LEVEL_REQUIRED: "state the level",
    Reason.UNIT_NOT_ALLOWED: "state the workload in a unit that the rule allows",
    Reason.UNIT_NOT_COVERED: "ask the authority to amend the accreditation's credit unit",
    Reason.CREDITS_REQUIRED: "state the workload in credits",
    Reason.SIZE_BELOW_MINIMUM: "combine it with other learning into something larger",
    Reason.SIZE_ABOVE_MAXIMUM: "split it, or ask the authority to amend the accreditation's largest size",
    Reason.EDUCATION_NOT_COVERED: "name in part_of an education that the accreditation covers",
    Reason.FIELD_NOT_COVERED: "offer it in a field that the accreditation covers",
}
#: How far the clock of who issues may lag behind the registry's: what is issued right after it was published
#: must not seem to come before it. In milliseconds; as far as a reader of the trust list lets clocks differ.
CLOCK_LAG: Final = 60_000

_STANDING_ORDER: Final = {standing: number for number, standing in enumerate(Standing)}


class Check(NamedTuple):
    """One step of an explanation."""

    #: Stable name: ``provider``, ``achievement``, ``accreditation``, ``kind``, ``level``, ``unit``, ``size``…
    name: str
    outcome: credential_pb2.Check.Outcome.ValueType
    #: One sentence.
    detail: str
    #: What it rests on: an accreditation and its revision, a rule, an organisation.
    evidence: str

    def to_proto(self) -> credential_pb2.Check:
        """The same as a message."""
        return credential_pb2.Check(name=self.name, outcome=self.outcome, detail=self.detail, evidence=self.evidence)


class DecisionOutcome(NamedTuple):
    """An answer, and everything that it rests on."""

    allowed: bool
    #: None when allowed.
    reason: Reason | None
    #: One sentence for a person.
    message: str
    #: The rule that the answer rests on; empty where no country's rules apply.
    rule: str
    #: That rule's source and passage.
    basis: str
    standing: Standing | None
    #: What would have to change; empty when allowed.
    remedy: str
    checks: tuple[Check, ...]
    #: The accreditation that allows, or comes nearest; empty without any.
    accreditation_id: str
    #: Its revision that held at ``at``; zero when none did.
    accreditation_revision: int
    #: The authority that gave it.
    authority: str
    provider: str
    #: Empty when an offer was judged without a catalogue.
    achievement_id: str
    achievement_version: int
    country: str
    framework_version: str
    #: *t*, whole milliseconds.
    at: datetime
    #: *u*.
    known_at: int

    def to_error(self, field: str = "") -> FailedPrecondition:
        """The refusal as an error.

        Raises:
            ValueError: when there is nothing to refuse.
        """
        if self.reason is None:
            raise ValueError("what is allowed is no error")
        metadata = {"provider": self.provider, "standing": self.standing or ""}
        if self.accreditation_id:
            metadata["accreditation"] = self.accreditation_id
        return FailedPrecondition(
            self.reason.value,
            self.message,
            field=field,
            rule=self.rule,
            remedy=self.remedy,
            metadata={key: value for key, value in metadata.items() if value},
        )


class _Remembered(NamedTuple):
    """An answer and where it stays the same: t in [from_t, to_t), u in [from_u, to_u)."""

    outcome: DecisionOutcome
    from_t: int
    to_t: int
    from_u: int
    to_u: int


def decide(  # noqa: PLR0917 - a question has six parts, in the order in which one asks it
    projection: Projection,
    frameworks: Frameworks,
    provider: str,
    achievement_id: str,
    version: int,
    at: datetime,
    known_at: int | None = None,
    *,
    under: str = "",
) -> DecisionOutcome:
    """Whether ``provider`` may (might) issue a version of an achievement at ``at``, as known at ``known_at``.

    The same arguments have the same answer for ever, whatever becomes known later.
    Answers are remembered in the projection until the provider's facts change.

    Args:
        projection: what is known.
        frameworks: the national rules, and which standings are applied.
        provider: organisation id.
        achievement_id: UUID of the achievement.
        version: its version, from 1.
        at: *t*; an aware datetime, cut to whole milliseconds.
        known_at: *u*; None: the newest revision that is known without a gap.
        under: id of the one accreditation that counts; empty: whichever the provider holds.

    Raises:
        FailedPrecondition: ``REVISION_NOT_KNOWN`` when ``known_at`` is beyond what the projection holds.
    """
    at = to_milliseconds(at)
    t, u = milliseconds(at), _known_at(projection, known_at)
    key = (achievement_id, version, frameworks, under)
    remembered: _Remembered | None = projection.recall(provider, key)
    if remembered is not None and remembered.from_t <= t < remembered.to_t and remembered.from_u <= u < remembered.to_u:
        return remembered.outcome._replace(at=at, known_at=u)
    question = _Question(
        projection, frameworks, provider, at=at, known_at=u, achievement_id=achievement_id, version=version, under=under
    )
    fact = projection.achievement_fact(achievement_id, version, u)
    if fact is None:
        return question.refuse_outright(
            Reason.NO_ACHIEVEMENT, f"no version {version} of achievement {achievement_id} was published", "achievement"
        )
    achievement = fact.achievement
    if achievement.provider != provider:
        return question.refuse_outright(
            Reason.FOREIGN_ACHIEVEMENT, f"the achievement is {achievement.provider}'s", "achievement"
        )
    if t < (published_at := stamp_milliseconds(fact.recorded_at)) - CLOCK_LAG:
        return question.refuse_outright(
            Reason.ACHIEVEMENT_NOT_YET_PUBLISHED,
            f"version {version} of the achievement was published at {_text(published_at)}",
            "achievement",
        )
    published = Check("achievement", _PASSED, f"version {version} was published by the provider", achievement_id)
    outcome = question.answer(offer_of(achievement), (published,))
    projection.remember(provider, key, question.span_of(outcome))
    return outcome


def judge(  # noqa: PLR0917 - as decide
    projection: Projection,
    frameworks: Frameworks,
    provider: str,
    offer: Offer,
    at: datetime,
    known_at: int | None = None,
    *,
    under: str = "",
) -> DecisionOutcome:
    """As :func:`decide`, for an offer that is not looked up in the catalogue.

    For whoever knows authorities, providers and accreditations, but only the credential
    itself of what was offered.

    Raises:
        FailedPrecondition: ``REVISION_NOT_KNOWN``.
    """
    at = to_milliseconds(at)
    u = _known_at(projection, known_at)
    question = _Question(projection, frameworks, provider, at=at, known_at=u, under=under)
    return question.answer(offer, ())


def offer_of(achievement: credential_pb2.Achievement) -> Offer:
    """What is judged of an achievement."""
    workload = achievement.workload
    level = (achievement.level.framework, achievement.level.level) if achievement.HasField("level") else None
    return Offer(
        kind=achievement.kind,
        level=level,
        unit=workload.unit,
        points=Decimal(workload.points) if workload.points else None,
        field=achievement.field,
        part_of=achievement.part_of,
    )


class _Attempt(NamedTuple):
    """How far one accreditation carries an offer under one rule."""

    held: Held
    revision: HeldRevision | None
    #: What the answer rests on; None: on the rule that an accreditation is needed.
    rule: Rule | Prohibition | None
    checks: tuple[Check, ...]
    #: The first reason against it; None: it allows.
    reason: Reason | None
    detail: str
    failures: int

    def distance(self) -> tuple[int, int, str]:
        """Smaller is nearer to being allowed; equal ones go by the rule's standing, then by id."""
        standing = _STANDING_ORDER[self.rule.standing] if self.rule else len(_STANDING_ORDER)
        return self.failures, standing, self.held.id


class _Question:
    """One question to the facts, on its way to an answer."""

    def __init__(
        self,
        projection: Projection,
        frameworks: Frameworks,
        provider: str,
        *,
        at: datetime,
        known_at: int,
        achievement_id: str = "",
        version: int = 0,
        under: str = "",
    ) -> None:
        self._projection = projection
        self._frameworks = frameworks
        self._provider = provider
        self._at = at
        self._t = milliseconds(at)
        self._u = known_at
        self._achievement_id = achievement_id
        self._version = version
        self._under = under
        self._framework = frameworks.country(_country(provider))

    def answer(self, offer: Offer, before: tuple[Check, ...]) -> DecisionOutcome:
        entry = self._projection.provider(self._provider, self._u)
        if entry is None:
            return self.refuse_outright(
                Reason.NO_PROVIDER, f"{self._provider} is not a provider that the registry knows", "provider"
            )
        entered_at = self._projection.provider_entered_at(self._provider)
        if entered_at is not None and self._t < entered_at - CLOCK_LAG:
            return self.refuse_outright(
                Reason.PROVIDER_NOT_YET_ENTERED, f"{self._provider} was entered at {_text(entered_at)}", "provider"
            )
        if entry.HasField("closed_at") and self._t >= stamp_milliseconds(entry.closed_at):
            after = f"; {entry.succeeded_by} took over" if entry.succeeded_by else ""
            return self.refuse_outright(Reason.PROVIDER_CLOSED, f"{self._provider} had closed{after}", "provider")
        self._framework = framework = self._frameworks.country(entry.country)
        if framework is None:
            return self.refuse_outright(Reason.NO_FRAMEWORK, f"there are no rules for {entry.country}", "provider")
        before = (Check("provider", _PASSED, f"known as {entry.kind}, and open", self._provider), *before)
        held = self._projection.accreditations_of(self._provider, self._u)
        if self._under:
            held = [one for one in held if one.id == self._under]
        if not held:
            return self.refuse_outright(
                Reason.NO_ACCREDITATION, f"nobody has accredited {self._provider}", "accreditation", before
            )
        attempts = [attempt for one in held for attempt in self._attempts(framework, one, entry.kind, offer)]
        best = min(attempts, key=_Attempt.distance)
        return self._outcome(framework, best, (*before, *best.checks))

    def refuse_outright(
        self, reason: Reason, detail: str, name: str, before: tuple[Check, ...] = ()
    ) -> DecisionOutcome:
        """A refusal that no accreditation has a part in: it rests on the rule that one is needed."""
        principle = self._framework.accreditation_required if self._framework else None
        remedy = principle.remedy if principle and reason is Reason.NO_ACCREDITATION else _REMEDIES[reason]
        return DecisionOutcome(
            allowed=False,
            reason=reason,
            message=detail,
            rule=principle.id if principle else "",
            basis=str(principle.basis) if principle else "",
            standing=principle.standing if principle else None,
            remedy=remedy,
            checks=(*before, Check(name, _FAILED, detail, self._provider)),
            accreditation_id="",
            accreditation_revision=0,
            authority="",
            provider=self._provider,
            achievement_id=self._achievement_id,
            achievement_version=self._version,
            country=self._framework.country if self._framework else "",
            framework_version=self._framework.version if self._framework else "",
            at=self._at,
            known_at=self._u,
        )

    def span_of(self, outcome: DecisionOutcome) -> _Remembered:
        """The answer with the span in which nothing that it depends on changes."""
        moments: list[int] = []
        revisions: list[int] = []
        published = self._projection.achievement_fact(self._achievement_id, self._version)
        if published is not None:
            revisions.append(published.registry_revision)
            moments.append(stamp_milliseconds(published.recorded_at) - CLOCK_LAG)
        entered_at = self._projection.provider_entered_at(self._provider)
        if entered_at is not None:
            moments.append(entered_at - CLOCK_LAG)
        for fact in self._projection.everything_about(self._provider):
            revisions.append(fact.registry_revision)
            if fact.HasField("accreditation"):
                held = HeldRevision.of(fact)
                moments += (held.effective_from, held.valid_from, held.valid_until)
            elif fact.provider.HasField("closed_at"):
                moments.append(stamp_milliseconds(fact.provider.closed_at))
        if self._framework is not None:
            for rule in self._framework.rules:
                moments += (_opens(rule), _closes(rule))
        from_u = max((number for number in revisions if number <= self._u), default=0)
        to_u = min((number for number in revisions if number > self._u), default=FOREVER)
        from_t = max((moment for moment in moments if moment <= self._t), default=-FOREVER)
        to_t = min((moment for moment in moments if moment > self._t), default=FOREVER)
        return _Remembered(outcome, from_t, to_t, from_u, to_u)

    def _attempts(self, framework: Framework, held: Held, provider_kind: str, offer: Offer) -> Iterator[_Attempt]:
        revision = held.at(self._t)
        reason, detail = self._standing_of(held, revision)
        # What is not valid yet is still explained by the scope that it is to have.
        scope = (revision or held.revisions[0]).scope
        evidence = f"{held.id} revision {(revision or held.revisions[0]).revision}"
        status = Check("accreditation", _FAILED if reason else _PASSED, detail, evidence)
        rules = framework.rules_for(held.kind, provider_kind, offer.kind)
        usable, why_not = self._usable(rules, held.kind, provider_kind, offer.kind)
        if offer.kind not in scope.credential_kinds:
            why_not = Finding(Aspect.KIND, Reason.KIND_NOT_COVERED, f"the accreditation does not cover {offer.kind}")
            usable = ()
        # Where nobody may issue the kind, that explains more than that this accreditation leaves it out.
        prohibition = framework.prohibition_of(offer.kind)
        if prohibition is not None:
            why_not = Finding(Aspect.KIND, Reason.KIND_NOT_ALLOWED, prohibition.says)
        if why_not is not None:
            decided_by = prohibition or next(iter(rules), None)
            kind = Check(Aspect.KIND, _FAILED, why_not.detail, decided_by.id if decided_by else evidence)
            skipped = tuple(
                Check(aspect, _SKIPPED, "the kind of credential decided", "")
                for aspect in Aspect
                if aspect is not Aspect.KIND
            )
            # Counted as if all that was skipped had failed, so that whatever covers the kind is nearer.
            failures = (1 if reason else 0) + len(Aspect)
            first = reason or why_not.reason
            said = detail if reason else why_not.detail
            yield _Attempt(held, revision, decided_by, (status, kind, *skipped), first, said, failures)
        for rule in usable:
            bounds = framework.accreditation_kinds[held.kind].bounded_by
            findings = [*rule.examine(offer), *_within(scope, offer, bounds)]
            failed = [finding for finding in findings if finding.reason is not None]
            allows = Check(Aspect.KIND, _PASSED, rule.says, rule.id)
            if rule.standing is not Standing.IN_FORCE:
                allows = Check(Aspect.KIND, _NOTE, f"{rule.says} (standing: {rule.standing})", rule.id)
            checks = (status, allows, *_checks(findings, rule.id, evidence))
            first, said = (reason, detail) if reason else (None, "")
            if first is None and failed:
                first, said = failed[0].reason, failed[0].detail
            yield _Attempt(held, revision, rule, checks, first, said, len(failed) + (1 if reason else 0))

    def _standing_of(self, held: Held, revision: HeldRevision | None) -> tuple[Reason | None, str]:
        """Whether an accreditation was in force at t."""
        if revision is None:
            return Reason.ACCREDITATION_NOT_YET_VALID, "the accreditation had not taken effect"
        if revision.state != _GRANTED:
            # A state that is not known never counts as granted.
            reason = _STATES.get(revision.state, Reason.ACCREDITATION_WITHDRAWN)
            lapsed = revision.state == facts_pb2.ACCREDITATION_STATE_LAPSED
            word = "lapsed" if lapsed else reason.value.removeprefix("ACCREDITATION_").lower()
            return reason, f"the accreditation was {word} from {_text(revision.effective_from)}"
        if self._t < revision.valid_from:
            return Reason.ACCREDITATION_NOT_YET_VALID, f"the accreditation is valid from {_text(revision.valid_from)}"
        if self._t >= revision.valid_until:
            return Reason.ACCREDITATION_EXPIRED, f"the accreditation was valid until {_text(revision.valid_until)}"
        return None, f"{held.kind}, granted by {held.authority}, in force since {_text(revision.valid_from)}"

    def _usable(
        self, rules: Sequence[Rule], accreditation_kind: str, provider_kind: str, credential_kind: str
    ) -> tuple[tuple[Rule, ...], Finding | None]:
        """The rules that are applied here and in force at t, or why there is none."""
        if not rules:
            detail = f"no rule lets {provider_kind} issue {credential_kind} under {accreditation_kind}"
            return (), Finding(Aspect.KIND, Reason.KIND_NOT_ALLOWED, detail)
        applied = tuple(rule for rule in rules if rule.standing in self._frameworks.standings)
        if not applied:
            detail = f"the rule {rules[0].id} is {rules[0].standing}, which is not applied here"
            return (), Finding(Aspect.KIND, Reason.STANDING_NOT_APPLIED, detail)
        usable = tuple(rule for rule in applied if _opens(rule) <= self._t < _closes(rule))
        if not usable:
            detail = f"the rule {applied[0].id} was not in force then"
            return (), Finding(Aspect.KIND, Reason.RULE_NOT_IN_FORCE, detail)
        return usable, None

    def _outcome(self, framework: Framework, attempt: _Attempt, checks: tuple[Check, ...]) -> DecisionOutcome:
        basis = attempt.rule or framework.accreditation_required
        remedy = "" if attempt.reason is None else _remedy(attempt.rule, attempt.reason)
        return DecisionOutcome(
            allowed=attempt.reason is None,
            reason=attempt.reason,
            message=attempt.detail or f"allowed by {basis.id}",
            rule=basis.id,
            basis=str(basis.basis),
            standing=basis.standing,
            remedy=remedy,
            checks=checks,
            accreditation_id=attempt.held.id,
            accreditation_revision=attempt.revision.revision if attempt.revision else 0,
            authority=attempt.held.authority,
            provider=self._provider,
            achievement_id=self._achievement_id,
            achievement_version=self._version,
            country=framework.country,
            framework_version=framework.version,
            at=self._at,
            known_at=self._u,
        )


def _remedy(rule: Rule | Prohibition | None, reason: Reason) -> str:
    """What to do about a refusal: what the rule advises, else what helps in general."""
    if isinstance(rule, Prohibition) and reason is Reason.KIND_NOT_ALLOWED:
        return rule.remedy
    return (rule.remedy_for(reason) if isinstance(rule, Rule) else "") or _REMEDIES[reason]


def _within(scope: Coverage, offer: Offer, bounds: frozenset[Bound]) -> Iterator[Finding]:
    """Hold an offer against an accreditation's own scope."""
    if offer.level is not None and offer.level not in scope.levels:
        level = f"level {offer.level[1]} of {offer.level[0]}"
        yield Finding(Aspect.LEVEL, Reason.LEVEL_NOT_COVERED, f"the accreditation does not cover {level}")
    if offer.unit != scope.unit and offer.unit:
        yield Finding(
            Aspect.UNIT,
            Reason.UNIT_NOT_COVERED,
            f"the accreditation covers {scope.unit or 'no credits'}, not {offer.unit}",
        )
    elif offer.points is not None:
        if scope.min_points is not None and offer.points < scope.min_points:
            yield Finding(
                Aspect.SIZE,
                Reason.SIZE_BELOW_MINIMUM,
                f"{offer.points} {offer.unit} is below the accreditation's {scope.min_points}",
            )
        if scope.max_points is not None and offer.points > scope.max_points:
            yield Finding(
                Aspect.SIZE,
                Reason.SIZE_ABOVE_MAXIMUM,
                f"{offer.points} {offer.unit} is above the accreditation's {scope.max_points}",
            )
    if scope.educations or Bound.EDUCATIONS in bounds:
        if offer.part_of in scope.educations:
            yield Finding(Aspect.EDUCATION, None, f"a part of {offer.part_of}, which the accreditation covers")
        else:
            stated = offer.part_of or "no education"
            yield Finding(
                Aspect.EDUCATION,
                Reason.EDUCATION_NOT_COVERED,
                f"it is a part of {stated}; the accreditation covers {', '.join(sorted(scope.educations)) or 'none'}",
            )
    if scope.fields or Bound.FIELDS in bounds:
        # ISCED-F is a tree: 0913 is within 091, which is within 09.
        if any(offer.field.startswith(field) for field in scope.fields):
            yield Finding(Aspect.FIELD, None, f"field {offer.field} is within the accreditation's")
        else:
            stated = offer.field or "no field"
            yield Finding(
                Aspect.FIELD,
                Reason.FIELD_NOT_COVERED,
                f"its field is {stated}; the accreditation covers {', '.join(scope.fields) or 'none'}",
            )


def _checks(findings: Sequence[Finding], rule: str, accreditation: str) -> Iterator[Check]:
    """One check an aspect: failed where anything speaks against it, else what the rule or the scope said."""
    for aspect in Aspect:
        said = [finding for finding in findings if finding.aspect is aspect]
        if not said:
            continue
        finding = next((one for one in said if one.reason is not None), said[0])
        covered = finding.reason is not None and finding.reason.value.endswith("_NOT_COVERED")
        yield Check(aspect, _FAILED if finding.reason else _PASSED, finding.detail, accreditation if covered else rule)


def _known_at(projection: Projection, known_at: int | None) -> int:
    if known_at is None:
        return projection.revision
    if known_at < 0:
        raise InvalidArgument(
            "BAD_REVISION",
            "a registry revision is not negative",
            field="known_at",
            rule="registry revisions count from 1",
            remedy="leave it out for the newest",
        )
    if known_at > projection.revision:
        raise FailedPrecondition(
            "REVISION_NOT_KNOWN",
            f"the newest registry revision known here is {projection.revision}",
            field="known_at",
            rule="an answer as known at u needs every fact up to u",
            remedy="ask for a revision that is known, or again later",
        )
    return known_at


def _country(provider: str) -> str:
    """The country of a provider's register, for want of its entry; empty when it is no organisation."""
    try:
        return OrganisationId.parse(provider).country
    except InvalidArgument:
        return ""


def _opens(rule: Rule) -> int:
    return -FOREVER if rule.valid_from is None else _midnight(rule.valid_from)


def _closes(rule: Rule) -> int:
    return FOREVER if rule.valid_until is None else _midnight(rule.valid_until)


def _midnight(day: date) -> int:
    return milliseconds(datetime.combine(day, time(), UTC))


def _text(moment: int) -> str:
    return instant_text(datetime.fromtimestamp(moment / 1000, UTC))
