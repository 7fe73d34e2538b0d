"""What a client remembers of a log, and holds the log to: it may grow, and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from vitne.errors import DataLoss, InvalidArgument
from vitne.merkle.notes import Checkpoint, NoteKey, split_note
from vitne.merkle.proofs import verify_consistency
from vitne.merkle.succession import Lineage, Succession


def advance(known: Checkpoint, seen: Checkpoint, path: Sequence[bytes]) -> Checkpoint:
    """The larger of two checkpoints of a log, once one is proved to be the beginning of the other.

    A checkpoint that is smaller than the known one is no offence where it is consistent: it was on its way for longer.

    Args:
        known: what is remembered.
        seen: what the log says.
        path: proof of consistency from the smaller size to the larger.

    Raises:
        DataLoss: ``LOG_FORKED``: they can't both be of one log that only grows. Both notes are evidence.
        InvalidArgument: ``LOG_ORIGIN_UNKNOWN``: they are of two logs.
    """
    if known.origin != seen.origin:
        raise InvalidArgument(
            "LOG_ORIGIN_UNKNOWN",
            "the checkpoint is of another log",
            field="checkpoint",
            rule=f"the log's origin is {known.origin}",
            remedy="give the origin and the address of the same log",
        )
    earlier, later = sorted((known, seen), key=lambda checkpoint: checkpoint.size)
    try:
        verify_consistency(
            from_size=earlier.size, to_size=later.size, from_root=earlier.root, to_root=later.root, path=path
        )
    except InvalidArgument as error:
        raise DataLoss(
            "LOG_FORKED",
            f"the log of {known.origin} contradicts itself: what it said of {known.size} leaves is no part of "
            f"what it says of {seen.size}, or the reverse",
            rule="a log only grows (RFC 6962, section 2.1.2)",
            remedy="believe nothing of this log; keep both checkpoints, and show them to its operator and witnesses",
            metadata={"known_size": str(known.size), "seen_size": str(seen.size)},
        ) from error
    return later


def unsaid(known: Iterable[str], statements: Iterable[str]) -> list[str]:
    """Statements of succession that say something else than any of those that are known.

    By their texts alone: whoever passes a statement on can put a signature of their own below it.
    """
    texts = {split_note(each)[0] for each in known}
    return [each for each in statements if split_note(each)[0] not in texts]


def advance_statements(trusted: Sequence[NoteKey], known: Sequence[str], told: Sequence[str]) -> Lineage:
    """What follows from the statements of succession that a log tells now, once none that it told before is missing.

    Only what is signed by a trusted key, or by one that followed, is held against a log: strangers' statements prove
    nothing of it, whoever told them.

    Args:
        trusted: keys of the log.
        known: what is remembered, in order.
        told: what the log tells.

    Raises:
        DataLoss: ``SUCCESSION_WITHHELD``: one is gone. ``LOG_FORKED``: it contradicts another.
        InvalidArgument: as :meth:`~vitne.merkle.succession.Lineage.follow`.
    """
    lineage = Lineage.follow(trusted, told)
    missing = unsaid(lineage.statements, Lineage.follow(trusted, known).statements)
    if missing:
        # Where another stands in its place, the two contradict each other.
        Lineage.follow(trusted, [*told, *missing])
        ended = Succession.parse(split_note(missing[0])[0]).ended
        raise DataLoss(
            "SUCCESSION_WITHHELD",
            f"the statement of succession after {ended.size} leaves of {ended.origin} was told before, and is "
            "withheld now",
            rule="a statement of succession is never taken back (docs/decisions/0032)",
            remedy="ask the log's operator for it; after a restore, they run reconcile (docs/operating/restore.md)",
        )
    return lineage
