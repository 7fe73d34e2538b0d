"""An accreditation's revision as a verifiable credential, signed with the authority's key (docs/decisions/0018).

A W3C credential (Verifiable Credentials Data Model 2.0) secured as ``vc+jwt`` (Securing
Verifiable Credentials using JOSE and COSE, section 3.1)::

    {"@context": ["https://www.w3.org/ns/credentials/v2", {…}],
     "id": "https://registry.vitne.example/v1/accreditations/01930f6e-…/revisions/3",
     "type": ["VerifiableCredential", "VerifiableAccreditation"],
     "issuer": "did:web:registry.vitne.example:organisations:0192-985042667",
     "validFrom": "2026-01-01T00:00:00Z",
     "credentialSubject": {"id": "did:web:…:0192-971035854", "fact": {…}},
     "iat": 1795255200}

The **fact** is the registry's own, whole (RECORDS: Log leaves): its digest is what the log
has, what a provider's credential cites beside id and revision, and what stays the same
when an authority's key is changed and the credential signed again. Everything else is
derived from it, and a credential that says anything more or else is refused.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from vitne.accreditation.dids import organisation_did
from vitne.accreditation.facts import content_kind, fact_digest_text, fact_from_json, fact_json, instant
from vitne.canonical import canonical_bytes, instant_text
from vitne.credentials.jose import ES256, Jws, PublicKey, Signer, complete, parse_jws, signing_input, strict_json
from vitne.errors import InvalidArgument, VitneError
from vitne_api.registry.v1 import facts_pb2

#: ``typ`` of the JOSE header, and the media type without ``application/``.
TYPE: Final = "vc+jwt"
#: What a revision is beside a credential.
CREDENTIAL_TYPE: Final = "VerifiableAccreditation"
#: Where our terms are defined.
VOCABULARY: Final = "https://vitne.example/terms#"
#: The data model's context, and what it lacks: a fact is JSON as it is, since its digest counts.
CONTEXTS: Final[tuple[Any, ...]] = (
    "https://www.w3.org/ns/credentials/v2",
    {"@vocab": VOCABULARY, "fact": {"@id": f"{VOCABULARY}fact", "@type": "@json"}},
)
#: Longest credential that is read, in characters: a scope of many educations has some ten thousand.
MAX_LENGTH: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class AccreditationCredential:
    """A credential whose form was checked. Its signature was not: see :meth:`verified_by`."""

    fact: facts_pb2.Fact
    #: Of the fact, base64url: what is cited.
    digest: str
    #: Thumbprint of the key that it says to be signed with.
    key_id: str
    signed_at: datetime
    _jws: Jws = field(repr=False)

    def verified_by(self, key: PublicKey) -> bool:
        """Whether a key signed it."""
        return self._jws.verified_by(key)


def revision_uri(registry_uri: str, accreditation_id: str, revision: int) -> str:
    """The identifier of a revision's credential: where the registry serves it."""
    return f"{registry_uri}/v1/accreditations/{accreditation_id}/revisions/{revision}"


def sign_accreditation(fact: facts_pb2.Fact, *, registry_uri: str, at: datetime, signer: Signer) -> str:
    """The credential of a revision, as compact JWS.

    Args:
        fact: about an accreditation.
        registry_uri: URI of the registry that recorded it.
        at: when it is signed; cut to the second.
        signer: a key of the authority's for accreditations.
    """
    did = organisation_did(registry_uri, fact.accreditation.authority)
    header = {"alg": signer.algorithm, "kid": f"{did}#{signer.key_id}", "typ": TYPE}
    data = signing_input(header, canonical_bytes(_claims(fact, registry_uri, int(at.timestamp()))))
    return complete(data, signer.sign(data))


def read_accreditation(compact: str, *, registry_uri: str) -> AccreditationCredential:
    """Read a credential of :data:`CREDENTIAL_TYPE`; the signature is *not* checked.

    Args:
        compact: the JWS.
        registry_uri: URI of the registry that it must come from.

    Raises:
        InvalidArgument: ``BAD_ACCREDITATION_CREDENTIAL``, or as :func:`~vitne.credentials.jose.parse_jws`.
        DataLoss: ``UNKNOWN_FACT``.
    """
    where = "accreditation"
    jws = parse_jws(compact, algorithms=(ES256,), types=(TYPE,), max_length=MAX_LENGTH, field=where)
    claims = strict_json(jws.payload, field=where)
    try:
        fact = fact_from_json(claims["credentialSubject"]["fact"])
        signed_at = claims["iat"]
    except (KeyError, TypeError, ValueError, InvalidArgument) as error:
        raise _bad("it holds no fact, or says not when it was signed") from error
    if content_kind(fact) != "accreditation" or type(signed_at) is not int:
        raise _bad("its fact is about no accreditation")
    did, _, key_id = jws.header.key_id.partition("#")
    try:
        same = claims == _claims(fact, registry_uri, signed_at)
        moment = datetime.fromtimestamp(signed_at, UTC)
    except (VitneError, ValueError, OverflowError, OSError) as error:
        raise _bad("an instant in it is out of range") from error
    if not same:
        raise _bad("it says something else than its fact, or is another registry's")
    if did != claims["issuer"]:
        raise _bad("the key that it names is not its issuer's")
    return AccreditationCredential(fact, fact_digest_text(fact), key_id, moment, jws)


def _claims(fact: facts_pb2.Fact, registry_uri: str, signed_at: int) -> dict[str, Any]:
    said = fact.accreditation
    claims: dict[str, Any] = {
        "@context": list(CONTEXTS),
        "id": revision_uri(registry_uri, said.id, said.revision),
        "type": ["VerifiableCredential", CREDENTIAL_TYPE],
        "issuer": organisation_did(registry_uri, said.authority),
        "validFrom": instant_text(instant(said.effective_from)),
        "credentialSubject": {"id": organisation_did(registry_uri, said.provider), "fact": fact_json(fact)},
        "iat": signed_at,
    }
    if said.HasField("valid_until"):
        claims["validUntil"] = instant_text(instant(said.valid_until))
    return claims


def _bad(problem: str) -> InvalidArgument:
    return InvalidArgument(
        "BAD_ACCREDITATION_CREDENTIAL",
        f"not an accreditation's credential: {problem}",
        field="accreditation",
        rule=f"a JWS of type {TYPE} around a registry's fact, signed by the authority that it names",
        remedy="fetch it again from the registry",
    )
