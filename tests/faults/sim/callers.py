"""Who calls from outside: institutions that issue and change statuses, learners at the portal."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Final, TypeVar
from uuid import UUID

import grpc.aio

from services.portal.registering import registered
from tests.faults.sim.calls import rpc_error
from tests.faults.sim.grounds import PROVIDERS
from tests.faults.sim.plan import LEARNERS, Operation
from tests.faults.sim.scheduler import Process
from tests.integration.issuer_harness import issuance, pid_of
from vitne.accreditation import instant
from vitne.audit.snapshots import (
    StatusAnswer,
)
from vitne.errors import NotFound, VitneError
from vitne.identifiers import LearnerId, OrganisationId
from vitne.runtime.identity import Caller
from vitne.runtime.interceptors.errors import as_vitne_error
from vitne.runtime.status import error_from_rpc
from vitne_api.credential.v1 import credential_pb2
from vitne_api.issuer.v1 import issuer_pb2
from vitne_api.ledger.v1 import ledger_pb2

if TYPE_CHECKING:
    from tests.faults.sim.world import World

#: What a caller repeats, with the same request.
REPEATABLE: Final = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED", "ABORTED", "RESOURCE_EXHAUSTED"})
_CHANGES: Final = {
    "suspend": ledger_pb2.STATUS_CHANGE_SUSPEND,
    "reinstate": ledger_pb2.STATUS_CHANGE_REINSTATE,
    "revoke": ledger_pb2.STATUS_CHANGE_REVOKE,
}
_STATUS: Final = {
    credential_pb2.STATUS_VALID: "valid",
    credential_pb2.STATUS_SUSPENDED: "suspended",
    credential_pb2.STATUS_REVOKED: "revoked",
}

T = TypeVar("T")


class Callers:
    """Institutions and learners, who repeat what was not answered, as the contract tells them to.

    Attributes:
        operations: all that they do.
        changed: what changes of statuses were answered.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self.operations: Sequence[Operation] = ()
        self.changed: list[StatusAnswer] = []
        self._credentials: dict[int, asyncio.Future[list[UUID]]] = {}
        self._users = [asyncio.Lock() for _ in range(LEARNERS)]

    def perform(self, operation: Operation) -> asyncio.Task[None]:
        """Begin an operation at its time."""
        if operation.what in ("issue", "batch"):
            self._credentials[operation.number] = self._world.grounds.loop.create_future()

        async def begin() -> None:
            await asyncio.sleep(operation.at / 1000)
            self._world.scheduler.note(f"-- {operation}")
            what = {"issue": self._issue, "batch": self._batch, "change": self._change}.get(operation.what)
            request_id = str(self._world.new_id())
            if what is None:
                await self._hub(operation)
            else:
                await asyncio.gather(*(what(operation, request_id) for _ in range(operation.copies)))

        return self._world.outside.spawn(begin(), str(operation))

    async def _insist(self, call: Callable[[], Awaitable[T]]) -> T:
        """Repeat a call until it is answered for good."""
        while True:
            try:
                return await call()
            except grpc.aio.AioRpcError as error:
                told = error_from_rpc(error)
                if told.code not in REPEATABLE:
                    raise told from error
            except VitneError as error:
                if error.code not in REPEATABLE:
                    raise
            await asyncio.sleep(self._world.scheduler.random.uniform(0.2, 2.0))

    async def _issue(self, operation: Operation, request_id: str) -> None:
        provider, achievement = PROVIDERS[operation.provider]
        request = issuer_pb2.IssueRequest(
            request_id=request_id,
            issuance=issuance(learner={"value": pid_of(operation.learners[0])}, achievement_id=achievement),
        )
        identity = Caller(OrganisationId.parse(provider), frozenset(), "client")
        known = self._credentials[operation.number]
        try:
            answer = await self._insist(
                lambda: self._world.calls.call(self._world.outside, "issuer", identity, "Issue", request)
            )
        except VitneError as error:
            self._world.find(f"an issuance was refused: {error.reason}")
            return
        self._world.calls.take_issued(request_id, answer.credential)
        if not known.done():
            known.set_result([UUID(answer.credential.id)])

    async def _batch(self, operation: Operation, request_id: str) -> None:
        provider, achievement = PROVIDERS[operation.provider]
        items = [
            issuer_pb2.BatchItem(
                item_id=f"item-{number}",
                issuance=issuance(learner={"value": pid_of(learner)}, achievement_id=achievement),
            )
            for number, learner in enumerate(operation.learners)
        ]
        identity = Caller(OrganisationId.parse(provider), frozenset(), "client")
        header = issuer_pb2.BatchHeader(request_id=request_id)

        async def once() -> list[UUID]:
            answers = await self._world.calls.batch(identity, header, items)
            errors = [answer.result.error for answer in answers if answer.result.HasField("error")]
            if errors:
                raise rpc_error(grpc.StatusCode.UNAVAILABLE)
            return [UUID(answer.result.credential.id) for answer in answers if answer.result.HasField("credential")]

        try:
            found = await self._insist(once)
        except VitneError as error:
            self._world.find(f"a batch was refused: {error.reason}")
            return
        known = self._credentials[operation.number]
        if not known.done():
            known.set_result(found)

    async def _change(self, operation: Operation, request_id: str) -> None:
        if operation.of not in self._credentials:
            return
        provider, _ = PROVIDERS[next(each.provider for each in self.operations if each.number == operation.of)]
        credential = (await asyncio.shield(self._credentials[operation.of]))[0]
        identity = Caller(OrganisationId.parse(provider), frozenset(), "client")
        for number, change in enumerate(operation.change.split()):
            one_id = str(UUID(int=UUID(request_id).int ^ number))
            await self._change_once(identity, one_id, credential, change)

    async def _change_once(self, identity: Caller, request_id: str, credential: UUID, change: str) -> None:
        request = issuer_pb2.ChangeStatusRequest(
            request_id=request_id,
            credential_id=str(credential),
            change=_CHANGES[change],
            reason=ledger_pb2.STATUS_REASON_ISSUED_IN_ERROR,
        )
        try:
            answer = await self._insist(
                lambda: self._world.calls.call(self._world.outside, "issuer", identity, "ChangeStatus", request)
            )
        except VitneError as error:
            if error.reason not in ("STATUS_FINAL", "STATUS_CONTRADICTS"):
                self._world.find(f"{change} was refused: {error.reason}")
            return
        self.changed.append(
            StatusAnswer(
                request_id,
                credential,
                _STATUS[answer.status],
                instant(answer.effective),
                instant(answer.recorded),
            )
        )

    async def _hub(self, operation: Operation) -> None:
        """A learner registers, or withdraws, at the portal: again and again until it worked, one act after another."""
        number = operation.learners[0]
        act = self._register if operation.what == "register" else self._withdraw
        async with self._users[number]:
            while True:
                alive = self._world.alive("portal")
                if alive:
                    process = alive[self._world.scheduler.random.randrange(len(alive))]
                    task = process.spawn(act(process, number))
                    await asyncio.wait([task])
                    if not task.cancelled():
                        error = task.exception()
                        if error is None:
                            return
                        if isinstance(error, grpc.aio.AioRpcError):
                            error = error_from_rpc(error)
                        told = as_vitne_error(error) if isinstance(error, Exception) else None
                        if told is None or told.code not in REPEATABLE:
                            self._world.find(f"{operation.what} at the portal failed: {error!r}", task.exception())
                await asyncio.sleep(self._world.scheduler.random.uniform(0.2, 2.0))

    async def _register(self, process: Process, number: int) -> None:
        store, keys, issuer, new_id = self._world.wiring.parts[process.name]
        who = LearnerId.parse("no.national_id", pid_of(number))
        request = issuer_pb2.RegisterLearnerRequest(request_id=str(new_id()), id_token=f"{who.value} portal")
        answer = await issuer.RegisterLearner(request)
        await registered(store, keys.lookup(who), answer, process.clock.now())

    async def _withdraw(self, process: Process, number: int) -> None:
        store, keys, issuer, new_id = self._world.wiring.parts[process.name]
        lookup = keys.lookup(LearnerId.parse("no.national_id", pid_of(number)))
        pseudonym = await store.pseudonym(lookup)
        if pseudonym is None:
            return
        try:
            await issuer.WithdrawLearner(
                issuer_pb2.WithdrawLearnerRequest(request_id=str(new_id()), pseudonym=pseudonym)
            )
        except grpc.aio.AioRpcError as error:
            if not isinstance(error_from_rpc(error), NotFound):
                raise
        await store.erase(lookup)
