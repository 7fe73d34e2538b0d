"""What a hub wants to be told of (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from vitne.identifiers import OrganisationId

#: Columns of the table ``subscription`` that an interest is read from.
COLUMNS: Final = "kinds, countries, providers"


@dataclass(frozen=True, slots=True)
class Interest:
    """A hub's subscription; an empty set excludes nothing.

    Attributes:
        kinds: of credential in the national rules.
        countries: of the providers.
        providers: by organisation id.
    """

    kinds: frozenset[str] = frozenset()
    countries: frozenset[str] = frozenset()
    providers: frozenset[str] = frozenset()

    def wants(self, kind: str, provider: str) -> bool:
        """Whether a credential of this kind and provider suits all of it."""
        return (
            (not self.kinds or kind in self.kinds)
            and (not self.providers or provider in self.providers)
            and (not self.countries or OrganisationId.parse(provider).country in self.countries)
        )

    @classmethod
    def read(cls, row: Mapping[str, Any] | None) -> Interest:
        """From a row with :data:`COLUMNS`, which are null, or no row at all, where the hub set none."""
        if row is None or row["kinds"] is None:
            return EVERYTHING
        return cls(frozenset(row["kinds"]), frozenset(row["countries"]), frozenset(row["providers"]))


#: Of a hub that set none.
EVERYTHING: Final = Interest()
