"""What a credential says, element by element, and how a format tells where each stands.

The elements are those of Annex I of Council Recommendation 2022/C 243/02, mandatory and
optional, and then what else the model has.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from vitne.credentials import elements
from vitne.credentials.model import Credential


class Kind(StrEnum):
    """Where an element comes from."""

    MANDATORY = "mandatory"
    OPTIONAL = "optional"
    #: Not in the Annex.
    OURS = "ours"


class Standing(StrEnum):
    """How a format carries an element."""

    #: In a place that the format has for it, which its other readers know.
    NATIVE = "native"
    #: In the extension that docs/formats.md describes: it comes back to us, and others do not see it.
    EXTENSION = "extension"
    #: Not at all.
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Element:
    """Something that a credential may say."""

    name: str
    kind: Kind
    #: Whether a credential says it.
    stated: Callable[[Credential], bool] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Place:
    """Where an element stands in a format."""

    #: JSON: member names with dots between, through arrays; XML: XPath, ``e`` for ELMO and ``v`` for our extension.
    path: str
    standing: Standing = Standing.NATIVE
    #: Credentials for which it is so; for others it stands in ``otherwise``.
    when: Callable[[Credential], bool] = field(default=lambda _: True, repr=False)
    #: Path in the extension, where ``when`` does not hold.
    otherwise: str = ""

    def standing_for(self, credential: Credential) -> Standing:
        """How this credential's element is carried."""
        return self.standing if self.when(credential) else Standing.EXTENSION

    def path_for(self, credential: Credential) -> str:
        """Where this credential's element stands."""
        return self.path if self.when(credential) else self.otherwise


def _mandatory(name: str) -> Element:
    return Element(name, Kind.MANDATORY, lambda credential: _present(credential, name))


def _present(credential: Credential, name: str) -> bool:
    return any(element.present for element in elements.mandatory_elements(credential) if element.name == name)


LEARNER: Final = elements.LEARNER
TITLE: Final = "title of the micro-credential"
COUNTRY: Final = "country of the issuer"
AWARDING_BODY: Final = "awarding body"
ISSUED: Final = "date of issuing"
OUTCOMES: Final = "learning outcomes"
WORKLOAD: Final = "notional workload"
LEVEL: Final = "level, if applicable"
ASSESSMENT: Final = "type of assessment"
PARTICIPATION: Final = "form of participation"
QUALITY: Final = "type of quality assurance"
PREREQUISITES: Final = "prerequisites for enrolment"
SUPERVISION: Final = "supervision and identity verification"
GRADE: Final = "grade achieved"
STACKABILITY: Final = "integration and stackability"
FURTHER: Final = "further information"
LEARNER_ID: Final = "identifier of the learner"
BIRTH_DATE: Final = "date of birth"
HOURS: Final = "workload in hours"
CONCEPTS: Final = "skills that an outcome cites"
QUALITY_BODY: Final = "external quality assurance body"
FIELD: Final = "field of education"
CREATOR: Final = "creator"
DELIVERER: Final = "deliverer"
PART_OF: Final = "whole that it is a part of"
KIND: Final = "kind of credential"
AWARDED: Final = "day of the achievement"
EXPIRES: Final = "day of expiry"
STATUS: Final = "place of the status"
DECISION: Final = "decision, with accreditation and rule"
RETENTION: Final = "retention class"
HOLDER: Final = "key of the learner's wallet"
RECOGNITION: Final = "act of recognition"
ACCREDITATION: Final = "accreditation that is cited"

#: All elements, in the order of the Annex.
ELEMENTS: Final = (
    *map(_mandatory, (LEARNER, TITLE, COUNTRY, AWARDING_BODY, ISSUED, OUTCOMES, WORKLOAD)),
    Element(LEVEL, Kind.MANDATORY, lambda c: c.achievement.HasField("level")),
    *map(_mandatory, (ASSESSMENT, PARTICIPATION, QUALITY)),
    Element(PREREQUISITES, Kind.OPTIONAL, lambda c: bool(c.achievement.prerequisites)),
    Element(SUPERVISION, Kind.OPTIONAL, lambda c: bool(c.achievement.supervision)),
    Element(GRADE, Kind.OPTIONAL, lambda c: c.grade is not None),
    Element(STACKABILITY, Kind.OPTIONAL, lambda c: bool(c.achievement.stackability)),
    Element(FURTHER, Kind.OPTIONAL, lambda c: bool(c.achievement.further_information)),
    Element(LEARNER_ID, Kind.OURS, lambda c: c.learner.id is not None),
    Element(BIRTH_DATE, Kind.OURS, lambda c: c.learner.birth_date is not None),
    Element(HOURS, Kind.OURS, lambda c: bool(c.achievement.workload.hours)),
    Element(CONCEPTS, Kind.OURS, lambda c: any(outcome.concepts for outcome in c.achievement.outcomes)),
    Element(QUALITY_BODY, Kind.OURS, lambda c: bool(c.achievement.quality_assurance.external_body)),
    Element(FIELD, Kind.OURS, lambda c: bool(c.achievement.field)),
    Element(CREATOR, Kind.OURS, lambda c: bool(c.achievement.creator)),
    Element(DELIVERER, Kind.OURS, lambda c: bool(c.achievement.deliverer)),
    Element(PART_OF, Kind.OURS, lambda c: bool(c.achievement.part_of)),
    Element(KIND, Kind.OURS, lambda c: bool(c.achievement.kind)),
    Element(AWARDED, Kind.OURS, lambda _: True),
    Element(EXPIRES, Kind.OURS, lambda c: c.expires_on is not None),
    Element(STATUS, Kind.OURS, lambda _: True),
    Element(DECISION, Kind.OURS, lambda _: True),
    Element(RETENTION, Kind.OURS, lambda _: True),
    Element(HOLDER, Kind.OURS, lambda c: c.holder is not None),
    Element(RECOGNITION, Kind.OURS, lambda c: c.recognition is not None),
    Element(ACCREDITATION, Kind.OURS, lambda c: bool(c.accreditation_digest)),
)
