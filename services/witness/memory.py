"""What a witness must never forget: its name, each log's last checkpoint that it cosigned, the latest time it said."""

from __future__ import annotations

import fcntl
import hashlib
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import IO, Final

from vitne.canonical import instant_text, parse_instant
from vitne.errors import DataLoss, FailedPrecondition, InvalidArgument, VitneError
from vitne.merkle.notes import Checkpoint, split_note
from vitne.runtime.objects.folder import replace_file, unwritable

_LOCK: Final = "lock"
_NAME: Final = "name"
_EXTENSION: Final = ".checkpoint"
_TIME: Final = "latest-time"
_LIFTED: Final = "clock-was-ahead"


def origin_hash(origin: str) -> str:
    """A log's name in addresses and files: SHA-256 of its origin, in lower-case hexadecimal (tlog-witness)."""
    return hashlib.sha256(origin.encode()).hexdigest()


def keep_name(folder: Path, name: str) -> None:
    """Remember the witness's name, durable once this returns; or compare it, where one is remembered.

    A key's id is of key and name: under another name the same key would be a witness that nobody's policy knows.

    Args:
        folder: is there.
        name: of the witness.

    Raises:
        FailedPrecondition: ``WITNESS_NAMED_ALREADY``.
        Unavailable: ``STORAGE_UNAVAILABLE``.
    """
    file = folder / _NAME
    try:
        kept = file.read_bytes().decode("utf-8", "replace").strip() if file.exists() else None
        if kept is None:
            replace_file(file, f"{name}\n".encode())
    except OSError as error:
        raise unwritable(error) from error
    if kept not in (None, name):
        raise FailedPrecondition(
            "WITNESS_NAMED_ALREADY",
            f"the witness of {folder} is called {kept}",
            field="--name",
            rule="a witness keeps its name with its key: policies know it by both",
            remedy=f"give --name {kept}; for another witness, give it a folder of its own",
        )


class Memory:
    """Cosigned checkpoints in a folder that one process uses at a time.

    A file is replaced whole and durable before anybody hears of it: a witness that dies anywhere
    has either not cosigned, or remembers what it cosigned.

    Args:
        folder: made when it is not there. Losing it means that logs may go back: then take a new key and name.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: IO[str] | None = None

    def __enter__(self) -> Memory:
        """Take the folder.

        Raises:
            FailedPrecondition: ``WITNESS_RUNNING``: another process has it.
            Unavailable: ``STORAGE_UNAVAILABLE``.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            held = (self._folder / _LOCK).open("w")
        except OSError as error:
            raise unwritable(error) from error
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            held.close()
            raise FailedPrecondition(
                "WITNESS_RUNNING",
                "another process uses the folder",
                rule="what was cosigned last is compared and replaced by one process",
                remedy="end it first",
            ) from None
        self._held = held
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._held is not None:
            self._held.close()

    def note(self, origin: str) -> str | None:
        """The last cosigned checkpoint of a log, a signed note; None: there is none.

        Raises:
            DataLoss: ``WITNESS_MEMORY_DAMAGED``: it is no text.
            Unavailable: ``STORAGE_UNAVAILABLE``.
        """
        try:
            return self._path(origin).read_text("utf-8")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise unwritable(error) from error
        except UnicodeDecodeError as error:
            raise _damaged(origin) from error

    def notes(self) -> dict[str, str]:
        """All last cosigned checkpoints, also of logs that are not looked after any more, by the SHA-256 of each.

        Raises:
            DataLoss: ``WITNESS_MEMORY_DAMAGED``: one is no text.
            Unavailable: ``STORAGE_UNAVAILABLE``.
        """
        notes = {}
        for path in sorted(self._folder.glob(f"*{_EXTENSION}")):
            try:
                data = path.read_bytes()
                notes[hashlib.sha256(data).hexdigest()] = data.decode()
            except OSError as error:
                raise unwritable(error) from error
            except UnicodeDecodeError as error:
                raise _damaged(path.name) from error
        return notes

    def last(self, origin: str) -> Checkpoint | None:
        """The same, as what it says.

        Raises:
            DataLoss: ``WITNESS_MEMORY_DAMAGED``.
            Unavailable: ``STORAGE_UNAVAILABLE``.
        """
        note = self.note(origin)
        if note is None:
            return None
        try:
            checkpoint = Checkpoint.parse(split_note(note)[0])
        except VitneError as error:
            raise _damaged(origin) from error
        if checkpoint.origin != origin:
            raise _damaged(origin)
        return checkpoint

    def replace(self, origin: str, note: str) -> None:
        """Remember another one; durable once this returns.

        Raises:
            Unavailable: ``STORAGE_UNAVAILABLE``: what was remembered still is.
        """
        try:
            replace_file(self._path(origin), note.encode())
        except OSError as error:
            raise unwritable(error) from error

    def said(self) -> datetime | None:
        """The latest time that was said; None: none was kept.

        Raises:
            DataLoss: ``WITNESS_MEMORY_DAMAGED``.
            Unavailable: ``STORAGE_UNAVAILABLE``.
        """
        try:
            return parse_instant((self._folder / _TIME).read_text("utf-8").strip())
        except FileNotFoundError:
            return None
        except OSError as error:
            raise unwritable(error) from error
        except (UnicodeDecodeError, InvalidArgument) as error:
            raise DataLoss(
                "WITNESS_MEMORY_DAMAGED",
                f"the file {_TIME} does not hold an instant",
                rule="a witness's times never go back",
                remedy="restore the newest copy; or write the present there, like 2026-11-21T10:05:00Z, if no "
                "cosignature is of later",
            ) from error

    def say(self, time: datetime) -> None:
        """Remember the latest time; durable once this returns.

        Raises:
            Unavailable: ``STORAGE_UNAVAILABLE``.
        """
        try:
            replace_file(self._folder / _TIME, f"{instant_text(time)}\n".encode())
        except OSError as error:
            raise unwritable(error) from error

    def lifted(self) -> frozenset[str]:
        """Of which notes the times do not count, by the SHA-256 of each: the operator said that the clock was ahead.

        Raises:
            Unavailable: ``STORAGE_UNAVAILABLE``.
        """
        try:
            return frozenset((self._folder / _LIFTED).read_text("ascii", "replace").split())
        except FileNotFoundError:
            return frozenset()
        except OSError as error:
            raise unwritable(error) from error

    def lift(self, notes: Iterable[str], time: datetime) -> None:
        """Have the times of some notes count no longer, and go on from another; durable once this returns.

        Args:
            notes: the SHA-256 of each.
            time: what is the latest time from now on.

        Raises:
            Unavailable: ``STORAGE_UNAVAILABLE``.
        """
        try:
            replace_file(self._folder / _LIFTED, "".join(f"{each}\n" for each in sorted(notes)).encode())
        except OSError as error:
            raise unwritable(error) from error
        self.say(time)

    def _path(self, origin: str) -> Path:
        return self._folder / f"{origin_hash(origin)}{_EXTENSION}"


def _damaged(whose: str) -> DataLoss:
    return DataLoss(
        "WITNESS_MEMORY_DAMAGED",
        f"the file of {whose} does not hold a checkpoint of that log",
        rule="a witness that forgot cosigns nothing",
        remedy="restore the newest copy, or retire this witness's key and name, and begin anew with others",
    )
