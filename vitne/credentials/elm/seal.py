"""JAdES baseline seals (ETSI TS 119 182-1) in the form of the Commission's samples.

General JWS JSON serialisation with one signature; the payload attached as it is, not
encoded (RFC 7797); ``sigT`` and ``x5c`` protected; the sealing time is that of issuance.
What is read may be sealed with RSA, too. Countersignatures and time-stamps beside the
seal (``etsiU``, ``adoTst``) are neither needed nor believed: time comes from the log.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512, HashAlgorithm

from vitne.canonical import b64url, digest_text, from_b64url, instant_text, parse_instant
from vitne.credentials.certificates import MAX_CERTIFICATES, Certificate, require_counting_key
from vitne.credentials.elm import document
from vitne.credentials.elm.reading import read
from vitne.credentials.jose import ES256, PublicKey, Signer, strict_json
from vitne.credentials.model import Credential
from vitne.credentials.setting import ALONE, Setting
from vitne.errors import InvalidArgument

#: Media type of a sealed credential.
MEDIA_TYPE: Final = "application/jose+json"
#: Largest sealed credential that is read: images are inside, as base64.
MAX_BYTES: Final = 2_000_000
#: Longest protected header, in base64url characters: a chain of certificates and a time-stamp are inside.
MAX_HEADER_LENGTH: Final = 100_000
#: Header parameters that may be critical. A time-stamp of the content (``adoTst``) is understood, and not believed.
UNDERSTOOD: Final = frozenset({"b64", "sigT", "adoTst"})

_TYPE: Final = "jose+json"
_ENCODE: Final = msgspec.json.Encoder().encode
_HASHES: Final[Mapping[str, Callable[[], HashAlgorithm]]] = {"256": SHA256, "384": SHA384, "512": SHA512}
_CURVES: Final = {ES256: ec.SECP256R1, "ES384": ec.SECP384R1, "ES512": ec.SECP521R1}
#: Algorithms that count.
ALGORITHMS: Final = frozenset({*_CURVES, *(f"{kind}{bits}" for kind in ("RS", "PS") for bits in _HASHES)})


@dataclass(frozen=True, slots=True)
class Prepared:
    """A credential before its seal: what to store, then what to sign."""

    #: Protected header, base64url, a full stop, and the payload as it is (RFC 7797, section 3).
    signing_input: bytes = field(repr=False)

    def stored(self) -> bytes:
        """The same as bytes, to be kept."""
        return self.signing_input

    @classmethod
    def of_stored(cls, stored: bytes) -> Prepared:
        """The inverse of :meth:`stored`."""
        return cls(stored)

    def complete(self, signature: bytes) -> str:
        """The sealed credential; ``signature`` is 64 bytes, raw r‖s (RFC 7518, section 3.4)."""
        protected, _, payload = self.signing_input.partition(b".")
        return _ENCODE(
            {
                "payload": payload.decode(),
                "signatures": [{"protected": protected.decode("ascii"), "signature": b64url(signature)}],
            }
        ).decode()


def prepare(
    credential: Credential,
    setting: Setting = ALONE,
    *,
    certificates: Sequence[Certificate],
    salt: bytes,
    at: datetime | None = None,
) -> Prepared:
    """What is to be signed with the key of the first certificate, under ES256.

    Args:
        credential: with all mandatory elements.
        setting: what the credential does not say of itself.
        certificates: the sealer's, then those between it and a trusted one.
        salt: :data:`vitne.credentials.elm.document.SALT_BYTES` fresh random bytes.
        at: when it is sealed; None: as it is issued.

    Raises:
        InvalidArgument: as :func:`vitne.credentials.elm.document.write`; ``BAD_CERTIFICATE`` for a key that is not
            P-256.
    """
    key = certificates[0].public_key if certificates else None
    if key is None or key.algorithm != ES256:
        raise _bad_certificate("it is missing, or not one of a P-256 key")
    payload = _ENCODE(document.write(credential, setting, salt=salt))
    header = {
        "alg": ES256,
        "cty": "vc+ld+json",
        "x5t#S256": certificates[0].thumbprint,
        "x5c": [certificate.base64 for certificate in certificates],
        "typ": _TYPE,
        "b64": False,
        "sigT": instant_text((at or credential.issued_at).replace(microsecond=0)),
        "crit": ["b64", "sigT"],
    }
    return Prepared(b"%b.%b" % (b64url(_ENCODE(header)).encode("ascii"), payload))


def seal(
    credential: Credential,
    signer: Signer,
    setting: Setting = ALONE,
    *,
    certificates: Sequence[Certificate],
    salt: bytes,
) -> str:
    """A sealed credential; raises as :func:`prepare`, and for a certificate of another key."""
    prepared = prepare(credential, setting, certificates=certificates, salt=salt)
    key = certificates[0].public_key
    if signer.algorithm != ES256 or key is None or key.key_id != signer.key_id:
        raise _bad_certificate("it is of another key")
    return prepared.complete(signer.sign(prepared.signing_input))


def _bad_certificate(why: str) -> InvalidArgument:
    return InvalidArgument(
        "BAD_CERTIFICATE",
        f"the sealer's certificate is not accepted: {why}",
        field="certificates",
        rule="the first certificate is that of the sealing key, which is on P-256",
        remedy="give the certificate of the sealing key, and the chain after it",
    )


# --- Reading --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sealed:
    """A sealed credential as it came; the seal is *not* verified yet."""

    #: As it came: what the log knows it by is over these bytes.
    text: str = field(repr=False)
    algorithm: str
    #: When it says that it was sealed.
    sealed_at: datetime
    #: From ``x5c``: the sealer's, as the header says, then its chain.
    certificates: tuple[Certificate, ...]
    signing_input: bytes = field(repr=False)
    signature: bytes = field(repr=False)
    #: The payload, read; whoever wrote it.
    document: Mapping[str, Any] = field(repr=False)

    @property
    def key_id(self) -> str:
        """RFC 7638 thumbprint of the key that it says to be sealed with; empty for one that is not P-256."""
        key = self.certificates[0].public_key
        return key.key_id if key else ""

    @property
    def digest(self) -> str:
        """What the log knows it by, base64url (RECORDS: Artefact digest)."""
        return digest_text(self.text.encode())

    def credential(self) -> Credential:
        """The payload as a credential of Vitne's; raises as :func:`vitne.credentials.elm.reading.read`.

        Raises:
            InvalidArgument: also ``CLAIMS_CONTRADICT`` when it was sealed before it was issued.
        """
        credential = read(self.document)
        if self.sealed_at < credential.issued_at.replace(microsecond=0):
            raise _malformed("CLAIMS_CONTRADICT", "sigT", "it was sealed before the credential was issued")
        return credential

    def verified_by(self, key: PublicKey) -> bool:
        """Whether ``key`` sealed it."""
        return self.algorithm == key.algorithm and key.verify(self.signing_input, self.signature)

    def verified(self) -> bool:
        """Whether the key of its own certificate sealed it. Whether that key counts is another question."""
        key = self.certificates[0].parsed.public_key()
        hashed = _HASHES[self.algorithm[2:]]()
        try:
            if isinstance(key, ec.EllipticCurvePublicKey):
                half = (key.key_size + 7) // 8
                if not isinstance(key.curve, _CURVES.get(self.algorithm, ())) or len(self.signature) != 2 * half:
                    return False
                r, s = int.from_bytes(self.signature[:half]), int.from_bytes(self.signature[half:])
                key.verify(encode_dss_signature(r, s), self.signing_input, ec.ECDSA(hashed))
            elif isinstance(key, rsa.RSAPublicKey) and self.algorithm.startswith("RS"):
                key.verify(self.signature, self.signing_input, padding.PKCS1v15(), hashed)
            elif isinstance(key, rsa.RSAPublicKey) and self.algorithm.startswith("PS"):
                salted = padding.PSS(padding.MGF1(hashed), hashed.digest_size)
                key.verify(self.signature, self.signing_input, salted, hashed)
            else:
                return False
        except InvalidSignature:
            return False
        return True


def parse(text: str) -> Sealed:
    """Read a sealed credential; no key is touched.

    Raises:
        InvalidArgument: ``TOO_LARGE``; ``SEAL_MALFORMED``; ``ALGORITHM_REFUSED`` for what is not among
            :data:`ALGORITHMS`; ``CRITICAL_HEADER_REFUSED`` for what is not among :data:`UNDERSTOOD`;
            ``BAD_CERTIFICATE``, ``BAD_JSON``, ``BAD_BASE64URL``, ``BAD_INSTANT``.
    """
    text = text.strip()
    require_size(text)
    return parse_read(text, strict_json(text, field="credential"))


def require_size(text: str) -> None:
    """Refuse what is too large to be read.

    Raises:
        InvalidArgument: ``TOO_LARGE``; ``BAD_JSON`` for half a character.
    """
    try:
        size = len(text.encode()) if len(text) <= MAX_BYTES else len(text)
    except UnicodeEncodeError as error:
        raise _malformed("BAD_JSON", "credential", "it holds half a character") from error
    if size > MAX_BYTES:
        raise _too_large(MAX_BYTES, "bytes")


def parse_read(text: str, outer: Any) -> Sealed:
    """The same of a text that was read as JSON already.

    Raises:
        InvalidArgument: as :func:`parse`, but for ``TOO_LARGE`` of the whole.
    """
    payload = outer.get("payload") if isinstance(outer, dict) else None
    signatures = outer.get("signatures") if isinstance(outer, dict) else None
    if not isinstance(payload, str) or not isinstance(signatures, list) or len(signatures) != 1:
        raise _malformed("SEAL_MALFORMED", "signatures", "it is not an attached payload with one signature")
    entry = signatures[0]
    protected = entry.get("protected") if isinstance(entry, dict) else None
    signature = entry.get("signature") if isinstance(entry, dict) else None
    if not isinstance(protected, str) or not isinstance(signature, str):
        raise _malformed("SEAL_MALFORMED", "signatures", "the signature lacks its protected header or its value")
    header = _header(protected)
    document = strict_json(payload, field="payload")
    if not isinstance(document, dict):
        raise _malformed("SEAL_MALFORMED", "payload", "the payload is not a JSON object")
    return Sealed(
        text=text,
        algorithm=header.algorithm,
        sealed_at=header.sealed_at,
        certificates=header.certificates,
        signing_input=f"{protected}.{payload}".encode(),
        signature=from_b64url(signature, field="signature"),
        document=document,
    )


@dataclass(frozen=True, slots=True)
class _Header:
    algorithm: str
    sealed_at: datetime
    certificates: tuple[Certificate, ...]


# Certificates make it long, and what was sealed within a second shares it.
@lru_cache(maxsize=256)
def _header(segment: str) -> _Header:
    if len(segment) > MAX_HEADER_LENGTH:
        raise _too_large(MAX_HEADER_LENGTH, "characters")
    members = strict_json(from_b64url(segment, field="protected"), field="protected")
    if not isinstance(members, dict):
        raise _malformed("SEAL_MALFORMED", "protected", "the protected header is not an object")
    algorithm, critical, chain = (members.get(name) for name in ("alg", "crit", "x5c"))
    if not isinstance(algorithm, str) or algorithm not in ALGORITHMS:
        raise InvalidArgument(
            "ALGORITHM_REFUSED",
            f"the algorithm {str(algorithm)[:16]!r} is not accepted here",
            field="protected.alg",
            rule=f"one of {', '.join(sorted(ALGORITHMS))}",
            remedy="seal with an accepted algorithm",
        )
    if not isinstance(critical, list) or not all(
        isinstance(name, str) and name in UNDERSTOOD and name in members for name in critical
    ):
        raise InvalidArgument(
            "CRITICAL_HEADER_REFUSED",
            "the header asks for an extension that is not understood here, or lacks one that it names",
            field="protected.crit",
            rule="RFC 7515, section 4.1.11; RFC 7797, section 6",
            remedy=f"seal with no critical parameters but {', '.join(sorted(UNDERSTOOD))}",
        )
    if members.get("b64") is not False or "b64" not in critical:
        raise _malformed("SEAL_MALFORMED", "protected.b64", "the payload is not said to be attached as it is")
    if not isinstance(members.get("sigT"), str):
        raise _malformed("SEAL_MALFORMED", "protected.sigT", "it does not say when it was sealed")
    if not isinstance(chain, list) or not 0 < len(chain) <= MAX_CERTIFICATES:
        raise _malformed("SEAL_MALFORMED", "protected.x5c", "it comes without certificates, or with too many")
    certificates = tuple(Certificate.from_base64(str(item), field="protected.x5c") for item in chain)
    require_counting_key(certificates[0].parsed.public_key(), field="protected.x5c")
    if "x5t#S256" in members and members["x5t#S256"] != certificates[0].thumbprint:
        raise _malformed("SEAL_MALFORMED", "protected.x5t#S256", "the thumbprint is another certificate's")
    return _Header(algorithm, parse_instant(members["sigT"], field="protected.sigT"), certificates)


def _too_large(limit: int, unit: str) -> InvalidArgument:
    return InvalidArgument(
        "TOO_LARGE",
        f"longer than {limit} {unit}",
        field="credential",
        rule=f"at most {limit} {unit}",
        remedy="send only the credential itself",
    )


def _malformed(reason: str, where: str, why: str) -> InvalidArgument:
    return InvalidArgument(
        reason,
        f"the seal is not accepted: {why}",
        field=where,
        rule="ETSI TS 119 182-1, in general JSON serialisation with b64 false, sigT and x5c",
        remedy="ask the issuer for the credential, unchanged",
    )
