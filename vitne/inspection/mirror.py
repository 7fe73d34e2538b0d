"""A copy of published logs that is kept while they are walked, for any HTTP server to serve in their place."""

from __future__ import annotations

from typing import Final

from vitne.errors import InvalidArgument
from vitne.inspection.log_memory import LogMemory
from vitne.inspection.published_log import Fetch
from vitne.merkle.notes import Checkpoint, split_note
from vitne.merkle.resources import CHECKPOINT_PATH, LOGS_PATH, Resource, exists_at, log_prefix
from vitne.merkle.succession import SUCCESSION_PATH
from vitne.runtime.objects import IMMUTABLE, Kind, Objects

#: How a copy's files are to be served (C2SP tlog-tiles).
TILE: Final = Kind("application/octet-stream", IMMUTABLE)
STATEMENT: Final = Kind("text/plain; charset=utf-8", IMMUTABLE)
CHECKPOINT: Final = Kind("text/plain; charset=utf-8", "public, max-age=1")


class Mirror:
    """Keeps what is fetched. Checkpoints are set in the end, once all that they rest on was found to agree.

    What was kept beyond the copy's checkpoint was never found to agree, and is fetched again.

    Args:
        fetch: files below the first log's prefix.
        objects: where they are kept.
    """

    def __init__(self, fetch: Fetch, objects: Objects) -> None:
        self._fetch = fetch
        self._objects = objects
        #: Leaves of the copy, by the log's prefix.
        self._kept: dict[str, int] = {}
        #: Files that were fetched.
        self.fetched = 0

    async def fetch(self, path: str) -> bytes | None:
        """A file: one that never changes from what is kept, any other from the log.

        Raises:
            Unavailable: ``LOG_UNREACHABLE``; ``STORAGE_UNAVAILABLE``.
        """
        prefix, resource = _parse(path)
        if resource is None:
            return await self._fetch(path)
        if resource.full and exists_at(resource, await self._size(prefix)):
            kept = await self._objects.get(path)
            if kept is not None:
                return kept
        data = await self._fetch(path)
        self.fetched += 1
        if data is not None:
            await self._objects.put(path, data, TILE)
        return data

    async def conclude(self, shown: LogMemory) -> None:
        """Set what was walked to: first the statements, then the checkpoint of each log.

        Args:
            shown: the notes of all logs, the first log's first; everything of them was found to agree.

        Raises:
            Unavailable: ``STORAGE_UNAVAILABLE``.
        """
        for number, statement in enumerate(shown.statements, start=1):
            await self._objects.put(f"{SUCCESSION_PATH}/{number}", statement.encode(), STATEMENT)
        origins = [note.partition("\n")[0] for note in shown.notes]
        for origin, note in zip(origins, shown.notes, strict=True):
            await self._objects.put(log_prefix(origin, origins[0]) + CHECKPOINT_PATH, note.encode(), CHECKPOINT)

    async def _size(self, prefix: str) -> int:
        if prefix not in self._kept:
            note = await self._objects.get(prefix + CHECKPOINT_PATH) or b""
            try:
                self._kept[prefix] = Checkpoint.parse(split_note(note.decode("utf-8", "replace"))[0]).size
            except InvalidArgument:
                self._kept[prefix] = 0
        return self._kept[prefix]


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
