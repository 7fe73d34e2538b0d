"""Many changes of statuses over one stream to the ledger."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from types import TracebackType
from typing import Final, TypeAlias

import grpc.aio

from services.issuer.statuses import ledger_answers
from vitne.errors import Unavailable, VitneError
from vitne.runtime.interceptors.errors import as_vitne_error
from vitne.runtime.item_streams import STREAM_IDLE
from vitne.runtime.status import error_from_rpc, error_from_status
from vitne_api.ledger.v1 import ledger_pb2 as ledger
from vitne_api.ledger.v1 import ledger_pb2_grpc as ledger_grpc

#: Changes that are sent at once, and answered at once: as many as the contract allows.
AT_ONCE: Final = 500
#: Seconds that the ledger gets for an answer.
PATIENCE_SECONDS: Final = 60.0

#: What became of a change.
Outcome: TypeAlias = ledger.SetStatusResponse | VitneError


class LedgerStream:
    """A stream of ``SetStatuses``, for as long as the context lasts.

    What breaks it is the answer to each change that was sent then: whether they were made is not known, and who
    repeats them is told. The next ones go over a new stream. One that had served before and has ended since (the ledger
    waits for so long only, and its replicas are replaced) is nobody's failure: the changes are sent again, once.

    Args:
        stub: the ledger.
    """

    def __init__(self, stub: ledger_grpc.LedgerServiceAsyncStub) -> None:
        self._stub = stub
        self._stream: _Open | None = None

    async def __aenter__(self) -> LedgerStream:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    async def change(self, requests: Sequence[ledger.SetStatusRequest]) -> list[Outcome]:
        """Have up to :data:`AT_ONCE` changes made; what became of each, in their order."""
        if not requests:
            return []
        served = self._stream is not None
        try:
            try:
                answer = await self._ask(requests)
            except (VitneError, grpc.aio.AioRpcError) as error:
                if not served or not _has_ended(error):
                    raise
                self._close()
                answer = await self._ask(requests)
        except (VitneError, grpc.aio.AioRpcError, RuntimeError) as error:
            self._close()
            told = as_vitne_error(error)
            return [told] * len(requests)
        except BaseException:
            self._close()
            raise
        return [
            error_from_status(each.error) if each.WhichOneof("outcome") == "error" else each.response
            for each in answer.outcomes
        ]

    async def _ask(self, requests: Sequence[ledger.SetStatusRequest]) -> ledger.SetStatusesResponse:
        stream = self._stream = self._stream or _Open(self._stub)
        return await ledger_answers(stream.ask(ledger.SetStatusesRequest(items=requests)))

    def _close(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None


def _has_ended(error: VitneError | grpc.aio.AioRpcError) -> bool:
    """Whether a stream is no more, rather than what was sent over it refused or left without an answer."""
    if isinstance(error, VitneError):
        return error.reason == "LEDGER_CLOSED"
    return error.code() is grpc.StatusCode.UNAVAILABLE or error_from_rpc(error).reason == STREAM_IDLE


class _Open:
    """One call: a message is sent when the one before is answered."""

    def __init__(self, stub: ledger_grpc.LedgerServiceAsyncStub) -> None:
        self._messages: asyncio.Queue[ledger.SetStatusesRequest | None] = asyncio.Queue()
        self._call = stub.SetStatuses(self._sent())
        self._answers = aiter(self._call)

    async def ask(self, request: ledger.SetStatusesRequest) -> ledger.SetStatusesResponse:
        """The answer to a message.

        Raises:
            grpc.aio.AioRpcError: the call has failed.
            Unavailable: ``LEDGER_SILENT``, ``LEDGER_CLOSED``.
        """
        self._messages.put_nowait(request)
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                answer = await anext(self._answers)
        except StopAsyncIteration:
            raise Unavailable(
                "LEDGER_CLOSED", "the ledger ended the stream before it had answered", remedy="repeat the items"
            ) from None
        except TimeoutError:
            raise Unavailable("LEDGER_SILENT", "the ledger did not answer", remedy="repeat the items") from None
        if len(answer.outcomes) != len(request.items):
            raise RuntimeError(f"{len(request.items)} changes were answered by {len(answer.outcomes)} outcomes")
        return answer

    def close(self) -> None:
        """Send nothing more, and wait for nothing."""
        self._messages.put_nowait(None)
        self._call.cancel()

    async def _sent(self) -> AsyncIterator[ledger.SetStatusesRequest]:
        while (message := await self._messages.get()) is not None:
            yield message
