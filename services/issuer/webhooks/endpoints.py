"""What organisations do with their endpoints, each with its own only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import asyncpg

from services.issuer.crypto import DataKey, IndexKey
from services.issuer.webhooks import store
from services.issuer.webhooks.address import Guard
from services.issuer.webhooks.payload import Kind
from services.issuer.webhooks.signature import new_secret, secret_text
from vitne.accreditation import instant, timestamp
from vitne.clock import Clock
from vitne.errors import DataLoss, InvalidArgument, NotFound, ResourceExhausted
from vitne.identifiers import OrganisationId
from vitne.messaging.topics import hub_topic
from vitne.runtime.idempotency import RequestKey, answer_once, body_digest
from vitne_api.issuer.v1 import webhooks_pb2 as webhooks

#: Full name in the contract.
SERVICE: Final = "vitne.issuer.v1.WebhookService"
#: Name of the key file that seals URLs and secrets; all replicas need the same.
WEBHOOK_KEY: Final = "webhook.key"
#: Endpoints of one organisation: each costs a row for every event.
MAX_ENDPOINTS: Final = 10
#: Secrets that sign at once: the present one, and two former ones where somebody rotates twice in a hurry.
MAX_SECRETS: Final = 3


class Seals:
    """Seals URLs and secrets, each for its own row.

    Args:
        key: 32 bytes of the installation's key file.
    """

    def __init__(self, key: bytes) -> None:
        self._key = DataKey(key)

    def seal_url(self, url: str, endpoint: UUID) -> bytes:
        """A URL, sealed."""
        return self._key.seal(url.encode(), "webhook_endpoint", endpoint, "url")

    def url(self, sealed: bytes, endpoint: UUID) -> str:
        """The inverse of :meth:`seal_url`.

        Raises:
            DataLoss: ``SEAL_BROKEN``.
        """
        return self._key.open(sealed, "webhook_endpoint", endpoint, "url").decode()

    def seal_secret(self, secret: bytes, row: UUID) -> bytes:
        """A secret, sealed."""
        return self._key.seal(secret, "webhook_secret", row, "secret")

    def secret(self, sealed: bytes, row: UUID) -> bytes:
        """The inverse of :meth:`seal_secret`.

        Raises:
            DataLoss: ``SEAL_BROKEN``.
        """
        return self._key.open(sealed, "webhook_secret", row, "secret")


class Endpoints:
    """Registers, lists, changes and deletes endpoints.

    Args:
        pool: the issuer's database.
        seals: URLs and secrets.
        guard: says where may be posted to.
        index: key of the hashes that repeated requests are recognised by: a URL may hold a token.
        overlap: how long a former secret goes on signing.
        clock: for instants.
        new_id: makes UUIDv7.
    """

    def __init__(
        self,
        pool: asyncpg.Pool,
        *,
        seals: Seals,
        guard: Guard,
        index: IndexKey,
        overlap: timedelta,
        clock: Clock,
        new_id: Callable[[], UUID],
    ) -> None:
        self._pool = pool
        self._seals = seals
        self._guard = guard
        self._index = index
        self._overlap = overlap
        self._clock = clock
        self._new_id = new_id

    async def register(
        self, organisation: OrganisationId, request: webhooks.RegisterWebhookRequest
    ) -> webhooks.RegisterWebhookResponse:
        """Register an endpoint.

        Raises:
            InvalidArgument: ``WEBHOOK_URL_REFUSED``, ``WEBHOOK_KIND_UNSPECIFIED``.
            ResourceExhausted: ``TOO_MANY_WEBHOOKS``.
            AlreadyExists: ``REQUEST_ID_REUSED``.
        """
        self._guard.check(request.url)
        kinds = _kinds(request.kinds)

        async def work(connection: Any) -> webhooks.RegisterWebhookResponse:
            # Held until the end, so that two at once don't both find room.
            await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", f"webhook {organisation}")
            count = await connection.fetchval(
                "SELECT count(*) FROM webhook_endpoint WHERE organisation = $1", str(organisation)
            )
            if count >= MAX_ENDPOINTS:
                raise ResourceExhausted(
                    "TOO_MANY_WEBHOOKS",
                    f"the organisation has {MAX_ENDPOINTS} endpoints already",
                    rule=f"an organisation has at most {MAX_ENDPOINTS} endpoints",
                    remedy="delete one that is not needed",
                )
            endpoint = self._new_id()
            await connection.execute(
                "INSERT INTO webhook_endpoint (id, organisation, hub_topic, url, kinds, created_at) "
                "VALUES ($1, $2, $3, $4, $5, $6)",
                endpoint,
                str(organisation),
                hub_topic(organisation),
                self._seals.seal_url(request.url, endpoint),
                kinds,
                self._clock.now(),
            )
            await self._make_secret(connection, endpoint, UUID(request.request_id))
            return webhooks.RegisterWebhookResponse(endpoint_id=str(endpoint))

        key = self._key(organisation, "RegisterWebhook", request)
        answer = await answer_once(self._pool, key, self._clock, webhooks.RegisterWebhookResponse, work)
        # Not remembered with the answer, which lies there in clear.
        answer.secret = await self._secret_of(UUID(answer.endpoint_id), key.request_id)
        return answer

    async def all_of(self, organisation: OrganisationId) -> webhooks.ListWebhooksResponse:
        """The organisation's endpoints, oldest first."""
        rows = await self._pool.fetch(
            """
            SELECT *, (
                SELECT count(*) FROM webhook_delivery AS delivery
                WHERE delivery.endpoint = webhook_endpoint.id AND delivery.state = 1
            ) AS waiting
            FROM webhook_endpoint WHERE organisation = $1 ORDER BY id
            """,
            str(organisation),
        )
        return webhooks.ListWebhooksResponse(endpoints=[self._message(row) for row in rows])

    async def delete(
        self, organisation: OrganisationId, request: webhooks.DeleteWebhookRequest
    ) -> webhooks.DeleteWebhookResponse:
        """Delete an endpoint, and what it was not told yet.

        Raises:
            NotFound: ``WEBHOOK_UNKNOWN``.
            AlreadyExists: ``REQUEST_ID_REUSED``.
        """

        async def work(connection: Any) -> webhooks.DeleteWebhookResponse:
            await _lock(connection, organisation, request.endpoint_id)
            await connection.execute("DELETE FROM webhook_endpoint WHERE id = $1", UUID(request.endpoint_id))
            return webhooks.DeleteWebhookResponse()

        key = self._key(organisation, "DeleteWebhook", request)
        return await answer_once(self._pool, key, self._clock, webhooks.DeleteWebhookResponse, work)

    async def rotate(
        self, organisation: OrganisationId, request: webhooks.RotateWebhookSecretRequest
    ) -> webhooks.RotateWebhookSecretResponse:
        """Make a new secret; the former ones sign for a while yet, unless they are retired now.

        Raises:
            NotFound: ``WEBHOOK_UNKNOWN``.
            AlreadyExists: ``REQUEST_ID_REUSED``.
        """
        endpoint = UUID(request.endpoint_id)

        async def work(connection: Any) -> webhooks.RotateWebhookSecretResponse:
            await _lock(connection, organisation, request.endpoint_id)
            now = self._clock.now()
            until = now if request.retire_former_now else now + self._overlap
            await connection.execute(
                "UPDATE webhook_secret SET expires_at = least(expires_at, $2) WHERE endpoint = $1", endpoint, until
            )
            await self._make_secret(connection, endpoint, UUID(request.request_id))
            return webhooks.RotateWebhookSecretResponse(former_until=timestamp(until))

        key = self._key(organisation, "RotateWebhookSecret", request)
        answer = await answer_once(self._pool, key, self._clock, webhooks.RotateWebhookSecretResponse, work)
        answer.secret = await self._secret_of(endpoint, key.request_id)
        return answer

    async def replay(
        self, organisation: OrganisationId, request: webhooks.ReplayWebhookRequest
    ) -> webhooks.ReplayWebhookResponse:
        """Send again from a point on, and enable the endpoint.

        Raises:
            NotFound: ``WEBHOOK_UNKNOWN``; ``WEBHOOK_EVENT_UNKNOWN`` when the event is not kept any more, or is
                another organisation's.
            AlreadyExists: ``REQUEST_ID_REUSED``.
        """

        async def work(connection: Any) -> webhooks.ReplayWebhookResponse:
            await _lock(connection, organisation, request.endpoint_id)
            since = await _point(connection, organisation, request)
            waiting = await store.replay(connection, UUID(request.endpoint_id), since, self._clock.now())
            return webhooks.ReplayWebhookResponse(waiting=waiting)

        key = self._key(organisation, "ReplayWebhook", request)
        return await answer_once(self._pool, key, self._clock, webhooks.ReplayWebhookResponse, work)

    async def deliveries(
        self,
        organisation: OrganisationId,
        endpoint: UUID,
        *,
        state: webhooks.WebhookDeliveryState.ValueType,
        before: int | None,
        limit: int,
    ) -> list[tuple[int, webhooks.WebhookDelivery]]:
        """Deliveries with the numbers of their rows, newest first.

        Args:
            organisation: whose endpoint it must be.
            endpoint: which.
            state: only those in it; unspecified: all.
            before: only those whose number is lower.
            limit: how many at most.

        Raises:
            NotFound: ``WEBHOOK_UNKNOWN``.
        """
        known = await self._pool.fetchval(
            "SELECT true FROM webhook_endpoint WHERE id = $1 AND organisation = $2", endpoint, str(organisation)
        )
        if not known:
            raise _unknown()
        rows = await self._pool.fetch(
            """
            SELECT delivery.*, event.id, event.kind, event.time,
                CASE WHEN delivery.state = 1 AND attempts > 0 AND lane.lease IS NULL THEN lane.due_at END AS due_at
            FROM webhook_delivery AS delivery
            JOIN webhook_event AS event ON event.number = delivery.event
            LEFT JOIN webhook_lane AS lane ON lane.endpoint = delivery.endpoint AND lane.key = delivery.key
            WHERE delivery.endpoint = $1 AND ($2::smallint = 0 OR state = $2)
                AND ($3::bigint IS NULL OR delivery.event < $3)
            ORDER BY delivery.event DESC LIMIT $4
            """,
            endpoint,
            state,
            before,
            limit,
        )
        return [(row["event"], _delivery(row)) for row in rows]

    async def _make_secret(self, connection: Any, endpoint: UUID, request_id: UUID) -> None:
        row = self._new_id()
        await connection.execute(
            "INSERT INTO webhook_secret (id, endpoint, request_id, secret, created_at) VALUES ($1, $2, $3, $4, $5)",
            row,
            endpoint,
            request_id,
            self._seals.seal_secret(new_secret(), row),
            self._clock.now(),
        )

    async def _secret_of(self, endpoint: UUID, request_id: UUID) -> str:
        """The secret that a request made, as text; empty when it does not sign any more."""
        row = await self._pool.fetchrow(
            "SELECT id, secret FROM webhook_secret "
            "WHERE endpoint = $1 AND request_id = $2 AND (expires_at IS NULL OR expires_at > $3)",
            endpoint,
            request_id,
            self._clock.now(),
        )
        return secret_text(self._seals.secret(row["secret"], row["id"])) if row else ""

    def _key(self, organisation: OrganisationId, method: str, request: Any) -> RequestKey:
        digest = self._index.digest("webhook", body_digest(request))
        return RequestKey(str(organisation), f"{SERVICE}/{method}", UUID(request.request_id), digest)

    def _url(self, row: Any) -> str:
        try:
            return self._seals.url(row["url"], row["id"])
        except DataLoss:  # Who deletes it has to see it.
            return ""

    def _message(self, row: Any) -> webhooks.WebhookEndpoint:
        disabled = row["disabled_at"] is not None
        return webhooks.WebhookEndpoint(
            id=str(row["id"]),
            url=self._url(row),
            kinds=row["kinds"],
            state=webhooks.WEBHOOK_STATE_DISABLED if disabled else webhooks.WEBHOOK_STATE_ACTIVE,
            disabled_reason=row["disabled_reason"],
            created_at=timestamp(row["created_at"]),
            disabled_at=_optional(row["disabled_at"]),
            failing_since=_optional(row["failing_since"]),
            waiting=row["waiting"],
        )


async def _lock(connection: Any, organisation: OrganisationId, endpoint: str) -> None:
    """Lock one of the organisation's endpoints.

    Raises:
        NotFound: ``WEBHOOK_UNKNOWN``.
    """
    if not await connection.fetchval(
        "SELECT true FROM webhook_endpoint WHERE id = $1 AND organisation = $2 FOR UPDATE",
        UUID(endpoint),
        str(organisation),
    ):
        raise _unknown()


async def _point(
    connection: Any, organisation: OrganisationId, request: webhooks.ReplayWebhookRequest
) -> datetime | None:
    """From when on is to be replayed; None: only what waits."""
    match request.WhichOneof("from"):
        case "time":
            return instant(request.time)
        case "event_id" if request.event_id:
            time: datetime | None = await connection.fetchval(
                "SELECT time FROM webhook_event WHERE id = $1 AND organisation = $2",
                UUID(request.event_id),
                str(organisation),
            )
            if time is None:
                raise NotFound(
                    "WEBHOOK_EVENT_UNKNOWN",
                    "no event of the organisation with this id is kept",
                    field="event_id",
                    remedy="replay from an instant instead",
                )
            return time
    return None


def _kinds(kinds: Sequence[Kind]) -> list[int]:
    if webhooks.WEBHOOK_EVENT_KIND_UNSPECIFIED in kinds:
        raise InvalidArgument(
            "WEBHOOK_KIND_UNSPECIFIED",
            "a kind of event is not stated",
            field="kinds",
            rule="kinds name events; an empty list is all of them",
            remedy="leave the list empty, or name kinds",
        )
    return sorted(set(kinds))


def _delivery(row: Any) -> webhooks.WebhookDelivery:
    return webhooks.WebhookDelivery(
        event_id=str(row["id"]),
        kind=row["kind"],
        time=timestamp(row["time"]),
        state=row["state"],
        attempts=row["attempts"],
        last_attempt_at=_optional(row["last_attempt_at"]),
        last_outcome=row["last_outcome"],
        last_status=row["last_status"],
        next_attempt_at=_optional(row["due_at"]),
    )


def _optional(moment: datetime | None) -> Any:
    return timestamp(moment) if moment is not None else None


def _unknown() -> NotFound:
    return NotFound(
        "WEBHOOK_UNKNOWN",
        "the organisation has no endpoint with this id",
        field="endpoint_id",
        remedy="use an id that RegisterWebhook or ListWebhooks answered",
    )
