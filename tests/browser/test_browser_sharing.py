"""Sharing and employers in a browser: share, open as a stranger, wrong code five times, withdraw, who sees what."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from services.portal.employers.store import Employers
from services.portal.texts import TEXTS
from services.portal.wiring import MIGRATIONS
from tests.browser.conftest import SERVED, NewPage
from tests.browser.support import assert_accessible, look, photograph, tab_to
from tests.integration.portal_pages import Learner, Portal
from tests.integration.test_portal_employers import HOSPITAL, Office, agree
from vitne.dev.postgres import EmbeddedPostgres
from vitne.runtime.database import migrate, open_pool
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
    await photograph(page, "share-made")
    await assert_accessible(page)


async def test_she_shares_by_keyboard_alone(flow: Flow) -> None:
    _, page = await flow.learner()
    await page.goto(f"{SERVED}/me/shares")
    await tab_to(page, T["share"]["new"])
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/me/shares/new")
    for _ in range(40):
        await page.keyboard.press("Tab")
        if await page.evaluate("document.activeElement.name") == "pick":
            break
    await page.keyboard.press("Space")
    await tab_to(page, T["share"]["make"])
    await page.keyboard.press("Enter")
    await page.locator("#code").wait_for()


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
    await photograph(stranger, "share-code-wrong")
    await assert_accessible(stranger)
    for _ in range(2):
        await enter(stranger, link, "222222")
    assert T["refused"]["SHARE_LOCKED"] in await stranger.locator("main").inner_text()
    await stranger.goto(link)
    assert T["refused"]["SHARE_LOCKED"] in await stranger.locator("main").inner_text()
    await photograph(stranger, "share-locked")
    await assert_accessible(stranger)
    await page.goto(f"{SERVED}/me/shares")
    await page.get_by_role("button", name=T["share"]["replace"]).click()
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
    flow.portal.verifier.verdict = verifier_pb2.VERDICT_REVOKED
    await enter(stranger, link, code)
    assert T["verdicts"]["revoked"] in await stranger.locator("main").inner_text()
    await photograph(stranger, "shared-revoked")
    await assert_accessible(stranger)
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


async def test_an_invitation(flow: Flow) -> None:
    office = await flow.page((await Office.of(flow.portal, HOSPITAL)).cookies)
    await office.goto(f"{SERVED}/employer")
    await office.get_by_role("button", name=T["employer"]["invite"]).click()
    invitation = await office.locator("#invitation").get_attribute("href")
    assert invitation is not None
    _, page = await flow.learner()
    stranger = await flow.page()
    await stranger.goto(invitation)
    await look(stranger, "invitation-unknown")
    await page.goto(invitation)
    await look(page, "invitation")


async def test_who_sees_what(flow: Flow) -> None:
    portal = flow.portal
    office = await Office.of(portal, HOSPITAL)
    kari, page = await flow.learner()
    token = await Employers(portal.pool, portal.store).invite(HOSPITAL, portal.clock.now())
    await agree(kari, f"/invitation/{token}", await kari.hold("Livredning"))
    desk = await flow.page(office.cookies)
    for seen, path, name in ((page, "/me/employers", "consents"), (desk, "/employer", "employer")):
        await seen.goto(f"{SERVED}{path}")
        assert "Livredning" in await seen.locator("main").inner_text()
        await photograph(seen, name)
        await assert_accessible(seen)
