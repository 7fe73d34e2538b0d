"""A published log, read again from its first entry: every hash, every tile, every root that anybody remembers.

Whoever walks needs nothing but what is public. Entries are taken in order, a bundle at a
time, so that a log of millions fits; what the tree comes to is compared with what was
signed, with what was remembered, and with what witnesses cosigned.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from vitne.audit.agreement import Disagreement
from vitne.audit.snapshots import VALID
from vitne.canonical import b64url
from vitne.errors import InvalidArgument, VitneError
from vitne.merkle.hashing import EMPTY_ROOT, HASH_SIZE, leaf_hash
from vitne.merkle.leaves import Closed, Issued, ListPublished, StatusChanged, parse_leaf
from vitne.merkle.notes import Checkpoint
from vitne.merkle.resources import Resource, decode_bundle, split_hashes
from vitne.merkle.tiles import TILE_WIDTH
from vitne.merkle.tree import CompactTree


@dataclass(frozen=True, slots=True)
class Mark:
    """What somebody remembers of the log.

    Attributes:
        who: ``remembered``, or a witness's name.
        checkpoint: what they saw.
    """

    who: str
    checkpoint: Checkpoint


@dataclass(frozen=True, slots=True)
class SeenList:
    """A published status list as it was fetched, its signature checked.

    Attributes:
        issued_at: its date.
        statuses: places that are not valid, by index.
    """

    issued_at: datetime
    statuses: Mapping[int, str]


class LogWalk:
    """Takes a log's files in order and says what is wrong with them.

    Args:
        marks: what the log is held to beside its own checkpoints.
    """

    def __init__(self, marks: Iterable[Mark] = ()) -> None:
        self._aim = Checkpoint("", 0, EMPTY_ROOT)
        self._tree = CompactTree()
        #: Hashes of each tile level above the first, as far as tiles below are full.
        self._levels: list[bytearray] = []
        self._marks: dict[int, list[Mark]] = defaultdict(list)
        self._found: list[Disagreement] = []
        self._seen: dict[bytes, int] = {}
        #: Digests of all artefacts whose issuance was logged.
        self.issued: set[bytes] = set()
        #: The changes of each list's places, in the log's order.
        self.changes: dict[str, dict[int, list[StatusChanged]]] = defaultdict(lambda: defaultdict(list))
        #: The versions of each list that were logged, in the log's order.
        self.versions: dict[str, list[ListPublished]] = defaultdict(list)
        self._closed: int | None = None
        for mark in marks:
            self._marks[mark.checkpoint.size].append(mark)
        self._hold(0, EMPTY_ROOT)

    @property
    def size(self) -> int:
        """Entries that were taken."""
        return self._tree.size

    def aim(self, checkpoint: Checkpoint) -> None:
        """Walk on to a checkpoint of the log, verified; one that is smaller than what was walked is a fault."""
        self._aim = checkpoint
        if checkpoint.size < self.size:
            self._tell("log.rolled_back", "log", f"{self.size} leaves were walked, and now it says {checkpoint.size}")

    def take(self, bundle: Resource, data: bytes | None, tile: bytes | None) -> None:
        """Take the next bundle, and the tile beside it; entries that were taken before are passed over.

        Args:
            bundle: which; the one in which the next entry is.
            data: its bytes; None: it is not served.
            tile: the tile's, of the same number and width; None: likewise.
        """
        hashes = self._tile_hashes(bundle, tile)
        try:
            entries = decode_bundle(data, bundle.width) if data is not None else None
        except InvalidArgument as error:
            self._tell("bundle.malformed", bundle.path, error.message)
            entries = None
        if data is None:
            self._tell("log.missing", bundle.path, "it is not served")
        for place in range(self.size - bundle.first, bundle.width):
            index = bundle.first + place
            published = hashes[place] if hashes else None
            if entries is None:
                # Walked on by the tile's word, so that one bundle's fault does not hide what comes after it.
                self._append(published or bytes(HASH_SIZE))
                continue
            value = leaf_hash(entries[place])
            if published is not None and published != value:
                self._tell("leaf.differs", f"leaf {index}", "the entry is not what the tile has the hash of")
            self._append(value)
            self._read(index, value, entries[place])

    def check_tile(self, tile: Resource, data: bytes | None) -> None:
        """Compare a tile above the first level with what the entries come to; all of these were taken."""
        expected = self._levels[(tile.level or 1) - 1][tile.first * HASH_SIZE : (tile.first + tile.width) * HASH_SIZE]
        if data is None:
            self._tell("log.missing", tile.path, "it is not served")
        elif data != expected:
            self._tell("tile.differs", tile.path, "it is not what the entries come to")

    def finish(self) -> list[Disagreement]:
        """What is wrong with the log; every entry was taken."""
        if self.size == self._aim.size and self._tree.root() != self._aim.root:
            self._tell("log.root", self._aim.origin, "the checkpoint's root is not that of the entries")
        for size in sorted(size for size in self._marks if size > self.size):
            for mark in self._marks[size]:
                self._tell(
                    "log.rolled_back", mark.who, f"it saw {size} leaves, and the log says that it has {self.size}"
                )
        if self._closed is not None and self._closed != self.size - 1:
            self._tell("log.reopened", f"leaf {self._closed}", "the log was closed there, and goes on")
        return list(dict.fromkeys(self._found))

    def check_issued(self, known: Mapping[bytes, str]) -> Iterator[Disagreement]:
        """Every issuance that an issuer knows is in the log; others may have come since.

        Args:
            known: what to call it, by the artefact's digest; read before the walk.
        """
        for digest in known.keys() - self.issued:
            yield Disagreement("issuance.unpublished", known[digest], "the published log lacks it")

    def check_lists(self, lists: Mapping[str, SeenList | None]) -> Iterator[Disagreement]:
        """Compare published lists with the changes in the log.

        Args:
            lists: fetched *before* the checkpoint that was walked to, so that whatever they show is in the log; by URL,
                None where one can't be fetched or does not verify.
        """
        for url in sorted(self.changes.keys() | self.versions.keys() | lists.keys()):
            seen = lists.get(url)
            if seen is None:
                yield Disagreement("list.unpublished", url, "nobody can fetch it")
                continue
            changed = self.changes.get(url, {})
            for index in sorted(changed.keys() | seen.statuses.keys()):
                yield from _check_place(url, index, seen, changed.get(index, []))

    def _tile_hashes(self, bundle: Resource, data: bytes | None) -> list[bytes] | None:
        tile = Resource(0, bundle.number, bundle.width)
        if data is None:
            self._tell("log.missing", tile.path, "it is not served")
            return None
        try:
            return split_hashes(data, bundle.width)
        except InvalidArgument as error:
            self._tell("tile.malformed", tile.path, error.message)
            return None

    def _append(self, value: bytes) -> None:
        for node, node_value in self._tree.append(value):
            level, height = divmod(node.level, TILE_WIDTH.bit_length() - 1)
            if level and not height:
                if len(self._levels) < level:
                    self._levels.append(bytearray())
                self._levels[level - 1] += node_value
        self._hold(self._tree.size, None)

    def _hold(self, size: int, root: bytes | None) -> None:
        """Compare with what was remembered of this size."""
        if size in self._marks:
            root = root or self._tree.root()
            for mark in self._marks[size]:
                if mark.checkpoint.root != root:
                    self._tell("log.forked", mark.who, f"it saw another root of the first {size} leaves")

    def _read(self, index: int, value: bytes, entry: bytes) -> None:
        if value in self._seen:
            self._tell("leaf.twice", b64url(value), f"it is leaf {self._seen[value]}, and leaf {index}")
        self._seen[value] = index
        try:
            leaf = parse_leaf(entry)
        except VitneError as error:
            self._tell("leaf.malformed", f"leaf {index}", error.reason)
            return
        match leaf:
            case Issued():
                self.issued.add(leaf.digest)
            case StatusChanged():
                self._read_change(index, leaf)
            case ListPublished():
                self._read_version(index, leaf)
            case Closed():
                self._closed = index
                if (leaf.origin, leaf.size) != (self._aim.origin, index):
                    self._tell("leaf.wrong", f"leaf {index}", "it closes another log, or at another size")
            case _:
                pass  # facts of the registry: what they say is the registry's to answer for

    def _read_change(self, index: int, leaf: StatusChanged) -> None:
        before = self.changes[leaf.list_url][leaf.index]
        if before and before[-1].status == "revoked":
            self._tell("status.revived", f"{leaf.list_url}#{leaf.index}", f"leaf {index} changes what is revoked")
        before.append(leaf)

    def _read_version(self, index: int, leaf: ListPublished) -> None:
        before = self.versions[leaf.list_url]
        if leaf.tree_size > index:
            self._tell("version.wrong", leaf.list_url, f"leaf {index} reflects more leaves than were before it")
        if before and (before[-1].version >= leaf.version or before[-1].tree_size > leaf.tree_size):
            self._tell("version.backwards", leaf.list_url, f"leaf {index} shows less than the one before")
        before.append(leaf)

    def _tell(self, kind: str, subject: str, detail: str) -> None:
        self._found.append(Disagreement(kind, subject, detail))


def _check_place(url: str, index: int, seen: SeenList, changes: list[StatusChanged]) -> Iterator[Disagreement]:
    shown = seen.statuses.get(index, VALID)
    # What was recorded before the list's second is shown; what was recorded in it may be; what came later is not.
    settled = [change for change in changes if change.recorded < seen.issued_at]
    possible = {settled[-1].status if settled else VALID}
    possible |= {change.status for change in changes if change not in settled}
    if shown in possible:
        return
    if shown != VALID and all(change.status != shown for change in changes):
        yield Disagreement("list.unexplained", f"{url}#{index}", f"the list says {shown}, and the log never did")
    else:
        expected = settled[-1].status if settled else VALID
        yield Disagreement("status.list", f"{url}#{index}", f"the list says {shown}, the log {expected}")
