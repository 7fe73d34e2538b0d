"""How learners log in: OpenID Connect's code flow with PKCE, as a client of one provider."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Final
from urllib.parse import urlencode, urlsplit
from uuid import UUID

from services.portal.providers import Provider
from vitne.canonical import b64url
from vitne.errors import Unauthenticated, VitneError
from vitne.runtime.identity import LearnerIdentity, post_form

#: Random bytes that a log-in attempt is made from.
ATTEMPT_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """A log-in that was completed.

    Attributes:
        purpose: what it was begun for, as :meth:`OpenIdClient.begin` was told.
        learner: who.
        id_token: as the provider gave it; lives for two minutes, is never stored.
        subject: what the act is about that is confirmed by it, as the session noted when it was begun.
    """

    purpose: str
    learner: LearnerIdentity
    id_token: str
    subject: UUID | None = None


class OpenIdClient:
    """The portal's side of the code flow (OpenID Connect Core 1.0, section 3.1; RFC 7636; RFC 9700).

    State, nonce and code verifier are derived from one secret that only the learner's
    browser keeps, in a cookie: an answer is good in the browser that asked, for the
    purpose that it asked for, and nothing has to be remembered here.

    Args:
        provider: with whom.
        redirect_uri: where the provider sends learners back to; each provider has its own (RFC 9700, section 4.4.2).
    """

    def __init__(self, provider: Provider, redirect_uri: str) -> None:
        self._provider = provider
        self._issuer = provider.issuer
        self._redirect_uri = redirect_uri

    @property
    def name(self) -> str:
        """The provider's, in addresses of ours."""
        return self._provider.name

    async def begin(self, purpose: str, authorization_details: str = "", *, anew: bool = False) -> tuple[str, str]:
        """Where to send the learner, and the cookie that her browser has to bring back.

        Args:
            purpose: what she is asked to log in for; letters and underscores.
            authorization_details: what she is to show besides who she is (RFC 9396), as JSON; empty: nothing.
            anew: whether the provider has to ask her even if it knows her still (OpenID Connect Core 1.0,
                section 3.1.2.1, ``prompt``), and to say when it did.

        Raises:
            Unavailable: ``IDENTITY_ISSUER_UNREACHABLE``.
        """
        endpoint = await self._issuer.endpoint("authorization_endpoint")
        attempt = f"{purpose}.{self.name}.{secrets.token_urlsafe(ATTEMPT_BYTES)}"
        query = {
            **self._provider.asks(),
            "client_id": self._provider.client_id,
            "redirect_uri": self._redirect_uri,
            "response_type": "code",
            "state": _derived(attempt, "state"),
            "nonce": _derived(attempt, "nonce"),
            "code_challenge": b64url(sha256(_derived(attempt, "verifier").encode()).digest()),
            "code_challenge_method": "S256",
        }
        if anew:
            # `max_age`, so that the ID token has to say when it asked (section 2, `auth_time`).
            query |= {"prompt": "login", "max_age": "0"}
        if authorization_details:
            query["authorization_details"] = authorization_details
        return f"{endpoint}?{urlencode(query)}", attempt

    async def complete(self, attempt: str, answer: Mapping[str, str]) -> LoggedIn:
        """The learner who came back with ``answer``, the query of the redirect.

        Raises:
            Unauthenticated: ``LOG_IN_FOREIGN`` (another browser's answer, or another provider's),
                ``LOG_IN_REFUSED`` (the provider or the learner said no), ``CLIENT_REFUSED``, and what
                :meth:`~services.portal.providers.Provider.learner` raises.
            Unavailable: ``TOKEN_ENDPOINT_UNREACHABLE``, ``IDENTITY_ISSUER_UNREACHABLE``.
        """
        purpose, _, rest = attempt.partition(".")
        state = answer.get("state", "")
        ours = rest.startswith(f"{self.name}.") and hmac.compare_digest(
            state.encode(), _derived(attempt, "state").encode()
        )
        if not ours or answer.get("iss", self._issuer.url) != self._issuer.url:  # RFC 9207 for `iss`
            raise Unauthenticated("LOG_IN_FOREIGN", "the answer is not to this browser's log-in", remedy="log in again")
        if "error" in answer or not answer.get("code"):
            raise Unauthenticated("LOG_IN_REFUSED", "the provider did not log the learner in", remedy="log in again")
        tokens = await post_form(
            await self._issuer.endpoint("token_endpoint"),
            {
                "grant_type": "authorization_code",
                "code": answer["code"],
                "redirect_uri": self._redirect_uri,
                "code_verifier": _derived(attempt, "verifier"),
                **self._provider.credentials(),
            },
        )
        learner = await self._provider.learner(tokens, _derived(attempt, "nonce"))
        return LoggedIn(purpose, learner, str(tokens.get("id_token", "")))

    async def log_out_url(self, back: str) -> str:
        """Where to send a learner who logs out, so that the provider forgets her too; ``back`` if it can't."""
        try:
            endpoint = await self._issuer.endpoint("end_session_endpoint")
        except VitneError:
            return back
        return f"{endpoint}?{urlencode({'client_id': self._provider.client_id, 'post_logout_redirect_uri': back})}"

    async def origins(self) -> list[str]:
        """Origins that forms end up at by way of a redirect: browsers hold a page's ``form-action`` against them."""
        try:
            endpoints = [
                await self._issuer.endpoint(name) for name in ("authorization_endpoint", "end_session_endpoint")
            ]
        except VitneError:
            return []
        return sorted({"{0.scheme}://{0.netloc}".format(urlsplit(endpoint)) for endpoint in endpoints})


def _derived(attempt: str, use: str) -> str:
    """43 characters that nobody without the attempt's secret can guess."""
    return b64url(hmac.digest(attempt.encode(), b"vitne/portal/log-in/v1\x00" + use.encode(), sha256))
