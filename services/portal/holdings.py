"""All that the portal holds of a learner: to show her, to hand it to her, and to delete it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final, Protocol
from uuid import UUID

import msgspec

from services.portal.employers.store import Employers
from services.portal.emrex.store import Imports
from services.portal.sealing import PortalKeys
from services.portal.sharing.store import Shares
from services.portal.store import Store
from services.portal.wallet.store import Offers
from vitne.clock import Clock
from vitne.errors import DataLoss, NotFound
from vitne.outages import DATABASE_OUTAGES
from vitne.runtime.database import repeated

#: How long a copy waits for the learner to fetch it.
LIFETIME: Final = timedelta(minutes=10)
#: How often copies that nobody fetched are swept out.
SWEEP_SECONDS: Final = 60.0
#: Where a copy belongs, for its seal.
_PLACE: Final = "export"

_log = logging.getLogger(__name__)


class Holding(Protocol):
    """One subject of what is held of a learner."""

    #: Name in an export.
    name: str

    async def held(self, lookup: bytes) -> Any:
        """What is held of her, as JSON can say it."""
        ...


class Gathered:
    """Her registration and her credentials.

    Args:
        pool: of asyncpg.
        store: what was gathered.
    """

    name = "gathered"

    def __init__(self, pool: Any, store: Store) -> None:
        self._pool = pool
        self._store = store

    async def held(self, lookup: bytes) -> Any:
        """See :class:`Holding`."""
        row = await self._pool.fetchrow(
            "SELECT pseudonym, created_at, registered_at FROM subscriber WHERE lookup = $1", lookup
        )
        if row is None:
            return None
        return {
            **row,
            "legal_ground": await self._store.legal_ground(lookup),
            "credentials": await self._store.credentials(lookup),
        }


class LoggedInSessions:
    """Where she is logged in.

    Args:
        pool: of asyncpg.
    """

    name = "sessions"

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    async def held(self, lookup: bytes) -> Any:
        """See :class:`Holding`."""
        rows = await self._pool.fetch("SELECT expires_at FROM session WHERE lookup = $1 ORDER BY 1", lookup)
        return [dict(row) for row in rows]


class Shared:
    """What she shares, and when each share was opened.

    Args:
        pool: of asyncpg.
        shares: knows what is in them.
    """

    name = "shares"

    def __init__(self, pool: Any, shares: Shares) -> None:
        self._pool = pool
        self._shares = shares

    async def held(self, lookup: bytes) -> Any:
        """See :class:`Holding`."""
        found = await self._shares.of_learner(lookup)
        rows = await self._pool.fetch(
            "SELECT share, opened_at FROM share_opening WHERE share = ANY($1::uuid[]) ORDER BY opened_at",
            [one.terms.id for one in found],
        )
        return [
            {"share": one, "opened_at": [row["opened_at"] for row in rows if row["share"] == one.terms.id]}
            for one in found
        ]


class SeenByEmployers:
    """Which employers see what, by her consent.

    Args:
        employers: the consents.
        clock: those that have ended are not held any more.
    """

    name = "employers"

    def __init__(self, employers: Employers, clock: Clock) -> None:
        self._employers = employers
        self._clock = clock

    async def held(self, lookup: bytes) -> Any:
        """See :class:`Holding`."""
        return await self._employers.of_learner(lookup, self._clock.now())


class Imported:
    """What she has fetched from elsewhere, as it came.

    Args:
        imports: knows what is in them.
    """

    name = "imports"

    def __init__(self, imports: Imports) -> None:
        self._imports = imports

    async def held(self, lookup: bytes) -> Any:
        """See :class:`Holding`. What does not open is told as ``unreadable``, and keeps nothing else from her."""
        return [
            {
                "id": one.id,
                "provider": one.provider,
                "begun_at": one.begun_at,
                "code": one.code,
                "answered_at": one.answered_at,
                "kept": one.kept,
                **await self._content(lookup, one.id),
            }
            for one in await self._imports.of_learner(lookup)
        ]

    async def _content(self, lookup: bytes, id_: UUID) -> dict[str, Any]:
        try:
            content = await self._imports.content(lookup, id_)
        except DataLoss as error:
            _log.error("an import does not open", extra={"reason": error.reason})
            return {"content": None, "unreadable": True}
        except NotFound:  # deleted, or over, meanwhile
            return {"content": None, "unreadable": False}
        return {"content": content.decode(), "unreadable": False}


class OfferedToWallets:
    """What she offered to wallets, and when one took it.

    Args:
        offers: the offers.
    """

    name = "wallet_offers"

    def __init__(self, offers: Offers) -> None:
        self._offers = offers

    async def held(self, lookup: bytes) -> Any:
        """See :class:`Holding`."""
        return [
            {
                "id": one.id,
                "credential": one.handle,
                "made_at": one.made_at,
                "expires_at": one.expires_at,
                "taken_at": one.taken_at,
                "ended_at": one.ended_at,
            }
            for one in await self._offers.of_learner(lookup)
        ]


class Holdings:
    """Copies of what is held, and the end of it.

    Args:
        pool: of asyncpg.
        keys: seal copies.
        parts: what is held, by subject.
        clock: how long a copy waits.
    """

    def __init__(self, pool: Any, keys: PortalKeys, parts: Sequence[Holding], clock: Clock) -> None:
        self._pool = pool
        self._keys = keys
        self._parts = parts
        self._clock = clock

    async def make_copy(self, lookup: bytes, elsewhere: Any) -> None:
        """Put together all that is held of a learner, for her to fetch within :data:`LIFETIME`.

        Args:
            lookup: hers.
            elsewhere: what the issuer holds, as JSON can say it.

        Raises:
            DataLoss: ``SEAL_BROKEN``.
        """
        now = self._clock.now()
        copy = {
            "made_at": now,
            "portal": {part.name: await part.held(lookup) for part in self._parts},
            "issuer": elsewhere,
        }
        content = await asyncio.to_thread(lambda: msgspec.json.format(msgspec.json.encode(copy), indent=1))
        await self._pool.execute(
            """
            INSERT INTO export (lookup, content, made_at, expires_at) VALUES ($1, $2, $3, $4)
            ON CONFLICT (lookup) DO UPDATE
                SET content = excluded.content, made_at = excluded.made_at, expires_at = excluded.expires_at
            """,
            lookup,
            self._keys.seal_for(content, _PLACE, lookup),
            now,
            now + LIFETIME,
        )

    async def copy_made(self, lookup: bytes) -> datetime | None:
        """When a copy was made that is there to fetch; None: there is none."""
        found: datetime | None = await self._pool.fetchval(
            "SELECT made_at FROM export WHERE lookup = $1 AND expires_at > $2", lookup, self._clock.now()
        )
        return found

    async def copy(self, lookup: bytes) -> bytes | None:
        """A learner's copy as JSON; None: there is none (any more).

        Raises:
            DataLoss: ``SEAL_BROKEN``.
        """
        sealed: bytes | None = await self._pool.fetchval(
            "SELECT content FROM export WHERE lookup = $1 AND expires_at > $2", lookup, self._clock.now()
        )
        return None if sealed is None else self._keys.open_for(sealed, _PLACE, lookup)

    async def erase(self, lookup: bytes) -> None:
        """Delete all that is held of a learner: what hangs on her row goes with it, her key included."""

        async def delete(connection: Any) -> None:
            # The consumer takes her credentials and her own row in the order of the topic: they may meet.
            for table in ("subscriber", "export", "session"):
                await connection.execute(f"DELETE FROM {table} WHERE lookup = $1", lookup)  # noqa: S608 (constants)

        await repeated(self._pool, delete)

    async def run(self) -> None:
        """Sweep out copies that nobody fetched, until cancelled."""
        while True:
            try:
                await self._pool.execute("DELETE FROM export WHERE expires_at <= $1", self._clock.now())
            except DATABASE_OUTAGES as error:
                _log.warning("copies that nobody fetched wait: %s", type(error).__name__)
            await self._clock.sleep(SWEEP_SECONDS)
