"""A European Digital Credential that we wrote back to the model. Nothing is verified here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from vitne.canonical import instant_text, parse_instant
from vitne.credentials.claims import from_plain_claims
from vitne.credentials.elm import vocabulary
from vitne.credentials.elm.document import (
    CONTEXTS,
    ECTS,
    EXTENSION,
    MIDNIGHT,
    OUTCOME_CATEGORY,
    TYPES,
    UNDETERMINED,
)
from vitne.credentials.elm.durations import hours
from vitne.credentials.members import Members, refused
from vitne.credentials.model import Credential
from vitne.errors import InvalidArgument
from vitne.identifiers import NORWEGIAN_NATIONAL_ID

#: What says what a credential is to hold.
RULE: Final = "European Learning Model 3.2 with the extension of docs/formats.md"
_SECONDS_A_DAY: Final = 86_400
_ASSESSMENT: Final = {concept.id: term for term, concept in vocabulary.ASSESSMENT.items()}
_PARTICIPATION: Final = {concept.id: term for term, concept in vocabulary.PARTICIPATION.items()}
_OUTCOME: Final = {concept.id: term for term, concept in vocabulary.OUTCOME.items()}


def read(document: Mapping[str, Any]) -> Credential:
    """The inverse of :func:`vitne.credentials.elm.document.write`; the setting is not read back.

    Raises:
        InvalidArgument: ``UNKNOWN_TYPE`` for other types or contexts; ``CLAIM_MISSING``, ``CLAIM_MALFORMED``,
            ``CLAIMS_CONTRADICT``, ``UNKNOWN_TERM`` and what else :func:`vitne.credentials.sd_jwt_vc.from_claims`
            refuses, with the member as field.
    """
    root = Members(document, rule=RULE)
    if document.get("type") != list(TYPES) or document.get("@context") != list(CONTEXTS):
        raise refused(
            "UNKNOWN_TYPE", "type", "the credential is of another type, or its terms are defined otherwise", rule=RULE
        )
    claims = dict(root.object(EXTENSION).members("claims"))
    rest = _part(root, claims, "achievement")
    subject = root.object("credentialSubject")
    claim = subject.object("hasClaim")
    specification = claim.object("specifiedBy")
    said = {
        "jti": root.text("id"),
        "iss": root.object("issuer").text("id"),
        "awarding_body": _awarding_body(root.object("issuer")),
        "status": {"status_list": _status(root.object("credentialStatus"))},
        "kind": _own(specification.object("dcType"), "kind"),
        "awarded_on": _day(claim.object("awardedBy"), "awardingDate"),
        **_learner(subject),
    }
    if "expirationDate" in root:
        expires = parse_instant(root.text("expirationDate"), field="expirationDate")
        said["exp"] = int(expires.timestamp())
    achievement = _achievement(specification, rest)
    if proof := claim.optional_object("provenBy"):
        said["grade"] = proof.object("grade").object("noteLiteral").text(UNDETERMINED)
        if verification := proof.optional_object("idVerification"):
            achievement["supervision"] = _own(verification, "supervision")
    _apart(root, said, claims)
    _apart(root, achievement, rest)
    credential = from_plain_claims({**claims, **said, "achievement": {**rest, **achievement}})
    _consistent(root, claim, credential)
    return credential


def _part(read: Members, extension: Mapping[str, Any], name: str) -> dict[str, Any]:
    """What the extension says of a part whose rest stands in ELM's own members."""
    part = extension.get(name, {})
    if not isinstance(part, dict):
        raise read.refused(EXTENSION, f"{name} is not an object")
    return dict(part)


def _apart(root: Members, said: dict[str, Any], extension: Mapping[str, Any]) -> None:
    if repeated := sorted(said.keys() & extension.keys() - {"achievement", "workload", "quality_assurance"}):
        raise root.refused(EXTENSION, f"the extension says again what {repeated[0]} is")


def _consistent(root: Members, claim: Members, credential: Credential) -> None:
    """What stands twice says the same: whichever a reader shows."""
    issued = instant_text(credential.issued_at)
    for name in ("issuanceDate", "issued", "validFrom"):
        if root.text(name) != issued:
            raise _contradiction(name)
    for name in ("expirationDate", "validUntil"):
        expires = None if credential.expires_on is None else f"{credential.expires_on}{MIDNIGHT}"
        if root.optional_text(name) != expires:
            raise _contradiction(name)
    body = root.members("issuer")
    if claim.object("awardedBy").members("awardingBody") != body:
        raise _contradiction("credentialSubject.hasClaim.awardedBy.awardingBody")
    specification = claim.object("specifiedBy")
    title = specification.members("title")
    if claim.members("title") != title or root.object("displayParameter").members("title") != title:
        raise _contradiction("credentialSubject.hasClaim.title")
    credits_ = "creditReceived" in claim, "creditPoint" in specification
    if any(credits_) and claim.members("creditReceived") != specification.members("creditPoint"):
        raise _contradiction("credentialSubject.hasClaim.creditReceived")
    learner = credential.learner
    full = root.object("credentialSubject").object("fullName").text(UNDETERMINED)
    if full != f"{learner.given_name} {learner.family_name}":
        raise _contradiction("credentialSubject.fullName")


def _contradiction(where: str) -> InvalidArgument:
    return refused("CLAIMS_CONTRADICT", where, "it is not what the credential says elsewhere", rule=RULE)


def _awarding_body(issuer: Members) -> dict[str, Any]:
    country = issuer.object("location").object("address").object("countryCode").text("id")
    return {
        "id": issuer.object("identifier").text("notation"),
        "name": issuer.texts("legalName"),
        "country": vocabulary.country_code(country),
    }


def _status(status: Members) -> dict[str, Any]:
    uri, _, index = status.text("id").rpartition("#")
    if not uri or not index.isascii() or not index.isdigit() or len(index) > len(str(2**32)):
        raise status.refused("id", "the claim is not a status list's URI with an index behind #")
    return {"uri": uri, "idx": int(index)}


def _learner(person: Members) -> dict[str, Any]:
    claims: dict[str, Any] = {
        "given_name": person.object("givenName").text(UNDETERMINED),
        "family_name": person.object("familyName").text(UNDETERMINED),
    }
    if "dateOfBirth" in person:
        claims["birthdate"] = _day(person, "dateOfBirth")
    if national := person.optional_object("nationalID"):
        claims["learner_identifier"] = {"scheme": NORWEGIAN_NATIONAL_ID, "value": national.text("notation")}
    elif identifier := person.optional_object("identifier"):
        claims["learner_identifier"] = {"scheme": identifier.text("schemeName"), "value": identifier.text("notation")}
    return claims


def _achievement(specification: Members, rest: Mapping[str, Any]) -> dict[str, Any]:
    identifier = specification.object("identifier")
    version = identifier.text("schemeVersion")
    if not version.isascii() or not version.isdigit() or len(version) > len(str(2**32)):
        raise identifier.refused("schemeVersion", "the claim is not a whole number")
    achievement: dict[str, Any] = {
        "id": identifier.text("notation"),
        "version": int(version),
        "title": specification.texts("title"),
        "outcomes": [_outcome(outcome) for outcome in specification.objects("learningOutcome")],
        "assessment": _term(specification.object("provenBy").object("dcType"), _ASSESSMENT),
        "participation": _term(specification.object("mode"), _PARTICIPATION),
        "workload": _workload(specification, _part(specification, rest, "workload")),
        "quality_assurance": _part(specification, rest, "quality_assurance"),
    }
    for note in specification.objects("additionalNote"):
        if "subject" in note and note.object("subject").text("id") == vocabulary.QUALITY_ASSURANCE.id:
            achievement["quality_assurance"]["internal"] = note.texts("noteLiteral")
        else:
            achievement["further_information"] = note.texts("noteLiteral")
    if requirement := specification.optional_object("entryRequirement"):
        achievement["prerequisites"] = requirement.texts("noteLiteral")
    if area := specification.optional_object("thematicArea"):
        achievement["field"] = area.text("id").rpartition("/")[2]
    for level in specification.objects("educationLevel") if "educationLevel" in specification else ():
        if level.text("id").startswith(f"{vocabulary.OWN}/level/"):
            framework, _, value = level.text("id").removeprefix(f"{vocabulary.OWN}/level/").rpartition("/")
            achievement["level"] = {"framework": framework, "level": value}
    return achievement


def _workload(specification: Members, rest: Mapping[str, Any]) -> dict[str, Any]:
    workload = dict(rest)
    if credit := specification.optional_object("creditPoint"):
        framework = credit.object("framework")
        workload["unit"] = ECTS if framework.text("id") == vocabulary.ECTS.id else _own(framework, "credit")
        workload["points"] = credit.text("point")
    if "volumeOfLearning" in specification and "hours" not in rest:
        stated = hours(specification.text("volumeOfLearning"))
        if stated is None:
            raise specification.refused("volumeOfLearning", "the claim is not a duration of hours, minutes and seconds")
        workload["hours"] = stated
    return workload


def _outcome(outcome: Members) -> dict[str, Any]:
    if "dcType" in outcome:
        category = _term(outcome.object("dcType"), _OUTCOME)
    else:
        identifier = outcome.object("identifier")
        if identifier.text("schemeName") != OUTCOME_CATEGORY:
            raise identifier.refused("schemeName", "the claim is not the category of an outcome")
        category = identifier.text("notation")
    stated: dict[str, Any] = {"category": category, "text": outcome.texts("title")}
    if "relatedSkill" in outcome:
        stated["concepts"] = [concept.text("id") for concept in outcome.objects("relatedSkill")]
        esco = [iri for iri in stated["concepts"] if vocabulary.is_esco_skill(iri)]
        named = outcome.objects("relatedESCOSkill") if "relatedESCOSkill" in outcome else []
        if esco != [concept.text("id") for concept in named]:
            raise _contradiction(outcome.where("relatedESCOSkill"))
    return stated


def _term(concept: Members, terms: Mapping[str, str]) -> str:
    if concept.text("id") not in terms:
        raise concept.refused("id", "the concept is not one that is known here")
    return terms[concept.text("id")]


def _own(concept: Members, of: str) -> str:
    prefix = f"{vocabulary.OWN}/{of}/"
    iri = concept.text("id")
    if not iri.startswith(prefix) or iri == prefix:
        raise concept.refused("id", f"the concept is not one of {prefix}")
    return iri.removeprefix(prefix)


def _day(parent: Members, name: str) -> str:
    text = parent.text(name)
    if not text.endswith(MIDNIGHT):
        raise parent.refused(name, "the claim is not midnight, UTC")
    return text.removesuffix(MIDNIGHT)
