"""How each further format of a credential is made: what is kept, what of it is signed, what comes of the signature."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Protocol

import msgspec

from vitne.canonical import from_b64url, sha256
from vitne.credentials import jose
from vitne.credentials.artefact import data_integrity_digest
from vitne.credentials.certificates import Certificate
from vitne.credentials.data_integrity import proof
from vitne.credentials.data_integrity.multibase import encode_base58
from vitne.credentials.data_integrity.suites import ECDSA_RDFC_2019
from vitne.credentials.elm import seal
from vitne.credentials.elmo import signature as elmo
from vitne.credentials.elmo.writing import Node
from vitne.credentials.jose import ES256
from vitne.credentials.model import Credential
from vitne.credentials.setting import Setting
from vitne.credentials.w3c import documents, open_badges, vc_jwt
from vitne_api.credential.v1 import credential_pb2

#: Random bytes of an artefact, in every format, so that its digest can't be guessed (RECORDS: Artefact digest).
SALT_BYTES: Final = 16
_HASH_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class Occasion:
    """What an artefact is made of, beside the credential."""

    setting: Setting
    #: Thumbprint of the key that will sign, under ES256.
    key_id: str
    #: Of that key; empty for formats without.
    certificates: tuple[Certificate, ...]
    #: :data:`SALT_BYTES` fresh random bytes.
    salt: bytes
    #: When it is made.
    at: datetime


class Format(Protocol):
    """One format. What is *kept* is all that is needed to sign, now or after a crash, and to answer afterwards."""

    @property
    def certified(self) -> bool:
        """Whether its artefacts carry the signing key's certificate."""
        ...

    def prepare(self, credential: Credential, occasion: Occasion) -> bytes:
        """What is kept; raises InvalidArgument for what the format can't carry."""
        ...

    def signing_input(self, kept: bytes) -> bytes:
        """The bytes that are signed."""
        ...

    def complete(self, kept: bytes, signature: bytes) -> str:
        """The artefact."""
        ...

    def digest(self, kept: bytes, signature: bytes) -> bytes:
        """What the log knows it by, 32 bytes (RECORDS: Artefact digest)."""
        ...


class _AsIssued(ABC):
    """A format whose artefact is known by its bytes as issued."""

    certified: bool = False

    @abstractmethod
    def complete(self, kept: bytes, signature: bytes) -> str: ...

    def signing_input(self, kept: bytes) -> bytes:
        return kept

    def digest(self, kept: bytes, signature: bytes) -> bytes:
        return sha256(self.complete(kept, signature).encode())


class _Edc(_AsIssued):
    """A sealed European Digital Credential."""

    certified = True

    def prepare(self, credential: Credential, occasion: Occasion) -> bytes:
        return seal.prepare(
            credential, occasion.setting, certificates=occasion.certificates, salt=occasion.salt, at=occasion.at
        ).signing_input

    def complete(self, kept: bytes, signature: bytes) -> str:
        return seal.Prepared(kept).complete(signature)


class _Elmo(_AsIssued):
    """A signed ELMO document."""

    certified = True

    def prepare(self, credential: Credential, occasion: Occasion) -> bytes:
        tree = Node(credential, setting=occasion.setting)
        prepared = elmo.prepare([tree], certificates=occasion.certificates, salt=occasion.salt, at=occasion.at)
        return prepared.stored()

    def signing_input(self, kept: bytes) -> bytes:
        return elmo.Prepared.of_stored(kept).signing_input

    def complete(self, kept: bytes, signature: bytes) -> str:
        return elmo.Prepared.of_stored(kept).complete(signature).decode()


class _VcJwt(_AsIssued):
    """A document of W3C's data model, or a badge, as ``vc+jwt``."""

    def __init__(self, document: Callable[..., dict[str, Any]]) -> None:
        self._document = document

    def prepare(self, credential: Credential, occasion: Occasion) -> bytes:
        document = self._document(credential, salt=occasion.salt)
        return vc_jwt.prepare(document, algorithm=ES256, key_id=occasion.key_id).signing_input

    def complete(self, kept: bytes, signature: bytes) -> str:
        return jose.complete(kept, signature)


class _DataIntegrity:
    """A document of W3C's data model with a proof in it (``ecdsa-rdfc-2019``)."""

    certified: bool = False

    def prepare(self, credential: Credential, occasion: Occasion) -> bytes:
        prepared = proof.prepare(
            documents.to_document(credential, salt=occasion.salt),
            suite=ECDSA_RDFC_2019,
            algorithm=ES256,
            verification_method=f"{credential.awarding_body.issuer_uri}#{occasion.key_id}",
            created=occasion.at,
        )
        # The whole with a value that is replaced; the hash goes before it, since making it again would be work.
        return prepared.hash_data + msgspec.json.encode(prepared.complete(b""))

    def signing_input(self, kept: bytes) -> bytes:
        return kept[: 2 * _HASH_BYTES]

    def complete(self, kept: bytes, signature: bytes) -> str:
        document = msgspec.json.decode(kept[2 * _HASH_BYTES :])
        document["proof"]["proofValue"] = encode_base58(signature)
        return msgspec.json.encode(document).decode()

    def digest(self, kept: bytes, signature: bytes) -> bytes:
        return from_b64url(data_integrity_digest(self.signing_input(kept), signature))


#: The formats beside SD-JWT VC.
FORMATS: Final[Mapping[int, Format]] = {
    credential_pb2.FORMAT_VC_JWT: _VcJwt(documents.to_document),
    credential_pb2.FORMAT_VC_DATA_INTEGRITY: _DataIntegrity(),
    credential_pb2.FORMAT_OPEN_BADGE_JWT: _VcJwt(open_badges.to_document),
    credential_pb2.FORMAT_EDC: _Edc(),
    credential_pb2.FORMAT_ELMO: _Elmo(),
}
