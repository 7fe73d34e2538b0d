"""The portal, rebuilt from nothing by one command: what learners see comes out equal, and who they are is kept."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import asyncpg
import pytest

from services.portal import wiring
from services.portal.rebuild import Rebuilt
from services.portal.settings import PortalSettings
from tests.integration.portal_world import Browser, World, new_world, until
from vitne.dev.broker import EmbeddedBroker
from vitne.dev.postgres import EmbeddedPostgres
from vitne.identifiers import UuidFactory
from vitne.messaging import desk
from vitne.messaging import parked as parked_messages
from vitne.messaging.consumer import Consumer
from vitne.messaging.kafka import Partition
from vitne.runtime.settings import load
from vitne_api.credential.v1 import credential_pb2
from vitne_api.events.v1 import events_pb2

pytestmark = pytest.mark.stack


@pytest.fixture
async def world(tmp_path_factory: pytest.TempPathFactory, postgres: EmbeddedPostgres) -> AsyncIterator[World]:
    folder = tmp_path_factory.mktemp("portal")
    # A broker of its own: the topic is the hub's, and must hold nothing of another test's.
    async with (
        EmbeddedBroker(folder / "broker") as broker,
        await new_world(folder, postgres, broker.bootstrap_servers) as world,
    ):
        yield world


async def lived_in(world: World, browser: Browser) -> None:
    """A learner with credentials in every state, one whom nobody knows yet, one who left; a message given up."""
    kari, ola, per = world.learners[:3]
    await browser.log_in(kari)
    assert (await browser.press("/register"))[0] == 200
    handles = [await world.issue(kari, f"Klimaregnskaber {number}") for number in range(4)]
    await world.change_status(kari, handles[0], credential_pb2.STATUS_REVOKED)
    await world.change_status(kari, handles[1], credential_pb2.STATUS_SUSPENDED)
    await world.change_status(kari, handles[1], credential_pb2.STATUS_VALID)
    await world.send(kari, world.notice(kari, handles[2], events_pb2.HUB_NOTICE_WITHDRAWN))
    del world.issuer.credentials[handles[2]]
    await world.issue(ola)
    await world.send(per, world.notice(per, await world.issue(per), events_pb2.HUB_NOTICE_WITHDRAWN))
    # One notice that can't be handled, and behind it one that can; an operator gives the first up.
    await world.send(ola, None, value=b"\xff not a notice")
    await world.issue(ola, "Efter fejlen")
    await until(lambda: parked(world, 2))
    await give_up_first(world)
    await settled(world)


async def seen(browser: Browser) -> list[dict[str, Any]]:
    """What she is shown, without when it was fetched."""
    return [{name: said for name, said in one.items() if name != "fetched_at"} for one in await browser.shown()]


async def parked(world: World, count: int) -> bool:
    return len(await world.rows("SELECT FROM consumer_parked")) == count


async def failed(world: World, of: int) -> bool:
    """Whether the first of so many parked messages failed; those behind it wait."""
    rows = await world.rows('SELECT state FROM consumer_parked ORDER BY "offset"')
    return [row["state"] for row in rows] == ["failed", *["waiting"] * (of - 1)]


async def give_up_first(world: World) -> None:
    """As an operator does."""
    place = json.loads((await world.command("parked", "list"))[1].splitlines()[0])["place"]
    where = f"{place['topic']}[{place.get('partition', 0)}]@{place.get('offset', 0)}"
    code, _, errors = await world.command("parked", "drop", where, "--ground", "sent by mistake")
    assert code == 0, errors


async def alone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """No portal serves, and this process is set up as one."""
    assert await world.stop_portal() == 0
    for name, value in world.environment.items():
        monkeypatch.setenv(name, value)


async def fetched(world: World) -> bool:
    return await world.rows("SELECT FROM credential WHERE fetch_at IS NOT NULL") == []


async def settled(world: World) -> None:
    async def look() -> bool:
        (row,) = await world.rows(
            """
            SELECT (SELECT count(*) FROM credential WHERE fetch_at IS NOT NULL) AS due,
                   (SELECT count(*) FROM consumer_parked) AS parked,
                   (SELECT sum(next_offset) FROM consumer_offset) AS read
            """
        )
        return (row["due"], row["parked"]) == (0, 0) and row["read"] == world.sent

    await until(look)


async def gathered(world: World) -> tuple[Any, ...]:
    """What is kept of credentials and learners, without what is sealed, which is never twice the same."""
    credentials = await world.rows(
        """
        SELECT handle, pseudonym, kind, provider, fetch_at, attempts, status, length(content) AS size
        FROM credential ORDER BY handle
        """
    )
    learners = await world.rows("SELECT * FROM subscriber WHERE lookup IS NOT NULL ORDER BY pseudonym")
    nameless = await world.rows("SELECT pseudonym FROM subscriber WHERE lookup IS NULL ORDER BY pseudonym")
    sessions = await world.rows("SELECT * FROM session ORDER BY id")
    progress = await world.rows("SELECT * FROM consumer_seen ORDER BY key")
    offsets = await world.rows("SELECT * FROM consumer_offset ORDER BY partition")
    return tuple(
        [tuple(row) for row in rows] for rows in (credentials, learners, nameless, sessions, progress, offsets)
    )


async def test_what_was_gathered_comes_out_equal_beside_a_portal_that_serves(world: World) -> None:
    async with world.browser() as browser:
        await lived_in(world, browser)
        before, shown, fetches = await gathered(world), await seen(browser), len(world.issuer.fetches)
        assert sorted(one["status"] for one in shown) == ["revoked", "valid", "valid"]
        code, output, errors = await world.command("rebuild")
        assert code == 0, errors
        assert json.loads(output) == {"credentials": 5, "dropped_again": 1, "parked": 0}
        await settled(world)
        assert await gathered(world) == before
        assert await seen(browser) == shown, "she is still logged in, and sees what she saw"
        assert len(world.issuer.fetches) > fetches, "it was fetched again"
        # It goes on from there.
        await world.issue(world.learners[0], "Bagefter")
        await settled(world)
        assert len(await browser.shown()) == len(shown) + 1


async def test_a_portal_that_is_down_is_rebuilt_from_empty_tables(world: World) -> None:
    async with world.browser() as browser:
        await lived_in(world, browser)
        before, shown = await gathered(world), await seen(browser)
        assert await world.stop_portal() == 0
        # As after a restored backup from before the first event: learners and operators' acts are all there is.
        await world.rows("DELETE FROM credential")
        await world.rows("DELETE FROM consumer_offset")
        await world.rows("DELETE FROM consumer_seen")
        code, output, errors = await world.command("rebuild")
        assert code == 0, errors
        assert json.loads(output) == {"credentials": 5, "dropped_again": 1, "parked": 0}
        assert await gathered(world) == before
        await world.start_portal()
        assert await seen(browser) == shown
        acts = [json.loads(line) for line in (await world.command("parked", "acts"))[1].splitlines()]
        assert (acts[0]["kind"], acts[0]["actor"]) == ("ACT_KIND_DROPPED", "rebuild")
        assert acts[0]["ground"] == f"repeats {acts[-1]['id']}"


async def test_a_message_that_fails_last_of_all_is_given_up_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world.browser() as browser:
        await lived_in(world, browser)
        before = await gathered(world)
    await alone(world, monkeypatch)
    repeat, consume = desk.repeat_acts, Consumer.run
    looking: asyncio.Future[Consumer] = asyncio.get_running_loop().create_future()
    looked = asyncio.Event()

    async def after_the_look(consumer: Consumer) -> None:
        looking.set_result(consumer)
        await looked.wait()
        await consume(consumer)

    async def look(conn: asyncpg.Connection, name: str, at: datetime, new_id: UuidFactory) -> int:
        """All is read and fetched between the first look at what failed and the look whether it is."""
        repeated = await repeat(conn, name, at, new_id)
        if not looked.is_set():
            looked.set()
            await (await looking).caught_up.wait()
            await until(lambda: fetched(world))
        return repeated

    monkeypatch.setattr(Consumer, "run", after_the_look)
    monkeypatch.setattr(desk, "repeat_acts", look)
    assert await wiring.rebuild(load(PortalSettings)) == Rebuilt(credentials=5, dropped_again=1, parked=0)
    assert await gathered(world) == before


async def test_a_message_that_is_handled_during_a_look_is_counted(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A message that is due is handled after what is to be fetched was counted, and before what is due."""
    async with world.browser() as browser:
        await lived_in(world, browser)
        before = await gathered(world)
    await alone(world, monkeypatch)
    repeat, count_due, sweep = desk.repeat_acts, parked_messages.count_due, Consumer._sweep_partition
    counted: list[int] = []
    held = False
    handling = asyncio.Lock()

    async def while_nobody_holds_it_back(consumer: Consumer, partition: Partition) -> bool:
        async with handling:
            return await sweep(consumer, partition)

    async def given_up_beside(conn: asyncpg.Connection, name: str, at: datetime, new_id: UuidFactory) -> int:
        """An operator gives up what failed, not the rebuild; and the consumer is kept off what waits behind it."""
        nonlocal held
        if await parked(world, 2):  # Else what is behind it was not read yet, or it is given up already.
            await handling.acquire()
            held = True
            assert await repeat(conn, name, at, new_id) == 1
            await until(lambda: fetched(world))
        return 0

    async def after_it_is_handled(conn: asyncpg.Connection, name: str) -> int:
        nonlocal held
        if not held:
            return await count_due(conn, name)
        held = False
        handling.release()
        await until(lambda: parked(world, 0))
        counted.append(await count_due(conn, name))
        return counted[-1]

    monkeypatch.setattr(Consumer, "_sweep_partition", while_nobody_holds_it_back)
    monkeypatch.setattr(desk, "repeat_acts", given_up_beside)
    monkeypatch.setattr(parked_messages, "count_due", after_it_is_handled)
    assert await wiring.rebuild(load(PortalSettings)) == Rebuilt(credentials=5, dropped_again=0, parked=0)
    assert counted == [1], "as it was when what is to be fetched was counted"
    assert await gathered(world) == before


async def test_what_fails_during_a_look_is_given_up_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """One message waits behind another, and both were given up: it fails after a look at what failed."""
    (ola,) = world.learners[:1]
    await world.issue(ola)
    for unreadable in (b"\xff not a notice", b"\xff nor this"):
        await world.send(ola, None, value=unreadable)
    await until(lambda: failed(world, 2))
    await give_up_first(world)
    await until(lambda: failed(world, 1))
    await give_up_first(world)
    await settled(world)
    before = await gathered(world)
    await alone(world, monkeypatch)
    repeat = desk.repeat_acts
    holder = await asyncpg.connect(world.dsn)
    held, waited = holder.transaction(), False

    async def released_after_the_look(conn: asyncpg.Connection, name: str, at: datetime, new_id: UuidFactory) -> int:
        nonlocal waited
        if holder.is_in_transaction() and await failed(world, 1):
            await held.rollback()  # It had failed before it could be held back, and would be waited for here.
        repeated = await repeat(conn, name, at, new_id)
        if repeated and not waited:
            await held.start()
            await holder.execute("SELECT FROM consumer_offset FOR UPDATE")
        elif holder.is_in_transaction():
            await held.rollback()
            await until(lambda: failed(world, 1))
        waited = waited or bool(repeated)
        return repeated

    monkeypatch.setattr(desk, "repeat_acts", released_after_the_look)
    try:
        assert await wiring.rebuild(load(PortalSettings)) == Rebuilt(credentials=1, dropped_again=2, parked=0)
    finally:
        await holder.close()
    assert await gathered(world) == before


async def test_what_an_operator_decides_during_a_look_is_waited_for(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All is read and nothing is due; then a message is given up that had not been before, and those behind it are."""
    (ola,) = world.learners[:1]
    await world.issue(ola)
    await world.send(ola, None, value=b"\xff not a notice")
    await world.issue(ola, "Efter fejlen")
    await until(lambda: failed(world, 2))
    await alone(world, monkeypatch)
    repeat = desk.repeat_acts
    decided = False

    async def decided_beside(conn: asyncpg.Connection, name: str, at: datetime, new_id: UuidFactory) -> int:
        nonlocal decided
        repeated = await repeat(conn, name, at, new_id)
        if not decided and await failed(world, 2) and await fetched(world):
            await give_up_first(world)
            decided = True
        return repeated

    monkeypatch.setattr(desk, "repeat_acts", decided_beside)
    assert await wiring.rebuild(load(PortalSettings)) == Rebuilt(credentials=2, dropped_again=0, parked=0)
    assert await fetched(world)
