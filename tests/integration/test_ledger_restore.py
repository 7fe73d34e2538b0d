"""A ledger that has forgotten everything gets the same log, statuses and versions again, and gives no place twice."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from services.ledger import journal
from services.ledger.reconcile import CLOSED, Reconciliation
from services.ledger.transitions import Change
from services.ledger.wiring import MIGRATIONS
from tests.integration.ledger_harness import BASE_URL, LIFETIME, LIST_SIZE, ORIGIN, Ledger, make_ledger, request
from tests.integration.published import published
from tests.integration.test_ledger_log import claimed, integrated, issued, queue
from vitne.clock import ManualClock
from vitne.dev.postgres import EmbeddedPostgres
from vitne.errors import DataLoss, FailedPrecondition, VitneError
from vitne.messaging import topics
from vitne.messaging.headers import Message
from vitne.messaging.relay import LOCK_KEY
from vitne_api.events.v1 import events_pb2

pytestmark = pytest.mark.schema(MIGRATIONS)


@pytest.fixture
async def ledger(database_dsn: str, pool: asyncpg.Pool, clock: ManualClock, tmp_path: Path) -> Ledger:
    return await make_ledger(database_dsn, pool, clock, tmp_path)


@pytest.fixture
async def restored(
    postgres: EmbeddedPostgres, ledger: Ledger, clock: ManualClock, tmp_path: Path
) -> AsyncIterator[Ledger]:
    """The same ledger, keys and secret, with a database from before everything."""
    name = f"test_{uuid.uuid4().hex}"
    dsn = await postgres.create_database(name)
    pool = await asyncpg.create_pool(dsn, min_size=1, max_size=4)
    yield await make_ledger(dsn, pool, clock, tmp_path)
    pool.terminate()
    await postgres.drop_database(name)


async def told(ledger: Ledger, topic: str) -> list[Message]:
    return await published(ledger.pool, topic)


def reconciliation(ledger: Ledger) -> Reconciliation:
    return Reconciliation(
        ledger.pool,
        origin=ORIGIN,
        signers=ledger.keys.note_signer,
        orders=ledger.orders,
        clock=ledger.clock,
        new_id=uuid.uuid4,
        base_url=BASE_URL,
        list_size=LIST_SIZE,
        lifetime=LIFETIME,
    )


async def worked(ledger: Ledger, *, together: bool = False) -> Any:
    """Leases, changes (of some a group), published lists, and all of it in the log; answers the lease."""
    sequencer = await claimed(ledger, max_batch=20)
    lease = await ledger.lease(5)
    await ledger.publisher.publish_due()
    for index, change in zip(lease.indexes[:2], (Change.REVOKE, Change.SUSPEND), strict=True):
        await ledger.set(request(lease.list, index, change))
    if together:
        again = [request(lease.list, index, Change.REVOKE) for index in lease.indexes[1:4]]
        assert not any(isinstance(answer, VitneError) for answer in await ledger.apply(again))
    await ledger.publisher.publish_due()
    await queue(ledger, issued(0, 50))
    while await sequencer.integrate():
        pass
    return lease


async def statuses(ledger: Ledger) -> list[Any]:
    rows: list[Any] = await ledger.pool.fetch(
        "SELECT url, status_change.number, index, status, effective, recorded FROM status_change "
        "JOIN status_list ON status_list.id = list_id ORDER BY url, status_change.number"
    )
    return rows


@pytest.mark.parametrize("together", [False, True])
async def test_log_statuses_and_versions_come_back_as_they_were(
    ledger: Ledger, restored: Ledger, together: bool
) -> None:
    lease = await worked(ledger, together=together)
    await claimed(restored)
    done = await reconciliation(restored).run(
        await told(ledger, topics.LEDGER_STATUS), await told(ledger, topics.LEDGER_LOG)
    )
    assert await restored.checkpoint() == await ledger.checkpoint()
    assert await integrated(restored) == await integrated(ledger)
    assert done.leaves == len(await integrated(ledger))
    assert [dict(row) for row in await statuses(restored)] == [dict(row) for row in await statuses(ledger)]
    versions = "SELECT version, changes, digest FROM list_version WHERE logged IS NOT NULL ORDER BY version"
    assert await restored.pool.fetch(versions) == await ledger.pool.fetch(versions)
    # It goes on: the log grows from there, and the next event of a list has a revision that was never given.
    await queue(restored, issued(50, 5))
    await (await claimed(restored)).integrate()
    assert (await integrated(restored))[:-5] == await integrated(ledger)
    await restored.set(request(lease.list, lease.indexes[4], Change.REVOKE))
    newest = max(message.revision for message in await told(ledger, topics.LEDGER_STATUS))
    assert {message.revision for message in await told(restored, topics.LEDGER_STATUS)} == {newest + 1}


async def test_what_had_been_shown_is_shown_again_at_once(ledger: Ledger, restored: Ledger) -> None:
    """Lists, of which nobody here has what was signed, and all of the log."""
    lease = await worked(ledger)
    await restored.pool.execute("INSERT INTO shown_checkpoint (shard, size, note) VALUES (1, 3, 'as it was then')")
    await reconciliation(restored).run(await told(ledger, topics.LEDGER_STATUS), await told(ledger, topics.LEDGER_LOG))
    assert (await restored.checkpoints.shown()).size == (await ledger.checkpoints.shown()).size
    assert await restored.publisher.publish_due() > 0
    assert restored.publisher.loaded
    served = restored.publisher.find(lease.list.removeprefix(BASE_URL))
    assert served is not None
    assert restored.publisher.statuses_of(served.token) == ledger.publisher.statuses_of(
        ledger.publisher.published()[0].token
    )
    assert await restored.publisher.publish_due() == 0


async def test_no_place_is_given_twice(ledger: Ledger, restored: Ledger) -> None:
    lease = await worked(ledger)
    await claimed(restored)
    done = await reconciliation(restored).run(await told(ledger, topics.LEDGER_STATUS), [])
    # The list that was told of, and one that may have been opened and was not told of.
    assert (done.lists_closed, done.places_closed) == (2, 2 * LIST_SIZE)
    assert await restored.pool.fetchval("SELECT count(*) FROM lease WHERE caller = $1", CLOSED) == 2
    again = await restored.lease(5)
    assert again.list not in {lease.list, f"{lease.list.rpartition('-')[0]}-2"}


async def test_a_change_that_only_the_log_knows_is_taken_up_and_told(ledger: Ledger, restored: Ledger) -> None:
    await worked(ledger)
    await claimed(restored)
    published = [each for each in await told(ledger, topics.LEDGER_STATUS) if not each.type.endswith("changed.v1")]
    done = await reconciliation(restored).run(published, await told(ledger, topics.LEDGER_LOG))
    assert (done.changes, done.changes_told) == (2, 2)
    assert len([each for each in await told(restored, topics.LEDGER_STATUS) if each.type.endswith("changed.v1")]) == 2


async def test_repeated_it_finds_nothing_to_do(ledger: Ledger, restored: Ledger, clock: ManualClock) -> None:
    await worked(ledger)
    await claimed(restored)
    status, log = await told(ledger, topics.LEDGER_STATUS), await told(ledger, topics.LEDGER_LOG)
    await reconciliation(restored).run(status, log)
    clock.advance(timedelta(seconds=1))
    again = await reconciliation(restored).run(status, log)
    assert (again.leaves, again.changes, again.versions, again.revisions) == (0, 0, 0, 0)


async def test_another_log_than_the_topic_s_is_refused(ledger: Ledger, restored: Ledger) -> None:
    await worked(ledger)
    sequencer = await claimed(restored)
    await queue(restored, issued(900, 3))
    await sequencer.integrate()
    with pytest.raises(DataLoss, match="LOG_CONTRADICTED"):
        await reconciliation(restored).run([], await told(ledger, topics.LEDGER_LOG))
    assert await restored.pool.fetchval("SELECT count(*) FROM restore") == 0


async def test_a_log_that_the_topic_does_not_reach_is_refused(
    ledger: Ledger, restored: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What came between is nowhere: going on would sign another log of the same name."""
    monkeypatch.setattr(journal, "EVENT_BYTES", 500)
    await worked(ledger)
    await claimed(restored)
    first, *rest = await told(ledger, topics.LEDGER_LOG)
    assert events_pb2.LogExtended.FromString(first.value).first == 0
    with pytest.raises(DataLoss, match="LOG_INCOMPLETE"):
        await reconciliation(restored).run([], rest)
    assert await restored.pool.fetchval("SELECT count(*) FROM restore") == 0


async def test_a_database_from_before_the_log_gets_it_too(ledger: Ledger, restored: Ledger) -> None:
    await worked(ledger)
    assert await restored.pool.fetchval("SELECT count(*) FROM log") == 0
    await reconciliation(restored).run(await told(ledger, topics.LEDGER_STATUS), await told(ledger, topics.LEDGER_LOG))
    await claimed(restored)
    assert await integrated(restored) == await integrated(ledger)


async def test_a_ledger_that_runs_is_left_alone(ledger: Ledger) -> None:
    async with ledger.pool.acquire() as relay:
        await relay.execute("SELECT pg_advisory_lock($1)", LOCK_KEY)
        with pytest.raises(FailedPrecondition, match="SERVICE_RUNNING"):
            await reconciliation(ledger).run([], [])
        await relay.execute("SELECT pg_advisory_unlock($1)", LOCK_KEY)


async def test_leaves_that_were_never_told_of_are_told_of(
    ledger: Ledger, restored: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after an upgrade: in parts that fit into events, with the next batches or by command; till then no restore."""
    sequencer = await claimed(ledger)
    await queue(ledger, issued(0, 40))
    await sequencer.integrate()
    await ledger.pool.execute("DELETE FROM outbox")
    await ledger.pool.execute("DELETE FROM aggregate_revision")
    await ledger.pool.execute("UPDATE log SET journaled = 0")
    monkeypatch.setattr(journal, "EVENT_BYTES", 500)
    monkeypatch.setattr(journal, "MOST", 30)
    await queue(ledger, issued(100, 1))
    await sequencer.integrate()
    await claimed(restored)
    with pytest.raises(DataLoss, match="LOG_UNTOLD"):
        await reconciliation(restored).run([], await told(ledger, topics.LEDGER_LOG))
    done = [await journal.tell_log(ledger.pool, clock=ledger.clock, new_id=uuid.uuid4) for _ in range(2)]
    assert done == [journal.Told(41, 11), journal.Told(41, 0)]
    assert (await reconciliation(restored).run([], await told(ledger, topics.LEDGER_LOG))).leaves == 41
    leaves: list[bytes] = []
    for message in await told(ledger, topics.LEDGER_LOG):
        part = events_pb2.LogExtended.FromString(message.value)
        assert part.first == len(leaves)
        leaves += part.leaves
    assert leaves == [row["record"] for row in await ledger.pool.fetch("SELECT record FROM leaf ORDER BY leaf_index")]
