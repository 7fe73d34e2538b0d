"""What all the texts of a log are made of (C2SP): standard base64 in its one form, decimals without leading zeros."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from typing import Final

from vitne.errors import InvalidArgument

#: Makes the refusal of a text, from the reason in words.
Refusal = Callable[[str], InvalidArgument]

_BASE64: Final = re.compile(r"[A-Za-z0-9+/]*={0,2}\Z")
#: Sizes and times fit into 63 bits (tlog-cosignature), which 19 digits hold.
_DECIMAL: Final = re.compile(r"(0|[1-9][0-9]{0,18})\Z")


def to_base64(data: bytes) -> str:
    """Standard base64 with padding (RFC 4648, section 4)."""
    return base64.b64encode(data).decode("ascii")


def from_base64(text: str, refusal: Refusal) -> bytes:
    """The inverse of :func:`to_base64`, strictly: one text for each byte string.

    Raises:
        InvalidArgument: as ``refusal`` makes it.
    """
    try:
        if not _BASE64.match(text):
            raise ValueError(text)
        data = base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error) as error:
        raise refusal("it holds something that is not base64") from error
    if to_base64(data) != text:
        raise refusal("it holds base64 that is not in its one canonical form")
    return data


def from_decimal(text: str, refusal: Refusal) -> int:
    """An ASCII decimal without leading zeros, below 10^19.

    Raises:
        InvalidArgument: as ``refusal`` makes it.
    """
    if not _DECIMAL.match(text):
        raise refusal("a number is not a decimal without leading zeros")
    return int(text)
