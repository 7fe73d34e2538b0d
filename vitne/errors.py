"""The one error hierarchy of Vitne.

Every refusal says what went wrong in a form that a machine can branch on
(``reason``) and a person can act on (``field``, ``rule``, ``remedy``). Nothing
here knows gRPC or HTTP: ``vitne.runtime`` translates at the edge to
``google.rpc.Status`` with ``ErrorInfo``, ``BadRequest`` and
``PreconditionFailure`` (https://google.aip.dev/193).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar


class VitneError(Exception):
    """Base of everything that Vitne refuses or fails at on purpose.

    Args:
        reason: stable identifier in UPPER_SNAKE_CASE, at most 63 characters
            (AIP-193). Clients branch on it; it never changes meaning.
        message: one sentence for a person. Never personal data, never a secret.
        field: path of the offending field as the caller knows it, for example
            ``items[3].workload.points``; empty when no single field is at fault.
        rule: the rule that was broken, in words or as a rule's identifier
            (``dk.micro_credential.minimum_size``).
        remedy: what the caller can do about it.
        metadata: further stable facts for machines; identifiers only.
    """

    #: Canonical status name (google.rpc.Code) that the edge translates to.
    code: ClassVar[str] = "UNKNOWN"

    def __init__(
        self,
        reason: str,
        message: str,
        *,
        field: str = "",
        rule: str = "",
        remedy: str = "",
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.field = field
        self.rule = rule
        self.remedy = remedy
        self.metadata: dict[str, str] = dict(metadata or {})

    def __str__(self) -> str:
        parts = [f"{self.reason}: {self.message}"]
        if self.field:
            parts.append(f"field: {self.field}")
        if self.rule:
            parts.append(f"rule: {self.rule}")
        if self.remedy:
            parts.append(f"remedy: {self.remedy}")
        return "; ".join(parts)


class InvalidArgument(VitneError):
    """The request is wrong whatever the state of the system."""

    code = "INVALID_ARGUMENT"


class FailedPrecondition(VitneError):
    """The request is well formed, but the state of the system forbids it."""

    code = "FAILED_PRECONDITION"


class NotFound(VitneError):
    """Nothing by that name exists for this caller."""

    code = "NOT_FOUND"


class AlreadyExists(VitneError):
    """What was to be created exists already, with other content."""

    code = "ALREADY_EXISTS"


class PermissionDenied(VitneError):
    """The caller is known and may not do this."""

    code = "PERMISSION_DENIED"


class Unauthenticated(VitneError):
    """The caller did not show who it is, or what it showed does not hold."""

    code = "UNAUTHENTICATED"


class Aborted(VitneError):
    """Somebody else was faster (a version or an offset moved); read again."""

    code = "ABORTED"


class ResourceExhausted(VitneError):
    """A limit or quota was reached."""

    code = "RESOURCE_EXHAUSTED"


class Unavailable(VitneError):
    """Something this depends on is out of reach or stale; try again later."""

    code = "UNAVAILABLE"


class DataLoss(VitneError):
    """Stored or received bytes do not say what they must; an operator is needed."""

    code = "DATA_LOSS"
