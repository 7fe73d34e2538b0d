"""An institution that keeps its requests, as it must: it may have to repeat them."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from datetime import UTC
from uuid import UUID

import asyncpg

from services.issuer.crypto import INDEX_KEY, IndexKey
from vitne.audit.snapshots import IssuedAnswer, StatusAnswer
from vitne.canonical import from_b64url
from vitne.dev.actors import Organisation
from vitne.dev.demo import Demo, new_id
from vitne.dev.stack import Stack
from vitne.errors import VitneError
from vitne.identifiers import LearnerId
from vitne.runtime.secret_files import read_secret
from vitne_api.credential.v1 import credential_pb2
from vitne_api.issuer.v1 import issuer_pb2
from vitne_api.ledger.v1 import ledger_pb2
from vitne_api.registry.v1 import registry_pb2

#: Seconds in which what a restored service still has to take in must be there.
PATIENCE = 90.0
_PASSING = {"UNAVAILABLE", "DEADLINE_EXCEEDED", "ABORTED"}
_NAMES = {1: "valid", 2: "suspended", 3: "revoked"}


@dataclass
class Kept:
    """A request and what it was answered."""

    provider: Organisation
    request: issuer_pb2.IssueRequest
    credential: issuer_pb2.IssuedCredential

    @property
    def name(self) -> str:
        return f"{self.provider.id} {self.request.request_id}"


@dataclass
class Clerk:
    """Issues, revokes, and remembers."""

    demo: Demo
    kept: list[Kept] = field(default_factory=list)
    issued: list[IssuedAnswer] = field(default_factory=list)
    changed: list[StatusAnswer] = field(default_factory=list)

    async def issue(self, learner: issuer_pb2.Learner, case: str = "minikvalifikasjon") -> Kept:
        what = self.demo.cases.achievements[case]
        provider = self.demo.actors.organisation(what.message.provider)
        request = issuer_pb2.IssueRequest(request_id=new_id(), issuance=self.demo.issuance(learner, what))
        kept = Kept(provider, request, await insist(provider, request))
        self.kept.append(kept)
        self._answered(kept)
        return kept

    async def publish(self, case: str = "minikvalifikasjon") -> None:
        """A provider publishes another achievement: a fact of the registry."""
        achievement = credential_pb2.Achievement()
        achievement.CopyFrom(self.demo.cases.achievements[case].message)
        achievement.id = new_id()
        registry = self.demo.actors.organisation(achievement.provider).registry
        await registry.PublishAchievement(
            registry_pb2.PublishAchievementRequest(request_id=new_id(), achievement=achievement)
        )

    async def repeat(self, kept: Kept) -> Kept:
        again = Kept(kept.provider, kept.request, await insist(kept.provider, kept.request))
        self._answered(again)
        return again

    async def change(self, kept: Kept, change: str, reason: str) -> None:
        request = issuer_pb2.ChangeStatusRequest(
            request_id=new_id(),
            credential_id=kept.credential.id,
            change=ledger_pb2.StatusChange.Value(f"STATUS_CHANGE_{change}"),
            reason=ledger_pb2.StatusReason.Value(f"STATUS_REASON_{reason}"),
        )
        answer = await kept.provider.change_status(request)
        self.changed.append(
            StatusAnswer(
                f"{kept.provider.id} {request.request_id}",
                UUID(kept.credential.id),
                _NAMES[answer.status],
                answer.effective.ToDatetime(UTC),
                answer.recorded.ToDatetime(UTC),
            )
        )

    def _answered(self, kept: Kept) -> None:
        self.issued.append(IssuedAnswer(kept.name, UUID(kept.credential.id), from_b64url(kept.credential.digest)))


async def insist(provider: Organisation, request: issuer_pb2.IssueRequest) -> issuer_pb2.IssuedCredential:
    """Issue, and repeat while the answer is "not now"."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return (await provider.issue(request)).credential
        except VitneError as error:
            if error.code not in _PASSING or time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.1)


class Visitor:
    """A learner at the portal."""

    def __init__(self, stack: Stack, learner: issuer_pb2.Learner) -> None:
        self._stack = stack
        self.learner = learner

    async def register(self) -> None:
        async with self._stack.browser() as browser:
            await browser.log_in(self.learner.value)
            await browser.register()

    async def withdraw(self) -> None:
        async with self._stack.browser() as browser:
            await browser.log_in(self.learner.value)
            await browser.withdraw()

    async def sees(self) -> tuple[bool, set[str]]:
        """Whether she is registered, and the credentials that are shown to her."""
        async with self._stack.browser() as browser:
            await browser.log_in(self.learner.value)
            shown = await browser.credentials()
            return await browser.registered(), {each["id"] for each in shown if each["state"] == "fetched"}


async def erase(stack: Stack, learner: issuer_pb2.Learner) -> UUID:
    """A learner has herself erased everywhere, at the portal; her id at the issuer, while she had one."""
    index = IndexKey(read_secret(stack.folder / "state" / "issuer", INDEX_KEY, create=False))
    connection = await asyncpg.connect(stack.dsn("issuer"))
    try:
        lookup = index.learner(LearnerId(learner.scheme, learner.value))
        found: UUID | None = await connection.fetchval("SELECT id FROM learner WHERE lookup = $1", lookup)
    finally:
        await connection.close()
    assert found is not None
    async with stack.browser() as browser:
        await browser.log_in(learner.value)
        await browser.erase()
    return found
