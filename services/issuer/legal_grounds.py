"""The RPCs of ``vitne.issuer.v1.LegalGroundService``, and the end of what rested on a ground that ended.

Whose the registrations are that end is the same question as in a withdrawal; so is the order of locks.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any, Final
from uuid import UUID

import asyncpg

from services.issuer.acts import LearnerActs
from services.issuer.grounds import COLUMNS, ground_message
from services.issuer.hubs import Hubs
from vitne.clock import Clock
from vitne.errors import NotFound, VitneError
from vitne.identifiers import OrganisationId
from vitne.outages import DATABASE_OUTAGES
from vitne.runtime.database import repeated
from vitne.runtime.idempotency import RequestKey, answer_once, body_digest
from vitne.runtime.identity import current_caller
from vitne_api.issuer.v1 import subscription_pb2
from vitne_api.issuer.v1 import subscription_pb2_grpc as subscription_grpc

#: Full name in the contract.
SERVICE: Final = "vitne.issuer.v1.LegalGroundService"
#: Registrations that are looked up at a time, each ended in a transaction of its own.
PAGE: Final = 100
#: How often it is looked whether a ground has ended.
LOOK_SECONDS: Final = 2.0

_log = logging.getLogger(__name__)


class LegalGroundRpc(subscription_grpc.LegalGroundServiceServicer):
    """Implements the contract.

    Args:
        pool: the issuer's database.
        acts: who the hubs are.
        clock: when a ground was entered, and ended.
        new_id: makes UUIDv7.
    """

    def __init__(self, pool: asyncpg.Pool, *, acts: LearnerActs, clock: Clock, new_id: Callable[[], UUID]) -> None:
        self._pool = pool
        self._acts = acts
        self._clock = clock
        self._new_id = new_id

    async def GrantLegalGround(  # noqa: N802 - the contract's name
        self, request: subscription_pb2.GrantLegalGroundRequest, context: Any
    ) -> subscription_pb2.GrantLegalGroundResponse:
        """Let a hub register learners on a ground."""
        caller = current_caller()
        self._acts.require_hub(OrganisationId.parse(request.hub, field="hub"))
        key = RequestKey(
            str(caller.organisation), f"{SERVICE}/GrantLegalGround", UUID(request.request_id), body_digest(request)
        )

        async def work(connection: Any) -> subscription_pb2.GrantLegalGroundResponse:
            row = await connection.fetchrow(
                f"""
                INSERT INTO legal_ground (id, hub, citation, reference, decided_by, decided_by_name, granted_by,
                    granted_client, granted_at)
                VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) RETURNING {COLUMNS}
                """,  # noqa: S608 (a constant)
                self._new_id(),
                request.hub,
                request.citation,
                request.reference,
                request.decided_by,
                request.decided_by_name,
                str(caller.organisation),
                caller.client_id,
                self._clock.now(),
            )
            return subscription_pb2.GrantLegalGroundResponse(legal_ground=ground_message(row))

        return await answer_once(self._pool, key, self._clock, subscription_pb2.GrantLegalGroundResponse, work)

    async def EndLegalGround(  # noqa: N802 - the contract's name
        self, request: subscription_pb2.EndLegalGroundRequest, context: Any
    ) -> subscription_pb2.EndLegalGroundResponse:
        """End a ground; the first end counts."""
        caller = current_caller()
        row = await self._pool.fetchrow(
            f"""
            UPDATE legal_ground SET ended_by = coalesce(ended_by, $2), ended_client = coalesce(ended_client, $3),
                ended_at = coalesce(ended_at, $4)
            WHERE id = $1 RETURNING {COLUMNS}
            """,  # noqa: S608 (a constant)
            UUID(request.ground_id),
            str(caller.organisation),
            caller.client_id,
            self._clock.now(),
        )
        if row is None:
            raise NotFound(
                "LEGAL_GROUND_UNKNOWN",
                "there is no such legal ground",
                field="ground_id",
                remedy="use an id that GrantLegalGround or ListLegalGrounds answered",
            )
        return subscription_pb2.EndLegalGroundResponse(legal_ground=ground_message(row))

    async def ListLegalGrounds(  # noqa: N802 - the contract's name
        self, request: subscription_pb2.ListLegalGroundsRequest, context: Any
    ) -> subscription_pb2.ListLegalGroundsResponse:
        """A hub's grounds, those that ended too, the newest first."""
        rows = await self._pool.fetch(
            f"SELECT {COLUMNS} FROM legal_ground WHERE hub = $1 ORDER BY granted_at DESC, id DESC",  # noqa: S608
            request.hub,
        )
        return subscription_pb2.ListLegalGroundsResponse(legal_grounds=[ground_message(row) for row in rows])


class GroundEndings:
    """Ends the registrations that rest on a ground that ended; any replica may, at the same time as others.

    Args:
        pool: the issuer's database.
        hubs: ends a registration, and tells the hub.
        clock: for the pauses.
    """

    def __init__(self, pool: asyncpg.Pool, hubs: Hubs, clock: Clock) -> None:
        self._pool = pool
        self._hubs = hubs
        self._clock = clock

    async def run(self) -> None:
        """End what is to end, until cancelled."""
        while True:
            try:
                while await self.step():
                    pass
            except (*DATABASE_OUTAGES, VitneError) as error:
                _log.warning("ends of legal grounds wait: %s", type(error).__name__)
            await self._clock.sleep(LOOK_SECONDS)

    async def step(self) -> int:
        """End some; answers how many were found."""
        rows = await self._pool.fetch(
            "SELECT r.id FROM registration r JOIN legal_ground g ON g.id = r.legal_ground "
            "WHERE g.ended_at IS NOT NULL AND r.withdrawn_at IS NULL ORDER BY r.id LIMIT $1",
            PAGE,
        )
        for row in rows:
            await repeated(self._pool, partial(self._hubs.end, registration=row["id"]))
        return len(rows)
