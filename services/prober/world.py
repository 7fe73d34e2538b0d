"""What the prober sees of Vitne: the public contracts, as an institution and a relying party use them."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final, TypeVar

import aiohttp
import grpc

from services.prober.hub import HubWatch
from services.prober.settings import ProberSettings
from vitne.accreditation import Projection, public_keys, registered_log
from vitne.canonical import from_b64url
from vitne.clock import Clock
from vitne.credentials.status_list import MAX_TOKEN_LENGTH, MEDIA_TYPE, verify_token
from vitne.errors import FailedPrecondition, InvalidArgument, Unavailable
from vitne.identifiers import OrganisationId
from vitne.merkle.leaves import Issued
from vitne.merkle.proofs import verify_inclusion
from vitne.messaging.kafka import PROMPT_FETCH_MAX_WAIT_MS, KafkaSettings
from vitne.messaging.topics import hub_topic
from vitne.runtime.channel import open_channel
from vitne.runtime.fetch import Fetcher
from vitne.runtime.identity import ClientKey, TokenSource
from vitne.runtime.status import error_from_rpc
from vitne.runtime.tls import client_context
from vitne.runtime.trust_list import TrustListSource, trust_list_fetcher
from vitne_api.credential.v1 import credential_pb2
from vitne_api.issuer.v1 import issuer_pb2, issuer_pb2_grpc
from vitne_api.ledger.v1 import ledger_pb2, ledger_pb2_grpc
from vitne_api.registry.v1 import facts_pb2

#: What the prober's client at the token issuer may ask for: what an institution that issues may.
SCOPES: Final = ("vitne:credentials.issue", "vitne:credentials.status")
#: The same of the hub that it watches.
HUB_SCOPES: Final = ("vitne:hub.fetch",)
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
        tokens = _tokens(settings, settings.client_id, settings.client_key_file, SCOPES, clock)
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
        self._watch = self._hub_watch()
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

    async def listen(self) -> None:
        """Hear what the hub is told from now on.

        Raises:
            FailedPrecondition: ``NO_HUB``: none is watched.
            Unavailable: ``HUB_TOPIC_UNREACHABLE``.
        """
        await self._watched().listen()

    async def gathered_status(self, credential: issuer_pb2.IssuedCredential) -> credential_pb2.Status.ValueType | None:
        """What the hub fetches when its topic names the credential; None: it did not yet.

        Raises:
            FailedPrecondition: ``NO_HUB``.
            Unavailable: ``HUB_TOPIC_UNREACHABLE``.
        """
        return await self._watched().status_of(credential.id)

    async def stop_listening(self) -> None:
        """Leave the hub's topic; nothing where none is watched."""
        if self._watch is not None:
            await self._watch.close()

    def _watched(self) -> HubWatch:
        if self._watch is None:
            raise FailedPrecondition("NO_HUB", "the prober watches no hub", remedy="set VITNE_HUB")
        return self._watch

    def _hub_watch(self) -> HubWatch | None:
        settings = self._settings
        if settings.hub is None:
            return None
        key = settings.hub_client_key_file or settings.client_key_file
        assert key is not None  # noqa: S101 - as above
        tokens = _tokens(settings, settings.hub_client_id or settings.client_id, key, HUB_SCOPES, self._clock)
        channel = open_channel(settings.issuer_address, tokens, tls=settings.channel_tls)
        self._exits.push_async_callback(channel.close)
        stub = issuer_pb2_grpc.IssuerServiceStub(channel)

        async def fetch(handles: Sequence[str]) -> Sequence[issuer_pb2.FetchedCredential]:
            request = issuer_pb2.FetchCredentialsRequest(handles=handles)
            answer: issuer_pb2.FetchCredentialsResponse = await _called(stub.FetchCredentials(request))
            return answer.credentials

        kafka = KafkaSettings(
            settings.kafka_bootstrap_servers,
            "prober",
            groups=False,
            fetch_max_wait_ms=PROMPT_FETCH_MAX_WAIT_MS,
            tls=client_context(settings.kafka_tls),
        )
        watch = HubWatch(hub_topic(OrganisationId.parse(settings.hub)), kafka, fetch)
        self._exits.push_async_callback(watch.close)
        return watch

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


def _tokens(
    settings: ProberSettings, client_id: str, key_file: Path, scopes: Sequence[str], clock: Clock
) -> TokenSource:
    return TokenSource(
        settings.identity_issuer,
        ClientKey.read(client_id, key_file),
        scopes,
        clock,
        resource=settings.audience,
        allow_http=settings.environment == "development",
    )


async def _called(call: Awaitable[_T]) -> _T:
    try:
        return await call
    except grpc.aio.AioRpcError as error:
        raise error_from_rpc(error) from error
