"""A portal: told by its topic what there is, it fetches it, and keeps it in a database of its own.

Offsets, revisions, what is parked and what is still to be fetched are rows in that database; whatever an event makes
is written in the transaction that moves the offset, and whatever is fetched in the one that strikes it off.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from uuid import UUID

from vitne.clock import Clock
from vitne.errors import VitneError
from vitne.identifiers import OrganisationId, UuidFactory
from vitne.messaging import desk, outbox
from vitne.messaging.consumer import Consumer
from vitne.messaging.headers import Message
from vitne.messaging.hub_notices import read_notice
from vitne.messaging.kafka import KafkaSettings
from vitne.messaging.parked import Parked, list_parked
from vitne.messaging.recovery import forget_progress
from vitne.messaging.relay import Relay
from vitne.messaging.topics import hub_topic
from vitne.outages import DATABASE_OUTAGES
from vitne.runtime.database import open_pool
from vitne.runtime.migrations import Migrations, migrate
from vitne_api.events.v1 import events_pb2
from vitne_api.issuer.v1 import issuer_pb2, issuer_pb2_grpc, subscription_pb2, subscription_pb2_grpc
from vitne_client import wanted
from vitne_client.connection import Connection, call
from vitne_client.wanted import Wanted

#: What the hub's client asks for at the token issuer.
SCOPES: Final = ("vitne:hub.fetch", "vitne:hub.register", "vitne:hub.subscribe")
#: Name under which offsets and parked messages are kept.
CONSUMER: Final = "vitne-client"
#: Handles in one call: the contract's most.
BATCH: Final = 500
#: Seconds between two looks at what is due, when nothing arrives and while something does: an event is told of within
#: its transaction, which then has to commit.
IDLE_SECONDS: Final = 0.5
EAGER_SECONDS: Final = 0.01
_MIGRATIONS: Final = (
    Migrations("messaging", Path(outbox.__file__).parent / "sql"),
    Migrations("vitne_client", Path(__file__).parent / "sql"),
)

_ENDINGS: Final = (events_pb2.HUB_NOTICE_WITHDRAWN, events_pb2.HUB_NOTICE_REGISTRATION_ENDED)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Held:
    """A credential of a registered learner's, as it is now.

    Attributes:
        handle: its name for this hub: what to keep it under.
        pseudonym: the learner's name for this hub.
        credential: with artefact and status.
    """

    handle: str
    pseudonym: str
    credential: issuer_pb2.IssuedCredential


#: Keeps credentials, new ones and ones that are kept already, on the connection, whose transaction is open.
Keep = Callable[[Any, Sequence[Held]], Awaitable[None]]
#: Deletes what is kept under these handles, likewise; unknown ones are no matter.
Forget = Callable[[Any, Sequence[str]], Awaitable[None]]
#: Deletes all that is kept of a learner, by pseudonym, who has not registered since the instant (by the issuer's clock,
#: as :attr:`Registered.since`); likewise. It may be an end that the portal asked for, and of a learner it never kept.
Ended = Callable[[Any, str, datetime], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Registered:
    """A registration.

    Attributes:
        pseudonym: the learner's name for this hub.
        since: when the learner registered, by the issuer's clock: to be kept for :data:`Ended`.
    """

    pseudonym: str
    since: datetime


class Subscriber:
    """A hub's subscription. Use as an async context manager, and :meth:`run` it.

    Args:
        connection: where the issuer is, and as whom to call.
        hub: the organisation that the hub is.
        dsn: of the subscriber's own PostgreSQL database; its tables are beside those of the portal.
        kafka: the cluster.
        keep: see :data:`Keep`.
        forget: see :data:`Forget`.
        ended: see :data:`Ended`; None: nothing is kept of a learner but her credentials, each of which is forgotten
            before.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        hub: str,
        dsn: str,
        kafka: KafkaSettings,
        keep: Keep,
        forget: Forget,
        ended: Ended | None = None,
    ) -> None:
        self._connection = connection
        self._topic = hub_topic(OrganisationId.parse(hub))
        self._dsn = dsn
        self._kafka = kafka
        self._keep = keep
        self._forget = forget
        self._ended = ended
        self._clock: Clock = connection.clock
        self._new_id = UuidFactory(self._clock)
        self._arrived = asyncio.Event()

    async def __aenter__(self) -> Self:
        """Bring the database up to date, and connect.

        Raises:
            VitneError: ``DATABASE_UNAVAILABLE``.
        """
        await migrate(self._dsn, _MIGRATIONS, clock=self._clock)
        #: Connections to the database: the portal may use them, too.
        self.pool = await open_pool(self._dsn, name=CONSUMER)
        self._channel = self._connection.open(SCOPES)
        #: The contracts themselves, for what has no method here.
        self.issuer: Any = issuer_pb2_grpc.IssuerServiceStub(self._channel)
        self.subscriptions: Any = subscription_pb2_grpc.SubscriptionServiceStub(self._channel)
        self._consumer = Consumer(
            CONSUMER, (self._topic,), self.pool, self._handle, settings=self._kafka, clock=self._clock
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._channel.close()
        await self.pool.close()

    async def run(self) -> None:
        """Keep up with the topic until cancelled; outages of database, cluster and issuer are waited out."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._consumer.run())
            tasks.create_task(self._fetch())
            # Tells operators what could not be handled.
            tasks.create_task(Relay(self.pool, self._kafka, self._clock).run())

    # -- Learners ----------------------------------------------------------------------------------

    async def register(self, id_token: str, request_id: UUID | None = None) -> Registered:
        """Register the learner who just logged in, by the ID token of that.

        What she has is in the topic at once.

        Raises:
            VitneError: why the ID token does not hold, ``HUB_UNKNOWN``…
        """
        request = issuer_pb2.RegisterLearnerRequest(request_id=str(request_id or self._new_id()), id_token=id_token)
        answer = await call(self.issuer.RegisterLearner, request)
        told = answer.HasField("registered_at")  # An issuer of the release before does not say since when.
        return Registered(answer.pseudonym, answer.registered_at.ToDatetime(UTC) if told else self._clock.now())

    async def withdraw(self, pseudonym: str, request_id: UUID | None = None) -> None:
        """End a learner's registration; the topic says that each of her credentials is to be forgotten.

        Raises:
            VitneError: ``REGISTRATION_UNKNOWN``…
        """
        request = issuer_pb2.WithdrawLearnerRequest(request_id=str(request_id or self._new_id()), pseudonym=pseudonym)
        await call(self.issuer.WithdrawLearner, request)

    async def subscribe_to(
        self, *, kinds: Sequence[str] = (), countries: Sequence[str] = (), providers: Sequence[str] = ()
    ) -> None:
        """Say what the hub wants to be told of; an empty list excludes nothing.

        Raises:
            VitneError: ``KIND_UNKNOWN``, ``BAD_ORGANISATION``…
        """
        subscription = subscription_pb2.Subscription(kinds=kinds, countries=countries, providers=providers)
        request = subscription_pb2.SetSubscriptionRequest(request_id=str(self._new_id()), subscription=subscription)
        await call(self.subscriptions.SetSubscription, request)

    # -- How it is ---------------------------------------------------------------------------------

    def lag(self) -> Mapping[str, float]:
        """Age in seconds of the oldest event that is still to be dealt with, by topic.

        The same is the metric ``vitne_consumer_lag_seconds`` in prometheus_client's registry, beside the others of
        docs/operating/metrics.md.
        """
        return self._consumer.progress.lags()

    async def waiting(self) -> int:
        """How many credentials are still to be fetched."""
        return int(await self.pool.fetchval("SELECT count(*) FROM vitne_wanted"))

    async def caught_up(self) -> None:
        """Return once all that the topic held was read, and fetched."""
        await self._consumer.caught_up.wait()
        while await self.waiting():
            await self._clock.sleep(EAGER_SECONDS)

    # -- Dead letters, and from the beginning --------------------------------------------------------

    async def parked(self, limit: int = 100) -> list[Parked]:
        """Events that could not be handled, and those that wait behind them."""
        async with self.pool.acquire() as conn:
            return await list_parked(conn, CONSUMER, limit=limit)

    async def replay(self, message: Parked, *, actor: str, ground: str) -> None:
        """Try a parked event again, and those behind it; who did so and why is recorded.

        Raises:
            VitneError: ``NOT_PARKED``, ``NOT_FAILED``.
        """
        async with self.pool.acquire() as conn, conn.transaction():
            await desk.replay(conn, _place(message), self._mandate(actor, ground))

    async def drop(self, message: Parked, *, actor: str, ground: str) -> None:
        """Give a parked event up, and go on with those behind it; who did so and why is recorded.

        Raises:
            VitneError: ``NOT_PARKED``, ``NOT_FAILED``.
        """
        async with self.pool.acquire() as conn, conn.transaction():
            await desk.drop(conn, _place(message), self._mandate(actor, ground))

    async def rebuild(self, empty: Callable[[Any], Awaitable[None]]) -> None:
        """Begin anew, while it does not run: what was gathered is thrown away, and read again from the start.

        Args:
            empty: deletes what :data:`Keep` kept, on the connection, whose transaction is open.
        """
        async with self.pool.acquire() as conn, conn.transaction():
            await forget_progress(conn, CONSUMER)
            await conn.execute("DELETE FROM vitne_wanted")
            await empty(conn)
        self._consumer.caught_up.clear()

    # -- Work ----------------------------------------------------------------------------------------

    async def _handle(self, conn: Any, messages: Sequence[Message]) -> None:
        read = [(read_notice(message), message.time) for message in messages]
        for what, some in groupby(read, lambda pair: pair[0].notice if pair[0].notice in _ENDINGS else None):
            told = list(some)
            notices = [notice for notice, _ in told]
            if what == events_pb2.HUB_NOTICE_REGISTRATION_ENDED:
                if self._ended is not None:
                    for notice, at in told:
                        await self._ended(conn, notice.pseudonym, at)
            elif what == events_pb2.HUB_NOTICE_WITHDRAWN:
                handles = [notice.handle for notice in notices]
                await wanted.unwant(conn, handles)
                await self._forget(conn, handles)
            else:
                await wanted.want(conn, notices, self._clock.now())
                self._arrived.set()

    async def _fetch(self) -> None:
        while True:
            try:
                busy = await self._step()
            except DATABASE_OUTAGES as error:
                _log.warning("the database is away, and tried again: %s", type(error).__name__)
                busy = False
            if busy:
                continue
            eager = self._arrived.is_set()
            self._arrived.clear()
            try:
                async with asyncio.timeout(EAGER_SECONDS if eager else IDLE_SECONDS):
                    await self._arrived.wait()
            except TimeoutError:
                pass

    async def _step(self) -> bool:
        """Fetch one batch; False when nothing was due."""
        claimed = await wanted.claim(self.pool, self._clock.now(), BATCH)
        if not claimed:
            return False
        asked = issuer_pb2.FetchCredentialsRequest(handles=[one.handle for one in claimed])
        try:
            answer = await call(self.issuer.FetchCredentials, asked)
        except VitneError as error:
            _log.warning("fetching failed, and is tried again", extra={"reason": error.reason, "count": len(claimed)})
            await wanted.postpone(self.pool, claimed, self._clock.now())
            return True
        told = {one.handle: one for one in answer.credentials}
        later = [one for one in claimed if one.handle not in told or told[one.handle].unavailable_reason]
        answered = [one for one in claimed if one not in later]
        later += await self._settle(answered, told)
        if later:
            await wanted.postpone(self.pool, later, self._clock.now())
        return True

    async def _settle(
        self, claimed: Sequence[Wanted], told: Mapping[str, issuer_pb2.FetchedCredential]
    ) -> Sequence[Wanted]:
        """Keep what was answered; those that the portal's own code fails at, which hold up no other."""
        try:
            async with self.pool.acquire() as conn, conn.transaction():
                current = await wanted.done(conn, claimed)
                held = [
                    Held(one.handle, one.pseudonym, told[one.handle].credential)
                    for one in claimed
                    if one.handle in current and told[one.handle].HasField("credential")
                ]
                if held:
                    await self._keep(conn, held)
                if gone := [*current - {one.handle for one in held}]:
                    await self._forget(conn, gone)
        except DATABASE_OUTAGES:
            raise
        except Exception as error:  # noqa: BLE001 - the portal's own code: whatever it fails at
            if len(claimed) > 1:
                half = len(claimed) // 2
                return [*await self._settle(claimed[:half], told), *await self._settle(claimed[half:], told)]
            # Its message may name a learner.
            extra = {"handle": claimed[0].handle, "error": type(error).__name__}
            _log.error("a credential can't be kept, and is tried again", extra=extra)
            return claimed
        return []

    def _mandate(self, actor: str, ground: str) -> desk.Mandate:
        return desk.Mandate(self._new_id(), actor, ground, self._clock.now())


def _place(message: Parked) -> desk.Place:
    return desk.Place(CONSUMER, message.topic, message.partition, message.offset)
