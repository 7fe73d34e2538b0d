"""The log by itself: leaves in, proofs out, a restart. Its database is a real one that waits for its disk."""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc

from bench.load import Measured, closed, percentile
from bench.parts import Parts
from bench.resources import rss_mib
from bench.results import Finding
from bench.session import Case
from services.ledger.keys import LedgerKeys
from services.ledger.log_store import LogStore, queue_leaves
from services.ledger.sequencer import Sequencer
from services.ledger.settings import DEFAULT_LOG_ORIGIN, DEFAULT_SEQUENCE_INTERVAL_SECONDS
from services.ledger.wiring import MIGRATIONS
from vitne.clock import SystemClock
from vitne.dev.ports import LOOPBACK
from vitne.identifiers import UuidFactory
from vitne.merkle.hashing import leaf_hash
from vitne.merkle.leaves import Issued
from vitne.runtime.custody import FileKeyCustody
from vitne.runtime.database import open_pool
from vitne.runtime.migrations import migrate
from vitne_api.ledger.v1 import ledger_pb2, ledger_pb2_grpc

_DATABASE: Final = "bench_log"
#: Leaves that are queued in one transaction, as a consumer does with its events; and who queues at a time.
_GROUP: Final = 500
_QUEUING: Final = 4
#: Leaves that may wait: beyond it one of them would wait for longer than a second.
_MOST_WAITING: Final = 10_000
_SECONDS: Final = 6.0
_MILLION: Final = 1_000_000
_COPIED: Final = 100_000
#: Proofs that are made at a time.
_AT_A_TIME: Final = 64
#: Leaves that are asked for.
_ASKED: Final = 20_000
#: What a leaf may take to be in the log.
_WITHIN: Final = 1.0
_READY_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Log:
    """The ledger's database with its one writer."""

    dsn: str
    pool: Any
    sequencer: Sequencer


@asynccontextmanager
async def open_log(dsn: str, state: Path) -> AsyncIterator[Log]:
    """A log in a database, begun or gone on with; ``state`` is the folder of its keys."""
    await migrate(dsn, MIGRATIONS)
    pool = await open_pool(dsn)
    try:
        keys = LedgerKeys.ensure(FileKeyCustody(state / "ledger"))
        clock = SystemClock()
        sequencer = Sequencer(
            pool,
            DEFAULT_LOG_ORIGIN,
            keys.note_signer,
            clock,
            UuidFactory(clock),
            interval=DEFAULT_SEQUENCE_INTERVAL_SECONDS,
        )
        await sequencer.claim()
        yield Log(dsn, pool, sequencer)
    finally:
        await pool.close()


async def queue_random(log: Log, leaves: int) -> list[bytes]:
    """Put leaves that nobody has seen on the queue, as fast as can be; the leaves."""
    records = [Issued(secrets.token_bytes(32)).to_bytes() for _ in range(leaves)]
    await log.pool.copy_records_to_table("queued_leaf", columns=("record",), records=[(record,) for record in records])
    return records


@asynccontextmanager
async def _open(parts: Parts) -> AsyncIterator[Log]:
    """An empty one."""
    async with open_log(await parts.empty_database(_DATABASE), parts.state) as log:
        yield log


async def append(parts: Parts) -> None:
    """Groups are committed to the queue while the sequencer takes them off; latencies are a group's, to its place."""
    async with _open(parts) as log:
        waiting: deque[float] = deque()
        room = asyncio.Semaphore(_MOST_WAITING // _GROUP)
        waits: list[float] = []
        ending = False

        async def queue() -> None:
            while not ending:
                await room.acquire()
                leaves = [Issued(secrets.token_bytes(32)).to_bytes() for _ in range(_GROUP)]
                async with log.pool.acquire() as connection, connection.transaction():
                    await queue_leaves(connection, leaves)
                waiting.append(time.perf_counter())

        async def integrate() -> None:
            taken = 0
            while not (ending and not waiting):
                taken += await log.sequencer.integrate()
                now = time.perf_counter()
                while taken >= _GROUP and waiting:
                    taken -= _GROUP
                    waits.append(now - waiting.popleft())
                    room.release()
                await asyncio.sleep(0)

        started = time.perf_counter()
        async with asyncio.TaskGroup() as tasks:
            queuing = [tasks.create_task(queue()) for _ in range(_QUEUING)]
            integrating = tasks.create_task(integrate())
            await asyncio.sleep(parts.session.seconds(_SECONDS))
            ending = True
            await asyncio.wait(queuing)
            await integrating
        rate = len(waits) * _GROUP / (time.perf_counter() - started)
        if percentile(waits, 0.99) > _WITHIN and not parts.session.quick:
            raise AssertionError(f"leaves took {percentile(waits, 0.99):.2f} s to be in the log")
        parts.session.record(Finding("log.append", rate, waits, rss_mib=rss_mib(os.getpid())))


async def million(parts: Parts) -> None:
    """A million leaves: integrated; then proved, at random; then the ledger that holds them is started."""
    leaves = parts.session.amount(_MILLION)
    async with _open(parts) as log:
        asked = await _fill(parts, log, leaves)
        started = time.perf_counter()
        while await log.sequencer.integrate():
            pass
        rate = leaves / (time.perf_counter() - started)
        parts.session.record(Finding("log.append.bulk", rate, rss_mib=rss_mib(os.getpid())))
        await log.pool.execute("VACUUM ANALYZE leaf, tile, queued_leaf")
        store = LogStore(log.pool)

        async def operation(number: int) -> None:
            await store.prove_inclusion(asked[number % len(asked)])

        parts.session.say("proving each of them once: most tiles are in memory then")
        for start in range(0, len(asked), _AT_A_TIME):
            await asyncio.gather(*(operation(number) for number in range(start, start + _AT_A_TIME)))
        measured = await closed(operation, _AT_A_TIME, parts.session.seconds(5))
        dsn = log.dsn
    await _restart(parts, dsn, asked, measured)


async def _fill(parts: Parts, log: Log, leaves: int) -> list[bytes]:
    """Queue leaves; the hashes of some of them, taken at random."""
    parts.session.say(f"queueing {leaves:,} leaves")
    asked: list[bytes] = []
    for start in range(0, leaves, _COPIED):
        records = await queue_random(log, min(_COPIED, leaves - start))
        asked += [leaf_hash(record) for record in records[:: max(1, leaves // _ASKED)]]
    secrets.SystemRandom().shuffle(asked)
    return asked


async def _restart(parts: Parts, dsn: str, asked: list[bytes], proved: Measured) -> None:
    """The ledger's process with that database, until it says that it is ready; then it proves each of the leaves once.

    What memory proofs take is its to say: this process holds all that benchmarks load, beside the tiles.
    """
    settings = {
        "database_dsn": dsn,
        "audience": "bench",
        "identity_issuer": f"http://{LOOPBACK}:9",  # nobody asks for a token
        "operator": "0192:919477822",
    }
    async with parts.service("ledger", _READY_SECONDS, **settings) as started:
        pid = started.process.pid
        parts.session.record(Finding("log.restart.1e6", started.seconds, rss_mib=rss_mib(pid)))
        async with grpc.aio.insecure_channel(started.grpc_address) as channel:
            stub = ledger_pb2_grpc.LedgerServiceStub(channel)
            for start in range(0, len(asked), _AT_A_TIME):
                some = asked[start : start + _AT_A_TIME]
                await asyncio.gather(
                    *(stub.GetInclusionProof(ledger_pb2.GetInclusionProofRequest(leaf_hash=leaf)) for leaf in some)
                )
        parts.session.record(Finding.rate("log.proof.1e6", proved, rss_mib=rss_mib(pid)))


CASES: Final = (
    Case(("log.append",), append),
    Case(("log.append.bulk", "log.proof.1e6", "log.restart.1e6"), million),
)
