"""Files that a command's arguments name: one that can't be read or written is told by argument, rule and remedy."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from vitne.errors import InvalidArgument
from vitne.merkle.policy import Policy

#: What arguments are called that name a credential and a bundle.
CREDENTIAL_FILE: Final = "CREDENTIAL_FILE"
BUNDLE_FILE: Final = "BUNDLE_FILE"
#: What names stdin.
STDIN: Final = "-"


def read_file(path: Path, argument: str) -> bytes:
    """All of a file.

    Args:
        path: of the file.
        argument: that names it, as the command's help calls it.

    Raises:
        InvalidArgument: ``FILE_UNREADABLE``.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise _unreadable(str(path), argument, error) from error


def write_file(path: Path, content: bytes, argument: str) -> None:
    """Write all of a file.

    Args:
        path: of the file.
        content: what it is to hold.
        argument: that names it, as the command's help calls it.

    Raises:
        InvalidArgument: ``FILE_UNWRITABLE``.
    """
    try:
        path.write_bytes(content)
    except OSError as error:
        raise InvalidArgument(
            "FILE_UNWRITABLE",
            f"{path} can't be written: {error.strerror}",
            field=argument,
            rule="a file in a folder that is there, and in which whoever runs this may write",
            remedy="make the folder, or name a file elsewhere",
        ) from error


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
        raise _unreadable("stdin" if name == STDIN else name, argument, error) from error


def read_policy(path: Path | None) -> Policy | None:
    """The policy that ``--log-policy`` names; None where it names none.

    Raises:
        InvalidArgument: ``FILE_UNREADABLE``, or as :meth:`Policy.parse`.
    """
    return Policy.parse(read_file(path, "--log-policy").decode("utf-8", "replace")) if path else None


def _unreadable(name: str, argument: str, error: OSError) -> InvalidArgument:
    return InvalidArgument(
        "FILE_UNREADABLE",
        f"{name} can't be read: {error.strerror}",
        field=argument,
        rule="a file that is there, and that whoever runs this may read",
        remedy="compare the name and its folder, and look who may read it",
    )
