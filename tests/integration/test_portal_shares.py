"""What the portal keeps of shares: opened by link and code alone, gone with withdrawal, credential and learner."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import asyncpg
import pytest

from services.portal.reconcile import reconcile
from services.portal.sealing import PortalKeys
from services.portal.sessions import Sessions
from services.portal.sharing import access, store
from services.portal.sharing.access import Access
from services.portal.sharing.store import Item, Shares
from services.portal.sharing.terms import KEPT_AFTER_END, MAX_WRONG_CODES, State
from services.portal.store import Store, Told
from services.portal.wallet.codes import OfferSecrets
from services.portal.wallet.store import Offers
from services.portal.wiring import MIGRATIONS
from vitne.clock import ManualClock
from vitne.dev.postgres import EmbeddedPostgres
from vitne.errors import FailedPrecondition, ResourceExhausted, VitneError
from vitne.runtime.database import open_pool
from vitne.runtime.migrations import migrate

NOW = datetime(2026, 11, 22, 10, tzinfo=UTC)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
SECRET_TEXT = "Ærlig-hemmelig~"


class World:
    def __init__(self, dsn: str, pool: asyncpg.Pool, keys: PortalKeys) -> None:
        self.dsn, self.pool, self.keys = dsn, pool, keys
        self.store = Store(pool, keys)
        self.shares = Shares(pool, keys)
        self.learner = b""
        self.handle = self.other = ""

    async def new_learner(self) -> None:
        name = uuid4().hex
        self.learner = name.encode()
        self.handle, self.other = f"{name}{'h' * 11}", f"{name}{'o' * 11}"
        self.pseudonym = f"{name}{'p' * 11}"
        await self.store.register(self.learner, self.pseudonym, NOW)
        await self.told(NOW, self.handle, self.other)

    async def told(self, happened: datetime, *handles: str) -> None:
        told = [Told(handle, self.pseudonym, "dk.mikromerit", "0184:30859480", happened) for handle in handles]
        async with self.pool.acquire() as conn, conn.transaction():
            assert await self.store.want(conn, told, happened)

    async def withdrawn(self, handle: str, at: datetime) -> None:
        async with self.pool.acquire() as conn, conn.transaction():
            await self.store.forget(conn, {handle: at})

    async def share(self, *handles: str, id_: UUID | None = None, at: datetime = NOW) -> tuple[UUID, Access]:
        id_, given = id_ or uuid4(), access.new_access()
        items = [Item(handle, SECRET_TEXT) for handle in handles or (self.handle,)]
        made = await self.shares.create(self.learner, id_, items, otherwise=uuid4(), access=given, now=at, lifetime=DAY)
        return made, given

    async def enter(self, given: Access, code: str | None = None, now: datetime = NOW) -> str | None:
        """Give a code as the page does; the visit's secret where it is right."""
        tried = await access.derived(given.token, given.code if code is None else code)
        return await self.shares.enter(given.token, tried, now, HOUR)

    async def seen(self, given: Access, secret: str, now: datetime = NOW) -> list[str] | None:
        found = await self.shares.visited(given.token, secret, now)
        return None if found is None else [item.artefact for item in found[1]]


@pytest.fixture(scope="module")
async def database(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    dsn = await postgres.create_database(f"shares_{uuid4().hex}")
    await migrate(dsn, MIGRATIONS)
    pool = await open_pool(dsn)
    yield World(dsn, pool, PortalKeys.load(tmp_path_factory.mktemp("keys"), create=True))
    pool.terminate()


@pytest.fixture
async def world(database: World) -> World:
    await database.new_learner()
    return database


async def reason(work: object) -> str:
    with pytest.raises(VitneError) as caught:
        await work  # type: ignore[misc]
    return caught.value.reason


async def test_link_and_code_open_it_and_she_sees_that_they_did(world: World) -> None:
    id_, given = await world.share()
    assert (await world.shares.find(given.token)).state(NOW) is State.OPEN
    assert await world.seen(given, "") is None
    for minute in range(2):
        secret = await world.enter(given, now=NOW + timedelta(minutes=minute))
        assert secret is not None
        assert await world.seen(given, secret) == [SECRET_TEXT]
    assert await world.seen(given, secret or "", NOW + timedelta(minutes=62)) is None
    (share,) = await world.shares.of_learner(world.learner)
    assert (share.terms.id, share.opened) == (id_, 2)
    assert share.openings == (NOW + timedelta(minutes=1), NOW)
    assert [item.handle for item in share.items] == [world.handle]


async def test_what_she_calls_it_stays_when_it_ends_and_is_sealed(world: World) -> None:
    id_ = uuid4()
    items = [Item(world.handle, SECRET_TEXT)]
    await world.shares.create(
        world.learner,
        id_,
        items,
        otherwise=uuid4(),
        access=access.new_access(),
        now=NOW,
        lifetime=DAY,
        label="Søknad: Havn <1>",
    )
    await world.share(world.other)
    await world.shares.withdraw(world.learner, id_, NOW)
    assert sorted(share.label for share in await world.shares.of_learner(world.learner)) == ["", "Søknad: Havn <1>"]
    kept = await world.pool.fetchval("SELECT label FROM share WHERE id = $1", id_)
    assert b"Havn" not in kept


async def test_what_she_calls_it_can_be_changed_and_removed(world: World) -> None:
    async def called() -> list[str]:
        return [share.label for share in await world.shares.of_learner(world.learner)]

    id_, given = await world.share()
    await world.shares.relabel(world.learner, id_, "Havna")
    assert await called() == ["Havna"]
    assert b"Havna" not in await world.pool.fetchval("SELECT label FROM share WHERE id = $1", id_)
    assert await world.enter(given) is not None, "link and code stay"
    await world.shares.withdraw(world.learner, id_, NOW)
    await world.shares.relabel(world.learner, id_, "")
    assert await called() == [""]
    assert await world.pool.fetchval("SELECT label FROM share WHERE id = $1", id_) is None
    assert await reason(world.shares.relabel(b"another", id_, "Mine")) == "SHARE_UNKNOWN"


async def test_a_visit_is_one_share_s(world: World) -> None:
    _, one = await world.share()
    _, other = await world.share()
    secret = await world.enter(one)
    assert secret is not None
    assert await world.seen(other, secret) is None


async def test_five_wrong_codes_lock_it_also_at_once_and_a_new_link_unlocks(world: World) -> None:
    id_, given = await world.share()
    visitor = await world.enter(given)
    assert visitor is not None
    wrong = await access.derived(given.token, "222222")
    tries = await asyncio.gather(
        *(world.shares.enter(given.token, wrong, NOW, HOUR) for _ in range(12)), return_exceptions=True
    )
    assert [str(one) for one in tries].count("None") == MAX_WRONG_CODES
    assert all("SHARE_LOCKED" in str(one) for one in tries if one is not None)
    looked_at = await world.pool.fetchval("SELECT wrong_codes FROM share WHERE id = $1", id_)
    assert looked_at == MAX_WRONG_CODES
    assert await reason(world.enter(given)) == "SHARE_LOCKED", "the right code comes too late"
    assert (await world.shares.find(given.token)).state(NOW) is State.LOCKED
    assert await world.seen(given, visitor) == [SECRET_TEXT]
    assert await reason(world.shares.visited(given.token, "", NOW)) == "SHARE_LOCKED"
    fresh = access.new_access()
    await world.shares.replace_access(world.learner, id_, fresh, NOW)
    assert await reason(world.shares.find(given.token)) == "SHARE_UNKNOWN"
    assert await world.enter(fresh) is not None


async def test_strangers_who_give_the_right_code_at_once_are_let_in_each(world: World) -> None:
    _, given = await world.share()
    right = await access.derived(given.token, given.code)
    wrong = await access.derived(given.token, "222222")
    tries = [wrong] * (MAX_WRONG_CODES - 1) + [right] * (4 * MAX_WRONG_CODES)
    entered = await asyncio.gather(*(world.shares.enter(given.token, each, NOW, HOUR) for each in tries))
    assert entered[: MAX_WRONG_CODES - 1] == [None] * (MAX_WRONG_CODES - 1)
    secrets = entered[MAX_WRONG_CODES - 1 :]
    assert len(set(secrets)) == len(secrets)
    assert [await world.seen(given, secret or "") for secret in secrets] == [[SECRET_TEXT]] * len(secrets)
    (share,) = await world.shares.of_learner(world.learner)
    assert (share.opened, share.terms.state(NOW)) == (len(secrets), State.OPEN)


async def test_the_right_code_forgives_the_wrong_ones(world: World) -> None:
    _, given = await world.share()
    for _ in range(3):
        for _ in range(MAX_WRONG_CODES - 1):
            assert await world.enter(given, "222222") is None
        assert await world.enter(given) is not None


async def test_it_expires_and_can_be_renewed(world: World) -> None:
    id_, given = await world.share()
    secret = await world.enter(given)
    assert secret is not None
    assert await reason(world.shares.visited(given.token, secret, NOW + DAY)) == "SHARE_EXPIRED"
    assert await reason(world.enter(given, now=NOW + DAY)) == "SHARE_EXPIRED"
    await world.shares.renew(world.learner, id_, NOW + DAY, DAY)
    assert await world.enter(given, now=NOW + DAY) is not None


async def test_withdrawn_is_gone_at_once_and_for_good(world: World) -> None:
    id_, given = await world.share()
    secret = await world.enter(given)
    assert secret is not None
    await world.shares.withdraw(world.learner, id_, NOW)
    await world.shares.withdraw(world.learner, id_, NOW + HOUR)
    assert await reason(world.shares.visited(given.token, secret, NOW)) == "SHARE_WITHDRAWN"
    assert await reason(world.enter(given)) == "SHARE_WITHDRAWN"
    assert await world.pool.fetchval("SELECT count(*) FROM share_item WHERE share = $1", id_) == 0
    for again in (
        world.shares.renew(world.learner, id_, NOW, DAY),
        world.shares.replace_access(world.learner, id_, access.new_access(), NOW),
        world.share(id_=id_),
    ):
        assert await reason(again) == "SHARE_WITHDRAWN"
    (share,) = await world.shares.of_learner(world.learner)
    assert (share.terms.withdrawn_at, share.items, share.opened) == (NOW, (), 1)
    assert (share.handles, share.ended_by) == ((world.handle,), "learner")


async def test_nobody_touches_another_learner_s_share(world: World) -> None:
    id_, _ = await world.share()
    owner = world.learner
    await world.new_learner()
    assert await world.shares.of_learner(world.learner) == []
    for act in (
        world.shares.withdraw(world.learner, id_, NOW),
        world.shares.renew(world.learner, id_, NOW, DAY),
        world.shares.replace_access(world.learner, id_, access.new_access(), NOW),
        world.share(id_=id_),
    ):
        assert await reason(act) == "SHARE_UNKNOWN"
    (share,) = await world.shares.of_learner(owner)
    assert share.terms.state(NOW) is State.OPEN


async def test_asked_for_twice_the_last_time_counts(world: World) -> None:
    id_, first = await world.share()
    again, second = await world.share(id_=id_)
    assert again == id_
    assert await reason(world.shares.find(first.token)) == "SHARE_UNKNOWN"
    assert len(await world.shares.of_learner(world.learner)) == 1
    assert await world.enter(second) is not None


async def test_a_page_that_is_sent_again_with_something_else_takes_no_share_away(world: World) -> None:
    id_, first = await world.share()
    other, second = await world.share(world.other, world.handle, id_=id_)
    assert other != id_
    # Nor does one that is sent again after somebody opened what it made.
    assert await world.enter(first) is not None
    third, _ = await world.share(id_=id_)
    shares = {share.terms.id: share for share in await world.shares.of_learner(world.learner)}
    assert shares.keys() == {id_, other, third}
    assert [item.handle for item in shares[other].items] == [world.other, world.handle]
    assert await world.enter(second) is not None


async def test_it_goes_with_the_credential_and_with_the_learner(world: World) -> None:
    _, given = await world.share(world.handle, world.other)
    secret = await world.enter(given)
    assert secret is not None
    await world.withdrawn(world.handle, NOW - HOUR)  # of before: a rebuild reads it again
    assert len(await world.seen(given, secret) or ()) == 2
    await world.withdrawn(world.handle, NOW + HOUR)
    assert await world.seen(given, secret) == [SECRET_TEXT]
    await world.withdrawn(world.other, NOW + HOUR)
    assert await reason(world.shares.visited(given.token, secret, NOW)) == "SHARE_WITHDRAWN"
    await world.told(NOW + HOUR, world.handle)
    _, other = await world.share()
    await world.store.erase(world.learner)
    assert await reason(world.shares.find(other.token)) == "SHARE_UNKNOWN"
    with pytest.raises(FailedPrecondition, match="NOT_REGISTERED"):
        await world.share()


async def test_fetcher_and_consumer_that_forget_one_credential_never_wait_crosswise(world: World) -> None:
    await world.share()
    offer = uuid4()
    await Offers(world.pool).make(world.learner, offer, world.handle, OfferSecrets.new(), NOW)
    claimed = [one for one in await world.store.claim(NOW, 100) if one.handle == world.handle]
    async with world.pool.acquire() as hers, hers.transaction():
        # She is about to end the offer; the consumer waits for that in the middle of its work …
        await hers.execute("SELECT FROM wallet_offer WHERE id = $1 FOR UPDATE", offer)
        own = await hers.fetchval("SELECT pg_backend_pid()")
        consumer = asyncio.create_task(world.withdrawn(world.handle, NOW))
        async with asyncio.timeout(60):
            while not await world.pool.fetchval(
                "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE $1 = ANY(pg_blocking_pids(pid)))", own
            ):
                await asyncio.sleep(0.01)
            # … and the fetcher, which is told the same, lets it be.
            await world.store.keep([], claimed, NOW)
    await consumer
    (share,) = await world.shares.of_learner(world.learner)
    assert share.items == ()


async def test_what_is_gone_at_the_issuer_ends_all_though_its_clock_is_ahead(world: World) -> None:
    await world.told(NOW + HOUR, world.handle)
    await world.share()
    offers = Offers(world.pool)
    await offers.make(world.learner, uuid4(), world.handle, OfferSecrets.new(), NOW)
    claimed = [one for one in await world.store.claim(NOW, 100) if one.handle == world.handle]
    await world.store.keep([], claimed, NOW)
    (share,) = await world.shares.of_learner(world.learner)
    (offer,) = await offers.of_learner(world.learner)
    assert (share.items, offer.ended_at) == ((), NOW + HOUR)


async def test_an_end_that_the_issuer_tells_takes_all_of_hers_unless_she_has_registered_since(world: World) -> None:
    sessions = Sessions(world.pool)
    secret = await sessions.open(world.learner, "id-porten", NOW, DAY)
    _, given = await world.share()

    async def ended(at: datetime) -> None:
        async with world.pool.acquire() as conn, conn.transaction():
            await world.store.end(conn, world.pseudonym, at)

    await ended(NOW - HOUR)  # of an earlier registration: a rebuild reads it again
    assert await world.enter(given) is not None
    assert await sessions.whose(secret, NOW) is not None
    await ended(NOW + HOUR)
    assert await reason(world.shares.find(given.token)) == "SHARE_UNKNOWN"
    assert await world.store.pseudonym(world.learner) is None
    assert await sessions.whose(secret, NOW) is None
    await ended(NOW + HOUR)  # told twice, and of a learner whom nobody knows


async def test_a_withdrawal_that_is_read_late_ends_what_was_shared_since(world: World) -> None:
    _, given = await world.share(at=NOW + HOUR)
    secret = await world.enter(given, now=NOW + HOUR)
    assert secret is not None
    await world.withdrawn(world.handle, NOW + timedelta(minutes=1))  # erased then; the topic was an hour behind
    assert await reason(world.shares.visited(given.token, secret, NOW + HOUR)) == "SHARE_WITHDRAWN"
    # Told of anew it can be shared again, and a rebuild that reads of that withdrawal once more leaves it alone.
    await world.told(NOW + HOUR, world.handle)
    _, again = await world.share(at=NOW + HOUR)
    await world.withdrawn(world.handle, NOW + timedelta(minutes=1))
    assert await world.enter(again, now=NOW + HOUR) is not None


async def test_what_is_withdrawn_meanwhile_is_not_shared(world: World) -> None:
    await world.withdrawn(world.handle, NOW)
    assert await reason(world.share(world.other, world.handle)) == "CREDENTIAL_UNKNOWN"
    assert await world.shares.of_learner(world.learner) == []


async def test_after_a_restore_none_is_open_that_she_may_have_ended(world: World) -> None:
    _, given = await world.share()
    secret = await world.enter(given)
    assert secret is not None
    # Only the issuer was restored.
    assert (await reconcile(world.pool, [], NOW, keep_access=True)).shares_ended == 0
    assert await world.seen(given, secret) == [SECRET_TEXT]
    assert (await reconcile(world.pool, [], NOW, keep_access=False)).shares_ended >= 1
    assert await reason(world.shares.visited(given.token, secret, NOW)) == "SHARE_WITHDRAWN"
    assert (await reconcile(world.pool, [], NOW, keep_access=False)).shares_ended == 0
    (share,) = await world.shares.of_learner(world.learner)
    assert (share.items, share.handles, share.ended_by) == ((), (world.handle,), "operator")


async def test_tables_tell_nothing_and_open_nothing(world: World) -> None:
    _, given = await world.share()
    secret = await world.enter(given)
    assert secret is not None
    for table in ("share", "share_item", "share_opening", "share_visit"):
        for row in await world.pool.fetch(f"SELECT to_jsonb(t)::text FROM {table} t"):
            for hidden in (given.token, given.code, secret, "Ærlig", SECRET_TEXT.encode().hex()):
                assert hidden not in row[0], table


class Rounds(ManualClock):
    """Tells what is there each time that a sweep is over."""

    def __init__(self, start: datetime, pool: asyncpg.Pool) -> None:
        super().__init__(start)
        self.pool = pool
        self.left: list[list[UUID]] = []

    async def sleep(self, seconds: float) -> None:
        self.left.append([row["id"] for row in await self.pool.fetch("SELECT id FROM share ORDER BY id")])
        await super().sleep(seconds)


async def test_what_ended_long_ago_is_swept_out_with_its_label(world: World) -> None:
    expired, withdrawn, open_ = [(await world.share())[0] for _ in range(3)]
    await world.shares.relabel(world.learner, expired, SECRET_TEXT)
    await world.shares.withdraw(world.learner, withdrawn, NOW)
    await world.shares.renew(world.learner, open_, NOW, 100 * DAY)
    end = NOW + DAY + KEPT_AFTER_END
    clock = Rounds(end - 36 * HOUR, world.pool)
    sweeping = asyncio.create_task(world.shares.run(clock))
    while clock.now() < end + 3 * HOUR:
        await asyncio.sleep(0.01)
        assert not sweeping.done()
    sweeping.cancel()
    gone = {id_: sum(id_ in left for left in clock.left) for id_ in (expired, withdrawn)}
    assert gone == {withdrawn: 13, expired: 37}, "each goes within the hour after its 30 days, and not before"
    assert open_ in clock.left[-1]
    assert [share.terms.id for share in await world.shares.of_learner(world.learner)] == [open_]


async def test_what_is_to_be_swept_out_keeps_no_other_from_being_made(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "MAX_SHARES", 1)
    await world.share()
    end = NOW + DAY + KEPT_AFTER_END
    with pytest.raises(ResourceExhausted, match="TOO_MANY_SHARES"):
        await world.share(at=end)
    await world.share(at=end + HOUR / 60)


async def test_sweeping_goes_on_after_an_outage(world: World, caplog: pytest.LogCaptureFixture) -> None:
    id_, _ = await world.share()
    stopped, clock = await open_pool(world.dsn), Rounds(NOW + DAY + KEPT_AFTER_END + HOUR, world.pool)
    shares = Shares(stopped, world.keys)
    await stopped.close()
    sweeping = asyncio.create_task(shares.run(clock))
    while len(clock.left) < 2:
        await asyncio.sleep(0.01)
        assert not sweeping.done()
    sweeping.cancel()
    assert id_ in clock.left[-1]
    assert "shares that ended long ago wait" in caplog.text
