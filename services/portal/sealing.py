"""Keys of the portal, and the envelope around what it holds of learners: AES-256-GCM, bound to its place.

A sealed value is ``0x01 ‖ nonce (12) ‖ ciphertext ‖ tag (16)``; table, row and
column are its associated data, so that a value moved elsewhere does not open.
"""

from __future__ import annotations

import hmac
import os
import secrets
from hashlib import sha256
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from vitne.errors import DataLoss, FailedPrecondition
from vitne.identifiers import LearnerId

#: Bytes of every key: AES-256, HMAC-SHA-256.
KEY_BYTES: Final = 32
#: Wraps learners' data keys. Lost, nothing can be read; destroyed, everything is erased.
WRAPPING_KEY_FILE: Final = "portal-wrapping.key"
#: Learners are found by a hash under it.
INDEX_KEY_FILE: Final = "portal-index.key"

_VERSION: Final = b"\x01"
_NONCE_BYTES: Final = 12  # NIST SP 800-38D, section 8.2: 96 bits
_TAG_BYTES: Final = 16
_DOMAIN: Final = b"vitne/portal/sealed/v1"


class DataKey:
    """One AES-256 key. ``repr`` never shows it.

    Nonces are random: NIST SP 800-38D, section 8.3, allows 2^32 values under one key.
    """

    __slots__ = ("_cipher",)

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError(f"a data key has {KEY_BYTES} bytes")
        self._cipher = AESGCM(key)

    def seal(self, plain: bytes, *place: str) -> bytes:
        """``plain``, encrypted for exactly this place: table, row, column."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return _VERSION + nonce + self._cipher.encrypt(nonce, plain, _associated(place))

    def open(self, sealed: bytes, *place: str) -> bytes:
        """The inverse of :meth:`seal`.

        Raises:
            DataLoss: ``SEAL_BROKEN`` when the value was changed, moved, or sealed under another key.
        """
        try:
            if sealed[:1] != _VERSION or len(sealed) < 1 + _NONCE_BYTES + _TAG_BYTES:
                raise InvalidTag
            return self._cipher.decrypt(sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :], _associated(place))
        except InvalidTag:
            raise DataLoss(
                "SEAL_BROKEN",
                f"a value of {place[0]}.{place[-1]} does not open",
                rule="AES-256-GCM with table, row and column as associated data",
                remedy="an operator must find out who changed the row, or whether the key was replaced",
            ) from None

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
            FailedPrecondition: ``KEY_MISSING``.
            DataLoss: ``KEY_UNREADABLE``.
        """
        return cls(*(_read_key(folder / name, create=create) for name in (WRAPPING_KEY_FILE, INDEX_KEY_FILE)))

    def lookup(self, learner: LearnerId) -> bytes:
        """What a learner's row is found by: nobody without the index key can compute it."""
        message = b"\x00".join((b"vitne/portal/learner/v1", learner.scheme.encode(), learner.value.encode()))
        return hmac.digest(self._index, message, sha256)

    def new_data_key(self, pseudonym: str) -> bytes:
        """A fresh data key for a learner, wrapped for her row."""
        return self._wrapping.seal(secrets.token_bytes(KEY_BYTES), "subscriber", pseudonym, "wrapped_key")

    def data_key(self, wrapped: bytes, pseudonym: str) -> DataKey:
        """The learner's data key.

        Raises:
            DataLoss: ``SEAL_BROKEN``.
        """
        return DataKey(self._wrapping.open(wrapped, "subscriber", pseudonym, "wrapped_key"))

    def __repr__(self) -> str:
        return "PortalKeys(<withheld>)"


def _associated(place: tuple[str, ...]) -> bytes:
    return b"\x00".join((_DOMAIN, *(part.encode() for part in place)))


def _read_key(path: Path, *, create: bool) -> bytes:
    if create and not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(secrets.token_bytes(KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)  # unlike a rename, leaves the file of a process that was faster
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    try:
        key = path.read_bytes()
    except FileNotFoundError:
        raise FailedPrecondition(
            "KEY_MISSING", f"{path.name} is not in the state folder", remedy="provide 32 random bytes in that file"
        ) from None
    if len(key) != KEY_BYTES:
        raise DataLoss("KEY_UNREADABLE", f"{path.name} does not hold {KEY_BYTES} bytes", remedy="restore the file")
    return key
