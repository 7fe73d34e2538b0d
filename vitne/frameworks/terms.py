"""The closed vocabularies of decisions: reasons, standings, aspects and bounds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Reason(StrEnum):
    """Why something may not be issued. Stable: clients branch on it (AIP-193).

    ``*_NOT_ALLOWED`` is what the national rule forbids whatever the accreditation
    says; ``*_NOT_COVERED`` is what the accreditation at hand leaves out.
    """

    NO_PROVIDER = "NO_PROVIDER"
    PROVIDER_NOT_YET_ENTERED = "PROVIDER_NOT_YET_ENTERED"
    PROVIDER_CLOSED = "PROVIDER_CLOSED"
    NO_ACHIEVEMENT = "NO_ACHIEVEMENT"
    ACHIEVEMENT_NOT_YET_PUBLISHED = "ACHIEVEMENT_NOT_YET_PUBLISHED"
    FOREIGN_ACHIEVEMENT = "FOREIGN_ACHIEVEMENT"
    NO_FRAMEWORK = "NO_FRAMEWORK"
    NO_ACCREDITATION = "NO_ACCREDITATION"
    ACCREDITATION_SUSPENDED = "ACCREDITATION_SUSPENDED"
    ACCREDITATION_WITHDRAWN = "ACCREDITATION_WITHDRAWN"
    ACCREDITATION_NOT_YET_VALID = "ACCREDITATION_NOT_YET_VALID"
    ACCREDITATION_EXPIRED = "ACCREDITATION_EXPIRED"
    KIND_NOT_ALLOWED = "KIND_NOT_ALLOWED"
    KIND_NOT_COVERED = "KIND_NOT_COVERED"
    STANDING_NOT_APPLIED = "STANDING_NOT_APPLIED"
    RULE_NOT_IN_FORCE = "RULE_NOT_IN_FORCE"
    LEVEL_NOT_ALLOWED = "LEVEL_NOT_ALLOWED"
    LEVEL_NOT_COVERED = "LEVEL_NOT_COVERED"
    LEVEL_REQUIRED = "LEVEL_REQUIRED"
    UNIT_NOT_ALLOWED = "UNIT_NOT_ALLOWED"
    UNIT_NOT_COVERED = "UNIT_NOT_COVERED"
    CREDITS_REQUIRED = "CREDITS_REQUIRED"
    SIZE_BELOW_MINIMUM = "SIZE_BELOW_MINIMUM"
    SIZE_ABOVE_MAXIMUM = "SIZE_ABOVE_MAXIMUM"
    EDUCATION_NOT_COVERED = "EDUCATION_NOT_COVERED"
    FIELD_NOT_COVERED = "FIELD_NOT_COVERED"


class Standing(StrEnum):
    """What kind of rule a rule is. A deployment chooses which kinds it applies."""

    #: Law or practice today.
    IN_FORCE = "in_force"
    #: The authors' or an informant's reading.
    INTERPRETATION = "interpretation"
    #: Tried by a provider.
    PILOT = "pilot"
    #: A committee or a project asks for it.
    PROPOSED = "proposed"


#: What an installation applies unless it says otherwise: law, and readings of it. What a pilot tries or a committee
#: proposes is nobody's right yet, so that an operator has to choose it.
LAW: Final = (Standing.IN_FORCE, Standing.INTERPRETATION)


class Purpose(StrEnum):
    """What a recognition of prior learning is for."""

    #: To be let in: it counts for no part of anything.
    ADMISSION = "admission"
    #: A part need not be taken.
    EXEMPTION = "exemption"
    #: The whole, with its credential.
    QUALIFICATION = "qualification"


class Aspect(StrEnum):
    """A side of an offer that is looked at on its own; the name of its check."""

    KIND = "kind"
    LEVEL = "level"
    UNIT = "unit"
    SIZE = "size"
    EDUCATION = "education"
    FIELD = "field"


class Bound(StrEnum):
    """What an accreditation of a kind must name, since it covers nothing else."""

    EDUCATIONS = "educations"
    FIELDS = "fields"


class Duty(StrEnum):
    """What the holder of an accreditation of a kind must do while it holds it."""

    #: Report changes of what was approved to the authority.
    REPORT_CHANGES = "report_changes"


@dataclass(frozen=True, slots=True)
class Finding:
    """How one aspect of an offer came out: fine where ``reason`` is None."""

    aspect: Aspect
    reason: Reason | None
    #: One sentence.
    detail: str
