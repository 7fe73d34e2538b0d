"""What of a credential is shown: the disclosures that the learner chose, and none of the others. Pure."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from vitne.credentials import sd_jwt_vc
from vitne.errors import InvalidArgument

#: What a form proposes to show: who it is and how well she did; neither her number nor the day she was born.
PROPOSED: Final = frozenset({"given_name", "family_name", "grade"})


def claims_of(artefact: str) -> tuple[str, ...]:
    """The claims of a credential that may be withheld and are there, in the order in which they are told.

    Raises:
        InvalidArgument: it is no credential that this release reads.
    """
    return withholdable(sd_jwt_vc.parse(artefact))


def withholdable(presentation: sd_jwt_vc.Presentation) -> tuple[str, ...]:
    """The same of a credential that was read already."""
    shown = presentation.sd_jwt.unverified_claims
    return tuple(name for name in sd_jwt_vc.DISCLOSABLE if name in shown)


def present(artefact: str, claims: Collection[str]) -> str:
    """The credential with these of its claims disclosed; the other disclosures are not in it.

    Raises:
        InvalidArgument: ``CLAIM_UNKNOWN``: one that the credential does not have, or that is always shown; or it is no
            credential that this release reads.
    """
    if unknown := sorted(set(claims) - set(claims_of(artefact))):
        raise InvalidArgument(
            "CLAIM_UNKNOWN",
            "the credential has no such claim to choose",
            field="claims",
            rule="a claim of the credential that may be withheld",
            remedy="choose among those that the form shows",
            metadata={"claim": unknown[0][:64]},
        )
    return sd_jwt_vc.parse(artefact).sd_jwt.present(lambda path: path[0] in claims)
