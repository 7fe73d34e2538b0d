"""Sharing and employers in a browser: share, open as a stranger, wrong code five times, withdraw, who sees what."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from services.portal.grouping import PICKED_UNFOLDED
from services.portal.sharing.checking import FRESH_SECONDS
from services.portal.texts import TEXTS
from services.portal.wiring import MIGRATIONS
from tests.browser.conftest import SERVED, NewPage
from tests.browser.support import assert_accessible, look, look_here, press, tab_to_field
from tests.integration.portal_pages import Learner, Portal
from tests.integration.test_portal_employers import HOSPITAL, Office, agree
from vitne.dev.postgres import EmbeddedPostgres
from vitne.runtime.database import open_pool
from vitne.runtime.migrations import migrate
from vitne_api.verifier.v1 import verifier_pb2

if TYPE_CHECKING:
    from playwright.async_api import Page

Serve = Callable[["Page", Any], Awaitable[None]]
T = TEXTS["nb"]


@pytest.fixture(scope="module")
async def portal(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Portal]:
    dsn = await postgres.create_database(f"browser_{uuid4().hex}")
    await migrate(dsn, MIGRATIONS)
    pool = await open_pool(dsn)
    yield Portal(pool, tmp_path_factory.mktemp("portal"), SERVED)
    pool.terminate()


class Flow:
    """Pages of several people at one portal."""

    def __init__(self, portal: Portal, new_page: NewPage, serve: Serve) -> None:
        self.portal = portal
        self._new_page = new_page
        self._serve = serve

    async def page(self, cookies: dict[str, str] | None = None, **options: Any) -> Page:
        page = await self._new_page(**options)
        for name, value in (cookies or {}).items():
            await page.context.add_cookies([{"name": name, "value": value, "url": SERVED, "secure": True}])
        await self._serve(page, self.portal.app)
        return page

    async def learner(self, **options: Any) -> tuple[Learner, Page]:
        kari = await self.portal.learner()
        await kari.hold("Klimaregnskap for små bedrifter")
        await kari.hold("Truckførerbevis")
        return kari, await self.page(kari.cookies, **options)


@pytest.fixture
def flow(portal: Portal, new_page: NewPage, serve: Serve) -> Flow:
    portal.verifier.verdict = verifier_pb2.VERDICT_VALID
    return Flow(portal, new_page, serve)


async def share(page: Page) -> tuple[str, str]:
    """Share the first credential; link and code."""
    await page.goto(f"{SERVED}/me/shares/new")
    await page.get_by_label("Truckførerbevis").first.check()
    await page.get_by_role("button", name=T["share"]["make"]).click()
    link = await page.locator("#link").get_attribute("href")
    assert link is not None
    return link, await page.locator("#code").inner_text()


async def enter(page: Page, link: str, code: str) -> None:
    await page.goto(link)
    await page.get_by_label(T["share"]["code"]).fill(code)
    await page.get_by_role("button", name=T["shared"]["open"]).click()


@pytest.mark.parametrize("script", [True, False], ids=["script", "no-script"])
async def test_she_shares_and_a_stranger_opens_it(flow: Flow, script: bool) -> None:
    _, page = await flow.learner(java_script_enabled=script)
    link, code = await share(page)
    async with page.expect_download() as download:
        await page.get_by_role("button", name=T["share"]["pdf"]).click()
    assert (await (await download.value).path()).read_bytes().startswith(b"%PDF-")
    stranger = await flow.page(java_script_enabled=script)
    await enter(stranger, link, code.lower())
    assert T["verdicts"]["valid"] in await stranger.locator("main").inner_text()
    await stranger.get_by_text(T["shared"]["checks"]).click()
    if script:
        await assert_accessible(stranger)
        await look(stranger, "shared")
        await page.goto(f"{SERVED}/me/shares/new")
        await look(page, "share-new")
        await page.goto(f"{SERVED}/me/shares")
        await look(page, "shares")
    await page.goto(f"{SERVED}/me/shares?lang=nb")
    assert T["share"]["once"] in await page.locator("main").inner_text()


async def test_what_is_shown_once(flow: Flow) -> None:
    _, page = await flow.learner()
    await share(page)
    await look_here(page, "share-made")


async def test_what_may_be_withheld_is_seen_of_what_she_picks_alone(flow: Flow) -> None:
    kari, page = await flow.learner()
    for number in range(PICKED_UNFOLDED):
        await kari.hold(f"Kurs {number}", awarded_on=date(2020, 3, 1))
    await page.goto(f"{SERVED}/me/shares/new")
    await look(page, "share-new-many")
    await page.goto(f"{SERVED}/me/shares/new?lang=nb")
    assert await page.locator("fieldset:visible legend", has_text=T["share"]["show"]).count() == 0
    await page.get_by_label("Truckførerbevis").first.check()
    assert await page.locator("fieldset:visible legend", has_text=T["share"]["show"]).count() == 1
    await page.locator("summary", has_text="2020").click()
    await page.get_by_label("Kurs 7").first.check()
    await page.get_by_label(T["share"]["label"]).fill("Søknad hos Havnevesenet")
    await page.get_by_role("button", name=T["share"]["make"]).click()
    await page.locator("#code").wait_for()
    await page.goto(f"{SERVED}/me/shares")
    assert "Søknad hos Havnevesenet" in await page.locator("main h2").first.inner_text()


async def test_she_shares_by_keyboard_alone(flow: Flow) -> None:
    _, page = await flow.learner()
    await page.goto(f"{SERVED}/me/shares")
    await look(page, "shares-none")
    await press(page, T["share"]["new"])
    await page.wait_for_url("**/me/shares/new")
    await tab_to_field(page, "pick")
    await page.keyboard.press("Space")
    await press(page, T["share"]["make"])
    await page.locator("#code").wait_for()
    link, code = await page.locator("#link").get_attribute("href"), await page.locator("#code").inner_text()
    assert link is not None
    stranger = await flow.page()
    await stranger.goto(link)
    await tab_to_field(stranger, "code")
    await stranger.keyboard.type(code)
    await stranger.keyboard.press("Enter")
    await stranger.get_by_text(T["verdicts"]["valid"], exact=True).wait_for()
    await page.goto(f"{SERVED}/me/shares")
    await press(page, T["share"]["withdraw"])
    await press(page, T["confirm"].format(act=T["share"]["withdraw"]))
    await page.locator(".tag", has_text=T["share"]["states"]["withdrawn"]).wait_for()
    await look(page, "shares-withdrawn")


@pytest.mark.refuses
async def test_wrong_codes_lock_the_link(flow: Flow) -> None:
    _, page = await flow.learner()
    link, code = await share(page)
    stranger = await flow.page()
    await stranger.goto(link)
    await look(stranger, "share-code")
    for left in (4, 3, 2):
        await enter(stranger, link, "222222")
        assert T["shared"]["code_wrong"].format(count=left) in await stranger.locator("main").inner_text()
    await look_here(stranger, "share-code-wrong")
    for _ in range(2):
        await enter(stranger, link, "222222")
    assert T["refused"]["SHARE_LOCKED"] in await stranger.locator("main").inner_text()
    await stranger.goto(link)
    assert T["refused"]["SHARE_LOCKED"] in await stranger.locator("main").inner_text()
    await look(stranger, "share-locked")
    await page.goto(f"{SERVED}/me/shares")
    await page.get_by_role("link", name=T["share"]["replace"]).click()
    await look(page, "share-link")
    await page.get_by_role("button", name=T["confirm"].format(act=T["share"]["replace"])).click()
    fresh = await page.locator("#link").get_attribute("href")
    assert fresh is not None
    await enter(stranger, fresh, await page.locator("#code").inner_text())
    assert T["verdicts"]["valid"] in await stranger.locator("main").inner_text()
    assert code


@pytest.mark.refuses
async def test_revoked_is_shown_and_withdrawn_is_gone(flow: Flow) -> None:
    _, page = await flow.learner()
    link, code = await share(page)
    stranger = await flow.page()
    await enter(stranger, link, code)
    await stranger.get_by_text(T["verdicts"]["valid"], exact=True).wait_for()
    for verdict in ("revoked", "suspended", "invalid", "not_determinable"):
        flow.portal.verifier.verdict = verifier_pb2.Verdict.Value(f"VERDICT_{verdict.upper()}")
        flow.portal.clock.advance(timedelta(seconds=FRESH_SECONDS))
        await stranger.goto(f"{link}?lang=nb")
        assert T["verdicts"][verdict] in await stranger.locator("main").inner_text()
        if verdict == "revoked":
            await look(stranger, f"shared-{verdict}")
        else:
            await look_here(stranger, f"shared-{verdict}")
    await page.goto(f"{SERVED}/me/shares")
    await page.get_by_text(T["share"]["withdraw"], exact=True).click()
    await assert_accessible(page)
    await page.get_by_role("button", name=T["confirm"].format(act=T["share"]["withdraw"])).click()
    assert T["share"]["states"]["withdrawn"] in await page.locator("main").inner_text()
    await stranger.reload()
    assert T["refused"]["SHARE_WITHDRAWN"] in await stranger.locator("main").inner_text()


async def test_files(flow: Flow) -> None:
    _, page = await flow.learner()
    await page.goto(f"{SERVED}/me")
    await page.get_by_role("link", name="Truckførerbevis").first.click()
    await page.get_by_role("link", name=T["share"]["download"]).click()
    await look(page, "files")


async def test_an_invitation_by_keyboard_and_without_script(flow: Flow) -> None:
    office = await flow.page(java_script_enabled=False)
    await office.goto(f"{SERVED}/employer")
    assert T["employer"]["log_in"] in await office.locator("main").inner_text()
    await office.context.add_cookies(
        [
            {"name": name, "value": value, "url": SERVED, "secure": True}
            for name, value in (await Office.of(flow.portal, HOSPITAL)).cookies.items()
        ]
    )
    await office.reload()
    await press(office, T["employer"]["invite"])
    await office.locator("#invitation").wait_for()
    invitation = await office.locator("#invitation").get_attribute("href")
    assert invitation is not None
    _, page = await flow.learner(java_script_enabled=False)
    await page.goto(invitation)
    await tab_to_field(page, "pick")
    await page.keyboard.press("Space")
    await press(page, T["employer"]["yes"])
    await page.get_by_text(HOSPITAL.name).wait_for()
    await press(page, T["employer"]["end"])
    await page.get_by_text(T["employer"]["no_consents"]).wait_for()


async def test_each_page_about_employers(flow: Flow) -> None:
    portal = flow.portal
    kari, page = await flow.learner()
    desk = await flow.page()
    await desk.goto(f"{SERVED}/employer")
    await look(desk, "employer-front")
    desk = await flow.page((await Office.of(portal, HOSPITAL)).cookies)
    await desk.goto(f"{SERVED}/employer")
    await desk.get_by_role("button", name=T["employer"]["invite"]).click()
    await look_here(desk, "employer-invited")
    invitation = await desk.locator("#invitation").get_attribute("href")
    assert invitation is not None
    stranger = await flow.page()
    await stranger.goto(invitation)
    await look(stranger, "invitation-unknown")
    await page.goto(f"{SERVED}/me/employers")
    await look(page, "consents-none")
    await page.goto(invitation)
    await look(page, "invitation")
    await agree(kari, invitation.removeprefix(SERVED), await kari.hold("Livredning"))
    await page.goto(f"{SERVED}/me/employers")
    assert "Livredning" in await page.locator("main").inner_text()
    await look(page, "consents")
    await desk.goto(f"{SERVED}/employer")
    assert "Livredning" in await desk.locator("main").inner_text()
    await look(desk, "employer")


@pytest.mark.refuses
async def test_a_form_that_is_too_old(flow: Flow) -> None:
    _, page = await flow.learner()
    await page.goto(f"{SERVED}/me/shares/new")
    await page.evaluate("document.querySelectorAll('[name=csrf_token]').forEach((one) => { one.value = 'old' })")
    await page.get_by_role("button", name=T["share"]["make"]).click()
    assert T["refused"]["FORGED_FORM"] in await page.locator("main").inner_text()
    await look_here(page, "forged-form")
