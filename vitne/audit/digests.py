"""Many digests in little memory: forty bytes each, in whatever order they come, compared a part at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from vitne.merkle.hashing import HASH_SIZE

#: Parts by a digest's first byte. Looking into one makes objects of its digests: some thousand of a million.
_PARTS: Final = 256
_PLACE_SIZE: Final = 8
_ENTRY_SIZE: Final = HASH_SIZE + _PLACE_SIZE


class DigestPile:
    """Digests of 32 bytes, each with a place; may hold one twice."""

    def __init__(self) -> None:
        self._parts = [bytearray() for _ in range(_PARTS)]
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, digest: bytes, place: int) -> None:
        """Add a digest (32 bytes) and where it was."""
        self._parts[digest[0]] += digest + place.to_bytes(_PLACE_SIZE, "big")
        self._count += 1

    def twice(self) -> Iterator[tuple[bytes, int, int]]:
        """Digests that were added more than once: the digest, its first place, and each later one."""
        for part in self._parts:
            first: dict[bytes, int] = {}
            for digest, place in _entries(part):
                if (before := first.setdefault(digest, place)) != place:
                    yield digest, before, place

    def lacks(self, digests: Iterable[bytes]) -> Iterator[bytes]:
        """Those of some digests that were never added."""
        wanted: list[list[bytes]] = [[] for _ in range(_PARTS)]
        for digest in digests:
            wanted[digest[0]].append(digest)
        for part, asked in zip(self._parts, wanted, strict=True):
            if asked:
                held = {digest for digest, _ in _entries(part)}
                yield from (digest for digest in asked if digest not in held)


def _entries(part: bytearray) -> Iterator[tuple[bytes, int]]:
    view = memoryview(part)
    for at in range(0, len(part), _ENTRY_SIZE):
        yield bytes(view[at : at + HASH_SIZE]), int.from_bytes(view[at + HASH_SIZE : at + _ENTRY_SIZE], "big")
