"""X.509 certificates of seals, XML signatures and tokens: read, never trusted here.

A certificate beside a signature says which key made it. Whether that key counts is
for whoever knows keys (the registry, a trusted list) to say.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding

from vitne.canonical import b64url, sha256
from vitne.credentials.jose import Header, PublicKey, parse_public_jwk
from vitne.errors import InvalidArgument

#: Largest certificate that is read, in bytes of DER.
MAX_CERTIFICATE: Final = 16_384
#: Most certificates of one signature.
MAX_CERTIFICATES: Final = 8
#: Most characters of base64 that a token carries of a chain: its header has to stay one that is read
#: (:data:`vitne.credentials.jose.MAX_HEADER_LENGTH`), beside what else stands there.
MAX_CARRIED: Final = 10_000
#: Shortest RSA key whose signatures count, in bits (ETSI TS 119 312).
MIN_RSA_BITS: Final = 2_048
_COORDINATE: Final = 32


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate that was read. Nothing of it is verified."""

    der: bytes = field(repr=False)
    #: For libraries that want it parsed.
    parsed: x509.Certificate = field(repr=False, compare=False)

    @property
    def base64(self) -> str:
        """DER as ``x5c`` and ``X509Certificate`` carry it."""
        return base64.b64encode(self.der).decode("ascii")

    @property
    def thumbprint(self) -> str:
        """``x5t#S256`` (RFC 7515, section 4.1.8)."""
        return b64url(sha256(self.der))

    @property
    def public_key(self) -> PublicKey | None:
        """Its key, where it is of a kind that providers sign with (P-256, Ed25519); None for any other."""
        return _signing_key(self.der)

    @classmethod
    def read(cls, der: bytes, *, field: str = "certificate") -> Certificate:
        """Read DER.

        Raises:
            InvalidArgument: ``BAD_CERTIFICATE`` for anything else, something larger than :data:`MAX_CERTIFICATE`, or a
                key that is neither EC, Ed25519, nor RSA of :data:`MIN_RSA_BITS`.
        """
        return _read(bytes(der), field)

    @classmethod
    def from_base64(cls, text: str, *, field: str = "certificate") -> Certificate:
        """Read base64 of DER, with or without line breaks.

        Raises:
            InvalidArgument: as :meth:`read`.
        """
        if len(text) > 2 * MAX_CERTIFICATE:
            raise _bad("it is too large", field)
        try:
            return _read(base64.b64decode("".join(text.split()), validate=True), field)
        except ValueError as error:
            raise _bad("it is not base64", field) from error

    @classmethod
    def of(cls, certificate: x509.Certificate) -> Certificate:
        """The same of one that is parsed already."""
        return cls(certificate.public_bytes(Encoding.DER), certificate)


def carried(chain: Sequence[Certificate]) -> tuple[Certificate, ...]:
    """What a token carries of a chain: all but the anchor, which verifiers have or don't trust.

    OpenID4VC High Assurance Interoperability Profile 1.0, section 6.1.1: the trust anchor is not in ``x5c``, and the
    certificate of the key that signs is not signed by itself.

    Returns:
        Nothing where nothing is left, or more than :data:`MAX_CARRIED` or :data:`MAX_CERTIFICATES`.
    """
    kept = tuple(each for each in chain if each.parsed.subject != each.parsed.issuer)
    if kept[:1] != tuple(chain[:1]) or len(kept) > MAX_CERTIFICATES:
        return ()
    if sum(len(each.base64) for each in kept) > MAX_CARRIED:
        return ()
    return kept


def x5c(certificates: Sequence[Certificate]) -> dict[str, list[str]]:
    """The member of a protected header (RFC 7515, section 4.1.6); nothing where there are none."""
    return {"x5c": [each.base64 for each in certificates]} if certificates else {}


def certificates_of(header: Header) -> tuple[Certificate, ...]:
    """``x5c`` of a protected header (RFC 7515, section 4.1.6); nothing where there is none.

    Raises:
        InvalidArgument: ``BAD_CERTIFICATE``, also for one whose key is not the one that ``kid`` names.
    """
    stated = header.members.get("x5c", [])
    if not isinstance(stated, list) or len(stated) > MAX_CERTIFICATES:
        raise _bad(f"x5c is no list of at most {MAX_CERTIFICATES}", "x5c")
    chain = tuple(Certificate.from_base64(str(entry), field="x5c") for entry in stated)
    if chain and ((own := chain[0].public_key) is None or own.key_id != header.key_id):
        raise _bad("the first is not of the key that kid names", "x5c")
    return chain


def require_counting_key(key: PublicKeyTypes, *, field: str) -> None:
    """Refuse a key whose seals and XML signatures don't count.

    Raises:
        InvalidArgument: ``BAD_CERTIFICATE``: it is neither EC nor RSA of :data:`MIN_RSA_BITS`.
    """
    if isinstance(key, rsa.RSAPublicKey):
        if key.key_size < MIN_RSA_BITS:
            raise _bad(f"its RSA key has {key.key_size} bits, fewer than {MIN_RSA_BITS}", field)
    elif not isinstance(key, ec.EllipticCurvePublicKey):
        raise _bad("its key is neither EC nor RSA", field)


@lru_cache(maxsize=1024)
def _read(der: bytes, field: str) -> Certificate:
    if len(der) > MAX_CERTIFICATE:
        raise _bad("it is too large", field)
    try:
        parsed = x509.load_der_x509_certificate(der)
        key = parsed.public_key()
    except Exception as error:  # the parser's errors have no common base
        raise _bad("it can't be read", field) from error
    if not isinstance(key, ed25519.Ed25519PublicKey):
        require_counting_key(key, field=field)
    return Certificate(der, parsed)


@lru_cache(maxsize=1024)
def _signing_key(der: bytes) -> PublicKey | None:
    key = x509.load_der_x509_certificate(der).public_key()
    if isinstance(key, ed25519.Ed25519PublicKey):
        return parse_public_jwk({"kty": "OKP", "crv": "Ed25519", "x": b64url(key.public_bytes_raw())})
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        return None
    numbers = key.public_numbers()
    x, y = (b64url(number.to_bytes(_COORDINATE)) for number in (numbers.x, numbers.y))
    return parse_public_jwk({"kty": "EC", "crv": "P-256", "x": x, "y": y})


def _bad(why: str, field: str) -> InvalidArgument:
    return InvalidArgument(
        "BAD_CERTIFICATE",
        f"the signer's certificate is not accepted: {why}",
        field=field,
        rule=f"RFC 5280, in DER, at most {MAX_CERTIFICATE} bytes; EC, Ed25519, or RSA of {MIN_RSA_BITS} bits and more",
        remedy="sign with a certificate of that kind",
    )
