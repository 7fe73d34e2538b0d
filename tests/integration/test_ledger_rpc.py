"""The ledger as one process: RPCs through the real server, events through a real broker, pages over HTTP."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import aiokafka
import asyncpg
import grpc
import pytest
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from services.ledger.keys import LedgerKeys
from services.ledger.settings import LedgerSettings
from services.ledger.wiring import MIGRATIONS, SERVICE, build
from tests.integration.ledger_harness import eventually
from vitne.canonical import b64url, sha256
from vitne.clock import SystemClock
from vitne.credentials.jose import parse_public_jwk
from vitne.credentials.status_list import INVALID, StatusList, verify_token
from vitne.errors import InvalidArgument, NotFound, Unauthenticated, VitneError
from vitne.identifiers import OrganisationId
from vitne.merkle.leaves import Issued, StatusChanged
from vitne.merkle.notes import open_checkpoint
from vitne.merkle.proofs import verify_consistency, verify_inclusion
from vitne.messaging import topics
from vitne.messaging.event_types import LOG_LEAF
from vitne.messaging.headers import build as build_headers
from vitne.messaging.kafka import KafkaSettings, create_topics
from vitne.runtime.custody import FileKeyCustody
from vitne.runtime.identity import Caller
from vitne.runtime.migrations import migrate
from vitne.runtime.status import error_from_rpc, error_from_status
from vitne_api.credential.v1 import credential_pb2
from vitne_api.events.v1 import events_pb2
from vitne_api.ledger.v1 import ledger_pb2, ledger_pb2_grpc

pytestmark = pytest.mark.schema(MIGRATIONS)

OPERATOR = OrganisationId.parse("0192:971035854")
LEASE, STATUS = "vitne:ledger.lease", "vitne:ledger.status"
INSTITUTION = "0184:30859480"


class Verifier:
    """At the boundary: a token is the client's name and its scopes."""

    async def verify(self, token: str) -> Caller:
        if token == "expired":
            raise Unauthenticated("TOKEN_EXPIRED", "the token is no longer valid")
        client, *scopes = token.split()
        return Caller(OPERATOR, frozenset(scopes), client)


@dataclass
class Running:
    """A ledger that serves."""

    channel: Any
    http: str
    kafka: str
    keys: LedgerKeys
    settings: LedgerSettings
    pool: Any

    async def call(self, request: Message, token: str | None = f"issuer {LEASE} {STATUS}") -> Any:
        """Call the method that takes this request.

        Raises:
            VitneError: the refusal, as a caller's code sees it.
        """
        method = getattr(
            ledger_pb2_grpc.LedgerServiceStub(self.channel), type(request).__name__.removesuffix("Request")
        )
        metadata = None if token is None else (("authorization", f"Bearer {token}"),)
        try:
            if isinstance(request, ledger_pb2.SetStatusesRequest):
                return [answer async for answer in method(_each([request]), metadata=metadata, timeout=60)]
            return await method(request, metadata=metadata, timeout=10)
        except grpc.aio.AioRpcError as error:
            raise error_from_rpc(error) from error

    async def fetch_list(self, url: str) -> StatusList:
        key = parse_public_jwk(self.keys.status_list.public_jwk)
        path = url.removeprefix(self.settings.status_base_url)
        async with aiohttp.ClientSession() as client, client.get(f"{self.http}{path}") as answer:
            assert answer.status == 200
            token = await answer.text()
        return verify_token(token, uri=url, find_key=lambda _: key, now=datetime.now(UTC))

    async def send(self, topic: str, key: str, value: bytes, revision: int = 1) -> None:
        """An event, as another service's relay sends it."""
        producer = aiokafka.AIOKafkaProducer(bootstrap_servers=self.kafka, enable_idempotence=False)
        await producer.start()
        headers = build_headers(
            event_id=uuid4(),
            source="/vitne/issuer",
            type_=LOG_LEAF,
            time=datetime.now(UTC),
            key=key,
            revision=revision,
            traceparent=None,
        )
        await producer.send_and_wait(topic, value, key.encode(), headers=headers)
        await producer.stop()

    async def read(self, topic: str, count: int) -> list[Any]:
        consumer = aiokafka.AIOKafkaConsumer(topic, bootstrap_servers=self.kafka, auto_offset_reset="earliest")
        await consumer.start()
        records: list[Any] = []
        try:
            async with asyncio.timeout(10):
                while len(records) < count:
                    for some in (await consumer.getmany(timeout_ms=100)).values():
                        records += some
        finally:
            await consumer.stop()
        return records

    async def prove(self, leaf: Any) -> None:
        """The leaf is, or gets, into the log, and its proof verifies by the checkpoint's signature alone."""

        async def proof() -> Any:
            try:
                return await self.call(ledger_pb2.GetInclusionProofRequest(leaf_hash=leaf.leaf_hash()), token=None)
            except NotFound:
                return None

        found = await eventually(proof)
        key = self.keys.note_signer(self.settings.log_origin).key
        checkpoint = open_checkpoint(found.checkpoint, key)
        assert checkpoint.size == found.tree_size
        verify_inclusion(
            leaf=leaf.leaf_hash(),
            index=found.leaf_index,
            size=found.tree_size,
            path=list(found.path),
            root=checkpoint.root,
        )


@pytest.fixture
async def ledger(
    database_dsn: str, pool: asyncpg.Pool, broker: str, on_apache: bool, tmp_path: Path
) -> AsyncIterator[Running]:
    await migrate(database_dsn, MIGRATIONS)
    settings = LedgerSettings(
        environment="development",
        database_dsn=database_dsn,
        kafka_bootstrap_servers=broker,
        kafka_idempotence=on_apache,
        kafka_groups=False,
        state_dir=tmp_path,
    )
    await create_topics(KafkaSettings(broker), topics.fixed_topics())
    application = build(settings, pool, SystemClock(), Verifier())
    running = asyncio.create_task(application.run())
    waiting = asyncio.create_task(application.started.wait())
    await asyncio.wait({running, waiting}, return_when=asyncio.FIRST_COMPLETED)
    assert application.started.is_set()

    async def ready() -> bool:
        return not await application.readiness()

    await eventually(ready)
    channel = grpc.aio.insecure_channel(application.grpc_address)
    yield Running(
        channel,
        f"http://{application.http_address}",
        broker,
        LedgerKeys.ensure(FileKeyCustody(tmp_path)),
        settings,
        pool,
    )
    await channel.close()
    application.stop()
    await running


def lease_request(count: int = 5, country: str = "NO") -> ledger_pb2.LeaseIndexesRequest:
    return ledger_pb2.LeaseIndexesRequest(request_id=str(uuid4()), country=country, count=count)


def status_request(list_url: str, index: int, **changes: Any) -> ledger_pb2.SetStatusRequest:
    fields: dict[str, Any] = {
        "request_id": str(uuid4()),
        "list": list_url,
        "index": index,
        "change": ledger_pb2.STATUS_CHANGE_REVOKE,
        "reason": ledger_pb2.STATUS_REASON_MISCONDUCT,
        "on_behalf_of": INSTITUTION,
    }
    return ledger_pb2.SetStatusRequest(**(fields | changes))


async def test_the_road_from_lease_to_published_list_event_and_proof(ledger: Running) -> None:
    lease = await ledger.call(lease_request())
    assert lease.list == f"https://status.vitne.example/{datetime.now(UTC).year}/no-1"
    index = lease.indexes[2]
    repeated = status_request(lease.list, index)
    answer = await ledger.call(repeated)
    assert answer.status == credential_pb2.STATUS_REVOKED

    async def says_revoked() -> bool:
        return (await ledger.fetch_list(lease.list)).status_at(index) == INVALID

    await eventually(says_revoked)
    recorded = answer.recorded.ToDatetime(UTC)
    await ledger.prove(StatusChanged(lease.list, index, "revoked", recorded, recorded))
    assert await ledger.call(repeated) == answer

    records = await ledger.read(topics.LEDGER_STATUS, 3)
    mine = [record for record in records if record.key.decode() == lease.list]
    changed = [
        events_pb2.StatusChanged.FromString(record.value)
        for record in mine
        if dict(record.headers)["ce_type"] == b"vitne.ledger.status_changed.v1"
    ]
    assert [(event.index, event.status) for event in changed] == [(index, credential_pb2.STATUS_REVOKED)]
    dump = json.dumps([[record.value.hex(), [value.hex() for _, value in record.headers]] for record in mine])
    assert b"MISCONDUCT".hex() not in dump
    assert INSTITUTION.encode().hex() not in dump


@pytest.mark.parametrize("field", ["effective", "issued_at"])
@pytest.mark.parametrize("seconds", [-1, -62135596800])
async def test_instants_of_before_this_era_are_refused_and_change_nothing(
    ledger: Running, field: str, seconds: int
) -> None:
    lease = await ledger.call(lease_request())
    early = {field: Timestamp(seconds=seconds)}
    with pytest.raises(InvalidArgument, match="BAD_INSTANT") as refused:
        await ledger.call(status_request(lease.list, lease.indexes[0], **early))
    assert refused.value.field == field
    # The place is as it was: it can be revoked.
    await ledger.call(status_request(lease.list, lease.indexes[0]))


async def test_many_statuses_over_one_stream_are_published_and_answered_again_as_they_were(ledger: Running) -> None:
    lease = await ledger.call(lease_request())
    good = [status_request(lease.list, index) for index in lease.indexes]
    bad = [
        status_request(lease.list, lease.indexes[0], change=ledger_pb2.STATUS_CHANGE_SUSPEND),
        status_request("https://status.vitne.example/2026/xx-1", 0),
        status_request(lease.list, 1, on_behalf_of="nobody"),
        status_request(lease.list, 1, effective=Timestamp(seconds=-(10**11))),
    ]
    reasons = ["STATUS_FINAL", "STATUS_LIST_UNKNOWN", "BAD_ORGANISATION", "BAD_TIMESTAMP"]
    sent = [ledger_pb2.SetStatusesRequest(items=[*good[:3], *bad]), ledger_pb2.SetStatusesRequest(items=good[3:])]

    async def ask() -> list[ledger_pb2.StatusOutcome]:
        stub = ledger_pb2_grpc.LedgerServiceStub(ledger.channel)
        call = stub.SetStatuses(_each(sent), metadata=(("authorization", f"Bearer issuer {STATUS}"),), timeout=60)
        return [outcome async for answer in call for outcome in answer.outcomes]

    first = await ask()
    assert [error_from_status(outcome.error).reason for outcome in first[3:7]] == reasons
    changed = [*first[:3], *first[7:]]
    assert {outcome.response.status for outcome in changed} == {credential_pb2.STATUS_REVOKED}
    assert await ask() == first
    # The same item alone is the same request.
    assert await ledger.call(good[0]) == first[0].response

    async def all_are_revoked() -> bool:
        statuses = await ledger.fetch_list(lease.list)
        return all(statuses.status_at(index) == INVALID for index in lease.indexes)

    await eventually(all_are_revoked)
    rows = await ledger.pool.fetch(
        "SELECT index FROM status_change JOIN status_list ON id = list_id WHERE url = $1", lease.list
    )
    assert {row["index"] for row in rows} >= set(lease.indexes)
    assert len(rows) == len({row["index"] for row in rows})


async def _each(messages: Sequence[ledger_pb2.SetStatusesRequest]) -> AsyncIterator[ledger_pb2.SetStatusesRequest]:
    for message in messages:
        yield message


async def test_leaves_of_other_services_come_in_and_what_is_none_is_parked(ledger: Running) -> None:
    good = [Issued(sha256(uuid4().bytes)) for _ in range(3)]
    foreign = StatusChanged(
        "https://status.vitne.example/2026/no-1", 1, "revoked", datetime.now(UTC), datetime.now(UTC)
    )
    submitted = [events_pb2.LeafSubmitted(leaf=leaf.to_bytes()).SerializeToString() for leaf in (*good, foreign)]
    keys = [b64url(sha256(value)) for value in (*submitted, b"garbage")]
    await ledger.send(topics.ISSUER_LEAVES, keys[0], submitted[0])
    await ledger.send(topics.ISSUER_LEAVES, keys[3], submitted[3])
    await ledger.send(topics.ISSUER_LEAVES, keys[4], b"\xff\xff")
    await ledger.send(topics.ISSUER_LEAVES, keys[0], submitted[0])  # the relay repeats itself
    await ledger.send(topics.ISSUER_LEAVES, keys[1], submitted[1])
    await ledger.send(topics.ISSUER_LEAVES, keys[2], submitted[2])
    for leaf in good:
        await ledger.prove(leaf)

    async def the_others_are_parked() -> bool:
        parked = await ledger.pool.fetch("SELECT key, reason FROM consumer_parked WHERE key = ANY($1)", keys)
        return {row["key"]: row["reason"] for row in parked} == {keys[3]: "LEAF_NOT_ALLOWED", keys[4]: "BAD_EVENT"}

    await eventually(the_others_are_parked)  # In partitions of their own: maybe later.
    counted = await ledger.pool.fetchval(
        "SELECT count(*) FROM leaf WHERE hash = ANY($1)", [leaf.leaf_hash() for leaf in (*good, foreign)]
    )
    assert counted == 3

    # Every checkpoint since the empty log extends the one before.
    key = ledger.keys.note_signer(ledger.settings.log_origin).key
    later = await ledger.call(ledger_pb2.GetConsistencyProofRequest(from_size=1), token=None)
    newest = open_checkpoint(later.checkpoint, key)
    first = await ledger.pool.fetchval("SELECT hash FROM leaf WHERE leaf_index = 0")
    verify_consistency(from_size=1, to_size=later.to_size, from_root=first, to_root=newest.root, path=list(later.path))
    answer = await ledger.call(ledger_pb2.GetCheckpointRequest(), token=None)
    assert open_checkpoint(answer.checkpoint, key).size >= newest.size


async def test_writing_needs_its_scope_and_proofs_need_none(ledger: Running) -> None:
    lease = await ledger.call(lease_request(), token=f"issuer {LEASE}")
    revoke = status_request(lease.list, lease.indexes[0])
    refused: list[tuple[Message, str | None, str]] = [
        (lease_request(), None, "TOKEN_MISSING"),
        (lease_request(), "expired", "TOKEN_EXPIRED"),
        (lease_request(), f"registry {STATUS}", "SCOPE_MISSING"),
        (revoke, None, "TOKEN_MISSING"),
        (revoke, "institution vitne:credentials.issue", "SCOPE_MISSING"),
        (revoke, f"issuer {LEASE}", "SCOPE_MISSING"),
    ]
    for request, token, reason in refused:
        with pytest.raises(VitneError) as refusal:
            await ledger.call(request, token)
        assert refusal.value.reason == reason
    assert (await ledger.call(ledger_pb2.GetCheckpointRequest(), token=None)).checkpoint
    await ledger.call(revoke, token=f"registry {STATUS}")


async def test_bad_input_gets_reason_field_and_remedy_and_changes_nothing(ledger: Running) -> None:
    lease = await ledger.call(lease_request())
    url, index = lease.list, lease.indexes[0]
    future = datetime.now(UTC) + timedelta(minutes=5)
    cases: list[tuple[Message, str]] = [
        (ledger_pb2.LeaseIndexesRequest(country="NO", count=1), "request_id"),
        (ledger_pb2.LeaseIndexesRequest(request_id="7", country="NO", count=1), "request_id"),
        (lease_request(country="no"), "country"),
        (lease_request(country=""), "country"),
        (lease_request(count=0), "count"),
        (lease_request(count=10_001), "count"),
        (status_request(url, index, request_id=""), "request_id"),
        (status_request("", index), "list"),
        (status_request("no-1", index), "list"),
        (status_request(f"{url}0", index), "list"),
        (status_request(url, 4_000_000_000), "index"),
        (status_request(url, index, change=0), "change"),
        (status_request(url, index, change=9), "change"),
        (status_request(url, index, reason=0), "reason"),
        (status_request(url, index, reason=99), "reason"),
        (status_request(url, index, on_behalf_of=""), "on_behalf_of"),
        (status_request(url, index, on_behalf_of="0184:30859481"), "on_behalf_of"),
        (status_request(url, index, effective=future), "effective"),
        (status_request(url, index, effective=datetime.now(UTC), issued_at=future), "effective"),
        (status_request(url, index, effective={"seconds": 10**15}), "effective"),
        (status_request(url, index, change=ledger_pb2.STATUS_CHANGE_REINSTATE), "change"),
        (ledger_pb2.GetInclusionProofRequest(), "leaf_hash"),
        (ledger_pb2.GetInclusionProofRequest(leaf_hash=b"short"), "leaf_hash"),
        (ledger_pb2.GetInclusionProofRequest(leaf_hash=bytes(33)), "leaf_hash"),
        (ledger_pb2.GetInclusionProofRequest(leaf_hash=bytes(32)), "leaf_hash"),
        (ledger_pb2.GetConsistencyProofRequest(from_size=10**9), "from_size"),
        (ledger_pb2.GetConsistencyProofRequest(to_size=2**64 - 1), "to_size"),
    ]
    for request, field in cases:
        with pytest.raises(VitneError) as refusal:
            await ledger.call(request)
        assert (refusal.value.field, bool(refusal.value.reason)) == (field, True), request
        assert refusal.value.rule, request
        assert refusal.value.remedy, request
    assert await ledger.pool.fetchval("SELECT count(*) FROM status_change") == 0
    assert await ledger.pool.fetchval("SELECT sum(leased) FROM status_list") == 5

    reused = lease_request()
    await ledger.call(reused)
    reused.count += 1
    with pytest.raises(VitneError, match="REQUEST_ID_REUSED"):
        await ledger.call(reused)


async def test_an_institutions_request_id_never_meets_anothers(ledger: Running) -> None:
    lease = await ledger.call(lease_request())
    one = status_request(lease.list, lease.indexes[0])
    other = status_request(lease.list, lease.indexes[1], on_behalf_of="0192:971035854", request_id=one.request_id)
    await ledger.call(one)
    assert (await ledger.call(other)).status == credential_pb2.STATUS_REVOKED


async def test_many_revocations_at_once_share_transactions_and_all_are_published(ledger: Running) -> None:
    lease = await ledger.call(lease_request(100))
    await asyncio.gather(*(ledger.call(status_request(lease.list, index)) for index in lease.indexes))

    async def all_revoked() -> bool:
        found = await ledger.fetch_list(lease.list)
        return all(found.status_at(index) == INVALID for index in lease.indexes)

    await eventually(all_revoked)


async def test_every_method_of_the_contract_is_offered(ledger: Running) -> None:
    service = ledger_pb2.DESCRIPTOR.services_by_name["LedgerService"]
    assert service.full_name == SERVICE
    for method in service.methods:
        try:
            await ledger.call(getattr(ledger_pb2, f"{method.name}Request")())
        except VitneError as refusal:
            outcome = refusal.code
        else:
            outcome = "OK"
        assert outcome in {"OK", "INVALID_ARGUMENT"}, method.name
