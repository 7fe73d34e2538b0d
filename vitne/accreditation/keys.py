"""The public keys that the registry's facts give somebody, ready to verify with."""

from __future__ import annotations

from datetime import datetime

from vitne.accreditation.facts import key_counts_at
from vitne.accreditation.projection import Projection
from vitne.credentials.jose import PublicKey, parse_public_jwk
from vitne.errors import VitneError
from vitne_api.registry.v1 import facts_pb2


def public_keys(
    projection: Projection, owner: str, use: facts_pb2.KeyUse.ValueType, at: datetime
) -> dict[str, PublicKey]:
    """An organisation's keys for a use that count at an instant, by thumbprint (RFC 7638)."""
    keys: dict[str, PublicKey] = {}
    for key in projection.keys_of(owner, use):
        if key_counts_at(key, at):
            try:
                parsed = parse_public_jwk(key.public_jwk)
            except VitneError:
                continue  # a key that can't be read verifies nothing
            keys[parsed.key_id] = parsed
    return keys
