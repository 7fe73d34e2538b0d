"""Compiling a context's JSON into a term table (JSON-LD 1.1 API, sections 4.1 and 4.2).

The features are those that credentials' contexts use. ``@import``, ``@base``, ``@propagate``, ``@reverse``, ``@nest``,
``@index`` and containers by index, id or type are refused: nothing is half understood.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from vitne.credentials.jsonld.refusals import bad_context
from vitne.credentials.jsonld.tables import UNSTATED, Definition, Scope, Table
from vitne.credentials.rdf.terms import is_iri

#: Most terms that a context inside a document may define.
MAX_TERMS: Final = 256

_OF_CONTEXT: Final = frozenset({"@protected", "@version", "@vocab", "@language"})
_OF_DEFINITION: Final = frozenset(
    {"@id", "@type", "@container", "@language", "@protected", "@context", "@prefix", "@version"}
)
_KEYWORD: Final = re.compile(r"@[A-Za-z]+\Z")
_ALIASED: Final = frozenset({"@id", "@type", "@value", "@language", "@list", "@set"})
_TYPES: Final = frozenset({"@id", "@vocab", "@json"})
_CONTAINERS: Final = frozenset({"@list", "@language", "@graph"})
# A simple term is a prefix when its IRI ends like one (section 4.2.2, step 14.2.5: gen-delims of RFC 3986).
_ENDS_A_PREFIX: Final = tuple(":/?#[]@")


def compile_context(context: Mapping[str, Any], outer: Mapping[str, Definition], vocab: str = "") -> Table:
    """A context's table.

    Args:
        context: a context as JSON: an object.
        outer: the terms that apply where it stands, which its compact IRIs may use.
        vocab: the vocabulary that applies where it stands; empty: none.

    Raises:
        InvalidArgument: ``BAD_CONTEXT`` for a feature that is not understood, or a definition without meaning.
    """
    return _Compiler(context, outer, vocab).table()


def compile_scope(context: Any, outer: Mapping[str, Definition], vocab: str = "") -> Scope:
    """A context, or an array of them, each an object, a URL or null, as a scope."""
    entries = context if isinstance(context, list) else [context]
    scope: list[Table | str | None] = []
    for entry in entries:
        if isinstance(entry, dict):
            table = compile_context(entry, outer, vocab)
            outer = {**outer, **table.terms}
            scope.append(table)
        elif entry is None or isinstance(entry, str):
            scope.append(entry)
        else:
            raise bad_context("a context is an object, a URL or null")
    return tuple(scope)


class _Compiler:
    """Defines the terms of one context; one may rest on another, before or after it."""

    def __init__(self, context: Mapping[str, Any], outer: Mapping[str, Definition], vocab: str) -> None:
        self._outer = outer
        self._terms = {name: value for name, value in context.items() if not name.startswith("@")}
        keywords = context.keys() - self._terms.keys()
        if unknown := keywords - _OF_CONTEXT:
            raise bad_context(f"{min(unknown)[:32]} is not understood in a context")
        if context.get("@version", 1.1) != 1.1:
            raise bad_context("the only version is 1.1")
        self._protected = _flag(context, "@protected", default=False)
        self._defined: dict[str, Definition] = {}
        self._open: set[str] = set()
        self._vocab = vocab
        self._stated_vocab = self._read_vocab(context)
        self._vocab = (self._stated_vocab or "") if "@vocab" in context else vocab
        self._language = _language(context)

    def _read_vocab(self, context: Mapping[str, Any]) -> str | None:
        if "@vocab" not in context:
            return UNSTATED
        stated = context["@vocab"]
        if stated is None or (isinstance(stated, str) and is_iri(stated)):
            return stated
        raise bad_context("@vocab is an absolute IRI or null")

    def table(self) -> Table:
        for term in self._terms:
            self._define(term)
        # A scope may use whatever the whole context defines, so it is compiled last.
        whole = {**self._outer, **self._defined}
        for term, value in self._terms.items():
            if isinstance(value, dict) and "@context" in value:
                plain = self._defined[term]
                scope = compile_scope(value["@context"], whole, self._vocab)
                self._defined[term] = Definition(
                    plain.iri, plain.type, plain.container, plain.language, scope, plain.prefix, plain.protected
                )
        return Table(self._defined, self._stated_vocab, self._language)

    def _define(self, term: str) -> None:
        if term in self._defined:
            return
        if term in self._open:
            raise bad_context(f"the term {term[:64]!r} is defined by itself")
        if not term or ":" in term or "/" in term:
            raise bad_context(f"{term[:64]!r} is no plain term")
        self._open.add(term)
        self._defined[term] = self._definition(term, self._terms[term])
        self._open.discard(term)

    def _definition(self, term: str, value: Any) -> Definition:
        if value is None:
            return Definition(None, protected=self._protected)
        simple = isinstance(value, str)
        stated: Mapping[str, Any] = {"@id": value} if simple else value
        if not isinstance(stated, dict):
            raise bad_context(f"the term {term[:64]!r} is defined by neither text, object nor null")
        if unknown := stated.keys() - _OF_DEFINITION:
            raise bad_context(f"{min(unknown)[:32]!r} is not understood in a term's definition")
        protected = _flag(stated, "@protected", default=self._protected)
        iri = self._iri_of(term, stated)
        if iri is not None and iri.startswith("@"):
            if stated.keys() - {"@id", "@protected"}:
                raise bad_context(f"the term {term[:64]!r} is an alias, and says more")
            return Definition(iri, protected=protected)
        prefix = _flag(stated, "@prefix", default=simple and iri is not None and iri.endswith(_ENDS_A_PREFIX))
        return Definition(
            iri,
            type=self._type_of(stated),
            container=_container(stated),
            language=_language(stated),
            prefix=prefix,
            protected=protected,
        )

    def _iri_of(self, term: str, stated: Mapping[str, Any]) -> str | None:
        if "@id" not in stated:
            if not self._vocab:
                raise bad_context(f"the term {term[:64]!r} has no IRI")
            return f"{self._vocab}{term}"
        named = stated["@id"]
        if named is None:
            return None
        if not isinstance(named, str):
            raise bad_context(f"the IRI of the term {term[:64]!r} is not text")
        if _KEYWORD.match(named):
            if named not in _ALIASED:
                raise bad_context(f"{named[:32]} has no alias here")
            return named
        # A term that is defined by its own name is that name under the vocabulary.
        return self._expand(named, of=term)

    def _type_of(self, stated: Mapping[str, Any]) -> str:
        named = stated.get("@type")
        if named is None or named == "@none":
            return ""
        if not isinstance(named, str):
            raise bad_context("a term's type is not text")
        return named if named in _TYPES else self._expand(named)

    def _expand(self, name: str, of: str = "") -> str:
        """IRI expansion (section 5.2) relative to the vocabulary."""
        if name in self._terms and name != of:
            self._define(name)
            if iri := self._defined[name].iri:
                return iri
        elif name in self._outer and name != of and (iri := self._outer[name].iri):
            return iri
        prefix, colon, rest = name.partition(":")
        if colon and not rest.startswith("//") and prefix != of:
            if prefix in self._terms:
                self._define(prefix)
            known = self._defined.get(prefix) or self._outer.get(prefix)
            if known is not None and known.iri and known.prefix:
                name = f"{known.iri}{rest}"
        elif not colon and self._vocab:
            name = f"{self._vocab}{name}"
        if not is_iri(name):
            raise bad_context(f"{name[:64]!r} is not an absolute IRI")
        return name


def _flag(stated: Mapping[str, Any], name: str, *, default: bool) -> bool:
    value = stated.get(name, default)
    if not isinstance(value, bool):
        raise bad_context(f"{name} is neither true nor false")
    return value


def _language(stated: Mapping[str, Any]) -> str | None:
    value = stated.get("@language", UNSTATED)
    if value is not None and not isinstance(value, str):
        raise bad_context("@language is neither text nor null")
    return value


def _container(stated: Mapping[str, Any]) -> str:
    value = stated.get("@container")
    entries = value if isinstance(value, list) else [value]
    meant = [entry for entry in entries if entry not in ("@set", None)]
    if not meant:
        return ""
    if len(meant) > 1 or meant[0] not in _CONTAINERS:
        raise bad_context("a container is @set, @list, @language or @graph")
    return str(meant[0])
