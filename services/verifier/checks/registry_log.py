"""Is what the registry shows in the log: the accreditation that it rests on, and the key that signed it?

The log has the digest of each change of an accreditation and a key. A registry that
tells another past than it recorded shows a fact that the log does not have. Absence
can't be proved to us, so nothing is called false for it; but nothing is called valid on
the word of a registry that the log does not bear out.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from services.verifier.checks.names import NOT_DETERMINABLE, PASSED, REGISTRY_LOGGED, Check, told
from services.verifier.evidence import Inclusion
from services.verifier.knowledge import Knowledge
from vitne.accreditation import instant, leaf_of
from vitne.credentials.sd_jwt_vc import Presentation
from vitne.errors import NotFound, VitneError
from vitne_api.registry.v1 import facts_pb2

#: How long after it was recorded a fact's leaf may still be on its way.
GRACE: Final = timedelta(minutes=1)


def facts_to_look_up(presentation: Presentation, knowledge: Knowledge) -> list[facts_pb2.Fact]:
    """The facts whose leaves are asked for: of the accreditation as it is cited, and of the key as it was entered."""
    decision, projection = presentation.credential.decision, knowledge.projection
    accreditation = projection.accreditation_fact(str(decision.accreditation_id), decision.accreditation_revision)
    # As known at issuance: a later revision of the key is no part of what the credential rests on.
    key = projection.key_fact(presentation.key_id, decision.registry_revision) or projection.key_fact(
        presentation.key_id
    )
    return [fact for fact in (accreditation, key) if fact is not None]


def leaf_hash_of(fact: facts_pb2.Fact) -> bytes:
    """The leaf hash of a fact about an accreditation or a key."""
    leaf = leaf_of(fact)
    if leaf is None:
        raise ValueError("only accreditations and keys are logged")
    return leaf.leaf_hash()


def check_registry_log(
    facts: Sequence[facts_pb2.Fact], found: Sequence[Inclusion | VitneError], now: datetime
) -> Check:
    """Tell whether each of these facts was proved to be in the log.

    Args:
        facts: what the registry shows.
        found: for each, what the log answered.
        now: the present instant.
    """
    for fact, answer in zip(facts, found, strict=True):
        if isinstance(answer, VitneError):
            return _missing(fact, answer, now)
    detail = "the log has the accreditation and the key as the registry shows them"
    evidence = ", ".join(f"leaf {answer.index}" for answer in found if isinstance(answer, Inclusion))
    return Check(REGISTRY_LOGGED, PASSED, detail, evidence)


def _missing(fact: facts_pb2.Fact, answer: VitneError, now: datetime) -> Check:
    what, evidence = _name(fact), f"leaf {leaf_hash_of(fact).hex()}"
    if not isinstance(answer, NotFound):
        return Check(REGISTRY_LOGGED, NOT_DETERMINABLE, f"the log proved nothing of {what}: {told(answer)}", evidence)
    if now - instant(fact.recorded_at) <= GRACE:
        detail = f"{what} is not in the log yet; try again in a second or two"
    else:
        detail = f"the log does not have {what} as the registry shows it: the registry may tell another past"
    return Check(REGISTRY_LOGGED, NOT_DETERMINABLE, detail, evidence)


def _name(fact: facts_pb2.Fact) -> str:
    if fact.HasField("key"):
        return f"key {fact.key.id} revision {fact.key.revision}"
    return f"accreditation {fact.accreditation.id} revision {fact.accreditation.revision}"
