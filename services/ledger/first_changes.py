"""First changes of places, which most are: decided from memory, written by one statement (docs/decisions/0041).

A transaction that locks, reads, decides and writes goes to the database six times, and whoever comes next waits for
each. Here the statement that writes counts only where each list's last change is still the one that is remembered, so
that a ledger which is not alone, or no longer in charge, changes nothing by what it remembers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from itertools import chain
from typing import Any, Final

import asyncpg

from services.ledger.statuses import Recorded, Statuses, StatusRequest, response_of
from services.ledger.transitions import Standing, change_status
from services.ledger.untouched import Last, RememberedList, Untouched
from vitne.clock import Clock
from vitne.errors import Aborted, VitneError
from vitne.messaging.outbox import Statement
from vitne.runtime.idempotency import RequestKey, remember_statement
from vitne_api.ledger.v1 import ledger_pb2

#: A group is begun here where at least one in so many seems to be a first change; else a transaction is due anyway.
WORTHWHILE: Final = 2
#: Most lists that are named one by one, so that the planner knows how many there are, and soon keeps a plan. An array's
#: length it guesses: while tables are young it would plan for each group anew, nearly as long as that takes to execute.
FEW: Final = 8
#: What a list's step is made of, each with its type.
_STEP: Final = {
    "id": "integer",
    "url": "text",
    "leased": "integer",
    "was": "bigint",
    "index": "integer",
    "recorded": "timestamptz",
    "changes": "bigint",
}
#: Locks lists and moves each on from the change that is remembered as its last. From any other, or where one of the
#: places was touched, that would be NULL, which the column is not: the statement fails, and with it all that is written
#: beside. So it does where a database that went back to an earlier state has another list of this id, or leased less
#: than is remembered; two of a group under one id are not written at all. It waits for no list: the time of recording
#: was read before, and what was known at a time is what was recorded by then. The last change is a value, not
#: ``EXISTS``, which a plan may answer by reading all changes.
_MOVE: Final = """
    UPDATE status_list SET changes = CASE
        WHEN status_list.changes = step.was AND status_list.url = step.url AND status_list.leased >= step.leased
            AND (step.was = 0 OR (
                SELECT last.index = step.index AND last.recorded = step.recorded
                FROM status_change AS last WHERE last.list_id = step.id AND last.number = step.was
            ))
            AND NOT EXISTS (
                SELECT FROM unnest($1::integer[], $2::integer[]) AS place (list_id, index) CROSS JOIN LATERAL (
                    SELECT FROM status_change
                    WHERE list_id = place.list_id AND index = place.index ORDER BY number DESC LIMIT 1
                ) AS touched
            )
        THEN step.changes
    END
    FROM (SELECT id FROM status_list WHERE id {ids} ORDER BY id FOR UPDATE NOWAIT) AS held
    JOIN {steps} AS step ({names}) USING (id)
    WHERE status_list.id = step.id RETURNING status_list.id
"""

_Response = ledger_pb2.SetStatusResponse


class FirstChanges:
    """Applies first changes; leaves all others.

    Args:
        statuses: takes what is left, and writes.
        clock: says when a change is recorded.
    """

    def __init__(self, statuses: Statuses, clock: Clock) -> None:
        self._statuses = statuses
        self._clock = clock
        self._untouched = Untouched()

    async def apply(self, connection: Any, requests: Sequence[StatusRequest]) -> list[_Response | None]:
        """Decide what is certain, and commit it by one statement, without a transaction.

        The answer holds None for each request that is left: whatever is not certain, and whatever would be refused or
        answered again, since that must be read.
        """
        answers: list[_Response | None] = [None] * len(requests)
        due = self._seemingly_first(requests)
        if len(due) * WORTHWHILE >= len(requests):
            for place, response in (await self._apply(connection, due)).items():
                answers[place] = response
        # A transaction may change the lists of what is left.
        self._untouched.doubt(
            request.list_url for request, answer in zip(requests, answers, strict=True) if answer is None
        )
        return answers

    def _seemingly_first(self, requests: Sequence[StatusRequest]) -> dict[int, StatusRequest]:
        """Requests, by their place in the group, of places that no other request is about, and no change we know."""
        places = Counter((request.list_url, request.index) for request in requests)
        names = Counter((request.key.caller, request.key.request_id) for request in requests)
        due: dict[int, StatusRequest] = {}
        for place, request in enumerate(requests):
            alone = (
                places[request.list_url, request.index] == 1 and names[request.key.caller, request.key.request_id] == 1
            )
            known = self._untouched.find(request.list_url)
            if alone and (known is None or not known.is_touched(request.index)):
                due[place] = request
        return due

    async def _apply(self, connection: Any, due: Mapping[int, StatusRequest]) -> dict[int, _Response]:
        started = self._clock.monotonic()
        lists = await self._untouched.look(
            connection, dict.fromkeys(request.list_url for request in due.values()), started
        )
        if len({known.row["id"] for known in lists.values()}) < len(lists):
            # The database went back, and what it had not opened by then came again under a number that another has: the
            # statement goes by numbers, and would take one for the other.
            self._untouched.doubt(lists)
            return {}
        changes = {known.row["id"]: known.last.number for known in lists.values()}
        now = self._clock.now()

        answers: dict[int, _Response] = {}
        recorded: list[Recorded] = []
        remembered: list[tuple[RequestKey, bytes]] = []
        for place, request in due.items():
            known = lists.get(request.list_url)
            if known is None or (standing := self._first_standing(known, request, now)) is None:
                continue
            list_id = known.row["id"]
            changes[list_id] += 1
            recorded.append(Recorded(request, list_id, changes[list_id], standing))
            answers[place] = response = response_of(standing)
            remembered.append((request.key, response.SerializeToString()))
        moved = {url: known for url, known in lists.items() if changes[known.row["id"]] > known.last.number}
        if not moved:
            return {}
        # Until it is known how the statement ended, however that is.
        self._untouched.doubt(moved)
        move = _move(moved.values(), changes, recorded)
        try:
            await self._statuses.write(connection, recorded, remember_statement(remembered, now), first=move)
        except asyncpg.NotNullViolationError as error:
            if (error.table_name, error.column_name) != ("status_list", "changes"):
                raise
            await self._untouched.lost(connection, moved, started)
            return {}
        except asyncpg.LockNotAvailableError:  # Somebody else works on one of the lists: whoever waits, reads after.
            return {}
        except Aborted:  # One is a repetition, or its request id was used for something else.
            return {}
        for url, known in moved.items():
            ours = [change for change in recorded if change.request.list_url == url]
            last = Last(ours[-1].number, ours[-1].request.index, ours[-1].standing.recorded)
            known.moved(last, (change.request.index for change in ours))
        return answers

    def _first_standing(self, known: RememberedList, request: StatusRequest, now: datetime) -> Standing | None:
        """What a request makes of a place that nobody has touched; None where that is not certain, or refused."""
        try:
            self._statuses.leased_place(known.row, request)
            if known.is_touched(request.index):
                return None
            return change_status(
                None, request.change, now=now, effective=request.effective, issued_at=request.issued_at
            )
        except VitneError:
            return None


def _move(moved: Iterable[RememberedList], changes: Mapping[int, int], recorded: Sequence[Recorded]) -> Statement:
    """Moves lists on to new numbers of their last changes, or fails where they are not as they are remembered."""
    steps = [
        (
            row["id"],
            row["url"],
            row["leased"],
            known.last.number,
            known.last.index,
            known.last.recorded,
            changes[row["id"]],
        )
        for known in moved
        for row in (known.row,)
    ]
    places = [change.list_id for change in recorded], [change.request.index for change in recorded]
    named: Iterable[Any] = chain.from_iterable(steps) if len(steps) <= FEW else map(list, zip(*steps, strict=True))
    return Statement(_move_sql(len(steps)), (*places, *named))


@lru_cache(maxsize=2 * FEW)
def _move_sql(lists: int) -> str:
    """:data:`_MOVE` for so many lists, each by parameters of its own where they are few, else by arrays of them."""
    first = 3  # after the places
    if lists > FEW:
        arrays = [f"${first + at}::{kind}[]" for at, kind in enumerate(_STEP.values())]
        ids, steps = f"= ANY ({arrays[0]})", f"unnest({', '.join(arrays)})"
    else:
        rows = [
            [f"${first + len(_STEP) * row + at}::{kind}" for at, kind in enumerate(_STEP.values())]
            for row in range(lists)
        ]
        ids = f"IN ({', '.join(row[0] for row in rows)})"
        steps = f"(VALUES {', '.join('(' + ', '.join(row) + ')' for row in rows)})"
    return _MOVE.format(ids=ids, steps=steps, names=", ".join(_STEP))
