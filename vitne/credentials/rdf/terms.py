"""RDF terms in their canonical N-Quads text (RDF Dataset Canonicalization, appendix A).

Only the characters that must be escaped are, each in one way: two texts are equal exactly when the terms are.
"""

from __future__ import annotations

import re
from typing import Final

from vitne.errors import InvalidArgument

#: Subject, predicate, object and graph name, each in canonical text; the default graph's name is empty.
Quad = tuple[str, str, str, str]

#: What a blank node's text begins with.
BLANK: Final = "_:"
XSD: Final = "http://www.w3.org/2001/XMLSchema#"
RDF: Final = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
#: The datatype that is never written.
XSD_STRING: Final = f"{XSD}string"

_SHORT: Final = {"\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r", '"': '\\"', "\\": "\\\\"}
# The characters with a short escape, other controls, and what XML 1.1 has no character for.
_ESCAPED: Final = re.compile('[\\x00-\\x1f"\\\\\\x7f\\ufffe\\uffff]')
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
# IRIREF of N-Quads (section 6), with a scheme: relative references mean nothing here.
_IRI: Final = re.compile(r'[A-Za-z][A-Za-z0-9+.-]*:[^\x00-\x20<>"{}|^`\\\ud800-\udfff]*\Z')
# LANGTAG of N-Quads.
_LANGUAGE: Final = re.compile(r"[A-Za-z]+(-[A-Za-z0-9]+)*\Z")


def is_iri(text: str) -> bool:
    """Whether a text is an absolute IRI as N-Quads can carry it."""
    return _IRI.match(text) is not None


def iri(text: str) -> str:
    """An absolute IRI as a term.

    Raises:
        InvalidArgument: ``BAD_IRI`` for a relative reference, or characters that no IRI has.
    """
    if not is_iri(text):
        raise InvalidArgument(
            "BAD_IRI",
            "not an absolute IRI",
            field=text[:128],
            rule="RFC 3987, section 2.2; N-Quads, IRIREF",
            remedy="write it absolute, with a scheme, and percent-encode what an IRI does not carry",
        )
    return f"<{text}>"


def literal(text: str, *, datatype: str = XSD_STRING, language: str = "") -> str:
    """A literal as a term; with a language it is a language-tagged string.

    Raises:
        InvalidArgument: ``BAD_LITERAL`` for a lone surrogate or a malformed language tag; ``BAD_IRI``.
    """
    escaped = _ESCAPED.sub(_escape, text)
    if not text.isascii() and _SURROGATE.search(text):
        raise _bad_literal("a text holds half of a surrogate pair")
    if language:
        if not _LANGUAGE.match(language):
            raise _bad_literal("a language tag is malformed")
        return f'"{escaped}"@{language}'
    if datatype == XSD_STRING:
        return f'"{escaped}"'
    return f'"{escaped}"^^{iri(datatype)}'


def _escape(match: re.Match[str]) -> str:
    character = match.group()
    return _SHORT.get(character) or f"\\u{ord(character):04X}"


def _bad_literal(message: str) -> InvalidArgument:
    return InvalidArgument(
        "BAD_LITERAL",
        message,
        rule="N-Quads, section 2.4: Unicode text, and a language tag by BCP 47",
        remedy="send well-formed Unicode and tags like nb or en-GB",
    )


def line(quad: Quad) -> str:
    """A quad's line in canonical N-Quads, with its line feed."""
    subject, predicate, object_, graph = quad
    return f"{subject} {predicate} {object_} {graph} .\n" if graph else f"{subject} {predicate} {object_} .\n"
