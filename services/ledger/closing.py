"""A log ends and the next one goes on; a key for checkpoints follows another (docs/decisions/0021).

Each is one transaction that holds the log's row: whoever ends anywhere in it has changed nothing, and a
sequencer that runs meanwhile is fenced out by the epoch and goes on under what stands then. Repeated, what was
done is answered as the first time. What waits in the queue goes into the next log.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

import asyncpg
import msgspec

from services.ledger.journal import write_journal
from services.ledger.log_store import extend_log
from services.ledger.shards import Shard, StoredCheckpoint
from services.ledger.signing import Signers, require_key, sign_tree
from services.ledger.succeeding import end_log, follow_key, keep_statement
from vitne.clock import Clock
from vitne.errors import AlreadyExists, FailedPrecondition, InvalidArgument, Unavailable
from vitne.merkle.leaves import Closed
from vitne.merkle.notes import Checkpoint, split_note
from vitne.merkle.resources import log_name
from vitne.merkle.succession import Succession, state_succession, succession_leaf

#: How long the key before signs, too, so that readers that have it alone can take the new one.
BOTH_SIGN: Final = timedelta(days=7)

_ORIGIN: Final = re.compile(r"[A-Za-z0-9.-]+(:[0-9]{1,5})?/[A-Za-z0-9._~/-]*[A-Za-z0-9_~-]\Z", re.ASCII)
_LOG: Final = (
    "SELECT shard, origin, leaves_before, tiles_before, size, root, journaled, checkpoint, key_number, "
    "former_until FROM log FOR UPDATE"
)


@dataclass(frozen=True, slots=True)
class Succeeded:
    """What was done, or had been done before.

    Attributes:
        number: of the statement, from 1.
        origin: of the log that ended, or whose key was replaced.
        size: leaves of its last tree; of a key: of the last tree that it answers for alone.
        next_origin: of the log that goes on.
        verifier_key: its vkey, for witnesses and policies.
        before: whether it had been done before.
    """

    number: int
    origin: str
    size: int
    next_origin: str
    verifier_key: str
    before: bool

    def to_json(self) -> str:
        """One line for an operator."""
        return msgspec.json.encode(self).decode()


class Closing:
    """Ends logs and keys.

    Args:
        pool: the ledger's database.
        signers: has the keys, the next one among them.
        clock: says when.
        new_id: makes the UUIDv7 of events.
    """

    def __init__(self, pool: asyncpg.Pool, signers: Signers, clock: Clock, new_id: Callable[[], UUID]) -> None:
        self._pool = pool
        self._signers = signers
        self._clock = clock
        self._new_id = new_id

    async def close(self, next_origin: str) -> Succeeded:
        """End the log that grows by its last leaf, and begin the next with the leaf that binds the statement.

        Raises:
            InvalidArgument: ``BAD_LOG_ORIGIN``.
            AlreadyExists: ``LOG_ORIGIN_TAKEN``: a log of that origin, or last part of it, ended already.
            Unavailable: ``LOG_NOT_STARTED``; ``LOG_KEY_MISSING``: the next key is not in custody;
                ``LOG_KEY_CHANGED``: the key in custody is not the one that signs.
            DataLoss: ``LOG_CORRUPT``.
        """
        if not _ORIGIN.match(next_origin):
            raise _bad_origin("it is not written as host/path, without a scheme")
        async with self._pool.acquire() as connection, connection.transaction():
            log = await _locked(connection)
            if log["origin"] == next_origin and log["shard"] > 1:
                return await _last(connection, closes=True)
            await _require_free(connection, log["origin"], next_origin)
            return await self._close(connection, log, next_origin)

    async def rotate(self, number: int, *, compromised: bool) -> Succeeded:
        """Have the next key sign from now on; the one before signs for a week, too, unless others may know it.

        Args:
            number: of the key that is to sign; repeated, nothing more happens.
            compromised: whether the key before signs no more from now on.

        Raises:
            FailedPrecondition: ``LOG_KEY_NOT_NEXT``.
            Unavailable: ``LOG_NOT_STARTED``; ``LOG_KEY_MISSING``: the next key is not in custody;
                ``LOG_KEY_CHANGED``: the key in custody is not the one that signs.
            DataLoss: ``LOG_CORRUPT``.
        """
        async with self._pool.acquire() as connection, connection.transaction():
            log = await _locked(connection)
            if number == log["key_number"] and number > 1:
                if compromised:
                    await self._end_former(connection, log)
                return await _last(connection, closes=None)
            if number != log["key_number"] + 1:
                raise FailedPrecondition(
                    "LOG_KEY_NOT_NEXT",
                    f"key {log['key_number']} signs, and key {number} does not follow it",
                    field="number",
                    rule="keys follow each other one by one",
                    remedy="make the next one with next-key, which says its number",
                )
            return await self._rotate(connection, log, compromised=compromised)

    # -- The log -----------------------------------------------------------------------------------

    async def _close(self, connection: Any, log: Any, next_origin: str) -> Succeeded:
        shard, now = Shard.of(log), self._clock.now()
        last = Closed(shard.origin, log["size"])
        tree = await extend_log(connection, shard, log["size"], log["root"], {last.leaf_hash(): last.to_bytes()})
        ended = Checkpoint(shard.origin, tree.size, tree.root())
        await self._tell(connection, shard, log["journaled"], ended, [last.to_bytes()])
        following = shard.following(next_origin, ended.size)
        done, statement = await self._state(connection, log, ended, following)
        note = sign_tree(self._signers, log, ended.size, ended.root, now)
        await end_log(connection, StoredCheckpoint(ended.size, note, shard), ended.root, following, now)
        await self._bind(connection, statement)
        return done

    async def _rotate(self, connection: Any, log: Any, *, compromised: bool) -> Succeeded:
        shard = Shard.of(log)
        ended = Checkpoint(shard.origin, log["size"], log["root"])
        done, statement = await self._state(connection, log, ended, shard)
        await follow_key(connection, None if compromised else self._clock.now() + BOTH_SIGN)
        await self._bind(connection, statement)
        return done

    async def _end_former(self, connection: Any, log: Any) -> None:
        """The key before signs no more, from the checkpoint that stands on."""
        require_key(self._signers(log["origin"], log["key_number"]), log["checkpoint"])
        note = sign_tree(
            self._signers, {**dict(log), "former_until": None}, log["size"], log["root"], self._clock.now()
        )
        await connection.execute("UPDATE log SET former_until = NULL, checkpoint = $1, epoch = epoch + 1", note)

    # -- What both have in common ------------------------------------------------------------------

    async def _state(self, connection: Any, log: Any, ended: Checkpoint, following: Shard) -> tuple[Succeeded, str]:
        """Have both keys sign the statement, and keep it."""
        number = log["key_number"]
        old, new = self._signers(ended.origin, number), self._signers(following.origin, number + 1)
        # A command may have been given another custody: a statement by a key that nobody knows ends the log for good.
        require_key(old, log["checkpoint"])
        statement = state_succession(Succession(ended, new.key, following.leaves_before), old, new)
        kept = await keep_statement(connection, statement, self._clock.now())
        return _succeeded(kept, statement, before=False), statement

    async def _bind(self, connection: Any, statement: str) -> None:
        """Append the leaf that names the statement to the log that goes on, under its new key."""
        log, now = await _locked(connection), self._clock.now()
        shard, leaf = Shard.of(log), succession_leaf(statement)
        tree = await extend_log(connection, shard, log["size"], log["root"], {leaf.leaf_hash(): leaf.to_bytes()})
        grown = Checkpoint(shard.origin, tree.size, tree.root())
        await self._tell(connection, shard, log["journaled"], grown, [leaf.to_bytes()], succession=statement)
        await connection.execute(
            "UPDATE log SET size = $1, root = $2, checkpoint = $3, journaled = $1",
            grown.size,
            grown.root,
            sign_tree(self._signers, log, grown.size, grown.root, now),
        )

    async def _tell(
        self,
        connection: Any,
        shard: Shard,
        first: int,
        tree: Checkpoint,
        newest: list[bytes],
        *,
        succession: str = "",
    ) -> None:
        """Tell of all of a tree, also of what an older release left untold."""
        while first < tree.size:
            first = await write_journal(
                connection,
                shard=shard,
                first=first,
                size=tree.size,
                root=tree.root,
                newest=newest,
                now=self._clock.now(),
                new_id=self._new_id,
                succession=succession,
            )


async def _locked(connection: Any) -> Any:
    """The log's row, in this transaction's hands."""
    log = await connection.fetchrow(_LOG)
    if log is None:
        raise Unavailable(
            "LOG_NOT_STARTED",
            "the log has no checkpoint yet",
            rule="the first sequencer signs the empty log's checkpoint",
            remedy="start the ledger once",
        )
    return log


async def _last(connection: Any, *, closes: bool | None) -> Succeeded:
    """What was done last, of the kind that is asked about; None: of either."""
    rows = await connection.fetch("SELECT number, statement FROM succession ORDER BY number DESC")
    done = (_succeeded(row["number"], row["statement"], before=True) for row in rows)
    return next(each for each in done if closes is None or (each.origin != each.next_origin) == closes)


def _succeeded(number: int, statement: str, *, before: bool) -> Succeeded:
    stated = Succession.parse(split_note(statement)[0])
    return Succeeded(number, stated.ended.origin, stated.ended.size, stated.key.name, stated.key.text, before)


async def _require_free(connection: Any, origin: str, next_origin: str) -> None:
    rows = await connection.fetch("SELECT origin FROM closed_log")
    taken = {log_name(each) for each in (origin, *(row["origin"] for row in rows))}
    if log_name(next_origin) in taken:
        raise AlreadyExists(
            "LOG_ORIGIN_TAKEN",
            f"a log that is called {log_name(next_origin)} is kept here already",
            field="next",
            rule="a log keeps its origin for ever, and is served under the last part of it",
            remedy="name the year that begins",
        )


def _bad_origin(why: str) -> InvalidArgument:
    return InvalidArgument(
        "BAD_LOG_ORIGIN",
        f"not the name of a log: {why}",
        field="next",
        rule="C2SP tlog-checkpoint: a schema-less URL",
        remedy="log.example.org/2027",
    )
