"""``python -m services.ledger reconcile``: after the ledger's database was restored to an earlier instant.

Checkpoints, statuses and places were given out since. The log is taken up again from its own topic, leaf by leaf in the
order that was signed; statuses from theirs and from the log; and as nobody can say which places were leased, every list
that was open is closed: what it has left is given to nobody (docs/decisions/0014-after-a-restore.md).

One transaction, before the ledger serves; then every list is published anew.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import asyncpg
import msgspec

from services.ledger.events import list_aggregate, list_event
from services.ledger.journal import log_aggregate
from services.ledger.leases import Orders
from services.ledger.log_recovery import LogRecovery
from services.ledger.log_store import queue_leaves
from services.ledger.signing import Signers
from services.ledger.statuses import STATUS_MESSAGE, STATUS_NAME
from services.ledger.transitions import Status
from vitne.accreditation import instant, timestamp
from vitne.canonical import from_b64url
from vitne.clock import Clock
from vitne.merkle.leaves import ListPublished, StatusChanged, parse_leaf
from vitne.messaging import recovery, topics
from vitne.messaging.event_types import LIST_PUBLISHED
from vitne.messaging.headers import Message
from vitne.messaging.outbox import append
from vitne.messaging.status_events import read_changes
from vitne_api.events.v1 import events_pb2

#: Who leased what a restore closed: nobody. Whoever compares knows it by this (vitne.inspection.snapshots).
CLOSED: Final = "closed by reconcile"
#: What stands where only the lost database knew why, and for whom, a status was changed.
UNKNOWN: Final = "lost in a restore"

_NUMBER = re.compile(r"/(?P<year>\d{4})/(?P<country>[a-z]{2})-(?P<number>\d+)\Z", re.ASCII)
_STATUS: Final = {message: status for status, message in STATUS_MESSAGE.items()}
_BY_NAME: Final = {name: status for status, name in STATUS_NAME.items()}


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What was found and done.

    Attributes:
        leaves: of the log, taken up again in their order.
        changes: of statuses, taken up again; why and for whom they were made is lost.
        changes_told: of these, that only the log knew of and the issuer is told of now.
        versions: of lists, taken up again; what they said is in the changes.
        lists_closed: lists that give out no place any more.
        places_closed: places of these that had not been leased at the instant of the restore.
        revisions: aggregates that go on from where their topic is.
    """

    leaves: int
    changes: int
    changes_told: int
    versions: int
    lists_closed: int
    places_closed: int
    revisions: int

    def to_json(self) -> str:
        """One line for an operator."""
        return msgspec.json.encode(asdict(self)).decode()


class Reconciliation:
    """Puts a restored database back in step.

    Args:
        pool: the ledger's database; nothing else writes to it.
        origin: of the first log, where the database holds none.
        signers: sign the logs' checkpoints.
        orders: which index comes when.
        clock: says when it was.
        new_id: makes UUIDv7.
        base_url: what the lists' URLs begin with, without a slash at the end.
        list_size: places of a list that the database does not know.
        lifetime: how long a signed list may be relied on.
    """

    def __init__(
        self,
        pool: asyncpg.Pool,
        *,
        origin: str,
        signers: Signers,
        orders: Orders,
        clock: Clock,
        new_id: Callable[[], UUID],
        base_url: str,
        list_size: int,
        lifetime: timedelta,
    ) -> None:
        self._pool = pool
        self._origin = origin
        self._signers = signers
        self._orders = orders
        self._clock = clock
        self._new_id = new_id
        self._base_url = base_url
        self._list_size = list_size
        self._lifetime = lifetime

    async def run(self, status: Sequence[Message], log: Sequence[Message]) -> Reconciled:
        """Do it, in one transaction.

        Args:
            status: all of the ledger's own in ``vitne.ledger.status.v1``.
            log: all of the ledger's own in ``vitne.ledger.log.v1``.

        Raises:
            FailedPrecondition: ``SERVICE_RUNNING``: a ledger uses the database.
            DataLoss: ``LOG_CONTRADICTED``: database and topic are not of one log; ``LOG_INCOMPLETE``: they don't
                meet; ``LOG_UNTOLD``: the topic was behind the log still when the ledger was lost.
        """
        now = self._clock.now()
        async with self._pool.acquire() as connection, connection.transaction():
            await recovery.require_alone(connection)
            told = [(list_aggregate(message.key), message) for message in status]
            told += [(log_aggregate(message.key), message) for message in log]
            revisions = await recovery.catch_up(connection, told, now)
            await connection.execute("INSERT INTO restore (reconciled_at) VALUES ($1)", now)
            leaves = await LogRecovery(connection, self._origin, self._signers, now).take_up(log)
            # Of the instant of before: all of the log may have been shown since.
            await connection.execute("DELETE FROM shown_checkpoint")
            by_list = _by_list(status)
            await self._know_lists(connection, by_list, now)
            changes = changes_told = versions = 0
            logged = await _logged(connection)
            for row in await connection.fetch("SELECT id, url, changes FROM status_list ORDER BY id"):
                events = by_list.get(row["url"], [])
                taken, more = await self._take_up_changes(connection, row, events, logged.changes[row["url"]], now)
                changes, changes_told = changes + taken, changes_told + more
                versions += await self._take_up_versions(
                    connection, row["id"], events, logged.versions[row["url"]], now
                )
            lists, places = await self._close(connection, now)
        return Reconciled(leaves, changes, changes_told, versions, lists, places, revisions)

    # -- Lists -------------------------------------------------------------------------------------

    async def _know_lists(self, connection: Any, urls: Iterable[str], now: datetime) -> None:
        """Enter lists that were opened since. One more a country and year, too: it may have been, and not been told."""
        newest: Counter[tuple[str, int]] = Counter()
        for row in await connection.fetch("SELECT country, year, number FROM status_list"):
            newest[row["country"], row["year"]] = max(newest[row["country"], row["year"]], row["number"])
        for url in urls:
            if match := _NUMBER.search(url):
                at = match["country"].upper(), int(match["year"])
                newest[at] = max(newest[at], int(match["number"]))
        for (country, year), number in newest.items():
            for each in range(1, number + 2):
                url = f"{self._base_url}/{year}/{country.lower()}-{each}"
                await connection.execute(
                    "INSERT INTO status_list (url, country, year, number, size, order_check, opened) "
                    "VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
                    url,
                    country,
                    year,
                    each,
                    self._list_size,
                    self._orders.check(url),
                    now,
                )

    async def _take_up_changes(
        self, connection: Any, row: Any, events: Sequence[Message], logged: Sequence[StatusChanged], now: datetime
    ) -> tuple[int, int]:
        """Changes that the topic has, then those that only the log has; how many in all, and how many of the latter."""
        told = [
            StatusChanged(
                change.list_url, change.index, STATUS_NAME[_STATUS[change.status]], change.effective, change.recorded
            )
            for message in events
            for change in read_changes(message)
        ]
        # What the database has, it told first: the topic goes on from there.
        fresh = told[row["changes"] :]
        known = {change.leaf_hash() for change in told} | {
            StatusChanged(
                row["url"], each["index"], STATUS_NAME[Status(each["status"])], each["effective"], each["recorded"]
            ).leaf_hash()
            for each in await connection.fetch(
                "SELECT index, status, effective, recorded FROM status_change WHERE list_id = $1", row["id"]
            )
        }
        untold = [change for change in logged if change.leaf_hash() not in known]
        number = row["changes"]
        for change in [*fresh, *untold]:
            number += 1
            await connection.execute(
                "INSERT INTO status_change (list_id, number, index, status, effective, recorded, reason, on_behalf_of, "
                "caller) VALUES ($1, $2, $3, $4, $5, $6, $7, $7, $7)",
                row["id"],
                number,
                change.index,
                _BY_NAME[change.status].value,
                change.effective,
                change.recorded,
                UNKNOWN,
            )
        await connection.execute("UPDATE status_list SET changes = $2 WHERE id = $1", row["id"], number)
        await queue_leaves(connection, [change.to_bytes() for change in fresh])
        await append(
            connection,
            [
                list_event(
                    events_pb2.StatusChanged(
                        list=change.list_url,
                        index=change.index,
                        status=STATUS_MESSAGE[_BY_NAME[change.status]],
                        effective=timestamp(change.effective),
                        recorded=timestamp(change.recorded),
                    ),
                    time=now,
                    new_id=self._new_id,
                )
                for change in untold
            ],
        )
        return len(fresh) + len(untold), len(untold)

    async def _take_up_versions(
        self, connection: Any, list_id: int, events: Sequence[Message], logged: Sequence[ListPublished], now: datetime
    ) -> int:
        """Versions that were published, and what they showed; their tokens are with those who fetched them."""
        last = await connection.fetchrow(
            "SELECT version, changes, tree_size FROM list_version WHERE list_id = $1 ORDER BY version DESC LIMIT 1",
            list_id,
        )
        version, changes, tree_size = tuple(last) if last else (0, 0, 0)
        leaves = {leaf.version: leaf for leaf in logged}
        shown, told = 0, {}
        for message in events:
            if message.type != LIST_PUBLISHED:
                shown += len(read_changes(message))
            else:
                published = events_pb2.StatusListPublished.FromString(message.value)
                told[published.version] = shown, published
        fresh = sorted(number for number in leaves.keys() | told.keys() if number > version)
        for number in fresh:
            leaf, event = leaves.get(number), told.get(number)
            changes = max(changes, event[0]) if event else changes
            tree_size = max(tree_size, leaf.tree_size) if leaf else tree_size
            published_at = instant(event[1].published) if event else now
            await connection.execute(
                "INSERT INTO list_version (list_id, version, changes, tree_size, token, digest, published, logged, "
                "expires) VALUES ($1, $2, $3, $4, NULL, $5, $6, $7, $8)",
                list_id,
                number,
                changes,
                tree_size,
                leaf.digest if leaf else from_b64url(event[1].digest) if event else b"",
                published_at,
                published_at if leaf else None,
                published_at + self._lifetime,
            )
        await connection.execute(
            "UPDATE list_version SET logged = $3 "
            "WHERE list_id = $1 AND version = ANY($2::integer[]) AND logged IS NULL",
            list_id,
            list(leaves),
            now,
        )
        return len(fresh)

    async def _close(self, connection: Any, now: datetime) -> tuple[int, int]:
        """Close every list that has places left; answers how many lists, and places."""
        rows = await connection.fetch(
            "SELECT id, size, leased FROM status_list WHERE leased < size ORDER BY id FOR UPDATE"
        )
        for row in rows:
            await connection.execute(
                "INSERT INTO lease (list_id, first, count, caller, recorded) VALUES ($1, $2, $3, $4, $5)",
                row["id"],
                row["leased"],
                row["size"] - row["leased"],
                CLOSED,
                now,
            )
            await connection.execute("UPDATE status_list SET leased = size WHERE id = $1", row["id"])
        return len(rows), sum(row["size"] - row["leased"] for row in rows)


@dataclass(frozen=True, slots=True)
class _Logged:
    """What the log says of lists."""

    changes: dict[str, list[StatusChanged]]
    versions: dict[str, list[ListPublished]]


async def _logged(connection: Any) -> _Logged:
    found = _Logged(defaultdict(list), defaultdict(list))
    for (record,) in await connection.fetch(
        """
        SELECT record FROM leaf
        WHERE position('"type":"status"'::bytea IN record) > 0 OR position('"type":"list"'::bytea IN record) > 0
        ORDER BY leaf_index
        """
    ):
        leaf = parse_leaf(record)
        if isinstance(leaf, StatusChanged):
            found.changes[leaf.list_url].append(leaf)
        elif isinstance(leaf, ListPublished):
            found.versions[leaf.list_url].append(leaf)
    return found


def _by_list(status: Sequence[Message]) -> dict[str, list[Message]]:
    """The events of each list, each revision once and in order."""
    by_revision: dict[str, dict[int, Message]] = defaultdict(dict)
    for message in status:
        if message.topic == topics.LEDGER_STATUS:
            by_revision[message.key].setdefault(message.revision, message)
    return {url: [found[revision] for revision in sorted(found)] for url, found in by_revision.items()}
