"""What a client remembers of published logs, in a file: a checkpoint of each, and the statements between them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vitne.audit.agreement import Disagreement
from vitne.audit.log_walk import Mark
from vitne.errors import DataLoss, InvalidArgument
from vitne.merkle.memory import unsaid
from vitne.merkle.notes import NoteKey, open_note, split_note
from vitne.merkle.policy import Policy
from vitne.merkle.succession import HEADER, Lineage

#: Between two notes: a note holds no control character but line feeds (signed-note). A file with one note is one note.
_SEPARATOR: Final = "\f\n"


@dataclass(frozen=True, slots=True)
class LogMemory:
    """What is remembered; empty at first.

    Attributes:
        notes: the last checkpoint of each log that was believed.
        statements: of succession, in their order.
    """

    notes: Sequence[str] = ()
    statements: Sequence[str] = ()

    @classmethod
    def read(cls, file: Path | None) -> LogMemory:
        """What a file holds; nothing where it is not there yet.

        Raises:
            OSError: it can't be read.
            InvalidArgument: ``LOG_MEMORY_UNREADABLE``: it is something else.
        """
        try:
            parts = file.read_text("utf-8").split(_SEPARATOR) if file is not None else []
            for part in parts if parts != [""] else ():
                split_note(part)
        except FileNotFoundError:
            parts = []
        except (UnicodeDecodeError, InvalidArgument) as error:
            raise InvalidArgument(
                "LOG_MEMORY_UNREADABLE",
                f"{file} is not what was remembered of a log",
                field=str(file),
                rule="signed notes, as they were written there: each log's last checkpoint, and statements",
                remedy="put back what was in it; if that is lost, take the file away: then nothing is remembered, and "
                "a log that went back since would not be noticed",
            ) from error
        stated = tuple(part for part in parts if part.startswith(f"{HEADER}\n"))
        return cls(tuple(part for part in parts if part not in stated), stated)

    def to_bytes(self) -> bytes:
        """As a file."""
        return _SEPARATOR.join([*self.notes, *self.statements]).encode()

    def marks(self, policy: Policy, who: str = "remembered") -> list[Mark]:
        """The remembered checkpoints, in their order, as what the logs are held to.

        Args:
            policy: by whose logs they are signed.
            who: remembers them.

        Raises:
            InvalidArgument: as :func:`~vitne.merkle.notes.open_note`: no log of the policy's signed what is remembered.
        """
        # The log's signature is enough: what was believed then is believed still, also under a stricter policy.
        alone = Policy(policy.logs, {}, {}, "none", {})
        return [Mark(who, alone.open(note).checkpoint) for note in self.notes]

    def compare(self, now: LogMemory, policy: Policy) -> Iterator[Disagreement]:
        """What is said now, held to what is remembered: statements stay, and keys change by them alone.

        Args:
            now: what the logs show.
            policy: with what follows from its logs by the statements of now.
        """
        # Of strangers' statements nothing is remembered against a log: whoever answers in its place may tell some.
        told = Lineage.follow(policy.logs, now.statements).statements
        held = Lineage.follow(policy.logs, self.statements).statements
        for statement in unsaid(told, held):
            number = self.statements.index(statement) + 1
            try:
                Lineage.follow(policy.logs, [*told, statement])
            except DataLoss:
                yield Disagreement("log.forked", f"succession {number}", "another statement was seen")
            else:
                yield Disagreement("log.rolled_back", f"succession {number}", "a statement that was seen is gone")
        shown = {_origin(note): note for note in now.notes}
        for note in self.notes:
            origin = _origin(note)
            if origin not in shown:
                yield Disagreement("log.missing", origin, "the log was seen, and is not shown any more")
            elif not _same_key(note, shown[origin], policy):
                yield Disagreement("log.key_changed", origin, "another key signs it, and no statement says so")


def _same_key(before: str, now: str, policy: Policy) -> bool:
    """Whether a key that signed before signs now, or one that followed it."""
    keys = [key for key in policy.logs if key.name == _origin(before)]
    signing = set(_signers(now, keys))
    return any(key in signing or signing & policy.lineage.heirs(key) for key in _signers(before, keys))


def _signers(note: str, keys: Sequence[NoteKey]) -> Sequence[NoteKey]:
    try:
        return open_note(note, keys).signers
    except InvalidArgument:
        return ()


def _origin(note: str) -> str:
    return note.partition("\n")[0]
