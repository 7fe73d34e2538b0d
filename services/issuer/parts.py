"""Credentials that were counted towards others: kept for the institution, and flagged when one is revoked.

The institution that issues a whole states its parts. Nobody else learns of them: they are in no artefact, sealed under
the learner's key, and found by a keyed hash of the place where their status stands. A part may be anybody's whose
status the ledger keeps. When one is revoked, the whole is flagged to its issuer, who has a period of grace to look at
it; the whole itself is never touched (docs/decisions/0015).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import asyncpg
import msgspec

from services.issuer.admission import Part
from services.issuer.crypto import DataKey, IndexKey
from services.issuer.key_store import LearnerKeyStore
from services.issuer.refusals import erased, unknown_credential
from vitne.accreditation import timestamp
from vitne.canonical import b64url, from_b64url
from vitne.clock import Clock
from vitne.errors import FailedPrecondition
from vitne_api.credential.v1 import credential_pb2 as credential
from vitne_api.issuer.v1 import issuer_pb2 as issuer

_TABLE: Final = "counted_part"
#: Purpose of the hash that a place is found by.
_PLACE: Final = "status place"
_log = logging.getLogger(__name__)


class Parts:
    """What was counted towards what.

    Args:
        pool: the issuer's database.
        keys: learners' data keys.
        index: key of the keyed hashes.
        grace: how long an institution has to look at a whole of which a part was revoked.
        clock: tells what is overdue.
    """

    def __init__(
        self, pool: asyncpg.Pool, keys: LearnerKeyStore, index: IndexKey, grace: timedelta, clock: Clock
    ) -> None:
        self._pool = pool
        self._keys = keys
        self._index = index
        self._grace = grace
        self._clock = clock

    async def refusals(self, connection: Any, stated: Sequence[Part]) -> dict[Part, FailedPrecondition]:
        """Why some of these parts can't be counted: those that are this issuer's own can be looked at.

        ``PART_CONTRADICTS``: another credential stands at the place; ``PART_NOT_VALID``: it is suspended or revoked.
        """
        rows = await connection.fetch(
            """
            SELECT status_list, status_index, digest, status
            FROM unnest($1::text[], $2::integer[]) AS asked (status_list, status_index)
            JOIN credential USING (status_list, status_index)
            """,
            [part.status_list for part in stated],
            [part.status_index for part in stated],
        )
        own = {(row["status_list"], row["status_index"]): row for row in rows}
        refused = {}
        for part in stated:
            row = own.get((part.status_list, part.status_index))
            if row is not None and (error := _refusal(part, row)) is not None:
                refused[part] = error
        return refused

    async def cite(self, connection: Any, wholes: Sequence[tuple[UUID, DataKey, Sequence[Part]]]) -> None:
        """Store the parts of credentials: id, the learner's key, and what is counted."""
        rows = [
            (whole, place, _seal(part, key, whole, place))
            for whole, key, parts in wholes
            for part in parts
            for place in [self._place(part.status_list, part.status_index)]
        ]
        if rows:
            await connection.execute(
                "INSERT INTO counted_part (whole, place, part) "
                "SELECT * FROM unnest($1::uuid[], $2::bytea[], $3::bytea[]) "
                "ON CONFLICT (whole, place) DO UPDATE SET part = excluded.part, until = NULL",
                *(list(column) for column in zip(*rows, strict=True)),
            )

    async def restate(self, provider: str, whole: UUID, stated: Sequence[Part]) -> None:
        """Count these, and no others, towards an institution's credential from now on.

        Raises:
            NotFound: ``CREDENTIAL_UNKNOWN``, ``CREDENTIAL_ERASED``.
            FailedPrecondition: ``CREDENTIAL_REVOKED``; ``PART_CONTRADICTS``, ``PART_NOT_VALID``.
            Unavailable: ``KEY_STORE_UNAVAILABLE``.
        """
        async with self._pool.acquire() as connection, connection.transaction():
            row = await connection.fetchrow(
                "SELECT learner, status FROM credential WHERE id = $1 AND provider = $2 AND signature IS NOT NULL "
                "FOR NO KEY UPDATE",
                whole,
                provider,
            )
            if row is None:
                raise unknown_credential()
            if row["status"] == credential.STATUS_REVOKED:
                raise _revoked()
            # Erasure waits until this has ended, and then deletes what it stored; or this finds no key.
            await connection.fetchval("SELECT true FROM learner WHERE id = $1 FOR KEY SHARE", row["learner"])
            key = (await self._keys.get([row["learner"]])).get(row["learner"])
            if key is None:
                raise erased(whole)
            refused = await self.refusals(connection, stated)
            for number, part in enumerate(stated):
                if part in refused:
                    raise at_part(refused[part], f"parts[{number}]")
            await connection.execute(
                "UPDATE counted_part SET until = $2 WHERE whole = $1 AND until IS NULL AND place <> ALL($3::bytea[])",
                whole,
                self._clock.now(),
                [self._place(part.status_list, part.status_index) for part in stated],
            )
            await self.cite(connection, [(whole, key, stated)])

    async def revoked(self, connection: Any, places: Mapping[tuple[str, int], datetime]) -> None:
        """Remember that what stands at places was revoked, and when."""
        if not places:
            return
        rows = sorted((self._place(*place), at) for place, at in places.items())
        await connection.execute(
            "INSERT INTO revoked_place (place, revoked_at) SELECT * FROM unnest($1::bytea[], $2::timestamptz[]) "
            "ON CONFLICT DO NOTHING",
            [place for place, _ in rows],
            [at for _, at in rows],
        )

    async def flags(self, provider: str, after: tuple[UUID, int] | None, limit: int) -> list[issuer.CredentialFlag]:
        """An institution's credentials towards which something was counted that is revoked now, by id.

        One that is itself revoked is answered for, and left out. A flag of this kind stands at registry revision 0.

        Args:
            provider: the institution.
            after: credential and registry revision to begin beyond.
            limit: most flags.

        Raises:
            Unavailable: ``KEY_STORE_UNAVAILABLE``.
            DataLoss: a learner's key does not open, or what it sealed.
        """
        rows = await self._pool.fetch(
            f"""
            SELECT id, kind, issued_at, status, learner,
                (convert_from(decision, 'UTF8')::jsonb ->> 'registry_revision')::bigint AS decided_revision,
                array_agg(place ORDER BY revoked_at, place) AS places,
                array_agg(part ORDER BY revoked_at, place) AS parts,
                array_agg(revoked_at ORDER BY revoked_at, place) AS revoked_at
            {_FLAGGED_SQL} AND provider = $1 AND ($2::uuid IS NULL OR (id, 0) > ($2, $3))
            GROUP BY id ORDER BY id LIMIT $4
            """,
            provider,
            *(after or (None, None)),
            limit,
        )
        keys = await self._keys.get({row["learner"] for row in rows})
        # Whose key is gone is being erased, and the rows with it.
        return [self._flag(provider, row, keys[row["learner"]]) for row in rows if row["learner"] in keys]

    async def count(self) -> int:
        """How many credentials are flagged. Operators are told of those whose period of grace has passed."""
        flagged, overdue = await self._pool.fetchrow(
            f"""
            SELECT count(*), count(*) FILTER (WHERE since <= $1)
            FROM (SELECT min(revoked_at) AS since {_FLAGGED_SQL} GROUP BY id) AS flag
            """,  # noqa: S608 (a constant)
            self._clock.now() - self._grace,
        )
        if overdue:
            _log.warning(
                "credentials stand though a part was revoked, and the grace has passed", extra={"count": overdue}
            )
        return int(flagged)

    def _place(self, status_list: str, index: int) -> bytes:
        return self._index.digest(_PLACE, f"{status_list}\x00{index}".encode())

    def _flag(self, provider: str, row: Mapping[str, Any], key: DataKey) -> issuer.CredentialFlag:
        since = min(row["revoked_at"])
        return issuer.CredentialFlag(
            credential_id=str(row["id"]),
            provider=provider,
            kind=row["kind"],
            issued_at=timestamp(row["issued_at"]),
            status=credential.Status.ValueType(row["status"]),
            decided_revision=row["decided_revision"],
            cause=issuer.FLAG_CAUSE_PART,
            recorded_at=timestamp(since),
            revoked_parts=[
                issuer.RevokedPart(part=_open(sealed, key, row["id"], place), revoked_at=timestamp(moment))
                for place, sealed, moment in zip(row["places"], row["parts"], row["revoked_at"], strict=True)
            ],
            answer_by=timestamp(since + self._grace),
        )


#: Wholes that stand, with their revoked parts.
_FLAGGED_SQL: Final = f"""
    FROM counted_part JOIN revoked_place USING (place) JOIN credential ON credential.id = whole
    WHERE until IS NULL AND signature IS NOT NULL AND status <> {credential.STATUS_REVOKED}
"""


def at_part(error: FailedPrecondition, path: str) -> FailedPrecondition:
    """The refusal of a part, with where the part stands in a request."""
    return FailedPrecondition(
        error.reason, error.message, field=f"{path}.{error.field}", rule=error.rule, remedy=error.remedy
    )


def _revoked() -> FailedPrecondition:
    return FailedPrecondition(
        "CREDENTIAL_REVOKED",
        "the credential is revoked: nothing counts towards it any more",
        field="credential_id",
        rule="revoked is final",
        remedy="issue another credential, with its parts",
    )


def _refusal(part: Part, row: Mapping[str, Any]) -> FailedPrecondition | None:
    if row["digest"] != from_b64url(part.digest):
        return FailedPrecondition(
            "PART_CONTRADICTS",
            "another credential has its status at this place",
            field="digest",
            rule="digest, list and index are of one credential",
            remedy="take the three from the credential that is counted",
        )
    if row["status"] != credential.STATUS_VALID:
        status = credential.Status.Name(row["status"]).removeprefix("STATUS_").lower()
        return FailedPrecondition(
            "PART_NOT_VALID",
            f"the credential is {status}",
            field="digest",
            rule="what is counted towards a whole is valid when the whole is issued",
            remedy="count another credential, or wait until a suspension has ended",
        )
    return None


def _seal(part: Part, key: DataKey, whole: UUID, place: bytes) -> bytes:
    return key.seal(
        msgspec.json.encode([part.digest, part.status_list, part.status_index]), _TABLE, whole, _column(place)
    )


def _open(sealed: bytes, key: DataKey, whole: UUID, place: bytes) -> issuer.CountedPart:
    digest, status_list, index = msgspec.json.decode(key.open(sealed, _TABLE, whole, _column(place)))
    return issuer.CountedPart(digest=digest, status_list=status_list, status_index=index)


def _column(place: bytes) -> str:
    """A whole has many parts: each is bound to its place, too."""
    return f"part {b64url(place)}"
