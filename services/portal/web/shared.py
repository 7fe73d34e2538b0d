"""What a recipient sees: a code to enter, then what is shared, checked now. Nobody is logged in here."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from fastapi import Request, Response

from services.portal.local_time import local_date
from services.portal.sharing import access
from services.portal.sharing.assembly import Sharing
from services.portal.sharing.checking import Checked
from services.portal.sharing.document import CREDENTIAL_TYPE, Line
from services.portal.sharing.store import Item
from services.portal.sharing.telling import Outcome, lines, tell
from services.portal.sharing.terms import MAX_WRONG_CODES, State, Terms, refusal, unknown
from services.portal.web.files import attachment
from services.portal.web.forms import read_form
from services.portal.web.frame import Frame
from services.portal.web.routes import Route
from vitne.clock import Clock

VISIT_COOKIE: Final = "vitne_visit"
#: How long somebody who gave the code may look without giving it again.
VISIT: Final = timedelta(hours=1)
#: Colour of each verdict's ground.
COLOURS: Final = {
    "valid": "success",
    "valid_with_notes": "success",
    "suspended": "warning",
    "revoked": "danger",
    "invalid": "danger",
    "not_determinable": "warning",
    "unchecked": "warning",
}
_WRONG_CODE: Final = 403
_NO_CODE: Final = 400


@dataclass(frozen=True, slots=True)
class Looked:
    """One credential as the recipient sees it.

    Attributes:
        title: None where it can't be read here.
        title_language: of ``title``.
        lines: labels and values.
        outcomes: what its learner knows and can do.
        checked: what may be believed of it.
        standing: of the rule that it was issued under, where that is not the law's.
    """

    title: str | None
    title_language: str | None
    lines: list[Line]
    outcomes: tuple[Outcome, ...]
    checked: Checked
    standing: str


class SharedPages:
    """The recipient's pages.

    Args:
        frame: what every page shares.
        sharing: shares, and the verifier.
        clock: what has ended.
    """

    def __init__(self, frame: Frame, sharing: Sharing, clock: Clock) -> None:
        self._frame = frame
        self._shares = sharing.shares
        self._checks = sharing.checks
        self._clock = clock
        self._tries = access.Tries()

    def routes(self) -> list[Route]:
        """``/s/{token}``, and each credential under it as a file."""
        return [
            Route("GET", "/s/{token}", self.look),
            Route("POST", "/s/{token}", self.enter),
            Route("GET", "/s/{token}/{number}", self.file),
        ]

    async def look(self, request: Request) -> Response:
        """What is shared, for a visitor who gave the code; the form for it, for others."""
        found = await self._visited(request)
        if found is None:
            return await self._ask(request)
        terms, items = found
        reader, today = self._frame.reader(request), local_date(self._clock.now())
        checked = await self._checks.check([item.artefact for item in items])
        looked = []
        for item, answer in zip(items, checked, strict=True):
            told = tell(item.artefact, reader.languages, today)
            looked.append(
                Looked(
                    told.shown.title if told else None,
                    told.shown.title_language if told else None,
                    lines(told, reader.texts) if told else [],
                    told.outcomes if told else (),
                    answer,
                    told.standing if told else "",
                )
            )
        return await self._frame.render(
            request,
            "shared.html",
            looked=looked,
            colours=COLOURS,
            address=request.url.path,
            expires_at=terms.expires_at,
        )

    async def enter(self, request: Request) -> Response:
        """The code: right, and the page opens; wrong, and it is counted; what can be no code is not."""
        token, now = _token(request), self._clock.now()
        code = (await read_form(request)).text("code")
        state = (await self._shares.find(token)).state(now)
        if state is not State.OPEN:
            raise refusal(state)
        if not access.is_code(code):
            return await self._ask(request, malformed=True)
        with self._tries.one(token):
            secret = await self._shares.enter(token, await access.derived(token, code), now, VISIT)
        if secret is None:
            left = MAX_WRONG_CODES - (await self._shares.find(token)).wrong_codes
            if left <= 0:
                raise refusal(State.LOCKED)
            return await self._ask(request, left)
        response = self._frame.redirect(self._frame.reader(request).link(request.url.path))
        self._frame.cookies.set(response, VISIT_COOKIE, secret, int(VISIT.total_seconds()))
        return response

    async def file(self, request: Request) -> Response:
        """A credential as it was presented, for machines."""
        found = await self._visited(request)
        if found is None:
            return self._frame.redirect(f"/s/{_token(request)}")
        _, items = found
        number = request.path_params["number"]
        if number not in {str(place) for place in range(1, len(items) + 1)}:
            raise unknown()
        return attachment(items[int(number) - 1].artefact.encode(), CREDENTIAL_TYPE, f"credential-{number}.sd-jwt")

    async def _visited(self, request: Request) -> tuple[Terms, tuple[Item, ...]] | None:
        secret = request.cookies.get(self._frame.cookies.name(VISIT_COOKIE), "")
        return await self._shares.visited(_token(request), secret, self._clock.now())

    async def _ask(self, request: Request, left: int | None = None, *, malformed: bool = False) -> Response:
        status = _NO_CODE if malformed else 200 if left is None else _WRONG_CODE
        return await self._frame.render(
            request, "share_code.html", status, left=left, malformed=malformed, address=request.url.path
        )


def _token(request: Request) -> str:
    token: str = request.path_params["token"]
    if len(token) != access.TOKEN_LENGTH:
        raise unknown()
    return token
