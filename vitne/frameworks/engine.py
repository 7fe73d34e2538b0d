"""The rules of all countries, and which standings of rules an installation applies."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final

from vitne.errors import InvalidArgument
from vitne.frameworks.loader import COMMON, parse
from vitne.frameworks.model import Framework
from vitne.frameworks.terms import Standing


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
            InvalidArgument: ``BAD_FRAMEWORK`` naming file, place, rule and remedy; ``UNKNOWN_STANDING``.
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
