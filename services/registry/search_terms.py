"""What a search of the catalogue may name: what nobody has would find nothing, and look like an answer."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import Final

from services.registry.search import Query
from vitne.errors import InvalidArgument
from vitne.frameworks import Frameworks

#: Under which name a refusal tells, beside its words, what is known.
KNOWN: Final = "known"


def check_terms(query: Query, frameworks: Frameworks) -> None:
    """Refuse words that nobody can have written, what no rules have of countries, kinds, units and levels, and a range
    with nothing in it.

    Raises:
        InvalidArgument: ``CONTROL_CHARACTER``, ``UNKNOWN_COUNTRY``, ``UNKNOWN_KIND``, ``UNKNOWN_UNIT``,
            ``UNKNOWN_LEVEL``, ``BAD_RANGE``.
    """
    for name, text in (("text", query.text), ("provider", query.provider), ("level", query.level)):
        _check_characters(text, name)
    if query.country:
        _check_known(query.country, "country", "there are no rules for this country", _countries(frameworks))
    if query.kind:
        _check_known(query.kind, "kind", "no country's rules have this kind of credential", _kinds(frameworks))
    if query.unit:
        _check_known(query.unit, "unit", "no country's rules have this credit unit", _units(frameworks))
    if query.level:
        _check_level(query.level, frameworks)
    if query.min_points is not None and query.max_points is not None and query.min_points > query.max_points:
        raise InvalidArgument(
            "BAD_RANGE",
            "nothing is between these numbers",
            field="min_points",
            rule="min_points is at most max_points",
            remedy="exchange them, or leave one out",
        )


def _check_characters(text: str, field: str) -> None:
    if any(unicodedata.category(character) == "Cc" for character in text):
        raise InvalidArgument(
            "CONTROL_CHARACTER",
            "it holds a control character",
            field=field,
            rule="text without control characters (Unicode's category Cc), also without tabs and lines' ends",
            remedy="write spaces between words",
        )


def _check_known(term: str, field: str, message: str, known: Iterable[str]) -> None:
    among = sorted(set(known))
    if term not in among:
        raise InvalidArgument(
            f"UNKNOWN_{field.upper()}",
            message,
            field=field,
            rule=f"one of {', '.join(among)}",
            remedy="choose one of them, or leave it out",
            metadata={KNOWN: ", ".join(among)},
        )


def _countries(frameworks: Frameworks) -> Iterable[str]:
    return (country.country for country in frameworks)


def _kinds(frameworks: Frameworks) -> Iterable[str]:
    return (kind for country in frameworks for kind in country.credential_kinds)


def _units(frameworks: Frameworks) -> Iterable[str]:
    return (unit for country in frameworks for unit in country.units)


def _check_level(level: str, frameworks: Frameworks) -> None:
    levels: dict[str, list[str]] = {}
    for scheme, name in (level for country in frameworks for level in country.levels):
        levels.setdefault(scheme, []).append(name)
    scheme, _, name = level.partition(":")
    if name in levels.get(scheme, ()):
        return
    if scheme in levels:
        known = ", ".join(levels[scheme])
        rule, remedy = f"the levels of {scheme} are {known}", "use one of them"
    else:
        known = ", ".join(levels)
        rule, remedy = f"a framework and a level of it; known are {known}", "write it like no.nkr:5.1"
    raise InvalidArgument(
        "UNKNOWN_LEVEL",
        "no framework has this level",
        field="level",
        rule=rule,
        remedy=remedy,
        metadata={KNOWN: known},
    )
