"""What an institution does: issue, by batches too, and change the status of what it issued."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self
from uuid import UUID

import grpc

from vitne.errors import VitneError
from vitne.identifiers import UuidFactory
from vitne.runtime.status import error_from_rpc, error_from_status
from vitne_api.issuer.v1 import issuer_pb2, issuer_pb2_grpc
from vitne_api.ledger.v1 import ledger_pb2
from vitne_client.connection import Connection, call

#: What the institution's client asks for at the token issuer.
SCOPES: Final = ("vitne:credentials.issue", "vitne:credentials.read", "vitne:credentials.status")
#: Items of one batch, at most; :meth:`Institution.issue_batch` makes several of more.
MAX_BATCH: Final = 10_000


@dataclass(frozen=True, slots=True)
class BatchOutcome:
    """What became of one item.

    Attributes:
        item_id: the item.
        credential: as issued, without the artefact; None where it was not.
        error: why it was not; None where it was.
        repeat: True: not now; the same batch under the same id may be sent again.
    """

    item_id: str
    credential: issuer_pb2.IssuedCredential | None
    error: VitneError | None
    repeat: bool


class Institution:
    """An institution at the issuer. Use as an async context manager.

    Args:
        connection: where, and as whom.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._new_id = UuidFactory(connection.clock)

    async def __aenter__(self) -> Self:
        self._channel = self._connection.open(SCOPES)
        #: The contract itself, for what has no method here.
        self.stub: Any = issuer_pb2_grpc.IssuerServiceStub(self._channel)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._channel.close()

    async def issue(
        self, issuance: issuer_pb2.Issuance, request_id: UUID | None = None, *, formats: Iterable[int] = ()
    ) -> issuer_pb2.IssuedCredential:
        """Issue one credential. Durable when it returns.

        Args:
            issuance: what, to whom.
            request_id: keep it with the issuance: sent again under it, the answer is the first one, and nobody gets
                two. None: a new one.
            formats: further formats to answer it in.

        Raises:
            VitneError: why it may not be issued.
        """
        answer = await call(
            self.stub.Issue,
            issuer_pb2.IssueRequest(
                request_id=str(request_id or self._new_id()),
                issuance=issuance,
                formats=[*formats],  # type: ignore[list-item]  # numbers of the enum
            ),
        )
        credential: issuer_pb2.IssuedCredential = answer.credential
        return credential

    async def issue_batch(self, items: Iterable[issuer_pb2.BatchItem], request_id: UUID) -> AsyncIterator[BatchOutcome]:
        """Issue many; answers each item once: first what is wrong with some by themselves, then the others in order.

        After a break, or where items are to be repeated, call it again with the same id and items.

        Args:
            items: with an ``item_id`` each, of your own choice; at most :data:`MAX_BATCH`.
            request_id: of the batch; keep it with the file that the items come from.

        Raises:
            ValueError: there are too many items.
            VitneError: the batch was refused as a whole, or broke off.
        """
        listed = list(items)
        if len(listed) > MAX_BATCH:
            raise ValueError(f"a batch has at most {MAX_BATCH} items: make several, each with an id of its own")

        async def requests() -> AsyncIterator[issuer_pb2.IssueBatchRequest]:
            yield issuer_pb2.IssueBatchRequest(header=issuer_pb2.BatchHeader(request_id=str(request_id)))
            for item in listed:
                yield issuer_pb2.IssueBatchRequest(item=item)

        try:
            async for answer in self.stub.IssueBatch(requests()):
                if answer.WhichOneof("part") == "result":
                    yield _outcome(answer.result)
        except grpc.aio.AioRpcError as error:
            raise error_from_rpc(error) from error

    async def credential(self, credential_id: str, *, formats: Iterable[int] = ()) -> issuer_pb2.IssuedCredential:
        """One of the institution's credentials, with its artefacts.

        Raises:
            VitneError: ``CREDENTIAL_UNKNOWN``, ``CREDENTIAL_ERASED``…
        """
        asked = issuer_pb2.GetCredentialRequest(
            credential_id=credential_id,
            formats=[*formats],  # type: ignore[list-item]  # numbers of the enum
        )
        answer = await call(self.stub.GetCredential, asked)
        credential: issuer_pb2.IssuedCredential = answer.credential
        return credential

    async def credentials(self) -> AsyncIterator[issuer_pb2.IssuedCredential]:
        """All of the institution's credentials, newest first, without what they say of learners.

        Raises:
            VitneError: the issuer is out of reach.
        """
        token = ""
        while True:
            page = await call(self.stub.ListCredentials, issuer_pb2.ListCredentialsRequest(page_token=token))
            for credential in page.credentials:
                yield credential
            token = page.next_page_token
            if not token:
                return

    async def revoke(
        self, credential_id: str, reason: ledger_pb2.StatusReason.ValueType, request_id: UUID | None = None
    ) -> issuer_pb2.ChangeStatusResponse:
        """Revoke a credential: for ever.

        Raises:
            VitneError: ``CREDENTIAL_UNKNOWN``, ``STATUS_FINAL``…
        """
        return await self._change(credential_id, ledger_pb2.STATUS_CHANGE_REVOKE, reason, request_id)

    async def suspend(
        self, credential_id: str, reason: ledger_pb2.StatusReason.ValueType, request_id: UUID | None = None
    ) -> issuer_pb2.ChangeStatusResponse:
        """Suspend a credential; raises as :meth:`revoke`."""
        return await self._change(credential_id, ledger_pb2.STATUS_CHANGE_SUSPEND, reason, request_id)

    async def reinstate(
        self, credential_id: str, reason: ledger_pb2.StatusReason.ValueType, request_id: UUID | None = None
    ) -> issuer_pb2.ChangeStatusResponse:
        """End a suspension; raises as :meth:`revoke`."""
        return await self._change(credential_id, ledger_pb2.STATUS_CHANGE_REINSTATE, reason, request_id)

    async def _change(
        self,
        credential_id: str,
        change: ledger_pb2.StatusChange.ValueType,
        reason: ledger_pb2.StatusReason.ValueType,
        request_id: UUID | None,
    ) -> issuer_pb2.ChangeStatusResponse:
        answer: issuer_pb2.ChangeStatusResponse = await call(
            self.stub.ChangeStatus,
            issuer_pb2.ChangeStatusRequest(
                request_id=str(request_id or self._new_id()), credential_id=credential_id, change=change, reason=reason
            ),
        )
        return answer


def _outcome(result: issuer_pb2.BatchResult) -> BatchOutcome:
    issued = result.WhichOneof("outcome") == "credential"
    return BatchOutcome(
        item_id=result.item_id,
        credential=result.credential if issued else None,
        error=None if issued else error_from_status(result.error),
        repeat=result.state == issuer_pb2.ITEM_STATE_UNFINISHED,
    )
