"""The ledger's keys: one for status lists, and those for checkpoints, of which one after the other signs."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Final

from vitne.canonical import from_b64url
from vitne.credentials.jose import ED25519, ES256, Signer
from vitne.errors import Unavailable
from vitne.merkle.notes import NoteKey, NoteSigner
from vitne.runtime.custody import KeyCustody
from vitne.runtime.signing import MeasuredSigner

#: Labels in the key custody; of the keys for checkpoints that follow the first: with their number.
STATUS_LIST_LABEL: Final = "status-list"
CHECKPOINT_LABEL: Final = "checkpoint"


@dataclass(frozen=True, slots=True)
class LedgerKeys:
    """The keys, made when there are none."""

    status_list: Signer
    checkpoint: Signer
    custody: KeyCustody = field(repr=False)

    @classmethod
    def ensure(cls, custody: KeyCustody) -> LedgerKeys:
        """The keys in custody; the first ones are made now if there are none."""
        return cls(
            MeasuredSigner(custody.ensure(STATUS_LIST_LABEL, ES256), "status_list"),
            MeasuredSigner(custody.ensure(CHECKPOINT_LABEL, ED25519), "checkpoint"),
            custody,
        )

    def note_signer(self, origin: str, number: int = 1) -> NoteSigner:
        """What signs the checkpoints of a log.

        Args:
            origin: of the log.
            number: of the key, from 1.

        Raises:
            Unavailable: ``LOG_KEY_MISSING``: the key was never put into custody here.
        """
        signer: Signer | None = self.checkpoint
        if number > 1:
            signer = self.custody.find(_label(number))
        if signer is None:
            raise Unavailable(
                "LOG_KEY_MISSING",
                f"key {number} for checkpoints is not in custody here",
                rule="all replicas have the keys of the log (docs/operating/log.md)",
                remedy="make it with next-key where that is done, and give it to every replica",
            )
        if number > 1:
            signer = MeasuredSigner(signer, "checkpoint")
        return NoteSigner(NoteKey(origin, from_b64url(signer.public_jwk["x"])), signer.sign)

    def to_json(self) -> str:
        """What the operator registers: ``[{"use", "public_jwk"}]``, with ``use`` a name of ``KeyUse``."""
        entries = [
            {"use": "KEY_USE_STATUS_LIST", "public_jwk": self.status_list.public_jwk},
            {"use": "KEY_USE_CHECKPOINT", "public_jwk": self.checkpoint.public_jwk},
        ]
        return json.dumps(entries, indent=2)


def ensure_checkpoint(custody: KeyCustody, number: int) -> Signer:
    """The key for checkpoints of a number, from 1; made now if there is none."""
    return custody.ensure(_label(number), ED25519)


def _label(number: int) -> str:
    return CHECKPOINT_LABEL if number == 1 else f"{CHECKPOINT_LABEL}-{number}"
