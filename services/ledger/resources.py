"""The log's static files, made from the database when they are asked for."""

from __future__ import annotations

import asyncpg

from vitne.merkle.hashing import HASH_SIZE
from vitne.merkle.resources import Resource, encode_bundle


class LogResources:
    """Tiles and entry bundles.

    Args:
        pool: the ledger's database.
    """

    def __init__(self, pool: asyncpg.Pool) -> None:
        self._pool = pool

    async def read(self, resource: Resource) -> bytes | None:
        """A file's bytes; None where the log has not come so far."""
        if resource.level is None:
            return await self._bundle(resource)
        size = resource.width * HASH_SIZE
        hashes: bytes | None = await self._pool.fetchval(
            "SELECT substring(hashes FOR $3) FROM tile WHERE level = $1 AND number = $2",
            resource.level,
            resource.number,
            size,
        )
        return hashes if hashes is not None and len(hashes) == size else None

    async def _bundle(self, resource: Resource) -> bytes | None:
        entries = await self._pool.fetch(
            "SELECT record FROM leaf WHERE leaf_index >= $1 AND leaf_index < $2 ORDER BY leaf_index",
            resource.first,
            resource.first + resource.width,
        )
        return encode_bundle([row["record"] for row in entries]) if len(entries) == resource.width else None
