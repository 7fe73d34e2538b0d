"""Where each element stands in a document of the W3C data model, and in an Open Badge."""

from __future__ import annotations

from typing import Final

from vitne.credentials import places
from vitne.credentials.places import Place, Standing

_SUBJECT: Final = "credentialSubject"
_OURS: Final = f"{_SUBJECT}.micro_credential"
_ACHIEVEMENT: Final = f"{_SUBJECT}.achievement"


def _extension(path: str) -> Place:
    return Place(path, Standing.EXTENSION)


#: The data model names who issued what to whom and when; what was learned is said in our terms.
PLACES: Final = {
    places.LEARNER: _extension(f"{_SUBJECT}.given_name"),
    places.TITLE: _extension(f"{_OURS}.title"),
    places.COUNTRY: _extension("issuer.country"),
    places.AWARDING_BODY: Place("issuer.name"),
    places.ISSUED: Place("validFrom"),
    places.OUTCOMES: _extension(f"{_OURS}.outcomes"),
    places.WORKLOAD: _extension(f"{_OURS}.workload"),
    places.LEVEL: _extension(f"{_OURS}.level"),
    places.ASSESSMENT: _extension(f"{_OURS}.assessment"),
    places.PARTICIPATION: _extension(f"{_OURS}.participation"),
    places.QUALITY: _extension(f"{_OURS}.quality_assurance"),
    places.PREREQUISITES: _extension(f"{_OURS}.prerequisites"),
    places.SUPERVISION: _extension(f"{_OURS}.supervision"),
    places.GRADE: _extension(f"{_SUBJECT}.grade"),
    places.STACKABILITY: _extension(f"{_OURS}.stackability"),
    places.FURTHER: _extension(f"{_OURS}.further_information"),
    places.LEARNER_ID: _extension(f"{_SUBJECT}.learner_identifier"),
    places.BIRTH_DATE: _extension(f"{_SUBJECT}.birthdate"),
    places.HOURS: _extension(f"{_OURS}.workload.hours"),
    places.CONCEPTS: _extension(f"{_OURS}.outcomes.concepts"),
    places.QUALITY_BODY: _extension(f"{_OURS}.quality_assurance.external_body"),
    places.FIELD: _extension(f"{_OURS}.field"),
    places.CREATOR: _extension(f"{_OURS}.creator"),
    places.DELIVERER: _extension(f"{_OURS}.deliverer"),
    places.PART_OF: _extension(f"{_OURS}.part_of"),
    places.KIND: _extension("kind"),
    places.AWARDED: _extension("awarded_on"),
    places.EXPIRES: Place("validUntil"),
    places.STATUS: Place("credentialStatus"),
    places.DECISION: _extension("decision"),
    places.RETENTION: _extension("retention"),
    places.HOLDER: Place(f"{_SUBJECT}.id"),
    places.RECOGNITION: _extension("recognition"),
    places.ACCREDITATION: _extension("accreditation"),
}

#: A badge says more in terms that its readers know.
BADGE_PLACES: Final = PLACES | {
    places.LEARNER: Place(f"{_SUBJECT}.identifier.identityHash"),
    places.TITLE: Place(f"{_ACHIEVEMENT}.name"),
    places.OUTCOMES: Place(f"{_ACHIEVEMENT}.criteria.narrative"),
    places.LEVEL: Place(f"{_ACHIEVEMENT}.alignment"),
    places.GRADE: Place(f"{_SUBJECT}.result.value"),
    places.CONCEPTS: Place(f"{_ACHIEVEMENT}.alignment.targetUrl"),
    places.FIELD: Place(f"{_ACHIEVEMENT}.fieldOfStudy"),
    places.AWARDED: Place("awardedDate"),
}
