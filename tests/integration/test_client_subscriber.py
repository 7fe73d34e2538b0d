"""The client package's subscriber: what it keeps, forgets, parks and gathers again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
import pytest
from aiokafka import AIOKafkaProducer

from vitne.canonical import b64url, sha256
from vitne.clock import SystemClock
from vitne.dev.broker import TopicSpec, create_topics
from vitne.dev.postgres import EmbeddedPostgres
from vitne.errors import FailedPrecondition, NotFound, Unavailable
from vitne.identifiers import OrganisationId, UuidFactory
from vitne.messaging.event_types import HUB_NOTICE
from vitne.messaging.headers import build
from vitne.messaging.kafka import KafkaSettings
from vitne.messaging.parked import Parked
from vitne.messaging.topics import dead_topic, hub_topic
from vitne.runtime.channel import open_channel
from vitne.runtime.interceptors.chain import Chain
from vitne.runtime.interceptors.errors import ErrorsInterceptor
from vitne_api.credential.v1 import credential_pb2
from vitne_api.events.v1 import events_pb2
from vitne_api.issuer.v1 import issuer_pb2, issuer_pb2_grpc
from vitne_client import Connection, Held, Subscriber

pytestmark = pytest.mark.stack

#: A topic of its own for each test.
HUBS = iter(
    [
        *("0192:919477822", "0192:974788985", "0192:971035854", "0192:974760673", "0192:889640782", "0192:971524960"),
        "0192:310100005",
    ]
)
ISSUED, CHANGED, WITHDRAWN, ENDED = 1, 2, 3, 4
VALID, REVOKED = credential_pb2.STATUS_VALID, credential_pb2.STATUS_REVOKED


class Issuer(issuer_pb2_grpc.IssuerServiceServicer):
    """Answers by handle."""

    def __init__(self) -> None:
        self.statuses: dict[str, credential_pb2.Status.ValueType] = {}
        self.unreadable: set[str] = set()
        self.down = False
        self.fetches = 0

    async def FetchCredentials(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.fetches += 1
        if self.down:
            raise Unavailable("DOWN", "the issuer is down")
        answer = issuer_pb2.FetchCredentialsResponse()
        for handle in request.handles:
            one = answer.credentials.add(handle=handle)
            if handle in self.unreadable:
                one.unavailable_reason = "SEAL_BROKEN"
            elif handle in self.statuses:
                one.credential.artefact, one.credential.status = handle[::-1], self.statuses[handle]
        return answer

    async def WithdrawLearner(self, request: Any, context: Any) -> Any:  # noqa: N802
        raise NotFound("REGISTRATION_UNKNOWN", "nobody is registered so", field="pseudonym")


class Unauthenticated(Connection):
    """The issuer at the edge asks for no tokens."""

    def open(self, scopes: Any) -> Any:
        return open_channel(self.issuer, None)


class World:
    """A hub with a topic and a database of its own."""

    def __init__(self, dsn: str, broker: str, address: str, issuer: Issuer, hub: str) -> None:
        self.issuer = issuer
        self.subscriber = Subscriber(
            Unauthenticated(address, "", "", Path(), ""),
            hub=hub,
            dsn=dsn,
            kafka=KafkaSettings(broker, idempotence=False, groups=False),
            keep=self.keep,
            forget=self.forget,
            ended=self.ended,
        )
        self.topic = hub_topic(OrganisationId.parse(hub))
        #: Handles at which the portal's own code fails.
        self.poisoned: set[str] = set()
        self._new_id = UuidFactory(SystemClock())
        self._revisions: dict[str, int] = {}
        self.producer = AIOKafkaProducer(bootstrap_servers=broker)

    async def keep(self, conn: Any, held: Sequence[Held]) -> None:
        if self.poisoned & {one.handle for one in held}:
            raise KeyError("a field that the portal did not expect")
        await conn.executemany(
            "INSERT INTO held VALUES ($1, $2, $3) ON CONFLICT (handle) DO UPDATE SET status = excluded.status",
            [(one.handle, one.pseudonym, one.credential.status) for one in held],
        )

    async def forget(self, conn: Any, handles: Sequence[str]) -> None:
        await conn.execute("DELETE FROM held WHERE handle = ANY($1::text[])", handles)

    async def ended(self, conn: Any, pseudonym: str, at: datetime) -> None:
        await conn.execute("DELETE FROM learner WHERE pseudonym = $1 AND since <= $2", pseudonym, at)

    async def held(self) -> dict[str, int]:
        return dict(await self.subscriber.pool.fetch("SELECT handle, status FROM held"))

    async def tell(self, learner: str, what: int, handle: str, **changes: Any) -> None:
        pseudonym = b64url(sha256(learner.encode()))
        revision = self._revisions[learner] = self._revisions.get(learner, 0) + 1
        notice = events_pb2.HubCredentialNotice(
            notice=what,  # type: ignore[arg-type]
            handle=handle,
            pseudonym=pseudonym,
            kind="no.micro_credential" if handle else "",
            provider="0192:971035854" if handle else "",
        )
        headers = build(
            event_id=self._new_id(),
            source="/vitne/issuer",
            type_=changes.get("type_", HUB_NOTICE),
            time=datetime.now(UTC),
            key=pseudonym,
            revision=revision,
            traceparent=None,
        )
        await self.producer.send_and_wait(
            self.topic, notice.SerializeToString(), key=pseudonym.encode(), headers=headers
        )

    async def issue(self, learner: str) -> str:
        handle = b64url(sha256(uuid4().bytes))
        self.issuer.statuses[handle] = VALID
        await self.tell(learner, ISSUED, handle)
        return handle

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self.subscriber.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def comes_to_hold(self, expected: dict[str, int]) -> None:
        deadline = asyncio.get_running_loop().time() + 60
        while await self.held() != expected:
            assert asyncio.get_running_loop().time() < deadline, await self.held()
            await asyncio.sleep(0.02)


@pytest.fixture(scope="module")
async def issuer() -> AsyncIterator[tuple[Issuer, str]]:
    service: Any = Issuer()  # type: ignore[abstract]  # a hub reaches no other method
    server = grpc.aio.server(interceptors=[Chain([ErrorsInterceptor()])])
    issuer_pb2_grpc.add_IssuerServiceServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield service, f"127.0.0.1:{port}"
    await server.stop(None)


@pytest.fixture
async def world(postgres: EmbeddedPostgres, broker: str, issuer: tuple[Issuer, str]) -> AsyncIterator[World]:
    service, address = issuer
    service.statuses.clear()
    service.unreadable.clear()
    dsn = await postgres.create_database(f"client_{uuid4().hex}")
    made = World(dsn, broker, address, service, next(HUBS))
    await create_topics(broker, [TopicSpec(made.topic, 2), TopicSpec(dead_topic(made.topic))])
    await made.producer.start()
    try:
        async with made.subscriber:
            table = "CREATE TABLE held (handle text PRIMARY KEY, pseudonym text, status int)"
            await made.subscriber.pool.execute(table)
            await made.subscriber.pool.execute("CREATE TABLE learner (pseudonym text PRIMARY KEY, since timestamptz)")
            yield made
    finally:
        await made.producer.stop()


async def test_what_is_told_is_fetched_kept_and_forgotten(world: World) -> None:
    first, second, third = [await world.issue("kari"), await world.issue("kari"), await world.issue("ola")]
    async with world.running():
        await world.comes_to_hold({first: VALID, second: VALID, third: VALID})
        world.issuer.statuses[first] = REVOKED
        await world.tell("kari", CHANGED, first)
        await world.tell("kari", WITHDRAWN, second)
        await world.comes_to_hold({first: REVOKED, third: VALID})
        # Withdrawn before it was fetched: the issuer answers nothing, and nothing is kept.
        del world.issuer.statuses[third]
        await world.tell("ola", CHANGED, third)
        await world.comes_to_hold({first: REVOKED})
        await world.subscriber.caught_up()
        assert await world.subscriber.waiting() == 0
        assert world.subscriber.lag().keys() == {world.topic}


async def test_the_end_of_a_registration_is_told_with_its_instant(world: World) -> None:
    await world.issue("kari")
    before, after = datetime(2026, 1, 1, tzinfo=UTC), datetime(2126, 1, 1, tzinfo=UTC)
    since = {b64url(sha256(name.encode())): at for name, at in (("kari", before), ("ola", after), ("per", before))}
    await world.subscriber.pool.executemany("INSERT INTO learner VALUES ($1, $2)", [*since.items()])
    for learner in ("kari", "ola"):
        await world.tell(learner, ENDED, "")
    last = await world.issue("kari")
    async with world.running():
        await world.subscriber.caught_up()
    assert last in await world.held()
    left = {row["pseudonym"] for row in await world.subscriber.pool.fetch("SELECT pseudonym FROM learner")}
    assert left == {*since} - {b64url(sha256(b"kari"))}, "ola has registered since, and nothing is said of per"


async def test_one_that_the_portal_fails_at_holds_up_no_other(world: World) -> None:
    bad, *good = [await world.issue(learner) for learner in ("kari", "kari", "ola", "ola")]
    world.poisoned.add(bad)
    async with world.running():
        await world.comes_to_hold(dict.fromkeys(good, VALID))
        assert await world.subscriber.waiting() == 1
        world.poisoned.clear()
        await world.comes_to_hold(dict.fromkeys([bad, *good], VALID))


async def test_an_issuer_that_is_down_is_waited_out_and_what_it_cant_read_asked_again(world: World) -> None:
    world.issuer.down = True
    first, second = await world.issue("kari"), await world.issue("kari")
    world.issuer.unreadable.add(second)
    before = world.issuer.fetches
    async with world.running():
        while world.issuer.fetches < before + 2:
            await asyncio.sleep(0.02)
        assert await world.held() == {}
        world.issuer.down = False
        await world.comes_to_hold({first: VALID})
        assert await world.subscriber.waiting() == 1
        world.issuer.unreadable.clear()
        await world.comes_to_hold({first: VALID, second: VALID})


async def test_it_goes_on_where_it_was_and_gathers_again_from_nothing(world: World) -> None:
    first = await world.issue("kari")
    async with world.running():
        await world.comes_to_hold({first: VALID})
    second = await world.issue("kari")
    async with world.running():
        await world.comes_to_hold({first: VALID, second: VALID})

    async def empty(conn: Any) -> None:
        await conn.execute("DELETE FROM held")

    await world.subscriber.rebuild(empty)
    assert await world.held() == {}
    async with world.running():
        await world.comes_to_hold({first: VALID, second: VALID})


async def drop_when_failed_again(world: World, message: Parked) -> None:
    """A message that was replayed can be given up once it has failed once more."""
    deadline = asyncio.get_running_loop().time() + 60
    while True:
        try:
            await world.subscriber.drop(message, actor="duty", ground="it is known to be nothing")
            return
        except FailedPrecondition:  # It is not failed yet.
            assert asyncio.get_running_loop().time() < deadline
            await asyncio.sleep(0.02)


async def test_what_cant_be_handled_is_parked_with_what_waits_behind_it_until_somebody_decides(world: World) -> None:
    stuck, behind, other = b64url(bytes(32)), "", ""
    world.issuer.statuses[stuck] = VALID
    await world.tell("kari", ISSUED, stuck, type_="vitne.hub.unheard_of.v1")
    behind, other = await world.issue("kari"), await world.issue("ola")
    async with world.running():
        await world.comes_to_hold({other: VALID})
        await world.subscriber.caught_up()
        failed, waiting = await world.subscriber.parked()
        assert (failed.state, failed.reason, waiting.state) == ("failed", "UNKNOWN_EVENT", "waiting")
        await world.subscriber.replay(failed, actor="duty", ground="the reader was updated")
        await drop_when_failed_again(world, failed)
        await world.comes_to_hold({other: VALID, behind: VALID})


async def test_refusals_are_errors_with_a_reason(world: World) -> None:
    with pytest.raises(NotFound) as caught:
        await world.subscriber.withdraw(b64url(bytes(32)))
    assert (caught.value.reason, caught.value.field) == ("REGISTRATION_UNKNOWN", "pseudonym")
