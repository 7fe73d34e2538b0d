"""What tests in a browser look with: axe, screenshots, the keyboard."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit

from services.portal.texts import LANGUAGES
from vitne.dev.stack import Stack

if TYPE_CHECKING:
    from playwright.async_api import Page

ROOT: Final = Path(__file__).resolve().parents[2]
SCREENSHOTS: Final = ROOT / "build" / "screenshots"
#: CSS pixels. 320 is also what 1280 come to at 400 % (WCAG 2.2, success criterion 1.4.10).
DESK: Final = {"width": 1280, "height": 800}
PHONE: Final = {"width": 320, "height": 640}
#: Every rule, those that axe leaves out by itself too: size of targets (WCAG 2.2, success criterion 2.5.8).
_AXE: Final = {"resultTypes": ["violations"], "rules": {"target-size": {"enabled": True}}}
#: A browser's own size of text, in CSS pixels.
_FONT_SIZE: Final = 16
#: CSS pixels that what is pressed is high, at least (WCAG 2.2, success criterion 2.5.5); links in a text are excepted.
TARGET: Final = 44
_SMALL: Final = f"""
[...document.querySelectorAll("button, .button, summary, header a, .choice label, select, input[type=text]")]
    .map((one) => [one.innerText || one.name, one.getBoundingClientRect()])
    .filter(([, box]) => box.height > 0 && Math.round(box.height) < {TARGET})
    .map(([name, box]) => `${{name}}: ${{box.height}} px`)
"""
#: Tabs until something has to have been reached.
_TABS: Final = 80


async def assert_accessible(page: Page) -> None:
    """Axe finds nothing on the page, and nothing of it sticks out sideways."""
    from axe_playwright_python.async_playwright import Axe  # noqa: PLC0415 - only `make test-browser` has it

    found: dict[str, Any] = (await Axe().run(page, options=_AXE)).response
    told = [
        f"{one['id']} ({one['help']}): {node['html'][:200]}: {node['failureSummary']}"
        for one in found["violations"]
        for node in one["nodes"]
    ]
    assert told == [], f"{page.url}: " + "\n".join(told)
    await assert_fits(page)
    assert await page.evaluate(_SMALL) == [], f"{page.url}: less than {TARGET} px high"


async def assert_fits(page: Page) -> None:
    """Nothing of the page sticks out sideways."""
    wide = await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide <= 0, f"{page.url} is {wide} px too wide"


async def assert_fits_enlarged(page: Page) -> None:
    """The same with text twice as large, as a reader sets it in her browser (WCAG 2.2, success criterion 1.4.4)."""
    session = await page.context.new_cdp_session(page)
    await session.send("Page.setFontSizes", {"fontSizes": {"standard": 2 * _FONT_SIZE}})
    await assert_fits(page)
    await session.send("Page.setFontSizes", {"fontSizes": {"standard": _FONT_SIZE}})
    await session.detach()


async def photograph(page: Page, name: str) -> Path:
    """The whole page as a picture in ``build/screenshots``."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    size = page.viewport_size
    assert size is not None
    language = await page.locator("html").get_attribute("lang")
    path = SCREENSHOTS / f"{name}-{language}-{size['width']}.png"
    await page.screenshot(path=path, full_page=True)
    return path


async def look(page: Page, name: str) -> None:
    """Look at the page where it is, in every language, at a desk's width and at a phone's.

    It must be one that GET leads to. Afterwards it is what it was, in its language too. What is folded is looked at
    unfolded.
    """
    size, spoken = page.viewport_size, await page.locator("html").get_attribute("lang")
    before = in_language(page.url, spoken or "")
    for language in LANGUAGES:
        await page.goto(in_language(before, language))
        assert await page.locator("html").get_attribute("lang") == language
        for viewport in (DESK, PHONE):
            await page.set_viewport_size(viewport)
            await photograph(page, name)
            if viewport is DESK:
                await assert_fits_enlarged(page)
        await page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
        await assert_accessible(page)
    await page.set_viewport_size(size)
    await page.goto(before)


async def look_here(page: Page, name: str) -> None:
    """Look at a page that no address leads back to: in the language that it is in, at both widths."""
    size = page.viewport_size
    for viewport in (DESK, PHONE):
        await page.set_viewport_size(viewport)
        await photograph(page, name)
        await assert_accessible(page)
    await page.set_viewport_size(size)


def in_language(address: str, language: str) -> str:
    """An address with the parameter that chooses a language."""
    parts = urlsplit(address)
    query = [(name, value) for name, value in parse_qsl(parts.query) if name != "lang"]
    return parts._replace(query=urlencode([*query, ("lang", language)])).geturl()


async def log_in(page: Page, stack: Stack, national_id: str) -> None:
    """Log a synthetic learner in by what is on the screen; ends on her page."""
    await page.goto(f"{stack.portal_url}/login?with=id-porten")
    await page.locator(f'button[value="{national_id}"]').click()
    await page.wait_for_url(re.compile(r"/me$"))


async def tab_to(page: Page, text: str) -> None:
    """Press Tab until what has the focus is called ``text``."""
    seen = []
    for _ in range(_TABS):
        await page.keyboard.press("Tab")
        seen.append(await page.evaluate("document.activeElement.innerText.trim()"))
        if seen[-1] == text:
            return
    raise AssertionError(f"{text!r} can't be reached by keyboard; these can: {seen}")


async def press(page: Page, text: str) -> None:
    """Reach what is called ``text`` by keyboard alone, and press it."""
    await tab_to(page, text)
    await page.keyboard.press("Enter")


async def tab_to_field(page: Page, name: str) -> None:
    """Press Tab until the field of this name has the focus."""
    for _ in range(_TABS):
        await page.keyboard.press("Tab")
        if await page.evaluate("document.activeElement.name") == name:
            return
    raise AssertionError(f"the field {name} can't be reached by keyboard")
