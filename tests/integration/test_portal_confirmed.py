"""What is confirmed by a log-in is confirmed by one for which the provider asked her anew."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import asyncpg
import pytest

from services.portal.openid import LoggedIn
from services.portal.web.log_in import FRESH
from services.portal.wiring import MIGRATIONS
from tests.integration.portal_pages import NOW, Browser, Portal
from vitne.identifiers import LearnerId
from vitne.runtime.database import migrate
from vitne.runtime.identity import HIGH, LearnerIdentity

KARI = LearnerId("no.national_id", "13896098765")


@pytest.mark.parametrize(
    ("asked", "confirmed"),
    [(NOW - FRESH, True), (NOW - FRESH - timedelta(seconds=1), False), (None, False)],
    ids=["anew", "long ago", "not told"],
)
async def test_a_provider_that_did_not_ask_anew_confirms_nothing(
    database_dsn: str, pool: asyncpg.Pool, tmp_path: Path, asked: datetime | None, confirmed: bool
) -> None:
    await migrate(database_dsn, MIGRATIONS)
    portal = Portal(pool, tmp_path)
    lookup = portal.keys.lookup(KARI)
    await portal.store.register(lookup, "p" * 43, NOW)
    secret = await portal.sessions.open(lookup, "id-porten", NOW, timedelta(hours=1))

    async def complete(purpose: str, _answer: object) -> LoggedIn:
        return LoggedIn(purpose, LearnerIdentity(KARI.scheme, KARI.value, HIGH, "s", asked), "")

    portal.openid.complete = complete
    browser = Browser(portal, **{"__Host-vitne_session": secret, "__Host-vitne_log_in": "register"})
    answer = await browser.get("/callback?code=x&state=y")
    assert answer.status == (303 if confirmed else 401)
    assert ("logge inn på nytt" in answer.text) is not confirmed
    assert len(portal.issuer.asked) == confirmed
