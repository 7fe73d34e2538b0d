"""The rule's canonical form, what the national rules say of units and levels, and acts of recognition."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from google.protobuf.json_format import ParseDict
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.accreditation_samples import ALL, FAGSKOLE, PRIVATE, UCL, UIO, achievement, uuid
from tests.unit.stacking_samples import P, all_of, answer, has, one, points, rule, some
from vitne.canonical import digest_text
from vitne.errors import VitneError
from vitne.frameworks import Frameworks, Standing
from vitne.stacking import (
    Method,
    Outcome,
    Purpose,
    Recognition,
    Terms,
    canonical_form,
    held,
    read,
    recognised,
    responsible,
)
from vitne.stacking import Standing as HeldStanding
from vitne.stacking.recognition import check
from vitne.stacking.rule import Node
from vitne_api.credential.v1 import credential_pb2
from vitne_api.registry.v1 import facts_pb2, qualification_pb2

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


# --- Recognition of prior learning -----------------------------------------------------------------

MODULE = achievement(FAGSKOLE, "no.fagskole.module", workload=("no.fagskolepoeng", "10"))
TODAY = date(2026, 11, 21)
EVIDENCE = digest_text(b"a portfolio")


def act(**changes: Any) -> Recognition:
    fields: dict[str, Any] = {
        "body": FAGSKOLE,
        "assessor": "Board of studies, health",
        "purpose": Purpose.EXEMPTION,
        "methods": frozenset({Method.PORTFOLIO, Method.INTERVIEW}),
        "evidence": (EVIDENCE,),
        "achievement": MODULE.id,
        "version": 1,
        "decided_on": date(2026, 10, 1),
        **changes,
    }
    return Recognition(**fields)


def body(provider: str = FAGSKOLE, kind: str = "no.fagskole") -> facts_pb2.Provider:
    return facts_pb2.Provider(id=provider, kind=kind, country="NO")


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"body": "0192:313000052"},  # another fagskole: the same level
        {"outcomes": frozenset({0})},
        {"purpose": Purpose.ADMISSION},
    ],
)
def test_acts_of_recognition(changes: dict[str, Any]) -> None:
    check(act(**changes), MODULE, body(changes.get("body", FAGSKOLE)), ALL, TODAY)


def test_only_rules_that_are_applied_and_in_force_make_a_body_responsible() -> None:
    other, day = body("0192:313000052"), date(2026, 10, 1)
    attest = achievement(PRIVATE, "no.kompetanseattest")
    approved = body("0192:313000060", "no.private_provider")
    assert responsible(approved, attest, ALL, day)
    law_alone = Frameworks.load([Standing.IN_FORCE])
    assert not responsible(approved, attest, law_alone, day), "it is proposed, not law"
    assert responsible(other, MODULE, law_alone, day)
    assert not responsible(facts_pb2.Provider(id="0007:5560125790", country="FI"), MODULE, ALL, day)


@pytest.mark.parametrize(
    ("kind", "changes", "reason", "field"),
    [
        ("no.university", {"body": UIO}, "NOT_RESPONSIBLE", "recognition.body"),
        ("no.private_provider", {"body": PRIVATE}, "NOT_RESPONSIBLE", "recognition.body"),
        ("no.fagskole", {"body": UIO, "looked_up": FAGSKOLE}, "BODY_CONTRADICTS", "recognition.body"),
        ("no.fagskole", {"version": 2}, "ACHIEVEMENT_CONTRADICTS", "recognition.achievement"),
        ("no.fagskole", {"assessor": " "}, "ASSESSOR_MISSING", "recognition.assessor"),
        ("no.fagskole", {"methods": frozenset()}, "METHOD_MISSING", "recognition.methods"),
        ("no.fagskole", {"evidence": ()}, "EVIDENCE_MISSING", "recognition.evidence"),
        ("no.fagskole", {"evidence": (EVIDENCE,) * 51}, "EVIDENCE_MISSING", "recognition.evidence"),
        ("no.fagskole", {"evidence": (EVIDENCE, "AAAA")}, "BAD_DIGEST", "recognition.evidence[1]"),
        ("no.fagskole", {"evidence": ("?",)}, "BAD_BASE64URL", "recognition.evidence[0]"),
        ("no.fagskole", {"outcomes": frozenset({1})}, "UNKNOWN_OUTCOME", "recognition.outcomes"),
        ("no.fagskole", {"outcomes": frozenset({0}), "purpose": Purpose.QUALIFICATION}, "PARTS_CONTRADICT",
         "recognition.outcomes"),
        ("no.fagskole", {"decided_on": date(2026, 11, 22)}, "DATES_CONTRADICT", "recognition.decided_on"),
    ],
)  # fmt: skip
def test_acts_that_nobody_could_rely_on(kind: str, changes: dict[str, Any], reason: str, field: str) -> None:
    looked_up = changes.pop("looked_up", changes.get("body", FAGSKOLE))
    with pytest.raises(VitneError) as caught:
        check(act(**changes), MODULE, body(looked_up, kind), ALL, TODAY)
    assert (caught.value.reason, caught.value.field) == (reason, field)
    assert caught.value.rule
    assert caught.value.remedy


def test_an_industry_answers_for_its_own_model_and_for_no_other() -> None:
    model = achievement(PRIVATE, "no.fagskole.module", workload=("no.fagskolepoeng", "10"))
    check(act(body=PRIVATE), model, body(PRIVATE, "no.private_provider"), ALL, TODAY)


def test_a_recognised_attestation_counts_as_what_it_was_recognised_as() -> None:
    counts_as = recognised(act(), MODULE, "attest-1")
    assert counts_as.by_recognition
    assert (counts_as.reference, counts_as.achievement, counts_as.kind) == ("attest-1", MODULE.id, MODULE.kind)
    assert (counts_as.points, counts_as.awarded_on) == (Decimal(10), date(2026, 10, 1))
    asked = rule(one(MODULE.id, "module"), kind="no.vitnemal")
    assert answer(asked, counts_as, terms=Terms.of(ALL)).outcome is Outcome.COMPLETE
    revoked = recognised(act(), MODULE, "attest-1", standing=HeldStanding.REVOKED)
    assert answer(asked, revoked, terms=Terms.of(ALL)).outcome is Outcome.INCOMPLETE


@pytest.mark.parametrize(
    ("changes", "reason"),
    [({"purpose": Purpose.ADMISSION}, "ADMISSION_ONLY"), ({"outcomes": frozenset({0})}, "PARTS_ONLY")],
)
def test_admission_and_parts_count_for_nothing_whole(changes: dict[str, Any], reason: str) -> None:
    larger = achievement(FAGSKOLE, "no.fagskole.module", workload=("no.fagskolepoeng", "10"))
    larger.outcomes.add().CopyFrom(larger.outcomes[0])
    with pytest.raises(VitneError) as caught:
        recognised(act(**changes), larger, "x")
    assert caught.value.reason == reason
    assert recognised(act(outcomes=frozenset({0, 1})), larger, "x").by_recognition


def test_a_credential_whose_assessment_says_so_counts_as_recognised() -> None:
    by_prior_learning = achievement(UCL, "dk.module", workload=("ects", "5"))
    assert not held(by_prior_learning, "x", TODAY).by_recognition
    by_prior_learning.assessment = credential_pb2.ASSESSMENT_TYPE_PRIOR_LEARNING
    assert held(by_prior_learning, "x", TODAY).by_recognition
