"""What the leaves of published logs say, taken one by one: held in little memory, and compared with the lists.

Of every leaf forty bytes are kept; of a change of a status, and of the last version of a list, what it says, too.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, TypeAlias

from vitne.audit.agreement import Disagreement
from vitne.audit.digests import DigestPile
from vitne.audit.snapshots import VALID
from vitne.canonical import b64url
from vitne.errors import VitneError
from vitne.merkle.leaves import Closed, Issued, ListPublished, StatusChanged, parse_leaf

#: A list is put into the log together with its publication, where the last that was is a minute old (RECORDS: Log
#: leaves). So what is dated so long after that one should be there; most of this is for clocks that differ.
LOGGED_WITHIN: Final = timedelta(minutes=10)
#: How long it may be on its way there, and that to whoever reads a checkpoint.
UNDER_WAY: Final = timedelta(minutes=1)
#: A change is dated when it is decided, and a list when it is begun; which of them is there first is settled by then.
COMMITTED_WITHIN: Final = timedelta(seconds=5)
#: After which time a change shows in whatever is served, mirrors and caches included; and how long a list may be relied
#: on at most.
SHOWN_WITHIN: Final = timedelta(minutes=30)
LIFETIME_AT_MOST: Final = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class SeenList:
    """A published status list as it was fetched, in one of its forms, its signature checked.

    Attributes:
        issued_at: its date.
        expires_at: from then on it says nothing; None: it says no end.
        statuses: places that are not valid, by index.
        digest: SHA-256 of its bytes, as the log has it of the form that is logged.
        places: how many it has.
        shows: as what it shows a status that it has no word for; the others it shows as they are.
    """

    issued_at: datetime
    expires_at: datetime | None
    statuses: Mapping[int, str]
    digest: bytes
    places: int
    shows: Mapping[str, str] = field(default_factory=dict)

    def shown_as(self, change: StatusChanged) -> str:
        """What it shows of a place after a change."""
        return self.shows.get(change.status, change.status)


#: A list's forms as they are published, by what distinguishes their addresses from the list's own, at which is what the
#: log has digests of; a text: why one can't be had.
Forms: TypeAlias = Mapping[str, SeenList | str]


@dataclass(frozen=True, slots=True)
class LoggedChange:
    """A change of a status, and which entry of the logs it is."""

    place: int
    change: StatusChanged


class LogContents:
    """What the leaves say, of one log or of several that follow each other."""

    def __init__(self) -> None:
        #: Entries that were taken, of all logs.
        self.leaves = 0
        #: How many of them are issuances.
        self.issued = 0
        #: The changes of each list's places, in the logs' order.
        self.changes: dict[str, dict[int, list[LoggedChange]]] = defaultdict(lambda: defaultdict(list))
        #: The last version of each list that was logged.
        self.versions: dict[str, ListPublished] = {}
        #: When changes, of any list, were recorded, as they are logged; and how many were before that version.
        self._recorded: list[datetime] = []
        self._versioned: dict[str, int] = {}
        self._pile = DigestPile()
        self._found: list[Disagreement] = []

    def skip(self) -> None:
        """Pass over an entry that can't be read."""
        self.leaves += 1

    def take(self, where: str, value: bytes, entry: bytes) -> Closed | None:
        """Take the next entry; answers it where it closes its log.

        Args:
            where: what to call it.
            value: its leaf hash.
            entry: its bytes.
        """
        place = self.leaves
        self.leaves += 1
        self._pile.add(value, place)
        try:
            leaf = parse_leaf(entry)
        except VitneError as error:
            self._tell("leaf.malformed", where, error.reason)
            return None
        match leaf:
            case Issued():
                self.issued += 1
            case StatusChanged():
                self._read_change(where, place, leaf)
            case ListPublished():
                self._read_version(where, place, leaf)
            case Closed():
                return leaf
            case _:
                pass  # facts of the registry: what they say is the registry's to answer for
        return None

    def finish(self) -> Iterator[Disagreement]:
        """What is wrong with the leaves that were taken."""
        yield from self._found
        for value, first, later in self._pile.twice():
            yield Disagreement("leaf.twice", b64url(value), f"it is leaf {first}, and leaf {later}")

    def check_issued(self, known: Mapping[bytes, str]) -> Iterator[Disagreement]:
        """Every issuance that an issuer knows is in the log; others may have come since.

        Args:
            known: what to call it, by the artefact's digest; read before the walk.
        """
        leaves = {Issued(digest).leaf_hash(): name for digest, name in known.items()}
        for value in self._pile.lacks(leaves):
            yield Disagreement("issuance.unpublished", leaves[value], "the published log lacks it")

    def check_lists(
        self, lists: Mapping[str, Forms], now: datetime, *, unknown: Container[str] = ()
    ) -> Iterator[Disagreement]:
        """Compare published lists, each form of them, with the changes in the log, and with the digests that it has.

        Args:
            lists: fetched *before* the checkpoint that was walked to, so that whatever they show is in the log; by URL.
            now: when they were fetched, or before that.
            unknown: URLs of lists of which nothing can be said.
        """
        for url in sorted(self.changes.keys() | self.versions.keys() | lists.keys()):
            if url in unknown:
                continue
            forms = lists.get(url, {"": "it was not fetched"})
            logged = forms[""]
            for form, seen in forms.items():
                if isinstance(seen, str):
                    yield Disagreement("list.unpublished", url + form, seen)
                    continue
                yield from self._check_age(url, seen, now, form)
                if isinstance(logged, SeenList):
                    yield from _check_beside(url + form, seen, logged)
                if self._is_unlogged(url, seen, logged, now):
                    detail = f"its list of {seen.issued_at.isoformat()} is not in the log, nor any that came after it"
                    yield Disagreement("list.unlogged", url + form, detail)
                yield from self.check_list(url, seen, form, now=now)

    def check_list(
        self, url: str, seen: SeenList, form: str = "", *, now: datetime | None = None
    ) -> Iterator[Disagreement]:
        """Compare a list with the changes in the log; the one that was logged last, with all that its leaf says.

        Args:
            url: of the list.
            seen: as it is published, or was.
            form: what distinguishes the form's address from the list's.
            now: when it was fetched; None: it was served in the past.
        """
        changed = self.changes.get(url, {})
        for index in sorted(changed.keys() | seen.statuses.keys()):
            told = [each.change for each in changed.get(index, [])]
            yield from _check_place(url + form, index, seen, told, now)
        if self.is_logged(url, seen.digest):
            size = self.versions[url].tree_size
            for index, changes in sorted(changed.items()):
                yield from _check_reflected(url, index, seen, changes, size)

    def is_logged(self, url: str, digest: bytes) -> bool:
        """Whether a list of that digest is the version that was logged last."""
        return url in self.versions and self.versions[url].digest == digest

    def there_by(self, url: str, now: datetime) -> datetime | None:
        """When the version that was logged last of a list was there at the latest; None: nobody can tell.

        That is the date of the first change, of any list, that was logged after it. One that is dated later than
        clocks may be ahead says nothing of when it was logged.

        Args:
            url: of the list.
            now: when its leaf was looked for.
        """
        later = (self._recorded[number] for number in range(self._versioned.get(url, 0), len(self._recorded)))
        return next((each for each in later if each <= now + LOGGED_WITHIN), None)

    def _check_age(self, url: str, seen: SeenList, now: datetime, form: str) -> Iterator[Disagreement]:
        """What is dated before a change shows nothing of it, whatever it says: it must not be served for ever."""
        dated = f"its list of {seen.issued_at.isoformat()}"
        missing = [
            change.recorded
            for changes in self.changes.get(url, {}).values()
            for change in (each.change for each in changes)
            # Clocks differ: what is recorded a little after its date may be in it, and has to be (_check_place).
            if seen.issued_at + LOGGED_WITHIN < change.recorded < now - SHOWN_WITHIN
        ]
        if missing:
            detail = f"{dated} is served, and {len(missing)} changes were recorded since, the first {min(missing)}"
            yield Disagreement("list.stale", url + form, detail)
        elif seen.expires_at is None or seen.expires_at - seen.issued_at > LIFETIME_AT_MOST:
            yield Disagreement("list.stale", url + form, f"{dated} says no end within {LIFETIME_AT_MOST.days} days")

    def _is_unlogged(self, url: str, seen: SeenList, logged: SeenList | str, now: datetime) -> bool:
        """Whether a list is so much newer than the last that was logged that it, or one after it, should have been.

        A leaf has no date; where no change was logged after it, nothing is known of when that was. Of the same second
        as the version that was logged is another form of it, or a version that was superseded within that second.
        """
        if isinstance(logged, SeenList) and self.is_logged(url, logged.digest) and logged.issued_at == seen.issued_at:
            return False
        if url in self.versions:
            there_by = self.there_by(url, now)
            if there_by is None or seen.issued_at <= there_by + LOGGED_WITHIN:
                return False
        return seen.issued_at < now - UNDER_WAY

    def _read_change(self, where: str, place: int, leaf: StatusChanged) -> None:
        before = self.changes[leaf.list_url][leaf.index]
        if before and before[-1].change.status == "revoked":
            self._tell("status.revived", f"{leaf.list_url}#{leaf.index}", f"{where} changes what is revoked")
        before.append(LoggedChange(place, leaf))
        self._recorded.append(leaf.recorded)

    def _read_version(self, where: str, place: int, leaf: ListPublished) -> None:
        before = self.versions.get(leaf.list_url)
        if leaf.tree_size > place:
            self._tell("version.wrong", leaf.list_url, f"{where} reflects more leaves than were before it")
        if before is not None and (before.version >= leaf.version or before.tree_size > leaf.tree_size):
            self._tell("version.backwards", leaf.list_url, f"{where} shows less than the one before")
        self.versions[leaf.list_url] = leaf
        self._versioned[leaf.list_url] = len(self._recorded)

    def _tell(self, kind: str, subject: str, detail: str) -> None:
        self._found.append(Disagreement(kind, subject, detail))


def _check_beside(subject: str, seen: SeenList, logged: SeenList) -> Iterator[Disagreement]:
    """Who looks for a place that is missing is told that there is none, whatever is logged of it."""
    if seen.places < logged.places:
        yield Disagreement("list.differs", subject, f"it has {seen.places} places, and the list {logged.places}")


def _check_place(
    subject: str, index: int, seen: SeenList, changes: list[StatusChanged], now: datetime | None
) -> Iterator[Disagreement]:
    shown = seen.statuses.get(index, VALID)
    settled = [change for change in changes if _is_settled(change.recorded, seen.issued_at, now)]
    expected = seen.shown_as(settled[-1]) if settled else VALID
    if shown == expected or shown in {seen.shown_as(change) for change in changes if change not in settled}:
        return
    if shown != VALID and all(seen.shown_as(change) != shown for change in changes):
        yield Disagreement("list.unexplained", f"{subject}#{index}", f"the list says {shown}, and the log never did")
    else:
        yield Disagreement("status.list", f"{subject}#{index}", f"the list says {shown}, the log {expected}")


def _is_settled(recorded: datetime, issued_at: datetime, now: datetime | None) -> bool:
    """Whether a list has to show a change: what was recorded before its second, and was not on its way any more.

    What is served now has to show more: what is overdue, though it was recorded a little after the list's date, since
    clocks differ; and what is dated later than clocks may be ahead, since that would never be due.
    """
    if recorded < issued_at - COMMITTED_WITHIN:
        return True
    if now is None:
        return False
    return recorded < min(issued_at + LOGGED_WITHIN, now - SHOWN_WITHIN) or recorded > now + LOGGED_WITHIN


def _check_reflected(
    url: str, index: int, seen: SeenList, changes: list[LoggedChange], size: int
) -> Iterator[Disagreement]:
    """A version reflects every change among as many entries as its leaf says, whatever the dates are."""
    reflected = sum(each.place < size for each in changes)
    shown = seen.statuses.get(index, VALID)
    told = [VALID, *(seen.shown_as(each.change) for each in changes)]
    if shown not in told[reflected:]:
        detail = f"the list says {shown}, and its leaf that it reflects {size} leaves, by which it is {told[reflected]}"
        yield Disagreement("list.differs", f"{url}#{index}", detail)
