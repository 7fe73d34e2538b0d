"""Copies the logs, and the lists, into static files: first what a checkpoint rests on, then the checkpoint.

Where it got is what the checkpoint there says (C2SP tlog-tiles), so it goes on after any
end, and writes nothing a second time but the tiles at the edge. A storage that holds a
log which ours does not extend is left as it is: what was published is not taken back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from itertools import islice
from typing import Any, Final, TypeVar

from services.ledger.lists import ListPublisher, PublishedList
from services.ledger.log_store import LogStore
from services.ledger.projections import Form, Projections
from services.ledger.resources import LogResources
from services.ledger.shards import StoredCheckpoint
from services.ledger.signing import Signers
from services.ledger.witnessed import WitnessedCheckpoints
from vitne.errors import DataLoss
from vitne.merkle.memory import advance
from vitne.merkle.notes import Checkpoint
from vitne.merkle.policy import Policy
from vitne.merkle.resources import CHECKPOINT_PATH, Resource, log_prefix, resources_at
from vitne.merkle.succession import SUCCESSION_PATH
from vitne.runtime.objects import IMMUTABLE, Kind, Objects

#: Files that are written at once: enough to hide the way to an object storage, and few open files.
CONCURRENCY: Final = 16
#: How the files of the log are served. The checkpoint's age is what a reader may lag behind, beside our own second.
TILE: Final = Kind("application/octet-stream", IMMUTABLE)
CHECKPOINT: Final = Kind("text/plain; charset=utf-8", "public, max-age=1")
STATEMENT: Final = Kind("text/plain; charset=utf-8", IMMUTABLE)

_T = TypeVar("_T")


class Publication:
    """Copies to one storage; a second copier at the same time does no harm.

    Args:
        store: the log.
        resources: its files.
        witnessed: which checkpoint is shown.
        lists: what is published of lists.
        projections: their forms.
        signers: have the logs' own keys, which verify what is in the storage.
        objects: the storage.
        contradicted: is called where the storage holds a log that ours does not extend; None: nobody is.
    """

    def __init__(
        self,
        *,
        store: LogStore,
        resources: LogResources,
        witnessed: WitnessedCheckpoints,
        lists: ListPublisher,
        projections: Projections,
        signers: Signers,
        objects: Objects,
        contradicted: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._store = store
        self._resources = resources
        self._witnessed = witnessed
        self._lists = lists
        self._projections = projections
        self._signers = signers
        self._objects = objects
        self._contradicted = contradicted
        self._copied: dict[str, int] = {}
        self._stated = 0
        self._making = asyncio.Lock()
        #: What logs that ended were copied with, by their prefix.
        self._ended: dict[str, str] = {}

    async def publish(self) -> None:
        """Bring the storage up to the present.

        Raises:
            DataLoss: ``LOG_FORKED``, ``LOG_ROLLED_BACK``: the storage holds a log that ours does not extend.
            Unavailable: ``STORAGE_UNAVAILABLE``, ``LOG_NOT_STARTED``.
        """
        logs = await self._store.logs()
        statements = await self._store.statements()
        first = logs[0].shard.origin
        # Whoever sees a checkpoint under a new key finds the statement that explains it.
        for number in range(self._stated, len(statements)):
            await self._objects.put(f"{SUCCESSION_PATH}/{number + 1}", statements[number].encode(), STATEMENT)
            self._stated = number + 1
        policy = Policy.of_log(self._signers(first, 1).key).following(statements)
        for log in logs:
            prefix = log_prefix(log.shard.origin, first)
            shown = await self._witnessed.shown(log)
            # Of a log that ended, nothing comes but its last checkpoint's cosignatures.
            if self._ended.get(prefix) != shown.note:
                try:
                    await self._publish_log(shown, log.size, prefix, policy)
                except DataLoss:
                    if self._contradicted is not None:
                        await self._contradicted()
                    raise
            if log is not logs[-1]:
                self._ended[prefix] = shown.note
        await self._publish_lists()

    async def _publish_log(self, shown: StoredCheckpoint, size: int, prefix: str, policy: Policy) -> None:
        note = shown.note.encode()
        # Read each time: a copier that had lost its lock may have put an earlier one back.
        there = await self._objects.get(prefix + CHECKPOINT_PATH)
        if there == note:
            return
        seen = Checkpoint.parse(shown.note.partition("\n\n")[0] + "\n")
        known = None if there is None else policy.open(there).checkpoint
        if known is not None:
            if seen.size < known.size <= size:
                return  # witnesses who were silent have cosigned one of before: what is newer stays
            if seen.size < known.size:
                raise DataLoss(
                    "LOG_ROLLED_BACK",
                    f"the storage has {known.size} leaves, and the log {size}",
                    rule="no checkpoint contradicts an earlier one (tlog-checkpoint)",
                    remedy="the database was restored to an earlier instant: docs/operating/restore.md",
                )
            origin = shown.shard.origin
            proof = await self._store.prove_consistency(known.size, seen.size, origin) if known.size else None
            advance(known, seen, proof.path if proof else ())
        for some in _batched(resources_at(seen.size, known.size if known else 0), CONCURRENCY):
            await _together(self._copy(shown, resource, prefix) for resource in some)
        # Only now: whoever sees a checkpoint finds all that it rests on.
        await self._objects.put(prefix + CHECKPOINT_PATH, note, CHECKPOINT)

    async def _copy(self, log: StoredCheckpoint, resource: Resource, prefix: str) -> None:
        data = await self._resources.read(log, resource)
        if data is None:
            raise DataLoss(
                "NODE_MISSING",
                f"the database lacks {resource.path}",
                rule="tlog-tiles: a tree has all tiles that its size implies",
                remedy="restore the log's storage from a copy that agrees with the checkpoint",
            )
        await self._objects.put(prefix + resource.path, data, TILE)

    async def _publish_lists(self) -> None:
        """The newest version of each list, in all forms; those of before are in the log by their digests only."""
        caching = f"public, max-age={int(self._lists.ttl.total_seconds())}"
        due = [entry for entry in self._lists.published() if self._copied.get(entry.path, 0) < entry.version]
        # A list's forms are signed here, and a list at a time is held in all of them: the files are what is waited for.
        for some in _batched(due, CONCURRENCY // len(Form)):
            await _together(self._put_list(entry, form, caching) for entry in some for form in Form)
            self._copied |= {entry.path: entry.version for entry in some}

    async def _put_list(self, entry: PublishedList, form: Form, caching: str) -> None:
        async with self._making:
            await asyncio.sleep(0)  # making one takes milliseconds: the calls that wait get a turn between two
            body = self._projections.of(entry, form).body
        await self._objects.put(f"{entry.path.lstrip('/')}{form.value}", body, Kind(form.media_type, caching))


def _batched(items: Iterable[_T], size: int) -> Iterator[list[_T]]:
    """Items in their order, so many at a time."""
    waiting = iter(items)
    while some := list(islice(waiting, size)):
        yield some


async def _together(writes: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Write at once; returns when all are written or given up, so that nothing is written later than it seems.

    Raises:
        VitneError: of the first that failed; others may have been written.
    """
    failed = [each for each in await asyncio.gather(*writes, return_exceptions=True) if each is not None]
    for error in failed:
        raise error
