"""What all inclusion proofs in a tree of one size have in common, computed once.

A tree of any size is a row of perfect subtrees, from the largest to the smallest. An inclusion proof (RFC 6962,
section 2.1.1) goes from the leaf to the top of its own subtree, and on over what is right and left of that; the
second part is the same for all leaves of the subtree, and the first is read off full tiles eight hashes at a time.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from typing import Final

from vitne.merkle.proofs import require_leaf
from vitne.merkle.tiles import TILE_HEIGHT, TILE_WIDTH, Tile, TileId, TileReader, node_missing
from vitne.merkle.tree import Node, fold, perfect_nodes

_WITHIN: Final = TILE_WIDTH - 1


class Frontier:
    """Makes the inclusion proofs of the tree of ``size`` leaves.

    Args:
        size: leaves.
        edge: the tiles of ``tiles_at(size)``, as they were at that size or later.

    Raises:
        DataLoss: ``NODE_MISSING``: the tiles do not reach that far.
    """

    def __init__(self, size: int, edge: Mapping[TileId, Tile]) -> None:
        self._size = size
        self._edge = edge
        nodes, reader = perfect_nodes(0, size), TileReader(edge)
        peaks = [reader.node(node) for node in nodes]
        self._ends = [(node.number + 1) << node.level for node in nodes]
        self._heights = [node.level for node in nodes]
        # To the right of a subtree is one hash over all that comes; to its left, one for each subtree, nearest first.
        self._rests = [
            ([fold(peaks[place + 1 :])] if place + 1 < len(peaks) else []) + peaks[:place][::-1]
            for place in range(len(peaks))
        ]

    def needs(self, index: int) -> list[TileId]:
        """The tiles that the proof of a leaf is read from, beside those of the edge.

        Raises:
            InvalidArgument: ``LEAF_OUTSIDE_TREE``.
        """
        require_leaf(index, self._size)
        height = self._heights[bisect_right(self._ends, index)]
        wanted = [TileId(at // TILE_HEIGHT, index >> at >> TILE_HEIGHT) for at in range(0, height, TILE_HEIGHT)]
        return [tile_id for tile_id in wanted if tile_id not in self._edge]

    def path(self, index: int, tiles: Mapping[TileId, Tile]) -> list[bytes]:
        """The hashes that prove leaf ``index``, from the leaf up, 32 bytes each.

        Args:
            index: of the leaf.
            tiles: at least those of :meth:`needs`.

        Raises:
            DataLoss: ``NODE_MISSING``.
        """
        place = bisect_right(self._ends, index)
        height, level, number = self._heights[place], 0, index
        path: list[bytes] = []
        while height >= TILE_HEIGHT:
            tile_id = TileId(level, number >> TILE_HEIGHT)
            tile = self._edge.get(tile_id) or tiles.get(tile_id)
            if tile is None or not tile.full:
                raise node_missing(Node(level * TILE_HEIGHT, number ^ 1))
            path += tile.siblings(number & _WITHIN)
            height, level, number = height - TILE_HEIGHT, level + 1, number >> TILE_HEIGHT
        reader = TileReader(self._edge)
        path += (reader.node(Node(level * TILE_HEIGHT + up, number >> up ^ 1)) for up in range(height))
        return path + self._rests[place]
