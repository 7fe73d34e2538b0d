"""Published lists: signed, fresh, never going back, and served over HTTP."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest

from services.ledger import projections
from services.ledger.lists import LOG_EVERY
from services.ledger.transitions import Change
from services.ledger.wiring import MIGRATIONS
from tests.integration.ledger_harness import BASE_URL, LIFETIME, TTL, Ledger, eventually, make_ledger, request, served
from vitne.canonical import b64url, sha256
from vitne.clock import ManualClock, SystemClock
from vitne.credentials.status_list import INVALID, SUSPENDED, VALID
from vitne.errors import Unavailable
from vitne.merkle.leaves import ListPublished, StatusChanged, parse_leaf
from vitne_api.events.v1 import events_pb2

pytestmark = pytest.mark.schema(MIGRATIONS)


@pytest.fixture
async def ledger(database_dsn: str, pool: asyncpg.Pool, clock: ManualClock, tmp_path: Path) -> Ledger:
    return await make_ledger(database_dsn, pool, clock, tmp_path)


async def list_leaves(ledger: Ledger) -> list[ListPublished]:
    leaves = [parse_leaf(record) for record in await ledger.queued()]
    return [leaf for leaf in leaves if isinstance(leaf, ListPublished)]


async def test_a_list_is_published_empty_as_soon_as_it_is_opened(ledger: Ledger, clock: ManualClock) -> None:
    lease = await ledger.lease()
    assert ledger.publisher.find("/2026/no-1") is None
    assert await ledger.publisher.publish_due() == 1
    found = await ledger.published(lease.list)
    assert all(found.status_at(index) == VALID for index in range(len(found)))
    assert (found.ttl, found.issued_at, found.expires_at) == (TTL, clock.now(), clock.now() + LIFETIME)
    assert found.key_id == ledger.keys.status_list.key_id
    assert await ledger.publisher.publish_due() == 0


async def test_statuses_are_in_the_next_version(ledger: Ledger) -> None:
    lease = await ledger.lease()
    one, two, three = lease.indexes[:3]
    await ledger.publisher.publish_due()
    await ledger.set(request(lease.list, one, Change.REVOKE))
    await ledger.set(request(lease.list, two, Change.SUSPEND))
    assert await ledger.publisher.publish_due() == 1
    found = await ledger.published(lease.list)
    assert [found.status_at(index) for index in (one, two, three)] == [INVALID, SUSPENDED, VALID]
    await ledger.set(request(lease.list, two, Change.REINSTATE))
    await ledger.publisher.publish_due()
    found = await ledger.published(lease.list)
    assert [found.status_at(index) for index in (one, two, three)] == [INVALID, VALID, VALID]
    newest = ledger.publisher.find("/2026/no-1")
    assert newest is not None
    assert newest.version == 3


async def test_every_version_is_a_row_and_an_event(ledger: Ledger, clock: ManualClock) -> None:
    lease = await ledger.lease()
    await ledger.publisher.publish_due()
    await ledger.set(request(lease.list, lease.indexes[0], Change.REVOKE))
    await ledger.publisher.publish_due()
    rows = await ledger.pool.fetch("SELECT version, changes, token, digest FROM list_version ORDER BY version")
    assert [(row["version"], row["changes"]) for row in rows] == [(1, 0), (2, 1)]
    assert all(row["digest"] == sha256(row["token"]) for row in rows)
    events = await ledger.pool.fetch("SELECT type, revision, value FROM outbox ORDER BY revision")
    assert [event["type"] for event in events] == [
        "vitne.ledger.list_published.v1",
        "vitne.ledger.status_changed.v1",
        "vitne.ledger.list_published.v1",
    ]
    told = events_pb2.StatusListPublished.FromString(events[2]["value"])
    assert (told.list, told.version, told.digest) == (lease.list, 2, b64url(rows[1]["digest"]))


async def test_a_quiet_list_is_signed_again_well_before_it_gets_stale(ledger: Ledger, clock: ManualClock) -> None:
    lease = await ledger.lease()
    await ledger.publisher.publish_due()
    clock.advance(LIFETIME / 3 - timedelta(seconds=1))
    assert await ledger.publisher.publish_due() == 0
    clock.advance(timedelta(seconds=1))
    assert await ledger.publisher.publish_due() == 1
    assert (await ledger.published(lease.list)).issued_at == clock.now()
    with pytest.raises(Unavailable, match="STATUS_LIST_STALE"):
        await ledger.published(lease.list, clock.now() + LIFETIME)


async def test_a_restarted_ledger_serves_what_was_published_and_rebuilds_the_statuses(ledger: Ledger) -> None:
    lease = await ledger.lease()
    await ledger.set(request(lease.list, lease.indexes[0], Change.REVOKE))
    await ledger.publisher.publish_due()
    before = ledger.publisher.published()
    restarted = ledger.replica()
    assert await restarted.publisher.publish_due() == 0
    assert restarted.publisher.published() == before
    await restarted.set(request(lease.list, lease.indexes[1], Change.SUSPEND))
    await restarted.publisher.publish_due()
    found = await restarted.published(lease.list)
    assert [found.status_at(index) for index in lease.indexes[:3]] == [INVALID, SUSPENDED, VALID]


async def test_replicas_publish_one_line_of_versions_that_never_goes_back(ledger: Ledger) -> None:
    lease = await ledger.lease(200)
    replicas = [ledger, ledger.replica(), ledger.replica()]

    async def work(replica: Ledger, indexes: list[int]) -> None:
        for index in indexes:
            await replica.set(request(lease.list, index, Change.REVOKE))
            await replica.publisher.publish_due()

    await asyncio.gather(
        *(work(replica, list(lease.indexes)[n * 20 : n * 20 + 20]) for n, replica in enumerate(replicas))
    )
    rows = await ledger.pool.fetch("SELECT version, changes FROM list_version ORDER BY version")
    assert [row["version"] for row in rows] == list(range(1, len(rows) + 1))
    shown = [row["changes"] for row in rows]
    assert shown == sorted(shown)
    for replica in replicas:
        await replica.publisher.publish_due()
    assert ledger.publisher.published() == replicas[1].publisher.published() == replicas[2].publisher.published()
    found = await ledger.published(lease.list)
    assert [found.status_at(index) for index in lease.indexes] == [INVALID] * 60 + [VALID] * 140


async def test_the_log_gets_a_version_at_most_once_a_minute_and_always_the_last(
    ledger: Ledger, clock: ManualClock
) -> None:
    lease = await ledger.lease()
    for number in range(5):
        await ledger.set(request(lease.list, lease.indexes[number], Change.REVOKE))
        await ledger.publisher.publish_due()
        clock.advance(timedelta(seconds=10))
    assert [leaf.version for leaf in await list_leaves(ledger)] == [1]
    clock.advance(LOG_EVERY - timedelta(seconds=50))
    await ledger.publisher.publish_due()
    await ledger.publisher.publish_due()
    leaves = await list_leaves(ledger)
    assert [leaf.version for leaf in leaves] == [1, 5]
    digest = await ledger.pool.fetchval("SELECT digest FROM list_version WHERE version = 5")
    assert leaves[1] == ListPublished(lease.list, 5, digest, 0)


async def test_a_clock_that_was_ahead_keeps_nothing_out_of_the_log(ledger: Ledger, clock: ManualClock) -> None:
    lease = await ledger.lease()
    await ledger.publisher.publish_due()
    clock.advance(-timedelta(hours=1))
    for number in range(3):
        await ledger.set(request(lease.list, lease.indexes[number], Change.REVOKE))
        await ledger.publisher.publish_due()
        clock.advance(LOG_EVERY / 2)
    assert [leaf.version for leaf in await list_leaves(ledger)] == [1, 2, 4]
    clock.advance(LOG_EVERY)
    await ledger.publisher.publish_due()
    assert [leaf.version for leaf in await list_leaves(ledger)][:3] == [1, 2, 4]


async def test_a_versions_tree_size_counts_only_leaves_whose_changes_it_shows(ledger: Ledger) -> None:
    lease = await ledger.lease()
    sequencer = ledger.sequencer()
    await sequencer.claim()
    await ledger.set(request(lease.list, lease.indexes[0], Change.REVOKE))
    await sequencer.integrate()
    await ledger.set(request(lease.list, lease.indexes[1], Change.REVOKE))
    await ledger.publisher.publish_due()
    (leaf,) = await list_leaves(ledger)
    assert leaf.tree_size == 1
    waiting = next(parse_leaf(record) for record in await ledger.queued())
    assert isinstance(waiting, StatusChanged)


async def test_a_revocation_is_published_by_every_replica(
    database_dsn: str, pool: asyncpg.Pool, tmp_path: Path
) -> None:
    ledger = await make_ledger(database_dsn, pool, SystemClock(), tmp_path)
    other = ledger.replica()
    tasks = [asyncio.create_task(each.publisher.run()) for each in (ledger, other)]
    try:
        lease = await ledger.lease()
        ledger.publisher.wake()

        async def says(replica: Ledger, index: int) -> bool:
            newest = replica.publisher.find("/2026/no-1")
            return newest is not None and (await replica.published(lease.list)).status_at(index) == INVALID

        await eventually(lambda: _found(ledger))
        for index in lease.indexes[:3]:
            await ledger.set(request(lease.list, index, Change.REVOKE))
            ledger.publisher.wake()
            await eventually(lambda index=index: says(ledger, index))
            await eventually(lambda index=index: says(other, index))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _found(ledger: Ledger) -> Any:
    return ledger.publisher.find("/2026/no-1")


async def test_who_publishes_as_the_release_before_did_is_not_stood_in_the_way_of(ledger: Ledger) -> None:
    lease = await ledger.lease()
    await ledger.publisher.publish_due()
    await ledger.set(request(lease.list, lease.indexes[0], Change.REVOKE))
    next_version = (
        "INSERT INTO list_version (list_id, version, changes, tree_size, token, digest, published, expires) "
        "SELECT list_id, version + 1, changes, tree_size, token, digest, published, expires FROM list_version "
        "ON CONFLICT DO NOTHING RETURNING version"
    )

    async def wait(sessions: int) -> None:
        waiting = "FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        await eventually(lambda: ledger.pool.fetchval(f"SELECT count(*) = $1 {waiting}", sessions))

    async def theirs(connection: Any) -> int | None:
        async with connection.transaction():
            version: int | None = await connection.fetchval(next_version)
            if version is not None:
                await connection.execute("SELECT FROM status_list FOR UPDATE")
            return version

    async with ledger.pool.acquire() as holder, ledger.pool.acquire() as other:
        async with holder.transaction():  # who changes statuses
            await holder.execute("SELECT FROM status_list FOR UPDATE")
            ours = asyncio.create_task(ledger.publisher.publish_due())
            await wait(1)
            older = asyncio.create_task(theirs(other))
            await wait(2)
        assert (await ours, await older) == (1, None)
    assert (await ledger.published(lease.list)).status_at(lease.indexes[0]) == INVALID


async def test_while_a_clock_is_corrected_lists_are_not_dated_back(ledger: Ledger, clock: ManualClock) -> None:
    """Readers take the later date for the newer list; what is dated beyond what they accept is no measure."""
    lease = await ledger.lease()
    await ledger.publisher.publish_due()
    began, dates = clock.now(), []
    for index, back in enumerate((timedelta(seconds=30), timedelta(seconds=30), timedelta(hours=1))):
        clock.advance(-back)
        await ledger.set(request(lease.list, lease.indexes[index], Change.REVOKE))
        await ledger.publisher.publish_due()
        found = await ledger.published(lease.list)
        assert found.status_at(lease.indexes[index]) == INVALID
        dates.append(found.issued_at)
    assert dates == [began, began, clock.now()]


@pytest.fixture
async def site(ledger: Ledger) -> AsyncIterator[str]:
    async with served(ledger.pages()) as url:
        yield url


async def test_a_list_over_http(ledger: Ledger, site: str) -> None:
    lease = await ledger.lease()
    await ledger.publisher.publish_due()
    newest = ledger.publisher.find("/2026/no-1")
    assert newest is not None
    async with aiohttp.ClientSession(headers={"Accept-Encoding": "identity"}) as client:
        async with client.get(f"{site}/2026/no-1", headers={"Origin": "https://wallet.example"}) as answer:
            assert answer.status == 200
            assert answer.headers["Content-Type"] == "application/statuslist+jwt"
            assert answer.headers["Cache-Control"] == "max-age=10"
            assert answer.headers["Access-Control-Allow-Origin"] == "*"
            assert await answer.read() == newest.token
            etag = answer.headers["ETag"]
            assert etag == f'"{b64url(sha256(newest.token))}"'
        for condition in (etag, f"W/{etag}", f'"other", {etag}', "*"):
            async with client.get(f"{site}/2026/no-1", headers={"If-None-Match": condition}) as answer:
                assert answer.status == 304
                assert answer.headers["ETag"] == etag
                assert await answer.read() == b""
        async with client.get(f"{site}/2026/no-1", headers={"Accept": "application/statuslist+cwt"}) as answer:
            assert (answer.status, answer.headers["Content-Type"]) == (200, "application/statuslist+cwt")
        async with client.head(f"{site}/2026/no-1") as answer:
            assert answer.status == 200
            assert int(answer.headers["Content-Length"]) == len(newest.token)
        async with client.options(f"{site}/2026/no-1") as answer:
            assert answer.status == 204
            assert answer.headers["Access-Control-Allow-Headers"] == "If-None-Match"

        await ledger.set(request(lease.list, lease.indexes[0], Change.REVOKE))
        await ledger.publisher.publish_due()
        for headers in ({"If-None-Match": etag}, {}):
            async with client.get(f"{site}/2026/no-1", headers=headers) as answer:
                assert answer.status == 200
                assert answer.headers["ETag"] != etag
                assert await answer.read() == ledger.publisher.published()[0].token


@pytest.mark.parametrize("form", ["", ".revocation", ".suspension", ".cwt"])
async def test_a_list_is_answered_in_gzip_to_who_takes_it(ledger: Ledger, site: str, form: str) -> None:
    """A list in Base64 (draft-ietf-oauth-status-list-20, section 8.2); a CWT does not get shorter."""
    lease = await ledger.lease(1000)
    for index in lease.indexes[::5]:
        await ledger.set(request(lease.list, index, Change.REVOKE))
    await ledger.publisher.publish_due()
    url = f"{site}/2026/no-1{form}"
    asked = f"?time={int(ledger.clock.now().timestamp())}"
    async with aiohttp.ClientSession(auto_decompress=False) as client:

        async def get(coding: str, query: str = "", **headers: str) -> tuple[int, Any, bytes]:
            async with client.get(url + query, headers={"Accept-Encoding": coding, **headers}) as answer:
                assert answer.headers["Vary"] == "Accept, Accept-Encoding"
                return answer.status, answer.headers, await answer.read()

        _, told, plain = await get("identity")
        assert "Content-Encoding" not in told
        for refusing in ("", "br", "gzip;q=0", "gzip;q=0.0, *"):
            assert (await get(refusing))[2] == plain
        for taking in ("gzip", "br, GZIP;q=0.5", "*"):
            status, packed, body = await get(taking)
            assert status == 200
            assert int(packed["Content-Length"]) == len(body)
            if form == ".cwt":
                assert ("Content-Encoding" in packed, body) == (False, plain)
                continue
            assert packed["Content-Encoding"] == "gzip"
            assert gzip.decompress(body) == plain
            assert len(body) < 0.85 * len(plain)
            # Of another representation, whichever way it was asked for.
            assert packed["ETag"] != told["ETag"]
            status, unchanged, nothing = await get(taking, **{"If-None-Match": packed["ETag"]})
            assert (status, unchanged["ETag"], nothing) == (304, packed["ETag"], b"")
            assert "Content-Encoding" not in unchanged
            assert (await get(taking, **{"If-None-Match": told["ETag"]}))[2] == body
        if form == "":
            _, packed, body = await get("gzip", asked)
            assert packed["Content-Encoding"] == "gzip"
            assert gzip.decompress(body) == (await get("identity", asked))[2]
        before = plain
        await ledger.set(request(lease.list, lease.indexes[1], Change.REVOKE))
        await ledger.publisher.publish_due()
        _, packed, body = await get("gzip")
        newest = (await get("identity"))[2]
        assert newest != before
        assert (gzip.decompress(body) if "Content-Encoding" in packed else body) == newest


async def test_a_list_that_gzip_would_lengthen_is_answered_as_it_is(
    ledger: Ledger, site: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ledger.lease()
    await ledger.publisher.publish_due()
    monkeypatch.setattr(projections, "gzipped", lambda body, **_named: body + b"longer")
    async with (
        aiohttp.ClientSession(auto_decompress=False) as client,
        client.get(f"{site}/2026/no-1", headers={"Accept-Encoding": "gzip"}) as answer,
    ):
        assert "Content-Encoding" not in answer.headers
        assert await answer.read() == ledger.publisher.published()[0].token


async def test_entries_are_answered_in_gzip_to_who_takes_it(ledger: Ledger, site: str) -> None:
    """C2SP tlog-tiles, Log Entries; hashes do not get shorter."""
    sequencer = ledger.sequencer()
    await sequencer.claim()
    lease = await ledger.lease(300)
    for index in lease.indexes[:60]:
        await ledger.set(request(lease.list, index, Change.REVOKE))
    await sequencer.integrate()
    size = (await ledger.checkpoint()).size
    assert 60 <= size < 256
    async with aiohttp.ClientSession(auto_decompress=False) as client:
        told: dict[tuple[str, str], tuple[str | None, bytes]] = {}
        for path in (f"tile/entries/000.p/{size}", f"tile/0/000.p/{size}"):
            for coding in ("identity", "gzip"):
                async with client.get(f"{site}/{path}", headers={"Accept-Encoding": coding}) as answer:
                    assert answer.status == 200
                    assert "immutable" in answer.headers["Cache-Control"]
                    assert answer.headers.get("Vary") == ("Accept-Encoding" if "entries" in path else None)
                    told[path, coding] = answer.headers.get("Content-Encoding"), await answer.read()
    (_, entries), (coded, packed), (_, hashes), (uncoded, same) = told.values()
    assert coded == "gzip"
    assert gzip.decompress(packed) == entries
    assert len(packed) < len(entries) / 4
    assert (uncoded, same) == (None, hashes)


async def test_a_list_as_of_another_time_is_not_passed_off_as_one(ledger: Ledger, site: str) -> None:
    lease = await ledger.lease()
    await ledger.publisher.publish_due()
    first, then = ledger.publisher.published()[0], ledger.clock.now()
    assert isinstance(ledger.clock, ManualClock)
    ledger.clock.advance(timedelta(minutes=2))
    await ledger.set(request(lease.list, lease.indexes[0], Change.REVOKE))
    await ledger.publisher.publish_due()
    later = int(ledger.clock.now().timestamp()) + 60
    async with aiohttp.ClientSession() as client:
        for address in (
            "/2026/no-1?time=1686925000",
            "/2026/no-1?time=99999999999",
            f"/2026/no-1?time={later}",
            f"/2026/no-1.cwt?time={int(then.timestamp()) + 30}",
        ):
            async with client.get(f"{site}{address}") as answer:
                assert answer.status == 404
                assert answer.content_type == "application/problem+json"
                assert (await answer.json(content_type=None))["reason"] == "HISTORY_NOT_KEPT"
        async with client.get(f"{site}/2026/no-1?time={int(then.timestamp()) + 30}") as answer:
            assert await answer.read() == first.token


@pytest.mark.parametrize("path", ["/2026/no-1", "/2026/no-1.cwt", "/2026/no-1.revocation"])
@pytest.mark.parametrize(
    ("query", "field"), [("tim=5", "tim"), ("Time=5", "Time"), ("tim", "tim"), ("time=1795302000&at=5", "at")]
)
async def test_a_parameter_that_a_list_has_not_is_refused(
    ledger: Ledger, site: str, path: str, query: str, field: str
) -> None:
    await ledger.lease()
    await ledger.publisher.publish_due()
    async with aiohttp.ClientSession() as client:
        async with client.get(f"{site}{path}?{query}") as answer:
            assert answer.status == 400
            assert answer.content_type == "application/problem+json"
            problem = await answer.json(content_type=None)
        assert (problem["reason"], problem["field"]) == ("UNKNOWN_PARAMETER", field)
        assert "the one parameter is time" in problem["rule"]
        assert "leave it out" in problem["remedy"]
        async with client.get(f"{site}{path}?") as answer:
            assert answer.status == 200
        # Of the other pages nothing is asked by parameters: a cache may be passed by with one.
        async with client.get(f"{site}/?{query}") as answer:
            assert answer.status == 200


@pytest.mark.parametrize("path", ["/2026/no-1", "/2026/no-1.cwt", "/2026/no-1.revocation"])
@pytest.mark.parametrize("time", ["", "now", "-1", "1.5", "2026-11-22T02:00:00Z", "١٧", "1" * 12])
async def test_what_is_no_instant_is_told_as_that(ledger: Ledger, site: str, path: str, time: str) -> None:
    await ledger.lease()
    await ledger.publisher.publish_due()
    async with aiohttp.ClientSession() as client, client.get(f"{site}{path}", params={"time": time}) as answer:
        assert answer.status == 400
        assert answer.content_type == "application/problem+json"
        problem = await answer.json(content_type=None)
    assert (problem["reason"], problem["field"]) == ("BAD_TIME", "time")
    assert "seconds since 1970" in problem["rule"]
    assert "date +%s" in problem["remedy"]


async def test_two_instants_are_not_asked_for_at_once(ledger: Ledger, site: str) -> None:
    await ledger.lease()
    await ledger.publisher.publish_due()
    now = int(ledger.clock.now().timestamp())
    async with (
        aiohttp.ClientSession() as client,
        client.get(f"{site}/2026/no-1", params=[("time", now), ("time", now - 5)]) as answer,
    ):
        assert answer.status == 400
        problem = await answer.json(content_type=None)
    assert (problem["reason"], problem["field"]) == ("BAD_TIME", "time")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/2026/no-99", 404),
        ("/2026/no-1?tim=5", 400),
        ("/2026/no-1?time=5", 404),
        ("/tile/0/999", 404),
        ("/tile/entries/x", 404),
        ("/succession/9", 404),
    ],
)
async def test_a_refusal_is_read_by_browsers_and_kept_by_no_cache(
    ledger: Ledger, site: str, path: str, status: int
) -> None:
    """What is not here may come to be: a cache that kept the answer would hide it."""
    await ledger.lease()
    await ledger.publisher.publish_due()
    await ledger.sequencer().claim()
    async with aiohttp.ClientSession() as client, client.get(f"{site}{path}") as answer:
        assert answer.status == status
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert answer.headers["Cache-Control"] == "no-store"


async def test_the_other_pages(ledger: Ledger, site: str) -> None:
    async with aiohttp.ClientSession() as client:
        async with client.get(f"{site}/checkpoint") as answer:
            assert answer.status == 503
            assert (await answer.json(content_type=None))["reason"] == "LOG_NOT_STARTED"
        await ledger.sequencer().claim()
        async with client.get(f"{site}/checkpoint") as answer:
            assert answer.status == 200
            assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
            assert await answer.text() == (await ledger.store.checkpoint()).note
        await ledger.lease()
        await ledger.publisher.publish_due()
        async with client.get(f"{site}/") as answer:
            page = await answer.text()
            assert f"{BASE_URL}/2026/no-1" in page
            assert "log.vitne.example/2026" in page
        for path in ("/2026/no-2", "/2026", "/2026/no-1/", "//2026/no-1", "/2026/%2e%2e/no-1", "/x" * 3000):
            async with client.get(f"{site}{path}") as answer:
                assert answer.status == 404
                assert (await answer.json(content_type=None))["reason"] == "PAGE_UNKNOWN"
        async with client.post(f"{site}/2026/no-1", data=b"x") as answer:
            assert answer.status == 405
