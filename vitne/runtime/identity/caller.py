"""Who is calling: what a verified access token says, carried through one request."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Final

from vitne.errors import Unauthenticated
from vitne.identifiers import OrganisationId


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated organisation, acting by one of its clients.

    Attributes:
        organisation: on whose behalf the call is made, and what it is authorised on.
        scopes: what the token allows.
        client_id: the client that asked for the token.
        supplier: who calls, where the organisation has delegated the scope to a
            supplier or uses a vendor's system; None when it calls itself.
        subject: the issuer's opaque name for the person who acts, where there is one; personal data, never told to
            anyone.
    """

    organisation: OrganisationId
    scopes: frozenset[str]
    client_id: str
    supplier: OrganisationId | None = None
    subject: str = field(default="", repr=False)


#: Set by the access interceptor for the length of one call.
caller_context: Final[ContextVar[Caller]] = ContextVar("caller")


def current_caller() -> Caller:
    """The caller of the request being served.

    Raises:
        Unauthenticated: ``NO_CALLER`` outside a call, or in a public method called without a token.
    """
    try:
        return caller_context.get()
    except LookupError:
        raise Unauthenticated(
            "NO_CALLER",
            "the call carries no identity",
            remedy="send a Maskinporten access token as 'authorization: Bearer …'",
        ) from None
