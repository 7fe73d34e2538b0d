"""Cosignatures of checkpoints (C2SP tlog-cosignature, Ed25519): what a witness saw, and when."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import ClassVar, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from vitne.errors import InvalidArgument
from vitne.merkle.notes import KEY_ID_SIZE, NamedKey, signature_line, split_note

#: Signature type identifier byte of timestamped Ed25519 cosignatures.
COSIGNATURE: Final = b"\x04"

_TIMESTAMP_SIZE: Final = 8
_SIGNATURE_SIZE: Final = 64
#: Seconds at the end of the year 9999: later ones are no time that can be told.
_LAST_SECOND: Final = 253_402_300_799


@dataclass(frozen=True, slots=True)
class CosignerKey(NamedKey):
    """A witness's key. It differs from every other witness's: what is signed does not say the name."""

    signature_type: ClassVar[bytes] = COSIGNATURE


@dataclass(frozen=True, slots=True)
class Cosigner:
    """What cosigns: a key and the function that makes its Ed25519 signatures (64 bytes)."""

    key: CosignerKey
    sign: Callable[[bytes], bytes]


def cosign(text: str, cosigner: Cosigner, at: datetime) -> str:
    """The signature line over a checkpoint's note text: that it was the largest consistent one seen at ``at``."""
    seconds = int(at.timestamp())
    signature = cosigner.sign(_message(text, seconds))
    return signature_line(cosigner.key, seconds.to_bytes(_TIMESTAMP_SIZE, "big") + signature)


def cosignatures(note: str | bytes, keys: Iterable[CosignerKey]) -> dict[CosignerKey, datetime]:
    """Which of the witnesses cosigned a checkpoint, and when each first says to have; unknown ones are ignored.

    Raises:
        InvalidArgument: ``BAD_NOTE``; ``BAD_COSIGNATURE`` where one of a known witness does not verify.
    """
    text, signatures = split_note(note)
    known = {(key.name, key.key_id): key for key in keys}
    found: dict[CosignerKey, datetime] = {}
    for name, blob in signatures:
        key = known.get((name, blob[:KEY_ID_SIZE]))
        if key is None:
            continue
        at = _verify(key, text, blob[KEY_ID_SIZE:])
        found[key] = min(at, found.get(key, at))
    return found


def _verify(key: CosignerKey, text: str, signature: bytes) -> datetime:
    seconds = int.from_bytes(signature[:_TIMESTAMP_SIZE], "big")
    # The spec has no cosignature of no time at all (tlog-cosignature: the timestamp must not be zero).
    if len(signature) != _TIMESTAMP_SIZE + _SIGNATURE_SIZE or not 0 < seconds <= _LAST_SECOND:
        raise _bad_cosignature(key.name)
    try:
        Ed25519PublicKey.from_public_bytes(key.public_key).verify(signature[_TIMESTAMP_SIZE:], _message(text, seconds))
    except (InvalidSignature, ValueError) as error:
        raise _bad_cosignature(key.name) from error
    return datetime.fromtimestamp(seconds, UTC)


def _message(text: str, seconds: int) -> bytes:
    return f"cosignature/v1\ntime {seconds}\n{text}".encode()


def _bad_cosignature(name: str) -> InvalidArgument:
    return InvalidArgument(
        "BAD_COSIGNATURE",
        f"the cosignature of {name} does not verify",
        rule="C2SP tlog-cosignature, Ed25519 signed message",
        remedy="fetch the checkpoint again; if it stays so, tell the log's operator and the witness's",
    )
