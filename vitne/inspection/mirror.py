"""A copy of published logs that is kept while they are walked, for any HTTP server to serve in their place."""

from __future__ import annotations

from collections.abc import Sequence
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
from vitne.merkle.tiles import TILE_WIDTH
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
    Of a log whose checkpoint in the copy is damaged nobody knows how much was found to agree: all that is kept of it
    counts as that, and the checkpoint is replaced where the log has every file as the copy has it.

    Args:
        fetch: files below the first log's prefix.
        objects: where they are kept.
        known: what the copy shows, as it was read.
        marks: what the logs are held to by it.
        damaged: prefixes of the logs whose checkpoints in the copy can't be read.
    """

    def __init__(
        self, fetch: Fetch, objects: Objects, known: LogMemory, marks: list[Mark], damaged: Sequence[str] = ()
    ) -> None:
        self._fetch = fetch
        self._objects = objects
        self._damaged = damaged
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
            DataLoss: ``COPY_UNREADABLE``: a statement is damaged, or a checkpoint or statement is another log's.
            Unavailable: ``STORAGE_UNAVAILABLE``.
        """
        known, damaged = await _read(objects)
        try:
            marks = known.marks(policy.following(known.statements), THE_COPY)
        except (InvalidArgument, DataLoss) as error:
            raise _unreadable(error.message) from error
        return cls(fetch, objects, known, marks, damaged)

    @property
    def faults(self) -> list[Disagreement]:
        """What of the copy is not as the log has it, where the logs were found to agree."""
        unreadable = "what was kept is no signed note; the copy's other files are what the log has, and it is replaced"
        detail = "what was kept is not what the log has; the copy's file is replaced"
        return [
            *(Disagreement(COPY_DIFFERS, prefix + CHECKPOINT_PATH, unreadable) for prefix in self._damaged),
            *(Disagreement(COPY_DIFFERS, path, detail) for path in self._differing),
        ]

    @property
    def differs(self) -> bool:
        """Whether a tile or bundle that was fetched is not as it was kept."""
        return bool(self._differing)

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
        rests_on = prefix in self._damaged or exists_at(resource, self._kept.get(prefix, 0))
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
        if prefix in self._damaged and resource.level is None:
            await self._compare_edge(prefix, resource, data)
        return data

    async def _compare_edge(self, prefix: str, bundle: Resource, data: bytes) -> None:
        """Hold a bundle to those of other sizes that the copy has of it, where the copy's last entries may be.

        By its checkpoint it would be known how many entries that are.
        """
        if bundle.number and await self._objects.get(prefix + Resource(None, bundle.number - 1).path) is None:
            return
        for width in range(1, TILE_WIDTH + 1):
            path = prefix + Resource(None, bundle.number, width).path
            kept = await self._objects.get(path)
            # One of more entries: the log had them once.
            if kept is not None and not data.startswith(kept):
                self._differing[path] = None

    async def conclude(self, shown: LogMemory) -> None:
        """Set what was walked to: first the files that it rests on, then the statements, then each log's checkpoint.

        Args:
            shown: the notes of all logs, the first log's first; everything of them was found to agree, also with
                :attr:`marks` and :attr:`known`.

        Raises:
            DataLoss: ``LOG_ROLLED_BACK``: the copy has more leaves; ``COPY_UNREADABLE``: the copy differs from a
                log, and lacks the checkpoint that would say whose fault that is. It is left as it is.
            Unavailable: ``LOG_UNREACHABLE``: a file is not served as it was; ``STORAGE_UNAVAILABLE``.
        """
        noted = [(Checkpoint.parse(split_note(note)[0]), note) for note in shown.notes]
        first = noted[0][0].origin
        checkpoints = {log_prefix(each.origin, first): (each.size, note) for each, note in noted}
        for prefix, size in self._kept.items():
            if prefix not in checkpoints or checkpoints[prefix][0] < size:
                raise _rolled_back(prefix or first, size)
        for path in self._differing:
            if (prefix := _parse(path)[0]) in self._damaged:
                raise _unreadable(f"{prefix}{CHECKPOINT_PATH} can't be read, and {path} is not what the log has")
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


async def _read(objects: Objects) -> tuple[LogMemory, list[str]]:
    """What a copy shows: its checkpoints, the first log's first, and its statements; nothing where there is none.

    Also the prefixes of the logs whose checkpoints can't be read.
    """
    prefixes, statements = [""], list[str]()
    if await objects.get(CHECKPOINT_PATH) is None:
        return LogMemory(), []
    while len(statements) < MAX_STATEMENTS and (data := await objects.get(_statement_path(len(statements) + 1))):
        try:
            statements.append(data.decode())
            stated = Succession.parse(split_note(data)[0])
        except (UnicodeDecodeError, InvalidArgument) as error:
            why = error.message if isinstance(error, InvalidArgument) else "it is no text"
            raise _unreadable(f"{_statement_path(len(statements))}: {why}") from error
        if stated.closes:
            # The first log has no prefix, and none that follows has its origin.
            prefixes.append(log_prefix(stated.key.name, ""))
    notes, damaged = list[str](), list[str]()
    for prefix in prefixes:
        note = await objects.get(prefix + CHECKPOINT_PATH)
        if note is None:
            # A copy that was ended while it was set has a statement before the log that it leads to.
            continue
        try:
            split_note(note)
        except InvalidArgument:
            # Not signed by anybody, so it is nobody's word. One that is signed, by whomever, may be evidence.
            damaged.append(prefix)
        else:
            notes.append(note.decode())
    return LogMemory(notes, statements), damaged


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
        rule="the copy's checkpoints and statements are signed by the logs that it is a copy of; a checkpoint that is "
        "no signed note is replaced where all other files of the copy are what the log has",
        remedy="keep it where it is, since it may be evidence, and begin another copy in an empty place",
    )


def _rolled_back(log: str, size: int) -> DataLoss:
    return DataLoss(
        "LOG_ROLLED_BACK",
        f"the copy has {size} leaves of {log}, and the log shows fewer, or nothing",
        rule="no checkpoint contradicts an earlier one (tlog-checkpoint)",
        remedy="keep the copy: it is evidence; ask the log's operator",
    )
