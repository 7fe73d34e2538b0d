"""Sharing through the pages: by a link and a code, checked live, on the learner's terms; and files of a credential."""

from __future__ import annotations

import asyncio
import html
import io
import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import pypdf
import pytest
from pyhanko.pdf_utils.reader import PdfFileReader
from pyhanko.sign.validation import async_validate_pdf_signature
from pyhanko_certvalidator import ValidationContext

from services.portal.grouping import PICKED_UNFOLDED
from services.portal.local_time import local_time_text
from services.portal.sharing import access
from services.portal.sharing.signature import KEY_LABEL
from services.portal.sharing.store import Shares
from services.portal.sharing.terms import KEPT_AFTER_END, MAX_WRONG_CODES
from services.portal.texts import LANGUAGES, TEXTS
from services.portal.wiring import MIGRATIONS
from tests.integration.portal_pages import NOW, URL, Browser, Learner, Portal
from tests.unit.asgi import Answer
from tests.unit.credential_samples import sample_credential
from vitne.credentials import sd_jwt_vc
from vitne.credentials.certificates import Certificate
from vitne.credentials.jose import ES256
from vitne.credentials.w3c import baking_png
from vitne.dev.postgres import EmbeddedPostgres
from vitne.errors import InvalidArgument, Unavailable
from vitne.runtime.certificates import AUTHORITY
from vitne.runtime.custody import FileKeyCustody
from vitne.runtime.database import open_pool
from vitne.runtime.migrations import migrate
from vitne.runtime.status import errors_to_status
from vitne_api.credential.v1 import credential_pb2
from vitne_api.issuer.v1 import issuer_pb2
from vitne_api.verifier.v1 import verifier_pb2

VALID, REVOKED = TEXTS["nb"]["verdicts"]["valid"], TEXTS["nb"]["verdicts"]["revoked"]
NAME = ["given_name", "family_name"]


@pytest.fixture(scope="module")
async def place(
    postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[asyncpg.Pool, Path]]:
    """A database and a folder for all portals here: learners are each test's own."""
    dsn = await postgres.create_database(f"sharing_{uuid4().hex}")
    await migrate(dsn, MIGRATIONS)
    pool = await open_pool(dsn)
    yield pool, tmp_path_factory.mktemp("portal")
    pool.terminate()


@pytest.fixture
def portal(place: tuple[asyncpg.Pool, Path]) -> Portal:
    return Portal(*place)


@pytest.fixture
async def kari(portal: Portal) -> Learner:
    return await portal.learner()


@dataclass
class Link:
    """What a learner was told once."""

    share: str
    token: str
    code: str

    @property
    def path(self) -> str:
        return f"/s/{self.token}"


async def told(kari: Learner, answer: Answer) -> Link:
    """The link that her browser is led to."""
    assert answer.status == 303, answer.text
    return read((await kari.get(answer.header("Location"))).text)


def read(page: str) -> Link:
    link = re.search(rf'href="{re.escape(URL)}/s/([\w-]{{43}})"', page)
    code = re.search(r'<code class="secret" id="code">(\w{6})</code>', page)
    share = re.search(r'action="/me/shares/([\w-]+)/document"', page)
    assert link is not None
    assert code is not None
    assert share is not None
    return Link(share[1], link[1], code[1])


async def share(kari: Learner, *handles: str, claims: list[str] | None = None, days: str = "7") -> Link:
    form = [("share", str(uuid4())), ("days", days)]
    for handle in handles:
        form.append(("pick", handle))
        form += [(f"claims.{handle}", claim) for claim in (NAME if claims is None else claims)]
    return await told(kari, await kari.press("/me/shares", form))


async def opened(portal: Portal, link: Link) -> Browser:
    """A stranger who has given the code."""
    stranger = Browser(portal)
    answer = await stranger.post(link.path, {"code": link.code})
    assert (answer.status, answer.header("Location")) == (303, link.path), answer.text
    return stranger


async def test_a_stranger_sees_what_she_chose_and_what_the_verifier_says_now(portal: Portal, kari: Learner) -> None:
    chosen, other = await kari.hold("Truck & kran"), await kari.hold("Hemmelig kurs")
    link = await share(kari, chosen)
    stranger = Browser(portal)
    asked = await stranger.get(link.path)
    assert asked.status == 200
    for hidden in ("Truck", "Prøvesen", "Kari"):
        assert hidden not in asked.text, "nothing is told before the code"
    assert asked.cookies() == []
    stranger = await opened(portal, link)
    page = (await stranger.get(link.path)).text
    for shown in ("Truck &amp; kran", "Kari Prøvesen", VALID, "The signature was looked at", "Kender drivhusgas"):
        assert shown in page
    # Not the grade, the day of birth or the number, nor another credential, nor any name under which she is known here.
    for hidden in ("1955", "01825500042", ">12<", "Hemmelig", kari.pseudonym, chosen, other):
        assert hidden not in page
    (presented,) = portal.verifier.asked
    assert set(sd_jwt_vc.parse(presented).sd_jwt.unverified_claims) >= set(NAME)
    assert sd_jwt_vc.parse(presented).credential.grade is None
    file = await stranger.get(f"{link.path}/1")
    assert (file.status, file.header("Content-Type")) == (200, "application/dc+sd-jwt")
    assert file.header("Content-Disposition").startswith("attachment")
    assert file.text == presented


async def test_a_stranger_is_told_that_it_rests_on_no_law_yet(portal: Portal, kari: Learner) -> None:
    proposed = replace(sample_credential().decision, rule="no.private_provider.kompetanseattest")
    for decision, told_so in ((sample_credential().decision, False), (proposed, True)):
        stranger = await opened(portal, link := await share(kari, await kari.hold(decision=decision)))
        assert ("Forslag, ikke gjeldende rett" in (await stranger.get(link.path)).text) is told_so


@pytest.mark.parametrize("language", LANGUAGES)
async def test_its_pages_are_in_the_reader_s_language(portal: Portal, kari: Learner, language: str) -> None:
    t = TEXTS[language]
    kari.language = language
    await kari.hold()
    form = await kari.get("/me/shares/new")
    assert html.escape(t["share"]["new_lead"]) in form.text.replace("&#39;", "&#x27;")
    link = await share(kari, re.findall(r'name="pick" value="([^"]+)"', form.text)[0])
    stranger = await opened(portal, link)
    stranger.language = language
    page = (await stranger.get(link.path)).text
    assert t["verdicts"]["valid"] in page
    assert t["checks"]["signature"] in page
    assert t["checks"]["other"] in page, "a check that this release does not know"
    listed = (await kari.get("/me/shares")).text
    assert t["share"]["states"]["open"] in listed
    assert t["claims"]["family_name"] in listed


async def test_what_a_rule_asks_for_is_not_told_to_a_stranger_as_if_it_had_been_found(
    portal: Portal, kari: Learner
) -> None:
    """It comes from the credential alone: whether the issuer had it, the verifier's checks say."""
    link = await share(kari, await kari.hold())
    stranger = await opened(portal, link)
    for verdict in (verifier_pb2.VERDICT_VALID, verifier_pb2.VERDICT_INVALID):
        portal.verifier.verdict = verdict
        portal.clock.advance(timedelta(seconds=3))
        page = (await stranger.get(link.path)).text
        assert "The signature was looked at" in page
        assert TEXTS["nb"]["entitled"].partition("{")[0] not in page


async def test_she_sees_how_often_it_was_opened_and_when(portal: Portal, kari: Learner) -> None:
    link = await share(kari, await kari.hold())
    assert "Aldri åpnet" in (await kari.get("/me/shares")).text
    stranger = await opened(portal, link)
    for _ in range(3):
        await stranger.get(link.path)
    portal.clock.advance(timedelta(hours=2))
    assert "Skriv koden" in (await stranger.get(link.path)).text, "the visit has ended"
    await opened(portal, link)
    listed = (await kari.get("/me/shares")).text
    assert "2 ganger" in listed
    assert "22.11.2026 kl. 11:00 (norsk tid)" in listed
    assert "22.11.2026 kl. 13:00 (norsk tid)" in listed


async def test_a_revocation_is_seen_within_seconds(portal: Portal, kari: Learner) -> None:
    link = await share(kari, await kari.hold())
    stranger = await opened(portal, link)
    for _ in range(5):
        assert VALID in (await stranger.get(link.path)).text
    assert len(portal.verifier.asked) == 1, "once for all who look within a few seconds"
    portal.verifier.verdict = verifier_pb2.VERDICT_REVOKED
    portal.clock.advance(timedelta(seconds=3))
    page = (await stranger.get(link.path)).text
    assert REVOKED in page
    assert VALID not in page


@pytest.mark.parametrize("verdict", [*verifier_pb2.Verdict.values(), 77])
async def test_no_verdict_but_valid_is_shown_as_valid(portal: Portal, kari: Learner, verdict: int) -> None:
    link = await share(kari, await kari.hold())
    portal.verifier.verdict = verdict  # type: ignore[assignment]
    page = (await (await opened(portal, link)).get(link.path)).text
    said = re.findall(r'<div class="alert \w+"><p><strong>([^<]+)</strong>', page)
    valid = {verifier_pb2.VERDICT_VALID: VALID, verifier_pb2.VERDICT_VALID_WITH_NOTES: "Gyldig, med merknad"}
    assert len(said) == 1
    assert said[0] == valid.get(verdict, said[0])  # type: ignore[call-overload]
    assert (said[0] in valid.values()) == (verdict in valid)


async def test_while_the_verifier_is_down_nothing_is_valid(portal: Portal, kari: Learner) -> None:
    link = await share(kari, await kari.hold())
    stranger = await opened(portal, link)
    portal.verifier.down = True
    answer = await stranger.get(link.path)
    assert answer.status == 200
    assert "Kunne ikke kontrolleres nå" in answer.text
    assert VALID not in answer.text
    assert "Klimaregnskap" in answer.text
    portal.verifier.down = False
    portal.clock.advance(timedelta(seconds=1))
    assert VALID in (await stranger.get(link.path)).text


async def refused(portal: Portal, path: str, reason: str, code: str = "222222") -> None:
    for answer in (await Browser(portal).get(path), await Browser(portal).post(path, {"code": code})):
        assert answer.status in (404, 409), answer.text
        assert reason in answer.text
        assert "Klimaregnskap" not in answer.text
        assert TEXTS["nb"]["refused"][reason] in answer.text


async def test_a_flood_of_codes_for_one_link_keeps_nobody_from_another(
    portal: Portal, kari: Learner, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = await kari.hold()
    flooded, other = await share(kari, handle), await share(kari, handle)
    begun, derived, plain = asyncio.Event(), list[str](), access.derived

    async def gated(token: str, code: str) -> bytes:
        derived.append(token)
        await begun.wait()
        return await plain(token, code)

    monkeypatch.setattr(access, "derived", gated)

    def tried(link: Link, code: str) -> asyncio.Task[Answer]:
        return asyncio.create_task(Browser(portal).post(link.path, {"code": code}))

    flood = [tried(flooded, "222222") for _ in range(4 * MAX_WRONG_CODES)]
    waiting = set(flood)
    while len(waiting) > MAX_WRONG_CODES:
        done, waiting = await asyncio.wait(waiting, timeout=60, return_when=asyncio.FIRST_COMPLETED)
        assert {(one.result().status, "CODES_BEING_TRIED" in one.result().text) for one in done} == {(429, True)}
    right = [tried(other, other.code) for _ in range(MAX_WRONG_CODES)]
    begun.set()
    assert [(await one).status for one in right] == [303] * MAX_WRONG_CODES, "right ones at once lock nothing"
    assert sorted([(await one).status for one in waiting])[0] == 403
    assert derived.count(flooded.token) == MAX_WRONG_CODES
    await refused(portal, flooded.path, "SHARE_LOCKED", flooded.code)
    await opened(portal, other)


async def test_wrong_codes_are_counted_and_lock_it_until_she_makes_a_new_link(portal: Portal, kari: Learner) -> None:
    link = await share(kari, await kari.hold())
    stranger = Browser(portal)
    for left in (4, 3, 2):
        answer = await stranger.post(link.path, {"code": "222222"})
        assert answer.status == 403
        assert f"{left} ganger til" in answer.text
        portal.restart()  # no restart forgets
    assert "én gang til" in (await stranger.post(link.path, {"code": "222222"})).text
    assert "SHARE_LOCKED" in (await stranger.post(link.path, {"code": "333333"})).text
    await refused(portal, link.path, "SHARE_LOCKED", link.code)
    assert "Låst" in (await kari.get("/me/shares")).text
    fresh = await told(kari, await kari.press(f"/me/shares/{link.share}/link"))
    await refused(portal, link.path, "SHARE_UNKNOWN", link.code)
    assert VALID in (await (await opened(portal, fresh)).get(fresh.path)).text


async def test_what_can_be_no_code_is_told_apart_and_not_counted(portal: Portal, kari: Learner) -> None:
    link = await share(kari, await kari.hold())
    stranger = Browser(portal)
    for form in [{}, *({"code": code} for code in ("ÆØ!", "22", "2222222", "O0I1LU", link.code + "!"))] * 2:
        answer = await stranger.post(link.path, form)
        assert answer.status == 400
        assert TEXTS["nb"]["shared"]["code_malformed"] in answer.text
    assert "4 ganger til" in (await stranger.post(link.path, {"code": "222222"})).text
    assert VALID in (await (await opened(portal, link)).get(link.path)).text


@pytest.mark.parametrize("language", LANGUAGES)
async def test_its_end_is_told_alike_everywhere(portal: Portal, kari: Learner, language: str) -> None:
    t = TEXTS[language]
    kari.language = language
    form = {"share": str(uuid4()), "days": "7", "pick": await kari.hold()}
    made = (await kari.get((await kari.press("/me/shares", form)).header("Location"))).text
    link = read(made)
    stranger = await opened(portal, link)
    stranger.language = language
    end = local_time_text(portal.clock.now() + timedelta(days=7), t)
    for page in (made, (await kari.get("/me/shares")).text, (await stranger.get(link.path)).text):
        assert f">{end}</time>" in page


async def test_who_ticked_nothing_has_the_form_again(portal: Portal, kari: Learner) -> None:
    handle = await kari.hold()
    answer = await kari.press("/me/shares", {"share": str(uuid4()), "days": "1"})
    assert answer.status == 400
    assert TEXTS["nb"]["share"]["nothing_picked"] in answer.text
    assert f'name="pick" value="{handle}"' in answer.text
    assert re.search(r'name="days" value="1" checked', answer.text), "what she had chosen stays"
    again = re.findall(r'name="(share|csrf_token)" value="([^"]+)"', answer.text)
    assert (await kari.post("/me/shares", [*again, ("days", "1"), ("pick", handle)])).status == 303


async def test_it_expires_and_is_renewed(portal: Portal, kari: Learner) -> None:
    link = await share(kari, await kari.hold(), days="1")
    stranger = await opened(portal, link)
    portal.clock.advance(timedelta(days=1))
    assert "SHARE_EXPIRED" in (await stranger.get(link.path)).text
    assert "SHARE_EXPIRED" in (await stranger.get(f"{link.path}/1")).text
    await refused(portal, link.path, "SHARE_EXPIRED", link.code)
    assert (await kari.press(f"/me/shares/{link.share}/renew", {"days": "7"})).status == 303
    assert VALID in (await (await opened(portal, link)).get(link.path)).text


async def test_she_withdraws_and_it_is_gone_at_once(portal: Portal, kari: Learner) -> None:
    link = await share(kari, await kari.hold("Havneinspeksjon"))
    stranger = await opened(portal, link)
    answer = await kari.press(f"/me/shares/{link.share}/withdraw")
    assert (answer.status, answer.header("Location")) == (303, "/me/shares")
    assert "SHARE_WITHDRAWN" in (await stranger.get(link.path)).text
    await refused(portal, link.path, "SHARE_WITHDRAWN", link.code)
    assert f"<h1>{TEXTS['nb']['refused_titles']['SHARE_WITHDRAWN']}</h1>" in (await stranger.get(link.path)).text
    listed = (await kari.get("/me/shares")).text
    assert "22.11.2026 kl. 11:00 (norsk tid)</time>: du avsluttet delingen" in listed
    assert "Havneinspeksjon" in listed, "it is told apart from others that ended"


async def test_what_ended_is_told_apart_when_nothing_is_left_of_it(portal: Portal, kari: Learner) -> None:
    handle = await kari.hold("Havneinspeksjon")
    form = {"days": "7", "pick": handle}
    await told(kari, await kari.press("/me/shares", {**form, "share": str(uuid4()), "label": " Søknad  hos\x07Havna "}))
    portal.clock.advance(timedelta(hours=1))
    await share(kari, handle)
    listed = (await kari.get("/me/shares")).text
    assert ">Søknad hos Havna</h2>" in listed
    assert "Havneinspeksjon</span></h2>" in listed, "what it is of, where she calls it nothing"
    async with portal.pool.acquire() as conn, conn.transaction():
        await portal.store.forget(conn, {handle: portal.clock.now()})
    listed = (await kari.get("/me/shares")).text
    assert ">Søknad hos Havna</h2>" in listed
    assert ">Delt 22.11.2026 kl. 12:00 (norsk tid)</h2>" in listed
    assert listed.count(TEXTS["nb"]["share"]["gone"]) == 2
    refused = await kari.press("/me/shares", {**form, "share": str(uuid4()), "label": "x" * 81})
    assert (refused.status, ">LABEL_TOO_LONG<" in refused.text) == (400, True)


async def test_what_she_calls_it_is_hers_to_change(portal: Portal, kari: Learner) -> None:
    link = await share(kari, await kari.hold("Havneinspeksjon"))
    path = f"/me/shares/{link.share}/label"
    changed = await kari.press(path, {"label": " Søknad  hos\x07Havna "})
    assert (changed.status, changed.header("Location")) == (303, "/me/shares")
    listed = (await kari.get("/me/shares")).text
    assert ">Søknad hos Havna</h2>" in listed
    assert 'value="Søknad hos Havna"' in listed
    for form, status, refusal in (
        ({"label": "x" * 81}, 400, "LABEL_TOO_LONG"),
        ({"label": "Mine", "csrf_token": "forged"}, 403, "FORGED_FORM"),
    ):
        answer = await (kari.post if "csrf_token" in form else kari.press)(path, form)
        assert (answer.status, refusal in answer.text) == (status, True)
    assert ">Søknad hos Havna</h2>" in (await kari.get("/me/shares")).text
    assert (await kari.press(path, {"label": ""})).status == 303
    assert "Havneinspeksjon</span></h2>" in (await kari.get("/me/shares")).text


async def test_a_look_deletes_nothing_and_what_ended_long_ago_is_swept_out(portal: Portal, kari: Learner) -> None:
    link = await share(kari, await kari.hold())
    portal.clock.advance(timedelta(days=7) + KEPT_AFTER_END + timedelta(seconds=1))
    held = "SELECT count(*) FROM share WHERE id = $1::text::uuid"
    assert (await kari.get("/me/shares")).status == 200
    assert await portal.pool.fetchval(held, link.share) == 1
    sweeping = asyncio.create_task(Shares(portal.pool, portal.keys).run(portal.clock))
    while await portal.pool.fetchval(held, link.share):
        await asyncio.sleep(0.01)
        assert not sweeping.done()
    sweeping.cancel()
    assert "Du har ikke delt noe ennå" in (await kari.get("/me/shares")).text


@pytest.mark.parametrize("language", LANGUAGES)
async def test_a_new_link_and_code_are_made_when_she_says_so_and_not_before(
    portal: Portal, kari: Learner, language: str
) -> None:
    t = TEXTS[language]
    kari.language = language
    link = await share(kari, await kari.hold("Havneinspeksjon"))
    path = f"/me/shares/{link.share}/link"
    assert f'href="{path}"' in (await kari.get("/me/shares")).text
    asked = await kari.get(path)
    assert asked.status == 200
    for words in (t["share"]["replace_lead"], "Havneinspeksjon", t["confirm"].format(act=t["share"]["replace"])):
        assert words in html.unescape(asked.text)
    assert VALID in (await (await opened(portal, link)).get(link.path)).text, "to be asked ends nothing"
    fresh = await told(kari, await kari.press(path))
    await refused(portal, link.path, "SHARE_UNKNOWN", link.code)
    assert VALID in (await (await opened(portal, fresh)).get(fresh.path)).text


async def test_nobody_is_asked_about_a_share_that_has_ended_or_is_another_s(portal: Portal, kari: Learner) -> None:
    link = await share(kari, await kari.hold())
    path = f"/me/shares/{link.share}/link"
    assert (await Browser(portal).get(path)).status == 303, "who is not logged in is led to the front page"
    await kari.press(f"/me/shares/{link.share}/withdraw")
    for address, status, refusal in (
        (path, 409, "SHARE_WITHDRAWN"),
        (f"/me/shares/{uuid4()}/link", 404, "SHARE_UNKNOWN"),
        ("/me/shares/x/link", 404, "SHARE_UNKNOWN"),
    ):
        answer = await kari.get(address)
        assert (answer.status, refusal in answer.text) == (status, True)


async def test_of_many_she_picks_by_year(portal: Portal, kari: Learner) -> None:
    for number in range(PICKED_UNFOLDED):
        await kari.hold(f"Kurs {number}", awarded_on=date(2026, 1, 1))
    few = (await kari.get("/me/shares/new")).text
    assert "<summary>2026" not in few
    old = await kari.hold("Gammelt kurs", awarded_on=date(2019, 5, 2))
    older = await kari.hold("Eldre kurs", awarded_on=date(2011, 5, 2))
    many = (await kari.get(f"/me/shares/new?pick={old}")).text
    folded = re.findall(r"<details( open)?>\s*<summary>(\d+) \((\d+)\)</summary>", many)
    assert folded == [(" open", "2026", "12"), (" open", "2019", "1"), ("", "2011", "1")]
    made = await told(kari, await kari.press("/me/shares", {"share": str(uuid4()), "days": "7", "pick": older}))
    assert "Eldre kurs" in (await (await opened(portal, made)).get(made.path)).text


async def test_what_an_issuer_wrote_says_in_which_language(portal: Portal, kari: Learner) -> None:
    kari.language = "en"
    link = await share(kari, await kari.hold())
    stranger = await opened(portal, link)
    stranger.language = "en"
    for page in ("/me/shares/new", "/me/timeline"):
        assert '<span lang="da">UCL Erhvervsakademi' in (await kari.get(page)).text, page
    assert '<span lang="da">UCL Erhvervsakademi' in (await stranger.get(link.path)).text
    assert re.search(r'<span class="hidden">: <span lang="nb">Klimaregnskap', (await stranger.get(link.path)).text)


async def test_a_learner_who_is_erased_meanwhile_leaves_no_link(portal: Portal, kari: Learner) -> None:
    link = await share(kari, await kari.hold())
    stranger = await opened(portal, link)
    await portal.store.erase(kari.lookup)
    for path in (link.path, f"{link.path}/1"):
        assert "SHARE_UNKNOWN" in (await stranger.get(path)).text
    await refused(portal, link.path, "SHARE_UNKNOWN", link.code)


@pytest.mark.parametrize("token", ["a", "a" * 43, "a" * 44, "%00" * 43, "æ" * 43, "..%2f" * 8])
async def test_a_guessed_link_leads_nowhere(portal: Portal, token: str) -> None:
    answer = await Browser(portal).get(f"/s/{token}")
    assert answer.status == 404
    assert (await Browser(portal).post(f"/s/{token}", {"code": "222222"})).status == 404
    assert (await Browser(portal).get(f"/s/{token}/1")).status == 404


async def test_a_visit_opens_no_file_that_is_not_there(portal: Portal, kari: Learner) -> None:
    link = await share(kari, await kari.hold())
    stranger = await opened(portal, link)
    for number in ("0", "2", "-1", "1.0", "x", "١"):
        assert (await stranger.get(f"{link.path}/{number}")).status == 404, number
    assert (await Browser(portal).get(f"{link.path}/1")).header("Location") == link.path


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"pick": None}, "NOTHING_PICKED"),
        ({"pick": "x" * 43}, "CREDENTIAL_NOT_HERS"),
        ({"days": "3650"}, "BAD_LIFETIME"),
        ({"days": None}, "BAD_LIFETIME"),
        ({"share": "1"}, "BAD_UUID"),
        ({"claim": "achievement"}, "CLAIM_UNKNOWN"),
        ({"csrf_token": "forged"}, "FORGED_FORM"),
    ],
)
async def test_a_bad_form_shares_nothing(
    portal: Portal, kari: Learner, changes: dict[str, str | None], reason: str
) -> None:
    handle = await kari.hold()
    fields: dict[str, str | None] = {"share": str(uuid4()), "days": "7", "pick": handle, **changes}
    claim = fields.pop("claim", None)
    form = [(name, value) for name, value in fields.items() if value is not None]
    if claim:
        form.append((f"claims.{handle}", claim))
    answer = await (kari.post if "csrf_token" in changes else kari.press)("/me/shares", form)
    assert 400 <= answer.status < 500
    assert reason in answer.text
    assert "Du har ikke delt noe ennå" in (await kari.get("/me/shares")).text


async def test_nobody_shares_or_ends_what_is_another_s(portal: Portal, kari: Learner) -> None:
    handle = await kari.hold()
    link = await share(kari, handle)
    other = await portal.learner()
    stolen = await other.press("/me/shares", {"share": str(uuid4()), "days": "7", "pick": handle})
    assert "CREDENTIAL_NOT_HERS" in stolen.text
    for act in ("withdraw", "renew", "label", "link", "document"):
        answer = await other.press(f"/me/shares/{link.share}/{act}", {"days": "7", **vars(link)})
        assert (answer.status, "SHARE_UNKNOWN" in answer.text) == (404, True), act
    files = await other.get(f"/me/credentials/{handle}/files")
    assert (files.status, ">NO_SUCH_CREDENTIAL<" in files.text) == (404, True)
    await opened(portal, link)


async def test_who_is_not_logged_in_is_led_to_the_front(portal: Portal) -> None:
    for path in ("/me/shares", "/me/shares/new", f"/me/credentials/{'h' * 43}/files/edc"):
        answer = await Browser(portal).get(path)
        assert (answer.status, answer.header("Location")) == (303, "/")


async def test_a_reload_of_a_new_link_makes_no_other(portal: Portal, kari: Learner) -> None:
    link = await share(kari, await kari.hold())
    page = f"/me/shares/{link.share}/made"
    assert read((await kari.get(page)).text) == link
    await opened(portal, link)
    # Only where it was made: another browser of hers, or another share's page, leads to the list.
    elsewhere = Browser(portal, **{name: value for name, value in kari.cookies.items() if "session" in name})
    for browser, path in ((elsewhere, page), (kari, f"/me/shares/{uuid4()}/made")):
        answer = await browser.get(path)
        assert (answer.status, answer.header("Location")) == (303, "/me/shares")
    # What opens nothing any more is not shown as a link.
    await kari.press(f"/me/shares/{link.share}/withdraw")
    assert (await kari.get(page)).header("Location") == "/me/shares"


async def test_a_restart_in_the_middle_of_each_flow_loses_nothing(portal: Portal, kari: Learner) -> None:
    handle = await kari.hold()
    form = await kari.get(f"/me/shares/new?pick={handle}")
    assert f'value="{handle}" checked' in form.text
    id_ = re.findall(r'name="share" value="([^"]+)"', form.text)[0]
    fields = {"share": id_, "days": "7", "pick": handle}
    lost = await told(kari, await kari.press("/me/shares", fields))  # the answer never reaches her …
    portal.restart()
    link = await told(kari, await kari.press("/me/shares", fields))  # … and her browser sends the form again
    assert lost.share == link.share
    assert (await Browser(portal).get(lost.path)).status == 404
    stranger = await opened(portal, link)
    portal.restart()
    assert VALID in (await stranger.get(link.path)).text
    assert (await kari.get("/me/shares")).text.count("Deles nå") == 1


async def document(kari: Learner, link: Link) -> bytes:
    answer = await kari.press(f"/me/shares/{link.share}/document", {"token": link.token, "code": link.code})
    assert (answer.status, answer.header("Content-Type")) == (200, "application/pdf"), answer.text
    assert answer.header("Content-Disposition").startswith("attachment")
    return answer.body


async def test_the_document_is_signed_says_it_all_and_carries_the_credential(portal: Portal, kari: Learner) -> None:
    link = await share(kari, await kari.hold("Čállin ja ŋ, đ, ŧ, ž"), await kari.hold("Kurs to"))
    pdf = await document(kari, link)
    read: Any = pypdf.PdfReader(io.BytesIO(pdf))
    text = "\n".join(page.extract_text() for page in read.pages)
    made = "Laget: 22.11.2026 kl. 11:00 (norsk tid)"
    for said in (
        *("Čállin ja ŋ, đ, ŧ, ž", "Kurs to", "Kari Prøvesen", link.code, "Læringsutbytte", "1,25 studiepoeng"),
        made,
    ):
        assert said in text
    assert "01825500042" not in text
    assert read.trailer["/Root"]["/Lang"] == "nb"
    assert set(read.xmp_metadata.dc_title.values()) == {"Delte resultater"}
    inside = {name: contents[0].decode() for name, contents in read.attachments.items()}
    stranger = await opened(portal, link)
    assert sorted(inside.values()) == sorted([(await stranger.get(f"{link.path}/{n}")).text for n in (1, 2)])
    assert [file.get_object()["/AFRelationship"] for file in read.trailer["/Root"]["/AF"]] == ["/Source"] * 2
    links = [
        a.get_object()["/A"]["/URI"] for page in read.pages for a in page.get("/Annots", ()) if "/A" in a.get_object()
    ]
    assert f"{URL}{link.path}" in links
    assert b"pdfaid:part>3" in pdf
    status = await validated(portal, pdf)
    assert status.bottom_line, status.pretty_print_details()
    assert status.signing_cert.subject.native["common_name"] == "portal.example"


async def validated(portal: Portal, pdf: bytes) -> Any:
    """What pyHanko's own validator says, with the development authority's key as the one that is trusted."""
    reader = PdfFileReader(io.BytesIO(pdf))
    (signature,) = reader.embedded_signatures
    assert signature.sig_object["/SubFilter"] == "/ETSI.CAdES.detached"
    (authority,) = [one for one in signature.other_embedded_certs if one.ca]
    key = Certificate.read(authority.dump()).public_key
    assert key is not None
    assert key.key_id == FileKeyCustody(portal.folder).ensure(AUTHORITY, ES256).key_id
    context = ValidationContext(trust_roots=[authority], moment=NOW, allow_fetching=False)
    return await async_validate_pdf_signature(signature, signer_validation_context=context)


async def test_a_changed_document_is_not_what_was_signed(portal: Portal, kari: Learner) -> None:
    pdf = await document(kari, await share(kari, await kari.hold()))
    changed = pdf.replace(b"/Lang (nb)", b"/Lang (nn)", 1)
    assert changed != pdf
    status = await validated(portal, changed)
    assert not status.bottom_line


async def test_a_document_is_made_of_an_open_share_s_own_link_and_code_alone(portal: Portal, kari: Learner) -> None:
    handle = await kari.hold()
    link, other = await share(kari, handle), await share(kari, handle)
    path = f"/me/shares/{link.share}/document"
    for form in ({}, {"token": link.token, "code": "Rektor: "}, {"token": other.token, "code": other.code}):
        answer = await kari.press(path, form)
        assert (answer.status, "SHARE_UNKNOWN" in answer.text) == (404, True)
    portal.clock.advance(timedelta(days=8))
    answer = await kari.press(path, {"token": link.token, "code": link.code})
    assert (answer.status, "SHARE_EXPIRED" in answer.text) == (409, True)


def issued(portal: Portal, text: str, format_: int) -> None:
    message = issuer_pb2.IssuedCredential(artefact="the whole~")
    message.artefacts.add(format=format_, artefact=text)
    portal.issuer.answer = issuer_pb2.FetchedCredential(credential=message)


async def test_a_credential_is_downloaded_in_each_format(portal: Portal, kari: Learner) -> None:
    handle = await kari.hold()
    page = await kari.get(f"/me/credentials/{handle}/files")
    found = re.findall(rf'href="(/me/credentials/{handle}/files/[\w-]+)"', page.text)
    assert [path.rpartition("/")[2] for path in found] == ["sd-jwt", "edc", "badge", "elmo"]
    for path, number, text, media in (
        (found[1], credential_pb2.FORMAT_EDC, '{"payload":"…"}', "application/jose+json"),
        (found[2], credential_pb2.FORMAT_OPEN_BADGE, json.dumps({"type": "OpenBadgeCredential"}), "image/png"),
        (found[3], credential_pb2.FORMAT_ELMO, "<elmo/>", "application/xml"),
    ):
        issued(portal, text, number)
        answer = await kari.get(path)
        assert (answer.status, answer.header("Content-Type")) == (200, media)
        assert answer.header("Content-Disposition").startswith("attachment")
        content = baking_png.extract(answer.body) if media == "image/png" else answer.text
        assert content == text
        assert (list(portal.issuer.asked[-1].handles), list(portal.issuer.asked[-1].formats)) == ([handle], [number])
    assert (await kari.get(found[0])).text == "the whole~"


async def test_a_file_that_cant_be_made_is_said(portal: Portal, kari: Learner) -> None:
    path = f"/me/credentials/{await kari.hold()}/files"
    for error, reason, status in (
        (InvalidArgument("TEXT_NOT_CARRIED", "no"), "FORMAT_NOT_MADE", 409),
        (Unavailable("REGISTRY_STALE", "not now"), "FORMAT_NOT_MADE_NOW", 503),
    ):
        message = issuer_pb2.IssuedCredential(artefact="a~")
        message.refused_formats.add(format=credential_pb2.FORMAT_ELMO, error=errors_to_status(error))
        portal.issuer.answer = issuer_pb2.FetchedCredential(credential=message)
        answer = await kari.get(f"{path}/elmo")
        assert (answer.status, f">{reason}<" in answer.text) == (status, True)
    portal.issuer.answer = issuer_pb2.FetchedCredential(unavailable_reason="SEAL_BROKEN")
    assert ">FORMAT_NOT_MADE_NOW<" in (await kari.get(f"{path}/edc")).text
    portal.issuer.answer = issuer_pb2.FetchedCredential()
    assert ">CREDENTIAL_UNKNOWN<" in (await kari.get(f"{path}/edc")).text
    portal.issuer.down = True
    assert (await kari.get(f"{path}/edc")).status == 503
    assert (await kari.get(f"{path}/docx")).status == 404


async def test_the_key_that_signs_documents_signs_nothing_else(portal: Portal, kari: Learner) -> None:
    await document(kari, await share(kari, await kari.hold()))
    custody = FileKeyCustody(portal.folder)
    assert custody.ensure(KEY_LABEL, ES256).key_id != custody.ensure(AUTHORITY, ES256).key_id
