"""Was the provider allowed to issue it: then, as known then; then, as known now; and today?

What a credential rests on is the accreditation under which it was issued. Where that
one was withdrawn backwards in time it no longer counts, also when another was granted
for the same time since: both are said.
"""

from __future__ import annotations

from datetime import datetime

from services.verifier.checks.names import (
    ACCREDITATION_THEN,
    ACCREDITATION_TODAY,
    FAILED,
    NOT_DETERMINABLE,
    NOT_WITHDRAWN_BACKWARDS,
    NOTE,
    PASSED,
    Check,
    skipped,
    told,
)
from services.verifier.knowledge import Knowledge
from vitne.accreditation import DecisionOutcome
from vitne.credentials.model import Credential
from vitne.errors import VitneError


def check_accreditation(
    credential: Credential, knowledge: Knowledge, now: datetime
) -> tuple[Check, Check, Check, DecisionOutcome | None]:
    """Run the decision function again, for each question; answers its outcome as known then, too."""
    try:
        then = knowledge.decide(credential, credential.issued_at, credential.decision.registry_revision)
        known_now = knowledge.decide(credential, credential.issued_at, None)
        same = known_now
        if then.allowed and then.accreditation_id != known_now.accreditation_id:
            same = knowledge.decide(credential, credential.issued_at, None, under=then.accreditation_id)
        today = knowledge.decide(credential, now, None)
    except VitneError as error:
        unknown = [
            Check(name, NOT_DETERMINABLE, told(error), "")
            for name in (ACCREDITATION_THEN, NOT_WITHDRAWN_BACKWARDS, ACCREDITATION_TODAY)
        ]
        return unknown[0], unknown[1], unknown[2], None
    return _then(credential, then), _known_now(then, same, known_now), _today(then, same, today), then


def _then(credential: Credential, then: DecisionOutcome) -> Check:
    if then.allowed:
        detail = f"the provider was accredited for it at issuance, by {then.authority}"
        return Check(ACCREDITATION_THEN, PASSED, detail, f"{_accreditation(then)}, {then.rule}")
    if then.framework_version != credential.decision.framework_version:
        # The rules that were applied then may have been others than those known here.
        detail = (
            f"version {credential.decision.framework_version} of the rules is not known here; "
            f"by version {then.framework_version}: {then.message}"
        )
        return Check(ACCREDITATION_THEN, NOT_DETERMINABLE, detail, then.rule)
    return Check(ACCREDITATION_THEN, FAILED, f"the provider was not allowed to issue it: {then.message}", then.rule)


def _known_now(then: DecisionOutcome, same: DecisionOutcome, known_now: DecisionOutcome) -> Check:
    """Whether it still counts: ``same`` is about the accreditation of then, ``known_now`` about any."""
    if not then.allowed:
        return skipped(NOT_WITHDRAWN_BACKWARDS, "there was nothing to withdraw")
    if same.allowed:
        detail = "what has become known since issuance does not touch it"
        return Check(NOT_WITHDRAWN_BACKWARDS, PASSED, detail, f"registry revision {known_now.known_at}")
    detail = (
        f"as known at issuance it was rightfully issued ({_accreditation(then)}, registry revision {then.known_at}), "
        f"but that no longer counts, as known at registry revision {same.known_at}: {same.message}"
    )
    if known_now.allowed:
        detail += f"; that {_accreditation(known_now)} was granted for the same time since does not mend it"
    return Check(NOT_WITHDRAWN_BACKWARDS, FAILED, detail, same.rule)


def _today(then: DecisionOutcome, same: DecisionOutcome, today: DecisionOutcome) -> Check:
    if not (then.allowed and same.allowed):
        return skipped(ACCREDITATION_TODAY, "it was not rightfully issued")
    if today.allowed:
        return Check(ACCREDITATION_TODAY, PASSED, "the provider may still issue it", f"{_accreditation(today)}")
    detail = f"the provider may no longer issue it, which does not touch what it issued before: {today.message}"
    return Check(ACCREDITATION_TODAY, NOTE, detail, today.rule)


def _accreditation(outcome: DecisionOutcome) -> str:
    return f"accreditation {outcome.accreditation_id} revision {outcome.accreditation_revision}"
