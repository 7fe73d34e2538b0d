"""What a status was, checked by somebody who has only what the ledger answered and public keys.

The signed lists that were in force, at the instant that is asked for and at the one when
that was known, are in the log by their digests, and so is every change of the place.
Inclusion proves what was logged, never that nothing else was: that no change is held back
is what each list says of its date. What no list showed at either date can be left out: a
change that was recorded after the instant as of before it, and undone by the time of the
other list. Who has the whole log sees that, too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from vitne.audit.snapshots import REVOKED, SUSPENDED, VALID
from vitne.canonical import b64url, from_b64url, sha256
from vitne.credentials import status_list
from vitne.credentials.jose import FindKey, strict_json
from vitne.credentials.model import StatusReference
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
class LoggedList:
    """A signed list, and the leaf that has its digest."""

    token: str
    leaf: ProvenLeaf

    def verify(self, uri: str, *, now: datetime, find_key: FindKey, policy: Policy) -> _Shown:
        """What it shows.

        Args:
            uri: of the list.
            now: when it was in force: it is not of later.
            find_key: of the operator's keys for status lists.
            policy: what checkpoints need.

        Raises:
            InvalidArgument: ``STATUS_NOT_PROVED``; and as :func:`verify_status`.
            Unavailable, PermissionDenied: as :func:`verify_status`.
        """
        # Signed a moment after the instant, it would show what became of the place by then.
        listed = status_list.verify_token(self.token, uri=uri, find_key=find_key, now=now, skew=timedelta(0))
        leaf, _, witnessed = self.leaf.verify(policy)
        if not isinstance(leaf, ListPublished) or leaf.list_url != uri:
            raise _unproved("the list's leaf is not that of the list")
        if leaf.digest != sha256(self.token.encode()):
            raise _unproved("the list's leaf has the digest of another version")
        return _Shown(listed, leaf, witnessed.seen)


@dataclass(frozen=True, slots=True)
class _Shown:
    """A list whose signature and leaf were checked, and when the witnesses of the quorum had seen the leaf."""

    listed: status_list.StatusList
    leaf: ListPublished
    seen: datetime | None


@dataclass(frozen=True, slots=True)
class StatusEvidence:
    """What the ledger answered (``StatusAt``).

    Attributes:
        list_url: of the list.
        index: place in it.
        token: the signed list in force when it was known.
        list_leaf: the leaf of that list.
        changes: leaves of the changes of this place, in order.
        succession: statements by which the logs of these leaves follow each other.
        then: the list in force at the instant that was asked for; None: it is the same.
    """

    list_url: str
    index: int
    token: str
    list_leaf: ProvenLeaf
    changes: Sequence[ProvenLeaf]
    succession: Sequence[str] = ()
    then: LoggedList | None = None

    def is_of(self, reference: StatusReference) -> bool:
        """Whether it is of the place that a credential names."""
        return (self.list_url, self.index) == (reference.list, reference.index)

    def to_members(self) -> dict[str, Any]:
        """As a JSON object."""
        members: dict[str, Any] = {
            "list": self.list_url,
            "index": self.index,
            "token": self.token,
            "list_leaf": _leaf_members(self.list_leaf),
            "changes": [_leaf_members(each) for each in self.changes],
        }
        if self.succession:  # Readers from before logs followed each other know no such member.
            members["succession"] = list(self.succession)
        if self.then is not None:  # Likewise from before there was one.
            members["then"] = {"token": self.then.token, "list_leaf": _leaf_members(self.then.leaf)}
        return members

    def to_json(self) -> bytes:
        """As a file."""
        return json.dumps(self.to_members(), indent=1).encode()

    @classmethod
    def from_json(cls, data: bytes) -> StatusEvidence:
        """Read such a file.

        Raises:
            InvalidArgument: ``BAD_STATUS_EVIDENCE``, ``BAD_BASE64URL``, ``BAD_JSON``.
        """
        return cls.from_members(strict_json(data, field="status"))

    @classmethod
    def from_members(cls, members: Any) -> StatusEvidence:
        """Read such an object.

        Raises:
            InvalidArgument: ``BAD_STATUS_EVIDENCE``, ``BAD_BASE64URL``.
        """
        match members:
            case {
                "list": str(url),
                "index": int(index),
                "token": str(token),
                "list_leaf": dict(list_leaf),
                "changes": list(changes),
                **more,
            } if type(index) is int and len(changes) <= MAX_CHANGES and more.keys() <= {"succession", "then"}:
                statements = _statements(more.get("succession", []))
                then = _list_of(more["then"]) if "then" in more else None
                leaves = [_leaf_of(each) for each in changes]
                return cls(url, index, token, _leaf_of(list_leaf), leaves, statements, then)
            case _:
                raise _bad("it has not got the members of such a file")


@dataclass(frozen=True, slots=True)
class ProvenStatus:
    """What was proved.

    Attributes:
        status: at the instant that was asked for.
        effective: since when; None: nobody ever changed it.
        recorded: when that was recorded.
        listed: the signed list when it was known: no change that it should show can be held back.
        then: the signed list at the instant that was asked for; likewise. It may be the same.
        seen: when the witnesses of the quorum had seen all of it; None: the policy asks for none.
        seen_then: likewise the list at the instant that was asked for: long after it, somebody may have dated it back.
    """

    status: str
    effective: datetime | None
    recorded: datetime | None
    listed: status_list.StatusList
    then: status_list.StatusList
    seen: datetime | None
    seen_then: datetime | None


def verify_status(
    evidence: StatusEvidence, *, at: datetime, known_at: datetime, find_key: FindKey, policy: Policy
) -> ProvenStatus:
    """Check what a status was at an instant, as known at another.

    Args:
        evidence: as the ledger answered it.
        at: for which instant; not after ``known_at``.
        known_at: by what was recorded up to then.
        find_key: of the operator's keys for status lists: those that counted at either instant.
        policy: what checkpoints need.

    Raises:
        DataLoss: ``LOG_FORKED``: the statements of succession contradict each other.
        InvalidArgument: ``STATUS_NOT_PROVED``; and as :func:`~vitne.credentials.status_list.verify_token`,
            :meth:`ProvenLeaf.verify`.
        Unavailable: ``STATUS_LIST_STALE``, ``STATUS_LIST_FUTURE``: a list was not in force at its instant.
        PermissionDenied: ``QUORUM_MISSING``.
    """
    if at > known_at:
        raise _unproved("a status is known for instants that have been")
    policy = policy.following(evidence.succession)
    newest = LoggedList(evidence.token, evidence.list_leaf).verify(
        evidence.list_url, now=known_at, find_key=find_key, policy=policy
    )
    if evidence.then is not None:
        then = evidence.then.verify(evidence.list_url, now=at, find_key=find_key, policy=policy)
    elif newest.listed.issued_at <= at:
        then = newest
    else:
        raise _unproved("the list in force at the instant that was asked for is not in it")
    seen = [newest.seen, then.seen]
    changes: list[tuple[int, StatusChanged]] = []
    for each in evidence.changes:
        leaf, index, witnessed = each.verify(policy)
        seen.append(witnessed.seen)
        if not isinstance(leaf, StatusChanged) or (leaf.list_url, leaf.index) != (evidence.list_url, evidence.index):
            raise _unproved("a change is of another place")
        if leaf.recorded <= known_at:
            changes.append((index, leaf))
    if len({index for index, _ in changes}) < len(changes):
        raise _unproved("a change is in it twice")
    changes.sort(key=lambda change: (change[1].recorded, change[0]))
    _check_listed(newest, evidence.index, changes)
    if then is not newest:
        _check_listed(then, evidence.index, [(index, leaf) for index, leaf in changes if leaf.recorded <= at])
    last = next((leaf for _, leaf in reversed(changes) if leaf.effective <= at), None)
    times = [time for time in seen if time is not None]
    return ProvenStatus(
        last.status if last else VALID,
        last.effective if last else None,
        last.recorded if last else None,
        newest.listed,
        then.listed,
        max(times) if times else None,
        then.seen,
    )


def _check_listed(shown: _Shown, index: int, changes: Sequence[tuple[int, StatusChanged]]) -> None:
    """The list shows every change that its leaf says it reflects, and nothing that is not among the changes."""
    reflected = sum(place < shown.leaf.tree_size for place, _ in changes)
    possible = [VALID, *(leaf.status for _, leaf in changes)][reflected:]
    said = _NAMES.get(shown.listed.status_at(index))
    if said not in possible:
        raise _unproved(
            f"the list of {shown.listed.issued_at.isoformat()} says {said}, which the changes do not explain"
        )


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


def _list_of(members: Any) -> LoggedList:
    match members:
        case {"token": str(token), "list_leaf": dict(leaf), **more} if not more:
            return LoggedList(token, _leaf_of(leaf))
        case _:
            raise _bad("a list of then has a token and a leaf")


def _bad(why: str) -> InvalidArgument:
    return InvalidArgument(
        "BAD_STATUS_EVIDENCE",
        f"not evidence of a status: {why}",
        field="status",
        rule="list, index, token, list_leaf, changes and, where it is another, then: as StatusAt answers them",
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
