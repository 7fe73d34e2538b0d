"""Inclusion and consistency proofs (RFC 6962, sections 2.1.1 and 2.1.2): planned, made, verified.

A *plan* says which ranges of leaves a proof needs the hashes of, before any of
them is read, so that a store can fetch everything at once. Verification follows
RFC 9162, sections 2.1.3.2 and 2.1.4.2, and refuses whatever is not exactly such
a proof.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from vitne.errors import InvalidArgument
from vitne.merkle.hashing import EMPTY_ROOT, HASH_SIZE, node_hash
from vitne.merkle.tree import Node, NodeReader, perfect_nodes, range_hash

#: Leaves from the first to before the second.
Range = tuple[int, int]


def require_leaf(index: int, size: int) -> None:
    """Refuse a leaf that a tree has not got.

    Raises:
        InvalidArgument: ``LEAF_OUTSIDE_TREE`` unless ``0 <= index < size``.
    """
    if not 0 <= index < size:
        raise InvalidArgument(
            "LEAF_OUTSIDE_TREE",
            f"a tree of {size} leaves has no leaf {index}",
            field="tree_size",
            rule="RFC 6962, section 2.1.1: 0 <= leaf index < tree size",
            remedy="ask for a tree that has the leaf",
        )


def plan_inclusion(index: int, size: int) -> list[Range]:
    """The ranges whose hashes prove leaf ``index`` in the tree of ``size`` leaves, from the leaf up.

    Raises:
        InvalidArgument: ``LEAF_OUTSIDE_TREE`` unless ``0 <= index < size``.
    """
    require_leaf(index, size)
    ranges: list[Range] = []
    begin, end = 0, size
    while end - begin > 1:
        middle = begin + _split(end - begin)
        if index < middle:
            ranges.append((middle, end))
            end = middle
        else:
            ranges.append((begin, middle))
            begin = middle
    return ranges[::-1]


def plan_consistency(from_size: int, to_size: int) -> list[Range]:
    """The ranges whose hashes prove the tree of ``from_size`` leaves to be a prefix of that of ``to_size``.

    Every tree extends the empty one and itself: those plans are empty.

    Raises:
        InvalidArgument: ``SIZES_CONTRADICT`` unless ``0 <= from_size <= to_size``.
    """
    if not 0 <= from_size <= to_size:
        raise InvalidArgument(
            "SIZES_CONTRADICT",
            f"a tree of {from_size} leaves is no prefix of one of {to_size}",
            field="from_size",
            rule="RFC 6962, section 2.1.2: 0 <= from size <= to size",
            remedy="give the earlier, smaller tree first",
        )
    if from_size == 0:
        return []
    ranges: list[Range] = []
    begin, end = 0, to_size
    whole = True  # so far, the subtree in hand is the old tree itself, whose root the verifier has
    while end != from_size:
        middle = begin + _split(end - begin)
        if from_size <= middle:
            ranges.append((middle, end))
            end = middle
        else:
            ranges.append((begin, middle))
            begin, whole = middle, False
    if not whole:
        ranges.append((begin, end))
    return ranges[::-1]


def nodes_of(plan: Iterable[Range]) -> list[Node]:
    """All stored nodes that a plan needs."""
    return [node for begin, end in plan for node in perfect_nodes(begin, end)]


def make_proof(plan: Iterable[Range], reader: NodeReader) -> list[bytes]:
    """The proof's hashes, 32 bytes each, in the order in which they are verified."""
    return [range_hash(begin, end, reader) for begin, end in plan]


def verify_inclusion(*, leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> None:
    """Check that ``path`` proves the leaf hash at ``index`` in the tree of ``size`` leaves with ``root``.

    Raises:
        InvalidArgument: ``BAD_INCLUSION_PROOF``.
    """
    if not 0 <= index < size:
        raise _bad_inclusion(f"a tree of {size} leaves has no leaf {index}")
    _check_hashes([leaf, root, *path], _bad_inclusion)
    position, last, current = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            raise _bad_inclusion("the path is too long")
        if position & 1 or position == last:
            current = node_hash(sibling, current)
            while not position & 1 and position:
                position >>= 1
                last >>= 1
        else:
            current = node_hash(current, sibling)
        position >>= 1
        last >>= 1
    if last != 0:
        raise _bad_inclusion("the path is too short")
    if current != root:
        raise _bad_inclusion("the path leads to another root")


def verify_consistency(
    *, from_size: int, to_size: int, from_root: bytes, to_root: bytes, path: Sequence[bytes]
) -> None:
    """Check that ``path`` proves the earlier tree to be a prefix of the later one.

    Raises:
        InvalidArgument: ``BAD_CONSISTENCY_PROOF``.
    """
    if not 0 <= from_size <= to_size:
        raise _bad_consistency(f"a tree of {from_size} leaves is no prefix of one of {to_size}")
    _check_hashes([from_root, to_root, *path], _bad_consistency)
    for size, root in ((from_size, from_root), (to_size, to_root)):
        if size == 0 and root != EMPTY_ROOT:
            raise _bad_consistency("a tree without leaves has another root")
    if from_size in (0, to_size):
        if path:
            raise _bad_consistency("the path is too long")
        if from_size and from_root != to_root:
            raise _bad_consistency("trees of one size have two roots")
        return
    if not path:
        raise _bad_consistency("the path is too short")
    # Where the earlier tree is perfect, it is itself the first node; its root is not repeated in the path.
    hashes = [from_root, *path] if from_size & (from_size - 1) == 0 else list(path)
    position, last = from_size - 1, to_size - 1
    while position & 1:
        position >>= 1
        last >>= 1
    earlier = later = hashes[0]
    for sibling in hashes[1:]:
        if last == 0:
            raise _bad_consistency("the path is too long")
        if position & 1 or position == last:
            earlier = node_hash(sibling, earlier)
            later = node_hash(sibling, later)
            while not position & 1 and position:
                position >>= 1
                last >>= 1
        else:
            later = node_hash(later, sibling)
        position >>= 1
        last >>= 1
    if last != 0:
        raise _bad_consistency("the path is too short")
    if earlier != from_root:
        raise _bad_consistency("the path leads to another root of the earlier tree")
    if later != to_root:
        raise _bad_consistency("the path leads to another root of the later tree")


def _split(count: int) -> int:
    """The largest power of two smaller than ``count`` (two or more)."""
    return 1 << (count - 1).bit_length() - 1


def _check_hashes(hashes: Sequence[bytes], refusal: Callable[[str], InvalidArgument]) -> None:
    if any(len(value) != HASH_SIZE for value in hashes):
        raise refusal("a hash has not got 32 bytes")


def _bad_inclusion(why: str) -> InvalidArgument:
    return InvalidArgument(
        "BAD_INCLUSION_PROOF",
        f"the leaf is not proved to be in the tree: {why}",
        rule="RFC 9162, section 2.1.3.2",
        remedy="ask the log again; if it repeats itself, show leaf, proof and checkpoint to the log's operator",
    )


def _bad_consistency(why: str) -> InvalidArgument:
    return InvalidArgument(
        "BAD_CONSISTENCY_PROOF",
        f"the earlier tree is not proved to be a prefix of the later one: {why}",
        rule="RFC 9162, section 2.1.4.2",
        remedy="ask the log again; if it repeats itself, keep both checkpoints and tell the log's witnesses",
    )
