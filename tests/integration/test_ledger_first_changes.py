"""First changes of places: one statement where this ledger knows its lists, and nothing by what it only remembers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from string import ascii_uppercase
from typing import Any

import asyncpg
import pytest

from services.ledger import untouched
from services.ledger.first_changes import FEW, FirstChanges
from services.ledger.statuses import StatusRequest
from services.ledger.transitions import Change
from services.ledger.untouched import REST_SECONDS, Untouched
from services.ledger.wiring import serving_pool
from tests.integration.ledger_harness import Ledger, make_ledger, request
from vitne.clock import ManualClock
from vitne.errors import AlreadyExists, FailedPrecondition, NotFound
from vitne_api.credential.v1 import credential_pb2
from vitne_api.ledger.v1 import ledger_pb2

REVOKED = credential_pb2.STATUS_REVOKED


@pytest.fixture
async def ledger(database_dsn: str, pool: asyncpg.Pool, clock: ManualClock, tmp_path: Path) -> Ledger:
    return await make_ledger(database_dsn, pool, clock, tmp_path)


@pytest.fixture
async def lease(ledger: Ledger) -> ledger_pb2.LeaseIndexesResponse:
    return await ledger.lease(20)


@pytest.fixture
def first(ledger: Ledger) -> FirstChanges:
    """Of a ledger that does nothing else."""
    return FirstChanges(ledger.statuses, ledger.clock)


@pytest.fixture
async def connection(ledger: Ledger) -> AsyncIterator[Any]:
    async with ledger.pool.acquire() as connection:
        yield connection


@pytest.fixture
def statements(connection: Any) -> Iterator[Callable[[], Awaitable[list[str]]]]:
    """What was done with lists, statement by statement, since that was asked for last."""
    executed: list[str] = []

    async def taken() -> list[str]:
        await asyncio.sleep(0)  # the event loop's next turn brings what was executed
        newest = executed.copy()
        executed.clear()
        return newest

    def note(record: Any) -> None:
        if "status_list" in record.query:  # what asyncpg asks about types is its own matter
            executed.append("write" if "INSERT INTO" in record.query else "read")

    with connection.query_logger(note):
        yield taken


async def recorded(ledger: Ledger) -> tuple[int, ...]:
    """How many rows there are of each kind that a change has."""
    counts = await ledger.pool.fetchrow(
        "SELECT (SELECT count(*) FROM status_change), (SELECT sum(changes)::integer FROM status_list), "
        "(SELECT count(*) FROM outbox), (SELECT count(*) FROM queued_leaf), (SELECT count(*) FROM request)"
    )
    return tuple(counts)


async def test_a_list_that_is_known_is_changed_by_one_statement(
    ledger: Ledger,
    lease: ledger_pb2.LeaseIndexesResponse,
    first: FirstChanges,
    connection: Any,
    statements: Callable[[], Awaitable[list[str]]],
) -> None:
    other = await ledger.lease(5, country="DK")
    places = [(lease.list, index) for index in lease.indexes] + [(other.list, index) for index in other.indexes]
    changes = [request(*place, Change.REVOKE) for place in places]
    assert [answer and answer.status for answer in await first.apply(connection, changes[:1])] == [REVOKED]
    assert await statements() == ["read", "write"]
    assert all(await first.apply(connection, changes[1:15]))
    assert await statements() == ["write"]
    assert all(await first.apply(connection, changes[15:]))
    assert await statements() == ["read", "write"]  # Denmark's list was not known.
    assert await recorded(ledger) == (25, 25, 4, 25, 25)  # Those of a group are told together, list by list.
    # Numbered as they were asked for, without gaps, in the lists and in their events.
    for url, indexes, events in ((lease.list, lease.indexes, 3), (other.list, other.indexes, 1)):
        rows = await ledger.pool.fetch(
            "SELECT index FROM status_change AS change JOIN status_list ON id = list_id WHERE url = $1 "
            "ORDER BY change.number",
            url,
        )
        assert [row["index"] for row in rows] == list(indexes)
        revisions = await ledger.pool.fetch("SELECT revision FROM outbox WHERE key = $1 ORDER BY id", url)
        assert [row["revision"] for row in revisions] == list(range(1, events + 1))


@pytest.mark.parametrize("count", [1, FEW, FEW + 1])
async def test_a_group_changes_several_lists_by_one_statement(
    ledger: Ledger,
    first: FirstChanges,
    connection: Any,
    statements: Callable[[], Awaitable[list[str]]],
    count: int,
) -> None:
    leases = [await ledger.lease(4, country=f"{letter}{letter}") for letter in ascii_uppercase[:count]]

    def everywhere(place: int) -> list[StatusRequest]:
        return [request(each.list, each.indexes[place], Change.REVOKE) for each in leases]

    assert all(await first.apply(connection, everywhere(0)))
    await statements()
    assert all(await first.apply(connection, everywhere(1)))
    assert await statements() == ["write"]
    # Where one of them is not as it is remembered, none is changed.
    await ledger.replica().set(request(leases[-1].list, leases[-1].indexes[2], Change.REVOKE))
    before = await recorded(ledger)
    assert not any(await first.apply(connection, everywhere(3)))
    assert await recorded(ledger) == before == (*[2 * count + 1] * 5,)


async def test_nothing_is_changed_by_what_is_only_remembered(
    ledger: Ledger, lease: ledger_pb2.LeaseIndexesResponse, first: FirstChanges, connection: Any, clock: ManualClock
) -> None:
    url, (one, two, three, four) = lease.list, lease.indexes[:4]
    assert all(await first.apply(connection, [request(url, one, Change.REVOKE)]))
    # Another replica revokes what is, as far as this one knows, valid.
    assert (await ledger.replica().set(request(url, two, Change.REVOKE))).status == REVOKED
    before = await recorded(ledger)
    late = [request(url, two, Change.SUSPEND), request(url, three, Change.REVOKE)]
    assert await first.apply(connection, late) == [None, None]
    assert await recorded(ledger) == before
    # For a while it leaves the list to transactions, which read it; then it knows better.
    assert await first.apply(connection, late) == [None, None]
    await clock.sleep(REST_SECONDS)
    suspended, revoked = await first.apply(connection, [*late[:1], request(url, four, Change.REVOKE)])
    assert suspended is None
    assert revoked is not None
    with pytest.raises(FailedPrecondition, match="STATUS_FINAL"):
        await ledger.set(late[0])


async def test_a_memory_that_is_wrong_revokes_nothing_twice(
    ledger: Ledger, lease: ledger_pb2.LeaseIndexesResponse, first: FirstChanges, connection: Any
) -> None:
    url, (one, two, three) = lease.list, lease.indexes[:3]
    assert all(await first.apply(connection, [request(url, index, Change.REVOKE) for index in (one, two)]))
    # As after a database that lost its last commits: the number is the remembered one again, the place another.
    await ledger.pool.execute("UPDATE status_change SET index = $1 WHERE index = $2", three, two)
    before = await recorded(ledger)
    assert await first.apply(connection, [request(url, three, Change.SUSPEND)]) == [None]
    assert await recorded(ledger) == before


async def test_what_must_be_read_is_left(
    ledger: Ledger, lease: ledger_pb2.LeaseIndexesResponse, first: FirstChanges, connection: Any
) -> None:
    url, indexes = lease.list, lease.indexes
    done = request(url, indexes[0], Change.REVOKE)
    assert all(await first.apply(connection, [done]))
    before = await recorded(ledger)
    unleased = next(index for index in range(1000) if index not in indexes)
    once, twice = request(url, indexes[1], Change.REVOKE), request(url, indexes[1], Change.SUSPEND)
    for left in (
        [done],  # a repetition
        [request(url, indexes[0], Change.REVOKE)],
        [request(url, indexes[2], Change.REVOKE, request_id=done.key.request_id)],  # a request id of another body
        [request(url, indexes[2], Change.REINSTATE)],  # would be refused
        [once, twice],
        [request(url, unleased, Change.REVOKE)],
        [request(url, 1000, Change.REVOKE)],
        [request(f"{url}x", 1, Change.REVOKE)],
    ):
        assert await first.apply(connection, left) == [None] * len(left)
    assert await recorded(ledger) == before


async def test_beside_what_is_left_the_others_are_changed(
    ledger: Ledger, lease: ledger_pb2.LeaseIndexesResponse
) -> None:
    url, indexes = lease.list, lease.indexes
    done = request(url, indexes[0], Change.SUSPEND)
    answer = await ledger.set(done)
    answers = await ledger.committer.submit_all(
        [
            done,
            request(url, indexes[1], Change.REVOKE),
            request(url, indexes[2], Change.REVOKE, request_id=done.key.request_id),
            request(url, indexes[0], Change.REVOKE),
            request(url, indexes[3], Change.REVOKE),
            request(url, 1000, Change.REVOKE),
            request(url, indexes[4], Change.SUSPEND),
            request(url, indexes[4], Change.REINSTATE),
        ]
    )
    assert answers[0] == answer
    statuses = [getattr(answer, "status", type(answer)) for answer in answers]
    assert statuses == [
        credential_pb2.STATUS_SUSPENDED,
        REVOKED,
        AlreadyExists,
        REVOKED,
        REVOKED,
        NotFound,
        credential_pb2.STATUS_SUSPENDED,
        credential_pb2.STATUS_VALID,
    ]
    assert (await recorded(ledger))[:4] == (6, 6, 2, 6)


async def test_a_place_that_was_leased_since_is_changed(ledger: Ledger, lease: ledger_pb2.LeaseIndexesResponse) -> None:
    await ledger.set(request(lease.list, lease.indexes[0], Change.REVOKE))
    for index in (await ledger.lease(3)).indexes:
        assert (await ledger.set(request(lease.list, index, Change.REVOKE))).status == REVOKED


async def test_a_list_that_somebody_holds_is_left_rather_than_waited_for(
    ledger: Ledger, lease: ledger_pb2.LeaseIndexesResponse, connection: Any
) -> None:
    """When a change is recorded was read before: it would be in the past by the time it is committed."""
    url, (one, two, three) = lease.list, lease.indexes[:3]
    ours, theirs = (FirstChanges(each.statuses, each.clock) for each in (ledger, ledger.replica()))
    assert all(await ours.apply(connection, [request(url, one, Change.REVOKE)]))
    async with ledger.pool.acquire() as other:
        transaction = other.transaction()
        await transaction.start()
        assert all(await theirs.apply(other, [request(url, two, Change.REVOKE)]))
        assert await ours.apply(connection, [request(url, three, Change.REVOKE)]) == [None]
        await transaction.commit()
    assert (await recorded(ledger))[:2] == (2, 2)
    # That was no loss: nothing rests, and what came meanwhile is read.
    assert await ours.apply(connection, [request(url, two, Change.SUSPEND), request(url, three, Change.REVOKE)]) != [
        None,
        None,
    ]


async def test_another_history_of_as_many_changes_is_told_apart(
    ledger: Ledger, lease: ledger_pb2.LeaseIndexesResponse, first: FirstChanges, connection: Any, clock: ManualClock
) -> None:
    url, (one, two, three, four) = lease.list, lease.indexes[:4]
    for index in (one, two):
        assert all(await first.apply(connection, [request(url, index, Change.REVOKE)]))
    # A fail-over loses the last change, and another ledger makes another.
    await connection.execute(
        "DELETE FROM status_change WHERE number = 2; UPDATE status_list SET changes = 1; DELETE FROM request"
    )
    await clock.sleep(1)
    assert (await ledger.replica().set(request(url, three, Change.REVOKE))).status == REVOKED
    suspend = request(url, three, Change.SUSPEND)
    before = await recorded(ledger)
    assert await first.apply(connection, [suspend]) == [None]
    assert await recorded(ledger) == before
    with pytest.raises(FailedPrecondition, match="STATUS_FINAL"):
        await ledger.set(suspend)
    # What was lost is forgotten, and what came instead is known.
    await clock.sleep(REST_SECONDS)
    answers = await first.apply(connection, [request(url, index, Change.REVOKE) for index in (two, four, three)])
    assert [answer is None for answer in answers] == [False, False, True]


async def test_a_list_that_went_back_to_its_beginning_is_not_taken_for_another(
    ledger: Ledger, lease: ledger_pb2.LeaseIndexesResponse, first: FirstChanges, connection: Any
) -> None:
    # Nothing was changed, so that its number names nothing; but the database has fewer leases, or another list.
    url, index = lease.list, lease.indexes[-1]
    reinstate, revoke = (request(url, index, change) for change in (Change.REINSTATE, Change.REVOKE))
    assert await first.apply(connection, [reinstate]) == [None]  # as good as any to look at the list
    await connection.execute("UPDATE status_list SET url = url || 'x'")
    assert await first.apply(connection, [revoke]) == [None]
    await connection.execute("UPDATE status_list SET url = left(url, -1)")
    assert await first.apply(connection, [reinstate]) == [None]
    await connection.execute("UPDATE status_list SET leased = leased - 1")
    assert await first.apply(connection, [revoke]) == [None]
    assert (await recorded(ledger))[:2] == (0, 0)


async def test_two_lists_under_one_number_are_not_taken_for_each_other(
    ledger: Ledger, lease: ledger_pb2.LeaseIndexesResponse, first: FirstChanges, connection: Any
) -> None:
    for index in lease.indexes[:3]:
        assert all(await first.apply(connection, [request(lease.list, index, Change.REVOKE)]))
    # The database goes back to before the list was opened, and another is opened under its number.
    url = f"{lease.list}x"
    await connection.execute(
        "UPDATE status_list SET url = $1, changes = 0, leased = size, order_check = $2", url, ledger.orders.check(url)
    )
    await connection.execute("DELETE FROM status_change")
    before = await recorded(ledger)
    group = [request(lease.list, lease.indexes[5], Change.REVOKE), request(url, 0, Change.REVOKE)]
    assert await first.apply(connection, group) == [None, None]
    assert await recorded(ledger) == before
    one, other = await first.apply(connection, group)
    assert one is None
    assert other is not None
    assert await connection.fetchval("SELECT array_agg(index) FROM status_change") == [0]


async def test_of_two_lists_only_what_moved_is_left_alone(
    ledger: Ledger, lease: ledger_pb2.LeaseIndexesResponse, first: FirstChanges, connection: Any
) -> None:
    other = await ledger.lease(5, country="DK")

    def both(place: int) -> list[StatusRequest]:
        return [request(each.list, each.indexes[place], Change.REVOKE) for each in (lease, other)]

    assert all(await first.apply(connection, both(0)))
    await ledger.replica().set(request(lease.list, lease.indexes[1], Change.REVOKE))
    assert await first.apply(connection, both(2)) == [None, None]
    norway, denmark = await first.apply(connection, both(2))
    assert norway is None
    assert denmark is not None


async def test_long_histories_are_read_over_several_looks_the_short_ones_first(
    ledger: Ledger, lease: ledger_pb2.LeaseIndexesResponse, connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(untouched, "READ_AT_ONCE", 6)
    other = await ledger.lease(5, country="DK")
    for each, changed in ((lease, lease.indexes[:10]), (other, other.indexes[:2])):
        for index in changed:
            await ledger.apply([request(each.list, index, change) for change in (Change.SUSPEND, Change.REVOKE)])
    lists = Untouched()
    # 20 changes and 4; two are read beside the four.
    for looked, number in ((1, 2), (2, 8), (3, 14)):
        assert list(await lists.look(connection, [lease.list, other.list], 0.0)) == [other.list], looked
        found = lists.find(lease.list)
        assert found is not None
        assert (found.last.number, found.certain) == (number, False)
    known = (await lists.look(connection, [lease.list], 0.0))[lease.list]
    assert {index for index in range(1000) if known.is_touched(index)} == set(lease.indexes[:10])


async def test_a_plan_from_when_there_were_few_changes_does_not_read_all_of_many(
    database_dsn: str, clock: ManualClock, tmp_path: Path
) -> None:
    pool = await serving_pool(database_dsn, 1)
    try:
        ledger = await make_ledger(database_dsn, pool, clock, tmp_path)
        lease = await ledger.lease(1000)
        due = [request(lease.list, index, Change.REVOKE) for index in lease.indexes]
        first = FirstChanges(ledger.statuses, clock)
        async with pool.acquire() as connection:
            # Nothing but this test makes the planner look again, which an autovacuum does about once a minute.
            await connection.execute("ALTER TABLE status_change SET (autovacuum_enabled = off)")
            assert all(await first.apply(connection, due[:60]))
            await connection.execute("ANALYZE")
            for at in range(60, 76, 2):  # After five executions a connection keeps a plan.
                assert all(await first.apply(connection, due[at : at + 2]))
            assert all(await first.apply(connection, due[76:900]))
            assert (await connection.fetchval(_PLANS_KEPT)) > 0
            read = await _rows_read_one_by_one(connection)
            for at in range(900, 1000, 10):
                assert all(await first.apply(connection, due[at : at + 10]))
            assert await _rows_read_one_by_one(connection) == read
    finally:
        await pool.close()


#: Whether the statement that writes is executed by a plan that was kept.
_PLANS_KEPT = "SELECT sum(generic_plans) FROM pg_prepared_statements WHERE statement LIKE '%UPDATE status_list%'"


async def _rows_read_one_by_one(connection: Any) -> int:
    """Changes that were read by going through all of them, since the database began."""
    await connection.execute("SELECT pg_stat_force_next_flush()")
    count: int = await connection.fetchval(
        "SELECT seq_tup_read FROM pg_stat_user_tables WHERE relname = 'status_change'"
    )
    return count
