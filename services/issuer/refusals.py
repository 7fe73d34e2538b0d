"""The answers about credentials that can't be answered for."""

from __future__ import annotations

from uuid import UUID

from vitne.errors import NotFound


def erased(credential: UUID) -> NotFound:
    """The answer about a credential whose learner was erased."""
    return NotFound(
        "CREDENTIAL_ERASED",
        "the learner's data was erased, and the credential with it",
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
