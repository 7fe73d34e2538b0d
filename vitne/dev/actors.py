"""Who acts in the demonstration: organisations with access tokens and channels of their own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack
from dataclasses import replace
from itertools import islice

import grpc

from vitne.clock import SystemClock
from vitne.dev.identity import ClientCredentials
from vitne.dev.stack import AUDIENCE, OFFICERS, Stack
from vitne.runtime.channel import DEFAULT_DEADLINE_SECONDS
from vitne.runtime.identity import ClientKey, TokenSource
from vitne.runtime.status import error_from_rpc
from vitne_api.issuer.v1 import issuer_pb2, issuer_pb2_grpc
from vitne_api.ledger.v1 import ledger_pb2_grpc
from vitne_api.registry.v1 import facts_pb2, registry_pb2, registry_pb2_grpc
from vitne_api.verifier.v1 import verifier_pb2_grpc


class Organisation:
    """One organisation, as its client at the token issuer lets it act.

    Attributes:
        id: ``scheme:value``.
        registry: calls to the registry.
        issuer: calls to the issuer.
        ledger: calls to the ledger.
    """

    def __init__(
        self,
        id: str,  # noqa: A002 - what it is
        tokens: TokenSource | None,
        stack: Stack,
        exits: AsyncExitStack,
        deadline_seconds: float = DEFAULT_DEADLINE_SECONDS,
    ) -> None:
        self.id = id
        self.tokens = tokens
        channels = {}
        for service in ("registry", "issuer", "ledger"):
            channels[service] = stack.open_channel(service, tokens, deadline_seconds)
            exits.push_async_callback(channels[service].close)
        self.registry: registry_pb2_grpc.RegistryServiceAsyncStub = registry_pb2_grpc.RegistryServiceStub(
            channels["registry"]
        )
        self.issuer: issuer_pb2_grpc.IssuerServiceAsyncStub = issuer_pb2_grpc.IssuerServiceStub(channels["issuer"])
        self.ledger: ledger_pb2_grpc.LedgerServiceAsyncStub = ledger_pb2_grpc.LedgerServiceStub(channels["ledger"])

    async def access_token(self) -> str:
        """The organisation's access token, as another client of its would get one; empty for nobody's."""
        return "" if self.tokens is None else await self.tokens.token()

    async def issue(self, request: issuer_pb2.IssueRequest) -> issuer_pb2.IssueResponse:
        """``Issue``; refusals are raised as :class:`~vitne.errors.VitneError`."""
        try:
            return await self.issuer.Issue(request)
        except grpc.aio.AioRpcError as error:
            raise error_from_rpc(error) from None

    async def change_status(self, request: issuer_pb2.ChangeStatusRequest) -> issuer_pb2.ChangeStatusResponse:
        """``ChangeStatus``; refusals are raised as :class:`~vitne.errors.VitneError`."""
        try:
            return await self.issuer.ChangeStatus(request)
        except grpc.aio.AioRpcError as error:
            raise error_from_rpc(error) from None

    async def confirm(self, proposal: facts_pb2.Fact, request_id: str) -> facts_pb2.Fact:
        """``ConfirmDecision``; refusals are raised as :class:`~vitne.errors.VitneError`."""
        try:
            return (await self.registry.ConfirmDecision(confirmation(proposal, request_id))).fact
        except grpc.aio.AioRpcError as error:
            raise error_from_rpc(error) from None

    async def revoke_flagged(self, order: facts_pb2.Fact) -> AsyncIterator[issuer_pb2.RevokeFlaggedResponse]:
        """``RevokeFlagged`` under an order; refusals are raised as :class:`~vitne.errors.VitneError`."""
        request = issuer_pb2.RevokeFlaggedRequest(request_id=order.id, accreditation_id=order.case_step.id)
        try:
            async for answer in self.issuer.RevokeFlagged(request):
                yield answer
        except grpc.aio.AioRpcError as error:
            raise error_from_rpc(error) from None

    async def issue_batch(
        self, request_id: str, items: Iterable[issuer_pb2.BatchItem], *, pack: int = 1
    ) -> AsyncIterator[issuer_pb2.BatchResult]:
        """``IssueBatch``: send all items, so many in a message, then answer the results, without the summary.

        One in a message is what the release before takes, too.
        """
        rest = iter(items)

        async def messages() -> AsyncIterator[issuer_pb2.IssueBatchRequest]:
            yield issuer_pb2.IssueBatchRequest(header=issuer_pb2.BatchHeader(request_id=request_id))
            if pack == 1:
                for item in rest:
                    yield issuer_pb2.IssueBatchRequest(item=item)
            while several := list(islice(rest, pack)):
                yield issuer_pb2.IssueBatchRequest(items=issuer_pb2.BatchItems(items=several))

        try:
            async for answer in self.issuer.IssueBatch(messages()):
                if answer.WhichOneof("part") == "result":
                    yield answer.result
                for result in answer.results.results:
                    yield result
        except grpc.aio.AioRpcError as error:
            raise error_from_rpc(error) from None


class Actors:
    """All organisations that the stack has clients for; use as an async context manager.

    Args:
        stack: what they call.
        deadline_seconds: how long they wait for an answer, all tries of the library's together.
    """

    def __init__(self, stack: Stack, deadline_seconds: float = DEFAULT_DEADLINE_SECONDS) -> None:
        self._stack = stack
        self._deadline = deadline_seconds
        self._exits = AsyncExitStack()
        self._organisations: dict[str, Organisation] = {}

    async def __aenter__(self) -> Actors:
        channel = self._stack.open_channel("verifier", None)
        self._exits.push_async_callback(channel.close)
        #: The verifier's RPC: reachable for anybody.
        self.verifier: verifier_pb2_grpc.VerifierServiceAsyncStub = verifier_pb2_grpc.VerifierServiceStub(channel)
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._exits.aclose()

    def organisation(self, id: str) -> Organisation:  # noqa: A002 - what it is
        """The organisation with the given identifier."""
        return self._acting_by(id, "")

    def officers(self, authority: str) -> tuple[Organisation, Organisation]:
        """An authority, acting by the one officer and by the other."""
        one, other = OFFICERS
        return self._acting_by(authority, one), self._acting_by(authority, other)

    async def confirmed(self, proposal: facts_pb2.Fact, request_id: str) -> facts_pb2.Fact:
        """What becomes of a proposal when another officer of the authority confirms it.

        Of a registry of the release before, which asks for no second officer, it is what it was.
        """
        if not proposal.HasField("case_step"):
            return proposal
        _, other = self.officers(proposal.actor)
        return await other.confirm(proposal, request_id)

    def _acting_by(self, id: str, officer: str) -> Organisation:  # noqa: A002 - what it is
        name = f"{id} {officer}"
        if name not in self._organisations:
            self._organisations[name] = self.acting(replace(self._stack.clients[id], officer=officer))
        return self._organisations[name]

    def acting(self, credentials: ClientCredentials | None) -> Organisation:
        """An organisation that shows a client's token; None shows none."""
        tokens = credentials and TokenSource(
            self._stack.identity_url,
            ClientKey.read(credentials.client_id, credentials.key_file),
            credentials.scopes,
            SystemClock(),
            resource=AUDIENCE,
            subject=credentials.officer,
            allow_http=True,
            trust=self._stack.trust,
        )
        name = credentials.organisation if credentials else ""
        return Organisation(name, tokens or None, self._stack, self._exits, self._deadline)


def confirmation(proposal: facts_pb2.Fact, request_id: str) -> registry_pb2.ConfirmDecisionRequest:
    """The request by which another officer confirms a proposal."""
    step = proposal.case_step
    return registry_pb2.ConfirmDecisionRequest(
        request_id=request_id, accreditation_id=step.id, base_revision=step.revision
    )
