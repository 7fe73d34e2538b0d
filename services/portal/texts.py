"""What the pages say, in the reader's language."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any, Final

from vitne.runtime import languages as negotiation
from vitne.runtime.languages import reader_languages

#: The language of who asks for none that is here.
DEFAULT_LANGUAGE: Final = "nb"

TEXTS: Final[Mapping[str, Mapping[str, Any]]] = tomllib.loads(
    files(__package__).joinpath("texts.toml").read_text("utf-8")
)


def page_texts(languages: Sequence[str]) -> Mapping[str, Any]:
    """The page's texts in the best of the reader's languages that there is."""
    return negotiation.best_table(TEXTS, languages, DEFAULT_LANGUAGE)


def best_text(texts: Mapping[str, str], languages: Sequence[str]) -> tuple[str, str]:
    """Language and text of what suits a reader best; two empty strings where there is no text."""
    return negotiation.best_text(texts, languages, DEFAULT_LANGUAGE)


__all__ = ["DEFAULT_LANGUAGE", "TEXTS", "best_text", "page_texts", "reader_languages"]
