"""The model as a European Digital Credential, not sealed yet.

``id`` of nodes that have no IRI of their own is ``urn:epass:<class>:<number>``, as in the
Commission's samples. The awarding body stands in full wherever it is named, since readers
of EDC that know no RDF follow no references.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from vitne.canonical import b64url, instant_text
from vitne.credentials.claims import plain_claims
from vitne.credentials.elements import require_mandatory_elements
from vitne.credentials.elm import vocabulary
from vitne.credentials.elm.durations import duration, hours
from vitne.credentials.elm.vocabulary import own
from vitne.credentials.model import Credential
from vitne.credentials.setting import ALONE, Accreditor, Setting
from vitne.identifiers import NORWEGIAN_NATIONAL_ID, OrganisationId

#: Random bytes of a credential, so that its digest can't be guessed (RECORDS: Artefact digest).
SALT_BYTES: Final = 16
#: Types of the credential.
TYPES: Final = ("VerifiableCredential", "EuropeanDigitalCredential")
#: The one member that ELM does not know, and its term's definition.
EXTENSION: Final = "vitne"
EXTENSION_CONTEXT: Final[dict[str, Any]] = {EXTENSION: {"@id": "https://vitne.example/elm/v1", "@type": "@json"}}
#: Contexts, in their order.
CONTEXTS: Final = (
    "https://www.w3.org/2018/credentials/v1",
    "http://data.europa.eu/snb/model/context/edc-ap",
    EXTENSION_CONTEXT,
)
#: The language of what has none: names, grades.
UNDETERMINED: Final = "und"
#: ``schemeName`` of identifiers.
ISO_6523: Final = "ISO 6523"
ACHIEVEMENT: Final = "Vitne achievement"
ACCREDITATION: Final = "Vitne accreditation"
OUTCOME_CATEGORY: Final = "Vitne outcome category"
#: The unit of ECTS in the national rules.
ECTS: Final = "ects"
#: Midnight, UTC: ELM has instants where the model has days.
MIDNIGHT: Final = "T00:00:00Z"

_PROFILE: Final = "http://data.europa.eu/snb/model/ap"
# EDC's shape wants an image of each credential; viewers draw their own. This is one white pixel.
_PIXEL: Final = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGP4DwABAQEAsTtyJwAAAABJRU5ErkJggg=="


def write(credential: Credential, setting: Setting = ALONE, *, salt: bytes) -> dict[str, Any]:
    """A European Digital Credential of the *generic* profile, or *accredited* where the setting names the accreditor.

    Args:
        credential: with all mandatory elements.
        setting: what the credential does not say of itself.
        salt: :data:`SALT_BYTES` fresh random bytes.

    Raises:
        InvalidArgument: ``MANDATORY_ELEMENT_MISSING``; ``LANGUAGE_REPEATED``; ``COUNTRY_UNKNOWN``.
        ValueError: on a salt of another length.
    """
    if len(salt) != SALT_BYTES:
        raise ValueError(f"a credential takes {SALT_BYTES} random bytes")
    require_mandatory_elements(credential)
    return _Writer(credential, setting).write(salt)


class _Writer:
    """Moves claims to where ELM has them; what is left at the end is the extension's."""

    def __init__(self, credential: Credential, setting: Setting) -> None:
        self._setting = setting
        self._credential = credential
        self._claims = plain_claims(credential)
        self._achievement: dict[str, Any] = self._claims["achievement"]
        self._title: dict[str, str] = self._achievement.pop("title")
        body = credential.awarding_body
        self._body = organisation(body.issuer_uri, body.id, body.name, body.country)

    def write(self, salt: bytes) -> dict[str, Any]:
        claims = self._claims
        accreditor = self._setting.accreditor
        for name in ("iss", "awarding_body"):
            del claims[name]
        status = claims.pop("status")["status_list"]
        issued = instant_text(self._credential.issued_at)
        document: dict[str, Any] = {
            "id": claims.pop("jti"),
            "type": list(TYPES),
            "credentialProfiles": (vocabulary.ACCREDITED if accreditor else vocabulary.GENERIC).json(),
            "displayParameter": self._display(),
            "credentialSchema": {
                "id": f"{_PROFILE}/{'edc-accredited' if accreditor else 'edc-generic-full'}",
                "type": "ShaclValidator2017",
            },
            "credentialStatus": {"id": f"{status['uri']}#{status['idx']}", "type": "CredentialStatus"},
            "credentialSubject": self._person(),
            "issuanceDate": issued,
            "issued": issued,
            "issuer": self._body,
            "validFrom": issued,
        }
        if self._credential.expires_on is not None:
            del claims["exp"]
            document["expirationDate"] = document["validUntil"] = f"{self._credential.expires_on}{MIDNIGHT}"
        if accreditor is not None:
            document["evidence"] = self._evidence(accreditor)
        document[EXTENSION] = {"salt": b64url(salt), "claims": claims}
        document["@context"] = list(CONTEXTS)
        return document

    def _display(self) -> dict[str, Any]:
        languages = {concept.id: concept.json() for concept in map(vocabulary.language, self._title)}
        available = list(languages.values())
        image = {
            **_node("MediaObject"),
            "content": _PIXEL,
            "contentEncoding": vocabulary.BASE64.json(),
            "contentType": vocabulary.PNG.json(),
        }
        return {
            **_node("DisplayParameter"),
            "individualDisplay": {
                **_node("IndividualDisplay"),
                "displayDetail": {**_node("DisplayDetail"), "image": image, "page": 1},
                "language": available[0],
            },
            "primaryLanguage": available[0],
            "language": available,
            "title": self._title,
        }

    def _person(self) -> dict[str, Any]:
        claims = self._claims
        given, family = claims.pop("given_name"), claims.pop("family_name")
        person: dict[str, Any] = {
            **_node("Person"),
            "givenName": {UNDETERMINED: given},
            "familyName": {UNDETERMINED: family},
            "fullName": {UNDETERMINED: f"{given} {family}"},
        }
        if "birthdate" in claims:
            person["dateOfBirth"] = f"{claims.pop('birthdate')}{MIDNIGHT}"
        identifier = claims.pop("learner_identifier", None)
        if identifier is not None and identifier["scheme"] == NORWEGIAN_NATIONAL_ID:
            person["nationalID"] = _legal_identifier(2, identifier["value"], "NO")
        elif identifier is not None:
            person["identifier"] = _identifier("person", identifier["value"], identifier["scheme"])
        person["hasClaim"] = self._claim()
        return person

    def _claim(self) -> dict[str, Any]:
        claims, achievement = self._claims, self._achievement
        awarded = {
            **_node("AwardingProcess"),
            "awardingBody": self._body,
            "awardingDate": f"{claims.pop('awarded_on')}{MIDNIGHT}",
        }
        claim: dict[str, Any] = {**_node("LearningAchievement"), "awardedBy": awarded, "title": self._title}
        assessment = {
            **_node("LearningAssessmentSpecification"),
            "dcType": vocabulary.ASSESSMENT[achievement.pop("assessment")].json(),
            "title": self._title,
        }
        if "grade" in claims:
            claim["provenBy"] = {
                **_node("LearningAssessment"),
                "awardedBy": awarded,
                "grade": {**_node("Note", 1), "noteLiteral": {UNDETERMINED: claims.pop("grade")}},
                "gradeStatus": vocabulary.PASSED.json(),
                "specifiedBy": assessment,
                "title": self._title,
            }
            if "supervision" in achievement:
                claim["provenBy"]["idVerification"] = own("supervision", achievement.pop("supervision")).json()
        specification = self._specification(assessment)
        if "creditPoint" in specification:
            claim["creditReceived"] = specification["creditPoint"]
        claim["specifiedBy"] = specification
        return claim

    def _specification(self, assessment: dict[str, Any]) -> dict[str, Any]:
        achievement = self._achievement
        outcomes = [_outcome(number, stated) for number, stated in enumerate(achievement.pop("outcomes"), 1)]
        specification: dict[str, Any] = {
            **_node("LearningAchievementSpecification"),
            "dcType": own("kind", self._claims.pop("kind")).json(),
            "identifier": _identifier(
                "achievement", achievement.pop("id"), ACHIEVEMENT, version=achievement.pop("version")
            ),
            "learningOutcome": outcomes,
            "mode": vocabulary.PARTICIPATION[achievement.pop("participation")].json(),
            "provenBy": assessment,
            "title": self._title,
        }
        self._workload(specification)
        if levels := self._levels():
            specification["educationLevel"] = levels
        if "field" in achievement:
            specification["thematicArea"] = vocabulary.field_of_education(achievement.pop("field")).json()
        if "prerequisites" in achievement:
            specification["entryRequirement"] = _note(2, achievement.pop("prerequisites"))
        quality = achievement["quality_assurance"]
        notes = [_note(3, quality.pop("internal")) | {"subject": vocabulary.QUALITY_ASSURANCE.json()}]
        if not quality:
            del achievement["quality_assurance"]
        if "further_information" in achievement:
            notes.append(_note(4, achievement.pop("further_information")))
        specification["additionalNote"] = notes
        return specification

    def _workload(self, specification: dict[str, Any]) -> None:
        workload = self._achievement["workload"]
        if "unit" in workload and "points" in workload:
            unit = workload.pop("unit")
            framework = vocabulary.ECTS if unit == ECTS else own("credit", unit)
            specification["creditPoint"] = {
                **_node("CreditPoint"),
                "framework": framework.json(),
                "point": workload.pop("points"),
            }
        if "hours" in workload:
            specification["volumeOfLearning"] = duration(workload["hours"])
            if hours(specification["volumeOfLearning"]) == workload["hours"]:
                del workload["hours"]  # else its way of writing the number would be lost
        if not workload:
            del self._achievement["workload"]

    def _levels(self) -> list[dict[str, Any]]:
        level = self._achievement.pop("level", None)
        levels = [vocabulary.eqf_level(self._setting.eqf_level)] if self._setting.eqf_level else []
        if level is not None:
            levels.append(own(f"level/{level['framework']}", level["level"]))
        return [concept.json() for concept in levels]

    def _evidence(self, accreditor: Accreditor) -> dict[str, Any]:
        decision = self._credential.decision
        agent = f"urn:epass:org:{accreditor.id}"
        return {
            **_node("Evidence"),
            "dcType": vocabulary.ACCREDITATION_EVIDENCE.json(),
            "accreditation": {
                "id": f"urn:uuid:{decision.accreditation_id}",
                "type": "Accreditation",
                "accreditingAgent": organisation(agent, accreditor.id, accreditor.name, accreditor.country),
                "dcType": vocabulary.PROGRAMME_LICENCE.json(),
                "identifier": _identifier(
                    "accreditation",
                    str(decision.accreditation_id),
                    ACCREDITATION,
                    version=decision.accreditation_revision,
                ),
                "title": {"en": f"Accreditation to award {self._credential.achievement.kind}"},
            },
        }


def organisation(iri: str, id_: OrganisationId, name: Mapping[str, str], country: str) -> dict[str, Any]:
    """An ``Organisation``: with the legal identifier that an issuer must have, and its own of ISO 6523."""
    where = vocabulary.country(country).json()
    return {
        "id": iri,
        "type": "Organisation",
        "eIDASIdentifier": {
            "id": f"urn:epass:legalIdentifier:{id_}",
            "type": "LegalIdentifier",
            "notation": f"NTR{id_.country}-{str(id_).partition(':')[2]}",
            "spatial": vocabulary.country(id_.country).json(),
        },
        "identifier": {
            "id": f"urn:epass:identifier:{id_}",
            "type": "Identifier",
            "notation": str(id_),
            "schemeName": ISO_6523,
        },
        "legalName": dict(name),
        "location": {
            "id": f"urn:epass:location:{id_}",
            "type": "Location",
            "address": {"id": f"urn:epass:address:{id_}", "type": "Address", "countryCode": where},
        },
    }


def _node(class_: str, number: int = 1) -> dict[str, Any]:
    return {"id": f"urn:epass:{class_[0].lower()}{class_[1:]}:{number}", "type": class_}


def _note(number: int, texts: dict[str, str]) -> dict[str, Any]:
    return {**_node("Note", number), "noteLiteral": texts}


def _identifier(what: str, notation: str, scheme: str, *, version: int | None = None) -> dict[str, Any]:
    identifier = {
        "id": f"urn:epass:identifier:{what}",
        "type": "Identifier",
        "notation": notation,
        "schemeName": scheme,
    }
    return identifier if version is None else identifier | {"schemeVersion": str(version)}


def _legal_identifier(number: int, notation: str, country: str) -> dict[str, Any]:
    spatial = vocabulary.country(country).json()
    return {**_node("LegalIdentifier", number), "notation": notation, "spatial": spatial}


def _outcome(number: int, stated: dict[str, Any]) -> dict[str, Any]:
    outcome: dict[str, Any] = {**_node("LearningOutcome", number), "title": stated["text"]}
    category = stated["category"]
    if category in vocabulary.OUTCOME:
        outcome["dcType"] = vocabulary.OUTCOME[category].json()
    else:
        outcome["identifier"] = _identifier(f"outcome:{number}", category, OUTCOME_CATEGORY)
    if concepts := stated.get("concepts"):
        outcome["relatedSkill"] = [vocabulary.skill(iri).json() for iri in concepts]
        if esco := [vocabulary.skill(iri).json() for iri in concepts if vocabulary.is_esco_skill(iri)]:
            outcome["relatedESCOSkill"] = esco
    return outcome
