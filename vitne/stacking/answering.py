"""One qualification's answer: credentials are put to leaves that might count them, assigned, added up, explained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, TypeAlias

from vitne.stacking.adding import Adding
from vitne.stacking.answer import Answer, Outcome, Uncounted, Why
from vitne.stacking.assign import Budget, ByLeaf, State, assign, beyond_room, state_of
from vitne.stacking.candidate import PREFERENCE, SIZE, Candidate
from vitne.stacking.held import Held
from vitne.stacking.plan import Leaf, Place, Plan
from vitne.stacking.question import Lot, Refused

#: Candidates of a leaf for which there are none. Never changed.
_NONE: Final[list[Candidate]] = []
#: Credentials that are not counted, each with its number in the question.
_Numbered: TypeAlias = list[tuple[int, Uncounted]]


def answer(plan: Plan, lots: Mapping[str, Lot], budget: Budget) -> Answer:
    """Answer for one qualification.

    Args:
        plan: its rule.
        lots: what a learner has, by achievement.
        budget: on the work.
    """
    # A leaf that asks for one credential asks for one achievement: it has the list of all who ask the same.
    candidates: ByLeaf = [_NONE] * len(plan.leaves)
    for leaf in plan.pools:
        candidates[leaf.index] = []
    waiting: list[Candidate] = []
    refused: _Numbered = []
    for achievement, ask, leaf in plan.alone:
        if achievement in lots:
            fitting, not_fitting = lots[achievement][ask]
            candidates[leaf.index] = fitting
            waiting += fitting
            if not_fitting:
                refused += [(one.number, _uncounted(one, leaf)) for one in not_fitting]
    for achievement, places in plan.asked:
        if achievement not in lots:
            continue
        lot = lots[achievement]
        if len(places) > 1:
            _sort_in(places, lot, candidates, waiting, refused)
            continue
        leaf, ask = places[0]
        fitting, not_fitting = lot[ask]
        candidates[leaf.index] += fitting
        waiting += fitting
        if not_fitting:
            refused += [(one.number, _uncounted(one, leaf)) for one in not_fitting]
    for leaf in plan.pools:
        if len(mine := candidates[leaf.index]) > 1:
            mine.sort(key=SIZE if leaf.max_recognised_points is None else PREFERENCE)
    assignment = assign(plan, candidates, budget)
    adding = Adding(assignment.counted)
    progress, counted, missing = adding.of(plan.root)
    if len(refused) > 1:
        refused.sort()
    uncounted = [one for _, one in refused]
    if len(counted) < len(waiting):
        references = {one.reference for one in counted}
        left = [one for one in waiting if one.held.reference not in references]
        uncounted += _explained(plan, candidates, left, adding, assignment.state)
    if not missing:
        outcome, percent = Outcome.COMPLETE, 100
    else:
        outcome = Outcome.INCOMPLETE if assignment.certain else Outcome.UNDETERMINED
        percent = min(99, int(100 * progress))
    return Answer(plan.rule, outcome, percent, tuple(counted), tuple(uncounted), tuple(missing))


def _sort_in(
    places: Sequence[Place], lot: Lot, candidates: ByLeaf, waiting: list[Candidate], refused: _Numbered
) -> None:
    """Put what several leaves ask for to each that might count it; what none can, the first one's reason refuses."""
    placed: dict[int, Candidate] = {}
    turned_down: dict[int, tuple[int, Uncounted]] = {}
    for leaf, ask in places:
        fitting, not_fitting = lot[ask]
        if leaf.need is None:
            candidates[leaf.index] = fitting
        else:
            candidates[leaf.index] += fitting
        for one in fitting:
            placed.setdefault(one.number, one)
        for no in not_fitting:
            turned_down.setdefault(no.number, (no.number, _uncounted(no, leaf)))
    waiting += placed.values()
    refused += [one for number, one in turned_down.items() if number not in placed]


def _uncounted(one: Refused, leaf: Leaf) -> Uncounted:
    return Uncounted(one.held.reference, one.why, "" if one.own else leaf.key)


def _explained(
    plan: Plan, candidates: ByLeaf, left: list[Candidate], adding: Adding, state: State | None
) -> Iterator[Uncounted]:
    """Say why credentials that might have been counted were not."""
    if len(left) > 1:
        left.sort(key=lambda one: one.number)
    for one in left:
        held = one.held
        places = plan.by_achievement[held.achievement]
        # At a single place it waits there.
        could = [leaf for leaf, _ in places if len(places) == 1 or _waits(held, leaf, candidates)]
        nearest, why = could[0], Why.NOT_NEEDED
        for leaf in could:
            # The leaf that it came nearest to is one that still lacks something, if any.
            if adding.has_enough(leaf):
                continue
            if state is None:
                state = state_of(plan, adding.taken)
            reason = _obstacle(leaf, held, candidates, state, adding)
            if reason is not None:
                nearest, why = leaf, reason
                break
        yield Uncounted(held.reference, why, nearest.key)


def _waits(held: Held, leaf: Leaf, candidates: ByLeaf) -> bool:
    for one in candidates[leaf.index]:  # noqa: SIM110 - asked a thousand times a question: half as long as a generator
        if one.held is held:
            return True
    return False


def _obstacle(leaf: Leaf, held: Held, candidates: ByLeaf, state: State, adding: Adding) -> Why | None:
    candidate = next(one for one in candidates[leaf.index] if one.held is held)
    why = state.obstacle(leaf, candidate)
    if why is None and beyond_room(leaf, adding.taken[leaf.index], candidate):
        return Why.TOO_MUCH_RECOGNISED
    return why
