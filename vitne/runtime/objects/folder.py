"""Static files in a folder, for any HTTP server."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from vitne.errors import Unavailable
from vitne.runtime.objects import Kind, Stored

#: Who replaces a file holds this one, in the folder itself; the system lets go of it when the process ends.
LOCK: Final = ".lock"
#: How long another process is waited for that holds it, and how often it is looked for.
PATIENCE_SECONDS: Final = 10.0
LOOK_SECONDS: Final = 0.01


class FolderObjects:
    """See :class:`~vitne.runtime.objects.Objects`. Media types and caching are for the HTTP server to say, by path.

    Args:
        folder: made when it is not there.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        #: One write of this process at a time waits for other processes.
        self._replacing = asyncio.Lock()

    async def get(self, path: str) -> bytes | None:
        """See :meth:`Objects.get`."""
        return await asyncio.to_thread(self._read, path)

    async def put(self, path: str, data: bytes, kind: Kind) -> None:
        """See :meth:`Objects.put`."""
        await asyncio.to_thread(self._write, path, data)

    async def read(self, path: str) -> Stored | None:
        """See :meth:`Objects.read`."""
        data = await self.get(path)
        return None if data is None else Stored(data, _tag(data))

    async def replace(self, path: str, data: bytes, kind: Kind, *, over: str | None) -> str | None:
        """See :meth:`Objects.replace`."""
        async with self._replacing:
            return await asyncio.to_thread(self._replace, path, data, over)

    async def close(self) -> None:
        """Nothing is held."""

    def _read(self, path: str) -> bytes | None:
        try:
            return (self._folder / path).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise unwritable(error) from error

    def _write(self, path: str, data: bytes) -> None:
        try:
            replace_file(self._folder / path, data)
        except OSError as error:
            raise unwritable(error) from error

    def _replace(self, path: str, data: bytes, over: str | None) -> str | None:
        try:
            with self._locked():
                there = self._read(path)
                if (None if there is None else _tag(there)) != over:
                    return None
                replace_file(self._folder / path, data)
        except OSError as error:
            raise unwritable(error) from error
        return _tag(data)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / LOCK).open("ab") as file:
            until = time.monotonic() + PATIENCE_SECONDS
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError as error:
                    if time.monotonic() > until:
                        raise _held() from error
                    time.sleep(LOOK_SECONDS)
            yield


def replace_file(path: Path, data: bytes) -> None:
    """Write a file whole and durable, in place of what is there; its folders are made.

    Raises:
        OSError: as the system says; what was there is there still.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.parent / f".{secrets.token_hex(8)}"
    try:
        with scratch.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(path)
    except OSError:
        scratch.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _tag(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _held() -> Unavailable:
    return Unavailable(
        "STORAGE_UNAVAILABLE",
        f"another process has held the folder's {LOCK} for {PATIENCE_SECONDS:.0f} seconds",
        rule="who replaces a file holds the folder for as long as that takes",
        remedy="find the process (lsof), and let it go on or end it if it is stopped",
    )


def unwritable(error: OSError) -> Unavailable:
    """What a file system's error is to a caller."""
    return Unavailable(
        "STORAGE_UNAVAILABLE",
        f"the folder can't be read or written: {error.strerror}",
        rule="the process owns its folder, and the disk has room",
        remedy="check the folder's owner, mode and free space",
    )
