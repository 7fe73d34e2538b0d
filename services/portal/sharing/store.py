"""What the portal keeps of shares. Plain SQL; what is shown is sealed under its learner's key."""

from __future__ import annotations

import hmac
import logging
import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from services.portal.sealing import DataKey, PortalKeys
from services.portal.sharing.access import Access, token_hash
from services.portal.sharing.terms import KEPT_AFTER_END, MAX_SHARES, State, Terms, refusal, unknown
from vitne.canonical import sha256
from vitne.clock import Clock
from vitne.errors import FailedPrecondition, NotFound, ResourceExhausted
from vitne.outages import DATABASE_OUTAGES

#: Random bytes of a visit's secret.
SECRET_BYTES: Final = 32
#: Openings that a learner is shown of each share; of more, how many there were.
OPENINGS_SHOWN: Final = 10
#: How often what ended long ago is swept out.
SWEEP_SECONDS: Final = 3600.0

_TERMS: Final = """
    s.id, s.created_at, s.expires_at, s.withdrawn_at, s.wrong_codes,
    (SELECT count(*) FROM share_item i WHERE i.share = s.id) AS items
"""

#: When a share ended or is to end; written as the index ``share_ended`` has it, or that is not used.
_ENDS: Final = "least(expires_at, coalesce(withdrawn_at, expires_at))"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Item:
    """One credential of a share.

    Attributes:
        handle: its name for this hub.
        artefact: as presented: without what was not chosen.
    """

    handle: str
    artefact: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Share:
    """A share as its learner sees it.

    Attributes:
        terms: when it opens.
        items: what is in it; empty once it is withdrawn.
        handles: of what was shared, also once it is withdrawn.
        label: what she calls it; empty where nothing.
        ended_by: ``learner`` or ``operator``, who withdrew it; None: nobody did, or it is not known any more.
        opened: how often the code was given for it.
        openings: when, the latest first, at most :data:`OPENINGS_SHOWN`.
    """

    terms: Terms
    items: tuple[Item, ...]
    handles: tuple[str, ...]
    label: str = field(repr=False)
    ended_by: str | None
    opened: int
    openings: tuple[datetime, ...]


class Shares:
    """The shares in the portal's database.

    Args:
        pool: of asyncpg.
        keys: seal what is shared.
    """

    def __init__(self, pool: Any, keys: PortalKeys) -> None:
        self._pool = pool
        self._keys = keys

    # -- The learner's ---------------------------------------------------------------------------

    async def create(
        self,
        lookup: bytes,
        id_: UUID,
        items: Sequence[Item],
        *,
        otherwise: UUID,
        access: Access,
        now: datetime,
        lifetime: timedelta,
        label: str = "",
    ) -> UUID:
        """Share; repeated under the same id (the answer was lost, or she pressed twice) the last time counts.

        A page that a browser kept may be sent again with something else picked, or after somebody opened what it made:
        that is a share of its own, and the former stays.

        Args:
            lookup: hers.
            id_: of the share, UUIDv7.
            items: what is in it.
            otherwise: its id where it is one of its own; UUIDv7.
            access: its link and code.
            now: from when on.
            lifetime: for how long.
            label: what she calls it; empty: nothing.

        Returns:
            The share's id.

        Raises:
            FailedPrecondition: ``NOT_REGISTERED``, ``SHARE_WITHDRAWN``.
            ResourceExhausted: ``TOO_MANY_SHARES``.
            NotFound: ``SHARE_UNKNOWN``: the id is another learner's share's; ``CREDENTIAL_UNKNOWN``: one was withdrawn
                meanwhile.
        """
        code_hash = await access.code_hash()
        async with self._pool.acquire() as conn, conn.transaction():
            learner = await conn.fetchrow(
                "SELECT pseudonym, wrapped_key FROM subscriber WHERE lookup = $1 FOR NO KEY UPDATE", lookup
            )
            if learner is None:
                raise FailedPrecondition(
                    "NOT_REGISTERED", "nothing is held here that could be shared", remedy="register first"
                )
            key = self._keys.data_key(learner["wrapped_key"], learner["pseudonym"])
            if await conn.fetchval("SELECT true FROM share WHERE id = $1", id_):
                await self._not_withdrawn(conn, lookup, id_, now)
                if await self._is_repeated(conn, key, id_, items):
                    await conn.execute("DELETE FROM share WHERE id = $1", id_)
                else:
                    id_ = otherwise
            # What is to be swept out is gone to her already.
            count = await conn.fetchval(
                f"SELECT count(*) FROM share WHERE pseudonym = $1 AND {_ENDS} >= $2",  # noqa: S608 - a constant
                learner["pseudonym"],
                now - KEPT_AFTER_END,
            )
            if count >= MAX_SHARES:
                raise ResourceExhausted(
                    "TOO_MANY_SHARES",
                    f"there are {count} shares already",
                    rule=f"at most {MAX_SHARES} at a time",
                    remedy="withdraw some; they go after a while",
                )
            await conn.execute(
                "INSERT INTO share (id, pseudonym, token_hash, code_hash, created_at, expires_at, handles, label) "
                "VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
                id_,
                learner["pseudonym"],
                access.token_hash,
                code_hash,
                now,
                now + lifetime,
                [item.handle for item in items],
                _sealed_label(key, id_, label),
            )
            told = await self._told(conn, learner["pseudonym"], items)
            await conn.executemany(
                "INSERT INTO share_item (share, position, handle, content, told_at) VALUES ($1, $2, $3, $4, $5)",
                [
                    (
                        id_,
                        position,
                        item.handle,
                        key.seal(item.artefact.encode(), *_place(id_, position)),
                        told[item.handle],
                    )
                    for position, item in enumerate(items)
                ],
            )
        return id_

    async def _is_repeated(self, conn: Any, key: DataKey, id_: UUID, items: Sequence[Item]) -> bool:
        """Whether a share holds just these, and nobody has opened it."""
        if await conn.fetchval("SELECT EXISTS (SELECT FROM share_opening WHERE share = $1)", id_):
            return False
        return (await self._items(conn, key, [id_])).get(id_, ()) == tuple(items)

    async def run(self, clock: Clock) -> None:
        """Sweep out what ended long ago, until cancelled."""
        while True:
            try:
                await self._sweep(clock.now())
            except DATABASE_OUTAGES as error:
                _log.warning("shares that ended long ago wait: %s", type(error).__name__)
            await clock.sleep(SWEEP_SECONDS)

    async def _sweep(self, now: datetime) -> None:
        """Delete what ended long ago, with what its learner called it.

        In no transaction of another's, and passing over what is locked: it concerns many learners, in no order, and an
        erasure takes several of these rows at once.
        """
        await self._pool.execute(
            f"""
            DELETE FROM share WHERE id IN (
                SELECT id FROM share WHERE {_ENDS} < $1
                FOR UPDATE SKIP LOCKED)
            """,  # noqa: S608 - a constant
            now - KEPT_AFTER_END,
        )

    async def of_learner(self, lookup: bytes) -> list[Share]:
        """A learner's shares, the newest first, those that ended lately too.

        Raises:
            DataLoss: ``SEAL_BROKEN``.
        """
        rows = await self._pool.fetch(
            f"""
            SELECT u.pseudonym, u.wrapped_key, s.handles, s.label, s.ended_by, {_TERMS},
                (SELECT count(*) FROM share_opening o WHERE o.share = s.id) AS opened,
                ARRAY(SELECT opened_at FROM share_opening o WHERE o.share = s.id ORDER BY opened_at DESC LIMIT $2)
                    AS openings
            FROM subscriber u JOIN share s USING (pseudonym) WHERE u.lookup = $1 ORDER BY s.created_at DESC, s.id DESC
            """,  # noqa: S608 - a constant
            lookup,
            OPENINGS_SHOWN,
        )
        if not rows:
            return []
        key = self._keys.data_key(rows[0]["wrapped_key"], rows[0]["pseudonym"])
        items = await self._items(self._pool, key, [row["id"] for row in rows])
        return [
            Share(
                terms=_terms(row),
                items=items.get(row["id"], ()),
                handles=tuple(row["handles"]),
                label="" if row["label"] is None else key.open(row["label"], *_label_place(row["id"])).decode(),
                ended_by=row["ended_by"],
                opened=row["opened"],
                openings=tuple(row["openings"]),
            )
            for row in rows
        ]

    async def withdraw(self, lookup: bytes, id_: UUID, now: datetime) -> None:
        """End a share: what was in it is gone. Repeating it is harmless.

        Raises:
            NotFound: ``SHARE_UNKNOWN``.
        """
        async with self._pool.acquire() as conn, conn.transaction():
            await self._own(conn, lookup, id_)
            await conn.execute(
                "UPDATE share SET withdrawn_at = $2, ended_by = 'learner' WHERE id = $1 AND withdrawn_at IS NULL",
                id_,
                now,
            )
            await conn.execute("DELETE FROM share_item WHERE share = $1", id_)
            await conn.execute("DELETE FROM share_visit WHERE share = $1", id_)

    async def relabel(self, lookup: bytes, id_: UUID, label: str) -> None:
        """Call a share something else, also one that ended; empty: nothing.

        Raises:
            NotFound: ``SHARE_UNKNOWN``.
            DataLoss: ``SEAL_BROKEN``.
        """
        async with self._pool.acquire() as conn, conn.transaction():
            await self._own(conn, lookup, id_)
            learner = await conn.fetchrow("SELECT pseudonym, wrapped_key FROM subscriber WHERE lookup = $1", lookup)
            if learner is None:
                raise unknown()
            key = self._keys.data_key(learner["wrapped_key"], learner["pseudonym"])
            await conn.execute("UPDATE share SET label = $2 WHERE id = $1", id_, _sealed_label(key, id_, label))

    async def renew(self, lookup: bytes, id_: UUID, now: datetime, lifetime: timedelta) -> None:
        """Let a share last for ``lifetime`` from now on, under its link and code.

        Raises:
            NotFound: ``SHARE_UNKNOWN``.
            FailedPrecondition: ``SHARE_WITHDRAWN``.
        """
        async with self._pool.acquire() as conn, conn.transaction():
            await self._not_withdrawn(conn, lookup, id_, now)
            await conn.execute("UPDATE share SET expires_at = $2 WHERE id = $1", id_, now + lifetime)

    async def replace_access(self, lookup: bytes, id_: UUID, access: Access, now: datetime) -> None:
        """Give a share a new link and code; the former open nothing from now on, and a lock is gone.

        Raises:
            NotFound: ``SHARE_UNKNOWN``.
            FailedPrecondition: ``SHARE_WITHDRAWN``.
        """
        code_hash = await access.code_hash()
        async with self._pool.acquire() as conn, conn.transaction():
            await self._not_withdrawn(conn, lookup, id_, now)
            await _open_anew(conn, id_, access.token_hash, code_hash)

    async def opened_by_owner(self, lookup: bytes, id_: UUID, access: Access, now: datetime) -> tuple[Item, ...]:
        """What is in a learner's own share, for one who has its link and code too: they go into her document.

        Raises:
            NotFound: ``SHARE_UNKNOWN``: no share of hers, or other links and codes than its own.
            FailedPrecondition: ``SHARE_WITHDRAWN``, ``SHARE_EXPIRED``, ``SHARE_LOCKED``.
            DataLoss: ``SEAL_BROKEN``.
        """
        row = await self._pool.fetchrow(
            f"""
            SELECT u.pseudonym, u.wrapped_key, s.code_hash, {_TERMS} FROM share s JOIN subscriber u USING (pseudonym)
            WHERE s.id = $1 AND u.lookup = $2 AND s.token_hash = $3
            """,  # noqa: S608 - a constant
            id_,
            lookup,
            access.token_hash,
        )
        if row is None or not hmac.compare_digest(await access.code_hash(), row["code_hash"]):
            raise unknown()
        if (state := _terms(row).state(now)) is not State.OPEN:
            raise refusal(state)
        key = self._keys.data_key(row["wrapped_key"], row["pseudonym"])
        return (await self._items(self._pool, key, [id_])).get(id_, ())

    # -- The recipient's -------------------------------------------------------------------------

    async def find(self, token: str) -> Terms:
        """The share that a link leads to.

        Raises:
            NotFound: ``SHARE_UNKNOWN``.
        """
        row = await self._pool.fetchrow(
            f"SELECT {_TERMS} FROM share s WHERE s.token_hash = $1",  # noqa: S608 - a constant
            token_hash(token),
        )
        if row is None:
            raise unknown()
        return _terms(row)

    async def enter(self, token: str, tried: bytes, now: datetime, visit: timedelta) -> str | None:
        """Let in whoever gives the right code; a wrong one is counted.

        The share's row is locked while the code is compared: however many are tried at once, none is looked at before
        each wrong one before it counts. A right one counts as none, so strangers who have it let each other in.

        Args:
            token: ends the link.
            tried: what the given code derives to (:func:`.access.derived`).
            now: the present.
            visit: how long the visitor may look without giving it again.

        Returns:
            The secret of a visit, for the visitor's browser alone; None: the code is wrong.

        Raises:
            NotFound: ``SHARE_UNKNOWN``.
            FailedPrecondition: ``SHARE_WITHDRAWN``, ``SHARE_EXPIRED``, ``SHARE_LOCKED``.
        """
        secret = secrets.token_urlsafe(SECRET_BYTES)
        async with self._pool.acquire() as conn, conn.transaction():
            row = await conn.fetchrow(
                f"SELECT s.code_hash, {_TERMS} FROM share s WHERE s.token_hash = $1 FOR NO KEY UPDATE",  # noqa: S608
                token_hash(token),
            )
            if row is None:
                raise unknown()
            if (state := _terms(row).state(now)) is not State.OPEN:
                raise refusal(state)
            if not hmac.compare_digest(tried, row["code_hash"]):
                await conn.execute("UPDATE share SET wrong_codes = wrong_codes + 1 WHERE id = $1", row["id"])
                return None
            await conn.execute("UPDATE share SET wrong_codes = 0 WHERE id = $1 AND wrong_codes > 0", row["id"])
            await conn.execute("INSERT INTO share_opening (share, opened_at) VALUES ($1, $2)", row["id"], now)
            await conn.execute("DELETE FROM share_visit WHERE expires_at <= $1", now)
            await conn.execute(
                "INSERT INTO share_visit (id, share, expires_at) VALUES ($1, $2, $3)",
                sha256(secret.encode()),
                row["id"],
                now + visit,
            )
        return secret

    async def visited(self, token: str, secret: str, now: datetime) -> tuple[Terms, tuple[Item, ...]] | None:
        """What a visitor is shown; None for one who has to give the code (again).

        Raises:
            NotFound: ``SHARE_UNKNOWN``.
            FailedPrecondition: ``SHARE_WITHDRAWN``, ``SHARE_EXPIRED``.
            DataLoss: ``SEAL_BROKEN``.
        """
        row = await self._pool.fetchrow(
            f"""
            SELECT u.pseudonym, u.wrapped_key, {_TERMS},
                EXISTS (SELECT FROM share_visit v WHERE v.id = $2 AND v.share = s.id AND v.expires_at > $3) AS visited
            FROM share s JOIN subscriber u USING (pseudonym) WHERE s.token_hash = $1
            """,  # noqa: S608 - a constant
            token_hash(token),
            sha256(secret.encode()),
            now,
        )
        if row is None:
            raise unknown()
        terms = _terms(row)
        state = terms.state(now)
        # Who was let in before it was locked stays: others' wrong codes end nobody's visit.
        if state in (State.WITHDRAWN, State.EXPIRED):
            raise refusal(state)
        if not row["visited"]:
            if state is State.LOCKED:
                raise refusal(state)
            return None
        key = self._keys.data_key(row["wrapped_key"], row["pseudonym"])
        items = await self._items(self._pool, key, [terms.id])
        return terms, items.get(terms.id, ())

    # -- Parts -----------------------------------------------------------------------------------

    async def _own(self, conn: Any, lookup: bytes, id_: UUID) -> Terms:
        """A learner's own share, locked."""
        row = await conn.fetchrow(
            f"""
            SELECT {_TERMS} FROM share s JOIN subscriber u USING (pseudonym)
            WHERE s.id = $1 AND u.lookup = $2 FOR NO KEY UPDATE OF s
            """,  # noqa: S608 - a constant
            id_,
            lookup,
        )
        if row is None:
            raise unknown()
        return _terms(row)

    async def _told(self, conn: Any, pseudonym: str, items: Sequence[Item]) -> dict[str, datetime | None]:
        """When each credential was told of last. Not locked: the consumer of the topic waits for no page."""
        told = dict(
            await conn.fetch(
                "SELECT handle, happened FROM credential WHERE pseudonym = $1 AND handle = ANY($2::text[])",
                pseudonym,
                [item.handle for item in items],
            )
        )
        if any(item.handle not in told for item in items):
            raise NotFound("CREDENTIAL_UNKNOWN", "it is not one of the learner's credentials", remedy="begin anew")
        return told

    async def _not_withdrawn(self, conn: Any, lookup: bytes, id_: UUID, now: datetime) -> None:
        if (await self._own(conn, lookup, id_)).state(now) is State.WITHDRAWN:
            raise refusal(State.WITHDRAWN)

    async def _items(self, conn: Any, key: DataKey, shares: Collection[UUID]) -> dict[UUID, tuple[Item, ...]]:
        rows = await conn.fetch(
            "SELECT share, position, handle, content FROM share_item WHERE share = ANY($1::uuid[]) "
            "ORDER BY share, position",
            list(shares),
        )
        found: dict[UUID, tuple[Item, ...]] = {}
        for row in rows:
            plain = key.open(row["content"], *_place(row["share"], row["position"]))
            found[row["share"]] = (*found.get(row["share"], ()), Item(row["handle"], plain.decode()))
        return found


async def unshare(conn: Any, gone: Mapping[str, datetime]) -> None:
    """Take credentials that are withdrawn from this hub out of the shares that there were by then.

    A rebuild reads of withdrawals from before a learner registered again: what she shared since is left alone. What she
    shared after a withdrawal that had not been read yet is not: it was told of before that.

    Args:
        conn: with the transaction in which the credentials go.
        gone: names of the credentials for this hub, and when they were withdrawn.
    """
    await conn.execute(
        "DELETE FROM share_item i USING share s, unnest($1::text[], $2::timestamptz[]) AS gone (handle, at) "
        "WHERE s.id = i.share AND i.handle = gone.handle AND coalesce(i.told_at, s.created_at) <= gone.at",
        list(gone),
        list(gone.values()),
    )


async def _open_anew(conn: Any, id_: UUID, token: bytes, code: bytes) -> None:
    await conn.execute(
        "UPDATE share SET token_hash = $2, code_hash = $3, wrong_codes = 0 WHERE id = $1", id_, token, code
    )
    await conn.execute("DELETE FROM share_visit WHERE share = $1", id_)


def _terms(row: Any) -> Terms:
    return Terms(row["id"], row["created_at"], row["expires_at"], row["withdrawn_at"], row["wrong_codes"], row["items"])


def _sealed_label(key: DataKey, share: UUID, label: str) -> bytes | None:
    return key.seal(label.encode(), *_label_place(share)) if label else None


def _label_place(share: UUID) -> tuple[str, ...]:
    return "share", str(share), "label"


def _place(share: UUID, position: int) -> tuple[str, ...]:
    return "share_item", str(share), str(position), "content"
