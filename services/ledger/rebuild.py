"""``python -m services.ledger rebuild-lists``: every list again from nothing.

A list is what its changes say. They are rows of ``status_change``, and each is a leaf of the log, which nobody can
rewrite: a list is rebuilt only where the two agree, and its next version then shows exactly that. Versions never go
back, also where all published ones are gone. A ledger that runs meanwhile serves the new versions at once.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import asdict, dataclass
from typing import Any, Final

import asyncpg
import msgspec

from services.ledger.events import list_aggregate
from services.ledger.lists import ListPublisher
from services.ledger.statuses import STATUS_NAME
from services.ledger.transitions import Status
from vitne.errors import DataLoss
from vitne.merkle.leaves import ListPublished, StatusChanged, parse_leaf

#: Leaves that are read at once.
CHUNK: Final = 5_000


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """A list that was published anew.

    Attributes:
        url: of the list.
        version: that was published.
        changes: how many changes of statuses it shows.
        revoked: places that are revoked.
        suspended: places that are suspended.
        replaced: the version that stood before; None: none was left.
        same: whether that said the same of every place; None: there is none, or something changed since.
    """

    url: str
    version: int
    changes: int
    revoked: int
    suspended: int
    replaced: int | None
    same: bool | None

    def to_json(self) -> str:
        """One line for an operator."""
        return msgspec.json.encode(asdict(self)).decode()


@dataclass(frozen=True, slots=True)
class _Facts:
    """What the database says of a list, in one snapshot."""

    list_id: int
    url: str
    changes: frozenset[bytes]
    leaves: frozenset[bytes]
    #: No version beyond this was ever published.
    highest_version: int
    newest: Any


async def rebuild_lists(pool: asyncpg.Pool, publisher: ListPublisher) -> list[Rebuilt]:
    """Publish every list anew, from its changes.

    Args:
        pool: the ledger's database.
        publisher: one that has published nothing yet.

    Raises:
        DataLoss: ``LIST_CONTRADICTS_LOG``; nothing was published then.
    """
    lists = await _read(pool)
    for facts in lists:
        if facts.changes != facts.leaves:
            raise DataLoss(
                "LIST_CONTRADICTS_LOG",
                f"{facts.url}: {len(facts.changes - facts.leaves)} changes are not in the log, "
                f"{len(facts.leaves - facts.changes)} leaves are no changes",
                rule="a change of a status and its leaf are written in one transaction",
                remedy="restore the database from a backup that agrees with the witnessed log; do not publish from it",
            )
    rebuilt = []
    for facts in lists:
        newest, vector, changes = await publisher.publish_anew(facts.list_id, beyond=facts.highest_version)
        before = facts.newest
        # Of a version that a restore took up again the token is not there.
        comparable = before is not None and before["token"] is not None and before["changes"] == changes
        rebuilt.append(
            Rebuilt(
                url=facts.url,
                version=newest.version,
                changes=changes,
                revoked=vector.count(Status.REVOKED),
                suspended=vector.count(Status.SUSPENDED),
                replaced=before["version"] if before is not None else None,
                same=publisher.statuses_of(before["token"]) == vector.packed() if comparable else None,
            )
        )
    return rebuilt


async def _read(pool: asyncpg.Pool) -> list[_Facts]:
    # One snapshot: whatever change is in it, its leaf is in it too, queued or integrated.
    async with pool.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        rows = await connection.fetch("SELECT id, url FROM status_list ORDER BY id")
        leaves: dict[str, set[bytes]] = defaultdict(set)
        versions: dict[str, int] = defaultdict(int)
        cursor = connection.cursor(
            """
            SELECT record FROM leaf
            WHERE position('"type":"status"'::bytea IN record) > 0 OR position('"type":"list"'::bytea IN record) > 0
            UNION ALL SELECT record FROM queued_leaf
            """,
            prefetch=CHUNK,
        )
        async for (record,) in cursor:
            leaf = parse_leaf(record)
            if isinstance(leaf, StatusChanged):
                leaves[leaf.list_url].add(leaf.leaf_hash())
            elif isinstance(leaf, ListPublished):
                versions[leaf.list_url] = max(versions[leaf.list_url], leaf.version)
        return [await _facts(connection, row, leaves[row["url"]], versions[row["url"]]) for row in rows]


async def _facts(connection: Any, row: Any, leaves: set[bytes], logged: int) -> _Facts:
    changes: set[bytes] = set()
    async for change in connection.cursor(
        "SELECT index, status, effective, recorded FROM status_change WHERE list_id = $1", row["id"], prefetch=CHUNK
    ):
        name = STATUS_NAME[Status(change["status"])]
        changes.add(
            StatusChanged(row["url"], change["index"], name, change["effective"], change["recorded"]).leaf_hash()
        )
    newest = await connection.fetchrow(
        "SELECT version, changes, token FROM list_version WHERE list_id = $1 ORDER BY version DESC LIMIT 1", row["id"]
    )
    highest = max(logged, newest["version"] if newest else 0)
    if newest is None or newest["version"] < logged:
        # Versions are gone, and most have no leaf. Each had an event, so the events' number bounds theirs.
        told = await connection.fetchval(
            "SELECT revision FROM aggregate_revision WHERE aggregate = $1", list_aggregate(row["url"])
        )
        highest = max(highest, told or 0)
    return _Facts(row["id"], row["url"], frozenset(changes), frozenset(leaves), highest, newest)
