"""The engine against an oracle that tries every assignment there is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal
from itertools import product
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.stacking_samples import AT, TERMS, TODAY, P, Q, answer, has, rule
from vitne.stacking import Answer, Held, Missing, Outcome, Rule, Stacking, Standing
from vitne.stacking.evaluate import Bounds
from vitne.stacking.question import months_before
from vitne.stacking.rule import Conditions, Node, One, Points, Range, Some

ACHIEVEMENTS = ["a", "b", "c", "d"]
DAYS = [date(2020, 5, 31), date(2026, 3, 1), date(2026, 9, 1)]
Chosen = dict[str, list[Held]]

# --- The oracle ------------------------------------------------------------------------------------


def leaves(node: Node) -> Iterator[One | Points]:
    if isinstance(node, Some):
        for part in node.parts:
            yield from leaves(part)
    else:
        yield node


def nodes(node: Node) -> Iterator[Node]:
    yield node
    if isinstance(node, Some):
        for part in node.parts:
            yield from nodes(part)


def holds(node: Node, chosen: Chosen) -> bool:
    if isinstance(node, Some):
        return sum(holds(part, chosen) for part in node.parts) >= node.count
    mine = chosen.get(node.key, [])
    if isinstance(node, One):
        return len(mine) == 1
    recognised = sum((worth(node, one) for one in mine if one.by_recognition), Decimal(0))
    if node.max_recognised_points is not None:
        recognised = min(recognised, node.max_recognised_points)
    return recognised + sum(worth(node, one) for one in mine if not one.by_recognition) >= node.points


def worth(node: Points, one: Held) -> Decimal:
    points = TERMS.converted(one.points, one.unit, node.unit)
    assert points is not None
    return points


def under(node: Node, chosen: Chosen) -> list[Held]:
    return [one for leaf in leaves(node) for one in chosen.get(leaf.key, [])]


def allowed(asked: Rule, chosen: Chosen) -> bool:
    everything = under(asked.root, chosen)
    if len({one.achievement for one in everything}) != len(everything):
        return False
    by_key = {node.key: node for node in nodes(asked.root)}
    for node in by_key.values():
        mine, conditions = under(node, chosen), node.conditions
        if isinstance(node, One) and len(mine) > 1:
            return False
        if conditions.same_provider and len({one.provider for one in mine}) > 1:
            return False
        if (
            conditions.max_recognised is not None
            and sum(one.by_recognition for one in mine) > conditions.max_recognised
        ):
            return False
        for one in mine:
            if conditions.min_level and not (one.level and TERMS.at_least(one.level, conditions.min_level)):
                return False
            if conditions.max_age_months and one.awarded_on < months_before(TODAY, conditions.max_age_months):
                return False
            if conditions.providers and one.provider not in conditions.providers:
                return False
    return all(
        first.awarded_on <= second.awarded_on
        for before, after in asked.order
        for first in under(by_key[before], chosen)
        for second in under(by_key[after], chosen)
    )


def wants(leaf: One | Points, one: Held) -> bool:
    ranges = (leaf.range,) if isinstance(leaf, One) else leaf.ranges
    if one.standing is not Standing.VALID or one.kind != "x.module":
        return False
    if isinstance(leaf, Points) and TERMS.converted(one.points, one.unit, leaf.unit) is None:
        return False
    return any(range_.achievement == one.achievement and range_.covers(one.version) for range_ in ranges)


def can_be_met(asked: Rule, held: Sequence[Held]) -> bool:
    ways = [[None, *(leaf.key for leaf in leaves(asked.root) if wants(leaf, one))] for one in held]
    for way in product(*ways):
        chosen: Chosen = {}
        for key, one in zip(way, held, strict=True):
            if key is not None:
                chosen.setdefault(key, []).append(one)
        if holds(asked.root, chosen) and allowed(asked, chosen):
            return True
    return False


# --- Rules and credentials -------------------------------------------------------------------------

# Conditions on several leaves together are what is hard, so they come more often than those on one.
conditions = st.sampled_from(
    [
        *[Conditions()] * 4,
        *[Conditions(same_provider=True)] * 2,
        *[Conditions(max_recognised=1)] * 2,
        Conditions(max_recognised=0),
        Conditions(same_provider=True, max_recognised=1),
        Conditions(min_level=("eqf", "5")),
        Conditions(max_age_months=12),
        Conditions(providers=frozenset({P})),
    ]
)
ranges = st.builds(
    Range, st.sampled_from(ACHIEVEMENTS), st.sampled_from([1, 1, 1, 2]), st.sampled_from([None, None, None, 1, 2])
)


def some(parts: list[Node], missing: int, bound: Conditions) -> Some:
    return Some("", max(1, len(parts) - missing), tuple(parts), bound)


nodes_of = st.recursive(
    st.one_of(
        st.builds(One, st.just(""), ranges, conditions),
        st.builds(
            Points,
            st.just(""),
            st.just("ects"),
            st.sampled_from([Decimal(1), Decimal("2.5"), Decimal(4)]),
            st.lists(ranges, min_size=1, max_size=3).map(tuple),
            st.sampled_from([None, None, Decimal(0), Decimal("1.5")]),
            conditions,
        ),
    ),
    lambda parts: st.builds(some, st.lists(parts, min_size=1, max_size=3), st.integers(0, 2), conditions),
    max_leaves=5,
)


def with_keys(node: Node, numbers: Iterator[int]) -> Node:
    key = f"n{next(numbers)}"
    if isinstance(node, Some):
        parts = tuple(with_keys(part, numbers) for part in node.parts)
        return Some(key, node.count, parts, node.conditions)
    if isinstance(node, One):
        return One(key, node.range, node.conditions)
    return Points(key, node.unit, node.points, node.ranges, node.max_recognised_points, node.conditions)


@st.composite
def rules(draw: st.DrawFn) -> Rule:
    root = with_keys(draw(nodes_of), iter(range(100)))
    keys = [leaf.key for leaf in leaves(root)]
    pairs = draw(st.lists(st.tuples(st.sampled_from(keys), st.sampled_from(keys)), max_size=3))
    return rule(root, *{pair for pair in pairs if pair[0] != pair[1]})


@st.composite
def holdings(draw: st.DrawFn, most: int = 5) -> list[Held]:
    count = draw(st.integers(most - 3, most))
    return [
        has(
            draw(st.sampled_from(ACHIEVEMENTS)),
            f"r{number}",
            version=draw(st.sampled_from([1, 2])),
            provider=draw(st.sampled_from([P, P, Q])),
            awarded_on=draw(st.sampled_from(DAYS)),
            points=draw(st.sampled_from(["1", "2", "3"])),
            unit=draw(st.sampled_from([*["ects"] * 7, "no.fagskolepoeng"])),
            level=draw(st.sampled_from([("eqf", "5"), ("eqf", "5"), ("eqf", "6"), ("eqf", "4"), None])),
            by_recognition=draw(st.booleans()),
            standing=draw(st.sampled_from([*[Standing.VALID] * 9, Standing.REVOKED])),
        )
        for number in range(count)
    ]


def chosen_of(found: Answer, held: Sequence[Held]) -> Chosen:
    by_reference = {one.reference: one for one in held}
    chosen: Chosen = {}
    for one in found.counted:
        chosen.setdefault(one.requirement, []).append(by_reference[one.reference])
    return chosen


# --- What holds ------------------------------------------------------------------------------------


@settings(max_examples=300, deadline=None)
@given(rules(), holdings())
def test_the_engine_says_what_trying_everything_says(asked: Rule, held: list[Held]) -> None:
    found = answer(asked, *held)
    assert found.outcome is (Outcome.COMPLETE if can_be_met(asked, held) else Outcome.INCOMPLETE)
    assert (found.percent == 100) == (found.outcome is Outcome.COMPLETE) == (not found.missing)
    # What it counted is a proof: anybody can check it without searching.
    chosen = chosen_of(found, held)
    assert allowed(asked, chosen)
    by_key = {leaf.key: leaf for leaf in leaves(asked.root)}
    assert all(wants(by_key[key], one) for key, mine in chosen.items() for one in mine)
    if found.outcome is Outcome.COMPLETE:
        assert holds(asked.root, chosen)
    # Each credential is counted once, or said why not, or asked for by nothing.
    told = [one.reference for one in found.counted] + [one.reference for one in found.uncounted]
    asked_for = {range_.achievement for leaf in leaves(asked.root) for range_ in
                 ((leaf.range,) if isinstance(leaf, One) else leaf.ranges)}  # fmt: skip
    assert sorted(told) == sorted(one.reference for one in held if one.achievement in asked_for)


def progress(node: Node, chosen: Chosen) -> Decimal:
    """How far a node is, from 0 to 1, as docs/stacking.md says it: each node by itself, nothing kept."""
    if isinstance(node, Some):
        parts = sorted((progress(part, chosen) for part in node.parts), reverse=True)
        return sum(parts[: node.count], Decimal(0)) / node.count
    if isinstance(node, One):
        return Decimal(bool(chosen.get(node.key)))
    return min(Decimal(1), credits_under(node, chosen) / node.points)


def credits_under(node: Points, chosen: Chosen) -> Decimal:
    mine = chosen.get(node.key, [])
    recognised = sum((worth(node, one) for one in mine if one.by_recognition), Decimal(0))
    if node.max_recognised_points is not None:
        recognised = min(recognised, node.max_recognised_points)
    return recognised + sum((worth(node, one) for one in mine if not one.by_recognition), Decimal(0))


def lacking(node: Node, chosen: Chosen) -> Iterator[Missing]:
    if holds(node, chosen):
        return
    if isinstance(node, Some):
        if node.count == len(node.parts):
            for part in node.parts:
                yield from lacking(part, chosen)
        else:
            without = tuple(part.key for part in node.parts if not holds(part, chosen))
            there = Decimal(len(node.parts) - len(without))
            yield Missing(node.key, there, Decimal(node.count), "", without)
    elif isinstance(node, One):
        yield Missing(node.key, Decimal(0), Decimal(1), "", ())
    else:
        yield Missing(node.key, credits_under(node, chosen), node.points, node.unit, ())


@settings(max_examples=60, deadline=None)
@given(st.lists(rules(), min_size=2, max_size=3), holdings())
def test_many_answers_at_once_are_what_each_is_by_itself_and_what_its_definition_says(
    asked: list[Rule], held: list[Held]
) -> None:
    named = [replace(one, id=f"q{number}") for number, one in enumerate(asked)]
    found = Stacking(named, TERMS).evaluate(held, AT, [one.id for one in named]).answers
    assert list(found) == [answer(one, *held) for one in named]
    for one in found:
        chosen = chosen_of(one, held)
        share = Decimal(1) if one.outcome is Outcome.COMPLETE else progress(one.rule.root, chosen)
        assert one.percent == (100 if one.outcome is Outcome.COMPLETE else min(99, int(100 * share)))
        assert list(one.missing) == list(lacking(one.rule.root, chosen))


groups = st.lists(st.sampled_from("abcde"), min_size=1, max_size=4, unique=True).flatmap(
    lambda names: st.integers(1, len(names)).map(
        lambda count: Some("", count, tuple(One("", Range(name, 1, None)) for name in names))
    )
)


@settings(max_examples=300, deadline=None)
@given(st.lists(groups, min_size=2, max_size=3), st.sets(st.sampled_from("abcde"), min_size=2))
def test_groups_that_compete_are_filled_as_far_as_they_can_be(asked_for: list[Some], names: set[str]) -> None:
    asked = rule(with_keys(Some("", len(asked_for), tuple(asked_for)), iter(range(100))))
    held = [has(name) for name in sorted(names)]
    found = answer(asked, *held)
    assert found.outcome is (Outcome.COMPLETE if can_be_met(asked, held) else Outcome.INCOMPLETE)
    assert allowed(asked, chosen_of(found, held))
    # A maximum flow: nothing fits into what is missing, whatever is moved.
    most = max(len(way) for way in fillings(asked, held))
    assert len(found.counted) == most


def fillings(asked: Rule, held: Sequence[Held]) -> Iterator[Chosen]:
    """Every way to place credentials in which no group holds more than it asks for."""
    ways = [[None, *(leaf.key for leaf in leaves(asked.root) if wants(leaf, one))] for one in held]
    for way in product(*ways):
        placed = [key for key in way if key is not None]
        room = all(
            sum(leaf.key in placed for leaf in leaves(part)) <= part.count
            for part in nodes(asked.root)
            if isinstance(part, Some) and part is not asked.root
        )
        if room and len(set(placed)) == len(placed):
            yield {key: [one] for key, one in zip(way, held, strict=True) if key is not None}


@settings(max_examples=150, deadline=None)
@given(rules(), holdings(4), holdings(3))
def test_more_credentials_never_take_a_qualification_away(asked: Rule, held: list[Held], more: list[Held]) -> None:
    renamed = [has(**{field: getattr(one, field) for field in one.__slots__} | {"reference": f"+{one.reference}"})
               for one in more]  # fmt: skip
    if answer(asked, *held).outcome is Outcome.COMPLETE:
        assert answer(asked, *held, *renamed).outcome is Outcome.COMPLETE


@settings(max_examples=100, deadline=None)
@given(rules(), holdings(), st.randoms(use_true_random=False))
def test_the_order_in_which_credentials_come_changes_nothing_that_matters(
    asked: Rule, held: list[Held], chance: Random
) -> None:
    shuffled = chance.sample(held, len(held))
    first, second = answer(asked, *held), answer(asked, *shuffled)
    assert first == answer(asked, *held)
    assert (first.outcome, sorted(first.counted)) == (second.outcome, sorted(second.counted))


@settings(max_examples=100, deadline=None)
@given(rules(), holdings(), st.integers(0, 12))
def test_a_budget_that_ends_never_makes_an_answer_wrong(asked: Rule, held: list[Held], steps: int) -> None:
    (found,) = Stacking([asked], TERMS).evaluate(held, AT, [asked.id], bounds=Bounds(steps, 0, steps)).answers
    if found.outcome is not Outcome.UNDETERMINED:
        assert found.outcome is answer(asked, *held).outcome
