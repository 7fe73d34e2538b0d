"""The registry's signed list of authorities, providers, keys and accreditations.

A JWS (RFC 7515) of type ``vitne-trust-list+jwt``, short-lived, signed with the
operator's trust-list key, which a verifier pins. Its payload holds the facts
themselves, so that whoever has the list can ask every question *as known at*
any revision, except about the catalogue.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from vitne.accreditation.facts import content_kind, fact_bytes, fact_from_json
from vitne.accreditation.projection import Projection
from vitne.canonical import canonical_bytes
from vitne.credentials.jose import (
    ES256,
    PublicKey,
    Signer,
    complete,
    parse_jws,
    parse_public_jwk,
    signing_input,
    strict_json,
)
from vitne.errors import InvalidArgument, Unavailable
from vitne_api.registry.v1 import facts_pb2

#: The ``typ`` of the list.
TYPE: Final = "vitne-trust-list+jwt"
#: How long a list may be used: long enough to survive a restart of the registry, short enough
#: that a withdrawn accreditation can't be hidden behind an old list.
LIFETIME: Final = timedelta(minutes=10)
#: How far a registry's clock may run ahead of a reader's.
CLOCK_SKEW: Final = timedelta(seconds=60)
#: Longest list that is read, in characters: some 100,000 facts.
MAX_LENGTH: Final = 128 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class TrustList:
    """A list whose signature was checked."""

    issuer: str
    issued_at: datetime
    expires_at: datetime
    #: The registry's newest revision at ``issued_at``.
    registry_revision: int
    #: By registry revision; every fact up to it but those of the catalogue.
    facts: tuple[facts_pb2.Fact, ...]

    def fold_into(self, projection: Projection) -> None:
        """Let a projection know what the list says.

        Raises:
            DataLoss: as :meth:`Projection.adopt`.
        """
        projection.adopt(self.facts, self.registry_revision, self.issued_at)


def render(fact: facts_pb2.Fact) -> bytes:
    """A fact as it stands in the list; the same for ever, so that a signer may keep it."""
    return fact_bytes(fact)


def sign_trust_list(
    rendered: Iterable[bytes], registry_revision: int, *, issuer: str, at: datetime, signer: Signer
) -> str:
    """The compact JWS of a list.

    Args:
        rendered: facts of authorities, providers, keys and accreditations, each as :func:`render` has it;
            all up to ``registry_revision``.
        registry_revision: what the list is whole up to.
        issuer: URI of the registry.
        at: when it was so.
        signer: the trust-list key.
    """
    issued = int(at.timestamp())
    claims = canonical_bytes(
        {
            "exp": issued + int(LIFETIME.total_seconds()),
            "iat": issued,
            "iss": issuer,
            "registry_revision": registry_revision,
        }
    )
    payload = b'{"facts":[' + b",".join(rendered) + b"]," + claims.removeprefix(b"{")
    header = {"alg": signer.algorithm, "kid": signer.key_id, "typ": TYPE}
    data = signing_input(header, payload)
    return complete(data, signer.sign(data))


def read_trust_list(compact: str, *, pinned: PublicKey | str, issuer: str, now: datetime) -> TrustList:
    """Check and read a list.

    Args:
        compact: the JWS.
        pinned: the key, or its RFC 7638 thumbprint; the list itself then holds the key, as a fact, and
            a thumbprint can't be that of another.
        issuer: the URI that the list must come from.
        now: the present instant.

    Raises:
        InvalidArgument: ``BAD_TRUST_LIST``, or as :func:`~vitne.credentials.jose.parse_jws`.
        Unavailable: ``TRUST_LIST_EXPIRED``.
        DataLoss: ``UNKNOWN_FACT``.
    """
    jws = parse_jws(compact, algorithms=(ES256,), types=(TYPE,), max_length=MAX_LENGTH, field="trust_list")
    pinned_id = pinned if isinstance(pinned, str) else pinned.key_id
    if jws.header.key_id != pinned_id:
        raise _bad("it is signed with a key that is not pinned", "pin the registry's trust-list key")
    claims = strict_json(jws.payload, field="trust_list")
    key = _own_key(claims, pinned) if isinstance(pinned, str) else pinned
    if key is None or not jws.verified_by(key):
        raise _bad("its signature does not hold", "fetch it again from the registry")
    issued_at, expires_at, revision, facts = _claims(claims, issuer)
    if issued_at > now + CLOCK_SKEW:
        raise _bad("it is from the future", "compare the clocks")
    if expires_at <= now:
        raise Unavailable(
            "TRUST_LIST_EXPIRED",
            "the registry's list is past its lifetime",
            rule=f"a list is used for {int(LIFETIME.total_seconds())} seconds",
            remedy="fetch a new one",
        )
    return TrustList(issuer, issued_at, expires_at, revision, facts)


def _own_key(claims: Any, thumbprint: str) -> PublicKey | None:
    """The key of a pinned thumbprint among the facts of a list that is not verified yet."""
    records = claims.get("facts") if isinstance(claims, dict) else None
    for record in records if isinstance(records, list) else ():
        said = record.get("key") if isinstance(record, dict) else None
        if isinstance(said, dict) and said.get("id") == thumbprint and isinstance(said.get("public_jwk"), str):
            key = parse_public_jwk(said["public_jwk"], field="trust_list")
            # What the list says of itself counts for nothing: the thumbprint is computed.
            return key if key.key_id == thumbprint else None
    return None


def _claims(claims: Any, issuer: str) -> tuple[datetime, datetime, int, tuple[facts_pb2.Fact, ...]]:
    if not isinstance(claims, dict) or claims.get("iss") != issuer:
        raise _bad("it is not this registry's", "fetch it from the registry that is configured")
    numbers = [claims.get(name) for name in ("iat", "exp", "registry_revision")]
    records = claims.get("facts")
    if not all(type(number) is int and 0 <= number < 1 << 40 for number in numbers) or not isinstance(records, list):
        raise _bad("iat, exp, registry_revision or facts are missing", "fetch it again from the registry")
    issued, expires, revision = (int(number) for number in numbers if number is not None)
    if not issued < expires <= issued + LIFETIME.total_seconds():
        raise _bad("it claims to live longer than a list may", "ask the operator")
    facts = []
    for record in records:
        if not isinstance(record, dict):
            raise _bad("a fact is not an object", "ask the operator")
        fact = fact_from_json(record)
        if content_kind(fact) == "achievement" or not 1 <= fact.registry_revision <= revision:
            raise _bad("a fact does not belong into it", "ask the operator")
        facts.append(fact)
    return datetime.fromtimestamp(issued, UTC), datetime.fromtimestamp(expires, UTC), revision, tuple(facts)


def _bad(problem: str, remedy: str) -> InvalidArgument:
    return InvalidArgument(
        "BAD_TRUST_LIST",
        f"not a list to be trusted: {problem}",
        field="trust_list",
        rule=f"a JWS of type {TYPE} signed with ES256 by the pinned key",
        remedy=remedy,
    )
