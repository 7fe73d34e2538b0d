"""What is confirmed by a log-in is confirmed by one for which the provider asked her anew."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import asyncpg
import pytest

from services.portal.openid import LoggedIn
from services.portal.web.log_in import CLOCKS_DIFFER
from services.portal.wiring import MIGRATIONS
from tests.integration.portal_pages import NOW, Browser, Portal
from vitne.identifiers import LearnerId
from vitne.runtime.identity import HIGH, LearnerIdentity
from vitne.runtime.migrations import migrate

KARI = LearnerId("no.national_id", "13896098765")


@pytest.mark.parametrize(
    ("asked", "confirmed"),
    [(NOW - CLOCKS_DIFFER, True), (NOW - CLOCKS_DIFFER - timedelta(seconds=1), False), (None, False)],
    ids=["anew", "before", "not told"],
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
    await portal.sessions.begin_confirming(secret, NOW)
    browser = Browser(portal, **{"__Host-vitne_session": secret, "__Host-vitne_log_in": "register"})
    answer = await browser.get("/callback?code=x&state=y")
    assert answer.status == (303 if confirmed else 401)
    assert ("logge inn på nytt" in answer.text) is not confirmed
    assert len(portal.issuer.asked) == confirmed


async def test_nothing_is_confirmed_that_was_not_begun(database_dsn: str, pool: asyncpg.Pool, tmp_path: Path) -> None:
    await migrate(database_dsn, MIGRATIONS)
    portal = Portal(pool, tmp_path)
    secret = await portal.sessions.open(portal.keys.lookup(KARI), "id-porten", NOW, timedelta(hours=1))

    async def complete(purpose: str, _answer: object) -> LoggedIn:
        return LoggedIn(purpose, LearnerIdentity(KARI.scheme, KARI.value, HIGH, "s", NOW), "")

    portal.openid.complete = complete
    browser = Browser(portal, **{"__Host-vitne_session": secret, "__Host-vitne_log_in": "register"})
    assert (await browser.get("/callback?code=x&state=y")).status == 401
    assert portal.issuer.asked == []
