"""Which checkpoint of a log is shown: whoever cosigns late, and whatever clocks say, never less than before."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from datetime import timedelta
from itertools import count
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest

from services.ledger.closing import Closing
from services.ledger.keys import ensure_checkpoint
from services.ledger.sequencer import Sequencer
from services.ledger.shards import StoredCheckpoint
from services.ledger.wiring import MIGRATIONS
from services.ledger.witnessed import WitnessedCheckpoints
from tests.integration.ledger_harness import Ledger, make_ledger
from tests.integration.test_ledger_log import claimed, issued, queue
from tests.unit.log_samples import cosigner
from vitne.clock import ManualClock, SystemClock
from vitne.merkle.cosignatures import cosign, cosignatures

pytestmark = pytest.mark.schema(MIGRATIONS)


@pytest.fixture
async def ledger(database_dsn: str, pool: asyncpg.Pool, clock: ManualClock, tmp_path: Path) -> Ledger:
    made = await make_ledger(database_dsn, pool, clock, tmp_path)
    for number in range(2, 8):
        ensure_checkpoint(made.keys.custody, number)
    return made


def cosigned(checkpoint: StoredCheckpoint, clock: ManualClock) -> str:
    return checkpoint.note + cosign(checkpoint.note.partition("\n\n")[0] + "\n", cosigner(0), clock.now())


def is_cosigned(checkpoint: StoredCheckpoint) -> bool:
    return bool(cosignatures(checkpoint.note, [cosigner(0).key]))


class Replica:
    """A process that serves and cosigns, by a clock of its own."""

    def __init__(self, ledger: Ledger, ahead: timedelta) -> None:
        self.clock = ManualClock(ledger.clock.now() + ahead)
        self.checkpoints = WitnessedCheckpoints(ledger.pool, self.clock)


async def grow(ledger: Ledger, numbers: count[int], leaves: int) -> StoredCheckpoint:
    await queue(ledger, issued(next(numbers) * 1000, leaves))
    await (await claimed(ledger)).integrate()
    return await ledger.store.checkpoint()


@pytest.mark.parametrize("seed", range(6))
async def test_nobody_is_ever_shown_less_than_anybody_was(ledger: Ledger, seed: int) -> None:
    """Replicas an hour apart, witnesses that are silent or slow, two who cosign, logs that end: in any order."""
    chance = random.Random(seed)
    replicas = [Replica(ledger, timedelta(hours=hours)) for hours in (0, 1, -1)]
    numbers, years = count(), count(2027)
    on_their_way = [await grow(ledger, numbers, 3)]
    shown: dict[int, int] = defaultdict(int)
    kept: dict[int, int] = defaultdict(int)
    kinds = set()
    for _ in range(150):
        at = chance.choice(replicas)
        match chance.choices(["grow", "add", "pass", "close", "ask"], [3, 3, 2, 0.15, 6])[0]:
            case "grow":
                on_their_way.append(await grow(ledger, numbers, chance.randrange(1, 4)))
            case "add" if on_their_way:
                due = on_their_way.pop(chance.randrange(len(on_their_way)))
                await at.checkpoints.add(due, cosigned(due, at.clock))
            case "pass":
                at.clock.advance(timedelta(seconds=chance.choice([1, 4, 11])))
            case "close" if next(years) < 2030:
                done = Closing(ledger.pool, ledger.keys.note_signer, at.clock, uuid4)
                await done.close(f"log.vitne.example/{next(years)}")
                on_their_way += await ledger.store.logs()
            case "ask":
                log = chance.choice(await ledger.store.logs())
                told = await at.checkpoints.shown(log.shard)
                number = told.shard.number
                assert shown[number] <= told.size <= log.size
                assert told.note.split("\n")[1] == str(told.size)
                kinds.add(is_cosigned(told))
                shown[number] = told.size
                newest = await at.checkpoints.newest_of(log.shard)
                if newest is not None:
                    assert kept[number] <= newest.size
                    kept[number] = newest.size
    assert kinds == {True, False}


async def test_who_asks_while_another_cosigned_checkpoint_waits_for_the_log_is_shown_no_less_afterwards(
    ledger: Ledger, clock: ManualClock
) -> None:
    numbers = count()
    late = await grow(ledger, numbers, 15)
    await queue(ledger, issued(9000, 5))
    async with ledger.pool.acquire() as writing:
        async with writing.transaction():
            await writing.execute("SELECT FROM log FOR UPDATE")
            adding = asyncio.create_task(ledger.checkpoints.add(late, cosigned(late, clock)))
            await asyncio.sleep(0.1)
            assert not adding.done()
            await (await claimed_in(ledger, writing)).integrate(writing)
        # Nothing was ever cosigned until now, so all of the log is shown at once.
        before = await ledger.replica().checkpoints.shown()
        await adding
    assert before.size == 20
    assert (await ledger.checkpoints.shown()).size == 20


async def claimed_in(ledger: Ledger, connection: asyncpg.Connection) -> Sequencer:
    sequencer = ledger.sequencer()
    await sequencer.claim(connection)
    return sequencer


async def test_a_log_that_witnesses_left_is_shown_as_it_grows(ledger: Ledger, clock: ManualClock) -> None:
    """Those who were silent for long are not waited for again and again."""
    numbers = count()
    first = await grow(ledger, numbers, 5)
    await ledger.checkpoints.add(first, cosigned(first, clock))
    for size in (10, 15):
        await grow(ledger, numbers, 5)
        assert (await ledger.checkpoints.shown()).size == 5, size
    clock.advance(timedelta(seconds=10))
    assert (await ledger.checkpoints.shown()).size == 15
    for size in (20, 25, 30):
        newest = await grow(ledger, numbers, 5)
        assert (await ledger.checkpoints.shown()).size == size
    await ledger.checkpoints.add(newest, cosigned(newest, clock))
    assert is_cosigned(await ledger.checkpoints.shown())
    await grow(ledger, numbers, 5)
    assert (await ledger.checkpoints.shown()).size == 30


async def test_it_is_known_how_long_a_log_has_not_been_cosigned_though_nobody_asks(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.ledger.witnessed.LOOK_SECONDS", 0.02)
    monkeypatch.setattr("services.ledger.witnessed.PATIENCE_SECONDS", 0.1)
    numbers = count()
    first = await grow(ledger, numbers, 5)
    checkpoints = WitnessedCheckpoints(ledger.pool, SystemClock())
    await checkpoints.add(first, first.note)
    looking = asyncio.create_task(checkpoints.run())
    try:
        await grow(ledger, numbers, 5)
        await asyncio.sleep(0.5)
        assert (await ledger.replica().checkpoints.shown()).size == 10
    finally:
        looking.cancel()


async def test_a_log_that_ended_is_shown_to_its_end_though_nobody_asks_or_cosigns_it(
    ledger: Ledger, clock: ManualClock
) -> None:
    newest = await grow(ledger, count(), 5)
    await ledger.checkpoints.add(newest, cosigned(newest, clock))
    await Closing(ledger.pool, ledger.keys.note_signer, clock, uuid4).close("log.vitne.example/2027")
    for _ in range(11):
        await ledger.checkpoints.look()
        clock.advance(timedelta(seconds=1))
    assert (await ledger.checkpoints.shown(newest.shard)).size == 6


@pytest.mark.parametrize(("grown", "is_shown"), [(0, True), (5, False)])
async def test_a_release_that_is_brought_in_begins_with_no_less_than_was_shown(
    ledger: Ledger, clock: ManualClock, grown: int, is_shown: bool
) -> None:
    """What witnesses cosigned, if that is all of the log; nobody knows for how long they have been silent."""
    numbers = count()
    first = await grow(ledger, numbers, 5)
    await ledger.checkpoints.add(first, cosigned(first, clock))
    if grown:
        await grow(ledger, numbers, grown)
    (folder,) = (part.folder for part in MIGRATIONS if part.component == "ledger")
    await ledger.pool.execute("DROP TABLE shown_checkpoint")
    await ledger.pool.execute((folder / "0010_shown.sql").read_text())
    shown = await ledger.checkpoints.shown()
    assert (shown.size, is_cosigned(shown)) == (5 + grown, is_shown)


async def as_the_release_before(ledger: Ledger, checkpoint: StoredCheckpoint, clock: ManualClock) -> None:
    """Keep what was cosigned, without a word of what is shown."""
    await ledger.pool.execute(
        "INSERT INTO witnessed_checkpoint (cosigned, shard, size, note) SELECT max(cosigned) + interval '1 second', "
        "1, $1, $2 FROM witnessed_checkpoint",
        checkpoint.size,
        cosigned(checkpoint, clock),
    )


async def test_what_the_release_before_cosigns_beside_this_one_is_shown(ledger: Ledger, clock: ManualClock) -> None:
    numbers = count()
    first = await grow(ledger, numbers, 5)
    await ledger.checkpoints.add(first, cosigned(first, clock))
    for size in (10, 15):
        await as_the_release_before(ledger, await grow(ledger, numbers, 5), clock)
        shown = await ledger.replica().checkpoints.shown()
        assert (shown.size, is_cosigned(shown)) == (size, True)
    # Also where only what the log had signed was shown, once it is all of it.
    await ledger.pool.execute("DELETE FROM shown_checkpoint")
    newest = await grow(ledger, numbers, 5)
    assert not is_cosigned(await ledger.checkpoints.shown())
    await as_the_release_before(ledger, newest, clock)
    assert is_cosigned(await ledger.checkpoints.shown())


async def test_what_is_cosigned_after_something_larger_is_not_kept(ledger: Ledger, clock: ManualClock) -> None:
    """What has all of a log that ended is its last one, which alone is kept for ever."""
    numbers = count()
    smaller, larger = await grow(ledger, numbers, 5), await grow(ledger, numbers, 5)
    for each in (larger, smaller, larger):
        await ledger.checkpoints.add(each, cosigned(each, clock))
    rows = await ledger.pool.fetch("SELECT size FROM witnessed_checkpoint ORDER BY cosigned")
    assert [row["size"] for row in rows] == [10, 10]
