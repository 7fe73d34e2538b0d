"""Errors on the wire: what a client is told, and what comes back out of it."""

from __future__ import annotations

import importlib
import pkgutil

import grpc
import pytest
from google.rpc import code_pb2, error_details_pb2, status_pb2
from hypothesis import given
from hypothesis import strategies as st

import vitne
from vitne import errors
from vitne.errors import Aborted, FailedPrecondition, InvalidArgument, NotFound, Unavailable, VitneError
from vitne.runtime.status import (
    MAX_STATUS_BYTES,
    STATUS_TRAILER,
    DeadlineExceeded,
    Internal,
    RuleViolations,
    Violation,
    error_from_rpc,
    error_from_status,
    errors_to_status,
    trailers,
)

KINDS = [
    kind
    for kind in (*(getattr(errors, name) for name in vars(errors)), Internal, DeadlineExceeded)
    if isinstance(kind, type) and issubclass(kind, VitneError) and kind is not VitneError
]
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=80)
REASON = st.from_regex(r"[A-Z][A-Z0-9_]{1,40}[A-Z0-9]", fullmatch=True)


@given(
    st.sampled_from(KINDS), REASON, TEXT, TEXT, TEXT, TEXT, st.dictionaries(st.sampled_from(["id", "revision"]), TEXT)
)
def test_an_error_survives_the_wire(
    kind: type[VitneError],
    reason: str,
    message: str,
    field: str,
    rule: str,
    remedy: str,
    metadata: dict[str, str],
) -> None:
    sent = kind(reason, message, field=field, rule=rule, remedy=remedy, metadata=metadata)
    status = status_pb2.Status.FromString(errors_to_status(sent).SerializeToString())
    received = error_from_status(status)
    assert type(received) is kind
    assert code_pb2.Code.Name(status.code) == kind.code
    assert vars(received) == vars(sent)


def test_a_code_is_read_back_as_one_kind_of_error_whatever_else_is_imported() -> None:
    for module in pkgutil.walk_packages(vitne.__path__, "vitne."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    codes = [kind.code for kind in VitneError.__subclasses__()]
    assert len(codes) == len(set(codes)), "a kind with the code of another one is a kind of that"


def test_every_violation_survives_the_wire() -> None:
    sent = RuleViolations([Violation("a.b", "TOO_LONG", "at most 3", "shorten"), Violation("c", "BAD_UUID", "r", "")])
    received = error_from_status(errors_to_status(sent))
    assert isinstance(received, RuleViolations)
    assert received.violations == sent.violations


def test_a_status_fits_into_trailers_whatever_was_wrong() -> None:
    violations = [Violation("field" * 60, "TOO_LONG", "rule " * 200, "remedy " * 200)] * 20
    status = errors_to_status(RuleViolations(violations))
    # gRPC's own bound is 8 KiB after base64 takes a third more.
    assert status.ByteSize() < 2 * MAX_STATUS_BYTES * 3 // 4
    assert isinstance(error_from_status(status), InvalidArgument)


def test_details_follow_aip_193() -> None:
    status = errors_to_status(FailedPrecondition("REVOKED", "revoked is final", field="change", rule="r", remedy="m"))
    info, failure = error_details_pb2.ErrorInfo(), error_details_pb2.PreconditionFailure()
    assert status.details[0].Unpack(info)
    assert status.details[1].Unpack(failure)
    assert (info.domain, info.reason) == ("vitne.no", "REVOKED")
    assert dict(info.metadata) == {"field": "change", "rule": "r", "remedy": "m"}
    assert (failure.violations[0].type, failure.violations[0].subject) == ("REVOKED", "change")

    status = errors_to_status(InvalidArgument("BAD_UUID", "no", field="request_id", rule="r", remedy="m"))
    bad_request = error_details_pb2.BadRequest()
    assert status.details[1].Unpack(bad_request)
    assert [(v.field, v.reason, v.description) for v in bad_request.field_violations] == [
        ("request_id", "BAD_UUID", "r; m")
    ]


def rpc_error(
    code: grpc.StatusCode, details: str = "", trailer: tuple[tuple[str, bytes], ...] = ()
) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(*trailer), details)


def test_an_rpc_error_is_rebuilt_from_its_trailer() -> None:
    sent = NotFound("UNKNOWN_CREDENTIAL", "no such credential", field="credential_id")
    error = error_from_rpc(rpc_error(grpc.StatusCode.NOT_FOUND, "x", trailers(errors_to_status(sent))))
    assert isinstance(error, NotFound)
    assert vars(error) == vars(sent)


@pytest.mark.parametrize(
    ("code", "kind", "reason"),
    [
        (grpc.StatusCode.UNAVAILABLE, Unavailable, "UNREACHABLE"),
        (grpc.StatusCode.DEADLINE_EXCEEDED, DeadlineExceeded, "DEADLINE_EXCEEDED"),
        (grpc.StatusCode.ABORTED, Aborted, "REMOTE_ABORTED"),
        (grpc.StatusCode.CANCELLED, Unavailable, "UNREACHABLE"),
    ],
)
def test_what_no_service_of_ours_said_gets_a_reason_by_its_code(
    code: grpc.StatusCode, kind: type[VitneError], reason: str
) -> None:
    error = error_from_rpc(rpc_error(code, "connection reset"))
    assert type(error) is kind
    assert error.reason == reason


@pytest.mark.parametrize("trailer", [b"\xff\xff\xff", b""])
def test_a_broken_trailer_is_not_believed(trailer: bytes) -> None:
    error = error_from_rpc(rpc_error(grpc.StatusCode.NOT_FOUND, "x", ((STATUS_TRAILER, trailer),)))
    assert isinstance(error, VitneError)
    assert error.reason.startswith("REMOTE_")


def test_a_foreign_domain_does_not_choose_our_reasons() -> None:
    status = status_pb2.Status(code=code_pb2.NOT_FOUND, message="gone")
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason="REVOKED", domain="elsewhere.example"))
    assert error_from_status(status).reason == "REMOTE_NOT_FOUND"
