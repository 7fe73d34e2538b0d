"""How a client shows who it is: signed assertions, and the access tokens they are exchanged for."""

from __future__ import annotations

import asyncio
import json
import secrets
import ssl
from collections.abc import Collection, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import aiohttp
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from vitne.clock import Clock
from vitne.errors import Unauthenticated, Unavailable
from vitne.runtime.identity.issuer import Issuer, open_session, read_object

#: The grant by which Maskinporten hands out tokens (RFC 7523, section 2.1).
JWT_BEARER: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
#: How clients authenticate by a signed assertion (RFC 7523, section 2.2).
CLIENT_ASSERTION: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
#: Seconds that an assertion lives: Maskinporten takes none that live longer than 120.
ASSERTION_LIFETIME: Final = 60
#: Seconds before its end at which a token is replaced, so that it doesn't end on its
#: way; at most a quarter of its life.
RENEW_BEFORE: Final = 30.0


class ClientKey:
    """A client's private key, as registered with the issuer.

    Args:
        client_id: the client's name at the issuer.
        private_jwk: RSA or EC P-256 key (RFC 7517) with a ``kid``.
    """

    def __init__(self, client_id: str, private_jwk: Mapping[str, Any]) -> None:
        self.client_id = client_id
        self._key_id = str(private_jwk["kid"])
        self._key: RSAKey | ECKey
        if private_jwk.get("kty") == "RSA":
            self._algorithm, self._key = "RS256", RSAKey.import_key(dict(private_jwk))
        else:
            self._algorithm, self._key = "ES256", ECKey.import_key(dict(private_jwk))
        if not self._key.is_private:
            raise ValueError("a client signs with a private key")

    @classmethod
    def read(cls, client_id: str, path: Path) -> ClientKey:
        """The key in a file that holds one private JWK."""
        return cls(client_id, json.loads(path.read_text()))

    def __repr__(self) -> str:
        return f"ClientKey({self.client_id!r})"

    def assertion(self, audience: str, clock: Clock, **claims: object) -> str:
        """A signed assertion (RFC 7523, section 3) for ``audience``, with further ``claims``."""
        now = int(clock.now().timestamp())
        body = {
            "iss": self.client_id,
            "aud": audience,
            "iat": now,
            "exp": now + ASSERTION_LIFETIME,
            "jti": secrets.token_urlsafe(16),
            **claims,
        }
        header = {"alg": self._algorithm, "kid": self._key_id}
        return jwt.encode(header, body, self._key, algorithms=[self._algorithm])


class TokenSource:
    """Maskinporten access tokens for one client, asked for when needed and kept while they last.

    Args:
        issuer: issuer identifier; its metadata names the token endpoint.
        key: the client and its key.
        scopes: what to ask for.
        clock: tells when a token is used up.
        resource: the audience that the token is for (RFC 8707).
        consumer: the organisation that has delegated the scopes to this client's: asks for a delegated token.
        subject: the person on whose behalf (RFC 7523, section 3: sub), by the issuer's opaque name; empty: nobody's.
        allow_http: see :class:`~vitne.runtime.identity.issuer.Issuer`.
        trust: see there, too.
    """

    def __init__(
        self,
        issuer: str,
        key: ClientKey,
        scopes: Collection[str],
        clock: Clock,
        *,
        resource: str,
        consumer: str = "",
        subject: str = "",
        allow_http: bool = False,
        trust: ssl.SSLContext | None = None,
    ) -> None:
        self._issuer = Issuer(issuer, clock, allow_http=allow_http, trust=trust)
        self._trust = trust
        self._key = key
        self._scopes = " ".join(sorted(scopes))
        self._clock = clock
        self._claims: dict[str, object] = {"scope": self._scopes, "resource": resource}
        if consumer:
            self._claims["consumer_org"] = consumer
        if subject:
            self._claims["sub"] = subject
        self._token = ""
        self._renew_at = self._ends_at = 0.0
        self._lock = asyncio.Lock()

    async def token(self) -> str:
        """A token that is still good for a while; concurrent callers share one request.

        Raises:
            Unauthenticated: ``CLIENT_REFUSED``: the issuer does not give this client such a token.
            Unavailable: ``TOKEN_ENDPOINT_UNREACHABLE``, ``IDENTITY_ISSUER_UNREACHABLE``.
        """
        if self._clock.now().timestamp() < self._renew_at:
            return self._token
        async with self._lock:
            if self._clock.now().timestamp() < self._renew_at:
                return self._token
            try:
                await self._renew()
            except Unavailable:
                # The token at hand still counts: an issuer that is away for a moment stops nobody.
                if self._clock.now().timestamp() >= self._ends_at:
                    raise
            return self._token

    async def _renew(self) -> None:
        endpoint = await self._issuer.endpoint("token_endpoint")
        asked_at = self._clock.now().timestamp()
        assertion = self._key.assertion(self._issuer.url, self._clock, **self._claims)
        answer = await post_form(endpoint, {"grant_type": JWT_BEARER, "assertion": assertion}, trust=self._trust)
        token, lifetime = answer.get("access_token"), answer.get("expires_in")
        if not isinstance(token, str) or isinstance(lifetime, bool) or not isinstance(lifetime, int | float):
            raise Unavailable("TOKEN_ENDPOINT_UNREACHABLE", "the token endpoint's answer can't be read")
        self._token = token
        self._ends_at = asked_at + lifetime
        self._renew_at = self._ends_at - min(RENEW_BEFORE, lifetime / 4)


async def post_form(endpoint: str, form: Mapping[str, str], *, trust: ssl.SSLContext | None = None) -> dict[str, Any]:
    """The token endpoint's answer to a form (RFC 6749, sections 5.1 and 5.2).

    Args:
        endpoint: its URL.
        form: what is posted.
        trust: see :class:`~vitne.runtime.identity.issuer.Issuer`.

    Raises:
        Unauthenticated: ``CLIENT_REFUSED`` with the OAuth error code.
        Unavailable: ``TOKEN_ENDPOINT_UNREACHABLE``.
    """
    try:
        async with (
            open_session(trust) as session,
            session.post(endpoint, data=dict(form), allow_redirects=False) as response,
        ):
            status, answer = response.status, await read_object(response)
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
        raise Unavailable(
            "TOKEN_ENDPOINT_UNREACHABLE",
            f"the token endpoint does not answer: {type(error).__name__}",
            remedy="try again in a moment",
        ) from error
    if status >= 500 or status == 429:
        raise Unavailable(
            "TOKEN_ENDPOINT_UNREACHABLE", f"the token endpoint failed with {status}", remedy="try again in a moment"
        )
    if status != 200:
        code = answer.get("error")
        raise Unauthenticated(
            "CLIENT_REFUSED",
            "the identity issuer refused the request",
            rule=code if isinstance(code, str) else "",
            remedy="check the client's registration: its key, its scopes, its delegations",
        )
    return answer


async def fetch_claims(endpoint: str, access_token: str, *, trust: ssl.SSLContext | None = None) -> dict[str, Any]:
    """What an OpenID provider's ``userinfo`` says (OpenID Connect Core 1.0, section 5.3.1).

    Args:
        endpoint: its URL.
        access_token: that the token endpoint gave with the ID token.
        trust: see :class:`~vitne.runtime.identity.issuer.Issuer`.

    Raises:
        Unauthenticated: ``USERINFO_REFUSED``.
        Unavailable: ``USERINFO_UNREACHABLE``.
    """
    try:
        async with (
            open_session(trust) as session,
            session.get(
                endpoint, headers={"Authorization": f"Bearer {access_token}"}, allow_redirects=False
            ) as response,
        ):
            status, answer = response.status, await read_object(response) if response.status == HTTPStatus.OK else {}
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
        raise Unavailable(
            "USERINFO_UNREACHABLE", f"userinfo does not answer: {type(error).__name__}", remedy="try again in a moment"
        ) from error
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.TOO_MANY_REQUESTS:
        raise Unavailable("USERINFO_UNREACHABLE", f"userinfo failed with {status}", remedy="try again in a moment")
    if status != HTTPStatus.OK:
        raise Unauthenticated("USERINFO_REFUSED", f"userinfo refused with {status}", remedy="log in again")
    return answer
