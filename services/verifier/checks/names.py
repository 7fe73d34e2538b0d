"""The names of the checks, which clients branch on, and the outcomes in short."""

from __future__ import annotations

from typing import Final

from vitne.accreditation.decide import Check
from vitne.errors import VitneError
from vitne_api.credential.v1 import credential_pb2

STRUCTURE: Final = "structure"
VALIDITY: Final = "validity"
MANDATORY_ELEMENTS: Final = "mandatory_elements"
REGISTRY: Final = "registry"
ISSUER: Final = "issuer"
ISSUER_KEY: Final = "issuer_key"
SIGNATURE: Final = "signature"
DECISION: Final = "decision"
ACCREDITATION_CITED: Final = "accreditation_cited"
ACCREDITATION_THEN: Final = "accreditation_then"
NOT_WITHDRAWN_BACKWARDS: Final = "not_withdrawn_backwards"
ACCREDITATION_TODAY: Final = "accreditation_today"
CATALOGUE: Final = "catalogue"
RECOGNITION: Final = "recognition"
STATUS_LIST: Final = "status_list"
NOT_REVOKED: Final = "not_revoked"
NOT_SUSPENDED: Final = "not_suspended"
LOG_INCLUSION: Final = "log_inclusion"
REGISTRY_LOGGED: Final = "registry_logged"

PASSED: Final = credential_pb2.Check.OUTCOME_PASSED
FAILED: Final = credential_pb2.Check.OUTCOME_FAILED
NOTE: Final = credential_pb2.Check.OUTCOME_NOTE
NOT_DETERMINABLE: Final = credential_pb2.Check.OUTCOME_NOT_DETERMINABLE
SKIPPED: Final = credential_pb2.Check.OUTCOME_SKIPPED


def skipped(name: str, because: str) -> Check:
    """A check that was not made, since another one decided."""
    return Check(name, SKIPPED, f"not looked at, since {because}", "")


def told(error: VitneError) -> str:
    """What an error says, for a check's detail: its reason, too, so that it can be looked up."""
    return f"{error.message} ({error.reason})"


__all__ = [
    "ACCREDITATION_CITED",
    "ACCREDITATION_THEN",
    "ACCREDITATION_TODAY",
    "CATALOGUE",
    "DECISION",
    "FAILED",
    "ISSUER",
    "ISSUER_KEY",
    "LOG_INCLUSION",
    "MANDATORY_ELEMENTS",
    "NOTE",
    "NOT_DETERMINABLE",
    "NOT_REVOKED",
    "NOT_SUSPENDED",
    "NOT_WITHDRAWN_BACKWARDS",
    "PASSED",
    "RECOGNITION",
    "REGISTRY",
    "REGISTRY_LOGGED",
    "SIGNATURE",
    "SKIPPED",
    "STATUS_LIST",
    "STRUCTURE",
    "VALIDITY",
    "Check",
    "skipped",
    "told",
]
