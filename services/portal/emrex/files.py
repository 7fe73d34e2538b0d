"""The operator's files that say with whom EMREX is spoken."""

from __future__ import annotations

from vitne.errors import FailedPrecondition


def refused(what: str, setting: str, why: object) -> FailedPrecondition:
    """``EMREX_FILE_REFUSED``: a file that can't be used stops the start.

    Args:
        what: the file is of.
        setting: that names it.
        why: in words, or the error that has them.
    """
    return FailedPrecondition(
        "EMREX_FILE_REFUSED",
        f"the file of EMREX {what} can't be used: {why}",
        field=setting,
        rule="docs/emrex.md",
        remedy="mend the file",
    )
