"""A credential goes over to a wallet, in a browser: the button, the code, what is not offered, also without script."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from services.portal.texts import TEXTS
from services.portal.wiring import MIGRATIONS
from tests.browser.conftest import SERVED, NewPage
from tests.browser.support import look, look_here
from tests.integration.portal_pages import Learner, Portal
from tests.integration.test_portal_wallet import Registry
from vitne.dev.postgres import EmbeddedPostgres
from vitne.runtime.database import open_pool
from vitne.runtime.migrations import migrate

if TYPE_CHECKING:
    from playwright.async_api import Page

Serve = Callable[["Page", Any], Awaitable[None]]
WORDS = TEXTS["nb"]["wallet"]


@pytest.fixture(scope="module")
async def portal(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Portal]:
    dsn = await postgres.create_database(f"browser_wallet_{uuid4().hex}")
    await migrate(dsn, MIGRATIONS)
    pool = await open_pool(dsn)
    portal = Portal(pool, tmp_path_factory.mktemp("portal"), SERVED)
    portal.registry = Registry()
    portal.restart()
    yield portal
    pool.terminate()


async def page_of(kari: Learner, new_page: NewPage, serve: Serve, **options: Any) -> Page:
    page = await new_page(**options)
    for name, value in kari.cookies.items():
        await page.context.add_cookies([{"name": name, "value": value, "url": SERVED, "secure": True}])
    await serve(page, kari.portal.app)
    return page


@pytest.mark.parametrize("script", [True, False], ids=["script", "no-script"])
async def test_she_gets_a_code_and_can_end_it(portal: Portal, new_page: NewPage, serve: Serve, script: bool) -> None:
    kari = await portal.learner()
    handle = await kari.hold("Truckførerbevis")
    page = await page_of(kari, new_page, serve, java_script_enabled=script)
    await page.goto(f"{SERVED}/me/credentials/{handle}")
    await page.get_by_role("link", name=WORDS["put"]).click()
    wallet = f"{SERVED}/me/credentials/{handle}/wallet?lang=nb"  # each look ends in another language
    if script:
        await look(page, "wallet")
        await page.goto(wallet)
    await page.get_by_role("button", name=WORDS["put"]).click()
    picture = page.get_by_role("img", name=WORDS["qr"])
    box = await picture.locator("svg").bounding_box()
    assert box is not None
    assert box["width"] > 100
    link = await page.locator("#link").get_attribute("href")
    assert link is not None
    assert link.startswith("openid-credential-offer://?credential_offer_uri=")
    assert (await page.locator("#code").inner_text()).isdecimal()
    if script:
        await look(page, "wallet-code")
        await page.goto(wallet)
    await page.get_by_role("button", name=WORDS["end"]).click()
    assert await page.locator("#code").count() == 0
    assert WORDS["none_taken"] in await page.locator("main").inner_text()


@pytest.mark.refuses
async def test_what_is_not_offered_says_so(portal: Portal, new_page: NewPage, serve: Serve) -> None:
    kari = await portal.learner()
    handle = await kari.hold()
    await portal.pool.execute("UPDATE credential SET status = 'suspended' WHERE handle = $1", handle)
    page = await page_of(kari, new_page, serve)
    await page.goto(f"{SERVED}/me/credentials/{handle}/wallet")
    assert WORDS["obstacles"]["not_valid"] in await page.locator("main").inner_text()
    assert await page.get_by_role("button", name=WORDS["put"]).count() == 0
    await look_here(page, "wallet-not-offered")
