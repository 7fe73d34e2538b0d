"""The large portal that is measured holds what the portal itself would have kept."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import asyncpg

from bench.filled import Size, fill, learners, templates
from services.portal.presentation import show
from services.portal.sealing import PortalKeys
from services.portal.store import Store
from services.portal.wiring import MIGRATIONS
from vitne.runtime.migrations import migrate

KNOWN = "01930f6e-7a00-7000-8000-00000000c0ff"


async def test_the_portal_reads_what_was_filled_in_and_filling_goes_on(
    database_dsn: str, pool: asyncpg.Pool, tmp_path: Path
) -> None:
    await migrate(database_dsn, MIGRATIONS)
    keys, choice = PortalKeys.load(tmp_path, create=True), templates([KNOWN], 20)
    async with pool.acquire() as connection:
        assert not await fill(connection, keys, choice, Size(3, 1), seconds=-1.0)
        assert await fill(connection, keys, choice, Size(3, 1), seconds=60.0)
        there = {row["handle"] for row in await connection.fetch("SELECT handle FROM credential")}
        assert await fill(connection, keys, choice, Size(3, 2), seconds=60.0)
    store = Store(pool, keys)
    handles: set[str] = set()
    for learner in learners(3):
        shown = show(await store.credentials(keys.lookup(learner)), ["nb"], date(2026, 11, 21))
        assert [(one.state, one.status) for one in shown] == [("fetched", "valid")] * 2
        assert all(one.title for one in shown)
        handles |= {one.handle for one in shown}
    assert len(handles) == 6
    assert there < handles
    assert await store.claim(datetime.now(UTC), 10) == [], "nothing is to be fetched"
