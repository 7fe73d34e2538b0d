"""Static files that anyone may fetch, on a file system or in S3-compatible object storage.

Whoever serves them needs no code of ours: an HTTP server over the folder, or the bucket's own address.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

#: ``Cache-Control`` of what never changes: a year, as long as caches keep anything (RFC 8246 for the last word).
IMMUTABLE: Final = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True)
class Kind:
    """How a file is to be served.

    Attributes:
        media_type: ``Content-Type``.
        cache_control: ``Cache-Control``.
    """

    media_type: str
    cache_control: str


@dataclass(frozen=True, slots=True)
class Stored:
    """A file as it was read.

    Attributes:
        data: its bytes.
        tag: what a write over it is held to, see :meth:`Objects.replace`.
    """

    data: bytes
    tag: str


class Objects(Protocol):
    """Where files are put. Paths are relative, of letters, digits and ``-._/``.

    What several processes may change is written by :meth:`replace`, and by nothing else; :meth:`put` is for what is
    written once, or by one process only.
    """

    async def get(self, path: str) -> bytes | None:
        """A file's bytes; None: there is none.

        Raises:
            Unavailable: ``STORAGE_UNAVAILABLE``.
        """
        ...

    async def read(self, path: str) -> Stored | None:
        """A file, to be replaced by what is newer; None: there is none.

        Raises:
            Unavailable: ``STORAGE_UNAVAILABLE``.
        """
        ...

    async def replace(self, path: str, data: bytes, kind: Kind, *, over: str | None) -> str | None:
        """As :meth:`put`, but only over what the caller knows: however late it arrives, it undoes nobody's write.

        Args:
            path: of the file.
            data: its bytes.
            kind: how it is served.
            over: the tag of what was read, or written, there; None: no file.

        Returns:
            the tag of what is there now; None: something else was there, and is still.

        Raises:
            Unavailable: ``STORAGE_UNAVAILABLE``; it may have been written, or be written yet, over what ``over`` names.
        """
        ...

    async def put(self, path: str, data: bytes, kind: Kind) -> None:
        """Write a file, or replace it; whoever reads sees the old bytes or the new. Durable once this returns.

        Raises:
            Unavailable: ``STORAGE_UNAVAILABLE``.
        """
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...
