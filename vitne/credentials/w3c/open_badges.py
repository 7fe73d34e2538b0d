"""A credential of ours as an Open Badge 3.0 (1EdTech, AchievementCredential), and back.

It is the document of :mod:`vitne.credentials.w3c.documents` with what a badge needs beside it::

    name, awardedDate                of the credential
    credentialSubject.identifier     the learner's name, as an IdentityObject
    credentialSubject.result         the grade
    credentialSubject.achievement    name, description, criteria, version, fieldOfStudy, and as alignments
                                     the level, the field of education, and the concepts of each outcome

All of that follows from the rest and is held against it when a badge is read. The European elements that no alignment
can say (workload and its unit, assessment, participation, quality assurance, further languages) stand in
``micro_credential``, our extension.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from vitne.credentials.model import Credential
from vitne.credentials.w3c import documents, vcdm
from vitne.errors import InvalidArgument

#: 1EdTech's terms.
CONTEXT: Final = "https://purl.imsglobal.org/spec/ob/v3p0/context-3.0.3.json"
#: The type of every badge, and its older name.
TYPE: Final = "OpenBadgeCredential"
TYPES: Final = frozenset({TYPE, "AchievementCredential"})

#: Where ISCED-F fields have their addresses (Publications Office of the European Union).
_ISCED_F: Final = "http://data.europa.eu/snb/isced-f/"
#: Where levels have theirs: logical, as all addresses that are signed.
_LEVELS: Final = "https://vitne.example/levels/"
_UNNAMED: Final = "Concept"


def to_document(credential: Credential, *, salt: bytes) -> dict[str, Any]:
    """A credential as a badge, to be secured.

    Args:
        credential: with all mandatory elements.
        salt: :data:`~vitne.credentials.w3c.documents.ENTROPY_BYTES` fresh random bytes.

    Raises:
        InvalidArgument: as :func:`vitne.credentials.w3c.documents.to_document`.
    """
    return _as_badge(documents.to_document(credential, salt=salt))


def from_document(document: Any) -> Credential:
    """The inverse of :func:`to_document`, for a badge with or without its proof; no signature is checked.

    Raises:
        InvalidArgument: as :func:`vitne.credentials.w3c.documents.from_document`; ``NOT_A_BADGE``.
    """
    credential, salt = documents.read(document)  # which asks for what every credential has
    _require_badge(document)
    documents.require_same(document, _as_badge(documents.write(credential, salt=salt)))
    return credential


def require_badge(document: Any) -> None:
    """Refuse a credential that is no Open Badge: anybody's, not only ours (section 5 of the specification).

    Raises:
        InvalidArgument: ``NOT_A_BADGE`` with the member as field; what
            :func:`~vitne.credentials.w3c.vcdm.require_credential` refuses.
    """
    vcdm.require_credential(document)
    _require_badge(document)


def _require_badge(document: Mapping[str, Any]) -> None:
    if not TYPES.intersection(_listed(document["type"])):
        raise _refused("type", f"the types lack {TYPE}")
    issuer = document["issuer"]
    if isinstance(issuer, dict):
        _require_type(issuer, "Profile", "issuer")
    subject = document["credentialSubject"]
    if not isinstance(subject, dict):
        raise _refused("credentialSubject", "a badge has one subject")
    _require_type(subject, "AchievementSubject", "credentialSubject")
    if not isinstance(subject.get("id", ""), str) or not ("id" in subject or subject.get("identifier")):
        raise _refused("credentialSubject", "the learner has neither id nor identifier")
    for entry in _listed(subject.get("identifier", [])):
        _require_type(entry, "IdentityObject", "credentialSubject.identifier")
    achievement: Any = subject.get("achievement")
    where = "credentialSubject.achievement"
    _require_type(achievement, "Achievement", where)
    for name in ("id", "name", "description"):
        if not isinstance(achievement.get(name), str) or not achievement[name]:
            raise _refused(f"{where}.{name}", "the achievement lacks it")
    if not isinstance(achievement.get("criteria"), dict):
        raise _refused(f"{where}.criteria", "the achievement lacks them")
    for entry in _listed(achievement.get("alignment", [])):
        _require_type(entry, "Alignment", f"{where}.alignment")
    for entry in _listed(achievement.get("resultDescription", [])):
        _require_type(entry, "ResultDescription", f"{where}.resultDescription")
    for entry in _listed(subject.get("result", [])):
        _require_type(entry, "Result", "credentialSubject.result")


def _as_badge(document: dict[str, Any]) -> dict[str, Any]:
    subject = document["credentialSubject"]
    achievement = _achievement(subject["micro_credential"])
    learner = [subject[name] for name in ("given_name", "family_name") if name in subject]
    badge = {
        **document,
        "@context": [vcdm.CONTEXT, CONTEXT, documents.CONTEXT],
        "type": [vcdm.CREDENTIAL, TYPE, documents.TYPE],
        "name": achievement["name"],
        "awardedDate": f"{document['awarded_on']}T00:00:00Z",
        "issuer": document["issuer"] | {"type": ["Profile", *document["issuer"]["type"]]},
        "credentialSubject": {
            **subject,
            "type": ["AchievementSubject", *subject["type"]],
            "achievement": achievement,
        },
    }
    if learner:
        badge["credentialSubject"]["identifier"] = [
            {"type": "IdentityObject", "hashed": False, "identityHash": " ".join(learner), "identityType": "name"}
        ]
    if "grade" in subject:
        badge["credentialSubject"]["result"] = [{"type": ["Result"], "value": subject["grade"]}]
    return badge


def _achievement(claims: Mapping[str, Any]) -> dict[str, Any]:
    outcomes = [documents.in_one_language(outcome["text"]) for outcome in claims["outcomes"]]
    achievement: dict[str, Any] = {
        "id": claims["id"],
        "type": ["Achievement"],
        "achievementType": "MicroCredential",
        "name": documents.in_one_language(claims["title"]),
        "description": outcomes[0],
        "criteria": {"narrative": "\n".join(f"- {outcome}" for outcome in outcomes)},
        "version": str(claims["version"]),
    }
    alignments = list(_alignments(claims))
    if alignments:
        achievement["alignment"] = alignments
    if "field" in claims:
        achievement["fieldOfStudy"] = claims["field"]
    return achievement


def _alignments(claims: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    if "level" in claims:
        framework, level = claims["level"]["framework"], claims["level"]["level"]
        yield {
            "type": ["Alignment"],
            "targetCode": level,
            "targetFramework": framework,
            "targetName": f"{framework} {level}",
            "targetUrl": f"{_LEVELS}{framework}/{level}",
        }
    if "field" in claims:
        yield {
            "type": ["Alignment"],
            "targetCode": claims["field"],
            "targetFramework": "ISCED-F 2013",
            "targetName": f"ISCED-F {claims['field']}",
            "targetUrl": f"{_ISCED_F}{claims['field']}",
        }
    concepts = (concept for outcome in claims["outcomes"] for concept in outcome.get("concepts", ()))
    for concept in dict.fromkeys(concepts):
        yield {"type": ["Alignment"], "targetName": _UNNAMED, "targetUrl": concept}


def _require_type(entry: Any, type_: str, where: str) -> None:
    if not isinstance(entry, dict) or type_ not in _listed(entry.get("type", [])):
        raise _refused(where, f"not an object of type {type_}")


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _refused(where: str, message: str) -> InvalidArgument:
    return InvalidArgument(
        "NOT_A_BADGE",
        message,
        field=where,
        rule="Open Badges 3.0, AchievementCredential",
        remedy="ask the issuer for a badge that conforms",
    )
