"""Nodes in tiles of 256 (C2SP tlog-tiles, "Merkle Tree"): what a log stores and later publishes.

A tile at tile level ``l`` holds up to 256 hashes of tree level ``8 * l``; the
seven tree levels between are hashed again when needed. A proof in a log of ten
million leaves so reads at most seven tiles.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import accumulate
from typing import Final, NamedTuple

from vitne.errors import DataLoss, InvalidArgument
from vitne.merkle.hashing import HASH_SIZE, node_hash
from vitne.merkle.tree import CompactTree, Node

#: Tree levels that one tile spans (tlog-tiles).
TILE_HEIGHT: Final = 8
#: Hashes in a full tile (tlog-tiles).
TILE_WIDTH: Final = 1 << TILE_HEIGHT


class TileId(NamedTuple):
    """A tile: its level, and its number within the level."""

    level: int
    number: int


def tile_of(node: Node) -> TileId:
    """The tile from which a node can be computed."""
    level, height = divmod(node.level, TILE_HEIGHT)
    return TileId(level, node.number >> (TILE_HEIGHT - height))


def tiles_of(nodes: Iterable[Node]) -> set[TileId]:
    """The tiles from which nodes can be computed."""
    return {tile_of(node) for node in nodes}


def tiles_at(size: int) -> list[TileId]:
    """The rightmost tile of each level that a tree of ``size`` leaves has, partial or full."""
    tiles: list[TileId] = []
    level, count = 0, size
    while count:
        tiles.append(TileId(level, (count - 1) // TILE_WIDTH))
        level, count = level + 1, count // TILE_WIDTH
    return tiles


class Tile:
    """A tile's hashes, with the levels between computed once, when first asked for.

    All of it is one flat object: what a cache of thousands of tiles holds and looks into. The first level above the
    stored hashes is left out: a quarter of the memory, for one hash at most in a proof.
    """

    __slots__ = ("_nodes", "_starts", "_width", "tile_id")

    def __init__(self, tile_id: TileId, hashes: bytes) -> None:
        if not hashes or len(hashes) % HASH_SIZE or len(hashes) > TILE_WIDTH * HASH_SIZE:
            raise DataLoss(
                "BAD_TILE",
                f"tile {tile_id.level}/{tile_id.number} holds {len(hashes)} bytes",
                rule="tlog-tiles: 1 to 256 hashes of 32 bytes",
                remedy="restore the log's storage from a copy that agrees with the checkpoint",
            )
        self.tile_id = tile_id
        self._width = len(hashes) // HASH_SIZE
        #: The stored hashes; after them those of each level from the second above, once one of these was asked for.
        self._nodes = hashes
        self._starts: tuple[int, ...] = (0,)

    @property
    def hashes(self) -> bytes:
        """The stored hashes, one after the other."""
        return self._nodes[: self._width * HASH_SIZE]

    @property
    def full(self) -> bool:
        """Whether the tile will never change again."""
        return self._width == TILE_WIDTH

    def node(self, height: int, offset: int) -> bytes | None:
        """The hash at ``offset`` (within the tile), ``height`` levels above its stored hashes; None: not there yet."""
        if not 0 <= offset < self._width >> height:
            return None
        if height == 1:
            return self._first_above(offset)
        if height and len(self._starts) == 1:
            self._compute()
        at = self._starts[height] + offset * HASH_SIZE
        return self._nodes[at : at + HASH_SIZE]

    def siblings(self, offset: int) -> list[bytes]:
        """In a full tile: what a stored hash is hashed with on its way to the tile's top, eight hashes from below."""
        if len(self._starts) == 1:
            self._compute()
        nodes = self._nodes
        found = [nodes[at : at + HASH_SIZE] for at in _SIBLINGS[offset]]
        found[1] = self._first_above(offset >> 1 ^ 1)
        return found

    @property
    def top(self) -> bytes:
        """Of a full tile: the hash over all of it, which is one of the tile above."""
        left, right = (self.node(TILE_HEIGHT - 1, offset) or b"" for offset in range(2))
        return node_hash(left, right)

    def _first_above(self, offset: int) -> bytes:
        """A hash of the level that is not held."""
        at = 2 * offset * HASH_SIZE
        return node_hash(self._nodes[at : at + HASH_SIZE], self._nodes[at + HASH_SIZE : at + 2 * HASH_SIZE])

    def _compute(self) -> None:
        levels = [self._nodes]
        for _ in range(1, TILE_HEIGHT):
            below = levels[-1]
            pairs = range(0, len(below) // (2 * HASH_SIZE) * 2 * HASH_SIZE, 2 * HASH_SIZE)
            above = (node_hash(below[at : at + HASH_SIZE], below[at + HASH_SIZE : at + 2 * HASH_SIZE]) for at in pairs)
            levels.append(b"".join(above))
        self._starts = _starts(self._width)
        self._nodes = b"".join((levels[0], *levels[2:]))


@cache
def _starts(width: int) -> tuple[int, ...]:
    """Where each level begins in the flat form of a tile of ``width``, in bytes; that of the first above is empty."""
    held = (0 if height == 1 else (width >> height) * HASH_SIZE for height in range(TILE_HEIGHT - 1))
    return tuple(accumulate(held, initial=0))


#: For each hash of a full tile: where its siblings are in the flat form; the second is made (:meth:`Tile.siblings`).
_SIBLINGS: Final = tuple(
    tuple(start + ((offset >> height) ^ 1) * HASH_SIZE for height, start in enumerate(_starts(TILE_WIDTH)))
    for offset in range(TILE_WIDTH)
)


class TileReader:
    """A :class:`~vitne.merkle.tree.NodeReader` over tiles that are at hand."""

    def __init__(self, tiles: Mapping[TileId, Tile]) -> None:
        self._tiles = tiles

    def node(self, node: Node) -> bytes:
        """The hash of a perfect subtree; ``DataLoss`` ``NODE_MISSING`` where its tile has not got it."""
        tile_id = tile_of(node)
        height = node.level % TILE_HEIGHT
        tile = self._tiles.get(tile_id)
        value = tile and tile.node(height, node.number - (tile_id.number << (TILE_HEIGHT - height)))
        if not value:
            raise node_missing(node)
        return value


def node_missing(node: Node) -> DataLoss:
    """What is said where a tile does not hold what the tree's size implies."""
    tile_id = tile_of(node)
    return DataLoss(
        "NODE_MISSING",
        f"tile {tile_id.level}/{tile_id.number} does not hold node {node.level}/{node.number}",
        rule="tlog-tiles: a tree has all tiles that its size implies",
        remedy="restore the log's storage from a copy that agrees with the checkpoint",
    )


class TileWriter:
    """Grows a tree and gathers the tiles that change.

    Works tile by tile, not leaf by leaf: a full tile's hashes are folded in one go.

    Args:
        size: the leaves that the tree has.
        edge: the tiles of ``tiles_at(size)``.
    """

    def __init__(self, size: int, edge: Mapping[TileId, Tile]) -> None:
        self._size = size
        self._tiles = dict(edge)
        self._changed: set[TileId] = set()
        self._tree: CompactTree | None = CompactTree.load(size, TileReader(edge))

    @property
    def tree(self) -> CompactTree:
        """The tree as it has grown so far."""
        if self._tree is None:
            self._tree = CompactTree.load(self._size, TileReader(self._tiles))
        return self._tree

    def extend(self, leaves: Sequence[bytes]) -> None:
        """Add leaves' hashes, 32 bytes each.

        Raises:
            InvalidArgument: ``BAD_LEAF_HASH``.
        """
        if any(len(leaf) != HASH_SIZE for leaf in leaves):
            raise InvalidArgument("BAD_LEAF_HASH", "a leaf hash has 32 bytes", rule="RFC 6962, section 2.1")
        self._tree = None
        level, count, hashes = 0, self._size, leaves
        self._size += len(leaves)
        while hashes:
            tops = self._extend_level(level, count, hashes)
            level, count, hashes = level + 1, count // TILE_WIDTH, tops

    def _extend_level(self, level: int, count: int, hashes: Sequence[bytes]) -> list[bytes]:
        """Add hashes to a level that has ``count``; the tops of the tiles that are full now."""
        tops: list[bytes] = []
        done = 0
        while done < len(hashes):
            tile_id = TileId(level, (count + done) // TILE_WIDTH)
            there = (count + done) % TILE_WIDTH
            added = b"".join(hashes[done : done + TILE_WIDTH - there])
            tile = Tile(tile_id, self._tiles[tile_id].hashes + added if there else added)
            self._tiles[tile_id] = tile
            self._changed.add(tile_id)
            done += TILE_WIDTH - there
            if tile.full:
                tops.append(tile.top)
        return tops

    def changed(self) -> dict[TileId, Tile]:
        """The tiles to store: those that got hashes since the writer was made."""
        return {tile_id: self._tiles[tile_id] for tile_id in sorted(self._changed)}
