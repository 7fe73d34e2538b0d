"""What is held, a copy of it, and the end of it, as a browser shows them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.browser.conftest import NewPage
from tests.browser.support import assert_accessible, log_in, look, look_here, tab_to
from vitne.dev.cases import synthetic_learners
from vitne.dev.demo import Demo, new_id, until
from vitne.dev.stack import LEARNERS, Stack
from vitne_api.credential.v1 import credential_pb2
from vitne_api.issuer.v1 import issuer_pb2

if TYPE_CHECKING:
    from playwright.async_api import Page

#: A synthetic learner who can log in, and whom no other flow uses.
LEARNER: Final = synthetic_learners(LEARNERS)[LEARNERS - 2]


async def confirm(page: Page, path: str) -> None:
    """Log in once more, as the provider asks for it; ends at ``path``."""
    await page.locator(f'button[value="{LEARNER.value}"]').click()
    await page.wait_for_url(re.compile(rf"{path}(\?.*)?$"))


async def test_what_is_held(learner: Page, stack: Stack) -> None:
    await learner.goto(f"{stack.portal_url}/privacy")
    await look(learner, "privacy")


async def test_a_copy_and_erasure_without_script(new_page: NewPage, stack: Stack, world: Demo) -> None:
    case = world.cases.achievements["minikvalifikasjon"]
    issuance = world.issuance(LEARNER, case)
    issuance.retention = credential_pb2.RETENTION_CLASS_ARCHIVE
    provider = world.actors.organisation(case.message.provider)
    await provider.issue(issuer_pb2.IssueRequest(request_id=new_id(), issuance=issuance))

    page = await new_page(java_script_enabled=False)
    await log_in(page, stack, LEARNER.value)
    await page.get_by_role("button", name="Registrer meg").click()
    await confirm(page, "/me")

    async def shown() -> bool:
        await page.reload()
        return "Hentes nå" not in await page.content() and await page.locator("li.card").count() > 0

    await until(shown, "her credential on her page", world.narrator)

    await page.get_by_role("link", name="Personvern").click()
    await page.get_by_role("button", name="Lag en kopi").click()
    await confirm(page, "/privacy")
    async with page.expect_download() as caught:
        await page.get_by_role("link", name="Last ned kopien").click()
    copy = json.loads(Path(await (await caught.value).path()).read_text("utf-8"))
    assert copy["portal"]["gathered"]["credentials"]
    assert copy["issuer"][0]["learner"]["value"] == LEARNER.value
    scripted = await new_page()  # Axe is a script.
    await scripted.context.add_cookies(await page.context.cookies())
    await scripted.goto(page.url)
    await scripted.get_by_role("link", name="Last ned kopien").wait_for()
    await look_here(scripted, "privacy-copy")

    button = page.get_by_role("button", name="Slett det som kan slettes")
    await button.focus()
    await page.keyboard.press("Enter")
    await confirm(page, "/erased")
    assert await page.get_by_role("heading", name="Opplysningene er slettet").is_visible()
    assert await page.get_by_role("link", name="Personvern").count() == 0


async def test_the_page_after_erasure(new_page: NewPage, stack: Stack) -> None:
    page = await new_page()
    await page.goto(f"{stack.portal_url}/erased?kept=2")
    await look(page, "erased")
    await tab_to(page, "Til forsiden")
    await assert_accessible(page)
