"""A certificate authority for development: certificates of brokers, of services and of their clients.

Everything is PEM, which Kafka reads as key and trust store (KIP-651) and everybody
else understands. A certificate and its key share one file.
"""

from __future__ import annotations

import ipaddress
import os
import re
import ssl
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Final
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from vitne.clock import Clock
from vitne.dev.ports import LOOPBACK
from vitne.errors import InvalidArgument

#: Common name of the authority.
AUTHORITY_NAME: Final = "Vitne development authority"
#: The authority lives as long as the folder.
AUTHORITY_LIFETIME: Final = timedelta(days=3650)
#: Certificates are issued anew for each run.
CERTIFICATE_LIFETIME: Final = timedelta(days=90)
#: Clocks of clients may be behind.
BACKDATED: Final = timedelta(minutes=5)

#: A principal is the common name of its certificate (at most 64 characters, RFC 5280, ub-common-name), made of
#: characters that need no escape in a distinguished name (RFC 4514), since the broker maps that name by a pattern.
PRINCIPAL_CHARACTERS: Final = "[A-Za-z0-9._:-]+"
_PRINCIPAL = re.compile(rf"(?=.{{1,64}}\Z){PRINCIPAL_CHARACTERS}\Z", re.ASCII)


class CertificateAuthority:
    """The authority in a folder; made when missing, and kept.

    Args:
        folder: holds ``authority.pem``, its key, and ``<principal>.pem`` for each principal; for the owner only.
        clock: dates the certificates.
    """

    def __init__(self, folder: Path, clock: Clock) -> None:
        self.folder = folder
        self._clock = clock
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        both = folder / "authority-with-key.pem"
        if not both.exists():
            _write_private(both, self._make())
        pem = both.read_bytes()
        self._certificate = x509.load_pem_x509_certificate(pem)
        key = serialization.load_pem_private_key(pem, None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)  # noqa: S101 - this class wrote it
        self._key = key
        self.certificate_path.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))

    @property
    def certificate_path(self) -> Path:
        """The authority's certificate: what everybody trusts."""
        return self.folder / "authority.pem"

    def path(self, principal: str) -> Path:
        """Where the principal's certificate and key are, once issued.

        Raises:
            InvalidArgument: ``BAD_PRINCIPAL``.
        """
        if not _PRINCIPAL.match(principal):
            raise InvalidArgument(
                "BAD_PRINCIPAL",
                f"{principal!r} can't be a principal's name",
                field="principal",
                rule="1 to 64 of letters, digits, '.', '_', ':' and '-'",
            )
        return self.folder / "issued" / f"{quote(principal, safe='')}.pem"

    def issue(self, principal: str, *, server: bool = False, uris: Iterable[str] = ()) -> Path:
        """Issue a certificate with a new key; returns the file that holds both, in place of an earlier one.

        Args:
            principal: becomes the common name.
            server: valid also for a server, at 127.0.0.1 and localhost.
            uris: further names of the principal, such as ``spiffe://vitne.example/issuer``.

        Raises:
            InvalidArgument: ``BAD_PRINCIPAL``.
        """
        path = self.path(principal)
        key = ec.generate_private_key(ec.SECP256R1())
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = self._builder(principal, key.public_key(), CERTIFICATE_LIFETIME).issuer_name(
            self._certificate.subject
        )
        names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(uri) for uri in uris]
        if server:
            usages.append(ExtendedKeyUsageOID.SERVER_AUTH)
            names += [x509.IPAddress(ipaddress.ip_address(LOOPBACK)), x509.DNSName("localhost")]
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        certificate = (
            builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(authority=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
                critical=False,
            )
            .sign(self._key, hashes.SHA256())
        )
        path.parent.mkdir(mode=0o700, exist_ok=True)
        _write_private(path, _pem(certificate, key))
        return path

    def context(self, identity: Path | None) -> ssl.SSLContext:
        """A client's TLS settings: trusts this authority alone, checks the host's name, shows ``identity``.

        Args:
            identity: a file of :meth:`issue`; None for a client that has no certificate.
        """
        context = ssl.create_default_context(cafile=str(self.certificate_path))
        if identity is not None:
            context.load_cert_chain(identity)
        return context

    def _make(self) -> bytes:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = self._builder(AUTHORITY_NAME, key.public_key(), AUTHORITY_LIFETIME)
        certificate = (
            builder.issuer_name(_name(AUTHORITY_NAME))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(authority=True), critical=True)
            .sign(key, hashes.SHA256())
        )
        return _pem(certificate, key)

    def _builder(
        self, common_name: str, key: ec.EllipticCurvePublicKey, lifetime: timedelta
    ) -> x509.CertificateBuilder:
        now = self._clock.now()
        return (
            x509.CertificateBuilder()
            .subject_name(_name(common_name))
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - BACKDATED)
            .not_valid_after(now + lifetime)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _key_usage(*, authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> bytes:
    # PKCS #8 is the only form of a key that Kafka reads.
    return certificate.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write_private(path: Path, content: bytes) -> None:
    """Put the file there whole, or not at all, readable by the owner only."""
    unfinished = path.with_name(f"{path.name}.{os.getpid()}")
    unfinished.unlink(missing_ok=True)
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    unfinished.replace(path)
