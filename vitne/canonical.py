"""Canonical bytes, digests and text forms that agree everywhere.

A record is JSON canonicalised by RFC 8785 (JCS), in UTF-8; its digest is
SHA-256; bytes in text are base64url without padding; times are UTC, RFC 3339
with ``Z`` and at most milliseconds.
"""

from __future__ import annotations

import binascii
import hashlib
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

import msgspec
import rfc8785

from vitne.clock import to_milliseconds
from vitne.errors import InvalidArgument

#: To the alphabet that the decoder knows; its own two characters, and padding, become what no alphabet has.
_FROM_URL: Final = bytes.maketrans(b"-_+/=", b"+/!!!")
_TO_URL: Final = bytes.maketrans(b"+/", b"-_")
#: Last characters of a text whose unused bits are zero, by how many characters stand behind the last four.
_LAST: Final = {2: "AQgw", 3: "AEIMQUYcgkosw048"}
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,3})?Z\Z", re.ASCII)


_ENCODE_SORTED: Final = msgspec.json.Encoder(order="sorted").encode
#: Integers that JSON carries exactly are below it (RFC 8785, section 3.2.2.3).
_EXACT: Final = 1 << 53


def canonical_bytes(record: Mapping[str, Any]) -> bytes:
    """The RFC 8785 bytes of a JSON object.

    Raises:
        InvalidArgument: ``NOT_CANONICAL`` when the record holds something JSON
            cannot carry exactly (NaN, integers beyond 2^53, lone surrogates).
    """
    return canonical_value(dict(record))


def canonical_value(value: Any) -> bytes:
    """The same for any JSON value."""
    try:
        # The quick encoder escapes as RFC 8785 does. What it does otherwise is left to the slow one: how floats are
        # written, and the order of names beyond ASCII, which is that of UTF-16.
        return _ENCODE_SORTED(value) if _is_plain(value) else rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, UnicodeEncodeError) as error:
        raise InvalidArgument(
            "NOT_CANONICAL",
            f"the record has no canonical form: {error}",
            rule="RFC 8785",
            remedy="use strings, booleans, null, and numbers that IEEE 754 carries exactly",
        ) from error


def _is_plain(value: Any) -> bool:
    """Whether a value is of texts, exact integers, truth values and null, under names in ASCII."""
    kind = type(value)
    if kind is str or kind is bool or value is None:
        return True
    if kind is dict:
        return all(type(name) is str and name.isascii() and _is_plain(member) for name, member in value.items())
    if kind is list:
        return all(map(_is_plain, value))
    return kind is int and -_EXACT < value < _EXACT


def sha256(data: bytes) -> bytes:
    """SHA-256 of ``data``: 32 bytes."""
    return hashlib.sha256(data).digest()


def b64url(data: bytes) -> str:
    """base64url without padding (RFC 4648, section 5)."""
    return binascii.b2a_base64(data, newline=False).translate(_TO_URL, b"=").decode("ascii")


def from_b64url(text: str, *, field: str = "") -> bytes:
    """The bytes of unpadded base64url text, strictly: one text for each byte string.

    Raises:
        InvalidArgument: ``BAD_BASE64URL`` on padding, a foreign alphabet, an
            impossible length, or unused bits that are not zero.
    """
    try:
        raw = text.encode("ascii").translate(_FROM_URL)
        behind = len(raw) % 4
        if behind == 1:
            raise ValueError("an impossible length")
        data = binascii.a2b_base64(raw + b"=" * (-behind % 4), strict_mode=True)
        if behind and text[-1] not in _LAST[behind]:
            raise ValueError("unused bits are set")
    except (ValueError, binascii.Error) as error:
        raise InvalidArgument(
            "BAD_BASE64URL",
            f"not base64url without padding: {error}",
            field=field,
            rule="RFC 4648, section 5, without padding",
            remedy="encode the bytes with the URL-safe alphabet and drop the padding",
        ) from error
    return data


def digest_text(data: bytes) -> str:
    """SHA-256 of ``data`` in the text form used in records."""
    return b64url(sha256(data))


# What is written together happened at one instant, and names it several times.
@lru_cache(maxsize=256)
def instant_text(moment: datetime) -> str:
    """An aware datetime as RFC 3339 text in UTC, with milliseconds only where there are any."""
    if moment.tzinfo is None:
        raise ValueError("a naive datetime says nothing about when")
    text = to_milliseconds(moment).replace(tzinfo=None).isoformat(timespec="milliseconds")
    return text.removesuffix(".000") + "Z"


def parse_instant(text: str, *, field: str = "") -> datetime:
    """The inverse of :func:`instant_text`.

    Raises:
        InvalidArgument: ``BAD_INSTANT`` for anything but UTC with ``Z`` and at most milliseconds.
    """
    try:
        if not _INSTANT.match(text):
            raise ValueError(text)
        return datetime.fromisoformat(text).astimezone(UTC)
    except ValueError as error:
        raise InvalidArgument(
            "BAD_INSTANT",
            "not an instant in UTC",
            field=field,
            rule="RFC 3339, UTC with 'Z', at most milliseconds",
            remedy="write it like 2026-11-21T10:05:00.214Z",
        ) from error
