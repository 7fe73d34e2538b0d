"""From the release before to this one and back, replica by replica, under load: no call fails, and all agrees.

The release before is run from its sources (``tests/data/releases``, made by ``python -m tools.release``); what it wrote
is what this release goes on from, rows and events, and the schema that this release leaves is what it goes back to.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path

import asyncpg
import pytest

from tests.operate.rolling import RollingStack
from tools.release import unpack
from vitne.audit.snapshots import WorldSnapshot
from vitne.clock import SystemClock
from vitne.dev.actors import Actors
from vitne.dev.cases import load_cases
from vitne.dev.demo import Demo
from vitne.dev.load import Journal, Load
from vitne.dev.narrator import Narrator
from vitne.dev.observation import observe
from vitne.dev.stack import DATABASES
from vitne.inspection.installation import settle
from vitne.messaging import topics
from vitne_api.events.v1 import events_pb2

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]

BEFORE = "0.1.0"
#: What the release before answers now and then, rolled over or not, as long as its portal serves: it gives up a
#: deadlock with its consumer.
MENDED = {("withdraw from the hub", "PAGE_FAILED")}
#: How the release before, and only that, tells of an answer INTERNAL where a service that it called broke off the call
#: as it stopped. This release repeats such a call, and names the code.
BROKEN_OFF = '"message":"unexpected AioRpcError"'
#: The same where a page met a migration of what it reads: this release takes that for what may be tried again.
MIGRATED = '"message":"unexpected InvalidCachedStatementError"'
#: Seconds that a client waits for an answer. The library's ten are not enough on a machine that runs two releases of
#: everything, and somebody else's tests; what a replica breaks off that goes does not wait at all.
DEADLINE = 60.0
#: Seconds in which everything must agree, once all clients were answered.
SETTLE = 120.0
#: Seconds of load before and after the replicas are rolled over.
LOAD = 1.0


async def test_no_call_fails_on_the_way_up_and_back(stack_folder: Path) -> None:
    before = await asyncio.to_thread(unpack, BEFORE, stack_folder / f"release-{BEFORE}")
    async with AsyncExitStack() as exits:
        stack = RollingStack(stack_folder / "upgrade")
        # As deploy/k8s/README.md says it: the portal of the release before does not know the notice, nor its issuer
        # events of several changes.
        stack.settings["issuer"] = {"VITNE_HUB_REGISTRATION_ENDS": "false"}
        stack.settings["ledger"] = {"VITNE_CHANGES_TOLD_TOGETHER": "1"}
        stack.release = before
        # The demonstration's data of its day: it knows the rules of its day.
        stack.cases = load_cases(before / "vitne" / "dev" / "data")
        await exits.enter_async_context(stack)
        actors = await exits.enter_async_context(Actors(stack, DEADLINE))
        demo = Demo(stack, actors, Narrator(quiet=True), exits)
        await demo.accredit()
        await demo.publish()

        first = Load(stack, actors, seed=3, accredits=False)
        exits.callback(first.abandon)
        await first.start(demo)
        await asyncio.sleep(LOAD)
        applied = await migrations(stack)
        stack.release = None
        await stack.migrate()
        # What runs now is the release before, on the schema of this one.
        assert await migrations(stack) > applied, "this release changes no schema: nothing of that is tried here"
        await asyncio.sleep(LOAD)
        await stack.roll()
        old = Counter({key: count for key, count in first.journal.tries.items() if key in MENDED})
        await stack.command("ledger", "tell-log")
        await asyncio.sleep(LOAD)
        await first.finish()
        all_answered(stack, first.journal, old)
        await agrees(stack, first.journal)
        await told_whole(stack)
        await first.check_pages()
        assert not first.journal.findings

        second = Load(stack, actors, seed=4, accredits=False)
        exits.callback(second.abandon)
        second.registered |= first.registered
        await second.start(demo)
        stack.release = before
        await stack.roll()
        await asyncio.sleep(LOAD)
        await second.finish()
        all_answered(stack, second.journal, Counter({key: second.journal.tries[key] for key in MENDED}))
        await agrees(stack, first.journal, second.journal)


def all_answered(stack: RollingStack, journal: Journal, of_the_release_before: Counter[tuple[str, str]]) -> None:
    """Every call had its answer at once; only who streams a batch repeats it himself, as the contract says."""
    assert not journal.findings, stack.incidents()
    assert {outcome for _kind, outcome in journal.outcomes} == {"answered"}
    kinds = {kind for kind, _outcome in journal.outcomes}
    assert {"issue", "batch item", "suspend", "publish", "register with the hub"} <= kinds
    ours = journal.tries - of_the_release_before
    others = {key: count for key, count in ours.items() if key[0] not in {"batch", "batch again"}}
    broken_off = sum(BROKEN_OFF in line for line in stack.incidents())
    migrated = sum(MIGRATED in line for line in stack.incidents())
    internal = sum(others.pop(key) for key in [*others] if key[1] == "INTERNAL")
    pages = sum(others.pop(key) for key in [*others] if key[1] in {"LOG_IN_FAILED", "PAGE_FAILED"})
    assert not others, (journal.tries, stack.incidents())
    assert pages <= migrated, (journal.tries, stack.incidents())
    assert internal <= broken_off, (journal.tries, stack.incidents())


async def told_whole(stack: RollingStack) -> None:
    """The topic of the log, which the release before does not know, has every leaf; and telling again tells nothing."""
    told = json.loads(await stack.command("ledger", "tell-log"))
    assert told["told"] == 0
    records = await stack.read_topic(topics.LEDGER_LOG)
    assert sum(len(events_pb2.LogExtended.FromString(each.value).leaves) for each in records) >= told["size"] > 0


async def agrees(stack: RollingStack, *journals: Journal) -> None:
    async def look() -> WorldSnapshot:
        return await observe(
            stack,
            [each for journal in journals for each in journal.issued],
            [each for journal in journals for each in journal.changed],
        )

    found = await settle(look, SETTLE, SystemClock())
    assert not found.disagreements, "\n".join(str(each) for each in found.disagreements[:20])


async def migrations(stack: RollingStack) -> int:
    """How many migrations all databases have had."""
    count = 0
    for names in DATABASES.values():
        for name in names:
            connection = await asyncpg.connect(stack.dsn(name))
            try:
                count += await connection.fetchval("SELECT count(*) FROM schema_migration")
            finally:
                await connection.close()
    return count
