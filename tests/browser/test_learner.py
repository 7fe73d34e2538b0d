"""The learner's own pages, as a browser shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.browser.conftest import NewPage
from tests.browser.support import assert_accessible, look, photograph
from vitne.dev.stack import Stack

if TYPE_CHECKING:
    from playwright.async_api import Page


async def test_the_front_page(new_page: NewPage, stack: Stack) -> None:
    page = await new_page()
    await page.goto(stack.portal_url)
    await look(page, "front")


async def test_her_page(learner: Page) -> None:
    await look(learner, "me")


@pytest.mark.refuses
async def test_an_address_that_there_is_not(new_page: NewPage, stack: Stack) -> None:
    page = await new_page()
    await page.goto(f"{stack.portal_url}/no/such/page")
    await photograph(page, "no-such-page")
    await assert_accessible(page)
