"""Calls between processes: what arrives, how often, and what its caller sees of it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import grpc.aio

from tests.faults.sim.scheduler import Process
from vitne.audit.snapshots import (
    IssuedAnswer,
)
from vitne.canonical import from_b64url
from vitne.errors import VitneError
from vitne.runtime.identity import Caller
from vitne.runtime.identity.caller import caller_context
from vitne.runtime.interceptors.errors import as_vitne_error
from vitne.runtime.rules import check_rules
from vitne.runtime.status import Internal, errors_to_status, trailers
from vitne_api.issuer.v1 import issuer_pb2

if TYPE_CHECKING:
    from tests.faults.sim.world import World

DEADLINE_SECONDS: Final = 10.0


class Calls:
    """Calls between processes as gRPC makes them, and what of them can be lost.

    Attributes:
        issued: what issuances were answered, each as often as it was.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self.issued: list[IssuedAnswer] = []

    async def call(self, caller: Process, role: str, identity: Caller, method: str, request: Any) -> Any:
        """A unary call as gRPC makes it: it may not arrive, its answer may not, and it may arrive twice.

        Raises:
            grpc.aio.AioRpcError: what the caller sees.
        """
        fault = await self._world.scheduler.point(caller, "rpc", method)
        kind = fault.kind if fault else ""
        if kind == "lost_before":
            raise rpc_error(grpc.StatusCode.UNAVAILABLE)
        if kind == "slow" and fault is not None:
            await asyncio.sleep(fault.value)
        handlers = [self._handle(role, identity, method, request) for _ in range(2 if kind == "twice" else 1)]
        answer = await self._answer(handlers[0])
        if kind == "lost_after":
            raise rpc_error(grpc.StatusCode.DEADLINE_EXCEEDED)
        if kind == "crash_after":
            await self._world.scheduler.crash(caller)
        caller.check()
        return answer

    def _handle(self, role: str, identity: Caller, method: str, request: Any) -> asyncio.Task[Any]:
        """Have one of the replicas handle a request."""
        alive = self._world.alive(role)
        if not alive:
            raise rpc_error(grpc.StatusCode.UNAVAILABLE)
        callee = alive[self._world.scheduler.random.randrange(len(alive))]
        handler = getattr(self._world.wiring.parts[callee.name], method)

        async def handle() -> Any:
            caller_context.set(identity)
            await self._world.scheduler.point(callee, "handle", method)
            with self._edge(callee, method):
                check_rules(request)
                return await handler(request, None)

        task = callee.spawn(handle(), f"{callee.name}.{method}")
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return task

    @contextlib.contextmanager
    def _edge(self, callee: Process, method: str) -> Iterator[None]:
        """Errors become statuses, as the interceptor does it."""
        try:
            yield
        except Exception as error:
            told = as_vitne_error(error)
            if isinstance(told, Internal):
                self._world.find(f"{callee.name}: {method} raised {type(error).__name__}: {error}", error)
            raise rpc_error(grpc.StatusCode[told.code], told) from error

    async def _answer(self, task: asyncio.Task[Any]) -> Any:
        try:
            done, _ = await asyncio.wait([task], timeout=DEADLINE_SECONDS)
        finally:
            task.cancel()  # as gRPC does when the deadline has passed, or the caller is gone
        if not done:
            raise rpc_error(grpc.StatusCode.DEADLINE_EXCEEDED)
        if task.cancelled():
            raise rpc_error(grpc.StatusCode.UNAVAILABLE)
        return task.result()

    async def batch(self, identity: Caller, header: Any, items: Sequence[Any]) -> list[Any]:
        """A call of IssueBatch; the connection may break in the middle of the answers."""
        fault = await self._world.scheduler.point(self._world.outside, "rpc", "IssueBatch")
        kind = fault.kind if fault else ""
        alive = self._world.alive("issuer")
        if kind == "lost_before" or not alive:
            raise rpc_error(grpc.StatusCode.UNAVAILABLE)
        callee = alive[self._world.scheduler.random.randrange(len(alive))]
        answers: list[Any] = []
        enough = asyncio.Event()
        break_after = self._world.scheduler.random.randrange(len(items) + 1) if kind in ("lost_after", "twice") else -1

        async def requests() -> AsyncIterator[Any]:
            yield issuer_pb2.IssueBatchRequest(header=header)
            for item in items:
                yield issuer_pb2.IssueBatchRequest(item=item)

        async def handle() -> None:
            caller_context.set(identity)
            with self._edge(callee, "IssueBatch"):
                async for answer in self._world.wiring.parts[callee.name].IssueBatch(requests(), None):
                    if len(answers) == break_after:
                        enough.set()
                        await asyncio.sleep(DEADLINE_SECONDS)
                    answers.append(answer)

        task = callee.spawn(handle(), f"{callee.name}.IssueBatch")
        broken = asyncio.Task(enough.wait(), loop=self._world.grounds.loop)
        await asyncio.wait([task, broken], timeout=DEADLINE_SECONDS * 3, return_when=asyncio.FIRST_COMPLETED)
        broken.cancel()
        if not task.done() or task.cancelled():
            task.cancel()
            await asyncio.wait([task])
            self._take_results(str(header.request_id), answers)
            raise rpc_error(grpc.StatusCode.UNAVAILABLE)
        task.result()
        self._take_results(str(header.request_id), answers)
        return answers

    def _take_results(self, request: str, answers: Sequence[Any]) -> None:
        for answer in answers:
            if answer.result.HasField("credential"):
                self.take_issued(f"{request} {answer.result.item_id}", answer.result.credential)

    def take_issued(self, request: str, credential: Any) -> None:
        self.issued.append(IssuedAnswer(request, UUID(credential.id), from_b64url(credential.digest)))


class Stub:
    """A service's stub as another process holds it."""

    def __init__(self, world: World, caller: Process, role: str, identity: Caller) -> None:
        self._world = world
        self._caller = caller
        self._role = role
        self._identity = identity

    def __getattr__(self, method: str) -> Callable[..., Awaitable[Any]]:
        def call(request: Any, **_: Any) -> Awaitable[Any]:
            return self._world.calls.call(self._caller, self._role, self._identity, method, request)

        return call


def rpc_error(code: grpc.StatusCode, told: VitneError | None = None) -> grpc.aio.AioRpcError:
    extra = trailers(errors_to_status(told)) if told else ()
    return grpc.aio.AioRpcError(
        code, grpc.aio.Metadata(), grpc.aio.Metadata(*extra), details=told.message if told else "simulated"
    )
