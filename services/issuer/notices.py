"""What hubs are told of credentials: worked out in the transaction of what happened.

A hub is told of a credential under names of its own (pseudonym and handle), so that
two hubs can't link a learner.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from services.issuer.events import Events
from services.issuer.interests import COLUMNS, EVERYTHING, Interest
from services.issuer.learners import Learner, Learners
from services.issuer.store import Holding
from services.issuer.tracing import begin_notice
from vitne.credentials import pseudonyms
from vitne.messaging import outbox
from vitne.runtime.telemetry import current_traceparent
from vitne_api.events.v1 import events_pb2


@dataclass(frozen=True, slots=True)
class Issued:
    """A credential that hubs may have to be told of."""

    learner: Learner
    credential: UUID
    kind: str
    provider: str
    #: Of what the hub is told of.
    cause: str = ""


@dataclass(frozen=True, slots=True)
class Registration:
    """A learner's registration with a hub that has not ended."""

    hub: str
    pseudonym: str
    #: What the hub wants to be told of.
    interest: Interest = EVERYTHING


class Notices:
    """Works out what hubs are to be told, in the transaction of what happened.

    The answers are events for the caller to append, together with its own: all
    aggregates of a transaction are locked in one go.

    Args:
        learners: opens learners' secrets.
        events: makes the events.
    """

    def __init__(self, learners: Learners, events: Events) -> None:
        self._learners = learners
        self._events = events

    async def issued(self, connection: Any, issued: Sequence[Issued]) -> list[outbox.Event]:
        """What hubs are to be told of credentials that were just issued; their handles are served from now on.

        The caller's transaction holds their learners' rows already.
        """
        registrations = await self._read(connection, [item.learner.id for item in issued])
        if not registrations:
            return []
        told = [item for item in issued if item.learner.id in registrations]
        secrets = await self._learners.secrets(connection, [item.learner for item in told])
        return await self.named(
            connection,
            [
                (registration, secrets[item.learner.id], item)
                for item in told
                for registration in registrations[item.learner.id]
            ],
        )

    async def named(self, connection: Any, told: Sequence[tuple[Registration, bytes, Issued]]) -> list[outbox.Event]:
        """Give credentials their handles for hubs that want them (by the learner's secret), and tell those hubs."""
        named = [
            (registration, pseudonyms.handle(secret, registration.hub, str(item.credential)), item)
            for registration, secret, item in told
            if registration.interest.wants(item.kind, item.provider)
        ]
        if not named:
            return []
        await connection.execute(
            "INSERT INTO hub_credential (hub, handle, credential, learner) "
            "SELECT * FROM unnest($1::text[], $2::text[], $3::uuid[], $4::uuid[])",
            [registration.hub for registration, _, _ in named],
            [handle for _, handle, _ in named],
            [item.credential for _, _, item in named],
            [item.learner.id for _, _, item in named],
        )
        issued = events_pb2.HUB_NOTICE_ISSUED
        return [
            self.notice(
                issued, registration, handle, item.kind, item.provider, cause=item.cause or current_traceparent()
            )
            for registration, handle, item in named
        ]

    async def status_changed(self, connection: Any, changed: Sequence[tuple[Holding, str]]) -> list[outbox.Event]:
        """What hubs are to be told of credentials whose statuses changed, each with the trace of its change."""
        if not changed:
            return []
        registrations = await self._registrations(connection, {holding.learner for holding, _ in changed})
        if not registrations:
            return []
        rows = await connection.fetch(
            "SELECT hub, credential, handle FROM hub_credential WHERE credential = ANY($1::uuid[])",
            list({holding.id for holding, _ in changed}),
        )
        handles = {(row["hub"], row["credential"]): row["handle"] for row in rows}
        return [
            self.notice(
                events_pb2.HUB_NOTICE_STATUS_CHANGED,
                registration,
                handle,
                holding.kind,
                holding.provider,
                cause=cause,
            )
            for holding, cause in changed
            for registration in registrations.get(holding.learner, ())
            if (handle := handles.get((registration.hub, holding.id)))
        ]

    def notice(
        self,
        notice: events_pb2.HubNotice.ValueType,
        registration: Registration,
        handle: str,
        kind: str,
        provider: str,
        *,
        cause: str,
        out_of_subscription: bool = False,
        at: datetime | None = None,
    ) -> outbox.Event:
        """One notice to one hub, with a trace of its own that is linked to ``cause`` (a ``traceparent``)."""
        return self._events.notice(
            notice,
            hub=registration.hub,
            pseudonym=registration.pseudonym,
            handle=handle,
            kind=kind,
            provider=provider,
            traceparent=begin_notice(registration.hub, cause),
            out_of_subscription=out_of_subscription,
            at=at,
        )

    async def unwanted(self, connection: Any, told: Sequence[tuple[Registration, str, str, str]]) -> list[outbox.Event]:
        """What hubs are to be told of credentials that they do not want any more: handle, kind and provider of each.

        Their handles are no longer served.
        """
        if not told:
            return []
        await connection.execute(
            "DELETE FROM hub_credential h USING unnest($1::text[], $2::text[]) AS gone (hub, handle) "
            "WHERE h.hub = gone.hub AND h.handle = gone.handle",
            [registration.hub for registration, _, _, _ in told],
            [handle for _, handle, _, _ in told],
        )
        withdrawn = events_pb2.HUB_NOTICE_WITHDRAWN
        return [
            self.notice(withdrawn, registration, handle, kind, provider, cause="", out_of_subscription=True)
            for registration, handle, kind, provider in told
        ]

    async def withdrawn(
        self, connection: Any, registration: Registration, learner: UUID, at: datetime
    ) -> list[outbox.Event]:
        """What a hub is to be told of a registration that ended, last that it did; its handles are no longer served."""
        rows = await connection.fetch(
            """
            WITH gone AS (DELETE FROM hub_credential WHERE hub = $1 AND learner = $2 RETURNING handle, credential)
            SELECT handle, kind, provider FROM gone JOIN credential ON credential.id = gone.credential
            ORDER BY credential.id
            """,
            registration.hub,
            learner,
        )
        withdrawn, cause = events_pb2.HUB_NOTICE_WITHDRAWN, current_traceparent()
        told = [
            self.notice(withdrawn, registration, row["handle"], row["kind"], row["provider"], cause=cause)
            for row in rows
        ]
        return [*told, *self.ended(registration, cause, at)]

    def ended(self, registration: Registration, cause: str, at: datetime) -> list[outbox.Event]:
        """That a registration ended: of a learner without credentials nothing else tells the hub.

        Nothing while hubs of the release before, who would not understand it, are still served.

        ``at`` is not before the registration, and before any that follows: by that hubs tell which one is meant.
        """
        if not self._events.registration_ends:
            return []
        ended = events_pb2.HUB_NOTICE_REGISTRATION_ENDED
        return [self.notice(ended, registration, "", "", "", cause=cause, at=at)]

    async def forget(self, connection: Any, learner: UUID, now: datetime) -> None:
        """End all of a learner's registrations, telling the hubs, and leave no record of any, in the transaction.

        A record would link the learner's names at two hubs, and those with the credentials that stay.
        """
        told: list[outbox.Event] = []
        since = dict(
            await connection.fetch(
                "SELECT hub, registered_at FROM registration WHERE learner = $1 AND withdrawn_at IS NULL", learner
            )
        )
        for registration in (await self._registrations(connection, [learner])).get(learner, ()):
            told += await self.withdrawn(connection, registration, learner, max(now, since[registration.hub]))
        await connection.execute("DELETE FROM registration WHERE learner = $1", learner)
        await outbox.append(connection, told)

    async def _registrations(self, connection: Any, learners: Collection[UUID]) -> dict[UUID, list[Registration]]:
        """Where learners are registered, with their rows locked against registering and withdrawing meanwhile."""
        ids = list(learners)
        await connection.fetch("SELECT id FROM learner WHERE id = ANY($1::uuid[]) ORDER BY id FOR KEY SHARE", ids)
        return await self._read(connection, ids)

    async def _read(self, connection: Any, learners: Sequence[UUID]) -> dict[UUID, list[Registration]]:
        """Where learners are registered, whose rows are locked."""
        rows = await connection.fetch(
            f"SELECT learner, hub, pseudonym, {COLUMNS} FROM registration LEFT JOIN subscription USING (hub) "  # noqa: S608
            "WHERE learner = ANY($1::uuid[]) AND withdrawn_at IS NULL",
            learners,
        )
        found: dict[UUID, list[Registration]] = {}
        for row in rows:
            found.setdefault(row["learner"], []).append(Registration(row["hub"], row["pseudonym"], Interest.read(row)))
        return found
