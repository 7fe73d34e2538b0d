"""An employee's yes to an employer: which credentials, for how long, who sees what, and its end."""

from __future__ import annotations

import re
from typing import Final

from fastapi import Request, Response

from services.portal.employers.store import Employers
from services.portal.grouping import by_years
from services.portal.local_time import local_date
from services.portal.openid import LoggedIn
from services.portal.presentation import show
from services.portal.sharing.access import TOKEN_LENGTH
from services.portal.sharing.terms import DEFAULT_LIFETIME, LIFETIMES, lifetime
from services.portal.store import Store
from services.portal.web.frame import INVITATION_COOKIE, Frame
from services.portal.web.log_in import Arrival, LogIn
from services.portal.web.routes import Route
from services.portal.web.sharing import MAX_PICKED, picked
from vitne.clock import Clock
from vitne.errors import NotFound
from vitne.identifiers import UuidFactory, parse_uuid

#: Her pages about employers.
ADDRESS: Final = "/me/employers"
#: What employers' links begin with.
INVITATION: Final = "/invitation"
#: What she logs in for.
INVITED: Final = "invitation"
#: For how long an invitation is remembered while she logs in.
INVITATION_SECONDS: Final = 3600
#: As ``sharing.access`` makes them, in base64url.
_TOKEN: Final = re.compile(rf"[A-Za-z0-9_-]{{{TOKEN_LENGTH}}}")


class ConsentPages:
    """An employee's pages about employers.

    Args:
        frame: what every page shares.
        log_in: who she is, on the way to an invitation.
        store: her credentials.
        employers: invitations and consents.
        clock: what has ended.
    """

    def __init__(self, frame: Frame, log_in: LogIn, store: Store, employers: Employers, clock: Clock) -> None:
        self._frame = frame
        self._log_in = log_in
        self._store = store
        self._employers = employers
        self._clock = clock
        self._new_id = UuidFactory(clock)
        log_in.on_arrival(INVITED, Arrival(_to_invitation, same_learner=False))

    def routes(self) -> list[Route]:
        """``/invitation``, and ``/me/employers`` and below."""
        return [
            Route("GET", INVITATION, self.back),
            Route("GET", f"{INVITATION}/{{token}}/login", self.begin_log_in),
            Route("GET", f"{INVITATION}/{{token}}", self.ask),
            Route("POST", f"{INVITATION}/{{token}}", self.give, max_body=MAX_PICKED),
            Route("GET", ADDRESS, self.overview),
            Route("POST", f"{ADDRESS}/{{consent}}/end", self.end),
        ]

    async def ask(self, request: Request) -> Response:
        """Who asks, and what she wants to let it see; who is not logged in is asked to be."""
        employer = await self._employers.inviter(_token(request), self._clock.now())
        lookup = await self._frame.learner(request)
        shown = []
        if lookup is not None:
            kept = await self._store.credentials(lookup)
            languages = self._frame.reader(request).languages
            shown = [one for one in show(kept, languages, local_date(self._clock.now())) if one.title is not None]
        return await self._frame.render(
            request,
            "invitation.html",
            employer=employer,
            known=lookup is not None,
            years=by_years(shown, lambda one: one, lambda _: False) if shown else [],
            address=request.url.path,
            lifetimes=LIFETIMES,
            default_lifetime=DEFAULT_LIFETIME,
        )

    async def begin_log_in(self, request: Request) -> Response:
        """Off to the provider, and back to the invitation, which her browser remembers meanwhile."""
        token = _token(request)
        await self._employers.inviter(token, self._clock.now())
        response = await self._log_in.begin(request, INVITED)
        self._frame.cookies.set(response, INVITATION_COOKIE, token, INVITATION_SECONDS)
        return response

    async def back(self, request: Request) -> Response:
        """Back from the log-in: on to the invitation, else to what employers see of her."""
        token = request.cookies.get(self._frame.cookies.name(INVITATION_COOKIE), "")
        response = self._frame.redirect(f"{INVITATION}/{token}" if _TOKEN.fullmatch(token) else ADDRESS)
        self._frame.cookies.delete(response, INVITATION_COOKIE)
        return response

    async def give(self, request: Request) -> Response:
        """Her yes. A second one to the same employer takes the place of the first."""
        lookup, form = await self._frame.require_form(request)
        now = self._clock.now()
        employer = await self._employers.inviter(_token(request), now)
        duration = lifetime(form.text("days"))
        own = [item.handle for item in picked(await self._store.credentials(lookup), form)]
        await self._employers.consent(lookup, self._new_id(), employer, own, now=now, lifetime=duration)
        return self._frame.redirect(ADDRESS)

    async def overview(self, request: Request) -> Response:
        """Which employers see what of hers."""
        lookup = await self._frame.require_learner(request)
        now, languages = self._clock.now(), self._frame.reader(request).languages
        consents = [
            (consent, show(consent.credentials, languages, local_date(now)))
            for consent in await self._employers.of_learner(lookup, now)
        ]
        return await self._frame.render(request, "consents.html", consents=consents)

    async def end(self, request: Request) -> Response:
        """End it at once."""
        lookup, _ = await self._frame.require_form(request)
        await self._employers.end(lookup, parse_uuid(request.path_params["consent"], field="consent"))
        return self._frame.redirect(ADDRESS)


def _token(request: Request) -> str:
    token: str = request.path_params["token"]
    if len(token) != TOKEN_LENGTH:
        raise NotFound("INVITATION_UNKNOWN", "there is no such invitation", remedy="ask the employer for a new one")
    return token


async def _to_invitation(_lookup: bytes, _done: LoggedIn) -> str:
    return INVITATION
