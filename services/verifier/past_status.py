"""What a status was at an instant, with all that it rests on, in one file that can be checked without a network.

Beside the ledger's answer the file has the registry's signed list, which says whose keys sign status lists and log. A
reader needs the key that signs that list, and a policy where witnesses are to have seen it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from services.verifier.offline import knowledge_of, log_policy, require_place, require_seen
from vitne.accreditation import read_statement
from vitne.accreditation.trust_list import CLOCK_SKEW
from vitne.audit.status_evidence import ProvenStatus, StatusEvidence, verify_status
from vitne.canonical import instant_text, parse_instant
from vitne.credentials.jose import strict_json
from vitne.credentials.model import StatusReference
from vitne.errors import InvalidArgument
from vitne.merkle.policy import Policy
from vitne_api.registry.v1 import facts_pb2

#: Version of the form.
VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class PastStatus:
    """What is in the file.

    Attributes:
        at: the instant that was asked for.
        known_at: by what was recorded up to then.
        collected: when the registry's list was in force that is in it.
        statement: that list.
        facts: what it names.
        evidence: what the ledger answered.
    """

    at: datetime
    known_at: datetime
    collected: datetime
    statement: str = field(repr=False)
    facts: bytes = field(repr=False)
    evidence: StatusEvidence = field(repr=False)

    def to_json(self) -> bytes:
        """As a file."""
        members = {
            "v": VERSION,
            "at": instant_text(self.at),
            "known_at": instant_text(self.known_at),
            "collected": instant_text(self.collected),
            "trust_list": self.statement,
            "facts": self.facts.decode(),
            "status": self.evidence.to_members(),
        }
        return json.dumps(members, indent=1, ensure_ascii=False).encode()

    @classmethod
    def from_json(cls, data: bytes) -> PastStatus:
        """Read a file; what it says is still to be verified.

        Raises:
            InvalidArgument: ``BAD_PAST_STATUS``, or as :meth:`StatusEvidence.from_members`.
        """
        match strict_json(data, field="file"):
            case {
                "v": 1,
                "at": str(at),
                "known_at": str(known_at),
                "collected": str(collected),
                "trust_list": str(statement),
                "facts": str(facts),
                "status": status,
                **more,
            } if not more:
                return cls(
                    parse_instant(at, field="at"),
                    parse_instant(known_at, field="known_at"),
                    parse_instant(collected, field="collected"),
                    statement,
                    facts.encode(),
                    StatusEvidence.from_members(status),
                )
            case _:
                raise InvalidArgument(
                    "BAD_PAST_STATUS",
                    "not a file with what a status was",
                    rule="docs/log.md, Ask what was",
                    remedy="ask again with the verifier's command status, and --out",
                )


def verify_past_status(
    kept: PastStatus,
    *,
    reference: StatusReference | None,
    registry_key: str,
    registry_uri: str,
    log_origin: str,
    policy: Policy | None,
) -> ProvenStatus:
    """Check what a status was.

    Args:
        kept: what was asked, and answered.
        reference: the place that the credential names; None: whose place it is, is not looked at.
        registry_key: thumbprint of the key that signs the registry's list: pinned.
        registry_uri: who issues it.
        log_origin: name of the first log, where there is no policy.
        policy: the log's key and its witnesses'; None: the log's registered keys, and nobody else need have seen it.

    Raises:
        InvalidArgument: ``STATUS_OF_ANOTHER``; ``TRUST_LIST_EARLIER``: the registry's list is of before what is to be
            proved; ``BAD_TRUST_LIST``; ``STATUS_NOT_PROVED``, and the others of
            :func:`~vitne.audit.status_evidence.verify_status`; ``WITNESSED_LATER``.
        Unavailable: ``TRUST_LIST_EXPIRED``, ``STATUS_LIST_STALE``, ``STATUS_LIST_FUTURE``.
        DataLoss: ``LOG_FORKED``.
        PermissionDenied: ``QUORUM_MISSING``.
    """
    if reference is not None:
        require_place(kept.evidence, reference)
    if kept.known_at - kept.collected > CLOCK_SKEW:
        raise InvalidArgument(
            "TRUST_LIST_EARLIER",
            f"the registry's list is as of {instant_text(kept.collected)}, and the status as known at "
            f"{instant_text(kept.known_at)}",
            field="collected",
            rule="the list by which keys count is no earlier than what they are to have signed",
            remedy="ask again with the verifier's command status, and --out",
        )
    statement = read_statement(kept.statement, pinned=registry_key, issuer=registry_uri, now=kept.collected)
    knowledge = knowledge_of(statement, kept.facts, registry_key)
    keys = {
        name: key
        for instant in (kept.at, kept.known_at)
        for name, key in knowledge.operator_keys(facts_pb2.KEY_USE_STATUS_LIST, instant).items()
    }
    proved = verify_status(
        kept.evidence,
        at=kept.at,
        known_at=kept.known_at,
        find_key=keys.get,
        policy=log_policy(knowledge, log_origin, kept.collected, kept.evidence.succession, policy),
    )
    # Who gets hold of the lists' key can sign one for an instant of before, but can't have had it witnessed then.
    require_seen(proved.seen_then, kept.at)
    require_seen(proved.seen, kept.known_at)
    return proved
