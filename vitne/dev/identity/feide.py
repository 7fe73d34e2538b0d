"""A stand-in for Feide beside that of ID-porten: another OpenID provider, with an issuer and sessions of its own.

What differs is what differs there (docs.feide.no): clients have a secret, nobody has a level of assurance, the ID token
holds no number, and ``userinfo`` tells it to clients with the attribute group ``userid-nin`` that asked for it.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from base64 import b64decode
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote_plus

from fastapi import Request, Response
from fastapi.responses import JSONResponse

from vitne.canonical import b64url
from vitne.clock import Clock
from vitne.dev.identity.configuration import Client, Configuration
from vitne.dev.identity.provider import (
    HEADERS,
    ID_TOKEN_LIFETIME,
    Authentication,
    Code,
    Expiring,
    OAuthError,
    Provider,
    Session,
    read_form,
)

#: Where it is at the development issuer's origin.
PATH: Final = "/feide"
#: Attribute group that opens the national identity number, and the claim that has it.
NUMBER_SCOPE: Final = "userid-nin"
NUMBER_CLAIM: Final = "https://n.feide.no/claims/nin"


class Feide(Provider):
    """What the stand-in answers.

    Args:
        configuration: who is known; checked.
        clock: the time in tokens.
    """

    cookie = "vitne_dev_feide"

    def __init__(self, configuration: Configuration, clock: Clock) -> None:
        super().__init__(configuration, clock, path=PATH)
        self._access = Expiring[Code](clock, ID_TOKEN_LIFETIME)

    async def metadata(self) -> Response:
        """OpenID Connect Discovery 1.0."""
        return JSONResponse(
            {
                "issuer": self._issuer,
                "authorization_endpoint": f"{self._origin}/authorize",
                "token_endpoint": f"{self._origin}/token",
                "userinfo_endpoint": f"{self._origin}/userinfo",
                "jwks_uri": f"{self._origin}/jwks",
                "end_session_endpoint": f"{self._origin}/logout",
                "grant_types_supported": ["authorization_code"],
                "response_types_supported": ["code"],
                "response_modes_supported": ["query"],
                "scopes_supported": ["openid", NUMBER_SCOPE],
                "subject_types_supported": ["public"],
                "claims_supported": ["sub", "nonce", NUMBER_CLAIM],
                "code_challenge_methods_supported": ["S256"],
                "id_token_signing_alg_values_supported": ["RS256"],
                "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
            }
        )

    async def token(self, request: Request) -> Response:
        """The token endpoint."""
        form = await read_form(request)
        if form.get("grant_type") != "authorization_code":
            raise OAuthError("unsupported_grant_type", "authorization_code is supported")
        client = self._by_secret(request.headers.get("authorization", ""), form)
        code = self.redeem(form, client)
        now, access_token = int(self._clock.now().timestamp()), self._access.put(code)
        claims = {
            "iss": self._issuer,
            "sub": self._subject(client, code.session.learner),
            "aud": client.client_id,
            "exp": now + ID_TOKEN_LIFETIME,
            "iat": now,
            "auth_time": code.session.auth_time,
            "at_hash": b64url(hashlib.sha256(access_token.encode()).digest()[:16]),
            "jti": secrets.token_urlsafe(16),
            "nonce": code.request.nonce,
        }
        answer = {
            "access_token": access_token,
            "token_type": "Bearer",
            "expires_in": ID_TOKEN_LIFETIME,
            "id_token": self._signed(claims),
            "scope": " ".join(sorted(code.request.scopes)),
        }
        return JSONResponse(answer, headers=HEADERS)

    async def userinfo(self, request: Request) -> Response:
        """What is told of who logged in (OpenID Connect Core 1.0, section 5.3)."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        code = self._access.get(token) if scheme == "Bearer" else None
        if code is None:
            raise OAuthError("invalid_token", "the access token is unknown or too old", 401)
        told = {"sub": self._subject(code.request.client, code.session.learner)}
        if NUMBER_SCOPE in code.request.scopes and code.session.learner.number_at_feide:
            told[NUMBER_CLAIM] = code.session.learner.pid
        return JSONResponse(told, headers=HEADERS)

    def _with_code(self, authentication: Authentication, session: Session) -> Response:
        """Nobody has a level of assurance here."""
        return self._answer(authentication, {"code": self._codes.put(Code(authentication, session))})

    def _by_secret(self, authorization: str, form: Mapping[str, str]) -> Client:
        """The client that showed its secret (RFC 6749, section 2.3.1): in the header, or in the form."""
        name, secret = form.get("client_id", ""), form.get("client_secret", "")
        if authorization.startswith("Basic "):
            try:
                pair = b64decode(authorization.removeprefix("Basic "), validate=True).decode("ascii")
            except ValueError:
                pair = ""
            name, _, secret = (unquote_plus(part) for part in pair.partition(":"))
        client = self._clients.get(name)
        if client is None or not client.secret or not hmac.compare_digest(client.secret.encode(), secret.encode()):
            raise OAuthError("invalid_client", "the client's secret is not the one that is registered", 401)
        return client
