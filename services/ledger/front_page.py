"""The ledger's page for people, in the reader's language: which lists there are, and how far the log is."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from importlib.resources import files
from typing import Any, Final

from fastapi import Request
from fastapi.responses import HTMLResponse, Response
from jinja2 import Environment, PackageLoader, StrictUndefined

from services.ledger.lists import PublishedList
from vitne.credentials.status_list import MEDIA_TYPE
from vitne.runtime.languages import best_table, chosen_language, reader_languages

#: The language of who asks for none that is here.
DEFAULT_LANGUAGE: Final = "en"
#: The address's parameter that chooses a language.
_LANGUAGE: Final = "lang"
#: The page loads nothing, runs nothing and sends nothing.
_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Vary": "Accept-Language",
    "X-Content-Type-Options": "nosniff",
}

TEXTS: Final[Mapping[str, Mapping[str, Any]]] = tomllib.loads(
    files(__package__).joinpath("page_texts.toml").read_text("utf-8")
)


class FrontPage:
    """Renders the page.

    Args:
        max_age: how long it may be cached, in seconds.
    """

    def __init__(self, max_age: int) -> None:
        self._headers = _HEADERS | {"Cache-Control": f"max-age={max_age}"}
        self._template = Environment(
            loader=PackageLoader("services.ledger"),
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
            undefined=StrictUndefined,
        ).get_template("page.html")

    def show(
        self, request: Request, lists: Iterable[PublishedList], *, checkpoint: str = "", unshown: str = ""
    ) -> Response:
        """The page, for who asks.

        Args:
            request: whose reader it is for.
            lists: as they are published.
            checkpoint: the log's newest.
            unshown: why there is none to show.

        Raises:
            InvalidArgument: ``UNKNOWN_LANGUAGE``.
        """
        chosen = chosen_language(request.query_params.get(_LANGUAGE, ""), TEXTS, field=_LANGUAGE)
        asked = reader_languages(request.headers.get("accept-language", ""))
        texts = best_table(TEXTS, [chosen, *asked] if chosen else asked, DEFAULT_LANGUAGE)
        html = self._template.render(
            t=texts,
            neighbour=bool(chosen) and chosen != texts["language"],
            switches=[
                (language, told["language_name"], f"/?{_LANGUAGE}={language}") for language, told in TEXTS.items()
            ],
            lists=list(lists),
            checkpoint=checkpoint,
            unshown=unshown,
            media_type=MEDIA_TYPE,
        )
        return HTMLResponse(html, headers=self._headers | {"Content-Language": texts["language"]})
