"""The RPCs of ``vitne.issuer.v1.IssuerService``: messages in, messages out."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Final
from uuid import UUID

import asyncpg

from services.issuer import store
from services.issuer.admission import admit, read_parts
from services.issuer.archive import Archive
from services.issuer.batch import Batches
from services.issuer.bulk_statuses import BulkStatuses
from services.issuer.effects import Effects
from services.issuer.flags import Flags
from services.issuer.hubs import Hubs
from services.issuer.issuance import MAX_WAITING, Road
from services.issuer.key_store import LearnerKeyStore
from services.issuer.measuring import measured_issue
from services.issuer.metrics import UNARY
from services.issuer.parts import Parts
from services.issuer.quota import Quota
from services.issuer.refusals import erased, restricted, unknown_credential
from services.issuer.renditions import Renditions, require_known
from services.issuer.revocation import Revocations
from services.issuer.signing import SigningKeys
from services.issuer.statuses import Statuses
from vitne.canonical import b64url, from_b64url
from vitne.clock import Clock
from vitne.credentials.jose import ED25519, ES256
from vitne.credentials.w3c import baking
from vitne.errors import InvalidArgument
from vitne.identifiers import OrganisationId
from vitne.runtime.identity import current_caller
from vitne_api.credential.v1 import credential_pb2
from vitne_api.issuer.v1 import issuer_pb2 as issuer
from vitne_api.issuer.v1 import issuer_pb2_grpc as issuer_grpc

#: Full name in the contract.
SERVICE: Final = "vitne.issuer.v1.IssuerService"
#: Credentials of a page where the request names no number.
DEFAULT_PAGE: Final = 100
_UUID_BYTES: Final = 16
_REVISION_BYTES: Final = 4
_ALGORITHMS: Final[Mapping[int, str]] = {
    issuer.SIGNING_ALGORITHM_UNSPECIFIED: ES256,
    issuer.SIGNING_ALGORITHM_ES256: ES256,
    issuer.SIGNING_ALGORITHM_ED25519: ED25519,
}


class IssuerRpc(issuer_grpc.IssuerServiceServicer):
    """Implements the contract; refusals are raised as :mod:`vitne.errors` and translated by the server.

    Args:
        pool: the issuer's database.
        unary: the road of single issuances.
        bulk: the road of batches, apart, so that single issuances don't queue behind them.
        signing: providers' keys.
        keys: learners' data keys.
        archive: what the archives acts keep of learners who were erased.
        renditions: makes further formats.
        statuses: changes statuses.
        bulk_statuses: changes many.
        hubs: what hubs ask for.
        flags: finds what later facts touch.
        effects: counts what a change would touch.
        revocations: carries out authorities' orders to revoke.
        parts: what was counted towards what.
        quota: what providers may issue by batches.
        clock: for the checks of dates.
    """

    def __init__(
        self,
        pool: asyncpg.Pool,
        *,
        unary: Road,
        bulk: Road,
        signing: SigningKeys,
        keys: LearnerKeyStore,
        archive: Archive,
        renditions: Renditions,
        statuses: Statuses,
        bulk_statuses: BulkStatuses,
        hubs: Hubs,
        flags: Flags,
        effects: Effects,
        revocations: Revocations,
        parts: Parts,
        quota: Quota,
        clock: Clock,
    ) -> None:
        self._pool = pool
        self._unary = unary
        self._batches = Batches(bulk.issue, MAX_WAITING, clock, quota, renditions.add)
        self._signing = signing
        self._keys = keys
        self._archive = archive
        self._renditions = renditions
        self._statuses = statuses
        self._bulk_statuses = bulk_statuses
        self._hubs = hubs
        self._flags = flags
        self._effects = effects
        self._revocations = revocations
        self._parts = parts
        self._clock = clock

    async def CreateSigningKey(  # noqa: N802 - the contract's name
        self, request: issuer.CreateSigningKeyRequest, context: Any
    ) -> issuer.CreateSigningKeyResponse:
        """Make a signing key for the caller."""
        algorithm = _ALGORITHMS[request.algorithm]
        signer = await self._signing.create(_organisation(), UUID(request.request_id), algorithm)
        return issuer.CreateSigningKeyResponse(
            key_id=signer.key_id, public_jwk=json.dumps(signer.public_jwk, separators=(",", ":"), sort_keys=True)
        )

    async def Issue(self, request: issuer.IssueRequest, context: Any) -> issuer.IssueResponse:  # noqa: N802
        """Issue one credential."""
        with measured_issue(UNARY, self._clock):
            require_known(request.formats)
            order = admit(
                request.issuance,
                provider=_organisation(),
                request_id=UUID(request.request_id),
                now=self._clock.now(),
            )
            issued = await self._unary.issue(order)
        return issuer.IssueResponse(credential=await self._renditions.just_issued(issued, request.formats))

    async def IssueBatch(  # noqa: N802 - the contract's name
        self, request_iterator: AsyncIterator[issuer.IssueBatchRequest], context: Any
    ) -> AsyncIterator[issuer.IssueBatchResponse]:
        """Issue many credentials."""
        async with aclosing(self._batches.answer(_organisation(), request_iterator)) as answers:
            async for answer in answers:
                yield answer

    async def GetCredential(  # noqa: N802 - the contract's name
        self, request: issuer.GetCredentialRequest, context: Any
    ) -> issuer.GetCredentialResponse:
        """One of the caller's credentials."""
        row = await store.issued_by(self._pool, str(_organisation()), UUID(request.credential_id))
        if row is None:
            raise unknown_credential()
        key = (await self._keys.get([row.learner])).get(row.learner)
        if key is None:
            raise restricted(row.id) if await self._archive.holds([row.id]) else erased(row.id)
        opened = row.open(key)
        if not request.badge_image:
            message = await self._renditions.message(row, opened, key, request.formats)
            return issuer.GetCredentialResponse(credential=message)
        formats = dict.fromkeys([*request.formats, credential_pb2.FORMAT_OPEN_BADGE])
        message = await self._renditions.message(row, opened, key, list(formats))
        badge = next(one for one in message.artefacts if one.format == credential_pb2.FORMAT_OPEN_BADGE)
        # Some milliseconds for a large image, during which others should be served.
        image = await asyncio.to_thread(baking.bake, request.badge_image, badge.artefact)
        return issuer.GetCredentialResponse(credential=message, badge_image=image)

    async def ListCredentials(  # noqa: N802 - the contract's name
        self, request: issuer.ListCredentialsRequest, context: Any
    ) -> issuer.ListCredentialsResponse:
        """The caller's credentials, newest first."""
        size = request.page_size or DEFAULT_PAGE
        before = _read_page_token(request.page_token) if request.page_token else None
        rows = await store.page(self._pool, str(_organisation()), before, size + 1)
        return issuer.ListCredentialsResponse(
            credentials=[row.message() for row in rows[:size]],
            next_page_token=b64url(rows[size - 1].id.bytes) if len(rows) > size else "",
        )

    async def ListFlags(  # noqa: N802 - the contract's name
        self, request: issuer.ListFlagsRequest, context: Any
    ) -> issuer.ListFlagsResponse:
        """The caller's credentials that later facts touch."""
        size, after = request.page_size or DEFAULT_PAGE, _read_flag_token(request.page_token)
        flags = await self._flags.of_provider(str(_organisation()), after, size + 1)
        return issuer.ListFlagsResponse(flags=flags[:size], next_page_token=_flag_token(flags, size))

    async def ListAccreditationFlags(  # noqa: N802 - the contract's name
        self, request: issuer.ListAccreditationFlagsRequest, context: Any
    ) -> issuer.ListAccreditationFlagsResponse:
        """The credentials that are touched by what the caller said later of its own accreditations."""
        size, after = request.page_size or DEFAULT_PAGE, _read_flag_token(request.page_token)
        flags = await self._flags.of_authority(str(_organisation()), after, size + 1)
        return issuer.ListAccreditationFlagsResponse(flags=flags[:size], next_page_token=_flag_token(flags, size))

    async def PreviewEffects(  # noqa: N802 - the contract's name
        self, request: issuer.PreviewEffectsRequest, context: Any
    ) -> issuer.PreviewEffectsResponse:
        """What a change of one of the caller's own accreditations would touch."""
        return await self._effects.preview(str(_organisation()), request)

    async def RevokeFlagged(  # noqa: N802 - the contract's name
        self, request: issuer.RevokeFlaggedRequest, context: Any
    ) -> AsyncIterator[issuer.RevokeFlaggedResponse]:
        """Revoke what was issued under one of the caller's own accreditations and no longer counts."""
        async with aclosing(self._revocations.carry_out(str(_organisation()), request)) as answers:
            async for answer in answers:
                yield answer

    async def RestateParts(  # noqa: N802 - the contract's name
        self, request: issuer.RestatePartsRequest, context: Any
    ) -> issuer.RestatePartsResponse:
        """State anew what is counted towards one of the caller's credentials."""
        stated = read_parts(request.parts, "parts")
        await self._parts.restate(str(_organisation()), UUID(request.credential_id), stated)
        return issuer.RestatePartsResponse()

    async def ChangeStatus(  # noqa: N802 - the contract's name
        self, request: issuer.ChangeStatusRequest, context: Any
    ) -> issuer.ChangeStatusResponse:
        """Change the status of one of the caller's credentials."""
        return await self._statuses.change(_organisation(), request)

    async def ChangeStatuses(  # noqa: N802 - the contract's name
        self, request_iterator: AsyncIterator[issuer.ChangeStatusesRequest], context: Any
    ) -> AsyncIterator[issuer.ChangeStatusesResponse]:
        """Change the statuses of many of the caller's credentials."""
        async with aclosing(self._bulk_statuses.answer(_organisation(), request_iterator)) as answers:
            async for answer in answers:
                yield answer

    async def RegisterLearner(  # noqa: N802 - the contract's name
        self, request: issuer.RegisterLearnerRequest, context: Any
    ) -> issuer.RegisterLearnerResponse:
        """Register a learner with the calling hub, by one of the two grounds that there are."""
        if bool(request.id_token) == request.HasField("legal_ground"):
            raise InvalidArgument(
                "ONE_GROUND",
                "a learner is registered by their own act or on a legal ground",
                field="id_token",
                rule="either id_token or legal_ground",
                remedy="show the ID token of the learner's log-in, or name the legal ground",
            )
        if request.HasField("legal_ground"):
            return await self._hubs.register_on_ground(_organisation(), request.legal_ground)
        return await self._hubs.register(_organisation(), UUID(request.request_id), request.id_token)

    async def WithdrawLearner(  # noqa: N802 - the contract's name
        self, request: issuer.WithdrawLearnerRequest, context: Any
    ) -> issuer.WithdrawLearnerResponse:
        """End a learner's registration with the calling hub."""
        return await self._hubs.withdraw(_organisation(), UUID(request.request_id), request.pseudonym)

    async def FetchCredentials(  # noqa: N802 - the contract's name
        self, request: issuer.FetchCredentialsRequest, context: Any
    ) -> issuer.FetchCredentialsResponse:
        """Credentials by the calling hub's handles."""
        return await self._hubs.fetch(_organisation(), request.handles, request.formats)


def _organisation() -> OrganisationId:
    """On whose behalf the call is made: an institution, or hub, acts only for itself."""
    return current_caller().organisation


def _read_page_token(token: str) -> UUID:
    """The id that a page ended with. It needs no signature: whatever it says, only the caller's own are listed."""
    return UUID(bytes=_token_bytes(token, _UUID_BYTES))


def _flag_token(flags: Sequence[issuer.CredentialFlag], size: int) -> str:
    if len(flags) <= size:
        return ""
    last = flags[size - 1]
    return b64url(UUID(last.credential_id).bytes + last.registry_revision.to_bytes(_REVISION_BYTES))


def _read_flag_token(token: str) -> tuple[UUID, int] | None:
    """The credential and registry revision that a page ended with."""
    if not token:
        return None
    raw = _token_bytes(token, _UUID_BYTES + _REVISION_BYTES)
    return UUID(bytes=raw[:_UUID_BYTES]), int.from_bytes(raw[_UUID_BYTES:])


def _token_bytes(token: str, length: int) -> bytes:
    try:
        raw = from_b64url(token)
    except InvalidArgument:
        raw = b""
    if len(raw) != length:
        raise InvalidArgument(
            "BAD_PAGE_TOKEN",
            "not a page token of this method",
            field="page_token",
            rule="a page token is taken from the previous answer as it is",
            remedy="start from the first page, without a token",
        )
    return raw
