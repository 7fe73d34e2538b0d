"""The envelope around everything that says something of a learner: AES-256-GCM, bound to its place.

A sealed value is ``0x01 ‖ nonce (12) ‖ ciphertext ‖ tag (16)``. Whoever seals says as associated data where the
value belongs, so that one that was moved to another row or column does not open: who can write to the database
can't show one learner's credential as another's.
"""

from __future__ import annotations

import secrets
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from vitne.errors import DataLoss

#: Length of keys: AES-256.
KEY_BYTES: Final = 32
_VERSION: Final = b"\x01"
_NONCE_BYTES: Final = 12  # NIST SP 800-38D, section 8.2: 96 bits
_TAG_BYTES: Final = 16
_HEAD: Final = len(_VERSION) + _NONCE_BYTES


class Envelope:
    """One AES-256 key, ready to seal and open. ``repr`` never shows it.

    Nonces are random: NIST SP 800-38D, section 8.3, allows 2^32 values under one key, and a learner has a few dozen.

    Raises:
        ValueError: the key does not have 32 bytes.
    """

    __slots__ = ("_cipher",)

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError(f"a sealing key has {KEY_BYTES} bytes")
        self._cipher = AESGCM(key)

    def seal(self, plain: bytes, place: bytes) -> bytes:
        """``plain``, encrypted for exactly this place."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return _VERSION + nonce + self._cipher.encrypt(nonce, plain, place)

    def open(self, sealed: bytes, place: bytes, *, told: str) -> bytes:
        """The inverse of :meth:`seal`.

        Args:
            sealed: what stands there.
            place: where it stands, as it was sealed for.
            told: the place in words, for whoever has to look at it; nothing of what is sealed.

        Raises:
            DataLoss: ``SEAL_BROKEN`` when the value was changed, moved, or sealed under another key.
        """
        if not sealed.startswith(_VERSION) or len(sealed) < _HEAD + _TAG_BYTES:
            raise _broken(told)
        try:
            return self._cipher.decrypt(sealed[len(_VERSION) : _HEAD], sealed[_HEAD:], place)
        except InvalidTag as error:
            raise _broken(told) from error

    def __repr__(self) -> str:
        return "Envelope(<withheld>)"


def new_key() -> bytes:
    """A fresh AES-256 key."""
    return secrets.token_bytes(KEY_BYTES)


def _broken(told: str) -> DataLoss:
    return DataLoss(
        "SEAL_BROKEN",
        f"{told} does not open",
        rule="AES-256-GCM with table, column and row as associated data",
        remedy="an operator must find out who changed the row or replaced the key; restore it from a backup",
    )
