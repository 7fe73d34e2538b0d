"""The decision: each refusal beside its nearest neighbour that is allowed, and the model that it must agree with."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.accreditation_samples import (
    ALL,
    COLLEGE,
    FAGSKOLE,
    GRANTED,
    NOW,
    PRIVATE,
    SUSPENDED,
    T0,
    UCL,
    UIB,
    UIO,
    UNACCREDITED,
    WITHDRAWN,
    Chronicle,
    achievement,
    days,
    scope,
    text,
    uuid,
)
from vitne.accreditation import DecisionOutcome, Projection, decide, judge, offer_of, timestamp
from vitne.errors import FailedPrecondition
from vitne.frameworks import Frameworks
from vitne_api.credential.v1 import credential_pb2
from vitne_api.registry.v1 import facts_pb2

FAILED = credential_pb2.Check.OUTCOME_FAILED
HELD: dict[str, tuple[str, facts_pb2.Scope]] = {
    UIO: (
        "no.self_accrediting",
        scope("no.micro_credential", levels=[("no.nkr", "6.1"), ("no.nkr", "7")], credit_unit="ects"),
    ),
    COLLEGE: (
        "no.university_college.field",
        scope("no.micro_credential", levels=[("no.nkr", "7")], credit_unit="ects", fields=["091", "0112"]),
    ),
    FAGSKOLE: (
        "no.fagskole.programme",
        scope("no.fagskole.module", credit_unit="no.fagskolepoeng", max_points="60", educations=["fvt.eldrehelse"]),
    ),
    UCL: (
        "dk.institution",
        scope("dk.micro_credential", levels=[("dk.nqf", "5")], credit_unit="ects", max_points="10"),
    ),
    PRIVATE: ("no.non_formal_approval", scope("no.kompetanseattest")),
}


def decided(
    offered: credential_pb2.Achievement,
    *,
    at: datetime = NOW,
    frameworks: Frameworks = ALL,
    recorded_from: datetime = T0,
    **held: Any,
) -> DecisionOutcome:
    """The decision on an achievement whose provider holds its accreditation of :data:`HELD`."""
    chronicle = Chronicle(recorded_from)
    chronicle.provider(offered.provider)
    if offered.provider in HELD:
        kind, covered = HELD[offered.provider]
        chronicle.accredit(offered.provider, held.pop("kind", kind), held.pop("scope", covered), **held)
    chronicle.publish(offered)
    return decide(chronicle.projection(), frameworks, offered.provider, offered.id, offered.version, at=at)


def module(**changes: Any) -> credential_pb2.Achievement:
    fields: dict[str, Any] = {"workload": ("no.fagskolepoeng", "10"), "part_of": "fvt.eldrehelse"}
    return achievement(FAGSKOLE, "no.fagskole.module", **{**fields, **changes})


def klima(**changes: Any) -> credential_pb2.Achievement:
    fields: dict[str, Any] = {"workload": ("ects", "0.5"), "level": ("dk.nqf", "5")}
    return achievement(UCL, "dk.micro_credential", **{**fields, **changes})


def mini(**changes: Any) -> credential_pb2.Achievement:
    fields: dict[str, Any] = {"workload": ("ects", "2.5"), "level": ("no.nkr", "7")}
    return achievement(UIO, "no.micro_credential", **{**fields, **changes})


def in_field(**changes: Any) -> credential_pb2.Achievement:
    fields: dict[str, Any] = {"workload": ("ects", "5"), "level": ("no.nkr", "7"), "field": "0913"}
    return achievement(COLLEGE, "no.micro_credential", **{**fields, **changes})


def attest(**changes: Any) -> credential_pb2.Achievement:
    return achievement(PRIVATE, "no.kompetanseattest", **changes)


@pytest.mark.parametrize(
    ("offered", "rule"),
    [
        (mini(), "no.university.micro_credential"),
        (mini(level=None), "no.university.micro_credential"),
        (mini(workload=("ects", "0.01")), "no.university.micro_credential"),
        (in_field(), "no.university_college.micro_credential"),
        (in_field(field="0112"), "no.university_college.micro_credential"),
        (module(), "no.fagskole.programme.module"),
        (klima(), "dk.business_academy.micro_credential"),
        (klima(workload=("ects", "1.25")), "dk.business_academy.micro_credential"),
        (klima(workload=("ects", "10"), level=None), "dk.business_academy.micro_credential"),
        (attest(), "no.private_provider.kompetanseattest"),
    ],
)
def test_allowed(offered: credential_pb2.Achievement, rule: str) -> None:
    outcome = decided(offered)
    assert outcome.allowed, outcome.message
    assert outcome.reason is None
    assert outcome.rule == rule
    assert outcome.basis
    assert outcome.remedy == ""
    assert (outcome.accreditation_id, outcome.accreditation_revision) == (uuid(0xA001), 1)
    assert all(check.outcome != FAILED for check in outcome.checks)


@pytest.mark.parametrize(
    ("offered", "reason", "rule", "check"),
    [
        # The four refusals of the demonstration: nobody accredited, too small, another unit, a level of NKR.
        (
            achievement(UNACCREDITED, "no.kompetanseattest"),
            "NO_ACCREDITATION",
            "no.accreditation_required",
            "accreditation",
        ),
        (klima(workload=("ects", "0.25")), "SIZE_BELOW_MINIMUM", "dk.business_academy.micro_credential", "size"),
        (module(workload=("ects", "10")), "UNIT_NOT_ALLOWED", "no.fagskole.programme.module", "unit"),
        (attest(level=("no.nkr", "5.1")), "LEVEL_NOT_ALLOWED", "no.private_provider.kompetanseattest", "level"),
        # And the others.
        (klima(workload=("ects", "10.01")), "SIZE_ABOVE_MAXIMUM", "dk.business_academy.micro_credential", "size"),
        (klima(workload=("", "")), "CREDITS_REQUIRED", "dk.business_academy.micro_credential", "unit"),
        (klima(level=("dk.nqf", "6")), "LEVEL_NOT_ALLOWED", "dk.business_academy.micro_credential", "level"),
        (klima(kind="dk.module"), "KIND_NOT_COVERED", "dk.business_academy.module", "kind"),
        (mini(kind="no.kompetanseattest"), "KIND_NOT_COVERED", "no.accreditation_required", "kind"),
        (mini(level=("no.nkr", "8")), "LEVEL_NOT_COVERED", "no.university.micro_credential", "level"),
        (mini(workload=("no.fagskolepoeng", "5")), "UNIT_NOT_ALLOWED", "no.university.micro_credential", "unit"),
        (in_field(field="0411"), "FIELD_NOT_COVERED", "no.university_college.micro_credential", "field"),
        (in_field(field="09"), "FIELD_NOT_COVERED", "no.university_college.micro_credential", "field"),
        (in_field(field=""), "FIELD_NOT_COVERED", "no.university_college.micro_credential", "field"),
        (module(part_of="fvt.automasjon"), "EDUCATION_NOT_COVERED", "no.fagskole.programme.module", "education"),
        (module(part_of=""), "EDUCATION_NOT_COVERED", "no.fagskole.programme.module", "education"),
        (module(level=("no.nkr", "5.1")), "LEVEL_NOT_ALLOWED", "no.fagskole.programme.module", "level"),
        (module(workload=("no.fagskolepoeng", "60.5")), "SIZE_ABOVE_MAXIMUM", "no.fagskole.programme.module", "size"),
        (attest(workload=("ects", "1")), "UNIT_NOT_ALLOWED", "no.private_provider.kompetanseattest", "unit"),
    ],
)
def test_refused(offered: credential_pb2.Achievement, reason: str, rule: str, check: str) -> None:
    outcome = decided(offered)
    assert not outcome.allowed
    assert (outcome.reason, outcome.rule) == (reason, rule)
    assert outcome.remedy
    assert outcome.basis
    assert outcome.standing
    assert next(found.name for found in outcome.checks if found.outcome == FAILED) == check
    error = outcome.to_error("achievement")
    assert (error.reason, error.rule, error.remedy) == (reason, rule, outcome.remedy)


def test_a_module_that_only_the_field_lets_through_under_field_accreditation() -> None:
    held: dict[str, Any] = {
        "kind": "no.fagskole.field",
        "scope": scope("no.fagskole.module", credit_unit="no.fagskolepoeng", fields=["0921"]),
    }
    assert decided(module(field="0921", part_of=""), **held).rule == "no.fagskole.field.module"
    outside = decided(module(field="0411"), **held)
    assert outside.reason == "FIELD_NOT_COVERED"


def test_an_accreditation_without_a_credit_unit_covers_no_credits() -> None:
    unitless = scope("dk.micro_credential", levels=[("dk.nqf", "5")])
    assert decided(klima(), scope=unitless).reason == "UNIT_NOT_COVERED"
    assert decided(klima(workload=("", "")), scope=unitless).reason == "CREDITS_REQUIRED"


@pytest.mark.parametrize("kind", ["no.fagskole.programme", "no.fagskole.field"])
def test_an_accreditation_that_must_name_its_bounds_and_does_not_covers_nothing(kind: str) -> None:
    outcome = decided(
        module(field="0921"), kind=kind, scope=scope("no.fagskole.module", credit_unit="no.fagskolepoeng")
    )
    assert outcome.reason in {"EDUCATION_NOT_COVERED", "FIELD_NOT_COVERED"}


def test_an_accreditation_of_a_kind_that_the_provider_cannot_hold_allows_nothing() -> None:
    outcome = decided(module(), kind="no.self_accrediting")
    assert outcome.reason == "KIND_NOT_ALLOWED"


def test_institutional_accreditation_of_a_fagskole_counts_from_2025() -> None:
    held: dict[str, Any] = {
        "kind": "no.fagskole.institution",
        "scope": scope("no.fagskole.module", credit_unit="no.fagskolepoeng"),
        "valid_from": datetime.fromisoformat("2020-01-01T00:00:00Z"),
        "recorded_from": datetime.fromisoformat("2020-01-01T00:00:00Z"),
    }
    opening = datetime.fromisoformat("2025-01-01T00:00:00Z")
    assert decided(module(), at=opening, **held).allowed
    early = decided(module(), at=opening - timedelta(milliseconds=1), **held)
    assert early.reason == "RULE_NOT_IN_FORCE"


@pytest.mark.parametrize(
    ("offered", "standing"), [(klima(), "pilot"), (attest(), "proposed")], ids=["pilot", "proposed"]
)
def test_a_deployment_chooses_which_standings_it_applies(offered: credential_pb2.Achievement, standing: str) -> None:
    refused = decided(offered, frameworks=Frameworks.load({"in_force", "interpretation"}))
    assert refused.reason == "STANDING_NOT_APPLIED"
    assert refused.standing == standing
    allowed = decided(offered, frameworks=Frameworks.load({standing}))
    assert allowed.allowed
    assert any(
        check.outcome == credential_pb2.Check.OUTCOME_NOTE and standing in check.detail for check in allowed.checks
    )


# --- Time ------------------------------------------------------------------------------------------


def held_through(*revisions: dict[str, Any]) -> Chronicle:
    """UCL with an accreditation of these revisions (facts 2, 3, …) and Klimaregnskaber (the last fact)."""
    chronicle = Chronicle()
    chronicle.provider(UCL)
    kind, covered = HELD[UCL]
    for number, changes in enumerate(revisions, start=1):
        chronicle.accredit(UCL, kind, changes.pop("scope", covered), revision=number, **changes)
    chronicle.publish(klima())
    return chronicle


def ask(projection: Projection, at: datetime, known_at: int | None = None) -> DecisionOutcome:
    return decide(projection, ALL, UCL, uuid(0xC001), 1, at=at, known_at=known_at)


def test_validity_is_half_open() -> None:
    projection = held_through({"valid_from": days(10), "valid_until": days(20)}).projection()
    millisecond = timedelta(milliseconds=1)
    assert ask(projection, days(10) - millisecond).reason == "ACCREDITATION_NOT_YET_VALID"
    assert ask(projection, days(10)).allowed
    assert ask(projection, days(20) - millisecond).allowed
    assert ask(projection, days(20)).reason == "ACCREDITATION_EXPIRED"


def test_between_a_lapse_and_its_renewal_nothing_is_issued() -> None:
    limited = {"valid_until": days(20)}
    lapse = {"state": facts_pb2.ACCREDITATION_STATE_LAPSED, "effective_from": days(20), **limited}
    projection = held_through(limited, lapse, {"effective_from": days(30)}).projection()
    assert [ask(projection, days(day)).allowed for day in (19, 20, 29, 30)] == [True, False, False, True]
    refused = ask(projection, days(29))
    assert (refused.reason, refused.accreditation_revision) == ("ACCREDITATION_EXPIRED", 2)
    assert "lapsed from 2026-01-21" in refused.message


def test_suspension_ends_where_it_ends() -> None:
    projection = held_through(
        {},
        {"state": SUSPENDED, "effective_from": days(10)},
        {"state": GRANTED, "effective_from": days(20)},
    ).projection()
    assert [ask(projection, days(day)).reason for day in (9, 10, 19, 20)] == [
        None,
        "ACCREDITATION_SUSPENDED",
        "ACCREDITATION_SUSPENDED",
        None,
    ]
    assert [ask(projection, days(day)).accreditation_revision for day in (9, 10, 20)] == [1, 2, 3]


def test_what_is_withdrawn_from_now_on_stands_for_the_past() -> None:
    chronicle = held_through({})
    chronicle.accredit(UCL, *HELD[UCL], revision=2, state=WITHDRAWN, effective_from=days(100))
    projection = chronicle.projection()
    assert ask(projection, days(99)).allowed
    refused = ask(projection, days(100))
    assert (refused.reason, refused.accreditation_revision) == ("ACCREDITATION_WITHDRAWN", 2)


def test_what_is_withdrawn_backwards_was_allowed_as_known_then() -> None:
    chronicle = held_through({})
    before = len(chronicle.facts)
    chronicle.accredit(UCL, *HELD[UCL], revision=2, state=WITHDRAWN, effective_from=days(50))
    projection = chronicle.projection()
    assert ask(projection, days(60), before).allowed
    assert ask(projection, days(60)).reason == "ACCREDITATION_WITHDRAWN"
    assert ask(projection, days(49)).allowed


def test_an_amendment_replaces_the_whole_scope_from_when_it_takes_effect() -> None:
    narrower = scope("dk.micro_credential", levels=[("dk.nqf", "5")], credit_unit="ects", min_points="1")
    projection = held_through({}, {"scope": narrower, "effective_from": days(30)}).projection()
    assert ask(projection, days(29)).allowed
    refused = ask(projection, days(30))
    assert refused.reason == "SIZE_BELOW_MINIMUM"
    assert "accreditation" in refused.message


def test_of_several_accreditations_the_one_that_allows_wins_and_else_the_nearest_refusal_is_told() -> None:
    chronicle = Chronicle()
    chronicle.provider(UCL)
    kind, covered = HELD[UCL]
    chronicle.accredit(
        UCL, kind, scope("dk.module", levels=[("dk.nqf", "5")], credit_unit="ects"), accreditation=0xA000
    )
    chronicle.accredit(UCL, kind, covered, accreditation=0xA009, valid_until=days(20))
    chronicle.publish(klima())
    projection = chronicle.projection()
    assert ask(projection, days(10)).accreditation_id == uuid(0xA009)
    assert ask(projection, days(20)).reason == "ACCREDITATION_EXPIRED"


def test_a_closed_provider_issues_nothing_more() -> None:
    chronicle = held_through({})
    chronicle.provider(UCL, revision=2, closed_at=timestamp(days(40)))
    projection = chronicle.projection()
    assert ask(projection, days(39)).allowed
    assert ask(projection, days(40)).reason == "PROVIDER_CLOSED"
    assert ask(projection, days(40), len(chronicle.facts) - 1).allowed


def test_nothing_is_issued_before_it_came_into_being() -> None:
    chronicle = Chronicle()
    chronicle.authority()
    chronicle.provider(UCL)
    chronicle.accredit(UCL, *HELD[UCL], valid_from=days(-400), effective_from=days(-400))
    chronicle.publish(klima())
    projection = chronicle.projection()
    entered, published = (chronicle.facts[n].recorded_at.ToDatetime(UTC) for n in (1, 3))
    # Who issues may have a clock that lags by a minute, and not by more.
    lag, tick = timedelta(minutes=1), timedelta(milliseconds=1)
    # In any order, so that what is remembered of one answer is not given to another question.
    for moment, reason in [
        (published, None),
        (published - lag, None),
        (published - lag - tick, "ACHIEVEMENT_NOT_YET_PUBLISHED"),
        (days(-300), "ACHIEVEMENT_NOT_YET_PUBLISHED"),
        (NOW, None),
        (published - lag - tick, "ACHIEVEMENT_NOT_YET_PUBLISHED"),
    ]:
        assert ask(projection, moment).reason == reason
    offer = offer_of(klima())
    assert judge(projection, ALL, UCL, offer, entered - lag).allowed
    refused = judge(projection, ALL, UCL, offer, entered - lag - tick)
    assert (refused.reason, refused.checks[-1].name) == ("PROVIDER_NOT_YET_ENTERED", "provider")
    # That its entry was renewed does not make it a newcomer.
    chronicle.provider(UCL, revision=2, name=[text("UCL")])
    assert ask(chronicle.projection(), published).allowed


def test_what_nobody_knows() -> None:
    chronicle = held_through({})
    chronicle.provider(UIB)
    projection = chronicle.projection()
    assert decide(projection, ALL, UCL, uuid(0xC001), 2, at=NOW).reason == "NO_ACHIEVEMENT"
    assert decide(projection, ALL, UCL, "nonsense", 1, at=NOW).reason == "NO_ACHIEVEMENT"
    assert decide(projection, ALL, UIB, uuid(0xC001), 1, at=NOW).reason == "FOREIGN_ACHIEVEMENT"
    assert judge(projection, ALL, UIO, offer_of(mini()), at=NOW).reason == "NO_PROVIDER"
    assert judge(projection, ALL, UIO, offer_of(mini()), at=NOW).rule == "no.accreditation_required"


def test_a_revision_that_is_not_known_yet_is_not_guessed_at() -> None:
    projection = held_through({}).projection()
    with pytest.raises(FailedPrecondition) as caught:
        ask(projection, NOW, projection.revision + 1)
    assert caught.value.reason == "REVISION_NOT_KNOWN"


def test_a_fact_beyond_a_gap_is_not_seen_until_the_gap_closes() -> None:
    chronicle = held_through({})
    last = chronicle.provider(UIB)
    withdrawal = chronicle.accredit(UCL, *HELD[UCL], revision=2, state=WITHDRAWN, effective_from=T0)
    projection = Projection()
    for fact in chronicle.facts[:-2]:
        projection.fold(fact)
    projection.fold(withdrawal)
    assert ask(projection, NOW).allowed
    projection.fold(last)
    assert ask(projection, NOW).reason == "ACCREDITATION_WITHDRAWN"


# --- Against a naive model -------------------------------------------------------------------------

KINDS = ("dk.micro_credential", "dk.module")


@dataclass(frozen=True)
class Step:
    """One revision of one of two accreditations, in days from T0."""

    accreditation: int
    state: facts_pb2.AccreditationState.ValueType
    effective: int
    start: int
    length: int | None
    kinds: tuple[str, ...]
    min_points: str
    max_points: str


steps = st.lists(
    st.builds(
        Step,
        accreditation=st.sampled_from([0xA001, 0xA002]),
        state=st.sampled_from([GRANTED, GRANTED, SUSPENDED, WITHDRAWN]),
        effective=st.integers(-2, 12),
        start=st.integers(-2, 8),
        length=st.none() | st.integers(1, 10),
        kinds=st.sampled_from([KINDS, KINDS[:1], KINDS[1:]]),
        min_points=st.sampled_from(["", "0.5", "1"]),
        max_points=st.sampled_from(["", "1", "5"]),
    ),
    max_size=8,
)


def chronicle_of(story: list[Step], points: str, closed: int | None) -> Chronicle:
    chronicle = Chronicle()
    chronicle.provider(UCL)
    chronicle.publish(klima(workload=("ects", points)))
    revisions: dict[int, int] = {}
    for step in story:
        revisions[step.accreditation] = revisions.get(step.accreditation, 0) + 1
        chronicle.accredit(
            UCL,
            "dk.institution",
            scope(
                *step.kinds,
                levels=[("dk.nqf", "5")],
                credit_unit="ects",
                min_points=step.min_points,
                max_points=step.max_points,
            ),
            accreditation=step.accreditation,
            revision=revisions[step.accreditation],
            state=step.state,
            valid_from=days(step.start),
            valid_until=None if step.length is None else days(step.start + step.length),
            effective_from=days(step.effective),
        )
    if closed is not None:
        chronicle.provider(UCL, revision=2, closed_at=timestamp(days(closed)))
    return chronicle


def long_enough(fact: facts_pb2.Fact, at: datetime) -> bool:
    return fact.recorded_at.ToDatetime() - timedelta(minutes=1) <= at.replace(tzinfo=None)


def naive(chronicle: Chronicle, points: float, at: datetime, known_at: int) -> bool:
    """The specification, read aloud: no cleverness, no sharing of code."""
    known = [fact for fact in chronicle.facts if fact.registry_revision <= known_at]
    providers = [fact.provider for fact in known if fact.HasField("provider")]
    if not providers or not any(fact.HasField("achievement") for fact in known):
        return False
    if any(not long_enough(fact, at) for fact in chronicle.facts[:2]):
        return False
    if providers[-1].HasField("closed_at") and providers[-1].closed_at.ToDatetime() <= at.replace(tzinfo=None):
        return False
    for accreditation in {fact.accreditation.id for fact in known if fact.HasField("accreditation")}:
        effective = [
            fact.accreditation
            for fact in known
            if fact.accreditation.id == accreditation
            and fact.accreditation.effective_from.ToDatetime() <= at.replace(tzinfo=None)
        ]
        if not effective:
            continue
        said = max(effective, key=lambda one: one.revision)
        if (
            said.state == GRANTED
            and said.valid_from.ToDatetime() <= at.replace(tzinfo=None)
            and not (said.HasField("valid_until") and said.valid_until.ToDatetime() <= at.replace(tzinfo=None))
            and "dk.micro_credential" in said.scope.credential_kinds
            and points >= 0.5
            and points >= float(said.scope.min_points or 0)
            and points <= float(said.scope.max_points or 1e9)
        ):
            return True
    return False


@settings(deadline=None)
@given(
    story=steps,
    points=st.sampled_from(["0.25", "0.5", "1", "2", "7"]),
    closed=st.none() | st.integers(0, 12),
    moments=st.lists(st.integers(-3, 14), min_size=1, max_size=6),
    data=st.data(),
)
def test_nothing_is_allowed_that_was_not_granted_and_valid_then_as_known_then(
    story: list[Step], points: str, closed: int | None, moments: list[int], data: st.DataObject
) -> None:
    chronicle = chronicle_of(story, points, closed)
    shuffled = data.draw(st.permutations(chronicle.facts))
    in_order, in_disorder = chronicle.projection(), Projection()
    for fact in shuffled:
        in_disorder.fold(fact)
    for moment in moments:
        for known_at in range(len(chronicle.facts) + 1):
            expected = naive(chronicle, float(points), days(moment), known_at)
            outcome = ask(in_order, days(moment), known_at)
            assert outcome.allowed == expected
            # The order of arrival changes nothing, and neither does what is remembered.
            assert ask(in_disorder, days(moment), known_at) == outcome
            assert ask(in_order, days(moment), known_at) == outcome


@settings(deadline=None)
@given(story=steps, moments=st.lists(st.integers(-3, 14), min_size=1, max_size=4))
def test_what_becomes_known_later_does_not_change_what_was_known_then(story: list[Step], moments: list[int]) -> None:
    chronicle = chronicle_of(story, "1", None)
    growing = Projection()
    answers: dict[tuple[int, int], DecisionOutcome] = {}
    for fact in chronicle.facts:
        growing.fold(fact)
        for moment in moments:
            answers[moment, growing.revision] = ask(growing, days(moment))
    for (moment, known_at), answer in answers.items():
        assert ask(growing, days(moment), known_at) == answer
