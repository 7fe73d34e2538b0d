"""The registry's own page: authorities, providers, accreditations and achievements, in the reader's language."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib.resources import files
from itertools import islice
from typing import Any, Final

from fastapi import Request
from fastapi.responses import HTMLResponse, Response
from jinja2 import Environment, PackageLoader, StrictUndefined, pass_context
from jinja2.runtime import Context

from services.registry import views
from services.registry.catalogue_pages import TEXTS as CATALOGUE_TEXTS
from services.registry.page_security import page_security
from services.registry.recorder import Recorder
from vitne.frameworks import Frameworks
from vitne.runtime.languages import best_table, best_text, chosen_language, reader_languages

#: The language of who asks for none that is here.
DEFAULT_LANGUAGE: Final = "en"
#: Entries of each kind.
MAX_ENTRIES: Final = 200
#: How old the page may be though no fact was added: accreditations begin and end by the clock, too.
PAGE_LIFETIME: Final = timedelta(seconds=5)
#: The address's parameter that chooses a language.
_LANGUAGE: Final = "lang"
_TEMPLATE: Final = "registry.html"
_HEADERS: Final = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "ETag",
    "Cache-Control": "max-age=1",
    "Vary": "Accept-Language",
}

TEXTS: Final[Mapping[str, Mapping[str, Any]]] = tomllib.loads(
    files(__package__).joinpath("page_texts.toml").read_text("utf-8")
)


@dataclass(frozen=True, slots=True)
class _Rendered:
    """The page as it was rendered in one language."""

    revision: int
    at: datetime
    html: str


class FrontPage:
    """Renders the page; it is kept for a moment in each language.

    Args:
        recorder: has the facts.
        now: tells the present.
    """

    def __init__(self, recorder: Recorder, now: Callable[[], datetime]) -> None:
        self._recorder = recorder
        self._now = now
        self._names = _names(recorder.frameworks)
        self._headers = _HEADERS | page_security(_TEMPLATE)
        #: By the language, and by whether its reader chose another.
        self._newest: dict[tuple[str, bool], _Rendered] = {}
        templates = Environment(
            loader=PackageLoader("services.registry"),
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
            undefined=StrictUndefined,
        )
        templates.filters["best"] = _best
        templates.filters["called"] = self._called
        self._template = templates.get_template(_TEMPLATE)

    def show(self, request: Request) -> Response:
        """The page, for who asks.

        Raises:
            InvalidArgument: ``UNKNOWN_LANGUAGE``.
            VitneError: what :meth:`Recorder.as_of` refuses.
        """
        chosen = chosen_language(request.query_params.get(_LANGUAGE, ""), TEXTS, field=_LANGUAGE)
        asked = reader_languages(request.headers.get("accept-language", ""))
        texts = best_table(TEXTS, [chosen, *asked] if chosen else asked, DEFAULT_LANGUAGE)
        self._recorder.as_of()
        present, revision = self._now(), self._recorder.projection.revision
        key = (texts["language"], bool(chosen) and chosen != texts["language"])
        newest = self._newest.get(key)
        if newest is None or newest.revision != revision or not present - newest.at < PAGE_LIFETIME:
            newest = self._newest[key] = _Rendered(revision, present, self._render(texts, present, neighbour=key[1]))
        return HTMLResponse(newest.html, headers=self._headers | {"Content-Language": texts["language"]})

    def _render(self, texts: Mapping[str, Any], present: datetime, *, neighbour: bool) -> str:
        projection, frameworks = self._recorder.projection, self._recorder.frameworks
        providers = list(views.providers(projection, frameworks, present, MAX_ENTRIES + 1))
        achievements = list(islice(views.achievements(projection), MAX_ENTRIES + 1))
        return self._template.render(
            t=texts,
            neighbour=neighbour,
            switches=[
                (language, told["language_name"], f"/?{_LANGUAGE}={language}") for language, told in TEXTS.items()
            ],
            revision=projection.revision,
            authorities=views.authorities(projection),
            providers=providers[:MAX_ENTRIES],
            more_providers=len(providers) > MAX_ENTRIES,
            achievements=achievements[:MAX_ENTRIES],
            more=len(achievements) > MAX_ENTRIES,
        )

    @pass_context
    def _called(self, context: Context, code: str) -> tuple[str, str]:
        """Language and text of what a term is called: as on the catalogue's pages; else the term itself."""
        language = context["t"]["language"]
        own = CATALOGUE_TEXTS[language]["names"].get(code)
        return (language, own) if own else _best(context, self._names.get(code, {"": code}))


@pass_context
def _best(context: Context, texts: Mapping[str, str] | Sequence[Mapping[str, str]]) -> tuple[str, str]:
    """Language and text of what suits the page's reader best; of texts by language, or as JSON has them."""
    by_language = texts if isinstance(texts, Mapping) else {one["language"]: one["text"] for one in texts}
    return best_text(by_language, [context["t"]["language"]], DEFAULT_LANGUAGE)


def _names(frameworks: Frameworks) -> dict[str, Mapping[str, str]]:
    """What countries and their terms are called, by their codes."""
    names: dict[str, Mapping[str, str]] = {}
    for country in frameworks:
        names[country.country] = country.name
        for terms in (
            country.level_frameworks,
            country.units,
            country.credential_kinds,
            country.provider_kinds,
            country.accreditation_kinds,
        ):
            names |= {code: term.name for code, term in terms.items() if code not in names}
    return names
