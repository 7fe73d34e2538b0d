"""Reading RDF 1.1 N-Quads (W3C Recommendation, 25 February 2014).

Writing is :func:`vitne.credentials.rdf.terms.line`.
"""

from __future__ import annotations

import re
from typing import Final

from vitne.credentials.rdf.terms import Quad, iri, literal
from vitne.errors import InvalidArgument

_UCHAR: Final = r"\\u[0-9A-Fa-f]{4}|\\U[0-9A-Fa-f]{8}"
_IRIREF: Final = rf'<((?:[^\x00-\x20<>"{{}}|^`\\]|{_UCHAR})*)>'
_STRING: Final = rf'"((?:[^"\\\n\r]|\\[tbnrf"\'\\]|{_UCHAR})*)"'
# PN_CHARS of the grammar: ASCII written out, letters beyond it as Unicode's word characters.
_LABEL: Final = r"_:[\w:](?:[\w:.·‿⁀-]*[\w:·‿⁀-])?"
_TERM: Final = rf"{_IRIREF}|({_LABEL})"
_LINE: Final = re.compile(
    rf"[ \t]*(?:{_TERM})[ \t]*{_IRIREF}[ \t]*(?:{_TERM}|{_STRING}(?:\^\^{_IRIREF}|@([a-zA-Z]+(?:-[a-zA-Z0-9]+)*))?)"
    rf"[ \t]*(?:{_TERM})?[ \t]*\.[ \t]*(?:#.*)?\Z"
)
_NOTHING: Final = re.compile(r"[ \t]*(?:#.*)?\Z")
_ESCAPE: Final = re.compile(rf"{_UCHAR}|\\(.)")
_ECHAR: Final = {"t": "\t", "b": "\b", "n": "\n", "r": "\r", "f": "\f", '"': '"', "'": "'", "\\": "\\"}
_LARGEST_CODE_POINT: Final = 0x10FFFF


def parse(text: str) -> list[Quad]:
    """The quads of an N-Quads document, in its order; a quad that is repeated is repeated here.

    Raises:
        InvalidArgument: ``BAD_NQUADS`` with the line's number as field; ``BAD_IRI``; ``BAD_LITERAL``.
    """
    return [
        _quad(entry, number) for number, entry in enumerate(re.split(r"[\r\n]+", text), 1) if not _NOTHING.match(entry)
    ]


def _quad(entry: str, number: int) -> Quad:
    match = _LINE.match(entry)
    if match is None:
        raise _bad(number)
    s_iri, s_blank, p_iri, o_iri, o_blank, text, datatype, language, g_iri, g_blank = match.groups()
    try:
        if text is None:
            object_ = o_blank or iri(_unescaped(o_iri))
        elif datatype is None:
            object_ = literal(_unescaped(text), language=language or "")
        else:
            object_ = literal(_unescaped(text), datatype=_unescaped(datatype))
        graph = g_blank or ("" if g_iri is None else iri(_unescaped(g_iri)))
        return s_blank or iri(_unescaped(s_iri)), iri(_unescaped(p_iri)), object_, graph
    except (ValueError, OverflowError) as error:
        raise _bad(number) from error


def _unescaped(text: str) -> str:
    return _ESCAPE.sub(_character, text) if "\\" in text else text


def _character(match: re.Match[str]) -> str:
    if match.group(1):
        return _ECHAR[match.group(1)]
    code = int(match.group()[2:], 16)
    if code > _LARGEST_CODE_POINT:
        raise ValueError("beyond Unicode")
    return chr(code)


def _bad(number: int) -> InvalidArgument:
    return InvalidArgument(
        "BAD_NQUADS",
        "not a line of N-Quads",
        field=f"line {number}",
        rule="RDF 1.1 N-Quads, section 6",
        remedy="write subject, predicate, object, an optional graph name, and a full stop",
    )
