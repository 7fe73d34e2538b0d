"""A credential of ours as a document of the W3C data model, and back.

::

    @context            W3C's, ours (docs/contexts)
    id                  urn:uuid:<credential id>
    type                VerifiableCredential, MicroCredential
    issuer              id; name in one language, names in all; organisation, country
    validFrom           instant of issuance and decision; validUntil: the midnight at which it no longer counts
    credentialStatus    an entry for revocation and one for suspension, of one place
    credentialSubject   id: the wallet's key as did:key; given_name, family_name, birthdate, learner_identifier, grade
      micro_credential  the achievement: the same members as in the claims of an SD-JWT VC
    salt, kind, retention, awarded_on, decision, recognition, accreditation
                        likewise; decision is the record, as JSON, and so are an act of recognition and the citation
                        of the accreditation

Claims have one home, :mod:`vitne.credentials.sd_jwt_vc`: here they are only put elsewhere. A document is read by taking
the claims out and writing it again: what is not the same to the last member is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, time
from typing import Any, Final

from vitne.canonical import b64url, instant_text
from vitne.credentials import sd_jwt_vc
from vitne.credentials.data_integrity.multikey import did_key, parse_did_key
from vitne.credentials.date_times import parse_date_time
from vitne.credentials.elements import require_mandatory_elements
from vitne.credentials.jose import PublicKey
from vitne.credentials.model import Credential, DecisionReference
from vitne.credentials.sd_jwt import SALT_BYTES, Disclosable
from vitne.credentials.w3c import status_entries, vcdm
from vitne.errors import InvalidArgument

#: Our own terms.
CONTEXT: Final = "https://vitne.example/contexts/micro-credential/v1"
#: Our type of credential.
TYPE: Final = "MicroCredential"
#: Random bytes that one document takes.
ENTROPY_BYTES: Final = SALT_BYTES

#: Claims that stand in the credential itself, in the subject, and in what it says of the awarding body.
_OF_CREDENTIAL: Final = ("kind", "retention", "awarded_on", "recognition", "accreditation")
_OF_SUBJECT: Final = ("given_name", "family_name", "birthdate", "learner_identifier", "grade")
#: All claims that have a place in a document.
_CARRIED: Final = frozenset(
    {
        *("vct", "iss", "iat", "exp", "jti", "cnf", "status", "awarding_body", "achievement", "decision"),
        *(*_OF_CREDENTIAL, *_OF_SUBJECT),
    }
)
_URN: Final = "urn:uuid:"
# A text in one language is taken in this, where it is given.
_FIRST_LANGUAGE: Final = "en"


def to_document(credential: Credential, *, salt: bytes) -> dict[str, Any]:
    """A credential as a document, to be secured.

    Args:
        credential: with all mandatory elements.
        salt: :data:`ENTROPY_BYTES` fresh random bytes, so that the artefact's digest can't be guessed.

    Raises:
        InvalidArgument: ``MANDATORY_ELEMENT_MISSING``; ``LANGUAGE_REPEATED``; ``EXPIRED_WHEN_ISSUED``, since the data
            model has no such credential.
        ValueError: on a salt of another length.
    """
    if len(salt) != ENTROPY_BYTES:
        raise ValueError(f"a document takes {ENTROPY_BYTES} random bytes")
    require_mandatory_elements(credential)
    end = credential.expires_on
    if end is not None and datetime.combine(end, time(), UTC) < credential.issued_at:
        raise _refused("EXPIRED_WHEN_ISSUED", "validUntil", "the credential ends before it is issued")
    return write(credential, salt=b64url(salt))


def write(credential: Credential, *, salt: str) -> dict[str, Any]:
    """The same for what may lack something, with a salt in its text form.

    Raises:
        InvalidArgument: ``NOT_CARRIED`` for a claim that has no place here: nothing is dropped.
    """
    claims = {
        name: value.value if isinstance(value, Disclosable) else value
        for name, value in sd_jwt_vc.to_claims(credential).items()
    }
    if lost := claims.keys() - _CARRIED:
        raise _refused("NOT_CARRIED", min(lost), "the format has no place for it")
    body = claims["awarding_body"]
    document: dict[str, Any] = {
        "@context": [vcdm.CONTEXT, CONTEXT],
        "id": claims["jti"],
        "type": [vcdm.CREDENTIAL, TYPE],
        "issuer": {
            "id": claims["iss"],
            "type": ["AwardingBody"],
            "name": in_one_language(body["name"]),
            "names": body["name"],
            "organisation": body["id"],
            "country": body["country"],
        },
        "validFrom": instant_text(credential.issued_at),
        "credentialStatus": status_entries.entries(credential.status),
        "credentialSubject": _subject(claims, credential.holder),
        "salt": salt,
        **{name: claims[name] for name in _OF_CREDENTIAL if name in claims},
        "decision": claims["decision"]["record"],
    }
    if "exp" in claims:
        document["validUntil"] = instant_text(datetime.fromtimestamp(claims["exp"], UTC))
    return document


def _subject(claims: Mapping[str, Any], holder: PublicKey | None) -> dict[str, Any]:
    achievement = claims["achievement"]
    return {
        **({} if holder is None else {"id": did_key(holder)}),
        "type": ["Learner"],
        **{name: claims[name] for name in _OF_SUBJECT if name in claims},
        "micro_credential": achievement | {"id": f"{_URN}{achievement['id']}"},
    }


def in_one_language(texts: Mapping[str, str]) -> str:
    """One text, for members that carry only one: in English, or in the language whose tag is first."""
    return texts.get(_FIRST_LANGUAGE) or texts[min(texts)]


def from_document(document: Any) -> Credential:
    """The inverse of :func:`to_document`, for a document with or without its proof; no signature is checked.

    Raises:
        InvalidArgument: what :func:`~vitne.credentials.w3c.vcdm.require_credential` and
            :func:`~vitne.credentials.sd_jwt_vc.from_claims` refuse; ``UNKNOWN_TYPE``; ``STATUS_ENTRY_MALFORMED``;
            ``CLAIMS_CONTRADICT`` with the first member that is not as the rest has it.
    """
    credential, salt = read(document)
    require_same(document, write(credential, salt=salt))
    return credential


def read(document: Any) -> tuple[Credential, str]:
    """The credential that a document says, with its salt; what follows from the rest is not looked at.

    Raises:
        InvalidArgument: as :func:`from_document`, without ``CLAIMS_CONTRADICT``.
    """
    vcdm.require_credential(document)
    if TYPE not in document["type"]:
        raise InvalidArgument(
            "UNKNOWN_TYPE",
            "the credential is of another type",
            field="type",
            rule=f"the types have {TYPE}",
            remedy="send a credential that was issued here",
        )
    issuer, subject = (_object(document, name) for name in ("issuer", "credentialSubject"))
    achievement = _object(subject, "micro_credential")
    decision = DecisionReference.parse(_object(document, "decision"), field="decision")
    claims: dict[str, Any] = {
        "vct": sd_jwt_vc.VCT,
        "iss": issuer["id"],
        "iat": int(decision.at.timestamp()),
        "jti": _text(document, "id"),
        "awarding_body": _renamed(issuer, {"organisation": "id", "names": "name", "country": "country"}),
        "achievement": achievement | {"id": _text(achievement, "id").removeprefix(_URN)},
        "status": {"status_list": _status(document)},
        "decision": {"digest": decision.digest, "record": decision.members()},
        **{name: document[name] for name in _OF_CREDENTIAL if name in document},
        **{name: subject[name] for name in _OF_SUBJECT if name in subject},
    }
    if "validUntil" in document:
        claims["exp"] = int(parse_date_time(document["validUntil"]).timestamp())
    if "id" in subject:
        key = parse_did_key(subject["id"], field="credentialSubject.id")
        if not isinstance(key, PublicKey):
            raise _contradiction("credentialSubject.id", "no wallet of ours has such a key")
        claims["cnf"] = {"jwk": dict(key.jwk)}
    return sd_jwt_vc.from_claims(claims), _text(document, "salt")


def require_same(document: Mapping[str, Any], again: Mapping[str, Any]) -> None:
    """Refuse a document that is not, but for its proof, what was written again from what it says.

    Raises:
        InvalidArgument: ``CLAIMS_CONTRADICT``.
    """
    for name in sorted((document.keys() | again.keys()) - {"proof"}):
        if document.get(name) != again.get(name):
            raise _contradiction(name, "the member is not what the rest of the credential says")


def _status(document: Mapping[str, Any]) -> dict[str, Any]:
    status = status_entries.read_entries(document.get("credentialStatus"))
    return {"idx": status.index, "uri": status.list}


def _renamed(members: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {claim: members[name] for name, claim in names.items() if name in members}


def _object(members: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = members.get(name)
    if not isinstance(value, dict):
        raise _malformed(name, "the member is not an object")
    return value


def _text(members: Mapping[str, Any], name: str) -> str:
    value = members.get(name)
    if not isinstance(value, str) or not value:
        raise _malformed(name, "the member is not text")
    return value


def _malformed(name: str, message: str) -> InvalidArgument:
    return _refused("CLAIM_MALFORMED", name, message)


def _contradiction(name: str, message: str) -> InvalidArgument:
    return _refused("CLAIMS_CONTRADICT", name, message)


def _refused(reason: str, name: str, message: str) -> InvalidArgument:
    return InvalidArgument(
        reason,
        message,
        field=name,
        rule=f"the documents of {CONTEXT}",
        remedy="ask the issuer for the credential as it was issued",
    )
