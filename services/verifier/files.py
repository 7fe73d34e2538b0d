"""Files that a command's arguments name: one that can't be read or written is told by argument, rule and remedy."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from vitne.merkle.policy import Policy
from vitne.runtime.argument_files import read_file, unreadable

#: What arguments are called that name a credential and a bundle.
CREDENTIAL_FILE: Final = "CREDENTIAL_FILE"
BUNDLE_FILE: Final = "BUNDLE_FILE"
#: What names stdin.
STDIN: Final = "-"


def read_argument(name: str, limit: int, argument: str) -> bytes:
    """What an argument names: a file, or stdin for ``-``. A byte beyond the limit is read: too long is told as that.

    Raises:
        InvalidArgument: ``FILE_UNREADABLE``.
    """
    try:
        if name == STDIN:
            return sys.stdin.buffer.read(limit + 1)
        with Path(name).open("rb") as file:
            return file.read(limit + 1)
    except OSError as error:
        raise unreadable("stdin" if name == STDIN else name, argument, error) from error


def read_policy(path: Path | None) -> Policy | None:
    """The policy that ``--log-policy`` names; None where it names none.

    Raises:
        InvalidArgument: ``FILE_UNREADABLE``, or as :meth:`Policy.parse`.
    """
    return Policy.parse(read_file(path, "--log-policy").decode("utf-8", "replace")) if path else None
