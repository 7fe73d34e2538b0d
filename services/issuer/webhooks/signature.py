"""Secrets and signatures of Standard Webhooks 1.0.0, "Signature scheme" (symmetric, ``v1``)."""

from __future__ import annotations

import base64
import hmac
import secrets
from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256
from typing import Final
from uuid import UUID

#: Bytes of a secret: the specification asks for 24 to 64.
SECRET_BYTES: Final = 32
_PREFIX: Final = "whsec_"


def new_secret() -> bytes:
    """A fresh secret."""
    return secrets.token_bytes(SECRET_BYTES)


def secret_text(secret: bytes) -> str:
    """A secret as its receiver is given it."""
    return _PREFIX + base64.b64encode(secret).decode("ascii")


def signed_headers(event: UUID, at: datetime, body: bytes, secrets_: Sequence[bytes]) -> dict[str, str]:
    """The ``webhook-…`` headers of one attempt.

    Args:
        event: the same for every attempt and replay.
        at: instant of this attempt; receivers refuse what is much older or newer.
        body: exactly the bytes that are sent.
        secrets_: those that sign, the present one first; several while one is rotated.
    """
    timestamp = int(at.timestamp())
    signed = f"{event}.{timestamp}.".encode() + body
    signatures = (base64.b64encode(hmac.digest(secret, signed, sha256)).decode("ascii") for secret in secrets_)
    return {
        "webhook-id": str(event),
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }
