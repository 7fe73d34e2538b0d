"""The ledger's parts over a real database, for its tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import uvicorn
from fastapi import FastAPI

from services.ledger.first_changes import FirstChanges
from services.ledger.history import History
from services.ledger.keys import LedgerKeys
from services.ledger.leases import Leases, Orders, load_secret
from services.ledger.lists import ListPublisher
from services.ledger.log_store import LogStore
from services.ledger.looks import PATIENCE_SECONDS, Looks
from services.ledger.outside import Outside
from services.ledger.pages import build_pages
from services.ledger.projections import Projections
from services.ledger.publication import Publication
from services.ledger.resources import LogResources
from services.ledger.sequencer import Sequencer
from services.ledger.statuses import Statuses, StatusRequest
from services.ledger.transitions import Change
from services.ledger.wiring import MIGRATIONS
from services.ledger.witnessed import WitnessedCheckpoints
from vitne.canonical import sha256
from vitne.clock import Clock
from vitne.credentials.jose import parse_public_jwk
from vitne.credentials.status_list import StatusList, verify_token
from vitne.dev.ports import LOOPBACK
from vitne.errors import VitneError
from vitne.identifiers import UuidFactory
from vitne.merkle.notes import Checkpoint, NoteSigner, open_checkpoint
from vitne.runtime import http
from vitne.runtime.custody import FileKeyCustody
from vitne.runtime.group_commit import GroupCommitter
from vitne.runtime.http_protocol import BoundedHttp
from vitne.runtime.idempotency import RequestKey
from vitne.runtime.migrations import migrate
from vitne.runtime.objects import Objects
from vitne_api.ledger.v1 import ledger_pb2

ORIGIN = "log.vitne.example/2026"
BASE_URL = "https://status.vitne.example"
#: Small enough that lists fill up in a test.
LIST_SIZE = 1000
LIFETIME = timedelta(minutes=15)
TTL = timedelta(seconds=10)
ISSUER = "0192:971035854 issuer"
INSTITUTION = "0184:30859480"


@dataclass
class Ledger:
    """One replica's parts; those of another come from :meth:`replica`."""

    pool: Any
    clock: Clock
    state: Path
    keys: LedgerKeys = field(init=False)
    orders: Orders = field(init=False)

    def __post_init__(self) -> None:
        self.keys = LedgerKeys.ensure(FileKeyCustody(self.state))
        self.orders = Orders(load_secret(self.state, create=True))
        new_id = UuidFactory(self.clock)
        self.leases = Leases(self.orders, self.clock, base_url=BASE_URL, list_size=LIST_SIZE)
        self.statuses = Statuses(self.orders, self.clock, new_id)
        self.committer: GroupCommitter[StatusRequest, ledger_pb2.SetStatusResponse] = GroupCommitter(
            self.pool, self.statuses.apply, at_once=FirstChanges(self.statuses, self.clock).apply
        )
        self.publisher = ListPublisher(
            self.pool, self.keys.status_list, self.clock, new_id, lifetime=LIFETIME, ttl=TTL, interval=0.05
        )
        self.store = LogStore(self.pool)
        self.checkpoints = WitnessedCheckpoints(self.pool, self.clock)
        self.history = History(self.pool, self.store, self.checkpoints, self.clock)
        self.projections = Projections(self.keys.status_list, BASE_URL)

    def pages(self) -> FastAPI:
        return build_pages(
            self.publisher,
            self.projections,
            self.checkpoints,
            LogResources(self.pool, self.store),
            self.history,
            looks=Looks(partial(self.pool.connect_apart, statement_seconds=PATIENCE_SECONDS), self.publisher.take_over),
        )

    def publication(self, objects: Objects) -> Publication:
        """Copies what is published."""
        return Publication(
            store=self.store,
            resources=LogResources(self.pool, self.store),
            witnessed=self.checkpoints,
            lists=self.publisher,
            projections=self.projections,
            signers=self.keys.note_signer,
            objects=objects,
        )

    def replica(self) -> Ledger:
        return Ledger(self.pool, self.clock, self.state)

    @property
    def note_signer(self) -> NoteSigner:
        return self.keys.note_signer(ORIGIN)

    def sequencer(self, max_batch: int = 1000, outside: Outside | None = None) -> Sequencer:
        return Sequencer(
            self.pool,
            ORIGIN,
            self.keys.note_signer,
            self.clock,
            uuid4,
            interval=0.01,
            max_batch=max_batch,
            agrees=outside.require_agreement if outside else None,
        )

    def outside(self, witnesses: Mapping[str, str] | None = None, objects: Objects | None = None) -> Outside:
        """What others have of the log."""
        return Outside(
            self.pool, self.store, self.keys.note_signer, origin=ORIGIN, witnesses=witnesses or {}, objects=objects
        )

    async def lease(self, count: int = 10, country: str = "NO") -> ledger_pb2.LeaseIndexesResponse:
        request = ledger_pb2.LeaseIndexesRequest(request_id=str(uuid4()), country=country, count=count)
        async with self.pool.acquire() as connection, connection.transaction():
            return await self.leases.lease(connection, ISSUER, request)

    async def apply(self, requests: Sequence[StatusRequest]) -> Sequence[ledger_pb2.SetStatusResponse | VitneError]:
        """A group in one transaction."""
        async with self.pool.acquire() as connection, connection.transaction():
            return await self.statuses.apply(connection, requests)

    async def set(self, request: StatusRequest) -> ledger_pb2.SetStatusResponse:
        return await self.committer.submit(request)

    async def published(self, url: str, now: datetime | None = None) -> StatusList:
        """The list as a relying party finds it: by its path, verified by the ledger's key."""
        newest = self.publisher.find(url.removeprefix(BASE_URL))
        assert newest is not None
        key = parse_public_jwk(self.keys.status_list.public_jwk)
        return verify_token(
            newest.token.decode(),
            uri=url,
            find_key=lambda key_id: key if key_id == key.key_id else None,
            now=now or self.clock.now(),
        )

    async def checkpoint(self) -> Checkpoint:
        return open_checkpoint((await self.store.checkpoint()).note, self.note_signer.key)

    async def queued(self) -> list[bytes]:
        return [row["record"] for row in await self.pool.fetch("SELECT record FROM queued_leaf ORDER BY number")]


async def make_ledger(dsn: str, pool: Any, clock: Clock, state: Path) -> Ledger:
    await migrate(dsn, MIGRATIONS)
    return Ledger(pool, clock, state)


def request(
    list_url: str,
    index: int,
    change: Change,
    *,
    request_id: UUID | None = None,
    effective: datetime | None = None,
    issued_at: datetime | None = None,
    reason: str = "STATUS_REASON_ISSUED_IN_ERROR",
) -> StatusRequest:
    body = f"{list_url} {index} {change} {effective} {issued_at} {reason}".encode()
    return StatusRequest(
        key=RequestKey(f"{ISSUER} for {INSTITUTION}", "SetStatus", request_id or uuid4(), sha256(body)),
        list_url=list_url,
        index=index,
        change=change,
        reason=reason,
        on_behalf_of=INSTITUTION,
        effective=effective,
        issued_at=issued_at,
    )


async def eventually(check: Any, seconds: float = 60.0) -> Any:
    """What ``await check()`` answers once it answers something true."""
    deadline = asyncio.get_running_loop().time() + seconds
    while True:
        found = await check()
        if found:
            return found
        assert asyncio.get_running_loop().time() < deadline, "it did not come about in time"
        await asyncio.sleep(0.01)


@asynccontextmanager
async def served(app: FastAPI) -> AsyncIterator[str]:
    """An application over HTTP, with the edge that the services have."""
    config = uvicorn.Config(http.install(app), host=LOOPBACK, port=0, log_config=None, lifespan="off", http=BoundedHttp)
    server = uvicorn.Server(config)
    running = asyncio.create_task(server.serve())
    try:
        await eventually(lambda: asyncio.sleep(0, server.started), 60)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://{LOOPBACK}:{port}"
    finally:
        server.should_exit = True
        await running
