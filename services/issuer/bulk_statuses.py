"""Many statuses at once: an institution's stream, answered item by item."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable

import asyncpg

from services.issuer import store
from services.issuer.ledger_stream import LedgerStream, Outcome
from services.issuer.statuses import Statuses
from vitne.errors import VitneError
from vitne.identifiers import OrganisationId, parse_uuid
from vitne.runtime.item_streams import refused_items, stream_room, until_idle
from vitne.runtime.status import errors_to_status
from vitne_api.issuer.v1 import issuer_pb2 as issuer
from vitne_api.ledger.v1 import ledger_pb2 as ledger
from vitne_api.ledger.v1 import ledger_pb2_grpc as ledger_grpc


class BulkStatuses:
    """Changes many statuses over one stream to the ledger, in the memory of one message.

    Args:
        pool: the issuer's database.
        stub: the ledger, which is the truth.
        statuses: says what the ledger is asked for.
    """

    def __init__(self, pool: asyncpg.Pool, stub: ledger_grpc.LedgerServiceAsyncStub, statuses: Statuses) -> None:
        self._pool = pool
        self._stub = stub
        self._statuses = statuses
        self._streams = stream_room()

    async def answer(
        self, provider: OrganisationId, requests: AsyncIterable[issuer.ChangeStatusesRequest]
    ) -> AsyncGenerator[issuer.ChangeStatusesResponse, None]:
        """Answer one call of ``ChangeStatuses``: for each message one, with an outcome for each of its items.

        The ledger gets the items' own request ids, so it is the ledger that answers a repeated one as it did first.

        Raises:
            RuleViolations: a message without items, or with too many.
            DeadlineExceeded: ``STREAM_IDLE``.
            ResourceExhausted: ``TOO_MANY_STREAMS``: the institution has as many open as one may.
        """
        with self._streams.take(str(provider)):
            async with LedgerStream(self._stub) as stream:
                async for request in until_idle(requests):
                    yield issuer.ChangeStatusesResponse(outcomes=await self._change(provider, request, stream))

    async def _change(
        self, provider: OrganisationId, request: issuer.ChangeStatusesRequest, stream: LedgerStream
    ) -> list[issuer.ChangeStatusOutcome]:
        answers: dict[int, Outcome] = {**refused_items(request)}
        ids = {
            place: parse_uuid(item.credential_id) for place, item in enumerate(request.items) if place not in answers
        }
        known = await store.places_of(self._pool, str(provider), ids.values())
        asked: dict[int, ledger.SetStatusRequest] = {}
        for place, credential_id in ids.items():
            try:
                asked[place] = self._statuses.at_ledger(provider, request.items[place], known.get(credential_id))
            except VitneError as refusal:
                answers[place] = refusal
        answers |= zip(asked, await stream.change(list(asked.values())), strict=True)
        return [_outcome(answers[place]) for place in range(len(request.items))]


def _outcome(answer: Outcome) -> issuer.ChangeStatusOutcome:
    if isinstance(answer, VitneError):
        return issuer.ChangeStatusOutcome(error=errors_to_status(answer))
    return issuer.ChangeStatusOutcome(
        response=issuer.ChangeStatusResponse(status=answer.status, effective=answer.effective, recorded=answer.recorded)
    )
