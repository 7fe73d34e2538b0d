"""Term tables: what a context defines, with all IRIs absolute, so that applying one is copying its entries.

As JSON, which is what ``data/`` holds::

    {"vocab": IRI or null, "terms": {TERM: IRI or keyword or null,
                                     TERM: {"iri", "type", "container", "language", "protected", "prefix", "scope"}}}

where ``scope`` is a list of tables, null (everything before is forgotten) and URLs of contexts. Members that are not
stated are left out; in a table with ``"protected": true`` every term is protected that does not say otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

#: A context that applies inside a term: tables, None (forget everything before), or URLs of contexts, in turns.
Scope = tuple["Table | str | None", ...]

#: What a table that does not mention ``@vocab`` or ``@language`` holds; None is "no longer".
UNSTATED: Final = ""


@dataclass(frozen=True, slots=True)
class Definition:
    """What a term means."""

    #: Absolute IRI, or a keyword of which the term is an alias; None: the term means nothing.
    iri: str | None
    #: Datatype, ``@id``, ``@vocab`` or ``@json``; empty: none.
    type: str = ""
    #: ``@list``, ``@language`` or ``@graph``; empty: none, or ``@set``, which says nothing.
    container: str = ""
    #: Language of its texts; None: none, whatever the default is.
    language: str | None = UNSTATED
    #: Contexts for what is inside it; None: none.
    scope: Scope | None = None
    #: Whether it begins compact IRIs.
    prefix: bool = False
    #: May it be redefined? Takes no part in whether two definitions are the same (API, section 4.2.2, step 28).
    protected: bool = field(default=False, compare=False)


@dataclass(frozen=True, slots=True)
class Table:
    """What a context defines."""

    terms: Mapping[str, Definition]
    vocab: str | None = UNSTATED
    language: str | None = UNSTATED


def to_json(table: Table) -> dict[str, Any]:
    """A table as JSON."""
    protected = bool(table.terms) and all(definition.protected for definition in table.terms.values())
    stated: dict[str, Any] = {}
    if protected:
        stated["protected"] = True
    if table.vocab != UNSTATED:
        stated["vocab"] = table.vocab
    if table.language != UNSTATED:
        stated["language"] = table.language
    stated["terms"] = {
        term: _definition_to_json(definition, protected) for term, definition in sorted(table.terms.items())
    }
    return stated


def _definition_to_json(definition: Definition, protected: bool) -> Any:
    stated = dict(_stated(definition, protected))
    return definition.iri if stated.keys() == {"iri"} else stated


def _stated(definition: Definition, protected: bool) -> Iterator[tuple[str, Any]]:
    yield "iri", definition.iri
    if definition.type:
        yield "type", definition.type
    if definition.container:
        yield "container", definition.container
    if definition.language != UNSTATED:
        yield "language", definition.language
    if definition.prefix:
        yield "prefix", True
    if definition.protected != protected:
        yield "protected", definition.protected
    if definition.scope is not None:
        yield "scope", [to_json(entry) if isinstance(entry, Table) else entry for entry in definition.scope]


def from_json(stated: Mapping[str, Any]) -> Table:
    """The inverse of :func:`to_json`."""
    protected = stated.get("protected", False)
    return Table(
        terms={term: _definition_from_json(value, protected) for term, value in stated["terms"].items()},
        vocab=stated.get("vocab", UNSTATED),
        language=stated.get("language", UNSTATED),
    )


def _definition_from_json(value: Any, protected: bool) -> Definition:
    if not isinstance(value, dict):
        return Definition(value, protected=protected)
    members: dict[str, Any] = {"protected": protected} | value
    if "scope" in members:
        members["scope"] = tuple(from_json(entry) if isinstance(entry, dict) else entry for entry in members["scope"])
    return Definition(**members)
