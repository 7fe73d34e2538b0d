"""What the prober sees of Vitne: the public contracts, as an institution and a relying party use them."""

from __future__ import annotations

from collections.abc import Awaitable
from contextlib import AsyncExitStack
from typing import Any, Final, TypeVar

import aiohttp
import grpc

from services.prober.settings import ProberSettings
from vitne.accreditation import Projection, public_keys, registered_log
from vitne.canonical import from_b64url
from vitne.clock import Clock
from vitne.credentials.status_list import MAX_TOKEN_LENGTH, MEDIA_TYPE, verify_token
from vitne.errors import InvalidArgument, Unavailable
from vitne.merkle.leaves import Issued
from vitne.merkle.proofs import verify_inclusion
from vitne.runtime.channel import open_channel
from vitne.runtime.fetch import Fetcher
from vitne.runtime.identity import ClientKey, TokenSource
from vitne.runtime.status import error_from_rpc
from vitne.runtime.trust_list import TrustListSource, trust_list_fetcher
from vitne_api.issuer.v1 import issuer_pb2, issuer_pb2_grpc
from vitne_api.ledger.v1 import ledger_pb2, ledger_pb2_grpc
from vitne_api.registry.v1 import facts_pb2

#: What the prober's client at the token issuer may ask for: what an institution that issues may.
SCOPES: Final = ("vitne:credentials.issue", "vitne:credentials.status")
#: Seconds for the verifier's answer.
VERIFY_TIMEOUT_SECONDS: Final = 10.0

_T = TypeVar("_T")


class World:
    """Everything that is called in a round; use as an async context manager.

    Failures are :class:`~vitne.errors.VitneError`, whichever contract they come from.

    Args:
        settings: where things are, and whom the prober acts for.
        clock: tells the time.
    """

    def __init__(self, settings: ProberSettings, clock: Clock) -> None:
        development = settings.environment == "development"
        assert settings.client_key_file is not None  # noqa: S101 - the settings' own check, told to the type checker
        tokens = TokenSource(
            settings.identity_issuer,
            ClientKey.read(settings.client_id, settings.client_key_file),
            SCOPES,
            clock,
            resource=settings.audience,
            allow_http=development,
        )
        self._settings = settings
        self._clock = clock
        self._projection = Projection()
        self._exits = AsyncExitStack()
        issuing = open_channel(settings.issuer_address, tokens, tls=settings.channel_tls)
        log = open_channel(settings.ledger_address, None, tls=settings.channel_tls)
        self._issuer = issuer_pb2_grpc.IssuerServiceStub(issuing)
        self._ledger = ledger_pb2_grpc.LedgerServiceStub(log)
        lists = trust_list_fetcher(settings.trust_list_url, development=development)
        self._registry = TrustListSource(
            settings.trust_list_url,
            settings.registry_key,
            settings.registry_uri,
            self._projection,
            clock,
            fetcher=lists,
        )
        self._fetcher = Fetcher(settings.allow_rules, development=development)
        for close in (issuing.close, log.close, lists.close, self._fetcher.close):
            self._exits.push_async_callback(close)

    async def __aenter__(self) -> World:
        timeout = aiohttp.ClientTimeout(total=VERIFY_TIMEOUT_SECONDS)
        self._http = await self._exits.enter_async_context(aiohttp.ClientSession(timeout=timeout))
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._exits.aclose()

    async def read_registry(self) -> None:
        """Take the registry's signed trust list: it has the keys that the rest is checked with."""
        await self._registry.refresh()

    async def issue(self, request: issuer_pb2.IssueRequest) -> issuer_pb2.IssuedCredential:
        """Issue; repeated, it answers the same credential."""
        answer: issuer_pb2.IssueResponse = await _called(self._issuer.Issue(request))
        return answer.credential

    async def change_status(self, request: issuer_pb2.ChangeStatusRequest) -> None:
        """Change a status; repeated, nothing more happens."""
        await _called(self._issuer.ChangeStatus(request))

    async def prove_inclusion(self, credential: issuer_pb2.IssuedCredential) -> None:
        """Have the issuance proved to be in the log, under a checkpoint that the operator signed.

        Raises:
            NotFound: not yet.
            InvalidArgument: ``BAD_NOTE``, ``BAD_INCLUSION_PROOF``: what was shown proves nothing.
        """
        leaf = Issued(from_b64url(credential.digest)).leaf_hash()
        proof: ledger_pb2.GetInclusionProofResponse = await _called(
            self._ledger.GetInclusionProof(ledger_pb2.GetInclusionProofRequest(leaf_hash=leaf))
        )
        told: ledger_pb2.GetSuccessionResponse = await _called(
            self._ledger.GetSuccession(ledger_pb2.GetSuccessionRequest())
        )
        # A key that was replaced is not believed beyond its end, and leads to the one that followed it.
        self._operator_keys(facts_pb2.KEY_USE_CHECKPOINT)
        policy = registered_log(
            self._projection,
            self._settings.operator or "",
            self._settings.log_origin,
            self._clock.now(),
            told.statements,
        ).policy
        tree = policy.open(proof.checkpoint).checkpoint
        verify_inclusion(leaf=leaf, index=proof.leaf_index, size=tree.size, path=list(proof.path), root=tree.root)

    async def verdict(self, credential: issuer_pb2.IssuedCredential) -> tuple[str, str]:
        """The verifier's verdict over HTTP, in its word, and its headline.

        Raises:
            Unavailable: ``VERIFIER_UNREACHABLE``.
        """
        place = f"{self._settings.verifier_url}/v1/verify"
        try:
            async with self._http.post(place, json={"credential": credential.artefact}) as response:
                response.raise_for_status()
                answer: dict[str, Any] = await response.json()
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise Unavailable("VERIFIER_UNREACHABLE", f"the verifier did not answer: {type(error).__name__}") from error
        return str(answer.get("verdict")), str(answer.get("headline"))

    async def published_status(self, credential: issuer_pb2.IssuedCredential) -> int:
        """What the published, signed list says (Token Status List, section 7.1): 0 valid, 1 revoked."""
        reference = credential.status_reference
        fetched = await self._fetcher.fetch(reference.list, accept=MEDIA_TYPE, max_bytes=MAX_TOKEN_LENGTH)
        keys = self._operator_keys(facts_pb2.KEY_USE_STATUS_LIST)
        text = fetched.body.decode("ascii", "replace")
        found = verify_token(text, uri=reference.list, find_key=keys.get, now=self._clock.now())
        return found.status_at(reference.index)

    def _operator_keys(self, use: facts_pb2.KeyUse.ValueType) -> dict[str, Any]:
        keys = public_keys(self._projection, self._settings.operator or "", use, self._clock.now())
        if not keys:
            raise InvalidArgument(
                "NO_OPERATOR_KEY",
                f"the trust list has no key of the operator's: {facts_pb2.KeyUse.Name(use)}",
                rule="the operator registers the keys for status lists and checkpoints",
                remedy="register them, or mend VITNE_OPERATOR",
            )
        return keys


async def _called(call: Awaitable[_T]) -> _T:
    try:
        return await call
    except grpc.aio.AioRpcError as error:
        raise error_from_rpc(error) from error
