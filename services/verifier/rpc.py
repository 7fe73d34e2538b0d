"""The contract's implementation over gRPC."""

from __future__ import annotations

from typing import Any

from services.verifier.answers import to_message
from services.verifier.presented import one_required
from services.verifier.verification import Verifier
from vitne_api.verifier.v1 import verifier_pb2, verifier_pb2_grpc


class VerifierRpc(verifier_pb2_grpc.VerifierServiceServicer):
    """Implements ``vitne.verifier.v1.VerifierService``."""

    def __init__(self, verifier: Verifier) -> None:
        self._verifier = verifier

    async def Verify(  # noqa: N802 - the contract's name
        self, request: verifier_pb2.VerifyRequest, context: Any
    ) -> verifier_pb2.VerifyResponse:
        """Verify one credential. A bad credential is an answer, not an error.

        Raises:
            InvalidArgument: ``ONE_REQUIRED``.
            ResourceExhausted: ``OVERLOADED``.
        """
        if bool(request.credential) is bool(request.badge_image):
            raise one_required(both=bool(request.credential))
        return to_message(await self._verifier.verify(request.credential or request.badge_image))
