"""The answers about credentials that can't be answered for."""

from __future__ import annotations

from uuid import UUID

from vitne.errors import NotFound, PermissionDenied


def erased(credential: UUID) -> NotFound:
    """The answer about a credential whose learner was erased."""
    return NotFound(
        "CREDENTIAL_ERASED",
        "the learner's data was erased, and the credential is not shown any more",
        metadata={"credential": str(credential)},
    )


def restricted(credential: UUID) -> PermissionDenied:
    """The answer about a credential whose learner was erased, and which the archives acts keep."""
    return PermissionDenied(
        "CREDENTIAL_RESTRICTED",
        "the learner's data was erased; the credential is kept by law, and is not shown",
        rule="archives acts: restricted, not erased (RECORDS: what survives erasure)",
        remedy="where there is a ground to read it, state it with ReadArchived",
        metadata={"credential": str(credential)},
    )


def unknown_credential() -> NotFound:
    """The answer about a credential that is not the institution's: whether it exists is not told."""
    return NotFound(
        "CREDENTIAL_UNKNOWN",
        "the institution has no credential with this id",
        field="credential_id",
        remedy="use an id that Issue, IssueBatch or ListCredentials answered",
    )
