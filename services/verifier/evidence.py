"""What is fetched for a verification: status lists over guarded HTTP, proofs from the log."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from datetime import datetime
from typing import Any, Final, Protocol

import grpc

from services.verifier.knowledge import Knowledge
from vitne.clock import Clock
from vitne.credentials.jose import MAX_JWS_LENGTH
from vitne.credentials.status_list import MAX_TOKEN_LENGTH, MEDIA_TYPE, StatusList, verify_token
from vitne.errors import InvalidArgument
from vitne.runtime.fetch import Fetched
from vitne.runtime.status import error_from_rpc
from vitne_api.ledger.v1 import ledger_pb2
from vitne_api.registry.v1 import facts_pb2

#: Lists that are held open: a country's years; a megabyte each at most.
MAX_HELD_LISTS: Final = 64
#: Seconds to wait for a proof.
PROOF_TIMEOUT_SECONDS: Final = 5.0


class Fetches(Protocol):
    """What fetches by allow-rules: :class:`~vitne.runtime.fetch.Fetcher`."""

    async def fetch(self, url: str, *, accept: str = ..., max_bytes: int | None = ...) -> Fetched:
        """What a URL names."""
        ...


class StatusSource(Protocol):
    """Answers signed status lists."""

    async def status_list(self, uri: str) -> StatusList:
        """The list at a URI, checked and fresh; raises VitneError when there is none to rely on."""
        ...


class LogSource(Protocol):
    """Answers proofs of inclusion."""

    async def inclusion(self, leaf_hash: bytes) -> ledger_pb2.GetInclusionProofResponse:
        """The proof for the newest checkpoint; ``NotFound`` when the log has no such leaf, else VitneError."""
        ...


class StatusLists:
    """Fetches lists by allow-rules, checks them, and keeps each for its ``ttl`` at most.

    Args:
        fetcher: knows what may be fetched, and from where.
        knowledge: has the operator's keys for status lists.
        clock: tells how old a copy is.
    """

    def __init__(self, fetcher: Fetches, knowledge: Knowledge, clock: Clock) -> None:
        self._fetcher = fetcher
        self._knowledge = knowledge
        self._clock = clock
        self._held: OrderedDict[str, tuple[datetime, StatusList]] = OrderedDict()
        self._fetching: dict[str, asyncio.Task[StatusList]] = {}

    async def status_list(self, uri: str) -> StatusList:
        """See :class:`StatusSource`.

        Raises:
            PermissionDenied: ``FETCH_NOT_ALLOWED``.
            Unavailable: ``FETCH_FAILED`` and its kin, ``STATUS_LIST_STALE``.
            InvalidArgument: as :func:`~vitne.credentials.status_list.verify_token`.
        """
        held = self._held.get(uri)
        if held is not None and self._clock.now() < held[0]:
            return held[1]
        # Those who ask at the same time wait for one answer.
        task = self._fetching.get(uri)
        if task is None:
            task = self._fetching[uri] = asyncio.create_task(self._fetch(uri))
            task.add_done_callback(lambda done: self._forget(uri, done))
        return await asyncio.shield(task)

    def _forget(self, uri: str, done: asyncio.Task[StatusList]) -> None:
        self._fetching.pop(uri, None)
        if not done.cancelled():
            done.exception()  # whoever asked may have gone; then nobody else looks at it

    async def _fetch(self, uri: str) -> StatusList:
        asked = self._clock.now()
        fetched = await self._fetcher.fetch(uri, accept=MEDIA_TYPE, max_bytes=MAX_TOKEN_LENGTH)
        if fetched.content_type != MEDIA_TYPE:
            raise InvalidArgument(
                "STATUS_LIST_MALFORMED",
                "what is published there is no status list token",
                field="status_list",
                rule=f"media type {MEDIA_TYPE}",
                remedy="ask the publisher",
            )
        now = self._clock.now()
        keys = self._knowledge.operator_keys(facts_pb2.KEY_USE_STATUS_LIST, now)
        found = verify_token(fetched.body.decode("ascii", "replace"), uri=uri, find_key=keys.get, now=now)
        self._held.pop(uri, None)
        if found.ttl is not None:
            until = asked + found.ttl
            self._held[uri] = (until if found.expires_at is None else min(until, found.expires_at), found)
            if len(self._held) > MAX_HELD_LISTS:
                self._held.popitem(last=False)
        return found


class LogProofs:
    """Asks the ledger's public RPC.

    Args:
        stub: of ``vitne.ledger.v1.LedgerService``.
    """

    def __init__(self, stub: Any) -> None:
        self._stub = stub

    async def inclusion(self, leaf_hash: bytes) -> ledger_pb2.GetInclusionProofResponse:
        """See :class:`LogSource`."""
        request = ledger_pb2.GetInclusionProofRequest(leaf_hash=leaf_hash)
        try:
            answer: ledger_pb2.GetInclusionProofResponse = await self._stub.GetInclusionProof(
                request, timeout=PROOF_TIMEOUT_SECONDS
            )
        except grpc.aio.AioRpcError as error:
            raise error_from_rpc(error) from error
        if len(answer.checkpoint) > MAX_JWS_LENGTH:
            raise InvalidArgument("TOO_LARGE", "the checkpoint is too large")
        return answer
