"""Active contexts: which terms apply at a place of a document (JSON-LD 1.1 API, section 4.1).

Contexts by URL and by scope are the same for all documents, so what follows from them is kept.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache, lru_cache
from importlib import resources
from typing import Any, Final

from vitne.credentials.jsonld.compiling import MAX_TERMS, compile_context
from vitne.credentials.jsonld.refusals import bad_context, unknown_context
from vitne.credentials.jsonld.tables import UNSTATED, Definition, Scope, Table, from_json
from vitne.credentials.rdf.terms import is_iri

#: Most contexts that a document may name in one place.
MAX_CONTEXTS: Final = 16
#: Contexts that are kept, derived from pinned ones: a document that nests types in odd ways pushes out others.
_KEPT: Final = 512

_NO_TERMS: Final[Mapping[str, Definition]] = {}


class Context:
    """The terms that apply at a place. Immutable; equal only to itself."""

    __slots__ = ("language", "previous", "terms", "type_names", "vocab")

    def __init__(
        self,
        terms: Mapping[str, Definition] = _NO_TERMS,
        vocab: str = "",
        language: str = "",
        previous: Context | None = None,
    ) -> None:
        #: By name.
        self.terms = terms
        #: The names under which a node says its types.
        self.type_names = ("@type", *(term for term, definition in terms.items() if definition.iri == "@type"))
        #: What a term that is not defined is appended to; empty: nothing, it is unknown.
        self.vocab = vocab
        #: Language of texts whose term says none; empty: none.
        self.language = language
        #: What applies again inside the next node; None: this goes on.
        self.previous = previous

    def within(self, context: Any) -> Context:
        """This context, with a document's ``@context`` on top.

        Raises:
            InvalidArgument: ``UNKNOWN_CONTEXT``; ``BAD_CONTEXT`` for what can't be processed, or redefines a
                protected term.
        """
        entries = context if isinstance(context, list) else [context]
        if len(entries) > MAX_CONTEXTS:
            raise bad_context(f"more than {MAX_CONTEXTS} contexts")
        result = self
        for entry in entries:
            if isinstance(entry, str):
                result = _with_url(result, entry)
            elif entry is None:
                result = _without(result, override=False)
            elif isinstance(entry, dict):
                if len(entry) > MAX_TERMS:
                    raise bad_context(f"a context of more than {MAX_TERMS} terms")
                table = compile_context(entry, result.terms, result.vocab)
                result = _with_table(result, table, override=False)
            else:
                raise bad_context("a context is an object, a URL or null")
        return result

    def inside_property(self, term: str) -> Context:
        """What applies inside a term: its own context may redefine protected terms (section 5.1.2, step 8)."""
        definition = self.terms.get(term)
        if definition is None or definition.scope is None:
            return self
        return _with_scope(self, self, term, override=True, propagate=True)

    def inside_scope_of(self, term: str, owner: Context) -> Context:
        """The same, for a term as ``owner`` defines it."""
        return _with_scope(self, owner, term, override=True, propagate=True)

    def inside_type(self, term: str, owner: Context) -> Context:
        """What applies to a node of a type that ``owner`` defines; not to the nodes in it (step 11)."""
        definition = owner.terms.get(term)
        if definition is None or definition.scope is None:
            return self
        return _with_scope(self, owner, term, override=False, propagate=False)

    def expand(self, name: str) -> str | None:
        """A term, compact or absolute IRI as an absolute IRI or keyword; None: it is not defined (section 5.2)."""
        definition = self.terms.get(name)
        if definition is not None:
            return definition.iri
        if name.startswith("@"):
            return name
        iri = self.expand_identifier(name)
        if iri is None and self.vocab and is_iri(f"{self.vocab}{name}"):
            return f"{self.vocab}{name}"
        return iri

    def expand_identifier(self, name: str) -> str | None:
        """A compact or absolute IRI, or a blank node's label, as such; None: a relative reference."""
        prefix, colon, rest = name.partition(":")
        if not colon:
            return None
        if prefix != "_" and not rest.startswith("//"):
            definition = self.terms.get(prefix)
            if definition is not None and definition.iri and definition.prefix:
                name = f"{definition.iri}{rest}"
        return name if prefix == "_" or is_iri(name) else None


#: Where nothing is defined.
EMPTY: Final = Context()


@cache
def _folder() -> Mapping[str, str]:
    """File of each pinned context, by URL."""
    index = resources.files(__package__).joinpath("data", "index.json").read_text("utf-8")
    files: dict[str, str] = json.loads(index)
    return files


@cache
def pinned_urls() -> tuple[str, ...]:
    """URLs of the contexts that are known here."""
    return tuple(sorted(_folder()))


@cache
def _read(file: str) -> Table:
    return from_json(json.loads(resources.files(__package__).joinpath("data", file).read_text("utf-8")))


def pinned(url: str) -> Table:
    """The table of a context by URL.

    Raises:
        InvalidArgument: ``UNKNOWN_CONTEXT``.
    """
    file = _folder().get(url)
    if file is None:
        raise unknown_context(url)
    return _read(file)


@lru_cache(maxsize=_KEPT)
def _with_url(context: Context, url: str) -> Context:
    return _with_table(context, pinned(url), override=False)


@lru_cache(maxsize=_KEPT)
def _with_scope(context: Context, owner: Context, term: str, *, override: bool, propagate: bool) -> Context:
    scope: Scope = owner.terms[term].scope or ()
    result = context
    for entry in scope:
        if entry is None:
            result = _without(result, override=override)
        else:
            table = pinned(entry) if isinstance(entry, str) else entry
            result = _with_table(result, table, override=override)
    if propagate:
        return result
    return Context(result.terms, result.vocab, result.language, context.previous or context)


def _without(context: Context, *, override: bool) -> Context:
    """Nothing defined any more (section 4.1, step 5.1)."""
    if not override and any(definition.protected for definition in context.terms.values()):
        raise bad_context("a null context would forget protected terms")
    return EMPTY


def _with_table(context: Context, table: Table, *, override: bool) -> Context:
    terms = dict(context.terms)
    for term, definition in table.terms.items():
        before = terms.get(term)
        if before is not None and before.protected and not override:
            if before != definition:
                raise bad_context(f"the protected term {term[:64]!r} is redefined")
            continue  # the same again stays protected
        terms[term] = definition
    vocab = context.vocab if table.vocab == UNSTATED else table.vocab or ""
    language = context.language if table.language == UNSTATED else table.language or ""
    return Context(terms, vocab, language, context.previous)
