"""Errors of handlers become statuses of the wire; what nobody foresaw becomes an incident."""

from __future__ import annotations

import asyncio
import logging
import traceback
import uuid
from collections.abc import AsyncIterator
from typing import Any, Final

import grpc

from vitne.errors import Aborted, VitneError
from vitne.outages import CONFLICT
from vitne.runtime.database import is_out_of_reach, unavailable
from vitne.runtime.interceptors.chain import Method, Stream, Unary
from vitne.runtime.status import Internal, error_from_rpc, errors_to_status, trailers

__all__ = ["ErrorsInterceptor", "as_vitne_error", "error_from_rpc", "errors_to_status"]

#: What a failed call to another service is told on as, where the handler did not say otherwise. The rest
#: (our token, our request) is no fault of our caller's and becomes an incident.
_PASSED_ON: Final = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "ABORTED"})

#: Tells a gRPC client not to repeat the call (gRFC A6, "Pushback").
_DO_NOT_REPEAT: Final = ("grpc-retry-pushback-ms", "-1")

_log = logging.getLogger(__name__)


def as_vitne_error(error: Exception) -> VitneError:
    """What a client is told of any exception: never more than a stable reason.

    A handler that wants to pass on what a called service refused raises
    ``error_from_rpc(error)`` itself. Unforeseen exceptions are logged here under an incident id by their type and
    place, without their text, which might quote personal data.
    """
    if isinstance(error, VitneError):
        return error
    if isinstance(error, CONFLICT):
        return Aborted(
            "TRANSACTION_CONFLICT",
            "the transaction met another one",
            remedy="repeat the call with the same request",
        )
    if is_out_of_reach(error):
        _log.warning("database out of reach: %s", type(error).__name__)
        return unavailable()
    if isinstance(error, grpc.aio.AioRpcError):
        told = error_from_rpc(error)
        if told.code in _PASSED_ON:
            return told
    incident = str(uuid.uuid4())
    frames = [f"{frame.name} ({frame.filename}:{frame.lineno})" for frame in traceback.extract_tb(error.__traceback__)]
    _log.error(
        "unexpected %s",
        error.code().name if isinstance(error, grpc.aio.AioRpcError) else type(error).__qualname__,
        extra={"incident": incident, "frames": frames[-12:]},
    )
    return Internal(
        "INTERNAL",
        f"an unexpected fault of ours, incident {incident}",
        remedy="try again later; report the incident id if it persists",
        metadata={"incident": incident},
    )


class ErrorsInterceptor:
    """Ends a call that raised with a ``google.rpc.Status``."""

    def unary(self, method: Method, proceed: Unary) -> Unary:
        """Surround a method that answers one message."""

        async def surrounded(request: Any, context: Any) -> Any:
            try:
                return await proceed(request, context)
            except (asyncio.CancelledError, grpc.aio.AbortError):
                raise
            except Exception as error:  # noqa: BLE001 - the edge: everything is translated here
                await _refuse(method, context, error)

        return surrounded

    def stream(self, method: Method, proceed: Stream) -> Stream:
        """Surround a method that answers a stream."""

        async def surrounded(request: Any, context: Any) -> AsyncIterator[Any]:
            try:
                async for response in proceed(request, context):
                    yield response
            except (asyncio.CancelledError, grpc.aio.AbortError):
                raise
            except Exception as error:  # noqa: BLE001 - the edge: everything is translated here
                await _refuse(method, context, error)

        return surrounded


async def _refuse(method: Method, context: Any, error: Exception) -> None:
    told = as_vitne_error(error)
    facts = {"method": method.path, "code": told.code, "reason": told.reason}
    _log.info("refused", extra=facts | ({"field": told.field} if told.field else {}))
    status = errors_to_status(told)
    metadata: tuple[tuple[str, str | bytes], ...] = trailers(status)
    if isinstance(error, grpc.aio.AioRpcError) or isinstance(error.__cause__, grpc.aio.AioRpcError):
        # Our own channel has repeated it already: who repeats what was repeated multiplies the load on what is down.
        metadata = (*metadata, _DO_NOT_REPEAT)
    await context.abort(grpc.StatusCode[told.code], status.message, metadata)
