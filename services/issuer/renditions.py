"""A credential in further formats: made when somebody asks, signed by the key that signed the credential.

The road of an issuance is untouched by this. As there, what is to be signed is stored
before it is signed, and the signature is stored with the leaf's event: nothing is signed
and lost, and whoever asks again gets the same artefact.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final
from uuid import UUID

import asyncpg

from services.issuer import store
from services.issuer.certificates import Certificates
from services.issuer.crypto import DataKey
from services.issuer.events import Events
from services.issuer.formats import FORMATS, SALT_BYTES, Format, Occasion
from services.issuer.origins import Origins
from services.issuer.projection import RegistryView
from services.issuer.signing import SigningKeys
from vitne.canonical import b64url
from vitne.clock import Clock
from vitne.credentials import sd_jwt_vc
from vitne.credentials.certificates import Certificate
from vitne.credentials.sd_jwt import Prepared
from vitne.errors import FailedPrecondition, InvalidArgument, VitneError
from vitne.messaging import outbox
from vitne.runtime.status import errors_to_status
from vitne.runtime.telemetry import current_traceparent
from vitne_api.credential.v1 import credential_pb2
from vitne_api.issuer.v1 import issuer_pb2

_TABLE: Final = "artefact"
_COLUMN: Final = "prepared"


class Renditions:
    """Answers credentials in further formats.

    Args:
        pool: the issuer's database.
        registry: says whether a key still counts, and what stands beside a credential.
        signing: providers' keys.
        certificates: of those keys.
        events: makes the leaves' events.
        origins: says what a leaf was made for.
        clock: tells when an artefact is made.
        new_id: makes UUIDv7.
    """

    def __init__(
        self,
        pool: asyncpg.Pool,
        *,
        registry: RegistryView,
        signing: SigningKeys,
        certificates: Certificates,
        events: Events,
        origins: Origins,
        clock: Clock,
        new_id: Callable[[], UUID],
    ) -> None:
        self._pool = pool
        self._registry = registry
        self._signing = signing
        self._certificates = certificates
        self._events = events
        self._origins = origins
        self._clock = clock
        self._new_id = new_id

    async def just_issued(
        self, row: store.Credential, opened: Prepared, key: DataKey, formats: Sequence[int]
    ) -> issuer_pb2.IssuedCredential:
        """As :meth:`message`, for the answer to an issuance: it stands, whatever could not be made, and says what."""
        message = row.message(opened)
        for number in _further(formats):
            try:
                message.artefacts.append(await self._artefact(row, opened, key, number))
            except VitneError as error:
                message.refused_formats.add(
                    format=credential_pb2.Format.ValueType(number), error=errors_to_status(error)
                )
        return message

    async def message(
        self, row: store.Credential, opened: Prepared, key: DataKey, formats: Sequence[int]
    ) -> issuer_pb2.IssuedCredential:
        """An issued credential as the contract shows it, with its artefacts in further formats.

        Args:
            row: the credential.
            opened: what was signed.
            key: of the learner.
            formats: that are asked for; SD-JWT VC is answered anyway.

        Raises:
            InvalidArgument: ``FORMAT_UNKNOWN``, and what a format can't carry: ``TEXT_NOT_CARRIED``,
                ``COUNTRY_UNKNOWN``.
            FailedPrecondition: ``KEY_RETIRED``; ``NO_CERTIFICATE``.
            Unavailable: ``REGISTRY_STALE``.
        """
        require_known(formats)
        message = row.message(opened)
        for number in _further(formats):
            message.artefacts.append(await self._artefact(row, opened, key, number))
        return message

    async def made(self, connection: Any, row: store.Credential, key: DataKey) -> issuer_pb2.IssuedCredential:
        """An issued credential with all artefacts that were made of it, and no new ones.

        Raises:
            DataLoss: ``SEAL_BROKEN``.
        """
        message = row.message(row.open(key))
        for kept in await connection.fetch(
            "SELECT id, format, prepared, signature, digest FROM artefact "
            "WHERE credential = $1 AND signature IS NOT NULL ORDER BY format",
            row.id,
        ):
            stored = key.open(kept["prepared"], _TABLE, kept["id"], _COLUMN)
            message.artefacts.add(
                format=kept["format"],
                artefact=FORMATS[kept["format"]].complete(stored, kept["signature"]),
                digest=b64url(kept["digest"]),
            )
        return message

    async def _artefact(
        self, row: store.Credential, opened: Prepared, key: DataKey, number: int
    ) -> issuer_pb2.Artefact:
        format_ = FORMATS[number]
        kept = await self._kept(row, number)
        if kept is None or kept["signature"] is None:  # Also what was kept, and not signed before a crash.
            self._require_counting(row)
        if kept is None:
            await self._keep(row, opened, key, number, format_)
            kept = await self._kept(row, number)
        if kept is None:
            raise RuntimeError("what was kept is not there")
        stored = key.open(kept["prepared"], _TABLE, kept["id"], _COLUMN)
        signature, digest = kept["signature"], kept["digest"]
        if signature is None:
            signature, digest = await self._sign(row, number, format_, stored)
        return issuer_pb2.Artefact(
            format=credential_pb2.Format.ValueType(number),
            artefact=format_.complete(stored, signature),
            digest=b64url(digest),
        )

    def _require_counting(self, row: store.Credential) -> None:
        self._registry.require_fresh()
        if row.signing_key not in self._registry.signing_keys(row.provider, self._clock.now()):
            raise _retired(row.signing_key)

    async def _kept(self, row: store.Credential, number: int) -> Any:
        return await self._pool.fetchrow(
            "SELECT id, prepared, signature, digest FROM artefact WHERE credential = $1 AND format = $2", row.id, number
        )

    async def _keep(self, row: store.Credential, opened: Prepared, key: DataKey, number: int, format_: Format) -> None:
        """Store what is to be signed; whoever is first says what it is."""
        if row.signature is None:
            raise ValueError("a pending credential has no other formats")
        now = self._clock.now()
        credential = sd_jwt_vc.parse(opened.complete(row.signature)).credential
        chain: tuple[Certificate, ...] = ()
        if format_.certified:
            chain = await self._certificates.chain(self._signing.signer(row.signing_key), credential.awarding_body)
        salt = secrets.token_bytes(SALT_BYTES)
        occasion = Occasion(self._registry.setting(credential), row.signing_key, chain, salt, now)
        prepared = format_.prepare(credential, occasion)
        id_ = self._new_id()
        await self._pool.execute(
            "INSERT INTO artefact (credential, format, id, prepared) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
            row.id,
            number,
            id_,
            key.seal(prepared, _TABLE, id_, _COLUMN),
        )

    async def _sign(self, row: store.Credential, number: int, format_: Format, stored: bytes) -> tuple[bytes, bytes]:
        """Sign, and store the signature with the leaf's event. Twice signed is the same artefact."""
        signature = self._signing.signer(row.signing_key).sign(format_.signing_input(stored))
        digest = format_.digest(stored, signature)
        async with self._pool.acquire() as connection, connection.transaction():
            new = await connection.fetchval(
                "UPDATE artefact SET signature = $3, digest = $4 "
                "WHERE credential = $1 AND format = $2 AND signature IS NULL RETURNING true",
                row.id,
                number,
                signature,
                digest,
            )
            if new:
                await outbox.append(
                    connection,
                    [self._events.leaf(digest, self._origins.seal(digest, row, number), current_traceparent())],
                )
        return signature, digest


def _further(formats: Sequence[int]) -> Iterator[int]:
    """Each once, without the one that every credential has."""
    return (number for number in dict.fromkeys(formats) if number != credential_pb2.FORMAT_SD_JWT_VC)


def require_known(formats: Sequence[int]) -> None:
    """Refuse formats that credentials are not made in.

    Raises:
        InvalidArgument: ``FORMAT_UNKNOWN``.
    """
    for place, number in enumerate(formats):
        if number not in FORMATS and number != credential_pb2.FORMAT_SD_JWT_VC:
            raise InvalidArgument(
                "FORMAT_UNKNOWN",
                "credentials are not made in this format",
                field=f"formats[{place}]",
                rule="one of the formats that the contract names",
                remedy="ask for one of these formats",
            )


def _retired(key_id: str) -> FailedPrecondition:
    return FailedPrecondition(
        "KEY_RETIRED",
        "the key that signed the credential does not count any more, and signs no further formats of it",
        field="formats",
        rule="all formats of a credential are signed with one key, while it counts",
        remedy="ask for every format that is needed when the credential is issued",
        metadata={"key": key_id},
    )
