"""What the ledger drops once its time is over, and what it keeps for ever."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest

from services.ledger import retention
from services.ledger.lists import LOG_EVERY
from services.ledger.retention import REQUESTS_KEPT, Retention
from services.ledger.transitions import Change
from services.ledger.wiring import MIGRATIONS
from tests.integration.ledger_harness import LIFETIME, Ledger, make_ledger, request
from vitne.canonical import sha256
from vitne.clock import ManualClock
from vitne.credentials.status_list import INVALID, SUSPENDED

pytestmark = pytest.mark.schema(MIGRATIONS)


@pytest.fixture
async def ledger(database_dsn: str, pool: asyncpg.Pool, clock: ManualClock, tmp_path: Path) -> Ledger:
    return await make_ledger(database_dsn, pool, clock, tmp_path)


async def test_only_tokens_that_expired_and_were_superseded_and_are_not_in_the_log_are_dropped(
    ledger: Ledger, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "BATCH", 2)  # several rounds
    lease = await ledger.lease()
    for number in range(8):
        await ledger.set(request(lease.list, lease.indexes[number], Change.REVOKE))
        await ledger.publisher.publish_due()
        clock.advance(LOG_EVERY / 4)
    keeping = Retention(ledger.pool, clock)
    assert await keeping.drop_due() == (0, 0)
    # The first two have expired, and the first is in the log.
    clock.advance(LIFETIME - LOG_EVERY * 2 + LOG_EVERY / 4)
    assert await keeping.drop_due() == (1, 0)
    clock.advance(LIFETIME)
    await keeping.drop_due()
    rows = await ledger.pool.fetch("SELECT version, token, digest, logged FROM list_version ORDER BY version")
    logged = {row["version"] for row in rows if row["logged"]}
    assert logged == {1, 5}
    kept = {row["version"]: row["token"] for row in rows if row["token"] is not None}
    assert kept.keys() == logged | {8}, "the newest stays, expired or not"
    assert all(sha256(kept[row["version"]]) == row["digest"] for row in rows if row["version"] in kept)
    assert [row["version"] for row in rows] == list(range(1, 9))


async def test_lists_go_on_as_if_nothing_was_dropped(ledger: Ledger, clock: ManualClock) -> None:
    lease = await ledger.lease()
    one, two = lease.indexes[:2]
    for index in (one, two):
        await ledger.set(request(lease.list, index, Change.SUSPEND))
        await ledger.publisher.publish_due()
    clock.advance(LIFETIME * 2)
    await Retention(ledger.pool, clock).drop_due()
    restarted = ledger.replica()
    await restarted.set(request(lease.list, one, Change.REVOKE))
    await restarted.publisher.publish_due()
    found = await restarted.published(lease.list)
    assert [found.status_at(index) for index in (one, two)] == [INVALID, SUSPENDED]


async def test_a_request_is_remembered_for_its_time(ledger: Ledger, clock: ManualClock) -> None:
    lease = await ledger.lease()
    first = request(lease.list, lease.indexes[0], Change.SUSPEND, request_id=uuid4())
    answer = await ledger.set(first)
    keeping = Retention(ledger.pool, clock)
    clock.advance(REQUESTS_KEPT - timedelta(seconds=1))
    assert await keeping.drop_due() == (0, 0)
    assert await ledger.set(first) == answer
    clock.advance(timedelta(seconds=1))
    assert await keeping.drop_due() == (0, 1)
    assert await ledger.pool.fetchval("SELECT count(*) FROM status_change") == 1
