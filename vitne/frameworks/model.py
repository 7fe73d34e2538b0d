"""What a country's rules consist of, once read: immutable and pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Final

from vitne.errors import InvalidArgument
from vitne.frameworks.terms import Aspect, Bound, Duty, Finding, Purpose, Reason, Standing

#: The unit of an offer without credits, in a rule's ``units``.
WITHOUT_CREDITS: Final = ""


@dataclass(frozen=True, slots=True)
class Offer:
    """What is to be judged of an achievement, and nothing else of it."""

    #: Kind of credential.
    kind: str
    #: Level, or None for learning that is not placed.
    level: tuple[str, str] | None
    #: Credit unit; empty: without credits.
    unit: str
    #: Number of credits, None without.
    points: Decimal | None
    #: ISCED-F 2013 code, or empty.
    field: str
    #: The education that it is a part of, or empty.
    part_of: str


@dataclass(frozen=True, slots=True)
class Named:
    """A term of a country with its names by language."""

    id: str
    name: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Basis:
    """What a rule rests on: a source and, in our own words, what it says there."""

    source: str
    title: str
    passage: str

    def __str__(self) -> str:
        return f"{self.title}: {self.passage}"


@dataclass(frozen=True, slots=True)
class Level:
    """A level of a country's framework."""

    framework: str
    #: As the framework writes it: ``4A``, ``5.1``.
    level: str
    #: The level of EQF that it was referred to.
    eqf: str
    #: What sources call it, where that differs; or empty.
    also: str
    #: What stands there; or empty.
    example: str

    @property
    def key(self) -> tuple[str, str]:
        """Framework and level, as achievements state them."""
        return self.framework, self.level


@dataclass(frozen=True, slots=True)
class LevelFramework(Named):
    """A framework of levels, lowest first."""

    levels: tuple[Level, ...]
    basis: Basis


@dataclass(frozen=True, slots=True)
class Unit(Named):
    """A credit unit, and the factor by which its points become another unit's; usually none."""

    converts_to: Mapping[str, Decimal]
    #: Why its points become no other unit's beyond ``converts_to``; empty where nothing says so.
    no_conversion: str
    standing: Standing
    basis: Basis


@dataclass(frozen=True, slots=True)
class CredentialKind(Named):
    """A kind of credential."""

    #: Whether it is a result within the education system.
    formal: bool
    #: Kinds with which it may share a level without being their equal: never shown as the same.
    not_equal_to: frozenset[str]


@dataclass(frozen=True, slots=True)
class AccreditationKind(Named):
    """A kind of accreditation: who gives it to whom, for how long, and what it must name."""

    #: The authority in words; it is the remit of an authority that decides.
    granted_by: str
    #: Kinds of provider that can hold it.
    held_by: frozenset[str]
    #: What it must name, since it covers nothing else.
    bounded_by: frozenset[Bound]
    #: Given for a limited period only.
    must_end: bool
    #: Years after which its quality is reviewed; None: no review is laid down.
    review_after_years: int | None
    #: What its holder must do meanwhile.
    duties: frozenset[Duty]
    #: What the end, the review and the duties rest on; None where there are none.
    basis: Basis | None


@dataclass(frozen=True, slots=True)
class Principle:
    """The rule behind every refusal for want of an accreditation."""

    id: str
    standing: Standing
    basis: Basis
    remedy: str


@dataclass(frozen=True, slots=True)
class Prohibition(Principle):
    """Why nobody may issue some kinds of credential. No rule allows them; this explains it."""

    #: The prohibition in one sentence.
    says: str
    credentials: frozenset[str]


@dataclass(frozen=True, slots=True)
class Rule:
    """An accreditation of one of some kinds lets kinds of provider issue kinds of credential, within limits."""

    id: str
    #: The rule in one sentence.
    says: str
    accreditations: frozenset[str]
    providers: frozenset[str]
    credentials: frozenset[str]
    #: Levels that may be stated.
    levels: frozenset[tuple[str, str]]
    #: Whether the level may be left out.
    unplaced: bool
    #: Units that may be used; :data:`WITHOUT_CREDITS` stands for none.
    units: frozenset[str]
    min_points: Decimal | None
    max_points: Decimal | None
    standing: Standing
    #: First and first no longer: days, from midnight UTC; None: open.
    valid_from: date | None
    valid_until: date | None
    basis: Basis
    remedies: Mapping[Reason, str]

    def examine(self, offer: Offer) -> Iterator[Finding]:
        """Hold an offer of one of this rule's credential kinds against level, unit and size."""
        yield self._level(offer.level)
        yield self._unit(offer.unit)
        yield from self._size(offer)

    def remedy_for(self, reason: Reason) -> str:
        """What the rule advises against a refusal; empty where it says nothing."""
        return self.remedies.get(reason, "")

    def _level(self, level: tuple[str, str] | None) -> Finding:
        if level is None:
            if self.unplaced:
                return Finding(Aspect.LEVEL, None, "no level is stated, and the rule asks for none")
            return Finding(Aspect.LEVEL, Reason.LEVEL_REQUIRED, f"the rule {self.id} asks for a level")
        if level in self.levels:
            return Finding(Aspect.LEVEL, None, f"level {level[1]} of {level[0]} is within the rule")
        allowed = "no level" if not self.levels else _some(f"{name} of {framework}" for framework, name in self.levels)
        return Finding(
            Aspect.LEVEL,
            Reason.LEVEL_NOT_ALLOWED,
            f"level {level[1]} of {level[0]} is stated; the rule {self.id} allows {allowed}",
        )

    def _unit(self, unit: str) -> Finding:
        if unit in self.units:
            return Finding(Aspect.UNIT, None, f"unit {unit}" if unit else "without credits, as the rule has it")
        if unit == WITHOUT_CREDITS:
            return Finding(Aspect.UNIT, Reason.CREDITS_REQUIRED, f"the rule {self.id} asks for {_some(self.units)}")
        allowed = _some(self.units - {WITHOUT_CREDITS}) or "no credits"
        return Finding(Aspect.UNIT, Reason.UNIT_NOT_ALLOWED, f"the unit is {unit}; the rule {self.id} allows {allowed}")

    def _size(self, offer: Offer) -> Iterator[Finding]:
        points = offer.points
        # Points of a unit that the rule does not know can't be held against its limits.
        if points is None or offer.unit not in self.units:
            return
        if self.min_points is not None and points < self.min_points:
            yield Finding(
                Aspect.SIZE,
                Reason.SIZE_BELOW_MINIMUM,
                f"{points} {offer.unit} is below the {self.min_points} of the rule {self.id}",
            )
        elif self.max_points is not None and points > self.max_points:
            yield Finding(
                Aspect.SIZE,
                Reason.SIZE_ABOVE_MAXIMUM,
                f"{points} {offer.unit} is above the {self.max_points} of the rule {self.id}",
            )
        else:
            yield Finding(Aspect.SIZE, None, f"{points} {offer.unit} is within the rule")


@dataclass(frozen=True, slots=True)
class RecognitionRule:
    """A kind of body recognises prior learning against kinds of achievement, for some purposes."""

    id: str
    #: The rule in one sentence.
    says: str
    #: Kinds of provider that assess and decide.
    bodies: frozenset[str]
    #: Kinds of credential that the achievement leads to which is assessed against.
    against: frozenset[str]
    #: Its levels.
    levels: frozenset[tuple[str, str]]
    #: Whether it may have none.
    unplaced: bool
    #: Its units; :data:`WITHOUT_CREDITS` stands for none.
    units: frozenset[str]
    #: Only against what the body itself has published.
    own: bool
    purposes: frozenset[Purpose]
    #: Kinds of credential that document the outcome.
    documented_by: frozenset[str]
    standing: Standing
    #: First and first no longer: days; None: open.
    valid_from: date | None
    valid_until: date | None
    basis: Basis
    #: What to do where it does not go as far as somebody wants.
    remedy: str

    def covers(self, body_kind: str, against: Offer, *, own: bool) -> bool:
        """Whether it speaks of such a body and such an achievement; ``own``: the body published that itself."""
        placed = self.unplaced if against.level is None else against.level in self.levels
        return (
            body_kind in self.bodies
            and against.kind in self.against
            and placed
            and against.unit in self.units
            and (own or not self.own)
        )

    def counts_on(self, day: date) -> bool:
        """Whether it is in force on a day."""
        return (self.valid_from is None or self.valid_from <= day) and (
            self.valid_until is None or day < self.valid_until
        )


@dataclass(frozen=True, slots=True)
class Framework:
    """One country's levels, units, kinds and rules, at one version."""

    country: str
    #: The country's name by language.
    name: Mapping[str, str]
    #: The day of this version, as decisions cite it.
    version: str
    #: Titles by their short names.
    sources: Mapping[str, str]
    level_frameworks: Mapping[str, LevelFramework]
    #: EQF level by (framework, level).
    levels: Mapping[tuple[str, str], str]
    units: Mapping[str, Unit]
    outcome_categories: Mapping[str, Named]
    credential_kinds: Mapping[str, CredentialKind]
    provider_kinds: Mapping[str, Named]
    accreditation_kinds: Mapping[str, AccreditationKind]
    rules: tuple[Rule, ...]
    recognition_rules: tuple[RecognitionRule, ...]
    prohibitions: tuple[Prohibition, ...]
    accreditation_required: Principle

    def rules_for(self, accreditation_kind: str, provider_kind: str, credential_kind: str) -> tuple[Rule, ...]:
        """The rules that speak of such an accreditation, holder and credential, whatever their standing."""
        return tuple(
            rule
            for rule in self.rules
            if accreditation_kind in rule.accreditations
            and provider_kind in rule.providers
            and credential_kind in rule.credentials
        )

    def prohibition_of(self, credential_kind: str) -> Prohibition | None:
        """Why nobody may issue a kind of credential, or None."""
        return next((one for one in self.prohibitions if credential_kind in one.credentials), None)

    def convert(self, points: Decimal, unit: str, target: str, *, field: str) -> Decimal:
        """Points of one unit as another unit's, exactly.

        Args:
            points: a number of ``unit``.
            unit: a unit of this country.
            target: a unit of this country or a common one.
            field: what is at fault when they don't convert.

        Raises:
            InvalidArgument: ``UNKNOWN_TERM`` for ``unit``; ``UNITS_DO_NOT_CONVERT``.
        """
        self.known(self.units, unit, "credit unit", field=field)
        if unit == target:
            return points
        known = self.units[unit]
        factor = known.converts_to.get(target)
        if factor is None:
            raise InvalidArgument(
                "UNITS_DO_NOT_CONVERT",
                f"{unit} does not convert to {target}",
                field=field,
                rule=known.no_conversion or f"{unit} converts to {_some(known.converts_to)} only",
                remedy=f"state the size in {unit}, or let one that counts in {target} recognise it",
            )
        return points * factor

    def known_level(self, framework: str, level: str, *, field: str) -> tuple[str, str]:
        """A level that this country's framework has.

        Raises:
            InvalidArgument: ``UNKNOWN_LEVEL``.
        """
        if (framework, level) not in self.levels:
            raise InvalidArgument(
                "UNKNOWN_LEVEL",
                f"{framework} has no level {level} in the rules of {self.country}",
                field=field,
                rule=f"levels of {self.country}, version {self.version}",
                remedy="use one of " + _some(f"{name} of {scheme}" for scheme, name in self.levels),
            )
        return framework, level

    def known(self, terms: Mapping[str, Named], term: str, what: str, *, field: str) -> str:
        """A term that this country's rules have.

        Raises:
            InvalidArgument: ``UNKNOWN_TERM``.
        """
        if term not in terms:
            raise InvalidArgument(
                "UNKNOWN_TERM",
                f"the rules of {self.country} have no {what} {term}",
                field=field,
                rule=f"terms of {self.country}, version {self.version}",
                remedy=f"use one of {_some(terms)}",
            )
        return term


def _some(items: Iterable[str]) -> str:
    return ", ".join(sorted(item for item in items if item))
