"""Names for nodes without identifiers, so that a part of a document says the same quads as the whole (ECDSA
Cryptosuites 1.0, sections 3.4.6 to 3.4.10: skolemization).

A list's cells are named by what the list belongs to, which the specification leaves open: lists are disclosed whole.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping
from typing import Any, Final

from vitne.credentials.jsonld.contexts import EMPTY
from vitne.credentials.jsonld.refusals import refused
from vitne.credentials.jsonld.to_rdf import Walk
from vitne.credentials.rdf.terms import BLANK, Quad

_PREFIX: Final = "urn:bnid:"
_TERM: Final = f"<{_PREFIX}"


class _Finding(Walk):
    """Collects the node objects that have no identifier."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[dict[str, Any]] = []

    def unnamed(self, element: dict[str, Any]) -> str:
        self.found.append(element)
        return super().unnamed(element)


class _Naming(Walk):
    """Names cells by what they belong to."""

    def cell(self, subject: str, predicate: str, place: int) -> str:
        digest = hashlib.sha256(f"{subject} {predicate} {place}".encode()).hexdigest()
        return f"{BLANK}cell{digest}"


def skolemise(document: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a document in which every node has an identifier.

    Raises:
        InvalidArgument: what :func:`~vitne.credentials.jsonld.to_rdf.to_rdf` refuses; ``BAD_JSONLD`` for a document
            that labels blank nodes itself, or uses such identifiers.
    """
    named = copy.deepcopy(dict(document))
    walk = _Finding()
    walk.node(named, EMPTY, "", "")
    if any(term.startswith(_TERM) for quad in walk.quads for term in quad) or _labels_itself(named):
        raise refused("a document that is disclosed in parts names no blank nodes itself", "")
    for number, element in enumerate(walk.found):
        element["@id"] = f"{_PREFIX}{number}"
    return named


def _labels_itself(value: Any) -> bool:
    if isinstance(value, dict):
        return any(_labels_itself(member) for member in value.values())
    if isinstance(value, list):
        return any(map(_labels_itself, value))
    return isinstance(value, str) and value.startswith(BLANK)


def to_labelled_rdf(named: Mapping[str, Any]) -> list[Quad]:
    """The quads of a document from :func:`skolemise`, or of a part of it, with the same labels in both."""
    walk = _Naming()
    walk.node(dict(named), EMPTY, "", "")
    return [(_label(s), p, _label(o), _label(g)) for s, p, o, g in walk.quads]


def _label(term: str) -> str:
    return f"{BLANK}{term[len(_TERM) : -1]}" if term.startswith(_TERM) else term
