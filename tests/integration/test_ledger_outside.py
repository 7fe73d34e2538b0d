"""A ledger whose database was put back to an earlier instant: what others have of its log keeps it from writing."""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path

import asyncpg
import pytest
from aiohttp import web

from services.ledger.reconcile import Reconciliation
from services.ledger.witnesses import MAX_ANSWER_BYTES, Cosigning
from services.ledger.witnesses import Witness as AskedWitness
from tests.integration.ledger_harness import BASE_URL, LIFETIME, LIST_SIZE, ORIGIN, Ledger, eventually
from tests.integration.published import published
from tests.integration.put_back import NAMES, PutBack, asking, grow, make_put_back, running_at
from tests.integration.test_ledger_log import issued, queue
from tests.unit.declared_metrics import samples
from tests.unit.log_samples import SampleLog, cosigner, note_signer
from vitne.clock import ManualClock
from vitne.dev.ports import LOOPBACK, free_ports
from vitne.dev.postgres import EmbeddedPostgres
from vitne.errors import Aborted, DataLoss
from vitne.messaging import topics
from vitne.runtime.objects.folder import FolderObjects


def answers() -> Counter[tuple[str, ...]]:
    """How often witnesses gave no cosignature, by their names and the reasons, since the process began."""
    counted = samples("vitne_log_witness_answers_total")
    return Counter({labels: int(value) for labels, value in counted.items()})


@pytest.fixture
async def put_back(postgres: EmbeddedPostgres, clock: ManualClock, tmp_path: Path) -> AsyncIterator[PutBack]:
    async with make_put_back(postgres, clock, tmp_path) as made:
        yield made


async def test_a_database_that_went_back_is_not_written_until_it_is_put_in_step(
    put_back: PutBack, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    newest, back = put_back.newest, put_back.back
    await queue(back, issued(9_000, 10))
    before = dict(await back.pool.fetchrow("SELECT * FROM log"))
    sequencer = back.sequencer(outside=back.outside(put_back.witnesses))
    with pytest.raises(DataLoss, match="LOG_ROLLED_BACK"):
        await sequencer.claim()
    running = asyncio.create_task(sequencer.run())
    await asyncio.sleep(0.3)
    running.cancel()
    assert "the log stands still: LOG_ROLLED_BACK" in caplog.text
    assert dict(await back.pool.fetchrow("SELECT * FROM log")) == before
    assert await put_back.audit(back) == 1
    assert "log.rolled_back" in capsys.readouterr().out
    assert await put_back.audit(newest) == 0

    work = Reconciliation(
        back.pool,
        origin=ORIGIN,
        signers=back.keys.note_signer,
        orders=back.orders,
        clock=back.clock,
        new_id=uuid.uuid4,
        base_url=BASE_URL,
        list_size=LIST_SIZE,
        lifetime=LIFETIME,
    )
    told = [await published(newest.pool, topic) for topic in (topics.LEDGER_STATUS, topics.LEDGER_LOG)]
    await work.run(*told)
    await sequencer.claim()
    assert await sequencer.integrate() == 10
    assert (await back.checkpoint()).size == 310
    assert await put_back.cosigning(back).cosign_due()
    assert await put_back.audit(back) == 0


async def test_what_went_back_and_was_written_is_a_fork_and_is_not_written_further(
    put_back: PutBack, capsys: pytest.CaptureFixture[str]
) -> None:
    back = put_back.back
    await grow(back, 9_000, 250)  # as a ledger did that asked nobody
    with pytest.raises(DataLoss, match="LOG_FORKED"):
        await back.sequencer(outside=back.outside(put_back.witnesses)).claim()
    assert await put_back.audit(back) == 1
    assert "log.forked" in capsys.readouterr().out


async def test_a_storage_that_has_more_of_the_log_keeps_it_from_being_written(
    put_back: PutBack, tmp_path: Path
) -> None:
    objects = FolderObjects(tmp_path / "storage")
    await put_back.newest.publication(objects).publish()
    for ledger, agrees in ((put_back.newest, True), (put_back.back, False)):
        sequencer = ledger.sequencer(outside=ledger.outside(objects=objects))
        if agrees:
            await sequencer.claim()
            continue
        with pytest.raises(DataLoss, match=r"LOG_ROLLED_BACK: the storage has 300 leaves"):
            await sequencer.claim()


async def test_whoever_is_out_of_reach_stops_nothing(put_back: PutBack, caplog: pytest.LogCaptureFixture) -> None:
    back = put_back.back
    nowhere = {name: f"http://{LOOPBACK}:{port}" for name, port in zip(NAMES, free_ports(2), strict=True)}
    await back.sequencer(outside=back.outside(nowhere)).claim()
    assert caplog.text.count("was not heard before the log is written") == 2


async def test_a_contradiction_that_is_met_later_stops_whoever_writes(put_back: PutBack) -> None:
    back = put_back.back
    sequencer = back.sequencer(outside=back.outside(put_back.witnesses))
    await back.sequencer().claim()
    writing = back.sequencer()  # its witnesses were out of reach
    await writing.claim()
    await queue(back, issued(9_000, 10))
    cosigning, before = put_back.cosigning(back), answers()
    assert not await cosigning.cosign_due()
    names = [cosigner(number).key.name for number in range(2)]
    # What is proved is counted once, as of who has the proof.
    told = [*((name, "WITNESS_CONTRADICTS") for name in names), (names[0], "LOG_ROLLED_BACK")]
    assert answers() - before == Counter(told)
    with pytest.raises(Aborted, match="SEQUENCER_FENCED"):
        await writing.integrate()
    with pytest.raises(DataLoss, match="LOG_ROLLED_BACK"):
        await sequencer.claim()
    again = back.sequencer()  # whose witnesses are out of reach, too, and which claims at the same tree
    await again.claim()
    assert not await cosigning.cosign_due()
    with pytest.raises(Aborted, match="SEQUENCER_FENCED"):
        await again.integrate()
    assert (await back.checkpoint()).size == 100


async def test_an_audit_waits_for_what_a_witness_has_seen_and_the_log_does_not_show_yet(put_back: PutBack) -> None:
    """A witness remembers a checkpoint as it cosigns it; the log shows it when the others have, too."""
    newest = put_back.newest
    asked_late, go_on = asyncio.Event(), asyncio.Event()
    async with asking(put_back.witnesses[NAMES[1]]) as (url, way):

        async def wait() -> None:
            asked_late.set()
            await go_on.wait()

        way.before_cosigning = wait
        urls = {NAMES[0]: put_back.witnesses[NAMES[0]], NAMES[1]: url}
        asked = [AskedWitness(cosigner(number).key, urls[name]) for number, name in enumerate(NAMES)]
        await grow(newest, 9_000, 10)
        cosigning = asyncio.create_task(
            Cosigning(newest.store, newest.checkpoints, asked, 2, newest.clock).cosign_due()
        )
        await asked_late.wait()
        await asyncio.sleep(0.2)
        assert await put_back.audit(newest) == 1  # it is not told to wait
        auditing = asyncio.create_task(put_back.audit(newest, settle=30))
        await asyncio.sleep(0.5)
        assert not auditing.done()
        go_on.set()
        assert await cosigning
        assert await auditing == 0


async def test_what_contradicted_the_database_is_remembered_while_nobody_answers(put_back: PutBack) -> None:
    back = put_back.back
    async with asking(put_back.witnesses[NAMES[0]]) as (url, way):
        sequencer = back.sequencer(outside=back.outside({NAMES[0]: url}))
        with pytest.raises(DataLoss, match="LOG_ROLLED_BACK"):
            await sequencer.claim()
        way.shut = True
        with pytest.raises(DataLoss, match="LOG_ROLLED_BACK"):
            await sequencer.claim()


async def test_a_note_that_comes_in_pieces_counts_whole(put_back: PutBack) -> None:
    back, newest = put_back.back, put_back.newest
    async with asking(put_back.witnesses[NAMES[0]]) as (url, way):
        way.in_pieces = True
        with pytest.raises(DataLoss, match="LOG_ROLLED_BACK"):
            await back.sequencer(outside=back.outside({NAMES[0]: url})).claim()
        await grow(newest, 9_000, 10)
        asked = [AskedWitness(cosigner(0).key, url)]
        assert await Cosigning(newest.store, newest.checkpoints, asked, 1, newest.clock).cosign_due()


async def test_an_answer_without_end_is_none(put_back: PutBack, caplog: pytest.LogCaptureFixture) -> None:
    back, newest = put_back.back, put_back.newest
    async with asking(put_back.witnesses[NAMES[0]]) as (url, way):
        way.padding = b"x" * MAX_ANSWER_BYTES
        await back.sequencer(outside=back.outside({NAMES[0]: url})).claim()
        assert "was not heard before the log is written: too long an answer" in caplog.text
        await grow(newest, 9_000, 10)
        asked = [AskedWitness(cosigner(0).key, url)]
        assert not await Cosigning(newest.store, newest.checkpoints, asked, 1, newest.clock).cosign_due()
        assert "BAD_WITNESS_ANSWER" in caplog.text


async def test_a_log_that_grows_while_its_witness_is_asked_is_none_that_went_back(put_back: PutBack) -> None:
    newest = put_back.newest
    async with asking(put_back.witnesses[NAMES[0]]) as (url, way):

        async def grown() -> None:
            way.before = None
            await grow(newest, 9_000, 10)
            assert await put_back.cosigning(newest).cosign_due()

        way.before = grown
        await newest.outside({NAMES[0]: url}).require_agreement()
    assert (await newest.checkpoint()).size == 310


async def test_a_size_that_a_witness_said_once_by_mistake_is_not_kept(put_back: PutBack) -> None:
    newest = put_back.newest
    async with asking(put_back.witnesses[NAMES[0]]) as (url, way):
        cosigning = Cosigning(newest.store, newest.checkpoints, [AskedWitness(cosigner(0).key, url)], 1, newest.clock)
        await grow(newest, 9_000, 10)
        way.claimed = 999
        assert not await cosigning.cosign_due()
        way.claimed = None
        assert await cosigning.cosign_due()


async def test_who_cosigned_is_kept_though_another_contradicts_and_nobody_can_be_asked(put_back: PutBack) -> None:
    newest = put_back.newest

    async def fails() -> None:
        raise OSError("the database is away")

    async with asking(put_back.witnesses[NAMES[1]]) as (url, way):
        way.claimed = 999
        urls = {NAMES[0]: put_back.witnesses[NAMES[0]], NAMES[1]: url}
        asked = [AskedWitness(cosigner(number).key, urls[name]) for number, name in enumerate(NAMES)]
        await grow(newest, 9_000, 10)
        cosigning = Cosigning(newest.store, newest.checkpoints, asked, 1, newest.clock, contradicted=fails)
        with pytest.raises(OSError, match="away"):
            await cosigning.cosign_due()
    seen = await newest.checkpoints.newest_of((await newest.store.logs())[-1].shard)
    assert seen is not None
    assert seen.size == 310


async def test_a_replica_that_is_behind_another_in_cosigning_contradicts_nothing(
    put_back: PutBack, caplog: pytest.LogCaptureFixture
) -> None:
    newest = put_back.newest
    async with asking(put_back.witnesses[NAMES[0]]) as (url, way):

        async def grown() -> None:
            way.before_cosigning = None
            await grow(newest, 9_100, 10)
            assert await put_back.cosigning(newest).cosign_due()

        async def contradicted() -> None:
            raise AssertionError

        way.before_cosigning = grown
        asked = [AskedWitness(cosigner(0).key, url)]
        late = Cosigning(newest.store, newest.checkpoints, asked, 1, newest.clock, contradicted=contradicted)
        await grow(newest, 9_000, 10)
        assert not await late.cosign_due()
        assert "WITNESS_AHEAD" in caplog.text
        assert "LOG_ROLLED_BACK" not in caplog.text
        await grow(newest, 9_200, 10)
        assert await late.cosign_due()


class Halting(ManualClock):
    """A clock by which everybody sleeps until :attr:`go` is set."""

    def __init__(self, start: datetime) -> None:
        super().__init__(start)
        self.asleep, self.go = asyncio.Event(), asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        self.asleep.set()
        await self.go.wait()
        await asyncio.sleep(0.01)


async def test_a_database_that_is_exchanged_between_two_batches_is_claimed_anew(
    put_back: PutBack, postgres: EmbeddedPostgres, caplog: pytest.LogCaptureFixture
) -> None:
    """As a failover to a replica that lags, or a restore in the place of what runs."""
    newest, back = put_back.newest, put_back.back
    clock = Halting(newest.clock.now())
    pool = await asyncpg.create_pool(postgres.dsn(put_back.databases[0]), min_size=0, max_size=4)
    writer = Ledger(pool, clock, newest.state)
    running = asyncio.create_task(writer.sequencer(outside=writer.outside(put_back.witnesses)).run())
    try:
        await asyncio.wait_for(clock.asleep.wait(), 60)
        # As if the copy were of since this one writes: the epoch alone tells nothing.
        await back.pool.execute("UPDATE log SET epoch = $1", await newest.pool.fetchval("SELECT epoch FROM log"))
        await queue(back, issued(9_000, 10))
        before = dict(await back.pool.fetchrow("SELECT * FROM log"))
        await exchange(postgres, *put_back.databases)
        clock.go.set()
        await eventually(lambda: asyncio.sleep(0, "the log stands still: LOG_ROLLED_BACK" in caplog.text))
        assert dict(await pool.fetchrow("SELECT * FROM log")) == before
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        pool.terminate()


async def exchange(postgres: EmbeddedPostgres, first: str, second: str) -> None:
    """Put each database in the other's place; sessions of both end."""
    connection = await asyncpg.connect(postgres.dsn("postgres"))
    try:
        for old, new in ((first, f"{first}_kept"), (second, first), (f"{first}_kept", second)):
            await connection.fetch(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = $1", old
            )
            await connection.execute(f"ALTER DATABASE {old} RENAME TO {new}")
    finally:
        await connection.close()


async def test_statements_that_are_none_keep_the_log_from_being_written(put_back: PutBack) -> None:
    newest = put_back.newest
    await newest.pool.execute("INSERT INTO succession (number, statement, stated) VALUES (1, 'nothing', now())")
    with pytest.raises(DataLoss, match="LOG_CORRUPT"):
        await newest.sequencer(outside=newest.outside(put_back.witnesses)).claim()


@asynccontextmanager
async def saying(note: str, status: int) -> AsyncIterator[str]:
    """A witness that says it cosigned 999 leaves, or that a log does not follow, and shows a note for it."""

    async def add_checkpoint(_request: web.Request) -> web.Response:
        return web.Response(status=status, text="999\n", content_type="text/x.tlog.size")

    async def checkpoint(_request: web.Request) -> web.Response:
        return web.Response(text=note)

    app = web.Application()
    app.router.add_post("/add-checkpoint", add_checkpoint)
    app.router.add_get("/{hashed}/checkpoint", checkpoint)
    async with running_at(app) as url:
        yield url


async def test_what_is_proved_is_told_of_who_has_the_proof(put_back: PutBack, tmp_path: Path) -> None:
    """A witness complains that has nothing to show; the storage has."""
    back = put_back.back
    objects = FolderObjects(tmp_path / "storage")
    await put_back.newest.publication(objects).publish()
    async with saying("nothing", 422) as url:
        hook = back.outside({NAMES[0]: url}, objects).contradicted
        asked = [AskedWitness(cosigner(0).key, url)]
        await grow(back, 9_000, 10)
        before = answers()
        assert not await Cosigning(back.store, back.checkpoints, asked, 1, back.clock, contradicted=hook).cosign_due()
    told = [(cosigner(0).key.name, "WITNESS_CONTRADICTS"), ("the storage", "LOG_ROLLED_BACK")]
    assert answers() - before == Counter(told)


async def test_a_database_that_can_not_be_compared_is_not_written_and_nothing_is_called_proved(
    put_back: PutBack, caplog: pytest.LogCaptureFixture
) -> None:
    newest = put_back.newest
    sequencer = newest.sequencer()
    await sequencer.claim()
    await newest.pool.execute("INSERT INTO succession (number, statement, stated) VALUES (1, 'nothing', now())")
    assert await newest.outside(put_back.witnesses).contradicted() is None
    assert "the log must not be written: LOG_CORRUPT" in caplog.text
    await queue(newest, issued(9_000, 10))
    with pytest.raises(Aborted, match="SEQUENCER_FENCED"):
        await sequencer.integrate()


@pytest.mark.parametrize(
    ("status", "text", "says", "rule"),
    [
        (
            503,
            "CLOCK_WENT_BACK: the clock\x1b[2J says\n2026",
            'answered 503, and says: "CLOCK_WENT_BACK: the clock [2J says 2026"',
            "200 with",
        ),
        (500, "x" * 500, f'answered 500, and says: "{"x" * 200}"', "200 with"),
        (404, "", "answered 404;", "404 for a log"),
        (403, b"\xdcnbekannt", 'answered 403, and says: "nbekannt"', "404 for a log"),
        (403, "gateway " * 5000, 'answered 403, and says: "gateway gateway', "404 for a log"),
        (503, 'busy"; rule: none', 'answered 503, and says: "busy\'; rule: none"', "200 with"),
    ],
)
async def test_a_witness_that_refuses_is_told_with_what_it_says(
    put_back: PutBack, status: int, text: str | bytes, says: str, rule: str, caplog: pytest.LogCaptureFixture
) -> None:
    newest = put_back.newest

    async def refuse(_request: web.Request) -> web.Response:
        return web.Response(status=status, body=text)

    app = web.Application()
    app.router.add_post("/add-checkpoint", refuse)
    await grow(newest, 9_000, 10)
    async with running_at(app) as url:
        asked = [AskedWitness(cosigner(0).key, url)]
        assert not await Cosigning(newest.store, newest.checkpoints, asked, 1, newest.clock).cosign_due()
    (told,) = (record.getMessage() for record in caplog.records if "WITNESS_REFUSED" in record.getMessage())
    assert says in told
    assert f"rule: C2SP tlog-witness: {rule}" in told


@pytest.mark.parametrize("status", [409, 422])
@pytest.mark.parametrize("shows", ["a stranger's note", "no note"])
async def test_no_witness_stops_a_log_by_its_word(put_back: PutBack, shows: str, status: int) -> None:
    newest = put_back.newest
    stranger = SampleLog(note_signer(9)).append(leaf.to_bytes() for leaf in issued(0, 999))
    async with saying(stranger.note() if shows == "a stranger's note" else "nothing", status) as url:
        sequencer = newest.sequencer(outside=newest.outside({NAMES[0]: url}))
        await sequencer.claim()
        asked = [AskedWitness(cosigner(0).key, url)]
        hook = newest.outside({NAMES[0]: url}).contradicted
        cosigning = Cosigning(newest.store, newest.checkpoints, asked, 1, newest.clock, contradicted=hook)
        await queue(newest, issued(9_000, 10))
        assert await sequencer.integrate() == 10
        before = answers()
        assert not await cosigning.cosign_due()
        # Nobody is called by its word either: as what is proved it is counted under its own reason.
        assert answers() - before == Counter({(cosigner(0).key.name, "WITNESS_CONTRADICTS"): 1})
        await queue(newest, issued(9_100, 10))
        assert await sequencer.integrate() == 10
