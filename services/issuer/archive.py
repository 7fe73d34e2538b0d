"""What the archives acts keep of learners who were erased (docs/decisions/0026).

It lies with the learners' keys, in the database that is never restored to an earlier instant, and is put there in the
transaction that destroys the learner's key. Nothing here leads from a person to a credential: who reads one has its id.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import asyncpg

from services.issuer.crypto import DataKey
from services.issuer.wrapping import WrappingKey
from vitne.clock import Clock
from vitne.errors import AlreadyExists, Unavailable
from vitne.outages import DATABASE_OUTAGES
from vitne.runtime.sealing import new_key

_TABLE: Final = "archived_credential"


@dataclass(frozen=True, slots=True)
class Deposit:
    """A credential that is kept: its content is a serialised ``IssuedCredential`` with all artefacts."""

    credential: UUID
    provider: str
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Reading:
    """Who reads, and why.

    Attributes:
        provider: on whose behalf; it reads its own only.
        request_id: of the reading; repeated, it is recorded once.
        credential: what is read.
        ground: an ``ArchiveGround``.
        reference: the case in the institution's own records.
        client: the client that asks.
    """

    provider: str
    request_id: UUID
    credential: UUID
    ground: int
    reference: str
    client: str


async def deposit(connection: Any, wrapping: WrappingKey, deposits: Sequence[Deposit], now: datetime) -> None:
    """Keep credentials, in the transaction of whoever destroys the key that they were readable by."""
    for one in deposits:
        key = new_key()
        await connection.execute(
            "INSERT INTO archived_credential (credential, provider, wrapped, wrapped_by, content, archived_at) "
            "VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
            one.credential,
            one.provider,
            wrapping.wrap(key, _TABLE, one.credential),
            wrapping.name,
            DataKey(key).seal(one.content, _TABLE, one.credential, "content"),
            now,
        )


class Archive:
    """Answers what was kept, to whoever says why.

    Args:
        pool: the database of learners' keys.
        wrapping: the key-encryption key.
        clock: says when something was read.
    """

    def __init__(self, pool: asyncpg.Pool, wrapping: WrappingKey, clock: Clock) -> None:
        self._pool = pool
        self._wrapping = wrapping
        self._clock = clock

    async def holds(self, credentials: Collection[UUID]) -> set[UUID]:
        """Which of these are kept here.

        Raises:
            Unavailable: ``KEY_STORE_UNAVAILABLE``.
        """
        if not credentials:
            return set()
        try:
            rows = await self._pool.fetch(
                "SELECT credential FROM archived_credential WHERE credential = ANY($1::uuid[])", list(credentials)
            )
        except DATABASE_OUTAGES as error:
            raise unavailable() from error
        return {row["credential"] for row in rows}

    async def read(self, reading: Reading) -> tuple[bytes, datetime] | None:
        """A credential's content and since when it is kept, once the reading is recorded; None: it is not kept.

        Raises:
            AlreadyExists: ``REQUEST_ID_REUSED``.
            DataLoss: ``WRAPPING_KEY_UNKNOWN``, ``SEAL_BROKEN``.
            Unavailable: ``KEY_STORE_UNAVAILABLE``.
        """
        try:
            async with self._pool.acquire() as connection, connection.transaction():
                row = await connection.fetchrow(
                    "SELECT wrapped, wrapped_by, content, archived_at FROM archived_credential "
                    "WHERE credential = $1 AND provider = $2",
                    reading.credential,
                    reading.provider,
                )
                if row is None:
                    return None
                await self._record(connection, reading)
        except DATABASE_OUTAGES as error:
            raise unavailable() from error
        key = self._wrapping.unwrap(row["wrapped"], row["wrapped_by"], _TABLE, reading.credential)
        return key.open(row["content"], _TABLE, reading.credential, "content"), row["archived_at"]

    async def _record(self, connection: Any, reading: Reading) -> None:
        await connection.execute(
            "INSERT INTO archive_reading (provider, request_id, credential, ground, reference, client, read_at) "
            "VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
            reading.provider,
            reading.request_id,
            reading.credential,
            reading.ground,
            reading.reference,
            reading.client,
            self._clock.now(),
        )
        recorded = await connection.fetchrow(
            "SELECT credential, ground, reference FROM archive_reading WHERE provider = $1 AND request_id = $2",
            reading.provider,
            reading.request_id,
        )
        if tuple(recorded) != (reading.credential, reading.ground, reading.reference):
            raise AlreadyExists(
                "REQUEST_ID_REUSED",
                "the request id was used before, for another reading",
                field="request_id",
                rule="AIP-155: one id, one request",
                remedy="use a new UUID for a new reading",
            )


def unavailable() -> Unavailable:
    """The answer while the database of learners' keys does not answer."""
    return Unavailable(
        "KEY_STORE_UNAVAILABLE",
        "the store of learners' keys does not answer",
        remedy="try again with the same request id; an operator should look at the key store's database",
    )
