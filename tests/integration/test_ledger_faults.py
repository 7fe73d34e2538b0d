"""The ledger's writers die at every step, run out of disk, lose the database, share it, and see clocks jump.

After each: every leaf once, no gap, and no checkpoint or list that contradicts an earlier one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest

from services.ledger import sequencer as sequencer_module
from services.ledger.sequencer import Sequencer
from services.ledger.transitions import Change
from services.ledger.wiring import MIGRATIONS
from tests.integration.ledger_harness import ORIGIN, Ledger, eventually, make_ledger, request
from tests.integration.ledger_leaves import Fuse, Killed, Mortal, check_log, extends, leaves, queue
from vitne.audit.log_walk import LogWalk
from vitne.canonical import sha256
from vitne.clock import SystemClock
from vitne.credentials.list_forms import ListForm
from vitne.credentials.status_list import INVALID, VALID
from vitne.errors import Aborted, Unavailable
from vitne.inspection.published_log import walk_on
from vitne.merkle.notes import Checkpoint
from vitne.merkle.policy import Policy
from vitne.runtime.database import PlainConnection
from vitne.runtime.objects import Kind, Stored

pytestmark = pytest.mark.schema(MIGRATIONS)

#: Leaves that are queued before each death: tiles are filled in some of them.
LEAVES = 60


@dataclass
class Shelf:
    """An object storage in memory that may fail, or end its writer, before or after any file is written."""

    files: dict[str, bytes] = field(default_factory=dict)
    fails_at: int = -1
    written_all_the_same: bool = False
    error: BaseException = field(default_factory=Killed)
    puts: int = 0

    async def get(self, path: str) -> bytes | None:
        return self.files.get(path)

    async def read(self, path: str) -> Stored | None:
        data = self.files.get(path)
        return None if data is None else Stored(data, data.hex())

    async def replace(self, path: str, data: bytes, kind: Kind, *, over: str | None) -> str | None:
        there = self.files.get(path)
        if (None if there is None else there.hex()) != over:
            return None
        await self.put(path, data, kind)
        return data.hex()

    async def put(self, path: str, data: bytes, kind: Kind) -> None:
        fails = self.puts == self.fails_at
        self.puts += 1
        if not fails or self.written_all_the_same:
            self.files[path] = data
        if fails:
            raise self.error

    async def close(self) -> None:
        pass


class JumpingClock(SystemClock):
    """The system's clock, set forward or back."""

    def __init__(self) -> None:
        super().__init__()
        self.offset = timedelta()

    def now(self) -> datetime:
        return super().now() + self.offset


@pytest.fixture
async def ledger(database_dsn: str, pool: asyncpg.Pool, tmp_path: Path) -> Ledger:
    return await make_ledger(database_dsn, pool, JumpingClock(), tmp_path)


@asynccontextmanager
async def process(dsn: str, ledger: Ledger, fuse: Fuse) -> AsyncIterator[Ledger]:
    """A process of its own over the ledger's database."""
    Mortal.fuse = fuse
    pool = await asyncpg.create_pool(dsn, min_size=1, max_size=2, connection_class=Mortal)
    try:
        yield replace(ledger, pool=pool)
    finally:
        pool.terminate()


async def test_killed_before_any_statement_a_batch_happened_whole_or_not_at_all(
    database_dsn: str, ledger: Ledger
) -> None:
    expected: list[bytes] = []
    await ledger.sequencer().claim()
    known = await ledger.checkpoint()
    ends = False
    step = 0
    while not ends:
        await queue(ledger, leaves(len(expected), LEAVES))
        expected += leaves(len(expected), LEAVES)
        async with process(database_dsn, ledger, Fuse(step)) as mortal:
            sequencer = mortal.sequencer()
            try:
                await sequencer.claim()
                await sequencer.integrate()
                ends = True  # it died after its last statement, so to speak
            except Killed:
                pass
        known = await extends(ledger, known)
        assert known.size in (len(expected) - LEAVES, len(expected))
        other = ledger.replica().sequencer()
        await other.claim()
        await other.integrate()
        known = await extends(ledger, known)
        step += 1
    await check_log(ledger, expected)
    assert step > 15, "claiming and integrating are that many statements and commits"


async def test_killed_before_any_statement_a_list_is_published_whole_or_not_at_all(
    database_dsn: str, ledger: Ledger
) -> None:
    lease = await ledger.lease(100)
    await ledger.publisher.publish_due()
    ends = False
    step = 0
    while not ends:
        index = lease.indexes[step]
        async with process(database_dsn, ledger, Fuse(step)) as mortal:
            try:
                await mortal.apply([request(lease.list, index, Change.REVOKE)])
                await mortal.publisher.publish_due()
                ends = True
            except Killed:
                pass
        recorded = await ledger.pool.fetchval("SELECT EXISTS (SELECT FROM status_change WHERE index = $1)", index)
        other = ledger.replica()
        await other.publisher.publish_due()
        assert (await other.published(lease.list)).status_at(index) == (INVALID if recorded else VALID)
        step += 1
    rows = await ledger.pool.fetch("SELECT version, changes FROM list_version ORDER BY version")
    assert [row["version"] for row in rows] == list(range(1, len(rows) + 1))
    assert [row["changes"] for row in rows] == sorted(row["changes"] for row in rows)
    assert await ledger.pool.fetchval("SELECT count(*) FROM status_change") == len(
        [leaf for leaf in await ledger.queued() if b'"type":"status"' in leaf]
    )
    assert step > 8, "changing and publishing are that many statements and commits"


@pytest.mark.parametrize("failure", ["killed before", "killed after", "disk full"])
async def test_static_files_hold_at_every_step_of_a_copy_that_does_not_come_to_its_end(
    ledger: Ledger, failure: str
) -> None:
    full = Unavailable("STORAGE_UNAVAILABLE", "no space left on device")
    lease = await ledger.lease()
    await ledger.publisher.publish_due()
    await queue(ledger, leaves(0, 200))
    sequencer = ledger.sequencer()
    await sequencer.claim()
    await sequencer.integrate()
    shelf = Shelf()
    await ledger.publication(shelf).publish()
    await ledger.set(request(lease.list, lease.indexes[0], Change.REVOKE))
    await ledger.publisher.publish_due()
    await queue(ledger, leaves(200, 400))
    await sequencer.integrate()
    before = dict(shelf.files)
    policy = Policy.of_log(ledger.note_signer.key)
    step, ends = 0, False
    while not ends:
        broken = Shelf(
            files=dict(before),
            fails_at=step,
            written_all_the_same=failure == "killed after",
            error=full if failure == "disk full" else Killed(),
        )
        try:
            await ledger.publication(broken).publish()
            ends = True
        except (Killed, Unavailable):
            pass
        walk = LogWalk()
        await walk_on(broken.get, policy, walk)
        assert walk.finish() == []
        assert walk.size in (201, 602) or walk.size in (200, 601)
        # Whoever comes next goes on from there, to the same end.
        mended = Shelf(files=dict(broken.files))
        await ledger.publication(mended).publish()
        walk = LogWalk()
        await walk_on(mended.get, policy, walk)
        assert (walk.finish(), walk.size) == ([], (await ledger.checkpoint()).size)
        (newest,) = ledger.publisher.published()
        for form in ListForm:
            assert mended.files[f"{newest.path[1:]}{form.value}"] == ledger.projections.of(newest, form).body
        step += 1
    assert step > 10


async def test_a_database_without_room_stops_the_log_for_as_long_as_it_has_none(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PostgreSQL says 53100 wherever it can't write; the sequencer waits, and nothing is half done."""
    monkeypatch.setattr(sequencer_module, "RETRY_SECONDS", 0.02)
    await ledger.pool.execute(
        "CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = '53100'; END $$"
    )
    running = asyncio.create_task(ledger.sequencer().run())
    expected: list[bytes] = []
    try:
        await eventually(lambda: ledger.pool.fetchval("SELECT epoch FROM log"))
        for table in ("leaf", "tile", "outbox", "log"):
            await ledger.pool.execute(
                f"CREATE TRIGGER no_room BEFORE INSERT OR UPDATE ON {table} EXECUTE FUNCTION no_room()"
            )
            await queue(ledger, leaves(len(expected), LEAVES))
            await fails_again(ledger)
            assert (await ledger.checkpoint()).size == len(expected)
            assert len(await ledger.queued()) == LEAVES
            await ledger.pool.execute(f"DROP TRIGGER no_room ON {table}")
            expected += leaves(len(expected), LEAVES)
            await grown(ledger, len(expected))
        await check_log(ledger, expected)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def grown(ledger: Ledger, size: int) -> None:
    """Return when the log has so many leaves."""
    await eventually(lambda: ledger.pool.fetchval("SELECT size = $1 FROM log", size))


async def fails_again(ledger: Ledger) -> None:
    """Return when a transaction was rolled back."""

    async def rolled_back() -> int:
        await ledger.pool.execute("SELECT pg_stat_force_next_flush()")
        found: int = await ledger.pool.fetchval(
            "SELECT xact_rollback FROM pg_stat_database WHERE datname = current_database()"
        )
        return found

    before = await rolled_back()

    async def more() -> bool:
        return await rolled_back() > before

    await eventually(more)


async def test_two_sequencers_over_a_database_that_goes_and_comes_while_clocks_jump(
    database_dsn: str, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sequencer_module, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(sequencer_module, "STANDBY_SECONDS", 0.01)
    assert isinstance(ledger.clock, JumpingClock)
    name = "sequencers"
    pool = await asyncpg.create_pool(
        database_dsn,
        min_size=1,
        max_size=6,
        connection_class=PlainConnection,
        server_settings={"application_name": name},
    )
    writers = [
        Sequencer(pool, ORIGIN, ledger.keys.note_signer, ledger.clock, uuid4, interval=0.001, max_batch=37)
        for _ in range(2)
    ]
    running = [asyncio.create_task(writer.run()) for writer in writers]
    expected: list[bytes] = []
    known = Checkpoint(ledger.note_signer.key.name, 0, sha256(b""))
    try:
        await eventually(lambda: ledger.pool.fetchval("SELECT epoch FROM log"))
        for number in range(12):
            ledger.clock.offset = timedelta(seconds=(-1) ** number * 1000 * number)
            await queue(ledger, leaves(len(expected), LEAVES))
            expected += leaves(len(expected), LEAVES)
            if number % 3 == 0:  # all its sessions end, with the lock that one of them held
                await ledger.pool.fetch(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND application_name = $1",
                    name,
                )
            elif number % 3 == 1:  # a third one takes the log over without having the lock
                intruder = ledger.replica().sequencer(max_batch=11)
                await intruder.claim()
                with suppress(Aborted):
                    await intruder.integrate()
            known = await extends(ledger, known)
        await grown(ledger, len(expected))
        await extends(ledger, known)
        await check_log(ledger, expected)
        assert not any(task.done() for task in running)
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await pool.close()
