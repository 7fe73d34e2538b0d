"""The consumer: handles each event once, in the order of its aggregate (RECORDS: Outbox and consumer)."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Collection, Container, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

import asyncpg
from aiokafka.errors import IllegalStateError, KafkaError
from google.protobuf.message import DecodeError

from vitne.clock import Clock
from vitne.errors import DataLoss, FailedPrecondition, InvalidArgument, VitneError
from vitne.identifiers import UuidFactory
from vitne.messaging import outbox
from vitne.messaging.backoff import Backoff
from vitne.messaging.event_types import DEAD_LETTER
from vitne.messaging.headers import Message, Record, key_text, parse
from vitne.messaging.kafka import AIOKAFKA, ConsumerClient, Kafka, KafkaSettings, Partition
from vitne.messaging.lag import Progress
from vitne.messaging.metrics import CONSUMER_MESSAGES
from vitne.messaging.outbox import Event
from vitne.messaging.parked import STATES, Parked, Shelf
from vitne.messaging.sequence import Place, place
from vitne.messaging.topics import dead_topic, order_of
from vitne.messaging.tracing import processing
from vitne.outages import CONFLICT, DATABASE_OUTAGES, UNREACHABLE
from vitne_api.events.v1 import events_pb2

_LOG: Final = logging.getLogger(__name__)

#: Applies events, one or many, in their order, in the transaction that is open on the connection. It may be called
#: again for messages whose transaction did not commit, so what it does elsewhere must bear repetition; where it raises,
#: each of them is tried by itself. A message's ``traceparent`` is that of its handling: what leads on from it takes it.
Handler = Callable[[asyncpg.Connection, Sequence[Message]], Awaitable[None]]

#: What says that the message itself is at fault, however often it is tried. Everything else may mend itself.
PERMANENT: Final = (InvalidArgument, FailedPrecondition, DataLoss, DecodeError, UnicodeDecodeError)

#: Causes that are told once each; a consumer that has so many has other troubles, and tells of each.
CAUSES_TOLD: Final = 100

#: Answers after which a partition ends where they say: the first may have been under way already.
CERTAIN: Final = 2


@dataclass(frozen=True, slots=True)
class ConsumerOptions:
    """How the consumer paces itself.

    Attributes:
        batch: messages of a partition that are handled together, in one transaction, at most.
        singly: messages that share a transaction where each is tried by itself, because something among them failed or
            they were parked, at most. 1 for a handler that takes locks in an order that is not the messages'.
        poll_seconds: how long to wait for messages before looking at what else is due.
        sweep_seconds: how often parked messages are looked at.
        pause_seconds: between two transactions that are not full: where nobody waits for what comes of a message, more
            of them share one.
    """

    batch: int = 500
    singly: int = 500
    poll_seconds: float = 0.25
    sweep_seconds: float = 1.0
    pause_seconds: float = 0.0


class _OffsetMoved(Exception):
    """The offset in the database is not where this instance left it."""


@dataclass(slots=True)
class _Doubt:
    """Whether a partition ends before ``position``: since when it seems so, and how often it was said again."""

    position: int
    learned: int | None
    answers: int = 0


@dataclass(slots=True)
class _Batch:
    """What a transaction knows of the keys in it.

    Attributes:
        seen: last revision that took effect, by key.
        failed: keys with a failed message: later ones wait.
        waiting: keys with waiting messages and no failed one.
        advanced: what to write back of ``seen``.
        due: messages that are still to be handled, together.
        sweep: whether a waiting message may be due after this transaction.
        outcomes: how many messages became what, to be counted once that is committed.
    """

    seen: dict[str, int]
    failed: set[str]
    waiting: set[str]
    advanced: dict[str, int] = field(default_factory=dict)
    due: list[Message] = field(default_factory=list)
    sweep: bool = False
    outcomes: Counter[str] = field(default_factory=Counter)

    def advance(self, message: Message) -> None:
        """The message took effect."""
        self.seen[message.key] = self.advanced[message.key] = message.revision
        self.sweep = self.sweep or message.key in self.waiting


class Consumer:
    """Reads topics and applies their events to a database, each once.

    Its offsets are rows in that database and move in the transaction of the effect;
    Kafka's group, where there is one, only shares out the partitions.

    * A revision that took effect is dropped; before one that is missing, the message
      waits (in the database), and the key with it.
    * A message that can't be handled (:data:`PERMANENT`) is parked, told to
      ``<topic>.dead`` through the outbox, and later messages of its key wait behind it.
    * Any other error is taken to mend itself: the partition is tried again from there, for ever.

    Attributes:
        caught_up: set once everything was handled or parked that the topics held when it was looked, and stays set.
        progress: how late it is.

    Args:
        name: of the consumer and its group; its offsets are kept under it.
        topics: names of the topics.
        pool: connections to the database that has the tables of ``sql/0001_messaging.sql``.
        handler: see :data:`Handler`.
        settings: of the cluster.
        clock: for pauses, and when something was parked.
        kafka: makes the client.
        options: pace.
    """

    def __init__(
        self,
        name: str,
        topics: Sequence[str],
        pool: asyncpg.Pool,
        handler: Handler,
        *,
        settings: KafkaSettings,
        clock: Clock,
        kafka: Kafka = AIOKAFKA,
        options: ConsumerOptions | None = None,
    ) -> None:
        self.name = name
        self.topics = tuple(topics)
        self.caught_up = asyncio.Event()
        self.progress = Progress(name, clock)
        self._pool = pool
        self._handler = handler
        self._settings = settings
        self._clock = clock
        self._kafka = kafka
        self._options = options or ConsumerOptions()
        #: Causes of shared transactions' failures that were told.
        self._told: set[str] = set()
        self._new_id = UuidFactory(clock)
        self._shelf = Shelf(name)
        #: Where this instance is; what the database says decides.
        self._positions: dict[Partition, int] = {}
        #: Partitions of which it must ask the database anew.
        self._lost: set[Partition] = set()
        #: Partitions that seemed to end before where this consumer is.
        self._doubted: dict[Partition, _Doubt] = {}
        self._next_sweep = 0.0

    async def run(self) -> None:
        """Consume until cancelled; outages of database and cluster are waited out."""
        backoff = Backoff(self._clock)
        while True:
            self._positions.clear()
            self._lost.clear()
            self._doubted.clear()
            client = self._kafka.consumer(self._settings, self.topics, self.name if self._settings.groups else None)
            try:
                await client.start()
                await self._consume(client, backoff)
            except (OSError, TimeoutError, KafkaError) as error:
                _LOG.warning("consumer %s lost the cluster, and tries again: %s", self.name, type(error).__name__)
            finally:
                await client.stop()
            await backoff.wait()

    async def _consume(self, client: ConsumerClient, backoff: Backoff) -> None:
        options = self._options
        while True:
            fetched = await client.getmany(timeout_ms=int(options.poll_seconds * 1000), max_records=options.batch)
            taken = await self._take_together(fetched)
            work = [
                *(
                    (partition, self._take_fetched(client, partition, records))
                    for partition, records in fetched.items()
                    if partition not in taken
                ),
                *((partition, self._find(client, partition)) for partition in self._lost if partition not in fetched),
                *((partition, self._doubt(client, partition)) for partition in self._short(client, fetched)),
            ]
            going = await asyncio.gather(*(self._guarded(client, partition, each) for partition, each in work))
            self._note_progress(client, fetched)
            if self._clock.monotonic() >= self._next_sweep:
                going += await self._sweep(client)
            if not all(going):
                await backoff.wait()
                continue
            backoff.reset()
            if options.pause_seconds and 0 < sum(map(len, fetched.values())) < options.batch:
                await self._clock.sleep(options.pause_seconds)

    def _note_progress(self, client: ConsumerClient, fetched: Mapping[Partition, Sequence[Record]]) -> None:
        known = {partition: at for partition, at in self._positions.items() if partition not in self._lost}
        ends = {partition: client.highwater(partition) for partition in client.assignment()}
        if self.progress.note(known, ends, fetched):
            self.caught_up.set()

    async def _guarded(self, client: ConsumerClient, partition: Partition, work: Awaitable[bool]) -> bool:
        """Do work on a partition; False when something failed that may mend itself, and is to be tried again."""
        try:
            if await work:
                return True
        except _OffsetMoved:
            _LOG.info("consumer %s: another instance moved %s", self.name, partition)
            self._lost.add(partition)
        except DATABASE_OUTAGES as error:
            _LOG.warning("consumer %s lost its database, and tries again: %s", self.name, type(error).__name__)
            _LOG.debug("what it was", exc_info=error)
        if partition in self._positions:
            _seek(client, partition, self._positions[partition])
        return False

    # Offsets

    async def _take_together(self, fetched: Mapping[Partition, Sequence[Record]]) -> Collection[Partition]:
        """Handle what was fetched from several partitions in one transaction; those that it handled, all or none.

        A few messages of each are what comes between two looks, and a transaction costs the same for any number. What
        fails is left to each partition by itself.
        """
        due = {
            partition: records
            for partition, records in sorted(fetched.items(), key=lambda item: (item[0].topic, item[0].partition))
            if partition in self._positions
            and partition not in self._lost
            and records
            and records[0].offset >= self._positions[partition]
        }
        if len(due) < 2:
            return ()
        try:
            await self._transact(due, alone=False)
        except Exception as error:  # noqa: BLE001 - whatever it is, one by one shows which partition it comes from
            self._tell_of_sharing(f"{len(due)} partitions", error)
            return ()
        return due

    async def _take_fetched(self, client: ConsumerClient, partition: Partition, records: Sequence[Record]) -> bool:
        """Handle what was fetched from a partition, unless this consumer is elsewhere in it."""
        if partition in self._lost or partition not in self._positions:
            return await self._find(client, partition)
        position = self._positions[partition]
        due = [record for record in records if record.offset >= position]
        if not due:
            end = client.highwater(partition)
            if end is not None and end < position:
                return await self._doubt(client, partition)
            # The partition was taken away and given back: the client started at its beginning.
            _seek(client, partition, position)
            return True
        return await self._take(partition, due)

    async def _find(self, client: ConsumerClient, partition: Partition) -> bool:
        """Go to where the database says; whatever was fetched will be fetched again."""
        self._lost.add(partition)
        self._positions[partition] = await self._own_offset(partition)
        self._lost.remove(partition)
        _seek(client, partition, self._positions[partition])
        return True

    async def _own_offset(self, partition: Partition) -> int:
        """Where this consumer is in a partition; at the beginning when it never was there."""
        async with self._pool.acquire() as conn:
            await conn.execute(
                """
                INSERT INTO consumer_offset (consumer, topic, partition, next_offset) VALUES ($1, $2, $3, 0)
                ON CONFLICT (consumer, topic, partition) DO NOTHING
                """,
                self.name,
                partition.topic,
                partition.partition,
            )
            offset: int = await conn.fetchval(
                "SELECT next_offset FROM consumer_offset WHERE consumer = $1 AND topic = $2 AND partition = $3",
                self.name,
                partition.topic,
                partition.partition,
            )
        return offset

    async def _move_offset(self, conn: asyncpg.Connection, partition: Partition, expected: int, to: int) -> None:
        moved = await conn.fetchval(
            """
            UPDATE consumer_offset SET next_offset = $5
            WHERE consumer = $1 AND topic = $2 AND partition = $3 AND next_offset = $4 RETURNING true
            """,
            self.name,
            partition.topic,
            partition.partition,
            expected,
            to,
        )
        if not moved:
            raise _OffsetMoved

    async def _advance(
        self, conn: asyncpg.Connection, batches: Mapping[str, _Batch], reached: Mapping[Partition, int]
    ) -> None:
        """Write back which revisions took effect, and move the offsets behind them, in one statement."""
        seen = [(topic, key, revision) for topic, batch in batches.items() for key, revision in batch.advanced.items()]
        if not (seen or reached):
            return
        moved = await conn.fetchval(
            """
            WITH seen AS (
                INSERT INTO consumer_seen (consumer, topic, key, revision)
                SELECT $1, * FROM unnest($2::text[], $3::text[], $4::bigint[])
                ON CONFLICT (consumer, topic, key) DO UPDATE SET revision = excluded.revision
            ), moved AS (
                UPDATE consumer_offset SET next_offset = reached.next_offset
                FROM unnest($5::text[], $6::integer[], $7::bigint[], $8::bigint[])
                    AS reached (topic, partition, expected, next_offset)
                WHERE consumer = $1 AND consumer_offset.topic = reached.topic
                    AND consumer_offset.partition = reached.partition AND consumer_offset.next_offset = reached.expected
                RETURNING true
            )
            SELECT count(*) FROM moved
            """,
            self.name,
            [topic for topic, _, _ in seen],
            [key for _, key, _ in seen],
            [revision for _, _, revision in seen],
            [partition.topic for partition in reached],
            [partition.partition for partition in reached],
            [self._positions[partition] for partition in reached],
            list(reached.values()),
        )
        if moved != len(reached):
            raise _OffsetMoved

    def _short(self, client: ConsumerClient, fetched: Container[Partition]) -> list[Partition]:
        """Partitions that end before this consumer's offset, as their last fetch said."""
        idle = set(client.assignment()) & self._positions.keys() - self._lost
        ends = {partition: client.highwater(partition) for partition in idle if partition not in fetched}
        return [partition for partition, end in ends.items() if end is not None and end < self._positions[partition]]

    async def _doubt(self, client: ConsumerClient, partition: Partition) -> bool:
        """See whether a partition that seems to end before this consumer's offset really does.

        Another instance, where no group shares them out, may have gone beyond what this client has fetched. So it is
        looked again, from that offset: the second answer was certainly given after the offset was.
        """
        if partition not in set(client.assignment()):
            return True
        position, learned = self._positions[partition], client.last_poll_timestamp(partition)
        doubt = self._doubted.get(partition)
        if doubt is None or doubt.position != position:
            self._doubted[partition] = _Doubt(position, learned)
            _seek(client, partition, position)
            return True
        if doubt.learned != learned:
            doubt.learned = learned
            doubt.answers += 1
        return doubt.answers < CERTAIN or await self._restart(client, partition)

    async def _restart(self, client: ConsumerClient, partition: Partition) -> bool:
        """Read a partition that was cut from its beginning; revisions that took effect are dropped on the way."""
        _LOG.error(
            "%s[%d] ends before offset %d, where consumer %s is: the cluster lost records; reading all that it has",
            partition.topic,
            partition.partition,
            self._positions[partition],
            self.name,
        )
        async with self._pool.acquire() as conn:
            await self._move_offset(conn, partition, self._positions[partition], 0)
        self._positions[partition] = 0
        _seek(client, partition, 0)
        return True

    # Messages

    async def _take(self, partition: Partition, records: Sequence[Record]) -> bool:
        """Handle records in one transaction or, when that fails, each by itself as far as possible."""
        try:
            await self._transact({partition: records}, alone=False)
        except _OffsetMoved:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, one by one shows which message it comes from
            self._tell_of_sharing(f"{len(records)} messages of {partition.topic}", error)
            singly = self._options.singly
            for start in range(0, len(records), singly):
                if not await self._transact({partition: records[start : start + singly]}, alone=True):
                    return False
        return True

    async def _transact(self, work: Mapping[Partition, Sequence[Record]], *, alone: bool) -> bool:
        """Handle records and move the offsets behind those that were.

        ``alone`` handles each by itself, within a savepoint, so that one that fails takes
        no other with it; without it, whatever the handler raises undoes them all.

        Args:
            work: records by partition, in the order of topics and partitions, in which everybody locks them.
            alone: see above; of a single partition.
        """
        reached = {partition: self._positions[partition] for partition in work}
        keys: dict[str, set[str]] = defaultdict(set)
        for partition, records in work.items():
            keys[partition.topic].update(key_text(record.key) for record in records)
        done = True
        async with self._pool.acquire() as conn, conn.transaction():
            await self._hold(conn, tuple(work))
            batches = {topic: await self._know(conn, topic, some) for topic, some in keys.items()}
            for partition, records in work.items():
                for record in records:
                    done = await self._take_record(conn, batches[partition.topic], record, alone=alone)
                    if not done:
                        break
                    reached[partition] = record.offset + 1
            for batch in batches.values():
                if batch.due:
                    await self._handle(conn, batch, batch.due)
            await self._advance(conn, batches, reached)
        self._positions |= reached
        for topic, batch in batches.items():
            self._count(topic, batch)
            if batch.sweep:
                self._next_sweep = self._clock.monotonic()
        return done

    async def _take_record(self, conn: asyncpg.Connection, batch: _Batch, record: Record, *, alone: bool) -> bool:
        """Do with a record what its revision asks for; False when it must be tried again."""
        try:
            message = parse(record)
        except DataLoss as error:
            await self._fail(conn, batch, record, None, error)
            return True
        order = order_of(message.topic)
        seen = batch.seen.get(message.key, 0)
        where = place(order, seen, message.revision)
        if where is Place.SEEN:
            batch.outcomes["repeated"] += 1
            return True
        if where is Place.GAP or message.key in batch.failed:
            if where is Place.GAP:
                batch.sweep = True  # What is missing may be in this very batch.
                _LOG.warning(
                    "consumer %s: %s[%d]@%d has revision %d, but %d is missing before it: it waits",
                    self.name,
                    message.topic,
                    message.partition,
                    message.offset,
                    message.revision,
                    seen + 1,
                )
            await self._shelf.put(conn, record, message.revision, self._clock.now())
            batch.outcomes["waiting"] += 1
            return True
        return await self._apply(conn, batch, record, message, alone=alone)

    async def _apply(
        self, conn: asyncpg.Connection, batch: _Batch, record: Record, message: Message, *, alone: bool
    ) -> bool:
        if not alone:
            batch.due.append(message)
        else:
            try:
                async with conn.transaction():
                    await self._handle(conn, batch, [message])
            except PERMANENT as error:
                await self._fail(conn, batch, record, message.revision, _explained(error))
                return True
            except Exception as error:  # noqa: BLE001 - nothing may be skipped: it is tried again until it works
                self._complain(message, error)
                return False
        batch.advance(message)
        return True

    async def _handle(self, conn: asyncpg.Connection, batch: _Batch, messages: Sequence[Message]) -> None:
        """Have messages of one topic handled together."""
        with processing(self.name, messages) as traced:
            await self._handler(conn, traced)
        batch.outcomes["handled"] += len(messages)

    async def _fail(
        self, conn: asyncpg.Connection, batch: _Batch, record: Record, revision: int | None, error: VitneError
    ) -> None:
        """Park a message that can't be handled, and tell the operators in the same transaction."""
        now = self._clock.now()
        key = key_text(record.key)
        batch.failed.add(key)
        await self._shelf.put(conn, record, revision, now, error)
        letter = events_pb2.DeadLetter(
            consumer=self.name,
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            reason=error.reason,
            detail=error.message,
            # What was parked is whole; a foreign record may be larger than any letter about it can be.
            value=(record.value or b"")[: outbox.MAX_VALUE_BYTES // 2],
            headers=[events_pb2.DeadLetter.Header(name=name, value=raw or b"") for name, raw in record.headers],
        )
        letter.at.FromDatetime(now)
        topic = dead_topic(record.topic)
        await outbox.append(
            conn,
            [
                Event(
                    topic=topic,
                    key=key or "-",
                    aggregate=f"{topic}/{key}",
                    type=DEAD_LETTER,
                    source=f"/vitne/consumers/{self.name}",
                    value=letter.SerializeToString(),
                    time=now,
                    id=self._new_id(),
                )
            ],
        )
        batch.outcomes["failed"] += 1
        _LOG.error(
            "consumer %s can't handle %s[%d]@%d (%s): it is parked, and its key waits for an operator",
            self.name,
            record.topic,
            record.partition,
            record.offset,
            error.reason,
        )

    # What was parked

    async def _sweep(self, client: ConsumerClient) -> list[bool]:
        """Handle parked messages whose turn has come, in the partitions that are this instance's."""
        self._next_sweep = self._clock.monotonic() + self._options.sweep_seconds
        try:
            await self._look_for_moves(client)
            rows = await self._pool.fetch(
                "SELECT DISTINCT topic, partition FROM consumer_parked WHERE consumer = $1 AND state = 'waiting'",
                self.name,
            )
        except DATABASE_OUTAGES:
            return [False]
        parked_at = {(row["topic"], row["partition"]) for row in rows}
        ours = [each for each in self._positions.keys() - self._lost if (each.topic, each.partition) in parked_at]
        return [await self._guarded(client, partition, self._sweep_partition(partition)) for partition in ours]

    async def _look_for_moves(self, client: ConsumerClient) -> None:
        """Notice offsets that somebody moved, as a rebuild does, also where nothing new arrives."""
        rows = await self._pool.fetch(
            "SELECT topic, partition, next_offset FROM consumer_offset WHERE consumer = $1", self.name
        )
        stored = {(row["topic"], row["partition"]): row["next_offset"] for row in rows}
        for partition in set(client.assignment()) & self._positions.keys() - self._lost:
            if stored.get((partition.topic, partition.partition)) != self._positions[partition]:
                self._lost.add(partition)

    async def _sweep_partition(self, partition: Partition) -> bool:
        while True:
            progress, done = False, True
            async with self._pool.acquire() as conn, conn.transaction():
                await self._hold(conn, [partition])
                due = await self._shelf.due(conn, partition.topic, partition.partition, self._options.singly)
                batch = await self._know(conn, partition.topic, {parked.text_key for parked in due})
                for parked in due:
                    done = await self._retry(conn, batch, parked)
                    if not done:
                        break
                    progress = True
                await self._advance(conn, {partition.topic: batch}, {})
            self._count(partition.topic, batch)
            if not (progress and done):
                return done

    async def _retry(self, conn: asyncpg.Connection, batch: _Batch, parked: Parked) -> bool:
        """Handle a parked message, whose revision is the next or was seen; False when it must be tried again."""
        try:
            message = parse(parked)
        except DataLoss as error:
            await self._fail(conn, batch, parked, None, error)
            return True
        if place(order_of(message.topic), batch.seen.get(message.key, 0), message.revision) is not Place.SEEN:
            if not await self._apply(conn, batch, parked, message, alone=True):
                return False
            if message.key in batch.failed:
                return True
        await self._shelf.remove(conn, parked)
        return True

    # Helpers

    async def _hold(self, conn: asyncpg.Connection, partitions: Sequence[Partition]) -> None:
        """Keep other instances, and operators, off partitions (in their order) until the transaction ends."""
        rows = await conn.fetch(
            """
            SELECT topic, partition, next_offset FROM consumer_offset
            WHERE consumer = $1 AND (topic, partition) IN (SELECT * FROM unnest($2::text[], $3::integer[]))
            ORDER BY topic COLLATE "C", partition FOR UPDATE
            """,
            self.name,
            [partition.topic for partition in partitions],
            [partition.partition for partition in partitions],
        )
        stored = {(row["topic"], row["partition"]): row["next_offset"] for row in rows}
        for partition in partitions:
            if stored.get((partition.topic, partition.partition)) != self._positions[partition]:
                raise _OffsetMoved

    async def _know(self, conn: asyncpg.Connection, topic: str, keys: Collection[str]) -> _Batch:
        """What the database says about keys: how far they are, and what of them is parked, in one statement."""
        rows = await conn.fetch(
            f"""
            SELECT key, revision, NULL::boolean AS failed FROM consumer_seen
            WHERE consumer = $1 AND topic = $2 AND key = ANY ($3)
            UNION ALL {STATES}
            """,  # noqa: S608 (a constant)
            self.name,
            topic,
            list(keys),
        )
        return _Batch(
            seen={row["key"]: row["revision"] for row in rows if row["failed"] is None},
            failed={row["key"] for row in rows if row["failed"]},
            waiting={row["key"] for row in rows if row["failed"] is False},
        )

    def _count(self, topic: str, batch: _Batch) -> None:
        """Count what a transaction did. Before its end, what is rolled back and done again would count twice."""
        for outcome, messages in batch.outcomes.items():
            CONSUMER_MESSAGES.add(messages, self.name, topic, outcome)

    def _tell_of_sharing(self, what: str, error: Exception) -> None:
        """Say that a shared transaction failed, once for each cause, in the words of :meth:`_complain`.

        Where each message then succeeds by itself nothing else would say so, and the consumer is slower than it could
        be. That it met another transaction is nobody's fault, and an outage is told by what follows.
        """
        expected = isinstance(error, (_OffsetMoved, *CONFLICT, *UNREACHABLE))
        place = traceback.extract_tb(error.__traceback__)[-1]
        cause = f"{_named(error)} in {place.name}, line {place.lineno}"
        level = logging.DEBUG if expected or cause in self._told else logging.WARNING
        if level == logging.WARNING and len(self._told) < CAUSES_TOLD:
            self._told.add(cause)
        _LOG.log(level, "consumer %s: %s failed together (%s), and are taken one by one", self.name, what, cause)

    def _complain(self, message: Message, error: Exception) -> None:
        """Say where a handler failed. The text of a foreign error may hold content, so only its place is told."""
        expected = isinstance(error, VitneError | OSError | TimeoutError)
        _LOG.log(
            logging.WARNING if expected else logging.ERROR,
            "consumer %s failed at %s[%d]@%d and tries again: %s\n%s",
            self.name,
            message.topic,
            message.partition,
            message.offset,
            _named(error),
            "" if expected else "".join(traceback.format_tb(error.__traceback__)),
        )


def _seek(client: ConsumerClient, partition: Partition, offset: int) -> None:
    """Fetch from there next; a partition that was taken away meanwhile is no matter."""
    with suppress(IllegalStateError):
        client.seek(partition, offset)


def _named(error: Exception) -> str:
    """An error without its text, which may hold content where it is not ours."""
    return error.reason if isinstance(error, VitneError) else type(error).__name__


def _explained(error: Exception) -> VitneError:
    if isinstance(error, VitneError):
        return error
    return DataLoss("UNDECODABLE", "the value is not the protobuf message that its type says")
