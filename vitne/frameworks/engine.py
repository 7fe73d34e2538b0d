"""Reads the national rules strictly: an unknown key or term is refused, naming the file and the key."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, InvalidOperation
from importlib.resources import files
from importlib.resources.abc import Traversable
from types import MappingProxyType
from typing import Any, Final, TypeVar

from vitne.errors import InvalidArgument
from vitne.frameworks.model import (
    WITHOUT_CREDITS,
    AccreditationKind,
    Basis,
    Framework,
    Named,
    Principle,
    Rule,
    Unit,
)
from vitne.frameworks.terms import Bound, Reason, Standing

#: The file of what is common: its terms carry no country's prefix.
COMMON: Final = "EU"
#: Stands for "without" among levels and units.
_NONE: Final = "none"
_EQF_LEVELS: Final = frozenset("12345678")
_TERM: Final = re.compile(r"[a-z][a-z0-9_]*(\.[a-z0-9_]+)*\Z")
_DAY: Final = re.compile(r"\d{4}-\d\d-\d\d\Z")

_Item = TypeVar("_Item")


class Frameworks:
    """The rules of all countries, and which standings are applied.

    Compared by identity, so that it can be part of a cache's key.
    """

    def __init__(self, frameworks: Iterable[Framework], standings: Iterable[Standing]) -> None:
        self._by_country = {framework.country: framework for framework in frameworks}
        #: Rules of other standings are known, explained, and never allow anything.
        self.standings: Final = frozenset(standings)

    @classmethod
    def load(cls, standings: Iterable[Standing | str], folder: Traversable | None = None) -> Frameworks:
        """Read every file of ``folder`` (by default the ones shipped here).

        Args:
            standings: which standings this deployment applies, e.g. ``{"in_force", "pilot"}``.

        Raises:
            InvalidArgument: ``BAD_FRAMEWORK`` naming file and key; ``UNKNOWN_STANDING``.
        """
        try:
            applied = frozenset(Standing(standing) for standing in standings)
        except ValueError as error:
            raise InvalidArgument(
                "UNKNOWN_STANDING",
                f"no such standing of rules: {error}",
                field="standings",
                rule="one of " + ", ".join(Standing),
                remedy="correct the setting",
            ) from error
        folder = folder if folder is not None else files(__package__).joinpath("data")
        documents = {path.name: path.read_text("utf-8") for path in folder.iterdir() if path.name.endswith(".toml")}
        return cls(parse(documents), applied)

    def country(self, code: str) -> Framework | None:
        """The rules of a country (ISO 3166-1 alpha-2), or None where there are none."""
        return self._by_country.get(code)

    def __iter__(self) -> Iterator[Framework]:
        return iter(self._by_country.values())

    def require(self, code: str, *, field: str) -> Framework:
        """The rules of a country.

        Raises:
            InvalidArgument: ``UNKNOWN_COUNTRY``.
        """
        framework = self._by_country.get(code)
        if framework is None:
            raise InvalidArgument(
                "UNKNOWN_COUNTRY",
                f"there are no rules for the country {code}",
                field=field,
                rule="one data file of rules a country",
                remedy="use one of " + ", ".join(sorted(set(self._by_country) - {COMMON})),
            )
        return framework


def parse(documents: Mapping[str, str]) -> list[Framework]:
    """The frameworks of TOML documents by file name; the common one (``eu.toml``) must be among them.

    Raises:
        InvalidArgument: ``BAD_FRAMEWORK``.
    """
    tables = {}
    for name, text in documents.items():
        try:
            tables[name] = _Table(name, "", tomllib.loads(text))
        except tomllib.TOMLDecodeError as error:
            raise _bad(name, "", f"not TOML: {error}") from error
    by_country: dict[str, _Table] = {}
    for table in tables.values():
        country = table.text("country")
        if country in by_country:
            raise _bad(table.file, "country", f"{country} has another file")
        if table.file != f"{country.lower()}.toml":
            raise _bad(table.file, "country", f"the file of {country} is called {country.lower()}.toml")
        by_country[country] = table
    if COMMON not in by_country:
        raise _bad("eu.toml", "", "what is common is missing")
    common = _framework(COMMON, by_country.pop(COMMON), None)
    return [common, *(_framework(country, table, common) for country, table in sorted(by_country.items()))]


def _framework(country: str, table: _Table, common: Framework | None) -> Framework:
    """Read one file whole. What has no prefix of the country must be common."""
    version = table.text("version")
    if not _DAY.match(version):
        raise table.bad("version", "a day such as 2026-11-01")
    prefix = f"{country.lower()}."
    sources_table = table.table("sources")
    sources = {}
    for name in list(sources_table.keys()):
        source = sources_table.table(name)
        sources[name] = source.text("title")
        source.done()
    sources_table.done()

    def own(shared: Iterable[str]) -> Callable[[str], bool]:
        """Whether a term may be defined in this file."""
        allowed = frozenset(shared)
        return lambda term: term.startswith(prefix) or term in allowed or common is None

    def terms(key: str, read: Callable[[_Table, str, Mapping[str, str]], _Item], shared: Iterable[str] = ()) -> Any:
        found: dict[str, _Item] = {}
        may_define = own(shared)
        for entry in table.tables(key):
            term = entry.term("id")
            if term in found:
                raise entry.bad("id", f"{term} is defined twice")
            if not may_define(term):
                raise entry.bad("id", f"{term} is neither common nor this country's own ({prefix}…)")
            found[term] = read(entry, term, entry.names("name"))
            entry.done()
        return MappingProxyType(found)

    levels: dict[tuple[str, str], str] = {}
    for entry in table.tables("level_framework"):
        scheme = entry.term("id")
        if not own(())(scheme):
            raise entry.bad("id", f"{scheme} is not this country's own ({prefix}…)")
        entry.names("name")
        for item in entry.tables("levels"):
            level, eqf = item.text("level"), item.text("eqf")
            item.optional_text("also")
            item.done()
            if eqf not in _EQF_LEVELS:
                raise item.bad("eqf", "a level of EQF, 1 to 8")
            if (scheme, level) in levels:
                raise item.bad("level", f"{level} is there twice")
            levels[scheme, level] = eqf
        entry.done()

    units = terms("unit", _unit, common.units if common else ())
    known_units = {*units, *(common.units if common else ())}
    for unit in units.values():
        for target in unit.converts_to:
            if target not in known_units:
                raise table.bad("unit.converts_to", f"{unit.id} converts to {target}, which is not known")
    provider_kinds = terms("provider_kind", _named)
    credential_kinds = terms("credential_kind", _named)
    accreditation_kinds = terms("accreditation_kind", _accreditation_kind(provider_kinds))
    reader = _RuleReader(
        sources=sources,
        prefix=prefix,
        levels=levels,
        units=units,
        provider_kinds=provider_kinds,
        credential_kinds=credential_kinds,
        accreditation_kinds=accreditation_kinds,
    )
    rules = tuple(reader.read(entry) for entry in table.tables("rule"))
    if len({rule.id for rule in rules}) != len(rules):
        raise table.bad("rule", "an id is there twice")
    framework = Framework(
        country=country,
        version=version,
        levels=MappingProxyType(levels),
        units=units,
        outcome_categories=terms("outcome_category", _named, common.outcome_categories if common else ()),
        credential_kinds=credential_kinds,
        provider_kinds=provider_kinds,
        accreditation_kinds=accreditation_kinds,
        rules=rules,
        accreditation_required=reader.principle(table.table("accreditation_required")),
    )
    table.done()
    return framework


def _named(_entry: _Table, term: str, name: Mapping[str, str]) -> Named:
    return Named(term, name)


def _unit(entry: _Table, term: str, name: Mapping[str, str]) -> Unit:
    factors = {}
    for item in entry.tables("converts_to"):
        target, factor = item.term("unit"), item.optional_decimal("factor")
        item.done()
        if factor is None or factor <= 0:
            raise item.bad("factor", "a number above zero")
        factors[target] = factor
    return Unit(term, name, MappingProxyType(factors))


def _accreditation_kind(
    provider_kinds: Mapping[str, Named],
) -> Callable[[_Table, str, Mapping[str, str]], AccreditationKind]:
    def read(entry: _Table, term: str, name: Mapping[str, str]) -> AccreditationKind:
        held_by = entry.terms("held_by", provider_kinds)
        try:
            bounds = frozenset(Bound(text) for text in entry.texts("bounded_by"))
        except ValueError as error:
            raise entry.bad("bounded_by", str(error)) from error
        return AccreditationKind(term, name, held_by, bounds)

    return read


@dataclass(frozen=True, slots=True, kw_only=True)
class _RuleReader:
    """Reads rules against the terms of one country."""

    sources: Mapping[str, str]
    prefix: str
    levels: Mapping[tuple[str, str], str]
    units: Mapping[str, Unit]
    provider_kinds: Mapping[str, Named]
    credential_kinds: Mapping[str, Named]
    accreditation_kinds: Mapping[str, AccreditationKind]

    def read(self, entry: _Table) -> Rule:
        rule_id = self._id(entry)
        accreditation = entry.term("accreditation")
        kind = self.accreditation_kinds.get(accreditation)
        if kind is None:
            raise entry.bad("accreditation", f"{accreditation} is not a kind of accreditation here")
        providers = entry.terms("providers", self.provider_kinds)
        if not providers <= kind.held_by:
            raise entry.bad("providers", f"{accreditation} is held by {', '.join(sorted(kind.held_by))} only")
        levels, unplaced = self._read_levels(entry)
        rule = Rule(
            id=rule_id,
            says=entry.text("says"),
            accreditation=accreditation,
            providers=providers,
            credentials=entry.terms("credentials", self.credential_kinds),
            levels=levels,
            unplaced=unplaced,
            units=self._read_units(entry),
            min_points=entry.optional_decimal("min_points"),
            max_points=entry.optional_decimal("max_points"),
            standing=self._standing(entry),
            valid_from=entry.optional_day("valid_from"),
            valid_until=entry.optional_day("valid_until"),
            basis=self._basis(entry),
            remedies=self._remedies(entry),
        )
        if rule.min_points is not None and rule.max_points is not None and rule.min_points > rule.max_points:
            raise entry.bad("max_points", "below min_points")
        if rule.valid_from is not None and rule.valid_until is not None and rule.valid_from >= rule.valid_until:
            raise entry.bad("valid_until", "not after valid_from")
        entry.done()
        return rule

    def principle(self, entry: _Table) -> Principle:
        principle = Principle(self._id(entry), self._standing(entry), self._basis(entry), entry.text("remedy"))
        entry.done()
        return principle

    def _id(self, entry: _Table) -> str:
        rule_id = entry.term("id")
        if not rule_id.startswith(self.prefix):
            raise entry.bad("id", f"starts with {self.prefix}")
        return rule_id

    def _standing(self, entry: _Table) -> Standing:
        try:
            return Standing(entry.text("standing"))
        except ValueError as error:
            raise entry.bad("standing", "one of " + ", ".join(Standing)) from error

    def _basis(self, entry: _Table) -> Basis:
        table = entry.table("basis")
        source, passage = table.text("source"), table.text("passage")
        table.done()
        if source not in self.sources:
            raise table.bad("source", f"{source} is not among the sources")
        return Basis(source, self.sources[source], passage)

    def _remedies(self, entry: _Table) -> Mapping[Reason, str]:
        if not entry.has("remedy"):
            return MappingProxyType({})
        table = entry.table("remedy")
        remedies = {}
        for key in list(table.keys()):
            try:
                remedies[Reason(key)] = table.text(key)
            except ValueError as error:
                raise table.bad(key, "not a reason of a refusal") from error
        return MappingProxyType(remedies)

    def _read_levels(self, entry: _Table) -> tuple[frozenset[tuple[str, str]], bool]:
        found: set[tuple[str, str]] = set()
        unplaced = False
        for text in entry.texts("levels"):
            scheme, _, level = text.partition(" ")
            matching = {known for known in self.levels if known[0] == scheme and (not level or known[1] == level)}
            if text == _NONE:
                unplaced = True
            elif matching:
                found |= matching
            else:
                raise entry.bad("levels", f"{text} is no level here")
        if not found and not unplaced:
            raise entry.bad("levels", 'at least one, or "none"')
        return frozenset(found), unplaced

    def _read_units(self, entry: _Table) -> frozenset[str]:
        found = {WITHOUT_CREDITS if text == _NONE else text for text in entry.texts("units")}
        unknown = found - set(self.units) - {WITHOUT_CREDITS}
        if unknown:
            raise entry.bad("units", f"{', '.join(sorted(unknown))} is no unit here")
        if not found:
            raise entry.bad("units", 'at least one, or "none"')
        return frozenset(found)


class _Table:
    """A TOML table that knows where it stands and which of its keys nobody asked for."""

    def __init__(self, file: str, path: str, content: Mapping[str, Any]) -> None:
        self.file = file
        self._path = path
        self._content = content
        self._read: set[str] = set()

    def keys(self) -> Iterable[str]:
        return self._content.keys()

    def has(self, key: str) -> bool:
        return key in self._content

    def bad(self, key: str, problem: str) -> InvalidArgument:
        return _bad(self.file, self._at(key), problem)

    def done(self) -> None:
        """Refuse keys that nothing has read."""
        for key in self._content.keys() - self._read:
            raise self.bad(key, "unknown key")

    def text(self, key: str) -> str:
        value = self._take(key)
        if not isinstance(value, str) or not value.strip():
            raise self.bad(key, "a text that is not empty")
        return value

    def optional_text(self, key: str) -> str:
        return self.text(key) if key in self._content else ""

    def term(self, key: str) -> str:
        value = self.text(key)
        if not _TERM.match(value):
            raise self.bad(key, "a dotted identifier in lower case")
        return value

    def texts(self, key: str) -> list[str]:
        value = self._take(key)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.bad(key, "a list of texts")
        if len(set(value)) != len(value):
            raise self.bad(key, "something is there twice")
        return value

    def terms(self, key: str, known: Mapping[str, Named]) -> frozenset[str]:
        """A list, not empty, of terms that are defined."""
        found = frozenset(self.texts(key))
        if not found:
            raise self.bad(key, "at least one")
        if not found <= known.keys():
            raise self.bad(key, f"{', '.join(sorted(found - known.keys()))} is not defined")
        return found

    def names(self, key: str) -> Mapping[str, str]:
        table = self.table(key)
        names = {language: table.text(language) for language in list(table.keys())}
        if "en" not in names:
            raise self.bad(key, "an English name, en, beside the country's own")
        return MappingProxyType(names)

    def optional_day(self, key: str) -> date | None:
        if key not in self._content:
            return None
        value = self._take(key)
        if type(value) is not date:
            raise self.bad(key, "a day such as 2025-01-01, without quotes")
        return value

    def optional_decimal(self, key: str) -> Decimal | None:
        if key not in self._content:
            return None
        try:
            # Written in quotes: a TOML float is binary, and a rule's limit is not.
            value = Decimal(self.text(key))
        except InvalidOperation as error:
            raise self.bad(key, "a decimal number in quotes") from error
        if not value.is_finite() or value < 0:
            raise self.bad(key, "zero or more")
        return value

    def table(self, key: str) -> _Table:
        value = self._take(key)
        if not isinstance(value, dict):
            raise self.bad(key, "a table")
        return _Table(self.file, self._at(key), value)

    def tables(self, key: str) -> list[_Table]:
        """A list of tables; none when the key is absent."""
        if key not in self._content:
            return []
        value = self._take(key)
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise self.bad(key, "a list of tables")
        return [_Table(self.file, f"{self._at(key)}[{number}]", item) for number, item in enumerate(value)]

    def _take(self, key: str) -> Any:
        if key not in self._content:
            raise self.bad(key, "missing")
        self._read.add(key)
        return self._content[key]

    def _at(self, key: str) -> str:
        return f"{self._path}.{key}" if self._path else key


def _bad(file: str, key: str, problem: str) -> InvalidArgument:
    return InvalidArgument(
        "BAD_FRAMEWORK",
        f"{file}: {key or 'the file'}: {problem}",
        field=f"{file}: {key}" if key else file,
        rule="docs: vitne/frameworks/data, how to read a rule",
        remedy="correct the file",
    )
