"""How often something may be tried that can be guessed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest

from services.portal.guesses import Guesses, Limit
from services.portal.sealing import PortalKeys
from services.portal.wiring import MIGRATIONS
from vitne.clock import ManualClock
from vitne.dev.postgres import EmbeddedPostgres
from vitne.errors import ResourceExhausted
from vitne.runtime.database import migrate, open_pool

CODE = Limit("code", 5, timedelta(minutes=15))
OTHER = Limit("other", 1, timedelta(minutes=15))
SUBJECT = b"192.0.2.7"


@pytest.fixture(scope="module")
async def database(postgres: EmbeddedPostgres) -> AsyncIterator[asyncpg.Pool]:
    dsn = await postgres.create_database("portal_guesses")
    await migrate(dsn, MIGRATIONS)
    pool = await open_pool(dsn)
    yield pool
    pool.terminate()


@pytest.fixture
async def guesses(database: asyncpg.Pool, clock: ManualClock, tmp_path: Path) -> Guesses:
    await database.execute("DELETE FROM guess")
    return Guesses(database, PortalKeys.load(tmp_path, create=True), clock)


async def refused(guesses: Guesses, limit: Limit, subject: bytes = SUBJECT) -> bool:
    try:
        await guesses.spend(limit, subject)
    except ResourceExhausted:
        return True
    return False


async def test_tries_at_once_are_counted_each_and_windows_end(guesses: Guesses, clock: ManualClock) -> None:
    assert sorted(await asyncio.gather(*(refused(guesses, CODE) for _ in range(9)))) == [False] * 5 + [True] * 4
    assert not await refused(guesses, CODE, b"192.0.2.8"), "another one's tries are another one's"
    assert not await refused(guesses, OTHER), "something else is counted for itself"
    clock.advance(timedelta(minutes=14))
    assert await refused(guesses, CODE), "more tries make no longer window, and no shorter one"
    clock.advance(timedelta(minutes=1))
    assert not await refused(guesses, CODE)


async def test_a_restart_forgets_nothing(
    guesses: Guesses, database: asyncpg.Pool, clock: ManualClock, tmp_path: Path
) -> None:
    assert not await refused(guesses, OTHER)
    assert await refused(Guesses(database, PortalKeys.load(tmp_path, create=False), clock), OTHER)


async def test_what_was_right_is_forgiven(guesses: Guesses) -> None:
    assert not await refused(guesses, OTHER)
    await guesses.forgive(OTHER, SUBJECT)
    assert not await refused(guesses, OTHER)


async def test_the_table_names_nobody_and_does_not_grow(
    guesses: Guesses, database: asyncpg.Pool, clock: ManualClock
) -> None:
    for number in range(3):
        assert not await refused(guesses, CODE, b"%d" % number)
    assert SUBJECT.hex() not in str(await database.fetch("SELECT g::text FROM guess g"))
    clock.advance(CODE.window)
    assert not await refused(guesses, CODE)
    assert await database.fetchval("SELECT count(*) FROM guess") == 1
