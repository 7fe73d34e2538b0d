"""The issuer's rows: credentials, from the request they came by to the signature they got."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any, Final
from uuid import UUID

from services.issuer.crypto import DataKey
from vitne.accreditation import timestamp
from vitne.canonical import b64url
from vitne.credentials.model import DecisionReference
from vitne.credentials.sd_jwt import Prepared
from vitne_api.credential.v1 import credential_pb2 as credential
from vitne_api.issuer.v1 import issuer_pb2 as issuer

_COLUMNS: Final = (
    "id, provider, learner, achievement, achievement_version, kind, retention, issued_at, request_id, request_item, "
    "request_digest, decision, status_list, status_index, status, signing_key, prepared, signature, digest"
)
_TABLE: Final = "credential"
#: Those of some requests (the numbers of the parameters: providers, ids, items) by which a credential came.
REPEATED: Final = """
    SELECT FROM unnest(${}::text[], ${}::uuid[], ${}::bytea[]) AS asked (provider, request_id, request_item)
    JOIN credential USING (request_id, request_item, provider)
"""

# What the statement itself reads from is done first, so learners are inserted, and locked, before credentials.
_INSERT: Final = """
    WITH learners AS ({}), credentials AS (
        INSERT INTO credential (id, provider, learner, achievement, achievement_version, kind, retention, issued_at,
            request_id, request_item, request_digest, decision, status_list, status_index, status, signing_key,
            prepared)
        SELECT * FROM unnest($6::uuid[], $7::text[], $8::uuid[], $9::uuid[], $10::integer[], $11::text[],
            $12::smallint[], $13::timestamptz[], $14::uuid[], $15::bytea[], $16::bytea[], $17::bytea[], $18::text[],
            $19::integer[], $20::smallint[], $21::text[], $22::bytea[])
    )
    SELECT count(*) FROM learners
"""


@dataclass(frozen=True, slots=True)
class RequestKey:
    """What a repeated request is recognised by; ``item`` is a keyed hash of the batch item's id, or empty.

    It is found before the learner is known, so its key is one for all; erasure overwrites it.
    """

    provider: str
    request_id: UUID
    item: bytes


@dataclass(frozen=True, slots=True)
class Credential:
    """A credential's row. ``prepared`` is sealed; without ``signature`` and ``digest`` it is pending."""

    id: UUID
    provider: str
    learner: UUID
    achievement: UUID
    achievement_version: int
    kind: str
    retention: int
    issued_at: datetime
    request_id: UUID
    request_item: bytes
    request_digest: bytes = field(repr=False)
    decision: bytes
    status_list: str
    status_index: int
    status: int
    signing_key: str
    prepared: bytes = field(repr=False)
    signature: bytes | None = None
    digest: bytes | None = None

    @property
    def request(self) -> RequestKey:
        """The request that it came by."""
        return RequestKey(self.provider, self.request_id, self.request_item)

    @property
    def issued(self) -> bool:
        """Whether it is signed; else it is pending."""
        return self.signature is not None

    def open(self, key: DataKey) -> Prepared:
        """What was, or is to be, signed.

        Raises:
            DataLoss: ``SEAL_BROKEN``.
        """
        signing_input, *disclosures = key.open(self.prepared, _TABLE, self.id, "prepared").split(b"~")
        return Prepared(signing_input, tuple(disclosure.decode("ascii") for disclosure in disclosures))

    def message(self, prepared: Prepared | None = None) -> issuer.IssuedCredential:
        """The credential as the contract shows it; with its artefact when what was signed is given."""
        if self.signature is None or self.digest is None:
            raise ValueError("a pending credential is not shown to anyone")
        message = issuer.IssuedCredential(
            id=str(self.id),
            provider=self.provider,
            achievement_id=str(self.achievement),
            achievement_version=self.achievement_version,
            kind=self.kind,
            issued_at=timestamp(self.issued_at),
            format=credential.FORMAT_SD_JWT_VC,
            digest=b64url(self.digest),
            status_reference=credential.StatusReference(list=self.status_list, index=self.status_index),
            status=credential.Status.ValueType(self.status),
            decision=_decision_message(self.decision),
        )
        if prepared is not None:
            message.artefact = prepared.complete(self.signature)
        return message


def seal(prepared: Prepared, key: DataKey, row: UUID) -> bytes:
    """What is to be signed and its disclosures, with ``~`` between them, sealed for their place."""
    plain = b"~".join((prepared.signing_input, *(disclosure.encode("ascii") for disclosure in prepared.disclosures)))
    return key.seal(plain, _TABLE, row, "prepared")


# A group of issuances shares few decisions, and so does a page of credentials.
@lru_cache(maxsize=1024)
def _decision_message(record: bytes) -> credential.Decision:
    """A stored decision record as the contract shows it, to be copied."""
    decision = DecisionReference.parse(record)
    return credential.Decision(
        digest=decision.digest,
        record=record,
        accreditation_id=str(decision.accreditation_id),
        accreditation_revision=decision.accreditation_revision,
        rule=decision.rule,
        at=timestamp(decision.at),
    )


def _credential(row: Any) -> Credential:
    return Credential(**row)


async def by_request(connection: Any, keys: Collection[RequestKey]) -> dict[RequestKey, Credential]:
    """The credentials that came by these requests, pending ones too."""
    rows = await connection.fetch(
        f"""
        SELECT {_COLUMNS} FROM unnest($1::text[], $2::uuid[], $3::bytea[]) AS asked (provider, request_id, request_item)
        JOIN credential USING (request_id, request_item, provider)
        """,  # noqa: S608 (the columns are a constant)
        [key.provider for key in keys],
        [key.request_id for key in keys],
        [key.item for key in keys],
    )
    found = [_credential(row) for row in rows]
    return {row.request: row for row in found}


async def insert(
    connection: Any, credentials: Sequence[Credential], learners: str, new_learners: Sequence[object]
) -> int:
    """Store pending credentials, and learners first; answers how many of these were not there yet.

    In the order of their requests: two transactions that meet on two requests wait, they don't deadlock.

    Args:
        connection: with an open transaction.
        credentials: at least one.
        learners: the statement that inserts learners, and returns a row for each that was not there.
        new_learners: what that takes: its parameters are the first five.

    Raises:
        asyncpg.UniqueViolationError: another transaction was faster with one of the requests.
    """
    credentials = sorted(credentials, key=lambda row: (row.request_id, row.request_item, row.provider))
    inserted: int = await connection.fetchval(
        _INSERT.format(learners),
        *new_learners,
        [row.id for row in credentials],
        [row.provider for row in credentials],
        [row.learner for row in credentials],
        [row.achievement for row in credentials],
        [row.achievement_version for row in credentials],
        [row.kind for row in credentials],
        [row.retention for row in credentials],
        [row.issued_at for row in credentials],
        [row.request_id for row in credentials],
        [row.request_item for row in credentials],
        [row.request_digest for row in credentials],
        [row.decision for row in credentials],
        [row.status_list for row in credentials],
        [row.status_index for row in credentials],
        [row.status for row in credentials],
        [row.signing_key for row in credentials],
        [row.prepared for row in credentials],
    )
    return inserted


async def lock(connection: Any, ids: Collection[UUID]) -> dict[UUID, tuple[bytes, bytes]]:
    """Lock credentials, then their learners, and answer signature and digest of those that are issued by now.

    In the order of their ids, as everybody does who locks several. A learner is kept from being erased, and from
    being registered with hubs, until the transaction ends.
    """
    # As one row, which is always answered: so what is held is looked at, too, where nothing is issued by now.
    row = await connection.fetchrow(
        """
        WITH locked AS MATERIALIZED (
            SELECT id, learner, signature, digest FROM credential WHERE id = ANY($1::uuid[]) ORDER BY id FOR UPDATE
        ), held AS MATERIALIZED (
            SELECT FROM learner WHERE id = ANY(ARRAY(SELECT learner FROM locked)) ORDER BY id FOR KEY SHARE
        )
        SELECT (SELECT count(*) FROM held) AS learners,
            array_agg((id, signature, digest) ORDER BY id) FILTER (WHERE signature IS NOT NULL) AS issued
        FROM locked
        """,
        list(ids),
    )
    return {id_: (signature, digest) for id_, signature, digest in row["issued"] or ()}


async def finish(connection: Any, signed: Mapping[UUID, tuple[bytes, bytes]]) -> set[UUID]:
    """Turn locked pending credentials into issued ones: signature and digest, by id.

    Answers which; those that were given up meanwhile stay so.
    """
    rows = await connection.fetch(
        """
        UPDATE credential SET signature = new.signature, digest = new.digest
        FROM unnest($1::uuid[], $2::bytea[], $3::bytea[]) AS new (id, signature, digest)
        WHERE credential.id = new.id AND NOT void RETURNING credential.id
        """,
        list(signed),
        [signature for signature, _ in signed.values()],
        [digest for _, digest in signed.values()],
    )
    return {row["id"] for row in rows}


async def pending(connection: Any, before: datetime, now: datetime, after: UUID | None, limit: int) -> list[Credential]:
    """Credentials that were stored before an instant, are not signed and are due, by id, from above ``after``."""
    rows = await connection.fetch(
        f"""
        SELECT {_COLUMNS} FROM credential
        WHERE signature IS NULL AND NOT void AND issued_at < $1 AND (next_try IS NULL OR next_try <= $2)
            AND ($3::uuid IS NULL OR id > $3) ORDER BY id LIMIT $4
        """,  # noqa: S608 (the columns are a constant)
        before,
        now,
        after,
        limit,
    )
    return [_credential(row) for row in rows]


async def postpone(connection: Any, moments: Mapping[UUID, datetime]) -> None:
    """Don't look at these pending credentials before certain instants."""
    await connection.execute(
        """
        UPDATE credential SET next_try = new.next_try FROM unnest($1::uuid[], $2::timestamptz[]) AS new (id, next_try)
        WHERE credential.id = new.id AND signature IS NULL
        """,
        list(moments),
        list(moments.values()),
    )


async def void(connection: Any, ids: Collection[UUID]) -> set[UUID]:
    """Give up those pending credentials whose learner is gone for good; answers which."""
    rows = await connection.fetch(
        """
        UPDATE credential SET void = true WHERE id = ANY($1::uuid[]) AND signature IS NULL
            AND NOT EXISTS (SELECT FROM learner WHERE learner.id = credential.learner) RETURNING id
        """,
        list(ids),
    )
    return {row["id"] for row in rows}


async def give_up(connection: Any, learner: UUID) -> None:
    """Give up all that is pending of a learner who is being erased."""
    await connection.execute("UPDATE credential SET void = true WHERE learner = $1 AND signature IS NULL", learner)


async def of_learner(connection: Any, learner: UUID, *, lock: bool = False) -> list[Credential]:
    """A learner's issued credentials, oldest first; locked in the order in which everybody locks."""
    rows = await connection.fetch(
        f"SELECT {_COLUMNS} FROM credential WHERE learner = $1 AND signature IS NOT NULL ORDER BY id"  # noqa: S608 (constants)
        f"{' FOR UPDATE' if lock else ''}",
        learner,
    )
    return [_credential(row) for row in rows]


async def unlink(connection: Any, learner: UUID) -> None:
    """Overwrite, in a learner's credentials, what a guess could be tested against without the learner's key.

    What was counted towards them goes: nobody can say any more what it was.
    """
    await connection.execute(
        "DELETE FROM counted_part WHERE whole IN (SELECT id FROM credential WHERE learner = $1)", learner
    )
    rows = await connection.fetch(
        "SELECT id FROM credential WHERE learner = $1 AND request_item <> '' ORDER BY id FOR UPDATE", learner
    )
    await connection.execute(
        """
        UPDATE credential SET request_item = new.item FROM unnest($1::uuid[], $2::bytea[]) AS new (id, item)
        WHERE credential.id = new.id
        """,
        [row["id"] for row in rows],
        [secrets.token_bytes(32) for _ in rows],
    )


async def issued_by(connection: Any, provider: str, id_: UUID) -> Credential | None:
    """One of a provider's issued credentials."""
    row = await connection.fetchrow(
        f"SELECT {_COLUMNS} FROM credential WHERE id = $1 AND provider = $2 AND signature IS NOT NULL",  # noqa: S608 (a constant)
        id_,
        provider,
    )
    return _credential(row) if row else None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a credential's status is kept, and since when there is one."""

    status_list: str
    status_index: int
    issued_at: datetime


async def place_of(connection: Any, provider: str, id_: UUID) -> Place | None:
    """The place of one of a provider's issued credentials, also of one that a restore lost."""
    return (await places_of(connection, provider, [id_])).get(id_)


async def places_of(connection: Any, provider: str, ids: Collection[UUID]) -> dict[UUID, Place]:
    """The places of a provider's issued credentials, also of those that a restore lost; others are left out."""
    rows = await connection.fetch(
        """
        SELECT id, status_list, status_index, issued_at FROM credential
        WHERE id = ANY($1::uuid[]) AND provider = $2 AND signature IS NOT NULL
        UNION ALL
        SELECT id, status_list, status_index, issued_at FROM lost_credential
        WHERE id = ANY($1::uuid[]) AND provider = $2
        """,
        list(ids),
        provider,
    )
    return {row["id"]: Place(row["status_list"], row["status_index"], row["issued_at"]) for row in rows}


async def page(connection: Any, provider: str, before: UUID | None, limit: int) -> list[Credential]:
    """A provider's issued credentials, newest first, from below ``before``."""
    rows = await connection.fetch(
        f"""
        SELECT {_COLUMNS} FROM credential
        WHERE provider = $1 AND signature IS NOT NULL AND ($2::uuid IS NULL OR id < $2) ORDER BY id DESC LIMIT $3
        """,  # noqa: S608 (the columns are a constant)
        provider,
        before,
        limit,
    )
    return [_credential(row) for row in rows]


async def by_handle(connection: Any, hub: str, handles: Collection[str]) -> dict[str, Credential]:
    """A hub's credentials by its own handles."""
    rows = await connection.fetch(
        f"""
        SELECT hub_credential.handle, {", ".join(f"credential.{name}" for name in _COLUMNS.split(", "))}
        FROM hub_credential JOIN credential ON credential.id = hub_credential.credential
        WHERE hub = $1 AND handle = ANY($2::text[]) AND signature IS NOT NULL
        """,  # noqa: S608 (the columns are a constant)
        hub,
        list(handles),
    )
    found = {}
    for row in rows:
        columns = dict(row)
        handle = columns.pop("handle")
        found[handle] = _credential(columns)
    return found


@dataclass(frozen=True, slots=True)
class Holding:
    """Whose a credential is, and what kind."""

    id: UUID
    provider: str
    learner: UUID
    kind: str


async def change_statuses(connection: Any, statuses: Mapping[tuple[str, int], int]) -> dict[tuple[str, int], Holding]:
    """Store statuses as the ledger told them, by list and index; answers those credentials that are ours, likewise.

    Locked in the order of their ids, as everybody does who locks several.
    """
    rows = await connection.fetch(
        """
        SELECT status_list, status_index, id, provider, learner, kind FROM credential
        JOIN unnest($1::text[], $2::integer[]) AS place (list, index) ON status_list = list AND status_index = index
        ORDER BY id FOR UPDATE OF credential
        """,
        [status_list for status_list, _ in statuses],
        [index for _, index in statuses],
    )
    ours = {(row[0], row[1]): Holding(*row[2:]) for row in map(tuple, rows)}
    if ours:
        await connection.execute(
            "UPDATE credential SET status = new.status FROM unnest($1::uuid[], $2::smallint[]) AS new (id, status) "
            "WHERE credential.id = new.id",
            [holding.id for holding in ours.values()],
            [statuses[place] for place in ours],
        )
    return ours
