"""The model as plain JSON, between it and the formats that are not SD-JWT.

The members are those of :mod:`vitne.credentials.sd_jwt_vc`, without anything that is
withheld or random, so that one reader checks what comes out of every format.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from vitne.credentials import sd_jwt_vc
from vitne.credentials.model import Credential
from vitne.credentials.sd_jwt import Disclosable
from vitne.errors import InvalidArgument

#: Members that follow from others: the type is one, the instant and the digest are the decision's.
DERIVED: Final = ("vct", "iat")


def plain_claims(credential: Credential) -> dict[str, Any]:
    """All that a credential says, with nothing withheld and nothing that follows from the rest.

    Raises:
        InvalidArgument: ``LANGUAGE_REPEATED``.
    """
    claims = {
        name: value.value if isinstance(value, Disclosable) else value
        for name, value in sd_jwt_vc.to_claims(credential).items()
        if name not in DERIVED
    }
    claims["decision"] = claims["decision"]["record"]
    return claims


def from_plain_claims(claims: Mapping[str, Any]) -> Credential:
    """The inverse of :func:`plain_claims`.

    Raises:
        InvalidArgument: as :func:`vitne.credentials.sd_jwt_vc.from_claims`, with the claim as field.
    """
    record = claims.get("decision")
    if not isinstance(record, dict):
        raise InvalidArgument(
            "CLAIM_MISSING",
            "the decision that the issuance rests on is missing",
            field="decision",
            rule="RECORDS, Decision",
            remedy="ask the issuer for the credential, unchanged",
        )
    return sd_jwt_vc.from_record(claims, record)
