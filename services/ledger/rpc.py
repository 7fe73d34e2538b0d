"""The RPCs of ``vitne.ledger.v1.LedgerService``: messages in, messages out."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import asyncpg
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from services.ledger.events import timestamp
from services.ledger.history import History, ProvenLeaf
from services.ledger.leases import Leases
from services.ledger.lists import ListPublisher
from services.ledger.log_store import LogStore
from services.ledger.statuses import STATUS_MESSAGE, StatusRequest
from services.ledger.transitions import Change
from vitne.clock import Clock, to_milliseconds
from vitne.errors import InvalidArgument, ResourceExhausted, VitneError
from vitne.runtime.idempotency import RequestKey, answer_once, body_digest
from vitne.runtime.identity import current_caller
from vitne.runtime.interceptors.errors import as_vitne_error
from vitne.runtime.item_streams import refused_items, stream_room, until_idle
from vitne.runtime.room import Room
from vitne.runtime.status import errors_to_status
from vitne.runtime.telemetry import current_traceparent
from vitne_api.ledger.v1 import ledger_pb2, ledger_pb2_grpc

#: Streams of changes at a time, in each replica of the ledger: of one service (all institutions' over all replicas of
#: the issuer), of one institution whichever replicas of the issuer it uses, and of all.
STREAMS_OF_ONE: Final = 128
STREAMS_OF_INSTITUTION: Final = 8
STREAMS_OF_ALL: Final = 256
#: Changes of one institution's that streams have under way at a time, in each replica: two full messages, a quarter of
#: what may wait for the database, so that none keeps the others' out.
IN_FLIGHT_OF_ONE: Final = 1000

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SERVICE: Final = "vitne.ledger.v1.LedgerService"
_CHANGES: Final = {
    ledger_pb2.STATUS_CHANGE_SUSPEND: Change.SUSPEND,
    ledger_pb2.STATUS_CHANGE_REINSTATE: Change.REINSTATE,
    ledger_pb2.STATUS_CHANGE_REVOKE: Change.REVOKE,
}


class LedgerRpc(ledger_pb2_grpc.LedgerServiceServicer):
    """Implements the contract; refusals are raised as :mod:`vitne.errors` and translated by the server.

    Args:
        pool: the ledger's database.
        leases: gives out indexes.
        set_status: applies a change; returns once it is committed.
        set_statuses: applies many; answers each once all are committed, or why not.
        store: answers proofs.
        clock: says when a lease was recorded.
        publisher: is told what was committed.
        history: answers what was, and what witnesses saw.
    """

    def __init__(
        self,
        *,
        pool: asyncpg.Pool,
        leases: Leases,
        set_status: Callable[[StatusRequest], Awaitable[ledger_pb2.SetStatusResponse]],
        set_statuses: Callable[
            [Sequence[StatusRequest]], Awaitable[Sequence[ledger_pb2.SetStatusResponse | Exception]]
        ],
        store: LogStore,
        clock: Clock,
        publisher: ListPublisher,
        history: History,
    ) -> None:
        self._pool = pool
        self._leases = leases
        self._set_status = set_status
        self._set_statuses = set_statuses
        self._store = store
        self._clock = clock
        self._publisher = publisher
        self._history = history
        self._streams = stream_room(STREAMS_OF_ONE, STREAMS_OF_ALL)
        self._streams_of_institutions = stream_room(STREAMS_OF_INSTITUTION, STREAMS_OF_ALL)
        self._in_flight = Room(IN_FLIGHT_OF_ONE, None, _too_many_in_flight)

    async def LeaseIndexes(  # noqa: N802 - the contract's name
        self, request: ledger_pb2.LeaseIndexesRequest, context: Any
    ) -> ledger_pb2.LeaseIndexesResponse:
        """Lease a block of indexes; see the contract."""
        caller = _caller()
        answer = await answer_once(
            self._pool,
            _request_key(caller, "LeaseIndexes", request),
            self._clock,
            ledger_pb2.LeaseIndexesResponse,
            lambda connection: self._leases.lease(connection, caller, request),
        )
        await self._publisher.until_published(answer.list)
        return answer

    async def SetStatus(  # noqa: N802 - the contract's name
        self, request: ledger_pb2.SetStatusRequest, context: Any
    ) -> ledger_pb2.SetStatusResponse:
        """Change the status at (list, index); see the contract."""
        response = await self._set_status(_status_request(request))
        self._publisher.wake()
        return response

    async def SetStatuses(  # noqa: N802 - the contract's name
        self, request_iterator: AsyncIterator[ledger_pb2.SetStatusesRequest], context: Any
    ) -> AsyncIterator[ledger_pb2.SetStatusesResponse]:
        """Change many statuses, message by message; see the contract."""
        with self._streams.take(_caller()), ExitStack() as taken:
            first = True
            async for request in until_idle(request_iterator):
                if first and request.items:
                    # The issuer's streams are one institution's each; items of others count for theirs when they come.
                    taken.enter_context(self._streams_of_institutions.take(request.items[0].on_behalf_of))
                    first = False
                yield ledger_pb2.SetStatusesResponse(outcomes=await self._set_all(request))

    async def _set_all(self, request: ledger_pb2.SetStatusesRequest) -> list[ledger_pb2.StatusOutcome]:
        answers: dict[int, ledger_pb2.SetStatusResponse | Exception] = {**refused_items(request)}
        asked: dict[int, StatusRequest] = {}
        for place, item in enumerate(request.items):
            if place not in answers:
                try:
                    asked[place] = _status_request(item)
                except InvalidArgument as refusal:
                    answers[place] = refusal
        with ExitStack() as taken:
            for institution, count in Counter(each.on_behalf_of for each in asked.values()).items():
                try:
                    taken.enter_context(self._in_flight.take(institution, count))
                except ResourceExhausted as refusal:
                    refused = [place for place, each in asked.items() if each.on_behalf_of == institution]
                    answers |= dict.fromkeys(refused, refusal)
                    asked = {place: each for place, each in asked.items() if place not in answers}
            try:
                answers |= zip(asked, await self._set_statuses(list(asked.values())), strict=True)
            except VitneError as error:  # none of them had room
                answers |= dict.fromkeys(asked, error)
        self._publisher.wake()
        return [_outcome(answers[place]) for place in range(len(request.items))]

    async def GetCheckpoint(  # noqa: N802 - the contract's name
        self, request: ledger_pb2.GetCheckpointRequest, context: Any
    ) -> ledger_pb2.GetCheckpointResponse:
        """Answer the newest checkpoint, signed or cosigned."""
        if request.witnessed:
            newest = await self._history.newest_witnessed(request.origin)
            return ledger_pb2.GetCheckpointResponse(checkpoint=newest.note)
        return ledger_pb2.GetCheckpointResponse(checkpoint=(await self._store.checkpoint(request.origin)).note)

    async def GetInclusionProof(  # noqa: N802 - the contract's name
        self, request: ledger_pb2.GetInclusionProofRequest, context: Any
    ) -> ledger_pb2.GetInclusionProofResponse:
        """Prove that a leaf is in the tree of a size."""
        if request.witnessed or request.first_witnessed:
            proof = await self._history.prove_witnessed(
                request.leaf_hash, request.tree_size, first=request.first_witnessed
            )
        else:
            proof = await self._store.prove_inclusion(request.leaf_hash, request.tree_size)
        return ledger_pb2.GetInclusionProofResponse(
            leaf_index=proof.leaf_index, tree_size=proof.tree_size, path=proof.path, checkpoint=proof.checkpoint
        )

    async def StatusAt(  # noqa: N802 - the contract's name
        self, request: ledger_pb2.StatusAtRequest, context: Any
    ) -> ledger_pb2.StatusAtResponse:
        """Answer what a status was, with proof; see the contract."""
        found = await self._history.status_at(
            request.list, request.index, at=_instant(request, "at"), known_at=_instant(request, "known_at")
        )
        response = ledger_pb2.StatusAtResponse(
            at=timestamp(found.at),
            known_at=timestamp(found.known_at),
            status=STATUS_MESSAGE[found.status],
            list_token=found.listed.token,
            list_leaf=_proven(found.listed.leaf),
            changes=[_proven(each) for each in found.changes],
            succession=await self._store.statements(),
        )
        if found.then != found.listed:
            response.list_token_then = found.then.token
            response.list_leaf_then.CopyFrom(_proven(found.then.leaf))
        if found.standing is not None:
            response.effective.CopyFrom(timestamp(found.standing.effective))
            response.recorded.CopyFrom(timestamp(found.standing.recorded))
        return response

    async def GetConsistencyProof(  # noqa: N802 - the contract's name
        self, request: ledger_pb2.GetConsistencyProofRequest, context: Any
    ) -> ledger_pb2.GetConsistencyProofResponse:
        """Prove that a tree is a prefix of a later one."""
        proof = await self._store.prove_consistency(request.from_size, request.to_size, request.origin)
        return ledger_pb2.GetConsistencyProofResponse(
            to_size=proof.to_size, path=proof.path, checkpoint=proof.checkpoint
        )

    async def GetSuccession(  # noqa: N802 - the contract's name
        self, request: ledger_pb2.GetSuccessionRequest, context: Any
    ) -> ledger_pb2.GetSuccessionResponse:
        """Answer how logs followed logs, and keys keys."""
        return ledger_pb2.GetSuccessionResponse(statements=await self._store.statements())


def _proven(leaf: ProvenLeaf) -> ledger_pb2.ProvenLeaf:
    return ledger_pb2.ProvenLeaf(record=leaf.record, proof=leaf.proof)


def _caller() -> str:
    """Who asks: services share the operator's organisation, so the client counts too."""
    caller = current_caller()
    return f"{caller.organisation} {caller.client_id}"


def _status_request(request: ledger_pb2.SetStatusRequest) -> StatusRequest:
    """A change that is asked for by the present caller.

    Raises:
        InvalidArgument: ``BAD_INSTANT``.
    """
    # Institutions choose the request ids that the issuer passes on: one must not meet another's.
    caller = f"{_caller()} for {request.on_behalf_of}"
    return StatusRequest(
        key=_request_key(caller, "SetStatus", request),
        list_url=request.list,
        index=request.index,
        change=_CHANGES[request.change],
        reason=ledger_pb2.StatusReason.Name(request.reason),
        on_behalf_of=request.on_behalf_of,
        effective=_recent(request, "effective"),
        issued_at=_recent(request, "issued_at"),
        traceparent=current_traceparent(),
    )


def _too_many_in_flight() -> ResourceExhausted:
    return ResourceExhausted(
        "TOO_MANY_IN_FLIGHT",
        "the institution has as many changes under way as one may have; this one was not made",
        field="on_behalf_of",
        rule=f"at most {IN_FLIGHT_OF_ONE} changes of one institution over streams at a time, in each replica",
        remedy="repeat the item, with its request id, once another message is answered; use fewer streams",
    )


def _outcome(answer: ledger_pb2.SetStatusResponse | Exception) -> ledger_pb2.StatusOutcome:
    if isinstance(answer, Exception):
        return ledger_pb2.StatusOutcome(error=errors_to_status(as_vitne_error(answer)))
    return ledger_pb2.StatusOutcome(response=answer)


def _request_key(
    caller: str, method: str, request: ledger_pb2.LeaseIndexesRequest | ledger_pb2.SetStatusRequest
) -> RequestKey:
    return RequestKey(caller, f"{_SERVICE}/{method}", UUID(request.request_id), body_digest(request))


def _recent(request: Message, field: str) -> datetime | None:
    """The same of what is stored: no credential is of before this era, and not every such instant can be stored."""
    instant = _instant(request, field)
    if instant is not None and instant < _EPOCH:
        raise InvalidArgument(
            "BAD_INSTANT",
            "the timestamp is before 1970",
            field=field,
            rule="the instant of an issuance, or of a change of status",
            remedy="send seconds and nanos since 1970-01-01T00:00:00Z; leave effective out for the present",
        )
    return instant


def _instant(request: Message, field: str) -> datetime | None:
    """A timestamp field as an instant of whole milliseconds; None where it is not set."""
    if not request.HasField(field):
        return None
    value: Timestamp = getattr(request, field)
    try:
        return to_milliseconds(value.ToDatetime(UTC))
    except (ValueError, OverflowError) as error:
        raise InvalidArgument(
            "BAD_INSTANT",
            "the timestamp is outside the years 1 to 9999",
            field=field,
            rule="google.protobuf.Timestamp",
            remedy="send seconds and nanos since 1970-01-01T00:00:00Z",
        ) from error
