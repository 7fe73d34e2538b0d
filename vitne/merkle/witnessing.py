"""A witness's protocol (C2SP tlog-witness, ``add-checkpoint``): its texts, and what is cosigned, without any I/O."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from vitne.errors import Aborted, InvalidArgument, NotFound, PermissionDenied
from vitne.merkle.cosignatures import CosignerKey, cosignatures
from vitne.merkle.hashing import EMPTY_ROOT, HASH_SIZE
from vitne.merkle.lines import from_base64, from_decimal, to_base64
from vitne.merkle.notes import MAX_NOTE_BYTES, Checkpoint, NoteKey, open_checkpoint, split_note
from vitne.merkle.proofs import verify_consistency

#: Most lines of a proof of consistency.
MAX_PATH: Final = 63
#: Largest request: a note, and a path of some three kilobytes.
MAX_REQUEST_BYTES: Final = MAX_NOTE_BYTES + 4096
#: Media type of the answer that tells the size to begin from.
SIZE_MEDIA_TYPE: Final = "text/x.tlog.size"
#: Names the conflict's size in the error's metadata.
SIZE: Final = "size"


class Inconsistent(InvalidArgument):
    """What the log says does not follow from what it said before (HTTP 422)."""


@dataclass(frozen=True, slots=True)
class AddCheckpoint:
    """A request for a cosignature.

    Attributes:
        old_size: the last one that the client knows the witness to have cosigned.
        path: proof of consistency from there, 32 bytes each.
        note: the signed checkpoint.
    """

    old_size: int
    path: tuple[bytes, ...]
    note: str

    def text(self) -> str:
        """The request's body."""
        return f"old {self.old_size}\n" + "".join(f"{to_base64(value)}\n" for value in self.path) + f"\n{self.note}"

    @classmethod
    def parse(cls, body: bytes) -> AddCheckpoint:
        """Read a request's body.

        Raises:
            InvalidArgument: ``BAD_WITNESS_REQUEST``.
        """
        try:
            head, blank, note = body.decode().partition("\n\n")
        except UnicodeDecodeError as error:
            raise _bad_request("it is not UTF-8") from error
        first, *lines = head.split("\n")
        if not blank or not first.startswith("old ") or len(lines) > MAX_PATH:
            raise _bad_request("it is not an old size, at most 63 hashes, an empty line and a checkpoint")
        path = tuple(from_base64(line, _bad_request) for line in lines)
        if any(len(value) != HASH_SIZE for value in path):
            raise _bad_request("a hash has not got 32 bytes")
        return cls(from_decimal(first.removeprefix("old "), _bad_request), path, note)

    @property
    def origin(self) -> str:
        """Whose checkpoint it says to be; nobody has verified that.

        Raises:
            InvalidArgument: ``BAD_NOTE``.
        """
        return split_note(self.note)[0].partition("\n")[0]


def examine(request: AddCheckpoint, keys: Iterable[NoteKey], last: Checkpoint | None) -> Checkpoint:
    """The checkpoint that a witness may cosign, which is then its last.

    Args:
        request: what was sent.
        keys: of the logs that the witness looks after.
        last: what it cosigned last for this log.

    Raises:
        NotFound: ``LOG_UNKNOWN`` (404).
        PermissionDenied: ``CHECKPOINT_UNTRUSTED`` (403).
        InvalidArgument: ``BAD_CHECKPOINT``, ``BAD_NOTE``, ``BAD_WITNESS_REQUEST`` (400).
        Aborted: ``CHECKPOINT_SIZE_CONFLICT`` (409), with the last size in its metadata.
        Inconsistent: ``LOG_FORKED`` (422).
    """
    key = next((key for key in keys if key.name == request.origin), None)
    if key is None:
        raise NotFound(
            "LOG_UNKNOWN",
            "this witness does not look after that log",
            field="checkpoint",
            rule="C2SP tlog-witness: a witness knows its logs' keys beforehand",
            remedy="ask the witness's operator to add the log's key",
        )
    try:
        checkpoint = open_checkpoint(request.note, key)
    except InvalidArgument as error:
        if error.reason not in ("NOTE_UNTRUSTED", "BAD_NOTE_SIGNATURE"):
            raise
        raise PermissionDenied(
            "CHECKPOINT_UNTRUSTED",
            "the checkpoint is not signed by the log's key",
            field="checkpoint",
            rule="C2SP tlog-witness: 403",
            remedy="sign it with the key that the witness was given",
        ) from error
    if request.old_size > checkpoint.size:
        raise _bad_request("the old size is larger than the checkpoint's")
    if request.old_size != (known := last.size if last else 0):
        raise Aborted(
            "CHECKPOINT_SIZE_CONFLICT",
            f"the last checkpoint that was cosigned has {known} leaves",
            field="old",
            rule="C2SP tlog-witness: 409",
            remedy="prove the consistency from that size",
            metadata={SIZE: str(known)},
        )
    before = last.root if last else EMPTY_ROOT
    try:
        verify_consistency(
            from_size=known, to_size=checkpoint.size, from_root=before, to_root=checkpoint.root, path=request.path
        )
    except InvalidArgument as error:
        raise Inconsistent(
            "LOG_FORKED",
            f"{checkpoint.size} leaves do not follow from the {known} that were cosigned: {error.message}",
            field="checkpoint",
            rule="C2SP tlog-witness: 422",
            remedy="the log has to answer for both checkpoints: keep them",
        ) from error
    return checkpoint


def cosignatures_of(answer: str, note: str, keys: Sequence[CosignerKey]) -> list[str]:
    """The signature lines of a witness's answer, where each of its keys that is known verifies; others are left out.

    Args:
        answer: the body of its answer.
        note: the checkpoint that it was asked for.
        keys: of the witness.

    Raises:
        InvalidArgument: ``BAD_NOTE``, ``BAD_COSIGNATURE``; ``COSIGNATURE_MISSING`` where none is of a known key.
    """
    text, _ = split_note(note)
    lines = []
    for line in answer.splitlines(keepends=True):
        # One by one: what somebody else added may not end up in our checkpoint.
        if cosignatures(f"{text}\n{line}", keys):
            lines.append(line)
    if not lines:
        raise InvalidArgument(
            "COSIGNATURE_MISSING",
            "the witness answered without a cosignature of its own",
            rule="C2SP tlog-witness: the response holds cosignatures from the witness's keys",
            remedy="compare the witness's key with what its operator announced",
        )
    return lines


def _bad_request(why: str) -> InvalidArgument:
    return InvalidArgument(
        "BAD_WITNESS_REQUEST",
        f"not a request to a witness: {why}",
        rule="C2SP tlog-witness, add-checkpoint",
        remedy="send an old size, a proof of consistency, an empty line and the signed checkpoint",
    )
