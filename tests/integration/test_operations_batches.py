"""Batches under load and limits: answers in the order of the items, a quota a provider, and what to do about each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from services.issuer.stored import Stored
from tests.integration.issuer_harness import MINI, World, item, make_world, refusal
from tests.unit.accreditation_samples import UIO
from vitne.clock import ManualClock
from vitne.dev.postgres import EmbeddedPostgres
from vitne.errors import Unavailable
from vitne_api.issuer.v1 import issuer_pb2 as issuer

QUOTA = 10


@pytest.fixture
async def world(postgres: EmbeddedPostgres, tmp_path: Path, clock: ManualClock) -> AsyncIterator[World]:
    async with make_world(postgres, tmp_path, clock, daily_quota=QUOTA, daily_quotas={UIO: 1}) as made:
        yield made


async def test_answers_come_in_the_order_of_the_items_whatever_finishes_first(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    issue, request_id = world.issuer.bulk.issue, str(uuid4())

    async def slow_first(order: Any) -> Stored:
        await asyncio.sleep(0.02 * (8 - int(order.item_id.removeprefix("item-"))))
        return await issue(order)

    items = [item(number, **({"awarded_on": "2027-01-01"} if number == 3 else {})) for number in range(8)]
    with monkeypatch.context() as patched:
        patched.setattr(world.issuer.rpc._batches, "_issue", slow_first)
        first, _ = await world.batch(items, request_id=request_id)
    # What needs no state is answered while the client still sends.
    expected = ["item-3", *(f"item-{number}" for number in range(8) if number != 3)]
    assert list(first) == expected
    again, _ = await world.batch(items, request_id=request_id)
    assert list(again.items()) == list(first.items())


async def test_each_answer_says_what_there_is_to_do(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    issue, request_id = world.issuer.bulk.issue, str(uuid4())

    async def failing(order: Any) -> Stored:
        if order.item_id == "item-2":
            raise Unavailable("NO_INDEXES_LEFT", "the ledger is away")
        if order.item_id == "item-3":
            raise ZeroDivisionError
        return await issue(order)

    items = [item(0), item(1, achievement_id=MINI), item(2), item(3)]
    with monkeypatch.context() as patched:
        patched.setattr(world.issuer.rpc._batches, "_issue", failing)
        first, summary = await world.batch(items, request_id=request_id)
    assert [first[f"item-{number}"].state for number in range(4)] == [
        issuer.ITEM_STATE_ISSUED,
        issuer.ITEM_STATE_REFUSED,
        issuer.ITEM_STATE_UNFINISHED,
        issuer.ITEM_STATE_NEEDS_HUMAN,
    ]
    assert (summary.issued, summary.refused, summary.unfinished, summary.needs_human) == (1, 1, 1, 1)
    again, summary = await world.batch(items, request_id=request_id)
    assert (summary.issued, summary.refused, summary.unfinished, summary.needs_human) == (3, 1, 0, 0)
    assert again["item-0"] == first["item-0"]
    assert again["item-1"] == first["item-1"]


async def test_a_batch_beyond_the_quota_is_refused_whole_and_one_within_it_is_not(world: World) -> None:
    await world.issue()  # a single issuance counts
    error = await refusal(world.batch([item(number) for number in range(QUOTA)]))
    assert error.reason == "QUOTA_EXCEEDED"
    assert (error.metadata["quota"], error.metadata["used"], error.metadata["asked"]) == ("10", "1", "10")
    assert await world.pool.fetchval("SELECT count(*) FROM credential") == 1
    _, summary = await world.batch([item(number) for number in range(QUOTA - 1)])
    assert summary.issued == QUOTA - 1
    await world.issue(learner={"value": item(77).issuance.learner.value})  # nor is it refused for it
    # Another provider's quota is its own.
    assert (await world.batch([item(1, achievement_id=MINI)], provider=UIO))[1].issued == 1
    assert (await refusal(world.batch([item(2, achievement_id=MINI)], provider=UIO))).reason == "QUOTA_EXCEEDED"


async def test_what_a_batch_did_not_issue_is_left_for_the_next(world: World) -> None:
    ahead_of_time = {"awarded_on": "2027-01-01"}
    items = [item(number, **(ahead_of_time if number < 4 else {})) for number in range(QUOTA)]
    assert (await world.batch(items))[1].issued == QUOTA - 4
    assert (await world.batch([item(number) for number in range(20, 24)]))[1].issued == 4
    assert (await refusal(world.batch([item(50)]))).reason == "QUOTA_EXCEEDED"


async def test_a_batch_can_be_resumed_when_the_quota_is_used_up_by_it(world: World) -> None:
    request_id = str(uuid4())
    items = [item(number) for number in range(QUOTA)]
    first, _ = await world.batch(items, request_id=request_id)
    again, summary = await world.batch(items, request_id=request_id)
    assert (again, summary.issued) == (first, QUOTA)
    assert (await refusal(world.batch([*items, item(50)], request_id=request_id))).reason == "QUOTA_EXCEEDED"


async def test_the_window_moves(world: World, clock: ManualClock) -> None:
    await world.batch([item(number) for number in range(QUOTA)])
    clock.advance(timedelta(hours=23, minutes=59))
    world.learn()
    assert (await refusal(world.batch([item(50)]))).reason == "QUOTA_EXCEEDED"
    clock.advance(timedelta(minutes=2))
    world.learn()
    assert (await world.batch([item(50)]))[1].issued == 1


async def test_open_batches_count(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    issue, begun, go_on = world.issuer.bulk.issue, asyncio.Event(), asyncio.Event()

    async def held(order: Any) -> Stored:
        begun.set()
        await go_on.wait()
        return await issue(order)

    monkeypatch.setattr(world.issuer.rpc._batches, "_issue", held)
    running = asyncio.create_task(world.batch([item(number) for number in range(6)]))
    await begun.wait()
    try:
        error = await refusal(world.batch([item(number) for number in range(10, 15)]))
    finally:
        go_on.set()
    assert error.reason == "QUOTA_EXCEEDED"
    assert error.metadata["used"] == "6"
    assert (await running)[1].issued == 6
    monkeypatch.undo()
    assert (await world.batch([item(number) for number in range(10, 14)]))[1].issued == 4
