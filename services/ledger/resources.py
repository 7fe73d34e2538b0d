"""The log's static files, made from the database when they are asked for."""

from __future__ import annotations

import asyncpg

from services.ledger.log_store import LogStore
from services.ledger.shards import Shard, StoredCheckpoint
from vitne.errors import NotFound
from vitne.merkle.hashing import HASH_SIZE
from vitne.merkle.resources import Resource, encode_bundle, exists_at, log_name


class LogResources:
    """Tiles and entry bundles, and which logs have them.

    Args:
        pool: the ledger's database.
        store: knows the logs.
    """

    def __init__(self, pool: asyncpg.Pool, store: LogStore) -> None:
        self._pool = pool
        self._store = store

    async def log(self, name: str = "") -> StoredCheckpoint:
        """The log that is called so in addresses; without a name, the first.

        Raises:
            NotFound: ``LOG_UNKNOWN``.
            Unavailable: ``LOG_NOT_STARTED``.
        """
        first, *more = await self._store.logs()
        found = next((log for log in more if log_name(log.shard.origin) == name), None) if name else first
        if found is None:
            raise NotFound(
                "LOG_UNKNOWN",
                "no log of that name is published here",
                rule="logs that followed the first are below /log/, under the last part of their origins",
                remedy="read the statements of succession, from /succession/1 on",
            )
        return found

    async def statement(self, number: int) -> str | None:
        """A statement of succession; None: there are not so many."""
        statement: str | None = await self._pool.fetchval("SELECT statement FROM succession WHERE number = $1", number)
        return statement

    async def read(self, log: StoredCheckpoint, resource: Resource) -> bytes | None:
        """The bytes of a file of one log; None where that has not come so far."""
        if not exists_at(resource, log.size):
            return None
        shard = log.shard
        if resource.level is None:
            return await self._bundle(shard, resource)
        size = resource.width * HASH_SIZE
        hashes: bytes | None = await self._pool.fetchval(
            "SELECT substring(hashes FOR $3) FROM tile WHERE level = $1 AND number = $2",
            resource.level,
            shard.tiles_before + resource.number,
            size,
        )
        return hashes if hashes is not None and len(hashes) == size else None

    async def _bundle(self, shard: Shard, resource: Resource) -> bytes | None:
        entries = await self._pool.fetch(
            "SELECT record FROM leaf WHERE leaf_index >= $1 AND leaf_index < $2 ORDER BY leaf_index",
            shard.leaves_before + resource.first,
            shard.leaves_before + resource.first + resource.width,
        )
        return encode_bundle([row["record"] for row in entries]) if len(entries) == resource.width else None
