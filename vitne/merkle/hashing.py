"""The hashes of RFC 6962, section 2.1, over SHA-256."""

from __future__ import annotations

import hashlib
from typing import Final

#: Bytes in every hash of the tree.
HASH_SIZE: Final = 32
#: Root of the tree without leaves: the hash of nothing.
EMPTY_ROOT: Final = hashlib.sha256(b"").digest()

# The prefixes keep a leaf from being passed off as an inner node, and the reverse.
_LEAF_PREFIX: Final = b"\x00"
_NODE_PREFIX: Final = b"\x01"


def leaf_hash(record: bytes) -> bytes:
    """The hash of a leaf: SHA-256(0x00 ‖ record), 32 bytes."""
    return hashlib.sha256(_LEAF_PREFIX + record).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node: SHA-256(0x01 ‖ left ‖ right), 32 bytes."""
    return hashlib.sha256(_NODE_PREFIX + left + right).digest()
