"""Whether issuer, log, lists, topics and portals say the same, once nothing is under way.

Every promise of ``RECORDS.md`` that can be read off the state is a function here:
nothing lost, nothing twice, nothing without a reason.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Final, TypeVar
from uuid import UUID

from vitne.accreditation import leaf_of
from vitne.audit.snapshots import (
    VALID,
    Aggregate,
    Credential,
    EventRecord,
    LedgerSnapshot,
    Messaging,
    PortalSnapshot,
    StatusListSnapshot,
    TopicSnapshot,
    WorldSnapshot,
)
from vitne.canonical import b64url
from vitne.errors import VitneError
from vitne.merkle.hashing import leaf_hash
from vitne.merkle.leaves import (
    AccreditationRecorded,
    Closed,
    Issued,
    KeyRecorded,
    Leaf,
    ListPublished,
    StatusChanged,
    parse_leaf,
)
from vitne.merkle.notes import split_note
from vitne.merkle.succession import Succession, succession_leaf
from vitne.merkle.tree import CompactTree
from vitne_api.events.v1 import events_pb2

_HUB_TOPIC: Final = "vitne.hub.{}.v1"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Disagreement:
    """Two places that say different things, or one that says something without a reason.

    Attributes:
        kind: stable name, ``leaf.missing``.
        subject: what it is about: an identifier, never content.
        detail: in words.
    """

    kind: str
    subject: str
    detail: str

    def __str__(self) -> str:
        return f"{self.kind} {self.subject}: {self.detail}"


def compare(world: WorldSnapshot) -> list[Disagreement]:
    """Everything that does not agree; empty when all is well."""
    return [found for check in CHECKS for found in check(world)]


# --- Nothing under way ----------------------------------------------------------------------------------


def check_settled(world: WorldSnapshot) -> Iterator[Disagreement]:
    """Nothing is pending, queued, unpublished, parked or unread."""
    for credential in world.issuer.credentials:
        if credential.digest is None:
            yield Disagreement("credential.pending", str(credential.id), "it was stored and never signed")
    if world.ledger.log.queued:
        yield Disagreement("log.queued", "log", f"{world.ledger.log.queued} leaves wait")
    for portal in world.portals:
        for row in portal.gathered:
            if row.pending:
                yield Disagreement("portal.pending", row.handle, "it is still to be fetched")
    for messaging in _messagings(world):
        yield from _unsettled(messaging, world.topics)


def _unsettled(messaging: Messaging, topics: Mapping[str, TopicSnapshot]) -> Iterator[Disagreement]:
    if messaging.unpublished:
        yield Disagreement("outbox.unpublished", messaging.service, f"{messaging.unpublished} events wait")
    for parked in messaging.parked:
        yield Disagreement(
            "consumer.parked",
            f"{parked.consumer} {parked.topic}[{parked.partition}]@{parked.offset}",
            f"{parked.state} {parked.reason}".strip(),
        )
    reached = {(each.consumer, each.topic, each.partition): each.next_offset for each in messaging.progress}
    for consumer, topic in {(each.consumer, each.topic) for each in messaging.progress}:
        if topic not in topics:
            continue
        for partition, end in topics[topic].ends.items():
            at = reached.get((consumer, topic, partition), 0)
            if at != end:
                where = f"{consumer} {topic}[{partition}]"
                yield Disagreement("consumer.offset", where, f"it is at {at}, and the partition ends at {end}")


# --- Issuance -------------------------------------------------------------------------------------------


def check_credentials(world: WorldSnapshot) -> Iterator[Disagreement]:
    """A request has one credential, a credential its own index and artefact; what was answered is true.

    What a restore lost is true, too, where that is on record; its request, repeated, has a new credential.
    """
    credentials = world.issuer.credentials
    yield from _twice("request.twice", (" ".join(each.request) for each in credentials), "it has several credentials")
    yield from _twice(
        "digest.twice", (b64url(each.digest) for each in credentials if each.digest), "several credentials have it"
    )
    by_id = {credential.id: credential.digest for credential in credentials}
    lost = {each.credential: each.digest for each in world.issuer.lost if each.credential is not None}
    lost_digests = {each.digest for each in world.issuer.lost}
    given: dict[str, UUID] = {}
    for answer in world.issued:
        if answer.digest in lost_digests and lost.get(answer.credential, answer.digest) == answer.digest:
            continue
        if answer.credential not in by_id:
            yield Disagreement(
                "answer.lost", answer.request, f"credential {answer.credential} was answered, and is gone"
            )
        elif by_id[answer.credential] != answer.digest:
            yield Disagreement("answer.changed", answer.request, "another artefact was answered than is stored")
        if given.setdefault(answer.request, answer.credential) != answer.credential:
            yield Disagreement("answer.twice", answer.request, "repeated, it was answered with another credential")


def check_indexes(world: WorldSnapshot) -> Iterator[Disagreement]:
    """An index is leased once, given once, and none that was leased is lost, but what a restore gave up."""
    lists = {each.url: each for each in world.ledger.lists}
    places = [(each.list_url, each.index) for each in world.issuer.credentials]
    places += [(each.list_url, each.index) for each in world.issuer.lost if each.list_url and each.index is not None]
    places += [(block.list_url, index) for block in world.issuer.blocks if block.list_url for index in block.indexes]
    yield from _twice("index.twice", (f"{url}#{index}" for url, index in places), "several have this place")
    held: dict[str, list[int]] = defaultdict(list)
    for url, index in places:
        held[url].append(index)
    restored = max(world.issuer.restores, default=None)
    for url in held.keys() - lists.keys():
        yield Disagreement("list.unknown", url, "the issuer uses a list that the ledger does not keep")
    for each in lists.values():
        leases = sorted(each.leases, key=lambda lease: lease.first)
        reached = 0
        for lease in leases:
            if lease.first != reached:
                yield Disagreement("lease.overlap", each.url, f"a lease begins at {lease.first}, not {reached}")
            reached = lease.first + lease.count
        if reached != each.leased:
            yield Disagreement("lease.count", each.url, f"leases reach {reached}, the list says {each.leased}")
        missing = each.leased - len(held[each.url])
        # A restored issuer can't know what of earlier leases was given out, nor a restored ledger what it leased.
        given_up = sum(
            lease.count
            for lease in leases
            if lease.closed or (restored is not None and lease.recorded is not None and lease.recorded <= restored)
        )
        missing = max(0, missing - given_up) if missing > 0 else missing
        if missing:
            what = "lost" if missing > 0 else "invented"
            yield Disagreement(
                f"index.{what}", each.url, f"{each.leased} were leased, the issuer has {len(held[each.url])}"
            )
        for index in held[each.url]:
            if not 0 <= index < each.size:
                yield Disagreement("index.outside", each.url, f"there is no place {index}")


# --- Statuses -------------------------------------------------------------------------------------------


def check_statuses(world: WorldSnapshot) -> Iterator[Disagreement]:
    """Issuer, ledger's table, signed list and the log's leaves say the same of every place."""
    told: dict[str, list[tuple[int, str, datetime, datetime]]] = defaultdict(list)
    for _, leaf in _leaves(world.ledger):
        if isinstance(leaf, StatusChanged):
            told[leaf.list_url].append((leaf.index, leaf.status, leaf.effective, leaf.recorded))
    current: dict[tuple[str, int], str] = {}
    for each in world.ledger.lists:
        yield from _numbered("change.number", each.url, [change.number for change in each.changes])
        changes = Counter((change.index, change.status, change.effective, change.recorded) for change in each.changes)
        leaves = Counter(told.pop(each.url, []))
        for place in (changes - leaves).elements():
            yield Disagreement("leaf.missing", f"{each.url}#{place[0]}", f"the log lacks the change to {place[1]}")
        for place in (leaves - changes).elements():
            yield Disagreement("leaf.unexplained", f"{each.url}#{place[0]}", f"a change to {place[1]} that never was")
        last = {change.index: change.status for change in sorted(each.changes, key=lambda change: change.number)}
        current |= {(each.url, index): status for index, status in last.items()}
        yield from _compare_list(each, {index: status for index, status in last.items() if status != VALID})
    for url in told:
        yield Disagreement("leaf.unexplained", url, "statuses of a list that is not kept")
    for credential in world.issuer.credentials:
        status = current.get((credential.list_url, credential.index), VALID)
        if credential.status != status:
            yield Disagreement(
                "status.issuer", str(credential.id), f"the issuer says {credential.status}, the ledger {status}"
            )
    yield from _check_status_answers(world)


def _compare_list(each: StatusListSnapshot, expected: Mapping[int, str]) -> Iterator[Disagreement]:
    yield from _numbered("version.number", each.url, [version.version for version in each.versions])
    for earlier, later in pairwise(sorted(each.versions, key=lambda version: version.version)):
        if later.changes < earlier.changes or later.tree_size < earlier.tree_size:
            yield Disagreement("version.backwards", each.url, f"version {later.version} shows less than the one before")
    if each.published is None:
        yield Disagreement("list.unpublished", each.url, "nobody can fetch it")
        return
    for index in sorted(expected.keys() | each.published.keys()):
        shown, true = each.published.get(index, VALID), expected.get(index, VALID)
        if shown != true:
            yield Disagreement("status.list", f"{each.url}#{index}", f"the list says {shown}, the ledger {true}")
    newest = max(each.versions, key=lambda version: version.version, default=None)
    if newest is None or newest.digest != each.published_digest:
        yield Disagreement("list.stale", each.url, "what is served is not the newest version")


def _check_status_answers(world: WorldSnapshot) -> Iterator[Disagreement]:
    places: dict[UUID | None, tuple[str | None, int | None]] = {
        each.credential: (each.list_url, each.index) for each in world.issuer.lost
    }
    places |= {credential.id: (credential.list_url, credential.index) for credential in world.issuer.credentials}
    changes: set[tuple[object, ...]] = {
        (each.url, change.index, change.status, change.effective, change.recorded)
        for each in world.ledger.lists
        for change in each.changes
    }
    given: dict[str, tuple[object, ...]] = {}
    for answer in world.changed:
        place = places.get(answer.credential)
        said = (answer.status, answer.effective, answer.recorded)
        if place is None or (*place, *said) not in changes:
            yield Disagreement("answer.lost", answer.request, f"{answer.status} was answered, and is not recorded")
        if given.setdefault(answer.request, said) != said:
            yield Disagreement("answer.twice", answer.request, "repeated, it was answered something else")


# --- The log --------------------------------------------------------------------------------------------


def check_log(world: WorldSnapshot) -> Iterator[Disagreement]:
    """The roots are those of the leaves, which have no gap and no double, and each has a reason."""
    log = world.ledger.log
    total = sum(ended.size for ended in log.ended) + log.size
    if sorted(log.leaves) != list(range(total)):
        yield Disagreement("log.gap", "log", f"{len(log.leaves)} leaves do not fill trees of {total}")
    first = 0
    for name, size, root in [
        *((ended.origin, ended.size, ended.root) for ended in log.ended),
        ("log", log.size, log.root),
    ]:
        tree = CompactTree()
        for index in range(first, first + size):
            if index in log.leaves:
                tree.append(leaf_hash(log.leaves[index]))
        if tree.root() != root:
            yield Disagreement("log.root", name, "the checkpoint's root is not that of the leaves")
        first += size
    yield from _check_ends(world)
    yield from _twice("leaf.twice", (b64url(leaf_hash(leaf)) for leaf in log.leaves.values()), "the log has it twice")
    for index in sorted(log.leaves):
        try:
            parse_leaf(log.leaves[index])
        except VitneError as error:
            yield Disagreement("leaf.malformed", f"leaf {index}", error.reason)


def _check_ends(world: WorldSnapshot) -> Iterator[Disagreement]:
    """Each log that ended says so in its last leaf, nowhere else, and the statements say the same."""
    log = world.ledger.log
    expected: dict[int, bytes] = {}
    place = 0
    for ended in log.ended:
        place += ended.size
        expected[place - 1] = Closed(ended.origin, ended.size - 1).to_bytes()
    for index, record in log.leaves.items():
        if b'"type":"closed"' in record and record != expected.get(index):
            yield Disagreement("log.reopened", f"leaf {index}", "it closes a log that did not end there")
    for index, record in expected.items():
        if log.leaves.get(index) != record:
            yield Disagreement("leaf.wrong", f"leaf {index}", "it is the last of a log that ended, and does not say so")
    stated = [Succession.parse(split_note(statement)[0]) for statement in log.statements]
    ends = [(each.ended.origin, each.ended.size, each.ended.root) for each in stated if each.closes]
    if ends != [(ended.origin, ended.size, ended.root) for ended in log.ended]:
        yield Disagreement("log.succession", "log", "the statements of succession do not say how the logs ended")


def check_leaves(world: WorldSnapshot) -> Iterator[Disagreement]:
    """Every artefact, published version and registry fact has its leaf; every leaf has one of these."""
    issued, versions, facts = set(), set(), set()
    for _, leaf in _leaves(world.ledger):
        if isinstance(leaf, Issued):
            issued.add(leaf.digest)
        elif isinstance(leaf, ListPublished):
            versions.add((leaf.list_url, leaf.version, leaf.digest, leaf.tree_size))
        elif isinstance(leaf, AccreditationRecorded | KeyRecorded):
            facts.add(leaf.to_bytes())
    names = {each.digest: str(each.id) for each in world.issuer.credentials if each.digest}
    names |= {digest: str(credential) for digest, credential in world.issuer.artefacts.items()}
    # Its content is lost, its leaf is not.
    names |= {each.digest: str(each.credential or b64url(each.digest)) for each in world.issuer.lost}
    yield from _both(
        issued, names.keys(), lambda digest: names.get(digest, b64url(digest)), "an issuance", "of no credential"
    )
    logged = {
        (each.url, version.version, version.digest, version.tree_size)
        for each in world.ledger.lists
        for version in each.versions
        if version.logged
    }
    yield from _both(versions, logged, lambda version: f"{version[0]} {version[1]}", "a version", "of no version")
    expected = set(world.registry.leaves) if world.registry else set()
    expected |= _successions(world.ledger)
    yield from _both(facts, expected, lambda leaf: b64url(leaf_hash(leaf)), "a fact", "of no fact")


def check_registry_facts(world: WorldSnapshot) -> Iterator[Disagreement]:
    """What the registry shows of accreditations and keys is what it logged: it tells no other past."""
    if world.registry is None:
        return
    logged: dict[tuple[str, str, int], AccreditationRecorded | KeyRecorded] = {}
    own = _successions(world.ledger)
    for _, leaf in _leaves(world.ledger):
        if isinstance(leaf, AccreditationRecorded | KeyRecorded) and leaf.to_bytes() not in own:
            logged[_revision_of(leaf)] = leaf
    for place, facts in world.registry.shown.items():
        shown = [made for fact in facts if (made := leaf_of(fact)) is not None]
        for made in shown:
            name = " ".join(map(str, _revision_of(made)[:2])) + f" revision {made.revision}"
            known = logged.get(_revision_of(made))
            if known is None:
                yield Disagreement(
                    "fact.unlogged", name, f"the registry's {place} shows it, and the log has no such leaf"
                )
            elif known != made:
                yield Disagreement("fact.rewritten", name, f"the registry's {place} shows another than the log has")
        for gone in logged.keys() - {_revision_of(made) for made in shown}:
            yield Disagreement(
                "fact.hidden", f"{gone[0]} {gone[1]} revision {gone[2]}", f"the registry's {place} lacks it"
            )


def _revision_of(leaf: AccreditationRecorded | KeyRecorded) -> tuple[str, str, int]:
    about = str(leaf.accreditation_id) if isinstance(leaf, AccreditationRecorded) else b64url(leaf.thumbprint)
    return leaf.type_name, about, leaf.revision


# --- Events ---------------------------------------------------------------------------------------------


def check_events(world: WorldSnapshot) -> Iterator[Disagreement]:
    """A topic has each revision of each of its aggregates; a repetition is the same event; a key has one partition."""
    promised: dict[str, dict[str, int]] = defaultdict(dict)
    for aggregate in _aggregates(world):
        promised[aggregate.topic][aggregate.key] = max(
            aggregate.revision, promised[aggregate.topic].get(aggregate.key, 0)
        )
    for name, topic in world.topics.items():
        found: dict[str, dict[int, EventRecord]] = defaultdict(dict)
        partitions: dict[str, int] = {}
        for record in topic.records:
            first = found[record.key].setdefault(record.revision, record)
            subject = f"{name} {record.key} revision {record.revision}"
            if (first.id, first.type, first.value) != (record.id, record.type, record.value):
                yield Disagreement("event.differs", subject, "two events have this revision")
            if partitions.setdefault(record.key, record.partition) != record.partition:
                yield Disagreement("event.partition", subject, "the key is in several partitions")
        for key in found.keys() | promised[name].keys():
            last = promised[name].get(key, 0)
            if found[key].keys() != set(range(1, last + 1)):
                missing = sorted(set(range(1, last + 1)) - found[key].keys())
                detail = f"missing {missing}" if missing else f"no outbox told of {max(found[key])}, only of {last}"
                yield Disagreement("event.gap", f"{name} {key}", detail)
    for name in promised.keys() - world.topics.keys():
        if world.topics:
            yield Disagreement("topic.missing", name, "an outbox has events for it")


def check_hubs(world: WorldSnapshot) -> Iterator[Disagreement]:
    """A hub was told of exactly what it may fetch, of nobody else, and of nothing twice."""
    registered = {(each.hub, each.pseudonym): each.learner for each in world.issuer.registrations}
    by_id = {credential.id: credential for credential in world.issuer.credentials}
    served: dict[str, dict[str, UUID]] = defaultdict(dict)
    pseudonyms = {(each.hub, each.learner): each.pseudonym for each in world.issuer.registrations}
    signed: dict[UUID, set[UUID]] = defaultdict(set)
    for each in by_id.values():
        if each.digest is not None:
            signed[each.learner].add(each.id)
    fetchable: dict[tuple[str, UUID], set[UUID]] = defaultdict(set)
    for handle in world.issuer.handles:
        served[handle.hub][handle.handle] = handle.credential
        fetchable[handle.hub, handle.learner].add(handle.credential)
        credential = by_id.get(handle.credential)
        if credential is None or credential.digest is None or credential.learner != handle.learner:
            yield Disagreement("handle.wrong", handle.handle, "it leads to no credential of that learner's")
        if (handle.hub, handle.learner) not in pseudonyms:
            yield Disagreement("handle.unregistered", handle.handle, "its learner is not registered with the hub")
    for hub, learner in pseudonyms:
        for id_ in signed[learner] - fetchable[hub, learner]:
            yield Disagreement(
                "handle.missing", str(id_), f"hub {hub} can't fetch it, though its learner is registered"
            )
    for hub in sorted(
        {each.hub for each in world.issuer.registrations} | served.keys() | {p.hub for p in world.portals}
    ):
        topic = world.topics.get(_HUB_TOPIC.format(hub.replace(":", "-")))
        if topic is None:
            continue
        owned: dict[str, set[str]] = defaultdict(set)
        for pseudonym, notices in sorted(_notices(topic).items()):
            yield from _replay(hub, pseudonym, notices, owned[pseudonym])
            if owned[pseudonym] and (hub, pseudonym) not in registered:
                yield Disagreement("notice.unregistered", pseudonym, f"hub {hub} was told of a learner it has not got")
        yield from _check_repeated(hub, topic, world)
        told = {handle for handles in owned.values() for handle in handles}
        for handle_ in told - served[hub].keys():
            yield Disagreement("notice.unexplained", handle_, f"hub {hub} was told of it, and may not fetch it")
        for handle_ in served[hub].keys() - told:
            yield Disagreement("notice.missing", handle_, f"hub {hub} may fetch it, and was not told")


def _check_repeated(hub: str, topic: TopicSnapshot, world: WorldSnapshot) -> Iterator[Disagreement]:
    """A hub is told of a change of a status at most once, and once more after each restore of the issuer."""
    times = 1 + len(world.issuer.restores)
    places = Counter((each.url, change.index) for each in world.ledger.lists for change in each.changes)
    by_id = {credential.id: (credential.list_url, credential.index) for credential in world.issuer.credentials}
    handles = {each.handle: by_id.get(each.credential) for each in world.issuer.handles if each.hub == hub}
    told = Counter(
        notice.handle
        for notices in _notices(topic).values()
        for notice in notices
        if notice.notice == events_pb2.HUB_NOTICE_STATUS_CHANGED
    )
    for handle, count in told.items():
        place = handles.get(handle)
        if place is not None and count > places[place] * times:
            yield Disagreement("notice.repeated", handle, f"hub {hub} was told of {count} changes of {places[place]}")


def _replay(
    hub: str, pseudonym: str, notices: Iterable[events_pb2.HubCredentialNotice], owned: set[str]
) -> Iterator[Disagreement]:
    """What a hub that reads a learner's notices in order has at the end, in ``owned``."""
    for notice in notices:
        name = events_pb2.HubNotice.Name(notice.notice)
        if notice.pseudonym != pseudonym:
            yield Disagreement("notice.wrong", notice.handle, f"hub {hub}: it names another learner than its key")
        if notice.notice == events_pb2.HUB_NOTICE_REGISTRATION_ENDED:
            for handle in sorted(owned):
                yield Disagreement(
                    "notice.left", handle, f"hub {hub}: the registration ended, and it was not withdrawn"
                )
            owned.clear()
        elif notice.notice == events_pb2.HUB_NOTICE_ISSUED:
            if notice.handle in owned:
                yield Disagreement("notice.twice", notice.handle, f"hub {hub} was told twice that it was issued")
            owned.add(notice.handle)
        elif notice.handle not in owned:
            yield Disagreement("notice.early", notice.handle, f"hub {hub} got {name} for what it was not told of")
        elif notice.notice == events_pb2.HUB_NOTICE_WITHDRAWN:
            owned.remove(notice.handle)


def check_portals(world: WorldSnapshot) -> Iterator[Disagreement]:
    """A portal has exactly what the issuer would serve it, as it is now."""
    by_id = {credential.id: credential for credential in world.issuer.credentials}
    pseudonyms = {(each.hub, each.learner): each.pseudonym for each in world.issuer.registrations}
    for portal in world.portals:
        expected = {
            each.handle: by_id[each.credential]
            for each in world.issuer.handles
            if each.hub == portal.hub and each.credential in by_id
        }
        yield from _compare_portal(portal, expected, pseudonyms)


def _compare_portal(
    portal: PortalSnapshot, expected: Mapping[str, Credential], pseudonyms: Mapping[tuple[str, UUID], str]
) -> Iterator[Disagreement]:
    rows = {row.handle: row for row in portal.gathered}
    for handle in expected.keys() - rows.keys():
        yield Disagreement("portal.missing", handle, f"the portal of {portal.hub} lacks it")
    for handle in rows.keys() - expected.keys():
        yield Disagreement("portal.unexplained", handle, f"the portal of {portal.hub} has it, and may not")
    for handle in sorted(rows.keys() & expected.keys()):
        row, credential = rows[handle], expected[handle]
        pairs = [
            ("status", row.status, credential.status),
            ("kind", row.kind, credential.kind),
            ("provider", row.provider, credential.provider),
            ("pseudonym", row.pseudonym, pseudonyms.get((portal.hub, credential.learner))),
        ]
        if row.digest is not None:
            pairs.append(("artefact", b64url(row.digest), b64url(credential.digest or b"")))
        for what, has, true in pairs:
            if has != true:
                yield Disagreement(f"portal.{what}", handle, f"the portal has {has}, the issuer {true}")


#: What :func:`compare` does, in order.
CHECKS: Final[Sequence[Callable[[WorldSnapshot], Iterable[Disagreement]]]] = (
    check_settled,
    check_credentials,
    check_indexes,
    check_statuses,
    check_log,
    check_leaves,
    check_registry_facts,
    check_events,
    check_hubs,
    check_portals,
)


# --- Helpers --------------------------------------------------------------------------------------------


def _messagings(world: WorldSnapshot) -> list[Messaging]:
    found = [world.issuer.messaging, world.ledger.messaging, *(portal.messaging for portal in world.portals)]
    if world.registry and world.registry.messaging:
        found.append(world.registry.messaging)
    return found


def _aggregates(world: WorldSnapshot) -> Iterator[Aggregate]:
    for messaging in _messagings(world):
        yield from messaging.aggregates


def _leaves(ledger: LedgerSnapshot) -> Iterator[tuple[int, Leaf]]:
    """The log's leaves that parse."""
    for index, record in sorted(ledger.log.leaves.items()):
        try:
            yield index, parse_leaf(record)
        except VitneError:
            continue


def _successions(ledger: LedgerSnapshot) -> set[bytes]:
    """The leaves by which the log names its own statements of succession: no facts of the registry."""
    return {succession_leaf(statement).to_bytes() for statement in ledger.log.statements}


def _notices(topic: TopicSnapshot) -> dict[str, list[events_pb2.HubCredentialNotice]]:
    """A hub's notices by learner, each revision once, in order."""
    found: dict[str, dict[int, EventRecord]] = defaultdict(dict)
    for record in topic.records:
        found[record.key].setdefault(record.revision, record)
    return {
        key: [events_pb2.HubCredentialNotice.FromString(records[revision].value) for revision in sorted(records)]
        for key, records in found.items()
    }


def _twice(kind: str, names: Iterable[str], detail: str) -> Iterator[Disagreement]:
    for name, count in Counter(names).items():
        if count > 1:
            yield Disagreement(kind, name, detail)


def _numbered(kind: str, subject: str, numbers: Sequence[int]) -> Iterator[Disagreement]:
    if sorted(numbers) != list(range(1, len(numbers) + 1)):
        yield Disagreement(kind, subject, "its numbers have a gap or a double")


def _both(
    leaves: set[T], expected: Iterable[T], name: Callable[[T], str], what: str, why: str
) -> Iterator[Disagreement]:
    wanted = set(expected)
    for each in wanted - leaves:
        yield Disagreement("leaf.missing", name(each), f"the log lacks the leaf of {what}")
    for each in leaves - wanted:
        yield Disagreement("leaf.unexplained", name(each), f"a leaf {why}")
