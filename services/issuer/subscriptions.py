"""The RPCs of ``vitne.issuer.v1.SubscriptionService``, and the work that follows from a change.

Who carries a change out locks the learner's row, as whoever registers does; who issues locks it against both before it
looks what the hub wants. So what is issued meanwhile is told by the one or by the other, once.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

import asyncpg

from services.issuer.acts import LearnerActs
from services.issuer.grounds import COLUMNS as GROUND_COLUMNS
from services.issuer.grounds import ground_message
from services.issuer.interests import COLUMNS, Interest
from services.issuer.key_store import LearnerKeyStore
from services.issuer.learners import Learner, Learners
from services.issuer.notices import Issued, Notices, Registration
from vitne.accreditation import timestamp
from vitne.clock import Clock
from vitne.errors import DataLoss, InvalidArgument, VitneError
from vitne.frameworks import Frameworks
from vitne.identifiers import OrganisationId
from vitne.messaging import outbox
from vitne.outages import CONFLICT, DATABASE_OUTAGES
from vitne.runtime.idempotency import RequestKey, answer_once, body_digest
from vitne.runtime.identity import current_caller
from vitne_api.issuer.v1 import subscription_pb2
from vitne_api.issuer.v1 import subscription_pb2_grpc as subscription_grpc

#: Full name in the contract.
SERVICE: Final = "vitne.issuer.v1.SubscriptionService"
#: Learners whose rows one transaction locks: issuances to them wait meanwhile, some tens of milliseconds.
PAGE: Final = 50
#: How often it is looked whether there is something to carry out.
LOOK_SECONDS: Final = 2.0

_log = logging.getLogger(__name__)


class SubscriptionRpc(subscription_grpc.SubscriptionServiceServicer):
    """Implements the contract.

    Args:
        pool: the issuer's database.
        acts: who the hubs are.
        frameworks: all national rules, whatever their standing: which kinds there are.
        clock: says when a subscription was changed.
    """

    def __init__(self, pool: asyncpg.Pool, *, acts: LearnerActs, frameworks: Frameworks, clock: Clock) -> None:
        self._pool = pool
        self._acts = acts
        self._kinds = {kind for rules in frameworks for kind in rules.credential_kinds}
        self._clock = clock

    async def GetSubscription(  # noqa: N802 - the contract's name
        self, request: subscription_pb2.GetSubscriptionRequest, context: Any
    ) -> subscription_pb2.GetSubscriptionResponse:
        """What the calling hub wants, and on which legal grounds it may register learners."""
        hub = self._hub()
        row = await self._pool.fetchrow(
            f"SELECT revision, {COLUMNS}, changed_at FROM subscription WHERE hub = $1",  # noqa: S608 (a constant)
            hub,
        )
        grounds = await self._pool.fetch(
            f"SELECT {GROUND_COLUMNS} FROM legal_ground WHERE hub = $1 AND ended_at IS NULL "  # noqa: S608 (a constant)
            "ORDER BY granted_at, id",
            hub,
        )
        granted = [ground_message(ground) for ground in grounds]
        if row is None:
            return subscription_pb2.GetSubscriptionResponse(
                subscription=subscription_pb2.Subscription(), legal_grounds=granted
            )
        return subscription_pb2.GetSubscriptionResponse(
            subscription=subscription_pb2.Subscription(
                kinds=row["kinds"], countries=row["countries"], providers=row["providers"]
            ),
            revision=row["revision"],
            changed_at=timestamp(row["changed_at"]),
            waiting=await self._pool.fetchval(
                "SELECT count(*) FROM registration "
                "WHERE hub = $1 AND withdrawn_at IS NULL AND subscription_revision < $2",
                hub,
                row["revision"],
            ),
            legal_grounds=granted,
        )

    async def SetSubscription(  # noqa: N802 - the contract's name
        self, request: subscription_pb2.SetSubscriptionRequest, context: Any
    ) -> subscription_pb2.SetSubscriptionResponse:
        """Change what the calling hub wants."""
        hub = self._hub()
        self._check(request.subscription)
        key = RequestKey(hub, f"{SERVICE}/SetSubscription", UUID(request.request_id), body_digest(request))

        async def work(connection: Any) -> subscription_pb2.SetSubscriptionResponse:
            revision = await connection.fetchval(
                """
                INSERT INTO subscription AS s (hub, revision, kinds, countries, providers, changed_at)
                VALUES ($1, 1, $2, $3, $4, $5)
                ON CONFLICT (hub) DO UPDATE SET revision = s.revision + 1, kinds = excluded.kinds,
                    countries = excluded.countries, providers = excluded.providers, changed_at = excluded.changed_at
                RETURNING revision
                """,
                hub,
                sorted(set(request.subscription.kinds)),
                sorted(set(request.subscription.countries)),
                sorted(set(request.subscription.providers)),
                self._clock.now(),
            )
            return subscription_pb2.SetSubscriptionResponse(revision=revision)

        return await answer_once(self._pool, key, self._clock, subscription_pb2.SetSubscriptionResponse, work)

    def _hub(self) -> str:
        organisation = current_caller().organisation
        self._acts.require_hub(organisation)
        return str(organisation)

    def _check(self, wanted: subscription_pb2.Subscription) -> None:
        for number, kind in enumerate(wanted.kinds):
            if kind not in self._kinds:
                raise InvalidArgument(
                    "KIND_UNKNOWN",
                    "no national rules have this kind of credential",
                    field=f"subscription.kinds[{number}]",
                    rule="a kind of docs/rules.md",
                    remedy="name a kind that there is, or none to have them all",
                )
        for number, provider in enumerate(wanted.providers):
            OrganisationId.parse(provider, field=f"subscription.providers[{number}]")


class SubscriptionChanges:
    """Carries changes of subscriptions out, learner by learner; any replica may, at the same time as others.

    Args:
        pool: the issuer's database.
        keys: learners' data keys.
        learners: opens learners' secrets.
        notices: what hubs are told.
        clock: for the pauses.
    """

    def __init__(
        self, pool: asyncpg.Pool, *, keys: LearnerKeyStore, learners: Learners, notices: Notices, clock: Clock
    ) -> None:
        self._pool = pool
        self._keys = keys
        self._learners = learners
        self._notices = notices
        self._clock = clock
        self._passed_over: set[UUID] = set()

    async def run(self) -> None:
        """Carry out what is changed, until cancelled."""
        while True:
            try:
                while await self.step():
                    pass
            except CONFLICT:
                continue  # It met a call, or another replica.
            except (*DATABASE_OUTAGES, VitneError) as error:
                _log.warning("changes of subscriptions wait: %s", type(error).__name__)
            self._passed_over.clear()  # An operator may have looked.
            await self._clock.sleep(LOOK_SECONDS)

    async def step(self) -> int:
        """Carry out the change for some learners of one hub; answers for how many.

        Whose key or secret does not open keeps waiting, and keeps no other waiting.
        """
        waiting = await self._pool.fetch(
            """
            SELECT r.hub, r.learner FROM registration r JOIN subscription s
                ON s.hub = r.hub AND r.subscription_revision < s.revision
            WHERE r.withdrawn_at IS NULL AND NOT r.learner = ANY($2::uuid[]) ORDER BY r.hub, r.learner LIMIT $1
            """,
            PAGE,
            list(self._passed_over),
        )
        hub = waiting[0]["hub"] if waiting else ""
        ids = [row["learner"] for row in waiting if row["hub"] == hub]
        try:
            if ids:
                await self._carry_out(hub, ids)
        except DataLoss:  # One by one shows whose it is.
            for id_ in ids:
                try:
                    await self._carry_out(hub, [id_])
                except DataLoss as error:
                    _log.error(
                        "a learner's change of subscription waits", extra={"reason": error.reason, "learner": str(id_)}
                    )
                    self._passed_over.add(id_)
        return len(ids)

    async def _carry_out(self, hub: str, ids: Sequence[UUID]) -> None:
        async with self._pool.acquire() as connection, connection.transaction():
            await self._tell(connection, hub, ids)

    async def _tell(self, connection: Any, hub: str, ids: Sequence[UUID]) -> None:
        await connection.fetch("SELECT id FROM learner WHERE id = ANY($1::uuid[]) ORDER BY id FOR UPDATE", ids)
        # Read behind the locks: nobody registers, withdraws or issues meanwhile.
        row = await connection.fetchrow(
            f"SELECT revision, {COLUMNS} FROM subscription WHERE hub = $1",  # noqa: S608 (a constant)
            hub,
        )
        interest = Interest.read(row)
        registrations = {
            one["learner"]: Registration(hub, one["pseudonym"], interest)
            for one in await connection.fetch(
                "SELECT learner, pseudonym FROM registration "
                "WHERE hub = $1 AND learner = ANY($2::uuid[]) AND withdrawn_at IS NULL",
                hub,
                ids,
            )
        }
        keys = await self._keys.get(list(registrations))
        secrets = await self._learners.secrets(connection, [Learner(id_, key) for id_, key in keys.items()])
        rows = await connection.fetch(
            """
            SELECT c.id, c.learner, c.kind, c.provider, h.handle FROM credential c
            LEFT JOIN hub_credential h ON h.credential = c.id AND h.hub = $1
            WHERE c.learner = ANY($2::uuid[]) AND c.signature IS NOT NULL ORDER BY c.id
            """,
            hub,
            list(secrets),
        )
        fresh = [
            (
                registrations[one["learner"]],
                secrets[one["learner"]],
                Issued(Learner(one["learner"], keys[one["learner"]]), one["id"], one["kind"], one["provider"]),
            )
            for one in rows
            if one["handle"] is None and interest.wants(one["kind"], one["provider"])
        ]
        stale = [
            (registrations[one["learner"]], one["handle"], one["kind"], one["provider"])
            for one in rows
            if one["handle"] is not None and not interest.wants(one["kind"], one["provider"])
        ]
        told = [*await self._notices.named(connection, fresh), *await self._notices.unwanted(connection, stale)]
        await outbox.append(connection, told)
        await connection.execute(
            "UPDATE registration SET subscription_revision = $3 "
            "WHERE hub = $1 AND learner = ANY($2::uuid[]) AND withdrawn_at IS NULL",
            hub,
            ids,
            row["revision"],
        )
