"""A registry that has forgotten facts gets them again from its topic, as they were, and goes on after them."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from services.registry import store
from services.registry.reconcile import Reconciled, reconcile
from services.registry.wiring import MIGRATIONS
from tests.integration.published import published
from vitne.canonical import b64url, sha256
from vitne.clock import ManualClock
from vitne.dev.postgres import EmbeddedPostgres
from vitne.errors import DataLoss, FailedPrecondition
from vitne.messaging import topics
from vitne.messaging.headers import Message
from vitne.messaging.relay import LOCK_KEY
from vitne.runtime.migrations import migrate
from vitne_api.registry.v1 import facts_pb2

NOKUT, UIO = "0192:985042667", "0192:971035854"


@pytest.fixture
async def registry(database_dsn: str, pool: asyncpg.Pool, clock: ManualClock) -> asyncpg.Pool:
    """A database with facts of two subjects, two of them with leaves, and a heartbeat."""
    await migrate(database_dsn, MIGRATIONS)
    await record(pool, clock, facts_pb2.Fact(subject=NOKUT, authority=facts_pb2.Authority(id=NOKUT)))
    for number in range(2):
        key = facts_pb2.Key(id=b64url(sha256(bytes([number]))), revision=1, owner=UIO)
        await record(pool, clock, facts_pb2.Fact(subject=UIO, key=key))
    async with pool.acquire() as conn, conn.transaction():
        assert await store.beat(conn, at=clock.now(), not_since=clock.now(), new_id=uuid.uuid4)
    return pool


@pytest.fixture
async def restored(postgres: EmbeddedPostgres, registry: asyncpg.Pool) -> AsyncIterator[asyncpg.Pool]:
    """A database from before everything."""
    name = f"test_{uuid.uuid4().hex}"
    dsn = await postgres.create_database(name)
    await migrate(dsn, MIGRATIONS)
    pool = await asyncpg.create_pool(dsn, min_size=1, max_size=2)
    yield pool
    pool.terminate()
    await postgres.drop_database(name)


async def record(pool: asyncpg.Pool, clock: ManualClock, draft: facts_pb2.Fact) -> facts_pb2.Fact:
    async with pool.acquire() as conn, conn.transaction():
        newest = await store.lock_head(conn)
        return await store.append(conn, draft, newest=newest, actor=NOKUT, at=clock.now(), new_id=uuid.uuid4)


async def told(pool: asyncpg.Pool) -> list[list[Message]]:
    names = (topics.REGISTRY_FACTS, topics.REGISTRY_LEAVES, topics.REGISTRY_HEARTBEAT)
    return [await published(pool, name) for name in names]


async def put_in_step(pool: asyncpg.Pool, clock: ManualClock, *messages: list[Message]) -> Reconciled:
    return await reconcile(pool, *messages, clock=clock, new_id=uuid.uuid4)


async def rows(pool: asyncpg.Pool) -> list[dict[str, Any]]:
    return [dict(row) for row in await pool.fetch("SELECT * FROM fact ORDER BY registry_revision")]


async def test_facts_come_back_as_they_were_and_numbers_go_on(
    registry: asyncpg.Pool, restored: asyncpg.Pool, clock: ManualClock
) -> None:
    facts, leaves, beats = await told(registry)
    clock.advance(timedelta(hours=1))
    # As if the first had been there at the instant.
    assert (await put_in_step(restored, clock, facts[:1], [], [])).facts == 1
    done = await put_in_step(restored, clock, facts, leaves, beats)
    assert done == Reconciled(facts=2, leaves=0, revisions=4)
    assert await rows(restored) == await rows(registry)
    assert await put_in_step(restored, clock, facts, leaves, beats) == Reconciled(0, 0, 0)
    further = await record(restored, clock, facts_pb2.Fact(subject=UIO, provider=facts_pb2.Provider(id=UIO)))
    assert (further.registry_revision, further.subject_revision) == (4, 3)
    # Only what nobody was told of is told.
    assert [each.revision for each in await published(restored, topics.REGISTRY_FACTS)] == [3]


async def test_a_leaf_that_was_not_told_of_any_more_is_told(
    registry: asyncpg.Pool, restored: asyncpg.Pool, clock: ManualClock
) -> None:
    facts, leaves, _beats = await told(registry)
    assert (await put_in_step(restored, clock, facts, leaves[:1], [])).leaves == 1
    (again,) = await published(restored, topics.REGISTRY_LEAVES)
    assert (again.key, again.value, again.revision) == (leaves[1].key, leaves[1].value, 1)


async def test_what_contradicts_or_does_not_meet_changes_nothing(
    registry: asyncpg.Pool, restored: asyncpg.Pool, clock: ManualClock
) -> None:
    facts, leaves, _beats = await told(registry)
    with pytest.raises(DataLoss, match="FACTS_INCOMPLETE"):
        await put_in_step(restored, clock, facts[1:], leaves, [])
    await record(restored, clock, facts_pb2.Fact(subject=UIO, authority=facts_pb2.Authority(id=UIO)))
    with pytest.raises(DataLoss, match="FACTS_CONTRADICTED"):
        await put_in_step(restored, clock, facts, leaves, [])
    assert len(await rows(restored)) == 1
    async with restored.acquire() as relay:
        await relay.execute("SELECT pg_advisory_lock($1)", LOCK_KEY)
        with pytest.raises(FailedPrecondition, match="SERVICE_RUNNING"):
            await put_in_step(restored, clock, facts, leaves, [])
