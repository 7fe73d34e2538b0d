"""Verifiable Credentials Data Model 2.0 (W3C Recommendation, 15 May 2025): is a document a credential at all?

What is checked is what the data model demands of every credential and presentation, whatever secures it: members,
their shapes, and that each type means something under the document's contexts. Whether to believe it is another
question.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from vitne.credentials.date_times import parse_date_time
from vitne.credentials.jsonld.contexts import EMPTY, Context
from vitne.credentials.rdf.terms import is_iri
from vitne.errors import InvalidArgument

#: The first context of every document.
CONTEXT: Final = "https://www.w3.org/ns/credentials/v2"
#: The type of every credential, of every presentation, and of a credential that is enclosed as it was signed.
CREDENTIAL: Final = "VerifiableCredential"
PRESENTATION: Final = "VerifiablePresentation"
ENVELOPED_CREDENTIAL: Final = "EnvelopedVerifiableCredential"

_TEXT_MEMBERS: Final = frozenset({"@value", "@language", "@direction"})
_DIRECTIONS: Final = (None, "ltr", "rtl")
#: Members that are objects, or arrays of them, each with a type (sections 4.9, 4.10, 4.11, 5.4 to 5.6, 4.12).
_TYPED: Final = (
    *("credentialStatus", "credentialSchema", "termsOfUse", "evidence", "refreshService", "renderMethod", "proof"),
)
#: Of those, what must have an identifier.
_IDENTIFIED: Final = frozenset({"credentialSchema"})
_DIGESTS: Final = ("digestSRI", "digestMultibase")


def require_credential(document: Any, *, where: str = "") -> None:
    """Refuse what is no credential (section 4).

    Args:
        document: JSON as read; with or without a proof.
        where: path of the document in what it came in.

    Raises:
        InvalidArgument: ``NOT_A_CREDENTIAL`` with the member as field; ``UNKNOWN_CONTEXT``; ``BAD_CONTEXT``;
            ``BAD_INSTANT``.
    """
    context = _document(document, CREDENTIAL, where)
    _issuer(document, where)
    _subjects(document, context, where)
    _validity(document, where)
    for name in ("name", "description"):
        _text(document, name, where)
    for name in _TYPED:
        for place, entry in _objects(document, name, where):
            _type(entry, context, place)
            _identifier(entry, place, required=name in _IDENTIFIED)
    _related(document, where)


def require_presentation(document: Any) -> None:
    """Refuse what is no presentation (section 4.13), or has something in it that is no credential.

    Raises:
        InvalidArgument: as :func:`require_credential` for what is in it.
    """
    context = _document(document, PRESENTATION, "")
    holder = document.get("holder")
    if "holder" in document:
        _require_url(holder.get("id") if isinstance(holder, dict) else holder, "holder", "the holder has no URL")
    for place, entry in _objects(document, "proof", ""):
        _type(entry, context, place)
    for place, entry in _objects(document, "verifiableCredential", ""):
        if ENVELOPED_CREDENTIAL in _listed(entry.get("type")):
            require_enveloped(entry, where=place)
        else:
            require_credential(entry, where=place)


def require_enveloped(document: Any, *, where: str = "") -> None:
    """Refuse what is no envelope: a typed object with the signed credential in a ``data:`` URL (section 4.13.1).

    Raises:
        InvalidArgument: ``NOT_A_CREDENTIAL``; ``BAD_CONTEXT``.
    """
    if not isinstance(document, dict):
        raise _refused(where, "an envelope is an object")
    contexts = _listed(document.get("@context"))
    if not contexts or contexts[0] != CONTEXT:
        raise _refused(_at(where, "@context"), f"the first context is not {CONTEXT}")
    _type(document, EMPTY.within(contexts), where)
    identifier = document.get("id")
    if not isinstance(identifier, str) or not identifier.startswith("data:") or "," not in identifier:
        raise _refused(_at(where, "id"), "an envelope holds a data: URL")


def _document(document: Any, type_: str, where: str) -> Context:
    """What credentials and presentations have in common; the terms that apply."""
    if not isinstance(document, dict):
        raise _refused(where, "a document is an object")
    contexts = document.get("@context")
    if not isinstance(contexts, list) or not contexts or contexts[0] != CONTEXT:
        raise _refused(_at(where, "@context"), f"the contexts are no array that begins with {CONTEXT}")
    for entry in contexts:
        if not isinstance(entry, dict) and not (isinstance(entry, str) and is_iri(entry)):
            raise _refused(_at(where, "@context"), "a context is neither a URL nor an object")
    outer = EMPTY.within(contexts)
    _type(document, outer, where)
    if type_ not in _listed(document["type"]):
        raise _refused(_at(where, "type"), f"the types lack {type_}")
    _identifier(document, where, required=False)
    context = outer
    for named in sorted(_listed(document["type"])):
        context = context.inside_type(named, outer)
    return context


def _issuer(document: Mapping[str, Any], where: str) -> None:
    issuer, place = document.get("issuer"), _at(where, "issuer")
    if isinstance(issuer, dict):
        _require_url(issuer.get("id"), f"{place}.id", "the issuer has no URL")
        for name in ("name", "description"):
            _text(issuer, name, place)
    else:
        _require_url(issuer, place, "the issuer is no URL")


def _subjects(document: Mapping[str, Any], context: Context, where: str) -> None:
    place = _at(where, "credentialSubject")
    subjects = list(_objects(document, "credentialSubject", where))
    if not subjects:
        raise _refused(place, "the credential is about nobody")
    for at, subject in subjects:
        if not subject:
            raise _refused(at, "a subject has no claim")
        _identifier(subject, at, required=False)
        if "type" in subject:
            _type(subject, context, at)


def _validity(document: Mapping[str, Any], where: str) -> None:
    read = []
    for name in ("validFrom", "validUntil"):
        if name in document:
            stated = document[name]
            if not isinstance(stated, str):
                raise _refused(_at(where, name), "an instant is text")
            read.append(parse_date_time(stated, field=_at(where, name)))
    if len(read) == 2 and read[1] < read[0]:
        raise _refused(_at(where, "validUntil"), "it ends before it begins")


def _text(document: Mapping[str, Any], name: str, where: str) -> None:
    """A text, or texts with language and direction (section 11.1)."""
    if name not in document:
        return
    values = document[name]
    for value in values if isinstance(values, list) else [values]:
        if isinstance(value, str):
            continue
        if not isinstance(value, dict) or not isinstance(value.get("@value"), str):
            raise _refused(_at(where, name), "neither text nor text with its language")
        if value.keys() - _TEXT_MEMBERS:
            raise _refused(_at(where, name), "a text says more than language and direction")
        if not isinstance(value.get("@language", ""), str) or value.get("@direction") not in _DIRECTIONS:
            raise _refused(_at(where, name), "a text's language or direction is none")


def _related(document: Mapping[str, Any], where: str) -> None:
    """Section 5.3: each resource once, with a digest."""
    seen = set()
    for place, entry in _objects(document, "relatedResource", where):
        _identifier(entry, place, required=True)
        if entry["id"] in seen:
            raise _refused(f"{place}.id", "a resource is named twice")
        seen.add(entry["id"])
        digests = [entry[name] for name in _DIGESTS if name in entry]
        if not digests or not all(isinstance(digest, str) and digest for digest in digests):
            raise _refused(place, "a resource has no digest")


def _objects(document: Mapping[str, Any], name: str, where: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The objects of a member that is one or an array of them, with their paths."""
    if name not in document:
        return
    value, place = document[name], _at(where, name)
    for number, entry in enumerate(value if isinstance(value, list) else [value]):
        at = f"{place}[{number}]" if isinstance(value, list) else place
        if not isinstance(entry, dict):
            raise _refused(at, "not an object")
        yield at, entry


def _type(entry: Mapping[str, Any], context: Context, where: str) -> None:
    """Section 4.5: at least one type, and each a URL, or a term that means one."""
    if "@context" in entry:
        context = context.within(entry["@context"])
    types = _listed(entry.get("type"))
    if not types:
        raise _refused(_at(where, "type"), "there is no type")
    for type_ in types:
        expanded = context.expand(type_) if isinstance(type_, str) else None
        if expanded is None or not is_iri(expanded):
            raise _refused(_at(where, "type"), "a type is neither a URL nor a term that means one")


def _identifier(entry: Mapping[str, Any], where: str, *, required: bool) -> None:
    """Section 4.4: one URL."""
    if required or "id" in entry:
        _require_url(entry.get("id"), _at(where, "id"), "the identifier is no URL")


def _require_url(value: Any, where: str, message: str) -> None:
    if not isinstance(value, str) or not is_iri(value):
        raise _refused(where, message)


def _listed(value: Any) -> list[Any]:
    return [] if value is None else value if isinstance(value, list) else [value]


def _at(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def _refused(where: str, message: str) -> InvalidArgument:
    return InvalidArgument(
        "NOT_A_CREDENTIAL",
        message,
        field=where,
        rule="Verifiable Credentials Data Model 2.0, section 4",
        remedy="ask the issuer for a credential that conforms",
    )
