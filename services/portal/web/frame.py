"""What every page shares: who is logged in, the reader's language, rendering, forms that nobody can forge."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Iterable
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode
from uuid import UUID

from fastapi import Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from services.portal.local_time import local_day_text, local_time_text, machine_time
from services.portal.presentation import day_text, decimal_text, unit_name
from services.portal.recent import RecentPages
from services.portal.sessions import Confirming, Sessions
from services.portal.web import headers
from services.portal.web.assets import STYLE_ADDRESS
from services.portal.web.cookies import Cookies
from services.portal.web.forms import Form, read_form
from services.portal.web.navigation import ENTRIES
from services.portal.web.reader import COOKIE, PARAMETER, Reader, reader_of, switches
from vitne.canonical import b64url
from vitne.clock import Clock
from vitne.errors import PermissionDenied, Unauthenticated

#: Keeps the link and the code of a share in the browser of who made them.
MADE_COOKIE: Final = "vitne_share_made"
#: Keeps an EMREX request in the browser while she logs in; nothing in it is believed.
REQUEST_COOKIE: Final = "vitne_emrex"
#: Keeps an employer's invitation in the browser while she logs in.
INVITATION_COOKIE: Final = "vitne_invitation"
#: Keeps an offer to a wallet, and the code that it asks for, in the browser of who made it.
WALLET_COOKIE: Final = "vitne_wallet_offer"
SESSION_COOKIE: Final = "vitne_session"
#: The query's parameter by which the front page says that she is not logged in any more.
LOGGED_OUT: Final = "logged_out"
#: Name of the field with which a form shows that it is this session's.
CSRF_FIELD: Final = "csrf_token"
#: How long a chosen language is remembered.
_LANGUAGE_SECONDS: Final = 365 * 86_400
#: The tag of a text whose language nobody told (BCP 47, section 2.2.1).
_UNDETERMINED: Final = "und"
_TEMPLATES: Final = Path(__file__).parents[1] / "templates"


class Frame:
    """What every page shares.

    Args:
        sessions: who is logged in.
        clock: whether they still are.
        public_url: where learners find the portal, without a slash at the end.
        lifetime: how long a learner stays logged in.
        origins: where forms of any page may end up at by way of a log-in: browsers hold a page's ``form-action``
            against redirects, too.
    """

    def __init__(
        self,
        *,
        sessions: Sessions,
        clock: Clock,
        public_url: str,
        lifetime: timedelta,
        origins: Callable[[], Awaitable[Iterable[str]]],
    ) -> None:
        self._sessions = sessions
        self._clock = clock
        self._lifetime = lifetime
        self._secure = public_url.startswith("https://")
        self.public_url = public_url
        self.cookies = Cookies(secure=self._secure)
        #: What pages have said lately.
        self.recent = RecentPages(clock)
        self._origins = origins
        self._templates = Environment(
            loader=FileSystemLoader(_TEMPLATES),
            autoescape=True,
            undefined=StrictUndefined,
            auto_reload=False,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.filters["day"] = day_text
        self._templates.filters["local_day"] = local_day_text
        self._templates.filters["local_time"] = local_time_text
        self._templates.filters["machine_time"] = machine_time
        self._templates.filters["in_language"] = in_language
        self._templates.filters["number"] = decimal_text
        self._templates.filters["unit_of"] = unit_name

    # -- Who -------------------------------------------------------------------------------------

    async def learner(self, request: Request) -> bytes | None:
        """Lookup of the learner who is logged in; None when nobody is."""
        secret = self._secret(request)
        return await self._sessions.whose(secret, self._clock.now()) if secret else None

    def is_stranger(self, request: Request) -> bool:
        """Whether a browser shows no session at all, not even one that is over."""
        return not self._secret(request)

    async def require_learner(self, request: Request) -> bytes:
        """Lookup of the learner who is logged in.

        Raises:
            Unauthenticated: ``NOT_LOGGED_IN``; as a page it leads to the front page.
        """
        lookup = await self.learner(request)
        if lookup is None:
            raise Unauthenticated("NOT_LOGGED_IN", "nobody is logged in", remedy="log in at /login")
        return lookup

    async def require_form(self, request: Request) -> tuple[bytes, Form]:
        """The learner who sent a form of this session's, and what she filled in.

        Raises:
            Unauthenticated: ``NOT_LOGGED_IN``.
            PermissionDenied: ``FORGED_FORM``.
        """
        lookup = await self.require_learner(request)
        form = await read_form(request)
        if not hmac.compare_digest(form.text(CSRF_FIELD).encode(), self._csrf_token(request).encode()):
            raise PermissionDenied("FORGED_FORM", "the form is not one of this session's", remedy="reload the page")
        return lookup, form

    async def open_session(self, request: Request, response: Response, lookup: bytes, provider: str) -> None:
        """Let a learner in who logged in with ``provider``; what was there before doesn't count after it."""
        await self._sessions.close(self._secret(request))
        secret = await self._sessions.open(lookup, provider, self._clock.now(), self._lifetime)
        self.cookies.set(response, SESSION_COOKIE, secret, int(self._lifetime.total_seconds()))

    async def begin_confirming(self, request: Request, subject: UUID | None) -> None:
        """Note that an act of this session's, about ``subject``, is about to be confirmed by a log-in."""
        await self._sessions.begin_confirming(self._secret(request), self._clock.now(), subject)

    async def confirming(self, request: Request) -> Confirming | None:
        """What was noted last; None: nothing."""
        return await self._sessions.confirming(self._secret(request))

    async def close_session(self, request: Request) -> str | None:
        """Log her out here; the provider that she logged in with. :meth:`forget_session` is for her browser."""
        return await self._sessions.close(self._secret(request))

    def forget_session(self, response: Response) -> None:
        """Let her browser forget that she was logged in, and what it kept for her pages."""
        for name in (SESSION_COOKIE, MADE_COOKIE, REQUEST_COOKIE, INVITATION_COOKIE, WALLET_COOKIE):
            self.cookies.delete(response, name)

    def _secret(self, request: Request) -> str:
        return request.cookies.get(self.cookies.name(SESSION_COOKIE), "")

    def _csrf_token(self, request: Request) -> str:
        """Derived from the session's secret, which only the learner's browser and no table has."""
        return b64url(hmac.digest(self._secret(request).encode(), b"vitne/portal/form/v1", sha256))

    # -- Answers ---------------------------------------------------------------------------------

    def reader(self, request: Request) -> Reader:
        """Who reads the answer: languages and texts."""
        return reader_of(request, request.cookies.get(self.cookies.name(COOKIE), ""))

    async def render(
        self, request: Request, template: str, status: int = 200, *, form_action: Iterable[str] = (), **values: Any
    ) -> Response:
        """A page in the reader's language.

        Args:
            request: whom it answers.
            template: file in ``templates/``; extends ``base.html``.
            status: of HTTP.
            form_action: further origins that a form of this page may end up at.
            values: what the template shows, beside ``t`` (texts), ``reader``, ``csrf_token`` and ``logged_in``.
        """
        reader, secret = self.reader(request), self._secret(request)
        # What is shown in answer to a form is no address to come back to.
        path = request.url.path if request.method == "GET" and status < 400 else "/"
        html = self._templates.get_template(template).render(
            t=reader.texts,
            reader=reader,
            logged_in=bool(secret),
            csrf_token=self._csrf_token(request),
            style=STYLE_ADDRESS,
            navigation=ENTRIES,
            path=request.url.path,
            switches=switches(request, path),
            **values,
        )
        policy = headers.content_security_policy([*await self._origins(), *form_action])
        response = HTMLResponse(html, status, {**headers.PRIVATE, "Content-Security-Policy": policy})
        if self._secure:
            response.headers["Strict-Transport-Security"] = headers.STRICT_TRANSPORT
        if secret:
            self.remember_language(request, response)
        return response

    def redirect(self, address: str) -> Response:
        """On to another page (303: with GET, whatever this one came by)."""
        return RedirectResponse(address, 303, headers.PRIVATE)

    def led_to_front(self, request: Request) -> Response:
        """Who is not logged in is led to where she can log in; who was until now is told that she is not any more."""
        reader = self.reader(request)
        query = {} if reader.chosen is None else {PARAMETER: reader.chosen}
        if self._secret(request):
            query[LOGGED_OUT] = "1"
        response = self.redirect(f"/?{urlencode(query)}" if query else "/")
        self.cookies.delete(response, SESSION_COOKIE)
        return response

    def remember_language(self, request: Request, response: Response) -> None:
        """Keep the language that the address chooses. Nobody who is not about to log in gets a cookie."""
        chosen = self.reader(request).chosen
        if chosen is not None:
            self.cookies.set(response, COOKIE, chosen, _LANGUAGE_SECONDS)


def in_language(text: str, language: str | None) -> Markup:
    """A text of somebody's own, which says its language (WCAG 2.2, success criterion 3.1.2).

    A filter and no macro: a learner's page has several for each of her credentials, and a macro takes several times as
    long.

    Args:
        text: it.
        language: BCP 47 tag; none, or ``und``: not known.
    """
    if not language or language == _UNDETERMINED:
        return escape(text)
    return Markup(f'<span lang="{escape(language)}">{escape(text)}</span>')  # noqa: S704 - both are escaped
