"""What the portal keeps: who subscribes, and what was gathered for them. Plain SQL."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from datetime import datetime, timedelta
from typing import Any, Final

from services.portal.metrics import VISIBLE_DELAY
from services.portal.sealing import DataKey, PortalKeys
from services.portal.sharing.store import unshare
from services.portal.wallet.withdrawal import end_offers
from vitne.errors import DataLoss
from vitne.runtime.database import repeated

#: Seconds for which a fetcher has what it claimed: longer than a call may take. Whoever
#: dies with a claim delays it by so much.
CLAIM_SECONDS: Final = 15.0
#: Nothing is put off for longer, neither by a claim nor by a failure. What is due later than that was put there by
#: a replica whose clock was ahead, and would wait until everybody's is.
FARTHEST_SECONDS: Final = 120.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Told:
    """What a notice tells of a credential that is to be fetched.

    Attributes:
        handle: its name for this hub.
        pseudonym: whose it is.
        kind: of credential.
        provider: who issued it.
        happened: when what the notice tells of did; None: not measured.
        traceparent: of the notice; None where its trace is not sampled.
    """

    handle: str
    pseudonym: str
    kind: str
    provider: str
    happened: datetime | None = None
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """A credential that is to be fetched.

    Attributes:
        handle: its name for this hub.
        pseudonym: whose it is.
        notices: number of the last notice that had told of it when it was claimed.
        attempts: how often fetching failed in a row.
        happened: when what that notice told of did; None: not known.
        traceparent: of that notice; None where its trace is not sampled.
    """

    handle: str
    pseudonym: str
    notices: int
    attempts: int
    happened: datetime | None = None
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class Fetched:
    """A credential as the issuer answered it.

    Attributes:
        wanted: what was asked for.
        artefact: the credential itself.
        status: ``valid``, ``suspended``, ``revoked``, or ``unknown``.
    """

    wanted: Wanted
    artefact: str
    status: str


@dataclass(frozen=True, slots=True)
class Kept:
    """A credential of a learner's as the portal has it.

    Attributes:
        handle: its name for this hub.
        kind: of credential.
        provider: who issued it.
        artefact: the credential; None until it was fetched, and where it can't be read.
        status: when it was fetched; None until then.
        pending: True while something newer is known of and not fetched yet.
        fetched_at: when it was fetched last.
        unreadable: True where it is here and no longer decrypts.
        history: statuses that were seen here, oldest first, and from when each held as far as was told.
    """

    handle: str
    kind: str
    provider: str
    artefact: str | None
    status: str | None
    pending: bool
    fetched_at: datetime | None
    unreadable: bool = False
    history: tuple[tuple[str, datetime], ...] = ()


@dataclass(frozen=True, slots=True)
class LegalGround:
    """On what a learner is registered who did not ask for it, as she is shown it.

    Attributes:
        citation: the provision.
        reference: the case in which it was decided.
        decided_by: name of who decided.
        recorded_at: when it was recorded at the issuer.
    """

    citation: str
    reference: str
    decided_by: str
    recorded_at: datetime


@dataclass(frozen=True, slots=True)
class Registration:
    """That a learner's credentials are gathered here.

    Attributes:
        pseudonym: who she is to the issuer and this hub.
        legal_ground: on what she is registered who did not ask for it; None: she did.
    """

    pseudonym: str
    legal_ground: LegalGround | None


class Store:
    """The portal's database.

    Args:
        pool: of asyncpg.
        keys: seal what says something of a learner.
    """

    def __init__(self, pool: Any, keys: PortalKeys) -> None:
        self._pool = pool
        self._keys = keys

    # -- Notices: in the transaction of the consumer ---------------------------------------------

    async def want(self, conn: Any, told: Sequence[Told], now: datetime) -> bool:
        """Note that credentials are to be fetched; False when one of the handles is another learner's.

        Args:
            conn: with the consumer's transaction.
            told: by notices, in their order: of several about one credential the last counts.
            now: from when on they are due.
        """
        newest = {one.handle: one for one in told}
        if any(newest[one.handle].pseudonym != one.pseudonym for one in told):
            return False
        await self._subscribe(conn, {one.pseudonym for one in told}, now)
        rows = sorted(newest.values(), key=lambda one: one.handle)
        changed = await conn.fetch(
            """
            INSERT INTO credential AS c (handle, pseudonym, kind, provider, fetch_at, happened, traceparent)
            SELECT handle, pseudonym, kind, provider, $7, happened, traceparent
            FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::timestamptz[], $6::text[])
                AS told (handle, pseudonym, kind, provider, happened, traceparent)
            ON CONFLICT (handle) DO UPDATE
                SET notices = excluded.notices, fetch_at = excluded.fetch_at, attempts = 0,
                    happened = excluded.happened, traceparent = excluded.traceparent
                WHERE c.pseudonym = excluded.pseudonym
            RETURNING true
            """,
            [one.handle for one in rows],
            [one.pseudonym for one in rows],
            [one.kind for one in rows],
            [one.provider for one in rows],
            [one.happened for one in rows],
            [one.traceparent for one in rows],
            now,
        )
        return len(changed) == len(rows)

    async def _subscribe(self, conn: Any, pseudonyms: Collection[str], now: datetime) -> None:
        """Have a row, and with it a key, for each of these learners."""
        known = await conn.fetch(
            "SELECT pseudonym FROM subscriber WHERE pseudonym = ANY($1::text[])", sorted(pseudonyms)
        )
        if new := sorted(set(pseudonyms) - {row["pseudonym"] for row in known}):
            await conn.execute(
                """
                INSERT INTO subscriber (pseudonym, wrapped_key, created_at)
                SELECT pseudonym, wrapped_key, $3 FROM unnest($1::text[], $2::bytea[]) AS new (pseudonym, wrapped_key)
                ON CONFLICT DO NOTHING
                """,
                new,
                [self._keys.new_data_key(pseudonym) for pseudonym in new],
                now,
            )

    async def forget(self, conn: Any, gone: Mapping[str, datetime]) -> None:
        """Delete credentials, and with the last of them a subscriber whom nobody knows.

        Args:
            conn: with a transaction.
            gone: names of the credentials, and when they were withdrawn: what was shared or offered by then is not any
                more.
        """
        # Credentials first, whose lock a fetcher never waits for (`_hold`): who has it takes what hangs on them.
        pseudonyms = await conn.fetch(
            "DELETE FROM credential WHERE handle = ANY($1::text[]) RETURNING pseudonym", list(gone)
        )
        await unshare(conn, gone)
        await end_offers(conn, gone)
        await conn.execute(
            """
            DELETE FROM subscriber s WHERE pseudonym = ANY($1::text[]) AND lookup IS NULL
                AND NOT EXISTS (SELECT FROM credential c WHERE c.pseudonym = s.pseudonym)
            """,
            sorted({row["pseudonym"] for row in pseudonyms}),
        )

    async def end(self, conn: Any, pseudonym: str, at: datetime) -> None:
        """Delete all that is held of a learner whose registration the issuer ended, her log-ins included.

        Mostly nothing is left: she withdrew here, or was erased here. Else she was erased at another hub, or this
        database was restored to before she was. A rebuild reads of earlier ends: who registered since is left alone.

        Args:
            conn: with a transaction.
            pseudonym: whose registration it was.
            at: when it ended, by the issuer's clock, as the registration is.
        """
        lookup = await conn.fetchval(
            "DELETE FROM subscriber WHERE pseudonym = $1 AND (registered_at IS NULL OR registered_at <= $2) "
            "RETURNING lookup",
            pseudonym,
            at,
        )
        if lookup is not None:
            await conn.execute("DELETE FROM export WHERE lookup = $1", lookup)
            await conn.execute("DELETE FROM session WHERE lookup = $1", lookup)

    # -- Fetching --------------------------------------------------------------------------------

    async def claim(self, now: datetime, limit: int) -> list[Wanted]:
        """Take what is due, for :data:`CLAIM_SECONDS`; others pass it over meanwhile.

        What is due later than anything can be (:data:`FARTHEST_SECONDS`) is due, too.
        """
        rows = await self._pool.fetch(
            """
            UPDATE credential SET fetch_at = $2 WHERE handle IN (
                SELECT handle FROM credential WHERE fetch_at <= $1 OR fetch_at > $4
                ORDER BY fetch_at LIMIT $3 FOR UPDATE SKIP LOCKED)
            RETURNING handle, pseudonym, notices, attempts, happened, traceparent
            """,
            now,
            now + timedelta(seconds=CLAIM_SECONDS),
            limit,
            now + timedelta(seconds=FARTHEST_SECONDS),
        )
        return [Wanted(**row) for row in rows]

    async def keep(self, fetched: Sequence[Fetched], gone: Sequence[Wanted], now: datetime) -> list[Wanted]:
        """Store what was answered and forget what is gone.

        An answer to an older question than the newest notice's is dropped, and what that
        notice told of stays due: of two fetchers the slower one may have the older answer.

        Returns:
            What could not be stored, since its learner's key does not open: an operator has
            to look, and other learners must not wait for that.
        """
        async with self._pool.acquire() as conn, conn.transaction():
            wrapped = dict(
                await conn.fetch(
                    "SELECT pseudonym, wrapped_key FROM subscriber WHERE pseudonym = ANY($1::text[])",
                    sorted({one.wanted.pseudonym for one in fetched}),
                )
            )
            keys: dict[str, DataKey] = {}
            broken: set[str] = set()
            for pseudonym, key in wrapped.items():
                try:
                    keys[pseudonym] = self._keys.data_key(key, pseudonym)
                except DataLoss as error:
                    _log.error("a subscriber's key does not open", extra={"reason": error.reason})
                    broken.add(pseudonym)
            readable = [one for one in fetched if one.wanted.pseudonym in keys]
            held = await self._hold(conn, [one.wanted for one in readable])
            current = [one for one in readable if one.wanted.handle in held]
            await conn.execute(
                """
                UPDATE credential SET content = new.content, status = new.status, fetched_at = $4, attempts = 0,
                    fetch_at = NULL,
                    statuses = CASE WHEN credential.status IS DISTINCT FROM new.status
                        THEN credential.statuses || new.status ELSE credential.statuses END,
                    statuses_at = CASE WHEN credential.status IS DISTINCT FROM new.status
                        THEN credential.statuses_at || coalesce(credential.happened, $4) ELSE credential.statuses_at END
                FROM unnest($1::text[], $2::bytea[], $3::text[]) AS new (handle, content, status)
                WHERE credential.handle = new.handle
                """,
                [one.wanted.handle for one in current],
                [
                    keys[one.wanted.pseudonym].seal(one.artefact.encode(), "credential", one.wanted.handle, "content")
                    for one in current
                ],
                [one.status for one in current],
                now,
            )
        for one in current:
            if one.wanted.happened is not None:
                VISIBLE_DELAY.record(max(0.0, (now - one.wanted.happened).total_seconds()))
        if gone:
            async with self._pool.acquire() as conn, conn.transaction():
                held = await self._hold(conn, gone)
                # Not before it was told of, which the issuer's clock says: it may be ahead.
                ends = {one.handle: max(now, one.happened or now) for one in gone if one.handle in held}
                await self.forget(conn, dict(sorted(ends.items())))
        return [one.wanted for one in fetched if one.wanted.pseudonym in broken]

    async def postpone(self, failed: Mapping[Wanted, datetime]) -> None:
        """Try again at these times; what a newer notice told of in the meantime stays due."""
        async with self._pool.acquire() as conn, conn.transaction():
            current = await self._hold(conn, list(failed))
            await conn.executemany(
                "UPDATE credential SET attempts = attempts + 1, fetch_at = $2 WHERE handle = $1",
                [(one.handle, moment) for one, moment in failed.items() if one.handle in current],
            )

    async def _hold(self, conn: Any, wanted: Sequence[Wanted]) -> set[str]:
        """Lock the credentials that no newer notice told of than was claimed; their handles.

        Never waits: who has one locked is the consumer with a newer notice, which makes it due again. Its transaction
        takes credentials in the topic's order, so that waiting here for some while holding others would be a deadlock.
        """
        rows = await conn.fetch(
            """
            SELECT c.handle FROM credential c
            JOIN unnest($1::text[], $2::bigint[]) AS claimed (handle, notices) USING (handle, notices)
            FOR UPDATE OF c SKIP LOCKED
            """,
            [one.handle for one in wanted],
            [one.notices for one in wanted],
        )
        return {row["handle"] for row in rows}

    # -- Learners --------------------------------------------------------------------------------

    async def register(self, lookup: bytes, pseudonym: str, since: datetime, ground: LegalGround | None = None) -> None:
        """Note that a learner is who the issuer calls ``pseudonym``, and registered since then by its clock.

        A learner who was erased at the issuer has another pseudonym than before: what was
        kept under the old one goes.
        """
        async with self._pool.acquire() as conn, conn.transaction():
            await conn.execute("DELETE FROM subscriber WHERE lookup = $1 AND pseudonym <> $2", lookup, pseudonym)
            await conn.execute(
                """
                INSERT INTO subscriber (pseudonym, wrapped_key, lookup, created_at, registered_at,
                    ground_citation, ground_reference, ground_decided_by, ground_recorded_at)
                VALUES ($1, $2, $3, $4, $4, $5, $6, $7, $8)
                ON CONFLICT (pseudonym) DO UPDATE SET lookup = excluded.lookup, registered_at = excluded.registered_at,
                    ground_citation = excluded.ground_citation, ground_reference = excluded.ground_reference,
                    ground_decided_by = excluded.ground_decided_by, ground_recorded_at = excluded.ground_recorded_at
                """,
                pseudonym,
                self._keys.new_data_key(pseudonym),
                lookup,
                since,
                *(astuple(ground) if ground else (None,) * len(fields(LegalGround))),
            )

    async def registration(self, lookup: bytes) -> Registration | None:
        """A learner's registration; None when there is none."""
        row = await self._pool.fetchrow(
            "SELECT pseudonym, ground_citation, ground_reference, ground_decided_by, ground_recorded_at "
            "FROM subscriber WHERE lookup = $1",
            lookup,
        )
        if row is None:
            return None
        pseudonym, *ground = row
        return Registration(pseudonym, None if ground[0] is None else LegalGround(*ground))

    async def pseudonym(self, lookup: bytes) -> str | None:
        """The pseudonym of a registered learner; None when she is not."""
        found: str | None = await self._pool.fetchval("SELECT pseudonym FROM subscriber WHERE lookup = $1", lookup)
        return found

    async def legal_ground(self, lookup: bytes) -> LegalGround | None:
        """On what a registered learner is registered; None: she asked for it herself, or is not registered."""
        found = await self.registration(lookup)
        return None if found is None else found.legal_ground

    async def erase(self, lookup: bytes) -> None:
        """Delete all that is held of a learner, her key included.

        The consumer takes her credentials and her own row in the order of the topic, so the two may meet crosswise.
        """
        await repeated(
            self._pool, lambda connection: connection.execute("DELETE FROM subscriber WHERE lookup = $1", lookup)
        )

    async def credentials(self, lookup: bytes) -> list[Kept]:
        """A learner's credentials. What no longer decrypts is among them, and says so: the others are hers to see."""
        return await self._kept(lookup, None)

    async def credential(self, lookup: bytes, handle: str) -> Kept | None:
        """One of a learner's credentials; None when she has none of that name."""
        found = await self._kept(lookup, handle)
        return found[0] if found else None

    async def _kept(self, lookup: bytes, handle: str | None) -> list[Kept]:
        rows = await self._pool.fetch(
            """
            SELECT s.pseudonym, s.wrapped_key, c.* FROM subscriber s JOIN credential c USING (pseudonym)
            WHERE s.lookup = $1 AND ($2::text IS NULL OR c.handle = $2) ORDER BY c.handle
            """,
            lookup,
            handle,
        )
        if not rows:
            return []
        try:
            key = self._keys.data_key(rows[0]["wrapped_key"], rows[0]["pseudonym"])
        except DataLoss as error:
            _log.error("a subscriber's key does not open", extra={"reason": error.reason})
            key = None
        return [_kept(row, key) for row in rows]

    async def ready(self) -> None:
        """Return when the database answers."""
        await self._pool.fetchval("SELECT count(*) FROM subscriber WHERE false")


def _kept(row: Any, key: DataKey | None) -> Kept:
    artefact, unreadable = None, False
    if row["content"] is not None:
        try:
            artefact = key.open(row["content"], "credential", row["handle"], "content").decode() if key else None
        except DataLoss as error:
            _log.error("a credential does not open", extra={"reason": error.reason})
        unreadable = artefact is None
    return Kept(
        handle=row["handle"],
        kind=row["kind"],
        provider=row["provider"],
        artefact=artefact,
        status=row["status"],
        pending=row["fetch_at"] is not None,
        fetched_at=row["fetched_at"],
        unreadable=unreadable,
        history=tuple(zip(row["statuses"], row["statuses_at"], strict=True)),
    )
