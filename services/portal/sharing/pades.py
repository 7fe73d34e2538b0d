"""A signature on a PDF: PAdES (ETSI EN 319 142-1, level B-B), by a key in custody.

It certifies the document: nothing may be added or changed after it. It carries no time stamp of somebody else's: when
the credentials inside were issued is for the log to say.
"""

from __future__ import annotations

import io
from datetime import datetime
from typing import Any, Final

from asn1crypto import x509
from asn1crypto.algos import SignedDigestAlgorithm
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
from pyhanko.sign import signers
from pyhanko.sign.fields import MDPPerm, SigFieldSpec, SigSeedSubFilter
from pyhanko_certvalidator.registry import SimpleCertificateStore

from vitne.credentials.certificates import Certificate
from vitne.credentials.jose import Signer

#: Name of the signature's field.
FIELD: Final = "Signature"
_DIGEST: Final = "sha256"
_HALF: Final = 32
#: Longest signature of P-256 in DER.
_DER_LENGTH: Final = 72


def sign(pdf: bytes, signer: Signer, chain: tuple[Certificate, ...], now: datetime) -> bytes:
    """The same document with a signature appended. No event loop may run in the calling thread.

    Args:
        pdf: without a signature.
        signer: of ES256.
        chain: the key's own certificate first.
        now: time that the signature states.
    """
    metadata = signers.PdfSignatureMetadata(
        field_name=FIELD,
        md_algorithm=_DIGEST,
        subfilter=SigSeedSubFilter.PADES,
        certify=True,
        docmdp_permissions=MDPPerm.NO_CHANGES,
    )
    signed: io.BytesIO = _AtInstant(
        metadata, _Custodian(signer, chain), new_field_spec=SigFieldSpec(FIELD), at=now
    ).sign_pdf(IncrementalPdfFileWriter(io.BytesIO(pdf)))
    return signed.getvalue()


class _Custodian(signers.Signer):
    """Asks custody for the signature."""

    def __init__(self, signer: Signer, chain: tuple[Certificate, ...]) -> None:
        own, *others = (x509.Certificate.load(certificate.der) for certificate in chain)
        registry = SimpleCertificateStore()  # type: ignore[no-untyped-call]
        registry.register_multiple(others)
        super().__init__(
            signing_cert=own,
            cert_registry=registry,
            signature_mechanism=SignedDigestAlgorithm({"algorithm": "sha256_ecdsa"}),
        )
        self._signer = signer

    async def async_sign_raw(self, data: bytes, digest_algorithm: str, dry_run: bool = False) -> bytes:
        """A signature in DER (RFC 3279, section 2.2.3); JOSE has its two halves one after the other."""
        if digest_algorithm != _DIGEST:
            raise ValueError(f"documents are signed with {_DIGEST}")
        if dry_run:
            return bytes(_DER_LENGTH)
        raw = self._signer.sign(data)
        return encode_dss_signature(int.from_bytes(raw[:_HALF]), int.from_bytes(raw[_HALF:]))


class _AtInstant(signers.PdfSigner):
    """States the clock's time, where the library would take the machine's."""

    def __init__(self, *arguments: Any, at: datetime, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._at = at

    def init_signing_session(self, pdf_out: Any, existing_fields_only: bool = False) -> Any:
        session = super().init_signing_session(pdf_out, existing_fields_only=existing_fields_only)
        session.system_time = self._at
        return session
