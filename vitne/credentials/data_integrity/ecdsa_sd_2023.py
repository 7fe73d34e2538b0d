"""``ecdsa-sd-2023``: a holder discloses parts of a document (ECDSA Cryptosuites 1.0, sections 3.4 to 3.6).

The issuer signs the proof's options, a key made for this document alone, and the hash of what must always be shown.
That key signs each other quad by itself. The holder passes on the signatures of the quads that are shown. Blank nodes
have labels from an HMAC, so that neither their number nor their order tells what is withheld.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import msgspec

from vitne.canonical import instant_text
from vitne.credentials import cbor
from vitne.credentials.data_integrity import multikey
from vitne.credentials.data_integrity.multibase import BASE64URL, decode, encode_base58, encode_base64url
from vitne.credentials.data_integrity.multikey import VerificationKey
from vitne.credentials.data_integrity.proof import ASSERTION, TYPE, Stated, context_of, refused, stated
from vitne.credentials.data_integrity.selection import select
from vitne.credentials.jose import ES256, PublicKey, Signer, parse_public_jwk
from vitne.credentials.jsonld.skolem import skolemise, to_labelled_rdf
from vitne.credentials.jsonld.to_rdf import to_rdf
from vitne.credentials.rdf.canonical import canonicalise
from vitne.credentials.rdf.terms import BLANK, Quad, line
from vitne.errors import InvalidArgument

#: The suite's name.
NAME: Final = "ecdsa-sd-2023"
#: Bytes of the HMAC key of a document.
HMAC_KEY_BYTES: Final = 32

_BASE_HEADER: Final = b"\xd9\x5d\x00"
_DERIVED_HEADER: Final = b"\xd9\x5d\x01"
_SIGNATURE_BYTES: Final = 64
_CANONICAL: Final = "_:c14n"
#: Longest proof value that is read, in characters: some thousand signatures.
_MAX_VALUE: Final = 200_000


# --- What both sides do ---------------------------------------------------------------------------


def _hash(lines: Iterable[str]) -> bytes:
    return hashlib.sha256("".join(lines).encode()).digest()


def _proof_hash(options: Mapping[str, Any], document: Mapping[str, Any]) -> bytes:
    return hashlib.sha256(canonicalise(to_rdf({**options, **context_of(document)})).document).digest()


def _relabelled(quads: Iterable[Quad], labels: Mapping[str, str]) -> list[str]:
    """Lines with other labels, sorted."""
    return sorted({line((labels.get(s, s), p, labels.get(o, o), labels.get(g, g))) for s, p, o, g in quads})


@dataclass(frozen=True, slots=True)
class _Statements:
    """A document as the statements that are signed one by one (section 3.4.17)."""

    named: Mapping[str, Any]
    #: Signed label by ours.
    labels: Mapping[str, str]
    lines: Sequence[str]

    @classmethod
    def of(cls, document: Mapping[str, Any], hmac_key: bytes) -> _Statements:
        named = skolemise(document)
        quads = to_labelled_rdf(named)
        labels = {
            ours: f"{BLANK}{encode_base64url(hmac.digest(hmac_key, canonical[len(BLANK) :].encode(), 'sha256'))}"
            for ours, canonical in canonicalise(quads).labels.items()
        }
        return cls(named, labels, _relabelled(quads, labels))

    def select(self, pointers: Sequence[str]) -> tuple[list[Quad], set[int]]:
        """The quads of a selection, with our labels, and which statements they are."""
        selected = select(self.named, pointers)
        quads = [] if selected is None else to_labelled_rdf(selected)
        lines = set(_relabelled(quads, self.labels))
        places = {place for place, statement in enumerate(self.lines) if statement in lines}
        if len(places) < len(lines):
            raise refused("POINTER_SPLITS_LIST", "", "a list is disclosed whole or not at all")
        return quads, places


# --- Issuer ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Prepared:
    """A document whose base proof lacks only the issuer's signature. ``repr`` shows nothing of it."""

    #: What is to be signed, with ES256.
    to_sign: bytes = field(repr=False)
    _document: Mapping[str, Any] = field(repr=False)
    _options: Mapping[str, Any] = field(repr=False)
    _rest: Sequence[Any] = field(repr=False)

    def stored(self) -> bytes:
        """As it is kept until it is signed, and after: none of it can be made again, since its keys are forgotten."""
        return msgspec.msgpack.encode((self.to_sign, self._document, self._options, self._rest))

    @classmethod
    def of_stored(cls, stored: bytes) -> Prepared:
        """The inverse of :meth:`stored`."""
        return cls(*msgspec.msgpack.decode(stored))

    def complete(self, signature: bytes) -> dict[str, Any]:
        """The document with its base proof, for the holder alone."""
        value = encode_base64url(_BASE_HEADER + cbor.encode([signature, *self._rest]))
        return {**self._document, "proof": {**self._options, "proofValue": value}}


def prepare(
    document: Mapping[str, Any],
    *,
    mandatory: Sequence[str],
    verification_method: str,
    created: datetime,
    hmac_key: bytes,
    proof_key: Signer,
    purpose: str = ASSERTION,
) -> Prepared:
    """What is to be signed for a document without a proof.

    Args:
        document: with ``@context``, without ``proof``.
        mandatory: JSON pointers to what the holder must always show.
        verification_method: URL by which a verifier finds the issuer's public key, on P-256.
        created: instant of the proof.
        hmac_key: :data:`HMAC_KEY_BYTES` fresh random bytes.
        proof_key: a fresh key on P-256, to be forgotten once this returns.
        purpose: a verification relationship of the issuer.

    Raises:
        InvalidArgument: what canonicalising refuses; ``BAD_POINTER``; ``POINTER_SPLITS_LIST``.
        ValueError: on an HMAC key of another length, or a key of another kind.
    """
    if len(hmac_key) != HMAC_KEY_BYTES or proof_key.algorithm != ES256:
        raise ValueError("an HMAC key of 32 bytes and a key on P-256 are needed")
    options = {
        "type": TYPE,
        "cryptosuite": NAME,
        "created": instant_text(created),
        "verificationMethod": verification_method,
        "proofPurpose": purpose,
    }
    statements = _Statements.of(document, hmac_key)
    _, shown = statements.select(mandatory)
    signatures = [
        proof_key.sign(statement.encode()) for place, statement in enumerate(statements.lines) if place not in shown
    ]
    public_key = decode(multikey.encode(parse_public_jwk(proof_key.public_jwk)))
    mandatory_hash = _hash(statements.lines[place] for place in sorted(shown))
    return Prepared(
        _proof_hash(options, document) + public_key + mandatory_hash,
        document,
        options,
        [public_key, hmac_key, signatures, list(mandatory)],
    )


# --- Holder ---------------------------------------------------------------------------------------


def derive(secured: Mapping[str, Any], selective: Sequence[str]) -> dict[str, Any]:
    """What a holder shows of a document with a base proof: what is mandatory, and what pointers select.

    Raises:
        InvalidArgument: ``PROOF_MALFORMED`` for another proof; ``BAD_POINTER``; ``POINTER_SPLITS_LIST``.
    """
    document, options, value = _parts(secured)
    match _components(value, _BASE_HEADER):
        case [bytes() as signature, bytes() as key, bytes() as hmac_key, list() as signatures, list() as mandatory]:
            pass
        case _:
            raise _malformed("the base proof has other parts")
    if not all(isinstance(pointer, str) for pointer in mandatory):
        raise _malformed("a pointer is not text")
    pointers = [*mandatory, *selective]
    statements = _Statements.of(document, hmac_key)
    _, always = statements.select(mandatory)
    quads, shown = statements.select(pointers)
    others = [place for place in range(len(statements.lines)) if place not in always]
    if len(others) != len(signatures):
        raise _malformed("there is not one signature for each statement")
    order = sorted(shown)
    # The verifier gives labels from what is shown alone; it is told which signed label each of them stands for.
    labels = {
        int(canonical.removeprefix(_CANONICAL)): decode(statements.labels[ours][len(BLANK) :])
        for ours, canonical in canonicalise(quads).labels.items()
    }
    components = [
        signature,
        key,
        [one for place, one in zip(others, signatures, strict=True) if place in shown],
        dict(sorted(labels.items())),
        [number for number, place in enumerate(order) if place in always],
    ]
    revealed = select(document, pointers) or {"@context": document["@context"]}
    return {
        **revealed,
        "proof": {**options, "proofValue": encode_base64url(_DERIVED_HEADER + cbor.encode(components))},
    }


# --- Verifier -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DerivedProof(Stated):
    """A derived proof as read."""

    #: What the issuer signed: the same whatever is shown.
    to_verify: bytes = field(repr=False)
    #: The issuer's signature over it.
    signature: bytes = field(repr=False)
    _key: PublicKey = field(repr=False)
    _signed: tuple[tuple[bytes, bytes], ...] = field(repr=False)

    def verified_by(self, key: VerificationKey) -> bool:
        """Whether ``key`` is the issuer's, and every statement that is shown was signed."""
        return (
            key.algorithm == ES256
            and key.verify(self.to_verify, self.signature)
            and all(self._key.verify(statement, signature) for statement, signature in self._signed)
        )


def read(secured: Mapping[str, Any]) -> DerivedProof:
    """The derived proof of a document.

    Raises:
        InvalidArgument: ``PROOF_MISSING``; ``PROOF_MALFORMED``; what canonicalising refuses.
    """
    document, options, value = _parts(secured)
    match _components(value, _DERIVED_HEADER):
        case [bytes() as signature, bytes() as key, list() as signatures, dict() as labels, list() as mandatory]:
            pass
        case _:
            raise _malformed("the derived proof has other parts")
    proof_key = multikey.parse(encode_base58(key), field="proof.proofValue")
    if not isinstance(proof_key, PublicKey) or proof_key.algorithm != ES256:
        raise _malformed("the key made for the proof is not on P-256")
    quads = to_rdf(document)
    lines = _relabelled(quads, _signed_labels(canonicalise(quads).labels, labels))
    if not all(type(n) is int and 0 <= n < len(lines) for n in mandatory) or len(set(mandatory)) < len(mandatory):
        raise _malformed("a mandatory statement is not there")
    always = set(mandatory)
    others = [statement.encode() for place, statement in enumerate(lines) if place not in always]
    if len(others) != len(signatures) or not all(isinstance(one, bytes) for one in signatures):
        raise _malformed("there is not one signature for each statement")
    mandatory_hash = _hash(lines[place] for place in sorted(always))
    return DerivedProof(
        *stated(options),
        to_verify=_proof_hash(options, document) + key + mandatory_hash,
        signature=signature,
        _key=proof_key,
        _signed=tuple(zip(others, signatures, strict=True)),
    )


def _signed_labels(canonical: Mapping[str, str], stated_labels: Mapping[Any, Any]) -> dict[str, str]:
    """Signed label by the document's own; each blank node has one, and no two the same."""
    named = {
        f"{_CANONICAL}{number}": f"{BLANK}{encode_base64url(label)}"
        for number, label in stated_labels.items()
        if type(number) is int and isinstance(label, bytes) and len(label) == hashlib.sha256().digest_size
    }
    if len(set(named.values())) < len(stated_labels) or named.keys() != set(canonical.values()):
        raise _malformed("the labels of blank nodes are not those of what is shown")
    return {own: named[label] for own, label in canonical.items()}


def _parts(secured: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any], str]:
    """The document without its proof, the proof's options, and its value."""
    proof = secured.get("proof")
    if proof is None:
        raise refused("PROOF_MISSING", "", "the document has no proof")
    if not isinstance(proof, dict) or (proof.get("type"), proof.get("cryptosuite")) != (TYPE, NAME):
        raise refused("CRYPTOSUITE_REFUSED", "cryptosuite", f"not one proof of {NAME}")
    value = proof.get("proofValue")
    if not isinstance(value, str) or len(value) > _MAX_VALUE or not value.startswith(BASE64URL):
        raise _malformed("the value is not base64url")
    document = {name: member for name, member in secured.items() if name != "proof"}
    return document, {name: member for name, member in proof.items() if name != "proofValue"}, value


def _components(value: str, header: bytes) -> Any:
    data = decode(value, field="proof.proofValue")
    if not data.startswith(header):
        raise _malformed("the value begins otherwise: a base proof is for holders, a derived one for verifiers")
    try:
        return cbor.decode(data[len(header) :])
    except InvalidArgument as error:
        raise _malformed(error.message) from error


def _malformed(message: str) -> InvalidArgument:
    return refused("PROOF_MALFORMED", "proofValue", message)
