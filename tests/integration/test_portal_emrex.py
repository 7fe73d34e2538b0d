"""EMREX there and back between two portals: what is answered, taken and refused, and what is left of it."""

from __future__ import annotations

import asyncio
import html
import json
import re
import threading
import tracemalloc
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import asyncpg
import pytest
from yarl import URL

from services.portal.emrex.answering import AnswerSigner
from services.portal.emrex.checking import Received, check
from services.portal.emrex.envelope import seal, unseal
from services.portal.emrex.store import AWAITED_FOR, MAX_HELD, MAX_IMPORTS, UNDECIDED_FOR, Imports
from services.portal.holdings import Holdings, Imported
from services.portal.texts import LANGUAGES, TEXTS
from services.portal.web.imports import MAX_MESSAGE
from services.portal.wiring import MIGRATIONS
from tests.integration.emrex_world import (
    ABROAD,
    HOME,
    LogsIn,
    Traveller,
    chain_of,
    key_of,
    sent,
    served,
    two_portals,
)
from tests.integration.portal_pages import NOW, Browser, Portal
from tests.unit.credential_samples import sample_credential
from tests.unit.emrex_samples import BORN, NUMBER, learner, sent_by_another
from tests.unit.european_samples import SALT
from vitne.credentials.elmo.signature import sign
from vitne.credentials.elmo.writing import Node
from vitne.credentials.model import Learner
from vitne.dev.emrex import Leaving, leaving
from vitne.dev.postgres import EmbeddedPostgres
from vitne.runtime.database import open_pool
from vitne.runtime.migrations import migrate

T = TEXTS["nb"]


@pytest.fixture(scope="module")
async def place(
    postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[asyncpg.Pool, Path]]:
    dsn = await postgres.create_database(f"emrex_{uuid4().hex}")
    await migrate(dsn, MIGRATIONS)
    pool = await open_pool(dsn)
    yield pool, tmp_path_factory.mktemp("portals")
    pool.terminate()


@pytest.fixture(scope="module")
async def pair(place: tuple[asyncpg.Pool, Path]) -> tuple[Portal, Portal]:
    return await two_portals(*place)


@pytest.fixture
async def portals(pair: tuple[Portal, Portal]) -> tuple[Portal, Portal]:
    """Home and abroad, where nobody is known yet."""
    await pair[0].pool.execute("TRUNCATE subscriber CASCADE")
    for portal in pair:
        portal.openid.number = NUMBER  # type: ignore[attr-defined]
    return pair


@pytest.fixture
async def kari(portals: tuple[Portal, Portal]) -> Traveller:
    """Known at both portals; at home by a credential, which says what she is called."""
    return await known(*portals)


async def known(home: Portal, abroad: Portal) -> Traveller:
    traveller = Traveller(await home.learner(NUMBER), await abroad.learner(NUMBER))
    await traveller.home.hold("Hjemmefag", learner=learner())
    return traveller


async def hold(traveller: Traveller, title: str, **changes: Any) -> str:
    """Give her a credential abroad."""
    return await traveller.abroad.hold(title, **{"learner": learner(), **changes})


async def chosen(traveller: Traveller, request: Leaving, *handles: str) -> Leaving:
    """Choose results abroad; the form that leads back."""
    fields = [*request.fields.items(), *(("pick", handle) for handle in handles)]
    answer = await traveller.abroad.press("/emrex/answer", fields)
    assert answer.status == 200, answer.text
    return leaving(answer.text, HOME)


def forged(traveller: Traveller, document: bytes, request: Leaving) -> Leaving:
    fields = {**request.fields, "returnCode": "NCP_OK", "returnMessage": "", "elmo": seal(document)}
    return Leaving(f"{HOME}/emrex/return", fields)


async def signed(portal: Portal, person: Learner | None = None, **changes: Any) -> bytes:
    """A document that holds, of the portal abroad."""
    credential = sample_credential(learner=person or learner())
    fields = {"certificates": await chain_of(portal), "salt": SALT, "at": NOW, **changes}
    return sign([Node(credential)], key_of(portal), **fields)


# --- There and back -------------------------------------------------------------------------------


async def test_there_and_back(kari: Traveller, portals: tuple[Portal, Portal]) -> None:
    home = portals[0]
    wanted, other = await hold(kari, "Fag & mer"), await hold(kari, "Blir igjen")
    request = await kari.begin()
    assert request.url == f"{ABROAD}/emrex"
    assert set(request.fields) == {"sessionId", "returnUrl"}
    assert re.fullmatch(r"[0-9a-f]{32}", request.fields["sessionId"])
    page = await kari.ask(request)
    assert "Klient &lt;1&gt;" in page.text
    assert "home.example" in page.text
    # The page leads to the return URL, and nowhere else that is not ours.
    policy = page.header("Content-Security-Policy")
    assert f"form-action 'self' {HOME}/emrex/return" in policy
    assert "vitne_emrex" in str(kari.abroad.cookies)
    fields = [*request.fields.items(), ("pick", wanted)]
    forgot = [
        cookie for cookie in (await kari.abroad.press("/emrex/answer", fields)).cookies() if "vitne_emrex" in cookie
    ]
    assert len(forgot) == 1
    assert "Max-Age=0" in forgot[0]
    back = await chosen(kari, request, wanted)
    assert list(back.fields) == ["sessionId", "returnCode", "returnMessage", "elmo"]
    assert back.fields["returnCode"] == "NCP_OK"
    assert back.fields["sessionId"] == request.fields["sessionId"]
    text = unseal(back.fields["elmo"])
    assert "Fag &amp; mer" in text.decode()
    assert b"Blir igjen" not in text
    assert NUMBER.encode() not in text
    address = await kari.arrived(back)
    shown = (await kari.home.get(address)).text
    for said in ("Fag &amp; mer", T["emrex"]["imported"], "Kari Prøvesen", "01.02.1955", "UCL Erhvervsakademi"):
        assert said in shown or said.lstrip("0") in shown, said
    assert T["emrex"]["unsure"] not in shown
    assert (await kari.home.press(f"{address}/keep")).header("Location") == "/me/imports"
    listed = (await kari.home.get("/me/imports")).text
    assert "Fag &amp; mer" in listed
    assert T["emrex"]["imported"] in listed
    # It is none of her credentials: neither on her page nor to be shared.
    assert "Fag &amp; mer" not in (await kari.home.get("/me")).text
    assert "Fag &amp; mer" not in (await kari.home.get("/me/shares/new")).text
    file = await kari.home.get(f"{address}/elmo.xml")
    assert (file.body, file.header("Content-Type")) == (text, "application/xml")
    await kari.home.press(f"{address}/delete")
    assert T["emrex"]["none"] in (await kari.home.get("/me/imports")).text
    assert await home.pool.fetchval("SELECT count(*) FROM emrex_import") == 0
    assert other


@pytest.mark.parametrize("language", LANGUAGES)
async def test_its_pages_are_in_the_reader_s_language(kari: Traveller, language: str) -> None:
    t = TEXTS[language]["emrex"]
    kari.home.language = kari.abroad.language = language
    handle = await hold(kari, "Fag")
    assert html.escape(t["fetch_lead"], quote=False) in (await kari.home.get("/me/imports")).text.replace("&#39;", "'")
    request = await kari.begin()
    assert t["prepare"] in (await kari.ask(request)).text
    shown = (await kari.home.get(await kari.arrived(await chosen(kari, request, handle)))).text
    assert t["imported"] in shown
    assert t["codes"]["NCP_OK"] in shown.replace("&#39;", "'")


async def test_who_is_not_logged_in_abroad_logs_in_first(portals: tuple[Portal, Portal], kari: Traveller) -> None:
    handle = await hold(kari, "Fag")
    stranger = Browser(portals[1])
    request = await kari.begin()
    assert (await sent(stranger, request.fields)).status == 303
    page = await stranger.get("/emrex/results")
    assert T["emrex"]["ask_log_in"] in page.text
    assert handle not in page.text
    assert (await stranger.get("/emrex/login")).status == 303
    arrived = await stranger.get("/callback?code=c&state=s")
    assert (arrived.status, arrived.header("Location")) == (303, "/emrex/results")
    assert handle in (await stranger.get("/emrex/results")).text


async def test_she_cancels_or_has_nothing(kari: Traveller) -> None:
    for code in ("NCP_NO_RESULTS", "NCP_CANCEL"):
        request = await kari.begin()
        page = await kari.ask(request)
        back = leaving(page.text, HOME)
        assert (back.fields["returnCode"], back.fields["elmo"]) == (code, "")
        address = await kari.arrived(back)
        assert T["emrex"]["codes"][code] in (await kari.home.get(address)).text
        assert T["emrex"]["codes"][code] in (await kari.home.get("/me/imports")).text
        assert (await kari.home.press(f"{address}/keep")).status == 404
        assert (await kari.home.get(f"{address}/elmo.xml")).status == 404
        await hold(kari, "Fag")


async def test_a_failure_abroad_is_told(kari: Traveller, portals: tuple[Portal, Portal]) -> None:
    handle = await hold(kari, "Uten \x07 XML")
    request = await kari.begin()
    back = await chosen(kari, request, handle)
    assert (back.fields["returnCode"], back.fields["elmo"]) == ("NCP_ERROR", "")
    assert "TEXT_NOT_CARRIED" in back.fields["returnMessage"]
    shown = (await kari.home.get(await kari.arrived(back))).text
    assert T["emrex"]["codes"]["NCP_ERROR"] in shown
    assert "TEXT_NOT_CARRIED" in shown


async def test_a_foreign_message_is_shown_as_text_and_in_short(kari: Traveller) -> None:
    request = await kari.begin()
    fields = {**request.fields, "returnCode": "NCP_ERROR", "returnMessage": "<b>\u202e\n" + "x" * 5000}
    shown = (await kari.home.get(await kari.arrived(Leaving(f"{HOME}/emrex/return", fields)))).text
    assert "&lt;b&gt; xxx" in shown
    assert "x" * 301 not in shown
    fields = {**(await kari.begin()).fields, "returnCode": "NCP_ERROR", "returnMessage": " " * MAX_MESSAGE + "beyond"}
    shown = (await kari.home.get(await kari.arrived(Leaving(f"{HOME}/emrex/return", fields)))).text
    assert "beyond" not in shown, "no more is looked at than is kept"


async def test_only_what_holds_is_offered(kari: Traveller, portals: tuple[Portal, Portal]) -> None:
    revoked, valid = await hold(kari, "Trukket"), await hold(kari, "Gyldig fag")
    await portals[1].pool.execute("UPDATE credential SET status = 'revoked' WHERE handle = $1", revoked)
    request = await kari.begin()
    page = (await kari.ask(request)).text
    assert valid in page
    assert revoked not in page
    assert T["emrex"]["others"].format(count=1) in page
    fields = [*request.fields.items(), ("pick", revoked)]
    assert "CREDENTIAL_NOT_HERS" in (await kari.abroad.press("/emrex/answer", fields)).text


async def test_who_logs_out_leaves_no_request_behind(kari: Traveller) -> None:
    await kari.ask(await kari.begin())
    kari.abroad.portal.openid.log_out_url = _to  # type: ignore[attr-defined]
    left = await kari.abroad.press("/logout")
    assert any("vitne_emrex=" in cookie and "Max-Age=0" in cookie for cookie in left.cookies()), left.text


async def _to(address: str) -> str:
    return address


async def test_a_page_leads_to_hosts_of_its_provider_alone(kari: Traveller, portals: tuple[Portal, Portal]) -> None:
    home = portals[0]
    listed = json.loads(home.providers_file.read_text())  # type: ignore[union-attr]
    for logs_in, policy in (([], ""), (["https://log-in.example"], " https://log-in.example")):
        listed["ncps"][1]["logInOrigins"] = logs_in
        home.providers_file.write_text(json.dumps(listed))  # type: ignore[union-attr]
        home.restart()
        answer = await kari.home.press("/me/imports", {"provider": "ZZ"})
        answer = await kari.home.get((await kari.home.get(answer.header("Location"))).header("Location"))
        told = answer.header("Content-Security-Policy").partition("form-action ")[2]
        assert sorted(told.split()) == sorted(f"'self' https://zz.example/e{policy}".split())


async def test_one_answer_of_a_learner_s_is_made_at_a_time(kari: Traveller, monkeypatch: pytest.MonkeyPatch) -> None:
    handle, request = await hold(kari, "Fag"), await kari.begin()
    entered, go_on = asyncio.Event(), asyncio.Event()
    make = AnswerSigner.answer

    async def slow(signer: AnswerSigner, picked: Any) -> str:
        entered.set()
        await go_on.wait()
        return await make(signer, picked)

    monkeypatch.setattr(AnswerSigner, "answer", slow)
    first = asyncio.create_task(chosen(kari, request, handle))
    await entered.wait()
    fields = [*request.fields.items(), ("pick", handle)]
    refused = await kari.abroad.press("/emrex/answer", fields)
    assert (refused.status, ">ALREADY_MAKING<" in refused.text) == (429, True)
    go_on.set()
    assert (await first).fields["returnCode"] == "NCP_OK"


async def test_one_answer_to_a_learner_is_checked_at_a_time(
    kari: Traveller, portals: tuple[Portal, Portal], monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = forged(kari, await signed(portals[1]), await kari.begin())
    entered, go_on = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def slow(*given: Any) -> Received:
        loop.call_soon_threadsafe(entered.set)
        assert go_on.wait(60)
        return check(*given)

    monkeypatch.setattr("services.portal.web.imports.check", slow)
    first = asyncio.create_task(kari.come_back(answer))
    await entered.wait()
    refused = await kari.come_back(answer)
    assert (refused.status, ">TOO_MANY_ANSWERS<" in refused.text) == (429, True)
    go_on.set()
    assert (await first).status == 303


# --- Trouble --------------------------------------------------------------------------------------


async def test_portals_that_are_restarted_in_the_middle_go_on(kari: Traveller, portals: tuple[Portal, Portal]) -> None:
    home = portals[0]
    handle = await hold(kari, "Fag")

    def restart() -> None:
        for portal in portals:
            portal.openid = LogsIn(portal.clock)
            portal.restart()

    answer = await kari.home.press("/me/imports", {"provider": "XX-EMP"})
    restart()  # while she logs in
    answer = await kari.home.get(answer.header("Location"))
    restart()  # before she leaves
    request = leaving((await kari.home.get(answer.header("Location"))).text, ABROAD)
    assert (await sent(kari.abroad, request.fields)).status == 303
    restart()  # before she chooses
    assert handle in (await kari.abroad.get("/emrex/results")).text
    restart()
    back = await chosen(kari, request, handle)
    restart()  # before she comes back
    address = await kari.arrived(back)
    restart()  # the answer never reached her, and her browser sends it again
    assert await kari.arrived(back) == address
    assert "Fag" in (await kari.home.get(address)).text
    assert await home.pool.fetchval("SELECT count(*) FROM emrex_import") == 1


async def test_another_answer_for_the_same_session_is_refused(kari: Traveller) -> None:
    handle = await hold(kari, "Fag")
    request = await kari.begin()
    first, second = await chosen(kari, request, handle), await chosen(kari, request, handle)
    assert first.fields["elmo"] != second.fields["elmo"], "each has a salt of its own"
    address = await kari.arrived(first)
    for replayed in (second, replace(first, fields={**first.fields, "returnCode": "NCP_CANCEL"})):
        answer = await kari.come_back(replayed)
        assert (answer.status, ">SESSION_ANSWERED<" in answer.text) == (409, True)
    await kari.home.press(f"{address}/delete")
    answer = await kari.come_back(first)
    assert (answer.status, ">EMREX_SESSION_UNKNOWN<" in answer.text) == (404, True)


@pytest.mark.parametrize(
    ("changes", "status", "reason"),
    [
        ({"returnUrl": "https://evil.example/"}, 400, "RETURN_URL_NOT_REGISTERED"),
        ({"returnUrl": f"{HOME}/emrex/return/"}, 400, "RETURN_URL_NOT_REGISTERED"),
        ({"returnUrl": f"{HOME}/emrex/return?next=//evil.example"}, 400, "RETURN_URL_NOT_REGISTERED"),
        ({"returnUrl": "javascript:alert(1)"}, 400, "RETURN_URL_NOT_REGISTERED"),
        ({"returnUrl": ""}, 400, "RETURN_URL_NOT_REGISTERED"),
        ({"sessionId": ""}, 400, "SESSION_ID_REFUSED"),
        ({"sessionId": "a" * 129}, 400, "SESSION_ID_REFUSED"),
        ({"sessionId": '"><script>alert(1)</script>'}, 400, "SESSION_ID_REFUSED"),
        ({"sessionId": "x" * 5000}, 413, ""),
    ],
)
async def test_a_bad_request_leads_nowhere(
    kari: Traveller, portals: tuple[Portal, Portal], changes: dict[str, str], status: int, reason: str
) -> None:
    handle = await hold(kari, "Fag")
    request = {"sessionId": "s" * 32, "returnUrl": f"{HOME}/emrex/return"}
    stranger = Browser(portals[1])
    asked = await stranger.post("/emrex", {**request, **changes})
    assert (asked.status, asked.cookies()) == (status, [])
    # A form of her own page says no more.
    fields = [*{**request, **changes}.items(), ("pick", handle)]
    answered = await kari.abroad.press("/emrex/answer", fields)
    if reason:
        assert TEXTS["nb"]["refused"][reason] in asked.text
        assert f">{reason}<" in answered.text
    for answer in (asked, answered):
        assert answer.header("Location") == ""
        assert "evil" not in answer.text + answer.header("Content-Security-Policy")
        assert "<script" not in answer.text


async def test_nothing_is_believed_of_what_a_browser_remembers(portals: tuple[Portal, Portal]) -> None:
    stranger = Browser(portals[1])
    assert ">NO_EMREX_REQUEST<" in (await stranger.get("/emrex/results")).text
    for told in ("e30", "W10", "bm8", "WyJzIiwiaHR0cHM6Ly9ldmlsLmV4YW1wbGUvIl0", "%", "a" * 3000):
        stranger.cookies[portals[1].cookie("vitne_emrex")] = told
        answer = await stranger.get("/emrex/results")
        assert 400 <= answer.status < 500, told
        assert "evil" not in answer.text


async def test_what_does_not_hold_changes_nothing(kari: Traveller, portals: tuple[Portal, Portal]) -> None:
    home, abroad = portals
    request = await kari.begin()
    good = await signed(abroad)
    bad: list[tuple[dict[str, str], str]] = [
        ({"sessionId": "f" * 32}, "EMREX_SESSION_UNKNOWN"),
        ({"sessionId": ""}, "SESSION_ID_REFUSED"),
        ({"returnCode": "NCP_FINE"}, "RETURN_CODE_UNKNOWN"),
        ({"returnCode": ""}, "RETURN_CODE_UNKNOWN"),
        ({"elmo": seal(good)[:-12]}, "ENVELOPE_BROKEN"),
        ({"elmo": "%%%"}, "ENVELOPE_BROKEN"),
        ({"elmo": seal(bytes(3_000_000))}, "ENVELOPE_TOO_LARGE"),
        ({"elmo": seal(good.replace(b"1955", b"1956"))}, "EMP_SIGNATURE_WRONG"),
        ({"elmo": seal(await signed(home))}, "EMP_KEY_UNKNOWN"),
        ({"elmo": seal(b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>')}, "DTD_REFUSED"),
        ({"elmo": seal(await signed(abroad, learner(birth_date=date(1990, 1, 1))))}, "OTHER_PERSON"),
    ]
    for changes, reason in bad:
        answer = forged(kari, good, request)
        refused = await kari.come_back(replace(answer, fields={**answer.fields, **changes}))
        assert 400 <= refused.status < 500, reason
        assert f">{reason}<" in refused.text
        assert T["refused"][reason] in refused.text
        assert "Prøvesen" not in refused.text
        row = await home.pool.fetchrow("SELECT code, content FROM emrex_import")
        assert (row["code"], row["content"]) == (None, None), reason
    # What holds is taken after all that.
    assert (await kari.come_back(forged(kari, good, request))).status == 303


@pytest.mark.parametrize("language", LANGUAGES)
async def test_what_another_s_software_wrote_is_a_clear_page(kari: Traveller, vectors: Path, language: str) -> None:
    """ELMO's own example, from a data provider that signs as it should: parts, attachments, grades of three scales."""
    t = TEXTS[language]
    kari.home.language = language
    text = (vectors / "elmo" / "v1.7.0" / "example.xml").read_bytes().replace(b"1983-04-12", BORN.isoformat().encode())
    report = text[text.index(b"    <report>") : text.index(b"</report>") + len(b"</report>")]
    other = report.replace(b"Uniwersytet Warszawski", b"Inny Uniwersytet").replace(b"University of Warsaw", b"Another")
    request = await kari.begin("ZZ")
    answer = forged(kari, sent_by_another(text.replace(report, report + other)), request)
    page = html.unescape((await kari.home.get(await kari.arrived(answer))).text)
    for said in (
        *(t["emrex"]["unsure"], t["emrex"]["part"], t["emrex"]["attachments"].format(count=8 + 1)),
        *("Wojciech Łukasz Rygielski", "University of Warsaw", "Another", "The importance of <br> in HTML"),
        f'{t["grade"]}: 45.1 (<span lang="en">A number of the scale from 0.0 to 100.0',
        f"{t['frameworks']['eqf']}: 5",
        *(t["hours"].format(count=30), t["countries"].get("PL", "PL")),
        '<span lang="en">Master of Science in Biology' if language == "en" else '<span lang="no">Master i biologi',
    ):
        assert said in page, said
    assert f">{t['emrex']['delete']}<" in page


async def test_what_another_s_software_wrote_about_another_is_refused(kari: Traveller, vectors: Path) -> None:
    text, request = (vectors / "elmo" / "v1.7.0" / "example.xml").read_bytes(), await kari.begin("ZZ")
    for document, reason in (
        (text, "ALGORITHM_REFUSED"),
        (sent_by_another(text), "OTHER_PERSON"),
        (sent_by_another(text, at="2015-10-31T12:00:00+02:00"), "ELMO_STALE"),
        (sent_by_another(text, at="2026-11-22T10:00:00"), "BAD_INSTANT"),
    ):
        refused = await kari.come_back(forged(kari, document, request))
        assert f">{reason}<" in refused.text
        assert T["refused"][reason] in refused.text
        assert "Rygielski" not in refused.text


async def test_somebody_whose_name_is_another_has_to_say_that_it_is_her(
    kari: Traveller, portals: tuple[Portal, Portal]
) -> None:
    request = await kari.begin()
    document = await signed(portals[1], learner(given_name="Karianne", family_name="Gift"))
    address = await kari.arrived(forged(kari, document, request))
    page = (await kari.home.get(address)).text
    assert T["emrex"]["unsure"] in page
    assert "Karianne Gift" in page
    assert ">PERSON_NOT_CONFIRMED<" in (await kari.home.press(f"{address}/keep")).text
    assert (await kari.home.press(f"{address}/keep", {"mine": "yes"})).status == 303
    assert T["emrex"]["unsure"] not in (await kari.home.get(address)).text


async def test_an_answer_is_opened_by_the_browser_that_brought_it_alone(
    kari: Traveller, portals: tuple[Portal, Portal]
) -> None:
    """Who lets another person answer under a session id of her own reads nothing of it."""
    home = portals[0]
    request = await kari.begin()
    answer = forged(kari, await signed(portals[1]), request)
    first, brought = [(await kari.come_back(answer)).header("Location") for _ in range(2)]
    address, _, arrival = brought.partition("?arrival=")
    assert len(arrival) == 43
    for path in (address, f"{address}?arrival=", f"{address}?arrival={'a' * 43}", first):
        refused = await kari.home.get(path)
        assert (refused.status, ">ANSWER_ELSEWHERE<" in refused.text) == (409, True), path
    assert (await kari.home.get(f"{address}/elmo.xml")).status == 404
    assert (await kari.home.press(f"{address}/keep", {"mine": "yes"})).status == 404
    assert T["emrex"]["waiting"] not in (await kari.home.get("/me/imports")).text
    imports = Imports(home.pool, home.keys, home.clock)
    (held_of_her,) = await Imported(imports).held(kari.home.lookup)
    assert held_of_her["content"] == ""
    ola = await home.learner()
    assert (await ola.get(brought)).status == 404
    for _ in range(2):  # her browser may send it again
        opened = await kari.home.get(brought)
        assert (opened.status, opened.header("Location")) == (303, address)
    assert T["emrex"]["imported"] in (await kari.home.get(address)).text


async def test_nobody_else_sees_or_ends_it(kari: Traveller, portals: tuple[Portal, Portal]) -> None:
    request = await kari.begin()
    address = await kari.arrived(forged(kari, await signed(portals[1]), request))
    ola = await portals[0].learner()
    for path in (address, f"{address}/elmo.xml"):
        assert (await ola.get(path)).status == 404
        answer = await Browser(portals[0]).get(path)
        assert (answer.status, answer.header("Location")) == (303, "/")
    assert (await ola.press(f"{address}/keep")).status == 404
    await ola.press(f"{address}/delete")
    assert (await kari.home.get(address)).status == 200


async def test_an_import_is_nobody_s_who_did_not_log_in_for_it(kari: Traveller, portals: tuple[Portal, Portal]) -> None:
    home = portals[0]
    await kari.home.press("/me/imports", {"provider": "XX-EMP"})
    id_ = await home.pool.fetchval("SELECT id FROM emrex_import")
    assert ">IMPORT_NOT_CONFIRMED<" in (await kari.home.get(f"/me/imports/{id_}")).text
    home.openid.number = NUMBER[::-1]  # type: ignore[attr-defined]  # somebody else logs in meanwhile
    assert ">OTHER_LEARNER<" in (await kari.home.get("/callback?code=c&state=s")).text
    assert await home.pool.fetchval("SELECT birth_date FROM emrex_import") is None


async def test_a_log_in_confirms_the_import_that_it_was_begun_for_alone(
    kari: Traveller, portals: tuple[Portal, Portal]
) -> None:
    home = portals[0]
    for acronym in ("ZZ", "XX-EMP"):
        await kari.home.press("/me/imports", {"provider": acronym})
    arrived = await kari.home.get("/callback?code=c&state=s")
    confirmed = await home.pool.fetch("SELECT id, provider FROM emrex_import WHERE birth_date IS NOT NULL")
    assert [(f"/me/imports/{row['id']}", row["provider"]) for row in confirmed] == [
        (arrived.header("Location"), "XX-EMP")
    ]


async def test_what_is_not_answered_or_not_kept_goes(place: tuple[asyncpg.Pool, Path]) -> None:
    home, abroad = await two_portals(*place)  # time goes by here, and nowhere else
    await home.pool.execute("TRUNCATE subscriber CASCADE")
    kari = await known(home, abroad)
    request = await kari.begin()
    home.clock.advance(AWAITED_FOR)
    answer = forged(kari, await signed(abroad, at=home.clock.now()), request)
    assert ">EMREX_SESSION_UNKNOWN<" in (await kari.come_back(answer)).text
    request = await kari.begin()
    answer = forged(kari, await signed(abroad, at=home.clock.now()), request)
    address = await kari.arrived(answer)
    home.clock.advance(UNDECIDED_FOR)
    assert (await kari.home.get(address)).status == 404
    assert (await kari.home.press(f"{address}/keep")).status == 404
    assert T["emrex"]["none"] in (await kari.home.get("/me/imports")).text


async def test_too_many_are_refused(kari: Traveller, portals: tuple[Portal, Portal]) -> None:
    for _ in range(MAX_IMPORTS):
        assert (await kari.home.press("/me/imports", {"provider": "ZZ"})).status == 303
    assert ">TOO_MANY_IMPORTS<" in (await kari.home.press("/me/imports", {"provider": "ZZ"})).text
    assert ">DATA_PROVIDER_UNKNOWN<" in (await kari.home.press("/me/imports", {"provider": "YY"})).text


async def kept(traveller: Traveller, abroad: Portal) -> str:
    """Keep what came; the address of the import."""
    request = await traveller.begin()
    address = await traveller.arrived(forged(traveller, await signed(abroad), request))
    assert (await traveller.home.press(f"{address}/keep")).status == 303
    return address


async def test_what_she_has_is_bounded_in_bytes(kari: Traveller, portals: tuple[Portal, Portal]) -> None:
    home, abroad = portals
    address = await kept(kari, abroad)
    await home.pool.execute("UPDATE emrex_import SET content = decode(repeat('00', $1), 'hex')", MAX_HELD - 100)
    request = await kari.begin()
    answer = forged(kari, await signed(abroad), request)
    refused = await kari.come_back(answer)
    assert (refused.status, ">IMPORTS_TOO_LARGE<" in refused.text) == (429, True)
    assert T["refused"]["IMPORTS_TOO_LARGE"] in refused.text
    assert await home.pool.fetchval("SELECT count(*) FROM emrex_import WHERE code IS NULL") == 1, "it waits still"
    await kari.home.press(f"{address}/delete")
    assert T["emrex"]["imported"] in (await kari.home.get(await kari.arrived(answer))).text


async def test_one_that_does_not_open_keeps_nobody_from_the_others(
    kari: Traveller, portals: tuple[Portal, Portal]
) -> None:
    home, abroad = portals
    broken, whole = await kept(kari, abroad), await kept(kari, abroad)
    await home.pool.execute(
        "UPDATE emrex_import SET content = content || '\\x00', session_id = '\\x00' WHERE id = $1",
        UUID(broken.rpartition("/")[2]),
    )
    page = (await kari.home.get("/me/imports")).text
    assert page.count(T["emrex"]["unreadable"]) == 1
    assert f"{whole}/elmo.xml" in page
    assert f"{broken}/delete" in page
    assert T["emrex"]["unreadable"] in (await kari.home.get(broken)).text
    held = await Imported(Imports(home.pool, home.keys, home.clock)).held(kari.home.lookup)
    assert [(one["unreadable"], one["content"] is None) for one in held] == [(False, False), (True, True)]
    await kari.home.press(f"{broken}/delete")
    assert T["emrex"]["unreadable"] not in (await kari.home.get("/me/imports")).text


async def test_the_list_opens_one_at_a_time(kari: Traveller, portals: tuple[Portal, Portal]) -> None:
    home, abroad = portals
    address = await kept(kari, abroad)
    document = (await kari.home.get(f"{address}/elmo.xml")).body
    large = document.replace(b"</elmo>", b"<!--" + b"x" * 1_000_000 + b"--></elmo>")
    row = await home.pool.fetchrow("SELECT * FROM emrex_import JOIN subscriber USING (pseudonym)")
    key = home.keys.data_key(row["wrapped_key"], row["pseudonym"])
    for number in range(8):
        id_ = UUID(int=number)
        await home.pool.execute(
            "INSERT INTO emrex_import (id, pseudonym, provider, session_hash, session_id, begun_at, code, answered_at, "
            "digest, match, content) VALUES ($1, $2, 'XX-EMP', $3, '', $4, 'NCP_OK', $4, '', 'same', $5)",
            id_,
            row["pseudonym"],
            number.to_bytes(32),
            NOW,
            key.seal(large, "emrex_import", str(id_), "content"),
        )
    await kari.home.get("/me/imports")
    tracemalloc.start()
    try:
        page = await kari.home.get("/me/imports")
        assert tracemalloc.get_traced_memory()[1] < 5 * len(large)
    finally:
        tracemalloc.stop()
    assert page.text.count("elmo.xml") == 9


async def test_it_is_sealed_in_her_copy_and_gone_with_her(kari: Traveller, portals: tuple[Portal, Portal]) -> None:
    home = portals[0]
    request = await kari.begin()
    dump = str(await home.pool.fetch("SELECT * FROM emrex_import"))
    assert request.fields["sessionId"] not in dump
    assert BORN.isoformat() not in dump
    address = await kari.arrived(forged(kari, await signed(portals[1]), request))
    await kari.home.press(f"{address}/keep")
    assert "Prøvesen" not in str(await home.pool.fetch("SELECT * FROM emrex_import"))
    imported = Imported(Imports(home.pool, home.keys, home.clock))
    (one,) = await imported.held(kari.home.lookup)
    assert (one["provider"], one["kept"]) == ("XX-EMP", True)
    assert "Prøvesen" in one["content"]
    await Holdings(home.pool, home.keys, (), home.clock).erase(kari.home.lookup)
    assert await home.pool.fetchval("SELECT count(*) FROM emrex_import") == 0
    assert ">EMREX_SESSION_UNKNOWN<" in (await kari.come_back(forged(kari, b"", request))).text


async def test_who_is_not_registered_keeps_nothing(portals: tuple[Portal, Portal]) -> None:
    home = portals[0]
    ola = await home.learner()
    await home.store.erase(ola.lookup)
    assert T["emrex"]["register_first"] in (await ola.get("/me/imports")).text
    assert ">IMPORT_NEEDS_REGISTRATION<" in (await ola.press("/me/imports", {"provider": "XX-EMP"})).text


async def test_over_http_between_two_sites(place: tuple[asyncpg.Pool, Path]) -> None:
    pool, folder = place
    await pool.execute("TRUNCATE subscriber CASCADE")
    async with served(pool, folder) as (home, abroad):
        traveller = Traveller(await home.learner(NUMBER), await abroad.learner(NUMBER))
        await traveller.home.hold("Hjemmefag", learner=learner())
        handle = await hold(traveller, "Fag")
        secrets = {one.portal.url: one.cookies["vitne_session"] for one in (traveller.home, traveller.abroad)}
        async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as browser:
            for url, secret in secrets.items():
                browser.cookie_jar.update_cookies({"vitne_session": secret}, URL(url))

            async def send(url: str, fields: Any) -> tuple[str, str]:
                async with browser.post(url, data=fields) as response:
                    assert response.status == 200, await response.text()
                    return str(response.url), await response.text()

            async with browser.get(f"{home.url}/me/imports") as response:
                begun = leaving(await response.text(), "/me/imports")
            _, page = await send(f"{home.url}{begun.url}", [*begun.fields.items(), ("provider", "XX-EMP")])
            request = leaving(page, abroad.url)
            address, page = await send(request.url, request.fields)
            assert address == f"{abroad.url}/emrex/results"
            choice = leaving(page, "/emrex/answer")
            _, page = await send(f"{abroad.url}{choice.url}", [*choice.fields.items(), ("pick", handle)])
            answer = leaving(page, home.url)
            address, page = await send(answer.url, answer.fields)
            assert address.startswith(f"{home.url}/me/imports/")
            assert T["emrex"]["imported"] in page
            assert "Fag" in page
