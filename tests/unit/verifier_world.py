"""A small world to verify in: a registry, an issuer, lists and a log that sign for real; only wires are missing."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from services.verifier.evidence import Inclusions, StatusLists
from services.verifier.knowledge import Knowledge
from services.verifier.verification import Verification, Verifier
from tests.unit.accreditation_samples import ALL, DAI, T0, UCL, Chronicle, achievement, scope
from tests.unit.log_samples import cosigner, policy_text
from vitne.accreditation import Projection, decide, leaf_of, record_of, timestamp
from vitne.accreditation.facts import fact_digest_text
from vitne.canonical import from_b64url
from vitne.clock import Clock, ManualClock
from vitne.credentials import sd_jwt_vc
from vitne.credentials.artefact import sd_jwt_digest
from vitne.credentials.jose import LocalSigner
from vitne.credentials.model import AwardingBody, Credential, DecisionReference, Learner, StatusReference
from vitne.credentials.status_list import MEDIA_TYPE, pack, sign_token
from vitne.credentials.trust_anchors import TrustAnchors
from vitne.errors import NotFound, Unavailable
from vitne.frameworks import Frameworks
from vitne.identifiers import LearnerId
from vitne.merkle.cosignatures import cosign
from vitne.merkle.leaves import Issued
from vitne.merkle.notes import Checkpoint, NoteKey, NoteSigner, sign_checkpoint, split_note
from vitne.merkle.policy import Policy
from vitne.merkle.proofs import make_proof, plan_consistency, plan_inclusion
from vitne.merkle.succession import Succession, state_succession
from vitne.merkle.tree import CompactTree, Node
from vitne.runtime.fetch import Fetched
from vitne_api.credential.v1 import credential_pb2
from vitne_api.ledger.v1 import ledger_pb2
from vitne_api.registry.v1 import facts_pb2

OPERATOR = "0192:919477822"
LIST = "https://status.vitne.example/dk/1"
ORIGIN = "log.vitne.example/2026"
REGISTRY = "https://registry.vitne.example"
NOW = datetime.fromisoformat("2026-11-21T10:00:00+00:00")
ISSUED = NOW - timedelta(hours=1)


def p256(number: int) -> LocalSigner:
    return LocalSigner(ec.derive_private_key(number, ec.SECP256R1()))


PROVIDER_KEY, FOREIGN_KEY, LIST_KEY, TRUST_KEY, HOLDER_KEY = (p256(number) for number in range(501, 506))
CHECKPOINT_KEY = LocalSigner(ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
OTHER_CHECKPOINT_KEY = LocalSigner(ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(1, 33))))


class MemoryLog:
    """A log in memory, with real proofs and checkpoints."""

    def __init__(self) -> None:
        self.origin = ORIGIN
        self.signer = CHECKPOINT_KEY
        self.asked = 0
        self.failure: Exception | None = None
        self.change: Callable[[ledger_pb2.GetInclusionProofResponse], None] = lambda _: None
        #: Checkpoints that a witness cosigned, by size, oldest first.
        self.cosigned: list[tuple[int, str]] = []
        self._tree = CompactTree()
        self._nodes: dict[Node, bytes] = {}
        self._index: dict[bytes, int] = {}
        self.statements: list[str] = []
        self.past: MemoryLog | None = None
        self.before = 0

    def end(self, origin: str, signer: LocalSigner) -> MemoryLog:
        """The log that follows this one, by a statement of both."""
        following = MemoryLog()
        following.origin, following.signer = origin, signer
        following.past, following.before = self, self.before + self._tree.size
        ended = Checkpoint(self.origin, self._tree.size, self._tree.root())
        stated = Succession(ended, following.note_signer.key, following.before)
        following.statements = [*self.statements, state_succession(stated, self.note_signer, following.note_signer)]
        return following

    def rotate(self, signer: LocalSigner) -> None:
        """Another key signs from now on, by a statement of both."""
        former, self.signer = self.note_signer, signer
        ended = Checkpoint(self.origin, self._tree.size, self._tree.root())
        stated = Succession(ended, self.note_signer.key, self.before)
        self.statements = [*self.statements, state_succession(stated, former, self.note_signer)]

    @property
    def note_signer(self) -> NoteSigner:
        return NoteSigner(NoteKey(self.origin, from_b64url(self.signer.public_jwk["x"])), self.signer.sign)

    @property
    def size(self) -> int:
        return self._tree.size

    def node(self, node: Node) -> bytes:
        return self._nodes[node]

    def append(self, leaf: bytes) -> None:
        self._index[leaf] = self._tree.size
        self._nodes.update(self._tree.append(leaf))

    def note(self) -> str:
        return sign_checkpoint(Checkpoint(self.origin, self._tree.size, self._tree.root()), self.note_signer)

    def cosign(self, at: datetime) -> None:
        """The witness sees what is there, at an instant."""
        note = self.note()
        self.cosigned.append((self._tree.size, note + cosign(split_note(note)[0], cosigner(0), at)))

    def proof(self, leaf: bytes, *, first: bool = False) -> ledger_pb2.GetInclusionProofResponse:
        if leaf not in self._index and self.past is not None:
            return self.past.proof(leaf, first=first)
        if leaf not in self._index:
            raise NotFound("LEAF_NOT_INTEGRATED", "the log has no such leaf")
        index = self._index[leaf]
        size, note = self._tree.size, self.note()
        if self.cosigned:
            having = [one for one in self.cosigned if one[0] > index]
            if not having:
                raise Unavailable("NOT_WITNESSED", "no witness has seen it")
            size, note = having[0 if first else -1]
        path = make_proof(plan_inclusion(index, size), self)
        return ledger_pb2.GetInclusionProofResponse(leaf_index=index, tree_size=size, path=path, checkpoint=note)

    async def prove(self, leaf_hash: bytes, *, first: bool = False) -> ledger_pb2.GetInclusionProofResponse:
        self.asked += 1
        await asyncio.sleep(0)
        if self.failure is not None:
            raise self.failure
        answer = self.proof(leaf_hash, first=first)
        self.change(answer)
        return answer

    async def consistency(self, origin: str, from_size: int, to_size: int) -> list[bytes]:
        if origin != self.origin and self.past is not None:
            return await self.past.consistency(origin, from_size, to_size)
        return make_proof(plan_consistency(from_size, to_size), self)

    async def succession(self) -> list[str]:
        return self.statements


class Publisher:
    """Publishes one status list, well or badly."""

    def __init__(self, clock: Clock) -> None:
        self.statuses = [0] * 1000
        self.options: dict[str, Any] = {}
        self.failure: Exception | None = None
        self.content_type = MEDIA_TYPE
        self.change: Callable[[str], str] = lambda token: token
        self.fetches = 0
        self._clock = clock

    def token(self) -> str:
        now = self._clock.now()
        options: dict[str, Any] = {
            "uri": LIST,
            "packed": pack(self.statuses, 2),
            "bits": 2,
            "issued_at": now,
            "expires_at": now + timedelta(minutes=15),
            "ttl": timedelta(seconds=10),
            "signer": LIST_KEY,
        }
        return self.change(sign_token(**options | self.options))

    async def fetch(self, url: str, *, accept: str = "", max_bytes: int | None = None) -> Fetched:
        self.fetches += 1
        if self.failure is not None:
            raise self.failure
        if url != LIST:
            raise Unavailable("FETCH_FAILED", "it answered 404")
        return Fetched(url, self.token().encode(), self.content_type, "")


@dataclass
class World:
    """Everything a verification rests on, to be changed by a test before it verifies."""

    catalogue: bool = True
    anchors: TrustAnchors | None = None
    frameworks: Frameworks = ALL
    clock: Clock = field(default_factory=lambda: ManualClock(NOW))
    chronicle: Chronicle = field(default_factory=Chronicle)
    log: MemoryLog = field(default_factory=MemoryLog)
    heard: timedelta = timedelta(seconds=2)
    logged_facts: int = 0
    #: None: nobody asks for witnesses.
    policy: Policy | None = None

    def __post_init__(self) -> None:
        self.publisher = Publisher(self.clock)
        for use, signer in (
            (facts_pb2.KEY_USE_STATUS_LIST, LIST_KEY),
            (facts_pb2.KEY_USE_CHECKPOINT, CHECKPOINT_KEY),
            (facts_pb2.KEY_USE_TRUST_LIST, TRUST_KEY),
        ):
            self.key(signer, OPERATOR, use)
        self.chronicle.authority(DAI, "DK")
        self.chronicle.provider(UCL)
        self.key(PROVIDER_KEY, UCL, facts_pb2.KEY_USE_CREDENTIAL)
        self.accreditation = self.accredit()
        self.achievement = achievement(
            UCL, "dk.micro_credential", level=("dk.nqf", "5"), workload=("ects", "1.25"), version=1
        )
        self.chronicle.publish(self.achievement)
        for number in range(5):
            self.log.append(bytes([number]) * 32)

    def key(self, signer: LocalSigner, owner: str, use: facts_pb2.KeyUse.ValueType, **changes: Any) -> facts_pb2.Fact:
        revision = changes.pop("revision", 1)
        key = facts_pb2.Key(
            id=signer.key_id,
            revision=revision,
            owner=owner,
            use=use,
            public_jwk=json.dumps(signer.public_jwk),
            valid_from=timestamp(changes.pop("valid_from", T0)),
            **{name: timestamp(moment) for name, moment in changes.items()},
        )
        return self.chronicle.record(owner, key=key)

    def accredit(self, **changes: Any) -> facts_pb2.Fact:
        covered = scope("dk.micro_credential", levels=[("dk.nqf", "5")], credit_unit="ects")
        return self.chronicle.accredit(UCL, "dk.institution", covered, authority=DAI, **changes)

    def projection(self) -> Projection:
        projection = self.chronicle.projection()
        if self.chronicle.facts:
            projection.heartbeat(len(self.chronicle.facts), self.clock.now() - self.heard, self.clock.now())
        return projection

    def credential(self, at: datetime | None = None, **changes: Any) -> Credential:
        """A credential as the issuer makes it, on a real decision unless one is given."""
        at = at or self.clock.now() - timedelta(hours=1)
        projection = self.chronicle.projection()
        decision = changes.pop("decision", None)
        if decision is None:
            outcome = decide(projection, ALL, UCL, self.achievement.id, self.achievement.version, at=at)
            decision = DecisionReference.parse(record_of(outcome).record)
        entry = projection.provider(UCL)
        assert entry is not None
        cited = projection.accreditation_fact(str(decision.accreditation_id), decision.accreditation_revision)
        fields: dict[str, Any] = {
            "id": UUID("01930f6e-7a00-7000-8000-00000000e001"),
            "achievement": self.achievement,
            "awarding_body": AwardingBody.of(entry),
            "learner": Learner(LearnerId("provider.local_id", "s1"), "Kari", "Prøvesen", date(1990, 1, 1)),
            "awarded_on": (at - timedelta(days=1)).date(),
            "grade": "12",
            "expires_on": None,
            "retention": credential_pb2.RETENTION_CLASS_ERASABLE,
            "decision": decision,
            "status": StatusReference(LIST, 7),
            "holder": None,
            "accreditation_digest": fact_digest_text(cited) if cited is not None else "",
        }
        return Credential(**fields | changes)

    def sign(
        self, credential: Credential, *, signer: LocalSigner = PROVIDER_KEY, key_id: str = "", logged: bool = True
    ) -> str:
        entropy = secrets.token_bytes(sd_jwt_vc.ENTROPY_BYTES)
        prepared = sd_jwt_vc.prepare(credential, key_id=key_id or signer.key_id, entropy=entropy)
        compact = prepared.complete(signer.sign(prepared.signing_input))
        if logged:
            self.log.append(Issued(from_b64url(sd_jwt_digest(compact))).leaf_hash())
            self.log.append(bytes(32))
        return compact

    def issue(self, **changes: Any) -> str:
        return self.sign(self.credential(**changes))

    def log_facts(self) -> None:
        """What the registry recorded arrives in the log, as it was recorded."""
        for fact in self.chronicle.facts[self.logged_facts :]:
            if (leaf := leaf_of(fact)) is not None:
                self.log.append(leaf.leaf_hash())
        self.logged_facts = len(self.chronicle.facts)

    def witnessed(self, at: datetime) -> None:
        """A witness sees everything that was recorded so far, at an instant; its cosignature is asked for from then."""
        self.log_facts()
        self.log.cosign(at)
        log = NoteSigner(NoteKey(ORIGIN, from_b64url(CHECKPOINT_KEY.public_jwk["x"])), CHECKPOINT_KEY.sign)
        self.policy = Policy.parse(policy_text(log, 1, "all"))

    def knowledge(self) -> Knowledge:
        return Knowledge(
            projection=self.projection(),
            frameworks=self.frameworks,
            operator=OPERATOR,
            registry_key="",
            bound=timedelta(minutes=10),
            catalogue=self.catalogue,
            anchors=self.anchors,
        )

    def verifier(self) -> Verifier:
        self.log_facts()
        knowledge = self.knowledge()
        statuses = StatusLists(self.publisher, knowledge, self.clock)
        return Verifier(
            knowledge, statuses, Inclusions(self.log, knowledge, ORIGIN, self.clock, self.policy), self.clock
        )

    async def verify(self, compact: str) -> Verification:
        return await self.verifier().verify(compact)
