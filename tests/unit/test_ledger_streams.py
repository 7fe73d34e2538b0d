"""Many statuses over streams: what one institution, and one caller, may have under way at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any
from unittest.mock import Mock
from uuid import uuid4

import pytest

from services.ledger import rpc
from services.ledger.rpc import LedgerRpc
from services.ledger.statuses import StatusRequest
from vitne.errors import ResourceExhausted
from vitne.identifiers import OrganisationId
from vitne.runtime.identity import Caller, caller_context
from vitne.runtime.item_streams import stream_room
from vitne.runtime.room import Room
from vitne.runtime.status import error_from_status
from vitne_api.ledger.v1 import ledger_pb2

ONE, OTHER = "0184:30859480", "0192:971035854"


@pytest.fixture(autouse=True)
def caller() -> Iterator[None]:
    token = caller_context.set(Caller(OrganisationId.parse(OTHER), frozenset(), "issuer"))
    yield
    caller_context.reset(token)


class Database:
    """Commits when it is told to."""

    def __init__(self) -> None:
        self.asked: list[StatusRequest] = []
        self.committed = asyncio.Event()

    async def set_statuses(self, requests: Sequence[StatusRequest]) -> list[ledger_pb2.SetStatusResponse | Exception]:
        self.asked += requests
        await self.committed.wait()
        return [ledger_pb2.SetStatusResponse(status=1) for _ in requests]  # type: ignore[arg-type]  # any will do


def ledger_of(database: Database) -> LedgerRpc:
    return LedgerRpc(
        pool=Mock(),
        leases=Mock(),
        set_status=Mock(),
        set_statuses=database.set_statuses,
        store=Mock(),
        clock=Mock(),
        publisher=Mock(),
        history=Mock(),
    )


def message(*institutions: str) -> ledger_pb2.SetStatusesRequest:
    return ledger_pb2.SetStatusesRequest(
        items=[
            ledger_pb2.SetStatusRequest(
                request_id=str(uuid4()),
                list="https://status.vitne.example/2026/no-1",
                index=1,
                change=ledger_pb2.STATUS_CHANGE_REVOKE,
                reason=ledger_pb2.STATUS_REASON_ISSUED_IN_ERROR,
                on_behalf_of=institution,
            )
            for institution in institutions
        ]
    )


async def ask(ledger: LedgerRpc, *messages: ledger_pb2.SetStatusesRequest) -> list[str]:
    async def sent() -> AsyncIterator[ledger_pb2.SetStatusesRequest]:
        for each in messages:
            yield each

    return [
        error_from_status(outcome.error).reason if outcome.WhichOneof("outcome") == "error" else "made"
        async for answer in ledger.SetStatuses(sent(), None)
        for outcome in answer.outcomes
    ]


async def until_asked(database: Database, count: int) -> None:
    async with asyncio.timeout(60):
        while len(database.asked) < count:
            await asyncio.sleep(0)


async def test_what_an_institution_has_too_many_of_is_refused_item_by_item_and_nobody_elses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rpc, "IN_FLIGHT_OF_ONE", 3)
    database = Database()
    ledger = ledger_of(database)
    first = asyncio.create_task(ask(ledger, message(ONE, ONE)))
    await until_asked(database, 2)
    second = asyncio.create_task(ask(ledger, message(ONE, OTHER, ONE)))
    await until_asked(database, 3)
    database.committed.set()
    assert await first == ["made"] * 2
    assert await second == ["TOO_MANY_IN_FLIGHT", "made", "TOO_MANY_IN_FLIGHT"]
    assert await ask(ledger, message(ONE, ONE, ONE)) == ["made"] * 3, "there is room again"


async def test_of_one_caller_so_many_streams_are_open_and_not_one_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rpc, "STREAMS_OF_ONE", 1)
    database = Database()
    ledger = ledger_of(database)
    first = asyncio.create_task(ask(ledger, message(ONE)))
    await until_asked(database, 1)
    with pytest.raises(ResourceExhausted, match="TOO_MANY_STREAMS") as refused:
        await ask(ledger, message(OTHER))
    assert refused.value.remedy
    database.committed.set()
    assert await first == await ask(ledger, message(OTHER)) == ["made"]


async def test_an_institution_has_its_share_of_streams_whoever_opens_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rpc, "STREAMS_OF_INSTITUTION", 1)
    database = Database()
    ledger = ledger_of(database)
    first = asyncio.create_task(ask(ledger, message(ONE)))
    await until_asked(database, 1)
    token = caller_context.set(Caller(OrganisationId.parse(OTHER), frozenset(), "another-replica"))
    with pytest.raises(ResourceExhausted, match=r"TOO_MANY_STREAMS.*in each replica"):
        await ask(ledger, message(ONE))
    database.committed.set()
    assert await ask(ledger, message(OTHER)) == ["made"]
    caller_context.reset(token)
    assert await first == await ask(ledger, message(ONE)) == ["made"]


def test_room_is_given_back_whatever_becomes_of_who_took_it() -> None:
    room = Room(2, 3, lambda: ResourceExhausted("FULL", "there is no room"))
    with room.take("a", 2), room.take("b"):
        for name in ("a", "b", "c"):
            with pytest.raises(ResourceExhausted), room.take(name):
                raise AssertionError("no room was left")
    with pytest.raises(ZeroDivisionError), room.take("a", 2):
        raise ZeroDivisionError
    with room.take("a", 2), room.take("c"):
        pass
    with pytest.raises(ResourceExhausted), room.take("a", 3):
        raise AssertionError("nobody has so much")


def test_streams_of_one_leave_room_for_others() -> None:
    room: Any = stream_room(1, 2)
    with room.take("a"), room.take("b"), pytest.raises(ResourceExhausted, match="TOO_MANY_STREAMS"), room.take("c"):
        raise AssertionError("no room was left")
