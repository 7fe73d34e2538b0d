"""Which of the languages that there are suits a reader best."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from vitne.errors import InvalidArgument

#: Where to look next when a text is not in a reader's language: Nordic readers understand their neighbours.
NEIGHBOURS: Final[Mapping[str, Sequence[str]]] = {
    "nb": ("nn", "da", "sv", "en"),
    "nn": ("nb", "da", "sv", "en"),
    "se": ("nb", "nn", "sv", "en"),
    "da": ("nb", "nn", "sv", "en"),
    "sv": ("nb", "nn", "da", "en"),
    "is": ("da", "nb", "nn", "sv", "en"),
    "en": ("nb", "da", "sv"),
}
#: What is read where nothing else is.
_COMMON: Final = "en"
#: Characters of an Accept-Language header that are read.
_HEADER_LIMIT: Final = 200
_ENTRY: Final = re.compile(r"\s*([a-zA-Z]{2,3})(?:-[a-zA-Z0-9]+)*\s*(?:;\s*q=([01](?:\.\d{0,3})?))?\s*\Z")
#: ``no`` is what older browsers send, and ELMO's own example has; it means bokmål in practice.
_ALIASES: Final = {"no": "nb"}


def reader_languages(accept_language: str) -> list[str]:
    """Languages of a reader, best first (RFC 9110, section 12.5.4), without their regions; may be empty."""
    wanted: dict[str, float] = {}
    for entry in accept_language[:_HEADER_LIMIT].split(","):
        match = _ENTRY.match(entry)
        if match is not None:
            language = _language(match[1])
            quality = 1.0 if match[2] is None else float(match[2])
            wanted[language] = max(quality, wanted.get(language, 0.0))
    return [language for language, quality in sorted(wanted.items(), key=lambda one: -one[1]) if quality > 0]


def best_table(tables: Mapping[str, Mapping[str, Any]], languages: Sequence[str], default: str) -> Mapping[str, Any]:
    """The table of a page's texts in the best of a reader's languages that there is; else the default one.

    By the rule of :func:`best_text`, so that a page and what is named on it are in one language.
    """
    for language in _read_by(tuple(languages or [default])):
        if language in tables:
            return tables[language]
    return tables[default]


def chosen_language(chosen: str, tables: Iterable[str], *, field: str) -> str:
    """The language that an address chooses, as it stands there; empty where it chooses none.

    Args:
        chosen: what the address says.
        tables: languages that the page is written in; their neighbours' readers may choose theirs, too.
        field: the address's parameter.

    Raises:
        InvalidArgument: ``UNKNOWN_LANGUAGE``: nobody who reads it has a page here.
    """
    if chosen and chosen not in NEIGHBOURS:
        raise InvalidArgument(
            "UNKNOWN_LANGUAGE",
            "the page is not written for this language's readers",
            field=field,
            rule=f"one of {', '.join(tables)}",
            remedy="choose one of them, or leave it out",
        )
    return chosen


def best_text(texts: Mapping[str, str], languages: Sequence[str], default: str) -> tuple[str, str]:
    """Language and text of what suits a reader best; two empty strings where there is no text.

    Args:
        texts: by language tag, in the order of whoever wrote them.
        languages: of the reader, best first.
        default: of who asks for none.
    """
    by_primary = {_language(tag): tag for tag in reversed(list(texts))}
    for language in _read_by(tuple(languages or [default])):
        if (tag := by_primary.get(language)) is not None:
            return tag, texts[tag]
    return next(iter(texts.items()), ("", ""))


def with_neighbours(languages: Sequence[str]) -> list[str]:
    """The languages themselves first, then what their readers understand as well."""
    return [*languages, *(near for language in languages for near in _near(language))]


def read_by(languages: Sequence[str]) -> list[str]:
    """What a reader of ``languages`` reads, best first, each once: a language's neighbours come next to it.

    Browsers name English for everybody, whatever they are told besides: who reads Northern Sami and finds a title in
    bokmål and in English reads the bokmål. Neighbours that the reader names keep the order in which she does.
    """
    return list(_read_by(tuple(languages)))


# A page asks for each of its texts; readers' languages are few, and what they are asked for by strangers is bounded.
@lru_cache(maxsize=256)
def _read_by(languages: tuple[str, ...]) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for language in languages:
        near = [one for one in _near(language) if _COMMON not in (one, language)]
        named = [one for one in languages if one in near]
        found |= dict.fromkeys([language, *named, *near])
    return tuple(found | dict.fromkeys(with_neighbours(languages)))


def _language(tag: str) -> str:
    """The language of a tag, without its region."""
    primary = tag.split("-", 1)[0].lower()
    return _ALIASES.get(primary, primary)


def _near(language: str) -> Sequence[str]:
    return NEIGHBOURS.get(language, (_COMMON,))
