"""What the national rules say that counting asks for: how units convert, how levels compare, what is formal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation

from vitne.frameworks import Frameworks

#: A level: (framework, level), as the framework writes it.
Level = tuple[str, str]


class Terms:
    """The national rules, as far as stacking reads them.

    Args:
        conversions: by unit, the factor by which its points become another unit's.
        levels: EQF level of each level, each framework's from the lowest up.
        formal: kinds of credential inside the formal education system.
        non_formal: kinds outside it. What is in neither is not known, and never counts towards what is formal.
    """

    def __init__(
        self,
        conversions: Mapping[str, Mapping[str, Decimal]],
        levels: Mapping[Level, str],
        formal: Iterable[str],
        non_formal: Iterable[str],
    ) -> None:
        self._conversions = conversions
        self._levels = levels
        self._non_formal = frozenset(non_formal)
        self._formal = frozenset(formal) - self._non_formal
        # The lowest level of each EQF level in its framework: what a level of another framework can be held against.
        self._lowest: dict[tuple[str, str], str] = {}
        for (framework, level), eqf in levels.items():
            self._lowest.setdefault((framework, eqf), level)

    @classmethod
    def of(cls, frameworks: Frameworks) -> Terms:
        """What all countries' rules say together."""
        conversions: dict[str, dict[str, Decimal]] = {}
        levels: dict[Level, str] = {}
        formal: set[str] = set()
        non_formal: set[str] = set()
        for framework in frameworks:
            levels.update(framework.levels)
            for kind in framework.credential_kinds.values():
                (formal if kind.formal else non_formal).add(kind.id)
            for unit in framework.units.values():
                conversions.setdefault(unit.id, {}).update(unit.converts_to)
        return cls(conversions, levels, formal, non_formal)

    def is_formal(self, kind: str) -> bool:
        """Whether a kind is known to belong to the formal education system."""
        return kind in self._formal

    def is_non_formal(self, kind: str) -> bool:
        """Whether a kind is known not to belong to it."""
        return kind in self._non_formal

    def knows_unit(self, unit: str) -> bool:
        """Whether any country's rules have the unit."""
        return unit in self._conversions

    def knows_level(self, level: Level) -> bool:
        """Whether any country's rules have the level."""
        return level in self._levels

    def converted(self, points: Decimal, unit: str, target: str) -> Decimal | None:
        """Points of one unit in another; None where the rules don't convert it. Conversions are never chained."""
        if unit == target:
            return points
        factor = self._conversions.get(unit, {}).get(target)
        return None if factor is None else points * factor

    def at_least(self, level: Level, floor: Level) -> bool:
        """Whether a level is known to be at or above a floor.

        Within one framework its sub-levels count where they are numbers (5.2 is above 5.1); letters mark
        levels beside each other (4A is not above 4B). Between frameworks the EQF level decides, and a floor that
        is a higher sub-level is reached only from the next EQF level on.
        """
        if level == floor:
            return True
        mine, asked = self._levels.get(level), self._levels.get(floor)
        if mine is None or asked is None:
            return False
        if int(mine) != int(asked):
            return int(mine) > int(asked)
        if level[0] == floor[0]:
            return _numbers_ascend(floor[1], level[1])
        return self._lowest[floor[0], asked] == floor[1]


def _numbers_ascend(lower: str, upper: str) -> bool:
    try:
        return Decimal(lower) <= Decimal(upper)
    except InvalidOperation:
        return False
