"""Adding a proof to a document, and reading the proofs of one (Data Integrity 1.0, sections 2.1, 4.2 and 4.4)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from vitne.canonical import instant_text
from vitne.credentials.data_integrity.multibase import BASE58, decode, encode_base58
from vitne.credentials.data_integrity.multikey import VerificationKey
from vitne.credentials.data_integrity.suites import SUITES, Suite
from vitne.credentials.date_times import parse_date_time
from vitne.errors import InvalidArgument

#: ``type`` of every proof here.
TYPE: Final = "DataIntegrityProof"
#: What a credential is signed for (section 2.4).
ASSERTION: Final = "assertionMethod"
#: Most proofs of one document.
MAX_PROOFS: Final = 4


@dataclass(frozen=True, slots=True)
class Prepared:
    """A document whose proof lacks only its value. ``repr`` shows nothing of it."""

    #: What is to be signed.
    hash_data: bytes
    _document: Mapping[str, Any] = field(repr=False)
    _options: Mapping[str, Any] = field(repr=False)

    def unsigned(self) -> dict[str, Any]:
        """The document with its proof, which has no value yet."""
        return {**self._document, "proof": dict(self._options)}

    def complete(self, signature: bytes) -> dict[str, Any]:
        """The secured document."""
        return {**self._document, "proof": {**self._options, "proofValue": encode_base58(signature)}}


def prepare(
    document: Mapping[str, Any],
    *,
    suite: Suite,
    algorithm: str,
    verification_method: str,
    created: datetime,
    purpose: str = ASSERTION,
) -> Prepared:
    """What is to be signed for a document without a proof.

    Args:
        document: with ``@context``, without ``proof``.
        suite: see :mod:`vitne.credentials.data_integrity.suites`.
        algorithm: of the key that will sign.
        verification_method: URL by which a verifier finds the public key.
        created: instant of the proof.
        purpose: a verification relationship of the issuer.

    Raises:
        InvalidArgument: what canonicalising refuses; ``ALGORITHM_REFUSED``; ``PROOF_PRESENT``.
    """
    if "proof" in document:
        raise InvalidArgument(
            "PROOF_PRESENT",
            "the document has a proof already",
            field="proof",
            rule="one proof, made by one issuer",
            remedy="sign the document without its proof",
        )
    options = {
        "type": TYPE,
        "cryptosuite": suite.name,
        "created": instant_text(created),
        "verificationMethod": verification_method,
        "proofPurpose": purpose,
    }
    with_context = options | context_of(document)
    hash_data = suite.hash_data(document, with_context, algorithm)
    return Prepared(hash_data, document, with_context if suite.proof_has_context else options)


@dataclass(frozen=True, slots=True)
class Stated:
    """What a proof says of itself. Nothing of it is verified but its form."""

    #: URL of the key.
    verification_method: str
    purpose: str
    created: datetime | None
    #: First instant at which it says nothing any more; None: not stated.
    expires: datetime | None

    def require(self, *, purpose: str, now: datetime) -> None:
        """Refuse a proof for another purpose, or one that has expired.

        Raises:
            InvalidArgument: ``PROOF_PURPOSE``; ``PROOF_EXPIRED``.
        """
        if self.purpose != purpose:
            raise refused("PROOF_PURPOSE", "proofPurpose", "the proof is for another purpose")
        if self.expires is not None and self.expires <= now:
            raise refused("PROOF_EXPIRED", "expires", "the proof has expired")


@dataclass(frozen=True, slots=True)
class Proof(Stated):
    """A proof as read."""

    suite: Suite
    #: The bytes of ``proofValue``.
    signature: bytes = field(repr=False)
    _document: Mapping[str, Any] = field(repr=False)
    _options: Mapping[str, Any] = field(repr=False)

    def hash_data(self, algorithm: str) -> bytes:
        """What was signed, for a key of an algorithm.

        Raises:
            InvalidArgument: what canonicalising refuses; ``ALGORITHM_REFUSED``.
        """
        return self.suite.hash_data(self._document, self._options, algorithm)

    def verified_by(self, key: VerificationKey) -> bool:
        """Whether ``key`` made it.

        Raises:
            InvalidArgument: as :meth:`hash_data`.
        """
        return key.verify(self.hash_data(key.algorithm), self.signature)


def read(secured: Mapping[str, Any]) -> tuple[Proof, ...]:
    """The proofs of a secured document: each must hold.

    Raises:
        InvalidArgument: ``PROOF_MISSING``; ``PROOF_MALFORMED``; ``CRYPTOSUITE_REFUSED`` for a suite that is not one
            of ours, or another type of proof.
    """
    stated = secured.get("proof")
    proofs = stated if isinstance(stated, list) else [stated]
    if stated is None or not proofs:
        raise refused("PROOF_MISSING", "", "the document has no proof")
    if len(proofs) > MAX_PROOFS:
        raise refused("PROOF_MALFORMED", "", f"more than {MAX_PROOFS} proofs")
    document = {name: value for name, value in secured.items() if name != "proof"}
    return tuple(_read_one(proof, document) for proof in proofs)


def _read_one(proof: Any, document: Mapping[str, Any]) -> Proof:
    if not isinstance(proof, dict):
        raise refused("PROOF_MALFORMED", "", "a proof is no object")
    suite = SUITES.get(str(proof.get("cryptosuite"))) if proof.get("type") == TYPE else None
    if suite is None:
        raise refused("CRYPTOSUITE_REFUSED", "cryptosuite", f"not a {TYPE} of a suite that is known here")
    if "previousProof" in proof:
        raise refused("PROOF_MALFORMED", "previousProof", "chains of proofs are not read")
    options = {name: value for name, value in proof.items() if name != "proofValue"}
    if suite.proof_has_context:
        document = _as_the_proof_has_it(document, options)
    else:
        options |= context_of(document)
    value = _text(proof, "proofValue")
    if not value.startswith(BASE58):
        raise refused("PROOF_MALFORMED", "proofValue", "the value is not base58btc")
    return Proof(
        *stated(proof),
        suite=suite,
        signature=decode(value, field="proof.proofValue"),
        _document=document,
        _options=options,
    )


def stated(proof: Mapping[str, Any]) -> tuple[str, str, datetime | None, datetime | None]:
    """The fields of :class:`Stated`, in their order.

    Raises:
        InvalidArgument: ``PROOF_MALFORMED``; ``BAD_INSTANT``.
    """
    method, purpose = (_text(proof, name) for name in ("verificationMethod", "proofPurpose"))
    return method, purpose, _instant(proof, "created"), _instant(proof, "expires")


def _as_the_proof_has_it(document: Mapping[str, Any], options: Mapping[str, Any]) -> Mapping[str, Any]:
    """Later contexts may have been added: the proof is over those that it names (EdDSA suites, section 3.3.2)."""
    if "@context" not in options:
        return document
    signed, present = (_as_list(where.get("@context")) for where in (options, document))
    if present[: len(signed)] != signed:
        raise refused("PROOF_MALFORMED", "@context", "the document's contexts do not begin with the proof's")
    return {**document, "@context": options["@context"]}


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def context_of(document: Mapping[str, Any]) -> dict[str, Any]:
    """What options get of the document that they are about."""
    return {"@context": document["@context"]} if "@context" in document else {}


def _text(proof: Mapping[str, Any], name: str) -> str:
    value = proof.get(name)
    if not isinstance(value, str) or not value:
        raise refused("PROOF_MALFORMED", name, "the member is not text")
    return value


def _instant(proof: Mapping[str, Any], name: str) -> datetime | None:
    return parse_date_time(_text(proof, name), field=f"proof.{name}") if name in proof else None


def refused(reason: str, name: str, message: str) -> InvalidArgument:
    """A refusal of a proof; ``name`` is its member."""
    return InvalidArgument(
        reason,
        message,
        field=f"proof.{name}" if name else "proof",
        rule="Data Integrity 1.0, sections 2.1 and 4.4",
        remedy="ask the issuer for the document as it was signed",
    )
