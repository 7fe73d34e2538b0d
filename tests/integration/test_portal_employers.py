"""An employer sees what its employees said yes to, for as long as they want, and nothing else."""

from __future__ import annotations

import html
import re
from collections.abc import AsyncIterator
from datetime import date, timedelta
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest

from services.portal.employers.representation import TYPE, Employer, employer_of
from services.portal.employers.store import Employers
from services.portal.openid import LoggedIn
from services.portal.reconcile import reconcile
from services.portal.wiring import MIGRATIONS
from tests.integration.emrex_world import LogsIn
from tests.integration.portal_pages import URL, Browser, Learner, Portal
from tests.unit.emrex_samples import NUMBER
from vitne.canonical import b64url, canonical_bytes
from vitne.dev.postgres import EmbeddedPostgres
from vitne.errors import PermissionDenied
from vitne.identifiers import OrganisationId
from vitne.runtime.database import open_pool
from vitne.runtime.identity import LearnerIdentity
from vitne.runtime.migrations import migrate

HOSPITAL = Employer(OrganisationId.parse("0192:310100005"), "Eksempel <sykehus>")
OTHER = Employer(OrganisationId.parse("0192:310100013"), "Et annet")


@pytest.fixture(scope="module")
async def place(
    postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[asyncpg.Pool, Path]]:
    dsn = await postgres.create_database(f"employers_{uuid4().hex}")
    await migrate(dsn, MIGRATIONS)
    pool = await open_pool(dsn)
    yield pool, tmp_path_factory.mktemp("portal")
    pool.terminate()


@pytest.fixture
async def portal(place: tuple[asyncpg.Pool, Path]) -> Portal:
    await place[0].execute("TRUNCATE employer_consent CASCADE")
    return Portal(*place)


class Office(Browser):
    """Somebody who is logged in for an employer."""

    @classmethod
    async def of(cls, portal: Portal, employer: Employer = HOSPITAL) -> Office:
        employers = Employers(portal.pool, portal.store)
        secret = await employers.open_session(employer, portal.clock.now(), timedelta(days=500))
        return cls(portal, **{"__Host-vitne_employer": secret})

    async def press(self, path: str) -> str:
        token = re.search(r'name="employer_form" value="([^"]+)"', (await self.get("/employer")).text)
        assert token is not None
        return (await self.post(path, {"employer_form": html.unescape(token[1])})).text

    async def invite(self) -> str:
        link = re.search(
            rf'href="{re.escape(URL)}(/invitation/[\w-]{{43}})"', await self.press("/employer/invitations")
        )
        assert link is not None
        return link[1]


async def agree(kari: Learner, invitation: str, *handles: str, days: str = "30") -> None:
    answer = await kari.press(invitation, [("days", days), *(("pick", handle) for handle in handles)])
    assert (answer.status, answer.header("Location")) == (303, "/me/employers"), answer.text


async def test_an_employer_sees_who_holds_what_and_what_runs_out(portal: Portal) -> None:
    office, kari, ola = await Office.of(portal), await portal.learner(), await portal.learner()
    assert "Ingen ansatte har sagt ja" in (await office.get("/employer")).text
    invitation = await office.invite()
    late, soon, hidden = (
        await kari.hold("Livredning", expires_on=date(2027, 11, 1)),
        await ola.hold("Truck", expires_on=date(2026, 12, 1)),
        await kari.hold("Privat kurs"),
    )
    asked = (await kari.get(invitation)).text
    assert "Eksempel &lt;sykehus&gt;" in asked
    assert "0192:310100005" in asked
    await agree(kari, invitation, late)
    await agree(ola, invitation, soon)
    page = (await office.get("/employer")).text
    assert "Ansatte som har sagt ja: 2" in page
    assert page.index("Truck") < page.index("Livredning"), "what runs out first comes first"
    for shown in ("Kari Prøvesen", "01.11.2027", "Gyldig", "22.12.2026"):
        assert shown in page or shown.lstrip("0") in page
    for secret in ("Privat kurs", hidden, late, kari.pseudonym, "01825500042", "1955"):
        assert secret not in page
    assert "Ingen ansatte har sagt ja" in (await (await Office.of(portal, OTHER)).get("/employer")).text


async def test_a_change_of_status_is_seen(portal: Portal) -> None:
    office, kari = await Office.of(portal), await portal.learner()
    handle = await kari.hold("Livredning")
    await agree(kari, await office.invite(), handle)
    await portal.pool.execute("UPDATE credential SET status = 'revoked' WHERE handle = $1", handle)
    page = (await office.get("/employer")).text
    assert "Trukket tilbake" in page
    assert ">Gyldig<" not in page


async def test_she_sees_who_sees_what_and_ends_it_at_once(portal: Portal) -> None:
    office, kari = await Office.of(portal), await portal.learner()
    await agree(kari, await office.invite(), await kari.hold("Livredning"))
    page = (await kari.get("/me/employers")).text
    assert "Eksempel &lt;sykehus&gt;" in page
    assert "Livredning" in page
    end = re.search(r'action="(/me/employers/[\w-]+/end)"', page)
    assert end is not None
    stranger = await portal.learner()
    assert (await stranger.press(end[1])).status == 303
    assert "Livredning" in (await office.get("/employer")).text, "nobody else ends it"
    assert (await kari.press(end[1])).status == 303
    assert (await kari.press(end[1])).status == 303, "twice is harmless"
    assert "Livredning" not in (await office.get("/employer")).text
    assert "Ingen arbeidsgiver ser noe" in (await kari.get("/me/employers")).text


async def test_a_yes_runs_out_and_a_new_one_takes_its_place(portal: Portal) -> None:
    office, kari = await Office.of(portal), await portal.learner()
    invitation = await office.invite()
    first, second = await kari.hold("Første"), await kari.hold("Andre")
    await agree(kari, invitation, first, second)
    await agree(kari, invitation, second, days="1")
    page = (await office.get("/employer")).text
    assert "Andre" in page
    assert "Første" not in page
    portal.clock.advance(timedelta(days=1))
    portal.restart()
    assert "Andre" not in (await office.get("/employer")).text
    assert "Andre" not in (await kari.get("/me/employers")).text


async def test_a_team_that_is_too_large_to_show_says_so(portal: Portal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Employers.team, "__defaults__", (1,))
    office = await Office.of(portal)
    invitation = await office.invite()
    for title in ("Første", "Andre"):
        kari = await portal.learner()
        await agree(kari, invitation, await kari.hold(title))
        portal.clock.advance(timedelta(minutes=1))
    page = (await office.get("/employer")).text
    assert "Ansatte som har sagt ja: 2" in page
    assert "bare de 1 som sa ja først" in page
    assert "Andre" not in page


async def test_erased_she_is_gone_from_the_overview(portal: Portal) -> None:
    office, kari = await Office.of(portal), await portal.learner()
    await agree(kari, await office.invite(), await kari.hold("Livredning"))
    await portal.store.erase(kari.lookup)
    assert "Livredning" not in (await office.get("/employer")).text
    assert await portal.pool.fetchval("SELECT count(*) FROM employer_consent") == 0


async def test_after_a_restore_no_employer_sees_what_she_may_have_ended(portal: Portal) -> None:
    office, kari = await Office.of(portal), await portal.learner()
    invitation = await office.invite()
    await agree(kari, invitation, await kari.hold("Livredning"))
    ended = await reconcile(portal.pool, [], portal.clock.now(), keep_access=False)
    assert ended.employers_ended == 1
    # Log-ins ended, too: those that were logged out of since would count again.
    assert 'name="employer_form"' not in (await office.get("/employer")).text
    assert (await kari.get("/me")).status == 303
    assert "Livredning" not in (await (await Office.of(portal)).get("/employer")).text


async def test_only_her_own_credentials_and_only_by_her_own_yes(portal: Portal) -> None:
    office, kari, other = await Office.of(portal), await portal.learner(), await portal.learner()
    invitation = await office.invite()
    theirs = await other.hold("Ikke hennes")
    for form, reason in (
        ([("pick", theirs), ("days", "30")], "CREDENTIAL_NOT_HERS"),
        ([("days", "30")], "NOTHING_PICKED"),
        ([("pick", await kari.hold()), ("days", "31")], "BAD_LIFETIME"),
    ):
        assert reason in (await kari.press(invitation, form)).text
    assert "FORGED_FORM" in (await kari.post(invitation, {"pick": theirs, "days": "30"})).text
    assert "Ingen ansatte har sagt ja" in (await office.get("/employer")).text


async def test_who_has_to_log_in_first_comes_back_to_the_invitation(portal: Portal) -> None:
    kari = await portal.learner(NUMBER)
    handle = await kari.hold("Livredning")
    invitation = await (await Office.of(portal)).invite()
    stranger = Browser(portal)
    page = (await stranger.get(invitation)).text
    assert handle not in page
    assert f'href="{invitation}/login"' in page
    portal.openid = LogsIn(portal.clock)
    portal.restart()
    assert (await stranger.get(f"/invitation/{'a' * 43}/login")).status == 404
    assert (await stranger.get(f"{invitation}/login")).status == 303
    portal.restart()  # nothing of it is remembered there
    arrived = await stranger.get("/callback?code=c&state=s")
    assert (arrived.status, arrived.header("Location")) == (303, "/invitation")
    back = await stranger.get("/invitation")
    assert (back.status, back.header("Location")) == (303, invitation)
    assert handle in (await stranger.get(invitation)).text
    for cookie in ("", "/evil.example", "a" * 42, f"{'a' * 43}/"):
        stranger.cookies["__Host-vitne_invitation"] = cookie
        assert (await stranger.get("/invitation")).header("Location") == "/me/employers"


async def test_an_invitation_that_is_guessed_or_old_asks_nothing(portal: Portal) -> None:
    office, kari = await Office.of(portal), await portal.learner()
    invitation = await office.invite()
    assert "Logg inn for å svare" in (await Browser(portal).get(invitation)).text
    portal.clock.advance(timedelta(days=14))
    for path in (invitation, f"/invitation/{'a' * 43}", "/invitation/a"):
        for answer in (await kari.get(path), await kari.press(path, {"days": "30", "pick": "x"})):
            assert (answer.status, "INVITATION_UNKNOWN" in answer.text) == (404, True)


async def test_an_employer_s_session_is_no_learner_s_and_forms_are_its_own(portal: Portal) -> None:
    office, kari = await Office.of(portal), await portal.learner()
    assert (await office.get("/me")).status == 303
    assert "Logg inn for virksomheten" in (await kari.get("/employer")).text
    for browser in (office, kari, Browser(portal)):
        answer = await browser.post("/employer/invitations", {"employer_form": "forged"})
        assert (answer.status, "FORGED_FORM" in answer.text) == (403, True)
    await office.press("/employer/logout")
    assert "Logg inn for virksomheten" in (await office.get("/employer")).text


def id_token(details: object) -> str:
    return f"e.{b64url(canonical_bytes({'authorization_details': details}))}.s"


def entry(*parties: object) -> dict[str, object]:
    return {"type": TYPE, "reportees": list(parties)}


PARTY = {"Authority": "iso6523-actorid-upis", "ID": "0192:310100005", "Name": "Eksempel <sykehus>"}


def test_the_organisation_is_the_one_in_the_id_token() -> None:
    assert employer_of(id_token([entry(PARTY)])) == HOSPITAL
    assert employer_of(id_token([{"type": "another"}, entry({"ID": "0192:310100005"})])).name == "0192:310100005"


@pytest.mark.parametrize(
    "details",
    [
        None,
        [],
        [entry()],
        [entry(PARTY, PARTY)],
        [entry(PARTY), entry(PARTY)],
        [entry({"ID": "0192:310100006"})],
        [entry({"ID": 310100005})],
        [entry({**PARTY, "Name": ["x"]})],
        ["x"],
        {"type": TYPE},
    ],
)
def test_without_exactly_one_organisation_nobody_acts_for_any(details: object) -> None:
    with pytest.raises(PermissionDenied, match="NO_ORGANISATION"):
        employer_of(id_token(details))
    with pytest.raises(PermissionDenied, match="NO_ORGANISATION"):
        employer_of("a.b")


async def test_a_log_in_for_an_employer_opens_the_employer_s_pages_and_no_learner_s(portal: Portal) -> None:
    async def complete(attempt: str, _answer: object) -> LoggedIn:
        return LoggedIn(attempt, LearnerIdentity("no.national_id", "1", "high", "s"), id_token([entry(PARTY)]))

    portal.openid.complete = complete
    person = Browser(portal, **{"__Host-vitne_log_in": "employer"})
    answer = await person.get("/callback?code=x&state=y")
    assert (answer.status, answer.header("Location")) == (303, "/employer")
    assert "__Host-vitne_session" not in person.cookies
    assert "Eksempel &lt;sykehus&gt;" in (await person.get("/employer")).text
