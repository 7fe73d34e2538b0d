"""Who may call what: every method of every service, tried by every role."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import grpc
import pytest

from vitne.dev.actors import Actors
from vitne.dev.demo import Demo
from vitne.dev.stack import Stack
from vitne.runtime.status import error_from_rpc
from vitne_api.issuer.v1 import issuer_pb2, rights_pb2, subscription_pb2, webhooks_pb2
from vitne_api.ledger.v1 import ledger_pb2
from vitne_api.operations.v1 import operations_pb2
from vitne_api.registry.v1 import registry_pb2
from vitne_api.verifier.v1 import verifier_pb2

FILES: Final = (
    ("registry", registry_pb2),
    ("issuer", issuer_pb2),
    ("issuer", rights_pb2),
    ("issuer", subscription_pb2),
    ("issuer", webhooks_pb2),
    ("ledger", ledger_pb2),
    ("verifier", verifier_pb2),
    # Every service that consumes lets operators see to what it could not handle.
    ("issuer", operations_pb2),
    ("ledger", operations_pb2),
    ("portal", operations_pb2),
)
EVERYBODY: Final = {"anonymous", "institution", "authority", "operator", "hub", "issuer"}
#: Written down here and not read from the protos: a change of who may call what has to be made twice.
MAY_CALL: Final[dict[str, set[str]]] = {
    "registry.RegisterAuthority": {"operator"},
    "registry.AmendAuthority": {"operator"},
    "registry.RegisterProvider": {"authority"},
    "registry.CloseProvider": {"authority"},
    # Who is no authority is refused by its own check, behind the scope.
    "registry.CreateAccreditationKey": {"authority", "institution", "operator"},
    "registry.RegisterKey": {"authority", "institution", "operator"},
    "registry.RetireKey": {"authority", "institution", "operator"},
    "registry.GrantAccreditation": {"authority"},
    "registry.AmendAccreditation": {"authority"},
    "registry.SuspendAccreditation": {"authority"},
    "registry.ReinstateAccreditation": {"authority"},
    "registry.WithdrawAccreditation": {"authority"},
    "registry.AmendProvider": {"authority"},
    "registry.ApplyForAccreditation": {"institution"},
    "registry.ReviewApplication": {"authority"},
    "registry.RefuseApplication": {"authority"},
    "registry.RenewAccreditation": {"authority"},
    "registry.OrderRevocation": {"authority"},
    "registry.ConfirmDecision": {"authority"},
    "registry.DeclineDecision": {"authority"},
    "registry.ReportChange": {"institution"},
    "registry.GetCase": EVERYBODY,
    "registry.ListOpenCases": {"authority"},
    "registry.PublishAchievement": {"institution"},
    "registry.PublishQualification": {"institution", "authority"},
    "registry.GetAchievement": EVERYBODY,
    "registry.GetQualification": EVERYBODY,
    "registry.ListQualifications": EVERYBODY,
    "registry.EvaluateStacking": {"institution", "hub"},
    "registry.Decide": EVERYBODY,
    "registry.ListFacts": EVERYBODY,
    "issuer.CreateSigningKey": {"institution"},
    "issuer.Issue": {"institution"},
    "issuer.IssueBatch": {"institution"},
    "issuer.GetCredential": {"institution"},
    "issuer.ListCredentials": {"institution"},
    "issuer.ChangeStatus": {"institution"},
    "issuer.ChangeStatuses": {"institution"},
    "issuer.ListFlags": {"institution"},
    "issuer.RestateParts": {"institution"},
    "issuer.ListAccreditationFlags": {"authority"},
    "issuer.PreviewEffects": {"authority"},
    "issuer.RevokeFlagged": {"authority"},
    "issuer.RegisterLearner": {"hub"},
    "issuer.WithdrawLearner": {"hub"},
    "issuer.FetchCredentials": {"hub"},
    "issuer.ExportLearner": {"hub"},
    "issuer.EraseLearner": {"hub"},
    "issuer.EraseLocalLearner": {"institution"},
    "issuer.ReadArchived": {"institution"},
    "issuer.GetSubscription": {"hub"},
    "issuer.SetSubscription": {"hub"},
    "issuer.GrantLegalGround": {"operator"},
    "issuer.EndLegalGround": {"operator"},
    "issuer.ListLegalGrounds": {"operator"},
    "issuer.RegisterWebhook": {"institution", "hub"},
    "issuer.ListWebhooks": {"institution", "hub"},
    "issuer.DeleteWebhook": {"institution", "hub"},
    "issuer.RotateWebhookSecret": {"institution", "hub"},
    "issuer.ReplayWebhook": {"institution", "hub"},
    "issuer.ListWebhookDeliveries": {"institution", "hub"},
    "ledger.LeaseIndexes": {"issuer"},
    "ledger.SetStatus": {"issuer"},
    "ledger.SetStatuses": {"issuer"},
    "ledger.GetCheckpoint": EVERYBODY,
    "ledger.GetInclusionProof": EVERYBODY,
    "ledger.GetConsistencyProof": EVERYBODY,
    "ledger.GetSuccession": EVERYBODY,
    "ledger.StatusAt": EVERYBODY,
    "verifier.Verify": EVERYBODY,
    **{
        f"{service}.{method}": {"operator"}
        for service in ("issuer", "ledger", "portal")
        for method in ("ListParked", "GetParked", "ReplayParked", "DropParked", "SkipGap", "ListActs")
    },
}

#: Calls of a stream, at most.
TRIES = 20


def methods() -> Iterator[tuple[str, str, bool]]:
    """Short name, path on the wire, and whether the client streams, of every method there is."""
    for short, file in FILES:
        for service in file.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                yield f"{short}.{method.name}", f"/{service.full_name}/{method.name}", method.client_streaming


def test_every_method_is_in_the_table() -> None:
    assert {name for name, _, _ in methods()} == set(MAY_CALL)


@pytest.mark.parametrize("role", sorted(EVERYBODY))
async def test_a_role_reaches_its_methods_and_no_others(stack: Stack, actors: Actors, world: Demo, role: str) -> None:
    cases = world.cases
    credentials = {
        "anonymous": None,
        "institution": stack.clients[cases.providers["uio"].message.id],
        "authority": stack.clients[cases.authorities[0].id],
        "operator": stack.clients[cases.operator],
        "hub": stack.clients[cases.hub],
        "issuer": stack.clients["issuer"],
    }[role]
    token = "" if credentials is None else await actors.acting(credentials).access_token()
    reached: dict[str, tuple[grpc.StatusCode, str]] = {}
    for name, path, streams in methods():
        code, reason = await call(stack.grpc_address(name.split(".")[0]), path, token, streams=streams)
        # An empty request is refused by every method that changes anything, so that nothing happens here.
        if code not in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED):
            reached[name] = (code, reason)
        else:
            assert reason in ("TOKEN_MISSING", "SCOPE_MISSING"), (name, code, reason)
    expected = {name for name, roles in MAY_CALL.items() if role in roles}
    assert set(reached) == expected, {name: reached[name] for name in set(reached) - expected}


async def call(address: str, path: str, token: str, *, streams: bool) -> tuple[grpc.StatusCode, str]:
    """Call a method with an empty request; the status and the stable reason."""
    for _ in range(TRIES):
        answer = await call_once(address, path, token, streams=streams)
        # A server that refuses a stream at once may be faster than gRPC's client, which was still writing and calls
        # that an internal error of its own; one of the server's has another reason.
        if answer != (grpc.StatusCode.INTERNAL, "REMOTE_INTERNAL"):
            break
    return answer


async def call_once(address: str, path: str, token: str, *, streams: bool) -> tuple[grpc.StatusCode, str]:
    metadata = [("authorization", f"Bearer {token}")] if token else []
    async with grpc.aio.insecure_channel(address) as channel:
        # Without serialisers bytes go as they are.
        method: Any = channel.stream_stream(path) if streams else channel.unary_unary(path)
        try:
            if streams:
                async for _ in method(iter([b""]), metadata=metadata, timeout=60):
                    pass
            else:
                await method(b"", metadata=metadata, timeout=60)
        except grpc.aio.AioRpcError as error:
            return error.code(), error_from_rpc(error).reason
    return grpc.StatusCode.OK, ""
