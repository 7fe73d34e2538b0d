"""Routes as an ASGI application: bodies bounded, refusals shown as pages, unknown addresses too."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from starlette.types import Message

from services.portal.web.frame import Frame
from services.portal.web.routes import Page, Route
from vitne.errors import NotFound, VitneError
from vitne.runtime.http import BodyTooLarge, problem, status_of
from vitne.runtime.interceptors.errors import as_vitne_error

_log = logging.getLogger(__name__)


def application(frame: Frame, routes: Sequence[Route]) -> FastAPI:
    """The ASGI application that serves ``routes``."""
    app = FastAPI(title="Vitne portal", docs_url=None, redoc_url=None, openapi_url=None)
    for route in routes:
        app.add_api_route(route.path, _guarded(frame, route), methods=[route.method], response_model=None)
    # Last: who mistypes an address, or comes back to a form's, reads a page.
    unknown = Route("GET", "/{path:path}", _unknown)
    app.add_api_route(unknown.path, _guarded(frame, unknown), methods=[unknown.method], response_model=None)
    return app


def largest_body(routes: Sequence[Route]) -> int:
    """Bytes of a body that some route takes."""
    return max(route.max_body for route in routes)


async def _unknown(_request: Request) -> Response:
    raise NotFound("NO_SUCH_PAGE", "there is no such page", remedy="begin at the front page")


def _guarded(frame: Frame, route: Route) -> Page:
    """A page whose refusals are pages too; as problem details where programs ask."""

    async def guarded(request: Request) -> Response:
        try:
            return await route.page(_bounded(request, route.max_body))
        except Exception as error:  # noqa: BLE001 - the edge: what nobody foresaw is a page and an incident
            told = as_vitne_error(error)
            _log.info("a page refused", extra={"reason": told.reason})
            if route.for_programs:
                return problem(told)
            if told.reason == "NOT_LOGGED_IN":
                return frame.led_to_front(request)
            texts, status = frame.reader(request).texts, status_of(told)
            return await frame.render(
                request,
                "error.html",
                status,
                heading=_text(told, texts["refused_titles"]),
                text=_text(told, texts["refused"]),
                reason=told.reason,
                again=_address(request) if status == HTTPStatus.SERVICE_UNAVAILABLE and not route.once else None,
            )

    return guarded


def _text(error: VitneError, texts: Mapping[str, str]) -> str:
    """What tells a learner what happened: by reason, else by code."""
    return texts.get(error.reason) or texts.get(error.code) or texts["other"]


def _address(request: Request) -> str | None:
    """Path and query, to ask for again; None for a form, which is sent again by whoever filled it in."""
    if request.method != "GET":
        return None
    return f"{request.url.path}?{request.url.query}" if request.url.query else request.url.path


def _bounded(request: Request, limit: int) -> Request:
    """The request, which refuses to be read beyond ``limit`` bytes."""
    taken = 0
    receive: Any = request.receive

    async def bounded() -> Message:
        nonlocal taken
        message: Message = await receive()
        taken += len(message.get("body", b""))
        if taken > limit:
            raise BodyTooLarge(limit)
        return message

    return Request(request.scope, bounded)
