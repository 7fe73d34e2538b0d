"""What the portal keeps of employers: invitations, consents, and who is logged in for which. Plain SQL."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from services.portal.employers.representation import Employer
from services.portal.store import Kept, Store
from vitne.canonical import sha256
from vitne.errors import DataLoss, FailedPrecondition, NotFound
from vitne.identifiers import OrganisationId

#: Random bytes of an invitation's token, and of a session's secret.
SECRET_BYTES: Final = 32
#: How long an invitation can be answered.
INVITATION: Final = timedelta(days=14)
#: Employees that a page shows, at most.
MAX_SHOWN: Final = 500

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Consent:
    """An employee's yes.

    Attributes:
        id: of the consent, UUIDv7.
        employer: to whom.
        given_at: when.
        expires_at: from when on it does not count.
        credentials: that she lets see, as they are now; those that are not here (any more) are left out.
    """

    id: UUID
    employer: Employer
    given_at: datetime
    expires_at: datetime
    credentials: tuple[Kept, ...]


class Employers:
    """Invitations, consents and sessions in the portal's database.

    Args:
        pool: of asyncpg.
        store: has what employees let see.
    """

    def __init__(self, pool: Any, store: Store) -> None:
        self._pool = pool
        self._store = store

    # -- The employer's --------------------------------------------------------------------------

    async def open_session(self, employer: Employer, now: datetime, lifetime: timedelta) -> str:
        """Begin the session of somebody who acts for an employer; its secret."""
        secret = secrets.token_urlsafe(SECRET_BYTES)
        await self._pool.execute("DELETE FROM employer_session WHERE expires_at <= $1", now)
        await self._pool.execute(
            "INSERT INTO employer_session (id, organisation, name, expires_at) VALUES ($1, $2, $3, $4)",
            sha256(secret.encode()),
            str(employer.id),
            employer.name,
            now + lifetime,
        )
        return secret

    async def session(self, secret: str, now: datetime) -> Employer | None:
        """For whom somebody is logged in; None for nobody."""
        return _employer(
            await self._pool.fetchrow(
                "SELECT organisation, name FROM employer_session WHERE id = $1 AND expires_at > $2",
                sha256(secret.encode()),
                now,
            )
        )

    async def close_session(self, secret: str) -> None:
        """End a session, if there is one."""
        await self._pool.execute("DELETE FROM employer_session WHERE id = $1", sha256(secret.encode()))

    async def invite(self, employer: Employer, now: datetime) -> str:
        """A token that leads employees to a yes or no, for :data:`INVITATION`; only its hash is kept."""
        token = secrets.token_urlsafe(SECRET_BYTES)
        await self._pool.execute("DELETE FROM employer_invitation WHERE expires_at <= $1", now)
        await self._pool.execute(
            "INSERT INTO employer_invitation (token_hash, organisation, name, expires_at) VALUES ($1, $2, $3, $4)",
            sha256(token.encode()),
            str(employer.id),
            employer.name,
            now + INVITATION,
        )
        return token

    async def team(self, employer: Employer, now: datetime, limit: int = MAX_SHOWN) -> tuple[list[Consent], int]:
        """What employees let an employer see at this instant; what has run out or was ended is not there.

        Returns:
            Those who agreed first, at most ``limit``, and how many there are.
        """
        rows = await self._pool.fetch(
            "SELECT k.*, u.lookup, count(*) OVER () AS employees "
            "FROM employer_consent k JOIN subscriber u USING (pseudonym) "
            "WHERE k.organisation = $1 AND k.expires_at > $2 ORDER BY k.given_at, k.id LIMIT $3",
            str(employer.id),
            now,
            limit,
        )
        return await self._consents(rows), rows[0]["employees"] if rows else 0

    # -- The employee's --------------------------------------------------------------------------

    async def inviter(self, token: str, now: datetime) -> Employer:
        """Who invites.

        Raises:
            NotFound: ``INVITATION_UNKNOWN``: there is no such invitation, or it has run out.
        """
        found = _employer(
            await self._pool.fetchrow(
                "SELECT organisation, name FROM employer_invitation WHERE token_hash = $1 AND expires_at > $2",
                sha256(token.encode()),
                now,
            )
        )
        if found is None:
            raise NotFound(
                "INVITATION_UNKNOWN", "there is no such invitation (any more)", remedy="ask the employer for a new one"
            )
        return found

    async def consent(
        self,
        lookup: bytes,
        id_: UUID,
        employer: Employer,
        handles: Sequence[str],
        *,
        now: datetime,
        lifetime: timedelta,
    ) -> None:
        """Let an employer see these credentials; takes the place of what it was let see before.

        Args:
            lookup: of the employee.
            id_: of the consent.
            employer: that invited her.
            handles: of credentials of hers.
            now: from when on.
            lifetime: for how long.

        Raises:
            FailedPrecondition: ``NOT_REGISTERED``.
        """
        async with self._pool.acquire() as conn, conn.transaction():
            pseudonym = await conn.fetchval(
                "SELECT pseudonym FROM subscriber WHERE lookup = $1 FOR NO KEY UPDATE", lookup
            )
            if pseudonym is None:
                raise FailedPrecondition(
                    "NOT_REGISTERED", "nothing is held here that could be seen", remedy="register first"
                )
            await conn.execute(
                "DELETE FROM employer_consent WHERE pseudonym = $1 AND organisation = $2", pseudonym, str(employer.id)
            )
            await conn.execute("DELETE FROM employer_consent WHERE expires_at <= $1", now)
            await conn.execute(
                "INSERT INTO employer_consent (id, pseudonym, organisation, name, given_at, expires_at) "
                "VALUES ($1, $2, $3, $4, $5, $6)",
                id_,
                pseudonym,
                str(employer.id),
                employer.name,
                now,
                now + lifetime,
            )
            await conn.execute(
                "INSERT INTO employer_consent_item (consent, handle) SELECT $1, unnest($2::text[])", id_, list(handles)
            )

    async def of_learner(self, lookup: bytes, now: datetime) -> list[Consent]:
        """Which employers see what of hers."""
        rows = await self._pool.fetch(
            "SELECT k.*, u.lookup FROM employer_consent k JOIN subscriber u USING (pseudonym) "
            "WHERE u.lookup = $1 AND k.expires_at > $2 ORDER BY k.name, k.id",
            lookup,
            now,
        )
        return await self._consents(rows)

    async def end(self, lookup: bytes, id_: UUID) -> None:
        """End a consent of hers at once; one that is not there (any more) is ended already."""
        await self._pool.execute(
            "DELETE FROM employer_consent k USING subscriber u "
            "WHERE k.id = $1 AND k.pseudonym = u.pseudonym AND u.lookup = $2",
            id_,
            lookup,
        )

    async def _consents(self, rows: Sequence[Any]) -> list[Consent]:
        handles: dict[UUID, set[str]] = {row["id"]: set() for row in rows}
        for item in await self._pool.fetch(
            "SELECT consent, handle FROM employer_consent_item WHERE consent = ANY($1::uuid[])", list(handles)
        ):
            handles[item["consent"]].add(item["handle"])
        return [
            Consent(
                id=row["id"],
                employer=Employer(OrganisationId.parse(row["organisation"]), row["name"]),
                given_at=row["given_at"],
                expires_at=row["expires_at"],
                credentials=await self._seen(row["lookup"], handles[row["id"]]),
            )
            for row in rows
        ]

    async def _seen(self, lookup: bytes, handles: Collection[str]) -> tuple[Kept, ...]:
        """An employee's credentials of these names; what does not open hides no other employee's."""
        try:
            return tuple(one for one in await self._store.credentials(lookup) if one.handle in handles)
        except DataLoss as error:
            _log.error("an employee's credentials do not open", extra={"reason": error.reason})
            return ()


def _employer(row: Any) -> Employer | None:
    return None if row is None else Employer(OrganisationId.parse(row["organisation"]), row["name"])
