"""Is the decision that is bound in the one that the facts give, byte for byte?"""

from __future__ import annotations

from services.verifier.checks.names import DECISION, FAILED, NOT_DETERMINABLE, PASSED, Check, skipped
from vitne.accreditation import DecisionOutcome, record_of
from vitne.credentials.model import Credential


def check_decision(credential: Credential, then: DecisionOutcome | None) -> Check:
    """Recompute the record from the registry's facts as known at issuance, and compare digests.

    That the digest is that of the record in the claims was checked when they were read.
    """
    reference, achievement = credential.decision, credential.achievement
    evidence = reference.digest
    about = (reference.provider, str(reference.achievement_id), reference.achievement_version)
    if about != (str(credential.awarding_body.id), achievement.id, achievement.version):
        return Check(DECISION, FAILED, "the decision is about another provider or achievement", evidence)
    if then is None or not then.allowed:
        return skipped(DECISION, "there is no decision to compare with")
    # The version of the rules is the issuer's: it is told apart below.
    same_rules = then.framework_version == reference.framework_version
    recomputed = record_of(then._replace(framework_version=reference.framework_version))
    if recomputed.digest == reference.digest:
        detail = "the decision can be computed again from the registry's facts, with the same digest"
        if not same_rules:
            detail += (
                f"; by version {then.framework_version} of the rules, where it cites {reference.framework_version}"
            )
        return Check(DECISION, PASSED, detail, evidence)
    if not same_rules:
        detail = f"version {reference.framework_version} of the rules is not known here, and another decides otherwise"
        return Check(DECISION, NOT_DETERMINABLE, detail, evidence)
    return Check(DECISION, FAILED, "the registry's facts give another decision than the one that is bound in", evidence)
