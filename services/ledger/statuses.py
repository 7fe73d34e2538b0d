"""Statuses change: a group of requests in one transaction, each decided on its own.

A change, its event and its leaf are written together or not at all. The lists'
rows are locked first and in one order, so changes of a list are numbered in the
order in which they become visible, and replicas can't block each other.

First changes of places, which most are, need no transaction of several statements
where one ledger writes: :mod:`services.ledger.first_changes`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from services.ledger.events import list_event, timestamp
from services.ledger.leases import Orders
from services.ledger.log_store import queue_statement
from services.ledger.transitions import Change, Standing, Status, change_status
from vitne.clock import Clock
from vitne.errors import AlreadyExists, NotFound, VitneError
from vitne.merkle import leaves
from vitne.messaging.outbox import Event, Statement, append
from vitne.messaging.tracing import is_sampled, sampled_only
from vitne.runtime.idempotency import RequestKey, races_told, recall_many, remember_many, remember_statement
from vitne_api.credential.v1 import credential_pb2
from vitne_api.events.v1 import events_pb2
from vitne_api.ledger.v1 import ledger_pb2

#: Most changes in one transaction: a message of a stream, so that revoking many costs one commit for each message.
MAX_GROUP: Final = 500
#: Most changes of a list that one event tells of. Who reads it handles them in one transaction.
MAX_TOLD_TOGETHER: Final = 100
#: Statuses as messages name them.
STATUS_MESSAGE: Final = {
    Status.VALID: credential_pb2.STATUS_VALID,
    Status.SUSPENDED: credential_pb2.STATUS_SUSPENDED,
    Status.REVOKED: credential_pb2.STATUS_REVOKED,
}
#: Statuses as leaves name them.
STATUS_NAME: Final[dict[Status, leaves.StatusName]] = {
    Status.VALID: "valid",
    Status.SUSPENDED: "suspended",
    Status.REVOKED: "revoked",
}


@dataclass(frozen=True, slots=True)
class StatusRequest:
    """One change that is asked for.

    Attributes:
        key: the request, as its caller names it.
        list_url: which list.
        index: which place of it.
        change: what is to happen.
        reason: why; a name of ``StatusReason``.
        on_behalf_of: the institution or authority.
        effective: from when it is to hold; None: from its recording.
        issued_at: the credential's issuance; None: not checked.
        traceparent: W3C trace context of the call.
    """

    key: RequestKey
    list_url: str
    index: int
    change: Change
    reason: str
    on_behalf_of: str
    effective: datetime | None
    issued_at: datetime | None
    traceparent: str = ""


@dataclass(frozen=True, slots=True)
class Recorded:
    """A change that is to be written: the ``number``-th of its list."""

    request: StatusRequest
    list_id: int
    number: int
    standing: Standing


class Statuses:
    """Applies changes of statuses.

    Args:
        orders: which indexes are leased.
        clock: says when a change is recorded.
        new_id: makes the UUIDv7 of events.
        told_together: most changes of a list that one event tells of.
    """

    def __init__(
        self,
        orders: Orders,
        clock: Clock,
        new_id: Callable[[], UUID],
        *,
        told_together: int = MAX_TOLD_TOGETHER,
    ) -> None:
        self._orders = orders
        self._clock = clock
        self._new_id = new_id
        self._told_together = told_together

    async def apply(
        self, connection: Any, requests: Sequence[StatusRequest]
    ) -> list[ledger_pb2.SetStatusResponse | VitneError]:
        """Decide a group of requests in their order and write what changes, in the caller's transaction.

        The answer holds, for each request, its response or its refusal: ``NotFound``
        ``STATUS_LIST_UNKNOWN`` or ``STATUS_INDEX_UNKNOWN``, ``AlreadyExists``
        ``REQUEST_ID_REUSED``, and those of
        :func:`~services.ledger.transitions.change_status`.
        """
        # Before the requests are recalled: whoever repeats one waits here until the first is committed.
        lists = await _lock_lists(connection, {request.list_url for request in requests})
        known = await recall_many(connection, [request.key for request in requests])
        places = [(lists[request.list_url]["id"], request.index) for request in requests if request.list_url in lists]
        standings = await _read_standings(connection, places)
        changes = {row["id"]: row["changes"] for row in lists.values()}
        now = self._clock.now()

        answers: list[ledger_pb2.SetStatusResponse | VitneError] = []
        first: dict[tuple[str, Any], tuple[RequestKey, ledger_pb2.SetStatusResponse]] = {}
        recorded: list[Recorded] = []
        for request, answer in zip(requests, known, strict=True):
            name = (request.key.caller, request.key.request_id)
            if isinstance(answer, AlreadyExists):
                answers.append(answer)
                continue
            if answer is not None:
                answers.append(ledger_pb2.SetStatusResponse.FromString(answer))
                continue
            if name in first:  # the same request twice in one group
                answers.append(first[name][1] if first[name][0] == request.key else _reused())
                continue
            try:
                list_id = self.leased_place(lists.get(request.list_url), request)
                current = standings.get((list_id, request.index))
                standing = change_status(
                    current,
                    request.change,
                    now=now,
                    effective=request.effective,
                    issued_at=request.issued_at,
                )
            except VitneError as refusal:
                answers.append(refusal)
                continue
            if standing is not current:
                changes[list_id] += 1
                standings[list_id, request.index] = standing
                recorded.append(Recorded(request, list_id, changes[list_id], standing))
            response = response_of(standing)
            first[name] = (request.key, response)
            answers.append(response)
        remembered = [(key, response.SerializeToString()) for key, response in first.values()]
        if recorded:
            touched = sorted({change.list_id for change in recorded})
            numbered = Statement(
                "UPDATE status_list SET changes = new.changes "
                "FROM unnest($1::integer[], $2::bigint[]) AS new (id, changes) WHERE status_list.id = new.id",
                (touched, [changes[list_id] for list_id in touched]),
            )
            await self.write(connection, recorded, remember_statement(remembered, now), numbered)
        elif remembered:
            await remember_many(connection, remembered, now)
        return answers

    def leased_place(self, row: Any, request: StatusRequest) -> int:
        """The list's id, where the index is leased.

        Args:
            row: ``id``, ``url``, ``size``, ``leased`` and ``order_check`` of the list; None: there is none.
            request: the change that is asked for.

        Raises:
            NotFound: ``STATUS_LIST_UNKNOWN``, ``STATUS_INDEX_UNKNOWN``.
            DataLoss: ``INDEX_ORDER_LOST``.
        """
        if row is None:
            raise NotFound(
                "STATUS_LIST_UNKNOWN",
                "no such status list is kept here",
                field="list",
                rule="the URI of a list that this ledger opened, as credentials carry it",
                remedy="copy list and index from the credential's status reference",
            )
        order = self._orders.of(row["url"], row["size"], row["order_check"])
        if request.index >= row["size"] or order.position(request.index) >= row["leased"]:
            raise NotFound(
                "STATUS_INDEX_UNKNOWN",
                "no credential can have this index: it was never leased",
                field="index",
                rule="an index exists from its lease on",
                remedy="copy list and index from the credential's status reference",
            )
        list_id: int = row["id"]
        return list_id

    async def write(
        self, connection: Any, recorded: Sequence[Recorded], *beside: Statement, first: Statement | None = None
    ) -> None:
        """The changes, their leaves, their events and what is written beside, in one round trip.

        The lists' locks are held meanwhile, so whoever comes next waits for each round trip of this one.

        Args:
            connection: in a transaction that holds the lists; or in none, where ``first`` takes hold of them.
            recorded: at least one, in the order of their numbers.
            beside: the lists' new numbers, unless ``first`` has them, and the answers.
            first: see :func:`~vitne.messaging.outbox.append`.

        Raises:
            Aborted: ``REQUEST_RACED``.
        """
        together = recorded[0].standing.recorded
        written = [
            Statement(
                """
                INSERT INTO status_change
                    (list_id, number, index, status, effective, recorded, reason, on_behalf_of, caller)
                SELECT list_id, number, index, status, coalesce(effective, recorded, $10::timestamptz),
                    coalesce(recorded, $10), reason, on_behalf_of, caller
                FROM unnest($1::integer[], $2::bigint[], $3::integer[], $4::smallint[], $5::timestamptz[],
                    $6::timestamptz[], $7::text[], $8::text[], $9::text[])
                    AS new (list_id, number, index, status, effective, recorded, reason, on_behalf_of, caller)
                """,
                (
                    [change.list_id for change in recorded],
                    [change.number for change in recorded],
                    [change.request.index for change in recorded],
                    [change.standing.status.value for change in recorded],
                    # Instants are dear to hand over, and nearly all are one.
                    [_unless(change.standing.recorded, change.standing.effective) for change in recorded],
                    [_unless(together, change.standing.recorded) for change in recorded],
                    [change.request.reason for change in recorded],
                    [change.request.on_behalf_of for change in recorded],
                    [change.request.key.caller for change in recorded],
                    together,
                ),
            ),
            queue_statement(
                [_leaf(change).to_bytes() for change in recorded],
                happened=[change.standing.recorded for change in recorded],
                traceparents=[sampled_only(change.request.traceparent) for change in recorded],
            ),
            *beside,
        ]
        with races_told():
            await append(connection, self._events(recorded), beside=written, first=first)

    def _events(self, recorded: Iterable[Recorded]) -> list[Event]:
        """What is told: of each list its changes in their order, several in one event."""
        lists: dict[str, list[Recorded]] = {}
        for change in recorded:
            lists.setdefault(change.request.list_url, []).append(change)
        return [
            self._event(changes[at : at + self._told_together])
            for changes in lists.values()
            for at in range(0, len(changes), self._told_together)
        ]

    def _event(self, changes: Sequence[Recorded]) -> Event:
        first, *others = changes
        traces = [change.request.traceparent for change in changes]
        return list_event(
            _told_together(changes) if others else _told_alone(first),
            time=first.standing.recorded,
            new_id=self._new_id,
            traceparent=next(filter(is_sampled, traces), traces[0]),
        )


async def _lock_lists(connection: Any, urls: set[str]) -> dict[str, Any]:
    rows = await connection.fetch(
        "SELECT id, url, size, leased, changes, order_check FROM status_list "
        "WHERE url = ANY($1::text[]) ORDER BY id FOR UPDATE",
        list(urls),
    )
    return {row["url"]: row for row in rows}


async def _read_standings(connection: Any, places: Sequence[tuple[int, int]]) -> dict[tuple[int, int], Standing]:
    """What was set last at each place; nothing for those never touched."""
    rows = await connection.fetch(
        "SELECT wanted.list_id, wanted.index, last.status, last.effective, last.recorded "
        "FROM (SELECT DISTINCT * FROM unnest($1::integer[], $2::bigint[]) AS place (list_id, index)) AS wanted "
        "CROSS JOIN LATERAL (SELECT status, effective, recorded FROM status_change "
        "WHERE list_id = wanted.list_id AND index = wanted.index ORDER BY number DESC LIMIT 1) AS last",
        [list_id for list_id, _ in places],
        [index for _, index in places],
    )
    return {
        (row["list_id"], row["index"]): Standing(Status(row["status"]), row["effective"], row["recorded"])
        for row in rows
    }


def _told_alone(change: Recorded) -> events_pb2.StatusChanged:
    return events_pb2.StatusChanged(
        list=change.request.list_url,
        index=change.request.index,
        status=STATUS_MESSAGE[change.standing.status],
        effective=timestamp(change.standing.effective),
        recorded=timestamp(change.standing.recorded),
    )


def _told_together(changes: Sequence[Recorded]) -> events_pb2.StatusesChanged:
    together = changes[0].standing.recorded
    told = events_pb2.StatusesChanged(list=changes[0].request.list_url, recorded=timestamp(together))
    for change in changes:
        standing, trace = change.standing, change.request.traceparent
        added = told.changes.add(index=change.request.index, status=STATUS_MESSAGE[standing.status])
        if standing.effective != standing.recorded:
            added.effective.CopyFrom(timestamp(standing.effective))
        if standing.recorded != together:
            added.recorded.CopyFrom(timestamp(standing.recorded))
        if is_sampled(trace):  # Nothing leads on from what is not recorded.
            added.traceparent = trace
    return told


def _unless(usual: datetime, moment: datetime) -> datetime | None:
    return None if moment == usual else moment


def _leaf(change: Recorded) -> leaves.StatusChanged:
    return leaves.StatusChanged(
        change.request.list_url,
        change.request.index,
        STATUS_NAME[change.standing.status],
        change.standing.effective,
        change.standing.recorded,
    )


def response_of(standing: Standing) -> ledger_pb2.SetStatusResponse:
    """What who asked for a change is told."""
    return ledger_pb2.SetStatusResponse(
        status=STATUS_MESSAGE[standing.status],
        effective=timestamp(standing.effective),
        recorded=timestamp(standing.recorded),
    )


def _reused() -> AlreadyExists:
    return AlreadyExists(
        "REQUEST_ID_REUSED",
        "the request id was used at the same time with another body",
        field="request_id",
        rule="AIP-155: one id, one request",
        remedy="use a new UUID for a new request, and the same body to repeat one",
    )
