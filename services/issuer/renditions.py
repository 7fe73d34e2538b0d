"""A credential in further formats: made when somebody asks.

The road of an issuance is untouched by this. As there, what is to be signed is stored
before it is signed, and the signature is stored with the leaf's event: nothing is signed
and lost, and whoever asks again gets the same artefact.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import asyncpg

from services.issuer import store
from services.issuer.artefacts import Artefact, Artefacts, signed_artefacts
from services.issuer.certificates import TokenCertificates
from services.issuer.crypto import DataKey
from services.issuer.formats import FORMATS, SALT_BYTES, Certified, Format, Occasion
from services.issuer.projection import RegistryView
from services.issuer.signing import SigningKeys
from services.issuer.stored import Stored
from vitne.canonical import b64url
from vitne.clock import Clock
from vitne.credentials import sd_jwt_vc
from vitne.credentials.certificates import Certificate
from vitne.credentials.jose import ES256
from vitne.credentials.sd_jwt import Prepared
from vitne.errors import FailedPrecondition, InvalidArgument, VitneError
from vitne.runtime.certificates import Certificates
from vitne.runtime.status import errors_to_status
from vitne.runtime.telemetry import current_traceparent
from vitne_api.credential.v1 import credential_pb2
from vitne_api.issuer.v1 import issuer_pb2


class Renditions:
    """Answers credentials in further formats.

    Args:
        pool: the issuer's database, which says whose a key is.
        artefacts: stores what is made.
        registry: says whether a key still counts, and what stands beside a credential.
        signing: providers' keys.
        certificates: of those keys.
        on_tokens: the same, as tokens carry them.
        clock: tells when an artefact is made.
        new_id: makes UUIDv7.
    """

    def __init__(
        self,
        pool: asyncpg.Pool,
        *,
        artefacts: Artefacts,
        registry: RegistryView,
        signing: SigningKeys,
        certificates: Certificates,
        on_tokens: TokenCertificates,
        clock: Clock,
        new_id: Callable[[], UUID],
    ) -> None:
        self._pool = pool
        self._artefacts = artefacts
        self._registry = registry
        self._signing = signing
        self._certificates = certificates
        self._on_tokens = on_tokens
        self._clock = clock
        self._new_id = new_id

    async def just_issued(self, stored: Stored, formats: Sequence[int]) -> issuer_pb2.IssuedCredential:
        """The answer to an issuance: as :meth:`message`, but it stands, whatever could not be made, and says what."""
        message = stored.credential.message(stored.open())
        await self.add(message, stored, formats)
        return message

    async def add(self, message: issuer_pb2.IssuedCredential, stored: Stored, formats: Sequence[int]) -> None:
        """Put a credential in further formats into what is said of it, or why it could not be made in them."""
        for number in _further(formats):
            with _refusals_in(message, number):
                message.artefacts.append(
                    await self._artefact(
                        stored.credential, stored.open(), stored.learner.key, number, new=stored.prepared is not None
                    )
                )

    async def served(
        self, row: store.Credential, opened: Prepared, key: DataKey, formats: Sequence[int]
    ) -> issuer_pb2.IssuedCredential:
        """The answer to a hub: as :meth:`message`, but it is there, whatever could not be made, and says what."""
        message = row.message(opened)
        for number in _further(formats):
            with _refusals_in(message, number):
                message.artefacts.append(await self._artefact(row, opened, key, number))
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
            FailedPrecondition: ``KEY_RETIRED``; ``NO_CERTIFICATE``; ``NO_SIGNING_KEY``.
            Unavailable: ``REGISTRY_STALE``; ``DATABASE_UNAVAILABLE``.
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
        for artefact in await signed_artefacts(connection, row.id):
            message.artefacts.append(_message(artefact, artefact.open(key)))
        return message

    async def _artefact(
        self, row: store.Credential, opened: Prepared, key: DataKey, number: int, *, new: bool = False
    ) -> issuer_pb2.Artefact:
        """One artefact; ``new``: the credential was issued by this very call, so that there is none yet."""
        format_ = FORMATS[number]
        artefact = None if new else await self._artefacts.find(row.id, number)
        if artefact is None:
            artefact = await self._artefacts.store(await self._draft(row, opened, key, number, format_))
        stored = artefact.open(key)
        if artefact.signature is None:
            signing_key = artefact.signing_key or row.signing_key
            self._require_counting(row, signing_key)  # Also what was kept, and not signed before a crash.
            signature = self._signing.signer(signing_key).sign(format_.signing_input(stored))
            digest = format_.digest(stored, signature)
            artefact = await self._artefacts.finish(artefact, row, signature, digest, current_traceparent())
        return _message(artefact, stored)

    async def _draft(
        self, row: store.Credential, opened: Prepared, key: DataKey, number: int, format_: Format
    ) -> Artefact:
        """What is to be signed, sealed."""
        if row.signature is None:
            raise ValueError("a pending credential has no other formats")
        key_id, algorithm = await self._key_for(row, format_)
        credential = sd_jwt_vc.parse(opened.complete(row.signature)).credential
        signer, body = self._signing.signer(key_id), credential.awarding_body
        chain: tuple[Certificate, ...] = ()
        if format_.certified is Certified.ALWAYS:
            chain = await self._certificates.chain(signer, body)
        elif format_.certified is Certified.ON_TOKENS:
            chain = await self._on_tokens.of(signer, body, credential.issued_at)
        setting, salt = self._registry.setting(credential), secrets.token_bytes(SALT_BYTES)
        prepared = format_.prepare(credential, Occasion(setting, key_id, algorithm, chain, salt, self._clock.now()))
        return Artefact.sealed(
            prepared,
            key,
            credential=row.id,
            format_=number,
            id_=self._new_id(),
            signing_key=None if key_id == row.signing_key else key_id,
        )

    async def _key_for(self, row: store.Credential, format_: Format) -> tuple[str, str]:
        """Thumbprint and algorithm of the key that signs: the credential's own, or one that the format prefers."""
        self._registry.require_fresh()
        for algorithm in format_.algorithms:
            if algorithm == ES256:
                self._require_counting(row, row.signing_key)
                break
            # A verifier asks whether the key counted when the credential was issued.
            then = self._registry.signing_keys(row.provider, row.issued_at)
            now = set(self._registry.signing_keys(row.provider, self._clock.now()))
            both = [key_id for key_id in then if key_id in now]
            preferred = await self._signing.find(self._pool, row.provider, both, algorithm)
            if preferred is not None:
                return preferred.key_id, algorithm
        if ES256 not in format_.algorithms:
            raise _no_key(format_.algorithms)
        return row.signing_key, ES256

    def _require_counting(self, row: store.Credential, key_id: str) -> None:
        self._registry.require_fresh()
        if key_id not in self._registry.signing_keys(row.provider, self._clock.now()):
            raise _retired(key_id)


def _message(artefact: Artefact, stored: bytes) -> issuer_pb2.Artefact:
    """A signed artefact as the contract shows it."""
    if artefact.signature is None or artefact.digest is None:
        raise ValueError("what is not signed is not shown to anyone")
    return issuer_pb2.Artefact(
        format=credential_pb2.Format.ValueType(artefact.format),
        artefact=FORMATS[artefact.format].complete(stored, artefact.signature),
        digest=b64url(artefact.digest),
    )


@contextmanager
def _refusals_in(message: issuer_pb2.IssuedCredential, number: int) -> Iterator[None]:
    """Say in the answer why it lacks a format."""
    try:
        yield
    except VitneError as error:
        message.refused_formats.add(format=credential_pb2.Format.ValueType(number), error=errors_to_status(error))


def _further(formats: Sequence[int]) -> Iterator[int]:
    """Each once, without the one that every credential has."""
    return (number for number in dict.fromkeys(formats) if number != credential_pb2.FORMAT_SD_JWT_VC)


def require_known(formats: Sequence[int], path: str = "formats") -> None:
    """Refuse formats that credentials are not made in.

    Raises:
        InvalidArgument: ``FORMAT_UNKNOWN``.
    """
    for place, number in enumerate(formats):
        if number not in FORMATS and number != credential_pb2.FORMAT_SD_JWT_VC:
            raise InvalidArgument(
                "FORMAT_UNKNOWN",
                "credentials are not made in this format",
                field=f"{path}[{place}]",
                rule="one of the formats that the contract names",
                remedy="ask for one of these formats",
            )


def _no_key(algorithms: Sequence[str]) -> FailedPrecondition:
    return FailedPrecondition(
        "NO_SIGNING_KEY",
        f"the institution had no key for {' or '.join(algorithms)} when the credential was issued, or has none now",
        field="formats",
        rule="a format is signed with a key of its algorithm that counted at the issuance and counts now",
        remedy="create a key with CreateSigningKey, enter it with RegisterKey, and ask for what is issued from then on",
    )


def _retired(key_id: str) -> FailedPrecondition:
    return FailedPrecondition(
        "KEY_RETIRED",
        "the key that is to sign does not count any more, and signs no further formats of the credential",
        field="formats",
        rule="a format is signed with the key that signed the credential, or with the institution's Ed25519 key, while "
        "it counts",
        remedy="ask for every format that is needed when the credential is issued",
        metadata={"key": key_id},
    )
