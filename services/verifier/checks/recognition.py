"""Where a credential documents recognition of prior learning: might its issuer recognise that, for that?"""

from __future__ import annotations

from services.verifier.checks.names import FAILED, NOTE, PASSED, RECOGNITION, Check, skipped, told
from services.verifier.knowledge import Knowledge
from vitne.credentials.model import Credential
from vitne.errors import VitneError
from vitne.stacking import check_recognition


def check_recognised(credential: Credential, knowledge: Knowledge) -> Check | None:
    """Hold the act of recognition against the national rules; None for a credential that documents none."""
    act = credential.recognition
    if act is None:
        return None
    if not knowledge.catalogue:
        return skipped(RECOGNITION, "the registry's trust list holds no catalogue to recognise against")
    evidence = f"achievement {act.achievement_id} version {act.achievement_version}"
    against = knowledge.projection.achievement(act.achievement_id, act.achievement_version)
    body = knowledge.projection.provider(str(credential.awarding_body.id))
    if against is None or body is None:
        return Check(RECOGNITION, FAILED, "what it was recognised as was never published", evidence)
    try:
        rule = check_recognition(
            act, credential.achievement, against, body, knowledge.frameworks, decided_on=credential.awarded_on
        )
    except VitneError as error:
        return Check(RECOGNITION, FAILED, told(error), evidence)
    if rule.id != act.rule:
        return Check(RECOGNITION, NOTE, f"it cites the rule {act.rule}; here {rule.id} lets its issuer", evidence)
    return Check(RECOGNITION, PASSED, rule.says, rule.id)
