"""The rows of the webhooks: endpoints, events, deliveries, lanes.

Locks are taken in the order endpoint, lanes (by key), deliveries; see ``sql/0002_webhooks.sql``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from services.issuer.webhooks.payload import Kind, kind_of
from services.issuer.webhooks.schedule import Answer, Disable, GiveUp, Retry, Schedule
from vitne_api.issuer.v1 import webhooks_pb2 as webhooks

#: PostgreSQL advisory lock of planning. A later event of a key must not be planned before an earlier one, so one
#: process plans at a time.
PLAN_LOCK: Final = 0x76_69_74_6E_65_02  # "vitne", 2; 1 is the relay's
#: Events planned, and rows pruned, in one transaction.
BATCH: Final = 500

_WAITING: Final = webhooks.WEBHOOK_DELIVERY_STATE_WAITING
_DELIVERED: Final = webhooks.WEBHOOK_DELIVERY_STATE_DELIVERED
_GIVEN_UP: Final = webhooks.WEBHOOK_DELIVERY_STATE_GIVEN_UP


@dataclass(frozen=True, slots=True)
class Told:
    """An event for an organisation that is no hub's notice."""

    id: UUID
    organisation: str
    key: str
    type: str
    time: datetime
    value: bytes


@dataclass(frozen=True, slots=True)
class Claim:
    """The first event of a lane, ours to send until the lease ends.

    Attributes:
        lane: endpoint and key.
        number: of the event's row.
        round: of the delivery.
        revision: of a hub's notice, else None.
    """

    endpoint: UUID
    key: str
    lease: UUID
    number: int
    round: int
    event: UUID
    kind: Kind
    time: datetime
    value: bytes = field(repr=False)
    revision: int | None


async def listening(connection: Any, organisations: Collection[str]) -> set[str]:
    """Those of the organisations that have an endpoint."""
    rows = await connection.fetch(
        "SELECT DISTINCT organisation FROM webhook_endpoint WHERE organisation = ANY($1::text[])", list(organisations)
    )
    return {row["organisation"] for row in rows}


async def write(connection: Any, told: Sequence[Told]) -> None:
    """Write events down, in the transaction of what they tell of; nothing for organisations without an endpoint."""
    if not told:
        return
    await connection.execute(
        """
        INSERT INTO webhook_event (id, organisation, key, type, time, value)
        SELECT told.id, told.organisation, told.key, told.type, told.time, told.value
        FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::timestamptz[], $6::bytea[])
            AS told (id, organisation, key, type, time, value)
        WHERE EXISTS (SELECT FROM webhook_endpoint WHERE webhook_endpoint.organisation = told.organisation)
        """,
        [item.id for item in told],
        [item.organisation for item in told],
        [item.key for item in told],
        [item.type for item in told],
        [item.time for item in told],
        [item.value for item in told],
    )


async def anything(connection: Any, now: datetime) -> bool:
    """Whether there are fresh events, or lanes that are due: one look where, as mostly, there is nothing."""
    found: bool = await connection.fetchval(
        """
        SELECT EXISTS (SELECT FROM webhook_event WHERE kind IS NULL) OR EXISTS (
            SELECT FROM webhook_endpoint AS endpoint
            WHERE EXISTS (SELECT FROM webhook_lane WHERE webhook_lane.endpoint = endpoint.id AND due_at <= $1)
        )
        """,
        now,
    )
    return found


async def plan(connection: Any, now: datetime) -> tuple[int, list[UUID]]:
    """Make deliveries of fresh events, in a transaction of the caller's.

    Returns:
        How many events were planned, and the ids of those that this release does not know.
    """
    if not await connection.fetchval("SELECT pg_try_advisory_xact_lock($1)", PLAN_LOCK):
        return 0, []
    events = await connection.fetch(
        "SELECT number, id, organisation, key, type, value FROM webhook_event WHERE kind IS NULL "
        "ORDER BY number LIMIT $1",
        BATCH,
    )
    if not events:
        return 0, []
    kinds = {row["number"]: kind_of(row["type"], row["value"]) for row in events}
    # Held against deletion, and against a replay, which has to see all or nothing of this.
    endpoints = await connection.fetch(
        "SELECT id, organisation, kinds FROM webhook_endpoint WHERE organisation = ANY($1::text[]) "
        "ORDER BY id FOR KEY SHARE",
        list({row["organisation"] for row in events}),
    )
    planned = [
        (endpoint["id"], row["key"], row["number"])
        for row in events
        for endpoint in endpoints
        if endpoint["organisation"] == row["organisation"]
        and kinds[row["number"]]
        and (not endpoint["kinds"] or kinds[row["number"]] in endpoint["kinds"])
    ]
    lanes = sorted({(endpoint, key) for endpoint, key, _ in planned})
    await connection.execute(
        """
        INSERT INTO webhook_lane AS lane (endpoint, key, due_at)
        SELECT endpoint, key, $3 FROM unnest($1::uuid[], $2::text[]) AS wanted (endpoint, key)
        -- Changes nothing, but waits for whoever is about to delete the lane.
        ON CONFLICT (endpoint, key) DO UPDATE SET due_at = lane.due_at
        """,
        [endpoint for endpoint, _ in lanes],
        [key for _, key in lanes],
        now,
    )
    await connection.execute(
        "INSERT INTO webhook_delivery (endpoint, key, event, state) "
        "SELECT *, $4 FROM unnest($1::uuid[], $2::text[], $3::bigint[]) ON CONFLICT DO NOTHING",
        [endpoint for endpoint, _, _ in planned],
        [key for _, key, _ in planned],
        [number for _, _, number in planned],
        _WAITING,
    )
    await connection.execute(
        "UPDATE webhook_event SET kind = known.kind FROM unnest($1::bigint[], $2::smallint[]) AS known (number, kind) "
        "WHERE webhook_event.number = known.number",
        list(kinds),
        list(kinds.values()),
    )
    return len(events), [row["id"] for row in events if not kinds[row["number"]]]


async def claim(
    connection: Any,
    lease: UUID,
    now: datetime,
    until: datetime,
    *,
    most: int,
    most_endpoint: int,
    busy: Mapping[UUID, int],
    down_after: int,
) -> list[Claim]:
    """Take lanes whose first event is due, in a transaction of the caller's.

    Where there is no room for all, endpoints come first that have least of it, then those that wait longest: one
    with a long queue and slow answers would take whatever becomes free, else.

    Args:
        connection: in a transaction.
        lease: names the claims.
        now: the present instant.
        until: when others may take the lanes, should the caller have died.
        most: lanes to take.
        most_endpoint: calls at once to one endpoint.
        busy: calls that the caller is making, by endpoint.
        down_after: failures in a row after which an endpoint gets one call at a time.
    """
    lanes = await connection.fetch(
        """
        WITH due AS (
            SELECT lane.endpoint, lane.key
            FROM (
                SELECT id, failures, coalesce(calls, 0) AS calls FROM webhook_endpoint
                LEFT JOIN unnest($4::uuid[], $5::integer[]) AS busy (endpoint, calls) ON busy.endpoint = id
                CROSS JOIN LATERAL (
                    SELECT due_at FROM webhook_lane
                    WHERE webhook_lane.endpoint = id AND due_at <= $1 ORDER BY due_at LIMIT 1
                ) AS first
                WHERE disabled_at IS NULL AND (paused_until IS NULL OR paused_until <= $1)
                ORDER BY coalesce(calls, 0), first.due_at
            ) AS endpoint
            CROSS JOIN LATERAL (
                SELECT webhook_lane.endpoint, webhook_lane.key FROM webhook_lane
                WHERE webhook_lane.endpoint = endpoint.id AND due_at <= $1
                ORDER BY due_at
                LIMIT greatest(0, CASE WHEN endpoint.failures >= $6 THEN 1 ELSE $3 END - endpoint.calls)
                FOR UPDATE SKIP LOCKED
            ) AS lane
            LIMIT $2
        )
        UPDATE webhook_lane SET lease = $7, due_at = $8
        FROM due WHERE webhook_lane.endpoint = due.endpoint AND webhook_lane.key = due.key
        RETURNING webhook_lane.endpoint, webhook_lane.key
        """,
        now,
        most,
        most_endpoint,
        list(busy),
        list(busy.values()),
        down_after,
        lease,
        until,
    )
    if not lanes:
        return []
    rows = await connection.fetch(
        """
        SELECT lane.endpoint, lane.key, first.event AS number, first.round, event.id AS event, event.kind, event.time,
            event.value, event.revision
        FROM unnest($1::uuid[], $2::text[]) AS lane (endpoint, key)
        CROSS JOIN LATERAL (
            SELECT event, round FROM webhook_delivery AS waiting
            WHERE waiting.endpoint = lane.endpoint AND waiting.key = lane.key AND state = 1 ORDER BY event LIMIT 1
        ) AS first
        JOIN webhook_event AS event ON event.number = first.event
        """,
        [row["endpoint"] for row in lanes],
        [row["key"] for row in lanes],
    )
    claims = [Claim(lease=lease, **row) for row in rows]
    empty = {(row["endpoint"], row["key"]) for row in lanes} - {(item.endpoint, item.key) for item in claims}
    for endpoint, key in empty:  # what was in it has been pruned
        await _leave(connection, endpoint, key, now)
    return claims


async def secrets(connection: Any, endpoints: Sequence[UUID], now: datetime, most: int) -> dict[UUID, EndpointSecrets]:
    """What is needed to post to endpoints: their sealed URLs, and the secrets that sign, newest first."""
    rows = await connection.fetch(
        """
        SELECT endpoint.id AS endpoint, endpoint.url, secret.id, secret.secret
        FROM webhook_endpoint AS endpoint
        CROSS JOIN LATERAL (
            SELECT id, secret FROM webhook_secret
            WHERE webhook_secret.endpoint = endpoint.id AND (expires_at IS NULL OR expires_at > $2)
            ORDER BY id DESC LIMIT $3
        ) AS secret
        WHERE endpoint.id = ANY($1::uuid[]) ORDER BY secret.id DESC
        """,
        list(endpoints),
        now,
        most,
    )
    found: dict[UUID, EndpointSecrets] = {}
    for row in rows:
        known = found.setdefault(row["endpoint"], EndpointSecrets(row["url"], []))
        known.secrets.append((row["id"], row["secret"]))
    return found


@dataclass(frozen=True, slots=True)
class EndpointSecrets:
    """Sealed: an endpoint's URL, and its secrets with their ids."""

    url: bytes = field(repr=False)
    secrets: list[tuple[UUID, bytes]] = field(repr=False)


async def acknowledged(connection: Any, item: Claim, answer: Answer, now: datetime) -> None:
    """Store that the endpoint has an event, and let the next of its lane go; in a transaction of the caller's.

    Nothing, where the lease ended meanwhile: somebody else is sending it again.
    """
    await connection.execute(
        "UPDATE webhook_endpoint SET failures = 0, failing_since = NULL, paused_until = NULL "
        "WHERE id = $1 AND failures > 0",
        item.endpoint,
    )
    if await _holds(connection, item):
        await _store(connection, item, _DELIVERED, answer, now)
        await _leave(connection, item.endpoint, item.key, now)


async def failed(
    connection: Any, item: Claim, answer: Answer, now: datetime, schedule: Schedule
) -> Retry | GiveUp | Disable | None:
    """Store that an attempt failed, and decide what follows; in a transaction of the caller's.

    Returns:
        What follows. None where that is not for this attempt to say: the lease ended, the event was replayed, the
        endpoint deleted.
    """
    endpoint = await connection.fetchrow(
        "SELECT failures, failing_since FROM webhook_endpoint WHERE id = $1 FOR NO KEY UPDATE",
        item.endpoint,
    )
    if endpoint is None or not await _holds(connection, item):
        return None
    attempts = await _store(connection, item, _WAITING, answer, now)
    if attempts is None:
        await _leave(connection, item.endpoint, item.key, now)
        return None
    failures, since = endpoint["failures"] + 1, endpoint["failing_since"] or now
    verdict = schedule.after_failure(answer, now, attempts=attempts, failures=failures, failing_since=since)
    await connection.execute(
        """
        UPDATE webhook_endpoint
        SET failures = $2, failing_since = $3, paused_until = greatest(paused_until, $4::timestamptz)
        WHERE id = $1
        """,
        item.endpoint,
        failures,
        since,
        verdict.paused_until if isinstance(verdict, Retry) else None,
    )
    await _conclude(connection, item, verdict, now)
    return verdict


async def park(connection: Any, item: Claim, verdict: GiveUp | Disable, now: datetime) -> bool:
    """End what no attempt can be made of, in a transaction of the caller's; whether it was this claim's to say."""
    await connection.execute("SELECT FROM webhook_endpoint WHERE id = $1 FOR NO KEY UPDATE", item.endpoint)
    if not await _holds(connection, item):
        return False
    await _conclude(connection, item, verdict, now)
    return True


async def _conclude(connection: Any, item: Claim, verdict: Retry | GiveUp | Disable, now: datetime) -> None:
    """Store what follows, and end the hold on the lane; endpoint and lane are locked."""
    match verdict:
        case Retry(at=at):
            await _leave(connection, item.endpoint, item.key, at)
            return
        case GiveUp():
            await connection.execute(
                "UPDATE webhook_delivery SET state = $3 WHERE endpoint = $1 AND event = $2",
                item.endpoint,
                item.number,
                _GIVEN_UP,
            )
        case Disable(reason=reason):
            await connection.execute(
                "UPDATE webhook_endpoint SET disabled_at = $2, disabled_reason = $3 "
                "WHERE id = $1 AND disabled_at IS NULL",
                item.endpoint,
                now,
                reason,
            )
    await _leave(connection, item.endpoint, item.key, now)


async def give_back(connection: Any, leases: Sequence[UUID], now: datetime) -> None:
    """Let others send at once what was claimed and is not being sent any more."""
    await connection.execute(
        "UPDATE webhook_lane SET lease = NULL, due_at = $2 WHERE lease = ANY($1::uuid[])", list(leases), now
    )


async def replay(connection: Any, endpoint: UUID, since: datetime | None, now: datetime) -> int:
    """Send again what happened since an instant, and at once what waits; answers how much waits then.

    Args:
        connection: in a transaction.
        endpoint: that the caller has locked ``FOR UPDATE``, so that nothing is planned for it in between.
        since: from when on; None: only what waits.
        now: the present instant.
    """
    await connection.execute(
        """
        UPDATE webhook_endpoint SET disabled_at = NULL, disabled_reason = NULL, failures = 0, failing_since = NULL,
            paused_until = NULL
        WHERE id = $1
        """,
        endpoint,
    )
    # A lane that is being sent goes on when that is over.
    await connection.execute(
        """
        INSERT INTO webhook_lane AS lane (endpoint, key, due_at)
        SELECT $1, key, $3 FROM (
            SELECT event.key FROM webhook_event AS event
            JOIN webhook_endpoint AS endpoint ON endpoint.organisation = event.organisation
            WHERE endpoint.id = $1 AND event.time >= $2 AND event.kind <> 0
                AND (endpoint.kinds = '{}' OR event.kind = ANY(endpoint.kinds))
            UNION SELECT key FROM webhook_lane WHERE endpoint = $1
        ) AS wanted ORDER BY key
        ON CONFLICT (endpoint, key)
            DO UPDATE SET due_at = CASE WHEN lane.lease IS NULL THEN excluded.due_at ELSE lane.due_at END
        """,
        endpoint,
        since,
        now,
    )
    await connection.execute(
        "UPDATE webhook_delivery SET attempts = 0 WHERE endpoint = $1 AND state = $2 AND attempts > 0",
        endpoint,
        _WAITING,
    )
    await connection.execute(
        """
        INSERT INTO webhook_delivery AS delivery (endpoint, key, event, state)
        SELECT endpoint.id, event.key, event.number, $3 FROM webhook_event AS event
        JOIN webhook_endpoint AS endpoint ON endpoint.organisation = event.organisation
        WHERE endpoint.id = $1 AND event.time >= $2 AND event.kind <> 0
            AND (endpoint.kinds = '{}' OR event.kind = ANY(endpoint.kinds))
        ON CONFLICT (endpoint, event) DO UPDATE SET state = $3, attempts = 0, round = delivery.round + 1
        """,
        endpoint,
        since,
        _WAITING,
    )
    waiting: int = await connection.fetchval(
        "SELECT count(*) FROM webhook_delivery WHERE endpoint = $1 AND state = 1", endpoint
    )
    return waiting


async def prune(connection: Any, before: datetime, now: datetime) -> int:
    """Delete some events from before an instant, and secrets that no longer sign; answers how many events.

    What waits for an endpoint that is told things stays: it ends by its schedule.
    """
    await connection.execute("DELETE FROM webhook_secret WHERE expires_at <= $1", now)
    status: str = await connection.execute(
        """
        DELETE FROM webhook_event WHERE number IN (
            SELECT number FROM webhook_event AS event
            WHERE time < $1 AND kind IS NOT NULL AND NOT EXISTS (
                SELECT FROM webhook_delivery AS delivery JOIN webhook_endpoint ON webhook_endpoint.id = endpoint
                WHERE delivery.event = event.number AND delivery.state = 1 AND disabled_at IS NULL
            )
            LIMIT $2
        )
        """,
        before,
        BATCH,
    )
    return int(status.rpartition(" ")[2])


async def _holds(connection: Any, item: Claim) -> bool:
    """Whether the lane is still ours; if so, it is locked."""
    return bool(
        await connection.fetchval(
            "SELECT true FROM webhook_lane WHERE endpoint = $1 AND key = $2 AND lease = $3 FOR UPDATE",
            item.endpoint,
            item.key,
            item.lease,
        )
    )


async def _store(
    connection: Any, item: Claim, state: webhooks.WebhookDeliveryState.ValueType, answer: Answer, now: datetime
) -> int | None:
    """Store an attempt; answers how many there were. None where it was replayed, or pruned, meanwhile."""
    attempts: int | None = await connection.fetchval(
        """
        UPDATE webhook_delivery
        SET state = $4, attempts = attempts + 1, last_attempt_at = $5, last_outcome = $6, last_status = $7
        WHERE endpoint = $1 AND event = $2 AND round = $3 RETURNING attempts
        """,
        item.endpoint,
        item.number,
        item.round,
        state,
        now,
        answer.outcome,
        answer.status,
    )
    return attempts


async def _leave(connection: Any, endpoint: UUID, key: str, due_at: datetime) -> None:
    """End the hold on a lane that this transaction has locked: with nothing in it, it goes."""
    gone = await connection.fetchval(
        """
        DELETE FROM webhook_lane AS lane WHERE endpoint = $1 AND key = $2 AND NOT EXISTS (
            SELECT FROM webhook_delivery AS waiting
            WHERE waiting.endpoint = lane.endpoint AND waiting.key = lane.key AND state = 1
        ) RETURNING true
        """,
        endpoint,
        key,
    )
    if not gone:
        await connection.execute(
            "UPDATE webhook_lane SET lease = NULL, due_at = $3 WHERE endpoint = $1 AND key = $2", endpoint, key, due_at
        )
