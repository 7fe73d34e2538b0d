"""What credentials add up to: the engine.

Pure and deterministic: the same credentials, rules and instant have the same answers. Qualifications are found by
the achievements that they ask for, so that those that are not touched cost nothing.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from vitne.accreditation.facts import milliseconds
from vitne.errors import InvalidArgument
from vitne.stacking.answer import Answer
from vitne.stacking.answering import answer
from vitne.stacking.assign import Budget
from vitne.stacking.held import Held
from vitne.stacking.plan import Asks, Plan, make
from vitne.stacking.question import lots_of
from vitne.stacking.rule import Rule
from vitne.stacking.terms import Terms


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
        self._asks = Asks()
        self._asking: dict[str, set[str]] = {}
        for rule in rules:
            self.add(rule)

    def add(self, rule: Rule) -> None:
        """Answer for one more version of a qualification."""
        plan = make(rule, self._terms, self._asks)
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
        lots = lots_of(credentials, self._terms, day)
        answers = []
        together = bounds.together
        for plan in plans.values():
            given = min(bounds.most, bounds.each + together)
            budget = Budget(given)
            answers.append(answer(plan, lots, budget))
            together -= max(0, given - budget.left - bounds.each)
        asked_for = {
            achievement
            for achievement in lots
            if any(
                # Another version of the qualification may have asked for it.
                asking in plans and achievement in plans[asking].by_achievement
                for asking in self._asking.get(achievement, ())
            )
        }
        return Evaluation(
            tuple(answers), tuple(one.reference for one in credentials if one.achievement not in asked_for)
        )

    def _applying(self, qualification: str, moment: int) -> Plan | None:
        """The newest version that applies at an instant, in milliseconds since 1970."""
        for plan in self._versions[qualification]:
            if plan.rule.valid_from <= moment < plan.rule.valid_until:
                return plan
        return None


def _repeated(number: int) -> InvalidArgument:
    return InvalidArgument(
        "REFERENCE_REPEATED",
        "two credentials are called the same",
        field=f"credentials[{number}].reference",
        rule="a credential counts once",
        remedy="send each credential once",
    )
