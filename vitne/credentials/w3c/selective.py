"""A credential of ours of which its holder shows parts (``ecdsa-sd-2023``).

The holder gets a document with a base proof, for himself alone. What he shows is a document with a derived proof: what
the issuer said must always be shown, and those claims of his own that he chose, the same that an SD-JWT VC lets him
withhold. The log knows it by the same digest, whatever is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from vitne.credentials.artefact import data_integrity_digest
from vitne.credentials.data_integrity import ecdsa_sd_2023
from vitne.credentials.data_integrity.proof import ASSERTION, refused
from vitne.credentials.jose import PublicKey, Signer
from vitne.credentials.model import Credential
from vitne.credentials.type_metadata import DISCLOSABLE
from vitne.credentials.w3c import documents
from vitne.errors import InvalidArgument

#: What is always shown, as JSON pointers: all but what the subject says of the learner, where the credential has it.
_ALWAYS: Final = (
    *("/issuer", "/validFrom", "/validUntil", "/credentialStatus", "/salt", "/kind", "/retention", "/awarded_on"),
    *("/decision", "/recognition", "/accreditation", "/credentialSubject/id", "/credentialSubject/micro_credential"),
)
_SUBJECT: Final = "credentialSubject"


def prepare(
    credential: Credential, *, key_id: str, salt: bytes, created: datetime, hmac_key: bytes, proof_key: Signer
) -> ecdsa_sd_2023.Prepared:
    """What is to be signed for a credential, with a key on P-256.

    Args:
        credential: with all mandatory elements.
        key_id: thumbprint of the issuer's key.
        salt: :data:`~vitne.credentials.w3c.documents.ENTROPY_BYTES` fresh random bytes.
        created: instant of the proof.
        hmac_key: :data:`~vitne.credentials.data_integrity.ecdsa_sd_2023.HMAC_KEY_BYTES` fresh random bytes.
        proof_key: a fresh key on P-256, to be forgotten once this returns.

    Raises:
        InvalidArgument: as :func:`vitne.credentials.w3c.documents.to_document`.
    """
    document = documents.to_document(credential, salt=salt)
    return ecdsa_sd_2023.prepare(
        document,
        mandatory=[pointer for pointer in _ALWAYS if _is_there(document, pointer)],
        verification_method=f"{credential.awarding_body.issuer_uri}#{key_id}",
        created=created,
        hmac_key=hmac_key,
        proof_key=proof_key,
    )


def show(secured: Mapping[str, Any], claims: Collection[str]) -> dict[str, Any]:
    """What a holder shows of a document with a base proof.

    Args:
        secured: as :meth:`~vitne.credentials.data_integrity.ecdsa_sd_2023.Prepared.complete` gives it.
        claims: among :data:`~vitne.credentials.type_metadata.DISCLOSABLE`; what the credential lacks is passed over.

    Raises:
        InvalidArgument: ``CLAIM_NOT_DISCLOSABLE``; as :func:`~vitne.credentials.data_integrity.ecdsa_sd_2023.derive`.
    """
    if unknown := sorted(set(claims).difference(DISCLOSABLE)):
        raise InvalidArgument(
            "CLAIM_NOT_DISCLOSABLE",
            f"{unknown[0]!r} is no claim that may be shown or withheld",
            field="claims",
            rule=f"among {', '.join(DISCLOSABLE)}; everything else is always shown",
            remedy="leave it out",
        )
    pointers = [f"/{_SUBJECT}/{name}" for name in DISCLOSABLE if name in claims]
    return ecdsa_sd_2023.derive(secured, [pointer for pointer in pointers if _is_there(secured, pointer)])


@dataclass(frozen=True, slots=True)
class Shown:
    """What was shown, as read: well formed, its signatures *not* checked yet."""

    credential: Credential
    #: Thumbprint of the key that it says to be signed with.
    key_id: str
    #: What the log knows it by, base64url: the same whatever is shown.
    digest: str
    _verified_by: Callable[[PublicKey], bool] = field(repr=False)

    def verified_by(self, key: PublicKey) -> bool:
        """Whether ``key`` is the issuer's, and all that is shown was signed."""
        return self._verified_by(key)


def read(document: Mapping[str, Any]) -> Shown:
    """Read what :func:`show` gives; no signature is checked.

    Raises:
        InvalidArgument: as :func:`vitne.credentials.w3c.documents.from_document` and
            :func:`vitne.credentials.data_integrity.ecdsa_sd_2023.read`; ``PROOF_MALFORMED`` for a proof that no issuer
            here makes.
    """
    credential = documents.from_document(document)
    proof = ecdsa_sd_2023.read(document)
    method, _, key_id = proof.verification_method.partition("#")
    if method != credential.awarding_body.issuer_uri or proof.purpose != ASSERTION or proof.expires is not None:
        raise refused("PROOF_MALFORMED", "", "not a proof as the issuers here make it")
    return Shown(credential, key_id, data_integrity_digest(proof.to_verify, proof.signature), proof.verified_by)


def _is_there(document: Mapping[str, Any], pointer: str) -> bool:
    value: Any = document
    for name in pointer.split("/")[1:]:
        if not isinstance(value, dict) or name not in value:
            return False
        value = value[name]
    return True
