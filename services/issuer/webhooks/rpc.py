"""The RPCs of ``vitne.issuer.v1.WebhookService``: messages in, messages out."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from services.issuer.webhooks.endpoints import Endpoints
from vitne.canonical import b64url, from_b64url
from vitne.errors import InvalidArgument
from vitne.identifiers import OrganisationId
from vitne.runtime.identity import current_caller
from vitne_api.issuer.v1 import webhooks_pb2 as webhooks
from vitne_api.issuer.v1 import webhooks_pb2_grpc as webhooks_grpc

#: Deliveries of a page where the request names no number.
DEFAULT_PAGE: Final = 100
_NUMBER_BYTES: Final = 8


class WebhookRpc(webhooks_grpc.WebhookServiceServicer):
    """Implements the contract; refusals are raised as :mod:`vitne.errors` and translated by the server.

    Args:
        endpoints: does what is asked.
    """

    def __init__(self, endpoints: Endpoints) -> None:
        self._endpoints = endpoints

    async def RegisterWebhook(  # noqa: N802 - the contract's name
        self, request: webhooks.RegisterWebhookRequest, context: Any
    ) -> webhooks.RegisterWebhookResponse:
        """Register an endpoint of the caller's."""
        return await self._endpoints.register(_organisation(), request)

    async def ListWebhooks(  # noqa: N802 - the contract's name
        self, request: webhooks.ListWebhooksRequest, context: Any
    ) -> webhooks.ListWebhooksResponse:
        """The caller's endpoints."""
        return await self._endpoints.all_of(_organisation())

    async def DeleteWebhook(  # noqa: N802 - the contract's name
        self, request: webhooks.DeleteWebhookRequest, context: Any
    ) -> webhooks.DeleteWebhookResponse:
        """Delete one of the caller's endpoints."""
        return await self._endpoints.delete(_organisation(), request)

    async def RotateWebhookSecret(  # noqa: N802 - the contract's name
        self, request: webhooks.RotateWebhookSecretRequest, context: Any
    ) -> webhooks.RotateWebhookSecretResponse:
        """Make a new secret for one of the caller's endpoints."""
        return await self._endpoints.rotate(_organisation(), request)

    async def ReplayWebhook(  # noqa: N802 - the contract's name
        self, request: webhooks.ReplayWebhookRequest, context: Any
    ) -> webhooks.ReplayWebhookResponse:
        """Send to one of the caller's endpoints again."""
        return await self._endpoints.replay(_organisation(), request)

    async def ListWebhookDeliveries(  # noqa: N802 - the contract's name
        self, request: webhooks.ListWebhookDeliveriesRequest, context: Any
    ) -> webhooks.ListWebhookDeliveriesResponse:
        """How it went with one of the caller's endpoints, newest first."""
        size = request.page_size or DEFAULT_PAGE
        found = await self._endpoints.deliveries(
            _organisation(),
            UUID(request.endpoint_id),
            state=request.state,
            before=_read_page_token(request.page_token) if request.page_token else None,
            limit=size + 1,
        )
        last = found[size - 1][0] if len(found) > size else None
        return webhooks.ListWebhookDeliveriesResponse(
            deliveries=[message for _, message in found[:size]],
            next_page_token="" if last is None else b64url(last.to_bytes(_NUMBER_BYTES)),
        )


def _organisation() -> OrganisationId:
    """On whose behalf the call is made: everybody acts only for itself."""
    return current_caller().organisation


def _read_page_token(token: str) -> int:
    """The number that a page ended with. It needs no signature: whatever it says, only the caller's own are listed."""
    try:
        raw = from_b64url(token)
    except InvalidArgument:
        raw = b""
    if len(raw) != _NUMBER_BYTES or raw[0] > 127:
        raise InvalidArgument(
            "BAD_PAGE_TOKEN",
            "not a page token of this method",
            field="page_token",
            rule="a page token is taken from the previous answer as it is",
            remedy="start from the first page, without a token",
        )
    return int.from_bytes(raw)
