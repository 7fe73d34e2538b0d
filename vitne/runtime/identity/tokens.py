"""Verification of what callers and learners show: Maskinporten's access tokens and ID-porten's ID tokens.

A refusal names what is wrong, never what the token says: tokens and their claims
are kept out of errors, logs and traces.
"""

from __future__ import annotations

import hmac
import json
from collections import OrderedDict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from joserfc import jws
from joserfc.errors import JoseError

from vitne.canonical import from_b64url, sha256
from vitne.clock import Clock
from vitne.errors import InvalidArgument, Unauthenticated
from vitne.identifiers import NORWEGIAN_NATIONAL_ID, LearnerId, OrganisationId
from vitne.runtime.identity.caller import Caller
from vitne.runtime.identity.issuer import ALGORITHMS, OPENID_METADATA, Issuer

#: Seconds by which an issuer's clock may differ from ours.
LEEWAY: Final = 10.0
#: Characters of a token, at most: real ones have about a thousand.
TOKEN_LIMIT: Final = 16_384
#: Characters of a person's name in a token, at most (OpenID Connect Core, section 2).
SUBJECT_LIMIT: Final = 255
#: Verified tokens that are remembered, so that a hot client costs one signature a token and not one a call.
CACHE_SIZE: Final = 10_000
#: Seconds for which a verified token is remembered, at most: how long a key that
#: its issuer has withdrawn may go on counting.
CACHE_AT_MOST: Final = 600.0

#: ``authority`` of the identifiers in Maskinporten's claims.
ISO6523: Final = "iso6523-actorid-upis"
#: Type of the authorization details (RFC 9396) that make a system-user token.
SYSTEM_USER: Final = "urn:altinn:systemuser"

LOW: Final = "idporten-loa-low"
SUBSTANTIAL: Final = "idporten-loa-substantial"
HIGH: Final = "idporten-loa-high"
#: ID-porten's levels of assurance, weakest first.
LEVELS_OF_ASSURANCE: Final = (LOW, SUBSTANTIAL, HIGH)

#: The year 9999, in seconds since 1970: what is later, or not a number, is no instant.
_LATEST: Final = 253_402_300_799
_REGISTRY: Final = jws.JWSRegistry(algorithms=list(ALGORITHMS), strict_check_header=False)
_NEW_TOKEN: Final = "ask the issuer for a new token"  # noqa: S105  (advice, not a secret)


class TokenVerifier:
    """Verifies Maskinporten access tokens (RFC 9068 where Maskinporten follows it).

    A token says for whom the call is made in one of three ways:

    * ``consumer`` alone: that organisation itself;
    * ``consumer`` with ``supplier`` and ``delegation_source``: the consumer, who has delegated the scope;
    * ``authorization_details`` of type ``urn:altinn:systemuser``: the customer in
      ``systemuser_org``, through the system of the vendor in ``consumer``.

    Args:
        issuer: issuer identifier, as in ``iss``.
        audience: what must stand in ``aud``: the resource that callers asked for (RFC 8707).
        clock: what the time claims are held against.
        allow_http: see :class:`~vitne.runtime.identity.issuer.Issuer`.
    """

    def __init__(self, issuer: str, audience: str, clock: Clock, *, allow_http: bool = False) -> None:
        self._issuer = Issuer(issuer, clock, allow_http=allow_http)
        self._audience = audience
        self._clock = clock
        self._verified: OrderedDict[bytes, tuple[float, Caller]] = OrderedDict()

    async def verify(self, token: str) -> Caller:
        """The caller that ``token`` stands for.

        Raises:
            Unauthenticated: ``TOKEN_MALFORMED``, ``TOKEN_TYPE``, ``TOKEN_ALGORITHM``, ``TOKEN_FOREIGN_ISSUER``,
                ``TOKEN_UNKNOWN_KEY``, ``TOKEN_BAD_SIGNATURE``, ``TOKEN_EXPIRED``, ``TOKEN_NOT_YET_VALID``,
                ``TOKEN_AUDIENCE``, ``TOKEN_NO_CONSUMER``, ``TOKEN_NO_CLIENT``, ``TOKEN_DELEGATION``.
            Unavailable: ``IDENTITY_ISSUER_UNREACHABLE``.
        """
        now = self._clock.now().timestamp()
        digest = sha256(token.encode("utf-8", "surrogatepass"))
        if (known := self._verified.get(digest)) is not None:
            until, caller = known
            if now < until:
                return caller
            del self._verified[digest]
        claims = await verified_claims(token, self._issuer, types=("", "jwt", "at+jwt", "application/at+jwt"))
        expires = check_times(claims, now)
        check_audience(claims, self._audience)
        caller = _caller(claims)
        self._verified[digest] = (min(expires + LEEWAY, now + CACHE_AT_MOST), caller)
        if len(self._verified) > CACHE_SIZE:
            self._verified.popitem(last=False)
        return caller


@dataclass(frozen=True, slots=True)
class LearnerIdentity:
    """A learner who has logged in. ``repr`` shows neither the number nor the subject.

    Attributes:
        scheme: scheme of ``value``.
        value: the learner's identifier: personal data.
        acr: level of assurance of the log-in.
        subject: the provider's pairwise name for the learner, for this client.
        authenticated_at: when the provider last asked the learner to show who that is (``auth_time``, OpenID Connect
            Core 1.0, section 2); None: it does not say.
    """

    scheme: str
    value: str = field(repr=False)
    acr: str
    subject: str = field(repr=False)
    authenticated_at: datetime | None = None

    @property
    def learner(self) -> LearnerId:
        """The learner's identifier."""
        return LearnerId(self.scheme, self.value)


class IdTokenVerifier:
    """Verifies ID-porten's ID tokens (OpenID Connect Core 1.0, section 3.1.3.7).

    Args:
        issuer: issuer identifier, as in ``iss``.
        clock: what the time claims are held against.
        allow_http: see :class:`~vitne.runtime.identity.issuer.Issuer`.
    """

    def __init__(self, issuer: str, clock: Clock, *, allow_http: bool = False) -> None:
        self._issuer = Issuer(issuer, clock, document=OPENID_METADATA, allow_http=allow_http)
        self._clock = clock

    async def verify(
        self, token: str, *, audience: str, minimum_acr: str = SUBSTANTIAL, nonce: str | None = None
    ) -> LearnerIdentity:
        """The learner that ``token`` stands for.

        Args:
            token: the ID token, compact form.
            audience: client id that it must have been made for.
            minimum_acr: the weakest level of assurance that will do.
            nonce: what was sent with the authentication request; None where another party sent it.

        Raises:
            Unauthenticated: those of :meth:`TokenVerifier.verify` that apply, ``TOKEN_NONCE``, ``TOKEN_ASSURANCE``,
                ``TOKEN_NO_LEARNER``.
            Unavailable: ``IDENTITY_ISSUER_UNREACHABLE``.
        """
        claims = await read_id_token(token, self._issuer, self._clock, audience=audience, nonce=nonce)
        acr = _text(claims, "acr")
        required = LEVELS_OF_ASSURANCE.index(minimum_acr)
        if acr not in LEVELS_OF_ASSURANCE or LEVELS_OF_ASSURANCE.index(acr) < required:
            raise Unauthenticated(
                "TOKEN_ASSURANCE",
                "the learner logged in with too low a level of assurance, or an unknown one",
                rule=f"acr at least {minimum_acr}",
                remedy=f"log in with acr_values={minimum_acr}",
            )
        subject = _text(claims, "sub")
        try:
            learner = LearnerId.parse(NORWEGIAN_NATIONAL_ID, _text(claims, "pid"))
        except InvalidArgument:
            learner = None
        if learner is None or not subject:
            raise Unauthenticated(
                "TOKEN_NO_LEARNER", "the ID token names no learner", rule="claims sub and pid", remedy=_NEW_TOKEN
            )
        return LearnerIdentity(learner.scheme, learner.value, acr, subject, authenticated_at(claims))


def authenticated_at(claims: Mapping[str, Any]) -> datetime | None:
    """What ``auth_time`` says; None where it says nothing that is a time."""
    seconds = claims.get("auth_time")
    if type(seconds) is not int:  # a bool is no time
        return None
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, OSError, ValueError):
        return None


async def read_id_token(
    token: str, issuer: Issuer, clock: Clock, *, audience: str, nonce: str | None
) -> dict[str, Any]:
    """Claims of an ID token of any provider's (OpenID Connect Core 1.0, section 3.1.3.7).

    Args:
        token: compact form.
        issuer: who made it.
        clock: what its times are held against.
        audience: client id that it must have been made for.
        nonce: what was sent with the authentication request; None where another party sent it.

    Raises:
        Unauthenticated: those of :meth:`TokenVerifier.verify` that apply, ``TOKEN_NONCE``.
        Unavailable: ``IDENTITY_ISSUER_UNREACHABLE``.
    """
    claims = await verified_claims(token, issuer, types=("", "jwt"))
    check_times(claims, clock.now().timestamp())
    check_audience(claims, audience, authorised_party=True)
    if nonce is not None and not hmac.compare_digest(_text(claims, "nonce").encode(), nonce.encode()):
        raise Unauthenticated("TOKEN_NONCE", "the ID token answers another log-in", remedy="log in again")
    return claims


async def verified_claims(token: str, issuer: Issuer, *, types: Collection[str]) -> dict[str, Any]:
    """Claims of a signed JWT of ``issuer``: form, type, algorithm, issuer and signature hold; nothing else is checked.

    The issuer is compared before its keys are asked for, so that a token of somebody
    else's costs no request.
    """
    header, claims = _parse(token)
    if str(header.get("typ", "")).lower() not in types:
        raise Unauthenticated("TOKEN_TYPE", "a token of another kind is expected here", remedy=_NEW_TOKEN)
    algorithm = header.get("alg")
    # The list decides, never the token: `none` and the HMACs are simply not on it (RFC 8725, section 3.1).
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise Unauthenticated(
            "TOKEN_ALGORITHM",
            "the token's signature algorithm is not accepted",
            rule=f"one of {', '.join(ALGORITHMS)}",
            remedy=_NEW_TOKEN,
        )
    if "crit" in header:  # RFC 7515, section 4.1.11: none is understood here
        raise Unauthenticated("TOKEN_TYPE", "the token has critical headers that are not known here", remedy=_NEW_TOKEN)
    if claims.get("iss") != issuer.url:
        raise Unauthenticated(
            "TOKEN_FOREIGN_ISSUER",
            "the token's issuer is not the one trusted here",
            rule=f"iss is {issuer.url}",
            remedy="ask that issuer for a token",
        )
    key_id = header.get("kid")
    if not isinstance(key_id, str):
        raise Unauthenticated("TOKEN_UNKNOWN_KEY", "the token does not name its key", remedy=_NEW_TOKEN)
    key = await issuer.key(key_id, algorithm)
    try:
        jws.deserialize_compact(token, key, registry=_REGISTRY)
    except (JoseError, ValueError) as error:
        raise Unauthenticated(
            "TOKEN_BAD_SIGNATURE", "the token's signature does not hold", remedy=_NEW_TOKEN
        ) from error
    return claims


def check_times(claims: Mapping[str, Any], now: float) -> float:
    """Hold ``exp``, ``nbf`` and ``iat`` against ``now`` (seconds since 1970); answers ``exp``."""
    expires = _instant(claims, "exp")
    if expires is None:
        raise _malformed("the token does not say when it expires")
    if now >= expires + LEEWAY:
        raise Unauthenticated("TOKEN_EXPIRED", "the token has expired", remedy=_NEW_TOKEN)
    for name in ("nbf", "iat"):
        moment = _instant(claims, name)
        if moment is not None and moment > now + LEEWAY:
            raise Unauthenticated(
                "TOKEN_NOT_YET_VALID", "the token is not valid yet", remedy="check the clocks on both sides"
            )
    return expires


def check_audience(claims: Mapping[str, Any], audience: str, *, authorised_party: bool = False) -> None:
    """Demand ``audience`` in ``aud``; with ``authorised_party`` also in ``azp``, where that is given or needed."""
    named = claims.get("aud")
    audiences = [named] if isinstance(named, str) else named if isinstance(named, list) else []
    party = claims.get("azp", None if len(audiences) > 1 else audience)
    if audience not in audiences or (authorised_party and party != audience):
        raise Unauthenticated(
            "TOKEN_AUDIENCE",
            "the token was made for somebody else",
            rule=f"aud is {audience}",
            remedy=f"ask the issuer for a token with {audience} as its resource",
        )


def _parse(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    parts = token.split(".") if len(token) <= TOKEN_LIMIT else []
    if len(parts) != 3:
        raise _malformed("the token is no signed JWT in compact form")
    try:
        header, claims = (json.loads(from_b64url(part)) for part in parts[:2])
    except (InvalidArgument, ValueError, RecursionError):
        # The cause is dropped on purpose: it would quote the token.
        raise _malformed("the token's header or claims can't be read") from None
    if not isinstance(header, dict) or not isinstance(claims, dict):
        raise _malformed("the token's header or claims are no JSON object")
    return header, claims


def _caller(claims: Mapping[str, Any]) -> Caller:
    consumer = _organisation(claims.get("consumer"), "consumer")
    client_id = _text(claims, "client_id")
    if not client_id:
        raise Unauthenticated("TOKEN_NO_CLIENT", "the token does not name its client", remedy=_NEW_TOKEN)
    scopes = frozenset(_text(claims, "scope").split())
    subject = _subject(claims, client_id)
    details = claims.get("authorization_details")
    if details is not None:
        # Whoever holds such a token acts for a customer. Not to understand it must never
        # mean to act for the vendor instead.
        return Caller(_system_user(details), scopes, client_id, supplier=consumer, subject=subject)
    if "supplier" not in claims and "delegation_source" not in claims:
        return Caller(consumer, scopes, client_id, subject=subject)
    if not _text(claims, "delegation_source"):
        raise Unauthenticated(
            "TOKEN_DELEGATION", "the token does not say where its delegation is recorded", remedy=_NEW_TOKEN
        )
    supplier = _organisation(claims.get("supplier"), "supplier")
    return Caller(consumer, scopes, client_id, supplier=supplier, subject=subject)


def _subject(claims: Mapping[str, Any], client_id: str) -> str:
    """The person who acts (RFC 9068, section 2.2): ``sub`` is the client itself where no person has a part in it.

    Raises:
        Unauthenticated: ``TOKEN_MALFORMED``: a name that is too long to be one.
    """
    subject = _text(claims, "sub")
    if len(subject) > SUBJECT_LIMIT:
        raise _malformed("the token's claim 'sub' is too long")
    return "" if subject == client_id else subject


def _system_user(details: object) -> OrganisationId:
    entries = details if isinstance(details, list) else []
    users = [entry for entry in entries if isinstance(entry, dict) and entry.get("type") == SYSTEM_USER]
    if len(users) != 1 or len(entries) != 1:
        raise Unauthenticated(
            "TOKEN_DELEGATION",
            "the token's authorization details are not those of one system user",
            rule=f"one entry of type {SYSTEM_USER}",
            remedy="ask the issuer for a token for one customer",
        )
    return _organisation(users[0].get("systemuser_org"), "systemuser_org")


def _organisation(claim: object, name: str) -> OrganisationId:
    """An organisation as Maskinporten writes it: ``{"authority": "iso6523-actorid-upis", "ID": "0192:…"}``."""
    identifier = None
    if isinstance(claim, dict) and claim.get("authority") == ISO6523:
        # Altinn's documentation writes the member in both ways.
        identifier = claim.get("ID", claim.get("id"))
    try:
        return OrganisationId.parse(identifier if isinstance(identifier, str) else "")
    except InvalidArgument:
        raise Unauthenticated(
            "TOKEN_NO_CONSUMER" if name == "consumer" else "TOKEN_DELEGATION",
            f"the token's claim '{name}' names no organisation",
            rule=f"authority {ISO6523}, ID scheme:value",
            remedy=_NEW_TOKEN,
        ) from None


def _text(claims: Mapping[str, Any], name: str) -> str:
    value = claims.get(name)
    return value if isinstance(value, str) else ""


def _instant(claims: Mapping[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= _LATEST:
        raise _malformed(f"the token's claim '{name}' is no instant")
    return float(value)


def _malformed(message: str) -> Unauthenticated:
    return Unauthenticated("TOKEN_MALFORMED", message, rule="RFC 7519", remedy=_NEW_TOKEN)
