"""Errors on the wire: :class:`VitneError` to ``google.rpc.Status`` and back.

The details follow AIP-193 (https://google.aip.dev/193): always an ``ErrorInfo``
(domain ``vitne.no``; metadata carry ``field``, ``rule`` and ``remedy``), a
``BadRequest`` where fields are at fault, a ``PreconditionFailure`` where state is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import grpc
from google.protobuf.message import DecodeError
from google.rpc import code_pb2, error_details_pb2, status_pb2

from vitne.errors import FailedPrecondition, InvalidArgument, Unavailable, VitneError

#: ``ErrorInfo.domain`` of everything that Vitne itself says.
DOMAIN: Final = "vitne.no"
#: Trailing metadata in which gRPC carries a ``google.rpc.Status``.
STATUS_TRAILER: Final = "grpc-status-details-bin"
#: gRPC clients refuse trailers beyond 8 KiB, base64 included; what exceeds this is shortened.
MAX_STATUS_BYTES: Final = 4096
#: Longest single text inside a status, in characters.
MAX_TEXT: Final = 400
_RESERVED: Final = ("field", "rule", "remedy")


class Internal(VitneError):
    """A fault of ours; the incident id leads an operator to the log."""

    code = "INTERNAL"


class DeadlineExceeded(VitneError):
    """The caller's deadline passed; whether the work was done is not known."""

    code = "DEADLINE_EXCEEDED"


class Unimplemented(VitneError):
    """The method is in the contract, and this server does not offer it."""

    code = "UNIMPLEMENTED"


@dataclass(frozen=True, slots=True)
class Violation:
    """One field that breaks a rule of the contract; never holds the field's value.

    Attributes:
        field: path of the field, ``items[3].title[0].language``.
        reason: stable identifier, such as ``FIELD_REQUIRED``.
        rule: the rule in words.
        remedy: what to do.
    """

    field: str
    reason: str
    rule: str
    remedy: str


class RuleViolations(InvalidArgument):
    """One or more fields break rules of the contract; as an error it speaks for the first."""

    def __init__(self, violations: Sequence[Violation]) -> None:
        first = violations[0]
        count = len(violations)
        super().__init__(
            first.reason,
            "a field breaks a rule of the contract" if count == 1 else f"{count} fields break rules of the contract",
            field=first.field,
            rule=first.rule,
            remedy=first.remedy,
        )
        self.violations: tuple[Violation, ...] = tuple(violations)


def errors_to_status(error: VitneError) -> status_pb2.Status:
    """The ``google.rpc.Status`` that tells a client of ``error``, small enough for gRPC's trailers."""
    message = _clip(error.message)
    info = error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN)
    for key, value in error.metadata.items():
        info.metadata[key] = _clip(value)
    for key in _RESERVED:
        if value := getattr(error, key):
            info.metadata[key] = _clip(value)
    status = status_pb2.Status(code=code_pb2.Code.Value(error.code), message=message)
    status.details.add().Pack(info)
    detail = _field_details(error, MAX_STATUS_BYTES - status.ByteSize())
    if detail is not None:
        status.details.add().Pack(detail)
    return status


def _field_details(error: VitneError, room: int) -> Any:
    """A ``BadRequest`` or ``PreconditionFailure``, or None where neither applies."""
    if isinstance(error, FailedPrecondition):
        failure = error_details_pb2.PreconditionFailure()
        failure.violations.add(
            type=error.reason,
            subject=_clip(error.field or error.rule),
            description=_clip("; ".join(text for text in (error.rule, error.remedy) if text) or error.message),
        )
        return failure
    if not isinstance(error, InvalidArgument) or not error.field:
        return None
    violations = (
        error.violations
        if isinstance(error, RuleViolations)
        else (Violation(error.field, error.reason, error.rule, error.remedy),)
    )
    bad_request = error_details_pb2.BadRequest()
    for violation in violations:
        bad_request.field_violations.add(
            field=_clip(violation.field),
            reason=violation.reason,
            description=_clip(f"{violation.rule}; {violation.remedy}"),
        )
        if len(bad_request.field_violations) > 1 and bad_request.ByteSize() > room:
            del bad_request.field_violations[-1]
            break
    return bad_request


def error_from_status(status: status_pb2.Status) -> VitneError:
    """Rebuild the error that another Vitne service put into a status; foreign ones get a reason by their code."""
    code = code_pb2.Code.Name(status.code) if status.code in code_pb2.Code.values() else "UNKNOWN"
    kind = _KINDS.get(code, VitneError)
    info = error_details_pb2.ErrorInfo()
    bad_request = error_details_pb2.BadRequest()
    for detail in status.details:
        if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
            detail.Unpack(info)
        elif detail.Is(error_details_pb2.BadRequest.DESCRIPTOR):
            detail.Unpack(bad_request)
    if info.domain != DOMAIN:
        return kind(f"REMOTE_{code}", status.message or "the called service gave no reason")
    if kind is InvalidArgument and len(bad_request.field_violations) > 1:
        return RuleViolations(
            [
                Violation(entry.field, entry.reason, *_split_description(entry.description))
                for entry in bad_request.field_violations
            ]
        )
    metadata = dict(info.metadata)
    field, rule, remedy = (metadata.pop(key, "") for key in _RESERVED)
    return kind(info.reason, status.message, field=field, rule=rule, remedy=remedy, metadata=metadata)


def error_from_rpc(error: grpc.aio.AioRpcError) -> VitneError:
    """The error behind a failed call to another service.

    What did not come from a Vitne service (no connection, a server that stopped, a deadline that passed)
    becomes :class:`~vitne.errors.Unavailable` with reason ``UNREACHABLE``,
    :class:`DeadlineExceeded`, or the class of its code with reason ``REMOTE_<CODE>``.
    """
    for key, value in error.trailing_metadata() or ():
        if key == STATUS_TRAILER:
            try:
                status = status_pb2.Status.FromString(value)
            except DecodeError:
                break
            if status.code == error.code().value[0]:
                return error_from_status(status)
    if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
        return Unavailable(
            "UNREACHABLE", "a service that this depends on is out of reach", remedy="try again, with the same request"
        )
    if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
        return DeadlineExceeded(
            "DEADLINE_EXCEEDED", "a called service did not answer in time", remedy="try again, with the same request"
        )
    return error_from_status(status_pb2.Status(code=error.code().value[0], message=error.details() or ""))


def trailers(status: status_pb2.Status) -> tuple[tuple[str, bytes], ...]:
    """A status as gRPC's trailing metadata."""
    return ((STATUS_TRAILER, status.SerializeToString()),)


def _split_description(text: str) -> tuple[str, str]:
    rule, _, remedy = text.partition("; ")
    return rule, remedy


def _clip(text: str) -> str:
    return text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 1]}…"


def _kinds(root: type[VitneError]) -> dict[str, type[VitneError]]:
    return {kind.code: kind for kind in root.__subclasses__()}


_KINDS: Final = _kinds(VitneError)
