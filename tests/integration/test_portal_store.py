"""What the portal keeps, where an answer of the issuer's arrives late, and after a restore."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest

from services.portal.reconcile import reconcile
from services.portal.sealing import PortalKeys
from services.portal.store import Fetched, Store, Told
from services.portal.wiring import MIGRATIONS
from vitne.messaging.headers import Message
from vitne.messaging.hub_notices import ISSUER_SOURCE
from vitne.runtime.migrations import migrate
from vitne_api.events.v1 import events_pb2

pytestmark = pytest.mark.schema(MIGRATIONS)

HANDLE, PSEUDONYM = "h" * 43, "p" * 43
OTHER = "a" * 43
NOW = datetime(2026, 11, 21, 10, tzinfo=UTC)


@pytest.fixture
async def store(database_dsn: str, pool: asyncpg.Pool, tmp_path: Path) -> Store:
    await migrate(database_dsn, MIGRATIONS)
    return Store(pool, PortalKeys.load(tmp_path, create=True))


async def told(store: Store, pool: asyncpg.Pool) -> None:
    async with pool.acquire() as conn, conn.transaction():
        await notice(store, conn, HANDLE)


async def notice(store: Store, conn: asyncpg.Connection, handle: str) -> None:
    assert await store.want(conn, [tell(handle)], NOW)


def tell(handle: str, pseudonym: str = PSEUDONYM) -> Told:
    return Told(handle, pseudonym, "no.micro_credential", "0192:971035854")


async def test_a_group_that_tells_of_a_credential_twice_makes_it_due_once(store: Store, pool: asyncpg.Pool) -> None:
    async with pool.acquire() as conn, conn.transaction():
        assert await store.want(conn, [tell(HANDLE), tell(OTHER, OTHER), tell(HANDLE)], NOW)
    assert {one.handle: one.pseudonym for one in await store.claim(NOW, 10)} == {HANDLE: PSEUDONYM, OTHER: OTHER}


async def test_a_handle_of_another_learner_is_told_of_a_whole_group(store: Store, pool: asyncpg.Pool) -> None:
    await told(store, pool)
    async with pool.acquire() as conn, conn.transaction():
        assert not await store.want(conn, [tell(OTHER), tell(HANDLE, OTHER)], NOW)
    async with pool.acquire() as conn, conn.transaction():
        assert not await store.want(conn, [tell("b" * 43), tell("b" * 43, OTHER)], NOW)


@pytest.mark.parametrize("answer", ["gone", "an older status"])
async def test_an_answer_from_before_a_withdrawal_does_not_count_after_a_new_registration(
    store: Store, pool: asyncpg.Pool, answer: str
) -> None:
    await told(store, pool)
    (early,) = await store.claim(NOW, 10)
    async with pool.acquire() as conn, conn.transaction():
        await store.forget(conn, {HANDLE: NOW})  # The learner withdraws …
    await told(store, pool)  # … and registers again, before the answer is here.
    if answer == "gone":
        await store.keep([], [early], NOW)
    else:
        await store.keep([Fetched(early, "a~", "valid")], [], NOW)
    (again,) = await store.claim(NOW + timedelta(minutes=1), 10)
    assert again.handle == HANDLE
    assert again.notices > early.notices


@pytest.mark.parametrize("answer", ["fetched", "gone", "failed"])
async def test_fetcher_and_consumer_never_wait_for_each_other_crosswise(
    store: Store, pool: asyncpg.Pool, answer: str
) -> None:
    async with pool.acquire() as conn, conn.transaction():
        await notice(store, conn, HANDLE)
        await notice(store, conn, OTHER)
    claimed = await store.claim(NOW, 10)
    later = NOW + timedelta(minutes=1)
    async with pool.acquire() as conn, conn.transaction():
        # The topic's order is not that of the handles: whoever waited for this one while holding the other …
        await notice(store, conn, HANDLE)
        async with asyncio.timeout(60):
            if answer == "fetched":
                await store.keep([Fetched(one, "a~", "valid") for one in claimed], [], NOW)
            elif answer == "gone":
                await store.keep([], claimed, NOW)
            else:
                await store.postpone(dict.fromkeys(claimed, later + timedelta(hours=1)))
            # … would never let go, when this comes to the other.
            await notice(store, conn, OTHER)
    assert {one.handle for one in await store.claim(later, 10)} == {HANDLE, OTHER}


def registration_ended(pseudonym: str, at: datetime) -> Message:
    said = events_pb2.HubCredentialNotice(notice=events_pb2.HUB_NOTICE_REGISTRATION_ENDED, pseudonym=pseudonym)
    value = said.SerializeToString()
    return Message("hub", 0, 0, pseudonym, value, UUID(int=1), "", ISSUER_SOURCE, at, revision=1, traceparent=None)


@pytest.mark.parametrize(("registered_again", "stays"), [(timedelta(hours=-1), False), (timedelta(hours=1), True)])
async def test_a_restored_portal_ends_the_registration_that_ended_and_not_the_one_after_it(
    store: Store, pool: asyncpg.Pool, registered_again: timedelta, stays: bool
) -> None:
    """Who has no credentials is told of by nothing but her row once she has registered again."""
    await store.register(b"kari", PSEUDONYM, NOW + registered_again)
    done = await reconcile(pool, [registration_ended(PSEUDONYM, NOW)], NOW + timedelta(days=1), keep_access=True)
    assert done.registrations_ended == (0 if stays else 1)
    assert (await store.pseudonym(b"kari") is not None) is stays
