"""Logging in with ID-porten and with Feide, through the whole protocol; a portal that is killed in the middle of it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import aiohttp
import pytest

from tests.integration.portal_world import Browser, Choice, World, new_world, until
from vitne.dev.postgres import EmbeddedPostgres

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
async def world(
    tmp_path_factory: pytest.TempPathFactory, postgres: EmbeddedPostgres, broker: str
) -> AsyncIterator[World]:
    async with await new_world(tmp_path_factory.mktemp("log_in"), postgres, broker) as world:
        yield world


@pytest.fixture
async def browser(world: World) -> AsyncIterator[Browser]:
    async with world.browser() as browser:
        yield browser


async def begin(world: World, browser: Browser, provider: str) -> Choice:
    async with browser.session.get(f"{world.url}/login?with={provider}") as response:
        return Choice(await response.text())


async def test_the_choice_offers_both_in_the_reader_s_language(world: World, browser: Browser) -> None:
    async with browser.session.get(f"{world.url}/login?lang=se") as response:
        page = await response.text()
    assert 'href="/login?lang=se&amp;with=feide"' in page
    assert 'href="/login?lang=se&amp;with=id-porten"' in page


async def test_who_logs_in_with_feide_is_who_logs_in_with_id_porten(world: World, browser: Browser) -> None:
    pid = world.learners[0]
    await browser.log_in(pid)
    await browser.press("/register")
    await world.issue(pid)

    async def shown() -> bool:
        return len(await browser.shown()) == 1

    await until(shown)
    async with world.browser() as other:
        address, _ = await other.log_in(pid, "feide")
        assert address == f"{world.url}/me"
        assert await other.shown() == await browser.shown()
        # Logged out there, too: she is asked again who she is.
        assert (await other.press("/logout"))[0] == 200
        assert "/feide/authorize" in (await begin(world, other, "feide")).action


async def test_registering_takes_id_porten_whoever_she_logged_in_with(world: World, browser: Browser) -> None:
    pid = world.learners[1]
    await browser.log_in(pid, "feide")
    status, page = await browser.send("/register")
    choice = Choice(page)
    assert (status, choice.action) == (200, f"{world.identity_url}/authorize")
    assert pid not in world.issuer.registered
    status, address, _ = await choice.choose(browser.session, pid)
    assert (status, address) == (200, f"{world.url}/me")
    assert pid in world.issuer.registered


async def test_a_learner_whose_number_feide_does_not_tell_is_sent_to_id_porten(world: World, browser: Browser) -> None:
    choice = await begin(world, browser, "feide")
    status, _, page = await choice.choose(browser.session, world.learners[-1])
    assert status == 401
    assert "NO_NATIONAL_NUMBER" in page
    assert "Logg inn med ID-porten" in page


@pytest.mark.parametrize(("begun", "callback"), [("feide", "/callback"), ("id-porten", "/callback/feide")])
async def test_one_provider_s_answer_is_not_taken_for_the_other_s(
    world: World, browser: Browser, begun: str, callback: str
) -> None:
    async with browser.session.get(f"{world.url}/login?with={begun}", allow_redirects=False) as response:
        state = re.search(r"state=([^&]+)", response.headers["Location"])
    assert state is not None
    async with browser.session.get(f"{world.url}{callback}?code=x&state={state[1]}") as response:
        assert response.status == 401
        assert "LOG_IN_FOREIGN" in await response.text()
    async with browser.session.get(f"{world.url}/callback/other?code=x&state={state[1]}") as response:
        assert response.status == 404


async def test_a_portal_that_is_killed_in_the_middle_of_log_ins_completes_them(world: World, browser: Browser) -> None:
    async with world.browser() as other:
        # Both at once: each start of a portal is seconds.
        begun = {
            browser: await begin(world, browser, "id-porten"),
            other: await begin(world, other, "feide"),
        }
        await world.kill_portal()
        await world.start_portal()
        for learner, choice in begun.items():
            status, address, _ = await choice.choose(learner.session, world.learners[2])
            assert (status, address) == (200, f"{world.url}/me")
        # The sessions outlive the next one, too.
        await world.kill_portal()
        await world.start_portal()
        for learner in begun:
            assert await learner.shown() == []


async def test_an_answer_counts_once(world: World, browser: Browser) -> None:
    """Whoever saw the address of an answer can do nothing with it: neither in her browser again nor in another."""
    choice = await begin(world, browser, "id-porten")
    form = {"transaction": choice.transaction, "learner": world.learners[3]}
    async with browser.session.post(choice.action, data=form, allow_redirects=False) as response:
        answer = response.headers["Location"]
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as thief, thief.get(answer) as response:
        assert response.status == 401
    async with browser.session.get(answer) as response:
        assert str(response.url) == f"{world.url}/me"
    # Her own way back leads to her page, and begins nothing.
    async with browser.session.get(answer, allow_redirects=False) as response:
        assert (response.status, response.headers["Location"]) == (303, "/me")
        assert not response.cookies
    await browser.press("/logout")
    async with browser.session.get(answer) as response:
        assert response.status == 401
