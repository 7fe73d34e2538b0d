"""The catalogue over HTTP: as JSON, and as pages in the reader's language."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from importlib.resources import files
from typing import Annotated, Any, Final, TypeAlias
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Path, Request, Response
from fastapi import Query as Parameter
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined, pass_context
from jinja2.runtime import Context

from services.registry.catalogue_views import (
    CatalogueAnswer,
    CatalogueEntry,
    CatalogueViews,
    NamedTerm,
    OrganisationView,
)
from services.registry.page_security import page_security
from services.registry.recorder import Recorder
from services.registry.refusal_route import refusing
from services.registry.search import CatalogueIndex, Found, Query
from services.registry.search_terms import KNOWN, check_terms
from vitne.errors import InvalidArgument, NotFound, VitneError
from vitne.frameworks import Framework, Frameworks
from vitne.identifiers import parse_uuid
from vitne.runtime.http import status_of
from vitne.runtime.languages import NEIGHBOURS, best_table, best_text, reader_languages

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
#: With a comma, too: so most of the pages' languages write decimals.
_DECIMAL: Final = r"^([0-9]{1,5}([.,][0-9]{1,2})?)?$"
#: Reasons with a rule of their own; of the others it is the field's.
_RULES: Final = {"UNKNOWN_PARAMETER": "parameter", "BAD_RANGE": "range"}
#: The pages' parameter that chooses a language.
_LANGUAGE: Final = "lang"

_Limit: TypeAlias = Annotated[int, Parameter(ge=1, le=MAX_LIMIT, description="Achievements in one answer.")]

TEXTS: Final[Mapping[str, Mapping[str, Any]]] = tomllib.loads(
    files(__package__).joinpath("catalogue_texts.toml").read_text("utf-8")
)


def _query(  # noqa: PLR0917 - the parameters of a search, which FastAPI names
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
    return Query(
        text=text,
        country=country,
        provider=provider,
        kind=kind,
        level=level,
        eqf=eqf,
        field=field,
        unit=unit,
        min_points=_decimal(min_points),
        max_points=_decimal(max_points),
    )


def _decimal(text: str) -> Decimal | None:
    return Decimal(text.replace(",", ".")) if text else None


def _only(*others: str) -> Callable[[Request], None]:
    """Refuses what the catalogue is not searched by: a misspelt name would find everything, and look like an answer.

    Args:
        others: what is taken beside what it is searched by.

    Raises:
        InvalidArgument: ``UNKNOWN_PARAMETER``.
    """
    known = (*Query.__dataclass_fields__, *others)

    def check(request: Request) -> None:
        for name in request.query_params:
            if name not in known:
                raise InvalidArgument(
                    "UNKNOWN_PARAMETER",
                    "the catalogue is not searched by this",
                    field=name[:_SHOWN_NAME],
                    rule=f"it is searched by {', '.join(known)}",
                    remedy="correct the name, or leave it out",
                    metadata={KNOWN: ", ".join(known)},
                )

    return check


@dataclass(frozen=True, slots=True)
class _Reader:
    """Who reads a page.

    Attributes:
        languages: best first.
        chosen: what the address chooses; empty where it chooses none.
    """

    languages: Sequence[str]
    chosen: str

    def link(self, path: str, **query: str) -> str:
        """An address in the language that was chosen."""
        asked = query | {_LANGUAGE: self.chosen} if self.chosen else query
        return f"{path}?{urlencode(asked)}" if asked else path


def _reader(
    request: Request,
    lang: Annotated[str, Parameter(max_length=40, description="Language of the page; else the browser's.")] = "",
) -> _Reader:
    """Who reads a page: what she chose, else what her browser asks for.

    Raises:
        InvalidArgument: ``UNKNOWN_LANGUAGE``.
    """
    if lang and lang not in NEIGHBOURS:
        raise InvalidArgument(
            "UNKNOWN_LANGUAGE",
            "the catalogue's pages are not written for this language's readers",
            field=_LANGUAGE,
            rule=f"one of {', '.join(NEIGHBOURS)}",
            remedy="choose one of them, or leave it out",
            metadata={KNOWN: ", ".join(NEIGHBOURS)},
        )
    return _reader_of(request, lang)


def _reader_of(request: Request, lang: str) -> _Reader:
    asked = reader_languages(request.headers.get("accept-language", ""))
    return _Reader([lang, *(language for language in asked if language != lang)] if lang else asked, lang)


def catalogue_routes(recorder: Recorder, index: CatalogueIndex, now: Callable[[], datetime]) -> APIRouter:
    """The catalogue's routes; nothing is shown before the facts are read."""
    routes = APIRouter()
    projection = recorder.projection
    views = CatalogueViews(projection, recorder.frameworks)
    pages = _Pages(recorder.frameworks)
    for_people = APIRouter(route_class=refusing(pages.refusal))

    async def find(query: Query, limit: int, after: str) -> Found:
        recorder.as_of()
        check_terms(query, recorder.frameworks)
        if query.provider and projection.provider(query.provider) is None:
            raise InvalidArgument(
                "UNKNOWN_PROVIDER",
                "no provider of this id is registered",
                field="provider",
                rule="the id of a provider in this registry, scheme:value",
                remedy="choose one of /v1/providers, or leave it out",
            )
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

    @routes.get("/v1/catalogue", dependencies=[Depends(_only(*_PAGING))])
    async def search_catalogue(
        response: Response,
        query: Annotated[Query, Depends(_query)],
        after: Annotated[str, Parameter(max_length=36, description="From the answer before.")] = "",
        limit: _Limit = DEFAULT_LIMIT,
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

    @for_people.get("/catalogue", response_class=HTMLResponse, dependencies=[Depends(_only(*_PAGING, _LANGUAGE))])
    async def get_catalogue_page(
        reader: Annotated[_Reader, Depends(_reader)],
        query: Annotated[Query, Depends(_query)],
        after: Annotated[str, Parameter(max_length=36)] = "",
        limit: _Limit = DEFAULT_LIMIT,
    ) -> Response:
        """The catalogue as a page, with a form to search it."""
        found = await find(query, limit, after)
        entries = [views.entry(one, now()) for one in found.achievements]
        providers = [views.organisation(one) for one in {*await index.providers(), query.provider} - {""}]
        following = str(found.after) if found.after else ""
        return pages.search(reader, query, providers, entries, after, following, limit)

    @for_people.get("/catalogue/{achievement_id}", response_class=HTMLResponse)
    async def get_achievement_page(
        reader: Annotated[_Reader, Depends(_reader)], achievement_id: Annotated[str, Path(max_length=36)]
    ) -> Response:
        """One achievement as a page."""
        return pages.achievement(reader, newest(achievement_id))

    routes.include_router(for_people)
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
        self._templates.filters["called"] = _called
        self._templates.filters["counted"] = _counted
        self._templates.filters["number"] = _number
        self._templates.filters["is_one"] = _is_one
        self._headers = page_security("catalogue_base.html", forms=True) | {
            "Cache-Control": "max-age=1",
            "Vary": "Accept-Language",
        }
        countries = [framework for framework in frameworks if framework.rules]
        self._options = {
            "countries": [NamedTerm(id=one.country, name=dict(one.name)) for one in countries],
            "kinds": [
                (
                    NamedTerm(id=one.country, name=dict(one.name)),
                    [NamedTerm(id=kind.id, name=dict(kind.name)) for kind in one.credential_kinds.values()],
                )
                for one in countries
            ],
            "units": [NamedTerm(id=unit, name=name) for unit, name in _units(countries).items()],
            "eqf": [NamedTerm(id=level, name={}) for level in EQF_LEVELS],
        }

    def search(  # noqa: PLR0917 - what the page shows
        self,
        reader: _Reader,
        query: Query,
        providers: Iterable[OrganisationView],
        entries: Sequence[CatalogueEntry],
        after: str,
        following: str,
        limit: int,
    ) -> Response:
        """The form, and what was found."""
        asked = {name: "" if value is None else str(value) for name, value in _members(query)}
        wanted = {name: value for name, value in asked.items() if value}
        if limit != DEFAULT_LIMIT:
            wanted["limit"] = str(limit)
        return self._render(
            reader,
            "catalogue.html",
            wanted | ({"after": after} if after else {}),
            machines=f"/v1/catalogue?{urlencode(wanted)}" if wanted else "/v1/catalogue",
            asked=asked,
            options=self._options | {"providers": _by_name(providers, reader.languages)},
            entries=entries,
            next=reader.link("/catalogue", **wanted, after=following) if following else "",
        )

    def achievement(self, reader: _Reader, entry: CatalogueEntry) -> Response:
        """One achievement."""
        return self._render(reader, "achievement.html", {}, machines=f"/v1/catalogue/{entry.id}", one=entry)

    def refusal(self, request: Request, error: VitneError) -> Response | None:
        """A refusal in the reader's language; None where there are no words for it."""
        chosen = request.query_params.get(_LANGUAGE, "")
        reader = _reader_of(request, chosen if chosen in NEIGHBOURS else "")
        about = _RULES.get(error.reason, error.field)
        rule = best_table(TEXTS, reader.languages, DEFAULT_LANGUAGE)["rules"].get(about)
        if rule is None:
            return None
        known = error.metadata.get(KNOWN)
        page = self._render(
            reader,
            "refusal.html",
            {name: value for name, value in request.query_params.items() if name != _LANGUAGE},
            machines="/v1/catalogue",
            field=error.field,
            rule=f"{rule}: {known}" if known else rule,
            reason=error.reason,
        )
        page.status_code = status_of(error)
        page.headers.update({"Cache-Control": "no-store", "Vary": "Accept, Accept-Language"})
        return page

    def _render(self, reader: _Reader, template: str, query: Mapping[str, str], **content: Any) -> Response:
        texts = best_table(TEXTS, reader.languages, DEFAULT_LANGUAGE)
        html = self._templates.get_template(template).render(
            t=texts,
            reader=reader,
            languages=reader.languages,
            switches=[
                (language, told["language_name"], f"?{urlencode({**query, _LANGUAGE: language})}")
                for language, told in TEXTS.items()
            ],
            **content,
        )
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


@pass_context
def _called(context: Context, term: NamedTerm) -> tuple[str, str]:
    """Language and text of what a term is called: in the page's words, else in those of the national rules."""
    own = context["t"]["names"].get(term.id)
    return (context["t"]["language"], own) if own else _best(context, term.name)


@pass_context
def _counted(context: Context, term: NamedTerm, number: str) -> tuple[str, str]:
    """Language and text of what a unit is called after a number of it."""
    one = context["t"]["units_one"].get(term.id) if _is_one(number) else None
    return (context["t"]["language"], one) if one else _called(context, term)


def _is_one(number: str | int) -> bool:
    """Whether what is counted stands in the singular."""
    return Decimal(number) == 1


@pass_context
def _number(context: Context, decimal: str) -> str:
    """A decimal as the page's language writes it."""
    return decimal if context["t"]["language"] == "en" else decimal.replace(".", ",")


def _by_name(providers: Iterable[OrganisationView], languages: Sequence[str]) -> list[OrganisationView]:
    """Providers in the order of their names as the reader sees them."""
    return sorted(providers, key=lambda one: (best_text(one.name, languages, DEFAULT_LANGUAGE)[1].casefold(), one.id))


def _members(query: Query) -> list[tuple[str, Any]]:
    return [(name, getattr(query, name)) for name in Query.__dataclass_fields__]
