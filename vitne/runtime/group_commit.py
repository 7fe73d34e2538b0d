"""Group commit: requests that come at the same time share a transaction."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from typing import Any, Final, Generic, TypeVar, cast

from vitne.errors import ResourceExhausted, Unavailable, VitneError
from vitne.outages import CONFLICT
from vitne.runtime.database import ATTEMPTS, is_out_of_reach, unavailable
from vitne.runtime.telemetry import DATABASE, step

#: Most items that share a transaction: enough to amortise a commit, few enough to stay short.
DEFAULT_MAX_GROUP: Final = 256
#: Most items that wait: beyond it, waiting would outlast the callers' deadlines.
DEFAULT_MAX_WAITING: Final = 4096
#: Turns of the event loop without a new item after which a group begins.
QUIET_TURNS: Final = 2
#: Seconds between two looks whether callers who were just answered came back: an eighth of what the last transaction
#: took, within bounds, since both take longer on a busy machine.
SHORTEST_LOOK_SECONDS: Final = 0.001
LONGEST_LOOK_SECONDS: Final = 0.005
LOOKS: Final = 8
#: Looks without anybody after which a group begins without them, since a call's way there and back takes less.
QUIET_LOOKS: Final = 3
#: Seconds for which a group waits for them at most, and after which one who was answered is waited for no more.
LONGEST_WAIT_SECONDS: Final = 0.02
AWAITED_SECONDS: Final = 0.05

_log = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")


class Returning:
    """Counts callers who were answered since a group began, less those who came since: they may be on the way back.

    Who is not back after :data:`AWAITED_SECONDS` does other things.
    """

    def __init__(self) -> None:
        self._count = 0
        self._until = 0.0
        self._all_back: asyncio.Future[None] | None = None

    def answered(self, callers: int, now: float) -> None:
        """So many got their answers, at this time of the event loop's."""
        self._count = self.expected(now) + callers
        self._until = now + AWAITED_SECONDS

    def came(self, callers: int) -> None:
        """So many wait for a group, whether they were here before or not."""
        self._count = max(0, self._count - callers)
        if not self._count and self._all_back is not None and not self._all_back.done():
            self._all_back.set_result(None)

    async def wait(self, seconds: float) -> None:
        """Return when nobody is on the way back any more, after so many seconds at the latest.

        One group waits at a time: of the committers that answer the same callers, the first gathers them.
        """
        self._all_back = asyncio.get_running_loop().create_future()
        try:
            await asyncio.wait([self._all_back], timeout=seconds)
        finally:
            self._all_back = None

    def begun(self) -> None:
        """A group began: who is not back by now does other things."""
        self._count = 0

    def expected(self, now: float) -> int:
        """How many may be on the way back."""
        return self._count if now < self._until else 0


class GroupCommitter(Generic[T, R]):
    """Lets concurrent requests share transactions (group commit).

    While one transaction commits, further items gather; the next takes all that
    wait, up to ``max_group``. A lone item commits at once; see ``gathers`` for those that are not alone.

    When ``apply`` raises, its transaction is rolled back and the group is tried again
    in halves, until the poisoned item is alone, whose submitter gets the exception. An
    item that is alone and met another transaction (:data:`CONFLICT`) is tried again, up
    to three times. When the database is out of reach, every item of the group gets
    :class:`~vitne.errors.Unavailable`; whether it was committed is then unknown, and the
    request id of a repeated call tells.

    The item of a submitter that is cancelled is passed over while it still waits: nobody asks
    for it any more, and under load such work would keep out what is asked for. Once its group
    has begun, it completes: it may be written already.
    ``apply`` serves many callers at once, so it runs outside the context of any: there is
    no ``current_caller()``, deadline or span. Items carry what they need of these.

    Args:
        pool: of asyncpg.
        apply: ``await apply(conn, items)`` inside a transaction answers one result for
            each item, in order. A :class:`~vitne.errors.VitneError` as a result is
            raised to that submitter alone; ``apply`` wrote nothing for it.
        max_group: most items in one transaction.
        max_waiting: most items that wait before ``submit`` refuses.
        name: of the transaction, for the submitters' traces: there it lasts from ``submit`` to the commit.
        gathers: those whom a group waits for, some milliseconds, rather than begin with the first of them who is back.
        answers: whom to tell of callers that these transactions answer; the same where there is but one of them.
        turn: held during each transaction. Committers that share a lock take turns: what arrives meanwhile gathers, so
            groups are larger and each item costs less.
        at_once: ``await at_once(conn, items)`` without a transaction, before ``apply``: commits by one statement what
            needs no more, and answers None for each item that it leaves to ``apply``. Where it raises, it wrote
            nothing, unless the database is out of reach.
    """

    def __init__(
        self,
        pool: Any,
        apply: Callable[[Any, Sequence[T]], Awaitable[Sequence[R | VitneError]]],
        max_group: int = DEFAULT_MAX_GROUP,
        *,
        max_waiting: int = DEFAULT_MAX_WAITING,
        name: str = "transaction",
        turn: asyncio.Lock | None = None,
        gathers: Returning | None = None,
        answers: Returning | None = None,
        at_once: Callable[[Any, Sequence[T]], Awaitable[Sequence[R | None]]] | None = None,
    ) -> None:
        self._at_once = at_once
        self._name = name
        self._gathers = gathers
        self._answers = answers
        self._turn = turn or asyncio.Lock()
        self._pool = pool
        self._apply = apply
        self._max_group = max_group
        self._max_waiting = max_waiting
        self._waiting: deque[tuple[T, asyncio.Future[R]]] = deque()
        self._flusher: asyncio.Task[None] | None = None
        #: Seconds that the last transaction took.
        self._took = 0.0
        self._closed = False

    async def submit(self, item: T) -> R:
        """Apply ``item`` in some transaction; returns once that is committed.

        Raises:
            ResourceExhausted: ``OVERLOADED``: too many items wait already.
            Unavailable: ``DATABASE_UNAVAILABLE``, or ``SHUTTING_DOWN`` after :meth:`close`.
            VitneError: what ``apply`` answered or raised for this item.
        """
        future = self._enqueue([item])[0]
        with step(self._name, DATABASE):
            return await future

    async def submit_all(self, items: Sequence[T]) -> list[R | Exception]:
        """Apply ``items``, in as few transactions as they fit in; returns once all is committed or given up.

        The answer holds, for each item, its result or the exception that :meth:`submit` would have raised.

        Raises:
            ResourceExhausted: ``OVERLOADED``: not all of them have room; none is applied.
            Unavailable: ``SHUTTING_DOWN`` after :meth:`close`; likewise.
        """
        futures = self._enqueue(items)
        with step(self._name, DATABASE):
            answers = await asyncio.gather(*futures, return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException) and not isinstance(answer, Exception):
                raise answer
        return cast(list[R | Exception], answers)

    def _enqueue(self, items: Sequence[T]) -> list[asyncio.Future[R]]:
        if self._closed:
            raise Unavailable("SHUTTING_DOWN", "this server is shutting down", remedy="repeat the call elsewhere")
        if len(self._waiting) + len(items) > self._max_waiting:
            raise ResourceExhausted(
                "OVERLOADED",
                "more requests wait for the database than can be served in time",
                rule=f"at most {self._max_waiting} waiting",
                remedy="send fewer at once, and repeat with the same request id after a pause",
            )
        loop = asyncio.get_running_loop()
        futures: list[asyncio.Future[R]] = [loop.create_future() for _ in items]
        self._waiting.extend(zip(items, futures, strict=True))
        if self._gathers is not None:
            self._gathers.came(len(items))
        if self._flusher is None and futures:
            # A task per busy period rather than one for ever: nothing to start, nothing to leak.
            # In a context of its own, since it outlives the call that started it and serves others too.
            self._flusher = asyncio.create_task(self._flush(), name="group-commit", context=Context())
        return futures

    async def close(self) -> None:
        """Take no more items, and return when those that wait are done."""
        self._closed = True
        if self._flusher is not None:
            await asyncio.wait([self._flusher])

    async def _flush(self) -> None:
        group: list[tuple[T, asyncio.Future[R]]] = []
        loop = asyncio.get_running_loop()
        try:
            while self._waiting:
                await self._await_returning()
                async with self._turn:
                    await self._gather()
                    if group := self._next_group():
                        if self._gathers is not None:
                            self._gathers.begun()
                        began = loop.time()
                        await self._commit(group)
                        self._took = loop.time() - began
        finally:
            # Only a cancelled flusher leaves something behind.
            for _, future in [*group, *self._waiting]:
                if not future.done():
                    future.set_exception(unavailable())
            self._waiting.clear()
            self._flusher = None

    async def _await_returning(self) -> None:
        """Wait for callers who were just answered, as long as that brings any; a lone caller is all there is.

        Else those who were answered while others waited would never meet them: two small groups would take turns
        for ever, and a group costs much the same whatever its size.
        """
        if self._gathers is None:
            return
        await asyncio.sleep(0)  # who was answered this very moment is told so first
        pause = min(max(self._took / LOOKS, SHORTEST_LOOK_SECONDS), LONGEST_LOOK_SECONDS)
        loop = asyncio.get_running_loop()
        end, quiet = loop.time() + LONGEST_WAIT_SECONDS, 0
        while loop.time() < end:
            before = len(self._waiting)
            if not self._gathers.expected(loop.time()) or quiet == QUIET_LOOKS or before >= self._max_group:
                return
            await self._gathers.wait(pause)
            quiet = quiet + 1 if len(self._waiting) == before else 0

    async def _gather(self) -> None:
        """Let requests that have arrived come this far: the event loop turns for as long as that brings more items.

        No timer: whoever is alone waits for two turns. Callers who were answered together come back together, and
        without this the first of them would begin a transaction of its own.
        """
        quiet = 0
        while quiet < QUIET_TURNS and len(self._waiting) < self._max_group:
            before = len(self._waiting)
            await asyncio.sleep(0)
            quiet = quiet + 1 if len(self._waiting) == before else 0

    def _next_group(self) -> list[tuple[T, asyncio.Future[R]]]:
        """The next items that somebody still waits for; empty when there are none."""
        group: list[tuple[T, asyncio.Future[R]]] = []
        while self._waiting and len(group) < self._max_group:
            item, future = self._waiting.popleft()
            if not future.done():
                group.append((item, future))
        return group

    async def _commit(self, group: Sequence[tuple[T, asyncio.Future[R]]]) -> None:
        if self._at_once is not None:
            left = await self._commit_at_once(group, self._at_once)
            self._tell(len(group) - len(left))
            group = left
        if group:
            await self._transact(group)
            self._tell(len(group))

    def _tell(self, callers: int) -> None:
        """Say that callers were answered: now, since they may be back before the others of their group are done."""
        if self._answers is not None and callers:
            self._answers.answered(callers, asyncio.get_running_loop().time())

    async def _commit_at_once(
        self,
        group: Sequence[tuple[T, asyncio.Future[R]]],
        at_once: Callable[[Any, Sequence[T]], Awaitable[Sequence[R | None]]],
    ) -> Sequence[tuple[T, asyncio.Future[R]]]:
        """Commit what needs no transaction; what is left of the group."""
        try:
            async with self._pool.acquire() as conn:
                results = await at_once(conn, [item for item, _ in group])
        except Exception as error:  # noqa: BLE001 - whoever it belongs to is found in transactions
            if is_out_of_reach(error):
                self._give_up(group, error)
                return ()
            _log.warning("group commit: failed at once, and is tried in a transaction: %s", type(error).__name__)
            return group
        left: list[tuple[T, asyncio.Future[R]]] = []
        for (item, future), result in zip(group, results, strict=True):
            if result is None:
                left.append((item, future))
            elif not future.done():
                future.set_result(result)
        return left

    async def _transact(self, group: Sequence[tuple[T, asyncio.Future[R]]]) -> None:
        items = [item for item, _ in group]
        attempt = 1
        while True:
            try:
                async with self._pool.acquire() as conn, conn.transaction():
                    results = await self._apply(conn, items)
                    if len(results) != len(items):
                        raise RuntimeError(f"{len(items)} items were answered by {len(results)} results")
                break
            except Exception as error:  # noqa: BLE001 - whatever it is, it goes to the one it belongs to
                if is_out_of_reach(error):
                    self._give_up(group, error)
                    return
                if len(group) > 1:
                    middle = len(group) // 2
                    await self._transact(group[:middle])
                    await self._transact(group[middle:])
                    return
                if isinstance(error, CONFLICT) and attempt < ATTEMPTS:
                    attempt += 1
                    continue
                _raise_to(group[0][1], error)
                return
        for (_, future), result in zip(group, results, strict=True):
            if isinstance(result, VitneError):
                _raise_to(future, result)
            elif not future.done():
                future.set_result(result)

    def _give_up(self, group: Sequence[tuple[T, asyncio.Future[R]]], error: Exception) -> None:
        """Tell all of a group that the database is out of reach."""
        _log.warning("group commit: database out of reach: %s", type(error).__name__)
        for _, future in group:
            _raise_to(future, unavailable())


def _raise_to(future: asyncio.Future[Any], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
