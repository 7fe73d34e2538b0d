"""Keys of the portal, and what it holds of learners sealed under them."""

from __future__ import annotations

import hmac
from hashlib import sha256
from pathlib import Path
from typing import Final

from vitne.identifiers import LearnerId
from vitne.runtime.sealing import Envelope, new_key
from vitne.runtime.secret_files import read_secret

#: Wraps learners' data keys. Lost, nothing can be read; destroyed, everything is erased.
WRAPPING_KEY_FILE: Final = "portal-wrapping.key"
#: Learners are found by a hash under it.
INDEX_KEY_FILE: Final = "portal-index.key"
_DOMAIN: Final = b"vitne/portal/sealed/v1"


class DataKey:
    """One AES-256 key, ready to seal and open what stands in a column of a row. ``repr`` never shows it.

    Raises:
        ValueError: the key does not have 32 bytes.
    """

    __slots__ = ("_envelope",)

    def __init__(self, key: bytes) -> None:
        self._envelope = Envelope(key)

    def seal(self, plain: bytes, *place: str) -> bytes:
        """``plain``, encrypted for exactly this place: table, row, column."""
        return self._envelope.seal(plain, _associated(place))

    def open(self, sealed: bytes, *place: str) -> bytes:
        """The inverse of :meth:`seal`.

        Raises:
            DataLoss: ``SEAL_BROKEN`` when the value was changed, moved, or sealed under another key.
        """
        # The row is left out: what it is called may be a learner's pseudonym.
        return self._envelope.open(sealed, _associated(place), told=f"a value of {place[0]}.{place[-1]}")

    def __repr__(self) -> str:
        return "DataKey(<withheld>)"


class PortalKeys:
    """The portal's two keys.

    Args:
        wrapping: wraps learners' data keys.
        index: see :meth:`lookup`.
    """

    def __init__(self, wrapping: bytes, index: bytes) -> None:
        self._wrapping = DataKey(wrapping)
        self._index = index

    @classmethod
    def load(cls, folder: Path, *, create: bool) -> PortalKeys:
        """Read the keys from a folder.

        Args:
            folder: the portal's state folder.
            create: make keys that are missing. All replicas need the same ones, so production is given them.

        Raises:
            FailedPrecondition: ``SECRET_MISSING``, ``SECRET_EXPOSED``, ``SECRET_MALFORMED``.
        """
        return cls(*(read_secret(folder, name, create=create) for name in (WRAPPING_KEY_FILE, INDEX_KEY_FILE)))

    def lookup(self, learner: LearnerId) -> bytes:
        """What a learner's row is found by: nobody without the index key can compute it."""
        message = b"\x00".join((b"vitne/portal/learner/v1", learner.scheme.encode(), learner.value.encode()))
        return hmac.digest(self._index, message, sha256)

    def blinded(self, use: str, subject: bytes) -> bytes:
        """What stands in a table for ``subject``: the same each time within one use, and nobody can tell whose."""
        return hmac.digest(self._index, b"\x00".join((b"vitne/portal/blinded/v1", use.encode(), subject)), sha256)

    def new_data_key(self, pseudonym: str) -> bytes:
        """A fresh data key for a learner, wrapped for her row."""
        return self._wrapping.seal(new_key(), "subscriber", pseudonym, "wrapped_key")

    def data_key(self, wrapped: bytes, pseudonym: str) -> DataKey:
        """The learner's data key.

        Raises:
            DataLoss: ``SEAL_BROKEN``.
        """
        return DataKey(self._wrapping.open(wrapped, "subscriber", pseudonym, "wrapped_key"))

    def seal_for(self, plain: bytes, table: str, lookup: bytes) -> bytes:
        """``plain``, for the column ``content`` of a learner's row in a table that her data key does not reach."""
        return self._wrapping.seal(plain, table, lookup.hex(), "content")

    def open_for(self, sealed: bytes, table: str, lookup: bytes) -> bytes:
        """The inverse of :meth:`seal_for`.

        Raises:
            DataLoss: ``SEAL_BROKEN``.
        """
        return self._wrapping.open(sealed, table, lookup.hex(), "content")

    def __repr__(self) -> str:
        return "PortalKeys(<withheld>)"


def _associated(place: tuple[str, ...]) -> bytes:
    return b"\x00".join((_DOMAIN, *(part.encode() for part in place)))
