"""Who may publish which qualification, and which ones nobody could: each refusal beside what is allowed."""

from __future__ import annotations

import copy
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from services.registry import qualifications
from services.registry.desk import Desk
from services.registry.stacking import StackingDesk
from tests.unit.accreditation_samples import (
    ALL,
    DAI,
    FAGSKOLE,
    HKDIR,
    NOKUT,
    NOW,
    OPERATOR,
    PRIVATE,
    UCL,
    UIB,
    UIO,
    Chronicle,
    achievement,
    days,
    scope,
    text,
    uuid,
)
from vitne.accreditation import timestamp
from vitne.clock import ManualClock
from vitne.errors import VitneError
from vitne.identifiers import UuidFactory
from vitne.runtime.rules import check_rules
from vitne_api.credential.v1 import credential_pb2
from vitne_api.registry.v1 import facts_pb2, qualification_pb2, registry_pb2, stacking_pb2

Q1, Q2 = uuid(0xE001), uuid(0xE002)
VITNEMAL, LATER_VITNEMAL = uuid(0xC900), uuid(0xC901)
MODULE = [uuid(0xC100 + number) for number in range(4)]
#: A kompetanseattest; a module of UCL, in ECTS; an unknown id.
ATTEST, ECTS_MODULE, NOTHING = uuid(0xC200), uuid(0xC300), uuid(0xC999)


def world() -> Chronicle:
    chronicle = Chronicle()
    for authority, country, kinds in (
        (NOKUT, "NO", ["no.university", "no.fagskole"]),
        (HKDIR, "NO", ["no.private_provider"]),
        (DAI, "DK", ["dk.business_academy"]),
    ):
        remit = facts_pb2.Remit(country=country, provider_kinds=kinds, accreditation_kinds=["x"])
        entry = facts_pb2.Authority(id=authority, name=[text(authority)], remit=remit, revision=1)
        chronicle.record(authority, actor=OPERATOR, authority=entry)
    for provider in (FAGSKOLE, PRIVATE, UCL, UIO):
        chronicle.provider(provider)
    chronicle.provider(UIB, closed_at=timestamp(days(1)))
    chronicle.accredit(UCL, "dk.institution", scope("dk.module"), authority=DAI)
    for number, module in enumerate(MODULE):
        chronicle.publish(
            achievement(FAGSKOLE, "no.fagskole.module", id=module, workload=("no.fagskolepoeng", f"{10 + number}"))
        )
    for whole in (VITNEMAL, LATER_VITNEMAL):
        chronicle.publish(
            achievement(FAGSKOLE, "no.vitnemal", id=whole, workload=("no.fagskolepoeng", "30"), level=("no.nkr", "5.1"))
        )
    chronicle.publish(achievement(PRIVATE, "no.kompetanseattest", id=ATTEST))
    chronicle.publish(achievement(UCL, "dk.module", id=ECTS_MODULE, workload=("ects", "5"), level=("dk.nqf", "5")))
    return chronicle


def one(key: str, module: str, **conditions: Any) -> qualification_pb2.Requirement:
    asked = qualification_pb2.AchievementRange(id=module, **conditions.pop("versions", {}))
    said = qualification_pb2.Conditions(**conditions) if conditions else None
    return qualification_pb2.Requirement(key=key, achievement=asked, conditions=said)


def all_of(key: str, *parts: qualification_pb2.Requirement, **conditions: Any) -> qualification_pb2.Requirement:
    said = qualification_pb2.Conditions(**conditions) if conditions else None
    return qualification_pb2.Requirement(key=key, all_of=qualification_pb2.AllOf(requirements=parts), conditions=said)


def n_of(key: str, count: int, *parts: qualification_pb2.Requirement) -> qualification_pb2.Requirement:
    return qualification_pb2.Requirement(key=key, n_of=qualification_pb2.NOf(count=count, requirements=parts))


def points(key: str, need: str, *modules: str, unit: str = "no.fagskolepoeng") -> qualification_pb2.Requirement:
    asked = [qualification_pb2.AchievementRange(id=module) for module in modules]
    said = qualification_pb2.PointsOf(unit=unit, points=need, achievements=asked)
    return qualification_pb2.Requirement(key=key, points_of=said)


THREE = all_of("all", one("a", MODULE[0]), one("b", MODULE[1]), one("c", MODULE[2]))


def whole(**changes: Any) -> qualification_pb2.Qualification:
    fields: dict[str, Any] = {
        "id": Q1,
        "version": 1,
        "provider": FAGSKOLE,
        "awards": qualification_pb2.AchievementVersion(id=VITNEMAL, version=1),
        "requirement": THREE,
        **changes,
    }
    return qualification_pb2.Qualification(**fields)


def publish(
    said: qualification_pb2.Qualification, caller: str = FAGSKOLE, chronicle: Chronicle | None = None
) -> Callable[[], facts_pb2.Fact]:
    request = registry_pb2.PublishQualificationRequest(request_id=uuid(1), qualification=said)
    check_rules(request)
    projection = (chronicle or world()).projection()
    desk = Desk(projection, ALL, OPERATOR, caller, NOW, UuidFactory(ManualClock(NOW)))
    return lambda: qualifications.publish(desk, request)


def refusal(act: Callable[[], object]) -> tuple[str, str]:
    with pytest.raises(VitneError) as caught:
        act()
    assert caught.value.rule
    assert caught.value.remedy
    return str(caught.value.reason), caught.value.field


@pytest.mark.parametrize("caller", [FAGSKOLE, NOKUT])
def test_the_provider_and_its_authority_publish(caller: str) -> None:
    fact = publish(whole(rule_digest="A" * 43), caller)()
    assert (fact.subject, fact.qualification.id) == (FAGSKOLE, Q1)
    assert fact.qualification.rule_digest not in ("", "A" * 43), "the registry's to set"


@pytest.mark.parametrize(
    ("caller", "changes", "reason", "field"),
    [
        (UIO, {}, "FOREIGN_QUALIFICATION", "qualification.provider"),
        (DAI, {}, "OUTSIDE_REMIT", "qualification.provider"),
        (HKDIR, {}, "OUTSIDE_REMIT", "qualification.provider"),
        (UIB, {"provider": UIB}, "PROVIDER_CLOSED", "qualification.provider"),
        (NOKUT, {"provider": "0192:917641404"}, "PROVIDER_UNKNOWN", "qualification.provider"),
        (UIO, {"provider": UIO}, "FOREIGN_ACHIEVEMENT", "qualification.awards"),
        (FAGSKOLE, {"awards": qualification_pb2.AchievementVersion(id=VITNEMAL, version=2)}, "UNKNOWN_ACHIEVEMENT",
         "qualification.awards"),
        (FAGSKOLE, {"version": 2}, "VERSION_NOT_NEXT", "qualification.version"),
    ],
)  # fmt: skip
def test_who_may_not(caller: str, changes: dict[str, Any], reason: str, field: str) -> None:
    assert refusal(publish(whole(**changes), caller)) == (reason, field)


def test_versions_count_and_stay_their_provider_s() -> None:
    chronicle = world()
    chronicle.record(FAGSKOLE, qualification=publish(whole())().qualification)
    assert publish(whole(version=2), chronicle=chronicle)().qualification.version == 2
    assert refusal(publish(whole(), chronicle=chronicle)) == ("VERSION_NOT_NEXT", "qualification.version")
    awards = qualification_pb2.AchievementVersion(id=ECTS_MODULE, version=1)
    taken = publish(whole(version=2, provider=UCL, awards=awards), UCL, chronicle)
    assert refusal(taken) == ("FOREIGN_QUALIFICATION", "qualification.id")


def level(framework: str, name: str) -> credential_pb2.Level:
    return credential_pb2.Level(framework=framework, level=name)


def deep(levels: int) -> qualification_pb2.Requirement:
    inner = one("leaf", MODULE[0])
    for number in range(levels - 1):
        inner = all_of(f"n{number}", inner)
    return inner


def order(*pairs: tuple[str, str]) -> list[qualification_pb2.Precedence]:
    return [qualification_pb2.Precedence(before=before, after=after) for before, after in pairs]


A, B = one("a", MODULE[0]), one("b", MODULE[1])
WHERE = "qualification.requirement"


@pytest.mark.parametrize(
    "changes",
    [
        {"requirement": deep(8)},
        {"requirement": n_of("n", 2, A, B)},
        {"requirement": points("p", "21", MODULE[0], MODULE[1])},
        {"requirement": one("a", MODULE[0], versions={"min_version": 1, "max_version": 1})},
        {"requirement": one("a", ECTS_MODULE, min_level=level("dk.nqf", "5"))},
        {"requirement": all_of("x", A, B), "order": order(("a", "b"))},
        {"requirement": n_of("n", 1, A, one("attest", ATTEST))},
        {"valid_from": timestamp(NOW), "valid_until": timestamp(NOW + timedelta(days=1))},
    ],
)
def test_what_can_be_published(changes: dict[str, Any]) -> None:
    assert publish(whole(**changes))().qualification.rule_digest


@pytest.mark.parametrize(
    ("changes", "reason", "field"),
    [
        ({"requirement": deep(9)}, "RULE_TOO_LARGE", f"{WHERE}{'.all_of.requirements[0]' * 8}"),
        ({"requirement": points("p", "9", *[MODULE[0]] * 2)}, "ACHIEVEMENT_REPEATED",
         f"{WHERE}.points_of.achievements[1].id"),
        ({"requirement": all_of("x", A, one("a", MODULE[1]))}, "KEY_REPEATED", f"{WHERE}.all_of.requirements[1].key"),
        ({"requirement": n_of("n", 3, A, B)}, "COUNT_UNSATISFIABLE", f"{WHERE}.n_of.count"),
        ({"requirement": points("p", "21.01", MODULE[0], MODULE[1])}, "POINTS_UNSATISFIABLE",
         f"{WHERE}.points_of.points"),
        ({"requirement": points("p", "0.00", MODULE[0])}, "POINTS_UNSATISFIABLE", f"{WHERE}.points_of.points"),
        ({"requirement": points("p", "5", ECTS_MODULE)}, "UNITS_DO_NOT_CONVERT",
         f"{WHERE}.points_of.achievements[0].id"),
        ({"requirement": points("p", "5", ATTEST)}, "UNITS_DO_NOT_CONVERT", f"{WHERE}.points_of.achievements[0].id"),
        ({"requirement": points("p", "5", MODULE[0], unit="no.kilo")}, "UNKNOWN_UNIT", f"{WHERE}.points_of.unit"),
        ({"requirement": all_of("x", A, one("b", NOTHING))}, "UNKNOWN_ACHIEVEMENT",
         f"{WHERE}.all_of.requirements[1].achievement.id"),
        ({"requirement": one("a", MODULE[0], versions={"min_version": 2})}, "UNKNOWN_VERSION",
         f"{WHERE}.achievement.min_version"),
        ({"requirement": one("a", MODULE[0], versions={"min_version": 2, "max_version": 1})}, "VERSIONS_CONTRADICT",
         f"{WHERE}.achievement.max_version"),
        ({"requirement": one("a", MODULE[0], min_level=level("no.nkr", "9"))}, "UNKNOWN_LEVEL",
         f"{WHERE}.conditions.min_level"),
        ({"order": order(("a", "z"))}, "UNKNOWN_KEY", "qualification.order[0].after"),
        ({"order": order(("a", "b"), ("all", "c"))}, "ORDER_CONTRADICTS", "qualification.order[1]"),
        ({"order": order(("a", "b"), ("b", "c"), ("c", "a"))}, "ORDER_CONTRADICTS", "qualification.order"),
        ({"valid_from": timestamp(NOW), "valid_until": timestamp(NOW)}, "DATES_CONTRADICT",
         "qualification.valid_until"),
        # What no condition forbids by itself, and nobody could meet.
        ({"requirement": all_of("x", A, one("again", MODULE[0]))}, "RULE_UNSATISFIABLE", WHERE),
        ({"requirement": one("attest", ATTEST)}, "RULE_UNSATISFIABLE", WHERE),
        ({"requirement": one("a", ECTS_MODULE, min_level=level("dk.nqf", "6"))}, "RULE_UNSATISFIABLE", WHERE),
        ({"requirement": one("a", MODULE[0], providers=[UIO])}, "RULE_UNSATISFIABLE", WHERE),
        ({"requirement": all_of("x", A, one("e", ECTS_MODULE), same_provider=True)}, "RULE_UNSATISFIABLE", WHERE),
        ({"requirement": one("w", VITNEMAL)}, "CIRCULAR_STACK", WHERE),
    ],
)  # fmt: skip
def test_what_is_refused(changes: dict[str, Any], reason: str, field: str) -> None:
    assert refusal(publish(whole(**changes))) == (reason, field)


def test_a_circle_by_way_of_another_qualification_is_found() -> None:
    chronicle = world()
    later = qualification_pb2.AchievementVersion(id=LATER_VITNEMAL, version=1)
    upper = whole(id=Q2, awards=later, requirement=one("first", VITNEMAL))
    chronicle.record(FAGSKOLE, qualification=publish(upper, chronicle=chronicle)().qualification)
    assert publish(whole(), chronicle=chronicle)()
    circle = whole(requirement=n_of("n", 1, A, one("second", LATER_VITNEMAL)))
    assert refusal(publish(circle, chronicle=chronicle)) == ("CIRCULAR_STACK", WHERE)


# --- What credentials add up to --------------------------------------------------------------------


def question(*credentials: stacking_pb2.StackedCredential, **changes: Any) -> stacking_pb2.EvaluateStackingRequest:
    request = stacking_pb2.EvaluateStackingRequest(credentials=credentials, **changes)
    check_rules(request)
    return request


def credential(reference: str, module: str, **changes: Any) -> stacking_pb2.StackedCredential:
    fields: dict[str, Any] = {
        "reference": reference,
        "achievement": qualification_pb2.AchievementVersion(id=module, version=1),
        "awarded_on": "2026-06-01",
        "status": credential_pb2.STATUS_VALID,
        **changes,
    }
    return stacking_pb2.StackedCredential(**fields)


def recognised_as(module: str, body: str = FAGSKOLE, decided_on: str = "2026-09-01") -> stacking_pb2.RecognisedAs:
    cited = qualification_pb2.AchievementVersion(id=module, version=1)
    return stacking_pb2.RecognisedAs(body=body, achievement=cited, decided_on=decided_on)


def desk(*published: qualification_pb2.Qualification) -> StackingDesk:
    chronicle = world()
    for said in published:
        fact = publish(said, said.provider, chronicle)()
        chronicle.record(said.provider, qualification=fact.qualification)
    return StackingDesk(chronicle.projection(), ALL)


def test_a_kompetanseattest_is_refused_and_counts_once_the_institution_has_recognised_it() -> None:
    asked = whole(requirement=all_of("all", A, n_of("either", 1, B, one("attest", ATTEST))))
    answering = desk(asked)
    held = [credential("module", MODULE[0]), credential("attest", ATTEST)]
    (found,) = answering.evaluate(question(*held), NOW).answers
    assert (found.outcome, found.percent) == (stacking_pb2.STACKING_OUTCOME_INCOMPLETE, 50)
    assert [(one.reference, one.reason, one.requirement) for one in found.uncounted] == [
        ("attest", "NOT_RECOGNISED", "")
    ]
    assert [(one.requirement, one.have, one.need, list(one.any_of)) for one in found.missing] == [
        ("either", "0", "1", ["b", "attest"])
    ]
    held[1] = credential("attest", ATTEST, recognised_as=recognised_as(MODULE[1]))
    (found,) = answering.evaluate(question(*held), NOW).answers
    assert found.outcome == stacking_pb2.STACKING_OUTCOME_COMPLETE
    assert [(one.reference, one.requirement, one.by_recognition) for one in found.counted] == [
        ("module", "a", False),
        ("attest", "b", True),
    ]
    assert found.rule_digest == publish(asked)().qualification.rule_digest
    assert (found.awards.id, found.awards.version) == (VITNEMAL, 1)


def test_credits_are_told_as_decimals_and_what_nobody_asks_for_by_name() -> None:
    answering = desk(whole(requirement=points("p", "25.5", *MODULE)))
    found = answering.evaluate(question(credential("x", MODULE[0]), credential("y", ATTEST)), NOW)
    (answer,) = found.answers
    assert [(one.reference, one.points) for one in answer.counted] == [("x", "10")]
    assert [(one.have, one.need, one.unit) for one in answer.missing] == [("10", "25.5", "no.fagskolepoeng")]
    assert list(found.not_asked_for) == ["y"]
    assert found.registry_revision > 0


@pytest.mark.parametrize(
    ("changes", "reason", "field"),
    [
        ({"achievement": qualification_pb2.AchievementVersion(id=NOTHING, version=1)}, "UNKNOWN_ACHIEVEMENT",
         "credentials[0].achievement"),
        ({"expires_on": "2026-06-01"}, "DATES_CONTRADICT", "credentials[0].expires_on"),
        ({"recognised_as": recognised_as(MODULE[0], decided_on="2026-05-31")}, "DATES_CONTRADICT",
         "credentials[0].recognised_as.decided_on"),
        ({"recognised_as": recognised_as(MODULE[0], body=PRIVATE)}, "NOT_RESPONSIBLE",
         "credentials[0].recognised_as.body"),
        ({"recognised_as": recognised_as(MODULE[0], body=NOKUT)}, "UNKNOWN_PROVIDER",
         "credentials[0].recognised_as.body"),
        ({"recognised_as": recognised_as(NOTHING)}, "UNKNOWN_ACHIEVEMENT",
         "credentials[0].recognised_as.achievement"),
    ],
)  # fmt: skip
def test_questions_that_are_refused(changes: dict[str, Any], reason: str, field: str) -> None:
    asked = question(credential("x", MODULE[0], **changes))
    assert refusal(lambda: desk(whole()).evaluate(asked, NOW)) == (reason, field)


def test_what_is_asked_about_must_exist_and_each_reference_be_there_once() -> None:
    twice = question(credential("x", MODULE[0]), credential("x", MODULE[1]))
    assert refusal(lambda: desk().evaluate(twice, NOW)) == ("REFERENCE_REPEATED", "credentials[1].reference")
    unknown = question(credential("x", MODULE[0]), qualification_ids=[Q1])
    assert refusal(lambda: desk().evaluate(unknown, NOW)) == ("QUALIFICATION_UNKNOWN", "qualification_ids[0]")


def test_who_shows_the_answers_is_told_what_they_name() -> None:
    answering = desk(whole(requirement=all_of("all", A, n_of("either", 1, B, one("attest", ATTEST)))))
    held = credential("x", MODULE[0])
    found = answering.evaluate(question(held, describe=True), NOW)
    assert [(said.id, said.version) for said in found.qualifications] == [(Q1, 1)]
    described = {said.id: said for said in found.achievements}
    assert list(described) == sorted([MODULE[0], MODULE[1], ATTEST, VITNEMAL])
    assert described[VITNEMAL].kind == "no.vitnemal"
    assert described[VITNEMAL].HasField("level")
    assert not described[ATTEST].HasField("level")
    assert all(said.title and said.provider and said.version for said in described.values())
    plain = answering.evaluate(question(held), NOW)
    assert not plain.qualifications
    assert not plain.achievements


def test_one_that_cannot_be_read_silences_no_other_and_is_named() -> None:
    chronicle = world()
    answering = StackingDesk(projection := chronicle.projection(), ALL)
    good = publish(whole(), chronicle=chronicle)().qualification
    # Of an older release that checked less: its credits are no number.
    spoilt = copy.deepcopy(good)
    spoilt.id = uuid(0xBAD)
    spoilt.requirement.CopyFrom(qualification_pb2.Requirement(key="x"))
    spoilt.requirement.points_of.points = "many"
    for said in (spoilt, good):
        projection.fold(chronicle.record(FAGSKOLE, qualification=said))
    found = answering.evaluate(question(credential("x", MODULE[0])), NOW)
    assert [one.qualification_id for one in found.answers] == [Q1]
    assert list(found.not_read) == [spoilt.id]
    # Nor is it answered for by an earlier version of it.
    unread = copy.deepcopy(spoilt)
    unread.id, unread.version = Q1, 2
    projection.fold(chronicle.record(FAGSKOLE, qualification=unread))
    again = answering.evaluate(question(credential("x", MODULE[0])), NOW)
    assert (list(again.answers), list(again.not_read)) == ([], sorted([spoilt.id, Q1]))
    # A later one that can be read says all that there is to know.
    mended = copy.deepcopy(good)
    mended.version = 3
    projection.fold(chronicle.record(FAGSKOLE, qualification=mended))
    found = answering.evaluate(question(credential("x", MODULE[0])), NOW)
    assert [(one.qualification_id, one.version) for one in found.answers] == [(Q1, 3)]
    assert list(found.not_read) == [spoilt.id]


def test_qualifications_that_become_known_later_are_answered_for() -> None:
    chronicle = world()
    projection = chronicle.projection()
    answering = StackingDesk(projection, ALL)
    asked = question(credential("x", MODULE[0]))
    assert not answering.evaluate(asked, NOW).answers
    said = publish(whole(), chronicle=chronicle)().qualification
    projection.fold(chronicle.record(FAGSKOLE, qualification=said))
    assert [one.qualification_id for one in answering.evaluate(asked, NOW).answers] == [Q1]
