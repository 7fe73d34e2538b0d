"""Accreditations as verifiable credentials: signed with the authorities' keys as they are recorded, and served."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from services.registry.loops import repeat
from services.registry.recorder import Recorder
from vitne.accreditation import instant, key_counts_at
from vitne.accreditation.credential import sign_accreditation
from vitne.clock import Clock
from vitne.credentials.jose import ES256, Signer
from vitne.errors import FailedPrecondition, NotFound, Unavailable
from vitne.identifiers import OrganisationId, parse_uuid
from vitne.runtime.custody import KeyCustody
from vitne.runtime.signing import MeasuredSigner
from vitne_api.registry.v1 import facts_pb2

#: Facts that are looked at in one go: signing as many accreditations takes some 20 ms.
PAGE: Final = 100
#: Seconds between two looks for what is to be signed.
LOOK_SECONDS: Final = 0.25
_log = logging.getLogger(__name__)
_LABEL: Final = "authority.{authority}.{request_id}"


class AccreditationCredentials:
    """Signs each revision of each accreditation once its authority has a key here, and finds what was signed.

    Signing follows recording: an authority decides also while custody is out of reach, or before it has a key. What
    was signed with a key that was compromised by then counts for nothing, and is signed again with the next key.
    Replicas may sign the same; the first stays.

    Args:
        pool: the registry's database.
        recorder: knows the facts.
        custody: where the private parts are.
        clock: tells when something is signed.
        registry_uri: URI of the registry.
    """

    def __init__(self, pool: Any, recorder: Recorder, custody: KeyCustody, clock: Clock, registry_uri: str) -> None:
        self._pool = pool
        self._recorder = recorder
        self._custody = custody
        self._clock = clock
        self._registry_uri = registry_uri
        #: Registry revision up to which accreditations were looked at, and that of the newest key that was.
        self._looked_at = 0
        self._newest_key = 0
        #: Accreditations whose authority has a key that counts only from a later instant on.
        self._early: list[facts_pb2.Fact] = []

    async def create_key(self, authority: OrganisationId, request_id: UUID) -> Signer:
        """A P-256 key for an authority's accreditations; the same one whenever the request is repeated.

        Raises:
            Unavailable: ``CUSTODY_UNAVAILABLE``.
        """
        label = _LABEL.format(authority=authority, request_id=request_id)
        return await asyncio.to_thread(self._custody.ensure, label, ES256)

    async def run(self) -> None:
        """Sign what is recorded, for ever."""
        await repeat("accreditation credentials", self._look, self._clock, LOOK_SECONDS)

    async def _look(self) -> None:
        try:
            await self.sign_new()
        except Unavailable as error:  # what was not signed is looked at again
            _log.warning("accreditations are not signed: %s", error)

    async def sign_new(self) -> None:
        """Sign what was recorded since the last look, and what a new key makes possible.

        Raises:
            Unavailable: ``CUSTODY_UNAVAILABLE``.
        """
        early, self._early = self._early, []
        for start in range(0, len(early), PAGE):
            await self._sign(early[start : start + PAGE])
        projection = self._recorder.projection
        while facts := projection.trusted_facts(self._looked_at, limit=PAGE):
            await self._sign([fact for fact in facts if fact.HasField("accreditation")])
            self._looked_at = facts[-1].registry_revision
            keys = [fact.registry_revision for fact in facts if _is_key_for_accreditations(fact)]
            if keys and keys[-1] > self._newest_key:
                # Earlier accreditations may have waited for it, or rest on one that was compromised: once more.
                self._newest_key, self._looked_at = keys[-1], 0
            await asyncio.sleep(0)

    async def find(self, accreditation_id: str, revision: int | None = None) -> str:
        """The credential of a revision; of the newest one where None is given.

        Raises:
            NotFound: ``ACCREDITATION_UNKNOWN``.
            FailedPrecondition: ``ACCREDITATION_NOT_SIGNED``.
        """
        held = self._recorder.projection.accreditation(accreditation_id)
        revisions = {one.revision for one in held.revisions} if held is not None else set()
        if held is None or (revision is not None and revision not in revisions):
            raise NotFound(
                "ACCREDITATION_UNKNOWN",
                "no such revision of an accreditation was recorded",
                field="accreditation_id" if held is None else "revision",
                rule="revisions count from 1",
                remedy="take id and revision from a decision, or from /v1/providers",
            )
        for key_id, signed_at, compact in await self._stored(parse_uuid(held.id), revision or held.newest.revision):
            if self._counts(key_id, signed_at):
                return compact
        raise FailedPrecondition(
            "ACCREDITATION_NOT_SIGNED",
            "the authority has not signed this accreditation yet",
            rule="an accreditation is signed when its authority has a key for accreditations in the registry's custody",
            remedy="try again in a second; if it stays so, the authority calls CreateAccreditationKey and RegisterKey",
            metadata={"authority": held.authority},
        )

    async def signed_as(self, accreditations: Collection[str], digest: bytes) -> str | None:
        """Which of these accreditations a credential is of, by its SHA-256; one query, however many they are."""
        async with self._pool.acquire() as conn:
            found = await conn.fetchval(
                "SELECT accreditation FROM accreditation_credential "
                "WHERE accreditation = ANY($1::uuid[]) AND sha256(convert_to(compact, 'UTF8')) = $2 LIMIT 1",
                [parse_uuid(one) for one in accreditations],
                digest,
            )
        return None if found is None else str(found)

    async def _sign(self, facts: list[facts_pb2.Fact]) -> None:
        wanted = {(parse_uuid(fact.accreditation.id), fact.accreditation.revision): fact for fact in facts}
        if not wanted:
            return
        async with self._pool.acquire() as conn:
            rows = await conn.fetch(
                "SELECT accreditation, revision, key_id, signed_at FROM accreditation_credential "
                "WHERE accreditation = ANY($1::uuid[])",
                [accreditation for accreditation, _ in wanted],
            )
            for row in rows:
                if self._counts(row["key_id"], row["signed_at"]):
                    wanted.pop((row["accreditation"], row["revision"]), None)
            now = self._clock.now().replace(microsecond=0)
            signed = []
            for (accreditation, revision), fact in wanted.items():
                keys = self._recorder.projection.keys_of(fact.accreditation.authority, facts_pb2.KEY_USE_ACCREDITATION)
                if (signer := self._signer([key for key in keys if key_counts_at(key, now)])) is not None:
                    compact = sign_accreditation(fact, registry_uri=self._registry_uri, at=now, signer=signer)
                    signed.append((accreditation, revision, signer.key_id, now, compact))
                elif any(instant(key.valid_from) > now for key in keys):
                    self._early.append(fact)
            await conn.executemany(
                "INSERT INTO accreditation_credential (accreditation, revision, key_id, signed_at, compact) "
                "VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
                signed,
            )

    async def _stored(self, accreditation: UUID, revision: int) -> list[tuple[str, datetime, str]]:
        """What was signed of one revision, the earliest first."""
        async with self._pool.acquire() as conn:
            rows = await conn.fetch(
                "SELECT key_id, signed_at, compact FROM accreditation_credential "
                "WHERE accreditation = $1 AND revision = $2 ORDER BY signed_at, key_id",
                accreditation,
                revision,
            )
        return [tuple(row) for row in rows]

    def _signer(self, counting: list[facts_pb2.Key]) -> Signer | None:
        """The newest of the keys that is in custody here."""
        for key in sorted(counting, key=lambda key: (key.valid_from.ToNanoseconds(), key.id), reverse=True):
            try:
                return MeasuredSigner(self._custody.signer(key.id), "accreditation")
            except NotFound:
                continue  # kept by the authority itself
        return None

    def _counts(self, key_id: str, signed_at: datetime) -> bool:
        key = self._recorder.projection.key(key_id)
        return key is not None and key_counts_at(key, signed_at)


def _is_key_for_accreditations(fact: facts_pb2.Fact) -> bool:
    return fact.HasField("key") and fact.key.use == facts_pb2.KEY_USE_ACCREDITATION
