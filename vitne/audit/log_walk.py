"""A published log, read again from its first entry: every hash, every tile, every root that anybody remembers.

Whoever walks needs nothing but what is public. Entries are taken in order, a bundle at a
time, so that a log of millions fits; what the tree comes to is compared with what was
signed, with what was remembered, and with what witnesses cosigned.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from vitne.audit.agreement import Disagreement
from vitne.audit.log_contents import LogContents
from vitne.errors import InvalidArgument
from vitne.merkle.hashing import EMPTY_ROOT, HASH_SIZE, leaf_hash
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


class LogWalk:
    """Takes a log's files in order and says what is wrong with them.

    Args:
        marks: what the log is held to beside its own checkpoints.
        contents: takes what the entries say; after a log that this one followed, the same.
        first: the entry that has to be its first, since the log followed another; empty: any.
    """

    def __init__(
        self,
        marks: Iterable[Mark] = (),
        contents: LogContents | None = None,
        *,
        first: bytes = b"",
    ) -> None:
        self.contents = LogContents() if contents is None else contents
        self._first = first
        self._end: Checkpoint | None = None
        self._aim = Checkpoint("", 0, EMPTY_ROOT)
        self._tree = CompactTree()
        #: Hashes of each tile level above the first, as far as tiles below are full.
        self._levels: list[bytearray] = []
        self._marks: dict[int, list[Mark]] = defaultdict(list)
        self._found: list[Disagreement] = []
        self._closed: int | None = None
        #: Whether nobody can tell what the tree is, since neither an entry nor its hash was served.
        self._unknown = False
        #: Whether the last entry that was taken was served, and not its hash alone.
        self._read_last = False
        for mark in marks:
            self._marks[mark.checkpoint.size].append(mark)
        self._hold(0, EMPTY_ROOT)

    @property
    def size(self) -> int:
        """Entries that were taken."""
        return self._tree.size

    @property
    def closed(self) -> bool:
        """Whether an entry closes the log."""
        return self._closed is not None

    def aim(self, checkpoint: Checkpoint) -> None:
        """Walk on to a checkpoint of the log, verified; one that is smaller than what was walked is a fault."""
        self._aim = checkpoint
        if checkpoint.size < self.size:
            self._tell("log.rolled_back", "log", f"{self.size} leaves were walked, and now it says {checkpoint.size}")

    def give_up(self) -> None:
        """Look for nothing that comes after what was taken, since so much of that is not served."""
        self._tell("log.missing", f"leaf {self.size}", "what comes from there on was not looked for")

    def end(self, end: Checkpoint) -> None:
        """Hold the log to the last tree with which it was said to end."""
        self._end = end

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
                self._unknown |= published is None
                self._append(published or bytes(HASH_SIZE))
                self._read_last = False
                self.contents.skip()
                continue
            value = leaf_hash(entries[place])
            if published is not None and published != value:
                self._tell("leaf.differs", f"leaf {index}", "the entry is not what the tile has the hash of")
            self._append(value)
            self._read(index, value, entries[place])
            if index == 0 and self._first not in (b"", entries[0]):
                self._tell("log.unbound", "leaf 0", "it is not that of the statement by which the log followed another")

    def check_tile(self, tile: Resource, data: bytes | None) -> None:
        """Compare a tile above the first level with what the entries come to; all of these were taken."""
        if data is not None and self._unknown:
            return
        expected = self._levels[(tile.level or 1) - 1][tile.first * HASH_SIZE : (tile.first + tile.width) * HASH_SIZE]
        if data is None:
            self._tell("log.missing", tile.path, "it is not served")
        elif data != expected:
            self._tell("tile.differs", tile.path, "it is not what the entries come to")

    def finish(self) -> list[Disagreement]:
        """What is wrong with the log, but for what its entries say, and :meth:`behind`; every entry was taken."""
        if self._unknown:
            # What was signed is held to what was seen, whatever is missing of it.
            for mark in self._marks.get(self._aim.size, ()):
                if mark.checkpoint.root != self._aim.root:
                    self._tell("log.forked", mark.who, f"it saw another root of the first {self._aim.size} leaves")
        elif self.size == self._aim.size and self._tree.root() != self._aim.root:
            self._tell("log.root", self._aim.origin, "the checkpoint's root is not that of the entries")
        if self._closed is not None and self._closed != self.size - 1:
            self._tell("log.reopened", f"leaf {self._closed}", "the log was closed there, and goes on")
        if self._end is not None:
            self._finish_end(self._end)
        return list(dict.fromkeys(self._found))

    def behind(self) -> list[Disagreement]:
        """What others have of the log beyond what it shows.

        For a moment that is so of any log that grows: a witness remembers what it cosigned before the log shows it,
        and a statement says how a log ended before the witnesses have seen that.
        """
        if not self._aim.origin:
            return []  # No checkpoint of it was believed, which is told by itself.
        size = self._aim.size
        found = [
            Disagreement("log.rolled_back", mark.who, f"it saw {seen} leaves, and the log says that it has {size}")
            for seen in sorted(seen for seen in self._marks if seen > size)
            for mark in self._marks[seen]
        ]
        if self._end is not None and size < self._end.size:
            detail = f"it was said to end with {self._end.size} leaves, and has {size}"
            found.append(Disagreement("log.rolled_back", self._end.origin, detail))
        return found

    def _finish_end(self, end: Checkpoint) -> None:
        """A log that ended has the leaf that says so for its last, and grows no more."""
        if self.size > end.size:
            self._tell("log.reopened", end.origin, f"it was said to end with {end.size} leaves, and has {self.size}")
        elif self.size == end.size:
            # As above: what was signed is held to what was said, whatever is missing of it.
            if (self._aim.root if self._unknown else self._tree.root()) != end.root:
                self._tell("log.forked", end.origin, "it was said to end with another root")
            if self._read_last and self._closed != end.size - 1:
                self._tell("leaf.wrong", f"leaf {end.size - 1}", "it is the last of its log, and does not close it")

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
        if size in self._marks and not self._unknown:
            root = root or self._tree.root()
            for mark in self._marks[size]:
                if mark.checkpoint.root != root:
                    self._tell("log.forked", mark.who, f"it saw another root of the first {size} leaves")

    def _read(self, index: int, value: bytes, entry: bytes) -> None:
        closed = self.contents.take(f"leaf {index}", value, entry)
        self._read_last = True
        if closed is not None:
            self._closed = index
            if (closed.origin, closed.size) != (self._aim.origin, index):
                self._tell("leaf.wrong", f"leaf {index}", "it closes another log, or at another size")

    def _tell(self, kind: str, subject: str, detail: str) -> None:
        self._found.append(Disagreement(kind, subject, detail))
