"""The logs, taken up again from ``vitne.ledger.log.v1`` after a restore: leaf by leaf in the order that was signed.

A log that ended since ends again, and a key that followed another follows it again, each with the very statement
that was signed then: the topic has it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from services.ledger.log_store import extend_log, start_log
from services.ledger.shards import Shard, StoredCheckpoint
from services.ledger.signing import Signers, sign_tree
from services.ledger.succeeding import end_log, follow_key, keep_statement
from vitne.errors import DataLoss
from vitne.merkle.hashing import leaf_hash
from vitne.merkle.notes import Checkpoint, split_note
from vitne.merkle.succession import Succession
from vitne.messaging.event_types import LOG_EXTENDED
from vitne.messaging.headers import Message
from vitne_api.events.v1 import events_pb2


class LogRecovery:
    """Takes the logs up again, in the caller's transaction.

    Args:
        connection: in that transaction.
        origin: of the first log, where the database holds none.
        signers: have the logs' keys.
        now: when it is.
    """

    def __init__(self, connection: Any, origin: str, signers: Signers, now: datetime) -> None:
        self._connection = connection
        self._origin = origin
        self._signers = signers
        self._now = now

    async def take_up(self, log: Sequence[Message]) -> int:
        """Append what the topic has beyond the database, and check every root on the way; answers how many leaves.

        Raises:
            DataLoss: ``LOG_CONTRADICTED``, ``LOG_INCOMPLETE``, ``LOG_UNTOLD``.
            Unavailable: ``LOG_KEY_MISSING``.
        """
        told: dict[str, list[events_pb2.LogExtended]] = defaultdict(list)
        for message in log:
            if message.type == LOG_EXTENDED:
                told[message.key].append(events_pb2.LogExtended.FromString(message.value))
        statements = {
            origin: events[0].succession for origin, events in told.items() if events[0].first == 0 and _begins(events)
        }
        first = [origin for origin in told if origin not in statements]
        await start_log(self._connection, first[0] if len(first) == 1 else self._origin)
        taken = 0
        while True:
            row = await self._row()
            taken += await self._grow(row, told.get(row["origin"], ()))
            if not await self._end(statements):
                return taken

    async def _grow(self, row: Any, told: Sequence[events_pb2.LogExtended]) -> int:
        """Take up one log's leaves."""
        shard, size, root, journaled = Shard.of(row), row["size"], row["root"], row["journaled"]
        taken = 0
        complete = size == 0
        for each in told:
            complete = bool(each.root)
            end = each.first + len(each.leaves)
            if each.first > size:
                raise _incomplete(size, each.first)
            await _require_same(self._connection, shard, each, size)
            if size < end:
                records = each.leaves[size - each.first :]
                if each.succession and not Succession.parse(split_note(each.succession)[0]).closes:
                    await keep_statement(self._connection, each.succession, self._now)
                    await follow_key(self._connection, None)
                leaves = {leaf_hash(record): record for record in records}
                tree = await extend_log(self._connection, shard, size, root, leaves)
                taken += len(records)
                size, root = tree.size, tree.root()
            if each.root and end == size and each.root != root:
                raise _contradicted(size)
            journaled = max(journaled, min(end, size))
        if not complete:
            raise _untold(size)
        note = sign_tree(self._signers, await self._row(), size, root, self._now)
        await self._connection.execute(
            "UPDATE log SET size = $1, root = $2, checkpoint = $3, journaled = $4", size, root, note, journaled
        )
        return taken

    async def _end(self, statements: Mapping[str, str]) -> bool:
        """End the log where a statement says that it ended there, and have the next one grow."""
        row = await self._row()
        tree = Checkpoint(row["origin"], row["size"], row["root"])
        for origin, statement in statements.items():
            ended = Succession.parse(split_note(statement)[0]).ended
            if ended.origin != tree.origin:
                continue
            if ended != tree:
                raise _contradicted(ended.size)
            await keep_statement(self._connection, statement, self._now)
            log = StoredCheckpoint.of(row)
            await end_log(self._connection, log, ended.root, log.shard.following(origin, ended.size), self._now)
            return True
        return False

    async def _row(self) -> Any:
        return await self._connection.fetchrow(
            "SELECT shard, origin, leaves_before, tiles_before, size, root, checkpoint, journaled, key_number, "
            "former_until FROM log FOR UPDATE"
        )


def _begins(events: Sequence[events_pb2.LogExtended]) -> bool:
    """Whether a log began by following another."""
    return bool(events[0].succession) and Succession.parse(split_note(events[0].succession)[0]).closes


async def _require_same(connection: Any, shard: Shard, told: events_pb2.LogExtended, size: int) -> None:
    """What both have must be the same, leaf by leaf."""
    if told.first >= size:
        return
    count = min(size - told.first, len(told.leaves))
    rows = await connection.fetch(
        "SELECT record FROM leaf WHERE leaf_index >= $1 AND leaf_index < $2 ORDER BY leaf_index",
        shard.leaves_before + told.first,
        shard.leaves_before + told.first + count,
    )
    if [row["record"] for row in rows] != list(told.leaves[:count]):
        raise _contradicted(told.first)


def _contradicted(size: int) -> DataLoss:
    return DataLoss(
        "LOG_CONTRADICTED",
        f"database and topic have different logs from leaf {size} or before",
        rule="no checkpoint may contradict an earlier one (tlog-checkpoint)",
        remedy="find out which of them is the log that was witnessed; do not serve from either until then",
    )


def _untold(size: int) -> DataLoss:
    return DataLoss(
        "LOG_UNTOLD",
        f"the topic ends before the log that was signed, whose size nobody knows; the database has {size} leaves",
        rule="no checkpoint may contradict an earlier one (tlog-checkpoint)",
        remedy="restore to the end of the archive and serve without this command; then run tell-log",
    )


def _incomplete(size: int, first: int) -> DataLoss:
    return DataLoss(
        "LOG_INCOMPLETE",
        f"the database has the log to leaf {size}, the topic from leaf {first}",
        rule="no checkpoint may contradict an earlier one (tlog-checkpoint)",
        remedy="restore to a later instant, or the topic; what is between them can't be made up",
    )
