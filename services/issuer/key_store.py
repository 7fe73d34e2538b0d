"""Learners' data keys, in a store of their own.

Destroying a key erases its learner, so keys live apart from what they open: here
in a second database, wrapped by a key-encryption key that is in neither. Another
store (an HSM, a cloud KMS) has to offer the same methods.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, Protocol
from uuid import UUID

import asyncpg

from services.issuer.archive import Deposit, deposit, unavailable
from services.issuer.crypto import DataKey
from services.issuer.wrapping import WrappingKey
from vitne.clock import Clock
from vitne.errors import DataLoss
from vitne.outages import DATABASE_OUTAGES

_TABLE: Final = "learner_key"


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

    async def destroy(self, learners: Collection[UUID], deposits: Sequence[Deposit] = ()) -> None:
        """Forget keys for ever, and remember that they were destroyed; unknown learners are only remembered.

        With them, in one transaction, what has to be kept that they opened is deposited.
        """
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
        wrapping: the key-encryption key.
        clock: for ``created_at``.
    """

    def __init__(self, pool: asyncpg.Pool, wrapping: WrappingKey, clock: Clock) -> None:
        self._pool = pool
        self._wrapping = wrapping
        self._clock = clock

    async def put(self, keys: Mapping[UUID, bytes]) -> None:
        """See :class:`LearnerKeyStore`."""
        if keys:
            wrapped = [self._wrapping.wrap(key, _TABLE, learner) for learner, key in keys.items()]
            await self._execute(
                "INSERT INTO learner_key (learner, wrapped, wrapped_by, created_at) "
                "SELECT learner, wrapped, $3, $4 FROM unnest($1::uuid[], $2::bytea[]) AS new (learner, wrapped)",
                list(keys),
                wrapped,
                self._wrapping.name,
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
            raise unavailable() from error
        return {row["learner"]: self._unwrap(row) for row in rows}

    async def destroy(self, learners: Collection[UUID], deposits: Sequence[Deposit] = ()) -> None:
        """See :class:`LearnerKeyStore`."""
        if not learners:
            return
        now = self._clock.now()
        try:
            async with self._pool.acquire() as connection, connection.transaction():
                await deposit(connection, self._wrapping, deposits, now)
                await connection.execute(
                    "WITH gone AS (DELETE FROM learner_key WHERE learner = ANY($1::uuid[])) INSERT INTO erased_learner "
                    "(learner, erased_at) SELECT unnest($1::uuid[]), $2 ON CONFLICT DO NOTHING",
                    list(learners),
                    now,
                )
        except DATABASE_OUTAGES as error:
            raise unavailable() from error

    async def destroyed(self) -> set[UUID]:
        """See :class:`LearnerKeyStore`.

        Raises:
            Unavailable: ``KEY_STORE_UNAVAILABLE``.
        """
        try:
            rows = await self._pool.fetch("SELECT learner FROM erased_learner")
        except DATABASE_OUTAGES as error:
            raise unavailable() from error
        return {row["learner"] for row in rows}

    async def ready(self) -> None:
        """See :class:`LearnerKeyStore`."""
        await self._execute("SELECT 1")

    def _unwrap(self, row: Mapping[str, Any]) -> DataKey | DataLoss:
        try:
            return self._wrapping.unwrap(row["wrapped"], row["wrapped_by"], _TABLE, row["learner"])
        except DataLoss as error:
            return error

    async def _execute(self, query: str, *arguments: object) -> None:
        try:
            await self._pool.execute(query, *arguments)
        except DATABASE_OUTAGES as error:
            raise unavailable() from error
