"""Dead letters: operators list, inspect, replay, drop and skip by RPC and by command; each act is recorded."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any, NamedTuple
from uuid import uuid4

import asyncpg
import grpc
import pytest

from tests.integration.portal_world import AUDIENCE, CLOCK, MARKER, World, new_world, until
from tests.unit.declared_metrics import samples
from vitne.canonical import b64url, sha256
from vitne.dev.broker import EmbeddedBroker
from vitne.dev.postgres import EmbeddedPostgres
from vitne.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound, VitneError
from vitne.messaging.lag import ParkedWatch
from vitne.runtime.channel import open_channel
from vitne.runtime.identity import ClientKey, TokenSource
from vitne.runtime.status import error_from_rpc
from vitne_api.operations.v1 import operations_pb2 as operations
from vitne_api.operations.v1 import operations_pb2_grpc as operations_grpc

pytestmark = pytest.mark.stack

#: What a release that breaks the contract might put into an event.
POISON = f"{MARKER} 01010112345".encode() + b"\xff"


@pytest.fixture(scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory, postgres: EmbeddedPostgres) -> AsyncIterator[World]:
    folder = tmp_path_factory.mktemp("portal")
    async with (
        EmbeddedBroker(folder / "broker") as broker,
        await new_world(folder, postgres, broker.bootstrap_servers) as world,
    ):
        yield world


@pytest.fixture(scope="module")
async def operator(world: World) -> AsyncIterator[operations_grpc.OperationsServiceAsyncStub]:
    """The portal as an operator's client calls it."""
    key = ClientKey.read(world.operator.client_id, world.operator.key_file)
    tokens = TokenSource(
        world.identity_url, key, ("vitne:operations.parked",), CLOCK, resource=AUDIENCE, allow_http=True
    )
    channel = open_channel(f"127.0.0.1:{world.grpc_port}", tokens)
    yield operations_grpc.OperationsServiceStub(channel)
    await channel.close()


@pytest.fixture(autouse=True)
async def clean(world: World) -> None:
    await world.rows("DELETE FROM consumer_parked")
    await world.rows("DELETE FROM consumer_act")


class Stuck(NamedTuple):
    """A learner with one handled notice, one that fails, and two that wait behind it."""

    pid: str
    key: str
    failed: operations.Place


async def stuck(world: World, operator: Any, number: int, **poison: Any) -> Stuck:
    pid = world.learners[number]
    await world.issue(pid)
    await world.send(pid, None, value=POISON, **poison)
    await world.issue(pid)
    await world.issue(pid)
    key = world.issuer.pseudonym(pid)

    async def look() -> bool:
        return len([one for one in await listed(operator) if one.key == key]) == 3

    await until(look)
    (failed,) = [one for one in await listed(operator, state=operations.PARKED_STATE_FAILED) if one.key == key]
    return Stuck(pid, key, failed.place)


async def listed(operator: Any, **fields: Any) -> list[operations.ParkedMessage]:
    answer = await operator.ListParked(operations.ListParkedRequest(**fields))
    return list(answer.messages)


async def refused(call: Any) -> VitneError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return error_from_rpc(caught.value)


async def handled(world: World, key: str) -> int:
    rows = await world.rows("SELECT revision FROM consumer_seen WHERE key = $1", key)
    return int(rows[0]["revision"]) if rows else 0


async def reaches(world: World, key: str, revision: int) -> None:
    async def look() -> bool:
        return await handled(world, key) == revision

    await until(look)


async def test_an_operator_sees_what_is_wrong_and_nothing_of_anybody(world: World, operator: Any) -> None:
    one = await stuck(world, operator, 0)
    found = await listed(operator)
    assert [message.state for message in found] == [
        operations.PARKED_STATE_FAILED,
        operations.PARKED_STATE_WAITING,
        operations.PARKED_STATE_WAITING,
    ]
    assert [(message.revision, message.handled_revision) for message in found] == [(2, 1), (3, 1), (4, 1)]
    assert [message.reason for message in found] == ["UNDECODABLE", "", ""]
    message = (await operator.GetParked(operations.GetParkedRequest(place=one.failed))).message
    assert (message.value_size, message.value_digest) == (len(POISON), b64url(sha256(POISON)))
    headers = {header.name: header.value for header in message.headers}
    assert (headers["ce_type"], headers["ce_revision"]) == ("vitne.hub.notice.v1", "2")
    # Neither by RPC nor by command does the value show.
    code, output, _ = await world.command("parked", "show", where(one.failed))
    assert code == 0
    assert json.loads(output)["reason"] == "UNDECODABLE"
    for text in (str(message), output):
        assert "01010112345" not in text
        assert MARKER not in text
    # Pages hold each once.
    paged, token = [], ""
    while True:
        answer = await operator.ListParked(operations.ListParkedRequest(page_size=1, page_token=token))
        paged += answer.messages
        token = answer.next_page_token
        if not token:
            break
    assert paged == found
    assert (await refused(listed(operator, page_token="nonsense"))).reason == "BAD_PAGE_TOKEN"
    assert (await refused(listed(operator, consumer="ledger.leaves"))).reason == "CONSUMER_UNKNOWN"


async def test_a_dropped_message_is_passed_and_the_act_is_recorded_once(world: World, operator: Any) -> None:
    one = await stuck(world, operator, 1)
    request = operations.DropParkedRequest(request_id=str(uuid4()), place=one.failed, ground="sent by mistake")
    act = (await operator.DropParked(request)).act
    await reaches(world, one.key, 4)
    assert await listed(operator) == []
    assert (act.kind, act.key, act.revision) == (operations.ACT_KIND_DROPPED, one.key, 2)
    assert (act.cause, act.ground) == ("UNDECODABLE", "sent by mistake")
    assert act.actor == f"0192:974760673 {world.operator.client_id}"
    assert (await operator.DropParked(request)).act == act, "repeated, it is answered as it was"
    request.ground = "another"
    assert isinstance(await refused(operator.DropParked(request)), AlreadyExists)
    request.request_id = str(uuid4())
    assert isinstance(await refused(operator.DropParked(request)), NotFound)
    assert list((await operator.ListActs(operations.ListActsRequest())).acts) == [act]


async def test_a_replayed_message_is_tried_again_and_what_waits_only_waits(world: World, operator: Any) -> None:
    one = await stuck(world, operator, 2)
    (waiting, *_) = await listed(operator, state=operations.PARKED_STATE_WAITING)
    for method, request in (
        (operator.ReplayParked, operations.ReplayParkedRequest),
        (operator.DropParked, operations.DropParkedRequest),
    ):
        error = await refused(method(request(request_id=str(uuid4()), place=waiting.place, ground="hurry")))
        assert isinstance(error, FailedPrecondition)
        assert error.reason == "NOT_FAILED"
    # Nothing has changed: it fails again, under the same reason, and the others go on waiting.
    again = operations.ReplayParkedRequest(request_id=str(uuid4()), place=one.failed, ground="to see")
    await operator.ReplayParked(again)

    async def failed_again() -> bool:
        states = [message.state for message in await listed(operator)]
        return states.count(operations.PARKED_STATE_FAILED) == 1 and len(states) == 3

    await until(failed_again)
    assert await handled(world, one.key) == 1
    # The cause goes away: here, the bytes that a repaired release would have read.
    good = world.notice(one.pid, world.make(one.pid)).SerializeToString()
    await world.rows(
        'UPDATE consumer_parked SET value = $1 WHERE "offset" = $2 AND key = $3', good, one.failed.offset, one.key
    )
    code, output, errors = await world.command("parked", "replay", where(one.failed), "--ground", "release 2 reads it")
    assert code == 0, errors
    assert json.loads(output)["actor"].startswith("command ")
    await reaches(world, one.key, 4)
    acts = [json.loads(line) for line in (await world.command("parked", "acts"))[1].splitlines()]
    assert [(act["kind"], act["ground"]) for act in acts] == [
        ("ACT_KIND_REPLAYED", "release 2 reads it"),
        ("ACT_KIND_REPLAYED", "to see"),
    ]


async def test_a_gap_is_closed_whole_and_only_where_there_is_one(world: World, operator: Any) -> None:
    pid = world.learners[3]
    key = world.issuer.pseudonym(pid)
    await world.issue(pid)
    await world.send(pid, world.notice(pid, world.make(pid)), revision=4)

    async def waits() -> bool:
        return [message.revision for message in await listed(operator)] == [4]

    await until(waits)

    async def skip(through: int, **changes: Any) -> Any:
        fields = {"consumer": "portal", "topic": world.topic, "key": key, "ground": "lost with the old cluster"}
        return await operator.SkipGap(
            operations.SkipGapRequest(request_id=str(uuid4()), through_revision=through, **{**fields, **changes})
        )

    for through in (1, 2, 4, 7):
        assert (await refused(skip(through))).reason == "NO_GAP"
    assert (await refused(skip(3, key=world.issuer.pseudonym(world.learners[4])))).reason == "NO_GAP"
    assert isinstance(await refused(skip(3, ground="")), InvalidArgument)
    assert await handled(world, key) == 1
    act = (await skip(3)).act
    assert (act.kind, act.revision, act.place.topic) == (operations.ACT_KIND_SKIPPED, 3, world.topic)
    await reaches(world, key, 4)


async def test_other_keys_go_on_and_metrics_tell_parked_keys_from_backlog(world: World, operator: Any) -> None:
    one = await stuck(world, operator, 5)
    other = world.learners[6]
    await world.issue(other)
    await reaches(world, world.issuer.pseudonym(other), 1)
    pool = await asyncpg.create_pool(world.dsn, min_size=1, max_size=1)
    try:
        watch = ParkedWatch(pool, CLOCK)
        await watch.look()
        failed = ("portal", world.topic, "failed")
        assert samples("vitne_consumer_parked_keys")[failed] == 1
        assert 0 <= samples("vitne_consumer_parked_age_seconds")[failed] < 60
        request = operations.DropParkedRequest(request_id=str(uuid4()), place=one.failed, ground="sent by mistake")
        await operator.DropParked(request)
        await reaches(world, one.key, 4)
        await watch.look()
        assert samples("vitne_consumer_parked_keys")[failed] == 0
    finally:
        await pool.close()


async def test_without_the_scope_nobody_reads_dead_letters(world: World) -> None:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{world.grpc_port}") as channel:
        stub: Any = operations_grpc.OperationsServiceStub(channel)
        assert (await refused(stub.ListParked(operations.ListParkedRequest()))).reason == "TOKEN_MISSING"


@pytest.mark.parametrize(
    "arguments",
    [
        ("drop", "no-place", "--ground", "x"),
        ("drop", "topic[0]@1"),
        ("drop", "topic[0]@1", "--ground", "x", "--request-id", "1"),
        ("list", "--consumer", "ledger.leaves"),
        (),
    ],
)
async def test_a_wrong_command_does_nothing(world: World, arguments: tuple[str, ...]) -> None:
    code, output, errors = await world.command("parked", *arguments)
    assert (code, output) == (2, "")
    assert "usage" in errors


async def test_a_command_says_what_is_not_there(world: World) -> None:
    code, _, errors = await world.command("parked", "drop", "topic[0]@1", "--ground", "x")
    assert code == 1
    assert errors.startswith("NOT_PARKED")


def where(place: operations.Place) -> str:
    """A place as log lines write it."""
    return f"{place.topic}[{place.partition}]@{place.offset}"
