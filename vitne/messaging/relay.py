"""The relay: takes unpublished rows of the outbox to Kafka (RECORDS: Outbox and consumer)."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, NoReturn

import asyncpg
from aiokafka.errors import KafkaError

from vitne.clock import Clock
from vitne.messaging.backoff import Backoff
from vitne.messaging.headers import build
from vitne.messaging.kafka import AIOKAFKA, Kafka, KafkaSettings, Producer
from vitne.messaging.lag import WATCH_SECONDS
from vitne.messaging.metrics import OUTBOX_DELAY, OUTBOX_FAILED, OUTBOX_OLDEST, OUTBOX_PUBLISHED
from vitne.messaging.tracing import publishing
from vitne.outages import DATABASE_OUTAGES
from vitne.session_lock import session_lock

_LOG: Final = logging.getLogger(__name__)

#: PostgreSQL advisory lock of the relay; one database is one service's, so one number does.
LOCK_KEY: Final = 0x76_69_74_6E_65_01  # "vitne", 1

#: What goes wrong with database or cluster and mends itself.
_OUTAGES: Final = (*DATABASE_OUTAGES, KafkaError)


@dataclass(frozen=True, slots=True)
class RelayOptions:
    """How the relay paces itself.

    Attributes:
        batch: rows taken, sent and marked together, at most.
        batch_bytes: of their values, with which no further row is taken: what a batch holds is in memory several times,
            and values may have half a MiB each.
        busy_seconds: pause between polls while there is work, and the first when there is none.
        idle_seconds: longest pause when there is none; doubles up to it.
        follower_seconds: how often a relay that does not lead tries to.
        topic_seconds: how long a topic may take to become known, before its rows are left for a while.
        topic_rest_seconds: that while.
        retention: how long published rows are kept, for :func:`~vitne.messaging.recovery.start_over`.
        prune_seconds: how often older ones are deleted.
        prune_rows: how many at once, so that no delete holds the table for long.
    """

    batch: int = 500
    batch_bytes: int = 4 * 1024 * 1024
    busy_seconds: float = 0.02
    idle_seconds: float = 0.05
    follower_seconds: float = 1.0
    topic_seconds: float = 1.0
    topic_rest_seconds: float = 15.0
    retention: timedelta = timedelta(days=7)
    prune_seconds: float = 60.0
    prune_rows: int = 5000


class Relay:
    """Publishes the outbox of one database. Run it in every replica: usually one leads, the others wait.

    It takes *unpublished* rows, whatever their numbers: they are given out in another
    order than they are committed in. It marks them once Kafka has acknowledged them;
    when it dies in between, it publishes them again, and consumers drop the
    repetition. A row is never marked before those of its aggregate that precede it.
    """

    def __init__(
        self,
        pool: asyncpg.Pool,
        settings: KafkaSettings,
        clock: Clock,
        *,
        kafka: Kafka = AIOKAFKA,
        options: RelayOptions | None = None,
    ) -> None:
        self._pool = pool
        self._settings = settings
        self._clock = clock
        self._kafka = kafka
        self._options = options or RelayOptions()
        self._known: set[str] = set()
        self._resting: dict[str, float] = {}
        self._next_prune = 0.0

    async def run(self) -> None:
        """Publish until cancelled; outages of database and cluster are waited out."""
        backoff = Backoff(self._clock)
        while True:
            try:
                await self._connected(backoff)
            except _OUTAGES as error:
                _LOG.warning("the relay lost database or cluster, and tries again: %s", type(error).__name__)
                _LOG.debug("what it was", exc_info=error)
            await backoff.wait()

    async def _connected(self, backoff: Backoff) -> NoReturn:
        # The lock is the session's: losing the connection loses the lead, and nothing is marked without it.
        async with self._pool.acquire() as conn:
            while True:
                async with session_lock(conn, LOCK_KEY) as leads:
                    if leads:
                        await self._produce(conn, backoff)
                await self._clock.sleep(self._options.follower_seconds)

    async def _produce(self, conn: asyncpg.Connection, backoff: Backoff) -> NoReturn:
        producer = self._kafka.producer(self._settings)
        try:
            await producer.start()
            await self._lead(conn, producer, backoff)
        finally:
            await producer.stop()

    async def _lead(self, conn: asyncpg.Connection, producer: Producer, backoff: Backoff) -> NoReturn:
        options = self._options
        pause = options.busy_seconds
        while True:
            rows = await self._unpublished(conn)
            if rows:
                published = await self._publish(producer, rows)
                await self._mark(conn, published)
                if not published:
                    await backoff.wait()
                    continue
                backoff.reset()
                pause = options.busy_seconds
                if len(rows) == options.batch or sum(len(row["value"]) for row in rows) >= options.batch_bytes:
                    continue
            await self._prune(conn)
            await self._clock.sleep(pause)
            pause = min(pause * 2, options.idle_seconds)

    async def _unpublished(self, conn: asyncpg.Connection) -> list[asyncpg.Record]:
        now = self._clock.monotonic()
        self._resting = {topic: until for topic, until in self._resting.items() if until > now}
        rows: list[asyncpg.Record] = await conn.fetch(
            """
            SELECT id, event_id, topic, key, aggregate, revision, type, source, time, value, traceparent
            FROM (
                SELECT *, sum(octet_length(value)) OVER (ORDER BY id ROWS UNBOUNDED PRECEDING) AS reached
                FROM (
                    SELECT * FROM outbox WHERE published_at IS NULL AND topic <> ALL ($2) ORDER BY id LIMIT $1
                ) AS first
            ) AS measured
            WHERE reached - octet_length(value) < $3 ORDER BY id
            """,
            self._options.batch,
            list(self._resting),
            self._options.batch_bytes,
        )
        return rows

    async def _publish(self, producer: Producer, rows: Sequence[asyncpg.Record]) -> list[asyncpg.Record]:
        """Send rows side by side; returns those that count as published."""
        by_topic: dict[str, list[asyncpg.Record]] = defaultdict(list)
        for row in rows:
            by_topic[row["topic"]].append(row)
        parts = await asyncio.gather(*(self._publish_topic(producer, topic, some) for topic, some in by_topic.items()))
        published = [row for part in parts for row in part]
        now = self._clock.now()
        for row in published:
            OUTBOX_DELAY.record(max(0.0, (now - row["time"]).total_seconds()), row["topic"])
        return published

    async def _publish_topic(
        self, producer: Producer, topic: str, rows: Sequence[asyncpg.Record]
    ) -> list[asyncpg.Record]:
        if not await self._is_known(producer, topic):
            return []
        with publishing(topic, [row["traceparent"] for row in rows]):
            return await self._send_all(producer, topic, rows)

    async def _send_all(self, producer: Producer, topic: str, rows: Sequence[asyncpg.Record]) -> list[asyncpg.Record]:
        acknowledgements: list[tuple[asyncpg.Record, Awaitable[object]]] = []
        failure: BaseException | None = None
        try:
            for row in rows:
                acknowledgements.append((row, await self._send(producer, row)))
        except _OUTAGES as error:
            failure = error
        outcomes = await asyncio.gather(*(each for _, each in acknowledgements), return_exceptions=True)
        published: list[asyncpg.Record] = []
        # A row after one that failed is sent again even though Kafka has it: readers need them in order.
        broken: set[str] = set()
        for (row, _), outcome in zip(acknowledgements, outcomes, strict=True):
            if isinstance(outcome, BaseException):
                failure = outcome
                broken.add(row["aggregate"])
            elif row["aggregate"] not in broken:
                published.append(row)
        if not published and isinstance(failure, KafkaError) and not failure.retriable:
            # It won't mend itself in a moment (no access, a record that the cluster does not take). Its rows may be
            # all that a batch has room for, and other topics must not wait behind them.
            self._rest(topic)
        OUTBOX_PUBLISHED.add(len(published), topic)
        if failure is not None:
            OUTBOX_FAILED.add(len(rows) - len(published), topic)
            _LOG.warning(
                "%d of %d events for %s were not acknowledged and will be sent again: %s",
                len(rows) - len(published),
                len(rows),
                topic,
                type(failure).__name__,
            )
        return published

    async def _send(self, producer: Producer, row: asyncpg.Record) -> Awaitable[object]:
        return await producer.send(
            row["topic"],
            row["value"],
            row["key"].encode(),
            headers=build(
                event_id=row["event_id"],
                source=row["source"],
                type_=row["type"],
                time=row["time"],
                key=row["key"],
                revision=row["revision"],
                traceparent=row["traceparent"],
            ),
            timestamp_ms=int(row["time"].timestamp() * 1000),
        )

    def _rest(self, topic: str) -> None:
        self._resting[topic] = self._clock.monotonic() + self._options.topic_rest_seconds

    async def _is_known(self, producer: Producer, topic: str) -> bool:
        """Whether the cluster has the topic. One that is missing must not hold up the others."""
        if topic in self._known:
            return True
        try:
            await asyncio.wait_for(producer.partitions_for(topic), self._options.topic_seconds)
        except (KafkaError, TimeoutError) as error:
            self._rest(topic)
            _LOG.error(
                "the cluster does not know the topic %s (%s): its events wait in the outbox",
                topic,
                type(error).__name__,
            )
            return False
        self._known.add(topic)
        return True

    async def _mark(self, conn: asyncpg.Connection, rows: Sequence[asyncpg.Record]) -> None:
        if rows:
            await conn.execute(
                "UPDATE outbox SET published_at = $2 WHERE id = ANY ($1) AND published_at IS NULL",
                [row["id"] for row in rows],
                self._clock.now(),
            )

    async def _prune(self, conn: asyncpg.Connection) -> None:
        if self._clock.monotonic() < self._next_prune:
            return
        status: str = await conn.execute(
            "DELETE FROM outbox WHERE id IN (SELECT id FROM outbox WHERE published_at < $1 LIMIT $2)",
            self._clock.now() - self._options.retention,
            self._options.prune_rows,
        )
        if int(status.rpartition(" ")[2]) < self._options.prune_rows:  # else there may be more: go on at the next turn
            self._next_prune = self._clock.monotonic() + self._options.prune_seconds


class OutboxWatch:
    """Tells how old the oldest unpublished event of a database is, whether a relay runs or not.

    Args:
        pool: the database.
        clock: for its age, and for pauses.
    """

    def __init__(self, pool: asyncpg.Pool, clock: Clock) -> None:
        self._pool = pool
        self._clock = clock

    async def run(self) -> None:
        """Look until cancelled; a database that is away is waited out."""
        while True:
            try:
                await self.look()
            except DATABASE_OUTAGES as error:
                _LOG.warning("the age of the outbox can't be told: %s", type(error).__name__)
            await self._clock.sleep(WATCH_SECONDS)

    async def look(self) -> None:
        """Look once."""
        oldest = await self._pool.fetchval("SELECT time FROM outbox WHERE published_at IS NULL ORDER BY id LIMIT 1")
        age = (self._clock.now() - oldest).total_seconds() if oldest is not None else 0.0
        OUTBOX_OLDEST.set(max(0.0, age))
