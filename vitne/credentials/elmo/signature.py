"""The enveloped XML signature of an ELMO document (XML Signature Syntax and Processing 1.1; schema, ``Signature``).

One reference with ``URI=""``, the certificate in ``KeyInfo``, ECDSA with SHA-256. What is
read may be signed with RSA, too, and with any SHA-2 from 256 bits; never with SHA-1.
signxml does both; what it must not accept is refused here before it is asked.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from lxml import etree
from signxml.algorithms import CanonicalizationMethod, DigestAlgorithm, SignatureConstructionMethod, SignatureMethod
from signxml.exceptions import SignXMLException
from signxml.signer import XMLSigner
from signxml.verifier import SignatureConfiguration, XMLVerifier

from vitne.credentials.certificates import MAX_CERTIFICATES, Certificate, require_counting_key
from vitne.credentials.elmo.names import DSIG
from vitne.credentials.elmo.reading import Document, parse
from vitne.credentials.elmo.writing import Node, write
from vitne.credentials.jose import ES256, PublicKey, Signer
from vitne.errors import InvalidArgument

#: Signature methods that count. RSA keys are checked for their size as their certificate is read.
METHODS: Final = frozenset(
    {
        SignatureMethod.ECDSA_SHA256,
        SignatureMethod.ECDSA_SHA384,
        SignatureMethod.ECDSA_SHA512,
        SignatureMethod.RSA_SHA256,
        SignatureMethod.RSA_SHA384,
        SignatureMethod.RSA_SHA512,
    }
)
#: Digests that count.
DIGESTS: Final = frozenset({DigestAlgorithm.SHA256, DigestAlgorithm.SHA384, DigestAlgorithm.SHA512})
_CANONICAL: Final = CanonicalizationMethod.CANONICAL_XML_1_0
#: What may be done to the document before it is hashed: nothing that leaves a part of it out.
_TRANSFORMS: Final = frozenset(
    {
        SignatureConstructionMethod.enveloped.value,
        *(method.value for method in CanonicalizationMethod if not method.value.endswith("#WithComments")),
    }
)
_P256_BYTES: Final = 32
# Four characters for three bytes, padded: what a lenient reader skips would make many texts of one signature.
_BASE64: Final = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")
_OPEN: Final = b"<ds:SignatureValue>"
_CLOSE: Final = b"</ds:SignatureValue>"


@dataclass(frozen=True, slots=True)
class Prepared:
    """A document before its signature: what to store, then what to sign."""

    #: Canonical ``SignedInfo``, which holds the document's digest.
    signing_input: bytes
    #: The document up to the signature's value, and from there on.
    head: bytes = field(repr=False)
    tail: bytes = field(repr=False)

    def stored(self) -> bytes:
        """The same as bytes, to be kept: XML has no NUL."""
        return b"\0".join((self.signing_input, self.head, self.tail))

    @classmethod
    def of_stored(cls, stored: bytes) -> Prepared:
        """The inverse of :meth:`stored`."""
        return cls(*stored.split(b"\0"))

    def complete(self, signature: bytes) -> bytes:
        """The signed document in its canonical form; ``signature`` is 64 bytes, raw r‖s (RFC 4050, section 3.3)."""
        return self.head + base64.b64encode(signature) + self.tail


def prepare(
    forest: Sequence[Node], *, certificates: Sequence[Certificate], salt: bytes, at: datetime | None = None
) -> Prepared:
    """What is to be signed with the key of the first certificate, under ECDSA with SHA-256.

    Args:
        forest: what was achieved, all by one learner.
        certificates: the signer's, then those between it and a trusted one.
        salt: :data:`vitne.credentials.elmo.writing.SALT_BYTES` fresh random bytes.
        at: when the document is made; None: as the newest of it is issued.

    Raises:
        InvalidArgument: as :func:`vitne.credentials.elmo.writing.write`; ``BAD_CERTIFICATE`` for a key that is not
            P-256.
    """
    key = certificates[0].public_key if certificates else None
    if key is None or key.algorithm != ES256:
        raise InvalidArgument(
            "BAD_CERTIFICATE",
            "the signer's certificate is missing, or not one of a P-256 key",
            field="certificates",
            rule="documents are signed with ECDSA over P-256",
            remedy="give the certificate of the signing key, and the chain after it",
        )
    capture = _Capture()
    document = _signer().sign(
        write(forest, salt, at),
        key=capture,  # type: ignore[arg-type]
        key_info=_key_info(certificates),
    )
    head, opening, rest = etree.tostring(document, method="c14n", with_comments=False).rpartition(_OPEN)
    _, closing, tail = rest.partition(_CLOSE)
    return Prepared(capture.signed, head + opening, closing + tail)


def sign(
    forest: Sequence[Node],
    signer: Signer,
    *,
    certificates: Sequence[Certificate],
    salt: bytes,
    at: datetime | None = None,
) -> bytes:
    """A signed ELMO document. Arguments and refusals are :func:`prepare`'s; refuses another key's certificate, too."""
    prepared = prepare(forest, certificates=certificates, salt=salt, at=at)
    key = certificates[0].public_key
    if signer.algorithm != ES256 or key is None or key.key_id != signer.key_id:
        raise InvalidArgument(
            "BAD_CERTIFICATE",
            "the signer's certificate is of another key",
            field="certificates",
            rule="the first certificate is that of the signing key",
            remedy="give the certificate of the signing key, and the chain after it",
        )
    return prepared.complete(signer.sign(prepared.signing_input))


class _Capture:
    """Stands where signxml expects a private key: the real one may be in custody, and is asked later."""

    key_size: Final = 8 * _P256_BYTES

    def __init__(self) -> None:
        self.signed = b""

    def sign(self, data: bytes, signature_algorithm: ec.ECDSA) -> bytes:
        """Keep what is to be signed; the value is replaced by :meth:`Prepared.complete`."""
        self.signed = data
        return encode_dss_signature(1, 1)


@lru_cache(maxsize=1)
def _signer() -> XMLSigner:
    return XMLSigner(
        method=SignatureConstructionMethod.enveloped,
        signature_algorithm=SignatureMethod.ECDSA_SHA256,
        digest_algorithm=DigestAlgorithm.SHA256,
        c14n_algorithm=_CANONICAL,
    )


def _key_info(certificates: Sequence[Certificate]) -> etree._Element:
    info = etree.Element(f"{{{DSIG}}}KeyInfo", nsmap={"ds": DSIG})
    data = etree.SubElement(info, f"{{{DSIG}}}X509Data")
    for certificate in certificates:
        etree.SubElement(data, f"{{{DSIG}}}X509Certificate").text = certificate.base64
    return info


# --- Reading --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Signed:
    """A signed document as it came; the signature is *not* verified yet."""

    document: Document
    #: From ``KeyInfo``: the signer's, as the document says, then its chain.
    certificates: tuple[Certificate, ...]

    @property
    def key_id(self) -> str:
        """RFC 7638 thumbprint of the key that it says to be signed with; empty for one that is not P-256."""
        key = self.certificates[0].public_key
        return key.key_id if key else ""

    def verified_by(self, key: PublicKey) -> bool:
        """Whether ``key`` signed it, all of it."""
        own = self.certificates[0].public_key
        return own is not None and own.key_id == key.key_id and self.verified()

    def verified(self) -> bool:
        """Whether the key of its own certificate signed it, all of it. Whether that key counts is another question."""
        at = self.document.generated_at
        return _verified(self.document.canonical, self.certificates[0], at)


def parse_signed(data: bytes) -> Signed:
    """Read a signed document; no key is touched.

    Raises:
        InvalidArgument: as :func:`vitne.credentials.elmo.reading.parse`; ``ELMO_NOT_SIGNED``; ``ALGORITHM_REFUSED``
            for SHA-1 and whatever else is not among :data:`METHODS` and :data:`DIGESTS`; ``SIGNATURE_MALFORMED`` for
            a signature that does not cover the whole document, or hides a part of it; ``BAD_CERTIFICATE``.
    """
    document = parse(data)
    signature = document.signature
    info = _only(signature, "SignedInfo")
    reference = _only(info, "Reference")
    if reference.get("URI") != "":
        raise _malformed("it does not refer to the whole document", "Reference")
    _known(_only(info, "SignatureMethod"), {method.value for method in METHODS})
    _known(_only(reference, "DigestMethod"), {digest.value for digest in DIGESTS})
    transforms = [step.get("Algorithm", "") for step in reference.iterfind(f"{{{DSIG}}}Transforms/{{{DSIG}}}Transform")]
    if SignatureConstructionMethod.enveloped.value not in transforms or not _TRANSFORMS.issuperset(transforms):
        raise _malformed("it is made over something else than the document around it", "Transforms")
    if _only(info, "CanonicalizationMethod").get("Algorithm") not in _TRANSFORMS:
        raise _malformed("its canonical form is not one that is known here", "CanonicalizationMethod")
    if any(len(step) for step in reference.iter(f"{{{DSIG}}}Transform", f"{{{DSIG}}}CanonicalizationMethod")):
        raise _malformed("a transform has parameters", "Transform")
    value = "".join((_only(signature, "SignatureValue").text or "").split())
    if not _BASE64.fullmatch(value) or base64.b64encode(base64.b64decode(value)).decode("ascii") != value:
        raise _malformed("its value is not base64", "SignatureValue")
    encoded = signature.findall(f"{{{DSIG}}}KeyInfo/{{{DSIG}}}X509Data/{{{DSIG}}}X509Certificate")
    if not 0 < len(encoded) <= MAX_CERTIFICATES:
        raise _malformed(f"it comes with {len(encoded)} certificates", "KeyInfo")
    certificates = tuple(Certificate.from_base64(item.text or "", field="elmo/Signature/KeyInfo") for item in encoded)
    require_counting_key(certificates[0].parsed.public_key(), field="elmo/Signature/KeyInfo")
    return Signed(document, certificates)


def _verified(canonical: bytes, certificate: Certificate, at: datetime) -> bool:
    configuration = SignatureConfiguration(
        location="./", signature_methods=METHODS, digest_algorithms=DIGESTS, verification_time=at
    )
    try:
        XMLVerifier().verify(canonical, x509_cert=certificate.parsed, expect_config=configuration)
    except (SignXMLException, etree.Error, ValueError):
        return False
    return True


def _only(parent: etree._Element, name: str) -> etree._Element:
    found = parent.findall(f"{{{DSIG}}}{name}")
    if len(found) != 1:
        raise _malformed(f"it has {len(found)} of what there must be one of", name)
    return found[0]


def _known(element: etree._Element, accepted: set[str]) -> None:
    algorithm: Any = element.get("Algorithm")
    if algorithm not in accepted:
        raise InvalidArgument(
            "ALGORITHM_REFUSED",
            f"the algorithm {str(algorithm)[:100]!r} is not accepted here",
            field=f"elmo/Signature/{etree.QName(element).localname}",
            rule="RSA or ECDSA with SHA-256 or stronger",
            remedy="sign with an accepted algorithm",
        )


def _malformed(why: str, name: str) -> InvalidArgument:
    return InvalidArgument(
        "SIGNATURE_MALFORMED",
        f"the signature is not accepted: {why}",
        field=f"elmo/Signature/{name}",
        rule="EMREX ELMO 1.7, Signature: enveloped, one reference with an empty URI, the certificate in KeyInfo",
        remedy="ask the issuer for the document, unchanged",
    )
