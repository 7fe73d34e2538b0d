"""What learners may ask the portal for: a copy of all that is held, and that it goes."""

from __future__ import annotations

import html
import json
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from services.portal.texts import TEXTS
from tests.integration.portal_world import MARKER, Browser, World, new_world, until
from vitne.dev.postgres import EmbeddedPostgres
from vitne_api.credential.v1 import credential_pb2
from vitne_api.events.v1 import events_pb2

pytestmark = pytest.mark.stack

#: Tables that hold something of a learner, each a part of her copy: who adds one adds it to `Holdings`.
EXPORTED = {
    *("subscriber", "credential", "session", "export"),
    *("share", "share_item", "share_opening", "share_visit"),
    *("employer_consent", "employer_consent_item"),
    *("emrex_import", "wallet_offer"),
}
#: For whom she shares something.
LABEL = "Søknad hos Havna"
ARCHIVE = {"retention": credential_pb2.RETENTION_CLASS_ARCHIVE}


@pytest.fixture(scope="module")
async def world(
    tmp_path_factory: pytest.TempPathFactory, postgres: EmbeddedPostgres, broker: str
) -> AsyncIterator[World]:
    async with await new_world(tmp_path_factory.mktemp("portal"), postgres, broker) as world:
        yield world


@pytest.fixture
async def browser(world: World) -> AsyncIterator[Browser]:
    async with world.browser() as browser:
        yield browser


async def prepared(world: World, browser: Browser, number: int) -> str:
    """A learner with two credentials, one of which the archives acts keep."""
    pid = world.learners[number]
    await browser.log_in(pid)
    assert (await browser.press("/register"))[0] == 200
    await world.issue(pid, "Kan slettes")
    await world.issue(pid, "Skal arkiveres", **ARCHIVE)

    async def shown() -> bool:
        return [one["state"] for one in await browser.shown()] == ["fetched", "fetched"]

    await until(shown)
    return pid


async def shared(browser: Browser) -> str:
    """Share a credential of hers that she calls :data:`LABEL`; the share's id."""
    share, handle = str(uuid4()), (await browser.shown())[0]["handle"]
    status, page = await browser.send("/me/shares", {"share": share, "days": "7", "pick": handle, "label": LABEL})
    assert status == 200, page
    return share


async def test_she_gets_a_copy_of_all_that_is_held(world: World, browser: Browser) -> None:
    pid = await prepared(world, browser, 0)
    share = await shared(browser)
    async with browser.session.get(f"{world.url}/privacy/vitne.json") as response:
        assert response.status == 404
    status, page = await browser.press("/privacy/export")
    assert status == 200
    assert 'href="/privacy/vitne.json"' in page
    assert "Skal arkiveres" in page
    assert "Kan slettes" not in page
    before, rest = page.split(TEXTS["nb"]["erase_rest"])
    assert "Skal arkiveres" in before, "the exception is told first"
    assert TEXTS["nb"]["erase_kept"] in before
    assert "Skal arkiveres" not in rest
    async with browser.session.get(f"{world.url}/privacy/vitne.json") as response:
        assert response.headers["Content-Disposition"] == 'attachment; filename="vitne.json"'
        assert response.headers["Cache-Control"] == "no-store"
        copy = await response.json()
    gathered = copy["portal"]["gathered"]
    assert gathered["pseudonym"] == world.issuer.pseudonym(pid)
    assert len(gathered["credentials"]) == 2
    assert all(one["artefact"].count("~") for one in gathered["credentials"])
    assert len(copy["portal"]["sessions"]) == 1
    told = [(one["share"]["terms"]["id"], one["share"]["label"]) for one in copy["portal"]["shares"]]
    assert (told, copy["portal"]["employers"]) == ([(share, LABEL)], [])
    assert copy["issuer"] == [{"learner": {"scheme": "no.national_id", "value": pid}}]
    # What lies there meanwhile says nothing to who reads the tables.
    dump = await world.dump()
    assert MARKER not in dump
    assert LABEL not in dump
    assert pid not in dump


@pytest.mark.parametrize("language", TEXTS)
async def test_what_is_done_with_her_data_can_be_read_before_she_logs_in(world: World, language: str) -> None:
    texts = TEXTS[language]
    async with world.browser() as stranger:
        async with stranger.session.get(f"{world.url}/?lang={language}") as response:
            assert f'href="/privacy?lang={language}"' in await response.text()
        async with stranger.session.get(f"{world.url}/privacy?lang={language}") as response:
            assert (response.status, str(response.url)) == (200, f"{world.url}/privacy?lang={language}")
            page = html.unescape(await response.text())
    for told in ("front_privacy", "withdraw_lead", "export_lead", "erase_not_all", "erase_rest"):
        assert texts[told] in page
    assert f'href="/login?lang={language}"' in page
    assert "<form" not in page, "nothing is asked for by who is nobody"


async def test_a_session_that_is_over_is_told_as_that_on_the_page_about_privacy(world: World) -> None:
    async with world.browser() as browser:
        await browser.log_in(world.learners[3])
        await world.rows("UPDATE session SET expires_at = now() - interval '1 second'")
        async with browser.session.get(f"{world.url}/privacy") as response:
            assert TEXTS["nb"]["logged_out"] in await response.text()
        async with browser.session.get(f"{world.url}/privacy") as response:
            assert TEXTS["nb"]["front_privacy"] in await response.text()
            assert str(response.url) == f"{world.url}/privacy"


async def test_nobody_else_gets_it_and_it_goes_by_itself(world: World, browser: Browser) -> None:
    await browser.log_in(world.learners[1])
    await browser.press("/privacy/export")
    async with world.browser() as stranger:
        async with stranger.session.get(f"{world.url}/privacy/vitne.json") as response:
            assert str(response.url) == f"{world.url}/"
        await stranger.log_in(world.learners[2])
        async with stranger.session.get(f"{world.url}/privacy/vitne.json") as response:
            assert response.status == 404
    await world.rows("UPDATE export SET expires_at = now() - interval '1 second'")
    async with browser.session.get(f"{world.url}/privacy/vitne.json") as response:
        assert response.status == 404


async def test_she_is_erased_everywhere_and_logged_out(world: World, browser: Browser) -> None:
    pid = await prepared(world, browser, 3)
    share = await shared(browser)
    handles = [one["handle"] for one in await browser.shown()]
    pseudonym = world.issuer.pseudonym(pid)
    await browser.press("/privacy/export")
    lookup = (await world.rows("SELECT lookup FROM subscriber WHERE pseudonym = $1", pseudonym))[0]["lookup"]
    async with world.browser() as elsewhere:
        await elsewhere.log_in(pid)
        status, page = await browser.press("/privacy/erase")
        assert (status, world.issuer.erased) == (200, [pid])
        assert "1 resultater er arkivert etter loven" in page
        assert "/logout" not in page
        async with elsewhere.session.get(f"{world.url}/me") as response:
            assert str(response.url) == f"{world.url}/?logged_out=1"
    # As the topic says it, also once more: nothing comes back.
    for handle in handles:
        await world.send(pid, world.notice(pid, handle, events_pb2.HUB_NOTICE_WITHDRAWN))
    other = await world.issue(world.learners[4])

    async def read() -> bool:
        return bool(await world.rows("SELECT 1 FROM credential WHERE handle = $1", other))

    await until(read)
    names = [pseudonym, lookup.hex(), share, *handles]
    tables = [row[0] for row in await world.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
    naming = {
        table
        for table in tables
        for row in await world.rows(f'SELECT to_jsonb(t)::text FROM "{table}" t')
        if any(name in row[0] for name in names)
    }
    # How far her events were read, under a name that leads nowhere.
    assert naming <= {"consumer_seen"}
    assert not await world.rows("SELECT 1 FROM session WHERE lookup = $1", lookup)
    assert not await world.rows("SELECT 1 FROM export WHERE lookup = $1", lookup)
    assert not await world.rows("SELECT 1 FROM subscriber WHERE pseudonym = $1", pseudonym)


async def test_erased_at_another_hub_she_is_gone_here_and_may_come_back(world: World, browser: Browser) -> None:
    pid = await prepared(world, browser, 7)
    handles = [one["handle"] for one in await browser.shown()]
    pseudonym = world.issuer.pseudonym(pid)
    for handle in handles:
        del world.issuer.credentials[handle]
        await world.send(pid, world.notice(pid, handle, events_pb2.HUB_NOTICE_WITHDRAWN))
    await world.send(pid, world.ended(pid))

    async def gone() -> bool:
        return not await world.rows("SELECT 1 FROM subscriber WHERE pseudonym = $1", pseudonym)

    await until(gone)
    async with browser.session.get(f"{world.url}/me") as response:
        assert str(response.url) == f"{world.url}/?logged_out=1", "she is logged out"
    _, page = await browser.log_in(pid)
    assert "Du har ikke registrert deg" in page
    assert (await browser.press("/register"))[0] == 200
    again = await world.issue(pid)

    async def shown() -> bool:
        return [one["handle"] for one in await browser.shown()] == [again]

    await until(shown)


async def test_who_is_registered_by_a_list_sees_on_what_ground(world: World, browser: Browser) -> None:
    pid = world.learners[8]
    code, said, errors = await world.command("register", str(uuid4()), said=f"{pid}\nnobody\n")
    assert (code, json.loads(said)) == (1, {"registered": 1, "refused": {"2": "BAD_LEARNER_ID"}}), errors
    assert pid not in said + errors
    _, page = await browser.log_in(pid)
    assert "du er registrert etter § 4" in page
    assert "bestemt av NOKUT (sak 2026/1742)" in page


async def test_while_the_issuer_is_down_nothing_is_erased(world: World, browser: Browser) -> None:
    pid = await prepared(world, browser, 5)
    world.issuer.refusing = True
    try:
        status, _ = await browser.press("/privacy/erase")
    finally:
        world.issuer.refusing = False
    assert status == 503
    assert pid not in world.issuer.erased
    assert len(await browser.shown()) == 2


async def test_both_are_her_own_acts(world: World, browser: Browser) -> None:
    pid = await prepared(world, browser, 6)
    for path in ("/privacy/erase", "/privacy/export"):
        async with browser.session.post(f"{world.url}{path}", data={"csrf_token": "another"}) as response:
            assert response.status == 403
    assert pid not in world.issuer.erased
    assert not await world.rows("SELECT 1 FROM export WHERE expires_at > now() + interval '599 seconds'")


async def test_every_table_that_holds_something_of_a_learner_is_in_her_copy(world: World) -> None:
    rows = await world.rows(
        """
        WITH RECURSIVE hers AS (
            SELECT 'subscriber'::text AS name
            UNION SELECT columns.table_name FROM information_schema.columns
                WHERE table_schema = 'public' AND column_name IN ('lookup', 'pseudonym')
            UNION SELECT conrelid::regclass::text FROM pg_constraint JOIN hers ON confrelid::regclass::text = hers.name
                WHERE contype = 'f')
        SELECT name FROM hers
        """
    )
    assert {row["name"] for row in rows} == EXPORTED
