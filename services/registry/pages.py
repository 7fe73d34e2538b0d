"""What anyone may fetch over HTTP: the signed list, providers and achievements as JSON, and one page to read."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from http import HTTPStatus
from itertools import islice
from typing import Annotated, Any, Final

from fastapi import Depends, FastAPI, Path, Query, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from pydantic import BaseModel, Field

from services.registry import issuers, views
from services.registry.accreditation_credentials import AccreditationCredentials
from services.registry.accreditation_pages import accreditation_routes
from services.registry.catalogue_pages import catalogue_routes
from services.registry.front_page import FrontPage
from services.registry.recorder import Recorder
from services.registry.search import CatalogueIndex
from services.registry.trust_list import TrustListPublisher
from services.registry.wallet_pages import wallet_routes
from vitne.accreditation import Projection
from vitne.accreditation.dids import organisation_of_path
from vitne.accreditation.trust_list import FACTS_MEDIA_TYPE, TYPE
from vitne.errors import InvalidArgument
from vitne.identifiers import parse_uuid
from vitne.runtime.representations import GZIP, matches, takes_gzip

#: Entries in one answer where nothing is said.
DEFAULT_LIMIT: Final = 200
#: Achievements in one answer: some 50 ms of work.
MAX_LIMIT: Final = 500
#: Providers in one answer: each comes with all its accreditations and keys.
MAX_PROVIDERS: Final = 200
#: Anyone may read this from a browser.
_OPEN: Final = {"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": "ETag"}
_BRIEF: Final = _OPEN | {"Cache-Control": "max-age=1"}
#: A body of facts never changes.
_FOR_EVER: Final = _OPEN | {"Cache-Control": "public, max-age=31536000, immutable", "Vary": "Accept-Encoding"}
#: How many characters are told again of a parameter that is not taken.
_SHOWN_NAME: Final = 64

#: What lists take: whose entries, beyond which id, how many.
_Provider = Annotated[str, Query(max_length=40)]
_After = Annotated[str, Query(max_length=36)]
_Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT)]
_Revision = Annotated[int, Path(ge=0, le=(1 << 31) - 1)]


class ExtractAnswer(BaseModel):
    """An extract of the trust list."""

    statement: str = Field(description="Compact JWS of type vitne-trust-list-extract+jwt.")
    facts: str = Field(description="The facts that it names: JSON Lines.")


def build_pages(  # noqa: PLR0917 - what the pages show
    recorder: Recorder,
    now: Callable[[], datetime],
    trust_list: TrustListPublisher,
    credentials: AccreditationCredentials,
    catalogue: CatalogueIndex,
    registry_uri: str,
) -> FastAPI:
    """The registry's HTTP application; nothing is shown before the facts are read."""
    projection, frameworks = recorder.projection, recorder.frameworks
    # FastAPI's own pages of documentation would have third parties' scripts run here.
    app = FastAPI(title="Vitne registry", description="Who may issue what.", version="1", docs_url=None, redoc_url=None)
    app.include_router(catalogue_routes(recorder, catalogue, now))
    app.include_router(accreditation_routes(recorder, credentials, registry_uri, now))
    app.include_router(wallet_routes(recorder))
    for prefix, documented in ((issuers.PREFIX, True), (issuers.EBSI_PREFIX, False)):
        app.include_router(
            issuers.issuer_routes(recorder, credentials, registry_uri, prefix), include_in_schema=documented
        )
    page = FrontPage(recorder, now)

    @app.get("/v1/trust-list", response_class=Response, dependencies=[Depends(_only_known)])
    async def get_trust_list(request: Request) -> Response:
        """The signed statement of authorities, providers, keys and accreditations: a compact JWS."""
        statement = await trust_list.statement()
        headers = _OPEN | {"ETag": statement.etag, "Cache-Control": "no-cache"}
        if matches(request.headers.getlist("if-none-match"), statement.etag):
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
        return Response(statement.token, media_type=f"application/{TYPE}", headers=headers)

    @app.get("/v1/trust-list/facts/{revision}", response_class=Response, dependencies=[Depends(_only_known)])
    async def get_facts(request: Request, revision: _Revision) -> Response:
        """The facts that a statement names: JSON Lines, for ever the same."""
        served = await trust_list.facts(revision, gzip=takes_gzip(request.headers.getlist("accept-encoding")))
        headers = _FOR_EVER | {"ETag": served.etag}
        if matches(request.headers.getlist("if-none-match"), served.etag):
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
        if served.gzip:
            headers["Content-Encoding"] = GZIP
        return Response(served.body, media_type=FACTS_MEDIA_TYPE, headers=headers)

    @app.get(
        "/v1/trust-list/facts/{revision}/since/{known}", response_class=Response, dependencies=[Depends(_only_known)]
    )
    async def get_changes(request: Request, revision: _Revision, known: _Revision) -> Response:
        """What facts have beyond an earlier body of theirs: the rest of its bytes, for ever the same."""
        served = await trust_list.changes(revision, known)
        headers = _FOR_EVER | {"ETag": served.etag}
        if matches(request.headers.getlist("if-none-match"), served.etag):
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
        return Response(served.body, media_type=FACTS_MEDIA_TYPE, headers=headers)

    @app.get("/v1/trust-list/extracts/{provider}")
    async def get_extract(provider: Annotated[str, Path(max_length=40)]) -> ExtractAnswer:
        """All that the list says of a provider and of those whom its credentials rest on, signed."""
        extract = trust_list.extract(organisation_of_path(provider, field="provider"))
        return ExtractAnswer(statement=extract.statement, facts=extract.facts.decode())

    @app.get("/v1/providers", dependencies=[Depends(_only_known)])
    async def get_providers(
        after: Annotated[str, Query(max_length=40)] = "",
        limit: Annotated[int, Query(ge=1, le=MAX_PROVIDERS)] = MAX_PROVIDERS,
    ) -> Response:
        """Providers with their accreditations and keys, as they stand now; go on with ``after`` the last one's id."""
        recorder.as_of()
        found = list(views.providers(projection, frameworks, now(), limit, after=after))
        return _json(projection, {"providers": found})

    @app.get("/v1/achievements", dependencies=[Depends(_only_known)])
    async def get_achievements(provider: _Provider = "", after: _After = "", limit: _Limit = DEFAULT_LIMIT) -> Response:
        """The newest version of achievements, by id; go on with ``after`` the last one's id."""
        recorder.as_of()
        beyond = parse_uuid(after, field="after") if after else None
        found = list(islice(views.achievements(projection, provider=provider, after=beyond), limit))
        return _json(projection, {"achievements": found})

    @app.get("/v1/qualifications", dependencies=[Depends(_only_known)])
    async def get_qualifications(
        provider: _Provider = "", after: _After = "", limit: _Limit = DEFAULT_LIMIT
    ) -> Response:
        """The newest version of qualifications, by id; go on with ``after`` the last one's id."""
        recorder.as_of()
        beyond = parse_uuid(after, field="after") if after else None
        found = list(islice(views.qualifications(projection, provider=provider, after=beyond), limit))
        return _json(projection, {"qualifications": found})

    @app.get("/", response_class=HTMLResponse)
    async def get_page(request: Request) -> Response:
        """Authorities, providers, accreditations and achievements, to read."""
        return page.show(request)

    return app


def _only_known(request: Request) -> None:
    """Refuses a parameter that is not taken: a misspelt one would be answered with everything, as if it had counted.

    Raises:
        InvalidArgument: ``UNKNOWN_PARAMETER``.
    """
    known = [parameter.alias for parameter in request.scope["route"].dependant.query_params]
    for name in request.query_params:
        if name not in known:
            raise InvalidArgument(
                "UNKNOWN_PARAMETER",
                "no parameter of this name is taken here",
                field=name[:_SHOWN_NAME],
                rule=f"one of {', '.join(known)}" if known else "none is taken",
                remedy="correct the name, or leave it out",
            )


def _json(projection: Projection, content: dict[str, Any]) -> Response:
    return JSONResponse({"registry_revision": projection.revision, **content}, headers=_BRIEF)
