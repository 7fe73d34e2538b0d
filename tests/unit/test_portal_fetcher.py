"""How the portal's fetcher paces itself: one call for little, two at a time for much, and an outage is waited out."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import pytest

from services.portal.fetcher import BATCH, LANES, Fetcher
from services.portal.store import Fetched, Wanted
from vitne.clock import SystemClock
from vitne_api.issuer.v1 import issuer_pb2

PATIENCE = 60.0


class Store:
    """So many credentials wait; the database fails on its ``failing``-th claim."""

    def __init__(self, waiting: int, failing: int = 0) -> None:
        self._waiting = [Wanted(f"h{number}", "p", 1, 0) for number in range(waiting)]
        self._all = waiting
        self._failing = failing
        self.claims = 0
        self.gone: list[str] = []
        self.done = asyncio.Event()

    async def claim(self, _now: datetime, limit: int) -> list[Wanted]:
        self.claims += 1
        await asyncio.sleep(0)
        if self.claims == self._failing:
            raise ConnectionError
        claimed, self._waiting = self._waiting[:limit], self._waiting[limit:]
        return claimed

    async def keep(self, fetched: Sequence[Fetched], gone: Sequence[Wanted], _now: datetime) -> list[Wanted]:
        await asyncio.sleep(0)
        assert fetched == []
        self.gone += [one.handle for one in gone]
        if len(self.gone) == self._all:
            self.done.set()
        return []

    async def postpone(self, failed: Mapping[Wanted, datetime]) -> None:
        raise AssertionError(failed)


class Issuer:
    """Knows none of what is asked for; counts how many calls are under way."""

    def __init__(self) -> None:
        self.calls: list[int] = []
        self.most = 0
        self._under_way = 0

    async def FetchCredentials(self, request: Any) -> Any:  # noqa: N802 - the contract's
        self.calls.append(len(request.handles))
        self._under_way += 1
        self.most = max(self.most, self._under_way)
        for _ in range(5):
            await asyncio.sleep(0)
        self._under_way -= 1
        return issuer_pb2.FetchCredentialsResponse(
            credentials=[issuer_pb2.FetchedCredential(handle=handle) for handle in request.handles]
        )


async def fetched(store: Store) -> Issuer:
    """The issuer, once everything was fetched."""
    issuer = Issuer()
    task = asyncio.create_task(Fetcher(store, issuer, SystemClock()).run())  # type: ignore[arg-type]
    try:
        async with asyncio.timeout(PATIENCE):
            await store.done.wait()
    finally:
        task.cancel()
        await asyncio.wait([task])
    return issuer


@pytest.mark.parametrize(("waiting", "most"), [(1, 1), (BATCH - 1, 1), (4 * BATCH, LANES)])
async def test_calls_are_under_way_together_only_where_much_is_due(waiting: int, most: int) -> None:
    store = Store(waiting)
    issuer = await fetched(store)
    assert issuer.most == most
    assert sum(issuer.calls) == waiting
    assert max(issuer.calls) <= BATCH


async def test_an_outage_under_one_call_loses_nothing_of_the_other() -> None:
    store = Store(5 * BATCH, failing=2)
    await fetched(store)
    assert sorted(store.gone) == sorted(f"h{number}" for number in range(5 * BATCH))
