"""A learner's credentials by qualification: what the registry is asked, and what is shown of its answer."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.json_format import ParseDict

from services.portal.presentation import Shown
from services.portal.stacks import MAX_CREDENTIALS, MAX_STACKS, Counted, Named, Part, Uncounted, question, stacks
from services.portal.texts import TEXTS
from tests.unit.accreditation_samples import uuid
from vitne.runtime.rules import check_rules
from vitne.stacking import Why
from vitne_api.credential.v1 import credential_pb2
from vitne_api.registry.v1 import qualification_pb2, stacking_pb2

M1, M2, V1, V2, WHOLE = (uuid(number) for number in (1, 2, 3, 4, 9))
QUALIFICATION = ParseDict(
    {
        "id": uuid(50), "version": 2, "provider": "0192:313000001", "awards": {"id": WHOLE, "version": 1},
        "requirement": {"key": "all", "all_of": {"requirements": [
            {"key": "m1", "achievement": {"id": M1}},
            {"key": "m2", "achievement": {"id": M2}},
            {"key": "credits", "points_of": {"unit": "ects", "points": "5", "achievements": [{"id": V1}, {"id": V2}]}},
        ]}},
    },
    qualification_pb2.Qualification(),
)  # fmt: skip
ACHIEVEMENTS = [
    stacking_pb2.NamedAchievement(
        id=achievement,
        version=1,
        provider="0192:313000001",
        kind=kind,
        title=[credential_pb2.LocalisedText(language=language, text=text) for language, text in titles.items()],
    )
    for achievement, kind, titles in (
        (M1, "no.fagskole.module", {"nb": "Demens"}),
        (M2, "no.fagskole.module", {"nb": "Ernæring"}),
        (V1, "no.kompetanseattest", {"nb": "Velferdsteknologi"}),
        (V2, "no.fagskole.module", {"nb": "Palliasjon"}),
        (WHOLE, "no.vitnemal", {"nb": "Eldrehelse", "en": "Elderly care"}),
    )
]


def shown(handle: str, achievement: str | None, **changes: Any) -> Shown:
    fields: dict[str, Any] = {
        "handle": handle,
        "state": "fetched",
        "status": "valid",
        "formal": True,
        "kind": "no.fagskole.module",
        "kind_name": "Modul",
        "provider": "0192:313000001",
        "awarded_on": "2026-06-01",
        "achievement": achievement,
        "achievement_version": achievement and 1,
        **changes,
    }
    return Shown(**fields)


def answer(**changes: Any) -> stacking_pb2.StackingAnswer:
    fields: dict[str, Any] = {
        "qualification_id": uuid(50),
        "version": 2,
        "awards": qualification_pb2.AchievementVersion(id=WHOLE, version=1),
        "outcome": stacking_pb2.STACKING_OUTCOME_INCOMPLETE,
        "percent": 50,
        "counted": [
            stacking_pb2.CountedCredential(reference="1", requirement="m1"),
            stacking_pb2.CountedCredential(reference="0", requirement="credits", by_recognition=True, points="2.5"),
        ],
        "uncounted": [stacking_pb2.UncountedCredential(reference="2", reason="SUSPENDED")],
        "missing": [
            stacking_pb2.MissingRequirement(requirement="m2", have="0", need="1"),
            stacking_pb2.MissingRequirement(requirement="credits", have="2.5", need="5", unit="ects"),
        ],
        **changes,
    }
    return stacking_pb2.StackingAnswer(**fields)


MINE = [shown("h0", V1), shown("h1", M1), shown("h2", M2, status="suspended")]


def response(*answers: stacking_pb2.StackingAnswer, **changes: Any) -> stacking_pb2.EvaluateStackingResponse:
    fields: dict[str, Any] = {"qualifications": [QUALIFICATION], "achievements": ACHIEVEMENTS, **changes}
    return stacking_pb2.EvaluateStackingResponse(answers=answers, **fields)


def test_the_question_names_achievements_and_days_and_nobody() -> None:
    asked = question([*MINE, shown("h3", V1, expires_on="2026-07-01", status="expired")])
    check_rules(asked)
    assert [one.reference for one in asked.credentials] == ["0", "1", "2", "3"]
    assert asked.credentials[2].status == credential_pb2.STATUS_SUSPENDED
    assert asked.credentials[3].expires_on == "2026-07-01"
    assert not any(handle in str(asked) for handle in ("h0", "h1", "h2", "h3"))


def test_what_is_not_here_yet_or_not_known_is_not_asked_about() -> None:
    mine = [shown("a", None), shown("b", M1, state="fetching", status="unknown"), shown("c", M2, status="unknown"),
            shown("d", V1)]  # fmt: skip
    assert [one.reference for one in question(mine).credentials] == ["3"]
    many = question([shown(str(number), V1) for number in range(MAX_CREDENTIALS + 1)])
    assert len(many.credentials) == MAX_CREDENTIALS
    check_rules(many)


def test_a_qualification_with_its_parts_how_far_along_and_what_is_missing() -> None:
    (found,) = stacks(MINE, response(answer()), ["en"]).stacks
    assert (found.awards, found.outcome, found.percent) == (Named("Elderly care", "en", True), "incomplete", 50)
    assert (found.kind_name, found.level, found.unequal_to) == ("Diploma", "", ())
    module, nutrition = Named("Demens", "nb", True), Named("Ernæring", "nb", True)
    # Hers is called as her credential says, and of what would help nothing is named that she has.
    assert found.parts == (
        Part("m1", module, (Counted("h1", Named("", "", True), False, ""),), None, None, "", ()),
        Part("m2", nutrition, (), "0", "1", "", ()),
        Part(
            "credits",
            None,
            (Counted("h0", Named("", "", True), True, "2.5"),),
            "2.5",
            "5",
            "ects",
            (Named("Palliasjon", "nb", True),),
        ),
    )
    assert found.uncounted == (Uncounted("h2", Named("", "", True), "SUSPENDED"),)
    assert found.to_json()["parts"][0]["counted"][0]["handle"] == "h1"


def test_of_several_what_would_help_is_named() -> None:
    qualification = ParseDict(
        {
            "id": uuid(50), "version": 2, "provider": "0192:313000001", "awards": {"id": WHOLE, "version": 1},
            "requirement": {"key": "electives", "n_of": {"count": 2, "requirements": [
                {"key": "a", "achievement": {"id": M1}},
                {"key": "b", "achievement": {"id": V1}},
                {"key": "c", "achievement": {"id": uuid(77)}},
            ]}},
        },
        qualification_pb2.Qualification(),
    )  # fmt: skip
    said = answer(
        counted=[stacking_pb2.CountedCredential(reference="1", requirement="a")],
        uncounted=[],
        missing=[stacking_pb2.MissingRequirement(requirement="electives", have="1", need="2", any_of=["b", "c"])],
    )
    (found,) = stacks([shown("h9", M2), shown("h1", M1)], response(said, qualifications=[qualification]), ["nb"]).stacks
    assert [part.key for part in found.parts] == ["electives", "a"]
    # Formal and not are told apart, and what nobody described has no title.
    assert found.parts[0].choices == (Named("Velferdsteknologi", "nb", False), Named("", "", None))


def test_what_is_not_known_to_be_complete_is_never_shown_so() -> None:
    outcomes = {
        stacking_pb2.STACKING_OUTCOME_COMPLETE: "complete",
        stacking_pb2.STACKING_OUTCOME_UNDETERMINED: "undetermined",
        stacking_pb2.STACKING_OUTCOME_UNSPECIFIED: "undetermined",
    }
    for outcome, said in outcomes.items():
        assert stacks(MINE, response(answer(outcome=outcome)), []).stacks[0].outcome == said


def test_the_furthest_along_first_and_nothing_without_a_part_of_hers() -> None:
    near = answer(percent=90)
    assert [one.percent for one in stacks(MINE, response(answer(), near), ["nb"]).stacks] == [90, 50]
    assert len(stacks(MINE, response(*[near] * (MAX_STACKS + 1)), ["nb"]).stacks) == MAX_STACKS
    assert stacks(MINE, response(answer(counted=[])), ["nb"]).stacks == ()
    assert stacks(MINE, response(answer(version=3)), ["nb"]).stacks == (), "a version that is not described"
    assert stacks(MINE, response(answer(), achievements=[]), ["nb"]).stacks == ()


@pytest.mark.parametrize("reason", Why)
def test_every_reason_has_plain_words_in_every_language(reason: Why) -> None:
    assert all(reason.value in texts["reasons"] for texts in TEXTS.values())
