"""The learner's pages: rendered on the server, no script, one form for each act."""

from __future__ import annotations

import hmac
import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import date, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl

import grpc
from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from services.portal.openid import OpenIdClient, Purpose
from services.portal.presentation import FETCHING, Shown, decimal_text, show
from services.portal.sealing import PortalKeys
from services.portal.stacks import Stack, question, stacks
from services.portal.store import Store
from services.portal.texts import page_texts, reader_languages
from vitne.canonical import b64url
from vitne.clock import Clock
from vitne.errors import FailedPrecondition, NotFound, PermissionDenied, Unauthenticated, Unavailable, VitneError
from vitne.identifiers import UuidFactory
from vitne.runtime.http import HTTP_STATUS, problem
from vitne.runtime.status import error_from_rpc
from vitne_api.issuer.v1 import issuer_pb2

#: Seconds in which a log-in has to be completed.
ATTEMPT_SECONDS: Final = 600
#: Seconds that her page waits for what adds up: it is there without that, too.
STACKING_SECONDS: Final = 2.0
#: Achievements that are named where one of several would fill a part; of more, only how many.
CHOICES_SHOWN: Final = 8
#: Bytes of a form, at most: a token.
MAX_BODY: Final = 4096
#: Fields of a form: one, with room for what a browser's extension may add.
MAX_FORM_FIELDS: Final = 8

_FOLDER: Final = Path(__file__).parent
_STYLE: Final = (_FOLDER / "static" / "style.css").read_text("utf-8")
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Vary": "Accept-Language, Cookie",
}

_log = logging.getLogger(__name__)

Page = Callable[[Request], Awaitable[Response]]


class Pages:
    """What the portal serves over HTTP.

    Args:
        store: what was gathered, and who is logged in.
        keys: find a learner's rows.
        openid: logs learners in.
        issuer: stub of the issuer's service, for registrations.
        registry: stub of the registry's service, which says what adds up; None: nothing is said of it.
        clock: sessions and expiry.
        public_url: where learners find the portal.
        session: how long a learner stays logged in.
    """

    def __init__(
        self,
        *,
        store: Store,
        keys: PortalKeys,
        openid: OpenIdClient,
        issuer: Any,
        registry: Any,
        clock: Clock,
        public_url: str,
        session: timedelta,
    ) -> None:
        self._store = store
        self._keys = keys
        self._openid = openid
        self._issuer = issuer
        self._registry = registry
        self._clock = clock
        self._new_id = UuidFactory(clock)
        self._public_url = public_url
        self._session_lifetime = session
        self._secure = public_url.startswith("https://")
        # `__Host-`: no other host of the domain can plant the cookie (RFC 6265bis, section 4.1.3.2).
        prefix = "__Host-" if self._secure else ""
        self._session_cookie = f"{prefix}vitne_session"
        self._attempt_cookie = f"{prefix}vitne_log_in"
        self._templates = Environment(
            loader=FileSystemLoader(_FOLDER / "templates"), autoescape=True, undefined=StrictUndefined
        )
        self._templates.filters["day"] = _day
        self._templates.filters["number"] = decimal_text

    def app(self) -> FastAPI:
        """The ASGI application."""
        app = FastAPI(title="Vitne portal", docs_url=None, redoc_url=None, openapi_url=None)
        routes: list[tuple[str, str, Page]] = [
            ("GET", "/", self.front),
            ("GET", "/login", self.log_in),
            ("GET", "/callback", self.callback),
            ("GET", "/me", self.me),
            ("POST", "/register", self.register),
            ("POST", "/withdraw", self.withdraw),
            ("POST", "/logout", self.log_out),
        ]
        for method, path, page in routes:
            app.add_api_route(path, self._guarded(page), methods=[method], response_model=None)
        app.add_api_route("/me.json", self.me_json, methods=["GET"], response_model=None)
        app.add_api_route("/style.css", _style, methods=["GET"], response_model=None)
        return app

    # -- Pages -----------------------------------------------------------------------------------

    async def front(self, request: Request) -> Response:
        """The front page; a learner who is logged in goes on to her own."""
        if await self._learner(request) is not None:
            return _redirect("/me")
        return await self._render(request, "front.html")

    async def log_in(self, _request: Request) -> Response:
        """Off to the OpenID provider."""
        return await self._begin(Purpose.LOG_IN)

    async def callback(self, request: Request) -> Response:
        """Back from the OpenID provider."""
        done = await self._openid.complete(
            request.cookies.get(self._attempt_cookie, ""), dict(request.query_params.items())
        )
        lookup = self._keys.lookup(done.learner.learner)
        present = await self._learner(request)
        if done.purpose is Purpose.REGISTER:
            # Whoever registers must be who pressed the button, not who logged in meanwhile.
            if present is None or not hmac.compare_digest(present, lookup):
                raise PermissionDenied("OTHER_LEARNER", "another learner logged in than the one who was logged in")
            await self._register(lookup, done.id_token)
        # A new session each time: what was there before the log-in doesn't count after it.
        await self._store.close_session(request.cookies.get(self._session_cookie, ""))
        secret = secrets.token_urlsafe(32)
        await self._store.open_session(secret, lookup, self._clock.now(), self._session_lifetime)
        response = _redirect("/me")
        self._set_cookie(response, self._session_cookie, secret, int(self._session_lifetime.total_seconds()))
        self._delete_cookie(response, self._attempt_cookie)
        return response

    async def me(self, request: Request) -> Response:
        """The learner's credentials."""
        lookup = await self._learner(request)
        if lookup is None:
            return _redirect("/")
        languages = reader_languages(request.headers.get("accept-language", ""))
        registered = await self._store.pseudonym(lookup) is not None
        shown = show(await self._store.credentials(lookup), languages, self._clock.now().date())
        adding_up = await self._stacks(shown, languages)
        arrived = [one for one in shown if one.fetched_at is not None]
        return await self._render(
            request,
            "me.html",
            registered=registered,
            groups=[
                (name, [one for one in arrived if one.formal is formal])
                for name, formal in (("formal", True), ("non_formal", False), ("other", None))
            ],
            awaited=[one for one in shown if one.fetched_at is None],
            adding_up=adding_up,
            choices_shown=CHOICES_SHOWN,
            fetching=FETCHING,
            csrf_token=self._csrf_token(request),
        )

    async def me_json(self, request: Request) -> Response:
        """The same as :meth:`me` for programs: ``{"registered": …, "credentials": […], "stacks": […]}``.

        ``stacks`` is null while nobody can say what adds up.
        """
        try:
            lookup = await self._learner(request)
            if lookup is None:
                raise Unauthenticated("NOT_LOGGED_IN", "nobody is logged in", remedy="log in at /login")
            languages = reader_languages(request.headers.get("accept-language", ""))
            shown = show(await self._store.credentials(lookup), languages, self._clock.now().date())
            adding_up = await self._stacks(shown, languages)
            body = {
                "registered": await self._store.pseudonym(lookup) is not None,
                "credentials": [one.to_json() for one in shown],
                "stacks": None if adding_up is None else [one.to_json() for one in adding_up],
            }
        except VitneError as error:
            return problem(error)
        return JSONResponse(body, headers=_HEADERS)

    async def register(self, request: Request) -> Response:
        """Her act of registering: she logs in once more, and what that gives is shown to the issuer at once."""
        await self._require_form(request)
        return await self._begin(Purpose.REGISTER)

    async def withdraw(self, request: Request) -> Response:
        """End her registration, and delete all that is held of her."""
        lookup = await self._require_form(request)
        pseudonym = await self._store.pseudonym(lookup)
        if pseudonym is not None:
            try:
                await self._call(
                    self._issuer.WithdrawLearner,
                    issuer_pb2.WithdrawLearnerRequest(request_id=str(self._new_id()), pseudonym=pseudonym),
                )
            except (NotFound, FailedPrecondition) as error:
                # Not registered there (any more, since an answer was lost): all the more reason to delete.
                _log.info("the issuer knew of no registration", extra={"reason": error.reason})
            await self._store.erase(lookup)
        return _redirect("/me")

    async def log_out(self, request: Request) -> Response:
        """End the session here and at the provider."""
        await self._require_form(request)
        await self._store.close_session(request.cookies.get(self._session_cookie, ""))
        response = _redirect(await self._openid.log_out_url(f"{self._public_url}/"))
        self._delete_cookie(response, self._session_cookie)
        return response

    # -- Parts -----------------------------------------------------------------------------------

    async def _begin(self, purpose: Purpose) -> Response:
        address, attempt = await self._openid.begin(purpose)
        response = _redirect(address)
        self._set_cookie(response, self._attempt_cookie, attempt, ATTEMPT_SECONDS)
        return response

    async def _register(self, lookup: bytes, id_token: str) -> None:
        answer = await self._call(
            self._issuer.RegisterLearner,
            issuer_pb2.RegisterLearnerRequest(request_id=str(self._new_id()), id_token=id_token),
        )
        await self._store.register(lookup, answer.pseudonym, self._clock.now())

    async def _stacks(self, shown: Sequence[Shown], languages: Sequence[str]) -> list[Stack] | None:
        """What her credentials add up to; None while nobody can say: her page is there without it."""
        asked = question(shown)
        if self._registry is None or not asked.credentials:
            return []
        try:
            answer = await self._registry.EvaluateStacking(asked, timeout=STACKING_SECONDS)
        except (grpc.aio.AioRpcError, VitneError) as error:
            reason = error.reason if isinstance(error, VitneError) else error_from_rpc(error).reason
            _log.warning("the registry does not say what adds up", extra={"reason": reason})
            return None
        return stacks(shown, answer, languages)

    async def _call(self, method: Any, request: Any) -> Any:
        try:
            return await method(request)
        except grpc.aio.AioRpcError as error:
            raise error_from_rpc(error) from error

    async def _learner(self, request: Request) -> bytes | None:
        secret = request.cookies.get(self._session_cookie, "")
        return await self._store.session(secret, self._clock.now()) if secret else None

    async def _require_form(self, request: Request) -> bytes:
        """The learner who sent a form of ours.

        Raises:
            Unauthenticated: ``NOT_LOGGED_IN``.
            PermissionDenied: ``FORGED_FORM``.
        """
        lookup = await self._learner(request)
        if lookup is None:
            raise Unauthenticated("NOT_LOGGED_IN", "nobody is logged in", remedy="log in at /login")
        body = await request.body()
        try:
            fields = dict(parse_qsl(body.decode("latin-1"), max_num_fields=MAX_FORM_FIELDS))
        except ValueError:
            fields = {}
        if not hmac.compare_digest(fields.get("csrf_token", "").encode(), self._csrf_token(request).encode()):
            raise PermissionDenied("FORGED_FORM", "the form is not one of this session's", remedy="reload the page")
        return lookup

    def _csrf_token(self, request: Request) -> str:
        """Derived from the session's secret, which only the learner's browser and no table has."""
        secret = request.cookies.get(self._session_cookie, "")
        return b64url(hmac.digest(secret.encode(), b"vitne/portal/form/v1", sha256))

    async def _render(self, request: Request, template: str, status: int = 200, **values: Any) -> Response:
        languages = reader_languages(request.headers.get("accept-language", ""))
        html = self._templates.get_template(template).render(t=page_texts(languages), **values)
        form_action = " ".join(["'self'", *await self._openid.origins()])
        headers = {
            **_HEADERS,
            "Content-Security-Policy": "default-src 'none'; style-src 'self'; base-uri 'none'; frame-ancestors 'none'; "
            f"form-action {form_action}",
        }
        if self._secure:
            headers["Strict-Transport-Security"] = "max-age=31536000"
        return HTMLResponse(html, status, headers)

    def _guarded(self, page: Page) -> Page:
        """A page whose refusals are pages too."""

        async def guarded(request: Request) -> Response:
            try:
                return await page(request)
            except VitneError as error:
                _log.info("a page refused", extra={"reason": error.reason})
                if error.reason == "NOT_LOGGED_IN":
                    return _redirect("/")
                return await self._render(
                    request, "error.html", HTTP_STATUS[error.code], text=_error_text(error), reason=error.reason
                )

        return guarded

    def _set_cookie(self, response: Response, name: str, value: str, seconds: int) -> None:
        response.set_cookie(name, value, max_age=seconds, path="/", secure=self._secure, httponly=True, samesite="lax")

    def _delete_cookie(self, response: Response, name: str) -> None:
        response.delete_cookie(name, path="/", secure=self._secure, httponly=True, samesite="lax")


async def _style() -> Response:
    return Response(_STYLE, media_type="text/css", headers={"Cache-Control": "public, max-age=3600"})


def _redirect(address: str) -> Response:
    return RedirectResponse(address, 303, _HEADERS)


def _day(day: str | None, texts: Mapping[str, Any]) -> str | None:
    """A calendar date as the page's language writes it."""
    return date.fromisoformat(day).strftime(texts["date_format"]).lstrip("0") if day else None


def _error_text(error: VitneError) -> str:
    """Name of the text that tells a learner what happened."""
    if error.reason == "OTHER_LEARNER":
        return "error_other_learner"
    if error.reason == "FORGED_FORM":
        return "error_form"
    if isinstance(error, Unauthenticated):
        return "error_log_in"
    return "error_unavailable" if isinstance(error, Unavailable) else "error_title"
