"""A copy of published logs that is kept while they are walked, for any HTTP server to serve in their place."""

from __future__ import annotations

from typing import Final

from vitne.audit.agreement import Disagreement
from vitne.audit.log_walk import Mark
from vitne.canonical import sha256
from vitne.errors import DataLoss, InvalidArgument, Unavailable
from vitne.inspection.log_memory import LogMemory
from vitne.inspection.published_log import Fetch
from vitne.merkle.notes import Checkpoint, split_note
from vitne.merkle.policy import Policy
from vitne.merkle.resources import CHECKPOINT_PATH, LOGS_PATH, Resource, exists_at, log_prefix
from vitne.merkle.succession import MAX_STATEMENTS, SUCCESSION_PATH, Succession
from vitne.runtime.objects import IMMUTABLE, Kind, Objects

#: How a copy's files are to be served (C2SP tlog-tiles).
TILE: Final = Kind("application/octet-stream", IMMUTABLE)
STATEMENT: Final = Kind("text/plain; charset=utf-8", IMMUTABLE)
CHECKPOINT: Final = Kind("text/plain; charset=utf-8", "public, max-age=1")

#: Who saw what the copy's checkpoints say.
THE_COPY: Final = "the copy"
#: What is told of a file of the copy that is not what the log has, where all else agrees: the copy's fault.
COPY_DIFFERS: Final = "copy.differs"


class Mirror:
    """Keeps what is fetched. Checkpoints are set in the end, once all that they rest on was found to agree.

    What a checkpoint of the copy rests on may be evidence against the log. Nothing of it is replaced before the log
    was found to agree, with that checkpoint too; what was kept beyond it was never found to agree, and is replaced.

    Args:
        fetch: files below the first log's prefix.
        objects: where they are kept.
        known: what the copy shows, as it was read.
        marks: what the logs are held to by it.
    """

    def __init__(self, fetch: Fetch, objects: Objects, known: LogMemory, marks: list[Mark]) -> None:
        self._fetch = fetch
        self._objects = objects
        #: What the copy shows.
        self.known = known
        #: Its checkpoints.
        self.marks = marks
        first = marks[0].checkpoint.origin if marks else ""
        #: Leaves of the copy, by the log's prefix.
        self._kept = {log_prefix(mark.checkpoint.origin, first): mark.checkpoint.size for mark in marks}
        self._trusted = True
        #: Files that the copy's checkpoints rest on, and that are not there as they were fetched: their digests.
        self._anew: dict[str, bytes] = {}
        self._differing: dict[str, None] = {}
        #: Whether something was taken from what is kept.
        self.relied = False
        #: Files that were fetched.
        self.fetched = 0

    @classmethod
    async def of(cls, fetch: Fetch, objects: Objects, policy: Policy) -> Mirror:
        """Go on with the copy that is kept in a place, or begin one.

        Args:
            fetch: files below the first log's prefix.
            objects: where they are kept.
            policy: whose logs they are copied from; a copy's checkpoints count by the logs' own signatures.

        Raises:
            DataLoss: ``COPY_UNREADABLE``: its checkpoints or statements are damaged, or another log's.
            Unavailable: ``STORAGE_UNAVAILABLE``.
        """
        known = await _read(objects)
        try:
            marks = known.marks(policy.following(known.statements), THE_COPY)
        except (InvalidArgument, DataLoss) as error:
            raise _unreadable(error.message) from error
        return cls(fetch, objects, known, marks)

    @property
    def faults(self) -> list[Disagreement]:
        """What of the copy is not as the log has it, where the logs were found to agree."""
        detail = "what was kept is not what the log has; the copy's file is replaced"
        return [Disagreement(COPY_DIFFERS, path, detail) for path in self._differing]

    def distrust(self) -> None:
        """Fetch everything from now on."""
        self._trusted = False
        self._anew.clear()
        self._differing.clear()

    async def fetch(self, path: str) -> bytes | None:
        """A file: one that never changes from what is kept, any other from the log.

        Raises:
            Unavailable: ``LOG_UNREACHABLE``; ``STORAGE_UNAVAILABLE``.
        """
        prefix, resource = _parse(path)
        if resource is None:
            return await self._fetch(path)
        rests_on = exists_at(resource, self._kept.get(prefix, 0))
        kept = await self._objects.get(path) if rests_on else None
        if kept is not None and resource.full and self._trusted:
            self.relied = True
            return kept
        data = await self._fetch(path)
        self.fetched += 1
        if data is None:
            return None
        if not rests_on:
            await self._objects.put(path, data, TILE)
        elif data != kept:
            # Not the file itself: of a log that shows another history, all of them are.
            self._anew[path] = sha256(data)
            if kept is not None:
                self._differing[path] = None
        return data

    async def conclude(self, shown: LogMemory) -> None:
        """Set what was walked to: first the files that it rests on, then the statements, then each log's checkpoint.

        Args:
            shown: the notes of all logs, the first log's first; everything of them was found to agree, also with
                :attr:`marks` and :attr:`known`.

        Raises:
            DataLoss: ``LOG_ROLLED_BACK``: the copy has more leaves; it is left as it is.
            Unavailable: ``LOG_UNREACHABLE``: a file is not served as it was; ``STORAGE_UNAVAILABLE``.
        """
        noted = [(Checkpoint.parse(split_note(note)[0]), note) for note in shown.notes]
        first = noted[0][0].origin
        checkpoints = {log_prefix(each.origin, first): (each.size, note) for each, note in noted}
        for prefix, size in self._kept.items():
            if prefix not in checkpoints or checkpoints[prefix][0] < size:
                raise _rolled_back(prefix or first, size)
        for path, digest in self._anew.items():
            await self._replace(path, digest)
        for number, statement in enumerate(shown.statements, start=1):
            await self._objects.put(_statement_path(number), statement.encode(), STATEMENT)
        for prefix, (_, note) in checkpoints.items():
            await self._objects.put(prefix + CHECKPOINT_PATH, note.encode(), CHECKPOINT)

    async def _replace(self, path: str, digest: bytes) -> None:
        data = await self._fetch(path)
        if data is None or sha256(data) != digest:
            raise Unavailable("LOG_UNREACHABLE", "it is not served as it was a moment ago", field=path)
        await self._objects.put(path, data, TILE)


async def _read(objects: Objects) -> LogMemory:
    """What a copy shows: its checkpoints, the first log's first, and its statements; nothing where there is none."""

    async def text(path: str) -> str | None:
        data = await objects.get(path)
        try:
            return None if data is None else data.decode()
        except UnicodeDecodeError as error:
            raise _unreadable(f"{path} is no text") from error

    first = await text(CHECKPOINT_PATH)
    if first is None:
        return LogMemory()
    notes, statements = [first], list[str]()
    while len(statements) < MAX_STATEMENTS and (statement := await text(_statement_path(len(statements) + 1))):
        statements.append(statement)
        try:
            stated = Succession.parse(split_note(statement)[0])
        except InvalidArgument as error:
            raise _unreadable(error.message) from error
        if stated.closes:
            note = await text(log_prefix(stated.key.name, first.partition("\n")[0]) + CHECKPOINT_PATH)
            # A copy that was ended while it was set has a statement before the log that it leads to.
            notes += [] if note is None else [note]
    return LogMemory(notes, statements)


def _statement_path(number: int) -> str:
    return f"{SUCCESSION_PATH}/{number}"


def _parse(path: str) -> tuple[str, Resource | None]:
    """The prefix of the log that a path is of, and what it names there; None: not a tile or bundle."""
    prefix, rest = "", path
    if path.startswith(f"{LOGS_PATH}/"):
        _, name, rest = path.split("/", 2)
        prefix = f"{LOGS_PATH}/{name}/"
    try:
        return prefix, Resource.parse(rest)
    except InvalidArgument:
        return prefix, None


def _unreadable(why: str) -> DataLoss:
    return DataLoss(
        "COPY_UNREADABLE",
        f"the copy is damaged, or another log's: {why}",
        field="copy",
        rule="the copy's checkpoints and statements are signed by the logs that it is a copy of",
        remedy="keep it where it is, since it may be evidence, and begin another copy in an empty place",
    )


def _rolled_back(log: str, size: int) -> DataLoss:
    return DataLoss(
        "LOG_ROLLED_BACK",
        f"the copy has {size} leaves of {log}, and the log shows fewer, or nothing",
        rule="no checkpoint contradicts an earlier one (tlog-checkpoint)",
        remedy="keep the copy: it is evidence; ask the log's operator",
    )
