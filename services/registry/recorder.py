"""Changes, one at a time: decided on everything that is known, recorded with their events, answered once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, Final, TypeAlias, TypeVar
from uuid import UUID

from services.registry import store
from services.registry.desk import Desk
from services.registry.loops import repeat
from services.registry.officers import Officer
from vitne.accreditation import Projection
from vitne.clock import Clock
from vitne.errors import DataLoss, Unavailable
from vitne.frameworks import Frameworks
from vitne.runtime.idempotency import RequestKey, answer_once
from vitne_api.registry.v1 import facts_pb2, registry_pb2

#: Facts that are read at once.
PAGE: Final = 2000

#: The answers to changes: each holds the recorded fact.
ChangeResponse: TypeAlias = (
    registry_pb2.RegisterAuthorityResponse
    | registry_pb2.AmendAuthorityResponse
    | registry_pb2.RegisterProviderResponse
    | registry_pb2.CloseProviderResponse
    | registry_pb2.RegisterKeyResponse
    | registry_pb2.RetireKeyResponse
    | registry_pb2.GrantAccreditationResponse
    | registry_pb2.AmendAccreditationResponse
    | registry_pb2.SuspendAccreditationResponse
    | registry_pb2.ReinstateAccreditationResponse
    | registry_pb2.WithdrawAccreditationResponse
    | registry_pb2.PublishAchievementResponse
    | registry_pb2.PublishQualificationResponse
    | registry_pb2.AmendProviderResponse
    | registry_pb2.ApplyForAccreditationResponse
    | registry_pb2.ReviewApplicationResponse
    | registry_pb2.RefuseApplicationResponse
    | registry_pb2.RenewAccreditationResponse
    | registry_pb2.OrderRevocationResponse
    | registry_pb2.ConfirmDecisionResponse
    | registry_pb2.DeclineDecisionResponse
    | registry_pb2.ReportChangeResponse
)

R = TypeVar("R", bound=ChangeResponse)


class Recorder:
    """Keeps the projection of the table of facts, and adds to both.

    Any number of replicas may run: each decides under the table's lock, after it has
    read what the others wrote.

    Args:
        pool: the registry's database.
        frameworks: the national rules.
        clock: tells when.
        new_id: makes UUIDv7.
        operator: the organisation that operates the installation.
        refresh_seconds: between two looks for what other replicas wrote.
    """

    def __init__(
        self,
        pool: Any,
        frameworks: Frameworks,
        clock: Clock,
        new_id: Callable[[], UUID],
        *,
        operator: str | None,
        refresh_seconds: float,
    ) -> None:
        self.projection = Projection()
        self.frameworks = frameworks
        self._as_of: datetime | None = None
        self._pool = pool
        self._clock = clock
        self._new_id = new_id
        self.operator = operator
        self._refresh_seconds = refresh_seconds

    async def change(
        self,
        key: RequestKey,
        response: type[R],
        decide: Callable[[Desk], facts_pb2.Fact],
        officer: Officer,
    ) -> R:
        """Make a change once: decide, record, remember the answer, in one transaction.

        Args:
            key: which request.
            response: type of the answer.
            decide: answers the fact to be recorded (its subject and content), or raises the refusal.
            officer: the organisation that asks, and who acts for it.

        Raises:
            VitneError: the refusal; nothing is changed then.
            AlreadyExists: ``REQUEST_ID_REUSED``.
        """

        caller = officer.organisation

        async def work(conn: Any) -> R:
            newest = await self._lock(conn)
            alias = await officer.alias(conn)
            desk = self.desk(caller, alias)
            draft = decide(desk)
            await officer.remember(conn, draft)
            fact = await store.append(conn, draft, newest=newest, actor=caller, at=desk.now, new_id=self._new_id)
            return response(fact=fact)

        answer = await answer_once(self._pool, key, self._clock, response, work)
        # Folded only now that it is committed; a repeated answer's fact is known already.
        self.projection.fold(answer.fact)
        return answer

    async def note(self, observe: Callable[[Desk], Iterable[facts_pb2.Fact]], actor: str) -> list[facts_pb2.Fact]:
        """Record what nobody asked for and everybody is to know, in one transaction; answers the recorded facts.

        Args:
            observe: answers what is to be recorded; nothing, where it was recorded before.
            actor: the organisation that observes.
        """
        async with self._pool.acquire() as conn, conn.transaction():
            newest = await self._lock(conn)
            desk = self.desk(actor)
            facts = []
            for number, draft in enumerate(list(observe(desk))):
                facts.append(
                    await store.append(
                        conn, draft, newest=newest + number, actor=actor, at=desk.now, new_id=self._new_id
                    )
                )
        for fact in facts:
            self.projection.fold(fact)
        return facts

    def desk(self, caller: str, officer: str = "") -> Desk:
        """What is known now, for a question of a caller's, and of which officer of the caller's."""
        return Desk(self.projection, self.frameworks, self.operator, caller, self._clock.now(), self._new_id, officer)

    def now(self) -> datetime:
        """The instant by the clock that dates facts."""
        return self._clock.now()

    @property
    def read(self) -> bool:
        """Whether the table of facts was read to its end since the start."""
        return self._as_of is not None

    def as_of(self) -> datetime:
        """Up to when everything that was committed is known here.

        Raises:
            Unavailable: ``REGISTRY_STARTING``: the table of facts was never read.
        """
        if self._as_of is None:
            raise Unavailable(
                "REGISTRY_STARTING",
                "the registry has not read its facts yet",
                rule="nothing is said before everything is known",
                remedy="try again in a moment",
            )
        return self._as_of

    async def refresh(self) -> None:
        """Fold what is committed and not known here yet."""
        asked = self._clock.now()
        async with self._pool.acquire() as conn:
            await self._catch_up(conn)
        self._as_of = asked

    async def run(self) -> None:
        """Follow the table for ever: other replicas write to it too."""
        # While the database is away, what is known here stays true, and `as_of` dates it.
        await repeat("facts", self.refresh, self._clock, self._refresh_seconds)

    async def _lock(self, conn: Any) -> int:
        """The newest revision, up to which everything is known here; nobody else writes until the transaction ends."""
        newest = await store.lock_head(conn)
        await self._catch_up(conn)
        if self.projection.revision != newest:
            raise DataLoss(
                "FACTS_MISSING",
                f"the newest fact is {newest}, and {self.projection.revision} follow each other here",
                rule="registry revisions have no gaps",
                remedy="an operator compares the table of facts with its topic",
            )
        return newest

    async def _catch_up(self, conn: Any) -> None:
        while facts := await store.facts_after(conn, self.projection.revision, PAGE):
            for fact in facts:
                self.projection.fold(fact)
            if len(facts) < PAGE:
                return
