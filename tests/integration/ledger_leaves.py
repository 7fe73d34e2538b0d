"""Leaves for a log, what must hold of it, and connections whose process may die at any of their steps."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from services.ledger.log_store import queue_leaves
from tests.integration.ledger_harness import Ledger
from vitne.canonical import sha256
from vitne.merkle.leaves import Issued
from vitne.merkle.notes import Checkpoint
from vitne.merkle.proofs import verify_consistency
from vitne.merkle.tree import CompactTree
from vitne.runtime.database import PlainConnection

T = TypeVar("T")


class Killed(BaseException):
    """The process is gone: nothing of it runs any further."""


@dataclass
class Fuse:
    """Ends a process before its n-th operation, from 0."""

    last: int
    done: int = 0
    dead: bool = False

    async def around(self, operation: Callable[[], Awaitable[T]]) -> T:
        if self.dead or self.done == self.last:
            self.dead = True
            raise Killed
        self.done += 1
        return await operation()


class Mortal(PlainConnection):
    """A connection whose process may die before any statement, COPY or commit: its socket closes, unsaid anything."""

    fuse: ClassVar[Fuse]

    async def _execute(self, *arguments: Any, **options: Any) -> Any:
        return await self.fuse.around(lambda: super(Mortal, self)._execute(*arguments, **options))

    async def execute(self, *arguments: Any, **options: Any) -> Any:
        return await self.fuse.around(lambda: super(Mortal, self).execute(*arguments, **options))

    async def copy_records_to_table(self, *arguments: Any, **options: Any) -> Any:
        return await self.fuse.around(lambda: super(Mortal, self).copy_records_to_table(*arguments, **options))


def leaves(first: int, count: int) -> list[bytes]:
    return [Issued(sha256(number.to_bytes(4, "big"))).to_bytes() for number in range(first, first + count)]


async def queue(ledger: Ledger, records: list[bytes]) -> None:
    async with ledger.pool.acquire() as connection, connection.transaction():
        await queue_leaves(connection, records)


async def extends(ledger: Ledger, known: Checkpoint) -> Checkpoint:
    """The newest checkpoint, once it is proved to contradict nothing that is known."""
    seen = await ledger.checkpoint()
    proof = await ledger.store.prove_consistency(known.size, seen.size) if known.size else None
    verify_consistency(
        from_size=known.size,
        to_size=seen.size,
        from_root=known.root,
        to_root=seen.root,
        path=proof.path if proof else [],
    )
    return seen


async def check_log(ledger: Ledger, expected: list[bytes]) -> None:
    """Every leaf once and nothing else, and the root is theirs."""
    rows = await ledger.pool.fetch("SELECT leaf_index, hash, record FROM leaf ORDER BY leaf_index")
    assert [row["leaf_index"] for row in rows] == list(range(len(rows)))
    assert sorted(row["record"] for row in rows) == sorted(expected)
    tree = CompactTree()
    for row in rows:
        tree.append(row["hash"])
    checkpoint = await ledger.checkpoint()
    assert (checkpoint.size, checkpoint.root) == (tree.size, tree.root())
    assert await ledger.queued() == []
