"""Statuses: changed by the ledger on an institution's behalf, and learned from the ledger's events."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from datetime import datetime
from typing import Any, Final, TypeVar

import asyncpg
import grpc.aio

from services.issuer import store
from services.issuer.notices import Notices
from services.issuer.parts import Parts
from services.issuer.refusals import unknown_credential
from vitne.accreditation import instant, timestamp
from vitne.clock import Clock
from vitne.errors import InvalidArgument, Unauthenticated
from vitne.identifiers import OrganisationId, parse_uuid
from vitne.messaging import outbox
from vitne.messaging.consumer import ConsumerOptions
from vitne.messaging.headers import Message
from vitne.messaging.status_events import read_changes
from vitne.runtime.status import error_from_rpc
from vitne_api.credential.v1 import credential_pb2 as credential
from vitne_api.issuer.v1 import issuer_pb2 as issuer
from vitne_api.ledger.v1 import ledger_pb2 as ledger
from vitne_api.ledger.v1 import ledger_pb2_grpc as ledger_grpc

#: Name of the consumer; its offsets are kept under it.
CONSUMER: Final = "issuer"
#: Events together lock credentials, learners, then the hubs' aggregates, each in the order in which everybody does. One
#: by one in a transaction they would lock in the order of the events, and wait for an issuance that waits for them.
#: Fewer than elsewhere, since each may tell of a hundred changes.
OPTIONS: Final = ConsumerOptions(batch=50, singly=1)
#: What the ledger says about the change itself, and so to the institution that asked for it.
_REFUSALS: Final = (
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.ALREADY_EXISTS,
    grpc.StatusCode.FAILED_PRECONDITION,
)

A = TypeVar("A")


class Statuses:
    """Changes statuses, and keeps what the issuer knows of them.

    Args:
        pool: the issuer's database.
        stub: the ledger, which is the truth.
        notices: what hubs are told.
        parts: what was counted towards what.
        clock: tells what is in the future.
    """

    def __init__(
        self,
        pool: asyncpg.Pool,
        stub: ledger_grpc.LedgerServiceAsyncStub,
        notices: Notices,
        parts: Parts,
        clock: Clock,
    ) -> None:
        self._pool = pool
        self._stub = stub
        self._notices = notices
        self._parts = parts
        self._clock = clock

    async def change(
        self, provider: OrganisationId, request: issuer.ChangeStatusRequest
    ) -> issuer.ChangeStatusResponse:
        """Have the ledger change the status of one of the provider's own credentials.

        The ledger gets the same request id, so it is the ledger that answers a
        repeated request as it did first, and refuses a reused id.

        Raises:
            NotFound: ``CREDENTIAL_UNKNOWN``, also for another institution's.
            InvalidArgument: ``EFFECTIVE_BEFORE_ISSUANCE``, ``EFFECTIVE_IN_FUTURE``.
            VitneError: what the ledger refuses the change with.
            grpc.aio.AioRpcError: any other failure at the ledger, which is not the institution's: the edge tells it.
        """
        place = await store.place_of(self._pool, str(provider), parse_uuid(request.credential_id))
        answer = await ledger_answers(self._stub.SetStatus(self.at_ledger(provider, request, place)))
        return issuer.ChangeStatusResponse(status=answer.status, effective=answer.effective, recorded=answer.recorded)

    def at_ledger(
        self, provider: OrganisationId, request: issuer.ChangeStatusRequest, place: store.Place | None
    ) -> ledger.SetStatusRequest:
        """What the ledger is asked for, where the credential is the provider's and its status at ``place``.

        Raises:
            NotFound: ``CREDENTIAL_UNKNOWN``: there is no such place.
            InvalidArgument: ``EFFECTIVE_BEFORE_ISSUANCE``, ``EFFECTIVE_IN_FUTURE``.
        """
        if place is None:
            raise unknown_credential()
        if request.HasField("effective"):
            self._check_effective(instant(request.effective), place.issued_at)
        return ledger.SetStatusRequest(
            request_id=request.request_id,
            list=place.status_list,
            index=place.status_index,
            change=request.change,
            reason=request.reason,
            effective=request.effective if request.HasField("effective") else None,
            on_behalf_of=str(provider),
            issued_at=timestamp(place.issued_at),
        )

    async def handle(self, connection: Any, messages: Sequence[Message]) -> None:
        """Take in the ledger's events, in the consumer's transaction.

        Raises:
            DataLoss: ``BAD_EVENT``, ``UNKNOWN_EVENT_TYPE``.
        """
        changes = [change for message in messages for change in read_changes(message)]
        if not changes:
            return
        # Of several changes of one status the last is the one that stays, and all of them are told.
        ours = await store.change_statuses(
            connection, {(change.list_url, change.index): change.status for change in changes}
        )
        changed = [
            (holding, change.traceparent)
            for change in changes
            if (holding := ours.get((change.list_url, change.index)))  # else another issuer's: lists are shared
        ]
        await outbox.append(connection, await self._notices.status_changed(connection, changed))
        await self._parts.revoked(
            connection,
            {  # another issuer's may be a part of one of ours, too
                (change.list_url, change.index): change.recorded
                for change in changes
                if change.status == credential.STATUS_REVOKED
            },
        )

    def _check_effective(self, effective: datetime, issued_at: datetime) -> None:
        if effective < issued_at:
            raise InvalidArgument(
                "EFFECTIVE_BEFORE_ISSUANCE",
                "a status can't hold from before the credential was issued",
                field="effective",
                rule="effective is not before issued_at",
                remedy="leave it out for now, or name an instant after issuance",
            )
        if effective > self._clock.now():
            raise InvalidArgument(
                "EFFECTIVE_IN_FUTURE",
                "a status can't hold from an instant that has not come",
                field="effective",
                rule="effective is not in the future",
                remedy="leave it out for now",
            )


async def ledger_answers(call: Awaitable[A]) -> A:
    """What the ledger answers.

    Raises:
        VitneError: what the ledger refuses the change with.
        grpc.aio.AioRpcError: any other failure at the ledger, which is not the caller's: the edge tells it.
    """
    try:
        return await call
    except grpc.aio.AioRpcError as error:
        if error.code() in _REFUSALS:
            raise error_from_rpc(error) from error
        raise
    except Unauthenticated as error:  # The issuer's own client at the token issuer, not whoever called.
        raise RuntimeError(f"the issuer gets no access token for the ledger: {error.reason}") from error
