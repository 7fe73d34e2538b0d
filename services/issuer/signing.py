"""Providers' signing keys: made in custody, entered in the registry by their owners, used while both say so."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

import asyncpg

from vitne.clock import Clock
from vitne.credentials.jose import ES256, Signer
from vitne.errors import FailedPrecondition, NotFound
from vitne.identifiers import OrganisationId
from vitne.runtime.custody import KeyCustody
from vitne.runtime.signing import MeasuredSigner

_LABEL: Final = "provider.{provider}.{request_id}"


class SigningKeys:
    """The keys that this issuer holds for providers.

    Args:
        pool: the issuer's database, which says whose a key is.
        custody: where the private parts are.
        clock: for ``created_at``.
    """

    def __init__(self, pool: asyncpg.Pool, custody: KeyCustody, clock: Clock) -> None:
        self._pool = pool
        self._custody = custody
        self._clock = clock
        #: Whose a key is never changes, so it is asked for once.
        self._owners: dict[str, str] = {}

    async def create(self, provider: OrganisationId, request_id: UUID, algorithm: str) -> Signer:
        """A key for ``provider``; the same one whenever the request is repeated.

        Raises:
            InvalidArgument: ``ALGORITHM_REFUSED`` when the request was for a key of another algorithm before.
            Unavailable: ``CUSTODY_UNAVAILABLE``.
        """
        label = _LABEL.format(provider=provider, request_id=request_id)
        signer = await asyncio.to_thread(self._custody.ensure, label, algorithm)
        await self._pool.execute(
            "INSERT INTO signing_key (key_id, provider, created_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
            signer.key_id,
            str(provider),
            self._clock.now(),
        )
        return signer

    async def choose(self, connection: Any, provider: str, registered: Sequence[str]) -> Signer:
        """The key that signs a credential: the first for ES256 that :meth:`find` finds.

        Raises:
            FailedPrecondition: ``NO_SIGNING_KEY``.
        """
        signer = await self.find(connection, provider, registered, ES256)
        if signer is None:
            raise FailedPrecondition(
                "NO_SIGNING_KEY",
                "the institution has no signing key that is both in the issuer's custody and valid in the registry",
                rule="a credential is signed with a key for ES256 that the registry names as the provider's, for "
                "credentials, now",
                remedy="create a key with CreateSigningKey and enter its public part in the registry with RegisterKey",
                metadata={"provider": provider},
            )
        return signer

    async def find(self, connection: Any, provider: str, registered: Sequence[str], algorithm: str) -> Signer | None:
        """The first of the provider's registered keys that is in custody for it and signs with an algorithm.

        Args:
            connection: to the issuer's database.
            provider: the organisation that issues.
            registered: thumbprints of its keys that the registry says are valid, the preferred one first.
            algorithm: ES256 or Ed25519.
        """
        unknown = [key_id for key_id in registered if key_id not in self._owners]
        if unknown:
            rows = await connection.fetch(
                "SELECT key_id, provider FROM signing_key WHERE key_id = ANY($1::text[])", unknown
            )
            self._owners |= {row["key_id"]: row["provider"] for row in rows}
        for key_id in registered:
            if self._owners.get(key_id) == provider:
                try:
                    signer = self._custody.signer(key_id)
                except NotFound:
                    continue
                if signer.algorithm == algorithm:
                    return signer
        return None

    def signer(self, key_id: str) -> Signer:
        """The key that something stored is to be signed with.

        Raises:
            NotFound: ``KEY_UNKNOWN``.
        """
        return MeasuredSigner(self._custody.signer(key_id), "credential")
