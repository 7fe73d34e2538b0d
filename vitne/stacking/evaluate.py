"""What credentials add up to: the engine.

Pure and deterministic: the same credentials, rules and instant have the same answers. Qualifications are found by
the achievements that they ask for, so that those that are not touched cost nothing.
"""

from __future__ import annotations

import calendar
from bisect import insort
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Final, NamedTuple

from vitne.accreditation.facts import milliseconds
from vitne.errors import InvalidArgument
from vitne.stacking.answer import Answer, Counted, Missing, Outcome, Uncounted, Why
from vitne.stacking.assign import Budget, ByLeaf, Candidate, State, assign, beyond_room, credits_of, satisfied, state_of
from vitne.stacking.held import Held, Standing
from vitne.stacking.plan import Branch, Leaf, Plan, make
from vitne.stacking.rule import Rule
from vitne.stacking.terms import Terms

_NOTHING: Final = Decimal(0)
_ONE: Final = Decimal(1)


@dataclass(frozen=True, slots=True)
class Bounds:
    """Steps that searching may take; a step is a microsecond or less."""

    #: Of each qualification in any case: what others need, none can use up.
    each: int = 500
    #: Of all together beyond that.
    together: int = 200_000
    #: Of one at most.
    most: int = 20_000


#: A tenth of a second where every qualification needs a search, and seldom more than none.
BOUNDS: Final = Bounds()


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What credentials add up to."""

    #: By id of the qualification.
    answers: tuple[Answer, ...]
    #: References of credentials that no qualification that was looked at asks for.
    not_asked_for: tuple[str, ...]


class Stacking:
    """Qualifications, ready to be answered for.

    Args:
        rules: any number of versions of any number of qualifications.
        terms: the national rules.
    """

    def __init__(self, rules: Iterable[Rule], terms: Terms) -> None:
        self._terms = terms
        self._versions: dict[str, list[Plan]] = {}
        self._asking: dict[str, set[str]] = {}
        for rule in rules:
            self.add(rule)

    def add(self, rule: Rule) -> None:
        """Answer for one more version of a qualification."""
        plan = make(rule, self._terms)
        # The newest version first: of those that apply, it is the one that counts.
        insort(self._versions.setdefault(rule.id, []), plan, key=lambda one: -one.rule.version)
        for achievement in plan.by_achievement:
            self._asking.setdefault(achievement, set()).add(rule.id)

    def evaluate(
        self,
        credentials: Sequence[Held],
        at: datetime,
        only: Collection[str] | None = None,
        *,
        bounds: Bounds = BOUNDS,
    ) -> Evaluation:
        """Answer for every qualification that asks for one of the credentials, at the version that applies.

        Args:
            credentials: with references that differ.
            at: decides ages, expiry and which versions apply.
            only: ids of the qualifications to answer for, also where nothing is there for them; None: all.
            bounds: on the work.

        Raises:
            InvalidArgument: ``REFERENCE_REPEATED``.
        """
        seen: set[str] = set()
        for number, one in enumerate(credentials):
            if one.reference in seen:
                raise _repeated(number)
            seen.add(one.reference)
        if only is None:
            ids = {asking for one in credentials for asking in self._asking.get(one.achievement, ())}
        else:
            ids = {one for one in only if one in self._versions}
        moment, day = milliseconds(at), at.date()
        plans = {one: plan for one in sorted(ids) if (plan := self._applying(one, moment)) is not None}
        waiting: dict[str, list[_Looked]] = {one: [] for one in plans}
        asked_for: set[str] = set()
        for one in credentials:
            looked = _Looked(one, _own_reason(one, day), self._terms.is_formal(one.kind), Candidate(one, _NOTHING))
            for asking in self._asking.get(one.achievement, ()):
                # Another version of the qualification may have asked for it.
                if asking in plans and one.achievement in plans[asking].by_achievement:
                    waiting[asking].append(looked)
                    asked_for.add(one.reference)
        answers = []
        together = bounds.together
        for asking, plan in plans.items():
            mine = waiting[asking]
            given = min(bounds.most, bounds.each + together)
            budget = Budget(given)
            answers.append(_Answering(plan, self._terms, day).answer(mine, budget))
            together -= max(0, given - budget.left - bounds.each)
        return Evaluation(tuple(answers), tuple(one.reference for one in credentials if one.reference not in asked_for))

    def _applying(self, qualification: str, moment: int) -> Plan | None:
        """The newest version that applies at an instant, in milliseconds since 1970."""
        for plan in self._versions[qualification]:
            if plan.rule.valid_from <= moment < plan.rule.valid_until:
                return plan
        return None


class _Looked(NamedTuple):
    """A credential, and what is so of it in every qualification."""

    held: Held
    #: What keeps it from counting anywhere.
    why: Why | None
    formal: bool
    #: As what leaves that ask for no credits count.
    candidate: Candidate


class _Answering:
    """One answer in the making."""

    def __init__(self, plan: Plan, terms: Terms, day: date) -> None:
        self._plan = plan
        self._terms = terms
        self._day = day
        self._candidates: ByLeaf = [[] for _ in plan.leaves]
        self._counted: list[Counted] = []
        self._uncounted: list[Uncounted] = []

    def answer(self, credentials: Sequence[_Looked], budget: Budget) -> Answer:
        plan = self._plan
        waiting = [one.held for one in credentials if self._sort_in(one)]
        for leaf in plan.leaves:
            if len(candidates := self._candidates[leaf.index]) > 1:
                candidates.sort(
                    key=_preference if leaf.need is None or leaf.max_recognised_points is not None else _by_size
                )
        outcome, counted = assign(plan, self._candidates, budget)
        self._count(plan.root, counted)
        self._explain(waiting, counted)
        complete = outcome is Outcome.COMPLETE
        missing: list[Missing] = []
        if not complete:
            _miss(plan.root, counted, missing)
        return Answer(
            rule=plan.rule,
            outcome=outcome,
            percent=100 if complete else min(99, int(100 * _progress(plan.root, counted))),
            counted=tuple(self._counted),
            uncounted=tuple(self._uncounted),
            missing=tuple(missing),
        )

    def _sort_in(self, looked: _Looked) -> bool:
        """Put a credential to the leaves that might count it; False where none can, which is explained."""
        one, why, requirement = looked.held, looked.why, ""
        if why is None and self._plan.formal and not looked.formal:
            why = Why.NOT_RECOGNISED
        if why is None:
            leaves = self._plan.by_achievement[one.achievement]
            placed = False
            for leaf in leaves:
                if leaf.plain:
                    self._candidates[leaf.index].append(looked.candidate)
                    placed = True
                    continue
                points = self._points(leaf, one)
                reason = Why.UNIT_DOES_NOT_CONVERT if points is None else self._reason(leaf, one)
                if reason is None and points is not None:
                    self._candidates[leaf.index].append(Candidate(one, points))
                    placed = True
                elif why is None:
                    why, requirement = reason, leaf.key
            if placed:
                return True
        if why is not None:
            self._uncounted.append(Uncounted(one.reference, why, requirement))
        return False

    def _reason(self, leaf: Leaf, one: Held) -> Why | None:
        """What keeps a leaf from counting a credential, whatever else is counted."""
        for versions in leaf.ranges[one.achievement]:
            if versions.covers(one.version):
                break
        else:
            return Why.OTHER_VERSION
        for floor in leaf.floors:
            if one.level is None:
                return Why.LEVEL_NOT_STATED
            if not self._terms.at_least(one.level, floor):
                return Why.LEVEL_TOO_LOW
        if leaf.max_age_months and one.awarded_on < months_before(self._day, leaf.max_age_months):
            return Why.TOO_OLD
        if leaf.providers is not None and one.provider not in leaf.providers:
            return Why.PROVIDER_NOT_NAMED
        return None

    def _points(self, leaf: Leaf, one: Held) -> Decimal | None:
        if leaf.need is None:
            return _NOTHING
        return self._terms.converted(one.points, one.unit, leaf.unit) if one.unit else None

    def _count(self, branch: Branch, counted: ByLeaf) -> None:
        """Say what is counted: of a number of parts, no more than it asks for, and those first that are there."""
        leaf = branch.leaf
        if leaf is None:
            parts = branch.parts
            if branch.count < len(parts):
                there = [part for part in parts if satisfied(part, counted)]
                parts = tuple(there[: branch.count]) if len(there) >= branch.count else parts
            for part in parts:
                one = part.leaf
                if one is None or one.need is not None:
                    self._count(part, counted)
                elif counted[one.index]:  # most parts are this: those that are there are worth a call
                    self._count_one(one, counted)
        elif leaf.need is None:
            self._count_one(leaf, counted)
        else:
            for candidate, points in credits_of(leaf, counted[leaf.index])[1]:
                held = candidate.held
                self._counted.append(Counted(held.reference, leaf.key, held.by_recognition, points))

    def _count_one(self, leaf: Leaf, counted: ByLeaf) -> None:
        for candidate in counted[leaf.index][:1]:
            held = candidate.held
            self._counted.append(Counted(held.reference, leaf.key, held.by_recognition, None))

    def _explain(self, waiting: Sequence[Held], counted: ByLeaf) -> None:
        """Say why credentials that might have been counted were not."""
        taken = {one.reference for one in self._counted}
        if len(taken) == len(waiting):
            return
        state = state_of(self._plan, counted)
        for one in waiting:
            if one.reference not in taken:
                leaf, why = self._nearest(one, counted, state)
                self._uncounted.append(Uncounted(one.reference, why, leaf.key))

    def _nearest(self, one: Held, counted: ByLeaf, state: State) -> tuple[Leaf, Why]:
        """The leaf that a credential came nearest to, and what kept it: one that still lacks something, if any."""
        could = [leaf for leaf in self._plan.by_achievement[one.achievement] if self._waits(leaf, one)]
        for leaf in could:
            if not _full(leaf, counted):
                candidate = next(other for other in self._candidates[leaf.index] if other.held is one)
                why = state.obstacle(leaf, candidate)
                if why is None and beyond_room(leaf, counted[leaf.index], candidate):
                    why = Why.TOO_MUCH_RECOGNISED
                if why is not None:
                    return leaf, why
        return could[0], Why.NOT_NEEDED

    def _waits(self, leaf: Leaf, one: Held) -> bool:
        return any(candidate.held is one for candidate in self._candidates[leaf.index])


def _own_reason(one: Held, day: date) -> Why | None:
    """What keeps a credential from counting in any qualification."""
    if one.standing is not Standing.VALID:
        return Why.REVOKED if one.standing is Standing.REVOKED else Why.SUSPENDED
    if one.expires_on is not None and one.expires_on <= day:
        return Why.EXPIRED
    return Why.NOT_YET_AWARDED if one.awarded_on > day else None


@lru_cache(maxsize=64)
def months_before(day: date, months: int) -> date:
    """The same day so many months earlier, or that month's last; never before the year 1."""
    number = day.year * 12 + day.month - 1 - months
    year, month = divmod(number, 12)
    if year < 1:
        return date.min
    return date(year, month + 1, min(day.day, calendar.monthrange(year, month + 1)[1]))


def _preference(candidate: Candidate) -> tuple[bool, Decimal, date, str]:
    """Not by recognition first; then what is larger, older, and by its name."""
    held = candidate.held
    return held.by_recognition, -candidate.points, held.awarded_on, held.reference


def _by_size(candidate: Candidate) -> tuple[Decimal, bool, date, str]:
    """Where recognised credits count as all others: the largest of each achievement."""
    held = candidate.held
    return -candidate.points, held.by_recognition, held.awarded_on, held.reference


def _full(leaf: Leaf, counted: ByLeaf) -> bool:
    there = counted[leaf.index]
    return bool(there) if leaf.need is None else credits_of(leaf, there)[0] >= leaf.need


def _progress(branch: Branch, counted: ByLeaf) -> Decimal:
    """How far along, from 0 to 1: of a number of parts, the furthest."""
    leaf = branch.leaf
    if leaf is None:
        parts = [
            # Most parts ask for one credential: those are not worth a call.
            (_ONE if counted[one.index] else _NOTHING)
            if (one := part.leaf) is not None and one.need is None
            else _progress(part, counted)
            for part in branch.parts
        ]
        if branch.count < len(parts):
            parts.sort(reverse=True)
        return sum(parts[: branch.count], _NOTHING) / branch.count
    if leaf.need is None:
        return _ONE if counted[leaf.index] else _NOTHING
    return min(_ONE, credits_of(leaf, counted[leaf.index])[0] / leaf.need)


def _miss(branch: Branch, counted: ByLeaf, missing: list[Missing]) -> None:
    """Say what a node lacks that is not satisfied."""
    leaf = branch.leaf
    if leaf is None:
        lacking = [part for part in branch.parts if not satisfied(part, counted)]
        if branch.count == len(branch.parts):
            for part in lacking:
                _miss(part, counted, missing)
        else:
            there = Decimal(len(branch.parts) - len(lacking))
            keys = tuple(part.key for part in lacking)
            missing.append(Missing(branch.key, there, Decimal(branch.count), "", keys))
    elif leaf.need is None:
        missing.append(Missing(branch.key, _NOTHING, _ONE, "", ()))
    else:
        there = credits_of(leaf, counted[leaf.index])[0]
        missing.append(Missing(branch.key, there, leaf.need, leaf.unit, ()))


def _repeated(number: int) -> InvalidArgument:
    return InvalidArgument(
        "REFERENCE_REPEATED",
        "two credentials are called the same",
        field=f"credentials[{number}].reference",
        rule="a credential counts once",
        remedy="send each credential once",
    )
