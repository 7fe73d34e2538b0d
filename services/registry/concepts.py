"""Citing concepts of European classifications: ESCO's skills, ISCED-F's fields (pure)."""

from __future__ import annotations

import re
from typing import Final

from vitne.errors import InvalidArgument

#: Where the European Commission publishes ESCO, and ISCED-F 2013 beside it.
ESCO: Final = "data.europa.eu/esco/"
_UUID: Final = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
# Skills and knowledge have UUIDs, their groups codes like S1.2.3; occupations have UUIDs, their groups ISCO's codes.
_CITED: Final = re.compile(
    rf"http://data\.europa\.eu/esco/(skill/({_UUID}|[SKTLA]\d+(\.\d+){{0,3}})"
    rf"|occupation/{_UUID}|isco/C\d{{1,4}}|isced-f/\d{{2,4}})\Z",
    re.ASCII,
)


def check_concept(uri: str, *, field: str) -> None:
    """Refuse what looks like a concept of ESCO or ISCED-F and can't be one; other vocabularies' are not looked into.

    The URI is a name: ESCO's begin with ``http://``, whatever they are fetched by.

    Raises:
        InvalidArgument: ``BAD_CONCEPT``.
    """
    if ESCO in uri and not _CITED.match(uri):
        raise InvalidArgument(
            "BAD_CONCEPT",
            "not a concept of ESCO or ISCED-F",
            field=field,
            rule="ESCO's URIs: http://data.europa.eu/esco/skill/ and a UUID or a group's code, /occupation/, /isco/, "
            "/isced-f/ and a code of two to four digits",
            remedy="copy the concept's URI from the ESCO portal as it is",
        )
