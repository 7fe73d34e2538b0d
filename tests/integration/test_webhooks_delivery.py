"""What receivers are told, in which order, and what happens when they fail in every way there is."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from standardwebhooks import Webhook

from services.issuer.webhooks.dispatcher import LEASE
from services.issuer.webhooks.schedule import DELAYS, DOWN_AFTER, JITTER, Schedule
from tests.integration.issuer_harness import HUB, MINI, OTHER_HUB, pid_of
from tests.integration.webhooks_world import (
    HASTY,
    Answer,
    Call,
    Hooks,
    make_hooks,
    raw_server,
    receiving,
    status,
    taken,
)
from tests.unit.accreditation_samples import UCL, UIO
from vitne.clock import ManualClock, SystemClock
from vitne.dev.certificates import CertificateAuthority
from vitne.dev.postgres import EmbeddedPostgres
from vitne_api.events.v1 import events_pb2
from vitne_api.issuer.v1 import webhooks_pb2

ACKNOWLEDGED = webhooks_pb2.WEBHOOK_OUTCOME_ACKNOWLEDGED
REFUSED = webhooks_pb2.WEBHOOK_OUTCOME_REFUSED
TIMEOUT = webhooks_pb2.WEBHOOK_OUTCOME_TIMEOUT
UNREACHABLE = webhooks_pb2.WEBHOOK_OUTCOME_UNREACHABLE
TLS_FAILED = webhooks_pb2.WEBHOOK_OUTCOME_TLS_FAILED
ADDRESS_REFUSED = webhooks_pb2.WEBHOOK_OUTCOME_ADDRESS_REFUSED
BAD_ANSWER = webhooks_pb2.WEBHOOK_OUTCOME_BAD_ANSWER
WAITING = webhooks_pb2.WEBHOOK_DELIVERY_STATE_WAITING
DELIVERED = webhooks_pb2.WEBHOOK_DELIVERY_STATE_DELIVERED
GIVEN_UP = webhooks_pb2.WEBHOOK_DELIVERY_STATE_GIVEN_UP


@pytest.fixture
async def hooks(postgres: EmbeddedPostgres, tmp_path: Path, clock: ManualClock) -> AsyncIterator[Hooks]:
    async with make_hooks(postgres, tmp_path, clock) as made:
        yield made


@pytest.fixture
async def hasty_hooks(postgres: EmbeddedPostgres, tmp_path: Path, clock: ManualClock) -> AsyncIterator[Hooks]:
    """Whose attempts do not wait long for an answer."""
    async with make_hooks(postgres, tmp_path, clock, timeout_seconds=HASTY) as made:
        yield made


def longest(attempt: int) -> timedelta:
    """The longest wait after an attempt."""
    return timedelta(seconds=DELAYS[attempt - 1] * (1 + JITTER) + 1)


# --- what is told ---------------------------------------------------------------------------------------------------


async def test_a_hub_is_told_exactly_what_its_topic_is(hooks: Hooks) -> None:
    async with receiving() as receiver, receiving() as other:
        made = await hooks.register(receiver.url)
        await hooks.register(other.url, OTHER_HUB)
        before = await hooks.issue(1)  # is backfilled
        pseudonym = await hooks.register_learner(1)
        await hooks.register_learner(2, hub=OTHER_HUB, client="other-portal")
        await hooks.issue(1)
        await hooks.issue(2)
        await hooks.change_status(before)
        await hooks.withdraw_learner(pseudonym)
        await hooks.issue(1)  # after the withdrawal: not the hub's any more
        await hooks.pump()

    rows = await hooks.world.outbox(f"vitne.hub.{HUB.replace(':', '-')}.v1")
    assert len(rows) == 6
    for row, call in zip(rows, receiver.calls, strict=True):
        notice = events_pb2.HubCredentialNotice.FromString(row["value"])
        assert call.id == str(row["event_id"])
        assert call.data == {
            "notice": events_pb2.HubNotice.Name(notice.notice),
            "handle": notice.handle,
            "pseudonym": pseudonym,
            "kind": notice.kind,
            "provider": notice.provider,
            "revision": row["revision"],
        }
        assert call.holds_under(made.secret)
        assert call.path == "/hook"
    assert [call.message["type"] for call in receiver.calls] == [
        "hub.credential.issued",
        "hub.credential.issued",
        "hub.credential.status_changed",
        "hub.credential.withdrawn",
        "hub.credential.withdrawn",
        "hub.registration.ended",
    ]
    *told, ended = [call.data for call in receiver.calls]
    assert {(one["kind"], one["provider"]) for one in told} == {("dk.micro_credential", UCL)}
    assert (ended["handle"], ended["kind"], ended["provider"]) == ("", "", "")
    assert len(other.calls) == 1
    assert other.calls[0].data["pseudonym"] != pseudonym
    assert not other.calls[0].holds_under(made.secret)


async def test_an_institution_is_told_of_its_own_credentials_by_their_ids(hooks: Hooks) -> None:
    async with receiving() as receiver, receiving() as other:
        await hooks.register(receiver.url, UCL)
        await hooks.register(other.url, UIO)
        credential = await hooks.issue(1)
        await hooks.pump()
        await hooks.change_status(credential)
        theirs = await hooks.issue(3, UIO, achievement_id=MINI)
        await hooks.pump()
    assert [(call.message["type"], call.data) for call in receiver.calls] == [
        ("credential.issued", {"credentialId": credential.id}),
        ("credential.status_changed", {"credentialId": credential.id}),
    ]
    assert [call.data for call in other.calls] == [{"credentialId": theirs.id}]


async def test_an_endpoint_is_told_of_the_kinds_it_asked_for(hooks: Hooks) -> None:
    kinds = [webhooks_pb2.WEBHOOK_EVENT_KIND_HUB_WITHDRAWN, webhooks_pb2.WEBHOOK_EVENT_KIND_HUB_STATUS_CHANGED]
    async with receiving() as some, receiving() as everything:
        await hooks.register(some.url, kinds=kinds)
        await hooks.register(everything.url)
        pseudonym = await hooks.register_learner()
        await hooks.issue()
        await hooks.withdraw_learner(pseudonym)
        await hooks.pump()
    assert [call.message["type"] for call in some.calls] == ["hub.credential.withdrawn"]
    assert len(everything.calls) == 3
    assert some.ids == everything.ids[1:2]  # the event's id, not the delivery's


async def test_nothing_is_written_for_organisations_without_an_endpoint(hooks: Hooks) -> None:
    await hooks.register_learner()
    await hooks.issue()
    assert await hooks.world.pool.fetchval("SELECT count(*) FROM webhook_event") == 0
    async with receiving() as receiver:
        await hooks.register(receiver.url, UIO)
        await hooks.issue()
    assert await hooks.world.pool.fetchval("SELECT count(*) FROM webhook_event") == 0


async def test_no_token_and_no_learner_in_rows_and_logs(hooks: Hooks, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with receiving(status(500)) as receiver:
        made = await hooks.register(f"{receiver.url}?token=sesame-4711", UCL)
        await hooks.register("http://127.0.0.1:1/sesame-4711", UCL)  # nobody listens
        await hooks.issue(1)
        await hooks.pump()
        assert receiver.calls[0].path.endswith("?token=sesame-4711")
        assert pid_of(1) not in receiver.calls[0].body.decode()
    tables = await hooks.world.pool.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    for table in tables:
        if table[0] == "schema_migration":
            continue
        for row in await hooks.world.pool.fetch(f'SELECT * FROM "{table[0]}"'):
            content = repr(tuple(row))
            assert "sesame" not in content, table[0]
            assert made.secret.removeprefix("whsec_") not in content, table[0]
            assert b"sesame" not in b"".join(value for value in row if isinstance(value, bytes)), table[0]
    assert "sesame" not in caplog.text
    assert made.secret.removeprefix("whsec_") not in caplog.text


# --- receivers that fail --------------------------------------------------------------------------------------------


async def slow(_call: Call) -> web.StreamResponse:
    await asyncio.sleep(5)
    return web.Response()


async def hang_up(_call: Call) -> web.StreamResponse:
    raise asyncio.CancelledError  # aiohttp closes the connection


async def redirect(_call: Call) -> web.StreamResponse:
    raise web.HTTPTemporaryRedirect("/elsewhere")


FAILURES: list[tuple[Answer, int, int]] = [
    (status(500), REFUSED, 500),
    (status(404), REFUSED, 404),
    (status(429), REFUSED, 429),
    (status(304), REFUSED, 304),
    (redirect, REFUSED, 307),
    (slow, TIMEOUT, 0),
    (hang_up, BAD_ANSWER, 0),
]


async def test_what_was_not_acknowledged_is_sent_again_the_same(hasty_hooks: Hooks, clock: ManualClock) -> None:
    async with AsyncExitStack() as exits:
        receivers = [await exits.enter_async_context(receiving(answer)) for answer, _, _ in FAILURES]
        made = [await hasty_hooks.register(receiver.url) for receiver in receivers]
        await hasty_hooks.register_learner()
        await hasty_hooks.issue()
        await hasty_hooks.pump()
        for receiver, endpoint, (_, outcome, code) in zip(receivers, made, FAILURES, strict=True):
            assert len(receiver.calls) == 1
            (delivery,) = await hasty_hooks.deliveries(endpoint.endpoint_id)
            assert (delivery.state, delivery.attempts) == (WAITING, 1)
            assert (delivery.last_outcome, delivery.last_status) == (outcome, code)
            wait = delivery.next_attempt_at.ToDatetime(UTC) - clock.now()
            assert timedelta(seconds=4) < wait <= timedelta(seconds=6)
            receiver.answer = taken
        await hasty_hooks.pump()
        assert [len(receiver.calls) for receiver in receivers] == [1] * len(FAILURES)  # not yet
        clock.advance(longest(1))
        await hasty_hooks.pump()
        for receiver, endpoint in zip(receivers, made, strict=True):
            first, second = receiver.calls
            assert first.path == second.path == "/hook"  # a redirect is not followed
            assert (first.id, first.body) == (second.id, second.body)
            assert int(second.headers["webhook-timestamp"]) - int(first.headers["webhook-timestamp"]) >= 5
            assert second.holds_under(endpoint.secret)
            (delivery,) = await hasty_hooks.deliveries(endpoint.endpoint_id)
            assert (delivery.state, delivery.attempts, delivery.last_outcome) == (DELIVERED, 2, ACKNOWLEDGED)


async def garbage(writer: asyncio.StreamWriter) -> None:
    writer.write(b"\x00\x01SSH-2.0-nothing\r\n\r\n")
    await writer.drain()


async def half_a_head(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Ty")
    await writer.drain()


async def endless_head(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nX-Filler: " + b"a" * 1_000_000)
    await writer.drain()


async def silence(_writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(5)


async def test_what_is_no_answer_is_none(hasty_hooks: Hooks) -> None:
    answers = {garbage: BAD_ANSWER, half_a_head: BAD_ANSWER, endless_head: BAD_ANSWER, silence: TIMEOUT}
    async with AsyncExitStack() as exits:
        urls = [await exits.enter_async_context(raw_server(answer)) for answer in answers]
        unused = exits.enter_context(socket.socket())
        unused.bind(("127.0.0.1", 0))  # nobody listens there
        urls.append(f"http://127.0.0.1:{unused.getsockname()[1]}/")
        made = [await hasty_hooks.register(url, UCL) for url in urls]
        await hasty_hooks.issue()
        await hasty_hooks.pump()
        for endpoint, outcome in zip(made, [*answers.values(), UNREACHABLE], strict=True):
            (delivery,) = await hasty_hooks.deliveries(endpoint.endpoint_id, UCL)
            assert (delivery.state, delivery.last_outcome) == (WAITING, outcome)


async def cut_body(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc")
    await writer.drain()


async def endless_body(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"10000\r\n" + b"a" * 0x10000 + b"\r\n")
        await writer.drain()


async def late_body(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1025\r\n\r\n")
    await writer.drain()
    await asyncio.sleep(5)


async def test_a_status_counts_whatever_the_body(hooks: Hooks) -> None:
    async with AsyncExitStack() as exits:
        urls = [await exits.enter_async_context(raw_server(answer)) for answer in (cut_body, endless_body, late_body)]
        made = [await hooks.register(url, UCL) for url in urls]
        await hooks.issue()
        await hooks.pump()
        for endpoint in made:
            (delivery,) = await hooks.deliveries(endpoint.endpoint_id, UCL)
            assert (delivery.state, delivery.attempts) == (DELIVERED, 1)


async def test_a_receiver_that_asks_for_time_gets_it_for_all_its_events(hooks: Hooks, clock: ManualClock) -> None:
    asked = timedelta(minutes=7)
    date = format_datetime(clock.now() + asked, usegmt=True)
    async with AsyncExitStack() as exits:
        receivers = [
            await exits.enter_async_context(receiving(status(code, Retry_After=text)))
            for code in (429, 503)
            for text in ("420", date)
        ]
        for receiver in receivers:
            await hooks.register(receiver.url)
        await hooks.register_learner(1)
        await hooks.register_learner(2)
        await hooks.issue(1)
        await hooks.pump()
        for receiver in receivers:
            receiver.answer = taken
        await hooks.issue(2)  # another learner's, fresh
        clock.advance(asked - timedelta(seconds=1))
        await hooks.pump()
        assert [len(receiver.calls) for receiver in receivers] == [1, 1, 1, 1]
        clock.advance(timedelta(seconds=1))
        await hooks.pump()
        assert [len(receiver.calls) for receiver in receivers] == [3, 3, 3, 3]


async def test_gone_ends_it_at_once_and_a_replay_takes_it_up_again(hooks: Hooks, clock: ManualClock) -> None:
    async with receiving(status(410)) as receiver:
        made = await hooks.register(receiver.url)
        await hooks.register_learner()
        await hooks.issue()
        await hooks.pump()
        endpoint = await hooks.endpoint(made.endpoint_id)
        assert endpoint.state == webhooks_pb2.WEBHOOK_STATE_DISABLED
        assert endpoint.disabled_reason == webhooks_pb2.WEBHOOK_DISABLED_REASON_GONE
        assert endpoint.disabled_at.ToDatetime(UTC) == clock.now()

        receiver.answer = taken
        await hooks.issue()
        clock.advance(timedelta(days=7))
        await hooks.pump()
        assert len(receiver.calls) == 1
        assert (await hooks.endpoint(made.endpoint_id)).waiting == 2

        assert await hooks.replay(made.endpoint_id) == 2
        await hooks.pump()
    assert [call.data["revision"] for call in receiver.calls] == [1, 1, 2]
    endpoint = await hooks.endpoint(made.endpoint_id)
    assert (endpoint.state, endpoint.waiting) == (webhooks_pb2.WEBHOOK_STATE_ACTIVE, 0)
    assert not endpoint.HasField("disabled_at")
    assert not endpoint.HasField("failing_since")


async def test_what_can_not_be_read_is_parked_in_sight(hooks: Hooks, clock: ManualClock) -> None:
    """Another key, or rows that were spoilt: no repetition mends that, and nothing is lost by waiting."""
    async with receiving() as receiver:
        made = await hooks.register(receiver.url)
        await hooks.register_learner()
        url = await hooks.world.pool.fetchval("SELECT url FROM webhook_endpoint")
        await hooks.world.pool.execute(
            "UPDATE webhook_endpoint SET url = $1", b"sealed with another key, and long enough"
        )
        await hooks.issue()
        await hooks.pump()
        endpoint = await hooks.endpoint(made.endpoint_id)
        assert endpoint.disabled_reason == webhooks_pb2.WEBHOOK_DISABLED_REASON_UNREADABLE
        assert (endpoint.url, endpoint.waiting) == ("", 1)
        clock.advance(timedelta(hours=1))
        await hooks.pump()
        assert await hooks.world.pool.fetchval("SELECT count(*) FROM webhook_lane WHERE lease IS NOT NULL") == 0

        # The key is back; an event that can't be read either is given up alone.
        await hooks.world.pool.execute("UPDATE webhook_endpoint SET url = $1", url)
        await hooks.world.pool.execute("UPDATE webhook_event SET value = $1", b"\xff")
        await hooks.issue()
        assert await hooks.replay(made.endpoint_id) == 1
        await hooks.pump()
    assert [call.data["revision"] for call in receiver.calls] == [2]
    outcomes = {each.state for each in await hooks.deliveries(made.endpoint_id)}
    assert outcomes == {
        webhooks_pb2.WEBHOOK_DELIVERY_STATE_GIVEN_UP,
        webhooks_pb2.WEBHOOK_DELIVERY_STATE_DELIVERED,
    }


async def test_an_endpoint_that_never_answers_is_disabled_and_nothing_is_lost(hooks: Hooks, clock: ManualClock) -> None:
    start = clock.now()
    async with receiving(status(500)) as receiver:
        made = await hooks.register(receiver.url)
        await hooks.register_learner()
        await hooks.issue()
        for attempt in range(1, len(DELAYS) + 1):
            await hooks.pump()
            assert len(receiver.calls) == attempt
            endpoint = await hooks.endpoint(made.endpoint_id)
            assert endpoint.state == webhooks_pb2.WEBHOOK_STATE_ACTIVE
            assert endpoint.failing_since.ToDatetime(UTC) == start
            clock.advance(longest(attempt))
        await hooks.pump()
        endpoint = await hooks.endpoint(made.endpoint_id)
        assert endpoint.disabled_reason == webhooks_pb2.WEBHOOK_DISABLED_REASON_FAILING
        assert clock.now() - start >= Schedule().span
        assert len(set(receiver.ids)) == 1
        assert len(receiver.calls) == len(DELAYS) + 1
        receiver.answer = taken
        await hooks.replay(made.endpoint_id)
        await hooks.pump()
    (delivery,) = await hooks.deliveries(made.endpoint_id)
    assert (delivery.state, delivery.attempts) == (DELIVERED, 1)


async def test_one_event_that_is_always_refused_is_given_up_and_holds_up_only_its_learner(
    hooks: Hooks, clock: ManualClock
) -> None:
    async def not_that_one(call: Call) -> web.StreamResponse:
        refused = call.data["pseudonym"] == poisoned and call.data["revision"] == 1
        return web.Response(status=400 if refused else 200)

    async with receiving(not_that_one) as receiver:
        made = await hooks.register(receiver.url)
        poisoned = await hooks.register_learner(1)
        await hooks.register_learner(2)
        await hooks.issue(1)
        await hooks.issue(1)
        for attempt in range(1, len(DELAYS) + 2):
            await hooks.issue(2)
            await hooks.pump()
            if attempt <= len(DELAYS):
                assert [
                    call
                    for call in receiver.calls
                    if call.data == {**call.data, "revision": 2} and call.data["pseudonym"] == poisoned
                ] == []
                clock.advance(longest(attempt))
        told = [call.data["revision"] for call in receiver.calls if call.data["pseudonym"] == poisoned]
        assert told == [1] * (len(DELAYS) + 1) + [2]
        assert (await hooks.endpoint(made.endpoint_id)).state == webhooks_pb2.WEBHOOK_STATE_ACTIVE
        (given_up,) = await hooks.deliveries(made.endpoint_id, state=GIVEN_UP)
        assert given_up.attempts == len(DELAYS) + 1
        assert given_up.last_status == 400

        receiver.answer, receiver.calls = taken, []
        await hooks.replay(made.endpoint_id, event_id=given_up.event_id)
        await hooks.pump()
    told = [call.data["revision"] for call in receiver.calls if call.data["pseudonym"] == poisoned]
    assert told == [1, 2]  # in order again, the later one too
    assert receiver.calls[0].id == given_up.event_id or given_up.event_id in receiver.ids


async def test_an_endpoint_that_is_down_gets_one_call_at_a_time(hooks: Hooks, clock: ManualClock) -> None:
    async with receiving(status(500)) as receiver:
        await hooks.register(receiver.url, UCL)
        for number in range(12):
            await hooks.issue(number)
        await hooks.pump()  # eight at once, then it is down
        assert DOWN_AFTER <= len(receiver.calls) <= 8
        for _ in range(3):
            before = len(receiver.calls)
            clock.advance(timedelta(minutes=6))
            await hooks.dispatcher.turn()
            await hooks.dispatcher.settle()
            assert len(receiver.calls) == before + 1
        receiver.answer = taken
        clock.advance(timedelta(minutes=6))
        await hooks.pump()
    assert len(set(receiver.ids)) == 12


# --- TLS and addresses ----------------------------------------------------------------------------------------------


async def test_a_certificate_has_to_hold(postgres: EmbeddedPostgres, tmp_path: Path) -> None:
    clock = SystemClock()  # certificates are dated by it
    authority = CertificateAuthority(tmp_path / "ca", clock)
    stranger = CertificateAuthority(tmp_path / "stranger", clock)
    contexts = []
    for one in (stranger, authority):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(one.issue("receiver", server=True))
        contexts.append(context)
    async with (
        make_hooks(postgres, tmp_path / "state", clock, tls=authority.context(None)) as hooks,
        receiving(tls=contexts[0]) as wrong,
        receiving(tls=contexts[1]) as right,
        receiving() as none,
    ):
        wrong_id = (await hooks.register(wrong.url, UCL)).endpoint_id
        right_id = (await hooks.register(right.url, UCL)).endpoint_id
        none_id = (await hooks.register(none.url.replace("http://", "https://"), UCL)).endpoint_id
        await hooks.issue()
        await hooks.pump()
        outcomes = [(await hooks.deliveries(id_, UCL))[0].last_outcome for id_ in (wrong_id, right_id, none_id)]
    assert outcomes == [TLS_FAILED, ACKNOWLEDGED, TLS_FAILED]
    assert (len(wrong.calls), len(right.calls), len(none.calls)) == (0, 1, 0)


class Names(AbstractResolver):
    """A resolver that answers what it is told."""

    def __init__(self, **names: list[str]) -> None:
        self.names = names

    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in self.names[host.partition(".")[0]]
        ]

    async def close(self) -> None:
        return


async def test_no_name_leads_inside(postgres: EmbeddedPostgres, tmp_path: Path, clock: ManualClock) -> None:
    names = Names(
        loopback=["127.0.0.1"],
        private=["10.0.0.1"],
        metadata=["169.254.169.254"],
        six=["::1"],
        mapped=["::ffff:127.0.0.1"],
        mixed=["193.157.119.2", "127.0.0.1"],
        localhost=["10.0.0.1"],
    )
    async with receiving() as receiver, AsyncExitStack() as exits:
        port = int(receiver.url.split(":")[2].split("/")[0])
        hooks = await exits.enter_async_context(
            make_hooks(postgres, tmp_path, clock, resolver=names, webhook_ports=(port,))
        )
        endpoints = [
            (await hooks.register(f"https://{name}.example:{port}/", UCL)).endpoint_id
            for name in names.names
            if name != "localhost"
        ]
        # The name is let through, and what it leads to is not: nobody can turn it elsewhere.
        endpoints.append((await hooks.register(f"https://localhost:{port}/", UCL)).endpoint_id)
        await hooks.issue()
        await hooks.pump()
        for endpoint in endpoints:
            (delivery,) = await hooks.deliveries(endpoint, UCL)
            assert (delivery.state, delivery.last_outcome) == (WAITING, ADDRESS_REFUSED)
    assert receiver.calls == []


# --- order, and several at once -------------------------------------------------------------------------------------


async def test_a_learners_events_come_in_order_and_nobody_waits_for_another(hooks: Hooks, clock: ManualClock) -> None:
    async def not_the_first(call: Call) -> web.StreamResponse:
        return web.Response(status=500 if call.data["pseudonym"] == first else 200)

    async with receiving(not_the_first) as receiver:
        await hooks.register(receiver.url)
        first, second = [await hooks.register_learner(number) for number in (1, 2)]
        for _ in range(3):
            await hooks.issue(1)
            await hooks.issue(2)
        await hooks.pump()
        told = [(call.data["pseudonym"], call.data["revision"]) for call in receiver.calls]
        assert [revision for pseudonym, revision in told if pseudonym == second] == [1, 2, 3]
        assert [revision for pseudonym, revision in told if pseudonym == first] == [1]
        receiver.answer = taken
        clock.advance(longest(1))
        await hooks.pump()
    told = [(call.data["pseudonym"], call.data["revision"]) for call in receiver.calls]
    assert [revision for pseudonym, revision in told if pseudonym == first] == [1, 1, 2, 3]


async def test_several_replicas_send_each_event_once_in_order_and_not_too_many_at_once(hooks: Hooks) -> None:
    at_work: set[str] = set()

    async def a_moment(call: Call) -> web.StreamResponse:
        assert call.data["pseudonym"] not in at_work
        at_work.add(call.data["pseudonym"])
        await asyncio.sleep(0.005)
        at_work.remove(call.data["pseudonym"])
        return web.Response()

    async with receiving(a_moment) as receiver:
        await hooks.register(receiver.url)
        learners = [await hooks.register_learner(number) for number in range(20)]
        replicas = [hooks.make().dispatcher for _ in range(3)]

        async def replica(dispatcher: Any) -> None:
            while len(receiver.calls) < 100:
                await dispatcher.turn()
                await asyncio.sleep(0.001)
            await dispatcher.settle()

        async def issue() -> None:
            for _ in range(5):
                await asyncio.gather(*(hooks.issue(number) for number in range(20)))

        async with asyncio.timeout(90):
            await asyncio.gather(issue(), *(replica(dispatcher) for dispatcher in replicas))
        for dispatcher in replicas:
            await dispatcher.close()
        await hooks.pump()
    assert len(receiver.calls) == len(set(receiver.ids)) == 100
    for pseudonym in learners:
        told = [call.data["revision"] for call in receiver.calls if call.data["pseudonym"] == pseudonym]
        assert told == [1, 2, 3, 4, 5]
    assert 1 < receiver.most_at_once <= 3 * 8
    assert await hooks.world.pool.fetchval("SELECT count(*) FROM webhook_lane") == 0


async def test_calls_at_once_to_an_endpoint_are_bounded(
    postgres: EmbeddedPostgres, tmp_path: Path, clock: ManualClock
) -> None:
    async def a_moment(_call: Call) -> web.StreamResponse:
        await asyncio.sleep(0.01)
        return web.Response()

    limits: dict[str, Any] = {"webhook_parallel": 4, "webhook_parallel_endpoint": 3}
    async with make_hooks(postgres, tmp_path, clock, **limits) as hooks, receiving(a_moment) as receiver:
        await hooks.register(receiver.url, UCL)
        await hooks.register(receiver.url.replace("hook", "hook2"), UCL)
        for number in range(10):
            await hooks.issue(number)
        while await hooks.dispatcher.turn() or len(receiver.calls) < 20:
            await asyncio.sleep(0.002)
        await hooks.dispatcher.settle()
    assert len(receiver.calls) == 20
    assert receiver.most_at_once <= 4


async def test_an_endpoint_with_a_long_queue_and_slow_answers_takes_no_one_elses_turn(
    postgres: EmbeddedPostgres, tmp_path: Path, clock: ManualClock
) -> None:
    """All that may be called at once is being called; what becomes free goes to who has least of it."""
    release = asyncio.Semaphore(0)

    async def slow(_call: Call) -> web.StreamResponse:
        await release.acquire()
        return web.Response()

    limits: dict[str, Any] = {"webhook_parallel": 2, "webhook_parallel_endpoint": 2}
    async with (
        make_hooks(postgres, tmp_path, clock, **limits) as hooks,
        receiving(slow) as busy,
        receiving() as prompt,
    ):
        await hooks.register(busy.url, UCL)
        await hooks.register(prompt.url, UIO)
        for number in range(4):
            await hooks.issue(number)
        await hooks.dispatcher.turn()
        async with asyncio.timeout(60):
            while len(busy.calls) < 2:
                await asyncio.sleep(0.01)
            clock.advance(timedelta(seconds=1))
            await hooks.issue(5, UIO, achievement_id=MINI)
            assert await hooks.dispatcher.turn() == 1  # it is planned, and there is no room
            release.release()
            while len(hooks.dispatcher._calls) > 1:
                await asyncio.sleep(0.01)
            await hooks.dispatcher.turn()
            while not prompt.calls and len(busy.calls) < 3:
                await asyncio.sleep(0.01)
            assert (len(busy.calls), len(prompt.calls)) == (2, 1)
            for _ in range(4):
                release.release()
            await hooks.pump()
        assert len(busy.calls) == 4


# --- interruptions --------------------------------------------------------------------------------------------------


async def test_what_was_claimed_too_long_ago_is_not_sent_any_more(hooks: Hooks, clock: ManualClock) -> None:
    """A process that stood still for a minute: others may have sent this event by now, and those behind it."""
    async with receiving() as receiver:
        await hooks.register(receiver.url)
        await hooks.register_learner()
        await hooks.issue()
        paused = hooks.make().dispatcher
        await paused.turn()
        clock.advance(LEASE)
        await paused.settle()
        assert receiver.calls == []
        await hooks.pump()
        assert len(receiver.calls) == 1
        await paused.close()


async def test_a_process_that_dies_in_the_middle_loses_nothing(hooks: Hooks, clock: ManualClock) -> None:
    arrived = asyncio.Event()

    async def keep_waiting(_call: Call) -> web.StreamResponse:
        arrived.set()
        await asyncio.sleep(5)
        return web.Response()

    async with receiving(keep_waiting) as receiver:
        made = await hooks.register(receiver.url)
        await hooks.register_learner()
        await hooks.issue()
        await hooks.issue()
        dying = hooks.make().dispatcher
        await dying.turn()
        await arrived.wait()
        for call in list(dying._calls):
            call.cancel()  # as a kill would, nothing is given back
        await asyncio.wait(list(dying._calls))
        receiver.answer = taken
        await hooks.pump()
        assert len(receiver.calls) == 1  # it may still be at work
        clock.advance(LEASE)
        await hooks.pump()
        await dying.close()
    assert [call.data["revision"] for call in receiver.calls] == [1, 1, 2]
    assert receiver.ids[0] == receiver.ids[1]
    (first, _) = await hooks.deliveries(made.endpoint_id)
    assert first.attempts == 1


async def test_an_attempt_that_outlasts_its_lease_changes_nothing_any_more(hooks: Hooks, clock: ManualClock) -> None:
    """Its process stood still; meanwhile another sends the same."""
    arrived = [asyncio.Event(), asyncio.Event()]
    release = [asyncio.Event(), asyncio.Event()]

    async def late(_call: Call) -> web.StreamResponse:
        number = len(receiver.calls) - 1
        arrived[number].set()
        await release[number].wait()
        return web.Response(status=500 if number == 0 else 200)

    async with receiving(late) as receiver:
        made = await hooks.register(receiver.url)
        await hooks.register_learner()
        await hooks.issue()
        await hooks.issue()
        first, second = hooks.make().dispatcher, hooks.make().dispatcher
        await first.turn()
        await arrived[0].wait()
        clock.advance(LEASE)
        await second.turn()
        await arrived[1].wait()
        release[0].set()
        await first.settle()
        await hooks.dispatcher.turn()  # the lane is the second's: nothing for a third
        await asyncio.sleep(0.05)
        assert len(receiver.calls) == 2
        receiver.answer = taken
        release[1].set()
        await second.settle()
        await hooks.pump()
        await first.close()
        await second.close()
    assert [call.data["revision"] for call in receiver.calls] == [1, 1, 2]
    for delivery in await hooks.deliveries(made.endpoint_id):
        assert (delivery.state, delivery.attempts) == (DELIVERED, 1)


async def test_a_process_that_is_told_to_end_gives_back_what_it_does_not_finish(
    postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    """In real time, with the task as the process runs it."""
    async with make_hooks(postgres, tmp_path, SystemClock(), webhook_schedule_scale=0.001) as hooks:
        arrived = asyncio.Event()

        async def fails_first(_call: Call) -> web.StreamResponse:
            arrived.set()
            return web.Response(status=500 if len(receiver.calls) == 1 else 200)

        async with receiving(fails_first) as receiver:
            made = await hooks.register(receiver.url)
            await hooks.register_learner()
            await hooks.issue()
            running = asyncio.create_task(hooks.dispatcher.run())
            await arrived.wait()
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
            again = asyncio.create_task(hooks.make().dispatcher.run())
            async with asyncio.timeout(60):
                while [each.state for each in await hooks.deliveries(made.endpoint_id)] != [DELIVERED]:
                    await asyncio.sleep(0.01)
            again.cancel()
            await asyncio.gather(again, return_exceptions=True)
        (delivery,) = await hooks.deliveries(made.endpoint_id)
        assert (delivery.attempts, len(receiver.calls)) == (2, 2)
        for call in receiver.calls:  # as a receiver would, its clock and all
            assert Webhook(made.secret).verify(call.body, call.headers) == call.message


async def test_a_database_that_goes_away_is_waited_out(
    hooks: Hooks, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with receiving() as receiver:
        await hooks.register(receiver.url)
        await hooks.register_learner()
        await hooks.issue()
        turns = 0
        turn = hooks.dispatcher.turn

        async def sometimes() -> int:
            nonlocal turns
            turns += 1
            if turns < 4:
                raise ConnectionError
            return await turn()

        monkeypatch.setattr(hooks.dispatcher, "turn", sometimes)
        running = asyncio.create_task(hooks.dispatcher.run())
        async with asyncio.timeout(10):
            while not receiver.calls:
                await asyncio.sleep(0.01)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert turns >= 4


# --- replay and retention -------------------------------------------------------------------------------------------


async def test_a_replay_from_an_instant_or_an_event_sends_the_same_in_order(hooks: Hooks, clock: ManualClock) -> None:
    async with receiving() as receiver:
        made = await hooks.register(receiver.url)
        await hooks.register_learner()
        instants: list[datetime] = []
        for _ in range(4):
            instants.append(clock.now())
            await hooks.issue()
            clock.advance(timedelta(minutes=1))
        await hooks.pump()
        original = {call.id: call.body for call in receiver.calls}
        ids = receiver.ids
        for point, expected in (
            ({"time": instants[1]}, ids[1:]),
            ({"time": instants[1] + timedelta(milliseconds=1)}, ids[2:]),
            ({"event_id": ids[3]}, ids[3:]),
            ({"event_id": ids[0]}, ids),
            ({"time": clock.now()}, []),
            ({}, []),
        ):
            receiver.calls.clear()
            assert await hooks.replay(made.endpoint_id, **point) == len(expected)
            await hooks.pump()
            assert receiver.ids == expected
            assert all(original[call.id] == call.body for call in receiver.calls)
            assert all(call.holds_under(made.secret) for call in receiver.calls)


async def test_a_replay_while_an_event_is_being_sent_sends_it_again_in_order(hooks: Hooks, clock: ManualClock) -> None:
    arrived, release = asyncio.Event(), asyncio.Event()

    async def wait_at_the_second(call: Call) -> web.StreamResponse:
        if call.data["revision"] == 2:
            arrived.set()
            await release.wait()
        return web.Response()

    async with receiving(wait_at_the_second) as receiver:
        made = await hooks.register(receiver.url)
        await hooks.register_learner()
        start = clock.now()
        await hooks.issue()
        await hooks.pump()
        await hooks.issue()
        await hooks.dispatcher.turn()
        await arrived.wait()
        assert await hooks.replay(made.endpoint_id, time=start) == 2
        await hooks.dispatcher.turn()
        await asyncio.sleep(0.1)  # the lane is being sent: nothing overtakes
        assert len(receiver.calls) == 2
        release.set()
        await hooks.dispatcher.settle()
        await hooks.pump()
    assert [call.data["revision"] for call in receiver.calls] == [1, 2, 1, 2]


async def test_an_endpoint_can_be_told_what_happened_before_it_was_there(hooks: Hooks, clock: ManualClock) -> None:
    async with receiving() as receiver, receiving() as later:
        await hooks.register(receiver.url, UCL)
        start = clock.now()
        await hooks.issue()
        await hooks.pump()
        made = await hooks.register(later.url, UCL)
        await hooks.pump()
        assert later.calls == []
        assert await hooks.replay(made.endpoint_id, UCL, time=start) == 1
        await hooks.pump()
    assert later.ids == receiver.ids


async def test_events_are_kept_for_a_while(postgres: EmbeddedPostgres, tmp_path: Path, clock: ManualClock) -> None:
    async with make_hooks(postgres, tmp_path, clock, webhook_retention_days=2) as hooks, receiving() as receiver:
        pool = hooks.world.pool
        made = await hooks.register(receiver.url, UCL)
        failing = await hooks.register("http://127.0.0.1:1/", UCL)
        await hooks.rotate(made.endpoint_id, UCL)
        start = clock.now()
        await hooks.issue()
        await hooks.pump()
        clock.advance(timedelta(days=3))
        await hooks.issue()
        await hooks.pump()

        async def prune() -> None:
            hooks.dispatcher._next_prune = 0.0
            await hooks.dispatcher._prune()

        await prune()
        # Still on its way to the endpoint that does not answer.
        assert await pool.fetchval("SELECT count(*) FROM webhook_event") == 2
        assert await pool.fetchval("SELECT count(*) FROM webhook_secret") == 2  # the former one is gone
        await hooks.delete(failing.endpoint_id, UCL)
        await prune()
        assert await pool.fetchval("SELECT count(*) FROM webhook_event") == 1
        assert await hooks.replay(made.endpoint_id, UCL, time=start) == 1


# --- secrets --------------------------------------------------------------------------------------------------------


async def test_while_a_secret_is_rotated_both_sign(hooks: Hooks, clock: ManualClock) -> None:
    async with receiving() as receiver:
        made = await hooks.register(receiver.url, UCL)
        rotated = await hooks.rotate(made.endpoint_id, UCL)
        assert rotated.secret != made.secret
        assert rotated.former_until.ToDatetime(UTC) == clock.now() + timedelta(hours=24)
        await hooks.issue()
        await hooks.pump()
        assert receiver.calls[-1].holds_under(made.secret)
        assert receiver.calls[-1].holds_under(rotated.secret)
        clock.advance(timedelta(hours=24))
        await hooks.issue()
        await hooks.pump()
        assert not receiver.calls[-1].holds_under(made.secret)
        assert receiver.calls[-1].holds_under(rotated.secret)
        leaked = await hooks.rotate(made.endpoint_id, UCL, now=True)
        await hooks.issue()
        await hooks.pump()
        assert not receiver.calls[-1].holds_under(rotated.secret)
        assert receiver.calls[-1].holds_under(leaked.secret)
        assert " " not in receiver.calls[-1].headers["webhook-signature"]
        for _ in range(5):
            last = await hooks.rotate(made.endpoint_id, UCL)
        await hooks.issue()
        await hooks.pump()
        assert receiver.calls[-1].headers["webhook-signature"].count("v1,") == 3
        assert receiver.calls[-1].holds_under(last.secret)
