"""With whom learners log in: ID-porten, and Feide. What the two do differently, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from vitne.clock import Clock
from vitne.errors import InvalidArgument, Unauthenticated
from vitne.identifiers import NORWEGIAN_NATIONAL_ID, LearnerId
from vitne.runtime.identity import (
    CLIENT_ASSERTION,
    OPENID_METADATA,
    SUBSTANTIAL,
    ClientKey,
    IdTokenVerifier,
    Issuer,
    LearnerIdentity,
    authenticated_at,
    fetch_claims,
    read_id_token,
)

#: Names of the providers, as addresses of ours have them.
ID_PORTEN: Final = "id-porten"
FEIDE: Final = "feide"
#: Where Feide's ``userinfo`` has the national identity number (docs.feide.no, Reference: User IDs), and the
#: attribute group that opens it.
FEIDE_NUMBER_CLAIM: Final = "https://n.feide.no/claims/nin"
FEIDE_SCOPE: Final = "openid userid-nin"


class Provider(Protocol):
    """An OpenID provider as the code flow needs it.

    Attributes:
        name: in addresses of ours.
        issuer: its metadata.
        client_id: ours there.
    """

    name: str
    issuer: Issuer
    client_id: str

    def asks(self) -> Mapping[str, str]:
        """What it is asked for: parameters of the authentication request beside those of the flow."""
        ...

    def credentials(self) -> Mapping[str, str]:
        """Parameters by which our client shows the token endpoint who it is."""
        ...

    async def learner(self, tokens: Mapping[str, Any], nonce: str) -> LearnerIdentity:
        """Who the token endpoint's answer says has logged in.

        Raises:
            Unauthenticated: the tokens don't hold, or name no learner.
            Unavailable: the provider is out of reach.
        """
        ...


class IdPorten:
    """ID-porten: ``private_key_jwt``, at least ``idporten-loa-substantial``, the number in the ID token.

    Args:
        url: issuer identifier.
        key: our client.
        clock: for assertions and tokens.
        allow_http: see :class:`~vitne.runtime.identity.Issuer`.
    """

    name = ID_PORTEN

    def __init__(self, url: str, key: ClientKey, clock: Clock, *, allow_http: bool) -> None:
        self.issuer = Issuer(url, clock, document=OPENID_METADATA, allow_http=allow_http)
        self.client_id = key.client_id
        self._verifier = IdTokenVerifier(url, clock, allow_http=allow_http)
        self._key = key
        self._clock = clock

    def asks(self) -> Mapping[str, str]:
        return {"scope": "openid", "acr_values": SUBSTANTIAL}

    def credentials(self) -> Mapping[str, str]:
        return {
            "client_assertion_type": CLIENT_ASSERTION,
            "client_assertion": self._key.assertion(self.issuer.url, self._clock, sub=self.client_id),
        }

    async def learner(self, tokens: Mapping[str, Any], nonce: str) -> LearnerIdentity:
        return await self._verifier.verify(
            str(tokens.get("id_token", "")), audience=self.client_id, nonce=nonce, minimum_acr=SUBSTANTIAL
        )


@dataclass(frozen=True, slots=True)
class FeideClient:
    """Our client at Feide, and what is asked for there. ``repr`` never shows the secret.

    Attributes:
        url: issuer identifier.
        client_id: its name.
        secret: as Feide's customer portal gave it.
        scope: attribute groups, with the one that opens the number.
        number_claim: where ``userinfo`` has the number.
        acr: the level of assurance that is asked for and held against ``acr``; empty: none, where Feide has none.
    """

    url: str
    client_id: str
    secret: str
    scope: str = FEIDE_SCOPE
    number_claim: str = FEIDE_NUMBER_CLAIM
    acr: str = ""

    def __repr__(self) -> str:
        return f"FeideClient({self.client_id!r})"


class Feide:
    """Feide: a client secret, and the number from ``userinfo`` (OpenID Connect Core 1.0, section 5.3).

    Args:
        client: ours there.
        clock: for tokens.
        allow_http: see :class:`~vitne.runtime.identity.Issuer`.
    """

    name = FEIDE

    def __init__(self, client: FeideClient, clock: Clock, *, allow_http: bool) -> None:
        self.issuer = Issuer(client.url, clock, document=OPENID_METADATA, allow_http=allow_http)
        self.client_id = client.client_id
        self._client = client
        self._clock = clock

    def asks(self) -> Mapping[str, str]:
        return {"scope": self._client.scope} | ({"acr_values": self._client.acr} if self._client.acr else {})

    def credentials(self) -> Mapping[str, str]:
        return {"client_id": self.client_id, "client_secret": self._client.secret}

    async def learner(self, tokens: Mapping[str, Any], nonce: str) -> LearnerIdentity:
        claims = await read_id_token(
            str(tokens.get("id_token", "")), self.issuer, self._clock, audience=self.client_id, nonce=nonce
        )
        acr = str(claims.get("acr", ""))
        if self._client.acr and acr != self._client.acr:
            raise Unauthenticated(
                "TOKEN_ASSURANCE",
                "the learner logged in with another level of assurance",
                rule=f"acr is {self._client.acr}",
                remedy="log in with ID-porten",
            )
        told = await fetch_claims(await self.issuer.endpoint("userinfo_endpoint"), str(tokens.get("access_token", "")))
        subject = claims.get("sub")
        # Another's answer would make her another (section 5.3.2).
        if not isinstance(subject, str) or not subject or told.get("sub") != subject:
            raise Unauthenticated("TOKEN_NO_LEARNER", "userinfo is not about who logged in", remedy="log in again")
        try:
            learner = LearnerId.parse(NORWEGIAN_NATIONAL_ID, str(told.get(self._client.number_claim, "")))
        except InvalidArgument:
            raise Unauthenticated(
                "NO_NATIONAL_NUMBER",
                "the provider does not say the learner's national identity number",
                remedy="log in with ID-porten",
            ) from None
        return LearnerIdentity(learner.scheme, learner.value, acr, subject, authenticated_at(claims))
