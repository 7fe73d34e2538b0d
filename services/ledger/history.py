"""What was: statuses at past instants and leaves under cosigned checkpoints, with what others need to check it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import asyncpg

from services.ledger.log_store import InclusionProof, LogStore
from services.ledger.statuses import STATUS_NAME
from services.ledger.transitions import Standing, Status
from services.ledger.witnessed import WitnessedCheckpoint, WitnessedCheckpoints
from vitne.canonical import instant_text
from vitne.clock import Clock
from vitne.errors import InvalidArgument, NotFound, Unavailable
from vitne.merkle.hashing import leaf_hash
from vitne.merkle.leaves import ListPublished, StatusChanged
from vitne.merkle.tlog_proof import LogProof

#: Versions of a list that are tried, from the newest back: the leaf of the last may not be integrated or cosigned yet.
_TRIED: Final = 3

#: As of when changes of a place are recorded that lists of an instant before that show.
_AHEAD: Final = """
    SELECT max(recorded) FROM status_change WHERE list_id = $1 AND index = $3 AND recorded > $2 AND number <=
        (SELECT max(changes) FROM list_version WHERE list_id = $1 AND published <= $2 AND expires > $2)
"""
#: Whether a later version is logged: versions are dated and logged in their order, so none of before is to come. One
#: that is dated later than now is by a clock that was ahead, and what comes after it is not.
_PASSED: Final = """
    SELECT EXISTS (SELECT FROM list_version
        WHERE list_id = $1 AND published > $2 AND published <= $3 AND logged IS NOT NULL)
"""


@dataclass(frozen=True, slots=True)
class ProvenLeaf:
    """A leaf's canonical bytes, and its proof as text (C2SP tlog-proof)."""

    record: bytes
    proof: str


@dataclass(frozen=True, slots=True)
class LoggedList:
    """A signed list, and its leaf."""

    token: str
    leaf: ProvenLeaf


@dataclass(frozen=True, slots=True)
class PastStatus:
    """What a status was.

    Attributes:
        at: the instant that was asked for.
        known_at: by what was recorded up to then.
        status: at that instant.
        standing: what made it so; None: nobody ever changed it by then.
        listed: the list in force when it was known.
        then: the list in force at the instant that was asked for; it may be the same.
        changes: leaves of all changes that were known, in order.
    """

    at: datetime
    known_at: datetime
    status: Status
    standing: Standing | None
    listed: LoggedList
    then: LoggedList
    changes: Sequence[ProvenLeaf]


class History:
    """Answers from what is kept for ever.

    Args:
        pool: the ledger's database.
        store: proves.
        checkpoints: which were cosigned.
        clock: says what is in the future.
    """

    def __init__(self, pool: asyncpg.Pool, store: LogStore, checkpoints: WitnessedCheckpoints, clock: Clock) -> None:
        self._pool = pool
        self._store = store
        self._checkpoints = checkpoints
        self._clock = clock

    async def newest_witnessed(self, origin: str = "") -> WitnessedCheckpoint:
        """The newest checkpoint that witnesses cosigned, of the log that grows; with an origin, of that log.

        Raises:
            NotFound: ``LOG_UNKNOWN``.
            Unavailable: ``NOT_WITNESSED``: none ever was.
        """
        newest = await self._checkpoints.newest_of((await self._store.checkpoint(origin)).shard)
        if newest is None:
            raise _not_witnessed()
        return newest

    async def prove_witnessed(self, leaf_hash: bytes, tree_size: int = 0, *, first: bool = False) -> InclusionProof:
        """Prove that a leaf is under the newest cosigned checkpoint, or under the first that has it.

        Raises:
            InvalidArgument: ``TREE_SIZE_GIVEN``, ``BAD_LEAF_HASH``.
            NotFound: ``LEAF_NOT_INTEGRATED``.
            Unavailable: ``NOT_WITNESSED``: it is in the log, and no cosigned checkpoint has it yet.
        """
        if tree_size:
            raise InvalidArgument(
                "TREE_SIZE_GIVEN",
                "witnesses cosign the sizes that they see",
                field="tree_size",
                rule="either a size or a cosigned checkpoint",
                remedy="leave one of them out",
            )
        proved = await self._store.prove_inclusion(leaf_hash)
        index, shard = proved.leaf_index, proved.shard
        if first:
            found = await self._checkpoints.first_with(shard, index)
        else:
            found = await self._checkpoints.newest_of(shard)
        if found is None or found.size <= index:
            raise _not_witnessed()
        proof = await self._store.prove_inclusion(leaf_hash, found.size)
        return InclusionProof(index, found.size, proof.path, found.note, shard)

    async def status_at(
        self, url: str, index: int, *, at: datetime | None = None, known_at: datetime | None = None
    ) -> PastStatus:
        """What the status at (list, index) was at an instant, as known at another.

        An index that was never leased is valid: whether it was is nobody's to ask.

        Args:
            url: of the list.
            index: place in it.
            at: for which instant; None: for ``known_at``.
            known_at: by what was recorded up to then; None: now.

        Raises:
            NotFound: ``STATUS_LIST_UNKNOWN``; ``STATUS_NOT_KEPT``: at one of the instants no list was in force that is
                kept, as before the first.
            InvalidArgument: ``STATUS_INDEX_OUT_OF_RANGE``, ``AT_IN_FUTURE``, ``KNOWN_IN_FUTURE``,
                ``AT_AFTER_KNOWN``.
            Unavailable: ``RECORDED_AHEAD``: it was changed by a clock that was ahead, and that instant is to come;
                ``STATUS_NOT_PROVABLE``: no list that was in force at one of the instants is in the log yet;
                ``NOT_WITNESSED``: not yet.
        """
        known = known_at or self._clock.now()
        instant = at or known
        self._check_instants(instant, known)
        row = await self._pool.fetchrow("SELECT id, size FROM status_list WHERE url = $1", url)
        if row is None:
            raise NotFound(
                "STATUS_LIST_UNKNOWN",
                "no such status list is kept here",
                field="list",
                rule="the URI of a list that this ledger opened, as credentials carry it",
                remedy="copy list and index from the credential's status reference",
            )
        if index >= row["size"]:
            raise InvalidArgument(
                "STATUS_INDEX_OUT_OF_RANGE",
                f"the list has {row['size']} places",
                field="index",
                rule="draft-ietf-oauth-status-list-20, section 8.3, step 6",
                remedy="copy list and index from the credential's status reference",
            )
        standings = await self._changes(row["id"], index, known)
        then = next((each for each in reversed(standings) if each.effective <= instant), None)
        listed = await self._list(row["id"], url, index, known, "known_at")
        shown_then = listed if instant == known else await self._list(row["id"], url, index, instant, "at")
        changes = [
            await self._proven(
                StatusChanged(url, index, STATUS_NAME[each.status], each.effective, each.recorded).to_bytes()
            )
            for each in standings
        ]
        status = then.status if then else Status.VALID
        return PastStatus(instant, known, status, then, listed, shown_then, changes)

    async def token_at(self, url: str, moment: datetime) -> bytes:
        """The signed list that was in force at an instant (draft-ietf-oauth-status-list-20, section 8.4).

        Raises:
            NotFound: ``HISTORY_NOT_KEPT``: no list that is kept was valid then.
        """
        token: bytes | None = await self._pool.fetchval(
            "SELECT token FROM list_version JOIN status_list ON id = list_id WHERE url = $1 AND token IS NOT NULL "
            "AND published < date_trunc('second', $2::timestamptz) + interval '1 second' AND expires > $2 "
            "ORDER BY published DESC, version DESC LIMIT 1",
            url,
            moment,
        )
        to_come = moment > self._clock.now()
        if token is None or to_come:
            raise NotFound(
                "HISTORY_NOT_KEPT",
                "that instant is still to come" if to_come else "no list that is kept was valid then",
                field="time",
                rule="draft-ietf-oauth-status-list-20, section 8.4; what is logged is kept, once a minute",
                remedy="ask for another instant, or use the RPC StatusAt",
            )
        return token

    def _check_instants(self, at: datetime, known: datetime) -> None:
        if at > max(known, self._clock.now()):
            raise InvalidArgument(
                "AT_IN_FUTURE",
                "that instant is still to come",
                field="at",
                rule="at is not in the future: a status is known for instants that have been",
                remedy="give an earlier instant, or leave it out for now",
            )
        if known > self._clock.now():
            raise InvalidArgument(
                "KNOWN_IN_FUTURE",
                "nobody knows what will be recorded",
                field="known_at",
                rule="known_at is not in the future",
                remedy="leave it out for now",
            )
        if at > known:
            raise InvalidArgument(
                "AT_AFTER_KNOWN",
                "that instant is later than the one by which it is to be known",
                field="at",
                rule="at is not after known_at",
                remedy="give an earlier instant, or a later known_at",
            )

    async def _changes(self, list_id: int, index: int, known: datetime) -> list[Standing]:
        rows = await self._pool.fetch(
            "SELECT status, effective, recorded FROM status_change "
            "WHERE list_id = $1 AND index = $2 AND recorded <= $3 ORDER BY number",
            list_id,
            index,
            known,
        )
        return [Standing(Status(row["status"]), row["effective"], row["recorded"]) for row in rows]

    async def _list(self, list_id: int, url: str, index: int, moment: datetime, field: str) -> LoggedList:
        """The newest token in force at an instant that can be proved, with its leaf.

        One that shows a change of the place from a time to come is passed over: where replicas' clocks differ, a list
        may be dated before what it shows, and whoever checks it would find that unexplained.
        """
        rows = await self._pool.fetch(
            "SELECT version, token, digest, tree_size FROM list_version AS shown WHERE list_id = $1 "
            "AND published <= $2 AND expires > $2 AND logged IS NOT NULL AND token IS NOT NULL AND NOT EXISTS "
            "(SELECT FROM status_change AS later WHERE later.list_id = $1 AND later.index = $4 "
            "AND later.recorded > $2 AND later.number <= shown.changes) ORDER BY published DESC, version DESC LIMIT $3",
            list_id,
            moment,
            _TRIED,
            index,
        )
        for row in rows:
            leaf = ListPublished(url, row["version"], row["digest"], row["tree_size"])
            try:
                return LoggedList(row["token"].decode("ascii"), await self._proven(leaf.to_bytes()))
            except Unavailable:
                continue
        if not rows and (ahead := await self._pool.fetchval(_AHEAD, list_id, moment, index)) is not None:
            raise _recorded_ahead(ahead, field)
        if not rows and await self._pool.fetchval(_PASSED, list_id, moment, self._clock.now()):
            raise NotFound(
                "STATUS_NOT_KEPT",
                "no list that is kept was in force then, and none will be",
                field=field,
                rule="lists are logged and kept from a list's first version on, and count until they expire",
                remedy="ask for a later instant",
            )
        raise Unavailable(
            "STATUS_NOT_PROVABLE",
            "no list that was in force then is in the log",
            field=field,
            rule="a list's version is logged at most a minute after it was published",
            remedy="ask again in two seconds",
        )

    async def _proven(self, record: bytes) -> ProvenLeaf:
        """A leaf under the first cosigned checkpoint that has it; without witnesses, under the newest signed one."""
        leaf = leaf_hash(record)
        try:
            found = await self._store.prove_inclusion(leaf)
        except NotFound as error:
            raise _not_witnessed() from error
        witnessed = await self._checkpoints.first_with(found.shard, found.leaf_index)
        if witnessed is None:
            if await self._checkpoints.newest() is not None:
                raise _not_witnessed()
            return ProvenLeaf(record, LogProof(found.leaf_index, tuple(found.path), found.checkpoint).text())
        proof = await self._store.prove_inclusion(leaf, witnessed.size)
        return ProvenLeaf(record, LogProof(found.leaf_index, tuple(proof.path), witnessed.note).text())


def _recorded_ahead(recorded: datetime, field: str) -> Unavailable:
    return Unavailable(
        "RECORDED_AHEAD",
        f"a change of this place is recorded as of {instant_text(recorded)}, and lists of that instant show it",
        field=field,
        rule="a list shows nothing that was recorded after it; here the ledger's clock was ahead when that was",
        remedy=f"ask for {instant_text(recorded)} or later, once it is past",
    )


def _not_witnessed() -> Unavailable:
    return Unavailable(
        "NOT_WITNESSED",
        "no checkpoint that has it was cosigned yet",
        rule="witnesses are asked every second or so",
        remedy="ask again in two seconds; if it stays so, look at the ledger's witnesses",
    )
