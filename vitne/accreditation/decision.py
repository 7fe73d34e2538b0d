"""The record of a decision, made once per issuance and bound into what is signed (RECORDS: Decision)."""

from __future__ import annotations

from dataclasses import dataclass

from vitne.accreditation.decide import DecisionOutcome
from vitne.accreditation.facts import timestamp
from vitne.canonical import canonical_bytes, digest_text, instant_text
from vitne_api.credential.v1 import credential_pb2


@dataclass(frozen=True, slots=True)
class DecisionRecord:
    """What was decided, as canonical bytes, with their digest."""

    #: RFC 8785 JSON.
    record: bytes
    #: SHA-256 of ``record``, base64url.
    digest: str
    outcome: DecisionOutcome

    def to_proto(self) -> credential_pb2.Decision:
        """The same as a message."""
        return credential_pb2.Decision(
            digest=self.digest,
            record=self.record,
            accreditation_id=self.outcome.accreditation_id,
            accreditation_revision=self.outcome.accreditation_revision,
            rule=self.outcome.rule,
            at=timestamp(self.outcome.at),
        )


def record_of(outcome: DecisionOutcome) -> DecisionRecord:
    """The record of a decision that allows.

    Raises:
        FailedPrecondition: the outcome's own refusal: what is not allowed has no record.
    """
    if not outcome.allowed:
        raise outcome.to_error()
    record = canonical_bytes(
        {
            "accreditation": {"id": outcome.accreditation_id, "revision": outcome.accreditation_revision},
            "achievement": {"id": outcome.achievement_id, "version": outcome.achievement_version},
            "at": instant_text(outcome.at),
            "framework": {"country": outcome.country, "version": outcome.framework_version},
            "outcome": "allowed",
            "provider": outcome.provider,
            "registry_revision": outcome.known_at,
            "rule": outcome.rule,
        }
    )
    return DecisionRecord(record, digest_text(record), outcome)
