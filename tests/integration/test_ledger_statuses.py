"""Changes of statuses: what is written, what is refused, what is repeated."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest

from services.ledger.statuses import Statuses
from services.ledger.transitions import Change
from services.ledger.wiring import MIGRATIONS
from tests.integration.ledger_harness import BASE_URL, INSTITUTION, LIST_SIZE, Ledger, make_ledger, request
from tests.integration.published import published
from vitne.clock import ManualClock
from vitne.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound, VitneError
from vitne.identifiers import UuidFactory
from vitne.merkle.leaves import StatusChanged, parse_leaf
from vitne.messaging import topics
from vitne.messaging.status_events import read_changes
from vitne_api.credential.v1 import credential_pb2
from vitne_api.events.v1 import events_pb2
from vitne_api.ledger.v1 import ledger_pb2

pytestmark = pytest.mark.schema(MIGRATIONS)

MINUTE = timedelta(minutes=1)


@pytest.fixture
async def ledger(database_dsn: str, pool: asyncpg.Pool, clock: ManualClock, tmp_path: Path) -> Ledger:
    return await make_ledger(database_dsn, pool, clock, tmp_path)


@pytest.fixture
async def lease(ledger: Ledger) -> ledger_pb2.LeaseIndexesResponse:
    return await ledger.lease(20)


def utc(timestamp: object) -> datetime:
    return timestamp.ToDatetime(UTC)  # type: ignore[attr-defined, no-any-return]  # protobuf's well-known type


async def test_a_revocation_is_a_row_an_event_and_a_leaf(
    ledger: Ledger, lease: ledger_pb2.LeaseIndexesResponse, clock: ManualClock
) -> None:
    now = clock.now()
    index = lease.indexes[3]
    answer = await ledger.set(request(lease.list, index, Change.REVOKE, effective=now - MINUTE, issued_at=now - MINUTE))
    assert answer.status == credential_pb2.STATUS_REVOKED
    assert (utc(answer.effective), utc(answer.recorded)) == (now - MINUTE, now)

    row = await ledger.pool.fetchrow("SELECT * FROM status_change")
    assert (row["number"], row["index"], row["status"]) == (1, index, 1)
    assert (row["reason"], row["on_behalf_of"]) == ("STATUS_REASON_ISSUED_IN_ERROR", INSTITUTION)

    (leaf,) = await ledger.queued()
    assert parse_leaf(leaf) == StatusChanged(lease.list, index, "revoked", now - MINUTE, now)

    event = await ledger.pool.fetchrow("SELECT * FROM outbox")
    assert (event["topic"], event["key"], event["revision"]) == ("vitne.ledger.status.v1", lease.list, 1)
    assert event["type"] == "vitne.ledger.status_changed.v1"
    told = events_pb2.StatusChanged.FromString(event["value"])
    assert (told.list, told.index, told.status) == (lease.list, index, credential_pb2.STATUS_REVOKED)
    assert (utc(told.effective), utc(told.recorded)) == (now - MINUTE, now)
    # The reason stays here.
    for kept in (leaf, event["value"]):
        assert b"ISSUED_IN_ERROR" not in kept
        assert INSTITUTION.encode() not in kept


async def test_changes_of_a_group_are_told_together_list_by_list(
    ledger: Ledger, lease: ledger_pb2.LeaseIndexesResponse, clock: ManualClock
) -> None:
    now, other, (one, two) = clock.now(), await ledger.lease(1, country="DK"), lease.indexes[:2]
    await ledger.apply(
        [
            request(lease.list, one, Change.SUSPEND),
            request(other.list, other.indexes[0], Change.REVOKE),
            request(lease.list, two, Change.REVOKE, effective=now - MINUTE, issued_at=now - MINUTE),
            request(lease.list, one, Change.REVOKE),
        ]
    )
    events = {row["key"]: row for row in await ledger.pool.fetch("SELECT * FROM outbox")}
    assert {key: (row["type"], row["revision"]) for key, row in events.items()} == {
        lease.list: ("vitne.ledger.statuses_changed.v1", 1),
        other.list: ("vitne.ledger.status_changed.v1", 1),
    }
    told = events_pb2.StatusesChanged.FromString(events[lease.list]["value"])
    assert (told.list, utc(told.recorded)) == (lease.list, now)
    assert [(each.index, each.status) for each in told.changes] == [
        (one, credential_pb2.STATUS_SUSPENDED),
        (two, credential_pb2.STATUS_REVOKED),
        (one, credential_pb2.STATUS_REVOKED),
    ]
    # What is changed twice at one instant is recorded twice, one after the other.
    soon = now + timedelta(milliseconds=1)
    (message,) = [each for each in await published(ledger.pool, topics.LEDGER_STATUS) if each.key == lease.list]
    expected = [(one, now, now), (two, now - MINUTE, now), (one, soon, soon)]
    assert [(each.index, each.effective, each.recorded) for each in read_changes(message)] == expected
    rows = await ledger.pool.fetch(
        "SELECT index, effective, recorded FROM status_change JOIN status_list ON id = list_id WHERE url = $1 "
        "ORDER BY status_change.number",
        lease.list,
    )
    assert [tuple(row) for row in rows] == expected
    logged = {parse_leaf(leaf) for leaf in await ledger.queued()}
    assert {StatusChanged(lease.list, one, "revoked", soon, soon)} < logged


async def test_each_change_keeps_its_own_trace(ledger: Ledger, lease: ledger_pb2.LeaseIndexesResponse) -> None:
    traces = [
        f"00-{number:032x}-{number:016x}-{flags}" for number, flags in ((1, "00"), (2, "01"), (3, "00"), (4, "01"))
    ]
    asked = [request(lease.list, index, Change.REVOKE) for index in lease.indexes[:4]]
    await ledger.apply([replace(each, traceparent=trace) for each, trace in zip(asked, traces, strict=True)])
    (message,) = await published(ledger.pool, topics.LEDGER_STATUS)
    # What is not recorded is not told: nothing would lead on from it, and least of all to somebody else's.
    assert [change.traceparent for change in read_changes(message)] == ["", traces[1], "", traces[3]]
    leaves = await ledger.pool.fetch("SELECT traceparent FROM queued_leaf ORDER BY number")
    assert [leaf["traceparent"] for leaf in leaves] == [None, traces[1], None, traces[3]]
    header = await ledger.pool.fetchval("SELECT traceparent FROM outbox")
    assert header == traces[1]
    assert next(change.traceparent for change in read_changes(replace(message, traceparent=header))) == ""


@pytest.mark.parametrize(("together", "sizes"), [(100, [100, 100, 5]), (1, [1] * 205)])
async def test_an_event_tells_of_as_many_as_it_may(
    ledger: Ledger, clock: ManualClock, together: int, sizes: list[int]
) -> None:
    lease = await ledger.lease(205)
    statuses = Statuses(ledger.orders, clock, UuidFactory(clock), told_together=together)
    async with ledger.pool.acquire() as connection, connection.transaction():
        await statuses.apply(connection, [request(lease.list, index, Change.REVOKE) for index in lease.indexes])
    told = [read_changes(message) for message in await published(ledger.pool, topics.LEDGER_STATUS)]
    assert [len(changes) for changes in told] == sizes
    assert [change.index for changes in told for change in changes] == list(lease.indexes)


async def test_suspended_reinstated_revoked_is_a_history(
    ledger: Ledger, lease: ledger_pb2.LeaseIndexesResponse, clock: ManualClock
) -> None:
    index = lease.indexes[0]
    for change in (Change.SUSPEND, Change.REINSTATE, Change.SUSPEND, Change.REVOKE):
        await ledger.set(request(lease.list, index, change))
        clock.advance(MINUTE)
    rows = await ledger.pool.fetch("SELECT number, status FROM status_change ORDER BY number")
    assert [(row["number"], row["status"]) for row in rows] == [(1, 2), (2, 0), (3, 2), (4, 1)]
    assert await ledger.pool.fetchval("SELECT changes FROM status_list") == 4
    revisions = await ledger.pool.fetch("SELECT revision FROM outbox ORDER BY revision")
    assert [row["revision"] for row in revisions] == [1, 2, 3, 4]


async def snapshot(ledger: Ledger) -> list[int]:
    tables = ("status_change", "outbox", "queued_leaf", "request")
    return [await ledger.pool.fetchval(f"SELECT count(*) FROM {table}") for table in tables]


async def test_what_is_wrong_is_refused_and_changes_nothing(
    ledger: Ledger, lease: ledger_pb2.LeaseIndexesResponse, clock: ManualClock
) -> None:
    now, url = clock.now(), lease.list
    fresh, revoked, suspended = lease.indexes[:3]
    await ledger.set(request(url, revoked, Change.REVOKE))
    await ledger.set(request(url, suspended, Change.SUSPEND))
    before = await snapshot(ledger)
    unleased = next(index for index in range(LIST_SIZE) if index not in set(lease.indexes))
    cases: list[tuple[object, type[VitneError], str]] = [
        (request(f"{BASE_URL}/2026/no-9", fresh, Change.REVOKE), NotFound, "STATUS_LIST_UNKNOWN"),
        (request(f"{url}/", fresh, Change.REVOKE), NotFound, "STATUS_LIST_UNKNOWN"),
        (request("https://elsewhere.example/2026/no-1", fresh, Change.REVOKE), NotFound, "STATUS_LIST_UNKNOWN"),
        (request(url, unleased, Change.REVOKE), NotFound, "STATUS_INDEX_UNKNOWN"),
        (request(url, LIST_SIZE, Change.REVOKE), NotFound, "STATUS_INDEX_UNKNOWN"),
        (request(url, 2**32 - 1, Change.REVOKE), NotFound, "STATUS_INDEX_UNKNOWN"),
        (request(url, revoked, Change.REINSTATE), FailedPrecondition, "STATUS_FINAL"),
        (request(url, revoked, Change.SUSPEND), FailedPrecondition, "STATUS_FINAL"),
        (request(url, suspended, Change.SUSPEND), FailedPrecondition, "STATUS_CONTRADICTS"),
        (request(url, fresh, Change.REINSTATE), FailedPrecondition, "STATUS_CONTRADICTS"),
        (
            request(url, suspended, Change.REVOKE, effective=now - MINUTE),
            FailedPrecondition,
            "EFFECTIVE_BEFORE_LAST_CHANGE",
        ),
        (request(url, fresh, Change.REVOKE, effective=now + MINUTE), InvalidArgument, "EFFECTIVE_IN_FUTURE"),
        (
            request(url, fresh, Change.REVOKE, effective=now - MINUTE, issued_at=now),
            InvalidArgument,
            "EFFECTIVE_BEFORE_ISSUANCE",
        ),
    ]
    for wrong, kind, reason in cases:
        with pytest.raises(kind) as refusal:
            await ledger.set(wrong)  # type: ignore[arg-type]  # a list of mixed tuples
        assert refusal.value.reason == reason
        assert refusal.value.field
        assert refusal.value.rule
        assert refusal.value.remedy
    assert await snapshot(ledger) == before


async def test_a_request_repeated_is_answered_as_the_first_time(
    ledger: Ledger, lease: ledger_pb2.LeaseIndexesResponse, clock: ManualClock
) -> None:
    url, index = lease.list, lease.indexes[0]
    suspend = request(url, index, Change.SUSPEND)
    first = await ledger.set(suspend)
    clock.advance(MINUTE)
    await ledger.set(request(url, index, Change.REINSTATE))
    assert await ledger.set(suspend) == first  # although it would contradict, or do it again
    assert await ledger.pool.fetchval("SELECT count(*) FROM status_change") == 2
    with pytest.raises(AlreadyExists, match="REQUEST_ID_REUSED"):
        await ledger.set(request(url, index, Change.REVOKE, request_id=suspend.key.request_id))


async def test_revoking_again_under_another_request_id_says_since_when(
    ledger: Ledger, lease: ledger_pb2.LeaseIndexesResponse, clock: ManualClock
) -> None:
    url, index = lease.list, lease.indexes[0]
    first = await ledger.set(request(url, index, Change.REVOKE))
    clock.advance(MINUTE)
    again = request(url, index, Change.REVOKE, reason="STATUS_REASON_MISCONDUCT")
    assert await ledger.set(again) == first
    assert await ledger.pool.fetchval("SELECT count(*) FROM status_change") == 1
    assert len(await ledger.queued()) == 1
    # This request id is taken too.
    with pytest.raises(AlreadyExists):
        await ledger.set(request(url, lease.indexes[1], Change.REVOKE, request_id=again.key.request_id))


async def test_in_a_group_everyone_gets_their_own_answer(
    ledger: Ledger, lease: ledger_pb2.LeaseIndexesResponse
) -> None:
    other = await ledger.lease(5, country="DK")
    url, (one, two, three) = lease.list, lease.indexes[:3]
    twice = request(url, two, Change.REVOKE)
    answers = await ledger.apply(
        [
            request(url, one, Change.SUSPEND),
            request(url, one, Change.REVOKE),
            request(url, one, Change.REINSTATE),
            twice,
            twice,
            request(url, three, Change.REVOKE, request_id=twice.key.request_id),
            request(other.list, other.indexes[0], Change.REVOKE),
            request(f"{url}x", 1, Change.REVOKE),
        ]
    )
    outcomes = [answer.reason if isinstance(answer, VitneError) else answer.status for answer in answers]
    assert outcomes == [
        credential_pb2.STATUS_SUSPENDED,
        credential_pb2.STATUS_REVOKED,
        "STATUS_FINAL",
        credential_pb2.STATUS_REVOKED,
        credential_pb2.STATUS_REVOKED,
        "REQUEST_ID_REUSED",
        credential_pb2.STATUS_REVOKED,
        "STATUS_LIST_UNKNOWN",
    ]
    rows = await ledger.pool.fetch(
        "SELECT url, status_change.number, index, status FROM status_change JOIN status_list ON id = list_id"
    )
    assert sorted(tuple(row) for row in rows) == sorted(
        [(url, 1, one, 2), (url, 2, one, 1), (url, 3, two, 1), (other.list, 1, other.indexes[0], 1)]
    )
    assert len(await ledger.queued()) == 4


async def test_replicas_that_change_the_same_lists_at_once_agree(
    ledger: Ledger, lease: ledger_pb2.LeaseIndexesResponse
) -> None:
    other = await ledger.lease(20, country="DK")
    replicas = [ledger, ledger.replica(), ledger.replica()]
    # Each replica revokes every place of both lists, in another order.
    places = [(answer.list, index) for answer in (lease, other) for index in answer.indexes]
    work = [
        replica.set(request(url, index, Change.REVOKE))
        for number, replica in enumerate(replicas)
        for url, index in (places, places[::-1], places[20:] + places[:20])[number]
    ]
    answers = await asyncio.gather(*work)
    assert all(answer.status == credential_pb2.STATUS_REVOKED for answer in answers)
    assert await ledger.pool.fetchval("SELECT count(*) FROM status_change") == 40
    assert await ledger.pool.fetchval("SELECT array_agg(changes ORDER BY id) FROM status_list") == [20, 20]
    assert len(await ledger.queued()) == 40


async def test_a_transaction_that_fails_leaves_neither_row_nor_event_nor_leaf(
    ledger: Ledger, lease: ledger_pb2.LeaseIndexesResponse
) -> None:
    before = await snapshot(ledger)
    change = request(lease.list, lease.indexes[0], Change.REVOKE, request_id=uuid4())
    async with ledger.pool.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await ledger.statuses.apply(connection, [change])
        await transaction.rollback()
    assert await snapshot(ledger) == before
    assert (await ledger.set(change)).status == credential_pb2.STATUS_REVOKED
