"""Files that a command's arguments name: one that can't be read or written is told by argument, rule and remedy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vitne.errors import AlreadyExists, InvalidArgument


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
        raise unreadable(str(path), argument, error) from error


def write_file(path: Path, content: bytes, argument: str) -> None:
    """Write all of a file that is not there yet; one that holds the same is left as it is, and so is any other.

    What is no file (a device, a pipe) is written to.

    Args:
        path: of the file.
        content: what it is to hold.
        argument: that names it, as the command's help calls it.

    Raises:
        AlreadyExists: ``FILE_EXISTS``: it is there, and holds something else.
        InvalidArgument: ``FILE_UNWRITABLE``.
    """
    try:
        if path.exists() and not path.is_file():
            path.write_bytes(content)
        elif not _created(path, content) and read_file(path, argument) != content:
            raise AlreadyExists(
                "FILE_EXISTS",
                f"{path} is there already, and holds something else: it was left as it is",
                field=argument,
                rule="a file that is there is not written over: what it proves may not be had again",
                remedy="name a file that is not there yet, or move this one away first",
            )
    except OSError as error:
        raise InvalidArgument(
            "FILE_UNWRITABLE",
            f"{path} can't be written: {error.strerror}",
            field=argument,
            rule="a file in a folder that is there, and in which whoever runs this may write",
            remedy="make the folder, or name a file elsewhere",
        ) from error


def _created(path: Path, content: bytes) -> bool:
    """Write a file that is not there; whether it was not. A part of it is not left."""
    try:
        file = path.open("xb")
    except FileExistsError:
        return False
    try:
        with file:
            file.write(content)
    except BaseException:
        path.unlink()
        raise
    return True


@contextmanager
def told_of(path: Path, argument: str) -> Iterator[None]:
    """Say of what a file can't be used for which argument named it.

    Args:
        path: of the file.
        argument: that names it, as the command's help calls it.

    Raises:
        InvalidArgument: as it comes, with file and argument; ``FILE_UNREADABLE``.
    """
    try:
        yield
    except OSError as error:
        raise unreadable(str(path), argument, error) from error
    except InvalidArgument as error:
        message = error.message if str(path) in error.message else f"{path}: {error.message}"
        raise InvalidArgument(error.reason, message, field=argument, rule=error.rule, remedy=error.remedy) from error


def unreadable(name: str, argument: str, error: OSError) -> InvalidArgument:
    """``FILE_UNREADABLE``."""
    return InvalidArgument(
        "FILE_UNREADABLE",
        f"{name} can't be read: {error.strerror}",
        field=argument,
        rule="a file that is there, and that whoever runs this may read",
        remedy="compare the name and its folder, and look who may read it",
    )
