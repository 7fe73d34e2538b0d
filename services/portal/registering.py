"""What the issuer answers to a registration, written down."""

from __future__ import annotations

from datetime import datetime

from services.portal.store import LegalGround, Store
from vitne.accreditation import instant
from vitne_api.issuer.v1 import issuer_pb2


async def registered(store: Store, lookup: bytes, answer: issuer_pb2.RegisterLearnerResponse, now: datetime) -> None:
    """Note that a learner is registered, as the issuer answered.

    Args:
        store: what the portal keeps.
        lookup: hers.
        answer: her pseudonym, since when, and on what.
        now: the present: an issuer of the release before does not say since when.
    """
    since = instant(answer.registered_at) if answer.HasField("registered_at") else now
    said = answer.legal_ground
    ground = (
        LegalGround(said.citation, said.reference, said.decided_by_name, instant(said.granted_at))
        if answer.HasField("legal_ground")
        else None
    )
    await store.register(lookup, answer.pseudonym, since, ground)
