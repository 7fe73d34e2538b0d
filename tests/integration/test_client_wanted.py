"""What the client package is still to fetch: who is put off waits for nobody, so that no two wait crosswise."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg

import vitne_client
from vitne.runtime.migrations import Migrations, migrate
from vitne_api.events.v1 import events_pb2
from vitne_client import wanted

NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)
FIRST, SECOND = "a" * 43, "b" * 43


def notice(handle: str) -> events_pb2.HubCredentialNotice:
    return events_pb2.HubCredentialNotice(
        handle=handle, pseudonym="p" * 43, kind="no.micro_credential", provider="0192:971035854"
    )


async def test_what_a_newer_notice_holds_is_not_waited_for_and_stays_due(database_dsn: str, pool: asyncpg.Pool) -> None:
    await migrate(database_dsn, [Migrations("vitne_client", Path(vitne_client.__file__).parent / "sql")])
    async with pool.acquire() as conn:
        await wanted.want(conn, [notice(FIRST), notice(SECOND)], NOW)
    claimed = await wanted.claim(pool, NOW, 10)
    assert len(claimed) == 2
    async with pool.acquire() as consumer, consumer.transaction():
        await wanted.want(consumer, [notice(SECOND)], NOW)
        async with asyncio.timeout(60):
            await wanted.postpone(pool, claimed, NOW)
        # It goes on to the other one in its order, which was put off and is held by nobody.
        await wanted.want(consumer, [notice(FIRST)], NOW)
    due = await wanted.claim(pool, NOW, 10)
    assert {one.handle: one.attempts for one in due} == {FIRST: 0, SECOND: 0}
    await wanted.postpone(pool, due, NOW)
    assert await wanted.claim(pool, NOW, 10) == []
    later = await wanted.claim(pool, NOW + timedelta(seconds=wanted.LONGEST_PAUSE), 10)
    assert [one.attempts for one in later] == [1, 1]
