"""The arrangements that there are (nordic_cases.json), and each condition of the language beside its neighbour."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests.unit.stacking_samples import (
    AT,
    TERMS,
    TODAY,
    P,
    Q,
    all_of,
    answer,
    counted,
    has,
    lacks,
    one,
    points,
    rule,
    some,
    why,
)
from vitne.errors import InvalidArgument
from vitne.stacking import Counted, Held, Missing, Outcome, Stacking, Standing, Why
from vitne.stacking.evaluate import Bounds
from vitne.stacking.question import months_before

COMPLETE, INCOMPLETE = Outcome.COMPLETE, Outcome.INCOMPLETE

# --- Klimaregnskaber: five parts of 0.5 to 1.25 ECTS give 5 ----------------------------------------

KLIMA = rule(points("ects", "5", [f"klima{number}" for number in range(1, 6)]), kind="x.degree")
SIZES = ["1.25", "1.25", "1", "1", "0.5"]
KLIMA_HELD = [has(f"klima{number}", points=size) for number, size in enumerate(SIZES, 1)]


def test_five_parts_of_klimaregnskaber_give_5_ects() -> None:
    found = answer(KLIMA, *KLIMA_HELD)
    assert (found.outcome, found.percent, found.missing) == (COMPLETE, 100, ())
    assert sum(single.points or 0 for single in found.counted) == Decimal(5)


def test_four_of_them_lack_what_the_fifth_has() -> None:
    found = answer(KLIMA, *KLIMA_HELD[:4])
    assert (found.outcome, found.percent) == (INCOMPLETE, 90)
    assert found.missing == (Missing("ects", Decimal("4.5"), Decimal(5), "ects", ()),)


def test_the_same_part_taken_twice_counts_once() -> None:
    found = answer(KLIMA, *KLIMA_HELD[:4], has("klima1", "again", points="1.25", awarded_on=TODAY))
    assert lacks(found) == {"ects": "4.50/5"}
    assert why(found) == {"again": "COUNTED_ONCE"}


# --- Eldrehelse: three mandatory and three of the electives, 10 points each ------------------------

ELDREHELSE = rule(
    all_of(
        "eldrehelse",
        [
            *[one(f"m{number}") for number in (1, 2, 3)],
            some("valg", 3, [one(f"v{number}") for number in range(1, 6)]),
        ],
    )
)


def modules(*names: str) -> list[Held]:
    return [has(name, unit="no.fagskolepoeng", points="10") for name in names]


@pytest.mark.parametrize(
    ("names", "outcome", "percent", "missing"),
    [
        ("m1 m2 m3 v1 v3 v5", COMPLETE, 100, {}),
        ("m1 m2 m3 v1 v2 v3 v4 v5", COMPLETE, 100, {}),
        ("m1 m2 m3 v1 v3", INCOMPLETE, 91, {"valg": "2/3"}),
        ("m1 m3 v1 v2 v3 v4 v5", INCOMPLETE, 75, {"m2": "0/1"}),
        ("v1", INCOMPLETE, 8, {"m1": "0/1", "m2": "0/1", "m3": "0/1", "valg": "1/3"}),
    ],
)
def test_three_mandatory_and_three_of_the_electives(
    names: str, outcome: Outcome, percent: int, missing: dict[str, str]
) -> None:
    found = answer(ELDREHELSE, *modules(*names.split()))
    assert (found.outcome, found.percent, lacks(found)) == (outcome, percent, missing)


def test_what_is_missing_names_what_would_help_and_what_was_too_much_is_not_needed() -> None:
    found = answer(ELDREHELSE, *modules("m1", "m2", "m3", "v1"))
    assert found.missing == (Missing("valg", Decimal(1), Decimal(3), "", ("v2", "v3", "v4", "v5")),)
    found = answer(ELDREHELSE, *modules("m1", "m2", "m3", "v1", "v2", "v3", "v4"))
    assert why(found) == {"v4": "NOT_NEEDED"}


def test_points_of_fagskoler_do_not_become_ects_and_hours_do_where_the_rules_say_so() -> None:
    asked = rule(points("ects", "5", ["a", "b"]))
    found = answer(asked, has("a", unit="no.fagskolepoeng", points="10"), has("b", unit="x.hour", points="100"))
    assert why(found) == {"a": "UNIT_DOES_NOT_CONVERT"}
    assert (found.counted, lacks(found)) == ((Counted("b", "ects", False, Decimal("4.00")),), {"ects": "4.00/5"})
    # Not back: the rules convert hours to credits, never credits to hours.
    assert why(answer(rule(points("h", "1", ["a"], unit="x.hour")), has("a"))) == {"a": "UNIT_DOES_NOT_CONVERT"}


# --- Skellefteå Kraft: the whole set of 24 ---------------------------------------------------------

SKELLEFTEA = rule(all_of("set", [one(f"del{number:02}") for number in range(1, 25)]), kind="x.in_company")


def test_all_24_and_not_23() -> None:
    held = [has(f"del{number:02}", kind="x.in_company", unit="", provider=Q) for number in range(1, 25)]
    assert answer(SKELLEFTEA, *held).outcome is COMPLETE
    for left_out in range(24):
        found = answer(SKELLEFTEA, *held[:left_out], *held[left_out + 1 :])
        assert (found.outcome, found.percent) == (INCOMPLETE, 95)
        assert lacks(found) == {f"del{left_out + 1:02}": "0/1"}


# --- Sideways at one level, upwards across levels --------------------------------------------------


def test_sideways_at_one_level() -> None:
    asked = rule(points("ects", "10", ["a", "b"], min_level=("dk.nqf", "5")))
    level5, level4 = ("dk.nqf", "5"), ("eqf", "4")
    assert answer(asked, has("a", level=level5), has("b", level=level5)).outcome is COMPLETE
    found = answer(asked, has("a", level=level5), has("b", level=level4))
    assert (found.outcome, why(found)) == (INCOMPLETE, {"b": "LEVEL_TOO_LOW"})
    assert why(answer(asked, has("a", level=level5), has("b"))) == {"b": "LEVEL_NOT_STATED"}


def test_upwards_across_levels_each_step_a_part_of_the_next() -> None:
    unit = rule(points("ects", "10", ["course1", "course2"]), id="unit", awards=("unit", 1))
    degree = rule(
        all_of("degree", [one("unit"), one("thesis", min_level=("eqf", "6"))]), id="degree", awards=("degree", 1)
    )
    courses = [has("course1", level=("eqf", "4")), has("course2", level=("eqf", "4"))]
    engine = Stacking([unit, degree], TERMS)
    first = engine.evaluate(courses, AT)
    assert [(found.rule.id, found.outcome) for found in first.answers] == [("unit", COMPLETE)]
    # The unit is awarded for its parts; it is the unit that is a part of the degree.
    higher = [has("unit", level=("eqf", "5"), points="10"), has("thesis", level=("dk.nqf", "6"))]
    second = engine.evaluate([*courses, *higher], AT)
    assert [(found.rule.id, found.outcome) for found in second.answers] == [("degree", COMPLETE), ("unit", COMPLETE)]


@pytest.mark.parametrize(
    ("level", "floor", "reached"),
    [
        (("no.nkr", "5.2"), ("no.nkr", "5.1"), True),
        (("no.nkr", "5.1"), ("no.nkr", "5.2"), False),
        (("no.nkr", "4A"), ("no.nkr", "4B"), False),  # beside each other, not above
        (("no.nkr", "4B"), ("no.nkr", "4A"), False),
        (("no.nkr", "5.1"), ("no.nkr", "4B"), True),
        (("dk.nqf", "5"), ("eqf", "5"), True),
        (("dk.nqf", "5"), ("no.nkr", "5.1"), True),
        (("dk.nqf", "5"), ("no.nkr", "5.2"), False),  # EQF can't tell; the next level can
        (("dk.nqf", "6"), ("no.nkr", "5.2"), True),
        (("eqf", "4"), ("dk.nqf", "5"), False),
        (("attest", "5"), ("eqf", "5"), False),  # a level of no framework
    ],
)
def test_levels_of_several_frameworks(level: tuple[str, str], floor: tuple[str, str], reached: bool) -> None:
    assert TERMS.at_least(level, floor) is reached


# --- What is not formal ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["x.attest", "x.never_heard_of"])
def test_what_is_not_known_to_be_formal_never_counts_towards_a_degree(kind: str) -> None:
    asked = rule(some("either", 1, [one("a"), one("attest")]))
    found = answer(asked, has("attest", kind=kind))
    assert (found.outcome, why(found)) == (INCOMPLETE, {"attest": "NOT_RECOGNISED"})
    # Towards what is not formal itself it does.
    assert answer(rule(one("attest"), kind="x.in_company"), has("attest", kind=kind)).outcome is COMPLETE


def test_a_whole_of_an_unknown_kind_is_held_to_the_formal_system_s_rules() -> None:
    assert why(answer(rule(one("a"), kind="y.unknown"), has("a", kind="x.attest"))) == {"a": "NOT_RECOGNISED"}


# --- Status ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"standing": Standing.REVOKED}, "REVOKED"),
        ({"standing": Standing.SUSPENDED}, "SUSPENDED"),
        ({"expires_on": TODAY}, "EXPIRED"),
        ({"awarded_on": TODAY + timedelta(days=1)}, "NOT_YET_AWARDED"),
        ({"version": 2}, "OTHER_VERSION"),
    ],
)
def test_what_does_not_count_says_why(changes: dict[str, Any], reason: str) -> None:
    asked = rule(one("a", last=1))
    assert answer(asked, has("a", expires_on=TODAY + timedelta(days=1))).outcome is COMPLETE
    found = answer(asked, has("a", **changes))
    assert (found.outcome, why(found)) == (INCOMPLETE, {"a": reason})


# --- Order, age, recognition, providers ------------------------------------------------------------

EARLY, LATE = date(2026, 1, 1), date(2026, 2, 1)


@pytest.mark.parametrize(("a", "b", "complete"), [(EARLY, LATE, True), (EARLY, EARLY, True), (LATE, EARLY, False)])
def test_this_before_that(a: date, b: date, complete: bool) -> None:
    asked = rule(all_of("both", [one("a"), one("b")]), ("a", "b"))
    found = answer(asked, has("a", awarded_on=a), has("b", awarded_on=b))
    assert (found.outcome is COMPLETE) is complete
    assert why(found) == ({} if complete else {"b": "OUT_OF_ORDER"})


def test_the_attempt_that_keeps_the_order_is_found() -> None:
    asked = rule(all_of("both", [one("a"), one("b")]), ("a", "b"))
    middle = date(2026, 1, 15)
    found = answer(
        asked, has("a", awarded_on=middle), has("b", "b1", awarded_on=EARLY), has("b", "b2", awarded_on=LATE)
    )
    assert (found.outcome, counted(found)) == (COMPLETE, {"a": "a", "b2": "b"})


@pytest.mark.parametrize(("awarded_on", "reason"), [(date(2025, 11, 21), None), (date(2025, 11, 20), "TOO_OLD")])
def test_age_limits_count_from_the_day_asked_about(awarded_on: date, reason: str | None) -> None:
    found = answer(rule(one("a", max_age_months=12)), has("a", awarded_on=awarded_on))
    assert why(found) == ({"a": reason} if reason else {})


@pytest.mark.parametrize(
    ("day", "months", "expected"),
    [
        (date(2026, 3, 31), 1, date(2026, 2, 28)),
        (date(2024, 3, 31), 1, date(2024, 2, 29)),
        (date(2026, 1, 15), 13, date(2024, 12, 15)),
        (date(2, 1, 1), 1200, date.min),
    ],
)
def test_months_before(day: date, months: int, expected: date) -> None:
    assert months_before(day, months) == expected


def test_at_most_so_many_by_recognition() -> None:
    asked = rule(some("three", 3, [one(name) for name in "abcde"], max_recognised=1))
    found = answer(asked, *[has(name, by_recognition=True) for name in "abc"], has("d"))
    assert (found.outcome, lacks(found)) == (INCOMPLETE, {"three": "2/3"})
    assert sorted(why(found).values()) == ["TOO_MUCH_RECOGNISED", "TOO_MUCH_RECOGNISED"]
    found = answer(asked, *[has(name, by_recognition=True) for name in "abc"], has("d"), has("e"))
    assert (found.outcome, sum(single.by_recognition for single in found.counted)) == (COMPLETE, 1)


def test_credits_by_recognition_count_up_to_a_bound() -> None:
    asked = rule(points("ects", "20", ["a", "b", "c"], room="7"))
    recognised = [has("a", points="5", by_recognition=True), has("b", points="5", by_recognition=True)]
    found = answer(asked, *recognised, has("c", points="13"))
    assert found.outcome is COMPLETE
    assert [single.points for single in found.counted] == [Decimal(13), Decimal(5), Decimal(2)]
    found = answer(asked, *recognised, has("c", points="12"))
    assert lacks(found) == {"ects": "19/20"}


def test_all_from_one_provider_whichever_or_from_a_named_one() -> None:
    same = rule(some("two", 2, [one(name) for name in "abc"], same_provider=True))
    found = answer(same, has("a", provider=P), has("b", provider=Q))
    # Where no provider has more of it, the answer is told for the one whose id comes first.
    assert (found.outcome, why(found)) == (INCOMPLETE, {"a": "OTHER_PROVIDER"})
    assert answer(same, has("a", provider=P), has("b", provider=Q), has("c", provider=Q)).outcome is COMPLETE
    named = rule(some("two", 2, [one(name) for name in "abc"], providers=[P]))
    found = answer(named, has("a", provider=P), has("b", provider=Q))
    assert why(found) == {"b": "PROVIDER_NOT_NAMED"}


# --- Once ------------------------------------------------------------------------------------------


def test_a_credential_counts_once_and_where_it_is_needed() -> None:
    # `a` could fill either group; only one way fills both.
    asked = rule(
        all_of(
            "both",
            [
                some("first", 1, [one("a", "f.a"), one("b", "f.b")]),
                some("second", 1, [one("a", "s.a"), one("c", "s.c")]),
            ],
        )
    )
    assert lacks(answer(asked, has("a"))) == {"second": "0/1"}
    found = answer(asked, has("a"), has("b"))
    assert (found.outcome, counted(found)) == (COMPLETE, {"a": "s.a", "b": "f.b"})


def test_many_overlapping_groups_are_a_flow_and_need_no_search() -> None:
    names = [f"c{number}" for number in range(40)]
    groups = [
        some(f"g{number}", 1, [one(name, f"g{number}.{name}") for name in names[number : number + 20]])
        for number in range(20)
    ]
    asked = rule(all_of("all", groups))
    assert answer(asked, *map(has, names[10:30])).outcome is COMPLETE
    assert lacks(answer(asked, *map(has, names[10:29]))) != {}
    found = (
        Stacking([asked], TERMS).evaluate([has(name) for name in names[10:30]], AT, bounds=Bounds(0, 0, 0)).answers[0]
    )
    assert found.outcome is COMPLETE, "no step of the search's budget was taken"


def test_a_search_that_ends_early_says_so() -> None:
    # Credits of overlapping pools are a packing problem: 31 can't be split into 16 and 16.
    names = [f"c{number}" for number in range(20)]
    asked = rule(all_of("both", [points("x", "16.5", names), points("y", "16.5", names)]))
    held = [has(name, points=size) for name, size in zip(names, ["1.5", "1.7"] * 10, strict=True)]
    found = answer(asked, *held)
    assert found.outcome is Outcome.UNDETERMINED
    assert found.percent < 100
    assert found.missing
    # And what can be done is found in time.
    assert answer(asked, *held, has("c0", "more", points="9")).outcome is COMPLETE


def test_long_rules_are_no_deeper_than_python() -> None:
    names = [f"c{number:03}" for number in range(200)]
    asked = rule(some("half", 100, [one(name) for name in names], max_recognised=3, same_provider=True))
    held = [has(name, by_recognition=number % 2 == 0) for number, name in enumerate(names)]
    assert answer(asked, *held[:194]).outcome is COMPLETE
    assert answer(asked, *held[:193]).outcome is INCOMPLETE


# --- Many qualifications ---------------------------------------------------------------------------


def test_only_what_is_touched_is_answered_for() -> None:
    engine = Stacking([rule(one("a"), id="q1"), rule(one("b"), id="q2"), rule(one("a"), id="q0")], TERMS)
    found = engine.evaluate([has("a"), has("z")], AT)
    assert [single.rule.id for single in found.answers] == ["q0", "q1"]
    assert found.not_asked_for == ("z",)
    # Asked for by name, a qualification is answered for though nothing is there.
    (named,) = engine.evaluate([has("a")], AT, ["q2"]).answers
    assert (named.outcome, named.percent, lacks(named)) == (INCOMPLETE, 0, {"b": "0/1"})


def test_the_newest_version_that_applies_counts() -> None:
    instant = int(AT.timestamp() * 1000)
    rules = [
        rule(one("a"), version=1),
        rule(one("a"), version=2, valid_until=instant),
        rule(one("a"), version=3, valid_from=instant + 1),
    ]
    engine = Stacking(rules, TERMS)
    versions = [
        engine.evaluate([has("a")], AT + timedelta(milliseconds=shift)).answers[0].rule.version for shift in (-1, 0, 1)
    ]
    assert versions == [2, 1, 3]


def test_the_same_credential_twice_is_refused() -> None:
    with pytest.raises(InvalidArgument) as caught:
        answer(rule(one("a")), has("a"), has("a"))
    assert (caught.value.reason, caught.value.field) == ("REFERENCE_REPEATED", "credentials[1].reference")


def test_reasons_are_stable_names() -> None:
    assert all(reason.name == reason.value for reason in Why)


def test_no_qualification_uses_up_the_work_that_others_need() -> None:
    names = [f"c{number}" for number in range(20)]
    packing = all_of("both", [points("x", "16.5", names), points("y", "16.5", names)])
    ordered = all_of("pair", [one("a"), one("b"), one("c")])
    rules = [*[rule(packing, id=f"hard{number:02}") for number in range(30)], rule(ordered, ("a", "b"), id="mild")]
    held = [has(name, points=size) for name, size in zip(names, ["1.5", "1.7"] * 10, strict=True)]
    found = Stacking(rules, TERMS).evaluate([*held, has("a"), has("b")], AT)
    outcomes = {single.rule.id[:4]: single.outcome for single in found.answers}
    assert outcomes == {"hard": Outcome.UNDETERMINED, "mild": INCOMPLETE}
