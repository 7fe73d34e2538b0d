"""Leases of indexes: never the same twice, whatever happens at once."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from services.ledger.leases import Orders
from services.ledger.wiring import MIGRATIONS
from tests.integration.ledger_harness import BASE_URL, ISSUER, LIST_SIZE, Ledger, make_ledger
from vitne.clock import ManualClock
from vitne.errors import AlreadyExists, DataLoss
from vitne.runtime.idempotency import RequestKey, answer_once, body_digest
from vitne_api.ledger.v1 import ledger_pb2

pytestmark = pytest.mark.schema(MIGRATIONS)


@pytest.fixture
async def ledger(database_dsn: str, pool: asyncpg.Pool, clock: ManualClock, tmp_path: Path) -> Ledger:
    return await make_ledger(database_dsn, pool, clock, tmp_path)


async def test_leases_at_once_never_overlap_and_fill_the_lists_one_after_the_other(ledger: Ledger) -> None:
    replicas = [ledger, ledger.replica(), ledger.replica()]
    answers = await asyncio.gather(*(replicas[number % 3].lease(130) for number in range(23)))
    given = [(answer.list, index) for answer in answers for index in answer.indexes]
    assert len(set(given)) == len(given)
    by_list: dict[str, int] = {}
    for url, index in given:
        assert 0 <= index < LIST_SIZE
        by_list[url] = by_list.get(url, 0) + 1
    # A list's end answers fewer; every list but the newest is given out to the last place.
    counts = [by_list[f"{BASE_URL}/2026/no-{number}"] for number in range(1, len(by_list) + 1)]
    assert counts[:-1] == [LIST_SIZE] * (len(counts) - 1)
    assert sum(count < 130 for count in (len(answer.indexes) for answer in answers)) == len(counts) - 1
    leased = await ledger.pool.fetch("SELECT list_id, first, count FROM lease ORDER BY list_id, first")
    for before, after in pairwise(leased):
        assert after["list_id"] > before["list_id"] or after["first"] == before["first"] + before["count"]


async def test_countries_and_years_have_lists_of_their_own(ledger: Ledger, clock: ManualClock) -> None:
    assert (await ledger.lease(country="NO")).list == f"{BASE_URL}/2026/no-1"
    assert (await ledger.lease(country="DK")).list == f"{BASE_URL}/2026/dk-1"
    clock.advance(timedelta(days=60))
    assert (await ledger.lease(country="NO")).list == f"{BASE_URL}/2027/no-1"


async def test_indexes_come_in_an_order_that_only_the_secret_gives(ledger: Ledger, tmp_path: Path) -> None:
    indexes = list((await ledger.lease(100)).indexes)
    assert indexes != sorted(indexes)
    assert max(indexes) > LIST_SIZE // 2
    again = ledger.replica()
    assert not set((await again.lease(100)).indexes) & set(indexes)


async def test_a_lost_secret_stops_leases_before_an_index_is_given_twice(ledger: Ledger) -> None:
    await ledger.lease()
    stranger = ledger.replica()
    stranger.leases._orders = Orders(bytes(32))
    with pytest.raises(DataLoss, match="INDEX_ORDER_LOST"):
        await stranger.lease()
    assert await ledger.pool.fetchval("SELECT leased FROM status_list") == 10


async def test_a_request_repeated_gets_the_same_indexes(ledger: Ledger, clock: ManualClock) -> None:
    async def lease(request: ledger_pb2.LeaseIndexesRequest) -> Any:
        key = RequestKey(ISSUER, "LeaseIndexes", request_id, body_digest(request))
        return await answer_once(
            ledger.pool,
            key,
            clock,
            ledger_pb2.LeaseIndexesResponse,
            lambda connection: ledger.leases.lease(connection, ISSUER, request),
        )

    request_id = uuid4()
    request = ledger_pb2.LeaseIndexesRequest(request_id=str(request_id), country="NO", count=7)
    first, *others = await asyncio.gather(*(lease(request) for _ in range(3)))
    assert all(other == first for other in others)
    assert await lease(request) == first
    assert await ledger.pool.fetchval("SELECT leased FROM status_list") == 7
    request.count = 8
    with pytest.raises(AlreadyExists, match="REQUEST_ID_REUSED"):
        await lease(request)


async def test_a_lease_that_is_rolled_back_gives_nothing_out(ledger: Ledger) -> None:
    request = ledger_pb2.LeaseIndexesRequest(request_id=str(uuid4()), country="NO", count=5)
    async with ledger.pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        lost = await ledger.leases.lease(connection, ISSUER, request)
        await transaction.rollback()
    assert (await ledger.lease(5)) == lost
