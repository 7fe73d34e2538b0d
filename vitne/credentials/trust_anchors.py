"""Certificate chains held against trust anchors that somebody configured (RFC 5280, section 6).

Paths are built and verified by the library: signatures, instants, who may sign for whom, and how long a path may be.
What is asked here beside it is what a seal's chain has to keep, and what tells people which of this it does not.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Final
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509.oid import NameOID
from cryptography.x509.verification import ExtensionPolicy, PolicyBuilder, Store, VerificationError

from vitne.credentials.certificates import Certificate
from vitne.errors import InvalidArgument
from vitne.identifiers import OrganisationId

#: Most authorities between a signing key's certificate and its anchor.
MAX_DEPTH: Final = 6
#: Largest file of anchors, in bytes.
MAX_ANCHORS_FILE: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class TrustAnchors:
    """The authorities whose certificates count."""

    _certificates: tuple[x509.Certificate, ...] = field(repr=False)

    @classmethod
    def parse(cls, pem: bytes) -> TrustAnchors:
        """Read certificates in PEM.

        Raises:
            InvalidArgument: ``BAD_TRUST_ANCHORS`` for anything else, and for none at all.
        """
        try:
            if len(pem) > MAX_ANCHORS_FILE:
                raise ValueError("too large")
            return cls(tuple(x509.load_pem_x509_certificates(pem)))
        except ValueError as error:
            raise InvalidArgument(
                "BAD_TRUST_ANCHORS",
                "not a file of certificates",
                rule=f"one or more certificates in PEM, {MAX_ANCHORS_FILE} bytes at most",
                remedy="put the certificates of the authorities that are trusted into one file",
            ) from error

    def require(
        self, chain: Sequence[Certificate], *, at: datetime, body: OrganisationId, issuer_uri: str = ""
    ) -> None:
        """Refuse a chain that does not lead to an anchor.

        Args:
            chain: the signing key's certificate, then each with that of who issued it behind it; the anchor itself may
                be left out.
            at: when it was signed: certificates end, and what was signed before stands.
            body: who is said to have signed. A certificate that names an organisation by its number names this one.
            issuer_uri: how a token names its issuer (``iss``). A certificate that is for addresses is for this one.

        Raises:
            InvalidArgument: ``CHAIN_OUT_OF_ORDER``, ``CERTIFICATE_NOT_VALID_THEN``, ``CERTIFICATE_OF_ANOTHER``,
                ``CHAIN_UNTRUSTED``.
        """
        require_form(chain, at=at, body=body, issuer_uri=issuer_uri)
        certificates = [each.parsed for each in chain]
        # Any extension that is not critical may stand in a signing certificate; authorities are held to what the
        # library asks of them: basic constraints, key usage, keys and signatures of some strength.
        builder = PolicyBuilder().store(Store(list(self._certificates))).time(at).max_chain_depth(MAX_DEPTH)
        verifier = builder.extension_policies(
            ca_policy=ExtensionPolicy.webpki_defaults_ca(), ee_policy=ExtensionPolicy.permit_all()
        ).build_client_verifier()
        # A path ends before an anchor, so an anchor that came along is no part of it.
        between = [each for each in certificates[1:] if each not in self._certificates]
        try:
            verifier.verify(certificates[0], between)
        except VerificationError as error:
            raise _refused("CHAIN_UNTRUSTED", "its certificate leads to no trust anchor that is configured") from error


def require_form(chain: Sequence[Certificate], *, at: datetime, body: OrganisationId, issuer_uri: str = "") -> None:
    """Refuse a chain that nobody takes, whichever anchors count there.

    Args:
        chain: as for :meth:`TrustAnchors.require`, as are the others.
        at: when it was signed.
        body: who is said to have signed.
        issuer_uri: how a token names its issuer.

    Raises:
        InvalidArgument: ``CHAIN_OUT_OF_ORDER``, ``CERTIFICATE_NOT_VALID_THEN``, ``CERTIFICATE_OF_ANOTHER``.
    """
    certificates = [each.parsed for each in chain]
    _in_order(certificates)
    _valid(certificates, at)
    _named(certificates[0], body)
    if issuer_uri:
        _addressed(certificates[0], issuer_uri)


def _in_order(certificates: Sequence[x509.Certificate]) -> None:
    for one, above in pairwise(certificates):
        try:
            one.verify_directly_issued_by(above)
        except (ValueError, TypeError, InvalidSignature) as error:
            raise _refused(
                "CHAIN_OUT_OF_ORDER", "a certificate was not issued by the one that is put behind it"
            ) from error


def _valid(certificates: Iterable[x509.Certificate], at: datetime) -> None:
    for certificate in certificates:
        if not certificate.not_valid_before_utc <= at <= certificate.not_valid_after_utc:
            raise _refused("CERTIFICATE_NOT_VALID_THEN", f"a certificate did not hold on {at:%Y-%m-%d}")


def _named(certificate: x509.Certificate, body: OrganisationId) -> None:
    """ETSI EN 319 412-1, section 5.1.4: a kind of register, its country, a hyphen and the number there."""
    numbers = {
        str(attribute.value).partition("-")[2]
        for attribute in certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_IDENTIFIER)
    }
    if numbers and numbers != {str(body).partition(":")[2]}:
        raise _refused("CERTIFICATE_OF_ANOTHER", "its certificate names another organisation")


def _addressed(certificate: x509.Certificate, issuer_uri: str) -> None:
    """``iss`` is among the certificate's alternative names, as URI or by its host, where it has any of these kinds.

    Earlier drafts of SD-JWT VC ("X.509 Certificates") and of its High Assurance Interoperability Profile ask for one of
    the two; later ones take the certificate's subject as the issuer, which is what seals' certificates have.
    """
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType) as error:
        raise _refused("CERTIFICATE_OF_ANOTHER", "its certificate's alternative names can't be read") from error
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    hosts = [host.lower() for host in names.get_values_for_type(x509.DNSName)]
    if (uris or hosts) and issuer_uri not in uris and urlsplit(issuer_uri).hostname not in hosts:
        raise _refused("CERTIFICATE_OF_ANOTHER", "its certificate is for other addresses than the issuer's")


def _refused(reason: str, message: str) -> InvalidArgument:
    return InvalidArgument(
        reason,
        message,
        field="x5c",
        rule="RFC 5280, section 6: a path of certificates from the signing key to a configured trust anchor",
        remedy="sign with a certificate of an authority that the verifier trusts, and send the whole chain in order",
    )
