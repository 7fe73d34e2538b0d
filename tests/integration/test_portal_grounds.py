"""Learners who are registered on a legal ground: from a list that is told to nobody; and what they see of it."""

from __future__ import annotations

import html
import re
from dataclasses import astuple
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from services.portal.grounds import Outcome, register_all
from services.portal.holdings import Gathered
from services.portal.store import LegalGround
from services.portal.wiring import MIGRATIONS
from tests.integration.emrex_world import LogsIn
from tests.integration.issuer_harness import pid_of
from tests.integration.portal_pages import NOW, Browser, Portal, away
from tests.integration.test_issuer_legal_grounds import CITATION
from vitne.accreditation import timestamp
from vitne.errors import PermissionDenied
from vitne.identifiers import LearnerId
from vitne.runtime.migrations import migrate
from vitne_api.issuer.v1 import issuer_pb2

GROUND = UUID(int=7)
KARI, OLA = pid_of(1), pid_of(2)
_OWN_ACT = re.compile(r'action="/register"><input type="hidden" name="csrf_token" value="([^"]+)"')


class Issuer:
    """Registers whoever is named on the ground, and by their own act."""

    def __init__(self) -> None:
        self.named: list[str] = []

    async def RegisterLearner(self, request: Any) -> Any:  # noqa: N802
        asked = request.legal_ground
        if asked.value == OLA:
            raise PermissionDenied("LEGAL_GROUND_UNKNOWN", "the ground has ended")
        self.named.append(asked.value)
        ground = issuer_pb2.LegalGround(
            id=asked.ground_id,
            citation=CITATION,
            reference="2026/1742",
            decided_by_name="Kunnskapsdepartementet",
            granted_at=timestamp(NOW),
        )
        return issuer_pb2.RegisterLearnerResponse(
            pseudonym="p" * 43, registered_at=timestamp(NOW), legal_ground=ground if asked.ground_id else None
        )


async def registered(portal: Portal, issuer: Any, lines: list[str]) -> Outcome:
    done = Outcome()
    await register_all(lines, GROUND, done, issuer=issuer, store=portal.store, keys=portal.keys, clock=portal.clock)
    return done


@pytest.fixture
async def portal(database_dsn: str, pool: asyncpg.Pool, tmp_path: Path) -> Portal:
    await migrate(database_dsn, MIGRATIONS)
    return Portal(pool, tmp_path)


async def test_a_learner_on_a_list_sees_on_what_and_who_decided_until_it_is_her_own_act(portal: Portal) -> None:
    issuer, lines = Issuer(), [f"{KARI}\n", "\n", "12345678901\n", OLA]
    done = await registered(portal, issuer, lines)
    assert issuer.named == [KARI]
    assert (done.registered, done.refused) == (1, {3: "BAD_LEARNER_ID", 4: "LEGAL_GROUND_UNKNOWN"})
    assert not any(number in done.to_json() for number in (KARI, OLA, "12345678901"))

    lookup = portal.keys.lookup(LearnerId("no.national_id", KARI))
    secret = await portal.sessions.open(lookup, "id-porten", NOW, timedelta(hours=1))
    expected = LegalGround(CITATION, "2026/1742", "Kunnskapsdepartementet", NOW)
    assert await portal.store.legal_ground(lookup) == expected
    assert (await Gathered(portal.pool, portal.store).held(lookup))["legal_ground"] == expected
    browser = Browser(portal, **{portal.cookie("vitne_session"): secret})
    for path in ("/me", "/privacy"):
        page = (await browser.get(path)).text
        assert all(said in page for said in astuple(expected)[:3]), path
        assert "22.11.2026" in page, path
        assert "Du har ikke registrert deg her selv" in page, path
        assert _OWN_ACT.search(page), path
    portal.issuer, portal.openid = issuer, LogsIn(portal.clock, KARI)  # type: ignore[assignment]
    portal.restart()
    own_act = _OWN_ACT.search((await browser.get("/privacy")).text)
    assert own_act is not None
    led = await browser.post("/register", {"csrf_token": html.unescape(own_act[1])})
    assert (await browser.get(led.header("Location"))).header("Location") == "/me"
    assert await portal.store.legal_ground(lookup) is None
    assert "Du har ikke registrert deg her selv" not in (await browser.get("/me")).text


async def test_where_the_issuer_does_not_answer_a_list_ends_and_says_how_far_it_came(portal: Portal) -> None:
    class Dying(Issuer):
        async def RegisterLearner(self, request: Any) -> Any:  # noqa: N802
            if self.named:
                raise away()
            return await super().RegisterLearner(request)

    issuer = Dying()
    done = await registered(portal, issuer, [KARI, pid_of(3), pid_of(4)])
    assert (done.registered, list(done.refused)) == (1, [2])
    assert issuer.named == [KARI]
