"""The log: leaves come in once, proofs verify, and one sequencer writes at a time."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from services.ledger import sequencer as sequencer_module
from services.ledger.alone import WITNESSES_LOCK, work_alone
from services.ledger.keys import LedgerKeys
from services.ledger.log_store import queue_leaves
from services.ledger.sequencer import Sequencer
from services.ledger.wiring import MIGRATIONS
from tests.integration.ledger_harness import ORIGIN, Ledger, eventually, make_ledger
from vitne.canonical import sha256
from vitne.clock import ManualClock, SystemClock
from vitne.errors import Aborted, DataLoss, FailedPrecondition, InvalidArgument, NotFound, Unavailable
from vitne.merkle.hashing import EMPTY_ROOT
from vitne.merkle.leaves import Issued
from vitne.merkle.notes import open_checkpoint
from vitne.merkle.proofs import verify_consistency, verify_inclusion
from vitne.merkle.tree import CompactTree
from vitne.runtime.custody import FileKeyCustody

pytestmark = pytest.mark.schema(MIGRATIONS)


@pytest.fixture
async def ledger(database_dsn: str, pool: asyncpg.Pool, clock: ManualClock, tmp_path: Path) -> Ledger:
    return await make_ledger(database_dsn, pool, clock, tmp_path)


def issued(first: int, count: int) -> list[Issued]:
    return [Issued(sha256(number.to_bytes(4, "big"))) for number in range(first, first + count)]


async def queue(ledger: Ledger, leaves: list[Issued]) -> None:
    async with ledger.pool.acquire() as connection, connection.transaction():
        await queue_leaves(connection, [leaf.to_bytes() for leaf in leaves])


async def claimed(ledger: Ledger, max_batch: int = 1000) -> Sequencer:
    sequencer = ledger.sequencer(max_batch)
    await sequencer.claim()
    return sequencer


async def integrated(ledger: Ledger) -> list[bytes]:
    rows = await ledger.pool.fetch("SELECT hash FROM leaf ORDER BY leaf_index")
    return [row["hash"] for row in rows]


async def check_log(ledger: Ledger, expected: list[Issued]) -> None:
    """Every leaf once; checkpoint, tiles and leaves agree; a proof for each verifies."""
    hashes = await integrated(ledger)
    assert sorted(hashes) == sorted(leaf.leaf_hash() for leaf in expected)
    tree = CompactTree()
    for value in hashes:
        tree.append(value)
    checkpoint = await ledger.checkpoint()
    assert (checkpoint.size, checkpoint.root) == (tree.size, tree.root())
    for index in {0, 1, len(hashes) // 2, len(hashes) - 1} & set(range(len(hashes))):
        proof = await ledger.store.prove_inclusion(hashes[index])
        assert proof.leaf_index == index
        verify_inclusion(leaf=hashes[index], index=index, size=proof.tree_size, path=proof.path, root=checkpoint.root)


async def test_an_empty_log_has_a_checkpoint(ledger: Ledger) -> None:
    with pytest.raises(Unavailable, match="LOG_NOT_STARTED"):
        await ledger.store.checkpoint()
    sequencer = await claimed(ledger)
    checkpoint = await ledger.checkpoint()
    assert (checkpoint.size, checkpoint.root) == (0, EMPTY_ROOT)
    assert await sequencer.integrate() == 0


async def test_what_waits_for_the_first_checkpoint_has_not_failed(
    ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    done = asyncio.Event()

    async def work() -> None:
        await ledger.store.checkpoint()
        done.set()
        raise DataLoss("LOG_FORKED", "two trees")

    caplog.set_level(logging.INFO, "services.ledger.alone")
    alone = work_alone(ledger.pool, WITNESSES_LOCK, SystemClock(), work, interval=0.01, name="cosigning")
    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        task = group.create_task(alone)
        while not caplog.records:
            await asyncio.sleep(0.01)
        waits = [*caplog.records]
        await ledger.sequencer().claim()
        await done.wait()
        while not any(record.levelno >= logging.WARNING for record in caplog.records):
            await asyncio.sleep(0.01)
        task.cancel()
    assert {(record.levelno, record.getMessage()) for record in waits} == {
        (logging.INFO, "cosigning waits: the log has no checkpoint yet")
    }
    assert caplog.records[-1].levelno == logging.ERROR
    assert "LOG_FORKED" in caplog.text


async def test_leaves_come_in_batches_and_every_proof_verifies(ledger: Ledger) -> None:
    sequencer = await claimed(ledger, max_batch=300)
    leaves = issued(0, 700)
    await queue(ledger, leaves)
    assert [await sequencer.integrate() for _ in range(4)] == [300, 300, 100, 0]
    assert await integrated(ledger) == [leaf.leaf_hash() for leaf in leaves]
    await check_log(ledger, leaves)
    # Sizes of tile 0: 700 leaves are three tiles of leaves and one above.
    tiles = await ledger.pool.fetch("SELECT level, number, octet_length(hashes) / 32 FROM tile ORDER BY level, number")
    assert [tuple(row) for row in tiles] == [(0, 0, 256), (0, 1, 256), (0, 2, 188), (1, 0, 2)]


async def test_old_sizes_can_be_proved_and_trees_extend_each_other(ledger: Ledger) -> None:
    sequencer = await claimed(ledger)
    leaves = issued(0, 600)
    checkpoints = [await ledger.checkpoint()]
    for first in range(0, 600, 150):
        await queue(ledger, leaves[first : first + 150])
        await sequencer.integrate()
        checkpoints.append(await ledger.checkpoint())
    for number, later in enumerate(checkpoints[1:], start=1):  # a size of 0 asks for the newest
        for earlier in checkpoints[: number + 1]:
            proof = await ledger.store.prove_consistency(earlier.size, later.size)
            assert (proof.to_size, proof.checkpoint) == (later.size, "")
            verify_consistency(
                from_size=earlier.size,
                to_size=later.size,
                from_root=earlier.root,
                to_root=later.root,
                path=proof.path,
            )
    middle = checkpoints[2]
    hashes = await integrated(ledger)
    old = await ledger.store.prove_inclusion(hashes[7], middle.size)
    verify_inclusion(leaf=hashes[7], index=7, size=middle.size, path=old.path, root=middle.root)
    assert old.checkpoint == ""
    newest = await ledger.store.prove_consistency(150)
    assert open_checkpoint(newest.checkpoint, ledger.note_signer.key).size == newest.to_size == 600


async def test_what_can_not_be_proved_is_refused(ledger: Ledger) -> None:
    sequencer = await claimed(ledger)
    (leaf,) = issued(0, 1)
    await queue(ledger, [leaf])
    with pytest.raises(NotFound) as waiting:
        await ledger.store.prove_inclusion(leaf.leaf_hash())
    assert waiting.value.reason == "LEAF_NOT_INTEGRATED"
    assert "second" in waiting.value.remedy
    await sequencer.integrate()
    await queue(ledger, issued(1, 1))
    await sequencer.integrate()
    second = issued(1, 1)[0].leaf_hash()
    cases: list[tuple[Callable[[], Awaitable[Any]], str]] = [
        (lambda: ledger.store.prove_inclusion(b""), "BAD_LEAF_HASH"),
        (lambda: ledger.store.prove_inclusion(b"x" * 31), "BAD_LEAF_HASH"),
        (lambda: ledger.store.prove_inclusion(second, 3), "TREE_SIZE_UNKNOWN"),
        (lambda: ledger.store.prove_inclusion(second, 2**64 - 1), "TREE_SIZE_UNKNOWN"),
        (lambda: ledger.store.prove_inclusion(second, 1), "LEAF_OUTSIDE_TREE"),
        (lambda: ledger.store.prove_consistency(3), "TREE_SIZE_UNKNOWN"),
        (lambda: ledger.store.prove_consistency(1, 3), "TREE_SIZE_UNKNOWN"),
        (lambda: ledger.store.prove_consistency(2, 1), "SIZES_CONTRADICT"),
        (lambda: ledger.store.prove_consistency(2**64 - 1, 2**64 - 1), "TREE_SIZE_UNKNOWN"),
    ]
    for ask, reason in cases:
        with pytest.raises(InvalidArgument) as refusal:
            await ask()
        assert refusal.value.reason == reason
        assert refusal.value.field


async def test_a_leaf_that_comes_again_is_the_same_leaf(ledger: Ledger) -> None:
    sequencer = await claimed(ledger)
    leaves = issued(0, 5)
    await queue(ledger, leaves + leaves[:2])
    assert await sequencer.integrate() == 7
    await queue(ledger, leaves[3:])
    before = await ledger.checkpoint()
    assert await sequencer.integrate() == 2
    assert await ledger.checkpoint() == before
    await check_log(ledger, leaves)


async def test_a_leaf_is_found_by_its_whole_hash_and_never_by_reading_all(ledger: Ledger) -> None:
    begin = bytes(7)
    hashes = [*(begin + bytes([last]) * 25 for last in (1, 2)), *(sha256(bytes([number])) for number in range(200))]
    async with ledger.pool.acquire() as connection, connection.transaction():
        # What was counted while there was one leaf says that reading all is cheapest.
        await connection.execute("INSERT INTO leaf (leaf_index, hash, record) VALUES (0, $1, '')", hashes[0])
        await connection.execute("ANALYZE leaf")
        rows = [(place, value, b"") for place, value in enumerate(hashes)]
        await connection.copy_records_to_table("leaf", columns=("leaf_index", "hash", "record"), records=rows[1:])
        asked = [hashes[1], begin + bytes(25), hashes[200], hashes[0]]
        for _ in range(10):  # beyond those for which a plan is made of their own
            assert await connection.fetchval("SELECT leaf_places($1::bytea[])", asked) == [1, None, 200, 0]
        read = await connection.fetchrow(
            "SELECT seq_tup_read, idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = 'leaf'"
        )
        # Those of the same seven bytes are looked at, too.
        assert read["seq_tup_read"] == 0
        assert read["idx_tup_fetch"] <= 10 * 2 * len(asked)


async def test_a_second_sequencer_fences_out_the_first(ledger: Ledger) -> None:
    first = await claimed(ledger)
    await queue(ledger, issued(0, 3))
    second = await claimed(ledger.replica())
    with pytest.raises(Aborted, match="SEQUENCER_FENCED"):
        await first.integrate()
    assert await integrated(ledger) == []
    assert await second.integrate() == 3
    await check_log(ledger, issued(0, 3))


async def test_two_at_once_lose_and_double_nothing(ledger: Ledger) -> None:
    """Claims, batches, aborts and repeated leaves in every order that chance gives."""
    chance = random.Random(20261121)
    leaves = issued(0, 400)
    waiting = list(leaves)
    sequencers = [ledger.sequencer(max_batch=17), ledger.replica().sequencer(max_batch=23)]

    async def write(sequencer: Sequencer) -> None:
        for _ in range(40):
            try:
                if chance.random() < 0.3:
                    await sequencer.claim()
                batch = asyncio.ensure_future(sequencer.integrate())
                if chance.random() < 0.3:
                    await asyncio.sleep(chance.random() / 200)
                    batch.cancel()  # as a process that is killed between two steps
                await batch
            except (Aborted, asyncio.CancelledError):
                continue

    async def send() -> None:
        while waiting:
            taken = [waiting.pop() for _ in range(min(20, len(waiting)))]
            await queue(ledger, [*taken, chance.choice(leaves[380:])])

    await asyncio.gather(send(), *(write(sequencer) for sequencer in sequencers))
    last = await claimed(ledger)
    while await last.integrate():
        pass
    await check_log(ledger, leaves)


@pytest.mark.parametrize("step", ["extend_log", "sign_tree", "write_journal", "_without_known"])
async def test_a_batch_that_dies_at_any_step_did_not_happen(
    ledger: Ledger, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sequencer = await claimed(ledger)
    await queue(ledger, issued(0, 300))
    await sequencer.integrate()
    before = await ledger.checkpoint()
    await queue(ledger, issued(300, 300))

    class Killed(BaseException):
        pass

    def die(*_: Any, **_named: Any) -> Any:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(sequencer_module, step, die)
        with pytest.raises(Killed):
            await sequencer.integrate()
    assert await ledger.checkpoint() == before
    assert len(await ledger.queued()) == 300
    assert await (await claimed(ledger.replica())).integrate() == 300
    await check_log(ledger, issued(0, 600))


async def test_damaged_storage_stops_the_log_before_it_signs_a_contradiction(ledger: Ledger) -> None:
    sequencer = await claimed(ledger)
    await queue(ledger, issued(0, 10))
    await sequencer.integrate()
    before = await ledger.checkpoint()
    await ledger.pool.execute("UPDATE tile SET hashes = set_byte(hashes, 5, get_byte(hashes, 5) # 1)")
    await queue(ledger, issued(10, 1))
    with pytest.raises(DataLoss, match="LOG_CORRUPT"):
        await sequencer.integrate()
    await ledger.pool.execute("DELETE FROM tile")
    with pytest.raises(DataLoss, match="NODE_MISSING"):
        await sequencer.integrate()
    assert await ledger.checkpoint() == before


async def test_a_log_that_stands_still_goes_on_once_it_is_mended(
    database_dsn: str, pool: asyncpg.Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sequencer_module, "STANDSTILL_SECONDS", 0.05)
    ledger = await make_ledger(database_dsn, pool, SystemClock(), tmp_path)
    running = asyncio.create_task(ledger.sequencer().run())
    try:
        await queue(ledger, issued(0, 10))
        await eventually(lambda: pool.fetchval("SELECT size = 10 FROM log"))
        await pool.execute("UPDATE tile SET hashes = set_byte(hashes, 5, get_byte(hashes, 5) # 1)")
        await queue(ledger, issued(10, 1))
        await asyncio.sleep(0.2)
        assert not running.done()
        assert (await ledger.checkpoint()).size == 10
        await pool.execute("UPDATE tile SET hashes = set_byte(hashes, 5, get_byte(hashes, 5) # 1)")
        await eventually(lambda: pool.fetchval("SELECT size = 11 FROM log"))
        await check_log(ledger, issued(0, 11))
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_another_key_without_a_statement_and_another_origin_are_refused(ledger: Ledger, tmp_path: Path) -> None:
    sequencer = await claimed(ledger)
    await queue(ledger, issued(0, 3))
    await sequencer.integrate()
    before = await ledger.checkpoint()
    other = LedgerKeys.ensure(FileKeyCustody(tmp_path / "another"))
    with pytest.raises(Unavailable, match="LOG_KEY_CHANGED"):
        await Sequencer(ledger.pool, ORIGIN, other.note_signer, ledger.clock, uuid4, interval=0.01).claim()
    with pytest.raises(FailedPrecondition, match="LOG_ORIGIN_CHANGED"):
        await Sequencer(
            ledger.pool, "log.vitne.example/2027", ledger.keys.note_signer, ledger.clock, uuid4, interval=0.01
        ).claim()
    assert await ledger.checkpoint() == before


async def test_running_sequencers_take_turns(database_dsn: str, pool: asyncpg.Pool, tmp_path: Path) -> None:
    ledger = await make_ledger(database_dsn, pool, SystemClock(), tmp_path)
    first = asyncio.create_task(ledger.sequencer().run())
    await eventually(lambda: pool.fetchval("SELECT epoch FROM log"))
    second = asyncio.create_task(ledger.replica().sequencer().run())
    try:
        await queue(ledger, issued(0, 50))
        await eventually(lambda: pool.fetchval("SELECT size = 50 FROM log"))
        assert await pool.fetchval("SELECT epoch FROM log") == 1  # the second stands by
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        await queue(ledger, issued(50, 50))
        await eventually(lambda: pool.fetchval("SELECT size = 100 FROM log"))
        # Fenced out by somebody who claims without the lock, it stands by and then claims again.
        await ledger.replica().sequencer().claim()
        await queue(ledger, issued(100, 1))
        await eventually(lambda: pool.fetchval("SELECT size = 101 FROM log"))
        await check_log(ledger, issued(0, 101))
    finally:
        for task in (first, second):
            task.cancel()
        await asyncio.gather(first, second, return_exceptions=True)
