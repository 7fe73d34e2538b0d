"""Hubs: who is registered where, and what they may fetch.

A hub is told of a credential under names of its own (pseudonym and handle), so that
two hubs can't link a learner. Whoever issues, and whoever registers or withdraws, locks
the learner's row first: whichever comes second sees what the first did, so no notice is
lost and none is doubled.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import asyncpg

from services.issuer.acts import LearnerActs
from services.issuer.crypto import DataKey, IndexKey
from services.issuer.grounds import COLUMNS as GROUND_COLUMNS
from services.issuer.grounds import ON_LEGAL_GROUND, OWN_ACT, TAKEN_UP, ground_message
from services.issuer.interests import COLUMNS, Interest
from services.issuer.key_store import LearnerKeyStore
from services.issuer.learners import Learner, Learners, being_erased
from services.issuer.notices import Issued, Notices, Registration
from services.issuer.renditions import Renditions, require_known
from services.issuer.store import Credential, by_handle
from vitne.accreditation import timestamp
from vitne.clock import Clock
from vitne.credentials import pseudonyms
from vitne.errors import DataLoss, InvalidArgument, NotFound, PermissionDenied
from vitne.identifiers import NORWEGIAN_NATIONAL_ID, PROVIDER_LOCAL_ID, LearnerId, OrganisationId
from vitne.messaging import outbox
from vitne.runtime.database import repeated
from vitne.runtime.idempotency import RequestKey, answer_once, recall
from vitne.runtime.interceptors.errors import as_vitne_error
from vitne_api.issuer.v1 import issuer_pb2 as issuer

_SERVICE: Final = "vitne.issuer.v1.IssuerService"
#: Handles of a call that asks for further formats, which are made while it waits.
MAX_RENDERED: Final = 20

_log = logging.getLogger(__name__)


class Hubs:
    """What hubs ask for.

    Args:
        pool: the issuer's database.
        learners: finds and creates learners.
        keys: learners' data keys.
        notices: what hubs are told.
        renditions: makes further formats.
        acts: who the hubs are, and which learner acts.
        index: key of the keyed hashes.
        clock: for the instants of registrations.
        new_id: makes UUIDv7.
    """

    def __init__(
        self,
        pool: asyncpg.Pool,
        *,
        learners: Learners,
        keys: LearnerKeyStore,
        notices: Notices,
        renditions: Renditions,
        acts: LearnerActs,
        index: IndexKey,
        clock: Clock,
        new_id: Callable[[], UUID],
    ) -> None:
        self._pool = pool
        self._learners = learners
        self._keys = keys
        self._notices = notices
        self._renditions = renditions
        self._acts = acts
        self._index = index
        self._clock = clock
        self._new_id = new_id

    async def register(self, hub: OrganisationId, request_id: UUID, id_token: str) -> issuer.RegisterLearnerResponse:
        """Register the learner who logged in, and tell the hub of every credential there is.

        Raises:
            PermissionDenied: ``HUB_UNKNOWN``.
            InvalidArgument: why the ID token does not hold (``TOKEN_EXPIRED``, ``TOKEN_ASSURANCE``…).
            AlreadyExists: ``REQUEST_ID_REUSED``.
        """
        self._acts.require_hub(hub)
        request = RequestKey(
            str(hub), f"{_SERVICE}/RegisterLearner", request_id, self._index.digest("id_token", id_token.encode())
        )
        # First, so that a repeated request is answered although its token has expired meanwhile.
        known = await recall(self._pool, request.caller, request.method, request.request_id, request.digest)
        if known is not None:
            return issuer.RegisterLearnerResponse.FromString(known)
        identity = await self._acts.who(hub, id_token)

        async def work(connection: Any) -> issuer.RegisterLearnerResponse:
            learner, created = await self._learners.find_or_create(connection, identity.learner)
            try:
                return await self._register(connection, str(hub), learner, f"{OWN_ACT}:{identity.acr}")
            except BaseException:
                if created:
                    await self._learners.discard([learner])
                raise

        return await answer_once(self._pool, request, self._clock, issuer.RegisterLearnerResponse, work)

    async def register_on_ground(
        self, hub: OrganisationId, asked: issuer.OnLegalGround
    ) -> issuer.RegisterLearnerResponse:
        """Register a learner who did not ask for it, on a ground that was granted to the hub.

        Nothing of the request is recorded but the registration, which an erasure deletes: a record of the request
        would be a hash of whom it was about.

        Raises:
            PermissionDenied: ``HUB_UNKNOWN``, ``LEGAL_GROUND_UNKNOWN``.
            InvalidArgument: ``UNKNOWN_LEARNER_SCHEME``, ``BAD_LEARNER_ID``.
        """
        self._acts.require_hub(hub)
        if asked.scheme == PROVIDER_LOCAL_ID:
            raise InvalidArgument(
                "UNKNOWN_LEARNER_SCHEME",
                "an institution's own identifier names nobody to a hub",
                field="legal_ground.scheme",
                rule=f"{NORWEGIAN_NATIONAL_ID}: what a learner can log in with",
                remedy="name the learner by a national identifier",
            )
        who = LearnerId.parse(asked.scheme, asked.value, field="legal_ground")

        async def work(connection: Any) -> issuer.RegisterLearnerResponse:
            # Held, so that whoever ends it sees all that rests on it.
            ground = await connection.fetchrow(
                f"SELECT {GROUND_COLUMNS} FROM legal_ground "  # noqa: S608 (a constant)
                "WHERE id = $1 AND hub = $2 AND ended_at IS NULL FOR SHARE",
                UUID(asked.ground_id),
                str(hub),
            )
            if ground is None:
                raise PermissionDenied(
                    "LEGAL_GROUND_UNKNOWN",
                    "no such legal ground is granted to the hub, or it has ended",
                    field="legal_ground.ground_id",
                    rule="learners are registered by their own act, unless a legal ground is recorded for the hub",
                    remedy="name one of those that GetSubscription answers, or let the learner register",
                )
            learner, created = await self._learners.find_or_create(connection, who)
            try:
                return await self._register(connection, str(hub), learner, ON_LEGAL_GROUND, ground)
            except BaseException:
                if created:
                    await self._learners.discard([learner])
                raise

        return await repeated(self._pool, work)

    async def withdraw(self, hub: OrganisationId, request_id: UUID, pseudonym: str) -> issuer.WithdrawLearnerResponse:
        """End a registration: the topic says so for each credential and of the learner; handles are no longer served.

        Raises:
            PermissionDenied: ``HUB_UNKNOWN``.
            NotFound: ``REGISTRATION_UNKNOWN``.
            AlreadyExists: ``REQUEST_ID_REUSED``.
        """
        self._acts.require_hub(hub)
        request = RequestKey(
            str(hub), f"{_SERVICE}/WithdrawLearner", request_id, self._index.digest("withdrawal", pseudonym.encode())
        )

        async def work(connection: Any) -> issuer.WithdrawLearnerResponse:
            live = "FROM registration WHERE hub = $1 AND pseudonym = $2 AND withdrawn_at IS NULL"
            learner = await connection.fetchval(f"SELECT learner {live}", str(hub), pseudonym)
            # Behind the lock: a registration that is under way may put another row in the place of this one.
            await connection.fetchval("SELECT true FROM learner WHERE id = $1 FOR UPDATE", learner)
            id_ = await connection.fetchval(f"SELECT id {live}", str(hub), pseudonym)
            if id_ is None or not await self.end(connection, id_):
                raise NotFound(
                    "REGISTRATION_UNKNOWN",
                    "no learner is registered with the hub under this pseudonym",
                    field="pseudonym",
                    remedy="use a pseudonym that RegisterLearner answered and that was not withdrawn since",
                )
            return issuer.WithdrawLearnerResponse()

        return await answer_once(self._pool, request, self._clock, issuer.WithdrawLearnerResponse, work)

    async def end(self, connection: Any, registration: UUID) -> bool:
        """End a registration and tell its hub, in the transaction; False where it had ended meanwhile."""
        learner = await connection.fetchval("SELECT learner FROM registration WHERE id = $1", registration)
        await connection.fetchval("SELECT true FROM learner WHERE id = $1 FOR UPDATE", learner)
        row = await connection.fetchrow(
            # Not before it began: replicas' clocks differ.
            "UPDATE registration SET withdrawn_at = greatest($2, registered_at) "
            "WHERE id = $1 AND withdrawn_at IS NULL RETURNING hub, pseudonym, withdrawn_at",
            registration,
            self._clock.now(),
        )
        if row is None:
            return False
        ended = Registration(row["hub"], row["pseudonym"])
        told = await self._notices.withdrawn(connection, ended, learner, row["withdrawn_at"])
        await outbox.append(connection, told)
        return True

    async def fetch(
        self, hub: OrganisationId, handles: Sequence[str], formats: Sequence[int] = ()
    ) -> issuer.FetchCredentialsResponse:
        """Credentials by the hub's own handles, in the order asked; one that is not (or no longer) the hub's is unset.

        So is one that can't be read, with the reason: one bad row fails no other. Neither does a further format that
        can't be made: the credential's answer says why.

        Raises:
            PermissionDenied: ``HUB_UNKNOWN``.
            InvalidArgument: ``FORMAT_UNKNOWN``; ``TOO_MANY_HANDLES`` for further formats.
            Unavailable: ``KEY_STORE_UNAVAILABLE``.
        """
        self._acts.require_hub(hub)
        require_known(formats)
        if formats and len(handles) > MAX_RENDERED:
            raise InvalidArgument(
                "TOO_MANY_HANDLES",
                f"{len(handles)} credentials are asked for in further formats",
                field="handles",
                rule=f"further formats are made of at most {MAX_RENDERED} credentials a call",
                remedy="ask for fewer at a time, or for no further formats",
            )
        interest = Interest.read(
            await self._pool.fetchrow(f"SELECT {COLUMNS} FROM subscription WHERE hub = $1", str(hub))  # noqa: S608
        )
        found = {
            handle: row
            for handle, row in (await by_handle(self._pool, str(hub), handles)).items()
            if interest.wants(row.kind, row.provider)  # A change may not be carried out yet.
        }
        keys = await self._keys.look({row.learner for row in found.values()})
        response = issuer.FetchCredentialsResponse()
        for handle in handles:
            row = found.get(handle)
            key = keys.get(row.learner) if row else None
            response.credentials.append(await self._fetched(handle, row, key, formats))
        return response

    async def _fetched(
        self, handle: str, row: Credential | None, key: DataKey | DataLoss | None, formats: Sequence[int]
    ) -> issuer.FetchedCredential:
        """The answer for one handle."""
        if row is None or key is None:  # not the hub's, or erased
            return issuer.FetchedCredential(handle=handle)
        try:
            if isinstance(key, DataLoss):
                raise key
            message = await self._renditions.served(row, row.open(key), key, formats)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one row, it fails no other
            told = as_vitne_error(error)
            _log.error("a credential can't be answered", extra={"reason": told.reason, "credential": str(row.id)})
            return issuer.FetchedCredential(handle=handle, unavailable_reason=told.reason)
        return issuer.FetchedCredential(handle=handle, credential=message)

    async def _register(
        self,
        connection: Any,
        hub: str,
        learner: Learner,
        ground: str,
        legal_ground: Mapping[str, Any] | None = None,
    ) -> issuer.RegisterLearnerResponse:
        if not await connection.fetchval("SELECT true FROM learner WHERE id = $1 FOR UPDATE", learner.id):
            raise being_erased()
        # After any that ended, whatever the clocks of the replicas that wrote it: see Notices.ended.
        now = await connection.fetchval(
            "SELECT greatest($3, max(withdrawn_at) + interval '1 millisecond') FROM registration "
            "WHERE learner = $1 AND hub = $2",
            learner.id,
            hub,
            self._clock.now(),
        )
        known = await connection.fetchrow(
            "SELECT id, pseudonym, ground, registered_at, legal_ground, subscription_revision FROM registration "
            "WHERE learner = $1 AND hub = $2 AND withdrawn_at IS NULL",
            learner.id,
            hub,
        )
        if known is not None:
            pseudonym = known["pseudonym"]
            if known["legal_ground"] is None and known["ground"] != TAKEN_UP:
                return _registered(pseudonym, known["registered_at"])
            if legal_ground is not None and known["legal_ground"] == legal_ground["id"]:
                return _registered(pseudonym, known["registered_at"], legal_ground)
            # What it rested on may end, or was lost: from now on it rests on what is shown, her own act or a ground
            # that holds. The hub was told of all there is.
            await connection.execute("UPDATE registration SET withdrawn_at = $2 WHERE id = $1", known["id"], now)
            await self._record(
                connection,
                Registration(hub, pseudonym),
                learner,
                ground=ground,
                now=now,
                subscribed=known,
                legal_ground=legal_ground,
            )
            return _registered(pseudonym, now, legal_ground)
        secret = await self._learners.secret(connection, learner)
        wanted = await connection.fetchrow(
            f"SELECT revision AS subscription_revision, {COLUMNS} FROM subscription WHERE hub = $1",  # noqa: S608
            hub,
        )
        registration = Registration(hub, pseudonyms.pseudonym(secret, hub), Interest.read(wanted))
        await self._record(
            connection, registration, learner, ground=ground, now=now, subscribed=wanted, legal_ground=legal_ground
        )
        rows = await connection.fetch(
            "SELECT id, kind, provider FROM credential WHERE learner = $1 AND signature IS NOT NULL ORDER BY id",
            learner.id,
        )
        backfill = await self._notices.named(
            connection,
            [(registration, secret, Issued(learner, row["id"], row["kind"], row["provider"])) for row in rows],
        )
        await outbox.append(connection, backfill)
        return _registered(registration.pseudonym, now, legal_ground)

    async def _record(
        self,
        connection: Any,
        registration: Registration,
        learner: Learner,
        *,
        ground: str,
        now: datetime,
        subscribed: Mapping[str, Any] | None,
        legal_ground: Mapping[str, Any] | None = None,
    ) -> None:
        """Insert a registration's row; ``subscribed`` has the revision of the subscription that its hub was told by."""
        await connection.execute(
            "INSERT INTO registration "
            "(id, hub, learner, pseudonym, ground, registered_at, subscription_revision, legal_ground) "
            "VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
            self._new_id(),
            registration.hub,
            learner.id,
            registration.pseudonym,
            ground,
            now,
            subscribed["subscription_revision"] if subscribed else 0,
            legal_ground["id"] if legal_ground else None,
        )


def _registered(
    pseudonym: str, since: datetime, legal_ground: Mapping[str, Any] | None = None
) -> issuer.RegisterLearnerResponse:
    return issuer.RegisterLearnerResponse(
        pseudonym=pseudonym,
        registered_at=timestamp(since),
        legal_ground=ground_message(legal_ground) if legal_ground else None,
    )
