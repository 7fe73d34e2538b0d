"""The formats side by side: where each element of a credential goes, and what a format has no place for.

A format enters the table with a mapping from every element's name to its
:class:`~vitne.credentials.places.Place`, in a module of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from vitne.credentials import places
from vitne.credentials.elm.places import PLACES as ELM_PLACES
from vitne.credentials.elmo.places import PLACES as ELMO_PLACES
from vitne.credentials.model import Credential
from vitne.credentials.places import ELEMENTS, Element, Place, Standing
from vitne.credentials.w3c.places import BADGE_PLACES
from vitne.credentials.w3c.places import PLACES as W3C_PLACES


class Format(StrEnum):
    """A format, by the name that it has in the table."""

    SD_JWT_VC = "SD-JWT VC"
    VCDM = "W3C VCDM 2.0"
    OPEN_BADGES = "Open Badges 3.0"
    ELM = "ELM 3.2 (EDC)"
    ELMO = "ELMO 1.7"


_SD_JWT_VC: Final = {
    places.LEARNER: Place("given_name"),
    places.TITLE: Place("achievement.title"),
    places.COUNTRY: Place("awarding_body.country"),
    places.AWARDING_BODY: Place("awarding_body"),
    places.ISSUED: Place("iat"),
    places.OUTCOMES: Place("achievement.outcomes"),
    places.WORKLOAD: Place("achievement.workload"),
    places.LEVEL: Place("achievement.level"),
    places.ASSESSMENT: Place("achievement.assessment"),
    places.PARTICIPATION: Place("achievement.participation"),
    places.QUALITY: Place("achievement.quality_assurance"),
    places.PREREQUISITES: Place("achievement.prerequisites"),
    places.SUPERVISION: Place("achievement.supervision"),
    places.GRADE: Place("grade"),
    places.STACKABILITY: Place("achievement.stackability"),
    places.FURTHER: Place("achievement.further_information"),
    places.LEARNER_ID: Place("learner_identifier"),
    places.BIRTH_DATE: Place("birthdate"),
    places.HOURS: Place("achievement.workload.hours"),
    places.CONCEPTS: Place("achievement.outcomes.concepts"),
    places.QUALITY_BODY: Place("achievement.quality_assurance.external_body"),
    places.FIELD: Place("achievement.field"),
    places.CREATOR: Place("achievement.creator"),
    places.DELIVERER: Place("achievement.deliverer"),
    places.PART_OF: Place("achievement.part_of"),
    places.KIND: Place("kind"),
    places.AWARDED: Place("awarded_on"),
    places.EXPIRES: Place("exp"),
    places.STATUS: Place("status.status_list"),
    places.DECISION: Place("decision"),
    places.RETENTION: Place("retention"),
    places.HOLDER: Place("cnf"),
    places.RECOGNITION: Place("recognition"),
    places.ACCREDITATION: Place("accreditation"),
}

#: Where each element stands, format by format.
PLACES: Final[Mapping[Format, Mapping[str, Place]]] = {
    Format.SD_JWT_VC: _SD_JWT_VC,
    Format.VCDM: W3C_PLACES,
    Format.OPEN_BADGES: BADGE_PLACES,
    Format.ELM: ELM_PLACES,
    Format.ELMO: ELMO_PLACES,
}


@dataclass(frozen=True, slots=True)
class NotCarried:
    """Something that a credential says, and a format has no place of its own for."""

    element: Element
    #: Where it stands in the extension instead; empty: nowhere.
    path: str


def not_carried(format_: Format, credential: Credential) -> tuple[NotCarried, ...]:
    """What other readers of a format don't see of a credential, in the order of the Annex."""
    found = []
    for element in ELEMENTS:
        place = PLACES[format_][element.name]
        if element.stated(credential) and place.standing_for(credential) is not Standing.NATIVE:
            found.append(NotCarried(element, place.path_for(credential)))
    return tuple(found)
