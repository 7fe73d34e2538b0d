"""A learner is erased, wherever it is interrupted (docs/decisions/0026).

It begins with a mark on the learner's row, in which nothing more is issued to them. Then what the archives acts keep
is set apart and the key is destroyed, in one transaction of the key store: from there on nothing else that was sealed
for the learner can be read, whatever fails. Last, in one transaction, hubs are told and forget, what a guess could be
tested against is overwritten, and the row goes. What stays is what proofs need: unreadable credentials of nobody.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

import asyncpg

from services.issuer import store
from services.issuer.archive import Deposit
from services.issuer.key_store import LearnerKeyStore
from services.issuer.notices import Notices
from services.issuer.renditions import Renditions
from vitne.clock import Clock
from vitne.errors import VitneError
from vitne.outages import DATABASE_OUTAGES
from vitne.runtime.database import repeated
from vitne_api.credential.v1 import credential_pb2

#: An erasure of this age has nobody who completes it: a call takes a hundredth of that.
ABANDONED_AFTER: Final = timedelta(seconds=10)
#: How often abandoned erasures are looked for.
COMPLETE_SECONDS: Final = 5.0
_ARCHIVE: Final = credential_pb2.RETENTION_CLASS_ARCHIVE

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Erased:
    """What an erasure came to.

    Attributes:
        erased: credentials that nobody can read any more.
        kept: those that the archives acts keep, restricted.
    """

    erased: int = 0
    kept: tuple[store.Credential, ...] = ()


class Erasures:
    """Erases learners.

    Args:
        pool: the issuer's database.
        keys: learners' data keys.
        notices: what hubs are told.
        renditions: knows the artefacts of what is kept.
        clock: says when an erasure began.
    """

    def __init__(
        self,
        pool: asyncpg.Pool,
        *,
        keys: LearnerKeyStore,
        notices: Notices,
        renditions: Renditions,
        clock: Clock,
    ) -> None:
        self._pool = pool
        self._keys = keys
        self._notices = notices
        self._renditions = renditions
        self._clock = clock

    async def erase(self, learner: UUID) -> Erased:
        """Erase a learner by the id of the row. Repeated after a failure, it completes what is left.

        Raises:
            DataLoss: something that has to be kept can't be read; nothing is erased until an operator has looked.
            Unavailable: ``KEY_STORE_UNAVAILABLE``.
        """
        await repeated(self._pool, lambda connection: self._begin(connection, learner))
        # In a transaction of its own: credentials are locked before learners, here as everywhere.
        await repeated(self._pool, lambda connection: store.give_up(connection, learner))
        return await repeated(self._pool, lambda connection: self._complete(connection, learner))

    async def run(self) -> None:
        """Complete what was begun and not finished, until cancelled."""
        while True:
            try:
                await self.complete_abandoned()
            except (*DATABASE_OUTAGES, VitneError) as error:
                _log.warning("abandoned erasures wait: %s", type(error).__name__)
            await self._clock.sleep(COMPLETE_SECONDS)

    async def complete_abandoned(self) -> int:
        """Complete erasures of a certain age; answers how many. One that fails keeps no other waiting."""
        rows = await self._pool.fetch(
            "SELECT id FROM learner WHERE erasing_since < $1 ORDER BY id", self._clock.now() - ABANDONED_AFTER
        )
        completed = 0
        for row in rows:
            try:
                await self.erase(row["id"])
                completed += 1
            except VitneError as error:
                _log.error("an erasure can't be completed", extra={"reason": error.reason, "learner": str(row["id"])})
        return completed

    async def _begin(self, connection: Any, learner: UUID) -> None:
        # Issuances that found the learner before hold the row: once it is marked, all there will be is there.
        await connection.fetchval("SELECT true FROM learner WHERE id = $1 FOR UPDATE", learner)
        await connection.execute(
            "UPDATE learner SET erasing_since = $2 WHERE id = $1 AND erasing_since IS NULL", learner, self._clock.now()
        )

    async def _complete(self, connection: Any, learner: UUID) -> Erased:
        # Credentials, learners, aggregates: the order in which everybody locks.
        rows = await store.of_learner(connection, learner, lock=True)
        await connection.fetchval("SELECT true FROM learner WHERE id = $1 FOR UPDATE", learner)
        kept = tuple(row for row in rows if row.retention == _ARCHIVE)
        await self._keys.destroy([learner], await self._deposits(connection, learner, kept))
        await store.unlink(connection, learner)
        await self._notices.forget(connection, learner, self._clock.now())
        await connection.execute("DELETE FROM learner WHERE id = $1", learner)
        return Erased(len(rows) - len(kept), kept)

    async def _deposits(self, connection: Any, learner: UUID, kept: Sequence[store.Credential]) -> list[Deposit]:
        """What is to be set apart; nothing where that was done before."""
        key = (await self._keys.get([learner])).get(learner) if kept else None
        if key is None:
            return []
        return [
            Deposit(row.id, row.provider, (await self._renditions.made(connection, row, key)).SerializeToString())
            for row in kept
        ]
