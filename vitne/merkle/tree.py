"""The shape of the tree of RFC 6962, section 2.1, apart from where its nodes are kept.

A tree of any size is made of *perfect* subtrees, whose hashes never change once
their last leaf is there; only these are stored. A :class:`Node` names one. What
a tree of a certain size adds on top (its ragged right edge) is folded from them
when asked for, so that every size ever reached can be asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from vitne.errors import InvalidArgument
from vitne.merkle.hashing import EMPTY_ROOT, HASH_SIZE, node_hash


class Node(NamedTuple):
    """The perfect subtree over leaves ``number << level`` to before ``(number + 1) << level``."""

    level: int
    number: int


class NodeReader(Protocol):
    """Where the hashes of perfect subtrees come from."""

    def node(self, node: Node) -> bytes:
        """The subtree's hash, 32 bytes.

        Raises:
            vitne.errors.DataLoss: the node is not there, though the tree reaches that far.
        """
        ...


def perfect_nodes(begin: int, end: int) -> list[Node]:
    """The perfect subtrees that make up leaves ``begin`` to ``end`` (without), left to right, as few as can be."""
    nodes: list[Node] = []
    while begin < end:
        # The largest power of two that divides `begin` and still fits.
        fits = (end - begin).bit_length() - 1
        level = min(fits, (begin & -begin).bit_length() - 1) if begin else fits
        nodes.append(Node(level, begin >> level))
        begin += 1 << level
    return nodes


def fold(peaks: Sequence[bytes]) -> bytes:
    """The root over perfect subtrees that get smaller from left to right; of none: the empty root."""
    if not peaks:
        return EMPTY_ROOT
    root = peaks[-1]
    for peak in reversed(peaks[:-1]):
        root = node_hash(peak, root)
    return root


def range_hash(begin: int, end: int, reader: NodeReader) -> bytes:
    """MTH(D[begin:end]) for a range that occurs in RFC 6962's recursion (``begin`` is aligned to its length)."""
    return fold([reader.node(node) for node in perfect_nodes(begin, end)])


def root_at(size: int, reader: NodeReader) -> bytes:
    """The root of the tree of ``size`` leaves."""
    return range_hash(0, size, reader)


class CompactTree:
    """A tree that can grow, held as the hashes of its O(log n) perfect subtrees and nothing more."""

    def __init__(self, size: int = 0, peaks: Sequence[bytes] = ()) -> None:
        if size < 0 or len(peaks) != size.bit_count() or any(len(peak) != HASH_SIZE for peak in peaks):
            raise InvalidArgument(
                "BAD_TREE_STATE",
                "the peaks are not those of a tree of that size",
                rule="one hash of 32 bytes for each bit that is set in the size",
                remedy="load the tree from its stored nodes",
            )
        self._size = size
        self._peaks = list(peaks)

    @classmethod
    def load(cls, size: int, reader: NodeReader) -> CompactTree:
        """The tree of ``size`` leaves, from stored nodes."""
        return cls(size, [reader.node(node) for node in perfect_nodes(0, size)])

    @property
    def size(self) -> int:
        """The number of leaves."""
        return self._size

    def append(self, leaf: bytes) -> list[tuple[Node, bytes]]:
        """Add a leaf's hash; answer the perfect subtrees that it completes, itself first."""
        if len(leaf) != HASH_SIZE:
            raise InvalidArgument("BAD_LEAF_HASH", "a leaf hash has 32 bytes", rule="RFC 6962, section 2.1")
        index = self._size
        completed = [(Node(0, index), leaf)]
        level, current = 0, leaf
        while index & 1:  # a right child: it and its left sibling, the last peak, become one
            current = node_hash(self._peaks.pop(), current)
            index >>= 1
            level += 1
            completed.append((Node(level, index), current))
        self._peaks.append(current)
        self._size += 1
        return completed

    def root(self) -> bytes:
        """The root over all leaves so far."""
        return fold(self._peaks)
