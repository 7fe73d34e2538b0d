"""What hubs know learners and credentials by (RECORDS: Pseudonyms and handles).

All are HMAC-SHA-256 under the learner's random secret, with a domain string, so
that two hubs cannot link a learner, and nothing can be computed from a national
identity number, nor again once the secret is gone.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

from vitne.canonical import b64url
from vitne.identifiers import LearnerId

#: Length of a learner's secret and of the index key, in bytes.
SECRET_BYTES: Final = 32

_PSEUDONYM: Final = b"vitne/pseudonym/v1"
_HANDLE: Final = b"vitne/handle/v1"


def _hmac(key: bytes, *parts: bytes) -> bytes:
    if len(key) != SECRET_BYTES:
        raise ValueError(f"a secret has {SECRET_BYTES} bytes")
    return hmac.digest(key, b"\x00".join(parts), hashlib.sha256)


def pseudonym(secret: bytes, hub: str) -> str:
    """The learner's name for a hub, base64url.

    Args:
        secret: the learner's 32 random bytes.
        hub: the hub's organisation identifier, ``0192:919477822``.
    """
    return b64url(_hmac(secret, _PSEUDONYM, hub.encode()))


def handle(secret: bytes, hub: str, credential_id: str) -> str:
    """A credential's name for a hub, base64url; ``credential_id`` is its UUID in text form."""
    return b64url(_hmac(secret, _HANDLE, hub.encode(), credential_id.encode()))


def learner_index(index_key: bytes, learner: LearnerId) -> bytes:
    """What a learner's row is found by at issuance: 32 bytes, under a key that is the issuer's own."""
    return _hmac(index_key, learner.scheme.encode(), learner.value.encode())
