"""Maskinporten's grant and ID-porten's log-in at one issuer, over HTTP."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit

from fastapi import Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey

from vitne.canonical import b64url, from_b64url, sha256
from vitne.clock import Clock
from vitne.dev.identity.configuration import Client, Configuration, Learner, import_key
from vitne.dev.identity.pages import choice_page, message_page
from vitne.errors import InvalidArgument, VitneError
from vitne.identifiers import OrganisationId
from vitne.runtime.identity import CLIENT_ASSERTION, JWT_BEARER, LEVELS_OF_ASSURANCE, SUBSTANTIAL
from vitne.runtime.identity.tokens import ISO6523, SYSTEM_USER

#: Seconds that an assertion may live (Maskinporten: JWT grant).
ASSERTION_AT_MOST: Final = 120
#: Seconds by which a client's clock may be ahead.
LEEWAY: Final = 10
#: Seconds that an ID token lives: ID-porten's own.
ID_TOKEN_LIFETIME: Final = 120
#: Seconds between a choice of learner, and the code being used (RFC 6749, section 4.1.2).
CODE_LIFETIME: Final = 60
#: Seconds to choose a learner in.
CHOICE_LIFETIME: Final = 600
#: Seconds that a learner stays logged in here.
SESSION_LIFETIME: Final = 3600
#: Bytes of a form, at most.
FORM_LIMIT: Final = 64 * 1024
#: Type of ``authorization_details`` by which Ansattporten is asked for whom a person acts.
REPRESENTATION: Final = "ansattporten:altinn:service"

T = TypeVar("T")

HEADERS: Final = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "X-Content-Type-Options": "nosniff"}
#: No form-action: the form's answer redirects to the client, which browsers hold against it too.
_PAGE_HEADERS: Final = {
    **HEADERS,
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'",
}


class OAuthError(Exception):
    """A refusal in OAuth's terms (RFC 6749, section 5.2)."""

    def __init__(self, error: str, description: str, status: int = 400) -> None:
        super().__init__(description)
        self.error = error
        self.description = description
        self.status = status


@dataclass(frozen=True, slots=True)
class Authentication:
    """An authentication request that was checked (OpenID Connect Core, section 3.1.2.1)."""

    client: Client
    redirect_uri: str
    state: str
    nonce: str
    code_challenge: str
    acr: str
    #: Whether the person is to act for an organisation, as at Ansattporten.
    representing: bool
    scopes: frozenset[str]


@dataclass(frozen=True, slots=True)
class Session:
    """A learner who has chosen a name here."""

    learner: Learner
    auth_time: int
    session_id: str


@dataclass(frozen=True, slots=True)
class Code:
    """What an authorization code stands for."""

    request: Authentication
    session: Session


class Expiring(Generic[T]):
    """Values under unguessable names, while they last."""

    def __init__(self, clock: Clock, lifetime: float) -> None:
        self._clock = clock
        self._lifetime = lifetime
        self._values: dict[str, tuple[float, T]] = {}

    def put(self, value: T) -> str:
        now = self._clock.monotonic()
        # Oldest first, since all live equally long.
        while self._values and (oldest := next(iter(self._values.items())))[1][0] <= now:
            del self._values[oldest[0]]
        name = secrets.token_urlsafe(24)
        self._values[name] = (now + self._lifetime, value)
        return name

    def get(self, name: str) -> T | None:
        until, value = self._values.get(name, (0.0, None))
        return value if self._clock.monotonic() < until else None

    def take(self, name: str) -> T | None:
        value = self.get(name)
        self._values.pop(name, None)
        return value


class Provider:
    """What the issuer answers.

    Args:
        configuration: who is known; checked.
        clock: the time in tokens.
        path: of the issuer at the configuration's origin; empty: that origin itself.
    """

    #: Name of the cookie that a learner's session is known by.
    cookie = "vitne_dev_login"

    def __init__(self, configuration: Configuration, clock: Clock, *, path: str = "") -> None:
        configuration.check()
        self._issuer = f"{configuration.issuer.rstrip('/')}{path}" if path else configuration.issuer
        self._origin = self._issuer.rstrip("/")
        self._lifetime = configuration.access_token_lifetime
        self._clients = {client.client_id: client for client in configuration.clients}
        self._learners = {learner.pid: learner for learner in configuration.learners}
        self._key = RSAKey.import_key(configuration.signing_key)
        self._key_id = str(configuration.signing_key["kid"])
        # Made from the signing key, so that a learner's subject is the same after a restart.
        self._pairwise_salt = sha256(b"vitne/dev/pairwise" + path.encode() + self._key.as_bytes(private=True))
        self._clock = clock
        self._used_assertions: dict[tuple[str, str], float] = {}
        self._transactions = Expiring[Authentication](clock, CHOICE_LIFETIME)
        self._codes = Expiring[Code](clock, CODE_LIFETIME)
        self._sessions = Expiring[Session](clock, SESSION_LIFETIME)

    async def metadata(self) -> Response:
        """RFC 8414 and OpenID Connect Discovery in one document."""
        return JSONResponse(
            {
                "issuer": self._issuer,
                "authorization_endpoint": f"{self._origin}/authorize",
                "token_endpoint": f"{self._origin}/token",
                "jwks_uri": f"{self._origin}/jwks",
                "end_session_endpoint": f"{self._origin}/logout",
                "grant_types_supported": [JWT_BEARER, "authorization_code"],
                "response_types_supported": ["code"],
                "response_modes_supported": ["query"],
                "scopes_supported": ["openid"],
                "subject_types_supported": ["pairwise"],
                "acr_values_supported": list(LEVELS_OF_ASSURANCE),
                "claims_supported": ["sub", "pid", "acr", "amr", "auth_time", "nonce", "sid"],
                "code_challenge_methods_supported": ["S256"],
                "id_token_signing_alg_values_supported": ["RS256"],
                "token_endpoint_auth_methods_supported": ["private_key_jwt"],
                "token_endpoint_auth_signing_alg_values_supported": ["RS256", "ES256"],
            }
        )

    async def jwks(self) -> Response:
        """The public signing key (RFC 7517)."""
        public = self._key.as_dict(private=False)
        return JSONResponse({"keys": [{**public, "kid": self._key_id, "use": "sig", "alg": "RS256"}]})

    async def token(self, request: Request) -> Response:
        """The token endpoint."""
        form = await read_form(request)
        grant = form.get("grant_type", "")
        if grant == JWT_BEARER:
            answer = self._machine_token(form)
        elif grant == "authorization_code":
            answer = self._learner_tokens(form)
        else:
            raise OAuthError("unsupported_grant_type", "jwt-bearer and authorization_code are supported")
        return JSONResponse(answer, headers=HEADERS)

    async def authorize(self, request: Request) -> Response:
        """The authorization endpoint: asks who the learner is, or knows it already."""
        query = dict(request.query_params)
        client = self._clients.get(query.get("client_id", ""))
        redirect_uri = query.get("redirect_uri", "")
        if client is None or redirect_uri not in client.redirect_uris:
            # Never redirected: an address that nobody registered could be anybody's (RFC 6749, section 4.1.2.1).
            return _page(message_page("This log-in can't go on", "Unknown client or redirect address."), 400)
        try:
            authentication = _authentication(client, redirect_uri, query)
            session = self._session(request)
            if session is not None and query.get("prompt") != "login":
                return self._with_code(authentication, session)
            if query.get("prompt") == "none":
                raise OAuthError("login_required", "the learner is not logged in")
        except OAuthError as error:
            return _redirect(
                redirect_uri,
                {"error": error.error, "error_description": error.description, "state": query.get("state", "")},
            )
        transaction = self._transactions.put(authentication)
        able = [one for one in self._learners.values() if one.represents or not authentication.representing]
        return _page(choice_page(f"{self._origin}/authorize", transaction, able))

    async def choose(self, request: Request) -> Response:
        """The learner's choice: back to the client with a code."""
        form = await read_form(request)
        authentication = self._transactions.take(form.get("transaction", ""))
        learner = self._learners.get(form.get("learner", ""))
        if authentication is None or learner is None:
            return _page(message_page("This log-in can't go on", "It took too long. Start again."), 400)
        now = int(self._clock.now().timestamp())
        session = Session(learner, now, secrets.token_urlsafe(16))
        response = self._with_code(authentication, session)
        response.set_cookie(self.cookie, self._sessions.put(session), httponly=True, samesite="lax", path="/")
        return response

    def routes(self) -> list[tuple[str, str, Callable[..., Awaitable[Response]]]]:
        """Methods, paths below the issuer, and what answers there."""
        return [
            ("GET", "/.well-known/openid-configuration", self.metadata),
            ("GET", "/jwks", self.jwks),
            ("POST", "/token", self.token),
            ("GET", "/authorize", self.authorize),
            ("POST", "/authorize", self.choose),
            ("GET", "/logout", self.log_out),
        ]

    async def log_out(self, request: Request) -> Response:
        """The end-session endpoint (OpenID Connect RP-Initiated Logout 1.0)."""
        self._sessions.take(request.cookies.get(self.cookie, ""))
        client = self._clients.get(request.query_params.get("client_id", ""))
        target = request.query_params.get("post_logout_redirect_uri", "")
        response: Response
        if client is not None and target in client.post_logout_redirect_uris:
            state = request.query_params.get("state", "")
            response = _redirect(target, {"state": state} if state else {})
        else:
            response = _page(message_page("You are logged out", "You can close this page."))
        response.delete_cookie(self.cookie, path="/", httponly=True, samesite="lax")
        return response

    def _session(self, request: Request) -> Session | None:
        return self._sessions.get(request.cookies.get(self.cookie, ""))

    def _with_code(self, authentication: Authentication, session: Session) -> Response:
        reached = LEVELS_OF_ASSURANCE.index(session.learner.acr)
        if reached < LEVELS_OF_ASSURANCE.index(authentication.acr):
            answer = {"error": "access_denied", "error_description": "the learner has no log-in that strong"}
        elif authentication.representing and not session.learner.represents:
            answer = {"error": "access_denied", "error_description": "the person may act for no organisation"}
        else:
            answer = {"code": self._codes.put(Code(authentication, session))}
        return self._answer(authentication, answer)

    def _answer(self, authentication: Authentication, answer: Mapping[str, str]) -> Response:
        """Back to the client (RFC 9207 for ``iss``)."""
        return _redirect(authentication.redirect_uri, {**answer, "state": authentication.state, "iss": self._issuer})

    def _machine_token(self, form: Mapping[str, str]) -> dict[str, object]:
        client, grant = self._asserted(form.get("assertion", ""), {self._issuer})
        scopes = tuple(str(grant.get("scope", "")).split())
        if not scopes:
            raise OAuthError("invalid_scope", "no scope is asked for")
        now = int(self._clock.now().timestamp())
        claims: dict[str, object] = {
            "iss": self._issuer,
            "client_amr": "private_key_jwt",
            "token_type": "Bearer",
            "consumer": _identifier(client.organisation),
            "scope": " ".join(scopes),
            "exp": now + self._lifetime,
            "iat": now,
            "client_id": client.client_id,
            "jti": secrets.token_urlsafe(16),
        }
        if "resource" in grant:
            claims["aud"] = grant["resource"]
        if "consumer_org" in grant:
            consumer = _organisation(grant["consumer_org"])
            allowed = {scope for one in client.delegations if one.consumer == consumer for scope in one.scopes}
            claims["consumer"] = _identifier(consumer)
            claims["supplier"] = _identifier(client.organisation)
            claims["delegation_source"] = f"{self._origin}/"
        else:
            allowed = set(client.scopes)
        if not allowed.issuperset(scopes):
            raise OAuthError("invalid_scope", "the client may not ask for one of the scopes")
        if "sub" in grant:
            if grant["sub"] not in client.officers:
                raise OAuthError("invalid_grant", "the client may not ask on behalf of this person")
            claims["sub"] = grant["sub"]
        if "authorization_details" in grant:
            claims["authorization_details"] = _system_user(client, grant["authorization_details"])
        return {
            "access_token": self._signed(claims),
            "token_type": "Bearer",
            "expires_in": self._lifetime,
            "scope": " ".join(scopes),
        }

    def _learner_tokens(self, form: Mapping[str, str]) -> dict[str, object]:
        if form.get("client_assertion_type") != CLIENT_ASSERTION:
            raise OAuthError("invalid_client", "clients authenticate with private_key_jwt", 401)
        client, assertion = self._asserted(
            form.get("client_assertion", ""), {self._issuer, f"{self._origin}/token"}, error="invalid_client"
        )
        if assertion.get("sub") != client.client_id:
            raise OAuthError("invalid_client", "iss and sub must be the client", 401)
        code = self.redeem(form, client)
        now, session = int(self._clock.now().timestamp()), code.session
        access_token = secrets.token_urlsafe(32)
        claims: dict[str, object] = {
            "iss": self._issuer,
            "sub": self._subject(client, session.learner),
            "aud": client.client_id,
            "exp": now + ID_TOKEN_LIFETIME,
            "iat": now,
            "auth_time": session.auth_time,
            "acr": code.request.acr,
            "amr": ["TestID"],
            "at_hash": b64url(hashlib.sha256(access_token.encode()).digest()[:16]),
            "jti": secrets.token_urlsafe(16),
            "locale": "nb",
            "nonce": code.request.nonce,
            "pid": session.learner.pid,
            "sid": session.session_id,
        }
        if code.request.representing:
            claims["authorization_details"] = [_representation(session.learner)]
        return {
            "access_token": access_token,
            "token_type": "Bearer",
            "expires_in": ID_TOKEN_LIFETIME,
            "id_token": self._signed(claims),
            "scope": "openid",
        }

    def redeem(self, form: Mapping[str, str], client: Client) -> Code:
        """What a code stands for that ``client`` shows (RFC 6749, section 4.1.3; RFC 7636, section 4.6); once.

        Raises:
            OAuthError: ``invalid_grant``.
        """
        code = self._codes.take(form.get("code", ""))
        if code is None or code.request.client.client_id != client.client_id:
            raise OAuthError("invalid_grant", "the code is unknown, used or too old")
        if form.get("redirect_uri") != code.request.redirect_uri:
            raise OAuthError("invalid_grant", "redirect_uri is not the one of the authentication request")
        challenge = b64url(sha256(form.get("code_verifier", "").encode("utf-8", "replace")))
        if not hmac.compare_digest(challenge, code.request.code_challenge):
            raise OAuthError("invalid_grant", "code_verifier does not fit code_challenge")
        return code

    def _subject(self, client: Client, learner: Learner) -> str:
        message = f"{client.organisation}\0{learner.pid}".encode()
        return b64url(hmac.digest(self._pairwise_salt, message, "sha256"))

    def _signed(self, claims: Mapping[str, object]) -> str:
        return jwt.encode({"alg": "RS256", "kid": self._key_id}, dict(claims), self._key, algorithms=["RS256"])

    def _asserted(
        self, assertion: str, audiences: set[str], *, error: str = "invalid_grant"
    ) -> tuple[Client, dict[str, Any]]:
        """The client that signed ``assertion``, and its claims (RFC 7523, section 3)."""
        status = 401 if error == "invalid_client" else 400
        try:
            unverified = json.loads(from_b64url(assertion.split(".")[1]))
            client = self._clients[unverified["iss"]]
            key = import_key(client.public_jwk)
            algorithm = "RS256" if isinstance(key, RSAKey) else "ES256"
            token = jwt.decode(assertion, key, algorithms=[algorithm])
            claims = token.claims
            if token.header.get("kid") != client.public_jwk["kid"]:
                raise OAuthError(error, "kid is not the key that is registered", status)
            issued, expires = int(claims["iat"]), int(claims["exp"])
        except (IndexError, KeyError, TypeError, ValueError, VitneError, JoseError):
            raise OAuthError(error, "the assertion is not signed by a known client's key", status) from None
        now = self._clock.now().timestamp()
        if claims.get("aud") not in audiences:
            raise OAuthError(error, f"aud must be {self._issuer}", status)
        if expires - issued > ASSERTION_AT_MOST or issued > now + LEEWAY or now >= expires + LEEWAY:
            raise OAuthError(error, f"iat or exp is out of range; at most {ASSERTION_AT_MOST} s apart", status)
        name = (client.client_id, str(claims.get("jti", "")))
        self._used_assertions = {one: until for one, until in self._used_assertions.items() if until > now}
        if not name[1] or name in self._used_assertions:
            raise OAuthError(error, "jti is missing or was used before", status)
        self._used_assertions[name] = expires + LEEWAY
        return client, claims


def _authentication(client: Client, redirect_uri: str, query: Mapping[str, str]) -> Authentication:
    if query.get("response_type") != "code":
        raise OAuthError("unsupported_response_type", "response_type must be code")
    if "openid" not in query.get("scope", "").split():
        raise OAuthError("invalid_scope", "scope must have openid")
    if query.get("code_challenge_method") != "S256" or len(query.get("code_challenge", "")) != 43:
        raise OAuthError("invalid_request", "PKCE with S256 is required (RFC 7636)")
    if not query.get("state") or not query.get("nonce"):
        raise OAuthError("invalid_request", "state and nonce are required")
    acr = query.get("acr_values", SUBSTANTIAL)
    if acr not in LEVELS_OF_ASSURANCE:
        raise OAuthError("invalid_request", f"acr_values must be one of {', '.join(LEVELS_OF_ASSURANCE)}")
    return Authentication(
        client,
        redirect_uri,
        query["state"],
        query["nonce"],
        query["code_challenge"],
        acr,
        _representing(query.get("authorization_details", "")),
        frozenset(query["scope"].split()),
    )


def _representing(details: str) -> bool:
    """Whether one organisation to act for is asked for (RFC 9396)."""
    if not details:
        return False
    try:
        (entry,) = json.loads(details)
        if entry["type"] != REPRESENTATION:
            raise ValueError("another type")
    except (TypeError, ValueError, KeyError):
        raise OAuthError("invalid_authorization_details", f"one entry of type {REPRESENTATION} is expected") from None
    return True


def _system_user(client: Client, details: object) -> list[dict[str, object]]:
    """What Altinn has on the system user that is asked for (RFC 9396)."""
    try:
        entries: list[dict[str, Any]] = details if isinstance(details, list) else []
        (entry,) = entries
        organisation = OrganisationId.parse(entry["systemuser_org"]["ID"])
        if entry["type"] != SYSTEM_USER:
            raise ValueError("another type")
    except (TypeError, ValueError, KeyError, InvalidArgument):
        raise OAuthError("invalid_authorization_details", f"one entry of type {SYSTEM_USER} is expected") from None
    for user in client.system_users:
        if user.organisation == str(organisation):
            return [
                {
                    "type": SYSTEM_USER,
                    "systemuser_org": _identifier(user.organisation),
                    "systemuser_id": list(user.user_ids),
                    "system_id": user.system_id,
                }
            ]
    raise OAuthError("invalid_authorization_details", "the customer has no system user for this client")


def _representation(person: Learner) -> dict[str, object]:
    """For whom a person acts, in an ID token."""
    party = {"Authority": ISO6523, "ID": person.represents, "Name": person.organisation_name}
    return {"type": REPRESENTATION, "resource": "urn:vitne:employer", "reportees": [party]}


def _organisation(value: object) -> str:
    """``consumer_org``: nine digits at Maskinporten; here also with a scheme, for neighbours."""
    text = str(value)
    try:
        return str(OrganisationId.parse(text if ":" in text else f"0192:{text}"))
    except InvalidArgument:
        raise OAuthError("invalid_grant", "consumer_org is no organisation") from None


def _identifier(organisation: str) -> dict[str, str]:
    return {"authority": ISO6523, "ID": organisation}


async def read_form(request: Request) -> dict[str, str]:
    """Parameters of a request to the token endpoint, or of a form.

    Raises:
        OAuthError: ``invalid_request``.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > FORM_LIMIT:
            raise OAuthError("invalid_request", "the form is too large", 413)
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, strict_parsing=True, max_num_fields=20)
    except ValueError:
        raise OAuthError("invalid_request", "the body is no form") from None
    if len({name for name, _ in pairs}) != len(pairs):
        raise OAuthError("invalid_request", "a parameter is repeated")  # RFC 6749, section 3.2
    return dict(pairs)


def _redirect(target: str, query: Mapping[str, str]) -> Response:
    separator = "&" if urlsplit(target).query else "?"
    address = f"{target}{separator}{urlencode(query)}" if query else target
    return RedirectResponse(address, status_code=303, headers=HEADERS)


def _page(text: str, status: int = 200) -> Response:
    return HTMLResponse(text, status_code=status, headers=_PAGE_HEADERS)
