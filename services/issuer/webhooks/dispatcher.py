"""Sends what waits: plans fresh events, claims lanes, makes attempts, stores how they went.

Every replica runs one. A lane is claimed for longer than an attempt can take, so only one of them sends an
event at a time; if that one dies, another takes over when the lease ends, and the receiver may get the event once more,
with the same id.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import asyncpg
from google.protobuf.message import DecodeError

from services.issuer.metrics import WEBHOOK_ATTEMPTS, WEBHOOK_DELAY, WEBHOOK_DISABLED, WEBHOOK_GIVEN_UP
from services.issuer.webhooks import store
from services.issuer.webhooks.endpoints import MAX_SECRETS, Seals
from services.issuer.webhooks.payload import body
from services.issuer.webhooks.schedule import DOWN_AFTER, Answer, Disable, GiveUp, Retry, Schedule
from services.issuer.webhooks.sender import TIMEOUT_SECONDS, Sender
from services.issuer.webhooks.signature import signed_headers
from services.issuer.webhooks.store import Claim
from vitne.clock import Clock
from vitne.errors import DataLoss
from vitne.messaging.backoff import Backoff
from vitne.outages import DATABASE_OUTAGES
from vitne_api.issuer.v1 import webhooks_pb2 as webhooks

_log = logging.getLogger(__name__)

#: How long a lane is claimed for: an attempt, the storing of it, and clocks that differ between replicas.
LEASE: Final = timedelta(seconds=TIMEOUT_SECONDS + 45)
#: The longest that an attempt takes, from which a claim has to hold to its end.
ATTEMPT: Final = timedelta(seconds=TIMEOUT_SECONDS)
#: Pause between turns while there is work; the longest while attempts are being made, behind which others of their
#: keys may wait; and the longest when there is nothing.
BUSY_SECONDS: Final = 0.01
CALLING_SECONDS: Final = 0.05
IDLE_SECONDS: Final = 0.25
#: How often old events are looked for.
PRUNE_SECONDS: Final = 60.0
#: Connections to the database that storing takes at once: the rest is for those who issue.
CONNECTIONS: Final = 2
#: What attempts that are being made get to finish when the process ends.
GRACE_SECONDS: Final = 3.0


@dataclass(frozen=True, slots=True)
class Limits:
    """How much at once, and how long events are kept."""

    parallel: int
    parallel_endpoint: int
    retention: timedelta


class Dispatcher:
    """Sends what waits.

    Args:
        pool: the issuer's database.
        sender: makes attempts.
        seals: opens URLs and secrets.
        schedule: says what follows a failure.
        limits: how much at once.
        clock: tells the time.
        new_id: names leases.
    """

    def __init__(
        self,
        pool: asyncpg.Pool,
        *,
        sender: Sender,
        seals: Seals,
        schedule: Schedule,
        limits: Limits,
        clock: Clock,
        new_id: Callable[[], UUID],
    ) -> None:
        self._pool = pool
        self._sender = sender
        self._seals = seals
        self._schedule = schedule
        self._limits = limits
        self._clock = clock
        self._new_id = new_id
        self._calls: dict[asyncio.Task[None], Claim] = {}
        self._storing = asyncio.Semaphore(CONNECTIONS)
        self._next_prune = 0.0

    async def run(self) -> None:
        """Send until cancelled; outages of the database are waited out."""
        backoff = Backoff(self._clock)
        pause = BUSY_SECONDS
        try:
            while True:
                try:
                    busy = await self.turn()
                    await self._prune()
                except DATABASE_OUTAGES as error:
                    _log.warning("webhooks wait for the database: %s", type(error).__name__)
                    await backoff.wait()
                    continue
                backoff.reset()
                longest = CALLING_SECONDS if self._calls else IDLE_SECONDS
                pause = BUSY_SECONDS if busy else min(pause * 2, longest)
                await self._clock.sleep(pause)
        finally:
            await self.close()

    async def turn(self) -> int:
        """Plan what is fresh and begin to send what is due; answers how much there was of both."""
        async with self._pool.acquire() as connection:
            if not await store.anything(connection, self._clock.now()):
                return 0
            async with connection.transaction():
                planned, unknown = await store.plan(connection, self._clock.now())
            for event in unknown:
                _log.error("an event for webhooks is not known to this release", extra={"event": str(event)})
            until = self._clock.now() + LEASE
            claims = await self._claim(connection, until)
            found = await store.secrets(
                connection, list({item.endpoint for item in claims}), self._clock.now(), MAX_SECRETS
            )
        for item in claims:
            if item.endpoint in found:  # else deleted meanwhile, with its lanes
                task = asyncio.create_task(self._deliver(item, found[item.endpoint], until - ATTEMPT))
                self._calls[task] = item
                task.add_done_callback(self._calls.pop)
        return planned + len(claims)

    async def settle(self) -> None:
        """Return when no attempt is being made."""
        while self._calls:
            await asyncio.wait(list(self._calls))

    async def close(self) -> None:
        """Let attempts finish, within limits; give the others back, so that nobody waits for their leases to end."""
        if self._calls:
            await asyncio.wait(list(self._calls), timeout=GRACE_SECONDS)
        cut = dict(self._calls)
        for task in cut:
            task.cancel()
        await asyncio.gather(*cut, return_exceptions=True)
        await self._sender.close()
        if cut:
            try:
                async with asyncio.timeout(GRACE_SECONDS):
                    leases = {item.lease for item in cut.values()}
                    await store.give_back(self._pool, list(leases), self._clock.now())
            except DATABASE_OUTAGES as error:
                _log.warning("claims of webhooks end by themselves: %s", type(error).__name__)

    async def _claim(self, connection: asyncpg.Connection, until: datetime) -> list[Claim]:
        room = self._limits.parallel - len(self._calls)
        if room <= 0:
            return []
        now = self._clock.now()
        async with connection.transaction():
            return await store.claim(
                connection,
                self._new_id(),
                now,
                until,
                most=room,
                most_endpoint=self._limits.parallel_endpoint,
                busy=Counter(item.endpoint for item in self._calls.values()),
                down_after=DOWN_AFTER,
            )

    async def _deliver(self, item: Claim, sealed: store.EndpointSecrets, begin_before: datetime) -> None:
        """Make an attempt and store how it went. If it can't be stored, the lease ends and it is made again."""
        if self._clock.now() > begin_before:
            # This process stood still. Others may send the event by now, and then those behind it.
            _log.warning("a claim of a webhook's was too old to be used", extra={"event": str(item.event)})
            return
        try:
            opened = self._open(item, sealed)
            if isinstance(opened, Disable | GiveUp):
                await self._park(item, opened)
                return
            url, secrets, payload = opened
            answer = await self._sender.post(
                url, signed_headers(item.event, self._clock.now(), payload, secrets), payload
            )
            await self._store(item, answer)
        except Exception as error:  # noqa: BLE001 - one event's trouble must not be that of the others
            _log.warning("an attempt could not be stored: %s", type(error).__name__, extra={"event": str(item.event)})

    def _open(self, item: Claim, sealed: store.EndpointSecrets) -> tuple[str, list[bytes], bytes] | Disable | GiveUp:
        """URL, secrets and body; or what follows from their being unreadable, which no repetition mends."""
        about = {"endpoint": str(item.endpoint), "event": str(item.event)}
        try:
            url = self._seals.url(sealed.url, item.endpoint)
            secrets = [self._seals.secret(secret, row) for row, secret in sealed.secrets]
        except DataLoss as error:
            _log.error("a webhook's URL or secret does not open: %s", error.reason, extra=about)
            return Disable(webhooks.WEBHOOK_DISABLED_REASON_UNREADABLE)
        try:
            return url, secrets, body(item.kind, item.time, item.value, item.revision)
        except DecodeError:
            _log.error("an event for webhooks can't be read", extra=about)
            return GiveUp()

    async def _park(self, item: Claim, verdict: Disable | GiveUp) -> None:
        async with self._storing, self._pool.acquire() as connection, connection.transaction():
            if not await store.park(connection, item, verdict, self._clock.now()):
                return
        self._tell(item, verdict)

    async def _store(self, item: Claim, answer: Answer) -> None:
        now = self._clock.now()
        WEBHOOK_ATTEMPTS.add(1, webhooks.WebhookOutcome.Name(answer.outcome))
        async with self._storing, self._pool.acquire() as connection, connection.transaction():
            if answer.acknowledged:
                await store.acknowledged(connection, item, answer, now)
                verdict = None
            else:
                verdict = await store.failed(connection, item, answer, now, self._schedule)
        if answer.acknowledged:
            WEBHOOK_DELAY.record(max(0.0, (now - item.time).total_seconds()))
        self._tell(item, verdict)

    def _tell(self, item: Claim, verdict: Retry | GiveUp | Disable | None) -> None:
        about = {"endpoint": str(item.endpoint), "event": str(item.event)}
        match verdict:
            case GiveUp():
                WEBHOOK_GIVEN_UP.add(1)
                _log.warning("an event for an endpoint was given up", extra=about)
            case Disable(reason=reason):
                name = webhooks.WebhookDisabledReason.Name(reason)
                WEBHOOK_DISABLED.add(1, name)
                _log.warning("a webhook's endpoint was disabled: %s", name, extra=about)

    async def _prune(self) -> None:
        if self._clock.monotonic() < self._next_prune:
            return
        now = self._clock.now()
        async with self._pool.acquire() as connection, connection.transaction():
            pruned = await store.prune(connection, now - self._limits.retention, now)
        if pruned < store.BATCH:  # else there may be more: go on at the next turn
            self._next_prune = self._clock.monotonic() + PRUNE_SECONDS
