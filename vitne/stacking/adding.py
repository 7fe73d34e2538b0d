"""What a plan's nodes add up to, each looked at once: how far they are, what is counted under them, what they lack."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Final, NamedTuple

from vitne.stacking.answer import Counted, Missing
from vitne.stacking.assign import ByLeaf, credits_of
from vitne.stacking.plan import Branch, Leaf

_NOTHING: Final = Decimal(0)
_ONE: Final = Decimal(1)
#: Makes named tuples as their own constructor does, without a call in Python: ten thousand an answer.
_new: Final = tuple.__new__


class Sum(NamedTuple):
    """What a node comes to."""

    #: From 0 to 1, which it is only where the node is satisfied: of a number of parts, the furthest.
    progress: Decimal
    #: Of a number of parts no more than it asks for, and those first that are there.
    counted: Sequence[Counted]
    #: Empty where the node is satisfied.
    missing: Sequence[Missing]


class Adding:
    """Adds up what leaves count.

    Args:
        counted: what each leaf may count; leaves of credits take of it what they need.

    Attributes:
        taken: what each leaf counts: leaves of credits, once they were looked at, what added to them.
    """

    def __init__(self, counted: ByLeaf) -> None:
        self._counted = counted
        self.taken: ByLeaf = list(counted)
        self._full: set[int] = set()

    def of(self, branch: Branch) -> Sum:
        """What a node comes to, with all that is under it."""
        leaf = branch.leaf
        if branch.singles:
            return self._singles(branch)
        if leaf is None:
            return self._parts(branch)
        return self._one(leaf) if leaf.need is None else self._credits(leaf, leaf.need)

    def has_enough(self, leaf: Leaf) -> bool:
        """Whether a leaf that was looked at has what it needs."""
        return bool(self._counted[leaf.index]) if leaf.need is None else leaf.index in self._full

    def _singles(self, branch: Branch) -> Sum:
        """Most nodes are this, and most of their leaves single: no call for each."""
        counted: list[Counted] = []
        lacking: list[Leaf] = []
        for leaf in branch.singles:
            if there := self._counted[leaf.index]:
                held = there[0].held
                counted.append(_new(Counted, (held.reference, leaf.key, held.by_recognition, None)))
            else:
                lacking.append(leaf)
        count, have = branch.count, len(counted)
        if have >= count:
            return Sum(_ONE, counted[:count], ())
        if count == len(branch.singles):
            missing = [leaf.missing for leaf in lacking]
        else:
            missing = [_too_few(branch, have, [leaf.key for leaf in lacking])]
        return Sum(Decimal(have) / count, counted, missing)

    def _parts(self, branch: Branch) -> Sum:
        sums = [self.of(part) for part in branch.parts]
        count, there = branch.count, [one for one in sums if not one.missing]
        if len(there) >= count:
            return Sum(_ONE, [one for some in there[:count] for one in some.counted], ())
        steps = [one.progress for one in sums]
        if count == len(sums):
            missing = [one for some in sums for one in some.missing]
        else:
            steps.sort(reverse=True)
            keys = [part.key for part, one in zip(branch.parts, sums, strict=True) if one.missing]
            missing = [_too_few(branch, len(there), keys)]
        counted = [one for some in sums for one in some.counted]
        return Sum(sum(steps[:count], _NOTHING) / count, counted, missing)

    def _one(self, leaf: Leaf) -> Sum:
        if not (there := self._counted[leaf.index]):
            return Sum(_NOTHING, (), (leaf.missing,))
        held = there[0].held
        return Sum(_ONE, (Counted(held.reference, leaf.key, held.by_recognition, None),), ())

    def _credits(self, leaf: Leaf, need: Decimal) -> Sum:
        total, added = credits_of(leaf, self._counted[leaf.index])
        self.taken[leaf.index] = [candidate for candidate, _ in added]
        counted = [
            Counted(candidate.held.reference, leaf.key, candidate.held.by_recognition, points)
            for candidate, points in added
        ]
        if total >= need:
            self._full.add(leaf.index)
            return Sum(_ONE, counted, ())
        return Sum(total / need, counted, (Missing(leaf.key, total, need, leaf.unit, ()),))


def _too_few(branch: Branch, have: int, lacking: Sequence[str]) -> Missing:
    return Missing(branch.key, Decimal(have), Decimal(branch.count), "", tuple(lacking))
