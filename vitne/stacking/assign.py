"""Which credential is counted for what: an assignment in which each achievement counts once.

Three ways, the cheapest that is exact (docs/decisions: a credential counts once). Where leaves don't bear on each
other, each takes what it can; where they only compete for single credentials it is a maximum flow; else a
search that tries everything, within a budget. All conditions are hereditary: whatever holds for what is
counted holds for any part of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Final, NamedTuple, TypeAlias

from vitne.stacking.answer import Why
from vitne.stacking.candidate import Candidate
from vitne.stacking.plan import Branch, Leaf, Plan

#: More recognised credentials than there can be: it can't be satisfied at all.
_NEVER: Final = 1 << 30
_NOTHING: Final = Decimal(0)


#: What each leaf counts, or might count, by the leaf's number; best first.
ByLeaf: TypeAlias = list[list[Candidate]]


class Budget:
    """Steps that are left."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def spend(self, steps: int) -> None:
        """Take so many steps.

        Raises:
            BudgetSpent: when there are no more.
        """
        if steps > self.left:
            self.left = 0
            raise BudgetSpent
        self.left -= steps


class BudgetSpent(Exception):
    """The bound on work was reached."""


def credits_of(leaf: Leaf, counted: Sequence[Candidate]) -> tuple[Decimal, list[tuple[Candidate, Decimal]]]:
    """Credits that candidates add to a leaf, until it has what it needs, and those that added some."""
    assert leaf.need is not None  # noqa: S101 - narrows the type: only leaves that ask for credits come here
    room, total, seen = leaf.max_recognised_points, _NOTHING, set()
    added = []
    for candidate in counted:
        if total >= leaf.need:
            break
        if candidate.held.achievement in seen:
            continue
        points = candidate.points
        if room is not None and candidate.held.by_recognition:
            points = min(points, room)
            room -= points
        if points:
            seen.add(candidate.held.achievement)
            total += points
            added.append((candidate, points))
    return total, added


def beyond_room(leaf: Leaf, counted: Sequence[Candidate], candidate: Candidate) -> bool:
    """Whether a candidate would add nothing, since a leaf has all the credits by recognition that it counts."""
    if leaf.max_recognised_points is None or not candidate.held.by_recognition:
        return False
    return sum((one.points for one in counted if one.held.by_recognition), _NOTHING) >= leaf.max_recognised_points


def satisfied(branch: Branch, counted: ByLeaf) -> bool:
    """Whether what leaves count satisfies a node."""
    leaf = branch.leaf
    if leaf is None:
        if branch.singles:
            return len([1 for one in branch.singles if counted[one.index]]) >= branch.count
        spare = len(branch.parts) - branch.count
        for part in branch.parts:
            if not satisfied(part, counted):
                spare -= 1
                if spare < 0:
                    return False
        return True
    if leaf.need is None:
        return bool(counted[leaf.index])
    return credits_of(leaf, counted[leaf.index])[0] >= leaf.need


class Assignment(NamedTuple):
    """What leaves count."""

    #: Where it does not satisfy the whole, as much as could be placed.
    counted: ByLeaf
    #: True: it satisfies the whole, or nothing does.
    certain: bool = True
    #: What bears on more, where that is known already.
    state: State | None = None


def assign(plan: Plan, candidates: ByLeaf, budget: Budget) -> Assignment:
    """Choose what each leaf counts."""
    if plan.simple or (plan.separate and _one_each(plan, candidates)):
        return Assignment(candidates)
    if plan.flowing:
        return Assignment(_flow(plan, candidates)[0])
    known = _known_providers(plan, candidates)
    greedy = _greedy(plan, candidates, known)
    if satisfied(plan.root, greedy.counted):
        return greedy
    try:
        for some in _by_provider(plan, candidates, known[0]) if plan.one_provider else (candidates,):
            if _flow(plan, some)[1] >= plan.needed:
                search = _Search(plan, some, budget)
                if search.run():
                    return Assignment(search.counted)
    except BudgetSpent:
        return greedy._replace(certain=False)
    return greedy


def _one_each(plan: Plan, candidates: ByLeaf) -> bool:
    """Whether nothing is to be chosen where credits by recognition count up to a bound: no achievement is there twice,
    once recognised and once not."""
    for leaf in plan.leaves:
        if leaf.max_recognised_points is not None:
            mine = candidates[leaf.index]
            if len({one.held.achievement for one in mine}) < len(mine):
                return False
    return True


def _by_provider(plan: Plan, candidates: ByLeaf, known: Mapping[str, int]) -> Iterator[ByLeaf]:
    """Where all comes from one provider, what each has is looked at by itself, if it is known to enough leaves."""
    for provider in sorted(known):
        if known[provider] >= plan.needed:
            yield [[one for one in some if one.held.provider == provider] for some in candidates]


def state_of(plan: Plan, counted: ByLeaf) -> State:
    """What bears on what may be counted beside what is counted."""
    state = State(plan)
    for leaf in plan.leaves:
        for one in counted[leaf.index]:
            state.use(leaf, one)
    return state


class State:
    """What is counted so far, as far as it bears on what may be counted next."""

    def __init__(self, plan: Plan) -> None:
        self._limits = plan.caps
        self.used: set[str] = set()
        self.recognised = [0] * len(plan.caps)
        # Stacks, so that what was used last can be taken back.
        self._providers: list[list[str]] = [[] for _ in range(plan.same)]
        self._latest: list[list[date]] = [[] for _ in range(plan.order)]
        self._earliest: list[list[date]] = [[] for _ in range(plan.order)]

    def obstacle(self, leaf: Leaf, candidate: Candidate) -> Why | None:
        """What keeps a leaf from counting a candidate; None: nothing."""
        held = candidate.held
        if held.achievement in self.used:
            return Why.COUNTED_ONCE
        for number in leaf.same:
            chosen = self._providers[number]
            if chosen and chosen[-1] != held.provider:
                return Why.OTHER_PROVIDER
        if held.by_recognition:
            for number in leaf.caps:
                if self.recognised[number] >= self._limits[number]:
                    return Why.TOO_MUCH_RECOGNISED
        for number in leaf.before:
            after = self._earliest[number]
            if after and held.awarded_on > after[-1]:
                return Why.OUT_OF_ORDER
        for number in leaf.after:
            before = self._latest[number]
            if before and held.awarded_on < before[-1]:
                return Why.OUT_OF_ORDER
        return None

    def use(self, leaf: Leaf, candidate: Candidate) -> None:
        """Count a candidate."""
        held = candidate.held
        self.used.add(held.achievement)
        for number in leaf.same:
            self._providers[number].append(held.provider)
        if held.by_recognition:
            for number in leaf.caps:
                self.recognised[number] += 1
        for number in leaf.before:
            latest = self._latest[number]
            latest.append(max(held.awarded_on, latest[-1]) if latest else held.awarded_on)
        for number in leaf.after:
            earliest = self._earliest[number]
            earliest.append(min(held.awarded_on, earliest[-1]) if earliest else held.awarded_on)

    def undo(self, leaf: Leaf, candidate: Candidate) -> None:
        """Take back what was used last."""
        held = candidate.held
        self.used.remove(held.achievement)
        for number in leaf.same:
            self._providers[number].pop()
        if held.by_recognition:
            for number in leaf.caps:
                self.recognised[number] -= 1
        for number in leaf.before:
            self._latest[number].pop()
        for number in leaf.after:
            self._earliest[number].pop()


def _greedy(plan: Plan, candidates: ByLeaf, known: Sequence[Mapping[str, int]]) -> Assignment:
    """Place what can be placed, leaf by leaf; where one provider is asked for, the one that most leaves know."""
    chosen = [min(counts, key=lambda one: (-counts[one], one)) if counts else "" for counts in known]
    state = State(plan)
    counted: ByLeaf = [[] for _ in plan.leaves]
    for leaf, some, mine in zip(plan.leaves, candidates, counted, strict=True):
        for candidate in some:
            if leaf.same and _from_another(leaf, candidate, chosen):
                continue
            if state.obstacle(leaf, candidate) is None and not beyond_room(leaf, mine, candidate):
                state.use(leaf, candidate)
                mine.append(candidate)
                if leaf.need is None or credits_of(leaf, mine)[0] >= leaf.need:
                    break
    return Assignment(counted, state=state)


def _from_another(leaf: Leaf, candidate: Candidate, chosen: Sequence[str]) -> bool:
    """Whether a candidate is not from the provider that was chosen for a condition."""
    provider = candidate.held.provider
    for number in leaf.same:  # noqa: SIM110 - asked a thousand times a question: half as long as a generator
        if chosen[number] != provider:
            return True
    return False


def _known_providers(plan: Plan, candidates: ByLeaf) -> list[dict[str, int]]:
    """By number of the same-provider condition: how many of its leaves know each provider."""
    known: list[dict[str, int]] = [{} for _ in range(plan.same)]
    if not known:
        return known
    for leaf, some in zip(plan.leaves, candidates, strict=True):
        if not some:
            continue
        providers = {one.held.provider for one in some} if len(some) > 1 else (some[0].held.provider,)
        for number in leaf.same:
            counts = known[number]
            for provider in providers:
                counts[provider] = counts.get(provider, 0) + 1
    return known


def _flow(plan: Plan, candidates: ByLeaf) -> tuple[ByLeaf, int]:
    """A maximum flow from achievements into groups, each through a leaf of its own, by augmenting paths; and its value.

    Leaves of credits take all that is theirs: it is their own where the plan is flowing, and left out of account where
    the flow only bounds what the whole needs.
    """
    counted: ByLeaf = [[] if leaf.need is None else candidates[leaf.index] for leaf in plan.leaves]
    flow = _Flow(plan, candidates)
    value = sum(flow.augment(achievement, set()) for achievement in list(flow.wanted))
    for index, achievement in flow.holder.items():
        counted[index] = [next(one for one in candidates[index] if one.held.achievement == achievement)]
    return counted, value


class _Flow:
    """The residual graph: who holds each leaf, and how full each group is."""

    def __init__(self, plan: Plan, candidates: ByLeaf) -> None:
        self._groups = plan.groups
        self._group_of = plan.group_of
        self._filled = [0] * len(plan.groups)
        self.holder: dict[int, str] = {}
        #: Leaves that ask for each achievement, which nothing else can fill.
        self.wanted: dict[str, list[int]] = {}
        for leaf in self._group_of:
            if mine := candidates[leaf]:  # all for the one achievement that the leaf asks for
                self.wanted.setdefault(mine[0].held.achievement, []).append(leaf)

    def augment(self, achievement: str, been: set[int]) -> bool:
        """Find a leaf for an achievement, moving others where that makes room; ``been``: full groups looked at."""
        for leaf in self.wanted[achievement]:
            number = self._group_of[leaf]
            if number in been:
                continue
            group = self._groups[number]
            if self._filled[number] < group.count:
                self._filled[number] += 1
                self.holder[leaf] = achievement
                return True
            been.add(number)
            # One of its leaves gives way, if what it holds finds a place in another group.
            for other in group.leaves:
                moved = self.holder.get(other)
                if moved is not None and self.augment(moved, been):
                    del self.holder[other]
                    self.holder[leaf] = achievement
                    return True
        return False


class _Task(NamedTuple):
    """What is still to be satisfied, and what after it: so many of a node's parts from one on, or so many credits."""

    branch: Branch
    #: Part (of a combination) or candidate (of credits) to look at next.
    next: int
    #: Parts that are still needed.
    parts: int
    #: Credits that are still needed.
    points: Decimal
    #: Credits by recognition that may still be added; None: without bound.
    room: Decimal | None
    then: _Task | None


class _Search:
    """Tries everything in one fixed order, leaving out what can't succeed."""

    def __init__(self, plan: Plan, candidates: ByLeaf, budget: Budget) -> None:
        self._plan = plan
        self._candidates = candidates
        self._budget = budget
        self._state = State(plan)
        #: Filled when the search has succeeded.
        self.counted: ByLeaf = [candidates[leaf.index] if leaf.free else [] for leaf in plan.leaves]

    def run(self) -> bool:
        """Whether the whole can be satisfied.

        Raises:
            BudgetSpent: before it was known.
        """
        # A stack of its own: a rule may be longer than Python's is deep.
        stack = [self._ways(_task(self._plan.root, None))]
        while stack:
            for then in stack[-1]:
                if then is None:
                    return True
                stack.append(self._ways(then))
                break
            else:
                stack.pop()
        return False

    def _ways(self, task: _Task) -> Iterator[_Task | None]:
        """Each way to go on with a task: what is to be done then, None for nothing. What a way counts holds until the
        next one is asked for."""
        self._budget.spend(1)
        branch, leaf = task.branch, task.branch.leaf
        if branch.free:
            if satisfied(branch, self._candidates):
                yield task.then
        elif not self._possible(task):
            return
        elif leaf is None:
            yield from self._parts(task)
        elif leaf.need is None:
            yield from self._one(leaf, task)
        else:
            yield from self._credits(leaf, task)

    def _parts(self, task: _Task) -> Iterator[_Task | None]:
        if task.parts == 0:
            yield task.then
            return
        part = task.branch.parts[task.next]
        rest = task._replace(next=task.next + 1)
        if part.free:
            # It takes nothing from the others: where it is there, it is taken.
            yield rest._replace(parts=task.parts - 1) if satisfied(part, self._candidates) else rest
            return
        yield _task(part, rest._replace(parts=task.parts - 1))
        yield rest

    def _one(self, leaf: Leaf, task: _Task) -> Iterator[_Task | None]:
        tried = set()
        for candidate in self._candidates[leaf.index]:
            held = candidate.held
            # What is alike in all that the search looks at ends alike.
            alike = (held.achievement, held.provider, held.awarded_on, held.by_recognition)
            if alike not in tried and self._state.obstacle(leaf, candidate) is None:
                tried.add(alike)
                yield from self._counting(leaf, candidate, task.then)

    def _credits(self, leaf: Leaf, task: _Task) -> Iterator[_Task | None]:
        if task.points <= 0:
            yield task.then
            return
        candidate = self._candidates[leaf.index][task.next]
        rest = task._replace(next=task.next + 1)
        if self._state.obstacle(leaf, candidate) is None:
            points, room = candidate.points, task.room
            if room is not None and candidate.held.by_recognition:
                points = min(points, room)
                room -= points
            if points:
                yield from self._counting(leaf, candidate, rest._replace(points=task.points - points, room=room))
        yield rest

    def _counting(self, leaf: Leaf, candidate: Candidate, then: _Task | None) -> Iterator[_Task | None]:
        self._state.use(leaf, candidate)
        self.counted[leaf.index].append(candidate)
        yield then
        self.counted[leaf.index].pop()
        self._state.undo(leaf, candidate)

    def _possible(self, task: _Task | None) -> bool:
        """Whether everything that is still to be satisfied might be, each by itself, within the caps together."""
        coming = list(self._state.recognised)
        while task is not None:
            needed = self._rest(task)
            if needed >= _NEVER:
                return False
            for number in task.branch.caps:
                coming[number] += needed
            task = task.then
        return all(there <= most for there, most in zip(coming, self._plan.caps, strict=True))

    def _rest(self, task: _Task) -> int:
        """The fewest recognised credentials with which the rest of a task might be satisfied."""
        leaf = task.branch.leaf
        if leaf is None:
            return self._fewest(task.branch.parts[task.next :], task.parts)
        if leaf.need is None:
            return self._fewest_one(leaf)
        return self._fewest_points(leaf, task.next, task.points, task.room)

    def _fewest(self, parts: Sequence[Branch], count: int) -> int:
        if count == 0:
            return 0
        costs = sorted(self._cost(part) for part in parts)
        return _NEVER if len(costs) < count else min(_NEVER, sum(costs[:count]))

    def _cost(self, branch: Branch) -> int:
        leaf = branch.leaf
        if branch.free:
            self._budget.spend(1)
            return 0 if satisfied(branch, self._candidates) else _NEVER
        if leaf is None:
            cost = self._fewest(branch.parts, branch.count)
        elif leaf.need is None:
            cost = self._fewest_one(leaf)
        else:
            cost = self._fewest_points(leaf, 0, leaf.need, leaf.max_recognised_points)
        return _NEVER if branch.cap is not None and cost > self._plan.caps[branch.cap] else cost

    def _usable(self, leaf: Leaf, start: int) -> list[Candidate]:
        candidates = self._candidates[leaf.index]
        self._budget.spend(1 + len(candidates) - start)
        return [one for one in candidates[start:] if self._state.obstacle(leaf, one) is None]

    def _fewest_one(self, leaf: Leaf) -> int:
        return min((int(one.held.by_recognition) for one in self._usable(leaf, 0)), default=_NEVER)

    def _fewest_points(self, leaf: Leaf, start: int, need: Decimal, room: Decimal | None) -> int:
        usable = self._usable(leaf, start)
        need -= sum((one.points for one in usable if not one.held.by_recognition), _NOTHING)
        if room is not None and need > room:
            return _NEVER
        fewest = 0
        for points in sorted((one.points for one in usable if one.held.by_recognition), reverse=True):
            if need <= 0:
                break
            need -= points
            fewest += 1
        return fewest if need <= 0 else _NEVER


def _task(branch: Branch, then: _Task | None) -> _Task:
    leaf = branch.leaf
    points, room = (leaf.need or _NOTHING, leaf.max_recognised_points) if leaf is not None else (_NOTHING, None)
    return _Task(branch, 0, branch.count, points, room, then)
