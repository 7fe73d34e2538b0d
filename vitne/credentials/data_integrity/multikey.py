"""Public keys as Multikey text, and as did:key (Controlled Identifiers 1.0, section 2.2.2; Data Integrity suites)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA384

from vitne.canonical import b64url
from vitne.credentials.data_integrity.multibase import decode, encode_base58
from vitne.credentials.jose import ED25519, PublicKey, parse_public_jwk
from vitne.errors import InvalidArgument

#: ECDSA with P-384 and SHA-384: verified, never signed with.
ES384: Final = "ES384"
#: What a did:key begins with.
DID_KEY: Final = "did:key:"

# Multicodec prefixes of public keys.
_ED25519_PREFIX: Final = b"\xed\x01"
_P256_PREFIX: Final = b"\x80\x24"
_P384_PREFIX: Final = b"\x81\x24"
_P384_BYTES: Final = 48
_EVEN, _ODD = 0x02, 0x03


class VerificationKey(Protocol):
    """A public key that knows its algorithm."""

    @property
    def algorithm(self) -> str:
        """``Ed25519``, ``ES256`` or ``ES384``."""
        ...

    def verify(self, data: bytes, signature: bytes) -> bool:
        """Whether ``signature`` is this key's over ``data``; never raises."""
        ...


@dataclass(frozen=True, slots=True)
class P384Key:
    """A public key on P-384, which some foreign issuers sign with."""

    _key: ec.EllipticCurvePublicKey = field(repr=False)
    algorithm: str = ES384

    def verify(self, data: bytes, signature: bytes) -> bool:
        """Whether ``signature`` (96 bytes, r‖s) is this key's over ``data``; never raises."""
        if len(signature) != 2 * _P384_BYTES:
            return False
        r, s = int.from_bytes(signature[:_P384_BYTES]), int.from_bytes(signature[_P384_BYTES:])
        try:
            self._key.verify(encode_dss_signature(r, s), data, ec.ECDSA(SHA384()))
        except InvalidSignature:
            return False
        return True


def encode(key: PublicKey) -> str:
    """A key as Multikey text."""
    raw = key.raw()
    if key.algorithm == ED25519:
        return encode_base58(_ED25519_PREFIX + raw)
    x, y = raw[1:33], raw[33:]
    return encode_base58(_P256_PREFIX + bytes((_ODD if y[-1] & 1 else _EVEN,)) + x)


def parse(text: str, *, field: str = "publicKeyMultibase") -> PublicKey | P384Key:
    """The key of Multikey text.

    Raises:
        InvalidArgument: ``BAD_MULTIKEY`` for another kind of key, or bytes that are none; ``BAD_MULTIBASE``.
    """
    data = decode(text, field=field)
    prefix, key = data[:2], data[2:]
    try:
        if prefix == _ED25519_PREFIX and len(key) == 32:
            return parse_public_jwk({"kty": "OKP", "crv": "Ed25519", "x": b64url(key)}, field=field)
        if prefix == _P256_PREFIX:
            return _p256(ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), _compressed(key, 32)), field)
        if prefix == _P384_PREFIX:
            point = _compressed(key, _P384_BYTES)
            return P384Key(ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP384R1(), point))
        raise ValueError("another kind of key")
    except ValueError as error:
        raise InvalidArgument(
            "BAD_MULTIKEY",
            "not a public key of Ed25519, P-256 or P-384",
            field=field,
            rule="Controlled Identifiers 1.0, section 2.2.2: Multikey",
            remedy="send a multicodec public key with its prefix, a point compressed",
        ) from error


def _compressed(key: bytes, size: int) -> bytes:
    if len(key) != size + 1 or key[0] not in (_EVEN, _ODD):
        raise ValueError("not a compressed point")
    return key


def _p256(key: ec.EllipticCurvePublicKey, field: str) -> PublicKey:
    numbers = key.public_numbers()
    x, y = (b64url(number.to_bytes(32)) for number in (numbers.x, numbers.y))
    return parse_public_jwk({"kty": "EC", "crv": "P-256", "x": x, "y": y}, field=field)


def did_key(key: PublicKey) -> str:
    """A key as a did:key identifier, whose only verification method is ``did:key:MULTIKEY#MULTIKEY``."""
    return f"{DID_KEY}{encode(key)}"


def parse_did_key(did: str, *, field: str = "") -> PublicKey | P384Key:
    """The key of a did:key identifier, or of its verification method.

    Raises:
        InvalidArgument: ``BAD_MULTIKEY``; ``BAD_MULTIBASE``.
    """
    text, _, fragment = did.removeprefix(DID_KEY).partition("#")
    if not did.startswith(DID_KEY) or fragment not in ("", text):
        raise InvalidArgument(
            "BAD_MULTIKEY",
            "not a did:key, or a method that is not its own",
            field=field,
            rule="the did:key method: the key's text, and the same again behind #",
            remedy="send did:key:z…",
        )
    return parse(text, field=field)
