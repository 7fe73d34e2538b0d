"""A part of a document by JSON pointers (RFC 6901; ECDSA Cryptosuites 1.0, sections 3.4.11 to 3.4.14)."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any, Final

from vitne.errors import InvalidArgument

#: Most pointers of one selection.
MAX_POINTERS: Final = 256

# What is kept of each object on the way, since without it the rest would be about nobody known.
_KEPT: Final = ("id", "@id", "type", "@type")


class _Wanted:
    """What is wanted of a value: all of it, or of its parts."""

    def __init__(self) -> None:
        self.whole = False
        self.parts: dict[str, _Wanted] = {}


def select(document: Mapping[str, Any], pointers: Iterable[str]) -> dict[str, Any] | None:
    """The part of a document that pointers select, with its contexts and the types and identifiers above it.

    Returns:
        None where there is no pointer.

    Raises:
        InvalidArgument: ``BAD_POINTER`` for a pointer that is malformed or leads nowhere.
    """
    wanted, count = _Wanted(), 0
    for pointer in pointers:
        count += 1
        if count > MAX_POINTERS:
            raise _refused(f"more than {MAX_POINTERS} pointers")
        place = wanted
        for step in _steps(pointer):
            place = place.parts.setdefault(step, _Wanted())
        place.whole = True
    if not count:
        return None
    selected: dict[str, Any] = _selected(dict(document), wanted)
    return {"@context": copy.deepcopy(document["@context"])} | selected


def _steps(pointer: str) -> list[str]:
    if pointer and not pointer.startswith("/"):
        raise _refused("a pointer does not begin with /")
    return [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]]


def _selected(value: Any, wanted: _Wanted) -> Any:
    if wanted.whole:
        return copy.deepcopy(value)
    if isinstance(value, dict):
        if missing := wanted.parts.keys() - value.keys():
            raise _refused(f"there is no {min(missing)[:64]!r}")
        kept = {name: copy.deepcopy(value[name]) for name in _KEPT if name in value}
        return kept | {name: _selected(value[name], part) for name, part in wanted.parts.items()}
    if isinstance(value, list):
        places = {int(step): part for step, part in wanted.parts.items() if step.isascii() and step.isdecimal()}
        if len(places) < len(wanted.parts) or max(places) >= len(value):
            raise _refused("there is no such place in an array")
        return [_selected(value[place], part) for place, part in sorted(places.items())]
    raise _refused("it leads into a text or number")


def _refused(message: str) -> InvalidArgument:
    return InvalidArgument(
        "BAD_POINTER",
        f"the pointer selects nothing: {message}",
        rule="RFC 6901",
        remedy="point to members that the document has",
    )
