"""A witness's protocol (C2SP tlog-witness, ``add-checkpoint``): its texts, and what is cosigned, without any I/O."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from vitne.errors import Aborted, InvalidArgument, NotFound, PermissionDenied
from vitne.merkle.cosignatures import CosignerKey, cosignatures
from vitne.merkle.hashing import EMPTY_ROOT, HASH_SIZE
from vitne.merkle.lines import from_base64, from_decimal, to_base64
from vitne.merkle.notes import MAX_NOTE_BYTES, NOTE_UNTRUSTED, Checkpoint, NoteKey, open_note, split_note
from vitne.merkle.proofs import verify_consistency
from vitne.merkle.succession import Lineage, within

#: Most lines of a proof of consistency.
MAX_PATH: Final = 63
#: Largest request: a note, and a path of some three kilobytes.
MAX_REQUEST_BYTES: Final = MAX_NOTE_BYTES + 4096
#: Media type of the answer that tells the size to begin from.
SIZE_MEDIA_TYPE: Final = "text/x.tlog.size"
#: Where no key follows another.
NO_LINEAGE: Final = Lineage(())
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


def examine(
    request: AddCheckpoint,
    keys: Iterable[NoteKey],
    last: str | None,
    lineage: Lineage = NO_LINEAGE,
) -> Checkpoint:
    """The checkpoint that a witness may cosign, which is then its last.

    A log's key may be replaced by one that its operator gave the witness *and* that a statement of succession names.

    Args:
        request: what was sent.
        keys: of the logs that the witness looks after.
        last: what it cosigned last for this log, a signed note.
        lineage: which of the keys follow which, by statements that the witness was given.

    Raises:
        NotFound: ``LOG_UNKNOWN`` (404).
        PermissionDenied: ``CHECKPOINT_UNTRUSTED``, ``LOG_KEY_CHANGED`` (403).
        InvalidArgument: ``BAD_CHECKPOINT``, ``BAD_NOTE``, ``BAD_WITNESS_REQUEST`` (400).
        Aborted: ``CHECKPOINT_SIZE_CONFLICT`` (409), with the last size in its metadata.
        Inconsistent: ``LOG_FORKED`` (422).
    """
    own = [key for key in keys if key.name == request.origin]
    if not own:
        raise NotFound(
            "LOG_UNKNOWN",
            "this witness does not look after that log",
            field="checkpoint",
            rule="C2SP tlog-witness: a witness knows its logs' keys beforehand",
            remedy="ask the witness's operator to add the log's key",
        )
    signers, checkpoint = _opened(request.note, own, lineage)
    before: Checkpoint | None = None
    if last is not None:
        before = Checkpoint.parse(split_note(last)[0])
        _require_heir(last, own, signers, lineage)
    if request.old_size > checkpoint.size:
        raise _bad_request("the old size is larger than the checkpoint's")
    if request.old_size != (known := before.size if before else 0):
        raise Aborted(
            "CHECKPOINT_SIZE_CONFLICT",
            f"the last checkpoint that was cosigned has {known} leaves",
            field="old",
            rule="C2SP tlog-witness: 409",
            remedy="prove the consistency from that size",
            metadata={SIZE: str(known)},
        )
    root = before.root if before else EMPTY_ROOT
    try:
        verify_consistency(
            from_size=known, to_size=checkpoint.size, from_root=root, to_root=checkpoint.root, path=request.path
        )
    except InvalidArgument as error:
        raise Inconsistent(
            "LOG_FORKED",
            f"{checkpoint.size} leaves do not follow from the {known} that were cosigned: {error.message}",
            field="checkpoint",
            rule="C2SP tlog-witness: 422",
            remedy="the log has to answer for both checkpoints: keep them"
            if known
            else "nothing was cosigned of this log before: send no proof, and of no leaves the empty tree's root",
        ) from error
    return checkpoint


def _opened(note: str, keys: Sequence[NoteKey], lineage: Lineage) -> tuple[set[NoteKey], Checkpoint]:
    """Those of a log's keys that signed a checkpoint and count for it, and the checkpoint."""
    try:
        opened = open_note(note, keys)
    except InvalidArgument as error:
        if error.reason not in (NOTE_UNTRUSTED, "BAD_NOTE_SIGNATURE"):
            raise
        raise _untrusted("the checkpoint is not signed by the log's key") from error
    checkpoint = Checkpoint.parse(opened.text)
    signers = {key for key in opened.signers if within(lineage.ended.get(key), checkpoint)}
    if not signers:
        raise _untrusted("the checkpoint is signed by a key alone whose word ended before")
    return signers, checkpoint


def _require_heir(last: str, keys: Sequence[NoteKey], signers: set[NoteKey], lineage: Lineage) -> None:
    """A key signs on that signed before, or one that followed it by a statement."""
    try:
        before = open_note(last, keys).signers
    except InvalidArgument:
        before = ()  # signed by a key that the witness has not got any more
    if not any(key in signers or signers & lineage.heirs(key) for key in before):
        raise PermissionDenied(
            "LOG_KEY_CHANGED",
            "another key signs the log than what was cosigned last",
            field="checkpoint",
            rule="a log's key is replaced by a statement that both sign (docs/decisions/0021)",
            remedy="give the witness both keys, and the statement of succession",
        )


def _untrusted(why: str) -> PermissionDenied:
    return PermissionDenied(
        "CHECKPOINT_UNTRUSTED",
        why,
        field="checkpoint",
        rule="C2SP tlog-witness: 403",
        remedy="sign it with the key that the witness was given",
    )


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
