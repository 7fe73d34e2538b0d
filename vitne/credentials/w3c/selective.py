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

import msgspec

from vitne.credentials.artefact import data_integrity_digest
from vitne.credentials.data_integrity import ecdsa_sd_2023
from vitne.credentials.data_integrity.proof import ASSERTION, refused
from vitne.credentials.jose import PublicKey, Signer, strict_json
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
_ENCODE: Final = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Prepared:
    """A credential whose base proof lacks only the issuer's signature. ``repr`` shows nothing of it."""

    _base: ecdsa_sd_2023.Prepared = field(repr=False)

    @property
    def signing_input(self) -> bytes:
        """What is to be signed."""
        return self._base.to_sign

    def stored(self) -> bytes:
        """As it is kept until it is signed, and after."""
        return self._base.stored()

    @classmethod
    def of_stored(cls, stored: bytes) -> Prepared:
        """The inverse of :meth:`stored`."""
        return cls(ecdsa_sd_2023.Prepared.of_stored(stored))

    def complete(self, signature: bytes) -> str:
        """The credential as its holder gets it: a document as JSON."""
        return _ENCODE(self._base.complete(signature)).decode()

    def digest(self, signature: bytes) -> str:
        """What the log knows it by, base64url (RECORDS: Artefact digest)."""
        return data_integrity_digest(self.signing_input, signature)


def prepare(
    credential: Credential, *, key_id: str, salt: bytes, created: datetime, hmac_key: bytes, proof_key: Signer
) -> Prepared:
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
    base = ecdsa_sd_2023.prepare(
        document,
        mandatory=[pointer for pointer in _ALWAYS if _is_there(document, pointer)],
        verification_method=f"{credential.awarding_body.issuer_uri}#{key_id}",
        created=created,
        hmac_key=hmac_key,
        proof_key=proof_key,
    )
    return Prepared(base)


def show(secured: str, claims: Collection[str]) -> str:
    """What a holder shows of a document with a base proof.

    Args:
        secured: as :meth:`Prepared.complete` gives it.
        claims: among :data:`~vitne.credentials.type_metadata.DISCLOSABLE`; what the credential lacks is passed over.

    Raises:
        InvalidArgument: ``CLAIM_NOT_DISCLOSABLE``; ``BAD_JSON``; ``PROOF_MISSING``; as
            :func:`~vitne.credentials.data_integrity.ecdsa_sd_2023.derive`.
    """
    if unknown := sorted(set(claims).difference(DISCLOSABLE)):
        raise InvalidArgument(
            "CLAIM_NOT_DISCLOSABLE",
            f"{unknown[0]!r} is no claim that may be shown or withheld",
            field="claims",
            rule=f"among {', '.join(DISCLOSABLE)}; everything else is always shown",
            remedy="leave it out",
        )
    document = strict_json(secured, field="credential")
    if not isinstance(document, dict):
        raise refused("PROOF_MISSING", "", "not a document with a proof")
    pointers = [f"/{_SUBJECT}/{name}" for name in DISCLOSABLE if name in claims]
    shown = ecdsa_sd_2023.derive(document, [pointer for pointer in pointers if _is_there(document, pointer)])
    return _ENCODE(shown).decode()


@dataclass(frozen=True, slots=True)
class Shown:
    """What was shown, as read: well formed, its signatures *not* checked yet."""

    credential: Credential
    #: Thumbprint of the key that it says to be signed with.
    key_id: str
    #: Of :data:`~vitne.credentials.type_metadata.DISCLOSABLE`, those that are shown. Which of the others the
    #: credential has, nobody is told.
    claims: frozenset[str]
    #: What the log knows it by, base64url: the same whatever is shown.
    digest: str
    _verified_by: Callable[[PublicKey], bool] = field(repr=False)

    def verified_by(self, key: PublicKey) -> bool:
        """Whether ``key`` is the issuer's, and all that is shown was signed."""
        return self._verified_by(key)


def is_selective(document: Mapping[str, Any]) -> bool:
    """Whether a document says that its proof is of this suite."""
    proof = document.get("proof")
    return isinstance(proof, dict) and proof.get("cryptosuite") == ecdsa_sd_2023.NAME


def read(document: Mapping[str, Any]) -> Shown:
    """Read what :func:`show` gives, as JSON was read; no signature is checked.

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
    claims = frozenset(DISCLOSABLE).intersection(document[_SUBJECT])
    digest = data_integrity_digest(proof.to_verify, proof.signature)
    return Shown(credential, key_id, claims, digest, proof.verified_by)


def _is_there(document: Mapping[str, Any], pointer: str) -> bool:
    value: Any = document
    for name in pointer.split("/")[1:]:
        if not isinstance(value, dict) or name not in value:
            return False
        value = value[name]
    return True
