"""A ledger whose database was put back to an earlier instant: what others have of its log keeps it from writing."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest
from aiohttp import web

from services.auditor import log_command
from services.ledger.reconcile import Reconciliation
from services.ledger.witnesses import Cosigning
from services.ledger.witnesses import Witness as AskedWitness
from services.witness.memory import Memory
from services.witness.pages import build_pages
from services.witness.witness import Witness
from tests.integration.ledger_harness import BASE_URL, LIFETIME, LIST_SIZE, ORIGIN, Ledger, make_ledger, served
from tests.integration.published import published
from tests.integration.test_ledger_log import issued, queue
from tests.unit.log_samples import SampleLog, cosigner, note_signer
from vitne.clock import ManualClock
from vitne.dev.ports import LOOPBACK, free_ports
from vitne.dev.postgres import EmbeddedPostgres
from vitne.errors import Aborted, DataLoss
from vitne.messaging import topics
from vitne.runtime.objects.folder import FolderObjects

NAMES = [cosigner(number).key.name for number in range(2)]


@dataclass
class PutBack:
    """A ledger with 300 leaves that two witnesses saw, and its database of when it had 100.

    Attributes:
        newest: with all leaves.
        back: the same keys over the database of before.
        witnesses: prefixes of the witnesses, by their names.
        policy: that names both, with their addresses.
    """

    newest: Ledger
    back: Ledger
    witnesses: dict[str, str]
    policy: Path

    def cosigning(self, ledger: Ledger, *, told: bool = True) -> Cosigning:
        asked = [AskedWitness(cosigner(number).key, self.witnesses[name]) for number, name in enumerate(NAMES)]
        hook = ledger.outside(self.witnesses).contradicted if told else None
        return Cosigning(ledger.store, ledger.checkpoints, asked, 2, ledger.clock, contradicted=hook)

    async def audit(self, ledger: Ledger) -> int:
        """The exit code of ``vitne-audit`` over what a ledger serves."""
        async with served(ledger.pages()) as url:
            given = ["--url", url, "--policy", str(self.policy), "--settle", "0"]
            return await asyncio.to_thread(log_command.main, given)


async def grow(ledger: Ledger, first: int, count: int) -> None:
    sequencer = ledger.sequencer()
    await sequencer.claim()
    await queue(ledger, issued(first, count))
    await sequencer.integrate()


@pytest.fixture
async def put_back(postgres: EmbeddedPostgres, clock: ManualClock, tmp_path: Path) -> AsyncIterator[PutBack]:
    names = [f"test_{uuid.uuid4().hex}" for _ in range(2)]
    dsn = await postgres.create_database(names[0])
    pool = await asyncpg.create_pool(dsn, min_size=1, max_size=4)
    await grow(await make_ledger(dsn, pool, clock, tmp_path), 0, 100)
    await pool.close()
    pools = [
        await asyncpg.create_pool(each, min_size=1, max_size=4)
        for each in (await postgres.create_database(names[1], template=names[0]), dsn)
    ]
    back, newest = (Ledger(pool, clock, tmp_path) for pool in pools)
    async with AsyncExitStack() as stack:
        witnesses = {}
        for number, name in enumerate(NAMES):
            memory = stack.enter_context(Memory(tmp_path / f"w{number}"))
            app = build_pages(Witness(cosigner(number), [newest.note_signer.key], memory, clock))
            witnesses[name] = await stack.enter_async_context(served(app))
        policy = tmp_path / "policy"
        lines = [f"witness w{number} {cosigner(number).key.text} {witnesses[NAMES[number]]}" for number in range(2)]
        policy.write_text(
            "\n".join([f"log {newest.note_signer.key.text}", *lines, "group all all w0 w1", "quorum all"])
        )
        made = PutBack(newest, back, witnesses, policy)
        await grow(newest, 100, 200)
        assert await made.cosigning(newest).cosign_due()
        yield made
    for pool in pools:
        pool.terminate()
    for name in names:
        await postgres.drop_database(name)


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
    cosigning = put_back.cosigning(back)
    assert not await cosigning.cosign_due()
    with pytest.raises(Aborted, match="SEQUENCER_FENCED"):
        await writing.integrate()
    with pytest.raises(DataLoss, match="LOG_ROLLED_BACK"):
        await sequencer.claim()
    epoch = await back.pool.fetchval("SELECT epoch FROM log")
    assert not await cosigning.cosign_due()
    assert await back.pool.fetchval("SELECT epoch FROM log") == epoch, "it is stopped once"
    assert (await back.checkpoint()).size == 100


async def test_statements_that_are_none_keep_the_log_from_being_written(put_back: PutBack) -> None:
    newest = put_back.newest
    await newest.pool.execute("INSERT INTO succession (number, statement, stated) VALUES (1, 'nothing', now())")
    with pytest.raises(DataLoss, match="LOG_CORRUPT"):
        await newest.sequencer(outside=newest.outside(put_back.witnesses)).claim()


@asynccontextmanager
async def saying(note: str) -> AsyncIterator[str]:
    """A witness that says it cosigned 999 leaves, and shows a note for it."""

    async def add_checkpoint(_request: web.Request) -> web.Response:
        return web.Response(status=409, text="999\n", content_type="text/x.tlog.size")

    async def checkpoint(_request: web.Request) -> web.Response:
        return web.Response(text=note)

    app = web.Application()
    app.router.add_post("/add-checkpoint", add_checkpoint)
    app.router.add_get("/{hashed}/checkpoint", checkpoint)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, LOOPBACK, 0).start()
    try:
        yield f"http://{LOOPBACK}:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("shows", ["a stranger's note", "no note"])
async def test_no_witness_stops_a_log_by_its_word(put_back: PutBack, shows: str) -> None:
    newest = put_back.newest
    stranger = SampleLog(note_signer(9)).append(leaf.to_bytes() for leaf in issued(0, 999))
    async with saying(stranger.note() if shows == "a stranger's note" else "nothing") as url:
        sequencer = newest.sequencer(outside=newest.outside({NAMES[0]: url}))
        await sequencer.claim()
        asked = [AskedWitness(cosigner(0).key, url)]
        hook = newest.outside({NAMES[0]: url}).contradicted
        cosigning = Cosigning(newest.store, newest.checkpoints, asked, 1, newest.clock, contradicted=hook)
        await queue(newest, issued(9_000, 10))
        assert await sequencer.integrate() == 10
        assert not await cosigning.cosign_due()
        await queue(newest, issued(9_100, 10))
        assert await sequencer.integrate() == 10
