"""Batches: answered item by item, resumable, and one bad item never fails its neighbours."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from services.issuer.batch import MAX_PACK
from tests.integration.issuer_harness import (
    MINI,
    NANO,
    World,
    issuance,
    item,
    make_world,
    pid_of,
    refusal,
)
from tests.unit.accreditation_samples import UCL
from vitne.clock import ManualClock
from vitne.credentials import sd_jwt_vc
from vitne.dev.postgres import EmbeddedPostgres
from vitne.errors import AlreadyExists, InvalidArgument, VitneError
from vitne.runtime.status import error_from_status
from vitne_api.issuer.v1 import issuer_pb2


@pytest.fixture
async def world(postgres: EmbeddedPostgres, tmp_path: Path, clock: ManualClock) -> AsyncIterator[World]:
    async with make_world(postgres, tmp_path, clock) as made:
        yield made


def error_of(result: issuer_pb2.BatchResult) -> VitneError:
    assert result.WhichOneof("outcome") == "error", result
    return error_from_status(result.error)


@pytest.mark.parametrize("pack", [0, 20])
async def test_fifty_items_of_which_five_are_bad(world: World, pack: int) -> None:
    bad: dict[int, tuple[dict[str, Any], str, str]] = {
        3: ({"learner": {"value": "01010112345"}}, "BAD_LEARNER_ID", "items[3].issuance.learner.value"),
        11: ({"achievement_id": NANO}, "SIZE_BELOW_MINIMUM", "items[11].issuance.achievement_id"),
        12: ({"achievement_id": MINI}, "FOREIGN_ACHIEVEMENT", "items[12].issuance.achievement_id"),
        30: ({"awarded_on": "2027-01-01"}, "DATE_IN_FUTURE", "items[30].issuance.awarded_on"),
        49: ({"learner": {"given_name": ""}}, "FIELD_REQUIRED", "items[49].issuance.learner.given_name"),
    }
    items = [item(number, **(bad[number][0] if number in bad else {})) for number in range(50)]
    results, summary = await world.batch(items, pack=pack)
    assert (summary.issued, summary.refused) == (45, 5)
    assert len(results) == 50
    for number, (_, reason, field) in bad.items():
        error = error_of(results[f"item-{number}"])
        assert (error.reason, error.field) == (reason, field)
        assert error.rule
        assert error.remedy
    issued = [results[f"item-{number}"].credential for number in range(50) if number not in bad]
    assert sorted(one.status_reference.index for one in issued) == list(range(45))
    assert not any(one.artefact for one in issued)
    got = await world.caller(UCL).GetCredential(issuer_pb2.GetCredentialRequest(credential_id=issued[7].id))
    learner = sd_jwt_vc.parse(got.credential.artefact).credential.learner
    assert learner.id is not None
    assert learner.id.value == pid_of(8)
    assert len(await world.outbox("vitne.issuer.leaves.v1")) == 45


async def test_a_repeated_batch_answers_what_was_issued_first_and_issues_the_rest(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = str(uuid4())
    complete = world.issuer.bulk._complete
    calls = 0

    async def now_and_then(stored: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls % 3 == 0:
            raise RuntimeError("injected between the two transactions")
        return await complete(stored)

    with monkeypatch.context() as patched:
        patched.setattr(world.issuer.bulk, "_complete", now_and_then)
        first, summary = await world.batch((item(number) for number in range(20)), request_id=batch)
    assert (summary.issued, summary.refused, summary.needs_human) == (14, 0, 6)
    assert {error_of(one).reason for one in first.values() if one.WhichOneof("outcome") == "error"} == {"INTERNAL"}
    again, summary = await world.batch((item(number) for number in range(25)), request_id=batch, pack=10)
    assert (summary.issued, summary.refused) == (25, 0)
    for item_id, result in first.items():
        if result.WhichOneof("outcome") == "credential":
            assert again[item_id] == result
    assert await world.pool.fetchval("SELECT count(*) FROM credential") == 25
    assert len(await world.outbox("vitne.issuer.leaves.v1")) == 25


async def test_another_body_under_an_item_id_is_that_items_error(world: World) -> None:
    batch = str(uuid4())
    first, _ = await world.batch([item(1), item(2)], request_id=batch)
    again, summary = await world.batch([item(1, grade="B"), item(2)], request_id=batch)
    assert isinstance(error_of(again["item-1"]), AlreadyExists)
    assert error_of(again["item-1"]).reason == "REQUEST_ID_REUSED"
    assert again["item-2"] == first["item-2"]
    assert (summary.issued, summary.refused) == (1, 1)


async def test_a_unary_call_and_a_batch_may_share_a_request_id(world: World) -> None:
    shared = str(uuid4())
    single = await world.issue(request_id=shared)
    results, _ = await world.batch([item(1)], request_id=shared)
    assert results["item-1"].credential.id != single.id


async def test_an_item_id_is_used_once(world: World) -> None:
    second = item(2)
    second.item_id = "item-1"
    answers = [
        answer
        for answer in await everything(world.caller(UCL).IssueBatch(parts(header(), item(1), second)))
        if answer.WhichOneof("part") == "result"
    ]
    assert [answer.result.WhichOneof("outcome") for answer in answers] == ["error", "credential"]
    assert error_of(answers[0].result).reason == "DUPLICATE_ITEM_ID"


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ([], "BATCH_HEADER_MISSING"),
        ([item(1)], "BATCH_HEADER_MISSING"),
        ([issuer_pb2.BatchHeader(request_id=str(uuid4()))] * 2, "BATCH_HEADER_REPEATED"),
        ([issuer_pb2.BatchHeader(request_id="no-uuid")], "BAD_UUID"),
        ([issuer_pb2.BatchHeader(request_id=str(uuid4())), None], "BATCH_PART_MISSING"),
        ([issuer_pb2.BatchItems(items=[item(1)])], "BATCH_HEADER_MISSING"),
        ([issuer_pb2.BatchHeader(request_id=str(uuid4())), issuer_pb2.BatchItems()], "BATCH_PACK_SIZE"),
        (
            [
                issuer_pb2.BatchHeader(request_id=str(uuid4())),
                issuer_pb2.BatchItems(items=[item(number) for number in range(MAX_PACK + 1)]),
            ],
            "BATCH_PACK_SIZE",
        ),
    ],
)
async def test_a_batch_out_of_order_is_refused_whole(world: World, messages: list[Any], reason: str) -> None:
    stream = world.caller(UCL).IssueBatch(parts(*messages))
    error = await refusal(everything(stream))
    assert isinstance(error, InvalidArgument)
    assert error.reason == reason
    assert await world.pool.fetchval("SELECT count(*) FROM credential") == 0


async def test_nothing_is_issued_before_the_client_has_closed_its_side(world: World) -> None:
    stream = world.caller(UCL).IssueBatch()
    await stream.write(issuer_pb2.IssueBatchRequest(header=header()))
    await stream.write(issuer_pb2.IssueBatchRequest(item=item(1)))
    await stream.write(issuer_pb2.IssueBatchRequest(item=item(2, awarded_on="2027-01-01")))
    answer: Any = await stream.read()  # what needs no state is answered at once
    assert error_of(answer.result).reason == "DATE_IN_FUTURE"
    assert await world.pool.fetchval("SELECT count(*) FROM credential") == 0
    stream.cancel()


async def test_answers_travel_together_in_the_order_of_their_items(world: World) -> None:
    items = [item(number) for number in range(60)]
    packs = [issuer_pb2.BatchItems(items=items[:50]), issuer_pb2.BatchItems(items=items[50:])]
    *answers, end = await everything(world.caller(UCL).IssueBatch(parts(header(), *packs)))
    assert end.summary.issued == 60
    assert [one.item_id for each in answers for one in each.results.results] == [one.item_id for one in items]
    assert len(answers) < len(items)


@pytest.mark.parametrize("answers", [0, 1, 40])
async def test_a_batch_whose_client_went_away_among_the_answers_is_resumed(
    world: World, clock: ManualClock, answers: int
) -> None:
    batch, items = str(uuid4()), [item(number) for number in range(60)]
    stream = world.caller(UCL).IssueBatch(parts(issuer_pb2.BatchHeader(request_id=batch), *items))
    seen: dict[str, issuer_pb2.BatchResult] = {}
    for _ in range(answers):
        answer: Any = await stream.read()
        seen[answer.result.item_id] = answer.result
    stream.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await stream.code()
    again, summary = await world.batch(items, request_id=batch)
    assert (summary.issued, summary.refused) == (60, 0)
    assert {item_id: again[item_id] for item_id in seen} == seen
    # What was stored for the first call and not finished was finished by the second: nothing is left, or doubled.
    clock.advance(timedelta(seconds=11))
    assert await world.issuer.unary.complete_abandoned() == 0
    assert await world.pool.fetchval("SELECT count(*) FROM credential") == 60
    assert len(await world.outbox("vitne.issuer.leaves.v1")) == 60
    assert await world.taken() == 60


async def test_a_large_batch_takes_its_indexes_from_several_blocks(
    postgres: EmbeddedPostgres, tmp_path: Path, clock: ManualClock
) -> None:
    async with make_world(postgres, tmp_path, clock, lease_block=40, lease_low_water=240) as world:
        results, summary = await world.batch(numbered(number) for number in range(230))
        assert (summary.issued, summary.refused) == (230, 0)
        assert {one.credential.status_reference.index for one in results.values()} == set(range(230))
        assert await world.pool.fetchval("SELECT count(*) FROM index_lease WHERE country = 'DK'") < 6


def numbered(number: int) -> issuer_pb2.BatchItem:
    """One of many items for few learners."""
    return issuer_pb2.BatchItem(item_id=str(number), issuance=issuance(learner={"value": pid_of(number % 40)}))


def header() -> issuer_pb2.BatchHeader:
    return issuer_pb2.BatchHeader(request_id=str(uuid4()))


async def parts(*messages: Any) -> AsyncIterator[issuer_pb2.IssueBatchRequest]:
    for message in messages:
        if message is None:
            yield issuer_pb2.IssueBatchRequest()
        elif isinstance(message, issuer_pb2.BatchHeader):
            yield issuer_pb2.IssueBatchRequest(header=message)
        elif isinstance(message, issuer_pb2.BatchItems):
            yield issuer_pb2.IssueBatchRequest(items=message)
        else:
            yield issuer_pb2.IssueBatchRequest(item=message)


async def everything(stream: Any) -> list[Any]:
    return [answer async for answer in stream]
