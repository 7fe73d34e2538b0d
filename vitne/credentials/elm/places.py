"""Where each element stands in a European Digital Credential (ELM 3.2)."""

from __future__ import annotations

from typing import Final

from vitne.credentials import places
from vitne.credentials.elm.document import EXTENSION
from vitne.credentials.model import Credential
from vitne.credentials.places import Place, Standing

_SUBJECT: Final = "credentialSubject"
_CLAIM: Final = f"{_SUBJECT}.hasClaim"
_SPECIFICATION: Final = f"{_CLAIM}.specifiedBy"
_ACHIEVEMENT: Final = f"{EXTENSION}.claims.achievement"


def _extension(path: str) -> Place:
    return Place(path, Standing.EXTENSION)


def _graded(credential: Credential) -> bool:
    """ELM says how an assessment was supervised only of one that has a grade."""
    return credential.grade is not None


PLACES: Final = {
    places.LEARNER: Place(f"{_SUBJECT}.fullName"),
    places.TITLE: Place(f"{_CLAIM}.title"),
    places.COUNTRY: Place("issuer.location.address.countryCode"),
    places.AWARDING_BODY: Place("issuer.legalName"),
    places.ISSUED: Place("issuanceDate"),
    places.OUTCOMES: Place(f"{_SPECIFICATION}.learningOutcome"),
    places.WORKLOAD: Place(f"{_SPECIFICATION}.creditPoint"),
    places.LEVEL: Place(f"{_SPECIFICATION}.educationLevel"),
    places.ASSESSMENT: Place(f"{_SPECIFICATION}.provenBy.dcType"),
    places.PARTICIPATION: Place(f"{_SPECIFICATION}.mode"),
    places.QUALITY: Place(f"{_SPECIFICATION}.additionalNote"),
    places.PREREQUISITES: Place(f"{_SPECIFICATION}.entryRequirement"),
    places.SUPERVISION: Place(
        f"{_CLAIM}.provenBy.idVerification", when=_graded, otherwise=f"{_ACHIEVEMENT}.supervision"
    ),
    places.GRADE: Place(f"{_CLAIM}.provenBy.grade"),
    places.STACKABILITY: _extension(f"{_ACHIEVEMENT}.stackability"),
    places.FURTHER: Place(f"{_SPECIFICATION}.additionalNote"),
    places.LEARNER_ID: Place(f"{_SUBJECT}.nationalID"),
    places.BIRTH_DATE: Place(f"{_SUBJECT}.dateOfBirth"),
    places.HOURS: Place(f"{_SPECIFICATION}.volumeOfLearning"),
    places.CONCEPTS: Place(f"{_SPECIFICATION}.learningOutcome.relatedSkill"),
    places.QUALITY_BODY: _extension(f"{_ACHIEVEMENT}.quality_assurance.external_body"),
    places.FIELD: Place(f"{_SPECIFICATION}.thematicArea"),
    places.CREATOR: _extension(f"{_ACHIEVEMENT}.creator"),
    places.DELIVERER: _extension(f"{_ACHIEVEMENT}.deliverer"),
    places.PART_OF: _extension(f"{_ACHIEVEMENT}.part_of"),
    places.KIND: Place(f"{_SPECIFICATION}.dcType"),
    places.AWARDED: Place(f"{_CLAIM}.awardedBy.awardingDate"),
    places.EXPIRES: Place("expirationDate"),
    places.STATUS: Place("credentialStatus"),
    places.DECISION: _extension(f"{EXTENSION}.claims.decision"),
    places.RETENTION: _extension(f"{EXTENSION}.claims.retention"),
    places.HOLDER: _extension(f"{EXTENSION}.claims.cnf"),
    places.RECOGNITION: _extension(f"{EXTENSION}.claims.recognition"),
    places.ACCREDITATION: _extension(f"{EXTENSION}.claims.accreditation"),
}
