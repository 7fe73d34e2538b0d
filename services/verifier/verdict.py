"""The verdict, derived from the checks alone. Nothing unknown, missing or skipped is ever valid."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final, TypeAlias

from services.verifier.checks import names
from services.verifier.checks.names import Check
from vitne.canonical import instant_text
from vitne_api.verifier.v1 import verifier_pb2

Verdict: TypeAlias = verifier_pb2.Verdict.ValueType

VALID: Final = verifier_pb2.VERDICT_VALID
VALID_WITH_NOTES: Final = verifier_pb2.VERDICT_VALID_WITH_NOTES
SUSPENDED: Final = verifier_pb2.VERDICT_SUSPENDED
REVOKED: Final = verifier_pb2.VERDICT_REVOKED
INVALID: Final = verifier_pb2.VERDICT_INVALID
NOT_DETERMINABLE: Final = verifier_pb2.VERDICT_NOT_DETERMINABLE

#: What a check's failure means. The order is that in which checks are told.
ON_FAILURE: Final[dict[str, Verdict]] = {
    names.STRUCTURE: INVALID,
    names.REGISTRY: NOT_DETERMINABLE,
    names.ISSUER: INVALID,
    names.ISSUER_KEY: INVALID,
    names.SIGNATURE: INVALID,
    names.VALIDITY: INVALID,
    names.ACCREDITATION_THEN: INVALID,
    names.DECISION: INVALID,
    names.ACCREDITATION_CITED: INVALID,
    names.NOT_WITHDRAWN_BACKWARDS: INVALID,
    names.ACCREDITATION_TODAY: INVALID,
    names.CATALOGUE: INVALID,
    names.RECOGNITION: INVALID,
    names.STATUS_LIST: NOT_DETERMINABLE,
    names.NOT_REVOKED: REVOKED,
    names.NOT_SUSPENDED: SUSPENDED,
    names.LOG_INCLUSION: INVALID,
    names.REGISTRY_LOGGED: NOT_DETERMINABLE,
    names.MANDATORY_ELEMENTS: INVALID,
}
#: Checks that may be skipped or missing without harm: a trust list holds no catalogue, and credentials of the first
#: release cite no accreditation by its digest.
OPTIONAL: Final = frozenset({names.CATALOGUE, names.RECOGNITION, names.ACCREDITATION_CITED})
#: Checks that are told only where they were made: most credentials document no recognition.
UNTOLD: Final = frozenset({names.RECOGNITION})

#: Of several, the first counts: what is not genuine is not "revoked", and what is known to be revoked is so
#: whatever else could not be determined.
PRECEDENCE: Final = (INVALID, REVOKED, SUSPENDED, NOT_DETERMINABLE, VALID_WITH_NOTES, VALID)

_WORDS: Final[dict[Verdict, str]] = {
    VALID: "Valid",
    VALID_WITH_NOTES: "Valid, with notes",
    SUSPENDED: "Suspended",
    REVOKED: "Revoked",
    INVALID: "Invalid",
    NOT_DETERMINABLE: "Not determinable",
}


def name_of(verdict: Verdict) -> str:
    """How a verdict is written: ``valid_with_notes``."""
    return verifier_pb2.Verdict.Name(verdict).removeprefix("VERDICT_").lower()


def consequence(check: Check) -> Verdict:
    """What one check alone allows at best."""
    on_failure = ON_FAILURE.get(check.name)
    if on_failure is None:
        return NOT_DETERMINABLE
    if check.outcome == names.PASSED:
        return VALID
    if check.outcome == names.NOTE:
        return VALID_WITH_NOTES
    if check.outcome == names.FAILED:
        return on_failure
    if check.outcome == names.SKIPPED and check.name in OPTIONAL:
        return VALID
    return NOT_DETERMINABLE


def verdict_of(checks: Sequence[Check]) -> Verdict:
    """The worst that the checks say; *not determinable* at best when a required one was not made."""
    reached = {consequence(check) for check in checks}
    if not ON_FAILURE.keys() - OPTIONAL <= {check.name for check in checks}:
        reached.add(NOT_DETERMINABLE)
    return next(verdict for verdict in PRECEDENCE if verdict in reached)


def headline(verdict: Verdict, checks: Sequence[Check], summary: str) -> str:
    """The verdict in one sentence: what it is, or the check that decided."""
    if verdict == VALID:
        because = summary
    else:
        deciding = [check for check in checks if consequence(check) == verdict and check.outcome != names.SKIPPED]
        wanted = deciding if verdict == VALID_WITH_NOTES else deciding[:1]
        because = "; ".join(check.detail for check in wanted) or "not every check could be made"
        because = f"{summary}: {because}" if summary else because
    return f"{_WORDS[verdict]}: {because}."


def dated(verdict: Verdict, told: str, at: datetime, listed: datetime | None) -> str:
    """A verdict's headline that says for which instant it holds, where that is not the present.

    Args:
        verdict: that was reached.
        told: its headline.
        at: the instant.
        listed: of when the status list is by which it holds; None: there was none to rely on.
    """
    word = _WORDS[verdict]
    by = "" if listed is None else f", by the status list of {instant_text(listed)}"
    return f"{word}, as at {instant_text(at)}{by}{told.removeprefix(word)}"
