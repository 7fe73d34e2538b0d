"""Several replicas serve lists: who goes from one to another never sees a list go back."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest

from services.ledger.looks import Looks
from services.ledger.transitions import Change
from tests.integration.ledger_harness import Ledger, make_ledger, request, served
from vitne.clock import ManualClock
from vitne.credentials.list_forms import ListForm
from vitne.errors import Unavailable
from vitne.runtime.database import open_pool

PATH = "/2026/no-1"


@pytest.fixture
async def ledger(database_dsn: str, pool: asyncpg.Pool, clock: ManualClock, tmp_path: Path) -> Ledger:
    return await make_ledger(database_dsn, pool, clock, tmp_path)


@asynccontextmanager
async def replicas(ledger: Ledger) -> AsyncIterator[tuple[str, str]]:
    """One that publishes, and one that does so when its turn comes: not in this test."""
    async with served(ledger.pages()) as one, served(ledger.replica().pages()) as other:
        yield one, other


async def fetch(client: aiohttp.ClientSession, url: str) -> bytes:
    async with client.get(url) as answer:
        assert answer.status == 200
        return await answer.read()


@pytest.mark.parametrize("form", ListForm)
async def test_what_one_replica_has_shown_every_other_shows(ledger: Ledger, form: ListForm) -> None:
    lease = await ledger.lease()
    await ledger.publisher.publish_due()
    async with replicas(ledger) as (one, other), aiohttp.ClientSession() as client:
        seen = []
        for change in (Change.SUSPEND, Change.REINSTATE, Change.REVOKE):
            seen.append(await fetch(client, f"{one}{PATH}{form.value}"))
            assert await fetch(client, f"{other}{PATH}{form.value}") == seen[-1]
            assert isinstance(ledger.clock, ManualClock)
            ledger.clock.advance(timedelta(seconds=1))
            await ledger.set(request(lease.list, lease.indexes[0], change))
            await ledger.publisher.publish_due()
        newest = await fetch(client, f"{other}{PATH}{form.value}")
        assert newest not in seen
        assert await fetch(client, f"{one}{PATH}{form.value}") == newest


async def test_readers_who_go_from_one_to_another_never_see_a_list_go_back(ledger: Ledger) -> None:
    """Under load: versions come while eight readers take turns with the replicas."""
    lease = await ledger.lease(40)
    await ledger.publisher.publish_due()
    tokens: dict[bytes, int] = {}

    def remember() -> None:
        tokens[ledger.publisher.published()[0].token] = ledger.publisher.published()[0].version

    async def read(client: aiohttp.ClientSession, urls: tuple[str, str]) -> list[bytes]:
        read = []
        turns = itertools.cycle(urls)
        while not done.is_set():
            read.append(await fetch(client, next(turns) + PATH))
        return read

    done = asyncio.Event()
    remember()
    async with replicas(ledger) as urls, aiohttp.ClientSession() as client:
        readers = [asyncio.create_task(read(client, urls)) for _ in range(8)]
        for index in lease.indexes:
            await ledger.set(request(lease.list, index, Change.REVOKE))
            await ledger.publisher.publish_due()
            remember()
            await asyncio.sleep(0.005)
        done.set()
        for seen in await asyncio.gather(*readers):
            versions = [tokens[token] for token in seen]
            assert versions == sorted(versions)
            assert len(set(versions)) > 10


async def test_a_list_that_another_replica_began_is_served(ledger: Ledger) -> None:
    async with replicas(ledger) as (one, other), aiohttp.ClientSession() as client:
        await ledger.lease()
        await ledger.publisher.publish_due()
        assert await fetch(client, f"{other}{PATH}") == await fetch(client, f"{one}{PATH}")


class Interrupted:
    """A pool of connections, beside which something is done each time after one was given back."""

    def __init__(self, pool: Any, after: Callable[[], Awaitable[None]]) -> None:
        self._pool, self._after = pool, after

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pool, name)

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[Any]:
        async with self._pool.acquire() as connection:
            yield connection
        await self._after()


async def test_a_version_that_another_replica_published_meanwhile_is_not_taken_back(ledger: Ledger) -> None:
    lease = await ledger.lease()
    await ledger.publisher.publish_due()
    other, slow = ledger.replica(), ledger.replica()

    async def overtake() -> None:
        slow.publisher._pool = ledger.pool
        await ledger.set(request(lease.list, lease.indexes[1], Change.REVOKE))
        await other.publisher.publish_due()
        await slow.publisher.take_over(ledger.pool, [PATH])

    await slow.publisher.publish_due()
    await ledger.set(request(lease.list, lease.indexes[0], Change.REVOKE))
    slow.publisher._pool = Interrupted(ledger.pool, overtake)
    await slow.publisher.publish_due()
    assert other.publisher.published()[0].version == 3
    assert slow.publisher.published() == other.publisher.published()


class Session:
    """Is connected until it is ended."""

    ended = False

    def is_closed(self) -> bool:
        return self.ended

    def terminate(self) -> None:
        self.ended = True


class Database:
    """Answers looks one after the other, when it is told to."""

    def __init__(self) -> None:
        self.asked: list[set[str]] = []
        self.answers: asyncio.Queue[Exception | None] = asyncio.Queue()
        self.sessions: list[Session] = []
        self.looks = Looks(self.connect, self.look)

    @property
    def begun(self) -> int:
        return len(self.asked)

    async def connect(self) -> Session:
        self.sessions.append(Session())
        return self.sessions[-1]

    async def look(self, session: Session, paths: Collection[str]) -> None:
        assert session is self.sessions[-1]
        self.asked.append(set(paths))
        if (error := await self.answers.get()) is not None:
            raise error


async def begun(database: Database, count: int) -> None:
    async with asyncio.timeout(5):
        while database.begun < count:
            await asyncio.sleep(0.001)


async def test_a_look_answers_all_who_came_before_it_began_and_nobody_else() -> None:
    database = Database()
    first = asyncio.create_task(database.looks.since_now("/a"))
    await begun(database, 1)
    late = [asyncio.create_task(database.looks.since_now(path)) for path in ["/a", "/b"] * 25]
    await asyncio.sleep(0.01)
    assert database.begun == 1
    database.answers.put_nowait(None)
    await first
    await begun(database, 2)
    assert not any(each.done() for each in late)
    database.answers.put_nowait(None)
    await asyncio.gather(*late)
    assert database.asked == [{"/a"}, {"/a", "/b"}]
    assert len(database.sessions) == 1
    await database.looks.close()
    assert database.sessions[0].ended


@pytest.mark.parametrize("error", [OSError("away"), Unavailable("DATABASE_UNAVAILABLE", "away"), KeyError("ours")])
async def test_without_the_database_what_is_in_memory_is_served_and_nobody_waits(
    error: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("services.ledger.looks.AWAY_SECONDS", 0.2)
    database = Database()
    database.answers.put_nowait(error)
    for _ in range(20):
        await database.looks.since_now("/a")
    assert database.begun == 1
    assert caplog.text.count("lists are served as they were seen last") == 1
    database.answers.put_nowait(None)
    async with asyncio.timeout(5):
        while database.begun < 2:
            await database.looks.since_now("/a")
            await asyncio.sleep(0.01)
    # Nobody knows what became of the session in which something failed.
    assert [each.ended for each in database.sessions] == [True, False]


async def test_a_database_that_does_not_answer_holds_nobody_up_for_long_and_is_asked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("services.ledger.looks.PATIENCE_SECONDS", 0.05)
    database = Database()
    async with asyncio.timeout(5):
        await database.looks.since_now("/a")
    # A moment's delay: the next reader is shown what is newest, as ever.
    second = asyncio.create_task(database.looks.since_now("/a"))
    await begun(database, 2)
    assert not second.done()
    database.answers.put_nowait(None)
    await second
    assert [each.ended for each in database.sessions] == [True, False]


async def test_a_look_that_the_database_itself_gave_up_is_no_refusal() -> None:
    database = Database()
    for error in (asyncpg.QueryCanceledError("canceling statement due to statement timeout"), None):
        database.answers.put_nowait(error)
        await database.looks.since_now("/a")
    assert database.begun == 2


@pytest.mark.parametrize("ended", [True, False])
async def test_a_session_that_has_ended_or_was_at_rest_for_long_is_not_used(
    ended: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.ledger.looks.RESTS_SECONDS", 60.0 if ended else 0.05)
    database = Database()
    for _ in range(2):
        database.answers.put_nowait(None)
        await database.looks.since_now("/a")
        if ended:
            database.sessions[-1].terminate()
        await asyncio.sleep(0.1)
    assert (database.begun, len(database.sessions)) == (2, 2)
    assert database.sessions[0].ended


async def test_who_waits_at_the_end_is_let_go() -> None:
    database = Database()
    asked = [asyncio.create_task(database.looks.since_now("/a"))]
    await begun(database, 1)
    asked.append(asyncio.create_task(database.looks.since_now("/a")))
    await asyncio.sleep(0)
    await database.looks.close()
    async with asyncio.timeout(5):
        await asyncio.gather(*asked)
        await database.looks.since_now("/a")
    assert (database.begun, database.sessions[0].ended) == (1, True)


async def test_a_session_that_takes_long_to_begin_is_there_for_a_later_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.ledger.looks.PATIENCE_SECONDS", 0.05)
    database = Database()

    async def slowly() -> Session:
        await asyncio.sleep(0.12)
        return await database.connect()

    looks = Looks(slowly, database.look)
    database.answers.put_nowait(None)
    async with asyncio.timeout(5):
        while not database.begun:
            await looks.since_now("/a")
    assert len(database.sessions) == 1
    await looks.close()
    assert database.sessions[0].ended


async def test_a_session_that_begins_at_the_end_is_ended() -> None:
    database, go_on = Database(), asyncio.Event()

    async def slowly() -> Session:
        with suppress(asyncio.CancelledError):
            await go_on.wait()
        return await database.connect()

    looks = Looks(slowly, database.look)
    asked = asyncio.create_task(looks.since_now("/a"))
    await asyncio.sleep(0.01)
    await looks.close()
    await asked
    assert [each.ended for each in database.sessions] == [True]


async def test_looks_that_are_given_up_leave_nothing_behind_in_the_database(
    ledger: Ledger, database_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A statement that waits for a lock goes on when the client has gone, and keeps its connection."""
    await ledger.lease()
    await ledger.publisher.publish_due()
    locker = await asyncpg.connect(database_dsn)
    monkeypatch.setattr("services.ledger.looks.PATIENCE_SECONDS", 0.1)
    looks = Looks(partial(ledger.pool.connect_apart, statement_seconds=0.1), ledger.publisher.take_over)
    async with locker.transaction():
        await locker.execute("LOCK TABLE list_version IN ACCESS EXCLUSIVE MODE")
        for _ in range(12):
            await looks.since_now(PATH)
        await asyncio.sleep(0.2)
        waiting = (
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        assert await locker.fetchval(waiting) == 0
    await looks.close()
    await locker.close()


async def test_a_connection_apart_does_not_outlive_the_pool(database_dsn: str, pool: asyncpg.Pool) -> None:
    ended = await open_pool(database_dsn, max_size=1)
    connecting = asyncio.create_task(ended.connect_apart())
    await asyncio.sleep(0)
    await ended.close()
    with pytest.raises(asyncpg.InterfaceError, match="the pool is closed"):
        await connecting


async def test_who_waits_for_the_pool_holds_up_no_reader(ledger: Ledger, database_dsn: str) -> None:
    """All of a replica's other connections are in use, for longer than a look may take."""
    lease = await ledger.lease()
    await ledger.publisher.publish_due()
    full = await open_pool(database_dsn, max_size=1)
    try:
        async with served(Ledger(full, ledger.clock, ledger.state).pages()) as url, aiohttp.ClientSession() as client:
            assert (await fetch(client, url + PATH)) == ledger.publisher.published()[0].token
            await ledger.set(request(lease.list, lease.indexes[0], Change.REVOKE))
            await ledger.publisher.publish_due()
            async with full.acquire():
                assert (await fetch(client, url + PATH)) == ledger.publisher.published()[0].token
    finally:
        await full.close()


async def test_many_lists_that_other_replicas_began_are_read_by_who_publishes_next(ledger: Ledger) -> None:
    await ledger.lease()
    await ledger.pool.execute(
        "INSERT INTO status_list (url, country, year, number, size, order_check, opened) "
        "SELECT 'https://status.example/2026/no-' || number, 'NO', 2026, number, 1000, '', now() "
        "FROM generate_series(2, 300) AS number"
    )
    await ledger.publisher.publish_due()
    other = ledger.replica()
    statements = Counting(ledger.pool)
    other.publisher._pool = statements
    assert await other.publisher.publish_due() == 0
    assert other.publisher.published() == ledger.publisher.published()
    assert len(other.publisher.published()) == 300
    assert statements.fetched == 3


class Counting:
    """A pool that counts what is fetched by it."""

    def __init__(self, pool: Any) -> None:
        self._pool, self.fetched = pool, 0

    async def fetch(self, *arguments: Any) -> Any:
        self.fetched += 1
        return await self._pool.fetch(*arguments)


async def test_a_version_is_dated_no_earlier_than_the_one_before_whoever_published_that(ledger: Ledger) -> None:
    """Half a minute is what clocks may differ by."""
    lease = await ledger.lease()
    other = ledger.replica()
    await other.publisher.publish_due()
    assert isinstance(ledger.clock, ManualClock)
    ledger.clock.advance(timedelta(seconds=30))
    await ledger.set(request(lease.list, lease.indexes[0], Change.SUSPEND))
    await ledger.publisher.publish_due()
    ledger.clock.advance(-timedelta(seconds=30))
    await ledger.set(request(lease.list, lease.indexes[0], Change.REVOKE))
    # It was never shown the version between.
    await other.publisher.publish_anew(await ledger.pool.fetchval("SELECT id FROM status_list"), beyond=0)
    dates = [row["published"] for row in await ledger.pool.fetch("SELECT published FROM list_version ORDER BY version")]
    assert dates == sorted(dates)
    assert len(dates) == 3
