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


class Objects(Protocol):
    """Where files are put. Paths are relative, of letters, digits and ``-._/``."""

    async def get(self, path: str) -> bytes | None:
        """A file's bytes; None: there is none.

        Raises:
            Unavailable: ``STORAGE_UNAVAILABLE``.
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
