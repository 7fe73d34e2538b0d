"""asyncpg over a real PostgreSQL, where a session can be lost, a commit's answer too, and a database can be away."""

from __future__ import annotations

import asyncio
import functools
import re
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import asyncpg

from tests.faults.sim.scheduler import Fault, Process, ProcessDied, Scheduler

#: Deadlocks are found at once, so that a scenario does not wait; and before a statement counts as blocked, so that
#: the one that closes a circle is always the one that is ended.
SESSION: Final = {"timezone": "UTC", "deadlock_timeout": "2ms", "synchronous_commit": "off"}
BLOCKED_AFTER: Final = "4 ms"
_INNERMOST: Final = re.compile(r"\([^()]*\)")
_WRITES: Final = ("INSERT", "UPDATE", "DELETE", "WITH")
#: Statements that are points of their own: the relay's mark, and the move of a consumer's offset.
_MARK: Final = "UPDATE outbox SET published_at"
_OFFSET: Final = "UPDATE consumer_offset SET next_offset"
#: Connections of a process's pool.
POOL_SIZE: Final = 6
#: Real connections to a database, for its two processes, and those that have just died: made once, since a scenario
#: in which one has to be made runs differently from one in which it is there.
CONNECTIONS: Final = 16

T = TypeVar("T")


class Database:
    """A database: real connections, kept over all scenarios, lent to sessions of simulated processes.

    Args:
        scheduler: of the world.
        name: whose it is, for faults.
        dsn: of the real one.
    """

    def __init__(self, scheduler: Scheduler, name: str, dsn: str) -> None:
        self.scheduler = scheduler
        self.name = name
        self.away = False
        self.sessions: list[Session] = []
        self.dsn = dsn
        self._free: list[asyncpg.Connection] = []
        self._all: list[asyncpg.Connection] = []
        self._empty = ""

    async def warm(self) -> None:
        """Make the real connections."""
        for _ in range(CONNECTIONS):
            made = await self.scheduler.real(
                lambda: asyncpg.connect(self.dsn, statement_cache_size=256, server_settings=SESSION), ends=False
            )
            self._all.append(made)
            self._free.append(made)

    def connect(self) -> asyncpg.Connection:
        """A real connection."""
        return self._free.pop()

    def give_back(self, raw: asyncpg.Connection) -> None:
        self._free.append(raw)

    async def run(self, work: Callable[[asyncpg.Connection], Awaitable[T]]) -> T:
        """Do something with a real connection, of which no fault knows."""
        raw = self.connect()
        try:
            return await self.scheduler.real(lambda: work(raw), ends=True)
        finally:
            self.give_back(raw)

    async def reset(self) -> None:
        """Delete all rows."""
        if not self._empty:
            tables = await self.run(
                lambda raw: raw.fetch(
                    "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'schema_migration'"
                )
            )
            names = ", ".join(f'"{row[0]}"' for row in tables)
            # DELETE is quicker than TRUNCATE for a few rows; foreign keys need no order where triggers are off.
            self._empty = "SET session_replication_role = replica;" + ";".join(
                f"DELETE FROM {name}" for name in names.split(", ")
            )
            self._empty += "; SET session_replication_role = DEFAULT"
        await self.run(lambda raw: raw.execute(self._empty))
        held = (
            "SELECT count(*) FROM pg_locks JOIN pg_database AS d ON d.oid = database "
            "WHERE locktype = 'advisory' AND d.datname = current_database()"
        )
        if await self.run(lambda raw: raw.fetchval(held)):
            raise RuntimeError(f"the harness leaked a lock of {self.name} from one scenario to the next")

    async def lose_sessions(self, *, only: Callable[[Session], bool] = lambda session: True) -> int:
        """The server ends sessions; their clients learn of it when they use them next."""
        lost = [session for session in self.sessions if session.alive and only(session)]
        for session in lost:
            await session.end()
        return len(lost)

    async def close(self) -> None:
        for raw in self._all:
            raw.terminate()


class Session:
    """One connection as a process has it."""

    def __init__(self, pool: SimulatedPool, raw: asyncpg.Connection) -> None:
        database, process = pool.database, pool.process
        self.pool = pool
        self.database = database
        self.process = process
        self.pid: int = raw.get_server_pid()
        self.alive = True
        self.depth = 0
        self.locks = False
        self.ended = False
        self._raw = raw
        self._running: asyncio.Task[Any] | None = None
        database.sessions.append(self)

    async def real(
        self, make: Callable[[asyncpg.Connection], Awaitable[T]], *, name: str = "", ends: bool = False
    ) -> T:
        """Run a statement. Whoever is cancelled meanwhile leaves it to end; the session is then closed by its owner."""
        scheduler = self.database.scheduler

        async def statement() -> T:
            return await scheduler.real(
                lambda: make(self._raw), pid=self.pid, name=f"{self.process.name} {name}", ends=ends
            )

        task: asyncio.Task[T] = asyncio.Task(statement(), loop=scheduler.loop)
        self._running = task
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(_ignore)
            raise

    async def lock(self, raw: asyncpg.Connection, make: Callable[[asyncpg.Connection], Awaitable[T]]) -> T:
        """A statement that takes a lock of the session's."""
        self.locks = True
        return await make(raw)

    async def give_lock_back(self, raw: asyncpg.Connection, make: Callable[[asyncpg.Connection], Awaitable[T]]) -> T:
        """A statement that gives back the session's lock: nobody takes two."""
        answer = await make(raw)
        self.locks = False
        return answer

    async def settle(self) -> None:
        """Return when no statement is under way; one that waits for a lock is given up."""
        task = self._running
        if task is None or task.done():
            return
        await asyncio.wait([task], timeout=0)
        if not task.done():
            await self.database.run(lambda raw: raw.execute("SELECT pg_cancel_backend($1)", self.pid))
            await asyncio.wait([task])
        if not task.cancelled():
            task.exception()

    async def end(self) -> None:
        """The server's side of a lost connection: roll back, release all locks."""
        if not self.alive:
            return
        self.alive = False
        self.database.sessions.remove(self)
        await self.settle()
        raw = self._raw
        if self.depth or self.locks:
            text = "ROLLBACK; SELECT pg_advisory_unlock_all()"
            await self.database.scheduler.real(lambda: raw.execute(text), ends=True)
        self.database.give_back(raw)

    async def unlock(self) -> None:
        """Lose the advisory locks and nothing else: whoever held one still thinks so."""
        await self.settle()
        await self.database.scheduler.real(lambda: self._raw.execute("SELECT pg_advisory_unlock_all()"), ends=True)
        self.locks = False


@functools.cache
def _is_ordered(query: str) -> bool:
    """Whether a query itself, not one within it, says in which order its rows come."""
    inner = ""
    while inner != query:
        inner, query = query, _INNERMOST.sub("", query)
    return "ORDER BY" in query


def _ignore(task: asyncio.Task[Any]) -> None:
    if not task.cancelled():
        task.exception()


def _lost() -> asyncpg.PostgresError:
    return asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")


class SimulatedPool:
    """What the code takes for an ``asyncpg.Pool``."""

    def __init__(self, database: Database, process: Process) -> None:
        self.database = database
        self.process = process
        self._free: list[Session] = []
        self._room = asyncio.Semaphore(POOL_SIZE)
        process.funeral.append(self._bury)

    def acquire(self) -> _Acquire:
        return _Acquire(self)

    async def _bury(self) -> None:
        for session in [session for session in self.database.sessions if session.process is self.process]:
            await session.end()

    async def take(self) -> Connection:
        self.process.check()
        await self._room.acquire()
        try:
            while self._free:
                session = self._free.pop()
                if session.alive:
                    return Connection(session)
            if self.database.away:
                raise ConnectionRefusedError("the database is away")
            raw = self.database.connect()
            self.process.check()
            return Connection(Session(self, raw))
        except BaseException:
            self._room.release()
            raise

    async def release(self, connection: Connection) -> None:
        self._room.release()
        session = connection.session
        connection.released = True
        if self.process.dead or not session.alive:
            return
        await session.settle()
        if session.ended:
            await session.end()
            return
        if session.depth:  # and nothing else, as vitne.runtime.database.PlainConnection: locks stay with the session
            await session.real(lambda raw: raw.execute("ROLLBACK"), ends=True)
            session.depth = 0
        self._free.append(session)

    async def execute(self, query: str, *arguments: Any) -> str:
        async with self.acquire() as connection:
            return await connection.execute(query, *arguments)

    async def executemany(self, query: str, arguments: Any) -> None:
        async with self.acquire() as connection:
            await connection.executemany(query, arguments)

    async def fetch(self, query: str, *arguments: Any) -> list[Any]:
        async with self.acquire() as connection:
            return await connection.fetch(query, *arguments)

    async def fetchrow(self, query: str, *arguments: Any) -> Any:
        async with self.acquire() as connection:
            return await connection.fetchrow(query, *arguments)

    async def fetchval(self, query: str, *arguments: Any) -> Any:
        async with self.acquire() as connection:
            return await connection.fetchval(query, *arguments)


class _Acquire:
    def __init__(self, pool: SimulatedPool) -> None:
        self._pool = pool
        self._connection: Connection | None = None

    def __await__(self) -> Any:
        return self._pool.take().__await__()

    async def __aenter__(self) -> Connection:
        self._connection = await self._pool.take()
        return self._connection

    async def __aexit__(self, *_: object) -> None:
        if self._connection is not None:
            await self._pool.release(self._connection)


class Connection:
    """What the code takes for an ``asyncpg.Connection``."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.released = False

    async def execute(self, query: str, *arguments: Any) -> str:
        status: str = await self._statement(query, lambda raw: raw.execute(query, *arguments))
        return status

    async def executemany(self, query: str, arguments: Any) -> None:
        rows = list(arguments)
        await self._statement(query, lambda raw: raw.executemany(query, rows))

    async def fetch(self, query: str, *arguments: Any) -> list[Any]:
        rows: list[Any] = await self._statement(query, lambda raw: raw.fetch(query, *arguments))
        if len(rows) > 1 and not _is_ordered(query):
            # The table's own order depends on when it was vacuumed. Any is right, so the seed chooses one.
            rows.sort(key=lambda row: [(value is not None, value) for value in row])
            self.session.database.scheduler.random.shuffle(rows)
        return rows

    async def fetchrow(self, query: str, *arguments: Any) -> Any:
        return await self._statement(query, lambda raw: raw.fetchrow(query, *arguments))

    async def fetchval(self, query: str, *arguments: Any) -> Any:
        return await self._statement(query, lambda raw: raw.fetchval(query, *arguments))

    async def copy_records_to_table(self, table: str, *, columns: Any, records: Any) -> str:
        rows = list(records)
        status: str = await self._statement(
            f"COPY {table}", lambda raw: raw.copy_records_to_table(table, columns=columns, records=rows)
        )
        return status

    def terminate(self) -> None:
        """End the session, and with it its locks, when the pool gets it back."""
        self.session.ended = True

    def transaction(self, *, isolation: str | None = None, readonly: bool = False) -> Transaction:
        return Transaction(self, isolation, readonly)

    async def _statement(self, query: str, make: Callable[[asyncpg.Connection], Awaitable[T]]) -> T:
        session = self.session
        alone = not session.depth
        writes = query.lstrip()[:6].upper().startswith(_WRITES)
        if "advisory_lock" in query:
            return await self.step("statement", query, lambda raw: session.lock(raw, make), ends=alone)
        if "advisory_unlock" in query:
            return await self.step("statement", query, lambda raw: session.give_lock_back(raw, make), ends=alone)
        if _MARK in query:
            name = "mark"
        elif _OFFSET in query:
            name = "offset"
        else:
            name = "commit" if alone and writes else "statement"
        return await self.step(name, query, make, ends=alone)

    async def step(self, name: str, query: str, make: Callable[[asyncpg.Connection], Awaitable[T]], *, ends: bool) -> T:
        """One exchange with the server, with what may go wrong around it."""
        session, process = self.session, self.session.process
        if self.released:
            raise asyncpg.InterfaceError("cannot call a method on a connection that was released to the pool")
        scheduler = session.database.scheduler
        detail = " ".join(query[:120].split())[:60]
        fault = await scheduler.point(process, name, detail)
        self._check()
        if fault is not None and fault.kind == "lost_before":
            await session.end()
            raise _lost()
        try:
            answer = await session.real(make, name=detail, ends=ends)
        except asyncpg.PostgresError as error:
            process.check()
            if not session.alive:  # it was ended while it waited for a lock
                raise _lost() from error
            raise
        process.check()
        if fault is not None:
            await self._afterwards(fault)
        elif not session.alive:  # it was lost while the statement ran
            raise _lost()
        return answer

    def _check(self) -> None:
        self.session.process.check()
        if not self.session.alive:
            if self.session.database.away:
                raise ConnectionResetError("the database went away")
            raise _lost()

    async def _afterwards(self, fault: Fault) -> None:
        if fault.kind == "crash_after":
            await self.session.database.scheduler.crash(self.session.process)
        if fault.kind == "lost_after":
            await self.session.end()
            raise _lost()


class Transaction:
    """A transaction, or a savepoint within one."""

    def __init__(self, connection: Connection, isolation: str | None, readonly: bool) -> None:
        self._connection = connection
        self._begin = "BEGIN"
        self._savepoint = ""
        if isolation:
            self._begin += f" ISOLATION LEVEL {isolation.replace('_', ' ').upper()}"
        if readonly:
            self._begin += " READ ONLY"
        self._outer = True

    async def __aenter__(self) -> None:
        session = self._connection.session
        self._outer = session.depth == 0
        self._savepoint = f"s{session.depth}"
        begin = self._begin if self._outer else f"SAVEPOINT {self._savepoint}"
        await self._connection.step("statement", begin, lambda raw: raw.execute(begin), ends=False)
        session.depth += 1

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        connection, session = self._connection, self._connection.session
        if session.process.dead:
            raise ProcessDied
        if not session.alive:
            if kind is None:
                raise _lost()
            return
        await session.settle()
        if kind is not None:
            text = "ROLLBACK" if self._outer else f"ROLLBACK TO {self._savepoint}"
            session.depth -= 1
            await session.real(lambda raw: raw.execute(text), ends=True)
            return
        text = "COMMIT" if self._outer else f"RELEASE {self._savepoint}"
        name = "commit" if self._outer else "statement"
        # Still counted as open while it is under way: a session that ends before it rolls back.
        await connection.step(name, text, lambda raw: raw.execute(text), ends=True)
        session.depth -= 1


async def find_blocked(raw: asyncpg.Connection, pids: set[int]) -> set[int]:
    """Which of these server processes wait for a lock that another transaction holds, deadlocks left out."""
    # Autovacuum is not among the scheduled: who waits for it goes on by himself.
    rows = await raw.fetch(
        """
        SELECT pid, by FROM (
            SELECT DISTINCT pid, pg_blocking_pids(pid) AS by FROM pg_locks
            WHERE NOT granted AND pid = ANY ($1) AND waitstart < clock_timestamp() - $2::text::interval
        ) AS waiting
        WHERE EXISTS (SELECT FROM pg_stat_activity AS a WHERE a.pid = ANY (by) AND a.backend_type = 'client backend')
        """,
        list(pids),
        BLOCKED_AFTER,
    )
    behind = {row["pid"]: set(row["by"]) for row in rows}

    def in_cycle(pid: int) -> bool:
        seen: set[int] = set()
        edge = set(behind.get(pid, ()))
        while edge:
            if pid in edge:
                return True
            seen |= edge
            edge = {more for each in edge for more in behind.get(each, ())} - seen
        return False

    return {pid for pid in behind if not in_cycle(pid)}
