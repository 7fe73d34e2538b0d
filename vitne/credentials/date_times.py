"""``xsd:dateTimeStamp``: the instants of W3C's documents, with any offset and any fraction."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

from vitne.errors import InvalidArgument

_STAMP: Final = re.compile(
    r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9})\d*)?(Z|[+-](?:0\d|1[0-3]):[0-5]\d|[+-]14:00)\Z", re.ASCII
)


def parse_date_time(text: str, *, field: str = "") -> datetime:
    """An instant, in UTC; what is finer than a microsecond is cut.

    Raises:
        InvalidArgument: ``BAD_INSTANT`` for what is no instant, or has no offset.
    """
    match = _STAMP.match(text)
    try:
        if match is None:
            raise ValueError("not in the form of xsd:dateTimeStamp")
        whole, fraction, offset = match.groups()
        fraction = f".{(fraction or '')[:6]:0<6}"
        return datetime.fromisoformat(f"{whole}{fraction}{offset}").astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidArgument(
            "BAD_INSTANT",
            "not an instant with its offset",
            field=field,
            rule="XML Schema 1.1, part 2: xsd:dateTimeStamp",
            remedy="write it like 2026-11-21T10:05:00Z",
        ) from error
