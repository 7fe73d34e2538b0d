"""Copies the logs, and the lists, into static files: first what a checkpoint rests on, then the checkpoint.

Where it got is what the checkpoint there says (C2SP tlog-tiles), so it goes on after any
end, and writes nothing a second time but the tiles at the edge. A storage that holds a
log which ours does not extend is left as it is: what was published is not taken back.

What changes, checkpoints and lists, is written over what was read, and over nothing else. First it is read what is
there, then asked in the database what is newest: what is there is no newer than that. A copier that is held up at any
point and goes on later, or whose write arrives late, finds another file than it read, and undoes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, TypeVar

from services.ledger.copied import copied_at, later_copy
from services.ledger.lists import ListPublisher, PublishedList
from services.ledger.log_store import LogStore
from services.ledger.projections import Projections
from services.ledger.resources import LogResources
from services.ledger.shards import StoredCheckpoint
from services.ledger.signing import Signers
from services.ledger.witnessed import WitnessedCheckpoints
from vitne.credentials.list_forms import ListForm
from vitne.errors import DataLoss, InvalidArgument, Unavailable
from vitne.merkle.memory import advance
from vitne.merkle.notes import Checkpoint
from vitne.merkle.policy import Policy
from vitne.merkle.resources import CHECKPOINT_PATH, Resource, log_prefix, resources_at
from vitne.merkle.succession import SUCCESSION_PATH
from vitne.runtime.objects import IMMUTABLE, Kind, Objects, Stored

#: Files that are written at once: enough to hide the way to an object storage, and few open files.
CONCURRENCY: Final = 16
#: How the files of the log are served. The checkpoint's age is what a reader may lag behind, beside our own second.
TILE: Final = Kind("application/octet-stream", IMMUTABLE)
CHECKPOINT: Final = Kind("text/plain; charset=utf-8", "public, max-age=1")
STATEMENT: Final = Kind("text/plain; charset=utf-8", IMMUTABLE)
#: How often one round tries to write a list's file where others write it, too; the next round goes on.
ATTEMPTS: Final = 3

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class _Copied:
    """A list's file in the storage, as this process wrote or found it.

    Attributes:
        version: of the list.
        tag: what the next version is written over.
    """

    version: int
    tag: str


class Publication:
    """Copies to one storage; a second copier at the same time does no harm, nor does one of before.

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
        contradicted: Callable[[], Awaitable[object]] | None = None,
    ) -> None:
        self._store = store
        self._resources = resources
        self._witnessed = witnessed
        self._lists = lists
        self._projections = projections
        self._signers = signers
        self._objects = objects
        self._contradicted = contradicted
        #: The lists' files, by their paths.
        self._copied: dict[str, _Copied] = {}
        self._stated = 0
        self._making = asyncio.Lock()
        #: What logs that ended were copied with, by their prefix.
        self._ended: dict[str, str] = {}

    async def publish(self) -> None:
        """Bring the storage up to the present.

        Raises:
            DataLoss: ``LOG_FORKED``, ``LOG_ROLLED_BACK``: the storage holds a log that ours does not extend;
                ``COPY_UNREADABLE``, ``LIST_ROLLED_BACK``: it holds something else in place of a checkpoint or a list,
                or a later one than is known here. Lists, and other logs, are copied all the same.
            Unavailable: ``STORAGE_UNAVAILABLE``, ``LOG_NOT_STARTED``.
        """
        there = await self._checkpoints()
        # Only now what the database says, which is no earlier than what is there.
        logs = await self._store.logs()
        statements = await self._store.statements()
        first = logs[0].shard.origin
        # Whoever sees a checkpoint under a new key finds the statement that explains it.
        for number in range(self._stated, len(statements)):
            await self._objects.put(f"{SUCCESSION_PATH}/{number + 1}", statements[number].encode(), STATEMENT)
            self._stated = number + 1
        policy = Policy.of_log(self._signers(first, 1).key).following(statements)
        contradicted: DataLoss | None = None
        for log in logs:
            prefix = log_prefix(log.shard.origin, first)
            shown = await self._witnessed.shown(log.shard)
            # Of a log that ended, nothing comes but its last checkpoint's cosignatures.
            # One that began, or was cosigned, since the checkpoints were read is for the next round.
            if prefix not in there or self._ended.get(prefix) == shown.note:
                continue
            try:
                copied = await self._publish_log(shown, log.size, prefix, policy, there[prefix])
            except DataLoss as error:
                contradicted = contradicted or error
                continue
            if copied and log is not logs[-1]:
                self._ended[prefix] = shown.note
        if contradicted is not None and self._contradicted is not None:
            await self._contradicted()
        # Whatever is wrong with a log's copy: lists expire unless they are copied anew.
        await self._publish_lists()
        if contradicted is not None:
            raise contradicted

    async def _checkpoints(self) -> Mapping[str, Stored | None]:
        """What the storage shows of the logs that may have more to show, by their prefixes."""
        logs = await self._store.logs()
        there = {}
        for log in logs:
            prefix = log_prefix(log.shard.origin, logs[0].shard.origin)
            if log is logs[-1] or self._ended.get(prefix) != (await self._witnessed.shown(log.shard)).note:
                there[prefix] = await self._objects.read(prefix + CHECKPOINT_PATH)
        return there

    async def _publish_log(
        self, shown: StoredCheckpoint, size: int, prefix: str, policy: Policy, there: Stored | None
    ) -> bool:
        """Bring one log up to a checkpoint; False: another copier wrote meanwhile, and the next round looks anew."""
        note = shown.note.encode()
        if there is not None and there.data == note:
            return True
        seen = Checkpoint.parse(shown.note.partition("\n\n")[0] + "\n")
        known = None if there is None else _opened(prefix, there, policy)
        if known is not None:
            if seen.size < known.size <= size:
                return True  # witnesses who were silent have cosigned one of before: what is newer stays
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
        over = None if there is None else there.tag
        return await self._objects.replace(prefix + CHECKPOINT_PATH, note, CHECKPOINT, over=over) is not None

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
        due = [entry for entry in self._lists.published() if any(self._is_due(entry, form) for form in ListForm)]
        failed: list[BaseException] = []
        # Forms are signed here, and each list has one file at a time on its way: the files are what is waited for.
        for some in _batched(due, CONCURRENCY):
            failed += await _failures(self._put_list(entry, caching) for entry in some)
            if any(isinstance(error, Unavailable) for error in failed):
                break
        for error in failed:
            raise error

    def _is_due(self, entry: PublishedList, form: ListForm) -> bool:
        copied = self._copied.get(_path(entry, form))
        return copied is None or copied.version < entry.version

    async def _put_list(self, entry: PublishedList, caching: str) -> None:
        """A version's forms in their order, right after each other, all from its token.

        Who ends in between leaves the rest as they were; the next copier writes that, or a later version.
        """
        failed: list[Exception] = []
        for form in ListForm:
            try:
                if self._is_due(entry, form) and not await self._put_form(entry, form, Kind(form.media_type, caching)):
                    break
            except Unavailable:
                raise
            except Exception as error:  # noqa: BLE001 - one that can't be made or replaced holds up no other
                failed.append(error)
        for each in failed:
            raise each

    async def _put_form(self, entry: PublishedList, form: ListForm, kind: Kind) -> bool:
        """Write one form; False: a later version is published, which a later round has."""
        path = _path(entry, form)
        async with self._making:
            await asyncio.sleep(0)  # making one takes milliseconds: the calls that wait get a turn between two
            body = self._projections.of(entry, form).body
        copied = self._copied.pop(path, None)
        tag = None if copied is None else await self._objects.replace(path, body, kind, over=copied.tag)
        for _ in range(ATTEMPTS):
            if tag is not None:
                break
            there = await self._objects.read(path)
            # A version's number is not in what is signed, dates are whole seconds, and clocks are set back. So it is
            # the database that says whether ours is the newest; asked now, it knows of all that may have been read.
            if not await self._lists.is_newest(entry):
                return False
            if there is None:
                tag = await self._objects.replace(path, body, kind, over=None)
            elif there.data == body:
                tag = there.tag
            else:
                at = copied_at(entry, form, path, there.data)
                if at > entry.published and not await self._lists.was_published(entry.url, at):
                    raise later_copy(path, at, entry)
                tag = await self._objects.replace(path, body, kind, over=there.tag)
        if tag is None:
            return False
        self._copied[path] = _Copied(entry.version, tag)
        return True


def _opened(prefix: str, there: Stored, policy: Policy) -> Checkpoint:
    """What the storage shows of a log.

    Raises:
        DataLoss: ``COPY_UNREADABLE``: it is something else.
    """
    try:
        return policy.open(there.data).checkpoint
    except InvalidArgument as error:
        raise DataLoss(
            "COPY_UNREADABLE",
            f"what is in the storage in place of a checkpoint is left as it is: {error.message}",
            field=prefix + CHECKPOINT_PATH,
            rule="nothing but the ledger writes into the storage that it copies to (VITNE_STORAGE)",
            remedy="find out who wrote the file, and keep it: another ledger's checkpoint may be evidence. Once it is "
            "taken away, the ledger writes the newest there",
        ) from error


def _path(entry: PublishedList, form: ListForm) -> str:
    """Where a list is in the storage in a form."""
    return f"{entry.path.lstrip('/')}{form.value}"


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
    for error in await _failures(writes):
        raise error


async def _failures(writes: Iterable[Coroutine[Any, Any, None]]) -> list[BaseException]:
    """Write at once; answers what failed when all are written or given up."""
    return [each for each in await asyncio.gather(*writes, return_exceptions=True) if each is not None]
