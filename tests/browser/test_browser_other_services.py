"""The pages of the other services: the ledger's, the registry's and the verifier's, as a browser shows them."""

from __future__ import annotations

from services.registry.catalogue_pages import TEXTS
from services.registry.front_page import TEXTS as REGISTRY_TEXTS
from tests.browser.conftest import NewPage
from tests.browser.support import PHONE, look_here
from vitne.dev.demo import Demo
from vitne.dev.stack import Stack


async def test_lists_and_log(new_page: NewPage, stack: Stack, world: Demo) -> None:
    page = await new_page()
    await page.goto(stack.http_url("ledger"))
    assert await page.locator("main ul a").count() >= 1, "a list was published"
    await look_here(page, "ledger")


async def test_who_may_issue_what(new_page: NewPage, stack: Stack, world: Demo) -> None:
    page = await new_page()
    await page.goto(stack.http_url("registry"))
    assert await page.get_by_role("table").count() > 2
    await look_here(page, "registry")
    # Cards are told by what each column is called.
    await page.set_viewport_size(PHONE)
    covers = REGISTRY_TEXTS["nb"]["accreditation_columns"][1]
    assert await page.locator(".column", has_text=f"{covers}:").first.is_visible()
    assert await page.get_by_role("cell").count() > 2


async def test_the_catalogue(new_page: NewPage, stack: Stack, world: Demo) -> None:
    page = await new_page()
    for language in TEXTS:
        await page.goto(f"{stack.http_url('registry')}/catalogue?lang={language}")
        await look_here(page, "catalogue")
        await page.locator("ol a").first.click()
        await page.locator("dl").wait_for()
        assert await page.locator("html").get_attribute("lang") == language
        await look_here(page, "achievement")


async def test_providers_are_chosen_by_name(new_page: NewPage, stack: Stack, world: Demo) -> None:
    page = await new_page()
    await page.goto(f"{stack.http_url('registry')}/catalogue")
    names = await page.locator("#provider option").all_inner_texts()
    await page.get_by_label(TEXTS["nb"]["provider"], exact=True).select_option(label=names[1])
    await page.get_by_role("button", name=TEXTS["nb"]["search"]).click()
    await page.wait_for_url("**provider=0*")
    found = await page.locator("ol li").all_inner_texts()
    assert found
    assert all(names[1] in one for one in found)


async def test_what_the_verifier_answers(new_page: NewPage, stack: Stack, world: Demo) -> None:
    page = await new_page()
    await page.goto(stack.http_url("verifier"))
    await look_here(page, "verifier")
    for shown, verdict in ((world.issued["eldrehelse-modul"].artefact, "valid"), ("ey" + "x" * 400, "invalid")):
        await page.get_by_role("textbox").fill(shown)
        await page.get_by_role("button").click()
        await page.locator(f".verdict.{verdict}, .verdict.{verdict}_with_notes").wait_for()
        await look_here(page, f"verifier-{verdict}")
