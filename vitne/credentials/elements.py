"""The mandatory elements of a micro-credential (Council Recommendation of 16 June 2022, 2022/C 243/02, Annex I).

One list for issuing, where a missing element refuses the credential, and for
verifying, where it is told. *Level* is mandatory only where it applies.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from vitne.credentials.model import Credential
from vitne.errors import InvalidArgument
from vitne_api.credential.v1 import credential_pb2


@dataclass(frozen=True, slots=True)
class Element:
    """One element of Annex I, and whether a credential has it."""

    #: The element, in the Annex's words.
    name: str
    present: bool
    #: Where in the claims it stands, or would.
    where: str


def _texts(achievement: credential_pb2.Achievement) -> bool:
    return any(text.text for text in achievement.title)


def _workload(achievement: credential_pb2.Achievement) -> bool:
    workload = achievement.workload
    return bool((workload.points and workload.unit) or workload.hours)


_ELEMENTS: Final[tuple[tuple[str, str, Callable[[Credential], bool]], ...]] = (
    (
        "identification of the learner",
        "given_name, family_name",
        lambda c: bool(c.learner.given_name and c.learner.family_name),
    ),
    ("title of the micro-credential", "achievement.title", lambda c: _texts(c.achievement)),
    ("country of the issuer", "awarding_body.country", lambda c: bool(c.awarding_body.country)),
    ("awarding body", "awarding_body", lambda c: any(c.awarding_body.name.values())),
    ("date of issuing", "iat", lambda c: c.issued_at is not None),
    (
        "learning outcomes",
        "achievement.outcomes",
        lambda c: any(text.text for outcome in c.achievement.outcomes for text in outcome.text),
    ),
    ("notional workload", "achievement.workload", lambda c: _workload(c.achievement)),
    (
        "level, if applicable",
        "achievement.level",
        lambda c: (
            not c.achievement.HasField("level") or bool(c.achievement.level.framework and c.achievement.level.level)
        ),
    ),
    ("type of assessment", "achievement.assessment", lambda c: bool(c.achievement.assessment)),
    ("form of participation", "achievement.participation", lambda c: bool(c.achievement.participation)),
    (
        "type of quality assurance",
        "achievement.quality_assurance",
        lambda c: any(text.text for text in c.achievement.quality_assurance.internal),
    ),
)

#: The element that a holder may withhold; all others are in the signed part of every presentation.
LEARNER: Final = _ELEMENTS[0][0]


def mandatory_elements(credential: Credential) -> tuple[Element, ...]:
    """Every mandatory element in the order of the Annex, with whether the credential shows it."""
    return tuple(Element(name, has(credential), where) for name, where, has in _ELEMENTS)


def require_mandatory_elements(credential: Credential) -> None:
    """Refuse a credential that lacks one.

    Raises:
        InvalidArgument: ``MANDATORY_ELEMENT_MISSING`` with the first that is missing.
    """
    for name, where, has in _ELEMENTS:
        if not has(credential):
            raise InvalidArgument(
                "MANDATORY_ELEMENT_MISSING",
                f"the credential lacks the {name}",
                field=where,
                rule="Council Recommendation 2022/C 243/02, Annex I, mandatory elements",
                remedy="state it in the achievement or the issuance",
            )
