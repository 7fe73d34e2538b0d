"""Many statuses over one stream: item by item, repeated as answered first, with and without the ledger."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
import pytest

from services.issuer import ledger_stream
from tests.integration.issuer_harness import World, make_world, refusal
from tests.unit.accreditation_samples import DAI, UCL, uuid
from vitne.accreditation import timestamp
from vitne.clock import ManualClock
from vitne.dev.postgres import EmbeddedPostgres
from vitne.errors import ResourceExhausted
from vitne.runtime import item_streams
from vitne.runtime.status import error_from_status
from vitne_api.credential.v1 import credential_pb2
from vitne_api.issuer.v1 import issuer_pb2 as issuer
from vitne_api.ledger.v1 import ledger_pb2

REVOKE, REINSTATE = ledger_pb2.STATUS_CHANGE_REVOKE, ledger_pb2.STATUS_CHANGE_REINSTATE


@pytest.fixture
async def world(postgres: EmbeddedPostgres, tmp_path: Path, clock: ManualClock) -> AsyncIterator[World]:
    async with make_world(postgres, tmp_path, clock) as made:
        yield made


def item(credential_id: str, change: ledger_pb2.StatusChange.ValueType = REVOKE, **values: Any) -> Any:
    fields: dict[str, Any] = {"request_id": str(uuid4()), "reason": ledger_pb2.STATUS_REASON_ISSUED_IN_ERROR}
    return issuer.ChangeStatusRequest(credential_id=credential_id, change=change, **(fields | values))


async def ask(world: World, *messages: list[Any], caller: str = UCL) -> list[list[str]]:
    """For each message, for each of its items: the status's name, or the reason of the refusal."""

    async def sent() -> AsyncIterator[issuer.ChangeStatusesRequest]:
        for items in messages:
            yield issuer.ChangeStatusesRequest(items=items)

    return [
        [
            error_from_status(outcome.error).reason
            if outcome.WhichOneof("outcome") == "error"
            else credential_pb2.Status.Name(outcome.response.status)
            for outcome in answer.outcomes
        ]
        async for answer in world.caller(caller).ChangeStatuses(sent())
    ]


async def test_each_item_is_answered_for_itself_and_again_as_it_was_first(world: World, clock: ManualClock) -> None:
    issued = [(await world.issue()).id for _ in range(3)]
    late = timestamp(clock.now() + timedelta(days=1))
    first = [item(issued[0]), item("no id"), item(uuid(0xDEAD)), item(issued[1], effective=late), item(issued[1])]
    second = [
        item(issued[0], REINSTATE),
        item(issued[2], ledger_pb2.STATUS_CHANGE_SUSPEND),
        item(issued[2], request_id=""),
    ]
    answers = [
        ["STATUS_REVOKED", "BAD_UUID", "CREDENTIAL_UNKNOWN", "EFFECTIVE_IN_FUTURE", "STATUS_REVOKED"],
        ["STATUS_FINAL", "STATUS_SUSPENDED", "FIELD_REQUIRED"],
    ]
    assert await ask(world, first, second) == answers
    changes = len(world.ledger.changes)
    assert await ask(world, first, second) == answers
    assert len(world.ledger.changes) == changes == 3
    assert {each.on_behalf_of for each in world.ledger.changes} == {UCL}
    # Another institution's are as if they were not there.
    assert await ask(world, [item(issued[2])], caller=DAI) == [["CREDENTIAL_UNKNOWN"]]


async def test_a_message_without_items_or_with_too_many_ends_the_stream(world: World) -> None:
    for items, reason in (([], "FIELD_REQUIRED"), ([item(uuid(1))] * 501, "TOO_MANY_ITEMS")):
        error = await refusal(ask(world, items))
        assert (error.reason, error.field) == (reason, "items")
    assert world.ledger.changes == []


async def test_without_the_ledger_items_are_to_be_repeated_and_the_stream_goes_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    issued = [(await world.issue()).id for _ in range(2)]
    messages = [[item(each)] for each in issued]
    world.ledger.down = True
    assert await ask(world, *messages) == [["DOWN"], ["DOWN"]]
    world.ledger.down, world.ledger.knows_issuer = False, False
    assert await ask(world, *messages) == [["INTERNAL"], ["INTERNAL"]], "its own trouble is not the institution's"
    world.ledger.knows_issuer = True
    assert await ask(world, *messages) == [["STATUS_REVOKED"], ["STATUS_REVOKED"]]
    monkeypatch.setattr(ledger_stream, "PATIENCE_SECONDS", 0.0)
    assert await ask(world, *messages) == [["LEDGER_SILENT"], ["LEDGER_SILENT"]]


async def test_a_stream_that_the_ledger_ended_between_two_messages_is_opened_again(world: World) -> None:
    messages = [[item((await world.issue()).id)] for _ in range(3)]
    world.ledger.ends_streams_after = 1
    assert await ask(world, *messages) == [["STATUS_REVOKED"]] * 3
    assert len(world.ledger.changes) == 3


async def test_an_institution_has_so_many_streams_open_and_no_more(world: World) -> None:
    open_ones = [world.caller(UCL).ChangeStatuses() for _ in range(item_streams.STREAMS_OF_ONE)]
    for call in open_ones:
        await call.write(issuer.ChangeStatusesRequest(items=[item(uuid(0xDEAD))]))
        assert await call.read() != grpc.aio.EOF
    error = await refusal(ask(world, [item(uuid(1))]))
    assert (error.reason, type(error)) == ("TOO_MANY_STREAMS", ResourceExhausted)
    assert await ask(world, [item(uuid(1))], caller=DAI) == [["CREDENTIAL_UNKNOWN"]], "others have theirs"
    await open_ones[0].done_writing()
    assert await open_ones[0].read() == grpc.aio.EOF
    assert await ask(world, [item(uuid(1))]) == [["CREDENTIAL_UNKNOWN"]]
    for call in open_ones[1:]:
        call.cancel()


async def test_a_stream_without_messages_is_ended(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(item_streams, "IDLE_SECONDS", 0.05)
    call = world.caller(UCL).ChangeStatuses()
    assert (await refusal(call.read())).reason == "STREAM_IDLE"
