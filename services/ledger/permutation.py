"""The order in which a list's indexes are given out: a keyed shuffle.

A counter says how many places of a list are leased; the shuffle says which.
Two leases so never collide and none needs a lookup or a decoy, while an index
tells nobody without the key how many were issued before it, or which came next
(draft-ietf-oauth-status-list-20, section 12.5.1, recommends random indexes for that).
"""

from __future__ import annotations

import hmac
from array import array
from hashlib import sha256
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

#: Bytes in a key.
KEY_SIZE: Final = 32

_KEY_DOMAIN: Final = b"vitne/status-index-order/v1\x00"
_CHECK_DOMAIN: Final = b"vitne/status-index-order-check/v1\x00"


def derive_key(secret: bytes, list_url: str) -> bytes:
    """The key of one list, from the ledger's secret: 32 bytes."""
    return hmac.digest(secret, _KEY_DOMAIN + list_url.encode(), sha256)


def key_check(key: bytes) -> bytes:
    """What is stored beside a list to notice another key (32 bytes); it gives nothing of the key away."""
    return hmac.digest(key, _CHECK_DOMAIN, sha256)


class Permutation:
    """A bijection of ``range(size)`` onto itself that only the key's holder can tell from chance.

    Places are sorted by 64 bits each of an AES-256-CTR keystream. Keystreams of
    distinct keys are independent; a tie, whose odds at 131,072 places are 2^-31,
    is broken by place, so that the result is a permutation whatever happens.
    Takes some 60 ms and 8 bytes a place to set up for a list of 131,072.

    Args:
        key: 32 bytes, of this list only.
        size: how many places; at least 1.
    """

    def __init__(self, key: bytes, size: int) -> None:
        if len(key) != KEY_SIZE or size < 1:
            raise ValueError("a permutation takes a key of 32 bytes and at least one place")
        stream = Cipher(algorithms.AES256(key), modes.CTR(bytes(16))).encryptor()
        weights = memoryview(stream.update(bytes(8 * size))).cast("Q")
        self._indexes = array("L", sorted(range(size), key=weights.__getitem__))
        self._positions = array("L", bytes(self._indexes.itemsize * size))
        for position, index in enumerate(self._indexes):
            self._positions[index] = position

    def indexes(self, first: int, count: int) -> list[int]:
        """The indexes at positions ``first`` to before ``first + count``, in the order of their positions."""
        if first < 0 or count < 0 or first + count > len(self._indexes):
            raise ValueError("positions outside the list")
        return self._indexes[first : first + count].tolist()

    def position(self, index: int) -> int:
        """The position at which an index is given out: the inverse of :meth:`indexes`."""
        if not 0 <= index < len(self._positions):
            raise ValueError("an index outside the list")
        return self._positions[index]
