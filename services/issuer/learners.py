"""Learners: found by a keyed hash, held as ciphertext under a key of their own."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import msgspec

from services.issuer.crypto import DataKey, IndexKey
from services.issuer.key_store import LearnerKeyStore
from services.issuer.store import REPEATED, RequestKey
from vitne.clock import Clock
from vitne.credentials.pseudonyms import SECRET_BYTES
from vitne.errors import Unavailable
from vitne.identifiers import LearnerId
from vitne.runtime.sealing import new_key

_TABLE: Final = "learner"
_FIND: Final = "SELECT lookup, id, erasing_since FROM learner WHERE lookup = ANY($1::bytea[])"
_FIND_AND_HOLD: Final = f"{_FIND} ORDER BY id FOR KEY SHARE"
#: Beside the learners whether any of these requests was answered before: one round trip for what each group asks.
_FIND_FOR_REQUESTS: Final = f"""
    SELECT repeated, lookup, id, erasing_since
    FROM (SELECT EXISTS ({REPEATED.format(2, 3, 4)}) AS repeated) AS before
        LEFT JOIN ({_FIND_AND_HOLD}) AS held ON true
"""  # noqa: S608 (constants)
#: Inserts learners, given as :meth:`Learners.columns` has them; answers who was not there yet.
INSERT: Final = """
    INSERT INTO learner (id, lookup, identity, secret, created_at)
    SELECT id, lookup, identity, secret, $5
    FROM unnest($1::uuid[], $2::bytea[], $3::bytea[], $4::bytea[]) AS new (id, lookup, identity, secret)
    ON CONFLICT (lookup) DO NOTHING RETURNING id
"""

_log = logging.getLogger(__name__)


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

    async def find(
        self, connection: Any, identities: Collection[LearnerId], *, hold: bool = False
    ) -> dict[LearnerId, Learner | None]:
        """The learners who are known here; None stands for one who is being erased.

        ``hold`` keeps erasure waiting until the caller's transaction ends, so that it sees all that the transaction
        stores of them.

        Raises:
            Unavailable: ``KEY_STORE_UNAVAILABLE``.
        """
        by_lookup = {self._index.learner(who): who for who in identities}
        return await self._opened(by_lookup, await connection.fetch(_FIND_AND_HOLD if hold else _FIND, list(by_lookup)))

    async def find_for(
        self, connection: Any, identities: Collection[LearnerId], requests: Collection[RequestKey]
    ) -> tuple[dict[LearnerId, Learner | None], bool]:
        """:meth:`find`, held, for those whom requests are about; and whether any of these was answered before.

        Raises:
            Unavailable: ``KEY_STORE_UNAVAILABLE``.
        """
        by_lookup = {self._index.learner(who): who for who in identities}
        rows = await connection.fetch(
            _FIND_FOR_REQUESTS,
            list(by_lookup),
            [request.provider for request in requests],
            [request.request_id for request in requests],
            [request.item for request in requests],
        )
        return await self._opened(by_lookup, [row for row in rows if row["id"] is not None]), rows[0]["repeated"]

    async def _opened(
        self, by_lookup: Mapping[bytes, LearnerId], rows: Sequence[Mapping[str, Any]]
    ) -> dict[LearnerId, Learner | None]:
        """Learners with their keys, from their rows."""
        # Whose key is gone and whose row is there is being erased, too: a restore may have brought the row back.
        keys = await self._keys.get([row["id"] for row in rows if row["erasing_since"] is None])
        return {
            by_lookup[row["lookup"]]: Learner(row["id"], keys[row["id"]]) if row["id"] in keys else None for row in rows
        }

    async def draft(self, identities: Collection[LearnerId]) -> dict[LearnerId, Learner]:
        """Ids and stored keys for learners who are not known yet; their rows are still to be inserted.

        The key comes first: a key without a learner opens nothing, a learner without a
        key would be lost.

        Raises:
            Unavailable: ``KEY_STORE_UNAVAILABLE``.
        """
        fresh = {who: (self._new_id(), new_key()) for who in identities}
        await self._keys.put(dict(fresh.values()))
        return {who: Learner(id_, DataKey(key)) for who, (id_, key) in fresh.items()}

    async def discard(self, drafts: Collection[Learner]) -> None:
        """Destroy the keys of drafts of which nothing was, or will be, stored.

        Never a sweep of all keys without a learner: it would compare two databases, and with one of them restored
        or mistaken for another it would erase everybody. What a crash leaves behind is a key that opens nothing.
        """
        try:
            await self._keys.destroy([learner.id for learner in drafts])
        except Unavailable as error:
            _log.warning("unused keys of learners stay", extra={"reason": error.reason, "count": len(drafts)})

    async def insert(self, connection: Any, drafts: Mapping[LearnerId, Learner]) -> bool:
        """Insert drafted learners, in the caller's transaction; False when another one was faster with any of them."""
        if not drafts:
            return True
        inserted = await connection.fetch(INSERT, *self.columns(drafts))
        return len(inserted) == len(drafts)

    def columns(self, drafts: Mapping[LearnerId, Learner]) -> tuple[object, ...]:
        """What :data:`INSERT` takes for drafted learners."""
        # In the order of their hashes: two transactions that meet on two learners wait, they don't deadlock.
        rows = sorted((self._index.learner(who), who, learner) for who, learner in drafts.items())
        return (
            [learner.id for _, _, learner in rows],
            [lookup for lookup, _, _ in rows],
            [learner.key.seal(_identity(who), _TABLE, learner.id, "identity") for _, who, learner in rows],
            [
                learner.key.seal(secrets.token_bytes(SECRET_BYTES), _TABLE, learner.id, "secret")
                for _, _, learner in rows
            ],
            self._clock.now(),
        )

    async def find_or_create(self, connection: Any, who: LearnerId) -> tuple[Learner, bool]:
        """One learner, whose row is inserted if there is none, in the caller's transaction; and whether it was.

        Who rolls that transaction back discards a learner that was created.

        Raises:
            Unavailable: ``KEY_STORE_UNAVAILABLE``, ``LEARNER_BEING_ERASED``.
        """
        found = await self.find(connection, [who])
        if who not in found:
            drafts = await self.draft([who])
            try:
                if await self.insert(connection, drafts):
                    return drafts[who], True
            except BaseException:
                await self.discard(drafts.values())
                raise
            await self.discard(drafts.values())
            found = await self.find(connection, [who])
        learner = found.get(who)
        if learner is None:
            raise being_erased()
        return learner, False

    async def identity(self, connection: Any, learner: Learner) -> tuple[LearnerId, datetime]:
        """Who a learner is, and since when they are known.

        Raises:
            Unavailable: ``LEARNER_BEING_ERASED``.
            DataLoss: ``SEAL_BROKEN``.
        """
        row = await connection.fetchrow("SELECT identity, created_at FROM learner WHERE id = $1", learner.id)
        if row is None:
            raise being_erased()
        scheme, value = msgspec.json.decode(
            learner.key.open(row["identity"], _TABLE, learner.id, "identity"), type=tuple[str, str]
        )
        return LearnerId(scheme, value), row["created_at"]

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


def being_erased() -> Unavailable:
    """The refusal to work on a learner whose erasure is under way."""
    return Unavailable(
        "LEARNER_BEING_ERASED",
        "the learner's data is being erased",
        remedy="try again in a minute with the same request id",
    )


def _identity(who: LearnerId) -> bytes:
    return msgspec.json.encode([who.scheme, who.value])
