"""The static files that a log is published as: their paths and their bytes (C2SP tlog-tiles)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from vitne.errors import InvalidArgument
from vitne.merkle.hashing import HASH_SIZE
from vitne.merkle.tiles import TILE_WIDTH, TileId

#: Path of the only file that changes.
CHECKPOINT_PATH: Final = "checkpoint"
#: Highest level of tiles (tlog-tiles).
MAX_LEVEL: Final = 63
#: Longest entry: its length is two bytes.
MAX_ENTRY_BYTES: Final = (1 << 16) - 1

#: Where logs that followed the first one are, each under its name, below the first one's prefix.
LOGS_PATH: Final = "log"

_LENGTH_SIZE: Final = 2
#: Unreserved characters (RFC 3986, section 2.3).
_LOG_NAME: Final = re.compile(r"[A-Za-z0-9._~-]+", re.ASCII)
_PATH: Final = re.compile(
    r"tile/(?P<level>0|[1-9][0-9]?|entries)/(?P<number>(?:x[0-9]{3}/){0,5}[0-9]{3})(?:\.p/(?P<width>[1-9][0-9]{0,2}))?\Z",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Resource:
    """A tile, or an entry bundle.

    Attributes:
        level: of the tile; None: the entry bundle beside the tile of level 0.
        number: within the level, from 0.
        width: hashes or entries, 256 when it is full.
    """

    level: int | None
    number: int
    width: int = TILE_WIDTH

    @property
    def full(self) -> bool:
        """Whether it will never grow."""
        return self.width == TILE_WIDTH

    @property
    def first(self) -> int:
        """Index of a bundle's first entry; of a tile's first hash within its level."""
        return self.number * TILE_WIDTH

    @property
    def tile_id(self) -> TileId:
        """The tile, or that beside which the bundle is."""
        return TileId(self.level or 0, self.number)

    @property
    def path(self) -> str:
        """Where it is, below the log's prefix; without a slash at the beginning."""
        digits = f"{self.number:d}"
        digits = digits.zfill(-(-len(digits) // 3) * 3)
        parts = [digits[at : at + 3] for at in range(0, len(digits), 3)]
        name = "/".join([*(f"x{part}" for part in parts[:-1]), parts[-1]])
        level = "entries" if self.level is None else str(self.level)
        return f"tile/{level}/{name}" + ("" if self.full else f".p/{self.width}")

    @classmethod
    def parse(cls, path: str) -> Resource:
        """What a path names.

        Raises:
            InvalidArgument: ``BAD_TILE_PATH`` for anything but the one path of a resource.
        """
        match = _PATH.match(path)
        if match is not None:
            level = None if match["level"] == "entries" else int(match["level"])
            number = int(match["number"].replace("x", "").replace("/", ""))
            resource = cls(level, number, int(match["width"] or TILE_WIDTH))
            if resource.path == path and (level or 0) <= MAX_LEVEL:
                return resource
        raise InvalidArgument(
            "BAD_TILE_PATH",
            "not the path of a tile or an entry bundle",
            field="path",
            rule="C2SP tlog-tiles: tile/<level>/<number>[.p/<width>] and tile/entries/<number>[.p/<width>]",
            remedy="compute it from the size of a checkpoint",
        )


def log_name(origin: str) -> str:
    """What a log is called in addresses: the last part of its origin."""
    return origin.rpartition("/")[2]


def is_log_name(name: str) -> bool:
    """Whether a log can be served under a name: one part of a path, that nobody takes for another."""
    return _LOG_NAME.fullmatch(name) is not None and name not in (".", "..")


def log_prefix(origin: str, first: str) -> str:
    """Where a log's files are, below the prefix of the first of those that follow each other; empty: there.

    Args:
        origin: of the log.
        first: origin of the first.
    """
    return "" if origin == first else f"{LOGS_PATH}/{log_name(origin)}/"


def resources_at(size: int, since: int = 0) -> Iterator[Resource]:
    """What a tree of ``size`` leaves is published as, but for what one of ``since`` leaves had already.

    Bundles come first, then tiles from the leaves up: nothing is published before what it rests on.
    """
    yield from _grown(None, size, since)
    level = 0
    while size:
        yield from _grown(level, size, since)
        level, size, since = level + 1, size // TILE_WIDTH, since // TILE_WIDTH


def _grown(level: int | None, count: int, before: int) -> Iterator[Resource]:
    if count == before:
        return
    for number in range(before // TILE_WIDTH, count // TILE_WIDTH):
        yield Resource(level, number)
    if count % TILE_WIDTH:
        yield Resource(level, count // TILE_WIDTH, count % TILE_WIDTH)


def exists_at(resource: Resource, size: int) -> bool:
    """Whether a tree of ``size`` leaves has the resource, full, or partial with at most the hashes that there are."""
    count = size >> (8 * (resource.level or 0))
    return resource.first + resource.width <= count


def encode_bundle(entries: Sequence[bytes]) -> bytes:
    """Entries, each after its length in two bytes.

    Raises:
        InvalidArgument: ``ENTRY_TOO_LONG``.
    """
    if any(len(entry) > MAX_ENTRY_BYTES for entry in entries):
        raise InvalidArgument("ENTRY_TOO_LONG", f"an entry has at most {MAX_ENTRY_BYTES} bytes", rule="C2SP tlog-tiles")
    return b"".join(len(entry).to_bytes(_LENGTH_SIZE, "big") + entry for entry in entries)


def decode_bundle(data: bytes, width: int) -> list[bytes]:
    """The entries of a bundle of ``width``.

    Raises:
        InvalidArgument: ``BAD_BUNDLE``.
    """
    entries: list[bytes] = []
    at = 0
    while at < len(data) and len(entries) < width:
        start = at + _LENGTH_SIZE
        at = start + int.from_bytes(data[at:start], "big")
        entries.append(data[start:at])
    if at != len(data) or len(entries) != width:
        raise InvalidArgument(
            "BAD_BUNDLE",
            f"not a bundle of {width} entries",
            rule="C2SP tlog-tiles, Log entries",
            remedy="fetch it again; if it stays so, the log's storage is damaged",
        )
    return entries


def split_hashes(data: bytes, width: int) -> list[bytes]:
    """The hashes of a tile of ``width``.

    Raises:
        InvalidArgument: ``BAD_TILE``.
    """
    if len(data) != width * HASH_SIZE:
        raise InvalidArgument(
            "BAD_TILE",
            f"not a tile of {width} hashes",
            rule="C2SP tlog-tiles, Merkle Tree",
            remedy="fetch it again; if it stays so, the log's storage is damaged",
        )
    return [data[at : at + HASH_SIZE] for at in range(0, len(data), HASH_SIZE)]
