"""Status lists, rebuilt from nothing: they come out equal, versions never go back, and nothing false is published."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import asyncpg
import pytest

from services.ledger.rebuild import Rebuilt, rebuild_lists
from services.ledger.transitions import Change
from services.ledger.wiring import MIGRATIONS
from tests.integration.ledger_harness import Ledger, make_ledger, request
from vitne.clock import ManualClock
from vitne.credentials.status_list import INVALID, SUSPENDED, VALID
from vitne.errors import DataLoss

pytestmark = pytest.mark.schema(MIGRATIONS)


@pytest.fixture
async def ledger(database_dsn: str, pool: asyncpg.Pool, clock: ManualClock, tmp_path: Path) -> Ledger:
    return await make_ledger(database_dsn, pool, clock, tmp_path)


async def lived_in(ledger: Ledger) -> dict[str, dict[int, int]]:
    """Two lists after some changes, part of them in the log and part still queued; what each place says."""
    expected: dict[str, dict[int, int]] = {}
    sequencer = ledger.sequencer()
    await sequencer.claim()
    for country in ("NO", "DK"):
        lease = await ledger.lease(8, country)
        await ledger.publisher.publish_due()
        one, two, three, four, *_ = lease.indexes
        await ledger.set(request(lease.list, one, Change.REVOKE))
        await ledger.set(request(lease.list, two, Change.SUSPEND))
        await ledger.publisher.publish_due()
        await sequencer.integrate()
        await ledger.set(request(lease.list, three, Change.SUSPEND))
        await ledger.set(request(lease.list, three, Change.REINSTATE))
        await ledger.set(request(lease.list, four, Change.SUSPEND))
        await ledger.set(request(lease.list, four, Change.REVOKE))
        await ledger.publisher.publish_due()
        expected[lease.list] = {one: INVALID, two: SUSPENDED, three: VALID, four: INVALID}
    return expected


async def said(ledger: Ledger, url: str) -> list[int]:
    found = await ledger.published(url)
    return [found.status_at(index) for index in range(len(found))]


async def rebuilt(ledger: Ledger) -> list[Rebuilt]:
    return await rebuild_lists(ledger.pool, ledger.replica().publisher)


async def test_lists_come_out_equal(ledger: Ledger) -> None:
    expected = await lived_in(ledger)
    before = {url: await said(ledger, url) for url in expected}
    for one in await rebuilt(ledger):
        assert (one.same, one.replaced, one.version) == (True, 3, 4)
        assert (one.changes, one.revoked, one.suspended) == (6, 2, 1)
    # The replica that runs meanwhile takes the new versions over.
    await ledger.publisher.publish_due()
    assert {url: await said(ledger, url) for url in expected} == before
    for url, places in expected.items():
        assert {index: before[url][index] for index in places} == places
        assert before[url].count(VALID) == len(before[url]) - 3
    assert {one.version for one in ledger.publisher.published()} == {4}


async def test_lists_come_back_when_every_published_version_is_gone(ledger: Ledger) -> None:
    expected = await lived_in(ledger)
    before = {url: await said(ledger, url) for url in expected}
    highest = await ledger.pool.fetchval("SELECT max(version) FROM list_version")
    await ledger.pool.execute("DELETE FROM list_version")
    for one in await rebuilt(ledger):
        assert (one.same, one.replaced) == (None, None)
        assert one.version > highest, "a version's number is given once"
    fresh = ledger.replica()
    await fresh.publisher.publish_due()
    assert {url: await said(fresh, url) for url in expected} == before


async def test_a_list_that_says_something_else_is_put_right_and_reported(ledger: Ledger) -> None:
    (url, places), *_ = (await lived_in(ledger)).items()
    # A version that shows nothing of what was revoked, as a faulty release would have signed it.
    broken = await ledger.pool.fetchval("SELECT token FROM list_version WHERE version = 1 ORDER BY list_id LIMIT 1")
    await ledger.pool.execute(
        """
        UPDATE list_version SET token = $1
        WHERE version = 3 AND list_id = (SELECT id FROM status_list WHERE url = $2)
        """,
        broken,
        url,
    )
    by_url = {one.url: one for one in await rebuilt(ledger)}
    assert by_url[url].same is False
    assert [one.same for one in by_url.values()].count(True) == 1
    fresh = ledger.replica()
    await fresh.publisher.publish_due()
    assert [(await said(fresh, url))[index] for index in places] == list(places.values())


TAMPERINGS: list[Any] = [
    pytest.param("DELETE FROM status_change WHERE number = 1 AND list_id = 1", id="a revocation is gone"),
    pytest.param("UPDATE status_change SET status = 0 WHERE number = 1 AND list_id = 1", id="it says something else"),
    pytest.param("DELETE FROM queued_leaf WHERE position('suspended'::bytea IN record) > 0", id="a leaf is gone"),
]


@pytest.mark.parametrize("statement", TAMPERINGS)
async def test_nothing_is_published_from_changes_that_the_log_contradicts(ledger: Ledger, statement: str) -> None:
    await lived_in(ledger)
    await ledger.pool.execute(statement)
    with pytest.raises(DataLoss, match="LIST_CONTRADICTS_LOG"):
        await rebuilt(ledger)
    assert await ledger.pool.fetchval("SELECT max(version) FROM list_version") == 3
