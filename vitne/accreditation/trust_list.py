"""The registry's signed list of authorities, providers, keys and accreditations: a small statement, and its facts.

The **statement** is a JWS (RFC 7515) of type ``vitne-trust-list+jwt``, of some 700
characters, dated and short-lived, signed with the operator's trust-list key, which a
verifier pins. It says how far the registry had come, and names the facts: where they
are, how many bytes they have, and their SHA-256::

    {"exp": 1795255800, "facts": {"digest": "VhkM…", "path": "trust-list/facts/4711", "size": 934210},
     "iat": 1795255200, "iss": "https://registry.vitne.example", "key": {"crv": "P-256", …}, "registry_revision": 4713}

The **facts** are JSON Lines: one fact a line, in canonical ProtoJSON, by registry
revision. They lie under a path that names the newest of them, relative to the
statement's own URL (RFC 3986, section 5), and what lies there never changes: facts are
only added, so that the body of a later revision begins with all earlier ones, byte
for byte. Caches keep it for ever, and who has it needs only a new statement. Who has an
earlier body needs only what was added: that lies under :func:`changes_path`, and the
two together have the digest that the statement names. Whoever has all facts can ask
every question *as known at* any revision, except about the catalogue and about cases,
which are not in the list.

How a reader goes about it::

    statement = read_statement(compact, pinned=key_id, issuer=uri, now=clock.now())
    if statement.facts.digest != digest_of_what_was_read_last:
        path = changes_path(statement.facts.path, known_path) if known_body else statement.facts.path
        body = known_body + fetch(urljoin(statement_url, path), max_bytes=statement.facts.size - len(known_body))
        statement.fold_into(projection, read_facts(statement, body, known=known_body))
    else:
        statement.fold_into(projection)  # nothing new: only what is known is dated anew
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from vitne.accreditation.facts import NOT_LISTED, content_kind, fact_bytes, fact_from_json
from vitne.accreditation.projection import Projection
from vitne.canonical import b64url, sha256
from vitne.credentials.jose import (
    ES256,
    PublicKey,
    Signer,
    parse_jws,
    parse_public_jwk,
    sign_jws,
    strict_json,
)
from vitne.errors import InvalidArgument, Unavailable
from vitne_api.registry.v1 import facts_pb2

#: The ``typ`` of the statement.
TYPE: Final = "vitne-trust-list+jwt"
#: Media type of the facts (jsonlines.org).
FACTS_MEDIA_TYPE: Final = "application/jsonl"
#: How long a statement may be used: long enough to survive a restart of the registry, short enough
#: that a withdrawn accreditation can't be hidden behind an old one.
LIFETIME: Final = timedelta(minutes=10)
#: How far a registry's clock may run ahead of a reader's.
CLOCK_SKEW: Final = timedelta(seconds=60)
#: Longest statement that is read, in characters.
MAX_STATEMENT_LENGTH: Final = 8 * 1024
#: Largest body of facts that is read, in bytes: some 130,000 facts.
MAX_FACTS_SIZE: Final = 128 * 1024 * 1024
#: Longest path to the facts, in characters.
MAX_PATH_LENGTH: Final = 200

# Relative, and going nowhere but further down: no scheme, no host, no dot segments.
_PATH: Final = re.compile(r"[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class FactsReference:
    """Where a statement's facts are, and what they are."""

    #: Relative to the statement's URL; only letters, digits, ``_``, ``-`` and ``/`` between them.
    path: str
    #: SHA-256 of the body without any content coding, base64url.
    digest: str
    #: Of that body, in bytes.
    size: int

    @classmethod
    def of(cls, path: str, body: bytes) -> FactsReference:
        """Refer to a body under a path."""
        return cls(path, b64url(sha256(body)), len(body))


def changes_path(path: str, known: str) -> str:
    """Where lies what facts have beyond those of an earlier body: the rest of the bytes.

    Args:
        path: of the facts.
        known: path of the earlier body.
    """
    return f"{path}/since/{known.rpartition('/')[2]}"


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement whose signature was checked."""

    issuer: str
    issued_at: datetime
    expires_at: datetime
    #: The registry's newest revision at ``issued_at``.
    registry_revision: int
    #: Every fact up to ``registry_revision`` but those of the catalogue.
    facts: FactsReference
    #: When the reader checked it.
    read_at: datetime

    def fold_into(self, projection: Projection, facts: Iterable[facts_pb2.Fact] = ()) -> None:
        """Let a projection know what the statement says.

        Args:
            projection: what to fold into.
            facts: what :func:`read_facts` answered; left out by who folded facts of the same digest before.

        Raises:
            DataLoss: as :meth:`Projection.adopt`.
        """
        projection.adopt(facts, self.registry_revision, self.issued_at, self.read_at)


def render(fact: facts_pb2.Fact) -> bytes:
    """A fact as it stands in the body: a line with its end, the same for ever."""
    return fact_bytes(fact) + b"\n"


def sign_statement(facts: FactsReference, registry_revision: int, *, issuer: str, at: datetime, signer: Signer) -> str:
    """The compact JWS of a statement.

    Args:
        facts: authorities, providers, keys and accreditations, each as :func:`render` has it, in order;
            all up to ``registry_revision``.
        registry_revision: what they are whole up to.
        issuer: URI of the registry.
        at: when it was so.
        signer: the trust-list key.
    """
    return sign_jws(statement_claims(facts, registry_revision, issuer=issuer, at=at, signer=signer), signer, typ=TYPE)


def statement_claims(
    facts: FactsReference, registry_revision: int, *, issuer: str, at: datetime, signer: Signer
) -> dict[str, Any]:
    """What :func:`sign_statement` signs."""
    issued = int(at.timestamp())
    return {
        "exp": issued + int(LIFETIME.total_seconds()),
        "facts": {"digest": facts.digest, "path": facts.path, "size": facts.size},
        "iat": issued,
        "iss": issuer,
        # For readers who pinned its thumbprint.
        "key": signer.public_jwk,
        "registry_revision": registry_revision,
    }


def read_statement(compact: str, *, pinned: PublicKey | str, issuer: str, now: datetime) -> Statement:
    """Check and read a statement.

    Args:
        compact: the JWS.
        pinned: the key, or its RFC 7638 thumbprint; the statement then names the key, and
            a thumbprint, which is computed here, can't be that of another.
        issuer: the URI that it must come from.
        now: the present instant.

    Raises:
        InvalidArgument: ``BAD_TRUST_LIST``, or as :func:`~vitne.credentials.jose.parse_jws` and
            :func:`~vitne.credentials.jose.parse_public_jwk`.
        Unavailable: ``TRUST_LIST_EXPIRED``.
    """
    statement = read_past_statement(compact, pinned=pinned, issuer=issuer, now=now)
    if statement.expires_at <= now:
        raise Unavailable(
            "TRUST_LIST_EXPIRED",
            "the registry's list is past its lifetime",
            rule=f"a list is used for {int(LIFETIME.total_seconds())} seconds",
            remedy="fetch a new one",
        )
    return statement


def read_past_statement(compact: str, *, pinned: PublicKey | str, issuer: str, now: datetime) -> Statement:
    """The same for a statement of any age: for what was so when it was made, never for what is so now.

    Args:
        compact: the JWS.
        pinned: as :func:`read_statement`.
        issuer: the URI that it must come from.
        now: the present instant.

    Raises:
        InvalidArgument: as :func:`read_statement`.
    """
    return statement_of(open_statement(compact, TYPE, pinned), issuer, now)


def open_statement(compact: str, typ: str, pinned: PublicKey | str) -> dict[str, Any]:
    """The claims of what the pinned key signed; see :func:`read_statement`."""
    jws = parse_jws(compact, algorithms=(ES256,), types=(typ,), max_length=MAX_STATEMENT_LENGTH, field="trust_list")
    pinned_id = pinned if isinstance(pinned, str) else pinned.key_id
    if jws.header.key_id != pinned_id:
        raise bad_trust_list(
            f"it is not signed with the key that was given, {pinned_id}",
            "compare that thumbprint with the one that the registry's operator publishes, and not with the list's own",
        )
    claims = strict_json(jws.payload, field="trust_list")
    if not isinstance(claims, dict):
        raise bad_trust_list("it is not an object", "fetch it again from the registry")
    key = parse_public_jwk(claims.get("key") or {}, field="trust_list") if isinstance(pinned, str) else pinned
    # What the statement says of itself counts for nothing before this: the thumbprint is computed.
    if key.key_id != pinned_id or not jws.verified_by(key):
        raise bad_trust_list("its signature does not hold", "fetch it again from the registry")
    return claims


def read_facts(statement: Statement, body: bytes, *, known: bytes = b"") -> tuple[facts_pb2.Fact, ...]:
    """Check and read the facts that a statement names; takes some 0.1 ms a fact.

    Args:
        statement: that was read.
        body: the facts, without content coding.
        known: an earlier body whose facts were folded into the same projection: where ``body`` goes on from it,
            only what is new is read.

    Returns:
        The facts that are not in ``known``, by registry revision.

    Raises:
        InvalidArgument: ``BAD_TRUST_LIST`` when the bytes are not those that were signed, also when a cache
            answered with others; ``BAD_FACT``.
        DataLoss: ``UNKNOWN_FACT``.
    """
    if not hmac.compare_digest(b64url(sha256(body)), statement.facts.digest):
        raise bad_trust_list("its facts are not those that the statement names", "fetch them again from the registry")
    skipped = len(known) if body.startswith(known) else 0
    facts = []
    after = 0
    for line in body[skipped:].splitlines():
        record = strict_json(line, field="trust_list")
        if not isinstance(record, dict):
            raise bad_trust_list("a fact is not an object", "ask the operator")
        fact = fact_from_json(record)
        left_out = content_kind(fact) in NOT_LISTED
        if left_out or not after < fact.registry_revision <= statement.registry_revision:
            raise bad_trust_list("a fact does not belong into it", "ask the operator")
        after = fact.registry_revision
        facts.append(fact)
    return tuple(facts)


def statement_of(claims: dict[str, Any], issuer: str, now: datetime) -> Statement:
    """The statement that claims make, whatever its age; raises ``BAD_TRUST_LIST`` for any that no registry makes."""
    if claims.get("iss") != issuer:
        raise bad_trust_list("it is not this registry's", "fetch it from the registry that is configured")
    said = claims.get("facts")
    if not isinstance(said, dict):
        raise bad_trust_list("facts are missing", "fetch it again from the registry")
    path, digest, size = (said.get(name) for name in ("path", "digest", "size"))
    numbers = [claims.get(name) for name in ("iat", "exp", "registry_revision")] + [size]
    if not all(type(number) is int and 0 <= number < 1 << 40 for number in numbers):
        raise bad_trust_list("iat, exp, registry_revision or the size of the facts is missing", "fetch it again")
    issued, expires, revision, length = (int(number) for number in numbers if number is not None)
    if not issued < expires <= issued + LIFETIME.total_seconds():
        raise bad_trust_list("it claims to live longer than a list may", "ask the operator")
    if length > MAX_FACTS_SIZE:
        raise bad_trust_list("its facts are larger than what is read", "ask the operator")
    if not isinstance(digest, str) or not isinstance(path, str) or len(path) > MAX_PATH_LENGTH or not _PATH.match(path):
        raise bad_trust_list("it does not say where its facts are", "fetch it again from the registry")
    issued_at = datetime.fromtimestamp(issued, UTC)
    if issued_at - now > CLOCK_SKEW:
        raise bad_trust_list("it is from the future", "compare the clocks")
    return Statement(
        issuer=issuer,
        issued_at=issued_at,
        expires_at=datetime.fromtimestamp(expires, UTC),
        registry_revision=revision,
        facts=FactsReference(path, digest, length),
        read_at=now,
    )


def bad_trust_list(problem: str, remedy: str) -> InvalidArgument:
    """The refusal of a list, with what is wrong with it."""
    return InvalidArgument(
        "BAD_TRUST_LIST",
        f"not a list to be trusted: {problem}",
        field="trust_list",
        rule=f"a JWS of type {TYPE}, or an extract of one, signed with ES256 by the pinned key",
        remedy=remedy,
    )
