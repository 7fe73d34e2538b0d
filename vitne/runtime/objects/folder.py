"""Static files in a folder, for any HTTP server."""

from __future__ import annotations

import asyncio
import os
import secrets
from pathlib import Path

from vitne.errors import Unavailable
from vitne.runtime.objects import Kind


class FolderObjects:
    """See :class:`~vitne.runtime.objects.Objects`. Media types and caching are for the HTTP server to say, by path.

    Args:
        folder: made when it is not there.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def get(self, path: str) -> bytes | None:
        """See :meth:`Objects.get`."""
        return await asyncio.to_thread(self._read, path)

    async def put(self, path: str, data: bytes, kind: Kind) -> None:
        """See :meth:`Objects.put`."""
        await asyncio.to_thread(self._write, path, data)

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


def unwritable(error: OSError) -> Unavailable:
    """What a file system's error is to a caller."""
    return Unavailable(
        "STORAGE_UNAVAILABLE",
        f"the folder can't be read or written: {error.strerror}",
        rule="the process owns its folder, and the disk has room",
        remedy="check the folder's owner, mode and free space",
    )
