"""Which language a request's reader reads: what she chose, else what her browser asks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

from fastapi import Request

from services.portal.texts import LANGUAGES, page_texts, reader_languages

#: The query's parameter that chooses a language.
PARAMETER: Final = "lang"
#: Remembers it, once there is a log-in to remember anything for.
COOKIE: Final = "vitne_language"


@dataclass(frozen=True, slots=True)
class Reader:
    """Who reads a page.

    Attributes:
        languages: best first.
        texts: the pages' in the best of them.
        chosen: language that the address chooses; None where it chooses none.
    """

    languages: Sequence[str]
    texts: Mapping[str, Any]
    chosen: str | None

    def link(self, path: str) -> str:
        """``path`` with the language that the address chose, so that it lasts without a cookie."""
        return path if self.chosen is None else f"{path}?{urlencode({PARAMETER: self.chosen})}"


def reader_of(request: Request, remembered: str) -> Reader:
    """The reader of an answer to ``request``.

    Args:
        request: what she asked for, and her browser's languages.
        remembered: what the cookie says. A language that there is no table for is as if not chosen.
    """
    asked = request.query_params.get(PARAMETER)
    chosen = asked if asked in LANGUAGES else None
    best = chosen or remembered
    languages = reader_languages(request.headers.get("accept-language", ""))
    if best in LANGUAGES:
        languages = [best, *(language for language in languages if language != best)]
    return Reader(languages, page_texts(languages), chosen)


def switches(request: Request, path: str) -> list[tuple[str, str, str]]:
    """Language, name and address of each language that a page can be read in.

    Args:
        request: whose query is kept, but for the language.
        path: of the page.
    """
    query = [(name, value) for name, value in request.query_params.multi_items() if name != PARAMETER]
    kept = query if path == request.url.path else []
    return [(language, name, f"{path}?{urlencode([*kept, (PARAMETER, language)])}")
            for language, name in LANGUAGES.items()]  # fmt: skip
