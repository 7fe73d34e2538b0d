"""Which facts have a leaf in the log, and which (RECORDS: Log leaves).

Every change of an accreditation and of a key is logged as the digest of its fact. A
registry that later shows another fact under the same revision shows one whose leaf the
log does not have.
"""

from __future__ import annotations

from vitne.accreditation.facts import fact_digest
from vitne.canonical import from_b64url
from vitne.identifiers import parse_uuid
from vitne.merkle.leaves import AccreditationRecorded, KeyRecorded
from vitne_api.registry.v1 import facts_pb2


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
