"""Is enough known of the registry, and is it fresh?"""

from __future__ import annotations

from datetime import datetime

from services.verifier.checks.names import NOT_DETERMINABLE, PASSED, REGISTRY, Check
from services.verifier.knowledge import Knowledge
from vitne.credentials.model import Credential


def check_registry(credential: Credential, knowledge: Knowledge, now: datetime) -> Check:
    """Silence is not freshness: a registry not heard of within the bound says nothing about now."""
    revision = knowledge.projection.revision
    evidence = f"registry revision {revision}"
    staleness = knowledge.projection.staleness(now)
    if revision == 0:
        detail = knowledge.refused or "nothing is known of the registry yet"
        return Check(REGISTRY, NOT_DETERMINABLE, detail, evidence)
    if staleness > knowledge.bound:
        bound = f"{knowledge.bound.total_seconds():.0f} s"
        return Check(REGISTRY, NOT_DETERMINABLE, f"the registry has not been heard of for more than {bound}", evidence)
    if credential.decision.registry_revision > revision:
        needed = credential.decision.registry_revision
        detail = f"the credential rests on registry revision {needed}, which is not known here yet"
        return Check(REGISTRY, NOT_DETERMINABLE, detail, evidence)
    detail = f"revision {revision} of the registry is known, heard of {staleness.total_seconds():.0f} s ago"
    return Check(REGISTRY, PASSED, detail, evidence)
