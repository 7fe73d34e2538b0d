"""The issuer's keys: what it says of learners is sealed, and found by keyed hashes."""

from __future__ import annotations

import hmac
from hashlib import sha256
from typing import Final
from uuid import UUID

from vitne.credentials.pseudonyms import learner_index
from vitne.identifiers import LearnerId
from vitne.runtime.sealing import Envelope
from vitne.runtime.secret_files import SECRET_BYTES

#: File of the key that wraps learners' data keys; losing it loses every learner's data.
WRAPPING_KEY: Final = "learner-wrapping.key"
#: File of the key of the hashes that learners and requests are found by.
INDEX_KEY: Final = "index.key"
_DOMAIN: Final = b"vitne/sealed/v1\x00"
_HASHING: Final = b"vitne/hashing/v1"


class DataKey:
    """One AES-256 key, ready to seal and open what stands in a column of a row. ``repr`` never shows it.

    Keyed hashes are made with a key derived from it.

    Raises:
        ValueError: the key does not have 32 bytes.
    """

    __slots__ = ("_envelope", "_hashing")

    def __init__(self, key: bytes) -> None:
        self._envelope = Envelope(key)
        self._hashing = hmac.digest(key, _HASHING, sha256)

    def seal(self, plain: bytes, table: str, row: UUID, column: str) -> bytes:
        """``plain``, encrypted for exactly this place."""
        return self._envelope.seal(plain, _place(table, row, column))

    def open(self, sealed: bytes, table: str, row: UUID, column: str) -> bytes:
        """The inverse of :meth:`seal`.

        Raises:
            DataLoss: ``SEAL_BROKEN`` when the value was changed, moved, or sealed under another key.
        """
        return self._envelope.open(sealed, _place(table, row, column), told=f"{table}.{column} of {row}")

    def digest(self, purpose: str, data: bytes) -> bytes:
        """A keyed hash (32 bytes) that nobody can test a guess against once the key is destroyed."""
        return hmac.digest(self._hashing, f"vitne/{purpose}/v1\x00".encode() + data, sha256)

    def __repr__(self) -> str:
        return "DataKey(<withheld>)"


def _place(table: str, row: UUID, column: str) -> bytes:
    return _DOMAIN + table.encode() + b"\x00" + column.encode() + b"\x00" + row.bytes


class IndexKey:
    """The key of the keyed hashes by which rows are found without holding what they are found by."""

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        if len(key) != SECRET_BYTES:
            raise ValueError(f"the index key has {SECRET_BYTES} bytes")
        self._key = key

    def learner(self, learner: LearnerId) -> bytes:
        """``HMAC(index key, scheme ‖ 0x00 ‖ value)`` (RECORDS: Pseudonyms and handles)."""
        return learner_index(self._key, learner)

    def digest(self, purpose: str, data: bytes) -> bytes:
        """A keyed hash for another purpose; a purpose never is a learner's scheme, so the two can't meet."""
        return hmac.digest(self._key, f"vitne/{purpose}/v1\x00".encode() + data, sha256)

    def __repr__(self) -> str:
        return "IndexKey(<withheld>)"
