"""The ledger's logs beside a textbook model: appends, crashes, closings, keys that follow, reads and proofs, mixed."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from services.ledger import closing as closing_module
from services.ledger import sequencer as sequencer_module
from services.ledger.closing import BOTH_SIGN
from services.ledger.keys import ensure_checkpoint
from services.ledger.resources import LogResources
from tests.integration.ledger_harness import ORIGIN, Ledger, make_ledger
from tests.integration.test_ledger_log import issued, queue
from tests.integration.test_ledger_shards import Killed, closing, dies
from tests.unit.test_log_stateful import textbook_root
from vitne.clock import ManualClock
from vitne.errors import Aborted
from vitne.inspection.log_memory import LogMemory
from vitne.inspection.published_logs import PublishedLogs
from vitne.merkle.leaves import Closed
from vitne.merkle.policy import Policy
from vitne.merkle.proofs import verify_consistency, verify_inclusion
from vitne.merkle.resources import CHECKPOINT_PATH, LOGS_PATH, Resource
from vitne.merkle.succession import SUCCESSION_PATH, succession_leaf

STEPS = 80
#: Any number; this one takes every rule more than once.
SEED = 7
#: Where a batch, and a closing, is cut off.
BATCH_STEPS = ("extend_log", "sign_tree", "write_journal")
CLOSING_STEPS = ("extend_log", "sign_tree", "state_succession", "end_log", "succession_leaf")


@dataclass
class Model:
    """What RFC 6962 and the rule of succession say that there is."""

    #: Entries of each log, oldest first.
    logs: list[list[bytes]] = field(default_factory=lambda: [[]])
    waiting: list[bytes] = field(default_factory=list)
    keys: int = 1
    sent: int = 0


class Machine:
    """The ledger, the model, and a client that remembers."""

    def __init__(self, ledger: Ledger, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ledger = ledger
        self.model = Model()
        self.chance = random.Random(seed)
        self.monkeypatch = monkeypatch
        self.sequencer = ledger.sequencer(max_batch=64)
        self.memory = LogMemory()
        #: Trees that were compared.
        self.seen: set[tuple[int, int]] = set()

    async def step(self) -> None:
        rules: dict[Callable[[], Awaitable[None]], int] = {
            self.append: 5,
            self.integrate: 8,
            self.crash_in_a_batch: 2,
            self.another_sequencer: 2,
            self.close: 1,
            self.crash_in_a_closing: 1,
            self.rotate: 1,
            self.wait: 1,
            self.read: 2,
            self.prove: 4,
        }
        (rule,) = self.chance.choices(list(rules), list(rules.values()))
        await rule()

    async def append(self) -> None:
        count = self.chance.randint(1, 90)
        leaves = issued(self.model.sent, count)
        self.model.sent += count
        again = issued(0, self.chance.randint(0, 3))  # an event that is repeated, be it years later
        await queue(self.ledger, [*leaves, *again])
        self.model.waiting += [leaf.to_bytes() for leaf in [*leaves, *again]]

    async def integrate(self) -> None:
        try:
            taken = await self.sequencer.integrate()
        except Aborted:
            await self.sequencer.claim()
            return
        batch, self.model.waiting = self.model.waiting[:taken], self.model.waiting[taken:]
        known = {entry for log in self.model.logs for entry in log}
        self.model.logs[-1] += [entry for entry in dict.fromkeys(batch) if entry not in known]

    async def crash_in_a_batch(self) -> None:
        await self._cut(sequencer_module, self.chance.choice(BATCH_STEPS), self.sequencer.integrate)

    async def another_sequencer(self) -> None:
        self.sequencer = self.ledger.replica().sequencer(max_batch=64)
        await self.sequencer.claim()

    async def close(self) -> None:
        if len(self.model.logs) == 4:
            return
        ensure_checkpoint(self.ledger.keys.custody, self.model.keys + 1)
        await closing(self.ledger.replica()).close(_origin(len(self.model.logs)))
        log = self.model.logs[-1]
        log.append(Closed(_origin(len(self.model.logs) - 1), len(log)).to_bytes())
        self.model.logs.append([])
        await self._bound()

    async def crash_in_a_closing(self) -> None:
        ensure_checkpoint(self.ledger.keys.custody, self.model.keys + 1)
        step = self.chance.choice(CLOSING_STEPS)
        await self._cut(closing_module, step, lambda: closing(self.ledger).close("log.vitne.example/9999"))

    async def rotate(self) -> None:
        if self.model.keys == 8:
            return
        ensure_checkpoint(self.ledger.keys.custody, self.model.keys + 1)
        await closing(self.ledger).rotate(self.model.keys + 1, compromised=self.chance.random() < 0.5)
        await self._bound()

    async def wait(self) -> None:
        assert isinstance(self.ledger.clock, ManualClock)
        self.ledger.clock.advance(self.chance.choice((timedelta(minutes=1), BOTH_SIGN)))

    async def read(self) -> None:
        """The client walks all that is published, holds it to what it remembers, and remembers that."""
        logs = PublishedLogs(self._fetch, Policy.of_log(self.ledger.note_signer.key))
        await logs.read_statements()
        logs.hold_to(self.memory.marks(logs.policy))
        await logs.walk_on()
        assert logs.finish() == []
        assert list(self.memory.compare(logs.shown, logs.policy)) == []
        assert logs.contents.leaves == sum(map(len, self.model.logs))
        self.memory = logs.shown

    async def prove(self) -> None:
        number = self.chance.randrange(len(self.model.logs))
        entries = self.model.logs[number]
        if not entries:
            return
        size = self.chance.randint(1, len(entries))
        index, earlier = self.chance.randrange(size), self.chance.randint(0, size)
        leaf, root = textbook_root([entries[index]]), textbook_root(entries[:size])
        proof = await self.ledger.store.prove_inclusion(leaf, size)
        assert (proof.leaf_index, proof.shard.origin) == (index, _origin(number))
        verify_inclusion(leaf=leaf, index=index, size=size, path=proof.path, root=root)
        consistency = await self.ledger.store.prove_consistency(earlier, size, _origin(number))
        old = textbook_root(entries[:earlier])
        verify_consistency(from_size=earlier, to_size=size, from_root=old, to_root=root, path=consistency.path)

    async def check(self) -> None:
        """The checkpoints are those of the model's entries, under keys that follow from the first."""
        policy = Policy.of_log(self.ledger.note_signer.key).following(await self.ledger.store.statements())
        stored = await self.ledger.store.logs()
        assert len(stored) == len(self.model.logs)
        before = 0
        for log, entries in zip(stored, self.model.logs, strict=True):
            opened = policy.open(log.note)
            assert (opened.checkpoint.size, opened.before) == (len(entries), before)
            if (log.shard.number, len(entries)) not in self.seen:
                assert opened.checkpoint.root == textbook_root(entries)
            self.seen.add((log.shard.number, len(entries)))
            before += len(entries)

    async def _bound(self) -> None:
        self.model.keys += 1
        statement = (await self.ledger.store.statements())[-1]
        self.model.logs[-1].append(succession_leaf(statement).to_bytes())

    async def _cut(self, module: Any, step: str, work: Callable[[], Awaitable[Any]]) -> None:
        with self.monkeypatch.context() as patched:
            patched.setattr(module, step, dies(getattr(module, step), 1))
            try:
                taken = await work()
            except (Killed, Aborted):
                return
        assert work == self.sequencer.integrate, "a closing that was cut off is none"
        # Nothing new was among them, so no step was taken that could be cut off.
        done, self.model.waiting = self.model.waiting[:taken], self.model.waiting[taken:]
        assert set(done) <= {entry for log in self.model.logs for entry in log}

    async def _fetch(self, path: str) -> bytes | None:
        resources = LogResources(self.ledger.pool, self.ledger.store)
        name = ""
        if path.startswith(f"{LOGS_PATH}/"):
            _, name, path = path.split("/", 2)
        if path.startswith(f"{SUCCESSION_PATH}/"):
            statement = await resources.statement(int(path.partition("/")[2]))
            return statement.encode() if statement else None
        log = await resources.log(name)
        return log.note.encode() if path == CHECKPOINT_PATH else await resources.read(log, Resource.parse(path))


def _origin(number: int) -> str:
    return ORIGIN.replace("2026", str(2026 + number))


async def test_the_logs_are_those_of_the_textbook(
    database_dsn: str,
    pool: asyncpg.Pool,
    clock: ManualClock,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine = Machine(await make_ledger(database_dsn, pool, clock, tmp_path), SEED, monkeypatch)
    await machine.sequencer.claim()
    for _ in range(STEPS):
        await machine.step()
        await machine.check()
    await machine.close()
    await machine.read()
    assert len(machine.model.logs) > 1
