"""The page of one credential: everything that it says, in the reader's language, and each state in plain words."""

from __future__ import annotations

import html
import tomllib
from datetime import date
from importlib.resources import files
from typing import Any

import pytest

from services.portal.details import details
from services.portal.entitlement import entitlement
from services.portal.grouping import groups
from services.portal.history import history
from services.portal.presentation import read, show
from services.portal.texts import RULES, TEXTS
from services.portal.timeline import timeline
from tests.unit.asgi import Answer, call
from tests.unit.portal_samples import STATES, handle
from tests.unit.portal_site import LOGGED_IN, Registry, answer, learner_site
from tests.unit.test_portal_page import Tree
from vitne_api.credential.v1 import credential_pb2

TODAY = date(2026, 11, 21)


def plain(page: str) -> str:
    return html.unescape(page)


async def get(name: str, language: str = "nb", registry: Registry | None = None) -> Answer:
    app = learner_site(list(STATES.values()), registry)
    return await call(app, f"/me/credentials/{handle(name)}", headers={**LOGGED_IN, "Accept-Language": language})


@pytest.mark.parametrize("language", TEXTS)
async def test_it_opens_to_everything_that_it_says(language: str) -> None:
    t = TEXTS[language]
    found = await get("whole", language, Registry(answer()))
    assert found.status == 200
    page = plain(found.text)
    tree = Tree(found.text)
    assert len(tree.ids) == len(set(tree.ids))
    assert tree.labels <= set(tree.ids)
    for text in (
        t["categories"]["knowledge"],
        t["categories"]["skills"],
        "dk.something_new",  # a category that this release does not know is called by its own name
        t["assessments"]["written"],
        t["participations"]["blended"],
        t["supervisions"]["with_identification"],
        t["stackabilities"]["stackable"],
        t["purposes"]["exemption"],
        t["methods"]["interview"],
        t["methods"]["portfolio"],
        t["standings"]["interpretation"] if "interpretation" in page else t["rule"],
        t["retention_archive"],
        t["bound_yes"],
        t["history_issued"],
        t["history_expires"],
        "Kan sette opp et klimaregnskap",
        "http://data.europa.eu/esco/skill/e4ae1a2c",
        "Ekstern sensor ved hver prøve",
        *("0184:29634750", "0192:971035854", "0192:974760673", "0712", "klima"),
        *("Generell studiekompetanse", "Undervises på kveldstid", "Fagansvarlig <klima>"),
        *("Kari Prøvesen", "01930f6e-7a00-7000-8000-00000000e001", "01930f6e-7a00-7000-8000-00000000a001, 3"),
        "https://status.vitne.example/2026/dk-7, 70931",
    ):
        assert text in page, text
    # In the page's language where the credential has it; what is in another says which.
    english = language == "en"
    assert ("Climate accounting: scopes 1 and 2" in page) == english
    assert ("The Accreditor <1>" in page) == english
    assert ("Knows the boundaries" in page) == english
    assert {"en"} <= tree.languages if english else {"nb"} <= tree.languages
    assert 'lang="da">Kan noget nyt' in page


#: Of the rule that the samples were issued under: what it asks for, as each language says it.
ENTITLED = {
    "nb": "Regelen som beviset er utstedt etter, krever: Institusjonsakkreditering (Danmark).",
    "nn": "Regelen som beviset er utferda etter, krev: Institusjonsakkreditering (Danmark).",
    "se": "Njuolggadus man mielde duođaštus lea addojuvvon, gáibida: Ásahusakkrediteren (Dánmárku).",
    "en": "The rule that it was issued under asks for: Institutional accreditation (Denmark).",
}
RULE = "dk.business_academy.micro_credential"


@pytest.mark.parametrize("language", TEXTS)
async def test_why_it_could_be_issued_is_said_in_the_page_s_language_and_the_rule_s_name_to_programs(
    language: str,
) -> None:
    page = plain((await get("whole", language, Registry(answer()))).text)
    assert f'<data value="{RULE}">{ENTITLED[language]}</data>' in page
    assert page.count(RULE) == 1
    assert TEXTS[language]["entitlement"] in page
    assert "UCL splits" not in page, "what the rule rests on is written in English, for those who look after rules"


@pytest.mark.parametrize("language", TEXTS)
def test_what_every_rule_asks_for_has_its_words(language: str) -> None:
    own = tomllib.loads(files("services.portal").joinpath("texts", "details.toml").read_text("utf-8"))[language]
    kinds = {kind for framework in RULES for kind in framework.accreditation_kinds}
    assert set(own["accreditations"]) == kinds
    for framework in RULES:
        for rule in framework.rules:
            said = entitlement(rule.id, TEXTS[language])
            assert all(own["accreditations"][kind] in said for kind in rule.accreditations)
            assert (own["accreditation_or"] in said) is (len(rule.accreditations) > 1)
            assert "{" not in said
            assert rule.id not in said
    assert entitlement("no.something_new", TEXTS[language]) == ""


def test_a_rule_that_asks_for_one_of_several_says_so() -> None:
    assert entitlement("no.fagskole.realkompetanse", TEXTS["en"]) == (
        "The rule that it was issued under asks for: Accredited education of a higher vocational college, "
        "Accreditation for a field or Institutional accreditation of a higher vocational college."
    )


@pytest.mark.parametrize("language", TEXTS)
@pytest.mark.parametrize(
    ("name", "text", "status"),
    [
        ("unreadable", "details_unreadable", "status_unreadable"),
        ("fetching", "details_fetching", "being_fetched"),
        ("refetching", "details_refetching", "status_fetching"),
        ("unknown", "details_unknown", "status_valid"),
        ("revoked", "details_revoked", "status_revoked"),
        ("expired", "details_expired", "status_expired"),
    ],
)
async def test_each_state_is_said_in_plain_words(language: str, name: str, text: str, status: str) -> None:
    found = await get(name, language)
    assert found.status == 200
    Tree(found.text)
    page = plain(found.text)
    assert TEXTS[language][text] in page
    assert TEXTS[language][status] in page
    listed = plain((await call(learner_site([STATES[name]], None), "/me", headers=LOGGED_IN)).text)
    assert f"/me/credentials/{handle(name)}" in listed, "it is on her page, too"


async def test_without_the_registry_it_says_that_it_does_not_know_who_accredited() -> None:
    for registry in (None, Registry(None)):
        page = plain((await get("whole", "nb", registry)).text)
        assert TEXTS["nb"]["chain_unavailable"] in page


async def test_who_accredited_is_asked_once_and_shown_on_her_page() -> None:
    registry = Registry(answer())
    app = learner_site(list(STATES.values()), registry)
    for _ in range(3):
        page = plain((await call(app, "/me", headers=LOGGED_IN)).text)
        assert TEXTS["nb"]["accredited_by"].format(authority='<span lang="nb">Akkrediteringen <1></span>') in page
    assert registry.cases == ["01930f6e-7a00-7000-8000-00000000a001"]


@pytest.mark.parametrize("other", ["x" * 43, "x", "%2e%2e", "x" * 43 + "%0a", "%27%20OR%20true"])
async def test_another_s_or_a_made_up_handle_is_no_page(other: str) -> None:
    app = learner_site(list(STATES.values()), None)
    found = await call(app, f"/me/credentials/{other}", headers=LOGGED_IN)
    assert found.status == 404
    stranger = await call(app, f"/me/credentials/{handle('whole')}")
    assert (stranger.status, stranger.header("Location")) == (303, "/")


def test_history_is_what_was_told_and_no_more() -> None:
    revoked = STATES["revoked"]
    credential = read(revoked)
    assert credential is not None
    assert history(revoked, credential, TODAY) == [
        ("2026-11-21", "history_issued"),
        ("2026-12-01", "status_suspended"),
        ("2027-01-15", "status_revoked"),
    ]
    expired = read(STATES["expired"])
    assert expired is not None
    assert history(STATES["expired"], expired, TODAY)[0] == ("2026-05-02", "status_expired")


def test_the_timeline_has_what_was_achieved_and_what_runs_out() -> None:
    years = timeline(show(list(STATES.values()), ["nb"], TODAY), TODAY)
    told = [
        (moment.day, moment.what, moment.credential.handle.rstrip("_")) for year in years for moment in year.moments
    ]
    assert told == sorted(told, key=lambda one: one[0], reverse=True)
    assert {(day, what, name) for day, what, name in told if what != "achieved"} == {
        ("2028-06-30", "expires", "whole"),
        ("2026-05-02", "expired", "expired"),
    }
    assert {name for _, what, name in told if what == "achieved"} == {"whole", "revoked", "expired", "refetching"}
    assert [year.year for year in years] == [2028, 2026, 2024]
    assert timeline([], TODAY) == []


async def test_the_timeline_is_a_page() -> None:
    found = await call(learner_site(list(STATES.values()), None), "/me/timeline", headers=LOGGED_IN)
    assert found.status == 200
    Tree(found.text)
    assert "30.06.2028" in found.text
    empty = await call(learner_site([], None), "/me/timeline", headers=LOGGED_IN)
    assert TEXTS["nb"]["timeline_empty"] in empty.text


def test_every_credential_is_on_the_page_once() -> None:
    shown = show(list(STATES.values()), ["nb"], TODAY)
    listed = [one.handle for group in groups(shown, []) for one in group.alone]
    assert sorted(listed) == sorted(one.handle for one in shown)


def test_what_a_newer_release_states_is_shown_as_not_known() -> None:
    whole = read(STATES["whole"])
    assert whole is not None
    newer = credential_pb2.Achievement()
    newer.CopyFrom(whole.achievement)
    newer.assessment = 77  # type: ignore[assignment]
    newer.supervision = credential_pb2.SUPERVISION_UNSPECIFIED
    fields: dict[str, Any] = {name: getattr(whole, name) for name in whole.__dataclass_fields__}
    said = details(type(whole)(**fields | {"achievement": newer}), ["nb"])
    assert (said.assessment, said.supervision) == ("other", "")


@pytest.mark.parametrize(
    ("enum", "table"),
    [
        (credential_pb2.AssessmentType, "assessments"),
        (credential_pb2.ParticipationForm, "participations"),
        (credential_pb2.Supervision, "supervisions"),
        (credential_pb2.Stackability, "stackabilities"),
        (credential_pb2.RecognitionMethod, "methods"),
    ],
)
def test_every_term_of_the_contract_has_its_words(enum: Any, table: str) -> None:
    prefix = enum.Name(0).removesuffix("UNSPECIFIED")
    terms = {name.removeprefix(prefix).lower() for name, number in enum.items() if number}
    assert terms | {"other"} == set(TEXTS["nb"][table])
