"""What is compared: each service's state, copied at one instant at which nothing was under way.

Nothing here knows a service's code, nor where the copies come from: databases,
pages, topics, or files that an auditor was given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from vitne_api.registry.v1 import facts_pb2

#: Statuses as everything here names them.
VALID, SUSPENDED, REVOKED = "valid", "suspended", "revoked"


@dataclass(frozen=True, slots=True)
class Credential:
    """A credential as the issuer has it.

    Attributes:
        id: of the credential.
        request: what its request is recognised by: provider, request id, item; opaque, and unique.
        learner: the issuer's own id of the learner.
        provider: who issued it.
        kind: of credential.
        list_url: its status list.
        index: its place there.
        status: as the issuer last heard.
        digest: of the artefact, 32 bytes; None while it is pending.
    """

    id: UUID
    request: tuple[str, str, str]
    learner: UUID
    provider: str
    kind: str
    list_url: str
    index: int
    status: str
    digest: bytes | None


@dataclass(frozen=True, slots=True)
class Registration:
    """A learner who is registered with a hub."""

    hub: str
    pseudonym: str
    learner: UUID


@dataclass(frozen=True, slots=True)
class Handle:
    """A credential that a hub may fetch, by the hub's own name for it."""

    hub: str
    handle: str
    credential: UUID
    learner: UUID


@dataclass(frozen=True, slots=True)
class Block:
    """Status indexes that the issuer leased and has not given out.

    Attributes:
        request_id: of the lease.
        list_url: of the list; None while the request is open, which is repeated until it is answered.
        indexes: that are left.
        size: how many were asked for, or given.
    """

    request_id: UUID
    list_url: str | None
    indexes: Sequence[int]
    size: int


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a consumer got in a partition."""

    consumer: str
    topic: str
    partition: int
    next_offset: int


@dataclass(frozen=True, slots=True)
class ParkedMessage:
    """A message that a consumer could not handle, or that waits."""

    consumer: str
    topic: str
    partition: int
    offset: int
    state: str
    reason: str


@dataclass(frozen=True, slots=True)
class Aggregate:
    """The last revision of an aggregate, and where its events go."""

    name: str
    topic: str
    key: str
    revision: int


@dataclass(frozen=True, slots=True)
class Messaging:
    """A service's outbox and consumers.

    Attributes:
        service: its name.
        unpublished: how many events wait in the outbox.
        aggregates: every aggregate that has told something.
        progress: of each consumer, by partition.
        parked: what is parked.
    """

    service: str
    unpublished: int
    aggregates: Sequence[Aggregate]
    progress: Sequence[Progress]
    parked: Sequence[ParkedMessage]


@dataclass(frozen=True, slots=True)
class Lost:
    """A credential whose content a restore did not bring back, as that restore recorded it.

    Attributes:
        digest: of the artefact, 32 bytes.
        credential: its id; None, like the others, where the event of its leaf does not say.
        provider: who issued it.
        list_url: its status list.
        index: its place there.
    """

    digest: bytes
    credential: UUID | None = None
    provider: str | None = None
    list_url: str | None = None
    index: int | None = None


@dataclass(frozen=True, slots=True)
class IssuerSnapshot:
    """The issuer.

    Attributes:
        restores: when it was reconciled after its database had been restored to an earlier instant.
        artefacts: digests (32 bytes) of credentials in further formats, and whose they are.
    """

    credentials: Sequence[Credential]
    registrations: Sequence[Registration]
    handles: Sequence[Handle]
    blocks: Sequence[Block]
    messaging: Messaging
    lost: Sequence[Lost] = ()
    restores: Sequence[datetime] = ()
    artefacts: Mapping[bytes, UUID] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Lease:
    """Positions of a list that were leased: ``first`` to before ``first + count``.

    Attributes:
        first: position.
        count: how many.
        recorded: when.
        closed: given to nobody: a restore closed the list, since it can't know what was leased.
    """

    first: int
    count: int
    recorded: datetime | None = None
    closed: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """A change of a status as the ledger's table has it; numbers rise from 1 within a list."""

    number: int
    index: int
    status: str
    effective: datetime
    recorded: datetime


@dataclass(frozen=True, slots=True)
class Version:
    """A version of a list that was published; ``logged`` when its leaf was queued for the log."""

    version: int
    changes: int
    tree_size: int
    digest: bytes
    logged: bool


@dataclass(frozen=True, slots=True)
class StatusListSnapshot:
    """A status list: its table, and what relying parties are shown.

    Attributes:
        url: of the list.
        size: how many places it has.
        leased: how many positions were given to issuers.
        leases: which.
        changes: in the order of their numbers.
        versions: in the order of their numbers.
        published: the statuses in the newest signed list that are not ``valid``, by index; None: nobody can
            fetch one.
        published_digest: of the bytes that were fetched.
    """

    url: str
    size: int
    leased: int
    leases: Sequence[Lease]
    changes: Sequence[Change]
    versions: Sequence[Version]
    published: Mapping[int, str] | None
    published_digest: bytes


@dataclass(frozen=True, slots=True)
class EndedLog:
    """A log that ended.

    Attributes:
        origin: its name.
        size: leaves of its last tree.
        root: of that, 32 bytes.
    """

    origin: str
    size: int
    root: bytes


@dataclass(frozen=True, slots=True)
class LogSnapshot:
    """The log that grows, and those that it followed.

    Attributes:
        size: leaves, by the newest checkpoint.
        root: 32 bytes, by the newest checkpoint.
        leaves: canonical bytes by leaf index, which counts on over all logs.
        queued: leaves that wait.
        ended: logs that ended, oldest first.
        statements: of succession, in their order.
    """

    size: int
    root: bytes
    leaves: Mapping[int, bytes]
    queued: int
    ended: Sequence[EndedLog] = ()
    statements: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class LedgerSnapshot:
    """The ledger: log, lists, and what it tells. ``restores`` as at the issuer."""

    log: LogSnapshot
    lists: Sequence[StatusListSnapshot]
    messaging: Messaging
    restores: Sequence[datetime] = ()


@dataclass(frozen=True, slots=True)
class EventRecord:
    """A record of a topic. ``value`` is protobuf, ``revision`` the aggregate's."""

    partition: int
    offset: int
    key: str
    revision: int
    id: UUID
    type: str
    value: bytes


@dataclass(frozen=True, slots=True)
class TopicSnapshot:
    """A topic: its records in the order of partition and offset, and where each partition ends."""

    name: str
    records: Sequence[EventRecord]
    ends: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Gathered:
    """A credential as a portal has it.

    Attributes:
        handle: the hub's name for it.
        pseudonym: whose it is.
        kind: of credential.
        provider: who issued it.
        status: when it was fetched last; None until then.
        digest: of the artefact that it holds; None until it was fetched, or where it can't be opened.
        pending: whether it is still to be fetched.
    """

    handle: str
    pseudonym: str
    kind: str
    provider: str
    status: str | None
    digest: bytes | None
    pending: bool


@dataclass(frozen=True, slots=True)
class PortalSnapshot:
    """What one hub has gathered."""

    hub: str
    gathered: Sequence[Gathered]
    messaging: Messaging


@dataclass(frozen=True, slots=True)
class RegistrySnapshot:
    """What the registry put into the log, and what it shows today.

    Attributes:
        leaves: the leaves (canonical bytes) that it submitted.
        messaging: see there.
        shown: its facts about accreditations and keys, by where they are shown: its table, its topic.
    """

    leaves: Sequence[bytes]
    messaging: Messaging | None = None
    shown: Mapping[str, Sequence[facts_pb2.Fact]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class IssuedAnswer:
    """What a caller was answered to an issuance: who was answered that may rely on it for ever."""

    request: str
    credential: UUID
    digest: bytes


@dataclass(frozen=True, slots=True)
class StatusAnswer:
    """What a caller was answered to a change of a status."""

    request: str
    credential: UUID
    status: str
    effective: datetime
    recorded: datetime


@dataclass(frozen=True, slots=True)
class WorldSnapshot:
    """Everything at once. What is None or empty was not looked at, and is not compared.

    Attributes:
        issuer: see there.
        ledger: see there.
        topics: by name.
        portals: one for each hub that was looked at.
        registry: None where no registry took part: then no leaf of a registry's is explained.
        issued: answers that callers were given.
        changed: likewise.
    """

    issuer: IssuerSnapshot
    ledger: LedgerSnapshot
    topics: Mapping[str, TopicSnapshot]
    portals: Sequence[PortalSnapshot] = ()
    registry: RegistrySnapshot | None = None
    issued: Sequence[IssuedAnswer] = ()
    changed: Sequence[StatusAnswer] = ()
