"""Migrations, group commit and idempotency against a real PostgreSQL."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from google.protobuf.wrappers_pb2 import StringValue

from vitne.clock import ManualClock
from vitne.errors import (
    Aborted,
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    Unavailable,
    VitneError,
)
from vitne.runtime.database import open_pool, repeated
from vitne.runtime.group_commit import AWAITED_SECONDS, GroupCommitter, Returning
from vitne.runtime.idempotency import (
    MIGRATIONS,
    RequestKey,
    answer_once,
    body_digest,
    recall,
    recall_many,
    remember,
    remember_many,
)
from vitne.runtime.migrations import Migrations, migrate
from vitne.session_lock import session_lock

NOW = datetime(2026, 11, 21, 10, tzinfo=UTC)
ID = UUID("01930f6e-7a00-7000-8000-00000000a001")
OTHER_ID = UUID("01930f6e-7a00-7000-8000-00000000a002")
METHOD = "vitne.probe.v1.ProbeService/Open"


# --- migrations ------------------------------------------------------------------------------------


def part(folder: Path, *files: tuple[str, str]) -> Migrations:
    folder.mkdir(exist_ok=True)
    for name, text in files:
        (folder / name).write_text(text)
    return Migrations("probe", folder)


async def test_migrations_are_applied_once_in_order(database_dsn: str, tmp_path: Path, clock: ManualClock) -> None:
    probe = part(tmp_path / "sql", ("0001_first.sql", "CREATE TABLE a (x int); INSERT INTO a VALUES (1);"))
    assert await migrate(database_dsn, [MIGRATIONS, probe], clock=clock) == ["runtime/0001_runtime", "probe/0001_first"]
    part(tmp_path / "sql", ("0002_second.sql", "ALTER TABLE a ADD y int"))
    assert await migrate(database_dsn, [MIGRATIONS, probe], clock=clock) == ["probe/0002_second"]
    assert await migrate(database_dsn, [MIGRATIONS, probe], clock=clock) == []
    conn = await asyncpg.connect(database_dsn)
    assert await conn.fetch("SELECT x, y FROM a") == [(1, None)]
    rows = await conn.fetch(
        "SELECT number, name, applied_at FROM schema_migration WHERE component = 'probe' ORDER BY 1"
    )
    assert rows == [(1, "0001_first", NOW), (2, "0002_second", NOW)]
    await conn.close()


async def test_a_failing_migration_leaves_nothing_behind(database_dsn: str, tmp_path: Path) -> None:
    probe = part(
        tmp_path / "sql",
        ("0001_good.sql", "CREATE TABLE a (x int)"),
        ("0002_bad.sql", "CREATE TABLE b (x int); SELECT nothing FROM nowhere"),
    )
    with pytest.raises(asyncpg.UndefinedTableError):
        await migrate(database_dsn, [probe])
    conn = await asyncpg.connect(database_dsn)
    assert await conn.fetchval("SELECT array_agg(name) FROM schema_migration") == ["0001_good"]
    assert await conn.fetchval("SELECT to_regclass('b')") is None
    await conn.close()
    (tmp_path / "sql" / "0002_bad.sql").write_text("CREATE TABLE b (x int)")  # never applied: may be mended
    assert await migrate(database_dsn, [probe]) == ["probe/0002_bad"]


async def test_a_migration_that_cannot_be_recorded_is_not_applied(database_dsn: str, tmp_path: Path) -> None:
    taken = "INSERT INTO schema_migration VALUES ('probe', 1, 'x', '', now())"
    probe = part(tmp_path / "sql", ("0001_a.sql", f"CREATE TABLE a (x int); {taken}"))
    with pytest.raises(asyncpg.UniqueViolationError):
        await migrate(database_dsn, [probe])
    conn = await asyncpg.connect(database_dsn)
    assert await conn.fetchval("SELECT to_regclass('a')") is None
    await conn.close()


async def test_history_is_not_rewritten(database_dsn: str, tmp_path: Path) -> None:
    folder = tmp_path / "sql"
    probe = part(folder, ("0001_a.sql", "SELECT 1"), ("0002_b.sql", "SELECT 2"))
    await migrate(database_dsn, [probe])
    (folder / "0001_a.sql").write_text("SELECT 3")
    with pytest.raises(FailedPrecondition) as caught:
        await migrate(database_dsn, [probe])
    assert caught.value.reason == "MIGRATION_CHANGED"
    (folder / "0001_a.sql").write_text("SELECT 1")
    (folder / "0002_b.sql").unlink()
    with pytest.raises(FailedPrecondition) as caught:
        await migrate(database_dsn, [probe])
    assert caught.value.reason == "DATABASE_NEWER"


@pytest.mark.parametrize(
    "names", [["0002_a.sql"], ["0001_a.sql", "0003_b.sql"], ["0001_a.sql", "0001_b.sql"], ["a.sql"], []]
)
async def test_numbers_have_no_gap(database_dsn: str, tmp_path: Path, names: list[str]) -> None:
    with pytest.raises(FailedPrecondition) as caught:
        await migrate(database_dsn, [part(tmp_path / "sql", *((name, "SELECT 1") for name in names))])
    assert caught.value.reason == "MIGRATION_GAP"


async def test_runs_at_the_same_time_wait_for_each_other(database_dsn: str, tmp_path: Path) -> None:
    probe = part(tmp_path / "sql", ("0001_a.sql", "CREATE TABLE a (x int); SELECT pg_sleep(0.1)"))
    applied = await asyncio.gather(*(migrate(database_dsn, [probe]) for _ in range(4)))
    assert sorted(applied) == [[], [], [], ["probe/0001_a"]]


async def test_a_database_out_of_reach_is_unavailable() -> None:
    dsn = "postgresql://nobody@127.0.0.1:1/nothing"
    for attempt in (migrate(dsn, [MIGRATIONS]), open_pool(dsn)):
        with pytest.raises(Unavailable) as caught:
            await attempt
        assert caught.value.reason == "DATABASE_UNAVAILABLE"


async def test_sessions_are_in_utc(database_dsn: str) -> None:
    pool = await open_pool(database_dsn, max_size=2, name="probe")
    for _ in range(2):  # also after the connection was returned
        assert await pool.fetchval("SHOW timezone") == "UTC"
        assert await pool.fetchval("SHOW application_name") == "probe"
    await pool.close()


async def test_a_lock_of_the_session_is_given_back_though_connections_are_not_reset(database_dsn: str) -> None:
    pool = await open_pool(database_dsn, max_size=2)
    async with pool.acquire() as other:
        for _ in range(2):
            async with pool.acquire() as connection, session_lock(connection, 7) as taken:
                assert taken
                async with session_lock(other, 7) as free:
                    assert not free
        async with session_lock(other, 7) as free:
            assert free
    await pool.close()


# --- group commit ----------------------------------------------------------------------------------


class Ledger:
    """Writes numbers; some are poisoned."""

    def __init__(self, pool: Any, **options: Any) -> None:
        self.groups: list[list[int]] = []
        self.refuse: Callable[[int], Exception | None] = lambda _: None
        self.hold: asyncio.Event | None = None
        self.committer: GroupCommitter[int, int] = GroupCommitter(pool, self.apply, **options)

    async def apply(self, conn: Any, items: Sequence[int]) -> list[int | VitneError]:
        self.groups.append(list(items))
        if self.hold is not None:
            await self.hold.wait()
        await conn.executemany("INSERT INTO written VALUES ($1)", [(item,) for item in items if item >= 0])
        for item in items:
            error = self.refuse(item)
            if error is not None:
                raise error
        return [item * 10 if item >= 0 else NotFound("NEGATIVE", str(item)) for item in items]


@pytest.fixture
async def written(pool: Any) -> Callable[[], Any]:
    await pool.execute("CREATE TABLE written (number int PRIMARY KEY)")

    async def numbers() -> list[int]:
        return [row[0] for row in await pool.fetch("SELECT number FROM written ORDER BY 1")]

    return numbers


async def test_concurrent_items_share_transactions(pool: Any, written: Any) -> None:
    ledger = Ledger(pool, max_group=40)
    ledger.hold = asyncio.Event()
    first = asyncio.create_task(ledger.committer.submit(0))
    while not ledger.groups:
        await asyncio.sleep(0.001)
    others = [asyncio.create_task(ledger.committer.submit(number)) for number in range(1, 100)]
    await asyncio.sleep(0)
    ledger.hold.set()
    assert await asyncio.gather(first, *others) == [number * 10 for number in range(100)]
    assert [len(group) for group in ledger.groups] == [1, 40, 40, 19]
    assert await written() == list(range(100))


async def test_committers_that_take_turns_let_items_gather(pool: Any, written: Any) -> None:
    turn = asyncio.Lock()
    first, second = Ledger(pool, turn=turn), Ledger(pool, turn=turn)
    first.hold = asyncio.Event()
    begun = asyncio.create_task(first.committer.submit(1))
    while not first.groups:
        await asyncio.sleep(0)
    others = [asyncio.create_task(second.committer.submit(number)) for number in (2, 3, 4)]
    for _ in range(10):
        await asyncio.sleep(0)
    assert second.groups == []
    first.hold.set()
    assert await asyncio.gather(begun, *others) == [10, 20, 30, 40]
    assert second.groups == [[2, 3, 4]]
    assert await written() == [1, 2, 3, 4]


async def test_a_group_waits_for_callers_who_were_just_answered(
    pool: Any, written: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for patience in ("AWAITED_SECONDS", "LONGEST_WAIT_SECONDS"):  # as a busy machine takes
        monkeypatch.setattr(f"vitne.runtime.group_commit.{patience}", 60.0)
    returning = Returning()
    ledger = Ledger(pool, gathers=returning, answers=returning)
    assert await asyncio.gather(*(ledger.committer.submit(number) for number in range(4))) == [0, 10, 20, 30]
    assert returning.expected(asyncio.get_running_loop().time()) == 4
    first = asyncio.create_task(ledger.committer.submit(4))
    for _ in range(2):  # It would have begun by now.
        await asyncio.sleep(0)
    others = [asyncio.create_task(ledger.committer.submit(number)) for number in (5, 6, 7)]
    assert await asyncio.gather(first, *others) == [40, 50, 60, 70]
    assert ledger.groups == [[0, 1, 2, 3], [4, 5, 6, 7]]


async def test_a_group_begins_without_callers_who_do_not_come_back(pool: Any, written: Any) -> None:
    returning, now = Returning(), asyncio.get_running_loop().time
    returning.answered(7, now())
    ledger = Ledger(pool, gathers=returning)
    assert await ledger.committer.submit(1) == 10
    assert ledger.groups == [[1]]
    assert returning.expected(now()) == 0


def test_who_was_answered_long_ago_is_not_waited_for() -> None:
    returning = Returning()
    returning.answered(7, 100.0)
    assert returning.expected(100.0 + AWAITED_SECONDS / 2) == 7
    returning.came(2)
    assert returning.expected(100.0 + AWAITED_SECONDS / 2) == 5
    assert returning.expected(100.0 + AWAITED_SECONDS) == 0
    returning.answered(1, 200.0)
    assert returning.expected(200.0) == 1


async def test_a_refusal_in_words_is_the_items_own(pool: Any, written: Any) -> None:
    ledger = Ledger(pool)
    results = await asyncio.gather(*(ledger.committer.submit(n) for n in (1, -2, 3)), return_exceptions=True)
    assert results[0] == 10
    assert isinstance(results[1], NotFound)
    assert results[2] == 30
    assert len(ledger.groups) == 1
    assert await written() == [1, 3]


async def test_many_items_of_one_submitter_are_answered_each_for_itself(pool: Any, written: Any) -> None:
    ledger = Ledger(pool, max_group=3, max_waiting=5)
    ledger.refuse = lambda item: KeyError(item) if item == 3 else None
    results = await ledger.committer.submit_all([1, -2, 3, 4])
    assert (results[0], results[3]) == (10, 40)
    assert isinstance(results[1], NotFound)
    assert isinstance(results[2], KeyError)
    assert ledger.groups[0] == [1, -2, 3]
    with pytest.raises(ResourceExhausted, match="OVERLOADED"):
        await ledger.committer.submit_all(range(10, 16))
    assert await ledger.committer.submit_all([]) == []
    assert await written() == [1, 4]


@pytest.mark.parametrize("poisoned", [{0}, {99}, {3, 50, 51}, set(range(100))])
async def test_a_poisoned_item_fails_alone(pool: Any, written: Any, poisoned: set[int]) -> None:
    ledger = Ledger(pool)
    ledger.refuse = lambda item: KeyError(item) if item in poisoned else None
    results = await asyncio.gather(*(ledger.committer.submit(n) for n in range(100)), return_exceptions=True)
    for number, result in enumerate(results):
        if number in poisoned:
            assert isinstance(result, KeyError)
            assert result.args == (number,)
        else:
            assert result == number * 10
    assert await written() == sorted(set(range(100)) - poisoned)


async def test_an_error_of_the_database_fails_alone(pool: Any, written: Any) -> None:
    ledger = Ledger(pool)
    await ledger.committer.submit(7)
    results = await asyncio.gather(*(ledger.committer.submit(n) for n in (5, 6, 7, 8)), return_exceptions=True)
    assert results[:2] == [50, 60]
    assert isinstance(results[2], asyncpg.UniqueViolationError)
    assert results[3] == 80
    assert await written() == [5, 6, 7, 8]


async def test_an_item_that_met_another_transaction_is_tried_again(pool: Any, written: Any) -> None:
    ledger = Ledger(pool)
    errors: list[Exception] = [Aborted("REQUEST_RACED", "x"), asyncpg.SerializationError("x")]
    ledger.refuse = lambda _: errors.pop(0) if errors else None
    assert await ledger.committer.submit(1) == 10
    assert await written() == [1]
    ledger.refuse = lambda _: Aborted("REQUEST_RACED", "x")
    with pytest.raises(Aborted):
        await ledger.committer.submit(2)
    assert ledger.groups.count([2]) == 3
    assert await written() == [1]


async def test_a_lost_connection_fails_the_group_without_trying_again(pool: Any, written: Any) -> None:
    ledger = Ledger(pool)
    ledger.refuse = lambda _: asyncpg.ConnectionDoesNotExistError("x")
    results = await asyncio.gather(*(ledger.committer.submit(n) for n in range(5)), return_exceptions=True)
    assert [type(result) for result in results] == [Unavailable] * 5
    assert {result.reason for result in results if isinstance(result, Unavailable)} == {"DATABASE_UNAVAILABLE"}
    assert len(ledger.groups) == 1
    ledger.refuse = lambda _: None
    assert await ledger.committer.submit(9) == 90
    assert await written() == [9]


async def test_a_connection_killed_by_the_server_is_unavailable_and_then_recovered(pool: Any, written: Any) -> None:
    async def apply(conn: Any, items: Sequence[int]) -> list[int | VitneError]:
        if items[0] == 1:
            await pool.execute("SELECT pg_terminate_backend($1)", conn.get_server_pid())
        await conn.execute("INSERT INTO written SELECT unnest($1::int[])", items)
        return list(items)

    committer: GroupCommitter[int, int] = GroupCommitter(pool, apply)
    with pytest.raises(Unavailable):
        await committer.submit(1)
    assert await committer.submit(2) == 2
    assert await written() == [2]


async def test_what_is_left_at_once_is_done_in_a_transaction(pool: Any, written: Any) -> None:
    asked: list[Sequence[int]] = []

    async def at_once(conn: Any, items: Sequence[int]) -> list[int | None]:
        assert not conn.is_in_transaction()
        asked.append(items)
        await conn.executemany("INSERT INTO written VALUES ($1)", [(item,) for item in items if item % 2])
        return [item * 100 if item % 2 else None for item in items]

    ledger = Ledger(pool, at_once=at_once)
    assert await ledger.committer.submit_all([1, 2, 3, 4]) == [100, 20, 300, 40]
    assert await ledger.committer.submit(5) == 500
    assert (asked, ledger.groups) == ([[1, 2, 3, 4], [5]], [[2, 4]])
    assert await written() == [1, 2, 3, 4, 5]


async def test_who_is_answered_at_once_is_expected_back_before_the_others_are_answered(pool: Any, written: Any) -> None:
    async def at_once(_conn: Any, items: Sequence[int]) -> list[int | None]:
        return [item * 100 if item % 2 else None for item in items]

    told: list[int] = []

    class Answers(Returning):
        def answered(self, callers: int, now: float) -> None:
            told.append(callers)

    ledger = Ledger(pool, at_once=at_once, answers=Answers())
    ledger.hold = asyncio.Event()
    others = asyncio.create_task(ledger.committer.submit_all([2, 4]))
    assert await asyncio.gather(*(ledger.committer.submit(number) for number in (1, 3, 5))) == [100, 300, 500]
    assert told == [3]
    ledger.hold.set()
    assert await others == [20, 40]
    await ledger.committer.close()
    assert told == [3, 2]


async def test_what_fails_at_once_is_tried_in_transactions_where_a_poisoned_item_fails_alone(
    pool: Any, written: Any
) -> None:
    async def at_once(conn: Any, items: Sequence[int]) -> list[int | None]:
        await conn.execute("INSERT INTO written SELECT unnest($1::integer[])", [*items, items[0]])
        return [item * 100 for item in items]

    ledger = Ledger(pool, at_once=at_once)
    ledger.refuse = lambda item: NotFound("POISONED", "") if item == 2 else None
    one, two, three = await ledger.committer.submit_all([1, 2, 3])
    assert (one, three) == (10, 30)
    assert isinstance(two, NotFound)
    assert await written() == [1, 3]


async def test_an_outage_at_once_is_an_answer(pool: Any, written: Any) -> None:
    async def at_once(conn: Any, items: Sequence[int]) -> list[int | None]:
        raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")

    ledger = Ledger(pool, at_once=at_once)
    with pytest.raises(Unavailable):  # Whether it was committed is not known, so nothing is tried again here.
        await ledger.committer.submit(1)
    assert ledger.groups == []


async def test_too_many_waiting_are_refused_at_once(pool: Any, written: Any) -> None:
    ledger = Ledger(pool, max_group=1, max_waiting=3)
    ledger.hold = asyncio.Event()
    running = [asyncio.create_task(ledger.committer.submit(0))]
    while not ledger.groups:
        await asyncio.sleep(0.001)
    running += [asyncio.create_task(ledger.committer.submit(number)) for number in (1, 2, 3)]
    await asyncio.sleep(0)
    with pytest.raises(ResourceExhausted) as caught:
        await ledger.committer.submit(4)
    assert caught.value.reason == "OVERLOADED"
    ledger.hold.set()
    await asyncio.gather(*running)
    assert await written() == [0, 1, 2, 3]


async def test_the_item_of_a_cancelled_submitter_completes_if_its_group_has_begun_and_else_is_passed_over(
    pool: Any, written: Any
) -> None:
    ledger = Ledger(pool)
    ledger.hold = asyncio.Event()
    taken = asyncio.create_task(ledger.committer.submit(1))
    while not ledger.groups:
        await asyncio.sleep(0.001)
    waiting = asyncio.create_task(ledger.committer.submit(2))
    other = asyncio.create_task(ledger.committer.submit(3))
    await asyncio.sleep(0)
    taken.cancel()
    waiting.cancel()
    await asyncio.sleep(0)
    ledger.hold.set()
    assert await other == 30
    assert ledger.groups == [[1], [3]]
    assert await written() == [1, 3]


async def test_when_nobody_waits_any_more_no_group_is_begun(pool: Any, written: Any) -> None:
    ledger = Ledger(pool)
    ledger.hold = asyncio.Event()
    running = asyncio.create_task(ledger.committer.submit(1))
    while not ledger.groups:
        await asyncio.sleep(0.001)
    waiting = [asyncio.create_task(ledger.committer.submit(number)) for number in (2, 3)]
    await asyncio.sleep(0)
    for task in waiting:
        task.cancel()
    await asyncio.sleep(0)
    ledger.hold.set()
    assert await running == 10
    assert await ledger.committer.submit(4) == 40
    assert ledger.groups == [[1], [4]]


async def test_closing_completes_what_waits_and_takes_no_more(pool: Any, written: Any) -> None:
    ledger = Ledger(pool, max_group=1)
    items = [asyncio.create_task(ledger.committer.submit(number)) for number in range(5)]
    await asyncio.sleep(0)
    await ledger.committer.close()
    assert await asyncio.gather(*items) == [0, 10, 20, 30, 40]
    with pytest.raises(Unavailable) as caught:
        await ledger.committer.submit(6)
    assert caught.value.reason == "SHUTTING_DOWN"
    assert await written() == [0, 1, 2, 3, 4]


async def test_no_callers_context_leaks_into_the_group(pool: Any) -> None:
    marker: contextvars.ContextVar[str] = contextvars.ContextVar("marker", default="none")
    seen: list[str] = []

    async def apply(_conn: Any, items: Sequence[int]) -> list[int | VitneError]:
        seen.append(marker.get())
        return list(items)

    committer: GroupCommitter[int, int] = GroupCommitter(pool, apply)
    marker.set("caller")
    await committer.submit(1)
    assert seen == ["none"]


async def test_results_that_do_not_match_the_items_are_a_fault(pool: Any, written: Any) -> None:
    async def apply(conn: Any, _items: Sequence[int]) -> list[int | VitneError]:
        await conn.execute("INSERT INTO written VALUES (1)")
        return []

    committer: GroupCommitter[int, int] = GroupCommitter(pool, apply)
    with pytest.raises(RuntimeError, match="1 items"):
        await committer.submit(1)
    assert await written() == []


# --- idempotency -----------------------------------------------------------------------------------


@pytest.fixture
async def requests(database_dsn: str, pool: Any) -> Any:
    await migrate(database_dsn, [MIGRATIONS])
    await pool.execute("CREATE TABLE effect (number int)")
    return pool


async def test_the_first_answer_is_recalled_for_the_same_body_only(requests: Any) -> None:
    async with requests.acquire() as conn:
        assert await recall(conn, "0192:1", METHOD, ID, b"a" * 32) is None
        await remember(conn, "0192:1", METHOD, ID, b"a" * 32, response=b"first", recorded=NOW)
        assert await recall(conn, "0192:1", METHOD, ID, b"a" * 32) == b"first"
        with pytest.raises(AlreadyExists) as caught:
            await recall(conn, "0192:1", METHOD, ID, b"b" * 32)
        assert (caught.value.reason, caught.value.field) == ("REQUEST_ID_REUSED", "request_id")
        # An id belongs to its caller and method.
        assert await recall(conn, "0192:2", METHOD, ID, b"a" * 32) is None
        assert await recall(conn, "0192:1", "another/Method", ID, b"a" * 32) is None
        assert await recall(conn, "0192:1", METHOD, OTHER_ID, b"a" * 32) is None


async def test_a_group_is_recalled_in_its_order(requests: Any) -> None:
    keys = [RequestKey("0192:1", METHOD, UUID(int=number), bytes([number]) * 32) for number in range(5)]
    await remember_many(requests, [(keys[1], b"one"), (keys[3], b"three")], NOW)
    reused = RequestKey("0192:1", METHOD, UUID(int=3), b"x" * 32)
    answers = await recall_many(requests, [keys[3], reused, keys[0], keys[1], keys[3]])
    assert answers[:1] + answers[2:] == [b"three", None, b"one", b"three"]
    assert isinstance(answers[1], AlreadyExists)
    assert await recall_many(requests, []) == []


async def test_the_answer_is_remembered_only_with_its_effect(requests: Any, clock: ManualClock) -> None:
    key = RequestKey("0192:1", METHOD, ID, b"a" * 32)

    async def fail(conn: Any) -> StringValue:
        await conn.execute("INSERT INTO effect VALUES (1)")
        raise InvalidArgument("NO", "no")

    async def work(conn: Any) -> StringValue:
        await conn.execute("INSERT INTO effect VALUES (2)")
        return StringValue(value="done")

    async def again(_conn: Any) -> StringValue:
        raise AssertionError("worked twice")

    with pytest.raises(InvalidArgument):
        await answer_once(requests, key, clock, StringValue, fail)
    assert await answer_once(requests, key, clock, StringValue, work) == StringValue(value="done")
    assert await answer_once(requests, key, clock, StringValue, again) == StringValue(value="done")
    with pytest.raises(AlreadyExists):
        await answer_once(requests, RequestKey("0192:1", METHOD, ID, b"b" * 32), clock, StringValue, again)
    assert await requests.fetch("SELECT number FROM effect") == [(2,)]
    assert await requests.fetchval("SELECT recorded FROM request") == NOW


async def test_the_same_request_at_the_same_time_works_once(requests: Any, clock: ManualClock) -> None:
    key = RequestKey("0192:1", METHOD, ID, b"a" * 32)

    async def work(conn: Any) -> StringValue:
        number = await conn.fetchval("INSERT INTO effect SELECT count(*) FROM effect RETURNING number")
        await asyncio.sleep(0.05)
        return StringValue(value=f"effect {number}")

    answers = await asyncio.gather(*(answer_once(requests, key, clock, StringValue, work) for _ in range(5)))
    assert {answer.value for answer in answers} == {"effect 0"}
    assert await requests.fetchval("SELECT count(*) FROM effect") == 1


async def test_a_repeat_that_waited_for_the_first_gets_its_answer_and_no_refusal(
    requests: Any, clock: ManualClock
) -> None:
    await requests.execute("CREATE TABLE thing (id int PRIMARY KEY, done boolean NOT NULL)")
    await requests.execute("INSERT INTO thing VALUES (1, false)")

    async def once_only(conn: Any) -> StringValue:
        if await conn.fetchval("SELECT done FROM thing WHERE id = 1 FOR UPDATE"):
            raise InvalidArgument("DONE_ALREADY", "it is done already")
        await asyncio.sleep(0.05)
        await conn.execute("UPDATE thing SET done = true")
        return StringValue(value="done")

    async def unique(conn: Any) -> StringValue:
        await conn.execute("INSERT INTO thing VALUES (2, true)")
        await asyncio.sleep(0.05)
        return StringValue(value="made")

    for number, (work, value) in enumerate([(once_only, "done"), (unique, "made")]):
        key = RequestKey("0192:1", METHOD, UUID(int=number), b"a" * 32)
        answers = await asyncio.gather(*(answer_once(requests, key, clock, StringValue, work) for _ in range(5)))
        assert [answer.value for answer in answers] == [value] * 5
    # Another request is refused as ever, and so is another body that waited.
    with pytest.raises(InvalidArgument, match="DONE_ALREADY"):
        await answer_once(requests, RequestKey("0192:1", METHOD, OTHER_ID, b"a" * 32), clock, StringValue, once_only)
    await requests.execute("UPDATE thing SET done = false")
    bodies = [RequestKey("0192:1", METHOD, UUID(int=9), bytes([body]) * 32) for body in range(2)]
    outcomes = await asyncio.gather(
        *(answer_once(requests, key, clock, StringValue, once_only) for key in bodies), return_exceptions=True
    )
    assert sorted(getattr(outcome, "reason", "answered") for outcome in outcomes) == ["REQUEST_ID_REUSED", "answered"]


def test_a_digest_depends_on_the_body_and_on_the_key() -> None:
    body = StringValue(value="Kari")
    assert body_digest(body) == body_digest(StringValue(value="Kari"))
    digests = {
        body_digest(body),
        body_digest(body, key=b"k"),
        body_digest(body, key=b"l"),
        body_digest(StringValue(value="Ola")),
    }
    assert {len(digest) for digest in digests} == {32}
    assert len(digests) == 4


async def test_what_a_migration_changed_meanwhile_is_read_anew(pool: asyncpg.Pool) -> None:
    async def read(connection: asyncpg.Connection) -> list[dict[str, Any]]:
        return [dict(row) for row in await connection.fetch("SELECT * FROM part")]

    await pool.execute("CREATE TABLE part (number integer)")
    await pool.execute("INSERT INTO part VALUES (1)")
    assert await repeated(pool, read) == [{"number": 1}]
    await pool.execute("ALTER TABLE part ADD COLUMN name text")
    assert await repeated(pool, read) == [{"number": 1, "name": None}]


@pytest.mark.parametrize("given_up", [False, True], ids=["refused", "given-up"])
async def test_what_a_statement_that_never_ran_left_open_is_ended(database_dsn: str, given_up: bool) -> None:
    pool = await open_pool(database_dsn, max_size=1)
    try:
        async with pool.acquire() as connection:
            if given_up:
                waiting = asyncio.create_task(connection.fetchval("SELECT pg_sleep(60) /* new */"))
                await asyncio.sleep(0.05)
                waiting.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await waiting
            else:  # It is prepared; then its argument is found not to be a number.
                with pytest.raises(asyncpg.DataError):
                    await connection.fetchval("SELECT $1::integer + 1", "x")
        async with pool.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
            assert await connection.fetchval("SELECT 1") == 1
    finally:
        pool.terminate()
