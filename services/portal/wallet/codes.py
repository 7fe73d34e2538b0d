"""What opens an offer: a reference that nobody can guess, the code derived from it, a short one beside it. Pure."""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass, field
from hashlib import sha256 as _sha256
from typing import Final, Self

from vitne.canonical import b64url, sha256

#: Random bytes of a reference and of an access token; the pre-authorized code has as many.
SECRET_BYTES: Final = 32
#: Characters of a reference.
REFERENCE_LENGTH: Final = 43
#: Digits of a transaction code: with :data:`.terms.MAX_TRIES` one guess in 200,000 offers is right.
TX_CODE_LENGTH: Final = 6
_CODE: Final = b"vitne/portal/pre-authorized-code/v1"
_TX_CODE: Final = b"vitne/portal/tx-code/v1\x00"


@dataclass(frozen=True, slots=True)
class OfferSecrets:
    """What an offer's learner is told once.

    Attributes:
        reference: ends the address of the offer; 256 random bits.
        tx_code: she enters it in her wallet; :data:`TX_CODE_LENGTH` digits.
    """

    reference: str = field(repr=False)
    tx_code: str = field(repr=False)

    @classmethod
    def new(cls) -> Self:
        """Fresh ones."""
        return cls(
            secrets.token_urlsafe(SECRET_BYTES), "".join(secrets.choice("0123456789") for _ in range(TX_CODE_LENGTH))
        )

    @property
    def code(self) -> str:
        """The pre-authorized code."""
        return pre_authorized_code(self.reference)


def pre_authorized_code(reference: str) -> str:
    """The pre-authorized code of the offer with this reference: so neither has to be kept."""
    return b64url(hmac.digest(reference.encode("utf-8", "replace"), _CODE, _sha256))


def new_access_token() -> str:
    """A fresh access token; opaque to wallets."""
    return secrets.token_urlsafe(SECRET_BYTES)


def hash_of(secret: str) -> bytes:
    """What is kept of a reference, a code or an access token, which have as many random bits as any hash."""
    return sha256(secret.encode("utf-8", "replace"))


def tx_code_hash(code: str, tx_code: str) -> bytes:
    """What is kept of a transaction code. What guards it is the pre-authorized code, which is not kept."""
    return hmac.digest(code.encode("utf-8", "replace"), _TX_CODE + tx_code.encode("utf-8", "replace"), _sha256)


def is_tx_code(code: str, tx_code: str, kept: bytes) -> bool:
    """Whether a transaction code is the one that goes with a pre-authorized code; in constant time."""
    return hmac.compare_digest(tx_code_hash(code, tx_code), kept)
