"""A batch: read and checked while it arrives, issued after its end, answered item by item, in their order."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, nullcontext
from typing import Any, Final, TypeAlias
from uuid import UUID

from services.issuer.admission import Order, admit
from services.issuer.measuring import FINAL, measured_issue, refused_at_once
from services.issuer.metrics import BATCH
from services.issuer.quota import Quota
from services.issuer.renditions import require_known
from services.issuer.stored import Stored
from vitne.clock import Clock
from vitne.errors import Aborted, InvalidArgument, ResourceExhausted, Unavailable, VitneError
from vitne.identifiers import OrganisationId
from vitne.runtime.interceptors.errors import as_vitne_error
from vitne.runtime.room import Room
from vitne.runtime.rules import check_rules
from vitne.runtime.status import DeadlineExceeded, errors_to_status
from vitne.runtime.telemetry import without_steps
from vitne_api.issuer.v1 import issuer_pb2 as issuer

#: Most items of a batch.
MAX_ITEMS: Final = 10_000
#: Most bytes of all items together: what the largest batch comes to with every text as long as the contract allows, in
#: letters of one byte (1.9 kB an item). Items are held in memory until the client has sent them all.
MAX_BYTES: Final = 19 << 20
#: Batches at a time in this process: with the bytes above, the memory that they can take.
MAX_BATCHES: Final = 16
#: Batches at a time of one institution, so that none keeps the others out.
MAX_BATCHES_OF_ONE: Final = 4
#: Seconds that a batch may be open without a message, and before its last.
IDLE_SECONDS: Final = 60.0
READING_SECONDS: Final = 900.0
#: Most items, and answers, in one message.
MAX_PACK: Final = 100
#: Items that are on the road at a time: enough that one group is decided while another is committed.
WINDOW: Final = 1_000
#: What passes by itself: the item waits for that, rather than be answered by an error within milliseconds and the whole
#: batch with it.
PASSING: Final = frozenset({"DATABASE_UNAVAILABLE", "KEY_STORE_UNAVAILABLE", "STATUS_INDEXES_EXHAUSTED"})
#: Seconds between two tries meanwhile, at first and at most.
FIRST_PAUSE: Final = 0.25
LONGEST_PAUSE: Final = 5.0
#: Seconds without any success after which a batch no longer waits.
PATIENCE_SECONDS: Final = 60.0

#: Items of a batch in further formats that are on the road, or answered and not read by the client yet. All formats of
#: one have some forty kilobytes, and a client may take its time: as many batches as are served take 64 MiB.
UNREAD: Final = 100

#: How one order becomes a credential.
Issue: TypeAlias = Callable[[Order], Coroutine[Any, Any, Stored]]
#: Puts an issued credential in further formats into what is answered.
Render: TypeAlias = Callable[[issuer.IssuedCredential, Stored, Sequence[int]], Coroutine[Any, Any, None]]


async def _nothing_more(message: issuer.IssuedCredential, stored: Stored, formats: Sequence[int]) -> None:
    """Where no further formats are made."""


class Batches:
    """The batches of this process, which share its memory and its road.

    Args:
        issue: the road of one order; what it raises is that item's answer.
        room: how many orders the road takes at a time; further items of any batch wait for room.
        clock: for the checks of dates, and for pauses.
        quota: what providers may issue by batches; None: without bound.
        render: makes further formats.
    """

    def __init__(
        self, issue: Issue, room: int, clock: Clock, quota: Quota | None = None, render: Render = _nothing_more
    ) -> None:
        self._issue = issue
        self._render = render
        self._room = asyncio.Semaphore(room)
        self._clock = clock
        self._quota = quota
        self._open = Room(MAX_BATCHES_OF_ONE, MAX_BATCHES, _too_many)

    async def answer(
        self, provider: OrganisationId, requests: AsyncIterable[issuer.IssueBatchRequest]
    ) -> AsyncGenerator[issuer.IssueBatchResponse, None]:
        """Answer one call of IssueBatch; see :meth:`Batch.answer`.

        Raises:
            ResourceExhausted: ``TOO_MANY_BATCHES``: nothing of it was issued.
        """
        with self._open.take(str(provider)):
            batch = Batch(provider, self._issue_with_room, self._clock, self._quota, self._render)
            async with aclosing(batch.answer(requests)) as answers:
                async for answer in answers:
                    yield answer

    async def _issue_with_room(self, order: Order) -> Stored:
        async with self._room:
            return await self._issue(order)


class Batch:
    """One call of IssueBatch.

    Args:
        provider: the caller's organisation.
        issue: the road of one order; what it raises is that item's answer.
        clock: for the checks of dates, and for pauses.
        quota: what the provider may issue; None: without bound.
        render: makes further formats.
    """

    def __init__(
        self,
        provider: OrganisationId,
        issue: Issue,
        clock: Clock,
        quota: Quota | None = None,
        render: Render = _nothing_more,
    ) -> None:
        self._provider = provider
        self._issue = issue
        self._render = render
        self._formats: tuple[int, ...] = ()
        self._clock = clock
        self._quota = quota
        #: Since when nothing succeeds; None while something does.
        self._stuck_since: float | None = None
        self._request_id: UUID | None = None
        self._item_ids: set[str] = set()
        self._orders: dict[str, Order] = {}
        self._items = self._bytes = 0
        #: Whether the client sends several items in a message, and so takes several answers in one.
        self._packed = False

    async def answer(
        self, requests: AsyncIterable[issuer.IssueBatchRequest]
    ) -> AsyncGenerator[issuer.IssueBatchResponse, None]:
        """Answer every item, as ``issuer.proto`` says, then sum up.

        Raises:
            InvalidArgument: ``BATCH_HEADER_MISSING``, ``BATCH_HEADER_REPEATED``, ``BATCH_PART_MISSING``,
                ``BATCH_PACK_SIZE``, or a rule of the header; the whole batch is refused, and nothing of it was issued.
            ResourceExhausted: ``BATCH_TOO_LARGE`` or ``QUOTA_EXCEEDED``, likewise.
            DeadlineExceeded: ``BATCH_IDLE``, likewise.
        """
        states: Counter[issuer.ItemState.ValueType] = Counter()
        at_once: asyncio.Queue[list[issuer.BatchResult] | None] = asyncio.Queue()
        # Beside the answering: a client that reads only after it has sent everything must not hold up the reading,
        # or both would wait for each other. What queues is bounded by the batch's own bounds.
        reading = asyncio.create_task(self._read(requests, at_once))
        try:
            while (refused := await at_once.get()) is not None:
                for answer in self._told(refused, states):
                    yield answer
            await reading
        finally:
            reading.cancel()
        if self._request_id is None:
            raise _out_of_order("BATCH_HEADER_MISSING", "the batch has no header", "header")
        async with self._admitted(self._request_id), aclosing(self._run()) as groups:
            async for group in groups:
                for answer in self._told([_result(item_id, outcome) for item_id, outcome in group], states):
                    yield answer
        yield issuer.IssueBatchResponse(
            summary=issuer.BatchSummary(
                issued=states[issuer.ITEM_STATE_ISSUED],
                refused=states[issuer.ITEM_STATE_REFUSED],
                unfinished=states[issuer.ITEM_STATE_UNFINISHED],
                needs_human=states[issuer.ITEM_STATE_NEEDS_HUMAN],
            )
        )

    def _told(
        self, results: Sequence[issuer.BatchResult], states: Counter[issuer.ItemState.ValueType]
    ) -> Iterator[issuer.IssueBatchResponse]:
        """The messages that answer up to :data:`MAX_PACK` items, which are counted by their states."""
        for result in results:
            states[result.state] += 1
            if not self._packed:
                yield issuer.IssueBatchResponse(result=result)
        if self._packed:
            yield issuer.IssueBatchResponse(results=issuer.BatchResults(results=results))

    def _admitted(self, request_id: UUID) -> AbstractAsyncContextManager[None]:
        if self._quota is None:
            return nullcontext()
        return self._quota.admit(self._provider, request_id, len(self._orders))

    async def _read(
        self,
        requests: AsyncIterable[issuer.IssueBatchRequest],
        at_once: asyncio.Queue[list[issuer.BatchResult] | None],
    ) -> None:
        """Take all messages in; refusals of items go to the queue, and None when there is nothing more to come."""
        try:
            async with asyncio.timeout(READING_SECONDS) as bound, _ended_when_idle(bound) as heard:
                async for request in requests:
                    heard()
                    if refused := self._take(request):
                        at_once.put_nowait(refused)
        except TimeoutError:
            raise _idle() from None
        finally:
            at_once.put_nowait(None)

    def _take(self, request: issuer.IssueBatchRequest) -> list[issuer.BatchResult]:
        """Take one message in; answers the items that are refused for what needs no state.

        Raises:
            VitneError: what speaks against the batch.
        """
        part = request.WhichOneof("part")
        if part == "header" and self._request_id is None:
            check_rules(request.header, "header")
            require_known(request.header.formats, "header.formats")
            self._formats = tuple(request.header.formats)
            self._request_id = UUID(request.header.request_id)
            return []
        if part == "header":
            raise _out_of_order("BATCH_HEADER_REPEATED", "a batch has one header", "header")
        if part is None:
            raise _out_of_order("BATCH_PART_MISSING", "a message holds neither header nor items", "part")
        if self._request_id is None:
            raise _out_of_order("BATCH_HEADER_MISSING", "the first message must be the header", part)
        self._bytes += request.ByteSize()
        items: Sequence[issuer.BatchItem] = [request.item]
        if part == "items":
            self._packed = True
            items = request.items.items
            if not 1 <= len(items) <= MAX_PACK:
                raise _bad_pack()
        if self._items + len(items) > MAX_ITEMS or self._bytes > MAX_BYTES:
            raise _too_large()
        refused: list[issuer.BatchResult] = []
        for item in items:
            path = f"items[{self._items}]"
            self._items += 1
            try:
                self._orders[item.item_id] = self._admit(item, path, self._request_id)
            except VitneError as error:
                refused_at_once(error)
                refused.append(_result(item.item_id, error))
        return refused

    def _admit(self, item: issuer.BatchItem, path: str, request_id: UUID) -> Order:
        check_rules(item, path)
        if item.item_id in self._item_ids:
            raise InvalidArgument(
                "DUPLICATE_ITEM_ID",
                "an earlier item of the batch has the same item_id; this one is not issued",
                field=f"{path}.item_id",
                rule="item_id is unique in the batch",
                remedy="give every item an id of its own",
            )
        self._item_ids.add(item.item_id)
        return admit(
            item.issuance,
            provider=self._provider,
            request_id=request_id,
            item_id=item.item_id,
            now=self._clock.now(),
            prefix=f"{path}.issuance",
        )

    async def _run(self) -> AsyncGenerator[list[tuple[str, issuer.IssuedCredential | VitneError]], None]:
        """Issue all orders, at most :data:`WINDOW` at a time, and answer each in its turn with those that are done."""
        loop = asyncio.get_running_loop()
        outcomes: dict[str, asyncio.Future[issuer.IssuedCredential | VitneError]] = {
            item_id: loop.create_future() for item_id in self._orders
        }
        waiting = iter(self._orders.items())
        # Taken in the items' order, so that the item whose turn it is has a place.
        unread = asyncio.Semaphore(UNREAD if self._formats else len(outcomes))

        async def work() -> None:
            while True:
                await unread.acquire()
                item_id, order = next(waiting, (None, None))
                if item_id is None or order is None:
                    return
                outcome = outcomes[item_id]
                try:
                    with measured_issue(BATCH, self._clock):
                        stored = await self._issue_patiently(order)
                    message = stored.credential.message()
                    if self._formats:
                        await self._render(message, stored, self._formats)
                    outcome.set_result(message)
                except Exception as error:  # noqa: BLE001 - one bad item never fails its neighbours
                    outcome.set_result(as_vitne_error(error))

        quiet = without_steps()
        workers = [asyncio.create_task(work(), context=quiet.copy()) for _ in range(min(WINDOW, len(self._orders)))]
        group: list[tuple[str, issuer.IssuedCredential | VitneError]] = []
        # Further formats are large: each such answer is a message of its own, below what clients take in one.
        together = 1 if self._formats else MAX_PACK
        try:
            for item_id, outcome in outcomes.items():
                if len(group) == together or (group and not outcome.done()):
                    yield group
                    for _ in group:
                        unread.release()
                    group = []
                group.append((item_id, await outcome))
            if group:
                yield group
        finally:
            # If the client went away, what was stored by now is completed in the background.
            for worker in workers:
                worker.cancel()

    async def _issue_patiently(self, order: Order) -> Stored:
        """Issue an order; what passes by itself is waited out, as long as the batch has patience."""
        pause = FIRST_PAUSE
        while True:
            try:
                stored = await self._issue(order)
            except Unavailable as error:
                if error.reason not in PASSING:
                    raise
                now = self._clock.monotonic()
                if self._stuck_since is None:
                    self._stuck_since = now
                if now + pause > self._stuck_since + PATIENCE_SECONDS:
                    raise
            else:
                self._stuck_since = None
                return stored
            await self._clock.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)


@asynccontextmanager
async def _ended_when_idle(bound: asyncio.Timeout) -> AsyncIterator[Callable[[], None]]:
    """Let a time limit expire early when nothing was heard for :data:`IDLE_SECONDS`; answers what is to be told then.

    One timer that looks now and again: one for each message would cost as much as reading it.
    """
    loop = asyncio.get_running_loop()
    last = loop.time()
    timer: asyncio.TimerHandle

    def heard() -> None:
        nonlocal last
        last = loop.time()

    def look() -> None:
        nonlocal timer
        left = last + IDLE_SECONDS - loop.time()
        if left > 0:
            timer = loop.call_later(left, look)
        elif not bound.expired():
            bound.reschedule(loop.time())

    timer = loop.call_later(IDLE_SECONDS, look)
    try:
        yield heard
    finally:
        timer.cancel()


#: What ends by itself, or with another's doing: the same item may be issued when it is sent again.
_TEMPORARY: Final = (Aborted, ResourceExhausted, Unavailable)


def _state(error: VitneError) -> issuer.ItemState.ValueType:
    if isinstance(error, _TEMPORARY):
        return issuer.ITEM_STATE_UNFINISHED
    if isinstance(error, FINAL):
        return issuer.ITEM_STATE_REFUSED
    return issuer.ITEM_STATE_NEEDS_HUMAN


def _result(item_id: str, outcome: issuer.IssuedCredential | VitneError) -> issuer.BatchResult:
    if isinstance(outcome, VitneError):
        return issuer.BatchResult(item_id=item_id, error=errors_to_status(outcome), state=_state(outcome))
    return issuer.BatchResult(item_id=item_id, credential=outcome, state=issuer.ITEM_STATE_ISSUED)


def _out_of_order(reason: str, message: str, field: str) -> InvalidArgument:
    return InvalidArgument(
        reason,
        message,
        field=field,
        rule="a batch is one header, then items",
        remedy="send the header first, then only items, then close your side",
    )


def _bad_pack() -> InvalidArgument:
    return InvalidArgument(
        "BATCH_PACK_SIZE",
        "a message holds no item, or more than travel together",
        field="items",
        rule=f"1 to {MAX_PACK} items in a message",
        remedy="send the items in more messages of the same batch",
    )


def _too_many() -> ResourceExhausted:
    return ResourceExhausted(
        "TOO_MANY_BATCHES",
        "as many batches are open as can be served; nothing of this one was issued",
        rule=f"at most {MAX_BATCHES_OF_ONE} of one institution and {MAX_BATCHES} of all at a time",
        remedy="wait until one of yours has ended, then send this one again with the same request id",
    )


def _idle() -> DeadlineExceeded:
    return DeadlineExceeded(
        "BATCH_IDLE",
        "the batch was open for too long; nothing of it was issued",
        rule=f"at most {IDLE_SECONDS:.0f} seconds between two messages and {READING_SECONDS:.0f} for all of them",
        remedy="send the items without a pause, then close your side",
    )


def _too_large() -> ResourceExhausted:
    return ResourceExhausted(
        "BATCH_TOO_LARGE",
        "the batch has too many items or bytes; nothing of it was issued",
        rule=f"at most {MAX_ITEMS} items and {MAX_BYTES} bytes",
        remedy="split it into several batches, each with a request id of its own",
    )
