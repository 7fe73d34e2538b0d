"""An extract of the trust list: everything that it says of a few organisations, signed with the same key.

A country's list has tens of thousands of facts; what one credential rests on is a dozen.
An extract is a statement like the list's, of type ``vitne-trust-list-extract+jwt``, that
also names the **organisations** it is about, and its facts are all that the registry knew
of these and nothing else. That a withdrawal is not among them means that there was none
then: an extract is complete for whom it names, which a proof of single facts could not say.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from vitne.accreditation.projection import Projection
from vitne.accreditation.trust_list import (
    FactsReference,
    Statement,
    bad_trust_list,
    open_statement,
    read_facts,
    render,
    statement_claims,
    statement_of,
)
from vitne.credentials.jose import PublicKey, Signer, sign_jws
from vitne_api.registry.v1 import facts_pb2

#: The ``typ`` of the statement.
TYPE: Final = "vitne-trust-list-extract+jwt"
#: Most organisations in an extract: a provider, its authorities and the operator are a handful.
MAX_ORGANISATIONS: Final = 32


@dataclass(frozen=True, slots=True)
class Extract:
    """A statement, and the facts that it names."""

    statement: str
    #: JSON Lines, as in the list.
    facts: bytes


def concerned(projection: Projection, provider: str, operator: str) -> tuple[str, ...]:
    """Whom a provider's credentials rest on: itself, the authorities that accredited it, the operator; in order."""
    authorities = {held.authority for held in projection.accreditations_of(provider)}
    return tuple(sorted(authorities | {provider, operator} - {""}))


def sign_extract(
    facts: Iterable[facts_pb2.Fact],
    organisations: Collection[str],
    registry_revision: int,
    *,
    path: str,
    issuer: str,
    at: datetime,
    signer: Signer,
) -> Extract:
    """The extract of the list.

    Args:
        facts: every fact of the list up to ``registry_revision`` whose subject is among the organisations, in order.
        organisations: whom it is about.
        registry_revision: what it is whole up to.
        path: where it is published.
        issuer: URI of the registry.
        at: when it was so.
        signer: the trust-list key.
    """
    body = b"".join(map(render, facts))
    claims = statement_claims(FactsReference.of(path, body), registry_revision, issuer=issuer, at=at, signer=signer)
    return Extract(sign_jws(claims | {"organisations": sorted(organisations)}, signer, typ=TYPE), body)


def read_extract(
    extract: Extract, *, pinned: PublicKey | str, issuer: str, now: datetime
) -> tuple[Statement, tuple[facts_pb2.Fact, ...]]:
    """Check and read an extract of any age: it says what was so when it was made.

    Args:
        extract: as it was published.
        pinned: the list's key, or its RFC 7638 thumbprint.
        issuer: the URI that it must come from.
        now: the present instant.

    Raises:
        InvalidArgument: ``BAD_TRUST_LIST`` and what else :func:`~vitne.accreditation.trust_list.read_facts` raises.
        DataLoss: ``UNKNOWN_FACT``.
    """
    claims = open_statement(extract.statement, TYPE, pinned)
    statement = statement_of(claims, issuer, now)
    about = claims.get("organisations")
    if not isinstance(about, list) or not 0 < len(about) <= MAX_ORGANISATIONS:
        raise bad_trust_list("it does not say whom it is about", "fetch it again from the registry")
    facts = read_facts(statement, extract.facts)
    if any(fact.subject not in about for fact in facts):
        raise bad_trust_list("a fact is about somebody else", "ask the operator")
    return statement, facts
