"""Signed notes and checkpoints (C2SP signed-note and tlog-checkpoint), with Ed25519.

A note is text under one or more signature lines; a checkpoint is a note whose
text is a log's origin, its size and its root. The text of a note means nothing
until a trusted key's signature on it has been verified, so the only way to it
here is :func:`open_note`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import ClassVar, Final, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from vitne.canonical import sha256
from vitne.errors import InvalidArgument
from vitne.merkle.hashing import HASH_SIZE
from vitne.merkle.lines import from_base64, from_decimal, to_base64

#: Signature type identifier byte of Ed25519 (signed-note, "Signature types").
ED25519: Final = b"\x01"
#: Longest note that is read: sixteen signatures, even post-quantum ones, fit (signed-note asks for that much).
MAX_NOTE_BYTES: Final = 128 * 1024
#: Most signature lines that are read; signed-note asks for at least 16.
MAX_SIGNATURES: Final = 64
#: Bytes of a key id before each signature.
KEY_ID_SIZE: Final = 4
#: Reason of :func:`open_note`: nobody signed whom the caller trusts.
NOTE_UNTRUSTED: Final = "NOTE_UNTRUSTED"

_SIGNATURE_SIZE: Final = 64
_SIGNATURE_START: Final = "— "
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")
_VERIFIER_KEY = re.compile(r"([^+]+)\+([0-9a-f]{8})\+([A-Za-z0-9+/]+={0,2})\Z")


@dataclass(frozen=True, slots=True)
class NamedKey:
    """An Ed25519 key by its name, for one type of signatures.

    Attributes:
        name: not empty, without Unicode spaces and plus signs.
        public_key: 32 bytes (RFC 8032).
    """

    #: Signature type identifier byte.
    signature_type: ClassVar[bytes]

    name: str
    public_key: bytes

    def __post_init__(self) -> None:
        if not self.name or "+" in self.name or any(c.isspace() or c < " " for c in self.name):
            raise _bad_key("its name is empty or holds a space, plus or control character")
        if len(self.public_key) != 32:
            raise _bad_key("an Ed25519 public key has 32 bytes")

    @property
    def key_id(self) -> bytes:
        """SHA-256(name ‖ 0x0A ‖ signature type ‖ public key), its first four bytes."""
        return sha256(self.name.encode() + b"\n" + self.signature_type + self.public_key)[:KEY_ID_SIZE]

    @property
    def text(self) -> str:
        """The verifier key (vkey): ``<name>+<key id in hex>+<base64 of signature type ‖ public key>``."""
        return f"{self.name}+{self.key_id.hex()}+{to_base64(self.signature_type + self.public_key)}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a verifier key.

        Raises:
            InvalidArgument: ``BAD_NOTE_KEY`` unless it is an Ed25519 key of this type with the right key id.
        """
        match = _VERIFIER_KEY.match(text)
        if match is None:
            raise _bad_key("it is not <name>+<key id>+<key>")
        material = from_base64(match[3], _bad_key)
        if material[:1] != cls.signature_type:
            raise _bad_key(f"its signature type is not {cls.signature_type.hex()}, of Ed25519")
        key = cls(match[1], material[1:])
        if key.key_id.hex() != match[2]:
            raise _bad_key("its key id is not that of its name and key")
        return key


@dataclass(frozen=True, slots=True)
class NoteKey(NamedKey):
    """A trusted key: what verifies a note's signatures; a log's has the log's origin for its name."""

    signature_type: ClassVar[bytes] = ED25519


@dataclass(frozen=True, slots=True)
class NoteSigner:
    """What signs notes: a key and the function that makes its Ed25519 signatures (64 bytes)."""

    key: NoteKey
    sign: Callable[[bytes], bytes]


@dataclass(frozen=True, slots=True)
class OpenedNote:
    """A note with at least one signature of a trusted key, verified."""

    text: str
    signers: tuple[NoteKey, ...]


def sign_note(text: str, signers: Iterable[NoteSigner]) -> str:
    """The signed note over ``text``, which ends in a newline.

    Raises:
        InvalidArgument: ``BAD_NOTE`` when the text or the signers can't make one.
    """
    if not text.endswith("\n") or _CONTROL.search(text):
        raise _bad_note("the text has to end in a newline and hold no other control character")
    lines = []
    for signer in signers:
        signature = signer.sign(text.encode())
        if len(signature) != _SIGNATURE_SIZE:
            raise _bad_note("an Ed25519 signature has 64 bytes")
        lines.append(signature_line(signer.key, signature))
    if not lines:
        raise _bad_note("nobody signs it")
    return f"{text}\n{''.join(lines)}"


def signature_line(key: NamedKey, signature: bytes) -> str:
    """A note's signature line, with its newline."""
    return f"{_SIGNATURE_START}{key.name} {to_base64(key.key_id + signature)}\n"


def open_note(note: str | bytes, keys: Iterable[NoteKey]) -> OpenedNote:
    """Verify a signed note by trusted keys and answer its text.

    Signatures of other keys are ignored, as the specification demands; one by a
    trusted key that fails makes the whole note fail, and so does the lack of any.

    Raises:
        InvalidArgument: ``BAD_NOTE`` (not a signed note), ``BAD_NOTE_SIGNATURE`` (a trusted
            key's signature does not verify), ``NOTE_UNTRUSTED`` (no trusted key signed).
    """
    text, signatures = split_note(note)
    trusted = {(key.name, key.key_id): key for key in keys}
    message = text.encode()
    signers: dict[tuple[str, bytes], NoteKey] = {}
    for name, blob in signatures:
        key = trusted.get((name, blob[:KEY_ID_SIZE]))
        if key is None:
            continue
        try:
            Ed25519PublicKey.from_public_bytes(key.public_key).verify(blob[KEY_ID_SIZE:], message)
        except (InvalidSignature, ValueError) as error:
            raise InvalidArgument(
                "BAD_NOTE_SIGNATURE",
                f"the signature of {name} does not verify",
                rule="signed-note: a trusted key's signature verifies",
                remedy="fetch the note again, over another way if it fails again",
            ) from error
        signers[name, key.key_id] = key
    if not signers:
        raise InvalidArgument(
            NOTE_UNTRUSTED,
            "no trusted key signed the note",
            rule="signed-note: at least one known key's signature verifies",
            remedy="check the configured keys and whether the note comes from the right log",
        )
    return OpenedNote(text, tuple(signers.values()))


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A log's state: its origin, its size in leaves, its root (32 bytes)."""

    origin: str
    size: int
    root: bytes

    def text(self) -> str:
        """The note text (tlog-checkpoint, "Note text")."""
        if not self.origin or _CONTROL.search(self.origin) or "\n" in self.origin:
            raise _bad_checkpoint("its origin is empty or holds a control character")
        if self.size < 0 or len(self.root) != HASH_SIZE:
            raise _bad_checkpoint("its size is negative or its root has not got 32 bytes")
        return f"{self.origin}\n{self.size}\n{to_base64(self.root)}\n"

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """Read a checkpoint's note text; extension lines are allowed and ignored (nobody can audit them).

        Raises:
            InvalidArgument: ``BAD_CHECKPOINT``.
        """
        lines = text.split("\n")
        if len(lines) < 4 or lines.pop() != "" or not all(lines):
            raise _bad_checkpoint("it is not three or more non-empty lines, each ended by a newline")
        origin, size, root = lines[:3]
        checkpoint = cls(origin, from_decimal(size, _bad_checkpoint), from_base64(root, _bad_checkpoint))
        if len(checkpoint.root) != HASH_SIZE:
            raise _bad_checkpoint("its root has not got 32 bytes")
        return checkpoint


def sign_checkpoint(checkpoint: Checkpoint, *signers: NoteSigner) -> str:
    """The signed note of a checkpoint. The keys' name has to be the origin."""
    if any(signer.key.name != checkpoint.origin for signer in signers):
        raise _bad_checkpoint("the signing key's name is not the origin")
    return sign_note(checkpoint.text(), signers)


def open_checkpoint(note: str | bytes, key: NoteKey) -> Checkpoint:
    """Verify a signed checkpoint by the log's key, whose name is the log's origin.

    Raises:
        InvalidArgument: as :func:`open_note`; ``BAD_CHECKPOINT`` where the text is none or of another origin.
    """
    checkpoint = Checkpoint.parse(open_note(note, [key]).text)
    if checkpoint.origin != key.name:
        raise _bad_checkpoint("it is of another origin than the key's")
    return checkpoint


def keep_signatures(note: str, keys: Iterable[NamedKey]) -> str:
    """A note with the signature lines of some keys alone; that they verify is the caller's to know.

    Raises:
        InvalidArgument: ``BAD_NOTE``.
    """
    text, signatures = split_note(note)
    wanted = {(key.name, key.key_id): key for key in keys}
    lines = [
        signature_line(key, blob[KEY_ID_SIZE:])
        for name, blob in signatures
        if (key := wanted.get((name, blob[:KEY_ID_SIZE]))) is not None
    ]
    return f"{text}\n{''.join(lines)}"


def split_note(note: str | bytes) -> tuple[str, list[tuple[str, bytes]]]:
    """A note's text, which nobody has verified yet, and (key name, key id ‖ signature) of each signature line.

    Raises:
        InvalidArgument: ``BAD_NOTE``.
    """
    try:
        content = note.decode() if isinstance(note, bytes) else note
        size = len(content.encode())
    except UnicodeError as error:
        raise _bad_note("it is not UTF-8") from error
    if size > MAX_NOTE_BYTES:
        raise _bad_note(f"it is longer than {MAX_NOTE_BYTES} bytes")
    if _CONTROL.search(content):
        raise _bad_note("it holds a control character other than newline")
    # The last empty line parts text and signatures: the text itself may hold empty lines.
    at = content.rfind("\n\n")
    if at < 0 or not content.endswith("\n"):
        raise _bad_note("it has no text, blank line and signature lines")
    text, block = content[: at + 1], content[at + 2 :]
    lines = block.split("\n")[:-1]
    if not 1 <= len(lines) <= MAX_SIGNATURES:
        raise _bad_note(f"it has to have between 1 and {MAX_SIGNATURES} signatures")
    signatures = []
    for line in lines:
        name, space, encoded = line.removeprefix(_SIGNATURE_START).rpartition(" ")
        if not line.startswith(_SIGNATURE_START) or not space or not name or "+" in name:
            raise _bad_note("a signature line is not '— <key name> <base64>'")
        if any(c.isspace() for c in name):
            raise _bad_note("a key name holds a space")
        blob = from_base64(encoded, _bad_note)
        if len(blob) <= KEY_ID_SIZE:
            raise _bad_note("a signature is shorter than a key id")
        signatures.append((name, blob))
    return text, signatures


def _bad_note(why: str) -> InvalidArgument:
    return InvalidArgument(
        "BAD_NOTE",
        f"not a signed note: {why}",
        rule="C2SP signed-note, Format",
        remedy="fetch the note again, unchanged",
    )


def _bad_key(why: str) -> InvalidArgument:
    return InvalidArgument(
        "BAD_NOTE_KEY",
        f"not a note's Ed25519 key: {why}",
        rule="C2SP signed-note, Verifier keys",
        remedy="copy the verifier key, a log's or a witness's, as its operator publishes it (name+key id+key)",
    )


def _bad_checkpoint(why: str) -> InvalidArgument:
    return InvalidArgument(
        "BAD_CHECKPOINT",
        f"not a checkpoint: {why}",
        rule="C2SP tlog-checkpoint, Note text",
        remedy="fetch the checkpoint of the right log again",
    )
