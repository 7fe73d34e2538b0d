"""What is published of an achievement for those who choose: content, languages, when, where, at which price (pure)."""

from __future__ import annotations

import re
from datetime import date
from typing import Final

from services.registry.desk import check_languages
from vitne.errors import InvalidArgument
from vitne_api.credential.v1 import credential_pb2

_CURRENCY: Final = re.compile(r"[A-Z]{3}\Z", re.ASCII)


def check_information(information: credential_pb2.CatalogueInformation, *, field: str) -> None:
    """Refuse information that contradicts itself.

    Raises:
        InvalidArgument: ``LANGUAGE_REPEATED``, ``DATES_CONTRADICT``, ``BAD_CURRENCY``.
    """
    for name in ("content", "responsible"):
        check_languages(list(getattr(information, name)), field=f"{field}.{name}")
    for number, offering in enumerate(information.offerings):
        _check_offering(offering, f"{field}.offerings[{number}]")


def _check_offering(offering: credential_pb2.Offering, field: str) -> None:
    check_languages(list(offering.place), field=f"{field}.place")
    dates = [(name, date.fromisoformat(text)) for name in ("starts_on", "ends_on") if (text := getattr(offering, name))]
    if len(dates) == 2 and dates[1][1] < dates[0][1]:
        raise InvalidArgument(
            "DATES_CONTRADICT",
            "it would end before it starts",
            field=f"{field}.ends_on",
            rule="ends_on is not before starts_on",
            remedy="correct one of the dates",
        )
    if offering.HasField("price") and not _CURRENCY.match(offering.price.currency):
        raise InvalidArgument(
            "BAD_CURRENCY",
            "not a currency",
            field=f"{field}.price.currency",
            rule="ISO 4217: three upper-case letters",
            remedy="write it like NOK, DKK, SEK, ISK or EUR",
        )
