"""One list's statuses in memory, two bits a place (draft-ietf-oauth-status-list-20, section 4.1)."""

from __future__ import annotations

from typing import Final

from services.ledger.transitions import Status

#: Bits a status: *suspended* needs the second one.
BITS: Final = 2
_PER_BYTE: Final = 8 // BITS
_MASK: Final = (1 << BITS) - 1


class StatusVector:
    """The statuses of a list's places, valid until set otherwise.

    Args:
        size: places.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._packed = bytearray(-(-size // _PER_BYTE))

    def __getitem__(self, index: int) -> Status:
        byte, shift = self._place(index)
        return Status(self._packed[byte] >> shift & _MASK)

    def __setitem__(self, index: int, status: Status) -> None:
        byte, shift = self._place(index)
        self._packed[byte] = self._packed[byte] & ~(_MASK << shift) | status.value << shift

    def count(self, status: Status) -> int:
        """How many places have a status; not for counting valid ones, of which a list is full."""
        touched = (byte for byte, packed in enumerate(self._packed) if packed)
        places = (byte * _PER_BYTE + place for byte in touched for place in range(_PER_BYTE))
        return sum(self[place] is status for place in places if place < self._size)

    def packed(self) -> bytes:
        """The byte array, the least significant bits first; a copy."""
        return bytes(self._packed)

    def _place(self, index: int) -> tuple[int, int]:
        if not 0 <= index < self._size:
            raise IndexError(index)
        return index // _PER_BYTE, index % _PER_BYTE * BITS
