"""A ledger's process over a database that was put back: what :mod:`services.ledger.outside` finds reaches all parts."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from services.ledger.closing import Closing, Succeeded
from services.ledger.settings import LedgerSettings
from services.ledger.wiring import build, succeed
from tests.integration.ledger_harness import ORIGIN, eventually
from tests.integration.put_back import NAMES, PutBack, asking, make_put_back
from tests.integration.test_ledger_log import issued, queue
from tests.unit.log_samples import cosigner
from vitne.clock import ManualClock, SystemClock
from vitne.dev.ports import LOOPBACK, free_ports
from vitne.dev.postgres import EmbeddedPostgres
from vitne.errors import DataLoss
from vitne.runtime.objects.folder import FolderObjects

STOPPED = "the log must not be written: LOG_ROLLED_BACK"
STANDS_STILL = "the log stands still: LOG_ROLLED_BACK"


@pytest.fixture
async def put_back(postgres: EmbeddedPostgres, clock: ManualClock, tmp_path: Path) -> AsyncIterator[PutBack]:
    async with make_put_back(postgres, clock, tmp_path) as made:
        yield made


class NoTokens:
    """Nobody calls."""

    async def verify(self, token: str) -> Any:
        raise AssertionError(token)


def settings_of(put_back: PutBack, dsn: str, **more: Any) -> LedgerSettings:
    return LedgerSettings(
        environment="development",
        database_dsn=dsn,
        kafka_bootstrap_servers=f"{LOOPBACK}:{free_ports(1)[0]}",
        state_dir=put_back.back.state,
        log_origin=ORIGIN,
        **more,
    )


@asynccontextmanager
async def running(settings: LedgerSettings, pool: Any) -> AsyncIterator[None]:
    application = build(settings, pool, SystemClock(), NoTokens())
    process = asyncio.create_task(application.run())
    await asyncio.wait_for(application.started.wait(), 60)
    try:
        yield
    finally:
        application.stop()
        await process


def witnesses(put_back: PutBack, **urls: str) -> dict[str, str]:
    return {cosigner(n).key.text: urls.get(f"w{n}", put_back.witnesses[name]) for n, name in enumerate(NAMES)}


async def says(caplog: pytest.LogCaptureFixture, text: str) -> None:
    await eventually(lambda: asyncio.sleep(0, text in caplog.text))


async def test_a_process_asks_before_it_writes(
    put_back: PutBack, postgres: EmbeddedPostgres, caplog: pytest.LogCaptureFixture
) -> None:
    back = put_back.back
    await queue(back, issued(9_000, 10))
    before = dict(await back.pool.fetchrow("SELECT origin, size, root, checkpoint FROM log"))
    settings = settings_of(put_back, postgres.dsn(put_back.databases[1]), witnesses=witnesses(put_back))
    async with running(settings, back.pool):
        await says(caplog, STANDS_STILL)
    assert dict(await back.pool.fetchrow("SELECT origin, size, root, checkpoint FROM log")) == before


async def test_a_process_whose_witness_is_heard_later_stops(
    put_back: PutBack, postgres: EmbeddedPostgres, caplog: pytest.LogCaptureFixture
) -> None:
    back = put_back.back
    async with asking(put_back.witnesses[NAMES[0]]) as (url, way):
        way.shut = True
        nowhere = f"http://{LOOPBACK}:{free_ports(1)[0]}"
        settings = settings_of(
            put_back,
            postgres.dsn(put_back.databases[1]),
            witnesses=witnesses(put_back, w0=url, w1=nowhere),
            witness_interval_seconds=0.1,
        )
        async with running(settings, back.pool):
            await queue(back, issued(9_000, 10))
            await eventually(lambda: back.pool.fetchval("SELECT size = 110 FROM log"))
            way.shut = False
            await stops(back.pool, caplog)


async def test_a_process_whose_storage_shows_more_later_stops(
    put_back: PutBack, postgres: EmbeddedPostgres, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    back = put_back.back
    await put_back.newest.publication(FolderObjects(tmp_path / "newest")).publish()
    storage = tmp_path / "storage"
    settings = settings_of(
        put_back,
        postgres.dsn(put_back.databases[1]),
        storage=f"file://{storage}",
        publication_interval_seconds=0.1,
    )
    async with running(settings, back.pool):
        await eventually(lambda: asyncio.sleep(0, (storage / "checkpoint").exists()))
        shutil.copy(tmp_path / "newest" / "checkpoint", storage / "checkpoint")
        await stops(back.pool, caplog)


async def stops(pool: asyncpg.Pool, caplog: pytest.LogCaptureFixture) -> None:
    """The ledger finds the contradiction by itself, and what is queued from then on is not written."""
    await says(caplog, STOPPED)
    size = await pool.fetchval("SELECT size FROM log")
    await queue_one(pool)
    await says(caplog, STANDS_STILL)
    assert await pool.fetchval("SELECT size FROM log") == size


async def queue_one(pool: asyncpg.Pool) -> None:
    await pool.execute("INSERT INTO queued_leaf (record) VALUES ($1)", issued(9_500, 1)[0].to_bytes())


@pytest.mark.parametrize("by", ["a witness", "the storage"])
async def test_a_log_that_went_back_is_neither_closed_nor_given_another_key(
    put_back: PutBack, postgres: EmbeddedPostgres, tmp_path: Path, by: str
) -> None:
    await put_back.newest.publication(FolderObjects(tmp_path / "storage")).publish()
    more: dict[str, Any] = (
        {"witnesses": witnesses(put_back)} if by == "a witness" else {"storage": f"file://{tmp_path / 'storage'}"}
    )

    async def work(_closing: Closing) -> Succeeded:
        raise AssertionError

    with pytest.raises(DataLoss, match="LOG_ROLLED_BACK"):
        await succeed(settings_of(put_back, postgres.dsn(put_back.databases[1]), **more), work)
