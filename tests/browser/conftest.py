"""A real browser, and what it looks at."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from tests.browser.support import DESK, log_in
from tests.unit.asgi import call
from tools import chromium as browsers
from vitne.dev.demo import Demo
from vitne.dev.stack import Stack

if TYPE_CHECKING:
    from playwright.async_api import Browser, BrowserContext, Page, Route

#: Where :func:`serve` has its application.
SERVED = "https://portal.test"
NewPage = Callable[..., Awaitable["Page"]]

if importlib.util.find_spec("playwright") is None:  # installed by `make test-browser` alone
    collect_ignore_glob = ["test_*.py"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.stack)
            # The first of them waits for all services to start.
            item.add_marker(pytest.mark.timeout(600))


@pytest.fixture(scope="session")
async def chromium() -> AsyncIterator[Browser]:
    """Headless Chromium."""
    from playwright.async_api import async_playwright  # noqa: PLC0415

    path = browsers.find()
    assert path is not None, "no Chromium is on the PATH: python -m tools.chromium"
    # Its own sandbox needs a user other than root.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=arguments)
        yield browser
        await browser.close()


@pytest.fixture
async def new_page(chromium: Browser, request: pytest.FixtureRequest) -> AsyncIterator[NewPage]:
    """Makes a page in a context of its own. What it loads from elsewhere and what its policy stops fails the test."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    async def make(**options: Any) -> Page:
        context = await chromium.new_context(**{"locale": "nb-NO", "viewport": DESK, **options})
        contexts.append(context)
        # A machine that does other things, too, is slow and no failure.
        context.set_default_timeout(60_000)
        context.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        context.on("request", lambda asked: complaints.append(asked.url) if _foreign(asked.url) else None)
        return await context.new_page()

    yield make
    for context in contexts:
        await context.close()
    allowed = request.node.get_closest_marker("refuses")
    # A browser tells of each page that is answered with an error; where a test wants one, that is no complaint.
    told = [one for one in complaints if not (allowed and one.startswith("Failed to load resource"))]
    assert told == []


def _foreign(address: str) -> bool:
    parts = urlsplit(address)
    ours = ("127.0.0.1", "localhost", urlsplit(SERVED).hostname)
    return parts.scheme in ("http", "https") and parts.hostname not in ours


@pytest.fixture
async def learner(new_page: NewPage, stack: Stack, world: Demo) -> Page:
    """A page on which the demonstration's learner is logged in."""
    page = await new_page()
    await log_in(page, stack, world.learner.value)
    return page


@pytest.fixture
def serve() -> Callable[[Page, Any], Awaitable[None]]:
    """Serves an ASGI application to a page, at :data:`SERVED`; cookies are the browser's."""

    async def start(page: Page, app: Any) -> None:
        async def answer(route: Route) -> None:
            asked = route.request
            parts = urlsplit(asked.url)
            form = asked.post_data_buffer or b"" if asked.method == "POST" else None
            path = f"{parts.path}?{parts.query}" if parts.query else parts.path
            answered = await call(app, path, form=form, headers=await asked.all_headers(), method=asked.method)
            await route.fulfill(status=answered.status, headers=dict(answered.headers), body=answered.body)

        await page.route(f"{SERVED}/**", answer)

    return start
