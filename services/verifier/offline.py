"""Verifies a bundle as at the instant it was made for, with the same checks as any verification, and no network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from services.verifier import presented
from services.verifier.bundle_file import Bundle
from services.verifier.evidence import Inclusion
from services.verifier.knowledge import Knowledge
from services.verifier.settings import DEFAULT_REGISTRY_STALENESS_SECONDS
from services.verifier.verdict import dated
from services.verifier.verification import Verification, Verifier
from vitne.accreditation import Projection, Statement, read_facts, read_statement, registered_log
from vitne.audit.snapshots import REVOKED, SUSPENDED, VALID
from vitne.audit.status_evidence import StatusEvidence, verify_status
from vitne.canonical import instant_text
from vitne.clock import Clock, ManualClock
from vitne.credentials import status_list
from vitne.credentials.model import StatusReference
from vitne.credentials.status_list import StatusList
from vitne.credentials.trust_anchors import TrustAnchors
from vitne.errors import InvalidArgument, NotFound, VitneError
from vitne.frameworks import Frameworks, Standing
from vitne.merkle.policy import Policy
from vitne.merkle.tlog_proof import LogProof
from vitne_api.registry.v1 import facts_pb2

#: How much later than the bundle's instant witnesses may have seen what it proves. Whoever gets hold of a key years
#: later can sign for an instant of today, but can't have had it witnessed today.
WITNESSED_WITHIN: Final = timedelta(minutes=10)

#: A policy by which no checkpoint counts.
_NOBODY: Final = Policy((), {}, {}, "none", {})
_VALUES: Final = {VALID: status_list.VALID, REVOKED: status_list.INVALID, SUSPENDED: status_list.SUSPENDED}


async def verify_bundle(
    bundle: Bundle,
    *,
    registry_key: str,
    registry_uri: str,
    log_origin: str,
    policy: Policy | None,
    anchors: TrustAnchors | None = None,
) -> Verification:
    """Say what might be believed of the credential at the bundle's instant, which the headline names.

    Args:
        bundle: that was read.
        registry_key: thumbprint of the key that signs the registry's list: pinned.
        registry_uri: who issues it.
        log_origin: name of the first log, where there is no policy.
        policy: the log's key and its witnesses'; None: the log's keys are those in the registry, and those that
            followed them, and nobody else need have seen the log.
        anchors: authorities to which certificates that come along have to lead; None: they are not looked at.

    Where the bundle's list of the registry is refused, that is what the verdict says: nothing is determinable then.

    Raises:
        VitneError: as :func:`log_policy`.
    """
    clock = ManualClock(bundle.at)
    try:
        statement = read_statement(bundle.statement, pinned=registry_key, issuer=registry_uri, now=bundle.at)
        knowledge = knowledge_of(statement, bundle.facts, registry_key)
    except VitneError as error:
        why = "; ".join(each for each in (error.message, error.remedy) if each)
        unknown = _knowledge(Projection(), registry_key)
        knowledge = replace(unknown, refused=f"the bundle's trust list was not taken: {why}")
        # Of a registry that is not known, nothing more is looked at.
        trusted = _NOBODY
    else:
        trusted = log_policy(knowledge, log_origin, bundle.at, bundle.status.succession, policy)
    knowledge = replace(knowledge, anchors=anchors)
    try:
        reference = presented.read(bundle.credential).credential.status
    except VitneError:
        reference = None  # whatever it is: the verification says so
    statuses = BundledStatus(bundle.status, reference, knowledge, trusted, clock)
    verifier = Verifier(knowledge, statuses, _BundledLog(bundle.proofs, trusted, clock), clock)
    found = await verifier.verify(bundle.credential)
    # The instant is the word of whoever made the bundle, within that list's life: what was changed after the list, and
    # left out, nothing in the bundle can tell. So the first line names both.
    return replace(found, headline=dated(found.verdict, found.headline, bundle.at, statuses.listed_at))


def knowledge_of(statement: Statement, facts: bytes, registry_key: str) -> Knowledge:
    """What the registry's signed list says.

    Raises:
        InvalidArgument: ``BAD_TRUST_LIST``, ``BAD_FACT``.
    """
    projection = Projection()
    statement.fold_into(projection, read_facts(statement, facts))
    return _knowledge(projection, registry_key)


def _knowledge(projection: Projection, registry_key: str) -> Knowledge:
    return Knowledge(
        projection=projection,
        frameworks=Frameworks.load(Standing),
        operator="",
        registry_key=registry_key,
        bound=timedelta(seconds=DEFAULT_REGISTRY_STALENESS_SECONDS),
        catalogue=False,
    )


def log_policy(
    knowledge: Knowledge, origin: str, at: datetime, statements: Sequence[str], own: Policy | None
) -> Policy:
    """What checkpoints need: a relying party's own policy; of who has none: the operator's registered keys.

    Both lead on to the logs and keys that followed, by statements of succession.

    Args:
        knowledge: has the operator's keys.
        origin: of the first log.
        at: which keys count at this instant.
        statements: of succession, in their order.
        own: the relying party's; its logs' keys are pinned.

    Raises:
        VitneError: as :meth:`~vitne.merkle.succession.Lineage.follow`.
    """
    if own is not None:
        return own.following(statements)
    return registered_log(knowledge.projection, knowledge.owner, origin, at, statements).policy


class _BundledLog:
    """A :class:`~services.verifier.evidence.LogSource` that has a few proofs."""

    def __init__(self, proofs: Mapping[str, str], policy: Policy, clock: Clock) -> None:
        self._proofs = proofs
        self._policy = policy
        self._clock = clock

    async def inclusion(self, leaf_hash: bytes) -> Inclusion:
        text = self._proofs.get(leaf_hash.hex())
        if text is None:
            raise NotFound(
                "LEAF_NOT_PROVED",
                "the bundle has no proof of it",
                rule="a bundle has a proof of each leaf that its verification asks for",
                remedy="collect the bundle again",
            )
        proof = LogProof.parse(text)
        witnessed = proof.verify(leaf_hash, self._policy)
        require_seen(witnessed.seen, self._clock.now())
        return Inclusion(proof.index, witnessed.checkpoint, witnessed.log.text, witnessed.seen, before=witnessed.before)

    async def earliest(self, leaf_hash: bytes) -> Inclusion:
        # A bundle has one proof of a leaf: whichever it was collected with.
        return await self.inclusion(leaf_hash)


class BundledStatus:
    """A :class:`~services.verifier.evidence.StatusSource` that has one place of one list.

    Args:
        evidence: what is known of that place.
        reference: the place that the credential names; None: it can't be read.
        knowledge: has the operator's keys.
        policy: what checkpoints need.
        clock: tells the instant.
    """

    def __init__(
        self,
        evidence: StatusEvidence,
        reference: StatusReference | None,
        knowledge: Knowledge,
        policy: Policy,
        clock: Clock,
    ) -> None:
        self._evidence = evidence
        self._reference = reference
        #: Of when the list is, once it was proved.
        self.listed_at: datetime | None = None
        self._knowledge = knowledge
        self._policy = policy
        self._clock = clock

    async def status_list(self, uri: str) -> StatusList:
        evidence, now = self._evidence, self._clock.now()
        if evidence.list_url != uri or self._reference is None:
            raise InvalidArgument(
                "STATUS_LIST_SUBJECT",
                "the bundle has the status of another list",
                field="status",
                rule="the list that the credential names",
                remedy="collect the bundle again",
            )
        require_place(evidence, self._reference)
        keys = self._knowledge.operator_keys(facts_pb2.KEY_USE_STATUS_LIST, now)
        proved = verify_status(evidence, at=now, known_at=now, find_key=keys.get, policy=self._policy)
        require_seen(proved.seen, now)
        self.listed_at = proved.listed.issued_at
        # A change that was logged after the list counts: the list is read as it would have been signed then.
        bits, place = proved.listed.bits, evidence.index
        packed = bytearray(proved.listed.packed)
        byte, offset = divmod(place, 8 // bits)
        mask = (1 << bits) - 1
        packed[byte] = packed[byte] & ~(mask << offset * bits) | _VALUES[proved.status] << offset * bits
        return replace(proved.listed, packed=bytes(packed))


def require_place(evidence: StatusEvidence, reference: StatusReference) -> None:
    """Is it the place that a credential names, of which there is evidence?

    Raises:
        InvalidArgument: ``STATUS_OF_ANOTHER``.
    """
    if evidence.is_of(reference):
        return
    raise InvalidArgument(
        "STATUS_OF_ANOTHER",
        f"it is of place {evidence.index} of {evidence.list_url}, and the credential has place {reference.index} of "
        f"{reference.list}",
        field="status",
        rule="the list and the index that the credential names",
        remedy="collect it again, for this credential",
    )


def require_seen(seen: datetime | None, at: datetime) -> None:
    """Have witnesses seen something by an instant, or soon after it?

    Args:
        seen: when they had; None: nobody was asked for.
        at: the instant.

    Raises:
        InvalidArgument: ``WITNESSED_LATER``.
    """
    if seen is None or seen <= at + WITNESSED_WITHIN:
        return
    raise InvalidArgument(
        "WITNESSED_LATER",
        f"witnesses saw it only by {instant_text(seen)}, and it is to prove {instant_text(at)}",
        field="checkpoint",
        rule=f"within {WITNESSED_WITHIN.total_seconds():.0f} s of it",
        remedy="collect the bundle again; if it was collected as it should be, somebody dated it back",
    )
