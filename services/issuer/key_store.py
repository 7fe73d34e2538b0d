"""Learners' data keys, in a store of their own.

Destroying a key erases its learner, so keys live apart from what they open: here
in a second database, wrapped by a key-encryption key that is in neither. Another
store (an HSM, a cloud KMS) has to offer the same methods.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final, Protocol
from uuid import UUID

import asyncpg

from services.issuer.crypto import DataKey
from vitne.canonical import b64url, sha256
from vitne.clock import Clock
from vitne.errors import DataLoss, Unavailable
from vitne.outages import DATABASE_OUTAGES

_TABLE: Final = "learner_key"
_COLUMN: Final = "wrapped"


class LearnerKeyStore(Protocol):
    """Where learners' data keys are kept. Every method is durable when it returns."""

    async def put(self, keys: Mapping[UUID, bytes]) -> None:
        """Store new keys (32 bytes each), by learner. An id is used once."""
        ...

    async def get(self, learners: Collection[UUID]) -> dict[UUID, DataKey]:
        """The keys of those learners that have one; a destroyed key is absent."""
        ...

    async def look(self, learners: Collection[UUID]) -> dict[UUID, DataKey | DataLoss]:
        """Like :meth:`get`, with what is wrong with a key in its place."""
        ...

    async def destroy(self, learners: Collection[UUID]) -> None:
        """Forget keys for ever, and remember that they were destroyed; unknown learners are only remembered."""
        ...

    async def destroyed(self) -> set[UUID]:
        """Whose keys were destroyed."""
        ...

    async def ready(self) -> None:
        """Return when the store answers, else raise ``Unavailable``."""
        ...


class PostgresKeyStore:
    """:class:`LearnerKeyStore` in a PostgreSQL database of its own.

    Args:
        pool: connections to that database.
        wrapping_key: the key-encryption key, 32 bytes.
        clock: for ``created_at``.
    """

    def __init__(self, pool: asyncpg.Pool, wrapping_key: bytes, clock: Clock) -> None:
        self._pool = pool
        self._wrap = DataKey(wrapping_key)
        self._name = b64url(sha256(b"vitne/key-name/v1\x00" + wrapping_key))[:16]
        self._clock = clock

    async def put(self, keys: Mapping[UUID, bytes]) -> None:
        """See :class:`LearnerKeyStore`."""
        if keys:
            wrapped = [self._wrap.seal(key, _TABLE, learner, _COLUMN) for learner, key in keys.items()]
            await self._execute(
                "INSERT INTO learner_key (learner, wrapped, wrapped_by, created_at) "
                "SELECT learner, wrapped, $3, $4 FROM unnest($1::uuid[], $2::bytea[]) AS new (learner, wrapped)",
                list(keys),
                wrapped,
                self._name,
                self._clock.now(),
            )

    async def get(self, learners: Collection[UUID]) -> dict[UUID, DataKey]:
        """See :class:`LearnerKeyStore`.

        Raises:
            DataLoss: ``WRAPPING_KEY_UNKNOWN`` for a key that another key-encryption key
                wrapped, ``SEAL_BROKEN`` for one that was tampered with.
            Unavailable: ``KEY_STORE_UNAVAILABLE``.
        """
        keys: dict[UUID, DataKey] = {}
        for learner, key in (await self.look(learners)).items():
            if isinstance(key, DataLoss):
                raise key
            keys[learner] = key
        return keys

    async def look(self, learners: Collection[UUID]) -> dict[UUID, DataKey | DataLoss]:
        """See :class:`LearnerKeyStore`.

        Raises:
            Unavailable: ``KEY_STORE_UNAVAILABLE``.
        """
        if not learners:
            return {}
        try:
            rows = await self._pool.fetch(
                "SELECT learner, wrapped, wrapped_by FROM learner_key WHERE learner = ANY($1::uuid[])", list(learners)
            )
        except DATABASE_OUTAGES as error:
            raise _unavailable() from error
        return {row["learner"]: self._unwrap(row) for row in rows}

    async def destroy(self, learners: Collection[UUID]) -> None:
        """See :class:`LearnerKeyStore`."""
        if learners:
            await self._execute(
                "WITH gone AS (DELETE FROM learner_key WHERE learner = ANY($1::uuid[])) "
                "INSERT INTO erased_learner (learner, erased_at) SELECT unnest($1::uuid[]), $2 ON CONFLICT DO NOTHING",
                list(learners),
                self._clock.now(),
            )

    async def destroyed(self) -> set[UUID]:
        """See :class:`LearnerKeyStore`.

        Raises:
            Unavailable: ``KEY_STORE_UNAVAILABLE``.
        """
        try:
            rows = await self._pool.fetch("SELECT learner FROM erased_learner")
        except DATABASE_OUTAGES as error:
            raise _unavailable() from error
        return {row["learner"] for row in rows}

    async def ready(self) -> None:
        """See :class:`LearnerKeyStore`."""
        await self._execute("SELECT 1")

    def _unwrap(self, row: Mapping[str, Any]) -> DataKey | DataLoss:
        if row["wrapped_by"] != self._name:
            return DataLoss(
                "WRAPPING_KEY_UNKNOWN",
                f"the data key of learner {row['learner']} is wrapped by {row['wrapped_by']}, which is not at hand",
                remedy="start the issuer with the key-encryption key that wrapped it",
            )
        try:
            return DataKey(self._wrap.open(row["wrapped"], _TABLE, row["learner"], _COLUMN))
        except DataLoss as error:
            return error

    async def _execute(self, query: str, *arguments: object) -> None:
        try:
            await self._pool.execute(query, *arguments)
        except DATABASE_OUTAGES as error:
            raise _unavailable() from error


def _unavailable() -> Unavailable:
    return Unavailable(
        "KEY_STORE_UNAVAILABLE",
        "the store of learners' keys does not answer",
        remedy="try again with the same request id; an operator should look at the key store's database",
    )
