"""What a check found, in the page's language. Machines and the command line are told the English sentence alone."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from importlib.resources import files
from typing import Final, NamedTuple

_PLACE: Final = re.compile(r"\{([a-z]+)\}")
#: The placeholder of what is called as the page calls that check.
_CHECK: Final = "check"
#: The placeholder of what stays in English.
_REST: Final = "rest"
_ENGLISH: Final = "en"
#: Longest detail that words are looked for: what is longer has somebody else's text in it, and would take long.
MAX_DETAIL: Final = 2_000


class Told(NamedTuple):
    """A detail: what is in the page's language, then what is in English."""

    own: str
    english: str


def _pattern(sentence: str) -> re.Pattern[str]:
    # Split by its one group, places are at the odd positions.
    parts = _PLACE.split(sentence)
    return re.compile(
        "".join(f"(?P<{part}>.+?)" if at % 2 else re.escape(part) for at, part in enumerate(parts)), re.DOTALL
    )


DETAILS: Final[tuple[Mapping[str, str], ...]] = tuple(
    tomllib.loads(files(__package__).joinpath("detail_texts.toml").read_text("utf-8"))["details"]
)
_PATTERNS: Final = tuple((_pattern(texts[_ENGLISH]), texts) for texts in DETAILS)


def in_language(detail: str, language: str, checks: Mapping[str, str]) -> Told:
    """A check's detail for readers of a language; in English where there are no words for it.

    Args:
        detail: as the check says it.
        language: of the page.
        checks: what the page calls checks.
    """
    if language == _ENGLISH:
        return Told(detail, "")
    for pattern, texts in _PATTERNS if len(detail) <= MAX_DETAIL else ():
        found = pattern.fullmatch(detail)
        if found is not None and language in texts:
            values = found.groupdict()
            if _CHECK in values and values[_CHECK] not in checks:
                continue
            values[_CHECK] = checks.get(values.get(_CHECK, ""), "")
            return Told(texts[language].format_map(values), values.get(_REST, ""))
    return Told("", detail)
