"""An employer's pages: who of its employees holds what, and what runs out when. Only what they said yes to."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final

from fastapi import Request, Response

from services.portal.employers.representation import REQUEST, Employer, employer_of
from services.portal.employers.store import INVITATION, Consent, Employers
from services.portal.local_time import local_date
from services.portal.openid import LoggedIn
from services.portal.presentation import Shown, show
from services.portal.sharing.telling import tell
from services.portal.web.forms import read_form
from services.portal.web.frame import Frame
from services.portal.web.log_in import Arrival, LogIn
from services.portal.web.routes import Route
from vitne.canonical import b64url
from vitne.clock import Clock
from vitne.errors import PermissionDenied

SESSION_COOKIE: Final = "vitne_employer"
#: Name of the field with which a form shows that it is this session's.
FORM_FIELD: Final = "employer_form"
#: How long somebody stays logged in for an employer.
LIFETIME: Final = timedelta(hours=1)
#: What a log-in is for.
PURPOSE: Final = "employer"


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the overview.

    Attributes:
        name: the employee's, as her credential has it; empty where it doesn't.
        shown: the credential.
        until: when the employer stops seeing it, unless she ends it before.
    """

    name: str
    shown: Shown
    until: datetime


class EmployerPages:
    """The employer's pages.

    Args:
        frame: what every page shares.
        log_in: at which it is shown for whom somebody acts.
        employers: invitations and consents.
        clock: what has ended.
    """

    def __init__(self, frame: Frame, log_in: LogIn, employers: Employers, clock: Clock) -> None:
        self._frame = frame
        self._log_in = log_in
        self._employers = employers
        self._clock = clock
        log_in.on_arrival(PURPOSE, Arrival(self._arrived, same_learner=False))

    def routes(self) -> list[Route]:
        """``/employer`` and below."""
        return [
            Route("GET", "/employer", self.team),
            Route("GET", "/employer/login", self.begin),
            Route("POST", "/employer/invitations", self.invite),
            Route("POST", "/employer/logout", self.log_out),
        ]

    async def team(self, request: Request) -> Response:
        """The overview; for who is not logged in for an employer, the way there."""
        employer = await self._employer(request)
        if employer is None:
            return await self._frame.render(request, "employer_front.html")
        return await self._page(request, employer)

    async def begin(self, request: Request) -> Response:
        """Off to the provider, to show for whom she acts."""
        return await self._log_in.begin(request, PURPOSE, REQUEST)

    async def invite(self, request: Request) -> Response:
        """A link for employees; it is in the answer, and nowhere else."""
        employer = await self._require_form(request)
        token = await self._employers.invite(employer, self._clock.now())
        return await self._page(request, employer, f"{self._frame.public_url}/invitation/{token}")

    async def log_out(self, request: Request) -> Response:
        """End the session here."""
        await self._require_form(request)
        await self._employers.close_session(self._secret(request))
        response = self._frame.redirect(self._frame.reader(request).link("/employer"))
        self._frame.cookies.delete(response, SESSION_COOKIE)
        return response

    async def _arrived(self, _lookup: bytes, done: LoggedIn) -> Response:
        """Whoever acts for an employer sees the employer's pages, and is not logged in as a learner by that."""
        employer = employer_of(done.id_token)
        secret = await self._employers.open_session(employer, self._clock.now(), LIFETIME)
        response = self._frame.redirect("/employer")
        self._frame.cookies.set(response, SESSION_COOKIE, secret, int(LIFETIME.total_seconds()))
        return response

    async def _page(self, request: Request, employer: Employer, invitation: str = "") -> Response:
        now = self._clock.now()
        languages = self._frame.reader(request).languages
        team, employees = await self._employers.team(employer, now)
        return await self._frame.render(
            request,
            "employer.html",
            employer=employer,
            rows=rows(team, languages, now),
            employees=employees,
            listed=len(team),
            invitation=invitation,
            invitation_days=INVITATION.days,
            form_token=self._token(request),
            form_field=FORM_FIELD,
        )

    async def _employer(self, request: Request) -> Employer | None:
        secret = self._secret(request)
        return await self._employers.session(secret, self._clock.now()) if secret else None

    async def _require_form(self, request: Request) -> Employer:
        employer = await self._employer(request)
        token = (await read_form(request)).text(FORM_FIELD)
        if employer is None or not hmac.compare_digest(token.encode(), self._token(request).encode()):
            raise PermissionDenied("FORGED_FORM", "the form is not one of this session's", remedy="reload the page")
        return employer

    def _secret(self, request: Request) -> str:
        return request.cookies.get(self._frame.cookies.name(SESSION_COOKIE), "")

    def _token(self, request: Request) -> str:
        return b64url(hmac.digest(self._secret(request).encode(), b"vitne/portal/employer-form/v1", sha256))


def rows(team: Sequence[Consent], languages: Sequence[str], now: datetime) -> list[Row]:
    """The overview's lines: what runs out first comes first, what never does last."""
    lines = []
    today = local_date(now)
    for consent in team:
        told = [tell(one.artefact, languages, today) for one in consent.credentials if one.artefact]
        name = next((one.name for one in told if one and one.name), "")
        lines += [Row(name, shown, consent.expires_at) for shown in show(consent.credentials, languages, today)]
    lines.sort(key=lambda line: (line.shown.expires_on or "9999", line.name, line.shown.title or "", line.shown.handle))
    return lines
