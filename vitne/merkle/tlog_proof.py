"""A proof that travels (C2SP tlog-proof): where a leaf is, the path from it, and the checkpoint, in one text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from vitne.errors import InvalidArgument
from vitne.merkle.hashing import HASH_SIZE
from vitne.merkle.lines import from_base64, from_decimal, to_base64
from vitne.merkle.notes import MAX_NOTE_BYTES
from vitne.merkle.policy import Policy, Witnessed
from vitne.merkle.proofs import verify_inclusion

#: First line, which names the format.
HEADER: Final = "c2sp.org/tlog-proof@v1"
#: Media type of its text; the specification names the extension only.
MEDIA_TYPE: Final = "text/plain; charset=utf-8"
#: Files of it end so.
EXTENSION: Final = ".tlog-proof"
#: Most hashes of a path: a log's size has 63 bits.
MAX_PATH: Final = 63
#: Longest text that is read: a note, and a path and extra data of a few kilobytes.
MAX_PROOF_BYTES: Final = MAX_NOTE_BYTES + 16 * 1024


@dataclass(frozen=True, slots=True)
class LogProof:
    """That some leaf is in a log.

    Attributes:
        index: of the leaf, from 0.
        path: from the leaf's sibling up, 32 bytes each.
        checkpoint: the signed note, as the log gave it.
        extra: what an application adds; nobody signed it.
    """

    index: int
    path: tuple[bytes, ...]
    checkpoint: str
    extra: bytes = b""

    def text(self) -> str:
        """The proof as text."""
        lines = [HEADER]
        if self.extra:
            lines.append(f"extra {to_base64(self.extra)}")
        lines += [f"index {self.index}", *(to_base64(value) for value in self.path)]
        return "".join(f"{line}\n" for line in lines) + "\n" + self.checkpoint

    @classmethod
    def parse(cls, text: str) -> LogProof:
        """Read a proof; whether it proves anything is :meth:`verify`'s to say.

        Raises:
            InvalidArgument: ``BAD_TLOG_PROOF``.
        """
        if len(text) > MAX_PROOF_BYTES:
            raise _bad_proof(f"it is longer than {MAX_PROOF_BYTES} characters")
        head, blank, checkpoint = text.partition("\n\n")
        lines = head.split("\n")
        if not blank or lines[0] != HEADER:
            raise _bad_proof(f"it does not begin with {HEADER}, or has no checkpoint")
        del lines[0]
        extra = b""
        if lines and lines[0].startswith("extra "):
            extra = from_base64(lines.pop(0).removeprefix("extra "), _bad_proof)
        if not lines or not lines[0].startswith("index "):
            raise _bad_proof("it has no index")
        index = from_decimal(lines.pop(0).removeprefix("index "), _bad_proof)
        path = tuple(from_base64(line, _bad_proof) for line in lines)
        if len(path) > MAX_PATH or any(len(value) != HASH_SIZE for value in path):
            raise _bad_proof("its path is too long, or a hash in it has not got 32 bytes")
        return cls(index, path, checkpoint, extra)

    def verify(self, leaf: bytes, policy: Policy) -> Witnessed:
        """Check that the leaf hash is in the log, under a checkpoint that the policy accepts; answer that one.

        Raises:
            InvalidArgument: ``BAD_INCLUSION_PROOF``, or as :meth:`Policy.open`.
            PermissionDenied: ``QUORUM_MISSING``.
        """
        witnessed = policy.open(self.checkpoint)
        checkpoint = witnessed.checkpoint
        verify_inclusion(leaf=leaf, index=self.index, size=checkpoint.size, path=self.path, root=checkpoint.root)
        return witnessed


def _bad_proof(why: str) -> InvalidArgument:
    return InvalidArgument(
        "BAD_TLOG_PROOF",
        f"not a proof of a transparency log: {why}",
        rule="C2SP tlog-proof, Format",
        remedy="fetch the proof again, unchanged",
    )
