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
from services.verifier.presented import Presented
from vitne.accreditation.logged import Logged, logged_accreditation, logged_key
from vitne.errors import NotFound, VitneError

#: How long after it was recorded a fact's leaf may still be on its way.
GRACE: Final = timedelta(minutes=1)


def facts_to_look_up(presentation: Presented, knowledge: Knowledge) -> list[Logged]:
    """The facts whose leaves are asked for: of the accreditation as it is cited, and of the key as it was entered."""
    credential, projection = presentation.credential, knowledge.projection
    decision, provider = credential.decision, str(credential.awarding_body.id)
    accreditation = logged_accreditation(
        projection, provider, str(decision.accreditation_id), decision.accreditation_revision
    )
    # As known at issuance: a later revision of the key is no part of what the credential rests on.
    key = logged_key(projection, provider, presentation.key_id, decision.registry_revision)
    return [fact for fact in (accreditation, key) if fact is not None]


def check_registry_log(facts: Sequence[Logged], found: Sequence[Inclusion | VitneError], now: datetime) -> Check:
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


def _missing(fact: Logged, answer: VitneError, now: datetime) -> Check:
    evidence = f"leaf {fact.leaf_hash.hex()}"
    if not isinstance(answer, NotFound):
        detail = f"the log proved nothing of {fact.name}: {told(answer)}"
    elif now - fact.recorded_at <= GRACE:
        detail = f"{fact.name} is not in the log yet; try again in a second or two"
    else:
        detail = f"the log does not have {fact.name} as the registry shows it: the registry may tell another past"
    return Check(REGISTRY_LOGGED, NOT_DETERMINABLE, detail, evidence)
