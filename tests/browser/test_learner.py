"""The learner's own pages, as a browser shows them."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import pytest

from services.portal.texts import LANGUAGES, TEXTS
from services.portal.web.frame import LOGGED_OUT
from tests.browser.conftest import SERVED, NewPage
from tests.browser.support import PHONE, look, look_here, tab_to
from tests.unit.portal_samples import STATES, handle
from tests.unit.portal_site import Registry, answer, learner_site
from vitne.dev.demo import Demo
from vitne.dev.stack import Stack

if TYPE_CHECKING:
    from playwright.async_api import Page

Serve = Callable[["Page", Any], Awaitable[None]]


@pytest.fixture
async def gallery(new_page: NewPage, serve: Serve) -> Page:
    """A page of a learner who has credentials in every state."""
    page = await new_page()
    await page.context.add_cookies([{"name": "__Host-vitne_session", "value": "secret", "url": SERVED, "secure": True}])
    await serve(page, learner_site(list(STATES.values()), Registry(answer())))
    return page


async def test_the_front_page(new_page: NewPage, serve: Serve) -> None:
    page = await new_page()
    await serve(page, learner_site([], None))
    await page.goto(SERVED)
    await look(page, "front")
    for language, name in LANGUAGES.items():  # the switch needs neither script nor cookie
        await page.get_by_role("link", name=name, exact=True).click()
        assert await page.title() == f"{TEXTS[language]['front_title']} – Vitne"
        assert await page.context.cookies() == []


async def test_the_page_about_privacy_before_a_log_in(new_page: NewPage, serve: Serve) -> None:
    page = await new_page()
    await serve(page, learner_site([], None))
    await page.goto(SERVED)
    await page.locator("main").get_by_role("link", name=TEXTS["nb"]["privacy_title"]).click()
    assert await page.title() == f"{TEXTS['nb']['privacy_title']} – Vitne"
    await look(page, "privacy-open")


async def test_a_log_in_that_is_over(new_page: NewPage, serve: Serve) -> None:
    page = await new_page()
    await serve(page, learner_site([], None))
    await page.goto(f"{SERVED}/?{LOGGED_OUT}=1")
    assert TEXTS["nb"]["logged_out"] in await page.locator("main").inner_text()
    await look(page, "logged-out")


async def test_the_choice_of_log_in(new_page: NewPage, serve: Serve) -> None:
    page = await new_page()
    await serve(page, learner_site([], None))
    await page.goto(f"{SERVED}/login")
    await look(page, "log-in")


async def test_her_page(gallery: Page) -> None:
    await gallery.goto(f"{SERVED}/me")
    await look(gallery, "me")


async def test_her_page_before_she_is_registered(gallery: Page, serve: Serve) -> None:
    await gallery.unroute_all()
    await serve(gallery, learner_site([], None, registered=False))
    await gallery.goto(f"{SERVED}/me")
    await look(gallery, "me-not-registered")


async def test_the_timeline(gallery: Page) -> None:
    await gallery.goto(f"{SERVED}/me/timeline")
    await look(gallery, "timeline")


async def test_a_credential_with_everything(gallery: Page) -> None:
    await gallery.goto(f"{SERVED}/me/credentials/{handle('whole')}")
    await look(gallery, "credential")


@pytest.mark.parametrize("state", sorted(STATES.keys() - {"whole"}))
async def test_a_credential_in_each_other_state(gallery: Page, state: str) -> None:
    await gallery.goto(f"{SERVED}/me/credentials/{handle(state)}")
    await look_here(gallery, f"credential-{state}")


@pytest.mark.refuses
async def test_an_address_that_there_is_not(gallery: Page) -> None:
    await gallery.goto(f"{SERVED}/no/such/page")
    await look(gallery, "no-such-page")


async def test_by_keyboard_alone(new_page: NewPage, stack: Stack, world: Demo) -> None:
    """Log in, skip to the content, open a credential, come back, choose a language, log out."""
    page = await new_page()
    await page.goto(stack.portal_url)
    await tab_to(page, TEXTS["nb"]["skip"])
    await tab_to(page, TEXTS["nb"]["log_in"])
    await page.keyboard.press("Enter")
    await page.wait_for_url(f"{stack.portal_url}/login")
    await tab_to(page, TEXTS["nb"]["log_in_with"].format(provider="ID-porten"))
    await page.keyboard.press("Enter")
    name = await page.locator(f'button[value="{world.learner.value}"]').inner_text()
    await tab_to(page, name)
    await page.keyboard.press("Enter")
    await page.wait_for_url(f"{stack.portal_url}/me")
    await tab_to(page, TEXTS["nb"]["skip"])
    await page.keyboard.press("Enter")
    title = await page.locator("main h3 a:visible").first.inner_text()
    await tab_to(page, title)
    focus = await page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert focus == "solid", "who uses the keyboard sees where she is"
    await page.keyboard.press("Enter")
    await page.wait_for_url(re.compile("/me/credentials/"))
    assert await page.locator("h1").inner_text() == title
    await tab_to(page, "Davvisámegiella")
    await page.keyboard.press("Enter")
    await page.wait_for_url(re.compile("lang=se"))
    await tab_to(page, TEXTS["se"]["back_to_credentials"])
    await page.keyboard.press("Enter")
    await page.wait_for_url(f"{stack.portal_url}/me")
    assert await page.locator("h1").inner_text() == TEXTS["se"]["me_title"], "the language is kept"
    await tab_to(page, TEXTS["se"]["log_out"])
    await page.keyboard.press("Enter")
    await page.get_by_role("link", name=TEXTS["se"]["log_in"], exact=True).wait_for()
    assert [
        cookie["name"] for cookie in await page.context.cookies(stack.portal_url) if "session" in cookie["name"]
    ] == []


async def test_on_a_phone_without_javascript(new_page: NewPage, stack: Stack, world: Demo) -> None:
    page = await new_page(java_script_enabled=False, viewport=PHONE)
    await page.goto(stack.portal_url)
    await page.get_by_role("link", name=TEXTS["nb"]["log_in"], exact=True).click()
    await page.get_by_role("link", name=TEXTS["nb"]["log_in_with"].format(provider="Feide")).click()
    await page.locator(f'button[value="{world.learner.value}"]').click()
    await page.wait_for_url(f"{stack.portal_url}/me")
    folded = page.locator("main details:not([open]) > summary").first
    await folded.click()
    inside = page.locator("main details[open] a").first
    await inside.click()
    await page.wait_for_url(re.compile("/me/credentials/"))
    await page.locator("header summary:visible", has_text=TEXTS["nb"]["menu"]).click()
    await page.get_by_role("link", name=TEXTS["nb"]["nav_timeline"]).click()
    assert await page.locator(".timeline li").count() > 1


async def test_what_the_stack_issued(learner: Page) -> None:
    """Her page and one of its credentials, as the services really answer."""
    await look_here(learner, "stack-me")
    await learner.locator("main h3 a:visible").first.click()
    await learner.wait_for_url(re.compile("/me/credentials/"))
    assert await learner.locator(".chain li").count() == 3, "authority, provider, learner"
    await look_here(learner, "stack-credential")
