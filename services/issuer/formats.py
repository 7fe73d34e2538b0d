"""How each further format of a credential is made: what is kept, what of it is signed, what comes of the signature."""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from typing import Final, Protocol

from cryptography.hazmat.primitives.asymmetric import ec

from vitne.canonical import from_b64url, sha256
from vitne.credentials.certificates import Certificate
from vitne.credentials.data_integrity.ecdsa_sd_2023 import HMAC_KEY_BYTES
from vitne.credentials.elm import seal
from vitne.credentials.elmo import signature as elmo
from vitne.credentials.elmo.writing import Node
from vitne.credentials.jose import ED25519, ES256, LocalSigner
from vitne.credentials.model import Credential
from vitne.credentials.setting import Setting
from vitne.credentials.w3c import renditions as w3c
from vitne.credentials.w3c import selective
from vitne_api.credential.v1 import credential_pb2

#: Random bytes of an artefact, in every format, so that its digest can't be guessed (RECORDS: Artefact digest).
SALT_BYTES: Final = 16


class Certified(Enum):
    """Whether artefacts of a format carry the signing key's certificate."""

    NEVER = auto()
    #: Where tokens of the provider carry it.
    ON_TOKENS = auto()
    #: There is no artefact without.
    ALWAYS = auto()


@dataclass(frozen=True, slots=True)
class Occasion:
    """What an artefact is made of, beside the credential."""

    setting: Setting
    #: Thumbprint of the key that will sign, and its algorithm.
    key_id: str
    algorithm: str
    #: Of that key; empty for artefacts without.
    certificates: tuple[Certificate, ...]
    #: :data:`SALT_BYTES` fresh random bytes.
    salt: bytes
    #: When it is made.
    at: datetime


class Format(Protocol):
    """One format. What is *kept* is all that is needed to sign, now or after a crash, and to answer afterwards."""

    @property
    def certified(self) -> Certified:
        """Whether its artefacts carry the signing key's certificate."""
        ...

    @property
    def algorithms(self) -> tuple[str, ...]:
        """What it is signed with: the first that the provider has a key for."""
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

    certified: Certified = Certified.ALWAYS
    algorithms: tuple[str, ...] = (ES256,)

    @abstractmethod
    def complete(self, kept: bytes, signature: bytes) -> str: ...

    def signing_input(self, kept: bytes) -> bytes:
        return kept

    def digest(self, kept: bytes, signature: bytes) -> bytes:
        return sha256(self.complete(kept, signature).encode())


class _Edc(_AsIssued):
    """A sealed European Digital Credential."""

    def prepare(self, credential: Credential, occasion: Occasion) -> bytes:
        return seal.prepare(
            credential, occasion.setting, certificates=occasion.certificates, salt=occasion.salt, at=occasion.at
        ).signing_input

    def complete(self, kept: bytes, signature: bytes) -> str:
        return seal.Prepared(kept).complete(signature)


class _Elmo(_AsIssued):
    """A signed ELMO document."""

    def prepare(self, credential: Credential, occasion: Occasion) -> bytes:
        tree = Node(credential, setting=occasion.setting)
        prepared = elmo.prepare([tree], certificates=occasion.certificates, salt=occasion.salt, at=occasion.at)
        return prepared.stored()

    def signing_input(self, kept: bytes) -> bytes:
        return elmo.Prepared.of_stored(kept).signing_input

    def complete(self, kept: bytes, signature: bytes) -> str:
        return elmo.Prepared.of_stored(kept).complete(signature).decode()


class _W3c:
    """A document of W3C's data model, or a badge, as a JWT or with a Data Integrity proof."""

    def __init__(self, form: w3c.Form, *algorithms: str) -> None:
        self._form = form
        # A proof names its key by its address alone.
        self.certified = Certified.ON_TOKENS if form in w3c.JWTS else Certified.NEVER
        self.algorithms = algorithms

    def prepare(self, credential: Credential, occasion: Occasion) -> bytes:
        return w3c.prepare(
            self._form,
            credential,
            algorithm=occasion.algorithm,
            key_id=occasion.key_id,
            salt=occasion.salt,
            created=occasion.at,
            certificates=occasion.certificates,
        ).stored()

    def signing_input(self, kept: bytes) -> bytes:
        return w3c.Prepared.of_stored(kept).signing_input

    def complete(self, kept: bytes, signature: bytes) -> str:
        return w3c.Prepared.of_stored(kept).complete(signature)

    def digest(self, kept: bytes, signature: bytes) -> bytes:
        return from_b64url(w3c.Prepared.of_stored(kept).digest(signature))


class _Selective:
    """A document of W3C's data model with a base proof, of which its holder shows parts."""

    certified: Certified = Certified.NEVER
    algorithms: tuple[str, ...] = (ES256,)

    def prepare(self, credential: Credential, occasion: Occasion) -> bytes:
        return selective.prepare(
            credential,
            key_id=occasion.key_id,
            salt=occasion.salt,
            created=occasion.at,
            hmac_key=secrets.token_bytes(HMAC_KEY_BYTES),
            # Signs this document's statements and nothing else; nobody keeps it.
            proof_key=LocalSigner(ec.generate_private_key(ec.SECP256R1())),
        ).stored()

    def signing_input(self, kept: bytes) -> bytes:
        return selective.Prepared.of_stored(kept).signing_input

    def complete(self, kept: bytes, signature: bytes) -> str:
        return selective.Prepared.of_stored(kept).complete(signature)

    def digest(self, kept: bytes, signature: bytes) -> bytes:
        return from_b64url(selective.Prepared.of_stored(kept).digest(signature))


#: The formats beside SD-JWT VC.
FORMATS: Final[Mapping[int, Format]] = {
    credential_pb2.FORMAT_VC_JWT: _W3c(w3c.Form.JWT, ES256),
    credential_pb2.FORMAT_VC_DATA_INTEGRITY: _W3c(w3c.Form.DATA_INTEGRITY, ED25519, ES256),
    credential_pb2.FORMAT_OPEN_BADGE_JWT: _W3c(w3c.Form.BADGE_JWT, ES256),
    credential_pb2.FORMAT_OPEN_BADGE: _W3c(w3c.Form.BADGE, ED25519, ES256),
    credential_pb2.FORMAT_EDC: _Edc(),
    credential_pb2.FORMAT_ELMO: _Elmo(),
    credential_pb2.FORMAT_VC_SELECTIVE: _Selective(),
    credential_pb2.FORMAT_VC_JCS: _W3c(w3c.Form.JCS, ED25519, ES256),
    credential_pb2.FORMAT_VC_JWT_ED25519: _W3c(w3c.Form.JWT, ED25519),
}
