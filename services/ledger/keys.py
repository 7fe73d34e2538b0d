"""The ledger's two keys: one for status lists, one for checkpoints."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

from vitne.canonical import from_b64url
from vitne.credentials.jose import ED25519, ES256, Signer
from vitne.merkle.notes import NoteKey, NoteSigner
from vitne.runtime.custody import KeyCustody
from vitne.runtime.signing import MeasuredSigner

#: Labels in the key custody.
STATUS_LIST_LABEL: Final = "status-list"
CHECKPOINT_LABEL: Final = "checkpoint"


@dataclass(frozen=True, slots=True)
class LedgerKeys:
    """The keys, made when there are none."""

    status_list: Signer
    checkpoint: Signer

    @classmethod
    def ensure(cls, custody: KeyCustody) -> LedgerKeys:
        """The keys in custody; made now if there are none."""
        return cls(
            MeasuredSigner(custody.ensure(STATUS_LIST_LABEL, ES256), "status_list"),
            MeasuredSigner(custody.ensure(CHECKPOINT_LABEL, ED25519), "checkpoint"),
        )

    def note_signer(self, origin: str) -> NoteSigner:
        """What signs the checkpoints of a log."""
        public = from_b64url(self.checkpoint.public_jwk["x"])
        return NoteSigner(NoteKey(origin, public), self.checkpoint.sign)

    def to_json(self) -> str:
        """What the operator registers: ``[{"use", "public_jwk"}]``, with ``use`` a name of ``KeyUse``."""
        entries = [
            {"use": "KEY_USE_STATUS_LIST", "public_jwk": self.status_list.public_jwk},
            {"use": "KEY_USE_CHECKPOINT", "public_jwk": self.checkpoint.public_jwk},
        ]
        return json.dumps(entries, indent=2)
