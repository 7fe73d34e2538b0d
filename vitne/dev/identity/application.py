"""The development issuer over HTTP: the stand-ins of Maskinporten and ID-porten at its origin, Feide's below it."""

from __future__ import annotations

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

from vitne.clock import Clock
from vitne.dev.identity.configuration import Configuration, require_development
from vitne.dev.identity.feide import PATH, Feide
from vitne.dev.identity.provider import HEADERS, OAuthError, Provider


def create_app(configuration: Configuration, clock: Clock) -> FastAPI:
    """The development issuer as an ASGI application.

    Raises:
        FailedPrecondition: ``NOT_IN_PRODUCTION``.
    """
    require_development()
    provider, feide = Provider(configuration, clock), Feide(configuration, clock)
    app = FastAPI(title="Vitne development identity", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_exception_handler(OAuthError, _refuse)
    # Who follows the address that `make up` prints finds where everything else is.
    for path in ("/", "/.well-known/oauth-authorization-server"):
        app.add_api_route(path, provider.metadata, methods=["GET"], response_model=None)
    for at, one in (("", provider), (PATH, feide)):
        for method, path, answer in one.routes():
            app.add_api_route(f"{at}{path}", answer, methods=[method], response_model=None)
    app.add_api_route(f"{PATH}/userinfo", feide.userinfo, methods=["GET"], response_model=None)
    return app


async def _refuse(_: Request, error: Exception) -> Response:
    assert isinstance(error, OAuthError)  # noqa: S101  (registered for this class only)
    return JSONResponse(
        {"error": error.error, "error_description": error.description}, status_code=error.status, headers=HEADERS
    )
