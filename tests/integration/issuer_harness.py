"""The issuer over real databases and a real gRPC server; registry, ledger and tokens are played at the edge."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
import pytest

from services.issuer.crypto import INDEX_KEY, IndexKey
from services.issuer.events import SOURCE, Events
from services.issuer.learners import Learners
from services.issuer.legal_grounds import SERVICE as LEGAL_GROUND_SERVICE
from services.issuer.notices import Notices
from services.issuer.origins import Origins
from services.issuer.reconcile import Reconciliation
from services.issuer.rights import SERVICE as RIGHTS_SERVICE
from services.issuer.rpc import SERVICE
from services.issuer.settings import IssuerSettings
from services.issuer.subscriptions import SERVICE as SUBSCRIPTION_SERVICE
from services.issuer.wiring import KEY_MIGRATIONS, MIGRATIONS, Issuer
from tests.pools import opened_pool
from tests.schemas import migrated
from tests.unit.accreditation_samples import PRIVATE, T0, UCL, UIO, Chronicle, achievement, scope, uuid
from vitne.accreditation import Projection, timestamp
from vitne.clock import Clock
from vitne.errors import FailedPrecondition, Unauthenticated, Unavailable, VitneError
from vitne.frameworks import Standing
from vitne.identifiers import LearnerId, OrganisationId, synthetic_national_id
from vitne.messaging.headers import Message
from vitne.runtime.application import Application
from vitne.runtime.channel import open_channel
from vitne.runtime.identity import HIGH, Caller, LearnerIdentity
from vitne.runtime.interceptors.chain import Chain
from vitne.runtime.interceptors.errors import ErrorsInterceptor
from vitne.runtime.secret_files import read_secret
from vitne.runtime.status import DeadlineExceeded, error_from_rpc, errors_to_status
from vitne_api.credential.v1 import credential_pb2
from vitne_api.events.v1 import events_pb2
from vitne_api.issuer.v1 import issuer_pb2, issuer_pb2_grpc, rights_pb2_grpc, subscription_pb2_grpc
from vitne_api.ledger.v1 import ledger_pb2, ledger_pb2_grpc
from vitne_api.registry.v1 import facts_pb2

HUB, OTHER_HUB = "0192:919477822", "0192:974788985"
KLIMA, MINI, ATTEST, NANO = uuid(0xC001), uuid(0xC002), uuid(0xC003), uuid(0xC004)
SCOPES = frozenset(
    f"vitne:{name}"
    for name in (
        "credentials.archive",
        "credentials.erase",
        "credentials.keys",
        "credentials.issue",
        "credentials.read",
        "credentials.status",
        "hub.register",
        "hub.fetch",
        "hub.grounds",
        "hub.rights",
        "hub.subscribe",
        "registry.accredit",
    )
)


def pid_of(number: int) -> str:
    """A synthetic national identity number; the same for the same number."""
    born = date(1980, 1, 1) + timedelta(days=number)
    return next(pid for serial in range(20) if (pid := synthetic_national_id(born, serial)))


class Verifier:
    """At the boundary: an access token is the organisation."""

    async def verify(self, token: str) -> Caller:
        return Caller(OrganisationId.parse(token), SCOPES, "client")


class IdTokens:
    """At the boundary: an ID token is ``pid audience``, good once and for all unless it says ``expired``."""

    async def verify(self, token: str, *, audience: str) -> LearnerIdentity:
        pid, _, rest = token.partition(" ")
        if rest != audience:
            raise Unauthenticated("TOKEN_EXPIRED" if rest == "expired" else "TOKEN_AUDIENCE", "the token does not hold")
        return LearnerIdentity("no.national_id", LearnerId.parse("no.national_id", pid).value, HIGH, "subject")


class Token:
    def __init__(self, token: str) -> None:
        self._token = token

    async def token(self) -> str:
        return self._token


class FakeLedger(ledger_pb2_grpc.LedgerServiceServicer):
    """The ledger at the service boundary: leases in order, statuses in a dictionary."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.down = False
        self.refused: set[str] = set()
        self.knows_issuer = True
        #: Messages after which a stream is ended; zero: it is not.
        self.ends_streams_after = 0
        self.next_index: dict[str, int] = {}
        self.leases: dict[str, ledger_pb2.LeaseIndexesResponse] = {}
        self.changes: list[ledger_pb2.SetStatusRequest] = []
        self.answered: dict[str, ledger_pb2.SetStatusResponse] = {}

    async def LeaseIndexes(self, request: ledger_pb2.LeaseIndexesRequest, context: Any) -> Any:  # noqa: N802
        self._require_up()
        if request.country in self.refused:
            raise FailedPrecondition("COUNTRY_REFUSED", "no lists for this country")
        if request.request_id not in self.leases:
            first = self.next_index.get(request.country, 0)
            self.next_index[request.country] = first + request.count
            self.leases[request.request_id] = ledger_pb2.LeaseIndexesResponse(
                list=f"https://status.vitne.example/2026/{request.country.lower()}-1",
                indexes=range(first, first + request.count),
            )
        return self.leases[request.request_id]

    async def SetStatus(self, request: ledger_pb2.SetStatusRequest, context: Any) -> Any:  # noqa: N802
        self._require_up()
        if not self.knows_issuer:
            raise Unauthenticated("TOKEN_EXPIRED", "the token has expired", remedy="get a new one")
        if request.request_id in self.answered:
            return self.answered[request.request_id]
        status = {
            ledger_pb2.STATUS_CHANGE_SUSPEND: credential_pb2.STATUS_SUSPENDED,
            ledger_pb2.STATUS_CHANGE_REINSTATE: credential_pb2.STATUS_VALID,
            ledger_pb2.STATUS_CHANGE_REVOKE: credential_pb2.STATUS_REVOKED,
        }[request.change]
        if any(
            (one.list, one.index, one.change) == (request.list, request.index, ledger_pb2.STATUS_CHANGE_REVOKE)
            for one in self.changes
        ):
            raise FailedPrecondition("STATUS_FINAL", "what is revoked stays revoked", rule="revocation is final")
        self.changes.append(request)
        now = timestamp(self.clock.now())
        effective = request.effective if request.HasField("effective") else now
        answer = ledger_pb2.SetStatusResponse(status=status, effective=effective, recorded=now)
        self.answered[request.request_id] = answer
        return answer

    async def SetStatuses(self, request_iterator: Any, context: Any) -> Any:  # noqa: N802
        messages = 0
        async for request in request_iterator:
            messages += 1
            if self.ends_streams_after and messages > self.ends_streams_after:
                raise DeadlineExceeded("STREAM_IDLE", "the stream was open for too long without a message")
            outcomes = []
            for item in request.items:
                try:
                    outcomes.append(ledger_pb2.StatusOutcome(response=await self.SetStatus(item, context)))
                except FailedPrecondition as refused:
                    outcomes.append(ledger_pb2.StatusOutcome(error=errors_to_status(refused)))
            yield ledger_pb2.SetStatusesResponse(outcomes=outcomes)

    async def _never_asked(self, request: Any, context: Any) -> Any:
        raise AssertionError("the issuer does not ask for this")

    GetCheckpoint = GetInclusionProof = GetConsistencyProof = StatusAt = GetSuccession = _never_asked

    def _require_up(self) -> None:
        if self.down:
            raise Unavailable("DOWN", "the ledger is down")


@dataclass
class World:
    """What a test holds in its hands."""

    clock: Clock
    issuer: Issuer
    chronicle: Chronicle
    projection: Projection
    ledger: FakeLedger
    pool: Any
    keys_pool: Any
    address: str
    settings: IssuerSettings
    dsns: tuple[str, str]
    channels: dict[str, Any] = field(default_factory=dict)

    def caller(self, organisation: str) -> issuer_pb2_grpc.IssuerServiceAsyncStub:
        """The issuer as an organisation's client calls it."""
        if organisation not in self.channels:
            self.channels[organisation] = open_channel(self.address, Token(organisation))
        stub: issuer_pb2_grpc.IssuerServiceAsyncStub = issuer_pb2_grpc.IssuerServiceStub(self.channels[organisation])
        return stub

    def rights(self, organisation: str) -> rights_pb2_grpc.RightsServiceAsyncStub:
        """What learners may ask for, as an organisation's client calls it."""
        self.caller(organisation)
        stub: rights_pb2_grpc.RightsServiceAsyncStub = rights_pb2_grpc.RightsServiceStub(self.channels[organisation])
        return stub

    def subscriptions(self, organisation: str) -> subscription_pb2_grpc.SubscriptionServiceAsyncStub:
        """Hubs' subscriptions, as an organisation's client calls it."""
        self.caller(organisation)
        stub: subscription_pb2_grpc.SubscriptionServiceAsyncStub = subscription_pb2_grpc.SubscriptionServiceStub(
            self.channels[organisation]
        )
        return stub

    def learn(self, *facts: facts_pb2.Fact) -> None:
        """The registry's facts reach the issuer, and its heartbeat."""
        for fact in facts or self.chronicle.facts:
            self.projection.fold(fact)
        self.projection.heartbeat(len(self.chronicle.facts), self.clock.now(), self.clock.now())

    async def enter_key(
        self,
        provider: str,
        algorithm: issuer_pb2.SigningAlgorithm.ValueType = issuer_pb2.SIGNING_ALGORITHM_UNSPECIFIED,
    ) -> str:
        """A provider makes a signing key and enters it in the registry; answers its thumbprint."""
        asked = issuer_pb2.CreateSigningKeyRequest(request_id=str(uuid4()), algorithm=algorithm)
        made = await self.caller(provider).CreateSigningKey(asked)
        self.learn(self.register_key(provider, made.key_id, made.public_jwk))
        return made.key_id

    def register_key(self, provider: str, key_id: str, public_jwk: str, revision: int = 1) -> facts_pb2.Fact:
        key = facts_pb2.Key(
            id=key_id,
            revision=revision,
            owner=provider,
            use=facts_pb2.KEY_USE_CREDENTIAL,
            public_jwk=public_jwk,
            valid_from=timestamp(T0),
        )
        return self.chronicle.record(provider, key=key)

    async def issue(self, provider: str = UCL, **values: Any) -> issuer_pb2.IssuedCredential:
        """One credential, by a unary call."""
        return (await self.caller(provider).Issue(request(**values))).credential

    async def batch(
        self,
        items: Iterable[issuer_pb2.BatchItem],
        *,
        request_id: str = "",
        provider: str = UCL,
        formats: Iterable[credential_pb2.Format.ValueType] = (),
        pack: int = 0,
    ) -> tuple[dict[str, issuer_pb2.BatchResult], issuer_pb2.BatchSummary]:
        """A batch's answers by item, and its summary; ``pack``: so many items travel in a message."""
        header = issuer_pb2.BatchHeader(request_id=request_id or str(uuid4()), formats=formats)

        async def requests() -> AsyncIterator[issuer_pb2.IssueBatchRequest]:
            yield issuer_pb2.IssueBatchRequest(header=header)
            rest = iter(items)
            while pack and (several := list(islice(rest, pack))):
                yield issuer_pb2.IssueBatchRequest(items=issuer_pb2.BatchItems(items=several))
            for one in rest:
                yield issuer_pb2.IssueBatchRequest(item=one)

        answers = [answer async for answer in self.caller(provider).IssueBatch(requests())]
        assert {answer.WhichOneof("part") for answer in answers[:-1]} <= {"results" if pack else "result"}
        assert answers[-1].WhichOneof("part") == "summary"
        results = [one for each in answers for one in (each.results.results if pack else [each.result])]
        by_item = {result.item_id: result for result in results if result.item_id}
        assert len(by_item) == sum(1 for result in results if result.item_id), "an item was answered twice"
        return by_item, answers[-1].summary

    async def outbox(self, topic: str) -> list[Any]:
        """Rows of a topic, in order."""
        rows: list[Any] = await self.pool.fetch("SELECT * FROM outbox WHERE topic = $1 ORDER BY id", topic)
        return rows

    async def messages(self, topic: str) -> list[Message]:
        """A topic as its readers have it: all that was told, in order."""
        return [
            Message(
                topic=row["topic"],
                partition=0,
                offset=number,
                key=row["key"],
                value=row["value"],
                id=row["event_id"],
                source=SOURCE,
                type=row["type"],
                time=row["time"],
                revision=row["revision"],
                traceparent=None,
            )
            for number, row in enumerate(await self.outbox(topic))
        ]

    async def notices(self, hub: str = HUB) -> list[tuple[str, str, int]]:
        """What a hub was told: notice, handle, and the revision of its record, checked to be consistent."""
        told = []
        for row in await self.outbox(f"vitne.hub.{hub.replace(':', '-')}.v1"):
            notice = events_pb2.HubCredentialNotice.FromString(row["value"])
            assert row["key"] == notice.pseudonym
            name = events_pb2.HubNotice.Name(notice.notice).removeprefix("HUB_NOTICE_")
            told.append((name, notice.handle, row["revision"]))
        return told

    async def taken(self, country: str = "DK") -> int:
        """How many indexes were given out of the blocks that are still there."""
        return int(await self.pool.fetchval("SELECT sum(taken) FROM index_lease WHERE country = $1", country))


def reconciliation(world: World) -> Reconciliation:
    """What puts this issuer's database in step after a restore."""
    index = IndexKey(read_secret(world.settings.state_dir, INDEX_KEY, create=False))
    learners = Learners(world.issuer.keys, index, world.clock, uuid4)
    return Reconciliation(
        world.pool,
        keys=world.issuer.keys,
        learners=learners,
        notices=Notices(learners, Events(world.clock, uuid4)),
        origins=Origins(index),
        clock=world.clock,
        new_id=uuid4,
    )


def issuance(**values: Any) -> issuer_pb2.Issuance:
    """What is to be issued: Klimaregnskaber to a synthetic learner, unless said otherwise."""
    learner = {
        "scheme": "no.national_id",
        "value": pid_of(1),
        "given_name": "Kari",
        "family_name": "Nordmann",
        **values.pop("learner", {}),
    }
    fields: dict[str, Any] = {
        "achievement_id": KLIMA,
        "achievement_version": 1,
        "awarded_on": "2026-11-20",
        "retention": credential_pb2.RETENTION_CLASS_ERASABLE,
        **values,
    }
    return issuer_pb2.Issuance(learner=issuer_pb2.Learner(**learner), **fields)


def request(request_id: str = "", **values: Any) -> issuer_pb2.IssueRequest:
    return issuer_pb2.IssueRequest(request_id=request_id or str(uuid4()), issuance=issuance(**values))


def item(number: int, **values: Any) -> issuer_pb2.BatchItem:
    learner = {"value": pid_of(number), **values.pop("learner", {})}
    return issuer_pb2.BatchItem(item_id=f"item-{number}", issuance=issuance(learner=learner, **values))


async def refusal(awaitable: Any) -> VitneError:
    """The error that a call ends with."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await awaitable
    return error_from_rpc(caught.value)


def chronicle_of_providers(**changes: Any) -> Chronicle:
    """UCL, UiO and a private provider, accredited, with an achievement each, and a nano-module of UCL's."""
    chronicle = Chronicle()
    for provider in (UCL, UIO, PRIVATE):
        chronicle.provider(provider)
    chronicle.accredit(
        UCL,
        "dk.institution",
        scope("dk.micro_credential", levels=[("dk.nqf", "5")], credit_unit="ects", max_points="10"),
        accreditation=0xA001,
        **changes,
    )
    chronicle.accredit(
        UIO,
        "no.self_accrediting",
        scope("no.micro_credential", levels=[("no.nkr", "7")], credit_unit="ects"),
        accreditation=0xA002,
        **changes,
    )
    chronicle.accredit(PRIVATE, "no.non_formal_approval", scope("no.kompetanseattest"), accreditation=0xA003, **changes)
    micro: Mapping[str, Any] = {"workload": ("ects", "0.5"), "level": ("dk.nqf", "5")}
    chronicle.publish(achievement(UCL, "dk.micro_credential", id=KLIMA, **micro))
    chronicle.publish(achievement(UIO, "no.micro_credential", id=MINI, workload=("ects", "2.5"), level=("no.nkr", "7")))
    chronicle.publish(achievement(PRIVATE, "no.kompetanseattest", id=ATTEST))
    chronicle.publish(
        achievement(UCL, "dk.micro_credential", id=NANO, workload=("ects", "0.25"), level=("dk.nqf", "5"))
    )
    return chronicle


@contextlib.asynccontextmanager
async def ledger_server(ledger: FakeLedger) -> AsyncIterator[str]:
    """Address of a gRPC server with a ledger."""
    server = grpc.aio.server(interceptors=[Chain([ErrorsInterceptor()])])
    ledger_pb2_grpc.add_LedgerServiceServicer_to_server(ledger, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


@contextlib.asynccontextmanager
async def make_world(postgres: Any, folder: Path, clock: Clock, **values: Any) -> AsyncIterator[World]:
    """An issuer that serves, with fresh facts, keys of UCL and UiO, and leased indexes; no background tasks."""
    names = [f"test_{uuid4().hex}" for _ in range(2)]
    dsn = await migrated(postgres, names[0], MIGRATIONS)
    keys_dsn = await migrated(postgres, names[1], KEY_MIGRATIONS)
    pool, keys_pool = await opened_pool(dsn), await opened_pool(keys_dsn, max_size=4)
    settings = IssuerSettings(
        environment="development",
        database_dsn=dsn,
        learner_keys_dsn=keys_dsn,
        state_dir=folder,
        hubs={HUB: "portal", OTHER_HUB: "other-portal"},
        shutdown_grace_seconds=1.0,
        standings=tuple(Standing),
        **{"lease_block": 100, "lease_low_water": 50, **values},
    )
    chronicle, projection, ledger = chronicle_of_providers(), Projection(), FakeLedger(clock)
    async with ledger_server(ledger) as ledger_address:
        channel = open_channel(ledger_address, None)
        issuer = Issuer.assemble(
            settings,
            clock,
            pool=pool,
            keys_pool=keys_pool,
            ledger=ledger_pb2_grpc.LedgerServiceStub(channel),
            projection=projection,
            verifier=IdTokens(),  # type: ignore[arg-type]  # stands for the real one at the edge
        )
        application = Application("issuer", settings, clock, verifier=Verifier())
        application.add_servicer(
            issuer_pb2_grpc.add_IssuerServiceServicer_to_server,
            issuer.rpc,
            SERVICE,
            checks_own_streams=["IssueBatch", "ChangeStatuses"],
        )
        application.add_servicer(rights_pb2_grpc.add_RightsServiceServicer_to_server, issuer.rights, RIGHTS_SERVICE)
        application.add_servicer(
            subscription_pb2_grpc.add_SubscriptionServiceServicer_to_server, issuer.subscriptions, SUBSCRIPTION_SERVICE
        )
        application.add_servicer(
            subscription_pb2_grpc.add_LegalGroundServiceServicer_to_server, issuer.legal_grounds, LEGAL_GROUND_SERVICE
        )
        running = asyncio.create_task(application.run())
        await application.started.wait()
        world = World(
            clock,
            issuer,
            chronicle,
            projection,
            ledger,
            pool,
            keys_pool,
            application.grpc_address,
            settings,
            (dsn, keys_dsn),
        )
        try:
            world.learn()
            for country in ("DK", "NO"):
                await issuer.leases.top_up(country)
            for provider in (UCL, UIO):
                await world.enter_key(provider)
            yield world
        finally:
            for opened in (*world.channels.values(), channel):
                await opened.close()
            application.stop()
            await running
            pool.terminate()
            keys_pool.terminate()
            for name in names:
                await postgres.drop_database(name)


def public_jwk(world: World, key_id: str) -> dict[str, str]:
    """A provider's key as the registry knows it."""
    key = world.projection.key(key_id)
    assert key is not None
    jwk: dict[str, str] = json.loads(key.public_jwk)
    return jwk
