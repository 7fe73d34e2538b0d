"""HTTP edge: refusals as RFC 9457 problem details, or as pages for browsers, a bound on bodies, spans."""

from __future__ import annotations

import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vitne.errors import ResourceExhausted, VitneError
from vitne.runtime.bad_fields import bad_fields
from vitne.runtime.interceptors.errors import as_vitne_error
from vitne.runtime.metrics import HTTP_SERVER_DURATION
from vitne.runtime.problem_page import problem_page, wants_page
from vitne.runtime.status import RuleViolations
from vitne.runtime.telemetry import context_from_traceparent

#: Largest request body in bytes unless a service says otherwise: a credential with room to spare.
DEFAULT_MAX_BODY: Final = 1024 * 1024
#: What probes ask.
LIVE_PATH: Final = "/livez"
READY_PATH: Final = "/readyz"
#: What Prometheus asks, at a listener of its own.
METRICS_PATH: Final = "/metrics"
#: Methods as they are told (RFC 9110, section 9; RFC 5789): a client may send any word.
METHODS: Final = frozenset(("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"))
OTHER_METHOD: Final = "_OTHER"
#: Media type of problem details.
PROBLEM_JSON: Final = "application/problem+json"
#: Prefix of problem types; the reason follows.
PROBLEM_TYPE: Final = "https://vitne.example/problems/"

#: HTTP statuses of the canonical codes (google.rpc.Code), except FAILED_PRECONDITION: 400 there says
#: "wrong request", and the request is right; 409 says that the state forbids it.
HTTP_STATUS: Final = {
    "INVALID_ARGUMENT": HTTPStatus.BAD_REQUEST,
    "FAILED_PRECONDITION": HTTPStatus.CONFLICT,
    "NOT_FOUND": HTTPStatus.NOT_FOUND,
    "ALREADY_EXISTS": HTTPStatus.CONFLICT,
    "PERMISSION_DENIED": HTTPStatus.FORBIDDEN,
    "UNAUTHENTICATED": HTTPStatus.UNAUTHORIZED,
    "ABORTED": HTTPStatus.CONFLICT,
    "RESOURCE_EXHAUSTED": HTTPStatus.TOO_MANY_REQUESTS,
    "UNAVAILABLE": HTTPStatus.SERVICE_UNAVAILABLE,
    "DEADLINE_EXCEEDED": HTTPStatus.GATEWAY_TIMEOUT,
    "UNIMPLEMENTED": HTTPStatus.NOT_IMPLEMENTED,
    "DATA_LOSS": HTTPStatus.INTERNAL_SERVER_ERROR,
    "INTERNAL": HTTPStatus.INTERNAL_SERVER_ERROR,
    "UNKNOWN": HTTPStatus.INTERNAL_SERVER_ERROR,
}


#: What the router refuses, in words: detail, rule, remedy.
_ROUTERS: Final = {
    HTTPStatus.NOT_FOUND: (
        "there is nothing at this address",
        "an address that the interface describes",
        "compare the path with the interface's description",
    ),
    HTTPStatus.METHOD_NOT_ALLOWED: (
        "this address does not take that method",
        "a method that the address takes",
        "send the request with another method",
    ),
}
_UNREAD: Final = (
    "the request could not be read",
    "a request in the form that the interface describes",
    "compare the request with the interface's description",
)


class BodyTooLarge(ResourceExhausted):
    """The request body exceeds what this server takes."""

    def __init__(self, limit: int) -> None:
        super().__init__(
            "BODY_TOO_LARGE",
            "the request body is too large",
            field="body",
            rule=f"at most {limit} bytes",
            remedy="send less",
        )


def status_of(error: VitneError) -> HTTPStatus:
    """The HTTP status that says what an error says."""
    return HTTPStatus.REQUEST_ENTITY_TOO_LARGE if isinstance(error, BodyTooLarge) else HTTP_STATUS[error.code]


def problem(error: VitneError, accept: str = "") -> Response:
    """An error as problem details (RFC 9457) with ``reason``, ``field``, ``rule`` and ``remedy``.

    Args:
        error: what is told.
        accept: the request's Accept header: a browser is shown the same as a page.
    """
    status = status_of(error)
    body: dict[str, Any] = {
        "type": PROBLEM_TYPE + error.reason.lower().replace("_", "-"),
        "title": status.phrase,
        "status": status.value,
        "detail": error.message,
        "reason": error.reason,
    }
    body |= {key: text for key in ("field", "rule", "remedy") if (text := getattr(error, key))}
    if error.metadata:
        body["metadata"] = error.metadata
    if isinstance(error, RuleViolations):
        body["violations"] = [
            {"field": entry.field, "reason": entry.reason, "rule": entry.rule, "remedy": entry.remedy}
            for entry in error.violations
        ]
    return _told(body, status, {"WWW-Authenticate": "Bearer"} if status is HTTPStatus.UNAUTHORIZED else None, accept)


def _told(body: Mapping[str, Any], status: HTTPStatus, headers: Mapping[str, str] | None, accept: str) -> Response:
    if wants_page(accept):
        return problem_page(body, status, headers)
    return JSONResponse(body, status.value, headers, media_type=PROBLEM_JSON)


def install(app: FastAPI, *, max_body: int = DEFAULT_MAX_BODY) -> ASGIApp:
    """Give an application our error answers, body bound and spans; serve what this returns.

    FastAPI's own telemetry is switched off: its spans carry path and query as they came
    (a handle, a log-in's code), its log records the text of exceptions.
    """
    app.add_exception_handler(VitneError, _on_vitne_error)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_middleware(EdgeMiddleware, max_body=max_body)

    async def without_own_telemetry(scope: Scope, receive: Receive, send: Send) -> None:
        # What FastAPI itself sets to keep an application mounted within another from observing a request.
        scope["fastapi.telemetry"] = None
        await app(scope, receive, send)

    return without_own_telemetry


async def _on_vitne_error(request: Request, error: Exception) -> Response:
    return problem(as_vitne_error(error), _accept(request))


async def _on_validation_error(request: Request, error: Exception) -> Response:
    found = error.errors() if isinstance(error, RequestValidationError) else []
    return problem(bad_fields(found), _accept(request))


async def _on_http_exception(request: Request, error: Exception) -> Response:
    """Refusals of the router's: a path that is none, a method that it does not take, a body that can't be read."""
    if not isinstance(error, HTTPException):
        return problem(as_vitne_error(error), _accept(request))
    status = HTTPStatus(error.status_code)
    detail, rule, remedy = _ROUTERS.get(status, _UNREAD)
    allowed = (error.headers or {}).get("Allow", "")
    body = {
        # RFC 9457, section 4.2.1: nothing is meant but the status.
        "type": "about:blank",
        "title": status.phrase,
        "status": status.value,
        "detail": detail,
        "reason": status.name,
        "rule": f"{rule}: {allowed}" if allowed else rule,
        "remedy": remedy,
    }
    return _told(body, status, error.headers, _accept(request))


def _accept(request: Request) -> str:
    return ",".join(request.headers.getlist("accept"))


class EdgeMiddleware:
    """Bounds request bodies, opens a span, and turns unforeseen exceptions into problem details."""

    def __init__(self, app: ASGIApp, max_body: int) -> None:
        self._app = app
        self._max_body = max_body
        self._tracer = trace.get_tracer("vitne.runtime")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection's event stream (ASGI)."""
        if scope["type"] != "http" or scope["path"] in (LIVE_PATH, READY_PATH):
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        status = 0
        started = False
        taken = 0
        exceeded = False

        async def bounded_receive() -> Message:
            nonlocal taken, exceeded
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > self._max_body:
                exceeded = True
                raise BodyTooLarge(self._max_body)
            return message

        async def watched_send(message: Message) -> None:
            nonlocal status, started
            if exceeded and not started:
                return  # FastAPI makes a 400 of whatever stops it from reading; ours is told below
            if message["type"] == "http.response.start":
                started, status = True, message["status"]
            await send(message)

        began = time.monotonic()
        method = scope["method"] if scope["method"] in METHODS else OTHER_METHOD
        parent = headers.get(b"traceparent", b"").decode("latin-1")
        with self._tracer.start_as_current_span(
            method,
            context=context_from_traceparent(parent),
            kind=SpanKind.SERVER,
            attributes={"http.request.method": method},
            record_exception=False,
        ) as span:
            try:
                declared = headers.get(b"content-length", b"0")
                if declared.isdigit() and int(declared) > self._max_body:
                    raise BodyTooLarge(self._max_body)
                await self._app(scope, bounded_receive, watched_send)
                if exceeded and not started:
                    raise BodyTooLarge(self._max_body)
            except Exception as error:
                told = as_vitne_error(error)
                if started:  # too late for another answer: the connection ends
                    raise
                exceeded = False
                accept = headers.get(b"accept", b"").decode("latin-1")
                await problem(told, accept)(scope, receive, watched_send)
            finally:
                # The route's template, not the path: a path may name a learner.
                route = getattr(scope.get("route"), "path", "")
                HTTP_SERVER_DURATION.record(time.monotonic() - began, method, route, str(status))
                span.update_name(f"{method} {route}".rstrip())
                span.set_attribute("http.route", route)
                span.set_attribute("http.response.status_code", status)
                if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                    span.set_status(StatusCode.ERROR)
