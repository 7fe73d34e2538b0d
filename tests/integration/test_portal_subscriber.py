"""The portal from outside: events in, pages out; outages, repetitions, restarts; what it keeps and what it doesn't."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator

import aiohttp
import pytest

from tests.integration.portal_world import MARKER, Browser, World, new_world, until
from vitne.dev.postgres import EmbeddedPostgres
from vitne.messaging.topics import dead_topic
from vitne_api.credential.v1 import credential_pb2
from vitne_api.events.v1 import events_pb2

pytestmark = pytest.mark.stack

ATTEST = {"kind": "no.kompetanseattest", "level": None, "workload": credential_pb2.Workload(hours="12.5")}


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


async def shows(browser: Browser, count: int) -> None:
    """Wait until she is shown so many credentials, all fetched."""

    async def look() -> bool:
        shown = await browser.shown()
        return len(shown) == count and all(one["state"] == "fetched" for one in shown)

    await until(look)


async def registered(browser: Browser, pid: str) -> None:
    await browser.log_in(pid)
    assert (await browser.press("/register"))[0] == 200


async def test_a_learner_registers_and_sees_earlier_and_later_credentials(world: World, browser: Browser) -> None:
    kari, stranger = world.learners[:2]
    address, page = await browser.log_in(kari)
    assert address == f"{world.url}/me"
    assert "Du har ikke registrert deg" in page
    assert await browser.shown() == []
    status, page = await browser.press("/register")
    assert status == 200
    assert "Du er registrert" in page
    for part in range(3):  # the backfill
        await world.issue(kari, f"Klimaregnskaber {part}")
    await shows(browser, 3)
    await world.issue(kari, "Truck <b>førerbevis</b>", achievement=ATTEST)
    await shows(browser, 4)
    shown = {one["title"]: one for one in await browser.shown("en")}
    first = shown["Klimaregnskaber 0"]
    assert (first["provider"], first["country"], first["country_name"]) == ("0184:30859480", "DK", "Denmark")
    assert (first["size"], first["points"], first["unit"]) == ("1.25 ECTS credits", "1.25", "ects")
    assert (first["level"], first["level_framework"], first["status"]) == ("5", "dk.nqf", "valid")
    assert (first["awarded_on"], first["grade"]) == ("2026-11-20", "12")
    page = await browser.page()
    assert "1,25 studiepoeng (ECTS)" in page
    assert "20.11.2026" in page
    assert "5 (den danske kvalifikasjonsrammen)" in page
    assert "Truck &lt;b&gt;førerbevis&lt;/b&gt;" in page
    assert '<html lang="nb">' in page
    assert "20 November 2026" in await browser.page("en")
    assert '<html lang="nn">' in await browser.page("nn-NO, en;q=0.5")
    async with world.browser() as other:
        await other.log_in(stranger)
        assert await other.shown() == []


async def test_formal_and_non_formal_are_told_apart(world: World, browser: Browser) -> None:
    pid = world.learners[2]
    await registered(browser, pid)
    await world.issue(pid, "Formelt")
    await world.issue(pid, "Ikke-formelt", achievement=ATTEST)
    await shows(browser, 2)
    formal = {one["title"]: one["formal"] for one in await browser.shown()}
    assert formal == {"Formelt": True, "Ikke-formelt": False}
    page = await browser.page()
    assert page.index("Formell utdanning") < page.index("Formelt<") < page.index("Ikke-formell opplæring")
    assert page.index("Ikke-formell opplæring") < page.index("Ikke-formelt<")
    assert "12,5 timer" in page


async def test_repeated_and_late_notices_count_once_and_in_order(world: World, browser: Browser) -> None:
    pid = world.learners[3]
    await registered(browser, pid)
    handle = world.make(pid)
    issued = world.notice(pid, handle)
    withdrawn = world.notice(pid, handle, events_pb2.HUB_NOTICE_WITHDRAWN)
    other = world.make(pid, "En til")
    # Revision 3 before 2, everything twice, and the first again at the end.
    for revision, notice in ((1, issued), (1, issued), (3, world.notice(pid, other)), (2, withdrawn), (2, withdrawn)):
        await world.send(pid, notice, revision=revision)
    await world.send(pid, issued, revision=1)

    async def only_the_other() -> bool:  # the first may be seen until its withdrawal arrives
        return [one["title"] for one in await browser.shown()] == ["En til"]

    await until(only_the_other)
    assert sum(batch.count(other) for batch in world.issuer.fetches) == 1


async def test_a_status_change_is_shown_soon_and_never_as_valid_meanwhile(world: World, browser: Browser) -> None:
    pid = world.learners[4]
    await registered(browser, pid)
    handle = await world.issue(pid)
    await shows(browser, 1)
    world.issuer.refusing = True
    try:
        await world.change_status(pid, handle, credential_pb2.STATUS_REVOKED)

        async def fetching() -> bool:
            (one,) = await browser.shown()
            return bool(one["state"] == "fetching")

        await until(fetching)
        (one,) = await browser.shown()
        assert one["status"] == "unknown"
        assert one["title"] == "Klimaregnskaber"
        assert "Statusen hentes på nytt" in await browser.page()
    finally:
        world.issuer.refusing = False
    await shows(browser, 1)
    assert (await browser.shown())[0]["status"] == "revoked"
    await world.change_status(pid, handle, 77)  # a status that this release does not know

    async def unknown() -> bool:
        (one,) = await browser.shown()
        return bool(one["state"] == "fetched" and one["status"] == "unknown")

    await until(unknown)


async def test_an_issuer_that_is_down_is_waited_out(world: World, browser: Browser) -> None:
    pid = world.learners[5]
    await registered(browser, pid)
    await world.issuer.stop()
    try:
        for part in range(3):
            await world.issue(pid, f"Del {part}")

        async def known() -> bool:
            return len(await browser.shown()) == 3

        await until(known)
        assert {one["state"] for one in await browser.shown()} == {"fetching"}
        page = await browser.page()
        assert "Hentes nå" in page
        assert "Mikrokvalifikasjon (Danmark)" in page
        # What needs the issuer says so, and changes nothing.
        status, page = await browser.press("/withdraw")
        assert status == 503
        assert "svarer ikke" in page
        assert len(await browser.shown()) == 3
    finally:
        await world.issuer.start()
    await shows(browser, 3)


@pytest.mark.parametrize("how", ["SIGKILL", "SIGTERM"])
async def test_a_restart_in_the_middle_loses_and_repeats_nothing(world: World, browser: Browser, how: str) -> None:
    pid = world.learners[6 if how == "SIGKILL" else 7]
    await registered(browser, pid)
    handles = await world.issue_some(pid, (f"Del {part:03}" for part in range(120)))

    async def some() -> bool:
        return bool(await browser.shown())

    await until(some)
    if how == "SIGKILL":
        await world.kill_portal()
    else:
        assert await world.stop_portal() == 0
    handles += await world.issue_some(pid, (f"Del {part:03}" for part in range(120, 150)))
    await world.start_portal()
    await shows(browser, 150)  # the session outlives the process
    shown = await browser.shown()
    assert {one["handle"] for one in shown} == set(handles)
    assert len({one["title"] for one in shown}) == 150


async def test_who_withdraws_leaves_nothing_and_may_come_back(world: World, browser: Browser) -> None:
    pid = world.learners[8]
    await registered(browser, pid)
    handle = await world.issue(pid)
    await shows(browser, 1)
    pseudonym = world.issuer.pseudonym(pid)
    assert len(await world.rows("SELECT 1 FROM subscriber WHERE pseudonym = $1", pseudonym)) == 1
    status, page = await browser.press("/withdraw")
    assert status == 200
    assert "Du har ikke registrert deg" in page
    assert pid not in world.issuer.registered
    # What was under way when she withdrew is told, is gone at the issuer, and leaves no trace.
    content = world.issuer.credentials.pop(handle)
    await world.send(pid, world.notice(pid, handle))

    async def fetched_and_gone() -> bool:
        asked = [batch for batch in world.issuer.fetches if handle in batch]
        return len(asked) == 2 and not await world.rows("SELECT 1 FROM subscriber WHERE pseudonym = $1", pseudonym)

    await until(fetched_and_gone)
    await world.send(pid, world.notice(pid, handle, events_pb2.HUB_NOTICE_WITHDRAWN))
    assert (await browser.press("/register"))[0] == 200
    world.issuer.credentials[handle] = content
    await world.send(pid, world.notice(pid, handle))
    await shows(browser, 1)


async def test_a_notice_that_makes_no_sense_goes_to_the_dead_and_stops_nobody_else(
    world: World, browser: Browser
) -> None:
    pid, other = world.learners[9:11]
    await registered(browser, other)
    await world.send(pid, None, value=b"\xff\xff\xff")
    await world.send(pid, world.notice(pid, world.make(pid)))
    await world.issue(other)
    await shows(browser, 1)

    async def parked() -> bool:
        states = await world.rows(
            "SELECT state FROM consumer_parked WHERE key = $1 ORDER BY revision", world.issuer.pseudonym(pid)
        )
        told = await world.rows(
            "SELECT 1 FROM outbox WHERE topic = $1 AND published_at IS NOT NULL", dead_topic(world.topic)
        )
        return [row["state"] for row in states] == ["failed", "waiting"] and len(told) >= 1

    await until(parked)


async def test_what_the_issuer_cant_read_is_kept_and_asked_for_again_and_stops_no_other(
    world: World, browser: Browser
) -> None:
    pid = world.learners[11]
    await registered(browser, pid)
    unreadable, readable = await world.issue(pid, "Utilgjengelig"), await world.issue(pid, "Tilgjengelig")
    await shows(browser, 2)
    world.issuer.unreadable.add(unreadable)
    for handle in (unreadable, readable):
        await world.change_status(pid, handle, credential_pb2.STATUS_REVOKED)

    async def tried_again() -> bool:
        states = {one["handle"]: (one["state"], one["status"]) for one in await browser.shown()}
        asked = sum(unreadable in batch for batch in world.issuer.fetches)
        return asked >= 3 and states == {unreadable: ("fetching", "unknown"), readable: ("fetched", "revoked")}

    await until(tried_again)
    world.issuer.unreadable.clear()
    await shows(browser, 2)
    assert {one["status"] for one in await browser.shown()} == {"revoked"}
    await browser.press("/withdraw")


async def test_a_learner_s_broken_key_stops_nobody_else(world: World, browser: Browser) -> None:
    broken, other = world.learners[9], world.learners[10]
    await registered(browser, other)
    before = len(await browser.shown())
    pseudonym = "B" * 42 + "A"
    await world.rows("INSERT INTO subscriber (pseudonym, wrapped_key, created_at) VALUES ($1, 'x', now())", pseudonym)
    await world.rows(
        "INSERT INTO credential (handle, pseudonym, kind, provider, fetch_at) VALUES ($1, $2, 'k', 'p', now())",
        world.make(broken),
        pseudonym,
    )
    await world.issue(other)
    await shows(browser, before + 1)

    async def postponed() -> bool:
        rows = await world.rows("SELECT attempts FROM credential WHERE pseudonym = $1", pseudonym)
        return bool(rows[0]["attempts"] > 0)

    await until(postponed)


async def test_the_identity_issuer_may_be_away_too(world: World, browser: Browser) -> None:
    pid = world.learners[5]
    await registered(browser, pid)
    before = len(await browser.shown())
    await world.stop("identity")
    try:
        # A portal that has just started has no token, and can't get one.
        assert await world.stop_portal() == 0
        await world.start_portal()
        await world.issue(pid)

        async def known() -> bool:
            return len(await browser.shown()) == before + 1

        await until(known)
        assert {one["state"] for one in await browser.shown()} >= {"fetching"}
        async with browser.session.get(f"{world.url}/login?with=id-porten") as response:
            assert response.status == 503
    finally:
        await world.start_identity()
    await shows(browser, before + 1)

    # An issuer that was away is asked again after a second, and not before.
    async def sends_on() -> bool:
        address = f"{world.url}/login?with=id-porten"
        async with browser.session.get(address, allow_redirects=False) as response:
            return response.status == 303

    await until(sends_on)


async def test_nothing_of_a_learner_s_is_kept_or_told_in_clear(world: World, browser: Browser) -> None:
    pid = world.learners[11]
    await registered(browser, pid)
    await world.issue(pid, "Hemmelig tittel")
    await shows(browser, 1)
    assert "Hemmelig tittel" in await browser.page()
    dump = await world.dump()
    assert world.issuer.pseudonym(pid) in dump  # the search finds what is there
    kept = {"database": dump, "log": world.portal_log(), "trace": (world.folder / "trace.jsonl").read_text()}
    for place, text in kept.items():
        for secret in (pid, MARKER, "Hemmelig tittel", "Learner11"):
            assert secret not in text, place
            assert secret.encode().hex() not in text, place


async def test_pages_defend_themselves(world: World, browser: Browser) -> None:
    pid = world.learners[0]
    async with browser.session.get(f"{world.url}/me", allow_redirects=False) as response:
        assert (response.status, response.headers["Location"]) == (303, "/")
    async with browser.session.get(f"{world.url}/me.json") as response:
        assert response.status == 401
        assert (await response.json())["reason"] == "NOT_LOGGED_IN"
    await browser.log_in(pid)
    cookies = {cookie.key: cookie for cookie in browser.session.cookie_jar}
    assert cookies["vitne_session"]["httponly"]
    assert cookies["vitne_session"]["samesite"] == "lax"
    async with browser.session.get(f"{world.url}/me") as response:
        policy = response.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert f"form-action 'self' {world.identity_url}" in policy
        assert response.headers["Cache-Control"] == "no-store"
        assert "<script" not in await response.text()
    for path in ("/register", "/withdraw", "/logout"):
        for form in ({}, {"csrf_token": "wrong"}):
            async with browser.session.post(f"{world.url}{path}", data=form) as response:
                assert response.status == 403, path
                assert "FORGED_FORM" in await response.text()
    # Her browser's way back leads over the address at which her log-in ended.
    async with browser.session.get(f"{world.url}/callback?code=x&state=y", allow_redirects=False) as response:
        assert (response.status, response.headers["Location"]) == (303, "/me")
    async with aiohttp.ClientSession() as nobody, nobody.get(f"{world.url}/callback?code=x&state=y") as response:
        assert response.status == 401
        assert "LOG_IN_FOREIGN" in await response.text()
    # Another browser's answer: the code is good, the cookie is not there.
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as stranger:
        async with stranger.get(f"{world.url}/login?with=id-porten", allow_redirects=False) as response:
            authorize = response.headers["Location"]
        async with stranger.get(authorize) as response:
            transaction = re.search(r'name="transaction" value="([^"]+)"', await response.text())
        assert transaction is not None
        form = {"transaction": transaction[1], "learner": pid}
        async with stranger.post(f"{world.identity_url}/authorize", data=form) as response:
            assert response.status == 401


async def test_only_who_pressed_the_button_is_registered(world: World, browser: Browser) -> None:
    kari, other = world.learners[1], world.learners[0]
    await browser.log_in(kari)
    token = re.search(r'name="csrf_token" value="([^"]+)"', await browser.page())
    assert token is not None
    # She logs out at the provider only, and somebody else logs in there before the button is pressed.
    async with browser.session.get(f"{world.identity_url}/logout") as response:
        assert response.status == 200
    async with browser.session.post(f"{world.url}/register", data={"csrf_token": token[1]}) as response:
        transaction = re.search(r'name="transaction" value="([^"]+)"', await response.text())
    assert transaction is not None
    form = {"transaction": transaction[1], "learner": other}
    async with browser.session.post(f"{world.identity_url}/authorize", data=form) as response:
        assert response.status == 403
        assert "OTHER_LEARNER" in await response.text()
    assert kari not in world.issuer.registered


async def test_logging_out_ends_the_session_here_and_at_the_provider(world: World, browser: Browser) -> None:
    await browser.log_in(world.learners[0])
    secret = next(cookie.value for cookie in browser.session.cookie_jar if cookie.key == "vitne_session")
    status, page = await browser.press("/logout")
    assert status == 200
    assert "Bevisene dine" in page
    async with (
        aiohttp.ClientSession(cookies={"vitne_session": secret}) as thief,
        thief.get(f"{world.url}/me.json") as response,
    ):
        assert response.status == 401
    address, text = await browser.log_in(world.learners[1])  # is asked again who she is
    assert address.endswith("/me"), text


async def test_many_learners_at_once_are_fetched_in_batches(world: World) -> None:
    before = len(world.issuer.fetches)
    pids = [f"{number:011}" for number in range(700)]  # nobody registers: the portal keeps what its topic tells
    handles = [world.make(pid) for pid in pids]
    await asyncio.gather(
        *(world.send(pid, world.notice(pid, handle)) for pid, handle in zip(pids, handles, strict=True))
    )

    async def all_fetched() -> bool:
        asked = {handle for batch in world.issuer.fetches[before:] for handle in batch}
        return set(handles) <= asked

    await until(all_fetched, 60)
    assert max(len(batch) for batch in world.issuer.fetches[before:]) <= 500
    assert len(world.issuer.fetches) - before < 350
