"""Which facts have a leaf in the log, and which (RECORDS: Log leaves).

Every change of an accreditation and of a key is logged as the digest of its fact. A
registry that later shows another fact under the same revision shows one whose leaf the
log does not have.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from vitne.accreditation.facts import fact_digest, instant
from vitne.accreditation.projection import Projection
from vitne.canonical import b64url, from_b64url
from vitne.identifiers import parse_uuid
from vitne.merkle.leaves import AccreditationRecorded, KeyRecorded
from vitne_api.registry.v1 import facts_pb2


@dataclass(frozen=True, slots=True)
class Logged:
    """A fact as it was logged."""

    #: ``accreditation 01930f6e-… revision 3``.
    name: str
    #: Of the fact, base64url: what credentials cite of an accreditation.
    digest: str
    #: Of its leaf, 32 bytes.
    leaf_hash: bytes
    recorded_at: datetime


def leaf_of(fact: facts_pb2.Fact) -> AccreditationRecorded | KeyRecorded | None:
    """The leaf of a fact about an accreditation or a key; None for what is not logged.

    Raises:
        InvalidArgument: ``BAD_UUID``, ``BAD_BASE64URL``, ``BAD_LEAF`` for a fact that no registry records.
    """
    match fact.WhichOneof("content"):
        case "accreditation":
            said = fact.accreditation
            return AccreditationRecorded(
                parse_uuid(said.id, field="accreditation.id"), said.revision, fact_digest(fact)
            )
        case "key":
            key = fact.key
            return KeyRecorded(from_b64url(key.id, field="key.id"), key.revision, fact_digest(fact))
        case _:
            return None


def logged_accreditation(projection: Projection, provider: str, accreditation_id: str, revision: int) -> Logged | None:
    """A provider's accreditation at a revision; None where the registry shows none."""
    # A fact's canonical form is dear, and every issuance and verification under an accreditation asks for it.
    memo = ("logged", accreditation_id, revision)
    known: Logged | None = projection.recall(provider, memo)
    if known is None:
        fact = projection.accreditation_fact(accreditation_id, revision)
        known = _logged(fact) if fact is not None and fact.subject == provider else None
        if known is not None:
            projection.remember(provider, memo, known)
    return known


def logged_key(projection: Projection, owner: str, key_id: str, known_at: int) -> Logged | None:
    """An organisation's key as known at a registry revision, or as entered since; None where it has none."""
    fact = projection.key_fact(key_id, known_at) or projection.key_fact(key_id)
    if fact is None or fact.subject != owner:
        return None
    memo = ("logged", key_id, fact.key.revision)
    known: Logged | None = projection.recall(owner, memo)
    if known is None:
        known = _logged(fact)
        if known is not None:
            projection.remember(owner, memo, known)
    return known


def _logged(fact: facts_pb2.Fact) -> Logged | None:
    leaf = leaf_of(fact)
    if leaf is None:
        return None
    about = str(leaf.accreditation_id) if isinstance(leaf, AccreditationRecorded) else b64url(leaf.thumbprint)
    name = f"{leaf.type_name} {about} revision {leaf.revision}"
    return Logged(name, b64url(leaf.digest), leaf.leaf_hash(), instant(fact.recorded_at))
