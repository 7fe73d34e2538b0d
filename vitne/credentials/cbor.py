"""CBOR (RFC 8949) as far as COSE and CWT need it: written deterministically (section 4.2), read strictly.

Integers of 64 bits, byte and text strings, arrays, maps, tags. No floats, no simple
values, nothing of indefinite length: what is not needed can't be misread.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

import cbor2

from vitne.errors import InvalidArgument

#: How deep arrays, maps and tags may be nested.
MAX_DEPTH: Final = 8

Tagged = cbor2.CBORTag
#: What is written and read: ``int``, ``bytes``, ``str``, lists and mappings of these, :class:`Tagged`.
Value: TypeAlias = "int | bytes | str | Sequence[Any] | Mapping[Any, Any] | Tagged"


def encode(value: Value) -> bytes:
    """A value's one deterministic encoding.

    Raises:
        TypeError: it is, or holds, something that is not written.
    """
    if (other := _other(value)) is not None:
        raise TypeError(f"{other} is not written")
    return cbor2.dumps(value, canonical=True)


def decode(data: bytes, *, field: str = "") -> Any:
    """The value of one encoding, which may order maps as it likes (COSE does not ask for more).

    Raises:
        InvalidArgument: ``BAD_CBOR`` for anything else, lengths that are not the shortest, and repeated keys.
    """
    try:
        value = cbor2.loads(data, max_depth=MAX_DEPTH, allow_indefinite=False, allow_duplicate_keys=False)
    except Exception as error:  # the library lets through what tags of dates, numbers and addresses raise
        raise _bad("it can't be decoded", field) from error
    if (other := _other(value)) is not None:
        raise _bad(f"it holds {other}", field)
    # Whatever the order of maps, the shortest form has one length.
    if len(cbor2.dumps(value)) != len(data):
        raise _bad("a number or length is not in its shortest form, or something follows", field)
    return value


def _other(value: object) -> str | None:
    """What in a value is not written or read; None where there is nothing."""
    match value:
        case bool():
            return "a simple value"
        case int():
            return None if -(1 << 64) <= value < 1 << 64 else "an integer of more than 64 bits"
        case bytes() | str():
            return None
        case list() | tuple():  # of what is tagged the library makes tuples
            return next((other for each in value if (other := _other(each)) is not None), None)
        case Mapping():
            if not all(isinstance(key, int | str | bytes) for key in value):
                return "a key that is neither a number nor a string"
            return next((other for pair in value.items() for each in pair if (other := _other(each)) is not None), None)
        case Tagged():
            return _other(value.value)
        case _:
            return f"a {type(value).__name__}"


def _bad(why: str, field: str) -> InvalidArgument:
    return InvalidArgument(
        "BAD_CBOR",
        f"not the CBOR that is read here: {why}",
        field=field,
        rule="RFC 8949: definite lengths in the shortest form, unique keys",
        remedy="ask whoever wrote it",
    )
