"""The ledger with mTLS: who may change what credentials are worth, by token and by certificate."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import grpc
import pytest
from google.protobuf.message import Message

from services.ledger.settings import LedgerSettings
from services.ledger.wiring import MIGRATIONS, build
from vitne.clock import SystemClock
from vitne.dev.certificates import CertificateAuthority
from vitne.errors import VitneError
from vitne.identifiers import OrganisationId
from vitne.messaging import topics
from vitne.messaging.kafka import KafkaSettings, create_topics
from vitne.runtime.channel import open_channel
from vitne.runtime.identity import Caller
from vitne.runtime.migrations import migrate
from vitne.runtime.status import error_from_rpc
from vitne.runtime.tls import TlsFiles
from vitne_api.ledger.v1 import ledger_pb2, ledger_pb2_grpc

LEASE, STATUS = "vitne:ledger.lease", "vitne:ledger.status"
ISSUER, REGISTRY, PORTAL = (f"spiffe://vitne.example/{name}" for name in ("issuer", "registry", "portal"))


class Verifier:
    """At the boundary: tokens are the scopes they carry."""

    async def verify(self, token: str) -> Caller:
        return Caller(OrganisationId.parse("0192:971035854"), frozenset(token.split()), "client")


class Token:
    def __init__(self, token: str) -> None:
        self._token = token

    async def token(self) -> str:
        return self._token


@dataclass
class Ledger:
    address: str
    authority: CertificateAuthority

    async def call(self, request: Message, peer: str, token: str = f"{LEASE} {STATUS}") -> str:
        """What a peer of this name gets: ``served``, or the reason why not."""
        client = self.authority.issue("client", uris=[peer])
        tls = TlsFiles(client, client, self.authority.certificate_path)
        channel = open_channel(self.address, Token(token), tls=tls)
        name = type(request).__name__.removesuffix("Request")
        try:
            await getattr(ledger_pb2_grpc.LedgerServiceStub(channel), name)(request)
        except grpc.aio.AioRpcError as error:
            told: VitneError = error_from_rpc(error)
            return told.reason
        finally:
            await channel.close()
        return "served"


@pytest.fixture
async def ledger(database_dsn: str, pool: asyncpg.Pool, broker: str, tmp_path: Path) -> AsyncIterator[Ledger]:
    await migrate(database_dsn, MIGRATIONS)
    authority = CertificateAuthority(tmp_path / "tls", SystemClock())
    server = authority.issue("ledger", server=True)
    settings = LedgerSettings(
        environment="development",
        database_dsn=database_dsn,
        kafka_bootstrap_servers=broker,
        kafka_idempotence=False,
        kafka_groups=False,
        state_dir=tmp_path / "state",
        grpc_certificate_file=server,
        grpc_key_file=server,
        grpc_client_authority_file=authority.certificate_path,
        grpc_allowed_peers={LEASE: (ISSUER,), STATUS: (ISSUER, REGISTRY)},
    )
    await create_topics(KafkaSettings(broker), topics.fixed_topics())
    application = build(settings, pool, SystemClock(), Verifier())
    running = asyncio.create_task(application.run())
    async with asyncio.timeout(20):
        await application.started.wait()
        while await application.readiness():
            await asyncio.sleep(0.05)
    yield Ledger(application.grpc_address, authority)
    application.stop()
    await running


async def test_only_the_issuer_leases_and_only_issuer_and_registry_change_statuses(ledger: Ledger) -> None:
    def lease() -> Any:
        return ledger_pb2.LeaseIndexesRequest(request_id=str(uuid4()), country="NO", count=1)

    def change() -> Any:
        return ledger_pb2.SetStatusRequest(
            request_id=str(uuid4()),
            list="https://status.vitne.example/no/none",
            index=1,
            change=ledger_pb2.STATUS_CHANGE_REVOKE,
            reason=ledger_pb2.STATUS_REASON_ISSUED_IN_ERROR,
            on_behalf_of="0184:30859480",
        )

    assert await ledger.call(lease(), ISSUER) == "served"
    assert await ledger.call(lease(), ISSUER, token=STATUS) == "SCOPE_MISSING"
    for peer in (REGISTRY, PORTAL):
        assert await ledger.call(lease(), peer) == "PEER_NOT_ALLOWED"
    # Who is let in is told that there is no such list.
    refused = {peer: await ledger.call(change(), peer) for peer in (ISSUER, REGISTRY, PORTAL)}
    assert refused[ISSUER] == refused[REGISTRY] == "STATUS_LIST_UNKNOWN"
    assert refused[PORTAL] == "PEER_NOT_ALLOWED"
    assert await ledger.call(ledger_pb2.GetCheckpointRequest(), PORTAL, token="none") == "served"
