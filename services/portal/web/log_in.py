"""Logging in and out. What a log-in was for is decided when it is begun, and done when she is back."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final
from uuid import UUID

from fastapi import Request, Response

from services.portal.openid import LoggedIn, OpenIdClient
from services.portal.sealing import PortalKeys
from services.portal.web.frame import Frame
from services.portal.web.routes import Route
from vitne.errors import NotFound, PermissionDenied, Unauthenticated

#: Seconds in which a log-in has to be completed.
ATTEMPT_SECONDS: Final = 600
#: By how much the provider's clock may be behind ours.
CLOCKS_DIFFER: Final = timedelta(seconds=10)
ATTEMPT_COOKIE: Final = "vitne_log_in"
#: Only to see her page.
LOG_IN: Final = "log_in"


@dataclass(frozen=True, slots=True)
class Arrival:
    """What is done when a learner is back from a log-in that was begun for it.

    Attributes:
        act: with her lookup and the log-in; answers the path where she goes on, logged in; or all of the answer, where
            it was a log-in for something else than her own pages.
        same_learner: True: an act of who was logged in already, confirmed by a fresh log-in. Whoever comes back must
            be her.
    """

    act: Callable[[bytes, LoggedIn], Awaitable[str | Response]]
    same_learner: bool = True


class LogIn:
    """The pages of logging in and out.

    Args:
        frame: sessions and cookies.
        providers: clients of OpenID providers, in the order of the choice. What is confirmed by a log-in is confirmed
            with the first: ID-porten, whose level of assurance the issuer demands.
        keys: find a learner's rows.
    """

    def __init__(self, frame: Frame, providers: Sequence[OpenIdClient], keys: PortalKeys) -> None:
        self._frame = frame
        self._providers = {provider.name: provider for provider in providers}
        self._first = providers[0]
        self._keys = keys
        self._arrivals: dict[str, Arrival] = {}
        self.on_arrival(LOG_IN, Arrival(_to_her_page, same_learner=False))

    def on_arrival(self, purpose: str, arrival: Arrival) -> None:
        """Have log-ins for ``purpose`` (letters and underscores) end in ``arrival``."""
        self._arrivals[purpose] = arrival

    def routes(self) -> list[Route]:
        """``/login``, ``/callback`` and ``/logout``."""
        return [
            Route("GET", "/login", self.log_in),
            Route("GET", "/callback", self.callback, once=True),
            Route("GET", "/callback/{provider}", self.callback, once=True),
            Route("POST", "/logout", self.log_out),
        ]

    async def begin(
        self,
        request: Request,
        purpose: str,
        authorization_details: str = "",
        *,
        provider: OpenIdClient | None = None,
        subject: UUID | None = None,
    ) -> Response:
        """Off to a provider, for a purpose that :meth:`on_arrival` knows; see :meth:`.OpenIdClient.begin`.

        Args:
            request: of the learner.
            purpose: what she logs in for.
            authorization_details: as the provider takes them.
            provider: to which; the first unless one is given.
            subject: what an act is about that is confirmed by it; :attr:`.LoggedIn.subject` when she is back.
        """
        anew = self._arrivals[purpose].same_learner
        if anew:
            await self._frame.begin_confirming(request, subject)
        address, attempt = await (provider or self._first).begin(purpose, authorization_details, anew=anew)
        response = self._frame.redirect(address)
        self._frame.cookies.set(response, ATTEMPT_COOKIE, attempt, ATTEMPT_SECONDS)
        self._frame.remember_language(request, response)
        return response

    async def log_in(self, request: Request) -> Response:
        """Off to the provider; where there are several, to the one that ``with`` names, else to the choice."""
        chosen = self._providers.get(request.query_params.get("with", ""))
        if chosen is None and len(self._providers) > 1:
            return await self._frame.render(request, "log_in.html", providers=list(self._providers))
        return await self.begin(request, LOG_IN, provider=chosen)

    async def callback(self, request: Request) -> Response:
        """Back from a provider: each has an address of its own."""
        provider = self._providers.get(request.path_params.get("provider", self._first.name))
        if provider is None:
            raise NotFound("NO_SUCH_PAGE", "there is no such provider")
        attempt = request.cookies.get(self._frame.cookies.name(ATTEMPT_COOKIE), "")
        if not attempt and await self._frame.learner(request) is not None:
            # Her browser's way back leads over the address at which a log-in ended.
            return self._frame.redirect("/me")
        done = await provider.complete(attempt, dict(request.query_params.items()))
        # Acts are confirmed with the first provider, whatever a browser makes of its cookie.
        arrival = self._arrivals.get(done.purpose) if provider is self._first or done.purpose == LOG_IN else None
        if arrival is None:
            raise Unauthenticated("LOG_IN_FOREIGN", "the log-in was begun for nothing", remedy="log in again")
        lookup = self._keys.lookup(done.learner.learner)
        if arrival.same_learner:
            # Whoever confirms an act must be who pressed the button, not who logged in meanwhile.
            present = await self._frame.learner(request)
            if present is None or not hmac.compare_digest(present, lookup):
                raise PermissionDenied("OTHER_LEARNER", "another learner logged in than the one who was logged in")
            done = replace(done, subject=await self._require_anew(request, done))
        answer = await arrival.act(lookup, done)
        if isinstance(answer, str):
            response = self._frame.redirect(answer)
            await self._frame.open_session(request, response, lookup, provider.name)
        else:
            response = answer
        self._frame.cookies.delete(response, ATTEMPT_COOKIE)
        return response

    async def _require_anew(self, request: Request, done: LoggedIn) -> UUID | None:
        """The provider is asked, in her browser, to ask her anew: whoever sits there could leave that out. Answers what
        the act is about.
        """
        confirming, asked = await self._frame.confirming(request), done.learner.authenticated_at
        if confirming is None or asked is None or asked < confirming.since - CLOCKS_DIFFER:
            raise Unauthenticated(
                "LOG_IN_STALE",
                "the provider did not ask anew who logs in",
                rule="auth_time is not before the act was begun",
                remedy="log out, and begin again",
            )
        return confirming.subject

    async def log_out(self, request: Request) -> Response:
        """End the session here and at the provider that she logged in with."""
        lookup, _ = await self._frame.require_form(request)
        self._frame.recent.forget(lookup)
        provider = self._providers.get(await self._frame.close_session(request) or "", self._first)
        response = self._frame.redirect(await provider.log_out_url(f"{self._frame.public_url}/"))
        self._frame.forget_session(response)
        return response


async def _to_her_page(_lookup: bytes, _done: LoggedIn) -> str:
    return "/me"
