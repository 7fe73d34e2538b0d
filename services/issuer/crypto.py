"""The envelope around everything that says something of a learner: AES-256-GCM, bound to its place.

A sealed value is ``0x01 ‖ nonce (12) ‖ ciphertext ‖ tag (16)``. The associated
data names table, row and column, so that a value moved to another row or column
does not open: who can write to the database can't show one learner's
credential as another's.
"""

from __future__ import annotations

import hmac
import secrets
from hashlib import sha256
from typing import Final
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from vitne.credentials.pseudonyms import learner_index
from vitne.errors import DataLoss
from vitne.identifiers import LearnerId

#: Length of data keys and of the key-encryption key: AES-256.
KEY_BYTES: Final = 32
_VERSION: Final = b"\x01"
_NONCE_BYTES: Final = 12  # NIST SP 800-38D, section 8.2: 96 bits
_TAG_BYTES: Final = 16
_DOMAIN: Final = b"vitne/sealed/v1\x00"
_HASHING: Final = b"vitne/hashing/v1"


class DataKey:
    """One AES-256 key, ready to seal and open. ``repr`` never shows it.

    Nonces are random: NIST SP 800-38D, section 8.3, allows 2^32 values under one
    key, and a learner has a few dozen. Keyed hashes are made with a key derived from it.
    """

    __slots__ = ("_cipher", "_hashing")

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError(f"a data key has {KEY_BYTES} bytes")
        self._cipher = AESGCM(key)
        self._hashing = hmac.digest(key, _HASHING, sha256)

    def seal(self, plain: bytes, table: str, row: UUID, column: str) -> bytes:
        """``plain``, encrypted for exactly this place."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return _VERSION + nonce + self._cipher.encrypt(nonce, plain, _place(table, row, column))

    def open(self, sealed: bytes, table: str, row: UUID, column: str) -> bytes:
        """The inverse of :meth:`seal`.

        Raises:
            DataLoss: ``SEAL_BROKEN`` when the value was changed, moved, or sealed under another key.
        """
        if not sealed.startswith(_VERSION) or len(sealed) < len(_VERSION) + _NONCE_BYTES + _TAG_BYTES:
            raise _broken(table, row, column)
        nonce, rest = sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
        try:
            return self._cipher.decrypt(nonce, rest, _place(table, row, column))
        except InvalidTag as error:
            raise _broken(table, row, column) from error

    def digest(self, purpose: str, data: bytes) -> bytes:
        """A keyed hash (32 bytes) that nobody can test a guess against once the key is destroyed."""
        return hmac.digest(self._hashing, f"vitne/{purpose}/v1\x00".encode() + data, sha256)

    def __repr__(self) -> str:
        return "DataKey(<withheld>)"


def new_key() -> bytes:
    """A fresh AES-256 key."""
    return secrets.token_bytes(KEY_BYTES)


def _place(table: str, row: UUID, column: str) -> bytes:
    return _DOMAIN + table.encode() + b"\x00" + column.encode() + b"\x00" + row.bytes


def _broken(table: str, row: UUID, column: str) -> DataLoss:
    return DataLoss(
        "SEAL_BROKEN",
        f"{table}.{column} of {row} does not open",
        rule="AES-256-GCM with table, column and row as associated data",
        remedy="an operator must find out who changed the row; restore it from a backup",
    )


class IndexKey:
    """The key of the keyed hashes by which rows are found without holding what they are found by."""

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError(f"the index key has {KEY_BYTES} bytes")
        self._key = key

    def learner(self, learner: LearnerId) -> bytes:
        """``HMAC(index key, scheme ‖ 0x00 ‖ value)`` (RECORDS: Pseudonyms and handles)."""
        return learner_index(self._key, learner)

    def digest(self, purpose: str, data: bytes) -> bytes:
        """A keyed hash for another purpose; a purpose never is a learner's scheme, so the two can't meet."""
        return hmac.digest(self._key, f"vitne/{purpose}/v1\x00".encode() + data, sha256)

    def __repr__(self) -> str:
        return "IndexKey(<withheld>)"
