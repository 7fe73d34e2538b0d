"""What is fetched for a verification: status lists over guarded HTTP, proofs from the log."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Hashable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Generic, NamedTuple, Protocol, TypeVar

import grpc

from services.verifier.knowledge import Knowledge
from vitne.accreditation import registered_log
from vitne.clock import Clock
from vitne.credentials.jose import ED25519, PublicKey
from vitne.credentials.status_list import MAX_TOKEN_LENGTH, MEDIA_TYPE, StatusList, verify_token
from vitne.errors import DataLoss, InvalidArgument
from vitne.inspection.log_memory import LogMemory
from vitne.merkle.memory import advance, advance_statements, unsaid
from vitne.merkle.notes import MAX_NOTE_BYTES, NOTE_UNTRUSTED, Checkpoint, NoteKey, open_checkpoint
from vitne.merkle.policy import LOG_KEY_ENDED, LOG_KEY_RETIRED, Policy, Witnessed, key_ended
from vitne.merkle.proofs import verify_inclusion
from vitne.merkle.succession import Lineage, within
from vitne.runtime.fetch import Fetches
from vitne.runtime.status import error_from_rpc
from vitne_api.ledger.v1 import ledger_pb2
from vitne_api.registry.v1 import facts_pb2

#: Lists that are held open: a country's years; a megabyte each at most.
MAX_HELD_LISTS: Final = 64
#: Inclusions that are held, half a kilobyte each: a leaf that is in the log once is in it for ever.
MAX_HELD_INCLUSIONS: Final = 20_000
#: Checkpoints that are held open: the log makes a few a second, and a verifier sees the newest ones.
MAX_HELD_CHECKPOINTS: Final = 64
#: Seconds to wait for a proof.
PROOF_TIMEOUT_SECONDS: Final = 5.0
#: How long it may take until a key's stated end is applied here, in seconds; an unknown key is asked after at once.
STATEMENTS_SECONDS: Final = 60.0

#: Why a ledger refuses a proof for a size that its log never had, or has no more.
TREE_SIZE_UNKNOWN: Final = "TREE_SIZE_UNKNOWN"

_log = logging.getLogger(__name__)

_K = TypeVar("_K", bound=Hashable)
_V = TypeVar("_V")


class StatusSource(Protocol):
    """Answers signed status lists."""

    async def status_list(self, uri: str) -> StatusList:
        """The list at a URI, checked and fresh; raises VitneError when there is none to rely on."""
        ...


@dataclass(frozen=True, slots=True)
class Inclusion:
    """That a leaf is in the log, as was verified."""

    #: Of the leaf, from 0.
    index: int
    #: Under which it is.
    checkpoint: Checkpoint
    #: Thumbprint of the key that signed the checkpoint.
    key_id: str
    #: By when it was there for certain, as the policy's witnesses say; None: the policy asks for none.
    seen: datetime | None = None
    #: Leaves of the logs before that of the checkpoint.
    before: int = 0

    @property
    def place(self) -> int:
        """The leaf's place among those of all logs that follow each other: what came earlier is smaller."""
        return self.before + self.index


class LogSource(Protocol):
    """Answers what is in the log."""

    async def inclusion(self, leaf_hash: bytes) -> Inclusion:
        """Where a leaf is, proved; ``NotFound`` when the log has no such leaf, else VitneError."""
        ...

    async def earliest(self, leaf_hash: bytes) -> Inclusion:
        """The same, under the first checkpoint with the leaf that witnesses cosigned, where the source has that one."""
        ...


class ProofSource(Protocol):
    """Answers proofs of inclusion, which nobody has verified yet."""

    async def prove(self, leaf_hash: bytes, *, first: bool = False) -> ledger_pb2.GetInclusionProofResponse:
        """The proof for the newest checkpoint; ``NotFound`` when the log has no such leaf, else VitneError.

        Args:
            leaf_hash: of the leaf.
            first: where the source's checkpoints are cosigned, the first that has the leaf.
        """
        ...

    async def consistency(self, origin: str, from_size: int, to_size: int) -> Sequence[bytes]:
        """The proof that a log's tree of an earlier size begins a later one; VitneError when there is none."""
        ...

    async def succession(self) -> Sequence[str]:
        """The statements of succession, which nobody has verified yet, in their order."""
        ...


class _Recent(Generic[_K, _V]):
    """The most recently used values."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._held: OrderedDict[_K, _V] = OrderedDict()

    def get(self, key: _K) -> _V | None:
        value = self._held.get(key)
        if value is not None:
            self._held.move_to_end(key)
        return value

    def put(self, key: _K, value: _V) -> None:
        self._held[key] = value
        self._held.move_to_end(key)
        if len(self._held) > self._size:
            self._held.popitem(last=False)

    def drop(self, key: _K) -> None:
        self._held.pop(key, None)

    def clear(self) -> None:
        self._held.clear()


class _Shared(Generic[_K, _V]):
    """Lets those who ask for the same at the same time wait for one answer."""

    def __init__(self, ask: Callable[[_K], Coroutine[Any, Any, _V]]) -> None:
        self._ask = ask
        self._asking: dict[_K, asyncio.Task[_V]] = {}

    async def __call__(self, key: _K) -> _V:
        return await asyncio.shield(self.begin(key))

    def begin(self, key: _K) -> asyncio.Task[_V]:
        """Ask, and wait for nothing."""
        task = self._asking.get(key)
        if task is None:
            task = self._asking[key] = asyncio.create_task(self._ask(key))
            task.add_done_callback(lambda done: self._forget(key, done))
        return task

    def _forget(self, key: _K, done: asyncio.Task[_V]) -> None:
        self._asking.pop(key, None)
        if not done.cancelled():
            done.exception()  # whoever asked may have gone; then nobody else looks at it


class StatusLists:
    """Fetches lists by allow-rules, checks them, and keeps each for its ``ttl`` at most.

    Args:
        fetcher: knows what may be fetched, and from where.
        knowledge: has the operator's keys for status lists.
        clock: tells how old a copy is.
    """

    def __init__(self, fetcher: Fetches, knowledge: Knowledge, clock: Clock) -> None:
        self._fetcher = fetcher
        self._knowledge = knowledge
        self._clock = clock
        self._held: _Recent[str, tuple[datetime, StatusList]] = _Recent(MAX_HELD_LISTS)
        self._fetching = _Shared(self._fetch)

    async def status_list(self, uri: str) -> StatusList:
        """See :class:`StatusSource`.

        Raises:
            PermissionDenied: ``FETCH_NOT_ALLOWED``.
            Unavailable: ``FETCH_FAILED`` and its kin, ``STATUS_LIST_STALE``.
            InvalidArgument: as :func:`~vitne.credentials.status_list.verify_token`.
        """
        held = self._held.get(uri)
        if held is not None and self._clock.now() < held[0]:
            return held[1]
        return await self._fetching(uri)

    async def _fetch(self, uri: str) -> StatusList:
        asked = self._clock.now()
        fetched = await self._fetcher.fetch(uri, accept=MEDIA_TYPE, max_bytes=MAX_TOKEN_LENGTH)
        if fetched.content_type != MEDIA_TYPE:
            raise InvalidArgument(
                "STATUS_LIST_MALFORMED",
                "what is published there is no status list token",
                field="status_list",
                rule=f"media type {MEDIA_TYPE}",
                remedy="ask the publisher",
            )
        now = self._clock.now()
        keys = self._knowledge.operator_keys(facts_pb2.KEY_USE_STATUS_LIST, now)
        found = verify_token(fetched.body.decode("ascii", "replace"), uri=uri, find_key=keys.get, now=now)
        self._held.drop(uri)
        if found.ttl is not None:
            until = asked + found.ttl
            self._held.put(uri, (until if found.expires_at is None else min(until, found.expires_at), found))
        return found


class LogProofs:
    """Asks the ledger's public RPC.

    Args:
        stub: of ``vitne.ledger.v1.LedgerService``.
        witnessed: whether proofs have to be for checkpoints that witnesses cosigned.
    """

    def __init__(self, stub: Any, *, witnessed: bool = False) -> None:
        self._stub = stub
        self._witnessed = witnessed

    async def prove(self, leaf_hash: bytes, *, first: bool = False) -> ledger_pb2.GetInclusionProofResponse:
        """See :class:`ProofSource`."""
        request = ledger_pb2.GetInclusionProofRequest(
            leaf_hash=leaf_hash, witnessed=self._witnessed, first_witnessed=self._witnessed and first
        )
        try:
            answer: ledger_pb2.GetInclusionProofResponse = await self._stub.GetInclusionProof(
                request, timeout=PROOF_TIMEOUT_SECONDS
            )
        except grpc.aio.AioRpcError as error:
            raise error_from_rpc(error) from error
        return answer

    async def consistency(self, origin: str, from_size: int, to_size: int) -> Sequence[bytes]:
        """See :class:`ProofSource`."""
        request = ledger_pb2.GetConsistencyProofRequest(from_size=from_size, to_size=to_size, origin=origin)
        try:
            answer = await self._stub.GetConsistencyProof(request, timeout=PROOF_TIMEOUT_SECONDS)
        except grpc.aio.AioRpcError as error:
            raise error_from_rpc(error) from error
        return list(answer.path)

    async def succession(self) -> Sequence[str]:
        """See :class:`ProofSource`."""
        try:
            answer = await self._stub.GetSuccession(ledger_pb2.GetSuccessionRequest(), timeout=PROOF_TIMEOUT_SECONDS)
        except grpc.aio.AioRpcError as error:
            raise error_from_rpc(error) from error
        return list(answer.statements)


class _Opened(NamedTuple):
    """A checkpoint, by which of the operator's keys it counts, and when the policy's witnesses had seen it."""

    key_id: str
    checkpoint: Checkpoint
    seen: datetime | None
    #: The key that signed it, by whose end it is held to.
    signer: NoteKey
    note: str


class Inclusions:
    """Verifies proofs of one log and those that followed it, and remembers what was proved: a leaf is asked for once.

    The largest checkpoint of each is remembered too, and every other has to be consistent with it: a log that shows
    this verifier two histories is refused from then on. A log that followed is taken by the statement of succession
    that both keys signed, where both are the operator's; and no key counts beyond the end that such a statement says.

    Args:
        proofs: where they come from.
        knowledge: has the operator's keys for checkpoints.
        origin: of the log; another log of the operator's that does not follow it proves nothing.
        clock: tells which keys count.
        policy: whose cosignatures a checkpoint needs, beside the operator's signature; None: nobody's.
        memory: what was remembered before this process; nothing of it counts but by a key that does.
    """

    def __init__(
        self,
        proofs: ProofSource,
        knowledge: Knowledge,
        origin: str,
        clock: Clock,
        policy: Policy | None = None,
        *,
        memory: LogMemory | None = None,
    ) -> None:
        self._proofs = proofs
        self._knowledge = knowledge
        self._origin = origin
        self._clock = clock
        self._policy = policy
        remembered = memory or LogMemory()
        #: Statements as the log told them last, and those that it is held to: signed by the operator's keys.
        self._statements: Sequence[str] = ()
        self._stated: tuple[str, ...] = tuple(remembered.statements)
        #: Checkpoints of before that it was not yet held to: nobody asked, or no key that is known signed them.
        self._before = [note for note in remembered.notes if note]
        self._told_unknown: set[str] = set()
        self._lineage = Lineage(())
        #: From which keys that follows.
        self._trusted: Sequence[NoteKey] = ()
        #: When the statements are read again, by the monotonic clock.
        self._look_again = 0.0
        self._last: dict[str, _Opened] = {}
        #: Held while what is remembered is compared, so that no statement changes it meanwhile.
        self._remembering = asyncio.Lock()
        #: Reads of the statements that were begun; one at a time, so that none is overtaken by an earlier one.
        self._reads = 0
        self._reading = asyncio.Lock()
        self._read = _Shared(self._read_once)
        self._held: _Recent[bytes, Inclusion] = _Recent(MAX_HELD_INCLUSIONS)
        self._opened: _Recent[str, _Opened] = _Recent(MAX_HELD_CHECKPOINTS)
        self._proving = _Shared(self._prove)

    @property
    def memory(self) -> LogMemory:
        """What the log is held to: the largest checkpoint of each, and the statements between them."""
        return LogMemory((*self._before, *(last.note for last in self._last.values())), self._stated)

    async def inclusion(self, leaf_hash: bytes) -> Inclusion:
        """See :class:`LogSource`.

        Raises:
            NotFound: the log has no such leaf, yet.
            InvalidArgument: ``BAD_INCLUSION_PROOF``, ``LOG_ORIGIN_UNKNOWN``, ``CHECKPOINT_KEY_UNKNOWN``, or as
                :meth:`~vitne.merkle.policy.Policy.open`.
            PermissionDenied: ``QUORUM_MISSING``: too few of the policy's witnesses cosigned.
            DataLoss: ``LOG_FORKED``: the log contradicts what it said before. ``SUCCESSION_WITHHELD``: it told of a
                statement of succession, and does so no more.
            VitneError: as the log answers.
        """
        held = self._held.get(leaf_hash)
        # It is in the log for ever; but a key that counts no longer has proved nothing.
        if held is not None and held.key_id in self._keys():
            self._look()
            return held
        return await self._proving(leaf_hash)

    async def earliest(self, leaf_hash: bytes) -> Inclusion:
        """See :class:`LogSource`; without a policy, witnesses' times are nobody's, and any checkpoint will do.

        Raises:
            as :meth:`inclusion`; Unavailable: ``NOT_WITNESSED``.
        """
        if self._policy is None:
            return await self.inclusion(leaf_hash)
        return await self._verified(leaf_hash, await self._proofs.prove(leaf_hash, first=True))

    async def _prove(self, leaf_hash: bytes) -> Inclusion:
        found = await self._verified(leaf_hash, await self._proofs.prove(leaf_hash))
        self._held.put(leaf_hash, found)
        return found

    async def _verified(self, leaf_hash: bytes, proof: ledger_pb2.GetInclusionProofResponse) -> Inclusion:
        opened = await self._open(proof.checkpoint)
        checkpoint = opened.checkpoint
        if checkpoint.size != proof.tree_size:
            raise InvalidArgument("BAD_INCLUSION_PROOF", "the proof is for another tree than the checkpoint's")
        verify_inclusion(
            leaf=leaf_hash,
            index=proof.leaf_index,
            size=checkpoint.size,
            path=list(proof.path),
            root=checkpoint.root,
        )
        await self._remember(opened)
        before = self._lineage.before.get(checkpoint.origin, 0)
        return Inclusion(proof.leaf_index, checkpoint, opened.key_id, opened.seen, before)

    async def _remember(self, opened: _Opened) -> None:
        """Hold a log to the largest checkpoint that it has shown, and to the end that was stated of it."""
        seen = opened.checkpoint
        async with self._remembering:
            if not within(self._lineage.closed.get(seen.origin), seen):
                raise _reopened(f"{seen.size} leaves of {seen.origin}")
            if not within(self._lineage.ended.get(opened.signer), seen):
                raise key_ended(seen)  # that was stated after it was opened
            recalled = self._recall(seen.origin)
            last = self._last.get(seen.origin)
            for known in (*recalled.values(), *([last] if last else [])):
                opened = await self._larger(known, opened)
            self._last[seen.origin] = opened
            self._before = [note for note in self._before if note not in recalled]

    async def _larger(self, known: _Opened, seen: _Opened) -> _Opened:
        """The larger of two of one log, once one is proved to begin the other."""
        first, second = known.checkpoint, seen.checkpoint
        if first == second:
            return seen
        try:
            larger = advance(first, second, await self._between(first, second))
        except DataLoss as error:
            _log.error("the log is not believed any more: %s", error)
            raise
        return seen if larger == second else known

    async def _between(self, known: Checkpoint, seen: Checkpoint) -> Sequence[bytes]:
        """Proof that one of two checkpoints of a log begins the other."""
        sizes = sorted((known.size, seen.size))
        if not 0 < sizes[0] < sizes[1]:
            return ()
        try:
            return await self._proofs.consistency(seen.origin, *sizes)
        except InvalidArgument as error:
            if error.reason != TREE_SIZE_UNKNOWN:
                raise
            raise DataLoss(
                "LOG_ROLLED_BACK",
                f"the log of {seen.origin} showed {sizes[1]} leaves, and does not know that size any more",
                rule="a log only grows (RFC 6962, section 2.1.2)",
                remedy="believe nothing of this log; keep what it showed, and show it to its operator and witnesses",
            ) from error

    def _recall(self, origin: str) -> dict[str, _Opened]:
        """What was remembered of a log before this process, opened by whichever of its keys signed it, by the note."""
        found = {}
        for note in [note for note in self._before if note.partition("\n")[0] == origin]:
            for key in self._lineage.keys:
                try:
                    known = open_checkpoint(note, key)
                except InvalidArgument:
                    continue
                ended = self._lineage.ended.get(key)
                found[note] = _Opened("", known if within(ended, known) else ended or known, None, key, note)
                break
            else:
                if note not in self._told_unknown:
                    self._told_unknown.add(note)
                    _log.warning(
                        "what is remembered of %s was signed by none of its keys, and counts for nothing", origin
                    )
        return found

    def _keys(self) -> Mapping[str, PublicKey]:
        return self._knowledge.operator_keys(facts_pb2.KEY_USE_CHECKPOINT, self._clock.now())

    async def _open(self, note: str) -> _Opened:
        """Open a log's checkpoint by the operator's key that signed it; answer the id of the key that counts for it."""
        opened = self._opened.get(note)
        if opened is not None and opened.key_id in self._keys():
            self._look()
            return opened
        # Before anything of it is looked at: what is that large is none, and would be held.
        if len(note) > MAX_NOTE_BYTES:
            raise InvalidArgument("TOO_LARGE", "the checkpoint is too large")
        origin = note.partition("\n")[0]
        # Also where the registry has other keys since: what is remembered may be of one that was not known.
        if (
            self._clock.monotonic() >= self._look_again
            or origin not in self._origins()
            or self._trusted != self._keys_ever()
        ):
            await self._read_statements()
        if origin not in self._origins():
            raise InvalidArgument(
                "LOG_ORIGIN_UNKNOWN",
                "the proof is from another log",
                field="checkpoint",
                rule=f"the log's origin is {self._origin}, or that of one that follows it by a statement of both",
                remedy="give the origin and the address of the same log; if they are, the log withholds the statement "
                "by which another followed (/succession/1 and on): ask its operator",
            )
        try:
            found = await self._believed(note)
        except InvalidArgument as error:
            if error.reason != NOTE_UNTRUSTED:
                raise
            # A key may have followed since: before that is told as a refusal, it is asked for.
            await self._read_statements()
            found = await self._believed(note)
        self._opened.put(note, found)
        return found

    async def _believed(self, note: str) -> _Opened:
        log = registered_log(
            self._knowledge.projection, self._knowledge.owner, self._origin, self._clock.now(), self._statements
        )
        if not log.policy.logs:
            raise InvalidArgument("CHECKPOINT_KEY_UNKNOWN", "the registry knows no key for checkpoints")
        try:
            witnessed = log.policy.open(note)
        except InvalidArgument as error:
            if error.reason == LOG_KEY_RETIRED:
                witnessed = await self._beginning(*log.policy.open_retired(note))
            elif error.reason == LOG_KEY_ENDED and note.partition("\n")[0] in self._lineage.closed:
                raise _reopened(error.message) from error
            else:
                raise
        # The policy's own keys are pinned: it follows the statements by itself.
        seen = None if self._policy is None else self._policy.following(self._statements).open(note).seen
        return _Opened(log.vouchers[witnessed.log], witnessed.checkpoint, seen, witnessed.log, note)

    async def _beginning(self, witnessed: Witnessed, ended: Checkpoint) -> Witnessed:
        """Have the log prove that what a retired key signed is the beginning of the tree with which its word ended.

        The key that followed signed that tree, too. So what witnesses saw before a key became known to others counts
        when that key does not any more, and whoever has the key can add nothing to it.
        """
        seen = witnessed.checkpoint
        path = await self._proofs.consistency(seen.origin, seen.size, ended.size) if seen.size < ended.size else ()
        advance(seen, ended, path)
        return witnessed

    def _origins(self) -> set[str]:
        return {self._origin, *(key.name for key in self._lineage.keys)}

    async def _read_statements(self) -> None:
        """Read how logs and keys followed each other, by an answer to what is asked from now on.

        One that is under way may not have what is looked for: all who ask meanwhile share the next.
        """
        await self._read(self._reads + 1)

    def _look(self) -> None:
        """See to it that statements are read where it is time, and wait for nothing: what is asked for is held."""
        if self._clock.monotonic() >= self._look_again and not self._reading.locked():
            self._read.begin(self._reads + 1)

    async def _read_once(self, number: int) -> None:
        async with self._reading:
            self._reads = number
            told = await self._proofs.succession()
            async with self._remembering:
                self._take(told)
            self._look_again = self._clock.monotonic() + STATEMENTS_SECONDS

    def _take(self, told: Sequence[str]) -> None:
        """Take what the log tells of its statements; what was told once is never forgotten."""
        trusted = self._keys_ever()
        self._lineage = advance_statements(trusted, self._stated, told)
        self._trusted, self._statements = trusted, told
        if stated := unsaid(self._stated, self._lineage.statements):
            self._stated += tuple(stated)
            # A key's word may have ended before what it was believed for.
            self._held.clear()
            self._opened.clear()
            for origin, last in self._last.items():
                ended = self._lineage.ended.get(last.signer)
                if ended is not None and not within(ended, last.checkpoint):
                    self._last[origin] = last._replace(checkpoint=ended)

    def _keys_ever(self) -> list[NoteKey]:
        """The operator's, also those that count no longer: what they lead to proves nothing but by one that counts."""
        ever = self._knowledge.operator_keys_ever(facts_pb2.KEY_USE_CHECKPOINT)
        return [NoteKey(self._origin, key.raw()) for key in ever if key.algorithm == ED25519]


def _reopened(why: str) -> DataLoss:
    refusal = DataLoss(
        "LOG_FORKED",
        f"the log ended, and shows what is not its end: {why}",
        rule="a log that is closed does not grow (docs/decisions/0021)",
        remedy="believe nothing of this log; keep checkpoint and statement, and show them to its operator",
    )
    _log.error("the log is not believed any more: %s", refusal)
    return refusal
