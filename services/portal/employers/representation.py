"""On whose behalf somebody logged in: the organisation in an ID token, as Ansattporten has it (RFC 9396). Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

from vitne.canonical import from_b64url
from vitne.errors import InvalidArgument, PermissionDenied
from vitne.identifiers import OrganisationId

#: Type of the entry in ``authorization_details``.
TYPE: Final = "ansattporten:altinn:service"
#: What is asked for at the authorization endpoint: exactly one organisation that the person may act for here.
REQUEST: Final = json.dumps(
    [{"type": TYPE, "resource": "urn:vitne:employer", "representation_is_required": True}], separators=(",", ":")
)
#: Characters of an organisation's name that are shown.
MAX_NAME: Final = 200


@dataclass(frozen=True, slots=True)
class Employer:
    """An organisation that somebody acts for.

    Attributes:
        id: the organisation.
        name: as the provider calls it.
    """

    id: OrganisationId
    name: str


def employer_of(id_token: str) -> Employer:
    """The organisation in an ID token.

    Args:
        id_token: whose signature, audience and nonce were verified.

    Raises:
        PermissionDenied: ``NO_ORGANISATION``: there is not exactly one.
    """
    try:
        claims = json.loads(from_b64url(id_token.split(".")[1], field="id_token"))
        (entry,) = [one for one in claims["authorization_details"] if one["type"] == TYPE]
        (party,) = entry["reportees"]
        id_ = OrganisationId.parse(_text(party["ID"]), field="authorization_details")
        return Employer(id_, _text(party.get("Name") or str(id_))[:MAX_NAME])
    except (IndexError, KeyError, TypeError, ValueError, AttributeError, InvalidArgument):
        raise PermissionDenied(
            "NO_ORGANISATION",
            "the log-in does not say for which organisation",
            rule=f"one entry of type {TYPE} with one reportee",
            remedy="log in as somebody who may act for the organisation",
        ) from None


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value
