"""Fills the snapshots of :mod:`vitne.audit` from databases, topics and published lists.

Reads with plain SQL and imports no service, as an operator's tool would: it says
what is stored, whatever the services' code believes. Each function reads one
snapshot of its database; that no work is under way is the caller's to arrange.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterable, Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from vitne.audit.snapshots import (
    Aggregate,
    Block,
    Change,
    Credential,
    EndedLog,
    EventRecord,
    Gathered,
    Handle,
    IssuerSnapshot,
    Lease,
    LedgerSnapshot,
    LogSnapshot,
    Lost,
    Messaging,
    ParkedMessage,
    PortalSnapshot,
    Progress,
    Registration,
    StatusListSnapshot,
    TopicSnapshot,
    Version,
)
from vitne.canonical import from_b64url
from vitne.credentials.artefact import sd_jwt_digest
from vitne.messaging.headers import Record, parse
from vitne_api.credential.v1 import credential_pb2

_STATUS: Final = {
    credential_pb2.STATUS_VALID: "valid",
    credential_pb2.STATUS_SUSPENDED: "suspended",
    credential_pb2.STATUS_REVOKED: "revoked",
}
#: Rows that are fetched at once of what grows with every credential.
CHUNK: Final = 1_000
#: Who "leased" what the ledger closed after a restore.
CLOSED: Final = "closed by reconcile"
#: Status types of a Token Status List (draft-20, section 7.1).
STATUS_TYPES: Final = {0: "valid", 1: "revoked", 2: "suspended"}

#: The newest version of a list as it is served: its statuses that are not ``valid``, by index, and the SHA-256 of
#: the bytes; None where it can't be fetched.
Published = Callable[[str], tuple[Mapping[int, str], bytes] | None]
#: Opens what a portal keeps sealed: (handle, pseudonym, wrapped key, content) to the artefact.
Unseal = Callable[[str, str, bytes, bytes], str]


def _rows(connection: Any, query: str) -> AsyncIterable[Any]:
    """A large answer, a chunk at a time: rows need not all be there beside what is made of them. In a transaction."""
    rows: AsyncIterable[Any] = connection.cursor(query, prefetch=CHUNK)
    return rows


async def read_messaging(connection: Any, service: str) -> Messaging:
    """A service's outbox and consumers. In a transaction."""
    aggregates = [
        Aggregate(*row)
        async for row in _rows(
            connection,
            "SELECT aggregate, topic, key, revision FROM aggregate_revision WHERE revision > 0 AND topic IS NOT NULL",
        )
    ]
    progress = await connection.fetch("SELECT consumer, topic, partition, next_offset FROM consumer_offset")
    parked = await connection.fetch('SELECT consumer, topic, partition, "offset", state, reason FROM consumer_parked')
    return Messaging(
        service=service,
        unpublished=await connection.fetchval("SELECT count(*) FROM outbox WHERE published_at IS NULL"),
        aggregates=aggregates,
        progress=[Progress(*row) for row in progress],
        parked=[ParkedMessage(*row) for row in parked],
    )


async def read_issuer(connection: Any) -> IssuerSnapshot:
    """The issuer's database."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        credentials = [
            Credential(
                id=row["id"],
                request=(row["provider"], str(row["request_id"]), row["request_item"].hex()),
                learner=row["learner"],
                provider=row["provider"],
                kind=row["kind"],
                list_url=row["status_list"],
                index=row["status_index"],
                status=_STATUS.get(row["status"], f"unknown {row['status']}"),
                digest=row["digest"],
            )
            async for row in _rows(
                connection,
                "SELECT id, provider, request_id, request_item, learner, kind, status_list, status_index, status, "
                "digest FROM credential",
            )
        ]
        registrations = [
            Registration(*row)
            async for row in _rows(
                connection, "SELECT hub, pseudonym, learner FROM registration WHERE withdrawn_at IS NULL"
            )
        ]
        handles = [
            Handle(*row)
            async for row in _rows(connection, "SELECT hub, handle, credential, learner FROM hub_credential")
        ]
        blocks = await connection.fetch("SELECT request_id, list, indexes[taken + 1 :] AS rest, size FROM index_lease")
        lost = await connection.fetch("SELECT digest, id, provider, status_list, status_index FROM lost_credential")
        artefacts = {
            row["digest"]: row["credential"]
            async for row in _rows(connection, "SELECT digest, credential FROM artefact WHERE digest IS NOT NULL")
        }
        restores = await connection.fetch("SELECT reconciled_at FROM restore ORDER BY reconciled_at")
        messaging = await read_messaging(connection, "issuer")
    return IssuerSnapshot(
        credentials=credentials,
        registrations=registrations,
        handles=handles,
        blocks=[Block(row["request_id"], row["list"], row["rest"] or (), row["size"]) for row in blocks],
        messaging=messaging,
        lost=[Lost(*row) for row in lost],
        artefacts=artefacts,
        restores=[row["reconciled_at"] for row in restores],
    )


async def read_ledger(connection: Any, published: Published) -> LedgerSnapshot:
    """The ledger's database, and what it serves."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        log = await connection.fetchrow("SELECT size, root FROM log")
        leaves = {
            row["leaf_index"]: row["record"]
            async for row in _rows(connection, "SELECT leaf_index, record FROM leaf ORDER BY leaf_index")
        }
        queued = await connection.fetchval("SELECT count(*) FROM queued_leaf")
        ended = await connection.fetch("SELECT origin, size, root FROM closed_log ORDER BY shard")
        statements = await connection.fetch("SELECT statement FROM succession ORDER BY number")
        lists = await connection.fetch("SELECT id, url, size, leased FROM status_list ORDER BY id")
        leases = await connection.fetch("SELECT list_id, first, count, recorded, caller FROM lease")
        changes: dict[int, list[Change]] = defaultdict(list)
        async for row in _rows(
            connection,
            "SELECT list_id, number, index, status, effective, recorded FROM status_change ORDER BY list_id, number",
        ):
            changes[row["list_id"]].append(
                Change(row["number"], row["index"], STATUS_TYPES[row["status"]], row["effective"], row["recorded"])
            )
        versions: dict[int, list[Version]] = defaultdict(list)
        async for row in _rows(
            connection,
            "SELECT list_id, version, changes, tree_size, digest, logged IS NOT NULL AS logged FROM list_version",
        ):
            versions[row["list_id"]].append(Version(*row[1:]))
        restores = await connection.fetch("SELECT reconciled_at FROM restore ORDER BY reconciled_at")
        messaging = await read_messaging(connection, "ledger")
    leased = _by_list(leases)
    snapshots = []
    for row in lists:
        shown = published(row["url"])
        snapshots.append(
            StatusListSnapshot(
                url=row["url"],
                size=row["size"],
                leased=row["leased"],
                leases=[
                    Lease(each["first"], each["count"], each["recorded"], closed=each["caller"] == CLOSED)
                    for each in leased[row["id"]]
                ],
                changes=changes[row["id"]],
                versions=versions[row["id"]],
                published=None if shown is None else shown[0],
                published_digest=b"" if shown is None else shown[1],
            )
        )
    return LedgerSnapshot(
        log=LogSnapshot(
            size=log["size"] if log else 0,
            root=log["root"] if log else b"",
            leaves=leaves,
            queued=queued,
            ended=[EndedLog(*row) for row in ended],
            statements=[row["statement"] for row in statements],
        ),
        lists=snapshots,
        messaging=messaging,
        restores=[row["reconciled_at"] for row in restores],
    )


def _by_list(rows: Iterable[Any]) -> Mapping[int, Sequence[Any]]:
    """Rows by their list's id, in their order."""
    found: dict[int, list[Any]] = defaultdict(list)
    for row in rows:
        found[row["list_id"]].append(row)
    return found


async def read_portal(connection: Any, hub: str, unseal: Unseal | None = None) -> PortalSnapshot:
    """A portal's database; without ``unseal``, what its credentials say is not looked at."""
    # An auditor may read neither content nor keys.
    query = (
        "SELECT handle, pseudonym, kind, provider, status, fetch_at, NULL AS content FROM credential"
        if unseal is None
        else "SELECT handle, pseudonym, kind, provider, status, fetch_at, content, wrapped_key "
        "FROM credential JOIN subscriber USING (pseudonym)"
    )
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        gathered = [_gathered(row, unseal) async for row in _rows(connection, query)]
        messaging = await read_messaging(connection, "portal")
    return PortalSnapshot(hub, gathered, messaging)


def _gathered(row: Any, unseal: Unseal | None) -> Gathered:
    digest = None
    if unseal is not None and row["content"] is not None:
        artefact = unseal(row["handle"], row["pseudonym"], row["wrapped_key"], row["content"])
        digest = from_b64url(sd_jwt_digest(artefact))
    return Gathered(
        handle=row["handle"],
        pseudonym=row["pseudonym"],
        kind=row["kind"],
        provider=row["provider"],
        status=row["status"],
        digest=digest,
        pending=row["fetch_at"] is not None,
    )


def make_topic(name: str, records: Iterable[Record], ends: Mapping[int, int]) -> TopicSnapshot:
    """A topic from its records, which must be all that it has.

    Raises:
        DataLoss: a record is no event of Vitne's.
    """
    in_order = sorted(records, key=lambda record: (record.partition, record.offset))
    return TopicSnapshot(name, [_event(record) for record in in_order], ends)


def _event(record: Record) -> EventRecord:
    message = parse(record)
    return EventRecord(
        record.partition, record.offset, message.key, message.revision, message.id, message.type, message.value
    )
