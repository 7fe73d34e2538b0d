"""One resumable operation: what was issued under an accreditation, and no longer counts, is revoked.

That it is to be is decided by two officers of the authority, in the registry: their
order is a fact. Here the authority carries it out. Each credential's request to the
ledger has an id that derives from the order and the credential, so that whoever
repeats the operation, after whatever cut it short, is answered what was answered first.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Final
from uuid import UUID, uuid5

from services.issuer.effects import own_accreditation
from services.issuer.flags import Flags, Place, accreditation_change
from services.issuer.ledger_stream import AT_ONCE, LedgerStream, Outcome
from services.issuer.projection import RegistryView
from vitne.accreditation import Projection, case_of, instant, timestamp
from vitne.accreditation.cases import revocation_order
from vitne.errors import FailedPrecondition, InvalidArgument, VitneError
from vitne.runtime.status import errors_to_status
from vitne_api.issuer.v1 import issuer_pb2 as issuer
from vitne_api.ledger.v1 import ledger_pb2 as ledger
from vitne_api.ledger.v1 import ledger_pb2_grpc as ledger_grpc
from vitne_api.registry.v1 import facts_pb2 as facts

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
        change = accreditation_change(held.newest.fact)
        total = await self._flags.count_of(change)
        counts = dict.fromkeys((_REVOKED, _BEFORE, _UNFINISHED), 0)
        after: UUID | None = None
        async with LedgerStream(self._stub) as stream:
            while places := await self._flags.places(change, after, AT_ONCE):
                after = places[-1].id
                outcomes = await stream.change([_at_ledger(place, order, authority) for place in places])
                for place, outcome in zip(places, outcomes, strict=True):
                    result = _result(place, order, outcome)
                    counts[result.state] += 1
                    # What was issued since the call began, by an issuer that had not heard, is told as well.
                    result.done = sum(counts.values())
                    result.total = max(total, result.done)
                    yield issuer.RevokeFlaggedResponse(result=result)
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


def _at_ledger(place: Place, order: facts.Fact, authority: str) -> ledger.SetStatusRequest:
    """What the ledger is asked for: under the same id whenever the operation is repeated."""
    return ledger.SetStatusRequest(
        request_id=str(uuid5(UUID(order.id), str(place.id))),
        list=place.status_list,
        index=place.status_index,
        change=ledger.STATUS_CHANGE_REVOKE,
        reason=ledger.STATUS_REASON_ACCREDITATION_WITHDRAWN,
        on_behalf_of=authority,
        issued_at=timestamp(place.issued_at),
    )


def _result(place: Place, order: facts.Fact, outcome: Outcome) -> issuer.RevocationResult:
    result = issuer.RevocationResult(credential_id=str(place.id), provider=place.provider)
    if isinstance(outcome, VitneError):
        result.state = _UNFINISHED
        result.error.CopyFrom(errors_to_status(outcome))
        return result
    # What is revoked is answered with its first revocation, whoever asked for that.
    before = instant(outcome.recorded) < instant(order.recorded_at)
    result.state = _BEFORE if before else _REVOKED
    return result
