"""A credential of ours in W3C's formats as an issuer makes it and a verifier gets it: one text, one key, one digest.

What is to be signed can be stored before it is signed and opened again, so that nothing is ever signed and lost.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

import msgspec

from vitne.canonical import b64url, from_b64url
from vitne.credentials.artefact import data_integrity_digest, jwt_digest
from vitne.credentials.certificates import Certificate
from vitne.credentials.data_integrity import proof
from vitne.credentials.data_integrity.multibase import encode_base58
from vitne.credentials.data_integrity.suites import (
    ECDSA_JCS_2019,
    ECDSA_RDFC_2019,
    EDDSA_JCS_2022,
    EDDSA_RDFC_2022,
    Suite,
)
from vitne.credentials.jose import ED25519, ES256, PublicKey, strict_json
from vitne.credentials.model import Credential
from vitne.credentials.w3c import documents, open_badges, vc_jwt
from vitne.errors import InvalidArgument

#: Longest text that is read, in characters.
MAX_LENGTH: Final = 1_000_000

_ENCODE: Final = msgspec.json.Encoder().encode


class Form(StrEnum):
    """How a credential is written and secured."""

    #: A document as ``vc+jwt``.
    JWT = "vc+jwt"
    #: A document with Data Integrity.
    DATA_INTEGRITY = "vc"
    #: The same, over its JSON as it is instead of what it says.
    JCS = "vc-jcs"
    #: An Open Badge with Data Integrity.
    BADGE = "badge"
    #: An Open Badge as ``vc+jwt``.
    BADGE_JWT = "badge+jwt"


_RDFC: Final[Mapping[str, Suite]] = {ES256: ECDSA_RDFC_2019, ED25519: EDDSA_RDFC_2022}
_JCS: Final[Mapping[str, Suite]] = {ES256: ECDSA_JCS_2019, ED25519: EDDSA_JCS_2022}
#: The suite of each form with Data Integrity, for each algorithm that providers' keys have.
_SUITES: Final[Mapping[Form, Mapping[str, Suite]]] = {
    Form.DATA_INTEGRITY: _RDFC,
    Form.JCS: _JCS,
    Form.BADGE: _RDFC,
}
#: What is a token rather than a document with a proof.
JWTS: Final = frozenset({Form.JWT, Form.BADGE_JWT})
_WRITERS: Final[Mapping[Form, Callable[..., dict[str, Any]]]] = {
    Form.JWT: documents.to_document,
    Form.DATA_INTEGRITY: documents.to_document,
    Form.JCS: documents.to_document,
    Form.BADGE: open_badges.to_document,
    Form.BADGE_JWT: open_badges.to_document,
}


@dataclass(frozen=True, slots=True)
class Prepared:
    """A credential that lacks only its signature. ``repr`` shows nothing of it."""

    #: What is to be signed.
    signing_input: bytes = field(repr=False)
    #: The document with its proof, which has no value yet; None: a JWT, which is in what is signed.
    _document: Mapping[str, Any] | None = field(default=None, repr=False)

    def stored(self) -> bytes:
        """As it is kept until it is signed, and after."""
        return _ENCODE({"signing_input": b64url(self.signing_input), "document": self._document})

    @classmethod
    def of_stored(cls, stored: bytes) -> Prepared:
        """The inverse of :meth:`stored`."""
        kept = msgspec.json.decode(stored)
        return cls(from_b64url(kept["signing_input"]), kept["document"])

    def complete(self, signature: bytes) -> str:
        """The credential as it is handed out: a compact JWT, or a document as JSON."""
        if self._document is None:
            return vc_jwt.Prepared(self.signing_input).complete(signature)
        signed = self._document["proof"] | {"proofValue": encode_base58(signature)}
        return _ENCODE({**self._document, "proof": signed}).decode()

    def digest(self, signature: bytes) -> str:
        """What the log knows it by, base64url (RECORDS: Artefact digest)."""
        if self._document is None:
            return jwt_digest(self.complete(signature))
        return data_integrity_digest(self.signing_input, signature)


def prepare(
    form: Form,
    credential: Credential,
    *,
    algorithm: str,
    key_id: str,
    salt: bytes,
    created: datetime,
    certificates: Sequence[Certificate] = (),
) -> Prepared:
    """What is to be signed for a credential.

    Args:
        form: how it is written and secured.
        credential: with all mandatory elements.
        algorithm: of the provider's key: ES256 or Ed25519.
        key_id: its thumbprint.
        salt: :data:`~vitne.credentials.w3c.documents.ENTROPY_BYTES` fresh random bytes.
        created: instant of a Data Integrity proof.
        certificates: of that key, then those above it, for a JWT to carry; proofs name their key by its address alone.

    Raises:
        InvalidArgument: as :func:`vitne.credentials.w3c.documents.to_document`.
    """
    document = _WRITERS[form](credential, salt=salt)
    if form in JWTS:
        jwt = vc_jwt.prepare(document, algorithm=algorithm, key_id=key_id, certificates=certificates)
        return Prepared(jwt.signing_input)
    prepared = proof.prepare(
        document,
        suite=_SUITES[form][algorithm],
        algorithm=algorithm,
        verification_method=_method(credential.awarding_body.issuer_uri, key_id),
        created=created,
    )
    return Prepared(prepared.hash_data, prepared.unsigned())


@dataclass(frozen=True, slots=True)
class Rendition:
    """A credential in one of these formats as read: well formed, its signature *not* checked yet."""

    form: Form
    credential: Credential
    #: Thumbprint of the key that it says to be signed with.
    key_id: str
    #: Algorithm or suite, as it names it.
    algorithm: str
    #: What the log knows it by, base64url.
    digest: str
    _verified_by: Callable[[PublicKey], bool] = field(repr=False)
    #: None: a document with a proof.
    _jwt: vc_jwt.VcJwt | None = field(default=None, repr=False)

    @property
    def certificates(self) -> tuple[Certificate, ...]:
        """Of that key, with its chain, where they came along.

        Raises:
            InvalidArgument: ``BAD_CERTIFICATE``.
        """
        return () if self._jwt is None else self._jwt.certificates

    def verified_by(self, key: PublicKey) -> bool:
        """Whether ``key`` signed it."""
        return self._verified_by(key)


def parse(text: str) -> Rendition:
    """Read what :meth:`Prepared.complete` gives; no signature is checked.

    Raises:
        InvalidArgument: what :func:`vitne.credentials.w3c.vc_jwt.parse` and :func:`read` refuse; ``BAD_JSON``;
            ``TOO_LARGE``.
    """
    if not text.startswith("{"):
        jwt = vc_jwt.parse(text)
        badge, credential = _read(jwt.document)
        form = Form.BADGE_JWT if badge else Form.JWT
        algorithm = jwt.jws.header.algorithm
        return Rendition(form, credential, jwt.key_id, algorithm, jwt_digest(text), jwt.verified_by, jwt)
    if len(text) > MAX_LENGTH:
        raise InvalidArgument(
            "TOO_LARGE",
            f"longer than {MAX_LENGTH} characters",
            field="credential",
            rule=f"at most {MAX_LENGTH} characters",
            remedy="send only the credential itself",
        )
    document = strict_json(text, field="credential")
    if not isinstance(document, dict):
        raise proof.refused("PROOF_MISSING", "", "not a document with a proof")
    return read(document)


def read(document: Mapping[str, Any]) -> Rendition:
    """Read a document with a proof, as JSON was read; no signature is checked.

    Raises:
        InvalidArgument: what :func:`vitne.credentials.data_integrity.proof.read` and
            :func:`vitne.credentials.w3c.documents.from_document` refuse; ``PROOF_MALFORMED`` for a proof that no
            provider here makes.
    """
    badge, credential = _read(document)
    proofs = proof.read(document)
    form, algorithm = _made_with(proofs[0].suite, badge)
    key_id = proofs[0].verification_method.removeprefix(_method(credential.awarding_body.issuer_uri, ""))
    if len(proofs) > 1 or not algorithm or "#" in key_id or proofs[0].expires or proofs[0].purpose != proof.ASSERTION:
        raise proof.refused("PROOF_MALFORMED", "", "not one proof as the issuers here make it")
    one = proofs[0]
    hash_data = one.hash_data(algorithm)

    def verified_by(key: PublicKey) -> bool:
        return key.algorithm == algorithm and key.verify(hash_data, one.signature)

    digest = data_integrity_digest(hash_data, one.signature)
    return Rendition(form, credential, key_id, one.suite.name, digest, verified_by)


def _read(document: Mapping[str, Any]) -> tuple[bool, Credential]:
    """Whether it is a badge, and the credential."""
    types = document.get("type")
    badge = isinstance(types, list) and open_badges.TYPE in types
    return badge, (open_badges if badge else documents).from_document(document)


def _made_with(suite: Suite, badge: bool) -> tuple[Form, str]:
    """The form that issuers here make with a suite, and the algorithm of its key; empty: none."""
    for form in (Form.BADGE,) if badge else (Form.DATA_INTEGRITY, Form.JCS):
        for algorithm, other in _SUITES[form].items():
            if other is suite:
                return form, algorithm
    return Form.DATA_INTEGRITY, ""


def _method(issuer_uri: str, key_id: str) -> str:
    return f"{issuer_uri}#{key_id}"
