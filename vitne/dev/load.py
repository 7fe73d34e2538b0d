"""A bounded load of everything that institutions, authorities and learners do, by clients that do not give up.

A good client repeats a request with the same id until it has an answer, whatever
happens to the services meanwhile; what it was answered is kept, to be held against
what the services say in the end.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC
from typing import Final, TypeVar
from uuid import UUID

import aiohttp
import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from vitne.audit.snapshots import IssuedAnswer, StatusAnswer
from vitne.canonical import from_b64url
from vitne.clock import SystemClock
from vitne.dev.actors import Actors, confirmation
from vitne.dev.cases import AchievementCase, synthetic_learners
from vitne.dev.demo import Demo, new_id
from vitne.dev.stack import LEARNERS, Stack
from vitne.errors import FailedPrecondition, Unavailable, VitneError
from vitne.runtime.status import error_from_rpc, error_from_status
from vitne_api.credential.v1 import credential_pb2
from vitne_api.issuer.v1 import issuer_pb2
from vitne_api.ledger.v1 import ledger_pb2
from vitne_api.registry.v1 import facts_pb2, registry_pb2

#: Learners who are issued to; the first :data:`LEARNERS` of them can log in.
POPULATION: Final = 30
#: Seconds between two things that one client does, on average; and one that speaks to the registry, all of whose
#: facts are read again at each start of those who follow it.
PAUSE: Final = 0.3
REGISTRY_PAUSE: Final = 2.0
#: First and longest pause of a client that tries again, in seconds.
FIRST_RETRY: Final = 0.05
LONGEST_RETRY: Final = 1.0
#: Items of a batch, at most; one of them is bad.
BATCH: Final = 16
#: How often a client asks again for what it was answered already.
REPEATED: Final = 0.2
#: Seconds after which an answer is overdue: past the end of all crashes.
OVERDUE: Final = 120.0

T = TypeVar("T")

_REASONS: Final = {
    ledger_pb2.STATUS_CHANGE_REVOKE: ledger_pb2.STATUS_REASON_ISSUED_IN_ERROR,
    ledger_pb2.STATUS_CHANGE_SUSPEND: ledger_pb2.STATUS_REASON_UNDER_REVIEW,
    ledger_pb2.STATUS_CHANGE_REINSTATE: ledger_pb2.STATUS_REASON_REVIEW_ENDED,
}
_VALID, _SUSPENDED, _REVOKED = "valid", "suspended", "revoked"
_NAMES: Final = {
    credential_pb2.STATUS_VALID: _VALID,
    credential_pb2.STATUS_SUSPENDED: _SUSPENDED,
    credential_pb2.STATUS_REVOKED: _REVOKED,
}


@dataclass(slots=True)
class Journal:
    """What clients did and were told.

    Attributes:
        outcomes: how many operations ended how, by (kind, outcome).
        tries: how many calls failed and were repeated, by (kind, reason).
        issued: answers to issuances.
        changed: answers to changes of a status.
        findings: what must not happen, in words.
    """

    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    tries: Counter[tuple[str, str]] = field(default_factory=Counter)
    issued: list[IssuedAnswer] = field(default_factory=list)
    changed: list[StatusAnswer] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Holding:
    """A credential that a client was answered, and where its status stands by the answers."""

    credential: issuer_pb2.IssuedCredential
    learner: str
    status: str = _VALID


class Refused(Exception):
    """An answer that no repetition changes."""

    def __init__(self, error: VitneError) -> None:
        super().__init__(str(error))
        self.error = error


class Load:
    """Clients at work from :meth:`start` to :meth:`finish`.

    Attributes:
        journal: what they did and were told.
        holdings: the credentials that they were answered.
        registered: whether a learner is registered with the portal, by national identity number.

    Args:
        stack: what they call.
        actors: who they are.
        seed: of everything that is left to chance.
        visitors: how many learners visit the portal, of the :data:`LEARNERS` who can; the others of these are left
            alone.
        accredits: whether authorities decide, too, which records facts that the release before can't read.
    """

    def __init__(
        self, stack: Stack, actors: Actors, seed: int = 1, visitors: int = LEARNERS, *, accredits: bool = True
    ) -> None:
        self.journal = Journal()
        self.holdings: list[Holding] = []
        self.registered: dict[str, bool] = {}
        self._stack = stack
        self._actors = actors
        self._accredits = accredits
        self._random = random.Random(seed)
        everybody = synthetic_learners(POPULATION)
        self._learners = everybody[:visitors] + everybody[LEARNERS:]
        self._visitors = [learner.value for learner in everybody[:visitors]]
        self._idle: list[Holding] = []
        self._ending = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._demo: Demo

    async def start(self, demo: Demo) -> None:
        """Begin, once the issuer knows what the demonstration accredited and published."""
        self._demo = demo
        self._cases = list(demo.cases.achievements.values())
        learner = self._learners[-1]
        for case in self._cases:
            credential = await demo.issue_when_known(learner, case)
            self._hold(f"first {credential.id}", credential, learner.value)
        clients: list[Callable[[], Awaitable[None]]] = [
            *[self._issue] * 3,
            self._batch,
            *[self._change] * 2,
        ]
        self._tasks = [asyncio.create_task(self._repeat(client, PAUSE)) for client in clients]
        self._tasks += [
            asyncio.create_task(self._repeat(client, REGISTRY_PAUSE))
            for client in (self._rotate_key, self._publish, *([self._accredit] if self._accredits else []))
        ]
        self._tasks += [asyncio.create_task(self._visit(self._visitors[number::3])) for number in range(3)]

    async def finish(self) -> None:
        """Begin nothing new, and wait until everything that was begun is answered."""
        self._ending.set()
        try:
            async with asyncio.timeout(OVERDUE):
                await asyncio.gather(*self._tasks)
        except TimeoutError:
            waiting = sum(not task.done() for task in self._tasks)
            self.journal.findings.append(f"{waiting} clients had no answer {OVERDUE:.0f} s after the last crash")

    def abandon(self) -> None:
        """End at once, whatever is under way."""
        for task in self._tasks:
            task.cancel()

    async def check_pages(self) -> None:
        """Compare what each learner is shown with what was answered: the view from outside."""
        for pid, registered in sorted(self.registered.items()):
            async with self._stack.browser() as browser:
                await browser.log_in(pid)
                shown = {entry["id"]: entry["status"] for entry in await browser.credentials()}
            held = {each.credential.id: each.status for each in self.holdings if each.learner == pid}
            expected = held if registered else {}
            if shown != expected:
                wrong = {id_ for id_ in shown.keys() | expected.keys() if shown.get(id_) != expected.get(id_)}
                self.journal.findings.append(
                    f"a learner's page differs from the answers in {len(wrong)} of {len(expected)}: {sorted(wrong)[:3]}"
                )

    # -- what clients do ---------------------------------------------------------------------

    async def _repeat(self, client: Callable[[], Awaitable[None]], pause: float) -> None:
        while not self._ending.is_set():
            try:
                await client()
            except Refused as refused:
                name = client.__name__.strip("_")
                self.journal.findings.append(f"{name} was refused: {refused.error}")
            with suppress(TimeoutError):
                async with asyncio.timeout(self._random.expovariate(1 / pause)):
                    await self._ending.wait()

    async def _issue(self) -> None:
        case, learner = self._random.choice(self._cases), self._random.choice(self._learners)
        provider = self._actors.organisation(case.message.provider)
        request = issuer_pb2.IssueRequest(request_id=new_id(), issuance=self._issuance(learner, case))
        answer = await self._insist("issue", lambda: provider.issuer.Issue(request))
        self._hold(f"{provider.id} {request.request_id}", answer.credential, learner.value)
        if self._random.random() < REPEATED:
            again = await self._insist("issue again", lambda: provider.issuer.Issue(request))
            self._answered(f"{provider.id} {request.request_id}", again.credential)

    async def _batch(self) -> None:
        case = self._random.choice(self._cases)
        provider = self._actors.organisation(case.message.provider)
        learners = self._random.sample(self._learners, self._random.randint(2, BATCH))
        items = [
            issuer_pb2.BatchItem(item_id=str(number), issuance=self._issuance(learner, case))
            for number, learner in enumerate(learners)
        ]
        items[0].issuance.awarded_on = "2999-01-01"
        request_id = new_id()

        async def results() -> dict[str, issuer_pb2.BatchResult]:
            answers: dict[str, issuer_pb2.BatchResult] = {}
            async for result in provider.issue_batch(request_id, items):
                answers[result.item_id] = result
                if result.WhichOneof("outcome") == "credential":  # True from now on, even if the rest never comes.
                    self._answered(f"{provider.id} {request_id} {result.item_id}", result.credential)
            for answer in answers.values():
                if answer.WhichOneof("outcome") == "error" and _passes(error := error_from_status(answer.error)):
                    raise error  # The batch is sent again for the items that could not be issued now.
            if len(answers) < len(items):
                raise Unavailable("BATCH_CUT", "the stream ended before every item was answered")
            return answers

        answers = await self._insist("batch", results)
        if self._random.random() < REPEATED:
            await self._insist("batch again", results)
        for number, learner in enumerate(learners):
            result, request = answers[str(number)], f"{provider.id} {request_id} {number}"
            refused = result.WhichOneof("outcome") == "error"
            if refused != (number == 0):
                self.journal.findings.append(f"item {number} of a batch: {result.error.message or 'issued'}")
            if not refused:
                self.journal.outcomes["batch item", "answered"] += 1
                self._hold(request, result.credential, learner.value)

    async def _change(self) -> None:
        if not self._idle:
            return
        holding, change = self._next_change()
        provider = self._actors.organisation(holding.credential.provider)
        request = issuer_pb2.ChangeStatusRequest(
            request_id=new_id(), credential_id=holding.credential.id, change=change, reason=_REASONS[change]
        )
        kind = ledger_pb2.StatusChange.Name(change).removeprefix("STATUS_CHANGE_").lower()
        for _ in range(2 if self._random.random() < REPEATED else 1):
            answer = await self._insist(kind, lambda: provider.issuer.ChangeStatus(request))
            holding.status = _NAMES[answer.status]
            self.journal.changed.append(
                StatusAnswer(
                    f"{provider.id} {request.request_id}",
                    UUID(holding.credential.id),
                    holding.status,
                    answer.effective.ToDatetime(UTC),
                    answer.recorded.ToDatetime(UTC),
                )
            )
        if holding.status != _REVOKED:
            self._idle.append(holding)

    def _next_change(self) -> tuple[Holding, ledger_pb2.StatusChange.ValueType]:
        """Which holding changes, and how: by chance, but for the first of each kind, which a short load has, too."""
        suspended = [each for each in self._idle if each.status == _SUSPENDED]
        reinstated, revoked = (self.journal.outcomes[kind, "answered"] for kind in ("reinstate", "revoke"))
        holding = self._random.choice(suspended if suspended and not reinstated else self._idle)
        self._idle.remove(holding)
        if reinstated and (not revoked or self._random.random() < 0.2):
            return holding, ledger_pb2.STATUS_CHANGE_REVOKE
        if holding.status == _SUSPENDED:
            return holding, ledger_pb2.STATUS_CHANGE_REINSTATE
        return holding, ledger_pb2.STATUS_CHANGE_SUSPEND

    async def _accredit(self) -> None:
        """An accreditation is granted beside the one that a university has, and withdrawn."""
        case = next(each for each in self._demo.cases.accreditations if each.kind == "no.self_accrediting")
        authority, second = self._actors.officers(case.authority)
        beside = facts_pb2.Scope()
        beside.CopyFrom(case.scope)
        # Accreditations that overlap are refused; this level the other does not have.
        del beside.levels[:]
        beside.levels.add(framework="no.nkr", level="8")
        grant = registry_pb2.GrantAccreditationRequest(
            request_id=new_id(),
            provider=self._demo.cases.providers[case.provider].message.id,
            kind=case.kind,
            scope=beside,
            ground="beside the other",
        )
        proposed = await self._insist("propose to grant", lambda: authority.registry.GrantAccreditation(grant))
        agreed = confirmation(proposed.fact, new_id())
        granted = await self._insist("grant", lambda: second.registry.ConfirmDecision(agreed))
        withdrawal = registry_pb2.WithdrawAccreditationRequest(
            request_id=new_id(),
            accreditation_id=granted.fact.accreditation.id,
            base_revision=granted.fact.accreditation.revision,
            ground="no longer",
        )
        ending = await self._insist("propose to withdraw", lambda: authority.registry.WithdrawAccreditation(withdrawal))
        ended = confirmation(ending.fact, new_id())
        await self._insist("withdraw accreditation", lambda: second.registry.ConfirmDecision(ended))

    async def _rotate_key(self) -> None:
        """A provider gets another signing key, and tells the registry."""
        provider = self._actors.organisation(self._random.choice(self._cases).message.provider)
        order = issuer_pb2.CreateSigningKeyRequest(request_id=new_id())
        made = await self._insist("create key", lambda: provider.issuer.CreateSigningKey(order))
        now = Timestamp()
        now.FromDatetime(SystemClock().now())
        key = facts_pb2.Key(
            owner=provider.id, use=facts_pb2.KEY_USE_CREDENTIAL, public_jwk=made.public_jwk, valid_from=now
        )
        entry = registry_pb2.RegisterKeyRequest(request_id=new_id(), key=key)
        await self._insist("register key", lambda: provider.registry.RegisterKey(entry))

    async def _publish(self) -> None:
        """A provider publishes an achievement."""
        achievement = credential_pb2.Achievement()
        achievement.CopyFrom(self._random.choice(self._cases).message)
        achievement.id = new_id()
        provider = self._actors.organisation(achievement.provider)
        request = registry_pb2.PublishAchievementRequest(request_id=new_id(), achievement=achievement)
        await self._insist("publish", lambda: provider.registry.PublishAchievement(request))

    async def _visit(self, learners: list[str]) -> None:
        """Learners register with the portal, and withdraw, again and again, each alone at a time."""
        while not self._ending.is_set():
            pid = self._random.choice(learners)
            wanted = not self.registered.get(pid, False)

            async def act(pid: str = pid, wanted: bool = wanted) -> None:
                async with self._stack.browser() as browser:
                    await browser.log_in(pid)
                    if wanted:
                        await browser.register()
                    else:
                        await browser.withdraw()
                    if await browser.registered() != wanted:
                        raise FailedPrecondition("PAGE_FAILED", "the act had no effect")

            await self._insist("register with the hub" if wanted else "withdraw from the hub", act)
            self.registered[pid] = wanted
            with suppress(TimeoutError):
                async with asyncio.timeout(self._random.expovariate(1 / (4 * PAUSE))):
                    await self._ending.wait()

    # -- helpers ---------------------------------------------------------------------------------

    def _issuance(self, learner: issuer_pb2.Learner, case: AchievementCase) -> issuer_pb2.Issuance:
        return self._demo.issuance(learner, case)

    def _hold(self, request: str, credential: issuer_pb2.IssuedCredential, learner: str) -> None:
        self._answered(request, credential)
        holding = Holding(credential, learner)
        self.holdings.append(holding)
        self._idle.append(holding)

    def _answered(self, request: str, credential: issuer_pb2.IssuedCredential) -> None:
        self.journal.issued.append(IssuedAnswer(request, UUID(credential.id), from_b64url(credential.digest)))

    async def _insist(self, kind: str, call: Callable[[], Awaitable[T]]) -> T:
        """Call until there is an answer.

        Raises:
            Refused: the answer is a refusal that will not pass.
        """
        pause = FIRST_RETRY
        while True:
            try:
                answer = await call()
            except (grpc.aio.AioRpcError, VitneError, aiohttp.ClientError, OSError, TimeoutError) as error:
                told = error_from_rpc(error) if isinstance(error, grpc.aio.AioRpcError) else error
                if isinstance(told, VitneError) and not _passes(told):
                    self.journal.outcomes[kind, "refused"] += 1
                    raise Refused(told) from None
                self.journal.tries[kind, told.reason if isinstance(told, VitneError) else type(told).__name__] += 1
            else:
                self.journal.outcomes[kind, "answered"] += 1
                return answer
            await asyncio.sleep(pause * self._random.uniform(0.5, 1.5))
            pause = min(LONGEST_RETRY, pause * 2)


def _passes(error: VitneError) -> bool:
    """Whether an answer says "not now"."""
    # Pages answer a failed call with a page that says so; REMOTE_…: gRPC itself, of a connection that broke.
    return (
        error.code in {"UNAVAILABLE", "DEADLINE_EXCEEDED", "ABORTED", "RESOURCE_EXHAUSTED", "INTERNAL"}
        or error.reason in {"PAGE_FAILED", "LOG_IN_FAILED", "NO_FORM"}
        or error.reason.startswith("REMOTE_")
    )
