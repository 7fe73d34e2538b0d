"""The log as it is stored: leaves that wait, leaves that are in, tiles, the newest checkpoint; and proofs from them."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextvars import Context
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeAlias

import asyncpg

from services.ledger.shards import ClosedLogs, Shard, StoredCheckpoint
from vitne.errors import DataLoss, InvalidArgument, NotFound, Unavailable
from vitne.merkle.frontier import Frontier
from vitne.merkle.hashing import EMPTY_ROOT
from vitne.merkle.proofs import make_proof, nodes_of, plan_consistency
from vitne.merkle.tiles import Tile, TileId, TileReader, TileWriter, tiles_at, tiles_of
from vitne.merkle.tree import CompactTree
from vitne.messaging.outbox import Statement
from vitne.runtime.telemetry import sampled_traceparent

#: Full tiles kept in memory, some 12 KiB each once the levels between are computed: 48 MiB. All of a log of a million
#: leaves; of a larger one every tile above the leaves', and many of those.
CACHED_TILES: Final = 4096
#: Sizes of the tree that proofs are asked for in: the newest, and what witnesses cosigned lately. Some 40 KiB each.
CACHED_FRONTIERS: Final = 16


@dataclass(frozen=True, slots=True)
class InclusionProof:
    """Leaf ``leaf_index`` is in the tree of ``tree_size``; ``checkpoint`` only where the newest was asked for.

    Both are of the log ``shard``, which need not be the one that grows.
    """

    leaf_index: int
    tree_size: int
    path: list[bytes]
    checkpoint: str
    shard: Shard


@dataclass(frozen=True, slots=True)
class ConsistencyProof:
    """An earlier tree is a prefix of that of ``to_size``; ``checkpoint`` only where the newest was asked for."""

    to_size: int
    path: list[bytes]
    checkpoint: str


async def queue_leaves(
    connection: Any,
    records: Sequence[bytes],
    *,
    happened: Sequence[datetime] = (),
    traceparents: Sequence[str | None] = (),
) -> None:
    """Queue leaves (canonical bytes) for the log, in the caller's transaction. Repeating one is harmless.

    Args:
        connection: with an open transaction.
        records: the leaves.
        happened: for each when what it says did; empty: not measured.
        traceparents: for each the trace that it belongs to, None where that is not sampled; empty: the active one.
    """
    statement = queue_statement(records, happened=happened, traceparents=traceparents)
    await connection.execute(statement.sql, *statement.arguments)


def queue_statement(
    records: Sequence[bytes],
    *,
    happened: Sequence[datetime] = (),
    traceparents: Sequence[str | None] = (),
) -> Statement:
    """What :func:`queue_leaves` executes, to be executed beside others."""
    return Statement(
        "INSERT INTO queued_leaf (record, happened, traceparent) "
        "SELECT * FROM unnest($1::bytea[], $2::timestamptz[], $3::text[])",
        (
            list(records),
            list(happened) if happened else [None] * len(records),
            list(traceparents) or [sampled_traceparent()] * len(records),
        ),
    )


async def read_tiles(connection: Any, shard: Shard, tile_ids: Sequence[TileId]) -> dict[TileId, Tile]:
    """Those of a log's tiles that are stored."""
    if not tile_ids:
        return {}
    rows = await connection.fetch(
        "SELECT level, number, hashes FROM tile JOIN unnest($1::smallint[], $2::bigint[]) AS wanted (level, number) "
        "USING (level, number)",
        [tile_id.level for tile_id in tile_ids],
        [shard.tiles_before + tile_id.number for tile_id in tile_ids],
    )
    tiles = {}
    for row in rows:
        tile_id = TileId(row["level"], row["number"] - shard.tiles_before)
        tiles[tile_id] = Tile(tile_id, row["hashes"])
    return tiles


async def start_log(connection: Any, origin: str) -> None:
    """Have a log, the empty one where there is none yet, in the caller's transaction."""
    await connection.execute(
        "INSERT INTO log (origin, epoch, size, root, checkpoint) VALUES ($1, 0, 0, $2, '') ON CONFLICT DO NOTHING",
        origin,
        EMPTY_ROOT,
    )


async def extend_log(
    connection: Any, shard: Shard, size: int, root: bytes, leaves: Mapping[bytes, bytes]
) -> CompactTree:
    """Append leaves (canonical bytes by hash), in the caller's transaction; the log's row is the caller's.

    Args:
        connection: in a transaction that holds the log's row.
        shard: the log.
        size: of the tree so far.
        root: of the tree so far, 32 bytes.
        leaves: in their order.

    Raises:
        DataLoss: ``LOG_CORRUPT`` when the tiles do not lead to ``root``.
    """
    writer = TileWriter(size, await read_tiles(connection, shard, tiles_at(size)))
    if writer.tree.root() != root:
        raise DataLoss(
            "LOG_CORRUPT",
            f"the tiles of {size} leaves do not lead to the root that was signed",
            rule="no checkpoint may contradict an earlier one (tlog-checkpoint)",
            remedy="stop writing; restore the log's storage from a copy that agrees with the checkpoint",
        )
    writer.extend(list(leaves))
    first = shard.leaves_before + size
    await connection.copy_records_to_table(
        "leaf",
        columns=("hash", "leaf_index", "record"),
        # By hash, so that each page of the index of hashes is come to once in a batch.
        records=sorted(zip(leaves.keys(), range(first, first + len(leaves)), leaves.values(), strict=True)),
    )
    changed = writer.changed()
    await connection.execute(
        "INSERT INTO tile (level, number, hashes) SELECT * FROM unnest($1::smallint[], $2::bigint[], $3::bytea[]) "
        "ON CONFLICT (level, number) DO UPDATE SET hashes = excluded.hashes",
        [tile_id.level for tile_id in changed],
        [shard.tiles_before + tile_id.number for tile_id in changed],
        [tile.hashes for tile in changed.values()],
    )
    return writer.tree


class LogStore:
    """Reads checkpoints and makes proofs.

    Args:
        pool: the ledger's database.
    """

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        #: By their numbers in the table, which no two logs share.
        self._cache: OrderedDict[TileId, Tile] = OrderedDict()
        #: By the log's number and the tree's size.
        self._frontiers: OrderedDict[tuple[int, int], Frontier] = OrderedDict()
        self._reading = asyncio.Lock()
        self._closed = ClosedLogs(pool)
        self._places = _Places(pool, self._closed)

    async def checkpoint(self, origin: str = "") -> StoredCheckpoint:
        """The newest checkpoint of the log that grows; with an origin, of that log.

        Raises:
            Unavailable: ``LOG_NOT_STARTED`` before the first sequencer has ever run.
            NotFound: ``LOG_UNKNOWN``.
        """
        row = await self._pool.fetchrow("SELECT size, checkpoint, shard, origin, leaves_before, tiles_before FROM log")
        if row is None:
            raise not_started()
        newest = StoredCheckpoint.of(row)
        if origin in ("", newest.shard.origin):
            return newest
        closed = await self._closed.by_origin(origin)
        if closed is None:
            raise NotFound(
                "LOG_UNKNOWN",
                "no such log is kept here",
                field="origin",
                rule="a log's origin is the first line of its checkpoints",
                remedy="copy it from a checkpoint, or leave it out for the log that grows",
            )
        return closed

    async def logs(self) -> list[StoredCheckpoint]:
        """The checkpoints of all logs, oldest first; the last is the one that grows.

        Raises:
            Unavailable: ``LOG_NOT_STARTED``.
        """
        # The one that grows first: what it followed has ended by then.
        growing = await self.checkpoint()
        return [*await self._closed.before(growing.shard.number), growing]

    async def statements(self) -> list[str]:
        """All statements of succession, in their order."""
        rows = await self._pool.fetch("SELECT statement FROM succession ORDER BY number")
        return [row["statement"] for row in rows]

    async def prove_inclusion(self, leaf_hash: bytes, tree_size: int = 0) -> InclusionProof:
        """Prove that a leaf is in the tree of a size; of size 0: of the newest checkpoint.

        Raises:
            InvalidArgument: ``BAD_LEAF_HASH``, ``TREE_SIZE_UNKNOWN``, ``LEAF_OUTSIDE_TREE``.
            NotFound: ``LEAF_NOT_INTEGRATED``.
            Unavailable: ``LOG_NOT_STARTED``.
        """
        if len(leaf_hash) != 32:
            raise InvalidArgument(
                "BAD_LEAF_HASH",
                "a leaf hash has 32 bytes",
                field="leaf_hash",
                rule="RFC 6962, section 2.1: SHA-256 of 0x00 and the leaf's canonical bytes",
                remedy="send the hash itself, not its text form",
            )
        index, newest = await self._places.find(leaf_hash)
        if index is None:
            raise NotFound(
                "LEAF_NOT_INTEGRATED",
                "the log has no such leaf",
                field="leaf_hash",
                rule="a leaf is integrated within a second or two of its event",
                remedy="wait a second or two and ask again; if it stays so, it was never logged",
            )
        size = _existing_size(tree_size, newest.size, "tree_size")
        shard = newest.shard
        frontier = await self._frontier(shard, size)
        path = frontier.path(index, await self._read(shard, frontier.needs(index)))
        return InclusionProof(index, size, path, "" if tree_size else newest.note, shard)

    async def prove_consistency(self, from_size: int, to_size: int = 0, origin: str = "") -> ConsistencyProof:
        """Prove that the tree of ``from_size`` is a prefix of that of ``to_size``; 0: of the newest checkpoint.

        Args:
            from_size: of the earlier tree.
            to_size: of the later one.
            origin: of the log; empty: the one that grows.

        Raises:
            InvalidArgument: ``TREE_SIZE_UNKNOWN``, ``SIZES_CONTRADICT``.
            NotFound: ``LOG_UNKNOWN``.
        """
        newest = await self.checkpoint(origin)
        size = _existing_size(to_size, newest.size, "to_size")
        _existing_size(from_size, newest.size, "from_size")
        plan = plan_consistency(from_size, size)
        path = make_proof(plan, TileReader(await self._read(newest.shard, tiles_of(nodes_of(plan)))))
        return ConsistencyProof(size, path, "" if to_size else newest.note)

    async def _frontier(self, shard: Shard, size: int) -> Frontier:
        """What proves leaves in a log's tree of a size, which is stored by now."""
        tree = shard.number, size
        if tree not in self._frontiers:
            async with self._reading:  # Those who come meanwhile wait for the first rather than read it, too.
                if tree not in self._frontiers:
                    self._frontiers[tree] = Frontier(size, await read_tiles(self._pool, shard, tiles_at(size)))
                    while len(self._frontiers) > CACHED_FRONTIERS:
                        self._frontiers.popitem(last=False)
        frontier = self._frontiers[tree]
        self._frontiers.move_to_end(tree)
        return frontier

    async def _read(self, shard: Shard, wanted: Iterable[TileId]) -> dict[TileId, Tile]:
        """A log's tiles from memory, or from the database: full ones are kept."""
        cache = self._cache
        tiles, missing = {}, []
        for tile_id in wanted:
            stored = shard.stored(tile_id)
            tile = cache.get(stored)
            if tile is None:
                missing.append(tile_id)
            else:
                cache.move_to_end(stored)
                tiles[tile_id] = tile
        if missing:
            read = await read_tiles(self._pool, shard, missing)
            cache.update((shard.stored(tile_id), tile) for tile_id, tile in read.items() if tile.full)
            tiles |= read
            while len(cache) > CACHED_TILES:
                cache.popitem(last=False)
        return tiles


#: A leaf's index, None where it is in no tree yet; and the newest checkpoint of its log, which has the leaf.
_Found: TypeAlias = tuple[int | None, StoredCheckpoint]


class _Places:
    """Finds leaves: those that are asked for while a query is under way share the next one.

    Args:
        pool: the ledger's database.
        closed: logs that ended, in which a leaf may be, too.
    """

    def __init__(self, pool: asyncpg.Pool, closed: ClosedLogs) -> None:
        self._pool = pool
        self._closed = closed
        self._waiting: dict[bytes, list[asyncio.Future[_Found]]] = {}
        self._asking: asyncio.Task[None] | None = None

    async def find(self, leaf_hash: bytes) -> _Found:
        """Where a leaf is.

        Raises:
            Unavailable: ``LOG_NOT_STARTED``.
        """
        found: asyncio.Future[_Found] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(leaf_hash, []).append(found)
        if self._asking is None:
            # In a context of its own, since it outlives the call that started it and serves others too.
            self._asking = asyncio.create_task(self._ask(), name="leaf-places", context=Context())
        return await found

    async def _ask(self) -> None:
        try:
            while self._waiting:
                asked, self._waiting = self._waiting, {}
                try:
                    places = await self._look(list(asked))
                except Exception as error:  # noqa: BLE001 - whatever it is, it is for those who asked
                    for found in _still_wanted(asked.values()):
                        found.set_exception(error)
                else:
                    for place, askers in zip(places, asked.values(), strict=True):
                        for found in _still_wanted([askers]):
                            found.set_result(place)
        finally:
            self._asking = None

    async def _look(self, hashes: list[bytes]) -> list[_Found]:
        # One statement, one snapshot: the checkpoint covers the leaves. One row, since each costs more than its values.
        row = await self._pool.fetchrow(
            "SELECT size, checkpoint, shard, origin, leaves_before, tiles_before, "
            "leaf_places($1::bytea[]) AS places FROM log",
            hashes,
        )
        if row is None:
            raise not_started()
        newest = StoredCheckpoint.of(row)
        begin = newest.shard.leaves_before
        found: list[_Found] = []
        for place in row["places"]:
            if place is None or place >= begin:
                found.append((None if place is None else place - begin, newest))
            else:
                ended = await self._closed.with_leaf(place)
                found.append((place - ended.shard.leaves_before, ended))
        return found


def _still_wanted(askers: Iterable[list[asyncio.Future[_Found]]]) -> Iterator[asyncio.Future[_Found]]:
    """Those whose callers have not gone."""
    return (found for each in askers for found in each if not found.done())


def not_started() -> Unavailable:
    """What is wrong until the first sequencer has run."""
    return Unavailable(
        "LOG_NOT_STARTED",
        "the log has no checkpoint yet",
        rule="the first sequencer signs the empty log's checkpoint",
        remedy="try again in a second or two",
    )


def _existing_size(asked: int, newest: int, field: str) -> int:
    if asked > newest:
        raise InvalidArgument(
            "TREE_SIZE_UNKNOWN",
            f"the log has {newest} leaves",
            field=field,
            rule="a proof is for a tree that has been",
            remedy="ask for at most the size of the newest checkpoint",
        )
    return asked or newest
