"""A ledger's database as it is, and as it was: for tests of what others have of its log."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import asyncpg
from aiohttp import web

from services.auditor import log_command
from services.ledger.witnesses import Cosigning
from services.ledger.witnesses import Witness as AskedWitness
from services.witness.memory import Memory
from services.witness.pages import build_pages
from services.witness.witness import Witness
from tests.integration.ledger_harness import Ledger, make_ledger, served
from tests.integration.test_ledger_log import issued, queue
from tests.unit.log_samples import cosigner
from vitne.clock import ManualClock
from vitne.dev.ports import LOOPBACK
from vitne.dev.postgres import EmbeddedPostgres
from vitne.merkle.witnessing import SIZE_MEDIA_TYPE
from vitne.runtime.database import MeasuredPool

NAMES = [cosigner(number).key.name for number in range(2)]


@dataclass
class PutBack:
    """A ledger with 300 leaves that two witnesses saw, and its database of when it had 100.

    Attributes:
        newest: with all leaves.
        back: the same keys over the database of before.
        databases: their names, in this order.
        witnesses: prefixes of the witnesses, by their names.
        policy: that names both, with their addresses.
    """

    newest: Ledger
    back: Ledger
    databases: tuple[str, str]
    witnesses: dict[str, str]
    policy: Path

    def cosigning(self, ledger: Ledger, *, told: bool = True) -> Cosigning:
        asked = [AskedWitness(cosigner(number).key, self.witnesses[name]) for number, name in enumerate(NAMES)]
        hook = ledger.outside(self.witnesses).contradicted if told else None
        return Cosigning(ledger.store, ledger.checkpoints, asked, 2, ledger.clock, contradicted=hook)

    async def audit(self, ledger: Ledger, *, settle: int = 0) -> int:
        """The exit code of ``vitne-audit`` over what a ledger serves."""
        async with served(ledger.pages()) as url:
            given = ["--url", url, "--policy", str(self.policy), "--settle", str(settle)]
            return await asyncio.to_thread(log_command.main, given)


async def grow(ledger: Ledger, first: int, count: int) -> None:
    sequencer = ledger.sequencer()
    await sequencer.claim()
    await queue(ledger, issued(first, count))
    await sequencer.integrate()


@asynccontextmanager
async def make_put_back(postgres: EmbeddedPostgres, clock: ManualClock, tmp_path: Path) -> AsyncIterator[PutBack]:
    """Make them; the databases go in the end."""
    names = [f"test_{uuid.uuid4().hex}" for _ in range(2)]
    dsn = await postgres.create_database(names[0])
    pool = await asyncpg.create_pool(dsn, min_size=1, max_size=4)
    await grow(await make_ledger(dsn, pool, clock, tmp_path), 0, 100)
    await pool.close()
    pools = [
        # Without a connection at rest, which a pool would make anew while its database gets another name.
        await MeasuredPool(each, name="ledger", min_size=0, max_size=4)
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
        made = PutBack(newest, back, (names[0], names[1]), witnesses, policy)
        await grow(newest, 100, 200)
        assert await made.cosigning(newest).cosign_due()
        yield made
    for pool in pools:
        pool.terminate()
    for name in names:
        await postgres.drop_database(name)


@dataclass
class Way:
    """The way to a witness.

    Attributes:
        shut: nobody is there.
        in_pieces: what the witness answers comes piece by piece.
        padding: what is put after it.
        before: is done before it is asked for what it cosigned last.
        before_cosigning: is done before it is asked to cosign.
        claimed: the size that it says it cosigned, instead of cosigning.
    """

    shut: bool = False
    in_pieces: bool = False
    padding: bytes = b""
    before: Callable[[], Awaitable[None]] | None = None
    before_cosigning: Callable[[], Awaitable[None]] | None = None
    claimed: int | None = None


@asynccontextmanager
async def asking(witness: str) -> AsyncIterator[tuple[str, Way]]:
    """A witness over a way that can be bad."""
    way = Way()

    async def passed_on(request: web.Request) -> web.StreamResponse:
        if way.shut:
            return web.Response(status=503)
        before = way.before if request.method == "GET" else way.before_cosigning
        if before is not None:
            await before()
        if way.claimed is not None and request.method == "POST":
            return web.Response(status=409, text=f"{way.claimed}\n", content_type=SIZE_MEDIA_TYPE)
        body = await request.read()
        async with (
            aiohttp.ClientSession() as session,
            session.request(request.method, f"{witness}{request.path}", data=body or None) as given,
        ):
            answer = web.StreamResponse(status=given.status, headers={"Content-Type": given.headers["Content-Type"]})
            data = await given.read() + way.padding
        await answer.prepare(request)
        cut = len(data) // 2 if way.in_pieces else len(data)
        for piece in (data[:cut], data[cut:]):
            await answer.write(piece)
            await asyncio.sleep(0.05)
        await answer.write_eof()
        return answer

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", passed_on)
    async with running_at(app) as url:
        yield url, way


@asynccontextmanager
async def running_at(app: web.Application) -> AsyncIterator[str]:
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, LOOPBACK, 0).start()
    try:
        yield f"http://{LOOPBACK}:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
