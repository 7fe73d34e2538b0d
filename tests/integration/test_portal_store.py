"""What the portal keeps, where an answer of the issuer's arrives late."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest

from services.portal.sealing import PortalKeys
from services.portal.store import Fetched, Store
from services.portal.wiring import MIGRATIONS
from vitne.runtime.database import migrate

HANDLE, PSEUDONYM = "h" * 43, "p" * 43
NOW = datetime(2026, 11, 21, 10, tzinfo=UTC)


@pytest.fixture
async def store(database_dsn: str, pool: asyncpg.Pool, tmp_path: Path) -> Store:
    await migrate(database_dsn, MIGRATIONS)
    return Store(pool, PortalKeys.load(tmp_path, create=True))


async def told(store: Store, pool: asyncpg.Pool) -> None:
    async with pool.acquire() as conn, conn.transaction():
        await store.want(
            conn,
            handle=HANDLE,
            pseudonym=PSEUDONYM,
            kind="no.micro_credential",
            provider="0192:971035854",
            now=NOW,
        )


@pytest.mark.parametrize("answer", ["gone", "an older status"])
async def test_an_answer_from_before_a_withdrawal_does_not_count_after_a_new_registration(
    store: Store, pool: asyncpg.Pool, answer: str
) -> None:
    await told(store, pool)
    (early,) = await store.claim(NOW, 10)
    async with pool.acquire() as conn, conn.transaction():
        await store.forget(conn, [HANDLE])  # The learner withdraws …
    await told(store, pool)  # … and registers again, before the answer is here.
    if answer == "gone":
        await store.keep([], [early], NOW)
    else:
        await store.keep([Fetched(early, "a~", "valid")], [], NOW)
    (again,) = await store.claim(NOW + timedelta(minutes=1), 10)
    assert again.handle == HANDLE
    assert again.notices > early.notices
