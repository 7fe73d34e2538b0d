"""The log as it is stored: leaves that wait, leaves that are in, tiles, the newest checkpoint; and proofs from them."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextvars import Context
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import asyncpg

from vitne.errors import DataLoss, InvalidArgument, NotFound, Unavailable
from vitne.merkle.hashing import EMPTY_ROOT
from vitne.merkle.proofs import make_proof, nodes_of, plan_consistency, plan_inclusion
from vitne.merkle.tiles import Tile, TileId, TileReader, TileWriter, tiles_at, tiles_of
from vitne.merkle.tree import CompactTree
from vitne.runtime.telemetry import sampled_traceparent

#: Full tiles kept in memory, some 16 KiB each once the levels between are computed: 64 MiB. All of a log of a million
#: leaves; of a larger one every tile above the leaves', and many of those.
CACHED_TILES: Final = 4096


@dataclass(frozen=True, slots=True)
class StoredCheckpoint:
    """The newest checkpoint: the log's size in leaves, and the signed note."""

    size: int
    note: str


@dataclass(frozen=True, slots=True)
class InclusionProof:
    """Leaf ``leaf_index`` is in the tree of ``tree_size``; ``checkpoint`` only where the newest was asked for."""

    leaf_index: int
    tree_size: int
    path: list[bytes]
    checkpoint: str


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
    await connection.execute(
        "INSERT INTO queued_leaf (record, happened, traceparent) "
        "SELECT * FROM unnest($1::bytea[], $2::timestamptz[], $3::text[])",
        list(records),
        list(happened) if happened else [None] * len(records),
        list(traceparents) or [sampled_traceparent()] * len(records),
    )


async def read_tiles(connection: Any, tile_ids: Sequence[TileId]) -> dict[TileId, Tile]:
    """Those of the tiles that are stored."""
    if not tile_ids:
        return {}
    rows = await connection.fetch(
        "SELECT level, number, hashes FROM tile JOIN unnest($1::smallint[], $2::bigint[]) AS wanted (level, number) "
        "USING (level, number)",
        [tile_id.level for tile_id in tile_ids],
        [tile_id.number for tile_id in tile_ids],
    )
    tiles = {}
    for row in rows:
        tile_id = TileId(row["level"], row["number"])
        tiles[tile_id] = Tile(tile_id, row["hashes"])
    return tiles


async def start_log(connection: Any, origin: str) -> None:
    """Have a log, the empty one where there is none yet, in the caller's transaction."""
    await connection.execute(
        "INSERT INTO log (origin, epoch, size, root, checkpoint) VALUES ($1, 0, 0, $2, '') ON CONFLICT DO NOTHING",
        origin,
        EMPTY_ROOT,
    )


async def extend_log(connection: Any, size: int, root: bytes, leaves: Mapping[bytes, bytes]) -> CompactTree:
    """Append leaves (canonical bytes by hash), in the caller's transaction; the log's row is the caller's.

    Args:
        connection: in a transaction that holds the log's row.
        size: of the tree so far.
        root: of the tree so far, 32 bytes.
        leaves: in their order.

    Raises:
        DataLoss: ``LOG_CORRUPT`` when the tiles do not lead to ``root``.
    """
    writer = TileWriter(size, await read_tiles(connection, tiles_at(size)))
    if writer.tree.root() != root:
        raise DataLoss(
            "LOG_CORRUPT",
            f"the tiles of {size} leaves do not lead to the root that was signed",
            rule="no checkpoint may contradict an earlier one (tlog-checkpoint)",
            remedy="stop writing; restore the log's storage from a copy that agrees with the checkpoint",
        )
    await connection.copy_records_to_table(
        "leaf",
        columns=("leaf_index", "hash", "record"),
        records=[(writer.append(value), value, record) for value, record in leaves.items()],
    )
    changed = writer.changed()
    await connection.execute(
        "INSERT INTO tile (level, number, hashes) SELECT * FROM unnest($1::smallint[], $2::bigint[], $3::bytea[]) "
        "ON CONFLICT (level, number) DO UPDATE SET hashes = excluded.hashes",
        [tile_id.level for tile_id in changed],
        [tile_id.number for tile_id in changed],
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
        self._cache: OrderedDict[TileId, Tile] = OrderedDict()
        self._places = _Places(pool)
        #: Tiles that still grow, as far as the tree of that size needs them.
        self._edge: dict[TileId, Tile] = {}
        self._edge_size = 0

    async def checkpoint(self) -> StoredCheckpoint:
        """The newest checkpoint.

        Raises:
            Unavailable: ``LOG_NOT_STARTED`` before the first sequencer has ever run.
        """
        row = await self._pool.fetchrow("SELECT size, checkpoint FROM log")
        if row is None:
            raise _not_started()
        return StoredCheckpoint(row["size"], row["checkpoint"])

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
        path = await self._prove(plan_inclusion(index, size), size)
        return InclusionProof(index, size, path, "" if tree_size else newest.note)

    async def prove_consistency(self, from_size: int, to_size: int = 0) -> ConsistencyProof:
        """Prove that the tree of ``from_size`` is a prefix of that of ``to_size``; 0: of the newest checkpoint.

        Raises:
            InvalidArgument: ``TREE_SIZE_UNKNOWN``, ``SIZES_CONTRADICT``.
        """
        newest = await self.checkpoint()
        size = _existing_size(to_size, newest.size, "to_size")
        _existing_size(from_size, newest.size, "from_size")
        path = await self._prove(plan_consistency(from_size, size), size)
        return ConsistencyProof(size, path, "" if to_size else newest.note)

    async def _prove(self, plan: list[tuple[int, int]], size: int) -> list[bytes]:
        """The hashes that a plan names; ``size`` is that of the larger tree in it, which is stored by now."""
        if size > self._edge_size:
            self._edge, self._edge_size = {}, size
        edge, tiles = self._edge, {}
        missing = []
        for tile_id in tiles_of(nodes_of(plan)):
            if tile_id in self._cache:
                self._cache.move_to_end(tile_id)
                tiles[tile_id] = self._cache[tile_id]
            elif tile_id in edge:
                tiles[tile_id] = edge[tile_id]
            else:
                missing.append(tile_id)
        for tile_id, tile in (await read_tiles(self._pool, missing)).items():
            tiles[tile_id] = tile
            if tile.full:
                self._cache[tile_id] = tile
            else:  # A larger tree's edge is another one by now, and this tile may lack what that needs.
                edge[tile_id] = tile
        proof = make_proof(plan, TileReader(tiles))
        while len(self._cache) > CACHED_TILES:
            self._cache.popitem(last=False)
        return proof


class _Places:
    """Finds leaves: those that are asked for while a query is under way share the next one.

    Args:
        pool: the ledger's database.
    """

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool
        self._waiting: dict[bytes, asyncio.Future[tuple[int | None, StoredCheckpoint]]] = {}
        self._asking: asyncio.Task[None] | None = None

    async def find(self, leaf_hash: bytes) -> tuple[int | None, StoredCheckpoint]:
        """A leaf's index, None where it is in no tree yet; and the newest checkpoint, which has the leaf.

        Raises:
            Unavailable: ``LOG_NOT_STARTED``.
        """
        found = self._waiting.get(leaf_hash)
        if found is None:
            found = self._waiting[leaf_hash] = asyncio.get_running_loop().create_future()
        if self._asking is None:
            # In a context of its own, since it outlives the call that started it and serves others too.
            self._asking = asyncio.create_task(self._ask(), name="leaf-places", context=Context())
        return await asyncio.shield(found)

    async def _ask(self) -> None:
        try:
            while self._waiting:
                asked, self._waiting = self._waiting, {}
                try:
                    places, checkpoint = await self._look(list(asked))
                except Exception as error:  # noqa: BLE001 - whatever it is, it is for those who asked
                    for found in asked.values():
                        found.set_exception(error)
                        found.exception()  # Whoever asked may have gone; then nobody else looks at it.
                else:
                    for leaf_hash, found in asked.items():
                        found.set_result((places.get(leaf_hash), checkpoint))
        finally:
            self._asking = None

    async def _look(self, hashes: list[bytes]) -> tuple[dict[bytes, int], StoredCheckpoint]:
        # One statement, one snapshot: the checkpoint covers the leaves.
        rows = await self._pool.fetch(
            "SELECT size, checkpoint, hash, leaf_index FROM log LEFT JOIN leaf ON hash = ANY($1::bytea[])", hashes
        )
        if not rows:
            raise _not_started()
        places = {row["hash"]: row["leaf_index"] for row in rows if row["hash"] is not None}
        return places, StoredCheckpoint(rows[0]["size"], rows[0]["checkpoint"])


def _not_started() -> Unavailable:
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
