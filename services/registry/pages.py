"""What anyone may fetch over HTTP: the signed list, providers and achievements as JSON, and one page to read."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from http import HTTPStatus
from itertools import islice
from typing import Annotated, Any, Final

from fastapi import FastAPI, Query, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from jinja2 import Environment, PackageLoader

from services.registry import views
from services.registry.recorder import Recorder
from services.registry.trust_list import SignedList
from vitne.accreditation import Projection
from vitne.accreditation.trust_list import TYPE

#: Achievements on the page, or in one answer where nothing is said.
DEFAULT_LIMIT: Final = 200
MAX_LIMIT: Final = 1000
#: Anyone may read this from a browser.
_OPEN: Final = {"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": "ETag"}
_BRIEF: Final = _OPEN | {"Cache-Control": "max-age=1"}


def build_pages(recorder: Recorder, now: Callable[[], datetime], trust_list: Callable[[], SignedList]) -> FastAPI:
    """The registry's HTTP application; nothing is shown before the facts are read."""
    projection, frameworks = recorder.projection, recorder.frameworks
    app = FastAPI(title="Vitne registry", description="Who may issue what.", version="1")
    template = Environment(
        loader=PackageLoader("services.registry"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    ).get_template("registry.html")

    @app.get("/v1/trust-list", response_class=Response)
    async def get_trust_list(request: Request) -> Response:
        """The signed list of authorities, providers, keys and accreditations: a compact JWS."""
        newest = trust_list()
        headers = _OPEN | {"ETag": newest.etag, "Cache-Control": "no-cache"}
        if _matches(request.headers.getlist("if-none-match"), newest.etag):
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
        return Response(newest.token, media_type=f"application/{TYPE}", headers=headers)

    @app.get("/v1/providers")
    async def get_providers() -> Response:
        """Providers with their accreditations and keys, as they stand now."""
        recorder.as_of()
        return _json(projection, {"providers": list(views.providers(projection, frameworks, now()))})

    @app.get("/v1/achievements")
    async def get_achievements(
        provider: Annotated[str, Query(max_length=40)] = "",
        after: Annotated[str, Query(max_length=36)] = "",
        limit: Annotated[int, Query(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT,
    ) -> Response:
        """The newest version of achievements, by id; go on with ``after`` the last one's id."""
        recorder.as_of()
        found = list(islice(views.achievements(projection, provider=provider, after=after), limit))
        return _json(projection, {"achievements": found})

    @app.get("/", response_class=HTMLResponse)
    async def get_page() -> Response:
        """Authorities, providers, accreditations and achievements, to read."""
        recorder.as_of()
        shown = list(islice(views.achievements(projection), DEFAULT_LIMIT + 1))
        page = template.render(
            revision=projection.revision,
            authorities=views.authorities(projection),
            providers=list(views.providers(projection, frameworks, now())),
            achievements=shown[:DEFAULT_LIMIT],
            more=len(shown) > DEFAULT_LIMIT,
        )
        return HTMLResponse(page, headers=_BRIEF)

    return app


def _json(projection: Projection, content: dict[str, Any]) -> Response:
    return JSONResponse({"registry_revision": projection.revision, **content}, headers=_BRIEF)


def _matches(conditions: list[str], etag: str) -> bool:
    """If-None-Match (RFC 9110, section 13.1.2): weak comparison with any of the tags."""
    tags = [tag.strip() for condition in conditions for tag in condition.split(",")]
    return "*" in tags or etag in (tag.removeprefix("W/") for tag in tags)
