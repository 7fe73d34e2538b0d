"""EMREX there and back in a browser, between two sites: what her browser lets through, and what she sees."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from services.portal.emrex.envelope import seal
from services.portal.texts import TEXTS
from services.portal.wiring import MIGRATIONS
from tests.browser.conftest import NewPage
from tests.browser.support import look, look_here, press, tab_to_field
from tests.integration.emrex_world import Traveller, served
from tests.integration.portal_pages import Learner, Portal
from tests.unit.emrex_samples import BORN, NUMBER, learner, sent_by_another
from vitne.dev.emrex import Leaving
from vitne.dev.postgres import EmbeddedPostgres
from vitne.runtime.database import open_pool
from vitne.runtime.migrations import migrate

if TYPE_CHECKING:
    from playwright.async_api import Page

T = TEXTS["nb"]
E = T["emrex"]


@pytest.fixture(scope="module")
async def portals(
    postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[Portal, Portal]]:
    dsn = await postgres.create_database(f"browser_{uuid4().hex}")
    await migrate(dsn, MIGRATIONS)
    pool = await open_pool(dsn)
    async with served(pool, tmp_path_factory.mktemp("portals")) as portals:
        yield portals
    pool.terminate()


@pytest.fixture
async def kari(portals: tuple[Portal, Portal]) -> tuple[Learner, Learner]:
    """Who she is at home, and abroad, where her browser is not logged in."""
    home, abroad = portals
    await home.pool.execute("TRUNCATE subscriber CASCADE")
    known, foreign = await home.learner(NUMBER), await abroad.learner(NUMBER)
    await known.hold("Hjemmefag", learner=learner())
    return known, foreign


async def opened(new_page: NewPage, known: Learner, **options: Any) -> Page:
    """Her imports, in a browser in which she is logged in at home."""
    page = await new_page(**options)
    for name, value in known.cookies.items():
        await page.context.add_cookies([{"name": name, "value": value, "url": known.portal.url}])
    await page.goto(f"{known.portal.url}/me/imports")
    return page


async def leave(page: Page) -> None:
    """Choose the data provider, and follow the form to it."""
    await page.get_by_label("XX-EMP").check()
    await page.get_by_role("button", name=E["fetch_button"]).click()
    await page.get_by_role("button", name=E["go"].format(provider="XX-EMP")).click()
    await page.wait_for_url("**/emrex/results")


async def come_back(page: Page, title: str) -> None:
    """Log in abroad, choose, and follow the form back."""
    await page.get_by_role("link", name=T["log_in"]).click()
    await page.get_by_label(title).check()
    await page.get_by_role("button", name=E["prepare"]).click()
    await page.get_by_role("button", name=E["ready"].format(client="Klient <1>")).click()
    await page.wait_for_url("**/me/imports/*")


@pytest.mark.parametrize("script", [True, False], ids=["script", "no-script"])
async def test_there_and_back(new_page: NewPage, kari: tuple[Learner, Learner], script: bool) -> None:
    known, foreign = kari
    await foreign.hold("Utenlandsk fag", learner=learner())
    page = await opened(new_page, known, java_script_enabled=script)
    await leave(page)
    await come_back(page, "Utenlandsk fag")
    assert E["imported"] in await page.locator("main").inner_text()
    await page.get_by_role("button", name=E["keep"]).click()
    kept = await page.locator("main").inner_text()
    assert "Utenlandsk fag" in kept
    assert E["imported"] in kept
    await page.get_by_role("button", name=E["delete"]).click()
    assert E["none"] in await page.locator("main").inner_text()


async def test_there_and_back_by_keyboard_alone(new_page: NewPage, kari: tuple[Learner, Learner]) -> None:
    known, foreign = kari
    await foreign.hold("Utenlandsk fag", learner=learner())
    page = await opened(new_page, known)
    await tab_to_field(page, "provider")
    await press(page, E["fetch_button"])
    await page.wait_for_url("**/me/imports/*")
    await press(page, E["go"].format(provider="XX-EMP"))
    await page.wait_for_url("**/emrex/results")
    await press(page, T["log_in"])
    await page.get_by_label("Utenlandsk fag").wait_for()
    await tab_to_field(page, "pick")
    await page.keyboard.press("Space")
    await press(page, E["prepare"])
    await page.get_by_text(E["ready_title"]).first.wait_for()
    await press(page, E["ready"].format(client="Klient <1>"))
    await page.wait_for_url("**/me/imports/*")
    await press(page, E["keep"])
    await page.get_by_text(E["file"]).wait_for()


async def test_each_page_in_each_language(new_page: NewPage, kari: tuple[Learner, Learner]) -> None:
    known, foreign = kari
    await foreign.hold("Utenlandsk fag", learner=learner(given_name="Karianne", family_name="Gift"))
    page = await opened(new_page, known)
    await look(page, "imports")
    await page.get_by_label("XX-EMP").check()
    await page.get_by_role("button", name=E["fetch_button"]).click()
    await look(page, "import-go")
    await page.get_by_role("button", name=E["go"].format(provider="XX-EMP")).click()
    await look(page, "emrex-log-in")
    await page.get_by_role("link", name=T["log_in"]).click()
    await page.get_by_label("Utenlandsk fag").wait_for()
    await look(page, "emrex-choose")
    await page.get_by_label("Utenlandsk fag").check()
    await page.get_by_role("button", name=E["prepare"]).click()
    await look_here(page, "emrex-answer")
    await page.get_by_role("button", name=E["ready"].format(client="Klient <1>")).click()
    await page.wait_for_url("**/me/imports/*")
    assert E["unsure"] in await page.locator("main").inner_text()
    await look(page, "import-unsure")
    await page.get_by_label(E["mine"]).check()
    await page.get_by_role("button", name=E["keep"]).click()
    await page.get_by_text(E["file"]).wait_for()
    await look(page, "imports-kept")


async def test_what_another_s_software_wrote(new_page: NewPage, kari: tuple[Learner, Learner], vectors: Path) -> None:
    """ELMO's own example, signed as it should be."""
    text = (vectors / "elmo" / "v1.7.0" / "example.xml").read_bytes().replace(b"1983-04-12", BORN.isoformat().encode())
    traveller = Traveller(*kari)
    request = await traveller.begin("ZZ")
    fields = {**request.fields, "returnCode": "NCP_OK", "returnMessage": "", "elmo": seal(sent_by_another(text))}
    address = await traveller.arrived(Leaving(f"{kari[0].portal.url}/emrex/return", fields))
    page = await opened(new_page, kari[0])
    await page.goto(f"{kari[0].portal.url}{address}")
    assert "University of Warsaw" in await page.locator("main").inner_text()
    await look(page, "import-of-others")


async def test_she_sends_nothing(new_page: NewPage, kari: tuple[Learner, Learner]) -> None:
    page = await opened(new_page, kari[0])
    await leave(page)
    await page.get_by_role("link", name=T["log_in"]).click()
    await page.get_by_text(E["no_results"]).wait_for()
    await look(page, "emrex-nothing")
    await page.get_by_role("button", name=E["leave"]).click()
    await page.wait_for_url("**/me/imports/*")
    assert E["codes"]["NCP_NO_RESULTS"] in await page.locator("main").inner_text()
    await look(page, "import-nothing")


@pytest.mark.refuses
async def test_results_are_sent_to_nobody_who_is_not_registered(
    new_page: NewPage, portals: tuple[Portal, Portal]
) -> None:
    page = await new_page()
    await page.goto(portals[1].url)
    await page.evaluate(
        """() => {
            const form = document.createElement("form");
            Object.assign(form, {method: "post", action: "/emrex"});
            form.innerHTML = '<input name="sessionId" value="0123456789abcdef"><input name="returnUrl" value="https://evil.example/">';
            document.body.append(form);
            form.submit();
        }"""
    )
    await page.get_by_text("RETURN_URL_NOT_REGISTERED").wait_for()
    assert T["refused"]["RETURN_URL_NOT_REGISTERED"] in await page.locator("main").inner_text()
    await look_here(page, "emrex-not-registered")
