"""The demonstration's cases as messages: ``data/nordic.json`` read strictly."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

from google.protobuf.json_format import ParseDict

from vitne.identifiers import NORWEGIAN_NATIONAL_ID, synthetic_national_id
from vitne_api.credential.v1 import credential_pb2
from vitne_api.issuer.v1 import issuer_pb2
from vitne_api.registry.v1 import facts_pb2

#: Where a provider's credentials say they come from; what is really fetched is up to allow-rules.
ISSUER_BASE = "https://vitne.example/issuers/"
#: Members of the data file that document a case and are no part of its message.
_DOCUMENTATION = {"key", "source", "standing", "note", "authority", "retention"}


@dataclass(frozen=True, slots=True)
class ProviderCase:
    """A provider, the authority that enters it, and the name that the data file gives it."""

    key: str
    authority: str
    message: facts_pb2.Provider


@dataclass(frozen=True, slots=True)
class AccreditationCase:
    """What an authority grants a provider."""

    provider: str
    authority: str
    kind: str
    scope: facts_pb2.Scope
    ground: str
    standing: str


@dataclass(frozen=True, slots=True)
class AchievementCase:
    """An achievement without its id, and how long credentials for it are kept."""

    key: str
    provider: str
    message: credential_pb2.Achievement
    retention: credential_pb2.RetentionClass.ValueType


@dataclass(frozen=True, slots=True)
class RefusalCase:
    """Something that must be refused, and the reason to expect."""

    title: str
    achievement: AchievementCase
    reason: str


@dataclass(frozen=True, slots=True)
class Cases:
    """All of the data file."""

    operator: str
    hub: str
    authorities: tuple[facts_pb2.Authority, ...]
    providers: Mapping[str, ProviderCase]
    accreditations: tuple[AccreditationCase, ...]
    achievements: Mapping[str, AchievementCase]
    refusals: tuple[RefusalCase, ...]


def load_cases(folder: Traversable | None = None) -> Cases:
    """Read ``nordic.json``; a member that no message has is an error, not an oversight.

    Args:
        folder: where it lies, if not here: another release's, to act as its demonstration did.
    """
    folder = folder or files("vitne.dev") / "data"
    data = json.loads((folder / "nordic.json").read_text(encoding="utf-8"))
    providers = {
        entry["key"]: ProviderCase(
            entry["key"],
            entry["authority"],
            ParseDict(_bare(entry) | {"issuer_uri": ISSUER_BASE + entry["id"]}, facts_pb2.Provider()),
        )
        for entry in data["providers"]
    }
    numbers = {key: case.message.id for key, case in providers.items()}
    return Cases(
        operator=data["operator"]["id"],
        hub=data["hub"]["id"],
        authorities=tuple(ParseDict(_bare(entry), facts_pb2.Authority()) for entry in data["authorities"]),
        providers=providers,
        accreditations=tuple(
            AccreditationCase(
                entry["provider"],
                entry["authority"],
                entry["kind"],
                ParseDict(entry["scope"], facts_pb2.Scope()),
                entry["ground"],
                entry["standing"],
            )
            for entry in data["accreditations"]
        ),
        achievements={entry["key"]: _achievement(entry, numbers) for entry in data["achievements"]},
        refusals=tuple(
            RefusalCase(entry["title"], _achievement(entry["achievement"], numbers), entry["reason"])
            for entry in data["refusals"]
        ),
    )


def synthetic_learners(count: int) -> list[issuer_pb2.Learner]:
    """Learners who are nobody: the same ``count`` people each time, with synthetic national identity numbers."""
    given = ("Aud", "Berit", "Coline", "Dag", "Eli", "Frøydis", "Gunnar", "Hege", "Inga", "Jon")
    family = ("Åsheim", "Bakken", "Dalby", "Eide", "Foss", "Granli", "Haugen", "Isaksen", "Juvik", "Krokstad")
    learners: list[issuer_pb2.Learner] = []
    serial = 0
    while len(learners) < count:
        born = date(1960 + serial % 35, 1 + serial % 12, 1 + serial % 28)
        number = synthetic_national_id(born, serial % 500)
        serial += 1
        if number is not None:
            position = len(learners)
            learners.append(
                issuer_pb2.Learner(
                    scheme=NORWEGIAN_NATIONAL_ID,
                    value=number,
                    given_name=given[position % 10],
                    family_name=family[position // 10 % 10],
                    birth_date=born.isoformat(),
                )
            )
    return learners


def _achievement(entry: Mapping[str, Any], numbers: Mapping[str, str]) -> AchievementCase:
    fields = _bare(entry) | {"provider": numbers[entry["provider"]], "version": 1}
    return AchievementCase(
        entry["key"],
        entry["provider"],
        ParseDict(fields, credential_pb2.Achievement()),
        credential_pb2.RetentionClass.Value(entry["retention"]),
    )


def _bare(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in entry.items() if name not in _DOCUMENTATION}
