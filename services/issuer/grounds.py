"""Why a learner is registered with a hub: by their own act, on a legal ground, or lost with a database (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from vitne.accreditation import timestamp
from vitne_api.issuer.v1 import issuer_pb2

#: ``registration.ground`` of a registration by the learner's own act; the level of assurance is added to it.
OWN_ACT: Final = "own_act"
#: The same of one on a legal ground, which ``registration.legal_ground`` names.
ON_LEGAL_GROUND: Final = "legal_ground"
#: The same of one that only the hub's topic still knew of: whether by the learner's own act or not was lost.
TAKEN_UP: Final = "taken up again from the hub's topic after a restore"
#: Columns of the table ``legal_ground`` that :func:`ground_message` reads.
COLUMNS: Final = "id, hub, citation, reference, decided_by, decided_by_name, granted_at, ended_at"


def ground_message(row: Mapping[str, Any]) -> issuer_pb2.LegalGround:
    """A legal ground as operators, hubs and learners are told it, from a row with :data:`COLUMNS`."""
    return issuer_pb2.LegalGround(
        id=str(row["id"]),
        hub=row["hub"],
        citation=row["citation"],
        reference=row["reference"],
        decided_by=row["decided_by"],
        decided_by_name=row["decided_by_name"],
        granted_at=timestamp(row["granted_at"]),
        ended_at=timestamp(row["ended_at"]) if row["ended_at"] else None,
    )
