"""A log's static files by C2SP tlog-tiles, and proofs that travel by tlog-proof."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.log_samples import SampleLog, cosigner, note_signer, policy_text
from vitne.errors import InvalidArgument, PermissionDenied
from vitne.merkle.hashing import leaf_hash
from vitne.merkle.policy import Policy
from vitne.merkle.resources import Resource, decode_bundle, encode_bundle, resources_at, split_hashes
from vitne.merkle.tlog_proof import LogProof


def test_the_specifications_example_of_a_number() -> None:
    assert Resource(0, 1234067).path == "tile/0/x001/x234/067"
    assert Resource(None, 1234067, 8).path == "tile/entries/x001/x234/067.p/8"
    assert Resource(3, 0).path == "tile/3/000"


def test_the_specifications_example_of_a_tree() -> None:
    found = list(resources_at(70_000))
    by_level = {
        level: [(each.number, each.width) for each in found if each.level == level] for level in (None, 0, 1, 2, 3)
    }
    assert by_level[0] == by_level[None] == [*((number, 256) for number in range(273)), (273, 112)]
    assert by_level[1] == [(0, 256), (1, 17)]
    assert by_level[2] == [(0, 1)]
    assert by_level[3] == []
    assert [each.path for each in resources_at(256)] == ["tile/entries/000", "tile/0/000", "tile/1/000.p/1"]


@given(st.integers(0, 200_000), st.integers(0, 200_000))
def test_what_grew_is_what_the_smaller_tree_had_not(one: int, other: int) -> None:
    since, size = sorted((one, other))
    if size - since > 2000:
        since = size - 2000
    grown = set(resources_at(size, since))
    # Beside what is full by now, the edge of the smaller tree is all that is not in the larger one.
    assert grown >= {each for each in resources_at(size) if not each.full} - set(resources_at(since))
    assert not {each for each in grown if each.full} & {each for each in resources_at(since) if each.full}
    assert grown <= set(resources_at(size))


@pytest.mark.parametrize(
    "path",
    [
        "tile/00/000",
        "tile/64/000",
        "tile/-1/000",
        "tile/0/0",
        "tile/0/x000/000",
        "tile/0/001/000",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/0/000/",
        "tile/entries/x001/x234/67",
        "tile/0/٠٠٠",
        "checkpoint",
    ],
)
def test_a_path_has_one_spelling(path: str) -> None:
    with pytest.raises(InvalidArgument, match="BAD_TILE_PATH"):
        Resource.parse(path)


@given(
    st.builds(Resource, st.none() | st.integers(0, 63), st.integers(0, 10**12), st.integers(1, 256)),
)
def test_paths_come_back(resource: Resource) -> None:
    assert Resource.parse(resource.path) == resource


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=20))
def test_bundles_come_back(entries: list[bytes]) -> None:
    data = encode_bundle(entries)
    assert decode_bundle(data, len(entries)) == entries
    for width, spoiled in ((len(entries) + 1, data), (len(entries), data + b"\x00"), (len(entries), data[:-1])):
        with pytest.raises(InvalidArgument, match="BAD_BUNDLE"):
            decode_bundle(spoiled, width)


def test_tiles_and_entries_have_their_bounds() -> None:
    with pytest.raises(InvalidArgument, match="ENTRY_TOO_LONG"):
        encode_bundle([bytes(1 << 16)])
    with pytest.raises(InvalidArgument, match="BAD_TILE"):
        split_hashes(bytes(33), 1)


LOG = SampleLog().append(b"%d" % number for number in range(300))
WITNESSES = [cosigner(number) for number in range(3)]
TWO_OF_THREE = Policy.parse(policy_text(note_signer(), 3, "2"))


@pytest.mark.parametrize("index", [0, 255, 256, 299])
def test_a_proof_travels(index: int) -> None:
    made = LOG.proof(index, LOG.note(None, *WITNESSES[:2]))
    read = LogProof.parse(made.text())
    assert read == made
    assert read.verify(leaf_hash(b"%d" % index), TWO_OF_THREE).checkpoint == LOG.checkpoint()
    with pytest.raises(InvalidArgument, match="BAD_INCLUSION_PROOF"):
        read.verify(leaf_hash(b"another"), TWO_OF_THREE)


def test_extra_data_travels_and_a_lonely_leaf_has_no_path() -> None:
    log = SampleLog().append([b"one"])
    made = LogProof(0, (), log.note(), b"context")
    assert made.text().startswith("c2sp.org/tlog-proof@v1\nextra Y29udGV4dA==\nindex 0\n\nlog.vitne.example/2026\n1\n")
    assert LogProof.parse(made.text()) == made
    made.verify(leaf_hash(b"one"), log.policy)


def test_a_proof_needs_the_quorum() -> None:
    with pytest.raises(PermissionDenied, match="QUORUM_MISSING"):
        LOG.proof(7, LOG.note(None, WITNESSES[0])).verify(leaf_hash(b"7"), TWO_OF_THREE)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text.replace("@v1", "@v2"),
        lambda text: text.replace("index 7", "index 07"),
        lambda text: text.replace("index 7\n", ""),
        lambda text: text.replace("\n\nlog", "\nlog"),
        lambda text: text.replace("index 7\n", "index 7\nAAAA\n"),
        lambda text: text.replace("index 7\n", "extra ?\nindex 7\n"),
        lambda text: "x" * (1 << 18),
    ],
)
def test_what_is_no_proof_is_refused(spoil: object) -> None:
    assert callable(spoil)
    with pytest.raises(InvalidArgument, match=r"BAD_TLOG_PROOF|BAD_NOTE"):
        LogProof.parse(spoil(LOG.proof(7, LOG.note()).text())).verify(leaf_hash(b"7"), LOG.policy)
