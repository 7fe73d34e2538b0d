"""The registry's facts, folded into memory: what every decision and every key look-up asks.

A projection is fed facts in whatever order they arrive (each subject's own facts
come in order, subjects interleave) and answers *as known at* any registry
revision ``u`` that it holds without a gap. It never forgets a revision, so an
answer for a given ``u`` is the same for ever.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import deque
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import islice
from struct import Struct
from typing import Any, Final, TypeAlias, TypeVar
from uuid import UUID

from isal import isal_zlib

from vitne.accreditation.facts import FOREVER, NOT_LISTED, ContentKind, content_kind, stamp_milliseconds
from vitne.canonical import sha256
from vitne.errors import DataLoss, VitneError
from vitne.identifiers import parse_uuid
from vitne_api.credential.v1 import credential_pb2
from vitne_api.registry.v1 import facts_pb2, qualification_pb2

_DIGEST: Final = 32
_NOT_SEEN: Final = bytes(_DIGEST)
#: Heartbeats that wait for facts; older ones are dropped, which can only make the projection look staler.
_MAX_WAITING_BEATS: Final = 256
#: Answers that are remembered, of all subjects together: some 50 MiB; beyond it the memory starts afresh.
MAX_REMEMBERED: Final = 20_000
#: ISA-L's DEFLATE shrinks an achievement as zlib's fastest level does, to two thirds, in half the time.
_COMPRESSION: Final = 1
#: Raw DEFLATE: neither header nor checksum, since it never leaves memory.
_WINDOW_BITS: Final = -15
#: What an entry begins with: the registry revision and the thing's own.
_HEAD: Final = Struct(">QI")


#: One revision of a thing: when it became known, which revision, and the packed fact; see :func:`_entry`. One object
#: for each and no container, since there are hundreds of thousands: less memory, and nothing to look at for the garbage
#: collector. In the order of their bytes entries are in that of their registry revisions.
_Entry: TypeAlias = bytes
#: Revisions of one thing, oldest first: mostly a single one.
_Entries: TypeAlias = tuple[_Entry, ...]


@dataclass(frozen=True, slots=True)
class Coverage:
    """An accreditation's scope, ready to compare with."""

    credential_kinds: frozenset[str]
    levels: frozenset[tuple[str, str]]
    #: Empty: without credits only.
    unit: str
    min_points: Decimal | None
    max_points: Decimal | None
    #: ISCED-F codes; empty: all.
    fields: tuple[str, ...]
    #: Empty: all.
    educations: frozenset[str]

    @classmethod
    def of(cls, scope: facts_pb2.Scope) -> Coverage:
        """Read a scope whose decimals the registry has checked."""
        return cls(
            frozenset(scope.credential_kinds),
            frozenset((level.framework, level.level) for level in scope.levels),
            scope.credit_unit,
            Decimal(scope.min_points) if scope.min_points else None,
            Decimal(scope.max_points) if scope.max_points else None,
            tuple(scope.fields),
            frozenset(scope.educations),
        )


@dataclass(frozen=True, slots=True)
class HeldRevision:
    """One revision of an accreditation. Instants are milliseconds since 1970."""

    registry_revision: int
    revision: int
    state: facts_pb2.AccreditationState.ValueType
    effective_from: int
    valid_from: int
    #: :data:`~vitne.accreditation.facts.FOREVER` when open.
    valid_until: int
    scope: Coverage
    fact: facts_pb2.Fact

    @classmethod
    def of(cls, fact: facts_pb2.Fact) -> HeldRevision:
        """Read an accreditation's fact."""
        said = fact.accreditation
        return cls(
            fact.registry_revision,
            said.revision,
            said.state,
            stamp_milliseconds(said.effective_from),
            stamp_milliseconds(said.valid_from),
            stamp_milliseconds(said.valid_until) if said.HasField("valid_until") else FOREVER,
            Coverage.of(said.scope),
            fact,
        )


@dataclass(frozen=True, slots=True)
class Held:
    """An accreditation that a provider holds or held, with every revision that is known, oldest first."""

    id: str
    provider: str
    authority: str
    kind: str
    revisions: tuple[HeldRevision, ...]

    @property
    def newest(self) -> HeldRevision:
        """The highest revision."""
        return self.revisions[-1]

    def at(self, moment: int) -> HeldRevision | None:
        """What held at an instant: the highest revision whose ``effective_from`` is not after it."""
        for revision in reversed(self.revisions):
            if revision.effective_from <= moment:
                return revision
        return None


class Projection:
    """Everything the registry has said, by subject and revision. Not safe for threads; made for one event loop."""

    def __init__(self) -> None:
        self._revision = 0
        # Digest of each fact by registry revision; zeros where a trust list left the fact out.
        self._digests = bytearray()
        self._ahead: dict[int, bytes] = {}
        self._authorities: dict[str, _Entries] = {}
        self._providers: dict[str, _Entries] = {}
        self._issuers: dict[str, str] = {}
        self._keys: dict[str, _Entries] = {}
        self._keys_of: dict[tuple[str, int], set[str]] = {}
        self._accreditations: dict[str, _Entries] = {}
        self._accreditations_of: dict[str, set[str]] = {}
        self._cases: dict[str, _Entries] = {}
        self._cases_before: dict[str, list[str]] = {}
        # Keyed by the UUID's 16 bytes: there may be hundreds of thousands.
        self._achievements: dict[bytes, _Entries] = {}
        self._qualifications: dict[bytes, _Entries] = {}
        # What is paged through, in order: the keys of the tables above, and entries by registry revision.
        self._provider_order: list[str] = []
        self._achievement_order: list[bytes] = []
        self._achievements_of: dict[str, list[bytes]] = {}
        self._qualification_order: list[bytes] = []
        self._qualifications_of: dict[str, list[bytes]] = {}
        self._awarding: dict[str, set[bytes]] = {}
        self._trusted: list[_Entry] = []
        self._stacks: list[_Entry] = []
        self._offered: list[_Entry] = []
        self._beats: deque[tuple[int, datetime]] = deque(maxlen=_MAX_WAITING_BEATS)
        self._fresh_at: datetime | None = None
        self._memos: dict[str, dict[Any, Any]] = {}
        self._memo_size = 0

    # --- Folding -----------------------------------------------------------------------------------

    @property
    def revision(self) -> int:
        """*u*: the highest registry revision up to which every fact is known."""
        return self._revision

    def fold(self, fact: facts_pb2.Fact) -> bool:
        """Take in a fact; False when it was known already.

        Raises:
            DataLoss: ``UNKNOWN_FACT``; ``FACT_CONTRADICTS`` when another fact stands at the same
                revision, or the fact contradicts itself. Nothing is changed then.
        """
        if not self._admit(fact):
            return False
        while (digest := self._ahead.pop(self._revision + 1, None)) is not None:
            self._mark(self._revision + 1, digest)
            self._revision += 1
        self._settle_beats()
        return True

    def adopt(self, facts: Iterable[facts_pb2.Fact], revision: int, at: datetime, received_at: datetime) -> None:
        """Take in a signed list, whole up to ``revision``: facts of authorities, providers, keys and accreditations.

        Achievements, qualifications and cases are not in it and stay unknown.

        Args:
            facts: in any order; known ones are skipped.
            revision: the registry's revision that the list was made at.
            at: when that was.
            received_at: when it was heard; see :meth:`heartbeat`.

        Raises:
            DataLoss: as :meth:`fold`; ``FACT_CONTRADICTS`` for a fact beyond ``revision``.
        """
        for fact in facts:
            if fact.registry_revision > revision:
                raise _contradicts(fact, f"it is not within the list's revision {revision}")
            self._admit(fact)
        for known in sorted(self._ahead):
            if known <= revision:
                self._mark(known, self._ahead.pop(known))
        self._revision = max(self._revision, revision)
        while (digest := self._ahead.pop(self._revision + 1, None)) is not None:
            self._mark(self._revision + 1, digest)
            self._revision += 1
        self.heartbeat(revision, at, received_at)

    def heartbeat(self, revision: int, at: datetime, received_at: datetime) -> None:
        """The registry said that ``revision`` was its newest at ``at``.

        Args:
            revision: the registry's newest.
            at: when, by the registry's clock.
            received_at: when it was heard, by the clock here: what is dated later than that counts from then, so that
                a clock that runs ahead, or leapt once, never makes later silence look fresh.
        """
        self._beats.append((revision, min(at, received_at)))
        self._settle_beats()

    def staleness(self, now: datetime) -> timedelta:
        """For how long the registry may have said something that is not known here.

        Counts from the latest heartbeat whose revision has been folded without a gap;
        without any, ``timedelta.max``.
        """
        if self._fresh_at is None:
            return timedelta.max
        return max(now - self._fresh_at, timedelta(0))

    def remember(self, subject: str, key: Hashable, answer: object) -> None:
        """Keep what was computed from a subject's facts, until one more of them is folded."""
        new = key not in self._memos.get(subject, ())
        if new and self._memo_size >= MAX_REMEMBERED:
            self._memos.clear()
            self._memo_size = 0
        self._memos.setdefault(subject, {})[key] = answer
        self._memo_size += new

    def recall(self, subject: str, key: Hashable) -> Any:
        """What :meth:`remember` kept, or None."""
        found = self._memos.get(subject)
        return found.get(key) if found else None

    # --- Looking up --------------------------------------------------------------------------------
    # `known_at` is a registry revision; None: the newest without a gap.

    def provider(self, provider: str, known_at: int | None = None) -> facts_pb2.Provider | None:
        """A provider's entry."""
        fact = self._newest(self._providers.get(provider), known_at)
        return fact.provider if fact else None

    def provider_entered_at(self, provider: str) -> int | None:
        """When a provider was first entered, in milliseconds since 1970; None for what is no provider."""
        known = _known(self._providers.get(provider, ()), self._revision)
        return stamp_milliseconds(_fact(known[0]).recorded_at) if known else None

    def closing_fact(self, provider: str, case_id: str, known_at: int | None = None) -> facts_pb2.Fact | None:
        """The fact by which a provider's entry was closed in a case; None where none was."""
        for entry in _known(self._providers.get(provider, ()), self._until(known_at)):
            fact = _fact(entry)
            if fact.provider.closing_case == case_id:
                return fact
        return None

    def provider_by_issuer(self, issuer_uri: str) -> str | None:
        """Id of the provider whose credentials carry a URI as ``iss``, under any revision of its entry."""
        return self._issuers.get(issuer_uri)

    def authority(self, authority: str, known_at: int | None = None) -> facts_pb2.Authority | None:
        """An authority and its remit."""
        fact = self._newest(self._authorities.get(authority), known_at)
        return fact.authority if fact else None

    def key(self, key_id: str, known_at: int | None = None) -> facts_pb2.Key | None:
        """A key by its thumbprint."""
        fact = self.key_fact(key_id, known_at)
        return fact.key if fact else None

    def key_fact(self, key_id: str, known_at: int | None = None) -> facts_pb2.Fact | None:
        """The fact of a key's newest revision; its digest is in the log."""
        return self._newest(self._keys.get(key_id), known_at)

    def compromise_fact(self, key_id: str) -> facts_pb2.Fact | None:
        """The fact that first said that a key may be known to others; None where none did."""
        for entry in _known(self._keys.get(key_id, ()), self._revision):
            fact = _fact(entry)
            if fact.key.HasField("compromised_from"):
                return fact
        return None

    def keys_of(self, owner: str, use: facts_pb2.KeyUse.ValueType, known_at: int | None = None) -> list[facts_pb2.Key]:
        """An organisation's keys for a use, by thumbprint."""
        found = (self.key(key_id, known_at) for key_id in sorted(self._keys_of.get((owner, use), ())))
        return [key for key in found if key is not None]

    def accreditation(self, accreditation_id: str, known_at: int | None = None) -> Held | None:
        """An accreditation with its revisions."""
        facts = [
            _fact(entry) for entry in _known(self._accreditations.get(accreditation_id, ()), self._until(known_at))
        ]
        if not facts:
            return None
        revisions = tuple(sorted(map(HeldRevision.of, facts), key=lambda held: held.revision))
        said = revisions[-1].fact.accreditation
        return Held(said.id, said.provider, said.authority, said.kind, revisions)

    def accreditation_fact(self, accreditation_id: str, revision: int) -> facts_pb2.Fact | None:
        """The fact of an accreditation's revision; its digest is in the log."""
        return _version(_known(self._accreditations.get(accreditation_id, ()), self._revision), revision)

    def accreditations_of(self, provider: str, known_at: int | None = None) -> list[Held]:
        """A provider's accreditations, whatever their state, by id."""
        found = (self.accreditation(key, known_at) for key in sorted(self._accreditations_of.get(provider, ())))
        return [held for held in found if held is not None]

    def case_steps(self, case_id: str, known_at: int | None = None) -> list[facts_pb2.Fact]:
        """The steps of the case about an accreditation, oldest first; none where there is no case."""
        entries = _known(self._cases.get(case_id, ()), self._until(known_at))
        return sorted((_fact(entry) for entry in entries), key=lambda fact: fact.case_step.revision)

    def case_ids(self, authority: str, after: str = "") -> Iterator[str]:
        """Ids of the cases that an authority decides, in order, beyond one id."""
        order = self._cases_before.get(authority, [])
        return islice(iter(order), bisect_right(order, after), None)

    def achievement(
        self, achievement_id: str, version: int, known_at: int | None = None
    ) -> credential_pb2.Achievement | None:
        """A version of an achievement; None for what was never published, or is no UUID."""
        fact = self.achievement_fact(achievement_id, version, known_at)
        return fact.achievement if fact else None

    def achievement_fact(self, achievement_id: str, version: int, known_at: int | None = None) -> facts_pb2.Fact | None:
        """The fact of a version of an achievement: who published it, and when."""
        return _version(self._versions(self._achievements, achievement_id, known_at), version)

    def newest_achievement(self, achievement_id: str, known_at: int | None = None) -> credential_pb2.Achievement | None:
        """The newest version of an achievement."""
        fact = _newest_version(self._versions(self._achievements, achievement_id, known_at))
        return fact.achievement if fact else None

    def qualification(
        self, qualification_id: str, version: int, known_at: int | None = None
    ) -> qualification_pb2.Qualification | None:
        """A version of a qualification; None for what was never published, or is no UUID."""
        fact = _version(self._versions(self._qualifications, qualification_id, known_at), version)
        return fact.qualification if fact else None

    def newest_qualification(
        self, qualification_id: str, known_at: int | None = None
    ) -> qualification_pb2.Qualification | None:
        """The newest version of a qualification."""
        fact = _newest_version(self._versions(self._qualifications, qualification_id, known_at))
        return fact.qualification if fact else None

    def provider_ids(self, after: str = "", limit: int | None = None) -> list[str]:
        """Ids of providers, in order.

        Args:
            after: only those beyond this one.
            limit: how many at most; None: all.
        """
        first = bisect_right(self._provider_order, after)
        return self._provider_order[first : None if limit is None else first + limit]

    def authority_ids(self) -> list[str]:
        """Ids of all authorities, in order."""
        return sorted(self._authorities)

    def achievements(self, provider: str = "", after: UUID | None = None) -> Iterator[credential_pb2.Achievement]:
        """The newest version of every achievement, by id; each is looked up when it is asked for.

        Args:
            provider: only its own; empty: everybody's.
            after: only those beyond this id.
        """
        order = self._achievements_of.get(provider, []) if provider else self._achievement_order
        for fact in self._newest_of_each(self._achievements, order, after):
            yield fact.achievement

    def qualifications(
        self, provider: str = "", after: UUID | None = None
    ) -> Iterator[qualification_pb2.Qualification]:
        """The newest version of every qualification, by id; as :meth:`achievements`."""
        order = self._qualifications_of.get(provider, []) if provider else self._qualification_order
        for fact in self._newest_of_each(self._qualifications, order, after):
            yield fact.qualification

    def qualifications_awarding(self, achievement_id: str) -> Iterator[qualification_pb2.Qualification]:
        """The newest version of every qualification that awards an achievement in it, by id."""
        for key in sorted(self._awarding.get(achievement_id, ())):
            fact = _newest_version(_known(self._qualifications[key], self._revision))
            if fact is not None and fact.qualification.awards.id == achievement_id:
                yield fact.qualification

    def achievement_facts(self, after: int = 0, limit: int | None = None) -> list[facts_pb2.Fact]:
        """Facts about achievements beyond a registry revision, in its order; ``limit`` at most."""
        first = bisect_right(self._offered, after, key=_number)
        known = _known(self._offered, self._revision)
        return [_fact(entry) for entry in known[first : None if limit is None else first + limit]]

    def qualification_facts(self, after: int = 0) -> list[facts_pb2.Fact]:
        """Facts about qualifications beyond a registry revision, in its order."""
        first = bisect_right(self._stacks, after, key=_number)
        return [_fact(entry) for entry in _known(self._stacks, self._revision)[first:]]

    def trusted_facts(self, after: int = 0, until: int | None = None, limit: int | None = None) -> list[facts_pb2.Fact]:
        """Facts about authorities, providers, keys and accreditations, by registry revision.

        Args:
            after: only those beyond this revision.
            until: only those up to this revision; None: the newest without a gap.
            limit: how many at most; None: all.
        """
        first = bisect_right(self._trusted, after, key=_number)
        last = bisect_right(self._trusted, self._until(until), key=_number)
        if limit is not None:
            last = min(last, first + limit)
        return [_fact(entry) for entry in self._trusted[first:last]]

    def trusted_facts_about(self, organisations: Iterable[str]) -> list[facts_pb2.Fact]:
        """Facts as :meth:`trusted_facts` has them whose subject is one of these, by registry revision."""
        entries: list[_Entry] = []
        for organisation in organisations:
            entries += self._authorities.get(organisation, ())
            entries += self._providers.get(organisation, ())
            for use in facts_pb2.KeyUse.values():
                for key_id in self._keys_of.get((organisation, use), ()):
                    entries += self._keys[key_id]
            for accreditation_id in self._accreditations_of.get(organisation, ()):
                entries += self._accreditations[accreditation_id]
        return [_fact(entry) for entry in _known(sorted(entries), self._revision)]

    def everything_about(self, provider: str) -> Iterator[facts_pb2.Fact]:
        """The facts of a provider's entry and accreditations, also those that still wait for a gap to close."""
        for entry in self._providers.get(provider, ()):
            yield _fact(entry)
        for accreditation_id in self._accreditations_of.get(provider, ()):
            for entry in self._accreditations[accreditation_id]:
                yield _fact(entry)

    # --- Inside ------------------------------------------------------------------------------------

    def _admit(self, fact: facts_pb2.Fact) -> bool:
        number = fact.registry_revision
        if number < 1:
            raise _contradicts(fact, "registry revisions start at 1")
        plain = fact.SerializeToString(deterministic=True)
        digest = sha256(plain)
        known = self._digest(number)
        if known == digest:
            return False
        if known is not None:
            raise _contradicts(fact, "another fact stands at its registry revision")
        kind = content_kind(fact, len(plain))
        table, key, subject, revision = self._place(kind, fact)
        if subject != fact.subject:
            raise _contradicts(fact, "its subject is not the organisation that it is about")
        entries = table.get(key, ())
        if any(_revision(entry) == revision for entry in entries):
            raise _contradicts(fact, "another fact stands at the same revision of the same thing")
        if key not in table:
            if kind == "provider":
                insort(self._provider_order, key)
            elif kind == "achievement":
                insort(self._achievement_order, key)
                insort(self._achievements_of.setdefault(subject, []), key)
            elif kind == "qualification":
                insort(self._qualification_order, key)
                insort(self._qualifications_of.setdefault(subject, []), key)
            elif kind == "case_step":
                insort(self._cases_before.setdefault(fact.case_step.authority, []), key)
        entry = _entry(number, revision, plain)
        table[key] = tuple(sorted((*entries, entry))) if entries else (entry,)
        if kind == "qualification":
            insort(self._stacks, entry)
            self._awarding.setdefault(fact.qualification.awards.id, set()).add(key)
        elif kind == "achievement":
            insort(self._offered, entry)
        elif kind not in NOT_LISTED:
            insort(self._trusted, entry)
        if kind == "provider":
            self._issuers.setdefault(fact.provider.issuer_uri, subject)
        elif kind == "key":
            self._keys_of.setdefault((fact.key.owner, fact.key.use), set()).add(fact.key.id)
        elif kind == "accreditation":
            self._accreditations_of.setdefault(subject, set()).add(fact.accreditation.id)
        self._memo_size -= len(self._memos.pop(subject, ()))
        if number <= self._revision:
            self._mark(number, digest)
        else:
            self._ahead[number] = digest
        return True

    def _place(self, kind: ContentKind, fact: facts_pb2.Fact) -> tuple[dict[Any, _Entries], Any, str, int]:
        """Table, key, subject and revision of what a fact is about."""
        match kind:
            case "authority":
                return self._authorities, fact.authority.id, fact.authority.id, fact.authority.revision
            case "provider":
                return self._providers, fact.provider.id, fact.provider.id, fact.provider.revision
            case "key":
                return self._keys, fact.key.id, fact.key.owner, fact.key.revision
            case "accreditation":
                said = fact.accreditation
                return self._accreditations, said.id, said.provider, said.revision
            case "achievement":
                offered = fact.achievement
                return self._achievements, _uuid_bytes(fact, offered.id), offered.provider, offered.version
            case "qualification":
                whole = fact.qualification
                return self._qualifications, _uuid_bytes(fact, whole.id), whole.provider, whole.version
            case "case_step":
                step = fact.case_step
                return self._cases, step.id, step.provider, step.revision

    def _digest(self, number: int) -> bytes | None:
        start = (number - 1) * _DIGEST
        found = bytes(self._digests[start : start + _DIGEST])
        if found and found != _NOT_SEEN:
            return found
        return self._ahead.get(number)

    def _mark(self, number: int, digest: bytes) -> None:
        start = (number - 1) * _DIGEST
        if len(self._digests) < start:
            self._digests.extend(bytes(start - len(self._digests)))
        self._digests[start : start + _DIGEST] = digest

    def _settle_beats(self) -> None:
        while self._beats and self._beats[0][0] <= self._revision:
            _, at = self._beats.popleft()
            if self._fresh_at is None or at > self._fresh_at:
                self._fresh_at = at

    def _until(self, known_at: int | None) -> int:
        return self._revision if known_at is None else min(known_at, self._revision)

    def _newest(self, entries: _Entries | None, known_at: int | None) -> facts_pb2.Fact | None:
        known = _known(entries or (), self._until(known_at))
        return _fact(known[-1]) if known else None

    def _versions(self, table: dict[bytes, _Entries], id_text: str, known_at: int | None) -> _Entries:
        try:
            key = parse_uuid(id_text).bytes
        except VitneError:
            return ()
        return _known(table.get(key, ()), self._until(known_at))

    def _newest_of_each(
        self, table: dict[bytes, _Entries], order: list[bytes], after: UUID | None
    ) -> Iterator[facts_pb2.Fact]:
        for key in islice(order, bisect_right(order, after.bytes) if after else 0, None):
            fact = _newest_version(_known(table[key], self._revision))
            if fact is not None:
                yield fact


def _entry(registry_revision: int, revision: int, plain: bytes) -> _Entry:
    return _HEAD.pack(registry_revision, revision) + isal_zlib.compress(plain, _COMPRESSION, _WINDOW_BITS)


def _number(entry: _Entry) -> int:
    """The registry revision at which it became known."""
    number: int = _HEAD.unpack_from(entry)[0]
    return number


def _revision(entry: _Entry) -> int:
    """Which revision of its thing it is."""
    revision: int = _HEAD.unpack_from(entry)[1]
    return revision


def _fact(entry: _Entry) -> facts_pb2.Fact:
    return facts_pb2.Fact.FromString(isal_zlib.decompress(memoryview(entry)[_HEAD.size :], _WINDOW_BITS))


_Known = TypeVar("_Known", list[_Entry], _Entries)


def _known(entries: _Known, known_at: int) -> _Known:
    return entries[: bisect_right(entries, known_at, key=_number)]


def _version(entries: _Entries, version: int) -> facts_pb2.Fact | None:
    return next((_fact(entry) for entry in entries if _revision(entry) == version), None)


def _newest_version(entries: _Entries) -> facts_pb2.Fact | None:
    return _fact(max(entries, key=_revision)) if entries else None


def _uuid_bytes(fact: facts_pb2.Fact, text: str) -> bytes:
    try:
        return parse_uuid(text).bytes
    except VitneError as error:
        raise _contradicts(fact, "what it is about has no UUID") from error


def _contradicts(fact: facts_pb2.Fact, problem: str) -> DataLoss:
    return DataLoss(
        "FACT_CONTRADICTS",
        f"fact {fact.registry_revision} can't be: {problem}",
        rule="facts are immutable: one fact a revision",
        remedy="an operator compares the registry's table, its topic and its signed list",
        metadata={"fact": fact.id, "subject": fact.subject},
    )
