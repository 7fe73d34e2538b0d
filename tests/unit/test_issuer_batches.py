"""Batches share a process: bounded, waiting for room, patient with what passes, and not for ever open."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest

from services.issuer import batch as module
from services.issuer.admission import Order
from services.issuer.batch import (
    MAX_BATCHES,
    MAX_BATCHES_OF_ONE,
    MAX_BYTES,
    MAX_ITEMS,
    PATIENCE_SECONDS,
    Batches,
)
from tests.integration.issuer_harness import issuance, pid_of
from tests.unit.accreditation_samples import PRIVATE, UCL, UIO
from vitne.clock import ManualClock
from vitne.errors import ResourceExhausted, Unavailable, VitneError
from vitne.identifiers import OrganisationId
from vitne.runtime.status import error_from_status
from vitne_api.issuer.v1 import issuer_pb2

STORED: Any = SimpleNamespace(credential=SimpleNamespace(message=lambda: issuer_pb2.IssuedCredential(id="1")))


async def requests(items: int, until: asyncio.Event | None = None) -> AsyncIterator[issuer_pb2.IssueBatchRequest]:
    yield issuer_pb2.IssueBatchRequest(header=issuer_pb2.BatchHeader(request_id=str(uuid4())))
    for number in range(items):
        item = issuer_pb2.BatchItem(item_id=str(number), issuance=issuance(learner={"value": pid_of(number % 40)}))
        yield issuer_pb2.IssueBatchRequest(item=item)
    if until is not None:
        await until.wait()


async def answers(
    batches: Batches, items: int, *, provider: str = UCL, until: asyncio.Event | None = None
) -> list[issuer_pb2.IssueBatchResponse]:
    return [answer async for answer in batches.answer(OrganisationId.parse(provider), requests(items, until))]


async def test_items_of_all_batches_wait_for_room(clock: ManualClock) -> None:
    running = most = 0

    async def issue(_: Order) -> Any:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001)
        running -= 1
        return STORED

    batches = Batches(issue, 5, clock)
    for told in await asyncio.gather(*(answers(batches, 40) for _ in range(3))):
        assert told[-1].summary.issued == 40
    assert most == 5


@pytest.mark.parametrize("reason", ["DATABASE_UNAVAILABLE", "KEY_STORE_UNAVAILABLE", "STATUS_INDEXES_EXHAUSTED"])
async def test_what_passes_is_waited_out(clock: ManualClock, reason: str) -> None:
    start = clock.monotonic()

    async def issue(_: Order) -> Any:
        if clock.monotonic() < start + 20:
            raise Unavailable(reason, "away")
        return STORED

    told = await answers(Batches(issue, 100, clock), 10)
    assert told[-1].summary.issued == 10


async def test_patience_ends_and_then_each_item_says_why(clock: ManualClock) -> None:
    tries = 0

    async def issue(_: Order) -> Any:
        nonlocal tries
        tries += 1
        raise Unavailable("DATABASE_UNAVAILABLE", "away")

    start = clock.monotonic()
    told = await answers(Batches(issue, 10_000, clock), 2_500)
    assert {error_from_status(one.result.error).reason for one in told[:-1]} == {"DATABASE_UNAVAILABLE"}
    assert told[-1].summary.unfinished == 2_500
    assert clock.monotonic() - start <= PATIENCE_SECONDS + 1
    assert 2_500 < tries < 200_000


async def test_what_does_not_pass_is_answered_at_once(clock: ManualClock) -> None:
    async def issue(_: Order) -> Any:
        raise Unavailable("REGISTRY_STALE", "too old")

    start = clock.monotonic()
    assert (await answers(Batches(issue, 10, clock), 3))[-1].summary.issued == 0
    assert clock.monotonic() == start


async def test_a_process_and_an_institution_have_so_many_batches_open_and_no_more(clock: ManualClock) -> None:
    async def issue(_: Order) -> Any:
        return STORED

    async def refused(provider: str) -> VitneError:
        with pytest.raises(ResourceExhausted) as caught:
            await answers(batches, 1, provider=provider)
        assert caught.value.remedy
        return caught.value

    batches, close = Batches(issue, 10, clock), asyncio.Event()
    opened = [asyncio.create_task(answers(batches, 1, until=close)) for _ in range(MAX_BATCHES_OF_ONE)]
    await asyncio.sleep(0.01)
    assert (await refused(UCL)).reason == "TOO_MANY_BATCHES"
    assert (await answers(batches, 1, provider=UIO))[-1].summary.issued == 1
    others = [f"0192:{number}" for number in (971035854, 919477822, 974788985)]
    opened += [
        asyncio.create_task(answers(batches, 1, provider=other, until=close))
        for other in others
        for _ in range((MAX_BATCHES - MAX_BATCHES_OF_ONE) // len(others))
    ]
    await asyncio.sleep(0.01)
    assert (await refused(PRIVATE)).reason == "TOO_MANY_BATCHES"
    close.set()
    assert all(told[-1].summary.issued == 1 for told in await asyncio.gather(*opened))
    assert (await answers(batches, 1))[-1].summary.issued == 1


@pytest.mark.parametrize("limit", ["IDLE_SECONDS", "READING_SECONDS"])
async def test_a_batch_is_not_open_for_ever(clock: ManualClock, monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    async def issue(_: Order) -> Any:
        raise AssertionError("nothing is issued before the client has closed its side")

    monkeypatch.setattr(module, limit, 0.05)
    batches = Batches(issue, 10, clock)
    for _ in range(MAX_BATCHES + 1):  # and none of them keeps its place
        with pytest.raises(VitneError) as caught:
            await answers(batches, 2, until=asyncio.Event())
        assert caught.value.reason == "BATCH_IDLE"


def test_the_largest_batch_of_legal_items_fits_and_little_more() -> None:
    longest = issuance(
        learner={
            "scheme": "s" * 64,
            "value": "v" * 128,
            "given_name": "g" * 200,
            "family_name": "f" * 200,
            "birth_date": "1980-01-01",
        },
        grade="g" * 64,
        expires_on="2030-01-01",
        holder_jwk="j" * 1000,
    )
    request = issuer_pb2.IssueBatchRequest(item=issuer_pb2.BatchItem(item_id="i" * 64, issuance=longest))
    assert 0.9 * MAX_BYTES < MAX_ITEMS * request.ByteSize() <= MAX_BYTES
