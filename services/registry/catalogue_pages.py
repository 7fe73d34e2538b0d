"""The catalogue over HTTP: as JSON, and as pages in the reader's language."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from importlib.resources import files
from typing import Annotated, Any, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Path, Request, Response
from fastapi import Query as Parameter
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined, pass_context
from jinja2.runtime import Context

from services.registry.catalogue_views import CatalogueAnswer, CatalogueEntry, CatalogueViews
from services.registry.page_security import page_security
from services.registry.recorder import Recorder
from services.registry.search import CatalogueIndex, Found, Query
from vitne.errors import InvalidArgument, NotFound
from vitne.frameworks import Framework, Frameworks
from vitne.identifiers import parse_uuid
from vitne.runtime.languages import best_table, best_text, reader_languages

#: Achievements on a page, and in one answer where nothing is said.
DEFAULT_LIMIT: Final = 20
#: Most of them in one answer: each is shown whole, at some 0.3 ms.
MAX_LIMIT: Final = 100
#: The language of who asks for none that is here.
DEFAULT_LANGUAGE: Final = "en"
#: Parameters that say which part of what was found is shown.
_PAGING: Final = ("after", "limit")
#: Characters of an unknown parameter that are told again.
_SHOWN_NAME: Final = 64
#: Levels of the European Qualifications Framework.
EQF_LEVELS: Final = tuple(str(level) for level in range(1, 9))
#: Anyone may read this from a browser, for a moment also from a cache.
_HEADERS: Final = {"Access-Control-Allow-Origin": "*", "Cache-Control": "max-age=1"}
_TERM: Final = r"^[a-z0-9_.]*$"
_DECIMAL: Final = r"^([0-9]{1,5}(\.[0-9]{1,2})?)?$"

TEXTS: Final[Mapping[str, Mapping[str, Any]]] = tomllib.loads(
    files(__package__).joinpath("catalogue_texts.toml").read_text("utf-8")
)


def _query(  # noqa: PLR0917 - the parameters of a search, which FastAPI names
    request: Request,
    text: Annotated[str, Parameter(max_length=200, description="Words, all of which must be there.")] = "",
    country: Annotated[str, Parameter(pattern="^([A-Z]{2})?$", description="ISO 3166-1 alpha-2.")] = "",
    provider: Annotated[str, Parameter(max_length=40, description="Organisation, `0184:30859480`.")] = "",
    kind: Annotated[str, Parameter(max_length=64, pattern=_TERM, description="Kind of credential.")] = "",
    level: Annotated[str, Parameter(max_length=80, description="Framework and level, `no.nkr:5.1`.")] = "",
    eqf: Annotated[str, Parameter(pattern="^[1-8]?$", description="Level of the EQF that it was referred to.")] = "",
    field: Annotated[str, Parameter(pattern="^[0-9]{0,4}$", description="ISCED-F 2013, with what is within.")] = "",
    unit: Annotated[str, Parameter(max_length=64, pattern=_TERM, description="Credit unit.")] = "",
    min_points: Annotated[str, Parameter(pattern=_DECIMAL, description="Smallest number of credits.")] = "",
    max_points: Annotated[str, Parameter(pattern=_DECIMAL, description="Largest number of credits.")] = "",
) -> Query:
    _check_names(request)
    return Query(
        text=text,
        country=country,
        provider=provider,
        kind=kind,
        level=level,
        eqf=eqf,
        field=field,
        unit=unit,
        min_points=Decimal(min_points) if min_points else None,
        max_points=Decimal(max_points) if max_points else None,
    )


def _check_names(request: Request) -> None:
    """Refuse what the catalogue is not searched by: a misspelt name would find everything, and look like an answer.

    Raises:
        InvalidArgument: ``UNKNOWN_PARAMETER``.
    """
    known = (*Query.__dataclass_fields__, *_PAGING)
    for name in request.query_params:
        if name not in known:
            raise InvalidArgument(
                "UNKNOWN_PARAMETER",
                "the catalogue is not searched by this",
                field=name[:_SHOWN_NAME],
                rule=f"it is searched by {', '.join(known)}",
                remedy="correct the name, or leave it out",
            )


def catalogue_routes(recorder: Recorder, index: CatalogueIndex, now: Callable[[], datetime]) -> APIRouter:
    """The catalogue's routes; nothing is shown before the facts are read."""
    routes = APIRouter()
    projection = recorder.projection
    views = CatalogueViews(projection, recorder.frameworks)
    pages = _Pages(recorder.frameworks)

    async def find(query: Query, limit: int, after: str) -> Found:
        recorder.as_of()
        return await index.search(query, limit, parse_uuid(after, field="after") if after else None)

    def newest(achievement_id: str) -> CatalogueEntry:
        recorder.as_of()
        found = projection.newest_achievement(achievement_id)
        if found is None:
            raise NotFound(
                "ACHIEVEMENT_UNKNOWN",
                "no such achievement was published",
                field="achievement_id",
                rule="an achievement is named by its UUID",
                remedy="search for it",
            )
        return views.entry(found, now())

    @routes.get("/v1/catalogue")
    async def search_catalogue(
        response: Response,
        query: Annotated[Query, Depends(_query)],
        after: Annotated[str, Parameter(max_length=36, description="From the answer before.")] = "",
        limit: Annotated[int, Parameter(ge=1, le=MAX_LIMIT)] = DEFAULT_LIMIT,
    ) -> CatalogueAnswer:
        """Search the newest version of every achievement; with each, all that somebody needs to compare."""
        found = await find(query, limit, after)
        response.headers.update(_HEADERS)
        return CatalogueAnswer(
            registry_revision=projection.revision,
            achievements=[views.entry(one, now()) for one in found.achievements],
            after=str(found.after) if found.after else None,
        )

    @routes.get("/v1/catalogue/{achievement_id}")
    async def get_entry(response: Response, achievement_id: Annotated[str, Path(max_length=36)]) -> CatalogueEntry:
        """The newest version of one achievement."""
        response.headers.update(_HEADERS)
        return newest(achievement_id)

    @routes.get("/catalogue", response_class=HTMLResponse)
    async def get_catalogue_page(
        request: Request,
        query: Annotated[Query, Depends(_query)],
        after: Annotated[str, Parameter(max_length=36)] = "",
    ) -> Response:
        """The catalogue as a page, with a form to search it."""
        found = await find(query, DEFAULT_LIMIT, after)
        entries = [views.entry(one, now()) for one in found.achievements]
        return pages.search(request, query, entries, str(found.after) if found.after else "")

    @routes.get("/catalogue/{achievement_id}", response_class=HTMLResponse)
    async def get_achievement_page(request: Request, achievement_id: Annotated[str, Path(max_length=36)]) -> Response:
        """One achievement as a page."""
        return pages.achievement(request, newest(achievement_id))

    return routes


class _Pages:
    """Renders the pages."""

    def __init__(self, frameworks: Frameworks) -> None:
        self._templates = Environment(
            loader=PackageLoader("services.registry"),
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
            undefined=StrictUndefined,
        )
        self._templates.filters["best"] = _best
        self._headers = page_security("catalogue_base.html", forms=True) | {
            "Cache-Control": "max-age=1",
            "Vary": "Accept-Language",
        }
        countries = [framework for framework in frameworks if framework.rules]
        self._options = {
            "countries": [(framework.country, framework.name) for framework in countries],
            "kinds": [
                (one.name, [(kind.id, kind.name) for kind in one.credential_kinds.values()]) for one in countries
            ],
            "units": list(_units(countries).items()),
            "eqf": [(level, {}) for level in EQF_LEVELS],
        }

    def search(self, request: Request, query: Query, entries: Sequence[CatalogueEntry], after: str) -> Response:
        """The form, and what was found."""
        asked = {name: "" if value is None else str(value) for name, value in _members(query)}
        wanted = {name: value for name, value in asked.items() if value}
        return self._render(
            request,
            "catalogue.html",
            machines=f"/v1/catalogue?{urlencode(wanted)}" if wanted else "/v1/catalogue",
            asked=asked,
            options=self._options,
            entries=entries,
            next=f"/catalogue?{urlencode(wanted | {'after': after})}" if after else "",
        )

    def achievement(self, request: Request, entry: CatalogueEntry) -> Response:
        """One achievement."""
        return self._render(request, "achievement.html", machines=f"/v1/catalogue/{entry.id}", one=entry)

    def _render(self, request: Request, template: str, **content: Any) -> Response:
        languages = reader_languages(request.headers.get("accept-language", ""))
        texts = best_table(TEXTS, languages, DEFAULT_LANGUAGE)
        html = self._templates.get_template(template).render(t=texts, languages=languages, **content)
        return HTMLResponse(html, headers=self._headers | {"Content-Language": texts["language"]})


def _units(countries: Iterable[Framework]) -> dict[str, dict[str, str]]:
    """Credit units with their names; one that several countries have is named in the languages of all."""
    units: dict[str, dict[str, str]] = {}
    for country in countries:
        for unit in country.units.values():
            units[unit.id] = dict(unit.name) | units.get(unit.id, {})
    return units


@pass_context
def _best(context: Context, texts: Mapping[str, str]) -> tuple[str, str]:
    """Language and text of what suits the page's reader best."""
    return best_text(texts, context["languages"], DEFAULT_LANGUAGE)


def _members(query: Query) -> list[tuple[str, Any]]:
    return [(name, getattr(query, name)) for name in Query.__dataclass_fields__]
