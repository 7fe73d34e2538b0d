"""How late a consumer is, in seconds, and apart from that what is parked.

``vitne.consumer.lag`` is backlog: it shrinks by itself once the consumer gets on.
``vitne.consumer.parked_keys`` and ``vitne.consumer.parked_age`` wait for an operator (state ``failed``),
or for a revision that has not come (state ``waiting``). Parked messages are not in the lag: they are out of the way.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final
from weakref import WeakSet

import asyncpg

from vitne.clock import Clock
from vitne.errors import DataLoss
from vitne.messaging.headers import Record, time_of
from vitne.messaging.kafka import Partition
from vitne.messaging.metrics import CONSUMER_LAG, CONSUMER_PARKED_AGE, CONSUMER_PARKED_KEYS
from vitne.metrics import Observation
from vitne.outages import DATABASE_OUTAGES

_LOG: Final = logging.getLogger(__name__)

#: Seconds between two looks at what is parked: an operator does not act faster.
WATCH_SECONDS: Final = 5.0


class Progress:
    """Up to which instant a consumer has dealt with all that happened, by partition; parked counts as dealt with.

    Args:
        consumer: its name.
        clock: tells the present.
    """

    def __init__(self, consumer: str, clock: Clock) -> None:
        self.consumer = consumer
        self._clock = clock
        self._until: dict[Partition, datetime] = {}
        _ALL.add(self)

    def note(
        self,
        positions: Mapping[Partition, int],
        ends: Mapping[Partition, int | None],
        fetched: Mapping[Partition, Sequence[Record]],
    ) -> bool:
        """Take down where the consumer is; true when it has dealt with everything that there is.

        Args:
            positions: next offset of each partition that is this consumer's.
            ends: where those partitions end, as far as is known.
            fetched: the records that the positions were reached by.
        """
        self._until = {partition: at for partition, at in self._until.items() if partition in ends}
        now, everything = self._clock.now(), bool(ends)
        for partition, end in ends.items():
            # Where nothing was ever fetched no position was looked up: it is at the end of an empty partition only.
            position = positions.get(partition, 0)
            if end is not None and position >= end:
                self._until[partition] = now
                continue
            everything = False
            if partition in positions and (records := fetched.get(partition)):
                # The first that is left or, when none is, the last that was dealt with: what follows is younger.
                left = next((record for record in records if record.offset >= position), records[-1])
                self._set(partition, left)
        return everything

    def lags(self) -> dict[str, float]:
        """Age in seconds of the oldest message not yet dealt with, by topic; zero: there is none.

        A topic of which nothing is known yet is left out.
        """
        now = self._clock.now()
        found: dict[str, float] = {}
        for partition, until in self._until.items():
            age = max(0.0, (now - until).total_seconds())
            found[partition.topic] = max(found.get(partition.topic, 0.0), age)
        return found

    def _set(self, partition: Partition, record: Record) -> None:
        try:
            self._until[partition] = time_of(record)
        except DataLoss:  # It tells no time. It is about to be parked for that.
            return


class ParkedWatch:
    """Tells what is parked, of all consumers of a database.

    Args:
        pool: the database.
        clock: for ages and pauses.
    """

    def __init__(self, pool: asyncpg.Pool, clock: Clock) -> None:
        self._pool = pool
        self._clock = clock
        self._told: set[tuple[str, str, str]] = set()

    async def run(self) -> None:
        """Look until cancelled; a database that is away is waited out."""
        while True:
            try:
                await self.look()
            except DATABASE_OUTAGES as error:
                _LOG.warning("what is parked can't be told: %s", type(error).__name__)
            await self._clock.sleep(WATCH_SECONDS)

    async def look(self) -> None:
        """Look once."""
        rows = await self._pool.fetch(
            """
            SELECT consumer, topic, state, count(*) AS keys, min(oldest) AS oldest FROM (
                SELECT consumer, topic, key, min(state) AS state, min(parked_at) AS oldest
                FROM consumer_parked GROUP BY consumer, topic, key
            ) AS parked_key GROUP BY consumer, topic, state
            """
        )
        now = self._clock.now()
        found = {(row["consumer"], row["topic"], row["state"]): (row["keys"], row["oldest"]) for row in rows}
        for consumer, topic, state in found.keys() | self._told:
            keys, oldest = found.get((consumer, topic, state), (0, now))
            CONSUMER_PARKED_KEYS.set(keys, consumer, topic, state)
            CONSUMER_PARKED_AGE.set(max(0.0, (now - oldest).total_seconds()), consumer, topic, state)
        self._told = set(found)


def observe(progresses: Iterable[Progress]) -> Iterator[Observation]:
    """The lags of some consumers, as a gauge takes them."""
    for progress in progresses:
        for topic, seconds in progress.lags().items():
            yield seconds, (progress.consumer, topic)


_ALL: Final[WeakSet[Progress]] = WeakSet()
CONSUMER_LAG.observe(lambda: observe(list(_ALL)))
