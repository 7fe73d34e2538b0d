"""A JSON-LD document as RDF: expansion, node map and RDF in one walk (JSON-LD 1.1 API, sections 5.1, 7 and 8.1).

A dataset is a set, so it makes no difference that quads are made where nodes stand instead of from a merged map. The
result is what the algorithms give in "safe mode": where they would drop something, this refuses.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec

from vitne.canonical import canonical_value
from vitne.credentials.jsonld.contexts import EMPTY, Context
from vitne.credentials.jsonld.refusals import refused, unknown_term
from vitne.credentials.jsonld.tables import Definition
from vitne.credentials.rdf.terms import BLANK, RDF, XSD, Quad, iri, literal
from vitne.errors import InvalidArgument

#: Most quads of a document. A credential has some dozens.
MAX_QUADS: Final = 20_000
#: Deepest node or list.
MAX_DEPTH: Final = 32

_TYPE: Final = f"<{RDF}type>"
_FIRST: Final = f"<{RDF}first>"
_REST: Final = f"<{RDF}rest>"
_NIL: Final = f"<{RDF}nil>"
_JSON: Final = f"{RDF}JSON"
_BOOLEAN: Final = f"{XSD}boolean"
_INTEGER: Final = f"{XSD}integer"
_DOUBLE: Final = f"{XSD}double"
# Numbers from it on have no integer form (section 8.6, step 10).
_LARGE: Final = 1e21
# Integers to it are exact for every reader of JSON (RFC 8259, section 6).
_EXACT: Final = 1 << 53
_NO_TERM: Final = Definition(None)
_OF_VALUE: Final = frozenset({"@value", "@type", "@language"})

# What badges and our documents call the achievement: thousands of credentials say the same of it, and it makes most of
# their quads. Only so large, since the last few hundred are kept.
_SHARED: Final = frozenset({"achievement", "micro_credential"})
_MAX_SHARED: Final = 16_384
_ENCODE: Final = msgspec.json.Encoder().encode

# The same few predicates and types again and again.
_known_iri = lru_cache(maxsize=4096)(iri)


def to_rdf(document: Mapping[str, Any]) -> list[Quad]:
    """The quads of a document under pinned contexts.

    Args:
        document: a node object as read from JSON, with its ``@context``.

    Raises:
        InvalidArgument: ``UNKNOWN_CONTEXT``, ``BAD_CONTEXT``, ``UNKNOWN_TERM``, ``BAD_JSONLD``, ``BAD_IRI``,
            ``BAD_LITERAL``, with the path as field; ``TOO_LARGE`` beyond :data:`MAX_QUADS`.
    """
    walk = Walk()
    walk.node(dict(document), EMPTY, "", "")
    return walk.quads


class _Property(NamedTuple):
    """A member of a node on its way to quads: what they have in common, and what applies to its values."""

    subject: str
    predicate: str
    graph: str
    name: str
    term: Definition
    context: Context


class Walk:
    """One document on its way: :meth:`node` for its root, then :attr:`quads`."""

    def __init__(self, depth: int = 0) -> None:
        #: Those of what has been walked through.
        self.quads: list[Quad] = []
        #: Blank nodes that have a label.
        self.blanks = 0
        self._labels: dict[str, str] = {}
        self._depth = depth

    # --- Nodes ----------------------------------------------------------------------------------

    def node(self, element: dict[str, Any], context: Context, graph: str, where: str) -> str:
        """Emit a node object's quads; its subject. What surrounds it has been applied to ``context``."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise refused(f"nested deeper than {MAX_DEPTH}", where)
        if "@context" in element:
            context = context.within(element["@context"])
        types, context = self._types(element, context, where)
        subject, properties = "", []
        for name, value in element.items():
            if name == "@context":
                continue
            expanded = context.expand(name)
            if expanded == "@id":
                if subject:
                    raise refused("a node has two identifiers", _at(where, name))
                subject = self._identifier(value, context, _at(where, name))
            elif expanded == "@type":
                continue
            elif expanded is None:
                raise unknown_term(name, _at(where, name))
            elif expanded.startswith(("@", BLANK)):
                raise refused(f"{expanded[:16]} is not understood in a node", _at(where, name))
            else:
                properties.append((name, expanded, value))
        subject = subject or self.unnamed(element)
        for type_ in types:
            self._emit((subject, _TYPE, type_, graph))
        for name, expanded, value in properties:
            term = context.terms.get(name, _NO_TERM)
            of = _Property(subject, _known_iri(expanded), graph, name, term, context)
            self._property(value, of, _at(where, name))
        self._depth -= 1
        return subject

    def _types(self, element: Mapping[str, Any], context: Context, where: str) -> tuple[list[str], Context]:
        """A node's types as terms, and what applies to it by them (section 5.1.2, steps 10 and 11)."""
        owner, types = context, []
        for name in owner.type_names:
            if name not in element:
                continue
            value = element[name]
            named = value if isinstance(value, list) else [value]
            for type_ in named:
                if not isinstance(type_, str):
                    raise refused("a type is not text", _at(where, name))
                expanded = owner.expand(type_)
                if expanded is None or expanded.startswith("@"):
                    raise unknown_term(type_, _at(where, name))
                types.append(self._label(expanded) if expanded.startswith(BLANK) else _known_iri(expanded))
            for type_ in sorted(set(named)):
                context = context.inside_type(type_, owner)
        return types, context

    def _identifier(self, value: Any, context: Context, where: str) -> str:
        expanded = context.expand_identifier(value) if isinstance(value, str) else None
        if expanded is None:
            raise refused("an identifier is not an absolute IRI", where)
        return self._label(expanded) if expanded.startswith(BLANK) else iri(expanded)

    # --- Properties -----------------------------------------------------------------------------

    def _property(self, value: Any, of: _Property, where: str) -> None:
        if of.term.type == "@json":
            self._link(of, _json_literal(value, where))
        elif of.term.container == "@language":
            for text in _language_map(value, where):
                self._link(of, text)
        elif of.term.container == "@list" and value is not None and not _is_list(value):
            self._link(of, self._list(value if isinstance(value, list) else [value], of, where))
        else:
            self._values(value, of, where)

    def _values(self, value: Any, of: _Property, where: str) -> None:
        if isinstance(value, list):
            for place, item in enumerate(value):
                if isinstance(item, list):
                    raise refused("an array in an array is no set", f"{where}[{place}]")
                self._values(item, of, f"{where}[{place}]")
        elif isinstance(value, dict) and "@set" in value:
            if len(value) > 1 or isinstance(value["@set"], dict):
                raise refused("a set says something else", where)
            self._values(value["@set"], of, where)
        elif value is not None:
            self._link(of, self._object(value, of, where))

    def _object(self, value: Any, of: _Property, where: str) -> str:
        context = of.context
        if not isinstance(value, dict):
            if of.term.container == "@graph":
                raise refused("a graph is no node object, and would be left out", where)
            return self._scalar(value, of.term, context.inside_property(of.name), where)
        if "@list" in value:
            items = value["@list"]
            if len(value) > 1:
                raise refused("a list says something else", where)
            return self._list(items if isinstance(items, list) else [items], of, where)
        members = {context.expand(member) for member in value}
        if "@value" in members:
            return self._value_object(value, context.inside_property(of.name), where)
        # Step 7: a type's context ends where the next node begins; a mere reference begins none.
        ends = context.previous is not None and members != {"@id"}
        inside = _outside(context, of.name) if ends else context.inside_property(of.name)
        if of.term.container == "@graph":
            named = self._blank()
            self.node(value, inside, named, where)
            return named
        if of.name in _SHARED and not of.graph and type(self) is Walk:
            return self._shared_node(value, inside, where)
        return self.node(value, inside, of.graph, where)

    def _shared_node(self, element: dict[str, Any], context: Context, where: str) -> str:
        """The same as :meth:`node`, for what many documents say word for word: expanded once, then filled in."""
        try:
            written = _ENCODE(element)
        except (ValueError, OverflowError):  # half a character, a number that few readers know: it will be refused
            written = b""
        # Labels of the document's own belong to all of it; and infinity would be written as null.
        if not 0 < len(written) <= _MAX_SHARED or BLANK.encode() in written or b"null" in written:
            return self.node(element, context, "", where)
        expanded = _expanded(context, written, self._depth, where)
        if expanded is None:
            return self.node(element, context, "", where)
        subject, quads, blanks = expanded
        labels = [self._blank() for _ in range(blanks)]
        for named, predicate, object_ in quads:
            self._emit(
                (
                    labels[named] if isinstance(named, int) else named,
                    predicate,
                    labels[object_] if isinstance(object_, int) else object_,
                    "",
                )
            )
        return labels[subject] if isinstance(subject, int) else subject

    def _list(self, items: list[Any], of: _Property, where: str) -> str:
        """A list's head (section 8.3)."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise refused(f"nested deeper than {MAX_DEPTH}", where)
        objects = []
        for place, item in enumerate(items):
            if isinstance(item, list):
                inner = of._replace(subject=f"{of.subject} {place}")
                objects.append(self._list(item, inner, f"{where}[{place}]"))
            elif item is not None:
                objects.append(self._object(item, of, f"{where}[{place}]"))
        cells = [self.cell(of.subject, of.predicate, place) for place in range(len(objects))]
        for cell, object_, rest in zip(cells, objects, [*cells[1:], _NIL], strict=False):
            self._emit((cell, _FIRST, object_, of.graph))
            self._emit((cell, _REST, rest, of.graph))
        self._depth -= 1
        return cells[0] if cells else _NIL

    # --- Values ---------------------------------------------------------------------------------

    def _scalar(self, value: Any, term: Definition, context: Context, where: str) -> str:
        """Value expansion (section 5.3)."""
        if isinstance(value, str):
            if term.type == "@id":
                return self._identifier(value, context, where)
            if term.type == "@vocab":
                expanded = context.expand(value)
                if expanded is None or expanded.startswith("@"):
                    raise unknown_term(value, where)
                return self._label(expanded) if expanded.startswith(BLANK) else iri(expanded)
            if term.type:
                return literal(value, datatype=term.type)
            language = context.language if term.language == "" else term.language
            return literal(value, language=(language or "").lower())
        return _native(value, "" if term.type.startswith("@") else term.type, where)

    def _value_object(self, value: Mapping[str, Any], context: Context, where: str) -> str:
        members: dict[str, Any] = {}
        for name, member in value.items():
            expanded = context.expand(name)
            if expanded == "@direction":
                raise refused("a text's direction has no place in RDF, and would not be signed", where)
            if expanded is None or expanded not in _OF_VALUE or expanded in members:
                raise refused(f"a value object does not say {name[:64]!r}", where)
            members[expanded] = member
        content, type_, language = (members.get(name) for name in ("@value", "@type", "@language"))
        if language is not None:
            if type_ is not None or not isinstance(language, str) or not isinstance(content, str):
                raise refused("only text has a language, and no type beside it", where)
            return literal(content, language=language.lower())
        if type_ is None:
            return literal(content) if isinstance(content, str) else _native(content, "", where)
        datatype = context.expand(type_) if isinstance(type_, str) else None
        if datatype == "@json":
            return _json_literal(content, where)
        if datatype is None or datatype.startswith(("@", BLANK)):
            raise unknown_term(str(type_), where)
        return literal(content, datatype=datatype) if isinstance(content, str) else _native(content, datatype, where)

    # --- Quads ----------------------------------------------------------------------------------

    def _link(self, of: _Property, object_: str) -> None:
        self._emit((of.subject, of.predicate, object_, of.graph))

    def _emit(self, quad: Quad) -> None:
        if len(self.quads) >= MAX_QUADS:
            raise InvalidArgument(
                "TOO_LARGE",
                f"the document says more than {MAX_QUADS} things",
                rule=f"at most {MAX_QUADS} quads",
                remedy="send credentials one by one",
            )
        self.quads.append(quad)

    def unnamed(self, element: dict[str, Any]) -> str:
        """The label of a node object without an identifier."""
        return self._blank()

    def cell(self, subject: str, predicate: str, place: int) -> str:
        """The label of a list's cell, by what the list belongs to and its place there."""
        return self._blank()

    def _blank(self) -> str:
        label = f"{BLANK}b{self.blanks}"
        self.blanks += 1
        return label

    def _label(self, stated: str) -> str:
        """The document's own blank node labels are given anew, so that they don't meet ours (section 7.3)."""
        if stated not in self._labels:
            self._labels[stated] = self._blank()
        return self._labels[stated]


#: A term, or the number of a blank node, from 0.
_Filled: TypeAlias = "str | int"


@lru_cache(maxsize=256)
def _expanded(
    context: Context, written: bytes, depth: int, where: str
) -> tuple[_Filled, tuple[tuple[_Filled, str, _Filled], ...], int] | None:
    """A node without labels of its own: subject, quads, and how many blank nodes it takes; None: it holds graphs."""
    walk = Walk(depth)
    subject = walk.node(msgspec.json.decode(written), context, "", where)
    numbers: dict[str, int] = {f"{BLANK}b{number}": number for number in range(walk.blanks)}
    quads = tuple((numbers.get(s, s), p, numbers.get(o, o)) for s, p, o, _ in walk.quads)
    if any(graph for *_, graph in walk.quads):
        return None
    return numbers.get(subject, subject), quads, walk.blanks


def _outside(context: Context, name: str) -> Context:
    """What applies in the next node under a property, when the context of a type ends there."""
    before = context.previous or context
    definition = context.terms.get(name)
    if definition is None or definition.scope is None:
        return before
    return before.inside_scope_of(name, context)


def _at(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def _is_list(value: Any) -> bool:
    return isinstance(value, dict) and "@list" in value


def _language_map(value: Any, where: str) -> Iterator[str]:
    """Texts by language (section 5.1.2, step 13.7)."""
    if not isinstance(value, dict):
        raise refused("not texts by language", where)
    for language, texts in value.items():
        for text in texts if isinstance(texts, list) else [texts]:
            if not isinstance(text, str):
                raise refused("not texts by language", where)
            yield literal(text, language="" if language == "@none" else language.lower())


def _native(value: Any, datatype: str, where: str) -> str:
    """A number or truth value (section 8.6)."""
    if isinstance(value, bool):
        return literal("true" if value else "false", datatype=datatype or _BOOLEAN)
    if isinstance(value, int | float) and math.isfinite(value):
        if value % 1 or abs(value) >= _LARGE or datatype == _DOUBLE:
            return literal(_double(float(value)), datatype=datatype or _DOUBLE)
        if abs(value) > _EXACT:
            raise refused("a number beyond 2^53 is not the same for all readers", where)
        return literal(str(int(value)), datatype=datatype or _INTEGER)
    raise refused("neither text, number, truth value nor object", where)


def _double(value: float) -> str:
    """The canonical form of ``xsd:double`` (JSON-LD 1.1 API, section 8.6: ``%1.15E`` without zeros at the end)."""
    mantissa, exponent = f"{value:.15E}".split("E")
    digits = mantissa.rstrip("0")
    return f"{digits}{'0' if digits.endswith('.') else ''}E{int(exponent)}"


def _json_literal(value: Any, where: str) -> str:
    """Any JSON as one literal, in its canonical form (section 8.6, step 6)."""
    try:
        text = canonical_value(value).decode()
    except InvalidArgument as error:
        raise refused("JSON that has no canonical form", where) from error
    return literal(text, datatype=_JSON)
