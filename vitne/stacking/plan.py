"""A rule made ready: its leaves numbered, conditions pushed down to them, and what couples them found.

What couples leaves decides how hard a qualification is to answer for (docs/decisions: a credential counts once):
an achievement that several leaves ask for, and conditions on several leaves together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final, TypeAlias

from vitne.stacking.answer import Missing
from vitne.stacking.rule import Conditions, Node, One, Points, Range, Rule, Some
from vitne.stacking.terms import Level, Terms

_NOTHING: Final = Decimal(0)
_ONE: Final = Decimal(1)


@dataclass(frozen=True, slots=True, eq=False)
class Ask:
    """What a leaf asks of each credential for an achievement by itself. One object for all that ask the same, which is
    what makes it a key that costs nothing."""

    #: True: what is outside the formal system does not count.
    formal: bool
    #: Credits are counted in it; None: credits are not counted.
    unit: str | None
    #: Empty: every version.
    versions: tuple[Range, ...]
    floors: tuple[Level, ...]
    #: Zero: no bound.
    max_age_months: int
    #: None: any.
    providers: frozenset[str] | None


class Asks:
    """What is asked for, each once."""

    def __init__(self) -> None:
        self._known: dict[tuple[object, ...], Ask] = {}

    def of(self, leaf: Leaf, achievement: str, *, formal: bool) -> Ask:
        """What a leaf asks of credentials for one of its achievements."""
        ranges = leaf.ranges[achievement]
        every = any(one.first == 1 and one.last is None for one in ranges)
        unit = None if leaf.need is None else leaf.unit
        fields = (formal, unit, () if every else ranges, leaf.floors, leaf.max_age_months, leaf.providers)
        known = self._known.get(fields)
        if known is None:
            known = self._known[fields] = Ask(*fields)
        return known


#: Where credentials for an achievement go, and what is asked of them there.
Place: TypeAlias = tuple["Leaf", Ask]


@dataclass(slots=True)
class Leaf:
    """What asks for credentials: one (``need`` is None), or so many credits."""

    index: int
    key: str
    unit: str
    need: Decimal | None
    max_recognised_points: Decimal | None
    #: By achievement.
    ranges: dict[str, tuple[Range, ...]]
    floors: tuple[Level, ...]
    #: Zero: no bound.
    max_age_months: int
    #: None: any.
    providers: frozenset[str] | None
    #: Numbers of the conditions on several leaves together that it stands under.
    same: tuple[int, ...]
    caps: tuple[int, ...]
    before: tuple[int, ...] = ()
    after: tuple[int, ...] = ()
    #: True: nothing that is counted here is wanted, or bound, elsewhere.
    own: bool = False
    #: True: besides, whatever fits may be counted, in any order.
    free: bool = False
    #: What is said where nothing of it is there: the same in every answer.
    missing: Missing = field(init=False)


@dataclass(slots=True)
class Branch:
    """A node: a leaf, or so many of several nodes."""

    key: str
    #: None for a combination.
    leaf: Leaf | None
    count: int = 1
    parts: tuple[Branch, ...] = ()
    #: Numbers of the caps that it stands under, its own among them.
    caps: tuple[int, ...] = ()
    #: Number of its own cap.
    cap: int | None = None
    #: True: all its leaves are free.
    free: bool = False
    #: Of a combination whose parts each ask for one credential: these, since most do, and are answered for at once.
    singles: tuple[Leaf, ...] = ()

    def leaves(self) -> Iterator[Leaf]:
        """All leaves under it, in order."""
        if self.leaf is not None:
            yield self.leaf
        for part in self.parts:
            yield from part.leaves()


@dataclass(slots=True)
class Group:
    """So many of several single-credential leaves, all of which the whole needs."""

    count: int
    leaves: tuple[int, ...]


@dataclass(slots=True)
class Plan:
    """A rule, ready to be answered for."""

    rule: Rule
    root: Branch
    leaves: tuple[Leaf, ...]
    #: Leaves of credits.
    pools: tuple[Leaf, ...]
    #: Places at which an achievement is asked for.
    by_achievement: dict[str, tuple[Place, ...]]
    #: Achievements that a single leaf asks for, one credential for it: what is asked, and the leaf. Most are these.
    alone: tuple[tuple[str, Ask, Leaf], ...]
    #: All other achievements, with their places.
    asked: tuple[tuple[str, tuple[Place, ...]], ...]
    #: Most recognised credentials, by number of the cap.
    caps: tuple[int, ...]
    #: How many same-provider conditions and pairs of order there are.
    same: int
    order: int
    #: True: everything comes from one provider, whichever.
    one_provider: bool
    #: True: no leaf bears on another.
    simple: bool
    #: True: none does but for credits by recognition, which a leaf has room for.
    separate: bool
    #: What the whole needs in any case, as far as it is choices among single credentials.
    groups: tuple[Group, ...]
    #: Leaves that all groups together need.
    needed: int
    #: The group that a leaf is in, by the leaf's number.
    group_of: dict[int, int]
    #: True: the groups, and leaves that are free, are all that there is, and nothing else couples them.
    flowing: bool


def make(rule: Rule, terms: Terms, asks: Asks) -> Plan:
    """Make a rule ready; what it asks for is shared with other rules by ``asks``."""
    reader = _Reader()
    root = reader.branch(rule.root, _Inherited())
    leaves = tuple(reader.leaves)
    _number_order(rule, root)
    by_achievement: dict[str, list[Leaf]] = {}
    for leaf in leaves:
        for achievement in leaf.ranges:
            by_achievement.setdefault(achievement, []).append(leaf)
    for leaf in leaves:
        alone = all(len(by_achievement[achievement]) == 1 for achievement in leaf.ranges)
        bound = leaf.same or leaf.caps or leaf.before or leaf.after
        leaf.own = alone and not bound
        leaf.free = leaf.own and leaf.max_recognised_points is None
        leaf.missing = Missing(leaf.key, _NOTHING, _ONE if leaf.need is None else leaf.need, leaf.unit, ())
    _mark_free(root)
    groups, whole = _groups(root)
    # What is not known to be outside the formal system is held to its rules: towards the rest everything counts.
    formal = not terms.is_non_formal(rule.kind)
    placed = {
        achievement: tuple((leaf, asks.of(leaf, achievement, formal=formal)) for leaf in found)
        for achievement, found in by_achievement.items()
    }
    coupled = bool(reader.caps or reader.same or rule.order)
    return Plan(
        rule=rule,
        root=root,
        leaves=leaves,
        pools=tuple(leaf for leaf in leaves if leaf.need is not None),
        by_achievement=placed,
        alone=tuple((one, ask, leaf) for one, ((leaf, ask), *more) in placed.items() if _is_alone(leaf, more)),
        asked=tuple((one, places) for one, places in placed.items() if not _is_alone(places[0][0], places[1:])),
        caps=tuple(reader.caps),
        same=reader.same,
        order=len(rule.order),
        one_provider=rule.root.conditions.same_provider,
        simple=all(leaf.free for leaf in leaves),
        separate=all(leaf.own for leaf in leaves),
        groups=tuple(groups),
        needed=sum(group.count for group in groups),
        group_of={leaf: number for number, group in enumerate(groups) for leaf in group.leaves},
        flowing=whole and not coupled,
    )


def _is_alone(leaf: Leaf, more: Sequence[Place]) -> bool:
    return leaf.need is None and not more


@dataclass(frozen=True, slots=True)
class _Inherited:
    """Conditions of the nodes above."""

    floors: tuple[Level, ...] = ()
    max_age_months: int = 0
    providers: frozenset[str] | None = None
    same: tuple[int, ...] = ()
    caps: tuple[int, ...] = ()


@dataclass(slots=True)
class _Reader:
    leaves: list[Leaf] = field(default_factory=list)
    caps: list[int] = field(default_factory=list)
    same: int = 0

    def branch(self, node: Node, above: _Inherited) -> Branch:
        under = self._under(node.conditions, above)
        cap = under.caps[-1] if len(under.caps) > len(above.caps) else None
        match node:
            case Some():
                parts = tuple(self.branch(part, under) for part in node.parts)
                singles = tuple(part.leaf for part in parts if part.leaf is not None and part.leaf.need is None)
                if len(singles) < len(parts):
                    singles = ()
                return Branch(node.key, None, node.count, parts, under.caps, cap, singles=singles)
            case One():
                leaf = self._leaf(node.key, {node.range.achievement: (node.range,)}, under)
            case Points():
                ranges: dict[str, tuple[Range, ...]] = {}
                for one in node.ranges:
                    ranges[one.achievement] = (*ranges.get(one.achievement, ()), one)
                leaf = self._leaf(node.key, ranges, under)
                leaf.unit, leaf.need = node.unit, node.points
                leaf.max_recognised_points = node.max_recognised_points
        return Branch(node.key, leaf, caps=under.caps, cap=cap)

    def _leaf(self, key: str, ranges: dict[str, tuple[Range, ...]], under: _Inherited) -> Leaf:
        leaf = Leaf(
            index=len(self.leaves),
            key=key,
            unit="",
            need=None,
            max_recognised_points=None,
            ranges=ranges,
            floors=under.floors,
            max_age_months=under.max_age_months,
            providers=under.providers,
            same=under.same,
            caps=under.caps,
        )
        self.leaves.append(leaf)
        return leaf

    def _under(self, own: Conditions, above: _Inherited) -> _Inherited:
        same, caps = above.same, above.caps
        if own.same_provider:
            same = (*same, self.same)
            self.same += 1
        if own.max_recognised is not None:
            caps = (*caps, len(self.caps))
            self.caps.append(own.max_recognised)
        providers = above.providers
        if own.providers:
            providers = own.providers if providers is None else own.providers & providers
        ages = [months for months in (own.max_age_months, above.max_age_months) if months]
        return _Inherited(
            floors=(*above.floors, own.min_level) if own.min_level else above.floors,
            max_age_months=min(ages, default=0),
            providers=providers,
            same=same,
            caps=caps,
        )


def _number_order(rule: Rule, root: Branch) -> None:
    named = dict(_named(root))
    for number, (before, after) in enumerate(rule.order):
        for leaf in named[before].leaves():
            leaf.before = (*leaf.before, number)
        for leaf in named[after].leaves():
            leaf.after = (*leaf.after, number)


def _named(branch: Branch) -> Iterator[tuple[str, Branch]]:
    yield branch.key, branch
    for part in branch.parts:
        yield from _named(part)


def _mark_free(branch: Branch) -> bool:
    free = branch.leaf.free if branch.leaf is not None else True
    for part in branch.parts:
        # Every part is marked, also behind one that is not free.
        free = _mark_free(part) and free
    branch.free = free
    return free


def _groups(branch: Branch) -> tuple[list[Group], bool]:
    """What is needed in any case as choices among single leaves, and whether that is all."""
    if branch.leaf is not None:
        if branch.leaf.need is None:
            return [Group(1, (branch.leaf.index,))], True
        return [], branch.leaf.free
    if branch.count == len(branch.parts):
        found: list[Group] = []
        whole = True
        for part in branch.parts:
            groups, all_of_it = _groups(part)
            found += groups
            whole = whole and all_of_it
        return found, whole
    if branch.singles:
        return [Group(branch.count, tuple(leaf.index for leaf in branch.singles))], True
    return [], False
