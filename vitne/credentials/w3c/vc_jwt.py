"""A document secured as a JWT: ``vc+jwt`` (Securing Verifiable Credentials using JOSE and COSE, section 3.1).

The payload is the document itself; the registered claims that follow from it are added for readers that look only
there (RFC 7519), and when they are present they must say the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from vitne.credentials.certificates import Certificate, certificates_of, x5c
from vitne.credentials.date_times import parse_date_time
from vitne.credentials.jose import (
    ED25519,
    EDDSA,
    ES256,
    Jws,
    PublicKey,
    complete,
    parse_jws,
    signing_input,
    strict_json,
)
from vitne.credentials.w3c.vcdm import require_credential
from vitne.errors import InvalidArgument

#: ``typ`` of the JWT, and its media type without ``application/``.
TYPE: Final = "vc+jwt"
#: ``cty``: the payload is a credential.
CONTENT_TYPE: Final = "vc"

_ALGORITHMS: Final = (ES256, ED25519, EDDSA)
_REGISTERED: Final = frozenset({"iss", "sub", "jti", "nbf", "exp"})
#: Claims of the data model's first version, which the second forbids.
_FORBIDDEN: Final = frozenset({"vc", "vp"})
_ENCODE: Final = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Prepared:
    """A JWT that lacks only its signature. ``repr`` shows nothing of it."""

    #: What is to be signed.
    signing_input: bytes = field(repr=False)

    def complete(self, signature: bytes) -> str:
        """The compact JWT."""
        return complete(self.signing_input, signature)


def prepare(
    document: Mapping[str, Any], *, algorithm: str, key_id: str, certificates: Sequence[Certificate] = ()
) -> Prepared:
    """What is to be signed for a document without a proof.

    Args:
        document: a credential.
        algorithm: of the key that will sign: ES256 or Ed25519.
        key_id: its thumbprint.
        certificates: of that key, then those above it (``x5c``); none: verifiers know the key from elsewhere.
    """
    header = {"alg": algorithm, "kid": key_id, "typ": TYPE, "cty": CONTENT_TYPE, **x5c(certificates)}
    return Prepared(signing_input(header, _ENCODE({**_registered(document), **document})))


@dataclass(frozen=True, slots=True)
class VcJwt:
    """A ``vc+jwt`` as read: well formed, its signature *not* checked yet."""

    jws: Jws
    #: The credential, without the registered claims.
    document: Mapping[str, Any] = field(repr=False)

    @property
    def key_id(self) -> str:
        """Thumbprint of the key that it says to be signed with."""
        return self.jws.header.key_id

    @property
    def certificates(self) -> tuple[Certificate, ...]:
        """Of that key, with its chain, where the issuer sent them along.

        Raises:
            InvalidArgument: ``BAD_CERTIFICATE``.
        """
        return certificates_of(self.jws.header)

    def verified_by(self, key: PublicKey) -> bool:
        """Whether ``key`` signed it."""
        return self.jws.verified_by(key)


def parse(compact: str) -> VcJwt:
    """Read a ``vc+jwt``.

    Raises:
        InvalidArgument: what :func:`~vitne.credentials.jose.parse_jws` and
            :func:`~vitne.credentials.w3c.vcdm.require_credential` refuse; ``CLAIMS_CONTRADICT`` where a registered
            claim and the document differ; ``CLAIM_MALFORMED`` for a credential inside a claim.
    """
    jws = parse_jws(compact, algorithms=_ALGORITHMS, types=(TYPE,))
    if jws.header.members.get("cty", CONTENT_TYPE) not in (CONTENT_TYPE, f"application/{CONTENT_TYPE}"):
        raise _refused("CLAIM_MALFORMED", "cty", "the payload is said to be something else than a credential")
    payload = strict_json(jws.payload)
    if not isinstance(payload, dict) or _FORBIDDEN & payload.keys():
        raise _refused("CLAIM_MALFORMED", "vc", "the payload is no credential itself")
    document = {name: value for name, value in payload.items() if name not in _REGISTERED}
    require_credential(document)
    expected = _registered(document)
    for name in sorted(_REGISTERED & payload.keys()):
        if payload[name] != expected.get(name):
            raise _refused("CLAIMS_CONTRADICT", name, "the claim is not what the credential says")
    return VcJwt(jws, document)


def _registered(document: Mapping[str, Any]) -> dict[str, Any]:
    issuer, subject = document["issuer"], document["credentialSubject"]
    claims = {
        "iss": issuer["id"] if isinstance(issuer, dict) else issuer,
        "sub": subject.get("id") if isinstance(subject, dict) else None,
        "jti": document.get("id"),
        "nbf": _seconds(document, "validFrom"),
        "exp": _seconds(document, "validUntil"),
    }
    return {name: value for name, value in claims.items() if value is not None}


def _seconds(document: Mapping[str, Any], name: str) -> int | None:
    return int(parse_date_time(document[name], field=name).timestamp()) if name in document else None


def _refused(reason: str, name: str, message: str) -> InvalidArgument:
    return InvalidArgument(
        reason,
        message,
        field=name,
        rule="Securing Verifiable Credentials using JOSE and COSE, section 3",
        remedy="ask the issuer for the credential as it was signed",
    )
