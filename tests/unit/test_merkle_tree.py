"""The tree, its tiles and its proofs, against the textbook definition of RFC 6962."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vitne.errors import DataLoss, InvalidArgument
from vitne.merkle.frontier import Frontier
from vitne.merkle.hashing import EMPTY_ROOT, leaf_hash, node_hash
from vitne.merkle.proofs import (
    make_proof,
    nodes_of,
    plan_consistency,
    plan_inclusion,
    verify_consistency,
    verify_inclusion,
)
from vitne.merkle.tiles import TILE_WIDTH, Tile, TileId, TileReader, TileWriter, tiles_at, tiles_of
from vitne.merkle.tree import CompactTree, Node, perfect_nodes, root_at

# The textbook: RFC 6962, section 2.1, word for word, over leaf hashes.


def split(count: int) -> int:
    k = 1
    while k * 2 < count:
        k *= 2
    return k


def mth(leaves: list[bytes]) -> bytes:
    if not leaves:
        return EMPTY_ROOT
    if len(leaves) == 1:
        return leaves[0]
    k = split(len(leaves))
    return node_hash(mth(leaves[:k]), mth(leaves[k:]))


def path(m: int, leaves: list[bytes]) -> list[bytes]:
    if len(leaves) == 1:
        return []
    k = split(len(leaves))
    if m < k:
        return [*path(m, leaves[:k]), mth(leaves[k:])]
    return [*path(m - k, leaves[k:]), mth(leaves[:k])]


def subproof(m: int, leaves: list[bytes], whole: bool) -> list[bytes]:
    if m == len(leaves):
        return [] if whole else [mth(leaves)]
    k = split(len(leaves))
    if m <= k:
        return [*subproof(m, leaves[:k], whole), mth(leaves[k:])]
    return [*subproof(m - k, leaves[k:], False), mth(leaves[:k])]


def leaves_of(count: int) -> list[bytes]:
    return [leaf_hash(number.to_bytes(4, "big")) for number in range(count)]


class Store:
    """A log's storage: tiles, as a database would keep them."""

    def __init__(self) -> None:
        self.tiles: dict[TileId, Tile] = {}
        self.size = 0

    def append(self, leaves: list[bytes]) -> bytes:
        writer = TileWriter(self.size, {tile_id: self.tiles[tile_id] for tile_id in tiles_at(self.size)})
        writer.extend(leaves)
        self.tiles |= writer.changed()
        self.size = writer.tree.size
        return writer.tree.root()


SIZES = st.integers(0, 700)


@given(SIZES, st.lists(st.integers(1, 300), max_size=4))
@settings(max_examples=40, deadline=None)
def test_roots_are_the_textbooks_however_the_leaves_came(first: int, batches: list[int]) -> None:
    leaves = leaves_of(first + sum(batches))
    store, done = Store(), 0
    for batch in [first, *batches]:
        root = store.append(leaves[done : done + batch])
        done += batch
        assert root == mth(leaves[:done])
    reader = TileReader(store.tiles)
    for size in {0, 1, first, done // 2, done} & set(range(done + 1)):
        assert root_at(size, reader) == mth(leaves[:size])


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_inclusion_is_the_textbooks_and_verifies(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 700))
    index = data.draw(st.integers(0, size - 1))
    grown = data.draw(st.integers(size, 800))
    leaves = leaves_of(grown)
    store = Store()
    store.append(leaves)
    plan = plan_inclusion(index, size)
    reader = TileReader({tile_id: store.tiles[tile_id] for tile_id in tiles_of(nodes_of(plan))})
    proof = make_proof(plan, reader)
    assert proof == path(index, leaves[:size])
    frontier = Frontier(size, {tile_id: store.tiles[tile_id] for tile_id in tiles_at(size)})
    assert frontier.path(index, {tile_id: store.tiles[tile_id] for tile_id in frontier.needs(index)}) == proof
    root = mth(leaves[:size])
    verify_inclusion(leaf=leaves[index], index=index, size=size, path=proof, root=root)
    for damaged in damage(proof, data):
        with pytest.raises(InvalidArgument, match="BAD_INCLUSION_PROOF"):
            verify_inclusion(leaf=leaves[index], index=index, size=size, path=damaged, root=root)
    other = data.draw(st.integers(0, size - 1).filter(lambda value: value != index)) if size > 1 else size
    with pytest.raises(InvalidArgument, match="BAD_INCLUSION_PROOF"):
        verify_inclusion(leaf=leaves[index], index=other, size=size, path=proof, root=root)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_consistency_is_the_textbooks_and_verifies(data: st.DataObject) -> None:
    to_size = data.draw(st.integers(0, 700))
    from_size = data.draw(st.integers(0, to_size))
    leaves = leaves_of(to_size)
    store = Store()
    store.append(leaves)
    plan = plan_consistency(from_size, to_size)
    proof = make_proof(plan, TileReader(store.tiles))
    assert proof == (subproof(from_size, leaves, True) if from_size else [])
    roots = {"from_root": mth(leaves[:from_size]), "to_root": mth(leaves)}
    verify_consistency(from_size=from_size, to_size=to_size, path=proof, **roots)
    for damaged in damage(proof, data):
        with pytest.raises(InvalidArgument, match="BAD_CONSISTENCY_PROOF"):
            verify_consistency(from_size=from_size, to_size=to_size, path=damaged, **roots)
    if from_size:
        forged = mth([*leaves[: from_size - 1], leaf_hash(b"another")])
        with pytest.raises(InvalidArgument, match="BAD_CONSISTENCY_PROOF"):
            verify_consistency(
                from_size=from_size, to_size=to_size, path=proof, from_root=forged, to_root=roots["to_root"]
            )


def damage(proof: list[bytes], data: st.DataObject) -> list[list[bytes]]:
    """Ways in which a proof can be wrong."""
    damaged = [[*proof, EMPTY_ROOT], [EMPTY_ROOT, *proof], [*proof, b""]]
    if proof:
        at = data.draw(st.integers(0, len(proof) - 1))
        flipped = bytes([proof[at][0] ^ 1]) + proof[at][1:]
        damaged += [proof[:-1], proof[1:], [*proof[:at], flipped, *proof[at + 1 :]], [*proof[:at], proof[at][:31]]]
    return damaged


def test_the_hashes_are_those_of_rfc_6962() -> None:
    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert leaf_hash(b"").hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"


@pytest.mark.parametrize(("index", "size"), [(0, 0), (1, 1), (-1, 3), (7, 3)])
def test_no_inclusion_proof_outside_the_tree(index: int, size: int) -> None:
    with pytest.raises(InvalidArgument, match="LEAF_OUTSIDE_TREE"):
        plan_inclusion(index, size)


@pytest.mark.parametrize(("from_size", "to_size"), [(2, 1), (-1, 3), (-2, -1)])
def test_no_consistency_proof_of_sizes_that_contradict(from_size: int, to_size: int) -> None:
    with pytest.raises(InvalidArgument, match="SIZES_CONTRADICT"):
        plan_consistency(from_size, to_size)
    with pytest.raises(InvalidArgument, match="BAD_CONSISTENCY_PROOF"):
        verify_consistency(from_size=from_size, to_size=to_size, from_root=EMPTY_ROOT, to_root=EMPTY_ROOT, path=[])


def test_an_empty_tree_has_one_root_only() -> None:
    for roots in ((leaf_hash(b"x"), EMPTY_ROOT), (EMPTY_ROOT, leaf_hash(b"x"))):
        with pytest.raises(InvalidArgument, match="BAD_CONSISTENCY_PROOF"):
            verify_consistency(from_size=0, to_size=0, from_root=roots[0], to_root=roots[1], path=[])


def test_tiles_are_those_of_the_specifications_example() -> None:
    # tlog-tiles, Partial Tiles: size 70,000 has 273 full tiles and one of 112 at level 0, ...
    assert tiles_at(70_000) == [TileId(0, 273), TileId(1, 1), TileId(2, 0)]
    assert tiles_at(256) == [TileId(0, 0), TileId(1, 0)]
    assert tiles_at(0) == []


def test_a_tile_never_changes_once_full() -> None:
    store = Store()
    store.append(leaves_of(TILE_WIDTH))
    writer = TileWriter(store.size, {tile_id: store.tiles[tile_id] for tile_id in tiles_at(store.size)})
    writer.extend([leaf_hash(b"next")])
    assert set(writer.changed()) == {TileId(0, 1)}


def test_a_proof_in_ten_million_leaves_reads_few_tiles() -> None:
    size = 10_000_000
    for index in (0, 5_000_000, size - 1):
        assert len(tiles_of(nodes_of(plan_inclusion(index, size)))) <= 6


def test_a_frontier_proves_across_tile_levels_and_what_is_missing_is_data_loss() -> None:
    size = 2 * 65_536 + 3 * 256 + 5
    store = Store()
    store.append(leaves_of(size))
    frontier = Frontier(size, {tile_id: store.tiles[tile_id] for tile_id in tiles_at(size)})
    for index in (0, 65_535, 65_536, 131_071, 131_072, 131_072 + 511, size - 6, size - 5, size - 1):
        plan = plan_inclusion(index, size)
        wanted = {tile_id: store.tiles[tile_id] for tile_id in frontier.needs(index)}
        assert frontier.path(index, wanted) == make_proof(plan, TileReader(store.tiles))
        assert set(wanted) <= tiles_of(nodes_of(plan))
    with pytest.raises(DataLoss, match="NODE_MISSING"):
        frontier.path(0, {})
    with pytest.raises(DataLoss, match="NODE_MISSING"):
        Frontier(size, {})
    for outside in (-1, size):
        with pytest.raises(InvalidArgument, match="LEAF_OUTSIDE_TREE"):
            frontier.needs(outside)


def test_a_leaf_that_is_no_hash_is_refused_and_changes_nothing() -> None:
    writer = TileWriter(0, {})
    with pytest.raises(InvalidArgument, match="BAD_LEAF_HASH"):
        writer.extend([leaf_hash(b"x"), b"short"])
    assert (writer.tree.size, writer.changed()) == (0, {})


def test_missing_nodes_are_data_loss() -> None:
    with pytest.raises(DataLoss, match="NODE_MISSING"):
        TileReader({}).node(Node(0, 0))
    with pytest.raises(DataLoss, match="NODE_MISSING"):
        TileReader({TileId(0, 0): Tile(TileId(0, 0), leaf_hash(b"x"))}).node(Node(1, 0))
    for hashes in (b"", b"x" * 31, b"x" * 32 * 257):
        with pytest.raises(DataLoss, match="BAD_TILE"):
            Tile(TileId(0, 0), hashes)


def test_a_tree_refuses_a_state_that_is_none() -> None:
    for size, peaks in ((1, []), (3, [EMPTY_ROOT]), (1, [b"short"]), (-1, [])):
        with pytest.raises(InvalidArgument, match="BAD_TREE_STATE"):
            CompactTree(size, peaks)
    with pytest.raises(InvalidArgument, match="BAD_LEAF_HASH"):
        CompactTree().append(b"short")


@given(st.integers(0, 1 << 40), st.integers(0, 1 << 40))
def test_perfect_nodes_cover_a_range_exactly(one: int, other: int) -> None:
    begin, end = sorted((one, other))
    at = begin
    for node in perfect_nodes(begin, end):
        assert node.number << node.level == at
        at += 1 << node.level
    assert at == end
