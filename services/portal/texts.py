"""What the pages say, in the reader's language: one TOML file of ``texts/`` a subject."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any, Final

from vitne.frameworks import Framework, Frameworks, Standing
from vitne.runtime import languages as negotiation
from vitne.runtime.languages import reader_languages

#: The language of who asks for none that is here.
DEFAULT_LANGUAGE: Final = "nb"
#: The languages of the pages (ISO 639-1), as they call themselves, in the order of the switch.
LANGUAGES: Final[Mapping[str, str]] = {
    "nb": "Bokmål",
    "nn": "Nynorsk",
    "se": "Davvisámegiella",
    "en": "English",
}

#: The national rules, whatever their standing: for the names of things.
RULES: Final = Frameworks.load(Standing)
#: The standing of each of them.
STANDINGS: Final[Mapping[str, Standing]] = {rule.id: rule.standing for rules in RULES for rule in rules.rules}


def _texts() -> dict[str, dict[str, Any]]:
    """The pages' own texts; what they don't name of a country is called as its national rules call it."""
    texts: dict[str, dict[str, Any]] = {language: {} for language in LANGUAGES}
    folder = files(__package__).joinpath("texts")
    for file in sorted(folder.iterdir(), key=lambda file: file.name):
        for language, table in tomllib.loads(file.read_text("utf-8")).items():
            _merge(texts[language], table, file.name)
    names: dict[str, dict[str, Mapping[str, str]]] = {
        "countries": {},
        "units": {},
        "frameworks": {},
        "accreditations": {},
    }
    for rules in RULES:
        names["countries"][rules.country] = rules.name
        names["units"] |= {unit.id: unit.name for unit in rules.units.values() if unit.id.startswith(_prefix(rules))}
        names["frameworks"] |= {scheme.id: scheme.name for scheme in rules.level_frameworks.values()}
        names["accreditations"] |= {kind.id: kind.name for kind in rules.accreditation_kinds.values()}
    for language, table in texts.items():
        for what, known in names.items():
            table[what] = {term: best_text(name, [language])[1] for term, name in known.items()} | table[what]
    return texts


def _merge(into: dict[str, Any], table: Mapping[str, Any], file: str) -> None:
    """Add one subject's texts; tables within grow together.

    Raises:
        ValueError: two subjects have a text of the same name.
    """
    for name, text in table.items():
        if isinstance(text, Mapping):
            _merge(into.setdefault(name, {}), text, file)
        elif name in into:
            raise ValueError(f"texts/{file}: another file has {name!r} as well")
        else:
            into[name] = text


def _prefix(rules: Framework) -> str:
    return f"{rules.country.lower()}."


def page_texts(languages: Sequence[str]) -> Mapping[str, Any]:
    """The pages' texts in the best of the reader's languages that there is."""
    return negotiation.best_table(TEXTS, languages, DEFAULT_LANGUAGE)


def best_text(texts: Mapping[str, str], languages: Sequence[str]) -> tuple[str, str]:
    """Language and text of what suits a reader best; two empty strings where there is no text."""
    return negotiation.best_text(texts, languages, DEFAULT_LANGUAGE)


def one_line(text: str) -> str:
    """A text that somebody wrote as one line that can be shown: without controls, with single blanks."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


#: What the pages say, by language.
TEXTS: Final[Mapping[str, Mapping[str, Any]]] = _texts()

__all__ = ["DEFAULT_LANGUAGE", "LANGUAGES", "TEXTS", "best_text", "one_line", "page_texts", "reader_languages"]
