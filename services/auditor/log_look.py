"""One look at a published log with what is public: the walk, then its lists, its witnesses and what was remembered."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import aiohttp

from vitne.audit.agreement import Disagreement
from vitne.audit.log_contents import Forms, SeenList
from vitne.clock import Clock
from vitne.credentials.jose import PublicKey
from vitne.errors import Unavailable
from vitne.inspection.lists import fetch_logged, fetch_seen
from vitne.inspection.log_memory import LogMemory
from vitne.inspection.mirror import Mirror
from vitne.inspection.published_log import Fetch, over_http, witness_marks
from vitne.inspection.published_logs import PublishedLogs
from vitne.merkle.policy import Policy
from vitne.runtime.objects import Objects

#: Seconds between two looks.
LOOK_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Beside:
    """What a log is compared with, beside its checkpoints and its witnesses.

    Attributes:
        keys: of status lists, by thumbprint; without any, lists are not compared.
        served_at: where addresses of lists that begin so are really fetched.
        named: lists that are compared though no leaf may name them.
        issued: what an issuer knows to have issued, by digest, with what to call it.
        memory: what was believed the last time.
    """

    keys: Mapping[str, PublicKey]
    served_at: Mapping[str, str]
    memory: LogMemory
    named: Sequence[str] = ()
    issued: Mapping[bytes, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Looked:
    """What a look came to.

    Attributes:
        shown: what was walked to, to be remembered.
        leaves: entries of the log, and of those that it followed.
        issued: issuances among them.
        lists: status lists of which some form could be read, and was compared.
        logged: of how many of them also the version that the log has last, by its digest.
        looked_at: whether lists were looked at; without a key for them nobody can.
        witnesses: names of those that were asked, and why one said nothing; empty where it answered.
        disagreements: all of them.
        unreachable: why of some lists, by URL, nobody knows anything: where they are fetched, nothing answers.
    """

    shown: LogMemory = field(repr=False)
    leaves: int
    issued: int
    lists: int
    logged: int
    looked_at: bool
    witnesses: dict[str, str]
    disagreements: list[Disagreement]
    unreachable: dict[str, Unavailable]


async def look(
    session: aiohttp.ClientSession,
    url: str,
    policy: Policy,
    beside: Beside,
    *,
    copy: Objects | None = None,
    seconds: float,
    clock: Clock,
    progress: Callable[[str], None] = lambda _text: None,
) -> Looked:
    """Walk the log and those that followed it; then fetch the lists that they name, and walk on to what these show.

    Args:
        session: fetches.
        url: the first log's prefix.
        policy: what its checkpoints need.
        beside: what it is compared with.
        copy: where a copy of the logs is kept; its checkpoints are set where the logs agree. None: nowhere.
        seconds: how long lists and log may be on their way to each other.
        clock: of the pauses.
        progress: is told how far the walk is.

    Raises:
        VitneError: there is nothing to look at.
    """
    fetch = over_http(session, url)
    mirror = None if copy is None else await Mirror.of(fetch, copy, policy)

    async def walked() -> tuple[Looked, list[Disagreement]]:
        walk = _Look(
            session,
            mirror.fetch if mirror else fetch,
            policy,
            beside,
            mirror=mirror,
            clock=clock,
            progress=progress,
        )
        return await walk.settle(seconds)

    looked, own = await walked()
    if mirror and mirror.relied and own:
        # By what is kept, or by the log itself? It is walked once more, and nothing is taken from the copy.
        progress("something does not agree: once more, without what is kept")
        mirror.distrust()
        again, own_again = await walked()
        if own_again or mirror.differs:
            looked, own = again, own_again
    if mirror and not own:
        looked.disagreements.extend(mirror.faults)
        await mirror.conclude(looked.shown)
        progress(f"the copy has {looked.leaves} leaves; {mirror.fetched} files were fetched")
    return looked


@dataclass(frozen=True, slots=True)
class _Compared:
    """What one comparison came to: of the log itself, of what it lacks yet, and of what is held against it."""

    own: list[Disagreement]
    behind: list[Disagreement]
    among: list[Disagreement]
    lists: Mapping[str, Forms]
    unreachable: dict[str, Unavailable]

    @property
    def may_settle(self) -> bool:
        """Whether another look may find less.

        What is wrong with the log stays so. But while it is behind, it is not known what is, and what will have come.
        """
        return bool(self.behind or (not self.own and (self.among or self.unreachable)))


class _Look:
    """Walks the logs once, and compares what they say until it agrees, or the time is over."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        fetch: Fetch,
        policy: Policy,
        beside: Beside,
        *,
        mirror: Mirror | None,
        clock: Clock,
        progress: Callable[[str], None],
    ) -> None:
        self._session = session
        self._beside = beside
        self._mirror = mirror
        self._clock = clock
        self._progress = progress
        self._logs = PublishedLogs(fetch, policy)
        #: Of each list the version that was logged last, where it could be had.
        self._logged: dict[str, SeenList] = {}

    async def settle(self, seconds: float) -> tuple[Looked, list[Disagreement]]:
        """Walk, and compare for as many seconds as something does not agree; with what of that is the logs' own."""
        logs, beside = self._logs, self._beside
        await logs.read_statements()
        marks, silent = await witness_marks(self._session, logs.policy)
        witnesses = logs.policy.witnesses.items()
        asked = {name: silent.get(name, "") for name, key in witnesses if key.name in logs.policy.urls}
        logs.hold_to([*marks, *beside.memory.marks(logs.policy), *(self._mirror.marks if self._mirror else ())])
        # After the witnesses were asked: what they saw is shown by now, or soon.
        await logs.walk_on(self._progress)
        started = self._clock.monotonic()
        told = False
        while (compared := await self._compare()).may_settle and self._clock.monotonic() - started < seconds:
            if not told:
                self._progress(f"not all agrees yet, or answers: looking again for up to {seconds:.0f} s (--settle)")
                told = True
            await self._clock.sleep(LOOK_SECONDS)
        own = [*compared.own, *compared.behind]
        unheard = [Disagreement("witness.silent", name, why) for name, why in asked.items() if why]
        looked = Looked(
            shown=logs.shown,
            leaves=logs.contents.leaves,
            issued=logs.contents.issued,
            lists=sum(any(isinstance(form, SeenList) for form in forms.values()) for forms in compared.lists.values()),
            logged=len(self._logged),
            looked_at=bool(beside.keys),
            witnesses=asked,
            disagreements=[*own, *compared.among, *unheard],
            unreachable=compared.unreachable,
        )
        return looked, own

    async def _compare(self) -> _Compared:
        logs, beside, contents = self._logs, self._beside, self._logs.contents
        lists: Mapping[str, Forms] = {}
        unreachable: dict[str, Unavailable] = {}
        # Before the lists: however long it takes to fetch them and to walk on, none of them looks older for it.
        fetched = self._clock.now()
        if beside.keys:
            urls = sorted(contents.changes.keys() | contents.versions.keys() | set(beside.named))
            lists, unreachable = await fetch_seen(self._session, urls, beside.keys.get, beside.served_at)
        # After the lists: what they show has to be in it.
        await logs.walk_on(self._progress)
        own = logs.finish()
        for before in (beside.memory, *((self._mirror.known,) if self._mirror else ())):
            # A log that is there, and not believed, is not missing: it is told what keeps it from being believed.
            own += [
                each
                for each in before.compare(logs.shown, logs.policy)
                if each not in own and not (each.kind == "log.missing" and each.subject in logs.walked)
            ]
        self._logged = await self._fetch_logged(lists, fetched)
        among = [
            *(contents.check_lists(lists, fetched, unknown=unreachable) if beside.keys else ()),
            *(
                each
                for url, seen in self._logged.items()
                if seen != lists[url][""]
                for each in contents.check_list(url, seen)
            ),
            *contents.check_issued(beside.issued),
        ]
        return _Compared(own, logs.behind(), among, lists, unreachable)

    async def _fetch_logged(self, lists: Mapping[str, Forms], now: datetime) -> dict[str, SeenList]:
        """Of each list the version that was logged last, by URL, where it is what is served, or can be fetched.

        Args:
            lists: as they are published.
            now: when they were fetched.
        """
        contents = self._logs.contents
        found = {}
        for url, forms in lists.items():
            newest = forms[""]
            if isinstance(newest, str) or url not in contents.versions:
                continue
            for seen in (newest, self._logged.get(url)):
                if seen is not None and contents.is_logged(url, seen.digest):
                    found[url] = seen
                    break
            else:
                # Changes are logged in about the order of their dates; and no list is newer than what is published.
                there_by = contents.there_by(url, now) or newest.issued_at
                by = min(there_by + timedelta(seconds=1), newest.issued_at)
                past = await fetch_logged(
                    self._session,
                    url,
                    contents.versions[url].digest,
                    by,
                    find_key=self._beside.keys.get,
                    served_at=self._beside.served_at,
                )
                if past is not None:
                    found[url] = past
        return found
