"""What the portal keeps of imports. Plain SQL; what says something of a learner is sealed under her key."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any, Final, Literal
from uuid import UUID

from services.portal.emrex.checking import Received
from services.portal.emrex.person import Match
from services.portal.emrex.protocol import ReturnCode
from services.portal.sealing import PortalKeys
from vitne.canonical import sha256
from vitne.clock import Clock
from vitne.errors import FailedPrecondition, NotFound, ResourceExhausted
from vitne.outages import DATABASE_OUTAGES

#: Random bytes of a session id, which come to the 32 characters of the standard.
SESSION_ID_BYTES: Final = 16
#: Random bytes by which the browser that brought an answer is known again.
ARRIVAL_BYTES: Final = 32
#: For how long an answer is awaited, and she may think about it.
AWAITED_FOR: Final = timedelta(hours=1)
UNDECIDED_FOR: Final = timedelta(days=1)
#: Imports that a learner can have, begun ones too.
MAX_IMPORTS: Final = 50
#: Bytes of what came that a learner can have, in all.
MAX_HELD: Final = 10_000_000
#: How often what nobody came back to is swept out.
SWEEP_SECONDS: Final = 60.0
_TABLE: Final = "emrex_import"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Import:
    """An import as its learner sees it.

    Attributes:
        id: of the import, UUIDv7.
        provider: acronym of the data provider.
        confirmed: whether she has logged in anew for it, or it is answered.
        begun_at: when she asked.
        code: what came of it; None: it is not answered yet.
        answered_at: when it was.
        match: how sure it is that the results are hers; None where there are none.
        opened: whether she has opened the answer in the browser that brought it.
        kept: whether she has said that she keeps them.
    """

    id: UUID
    provider: str
    confirmed: bool
    begun_at: datetime
    code: ReturnCode | None
    answered_at: datetime | None
    match: Match | None
    opened: bool
    kept: bool


@dataclass(frozen=True, slots=True)
class Awaited:
    """An import that an answer has come for.

    Attributes:
        id: of the import.
        lookup: the learner's.
        provider: acronym of the data provider.
        birth_date: the learner's; None where she has not confirmed that it is her, or the import is answered.
        digest: of the answer that is here already; None: there is none.
    """

    id: UUID
    lookup: bytes = field(repr=False)
    provider: str
    birth_date: date | None = field(repr=False)
    digest: bytes | None


class Imports:
    """The imports in the portal's database.

    Args:
        pool: of asyncpg.
        keys: seal what is imported.
        clock: what is awaited still.
    """

    def __init__(self, pool: Any, keys: PortalKeys, clock: Clock) -> None:
        self._pool = pool
        self._keys = keys
        self._clock = clock

    # -- The learner's ---------------------------------------------------------------------------

    async def begin(self, lookup: bytes, id_: UUID, provider: str) -> None:
        """Note that a learner wants to fetch results.

        Raises:
            FailedPrecondition: ``IMPORT_NEEDS_REGISTRATION``.
            ResourceExhausted: ``TOO_MANY_IMPORTS``.
        """
        now = self._clock.now()
        async with self._pool.acquire() as conn, conn.transaction():
            learner = await conn.fetchrow(
                "SELECT pseudonym, wrapped_key FROM subscriber WHERE lookup = $1 FOR NO KEY UPDATE", lookup
            )
            if learner is None:
                raise FailedPrecondition(
                    "IMPORT_NEEDS_REGISTRATION",
                    "nothing is kept here for who is not registered",
                    remedy="register first",
                )
            await conn.execute("DELETE FROM emrex_import WHERE expires_at <= $1", now)
            count = await conn.fetchval("SELECT count(*) FROM emrex_import WHERE pseudonym = $1", learner["pseudonym"])
            if count >= MAX_IMPORTS:
                raise ResourceExhausted(
                    "TOO_MANY_IMPORTS",
                    f"there are {count} imports already",
                    rule=f"at most {MAX_IMPORTS} at a time",
                    remedy="delete some",
                )
            session_id = secrets.token_hex(SESSION_ID_BYTES)
            key = self._keys.data_key(learner["wrapped_key"], learner["pseudonym"])
            await conn.execute(
                "INSERT INTO emrex_import (id, pseudonym, provider, session_hash, session_id, begun_at, expires_at) "
                "VALUES ($1, $2, $3, $4, $5, $6, $7)",
                id_,
                learner["pseudonym"],
                provider,
                sha256(session_id.encode()),
                key.seal(session_id.encode(), *_place(id_, "session_id")),
                now,
                now + AWAITED_FOR,
            )

    async def confirm(self, lookup: bytes, id_: UUID, birth_date: date) -> None:
        """Note that it is her who asked for this import, by the log-in that was begun for it.

        Raises:
            NotFound: ``IMPORT_UNKNOWN``: it does not wait for one, or not any more.
        """
        async with self._pool.acquire() as conn, conn.transaction():
            row = await conn.fetchrow(
                """
                SELECT u.pseudonym, u.wrapped_key FROM emrex_import i JOIN subscriber u USING (pseudonym)
                WHERE i.id = $1 AND u.lookup = $2 AND i.code IS NULL AND i.expires_at > $3 FOR NO KEY UPDATE OF i
                """,
                id_,
                lookup,
                self._clock.now(),
            )
            if row is None:
                raise unknown()
            key = self._keys.data_key(row["wrapped_key"], row["pseudonym"])
            born = key.seal(birth_date.isoformat().encode(), *_place(id_, "birth_date"))
            await conn.execute("UPDATE emrex_import SET birth_date = $2 WHERE id = $1", id_, born)

    async def of_learner(self, lookup: bytes) -> list[Import]:
        """A learner's imports, the newest first. Nothing of them is opened: :meth:`content` does that, one by one."""
        return await self._read(lookup, None)

    async def one(self, lookup: bytes, id_: UUID) -> Import:
        """One of a learner's imports; nothing of it is opened.

        Raises:
            NotFound: ``IMPORT_UNKNOWN``.
        """
        found = await self._read(lookup, id_)
        if not found:
            raise unknown()
        return found[0]

    async def content(self, lookup: bytes, id_: UUID) -> bytes:
        """The ELMO document of an import; of an error, what the provider says of it. Empty where there is neither, and
        until she has opened it.

        Raises:
            NotFound: ``IMPORT_UNKNOWN``.
            DataLoss: ``SEAL_BROKEN``.
        """
        return await self._unsealed(lookup, id_, "content")

    async def session_id(self, lookup: bytes, id_: UUID) -> str:
        """What the answer to an import brings.

        Raises:
            NotFound: ``IMPORT_UNKNOWN``.
            DataLoss: ``SEAL_BROKEN``.
        """
        return (await self._unsealed(lookup, id_, "session_id")).decode()

    async def open(self, lookup: bytes, id_: UUID, arrival: str) -> None:
        """Open an answer to its learner, in the browser that brought it; repeating it is harmless.

        Args:
            lookup: hers.
            id_: of the import.
            arrival: what :meth:`answered` told that browser.

        Raises:
            NotFound: ``IMPORT_UNKNOWN``.
            FailedPrecondition: ``ANSWER_ELSEWHERE``: another browser brought it.
        """
        opened = await self._pool.fetchval(
            """
            UPDATE emrex_import i SET arrival_hash = NULL FROM subscriber u
            WHERE i.id = $1 AND u.lookup = $2 AND u.pseudonym = i.pseudonym AND i.arrival_hash = $3 RETURNING true
            """,
            id_,
            lookup,
            sha256(arrival.encode()),
        )
        if not opened and not (await self.one(lookup, id_)).opened:
            raise elsewhere()

    async def keep(self, lookup: bytes, id_: UUID) -> None:
        """Keep results until she deletes them; repeating it is harmless.

        Raises:
            NotFound: ``IMPORT_UNKNOWN``: there is none, or none with results.
        """
        changed = await self._pool.fetchval(
            """
            UPDATE emrex_import i SET expires_at = NULL FROM subscriber u
            WHERE i.id = $1 AND u.lookup = $2 AND u.pseudonym = i.pseudonym AND i.code = 'NCP_OK'
                AND i.arrival_hash IS NULL AND (i.expires_at IS NULL OR i.expires_at > $3) RETURNING true
            """,
            id_,
            lookup,
            self._clock.now(),
        )
        if not changed:
            raise unknown()

    async def delete(self, lookup: bytes, id_: UUID) -> None:
        """Delete an import, kept or not; repeating it is harmless."""
        await self._pool.execute(
            "DELETE FROM emrex_import i USING subscriber u "
            "WHERE i.id = $1 AND u.lookup = $2 AND u.pseudonym = i.pseudonym",
            id_,
            lookup,
        )

    # -- The answer ------------------------------------------------------------------------------

    async def awaited(self, session_id: str) -> Awaited:
        """The import that an answer is for, whoever's browser brings it.

        Raises:
            NotFound: ``EMREX_SESSION_UNKNOWN``: there is none, or not any more.
        """
        row = await self._pool.fetchrow(
            """
            SELECT i.id, i.provider, i.birth_date, i.digest, u.lookup, u.pseudonym, u.wrapped_key
            FROM emrex_import i JOIN subscriber u USING (pseudonym)
            WHERE i.session_hash = $1 AND u.lookup IS NOT NULL AND (i.expires_at IS NULL OR i.expires_at > $2)
            """,
            sha256(session_id.encode()),
            self._clock.now(),
        )
        if row is None:
            raise _no_session()
        born = None
        if row["birth_date"] is not None:
            key = self._keys.data_key(row["wrapped_key"], row["pseudonym"])
            born = date.fromisoformat(key.open(row["birth_date"], *_place(row["id"], "birth_date")).decode())
        return Awaited(row["id"], row["lookup"], row["provider"], born, row["digest"])

    async def answered(
        self, awaited: Awaited, code: ReturnCode, digest: bytes, *, received: Received | None = None, message: str = ""
    ) -> str:
        """Note an answer; of two that come at once the first counts, and of one that comes twice both.

        Args:
            awaited: what it is for.
            code: what it says.
            digest: of it.
            received: the results, where there are some.
            message: what the provider says of an error.

        Returns:
            What :meth:`open` asks for, for the browser that brought it; empty where it is opened already.

        Raises:
            NotFound: ``EMREX_SESSION_UNKNOWN``: the import was deleted meanwhile.
            FailedPrecondition: ``SESSION_ANSWERED``: another answer came first.
            ResourceExhausted: ``IMPORTS_TOO_LARGE``: it is more than she can have; nothing is noted.
        """
        now, arrival = self._clock.now(), secrets.token_urlsafe(ARRIVAL_BYTES)
        content = received.document if received else message.encode()
        async with self._pool.acquire() as conn, conn.transaction():
            # Hers before its own, as whoever erases her takes them; two of her answers count each other.
            await conn.execute(
                "SELECT FROM subscriber WHERE pseudonym = (SELECT pseudonym FROM emrex_import WHERE id = $1) "
                "FOR NO KEY UPDATE",
                awaited.id,
            )
            row = await conn.fetchrow(
                """
                SELECT i.digest, i.arrival_hash, u.pseudonym, u.wrapped_key
                FROM emrex_import i JOIN subscriber u USING (pseudonym)
                WHERE i.id = $1 FOR NO KEY UPDATE OF i
                """,
                awaited.id,
            )
            if row is None:
                raise _no_session()
            if row["digest"] is not None:
                if row["digest"] != digest:
                    raise already_answered()
                if row["arrival_hash"] is None:
                    return ""
                await conn.execute(
                    "UPDATE emrex_import SET arrival_hash = $2 WHERE id = $1", awaited.id, sha256(arrival.encode())
                )
                return arrival
            held = await conn.fetchval(
                "SELECT coalesce(sum(octet_length(content)), 0) FROM emrex_import WHERE pseudonym = $1 "
                "AND (expires_at IS NULL OR expires_at > $2)",
                row["pseudonym"],
                now,
            )
            if content and held + len(content) > MAX_HELD:
                raise _too_large()
            key = self._keys.data_key(row["wrapped_key"], row["pseudonym"])
            await conn.execute(
                """
                UPDATE emrex_import SET code = $2, answered_at = $3, digest = $4, match = $5, content = $6,
                    birth_date = NULL, expires_at = $7, arrival_hash = $8 WHERE id = $1
                """,
                awaited.id,
                code.value,
                now,
                digest,
                received.match.value if received else None,
                key.seal(content, *_place(awaited.id, "content")) if content else None,
                now + UNDECIDED_FOR,
                sha256(arrival.encode()),
            )
        return arrival

    # -- Parts -----------------------------------------------------------------------------------

    async def _read(self, lookup: bytes, id_: UUID | None) -> list[Import]:
        rows: Sequence[Any] = await self._pool.fetch(
            """
            SELECT i.id, i.provider, i.birth_date IS NOT NULL OR i.code IS NOT NULL AS confirmed, i.begun_at, i.code,
                i.answered_at, i.match, i.arrival_hash IS NULL AS opened, i.expires_at IS NULL AS kept
            FROM subscriber u JOIN emrex_import i USING (pseudonym)
            WHERE u.lookup = $1 AND ($2::uuid IS NULL OR i.id = $2) AND (i.expires_at IS NULL OR i.expires_at > $3)
            ORDER BY i.id DESC
            """,
            lookup,
            id_,
            self._clock.now(),
        )
        return [_import(row) for row in rows]

    async def _unsealed(self, lookup: bytes, id_: UUID, column: Literal["content", "session_id"]) -> bytes:
        row = await self._pool.fetchrow(
            f"""
            SELECT u.pseudonym, u.wrapped_key, CASE WHEN i.arrival_hash IS NULL THEN i.{column} END AS sealed
            FROM subscriber u JOIN emrex_import i USING (pseudonym)
            WHERE u.lookup = $1 AND i.id = $2 AND (i.expires_at IS NULL OR i.expires_at > $3)
            """,  # noqa: S608 (constants)
            lookup,
            id_,
            self._clock.now(),
        )
        if row is None:
            raise unknown()
        if row["sealed"] is None:
            return b""
        key = self._keys.data_key(row["wrapped_key"], row["pseudonym"])
        return key.open(row["sealed"], *_place(id_, column))

    async def run(self) -> None:
        """Sweep out what nobody came back to, until cancelled."""
        while True:
            try:
                await self._pool.execute("DELETE FROM emrex_import WHERE expires_at <= $1", self._clock.now())
            except DATABASE_OUTAGES as error:
                _log.warning("imports that have ended wait: %s", type(error).__name__)
            await self._clock.sleep(SWEEP_SECONDS)


def unknown() -> NotFound:
    """There is no such import, or it is another learner's: the two are told alike."""
    return NotFound("IMPORT_UNKNOWN", "there is no such import, or not any more", remedy="begin anew")


def elsewhere() -> FailedPrecondition:
    """An answer that another browser brought than the one that looks."""
    return FailedPrecondition(
        "ANSWER_ELSEWHERE",
        "the answer was brought by another browser",
        rule="results are shown in the browser that comes back with them",
        remedy="fetch the results again, in one browser",
    )


def already_answered() -> FailedPrecondition:
    """An answer for an import that has one."""
    return FailedPrecondition(
        "SESSION_ANSWERED",
        "this import has been answered already, with something else",
        rule="one answer to a session id",
        remedy="look at what came, or begin anew",
    )


def _too_large() -> ResourceExhausted:
    return ResourceExhausted(
        "IMPORTS_TOO_LARGE",
        "with these results there would be more than a learner can have here",
        rule=f"at most {MAX_HELD} bytes in all",
        remedy="delete some at /me/imports, then fetch the results again",
    )


def _no_session() -> NotFound:
    return NotFound(
        "EMREX_SESSION_UNKNOWN",
        "no results are awaited under this session id, or not any more",
        rule=f"an answer comes within {AWAITED_FOR}",
        remedy="fetch the results again",
    )


def _import(row: Any) -> Import:
    return Import(
        id=row["id"],
        provider=row["provider"],
        confirmed=row["confirmed"],
        begun_at=row["begun_at"],
        code=None if row["code"] is None else ReturnCode(row["code"]),
        answered_at=row["answered_at"],
        match=None if row["match"] is None else Match(row["match"]),
        opened=row["opened"],
        kept=row["kept"],
    )


def _place(id_: UUID, column: str) -> tuple[str, ...]:
    return _TABLE, str(id_), column
