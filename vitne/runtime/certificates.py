"""Certificates of organisations' signing keys, which seals, XML signatures and signed documents carry.

What says that a provider's key counts is the registry, also for ELMO and EDC; the certificate is what readers
elsewhere look for. In operation it comes from an authority (a qualified seal, say) as a file. In
development an authority of the service's own makes one.
"""

from __future__ import annotations

import asyncio
import os
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Protocol

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from vitne.canonical import from_b64url
from vitne.clock import Clock
from vitne.credentials.certificates import MAX_CERTIFICATE, Certificate
from vitne.credentials.jose import ED25519, ES256, Signer
from vitne.credentials.model import AwardingBody
from vitne.errors import FailedPrecondition
from vitne.runtime.custody import KeyCustody

#: Label of the key of the authority in development.
AUTHORITY: Final = "development.seal-authority"
#: How long its certificates hold.
LIFETIME: Final = timedelta(days=365)
#: Certificates hold from a little before they are made, since clocks differ.
_EARLIER: Final = timedelta(minutes=5)
_MAX_FILE: Final = 8 * MAX_CERTIFICATE
_MAX_COMMON_NAME: Final = 64
_HALF: Final = 32
# DER: SEQUENCE, BIT STRING, and AlgorithmIdentifier of ecdsa-with-SHA256 (RFC 5758, section 3.2).
_SEQUENCE: Final = 0x30
_BIT_STRING: Final = 0x03
_ECDSA_SHA256: Final = bytes.fromhex("300a06082a8648ce3d040302")


class Certificates(Protocol):
    """Answers the certificates of signing keys."""

    async def chain(self, signer: Signer, body: AwardingBody) -> tuple[Certificate, ...]:
        """The key's own certificate, then those between it and a trusted one.

        Raises:
            FailedPrecondition: ``NO_CERTIFICATE``.
        """
        ...


class CertificateFiles:
    """Chains as PEM files, one a key: ``<thumbprint>.pem``, the key's own certificate first.

    Args:
        folder: where they are; None: nowhere.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        #: By key: what the file was when it was read, and what was read.
        self._known: dict[str, tuple[tuple[int, ...], tuple[Certificate, ...]]] = {}

    async def chain(self, signer: Signer, body: AwardingBody) -> tuple[Certificate, ...]:
        """See :class:`Certificates`. The file is looked at each time, so that a renewed one counts at once."""
        return await asyncio.to_thread(self._read, signer.key_id)

    def _read(self, key_id: str) -> tuple[Certificate, ...]:
        try:
            if self._folder is None:
                raise FileNotFoundError
            with (self._folder / f"{key_id}.pem").open("rb") as file:
                about = os.fstat(file.fileno())
                version = about.st_ino, about.st_mtime_ns, about.st_size
                known, chain = self._known.get(key_id, ((), ()))
                if known == version:
                    return chain
                parsed = x509.load_pem_x509_certificates(file.read(_MAX_FILE))
        except (OSError, ValueError) as error:
            raise _missing(key_id, "no file in PEM has one") from error
        chain = tuple(map(Certificate.of, parsed))
        key = chain[0].public_key
        if key is None or key.key_id != key_id:
            raise _missing(key_id, "the first one in its file is of another key")
        self._known[key_id] = version, chain
        return chain


class DevelopmentCertificates:
    """Makes certificates, signed by an authority whose key is in the same custody.

    Args:
        custody: where the authority's key is, or is made.
        clock: dates the certificates.
    """

    def __init__(self, custody: KeyCustody, clock: Clock) -> None:
        self._custody = custody
        self._clock = clock
        self._made: dict[str, tuple[datetime, tuple[Certificate, ...]]] = {}

    async def chain(self, signer: Signer, body: AwardingBody) -> tuple[Certificate, ...]:
        """See :class:`Certificates`."""
        now = self._clock.now()
        until, chain = self._made.get(signer.key_id, (now, ()))
        if now >= until:
            authority = await asyncio.to_thread(self._custody.ensure, AUTHORITY, ES256)
            ca = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Vitne seal authority (development)")])
            chain = (
                _certificate(_name(body), signer, ca, authority, now, uri=body.issuer_uri),
                _certificate(ca, authority, ca, authority, now, authority=True),
            )
            self._made[signer.key_id] = now + LIFETIME / 2, chain
        return chain


def _name(body: AwardingBody) -> x509.Name:
    called = next(iter(body.name.values()))
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, body.country),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, called[:_MAX_COMMON_NAME]),
            # ETSI EN 319 412-1, section 5.1.4: a number of the national trade register.
            x509.NameAttribute(NameOID.ORGANIZATION_IDENTIFIER, f"NTR{body.id.country}-{str(body.id).split(':')[1]}"),
            x509.NameAttribute(NameOID.COMMON_NAME, called[:_MAX_COMMON_NAME]),
        ]
    )


def _certificate(
    subject: x509.Name,
    key: Signer,
    issuer: x509.Name,
    by: Signer,
    now: datetime,
    *,
    authority: bool = False,
    uri: str = "",
) -> Certificate:
    """A certificate whose signature comes from custody: the library makes the part that is signed."""
    public = _public(key)
    usage = x509.KeyUsage(
        digital_signature=not authority,
        content_commitment=not authority,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _EARLIER)
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(_public(by)), critical=False)
    )
    if uri:  # SD-JWT VC: what the certificate is for, where a token names its issuer by an address.
        names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)])
        builder = builder.add_extension(names, critical=False)
    # Signed with a key that nobody keeps, for its bytes to be signed: only custody has the real one.
    unsigned = builder.sign(ec.generate_private_key(ec.SECP256R1()), SHA256()).tbs_certificate_bytes
    raw = by.sign(unsigned)
    signature = encode_dss_signature(int.from_bytes(raw[:_HALF]), int.from_bytes(raw[_HALF:]))
    der = _der(_SEQUENCE, unsigned + _ECDSA_SHA256 + _der(_BIT_STRING, b"\0" + signature))
    return Certificate.read(der)


def _public(signer: Signer) -> ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey:
    if signer.algorithm == ED25519:
        return ed25519.Ed25519PublicKey.from_public_bytes(from_b64url(signer.public_jwk["x"]))
    point = b"\x04" + b"".join(from_b64url(signer.public_jwk[name]) for name in ("x", "y"))
    return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)


def _der(tag: int, content: bytes) -> bytes:
    """One element in the Distinguished Encoding Rules (X.690, section 8.1)."""
    length = len(content)
    if length < 0x80:
        return bytes((tag, length)) + content
    octets = length.to_bytes((length.bit_length() + 7) // 8)
    return bytes((tag, 0x80 | len(octets))) + octets + content


def pem(chain: tuple[Certificate, ...]) -> bytes:
    """A chain as :class:`CertificateFiles` reads it."""
    return b"".join(certificate.parsed.public_bytes(Encoding.PEM) for certificate in chain)


def _missing(key_id: str, why: str) -> FailedPrecondition:
    return FailedPrecondition(
        "NO_CERTIFICATE",
        f"the signing key has no certificate: {why}",
        field="formats",
        rule="ELMO, European Digital Credentials and signed documents carry the signing key's certificate",
        remedy="the operator puts the chain, in PEM, into VITNE_CERTIFICATES as <thumbprint of the key>.pem",
        metadata={"key": key_id},
    )
