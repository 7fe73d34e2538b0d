"""What others saw of the log: a ledger that has less of it, or something else, must not write.

A database that was put back to an earlier instant looks whole from within, and a ledger that went on from there would
sign a second history. Witnesses and the storage know better. Only what this ledger's own key signed counts as proof:
no witness can stop a log by its word, and one that is out of reach stops nothing (docs/decisions/0044).
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

import aiohttp
import asyncpg

from services.ledger.log_store import LogStore
from services.ledger.signing import Signers
from services.ledger.witnesses import MAX_ANSWER_BYTES, TIMEOUT_SECONDS, Proved
from vitne.errors import DataLoss, InvalidArgument, NotFound, Unavailable
from vitne.merkle.hashing import EMPTY_ROOT
from vitne.merkle.memory import advance
from vitne.merkle.notes import Checkpoint, NoteKey, open_note
from vitne.merkle.resources import CHECKPOINT_PATH, log_prefix
from vitne.merkle.succession import Lineage, within
from vitne.runtime.bodies import read_bounded
from vitne.runtime.objects import Objects

#: Keys that were made for what follows, and may have signed what the database no longer knows of.
_KEYS_AHEAD: Final = 2

_WITNESS: Final = "witness "

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Mark:
    """A checkpoint of ours that somebody has."""

    who: str
    checkpoint: Checkpoint


class _Contradicted(DataLoss):
    """It is proved that the database is not what it was."""

    def __init__(self, mark: _Mark, reason: str, message: str, *, rule: str, remedy: str) -> None:
        super().__init__(reason, message, rule=rule, remedy=remedy)
        self.proved = Proved(mark.who.removeprefix(_WITNESS), reason)


class Outside:
    """Compares the database with what others have of its log.

    Args:
        pool: the ledger's database.
        store: the log.
        signers: have the logs' own keys.
        origin: of the first log, where the database holds none.
        witnesses: their submission prefixes, without a slash at the end, by their names.
        objects: the storage to which the log is copied; None: to none.
    """

    def __init__(
        self,
        pool: asyncpg.Pool,
        store: LogStore,
        signers: Signers,
        *,
        origin: str,
        witnesses: Mapping[str, str],
        objects: Objects | None,
    ) -> None:
        self._pool = pool
        self._store = store
        self._signers = signers
        self._origin = origin
        self._witnesses = witnesses
        self._objects = objects
        #: What has contradicted the database: it is held to that again, whoever is out of reach by then.
        self._against: set[_Mark] = set()

    async def require_agreement(self) -> None:
        """Hold the database to what others have of the log that grows, and to what they had that contradicted it.

        Raises:
            DataLoss: ``LOG_ROLLED_BACK``, ``LOG_FORKED``, ``LOG_CORRUPT``: it may not be written.
        """
        if not self._witnesses and self._objects is None:
            return
        first, growing = await self._origins()
        keys = await self._own_keys(growing)
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)) as session:
            notes = await asyncio.gather(
                *(self._of_witness(session, name, url, growing) for name, url in self._witnesses.items()),
                self._of_storage(log_prefix(growing, first)),
            )
        marks = [
            _Mark(who, seen)
            for who, note in notes
            if note is not None and (seen := _opened(who, note, keys)) is not None
        ]
        for mark in (*self._against, *marks):
            try:
                await self._require_extends(mark)
            except DataLoss:
                self._against.add(mark)
                raise
            self._against.discard(mark)

    async def contradicted(self) -> Proved | None:
        """Somebody says that the log contradicts what it was; where that may be, whoever writes it has to stop.

        By the log's epoch, wherever that is: who claims the log anew is refused, as long as it is so. Answers who has
        the proof, and of what; None: nothing proves it, also where what it is compared with is itself damaged.
        """
        try:
            await self.require_agreement()
        except DataLoss as error:
            # Each time: whoever may have claimed the log since the last time has to stop, too.
            _log.error("the log must not be written: %s", error)
            await self._pool.execute("UPDATE log SET epoch = epoch + 1")
            return error.proved if isinstance(error, _Contradicted) else None
        return None

    async def _require_extends(self, mark: _Mark) -> None:
        seen = mark.checkpoint
        # Read only now: a checkpoint is seen after its commit, so whatever was seen is stored by then.
        own = await self._own(seen.origin)
        if seen.size > own.size:
            raise _Contradicted(
                mark,
                "LOG_ROLLED_BACK",
                f"{mark.who} has {seen.size} leaves of {seen.origin}, signed by its key, and the database {own.size}",
                rule="no checkpoint contradicts an earlier one (tlog-checkpoint)",
                remedy="the database was restored to an earlier instant: docs/operating/restore.md",
            )
        between = 0 < seen.size < own.size
        proof = await self._store.prove_consistency(seen.size, own.size, seen.origin) if between else None
        try:
            advance(seen, own, proof.path if proof else ())
        except DataLoss as error:
            raise _Contradicted(
                mark,
                "LOG_FORKED",
                f"{mark.who} has {seen.size} leaves of {seen.origin}, signed by its key, and the database's {own.size} "
                "are of another history",
                rule="a log only grows (RFC 6962, section 2.1.2)",
                remedy="write nothing; compare the database with what they serve (docs/operating/log.md)",
            ) from error

    async def _origins(self) -> tuple[str, str]:
        """Of the first log, and of the one that grows."""
        try:
            logs = await self._store.logs()
        except Unavailable:  # The database holds none yet; others may.
            return self._origin, self._origin
        return logs[0].shard.origin, logs[-1].shard.origin

    async def _own(self, origin: str) -> Checkpoint:
        """What the database has of a log now; the empty tree, where it holds none yet."""
        try:
            text = (await self._store.checkpoint(origin)).note.partition("\n\n")[0]
        except (Unavailable, NotFound):
            text = ""
        return Checkpoint.parse(f"{text}\n") if text else Checkpoint(origin, 0, EMPTY_ROOT)

    async def _own_keys(self, origin: str) -> Lineage:
        """This ledger's keys for a log, and how far each one's word goes."""
        statements = await self._store.statements()
        keys: list[NoteKey] = []
        for number in range(1, len(statements) + 2 + _KEYS_AHEAD):
            try:
                keys.append(self._signers(origin, number).key)
            except Unavailable:  # It is not here: not yet, or no longer.
                continue
        try:
            return Lineage.follow(keys, statements)
        except InvalidArgument as error:
            raise DataLoss(
                "LOG_CORRUPT",
                f"a statement of succession in the database is none: {error.message}",
                rule="statements stay as they were signed (docs/decisions/0021)",
                remedy="restore the database from a copy in which they are; the storage has them below /succession/",
            ) from error

    async def _of_witness(
        self, session: aiohttp.ClientSession, name: str, url: str, origin: str
    ) -> tuple[str, bytes | None]:
        """What a witness cosigned last of a log."""
        who = f"{_WITNESS}{name}"
        try:
            address = f"{url}/{hashlib.sha256(origin.encode()).hexdigest()}/checkpoint"
            async with session.get(address, allow_redirects=False) as answer:
                if answer.status == HTTPStatus.NOT_FOUND:
                    return who, None  # it has cosigned nothing of this log
                note = await read_bounded(answer, MAX_ANSWER_BYTES)
                if answer.status == HTTPStatus.OK and note is not None:
                    return who, note
                why = "too long an answer" if note is None else f"it answered {answer.status}"
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            why = type(error).__name__
        _log.warning("%s was not heard before the log is written: %s", who, why)
        return who, None

    async def _of_storage(self, prefix: str) -> tuple[str, bytes | None]:
        who = "the storage"
        if self._objects is None:
            return who, None
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                return who, await self._objects.get(prefix + CHECKPOINT_PATH)
        except (Unavailable, TimeoutError) as error:
            _log.warning("%s was not read before the log is written: %s", who, type(error).__name__)
            return who, None


def _opened(who: str, note: bytes, keys: Lineage) -> Checkpoint | None:
    """A checkpoint that one of our keys answers for; None: it proves nothing."""
    try:
        opened = open_note(note, keys.keys)
        checkpoint = Checkpoint.parse(opened.text)
    except InvalidArgument as error:
        _log.warning("what %s has is not of this log's keys, and counts for nothing: %s", who, error.reason)
        return None
    ours = [key for key in opened.signers if key.name == checkpoint.origin and within(keys.ended.get(key), checkpoint)]
    return checkpoint if ours else None
