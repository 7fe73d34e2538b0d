"""Rows of artefacts: what is to be signed for a credential in a further format, then its signature.

Those that are made at the same time share transactions, as issuances do: one for what is to be signed, one for the
signatures, each with its leaf's event.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final
from uuid import UUID

import asyncpg

from services.issuer.crypto import DataKey
from services.issuer.events import Events
from services.issuer.origins import Origins
from services.issuer.refusals import erased
from services.issuer.store import Credential
from vitne.errors import VitneError
from vitne.messaging import outbox
from vitne.runtime.group_commit import GroupCommitter

#: Most artefacts that share a transaction, and most that wait for one: several batches' windows in every format.
MAX_GROUP: Final = 250
MAX_WAITING: Final = 16_384

_TABLE: Final = "artefact"
_COLUMN: Final = "prepared"
_COLUMNS: Final = "credential, format, id, prepared, signing_key, signature, digest"


@dataclass(frozen=True, slots=True)
class Artefact:
    """A credential in a further format, as it is stored: what is to be signed is sealed under its learner's key."""

    credential: UUID
    #: ``vitne.credential.v1.Format``.
    format: int
    id: UUID
    prepared: bytes = field(repr=False)
    #: Thumbprint of the key that signs; None: the one that signed the credential.
    signing_key: str | None
    signature: bytes | None = None
    digest: bytes | None = None

    @classmethod
    def sealed(
        cls, prepared: bytes, key: DataKey, *, credential: UUID, format_: int, id_: UUID, signing_key: str | None
    ) -> Artefact:
        """One that is not signed yet."""
        return cls(credential, format_, id_, key.seal(prepared, _TABLE, id_, _COLUMN), signing_key)

    def open(self, key: DataKey) -> bytes:
        """What is, or was, to be signed.

        Raises:
            DataLoss: ``SEAL_BROKEN``.
        """
        return key.open(self.prepared, _TABLE, self.id, _COLUMN)


@dataclass(frozen=True, slots=True)
class _Signed:
    artefact: Artefact
    #: Of the credential, for the leaf's origin.
    row: Credential
    traceparent: str


async def signed_artefacts(connection: Any, credential: UUID) -> list[Artefact]:
    """All artefacts of a credential that were signed, by format."""
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM artefact WHERE credential = $1 AND signature IS NOT NULL ORDER BY format",  # noqa: S608 (a constant)
        credential,
    )
    return [Artefact(**row) for row in rows]


class Artefacts:
    """Stores and finds artefacts.

    Args:
        pool: the issuer's database.
        events: makes the leaves' events.
        origins: says what a leaf was made for.
    """

    def __init__(self, pool: asyncpg.Pool, events: Events, origins: Origins) -> None:
        self._pool = pool
        self._events = events
        self._origins = origins
        turn = asyncio.Lock()
        self._first = GroupCommitter[Artefact, Artefact](
            pool, self._store, MAX_GROUP, max_waiting=MAX_WAITING, name="store artefacts", turn=turn
        )
        self._second = GroupCommitter[_Signed, Artefact](
            pool, self._finish, MAX_GROUP, max_waiting=MAX_WAITING, name="finish artefacts", turn=turn
        )

    async def find(self, credential: UUID, format_: int) -> Artefact | None:
        """What is stored of a credential in a format."""
        row = await self._pool.fetchrow(
            f"SELECT {_COLUMNS} FROM artefact WHERE credential = $1 AND format = $2",  # noqa: S608 (a constant)
            credential,
            format_,
        )
        return None if row is None else Artefact(**row)

    async def store(self, artefact: Artefact) -> Artefact:
        """Store what is to be signed; whoever is first says what it is, and that is answered.

        Raises:
            Unavailable: ``DATABASE_UNAVAILABLE``.
        """
        return await self._first.submit(artefact)

    async def finish(
        self, artefact: Artefact, row: Credential, signature: bytes, digest: bytes, traceparent: str
    ) -> Artefact:
        """Store a signature with its leaf's event; whoever is first says what it is, and that is answered.

        Raises:
            NotFound: ``CREDENTIAL_ERASED``: its learner was erased meanwhile.
            Unavailable: ``DATABASE_UNAVAILABLE``.
        """
        signed = replace(artefact, signature=signature, digest=digest)
        return await self._second.submit(_Signed(signed, row, traceparent))

    async def close(self) -> None:
        """Return when what was submitted is done."""
        await self._first.close()
        await self._second.close()

    async def _store(self, connection: Any, drafts: Sequence[Artefact]) -> list[Artefact | VitneError]:
        # In one order, so that two groups never wait for each other crosswise.
        ordered = sorted(drafts, key=lambda draft: (draft.credential, draft.format))
        columns = (
            [draft.credential for draft in ordered],
            [draft.format for draft in ordered],
        )
        await connection.execute(
            "INSERT INTO artefact (credential, format, id, prepared, signing_key) "
            "SELECT * FROM unnest($1::uuid[], $2::smallint[], $3::uuid[], $4::bytea[], $5::text[]) "
            "ON CONFLICT DO NOTHING",
            *columns,
            [draft.id for draft in ordered],
            [draft.prepared for draft in ordered],
            [draft.signing_key for draft in ordered],
        )
        rows = await connection.fetch(
            f"SELECT {_COLUMNS} FROM unnest($1::uuid[], $2::smallint[]) AS asked (credential, format) "  # noqa: S608 (a constant)
            "JOIN artefact USING (credential, format)",
            *columns,
        )
        stored = {(row["credential"], row["format"]): Artefact(**row) for row in rows}
        return [stored[draft.credential, draft.format] for draft in drafts]

    async def _finish(self, connection: Any, signed: Sequence[_Signed]) -> list[Artefact | VitneError]:
        ordered = sorted(signed, key=lambda item: item.artefact.id)
        ids = [item.artefact.id for item in ordered]
        # Locked in one order, and each leaf told once, by whoever is first. Of a learner who is being erased none is:
        # it would be in the log, and neither readable nor kept.
        new = {
            row["id"]
            for row in await connection.fetch(
                "SELECT a.id FROM artefact a JOIN credential c ON c.id = a.credential "
                "JOIN learner l ON l.id = c.learner "
                "WHERE a.id = ANY($1::uuid[]) AND a.signature IS NULL AND l.erasing_since IS NULL "
                "ORDER BY a.id FOR UPDATE OF a FOR KEY SHARE OF l",
                ids,
            )
        }
        fresh = {item.artefact.id: item for item in ordered if item.artefact.id in new}
        if fresh:
            artefacts = [item.artefact for item in fresh.values()]
            await connection.execute(
                "UPDATE artefact SET signature = made.signature, digest = made.digest "
                "FROM unnest($1::uuid[], $2::bytea[], $3::bytea[]) AS made (id, signature, digest) "
                "WHERE artefact.id = made.id",
                [each.id for each in artefacts],
                [each.signature for each in artefacts],
                [each.digest for each in artefacts],
            )
            await outbox.append(connection, [self._leaf(item) for item in fresh.values()])
        done = {id_: item.artefact for id_, item in fresh.items()}
        if len(done) < len(set(ids)):
            # Signed by somebody else meanwhile: the log has the digest of theirs, so theirs is what is answered.
            rows = await connection.fetch(
                f"SELECT {_COLUMNS} FROM artefact WHERE id = ANY($1::uuid[]) AND signature IS NOT NULL",  # noqa: S608 (a constant)
                ids,
            )
            done |= {row["id"]: Artefact(**row) for row in rows if row["id"] not in done}
        return [done.get(item.artefact.id) or erased(item.row.id) for item in signed]

    def _leaf(self, item: _Signed) -> outbox.Event:
        digest = item.artefact.digest
        if digest is None:
            raise ValueError("what has no signature has no leaf")
        return self._events.leaf(digest, self._origins.seal(digest, item.row, item.artefact.format), item.traceparent)
