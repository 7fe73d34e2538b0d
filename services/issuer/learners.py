"""Learners: found by a keyed hash, held as ciphertext under a key of their own."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

import msgspec

from services.issuer.crypto import DataKey, IndexKey, new_key
from services.issuer.key_store import LearnerKeyStore
from vitne.clock import Clock
from vitne.credentials.pseudonyms import SECRET_BYTES
from vitne.errors import Unavailable
from vitne.identifiers import LearnerId

_TABLE: Final = "learner"


@dataclass(frozen=True, slots=True)
class Learner:
    """A learner's row and the key that opens what is sealed for them."""

    id: UUID
    key: DataKey = field(repr=False)


class Learners:
    """Finds learners and creates those who are new.

    Args:
        keys: where their data keys are.
        index: the key of the keyed hash by which they are found.
        clock: for ``created_at``.
        new_id: makes UUIDv7.
    """

    def __init__(self, keys: LearnerKeyStore, index: IndexKey, clock: Clock, new_id: Callable[[], UUID]) -> None:
        self._keys = keys
        self._index = index
        self._clock = clock
        self._new_id = new_id

    async def find_or_create(self, connection: Any, identities: Collection[LearnerId]) -> dict[LearnerId, Learner]:
        """Every learner named, with their key; in the caller's transaction.

        A learner whose key is gone while the row still stands is being erased, and is left out of the answer.

        Raises:
            Unavailable: ``KEY_STORE_UNAVAILABLE``.
        """
        by_lookup = {self._index.learner(who): who for who in identities}
        found = await self._select(connection, by_lookup)
        # In the order of their hashes: two transactions that meet on two new learners wait, they don't deadlock.
        missing = sorted(by_lookup.keys() - found.keys())
        created: dict[bytes, Learner] = {}
        if missing:
            created = await self._create(connection, {lookup: by_lookup[lookup] for lookup in missing})
            raced = by_lookup.keys() - found.keys() - created.keys()
            if raced:
                found |= await self._select(connection, raced)
        keys = await self._keys.get(found.values())
        present = {lookup: Learner(row, keys[row]) for lookup, row in found.items() if row in keys}
        return {by_lookup[lookup]: learner for lookup, learner in (present | created).items()}

    async def secret(self, connection: Any, learner: Learner) -> bytes:
        """The learner's 32-byte secret.

        Raises:
            Unavailable: ``LEARNER_BEING_ERASED``.
            DataLoss: ``SEAL_BROKEN``.
        """
        return (await self.secrets(connection, [learner]))[learner.id]

    async def secrets(self, connection: Any, learners: Collection[Learner]) -> dict[UUID, bytes]:
        """The secrets of many learners, by id.

        Raises:
            Unavailable: ``LEARNER_BEING_ERASED`` when a row is gone.
            DataLoss: ``SEAL_BROKEN``.
        """
        if not learners:
            return {}
        rows = await connection.fetch(
            "SELECT id, secret FROM learner WHERE id = ANY($1::uuid[])", [learner.id for learner in learners]
        )
        sealed = {row["id"]: row["secret"] for row in rows}
        if len(sealed) < len({learner.id for learner in learners}):
            raise being_erased()
        return {learner.id: learner.key.open(sealed[learner.id], _TABLE, learner.id, "secret") for learner in learners}

    async def _select(self, connection: Any, lookups: Collection[bytes]) -> dict[bytes, UUID]:
        rows = await connection.fetch("SELECT lookup, id FROM learner WHERE lookup = ANY($1::bytea[])", list(lookups))
        return {row["lookup"]: row["id"] for row in rows}

    async def _create(self, connection: Any, identities: dict[bytes, LearnerId]) -> dict[bytes, Learner]:
        """Create rows for new learners; the answer lacks those that another transaction created meanwhile.

        The key is stored first: a key without a learner opens nothing, a learner
        without a key would be lost.
        """
        fresh = {lookup: (self._new_id(), new_key()) for lookup in identities}
        await self._keys.put(dict(fresh.values()))
        learners = {lookup: Learner(row, DataKey(key)) for lookup, (row, key) in fresh.items()}
        rows = await connection.fetch(
            """
            INSERT INTO learner (id, lookup, identity, secret, created_at)
            SELECT id, lookup, identity, secret, $5
            FROM unnest($1::uuid[], $2::bytea[], $3::bytea[], $4::bytea[]) AS new (id, lookup, identity, secret)
            ON CONFLICT (lookup) DO NOTHING RETURNING lookup
            """,
            [learner.id for learner in learners.values()],
            list(learners),
            [
                learner.key.seal(_identity(identities[lookup]), _TABLE, learner.id, "identity")
                for lookup, learner in learners.items()
            ],
            [
                learner.key.seal(secrets.token_bytes(SECRET_BYTES), _TABLE, learner.id, "secret")
                for learner in learners.values()
            ],
            self._clock.now(),
        )
        created = {row["lookup"]: learners[row["lookup"]] for row in rows}
        await self._keys.destroy([learner.id for lookup, learner in learners.items() if lookup not in created])
        return created


def being_erased() -> Unavailable:
    """The refusal to work on a learner whose erasure is under way."""
    return Unavailable(
        "LEARNER_BEING_ERASED",
        "the learner's data is being erased",
        remedy="try again in a minute with the same request id",
    )


def _identity(who: LearnerId) -> bytes:
    return msgspec.json.encode([who.scheme, who.value])
