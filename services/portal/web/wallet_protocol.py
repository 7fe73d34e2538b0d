"""What wallets call: OpenID4VCI 1.0 and RFC 8414. Nobody is logged in here; errors are OAuth's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import wraps
from http import HTTPStatus
from typing import Any, Final

from fastapi import Request, Response
from fastapi.responses import JSONResponse

from services.portal.local_time import local_date
from services.portal.metrics import WALLET_OFFERS
from services.portal.presentation import read
from services.portal.store import Store
from services.portal.wallet import protocol
from services.portal.wallet.codes import REFERENCE_LENGTH, pre_authorized_code
from services.portal.wallet.store import Offers
from services.portal.wallet.terms import (
    TOKEN_LIFETIME,
    Obstacle,
    bad_token,
    not_transferable,
    not_yet,
    obstacle,
    unknown_offer,
)
from services.portal.web.forms import read_form
from services.portal.web.frame import Frame
from services.portal.web.routes import Page, Route
from vitne.clock import Clock
from vitne.errors import InvalidArgument, Unauthenticated, Unavailable, VitneError
from vitne.runtime.http import problem, status_of

#: Bytes of a credential request: one that brings proofs, which are not asked for, has some thousand.
MAX_REQUEST: Final = 16 * 1024
_FORM: Final = "application/x-www-form-urlencoded"
_JSON: Final = "application/json"
_BEARER: Final = "Bearer"
#: Of what says something of somebody (section 6.2; RFC 6749, section 5.1).
_PRIVATE: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
#: Of the metadata, which anyone may read. Wallets are programs of their own: pages of other origins find nothing here.
_OPEN: Final = {"Cache-Control": "max-age=60", "X-Content-Type-Options": "nosniff"}
#: When a wallet asks again for what is being fetched, in seconds: well within the access token's lifetime.
RETRY_SECONDS: Final = 5
#: OAuth's and OpenID4VCI's names for what is refused here (sections 6.3 and 8.3.1; RFC 6749, section 5.2).
_ERRORS: Final[Mapping[str, str]] = {
    "WALLET_REQUEST_BAD": "invalid_request",
    "BODY_TOO_LARGE": "invalid_request",
    "WALLET_GRANT_TYPE": "unsupported_grant_type",
    "WALLET_GRANT_REFUSED": "invalid_grant",
    "WALLET_TOKEN_REFUSED": "invalid_token",
    "WALLET_CREDENTIAL_REQUEST_BAD": "invalid_credential_request",
    "WALLET_CONFIGURATION_UNKNOWN": "unknown_credential_configuration",
    "WALLET_IDENTIFIER_UNKNOWN": "unknown_credential_identifier",
    "WALLET_ENCRYPTION": "invalid_encryption_parameters",
    "NOT_TRANSFERABLE": "credential_request_denied",
}
#: What the protocol has a status of its own for; else as everywhere.
_STATUSES: Final[Mapping[str, HTTPStatus]] = {"NOT_TRANSFERABLE": HTTPStatus.BAD_REQUEST}


class WalletProtocol:
    """The portal as Credential Issuer and Authorization Server of pre-authorized codes.

    Args:
        frame: the portal's address, and readers' languages.
        store: learners' credentials.
        offers: what they offered to wallets.
        clock: what has expired.
    """

    def __init__(self, frame: Frame, store: Store, offers: Offers, clock: Clock) -> None:
        self._frame = frame
        self._store = store
        self._offers = offers
        self._clock = clock

    def routes(self) -> list[Route]:
        """Both documents of metadata, the offer, token and credential endpoint."""
        return [
            Route("GET", protocol.ISSUER_METADATA_PATH, self.issuer, for_programs=True),
            Route("GET", protocol.SERVER_METADATA_PATH, self.server, for_programs=True),
            Route("GET", f"{protocol.OFFER_PATH}/{{reference}}", self.offer, for_programs=True),
            Route("POST", protocol.TOKEN_PATH, _answered(self.token), for_programs=True),
            Route(
                "POST",
                protocol.CREDENTIAL_PATH,
                _answered(self.credential),
                max_body=MAX_REQUEST,
                for_programs=True,
            ),
        ]

    async def issuer(self, _request: Request) -> Response:
        """Credential Issuer Metadata, unsigned, in all languages."""
        return JSONResponse(protocol.issuer_metadata(self._frame.public_url), headers=_OPEN)

    async def server(self, _request: Request) -> Response:
        """Authorization Server Metadata."""
        return JSONResponse(protocol.server_metadata(self._frame.public_url), headers=_OPEN)

    async def offer(self, request: Request) -> Response:
        """An offer, for as long as a wallet can ask with it: reading it twice makes no other."""
        reference = request.path_params["reference"]
        if len(reference) != REFERENCE_LENGTH:
            raise unknown_offer()
        await self._offers.require_open(reference, self._clock.now())
        described = self._frame.reader(request).texts["wallet"]["tx_code_where"]
        body = protocol.offer(self._frame.public_url, pre_authorized_code(reference), described)
        return JSONResponse(body, headers=_PRIVATE)

    async def token(self, request: Request) -> Response:
        """An access token for the pre-authorized code and the transaction code. Wallets need not be known here."""
        _require_type(request, _FORM, "WALLET_REQUEST_BAD")
        code, tx_code = protocol.read_token_request((await read_form(request)).fields)
        try:
            token = await self._offers.redeem(code, tx_code, self._clock.now())
        except InvalidArgument:
            WALLET_OFFERS.add(1, "refused")
            raise
        WALLET_OFFERS.add(1, "redeemed")
        body = {"access_token": token, "token_type": _BEARER, "expires_in": int(TOKEN_LIFETIME.total_seconds())}
        return JSONResponse(body, headers=_PRIVATE)

    async def credential(self, request: Request) -> Response:
        """The credential as it was issued. While the access token lasts it can be fetched again: answers get lost."""
        now, token = self._clock.now(), _bearer(request)
        lookup, handle = await self._offers.opened_by(token, now)
        _require_type(request, _JSON, "WALLET_CREDENTIAL_REQUEST_BAD")
        protocol.check_credential_request(await request.body())
        kept = await self._store.credential(lookup, handle)
        if kept is None:
            # What is gathered anew: with a withdrawal the offer ends, too.
            raise not_yet()
        why = obstacle(kept, read(kept), local_date(now))
        if why is Obstacle.FETCHING:
            raise not_yet()
        if why is not None:
            # It was revoked since she made the offer.
            WALLET_OFFERS.add(1, "denied")
            raise not_transferable(why)
        if await self._offers.take(token, now):
            WALLET_OFFERS.add(1, "taken")
        return JSONResponse({"credentials": [{"credential": kept.artefact}]}, headers=_PRIVATE)


def _bearer(request: Request) -> str:
    """The access token of a request (RFC 6750, section 2.1).

    Raises:
        Unauthenticated: ``NO_TOKEN``; ``WALLET_TOKEN_REFUSED``.
    """
    header = request.headers.get("authorization", "")
    if not header:
        raise Unauthenticated("NO_TOKEN", "the request has no access token", remedy="send it as Bearer")
    scheme, _, token = header.partition(" ")
    if scheme.lower() != _BEARER.lower() or not token:
        raise bad_token()
    return token.strip()


def _require_type(request: Request, wanted: str, reason: str) -> None:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != wanted:
        raise InvalidArgument(reason, f"the body is not {wanted}", field="Content-Type", rule=wanted)


def _answered(page: Callable[[Request], Awaitable[Response]]) -> Page:
    """An endpoint whose refusals are OAuth's errors; what is none of theirs is told as everywhere."""

    @wraps(page)
    async def answered(request: Request) -> Response:
        try:
            return await page(request)
        except VitneError as error:
            if error.reason == "NO_TOKEN":  # RFC 6750, section 3.1: no error code for who shows no token
                return _error(HTTPStatus.UNAUTHORIZED, None, _BEARER)
            if isinstance(error, Unavailable):  # the protocol has no error for what passes by itself
                answer = problem(error)
                answer.headers.update({**_PRIVATE, "Retry-After": str(RETRY_SECONDS)})  # RFC 9110, section 10.2.3
                return answer
            name = _ERRORS.get(error.reason)
            if name is None:
                raise
            status = _STATUSES.get(error.reason) or status_of(error)
            body = {"error": name, "error_description": error.message}
            challenge = f'{_BEARER} error="{name}"' if status is HTTPStatus.UNAUTHORIZED else ""
            return _error(status, body, challenge)

    return answered


def _error(status: HTTPStatus, body: Mapping[str, Any] | None, challenge: str) -> Response:
    headers = {**_PRIVATE, **({"WWW-Authenticate": challenge} if challenge else {})}
    return Response(status_code=status, headers=headers) if body is None else JSONResponse(body, status, headers)
