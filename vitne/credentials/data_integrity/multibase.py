"""Bytes in text with a first character that tells the alphabet (Controlled Identifiers 1.0, section 2.4)."""

from __future__ import annotations

from typing import Final

from vitne.canonical import b64url, from_b64url
from vitne.errors import InvalidArgument

#: First character of base58btc.
BASE58: Final = "z"
#: First character of base64url without padding.
BASE64URL: Final = "u"
#: Longest text in base58 that is read: decoding is quadratic, and signatures and keys are short.
MAX_BASE58: Final = 1_024

_ALPHABET: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_VALUES: Final = {character: value for value, character in enumerate(_ALPHABET)}
# Two digits at a time, which halves the divisions of long numbers.
_PAIRS: Final = tuple(high + low for high in _ALPHABET for low in _ALPHABET)


def encode_base58(data: bytes) -> str:
    """Bytes as base58btc with its first character."""
    number = int.from_bytes(data)
    pairs = []
    while number:
        number, pair = divmod(number, len(_PAIRS))
        pairs.append(_PAIRS[pair])
    zeros = len(data) - len(data.lstrip(b"\x00"))
    digits = "".join(reversed(pairs)).lstrip(_ALPHABET[0])
    return f"{BASE58}{_ALPHABET[0] * zeros}{digits}"


def encode_base64url(data: bytes) -> str:
    """Bytes as base64url with its first character."""
    return f"{BASE64URL}{b64url(data)}"


def decode(text: str, *, field: str = "") -> bytes:
    """The bytes of multibase text, base58btc or base64url.

    Raises:
        InvalidArgument: ``BAD_MULTIBASE`` for another base, or characters it does not have; ``BAD_BASE64URL``.
    """
    if text.startswith(BASE64URL):
        return from_b64url(text[1:], field=field)
    if not text.startswith(BASE58) or len(text) > MAX_BASE58:
        raise _bad(field)
    number = 0
    for character in text[1:]:
        value = _VALUES.get(character)
        if value is None:
            raise _bad(field)
        number = number * len(_ALPHABET) + value
    zeros = len(text) - 1 - len(text[1:].lstrip(_ALPHABET[0]))
    return bytes(zeros) + number.to_bytes((number.bit_length() + 7) // 8)


def _bad(field: str) -> InvalidArgument:
    return InvalidArgument(
        "BAD_MULTIBASE",
        "not multibase text in base58btc or base64url",
        field=field,
        rule="Controlled Identifiers 1.0, section 2.4",
        remedy="write it with z and the base58btc alphabet, or with u and base64url",
    )
