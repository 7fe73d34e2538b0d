"""The rule's canonical form, and what the national rules say of units and levels."""

from __future__ import annotations

from decimal import Decimal

import pytest
from google.protobuf.json_format import ParseDict
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.accreditation_samples import ALL, uuid
from tests.unit.stacking_samples import P, all_of, answer, has, one, points, rule, some
from vitne.canonical import digest_text
from vitne.stacking import Terms, canonical_form, read
from vitne.stacking.rule import Node
from vitne_api.registry.v1 import qualification_pb2

A, B, C = one("a"), one("b"), one("c")

# --- Canonical form --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("left", "right", "same"),
    [
        (all_of("x", [A, B]), all_of("y", [B, A]), True),
        (all_of("x", [A, B]), some("x", 2, [A, B]), True),
        (all_of("x", [A, all_of("y", [B, C])]), all_of("x", [A, B, C]), True),
        (all_of("x", [A]), A, True),
        (some("x", 1, [A]), one("a", "other"), True),
        (points("x", "5.00", ["a", "b"]), points("x", "5", ["b", "a"]), True),
        (all_of("x", [A, B]), some("x", 1, [A, B]), False),
        (all_of("x", [A, all_of("y", [B, C], same_provider=True)]), all_of("x", [A, B, C]), False),
        (some("x", 1, [A, some("y", 1, [B, C])]), some("x", 1, [A, B, C]), False),
        (A, one("a", first=2), False),
        (A, one("a", max_recognised=0), False),
        (points("x", "5", ["a"]), points("x", "5", ["a"], room="0"), False),
        (points("x", "5", ["a"]), points("x", "5", ["a"], unit="x.hour"), False),
    ],
)
def test_rules_that_ask_for_the_same_have_one_form(left: Node, right: Node, same: bool) -> None:
    assert (canonical_form(left) == canonical_form(right)) is same


def test_names_count_where_the_order_cites_them() -> None:
    first, second = all_of("x", [A, B]), all_of("x", [B, A])
    assert canonical_form(first, (("a", "b"),)) == canonical_form(second, (("a", "b"),))
    assert canonical_form(first, (("a", "b"),)) != canonical_form(first, (("b", "a"),))
    # A grouping that the order cites is not opened.
    grouped = all_of("x", [all_of("first", [A, B]), C])
    assert canonical_form(grouped) == canonical_form(all_of("x", [A, B, C]))
    assert canonical_form(grouped, (("first", "c"),)) != canonical_form(all_of("x", [A, B, C]), (("a", "c"),))


nested = st.recursive(
    st.sampled_from([A, B, C]),
    lambda parts: st.lists(parts, min_size=1, max_size=3).map(lambda listed: all_of("x", listed)),
    max_leaves=5,
)


@settings(max_examples=50)
@given(nested, st.sets(st.sampled_from("abc")))
def test_rules_of_one_form_are_met_by_the_same(node: Node, there: set[str]) -> None:
    turned = all_of("y", [node])
    assert canonical_form(turned) == canonical_form(node)
    mine = [has(name) for name in sorted(there)]
    # Where a rule asks twice for one thing, nobody meets either.
    outcomes = {answer(rule(asked), *mine).outcome for asked in (node, turned)}
    assert len(outcomes) == 1


def test_a_message_is_read_whole() -> None:
    message = ParseDict(
        {
            "id": uuid(1), "version": 3, "provider": P, "awards": {"id": uuid(2), "version": 4},
            "requirement": {"key": "all", "all_of": {"requirements": [
                {"key": "a", "achievement": {"id": "a", "min_version": 2, "max_version": 3}},
                {"key": "n", "n_of": {"count": 1, "requirements": [{"key": "b", "achievement": {"id": "b"}}]},
                 "conditions": {"min_level": {"framework": "eqf", "level": "5"}, "max_age_months": 60,
                                "providers": [P], "same_provider": True, "max_recognised": 0}},
                {"key": "p", "points_of": {"unit": "ects", "points": "7.5", "achievements": [{"id": "c"}],
                                           "max_recognised_points": "2.5"}},
            ]}},
            "order": [{"before": "a", "after": "n"}],
            "valid_from": "2026-01-01T00:00:00Z",
        },
        qualification_pb2.Qualification(),
    )  # fmt: skip
    found = read(message, "x.degree")
    expected = rule(
        all_of("all", [
            one("a", first=2, last=3),
            some("n", 1, [one("b")], min_level=("eqf", "5"), max_age_months=60, providers=[P], same_provider=True,
                 max_recognised=0),
            points("p", "7.5", ["c"], room="2.5"),
        ]),
        ("a", "n"), id=uuid(1), version=3, awards=(uuid(2), 4), valid_from=1767225600000,
    )  # fmt: skip
    assert found == expected
    assert found.digest == digest_text(canonical_form(found.root, found.order))


# --- The national rules ----------------------------------------------------------------------------


def test_terms_of_the_national_rules() -> None:
    terms = Terms.of(ALL)
    assert terms.converted(Decimal(5), "ects", "ects") == Decimal(5)
    assert terms.converted(Decimal(5), "no.fagskolepoeng", "ects") is None
    assert terms.at_least(("dk.nqf", "6"), ("no.nkr", "5.2"))
    assert terms.is_formal("no.vitnemal")
    assert terms.is_non_formal("no.kompetanseattest")
    assert not terms.is_formal("no.kompetanseattest")
    assert not terms.is_formal("xx.unheard_of")
    assert terms.is_non_formal("se.mikromerit")
