"""Where each element stands in ELMO 1.7."""

from __future__ import annotations

from typing import Final

from vitne.credentials import places
from vitne.credentials.elmo.names import ECTS, NOTIONAL_HOURS, NQF
from vitne.credentials.places import Place, Standing

_SPECIFICATION: Final = "//e:learningOpportunitySpecification"
_INSTANCE: Final = "//e:learningOpportunityInstance"
_EXTENSION: Final = f"{_INSTANCE}/e:extension"


def _extension(name: str) -> Place:
    return Place(f"{_EXTENSION}/v:{name}", Standing.EXTENSION)


#: The rest, as JSON.
_CLAIMS: Final = _extension("claims")

PLACES: Final = {
    places.LEARNER: Place("/e:elmo/e:learner"),
    places.TITLE: Place(f"{_SPECIFICATION}/e:title"),
    places.COUNTRY: Place("//e:issuer/e:country"),
    places.AWARDING_BODY: Place("//e:issuer"),
    places.ISSUED: Place("//e:report/e:issueDate"),
    # Native as plain text; by category, with what they cite, in the extension.
    places.OUTCOMES: Place(f"{_SPECIFICATION}/e:description"),
    places.WORKLOAD: Place(f"{_INSTANCE}/e:credit"),
    places.LEVEL: Place(f"{_INSTANCE}/e:level[e:type='{NQF}']"),
    places.ASSESSMENT: _extension("assessment"),
    places.PARTICIPATION: _extension("participation"),
    places.QUALITY: _extension("qualityAssurance"),
    places.PREREQUISITES: _extension("prerequisites"),
    places.SUPERVISION: _extension("supervision"),
    places.GRADE: Place(f"{_INSTANCE}/e:resultLabel"),
    places.STACKABILITY: _extension("stackability"),
    places.FURTHER: _extension("furtherInformation"),
    places.LEARNER_ID: Place("/e:elmo/e:learner/e:identifier"),
    places.BIRTH_DATE: Place("/e:elmo/e:learner/e:bday"),
    places.HOURS: Place(f"{_INSTANCE}/e:credit[e:scheme='{NOTIONAL_HOURS}']"),
    places.CONCEPTS: _extension("learningOutcome/@concepts"),
    places.QUALITY_BODY: _extension("qualityAssurance/@externalBody"),
    places.FIELD: Place(f"{_SPECIFICATION}/e:iscedCode"),
    places.CREATOR: _CLAIMS,
    places.DELIVERER: _CLAIMS,
    places.PART_OF: _CLAIMS,
    places.KIND: _CLAIMS,
    places.AWARDED: Place(f"{_INSTANCE}/e:date"),
    places.EXPIRES: _CLAIMS,
    places.STATUS: _CLAIMS,
    places.DECISION: _CLAIMS,
    places.RETENTION: _CLAIMS,
    places.HOLDER: _CLAIMS,
    places.RECOGNITION: _CLAIMS,
    places.ACCREDITATION: _CLAIMS,
}

#: Where a whole's ECTS stand while its parts have theirs.
WITHHELD_CREDIT: Final = f"{_EXTENSION}/v:credit[@scheme='{ECTS}']"
