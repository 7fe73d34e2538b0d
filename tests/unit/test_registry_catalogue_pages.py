"""The catalogue's pages: in the language that the address or the browser asks for, and what is no search is refused."""

from __future__ import annotations

import html
import json
import re
from datetime import datetime
from typing import Any

import pytest
from fastapi import FastAPI

from services.registry.catalogue_pages import TEXTS, catalogue_routes
from services.registry.recorder import Recorder
from tests.unit.accreditation_samples import ALL, FAGSKOLE, NOW, UCL, UIO, text, uuid
from tests.unit.asgi import Answer, call
from tests.unit.test_registry_search import Catalogue
from vitne.runtime.http import install

#: What a browser says that it takes.
BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


class Known(Recorder):
    """What a recorder has read."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.projection = catalogue.projection
        self.frameworks = ALL

    def as_of(self) -> datetime:
        return NOW


def served(catalogue: Catalogue | None = None) -> Any:
    catalogue = catalogue or Catalogue()
    app = FastAPI()
    app.include_router(catalogue_routes(Known(catalogue), catalogue.index, lambda: NOW))
    return install(app)


async def get(path: str, app: Any = None, **headers: str) -> Answer:
    return await call(app or served(), path, headers=BROWSER | headers)


def test_every_table_has_every_text() -> None:
    first, *others = ({name: set(told) for name, told in table.items() if isinstance(told, dict)} | {"": set(table)}
                      for table in TEXTS.values())  # fmt: skip
    units = {unit for country in ALL for unit in country.units}
    for other in (first, *others):
        assert other.pop("units_one") <= units, "where one is called as several are it has no text"
        assert other == first


@pytest.mark.parametrize("language", TEXTS)
async def test_the_address_chooses_the_language_whatever_the_browser_asks_for(language: str) -> None:
    other = "da" if language != "da" else "nb"
    found = await get(f"/catalogue?lang={language}", **{"Accept-Language": f"{other}, en;q=0.5"})
    assert (found.status, found.header("Content-Language")) == (200, language)
    assert f'<html lang="{language}">' in found.text
    assert TEXTS[language]["lead"] in found.text


@pytest.mark.parametrize("browser", ["", "en", "en-GB, en;q=0.8, da;q=0.5", "se, en", "fi, en"])
async def test_who_reads_northern_sami_is_answered_in_bokmal_and_nothing_else(browser: str) -> None:
    app, headers = served(), {"Accept-Language": browser}
    for path in ("/catalogue", f"/catalogue/{uuid(1)}"):
        page = await get(f"{path}?lang=se", app, **headers)
        assert (page.header("Content-Language"), '<html lang="nb">' in page.text) == ("nb", True)
        assert TEXTS["nb"]["names"]["dk.nqf"] in page.text
        assert "studiepoeng (ECTS)" in page.text
        for other in ("ECTS-point", "kvalifikationsramme", "ECTS credits", "Framework"):
            assert other not in page.text


@pytest.mark.parametrize("language", ["nb", "nn"])
async def test_what_is_danish_has_norwegian_names(language: str) -> None:
    form = (await get(f"/catalogue?lang={language}")).text
    foreign = re.findall(r'<option value="([^"]+)"[^>]* lang="da"', form)
    assert not foreign


@pytest.mark.parametrize(
    ("language", "one", "several"),
    [
        ("en", "1 <span>ECTS credit</span>", "1.5 <span>ECTS credits</span>"),
        ("is", "1 <span>ECTS-eining</span>", "1,5 <span>ECTS-einingar</span>"),
        ("nb", "1 <span>studiepoeng (ECTS)</span>", "1,5 <span>studiepoeng (ECTS)</span>"),
        ("en", "1 <span>day of a labour-market course</span>", "2 <span>days of a labour-market course</span>"),
    ],
)
async def test_one_is_called_as_one(language: str, one: str, several: str) -> None:
    catalogue = Catalogue()
    for number, workload in enumerate([("ects", "1"), ("ects", "1.5"), ("dk.amu_day", "1"), ("dk.amu_day", "2")], 5):
        catalogue.publish(number, UCL, "dk.micro_credential", workload=workload)
    found = (await get(f"/catalogue?lang={language}", served(catalogue))).text
    assert one in found
    assert several in found


async def test_the_language_goes_with_each_step_and_what_was_asked_goes_with_the_language() -> None:
    app = served()
    found = (await get("/catalogue?lang=nb&country=DK", app)).text
    assert '<input type="hidden" name="lang" value="nb">' in found
    assert f'href="/catalogue/{uuid(1)}?lang=nb"' in found
    assert 'href="?country=DK&amp;lang=sv"' in found
    assert 'href="/v1/catalogue?country=DK"' in found, "machines need no language"
    one = (await get(f"/catalogue/{uuid(1)}?lang=nb", app)).text
    assert 'href="/catalogue?lang=nb"' in one
    assert 'href="?lang=sv"' in one
    plain = (await get("/catalogue", app)).text
    assert 'name="lang"' not in plain
    assert f'href="/catalogue/{uuid(1)}"' in plain


@pytest.mark.parametrize(
    ("asked", "reason", "field", "told"),
    [
        ("lang=xx", "UNKNOWN_LANGUAGE", "lang", ": nb, nn, se, da, sv, is, en"),
        ("level=xx", "UNKNOWN_LEVEL", "level", "no.nkr"),
        ("level=no.nkr:9", "UNKNOWN_LEVEL", "level", "4A, 4B, 5.1"),
        ("level=:", "UNKNOWN_LEVEL", "level", "no.nkr:5.1"),
        ("provider=0184:99999999", "UNKNOWN_PROVIDER", "provider", "a provider in this registry"),
        ("country=XX", "UNKNOWN_COUNTRY", "country", ", NO"),
        ("kind=no.micro_credentail", "UNKNOWN_KIND", "kind", "no.micro_credential"),
        ("unit=ectss", "UNKNOWN_UNIT", "unit", "ects"),
        ("text=klima%00", "CONTROL_CHARACTER", "text", "without control characters"),
        ("text=klima%0Aregnskab", "CONTROL_CHARACTER", "text", "without control characters"),
        ("text=%C2%85", "CONTROL_CHARACTER", "text", "without control characters"),
        ("provider=0184:30859480%00", "CONTROL_CHARACTER", "provider", "without control characters"),
        ("level=no.nkr:5.1%00", "CONTROL_CHARACTER", "level", "no.nkr:5.1"),
        *(
            (f"{name}=%00", "BAD_FIELD", name, TEXTS["en"]["rules"][name])
            for name in ("country", "kind", "eqf", "field", "unit", "min_points")
        ),
        ("after=%00", "BAD_UUID", "after", "as it was in the answer before"),
        ("limit=-1", "BAD_FIELD", "limit", "a whole number from 1 to 100"),
        ("limit=0", "BAD_FIELD", "limit", "a whole number from 1 to 100"),
        ("limit=101", "BAD_FIELD", "limit", "a whole number from 1 to 100"),
        ("limit=abc", "BAD_FIELD", "limit", "a whole number from 1 to 100"),
        ("limit=%00", "BAD_FIELD", "limit", "a whole number from 1 to 100"),
        ("limit=", "BAD_FIELD", "limit", "a whole number from 1 to 100"),
        ("levle=5", "UNKNOWN_PARAMETER", "levle", "level"),
        ("min_points=5&max_points=2,5", "BAD_RANGE", "min_points", "not larger than the size to"),
    ],
)
async def test_what_is_no_search_is_refused_on_a_page_by_field_rule_and_remedy(
    asked: str, reason: str, field: str, told: str
) -> None:
    app = served()
    page = await get(f"/catalogue?{asked}", app)
    assert (page.status, page.header("Content-Type")) == (400, "text/html; charset=utf-8")
    for words in (reason, f"<dd>{field}</dd>", "<dt>Rule</dt>", "<dt>What to do</dt>", told):
        assert words in html.unescape(page.text)
    if field != "lang":
        machine = await call(app, f"/v1/catalogue?{asked}")
        said = json.loads(machine.body)
        assert (machine.status, said["reason"], said["field"]) == (400, reason, field)
        assert said["rule"]
        assert said["remedy"]


@pytest.mark.parametrize("language", TEXTS)
@pytest.mark.parametrize(
    ("asked", "about", "known"),
    [
        ("country=XX", "country", ": DK, "),
        ("country=dk", "country", ""),
        ("kind=none", "kind", ", dk.micro_credential, "),
        ("unit=none", "unit", ": dk."),
        ("level=no.nkr:9", "level", "4A, 4B, 5.1"),
        ("limit=0", "limit", ""),
        ("text=%00", "text", ""),
        ("levle=5", "parameter", ": text, country, "),
        ("min_points=5&max_points=2", "range", ""),
    ],
)
async def test_a_refusal_is_in_the_page_s_language(language: str, asked: str, about: str, known: str) -> None:
    app, texts = served(), TEXTS[language]
    for address, preferred in ((f"{asked}&lang={language}", "fr"), (asked, language)):
        page = await get(f"/catalogue?{address}", app, **{"Accept-Language": preferred})
        assert (page.status, page.header("Content-Language")) == (400, language)
        assert f'<html lang="{language}">' in page.text
        for label in ("field", "rule", "what_to_do", "reason"):
            assert f"<dt>{texts['refusal'][label]}</dt>" in page.text
        said = html.unescape(page.text)
        assert f"<dd>{texts['rules'][about]}" in said
        assert f"<dd>{texts['refusal']['remedy']}</dd>" in said
        assert known in said
        assert (page.header("Cache-Control"), page.header("Vary")) == ("no-store", "Accept, Accept-Language")
    # The switch to another language leads to the same refusal.
    other = "sv" if language != "sv" else "nb"
    assert f'href="?{asked.replace(":", "%3A")}&lang={other}"' in said


async def test_what_is_not_in_the_catalogue_is_told_in_the_page_s_language() -> None:
    page = await get(f"/catalogue/{uuid(99)}?lang=se")
    assert (page.status, page.header("Content-Language")) == (404, "nb")
    assert TEXTS["nb"]["rules"]["achievement_id"] in page.text
    assert 'href="/catalogue?lang=se"' in page.text


async def test_programs_that_ask_for_the_page_are_refused_as_programs() -> None:
    answer = await call(served(), "/catalogue?country=XX&lang=nb")
    assert (answer.status, answer.header("Content-Type")) == (400, "application/problem+json")
    assert json.loads(answer.body)["metadata"]["known"].startswith("DK, ")


async def test_a_page_has_as_many_as_are_asked_for_and_so_have_those_that_follow() -> None:
    app = served()
    found = (await get("/catalogue?lang=nb&limit=3", app)).text
    assert re.findall(r'href="/catalogue/([0-9a-f-]+)\?', found) == [uuid(1), uuid(2), uuid(3)]
    assert f'<a rel="next" href="/catalogue?limit=3&amp;after={uuid(3)}&amp;lang=nb"' in found
    assert 'href="?limit=3&amp;lang=sv"' in found
    rest = (await get(f"/catalogue?lang=nb&limit=3&after={uuid(3)}", app)).text
    assert re.findall(r'href="/catalogue/([0-9a-f-]+)\?', rest) == [uuid(4)]
    assert json.loads((await call(app, "/v1/catalogue?limit=3")).body)["after"] == uuid(3)


@pytest.mark.parametrize(
    "asked", ["country=SE", "kind=is.fagbref", "unit=is.fein", "text=protokoll%C2%A0", "kind=", "unit="]
)
async def test_what_rules_have_and_nobody_offers_is_an_answer(asked: str) -> None:
    app = served()
    assert (await get(f"/catalogue?{asked}", app)).status == 200
    assert (await call(app, f"/v1/catalogue?{asked}")).status == 200


async def test_programs_choose_no_language() -> None:
    answer = await call(served(), "/v1/catalogue?lang=nb")
    assert (answer.status, json.loads(answer.body)["reason"]) == (400, "UNKNOWN_PARAMETER")


async def test_a_level_that_there_is_finds_what_is_at_it() -> None:
    found = json.loads((await call(served(), "/v1/catalogue?level=no.nkr:5.1")).body)
    assert [one["id"] for one in found["achievements"]] == [uuid(3)]
    assert json.loads((await call(served(), "/v1/catalogue?level=no.nkr:8")).body)["achievements"] == []


@pytest.mark.parametrize(
    ("language", "number", "kind", "iceland"),
    [
        ("nb", "1,25", "Mikrokvalifikasjon", "Bevis på kompetanse etter jobbkriterier"),
        ("nn", "1,25", "Mikrokvalifikasjon", "Bevis på kompetanse etter jobbkriterium"),
        ("da", "1,25", "Micro-credential", "Bevis for kompetence efter jobkriterier"),
        ("sv", "1,25", "Mikromerit", "Bevis om kompetens enligt yrkeskriterier"),
        ("is", "1,25", "Örnám", "Fagbréf atvinnulífsins"),
        ("en", "1.25", "Micro-credential", "Certificate of competence against job criteria"),
    ],
)
async def test_numbers_and_kinds_are_in_the_page_s_language(
    language: str, number: str, kind: str, iceland: str
) -> None:
    app = served()
    for path in ("/catalogue", f"/catalogue/{uuid(1)}"):
        found = (await get(f"{path}?lang={language}", app, **{"Accept-Language": "en"})).text
        assert re.search(rf"\b{re.escape(number)} <span", found)
        assert f"<span>{kind}</span>" in found
    form = (await get(f"/catalogue?lang={language}", app)).text
    assert f'<option value="is.fagbref">{iceland}</option>' in form
    assert '<option value="no.vitnemal"' in form


async def test_a_number_may_be_written_as_the_page_writes_it() -> None:
    app = served()
    for written in ("1,25", "1.25"):
        found = (await get(f"/catalogue?lang=nb&min_points={written}&max_points={written}", app)).text
        assert re.findall(r'href="/catalogue/([0-9a-f-]+)\?', found) == [uuid(1)]
        assert 'name="min_points" value="1,25"' in found
    assert 'name="min_points" value="1.25"' in (await get("/catalogue?lang=en&min_points=1,25", app)).text


async def test_providers_are_chosen_by_name_among_those_with_achievements() -> None:
    catalogue = Catalogue()
    catalogue.chronicle.provider("0192:310100005", name=[text("Nobody's"), text("Ingens", "nb")])
    app = served(catalogue)

    async def offered(asked: str) -> list[tuple[str, str, bool]]:
        select = re.search(r'<select id="provider".*?</select>', (await get(f"/catalogue{asked}", app)).text, re.DOTALL)
        assert select is not None
        return [
            (value, name, bool(selected))
            for value, selected, name in re.findall(r'<option value="([^"]+)"( selected)?[^>]*>([^<]*)<', select[0])
        ]

    names = {FAGSKOLE: "School 001", UCL: "School 480", UIO: "School 854"}
    assert await offered("") == [(one, name, False) for one, name in names.items()]
    assert await offered(f"?provider={UCL}") == [(one, name, one == UCL) for one, name in names.items()]
    found = (await get(f"/catalogue?provider={UCL}", app)).text
    assert re.findall(r'href="/catalogue/([0-9a-f-]+)"', found) == [uuid(1), uuid(4)]
    catalogue.publish(9, "0192:310100005", "no.micro_credential")
    assert [name for _, name, _ in await offered("?lang=nb")] == ["Ingens", *names.values()]
    # What an address asks for is what the form asks for again.
    assert ("0192:310100005", "Ingens", True) in await offered("?lang=nb&provider=0192:310100005")
