"""Reads logs that follow each other as anybody can: from the first entry of the first to the checkpoint of the last."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Set
from typing import Final

from vitne.audit.agreement import Disagreement
from vitne.audit.log_contents import LogContents
from vitne.audit.log_walk import LogWalk, Mark
from vitne.errors import InvalidArgument, PermissionDenied
from vitne.inspection.log_memory import LogMemory
from vitne.inspection.published_log import ANOTHER_LOG, Fetch, no_checkpoint, walk_on
from vitne.merkle.notes import NOTE_UNTRUSTED, Checkpoint, split_note
from vitne.merkle.policy import LOG_KEY_ENDED, Policy
from vitne.merkle.resources import CHECKPOINT_PATH, log_prefix
from vitne.merkle.succession import MAX_STATEMENTS, SUCCESSION_PATH, Succession, succession_leaf

#: What is told of a statement of succession that has to be there, and is not served.
WITHHELD: Final = "succession.withheld"


class PublishedLogs:
    """Walks them, and can walk on.

    Args:
        fetch: files below the first log's prefix.
        policy: what checkpoints need; the first log is one of its logs.
    """

    def __init__(self, fetch: Fetch, policy: Policy) -> None:
        self._fetch = fetch
        self._own = policy
        #: With what follows from its logs by the statements that were read.
        self.policy = policy
        #: What all entries say.
        self.contents = LogContents()
        self._statements: list[str] = []
        self._marks: dict[str, list[Mark]] = defaultdict(list)
        self._walks: dict[str, LogWalk] = {}
        self._notes: dict[str, str] = {}
        self._refused: list[Disagreement] = []
        self._unshown: list[Disagreement] = []
        self._withheld: list[Disagreement] = []

    @property
    def shown(self) -> LogMemory:
        """What was walked to."""
        return LogMemory(tuple(self._notes.values()), tuple(self._statements))

    def hold_to(self, marks: Iterable[Mark]) -> None:
        """Hold the logs to what somebody saw, before they are walked."""
        for mark in marks:
            self._marks[mark.checkpoint.origin].append(mark)

    async def read_statements(self) -> None:
        """Read how the logs follow each other.

        Raises:
            VitneError: as :meth:`Policy.following`; ``LOG_UNREACHABLE``.
        """
        # What was withheld the last time may be served by now.
        self._withheld = []
        while len(self._statements) < MAX_STATEMENTS:
            statement = await self._fetch(f"{SUCCESSION_PATH}/{len(self._statements) + 1}")
            if statement is None:
                break
            self._statements.append(statement.decode("utf-8", "replace"))
        number = len(self._statements) + 1
        if await self._fetch(f"{SUCCESSION_PATH}/{number + 1}") is not None:
            detail = f"it is not served, and statement {number + 1} is: ask the log's operator for it"
            self._withheld.append(Disagreement(WITHHELD, f"succession {number}", detail))
        self.policy = self._own.following(self._statements)

    async def walk_on(self, progress: Callable[[str], None] = lambda _text: None) -> None:
        """Walk each log on to its present checkpoint.

        Raises:
            VitneError: as :func:`~vitne.inspection.published_log.walk_on`, :meth:`read_statements`.
        """
        await self.read_statements()
        stated = len(self._statements)
        await self._walk_all(progress)
        if self._unstated():
            # It may have ended while it was walked.
            await self.read_statements()
            if len(self._statements) > stated:
                await self._walk_all(progress)

    def finish(self) -> list[Disagreement]:
        """What is wrong with the logs, apart from what they may show yet (:meth:`behind`); all entries were taken."""
        found = [each for walk in self._walks.values() for each in walk.finish()]
        unshown = {each.subject for each in self._unshown}
        for origin in self._marks.keys() - self._walks.keys() - unshown:
            found += [Disagreement("log.missing", origin, f"{mark.who} saw it") for mark in self._marks[origin]]
        # Else one that follows could be shown in the place of the first, and nobody would look into that.
        for origin in self._closed() - self._walks.keys() - unshown:
            found.append(Disagreement("log.missing", origin, "a statement says that it ended, and it is not shown"))
        for origin in self._unstated():
            detail = (
                f"its last leaf closes it, and the statement by which another follows is not served at "
                f"/{SUCCESSION_PATH}/{len(self._statements) + 1}: ask the log's operator for it"
            )
            found.append(Disagreement(WITHHELD, origin, detail))
        return list(dict.fromkeys([*found, *self._refused, *self._withheld, *self.contents.finish()]))

    def behind(self) -> list[Disagreement]:
        """What others have of the logs beyond what they show: what lasts of it is wrong."""
        return [*(each for walk in self._walks.values() for each in walk.behind()), *self._unshown]

    @property
    def walked(self) -> Set[str]:
        """Origins of the logs that are there, believed or not."""
        return self._walks.keys()

    def _unstated(self) -> list[str]:
        """Logs that were closed, and of which no statement that was read says so."""
        return [origin for origin, walk in self._walks.items() if walk.closed and origin not in self._closed()]

    def _closed(self) -> Set[str]:
        return self.policy.lineage.closed.keys()

    async def _walk_all(self, progress: Callable[[str], None]) -> None:
        note = await self._fetch(CHECKPOINT_PATH)
        if note is None:
            raise no_checkpoint()
        first = Checkpoint.parse(split_note(note)[0]).origin  # whether it is believed is seen when it is walked
        self._refused, self._unshown = [], []
        await self._walk(first, "", b"", progress)
        for statement in self._statements:
            stated = Succession.parse(split_note(statement)[0])
            if stated.closes:
                leaf = succession_leaf(statement).to_bytes()
                await self._walk(stated.key.name, log_prefix(stated.key.name, first), leaf, progress)

    async def _walk(self, origin: str, prefix: str, first: bytes, progress: Callable[[str], None]) -> None:
        async def fetch(path: str) -> bytes | None:
            return await self._fetch(prefix + path)

        if prefix and await fetch(CHECKPOINT_PATH) is None:
            # Whoever copies puts the statement first.
            detail = f"a statement says that it follows, and {prefix}{CHECKPOINT_PATH} is not served"
            self._unshown.append(Disagreement("log.missing", origin, detail))
            return
        walk = self._walks.get(origin)
        if walk is None:
            walk = self._walks[origin] = LogWalk(self._marks.get(origin, ()), self.contents, first=first)
        end = self.policy.lineage.closed.get(origin)
        if end is not None:
            walk.end(end)
        try:
            try:
                self._notes[origin] = await walk_on(fetch, self.policy, walk, progress, origin=origin)
            except PermissionDenied:
                # Witnesses do not cosign what contradicts what they saw: then that is what is found, not their silence.
                await walk_on(fetch, self.policy.without_witnesses(), walk, progress, origin=origin)
                if not (walk.finish() or walk.behind()):
                    raise
        except InvalidArgument as error:
            if error.reason == LOG_KEY_ENDED:
                self._refused.append(Disagreement("log.reopened", origin, error.message))
            elif error.reason == ANOTHER_LOG:
                self._refused.append(Disagreement("log.another", origin, error.message))
            elif error.reason == NOTE_UNTRUSTED:
                raise self._unknown_key(origin) from error
            else:
                raise

    def _unknown_key(self, origin: str) -> InvalidArgument:
        count = len(self._statements)
        return InvalidArgument(
            NOTE_UNTRUSTED,
            f"{origin} is signed by no key of the policy's, nor by one that follows by the {count} statements that are "
            "served",
            field=CHECKPOINT_PATH,
            rule="a log's key is replaced by a statement that both sign (docs/decisions/0021)",
            remedy=f"if the log has another key now, the statement that says so is withheld: ask its operator for "
            f"/{SUCCESSION_PATH}/{count + 1}; else this is another log than the policy's",
        )
