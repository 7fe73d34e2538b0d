"""The mandatory elements of a micro-credential (Council Recommendation of 16 June 2022, 2022/C 243/02, Annex I).

One list for publishing, where a missing element refuses the achievement, for
issuing, where it refuses the credential, and for verifying, where it is told.
*Level* is mandatory only where it applies.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

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


def _workload(achievement: credential_pb2.Achievement) -> bool:
    workload = achievement.workload
    return bool((workload.points and workload.unit) or workload.hours)


#: What the achievement is to say, where it stands, and whether it does.
_OF_ACHIEVEMENT: Final[dict[str, tuple[str, Callable[[credential_pb2.Achievement], bool]]]] = {
    "title of the micro-credential": ("achievement.title", lambda a: any(text.text for text in a.title)),
    "learning outcomes": (
        "achievement.outcomes",
        lambda a: any(text.text for outcome in a.outcomes for text in outcome.text),
    ),
    "notional workload": ("achievement.workload", _workload),
    "level, if applicable": (
        "achievement.level",
        lambda a: not a.HasField("level") or bool(a.level.framework and a.level.level),
    ),
    "type of assessment": ("achievement.assessment", lambda a: bool(a.assessment)),
    "form of participation": ("achievement.participation", lambda a: bool(a.participation)),
    "type of quality assurance": (
        "achievement.quality_assurance",
        lambda a: any(text.text for text in a.quality_assurance.internal),
    ),
}


#: An element's name, where it stands, and whether a credential has it.
_Required: TypeAlias = tuple[str, str, Callable[[Credential], bool]]


def _of_achievement(name: str) -> _Required:
    where, has = _OF_ACHIEVEMENT[name]
    return name, where, lambda credential: has(credential.achievement)


#: All of them, in the order of the Annex.
_ELEMENTS: Final[tuple[_Required, ...]] = (
    (
        "identification of the learner",
        "given_name, family_name",
        lambda c: bool(c.learner.given_name and c.learner.family_name),
    ),
    _of_achievement("title of the micro-credential"),
    ("country of the issuer", "awarding_body.country", lambda c: bool(c.awarding_body.country)),
    ("awarding body", "awarding_body", lambda c: any(c.awarding_body.name.values())),
    ("date of issuing", "iat", lambda c: c.issued_at is not None),
    _of_achievement("learning outcomes"),
    _of_achievement("notional workload"),
    _of_achievement("level, if applicable"),
    _of_achievement("type of assessment"),
    _of_achievement("form of participation"),
    _of_achievement("type of quality assurance"),
)

_OWN: Final = tuple(element for element in _ELEMENTS if element[0] not in _OF_ACHIEVEMENT)
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
    _require(credential, _ELEMENTS)


def require_own_elements(credential: Credential) -> None:
    """Refuse a credential that lacks one which is not its achievement's.

    Raises:
        InvalidArgument: ``MANDATORY_ELEMENT_MISSING`` with the first that is missing.
    """
    _require(credential, _OWN)


def require_elements_of_achievement(achievement: credential_pb2.Achievement) -> None:
    """Refuse an achievement that lacks what every credential of it would lack.

    Raises:
        InvalidArgument: ``MANDATORY_ELEMENT_MISSING`` with the first that is missing.
    """
    for name, (where, has) in _OF_ACHIEVEMENT.items():
        if not has(achievement):
            raise _missing("achievement", name, where)


def _require(credential: Credential, elements: Sequence[_Required]) -> None:
    for name, where, has in elements:
        if not has(credential):
            raise _missing("credential", name, where)


def _missing(what: str, name: str, where: str) -> InvalidArgument:
    return InvalidArgument(
        "MANDATORY_ELEMENT_MISSING",
        f"the {what} lacks the {name}",
        field=where,
        rule="Council Recommendation 2022/C 243/02, Annex I, mandatory elements",
        remedy="state it in the achievement or the issuance",
    )
