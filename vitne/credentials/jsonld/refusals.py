"""The refusals of JSON-LD processing; each names what is refused."""

from __future__ import annotations

from typing import Final

from vitne.errors import InvalidArgument

#: Longest name that is repeated in an error: names of terms are the document's, and may be anything.
_SHOWN: Final = 128


def unknown_context(url: str) -> InvalidArgument:
    """A context that is not pinned: what its terms mean can't be known."""
    return InvalidArgument(
        "UNKNOWN_CONTEXT",
        f"the context {url[:_SHOWN]!r} is not known here, and contexts are never fetched",
        field="@context",
        rule="contexts are pinned (Verifiable Credentials Data Model 2.0, section 5.3)",
        remedy="use contexts that are pinned here, or have this one added",
    )


def bad_context(message: str) -> InvalidArgument:
    """A context that can't be processed."""
    return InvalidArgument(
        "BAD_CONTEXT",
        message,
        field="@context",
        rule="JSON-LD 1.1 API, section 4: context processing",
        remedy="define terms by absolute IRIs, and don't redefine protected ones",
    )


def unknown_term(name: str, where: str) -> InvalidArgument:
    """A term that no context defines."""
    return InvalidArgument(
        "UNKNOWN_TERM",
        f"no context defines the term {name[:_SHOWN]!r}",
        field=where,
        rule="what is not defined would be dropped, and what is dropped isn't signed",
        remedy="add a context that defines it, or leave it out",
    )


def refused(message: str, where: str) -> InvalidArgument:
    """A document that has no meaning as RDF, or one that would lose something on the way."""
    return InvalidArgument(
        "BAD_JSONLD",
        message,
        field=where,
        rule="JSON-LD 1.1 API, sections 5.1 and 8, with nothing dropped",
        remedy="write it with plain node objects, value objects and lists",
    )
