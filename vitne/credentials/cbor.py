"""CBOR (RFC 8949) as far as COSE and CWT need it: written deterministically (section 4.2), read strictly.

Integers of 64 bits, byte and text strings, arrays, maps, tags. No floats, no simple
values, nothing of indefinite length: what is not needed can't be misread.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from vitne.errors import InvalidArgument

#: How deep arrays, maps and tags may be nested.
MAX_DEPTH: Final = 8

_UNSIGNED, _NEGATIVE, _BYTES, _TEXT, _ARRAY, _MAP, _TAG = range(7)
#: Additional information that says how many bytes of the argument follow (section 3).
_WIDTHS: Final = {24: 1, 25: 2, 26: 4, 27: 8}
_DIRECT: Final = 24


@dataclass(frozen=True, slots=True)
class Tagged:
    """A value under a tag (section 3.4)."""

    tag: int
    value: Value


#: What is written and read: ``int``, ``bytes``, ``str``, lists and mappings of these, :class:`Tagged`.
Value: TypeAlias = "int | bytes | str | list[Any] | Mapping[Any, Any] | Tagged"


def encode(value: Value) -> bytes:
    """A value's one deterministic encoding.

    Raises:
        TypeError: it is of another type.
        OverflowError: an integer does not fit into 64 bits.
    """
    match value:
        case bool():
            raise TypeError("simple values are not written")
        case int():
            return _head(_UNSIGNED, value) if value >= 0 else _head(_NEGATIVE, -1 - value)
        case bytes():
            return _head(_BYTES, len(value)) + value
        case str():
            text = value.encode()
            return _head(_TEXT, len(text)) + text
        case list():
            return _head(_ARRAY, len(value)) + b"".join(encode(each) for each in value)
        case Mapping():
            pairs = sorted((encode(key), encode(each)) for key, each in value.items())
            return _head(_MAP, len(pairs)) + b"".join(key + each for key, each in pairs)
        case Tagged():
            return _head(_TAG, value.tag) + encode(value.value)
        case _:
            raise TypeError(type(value).__name__)


def decode(data: bytes, *, field: str = "") -> Any:
    """The value of one encoding, which may order maps as it likes (COSE does not ask for more).

    Raises:
        InvalidArgument: ``BAD_CBOR`` for anything else, lengths that are not the shortest, and repeated keys.
    """
    reader = _Reader(data, field)
    value = reader.value(MAX_DEPTH)
    reader.end()
    return value


def _head(major: int, argument: int) -> bytes:
    if argument < _DIRECT:
        return bytes([major << 5 | argument])
    for information, width in _WIDTHS.items():
        if argument < 1 << 8 * width:
            return bytes([major << 5 | information]) + argument.to_bytes(width, "big")
    raise OverflowError("an integer of CBOR has 64 bits at most")


class _Reader:
    """Reads from the front."""

    def __init__(self, data: bytes, field: str) -> None:
        self._data = data
        self._at = 0
        self._field = field

    def value(self, depth: int) -> Any:
        """The next value."""
        if depth == 0:
            raise self._bad("it is nested too deep")
        major, argument = self._head()
        match major:
            case 0:
                return argument
            case 1:
                return -1 - argument
            case 2:
                return self._take(argument)
            case 3:
                try:
                    return self._take(argument).decode()
                except UnicodeDecodeError as error:
                    raise self._bad("a text is not UTF-8") from error
            case 4:
                return [self.value(depth - 1) for _ in range(self._count(argument))]
            case 5:
                return self._map(self._count(argument), depth - 1)
            case 6:
                return Tagged(argument, self.value(depth - 1))
            case _:
                raise self._bad("it holds a float or a simple value")

    def end(self) -> None:
        """Nothing may follow."""
        if self._at != len(self._data):
            raise self._bad("something follows")

    def _map(self, count: int, depth: int) -> dict[Any, Any]:
        found: dict[Any, Any] = {}
        for _ in range(count):
            key = self.value(depth)
            if not isinstance(key, int | str | bytes) or key in found:
                raise self._bad("a map's key is repeated, or neither a number nor a string")
            found[key] = self.value(depth)
        return found

    def _head(self) -> tuple[int, int]:
        first = self._take(1)[0]
        major, information = first >> 5, first & 0x1F
        if information < _DIRECT:
            return major, information
        width = _WIDTHS.get(information)
        if width is None:
            raise self._bad("it holds something of indefinite length")
        argument = int.from_bytes(self._take(width), "big")
        if _head(major, argument)[0] != first:
            raise self._bad("a number or length is not in its shortest form")
        return major, argument

    def _count(self, count: int) -> int:
        if count > len(self._data):  # each element has a byte at least
            raise self._bad("it ends too early")
        return count

    def _take(self, count: int) -> bytes:
        part = self._data[self._at : self._at + count]
        if len(part) != count:
            raise self._bad("it ends too early")
        self._at += count
        return part

    def _bad(self, why: str) -> InvalidArgument:
        return InvalidArgument(
            "BAD_CBOR",
            f"not the CBOR that is read here: {why}",
            field=self._field,
            rule="RFC 8949: definite lengths in the shortest form, unique keys",
            remedy="ask whoever wrote it",
        )
