"""The RPCs of ``vitne.issuer.v1.RightsService``: what learners may ask for, and the way to what law keeps."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final
from uuid import UUID

import asyncpg

from services.issuer import store
from services.issuer.acts import LearnerActs
from services.issuer.admission import known_as
from services.issuer.archive import Archive, Reading
from services.issuer.crypto import IndexKey
from services.issuer.erasure import Erased, Erasures
from services.issuer.grounds import COLUMNS as GROUND_COLUMNS
from services.issuer.grounds import ground_message
from services.issuer.learners import Learner, Learners, being_erased
from services.issuer.refusals import erased, unknown_credential
from services.issuer.renditions import Renditions
from vitne.accreditation import timestamp
from vitne.clock import Clock
from vitne.errors import FailedPrecondition
from vitne.identifiers import PROVIDER_LOCAL_ID, LearnerId
from vitne.runtime.idempotency import RequestKey, answer_once, recall
from vitne.runtime.identity import current_caller
from vitne_api.credential.v1 import credential_pb2
from vitne_api.issuer.v1 import issuer_pb2, rights_pb2
from vitne_api.issuer.v1 import rights_pb2_grpc as rights_grpc

#: Full name in the contract.
SERVICE: Final = "vitne.issuer.v1.RightsService"


class RightsRpc(rights_grpc.RightsServiceServicer):
    """Implements the contract.

    Args:
        pool: the issuer's database.
        acts: who the hubs are, and which learner acts.
        learners: finds learners.
        erasures: erases them.
        archive: what the archives acts keep.
        renditions: knows all artefacts of a credential.
        index: key of the keyed hashes.
        clock: for the record of requests.
    """

    def __init__(
        self,
        pool: asyncpg.Pool,
        *,
        acts: LearnerActs,
        learners: Learners,
        erasures: Erasures,
        archive: Archive,
        renditions: Renditions,
        index: IndexKey,
        clock: Clock,
    ) -> None:
        self._pool = pool
        self._acts = acts
        self._learners = learners
        self._erasures = erasures
        self._archive = archive
        self._renditions = renditions
        self._index = index
        self._clock = clock

    async def ExportLearner(  # noqa: N802 - the contract's name
        self, request: rights_pb2.ExportLearnerRequest, context: Any
    ) -> AsyncIterator[rights_pb2.ExportLearnerResponse]:
        """All that is held of the learner who logged in."""
        hub = current_caller().organisation
        who = (await self._acts.who(hub, request.id_token)).learner
        found = await self._learners.find(self._pool, [who])
        if who not in found:
            return
        learner = found[who]
        if learner is None:
            raise being_erased()
        yield rights_pb2.ExportLearnerResponse(learner=await self._held_learner(learner))
        for registration in await self._registrations(learner, str(hub)):
            yield rights_pb2.ExportLearnerResponse(registration=registration)
        for row in await store.of_learner(self._pool, learner.id):
            held = rights_pb2.HeldCredential(
                credential=await self._renditions.made(self._pool, row, learner.key),
                archive=row.retention == credential_pb2.RETENTION_CLASS_ARCHIVE,
            )
            yield rights_pb2.ExportLearnerResponse(credential=held)

    async def EraseLearner(  # noqa: N802 - the contract's name
        self, request: rights_pb2.EraseLearnerRequest, context: Any
    ) -> rights_pb2.EraseLearnerResponse:
        """Erase the learner who logged in."""
        hub = current_caller().organisation
        key = RequestKey(
            str(hub),
            f"{SERVICE}/EraseLearner",
            UUID(request.request_id),
            self._index.digest("id_token", request.id_token.encode()),
        )
        # First, so that a repeated request is answered although its token has expired meanwhile.
        known = await recall(self._pool, key.caller, key.method, key.request_id, key.digest)
        if known is not None:
            return rights_pb2.EraseLearnerResponse.FromString(known)
        # Outside the transaction of the answer: an erasure has several, and repeated it is none.
        done = await self._erase((await self._acts.who(hub, request.id_token)).learner)
        response = rights_pb2.EraseLearnerResponse(erased=done.erased, kept=_kept(done))

        async def answer(_: Any) -> rights_pb2.EraseLearnerResponse:
            return response

        return await answer_once(self._pool, key, self._clock, rights_pb2.EraseLearnerResponse, answer)

    async def EraseLocalLearner(  # noqa: N802 - the contract's name
        self, request: rights_pb2.EraseLocalLearnerRequest, context: Any
    ) -> rights_pb2.EraseLocalLearnerResponse:
        """Erase a learner whom only the caller can name."""
        identity = LearnerId.parse(PROVIDER_LOCAL_ID, request.local_id, field="local_id")
        done = await self._erase(known_as(identity, current_caller().organisation))
        return rights_pb2.EraseLocalLearnerResponse(erased=done.erased, kept=_kept(done))

    async def ReadArchived(  # noqa: N802 - the contract's name
        self, request: rights_pb2.ReadArchivedRequest, context: Any
    ) -> rights_pb2.ReadArchivedResponse:
        """One of the caller's credentials that an erasure restricted."""
        caller = current_caller()
        row = await store.issued_by(self._pool, str(caller.organisation), UUID(request.credential_id))
        reading = Reading(
            str(caller.organisation),
            UUID(request.request_id),
            UUID(request.credential_id),
            request.ground,
            request.reference,
            caller.client_id,
        )
        found = await self._archive.read(reading)
        if found is None:
            raise await self._not_archived(row)
        content, archived_at = found
        credential = issuer_pb2.IssuedCredential.FromString(content)
        if row is not None:  # A restore may have lost the row, and what is kept is answered all the same.
            credential.status = credential_pb2.Status.ValueType(row.status)
        return rights_pb2.ReadArchivedResponse(credential=credential, archived_at=timestamp(archived_at))

    async def _not_archived(self, row: store.Credential | None) -> Exception:
        if row is None:
            return unknown_credential()
        if not await self._pool.fetchval("SELECT true FROM learner WHERE id = $1", row.learner):
            return erased(row.id)
        return FailedPrecondition(
            "CREDENTIAL_NOT_RESTRICTED",
            "the credential is not restricted",
            field="credential_id",
            remedy="read it with GetCredential",
        )

    async def _erase(self, who: LearnerId) -> Erased:
        row = await self._pool.fetchrow("SELECT id FROM learner WHERE lookup = $1", self._index.learner(who))
        return await self._erasures.erase(row["id"]) if row else Erased()

    async def _held_learner(self, learner: Learner) -> rights_pb2.HeldLearner:
        who, created_at = await self._learners.identity(self._pool, learner)
        return rights_pb2.HeldLearner(scheme=who.scheme, value=who.value, created_at=timestamp(created_at))

    async def _registrations(self, learner: Learner, asking: str) -> list[rights_pb2.HeldRegistration]:
        rows = await self._pool.fetch(
            "SELECT hub, pseudonym, ground, registered_at, withdrawn_at, legal_ground FROM registration "
            "WHERE learner = $1 ORDER BY registered_at, id",
            learner.id,
        )
        grounds = await self._pool.fetch(
            f"SELECT {GROUND_COLUMNS} FROM legal_ground WHERE id = ANY($1::uuid[])",  # noqa: S608 (a constant)
            [row["legal_ground"] for row in rows],
        )
        named = {row["id"]: ground_message(row) for row in grounds}
        return [
            rights_pb2.HeldRegistration(
                hub=row["hub"],
                pseudonym=row["pseudonym"] if row["hub"] == asking else "",
                ground=row["ground"],
                registered_at=timestamp(row["registered_at"]),
                withdrawn_at=timestamp(row["withdrawn_at"]) if row["withdrawn_at"] else None,
                legal_ground=named.get(row["legal_ground"]),
            )
            for row in rows
        ]


def _kept(done: Erased) -> list[rights_pb2.KeptCredential]:
    return [
        rights_pb2.KeptCredential(credential_id=str(one.id), provider=one.provider, kind=one.kind) for one in done.kept
    ]
