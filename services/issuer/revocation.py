"""One resumable operation: what was issued under an accreditation, and no longer counts, is revoked.

That it is to be is decided by two officers of the authority, in the registry: their
order is a fact. Here the authority carries it out. Each credential's request to the
ledger has an id that derives from the order and the credential, so that whoever
repeats the operation, after whatever cut it short, is answered what was answered first.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from typing import Final
from uuid import UUID, uuid5

import grpc.aio

from services.issuer.effects import own_accreditation
from services.issuer.flags import Flags, Place, accreditation_change
from services.issuer.projection import RegistryView
from services.issuer.statuses import ledger_answers
from vitne.accreditation import Projection, case_of, instant, timestamp
from vitne.accreditation.cases import revocation_order
from vitne.errors import FailedPrecondition, InvalidArgument, VitneError
from vitne.runtime.interceptors.errors import as_vitne_error
from vitne.runtime.status import errors_to_status
from vitne_api.issuer.v1 import issuer_pb2 as issuer
from vitne_api.ledger.v1 import ledger_pb2 as ledger
from vitne_api.ledger.v1 import ledger_pb2_grpc as ledger_grpc
from vitne_api.registry.v1 import facts_pb2 as facts

#: Requests to the ledger at a time: it takes those that come together in one transaction.
AT_ONCE: Final = 16

_REVOKED: Final = issuer.REVOCATION_STATE_REVOKED
_BEFORE: Final = issuer.REVOCATION_STATE_REVOKED_BEFORE
_UNFINISHED: Final = issuer.REVOCATION_STATE_UNFINISHED


class Revocations:
    """Carries out orders to revoke.

    Args:
        stub: the ledger.
        flags: finds the credentials.
        projection: the registry's facts, with its orders.
        registry: says whether they are fresh.
    """

    def __init__(
        self,
        stub: ledger_grpc.LedgerServiceAsyncStub,
        flags: Flags,
        projection: Projection,
        registry: RegistryView,
    ) -> None:
        self._stub = stub
        self._flags = flags
        self._projection = projection
        self._registry = registry

    async def carry_out(
        self, authority: str, request: issuer.RevokeFlaggedRequest
    ) -> AsyncGenerator[issuer.RevokeFlaggedResponse, None]:
        """Revoke what an order names; answers credential by credential, by id, then a summary.

        Raises:
            NotFound: ``ACCREDITATION_UNKNOWN``.
            PermissionDenied: ``FOREIGN_ACCREDITATION``.
            FailedPrecondition: ``REVOCATION_NOT_ORDERED``.
            InvalidArgument: ``ORDER_CONTRADICTS``.
            Unavailable: ``REGISTRY_STALE``.
        """
        self._registry.require_fresh()
        held = own_accreditation(self._projection, authority, request.accreditation_id)
        order = self._order(request)
        places = await self._flags.places(accreditation_change(held.newest.fact))
        counts = dict.fromkeys((_REVOKED, _BEFORE, _UNFINISHED), 0)
        waiting: deque[asyncio.Task[issuer.RevocationResult]] = deque()
        upcoming = iter(places)
        try:
            for place in upcoming:
                waiting.append(asyncio.create_task(self._revoke(place, order, authority)))
                if len(waiting) == AT_ONCE:
                    break
            while waiting:
                result = await waiting.popleft()
                counts[result.state] += 1
                result.done, result.total = sum(counts.values()), len(places)
                yield issuer.RevokeFlaggedResponse(result=result)
                following = next(upcoming, None)
                if following is not None:
                    waiting.append(asyncio.create_task(self._revoke(following, order, authority)))
        finally:
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
        yield issuer.RevokeFlaggedResponse(
            summary=issuer.RevocationSummary(
                revoked=counts[_REVOKED], revoked_before=counts[_BEFORE], unfinished=counts[_UNFINISHED]
            )
        )

    def _order(self, request: issuer.RevokeFlaggedRequest) -> facts.Fact:
        case = case_of(self._projection, request.accreditation_id)
        order = None if case is None else revocation_order(case)
        if order is None:
            raise FailedPrecondition(
                "REVOCATION_NOT_ORDERED",
                "the registry holds no order to revoke what was issued under the accreditation as it stands",
                field="accreditation_id",
                rule="two officers of the authority decide that what no longer counts is revoked",
                remedy="propose it with OrderRevocation, and have another officer confirm it",
            )
        if order.id != request.request_id:
            raise InvalidArgument(
                "ORDER_CONTRADICTS",
                "the request id is not the order's",
                field="request_id",
                rule="an order is carried out once, under its own id, however often it is resumed",
                remedy="take the id of the fact that ConfirmDecision answered",
                metadata={"order": order.id},
            )
        return order

    async def _revoke(self, place: Place, order: facts.Fact, authority: str) -> issuer.RevocationResult:
        change = ledger.SetStatusRequest(
            request_id=str(uuid5(UUID(order.id), str(place.id))),
            list=place.status_list,
            index=place.status_index,
            change=ledger.STATUS_CHANGE_REVOKE,
            reason=ledger.STATUS_REASON_ACCREDITATION_WITHDRAWN,
            on_behalf_of=authority,
            issued_at=timestamp(place.issued_at),
        )
        result = issuer.RevocationResult(credential_id=str(place.id), provider=place.provider)
        try:
            answer = await ledger_answers(self._stub.SetStatus(change))
        except (VitneError, grpc.aio.AioRpcError) as error:
            result.state = _UNFINISHED
            result.error.CopyFrom(errors_to_status(as_vitne_error(error)))
            return result
        # What is revoked is answered with its first revocation, whoever asked for that.
        before = instant(answer.recorded) < instant(order.recorded_at)
        result.state = _BEFORE if before else _REVOKED
        return result
