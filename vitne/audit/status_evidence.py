"""What a status was, checked by somebody who has only what the ledger answered and public keys.

The signed list that was in force is in the log by its digest, and so is every change of
the place. Inclusion proves what was logged, never that nothing else was: that no later
change is held back is what the list itself says, up to its date.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from vitne.audit.snapshots import REVOKED, SUSPENDED, VALID
from vitne.canonical import b64url, from_b64url, sha256
from vitne.credentials import status_list
from vitne.credentials.jose import FindKey, strict_json
from vitne.errors import InvalidArgument
from vitne.merkle.hashing import leaf_hash
from vitne.merkle.leaves import Leaf, ListPublished, StatusChanged, parse_leaf
from vitne.merkle.policy import Policy, Witnessed
from vitne.merkle.tlog_proof import LogProof

#: Most changes of one place that are looked at.
MAX_CHANGES: Final = 1000

_NAMES: Final = {status_list.VALID: VALID, status_list.INVALID: REVOKED, status_list.SUSPENDED: SUSPENDED}


@dataclass(frozen=True, slots=True)
class ProvenLeaf:
    """A leaf's canonical bytes, and its proof as text (C2SP tlog-proof)."""

    record: bytes
    proof: str

    def verify(self, policy: Policy) -> tuple[Leaf, int, Witnessed]:
        """The leaf, its place among those of all logs that follow each other, and the checkpoint that has it.

        Raises:
            InvalidArgument: ``BAD_LEAF``, or as :meth:`LogProof.verify`.
            PermissionDenied: ``QUORUM_MISSING``.
        """
        proof = LogProof.parse(self.proof)
        witnessed = proof.verify(leaf_hash(self.record), policy)
        return parse_leaf(self.record), witnessed.before + proof.index, witnessed


@dataclass(frozen=True, slots=True)
class StatusEvidence:
    """What the ledger answered (``StatusAt``).

    Attributes:
        list_url: of the list.
        index: place in it.
        token: the signed list in force.
        list_leaf: the leaf of that list.
        changes: leaves of the changes of this place, in order.
        succession: statements by which the logs of these leaves follow each other.
    """

    list_url: str
    index: int
    token: str
    list_leaf: ProvenLeaf
    changes: Sequence[ProvenLeaf]
    succession: Sequence[str] = ()

    def to_json(self) -> bytes:
        """As a file."""
        members: dict[str, Any] = {
            "list": self.list_url,
            "index": self.index,
            "token": self.token,
            "list_leaf": _leaf_members(self.list_leaf),
            "changes": [_leaf_members(each) for each in self.changes],
        }
        if self.succession:  # Readers from before logs followed each other know no such member.
            members["succession"] = list(self.succession)
        return json.dumps(members, indent=1).encode()

    @classmethod
    def from_json(cls, data: bytes) -> StatusEvidence:
        """Read such a file.

        Raises:
            InvalidArgument: ``BAD_STATUS_EVIDENCE``, ``BAD_BASE64URL``, ``BAD_JSON``.
        """
        match strict_json(data, field="status"):
            case {
                "list": str(url),
                "index": int(index),
                "token": str(token),
                "list_leaf": dict(list_leaf),
                "changes": list(changes),
                **more,
            } if len(changes) <= MAX_CHANGES and more.keys() <= {"succession"}:
                statements = _statements(more.get("succession", []))
                return cls(url, index, token, _leaf_of(list_leaf), [_leaf_of(each) for each in changes], statements)
            case _:
                raise _bad("it has not got the members of such a file")


@dataclass(frozen=True, slots=True)
class ProvenStatus:
    """What was proved.

    Attributes:
        status: at the instant that was asked for.
        effective: since when; None: nobody ever changed it.
        recorded: when that was recorded.
        listed: the signed list, whose date is how far no change can be held back.
        seen: when the witnesses of the quorum had seen all of it; None: the policy asks for none.
    """

    status: str
    effective: datetime | None
    recorded: datetime | None
    listed: status_list.StatusList
    seen: datetime | None


def verify_status(
    evidence: StatusEvidence, *, at: datetime, known_at: datetime, find_key: FindKey, policy: Policy
) -> ProvenStatus:
    """Check what a status was at an instant, as known at another.

    Args:
        evidence: as the ledger answered it.
        at: for which instant; not after ``known_at``.
        known_at: by what was recorded up to then.
        find_key: of the operator's keys for status lists.
        policy: what checkpoints need.

    Raises:
        DataLoss: ``LOG_FORKED``: the statements of succession contradict each other.
        InvalidArgument: ``STATUS_NOT_PROVED``; and as :func:`~vitne.credentials.status_list.verify_token`,
            :meth:`ProvenLeaf.verify`.
        Unavailable: ``STATUS_LIST_STALE``, ``STATUS_LIST_FUTURE``: the list was not in force at ``known_at``.
        PermissionDenied: ``QUORUM_MISSING``.
    """
    if at > known_at:
        raise _unproved("a status is known for instants that have been")
    policy = policy.following(evidence.succession)
    listed = status_list.verify_token(evidence.token, uri=evidence.list_url, find_key=find_key, now=known_at)
    list_leaf, _, witnessed = evidence.list_leaf.verify(policy)
    if not isinstance(list_leaf, ListPublished) or list_leaf.list_url != evidence.list_url:
        raise _unproved("the list's leaf is not that of the list")
    if list_leaf.digest != sha256(evidence.token.encode()):
        raise _unproved("the list's leaf has the digest of another version")
    seen = [witnessed.seen]
    changes: list[tuple[int, StatusChanged]] = []
    for each in evidence.changes:
        leaf, index, witnessed = each.verify(policy)
        seen.append(witnessed.seen)
        if not isinstance(leaf, StatusChanged) or (leaf.list_url, leaf.index) != (evidence.list_url, evidence.index):
            raise _unproved("a change is of another place")
        if leaf.recorded <= known_at:
            changes.append((index, leaf))
    changes.sort(key=lambda change: change[1].recorded)
    _check_listed(listed, evidence.index, changes, list_leaf.tree_size)
    then = next((leaf for _, leaf in reversed(changes) if leaf.effective <= at), None)
    times = [time for time in seen if time is not None]
    return ProvenStatus(
        then.status if then else VALID,
        then.effective if then else None,
        then.recorded if then else None,
        listed,
        max(times) if times else None,
    )


def _check_listed(
    listed: status_list.StatusList, index: int, changes: Sequence[tuple[int, StatusChanged]], tree_size: int
) -> None:
    """The list shows every change that its leaf says it reflects, and nothing that is not among the changes."""
    reflected = sum(place < tree_size for place, _ in changes)
    possible = [VALID, *(leaf.status for _, leaf in changes)][reflected:]
    said = _NAMES.get(listed.status_at(index))
    if said not in possible:
        raise _unproved(f"the list says {said}, which the changes do not explain")


def _statements(found: Any) -> tuple[str, ...]:
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise _bad("its statements of succession are not texts")
    return tuple(found)


def _leaf_members(leaf: ProvenLeaf) -> dict[str, str]:
    return {"record": b64url(leaf.record), "proof": leaf.proof}


def _leaf_of(members: Mapping[str, Any]) -> ProvenLeaf:
    match members:
        case {"record": str(record), "proof": str(proof)}:
            return ProvenLeaf(from_b64url(record, field="record"), proof)
        case _:
            raise _bad("a leaf has a record and a proof")


def _bad(why: str) -> InvalidArgument:
    return InvalidArgument(
        "BAD_STATUS_EVIDENCE",
        f"not evidence of a status: {why}",
        field="status",
        rule="list, index, token, list_leaf and changes, as StatusAt answers them",
        remedy="collect it again from the ledger",
    )


def _unproved(why: str) -> InvalidArgument:
    return InvalidArgument(
        "STATUS_NOT_PROVED",
        f"the evidence does not prove the status: {why}",
        field="status",
        rule="RECORDS, What a proof says",
        remedy="collect it again; if it stays so, keep it: the ledger contradicts itself",
    )
