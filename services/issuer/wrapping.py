"""The key-encryption key: what keys lie under in the store of learners' keys."""

from __future__ import annotations

from uuid import UUID

from services.issuer.crypto import DataKey
from vitne.canonical import b64url, sha256
from vitne.errors import DataLoss

_NAME_LENGTH = 16


class WrappingKey:
    """Wraps data keys for their places, and opens those that it wrapped.

    Args:
        key: 32 bytes.
    """

    def __init__(self, key: bytes) -> None:
        self._key = DataKey(key)
        #: By which rows name it, so that keys can be wrapped anew one by one after a rotation.
        self.name = b64url(sha256(b"vitne/key-name/v1\x00" + key))[:_NAME_LENGTH]

    def wrap(self, key: bytes, table: str, row: UUID) -> bytes:
        """``key`` for the column ``wrapped`` of exactly this row."""
        return self._key.seal(key, table, row, "wrapped")

    def unwrap(self, wrapped: bytes, wrapped_by: str, table: str, row: UUID) -> DataKey:
        """The inverse of :meth:`wrap`.

        Raises:
            DataLoss: ``WRAPPING_KEY_UNKNOWN`` for a key that another key-encryption key
                wrapped, ``SEAL_BROKEN`` for one that was tampered with.
        """
        if wrapped_by != self.name:
            raise DataLoss(
                "WRAPPING_KEY_UNKNOWN",
                f"the key of {table} {row} is wrapped by {wrapped_by}, which is not at hand",
                remedy="start the issuer with the key-encryption key that wrapped it",
            )
        return DataKey(self._key.open(wrapped, table, row, "wrapped"))
