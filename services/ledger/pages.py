"""What anyone may fetch over HTTP: the lists, the log as C2SP tlog-tiles, and a page that tells what is here."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from fastapi import FastAPI, Request
from fastapi.responses import PlainTextResponse, Response
from starlette.datastructures import MutableHeaders, QueryParams
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.ledger.history import History
from services.ledger.lists import ListPublisher, PublishedList
from services.ledger.looks import Looks
from services.ledger.projections import Projected, Projections
from services.ledger.resources import LogResources
from services.ledger.witnessed import WitnessedCheckpoints
from vitne.credentials.list_forms import ListForm
from vitne.credentials.status_list import MEDIA_TYPE
from vitne.credentials.status_list_cwt import MEDIA_TYPE as CWT_MEDIA_TYPE
from vitne.errors import InvalidArgument, NotFound, VitneError
from vitne.merkle.resources import CHECKPOINT_PATH, LOGS_PATH, Resource
from vitne.merkle.succession import SUCCESSION_PATH
from vitne.runtime.objects import IMMUTABLE
from vitne.runtime.representations import GZIP, gzipped, matches, takes_gzip

if TYPE_CHECKING:
    from services.ledger.front_page import FrontPage

#: The checkpoint may be cached this long, in seconds (tlog-tiles: not "beyond a few seconds").
CHECKPOINT_MAX_AGE: Final = 1
#: Wallets in browsers fetch lists from anywhere (draft-ietf-oauth-status-list-20, section 8.1, recommends CORS).
_CORS: Final = {"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": "ETag"}
_PREFLIGHT: Final = _CORS | {
    "Access-Control-Allow-Methods": "GET, HEAD",
    # Neither is among those that browsers send unasked.
    "Access-Control-Allow-Headers": "If-None-Match",
    "Access-Control-Max-Age": "86400",
}

#: A weight (RFC 9110, section 12.4.2), and seconds since 1970 up to the year 5138.
_WEIGHT: Final = re.compile(r"(0(\.[0-9]{0,3})?|1(\.0{0,3})?)\Z", re.ASCII)
_NUMBER: Final = re.compile(r"[1-9][0-9]{0,3}\Z", re.ASCII)
#: The parameter of lists, and how many characters are told again of another.
_TIME: Final = "time"
_SHOWN_NAME: Final = 64
_SECONDS: Final = re.compile(r"[0-9]{1,11}\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class _Route:
    """What metrics and spans call a request by."""

    path: str


_LISTS: Final = _Route("/{path:path}")
#: Of the media type that asks for a CWT; whoever says it is looked at closely.
_CWT_WORD: Final = b"cwt"


class PlainLists:
    """Answers what nearly everybody asks for, a list as it is, before anything is taken apart.

    A request without a query or a condition, for the form that its path names, gets the bytes that the others get, from
    headers that are made once for each version and coding. Every other goes on to the application.

    Args:
        app: the application.
        publisher: has the lists.
        projections: has their forms.
        looks: at what other replicas have published.
    """

    def __init__(self, app: ASGIApp, publisher: ListPublisher, projections: Projections, looks: Looks) -> None:
        self._app = app
        self._publisher = publisher
        self._projections = projections
        self._looks = looks
        self._max_age = int(publisher.ttl.total_seconds())
        #: Versions as they are sent, by path, and by whether the reader takes gzip.
        self._made: dict[tuple[str, bool], tuple[Projected, Message, Message]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection's event stream (ASGI)."""
        if scope["type"] == "http" and scope["method"] == "GET" and not scope["query_string"]:
            path, headers = scope["path"], scope["headers"]
            if self._publisher.find(path) is not None and _is_plain(headers):
                await self._looks.since_now(path)
                if (newest := self._publisher.find(path)) is not None:
                    start, body = self._messages(newest, gzip=_takes_gzip(headers))
                    scope["route"] = _LISTS
                    await send(start)
                    await send(body)
                    return
        await self._app(scope, receive, send)

    def _messages(self, newest: PublishedList, *, gzip: bool) -> tuple[Message, Message]:
        projected = self._projections.of(newest, ListForm.JWT, gzip=gzip)
        made = self._made.get((newest.path, gzip))
        if made is None or made[0] is not projected:
            headers = list_headers(self._max_age, gzip=projected.gzip) | {
                "ETag": projected.etag,
                "Content-Length": str(len(projected.body)),
                "Content-Type": ListForm.JWT.media_type,
            }
            raw = [(name.lower().encode("ascii"), value.encode("ascii")) for name, value in headers.items()]
            made = self._made[newest.path, gzip] = (
                projected,
                {"type": "http.response.start", "status": HTTPStatus.OK.value, "headers": raw},
                {"type": "http.response.body", "body": projected.body},
            )
        return made[1], made[2]


def _is_plain(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether a request leaves the form, and whether to be answered at all, to its path."""
    return not any(
        name == b"if-none-match" or (name == b"accept" and _CWT_WORD in value.lower()) for name, value in headers
    )


def _takes_gzip(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    return takes_gzip(value.decode("latin-1") for name, value in headers if name == b"accept-encoding")


class Refusals:
    """Lets refusals be read by whoever may read the rest, and be kept by nobody: what is not here may come to be.

    A 404 may be kept by caches unless they are told otherwise (RFC 9110, section 15.5.5): a tile, or a list, would be
    missing for as long as one likes to.

    Args:
        app: the application.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection's event stream (ASGI)."""

        async def told(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] >= HTTPStatus.BAD_REQUEST:
                headers = MutableHeaders(raw=list(message["headers"]))
                headers.update(_CORS | {"Cache-Control": "no-store"})
                message["headers"] = headers.raw
            await send(message)

        await self._app(scope, receive, told)


def list_headers(max_age: int, *, gzip: bool) -> dict[str, str]:
    """What is said of every list, in whichever form.

    Args:
        max_age: seconds for which a copy may be kept.
        gzip: whether it is answered in gzip (draft-ietf-oauth-status-list-20, section 8.2).
    """
    headers = _CORS | {"Vary": "Accept, Accept-Encoding", "Cache-Control": f"max-age={max_age}"}
    return headers | {"Content-Encoding": GZIP} if gzip else headers


def build_pages(
    publisher: ListPublisher,
    projections: Projections,
    checkpoints: WitnessedCheckpoints,
    resources: LogResources,
    history: History,
    *,
    looks: Looks,
) -> FastAPI:
    """The ledger's HTTP application."""
    app = FastAPI(title="Vitne ledger", openapi_url=None)
    max_age = int(publisher.ttl.total_seconds())

    @cache
    def front() -> FrontPage:
        # When somebody looks: what it stands on is a thirtieth of the time until a ledger is ready.
        from services.ledger.front_page import FrontPage  # noqa: PLC0415

        return FrontPage(CHECKPOINT_MAX_AGE)

    @app.api_route("/", methods=["GET", "HEAD"])
    async def index(request: Request) -> Response:
        try:
            checkpoint = (await checkpoints.shown()).note
        except VitneError as error:
            return front().show(request, publisher.published(), unshown=error.message)
        return front().show(request, publisher.published(), checkpoint=checkpoint)

    @app.api_route(f"/{CHECKPOINT_PATH}", methods=["GET", "HEAD"])
    @app.api_route(f"/{LOGS_PATH}/{{name}}/{CHECKPOINT_PATH}", methods=["GET", "HEAD"])
    async def checkpoint(name: str = "") -> Response:
        shown = await checkpoints.shown((await resources.log(name)).shard)
        return PlainTextResponse(shown.note, headers=_CORS | {"Cache-Control": f"max-age={CHECKPOINT_MAX_AGE}"})

    @app.api_route("/tile/{path:path}", methods=["GET", "HEAD"])
    @app.api_route(f"/{LOGS_PATH}/{{name}}/tile/{{path:path}}", methods=["GET", "HEAD"])
    async def tile(request: Request, path: str, name: str = "") -> Response:
        log = await resources.log(name)
        try:
            resource = Resource.parse(f"tile/{path}")
        except InvalidArgument as error:
            raise NotFound("TILE_UNKNOWN", error.message, rule=error.rule, remedy=error.remedy) from error
        data = await resources.read(log, resource)
        if data is None:
            raise NotFound(
                "TILE_UNKNOWN",
                "the log has not come so far",
                rule="C2SP tlog-tiles: a checkpoint's size says which tiles there are",
                remedy="fetch the checkpoint first",
            )
        headers = _CORS | {"Cache-Control": IMMUTABLE}
        if resource.level is None:  # Hashes do not get shorter.
            headers["Vary"] = "Accept-Encoding"
            if takes_gzip(request.headers.getlist("accept-encoding")):
                headers["Content-Encoding"] = GZIP
                data = gzipped(data)
        return Response(data, media_type="application/octet-stream", headers=headers)

    @app.api_route(f"/{SUCCESSION_PATH}/{{number}}", methods=["GET", "HEAD"])
    async def succession(number: str) -> Response:
        statement = await resources.statement(int(number)) if _NUMBER.match(number) else None
        if statement is None:
            raise NotFound(
                "SUCCESSION_UNKNOWN",
                "there is no such statement",
                rule="statements of succession are numbered from 1",
                remedy="the one before was the last",
            )
        return PlainTextResponse(statement, headers=_CORS | {"Cache-Control": IMMUTABLE})

    @app.api_route(_LISTS.path, methods=["GET", "HEAD"])
    async def status_list(request: Request) -> Response:
        path, form = _list_and_form(request.url.path)
        await looks.since_now(path)
        if (newest := publisher.find(path)) is None:
            raise _no_page()
        moment = _asked_time(request.query_params)
        if form is ListForm.JWT and prefers_cwt(",".join(request.headers.getlist("accept"))):
            form = ListForm.CWT
        gzip = takes_gzip(request.headers.getlist("accept-encoding"))
        if moment is not None:
            instant = _instant(moment)
            if form is not ListForm.JWT:
                raise _not_kept()
            token = await history.token_at(newest.url, instant)
            body = gzipped(token, repeats=False) if gzip else token
            return Response(body, media_type=MEDIA_TYPE, headers=list_headers(max_age, gzip=gzip))
        projected = projections.of(newest, form, gzip=gzip)
        tag = {"ETag": projected.etag}
        if matches(request.headers.getlist("if-none-match"), projected.etag):
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=list_headers(max_age, gzip=False) | tag)
        headers = list_headers(max_age, gzip=projected.gzip) | tag
        return Response(projected.body, media_type=form.media_type, headers=headers)

    @app.options(_LISTS.path)
    async def preflight() -> Response:
        return Response(status_code=HTTPStatus.NO_CONTENT, headers=_PREFLIGHT)

    app.add_middleware(Refusals)
    app.add_middleware(PlainLists, publisher=publisher, projections=projections, looks=looks)
    return app


def _list_and_form(path: str) -> tuple[str, ListForm]:
    """The path of a list, and the form of it, that a path names, whether it is there or not."""
    form = next((form for form in ListForm if form.value and path.endswith(form.value)), ListForm.JWT)
    return path.removesuffix(form.value), form


def _no_page() -> NotFound:
    return NotFound(
        "PAGE_UNKNOWN",
        "nothing is published here",
        rule="lists are served at the path of their URL",
        remedy="see / for what there is",
    )


def prefers_cwt(accept: str) -> bool:
    """Whether a reader asks for the CWT rather than the JWT (RFC 9110, section 12.5.1); the JWT is the usual one."""
    weights = {MEDIA_TYPE: 0.0, CWT_MEDIA_TYPE: 0.0}
    for entry in accept.split(","):
        name, *parameters = [part.strip().lower() for part in entry.split(";")]
        if name in weights:
            weight = next((each[2:] for each in parameters if each.startswith("q=")), "1")
            weights[name] = float(weight) if _WEIGHT.match(weight) else 0.0
    return weights[CWT_MEDIA_TYPE] > weights[MEDIA_TYPE]


def _asked_time(parameters: QueryParams) -> str | None:
    """A list's one parameter; None: the newest is asked for.

    Raises:
        InvalidArgument: ``UNKNOWN_PARAMETER``: the newest list, or one of two, would pass for the one that was meant;
            ``BAD_TIME``: it is there twice.
    """
    for name in parameters:
        if name != _TIME:
            raise InvalidArgument(
                "UNKNOWN_PARAMETER",
                "a list has no such parameter",
                field=name[:_SHOWN_NAME],
                rule=f"the one parameter is {_TIME} (draft-ietf-oauth-status-list-20, section 8.4)",
                remedy="correct the name, or leave it out for the newest list",
            )
    match parameters.getlist(_TIME):
        case []:
            return None
        case [one]:
            return one
    raise InvalidArgument(
        "BAD_TIME",
        "these are several instants",
        field=_TIME,
        rule="draft-ietf-oauth-status-list-20, section 8.4: the list of one instant",
        remedy="ask for one after the other",
    )


def _instant(text: str) -> datetime:
    """A query's ``time``, in seconds since 1970 (draft-ietf-oauth-status-list-20, section 8.4).

    Raises:
        InvalidArgument: ``BAD_TIME``: it is no instant.
    """
    if not _SECONDS.match(text):
        raise InvalidArgument(
            "BAD_TIME",
            "this is no instant",
            field=_TIME,
            rule="draft-ietf-oauth-status-list-20, section 8.4: seconds since 1970-01-01T00:00:00Z, in 1 to 11 digits",
            remedy="write the instant as date +%s does, such as time=1795302000, or leave time out for the newest list",
        )
    return datetime.fromtimestamp(int(text), UTC)


def _not_kept() -> NotFound:
    return NotFound(
        "HISTORY_NOT_KEPT",
        "no list of the past is kept in that form",
        field=_TIME,
        rule="draft-ietf-oauth-status-list-20, section 8.4; what is logged is kept, once a minute, as a JWT",
        remedy="ask at the list's own address, without an Accept header, or use the RPC StatusAt",
    )
