"""Reads the national rules strictly: an unknown key or term is refused, naming file, place, rule and remedy.

How a file is written is explained in ``data/no.toml``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final, TypeVar

from vitne.frameworks.model import (
    WITHOUT_CREDITS,
    AccreditationKind,
    Basis,
    CredentialKind,
    Framework,
    Level,
    LevelFramework,
    Named,
    Principle,
    Prohibition,
    RecognitionRule,
    Rule,
    Unit,
)
from vitne.frameworks.tables import Table, bad
from vitne.frameworks.terms import Bound, Duty, Purpose, Reason, Standing

#: The file of what is common: its terms carry no country's prefix.
COMMON: Final = "EU"
#: Stands for "without" among levels and units.
_NONE: Final = "none"
_EQF_LEVELS: Final = frozenset("12345678")
_DAY: Final = re.compile(r"\d{4}-\d\d-\d\d\Z")

_Term = TypeVar("_Term", bound=Named)
_Word = TypeVar("_Word", bound=StrEnum)


def parse(documents: Mapping[str, str]) -> list[Framework]:
    """The frameworks of TOML documents by file name; the common one (``eu.toml``) must be among them.

    Raises:
        InvalidArgument: ``BAD_FRAMEWORK``.
    """
    by_country: dict[str, Table] = {}
    for name, text in documents.items():
        table = Table.parse(name, text)
        country = table.text("country")
        rule, remedy = "one file a country, with the country's name", "correct the country or the file's name"
        if country in by_country:
            raise table.bad("country", f"{country} has another file", rule=rule, remedy=remedy)
        if table.file != f"{country.lower()}.toml":
            raise table.bad("country", f"the file is not called {country.lower()}.toml", rule=rule, remedy=remedy)
        by_country[country] = table
    if COMMON not in by_country:
        raise bad("eu.toml", "", "missing", rule="what is common has a file", remedy="add eu.toml")
    common = _FrameworkReader(by_country.pop(COMMON), COMMON, None).read()
    return [common, *(_FrameworkReader(table, country, common).read() for country, table in sorted(by_country.items()))]


class _FrameworkReader:
    """Reads one file whole. What has no prefix of the country must be common."""

    def __init__(self, table: Table, country: str, common: Framework | None) -> None:
        self._table = table
        self._country = country
        self._common = common
        self._prefix = f"{country.lower()}."
        self._sources = self._read_sources()

    def read(self) -> Framework:
        table, common = self._table, self._common
        name, version = table.names("name"), table.text("version")
        if not _DAY.match(version):
            raise table.bad("version", f"{version} is no day", rule="the day of this version", remedy="like 2026-11-01")
        level_frameworks = self._terms("level_framework", self._level_framework)
        units = self._terms("unit", self._unit, common.units if common else {})
        self._check_conversions(units)
        provider_kinds = self._terms("provider_kind", _named)
        credential_kinds = self._terms("credential_kind", self._credential_kind)
        self._check_equality(credential_kinds)
        accreditation_kinds = self._terms("accreditation_kind", self._accreditation_kind(provider_kinds))
        reader = _RuleReader(
            framework=self,
            levels={level.key: level.eqf for scheme in level_frameworks.values() for level in scheme.levels},
            units=units,
            provider_kinds=provider_kinds,
            credential_kinds=credential_kinds,
            accreditation_kinds=accreditation_kinds,
        )
        rules = tuple(reader.read(entry) for entry in table.tables("rule"))
        recognition_rules = tuple(reader.recognition(entry, rules) for entry in table.tables("recognition"))
        prohibitions = tuple(reader.prohibition(entry, rules) for entry in table.tables("prohibition"))
        required = reader.principle(table.table("accreditation_required"))
        framework = Framework(
            country=self._country,
            name=name,
            version=version,
            sources=MappingProxyType(self._sources),
            level_frameworks=level_frameworks,
            levels=MappingProxyType(reader.levels),
            units=units,
            outcome_categories=self._terms("outcome_category", _named, common.outcome_categories if common else {}),
            credential_kinds=credential_kinds,
            provider_kinds=provider_kinds,
            accreditation_kinds=accreditation_kinds,
            rules=rules,
            recognition_rules=recognition_rules,
            prohibitions=prohibitions,
            accreditation_required=required,
        )
        stated: list[Rule | RecognitionRule | Principle] = [*rules, *recognition_rules, *prohibitions, required]
        ids = [one.id for one in stated]
        for rule_id in {rule_id for rule_id in ids if ids.count(rule_id) > 1}:
            raise table.bad("rule", f"{rule_id} is there twice", rule="an id names one rule", remedy="rename one")
        table.done()
        return framework

    def id_of(self, entry: Table) -> str:
        """A rule's id: the country's own."""
        rule_id = entry.term("id")
        if not rule_id.startswith(self._prefix):
            raise entry.bad(
                "id",
                f"{rule_id} is not a rule of {self._country}",
                rule=f"the rules of {self._country} begin with {self._prefix}",
                remedy=f"rename it to {self._prefix}…",
            )
        return rule_id

    def basis_of(self, entry: Table) -> Basis:
        """What something rests on; always stated."""
        table = entry.table("basis")
        source, passage = table.text("source"), table.text("passage")
        table.done()
        table.require_known("source", [source], self._sources)
        return Basis(source, self._sources[source], passage)

    def _read_sources(self) -> dict[str, str]:
        sources = {}
        table = self._table.table("sources")
        for name in table.entries():
            source = table.table(name)
            sources[name] = source.text("title")
            source.done()
        table.done()
        return sources

    def _terms(
        self,
        key: str,
        read: Callable[[Table, str, Mapping[str, str]], _Term],
        shared: Mapping[str, Named] = MappingProxyType({}),
    ) -> Mapping[str, _Term]:
        """The terms that a file defines under a key: the country's own, and of those that are ``shared``."""
        found: dict[str, _Term] = {}
        for entry in self._table.tables(key):
            term = entry.term("id")
            if term in found:
                raise entry.bad("id", f"{term} is defined twice", rule="each once", remedy="leave one of them out")
            if self._common is not None and not term.startswith(self._prefix) and term not in shared:
                raise entry.bad(
                    "id",
                    f"{term} is neither common nor of {self._country}",
                    rule=f"a term is defined in eu.toml, or begins with {self._prefix}",
                    remedy=f"rename it to {self._prefix}{term.rpartition('.')[2]}",
                )
            found[term] = read(entry, term, entry.names("name"))
            entry.done()
        return MappingProxyType(found)

    def _level_framework(self, entry: Table, term: str, name: Mapping[str, str]) -> LevelFramework:
        levels: dict[str, Level] = {}
        for item in entry.tables("levels"):
            level, eqf = item.text("level"), item.text("eqf")
            if eqf not in _EQF_LEVELS:
                raise item.bad("eqf", f"{eqf} is no level of EQF", rule="EQF has the levels 1 to 8", remedy="like 5")
            if level in levels:
                raise item.bad("level", f"{level} is there twice", rule="each once", remedy="leave one of them out")
            if levels and eqf < next(reversed(levels.values())).eqf:
                raise item.bad("eqf", "below the level before", rule="the lowest level first", remedy="sort the levels")
            levels[level] = Level(term, level, eqf, item.optional_text("also"), item.optional_text("example"))
            item.done()
        return LevelFramework(term, name, tuple(levels.values()), self.basis_of(entry))

    def _unit(self, entry: Table, term: str, name: Mapping[str, str]) -> Unit:
        factors = {}
        for item in entry.tables("converts_to"):
            target, factor = item.term("unit"), item.optional_decimal("factor")
            item.done()
            if not factor:
                raise item.bad("factor", "no factor", rule="a number above zero, in quotes", remedy='like "7.4"')
            factors[target] = factor
        why_not = entry.optional_text("no_conversion")
        if not factors and not why_not:
            raise entry.bad(
                "no_conversion",
                "the unit converts to nothing, and nothing says why",
                rule="a unit converts to another, or says why it does not",
                remedy="state no_conversion, or what it converts to",
            )
        standing = _word_of(entry, "standing", Standing)
        return Unit(term, name, MappingProxyType(factors), why_not, standing, self.basis_of(entry))

    def _check_conversions(self, units: Mapping[str, Unit]) -> None:
        known = {*units, *(self._common.units if self._common else ())}
        for unit in units.values():
            for target in unit.converts_to:
                self._table.require_known("unit.converts_to", [target], known - {unit.id})

    def _credential_kind(self, entry: Table, term: str, name: Mapping[str, str]) -> CredentialKind:
        unlike = frozenset(entry.texts("not_equal_to")) if entry.has("not_equal_to") else frozenset()
        return CredentialKind(term, name, entry.flag("formal"), unlike)

    def _check_equality(self, kinds: Mapping[str, CredentialKind]) -> None:
        for kind in kinds.values():
            self._table.require_known("credential_kind.not_equal_to", kind.not_equal_to, kinds.keys() - {kind.id})

    def _accreditation_kind(
        self, provider_kinds: Mapping[str, Named]
    ) -> Callable[[Table, str, Mapping[str, str]], AccreditationKind]:
        def read(entry: Table, term: str, name: Mapping[str, str]) -> AccreditationKind:
            kind = AccreditationKind(
                id=term,
                name=name,
                granted_by=entry.text("granted_by"),
                held_by=entry.terms("held_by", provider_kinds),
                bounded_by=_words_of(entry, "bounded_by", Bound),
                must_end=entry.optional_flag("must_end"),
                review_after_years=entry.optional_years("review_after_years"),
                duties=_words_of(entry, "duties", Duty) if entry.has("duties") else frozenset(),
                basis=self.basis_of(entry) if entry.has("basis") else None,
            )
            if kind.basis is None and (kind.must_end or kind.review_after_years or kind.duties):
                raise entry.bad(
                    "basis",
                    "missing",
                    rule="an end, a review and a duty rest on something",
                    remedy="state the source and its passage",
                )
            return kind

        return read


@dataclass(frozen=True, slots=True, kw_only=True)
class _RuleReader:
    """Reads rules against the terms of one country."""

    framework: _FrameworkReader
    levels: Mapping[tuple[str, str], str]
    units: Mapping[str, Unit]
    provider_kinds: Mapping[str, Named]
    credential_kinds: Mapping[str, CredentialKind]
    accreditation_kinds: Mapping[str, AccreditationKind]

    def read(self, entry: Table) -> Rule:
        rule_id = self.framework.id_of(entry)
        accreditations = self._accreditations(entry)
        providers = entry.terms("providers", self.provider_kinds)
        for name in accreditations:
            held_by = self.accreditation_kinds[name].held_by
            if not providers <= held_by:
                raise entry.bad(
                    "providers",
                    f"{', '.join(sorted(providers - held_by))} can't hold {name}",
                    rule=f"{name} is held by {', '.join(sorted(held_by))}",
                    remedy="name kinds of provider that can hold it",
                )
        levels, unplaced = self._levels(entry)
        rule = Rule(
            id=rule_id,
            says=entry.text("says"),
            accreditations=accreditations,
            providers=providers,
            credentials=entry.terms("credentials", self.credential_kinds),
            levels=levels,
            unplaced=unplaced,
            units=self._units(entry),
            min_points=entry.optional_decimal("min_points"),
            max_points=entry.optional_decimal("max_points"),
            standing=_word_of(entry, "standing", Standing),
            valid_from=entry.optional_day("valid_from"),
            valid_until=entry.optional_day("valid_until"),
            basis=self.framework.basis_of(entry),
            remedies=self._remedies(entry),
        )
        self._check_limits(entry, rule)
        entry.done()
        return rule

    def recognition(self, entry: Table, rules: Sequence[Rule]) -> RecognitionRule:
        bodies = entry.terms("bodies", self.provider_kinds)
        levels, unplaced = self._levels(entry)
        rule = RecognitionRule(
            id=self.framework.id_of(entry),
            says=entry.text("says"),
            bodies=bodies,
            against=entry.terms("against", self.credential_kinds),
            levels=levels,
            unplaced=unplaced,
            units=self._units(entry),
            own=entry.optional_flag("own"),
            purposes=_words_of(entry, "purposes", Purpose),
            documented_by=entry.terms("documented_by", self.credential_kinds),
            standing=_word_of(entry, "standing", Standing),
            valid_from=entry.optional_day("valid_from"),
            valid_until=entry.optional_day("valid_until"),
            basis=self.framework.basis_of(entry),
            remedy=entry.text("remedy"),
        )
        if not rule.purposes:
            raise entry.bad("purposes", "the list is empty", rule="at least one", remedy="name one of the purposes")
        for body in sorted(bodies):
            issued = {kind for one in rules if body in one.providers for kind in one.credentials}
            if not rule.documented_by & issued:
                raise entry.bad(
                    "documented_by",
                    f"no rule lets {body} issue any of them",
                    rule="the outcome is a credential that the body may issue",
                    remedy="name a kind of credential that it may issue, or add the rule that lets it",
                )
        _check_days(entry, rule)
        entry.done()
        return rule

    def principle(self, entry: Table) -> Principle:
        principle = Principle(
            self.framework.id_of(entry),
            _word_of(entry, "standing", Standing),
            self.framework.basis_of(entry),
            entry.text("remedy"),
        )
        entry.done()
        return principle

    def prohibition(self, entry: Table, rules: Sequence[Rule]) -> Prohibition:
        prohibition = Prohibition(
            self.framework.id_of(entry),
            _word_of(entry, "standing", Standing),
            self.framework.basis_of(entry),
            entry.text("remedy"),
            entry.text("says"),
            entry.terms("credentials", self.credential_kinds),
        )
        for rule in rules:
            if both := prohibition.credentials & rule.credentials:
                raise entry.bad(
                    "credentials",
                    f"{', '.join(sorted(both))} is what the rule {rule.id} allows",
                    rule="a prohibition explains what no rule allows",
                    remedy="narrow the rule, or leave the prohibition out",
                )
        entry.done()
        return prohibition

    def _accreditations(self, entry: Table) -> frozenset[str]:
        """One kind of accreditation, or a list of them."""
        if entry.is_list("accreditation"):
            return entry.terms("accreditation", self.accreditation_kinds)
        named = entry.term("accreditation")
        entry.require_known("accreditation", [named], self.accreditation_kinds)
        return frozenset([named])

    def _check_limits(self, entry: Table, rule: Rule) -> None:
        if rule.min_points is not None and rule.max_points is not None and rule.min_points > rule.max_points:
            raise entry.bad(
                "max_points", "below min_points", rule="min_points is at most max_points", remedy="correct the sizes"
            )
        sized = rule.min_points is not None or rule.max_points is not None
        if sized and len(rule.units) != 1:
            raise entry.bad(
                "units",
                "a size without one unit to measure it in",
                rule="min_points and max_points are numbers of one unit",
                remedy="name one unit, or make a rule for each",
            )
        _check_days(entry, rule)
        for unit in rule.units - {WITHOUT_CREDITS}:
            if rule.standing is Standing.IN_FORCE and self.units[unit].standing in {Standing.PROPOSED, Standing.PILOT}:
                raise entry.bad(
                    "standing",
                    f"the unit {unit} is {self.units[unit].standing}",
                    rule="what is in force rests on nothing that is not",
                    remedy="correct the standing of the rule or of the unit",
                )

    def _remedies(self, entry: Table) -> Mapping[Reason, str]:
        if not entry.has("remedy"):
            return MappingProxyType({})
        table = entry.table("remedy")
        remedies = {}
        for key in table.entries():
            if key not in set(Reason):
                raise table.bad(
                    key,
                    "not a reason of a refusal",
                    rule="one of " + ", ".join(Reason),
                    remedy="correct its spelling",
                )
            remedies[Reason(key)] = table.text(key)
        return MappingProxyType(remedies)

    def _levels(self, entry: Table) -> tuple[frozenset[tuple[str, str]], bool]:
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
                raise entry.bad(
                    "levels",
                    f"{text} is no level here",
                    rule="a level framework of this file, alone or with one of its levels",
                    remedy="use one of " + ", ".join(f"{name} {level}" for name, level in self.levels),
                )
        if not found and not unplaced:
            raise entry.bad("levels", "the list is empty", rule="at least one", remedy='name levels, or "none"')
        return frozenset(found), unplaced

    def _units(self, entry: Table) -> frozenset[str]:
        found = entry.terms("units", {*self.units, _NONE})
        return frozenset(WITHOUT_CREDITS if text == _NONE else text for text in found)


def _check_days(entry: Table, rule: Rule | RecognitionRule) -> None:
    if rule.valid_from is not None and rule.valid_until is not None and rule.valid_from >= rule.valid_until:
        raise entry.bad(
            "valid_until", "not after valid_from", rule="valid_until is after valid_from", remedy="correct the days"
        )


def _word_of(entry: Table, key: str, words: type[_Word]) -> _Word:
    """A word of a closed vocabulary.

    Raises:
        InvalidArgument: ``BAD_FRAMEWORK``.
    """
    return _word(entry, key, entry.text(key), words)


def _words_of(entry: Table, key: str, words: type[_Word]) -> frozenset[_Word]:
    """Words of a closed vocabulary, each once.

    Raises:
        InvalidArgument: ``BAD_FRAMEWORK``.
    """
    return frozenset(_word(entry, key, text, words) for text in entry.texts(key))


def _word(entry: Table, key: str, text: str, words: type[_Word]) -> _Word:
    try:
        return words(text)
    except ValueError as error:
        raise entry.bad(
            key, f"{text} is not known", rule="one of " + ", ".join(words), remedy="correct its spelling"
        ) from error


def _named(_entry: Table, term: str, name: Mapping[str, str]) -> Named:
    return Named(term, name)
