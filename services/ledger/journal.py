"""The log's order, told in ``vitne.ledger.log.v1`` as the log grows.

Written in the transaction of the batch: whatever is in the log is in the topic or on its way there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec

from services.ledger.events import SOURCE
from services.ledger.shards import Shard
from vitne.clock import Clock
from vitne.messaging import topics
from vitne.messaging.event_types import LOG_EXTENDED
from vitne.messaging.outbox import Event, append
from vitne_api.events.v1 import events_pb2

#: Bytes of leaves in one event, at most: half of what an event may hold.
EVENT_BYTES: Final = 256 * 1024
#: Leaves that are read at once.
PAGE: Final = 2_000
#: Leaves that a batch tells of, at most: a log that was never told of is caught up with batch by batch.
MOST: Final = 16_384


def log_aggregate(origin: str) -> str:
    """Name of the log's aggregate in the ledger's database."""
    return f"log:{origin}"


async def write_journal(
    connection: Any,
    *,
    shard: Shard,
    first: int,
    size: int,
    root: bytes,
    newest: Sequence[bytes],
    now: datetime,
    new_id: Callable[[], UUID],
    succession: str = "",
) -> int:
    """Tell of the leaves from ``first`` to before ``size``, in the transaction that appended the last of them.

    Args:
        connection: in that transaction.
        shard: the log.
        first: index of the first leaf that was not told of yet.
        size: of the tree.
        root: of the tree, 32 bytes.
        newest: the last leaves of the tree, which need not be read.
        now: when it is.
        new_id: makes the UUIDv7 of events.
        succession: statement that the last leaf names; empty: it names none.

    Returns:
        how many leaves have been told of.
    """
    end = min(size, first + MOST)
    begun = size - len(newest)
    events: list[Event] = []
    while first < end:
        page = (
            await _read(connection, shard, first, min(end, begun, first + PAGE))
            if first < begun
            else newest[first - begun : end - begun]
        )
        for records in _parts(page):
            told = events_pb2.LogExtended(first=first, leaves=records)
            first += len(records)
            if first == size:
                told.root = root
                told.succession = succession
            events.append(
                Event(
                    topic=topics.LEDGER_LOG,
                    key=shard.origin,
                    aggregate=log_aggregate(shard.origin),
                    type=LOG_EXTENDED,
                    source=SOURCE,
                    value=told.SerializeToString(),
                    time=now,
                    id=new_id(),
                )
            )
    await append(connection, events)
    return first


async def _read(connection: Any, shard: Shard, first: int, end: int) -> list[bytes]:
    rows = await connection.fetch(
        "SELECT record FROM leaf WHERE leaf_index >= $1 AND leaf_index < $2 ORDER BY leaf_index",
        shard.leaves_before + first,
        shard.leaves_before + end,
    )
    return [row["record"] for row in rows]


@dataclass(frozen=True, slots=True)
class Told:
    """What has been told of a log.

    Attributes:
        size: leaves that it has.
        told: of these, that nobody had been told of and the outbox has now.
    """

    size: int
    told: int

    def to_json(self) -> str:
        """One line for an operator."""
        return msgspec.json.encode(asdict(self)).decode()


async def tell_log(pool: Any, *, clock: Clock, new_id: Callable[[], UUID]) -> Told:
    """Tell of every leaf that was never told of, whether the ledger runs or not; nothing where there is none.

    A log from before there was the topic (release 0.1.0) is else told of with what comes after, batch by batch; until
    then a ledger that is restored to an instant could not be put in step, and would sign another log.
    """
    told = 0
    while True:
        async with pool.acquire() as connection, connection.transaction():
            log = await connection.fetchrow(
                "SELECT shard, origin, leaves_before, tiles_before, size, root, journaled FROM log FOR UPDATE"
            )
            if log is None or log["journaled"] == log["size"]:
                return Told(0 if log is None else log["size"], told)
            end = await write_journal(
                connection,
                shard=Shard.of(log),
                first=log["journaled"],
                size=log["size"],
                root=log["root"],
                newest=(),
                now=clock.now(),
                new_id=new_id,
            )
            await connection.execute("UPDATE log SET journaled = $1", end)
        told += end - log["journaled"]


def _parts(records: Iterable[bytes]) -> Iterator[list[bytes]]:
    part: list[bytes] = []
    size = 0
    for record in records:
        if part and size + len(record) > EVENT_BYTES:
            yield part
            part, size = [], 0
        part.append(record)
        size += len(record)
    if part:
        yield part
