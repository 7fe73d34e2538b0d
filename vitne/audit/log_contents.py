"""What the leaves of published logs say, taken one by one: held in little memory, and compared with the lists.

Of every leaf forty bytes are kept; of a change of a status, and of the last version of a list, what it says, too.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from vitne.audit.agreement import Disagreement
from vitne.audit.digests import DigestPile
from vitne.audit.snapshots import VALID
from vitne.canonical import b64url
from vitne.errors import VitneError
from vitne.merkle.leaves import Closed, Issued, ListPublished, StatusChanged, parse_leaf


@dataclass(frozen=True, slots=True)
class SeenList:
    """A published status list as it was fetched, its signature checked.

    Attributes:
        issued_at: its date.
        statuses: places that are not valid, by index.
    """

    issued_at: datetime
    statuses: Mapping[int, str]


class LogContents:
    """What the leaves say, of one log or of several that follow each other."""

    def __init__(self) -> None:
        #: Entries that were taken, of all logs.
        self.leaves = 0
        #: How many of them are issuances.
        self.issued = 0
        #: The changes of each list's places, in the logs' order.
        self.changes: dict[str, dict[int, list[StatusChanged]]] = defaultdict(lambda: defaultdict(list))
        #: The last version of each list that was logged.
        self.versions: dict[str, ListPublished] = {}
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
                self._read_change(where, leaf)
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

    def check_lists(self, lists: Mapping[str, SeenList | None]) -> Iterator[Disagreement]:
        """Compare published lists with the changes in the log.

        Args:
            lists: fetched *before* the checkpoint that was walked to, so that whatever they show is in the log; by URL,
                None where one can't be fetched or does not verify.
        """
        for url in sorted(self.changes.keys() | self.versions.keys() | lists.keys()):
            seen = lists.get(url)
            if seen is None:
                yield Disagreement("list.unpublished", url, "nobody can fetch it")
                continue
            changed = self.changes.get(url, {})
            for index in sorted(changed.keys() | seen.statuses.keys()):
                yield from _check_place(url, index, seen, changed.get(index, []))

    def _read_change(self, where: str, leaf: StatusChanged) -> None:
        before = self.changes[leaf.list_url][leaf.index]
        if before and before[-1].status == "revoked":
            self._tell("status.revived", f"{leaf.list_url}#{leaf.index}", f"{where} changes what is revoked")
        before.append(leaf)

    def _read_version(self, where: str, place: int, leaf: ListPublished) -> None:
        before = self.versions.get(leaf.list_url)
        if leaf.tree_size > place:
            self._tell("version.wrong", leaf.list_url, f"{where} reflects more leaves than were before it")
        if before is not None and (before.version >= leaf.version or before.tree_size > leaf.tree_size):
            self._tell("version.backwards", leaf.list_url, f"{where} shows less than the one before")
        self.versions[leaf.list_url] = leaf

    def _tell(self, kind: str, subject: str, detail: str) -> None:
        self._found.append(Disagreement(kind, subject, detail))


def _check_place(url: str, index: int, seen: SeenList, changes: list[StatusChanged]) -> Iterator[Disagreement]:
    shown = seen.statuses.get(index, VALID)
    # What was recorded before the list's second is shown; what was recorded in it may be; what came later is not.
    settled = [change for change in changes if change.recorded < seen.issued_at]
    possible = {settled[-1].status if settled else VALID}
    possible |= {change.status for change in changes if change not in settled}
    if shown in possible:
        return
    if shown != VALID and all(change.status != shown for change in changes):
        yield Disagreement("list.unexplained", f"{url}#{index}", f"the list says {shown}, and the log never did")
    else:
        expected = settled[-1].status if settled else VALID
        yield Disagreement("status.list", f"{url}#{index}", f"the list says {shown}, the log {expected}")
