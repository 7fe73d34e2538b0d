"""What does the published, signed list say of it now?"""

from __future__ import annotations

from services.verifier.checks.names import (
    FAILED,
    NOT_DETERMINABLE,
    NOT_REVOKED,
    NOT_SUSPENDED,
    PASSED,
    STATUS_LIST,
    Check,
    skipped,
    told,
)
from vitne.credentials.model import StatusReference
from vitne.credentials.status_list import INVALID, SUSPENDED, VALID, StatusList
from vitne.errors import VitneError


def check_status(reference: StatusReference, found: StatusList | VitneError) -> tuple[Check, Check, Check]:
    """Read one status: of the list itself, of *revoked*, of *suspended*.

    Without a list that is signed, fresh, of that URI and long enough, no statement can be made.
    """
    evidence = f"{reference.list} place {reference.index}"
    if isinstance(found, VitneError):
        return _unknown(f"the status list says nothing: {told(found)}", evidence)
    try:
        status = found.status_at(reference.index)
    except VitneError as error:
        return _unknown(told(error), evidence)
    if status not in {VALID, INVALID, SUSPENDED}:
        return _unknown(f"status {status} is not known here", evidence)
    read = Check(
        STATUS_LIST,
        PASSED,
        f"the list is signed, of {found.issued_at:%Y-%m-%d %H:%M:%S} UTC, and long enough",
        f"{found.uri}, key {found.key_id}",
    )
    if status == INVALID:
        revoked = Check(NOT_REVOKED, FAILED, "it was revoked, which is final", evidence)
        return read, revoked, skipped(NOT_SUSPENDED, "it is revoked")
    not_revoked = Check(NOT_REVOKED, PASSED, "it is not revoked", evidence)
    if status == SUSPENDED:
        return read, not_revoked, Check(NOT_SUSPENDED, FAILED, "it is suspended: it does not count now", evidence)
    return read, not_revoked, Check(NOT_SUSPENDED, PASSED, "it is not suspended", evidence)


def _unknown(detail: str, evidence: str) -> tuple[Check, Check, Check]:
    because = "there is no list to rely on"
    return (
        Check(STATUS_LIST, NOT_DETERMINABLE, detail, evidence),
        skipped(NOT_REVOKED, because),
        skipped(NOT_SUSPENDED, because),
    )
